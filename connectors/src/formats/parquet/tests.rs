//! Rows come back from files, in parts of any size; other files are refused.

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Parquet;
use crate::api::{FileFormat, Format};
use crate::formats::file_tests::{every_type, random_rows, read_all, read_part, survives_damage, written};
use crate::testing::{subtask_context, table_of};

fn with_options(table: &TableSpec, options: &[(&str, &str)]) -> TableSpec {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TableSpec { options, ..table.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn rows_come_back(rows in 0usize..300, seed: u64, codec in 0usize..5, dictionary: bool) {
        let codec = ["UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4_RAW"][codec];
        let dictionary = if dictionary { "true" } else { "false" };
        let table = every_type();
        let table = with_options(&table, &[("parquet.compression", codec), ("parquet.enable.dictionary", dictionary)]);
        let records = random_rows(&table, rows, seed);
        let file = written(&Parquet, &table, &[records.slice(0, rows / 2), records.slice(rows / 2, rows - rows / 2)]);
        prop_assert_eq!(read_all(&Parquet, &table, &file).unwrap(), records);
    }
}

/// A file of several row groups.
fn groups() -> (TableSpec, RecordBatch, bytes::Bytes) {
    let table = table_of(Schema::new(vec![
        Field::new("i", LogicalType::Int.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
    ]));
    let records = random_rows(&table, 1_000, 5);
    let mut encoder = Parquet.create_file_encoder(&table, &subtask_context(0, 1)).unwrap();
    let mut bytes = Vec::new();
    for start in (0..1_000).step_by(100) {
        encoder.encode(&records.slice(start, 100), &mut bytes).unwrap();
        assert!(encoder.bytes_held() > 0);
        encoder.release(&mut bytes).unwrap();
    }
    encoder.finish(&mut bytes).unwrap();
    (table, records, bytes.into())
}

#[test]
fn parts_of_every_size_give_every_row_once() {
    let (table, records, file) = groups();
    let bytes = file.len() as u64;
    for step in [1, bytes / 17, bytes / 3, bytes / 2, bytes].map(|step| step.max(200)) {
        let mut all = Vec::new();
        for start in (0..bytes).step_by(step as usize) {
            let range = start..(start + step).min(bytes);
            all.extend(read_part(&Parquet, &table, &[0, 1], &file, (range, 0)).unwrap());
        }
        assert_eq!(concat_batches(&table.schema.to_arrow(), &all).unwrap(), records, "step {step}");
    }
}

#[test]
fn reading_goes_on_behind_the_rows_that_were_read() {
    let (table, records, file) = groups();
    for read in [0, 1, 99, 100, 101, 555, 999, 1_000] {
        let rest = read_part(&Parquet, &table, &[0, 1], &file, (0..u64::MAX, read)).unwrap();
        let rest = concat_batches(&table.schema.to_arrow(), &rest).unwrap();
        assert_eq!(rest, records.slice(read as usize, 1_000 - read as usize));
    }
}

#[test]
fn columns_are_found_by_name() {
    let (_, records, file) = groups();
    let other = table_of(Schema::new(vec![
        Field::new("none", LogicalType::Date.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
        Field::new("i", LogicalType::BigInt.nullable()),
    ]));
    let read = read_all(&Parquet, &other, &file).unwrap();
    assert_eq!(read.column(0).null_count(), 1_000);
    assert_eq!(read.column(1), records.column(1));
    let wide = arrow::compute::cast(records.column(0), &arrow::datatypes::DataType::Int64).unwrap();
    assert_eq!(read.column(2), &wide);
    // Only how many rows there are.
    let counted = read_part(&Parquet, &other, &[], &file, (0..u64::MAX, 0)).unwrap();
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
}

#[test]
fn a_column_of_another_type_is_refused() {
    let (_, _, file) = groups();
    for (name, logical) in [("i", LogicalType::STRING), ("s", LogicalType::Int), ("i", LogicalType::Timestamp(3))] {
        let other = table_of(Schema::new(vec![Field::new(name, logical.nullable())]));
        let error = read_all(&Parquet, &other, &file).unwrap_err().to_string();
        assert!(error.contains(&format!("column '{name}' is ")) && error.contains("declare"), "{error}");
    }
    let narrow = table_of(Schema::new(vec![Field::new("i", LogicalType::TinyInt.nullable())]));
    let error = read_all(&Parquet, &narrow, &file).unwrap_err().to_string();
    assert!(error.contains("cannot hold"), "{error}");
}

#[test]
fn timestamps_lie_in_the_zone_that_they_are_kept_in() {
    use super::conform::{conform, for_file};

    let logical = LogicalType::Timestamp(3);
    let table = table_of(Schema::new(vec![Field::new("ts", logical.clone().nullable())]));
    let records = random_rows(&table, 50, 3);
    let target = arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let zone = Some(chrono_tz::Asia::Tokyo);
    let kept = for_file(records.column(0), &logical, &target, zone).unwrap();
    let plain = for_file(records.column(0), &logical, &target, None).unwrap();
    assert_ne!(kept.as_ref(), plain.as_ref());
    assert_eq!(conform(&kept, &logical, zone).unwrap().as_ref(), records.column(0).as_ref());
}

#[test]
fn damage_is_told_of() {
    survives_damage(&Parquet, 300);
}

#[test]
fn options_are_checked() {
    let table = |options: &[(&str, &str)]| with_options(&every_type(), options);
    for (options, expected) in [
        ([("parquet.compression", "brotli")], "'brotli' is none of"),
        ([("parquet.compression", "lz4")], "write 'LZ4_RAW'"),
        ([("parquet.write.int64.timestamp", "false")], "INT96"),
    ] {
        let error = Parquet.check(&table(&options), true).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
    assert!(Parquet.check(&table(&[("parquet.write.int64.timestamp", "false")]), false).is_ok());
    let interval = table_of(Schema::new(vec![Field::new("i", LogicalType::IntervalDaySecond.nullable())]));
    assert!(Parquet.check(&interval, false).is_err());
}

#[test]
fn a_small_block_size_makes_row_groups() {
    let (table, records, _) = groups();
    let table = with_options(&table, &[("parquet.block.size", "1 kb")]);
    let slices: Vec<RecordBatch> = (0..1_000).step_by(100).map(|start| records.slice(start, 100)).collect();
    let file = written(&Parquet, &table, &slices);
    let first = read_part(&Parquet, &table, &[0], &file, (0..5, 0)).unwrap();
    let rows: usize = first.iter().map(RecordBatch::num_rows).sum();
    assert!((1..1_000).contains(&rows), "{rows}");
    let read = read_all(&Parquet, &table, &file).unwrap();
    assert_eq!(read, records);
}
