//! The operators against a model that keeps all rows and aggregates a window when it fires.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType as ArrowType, Float64Type, Int64Type, TimestampMillisecondType};
use proptest::prelude::*;
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::plan::{
    AggregateCall, AggregateFunction, AggregatePhase, WindowAggregateSpec, WindowKind, WindowSpec, WindowTime,
};
use tidemill_common::time::Watermark;
use tidemill_common::types::{DataType, Field, LogicalType, Schema};
use tidemill_state::accumulator::state_types;

use super::{KeyedContext, create, create_with_clock};

mod restore;
use crate::operator::{OperatorError, Output};

const KEY: usize = 0;
const TEXT: usize = 1;
const VALUE: usize = 2;
const TIME: usize = 3;
const FLAG: usize = 4;

#[derive(Clone, Debug)]
struct Row {
    key: Option<i64>,
    text: Option<&'static str>,
    value: Option<i64>,
    time: i64,
    flag: Option<bool>,
}

#[derive(Clone, Debug)]
enum Event {
    Rows(Vec<Row>),
    Watermark(i64),
    /// Flush the local phase.
    Flush,
}

/// Emitted rows as text, in order, with their kinds; batches pass on to another operator if there
/// is one.
#[derive(Default)]
struct Collected {
    rows: Vec<(RowKind, String)>,
    batches: Vec<Batch>,
    watermark: Option<i64>,
}

impl Output for Collected {
    fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
        assert!(batch.rows() > 0);
        for row in 0..batch.rows() {
            let cells: Vec<String> = batch.records.columns().iter().map(|column| cell(column, row)).collect();
            self.rows.push((batch.kind(row), cells.join(",")));
        }
        self.batches.push(batch);
        Ok(())
    }

    fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        assert!(self.watermark.is_none_or(|last| last <= watermark.0));
        self.watermark = Some(watermark.0);
        Ok(())
    }
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        ArrowType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        ArrowType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        ArrowType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        ArrowType::Timestamp(..) => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
        other => format!("({other})"),
    }
}

fn input_schema() -> Schema {
    let field = |name: &str, logical: LogicalType| Field::new(name, logical.nullable());
    Schema::new(vec![
        field("k", LogicalType::BigInt),
        field("s", LogicalType::STRING),
        field("v", LogicalType::BigInt),
        field("ts", LogicalType::Timestamp(3)),
        field("f", LogicalType::Boolean),
    ])
}

fn call(function: AggregateFunction, args: &[usize], return_type: LogicalType) -> AggregateCall {
    let input = input_schema();
    AggregateCall {
        function,
        args: args.to_vec(),
        arg_types: args.iter().map(|arg| input.fields[*arg].data_type.clone()).collect(),
        distinct: false,
        filter: None,
        return_type: return_type.nullable(),
    }
}

/// The calls whose results [`aggregate`] computes, in its order.
fn calls(simple: bool) -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, Max, Min, Percentile, Sum};
    let big = || LogicalType::BigInt;
    let mut calls = vec![
        call(Count, &[], big()),
        call(Sum, &[VALUE], big()),
        call(Min, &[VALUE], big()),
        call(Avg, &[VALUE], big()),
    ];
    if !simple {
        calls.extend([
            call(Count, &[VALUE], big()),
            call(Max, &[TEXT], LogicalType::STRING),
            AggregateCall { distinct: true, ..call(Count, &[VALUE], big()) },
            AggregateCall { distinct: true, ..call(Count, &[TEXT], big()) },
            AggregateCall { distinct: true, ..call(Count, &[VALUE, TEXT], big()) },
            AggregateCall { filter: Some(FLAG), ..call(Sum, &[VALUE], big()) },
            AggregateCall { filter: Some(FLAG), distinct: true, ..call(Sum, &[VALUE], big()) },
            call(Percentile { fractions: vec![0.3], array: false }, &[VALUE], LogicalType::Double),
        ]);
    }
    calls
}

