use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn barrier(id: u64) -> Barrier {
    Barrier { checkpoint: CheckpointId(id), timestamp_ms: 0, savepoint: None }
}

fn savepoint(id: u64) -> Barrier {
    Barrier { savepoint: Some("file:///s".into()), ..barrier(id) }
}

/// What a sender puts into a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Row,
    Barrier(u64),
    /// Of the data: barriers behind it are not announced.
    EndOfData,
    End,
}

use Sent::{Barrier as B, End, EndOfData, Row};

/// How barriers are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Aligned,
    AtLeastOnce,
    /// Once the time has come, which it may at any moment; nothing overtakes in the channels from this one on.
    Overtaking(usize),
}

/// A task, its channels and what its checkpoints hold.
#[derive(Clone, Debug)]
struct Model {
    aligner: BarrierAligner,
    way: Way,
    /// How many elements were put into each channel, and read.
    put: Vec<usize>,
    read: Vec<usize>,
    blocked: Vec<bool>,
    recording: Vec<bool>,
    aborted: bool,
    /// The checkpoint whose rows in flight are collected.
    collecting: Option<u64>,
    /// By checkpoint and channel: how many elements were read when the state was taken.
    taken: BTreeMap<u64, Vec<usize>>,
    in_flight: BTreeMap<u64, Vec<Vec<usize>>>,
    complete: Vec<u64>,
}

impl Model {
    fn new(way: Way, channels: usize) -> Self {
        let aligner = match way {
            Way::Aligned => BarrierAligner::new(channels),
            Way::AtLeastOnce => BarrierAligner::at_least_once(channels),
            Way::Overtaking(first) => BarrierAligner::overtaking((0..channels).map(|c| c < first).collect()),
        };
        Self {
            aligner,
            way,
            put: vec![0; channels],
            read: vec![0; channels],
            blocked: vec![false; channels],
            recording: vec![false; channels],
            aborted: false,
            collecting: None,
            taken: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            complete: Vec::new(),
        }
    }

    fn put(&mut self, scripts: &[&[Sent]], channel: usize) {
        let script = scripts[channel];
        let element = script[self.put[channel]];
        self.put[channel] += 1;
        let ended = script[..self.put[channel]].contains(&EndOfData);
        if let B(id) = element
            && matches!(self.way, Way::Overtaking(first) if channel < first)
            && !ended
        {
            let actions = self.aligner.announced(channel, barrier(id));
            self.perform(scripts, actions);
        }
    }

    fn read(&mut self, scripts: &[&[Sent]], channel: usize) {
        let element = scripts[channel][self.read[channel]];
        if self.recording[channel]
            && element == Row
            && let Some(id) = self.collecting
        {
            self.in_flight.get_mut(&id).unwrap()[channel].push(self.read[channel]);
        }
        self.read[channel] += 1;
        let actions = match element {
            Row | EndOfData => Vec::new(),
            B(id) => self.aligner.barrier(channel, barrier(id)),
            End => self.aligner.finish(channel),
        };
        self.perform(scripts, actions);
    }

    fn perform(&mut self, scripts: &[&[Sent]], actions: Vec<AlignAction>) {
        for action in actions {
            match action {
                AlignAction::Block(channel) => self.blocked[channel] = true,
                AlignAction::UnblockAll => self.blocked.fill(false),
                AlignAction::Pass(barrier) => {
                    self.taken.insert(barrier.checkpoint.0, self.read.clone());
                    self.check(scripts, barrier.checkpoint.0);
                }
                AlignAction::Overtake(barrier) => {
                    let id = barrier.checkpoint.0;
                    assert_eq!(self.collecting, None, "the one before was not given up");
                    self.taken.insert(id, self.read.clone());
                    self.in_flight.insert(id, vec![Vec::new(); self.read.len()]);
                    self.collecting = Some(id);
                }
                AlignAction::Capture(channel, CheckpointId(id)) => {
                    assert_eq!(self.collecting, Some(id));
                    self.recording[channel] = false;
                    let waiting = (self.read[channel]..self.put[channel]).map(|at| (at, scripts[channel][at]));
                    let mut found = false;
                    for (at, element) in waiting {
                        found |= element == B(id);
                        if found {
                            break;
                        }
                        if element == Row {
                            self.in_flight.get_mut(&id).unwrap()[channel].push(at);
                        }
                    }
                    assert!(found, "the barrier does not wait in channel {channel}");
                }
                AlignAction::Record(channel) => self.recording[channel] = true,
                AlignAction::StopRecording(channel) => self.recording[channel] = false,
                AlignAction::Collected(id) => {
                    assert_eq!(self.collecting.take(), Some(id.0));
                    assert!(!self.recording.contains(&true), "a channel is still recorded");
                    self.check(scripts, id.0);
                }
                AlignAction::GiveUp(id) => {
                    assert_eq!(self.collecting.take(), Some(id.0));
                    self.recording.fill(false);
                }
            }
        }
    }

