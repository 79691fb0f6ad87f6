//! Tables of files in a store of objects, which here is a light S3 server: partitioned parquet, json and avro
//! are written, committed and read back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use tidemill_tests::jobs::rows;
use tidemill_tests::services::Service;

/// Options of processes that reach the store.
fn options(url: &str) -> [(&str, &str); 5] {
    [
        ("s3-endpoint", url),
        ("s3-path-style-access", "true"),
        ("s3-access-key", "test"),
        ("s3-secret-key", "test"),
        ("s3-region", "us-east-1"),
    ]
}

/// Runs a script in one process to its end.
fn run(script: &str, store: &Service) {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let mut command = tidemill_tests::tidemill().unwrap();
    command.arg("run").arg(file.path());
    for (flag, value) in options(&store.address) {
        command.args([&format!("--{flag}"), value]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How often each row of a table of numbers is there, read from the store into `directory`.
fn read_back(definition: &str, store: &Service, directory: &Path) -> BTreeMap<String, usize> {
    let place = directory.display();
    run(
        &format!(
            "{definition}
             CREATE TABLE back (id BIGINT, part BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/back', 'format' = 'json');
             INSERT INTO back SELECT id, part FROM numbers;"
        ),
        store,
    );
    rows(&directory.join("back"))
}

fn numbers(path: &str, format: &str) -> String {
    format!(
        "CREATE TABLE numbers (id BIGINT, part BIGINT, text STRING) PARTITIONED BY (part) WITH (
             'connector' = 'filesystem', 'path' = 's3://tidemill/{path}', 'format' = '{format}',
             'sink.partition-commit.policy.kind' = 'success-file');"
    )
}

fn expected(count: u64) -> BTreeMap<String, usize> {
    (0..count).map(|id| (format!("{{\"id\":{id},\"part\":{}}}", id % 3), 1)).collect()
}

#[test]
fn partitions_in_a_store_are_written_marked_and_read() {
    let Some(store) = Service::start("s3.sh").unwrap() else { return };
    for format in ["parquet", "json", "avro"] {
        let directory = tempfile::tempdir().unwrap();
        let definition = numbers(format, format);
        run(
            &format!(
                "SET 'execution.checkpointing.interval' = '200 ms';
                 SET 'state.checkpoints.dir' = 's3://tidemill/checkpoints-{format}';
                 {definition}
                 CREATE TABLE source (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '20000',
                     'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '19999');
                 INSERT INTO numbers SELECT id, MOD(id, 3), REPEAT('x', 300) FROM source;"
            ),
            &store,
        );
        assert_eq!(read_back(&definition, &store, directory.path()), expected(20_000), "{format}");
        // The marks are there, and nothing of them is read.
        let marks = "CREATE TABLE marks (line STRING) WITH ('connector' = 'filesystem', 'format' = 'raw',";
        let place = directory.path().display();
        run(
            &format!(
                "{marks} 'path' = 's3://tidemill/{format}/*/_SUCCESS');
                 CREATE TABLE none (line STRING) WITH ('connector' = 'filesystem', 'path' = '{place}/none', 'format' = 'raw');
                 INSERT INTO none SELECT line FROM marks;"
            ),
            &store,
        );
    }
}
