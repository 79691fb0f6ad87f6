//! A source: it reads its splits row by row, and sends to the subtasks that it has a credit for. As a
//! thread does, it hears nothing while it waits for one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::{Blob, OperatorSnapshot, SplitPosition, SubtaskSnapshot};
use tidemill_common::control::SubtaskState;
use tidemill_common::ids::{CheckpointId, OperatorId, SplitId, SubtaskId};

use crate::fare::{Fare, Fares};
use crate::split_watermarks::SplitWatermarks;
use crate::tasks::{At, Element, Up, is_lane};
use crate::workload::{Position, ROWS_PER_SPLIT, Row, owner_of};
use crate::world::World;

/// As in the real one: the watermark as the stream of rows has raised it.
const RAISED: &str = "raised-watermark";
const AUTO_WATERMARK_INTERVAL_MS: i64 = 30;

/// What waits until the source listens.
#[derive(Debug)]
pub enum Mail {
    Trigger { barrier: Barrier, stop: Option<bool> },
    Complete(CheckpointId),
}

#[derive(Debug)]
pub struct Source {
    /// Split and next row.
    reading: BTreeMap<u64, u64>,
    /// `None` if it sends none before its end.
    watermarks: Option<SplitWatermarks>,
    no_more: bool,
    asked: bool,
    /// A step is on its way.
    scheduled: bool,
    /// Where rows go, with the credits for each.
    receivers: Vec<(SubtaskId, i64, Fares)>,
    /// Barriers may overtake.
    overtaking: bool,
    outbox: VecDeque<(u32, Element)>,
    mail: VecDeque<Mail>,
    ended: bool,
    last: Option<CheckpointId>,
    /// A complete checkpoint covers its end.
    finished: bool,
}

fn id(split: u64) -> SplitId {
    SplitId(split.to_string())
}

impl Source {
    /// A reader of so many, before these receivers, that goes on after `snapshots` of old ones.
    pub fn new(
        world: &World,
        (subtask, parallelism): (SubtaskId, u32),
        receivers: Vec<SubtaskId>,
        snapshots: &[(u32, OperatorSnapshot)],
    ) -> Self {
        let watermarks = world.all_at_once.then(|| {
            let mut watermarks = SplitWatermarks::new(AUTO_WATERMARK_INTERVAL_MS, true);
            let raised = |of: Option<u32>| {
                let old = snapshots.iter().filter(|(subtask, _)| of.is_none_or(|of| of == *subtask));
                let raised = old.filter_map(|(_, snapshot)| snapshot.values.get(RAISED));
                raised.map(|blob| serde_json::from_slice::<i64>(&blob.0).expect("a number")).min()
            };
            let same = snapshots.len() == parallelism as usize;
            if let Some(raised) = raised(same.then_some(subtask.index.0)) {
                watermarks.restore(raised);
            }
            watermarks
        });
        Self {
            reading: BTreeMap::new(),
            watermarks,
            no_more: false,
            asked: false,
            scheduled: false,
            receivers: receivers.into_iter().map(|to| (to, world.capacity as i64, Fares::default())).collect(),
            overtaking: world.overtaking && !is_lane(subtask),
            outbox: VecDeque::new(),
            mail: VecDeque::new(),
            ended: false,
            last: None,
            finished: false,
        }
    }

    pub fn has_finished(&self) -> bool {
        self.finished && self.outbox.is_empty()
    }

    pub fn assign(&mut self, world: &mut World, at: At, splits: Vec<Position>, no_more: bool) {
        for position in splits {
            assert!(self.reading.insert(position.split, position.next).is_none(), "{position:?} is read twice");
            if let Some(watermarks) = &mut self.watermarks {
                watermarks.add(id(position.split), position.watermark, Duration::ZERO);
            }
        }
        self.no_more |= no_more;
        self.asked = false;
        self.schedule(world, at);
    }

    pub fn schedule(&mut self, world: &mut World, at: At) {
        if !std::mem::replace(&mut self.scheduled, true) {
            let delay = 1 + world.delay(2);
            world.step(delay, at);
        }
    }

    /// Reads a row.
    pub fn step(&mut self, world: &mut World, at: At) -> Vec<Up> {
        self.scheduled = false;
        if self.ended || !self.outbox.is_empty() {
            return Vec::new();
        }
        let watermark = |split: &u64| self.watermarks.as_ref().and_then(|watermarks| watermarks.of_split(&id(*split)));
        let Some(split) = self.reading.keys().copied().min_by_key(|split| (watermark(split), *split)) else {
            if self.no_more {
                return self.end(world, at, true);
            }
            let asks = !std::mem::replace(&mut self.asked, true);
            return asks.then_some(Up::SplitRequest { attempt: at.attempt, reader: at.subtask }).into_iter().collect();
        };
        let index = self.reading[&split];
        let row = Row { split, index };
        let mut behind = None;
        if let Some(watermarks) = &mut self.watermarks {
            let mut cuts = Vec::new();
            let times = std::iter::once((row.time(), Some(row.watermark())));
            watermarks.rows(&id(split), times, Duration::ZERO, &mut cuts);
            if index + 1 == ROWS_PER_SPLIT {
                watermarks.finish(&id(split));
            }
            behind = watermarks.after_batch();
            cuts.into_iter().for_each(|cut| self.broadcast(&Element::Watermark(cut.watermark)));
        }
        self.outbox.push_back((owner_of(row.key(), self.receivers.len() as u32), Element::Row(row)));
        behind.into_iter().for_each(|watermark| self.broadcast(&Element::Watermark(watermark)));
        if index + 1 == ROWS_PER_SPLIT {
            self.reading.remove(&split);
        } else {
            self.reading.insert(split, index + 1);
        }
        self.flush(world, at, false);
        if self.outbox.is_empty() {
            self.schedule(world, at);
        }
        Vec::new()
    }

