//! Watermarks of a source's splits, as pure rules.
//!
//! Every split has a running maximum; the source's watermark is the minimum over the splits that are
//! not idle. It is raised inside the stream of rows, as by Flink's watermark assigner: right after a
//! row by which it has advanced more than an interval. So lateness is exact, whatever the size of
//! batches: where a row lies behind the raised watermark the batch is cut before it.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_common::control::SplitStatus;
use tidemill_common::ids::SplitId;

#[derive(Clone, Debug)]
struct SplitState {
    /// The highest watermark of its rows.
    watermark: i64,
    idle: bool,
    paused: bool,
    /// Since when it is silent, on the source's clock.
    silent_since: Duration,
}

/// Where a batch is to be cut: the watermark `watermark` comes before row `row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub row: usize,
    pub watermark: i64,
}

/// The splits of one source subtask.
#[derive(Clone, Debug)]
pub struct SplitWatermarks {
    splits: BTreeMap<SplitId, SplitState>,
    interval_ms: i64,
    /// The watermark as the stream of rows has raised it.
    raised: i64,
    /// What was handed on.
    sent: i64,
    /// Splits are read in the order of their watermarks.
    in_order: bool,
    /// Splits beyond it wait (watermark alignment).
    bound: i64,
    idle: bool,
}

impl SplitWatermarks {
    /// No splits yet. With `in_order` only the split with the lowest watermark is read at any time.
    pub fn new(interval_ms: i64, in_order: bool) -> Self {
        Self {
            splits: BTreeMap::new(),
            interval_ms,
            raised: i64::MIN,
            sent: i64::MIN,
            in_order,
            bound: i64::MAX,
            idle: false,
        }
    }

    /// Goes on with the watermark that the stream of rows had raised before.
    pub fn restore(&mut self, raised: i64) {
        self.raised = raised;
    }

    /// The watermark as the stream of rows has raised it.
    pub fn raised(&self) -> i64 {
        self.raised
    }

    /// The watermark of one split; `None` before it has rows.
    pub fn of_split(&self, split: &SplitId) -> Option<i64> {
        self.splits.get(split).map(|state| state.watermark).filter(|watermark| *watermark > i64::MIN)
    }

    /// A split will be read, by itself or from where its watermark was `watermark`.
    pub fn add(&mut self, split: SplitId, watermark: Option<i64>, now: Duration) {
        // What the reader goes on from was raised by the splits it had then. Rows of a split that it did not
        // have are not late for that; nor are those of one that nobody has begun, where all are to be read.
        if self.raised > self.sent
            && let Some(behind) = watermark.or(self.in_order.then_some(i64::MIN))
        {
            self.raised = self.raised.min(behind);
        }
        let watermark = watermark.unwrap_or(i64::MIN);
        let state = SplitState { watermark, idle: false, paused: false, silent_since: now };
        self.splits.insert(split, state);
    }

    /// A split has ended: it holds the watermark no more, unless it was the last.
    pub fn finish(&mut self, split: &SplitId) {
        if let Some(state) = self.splits.remove(split)
            && self.splits.is_empty()
        {
            self.raise(state.watermark);
        }
    }

    /// Whether there is no split.
    pub fn is_empty(&self) -> bool {
        self.splits.is_empty()
    }

    /// Splits beyond this watermark wait from now on.
    pub fn set_bound(&mut self, bound: i64) {
        self.bound = bound;
    }

    /// The lowest watermark of the splits that are not idle; `None` before all have rows.
    pub fn lowest(&self) -> Option<i64> {
        let active = self.splits.values().filter(|state| !state.idle);
        active.map(|state| state.watermark).min().filter(|lowest| *lowest > i64::MIN)
    }

    /// The active split with the lowest watermark, if there are others.
    pub fn holding(&self) -> Option<&SplitId> {
        if self.splits.len() < 2 {
            return None;
        }
        let active = self.splits.iter().filter(|(_, state)| !state.idle);
        active.min_by_key(|(_, state)| state.watermark).map(|(split, _)| split)
    }

