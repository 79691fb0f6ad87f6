//! What is refused beyond the common mistakes, and how it is said.

use expect_test::expect;

use super::check_error;

#[test]
fn time_attributes_are_lost_by_expressions() {
    check_error(
        "SELECT * FROM TABLE(TUMBLE(TABLE plain, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"
            .replace(
                "SELECT",
                "CREATE VIEW plain AS SELECT CAST(ts AS TIMESTAMP(3)) + INTERVAL '0' SECOND AS ts FROM bids; SELECT",
            )
            .as_str(),
        expect![[r#"
            error: a window needs a time attribute, but 'ts' is a plain TIMESTAMP(3)
             --> job.sql:4:144
              |
            4 | CREATE VIEW plain AS SELECT CAST(ts AS TIMESTAMP(3)) + INTERVAL '0' SECOND AS ts FROM bids; SELECT * FROM TABLE(TUMBLE(TABLE plain, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
              |                                                                                                                                                ^^
            hint: declare WATERMARK FOR it in CREATE TABLE, and use the column itself: expressions and casts lose the attribute
        "#]],
    );
}

#[test]
fn watermarks() {
    check_error(
        "CREATE TABLE t (pt AS PROCTIME(), WATERMARK FOR pt AS pt) WITH ('connector' = 'print')",
        expect![[r#"
        error: 'pt' is the processing time, which needs no watermark
         --> job.sql:4:49
          |
        4 | CREATE TABLE t (pt AS PROCTIME(), WATERMARK FOR pt AS pt) WITH ('connector' = 'print')
          |                                                 ^^
        hint: remove WATERMARK FOR: windows take the column as it is
    "#]],
    );
    check_error(
        "CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR b AS b) WITH ('connector' = 'print')",
        expect![[r#"
        error: the table has no column 'b'
         --> job.sql:4:47
          |
        4 | CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR b AS b) WITH ('connector' = 'print')
          |                                               ^
        hint: did you mean 'a'?
    "#]],
    );
    check_error(
        "CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR a AS 5) WITH ('connector' = 'print')",
        expect![[r#"
        error: the watermark is INT NOT NULL, the row time TIMESTAMP(3)
         --> job.sql:4:52
          |
        4 | CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR a AS 5) WITH ('connector' = 'print')
          |                                                    ^
    "#]],
    );
}

#[test]
fn windows() {
    check_error(
        "SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE))",
        expect![[r#"
            error: TUMBLE needs an offset below its size, but the size is 60000 ms and the offset 120000 ms
             --> job.sql:4:21
              |
            4 | SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE))
              |                     ^^^^^^
        "#]],
    );
    check_error(
        "SELECT * FROM TABLE(CUMULATE(TABLE bids, DESCRIPTOR(ts), INTERVAL '7' MINUTE, INTERVAL '1' HOUR))",
        expect![[r#"
            error: CUMULATE needs a size that is a multiple of its step, but the size is 3600000 ms and the step 420000 ms
             --> job.sql:4:21
              |
            4 | SELECT * FROM TABLE(CUMULATE(TABLE bids, DESCRIPTOR(ts), INTERVAL '7' MINUTE, INTERVAL '1' HOUR))
              |                     ^^^^^^^^
        "#]],
    );
    check_error(
        "SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts)))",
        expect![[r#"
        error: TUMBLE needs its argument SIZE
         --> job.sql:4:21
          |
        4 | SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts)))
          |                     ^^^^^^
    "#]],
    );
    check_error(
        "SELECT * FROM TABLE(TUMBLE(DATA => TABLE bids, TIMCOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE))",
        expect![[r#"
            error: TUMBLE has no argument 'TIMCOL'
             --> job.sql:4:48
              |
            4 | SELECT * FROM TABLE(TUMBLE(DATA => TABLE bids, TIMCOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE))
              |                                                ^^^^^^
            hint: did you mean 'TIMECOL'?
        "#]],
    );
    check_error(
        "SELECT * FROM TABLE(SESSION(TABLE bids PARTITION BY channel, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
        expect![[r#"
            error: SESSION without an aggregation over it is not supported yet
             --> job.sql:4:1
              |
            4 | SELECT * FROM TABLE(SESSION(TABLE bids PARTITION BY channel, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check_error(
        "SELECT COUNT(*) FROM TABLE(SESSION(TABLE bids PARTITION BY channel, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        expect![[r#"
            error: every PARTITION BY column of SESSION must be a GROUP BY column too
             --> job.sql:4:116
              |
            4 | SELECT COUNT(*) FROM TABLE(SESSION(TABLE bids PARTITION BY channel, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
              |                                                                                                                    ^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn aggregates() {
    check_error(
        "SELECT price FROM bids WHERE SUM(price) > 1",
        expect![[r#"
        error: the aggregate SUM may not stand here
         --> job.sql:4:30
          |
        4 | SELECT price FROM bids WHERE SUM(price) > 1
          |                              ^^^
    "#]],
    );
    check_error(
        "SELECT SUM(COUNT(*)) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        expect![[r#"
            error: the aggregate COUNT may not stand here
             --> job.sql:4:12
              |
            4 | SELECT SUM(COUNT(*)) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
              |            ^^^^^
        "#]],
    );
    check_error(
        "SELECT SUM(channel) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        expect![[r#"
            error: SUM takes a number, not STRING
             --> job.sql:4:8
              |
            4 | SELECT SUM(channel) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
              |        ^^^
        "#]],
    );
    check_error(
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY CUBE (window_start, window_end)",
        expect![[r#"
            error: a window aggregation groups by both window_start and window_end; without them it would update for ever, which is not supported yet
             --> job.sql:4:100
              |
            4 | SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY CUBE (window_start, window_end)
              |                                                                                                    ^^^^^^^^^^^^^^^^^^^^^^^^
            hint: write GROUP BY window_start, window_end, GROUPING SETS (...): every set needs both; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
}

#[test]
fn filters_over_updating_results() {
    check_error(
        "SET 'table.exec.emit.allow-lateness' = '1 min';
         SELECT channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start, window_end HAVING COUNT(*) < 5",
        expect![[r#"
            error: WHERE or HAVING over results that update is not supported yet, but for conditions on the keys and the window
             --> job.sql:5:10
              |
            5 |          SELECT channel, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY channel, window_start, window_end HAVING COUNT(*) < 5
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: filter before the aggregation, or set 'table.exec.emit.allow-lateness' to 0
        "#]],
    );
}

#[test]
fn options() {
    check_error(
        "SET 'table.local-time-zone' = 'Europe/Berln'",
        expect![[r#"
        error: option 'table.local-time-zone': 'Europe/Berln' is no time zone, such as Europe/Berlin; did you mean 'Europe/Berlin'?
         --> job.sql:4:31
          |
        4 | SET 'table.local-time-zone' = 'Europe/Berln'
          |                               ^^^^^^^^^^^^^^
    "#]],
    );
    check_error(
        "SET 'table.exec.legacy-cast-behaviour' = 'ENABLED'",
        expect![[r#"
        error: option 'table.exec.legacy-cast-behaviour': 'ENABLED' is not one of DISABLED
         --> job.sql:4:42
          |
        4 | SET 'table.exec.legacy-cast-behaviour' = 'ENABLED'
          |                                          ^^^^^^^^^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'print', 'sink.parallelism' = 'many')",
        expect![[r#"
        error: option 'sink.parallelism': 'many' is not a whole number
         --> job.sql:4:74
          |
        4 | CREATE TABLE t (a INT) WITH ('connector' = 'print', 'sink.parallelism' = 'many')
          |                                                                          ^^^^^^
    "#]],
    );
    check_error(
        "CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR a AS a) WITH ('connector' = 'print', 'scan.watermark.alignment.group' = 'g')",
        expect![[r#"
            error: 'scan.watermark.alignment.group' and 'scan.watermark.alignment.max-drift' must be given together
             --> job.sql:4:122
              |
            4 | CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR a AS a) WITH ('connector' = 'print', 'scan.watermark.alignment.group' = 'g')
              |                                                                                                                          ^
        "#]],
    );
    check_error(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '${env:NOWHERE}/x', 'format' = 'json')",
        expect![[r#"
            error: the environment variable 'NOWHERE' is not set
             --> job.sql:4:67
              |
            4 | CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '${env:NOWHERE}/x', 'format' = 'json')
              |                                                                   ^^^^^^^^^^^^^^^^^^
            hint: set it for the job manager (or for tidemill run)
        "#]],
    );
}

#[test]
fn names() {
    check_error(
        "CREATE VIEW v AS SELECT price, price FROM bids",
        expect![[r#"
        error: the view has two columns named 'price'
         --> job.sql:4:13
          |
        4 | CREATE VIEW v AS SELECT price, price FROM bids
          |             ^
        hint: rename one with AS
    "#]],
    );
    check_error(
        "CREATE VIEW bids AS SELECT 1 FROM bids",
        expect![[r#"
            error: 'bids' is defined twice
             --> job.sql:4:13
              |
            4 | CREATE VIEW bids AS SELECT 1 FROM bids
              |             ^^^^
            hint: write IF NOT EXISTS to keep the first, or DROP it before
        "#]],
    );
    check_error(
        "INSERT INTO cat.db.out1 SELECT * FROM bids",
        expect![[r#"
            error: unknown catalog 'cat'
             --> job.sql:4:13
              |
            4 | INSERT INTO cat.db.out1 SELECT * FROM bids
              |             ^^^
            hint: there is one catalog, default_catalog; leave the catalog out
        "#]],
    );
    check_error(
        "SELECT x.* FROM bids b",
        expect![[r#"
        error: unknown table 'x'
         --> job.sql:4:8
          |
        4 | SELECT x.* FROM bids b
          |        ^
        hint: did you mean 'b'?
    "#]],
    );
    check_error(
        "SELECT Price FROM bids",
        expect![[r#"
        error: unknown column 'Price'
         --> job.sql:4:8
          |
        4 | SELECT Price FROM bids
          |        ^^^^^
        hint: did you mean 'price'?
    "#]],
    );
    check_error(
        "SELECT price.amount FROM bids",
        expect![[r#"
        error: a value of type BIGINT has no field 'amount'
         --> job.sql:4:14
          |
        4 | SELECT price.amount FROM bids
          |              ^^^^^^
    "#]],
    );
    check_error(
        "SELECT price FROM bids, out1",
        expect![[r#"
            error: several relations in FROM are not supported yet
             --> job.sql:4:25
              |
            4 | SELECT price FROM bids, out1
              |                         ^^^^
            hint: two windows can be joined by JOIN ... ON; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
    check_error(
        "SELECT (SELECT 1) FROM bids",
        expect![[r#"
            error: a subquery as a value is not supported here yet
             --> job.sql:4:9
              |
            4 | SELECT (SELECT 1) FROM bids
              |         ^^^^^^^^
            hint: in batch mode it may stand in SELECT, WHERE, HAVING and ORDER BY; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
    check_error(
        "SELECT price FROM bids WHERE price IN (SELECT 1)",
        expect![[r#"
            error: a subquery with several relations in WHERE is not supported yet
             --> job.sql:4:40
              |
            4 | SELECT price FROM bids WHERE price IN (SELECT 1)
              |                                        ^^^^^^^^
            hint: it is SELECT ... FROM one window WHERE window_start and window_end are equal to those around it; SET 'execution.runtime-mode' = 'batch' before it does this with input that ends
        "#]],
    );
}
