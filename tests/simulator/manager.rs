//! The job manager: the real state machine of a job, the real coordinator of its checkpoints and the real
//! registry of their files, with what the master does between them.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::checkpoint::{CheckpointKind, CheckpointOptions};
use tidemill_common::control::{JobState, SubtaskState};
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, OperatorId, SubtaskId, TaskManagerId};
use tidemill_common::plan::StateDescriptor;
use tidemill_common::plan::{ChangelogMode, OperatorKind, PLAN_VERSION, PlanOperator, StreamPlan};
use tidemill_common::types::Schema;
use tidemill_jobmanager::cores::{
    Action, Collected, Coordinator, Event, JobAction, JobEvent, JobMachine, Placement, RestartStrategy, Retained,
    SharedFiles, Standing, assemble, files_of, files_of_metadata,
};

use crate::tasks::{COUNTERS, Down, SOURCES, SPLITS, Up, counter, source};
use crate::world::{Link, Next, Object, Outcome, World};

/// How long a task manager may have effects after it lost its job manager.
pub const LEASE: i64 = 100;
const DIRECTORY: &str = "store://job";

/// What is found again after a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    attempts_end: u32,
    ids_end: u64,
    retained: Vec<Retained>,
}

/// What comes back to the manager from elsewhere.
#[derive(Debug)]
pub enum ManagerEvent {
    Due { wake: i64 },
    Prepare { checkpoint: CheckpointId },
    Written { checkpoint: CheckpointId, location: Result<String, String> },
    Kept { checkpoint: CheckpointId, result: Result<(), String> },
    Reserved { end: u64, fine: bool },
    Placed { attempt: u32, placement: Placement, fine: bool },
    RestartDue { attempt: u32 },
    CancellationTimedOut { attempt: u32 },
    Schedule,
}

/// See the module.
pub struct Manager {
    pub life: u64,
    pub coordinator: Coordinator,
    pub machine: JobMachine,
    files: SharedFiles,
    plan: StreamPlan,
    job: JobId,
    /// Task managers that are connected.
    members: BTreeMap<TaskManagerId, Link>,
    unassigned: Vec<(u64, u64)>,
    asking: BTreeSet<u32>,
    placing: bool,
    not_before: i64,
    wake: Option<i64>,
    /// The highest id that was told complete, over all lives.
    pub told: u64,
    pub ended: bool,
}

fn plan() -> StreamPlan {
    let operator = |id, uid: &str, parallelism| PlanOperator {
        id: OperatorId(id),
        uid: uid.to_owned(),
        name: uid.to_owned(),
        kind: OperatorKind::Union,
        inputs: Vec::new(),
        schema: Schema::new(Vec::new()),
        parallelism,
        changelog: ChangelogMode::InsertOnly,
        upsert_key: None,
        state: Vec::<StateDescriptor>::new(),
    };
    StreamPlan {
        version: PLAN_VERSION,
        name: "job".to_owned(),
        operators: vec![operator(0, "source", SOURCES), operator(1, "counter", COUNTERS)],
        options: BTreeMap::new(),
        max_parallelism: 1,
    }
}

fn subtasks() -> impl Iterator<Item = SubtaskId> {
    (0..SOURCES).map(source).chain((0..COUNTERS).map(counter))
}

