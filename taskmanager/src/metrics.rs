//! What subtasks count while they run: atomics that one thread writes and snapshots read.
//!
//! Counts are added once a batch, never once a row. A subtask's time is split in three: idle (it
//! waits for input), backpressured (it waits for room in an exchange), and busy (everything else).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tidemill_common::control::{OperatorCounters, SplitStatus, SubtaskReport};
use tidemill_common::ids::{AttemptId, JobId, OperatorId, SplitId, SubtaskId};
use tidemill_common::time::Watermark;
use tidemill_connectors::api::ConnectorMetrics;

/// A snapshot of one subtask's counters.
pub type SubtaskMetrics = SubtaskReport;

/// The counters of one operator in one subtask.
#[derive(Debug)]
pub struct OperatorMetrics {
    operator: OperatorId,
    records_in: AtomicU64,
    records_out: AtomicU64,
    late_rows_dropped: AtomicU64,
    /// Kept by the connector itself; zeros for operators without one.
    pub connector: Arc<ConnectorMetrics>,
}

impl OperatorMetrics {
    fn new(operator: OperatorId) -> Self {
        let connector = ConnectorMetrics { records_lag: AtomicU64::new(u64::MAX), ..ConnectorMetrics::default() };
        Self {
            operator,
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            late_rows_dropped: AtomicU64::new(0),
            connector: Arc::new(connector),
        }
    }

    /// The operator that is counted.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// Rows arrived.
    pub fn count_in(&self, rows: usize) {
        add(&self.records_in, rows as u64);
    }

    /// Rows were emitted.
    pub fn count_out(&self, rows: usize) {
        add(&self.records_out, rows as u64);
    }

    /// Sets the number of late rows dropped so far.
    pub fn set_late_rows_dropped(&self, rows: u64) {
        self.late_rows_dropped.store(rows, Ordering::Relaxed);
    }

    fn snapshot(&self) -> OperatorCounters {
        let lag = self.connector.records_lag.load(Ordering::Relaxed);
        OperatorCounters {
            operator: self.operator,
            records_in: self.records_in.load(Ordering::Relaxed),
            records_out: self.records_out.load(Ordering::Relaxed),
            bytes: self.connector.bytes.load(Ordering::Relaxed),
            late_rows_dropped: self.late_rows_dropped.load(Ordering::Relaxed),
            records_skipped: self.connector.records_skipped.load(Ordering::Relaxed),
            records_lag: (lag != u64::MAX).then_some(lag),
        }
    }
}

/// Only the subtask's thread writes its counters: a load and a store do, without a locked add.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// Why a subtask waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For input or mail.
    Idle,
    /// For room in an exchange.
    Backpressured,
}

/// The counters of one subtask.
#[derive(Debug)]
pub struct TaskMetrics {
    job: JobId,
    attempt: AttemptId,
    subtask: SubtaskId,
    /// In the order of the chain.
    pub operators: Vec<Arc<OperatorMetrics>>,
    /// Zero of the times below.
    origin: Instant,
    /// Nanoseconds since `origin`, or `NEVER`.
    started: AtomicU64,
    ended: AtomicU64,
    idle: AtomicU64,
    backpressured: AtomicU64,
    /// Since when the subtask waits, and for what (lowest bit: backpressured); `NEVER` if it does not.
    waiting: AtomicU64,
    watermark: AtomicI64,
    alignment_watermark: AtomicI64,
    holding_split: Mutex<Option<SplitId>>,
    splits: Mutex<Vec<SplitStatus>>,
}

const NEVER: u64 = u64::MAX;

