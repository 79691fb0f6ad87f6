//! A keyed task: it counts the rows of each key, gathers them into windows, and stages what it gives out
//! for the database. Barriers are aligned by the real aligner, or overtake rows, which are then kept.
//! In a lane it is a sink that hands on what comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::{
    CheckpointMetadata, EpochOrigin, InFlight, OperatorSnapshot, StagedEpoch, StateFile, SubtaskSnapshot,
};
use tidemill_common::control::SubtaskState;
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::{CheckpointId, OperatorId, SubtaskId, SubtaskIndex};
use tidemill_common::key_group::key_group_range;
use tidemill_common::time::Watermark;

use crate::aligner::{AlignAction, BarrierAligner};
use crate::fare::{Fare, Fares};
use crate::tasks::{At, Element, Up, is_lane, job_of};
use crate::watermark::{MergeEvent, WatermarkMerger};
use crate::workload::{GROUPS, Output, Progress, Row, group_of, is_over, resolved};
use crate::world::{Object, Outcome, State, World};

/// An epoch on its way to be published.
pub type Epoch = (EpochOrigin, Vec<Output>);

/// What is copied at a barrier, until it is uploaded.
#[derive(Debug)]
struct Upload {
    checkpoint: CheckpointId,
    savepoint: Option<Arc<str>>,
    state: State,
    base: bool,
    progress: Progress,
    /// Epochs up to this checkpoint.
    epochs: Vec<(u64, Vec<Output>)>,
    /// What the barrier has overtaken.
    in_flight: Vec<Row>,
}

/// What a barrier has overtaken, while it is collected.
#[derive(Debug)]
struct Collecting {
    upload: Upload,
    recording: Vec<bool>,
}

#[derive(Debug)]
struct Channel {
    waiting: VecDeque<Element>,
    blocked: bool,
    /// The sender's data has ended: its barriers overtake nothing.
    ended: bool,
    watermark: i64,
    /// Elements whose credits the sender has not got back.
    consumed: usize,
    /// Elements that take a place of the channel.
    places: usize,
    put: Fares,
    taken: Fares,
}

#[derive(Debug)]
pub struct Counter {
    /// It is the sink of a lane.
    lane: bool,
    senders: Vec<SubtaskId>,
    /// Barriers may overtake.
    overtaking: bool,
    index: SubtaskIndex,
    groups: Range<u32>,
    /// URL of the job's directory.
    directory: String,
    aligner: BarrierAligner,
    merger: WatermarkMerger,
    channels: Vec<Channel>,
    collecting: Option<Collecting>,
    /// Will read on, as a slow task does.
    busy: bool,
    data_open: usize,
    open: usize,
    ended: bool,
    last: Option<CheckpointId>,
    /// A complete checkpoint covers its end.
    covered: bool,
    counts: BTreeMap<u64, u64>,
    windows: BTreeMap<(i64, u64), Vec<Row>>,
    progress: Progress,
    /// Keys that were counted, and rows that came into windows, since the last checkpoint.
    dirty: BTreeSet<u64>,
    fresh: Vec<Row>,
    files: Vec<StateFile>,
    sequence: u64,
    /// What would have been in a file is in none: the next one must be a base.
    broken: bool,
    outputs: Vec<Output>,
    unpublished: Vec<(u64, Vec<Output>)>,
    uploads: VecDeque<Upload>,
}