impl Manager {
    /// Begins with what is on the disk.
    pub fn new(world: &mut World, life: u64, told: u64, interval: i64, retained: u32) -> Self {
        let options = BTreeMap::from([
            ("execution.checkpointing.interval".to_owned(), format!("{interval} ms")),
            ("execution.checkpointing.timeout".to_owned(), "200 ms".to_owned()),
            ("execution.checkpointing.tolerable-failed-checkpoints".to_owned(), "3".to_owned()),
            ("execution.checkpointing.num-retained".to_owned(), retained.to_string()),
            ("restart-strategy.type".to_owned(), "fixed-delay".to_owned()),
            ("restart-strategy.fixed-delay.attempts".to_owned(), "1000000".to_owned()),
            ("restart-strategy.fixed-delay.delay".to_owned(), "20 ms".to_owned()),
        ]);
        let mut coordinator = Coordinator::new(CheckpointOptions::new(&options), 1);
        let sources = (0..SOURCES).map(source).collect();
        let mut machine = JobMachine::new(subtasks(), sources, RestartStrategy::new(&options));
        let mut files = SharedFiles::default();
        let job = JobId::from("job");
        files.job_started(&job, DIRECTORY);
        let mut not_before = world.now;
        if let Some(record) = world.disk.clone() {
            machine.begin_at(AttemptId(record.attempts_end));
            coordinator.recover(record.ids_end, record.retained.clone());
            for retained in &record.retained {
                // I4: what the disk names is there.
                let found = world.objects.get(&format!("{}/_metadata", retained.location));
                let Some(Object::Metadata(metadata)) = found else { panic!("{} is gone", retained.location) };
                files.reported(&job, retained.checkpoint, files_of_metadata(metadata));
                files.completed(&job, retained.checkpoint);
            }
            not_before += LEASE;
        }
        let manager = Self {
            life,
            coordinator,
            machine,
            files,
            plan: plan(),
            job,
            members: BTreeMap::new(),
            unassigned: Vec::new(),
            asking: BTreeSet::new(),
            placing: false,
            not_before,
            wake: None,
            told,
            ended: false,
        };
        manager.later(world, 1, ManagerEvent::Schedule);
        manager
    }

    fn later(&self, world: &mut World, delay: i64, event: ManagerEvent) {
        world.after(delay, Next::Manager { life: self.life, event });
    }

    fn attempt(&self) -> u32 {
        self.machine.attempt().0
    }

    fn record(&self) -> Record {
        Record {
            attempts_end: self.attempt() + 1,
            ids_end: self.coordinator.ids_end(),
            retained: self.coordinator.to_keep(),
        }
    }

    /// Writes a record in order; gives whether that works, and when it is done.
    fn keep(&self, world: &mut World, record: Record) -> (bool, i64) {
        let fine = !world.disk_fails();
        if fine {
            world.after(1, Next::DiskWrite { life: self.life, record: Some(record) });
        }
        (fine, 2)
    }

    // Connections.

    pub fn message(&mut self, world: &mut World, link: Link, message: Up) {
        if let Up::Register { id } = message {
            self.members.insert(TaskManagerId(id), link);
            return self.schedule(world);
        }
        let Some((id, _)) = self.members.iter().find(|(_, known)| **known == link) else { return };
        let id = id.clone();
        match message {
            Up::Register { .. } => {}
            Up::State { attempt, subtask, state } => {
                let standing = match state {
                    SubtaskState::Finishing => Some(Standing::Finishing),
                    SubtaskState::Finished => Some(Standing::Finished),
                    _ => None,
                };
                if let Some(standing) = standing.filter(|_| attempt == self.attempt()) {
                    self.checkpoint(world, Event::SubtaskChanged { subtask, standing });
                }
                let attempt = AttemptId(attempt);
                self.apply(world, JobEvent::SubtaskChanged { attempt, task_manager: id, subtask, state });
            }
            Up::SplitRequest { attempt, reader } => {
                if attempt == self.attempt() && self.is_active() {
                    self.asking.insert(reader);
                    self.assign(world);
                }
            }
            Up::Acknowledged { attempt, subtask, checkpoint, snapshot } => {
                self.files.reported(&self.job, checkpoint, files_of(&snapshot));
                let attempt = AttemptId(attempt);
                self.checkpoint(world, Event::Acknowledged { attempt, subtask, checkpoint, snapshot });
            }
            Up::Declined { attempt, subtask, checkpoint, reason } => {
                let attempt = AttemptId(attempt);
                self.checkpoint(world, Event::Declined { attempt, subtask, checkpoint, reason });
            }
        }
    }