    /// A checkpoint holds all rows before its barriers, once, as read or as in flight, in order, and no
    /// others.
    fn check(&mut self, scripts: &[&[Sent]], id: u64) {
        assert!(self.complete.last() < Some(&id), "in order, once");
        self.complete.push(id);
        for (channel, script) in scripts.iter().enumerate() {
            let rows = |to: usize| (0..to).filter(|at| script[*at] == Row);
            let end = script.iter().position(|element| *element == B(id)).unwrap_or(script.len());
            let mut held: Vec<usize> = rows(self.taken[&id][channel]).collect();
            held.extend(self.in_flight.get(&id).into_iter().flat_map(|channels| &channels[channel]));
            let expected: Vec<usize> = rows(end).collect();
            if self.way == Way::AtLeastOnce {
                assert!(
                    expected.iter().all(|row| held.contains(row)),
                    "checkpoint {id} lost rows of channel {channel}"
                );
            } else {
                assert_eq!(held, expected, "checkpoint {id}, channel {channel}");
            }
        }
    }

    /// Everything that may happen next; nothing if all is done.
    fn next(&self, scripts: &[&[Sent]], aborts: bool) -> Vec<Self> {
        let mut next = Vec::new();
        for (channel, script) in scripts.iter().enumerate() {
            if self.put[channel] < script.len() {
                let mut model = self.clone();
                model.put(scripts, channel);
                next.push(model);
            }
            if self.read[channel] < self.put[channel] && !self.blocked[channel] {
                let mut model = self.clone();
                model.read(scripts, channel);
                next.push(model);
            }
        }
        if self.aligner.may_overtake().is_some() {
            let mut model = self.clone();
            let actions = model.aligner.overtake();
            assert!(matches!(actions[0], AlignAction::Overtake(_)));
            model.perform(scripts, actions);
            next.push(model);
        }
        if aborts && !self.aborted {
            let mut model = self.clone();
            model.aborted = true;
            let actions = model.aligner.abort(CheckpointId(1));
            model.perform(scripts, actions);
            next.push(model);
        }
        next
    }
}

/// Goes through all states that can be reached; gives how many, and how many ended in which way.
fn explore(way: Way, scripts: &[&[Sent]], aborts: bool) -> usize {
    let mut seen = BTreeSet::new();
    let mut open = vec![Model::new(way, scripts.len())];
    while let Some(model) = open.pop() {
        if !seen.insert(format!("{model:?}")) {
            continue;
        }
        let next = model.next(scripts, aborts);
        let done = model.read.iter().zip(scripts).all(|(read, script)| *read == script.len());
        if done {
            let last = scripts[0].iter().filter_map(|sent| if let B(id) = sent { Some(*id) } else { None }).max();
            assert_eq!(model.complete.last().copied(), last, "{way:?}: the last checkpoint is not complete: {model:?}");
            assert_eq!(model.collecting, None);
        } else {
            assert!(next.iter().any(|next| next.read != model.read || next.put != model.put), "stuck: {model:?}");
        }
        open.extend(next);
    }
    seen.len()
}

