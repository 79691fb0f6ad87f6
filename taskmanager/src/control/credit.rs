//! Credit for lines that go to a terminal or to the client of a SELECT.
//!
//! All subtasks share one queue to the control side. A subtask may have only a few chunks of lines
//! on their way, so that a slow reader blocks the subtask that writes to it and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Chunks of lines that a subtask may have on their way.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 8;

/// How often a subtask that waits for credit looks whether it was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// The credit of one subtask.
#[derive(Debug)]
pub struct LineCredit {
    free: Mutex<usize>,
    returned: Condvar,
}

/// Leave to send one chunk; given back when dropped.
#[derive(Debug)]
pub struct LinePermit(Arc<LineCredit>);

impl LineCredit {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(CHUNKS_IN_FLIGHT_MAX), returned: Condvar::new() })
    }

    /// Waits for leave to send a chunk; `None` if `cancelled` is set.
    pub fn acquire(self: &Arc<Self>, cancelled: &AtomicBool) -> Option<LinePermit> {
        let mut free = self.free.lock();
        while *free == 0 {
            if cancelled.load(Ordering::Relaxed) {
                return None;
            }
            self.returned.wait_for(&mut free, CANCEL_CHECK);
        }
        *free -= 1;
        Some(LinePermit(self.clone()))
    }
}

impl Drop for LinePermit {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_runs_out_and_comes_back() {
        let credit = LineCredit::new();
        let cancelled = AtomicBool::new(false);
        let mut permits: Vec<_> = (0..CHUNKS_IN_FLIGHT_MAX).map(|_| credit.acquire(&cancelled)).collect();
        cancelled.store(true, Ordering::Relaxed);
        assert!(credit.acquire(&cancelled).is_none(), "cancelled while there is no credit");
        permits.pop();
        assert!(credit.acquire(&cancelled).is_some());
    }
}
