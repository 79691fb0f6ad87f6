//! The life of a cluster: submit, list, describe, cancel; a task manager that dies; errors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidemill_common::ports::free_port;
use tidemill_tests::cluster::{Cluster, signal};
use tidemill_tests::jobs::numbers;

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

/// `tidemill cluster`, ended when dropped.
struct Supervised {
    process: Child,
    port: String,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = signal(self.process.id(), "TERM");
        let _ = self.process.wait();
    }
}

impl Supervised {
    fn start(directory: &Path) -> Self {
        let port = free_port().unwrap().to_string();
        let log = std::fs::File::create(directory.join("cluster.log")).unwrap();
        let mut process = tidemill_tests::tidemill()
            .unwrap()
            .args(["cluster", "--taskmanagers", "2", "--slots", "1", "--jobmanager-rpc-port", &port])
            .args(["--heartbeat-timeout", "2 s"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line}");
        // Whatever else it says is read, so that it never waits.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Self { process, port }
    }

    fn json(&self, verb: &str, arguments: &[&str]) -> Option<serde_json::Value> {
        let mut command = tidemill_tests::tidemill().unwrap();
        command.arg(verb).args(["--jobmanager-rpc-port", &self.port, "--output", "json"]).args(arguments);
        let output = command.output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Its processes in a role.
    fn children(&self, role: &str) -> Vec<u32> {
        let listed = Command::new("ps").args(["-o", "pid=,args=", "--ppid", &self.process.id().to_string()]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let of_role = listed.lines().filter(|line| line.split_whitespace().nth(2) == Some(role));
        of_role.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
    }
}

#[test]
fn a_supervised_cluster_replaces_processes_that_die_and_its_jobs_go_on() {
    const ROWS: u64 = 12_000;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let cluster = Supervised::start(directory.path());
    let file = script(&format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (n BIGINT) WITH (
    'connector' = 'datagen', 'rows-per-second' = '1000',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}'
);
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/written', 'format' = 'json');
INSERT INTO written SELECT n FROM numbers;"
    ));
    let mut submit = tidemill_tests::tidemill().unwrap();
    submit.arg("submit").arg(file.path()).args([
        "--detach",
        "--parallelism",
        "2",
        "--jobmanager-rpc-port",
        &cluster.port,
    ]);
    let submitted = submit.output().unwrap();
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let job = String::from_utf8(submitted.stdout).unwrap().trim().to_owned();
    let logs = || std::fs::read_to_string(directory.path().join("cluster.log")).unwrap();
    let wait = |what: &str, look: &dyn Fn(&serde_json::Value) -> bool| {
        let begun = Instant::now();
        loop {
            let described = cluster.json("describe", &[&job]).unwrap_or_default();
            if look(&described) {
                return;
            }
            assert!(begun.elapsed() < CHANGE_TIMEOUT * 6, "not {what}: {described:#}\n{}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let attempt =
        |described: &serde_json::Value| described["attempts"].as_array().unwrap().last().unwrap()["attempt"].as_u64();
    for (round, role) in ["taskmanager", "jobmanager", "taskmanager"].into_iter().enumerate() {
        let goes_on =
            |described: &serde_json::Value| described["state"] == "RUNNING" && attempt(described) > Some(round as u64);
        wait("running", &goes_on);
        // Something that a restart must not lose or write twice.
        let written = numbers(&directory.path().join("written")).len();
        wait("writing", &|_| numbers(&directory.path().join("written")).len() > written);
        let before = cluster.children(role);
        assert_eq!(before.len(), if role == "jobmanager" { 1 } else { 2 }, "{before:?}\n{}", logs());
        signal(before[0], "KILL").unwrap();
        wait("replaced", &|_| {
            let now = cluster.children(role);
            now.len() == before.len() && !now.contains(&before[0])
        });
    }
    wait("FINISHED", &|described| described["state"] == "FINISHED");
    let expected: BTreeMap<u64, usize> = (1..=ROWS).map(|n| (n, 1)).collect();
    let found = numbers(&directory.path().join("written"));
    assert!(found == expected, "{} numbers\n{}", found.len(), logs());
}
