//! Values of every type come back; charsets; wrong widths; any bytes.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, MAX_LENGTH, Schema};

use super::Raw;
use crate::api::{ConnectorError, Format, Origin, Slab};
use crate::testing::{subtask_context, table_of};

fn table(logical: LogicalType, options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        ..table_of(Schema::new(vec![Field::new("v", logical.nullable())]))
    }
}

/// Decodes messages.
fn decode(table: &TableSpec, messages: &[&[u8]]) -> Result<RecordBatch, ConnectorError> {
    let mut decoder = Raw.create_decoder(table, &[0], &subtask_context(0, 1)).unwrap();
    let bytes = messages.concat();
    let mut ends = Vec::new();
    for message in messages {
        ends.push(ends.last().copied().unwrap_or(0) + message.len());
    }
    let origin = Origin::Kafka { topic: "t".into(), partition: 0, offsets: (100..100 + ends.len() as i64).collect() };
    let slab = Slab { bytes: &bytes, ends: Some(&ends), origin: &origin };
    decoder.decode(&slab, 0, usize::MAX)?;
    decoder.take()
}

fn encode(table: &TableSpec, batch: &RecordBatch) -> Vec<Vec<u8>> {
    let mut encoder = Raw.create_encoder(table, &table.schema, &subtask_context(0, 1)).unwrap();
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(batch, &mut out, &mut ends).unwrap();
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(&ends).map(|(begin, end)| out[begin..*end].to_vec()).collect()
}

#[test]
fn values_of_every_type_come_back() {
    let types: [(LogicalType, &[&[u8]]); 9] = [
        (LogicalType::STRING, &[b"", "caf\u{e9} \u{1f600}".as_bytes()]),
        (LogicalType::Varbinary(MAX_LENGTH), &[b"", b"\xff\x00"]),
        (LogicalType::Boolean, &[b"\x00", b"\x01"]),
        (LogicalType::TinyInt, &[b"\x80", b"\x7f"]),
        (LogicalType::SmallInt, &[b"\x80\x01", b"\x01\x02"]),
        (LogicalType::Int, &[b"\x80\x01\x02\x03", b"ABCD"]),
        (LogicalType::BigInt, &[b"\x80\x01\x02\x03\x04\x05\x06\x07"]),
        (LogicalType::Float, &[b"\x3f\x80\x00\x00"]),
        (LogicalType::Double, &[b"\x3f\xf0\x00\x00\x00\x00\x00\x00"]),
    ];
    for (logical, messages) in types {
        for endianness in ["big-endian", "little-endian"] {
            let table = table(logical.clone(), &[("raw.endianness", endianness)]);
            assert!(Raw.check(&table, true).is_ok());
            assert_eq!(encode(&table, &decode(&table, messages).unwrap()), messages, "{logical} {endianness}");
        }
    }
}

#[test]
fn numbers_have_the_order_of_bytes_that_is_asked_for() {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;
    let value = |endianness: &str| {
        let table = table(LogicalType::Int, &[("raw.endianness", endianness)]);
        decode(&table, &[&[1, 2, 3, 4]]).unwrap().column(0).as_primitive::<Int32Type>().value(0)
    };
    assert_eq!(value("big-endian"), 0x0102_0304);
    assert_eq!(value("little-endian"), 0x0403_0201);
}

#[test]
fn charsets_replace_as_java_does() {
    let cases: [(&str, &[u8], &str, &[u8]); 6] = [
        ("UTF-8", b"a\xffb", "a\u{fffd}b", "a\u{fffd}b".as_bytes()),
        ("us-ascii", b"a\xe9", "a\u{fffd}", b"a?"),
        ("ISO-8859-1", b"a\xe9", "a\u{e9}", b"a\xe9"),
        ("UTF-16", b"\xff\xfea\x00", "a", b"\xfe\xff\x00a"),
        ("UTF-16BE", b"\x00a\xd8\x00", "a\u{fffd}", b"\x00a\xff\xfd"),
        ("UTF-16LE", b"a\x00b", "a\u{fffd}", b"a\x00\xfd\xff"),
    ];
    let plain = table(LogicalType::STRING, &[]);
    for (charset, bytes, text, written) in cases {
        let table = table(LogicalType::STRING, &[("raw.charset", charset)]);
        let batch = decode(&table, &[bytes]).unwrap();
        assert_eq!(encode(&plain, &batch), [text.as_bytes()], "{charset}");
        assert_eq!(encode(&table, &batch), [written], "{charset}");
    }
    let error = Raw.check(&table(LogicalType::STRING, &[("raw.charset", "klingon")]), false).unwrap_err();
    assert!(error.message.contains("'klingon' is no charset"), "{error}");
}

#[test]
fn empty_messages_are_rows_wherever_a_batch_ends() {
    let table = table(LogicalType::STRING, &[]);
    let messages: [&[u8]; 7] = [b"", b"", b"a", b"", b"", b"b", b""];
    for max_rows in 1..8 {
        let mut decoder = Raw.create_decoder(&table, &[0], &subtask_context(0, 1)).unwrap();
        let bytes = messages.concat();
        let ends = [0, 0, 1, 1, 1, 2, 2];
        let origin = Origin::Other("here".into());
        let slab = Slab { bytes: &bytes, ends: Some(&ends), origin: &origin };
        let (mut from, mut rows) = (0, 0);
        loop {
            from = decoder.decode(&slab, from, max_rows).unwrap();
            rows += decoder.take().unwrap().num_rows();
            if from == bytes.len() {
                break;
            }
        }
        assert_eq!(rows, messages.len(), "{max_rows}");
    }
}

#[test]
fn wrong_widths_are_told_or_skipped_and_wrong_tables_refused() {
    let error = decode(&table(LogicalType::Int, &[]), &[b"abcd", b"abc"]).unwrap_err().to_string();
    assert!(error.contains("topic t, partition 0, offset 101: 3 bytes are no INT, which has 4"), "{error}");
    let lenient = table(LogicalType::Int, &[("raw.ignore-parse-errors", "true")]);
    assert_eq!(decode(&lenient, &[b"abcd", b"abc", b""]).unwrap().num_rows(), 1);
    assert!(Raw.check(&table(LogicalType::Date, &[]), false).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_without_panic(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..10), 0..10),
    ) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        for charset in super::charset::NAMES {
            let texts = decode(&table(LogicalType::STRING, &[("raw.charset", charset)]), &messages).unwrap();
            prop_assert_eq!(texts.num_rows(), messages.len());
        }
        for logical in [LogicalType::Boolean, LogicalType::SmallInt, LogicalType::Double] {
            let _ = decode(&table(logical, &[]), &messages);
        }
    }
}
