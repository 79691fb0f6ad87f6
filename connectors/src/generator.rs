//! What the generating sources share: random numbers by counter, splits that are known from the
//! start, and pacing by the wall clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill_common::ids::{SplitId, SubtaskIndex};

use crate::api::{ConnectorError, ReaderReport, Split, SplitEnumerator};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const WEYL: u64 = 0xa076_1d64_78bd_642f;
const WYRAND: u64 = 0xe703_7ed1_a0b4_28db;

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a number that looks random for every
/// counter, so that any range of rows can be generated alone.
#[inline(always)]
pub(crate) fn mix(counter: u64) -> u64 {
    let mut z = counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers: number `counter` of the stream `salt` of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64, salt: u64) -> Self {
        Self(mix(seed.wrapping_add(mix(salt.wrapping_mul(GOLDEN).wrapping_add(1)))))
    }

    /// The 64 random bits at `counter`: wyrand (Wang Yi, public domain), entered at any point.
    #[inline(always)]
    pub(crate) fn bits(self, counter: u64) -> u64 {
        let state = self.0.wrapping_add(counter.wrapping_mul(WEYL));
        let product = u128::from(state) * u128::from(state ^ WYRAND);
        (product >> 64) as u64 ^ product as u64
    }

    /// A number below `n`; 0 for an `n` of 0.
    #[inline(always)]
    pub(crate) fn below(self, counter: u64, n: u64) -> u64 {
        ((u128::from(self.bits(counter)) * u128::from(n)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    #[inline(always)]
    pub(crate) fn unit(self, counter: u64) -> f64 {
        unit(self.bits(counter))
    }
}

/// The upper 53 of random bits as a number in `[0, 1)`.
#[inline(always)]
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A seed for jobs that name none.
pub(crate) fn fresh_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// Hands out splits that are all known at the start, split `i` to reader `i` modulo the parallelism.
pub(crate) struct StaticEnumerator {
    connector: &'static str,
    table: String,
    parallelism: u32,
    pending: BTreeMap<SplitId, Split>,
    /// Order of creation, which says whose a split is.
    order: BTreeMap<SplitId, u32>,
}

#[derive(Serialize, Deserialize)]
struct StaticSnapshot {
    pending: Vec<Split>,
    all: Vec<SplitId>,
}

impl StaticEnumerator {
    pub(crate) fn new(connector: &'static str, table: &str, parallelism: u32, splits: Vec<Split>) -> Self {
        let order = splits.iter().zip(0..).map(|(split, index)| (split.id.clone(), index)).collect();
        Self {
            connector,
            table: table.to_owned(),
            parallelism: parallelism.max(1),
            pending: splits.into_iter().map(|split| (split.id.clone(), split)).collect(),
            order,
        }
    }

    fn owner(&self, split: &SplitId) -> u32 {
        self.order.get(split).copied().unwrap_or(0) % self.parallelism
    }
}

impl SplitEnumerator for StaticEnumerator {
    fn discover(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn next_splits(&mut self, reader: SubtaskIndex) -> Vec<Split> {
        let mine: Vec<SplitId> = self.pending.keys().filter(|split| self.owner(split) == reader.0).cloned().collect();
        mine.iter().filter_map(|split| self.pending.remove(split)).collect()
    }

    fn is_exhausted(&self, reader: SubtaskIndex) -> bool {
        !self.pending.keys().any(|split| self.owner(split) == reader.0)
    }

    fn add_back(&mut self, splits: Vec<Split>) {
        for split in splits {
            let next = self.order.len() as u32;
            self.order.entry(split.id.clone()).or_insert(next);
            self.pending.insert(split.id.clone(), split);
        }
    }

    fn snapshot(&self) -> Result<serde_json::Value, ConnectorError> {
        let mut all: Vec<_> = self.order.iter().map(|(split, index)| (*index, split.clone())).collect();
        all.sort();
        let snapshot = StaticSnapshot {
            pending: self.pending.values().cloned().collect(),
            all: all.into_iter().map(|(_, split)| split).collect(),
        };
        serde_json::to_value(snapshot)
            .map_err(|error| ConnectorError::Internal { connector: self.connector, reason: error.to_string() })
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), ConnectorError> {
        let snapshot: StaticSnapshot = serde_json::from_value(state)
            .map_err(|error| ConnectorError::State { table: self.table.clone(), reason: error.to_string() })?;
        self.order = snapshot.all.into_iter().zip(0..).collect();
        self.pending = snapshot.pending.into_iter().map(|split| (split.id.clone(), split)).collect();
        Ok(())
    }

    fn reconcile(&mut self, reports: &[ReaderReport]) -> Result<(), ConnectorError> {
        let known: BTreeSet<&SplitId> = reports
            .iter()
            .flat_map(|report| report.owned.iter().map(|split| &split.id).chain(&report.finished))
            .collect();
        self.pending.retain(|split, _| !known.contains(split));
        Ok(())
    }
}

/// Says how many rows are due at a rate. A source that was held back catches up at most one second.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    rows_per_second: f64,
    /// When `emitted` was 0.
    origin: Option<Instant>,
    emitted: u64,
}

/// Rows are handed on in portions of at least this time's worth, so that high rates make full batches.
const PORTION: Duration = Duration::from_millis(5);

impl Pace {
    pub(crate) fn new(rows_per_second: f64) -> Self {
        Self { rows_per_second, origin: None, emitted: 0 }
    }

    /// Rows that may be emitted now, or how long to wait for the next ones.
    pub(crate) fn due(&mut self, now: Instant) -> Result<u64, Duration> {
        let origin = *self.origin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(origin);
        // The first row is due at once, as in Flink.
        let due = (elapsed.as_secs_f64() * self.rows_per_second) as u64 + 1;
        if due > self.emitted {
            let behind = due - self.emitted;
            let most = self.rows_per_second.max(1.0) as u64;
            if behind > most {
                self.origin = Some(now);
                self.emitted = 0;
                return Ok(most);
            }
            return Ok(behind);
        }
        let next = Duration::from_secs_f64(self.emitted as f64 / self.rows_per_second);
        Err(next.saturating_sub(elapsed).max(PORTION))
    }

    /// Counts emitted rows.
    pub(crate) fn emitted(&mut self, rows: u64) {
        self.emitted += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_follows_the_clock_and_forgets_long_stalls() {
        let start = Instant::now();
        let mut pace = Pace::new(1000.0);
        assert_eq!(pace.due(start), Ok(1));
        pace.emitted(1);
        assert!(pace.due(start).is_err());
        assert_eq!(pace.due(start + Duration::from_millis(100)), Ok(100));
        pace.emitted(100);
        assert_eq!(pace.due(start + Duration::from_secs(60)), Ok(1000));
        pace.emitted(1000);
        assert!(pace.due(start + Duration::from_secs(60)).is_err());
    }

    #[test]
    fn slow_rates_wait_for_the_next_row() {
        let start = Instant::now();
        let mut pace = Pace::new(0.5);
        assert_eq!(pace.due(start), Ok(1));
        pace.emitted(1);
        assert_eq!(pace.due(start + Duration::from_millis(500)), Err(Duration::from_millis(1500)));
        assert_eq!(pace.due(start + Duration::from_secs(2)), Ok(1));
    }

    #[test]
    fn splits_go_to_their_readers_once_and_survive_a_snapshot() {
        let splits: Vec<Split> =
            (0..5).map(|i| Split::new(SplitId(format!("s{i}")), serde_json::json!({ "i": i }))).collect();
        let mut enumerator = StaticEnumerator::new("datagen", "t", 2, splits);
        assert_eq!(enumerator.next_splits(SubtaskIndex(0)).len(), 3);
        assert!(enumerator.is_exhausted(SubtaskIndex(0)));
        assert!(!enumerator.is_exhausted(SubtaskIndex(1)));
        let state = enumerator.snapshot().unwrap();
        let mut restored = StaticEnumerator::new("datagen", "t", 2, Vec::new());
        restored.restore(state).unwrap();
        assert!(restored.is_exhausted(SubtaskIndex(0)));
        let mine = restored.next_splits(SubtaskIndex(1));
        assert_eq!(mine.len(), 2);
        restored.add_back(mine.clone());
        restored
            .reconcile(&[ReaderReport { subtask: 1, owned: vec![mine[0].clone()], finished: vec![mine[1].id.clone()] }])
            .unwrap();
        assert!(restored.is_exhausted(SubtaskIndex(1)));
    }
}