fn aggregate(rows: &[&Row], simple: bool) -> Vec<String> {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or("null".to_owned(), |value| value.to_string())
    }
    let mut values: Vec<i64> = rows.iter().filter_map(|row| row.value).collect();
    values.sort_unstable();
    let sum = |values: &[i64]| (!values.is_empty()).then(|| values.iter().sum::<i64>());
    let mut cells = vec![
        rows.len().to_string(),
        text(sum(&values)),
        text(values.first()),
        text(sum(&values).map(|sum| sum / values.len() as i64)),
    ];
    if !simple {
        let distinct: BTreeSet<i64> = values.iter().copied().collect();
        let texts: BTreeSet<&str> = rows.iter().filter_map(|row| row.text).collect();
        let pairs: BTreeSet<(i64, &str)> = rows.iter().filter_map(|row| row.value.zip(row.text)).collect();
        let flagged: Vec<i64> = rows.iter().filter(|row| row.flag == Some(true)).filter_map(|row| row.value).collect();
        let flagged_distinct: Vec<i64> = flagged.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let percentile = (!values.is_empty()).then(|| {
            let position = 0.3 * (values.len() - 1) as f64 + 1.0;
            let (lower, higher) = (position.floor(), position.ceil());
            let (a, b) = (values[lower as usize - 1] as f64, values[higher as usize - 1] as f64);
            if a == b { a } else { (higher - position) * a + (position - lower) * b }
        });
        cells.extend([
            values.len().to_string(),
            text(texts.last()),
            distinct.len().to_string(),
            texts.len().to_string(),
            pairs.len().to_string(),
            text(sum(&flagged)),
            text(sum(&flagged_distinct)),
            percentile.map_or("null".to_owned(), |value| format!("{value:?}")),
        ]);
    }
    cells
}

#[derive(Clone, Debug)]
struct Case {
    kind: WindowKind,
    keys: Vec<usize>,
    simple: bool,
    lateness: i64,
    events: Vec<Event>,
}

impl Case {
    fn spec(&self, phase: AggregatePhase) -> WindowAggregateSpec {
        let keys = if phase == AggregatePhase::Global { (0..self.keys.len()).collect() } else { self.keys.clone() };
        WindowAggregateSpec {
            window: WindowSpec { kind: self.kind.clone(), time: WindowTime::RowTime { column: TIME, zone: None } },
            keys,
            calls: calls(self.simple),
            phase,
            allowed_lateness_ms: if phase == AggregatePhase::Local { 0 } else { self.lateness },
        }
    }

    fn key_fields(&self) -> Vec<Field> {
        self.keys.iter().map(|key| input_schema().fields[*key].clone()).collect()
    }

    fn output_schema(&self) -> Schema {
        let mut fields = self.key_fields();
        fields.extend(calls(self.simple).iter().map(|call| Field::new("a", call.return_type.clone())));
        for name in ["window_start", "window_end", "window_time"] {
            fields.push(Field::new(name, LogicalType::Timestamp(3).not_null()));
        }
        Schema::new(fields)
    }

    fn local_schema(&self) -> Schema {
        let mut fields = self.key_fields();
        for call in calls(self.simple) {
            fields.extend(state_types(&call).unwrap().into_iter().map(|state| Field::new("state", state)));
        }
        fields.push(Field::new("$slice_end", DataType { logical: LogicalType::BigInt, nullable: false }));
        Schema::new(fields)
    }

    fn key_text(&self, row: &Row) -> Vec<String> {
        let cell = |key: &usize| match *key {
            KEY => row.key.map_or("null".to_owned(), |key| key.to_string()),
            _ => row.text.unwrap_or("null").to_owned(),
        };
        self.keys.iter().map(cell).collect()
    }