    /// How far the splits are: at most so many, those furthest behind first.
    pub fn statuses(&self, most: usize) -> Vec<SplitStatus> {
        let mut splits: Vec<(&SplitId, &SplitState)> = self.splits.iter().collect();
        if splits.len() > most {
            splits.sort_by_key(|(_, state)| (state.idle, state.watermark));
            splits.truncate(most);
        }
        splits.sort_by_key(|(id, state)| (state.watermark, *id));
        let status = |(id, state): (&SplitId, &SplitState)| SplitStatus {
            split: id.0.clone(),
            watermark_ms: (state.watermark > i64::MIN).then_some(state.watermark),
            idle: state.idle,
        };
        splits.into_iter().map(status).collect()
    }

    fn raise(&mut self, watermark: i64) {
        // As in Flink, the first step is counted from the epoch.
        if watermark.saturating_sub(self.raised.max(0)) > self.interval_ms {
            self.raised = watermark;
        }
    }

    /// Takes the rows of a batch of one split: the row time and the watermark of each (`None`: NULL).
    /// Appends to `cuts` where rows lie behind the raised watermark.
    pub fn rows(
        &mut self,
        split: &SplitId,
        rows: impl Iterator<Item = (i64, Option<i64>)>,
        now: Duration,
        cuts: &mut Vec<Cut>,
    ) {
        let others = self.splits.iter().filter(|(id, state)| *id != split && !state.idle);
        let others = others.map(|(_, state)| state.watermark).min().unwrap_or(i64::MAX);
        let mut highest = self.splits.get(split).map_or(i64::MIN, |state| state.watermark);
        for (row, (time, watermark)) in rows.enumerate() {
            if time <= self.raised && self.raised > self.sent {
                self.sent = self.raised;
                cuts.push(Cut { row, watermark: self.raised });
            }
            if let Some(watermark) = watermark
                && watermark > highest
            {
                highest = watermark;
                self.raise(highest.min(others));
            }
        }
        if let Some(state) = self.splits.get_mut(split) {
            state.watermark = highest;
            state.idle = false;
            state.silent_since = now;
        }
    }

    /// The watermark to hand on after a batch, if there is one.
    pub fn after_batch(&mut self) -> Option<i64> {
        (self.raised > self.sent).then(|| {
            self.sent = self.raised;
            self.sent
        })
    }

    /// The watermark to hand on by the clock: it need not have advanced by the interval.
    pub fn periodic(&mut self) -> Option<i64> {
        if let Some(lowest) = self.lowest() {
            self.raised = self.raised.max(lowest);
        }
        self.after_batch()
    }

    /// Sets splits aside that were silent for `timeout`. Those that wait are not silent. When all are
    /// silent the watermark rises to the highest of them, as in Flink, so that it does not depend on the
    /// order in which they fell silent.
    pub fn find_idle(&mut self, timeout: Duration, now: Duration) {
        for state in self.splits.values_mut() {
            if state.paused {
                state.silent_since = now;
            } else if now.saturating_sub(state.silent_since) >= timeout {
                state.idle = true;
            }
        }
        if self.splits.values().all(|state| state.idle)
            && let Some(highest) = self.splits.values().map(|state| state.watermark).max()
        {
            self.raised = self.raised.max(highest);
        }
    }

    /// Whether the source has become idle (all its splits are) or active again since the last call.
    pub fn idle_changed(&mut self) -> Option<bool> {
        let idle = !self.splits.is_empty() && self.splits.values().all(|state| state.idle);
        (idle != self.idle).then(|| {
            self.idle = idle;
            idle
        })
    }

