//! Directories that cannot be written, savepoints and checkpoints that are not what they should be: each
//! is told with its name and the way out, and nothing steps back to an older checkpoint.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME, METADATA_VERSION};
use tidemill_state::storage::checksum;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{refused, submit, wait_for, wait_for_checkpoints, wait_for_state};

/// Counts, with a group for each number, so that there is more state than fits into the metadata.
fn script(place: &Path, options: &str) -> String {
    let place = place.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
{options}
CREATE TABLE numbers (
    n BIGINT, tag AS SHA256(CAST(n AS STRING)), ts AS TO_TIMESTAMP_LTZ(n, 3),
    WATERMARK FOR ts AS ts - INTERVAL '1' HOUR
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '20000',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000'
);
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '1' HOUR))
    GROUP BY n, tag, window_start, window_end;
"
    )
}

/// A job with state, stopped with a savepoint; gives where that is.
fn savepoint(cluster: &Cluster, place: &Path) -> PathBuf {
    let job = submit(cluster, &script(place, ""), &[]);
    wait_for_checkpoints(cluster, &job, 4);
    let stopped = cluster.run("stop", &[&job, "--savepoint", &place.join("savepoints").display().to_string()]).unwrap();
    assert!(stopped.status.success(), "{}\n{}", String::from_utf8_lossy(&stopped.stderr), cluster.logs());
    let text = String::from_utf8(stopped.stdout).unwrap();
    let location = text.lines().find_map(|line| line.strip_prefix("savepoint ")).unwrap();
    wait_for_state(cluster, &job, "FINISHED");
    PathBuf::from(location.trim_start_matches("file://"))
}

fn read(savepoint: &Path) -> CheckpointMetadata {
    CheckpointMetadata::decode(&std::fs::read(savepoint.join(METADATA_NAME)).unwrap(), checksum).unwrap()
}

/// A file of state of a savepoint, beside its metadata.
fn state_file(savepoint: &Path) -> PathBuf {
    let metadata = read(savepoint);
    let subtasks = metadata.operators.iter().flat_map(|operator| &operator.subtasks);
    let mut files = subtasks.flat_map(|(_, kept)| &kept.files).filter(|file| file.inline.is_none());
    savepoint.join(&files.next().unwrap().location)
}

#[test]
fn savepoints_that_are_not_what_they_should_be_are_refused_with_the_way_out() {
    let cluster = Cluster::start(1, 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let savepoint = savepoint(&cluster, place);
    let from = savepoint.display().to_string();
    let told =
        |text: &str, arguments: &[&str]| refused(&cluster, text, &[&["--from-savepoint", &from], arguments].concat());

    // A parallelism beyond the key groups.
    let key_groups = read(&savepoint).max_parallelism;
    let error = told(&script(place, ""), &["--parallelism", &(key_groups + 1).to_string()]);
    assert!(error.contains(&from) && error.contains(&format!("at most {key_groups}")), "{error}");
    let error = told(&script(place, "SET 'pipeline.max-parallelism' = '7';"), &[]);
    assert!(error.contains(&from) && error.contains("take the option away"), "{error}");

    // A savepoint of another job.
    let other = script(place, "")
        .replace("GROUP BY n, tag", "GROUP BY tag, n")
        .replace("'datagen'", "'datagen', 'fields.n.max' = '5'");
    let other = other.replace(
        "'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000'",
        "'fields.n.min' = '1'",
    );
    let error = told(&other, &[]);
    assert!(error.contains(&from) && error.contains("no operator of this job"), "{error}");
    assert!(error.contains("Start from a savepoint of this job"), "{error}");

    // A file that is missing.
    let file = state_file(&savepoint);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let content = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = told(&script(place, ""), &[]);
    assert!(error.contains(&name) && error.contains("does not exist") && error.contains("as a whole"), "{error}");

    // One that is damaged is found when it is read: the job does not run, and says why.
    let mut damaged = content.clone();
    damaged[content.len() / 2] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    let job = submit(&cluster, &script(place, ""), &["--from-savepoint", &from]);
    wait_for(&cluster, "telling which file is damaged", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        assert_ne!(described["state"], "RUNNING", "{described:#}");
        let text = described["exceptions"].to_string();
        (text.contains(&name) && text.contains("checksum") && text.contains("a copy that is whole")).then_some(())
    });
    assert!(cluster.run("cancel", &[&job]).unwrap().status.success());
    std::fs::write(&file, &content).unwrap();

    // A newer format.
    let newer = CheckpointMetadata { version: METADATA_VERSION + 1, ..read(&savepoint) };
    let metadata = savepoint.join(METADATA_NAME);
    let fine = std::fs::read(&metadata).unwrap();
    std::fs::write(&metadata, newer.encode(checksum).unwrap()).unwrap();
    let error = told(&script(place, ""), &[]);
    assert!(error.contains(METADATA_NAME) && error.contains("use a newer tidemill"), "{error}");

    // None of this has harmed it.
    std::fs::write(&metadata, fine).unwrap();
    let job = submit(&cluster, &script(place, ""), &["--from-savepoint", &from]);
    wait_for_checkpoints(&cluster, &job, 1);
}

