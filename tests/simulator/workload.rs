//! What the job computes, and what comes of it without faults: the rows of each key are counted, and
//! gathered into windows. A few rows come so late that they may miss their window; no other ever does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tidemill_common::checkpoint::{Blob, CheckpointMetadata, OperatorSnapshot};
use tidemill_common::ids::SplitId;
use tidemill_common::key_group::{key_group_of, subtask_of};

use crate::world::Object;

pub const SPLITS: u64 = 4;
/// Of the lanes, behind those of the keyed pipeline.
pub const LANE_SPLITS: u64 = 5;
/// Rows of each split: enough for some checkpoints between faults.
pub const ROWS_PER_SPLIT: u64 = 150;
const KEYS: u64 = 7;
/// Key groups.
pub const GROUPS: u32 = 8;
const WINDOW_MS: i64 = 100;
/// How far rows of a split may lie behind others of it.
const DISORDER_MS: i64 = 20;

/// A row of the input, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    pub split: u64,
    pub index: u64,
}

fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub fn group_of(key: u64) -> u32 {
    u32::from(key_group_of(mixed(key), GROUPS).0)
}

/// The subtask of so many that has a key.
pub fn owner_of(key: u64, parallelism: u32) -> u32 {
    subtask_of(tidemill_common::ids::KeyGroup(group_of(key) as u16), parallelism, GROUPS).0
}

impl Row {
    fn mixed(self) -> u64 {
        mixed(self.split << 32 | self.index)
    }

    pub fn key(self) -> u64 {
        self.mixed() % KEYS
    }

    /// Whether it may come too late for its window.
    pub fn is_stray(self) -> bool {
        (self.mixed() >> 8).is_multiple_of(31)
    }

    pub fn time(self) -> i64 {
        let regular = self.index as i64 * 10 + ((self.mixed() >> 16) % DISORDER_MS as u64) as i64;
        if self.is_stray() { (regular - 300).max(0) } else { regular }
    }

    /// The watermark behind it.
    pub fn watermark(self) -> i64 {
        self.time() - DISORDER_MS
    }

    pub fn window(self) -> i64 {
        self.time() / WINDOW_MS
    }
}

/// Whether a window is over at a watermark.
pub fn is_over(window: i64, watermark: i64) -> bool {
    (window + 1) * WINDOW_MS - 1 <= watermark
}

/// What a task gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The `count`th row of its key.
    Counted {
        row: Row,
        count: u64,
    },
    /// A row that went through a lane.
    Passed(Row),
    /// A row that missed its window.
    Late(Row),
    Window {
        window: i64,
        key: u64,
        rows: Vec<Row>,
    },
}

/// How far event time had come: the watermark, and key groups that had come further in a subtask that
/// had them before.
#[derive(Clone, Debug)]
pub struct Progress {
    pub watermark: i64,
    pub ahead: Vec<(Range<u32>, i64)>,
}

const PROGRESS: &str = "progress";

impl Progress {
    pub fn none() -> Self {
        Self { watermark: i64::MIN, ahead: Vec::new() }
    }

    pub fn of(&self, key: u64) -> i64 {
        let group = group_of(key);
        let ahead = self.ahead.iter().filter(|(range, _)| range.contains(&group)).map(|(_, watermark)| *watermark);
        ahead.max().unwrap_or(i64::MIN).max(self.watermark)
    }

    /// Puts it into a snapshot of a subtask with these key groups.
    pub fn keep(&self, groups: &Range<u32>, snapshot: &mut OperatorSnapshot) {
        let mut all = self.ahead.clone();
        all.push((groups.clone(), self.watermark));
        snapshot.values.insert(PROGRESS.to_owned(), Blob(serde_json::to_vec(&all).expect("JSON")));
    }

    /// From the snapshots of all old subtasks.
    pub fn restored<'a>(snapshots: impl Iterator<Item = &'a OperatorSnapshot>) -> Self {
        let kept = |snapshot: &OperatorSnapshot| -> Vec<(Range<u32>, i64)> {
            serde_json::from_slice(&snapshot.values[PROGRESS].0).expect("a progress")
        };
        let ahead: Vec<_> = snapshots.flat_map(kept).collect();
        let watermark = ahead.iter().map(|(_, watermark)| *watermark).min().unwrap_or(i64::MIN);
        Self { watermark, ahead }
    }
}

