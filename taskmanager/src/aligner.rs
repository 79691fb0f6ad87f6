//! Checkpoint barriers over the channels of a task, as a pure rule.
//!
//! **Aligned**: a channel whose barrier has come is blocked until the barrier of every other unfinished
//! channel has come; then the barrier passes and all are unblocked. **At least once**: the same, but
//! nothing is blocked.
//!
//! **Overtaking**: a barrier that still waits in a channel is announced. When its time has come, the
//! barrier is handed on ahead of everything that has not been read: what lies before it in the channels
//! is *in flight* and becomes part of the checkpoint. Of a channel whose barrier has been announced that
//! is what waits there now; of one whose barrier has not come at all, everything until it comes.
//!
//! A newer barrier gives up the older one. A finished channel counts as having brought every barrier.

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
    /// Hand the barrier on, ahead of what is in flight, and begin to collect that.
    Overtake(Barrier),
    /// What waits in this channel before the checkpoint's barrier is in flight.
    Capture(usize, CheckpointId),
    /// What is read from this channel from now on is in flight, too.
    Record(usize),
    /// The channel's barrier has come: what is read from now on is not in flight any more.
    StopRecording(usize),
    /// All that was in flight has been collected.
    Collected(CheckpointId),
    /// It will never be: drop what was collected.
    GiveUp(CheckpointId),
}

/// Barriers that wait for others.
#[derive(Clone, Debug)]
struct Aligning {
    barrier: Barrier,
    /// Channels that were read up to the barrier.
    arrived: Vec<bool>,
    /// Channels in which it waits.
    announced: Vec<bool>,
}

/// What was in flight when a barrier overtook it.
#[derive(Clone, Debug)]
struct Collecting {
    checkpoint: CheckpointId,
    /// Channels whose barrier has not come.
    open: Vec<bool>,
}

/// Aligns the barriers of a task's channels.
#[derive(Clone, Debug)]
pub struct BarrierAligner {
    finished: Vec<bool>,
    /// Channels in which barriers may overtake; in others they are always aligned.
    overtakable: Vec<bool>,
    at_least_once: bool,
    aligning: Option<Aligning>,
    collecting: Option<Collecting>,
    /// The newest checkpoint whose barrier has been handed on, or that was aborted.
    passed: Option<CheckpointId>,
}

impl BarrierAligner {
    /// For this many channels, whose barriers are aligned.
    pub fn new(channels: usize) -> Self {
        Self::overtaking(vec![false; channels])
    }

    /// For this many channels, of which none waits for others, but for savepoints.
    pub fn at_least_once(channels: usize) -> Self {
        Self { at_least_once: true, ..Self::new(channels) }
    }

    /// For channels in which barriers may overtake or not.
    pub fn overtaking(overtakable: Vec<bool>) -> Self {
        Self {
            finished: vec![false; overtakable.len()],
            overtakable,
            at_least_once: false,
            aligning: None,
            collecting: None,
            passed: None,
        }
    }

