//! A run that is broken by checkpoints, restored at other parallelisms, gives what a run without a
//! break gives.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::util::display::array_value_to_string;
use tidemill_common::checkpoint::{OperatorSnapshot, StateFile};
use tidemill_common::hash::hash_columns;
use tidemill_common::ids::{CheckpointId, SubtaskIndex};
use tidemill_common::key_group::{key_group_of, key_group_range};
use tidemill_state::keyed::key_groups;
use tidemill_state::storage::{Directory, FileReader, FileWriter, StoreOptions};

use super::*;
use crate::memory::MemoryBudget;
use crate::operator::Operator;
use crate::snapshot::{RestoredState, Snapshot, SnapshotPart};

mod join;

const MAX_PARALLELISM: u32 = 128;

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// Where the checkpoints of one run are.
struct Store {
    directory: tempfile::TempDir,
    checkpoint: u64,
    incremental: bool,
    room: Room,
    /// What snapshots have left to do that are late.
    late: Vec<SnapshotPart>,
    /// Whether a snapshot waits for what is done beside it.
    patient: bool,
}

/// Memory for state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    Plenty,
    /// All state goes to disk, again and again.
    None,
}

/// What becomes of a checkpoint that nobody restores.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Written,
    /// Written at once with the next one, which does not wait for it.
    Late,
    /// It is given up before it is written.
    Dropped,
    Savepoint,
}

/// What the subtasks of the operator kept.
type Kept = Vec<(SubtaskIndex, OperatorSnapshot)>;

impl Store {
    fn new() -> Self {
        // In memory where that can be had: local databases are opened many times.
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let (room, late) = (Room::Plenty, Vec::new());
        Self { directory: directory.unwrap(), checkpoint: 0, incremental: true, room, late, patient: false }
    }

    fn open(&self) -> Directory {
        Directory::open(&format!("file://{}", self.directory.path().display()), &StoreOptions::new()).unwrap()
    }

    fn context(&self, index: u32, parallelism: u32) -> KeyedContext {
        KeyedContext {
            key_groups: key_group_range(SubtaskIndex(index), parallelism, MAX_PARALLELISM),
            scratch: self.directory.path().to_owned(),
            incremental: self.incremental,
            memory: match self.room {
                Room::Plenty => MemoryBudget::with_tables(usize::MAX),
                Room::None => MemoryBudget::with_tables(0),
            },
            ..KeyedContext::alone(MAX_PARALLELISM)
        }
    }

    /// A checkpoint of all subtasks, with what earlier ones have left to do at the same time.
    fn snapshot(&mut self, operators: &mut [Box<dyn Operator>], full: bool) -> Kept {
        self.checkpoint += 1;
        let writer = FileWriter::new(self.open(), RUNTIME.handle().clone(), false);
        let late = std::mem::take(&mut self.late);
        let mut snapshots = Vec::new();
        for operator in operators {
            let mut snapshot = Snapshot::new(CheckpointId(self.checkpoint), full);
            operator.snapshot(&mut snapshot).unwrap();
            snapshots.push(snapshot);
        }
        let kept = std::thread::scope(|scope| {
            let writer = &writer;
            let write = |snapshot: Snapshot| {
                let files = snapshot.parts.into_iter().flat_map(|part| part(writer).unwrap()).collect();
                OperatorSnapshot { values: snapshot.values, files, ..OperatorSnapshot::default() }
            };
            let written: Vec<_> = snapshots.into_iter().map(|snapshot| scope.spawn(move || write(snapshot))).collect();
            late.into_iter().for_each(|part| drop(part(writer).unwrap()));
            let kept = written.into_iter().map(|thread| thread.join().unwrap());
            kept.enumerate().map(|(index, kept)| (SubtaskIndex(index as u32), kept)).collect()
        });
        while self.patient && !writer.has_nothing_beside() {
            std::thread::yield_now();
        }
        kept
    }

    /// A checkpoint that nobody restores.
    fn snapshot_on_the_way(&mut self, operators: &mut [Box<dyn Operator>], fate: Fate) {
        match fate {
            Fate::Written | Fate::Savepoint => drop(self.snapshot(operators, matches!(fate, Fate::Savepoint))),
            Fate::Late | Fate::Dropped => {
                self.checkpoint += 1;
                for operator in operators {
                    let mut snapshot = Snapshot::new(CheckpointId(self.checkpoint), false);
                    operator.snapshot(&mut snapshot).unwrap();
                    if matches!(fate, Fate::Late) {
                        self.late.extend(snapshot.parts);
                    }
                }
            }
        }
    }

