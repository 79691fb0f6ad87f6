//! Sorts against a model, in memory and by way of files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use tidemill_common::batch::Batch;
use tidemill_common::plan::{RowRange, SortKey, SortSpec};
use tidemill_common::time::Watermark;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::create;
use crate::memory::MemoryBudget;
use crate::operator::{OperatorError, Output};

type Row = (Option<i64>, Option<String>, i64);

fn schema() -> Schema {
    let field = |name: &str, logical: LogicalType| Field::new(name, logical.nullable());
    Schema::new(vec![
        field("n", LogicalType::BigInt),
        field("s", LogicalType::STRING),
        field("id", LogicalType::BigInt),
    ])
}

fn records(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
}

/// Emitted rows. All come before the end of event time.
#[derive(Default)]
struct Collected {
    rows: Vec<Row>,
    ended: bool,
}

impl Output for Collected {
    fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
        assert!(!self.ended && batch.rows() > 0);
        let (n, s) = (batch.records.column(0), batch.records.column(1));
        let (numbers, texts) = (n.as_primitive::<Int64Type>(), s.as_string::<i32>());
        let ids = batch.records.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.rows() {
            let number = n.is_valid(row).then(|| numbers.value(row));
            let text = s.is_valid(row).then(|| texts.value(row).to_owned());
            self.rows.push((number, text, ids.value(row)));
        }
        Ok(())
    }

    fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.ended = watermark == Watermark::MAX;
        Ok(())
    }
}

/// What comes out, with so many bytes for the rows.
fn sorted(spec: &SortSpec, batches: &[Vec<Row>], bytes: usize) -> Vec<Row> {
    let scratch = tempfile::tempdir().unwrap();
    let memory = MemoryBudget::with_tables(bytes);
    let mut sort = create(spec, &schema(), scratch.path().to_owned(), &memory).unwrap();
    let mut output = Collected::default();
    for rows in batches {
        sort.process_batch(0, Batch::insert(records(rows)), &mut output).unwrap();
        assert!(output.rows.is_empty());
    }
    sort.process_watermark(Watermark(5), &mut output).unwrap();
    assert!(output.rows.is_empty());
    sort.process_watermark(Watermark::MAX, &mut output).unwrap();
    assert!(output.ended);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "files are left");
    output.rows
}

fn expected(spec: &SortSpec, batches: &[Vec<Row>]) -> Vec<Row> {
    let mut rows: Vec<Row> = batches.concat();
    rows.sort_by(|a, b| {
        let mut order = std::cmp::Ordering::Equal;
        for key in &spec.keys {
            let (null_a, null_b, values) = match key.column {
                0 => (a.0.is_none(), b.0.is_none(), a.0.cmp(&b.0)),
                1 => (a.1.is_none(), b.1.is_none(), a.1.cmp(&b.1)),
                _ => (false, false, a.2.cmp(&b.2)),
            };
            order = order.then(match (null_a, null_b) {
                (true, true) => std::cmp::Ordering::Equal,
                (true, false) if key.nulls_first => std::cmp::Ordering::Less,
                (false, true) if !key.nulls_first => std::cmp::Ordering::Less,
                (true, false) | (false, true) => std::cmp::Ordering::Greater,
                _ if key.descending => values.reverse(),
                _ => values,
            });
        }
        order
    });
    let fetch = spec.rows.fetch.map_or(usize::MAX, |fetch| fetch as usize);
    rows.into_iter().skip(spec.rows.offset as usize).take(fetch).collect()
}

fn key() -> impl Strategy<Value = SortKey> {
    (0..2usize, any::<bool>(), any::<bool>()).prop_map(|(column, descending, nulls_first)| SortKey {
        column,
        descending,
        nulls_first,
    })
}

fn spec() -> impl Strategy<Value = SortSpec> {
    (proptest::collection::vec(key(), 0..3), any::<bool>(), 0..40u64, proptest::option::of(0..40u64)).prop_map(
        |(mut keys, descending, offset, fetch)| {
            // The last key tells rows apart, so that there is one order.
            keys.push(SortKey { column: 2, descending, nulls_first: true });
            SortSpec { keys, rows: RowRange { offset, fetch } }
        },
    )
}

fn numbered(batches: Vec<Vec<(Option<i64>, Option<String>)>>) -> Vec<Vec<Row>> {
    let mut id = 0;
    let mut row = |(n, s)| {
        id += 1;
        (n, s, id)
    };
    batches.into_iter().map(|rows| rows.into_iter().map(&mut row).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_in_order(
        spec in spec(),
        batches in proptest::collection::vec(
            proptest::collection::vec((proptest::option::of(-3..3i64), proptest::option::of("[a-cé]{0,3}")), 1..60),
            0..40,
        ),
    ) {
        let batches = numbered(batches);
        let wanted = expected(&spec, &batches);
        prop_assert_eq!(&sorted(&spec, &batches, 64 << 20), &wanted);
        // Every batch or two is a run, so that runs are merged on the way too.
        prop_assert_eq!(&sorted(&spec, &batches, 1), &wanted);
        prop_assert_eq!(&sorted(&spec, &batches, 8 << 10), &wanted);
    }
}

#[test]
fn the_first_of_many_rows_are_kept_in_little_memory() {
    let batches: Vec<Vec<Row>> = (0..100i64)
        .map(|batch| (0..5_000).map(|row| (Some((batch * 5_000 + row) * 7919 % 1_000_003), None, row)).collect())
        .collect();
    let keys = vec![SortKey { column: 0, descending: true, nulls_first: false }];
    let spec = SortSpec { keys, rows: RowRange { offset: 1, fetch: Some(3) } };
    assert_eq!(sorted(&spec, &batches, 4 << 20), expected(&spec, &batches));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let spec =
        SortSpec { keys: vec![SortKey { column: 0, descending: false, nulls_first: true }], rows: RowRange::default() };
    let file = tempfile::NamedTempFile::new().unwrap();
    let memory = MemoryBudget::with_tables(1);
    let mut sort = create(&spec, &schema(), file.path().join("no/directory"), &memory).unwrap();
    let rows = vec![(Some(1), None, 1)];
    let error =
        sort.process_batch(0, Batch::insert(records(&rows)), &mut Collected::default()).unwrap_err().to_string();
    assert!(error.contains("io.tmp.dirs") && error.contains("no/directory"), "{error}");
}
