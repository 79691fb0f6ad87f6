//! JSON decoding with projection, beside the libraries: MB/s of one core, median of interleaved rounds.
//!
//! Every contender reads the same lines of Nexmark bids (7 fields, about 200 bytes) and builds Arrow
//! columns of four of them; the sums of what they read must agree. Time is the thread's CPU time, so
//! that a busy machine does not distort the comparison.
//!
//! `json_decode [rounds]`

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use serde::Deserialize;
use tidemill_common::ids::SubtaskIndex;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_connectors::api::{
    ConnectorContext, ConnectorError, ConnectorMetrics, Origin, RowOutput, Slab, SubtaskContext,
};
use tidemill_connectors::registry;
use tidemill_expr::parse::parse_timestamp;

const RECORDS: usize = 200_000;
const ROUNDS: usize = 11;
/// Passes over the lines that are timed together: the kernel counts CPU time in ticks.
const PASSES: usize = 5;

/// What the rows hold, so that every contender can be seen to have read them.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Sums {
    rows: usize,
    numbers: i64,
    text_bytes: usize,
    millis: i64,
}

impl Sums {
    fn add(&mut self, batch: &RecordBatch) {
        let sum = |values: &[i64]| values.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
        self.rows += batch.num_rows();
        for column in batch.columns() {
            if let Some(values) = column.as_primitive_opt::<Int64Type>() {
                self.numbers = self.numbers.wrapping_add(sum(values.values()));
            } else if let Some(values) = column.as_primitive_opt::<TimestampMillisecondType>() {
                self.millis = self.millis.wrapping_add(sum(values.values()));
            } else if let Some(values) = column.as_string_opt::<i32>() {
                self.text_bytes += values.values().len();
            }
        }
    }
}

/// Which four of the seven fields are read.
#[derive(Clone, Copy, PartialEq)]
enum Fields {
    /// auction, bidder, price, dateTime: a keyed count and sum.
    Numbers,
    /// bidder, price, channel, dateTime: the dashboard.
    Dashboard,
}

fn schema(fields: Fields) -> Schema {
    let number = |name: &str| Field::new(name, LogicalType::BigInt.nullable());
    let time = Field::new("dateTime", LogicalType::Timestamp(3).nullable());
    Schema::new(match fields {
        Fields::Numbers => vec![number("auction"), number("bidder"), number("price"), time],
        Fields::Dashboard => {
            vec![number("bidder"), number("price"), Field::new("channel", LogicalType::STRING.nullable()), time]
        }
    })
}

/// Lines of bids, as the benchmark's generator spreads them.
fn bids(records: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let mut out = Vec::with_capacity(records * 210);
    for i in 0..records {
        let millis = i as u64 / 10;
        let hot = random(2) == 0;
        let channel = match random(4) {
            0 if hot => "Google".to_owned(),
            1 if hot => "Facebook".to_owned(),
            2 if hot => "Baidu".to_owned(),
            3 if hot => "Apple".to_owned(),
            _ => format!("channel-{}", random(10_000)),
        };
        let extra: String = (0..random(30)).map(|_| char::from(b'a' + random(26) as u8)).collect();
        let line = format!(
            "{{\"auction\":{},\"bidder\":{},\"price\":{},\"channel\":\"{channel}\",\"url\":\"https://www.nexmark.com/{}/{}/item.htm?query=1&channel_id={}\",\"dateTime\":\"2024-03-10 {:02}:{:02}:{:02}.{:03}\",\"extra\":\"{extra}\"}}\n",
            1000 + random(100_000),
            1000 + random(50_000),
            10_u64.pow(random(7) as u32) + random(100),
            random(10_000),
            random(10_000),
            random(100_000),
            millis / 3_600_000 % 24,
            millis / 60_000 % 60,
            millis / 1_000 % 60,
            millis % 1_000,
        );
        out.extend_from_slice(line.as_bytes());
    }
    out
}

struct NoOutput;

