//! Lines of real servers, malformed lines, and those that our generator writes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use proptest::prelude::*;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::AccessLog;
use crate::api::{ConnectorError, Format, Origin, Slab};
use crate::testing::subtask_context;

fn table(options: &[(&str, &str)]) -> TableSpec {
    let text = |name: &str| Field::new(name, LogicalType::STRING.nullable());
    TableSpec {
        name: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(vec![
            text("host"),
            text("user_name"),
            Field::new("ts", LogicalType::Timestamp(3).nullable()),
            text("method"),
            text("path"),
            text("protocol"),
            Field::new("status", LogicalType::Int.nullable()),
            Field::new("body_bytes", LogicalType::BigInt.nullable()),
            text("referer"),
            text("user_agent"),
            Field::new("response_time_ms", LogicalType::Double.nullable()),
        ]),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

/// The rows, and how many lines were skipped.
fn decode(table: &TableSpec, text: &[u8]) -> Result<(RecordBatch, u64), ConnectorError> {
    let projection: Vec<usize> = (0..table.schema.len()).collect();
    let context = subtask_context(0, 1);
    let mut decoder = AccessLog.create_decoder(table, &projection, &context).unwrap();
    let origin = Origin::File { path: "access.log".into(), first_line: 1 };
    let slab = Slab { bytes: text, ends: None, origin: &origin };
    let mut from = 0;
    while from < text.len() {
        from = decoder.decode(&slab, from, usize::MAX)?;
    }
    Ok((decoder.take()?, context.metrics.records_skipped.load(Ordering::Relaxed)))
}

#[test]
fn combined_lines_with_and_without_a_response_time() {
    let text = concat!(
        r#"81.14.200.7 - anna [10/Oct/2000:13:55:36.123 -0700] "GET /a?q=%20b HTTP/1.1" 200 2326 "http://x/\"y\"" "Mozilla/5.0 (X11)" 0.1234"#,
        "\n",
        r#"::1 - - [01/Jan/1970:00:00:00 +0000] "POST / HTTP/2" 304 - "-" "-""#,
        "\r\n",
        r#"host - - [29/Feb/2024:23:59:59 +0130] "GET /" 500 0"#,
        "\n",
    );
    let (batch, skipped) = decode(&table(&[]), text.as_bytes()).unwrap();
    assert_eq!(skipped, 0);
    let texts = |column: usize| -> Vec<Option<&str>> { batch.column(column).as_string::<i32>().iter().collect() };
    assert_eq!(texts(0), [Some("81.14.200.7"), Some("::1"), Some("host")]);
    assert_eq!(texts(1), [Some("anna"), None, None]);
    let times = batch.column(2).as_primitive::<TimestampMillisecondType>().values().to_vec();
    assert_eq!(times, [971_211_336_123, 0, 1_709_245_799_000]);
    assert_eq!(texts(3), [Some("GET"), Some("POST"), Some("GET")]);
    assert_eq!(texts(4), [Some("/a?q=%20b"), Some("/"), Some("/")]);
    assert_eq!(texts(5), [Some("HTTP/1.1"), Some("HTTP/2"), None]);
    assert_eq!(batch.column(6).as_primitive::<Int32Type>().values().to_vec(), [200, 304, 500]);
    assert_eq!(batch.column(7).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2326), None, Some(0)]);
    assert_eq!(texts(8), [Some(r#"http://x/\"y\""#), None, None]);
    assert_eq!(texts(9), [Some("Mozilla/5.0 (X11)"), None, None]);
    assert_eq!(batch.column(10).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(123.4), None, None]);
}

#[test]
fn malformed_lines_say_what_is_missing() {
    let good = r#"h - - [29/Feb/2024:23:59:59 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 0.1"#;
    for (from, to, reason) in [
        ("h - -", "h", "expected the time in brackets"),
        ("29/Feb/2024", "30/Feb/2024", "the time is not like"),
        ("Feb", "feb", "the time is not like"),
        ("+0000", "UTC", "the time is not like"),
        ("GET / HTTP/1.1", "GET", "the request has no path"),
        (" 200 ", " 20 ", "the status is no number of three digits"),
        (" 1 ", " one ", "the size is no number"),
        ("0.1", "fast", "the response time is no number"),
        ("0.1", "0.1 more", "text follows the response time"),
        ("\"-\" \"-\" 0.1", "\"-", "expected the referer in quotes"),
    ] {
        let error = decode(&table(&[]), good.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("access.log:1"), "{to}: {error}");
        assert!(error.contains("'access-log.ignore-parse-errors' = 'true'"), "{error}");
    }
    let lines = format!("{good}\nnonsense\n\n{good}\n{}\n", good.replace(" 200 ", " OK "));
    let (batch, skipped) = decode(&table(&[("access-log.ignore-parse-errors", "true")]), lines.as_bytes()).unwrap();
    assert_eq!((batch.num_rows(), skipped), (2, 2));
}

#[test]
fn columns_are_checked_by_name_and_type() {
    let check = |field: Field| {
        let table = TableSpec { schema: Schema::new(vec![field]), ..table(&[]) };
        AccessLog.check(&table, false).map_err(|error| error.message)
    };
    assert_eq!(check(Field::new("response_time_ms", LogicalType::BigInt.nullable())), Ok(()));
    assert_eq!(check(Field::new("ts", LogicalType::TimestampLtz(3).nullable())), Ok(()));
    assert_eq!(
        check(Field::new("statsu", LogicalType::Int.nullable())).unwrap_err(),
        "an access log has no column 'statsu'; did you mean 'status'?"
    );
    assert!(check(Field::new("status", LogicalType::STRING.nullable())).unwrap_err().contains("is INT, not STRING"));
    assert!(AccessLog.check(&table(&[]), true).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_without_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b' '), Just(b'['), Just(b'\\')], 0..120),
        cut in 0usize..90,
    ) {
        let lenient = table(&[("access-log.ignore-parse-errors", "true")]);
        prop_assert!(decode(&lenient, &bytes).is_ok());
        let mut line = br#"h - - [29/Feb/2024:23:59:59 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 0.1"#.to_vec();
        line.truncate(cut);
        line.extend(bytes);
        prop_assert!(decode(&lenient, &line).is_ok());
    }
}