    fn restored(&self, kept: &Kept, context: &KeyedContext, index: u32, parallelism: u32) -> RestoredState {
        let range = &context.key_groups;
        let overlaps = |file: &&StateFile| file.key_groups.start < range.end && range.start < file.key_groups.end;
        RestoredState {
            subtask: SubtaskIndex(index),
            parallelism,
            key_groups: range.clone(),
            max_parallelism: MAX_PARALLELISM,
            values: kept.iter().map(|(subtask, kept)| (*subtask, kept.values.clone())).collect(),
            files: kept
                .iter()
                .map(|(subtask, kept)| (*subtask, kept.files.iter().filter(overlaps).cloned().collect::<Vec<_>>()))
                .filter(|(_, files)| !files.is_empty())
                .collect(),
            staged: Vec::new(),
            reader: Arc::new(FileReader::new(self.open(), StoreOptions::new(), RUNTIME.handle().clone())),
            own: Some(format!("file://{}/", self.directory.path().display())),
        }
    }

    /// The operators of a deployment that starts from what was kept.
    fn start(
        &self,
        kept: Option<&Kept>,
        parallelism: u32,
        create: &dyn Fn(&KeyedContext) -> Box<dyn Operator>,
    ) -> Vec<Box<dyn Operator>> {
        let start = |index| {
            let context = self.context(index, parallelism);
            let mut operator = create(&context);
            if let Some(kept) = kept {
                operator.restore(&self.restored(kept, &context, index, parallelism)).unwrap();
            }
            operator
        };
        (0..parallelism).map(start).collect()
    }
}

/// A part of a run that ends with a checkpoint, or with the run.
#[derive(Clone, Debug)]
struct Stage {
    parallelism: u32,
    /// Where it ends, in thousandths of what is left of the events.
    end: usize,
    /// How many events before the end each subtask stops (what lies between is in flight).
    lags: Vec<usize>,
    /// How far the watermark that comes first after the restore lies behind.
    back: i64,
    /// Checkpoints on the way, that nobody restores: after so many events.
    others: Vec<(usize, Fate)>,
    full: bool,
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let fates = prop_oneof![
        8 => Just(Fate::Written),
        1 => Just(Fate::Late),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::Savepoint),
    ];
    let stage = (
        0..1000usize,
        prop_oneof![Just(vec![0]), prop::collection::vec(0..4usize, 1..4)],
        0..4i64,
        prop::collection::vec((0..3usize, fates), 0..20),
        any::<bool>(),
    );
    let parallelisms = prop::sample::select(vec![vec![1, 1], vec![1, 3], vec![3, 2], vec![2, 4, 2], vec![1, 2, 1, 1]]);
    (parallelisms, prop::collection::vec(stage, 4)).prop_map(|(parallelisms, stages)| {
        let of = |(parallelism, (end, lags, back, others, full))| Stage { parallelism, end, lags, back, others, full };
        parallelisms.into_iter().zip(stages).map(of).collect()
    })
}

/// Key groups of rows, as the exchange routes them.
fn groups_of(case: &Case, rows: &[Row]) -> Vec<usize> {
    let columns: Vec<ArrayRef> = case.keys.iter().map(|key| batch(rows).records.column(*key).clone()).collect();
    let mut hashes = Vec::new();
    hash_columns(&columns, rows.len(), &mut hashes);
    hashes.into_iter().map(|hash| usize::from(key_group_of(hash, MAX_PARALLELISM).0)).collect()
}

/// Feeds events to the operators of one deployment.
struct Run<'a> {
    case: &'a Case,
    create: &'a dyn Fn(&KeyedContext) -> Box<dyn Operator>,
    /// Makes of rows what the operator takes.
    input: &'a dyn Fn(&[Row]) -> Vec<Batch>,
    /// How many events each key group has seen.
    seen: Vec<usize>,
    output: Vec<(RowKind, String)>,
}

