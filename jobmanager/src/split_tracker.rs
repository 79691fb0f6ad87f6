//! Who owns which split since the newest complete checkpoint: a pure core, for sources whose readers are of
//! several regions.
//!
//! When a region starts again from that checkpoint, its readers start without splits. What comes back to the
//! enumerator is what they had in the checkpoint, at the positions there, and what they were assigned after
//! it; splits that they had finished before it do not, and those of readers of other regions stay with them.
//! A split that came back may go to any reader, so that from then on the checkpoint says nothing of the
//! readers that it came from.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::checkpoint::SplitPosition;
use tidemill_common::ids::{CheckpointId, SubtaskIndex};
use tidemill_connectors::api::Split;

/// A split that was assigned.
#[derive(Clone, Debug, PartialEq)]
struct Assigned {
    split: Split,
    /// The newest checkpoint that the enumerator had given its part to: older ones and that one do not hold
    /// the assignment, later ones do.
    after: Option<CheckpointId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SplitTracker {
    /// What each reader had in the newest complete checkpoint.
    base: BTreeMap<SubtaskIndex, Vec<Split>>,
    /// What each was assigned, and no complete checkpoint has.
    since: BTreeMap<SubtaskIndex, Vec<Assigned>>,
    prepared: Option<CheckpointId>,
    /// What readers have in a checkpoint that is not complete.
    collected: Option<(CheckpointId, BTreeMap<SubtaskIndex, Vec<Split>>)>,
}

impl SplitTracker {
    /// A reader is given splits.
    pub fn assigned(&mut self, reader: SubtaskIndex, splits: &[Split]) {
        let assigned = splits.iter().map(|split| Assigned { split: split.clone(), after: self.prepared });
        self.since.entry(reader).or_default().extend(assigned);
    }

    /// The enumerator has given its part to a checkpoint: what is assigned from now on is not of it.
    pub fn prepared(&mut self, checkpoint: CheckpointId) {
        self.prepared = Some(checkpoint);
    }

    /// All readers have given their parts to a checkpoint, which may become complete.
    pub fn collected(&mut self, checkpoint: CheckpointId, readers: BTreeMap<SubtaskIndex, Vec<Split>>) {
        self.collected = Some((checkpoint, readers));
    }

    /// A checkpoint is complete: whatever starts again does so from it.
    pub fn completed(&mut self, checkpoint: CheckpointId) {
        let Some((_, readers)) = self.collected.take_if(|(collected, _)| *collected == checkpoint) else { return };
        self.base = readers;
        for assigned in self.since.values_mut() {
            assigned.retain(|assigned| assigned.after >= Some(checkpoint));
        }
    }

