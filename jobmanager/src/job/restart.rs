//! Whether and when a job that failed starts again: Flink's restart strategies, as pure rules.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidemill_common::checkpoint::CheckpointOptions;
use tidemill_common::config::Options;

/// When a failed job starts again.
#[derive(Clone, Debug, PartialEq)]
pub enum RestartStrategy {
    /// Never.
    None,
    /// A number of times, after a fixed delay.
    FixedDelay { attempts: u64, delay_ms: i64, failures: u64 },
    /// As long as there are not too many failures in an interval.
    FailureRate { failures_max: usize, interval_ms: i64, delay_ms: i64, failures_ms: VecDeque<i64> },
    /// After delays that grow, and are as at first once the job has run long enough.
    ExponentialDelay { backoff: Backoff, attempts: Option<u64>, failures: u64, current_ms: i64, last: Option<Last> },
}

/// How delays grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    pub initial_ms: i64,
    pub max_ms: i64,
    pub multiplier: f64,
    /// A job that ran for so long after a restart is as good as new.
    pub reset_ms: i64,
    /// Share of the delay that is added or taken off by chance.
    pub jitter: f64,
}

/// The newest failure that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    at_ms: i64,
    /// Until when the job waits because of it.
    until_ms: i64,
}

impl RestartStrategy {
    /// The strategy that the job's options name; without one, exponential delays if the job takes
    /// checkpoints, else none.
    pub fn new(options: &BTreeMap<String, String>) -> Self {
        let values = Options(options);
        let duration = |key: &str, default_ms: u64| {
            values.duration(key).unwrap_or(Duration::from_millis(default_ms)).as_millis().min(i64::MAX as u128) as i64
        };
        let count = |key: &str, default: u64| values.integer(key).map_or(default, |value| value.max(0) as u64);
        let number = |key: &str, default: f64| {
            values.text(key).and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(default)
        };
        let kind = values.text("restart-strategy.type").or(values.text("restart-strategy"));
        match kind.map(|kind| kind.trim().to_lowercase()).as_deref() {
            Some("none" | "off" | "disable") => Self::None,
            Some("fixed-delay" | "fixeddelay") => Self::FixedDelay {
                attempts: count("restart-strategy.fixed-delay.attempts", 1),
                delay_ms: duration("restart-strategy.fixed-delay.delay", 1_000),
                failures: 0,
            },
            Some("failure-rate" | "failurerate") => Self::FailureRate {
                failures_max: count("restart-strategy.failure-rate.max-failures-per-interval", 1) as usize,
                interval_ms: duration("restart-strategy.failure-rate.failure-rate-interval", 60_000),
                delay_ms: duration("restart-strategy.failure-rate.delay", 1_000),
                failures_ms: VecDeque::new(),
            },
            None if CheckpointOptions::new(options).interval.is_none() => Self::None,
            _ => {
                let initial_ms = duration("restart-strategy.exponential-delay.initial-backoff", 1_000);
                Self::ExponentialDelay {
                    backoff: Backoff {
                        initial_ms,
                        max_ms: duration("restart-strategy.exponential-delay.max-backoff", 60_000).max(initial_ms),
                        multiplier: number("restart-strategy.exponential-delay.backoff-multiplier", 1.5).max(1.0),
                        reset_ms: duration("restart-strategy.exponential-delay.reset-backoff-threshold", 3_600_000),
                        jitter: number("restart-strategy.exponential-delay.jitter-factor", 0.1).clamp(0.0, 1.0),
                    },
                    attempts: values
                        .integer("restart-strategy.exponential-delay.attempts-before-reset-backoff")
                        .map(|attempts| attempts.max(0) as u64),
                    failures: 0,
                    current_ms: initial_ms,
                    last: None,
                }
            }
        }
    }

