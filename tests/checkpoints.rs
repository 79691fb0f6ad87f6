//! Checkpoints and savepoints of real processes: they are taken, kept, started from and deleted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{
    names, numbers, refused, submit, submit_with, wait_for, wait_for_checkpoints, wait_for_state,
};

/// Rows of the bounded jobs.
const ROWS: u64 = 4_000;

/// Counts from 1 to [`ROWS`], and writes what is even. `filter` is added to that.
fn counting(directory: &Path, filter: &str) -> String {
    let place = directory.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (n BIGINT) WITH (
    'connector' = 'datagen', 'rows-per-second' = '1000',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}'
);
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/written', 'format' = 'json');
INSERT INTO written SELECT n FROM numbers WHERE n % 2 = 0{filter};
"
    )
}

/// Has no end and keeps nothing.
fn endless(directory: &Path, options: &str) -> String {
    let place = directory.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
{options}
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM numbers;
"
    )
}

fn assert_each_once(cluster: &Cluster, directory: &Path) {
    let expected: BTreeMap<u64, usize> = (1..=ROWS / 2).map(|half| (half * 2, 1)).collect();
    let found = numbers(&directory.join("written"));
    let wrong: Vec<_> = expected.iter().filter(|(n, _)| found.get(n) != Some(&1)).take(5).collect();
    assert!(found == expected, "{} numbers, wrong are such as {wrong:?}\n{}", found.len(), cluster.logs());
}

#[test]
fn checkpoints_are_taken_and_the_newest_is_kept_until_the_job_ends() {
    let cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &endless(place.path(), ""), &["--parallelism", "2"]);
    let history = wait_for_checkpoints(&cluster, &job, 4);
    let newest = history["checkpoints"].as_array().unwrap().iter().find(|c| c["state"] == "COMPLETED").unwrap();
    assert!(newest["location"].as_str().unwrap().contains(&job), "{newest}");
    assert_eq!(newest["subtasks"], newest["subtasks_acknowledged"]);
    let text = cluster.run("checkpoints", &[&job]).unwrap();
    assert!(String::from_utf8_lossy(&text.stdout).contains("COMPLETED"));
    let directory = place.path().join("checkpoints").join(&job);
    // An older one may be on its way out.
    let kept = names(&directory).iter().filter(|name| name.ends_with("_metadata")).count();
    assert!((1..=2).contains(&kept), "{:?}", names(&directory));
    assert!(cluster.run("cancel", &[&job]).unwrap().status.success());
    wait_for(&cluster, "clean", || names(&directory).is_empty().then_some(()));
}

