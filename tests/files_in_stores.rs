//! Tables of files in a store of objects, which here is a light S3 server: partitioned parquet and lines of json
//! are written, committed and read back, also while task managers are killed and the store fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use tidemill_tests::cluster::Cluster;
use tidemill_tests::fault_proxy::FaultProxy;
use tidemill_tests::jobs::{rows, submit, wait_for};
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

#[test]
fn every_row_is_in_the_store_once_while_task_managers_are_killed_and_the_store_fails() {
    const ROWS: u64 = 100_000;
    let Some(store) = Service::start("s3.sh").unwrap() else { return };
    let proxy = FaultProxy::start(&store.address, 12, 7).unwrap();
    let mut cluster = Cluster::start_with(2, 1, &options(&proxy.url)).unwrap();
    let definition = numbers("chaos", "json");
    let job = submit(
        &cluster,
        &format!(
            "SET 'execution.checkpointing.interval' = '300 ms';
             SET 'state.checkpoints.dir' = 'file://{}/checkpoints';
             SET 'restart-strategy.type' = 'exponential-delay';
             SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
             SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
             {definition}
             CREATE TABLE source (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}', 'rows-per-second' = '10000',
                 'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{}');
             INSERT INTO numbers SELECT id, MOD(id, 3), 'x' FROM source;",
            cluster.directory().display(),
            ROWS - 1
        ),
        &["--parallelism", "2"],
    );
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        cluster.kill_task_manager(0).unwrap();
        cluster.start_task_manager().unwrap();
    }
    wait_for(&cluster, "finished", || {
        let told = cluster.json("describe", &[&job]).ok()?;
        (told["state"] == "FINISHED").then_some(())
    });
    let directory = tempfile::tempdir().unwrap();
    let found = read_back(&definition, &store, directory.path());
    let all = expected(ROWS);
    let wrong: Vec<_> =
        all.keys().chain(found.keys()).filter(|row| all.get(*row) != found.get(*row)).take(10).collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{}", cluster.logs());
    let landed = &proxy.landed;
    let faults = [&landed.errors, &landed.busy, &landed.cut_before, &landed.cut_after];
    assert!(faults.iter().all(|landed| landed.load(Ordering::Relaxed) > 0), "a kind of fault did not land");
}