    /// The splits whose reading is to be stopped (`true`) or resumed since the last call.
    pub fn pauses(&mut self) -> Vec<(SplitId, bool)> {
        let first = if self.in_order && self.splits.len() > 1 {
            self.splits.iter().min_by_key(|(_, state)| state.watermark).map(|(id, _)| id.clone())
        } else {
            None
        };
        let mut changes = Vec::new();
        for (id, state) in &mut self.splits {
            let paused = state.watermark > self.bound || first.as_ref().is_some_and(|first| first != id);
            if paused != state.paused {
                state.paused = paused;
                changes.push((id.clone(), paused));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: i64 = 1_000;

    fn split(name: &str) -> SplitId {
        SplitId::from(name)
    }

    /// Which rows lie behind the watermark that was handed on before them.
    fn late_rows(times: &[i64], batch: usize) -> Vec<usize> {
        let mut watermarks = SplitWatermarks::new(200, false);
        watermarks.add(split("a"), None, Duration::ZERO);
        let (mut sent, mut late) = (i64::MIN, Vec::new());
        for (start, chunk) in times.chunks(batch).enumerate() {
            let mut cuts = Vec::new();
            let rows = chunk.iter().map(|time| (*time, Some(time - DELAY)));
            watermarks.rows(&split("a"), rows, Duration::ZERO, &mut cuts);
            for (row, time) in chunk.iter().enumerate() {
                if let Some(cut) = cuts.iter().find(|cut| cut.row == row) {
                    assert!(cut.watermark > sent, "a watermark fell or stood still");
                    sent = cut.watermark;
                }
                if *time <= sent {
                    late.push(start * batch + row);
                }
            }
            if let Some(watermark) = watermarks.after_batch() {
                assert!(watermark > sent);
                sent = watermark;
            }
        }
        late
    }

    #[test]
    fn lateness_does_not_depend_on_the_size_of_batches() {
        let mut state = 7u64;
        let times: Vec<i64> = (0..5_000)
            .map(|row| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                1_000_000 + row * 20 - ((state >> 33) % 1_500) as i64
            })
            .collect();
        // By the book: after each row.
        let (mut raised, mut highest, mut expected) = (i64::MIN, i64::MIN, Vec::new());
        for (row, time) in times.iter().enumerate() {
            if *time <= raised {
                expected.push(row);
            }
            highest = highest.max(time - DELAY);
            if highest - raised.max(0) > 200 {
                raised = highest;
            }
        }
        assert!(expected.len() > 50, "the case has few late rows: {}", expected.len());
        for batch in [1, 2, 3, 7, 100, 1_024, 5_000] {
            assert_eq!(late_rows(&times, batch), expected, "batches of {batch}");
        }
    }

    #[test]
    fn the_slowest_split_holds_the_watermark_until_it_is_idle_or_ends() {
        let mut watermarks = SplitWatermarks::new(200, false);
        let mut cuts = Vec::new();
        watermarks.add(split("a"), None, Duration::ZERO);
        watermarks.add(split("b"), None, Duration::ZERO);
        watermarks.rows(&split("a"), [(9_000, Some(9_000))].into_iter(), Duration::from_secs(1), &mut cuts);
        assert_eq!((watermarks.after_batch(), watermarks.periodic()), (None, None));
        watermarks.rows(
            &split("b"),
            [(5_000, Some(5_000)), (4_000, None)].into_iter(),
            Duration::from_secs(2),
            &mut cuts,
        );
        assert_eq!(cuts, [Cut { row: 1, watermark: 5_000 }]);
        assert_eq!((watermarks.after_batch(), watermarks.periodic()), (None, None));
        watermarks.find_idle(Duration::from_secs(5), Duration::from_secs(6));
        assert_eq!(watermarks.idle_changed(), None, "only one of two is idle");
        watermarks.find_idle(Duration::from_secs(5), Duration::from_secs(8));
        assert_eq!(watermarks.idle_changed(), Some(true));
        watermarks.rows(&split("a"), [(9_500, Some(9_500))].into_iter(), Duration::from_secs(9), &mut cuts);
        assert_eq!(watermarks.idle_changed(), Some(false));
        assert_eq!(watermarks.after_batch(), Some(9_500), "the idle split is set aside");
        watermarks.finish(&split("b"));
        watermarks.finish(&split("a"));
        assert!(watermarks.is_empty());
        assert_eq!(watermarks.periodic(), None);
    }

    #[test]
    fn the_splits_that_are_told_of_are_those_furthest_behind() {
        let mut watermarks = SplitWatermarks::new(200, false);
        for (name, time) in [("a", 9_000), ("b", 3_000), ("c", 5_000)] {
            watermarks.add(split(name), None, Duration::ZERO);
            watermarks.rows(&split(name), [(time, Some(time))].into_iter(), Duration::ZERO, &mut Vec::new());
        }
        watermarks.add(split("d"), None, Duration::ZERO);
        let told: Vec<_> = watermarks.statuses(3).into_iter().map(|told| (told.split, told.watermark_ms)).collect();
        assert_eq!(told, [("d".to_owned(), None), ("b".to_owned(), Some(3_000)), ("c".to_owned(), Some(5_000))]);
    }

    /// Classic bug 22: a reader that goes on with splits of another one takes their rows for late.
    #[test]
    fn bug_22_a_split_of_another_reader_holds_what_this_one_had_raised() {
        for (behind, in_order, expected) in
            [(Some(3_000), true, 3_000), (Some(3_000), false, 3_000), (None, true, i64::MIN)]
        {
            let mut watermarks = SplitWatermarks::new(200, in_order);
            watermarks.restore(9_000);
            watermarks.add(split("a"), Some(9_100), Duration::ZERO);
            watermarks.add(split("b"), behind, Duration::ZERO);
            assert_eq!(watermarks.raised(), expected, "{behind:?}");
        }
        // One that is found later, and has nothing to be late for, holds nothing.
        let mut watermarks = SplitWatermarks::new(200, false);
        watermarks.restore(9_000);
        watermarks.add(split("a"), Some(9_100), Duration::ZERO);
        watermarks.add(split("new"), None, Duration::ZERO);
        assert_eq!(watermarks.after_batch(), Some(9_000));
    }

    #[test]
    fn splits_are_read_in_order_and_wait_beyond_the_bound() {
        let mut watermarks = SplitWatermarks::new(200, true);
        let mut cuts = Vec::new();
        watermarks.add(split("a"), None, Duration::ZERO);
        watermarks.add(split("b"), None, Duration::ZERO);
        assert_eq!(watermarks.pauses(), [(split("b"), true)]);
        watermarks.rows(&split("a"), [(9_000, Some(9_000))].into_iter(), Duration::ZERO, &mut cuts);
        assert_eq!(watermarks.pauses(), [(split("a"), true), (split("b"), false)]);
        watermarks.set_bound(8_000);
        watermarks.finish(&split("b"));
        assert_eq!(watermarks.pauses(), [], "the bound holds it");
        watermarks.set_bound(9_000);
        assert_eq!(watermarks.pauses(), [(split("a"), false)]);
    }

    #[test]
    fn the_order_in_which_splits_fall_silent_does_not_matter() {
        for first in ["a", "b"] {
            let mut watermarks = SplitWatermarks::new(200, false);
            let second = Duration::from_secs(1);
            for (name, time) in [("a", 10_000), ("b", 50_000)] {
                watermarks.add(split(name), None, Duration::ZERO);
                let silent_since = if name == first { Duration::ZERO } else { second };
                watermarks.rows(&split(name), [(time, Some(time))].into_iter(), silent_since, &mut Vec::new());
            }
            watermarks.find_idle(second, second);
            watermarks.find_idle(second, 2 * second);
            assert_eq!(watermarks.idle_changed(), Some(true));
            watermarks.periodic();
            assert_eq!(watermarks.sent, 50_000, "{first} first");
        }
    }
}
