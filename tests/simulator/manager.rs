//! The job manager: the real state machine of a job, the real coordinator of its checkpoints and the real
//! registry of their files, with what the master does between them.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::checkpoint::{CheckpointMetadata, CheckpointOptions, SplitPosition};
use tidemill_common::control::{JobState, SubtaskState};
use tidemill_common::ids::{
    AttemptId, CheckpointId, JobId, OperatorId, RegionId, SplitId, SubtaskId, SubtaskIndex, TaskManagerId,
};
use tidemill_common::plan::StateDescriptor;
use tidemill_common::plan::{ChangelogMode, OperatorKind, PLAN_VERSION, PlanOperator, StreamPlan};
use tidemill_common::regions::Regions;
use tidemill_common::types::Schema;
use tidemill_connectors::api::Split;
use tidemill_jobmanager::cores::{
    Action, Collected, Coordinator, Event, Executions, Homes, JobAction, JobEvent, JobMachine, Placement, RequestId,
    RestartStrategy, Retained, SharedFiles, SplitTracker, Standing, assemble, files_of, files_of_metadata,
    locations_of, place, slots_kept,
};

use crate::tasks::{ATTEMPTS, Deploy, Down, Shape, Up, is_lane, job_of, lane_source, source};
use crate::workload::{GROUPS, LANE_SPLITS, Position, SPLITS, assert_consistent, positions, resolved};
use crate::world::{Link, Next, Object, Outcome, World};

/// How long a task manager may have effects after it lost its job manager.
pub const LEASE: i64 = 100;

/// What is found again after a crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    attempts_end: u32,
    ids_end: u64,
    retained: Vec<Retained>,
    shape: Shape,
    /// The savepoint that the job was submitted with.
    restored: Option<String>,
}

impl Record {
    /// Of a job that is submitted.
    pub fn submitted(job: u32, shape: Shape, restored: Option<String>) -> Self {
        Self { attempts_end: job * ATTEMPTS + 1, ids_end: 1, retained: Vec::new(), shape, restored }
    }
}

/// How a job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Finished,
    /// With this savepoint, from which another is to go on.
    Stopped(String),
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
    RestartDue { attempt: u32, round: u64 },
    CancellationTimedOut { attempt: u32, round: u64 },
    Schedule,
}

/// The splits of one source.
#[derive(Default)]
struct Splits {
    unassigned: Vec<Position>,
    asking: BTreeSet<u32>,
    /// Of lanes, which start again without each other.
    tracker: SplitTracker,
    /// Readers that were told that nothing will follow, when all is assigned at once.
    served: BTreeSet<u32>,
}

/// See the module.
pub struct Manager {
    pub life: u64,
    pub coordinator: Coordinator,
    pub machine: JobMachine,
    files: SharedFiles,
    plan: StreamPlan,
    job: JobId,
    /// URL of the job's directory.
    directory: String,
    pub shape: Shape,
    /// What the record on the disk says.
    kept_shape: Shape,
    next_shape: Option<Shape>,
    restored: Option<String>,
    /// Task managers that are connected, and their slots.
    members: BTreeMap<TaskManagerId, (Link, u32)>,
    keyed: Splits,
    lanes: Splits,
    placing: bool,
    not_before: i64,
    wake: Option<i64>,
    /// The highest id that was told complete, over all lives.
    pub told: u64,
    pub ended: Option<Ended>,
    /// What the owner's requests have come to.
    pub answers: Vec<(RequestId, Result<String, String>)>,
}

