//! Classic bug 10 (FLINK-36421, FLINK-35217), a missing fsync: the machine loses power, what anybody was
//! told is on disk, and the output is that of a run without.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{numbers, submit};
use tidemill_tests::power::{Disk, Lost};

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(120);
const LOSSES: u64 = 3;
const ROWS: u64 = 24_000;

/// Counts from 1 to [`ROWS`], a number a millisecond of event time, each a key of its own: there is more
/// state than fits into the metadata.
fn script(place: &Path) -> String {
    let place = place.display();
    format!(
        "SET 'execution.checkpointing.interval' = '300 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (
    n BIGINT, tag AS SHA256(CAST(n AS STRING)), ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '1500',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}'
);
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/out/written', 'format' = 'json');
INSERT INTO written SELECT n FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '2' SECOND))
    GROUP BY n, tag, window_start, window_end;
"
    )
}

/// Waits until `look` says so; the job must not fail meanwhile.
fn wait(cluster: &Cluster, job: &str, what: &str, mut look: impl FnMut(&serde_json::Value) -> bool) {
    let begun = Instant::now();
    loop {
        let described = cluster.json("describe", &[job]).unwrap_or_default();
        if look(&described) {
            return;
        }
        let state = described["state"].as_str().unwrap_or_default();
        assert!(
            state != "FAILED" && begun.elapsed() < PATIENCE,
            "I4: what was acknowledged is gone: the job is {state}, not {what}\n{described:#}\n{}",
            cluster.logs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn bug_10_what_was_acknowledged_outlives_a_loss_of_power() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    let Some(mut disk) = Disk::new(&place).unwrap() else { return };
    let options = [("jobmanager-data-dir", "{directory}/jobmanager/data"), ("heartbeat-timeout", "2 s")];
    let mut cluster = Cluster::start_in(directory, 2, 1, &options, disk.environment()).unwrap();
    let job = submit(&cluster, &script(&place), &["--parallelism", "2"]);

    let mut total = Lost::default();
    for loss in 1..=LOSSES {
        let published = || numbers(&place.join("out/written")).len() as u64;
        wait(&cluster, &job, "publishing", |_| published() >= loss * ROWS / (LOSSES + 2));
        let published = published();
        let task_managers = cluster.kill_all().unwrap();
        let lost = disk.lose_power().unwrap();
        println!("{published} numbers were published, and the loss took {lost:?}");
        (total.emptied, total.forgotten) = (total.emptied + lost.emptied, total.forgotten + lost.forgotten);
        cluster.restart(task_managers).unwrap();
    }
    wait(&cluster, &job, "FINISHED", |described| described["state"] == "FINISHED");
    let found = numbers(&place.join("out/written"));
    let expected: BTreeMap<u64, usize> = (1..=ROWS).map(|n| (n, 1)).collect();
    let wrong: Vec<_> = expected.keys().filter(|n| found.get(n) != Some(&1)).take(5).collect();
    assert!(found == expected, "{} numbers, wrong are such as {wrong:?}\n{}", found.len(), cluster.logs());
    assert!(total.emptied + total.forgotten > 0, "nothing was lost: {total:?}");
}
