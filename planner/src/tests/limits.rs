//! Scripts that would grow without bound are refused, long ones that do not are planned.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tidemill_common::limits::SQL_CHAIN_MAX;
use tidemill_common::plan::StreamPlan;

use super::{BIDS, plan};

/// Long enough for a loaded machine, short against what doubling would take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Plans on a thread with the stack of the job manager's threads; the plan must survive being kept.
fn plan_in_small_stack(query: String) -> Result<Vec<StreamPlan>, String> {
    let start = Instant::now();
    let planned = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            let plans = plan(&format!("{BIDS}{query}"), 2)?;
            for plan in &plans {
                let json = plan.to_json().map_err(|error| error.to_string())?;
                let read = StreamPlan::from_json(&json).map_err(|error| error.to_string())?;
                assert_eq!(&read, plan);
            }
            Ok(plans)
        })
        .unwrap()
        .join()
        .expect("no panic");
    assert!(start.elapsed() < TIME_MAX, "took {:?}", start.elapsed());
    planned
}

fn refused(query: String, reason: &str) {
    match plan_in_small_stack(query) {
        Ok(_) => panic!("must be refused: {reason}"),
        Err(error) => assert!(error.contains(reason), "{error}"),
    }
}

#[test]
fn views_that_double_are_refused() {
    let mut script = "CREATE VIEW v0 AS SELECT price FROM bids;".to_owned();
    for level in 1..40 {
        let below = level - 1;
        let _ = write!(
            script,
            "CREATE VIEW v{level} AS SELECT price + 1 AS price FROM v{below} UNION ALL SELECT price - 1 FROM v{below};"
        );
    }
    refused(script + "SELECT * FROM v39", "parts when its views are written out");
    let mut query = "WITH c0 AS (SELECT price FROM bids)".to_owned();
    for level in 1..40 {
        let below = level - 1;
        let _ = write!(query, ", c{level} AS (SELECT * FROM c{below} UNION ALL SELECT price * 2 FROM c{below})");
    }
    refused(query + " SELECT * FROM c39", "parts when its views are written out");
}

#[test]
fn expressions_that_double_are_computed_step_by_step() {
    let mut query = "SELECT price AS p FROM bids".to_owned();
    for _ in 0..60 {
        query = format!("SELECT p + p AS p FROM ({query})");
    }
    let plans = plan_in_small_stack(query).unwrap();
    assert!(plans[0].operators.len() < 40, "{} operators", plans[0].operators.len());
}

#[test]
fn operators_that_repeat_their_operands_are_bounded() {
    let mut nullif = "price".to_owned();
    let mut between = "price > 1".to_owned();
    for _ in 0..50 {
        nullif = format!("NULLIF({nullif}, 1)");
        between = format!("({between}) BETWEEN FALSE AND TRUE");
    }
    for query in [format!("SELECT {nullif} FROM bids"), format!("SELECT price FROM bids WHERE {between}")] {
        if let Err(error) = plan_in_small_stack(query) {
            assert!(error.contains("parts"), "{error}");
        }
    }
}

#[test]
fn long_conditions_are_planned() {
    let ors: Vec<String> = (0..900).map(|n| format!("price = {n}")).collect();
    let ands: Vec<String> = (0..900).map(|n| format!("price <> {n}")).collect();
    let list: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    plan_in_small_stack(format!("SELECT price FROM bids WHERE {}", ors.join(" OR "))).unwrap();
    plan_in_small_stack(format!("SELECT price FROM bids WHERE {}", ands.join(" AND "))).unwrap();
    plan_in_small_stack(format!("SELECT price FROM bids WHERE price IN ({})", list.join(", "))).unwrap();
    plan_in_small_stack(format!("SELECT price FROM bids WHERE price / 1e0 IN ({})", list[..5_000].join(", "))).unwrap();
    let unions = vec!["SELECT price, channel FROM bids"; 300].join(" UNION ALL ");
    plan_in_small_stack(unions).unwrap();
    let sum = vec!["price"; 100].join(" + ");
    plan_in_small_stack(format!("SELECT {sum} FROM bids")).unwrap();
}

#[test]
fn endless_chains_are_refused() {
    let many = 200_000;
    refused(format!("SELECT 1{} FROM bids", " + 1".repeat(many)), "chain of more than");
    refused(format!("SELECT price FROM bids WHERE price > 0{}", " AND price > 0".repeat(many)), "chain of more than");
    refused(
        format!("SELECT price FROM bids{}", " UNION ALL SELECT price FROM bids".repeat(many / 4)),
        "chain of more than",
    );
    refused(format!("SELECT {}1 FROM bids", "NOT ".repeat(SQL_CHAIN_MAX)), "");
    refused(format!("SELECT {}1 FROM bids", "- ".repeat(SQL_CHAIN_MAX)), "");
    refused(format!("SELECT price{} FROM bids", "[1]".repeat(many)), "");
    refused(format!("SELECT price{} FROM bids", ".a".repeat(many)), "");
    refused(format!("SELECT price{} FROM bids", " IS NULL".repeat(many)), "chain of more than");
    refused(format!("CREATE TABLE t (a INT{})", " ARRAY".repeat(many)), "");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = 100_000;
    refused(format!("SELECT {}price{} FROM bids", "(".repeat(deep), ")".repeat(deep)), "levels deep");
    refused(format!("{}SELECT price FROM bids{}", "SELECT * FROM (".repeat(deep), ")".repeat(deep)), "levels deep");
    refused(format!("SELECT {}price{} FROM bids", "ABS(".repeat(deep), ")".repeat(deep)), "levels deep");
    refused(format!("SELECT {}1{} FROM bids", "ARRAY[".repeat(60), "]".repeat(60)), "levels deep");
    refused(format!("SELECT CAST(NULL AS {}INT{}) FROM bids", "ARRAY<".repeat(deep), ">".repeat(deep)), "than");
    refused(format!("SELECT CAST(NULL AS {}INT{}) FROM bids", "ARRAY<".repeat(60), ">".repeat(60)), "levels deep");
    refused(format!("CREATE TABLE t (a {}INT{})", "ROW<a ".repeat(deep), ">".repeat(deep)), "than");
    refused(format!("CREATE TABLE t (a {}INT{})", "ROW<a ".repeat(60), ">".repeat(60)), "levels deep");
    plan_in_small_stack(format!("SELECT {}price{} FROM bids", "ABS(".repeat(40), ")".repeat(40))).unwrap();
    plan_in_small_stack(format!("SELECT {}1{} FROM bids", "ARRAY[".repeat(20), "]".repeat(20))).unwrap();
}
