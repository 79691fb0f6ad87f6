//! Whole scripts: every golden script plans, plans read well, errors point at their place.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, StreamPlan, TableSpec};

use crate::explain::explain;
use crate::session::{PlannedStatement, Planner};

struct Connectors;

fn option(key: &'static str, required: bool) -> OptionSpec {
    OptionSpec { key, kind: OptionKind::Text, required, default: None, description: "of the test" }
}

fn info(identifier: &'static str, options: Vec<OptionSpec>, formats: bool) -> ConnectorInfo {
    ConnectorInfo {
        identifier,
        description: "",
        options,
        prefixes: &["properties."],
        source: true,
        sink: true,
        formats,
    }
}

impl ConnectorCatalog for Connectors {
    fn connectors(&self) -> Vec<ConnectorInfo> {
        vec![
            info("blackhole", vec![], false),
            info("collect", vec![], false),
            info(
                "datagen",
                vec![option("rows-per-second", false), option("number-of-rows", false), option("fields.#.min", false)],
                false,
            ),
            info("filesystem", vec![option("path", true)], true),
            info("print", vec![], false),
        ]
    }

    fn formats(&self) -> Vec<ConnectorInfo> {
        let json = [
            "ignore-parse-errors",
            "fail-on-missing-field",
            "timestamp-format.standard",
            "encode.decimal-as-plain-number",
            "encode.ignore-null-fields",
            "map-null-key.mode",
            "map-null-key.literal",
        ];
        let csv = [
            "field-delimiter",
            "null-literal",
            "ignore-parse-errors",
            "disable-quote-character",
            "quote-character",
            "allow-comments",
            "array-element-delimiter",
            "escape-character",
        ];
        let options = |keys: &[&'static str]| keys.iter().map(|key| option(key, false)).collect();
        vec![info("csv", options(&csv), false), info("json", options(&json), false)]
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

fn plan(script: &str, parallelism: u32) -> Result<Vec<StreamPlan>, String> {
    let options = BTreeMap::from([("parallelism.default".to_owned(), parallelism.to_string())]);
    let planned = Planner::new(&Connectors, options).plan_script(script, "job.sql")?;
    Ok(planned
        .statements
        .into_iter()
        .filter_map(|statement| match statement {
            PlannedStatement::Job { plan, .. } => Some(*plan),
            PlannedStatement::Explain(_) => None,
        })
        .collect())
}

const BIDS: &str =
    "CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'filesystem', 'path' = '/d', 'format' = 'json');
CREATE TABLE out1 (channel STRING, window_start TIMESTAMP(3), n BIGINT, total BIGINT) WITH ('connector' = 'print');
";

fn check_plan(query: &str, parallelism: u32, expected: Expect) {
    let script = format!("{BIDS}{query}");
    match plan(&script, parallelism) {
        Ok(plans) => {
            let text: String = plans.iter().map(explain).collect();
            let without_uids: String =
                text.lines().filter(|l| !l.starts_with("      uid")).map(|l| format!("{l}\n")).collect();
            expected.assert_eq(&without_uids);
            for plan in plans {
                let json = plan.to_json().unwrap();
                assert_eq!(StreamPlan::from_json(&json).unwrap(), plan);
            }
        }
        Err(error) => panic!("{error}"),
    }
}

fn check_error(query: &str, expected: Expect) {
    let script = format!("{BIDS}{query}");
    expected.assert_eq(&plan(&script, 2).expect_err("must be refused"));
}

#[test]
fn every_golden_script_plans() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql");
    let mut failures = Vec::new();
    let mut scripts = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            scripts += 1;
            let script = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let refused = script.lines().any(|line| line.starts_with("-- tidemill: refused"));
            for parallelism in [1, 4] {
                match plan(&script, parallelism) {
                    Err(error) if !refused => failures.push(format!("{name}: {error}")),
                    Ok(_) if refused => failures.push(format!("{name} is marked as refused, but plans")),
                    _ => {}
                }
            }
        }
    }
    assert!(scripts >= 30, "only {scripts} scripts");
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_window_aggregation_in_one_phase() {
    check_plan(
        "INSERT INTO out1 SELECT channel, window_start, COUNT(*), SUM(price) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         WHERE price > 10 GROUP BY channel, window_start, window_end HAVING COUNT(*) > 1",
        1,
        expect![[""]],
    );
}

#[test]
fn a_window_aggregation_in_two_phases() {
    check_plan(
        "INSERT INTO out1 SELECT channel, window_start, COUNT(*), SUM(price) FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) \
         GROUP BY channel, window_start, window_end",
        2,
        expect![[""]],
    );
}

#[test]
fn a_statement_set_reads_and_aggregates_once() {
    check_plan(
        "CREATE TEMPORARY VIEW per AS SELECT channel, window_start, window_end, COUNT(DISTINCT bidder) AS n, SUM(price) AS total \
           FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY channel, window_start, window_end;
         EXECUTE STATEMENT SET BEGIN
           INSERT INTO out1 SELECT channel, window_start, n, total FROM per;
           INSERT INTO out1 SELECT UPPER(channel), window_start, n, 1 FROM per WHERE n > 5;
         END",
        2,
        expect![[""]],
    );
}

#[test]
fn errors_point_at_their_place() {
    check_error("INSERT INTO out2 SELECT * FROM bids", expect![[""]]);
    check_error("SELECT prize FROM bids", expect![[""]]);
    check_error("SELECT b.price FROM bids AS c", expect![[""]]);
    check_error("SELECT UPPPER(channel) FROM bids", expect![[""]]);
    check_error("SELECT channel + 1, price || 2 FROM bids WHERE price", expect![[""]]);
    check_error("SELECT COUNT(*) FROM bids", expect![[""]]);
    check_error("SELECT channel FROM bids GROUP BY channel", expect![[""]]);
    check_error("SELECT * FROM TABLE(TUMBEL(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE))", expect![[""]]);
    check_error("SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(price), INTERVAL '1' MINUTE))", expect![[""]]);
    check_error("SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), 5))", expect![[""]]);
    check_error(
        "SELECT * FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '7' SECOND, INTERVAL '1' MINUTE))",
        expect![[""]],
    );
    check_error(
        "SELECT url, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start, window_end",
        expect![[""]],
    );
    check_error(
        "SELECT channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start",
        expect![[""]],
    );
    check_error("INSERT INTO out1 SELECT channel, ts, price FROM bids", expect![[""]]);
    check_error("INSERT INTO out1 SELECT price, ts, price, price FROM bids", expect![[""]]);
    check_error("INSERT INTO out1 (channel, nn) SELECT channel, price FROM bids", expect![[""]]);
    check_error("SELECT price FROM bids UNION ALL SELECT channel FROM bids", expect![[""]]);
    check_error("SELECT price FROM bids UNION SELECT price FROM bids", expect![[""]]);
    check_error("SELECT DISTINCT price FROM bids", expect![[""]]);
    check_error("SELECT price FROM bids ORDER BY price", expect![[""]]);
    check_error("SELECT price FROM bids LIMIT 5", expect![[""]]);
    check_error("SELECT a.price FROM bids a JOIN bids b ON a.auction = b.auction", expect![[""]]);
    check_error("SELECT SUM(price) OVER (ORDER BY ts) FROM bids", expect![[""]]);
    check_error("SET 'parallelism.defalt' = '2'", expect![[""]]);
    check_error("SET 'parallelism.default' = 'two'", expect![[""]]);
    check_error("CREATE TABLE t (a INT) WITH ('connector' = 'kafak')", expect![[""]]);
    check_error("CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json')", expect![[""]]);
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'pth' = 'x', 'format' = 'json')",
        expect![[""]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'json.ignore-parse-error' = 'true')",
        expect![[""]],
    );
    check_error("CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'print')", expect![[""]]);
    check_error("CREATE TABLE t (a INT, b AS c + 1) WITH ('connector' = 'print')", expect![[""]]);
    check_error("SELECT CAST(price AS DATE) FROM bids", expect![[""]]);
}

#[test]
fn mutated_scripts_never_panic() {
    // A small deterministic generator: cut, repeat and swap pieces of real scripts.
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    paths.sort();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for path in paths.iter().take(20) {
        let script = std::fs::read_to_string(path).unwrap();
        let words: Vec<&str> = script.split_inclusive([' ', '\n', '(', ',']).collect();
        for _ in 0..20 {
            let mut mutated = words.clone();
            for _ in 0..1 + next(3) {
                let (a, b) = (next(mutated.len()), next(mutated.len()));
                match next(3) {
                    0 => drop(mutated.remove(a)),
                    1 => mutated.swap(a, b),
                    _ => mutated.insert(a, words[next(words.len())]),
                }
            }
            let _ = plan(&mutated.concat(), 2);
        }
    }
}
