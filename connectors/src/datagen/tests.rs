use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use tidemill_common::ids::SubtaskIndex;
use tidemill_common::plan::SourceSpec;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::*;
use crate::api::SourcePoll;
use crate::testing::{connector_context, subtask_context};

fn table(columns: &[(&str, LogicalType)], options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "t".to_owned(),
        connector: IDENTIFIER.to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone().nullable())).collect()),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn read(table: &TableSpec, parallelism: u32, projection: &[usize]) -> Vec<RecordBatch> {
    Datagen.check_source(table).unwrap();
    let source = SourceSpec {
        table: table.clone(),
        projection: projection.to_vec(),
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Datagen.create_enumerator(&source, parallelism, &connector_context()).unwrap();
    let mut batches = Vec::new();
    for subtask in 0..parallelism {
        let mut reader = Datagen.create_reader(&source, &subtask_context(subtask, parallelism)).unwrap();
        reader.add_splits(enumerator.next_splits(SubtaskIndex(subtask))).unwrap();
        assert!(enumerator.is_exhausted(SubtaskIndex(subtask)));
        let mut rows = 0;
        loop {
            match reader.poll(Duration::from_millis(10)).unwrap() {
                SourcePoll::Rows { records, .. } => {
                    // A reader goes on from its snapshot.
                    if rows < 100 {
                        let state = reader.snapshot();
                        reader = Datagen.create_reader(&source, &subtask_context(subtask, parallelism)).unwrap();
                        reader.add_splits(state).unwrap();
                    }
                    rows += records.num_rows();
                    batches.push(records);
                }
                SourcePoll::NoSplits => break,
                _ => {}
            }
        }
    }
    batches
}

fn all_types() -> Vec<(&'static str, LogicalType)> {
    use LogicalType as L;
    vec![
        ("boolean", L::Boolean),
        ("tiny", L::TinyInt),
        ("small", L::SmallInt),
        ("int", L::Int),
        ("big", L::BigInt),
        ("float", L::Float),
        ("double", L::Double),
        ("decimal", L::Decimal(10, 2)),
        ("wide", L::Decimal(38, 0)),
        ("char", L::Char(5)),
        ("varchar", L::Varchar(7)),
        ("string", L::STRING),
        ("binary", L::Binary(3)),
        ("bytes", L::BYTES),
        ("date", L::Date),
        ("time", L::Time(0)),
        ("ts", L::Timestamp(3)),
        ("ltz", L::TimestampLtz(6)),
        ("nanos", L::Timestamp(9)),
        ("months", L::IntervalYearMonth),
        ("span", L::IntervalDaySecond),
        ("list", L::Array(Box::new(L::Int.nullable()))),
        ("map", L::Map(Box::new(L::TinyInt.not_null()), Box::new(L::STRING.nullable()))),
        ("row", L::Row(vec![Field::new("x", L::Int.nullable()), Field::new("y", L::STRING.nullable())])),
    ]
}

#[test]
fn every_type_is_made_with_its_arrow_type_and_its_nulls() {
    let columns = all_types();
    let mut options = vec![("number-of-rows".to_owned(), "500".to_owned()), ("seed".to_owned(), "7".to_owned())];
    options.extend(columns.iter().map(|(name, _)| (format!("fields.{name}.null-rate"), "0.3".to_owned())));
    options.push(("rows-per-second".to_owned(), "1000000".to_owned()));
    let options: Vec<(&str, &str)> = options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let table = table(&columns, &options);
    let projection: Vec<usize> = (0..columns.len()).collect();
    let batches = read(&table, 1, &projection);
    let all = concat_batches(&table.schema.to_arrow(), &batches).unwrap();
    assert_eq!(all.num_rows(), 500);
    for (column, (name, _)) in all.columns().iter().zip(&columns) {
        assert!((80..220).contains(&column.null_count()), "{name}: {}", column.null_count());
    }
}

#[test]
fn a_seeded_table_is_the_same_at_every_parallelism() {
    let table = table(
        &[("n", LogicalType::BigInt), ("r", LogicalType::BigInt), ("text", LogicalType::STRING)],
        &[
            ("fields.n.kind", "sequence"),
            ("fields.n.start", "10"),
            ("fields.n.end", "1009"),
            ("fields.r.min", "-5"),
            ("fields.r.max", "5"),
            ("fields.text.length", "8"),
            ("fields.text.var-len", "true"),
            ("seed", "42"),
            ("rows-per-second", "100000"),
        ],
    );
    assert!(Datagen.is_bounded(&table));
    let rows = |parallelism| {
        let mut rows: Vec<(i64, i64, String)> = read(&table, parallelism, &[0, 1, 2])
            .iter()
            .flat_map(|batch| {
                (0..batch.num_rows())
                    .map(|row| {
                        (
                            batch.column(0).as_primitive::<Int64Type>().value(row),
                            batch.column(1).as_primitive::<Int64Type>().value(row),
                            batch.column(2).as_string::<i32>().value(row).to_owned(),
                        )
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        rows.sort();
        rows
    };
    let one = rows(1);
    assert_eq!(one.len(), 1000);
    assert_eq!((one[0].0, one[999].0), (10, 1009));
    assert!(one.iter().all(|row| (-5..=5).contains(&row.1) && (1..=8).contains(&row.2.len())));
    assert_eq!(one, rows(3));
}

#[test]
fn only_projected_columns_are_made_and_none_is_fine() {
    let table = table(&[("a", LogicalType::Int), ("b", LogicalType::STRING)], &[("number-of-rows", "10")]);
    assert_eq!(read(&table, 1, &[1]).iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    let counted = read(&table, 2, &[]);
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    assert_eq!(counted[0].num_columns(), 0);
}

#[test]
fn wrong_options_are_told_plainly() {
    let check = |options: &[(&str, &str)]| {
        let error = Datagen.check_source(&table(&[("id", LogicalType::TinyInt)], options)).unwrap_err();
        format!("{}: {}", error.option.unwrap_or_default(), error.message)
    };
    assert_eq!(
        check(&[("fields.idd.min", "1")]),
        "fields.idd.min: option 'fields.idd.min': there is no column 'idd'; did you mean 'id'?"
    );
    assert_eq!(
        check(&[("fields.id.mim", "1")]),
        "fields.id.mim: unknown option 'fields.id.mim'; did you mean 'fields.id.min'?"
    );
    assert_eq!(
        check(&[("fields.id.max", "300")]),
        "fields.id.max: option 'fields.id.max' is 300, which is no value of TINYINT"
    );
    assert_eq!(
        check(&[("fields.id.kind", "sequence")]),
        "fields.id.kind: a sequence needs the option 'fields.id.start'"
    );
    assert_eq!(
        check(&[("fields.id.length", "3")]),
        "fields.id.length: option 'fields.id.length' has no meaning for the type and kind of 'id'"
    );
}