impl Run<'_> {
    /// Lets one subtask see the events up to `end`, of rows only those of its keys that are new to them.
    fn feed(&mut self, operator: &mut dyn Operator, groups: Range<u32>, end: usize, back: i64) {
        let mut output = Collected::default();
        let groups = groups.start as usize..groups.end as usize;
        let from = self.seen[groups.clone()].iter().copied().min().unwrap_or(0);
        let earlier = self.case.events[..from].iter().rev();
        let last =
            earlier.filter_map(|event| if let Event::Watermark(last) = event { Some(*last) } else { None }).next();
        if let Some(last) = last {
            operator.process_watermark(Watermark(last.saturating_sub(back)), &mut output).unwrap();
        }
        for (at, event) in self.case.events.iter().enumerate().take(end).skip(from) {
            match event {
                Event::Rows(rows) => {
                    let own = rows.iter().zip(groups_of(self.case, rows));
                    let own = own.filter(|(_, group)| groups.contains(group) && self.seen[*group] <= at);
                    let own: Vec<Row> = own.map(|(row, _)| row.clone()).collect();
                    if !own.is_empty() {
                        for batch in (self.input)(&own) {
                            operator.process_batch(0, batch, &mut output).unwrap();
                        }
                    }
                }
                Event::Watermark(watermark) => {
                    operator.process_watermark(Watermark(*watermark), &mut output).unwrap();
                }
                Event::Flush => {}
            }
        }
        self.seen[groups].iter_mut().for_each(|seen| *seen = end.max(*seen));
        self.output.extend(output.rows);
    }

    fn run(mut self, incremental: bool, room: Room, stages: &[Stage]) -> Vec<(RowKind, String)> {
        let mut store = Store { incremental, room, ..Store::new() };
        let mut kept: Option<Kept> = None;
        let mut back = 0;
        for (index, stage) in stages.iter().enumerate() {
            let mut operators = store.start(kept.as_ref(), stage.parallelism, self.create);
            let from = self.seen.iter().copied().min().unwrap_or(0);
            let left = self.case.events.len() - from;
            let is_last = index + 1 == stages.len();
            let end = if is_last { self.case.events.len() } else { from + left * stage.end / 1000 };
            let range =
                |subtask: usize| key_group_range(SubtaskIndex(subtask as u32), stage.parallelism, MAX_PARALLELISM);
            let mut on_the_way = from;
            for (events, fate) in &stage.others {
                on_the_way += events;
                if on_the_way < end.saturating_sub(4) {
                    for (subtask, operator) in operators.iter_mut().enumerate() {
                        self.feed(operator.as_mut(), range(subtask), on_the_way, back);
                    }
                    back = 0;
                    store.snapshot_on_the_way(&mut operators, *fate);
                }
            }
            for (subtask, operator) in operators.iter_mut().enumerate() {
                let lag = if is_last { 0 } else { stage.lags[subtask % stage.lags.len()] };
                self.feed(operator.as_mut(), range(subtask), end.saturating_sub(lag), back);
            }
            back = stage.back;
            kept = Some(store.snapshot(&mut operators, stage.full));
            store.late.clear();
        }
        self.output
    }
}

fn check_broken(case: &Case, stages: &[Stage]) {
    let (expected, _) = case.model();
    let check = |rows: Vec<(RowKind, String)>, what: &str| {
        if case.lateness == 0 {
            let rows = rows.into_iter().map(|(_, row)| row).collect();
            assert_eq!(sorted(rows), sorted(expected.clone()), "{what}");
        } else {
            assert_eq!(upserted(case, rows), sorted(expected.clone()), "{what}, with lateness");
        }
    };
    let single = |context: &KeyedContext| {
        create(&case.spec(AggregatePhase::Single), &input_schema(), &case.output_schema(), context).unwrap()
    };
    let seen = || vec![0; MAX_PARALLELISM as usize];
    let input = |rows: &[Row]| vec![batch(rows)];
    let sessions = matches!(case.kind, WindowKind::Session { .. });
    for (incremental, room) in [(false, Room::Plenty), (true, Room::Plenty), (false, Room::None), (true, Room::None)] {
        let run = Run { case, create: &single, input: &input, seen: seen(), output: Vec::new() };
        check(run.run(incremental, room, stages), &format!("single phase, incremental {incremental}, room {room:?}"));
    }
    if sessions {
        return;
    }
    let global = |context: &KeyedContext| {
        create(&case.spec(AggregatePhase::Global), &case.local_schema(), &case.output_schema(), context).unwrap()
    };
    // The local phase keeps nothing, as it is flushed before every barrier.
    let locally = |rows: &[Row]| {
        let context = KeyedContext::alone(MAX_PARALLELISM);
        let mut local =
            create(&case.spec(AggregatePhase::Local), &input_schema(), &case.local_schema(), &context).unwrap();
        let mut between = Collected::default();
        local.process_batch(0, batch(rows), &mut between).unwrap();
        local.flush(&mut between).unwrap();
        let mut snapshot = Snapshot::new(CheckpointId(1), false);
        local.snapshot(&mut snapshot).unwrap();
        assert!(snapshot.parts.is_empty() && snapshot.values.is_empty());
        between.batches
    };
    for room in [Room::Plenty, Room::None] {
        let run = Run { case, create: &global, input: &locally, seen: seen(), output: Vec::new() };
        check(run.run(true, room, stages), &format!("two phases, room {room:?}"));
    }
}