#[test]
fn checkpoints_stay_after_a_cancellation_if_they_are_to_be_retained() {
    let cluster = Cluster::start(1, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let options = "SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';";
    let job = submit(&cluster, &endless(place.path(), options), &[]);
    wait_for_checkpoints(&cluster, &job, 1);
    assert!(cluster.run("cancel", &[&job]).unwrap().status.success());
    let history = cluster.json("checkpoints", &[&job]).unwrap();
    let newest = history["checkpoints"].as_array().unwrap().iter().find(|c| c["state"] == "COMPLETED").unwrap();
    let location = newest["location"].as_str().unwrap();
    let inspected = tidemill_tests::tidemill().unwrap().args(["savepoint", "inspect", location]).output().unwrap();
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(text.contains(&job) && text.contains("splits"), "{text}\n{}", String::from_utf8_lossy(&inspected.stderr));
    let again = submit(&cluster, &endless(place.path(), ""), &["--from-savepoint", location]);
    wait_for_checkpoints(&cluster, &again, 1);
}

#[test]
fn with_barriers_that_wait_for_nobody_rows_come_at_least_once() {
    let mut cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let script = format!("SET 'execution.checkpointing.mode' = 'AT_LEAST_ONCE';\n{}", counting(place.path(), ""));
    let job = submit(&cluster, &script, &["--parallelism", "2"]);
    wait_for_checkpoints(&cluster, &job, 2);
    cluster.kill_task_manager(0).unwrap();
    cluster.start_task_manager().unwrap();
    wait_for_state(&cluster, &job, "FINISHED");
    let found = numbers(&place.path().join("written"));
    let lost: Vec<u64> = (1..=ROWS / 2).map(|half| half * 2).filter(|n| !found.contains_key(n)).collect();
    assert!(lost.is_empty(), "{} numbers are lost, such as {:?}\n{}", lost.len(), lost.first(), cluster.logs());
}

#[test]
fn a_directory_that_cannot_be_written_is_said_at_submission() {
    let cluster = Cluster::start(1, 1).unwrap();
    let error = refused(&cluster, &endless(Path::new("/proc/nowhere"), ""), &[]);
    assert!(error.contains("/proc/nowhere/checkpoints") && error.contains("execution.checkpointing.dir"), "{error}");
    let error = refused(&cluster, &endless(Path::new("/"), "SET 'state.checkpoints.dir' = 'ftp://x/y';"), &[]);
    assert!(error.contains("ftp") && error.contains("s3"), "{error}");
}

#[test]
fn a_job_stops_with_a_savepoint_and_goes_on_from_it_elsewhere() {
    let cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &counting(place.path(), ""), &[]);
    wait_for_checkpoints(&cluster, &job, 2);
    // One that is taken on the way changes nothing.
    let savepoints = place.path().join("savepoints");
    let taken = cluster.run("savepoint", &[&job, &savepoints.display().to_string()]).unwrap();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let stopped = cluster.run("stop", &[&job, "--savepoint", &savepoints.display().to_string()]).unwrap();
    assert!(stopped.status.success(), "{}\n{}", String::from_utf8_lossy(&stopped.stderr), cluster.logs());
    let text = String::from_utf8(stopped.stdout).unwrap();
    let location = text.lines().find_map(|line| line.strip_prefix("savepoint ")).unwrap().trim_start_matches("file://");
    let written = numbers(&place.path().join("written")).len() as u64;
    assert!(written > 0 && written < ROWS / 2, "{written} numbers before the end");
    let moved = place.path().join("moved");
    std::fs::rename(location, &moved).unwrap();
    let moved = moved.display().to_string();

    let plan = submit_with(&cluster, &counting(place.path(), ""), &["--from-savepoint", &moved, "--dry-run"]).unwrap();
    let text = String::from_utf8(plan.stdout).unwrap();
    assert!(text.contains("kept") && !text.contains("dropped"), "{text}");
    let changed = counting(place.path(), " AND n > 0");
    let plan = submit_with(&cluster, &changed, &["--from-savepoint", &moved, "--dry-run", "--output", "json"]).unwrap();
    let (fates, warnings) = (String::from_utf8(plan.stdout).unwrap(), String::from_utf8(plan.stderr).unwrap());
    assert!(fates.contains("kept") && fates.contains("dropped"), "the source is the same, the sink is not: {fates}");
    let error = refused(&cluster, &changed, &["--from-savepoint", &moved]);
    assert!(
        error.contains("--allow-non-restored-state") && warnings.contains("would be refused"),
        "{error} {warnings}"
    );

    let arguments = ["--from-savepoint", &moved, "--parallelism", "2"];
    let again = submit(&cluster, &counting(place.path(), ""), &arguments);
    wait_for_state(&cluster, &again, "FINISHED");
    assert_each_once(&cluster, place.path());
    wait_for(&cluster, "clean", || names(&place.path().join("checkpoints")).is_empty().then_some(()));
}

