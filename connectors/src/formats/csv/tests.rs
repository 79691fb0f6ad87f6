//! Fields, quotes and Flink's answers; what is written is read again.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Csv;
use crate::api::{ConnectorError, Format, Origin, Slab};
use crate::testing::subtask_context;

fn table(types: &[LogicalType], options: &[(&str, &str)]) -> TableSpec {
    let fields = types.iter().enumerate().map(|(i, logical)| Field::new(format!("f{i}"), logical.clone().nullable()));
    TableSpec {
        name: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(fields.collect()),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn decode(table: &TableSpec, text: &[u8]) -> Result<RecordBatch, ConnectorError> {
    let projection: Vec<usize> = (0..table.schema.len()).collect();
    let mut decoder = Csv.create_decoder(table, &projection, &subtask_context(0, 1)).unwrap();
    let origin = Origin::File { path: "f.csv".into(), first_line: 1 };
    let slab = Slab { bytes: text, ends: None, origin: &origin };
    let mut from = 0;
    while from < text.len() {
        from = decoder.decode(&slab, from, usize::MAX)?;
    }
    decoder.take()
}

fn encode(table: &TableSpec, batch: &RecordBatch) -> String {
    let mut encoder = Csv.create_encoder(table, &table.schema, &subtask_context(0, 1)).unwrap();
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(batch, &mut out, &mut ends).unwrap();
    for end in ends.iter().rev() {
        out.insert(*end, b'\n');
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn flinks_fields() {
    let types = [
        LogicalType::STRING,
        LogicalType::Int,
        LogicalType::Boolean,
        LogicalType::Date,
        LogicalType::Time(0),
        LogicalType::Timestamp(3),
        LogicalType::Decimal(5, 1),
        LogicalType::Array(Box::new(LogicalType::Int.nullable())),
    ];
    let table = table(&types, &[("csv.null-literal", "n/a"), ("csv.allow-comments", "true")]);
    let text = "# a comment\n\
        \"a \"\"b\"\", c\", 7 ,TRUE,2024-2-30,04:05:06.7,2024-02-03 4:05:06,12.34,1;2;3\n\
        n/a,n/a,n/a,n/a,n/a,n/a,n/a,n/a\r\n\
        ,-1,,2024-02-29,04:05,2024-02-03 04:05:06.5,99999.9,\n";
    assert_eq!(
        encode(&table, &decode(&table, text.as_bytes()).unwrap()),
        "\"a \"\"b\"\", c\",7,true,2024-03-01,04:05:06,\"2024-02-03 04:05:06\",12.3,1;2;3\n\
         n/a,n/a,n/a,n/a,n/a,n/a,n/a,n/a\n\
         ,-1,false,2024-02-29,04:05:00,\"2024-02-03 04:05:06.5\",n/a,\n"
    );
}

#[test]
fn malformed_lines() {
    let types = [LogicalType::STRING, LogicalType::Int];
    let strict = table(&types, &[]);
    let message = |text: &str| decode(&strict, text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("a,1\nb\n"),
        "table 't', f.csv:2: the line has 1 fields, the table 2; the record is: b\n  \
         to skip and count such records set 'csv.ignore-parse-errors' = 'true'"
    );
    assert!(message("a,1,c").contains("more than the table's 2 fields"));
    assert!(message("a,x").contains("field 2: 'x' is no INT"));
    assert!(message("a,").contains("set 'csv.null-literal' = ''"));
    assert!(message("\"a,1").contains("a quote is not closed"));
    assert!(message("\"a\"b,1").contains("text follows a closing quote"));
    let lenient = table(&types, &[("csv.ignore-parse-errors", "true")]);
    let batch = decode(&lenient, b"a,1\nb\nc,x\nd,1,2\n\"e\ng\xff,3\nf,6\n").unwrap();
    assert_eq!(encode(&lenient, &batch), "a,1\nb,\nc,\nf,6\n");
}

#[test]
fn other_characters() {
    let types = [LogicalType::STRING, LogicalType::STRING];
    let options = [("csv.field-delimiter", "|"), ("csv.quote-character", "'"), ("csv.escape-character", "\\")];
    let read = |options: &[(&str, &str)], text: &str| {
        let table = table(&types, options);
        let batch = decode(&table, text.as_bytes()).unwrap();
        let plain = self::table(&types, &[("csv.disable-quote-character", "true"), ("csv.field-delimiter", ";")]);
        encode(&plain, &batch)
    };
    assert_eq!(read(&options, "'a|\\'b'|c\\|d\n"), "a|'b;c|d\n");
    assert_eq!(read(&[("csv.field-delimiter", "\\t")], "a\t\"b\tc\"\n"), "a;b\tc\n");
    assert_eq!(read(&[("csv.disable-quote-character", "true")], "\"a,b\"\n"), "\"a;b\"\n");
    assert!(Csv.check(&table(&types, &[("csv.field-delimiter", "ab")]), false).is_err());
    assert!(Csv.check(&table(&[LogicalType::Row(Vec::new())], &[]), false).is_err());
}

#[test]
fn golden_inputs_are_read_whole() {
    let read = |name: &str, types: &[LogicalType], options: &[(&str, &str)]| {
        let text = std::fs::read_to_string(format!("{}/../tests/sql/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let batch = decode(&table(types, options), text.as_bytes()).unwrap();
        assert_eq!(batch.num_rows(), text.lines().count(), "{name}");
        batch
    };
    let types = [
        LogicalType::STRING,
        LogicalType::Timestamp(3),
        LogicalType::Double,
        LogicalType::Decimal(5, 1),
        LogicalType::SmallInt,
        LogicalType::STRING,
    ];
    let sensors = read("sensors.csv", &types, &[("csv.null-literal", "")]);
    assert!(sensors.column(2).null_count() > 0);
    let types: Vec<LogicalType> = std::iter::once(LogicalType::STRING)
        .chain(std::iter::repeat_n(LogicalType::Double, 4))
        .chain([LogicalType::STRING])
        .collect();
    let weather = read("seattle-weather.csv", &types, &[]);
    assert_eq!(weather.column(1).null_count(), 0);
}

proptest! {
    #[test]
    fn strings_come_back(rows in prop::collection::vec(["[^\n\r]*", "[a-c,\"' ;\\\\]*"], 1..8)) {
        // A line with one empty field is an empty line, which is none.
        let table = table(&[LogicalType::STRING, LogicalType::STRING, LogicalType::Int], &[]);
        let text: String = rows
            .iter()
            .map(|row| row.iter().map(|text| format!("\"{}\",", text.replace('"', "\"\""))).collect::<String>() + "1\n")
            .collect();
        let batch = decode(&table, text.as_bytes()).unwrap();
        prop_assert_eq!(batch.num_rows(), rows.len());
        let written = encode(&table, &batch);
        prop_assert_eq!(&decode(&table, written.as_bytes()).unwrap(), &batch);
        use arrow::array::AsArray;
        for (index, row) in rows.iter().enumerate() {
            for (column, text) in row.iter().enumerate() {
                prop_assert_eq!(batch.column(column).as_string::<i32>().value(index), text);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let types = [LogicalType::STRING, LogicalType::Int, LogicalType::Date, LogicalType::Time(0), LogicalType::Timestamp(3)];
        let _ = decode(&table(&types, &[]), &bytes);
        prop_assert!(decode(&table(&types, &[("csv.ignore-parse-errors", "true")]), &bytes).is_ok());
    }
}