    fn end(&mut self, world: &mut World, at: At, drain: bool) -> Vec<Up> {
        self.ended = true;
        if drain {
            self.broadcast(&Element::Watermark(i64::MAX));
        }
        self.broadcast(&Element::EndOfData { drain });
        self.flush(world, at, false);
        vec![at.state(SubtaskState::Finishing)]
    }

    fn broadcast(&mut self, element: &Element) {
        (0..self.receivers.len() as u32).for_each(|to| self.outbox.push_back((to, element.clone())));
    }

    /// Sends what it has credits for; all of it if that is urgent.
    fn flush(&mut self, world: &mut World, at: At, urgent: bool) {
        while let Some((to, element)) = self.outbox.front() {
            let (receiver, credit, fares) = &mut self.receivers[*to as usize];
            let fare = fares.next(element.passenger(self.overtaking));
            let free = fare != Fare::Place;
            if !free && *credit <= 0 && !urgent {
                world.landed.backpressured += 1;
                return;
            }
            *credit -= i64::from(!free);
            fares.passed(fare);
            world.send((at.attempt, at.subtask, *receiver), element.clone());
            self.outbox.pop_front();
        }
    }

    /// A receiver has room again.
    pub fn credit(&mut self, world: &mut World, at: At, from: SubtaskId, credits: usize) -> Vec<Up> {
        let receiver = self.receivers.iter_mut().find(|(receiver, ..)| *receiver == from).expect("a receiver");
        receiver.1 += credits as i64;
        self.flush(world, at, false);
        let mut told = Vec::new();
        while self.outbox.is_empty()
            && let Some(mail) = self.mail.pop_front()
        {
            told.extend(self.handle(world, at, mail));
        }
        if self.outbox.is_empty() {
            self.schedule(world, at);
        }
        told
    }

    /// A message that is heard as soon as nothing waits to be sent.
    pub fn mail(&mut self, world: &mut World, at: At, mail: Mail) -> Vec<Up> {
        let overtakes = matches!(&mail, Mail::Trigger { barrier, .. } if barrier.savepoint.is_none());
        if self.overtaking && overtakes && self.mail.is_empty() {
            self.flush(world, at, true);
        }
        if self.outbox.is_empty() {
            self.handle(world, at, mail)
        } else {
            self.mail.push_back(mail);
            Vec::new()
        }
    }

    fn handle(&mut self, world: &mut World, at: At, mail: Mail) -> Vec<Up> {
        match mail {
            Mail::Complete(checkpoint) => {
                if self.last.is_some_and(|last| last <= checkpoint) && !std::mem::replace(&mut self.finished, true) {
                    self.broadcast(&Element::EndOfPartition);
                    self.flush(world, at, false);
                }
                Vec::new()
            }
            Mail::Trigger { barrier, stop } => {
                let mut told = Vec::new();
                if let Some(drain) = stop.filter(|_| !self.ended) {
                    told.extend(self.end(world, at, drain));
                }
                let checkpoint = barrier.checkpoint;
                if self.ended {
                    self.last.get_or_insert(checkpoint);
                }
                self.broadcast(&Element::Barrier(barrier));
                self.flush(world, at, false);
                let operators = vec![(OperatorId(at.subtask.task.0), self.snapshot())];
                let snapshot = Box::new(SubtaskSnapshot { operators, ..SubtaskSnapshot::default() });
                told.push(Up::Acknowledged { attempt: at.attempt, subtask: at.subtask, checkpoint, snapshot });
                told
            }
        }
    }

    fn snapshot(&self) -> OperatorSnapshot {
        let watermarks = self.watermarks.as_ref();
        let position = |(split, next): (&u64, &u64)| SplitPosition {
            id: id(*split),
            state: (*next).into(),
            watermark_ms: watermarks.and_then(|watermarks| watermarks.of_split(&id(*split))),
        };
        let mut snapshot =
            OperatorSnapshot { splits: self.reading.iter().map(position).collect(), ..OperatorSnapshot::default() };
        if let Some(watermarks) = watermarks {
            let raised = serde_json::to_vec(&watermarks.raised()).expect("JSON");
            snapshot.values.insert(RAISED.to_owned(), Blob(raised));
        }
        snapshot
    }
}
