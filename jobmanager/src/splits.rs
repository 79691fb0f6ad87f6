//! Which reader reads which split: the bookkeeping around a connector's enumerator, without I/O.
//! The caller runs discovery off its own thread and brings the enumerator back.
//!
//! Splits are handed out when a reader asks, so that fast readers read more. The exception is a
//! bounded source with a watermark: there all splits are assigned at once, because a split that
//! starts late would bring rows that are late; so the result does not depend on who was fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME, SplitPosition};
use tidemill_common::ids::{CheckpointId, SplitId, SubtaskIndex};
use tidemill_connectors::api::{ConnectorError, Split, SplitEnumerator};
use tidemill_state::storage::{Directory, StorageError, StoreOptions, checksum};

use crate::split_tracker::{SplitTracker, splits_of};

/// What the caller has to do.
pub enum SplitAction {
    /// Run [`SplitEnumerator::discover`] on this enumerator, and call [`SplitAssigner::discovered`].
    Discover(Box<dyn SplitEnumerator>),
    /// Call [`SplitAssigner::discovery_due`] after this time.
    DiscoverAfter(Duration),
    Assign {
        reader: SubtaskIndex,
        splits: Vec<Split>,
        no_more: bool,
    },
}

/// The splits of one source operator, for as long as any of its readers goes on.
pub struct SplitAssigner {
    parallelism: u32,
    all_at_once: bool,
    /// Absent while discovery has it.
    enumerator: Option<Box<dyn SplitEnumerator>>,
    discovered_before: bool,
    waiting: BTreeSet<SubtaskIndex>,
    /// Readers that were told that nothing will follow.
    exhausted: BTreeSet<SubtaskIndex>,
    /// Of splits that were read before, from the checkpoint. Enumerators do not know of them.
    watermarks: BTreeMap<SplitId, i64>,
    /// Who owns what, if readers may fail without others.
    tracker: Option<SplitTracker>,
    /// What came back while discovery had the enumerator.
    back: Vec<Split>,
}

/// An enumerator after its discovery, and the watermarks of restored splits.
pub type Discovered = Result<(Box<dyn SplitEnumerator>, BTreeMap<SplitId, i64>), ConnectorError>;

/// What a checkpoint holds of one source.
#[derive(Default)]
pub struct SourceState {
    coordinator: Option<serde_json::Value>,
    splits: Vec<SplitPosition>,
}

impl SourceState {
    /// Reads it from the checkpoint in the directory `url`; empty if the checkpoint does not know the
    /// source. Blocks.
    ///
    /// # Errors
    /// If the checkpoint cannot be read.
    pub fn read(url: &str, uid: &str, store: &StoreOptions, io: &tokio::runtime::Handle) -> Result<Self, StorageError> {
        let directory = Directory::open(url, store)?;
        let bytes = io.block_on(directory.get(METADATA_NAME))?;
        let metadata = CheckpointMetadata::decode(&bytes, checksum).map_err(|error| StorageError::Damaged {
            url: directory.url_of(METADATA_NAME),
            reason: error.to_string(),
        })?;
        let Some(operator) = metadata.operators.into_iter().find(|operator| operator.uid == uid) else {
            return Ok(Self::default());
        };
        let splits = operator.subtasks.into_iter().flat_map(|(_, snapshot)| snapshot.splits).collect();
        Ok(Self { coordinator: operator.coordinator, splits })
    }

    /// Brings an enumerator to where it was, and gives the watermarks of the splits that were read.
    ///
    /// # Errors
    /// If the state is of another connector or version.
    pub fn restore(self, enumerator: &mut dyn SplitEnumerator) -> Result<BTreeMap<SplitId, i64>, ConnectorError> {
        let mut watermarks = BTreeMap::new();
        if let Some(mut state) = self.coordinator {
            if let Some(kept) = state.get_mut("watermarks") {
                watermarks = serde_json::from_value(kept.take()).unwrap_or_default();
            }
            enumerator.restore(state.get_mut("enumerator").map(serde_json::Value::take).unwrap_or_default())?;
        }
        watermarks.extend(self.splits.iter().filter_map(|split| Some((split.id.clone(), split.watermark_ms?))));
        let splits: Vec<_> = self.splits.into_iter().map(|split| Split::new(split.id, split.state)).collect();
        if !splits.is_empty() {
            enumerator.add_back(splits);
        }
        Ok(watermarks)
    }
}

