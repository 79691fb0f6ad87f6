//! How barriers get ahead of rows under backpressure.
//!
//! A barrier always has room in a channel, and costs no credit; the receiver learns of it at once, though
//! it waits behind rows (`Inbox`). What holds a barrier up is then only a subtask that waits for room in
//! the middle of a batch. Such a subtask may overdraw its channels by some elements, until it has taken its
//! part of the checkpoint: it looks at its [`Urgency`] while it waits, and never else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidemill_common::batch::Barrier;

use crate::operators::window::system_clock;

const NEVER: i64 = i64::MAX;

/// When a subtask has to get to a barrier that waits for it, in milliseconds since the epoch.
#[derive(Debug)]
pub struct Urgency {
    /// Of a barrier that the subtask has not heard of: kept by its inbox.
    announced_ms: AtomicI64,
    /// Of one that it has heard of.
    planned_ms: AtomicI64,
}

impl Default for Urgency {
    fn default() -> Self {
        Self { announced_ms: AtomicI64::new(NEVER), planned_ms: AtomicI64::new(NEVER) }
    }
}

impl Urgency {
    /// Whether it is urgent now.
    pub fn is_due(&self) -> bool {
        let at = self.announced_ms.load(Ordering::Relaxed).min(self.planned_ms.load(Ordering::Relaxed));
        at != NEVER && at <= system_clock()
    }

    /// The subtask has heard of a barrier, or (`None`) waits for none.
    pub fn plan(&self, at_ms: Option<i64>) {
        self.planned_ms.store(at_ms.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// A barrier waits for the subtask. Called under the lock of its inbox.
    pub(super) fn announce(&self, at_ms: i64) {
        self.announced_ms.fetch_min(at_ms, Ordering::Relaxed);
    }

    /// The subtask has heard of all barriers. Called under the lock of its inbox.
    pub(super) fn heard(&self) {
        self.announced_ms.store(NEVER, Ordering::Relaxed);
    }
}

/// How the barriers of a subtask may overtake.
#[derive(Clone, Debug)]
pub struct Overtaking {
    /// How long after its checkpoint was triggered a barrier overtakes.
    pub after: Duration,
    /// In which input channels.
    pub channels: Vec<bool>,
    pub urgency: Arc<Urgency>,
}

impl Overtaking {
    /// For these channels.
    pub fn new(after: Duration, channels: Vec<bool>) -> Self {
        Self { after, channels, urgency: Arc::default() }
    }

    /// When a barrier that is first seen at `seen_ms` overtakes. Clocks differ: nobody waits for longer
    /// than `after` by his own.
    pub fn due_ms(&self, barrier: &Barrier, seen_ms: i64) -> i64 {
        let after = i64::try_from(self.after.as_millis()).unwrap_or(NEVER);
        barrier.timestamp_ms.min(seen_ms).saturating_add(after)
    }

    /// Whether a subtask that waits for room gets to an announced barrier by being let go on.
    pub(super) fn everywhere(&self) -> bool {
        !self.channels.contains(&false)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_common::ids::CheckpointId;

    use super::*;

    #[test]
    fn it_is_urgent_from_the_first_barrier_on_until_all_are_heard_of_and_none_is_planned() {
        let urgency = Urgency::default();
        assert!(!urgency.is_due());
        urgency.announce(NEVER - 1);
        assert!(!urgency.is_due(), "not yet");
        urgency.announce(0);
        urgency.announce(NEVER - 1);
        assert!(urgency.is_due());
        urgency.plan(Some(0));
        urgency.heard();
        assert!(urgency.is_due());
        urgency.plan(None);
        assert!(!urgency.is_due());
    }

    #[test]
    fn a_clock_that_lags_lets_nobody_wait_for_longer() {
        let overtaking = Overtaking::new(Duration::from_millis(10), vec![true]);
        let barrier = Barrier { checkpoint: CheckpointId(1), timestamp_ms: 1_000, savepoint: None };
        assert_eq!(overtaking.due_ms(&barrier, 1_004), 1_010);
        assert_eq!(overtaking.due_ms(&barrier, 500), 510);
        let for_ever = Overtaking::new(Duration::MAX, vec![true]);
        assert_eq!(for_ever.due_ms(&barrier, 1_004), NEVER);
    }
}
