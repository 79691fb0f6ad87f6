//! The decoder against serde_json on generated documents; Flink's leniencies; malformed texts.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Json;
use crate::api::{ConnectorError, Format, Origin, Slab};
use crate::testing::subtask_context;

fn table(fields: Vec<Field>, options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(fields),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn decode(table: &TableSpec, text: &[u8]) -> Result<RecordBatch, ConnectorError> {
    let projection: Vec<usize> = (0..table.schema.len()).collect();
    let mut decoder = Json.create_decoder(table, &projection, &subtask_context(0, 1)).unwrap();
    let origin = Origin::File { path: "f.json".into(), first_line: 1 };
    let slab = Slab { bytes: text, ends: None, origin: &origin };
    let mut from = 0;
    while from < text.len() {
        from = decoder.decode(&slab, from, usize::MAX)?;
    }
    decoder.take()
}

fn encode(table: &TableSpec, batch: &RecordBatch) -> Vec<String> {
    let mut encoder = Json.create_encoder(table, &table.schema, &subtask_context(0, 1)).unwrap();
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(batch, &mut out, &mut ends).unwrap();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let text = String::from_utf8(out[start..end].to_vec()).unwrap();
            start = end;
            text
        })
        .collect()
}

fn scalars() -> Vec<Field> {
    vec![
        Field::new("i", LogicalType::BigInt.nullable()),
        Field::new("d", LogicalType::Double.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
        Field::new("b", LogicalType::Boolean.nullable()),
        Field::new("a", LogicalType::Array(Box::new(LogicalType::BigInt.nullable())).nullable()),
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC*".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z\"\\\\é]{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(
        rows in prop::collection::vec(
            (
                prop::option::of(any::<i64>()),
                prop::option::of(any::<f64>().prop_filter("finite", |d| d.is_finite())),
                prop::option::of("\\PC*"),
                prop::option::of(any::<bool>()),
                prop::option::of(prop::collection::vec(any::<i64>(), 0..4)),
                any_json(),
                any::<bool>(),
                0usize..6,
            ),
            0..20,
        ),
    ) {
        let table = table(scalars(), &[]);
        let mut text = String::new();
        for (i, d, s, b, a, extra, pretty, rotate) in &rows {
            let mut fields: Vec<(String, serde_json::Value)> = vec![
                ("i".into(), (*i).into()),
                ("d".into(), (*d).into()),
                ("s".into(), s.clone().into()),
                ("b".into(), (*b).into()),
                ("a".into(), a.clone().into()),
                ("extra".into(), extra.clone()),
            ];
            fields.rotate_left(*rotate);
            let document = serde_json::Value::Object(fields.into_iter().collect());
            // Line ends inside a record are white space only when pretty-printed.
            let line = if *pretty {
                serde_json::to_string_pretty(&document).unwrap().replace('\n', " ")
            } else {
                document.to_string()
            };
            text.push_str(&line);
            text.push('\n');
        }
        let batch = decode(&table, text.as_bytes()).unwrap();
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (row, (i, d, s, b, a, ..)) in rows.iter().enumerate() {
            let valid = |column: usize| batch.column(column).is_valid(row);
            prop_assert_eq!(valid(0).then(|| batch.column(0).as_primitive::<Int64Type>().value(row)), *i);
            prop_assert_eq!(valid(1).then(|| batch.column(1).as_primitive::<Float64Type>().value(row)), *d);
            prop_assert_eq!(valid(2).then(|| batch.column(2).as_string::<i32>().value(row).to_owned()), s.clone());
            prop_assert_eq!(valid(3).then(|| batch.column(3).as_boolean().value(row)), *b);
            let list = valid(4).then(|| {
                batch.column(4).as_list::<i32>().value(row).as_primitive::<Int64Type>().values().to_vec()
            });
            prop_assert_eq!(list, a.clone());
        }
        // What we write, serde_json reads the same, but for the last bit of doubles, and we do with it.
        let lines = encode(&table, &batch);
        for (line, original) in lines.iter().zip(text.lines()) {
            let mut written: serde_json::Value = serde_json::from_str(line).unwrap();
            let mut expected: serde_json::Value = serde_json::from_str(original).unwrap();
            expected.as_object_mut().unwrap().shift_remove("extra");
            for value in [&mut written, &mut expected] {
                value.as_object_mut().unwrap().shift_remove("d");
            }
            prop_assert_eq!(written, expected);
        }
        prop_assert_eq!(&decode(&table, lines.join("\n").as_bytes()).unwrap(), &batch);
    }

    #[test]
    fn slabs_and_batches_of_any_size_give_the_same(
        numbers in prop::collection::vec(any::<i64>(), 1..40),
        rows in 1usize..9,
        messages in any::<bool>(),
    ) {
        let table = table(scalars(), &[("json.ignore-parse-errors", "true")]);
        let mut text = Vec::new();
        let mut ends = Vec::new();
        for number in &numbers {
            // Every fourth record is malformed, and fields change their places.
            match number % 4 {
                0 => text.extend_from_slice(format!("{{\"i\":{number},").as_bytes()),
                1 => text.extend_from_slice(format!("{{\"s\":\"{number}\", \"i\" : {number}}}").as_bytes()),
                _ => text.extend_from_slice(format!("{{\"i\":{number},\"b\":true,\"s\":\"\"}}").as_bytes()),
            }
            if !messages {
                text.push(b'\n');
            }
            ends.push(text.len());
        }
        let context = subtask_context(0, 1);
        let mut decoder = Json.create_decoder(&table, &[0, 2], &context).unwrap();
        let origin = Origin::Other("memory".into());
        let slab = Slab { bytes: &text, ends: messages.then_some(ends.as_slice()), origin: &origin };
        let (mut from, mut read, mut records) = (0, Vec::new(), 0);
        while from < text.len() {
            from = decoder.decode(&slab, from, rows).unwrap();
            records += decoder.pending_records();
            prop_assert!(decoder.pending_rows() <= rows);
            prop_assert!(ends.contains(&from));
            read.extend(decoder.take().unwrap().column(0).as_primitive::<Int64Type>().iter());
        }
        let expected: Vec<_> = numbers.iter().filter(|number| *number % 4 != 0).map(|number| Some(*number)).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(records, numbers.len() as u64);
        let skipped = context.metrics.records_skipped.load(std::sync::atomic::Ordering::Relaxed);
        prop_assert_eq!(skipped as usize, numbers.iter().filter(|number| *number % 4 == 0).count());
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let strict = table(scalars(), &[]);
        let lenient = table(scalars(), &[("json.ignore-parse-errors", "true")]);
        let _ = decode(&strict, &bytes);
        prop_assert!(decode(&lenient, &bytes).is_ok());
    }

    #[test]
    fn cut_documents_are_refused(document in any_json(), cut in 1usize..20) {
        let text = serde_json::json!({"extra": document, "i": 1}).to_string();
        let cut = text.len().saturating_sub(cut).max(1);
        if text.is_char_boundary(cut) {
            prop_assert!(decode(&table(scalars(), &[]), &text.as_bytes()[..cut]).is_err(), "{}", &text[..cut]);
        }
    }
}

#[test]
fn flinks_leniencies() {
    let fields = vec![
        Field::new("n", LogicalType::Int.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
        Field::new("b", LogicalType::Boolean.nullable()),
        Field::new("m", LogicalType::Decimal(4, 2).nullable()),
    ];
    let table = table(fields, &[]);
    let lines = [
        r#"{"n": "12", "s": 5, "b": 1, "m": 1.005} trailing"#,
        r#"{"n": 1.9, "s": {"x" : [1, "a b", 1.50, -2E3, "\u00e9\/\ud83d\ude00"]}, "b": "TRUE", "m": 123.4}"#,
        r#"{"n": 1, "n": 2, "unknown": [{"deep": "}]"}], "s": "\u00e9\ud83d\ude00\n"}"#,
        "",
        "{}",
        "\u{feff}{\"s\":\"a raw\ttab\"}",
    ];
    let batch = decode(&table, lines.join("\n").as_bytes()).unwrap();
    assert_eq!(
        encode(&table, &batch),
        [
            r#"{"n":12,"s":"5","b":false,"m":1.01}"#,
            r#"{"n":1,"s":"{\"x\":[1,\"a b\",1.5,-2E+3,\"é/\uD83D\uDE00\"]}","b":true,"m":null}"#,
            r#"{"n":2,"s":"é\uD83D\uDE00\n","b":null,"m":null}"#,
            r#"{"n":null,"s":null,"b":null,"m":null}"#,
            r#"{"n":null,"s":"a raw\ttab","b":null,"m":null}"#,
        ]
    );
}

fn nested() -> Vec<Field> {
    let home = LogicalType::Row(vec![
        Field::new("city", LogicalType::STRING.nullable()),
        Field::new("zip", LogicalType::STRING.nullable()),
    ]);
    let who = LogicalType::Row(vec![
        Field::new("name", LogicalType::STRING.nullable()),
        Field::new("age", LogicalType::Int.nullable()),
        Field::new("home", home.nullable()),
    ]);
    let map = LogicalType::Map(Box::new(LogicalType::STRING.not_null()), Box::new(LogicalType::Int.nullable()));
    vec![
        Field::new("id", LogicalType::Int.nullable()),
        Field::new("who", who.nullable()),
        Field::new("tags", LogicalType::Array(Box::new(LogicalType::STRING.nullable())).nullable()),
        Field::new("nums", LogicalType::Array(Box::new(LogicalType::Int.nullable())).nullable()),
        Field::new("attrs", map.nullable()),
    ]
}

/// Inputs of the golden scripts.
fn golden(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../tests/sql/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn golden_inputs_come_back_as_they_were() {
    // A field that is missing comes back as null.
    let with_nulls = |mut value: serde_json::Value| {
        let who = value.get_mut("who").and_then(serde_json::Value::as_object_mut);
        if let Some(who) = who {
            who.entry("age").or_insert(serde_json::Value::Null);
            who.entry("home").or_insert(serde_json::Value::Null);
        }
        value
    };
    let text = golden("nested.json");
    let table = table(nested(), &[]);
    let written = encode(&table, &decode(&table, text.as_bytes()).unwrap());
    assert_eq!(written.len(), text.lines().count());
    for (line, original) in written.iter().zip(text.lines()) {
        let (line, original) = (serde_json::from_str(line).unwrap(), serde_json::from_str(original).unwrap());
        assert_eq!(with_nulls(line), with_nulls(original));
    }

    let mut fields: Vec<Field> =
        ["auction", "bidder", "price"].iter().map(|name| Field::new(*name, LogicalType::BigInt.nullable())).collect();
    fields.extend(["channel", "url"].iter().map(|name| Field::new(*name, LogicalType::STRING.nullable())));
    fields.push(Field::new("dateTime", LogicalType::Timestamp(3).nullable()));
    fields.push(Field::new("extra", LogicalType::STRING.nullable()));
    let text = golden("bids.json");
    let table = self::table(fields, &[]);
    let written = encode(&table, &decode(&table, text.as_bytes()).unwrap());
    assert_eq!(written.len(), text.lines().count());
    for (line, original) in written.iter().zip(text.lines()) {
        let (line, mut original): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(line).unwrap(), serde_json::from_str(original).unwrap());
        // Flink writes no zeros at the end of a fraction.
        let time = original["dateTime"].as_str().unwrap().trim_end_matches('0').trim_end_matches('.');
        original["dateTime"] = time.into();
        assert_eq!(line, original);
    }
}

#[test]
fn odd_values_are_read_as_flink_recorded() {
    let fields = vec![
        Field::new("n", LogicalType::Int.nullable()),
        Field::new("i", LogicalType::Int.nullable()),
        Field::new("b", LogicalType::BigInt.nullable()),
        Field::new("d", LogicalType::Double.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
        Field::new("t", LogicalType::Boolean.nullable()),
        Field::new("dec", LogicalType::Decimal(8, 2).nullable()),
        Field::new("ts", LogicalType::Timestamp(3).nullable()),
    ];
    let table = table(fields, &[("json.ignore-parse-errors", "true")]);
    let mut written: Vec<String> = encode(&table, &decode(&table, golden("../data/odd.json").as_bytes()).unwrap())
        .iter()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            // The script casts `d` to STRING.
            if let Some(number) = value["d"].as_f64() {
                value["d"] = format!("{number:?}").into();
            }
            value.to_string()
        })
        .collect();
    written.sort();
    let expected = golden("../json_lenient.expected");
    let mut expected: Vec<String> = expected
        .lines()
        .filter(|line| line.starts_with('{'))
        // Flink keeps nanoseconds in a TIMESTAMP(3) that a format has read; ours has milliseconds.
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(&line.replace("12.123456789", "12.123")).unwrap().to_string()
        })
        .collect();
    expected.sort();
    assert_eq!(written, expected);
}