impl SplitAssigner {
    /// A source whose enumerator is being made, by a caller that will bring it with
    /// [`SplitAssigner::discovered`].
    pub fn new(parallelism: u32, bounded: bool, has_watermark: bool) -> Self {
        Self {
            parallelism,
            all_at_once: bounded && has_watermark,
            enumerator: None,
            discovered_before: false,
            waiting: BTreeSet::new(),
            exhausted: BTreeSet::new(),
            watermarks: BTreeMap::new(),
            tracker: None,
            back: Vec::new(),
        }
    }

    /// For a source whose readers are of several regions: they may start again without each other.
    #[must_use]
    pub fn tracked(mut self) -> Self {
        self.tracker = Some(SplitTracker::default());
        self
    }

    /// Splits that are assigned from now on had these watermarks.
    pub fn restore_watermarks(&mut self, watermarks: BTreeMap<SplitId, i64>) {
        self.watermarks.extend(watermarks);
    }

    /// A reader has nothing to read.
    pub fn requested(&mut self, reader: SubtaskIndex) -> Vec<SplitAction> {
        if reader.0 >= self.parallelism || self.exhausted.contains(&reader) {
            return Vec::new();
        }
        self.waiting.insert(reader);
        if self.discovered_before { self.serve_waiting() } else { Vec::new() }
    }

    /// Discovery has ended.
    pub fn discovered(
        &mut self,
        enumerator: Box<dyn SplitEnumerator>,
        result: Result<(), ConnectorError>,
    ) -> Result<Vec<SplitAction>, ConnectorError> {
        result?;
        let mut enumerator = enumerator;
        if !self.back.is_empty() {
            enumerator.add_back(std::mem::take(&mut self.back));
        }
        let interval = enumerator.discovery_interval();
        self.enumerator = Some(enumerator);
        let first = !std::mem::replace(&mut self.discovered_before, true);
        let mut actions = match (first, self.all_at_once) {
            (_, true) => self.assign_all(),
            (true, false) => self.serve_waiting(),
            // New partitions go to their readers though these are busy with others.
            (false, _) => {
                self.waiting.extend((0..self.parallelism).map(SubtaskIndex));
                let actions = self.serve_waiting();
                self.waiting.retain(|reader| !self.exhausted.contains(reader));
                actions
            }
        };
        actions.extend(interval.map(SplitAction::DiscoverAfter));
        Ok(actions)
    }

    /// What is kept in a checkpoint; `None` while the enumerator is away for discovery.
    pub fn snapshot(&self) -> Option<Result<serde_json::Value, ConnectorError>> {
        let snapshot = self.enumerator.as_ref()?.snapshot();
        let watermarks = &self.watermarks;
        Some(snapshot.map(|enumerator| serde_json::json!({ "enumerator": enumerator, "watermarks": watermarks })))
    }

    /// Whether readers may start again without each other.
    pub fn is_tracked(&self) -> bool {
        self.tracker.is_some()
    }

    /// The enumerator's part of a checkpoint was taken: what is assigned from now on is not of it.
    pub fn prepared(&mut self, checkpoint: CheckpointId) {
        if let Some(tracker) = &mut self.tracker {
            tracker.prepared(checkpoint);
        }
    }

    /// What the readers have in a checkpoint that may become complete.
    pub fn collected(&mut self, checkpoint: CheckpointId, readers: BTreeMap<SubtaskIndex, Vec<SplitPosition>>) {
        if let Some(tracker) = &mut self.tracker {
            let readers = readers.into_iter().map(|(reader, splits)| (reader, splits_of(splits))).collect();
            tracker.collected(checkpoint, readers);
        }
    }

    /// A checkpoint is complete: readers that start again do so from it.
    pub fn completed(&mut self, checkpoint: CheckpointId) {
        if let Some(tracker) = &mut self.tracker {
            tracker.completed(checkpoint);
        }
    }

    /// Readers have been deployed anew, without splits, while others go on. What they own since the newest
    /// complete checkpoint is assigned again.
    pub fn restarted(&mut self, readers: &BTreeSet<SubtaskIndex>) -> Vec<SplitAction> {
        self.waiting.retain(|reader| !readers.contains(reader));
        self.exhausted.retain(|reader| !readers.contains(reader));
        let back = self.tracker.as_mut().map(|tracker| tracker.reset(readers)).unwrap_or_default();
        self.watermarks.extend(back.iter().filter_map(|split| Some((split.id.clone(), split.watermark_ms?))));
        match &mut self.enumerator {
            Some(enumerator) if !back.is_empty() => enumerator.add_back(back),
            Some(_) => {}
            None => self.back.extend(back),
        }
        match (self.discovered_before, self.all_at_once) {
            (false, _) => Vec::new(),
            (true, true) => self.assign_all(),
            // Those that have asked before have got nothing since.
            (true, false) => self.serve_waiting(),
        }
    }

