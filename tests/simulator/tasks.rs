//! Task managers: sources that read splits, and tasks that count the rows of each key and stage them for
//! the database. Barriers are aligned by the real aligner, or overtake rows, which are then kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::{
    EpochOrigin, InFlight, OperatorSnapshot, SplitPosition, StagedEpoch, StateFile, SubtaskSnapshot,
};
use tidemill_common::control::SubtaskState;
use tidemill_common::ids::{CheckpointId, JobId, OperatorId, SplitId, SubtaskId, SubtaskIndex, TaskId};

use crate::aligner::{AlignAction, BarrierAligner};
use crate::world::{Link, Next, Object, Outcome, Row, World};

pub const SOURCES: u32 = 2;
pub const COUNTERS: u32 = 2;
pub const SPLITS: u64 = 4;
pub const KEYS: u64 = 6;

pub fn source(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(0), index: SubtaskIndex(index) }
}

pub fn counter(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(1), index: SubtaskIndex(index) }
}

/// From a task manager.
#[derive(Debug)]
pub enum Up {
    Register { id: String },
    State { attempt: u32, subtask: SubtaskId, state: SubtaskState },
    SplitRequest { attempt: u32, reader: u32 },
    Acknowledged { attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId, snapshot: Box<SubtaskSnapshot> },
    Declined { attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId, reason: String },
}

/// To a task manager.
#[derive(Debug)]
pub enum Down {
    Deploy { attempt: u32, subtasks: Vec<SubtaskId>, restore: Option<String> },
    Assign { attempt: u32, reader: u32, splits: Vec<(u64, u64)>, no_more: bool },
    Trigger { attempt: u32, checkpoint: CheckpointId },
    Complete { attempt: u32, checkpoint: CheckpointId },
    Cancel { attempt: u32 },
}

/// What flows between subtasks.
#[derive(Clone, Debug)]
pub enum Element {
    Row { split: u64, index: u64, key: u64 },
    Barrier(Barrier),
    EndOfData,
    EndOfPartition,
}

#[derive(Debug, Default)]
struct Source {
    splits: Vec<(u64, u64)>,
    no_more: bool,
    asked: bool,
}

/// What is copied at a barrier, until it is uploaded.
#[derive(Debug)]
struct Upload {
    checkpoint: CheckpointId,
    changed: BTreeMap<u64, u64>,
    base: bool,
    /// Epochs up to this checkpoint.
    epochs: Vec<(u64, Vec<Row>)>,
    /// What the barrier has overtaken: split, index and key.
    in_flight: Vec<(u64, u64, u64)>,
}

/// What a barrier has overtaken, while it is collected.
#[derive(Debug)]
struct Collecting {
    upload: Upload,
    recording: [bool; SOURCES as usize],
}

#[derive(Debug)]
struct Counter {
    aligner: BarrierAligner,
    blocked: [bool; SOURCES as usize],
    waiting: [VecDeque<Element>; SOURCES as usize],
    /// Channels whose sender's data has ended: its barriers overtake nothing.
    ended: [bool; SOURCES as usize],
    collecting: Option<Collecting>,
    /// Will read on, as a slow task does.
    busy: bool,
    data_open: u32,
    open: u32,
    counts: BTreeMap<u64, u64>,
    dirty: BTreeSet<u64>,
    files: Vec<StateFile>,
    sequence: u64,
    /// A delta was lost: the next one must be a base.
    broken: bool,
    rows: Vec<Row>,
    unpublished: Vec<(u64, Vec<Row>)>,
    uploads: VecDeque<Upload>,
}

#[derive(Debug)]
enum Head {
    Source(Source),
    Counter(Box<Counter>),
}

/// One subtask of an attempt.
#[derive(Debug)]
pub struct Task {
    head: Head,
    ended: bool,
    last: Option<CheckpointId>,
}