fn plan(shape: Shape) -> StreamPlan {
    let operator = |(id, uid, parallelism): (u32, &str, u32)| PlanOperator {
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
    let keyed = [(0, "source", shape.sources), (1, "counter", shape.counters)];
    let lanes = [(2, "lane-source", shape.lanes), (3, "lane-sink", shape.lanes)];
    StreamPlan {
        version: PLAN_VERSION,
        name: "job".to_owned(),
        operators: keyed.into_iter().chain(lanes.into_iter().filter(|_| shape.lanes > 0)).map(operator).collect(),
        options: BTreeMap::new(),
        max_parallelism: GROUPS,
    }
}

impl Manager {
    /// Begins with what is on the disk.
    pub fn new(world: &mut World, life: u64, told: u64, interval: i64, retained: u32) -> Self {
        let record = world.disk.clone().expect("a job");
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
        let Record { attempts_end, ids_end, retained, shape, restored } = record;
        let regions = Regions::new(&shape.graph());
        let mut machine = JobMachine::new(regions, shape.sources().collect(), RestartStrategy::new(&options));
        machine.begin_at(AttemptId(attempts_end));
        coordinator.recover(ids_end, retained.clone());
        let mut files = SharedFiles::default();
        let job = job_of(attempts_end);
        let directory = format!("store://{job}");
        files.job_started(&job, &directory);
        for retained in &retained {
            // I4: what the disk names is there.
            files.reported(&job, retained.checkpoint, files_of_metadata(metadata_at(world, &retained.location)));
            files.completed(&job, retained.checkpoint);
        }
        if let Some(restored) = &restored {
            files.restored(&job, files_of_metadata(metadata_at(world, restored)));
        }
        // Earlier attempts may have effects until their leases have ended.
        let not_before = if attempts_end % ATTEMPTS > 1 { world.now + LEASE } else { world.now };
        let mut manager = Self {
            life,
            coordinator,
            machine,
            files,
            plan: plan(shape),
            job,
            directory,
            shape,
            kept_shape: shape,
            next_shape: None,
            restored,
            members: BTreeMap::new(),
            keyed: Splits::default(),
            lanes: Splits::default(),
            placing: false,
            not_before,
            wake: None,
            told,
            ended: None,
            answers: Vec::new(),
        };
        if manager.coordinator.stopped_with().is_some() {
            manager.fail(world, "it was stopped".to_owned());
        }
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
            attempts_end: self.machine.attempts_end(),
            ids_end: self.coordinator.ids_end(),
            retained: self.coordinator.to_keep(),
            shape: self.kept_shape,
            restored: self.restored.clone(),
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
        if let Up::Register { id, slots } = message {
            self.members.insert(TaskManagerId(id), (link, slots));
            return self.schedule(world);
        }
        let Some((id, _)) = self.members.iter().find(|(_, (known, _))| *known == link) else { return };
        let id = id.clone();
        match message {
            Up::Register { .. } => {}
            Up::State { attempt, subtask, state } => {
                let standing = match state {
                    SubtaskState::Finishing => Some(Standing::Finishing),
                    SubtaskState::Finished => Some(Standing::Finished),
                    _ => None,
                };
                let deployed = self.machine.is_deployed_in(subtask, AttemptId(attempt));
                if let Some(standing) = standing.filter(|_| deployed) {
                    self.checkpoint(world, Event::SubtaskChanged { subtask, standing });
                }
                let attempt = AttemptId(attempt);
                self.apply(world, JobEvent::SubtaskChanged { attempt, task_manager: id, subtask, state });
            }
            Up::SplitRequest { attempt, reader } => {
                if self.machine.is_deployed_in(reader, AttemptId(attempt)) {
                    self.splits(reader).asking.insert(reader.index.0);
                    self.assign(world, is_lane(reader));
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
        let found = self.members.iter().find(|(_, (known, _))| *known == link);
        let Some(id) = found.map(|(id, _)| id.clone()) else { return };
        self.members.remove(&id);
        self.apply(world, JobEvent::TaskManagerLost { task_manager: id, reason: "lost".to_owned() });
        self.schedule(world);
    }

    fn send(&self, world: &mut World, id: &TaskManagerId, message: Down) {
        if let Some((link, _)) = self.members.get(id) {
            world.down(*link, message);
        }
    }

    /// Attempts that run, with their task managers.
    fn everyone(&self) -> Vec<(u32, TaskManagerId)> {
        each(self.machine.executions(|_| true))
    }

    fn splits(&mut self, reader: SubtaskId) -> &mut Splits {
        if is_lane(reader) { &mut self.lanes } else { &mut self.keyed }
    }

    fn assign(&mut self, world: &mut World, lanes: bool) {
        let reader = if lanes { lane_source } else { source };
        let splits = if lanes { &mut self.lanes } else { &mut self.keyed };
        let asking = std::mem::take(&mut splits.asking);
        for index in asking {
            let mine: Vec<_> = self.splits(reader(index)).unassigned.pop().into_iter().collect();
            self.assign_to(world, reader(index), mine);
        }
    }

    fn assign_to(&mut self, world: &mut World, reader: SubtaskId, mine: Vec<Position>) {
        let splits = self.splits(reader);
        let no_more = splits.unassigned.is_empty();
        splits.tracker.assigned(reader.index, &mine.iter().map(split).collect::<Vec<_>>());
        let place = (self.machine.attempt_of_subtask(reader), self.machine.placement().get(&reader).cloned());
        if let (Some(AttemptId(attempt)), Some(id)) = place {
            self.send(world, &id, Down::Assign { attempt, reader, splits: mine, no_more });
        }
    }

    /// All splits at once, to each reader that has not got its own, in turn.
    fn assign_all(&mut self, world: &mut World, lanes: bool) {
        let all = if lanes {
            (0..self.shape.lanes).map(lane_source).collect()
        } else {
            (0..self.shape.sources).map(source).collect::<Vec<_>>()
        };
        let splits = if lanes { &mut self.lanes } else { &mut self.keyed };
        let readers: Vec<SubtaskId> = all.into_iter().filter(|reader| splits.served.insert(reader.index.0)).collect();
        let unassigned = std::mem::take(&mut splits.unassigned);
        for (nth, reader) in readers.iter().enumerate() {
            let mine = unassigned.iter().skip(nth).step_by(readers.len()).cloned().collect();
            self.assign_to(world, *reader, mine);
        }
    }

    // What the owner asks for.

    /// Whether a savepoint or another parallelism can be asked for.
    pub fn runs(&self) -> bool {
        matches!(self.machine.state(), JobState::Running)
    }

    pub fn savepoint(&mut self, world: &mut World, request: RequestId, directory: String, stop: Option<bool>) {
        self.checkpoint(world, Event::SavepointRequested { request, directory, stop });
    }

    /// Goes on with other numbers of subtasks, if there is a checkpoint to go on from.
    pub fn rescale(&mut self, world: &mut World, shape: Shape) {
        if self.coordinator.newest().is_none() || shape == self.shape {
            return;
        }
        world.landed.rescaled += 1;
        self.next_shape = Some(shape);
        let (regions, sources) = (Regions::new(&shape.graph()), shape.sources().collect());
        self.apply(world, JobEvent::Redeploy { regions, sources });
    }

    // The job.

    fn schedule(&mut self, world: &mut World) {
        if self.ended.is_some() || self.placing || self.machine.state() != JobState::Created || self.members.is_empty()
        {
            return;
        }
        if world.now < self.not_before {
            let wait = self.not_before - world.now;
            return self.later(world, wait, ManagerEvent::Schedule);
        }
        // What regions start from is not known before.
        if self.coordinator.is_persisting() {
            return;
        }
        let (graph, kept) = (self.shape.graph(), self.machine.kept());
        let used = slots_kept(&graph, &kept);
        let free =
            |(id, (_, slots)): (&TaskManagerId, &(Link, u32))| (id.clone(), slots - used.get(id).copied().unwrap_or(0));
        let free = self.members.iter().map(free).collect();
        let Ok(schedule) = place(&graph, &free, &Homes::default(), &kept) else { return };
        let placement = schedule.placement;
        self.placing = true;
        let (fine, delay) = self.keep(world, Record { shape: self.shape, ..self.record() });
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
            JobAction::Deploy { regions } => self.deploy(world, &regions),
            JobAction::Cancel { executions, round } => {
                for (attempt, id) in each(executions) {
                    self.send(world, &id, Down::Cancel { attempt });
                }
                self.later(world, 300, ManagerEvent::CancellationTimedOut { attempt, round });
            }
            JobAction::StopSources { .. } => unreachable!("nobody stops the job"),
            JobAction::RecordFailure { cause, .. } => world.trace(|| format!("failure: {cause}")),
            JobAction::RestartAfter { delay_ms, round } => {
                world.landed.restarts += 1;
                self.later(world, delay_ms, ManagerEvent::RestartDue { attempt, round });
            }
            JobAction::Reschedule { regions } => {
                world.landed.failovers += u64::from(regions.len() < self.machine.regions().len());
                if let Some(shape) = self.next_shape.take() {
                    (self.shape, self.plan) = (shape, plan(shape));
                }
                self.later(world, 1, ManagerEvent::Schedule);
            }
            JobAction::End => {
                let stopped = self.coordinator.stopped_with().map(str::to_owned);
                let finished = self.machine.state() == JobState::Finished;
                assert!(finished || stopped.is_some(), "nothing else ends the job");
                self.ended = Some(stopped.map_or(Ended::Finished, Ended::Stopped));
                for action in self.coordinator.ended(world.now, false) {
                    if let Action::Answer { request, result } = action {
                        self.answers.push((request, result));
                    }
                }
                self.files.job_ended(&self.job, false);
                world.after(1, Next::DiskWrite { life: self.life, record: None });
                // Task managers that were cut off may have written until now.
                for delay in [5, 3 * LEASE] {
                    world.after(delay, Next::DeleteAll { directory: format!("{}/", self.directory) });
                }
            }
        }
    }

    /// The job is over, and is not to begin another attempt.
    fn fail(&mut self, world: &mut World, cause: String) {
        if self.coordinator.stopped_with().is_some() {
            self.machine.never_restart();
        }
        self.apply(world, JobEvent::CoordinatorFailed { cause });
    }

    fn deploy(&mut self, world: &mut World, regions: &BTreeSet<RegionId>) {
        let newest = self.coordinator.newest().map(|newest| newest.location.clone());
        let newest = newest.or_else(|| self.restored.clone());
        let attempts = self.machine.regions().subtasks();
        let attempt_of = |region| self.machine.attempt_of(region).expect("an attempt");
        let executions = attempts.map(|(subtask, region)| (subtask, attempt_of(region))).collect();
        let (attempt, sources) = (self.machine.attempt(), self.shape.sources().collect());
        self.checkpoint(world, Event::Deployed { attempt, executions, sources });
        for region in regions {
            let mut per_member: BTreeMap<TaskManagerId, Vec<SubtaskId>> = BTreeMap::new();
            for subtask in self.machine.regions().members(*region) {
                per_member.entry(self.machine.placement()[&subtask].clone()).or_default().push(subtask);
            }
            let attempt = self.machine.attempt_of(*region).expect("an attempt").0;
            for (id, subtasks) in per_member {
                let deploy = Deploy {
                    attempt,
                    first_attempt: self.machine.first_attempt().0,
                    region: *region,
                    shape: self.shape,
                    directory: self.directory.clone(),
                    subtasks,
                    restore: newest.clone(),
                };
                self.send(world, &id, Down::Deploy(deploy));
            }
        }
        for lanes in [false, true] {
            self.deploy_sources(world, regions, newest.as_deref(), lanes);
        }
    }

    /// The splits of a source start with all of its readers, or some of its readers start again.
    fn deploy_sources(&mut self, world: &mut World, regions: &BTreeSet<RegionId>, newest: Option<&str>, lanes: bool) {
        let (of, count) = if lanes {
            (lane_source as fn(u32) -> SubtaskId, self.shape.lanes)
        } else {
            (source as _, self.shape.sources)
        };
        let starts =
            |index: &u32| self.machine.regions().of(of(*index)).is_some_and(|region| regions.contains(&region));
        let readers: BTreeSet<u32> = (0..count).filter(starts).collect();
        if readers.is_empty() {
            return;
        }
        let uid = if lanes { "lane-source" } else { "source" };
        let numbers = if lanes { SPLITS..SPLITS + LANE_SPLITS } else { 0..SPLITS };
        let begin = |split| Position { split, next: 0, watermark: None };
        if readers.len() as u32 == count {
            let unassigned = match newest {
                Some(location) => positions(metadata_at(world, location), uid),
                None => numbers.map(begin).collect(),
            };
            *self.splits(of(0)) = Splits { unassigned, ..Splits::default() };
        } else {
            let splits = self.splits(of(0));
            splits.asking.retain(|reader| !readers.contains(reader));
            splits.served.retain(|reader| !readers.contains(reader));
            let back = splits.tracker.reset(&readers.iter().copied().map(SubtaskIndex).collect());
            world.landed.given_back += back.len() as u64;
            splits
                .unassigned
                .extend(back.iter().map(|split| Position::new(&split.id, &split.state, split.watermark_ms)));
        }
        if world.all_at_once {
            self.assign_all(world, lanes);
        } else {
            self.assign(world, lanes);
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
        match action {
            Action::Prepare { checkpoint } => {
                // Discovery may have the enumerator.
                let delay = world.delay(6);
                self.later(world, delay, ManagerEvent::Prepare { checkpoint });
            }
            Action::Trigger { checkpoint, savepoint, stop, .. } => {
                if stop.is_some() {
                    self.machine.restart_as_whole();
                }
                for (attempt, id) in self.everyone() {
                    let savepoint = savepoint.clone();
                    self.send(world, &id, Down::Trigger { attempt, checkpoint, savepoint, stop });
                }
            }
            Action::Write(collected) => {
                let mut readers: BTreeMap<SubtaskIndex, Vec<Split>> = BTreeMap::new();
                let lanes = collected.subtasks.iter().filter(|(subtask, _)| subtask.task == lane_source(0).task);
                for (subtask, snapshot) in lanes {
                    let splits = snapshot.operators.iter().flat_map(|(_, state)| &state.splits);
                    let split = |split: &SplitPosition| Split {
                        id: split.id.clone(),
                        state: split.state.clone(),
                        watermark_ms: split.watermark_ms,
                    };
                    readers.insert(subtask.index, splits.map(split).collect());
                }
                self.lanes.tracker.collected(collected.checkpoint, readers);
                self.write(world, *collected);
            }
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
                if self.coordinator.stopped_with().is_some() {
                    self.machine.never_restart();
                }
                for (attempt, id) in self.everyone() {
                    self.send(world, &id, Down::Complete { attempt, checkpoint });
                }
            }
            Action::Retain { checkpoint } => {
                self.lanes.tracker.completed(checkpoint);
                let newest = self.coordinator.newest().expect("one that is retained");
                assert_consistent(metadata_at(world, &newest.location), &newest.location, &world.objects);
                let garbage = self.files.completed(&self.job, checkpoint);
                self.delete(world, garbage);
            }
            Action::Aborted { checkpoint } => {
                world.landed.aborted += 1;
                for (attempt, id) in self.everyone() {
                    self.send(world, &id, Down::Aborted { attempt, checkpoint });
                }
            }
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
            Action::Answer { request, result } => self.answers.push((request, result)),
            Action::Fail { cause } => self.fail(world, cause),
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
        let own = format!("{}/chk-{checkpoint}", self.directory);
        let location = collected.directory.clone().unwrap_or(own);
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
                let state = |splits: &Splits| serde_json::to_value(&splits.unassigned).expect("JSON");
                let mut enumerators = vec![(OperatorId(0), state(&self.keyed))];
                if self.shape.lanes > 0 {
                    enumerators.push((OperatorId(2), state(&self.lanes)));
                    self.lanes.tracker.prepared(checkpoint);
                }
                let enumerators = Ok(enumerators);
                self.checkpoint(world, Event::Prepared { checkpoint, enumerators });
            }
            ManagerEvent::Written { checkpoint, location } => {
                self.checkpoint(world, Event::Written { checkpoint, result: location });
            }
            ManagerEvent::Kept { checkpoint, result } => {
                self.checkpoint(world, Event::Persisted { checkpoint, result });
                self.schedule(world);
            }
            ManagerEvent::Reserved { end, fine } => {
                self.checkpoint(world, Event::IdsReserved { end: if fine { end } else { 0 } });
            }
            ManagerEvent::Placed { attempt, placement, fine } => {
                self.placing = false;
                if self.machine.state() != JobState::Created || self.attempt() != attempt {
                    return self.schedule(world);
                }
                if !fine {
                    return self.apply(world, JobEvent::CoordinatorFailed { cause: "disk".to_owned() });
                }
                self.kept_shape = self.shape;
                match placement.values().all(|id| self.members.contains_key(id)) {
                    true => self.apply(world, JobEvent::Placed(placement)),
                    false => self.schedule(world),
                }
            }
            ManagerEvent::RestartDue { attempt, round } => {
                if attempt == self.attempt() {
                    self.apply(world, JobEvent::RestartDue { round });
                }
            }
            ManagerEvent::CancellationTimedOut { attempt, round } => {
                if attempt == self.attempt() {
                    self.apply(world, JobEvent::CancellationTimedOut { round });
                }
            }
            ManagerEvent::Schedule => self.schedule(world),
        }
    }
}

fn each(executions: Executions) -> Vec<(u32, TaskManagerId)> {
    let of_attempt =
        |(attempt, ids): (AttemptId, BTreeSet<TaskManagerId>)| ids.into_iter().map(move |id| (attempt.0, id));
    executions.into_iter().flat_map(of_attempt).collect()
}

fn split(position: &Position) -> Split {
    let id = SplitId(position.split.to_string());
    Split { id, state: position.next.into(), watermark_ms: position.watermark }
}

fn metadata_at<'a>(world: &'a World, location: &str) -> &'a CheckpointMetadata {
    match world.objects.get(&format!("{location}/_metadata")) {
        Some(Object::Metadata(metadata)) => metadata,
        _ => panic!("I4: {location} is gone"),
    }
}

/// I4: everything that a crash now would start from is there.
pub fn assert_complete(world: &World) {
    let Some(record) = &world.disk else { return };
    let locations = record.retained.iter().map(|retained| &retained.location).chain(&record.restored);
    for location in locations {
        for file in locations_of(metadata_at(world, location)) {
            let file = resolved(file, location);
            assert!(world.objects.contains_key(&file), "I4: {file} of {location} is gone");
        }
    }
}
