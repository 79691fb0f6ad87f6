//! Every golden script is read; errors point at their place.

use expect_test::{Expect, expect};
use sqlparser::ast::{Expr, SelectItem, SetExpr};

use super::*;
use crate::ast::{ColumnKind, StatementKind};

fn check_error(script: &str, expected: Expect) {
    let error = parse_script(script).expect_err("the script must be refused");
    expected.assert_eq(&error.render(script, "job.sql"));
}

fn column_types(script: &str) -> Vec<String> {
    match &parse_script(script).unwrap()[0].kind {
        StatementKind::CreateTable(table) => table
            .elements
            .columns
            .iter()
            .map(|column| match &column.kind {
                ColumnKind::Physical(data_type) => data_type.to_string(),
                ColumnKind::Computed(expression, _) => format!("AS {expression}"),
                ColumnKind::Metadata { data_type, .. } => format!("{data_type} METADATA"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_every_golden_script() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql");
    let mut scripts = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let script = std::fs::read_to_string(&path).unwrap();
            if let Err(error) = parse_script(&script) {
                panic!("{}", error.render(&script, &path.display().to_string()));
            }
            scripts += 1;
        }
    }
    assert!(scripts >= 30, "only {scripts} scripts");
}

#[test]
fn reads_types() {
    let types = column_types(
        "CREATE TABLE t (a ROW<x INT NOT NULL, y ARRAY<MAP<STRING, DECIMAL(10, 2)>>>, b TIMESTAMP(3) WITH LOCAL TIME ZONE, \
         c VARCHAR(5) NOT NULL, d INT ARRAY, e AS a.x + 1, f DOUBLE PRECISION, PRIMARY KEY (c) NOT ENFORCED)",
    );
    expect![[r#"
        [
            "ROW<`x` INT NOT NULL, `y` ARRAY<MAP<STRING, DECIMAL(10, 2)>>>",
            "TIMESTAMP_LTZ(3)",
            "VARCHAR(5) NOT NULL",
            "ARRAY<INT>",
            "AS a.x + 1",
            "DOUBLE",
        ]
    "#]]
    .assert_debug_eq(&types);
}

#[test]
fn casts_carry_flink_types() {
    let script = "SELECT CAST(a AS ROW<x INT>), TRY_CAST(b AS TIMESTAMP_LTZ(3)), CAST(c AS STRING), DATE '2020-01-01'";
    let statements = parse_script(script).unwrap();
    let StatementKind::Query(query) = &statements[0].kind else { panic!() };
    let SetExpr::Select(select) = &*query.body else { panic!() };
    let types: Vec<_> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Cast { data_type, .. }) => {
                Some(types::convert(data_type).unwrap().to_string())
            }
            _ => None,
        })
        .collect();
    assert_eq!(types, ["ROW<`x` INT>", "TIMESTAMP_LTZ(3)", "STRING"]);
}

#[test]
fn table_arguments_are_rewritten_in_place() {
    let script = "SELECT * FROM TABLE(SESSION(DATA => TABLE db.t PARTITION BY (a, b), TIMECOL => DESCRIPTOR(ts), \
                  GAP => INTERVAL '5' MINUTE)) x";
    let StatementKind::Query(query) = &parse_script(script).unwrap()[0].kind else { panic!() };
    expect![[r#"SELECT * FROM TABLE(SESSION(DATA => __PARTITION_BY(db.t, a, b), TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '5' MINUTE)) x"#]]
        .assert_eq(&query.to_string());
}

#[test]
fn errors_point_at_their_place() {
    check_error(
        "SELEC 1",
        expect![[r#"
        error: unknown statement 'SELEC'
         --> job.sql:1:1
          |
        1 | SELEC 1
          | ^^^^^
        hint: did you mean 'SELECT'?
    "#]],
    );
    check_error(
        "CREATE TABLE t (\n  a INTT\n)",
        expect![[r#"
        error: unknown type 'INTT'; did you mean INT?
         --> job.sql:2:5
          |
        2 |   a INTT
          |     ^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT, a STRING)",
        expect![[r#"
        error: column 'a' is defined twice
         --> job.sql:1:24
          |
        1 | CREATE TABLE t (a INT, a STRING)
          |                        ^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT, PRIMARY KEY (a))",
        expect![[r#"
        error: expected NOT ENFORCED: the engine does not check primary keys, found ')'
         --> job.sql:1:39
          |
        1 | CREATE TABLE t (a INT, PRIMARY KEY (a))
          |                                       ^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a DECIMAL(40, 2))",
        expect![[r#"
            error: DECIMAL(40, 2) does not exist: the precision is 1 to 38, the scale at most the precision
             --> job.sql:1:19
              |
            1 | CREATE TABLE t (a DECIMAL(40, 2))
              |                   ^
        "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'print', 'connector' = 'print')",
        expect![[r#"
        error: option 'connector' is given twice
         --> job.sql:1:53
          |
        1 | CREATE TABLE t (a INT) WITH ('connector' = 'print', 'connector' = 'print')
          |                                                     ^^^^^^^^^^^
    "#]],
    );
    check_error(
        "SET parallelism = 4",
        expect![[r#"
        error: expected an option in quotes: SET 'key' = 'value', found 'parallelism'
         --> job.sql:1:5
          |
        1 | SET parallelism = 4
          |     ^^^^^^^^^^^
    "#]],
    );
    check_error(
        "INSERT INTO t SELECT a FROM\n  u WHERE",
        expect![[r#"
        error: expected an expression, found the end of the statement
         --> job.sql:2:10
          |
        2 |   u WHERE
          |          ^
    "#]],
    );
    check_error(
        "INSERT INTO t SELECT \"a\" FROM u",
        expect![[r#"
        error: "a": double quotes have no meaning in Flink SQL
         --> job.sql:1:22
          |
        1 | INSERT INTO t SELECT "a" FROM u
          |                      ^^^
        hint: write a name as `a`, a string as 'a'
    "#]],
    );
    check_error(
        "SELECT 'open",
        expect![[r#"
        error: unterminated string literal
         --> job.sql:1:8
          |
        1 | SELECT 'open
          |        ^
    "#]],
    );
    check_error(
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        expect![[r#"
        error: the statement set has no END;
         --> job.sql:1:1
          |
        1 | EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;
          | ^^^^^^^
        hint: close it with 'END;'
    "#]],
    );
    check_error(
        "SELECT a b c FROM t",
        expect![[r#"
        error: expected ';' or the end of the statement, found 'c'
         --> job.sql:1:12
          |
        1 | SELECT a b c FROM t
          |            ^
    "#]],
    );
    check_error(
        "ADD JAR '/x.jar'",
        expect![[r#"
            error: ADD JAR has no meaning here: there is no Java virtual machine
             --> job.sql:1:1
              |
            1 | ADD JAR '/x.jar'
              | ^^^
            hint: leave it out: connectors and formats are built in; own functions are written in Rust, in a program that calls tidemill::main (docs/functions.md)
        "#]],
    );
}

#[test]
fn deep_nesting_is_refused() {
    let script = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    let error = parse_script(&script).unwrap_err();
    assert_eq!(error.message, "nested more than 128 levels deep");
}
