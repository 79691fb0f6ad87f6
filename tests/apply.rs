//! `tidemill apply`: a declared job is started once, goes on through savepoints when it has changed, and
//! gives up no state that nobody has said should go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{numbers, submit, wait_for, wait_for_checkpoints, wait_for_state};

/// Rows of the bounded job.
const ROWS: u64 = 4_000;

/// A cluster that finds its jobs again, and a place for savepoints and results.
struct Declaring {
    cluster: Cluster,
    place: TempDir,
}

impl Declaring {
    fn start(task_managers: usize) -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = [("jobmanager-data-dir", "{directory}/jobs"), ("slot-request-timeout", "2 s")];
        Self { cluster: Cluster::start_with(task_managers, 1, &options).unwrap(), place }
    }

    fn savepoints(&self) -> String {
        self.place.path().join("savepoints").display().to_string()
    }

    /// Applies a script as the job `counter`: what was done, or what the error says.
    fn try_apply(&self, script: &str, arguments: &[&str]) -> Result<Value, String> {
        let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let mut command = self.cluster.command("apply");
        command.arg(file.path()).args(["--name", "counter", "--state-savepoints-dir", &self.savepoints()]);
        let output = command.args(["--output", "json"]).args(arguments).output().unwrap();
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn apply(&self, script: &str, arguments: &[&str]) -> Value {
        self.try_apply(script, arguments).unwrap_or_else(|error| panic!("{error}\n{}", self.cluster.logs()))
    }

    fn active(&self) -> Vec<String> {
        let jobs = self.cluster.json("list", &[]).unwrap();
        let ended = |job: &&Value| !["FINISHED", "FAILED", "CANCELED"].contains(&job["state"].as_str().unwrap());
        jobs.as_array().unwrap().iter().filter(ended).map(id).collect()
    }

    fn declared(&self) -> std::path::PathBuf {
        self.place.path().join("savepoints/counter/declared.json")
    }
}

fn id(job: &Value) -> String {
    job["job_id"].as_str().unwrap().to_owned()
}

/// Counts from 1 to [`ROWS`] and writes each number, with a checkpoint every 200 ms.
fn counting(place: &Path) -> String {
    let place = place.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
CREATE TABLE numbers (n BIGINT) WITH (
    'connector' = 'datagen', 'rows-per-second' = '500',
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}'
);
CREATE TABLE written (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{place}/written', 'format' = 'json');
INSERT INTO written SELECT n FROM numbers;
"
    )
}

#[test]
fn a_declared_job_goes_on_through_every_change() {
    let mut declaring = Declaring::start(2);
    let script = counting(declaring.place.path());
    let started = declaring.apply(&script, &[]);
    assert_eq!(started["action"], "was started");
    let same = declaring.apply(&script, &[]);
    assert_eq!((&same["action"], &same["job_id"]), (&"is unchanged".into(), &started["job_id"]));

    // Another option: the job is another one, and goes on from the savepoint of the first.
    let upgraded = declaring.apply(&script, &["--parallelism", "2"]);
    assert_eq!(upgraded["action"], "was upgraded");
    assert_ne!(upgraded["job_id"], started["job_id"]);
    assert!(upgraded["savepoint"].as_str().unwrap().contains("/savepoints/counter/"), "{upgraded}");
    assert_eq!(declaring.active(), [id(&upgraded)]);

    // A script that cannot go on from that state is refused, and stops nothing.
    let filtered = script.replace("FROM numbers;", "FROM numbers WHERE n > 0;");
    let error = declaring.try_apply(&filtered, &[]).unwrap_err();
    assert!(error.contains("would be refused") && error.contains("--allow-non-restored-state"), "{error}");
    let error = declaring.try_apply("SELEC 1;", &[]).unwrap_err();
    assert!(error.contains("SELEC"), "{error}");
    assert_eq!(declaring.active(), [id(&upgraded)]);

    // Stopped, and taken up again by a job manager that has forgotten the job.
    let stopped = declaring.apply(&script, &["--stopped"]);
    assert_eq!(stopped["action"], "was stopped");
    assert_eq!(declaring.apply(&script, &["--stopped"])["action"], "is not running");
    declaring.cluster.kill_job_manager().unwrap();
    declaring.cluster.start_job_manager().unwrap();
    let again = declaring.apply(&script, &["--parallelism", "2"]);
    assert_eq!((&again["action"], &again["savepoint"]), (&"was started".into(), &stopped["savepoint"]));

    wait_for_state(&declaring.cluster, &id(&again), "FINISHED");
    let expected: BTreeMap<u64, usize> = (1..=ROWS).map(|n| (n, 1)).collect();
    let found = numbers(&declaring.place.path().join("written"));
    assert!(found == expected, "{} numbers of {ROWS}\n{}", found.len(), declaring.cluster.logs());
    assert_eq!(declaring.apply(&script, &["--parallelism", "2"])["action"], "has finished");
}