    /// The time of [`SplitAction::DiscoverAfter`] has come.
    pub fn discovery_due(&mut self) -> Vec<SplitAction> {
        self.enumerator.take().map(SplitAction::Discover).into_iter().collect()
    }

    fn serve_waiting(&mut self) -> Vec<SplitAction> {
        let Some(enumerator) = &mut self.enumerator else { return Vec::new() };
        let mut actions = Vec::new();
        self.waiting.retain(|reader| {
            let splits = with_watermarks(&mut self.watermarks, enumerator.next_splits(*reader));
            let no_more = enumerator.is_exhausted(*reader);
            if no_more {
                self.exhausted.insert(*reader);
            }
            if splits.is_empty() && !no_more {
                return true;
            }
            if let Some(tracker) = &mut self.tracker {
                tracker.assigned(*reader, &splits);
            }
            actions.push(SplitAction::Assign { reader: *reader, splits, no_more });
            false
        });
        actions
    }

    /// To all readers that have not got theirs.
    fn assign_all(&mut self) -> Vec<SplitAction> {
        let Some(enumerator) = &mut self.enumerator else { return Vec::new() };
        let readers = (0..self.parallelism).map(SubtaskIndex).filter(|reader| !self.exhausted.contains(reader));
        let mut assigned: BTreeMap<SubtaskIndex, Vec<Split>> = readers.map(|reader| (reader, Vec::new())).collect();
        loop {
            let mut any = false;
            for (reader, mine) in &mut assigned {
                let splits = enumerator.next_splits(*reader);
                let splits = with_watermarks(&mut self.watermarks, splits);
                any |= !splits.is_empty();
                mine.extend(splits);
            }
            if !any {
                break;
            }
        }
        self.exhausted.extend(assigned.keys());
        self.waiting.clear();
        if let Some(tracker) = &mut self.tracker {
            assigned.iter().for_each(|(reader, splits)| tracker.assigned(*reader, splits));
        }
        let assign = |(reader, splits)| SplitAction::Assign { reader, splits, no_more: true };
        assigned.into_iter().map(assign).collect()
    }
}