#[test]
fn nested_values_of_a_wrong_type_are_null_when_errors_are_ignored() {
    let lines = [
        r#"{"id":1,"who":{"name":"a","age":"old","home":{"city":"x"}},"nums":[1,"two",3],"attrs":{"a":1,"b":[],"a":3}}"#,
        r#"{"id":2,"who":"nobody","tags":{},"nums":7,"attrs":[]}"#,
    ];
    let lenient = table(nested(), &[("json.ignore-parse-errors", "true")]);
    assert_eq!(
        encode(&lenient, &decode(&lenient, lines.join("\n").as_bytes()).unwrap()),
        [
            r#"{"id":1,"who":{"name":"a","age":null,"home":{"city":"x","zip":null}},"tags":null,"nums":[1,null,3],"attrs":{"b":null,"a":3}}"#,
            r#"{"id":2,"who":null,"tags":null,"nums":null,"attrs":null}"#,
        ]
    );
    let message = |line: &str| decode(&table(nested(), &[]), line.as_bytes()).unwrap_err().to_string();
    assert!(message(lines[0]).contains("field 'who': in 'age': 'old' is no INT"), "{}", message(lines[0]));
    assert!(message(lines[1]).contains("field 'who': expected an object, found a string"), "{}", message(lines[1]));
    let strict = table(nested(), &[("json.fail-on-missing-field", "true")]);
    let complete = r#"{"id":1,"who":{"name":"a","age":1,"home":null},"tags":null,"nums":null,"attrs":null}"#;
    assert!(decode(&strict, complete.as_bytes()).is_ok());
    let error = decode(&strict, complete.replace(",\"age\":1", "").as_bytes()).unwrap_err().to_string();
    assert!(error.contains("'age' is missing"), "{error}");
}

