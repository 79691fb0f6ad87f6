//! The life of a cluster: submit, list, describe, cancel; a task manager that dies; errors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use tidemill_tests::cluster::Cluster;

/// How long a change of state may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);

const ENDLESS: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM numbers;";

fn script(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn json(cluster: &Cluster, verb: &str, arguments: &[&str]) -> serde_json::Value {
    let output = cluster.command(verb).args(arguments).args(["--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until `describe` says this state.
fn wait_for_state(cluster: &Cluster, job: &str, state: &str) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        let described = json(cluster, "describe", &[job]);
        if described["state"] == state {
            return described;
        }
        assert!(begun.elapsed() < CHANGE_TIMEOUT, "job is {}, not {state}\n{}", described["state"], cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Submits the endless job detached and waits until it runs.
fn submit_endless(cluster: &Cluster) -> String {
    let file = script(ENDLESS);
    let submitted =
        cluster.command("submit").arg(file.path()).args(["--detach", "--parallelism", "2"]).output().unwrap();
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let listed = json(cluster, "list", &[]);
    let jobs = listed.as_array().or_else(|| listed["jobs"].as_array()).unwrap();
    let job = jobs[0]["id"].as_str().or_else(|| jobs[0]["job_id"].as_str()).unwrap().to_owned();
    wait_for_state(cluster, &job, "RUNNING");
    job
}

#[test]
fn a_job_is_submitted_listed_described_and_cancelled() {
    let cluster = Cluster::start(2, 1).unwrap();
    let job = submit_endless(&cluster);
    let cancelled = cluster.run("cancel", &[&job]).unwrap();
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    wait_for_state(&cluster, &job, "CANCELED");
}

#[test]
fn a_task_manager_that_dies_fails_its_jobs_with_the_cause() {
    let mut cluster = Cluster::start(2, 1).unwrap();
    let job = submit_endless(&cluster);
    cluster.task_managers[0].kill().unwrap();
    let described = wait_for_state(&cluster, &job, "FAILED");
    assert!(described.to_string().contains("task manager"), "{described}");
}

#[test]
fn an_error_in_a_script_is_shown_with_its_place() {
    let cluster = Cluster::start(1, 1).unwrap();
    let file = script("SELECT prize FROM\n  VALUES;");
    let output = cluster.command("submit").arg(file.path()).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("error") && text.contains(":2:"), "{text}");
}

#[test]
fn too_few_slots_are_said() {
    let cluster = Cluster::start_with(1, 1, &[("slot-request-timeout", "1 s")]).unwrap();
    let file = script(
        "SET 'parallelism.default' = '3';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '9');
CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nothing SELECT n FROM numbers;",
    );
    let output = cluster.command("submit").arg(file.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    for part in ["the job needs 3 slots", "1 task manager with 1 slot is connected", "taskmanager.numberOfTaskSlots"] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}