fn with_watermarks(watermarks: &mut BTreeMap<SplitId, i64>, mut splits: Vec<Split>) -> Vec<Split> {
    for split in &mut splits {
        split.watermark_ms = watermarks.remove(&split.id);
    }
    splits
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tidemill_connectors::api::ReaderReport;

    use super::*;

    /// A queue of splits, as files are.
    struct Files {
        files: VecDeque<u32>,
        interval: Option<Duration>,
        next: u32,
    }

    impl SplitEnumerator for Files {
        fn discover(&mut self) -> Result<(), ConnectorError> {
            self.files.extend(self.next..self.next + 3);
            self.next += 3;
            Ok(())
        }
        fn discovery_interval(&self) -> Option<Duration> {
            self.interval
        }
        fn next_splits(&mut self, _reader: SubtaskIndex) -> Vec<Split> {
            let split = |n: u32| Split::new(tidemill_common::ids::SplitId(n.to_string()), n.into());
            self.files.pop_front().map(split).into_iter().collect()
        }
        fn is_exhausted(&self, _reader: SubtaskIndex) -> bool {
            self.interval.is_none() && self.files.is_empty()
        }
        fn add_back(&mut self, splits: Vec<Split>) {
            let back = splits.iter().map(|split| split.state.as_u64().unwrap() as u32);
            back.rev().for_each(|file| self.files.push_front(file));
        }
        fn snapshot(&self) -> Result<serde_json::Value, ConnectorError> {
            Ok(serde_json::Value::Null)
        }
        fn restore(&mut self, _state: serde_json::Value) -> Result<(), ConnectorError> {
            Ok(())
        }
        fn reconcile(&mut self, _reports: &[ReaderReport]) -> Result<(), ConnectorError> {
            Ok(())
        }
    }

    fn discover(assigner: &mut SplitAssigner, mut files: Box<dyn SplitEnumerator>) -> Vec<SplitAction> {
        let result = files.discover();
        assigner.discovered(files, result).unwrap()
    }

    fn show(actions: &[SplitAction]) -> Vec<String> {
        actions
            .iter()
            .map(|action| match action {
                SplitAction::Discover(_) => "discover".to_owned(),
                SplitAction::DiscoverAfter(time) => format!("after {time:?}"),
                SplitAction::Assign { reader, splits, no_more } => {
                    let splits: Vec<_> = splits.iter().map(|split| split.id.to_string()).collect();
                    format!("{reader}: {}{}", splits.join(","), if *no_more { " end" } else { "" })
                }
            })
            .collect()
    }

    fn files(interval: Option<Duration>) -> Box<dyn SplitEnumerator> {
        Box::new(Files { files: VecDeque::new(), interval, next: 0 })
    }

    #[test]
    fn a_bounded_source_with_a_watermark_has_all_its_splits_at_once() {
        let mut assigner = SplitAssigner::new(2, true, true);
        assert!(assigner.requested(SubtaskIndex(0)).is_empty());
        let actions = discover(&mut assigner, files(None));
        assert_eq!(show(&actions), ["0: 0,2 end", "1: 1 end"]);
        assert!(assigner.requested(SubtaskIndex(1)).is_empty());
    }

    #[test]
    fn else_readers_get_splits_when_they_ask() {
        let mut assigner = SplitAssigner::new(2, true, false);
        assert!(assigner.requested(SubtaskIndex(1)).is_empty());
        assert_eq!(show(&discover(&mut assigner, files(None))), ["1: 0"]);
        assert_eq!(show(&assigner.requested(SubtaskIndex(1))), ["1: 1"]);
        assert_eq!(show(&assigner.requested(SubtaskIndex(0))), ["0: 2 end"]);
        assert_eq!(show(&assigner.requested(SubtaskIndex(1))), ["1:  end"]);
        assert!(assigner.requested(SubtaskIndex(7)).is_empty(), "a reader that does not exist");
    }

    #[test]
    fn what_is_discovered_later_is_pushed() {
        let every = Duration::from_secs(1);
        let mut assigner = SplitAssigner::new(2, false, true);
        assert_eq!(show(&discover(&mut assigner, files(Some(every)))), ["after 1s"]);
        for expected in ["0: 0", "0: 1", "0: 2"] {
            assert_eq!(show(&assigner.requested(SubtaskIndex(0))), [expected]);
        }
        assert!(assigner.requested(SubtaskIndex(0)).is_empty());
        let mut due = assigner.discovery_due();
        let Some(SplitAction::Discover(enumerator)) = due.pop() else { panic!("no discovery") };
        assert!(assigner.requested(SubtaskIndex(1)).is_empty(), "discovery has the enumerator");
        assert_eq!(show(&discover(&mut assigner, enumerator)), ["0: 3", "1: 4", "after 1s"]);
    }

    #[test]
    fn a_reader_that_starts_again_alone_finds_its_splits_again() {
        let again = |reader| BTreeSet::from([SubtaskIndex(reader)]);
        let mut all_at_once = SplitAssigner::new(2, true, true).tracked();
        assert_eq!(show(&discover(&mut all_at_once, files(None))), ["0: 0,2 end", "1: 1 end"]);
        assert_eq!(show(&all_at_once.restarted(&again(0))), ["0: 0,2 end"], "the other has all it will have");
        all_at_once.prepared(CheckpointId(1));
        let at = SplitPosition { id: SplitId("2".to_owned()), state: 2.into(), watermark_ms: Some(70) };
        all_at_once.collected(CheckpointId(1), BTreeMap::from([(SubtaskIndex(0), vec![at])]));
        all_at_once.completed(CheckpointId(1));
        let actions = all_at_once.restarted(&again(0));
        assert_eq!(show(&actions), ["0: 2 end"], "split 0 was finished");
        assert!(matches!(&actions[..], [SplitAction::Assign { splits, .. }] if splits[0].watermark_ms == Some(70)));

        let mut asked = SplitAssigner::new(2, true, false).tracked();
        discover(&mut asked, files(None));
        for (reader, expected) in [(0, "0: 0"), (1, "1: 1"), (1, "1: 2 end")] {
            assert_eq!(show(&asked.requested(SubtaskIndex(reader))), [expected]);
        }
        assert!(asked.restarted(&again(0)).is_empty(), "nobody asks");
        assert_eq!(show(&asked.requested(SubtaskIndex(0))), ["0: 0 end"]);
        assert!(asked.requested(SubtaskIndex(1)).is_empty(), "it was told that nothing will follow");
    }

    #[test]
    fn what_comes_back_during_discovery_waits_for_its_end() {
        let every = Duration::from_secs(1);
        let mut assigner = SplitAssigner::new(2, false, true).tracked();
        discover(&mut assigner, files(Some(every)));
        assert_eq!(show(&assigner.requested(SubtaskIndex(0))), ["0: 0"]);
        let Some(SplitAction::Discover(enumerator)) = assigner.discovery_due().pop() else { panic!("no discovery") };
        assert!(assigner.restarted(&BTreeSet::from([SubtaskIndex(0)])).is_empty());
        assert_eq!(show(&discover(&mut assigner, enumerator)), ["0: 0", "1: 1", "after 1s"]);
    }
}
