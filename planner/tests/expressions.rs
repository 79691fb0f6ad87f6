//! Random expressions over every type and function, against what Flink answered: its type, its value for
//! each row, and whether it fails.
//!
//! `tests/sql/expressions.txt` was recorded by `tests/flink/expressions.sh`; `EXPRESSIONS=FILE` compares with
//! another record, of another seed say. What differs on purpose is named in [`DIFFERENCES`].

// A test fails by a panic, also in its helpers.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../expr/tests/flink_goldens/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use serde_json::Value as Json;
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::expr::Expr;
use tidemill_common::plan::{ChangelogMode, OperatorKind, SinkSpec, SourceSpec, StreamPlan, TableSpec};
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::eval::{EvalContext, Predicate, Program};
use tidemill_planner::session::{JobKind, PlannedStatement, Planner};

/// Where Tidemill does not do what Flink did: a part of the expression or of Flink's reason, and why. Each is
/// also said in docs/sql.md.
const DIFFERENCES: &[(&str, &str)] = &[
    ("a key of MAP[] is NULL", "a NULL key of a MAP is an error here"),
    ("does not compare values of type MAP", "maps are not compared here"),
    ("of JSON_VALUE must be a text", "the first argument of JSON functions is a text"),
    ("of JSON_QUERY must be a text", "the first argument of JSON functions is a text"),
    ("lies outside the years 1677 to 2262", "TIMESTAMP(6) holds these years only"),
    ("is not clear about its unit and zone", "Flink has NULL only because the number is"),
    ("the index of an ARRAY starts at 1", "Flink does not look at an index beside a constant NULL"),
    ("COALESCE(((dc * dw) * CEIL(dw)), JSON_VALUE", "COALESCE evaluates only what it needs here"),
    ("ARRAY_SORT(ad", "0.0 and -0.0 are equal, and stay in their order here"),
    ("ARRAY_SORT(ARRAY_REVERSE(ad))", "0.0 and -0.0 are equal, and stay in their order here"),
    ("COSH(si)", "the last digit of a hyperbolic cosine"),
    ("TO_DATE('é', 'yyyyMMdd')", "Flink has a day beyond the calendar for what is no date"),
    ("= cannot compare STRING with TINYINT", "Flink has NULL only because the number is"),
    ("COALESCE(d, (dw %", "COALESCE evaluates only what it needs here"),
    ("COALESCE(EXTRACT(MINUTE FROM tm), (i / i))", "COALESCE evaluates only what it needs here"),
    ("MapFromArraysFunction$MapD", "Flink fails inside; here there is an answer"),
    ("RexCall cannot be cast", "Flink fails inside; here there is an answer"),
    ("MAP['k', 1][", "Flink gives -1 for a missing key of a literal MAP"),
    ("COALESCE(tu, TIMESTAMPADD", "Flink gives DATE for TIMESTAMP and DATE; here it is the TIMESTAMP"),
    ("IFNULL('_', '3.14')", "Flink keeps the length of the first text"),
    ("IFNULL('%', 'a,b,c')", "Flink keeps the length of the first text"),
    ("TYPEOF(CHR(256))", "CHR is NOT NULL for a constant here"),
    ("CAST(CAST(f AS STRING) AS VARCHAR(4))", "Flink loses the inner of two casts"),
    ("ROW(i, s) = ROW(1, 'x')", "Flink has NULL for rows with a NULL field"),
    ("= ROW(CHAR_LENGTH(js), st)", "Flink has NULL for rows with a NULL field"),
    ("Invalid time format", "Flink fails to fold a TIME before 1970"),
    (
        "CAST(TIMESTAMP '1965-06-15 01:02:03.456' AS TIMESTAMP(0))",
        "Flink cuts literals before 1970 to the past, columns to 1970",
    ),
    ("REGEXP_COUNT(s, '')", "Java matches an empty pattern inside of surrogate pairs"),
    ("REGEXP_REPLACE(LTRIM(s, '00ff'), '', 'o')", "Java matches an empty pattern inside of surrogate pairs"),
    ("NULLIF(CEIL(dw), dw)", "Flink loses digits of DECIMAL(38, 10) where it is compared"),
    ("TRUNCATE(NULLIF(ROUND(dw, 10)", "Flink loses digits of DECIMAL(38, 10) where it is compared"),
    ("TRY_CAST(ch AS DECIMAL(10, 2))", "Flink takes a single letter for 0"),
    ("TRY_CAST(TRIM(BOTH 'it''s' FROM 'a') AS DECIMAL(10, 2))", "Flink takes a single letter for 0"),
    ("COALESCE(CAST((12345678901234.567) AS DECIMAL(5, 0)), 10)", "Flink folds it to an empty text"),
    ("COALESCE(TANH(d), IF(TRUE, (12345678901234.567), 100))", "Flink folds it to another double"),
    ("= ('%' IN ('a', '', 'Hello', 'ß'))", "Flink folds a comparison of text and BOOLEAN to FALSE"),
    ("DECODE(CAST(FROM_BASE64(sn) AS BYTES), 'UTF-16')", "half a UTF-16 unit"),
    ("CompileException", "Flink's generated code does not compile; here there is an answer"),
    ("NullPointerException", "Flink fails inside; here there is an answer"),
    ("EnforcerException", "Flink infers NOT NULL for a value that can be NULL, and fails; here it is NULL"),
    ("Zero-length character strings have no serializable", "Flink cannot name the type of ''"),
];