    fn result(&self, key: &[String], rows: &[&Row], start: i64, end: i64) -> String {
        let mut cells = key.to_vec();
        cells.extend(aggregate(rows, self.simple));
        cells.extend([start, end, end - 1].map(|time| time.to_string()));
        cells.join(",")
    }

    /// Results in order of window ends, and the number of late rows.
    fn model(&self) -> (Vec<String>, u64) {
        if let WindowKind::Session { gap_ms } = self.kind {
            return self.session_model(gap_ms);
        }
        let assigner = super::Assigner::new(&self.kind).unwrap();
        let mut windows: BTreeMap<(i64, i64), Vec<&Row>> = BTreeMap::new();
        let (mut watermark, mut late) = (i64::MIN, 0);
        for event in &self.events {
            match event {
                Event::Rows(rows) => {
                    for row in rows {
                        let mut counted = false;
                        assigner.for_each_window(row.time, |window| {
                            if window.end - 1 + self.lateness > watermark {
                                windows.entry((window.end, window.start)).or_default().push(row);
                                counted = true;
                            }
                        });
                        late += u64::from(!counted);
                    }
                }
                Event::Watermark(to) => watermark = *to,
                Event::Flush => {}
            }
        }
        let mut results = Vec::new();
        for ((end, start), rows) in windows.into_iter().filter(|((end, _), _)| end - 1 <= watermark) {
            let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
            rows.into_iter().for_each(|row| groups.entry(self.key_text(row)).or_default().push(row));
            results.extend(groups.iter().map(|(key, rows)| self.result(key, rows, start, end)));
        }
        (results, late)
    }

    fn session_model(&self, gap: i64) -> (Vec<String>, u64) {
        type Open<'a> = (Vec<String>, i64, i64, Vec<&'a Row>);
        let mut open: Vec<Open<'_>> = Vec::new();
        let (mut results, mut watermark, mut late) = (Vec::new(), i64::MIN, 0);
        for event in &self.events {
            match event {
                Event::Rows(rows) => {
                    for row in rows {
                        let mut united = (self.key_text(row), row.time, row.time + gap, vec![row]);
                        open.retain(|session| {
                            let touches = session.0 == united.0 && session.1 <= united.2 && session.2 >= united.1;
                            if touches {
                                united.1 = united.1.min(session.1);
                                united.2 = united.2.max(session.2);
                                united.3.extend(&session.3);
                            }
                            !touches
                        });
                        if united.2 - 1 <= watermark { late += 1 } else { open.push(united) }
                    }
                }
                Event::Watermark(to) => {
                    watermark = *to;
                    open.sort_by_key(|session| session.2);
                    open.retain(|(key, start, end, rows)| {
                        if end - 1 <= watermark {
                            results.push(self.result(key, rows, *start, *end));
                        }
                        end - 1 > watermark
                    });
                }
                Event::Flush => {}
            }
        }
        (results, late)
    }

    fn run_single(&self) -> (Vec<(RowKind, String)>, u64) {
        let mut operator = create(
            &self.spec(AggregatePhase::Single),
            &input_schema(),
            &self.output_schema(),
            &KeyedContext::alone(128),
        )
        .unwrap();
        let mut output = Collected::default();
        for event in &self.events {
            match event {
                Event::Rows(rows) => operator.process_batch(0, batch(rows), &mut output).unwrap(),
                Event::Watermark(watermark) => {
                    operator.process_watermark(Watermark(*watermark), &mut output).unwrap();
                }
                Event::Flush => operator.flush(&mut output).unwrap(),
            }
        }
        (output.rows, operator.late_rows_dropped())
    }

    fn run_two_phases(&self) -> (Vec<(RowKind, String)>, u64) {
        let mut local =
            create(&self.spec(AggregatePhase::Local), &input_schema(), &self.local_schema(), &KeyedContext::alone(128))
                .unwrap();
        let mut global = create(
            &self.spec(AggregatePhase::Global),
            &self.local_schema(),
            &self.output_schema(),
            &KeyedContext::alone(128),
        )
        .unwrap();
        let (mut between, mut output) = (Collected::default(), Collected::default());
        for event in &self.events {
            match event {
                Event::Rows(rows) => local.process_batch(0, batch(rows), &mut between).unwrap(),
                Event::Watermark(watermark) => {
                    local.process_watermark(Watermark(*watermark), &mut between).unwrap();
                }
                Event::Flush => local.flush(&mut between).unwrap(),
            }
            for batch in between.batches.drain(..) {
                global.process_batch(0, batch, &mut output).unwrap();
            }
            if let Some(watermark) = between.watermark.take() {
                global.process_watermark(Watermark(watermark), &mut output).unwrap();
            }
        }
        (output.rows, global.late_rows_dropped())
    }
}

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.text).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time))),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ];
    Batch::insert(RecordBatch::try_new(input_schema().to_arrow(), columns).unwrap())
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// Checks the operators against the model.
fn check(case: &Case) {
    let (expected, late) = case.model();
    let (rows, dropped) = case.run_single();
    if case.lateness == 0 {
        assert!(rows.iter().all(|(kind, _)| *kind == RowKind::Insert));
        let ends: Vec<i64> = rows.iter().map(|(_, row)| row.rsplit(',').nth(1).unwrap().parse().unwrap()).collect();
        assert!(ends.is_sorted() || matches!(case.kind, WindowKind::Session { .. }), "windows fire in order: {ends:?}");
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        assert_eq!(sorted(rows), sorted(expected.clone()), "single phase");
    } else {
        assert_eq!(upserted(case, rows), sorted(expected.clone()), "single phase with lateness");
    }
    assert_eq!(dropped, late);
    if !matches!(case.kind, WindowKind::Session { .. }) {
        let (rows, _) = case.run_two_phases();
        assert_eq!(upserted(case, rows), sorted(expected), "two phases");
    }
}