    /// So many regions of the job have failed at `now_ms`. Gives the delay before they start again, in
    /// milliseconds, or `None` if they do not. `chance` is a random number from 0 to 1.
    ///
    /// Failures are counted over the whole job, those of several regions each, as Flink does; but a delay
    /// that grows does so once for all that fails while it lasts.
    pub fn failed(&mut self, now_ms: i64, chance: f64, regions: usize) -> Option<i64> {
        match self {
            Self::None => None,
            Self::FixedDelay { attempts, delay_ms, failures } => {
                *failures += regions as u64;
                (*failures <= *attempts).then_some(*delay_ms)
            }
            Self::FailureRate { failures_max, interval_ms, delay_ms, failures_ms } => {
                // What is beyond the bound counts no more than what reaches it.
                failures_ms.extend(std::iter::repeat_n(now_ms, regions.min(*failures_max + 1)));
                while failures_ms.front().is_some_and(|at| now_ms.saturating_sub(*at) > *interval_ms) {
                    failures_ms.pop_front();
                }
                (failures_ms.len() <= *failures_max).then_some(*delay_ms)
            }
            Self::ExponentialDelay { backoff, attempts, failures, current_ms, last } => {
                match last {
                    Some(last) if now_ms < last.until_ms => return Some(last.until_ms - now_ms),
                    Some(last) if now_ms.saturating_sub(last.at_ms) >= *current_ms + backoff.reset_ms => {
                        *current_ms = backoff.initial_ms;
                        *failures = 0;
                    }
                    Some(_) => *current_ms = ((*current_ms as f64 * backoff.multiplier) as i64).min(backoff.max_ms),
                    None => {}
                }
                *failures += 1;
                if attempts.is_some_and(|attempts| *failures > attempts) {
                    return None;
                }
                let spread = *current_ms as f64 * backoff.jitter;
                let delay_ms = (*current_ms as f64 + spread * (chance * 2.0 - 1.0)).max(0.0) as i64;
                *last = Some(Last { at_ms: now_ms, until_ms: now_ms.saturating_add(delay_ms) });
                Some(delay_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(options: &[(&str, &str)]) -> RestartStrategy {
        RestartStrategy::new(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn delays(strategy: &mut RestartStrategy, at_ms: &[i64]) -> Vec<Option<i64>> {
        at_ms.iter().map(|now_ms| strategy.failed(*now_ms, 0.5, 1)).collect()
    }

    #[test]
    fn without_options_only_jobs_with_checkpoints_restart() {
        assert_eq!(strategy(&[]), RestartStrategy::None);
        let mut growing = strategy(&[("execution.checkpointing.interval", "1 s")]);
        let at_ms = [0, 1_000, 3_000, 6_000];
        assert_eq!(delays(&mut growing, &at_ms), [Some(1_000), Some(1_500), Some(2_250), Some(3_375)]);
    }

    #[test]
    fn a_fixed_delay_ends_after_its_attempts() {
        let mut fixed = strategy(&[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "2"),
            ("restart-strategy.fixed-delay.delay", "10 ms"),
        ]);
        assert_eq!(delays(&mut fixed, &[0, 1, 2]), [Some(10), Some(10), None]);
    }

    #[test]
    fn a_failure_rate_counts_the_failures_of_the_last_interval() {
        let mut rate = strategy(&[
            ("restart-strategy", "failure-rate"),
            ("restart-strategy.failure-rate.max-failures-per-interval", "2"),
            ("restart-strategy.failure-rate.failure-rate-interval", "1 s"),
        ]);
        assert_eq!(delays(&mut rate, &[0, 500, 1_400, 1_450]), [Some(1_000), Some(1_000), Some(1_000), None]);
    }

    #[test]
    fn exponential_delays_are_bounded_reset_and_spread() {
        let mut growing = strategy(&[
            ("restart-strategy.type", "exponential-delay"),
            ("restart-strategy.exponential-delay.initial-backoff", "100 ms"),
            ("restart-strategy.exponential-delay.max-backoff", "300 ms"),
            ("restart-strategy.exponential-delay.backoff-multiplier", "2"),
            ("restart-strategy.exponential-delay.reset-backoff-threshold", "10 s"),
        ]);
        assert_eq!(delays(&mut growing, &[0, 100, 300, 600]), [Some(100), Some(200), Some(300), Some(300)]);
        assert_eq!(growing.failed(20_000, 0.5, 1), Some(100));
        assert_eq!(growing.failed(20_100, 1.0, 1), Some(220));
        assert_eq!(strategy(&[("restart-strategy.type", "none")]), RestartStrategy::None);
    }

    #[test]
    fn failures_of_several_regions_count_each_and_a_delay_grows_once() {
        let mut fixed = strategy(&[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "3"),
            ("restart-strategy.fixed-delay.delay", "10 ms"),
        ]);
        assert_eq!((fixed.failed(0, 0.5, 2), fixed.failed(1, 0.5, 1)), (Some(10), Some(10)));
        assert_eq!(fixed.failed(2, 0.5, 1), None);
        let mut rate = strategy(&[
            ("restart-strategy.type", "failure-rate"),
            ("restart-strategy.failure-rate.max-failures-per-interval", "2"),
        ]);
        assert_eq!((rate.failed(0, 0.5, 2), rate.failed(70_000, 0.5, 3)), (Some(1_000), None));
        let mut growing = strategy(&[
            ("restart-strategy.type", "exponential-delay"),
            ("restart-strategy.exponential-delay.initial-backoff", "100 ms"),
            ("restart-strategy.exponential-delay.attempts-before-reset-backoff", "2"),
        ]);
        assert_eq!(growing.failed(0, 0.5, 2), Some(100));
        assert_eq!(growing.failed(40, 0.5, 1), Some(60), "it waits already");
        assert_eq!((growing.failed(100, 0.5, 3), growing.failed(300, 0.5, 1)), (Some(150), None));
    }
}