/// A process, or none while it is down.
pub struct TaskManager {
    pub up: bool,
    pub life: u64,
    pub link: Option<Link>,
    pub tasks: BTreeMap<(u32, SubtaskId), Task>,
    /// The newest attempt that was deployed here.
    newest: u32,
    /// Until when the process stands still.
    pub frozen_until: i64,
    /// It has stood still for longer than its lease: what it has not begun to write it does not write.
    pub expired: bool,
}

impl TaskManager {
    pub fn new() -> Self {
        Self { up: false, life: 0, link: None, tasks: BTreeMap::new(), newest: 0, frozen_until: 0, expired: false }
    }

    /// The process is gone with all it had.
    pub fn kill(&mut self) {
        self.up = false;
        self.link = None;
        self.tasks.clear();
        (self.newest, self.frozen_until, self.expired) = (0, 0, false);
    }

    fn tell(&self, world: &mut World, message: Up) {
        if let Some(link) = self.link {
            world.up(link, message);
        }
    }

    fn state(&self, world: &mut World, attempt: u32, subtask: SubtaskId, state: SubtaskState) {
        self.tell(world, Up::State { attempt, subtask, state });
    }

    fn fail(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId, cause: String) {
        if self.tasks.remove(&(attempt, subtask)).is_some() {
            self.state(world, attempt, subtask, SubtaskState::Failed { cause });
        }
    }

    pub fn obey(&mut self, world: &mut World, message: Down) {
        match message {
            Down::Deploy { .. } if self.expired => {}
            Down::Deploy { attempt, subtasks, restore } => self.deploy(world, attempt, &subtasks, restore.as_deref()),
            Down::Assign { attempt, reader, splits, no_more } => {
                let life = self.life;
                if let Some(Task { head: Head::Source(reading), .. }) = self.tasks.get_mut(&(attempt, source(reader))) {
                    reading.splits.extend(splits);
                    reading.no_more |= no_more;
                    reading.asked = false;
                    world.after(1, Next::Step { attempt, subtask: source(reader), life });
                }
            }
            Down::Trigger { attempt, checkpoint } => {
                let sources: Vec<_> =
                    self.tasks.keys().filter(|(a, s)| *a == attempt && s.task.0 == 0).copied().collect();
                for (_, subtask) in sources {
                    self.trigger(world, attempt, subtask, checkpoint);
                }
            }
            Down::Complete { attempt, checkpoint } => {
                let all: Vec<_> = self.tasks.keys().filter(|(a, _)| *a == attempt).copied().collect();
                for (_, subtask) in all {
                    self.complete(world, attempt, subtask, checkpoint);
                }
            }
            Down::Cancel { attempt } => {
                let all: Vec<_> = self.tasks.keys().filter(|(a, _)| *a == attempt).copied().collect();
                for key in all {
                    self.tasks.remove(&key);
                    self.state(world, attempt, key.1, SubtaskState::Canceled);
                }
            }
        }
    }

    /// The job manager is out of reach: everything ends.
    pub fn lose(&mut self) {
        (self.link, self.expired) = (None, false);
        self.tasks.clear();
    }

    fn deploy(&mut self, world: &mut World, attempt: u32, subtasks: &[SubtaskId], restore: Option<&str>) {
        if attempt <= self.newest {
            return;
        }
        self.newest = attempt;
        self.tasks.clear();
        let metadata = match restore.map(|url| world.get(&format!("{url}/_metadata"))) {
            None => None,
            Some(Ok(Object::Metadata(metadata))) => Some(metadata),
            Some(other) => {
                for subtask in subtasks {
                    let cause = format!("cannot restore: {other:?}");
                    self.state(world, attempt, *subtask, SubtaskState::Failed { cause });
                }
                return;
            }
        };
        for subtask in subtasks {
            let head = if subtask.task.0 == 0 {
                Ok(Head::Source(Source::default()))
            } else {
                let state = metadata.as_ref().and_then(|metadata| {
                    let operator = metadata.operators.iter().find(|operator| operator.uid == "counter")?;
                    operator.subtasks.iter().find(|(index, _)| *index == subtask.index)
                });
                restored(world, attempt, subtask.index.0, state.map(|(_, state)| state)).map(Head::Counter)
            };
            match head {
                Ok(head) => {
                    self.tasks.insert((attempt, *subtask), Task { head, ended: false, last: None });
                    self.state(world, attempt, *subtask, SubtaskState::Running);
                    let life = self.life;
                    world.after(1, Next::Step { attempt, subtask: *subtask, life });
                }
                Err(cause) => self.state(world, attempt, *subtask, SubtaskState::Failed { cause }),
            }
        }
    }