#[test]
fn texts_that_flink_refuses_are_refused() {
    for (logical, good, bad) in [
        (
            LogicalType::Timestamp(3),
            vec!["\"2024-02-03 04:05:06\"", "\"2024-02-03 04:05:06.123456\""],
            vec!["\"2024-02-03\"", "\"2024-2-3 04:05:06\"", "\"2024-02-03T04:05:06\"", "1706933106000"],
        ),
        (LogicalType::TimestampLtz(3), vec!["\"2024-02-03 04:05:06Z\""], vec!["\"2024-02-03 04:05:06\""]),
        (LogicalType::Date, vec!["\"2024-02-29\""], vec!["\"2023-02-29\"", "\"2024-2-3\"", "19700"]),
        (LogicalType::Time(0), vec!["\"04:05:06\"", "\"04:05:06.7\""], vec!["\"4:05:06\"", "\"04:05\""]),
        (LogicalType::TinyInt, vec!["-128", "\" 7 \""], vec!["1.9", "128", "\"x\"", "true"]),
        (LogicalType::Int, vec!["1.9", "-2147483648", "1e3"], vec!["2147483648", "\"1.9\"", "[1]", "01", "+1", "1."]),
        (LogicalType::BigInt, vec!["9223372036854775807", "1e18"], vec!["9223372036854775808", "1e19", "--1", "-"]),
        (LogicalType::Double, vec!["1", "1e400", "\"NaN\""], vec!["\"\"", "NaN", "{}"]),
        (LogicalType::BYTES, vec!["\"AQI=\""], vec!["12", "\"*\""]),
        (LogicalType::STRING, vec!["\"\"", "1.50", "true", "[ ]"], vec!["\"\\x\"", "\"\\u12g4\"", "tru", "\"\\"]),
    ] {
        let table = table(vec![Field::new("v", logical.clone().nullable())], &[]);
        let read = |value: &str| decode(&table, format!("{{\"v\":{value}}}").as_bytes());
        for value in good {
            let batch = read(value).unwrap();
            assert!(batch.column(0).is_valid(0), "{logical} {value}");
        }
        for value in bad {
            assert!(read(value).is_err(), "{logical} {value}");
        }
    }
    let bytes = table(vec![Field::new("v", LogicalType::STRING.nullable())], &[]);
    for bad in
        [&b"{\"v\":\"\xff\"}"[..], b"{\"other\":\"\xc3\"}", b"{\"other\":\"\\q\"}", b"{\"v\":1,}", b"[]", b"null"]
    {
        assert!(decode(&bytes, bad).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn a_malformed_record_is_named_and_quoted() {
    let table = table(vec![Field::new("i", LogicalType::BigInt.nullable())], &[]);
    let message = |text: &str| decode(&table, text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("{\"i\":1}\n{\"i\":oops}\n"),
        "table 't', f.json:2: not JSON: expected a value at character 6, found 'o'; the record is: {\"i\":oops}\n  \
         to skip and count such records set 'json.ignore-parse-errors' = 'true'"
    );
    assert!(message("{\"i\":\"x\"}").contains("field 'i': 'x' is no BIGINT"));
    assert!(message("{\"i\":99999999999999999999}").contains("does not fit"));
    assert!(message(&format!("{{\"i\":1,{}", "x".repeat(500))).contains('…'));
}

#[test]
fn malformed_records_and_fields_are_skipped_when_asked() {
    let fields = vec![Field::new("i", LogicalType::BigInt.nullable()), Field::new("s", LogicalType::STRING.nullable())];
    let table = table(fields, &[("json.ignore-parse-errors", "true")]);
    let batch = decode(&table, b"{\"i\":1,\"s\":\"a\"}\nnonsense\n{\"s\":\"b\",\"i\":\"x\"}\n{\"s\":\"c\"\n").unwrap();
    assert_eq!(encode(&table, &batch), [r#"{"i":1,"s":"a"}"#, r#"{"i":null,"s":"b"}"#]);
}
