//! What is said of own functions: lists, plans, and errors.

use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{refused as refused_by, submit, wait_for};

use crate::{plain, refused, rows, shop};

#[test]
fn own_functions_are_listed() {
    let user = rows("SHOW USER FUNCTIONS;").join("\n");
    for name in ["MOST_FREQUENT", "NET_CENTS", "SHOP_OF", "TAGS", "WEIGHTED_AVG"] {
        assert!(user.contains(name), "{user}");
    }
    assert!(!user.contains("UPPER"), "{user}");
    let all = rows("SHOW FUNCTIONS;").join("\n");
    assert!(all.contains("NET_CENTS") && all.contains("UPPER"), "{all}");
}

#[test]
fn plans_name_own_functions() {
    let script = "EXPLAIN SELECT k, window_start, WEIGHTED_AVG(v, 1) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
        GROUP BY k, window_start, window_end;";
    let table = "CREATE TABLE n (note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
        CREATE VIEW t AS SELECT tag AS k, NET_CENTS(CHAR_LENGTH(note), 7) AS v, ts FROM n, LATERAL TABLE(TAGS(note));";
    let plan = rows(&format!("{table}{script}")).join("\n");
    for part in ["Correlate(invocation=[TAGS(note)], join=[INNER])", "NET_CENTS(", "WEIGHTED_AVG(v, $f"] {
        assert!(plan.contains(part), "{part} is not in\n{plan}");
    }
}

#[test]
fn errors_say_what_was_written_and_what_to_do() {
    for (script, parts) in [
        ("SELECT NET_CENT(1, 2);", &["unknown function 'NET_CENT'", "did you mean 'NET_CENTS'?"][..]),
        ("SELECT NET_CENTS(1);", &["NET_CENTS takes 2 argument(s), not 1: NET_CENTS(BIGINT, INT)"]),
        ("SELECT NET_CENTS('1', 2);", &["argument 1 of NET_CENTS must be BIGINT, not CHAR(1); add a CAST"]),
        ("SELECT TAGS('#a');", &["TAGS is a table function: write LATERAL TABLE(TAGS(...)) in FROM"]),
        (
            "SELECT WEIGHTED_AVG(1, 2) + 1 FROM (VALUES (1)) AS t(a) WHERE WEIGHTED_AVG(1, 2) > 0;",
            &["the aggregate WEIGHTED_AVG may not stand here"],
        ),
        (
            "SELECT * FROM (VALUES ('#a')) AS v(a), LATERAL TABLE(TAG(a));",
            &["unknown table function TAG; did you mean TAGS?"],
        ),
        (
            "SELECT * FROM (VALUES ('#a')) AS v(a), LATERAL TABLE(SHOP_OF(a));",
            &["SHOP_OF is a scalar function, not a table function"],
        ),
        (
            "SELECT * FROM (VALUES ('#a')) AS v(a), LATERAL TABLE(UPPER(a));",
            &["UPPER is a function of values, not a table function"],
        ),
        ("SELECT * FROM (VALUES ('#a')) AS v(a), TABLE(TAGS(a));", &["LATERAL TABLE(...)"]),
        ("CREATE FUNCTION f AS 'com.example.F';", &["CREATE FUNCTION", "tidemill::main", "docs/functions.md"]),
        ("ADD JAR '/f.jar';", &["ADD JAR", "docs/functions.md"]),
    ] {
        let error = refused(script);
        for part in parts {
            assert!(error.contains(part), "'{part}' is not in the error of {script}\n{error}");
        }
    }
}

/// A job that calls a function for values that come with time.
fn failing(value: &str) -> String {
    format!(
        "CREATE TABLE t (n INT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '10');
        CREATE TABLE out (v BIGINT) WITH ('connector' = 'print');
        INSERT INTO out SELECT {value} FROM t;"
    )
}

#[test]
fn the_failure_of_a_function_is_the_cause_that_is_told() {
    let error = refused(&failing("NET_CENTS(1, 5 - n)"));
    assert!(error.contains("function NET_CENTS failed: a tax of -1 per cent"), "{error}");
    // It is not called for rows that do not need it.
    assert_eq!(rows(&failing("CASE WHEN n <= 5 THEN NET_CENTS(1, 5 - n) END")).len(), 11);
}

#[test]
fn the_plain_program_refuses_what_it_has_not() {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), failing("NET_CENTS(1, n)")).unwrap();
    let output = tidemill_tests::without_configuration(plain()).arg("run").arg(file.path()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("unknown function 'NET_CENTS'"), "{error}");
    assert!(shop().arg("run").arg(file.path()).output().unwrap().status.success());
}

#[test]
fn a_task_manager_of_another_program_refuses_the_job() {
    shop();
    let cluster = Cluster::start(0, 1).unwrap();
    let mut other = tidemill_tests::without_configuration(plain())
        .arg("taskmanager")
        .args(["--jobmanager-rpc-port", &cluster.port.to_string()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let job = submit(&cluster, &failing("NET_CENTS(1, n)"), &[]);
    let cause = wait_for(&cluster, "refused", || {
        let described = cluster.json("describe", &[&job]).ok()?.to_string();
        described.contains("NET_CENTS version 1").then_some(described)
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(cause.contains("a task manager runs another binary than the job manager"), "{cause}");
    assert!(cause.contains("a function that is not in this binary"), "{cause}");
    let error = refused_by(&cluster, "SELECT NET_CENT(1, 2);", &[]);
    assert!(error.contains("did you mean 'NET_CENTS'?"), "{error}");
}
