use std::collections::BTreeMap;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use tidemill_common::batch::RowKind;
use tidemill_common::checkpoint::{
    CheckpointKind, CheckpointMetadata, METADATA_NAME, METADATA_VERSION, OperatorSnapshot,
};
use tidemill_common::ids::{JobId, OperatorId};
use tidemill_common::key_group::subtask_of;
use tidemill_common::plan::{ChangelogMode, OperatorKind, PLAN_VERSION, PlanEdge};
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_state::storage::{Directory, StoreOptions, checksum};

use super::*;
use crate::memory::MemoryBudget;

const MAX_PARALLELISM: u32 = 128;

fn schema() -> Schema {
    Schema::new(vec![Field::new("n", LogicalType::BigInt.not_null())])
}

fn batch(rows: impl IntoIterator<Item = i64>) -> Batch {
    let column = Int64Array::from_iter_values(rows);
    Batch::insert(RecordBatch::try_new(schema().to_arrow(), vec![Arc::new(column)]).unwrap())
}

fn rows(batch: &Batch) -> Vec<i64> {
    batch.records.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn element(element: StreamElement) -> Delivery {
    Delivery::Element(element)
}

/// As it comes over the network.
fn frame(element: &StreamElement) -> Delivery {
    let mut bytes = Vec::new();
    append(&codec::encode(element, 77, 5, false).unwrap(), &mut bytes);
    let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
    Delivery::Frame { header, body: Buffer::from(&bytes[HEADER_BYTES..]) }
}

/// An operator and what sends to it, with these exchanges between.
fn plan(edges: &[Partitioning], parallelism: u32) -> StreamPlan {
    let operator = |id: u32, inputs: Vec<PlanEdge>| PlanOperator {
        id: OperatorId(id),
        uid: format!("uid-{id}"),
        name: format!("operator {id}"),
        kind: OperatorKind::Union,
        inputs,
        schema: schema(),
        parallelism,
        changelog: ChangelogMode::InsertOnly,
        upsert_key: None,
        state: Vec::new(),
    };
    let edge = |partitioning: &Partitioning| PlanEdge { from: OperatorId(0), partitioning: partitioning.clone() };
    StreamPlan {
        version: PLAN_VERSION,
        name: "test".to_owned(),
        operators: vec![operator(0, Vec::new()), operator(1, edges.iter().map(edge).collect())],
        options: BTreeMap::new(),
        max_parallelism: MAX_PARALLELISM,
    }
}

fn inputs_of(plan: &StreamPlan) -> Arc<[InFlightInput]> {
    let input = |_| InFlightInput { from: "uid-0".to_owned(), schema: schema() };
    plan.operators[1].inputs.iter().map(input).collect()
}

/// A directory of checkpoints.
struct Store {
    io: tokio::runtime::Runtime,
    place: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { io, place: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        format!("file://{}", self.place.path().display())
    }

    fn directory(&self) -> Directory {
        Directory::open(&self.url(), &StoreOptions::new()).unwrap()
    }

    fn write(&self, collected: Collected) -> Option<InFlight> {
        let writer = FileWriter::new(self.directory(), self.io.handle().clone(), false);
        write(collected, &writer, CheckpointId(1)).unwrap()
    }

    /// What a deployment starts from if these were in flight to the receiver's subtasks.
    fn restored(&self, in_flight: Vec<Option<InFlight>>) -> Restored {
        let parallelism = in_flight.len() as u32;
        let subtask = |(index, in_flight): (usize, _)| {
            (SubtaskIndex(index as u32), OperatorSnapshot { in_flight, ..OperatorSnapshot::default() })
        };
        let metadata = CheckpointMetadata {
            version: METADATA_VERSION,
            kind: CheckpointKind::Checkpoint,
            job: JobId::from("j"),
            job_name: "test".to_owned(),
            checkpoint: CheckpointId(1),
            timestamp_ms: 0,
            max_parallelism: MAX_PARALLELISM,
            next_state_id: 1,
            operators: vec![OperatorState {
                uid: "uid-1".to_owned(),
                name: "operator 1".to_owned(),
                parallelism,
                descriptors: Vec::new(),
                coordinator: None,
                subtasks: in_flight.into_iter().enumerate().map(subtask).collect(),
            }],
        };
        let bytes = metadata.encode(checksum).unwrap();
        self.io.block_on(self.directory().put(METADATA_NAME, bytes)).unwrap();
        Restored::read(&self.url(), &StoreOptions::new(), self.io.handle()).unwrap()
    }
}

fn replay(restored: &Restored, plan: &StreamPlan, subtask: u32) -> Option<Replay> {
    Replay::read(restored, plan, &plan.operators[1], SubtaskIndex(subtask), (0, true)).unwrap()
}

/// What comes of it, as text.
fn play(replay: &mut Replay) -> Vec<String> {
    let mut played = Vec::new();
    while let Some(next) = replay.next().unwrap() {
        played.push(match next {
            Replayed::Batch { input, batch } => format!("{input}: {:?}", rows(&batch)),
            Replayed::Watermark(watermark) => format!("watermark {}", watermark.0),
        });
    }
    played
}

fn watermark(time: i64) -> StreamElement {
    StreamElement::Watermark(Watermark(time))
}

fn hash() -> Partitioning {
    Partitioning::Hash { keys: vec![0] }
}

#[test]
fn bug_22_event_time_goes_on_among_rows_in_flight_as_it_did() {
    let store = Store::new();
    let plan = plan(&[hash(), Partitioning::Rebalance], 1);
    let mut merger = WatermarkMerger::new(2);
    merger.watermark(0, Watermark(40));
    merger.watermark(1, Watermark(45));
    let mut collected =
        Collected::new(inputs_of(&plan), [0, 1].into_iter(), &merger, MemoryBudget::with_tables(1 << 20).in_flight());
    for (channel, delivery) in [
        (0, element(StreamElement::Batch(batch([41, 42])))),
        (0, element(watermark(50))),
        (1, frame(&StreamElement::Batch(batch(1_000..2_000)))),
        (0, element(StreamElement::Batch(batch([44])))),
        (1, frame(&watermark(60))),
        (1, frame(&StreamElement::Idle(true))),
        (0, element(StreamElement::EndOfData { drain: true })),
    ] {
        collected.add(channel, delivery).unwrap();
    }
    let restored = store.restored(vec![store.write(collected)]);
    let mut replay = replay(&restored, &plan, 0).unwrap();
    assert_eq!(replay.watermark(), Watermark(40), "it is where it was");
    let played = play(&mut replay);
    let thousand = format!("1: {:?}", (1_000..2_000).collect::<Vec<i64>>());
    assert_eq!(played, ["0: [41, 42]", "watermark 45", &thousand, "0: [44]", "watermark 50"]);
    assert_eq!(replay.watermark(), Watermark(50));
}

#[test]
fn bug_24_idle_and_finished_channels_stay_aside_among_rows_in_flight() {
    let store = Store::new();
    let plan = plan(&[hash()], 1);
    let mut merger = WatermarkMerger::new(3);
    merger.idle(1, true);
    merger.finish(2);
    let mut collected = Collected::new(
        inputs_of(&plan),
        [0, 0, 0].into_iter(),
        &merger,
        MemoryBudget::with_tables(1 << 20).in_flight(),
    );
    collected.add(0, element(StreamElement::Batch(batch([1])))).unwrap();
    collected.add(0, element(watermark(7))).unwrap();
    collected.add(1, element(StreamElement::Idle(false))).unwrap();
    collected.add(0, element(watermark(9))).unwrap();
    let restored = store.restored(vec![store.write(collected)]);
    assert_eq!(play(&mut replay(&restored, &plan, 0).unwrap()), ["0: [1]", "watermark 7"], "channel 1 is back");
}

/// Rows of two inputs in flight to `old` subtasks, each row once and where its key group is.
fn scattered(store: &Store, old: u32) -> Restored {
    let plan = plan(&[hash(), Partitioning::Rebalance], old);
    let merger = WatermarkMerger::new(2);
    let in_flight = (0..old).map(|subtask| {
        let mut collected = Collected::new(
            inputs_of(&plan),
            [0, 1].into_iter(),
            &merger,
            MemoryBudget::with_tables(1 << 20).in_flight(),
        );
        for start in [0, 500] {
            let all: Vec<i64> = (start..start + 500).collect();
            let mut hashes = Vec::new();
            hash_columns(batch(all.iter().copied()).records.columns(), all.len(), &mut hashes);
            let owner = |hash: u64| subtask_of(key_group_of(hash, MAX_PARALLELISM), old, MAX_PARALLELISM).0;
            let mine = all.iter().zip(&hashes).filter(|(_, hash)| owner(**hash) == subtask).map(|(row, _)| *row);
            let mine = batch(mine);
            let kinds = (0..mine.rows()).map(|row| if row % 2 == 0 { RowKind::Insert } else { RowKind::Delete });
            let mine = Batch { kinds: Some(kinds.collect()), ..mine };
            collected.add(0, frame(&StreamElement::Batch(mine))).unwrap();
            collected.add(0, element(watermark(start + 100))).unwrap();
        }
        let any = i64::from(subtask) * 10;
        collected.add(1, element(StreamElement::Batch(batch(any..any + 10)))).unwrap();
        collected.add(1, element(watermark(1_000_000))).unwrap();
        store.write(collected)
    });
    store.restored(in_flight.collect())
}

#[test]
fn at_another_parallelism_every_row_goes_once_to_the_owner_of_its_key_group() {
    let store = Store::new();
    for (old, new) in [(2, 3), (3, 2), (2, 1), (3, 7), (4, 4)] {
        let restored = scattered(&store, old);
        let plan = plan(&[hash(), Partitioning::Rebalance], new);
        let mut found = [Vec::new(), Vec::new()];
        for subtask in 0..new {
            let Some(mut replay) = replay(&restored, &plan, subtask) else { continue };
            let mut last = -1;
            while let Some(next) = replay.next().unwrap() {
                let Replayed::Batch { input, batch } = next else { continue };
                if input == 0 {
                    let mut hashes = Vec::new();
                    hash_columns(batch.records.columns(), batch.rows(), &mut hashes);
                    let owner = |hash: &u64| subtask_of(key_group_of(*hash, MAX_PARALLELISM), new, MAX_PARALLELISM).0;
                    assert!(hashes.iter().all(|hash| owner(hash) == subtask), "{old} -> {new}");
                    assert!(batch.kinds.is_some(), "row kinds are lost");
                    if old == new {
                        assert!(rows(&batch)[0] > last, "the order of a channel is lost");
                        last = *rows(&batch).last().unwrap();
                    }
                }
                found[input].extend(rows(&batch));
            }
        }
        found.iter_mut().for_each(|rows| rows.sort_unstable());
        assert_eq!(found[0], (0..1_000).collect::<Vec<i64>>(), "{old} -> {new}");
        assert_eq!(found[1], (0..i64::from(old) * 10).collect::<Vec<i64>>(), "{old} -> {new}");
    }
}

#[test]
fn bug_23_at_another_parallelism_rows_in_flight_do_not_advance_event_time() {
    let store = Store::new();
    let restored = scattered(&store, 2);
    for new in [1, 3] {
        let plan = plan(&[hash(), Partitioning::Rebalance], new);
        for subtask in 0..new {
            let Some(mut replay) = replay(&restored, &plan, subtask) else { continue };
            assert!(play(&mut replay).iter().all(|played| !played.starts_with("watermark")));
            assert_eq!(replay.watermark(), Watermark::MIN);
        }
    }
}

#[test]
fn watermarks_alone_are_not_kept() {
    let store = Store::new();
    let plan = plan(&[hash()], 1);
    let mut collected = Collected::new(
        inputs_of(&plan),
        std::iter::once(0),
        &WatermarkMerger::new(1),
        MemoryBudget::with_tables(1 << 20).in_flight(),
    );
    collected.add(0, element(watermark(7))).unwrap();
    collected.add(0, element(StreamElement::EndOfPartition)).unwrap();
    assert_eq!(store.write(collected), None);
    let restored = store.restored(vec![None]);
    assert!(replay(&restored, &plan, 0).is_none());
}

#[test]
fn more_than_may_be_kept_is_refused() {
    let plan = plan(&[hash()], 1);
    let mut collected = Collected::new(
        inputs_of(&plan),
        std::iter::once(0),
        &WatermarkMerger::new(1),
        MemoryBudget::with_tables(1 << 20).in_flight(),
    );
    let Delivery::Frame { header, body } = frame(&StreamElement::Batch(batch([1]))) else { panic!("no frame") };
    let header = Header { plain_length: (1 << 18) + 1, ..header };
    collected.add(0, Delivery::Frame { header, body: body.clone() }).unwrap();
    let error = collected.add(0, Delivery::Frame { header, body }).unwrap_err();
    assert!(error.contains("unaligned.enabled"), "{error}");
}

#[test]
fn damage_is_told_and_rows_that_came_another_way_are_refused() {
    let store = Store::new();
    let plan = plan(&[hash()], 1);
    let mut collected = Collected::new(
        inputs_of(&plan),
        std::iter::once(0),
        &WatermarkMerger::new(1),
        MemoryBudget::with_tables(1 << 20).in_flight(),
    );
    collected.add(0, element(StreamElement::Batch(batch([1, 2, 3])))).unwrap();
    collected.add(0, element(watermark(7))).unwrap();
    let mut kept = store.write(collected).unwrap();
    let content = Buffer::from(kept.file.inline.as_ref().unwrap().0.as_slice());
    assert_eq!(frames(&content, 1).unwrap().len(), 2);
    assert!(frames(&content, 0).is_err(), "there is no channel 0");
    let ends: Vec<usize> =
        (0..content.len()).filter(|end| frames(&content.slice_with_length(0, *end), 1).is_ok()).collect();
    assert_eq!(ends.len(), 2, "a file ends between frames only: {ends:?}");

    let read = |kept: InFlight| {
        let restored = store.restored(vec![Some(kept)]);
        Replay::read(&restored, &plan, &plan.operators[1], SubtaskIndex(0), (0, true)).map(drop)
    };
    read(kept.clone()).unwrap();
    let other = InFlightInput { from: "other".to_owned(), ..kept.inputs[0].clone() };
    let error = read(InFlight { inputs: vec![other], ..kept.clone() }).unwrap_err().to_string();
    assert!(error.contains("operator 1") && error.contains("another way"), "{error}");
    kept.channels[0].input = 3;
    assert!(read(kept.clone()).is_err());
    kept.channels[0].input = 0;
    kept.file.checksum ^= 1;
    assert!(read(kept).is_err());
}