struct Connectors;

impl ConnectorCatalog for Connectors {
    fn connectors(&self) -> Vec<ConnectorInfo> {
        let path = OptionSpec {
            key: "path",
            kind: OptionKind::Text,
            required: true,
            default: None,
            description: "of the test",
        };
        let info = |identifier, options, formats| ConnectorInfo {
            identifier,
            description: "",
            options,
            prefixes: &[],
            source: true,
            sink: true,
            formats,
            partitions: false,
        };
        vec![info("filesystem", vec![path], true), info("collect", Vec::new(), false)]
    }

    fn formats(&self) -> Vec<ConnectorInfo> {
        vec![ConnectorInfo {
            identifier: "json",
            description: "",
            options: Vec::new(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
            partitions: false,
        }]
    }

    fn check_source(&self, _: &TableSpec) -> Result<(), TableError> {
        Ok(())
    }

    fn check_sink(&self, _: &TableSpec) -> Result<(), TableError> {
        Ok(())
    }

    fn is_bounded(&self, _: &SourceSpec) -> bool {
        true
    }

    fn sink_changelog(&self, _: &SinkSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        Ok(input)
    }
}

fn evaluate(exprs: &[Expr], batch: &RecordBatch, context: &EvalContext) -> Result<Vec<ArrayRef>, String> {
    let program = Program::compile(exprs, batch.schema_ref()).map_err(|e| e.to_string())?;
    program.evaluate(batch, context).map_err(|e| e.reason)
}

const CONTEXT: EvalContext = EvalContext { now_ms: 1_720_000_000_000, zone: chrono_tz::America::New_York };

/// A column of the rows, each of which is a JSON object.
fn column(rows: &[Json], name: &str, logical: &LogicalType) -> ArrayRef {
    let cells: Vec<Json> = rows.iter().map(|row| row.get(name).cloned().unwrap_or(Json::Null)).collect();
    match logical {
        LogicalType::Varbinary(_) => {
            let bytes: BinaryArray = cells.iter().map(|cell| cell.as_str().map(from_base64)).collect();
            Arc::new(bytes)
        }
        LogicalType::TimestampLtz(_) => {
            let local: Vec<Json> = cells
                .iter()
                .map(|cell| cell.as_str().map_or(Json::Null, |text| Json::from(text.trim_end_matches('Z'))))
                .collect();
            let utc = EvalContext { zone: chrono_tz::UTC, ..CONTEXT };
            values::column(&local.iter().collect::<Vec<_>>(), logical, &utc)
        }
        _ => values::column(&cells.iter().collect::<Vec<_>>(), logical, &CONTEXT),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.find(char::from(byte))) {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

struct Rows {
    ddl: String,
    rows: Vec<Json>,
}

impl Rows {
    /// Plans `SELECT text FROM t`; gives the plan and the type.
    fn plan(&self, text: &str) -> Result<(StreamPlan, String), String> {
        let script = format!(
            "CREATE TABLE t ({}) WITH ('connector' = 'filesystem', 'path' = '/t', 'format' = 'json');\nSELECT {text} AS x FROM t",
            self.ddl
        );
        let options = BTreeMap::from([("table.local-time-zone".to_owned(), "America/New_York".to_owned())]);
        let planned = Planner::new(&Connectors, options, &|_| None).plan(&script).map_err(|error| error.message)?;
        match planned.statements.into_iter().next() {
            Some(PlannedStatement::Job { plan, kind: JobKind::Select { schema } }) => {
                Ok((*plan, schema.fields[0].data_type.to_string()))
            }
            _ => Err("no job".to_owned()),
        }
    }

    /// Runs a plan without exchanges over these rows.
    fn run(&self, plan: &StreamPlan, rows: &[Json]) -> Result<ArrayRef, String> {
        let mut batch = RecordBatch::new_empty(Schema::default().to_arrow());
        for operator in &plan.operators {
            match &operator.kind {
                OperatorKind::Source(_) => {
                    let columns: Vec<ArrayRef> = operator
                        .schema
                        .fields
                        .iter()
                        .map(|field| column(rows, &field.name, &field.data_type.logical))
                        .collect();
                    batch = of(&operator.schema, columns, rows.len());
                }
                OperatorKind::Calc(calc) => {
                    if let Some(filter) = &calc.filter {
                        let filter = Predicate::compile(filter, batch.schema_ref()).map_err(|e| e.to_string())?;
                        let mask = filter.select(&batch, &CONTEXT).map_err(|e| e.reason)?;
                        batch = filter_record_batch(&batch, &mask).unwrap();
                    }
                    let columns = evaluate(&calc.projection, &batch, &CONTEXT)?;
                    batch = of(&operator.schema, columns, batch.num_rows());
                }
                _ => {}
            }
        }
        Ok(batch.column(0).clone())
    }

    /// The text of the value for each row, `\E` where it fails.
    fn answers(&self, text: &str) -> Result<(String, Vec<String>, String), String> {
        let (_, data_type) = self.plan(text)?;
        let (plan, _) = self.plan(&format!("CAST({text} AS STRING)"))?;
        let shown = |array: ArrayRef| -> Vec<String> {
            let texts = array.as_string::<i32>();
            (0..texts.len())
                .map(|row| if texts.is_null(row) { "\\N".into() } else { escaped(texts.value(row)) })
                .collect()
        };
        match self.run(&plan, &self.rows) {
            Ok(array) => Ok((data_type, shown(array), String::new())),
            Err(_) => {
                let mut reason = String::new();
                let rows = self.rows.iter().flat_map(|row| match self.run(&plan, std::slice::from_ref(row)) {
                    Ok(array) => shown(array),
                    Err(why) => {
                        reason = why;
                        vec!["\\E".to_owned()]
                    }
                });
                let rows = rows.collect();
                Ok((data_type, rows, reason))
            }
        }
    }
}

fn of(schema: &Schema, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.to_arrow(), columns, &options).unwrap()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// Types are compared without what is NOT NULL in them, which only matters for what may be written where.
fn comparable(data_type: &str) -> String {
    if data_type.starts_with("INTERVAL") { "INTERVAL".to_owned() } else { data_type.replace(" NOT NULL", "") }
}

/// Whether two doubles differ in their last digit only, as some of the C library and of Java do.
fn close(ours: &str, theirs: &str) -> bool {
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) => ours.contains('.') && (a - b).abs() <= a.abs() * 5e-16,
        _ => false,
    }
}

#[derive(Default)]
struct Report {
    compared: usize,
    values: usize,
    failing: usize,
    named: usize,
    nullability: usize,
    problems: Vec<String>,
}

fn compare(rows: &Rows, line: &str, report: &mut Report) {
    let mut parts = line.split('\t');
    let (expression, theirs) = (parts.next().unwrap(), parts.next().unwrap_or_default());
    let rest: Vec<&str> = parts.collect();
    let (answers, reason) = match rest.split_last() {
        Some((last, answers)) if last.starts_with("# ") => (answers.to_vec(), *last),
        _ => (rest, ""),
    };
    report.compared += 1;
    let ours = rows.answers(expression);
    let Report { problems, named, values, failing, nullability, .. } = report;
    let mut problem = |what: String| {
        let text = format!("{expression}\n    {what}");
        // Years before 1582 have another calendar in parts of Java.
        let old =
            ["0001-", "0000-", "000/-", "-621357", "00//-", "'+0)-", " 0001"].iter().any(|part| what.contains(part));
        if old || DIFFERENCES.iter().any(|(part, _)| text.contains(part)) {
            *named += 1;
        } else {
            problems.push(text);
        }
    };
    match ours {
        Err(_) if theirs == "\\E" => *failing += 1,
        Err(why) if answers.iter().all(|answer| *answer == "\\E") && !why.is_empty() => *failing += 1,
        Err(why) => problem(format!("refused: {why}; Flink has {theirs} {answers:?} {reason}")),
        Ok((data_type, texts, _)) if theirs == "\\E" => {
            problem(format!("has {data_type} {texts:?}, Flink refuses it: {reason}"));
        }
        Ok((data_type, texts, why)) => {
            *values += texts.len();
            *failing += usize::from(texts.iter().any(|text| text == "\\E"));
            if comparable(&data_type) != comparable(theirs) {
                problem(format!("is {data_type}, Flink has {theirs}"));
            } else if data_type != theirs {
                *nullability += 1;
            }
            for (row, (our, their)) in texts.iter().zip(&answers).enumerate() {
                if our != their && !close(our, their) {
                    problem(format!("row {}: {our:?}, Flink has {their:?} {why} {reason}", row + 1));
                    break;
                }
            }
        }
    }
}

#[test]
fn random_expressions_answer_as_flink_did() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql/expressions.txt");
    let path = std::env::var("EXPRESSIONS").unwrap_or_else(|_| committed.to_owned());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines().skip(1);
    let ddl = lines.next().unwrap().to_owned();
    let rows: Vec<Json> =
        lines.by_ref().take_while(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = Rows { ddl, rows };
    let mut report = Report::default();
    for line in lines {
        compare(&rows, line, &mut report);
    }
    println!(
        "{} expressions compared ({} values; {} fail in both), {} differ on purpose, {} in what is NOT NULL only",
        report.compared, report.values, report.failing, report.named, report.nullability
    );
    if let Ok(file) = std::env::var("EXPRESSIONS_REPORT") {
        std::fs::write(file, report.problems.join("\n")).unwrap();
    }
    let shown: Vec<String> = report.problems.iter().take(40).cloned().collect();
    assert!(report.problems.is_empty(), "{} differences\n{}", report.problems.len(), shown.join("\n"));
}
