//! What checkpoints cost a keyed window: throughput with a checkpoint every second beside none, the time
//! a task stands still for a million changed keys, an incremental checkpoint of a large state, and the
//! rate of writing and reading state beside raw RocksDB.
//!
//! `--seconds N` for the first, `--state-mb N` for the third.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::StateFile;
use tidemill_common::ids::CheckpointId;
use tidemill_common::plan::{
    AggregateCall, AggregateFunction, AggregatePhase, WindowAggregateSpec, WindowKind, WindowSpec, WindowTime,
};
use tidemill_common::time::Watermark;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_state::keyed::{KeyedState, Lifetime, RowSource};
use tidemill_state::storage::{Directory, FileReader, FileWriter, StoreOptions};
use tidemill_taskmanager::operator::{Operator, OperatorError, Output};
use tidemill_taskmanager::operators::window::{self, KeyedContext};
use tidemill_taskmanager::snapshot::Snapshot;

const BATCH_ROWS: usize = 8192;

/// A small generator of random numbers (SplitMix64), so that runs are the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(word ^ (word >> 31)) * bound as u128) >> 64) as i64
    }
}

struct Ignored;

impl Output for Ignored {
    fn emit(&mut self, _batch: Batch) -> Result<(), OperatorError> {
        Ok(())
    }

    fn emit_watermark(&mut self, _watermark: Watermark) -> Result<(), OperatorError> {
        Ok(())
    }
}

fn key_field(key: &LogicalType) -> Field {
    Field::new("key", key.clone().not_null())
}

fn input_schema(key: &LogicalType) -> Schema {
    Schema::new(vec![
        key_field(key),
        Field::new("price", LogicalType::BigInt.not_null()),
        Field::new("ts", LogicalType::Timestamp(3).nullable()),
    ])
}

/// COUNT(*) and SUM(price) per key in one long window.
fn operator(key: &LogicalType, context: &KeyedContext) -> anyhow::Result<Box<dyn Operator>> {
    let call = |function: AggregateFunction, args: &[usize]| AggregateCall {
        function,
        args: args.to_vec(),
        arg_types: args.iter().map(|_| LogicalType::BigInt.not_null()).collect(),
        distinct: false,
        filter: None,
        return_type: LogicalType::BigInt.nullable(),
    };
    let spec = WindowAggregateSpec {
        window: WindowSpec {
            kind: WindowKind::Tumble { size_ms: 3_600_000, offset_ms: 0 },
            time: WindowTime::RowTime { column: 2, zone: None },
        },
        keys: vec![0],
        calls: vec![call(AggregateFunction::Count, &[]), call(AggregateFunction::Sum, &[1])],
        phase: AggregatePhase::Single,
        allowed_lateness_ms: 0,
    };
    let time = |name: &str| Field::new(name, LogicalType::Timestamp(3).not_null());
    let output = Schema::new(vec![
        key_field(key),
        Field::new("count", LogicalType::BigInt.not_null()),
        Field::new("sum", LogicalType::BigInt.nullable()),
        time("window_start"),
        time("window_end"),
        time("window_time"),
    ]);
    Ok(window::create(&spec, &input_schema(key), &output, context)?)
}

fn batch(key: &LogicalType, keys: ArrayRef) -> anyhow::Result<Batch> {
    let rows = keys.len();
    let prices: ArrayRef = Arc::new((0..rows as i64).collect::<Int64Array>());
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1; rows]));
    Ok(Batch::insert(RecordBatch::try_new(input_schema(key).to_arrow(), vec![keys, prices, times])?))
}

/// Where checkpoints go: a local disk.
struct Place {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    checkpoint: u64,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { directory: tempfile::tempdir_in(std::env::current_dir()?)?, runtime, checkpoint: 0 })
    }

    fn context(&self) -> KeyedContext {
        let scratch = self.directory.path().to_owned();
        KeyedContext { scratch, incremental: true, ..KeyedContext::alone(128) }
    }

    fn open(&self) -> anyhow::Result<Directory> {
        Ok(Directory::open(&format!("file://{}", self.directory.path().display()), &StoreOptions::new())?)
    }

    fn writer(&self) -> anyhow::Result<FileWriter> {
        Ok(FileWriter::new(self.open()?, self.runtime.handle().clone(), false))
    }

    /// The synchronous part of a checkpoint.
    fn snapshot(&mut self, operator: &mut dyn Operator) -> anyhow::Result<(Snapshot, Duration)> {
        self.checkpoint += 1;
        let mut snapshot = Snapshot::new(CheckpointId(self.checkpoint), false);
        let begun = Instant::now();
        operator.snapshot(&mut snapshot)?;
        Ok((snapshot, begun.elapsed()))
    }
}

fn write(snapshot: Snapshot, writer: &FileWriter) -> anyhow::Result<Vec<StateFile>> {
    let mut files = Vec::new();
    for part in snapshot.parts {
        files.extend(part(writer)?);
    }
    Ok(files)
}

