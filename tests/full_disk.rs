//! Disks without room: checkpoints fail with the cause and are counted, the job goes on within its
//! tolerance, and takes checkpoints again as soon as there is room.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{numbers, submit, wait_for, wait_for_checkpoints};
use tidemill_tests::small_disk::SmallDisk;

const DISK_MB: u32 = 48;

/// Counts, with a group for each number, and copies each number once.
fn script(checkpoints: &Path, output: &Path) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{}';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '1000000';
CREATE TABLE numbers (
    n BIGINT, tag AS SHA256(CAST(n AS STRING)), ts AS TO_TIMESTAMP_LTZ(n, 3),
    WATERMARK FOR ts AS ts - INTERVAL '1' HOUR
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '3000',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000'
);
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO nowhere SELECT n FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '1' HOUR))
    GROUP BY n, tag, window_start, window_end;
INSERT INTO copies SELECT n FROM numbers;
END;
",
        checkpoints.display(),
        output.display()
    )
}

fn history(cluster: &Cluster, job: &str) -> serde_json::Value {
    cluster.json("checkpoints", &[job]).unwrap_or_default()
}

/// Fills the disk while the job runs, sees its checkpoints fail by `causes`, and makes room again.
fn fill_and_make_room(cluster: &Cluster, job: &str, disk: &SmallDisk, output: &Path, causes: &[&str]) {
    wait_for_checkpoints(cluster, job, 2);
    disk.fill().unwrap();
    let failed = wait_for(cluster, "failing", || {
        let history = history(cluster, job);
        (history["counts"]["failed"].as_u64()? >= 3).then_some(history)
    });
    let told = failed["checkpoints"].to_string();
    for cause in causes {
        assert!(told.contains(cause), "nothing of '{cause}' in {told}");
    }
    let described = cluster.json("describe", &[job]).unwrap();
    assert_eq!(described["state"], "RUNNING", "{described:#}");
    assert_eq!(described["attempts"].as_array().map(Vec::len), Some(1), "it was not restarted: {described:#}");
    let completed = failed["counts"]["completed"].as_u64().unwrap();
    disk.make_room().unwrap();
    wait_for_checkpoints(cluster, job, completed + 3);
    let before = numbers(output).len();
    wait_for(cluster, "publishing again", || (numbers(output).len() > before).then_some(()));
    let counts = numbers(output);
    assert!(counts.values().all(|count| *count == 1), "a row was published twice");
    let last = *counts.keys().last().unwrap();
    assert_eq!(counts.len() as u64, last, "of the first {last} rows some are missing");
    assert!(cluster.run("cancel", &[job]).unwrap().status.success());
}

#[test]
fn a_full_disk_of_checkpoints_fails_checkpoints_and_not_the_job() {
    let Some(disk) = SmallDisk::mount(DISK_MB).unwrap() else { return };
    let cluster = Cluster::start(1, 1).unwrap();
    let output = tempfile::tempdir().unwrap();
    let checkpoints = disk.path().join("checkpoints");
    let job = submit(&cluster, &script(&checkpoints, output.path()), &[]);
    let place = checkpoints.join(&job).display().to_string();
    fill_and_make_room(&cluster, &job, &disk, output.path(), &[&place, "No space left on device"]);
}

/// What is written to local files first, on its way into a checkpoint.
#[test]
fn a_full_disk_of_local_files_is_told_with_the_option_that_names_it() {
    let Some(disk) = SmallDisk::mount(DISK_MB).unwrap() else { return };
    let place = disk.path().display().to_string();
    let cluster = Cluster::start_with(1, 1, &[("io-tmp-dirs", &place)]).unwrap();
    let output = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &script(&output.path().join("checkpoints"), &output.path().join("out")), &[]);
    let causes = [place.as_str(), "No space left on device", "io.tmp.dirs"];
    fill_and_make_room(&cluster, &job, &disk, &output.path().join("out"), &causes);
}
