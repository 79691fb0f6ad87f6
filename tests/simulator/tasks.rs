//! Task managers: processes that run sources and the tasks behind them, obey their job manager, and may
//! stand still or die at any moment.
//!
//! A job has a keyed pipeline, which is one region, and may have lanes beside it: sources with a task behind
//! each that hands on what it gets, every one a region of its own, all with one enumerator of splits.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::SubtaskSnapshot;
use tidemill_common::control::SubtaskState;
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::{CheckpointId, JobId, RegionId, SubtaskId, SubtaskIndex, TaskId};
use tidemill_common::job_graph::{JobGraph, Task as GraphTask, TaskEdge};
use tidemill_common::plan::Partitioning;

use crate::counter::Counter;
use crate::fare::Passenger;
use crate::source::{Mail, Source};
use crate::workload::{Position, Row};
use crate::world::{Link, Object, World};

/// Attempts of a job begin at its number times this, so that an attempt also says of which job it is.
pub const ATTEMPTS: u32 = 10_000;

pub fn job_of(attempt: u32) -> JobId {
    JobId(format!("job{}", attempt / ATTEMPTS))
}

pub fn source(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(0), index: SubtaskIndex(index) }
}

pub fn counter(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(1), index: SubtaskIndex(index) }
}

pub fn lane_source(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(2), index: SubtaskIndex(index) }
}

pub fn lane_sink(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(3), index: SubtaskIndex(index) }
}

/// Whether a subtask is one of a lane.
pub fn is_lane(subtask: SubtaskId) -> bool {
    subtask.task.0 > 1
}

fn is_source(subtask: SubtaskId) -> bool {
    subtask.task.0.is_multiple_of(2)
}

/// How many subtasks of each task a job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub sources: u32,
    pub counters: u32,
    pub lanes: u32,
}

impl Shape {
    pub fn sources(self) -> impl Iterator<Item = SubtaskId> {
        (0..self.sources).map(source).chain((0..self.lanes).map(lane_source))
    }

    pub fn graph(self) -> JobGraph {
        let task = |id, parallelism| GraphTask { id: TaskId(id), operators: Vec::new(), parallelism };
        let edge = |index, from, to, partitioning| TaskEdge { index, from: TaskId(from), to: TaskId(to), partitioning };
        let mut tasks = vec![task(0, self.sources), task(1, self.counters)];
        let mut edges = vec![edge(0, 0, 1, Partitioning::Hash { keys: vec![0] })];
        if self.lanes > 0 {
            tasks.extend([task(2, self.lanes), task(3, self.lanes)]);
            edges.push(edge(1, 2, 3, Partitioning::Forward));
        }
        JobGraph { tasks, edges }
    }

    /// Where the rows of a source go.
    fn receivers(self, source: SubtaskId) -> Vec<SubtaskId> {
        match is_lane(source) {
            true => vec![lane_sink(source.index.0)],
            false => (0..self.counters).map(counter).collect(),
        }
    }

    /// Where the rows of a task come from.
    fn senders(self, to: SubtaskId) -> Vec<SubtaskId> {
        match is_lane(to) {
            true => vec![lane_source(to.index.0)],
            false => (0..self.sources).map(source).collect(),
        }
    }
}

/// A subtask in one life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub attempt: u32,
    pub subtask: SubtaskId,
    pub life: u64,
}

impl At {
    pub fn state(self, state: SubtaskState) -> Up {
        Up::State { attempt: self.attempt, subtask: self.subtask, state }
    }
}

/// From a task manager.
#[derive(Debug)]
pub enum Up {
    Register { id: String, slots: u32 },
    State { attempt: u32, subtask: SubtaskId, state: SubtaskState },
    SplitRequest { attempt: u32, reader: SubtaskId },
    Acknowledged { attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId, snapshot: Box<SubtaskSnapshot> },
    Declined { attempt: u32, subtask: SubtaskId, checkpoint: CheckpointId, reason: String },
}

/// To a task manager.
#[derive(Debug)]
pub enum Down {
    Deploy(Deploy),
    Assign { attempt: u32, reader: SubtaskId, splits: Vec<Position>, no_more: bool },
    Trigger { attempt: u32, checkpoint: CheckpointId, savepoint: Option<String>, stop: Option<bool> },
    Complete { attempt: u32, checkpoint: CheckpointId },
    Aborted { attempt: u32, checkpoint: CheckpointId },
    Cancel { attempt: u32 },
}

/// Subtasks of a region to start.
#[derive(Debug)]
pub struct Deploy {
    pub attempt: u32,
    /// Attempts before this one are over in all regions.
    pub first_attempt: u32,
    pub region: RegionId,
    pub shape: Shape,
    pub directory: String,
    pub subtasks: Vec<SubtaskId>,
    pub restore: Option<String>,
}