#[test]
fn what_a_job_cannot_start_from_is_refused_with_its_name() {
    let cluster = Cluster::start(1, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("missing").display().to_string();
    let error = refused(&cluster, &counting(place.path(), ""), &["--from-savepoint", &missing]);
    assert!(error.contains("missing/_metadata") && error.contains("does not exist"), "{error}");
    let job = submit(&cluster, &endless(place.path(), ""), &[]);
    wait_for_state(&cluster, &job, "RUNNING");
    let unset = cluster.run("savepoint", &[&job]).unwrap();
    assert!(String::from_utf8_lossy(&unset.stderr).contains("state.savepoints.dir"));
    let taken = cluster.json("savepoint", &[&job, &place.path().display().to_string()]).unwrap();
    let location = taken["location"].as_str().unwrap();
    let error = refused(&cluster, &counting(place.path(), ""), &["--from-savepoint", location]);
    assert!(error.contains("no operator of this job"), "{error}");
    let file = Path::new(location.trim_start_matches("file://")).join("_metadata");
    let mut content = std::fs::read(&file).unwrap();
    let last = content.len() - 5;
    content[last] ^= 1;
    std::fs::write(&file, content).unwrap();
    let error = refused(&cluster, &endless(place.path(), ""), &["--from-savepoint", location]);
    assert!(error.contains("_metadata") && error.contains("checksum"), "{error}");
}

#[test]
fn a_job_manager_that_is_killed_takes_its_jobs_up_again() {
    let options = [("jobmanager-data-dir", "{directory}/data"), ("heartbeat-timeout", "2 s")];
    let mut cluster = Cluster::start_with(2, 1, &options).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &counting(place.path(), ""), &["--parallelism", "2"]);
    for kills in 1..=2 {
        wait_for_checkpoints(&cluster, &job, 1);
        cluster.kill_job_manager().unwrap();
        cluster.start_job_manager().unwrap();
        cluster.await_answer().unwrap();
        let described = wait_for(&cluster, "running again", || {
            let described = cluster.json("describe", &[&job]).ok()?;
            ["RUNNING", "FINISHING", "FINISHED"].iter().any(|state| described["state"] == *state).then_some(described)
        });
        let attempt = described["attempts"].as_array().unwrap().last().unwrap()["attempt"].as_u64().unwrap();
        assert!(attempt > kills, "{described}");
    }
    wait_for_state(&cluster, &job, "FINISHED");
    assert_each_once(&cluster, place.path());
    wait_for(&cluster, "clean", || names(&place.path().join("checkpoints")).is_empty().then_some(()));
    let jobs = cluster.directory().join("data/jobs");
    wait_for(&cluster, "forgotten", || std::fs::read_dir(&jobs).unwrap().next().is_none().then_some(()));
}

/// Classic bug 3 (FLINK-25486): what is kept of jobs is cleaned up by a leader that steps down.
#[test]
fn bug_3_a_job_manager_that_is_stopped_leaves_its_jobs_to_the_next_one() {
    let options = [("jobmanager-data-dir", "{directory}/data"), ("heartbeat-timeout", "2 s")];
    let mut cluster = Cluster::start_with(1, 1, &options).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &counting(place.path(), ""), &[]);
    wait_for_checkpoints(&cluster, &job, 2);
    cluster.stop_job_manager().unwrap();
    cluster.start_job_manager().unwrap();
    cluster.await_answer().unwrap();
    wait_for_state(&cluster, &job, "FINISHED");
    assert_each_once(&cluster, place.path());
}

/// I8: what a crash during a deletion and writes of dead attempts have left is found and deleted, and
/// nothing that is named.
#[test]
fn what_dead_attempts_have_left_is_deleted_after_recovery() {
    let options = [("jobmanager-data-dir", "{directory}/data"), ("heartbeat-timeout", "2 s")];
    let mut cluster = Cluster::start_with(1, 1, &options).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &endless(place.path(), ""), &[]);
    wait_for_checkpoints(&cluster, &job, 2);
    cluster.kill_job_manager().unwrap();
    let own = place.path().join("checkpoints").join(&job);
    let shared = own.join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::create_dir_all(own.join("chk-0")).unwrap();
    // A zombie's, one that its deletion did not come to, and a directory half deleted.
    let left = [shared.join("a1-zombie"), shared.join("a1-old"), own.join("chk-0/a1-part")];
    left.iter().for_each(|file| std::fs::write(file, "left").unwrap());
    cluster.start_job_manager().unwrap();
    cluster.await_answer().unwrap();
    wait_for_checkpoints(&cluster, &job, 1);
    wait_for(&cluster, "deleted", || left.iter().all(|file| !file.exists()).then_some(()));
    // One that a frozen process writes when the first look is over.
    let late = shared.join("a1-late");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(&late, "late").unwrap();
    wait_for(&cluster, "deleted, too", || (!late.exists()).then_some(()));
    assert!(cluster.run("cancel", &[&job]).unwrap().status.success());
    wait_for(&cluster, "clean", || names(&own).is_empty().then_some(()));
}