/// COUNT(*) and the count of an average share a word where there are no NULLs; restored ones may differ.
#[test]
fn rows_whose_value_was_null_before_the_break_are_counted_behind_it() {
    let row = |value| Row { key: Some(0), text: None, value, time: -15, flag: None };
    let case = Case {
        kind: WindowKind::Tumble { size_ms: 2, offset_ms: -1 },
        keys: vec![0],
        simple: true,
        lateness: 0,
        events: vec![
            Event::Rows(vec![row(None)]),
            Event::Rows(vec![row(Some(0))]),
            Event::Flush,
            Event::Watermark(i64::MAX - 1),
        ],
    };
    let stage = Stage { parallelism: 1, end: 500, lags: vec![0], back: 0, others: Vec::new(), full: true };
    check_broken(&case, &[stage.clone(), stage]);
}

/// How many cases are tried; `PROPTEST_CASES` changes it.
fn cases_of(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases_of(80), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_broken_run_gives_what_one_without_a_break_gives(case in cases(), stages in stages()) {
        check_broken(&case, &stages);
    }
}

/// Rows of keys 0..20 at these times, with watermarks between.
fn case_of(kind: WindowKind, steps: &[Result<i64, i64>]) -> Case {
    let events = steps.iter().map(|step| match step {
        Ok(time) => Event::Rows((0..20).map(|key| of_key(key, *time)).collect()),
        Err(watermark) => Event::Watermark(*watermark),
    });
    Case { kind, keys: vec![KEY], simple: true, lateness: 0, events: events.collect() }
}

fn stage(parallelism: u32, end: usize, lags: &[usize], back: i64) -> Stage {
    Stage { parallelism, end, lags: lags.to_vec(), back, others: Vec::new(), full: false }
}

fn all_kinds() -> [WindowKind; 4] {
    [
        WindowKind::Tumble { size_ms: 10, offset_ms: 0 },
        WindowKind::Hop { size_ms: 20, slide_ms: 10, offset_ms: 0 },
        WindowKind::Cumulate { max_size_ms: 30, step_ms: 10, offset_ms: 0 },
        WindowKind::Session { gap_ms: 7 },
    ]
}

/// Classic bug 20 (FLINK-26063): timers in the wrong key group after a rescale.
#[test]
fn windows_fire_once_for_every_key_after_3_5_2() {
    for kind in all_kinds() {
        let case = case_of(kind, &[Ok(3), Ok(14), Err(9), Ok(25), Err(19), Ok(31), Err(i64::MAX - 1)]);
        for end in [200, 400, 700] {
            check_broken(&case, &[stage(3, end, &[0], 0), stage(5, end, &[0], 0), stage(2, 0, &[0], 0)]);
        }
    }
}

/// Classic bug 21: key groups off by one.
#[test]
fn state_goes_to_the_subtask_that_the_exchange_routes_its_rows_to() {
    let rows: Vec<Row> =
        (0..500).map(|key| Row { text: ["", "a", "b"].get(key as usize % 4).copied(), ..of_key(key, 5) }).collect();
    for keys in [vec![], vec![KEY], vec![TEXT], vec![TEXT, KEY]] {
        let case = Case {
            kind: WindowKind::Tumble { size_ms: 10, offset_ms: 0 },
            keys,
            simple: true,
            lateness: 0,
            events: vec![Event::Rows(rows.clone())],
        };
        let create = |context: &KeyedContext| {
            create(&case.spec(AggregatePhase::Single), &input_schema(), &case.output_schema(), context).unwrap()
        };
        let mut store = Store::new();
        let mut old = store.start(None, 1, &create);
        old[0].process_batch(0, batch(&rows), &mut Collected::default()).unwrap();
        let kept = store.snapshot(&mut old, false);
        let mut results = 0;
        for (index, mut operator) in store.start(Some(&kept), 7, &create).into_iter().enumerate() {
            let mut output = Collected::default();
            operator.process_watermark(Watermark(9), &mut output).unwrap();
            for batch in &output.batches {
                let keys = &batch.records.columns()[..case.keys.len()];
                let owned = key_group_range(SubtaskIndex(index as u32), 7, MAX_PARALLELISM);
                let groups = key_groups(keys, batch.rows(), MAX_PARALLELISM);
                assert!(groups.iter().all(|group| owned.contains(&u32::from(group.0))));
                results += batch.rows();
            }
        }
        old[0].process_watermark(Watermark(9), &mut Collected::default()).unwrap();
        let groups: std::collections::BTreeSet<_> = rows.iter().map(|row| case.key_text(row)).collect();
        assert_eq!(results, groups.len());
    }
}

