//! Leave to have effects outside.
//!
//! A task manager that was frozen or cut off has been replaced by the time it goes on. It finds its
//! lease expired and writes nothing more. The clock is monotonic and runs while the process is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidemill_common::faults::{Promise, is_broken};

/// The lease of a process. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease {
    /// `None` never expires.
    timeout: Option<Duration>,
    origin: Instant,
    /// Milliseconds after `origin` from which on the time-out counts.
    renewed_ms: Arc<AtomicU64>,
}

impl Lease {
    /// A lease that never expires, for processes that nobody replaces.
    pub fn unlimited() -> Self {
        Self { timeout: None, origin: Instant::now(), renewed_ms: Arc::default() }
    }

    /// A lease that expires `timeout` after it was last renewed.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..Self::unlimited() }
    }

    /// Whoever grants the lease was heard: it counts from `since`, when they were last asked.
    pub fn renew(&self, since: Instant) {
        let since_ms = since.saturating_duration_since(self.origin).as_millis() as u64;
        self.renewed_ms.fetch_max(since_ms, Ordering::AcqRel);
    }

    /// Whether it was ever renewed, and has not expired since.
    pub fn is_granted(&self) -> bool {
        self.renewed_ms.load(Ordering::Acquire) > 0 && self.is_valid()
    }

    /// Whether the process may still have effects outside.
    pub fn is_valid(&self) -> bool {
        let Some(timeout) = self.timeout else { return true };
        let renewed = Duration::from_millis(self.renewed_ms.load(Ordering::Acquire));
        self.origin.elapsed().saturating_sub(renewed) < timeout || is_broken(Promise::Lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_expires_unless_it_is_renewed() {
        assert!(Lease::unlimited().is_valid());
        let lease = Lease::new(Duration::from_millis(60));
        let copy = lease.clone();
        assert!(copy.is_valid() && !copy.is_granted());
        std::thread::sleep(Duration::from_millis(80));
        assert!(!copy.is_valid());
        lease.renew(Instant::now());
        assert!(copy.is_valid() && copy.is_granted());
        lease.renew(Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now));
        assert!(copy.is_valid(), "an older answer takes nothing away");
    }
}