/// What an upsert sink holds in the end.
fn upserted(case: &Case, rows: Vec<(RowKind, String)>) -> Vec<String> {
    let mut table: BTreeMap<Vec<String>, String> = BTreeMap::new();
    for (kind, row) in rows {
        let cells: Vec<String> = row.split(',').map(str::to_owned).collect();
        let mut key = cells[..case.keys.len()].to_vec();
        key.extend_from_slice(&cells[cells.len() - 3..]);
        let before = table.insert(key, row);
        assert!(before.is_none() || kind == RowKind::UpdateAfter, "a window fires once unless rows are late");
    }
    sorted(table.into_values().collect())
}

fn kinds() -> impl Strategy<Value = WindowKind> {
    let part = 1..8i64;
    prop_oneof![
        (part.clone(), -5..5i64).prop_map(|(size_ms, offset_ms)| WindowKind::Tumble { size_ms, offset_ms }),
        (part.clone(), 1..5i64, -5..5i64).prop_map(|(slide_ms, count, offset_ms)| WindowKind::Hop {
            size_ms: slide_ms * count,
            slide_ms,
            offset_ms
        }),
        (part.clone(), 1..5i64, -5..5i64).prop_map(|(step_ms, count, offset_ms)| WindowKind::Cumulate {
            max_size_ms: step_ms * count,
            step_ms,
            offset_ms
        }),
        part.prop_map(|gap_ms| WindowKind::Session { gap_ms }),
    ]
}