    pub fn lose(&mut self, world: &mut World, link: Link) {
        let Some(id) = self.members.iter().find(|(_, known)| **known == link).map(|(id, _)| id.clone()) else { return };
        self.members.remove(&id);
        self.apply(world, JobEvent::TaskManagerLost { task_manager: id, reason: "lost".to_owned() });
        self.schedule(world);
    }

    fn is_active(&self) -> bool {
        matches!(self.machine.state(), JobState::Deploying | JobState::Running | JobState::Finishing)
    }

    fn send(&self, world: &mut World, id: &TaskManagerId, message: Down) {
        if let Some(link) = self.members.get(id) {
            world.down(*link, message);
        }
    }

    fn everyone(&self) -> BTreeSet<TaskManagerId> {
        self.machine.placement().values().cloned().collect()
    }

    fn assign(&mut self, world: &mut World) {
        for reader in std::mem::take(&mut self.asking) {
            let splits: Vec<_> = self.unassigned.pop().into_iter().collect();
            let no_more = self.unassigned.is_empty();
            let attempt = self.attempt();
            if let Some(id) = self.machine.placement().get(&source(reader)).cloned() {
                self.send(world, &id, Down::Assign { attempt, reader, splits, no_more });
            }
        }
    }

    // The job.

    fn schedule(&mut self, world: &mut World) {
        if self.ended || self.placing || self.machine.state() != JobState::Created || self.members.is_empty() {
            return;
        }
        if world.now < self.not_before {
            let wait = self.not_before - world.now;
            return self.later(world, wait, ManagerEvent::Schedule);
        }
        let members: Vec<_> = self.members.keys().cloned().collect();
        let placement: Placement = subtasks()
            .map(|subtask| {
                let chosen = world.delay(members.len() as i64 - 1) as usize;
                (subtask, members[chosen].clone())
            })
            .collect();
        self.placing = true;
        let (fine, delay) = self.keep(world, self.record());
        self.later(world, delay, ManagerEvent::Placed { attempt: self.attempt(), placement, fine });
    }

    fn apply(&mut self, world: &mut World, event: JobEvent) {
        let before = self.machine.state();
        let chance = 0.5;
        let actions = self.machine.at(world.now, chance).apply(event);
        let after = self.machine.state();
        for action in actions {
            self.perform(world, action);
        }
        if before == after {
            return;
        }
        match after {
            JobState::Running | JobState::Finishing => self.checkpoint(world, Event::Started),
            JobState::Created | JobState::Deploying => {}
            _ => self.checkpoint(world, Event::Halted { reason: format!("{after}") }),
        }
    }

    fn perform(&mut self, world: &mut World, action: JobAction) {
        let attempt = self.attempt();
        match action {
            JobAction::Deploy => self.deploy(world),
            JobAction::Cancel { task_managers } => {
                for id in task_managers {
                    self.send(world, &id, Down::Cancel { attempt });
                }
                self.later(world, 300, ManagerEvent::CancellationTimedOut { attempt });
            }
            JobAction::StopSources { .. } => unreachable!("nobody stops the job"),
            JobAction::RecordFailure { cause, .. } => world.trace(format!("failure: {cause}")),
            JobAction::RestartAfter { delay_ms } => {
                world.landed.restarts += 1;
                self.later(world, delay_ms, ManagerEvent::RestartDue { attempt });
            }
            JobAction::Reschedule => self.later(world, 1, ManagerEvent::Schedule),
            JobAction::End => {
                assert_eq!(self.machine.state(), JobState::Finished, "nothing else ends the job");
                self.ended = true;
                self.coordinator.ended(world.now, false);
                self.files.job_ended(&self.job, false);
                world.after(1, Next::DiskWrite { life: self.life, record: None });
                world.after(5, Next::DeleteAll { life: self.life });
                // Task managers that were cut off may have written until now.
                world.after(2 * LEASE, Next::DeleteAll { life: self.life });
            }
        }
    }

