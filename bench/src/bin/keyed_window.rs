//! keyBy(auction) and 10 s tumbling count and sum over Nexmark-like bids in memory: the operator as
//! it runs in the engine, against a hand-written loop over the same batches, on one core.
//!
//! Both see the same watermarks, keep windows until the watermark passes them and emit results in
//! batches. Rounds are interleaved and the medians compared, of CPU time where the system tells it.
//! `--rows N`, `--rounds N`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use tidemill_common::batch::Batch;
use tidemill_common::plan::{
    AggregateCall, AggregateFunction, AggregatePhase, WindowAggregateSpec, WindowKind, WindowSpec, WindowTime,
};
use tidemill_common::time::Watermark;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_taskmanager::operator::{OperatorError, Output};
use tidemill_taskmanager::operators::window;

const BATCH_ROWS: usize = 8192;
const EVENTS_PER_SECOND: i64 = 100_000;
const WINDOW_MS: i64 = 10_000;
const WATERMARK_DELAY_MS: i64 = 4_000;
/// The least speed of the engine, as a share of the loop's.
const RATIO_WANTED: f64 = 0.5;

/// A small generator of random numbers (SplitMix64), so that runs are the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: i64) -> i64 {
        ((u128::from(self.next()) * bound as u128) >> 64) as i64
    }
}

/// Nexmark's bids: of 50 events 1 is a person, 3 are auctions, 46 are bids; half of the bids go to
/// the hot auction, the others to one of the last hundred.
fn bids(rows: usize, disorder_ms: i64) -> anyhow::Result<Vec<RecordBatch>> {
    let schema = input_schema().to_arrow();
    let mut random = Random(7);
    let (mut batches, mut event) = (Vec::new(), 0i64);
    while batches.len() * BATCH_ROWS < rows {
        let mut auctions = Vec::with_capacity(BATCH_ROWS);
        let mut prices = Vec::with_capacity(BATCH_ROWS);
        let mut times = Vec::with_capacity(BATCH_ROWS);
        while auctions.len() < BATCH_ROWS {
            event += 1;
            if event % 50 < 4 {
                continue;
            }
            let last_auction = event / 50 * 3 + 2;
            auctions.push(
                1000 + if random.below(2) > 0 {
                    last_auction / 100 * 100
                } else {
                    let first = (last_auction - 100).max(0);
                    first + random.below(last_auction - first + 11)
                },
            );
            prices.push((10f64.powf(random.below(1 << 20) as f64 / f64::from(1 << 20) * 6.0) * 100.0).round() as i64);
            let delay = if disorder_ms > 0 { random.below(disorder_ms) } else { 0 };
            times.push(1_700_000_000_000 + event * 1000 / EVENTS_PER_SECOND - delay);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(auctions)),
            Arc::new(Int64Array::from(prices)),
            Arc::new(TimestampMillisecondArray::from(times)),
        ];
        batches.push(RecordBatch::try_new(schema.clone(), columns)?);
    }
    Ok(batches)
}

/// The watermark behind each batch.
fn watermarks(batches: &[RecordBatch]) -> Vec<i64> {
    let mut highest = i64::MIN;
    let of_batch = |batch: &RecordBatch| {
        let times = batch.column(2).as_primitive::<TimestampMillisecondType>();
        highest = times.values().iter().fold(highest, |highest, time| highest.max(*time));
        highest - WATERMARK_DELAY_MS
    };
    batches.iter().map(of_batch).collect()
}

fn input_schema() -> Schema {
    Schema::new(vec![
        Field::new("auction", LogicalType::BigInt.not_null()),
        Field::new("price", LogicalType::BigInt.not_null()),
        Field::new("dateTime", LogicalType::Timestamp(3).nullable()),
    ])
}

/// What a run has emitted, to compare and to keep the compiler from dropping it.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    groups: u64,
    count: i64,
    sum: i64,
}

#[derive(Default)]
struct Sink {
    totals: Totals,
}

impl Output for Sink {
    fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
        let sum = |column: usize| batch.records.column(column).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        self.totals.groups += batch.rows() as u64;
        self.totals.count += sum(1);
        self.totals.sum += sum(2);
        black_box(&batch);
        Ok(())
    }

    fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        black_box(watermark);
        Ok(())
    }
}

fn engine(batches: &[RecordBatch], watermarks: &[i64]) -> anyhow::Result<Totals> {
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
            kind: WindowKind::Tumble { size_ms: WINDOW_MS, offset_ms: 0 },
            time: WindowTime::RowTime { column: 2, zone: None },
        },
        keys: vec![0],
        calls: vec![call(AggregateFunction::Count, &[]), call(AggregateFunction::Sum, &[1])],
        phase: AggregatePhase::Single,
        allowed_lateness_ms: 0,
    };
    let time = |name: &str| Field::new(name, LogicalType::Timestamp(3).not_null());
    let output = Schema::new(vec![
        Field::new("auction", LogicalType::BigInt.not_null()),
        Field::new("count", LogicalType::BigInt.not_null()),
        Field::new("sum", LogicalType::BigInt.nullable()),
        time("window_start"),
        time("window_end"),
        time("window_time"),
    ]);
    let mut operator = window::create(&spec, &input_schema(), &output, &window::KeyedContext::alone(128))?;
    let mut sink = Sink::default();
    for (batch, watermark) in batches.iter().zip(watermarks) {
        operator.process_batch(0, Batch::insert(batch.clone()), &mut sink)?;
        operator.process_watermark(Watermark(*watermark), &mut sink)?;
    }
    operator.process_watermark(Watermark::MAX, &mut sink)?;
    Ok(sink.totals)
}

/// A hand-written loop: one open-addressing table a window, found by comparing with the bounds of
/// the last one used.
mod by_hand {
    use super::{AsArray, Int64Type, RecordBatch, TimestampMillisecondType, Totals, WINDOW_MS, black_box};