/// Rows around a rising time, with watermarks that some of them are behind.
fn events(nulls: bool) -> impl Strategy<Value = Vec<Event>> {
    let row = (
        prop::option::weighted(0.8, 0..4i64),
        prop::option::weighted(0.8, prop::sample::select(vec!["", "a", "b", "a longer text"])),
        prop::option::weighted(0.8, -5..20i64),
        -12..12i64,
        prop::option::weighted(0.9, any::<bool>()),
    );
    let row = row.prop_map(move |(key, text, value, time, flag)| Row {
        key: if nulls { key } else { key.or(Some(7)) },
        text,
        value: if nulls { value } else { value.or(Some(7)) },
        time,
        flag,
    });
    let step = prop_oneof![
        4 => (prop::collection::vec(row, 1..12), 0..6i64).prop_map(|(rows, advance)| (Some(rows), advance)),
        2 => (Just(None), 0..8i64),
    ];
    (prop::collection::vec((step, any::<bool>()), 0..25), -30..30i64).prop_map(|(steps, from)| {
        let (mut time, mut watermark, mut events) = (from, i64::MIN, Vec::new());
        for ((rows, advance), flush) in steps {
            match rows {
                Some(mut rows) => {
                    rows.iter_mut().for_each(|row| row.time += time);
                    events.push(Event::Rows(rows));
                    time += advance;
                }
                None => {
                    watermark = watermark.max(time - advance);
                    events.push(Event::Watermark(watermark));
                }
            }
            if flush {
                events.push(Event::Flush);
            }
        }
        events.push(Event::Watermark(i64::MAX - 1));
        events
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let keys = prop::sample::select(vec![vec![], vec![KEY], vec![TEXT], vec![KEY, TEXT]]);
    (kinds(), keys, any::<bool>(), any::<bool>(), 0..3i64).prop_flat_map(|(kind, keys, simple, nulls, lateness)| {
        let lateness = if matches!(kind, WindowKind::Session { .. }) { 0 } else { lateness * 4 };
        events(nulls).prop_map(move |events| Case { kind: kind.clone(), keys: keys.clone(), simple, lateness, events })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn results_are_those_of_the_model(case in cases()) {
        check(&case);
    }
}

#[test]
fn small_cases_exhaustively() {
    // Every sequence of four events out of rows at a few times and watermarks.
    let row = |time: i64| Row { key: Some(1), text: Some("a"), value: Some(time), time, flag: Some(true) };
    let mut choices: Vec<Event> = [0, 1, 3, 6].into_iter().map(|time| Event::Rows(vec![row(time)])).collect();
    choices.extend([0, 1, 3].map(Event::Watermark));
    let kinds = [
        WindowKind::Tumble { size_ms: 2, offset_ms: 0 },
        WindowKind::Hop { size_ms: 4, slide_ms: 2, offset_ms: 1 },
        WindowKind::Cumulate { max_size_ms: 6, step_ms: 2, offset_ms: 0 },
        WindowKind::Session { gap_ms: 2 },
    ];
    for kind in kinds {
        for number in 0..choices.len().pow(4) {
            let mut events: Vec<Event> =
                (0..4u32).map(|i| choices[number / choices.len().pow(i) % choices.len()].clone()).collect();
            let mut watermark = i64::MIN;
            events.retain(|event| match event {
                Event::Watermark(to) => {
                    let rises = *to > watermark;
                    watermark = watermark.max(*to);
                    rises
                }
                _ => true,
            });
            events.push(Event::Watermark(i64::MAX - 1));
            check(&Case { kind: kind.clone(), keys: vec![KEY], simple: true, lateness: 0, events });
        }
    }
}

#[test]
fn a_row_without_row_time_fails_the_job_with_flinks_words() {
    let case = Case {
        kind: WindowKind::Tumble { size_ms: 10, offset_ms: 0 },
        keys: vec![KEY],
        simple: true,
        lateness: 0,
        events: Vec::new(),
    };
    let mut columns =
        batch(&[Row { key: Some(1), text: None, value: None, time: 0, flag: None }]).records.columns().to_vec();
    columns[TIME] = Arc::new(TimestampMillisecondArray::from(vec![None]));
    let records = RecordBatch::try_new(input_schema().to_arrow(), columns).unwrap();
    for kind in [case.kind.clone(), WindowKind::Session { gap_ms: 1 }] {
        let case = Case { kind, ..case.clone() };
        let mut operator = create(
            &case.spec(AggregatePhase::Single),
            &input_schema(),
            &case.output_schema(),
            &KeyedContext::alone(128),
        )
        .unwrap();
        let error = operator.process_batch(0, Batch::insert(records.clone()), &mut Collected::default()).unwrap_err();
        assert!(error.to_string().contains("RowTime field should not be null"), "{error}");
    }
}

#[test]
fn large_windows_are_emitted_in_bounded_batches() {
    let rows: Vec<Row> =
        (0..30_000).map(|key| Row { key: Some(key), text: None, value: Some(1), time: key % 10, flag: None }).collect();
    let case = Case {
        kind: WindowKind::Hop { size_ms: 20, slide_ms: 10, offset_ms: 0 },
        keys: vec![KEY],
        simple: true,
        lateness: 0,
        events: Vec::new(),
    };
    let mut operator =
        create(&case.spec(AggregatePhase::Single), &input_schema(), &case.output_schema(), &KeyedContext::alone(128))
            .unwrap();
    let mut output = Collected::default();
    operator.process_batch(0, batch(&rows), &mut output).unwrap();
    operator.process_watermark(Watermark(i64::MAX), &mut output).unwrap();
    assert_eq!(output.rows.len(), 60_000);
    assert!(output.batches.iter().all(|batch| batch.rows() <= 8192));
    assert!(output.batches.len() <= 10);
}

/// A spec of COUNT(*) per key over other kinds of time.
fn counting(kind: WindowKind, time: WindowTime) -> WindowAggregateSpec {
    WindowAggregateSpec {
        window: WindowSpec { kind, time },
        keys: vec![KEY],
        calls: vec![call(AggregateFunction::Count, &[], LogicalType::BigInt)],
        phase: AggregatePhase::Single,
        allowed_lateness_ms: 0,
    }
}

fn counting_schema(window_time: LogicalType) -> Schema {
    let field = |name: &str, logical: LogicalType| Field::new(name, logical.nullable());
    let timestamp = || LogicalType::Timestamp(3);
    Schema::new(vec![
        field("k", LogicalType::BigInt),
        field("n", LogicalType::BigInt),
        field("window_start", timestamp()),
        field("window_end", timestamp()),
        field("window_time", window_time),
    ])
}

fn at(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn of_key(key: i64, time: i64) -> Row {
    Row { key: Some(key), text: None, value: Some(1), time, flag: None }
}

#[test]
fn windows_of_a_zone_follow_its_clock_through_summer_and_winter_time() {
    let mut input = input_schema();
    input.fields[TIME].data_type = LogicalType::TimestampLtz(3).nullable();
    let zoned = |rows: &[Row]| {
        let mut columns = batch(rows).records.columns().to_vec();
        let times = columns[TIME].as_primitive::<TimestampMillisecondType>().clone();
        columns[TIME] = Arc::new(times.with_timezone("UTC"));
        Batch::insert(RecordBatch::try_new(input.to_arrow(), columns).unwrap())
    };
    let time = WindowTime::RowTime { column: TIME, zone: Some("America/Los_Angeles".to_owned()) };
    let day = counting(WindowKind::Tumble { size_ms: 86_400_000, offset_ms: 0 }, time.clone());
    let hour = counting(WindowKind::Tumble { size_ms: 3_600_000, offset_ms: 0 }, time);
    let output_schema = counting_schema(LogicalType::TimestampLtz(3));
    let run = |spec: &WindowAggregateSpec, times: &[&str]| {
        let mut operator = create(spec, &input, &output_schema, &KeyedContext::alone(128)).unwrap();
        let mut output = Collected::default();
        for time in times {
            operator.process_watermark(Watermark(at(time)), &mut output).unwrap();
            operator.process_batch(0, zoned(&[of_key(1, at(time))]), &mut output).unwrap();
        }
        operator.process_watermark(Watermark::MAX, &mut output).unwrap();
        assert_eq!(operator.late_rows_dropped(), 0);
        output.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>()
    };
    let row =
        |count: usize, start: &str, end: &str, time: &str| format!("1,{count},{},{},{}", at(start), at(end), at(time));
    // A day of 25 hours, and the hour that comes twice is one window.
    let times: Vec<String> =
        (7..=31).map(|hour| format!("2024-11-{:02}T{:02}:30:00Z", 3 + hour / 24, hour % 24)).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    assert_eq!(
        run(&day, &times),
        [row(25, "2024-11-03T00:00:00Z", "2024-11-04T00:00:00Z", "2024-11-04T07:59:59.999Z")]
    );
    assert_eq!(
        run(&hour, &["2024-11-03T08:30:00Z", "2024-11-03T09:30:00Z", "2024-11-03T10:30:00Z"]),
        [
            row(2, "2024-11-03T01:00:00Z", "2024-11-03T02:00:00Z", "2024-11-03T08:59:59.999Z"),
            row(1, "2024-11-03T02:00:00Z", "2024-11-03T03:00:00Z", "2024-11-03T10:59:59.999Z"),
        ]
    );
}

#[test]
fn windows_of_the_clock_fire_by_timer() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NOW: AtomicI64 = AtomicI64::new(0);
    let time = || WindowTime::ProcessingTime { zone: "UTC".to_owned() };
    let output_schema = counting_schema(LogicalType::TimestampLtz(3));
    let run = |kind: WindowKind, steps: &[(i64, bool)]| {
        let clock = || NOW.load(Ordering::Relaxed);
        let mut operator = create_with_clock(
            &counting(kind, time()),
            &input_schema(),
            &output_schema,
            &KeyedContext::alone(128),
            clock,
        )
        .unwrap();
        let mut output = Collected::default();
        for (now, is_row) in steps {
            NOW.store(*now, Ordering::Relaxed);
            while let Some(timer) = operator.next_processing_timer()
                && timer <= *now
            {
                operator.on_processing_time(timer, &mut output).unwrap();
            }
            if *is_row {
                operator.process_batch(0, batch(&[of_key(1, 0)]), &mut output).unwrap();
            }
        }
        operator.process_watermark(Watermark::MAX, &mut output).unwrap();
        assert_eq!(operator.next_processing_timer(), None);
        output.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>()
    };
    // The clock goes back once: the window that has fired does not open again.
    let steps = [(3, true), (9, true), (10, true), (4, true), (12, false), (19, true), (60, false)];
    assert_eq!(run(WindowKind::Tumble { size_ms: 10, offset_ms: 0 }, &steps), ["1,2,0,10,9", "1,3,10,20,19"]);
    assert_eq!(
        run(WindowKind::Hop { size_ms: 20, slide_ms: 10, offset_ms: 0 }, &[(3, true), (15, true), (60, false)]),
        ["1,1,-10,10,9", "1,2,0,20,19", "1,1,10,30,29"]
    );
    assert_eq!(
        run(WindowKind::Session { gap_ms: 5 }, &[(3, true), (7, true), (9, true), (15, true), (40, false)]),
        ["1,3,3,14,13", "1,1,15,20,19"]
    );
}

#[test]
fn attached_windows_are_kept_apart_by_both_bounds() {
    let timestamp = || LogicalType::Timestamp(3).nullable();
    let input = Schema::new(vec![
        Field::new("k", LogicalType::BigInt.nullable()),
        Field::new("window_start", timestamp()),
        Field::new("window_end", timestamp()),
        Field::new("window_time", timestamp()),
    ]);
    let time = WindowTime::RowTime { column: 3, zone: None };
    for lateness in [0, 5] {
        let mut spec = counting(WindowKind::Attached { start: 1, end: 2 }, time.clone());
        spec.allowed_lateness_ms = lateness;
        let mut operator =
            create(&spec, &input, &counting_schema(LogicalType::Timestamp(3)), &KeyedContext::alone(128)).unwrap();
        let mut output = Collected::default();
        let attached = |windows: &[(i64, i64)]| {
            let times = |of: &dyn Fn(&(i64, i64)) -> i64| -> ArrayRef {
                Arc::new(TimestampMillisecondArray::from_iter_values(windows.iter().map(of)))
            };
            let keys: ArrayRef = Arc::new(Int64Array::from(vec![1; windows.len()]));
            let columns = vec![keys, times(&|w| w.0), times(&|w| w.1), times(&|w| w.1 - 1)];
            Batch::insert(RecordBatch::try_new(input.to_arrow(), columns).unwrap())
        };
        operator.process_batch(0, attached(&[(0, 10), (5, 10), (0, 10), (0, 20), (5, 10)]), &mut output).unwrap();
        operator.process_watermark(Watermark(9), &mut output).unwrap();
        operator.process_batch(0, attached(&[(0, 10), (0, 20)]), &mut output).unwrap();
        operator.process_watermark(Watermark(100), &mut output).unwrap();
        let mut expected = vec!["1,2,0,10,9", "1,2,5,10,9", "1,2,0,20,19"];
        if lateness > 0 {
            expected.insert(2, "1,3,0,10,9");
        }
        assert_eq!(output.rows.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(operator.late_rows_dropped(), u64::from(lateness == 0));
    }
}

#[test]
fn a_local_phase_lets_rows_pass_that_it_cannot_reduce() {
    for simple in [true, false] {
        let case = Case {
            kind: WindowKind::Tumble { size_ms: 1_000_000, offset_ms: 0 },
            keys: vec![KEY],
            simple,
            lateness: 0,
            events: (0..40)
                .map(|part| Event::Rows((0..2_000).map(|row| of_key(part * 1_500 + row, row)).collect()))
                .chain([Event::Watermark(i64::MAX)])
                .collect(),
        };
        let (single, _) = case.run_single();
        let (two, _) = case.run_two_phases();
        let texts = |rows: Vec<(RowKind, String)>| sorted(rows.into_iter().map(|(_, row)| row).collect());
        assert_eq!(single.len(), 60_500);
        assert_eq!(texts(two), texts(single));
        let mut local =
            create(&case.spec(AggregatePhase::Local), &input_schema(), &case.local_schema(), &KeyedContext::alone(128))
                .unwrap();
        let mut output = Collected::default();
        for event in &case.events {
            if let Event::Rows(rows) = event {
                local.process_batch(0, batch(rows), &mut output).unwrap();
            }
        }
        assert!(output.batches.iter().any(|batch| batch.rows() == 2_000), "rows pass");
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let row_time = || WindowTime::RowTime { column: TIME, zone: None };
    let tumble = || WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
    let output_schema = counting_schema(LogicalType::Timestamp(3));
    let refused = |spec: &WindowAggregateSpec, part: &str| {
        let error = create(spec, &input_schema(), &output_schema, &KeyedContext::alone(128)).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    };
    let hop = WindowKind::Hop { size_ms: 10, slide_ms: 3, offset_ms: 0 };
    refused(&counting(hop, row_time()), "multiple");
    refused(&counting(tumble(), WindowTime::RowTime { column: KEY, zone: None }), "'k' is BIGINT");
    refused(&counting(tumble(), WindowTime::ProcessingTime { zone: "Mars/Olympus".to_owned() }), "Mars/Olympus");
    let mut session = counting(WindowKind::Session { gap_ms: 5 }, row_time());
    session.allowed_lateness_ms = 5;
    refused(&session, "allow-lateness");
    let mut local = counting(tumble(), WindowTime::ProcessingTime { zone: "UTC".to_owned() });
    local.phase = AggregatePhase::Local;
    refused(&local, "two phases");
}