impl TaskMetrics {
    /// Counters at zero, for these operators.
    pub fn new(
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        operators: impl IntoIterator<Item = OperatorId>,
    ) -> Self {
        Self {
            job,
            attempt,
            subtask,
            operators: operators.into_iter().map(|operator| Arc::new(OperatorMetrics::new(operator))).collect(),
            origin: Instant::now(),
            started: AtomicU64::new(NEVER),
            ended: AtomicU64::new(NEVER),
            idle: AtomicU64::new(0),
            backpressured: AtomicU64::new(0),
            waiting: AtomicU64::new(NEVER),
            watermark: AtomicI64::new(i64::MIN),
            alignment_watermark: AtomicI64::new(i64::MIN),
            holding_split: Mutex::new(None),
            splits: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// The subtask runs from now on.
    pub fn start(&self) {
        self.started.store(self.now(), Ordering::Relaxed);
    }

    /// The subtask has ended: its times stand still.
    pub fn end(&self) {
        self.ended.store(self.now(), Ordering::Relaxed);
    }

    /// Counts the time in `wait` as waiting.
    pub fn waiting<T>(&self, kind: Wait, wait: impl FnOnce() -> T) -> T {
        let since = self.now();
        let tag = u64::from(kind == Wait::Backpressured);
        self.waiting.store(since & !1 | tag, Ordering::Relaxed);
        let result = wait();
        self.waiting.store(NEVER, Ordering::Relaxed);
        let counter = if kind == Wait::Idle { &self.idle } else { &self.backpressured };
        add(counter, self.now().saturating_sub(since));
        result
    }

    /// How long the subtask has waited for room in an exchange.
    pub fn backpressured(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.backpressured.load(Ordering::Relaxed))
    }

    /// The subtask's watermark: what it has emitted (sources) or received.
    pub fn set_watermark(&self, watermark: Watermark) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    /// What a source reports to its alignment group.
    pub fn set_alignment_watermark(&self, watermark: Option<i64>) {
        self.alignment_watermark.store(watermark.unwrap_or(i64::MIN), Ordering::Relaxed);
    }

    /// The split that holds a source's watermark back; told now and then.
    pub fn set_holding_split(&self, split: Option<&SplitId>) {
        let mut holding = self.holding_split.lock();
        if holding.as_ref() != split {
            *holding = split.cloned();
        }
    }

    /// How far the splits of a source are; told now and then.
    pub fn set_splits(&self, splits: Vec<SplitStatus>) {
        *self.splits.lock() = splits;
    }

    /// Whose counters these are.
    pub fn subtask(&self) -> SubtaskId {
        self.subtask
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> SubtaskMetrics {
        let until = match self.ended.load(Ordering::Relaxed) {
            NEVER => self.now(),
            ended => ended,
        };
        let elapsed = match self.started.load(Ordering::Relaxed) {
            NEVER => 0,
            started => until.saturating_sub(started),
        };
        let mut idle = self.idle.load(Ordering::Relaxed);
        let mut backpressured = self.backpressured.load(Ordering::Relaxed);
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting != NEVER {
            let so_far = until.saturating_sub(waiting);
            if waiting & 1 == 1 {
                backpressured += so_far;
            } else {
                idle += so_far;
            }
        }
        let some = |value: i64| (value != i64::MIN).then_some(value);
        SubtaskMetrics {
            job: self.job.clone(),
            attempt: self.attempt,
            subtask: self.subtask,
            operators: self.operators.iter().map(|operator| operator.snapshot()).collect(),
            busy_ms: elapsed.saturating_sub(idle + backpressured) / 1_000_000,
            idle_ms: idle / 1_000_000,
            backpressured_ms: backpressured / 1_000_000,
            watermark_ms: some(self.watermark.load(Ordering::Relaxed)),
            alignment_watermark_ms: some(self.alignment_watermark.load(Ordering::Relaxed)),
            holding_split: self.holding_split.lock().as_ref().map(|split| split.0.clone()),
            splits: self.splits.lock().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_common::ids::{SubtaskIndex, TaskId};

    use super::*;

    #[test]
    fn waiting_time_is_not_busy_time() {
        let subtask = SubtaskId { task: TaskId(0), index: SubtaskIndex(0) };
        let metrics = TaskMetrics::new("j".into(), AttemptId(1), subtask, [OperatorId(0)]);
        metrics.start();
        metrics.waiting(Wait::Idle, || std::thread::sleep(Duration::from_millis(20)));
        metrics.waiting(Wait::Backpressured, || {
            std::thread::sleep(Duration::from_millis(20));
            assert!(metrics.snapshot().backpressured_ms >= 10, "a wait counts while it lasts");
        });
        metrics.end();
        let snapshot = metrics.snapshot();
        assert!(snapshot.idle_ms >= 19 && snapshot.backpressured_ms >= 19, "{snapshot:?}");
        assert!(snapshot.busy_ms < 15, "{snapshot:?}");
        assert_eq!(snapshot.operators[0].records_lag, None);
    }
}