/// Classic bug 22 (FLINK-36663, FLINK-24501, FLINK-5601): without the watermark, windows fire again.
#[test]
fn windows_do_not_fire_again_for_rows_that_were_late_before_the_break() {
    for kind in all_kinds() {
        // The second row of time 3 is late in every window of 20 ms or less.
        let case = case_of(kind, &[Ok(3), Err(29), Ok(3), Ok(31), Err(i64::MAX - 1)]);
        check_broken(&case, &[stage(1, 500, &[0], 100), stage(1, 0, &[0], 0)]);
        check_broken(&case, &[stage(1, 500, &[0], 100), stage(3, 0, &[0], 0)]);
    }
}

/// Classic bug 23 (FLINK-40517): of several old watermarks the least counts, and yet nothing fires twice.
#[test]
fn the_least_of_the_old_watermarks_counts() {
    for kind in all_kinds() {
        let steps = [Ok(3), Ok(14), Err(9), Ok(12), Err(19), Ok(15), Ok(25), Err(29), Ok(31), Err(i64::MAX - 1)];
        let case = case_of(kind, &steps);
        for end in [500, 600, 700, 800] {
            check_broken(&case, &[stage(3, end, &[0, 3, 1], 0), stage(1, 0, &[0], 0)]);
            check_broken(&case, &[stage(2, end, &[2, 0], 1), stage(4, 500, &[1, 0], 0), stage(2, 0, &[0], 0)]);
        }
    }
}

#[test]
fn windows_of_the_clock_that_are_due_fire_at_once() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NOW: AtomicI64 = AtomicI64::new(0);
    let clock = || NOW.load(Ordering::Relaxed);
    let output_schema = counting_schema(LogicalType::TimestampLtz(3));
    let kinds = [
        (WindowKind::Tumble { size_ms: 10, offset_ms: 0 }, vec!["0,1,0,10,9", "1,1,0,10,9", "0,1,30,40,39"]),
        (
            WindowKind::Hop { size_ms: 20, slide_ms: 10, offset_ms: 0 },
            vec!["0,1,-10,10,9", "1,1,-10,10,9", "0,1,0,20,19", "1,1,0,20,19", "0,1,20,40,39", "0,1,30,50,49"],
        ),
        (WindowKind::Session { gap_ms: 8 }, vec!["0,1,3,11,10", "1,1,3,11,10", "0,1,35,43,42"]),
    ];
    for (kind, mut expected) in kinds {
        let time = WindowTime::ProcessingTime { zone: "UTC".to_owned() };
        let spec = counting(kind, time);
        let create =
            |context: &KeyedContext| create_with_clock(&spec, &input_schema(), &output_schema, context, clock).unwrap();
        let mut store = Store::new();
        let mut old = store.start(None, 2, &create);
        let mut output = Collected::default();
        NOW.store(3, Ordering::Relaxed);
        let case = Case { kind: spec.window.kind.clone(), keys: vec![KEY], simple: true, lateness: 0, events: vec![] };
        let owner = |key: i64| usize::from(groups_of(&case, &[of_key(key, 0)])[0] >= 64);
        for key in [0, 1] {
            old[owner(key)].process_batch(0, batch(&[of_key(key, 0)]), &mut output).unwrap();
        }
        // One of the two has fired what the other has not.
        NOW.store(11, Ordering::Relaxed);
        old[owner(0)].on_processing_time(11, &mut output).unwrap();
        let kept = store.snapshot(&mut old, false);
        NOW.store(30, Ordering::Relaxed);
        let mut new = store.start(Some(&kept), 1, &create).remove(0);
        if let Some(due) = new.next_processing_timer() {
            assert!(due <= 30);
            new.on_processing_time(30, &mut output).unwrap();
        }
        NOW.store(35, Ordering::Relaxed);
        new.process_batch(0, batch(&[of_key(0, 0)]), &mut output).unwrap();
        new.on_processing_time(100, &mut output).unwrap();
        expected.sort_unstable();
        assert_eq!(sorted(output.rows.into_iter().map(|(_, row)| row).collect()), expected);
    }
}

