//! Rows come back from files and messages; other bytes are refused.

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use expect_test::expect;
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema as TableSchema};

use super::Avro;
use super::schema::{Schema, of_table};
use crate::api::{Format, Origin, Slab};
use crate::formats::file_tests::{every_type, random_rows, read_all, read_part, survives_damage, written};
use crate::testing::{subtask_context, table_of};

fn table(options: &[(&str, &str)]) -> TableSpec {
    let mut all: std::collections::BTreeMap<String, String> =
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    all.entry("avro.timestamp_mapping.legacy".to_owned()).or_insert("false".to_owned());
    TableSpec { options: all, ..every_type() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn rows_come_back_from_files(rows in 0usize..300, seed: u64, codec in 0usize..4) {
        let codec = ["null", "deflate", "snappy", "zstandard"][codec];
        let table = table(&[("avro.codec", codec)]);
        let records = random_rows(&table, rows, seed);
        let file = written(&Avro, &table, &[records.slice(0, rows / 2), records.slice(rows / 2, rows - rows / 2)]);
        prop_assert_eq!(read_all(&Avro, &table, &file).unwrap(), records);
    }

    #[test]
    fn rows_come_back_from_messages(rows in 0usize..100, seed: u64, from in 0usize..21) {
        let table = table(&[]);
        let records = random_rows(&table, rows, seed);
        let context = subtask_context(0, 1);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        Avro.create_encoder(&table, &table.schema, &context).unwrap().encode(&records, &mut bytes, &mut ends).unwrap();
        // All columns, and those from one on.
        let projection: Vec<usize> = (from..table.schema.len()).collect();
        let mut decoder = Avro.create_decoder(&table, &projection, &context).unwrap();
        let slab = Slab { bytes: &bytes, ends: Some(&ends), origin: &Origin::Other("test".into()) };
        let (mut at, mut batches) = (0, Vec::new());
        while at < bytes.len() {
            at = decoder.decode(&slab, at, 7).unwrap();
            batches.push(decoder.take().unwrap());
        }
        let expected = records.project(&projection).unwrap();
        prop_assert_eq!(concat_batches(&expected.schema(), &batches).unwrap(), expected);
    }

    #[test]
    fn any_message_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let table = table(&[]);
        let projection: Vec<usize> = (0..table.schema.len()).step_by(2).collect();
        let mut decoder = Avro.create_decoder(&table, &projection, &subtask_context(0, 1)).unwrap();
        let ends = [bytes.len()];
        let slab = Slab { bytes: &bytes, ends: Some(&ends), origin: &Origin::Other("test".into()) };
        if decoder.decode(&slab, 0, 10).is_ok() {
            prop_assert_eq!(decoder.take().unwrap().num_rows(), decoder.pending_rows() + 1);
        } else {
            prop_assert_eq!(decoder.take().unwrap().num_rows(), 0);
        }
    }

    #[test]
    fn any_text_is_a_schema_or_refused(text in any::<String>()) {
        let _ = Schema::parse(&text);
    }
}

#[test]
fn reading_goes_on_behind_the_rows_that_were_read() {
    let table = table(&[]);
    let records = random_rows(&table, 20_000, 5);
    let file = written(&Avro, &table, std::slice::from_ref(&records));
    let all: Vec<usize> = (0..table.schema.len()).collect();
    for read in [0, 1, 8_191, 8_192, 8_193, 16_385, 19_999, 20_000] {
        let rest = read_part(&Avro, &table, &all, &file, (0..u64::MAX, read)).unwrap();
        let rest = concat_batches(&table.schema.to_arrow(), &rest).unwrap();
        assert_eq!(rest, records.slice(read as usize, 20_000 - read as usize), "{read}");
    }
}