/// Where a split goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub split: u64,
    pub next: u64,
    pub watermark: Option<i64>,
}

/// All splits of a source that a checkpoint has: those of the enumerator and those of readers.
pub fn positions(metadata: &CheckpointMetadata, uid: &str) -> Vec<Position> {
    let source = metadata.operators.iter().find(|operator| operator.uid == uid).expect("the source");
    let kept = source.coordinator.clone().expect("the enumerator");
    let mut all: Vec<Position> = serde_json::from_value(kept).expect("splits");
    let read = source.subtasks.iter().flat_map(|(_, state)| &state.splits);
    all.extend(read.map(|split| Position::new(&split.id, &split.state, split.watermark_ms)));
    all
}

impl Position {
    pub fn new(id: &SplitId, state: &serde_json::Value, watermark: Option<i64>) -> Self {
        Self { split: id.0.parse().expect("a number"), next: state.as_u64().expect("a position"), watermark }
    }
}

/// What a checkpoint names is there, and is what a run without faults would have at these positions: every
/// row before them is counted, or in flight, and no other.
pub fn assert_consistent(metadata: &CheckpointMetadata, location: &str, objects: &BTreeMap<String, Object>) {
    let get = |name: &str| {
        let name = resolved(name, location);
        objects.get(&name).unwrap_or_else(|| panic!("I4: {name} of {location} is gone"))
    };
    let mut reached: BTreeMap<u64, u64> = (0..SPLITS).map(|split| (split, ROWS_PER_SPLIT)).collect();
    if metadata.operators.iter().any(|operator| operator.uid == "lane-source") {
        let mut seen = BTreeSet::new();
        for position in positions(metadata, "lane-source") {
            assert!(seen.insert(position.split), "split {} is twice in {location}", position.split);
        }
    }
    for position in positions(metadata, "source") {
        let before = reached.insert(position.split, position.next);
        assert_eq!(before, Some(ROWS_PER_SPLIT), "split {} is twice in {location}", position.split);
    }
    let Some(counter) = metadata.operators.iter().find(|operator| operator.uid == "counter") else {
        // All of it had finished before, covered by an earlier one, while lanes went on.
        assert!(metadata.operators.iter().any(|operator| operator.uid == "lane-source"), "the counter");
        return;
    };
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, state) in &counter.subtasks {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for file in &state.files {
            let Object::State(part) = get(&file.location) else { panic!("{} is no state", file.location) };
            counts.extend(part.counts.iter().filter(|(key, _)| file.key_groups.contains(&group_of(**key))));
        }
        counts.into_iter().for_each(|(key, count)| *found.entry(key).or_default() += count);
        for epoch in &state.staged {
            assert!(matches!(get(&epoch.files[0].location), Object::Outputs(_)));
        }
        if let Some(in_flight) = &state.in_flight {
            let Object::InFlight(rows) = get(&in_flight.file.location) else { panic!("no rows in flight") };
            rows.iter().for_each(|row| *found.entry(row.key()).or_default() += 1);
        }
    }
    if (counter.subtasks.len() as u32) < counter.parallelism {
        // Some had finished before, covered by an earlier one.
        return;
    }
    if found.is_empty() && reached.values().all(|end| *end == ROWS_PER_SPLIT) {
        // All had finished before, and were started again with what was left of them: nothing.
        return;
    }
    let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
    for (split, end) in reached {
        (0..end).for_each(|index| *expected.entry(Row { split, index }.key()).or_default() += 1);
    }
    assert!(found == expected, "the cut of {location} is not consistent: {found:?} rows a key, not {expected:?}");
}

/// Files of savepoints are named from their directory.
pub fn resolved(name: &str, location: &str) -> String {
    if name.contains("://") { name.to_owned() } else { format!("{location}/{name}") }
}