impl RowOutput for NoOutput {
    fn lines(&self, _lines: Vec<String>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

fn tidemill(data: &[u8], fields: Fields, io: &tokio::runtime::Handle) -> Result<Sums> {
    let number = |name: &str| Field::new(name, LogicalType::BigInt.nullable());
    let text = |name: &str| Field::new(name, LogicalType::STRING.nullable());
    let table = TableSpec {
        name: "bid".to_owned(),
        connector: "filesystem".to_owned(),
        options: BTreeMap::new(),
        schema: Schema::new(vec![
            number("auction"),
            number("bidder"),
            number("price"),
            text("channel"),
            text("url"),
            Field::new("dateTime", LogicalType::Timestamp(3).nullable()),
            text("extra"),
        ]),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    let context = SubtaskContext {
        connector: ConnectorContext {
            io: io.clone(),
            cancelled: Arc::new(AtomicBool::new(false)),
            lease: tidemill_connectors::lease::Lease::unlimited(),
            stores: tidemill_common::stores::StoreOptions::new(),
        },
        job_name: "json_decode".to_owned(),
        job_id: "0".repeat(32),
        subtask: SubtaskIndex(0),
        parallelism: 1,
        operator: "test".to_owned(),
        attempt: tidemill_common::ids::AttemptId(1),
        first_attempt: tidemill_common::ids::AttemptId(1),
        checkpointed: false,
        session_zone: "UTC".to_owned(),
        metrics: Arc::new(ConnectorMetrics::default()),
        output: Arc::new(NoOutput),
    };
    let format = registry::format("json").context("the format json is not registered")?;
    let projection: &[usize] = match fields {
        Fields::Numbers => &[0, 1, 2, 5],
        Fields::Dashboard => &[1, 2, 3, 5],
    };
    let mut decoder = format.create_decoder(&table, projection, &context)?;
    let origin = Origin::Other("memory".into());
    let slab = Slab { bytes: data, ends: None, origin: &origin };
    let (mut sums, mut from) = (Sums::default(), 0);
    while from < data.len() {
        from = decoder.decode(&slab, from, BATCH_ROWS_TARGET)?;
        sums.add(black_box(&decoder.take()?));
    }
    Ok(sums)
}

/// The fields read, borrowed from the line where they can be. Others are passed over by serde.
#[derive(Deserialize)]
struct NumbersBid<'a> {
    auction: i64,
    bidder: i64,
    price: i64,
    #[serde(rename = "dateTime", borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct DashboardBid<'a> {
    bidder: i64,
    price: i64,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(rename = "dateTime", borrow)]
    time: Cow<'a, str>,
}

/// Columns that rows of structs are put into.
#[derive(Default)]
struct Columns {
    numbers: [Vec<i64>; 3],
    texts: Vec<u8>,
    ends: Vec<i32>,
    millis: Vec<i64>,
}

trait Row {
    fn put(&self, columns: &mut Columns) -> Option<()>;
}

impl Row for NumbersBid<'_> {
    fn put(&self, columns: &mut Columns) -> Option<()> {
        columns.numbers[0].push(self.auction);
        columns.numbers[1].push(self.bidder);
        columns.numbers[2].push(self.price);
        columns.millis.push(parse_timestamp(&self.time, 3)?);
        Some(())
    }
}

impl Row for DashboardBid<'_> {
    fn put(&self, columns: &mut Columns) -> Option<()> {
        columns.numbers[0].push(self.bidder);
        columns.numbers[1].push(self.price);
        columns.texts.extend_from_slice(self.channel.as_bytes());
        columns.ends.push(columns.texts.len() as i32);
        columns.millis.push(parse_timestamp(&self.time, 3)?);
        Some(())
    }
}

impl Columns {
    fn take(&mut self, schema: &SchemaRef, fields: Fields) -> Result<RecordBatch> {
        let Self { numbers, texts, ends, millis } = std::mem::take(self);
        let [first, second, third] = numbers.map(|values| Arc::new(Int64Array::from(values)) as ArrayRef);
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(millis));
        let columns = match fields {
            Fields::Numbers => vec![first, second, third, millis],
            Fields::Dashboard => {
                let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect::<Vec<_>>().into());
                let texts = StringArray::try_new(offsets, Buffer::from_vec(texts), None)?;
                vec![first, second, Arc::new(texts), millis]
            }
        };
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

/// Reads line by line with `read`, in batches of the engine's size.
fn rows(
    data: &[u8],
    fields: Fields,
    schema: &SchemaRef,
    mut read: impl FnMut(&[u8], &mut Columns) -> Result<()>,
) -> Result<Sums> {
    let (mut sums, mut columns, mut pending) = (Sums::default(), Columns::default(), 0);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        read(line, &mut columns)?;
        pending += 1;
        if pending == BATCH_ROWS_TARGET {
            sums.add(black_box(&columns.take(schema, fields)?));
            pending = 0;
        }
    }
    sums.add(black_box(&columns.take(schema, fields)?));
    Ok(sums)
}

fn put(row: &impl Row, columns: &mut Columns) -> Result<()> {
    row.put(columns).context("a timestamp cannot be read")
}