#[test]
fn fields_are_found_by_name() {
    let whole = table(&[]);
    let records = random_rows(&whole, 100, 9);
    let file = written(&Avro, &whole, std::slice::from_ref(&records));
    let other = table_of(TableSchema::new(vec![
        Field::new("none", LogicalType::Date.nullable()),
        Field::new("c10", LogicalType::STRING.nullable()),
        Field::new("c3", LogicalType::BigInt.nullable()),
    ]));
    let read = read_all(&Avro, &other, &file).unwrap();
    assert_eq!(read.column(0).null_count(), 100);
    assert_eq!(read.column(1), records.column(10));
    let wide = arrow::compute::cast(records.column(3), &arrow::datatypes::DataType::Int64).unwrap();
    assert_eq!(read.column(2), &wide);
    let counted = read_part(&Avro, &other, &[], &file, (0..u64::MAX, 0)).unwrap();
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);

    let unlike = table_of(TableSchema::new(vec![Field::new("c10", LogicalType::Int.nullable())]));
    let error = read_all(&Avro, &unlike, &file).unwrap_err().to_string();
    assert!(error.contains("its field 'c10' is union, and INT in the table"), "{error}");
}

#[test]
fn damage_is_told_of() {
    survives_damage(&Avro, 2_000);
}

#[test]
fn the_schema_is_the_one_that_flink_derives() {
    let fields = vec![
        Field::new("id", LogicalType::Int.not_null()),
        Field::new("price", LogicalType::Decimal(10, 2).nullable()),
        Field::new("r", LogicalType::Row(vec![Field::new("t", LogicalType::Timestamp(3).nullable())]).nullable()),
    ];
    expect![[r#"{"type":"record","name":"record","namespace":"org.apache.flink.avro.generated","fields":[{"name":"id","type":"int"},{"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},{"name":"r","type":["null",{"type":"record","name":"record_r","fields":[{"name":"t","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null}]}],"default":null}]}"#]]
        .assert_eq(&of_table(&fields, true).unwrap().to_string());
}

#[test]
fn schemas_of_others_are_read() {
    let schema = r#"{"type": "record", "name": "r", "namespace": "a.b", "fields": [
        {"name": "e", "type": {"type": "enum", "name": "kind", "symbols": ["X", "Y"]}},
        {"name": "again", "type": ["a.b.kind", "null"]},
        {"name": "f", "type": {"type": "fixed", "name": "four", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "u", "type": {"type": "string", "logicalType": "uuid"}}]}"#;
    let Schema::Record(fields) = Schema::parse(schema).unwrap() else { panic!("a record") };
    let names: Vec<&str> = fields.iter().map(|(_, schema)| schema.name()).collect();
    assert_eq!(names, ["enum", "union", "decimal", "timestamp", "string"]);
    for (text, expected) in [
        (r#"{"type": "record", "name": "r", "fields": [{"name": "x", "type": ["null", "r"]}]}"#, "within itself"),
        (r#""other""#, "does not define"),
        ("[1]", "for a type"),
        ("{", "no JSON"),
        (r#"{"type": "array"}"#, "without 'items'"),
    ] {
        let error = Schema::parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(200), "}".repeat(200));
    assert!(Schema::parse(&deep).is_err());
}

#[test]
fn types_and_options_are_checked() {
    let column =
        |name: &str, logical: LogicalType| table_of(TableSchema::new(vec![Field::new(name, logical.nullable())]));
    for (table, expected) in [
        (column("t", LogicalType::Timestamp(6)), "timestamp_mapping.legacy"),
        (column("t", LogicalType::TimestampLtz(3)), "timestamp_mapping.legacy"),
        (column("t", LogicalType::Time(6)), "TIME(3)"),
        (column("a b", LogicalType::Int), "rename it"),
        (column("i", LogicalType::IntervalDaySecond), "INTERVAL"),
        (table(&[("avro.codec", "xz")]), "none of null"),
        (table(&[("avro.encoding", "json")]), "use the format json"),
    ] {
        let error = Avro.check(&table, true).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
}