/// CPU time of this thread, which other work on the machine hardly disturbs.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// Rows a second of the task's thread, over batches that come again and again, and the bytes that checkpoints wrote.
fn rate(batches: &[Batch], seconds: u64, every: Option<Duration>) -> anyhow::Result<(f64, u64)> {
    let mut place = Place::new()?;
    let mut operator = operator(&LogicalType::BigInt, &place.context())?;
    let mut ignored = Ignored;
    for batch in batches {
        operator.process_batch(0, batch.clone(), &mut ignored)?;
    }
    let cpu = thread_time();
    let (begun, mut last, mut rows, mut bytes) = (Instant::now(), Instant::now(), 0usize, 0);
    let mut writing: Option<std::thread::JoinHandle<anyhow::Result<u64>>> = None;
    'run: loop {
        for batch in batches {
            operator.process_batch(0, batch.clone(), &mut ignored)?;
            rows += batch.rows();
            if begun.elapsed() >= Duration::from_secs(seconds) {
                break 'run;
            }
            if every.is_some_and(|every| last.elapsed() >= every)
                && writing.as_ref().is_none_or(|thread| thread.is_finished())
            {
                last = Instant::now();
                let (snapshot, _) = place.snapshot(operator.as_mut())?;
                let writer = place.writer()?;
                if let Some(thread) = writing.take() {
                    bytes += thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
                }
                writing = Some(std::thread::spawn(move || {
                    write(snapshot, &writer)?;
                    Ok(writer.bytes_written())
                }));
            }
        }
    }
    let time = cpu.zip(thread_time()).map_or_else(|| begun.elapsed(), |(begun, now)| now.saturating_sub(begun));
    let rate = rows as f64 / time.as_secs_f64();
    if let Some(thread) = writing {
        bytes += thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    }
    Ok((rate, bytes))
}

fn throughput(seconds: u64) -> anyhow::Result<()> {
    for keys in [10_000, 1_000_000] {
        let mut random = Random(7);
        let mut batches = Vec::new();
        for _ in 0..400 {
            let keys: Int64Array = (0..BATCH_ROWS).map(|_| Some(random.below(keys))).collect();
            batches.push(batch(&LogicalType::BigInt, Arc::new(keys))?);
        }
        let (mut without, mut with, mut written) = (Vec::new(), Vec::new(), 0);
        for _ in 0..3 {
            without.push(rate(&batches, seconds, None)?.0);
            let (rate, bytes) = rate(&batches, seconds, Some(Duration::from_secs(1)))?;
            with.push(rate);
            written += bytes / seconds / 3;
        }
        let median = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2] / 1e6
        };
        let (without, with) = (median(&mut without), median(&mut with));
        let slower = (1.0 - with / without) * 100.0;
        let verdict = if slower <= 5.0 { "ok" } else { "ABOVE" };
        println!(
            "{keys:>8} keys, all hot: {without:.1} M rows/s without checkpoints, {with:.1} with one a second \
             ({:.1} MB/s written), {slower:.1} % slower ({verdict}, wanted 5)",
            written as f64 / 1e6
        );
    }
    Ok(())
}

