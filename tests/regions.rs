//! Pipelined regions of real processes: what a failure does not concern goes on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{numbers, rows, submit, wait_for, wait_for_checkpoints, wait_for_state};

/// Rows of each pipeline.
const ROWS: u64 = 12_000;
const KEYS: u64 = 7;

/// A pipeline without an exchange, each of whose subtasks is a region, and a keyed one beside it, which is
/// one region. The second source has a watermark, so that its splits are assigned at once.
fn script(directory: &Path, options: &str) -> String {
    let place = directory.display();
    let numbers = format!(
        "'connector' = 'datagen', 'rows-per-second' = '1500',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}'"
    );
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
{options}
CREATE TABLE numbers (n BIGINT) WITH ({numbers});
CREATE TABLE events (
    n BIGINT, k AS MOD(n, {KEYS}), ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts
) WITH ({numbers});
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/written', 'format' = 'json');
CREATE TABLE counted (k BIGINT, c BIGINT, total BIGINT) WITH (
    'connector' = 'filesystem', 'path' = '{place}/counted', 'format' = 'json'
);
EXECUTE STATEMENT SET BEGIN
INSERT INTO written SELECT n FROM numbers WHERE n % 2 = 0;
INSERT INTO counted SELECT k, COUNT(*), SUM(n)
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, k;
END;
"
    )
}

fn assert_exact(cluster: &Cluster, directory: &Path) {
    let expected: BTreeMap<u64, usize> = (1..=ROWS / 2).map(|half| (half * 2, 1)).collect();
    let found = numbers(&directory.join("written"));
    let wrong: Vec<_> = expected.iter().filter(|(n, _)| found.get(n) != Some(&1)).take(5).collect();
    assert!(found == expected, "{} numbers, wrong are such as {wrong:?}\n{}", found.len(), cluster.logs());
    let of_key = |k: u64| (1..=ROWS).filter(move |n| n % KEYS == k);
    let row = |k: u64| format!("{{\"k\":{k},\"c\":{},\"total\":{}}}", of_key(k).count(), of_key(k).sum::<u64>());
    let expected: BTreeMap<String, usize> = (0..KEYS).map(|k| (row(k), 1)).collect();
    assert_eq!(rows(&directory.join("counted")), expected, "{}", cluster.logs());
}

/// The newest attempt of each region.
fn newest(described: &Value) -> BTreeMap<u64, Value> {
    let attempts = described["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| (attempt["region"].as_u64().unwrap(), attempt.clone())).collect()
}

/// Rows that the sources of a pipeline have read so far, of the subtasks that are there.
fn rows_read(described: &Value, name: &str) -> u64 {
    let operators = described["operators"].as_array().unwrap();
    let sources = operators.iter().filter(|o| o["kind"] == "source" && o["name"].as_str().unwrap().contains(name));
    sources.map(|operator| operator["records_in"].as_u64().unwrap()).sum()
}

/// Kills the task manager of one of two slots, and leaves the job without the other for a while.
#[test]
fn the_region_of_another_task_manager_runs_on_while_those_of_a_dead_one_start_again() {
    let mut cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &script(place.path(), ""), &["--parallelism", "2"]);
    wait_for_checkpoints(&cluster, &job, 2);
    let described = cluster.json("describe", &[&job]).unwrap();
    assert_eq!(described["regions"], 3, "{described}");
    let before = newest(&described);
    assert_eq!(before.len(), 3, "{described}");
    cluster.kill_task_manager(0).unwrap();

    // The keyed region had subtasks on both, and of the other two one had.
    let down = wait_for(&cluster, "waiting for slots", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        (described["state"] == "CREATED").then_some(described)
    });
    let healthy: Vec<(u64, Value)> =
        newest(&down).into_iter().filter(|(_, attempt)| attempt["end_ms"].is_null()).collect();
    let [(healthy, attempt)] = &healthy[..] else { panic!("{down}\n{}", cluster.logs()) };
    assert_eq!(attempt, &before[healthy], "the same attempt, since the same time");
    assert_eq!(attempt["subtasks"], 1, "a lane: {down}");
    let ended: Vec<u64> = (0..3).filter(|region| region != healthy).collect();
    let exceptions = down["exceptions"].as_array().unwrap();
    let told: Vec<u64> = exceptions
        .iter()
        .flat_map(|exception| exception["regions"].as_array().unwrap())
        .map(|region| region.as_u64().unwrap())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(told, ended, "{down}");
    // Its rows flow, though nobody has slots for the others.
    let read = rows_read(&down, "numbers");
    wait_for(&cluster, "more rows of the healthy region", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        assert_eq!(described["state"], "CREATED", "{described}");
        (rows_read(&described, "numbers") > read + 100).then_some(())
    });
    let text = String::from_utf8(cluster.run("describe", &[&job]).unwrap().stdout).unwrap();
    assert!(text.contains("REGION") && text.contains("of 3"), "{text}");

    cluster.start_task_manager().unwrap();
    let again = wait_for_state(&cluster, &job, "RUNNING");
    let after = newest(&again);
    assert_eq!(&after[healthy], &before[healthy], "{again}");
    for region in ended {
        assert!(after[&region]["attempt"].as_u64() > before[&region]["attempt"].as_u64(), "{again}");
        assert!(after[&region]["start_ms"].as_i64() > before[&region]["start_ms"].as_i64(), "{again}");
    }
    wait_for_state(&cluster, &job, "FINISHED");
    assert_exact(&cluster, place.path());
}

#[test]
fn with_the_full_strategy_all_of_the_job_starts_again() {
    let mut cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let full = "SET 'jobmanager.execution.failover-strategy' = 'full';";
    let job = submit(&cluster, &script(place.path(), full), &["--parallelism", "2"]);
    wait_for_checkpoints(&cluster, &job, 2);
    let before = cluster.json("describe", &[&job]).unwrap();
    assert_eq!((&before["regions"], before["attempts"].as_array().unwrap().len()), (&1.into(), 1), "{before}");
    cluster.kill_task_manager(0).unwrap();
    cluster.start_task_manager().unwrap();
    wait_for(&cluster, "the next attempt", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        let attempts = described["attempts"].as_array()?;
        (described["state"] == "RUNNING" && attempts.len() == 2 && !attempts[0]["end_ms"].is_null()).then_some(())
    });
    wait_for_state(&cluster, &job, "FINISHED");
    assert_exact(&cluster, place.path());
}