    fn deploy(&mut self, world: &mut World) {
        let attempt = self.attempt();
        let newest = self.coordinator.newest().cloned();
        self.asking.clear();
        self.unassigned = (0..SPLITS).map(|split| (split, 0)).collect();
        if let Some(newest) = &newest {
            let found = world.objects.get(&format!("{}/_metadata", newest.location));
            let Some(Object::Metadata(metadata)) = found else { panic!("{} is gone", newest.location) };
            let operator = metadata.operators.iter().find(|operator| operator.uid == "source").expect("the source");
            let kept: Vec<(u64, u64)> =
                serde_json::from_value(operator.coordinator.clone().expect("the enumerator")).expect("splits");
            let read = operator.subtasks.iter().flat_map(|(_, state)| &state.splits);
            let read =
                read.map(|split| (split.id.0.parse().expect("a number"), split.state.as_u64().expect("a position")));
            self.unassigned = kept.into_iter().chain(read).collect();
        }
        let sources = (0..SOURCES).map(source).collect();
        let all = subtasks().collect();
        self.checkpoint(world, Event::Deployed { attempt: AttemptId(attempt), subtasks: all, sources });
        let mut per_member: BTreeMap<TaskManagerId, Vec<SubtaskId>> = BTreeMap::new();
        for (subtask, id) in self.machine.placement() {
            per_member.entry(id.clone()).or_default().push(*subtask);
        }
        let restore = newest.map(|newest| newest.location);
        for (id, subtasks) in per_member {
            self.send(world, &id, Down::Deploy { attempt, subtasks, restore: restore.clone() });
        }
    }

    // Checkpoints.

    fn checkpoint(&mut self, world: &mut World, event: Event) {
        for action in self.coordinator.apply(world.now, event) {
            self.act(world, action);
        }
        let wanted = self.coordinator.wake_ms();
        if wanted != self.wake {
            self.wake = wanted;
            if let Some(wake) = wanted {
                let delay = (wake - world.now).max(0);
                self.later(world, delay, ManagerEvent::Due { wake });
            }
        }
    }

    fn act(&mut self, world: &mut World, action: Action) {
        let attempt = self.attempt();
        match action {
            Action::Prepare { checkpoint } => {
                // Discovery may have the enumerator.
                let delay = world.delay(6);
                self.later(world, delay, ManagerEvent::Prepare { checkpoint });
            }
            Action::Trigger { checkpoint, .. } => {
                for id in self.everyone() {
                    self.send(world, &id, Down::Trigger { attempt, checkpoint });
                }
            }
            Action::Write(collected) => self.write(world, *collected),
            Action::Persist { checkpoint } => {
                let record = self.record();
                assert_eq!(record.retained.last().map(|retained| retained.checkpoint), Some(checkpoint));
                let (fine, delay) = self.keep(world, record);
                let result = if fine { Ok(()) } else { Err("full".to_owned()) };
                self.later(world, delay, ManagerEvent::Kept { checkpoint, result });
            }
            Action::Complete { checkpoint } => {
                // I3: what is told complete rises, and a crash now finds it.
                assert!(checkpoint.0 > self.told, "{checkpoint} after {}", self.told);
                self.told = checkpoint.0;
                let newest = world.disk.as_ref().and_then(|record| record.retained.last());
                assert_eq!(newest.map(|newest| newest.checkpoint), Some(checkpoint), "not on disk");
                world.landed.completed += 1;
                for id in self.everyone() {
                    self.send(world, &id, Down::Complete { attempt, checkpoint });
                }
            }
            Action::Retain { checkpoint } => {
                let garbage = self.files.completed(&self.job, checkpoint);
                self.delete(world, garbage);
            }
            Action::Aborted { .. } => {}
            Action::Discard { checkpoint, location } => {
                let mut names = vec![format!("{location}/_metadata")];
                names.extend(self.files.discarded(&self.job, checkpoint));
                self.delete(world, names);
            }
            Action::ReserveIds { end } => {
                let mut record = self.record();
                record.ids_end = end;
                let (fine, delay) = self.keep(world, record);
                self.later(world, delay, ManagerEvent::Reserved { end, fine });
            }
            Action::Answer { .. } => {}
            Action::Fail { cause } => self.apply(world, JobEvent::CoordinatorFailed { cause }),
        }
    }

