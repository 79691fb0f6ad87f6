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
        // What we write, serde_json reads the same.
        for (line, original) in encode(&table, &batch).iter().zip(text.lines()) {
            let written: serde_json::Value = serde_json::from_str(line).unwrap();
            let mut expected: serde_json::Value = serde_json::from_str(original).unwrap();
            expected.as_object_mut().unwrap().shift_remove("extra");
            prop_assert_eq!(written, expected);
        }
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
        r#"{"n": 1.9, "s": {"x" : [1, "a b"]}, "b": "TRUE", "m": 123.4}"#,
        r#"{"n": 1, "n": 2, "unknown": [{"deep": "}]"}], "s": "\u00e9\ud83d\ude00\n"}"#,
        "",
        "{}",
    ];
    let batch = decode(&table, lines.join("\n").as_bytes()).unwrap();
    assert_eq!(
        encode(&table, &batch),
        [
            r#"{"n":12,"s":"5","b":false,"m":1.01}"#,
            r#"{"n":1,"s":"{\"x\":[1,\"a b\"]}","b":true,"m":null}"#,
            r#"{"n":2,"s":"é\uD83D\uDE00\n","b":null,"m":null}"#,
            r#"{"n":null,"s":null,"b":null,"m":null}"#,
        ]
    );
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
