//! Whole scripts: every golden script plans, plans read well, errors point at their place.

mod limits;
mod plans;
mod refused;

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, MetadataSpec, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, StreamPlan, TableSpec};
use tidemill_common::types::LogicalType;

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
        partitions: identifier == "filesystem",
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
            info(
                "filesystem",
                vec![
                    option("path", true),
                    option("source.monitor-interval", false),
                    option("partition.default-name", false),
                    option("partition.time-extractor.timestamp-pattern", false),
                    option("partition.time-extractor.timestamp-formatter", false),
                    option("sink.partition-commit.delay", false),
                    option("sink.partition-commit.policy.kind", false),
                    option("sink.partition-commit.success-file.name", false),
                    option("sink.partition-commit.trigger", false),
                    option("sink.partition-commit.watermark-time-zone", false),
                ],
                true,
            ),
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
            "decode.json-parser.enabled",
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
            "allow-trailing-comma",
            "empty-string-as-null",
            "fail-on-missing-columns",
            "ignore-trailing-unmappable",
            "trim-spaces",
        ];
        let options = |keys: &[&'static str]| keys.iter().map(|key| option(key, false)).collect();
        let parquet = [
            "compression",
            "utc-timezone",
            "write.int64.timestamp",
            "timestamp.time.unit",
            "enable.dictionary",
            "block.size",
        ];
        vec![
            info("avro", options(&["codec", "timestamp_mapping.legacy"]), false),
            info("csv", options(&csv), false),
            info("json", options(&json), false),
            info("parquet", options(&parquet), false),
            info("raw", options(&["charset", "endianness"]), false),
        ]
    }

    fn metadata(&self, connector: &str) -> Vec<MetadataSpec> {
        let spec = |key, data_type| MetadataSpec { key, data_type, description: "of the test" };
        match connector {
            "filesystem" => vec![
                spec("file.name", || LogicalType::STRING.not_null()),
                spec("file.path", || LogicalType::STRING.not_null()),
                spec("file.size", || LogicalType::BigInt.not_null()),
                spec("file.modification-time", || LogicalType::TimestampLtz(3).not_null()),
            ],
            _ => Vec::new(),
        }
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
    let planned = Planner::new(&Connectors, options, &|_| None).plan_script(script, "job.sql")?;
    Ok(planned
        .statements
        .into_iter()
        .filter_map(|statement| match statement {
            PlannedStatement::Job { plan, .. } => Some(*plan),
            PlannedStatement::Text(_) => None,
        })
        .collect())
}

/// Golden scripts of what this planner refuses for now, each with the reason.
const REFUSED: &[(&str, &str)] = &[];

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
            let refused = REFUSED.iter().find(|(refused, _)| name == format!("{refused}.sql"));
            for parallelism in [1, 4] {
                match plan(&script, parallelism) {
                    Err(error) if refused.is_none_or(|(_, reason)| !error.contains(reason)) => {
                        failures.push(format!("{name}: {error}"))
                    }
                    Ok(_) if refused.is_some() => failures.push(format!("{name} is marked as refused, but plans")),
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
        expect![[r#"
            == Stream plan of insert-into_out1 (max-parallelism 128) ==
            [0] Source(table=[bids], fields=[price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)])
                  parallelism 1
                  changelog   insert-only
                  state       splits Splits[]
                  schema      price BIGINT, channel STRING, ts TIMESTAMP(3)
            [1] Calc(select=[channel, price, ts], where=[(price > 10)])
                  parallelism 1
                  input       [0] forward
                  changelog   insert-only
                  schema      channel STRING, price BIGINT, ts TIMESTAMP(3)
            [2] WindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(*), SUM(price)])
                  parallelism 1
                  input       [1] hash(channel)
                  changelog   insert-only
                  upsert key  channel, window_start, window_end
                  state       window-aggregate Map[STRING] per window
                  schema      channel STRING, $agg0 BIGINT NOT NULL, $agg1 BIGINT, window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP(3) NOT NULL
            [3] Calc(select=[channel, window_start, $agg0 AS EXPR$2, $agg1 AS EXPR$3], where=[($agg0 > 1)])
                  parallelism 1
                  input       [2] forward
                  changelog   insert-only
                  schema      channel STRING, window_start TIMESTAMP(3) NOT NULL, EXPR$2 BIGINT NOT NULL, EXPR$3 BIGINT
            [4] Sink(table=[out1], fields=[channel, window_start, EXPR$2, EXPR$3])
                  parallelism 1
                  input       [3] forward
        "#]],
    );
}