    /// A source reads a row; a counter does what waits for it.
    pub fn step(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId, rows_per_split: u64) {
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let reading = match &mut task.head {
            Head::Source(reading) => reading,
            Head::Counter(counting) => {
                counting.busy = false;
                if world.chance(0.2) {
                    let actions = counting.aligner.overtake();
                    self.align(world, attempt, subtask, actions);
                }
                self.read(world, attempt, subtask);
                return self.drain(world, attempt, subtask);
            }
        };
        if task.ended {
            return;
        }
        let Some((split, position)) = reading.splits.first_mut() else {
            if reading.no_more {
                task.ended = true;
                for to in 0..COUNTERS {
                    world.send((attempt, subtask, counter(to)), Element::EndOfData);
                }
                self.state(world, attempt, subtask, SubtaskState::Finishing);
            } else if !std::mem::replace(&mut reading.asked, true) {
                self.tell(world, Up::SplitRequest { attempt, reader: subtask.index.0 });
            }
            return;
        };
        if *position == rows_per_split {
            reading.splits.remove(0);
        } else {
            let (split, index) = (*split, *position);
            *position += 1;
            let key = (split * 7 + index * 3) % KEYS;
            let to = counter((key % u64::from(COUNTERS)) as u32);
            world.send((attempt, subtask, to), Element::Row { split, index, key });
        }
        let (delay, life) = (1 + world.delay(2), self.life);
        world.after(delay, Next::Step { attempt, subtask, life });
    }

    fn trigger(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId) {
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let Head::Source(reading) = &task.head else { return };
        if task.ended {
            task.last.get_or_insert(checkpoint);
        }
        let split = |(split, position): &(u64, u64)| SplitPosition {
            id: SplitId(split.to_string()),
            state: (*position).into(),
            watermark_ms: None,
        };
        let splits = reading.splits.iter().map(split).collect();
        let state = OperatorSnapshot { splits, ..OperatorSnapshot::default() };
        let snapshot =
            Box::new(SubtaskSnapshot { operators: vec![(OperatorId(0), state)], ..SubtaskSnapshot::default() });
        for to in 0..COUNTERS {
            let barrier = Barrier { checkpoint, timestamp_ms: 0, savepoint: None };
            world.send((attempt, subtask, counter(to)), Element::Barrier(barrier));
        }
        self.tell(world, Up::Acknowledged { attempt, subtask, checkpoint, snapshot });
    }

    fn complete(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId) {
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let covered = task.last.is_some_and(|last| last <= checkpoint);
        match &mut task.head {
            Head::Source(_) => {
                if covered {
                    for to in 0..COUNTERS {
                        world.send((attempt, subtask, counter(to)), Element::EndOfPartition);
                    }
                    self.tasks.remove(&(attempt, subtask));
                    self.state(world, attempt, subtask, SubtaskState::Finished);
                }
            }
            Head::Counter(counting) => {
                let epochs: Vec<_> =
                    counting.unpublished.iter().filter(|(epoch, _)| *epoch <= checkpoint.0).cloned().collect();
                if let Err(cause) = publish(world, subtask.index.0, attempt, &epochs) {
                    return self.fail(world, attempt, subtask, cause);
                }
                counting.unpublished.retain(|(epoch, _)| *epoch > checkpoint.0);
                if covered && counting.open == 0 {
                    self.tasks.remove(&(attempt, subtask));
                    self.state(world, attempt, subtask, SubtaskState::Finished);
                } else if covered {
                    // Ends with its last channel.
                    counting.data_open = u32::MAX;
                }
            }
        }
    }