    fn delete(&self, world: &mut World, names: Vec<String>) {
        if !names.is_empty() {
            let delay = 1 + world.delay(20);
            world.after(delay, Next::Delete { life: self.life, names, tries: 3 });
        }
    }

    /// As the store of the real one: what is there already is compared.
    fn write(&mut self, world: &mut World, collected: Collected) {
        assert_eq!(collected.attempt.0, self.attempt(), "I5: no part of another attempt");
        let checkpoint = collected.checkpoint;
        let location = format!("{DIRECTORY}/chk-{checkpoint}");
        let name = format!("{location}/_metadata");
        let metadata = Object::Metadata(Box::new(assemble(&self.job, &self.plan, 1, collected)));
        let mut outcome = world.store_outcome();
        if outcome == Outcome::Unheard {
            assert!(world.objects.insert(name.clone(), metadata.clone()).is_none(), "I3: one winner an id");
            // The client tries again, finds its own, and is content.
            outcome = if world.objects.get(&name) == Some(&metadata) { Outcome::Done } else { Outcome::Refused };
        } else if outcome == Outcome::Done {
            assert!(world.objects.insert(name, metadata).is_none(), "I3: one winner an id");
        }
        let location = if outcome == Outcome::Done { Ok(location) } else { Err("500".to_owned()) };
        let delay = 1 + world.delay(4);
        self.later(world, delay, ManagerEvent::Written { checkpoint, location });
    }

    pub fn event(&mut self, world: &mut World, event: ManagerEvent) {
        match event {
            ManagerEvent::Due { wake } => {
                if self.wake == Some(wake) {
                    self.wake = None;
                    self.checkpoint(world, Event::Due);
                }
            }
            ManagerEvent::Prepare { checkpoint } => {
                let state = serde_json::to_value(&self.unassigned).expect("JSON");
                let enumerators = Ok(vec![(OperatorId(0), state)]);
                self.checkpoint(world, Event::Prepared { checkpoint, enumerators });
            }
            ManagerEvent::Written { checkpoint, location } => {
                self.checkpoint(world, Event::Written { checkpoint, result: location });
            }
            ManagerEvent::Kept { checkpoint, result } => {
                self.checkpoint(world, Event::Persisted { checkpoint, result })
            }
            ManagerEvent::Reserved { end, fine } => {
                self.checkpoint(world, Event::IdsReserved { end: if fine { end } else { 0 } });
            }
            ManagerEvent::Placed { attempt, placement, fine } => {
                self.placing = false;
                if self.machine.state() != JobState::Created || self.attempt() != attempt {
                    return;
                }
                if !fine {
                    return self.apply(world, JobEvent::CoordinatorFailed { cause: "disk".to_owned() });
                }
                match placement.values().all(|id| self.members.contains_key(id)) {
                    true => self.apply(world, JobEvent::Placed(placement)),
                    false => self.schedule(world),
                }
            }
            ManagerEvent::RestartDue { attempt } => {
                if attempt == self.attempt() {
                    self.apply(world, JobEvent::RestartDue);
                }
            }
            ManagerEvent::CancellationTimedOut { attempt } => {
                if attempt == self.attempt() {
                    self.apply(world, JobEvent::CancellationTimedOut);
                }
            }
            ManagerEvent::Schedule => self.schedule(world),
        }
    }
}

/// I4: everything that a crash now would start from is there.
pub fn assert_complete(world: &World) {
    let Some(record) = &world.disk else { return };
    for retained in &record.retained {
        assert_eq!(retained.kind, CheckpointKind::Checkpoint);
        let found = world.objects.get(&format!("{}/_metadata", retained.location));
        let Some(Object::Metadata(metadata)) = found else { panic!("I4: {} is gone", retained.location) };
        for file in files_of_metadata(metadata) {
            assert!(world.objects.contains_key(file), "I4: {file} of {} is gone", retained.location);
        }
    }
}