#[test]
fn a_window_aggregation_in_two_phases() {
    check_plan(
        "INSERT INTO out1 SELECT channel, window_start, COUNT(*), SUM(price) FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) \
         GROUP BY channel, window_start, window_end",
        2,
        expect![[r#"
            == Stream plan of insert-into_out1 (max-parallelism 128) ==
            [0] Source(table=[bids], fields=[price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)])
                  parallelism 2
                  changelog   insert-only
                  state       splits Splits[]
                  schema      price BIGINT, channel STRING, ts TIMESTAMP(3)
            [1] Calc(select=[channel, price, ts])
                  parallelism 2
                  input       [0] forward
                  changelog   insert-only
                  schema      channel STRING, price BIGINT, ts TIMESTAMP(3)
            [2] LocalWindowAggregate(groupBy=[channel], window=[HOP(ts, 2000 ms, 10000 ms)], select=[COUNT(*), SUM(price)])
                  parallelism 2
                  input       [1] forward
                  changelog   insert-only
                  schema      channel STRING, $acc0_0 BIGINT, $acc1_0 BIGINT, $slice_end BIGINT NOT NULL
            [3] GlobalWindowAggregate(groupBy=[channel], window=[HOP($slice_end, 2000 ms, 10000 ms)], select=[COUNT, SUM])
                  parallelism 2
                  input       [2] hash(channel)
                  changelog   insert-only
                  upsert key  channel, window_start, window_end
                  state       window-aggregate Map[STRING] per window
                  schema      channel STRING, $agg0 BIGINT NOT NULL, $agg1 BIGINT, window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP(3) NOT NULL
            [4] Calc(select=[channel, window_start, $agg0 AS EXPR$2, $agg1 AS EXPR$3])
                  parallelism 2
                  input       [3] forward
                  changelog   insert-only
                  schema      channel STRING, window_start TIMESTAMP(3) NOT NULL, EXPR$2 BIGINT NOT NULL, EXPR$3 BIGINT
            [5] Sink(table=[out1], fields=[channel, window_start, EXPR$2, EXPR$3])
                  parallelism 2
                  input       [4] forward
        "#]],
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
        expect![[r#"
            == Stream plan of insert-into_out1 (max-parallelism 128) ==
            [0] Source(table=[bids], fields=[bidder, price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)])
                  parallelism 2
                  changelog   insert-only
                  state       splits Splits[]
                  schema      bidder BIGINT, price BIGINT, channel STRING, ts TIMESTAMP(3)
            [1] Calc(select=[channel, bidder, price, ts])
                  parallelism 2
                  input       [0] forward
                  changelog   insert-only
                  schema      channel STRING, bidder BIGINT, price BIGINT, ts TIMESTAMP(3)
            [2] WindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(DISTINCT bidder), SUM(price)])
                  parallelism 2
                  input       [1] hash(channel)
                  changelog   insert-only
                  upsert key  channel, window_start, window_end
                  state       window-aggregate Map[STRING] per window
                  schema      channel STRING, $agg0 BIGINT NOT NULL, $agg1 BIGINT, window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP(3) NOT NULL
            [3] Calc(select=[channel, window_start, $agg0 AS n, $agg1 AS total])
                  parallelism 2
                  input       [2] forward
                  changelog   insert-only
                  schema      channel STRING, window_start TIMESTAMP(3) NOT NULL, n BIGINT NOT NULL, total BIGINT
            [4] Sink(table=[out1], fields=[channel, window_start, n, total])
                  parallelism 2
                  input       [3] forward
            [5] Calc(select=[UPPER(channel) AS channel, window_start, $agg0 AS n, 1 AS total], where=[($agg0 > 5)])
                  parallelism 2
                  input       [2] forward
                  changelog   insert-only
                  schema      channel STRING, window_start TIMESTAMP(3) NOT NULL, n BIGINT NOT NULL, total BIGINT NOT NULL
            [6] Sink(table=[out1], fields=[channel, window_start, n, total])
                  parallelism 2
                  input       [5] forward
        "#]],
    );
}