    /// An element comes to a counter.
    pub fn data(&mut self, world: &mut World, attempt: u32, from: u32, subtask: SubtaskId, element: Element) {
        let Some(Task { head: Head::Counter(counting), .. }) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let channel = from as usize;
        counting.ended[channel] |= matches!(element, Element::EndOfData);
        let announced = match &element {
            Element::Barrier(barrier) if world.overtaking && !counting.ended[channel] => Some(barrier.clone()),
            _ => None,
        };
        counting.waiting[channel].push_back(element);
        if let Some(barrier) = announced {
            let mut actions = counting.aligner.announced(channel, barrier);
            if world.chance(0.5) {
                actions.extend(counting.aligner.overtake());
            }
            self.align(world, attempt, subtask, actions);
        }
        self.drain(world, attempt, subtask);
    }

    /// Reads all there is, or sees to it that it is read one by one.
    fn drain(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId) {
        if !world.overtaking {
            while self.read(world, attempt, subtask) {}
            return;
        }
        let life = self.life;
        let Some(Task { head: Head::Counter(counting), .. }) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        if counting.ready(world).is_some() && !std::mem::replace(&mut counting.busy, true) {
            let delay = 1 + world.delay(3);
            world.after(delay, Next::Step { attempt, subtask, life });
        }
    }

    /// Reads an element, if there is one.
    fn read(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId) -> bool {
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return false };
        let Head::Counter(counting) = &mut task.head else { return false };
        let Some(channel) = counting.ready(world) else { return false };
        let Some(element) = counting.waiting[channel].pop_front() else { return false };
        let actions = match element {
            Element::Row { split, index, key } => {
                if let Some(collecting) = counting.collecting.as_mut().filter(|found| found.recording[channel]) {
                    collecting.upload.in_flight.push((split, index, key));
                }
                counting.count(split, index, key);
                Vec::new()
            }
            Element::Barrier(barrier) => counting.aligner.barrier(channel, barrier),
            Element::EndOfData => {
                counting.data_open = counting.data_open.saturating_sub(1);
                if counting.data_open == 0 {
                    task.ended = true;
                    self.state(world, attempt, subtask, SubtaskState::Finishing);
                }
                Vec::new()
            }
            Element::EndOfPartition => {
                counting.open -= 1;
                counting.aligner.finish(channel)
            }
        };
        self.align(world, attempt, subtask, actions);
        true
    }

    fn align(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId, actions: Vec<AlignAction>) {
        let life = self.life;
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let Head::Counter(counting) = &mut task.head else { return };
        for action in actions {
            match action {
                AlignAction::Block(channel) => counting.blocked[channel] = true,
                AlignAction::UnblockAll => counting.blocked = [false; SOURCES as usize],
                AlignAction::Pass(barrier) => {
                    if task.ended {
                        task.last.get_or_insert(barrier.checkpoint);
                    }
                    let upload = counting.snapshot(barrier.checkpoint);
                    counting.uploads.push_back(upload);
                    let delay = 1 + world.delay(8);
                    world.after(delay, Next::Uploaded { attempt, subtask, life });
                }
                AlignAction::Overtake(barrier) => {
                    assert!(!task.ended, "a barrier behind the end of all data overtakes");
                    let upload = counting.snapshot(barrier.checkpoint);
                    counting.collecting = Some(Collecting { upload, recording: [false; SOURCES as usize] });
                }
                AlignAction::Capture(channel, checkpoint) => counting.capture(channel, checkpoint),
                AlignAction::Record(channel) | AlignAction::StopRecording(channel) => {
                    if let Some(collecting) = &mut counting.collecting {
                        collecting.recording[channel] = matches!(action, AlignAction::Record(_));
                    }
                }
                AlignAction::Collected(_) => {
                    if let Some(Collecting { upload, .. }) = counting.collecting.take() {
                        world.landed.overtaken += u64::from(!upload.in_flight.is_empty());
                        counting.uploads.push_back(upload);
                        let delay = 1 + world.delay(8);
                        world.after(delay, Next::Uploaded { attempt, subtask, life });
                    }
                }
                AlignAction::GiveUp(_) => {
                    // What it would have written is in no file.
                    counting.broken |= counting.collecting.take().is_some();
                }
            }
        }
        if counting.open == 0 && counting.data_open == u32::MAX {
            self.tasks.remove(&(attempt, subtask));
            self.state(world, attempt, subtask, SubtaskState::Finished);
        }
    }

    /// The oldest part that was copied is written.
    pub fn uploaded(&mut self, world: &mut World, attempt: u32, subtask: SubtaskId) {
        let expired = self.expired;
        let Some(Task { head: Head::Counter(counting), .. }) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let Some(upload) = counting.uploads.pop_front().filter(|_| !expired) else { return };
        let checkpoint = upload.checkpoint;
        let message = match counting.upload(world, attempt, subtask.index, upload) {
            Ok(state) => {
                let operators = vec![(OperatorId(1), state)];
                let snapshot = Box::new(SubtaskSnapshot { operators, ..SubtaskSnapshot::default() });
                Up::Acknowledged { attempt, subtask, checkpoint, snapshot }
            }
            Err(reason) => Up::Declined { attempt, subtask, checkpoint, reason },
        };
        self.tell(world, message);
    }
}

