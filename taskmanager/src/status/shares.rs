//! Rates of subtasks: what their counters have risen by between two looks. A pure core.

use std::collections::BTreeMap;
use std::time::Instant;

use tidemill_common::ids::{AttemptId, JobId, SubtaskId};

use crate::metrics::SubtaskMetrics;

type Key = (JobId, AttemptId, SubtaskId);

/// A subtask's rates: milliseconds and rows a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub busy_ms: f64,
    pub idle_ms: f64,
    pub backpressured_ms: f64,
    pub records_in: f64,
    pub records_out: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    totals: [u64; 5],
}

/// The rates of all subtasks.
#[derive(Debug, Default)]
pub struct Shares {
    last: BTreeMap<Key, Sample>,
    shares: BTreeMap<Key, Share>,
}

impl Shares {
    /// Looks at the counters. Subtasks that are gone are forgotten.
    pub fn sample(&mut self, now: Instant, subtasks: &[SubtaskMetrics]) {
        let before = std::mem::take(&mut self.last);
        self.shares.clear();
        for subtask in subtasks {
            let key = key(subtask);
            let totals = totals(subtask);
            if let Some(sample) = before.get(&key) {
                let seconds = now.saturating_duration_since(sample.at).as_secs_f64();
                if seconds > 0.0 {
                    let rate = |index: usize| totals[index].saturating_sub(sample.totals[index]) as f64 / seconds;
                    let share = Share {
                        busy_ms: rate(0).min(1000.0),
                        idle_ms: rate(1).min(1000.0),
                        backpressured_ms: rate(2).min(1000.0),
                        records_in: rate(3),
                        records_out: rate(4),
                    };
                    self.shares.insert(key.clone(), share);
                }
            }
            self.last.insert(key, Sample { at: now, totals });
        }
    }

    /// The rates of a subtask that was looked at twice.
    pub fn of(&self, subtask: &SubtaskMetrics) -> Option<Share> {
        self.shares.get(&key(subtask)).copied()
    }
}

fn key(subtask: &SubtaskMetrics) -> Key {
    (subtask.job.clone(), subtask.attempt, subtask.subtask)
}

fn totals(subtask: &SubtaskMetrics) -> [u64; 5] {
    let first = subtask.operators.first().map_or(0, |operator| operator.records_in);
    let last = subtask.operators.last().map_or(0, |operator| operator.records_out);
    [subtask.busy_ms, subtask.idle_ms, subtask.backpressured_ms, first, last]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_common::ids::{SubtaskIndex, TaskId};

    use super::*;

    fn subtask(busy_ms: u64, idle_ms: u64) -> SubtaskMetrics {
        SubtaskMetrics {
            job: "j".into(),
            attempt: AttemptId(1),
            subtask: SubtaskId { task: TaskId(0), index: SubtaskIndex(0) },
            operators: Vec::new(),
            busy_ms,
            idle_ms,
            backpressured_ms: 0,
            watermark_ms: None,
            alignment_watermark_ms: None,
            holding_split: None,
            splits: Vec::new(),
        }
    }

    #[test]
    fn a_rate_is_what_was_added_between_two_looks() {
        let mut shares = Shares::default();
        let start = Instant::now();
        shares.sample(start, &[subtask(1_000, 0)]);
        assert_eq!(shares.of(&subtask(0, 0)), None, "one look tells no rate");
        shares.sample(start + Duration::from_secs(5), &[subtask(2_000, 4_000)]);
        let share = shares.of(&subtask(0, 0)).unwrap();
        assert_eq!((share.busy_ms, share.idle_ms), (200.0, 800.0));
        shares.sample(start + Duration::from_secs(10), &[]);
        assert_eq!(shares.of(&subtask(0, 0)), None, "it is gone");
    }
}