#[test]
fn a_job_without_a_checkpoint_is_not_rescaled_and_goes_on() {
    let cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &endless(place.path(), "SET 'execution.checkpointing.interval' = '1 h';"), &[]);
    let before = wait_for_state(&cluster, &job, "RUNNING");
    let asked = cluster.run("rescale", &[&job, "--parallelism", "2"]).unwrap();
    let error = String::from_utf8(asked.stderr).unwrap();
    assert!(!asked.status.success() && error.contains("no complete checkpoint"), "{error}");
    assert!(error.contains("execution.checkpointing.interval"), "{error}");
    let after = cluster.json("describe", &[&job]).unwrap();
    assert_eq!((&after["state"], &after["attempts"]), (&before["state"], &before["attempts"]));
}

/// Classic bug 24 (FLINK-18934), on the way to a savepoint: a source that has stopped lets the watermark
/// jump to that of one that has not yet, and its rows are late when the job goes on.
#[test]
fn bug_24_a_source_that_is_stopped_holds_the_watermark() {
    let cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().display();
    let sequence = "'connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence',
    'fields.n.start' = '1', 'fields.n.end' = '10000000'";
    let script = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{directory}/checkpoints';
CREATE TABLE fast (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 100000, 3), WATERMARK FOR ts AS ts) WITH ({sequence});
CREATE TABLE slow (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts) WITH ({sequence});
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{directory}/written', 'format' = 'json');
CREATE TEMPORARY VIEW both_of_them AS SELECT n, ts FROM fast UNION ALL SELECT n, ts FROM slow;
INSERT INTO written SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE both_of_them, DESCRIPTOR(ts), INTERVAL '1' HOUR))
    GROUP BY n, window_start, window_end;
"
    );
    let mut from: Vec<String> = Vec::new();
    // Which source stops first is up to the machine.
    for round in 0..4 {
        let mut arguments = vec!["--parallelism", "2"];
        arguments.extend(from.iter().map(String::as_str));
        let job = submit(&cluster, &script, &arguments);
        wait_for_checkpoints(&cluster, &job, 3);
        let savepoints = place.path().join("savepoints").display().to_string();
        let stopped = cluster.run("stop", &[&job, "--savepoint", &savepoints]).unwrap();
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        let text = String::from_utf8(stopped.stdout).unwrap();
        let location = text.lines().find_map(|line| line.strip_prefix("savepoint ")).unwrap();
        wait_for_state(&cluster, &job, "FINISHED");
        // The slow source is in its first hour all the time.
        let fired = names(&place.path().join("written"));
        assert!(fired.is_empty(), "windows have fired in round {round}: {fired:?}\n{}", cluster.logs());
        from = vec!["--from-savepoint".to_owned(), location.to_owned()];
    }
}

/// A job that was taken up again was said to have waited for slots since it was submitted.
#[test]
fn an_old_job_that_is_taken_up_again_has_not_waited_for_slots() {
    let options =
        [("jobmanager-data-dir", "{directory}/data"), ("heartbeat-timeout", "2 s"), ("slot-request-timeout", "10 s")];
    let mut cluster = Cluster::start_with(1, 1, &options).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &endless(place.path(), "SET 'restart-strategy.type' = 'none';"), &[]);
    wait_for_checkpoints(&cluster, &job, 2);
    std::thread::sleep(std::time::Duration::from_secs(11));
    cluster.kill_job_manager().unwrap();
    cluster.start_job_manager().unwrap();
    cluster.await_answer().unwrap();
    let described = wait_for(&cluster, "running again", || {
        let described = cluster.json("describe", &[&job]).ok()?;
        assert_ne!(described["state"], "FAILED", "{described:#}");
        (described["state"] == "RUNNING").then_some(described)
    });
    assert!(!described.to_string().contains("slot.request.timeout"), "{described:#}");
}