impl Counter {
    /// A channel that can be read, any of them if the task is slow.
    fn ready(&self, world: &mut World) -> Option<usize> {
        let first = if world.overtaking { world.delay(i64::from(SOURCES) - 1) as usize } else { 0 };
        let channels = (0..SOURCES as usize).map(|at| (first + at) % SOURCES as usize);
        channels.into_iter().find(|c| !self.blocked[*c] && !self.waiting[*c].is_empty())
    }

    fn count(&mut self, split: u64, index: u64, key: u64) {
        let count = self.counts.entry(key).or_default();
        *count += 1;
        self.dirty.insert(key);
        self.rows.push(Row { key, count: *count, split, index });
    }

    /// What waits before the barrier is in flight.
    fn capture(&mut self, channel: usize, checkpoint: CheckpointId) {
        let Some(collecting) = &mut self.collecting else { return };
        collecting.recording[channel] = false;
        for element in &self.waiting[channel] {
            match element {
                Element::Row { split, index, key } => collecting.upload.in_flight.push((*split, *index, *key)),
                Element::Barrier(barrier) if barrier.checkpoint == checkpoint => return,
                _ => {}
            }
        }
        panic!("the barrier of {checkpoint} does not wait in channel {channel}");
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Upload {
        let rows = std::mem::take(&mut self.rows);
        self.unpublished.push((checkpoint.0, rows));
        // A new base now and then, so that files fall out of use.
        let base = std::mem::take(&mut self.broken) || self.files.len() + self.uploads.len() >= 3;
        let dirty = std::mem::take(&mut self.dirty);
        let changed =
            self.counts.iter().filter(|(key, _)| base || dirty.contains(key)).map(|(k, v)| (*k, *v)).collect();
        Upload { checkpoint, changed, base, epochs: self.unpublished.clone(), in_flight: Vec::new() }
    }

    fn upload(
        &mut self,
        world: &mut World,
        attempt: u32,
        subtask: SubtaskIndex,
        upload: Upload,
    ) -> Result<OperatorSnapshot, String> {
        if self.broken && !upload.base {
            return Err("an earlier part was lost".to_owned());
        }
        self.sequence += 1;
        let file = |kind: &str, name: String, sequence: u64| StateFile {
            location: format!("store://job/shared/a{attempt}-{kind}-{name}"),
            bytes: 1,
            checksum: 0,
            inline: None,
            key_groups: 0..1,
            sequence,
        };
        let state = file("s", format!("{}-{}", subtask.0, self.sequence), self.sequence);
        if let Err(reason) = world.put(&state.location, Object::Counts(upload.changed)) {
            self.broken = true;
            return Err(reason);
        }
        if upload.base {
            self.files.clear();
            self.broken = false;
        }
        self.files.push(state);
        let mut staged = Vec::new();
        for (epoch, rows) in upload.epochs {
            let rows_file = file("r", format!("{}-{epoch}-{}", subtask.0, self.sequence), epoch);
            world.put(&rows_file.location, Object::Rows(rows))?;
            let (job, checkpoint) = (JobId::from("job"), CheckpointId(epoch));
            let origin = EpochOrigin { job, sink: "counter".to_owned(), subtask, checkpoint };
            staged.push(StagedEpoch { origin, files: vec![rows_file] });
        }
        let mut in_flight = None;
        if !upload.in_flight.is_empty() {
            let rows = upload.in_flight.len() as u64;
            let kept = file("f", format!("{}-{}", subtask.0, self.sequence), self.sequence);
            world.put(&kept.location, Object::InFlight(upload.in_flight))?;
            in_flight =
                Some(InFlight { inputs: Vec::new(), channels: Vec::new(), watermark_ms: None, rows, file: kept });
        }
        Ok(OperatorSnapshot { files: self.files.clone(), staged, in_flight, ..OperatorSnapshot::default() })
    }
}

fn restored(
    world: &mut World,
    attempt: u32,
    subtask: u32,
    state: Option<&OperatorSnapshot>,
) -> Result<Box<Counter>, String> {
    let mut counter = Counter {
        aligner: BarrierAligner::overtaking(vec![world.overtaking; SOURCES as usize]),
        blocked: [false; SOURCES as usize],
        waiting: Default::default(),
        ended: [false; SOURCES as usize],
        collecting: None,
        busy: false,
        data_open: SOURCES,
        open: SOURCES,
        counts: BTreeMap::new(),
        dirty: BTreeSet::new(),
        files: Vec::new(),
        sequence: 0,
        broken: false,
        rows: Vec::new(),
        unpublished: Vec::new(),
        uploads: VecDeque::new(),
    };
    if !world.database.fence(subtask, attempt) {
        world.landed.fenced += 1;
        return Err("a newer attempt has taken over".to_owned());
    }
    let Some(state) = state else { return Ok(Box::new(counter)) };
    for file in &state.files {
        match world.get(&file.location)? {
            Object::Counts(counts) => counter.counts.extend(counts),
            other => panic!("{} is {other:?}", file.location),
        }
    }
    counter.files = state.files.clone();
    let mut epochs = Vec::new();
    for epoch in &state.staged {
        match world.get(&epoch.files[0].location)? {
            Object::Rows(rows) => epochs.push((epoch.origin.checkpoint.0, rows)),
            other => panic!("{other:?}"),
        }
    }
    publish(world, subtask, attempt, &epochs)?;
    if let Some(in_flight) = &state.in_flight {
        match world.get(&in_flight.file.location)? {
            Object::InFlight(rows) => {
                world.landed.replayed += rows.len() as u64;
                rows.into_iter().for_each(|(split, index, key)| counter.count(split, index, key));
            }
            other => panic!("{} is {other:?}", in_flight.file.location),
        }
    }
    Ok(Box::new(counter))
}

fn publish(world: &mut World, subtask: u32, attempt: u32, epochs: &[(u64, Vec<Row>)]) -> Result<(), String> {
    match world.commit_outcome() {
        Outcome::Refused => Err("the database refused the commit".to_owned()),
        outcome => {
            if !world.database.commit(subtask, attempt, epochs) {
                world.landed.fenced += 1;
                return Err("a newer attempt has taken over".to_owned());
            }
            if outcome == Outcome::Unheard { Err("the commit was not answered".to_owned()) } else { Ok(()) }
        }
    }
}