impl Counter {
    /// One of so many, behind these sources, that goes on from a checkpoint at this location, in a job that was
    /// last started as a whole as of an attempt.
    pub fn restored(
        world: &mut World,
        (at, first_attempt): (At, u32),
        (parallelism, from): (u32, Vec<SubtaskId>),
        directory: &str,
        checkpoint: Option<(&CheckpointMetadata, &str)>,
    ) -> Result<Box<Self>, String> {
        let channel = || Channel {
            waiting: VecDeque::new(),
            blocked: false,
            ended: false,
            watermark: i64::MIN,
            consumed: 0,
            places: 0,
            put: Fares::default(),
            taken: Fares::default(),
        };
        let senders = from.len();
        let lane = is_lane(at.subtask);
        let overtaking = world.overtaking && !lane;
        let mut counter = Self {
            lane,
            senders: from,
            overtaking,
            index: at.subtask.index,
            groups: key_group_range(at.subtask.index, parallelism, GROUPS),
            directory: directory.to_owned(),
            aligner: BarrierAligner::overtaking(vec![overtaking; senders]),
            merger: WatermarkMerger::new(senders),
            channels: (0..senders).map(|_| channel()).collect(),
            collecting: None,
            busy: false,
            data_open: senders,
            open: senders,
            ended: false,
            last: None,
            covered: false,
            counts: BTreeMap::new(),
            windows: BTreeMap::new(),
            progress: Progress::none(),
            dirty: BTreeSet::new(),
            fresh: Vec::new(),
            files: Vec::new(),
            sequence: 0,
            broken: false,
            outputs: Vec::new(),
            unpublished: Vec::new(),
            uploads: VecDeque::new(),
        };
        if !world.database.fence(at.attempt, first_attempt, at.subtask) {
            world.landed.fenced += 1;
            return Err("a newer attempt has taken over".to_owned());
        }
        let Some((metadata, location)) = checkpoint else { return Ok(Box::new(counter)) };
        let Some(operator) = metadata.operators.iter().find(|operator| operator.uid == counter.uid()) else {
            return Ok(Box::new(counter));
        };
        if !is_broken(Promise::WatermarkRestore) {
            counter.progress = Progress::restored(operator.subtasks.iter().map(|(_, state)| state));
        }
        world.landed.moved += u64::from(operator.parallelism != parallelism);
        let mut epochs = Vec::new();
        let mut in_flight = Vec::new();
        for (index, state) in &operator.subtasks {
            counter.take(world, state, location)?;
            if index.0 % parallelism == at.subtask.index.0 {
                for epoch in &state.staged {
                    match world.get(&resolved(&epoch.files[0].location, location))? {
                        Object::Outputs(outputs) => epochs.push((epoch.origin.clone(), outputs)),
                        other => panic!("{other:?}"),
                    }
                }
            }
            if let Some(kept) = &state.in_flight {
                match world.get(&resolved(&kept.file.location, location))? {
                    Object::InFlight(rows) => in_flight.extend(rows),
                    other => panic!("{other:?}"),
                }
            }
        }
        counter.adopt_files(operator.subtasks.iter().flat_map(|(_, state)| &state.files));
        publish(world, at, epochs)?;
        let groups = counter.groups.clone();
        for row in in_flight.into_iter().filter(|row| groups.contains(&group_of(row.key()))) {
            world.landed.replayed += 1;
            counter.row(row);
        }
        Ok(Box::new(counter))
    }

    /// Takes what an old subtask had of its key groups.
    fn take(&mut self, world: &mut World, state: &OperatorSnapshot, location: &str) -> Result<(), String> {
        for file in &state.files {
            let range = file.key_groups.start.max(self.groups.start)..file.key_groups.end.min(self.groups.end);
            if range.is_empty() {
                continue;
            }
            let found = match world.get(&resolved(&file.location, location))? {
                Object::State(found) => found,
                other => panic!("{} is {other:?}", file.location),
            };
            self.counts.extend(found.counts.into_iter().filter(|(key, _)| range.contains(&group_of(*key))));
            for row in found.rows.into_iter().filter(|row| range.contains(&group_of(row.key()))) {
                // Rows of windows that have fired are dead.
                if !is_over(row.window(), self.progress.of(row.key())) {
                    self.windows.entry((row.window(), row.key())).or_default().push(row);
                }
            }
        }
        Ok(())
    }