#[test]
fn bug_11_no_barrier_is_overtaken_or_mixed_up_in_any_interleaving() {
    let two: [&[Sent]; 2] = [&[Row, B(1), Row, B(2), End], &[Row, Row, B(1), B(2), Row, EndOfData, End]];
    let three: [&[Sent]; 3] = [&[Row, B(1), Row, End], &[B(1), Row, End], &[Row, B(1), End]];
    for way in [Way::Aligned, Way::AtLeastOnce, Way::Overtaking(2), Way::Overtaking(1)] {
        for aborts in [false, true] {
            let states = explore(way, &two, aborts);
            assert!(states > 200, "{way:?}: only {states} states");
        }
        let states = explore(way, &three, false);
        assert!(states > 200, "{way:?}: only {states} states");
    }
}

#[test]
fn bug_27_a_checkpoint_behind_the_end_of_all_data_is_aligned() {
    let scripts: [&[Sent]; 2] = [&[Row, EndOfData, B(1), End], &[Row, Row, EndOfData, B(1), End]];
    let mut seen = BTreeSet::new();
    let mut open = vec![Model::new(Way::Overtaking(2), 2)];
    while let Some(model) = open.pop() {
        if !seen.insert(format!("{model:?}")) {
            continue;
        }
        assert!(model.aligner.may_overtake().is_none(), "{model:?}");
        if let Some(taken) = model.taken.get(&1) {
            assert_eq!(taken.as_slice(), [3, 4], "the checkpoint does not cover the end of the data");
        }
        open.extend(model.next(&scripts, false));
    }
}

#[test]
fn a_newer_barrier_gives_up_the_older() {
    let mut aligner = BarrierAligner::new(2);
    assert_eq!(aligner.barrier(0, barrier(1)), [AlignAction::Block(0)]);
    assert_eq!(aligner.barrier(1, barrier(2)), [AlignAction::UnblockAll, AlignAction::Block(1)]);
    assert_eq!(
        aligner.barrier(0, barrier(2)),
        [AlignAction::Block(0), AlignAction::Pass(barrier(2)), AlignAction::UnblockAll]
    );
    assert_eq!(aligner.barrier(0, barrier(1)), [], "what has passed does not come back");
}

#[test]
fn an_aborted_checkpoint_blocks_nothing_any_more() {
    let mut aligner = BarrierAligner::new(2);
    assert_eq!(aligner.barrier(0, barrier(1)), [AlignAction::Block(0)]);
    assert_eq!(aligner.abort(CheckpointId(1)), [AlignAction::UnblockAll]);
    assert_eq!(aligner.barrier(1, barrier(1)), [], "it comes too late");
    assert_eq!(aligner.barrier(1, barrier(2)), [AlignAction::Block(1)]);
}

#[test]
fn savepoints_are_aligned_always() {
    let mut aligner = BarrierAligner::overtaking(vec![true, true]);
    assert_eq!(aligner.announced(0, savepoint(1)), []);
    assert!(aligner.may_overtake().is_none());
    for mut aligner in [aligner, BarrierAligner::at_least_once(2)] {
        assert_eq!(aligner.barrier(1, savepoint(1)), [AlignAction::Block(1)]);
        assert_eq!(
            aligner.barrier(0, savepoint(1)),
            [AlignAction::Block(0), AlignAction::Pass(savepoint(1)), AlignAction::UnblockAll]
        );
    }
}

#[test]
fn what_was_collected_in_vain_is_given_up() {
    let mut aligner = BarrierAligner::overtaking(vec![true, true]);
    assert_eq!(aligner.announced(0, barrier(1)), []);
    assert_eq!(
        aligner.overtake(),
        [
            AlignAction::Overtake(barrier(1)),
            AlignAction::Capture(0, CheckpointId(1)),
            AlignAction::Record(1),
            AlignAction::UnblockAll
        ]
    );
    assert_eq!(aligner.announced(1, barrier(2)), [AlignAction::GiveUp(CheckpointId(1))]);
    assert_eq!(aligner.barrier(0, barrier(1)), [], "it was handed on");
    assert_eq!(aligner.barrier(0, barrier(2)), [AlignAction::Block(0)]);
    assert_eq!(
        aligner.overtake(),
        [
            AlignAction::Overtake(barrier(2)),
            AlignAction::Capture(1, CheckpointId(2)),
            AlignAction::UnblockAll,
            AlignAction::Collected(CheckpointId(2))
        ]
    );
}