fn sync_part() -> anyhow::Result<()> {
    let mut place = Place::new()?;
    let mut operator = operator(&LogicalType::BigInt, &place.context())?;
    let batches: Vec<Batch> = (0..1_000_000i64)
        .step_by(BATCH_ROWS)
        .map(|from| {
            let keys: Int64Array = (from..(from + BATCH_ROWS as i64).min(1_000_000)).map(Some).collect();
            batch(&LogicalType::BigInt, Arc::new(keys))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut times = Vec::new();
    for _ in 0..60 {
        for batch in &batches {
            operator.process_batch(0, batch.clone(), &mut Ignored)?;
        }
        let (snapshot, time) = place.snapshot(operator.as_mut())?;
        write(snapshot, &place.writer()?)?;
        times.push(time);
    }
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let verdict = if worst < Duration::from_millis(50) { "ok" } else { "ABOVE" };
    println!(
        "a million keys changed: the task stands still for {median:.1?}, at most {worst:.1?} ({verdict}, wanted 50ms)"
    );
    Ok(())
}

fn incremental(state_mb: usize) -> anyhow::Result<()> {
    let mut place = Place::new()?;
    let mut operator = operator(&LogicalType::STRING, &place.context())?;
    let text =
        |key: u64| format!("{key:016x}{:016x}{:016x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15), key ^ 0x5bd1_e995);
    // Two numbers of eight bytes, and the key.
    let rows = (state_mb * 1_000_000 / (48 + 16)) as u64;
    let add = |operator: &mut dyn Operator, keys: &mut dyn Iterator<Item = u64>| -> anyhow::Result<()> {
        loop {
            let texts: StringArray = keys.take(BATCH_ROWS).map(|key| Some(text(key))).collect();
            if texts.is_empty() {
                return Ok(());
            }
            operator.process_batch(0, batch(&LogicalType::STRING, Arc::new(texts))?, &mut Ignored)?;
        }
    };
    add(operator.as_mut(), &mut (0..rows))?;
    let mut take = |operator: &mut dyn Operator| -> anyhow::Result<(Duration, u64, u64)> {
        let begun = Instant::now();
        let (snapshot, _) = place.snapshot(operator)?;
        let writer = place.writer()?;
        let files = write(snapshot, &writer)?;
        Ok((begun.elapsed(), writer.bytes_written(), files.iter().map(|file| file.bytes).sum()))
    };
    let (first, bytes, _) = take(operator.as_mut())?;
    println!("{rows} keys ({state_mb} MB), first checkpoint: {first:.1?}, {:.0} MB", bytes as f64 / 1e6);
    add(operator.as_mut(), &mut (0..rows).step_by(100))?;
    let (second, bytes, whole) = take(operator.as_mut())?;
    let verdict = if second < Duration::from_secs(1) { "ok" } else { "ABOVE" };
    println!(
        "1 % of them changed, next checkpoint: {second:.1?}, {:.1} MB new of {:.0} MB ({verdict}, wanted 1s)",
        bytes as f64 / 1e6,
        whole as f64 / 1e6
    );
    Ok(())
}

/// A million rows of a number and two sums, in no order.
struct Rows {
    keys: ArrayRef,
    values: ArrayRef,
}

impl RowSource for Rows {
    fn count(&self) -> usize {
        self.keys.len()
    }

    fn rows(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        vec![take(&self.keys, &UInt32Array::from(rows.to_vec()), None).unwrap_or_else(|_| self.keys.clone())]
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let values =
            take(&self.values, &UInt32Array::from(rows.to_vec()), None).unwrap_or_else(|_| self.values.clone());
        vec![values.clone(), values]
    }

    fn namespace(&self, _row: u32) -> i64 {
        3_600_000
    }
}

fn beside_rocksdb() -> anyhow::Result<()> {
    const ROWS: usize = 1_000_000;
    let place = Place::new()?;
    let mut random = Random(3);
    let keys: Vec<i64> = (0..ROWS).map(|row| (random.below(1 << 40) << 20) | row as i64).collect();
    let rows =
        Rows { keys: Arc::new(Int64Array::from(keys.clone())), values: Arc::new(Int64Array::from(keys.clone())) };
    let state = KeyedState {
        id: 1,
        key_types: vec![DataType::Int64],
        unhashed: 0,
        tail: 0,
        value_types: vec![DataType::Int64, DataType::Int64],
        lifetime: Lifetime::Namespace,
        max_parallelism: 128,
    };
    let rate = |begun: Instant| ROWS as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let scratch = place.directory.path();
    let begun = Instant::now();
    let files =
        state.write(vec![(1, Arc::new(rows))], 1, scratch, &place.writer()?, place.context().memory.writing())?;
    let write = rate(begun);
    let reader = FileReader::new(place.open()?, StoreOptions::new(), place.runtime.handle().clone());
    let (begun, mut read) = (Instant::now(), 0);
    state.read(&files, &(0..128), scratch, &reader, |rows| read += rows.namespaces.rows())?;
    anyhow::ensure!(read == ROWS, "{read} rows were read");
    let read = rate(begun);
    // The same rows one by one, as Flink's backend does it.
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    let db = rocksdb::DB::open(&options, scratch.join("raw"))?;
    let mut without_log = rocksdb::WriteOptions::default();
    without_log.disable_wal(true);
    let key_of = |key: i64| [&[0, 0, 0, 0, 0, 1][..], &3_600_000i64.to_be_bytes(), &key.to_be_bytes()].concat();
    let begun = Instant::now();
    for key in &keys {
        db.put_opt(key_of(*key), [key.to_le_bytes(), key.to_le_bytes()].concat(), &without_log)?;
    }
    db.flush()?;
    let raw_write = rate(begun);
    let begun = Instant::now();
    for key in &keys {
        db.get_pinned(key_of(*key))?.context("a row is missing")?;
    }
    let raw_read = rate(begun);
    println!("state written: {write:.2} M rows/s, raw RocksDB by put {raw_write:.2}");
    println!("state read: {read:.2} M rows/s, raw RocksDB by get {raw_read:.2}");
    Ok(())
}

fn argument(name: &str, default: usize) -> anyhow::Result<usize> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == name) {
        None => Ok(default),
        Some(at) => arguments
            .get(at + 1)
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("{name} needs a number, such as '{name} {default}'")),
    }
}

fn main() -> anyhow::Result<()> {
    throughput(argument("--seconds", 10)? as u64)?;
    sync_part()?;
    incremental(argument("--state-mb", 1_000)?)?;
    beside_rocksdb()
}
