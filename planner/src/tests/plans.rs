//! Plans of scripts, shape by shape.

use std::collections::BTreeMap;

use expect_test::expect;
use tidemill_common::plan::{OperatorKind, StreamPlan};

use super::{BIDS, Connectors, check_plan, plan};
use crate::session::{PlannedStatement, Planner};

const TUMBLE: &str = "TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))";

/// Operators' names and inputs of the only job, one a line.
fn shape(query: &str, parallelism: u32) -> String {
    let plans = plan(&format!("{BIDS}{query}"), parallelism).unwrap_or_else(|error| panic!("{error}"));
    plans.iter().map(outline).collect()
}

fn outline(plan: &StreamPlan) -> String {
    plan.operators
        .iter()
        .map(|operator| {
            let inputs: Vec<String> =
                operator.inputs.iter().map(|edge| format!("{} {}", edge.from, edge.partitioning)).collect();
            format!("[{}] x{} {} <- {}\n", operator.id, operator.parallelism, operator.name, inputs.join(", "))
        })
        .collect()
}

#[test]
fn only_what_is_read_is_decoded() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[bidder, price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 Calc(select=[channel, ts AS window_start, price AS n, 1 AS total], where=[(bidder > 5)]) <- 0 forward
        [2] x1 Sink(table=[out1], fields=[channel, window_start, n, total]) <- 1 forward
    "#]]
    .assert_eq(&shape(
        "INSERT INTO out1 SELECT channel, ts, price, 1 FROM (SELECT *, price * 2 AS twice FROM bids) WHERE bidder > 5",
        1,
    ));
}

#[test]
fn nested_projections_and_filters_are_one_calc() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 Calc(select=[UPPER(channel) AS EXPR$0, ((price + 1) * 2) AS q, ts], where=[(((price > 0) AND ((price + 1) < 100)) AND (((price + 1) * 2) <> 7))]) <- 0 forward
        [2] x1 Sink(table=[select], fields=[EXPR$0, q, ts]) <- 1 forward
    "#]].assert_eq(&shape(
        "WITH a AS (SELECT channel, price + 1 AS p, ts FROM bids WHERE price > 0), b AS (SELECT channel, p * 2 AS q, ts FROM a WHERE p < 100) \
         SELECT UPPER(channel), q, ts FROM b WHERE q <> 7",
        1,
    ));
}

#[test]
fn filters_move_below_unions() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[bidder, price, channel, url, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 Calc(select=[channel, price], where=[(price > 10)]) <- 0 forward
        [2] x1 Calc(select=[url, bidder], where=[(bidder > 10)]) <- 0 forward
        [3] x1 Calc(select=['none' AS channel, 0 AS price], where=[FALSE]) <- 0 forward
        [4] x1 Union(fields=[channel, price]) <- 1 forward, 2 forward, 3 forward
        [5] x1 Sink(table=[select], fields=[channel, price]) <- 4 forward
    "#]].assert_eq(&shape(
        "SELECT * FROM (SELECT channel, price FROM bids UNION ALL SELECT url, bidder FROM bids UNION ALL SELECT 'none', 0 FROM bids) WHERE price > 10",
        1,
    ));
}

#[test]
fn filters_move_below_window_functions_as_far_as_they_do_not_read_the_window() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[auction, bidder, price, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 Calc(select=[auction, price, ts], where=[((price > 10) AND (bidder > 0))]) <- 0 forward
        [2] x1 WindowTableFunction(window=[TUMBLE(ts, 10000 ms)]) <- 1 forward
        [3] x1 Calc(select=[price, window_start], where=[((window_start > ts) AND (auction > 1))]) <- 2 forward
        [4] x1 Sink(table=[select], fields=[price, window_start]) <- 3 forward
    "#]].assert_eq(&shape(
        &format!("SELECT price, window_start FROM {TUMBLE} WHERE price > 10 AND bidder > 0 AND window_start > ts AND auction > 1"),
        1,
    ));
}