/// What flows between subtasks.
#[derive(Clone, Debug)]
pub enum Element {
    Row(Row),
    Watermark(i64),
    Barrier(Barrier),
    EndOfData { drain: bool },
    EndOfPartition,
}

impl Element {
    /// By which it takes a place in a channel in which barriers may overtake, or not.
    pub fn passenger(&self, overtaking: bool) -> Passenger {
        match self {
            Self::Watermark(_) => Passenger::Watermark,
            Self::Barrier(_) if overtaking => Passenger::OvertakingBarrier,
            _ => Passenger::Other,
        }
    }
}

/// One subtask of an attempt.
#[derive(Debug)]
pub enum Task {
    Source(Source),
    Counter(Box<Counter>),
}

/// A process, or none while it is down.
pub struct TaskManager {
    pub slots: u32,
    pub up: bool,
    pub life: u64,
    pub link: Option<Link>,
    pub tasks: BTreeMap<(u32, SubtaskId), Task>,
    /// The region of each attempt that was deployed here.
    regions: BTreeMap<u32, RegionId>,
    /// Until when the process stands still.
    pub frozen_until: i64,
    /// It has stood still for longer than its lease: what it has not begun to write it does not write.
    pub expired: bool,
}

impl TaskManager {
    pub fn new(slots: u32) -> Self {
        let (tasks, regions) = (BTreeMap::new(), BTreeMap::new());
        Self { slots, up: false, life: 0, link: None, tasks, regions, frozen_until: 0, expired: false }
    }

    /// The process is gone with all it had.
    pub fn kill(&mut self) {
        self.up = false;
        self.link = None;
        self.tasks.clear();
        self.regions.clear();
        (self.frozen_until, self.expired) = (0, false);
    }

    fn tell(&self, world: &mut World, messages: impl IntoIterator<Item = Up>) {
        if let Some(link) = self.link {
            messages.into_iter().for_each(|message| world.up(link, message));
        }
    }

    pub fn obey(&mut self, world: &mut World, message: Down) {
        match message {
            Down::Deploy(_) if self.expired => {}
            Down::Deploy(deploy) => self.deploy(world, &deploy),
            Down::Assign { attempt, reader, splits, no_more } => {
                let at = At { attempt, subtask: reader, life: self.life };
                if let Some(Task::Source(source)) = self.tasks.get_mut(&(attempt, at.subtask)) {
                    source.assign(world, at, splits, no_more);
                }
            }
            Down::Trigger { attempt, checkpoint, savepoint, stop } => {
                let savepoint: Option<Arc<str>> = savepoint.map(Into::into);
                self.for_all(world, attempt, |task, world, at| match task {
                    Task::Source(source) => {
                        let barrier = Barrier { checkpoint, timestamp_ms: 0, savepoint: savepoint.clone() };
                        source.mail(world, at, Mail::Trigger { barrier, stop })
                    }
                    Task::Counter(_) => Vec::new(),
                });
            }
            Down::Complete { attempt, checkpoint } => self.for_all(world, attempt, |task, world, at| match task {
                Task::Source(source) => source.mail(world, at, Mail::Complete(checkpoint)),
                Task::Counter(counter) => match counter.complete(world, at, checkpoint) {
                    Ok(()) => Vec::new(),
                    Err(cause) => vec![at.state(SubtaskState::Failed { cause })],
                },
            }),
            Down::Aborted { attempt, checkpoint } => self.for_all(world, attempt, |task, world, at| match task {
                Task::Source(_) => Vec::new(),
                Task::Counter(counter) => counter.aborted(world, at, checkpoint),
            }),
            Down::Cancel { attempt } => {
                self.for_all(world, attempt, |_, _, at| vec![at.state(SubtaskState::Canceled)]);
            }
        }
    }

    fn for_all(&mut self, world: &mut World, attempt: u32, mut each: impl FnMut(&mut Task, &mut World, At) -> Vec<Up>) {
        let all: Vec<_> = self.tasks.keys().filter(|(found, _)| *found == attempt).copied().collect();
        for (_, subtask) in all {
            self.with(world, attempt, subtask, &mut each);
        }
    }