/// A checkpoint that cannot be written is told and counted, and the job goes on within its tolerance.
#[test]
fn a_directory_that_cannot_be_written_any_more_fails_checkpoints_and_not_the_job() {
    let cluster = Cluster::start(1, 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let tolerant = "SET 'execution.checkpointing.tolerable-failed-checkpoints' = '1000000';";
    let job = submit(&cluster, &script(place, tolerant), &[]);
    wait_for_checkpoints(&cluster, &job, 2);
    // A file in the place of its directory, as nobody's rights keep root out.
    let (own, aside) = (place.join("checkpoints").join(&job), place.join("aside"));
    wait_for(&cluster, "moved away", || {
        std::fs::rename(&own, &aside).ok()?;
        std::fs::write(&own, "in the way").ok()
    });
    let history = wait_for(&cluster, "failing", || {
        let history = cluster.json("checkpoints", &[&job]).ok()?;
        (history["counts"]["failed"].as_u64()? >= 2).then_some(history)
    });
    let failures = history["checkpoints"].to_string();
    assert!(failures.contains(&own.display().to_string()) && failures.contains("written"), "{failures}");
    let described = cluster.json("describe", &[&job]).unwrap();
    assert_eq!(described["state"], "RUNNING", "{described:#}");
    let completed = history["counts"]["completed"].as_u64().unwrap();
    std::fs::remove_file(&own).unwrap();
    std::fs::rename(&aside, &own).unwrap();
    wait_for_checkpoints(&cluster, &job, completed + 1);
}

/// Classic bug 4 (FLINK-22502): the newest checkpoint cannot be read, and an older one is taken silently.
#[test]
fn bug_4_an_unreadable_newest_checkpoint_is_told_and_never_an_older_one_taken() {
    let options = [("jobmanager-data-dir", "{directory}/data"), ("heartbeat-timeout", "2 s")];
    let mut cluster = Cluster::start_with(1, 1, &options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let job = submit(&cluster, &script(place, "SET 'execution.checkpointing.num-retained' = '3';"), &[]);
    wait_for_checkpoints(&cluster, &job, 4);
    cluster.kill_job_manager().unwrap();
    // The record says which one is the newest; of later ones nobody was told.
    let record = std::fs::read_to_string(cluster.directory().join("data/jobs").join(&job).join("record")).unwrap();
    let record: serde_json::Value = serde_json::from_str(record.split_once('\n').unwrap().1).unwrap();
    let retained = record["retained"].as_array().unwrap();
    assert!(retained.len() >= 2, "{record:#}");
    let newest = retained.last().unwrap()["location"].as_str().unwrap();
    let metadata = Path::new(newest.trim_start_matches("file://")).join(METADATA_NAME);
    let fine = std::fs::read(&metadata).unwrap();
    std::fs::write(&metadata, &fine[..fine.len() / 2]).unwrap();
    cluster.start_job_manager().unwrap();
    cluster.await_answer().unwrap();
    // It tries again and again, tells why it cannot, and never runs.
    let text = wait_for(&cluster, "telling what is damaged", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        assert_ne!(described["state"], "RUNNING", "{described:#}");
        let text = described["exceptions"].to_string();
        (text.matches("is damaged").count() >= 2).then_some(text)
    });
    assert!(text.contains(metadata.to_str().unwrap()) && text.contains("a copy that is whole"), "{text}");
    for retained in &retained[..retained.len() - 1] {
        let location = retained["location"].as_str().unwrap().trim_start_matches("file://");
        assert!(Path::new(location).join(METADATA_NAME).exists(), "{location} is gone");
        assert!(!text.contains(&format!("goes on from file://{location}")), "{text}");
    }
    std::fs::write(&metadata, fine).unwrap();
    wait_for_checkpoints(&cluster, &job, 1);
    let described = cluster.json("describe", &[&job]).unwrap();
    assert!(described["exceptions"].to_string().contains(newest), "{described:#}");
}