#[test]
fn errors_point_at_their_place() {
    check_error(
        "INSERT INTO out2 SELECT * FROM bids",
        expect![[r#"
        error: unknown table 'out2'
         --> job.sql:4:13
          |
        4 | INSERT INTO out2 SELECT * FROM bids
          |             ^^^^
        hint: did you mean 'out1'?
    "#]],
    );
    check_error(
        "SELECT prize FROM bids",
        expect![[r#"
        error: unknown column 'prize'
         --> job.sql:4:8
          |
        4 | SELECT prize FROM bids
          |        ^^^^^
        hint: did you mean 'price'?
    "#]],
    );
    check_error(
        "SELECT b.price FROM bids AS c",
        expect![[r#"
        error: unknown table or column 'b'
         --> job.sql:4:8
          |
        4 | SELECT b.price FROM bids AS c
          |        ^
        hint: did you mean 'c'?
    "#]],
    );
    check_error(
        "SELECT UPPPER(channel) FROM bids",
        expect![[r#"
            error: unknown function 'UPPPER'
             --> job.sql:4:8
              |
            4 | SELECT UPPPER(channel) FROM bids
              |        ^^^^^^
            hint: did you mean 'UPPER'?
        "#]],
    );
    check_error(
        "SELECT channel + 1, price || 2 FROM bids WHERE price",
        expect![[r#"
        error: a condition is BOOLEAN, this is BIGINT
         --> job.sql:4:48
          |
        4 | SELECT channel + 1, price || 2 FROM bids WHERE price
          |                                                ^^^^^
    "#]],
    );
    check_error(
        "SELECT COUNT(*) FROM bids",
        expect![[r#"
        error: aggregates without windows are not supported yet
         --> job.sql:4:1
          |
        4 | SELECT COUNT(*) FROM bids
          | ^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: group by window_start, window_end of TABLE(TUMBLE(...)); SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT channel FROM bids GROUP BY channel",
        expect![[r#"
        error: GROUP BY without a window is not supported yet
         --> job.sql:4:35
          |
        4 | SELECT channel FROM bids GROUP BY channel
          |                                   ^^^^^^^
        hint: group by window_start, window_end of TABLE(TUMBLE(...)); SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT * FROM TABLE(TUMBEL(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
        expect![[r#"
        error: unknown window function 'TUMBEL'
         --> job.sql:4:21
          |
        4 | SELECT * FROM TABLE(TUMBEL(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
          |                     ^^^^^^
        hint: did you mean 'TUMBLE'?
    "#]],
    );
    check_error(
        "SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(price), INTERVAL '1' MINUTE))",
        expect![[r#"
        error: a window needs a time attribute, but 'price' is a plain BIGINT
         --> job.sql:4:51
          |
        4 | SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(price), INTERVAL '1' MINUTE))
          |                                                   ^^^^^
        hint: use a column with WATERMARK FOR, or one AS PROCTIME()
    "#]],
    );
    check_error(
        "SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), 5))",
        expect![[r#"
        error: SIZE of TUMBLE is an interval of days to seconds
         --> job.sql:4:56
          |
        4 | SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), 5))
          |                                                        ^
        hint: write for instance INTERVAL '5' MINUTE
    "#]],
    );
    check_error(
        "SELECT * FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '7' SECOND, INTERVAL '1' MINUTE))",
        expect![[r#"
            error: HOP needs a size that is a multiple of its slide, but the size is 60000 ms and the slide 7000 ms
             --> job.sql:4:21
              |
            4 | SELECT * FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '7' SECOND, INTERVAL '1' MINUTE))
              |                     ^^^
        "#]],
    );
    check_error(
        "SELECT url, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start, window_end",
        expect![[r#"
            error: column 'url' is neither grouped nor aggregated
             --> job.sql:4:8
              |
            4 | SELECT url, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start, window_end
              |        ^^^
            hint: add it to GROUP BY, or aggregate it
        "#]],
    );
    check_error(
        "SELECT channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start",
        expect![[r#"
            error: a window aggregation groups by both window_start and window_end; without them it would update for ever, which is not supported yet
             --> job.sql:4:103
              |
            4 | SELECT channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start
              |                                                                                                       ^^^^^^^
            hint: add the missing one to GROUP BY; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
    check_error(
        "INSERT INTO out1 SELECT channel, ts, price FROM bids",
        expect![[r#"
        error: column types of query result and sink for 'out1' do not match: the query has 3 columns, 4 are expected
         --> job.sql:4:18
          |
        4 | INSERT INTO out1 SELECT channel, ts, price FROM bids
          |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: query schema: [channel: STRING, ts: TIMESTAMP(3), price: BIGINT]
        hint: sink schema:  [channel: STRING, window_start: TIMESTAMP(3), n: BIGINT, total: BIGINT]
    "#]],
    );
    check_error(
        "INSERT INTO out1 SELECT price, ts, price, price FROM bids",
        expect![[r#"
        error: column types of query result and sink for 'out1' do not match: column 'channel' at position 1: a value of type BIGINT does not convert to STRING by itself; add a CAST
         --> job.sql:4:18
          |
        4 | INSERT INTO out1 SELECT price, ts, price, price FROM bids
          |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: query schema: [price: BIGINT, ts: TIMESTAMP(3), price: BIGINT, price: BIGINT]
        hint: sink schema:  [channel: STRING, window_start: TIMESTAMP(3), n: BIGINT, total: BIGINT]
    "#]],
    );
    check_error(
        "INSERT INTO out1 (channel, nn) SELECT channel, price FROM bids",
        expect![[r#"
        error: table 'out1' has no column 'nn'
         --> job.sql:4:28
          |
        4 | INSERT INTO out1 (channel, nn) SELECT channel, price FROM bids
          |                            ^^
        hint: did you mean 'n'?
    "#]],
    );
    check_error(
        "SELECT price FROM bids UNION ALL SELECT channel FROM bids",
        expect![[r#"
        error: UNION ALL: column 1 is BIGINT on one side and STRING on the other
         --> job.sql:4:34
          |
        4 | SELECT price FROM bids UNION ALL SELECT channel FROM bids
          |                                  ^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check_error(
        "SELECT price FROM bids UNION SELECT price FROM bids",
        expect![[r#"
        error: UNION is not supported yet
         --> job.sql:4:1
          |
        4 | SELECT price FROM bids UNION SELECT price FROM bids
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: UNION ALL is; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT DISTINCT price FROM bids",
        expect![[r#"
        error: SELECT DISTINCT on a stream is not supported yet
         --> job.sql:4:1
          |
        4 | SELECT DISTINCT price FROM bids
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT price FROM bids ORDER BY price",
        expect![[r#"
        error: ORDER BY on a stream is not supported yet
         --> job.sql:4:33
          |
        4 | SELECT price FROM bids ORDER BY price
          |                                 ^^^^^
        hint: SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT price FROM bids LIMIT 5",
        expect![[r#"
        error: LIMIT on a stream is not supported yet
         --> job.sql:4:30
          |
        4 | SELECT price FROM bids LIMIT 5
          |                              ^
        hint: SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
    "#]],
    );
    check_error(
        "SELECT a.price FROM bids a JOIN bids b ON a.auction = b.auction",
        expect![[r#"
            error: only joins of two windows are supported yet
             --> job.sql:4:33
              |
            4 | SELECT a.price FROM bids a JOIN bids b ON a.auction = b.auction
              |                                 ^^^^^^
            hint: join SELECT * FROM TABLE(TUMBLE(...)) of each table ON l.window_start = r.window_start AND l.window_end = r.window_end AND ...; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
    check_error(
        "SELECT SUM(price) OVER (ORDER BY ts) FROM bids",
        expect![[r#"
        error: OVER windows are not supported yet
         --> job.sql:4:8
          |
        4 | SELECT SUM(price) OVER (ORDER BY ts) FROM bids
          |        ^^^
    "#]],
    );
    check_error(
        "SET 'parallelism.defalt' = '2'",
        expect![[r#"
        error: unknown option 'parallelism.defalt'; did you mean 'parallelism.default'?
         --> job.sql:4:5
          |
        4 | SET 'parallelism.defalt' = '2'
          |     ^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check_error(
        "SET 'parallelism.default' = 'two'",
        expect![[r#"
        error: option 'parallelism.default': 'two' is not a whole number
         --> job.sql:4:29
          |
        4 | SET 'parallelism.default' = 'two'
          |                             ^^^^^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'kafak')",
        expect![[r#"
        error: unknown connector 'kafak'
         --> job.sql:4:44
          |
        4 | CREATE TABLE t (a INT) WITH ('connector' = 'kafak')
          |                                            ^^^^^^^
        hint: one of blackhole, datagen, filesystem, print
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json')",
        expect![[r#"
        error: table 't' has no option 'path', which connector 'filesystem' needs
         --> job.sql:4:75
          |
        4 | CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json')
          |                                                                           ^
        hint: of the test
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'pth' = 'x', 'format' = 'json')",
        expect![[r#"
            error: connector 'filesystem' has no option 'pth'
             --> job.sql:4:58
              |
            4 | CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'pth' = 'x', 'format' = 'json')
              |                                                          ^^^^^
            hint: did you mean 'path'?
        "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'json.ignore-parse-error' = 'true')",
        expect![[r#"
            error: connector 'filesystem' has no option 'json.ignore-parse-error'
             --> job.sql:4:91
              |
            4 | CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'json.ignore-parse-error' = 'true')
              |                                                                                           ^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: did you mean 'json.ignore-parse-errors'?
        "#]],
    );
    check_error(
        "CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'print')",
        expect![[r#"
        error: a row time is TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p <= 3, but 'a' is INT
         --> job.sql:4:38
          |
        4 | CREATE TABLE t (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'print')
          |                                      ^
        hint: CAST it in a computed column, or convert text by TO_TIMESTAMP
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT, b AS c + 1) WITH ('connector' = 'print')",
        expect![[r#"
        error: unknown column 'c'
         --> job.sql:4:29
          |
        4 | CREATE TABLE t (a INT, b AS c + 1) WITH ('connector' = 'print')
          |                             ^
        hint: did you mean 'a'?
    "#]],
    );
    check_error(
        "SELECT CAST(price AS DATE) FROM bids",
        expect![[r#"
        error: a value of type BIGINT cannot be cast to DATE
         --> job.sql:4:13
          |
        4 | SELECT CAST(price AS DATE) FROM bids
          |             ^^^^^
    "#]],
    );
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