#[test]
fn constants_are_folded() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[price, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 Calc(select=[(price + 5) AS EXPR$0, 12 AS EXPR$1, 'AB' AS EXPR$2, (price > 1) AS EXPR$3]) <- 0 forward
        [2] x1 Sink(table=[select], fields=[EXPR$0, EXPR$1, EXPR$2, EXPR$3]) <- 1 forward
    "#]]
    .assert_eq(&shape(
        "SELECT price + (2 * 3 - 1), CAST('12' AS INT), UPPER('a' || 'b'), TRUE AND price > 1 FROM bids WHERE 1 = 1",
        1,
    ));
}

#[test]
fn without_keys_one_subtask_aggregates() {
    expect![[r#"
        [0] x4 Source(table=[bids], fields=[price, url, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x4 LocalWindowAggregate(window=[TUMBLE(ts, 10000 ms)], select=[AVG(price), MIN(url)]) <- 0 forward
        [2] x1 GlobalWindowAggregate(window=[TUMBLE($slice_end, 10000 ms)], select=[AVG, MIN]) <- 1 global
        [3] x1 Calc(select=[window_end, $agg0 AS EXPR$1, $agg1 AS EXPR$2]) <- 2 forward
        [4] x1 Sink(table=[select], fields=[window_end, EXPR$1, EXPR$2]) <- 3 forward
    "#]]
    .assert_eq(&shape(
        &format!("SELECT window_end, AVG(price), MIN(url) FROM {TUMBLE} GROUP BY window_start, window_end"),
        4,
    ));
}

#[test]
fn distinct_and_approximate_calls_are_not_split() {
    expect![[r#"
        [0] x2 Source(table=[bids], fields=[bidder, price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x2 Calc(select=[channel, bidder, CAST(price AS DOUBLE) AS $f2, price, (price > 100) AS $f4, ts]) <- 0 forward
        [2] x2 WindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(DISTINCT bidder), PERCENTILE 0.95($f2), SUM(price) FILTER $f4]) <- 1 hash[0]
        [3] x2 Calc(select=[channel, $agg0 AS EXPR$1, $agg1 AS EXPR$2, $agg2 AS EXPR$3]) <- 2 forward
        [4] x2 Sink(table=[select], fields=[channel, EXPR$1, EXPR$2, EXPR$3]) <- 3 forward
    "#]].assert_eq(&shape(
        &format!(
            "SELECT channel, COUNT(DISTINCT bidder), PERCENTILE(price, 0.95), SUM(price) FILTER (WHERE price > 100) FROM {TUMBLE} GROUP BY channel, window_start, window_end"
        ),
        2,
    ));
}

#[test]
fn the_phase_strategy_is_obeyed() {
    let query = format!("SELECT channel, SUM(price) FROM {TUMBLE} GROUP BY channel, window_start, window_end");
    let phases = |strategy: &str, parallelism| {
        let set = format!("SET 'table.optimizer.agg-phase-strategy' = '{strategy}';");
        let outline = shape(&format!("{set}{query}"), parallelism);
        outline.matches("WindowAggregate").count()
    };
    assert_eq!((phases("AUTO", 1), phases("AUTO", 2)), (1, 2));
    assert_eq!((phases("ONE_PHASE", 1), phases("ONE_PHASE", 2)), (1, 1));
    assert_eq!((phases("TWO_PHASE", 1), phases("TWO_PHASE", 2)), (2, 2));
}

#[test]
fn keys_and_calls_may_be_expressions() {
    expect![[r#"
        [0] x2 Source(table=[bids], fields=[bidder, price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x2 Calc(select=[UPPER(channel) AS $f0, CAST((bidder % 10) AS INT) AS $f1, (price * 2) AS $f2, price, ts]) <- 0 forward
        [2] x2 LocalWindowAggregate(groupBy=[$f0, $f1], window=[TUMBLE(ts, 10000 ms)], select=[SUM($f2), COUNT(*), MAX(price), MIN(price)]) <- 1 forward
        [3] x2 GlobalWindowAggregate(groupBy=[$f0, $f1], window=[TUMBLE($slice_end, 10000 ms)], select=[SUM, COUNT, MAX, MIN]) <- 2 hash[0, 1]
        [4] x2 Calc(select=[($f0 || '!') AS EXPR$0, $f1 AS EXPR$1, ($agg0 / $agg1) AS EXPR$2, ($agg2 - $agg3) AS EXPR$3, window_time], where=[(($agg0 > 100) AND ($f1 <> 3))]) <- 3 forward
        [5] x2 Sink(table=[select], fields=[EXPR$0, EXPR$1, EXPR$2, EXPR$3, window_time]) <- 4 forward
    "#]].assert_eq(&shape(
        &format!(
            "SELECT UPPER(channel) || '!', bidder % 10, SUM(price * 2) / COUNT(*), MAX(price) - MIN(price), window_time FROM {TUMBLE} \
             GROUP BY UPPER(channel), bidder % 10, window_start, window_end, window_time HAVING SUM(price * 2) > 100 AND bidder % 10 <> 3"
        ),
        2,
    ));
}

#[test]
fn an_aggregation_over_another_keeps_its_window() {
    expect![[r#"
        [0] x2 Source(table=[bids], fields=[channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x2 LocalWindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(*)]) <- 0 forward
        [2] x2 GlobalWindowAggregate(groupBy=[channel], window=[TUMBLE($slice_end, 10000 ms)], select=[COUNT]) <- 1 hash[0]
        [3] x2 Calc(select=[$agg0 AS n, window_start, window_end]) <- 2 forward
        [4] x1 WindowAggregate(window=[ATTACHED(window_start, window_end)], select=[MAX(n)]) <- 3 global
        [5] x1 Calc(select=[window_start, window_end, $agg0 AS EXPR$2]) <- 4 forward
        [6] x1 Sink(table=[select], fields=[window_start, window_end, EXPR$2]) <- 5 forward
    "#]].assert_eq(&shape(
        &format!(
            "SELECT window_start, window_end, MAX(n) FROM (SELECT channel, window_start, window_end, COUNT(*) AS n FROM {TUMBLE} GROUP BY channel, window_start, window_end) \
             GROUP BY window_start, window_end"
        ),
        2,
    ));
}

#[test]
fn a_window_over_the_time_of_another() {
    expect![[r#"
        [0] x2 Source(table=[bids], fields=[channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x2 LocalWindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(*)]) <- 0 forward
        [2] x2 GlobalWindowAggregate(groupBy=[channel], window=[TUMBLE($slice_end, 10000 ms)], select=[COUNT]) <- 1 hash[0]
        [3] x2 Calc(select=[channel, $agg0 AS n, window_time AS wt]) <- 2 forward
        [4] x2 LocalWindowAggregate(groupBy=[channel], window=[CUMULATE(wt, 60000 ms, 3600000 ms)], select=[SUM(n)]) <- 3 forward
        [5] x2 GlobalWindowAggregate(groupBy=[channel], window=[CUMULATE($slice_end, 60000 ms, 3600000 ms)], select=[SUM]) <- 4 hash[0]
        [6] x2 Calc(select=[channel, window_end, $agg0 AS EXPR$2]) <- 5 forward
        [7] x2 Sink(table=[select], fields=[channel, window_end, EXPR$2]) <- 6 forward
    "#]].assert_eq(&shape(
        &format!(
            "CREATE VIEW small AS SELECT channel, window_time AS wt, COUNT(*) AS n FROM {TUMBLE} GROUP BY channel, window_start, window_end, window_time;
             SELECT channel, window_end, SUM(n) FROM TABLE(CUMULATE(TABLE small, DESCRIPTOR(wt), INTERVAL '1' MINUTE, INTERVAL '1' HOUR)) GROUP BY channel, window_start, window_end"
        ),
        2,
    ));
}

#[test]
fn a_filter_on_the_window_keeps_the_window_function() {
    expect![[r#"
        [0] x1 Source(table=[bids], fields=[channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x1 WindowTableFunction(window=[TUMBLE(ts, 10000 ms)]) <- 0 forward
        [2] x1 Calc(select=[channel, window_start, window_end], where=[(window_start > TIMESTAMP 1704067200000 ms)]) <- 1 forward
        [3] x1 WindowAggregate(groupBy=[channel], window=[ATTACHED(window_start, window_end)], select=[COUNT(*)]) <- 2 hash[0]
        [4] x1 Calc(select=[channel, $agg0 AS EXPR$1]) <- 3 forward
        [5] x1 Sink(table=[select], fields=[channel, EXPR$1]) <- 4 forward
    "#]].assert_eq(&shape(
        &format!("SELECT channel, COUNT(*) FROM {TUMBLE} WHERE window_start > TIMESTAMP '2024-01-01 00:00:00' GROUP BY channel, window_start, window_end"),
        1,
    ));
}

#[test]
fn session_windows_by_their_partition() {
    expect![[r#"
        [0] x2 Source(table=[bids], fields=[channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)]) <- 
        [1] x2 WindowAggregate(groupBy=[channel], window=[SESSION(ts, 30000 ms)], select=[COUNT(*)]) <- 0 hash[0]
        [2] x2 Calc(select=[channel, window_start, $agg0 AS EXPR$2]) <- 1 forward
        [3] x2 Sink(table=[select], fields=[channel, window_start, EXPR$2]) <- 2 forward
    "#]].assert_eq(&shape(
        "SELECT channel, window_start, COUNT(*) FROM TABLE(SESSION(DATA => TABLE bids PARTITION BY channel, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '30' SECOND)) \
         GROUP BY channel, window_start, window_end",
        2,
    ));
}

#[test]
fn processing_time_and_local_time_windows() {
    expect![[r#"
        [0] x2 Source(table=[s], fields=[k, at_], watermark=[at_ AS (at_ - INTERVAL 1000 ms)]) <- 
        [1] x2 LocalWindowAggregate(groupBy=[k], window=[TUMBLE(at_ in Europe/Berlin, 86400000 ms)], select=[COUNT(*)]) <- 0 forward
        [2] x2 GlobalWindowAggregate(groupBy=[k], window=[TUMBLE($slice_end in Europe/Berlin, 86400000 ms)], select=[COUNT]) <- 1 hash[0]
        [3] x2 Calc(select=[k AS channel, window_start, $agg0 AS n, 0 AS total]) <- 2 forward
        [4] x2 Sink(table=[out1], fields=[channel, window_start, n, total]) <- 3 forward
        [5] x2 Calc(select=[k]) <- 0 forward
        [6] x2 WindowAggregate(groupBy=[k], window=[TUMBLE(processing time in Europe/Berlin, 60000 ms)], select=[COUNT(*)]) <- 5 hash[0]
        [7] x2 Calc(select=[k AS channel, window_start, $agg0 AS n, 1 AS total]) <- 6 forward
        [8] x2 Sink(table=[out1], fields=[channel, window_start, n, total]) <- 7 forward
    "#]].assert_eq(&shape(
        "SET 'table.local-time-zone' = 'Europe/Berlin';
         CREATE TABLE s (k STRING, ms BIGINT, at_ AS TO_TIMESTAMP_LTZ(ms, 3), pt AS PROCTIME(), WATERMARK FOR at_ AS at_ - INTERVAL '1' SECOND) \
           WITH ('connector' = 'filesystem', 'path' = '/s', 'format' = 'json', 'scan.watermark.idle-timeout' = '3 s');
         EXECUTE STATEMENT SET BEGIN
           INSERT INTO out1 SELECT k, window_start, COUNT(*), 0 FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(at_), INTERVAL '1' DAY)) GROUP BY k, window_start, window_end;
           INSERT INTO out1 SELECT k, window_start, COUNT(*), 1 FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(pt), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end;
         END;",
        2,
    ));
}

#[test]
fn allowed_lateness_makes_an_upsert_stream() {
    check_plan(
        "SET 'table.exec.emit.allow-lateness' = '1 min';
         CREATE TABLE kept (window_start TIMESTAMP(3), channel STRING, n BIGINT, PRIMARY KEY (channel, window_start) NOT ENFORCED) WITH ('connector' = 'print');
         INSERT INTO kept SELECT window_start, channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         WHERE price > 10 GROUP BY channel, window_start, window_end HAVING channel <> 'x'",
        2,
        expect![[r#"
            == Stream plan of insert-into_kept (max-parallelism 128) ==
            [0] Source(table=[bids], fields=[price, channel, ts], watermark=[ts AS (ts - INTERVAL 4000 ms)])
                  parallelism 2
                  changelog   insert-only
                  state       splits Splits[]
                  schema      price BIGINT, channel STRING, ts TIMESTAMP(3)
            [1] Calc(select=[channel, ts], where=[(price > 10)])
                  parallelism 2
                  input       [0] forward
                  changelog   insert-only
                  schema      channel STRING, ts TIMESTAMP(3)
            [2] LocalWindowAggregate(groupBy=[channel], window=[TUMBLE(ts, 10000 ms)], select=[COUNT(*)])
                  parallelism 2
                  input       [1] forward
                  changelog   insert-only
                  schema      channel STRING, $acc0_0 BIGINT, $slice_end BIGINT NOT NULL
            [3] GlobalWindowAggregate(groupBy=[channel], window=[TUMBLE($slice_end, 10000 ms)], select=[COUNT])
                  parallelism 2
                  input       [2] hash(channel)
                  changelog   upsert
                  upsert key  channel, window_start, window_end
                  state       window-aggregate Map[STRING] per window
                  schema      channel STRING, $agg0 BIGINT NOT NULL, window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP(3) NOT NULL
            [4] Calc(select=[window_start, channel, $agg0 AS EXPR$2], where=[(channel <> 'x')])
                  parallelism 2
                  input       [3] forward
                  changelog   upsert
                  schema      window_start TIMESTAMP(3) NOT NULL, channel STRING, EXPR$2 BIGINT NOT NULL
            [5] Sink(table=[kept], fields=[window_start, channel, EXPR$2])
                  parallelism 2
                  input       [4] hash(channel, window_start)
        "#]],
    );
}

#[test]
fn values_and_columns_of_an_insert() {
    expect![[r#"
        [0] x1 Source(table=[values], fields=[]) <- 
        [1] x1 Calc(select=[1 AS EXPR$0, 'a' AS EXPR$1]) <- 0 forward
        [2] x1 Calc(select=[2 AS EXPR$0, 'b' AS EXPR$1]) <- 0 forward
        [3] x1 Union(fields=[EXPR$0, EXPR$1]) <- 1 forward, 2 forward
        [4] x1 Calc(select=[CAST(EXPR$1 AS STRING) AS channel, NULL AS window_start, CAST(EXPR$0 AS BIGINT) AS n, NULL AS total]) <- 3 forward
        [5] x1 Sink(table=[out1], fields=[channel, window_start, n, total]) <- 4 forward
    "#]].assert_eq(&shape("INSERT INTO out1 (n, channel) VALUES (1, 'a'), (2, 'b')", 2));
}

#[test]
fn each_insert_is_a_job_and_explain_is_none() {
    let script = format!(
        "{BIDS}SET 'pipeline.name' = 'mine'; INSERT INTO out1 SELECT channel, ts, 1, 2 FROM bids; RESET; EXPLAIN SELECT price FROM bids; SELECT price FROM bids;"
    );
    let planned = Planner::new(&Connectors, BTreeMap::new(), &|_| None).plan_script(&script, "job.sql").unwrap();
    let kinds: Vec<String> = planned
        .statements
        .iter()
        .map(|statement| match statement {
            PlannedStatement::Job { plan, kind } => format!("{} {kind:?}", plan.name),
            PlannedStatement::Text(text) => text.lines().next().unwrap_or_default().to_owned(),
        })
        .collect();
    expect![[r#"
        [
            "mine Insert",
            "== Stream plan of select (max-parallelism 128) ==",
            "select Select { schema: Schema { fields: [Field { name: \"price\", data_type: DataType { logical: BigInt, nullable: true } }] } }",
        ]
    "#]].assert_debug_eq(&kinds);
}

#[test]
fn options_of_flink_without_effect_are_warned_of() {
    let script = format!(
        "{BIDS}SET 'execution.checkpointing.max-concurrent-checkpoints' = '2';\nSET 'table.exec.mini-batch.enabled' = 'true';\nSELECT price FROM bids;"
    );
    let options = BTreeMap::from([("state.checkpoint-storage".to_owned(), "filesystem".to_owned())]);
    let planned = Planner::new(&Connectors, options, &|_| None).plan_script(&script, "job.sql").unwrap();
    expect![[r#"
        [
            "option 'state.checkpoint-storage' has no effect: checkpoints are always kept in files",
            "line 4: option 'execution.checkpointing.max-concurrent-checkpoints' has no effect: one checkpoint is taken at a time",
            "line 5: option 'table.exec.mini-batch.enabled' has no effect: rows always move in batches",
        ]
    "#]].assert_debug_eq(&planned.warnings);
}

#[test]
fn barriers_that_would_overtake_in_vain_are_warned_of() {
    let warnings = |mode: &str| {
        let script = format!(
            "{BIDS}SET 'execution.checkpointing.unaligned.enabled' = 'true';\nSET 'execution.checkpointing.mode' = '{mode}';\nSELECT price FROM bids;"
        );
        let planned = Planner::new(&Connectors, BTreeMap::new(), &|_| None).plan_script(&script, "job.sql");
        planned.unwrap().warnings
    };
    assert!(warnings("EXACTLY_ONCE").is_empty());
    let warned = warnings("AT_LEAST_ONCE");
    assert!(warned.len() == 1 && warned[0].contains("EXACTLY_ONCE"), "{warned:?}");
}

#[test]
fn uids_depend_on_what_operators_do_not_on_the_rest_of_the_script() {
    let uids = |text: &str, parallelism| -> Vec<String> {
        let plans = plan(&format!("{BIDS}{text}"), parallelism).unwrap();
        plans[0].operators.iter().map(|operator| operator.uid.clone()).collect()
    };
    let query = "INSERT INTO out1 SELECT channel, ts, price, 1 FROM bids WHERE price > 1";
    assert_eq!(uids(query, 1), uids(&format!("CREATE VIEW unused AS SELECT 1 FROM bids; {query}"), 4));
    assert_ne!(uids(query, 1), uids(&query.replace("> 1", "> 2"), 1));
    // With a local phase before it, which keeps no state, an aggregation is still the same.
    let query = format!("SELECT channel, COUNT(*) FROM {TUMBLE} GROUP BY channel, window_start, window_end");
    let (one, two) = (uids(&query, 1), uids(&query, 2));
    assert_eq!(two.len(), one.len() + 1);
    assert!(one.iter().all(|uid| two.contains(uid)), "{one:?} {two:?}");
    let query = "INSERT INTO out1 SELECT channel, ts, price, 1 FROM bids WHERE price > 1";
    let twice = plan(&format!("{BIDS}EXECUTE STATEMENT SET BEGIN {query}; {query}; END"), 1).unwrap();
    let sinks: Vec<&String> = twice[0]
        .operators
        .iter()
        .filter(|operator| matches!(operator.kind, OperatorKind::Sink(_)))
        .map(|operator| &operator.uid)
        .collect();
    assert_eq!(sinks.len(), 2);
    assert_ne!(sinks[0], sinks[1]);
}