fn serde_json(data: &[u8], fields: Fields, schema: &SchemaRef) -> Result<Sums> {
    rows(data, fields, schema, |line, columns| match fields {
        Fields::Numbers => put(&serde_json::from_slice::<NumbersBid<'_>>(line)?, columns),
        Fields::Dashboard => put(&serde_json::from_slice::<DashboardBid<'_>>(line)?, columns),
    })
}

fn sonic_rs(data: &[u8], fields: Fields, schema: &SchemaRef) -> Result<Sums> {
    rows(data, fields, schema, |line, columns| match fields {
        Fields::Numbers => put(&sonic_rs::from_slice::<NumbersBid<'_>>(line)?, columns),
        Fields::Dashboard => put(&sonic_rs::from_slice::<DashboardBid<'_>>(line)?, columns),
    })
}

/// simd-json works in place, so lines are copied first.
fn simd_json(data: &[u8], fields: Fields, schema: &SchemaRef) -> Result<Sums> {
    let mut buffers = simd_json::Buffers::default();
    let mut copy = Vec::new();
    rows(data, fields, schema, |line, columns| {
        copy.clear();
        copy.extend_from_slice(line);
        match fields {
            Fields::Numbers => {
                put(&simd_json::serde::from_slice_with_buffers::<NumbersBid<'_>>(&mut copy, &mut buffers)?, columns)
            }
            Fields::Dashboard => {
                put(&simd_json::serde::from_slice_with_buffers::<DashboardBid<'_>>(&mut copy, &mut buffers)?, columns)
            }
        }
    })
}

fn arrow_json(data: &[u8], _fields: Fields, schema: &SchemaRef) -> Result<Sums> {
    let reader =
        arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(BATCH_ROWS_TARGET).build(Cursor::new(data))?;
    let mut sums = Sums::default();
    for batch in reader {
        sums.add(black_box(&batch?));
    }
    Ok(sums)
}

/// Nanoseconds this thread was on a CPU; the clock's where the kernel does not say.
fn cpu_nanos(start: Instant) -> u128 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next().and_then(|nanos| nanos.parse().ok()))
        .unwrap_or_else(|| start.elapsed().as_nanos())
}

type Contender<'a> = (&'static str, Box<dyn Fn() -> Result<Sums> + 'a>);

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(text) => text.parse().context("usage: json_decode [rounds]")?,
        None => ROUNDS,
    };
    ensure!(rounds > 0, "at least one round");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let io = runtime.handle().clone();
    let data = bids(RECORDS);
    println!("{RECORDS} bids of {} bytes on average, {rounds} rounds, one core", data.len() / RECORDS);
    for (fields, title) in
        [(Fields::Numbers, "auction, bidder, price, dateTime"), (Fields::Dashboard, "bidder, price, channel, dateTime")]
    {
        let schema = schema(fields).to_arrow();
        let contenders: Vec<Contender<'_>> = vec![
            ("tidemill", Box::new(|| tidemill(&data, fields, &io))),
            ("serde_json", Box::new(|| serde_json(&data, fields, &schema))),
            ("simd-json", Box::new(|| simd_json(&data, fields, &schema))),
            ("sonic-rs", Box::new(|| sonic_rs(&data, fields, &schema))),
            ("arrow-json", Box::new(|| arrow_json(&data, fields, &schema))),
        ];
        let expected = contenders[0].1()?;
        let mut nanos = vec![Vec::new(); contenders.len()];
        let start = Instant::now();
        for _ in 0..rounds {
            for ((name, run), nanos) in contenders.iter().zip(&mut nanos) {
                let before = cpu_nanos(start);
                for _ in 0..PASSES {
                    let sums = run().with_context(|| format!("{name} failed"))?;
                    if sums != expected {
                        bail!("{name} read {sums:?}, tidemill {expected:?}");
                    }
                }
                nanos.push((cpu_nanos(start) - before) / PASSES as u128);
            }
        }
        println!("\n4 of 7 fields: {title}");
        println!("{:<12} {:>8} {:>10} {:>8}", "", "MB/s", "CPU s/M", "ratio");
        let medians: Vec<f64> = nanos
            .iter_mut()
            .map(|nanos| {
                nanos.sort_unstable();
                nanos[nanos.len() / 2] as f64
            })
            .collect();
        for ((name, _), median) in contenders.iter().zip(&medians) {
            println!(
                "{name:<12} {:>8.0} {:>10.3} {:>8.2}",
                data.len() as f64 / median * 1e3,
                median / 1e9 / RECORDS as f64 * 1e6,
                median / medians[0]
            );
        }
    }
    Ok(())
}