    /// Has a task do something, tells what comes of it, and ends the task if it has ended.
    pub fn with(
        &mut self,
        world: &mut World,
        attempt: u32,
        subtask: SubtaskId,
        act: impl FnOnce(&mut Task, &mut World, At) -> Vec<Up>,
    ) {
        let at = At { attempt, subtask, life: self.life };
        let Some(task) = self.tasks.get_mut(&(attempt, subtask)) else { return };
        let mut told = act(task, world, at);
        let finished = match task {
            Task::Source(source) => source.has_finished(),
            Task::Counter(counter) => counter.has_finished(),
        };
        let mut over = told.iter().any(|message| matches!(message, Up::State { state, .. } if state.has_ended()));
        if finished && !over {
            told.push(at.state(SubtaskState::Finished));
            over = true;
        }
        if over {
            self.tasks.remove(&(attempt, subtask));
        }
        self.tell(world, told);
    }

    /// The job manager is out of reach: everything ends.
    pub fn lose(&mut self) {
        (self.link, self.expired) = (None, false);
        self.tasks.clear();
    }

    fn deploy(&mut self, world: &mut World, deploy: &Deploy) {
        let Deploy { attempt, first_attempt, region, shape, directory, subtasks, restore } = deploy;
        let (attempt, shape, restore) = (*attempt, *shape, restore.as_deref());
        if self.regions.last_key_value().is_some_and(|(newest, _)| *newest >= attempt) {
            return;
        }
        // Other regions go on.
        self.regions.retain(|older, of| older >= first_attempt && of != region);
        self.tasks.retain(|(older, _), _| self.regions.contains_key(older));
        self.regions.insert(attempt, *region);
        let life = self.life;
        let metadata = match restore.map(|url| world.get(&format!("{url}/_metadata"))) {
            None => None,
            Some(Ok(Object::Metadata(metadata))) => Some(metadata),
            Some(other) => {
                let cause = format!("cannot restore: {other:?}");
                let failed = |subtask: &SubtaskId| {
                    At { attempt, subtask: *subtask, life }.state(SubtaskState::Failed { cause: cause.clone() })
                };
                return self.tell(world, subtasks.iter().map(failed));
            }
        };
        for subtask in subtasks {
            let at = At { attempt, subtask: *subtask, life };
            let task = if is_source(*subtask) {
                let uid = if is_lane(*subtask) { "lane-source" } else { "source" };
                let operator =
                    metadata.iter().flat_map(|metadata| &metadata.operators).find(|operator| operator.uid == uid);
                let old: Vec<_> = operator
                    .iter()
                    .flat_map(|operator| operator.subtasks.iter().map(|(index, state)| (index.0, state.clone())))
                    .collect();
                let parallelism = if is_lane(*subtask) { shape.lanes } else { shape.sources };
                Ok(Task::Source(Source::new(world, (*subtask, parallelism), shape.receivers(*subtask), &old)))
            } else {
                let checkpoint = metadata.as_deref().zip(restore);
                let parallelism = if is_lane(*subtask) { shape.lanes } else { shape.counters };
                let (fence, senders) = ((at, *first_attempt), shape.senders(*subtask));
                Counter::restored(world, fence, (parallelism, senders), directory, checkpoint).map(Task::Counter)
            };
            let state = match task {
                Ok(task) => {
                    self.tasks.insert((attempt, *subtask), task);
                    SubtaskState::Running
                }
                Err(cause) => SubtaskState::Failed { cause },
            };
            self.tell(world, [at.state(state)]);
            if let Some(Task::Source(source)) = self.tasks.get_mut(&(attempt, *subtask)) {
                source.schedule(world, at);
            }
        }
    }

    /// A task reads on.
    pub fn step(&mut self, world: &mut World, at: At) {
        self.with(world, at.attempt, at.subtask, |task, world, at| match task {
            Task::Source(source) => source.step(world, at),
            Task::Counter(counter) => counter.step(world, at),
        });
    }

    /// What was copied is written.
    pub fn uploaded(&mut self, world: &mut World, at: At) {
        let expired = self.expired && !is_broken(Promise::Lease);
        self.with(world, at.attempt, at.subtask, |task, world, at| match task {
            Task::Source(_) => Vec::new(),
            Task::Counter(counter) => counter.uploaded(world, at, expired).into_iter().collect(),
        });
    }

    /// An element comes over a channel.
    pub fn data(&mut self, world: &mut World, attempt: u32, from: SubtaskId, to: SubtaskId, element: Element) {
        self.with(world, attempt, to, |task, world, at| match task {
            Task::Source(_) => Vec::new(),
            Task::Counter(counter) => counter.data(world, at, from, element),
        });
    }

    /// A sender may send more.
    pub fn credit(&mut self, world: &mut World, attempt: u32, from: SubtaskId, to: SubtaskId, credits: usize) {
        self.with(world, attempt, from, |task, world, at| match task {
            Task::Source(source) => source.credit(world, at, to, credits),
            Task::Counter(_) => Vec::new(),
        });
    }
}