/// Accumulators of every function over columns of many types.
#[test]
fn accumulators_of_every_type_come_back() {
    use AggregateFunction::{ApproxCountDistinct, Avg, Count, Max, Min, Percentile, Sum};
    let types = [
        LogicalType::BigInt,
        LogicalType::Timestamp(3),
        LogicalType::Int,
        LogicalType::Double,
        LogicalType::Decimal(20, 2),
        LogicalType::STRING,
        LogicalType::Boolean,
    ];
    let fields = types.iter().enumerate().map(|(at, logical)| Field::new(format!("c{at}"), logical.clone().nullable()));
    let input = Schema::new(fields.collect());
    let rows = |seed: i64| -> Batch {
        let values: Vec<Option<i64>> = (0..400).map(|row| ((row + seed) % 7 != 0).then(|| row * seed % 101)).collect();
        let decimals: Decimal128Array = values.iter().map(|value| value.map(|value| i128::from(value) * 25)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..400).map(|row| Some(row % 37)).collect::<Int64Array>()),
            Arc::new(TimestampMillisecondArray::from_iter_values((0..400).map(|row| row % 10))),
            Arc::new(values.iter().map(|value| value.map(|value| value as i32)).collect::<Int32Array>()),
            Arc::new(values.iter().map(|value| value.map(|value| value as f64 / 4.0)).collect::<Float64Array>()),
            Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
            Arc::new(values.iter().map(|value| value.map(|value| format!("text {value}"))).collect::<StringArray>()),
            Arc::new(values.iter().map(|value| value.map(|value| value > 50)).collect::<BooleanArray>()),
        ];
        Batch::insert(RecordBatch::try_new(input.to_arrow(), columns).unwrap())
    };
    let mut calls = Vec::new();
    let mut add = |function: AggregateFunction, arg: usize, distinct: bool, return_type: LogicalType| {
        calls.push(AggregateCall {
            function,
            args: vec![arg],
            arg_types: vec![input.fields[arg].data_type.clone()],
            distinct,
            filter: None,
            return_type: return_type.nullable(),
        });
    };
    let decimal = || LogicalType::Decimal(38, 2);
    for (arg, logical) in types.iter().enumerate().skip(1) {
        add(Count, arg, false, LogicalType::BigInt);
        add(Count, arg, true, LogicalType::BigInt);
        add(Min, arg, false, logical.clone());
        add(Max, arg, false, logical.clone());
        if arg != 6 {
            add(ApproxCountDistinct, arg, false, LogicalType::BigInt);
        }
    }
    for (arg, sum) in [(2, LogicalType::Int), (3, LogicalType::Double), (4, decimal())] {
        for distinct in [false, true] {
            add(Sum, arg, distinct, sum.clone());
            add(Avg, arg, distinct, if arg == 4 { LogicalType::Decimal(38, 6) } else { sum.clone() });
        }
        add(Percentile { fractions: vec![0.5], array: false }, arg, false, LogicalType::Double);
    }
    let mut output: Vec<Field> = vec![input.fields[0].clone()];
    output.extend(calls.iter().map(|call| Field::new("a", call.return_type.clone())));
    output.extend(["s", "e", "t"].map(|name| Field::new(name, LogicalType::Timestamp(3).not_null())));
    let output = Schema::new(output);
    for kind in [WindowKind::Tumble { size_ms: 10, offset_ms: 0 }, WindowKind::Session { gap_ms: 100 }] {
        let time = WindowTime::RowTime { column: 1, zone: None };
        let spec = WindowAggregateSpec { calls: calls.clone(), ..counting(kind, time) };
        let create = |context: &KeyedContext| create(&spec, &input, &output, context).unwrap();
        let texts = |operators: Vec<Box<dyn Operator>>| {
            let mut texts = Vec::new();
            for mut operator in operators {
                let mut output = Collected::default();
                operator.process_watermark(Watermark(1_000), &mut output).unwrap();
                for batch in output.batches {
                    for row in 0..batch.rows() {
                        let cells =
                            batch.records.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                        texts.push(cells.collect::<Vec<_>>().join(","));
                    }
                }
            }
            sorted(texts)
        };
        let mut store = Store::new();
        let mut whole = store.start(None, 1, &create);
        let mut first = store.start(None, 1, &create);
        let ignored = &mut Collected::default();
        whole[0].process_batch(0, rows(1), ignored).unwrap();
        whole[0].process_batch(0, rows(3), ignored).unwrap();
        first[0].process_batch(0, rows(1), ignored).unwrap();
        let kept = store.snapshot(&mut first, false);
        let mut second = store.start(Some(&kept), 3, &create);
        let keys = rows(3);
        let groups = key_groups(&[keys.records.column(0).clone()], 400, MAX_PARALLELISM);
        for (index, operator) in second.iter_mut().enumerate() {
            let owned = key_group_range(SubtaskIndex(index as u32), 3, MAX_PARALLELISM);
            let own: BooleanArray = groups.iter().map(|group| Some(owned.contains(&u32::from(group.0)))).collect();
            let own = arrow::compute::filter_record_batch(&keys.records, &own).unwrap();
            operator.process_batch(0, Batch::insert(own), ignored).unwrap();
        }
        let kept = store.snapshot(&mut second, false);
        let third = store.start(Some(&kept), 2, &create);
        let expected = texts(whole);
        assert_eq!(expected.len(), 37);
        assert_eq!(texts(third), expected);
    }
}

