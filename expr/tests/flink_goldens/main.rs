//! Every expression of the golden scripts that read one table without windows, against what Flink
//! answered. A small reader of SELECT lists stands in for the planner, so that this crate is tested
//! alone; the scripts are also run whole elsewhere.

// A test fails by a panic, also in its helpers.
#![allow(clippy::unwrap_used)]

mod parser;
mod tokens;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use serde_json::Value as Json;
use tidemill_common::expr::Expr;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_expr::bind::coerce;
use tidemill_expr::eval::{EvalContext, Program};

use parser::{Parser, Result};
use tokens::{Token, tokenize};
use values::{column, quote, to_json};

#[derive(Clone)]
struct Table {
    schema: Schema,
    batch: RecordBatch,
}

fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Schema::default().to_arrow(), Vec::new(), &options).unwrap()
}

fn evaluate(exprs: &[Expr], batch: &RecordBatch, context: &EvalContext) -> Result<Vec<ArrayRef>> {
    let program = Program::compile(exprs, batch.schema_ref()).map_err(|e| e.to_string())?;
    program.evaluate(batch, context).map_err(|e| e.reason)
}

struct Script {
    compared: usize,
    problems: Vec<String>,
}

fn run(name: &str) -> Script {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/sql");
    let sql = std::fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap();
    let expected = std::fs::read_to_string(folder.join(format!("{name}.expected"))).unwrap();
    let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in expected.lines() {
        match line.strip_prefix("== ") {
            Some(table) => current = table.to_owned(),
            None if line.starts_with('#') => {}
            None => answers.entry(current.clone()).or_default().push(line.to_owned()),
        }
    }
    let tokens = tokenize(&sql);
    let mut context = EvalContext { now_ms: 1_720_000_000_000, zone: chrono_tz::UTC };
    let (mut tables, mut sinks) = (BTreeMap::new(), BTreeMap::new());
    let mut script = Script { compared: 0, problems: Vec::new() };
    for statement in tokens.split(|token| *token == Token::Symbol(";".into())) {
        let mut parser = Parser { tokens: statement, at: 0, schema: Schema::default(), tables: &tables, context };
        if parser.take("SET") {
            if let [_, Token::Text(key), _, Token::Text(value)] = statement
                && key == "table.local-time-zone"
            {
                context.zone = value.parse().unwrap();
            }
        } else if parser.takes(&["CREATE", "TABLE"]) {
            let table = parser.name().unwrap();
            parser.expect("(").unwrap();
            let mut fields = Vec::new();
            while !parser.is(")") && !parser.is("PRIMARY") && !parser.is("WATERMARK") {
                let name = parser.name().unwrap();
                match parser.data_type() {
                    Ok(data_type) => fields.push(Field::new(name, data_type)),
                    Err(_) => break,
                }
                parser.take(",");
            }
            let path = statement.iter().find_map(|token| match token {
                Token::Text(path) if path.starts_with("${data}/") && path.ends_with(".json") => Some(path.clone()),
                _ => None,
            });
            let schema = Schema::new(fields);
            match path {
                Some(path) => {
                    let lines = std::fs::read_to_string(folder.join("data").join(&path[8..])).unwrap();
                    let rows: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    let columns = schema.fields.iter().map(|field| {
                        let values: Vec<&Json> =
                            rows.iter().map(|row| row.get(&field.name).unwrap_or(&Json::Null)).collect();
                        column(&values, &field.data_type.logical, &context)
                    });
                    let batch = RecordBatch::try_new(schema.to_arrow(), columns.collect()).unwrap();
                    tables.insert(table, Table { schema, batch });
                }
                None => {
                    sinks.insert(table, schema);
                }
            }
        } else if parser.takes(&["CREATE", "TEMPORARY", "VIEW"]) {
            let view = parser.name().unwrap();
            if parser.take("(") {
                script.problems.push(format!("{view}: column names are not read here"));
                continue;
            }
            parser.expect("AS").unwrap();
            match parser.select() {
                Ok(table) => {
                    tables.insert(view, table);
                }
                Err(reason) => script.problems.push(format!("view {view}: {reason}")),
            }
        } else if parser.takes(&["INSERT", "INTO"]) {
            let table = parser.name().unwrap();
            let result = match parser.select() {
                Ok(result) => result,
                Err(reason) => {
                    script.problems.push(format!("{table}: {reason}"));
                    continue;
                }
            };
            compare(&table, &result, &sinks[&table], &answers[&table], &context, &mut script);
        }
    }
    script
}

fn compare(table: &str, result: &Table, sink: &Schema, answers: &[String], context: &EvalContext, script: &mut Script) {
    let mut exprs = Vec::new();
    for (index, (from, to)) in result.schema.fields.iter().zip(&sink.fields).enumerate() {
        let column = Expr::column(index, from.data_type.clone());
        match coerce(column, &to.data_type) {
            Ok(expr) => exprs.push(expr),
            Err(error) => return script.problems.push(format!("{table}.{}: {}", to.name, error.message)),
        }
        // A recorded script declares exactly the type that Flink inferred, up to the length of texts.
        let (from, to_type) = (&from.data_type.logical, &to.data_type.logical);
        if from != to_type && matches!(to_type, LogicalType::Decimal(..)) && matches!(from, LogicalType::Decimal(..)) {
            script.problems.push(format!("{table}.{}: type {from}, Flink has {to_type}", to.name));
        }
    }
    let columns = evaluate(&exprs, &result.batch, context).unwrap();
    let mut lines: Vec<Vec<String>> = (0..result.batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .zip(&sink.fields)
                .map(|(column, field)| {
                    let mut out = String::new();
                    quote(&field.name, &mut out);
                    out.push(':');
                    to_json(column, &field.data_type.logical, row, &mut out);
                    out
                })
                .collect()
        })
        .collect();
    lines.sort_by_key(|line| format!("{{{}}}", line.join(",")));
    if lines.len() != answers.len() {
        script.problems.push(format!("{table}: {} rows, Flink has {}", lines.len(), answers.len()));
        return;
    }
    for (line, answer) in lines.iter().zip(answers) {
        let whole = format!("{{{}}}", line.join(","));
        script.compared += line.len();
        if whole == *answer {
            continue;
        }
        for cell in line {
            // Only the cells that are not found as they are.
            if !answer.contains(&format!("{cell},")) && !answer.contains(&format!("{cell}}}")) {
                let key = cell.split("\":").next().unwrap_or("");
                let at = answer.find(&format!("{key}\":")).unwrap_or(0);
                let theirs: String = answer[at..].chars().take(cell.chars().count() + 20).collect();
                script.problems.push(format!("{table} {}: {cell}   Flink: {theirs}", line[0]));
            }
        }
    }
}

const SCRIPTS: [&str; 17] = [
    "arithmetic_decimals",
    "arithmetic_floats",
    "arithmetic_integers",
    "casts_from_strings",
    "casts_integers",
    "casts_temporal",
    "conditionals",
    "nested_types",
    "numeric_functions",
    "predicates_strings",
    "strings_basic",
    "strings_codes",
    "strings_regex",
    "temporal_arithmetic",
    "temporal_extract",
    "temporal_format",
    "three_valued_logic",
];

#[test]
fn expressions_answer_as_flink_did() {
    let mut report = String::new();
    let mut compared = 0;
    for name in SCRIPTS {
        let script = run(name);
        compared += script.compared;
        for problem in script.problems {
            report.push_str(&format!("{name}: {problem}\n"));
        }
    }
    println!("{compared} values compared");
    assert!(report.is_empty(), "{compared} values compared\n{report}");
    assert!(compared > 8_000, "only {compared} values compared");
}