    /// Readers start again from the newest complete checkpoint: what they own since comes back.
    pub fn reset(&mut self, readers: &BTreeSet<SubtaskIndex>) -> Vec<Split> {
        let mut back = Vec::new();
        for reader in readers {
            back.extend(self.base.remove(reader).unwrap_or_default());
            let since = self.since.remove(reader).unwrap_or_default();
            back.extend(since.into_iter().map(|assigned| assigned.split));
        }
        back
    }
}

/// Splits as they are in a snapshot.
pub fn splits_of(positions: Vec<SplitPosition>) -> Vec<Split> {
    let split =
        |position: SplitPosition| Split { id: position.id, state: position.state, watermark_ms: position.watermark_ms };
    positions.into_iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemill_common::ids::SplitId;

    use super::*;

    fn split(id: u32, position: u64) -> Split {
        Split::new(SplitId(id.to_string()), position.into())
    }

    fn readers<const N: usize>(readers: [u32; N]) -> BTreeSet<SubtaskIndex> {
        readers.map(SubtaskIndex).into()
    }

    #[test]
    fn what_was_assigned_after_the_checkpoint_comes_back_and_what_was_finished_before_it_does_not() {
        let mut tracker = SplitTracker::default();
        tracker.assigned(SubtaskIndex(0), &[split(1, 0), split(2, 0)]);
        tracker.assigned(SubtaskIndex(1), &[split(3, 0)]);
        tracker.prepared(CheckpointId(5));
        tracker.assigned(SubtaskIndex(0), &[split(4, 0)]);
        // Split 1 is finished; the other two have been read from.
        let at = [(SubtaskIndex(0), vec![split(2, 7)]), (SubtaskIndex(1), vec![split(3, 9)])];
        tracker.collected(CheckpointId(5), at.into());
        tracker.completed(CheckpointId(5));
        assert_eq!(tracker.reset(&readers([0])), [split(2, 7), split(4, 0)]);
        assert_eq!(tracker.reset(&readers([0])), [], "once");
        // It went to the other region, which now fails, too.
        tracker.assigned(SubtaskIndex(1), &[split(2, 7)]);
        assert_eq!(tracker.reset(&readers([1])), [split(3, 9), split(2, 7)]);
    }

    #[test]
    fn without_a_complete_checkpoint_all_that_was_assigned_comes_back_as_it_was() {
        let mut tracker = SplitTracker::default();
        tracker.assigned(SubtaskIndex(0), &[split(1, 0)]);
        tracker.prepared(CheckpointId(1));
        // A savepoint, or a checkpoint that was given up after all had answered.
        tracker.collected(CheckpointId(1), [(SubtaskIndex(0), vec![split(1, 7)])].into());
        tracker.completed(CheckpointId(2));
        assert_eq!(tracker.reset(&readers([0])), [split(1, 0)]);
    }

    /// Where each split is: with which reader, if any, at which position; and whether it is read to its end.
    #[derive(Clone, Debug)]
    struct Place {
        reader: Option<u32>,
        position: u64,
        finished: bool,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(u32),
        Read(usize),
        Finish(usize),
        /// A checkpoint is taken, with all barriers at once.
        Take,
        Complete,
        Reset(u32),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u32..3).prop_map(Step::Assign),
            6 => (0usize..6).prop_map(Step::Read),
            2 => (0usize..6).prop_map(Step::Finish),
            2 => Just(Step::Take),
            3 => Just(Step::Complete),
            2 => (0u32..3).prop_map(Step::Reset),
        ]
    }

    /// How many rows of each split each reader has read, as far as they count.
    type Rows = BTreeMap<(u32, usize), u64>;

    proptest! {
        /// Whatever happens, every row of every split is read exactly once in the history that counts: of
        /// each reader what it did before the checkpoint that it last started from, and what it did since.
        #[test]
        fn a_split_goes_back_to_where_its_reader_does(steps in proptest::collection::vec(any_step(), 0..120)) {
            let mut tracker = SplitTracker::default();
            let mut places = vec![Place { reader: None, position: 0, finished: false }; 6];
            let (mut rows, mut kept) = (Rows::new(), Rows::new());
            let mut taken: Option<Rows> = None;
            let mut checkpoint = 0;
            for step in steps {
                match step {
                    Step::Assign(reader) => {
                        if let Some(id) = places.iter().position(|place| place.reader.is_none()) {
                            places[id].reader = Some(reader);
                            tracker.assigned(SubtaskIndex(reader), &[split(id as u32, places[id].position)]);
                        }
                    }
                    Step::Read(id) => {
                        let place = &mut places[id];
                        if let Some(reader) = place.reader.filter(|_| !place.finished) {
                            place.position += 1;
                            *rows.entry((reader, id)).or_default() += 1;
                        }
                    }
                    Step::Finish(id) => places[id].finished = places[id].reader.is_some(),
                    Step::Take => {
                        checkpoint += 1;
                        tracker.prepared(CheckpointId(checkpoint));
                        let mut readers: BTreeMap<SubtaskIndex, Vec<Split>> = BTreeMap::new();
                        for (id, place) in places.iter().enumerate().filter(|(_, place)| !place.finished) {
                            if let Some(reader) = place.reader {
                                readers.entry(SubtaskIndex(reader)).or_default().push(split(id as u32, place.position));
                            }
                        }
                        tracker.collected(CheckpointId(checkpoint), readers);
                        taken = Some(rows.clone());
                    }
                    Step::Complete => {
                        if let Some(taken) = taken.take() {
                            tracker.completed(CheckpointId(checkpoint));
                            kept = taken;
                        }
                    }
                    Step::Reset(reader) => {
                        // What is being taken is given up when a region fails.
                        taken = None;
                        rows.retain(|(of, _), _| *of != reader);
                        rows.extend(kept.iter().filter(|((of, _), _)| *of == reader).map(|(of, rows)| (*of, *rows)));
                        let mut back = BTreeSet::new();
                        for split in tracker.reset(&readers([reader])) {
                            let id: usize = split.id.0.parse().unwrap();
                            prop_assert!(back.insert(id), "split {} comes back twice", id);
                            prop_assert_eq!(places[id].reader, Some(reader), "split {} is of another reader", id);
                            let position = split.state.as_u64().unwrap();
                            places[id] = Place { reader: None, position, finished: false };
                        }
                        let left = places.iter().find(|place| place.reader == Some(reader) && !place.finished);
                        prop_assert!(left.is_none(), "{left:?} did not come back");
                    }
                }
                for (id, place) in places.iter().enumerate() {
                    let read: u64 = rows.iter().filter(|((_, of), _)| *of == id).map(|(_, rows)| *rows).sum();
                    prop_assert_eq!(read, place.position, "rows of split {} are lost or doubled", id);
                }
            }
        }
    }
}