    /// Files that the next checkpoints may name again: the job's own, with no other key groups.
    fn adopt_files<'a>(&mut self, files: impl Iterator<Item = &'a StateFile>) {
        let overlap =
            |file: &&StateFile| file.key_groups.start < self.groups.end && self.groups.start < file.key_groups.end;
        let files: Vec<StateFile> = files.filter(overlap).cloned().collect();
        let own = |file: &StateFile| {
            file.location.starts_with(&format!("{}/", self.directory))
                && self.groups.start <= file.key_groups.start
                && file.key_groups.end <= self.groups.end
        };
        self.broken = !files.iter().all(own);
        if !self.broken {
            self.sequence = files.iter().map(|file| file.sequence).max().unwrap_or(0);
            self.files = files;
        }
    }

    fn uid(&self) -> &'static str {
        if self.lane { "lane-sink" } else { "counter" }
    }

    pub fn has_finished(&self) -> bool {
        self.open == 0 && self.covered
    }

    /// A slow task reads one element, and sometimes its time for overtaking has come before.
    pub fn step(&mut self, world: &mut World, at: At) -> Vec<Up> {
        self.busy = false;
        let mut told = Vec::new();
        if self.overtaking && world.chance(0.2) {
            let actions = self.aligner.overtake();
            self.align(world, at, actions);
        }
        if let Some(mut heard) = self.read(world, at) {
            told.append(&mut heard);
        }
        told.extend(self.drain(world, at));
        told
    }

    /// An element comes.
    pub fn data(&mut self, world: &mut World, at: At, from: SubtaskId, element: Element) -> Vec<Up> {
        let from = self.senders.iter().position(|sender| *sender == from).expect("a sender");
        let channel = &mut self.channels[from];
        channel.ended |= matches!(element, Element::EndOfData { .. });
        let announced = match &element {
            Element::Barrier(barrier) if self.overtaking && !channel.ended && barrier.savepoint.is_none() => {
                Some(barrier.clone())
            }
            _ => None,
        };
        let fare = channel.put.next(element.passenger(self.overtaking));
        channel.put.passed(fare);
        channel.places += usize::from(fare == Fare::Place);
        channel.waiting.push_back(element);
        // What overtakes overdraws a channel by what one row can bring along, once.
        assert!(channel.places <= world.capacity + 8, "a sender without credits has sent");
        if let Some(barrier) = announced {
            let mut actions = self.aligner.announced(from, barrier);
            if world.chance(0.5) {
                actions.extend(self.aligner.overtake());
            }
            self.align(world, at, actions);
        }
        self.drain(world, at)
    }

    /// Reads all there is, or sees to it that it is read one by one.
    fn drain(&mut self, world: &mut World, at: At) -> Vec<Up> {
        let mut told = Vec::new();
        if !world.overtaking {
            while let Some(mut heard) = self.read(world, at) {
                told.append(&mut heard);
            }
        } else if self.ready(world).is_some() && !std::mem::replace(&mut self.busy, true) {
            let delay = 1 + world.delay(3);
            world.step(delay, at);
        }
        told
    }

    /// A channel that can be read, any of them if the task is slow.
    fn ready(&self, world: &mut World) -> Option<usize> {
        let count = self.channels.len();
        let first = if world.overtaking { world.delay(count as i64 - 1) as usize } else { 0 };
        let readable = |c: &usize| !self.channels[*c].blocked && !self.channels[*c].waiting.is_empty();
        (0..count).map(|at| (first + at) % count).find(readable)
    }

    /// Reads an element, if there is one.
    fn read(&mut self, world: &mut World, at: At) -> Option<Vec<Up>> {
        let index = self.ready(world)?;
        let channel = &mut self.channels[index];
        let element = channel.waiting.pop_front()?;
        let fare = channel.taken.next(element.passenger(self.overtaking));
        channel.taken.passed(fare);
        if fare == Fare::Place {
            channel.consumed += 1;
            channel.places -= 1;
            if channel.consumed >= world.capacity.div_ceil(2) {
                let from = self.senders[index];
                world.credit((at.attempt, from, at.subtask), std::mem::take(&mut channel.consumed));
            }
        }
        let mut told = Vec::new();
        let actions = match element {
            Element::Row(row) => {
                if let Some(collecting) = self.collecting.as_mut().filter(|found| found.recording[index]) {
                    collecting.upload.in_flight.push(row);
                }
                self.row(row);
                Vec::new()
            }
            Element::Watermark(watermark) => {
                // I6.
                assert!(watermark > channel.watermark, "a watermark falls from {} to {watermark}", channel.watermark);
                channel.watermark = watermark;
                let event = self.merger.watermark(index, Watermark(watermark));
                self.merged(event);
                Vec::new()
            }
            Element::Barrier(barrier) => self.aligner.barrier(index, barrier),
            Element::EndOfData { drain } => {
                if drain {
                    let events = self.merger.finish(index);
                    self.merged(events);
                }
                self.data_open -= 1;
                if self.data_open == 0 {
                    self.ended = true;
                    told.push(at.state(SubtaskState::Finishing));
                }
                Vec::new()
            }
            Element::EndOfPartition => {
                self.open -= 1;
                self.aligner.finish(index)
            }
        };
        self.align(world, at, actions);
        Some(told)
    }

    fn row(&mut self, row: Row) {
        if self.lane {
            return self.outputs.push(Output::Passed(row));
        }
        let key = row.key();
        assert!(self.groups.contains(&group_of(key)), "{row:?} is of another subtask's key groups");
        let count = self.counts.entry(key).or_default();
        *count += 1;
        self.dirty.insert(key);
        self.outputs.push(Output::Counted { row, count: *count });
        if is_over(row.window(), self.progress.of(key)) {
            self.outputs.push(Output::Late(row));
        } else {
            self.windows.entry((row.window(), key)).or_default().push(row);
            self.fresh.push(row);
        }
    }

    fn merged(&mut self, events: impl IntoIterator<Item = MergeEvent>) {
        for event in events {
            if let MergeEvent::Advanced(Watermark(watermark)) = event
                && watermark > self.progress.watermark
            {
                self.progress.watermark = watermark;
                while let Some(first) = self.windows.first_entry().filter(|first| is_over(first.key().0, watermark)) {
                    let ((window, key), rows) = first.remove_entry();
                    self.outputs.push(Output::Window { window, key, rows });
                }
            }
        }
    }

    pub fn aborted(&mut self, world: &mut World, at: At, checkpoint: CheckpointId) -> Vec<Up> {
        let actions = self.aligner.abort(checkpoint);
        self.align(world, at, actions);
        self.drain(world, at)
    }

    fn align(&mut self, world: &mut World, at: At, actions: Vec<AlignAction>) {
        for action in actions {
            match action {
                AlignAction::Block(channel) => self.channels[channel].blocked = true,
                AlignAction::UnblockAll => self.channels.iter_mut().for_each(|channel| channel.blocked = false),
                AlignAction::Pass(barrier) => {
                    if self.ended {
                        self.last.get_or_insert(barrier.checkpoint);
                    }
                    let upload = self.snapshot(&barrier);
                    self.begin_upload(world, at, upload);
                }
                AlignAction::Overtake(barrier) => {
                    assert!(!self.ended, "a barrier behind the end of all data overtakes");
                    let upload = self.snapshot(&barrier);
                    self.collecting = Some(Collecting { upload, recording: vec![false; self.channels.len()] });
                }
                AlignAction::Capture(channel, checkpoint) => self.capture(channel, checkpoint),
                AlignAction::Record(channel) | AlignAction::StopRecording(channel) => {
                    if let Some(collecting) = &mut self.collecting {
                        collecting.recording[channel] = matches!(action, AlignAction::Record(_));
                    }
                }
                AlignAction::Collected(_) => {
                    if let Some(Collecting { upload, .. }) = self.collecting.take() {
                        world.landed.overtaken += u64::from(!upload.in_flight.is_empty());
                        self.begin_upload(world, at, upload);
                    }
                }
                // What it would have written is in no file.
                AlignAction::GiveUp(_) => self.broken |= self.collecting.take().is_some(),
            }
        }
    }

    /// What waits before the barrier is in flight.
    fn capture(&mut self, channel: usize, checkpoint: CheckpointId) {
        let Some(collecting) = &mut self.collecting else { return };
        collecting.recording[channel] = false;
        for element in &self.channels[channel].waiting {
            match element {
                Element::Row(row) => collecting.upload.in_flight.push(*row),
                Element::Barrier(barrier) if barrier.checkpoint == checkpoint => return,
                _ => {}
            }
        }
        panic!("the barrier of {checkpoint} does not wait in channel {channel}");
    }

    fn snapshot(&mut self, barrier: &Barrier) -> Upload {
        let outputs = std::mem::take(&mut self.outputs);
        self.unpublished.push((barrier.checkpoint.0, outputs));
        let savepoint = barrier.savepoint.clone();
        // A new base now and then, so that files fall out of use; and a savepoint, which is nobody's base.
        let base = savepoint.is_some() || self.broken || self.files.len() + self.uploads.len() >= 3;
        let state = if base {
            let rows = self.windows.values().flatten().copied().collect();
            State { counts: self.counts.clone(), rows }
        } else {
            State { counts: self.dirty.iter().map(|key| (*key, self.counts[key])).collect(), rows: self.fresh.clone() }
        };
        if savepoint.is_none() {
            self.broken = false;
            self.dirty.clear();
            self.fresh.clear();
        }
        Upload {
            checkpoint: barrier.checkpoint,
            savepoint,
            state,
            base,
            progress: self.progress.clone(),
            epochs: self.unpublished.clone(),
            in_flight: Vec::new(),
        }
    }

    fn begin_upload(&mut self, world: &mut World, at: At, upload: Upload) {
        self.uploads.push_back(upload);
        let delay = 1 + world.delay(8);
        world.after(delay, crate::world::Next::Uploaded(at));
    }

    /// The oldest part that was copied is written, unless the process has no leave to write any more.
    pub fn uploaded(&mut self, world: &mut World, at: At, expired: bool) -> Option<Up> {
        let upload = self.uploads.pop_front().filter(|_| !expired)?;
        let (attempt, subtask, checkpoint) = (at.attempt, at.subtask, upload.checkpoint);
        Some(match self.upload(world, attempt, upload) {
            Ok(state) => {
                let operators = vec![(OperatorId(subtask.task.0), state)];
                let snapshot = Box::new(SubtaskSnapshot { operators, ..SubtaskSnapshot::default() });
                Up::Acknowledged { attempt, subtask, checkpoint, snapshot }
            }
            Err(reason) => Up::Declined { attempt, subtask, checkpoint, reason },
        })
    }

    fn upload(&mut self, world: &mut World, attempt: u32, upload: Upload) -> Result<OperatorSnapshot, String> {
        if self.broken && !upload.base {
            return Err("an earlier part was lost".to_owned());
        }
        self.sequence += 1;
        let (uid, index, sequence, groups) = (self.uid(), self.index, self.sequence, self.groups.clone());
        let place =
            upload.savepoint.as_ref().map_or_else(|| format!("{}/shared", self.directory), |url| url.to_string());
        // In savepoints files are named from the directory.
        let in_savepoint = upload.savepoint.is_some();
        let mut write = |kind: &str, object: Object| -> Result<StateFile, String> {
            let name = format!("a{attempt}-{kind}-{uid}-{index}-{sequence}");
            let url = format!("{place}/{name}");
            world.put(&url, object)?;
            let location = if in_savepoint { name } else { url };
            Ok(StateFile { location, bytes: 1, checksum: 0, inline: None, key_groups: groups.clone(), sequence })
        };
        let state = match write("s", Object::State(upload.state)) {
            Ok(state) => state,
            Err(reason) => {
                self.broken |= !in_savepoint;
                return Err(reason);
            }
        };
        let files = if in_savepoint {
            vec![state]
        } else {
            if upload.base {
                self.files.clear();
                self.broken = false;
            }
            self.files.push(state);
            self.files.clone()
        };
        let mut staged = Vec::new();
        for (epoch, outputs) in upload.epochs {
            let rows = write(&format!("r{epoch}"), Object::Outputs(outputs))?;
            let (job, checkpoint) = (job_of(attempt), CheckpointId(epoch));
            let origin = EpochOrigin { job, sink: self.uid().to_owned(), subtask: index, checkpoint };
            staged.push(StagedEpoch { origin, files: vec![rows] });
        }
        let mut in_flight = None;
        if !upload.in_flight.is_empty() {
            let rows = upload.in_flight.len() as u64;
            let file = write("f", Object::InFlight(upload.in_flight))?;
            in_flight = Some(InFlight { inputs: Vec::new(), channels: Vec::new(), watermark_ms: None, rows, file });
        }
        let mut snapshot = OperatorSnapshot { files, staged, in_flight, ..OperatorSnapshot::default() };
        upload.progress.keep(&self.groups, &mut snapshot);
        Ok(snapshot)
    }

    /// A checkpoint is complete: what waited for it is published.
    pub fn complete(&mut self, world: &mut World, at: At, checkpoint: CheckpointId) -> Result<(), String> {
        let origin = |epoch: u64| EpochOrigin {
            job: job_of(at.attempt),
            sink: self.uid().to_owned(),
            subtask: self.index,
            checkpoint: CheckpointId(epoch),
        };
        let done = self.unpublished.iter().filter(|(epoch, _)| *epoch <= checkpoint.0);
        let epochs = done.map(|(epoch, outputs)| (origin(*epoch), outputs.clone())).collect();
        publish(world, at, epochs)?;
        self.unpublished.retain(|(epoch, _)| *epoch > checkpoint.0);
        self.covered |= self.last.is_some_and(|last| last <= checkpoint);
        Ok(())
    }
}

fn publish(world: &mut World, at: At, epochs: Vec<Epoch>) -> Result<(), String> {
    match world.commit_outcome() {
        Outcome::Refused => Err("the database refused the commit".to_owned()),
        outcome => {
            if !world.database.commit(at.attempt, at.subtask, epochs) {
                world.landed.fenced += 1;
                return Err("a newer attempt has taken over".to_owned());
            }
            if outcome == Outcome::Unheard { Err("the commit was not answered".to_owned()) } else { Ok(()) }
        }
    }
}