    /// The checkpoint whose barriers wait for others.
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.aligning.as_ref().map(|aligning| aligning.barrier.checkpoint)
    }

    /// The barrier that may overtake as soon as its time has come.
    ///
    /// Some channel must have announced it: a sender whose data has ended announces none, so that a
    /// checkpoint that is to cover the end of all data is aligned.
    pub fn may_overtake(&self) -> Option<&Barrier> {
        let Aligning { barrier, arrived, announced } = self.aligning.as_ref()?;
        let held = (0..self.finished.len()).any(|c| !self.overtakable[c] && !arrived[c] && !self.finished[c]);
        (!held && announced.contains(&true)).then_some(barrier)
    }

    /// A channel was read up to a barrier.
    pub fn barrier(&mut self, channel: usize, barrier: Barrier) -> Vec<AlignAction> {
        let mut actions = Vec::new();
        if self.close(channel, barrier.checkpoint) {
            actions.push(AlignAction::StopRecording(channel));
            self.collected(&mut actions);
            return actions;
        }
        let aligned = !self.at_least_once || barrier.savepoint.is_some();
        if let Some(aligning) = self.begin(barrier, &mut actions) {
            aligning.arrived[channel] = true;
            if aligned && !is_broken(Promise::Alignment) {
                actions.push(AlignAction::Block(channel));
            }
            self.complete(&mut actions);
        }
        actions
    }

    /// A barrier waits in a channel, behind something that has not been read.
    pub fn announced(&mut self, channel: usize, barrier: Barrier) -> Vec<AlignAction> {
        let mut actions = Vec::new();
        if self.close(channel, barrier.checkpoint) {
            actions.push(AlignAction::Capture(channel, barrier.checkpoint));
            self.collected(&mut actions);
        } else if self.overtakable[channel]
            && barrier.savepoint.is_none()
            && let Some(aligning) = self.begin(barrier, &mut actions)
        {
            aligning.announced[channel] = true;
        }
        actions
    }

    /// The time of the barrier that may overtake has come.
    pub fn overtake(&mut self) -> Vec<AlignAction> {
        let mut actions = Vec::new();
        if self.may_overtake().is_none() {
            return actions;
        }
        let Some(Aligning { barrier, arrived, announced }) = self.aligning.take() else { return actions };
        let checkpoint = barrier.checkpoint;
        self.passed = Some(checkpoint);
        actions.push(AlignAction::Overtake(barrier));
        let mut open = vec![false; arrived.len()];
        for channel in (0..open.len()).filter(|c| !arrived[*c] && !self.finished[*c]) {
            open[channel] = !announced[channel];
            actions.push(match announced[channel] {
                true => AlignAction::Capture(channel, checkpoint),
                false => AlignAction::Record(channel),
            });
        }
        actions.push(AlignAction::UnblockAll);
        self.collecting = Some(Collecting { checkpoint, open });
        self.collected(&mut actions);
        actions
    }

    /// A channel has ended.
    pub fn finish(&mut self, channel: usize) -> Vec<AlignAction> {
        self.finished[channel] = true;
        let mut actions = Vec::new();
        if let Some(checkpoint) = self.collecting.as_ref().map(|collecting| collecting.checkpoint)
            && self.close(channel, checkpoint)
        {
            actions.push(AlignAction::StopRecording(channel));
            self.collected(&mut actions);
        }
        self.complete(&mut actions);
        actions
    }

    /// This checkpoint and all older ones will not be complete, unless they are.
    pub fn abort(&mut self, checkpoint: CheckpointId) -> Vec<AlignAction> {
        let mut actions = Vec::new();
        self.passed = self.passed.max(Some(checkpoint));
        self.give_up(|collecting| collecting <= checkpoint, &mut actions);
        if self.aligning.take_if(|aligning| aligning.barrier.checkpoint <= checkpoint).is_some() {
            actions.push(AlignAction::UnblockAll);
        }
        actions
    }

    /// Whether this was the barrier that an open channel was waited for.
    fn close(&mut self, channel: usize, checkpoint: CheckpointId) -> bool {
        let collecting = self.collecting.as_mut().filter(|collecting| collecting.checkpoint == checkpoint);
        collecting.is_some_and(|collecting| std::mem::replace(&mut collecting.open[channel], false))
    }

    fn collected(&mut self, actions: &mut Vec<AlignAction>) {
        if let Some(done) = self.collecting.take_if(|collecting| !collecting.open.contains(&true)) {
            actions.push(AlignAction::Collected(done.checkpoint));
        }
    }

    fn give_up(&mut self, which: impl Fn(CheckpointId) -> bool, actions: &mut Vec<AlignAction>) {
        if let Some(collecting) = self.collecting.take_if(|collecting| which(collecting.checkpoint)) {
            actions.push(AlignAction::GiveUp(collecting.checkpoint));
        }
    }

    /// What is known of a barrier that came, unless it is of the past.
    fn begin(&mut self, barrier: Barrier, actions: &mut Vec<AlignAction>) -> Option<&mut Aligning> {
        let checkpoint = barrier.checkpoint;
        if self.passed.is_some_and(|passed| checkpoint <= passed) {
            return None;
        }
        let older = self.aligning.as_ref().map(|aligning| aligning.barrier.checkpoint);
        if older.is_some_and(|aligning| checkpoint < aligning) {
            return None;
        }
        if older != Some(checkpoint) {
            // Whatever is older was aborted: its barriers count no more.
            self.give_up(|collecting| collecting < checkpoint, actions);
            if older.is_some() {
                actions.push(AlignAction::UnblockAll);
            }
            let none = vec![false; self.finished.len()];
            self.aligning = Some(Aligning { barrier, arrived: none.clone(), announced: none });
        }
        self.aligning.as_mut()
    }

    fn complete(&mut self, actions: &mut Vec<AlignAction>) {
        let finished = &self.finished;
        let all = |aligning: &mut Aligning| aligning.arrived.iter().zip(finished).all(|(a, finished)| *a || *finished);
        if let Some(done) = self.aligning.take_if(all) {
            self.passed = Some(done.barrier.checkpoint);
            actions.push(AlignAction::Pass(done.barrier));
            actions.push(AlignAction::UnblockAll);
        }
    }
}

#[cfg(test)]
#[path = "aligner_tests.rs"]
mod tests;