    #[derive(Clone, Copy)]
    struct Entry {
        key: i64,
        count: i64,
        sum: i64,
    }

    const VACANT: Entry = Entry { key: i64::MIN, count: 0, sum: 0 };

    struct Window {
        start: i64,
        entries: Vec<Entry>,
        len: usize,
    }

    impl Window {
        fn new(start: i64) -> Self {
            Self { start, entries: vec![VACANT; 1 << 17], len: 0 }
        }

        #[inline(always)]
        fn add(&mut self, key: i64, price: i64) {
            let mask = self.entries.len() - 1;
            let mut at = ((key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
            loop {
                let entry = &mut self.entries[at];
                if entry.key == key {
                    entry.count += 1;
                    entry.sum += price;
                    return;
                }
                if entry.key == VACANT.key {
                    *entry = Entry { key, count: 1, sum: price };
                    self.len += 1;
                    if self.len * 2 > self.entries.len() {
                        self.grow();
                    }
                    return;
                }
                at = (at + 1) & mask;
            }
        }

        #[cold]
        fn grow(&mut self) {
            let old = std::mem::take(&mut self.entries);
            let mask = old.len() * 2 - 1;
            self.entries = vec![VACANT; mask + 1];
            for entry in old.into_iter().filter(|entry| entry.key != VACANT.key) {
                let mut at = ((entry.key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
                while self.entries[at].key != VACANT.key {
                    at = (at + 1) & mask;
                }
                self.entries[at] = entry;
            }
        }
    }

    pub fn run(batches: &[RecordBatch], watermarks: &[i64]) -> Totals {
        let mut windows: Vec<Window> = Vec::new();
        let mut spare: Vec<Window> = Vec::new();
        let mut totals = Totals::default();
        let mut watermark = i64::MIN;
        for (batch, next_watermark) in batches.iter().zip(watermarks) {
            let keys = batch.column(0).as_primitive::<Int64Type>().values();
            let prices = batch.column(1).as_primitive::<Int64Type>().values();
            let times = batch.column(2).as_primitive::<TimestampMillisecondType>().values();
            let mut current = 0;
            for ((key, price), time) in keys.iter().zip(prices).zip(times) {
                let inside = |window: &Window| (time - window.start) as u64 <= (WINDOW_MS - 1) as u64;
                if current >= windows.len() || !inside(&windows[current]) {
                    let start = time - time.rem_euclid(WINDOW_MS);
                    if start + WINDOW_MS - 1 <= watermark {
                        continue;
                    }
                    current = windows.iter().position(inside).unwrap_or_else(|| {
                        let mut window = spare.pop().unwrap_or_else(|| Window::new(start));
                        window.start = start;
                        windows.push(window);
                        windows.len() - 1
                    });
                }
                windows[current].add(*key, *price);
            }
            watermark = *next_watermark;
            fire(&mut windows, &mut spare, watermark, &mut totals);
        }
        fire(&mut windows, &mut spare, i64::MAX, &mut totals);
        totals
    }

    fn fire(windows: &mut Vec<Window>, spare: &mut Vec<Window>, watermark: i64, totals: &mut Totals) {
        while let Some(at) = windows.iter().position(|window| window.start + WINDOW_MS - 1 <= watermark) {
            let mut window = windows.swap_remove(at);
            let mut rows: (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
            for entry in window.entries.iter().filter(|entry| entry.key != VACANT.key) {
                rows.0.push(entry.key);
                rows.1.push(entry.count);
                rows.2.push(entry.sum);
            }
            totals.groups += rows.0.len() as u64;
            totals.count += rows.1.iter().sum::<i64>();
            totals.sum += rows.2.iter().sum::<i64>();
            black_box(&rows);
            window.entries.fill(VACANT);
            window.len = 0;
            spare.push(window);
        }
    }
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

/// CPU time of this thread, which other work on the machine hardly disturbs; wall-clock time where
/// the system does not tell it.
struct Stopwatch {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: Self::cpu() }
    }

    fn cpu() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    }

    fn elapsed(&self) -> Duration {
        match (self.cpu, Self::cpu()) {
            (Some(start), Some(now)) => now.saturating_sub(start),
            _ => self.wall.elapsed(),
        }
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> anyhow::Result<()> {
    let rows = argument("--rows", 6_000_000)?;
    let rounds = argument("--rounds", 9)?.max(1);
    println!("keyBy(auction), 10 s tumbling count and sum, {rows} bids, medians of {rounds} rounds, one core");
    for disorder_ms in [0, 2_000] {
        let batches = bids(rows, disorder_ms)?;
        let watermarks = watermarks(&batches);
        let rows = batches.len() * BATCH_ROWS;
        let (mut by_engine, mut by_hand) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let start = Stopwatch::start();
            let expected = by_hand::run(&batches, &watermarks);
            by_hand.push(start.elapsed().as_nanos() as f64 / rows as f64);
            let start = Stopwatch::start();
            let totals = engine(&batches, &watermarks)?;
            by_engine.push(start.elapsed().as_nanos() as f64 / rows as f64);
            if totals != expected {
                bail!("the engine found {totals:?}, the loop {expected:?}");
            }
        }
        let (by_engine, by_hand) = (median(&mut by_engine), median(&mut by_hand));
        let ratio = by_hand / by_engine;
        let verdict = if ratio >= RATIO_WANTED { "ok" } else { "BELOW" };
        println!(
            "disorder {disorder_ms:>5} ms: loop {by_hand:.2} ns/row, engine {by_engine:.2} ns/row, \
             engine/loop speed {ratio:.2} ({verdict}, wanted {RATIO_WANTED})"
        );
    }
    Ok(())
}
