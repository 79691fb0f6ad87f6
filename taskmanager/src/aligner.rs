//! Alignment of checkpoint barriers over the channels of a task, as a pure rule.
//!
//! A channel whose barrier has come is blocked until the barrier of every other unfinished channel has
//! come; then the barrier passes and all are unblocked. A newer barrier gives up the older one. A
//! finished channel counts as having brought every barrier.

use tidemill_common::batch::Barrier;
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::CheckpointId;

/// What the task has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlignAction {
    /// Read this channel no more for now.
    Block(usize),
    /// Hand the barrier on.
    Pass(Barrier),
    /// Read all channels again.
    UnblockAll,
}

/// Aligns the barriers of a task's channels.
#[derive(Clone, Debug)]
pub struct BarrierAligner {
    finished: Vec<bool>,
    arrived: Vec<bool>,
    current: Option<Barrier>,
    /// The newest checkpoint whose barrier has passed.
    passed: Option<CheckpointId>,
}

impl BarrierAligner {
    /// For this many channels.
    pub fn new(channels: usize) -> Self {
        Self { finished: vec![false; channels], arrived: vec![false; channels], current: None, passed: None }
    }

    /// A barrier came on a channel.
    pub fn barrier(&mut self, channel: usize, barrier: Barrier) -> Vec<AlignAction> {
        let mut actions = Vec::new();
        if self.passed.is_some_and(|passed| barrier.checkpoint <= passed) {
            return actions;
        }
        match &self.current {
            Some(current) if barrier.checkpoint < current.checkpoint => return actions,
            Some(current) if barrier.checkpoint > current.checkpoint => {
                // The older checkpoint was aborted: its barriers count no more.
                self.arrived.fill(false);
                actions.push(AlignAction::UnblockAll);
                self.current = Some(barrier);
            }
            Some(_) => {}
            None => self.current = Some(barrier),
        }
        self.arrived[channel] = true;
        if !is_broken(Promise::Alignment) {
            actions.push(AlignAction::Block(channel));
        }
        self.complete(&mut actions);
        actions
    }

    /// A channel has ended.
    pub fn finish(&mut self, channel: usize) -> Vec<AlignAction> {
        self.finished[channel] = true;
        let mut actions = Vec::new();
        self.complete(&mut actions);
        actions
    }

    fn complete(&mut self, actions: &mut Vec<AlignAction>) {
        let Some(barrier) = &self.current else { return };
        if self.arrived.iter().zip(&self.finished).all(|(arrived, finished)| *arrived || *finished) {
            self.arrived.fill(false);
            self.passed = Some(barrier.checkpoint);
            actions.extend(self.current.take().map(AlignAction::Pass));
            actions.push(AlignAction::UnblockAll);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier(id: u64) -> Barrier {
        Barrier { checkpoint: CheckpointId(id), timestamp_ms: 0, savepoint: None }
    }

    /// Every interleaving of channels that each carry barriers 1 and 2 (and may end between): each
    /// barrier passes once, in order, and no channel is read past a barrier that has not passed.
    fn interleave(aligner: &BarrierAligner, sent: [u64; 3], blocked: [bool; 3], passed: u64, count: &mut usize) {
        *count += 1;
        let mut stuck = true;
        for channel in 0..3 {
            if blocked[channel] || sent[channel] == 3 {
                continue;
            }
            stuck = false;
            let mut aligner = aligner.clone();
            let (mut sent, mut blocked, mut passed) = (sent, blocked, passed);
            sent[channel] += 1;
            let actions = if sent[channel] == 3 {
                aligner.finish(channel)
            } else {
                aligner.barrier(channel, barrier(sent[channel]))
            };
            for action in actions {
                match action {
                    AlignAction::Block(channel) => blocked[channel] = true,
                    AlignAction::UnblockAll => blocked = [false; 3],
                    AlignAction::Pass(barrier) => {
                        assert_eq!(barrier.checkpoint.0, passed + 1, "in order, once");
                        assert!(sent.iter().all(|sent| *sent >= barrier.checkpoint.0), "nobody is overtaken");
                        passed = barrier.checkpoint.0;
                    }
                }
            }
            interleave(&aligner, sent, blocked, passed, count);
        }
        if stuck {
            assert_eq!((sent, passed), ([3; 3], 2), "alignment is stuck");
        }
    }

    #[test]
    fn bug_11_every_interleaving_passes_each_barrier_once() {
        let mut count = 0;
        interleave(&BarrierAligner::new(3), [0; 3], [false; 3], 0, &mut count);
        assert!(count > 500, "{count}");
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
}