#[test]
fn what_was_cut_off_in_its_midst_goes_on_where_it_was() {
    let mut declaring = Declaring::start(1);
    let script = counting(declaring.place.path());
    let started = declaring.apply(&script, &[]);
    wait_for_checkpoints(&declaring.cluster, &id(&started), 1);

    // The job was stopped, and the end came before that was noted down.
    let noted = std::fs::read_to_string(declaring.declared()).unwrap();
    let stopped = declaring.apply(&script, &["--stopped"]);
    std::fs::write(declaring.declared(), &noted).unwrap();
    let again = declaring.apply(&script, &[]);
    assert_eq!((&again["action"], &again["savepoint"]), (&"was started".into(), &stopped["savepoint"]));

    // The same, and the job manager has forgotten the job.
    let noted = std::fs::read_to_string(declaring.declared()).unwrap();
    let stopped = declaring.apply(&script, &["--stopped"]);
    std::fs::write(declaring.declared(), &noted).unwrap();
    declaring.cluster.kill_job_manager().unwrap();
    declaring.cluster.start_job_manager().unwrap();
    let again = declaring.apply(&script, &[]);
    assert_eq!((&again["action"], &again["savepoint"]), (&"was started".into(), &stopped["savepoint"]));

    // It was submitted, and the end came before that was noted down: it goes on through a savepoint.
    std::fs::remove_file(declaring.declared()).unwrap();
    let adopted = declaring.apply(&script, &[]);
    assert_eq!(adopted["action"], "was upgraded");
    assert_eq!(declaring.active(), [id(&adopted)]);

    wait_for_state(&declaring.cluster, &id(&adopted), "FINISHED");
    let expected: BTreeMap<u64, usize> = (1..=ROWS).map(|n| (n, 1)).collect();
    let found = numbers(&declaring.place.path().join("written"));
    assert!(found == expected, "{} numbers of {ROWS}\n{}", found.len(), declaring.cluster.logs());
}

#[test]
fn a_job_that_was_cancelled_starts_only_from_what_is_named() {
    let declaring = Declaring::start(1);
    let script = counting(declaring.place.path());
    let started = declaring.apply(&script, &[]);
    let savepoint = wait_for(&declaring.cluster, "savepoint", || {
        let taken = declaring.cluster.json("savepoint", &[&id(&started), &declaring.savepoints()]).ok()?;
        Some(taken["location"].as_str()?.to_owned())
    });
    assert!(declaring.cluster.run("cancel", &[&id(&started)]).unwrap().status.success());
    let error = declaring.try_apply(&script, &[]).unwrap_err();
    assert!(error.contains("CANCELED") && error.contains("--from-savepoint"), "{error}");
    let from = declaring.apply(&script, &["--from-savepoint", &savepoint]);
    assert_eq!((&from["action"], from["savepoint"].as_str()), (&"was started".into(), Some(savepoint.as_str())));
    // A declaration that goes on naming it does not take the job back to it each time.
    assert_eq!(declaring.apply(&script, &["--from-savepoint", &savepoint])["action"], "is unchanged");
    assert!(declaring.cluster.run("cancel", &[&id(&from)]).unwrap().status.success());
    let error = declaring.try_apply(&script, &["--from-savepoint", &savepoint]).unwrap_err();
    assert!(error.contains("CANCELED"), "{error}");
    let fresh = declaring.apply(&script, &["--fresh"]);
    assert_eq!((&fresh["action"], &fresh["savepoint"]), (&"was started".into(), &Value::Null));
}

#[test]
fn what_cannot_be_declared_is_refused() {
    let declaring = Declaring::start(1);
    let script = counting(declaring.place.path());
    let two = format!("{script}INSERT INTO written SELECT n + 1 FROM numbers;\n");
    let error = declaring.try_apply(&two, &[]).unwrap_err();
    assert!(error.contains("several jobs") && error.contains("EXECUTE STATEMENT SET"), "{error}");
    let error = declaring.try_apply("SELECT 1;", &[]).unwrap_err();
    assert!(error.contains("SELECT"), "{error}");
    let error = declaring.try_apply("CREATE TABLE t (n INT) WITH ('connector' = 'blackhole');", &[]).unwrap_err();
    assert!(error.contains("starts no job"), "{error}");
    let error = declaring.try_apply(&format!("SET 'pipeline.name' = 'other';\n{script}"), &[]).unwrap_err();
    assert!(error.contains("'other'"), "{error}");
    let too_wide = ["--parallelism", "2", "--set", "restart-strategy.type=none"];
    let error = declaring.try_apply(&script, &too_wide).unwrap_err();
    assert!(error.contains("FAILED") && error.contains("slots"), "{error}");
    assert!(declaring.active().is_empty());

    let name = |name: &str| {
        let output = declaring.cluster.command("apply").args(["/dev/null", "--name", name]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(name("../up").contains("'../up' is not the name"));
    assert!(name("counter").contains("--state-savepoints-dir"));

    // Two jobs of the name: it is not known which one is meant.
    let named = script.replace("SET 'state", "SET 'pipeline.name' = 'counter';\nSET 'state");
    let endless = named.replace(
        "'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '4000'",
        "'fields.n.min' = '1'",
    );
    let jobs = [submit(&declaring.cluster, &endless, &[]), submit(&declaring.cluster, &endless, &[])];
    let error = declaring.try_apply(&script, &[]).unwrap_err();
    assert!(jobs.iter().all(|job| error.contains(job.as_str())), "{error}");
}