#[test]
fn state_of_another_shape_is_refused() {
    let case = case_of(WindowKind::Tumble { size_ms: 10, offset_ms: 0 }, &[Ok(3)]);
    let mut store = Store::new();
    let of = |case: &Case, context: &KeyedContext| {
        create(&case.spec(AggregatePhase::Single), &input_schema(), &case.output_schema(), context).unwrap()
    };
    let mut operators = store.start(None, 1, &|context| of(&case, context));
    operators[0].process_batch(0, batch(&[of_key(1, 3)]), &mut Collected::default()).unwrap();
    let kept = store.snapshot(&mut operators, false);
    let context = store.context(0, 1);
    let other = Case { simple: false, ..case.clone() };
    let error = of(&other, &context).restore(&store.restored(&kept, &context, 0, 1)).unwrap_err();
    assert!(error.to_string().contains("this plan reads and writes"), "{error}");
    // A damaged file is named.
    let mut damaged = kept.clone();
    let file = &mut damaged[0].1.files[0];
    file.checksum ^= 1;
    let location = file.location.clone();
    let error = of(&case, &context).restore(&store.restored(&damaged, &context, 0, 1)).unwrap_err();
    assert!(error.to_string().contains(&location), "{error}");
}

/// Bytes and number of a snapshot's files, by whether a snapshot before named them.
fn new_and_old(kept: &Kept, before: &Kept) -> (u64, usize) {
    let files = |kept: &Kept| kept.iter().flat_map(|(_, kept)| kept.files.clone()).collect::<Vec<_>>();
    let (old, all) = (files(before), files(kept));
    let new: Vec<_> = all.iter().filter(|file| !old.contains(file)).collect();
    (new.iter().map(|file| file.bytes).sum(), all.len() - new.len())
}

#[test]
fn a_checkpoint_writes_what_has_changed_and_files_stay_few() {
    for kind in [WindowKind::Tumble { size_ms: 100, offset_ms: 0 }, WindowKind::Session { gap_ms: 50 }] {
        let case = case_of(kind, &[]);
        let create = |context: &KeyedContext| {
            create(&case.spec(AggregatePhase::Single), &input_schema(), &case.output_schema(), context).unwrap()
        };
        let mut store = Store { patient: true, ..Store::new() };
        let mut operators = store.start(None, 1, &create);
        let output = &mut Collected::default();
        let rows: Vec<Row> = (0..50_000).map(|key| of_key(key, 3)).collect();
        operators[0].process_batch(0, batch(&rows), output).unwrap();
        let mut last = store.snapshot(&mut operators, false);
        let (whole, _) = new_and_old(&last, &Kept::new());
        assert!(whole > 200_000);
        let (mut most, mut bases) = (0, 0);
        for checkpoint in 0..100i64 {
            let rows: Vec<Row> = (0..500).map(|key| of_key(key * 7 + checkpoint, 4)).collect();
            operators[0].process_batch(0, batch(&rows), output).unwrap();
            let next = store.snapshot(&mut operators, false);
            let (new, old) = new_and_old(&next, &last);
            // Now and then a base has been written beside, which is named from then on.
            bases += u32::from(new >= whole);
            assert!(old > 0 || new >= whole, "{new} new bytes, {old} old files");
            most = most.max(old);
            last = next;
        }
        assert!(most < 64 && bases < 10, "{most} files, {bases} bases");
        let unchanged = store.snapshot(&mut operators, false);
        assert_eq!(new_and_old(&unchanged, &last).0, 0);
        // Files of windows that have ended are not named any more.
        operators[0].process_watermark(Watermark(99), output).unwrap();
        let ended = store.snapshot(&mut operators, false);
        assert_eq!(ended[0].1.files, []);
        assert_eq!(output.rows.len(), 50_000);
    }
}

/// After 3 subtasks, of which one was ahead, 2 fire the window of the others: for keys whose window took
/// no more rows before, and some of whose slices are gone, it does not fire again.
#[test]
fn windows_that_were_over_for_a_key_before_the_break_do_not_fire_again_in_part() {
    let case = Case {
        kind: WindowKind::Hop { size_ms: 2, slide_ms: 1, offset_ms: 0 },
        keys: vec![0, 1],
        simple: true,
        lateness: 4,
        events: vec![
            Event::Rows(vec![Row { key: Some(0), text: Some("a longer text"), value: None, time: 0, flag: None }]),
            Event::Rows(vec![Row { key: None, text: None, value: None, time: -8, flag: None }]),
            Event::Rows(vec![
                Row { key: Some(3), text: Some("a longer text"), value: Some(9), time: -12, flag: Some(false) },
                Row { key: None, text: Some("b"), value: None, time: 1, flag: Some(false) },
                Row { key: Some(1), text: Some("a longer text"), value: Some(14), time: -15, flag: Some(false) },
                Row { key: Some(2), text: None, value: Some(16), time: 0, flag: Some(false) },
                Row { key: Some(1), text: None, value: Some(-4), time: -1, flag: Some(true) },
                Row { key: Some(0), text: None, value: Some(-5), time: -11, flag: Some(false) },
                Row { key: Some(0), text: None, value: None, time: -5, flag: Some(false) },
                Row { key: None, text: Some("b"), value: Some(6), time: -3, flag: Some(false) },
                Row { key: Some(0), text: Some("a longer text"), value: None, time: -14, flag: Some(false) },
            ]),
            Event::Rows(vec![Row {
                key: Some(0),
                text: Some("a longer text"),
                value: None,
                time: 1,
                flag: Some(true),
            }]),
            Event::Flush,
            Event::Rows(vec![
                Row { key: Some(1), text: Some(""), value: None, time: -3, flag: Some(true) },
                Row { key: Some(0), text: None, value: Some(17), time: 13, flag: Some(false) },
                Row { key: Some(1), text: Some("b"), value: None, time: -3, flag: Some(true) },
                Row { key: Some(3), text: Some("b"), value: Some(18), time: 4, flag: Some(false) },
                Row { key: Some(2), text: Some("a"), value: Some(-4), time: 13, flag: None },
                Row { key: Some(3), text: None, value: Some(-4), time: 3, flag: Some(false) },
                Row { key: Some(2), text: Some(""), value: None, time: -9, flag: Some(true) },
                Row { key: Some(1), text: None, value: Some(-1), time: 8, flag: Some(true) },
            ]),
            Event::Flush,
            Event::Rows(vec![Row { key: Some(1), text: Some(""), value: Some(-1), time: 11, flag: None }]),
            Event::Watermark(5),
            Event::Flush,
            Event::Watermark(9223372036854775806),
        ],
    };
    let stages = vec![
        Stage {
            parallelism: 3,
            end: 934,
            lags: vec![1, 3, 3],
            back: 2,
            others: vec![
                (2, Fate::Dropped),
                (1, Fate::Written),
                (0, Fate::Written),
                (2, Fate::Written),
                (1, Fate::Written),
                (1, Fate::Written),
            ],
            full: true,
        },
        Stage {
            parallelism: 2,
            end: 855,
            lags: vec![2, 0],
            back: 2,
            others: vec![
                (1, Fate::Written),
                (1, Fate::Written),
                (0, Fate::Written),
                (1, Fate::Written),
                (1, Fate::Late),
                (0, Fate::Written),
                (0, Fate::Savepoint),
                (2, Fate::Written),
                (0, Fate::Late),
                (0, Fate::Written),
                (1, Fate::Written),
                (1, Fate::Written),
                (1, Fate::Written),
                (2, Fate::Late),
                (2, Fate::Late),
                (1, Fate::Written),
                (1, Fate::Written),
                (1, Fate::Written),
                (0, Fate::Written),
            ],
            full: false,
        },
    ];
    check_broken(&case, &stages);
}
