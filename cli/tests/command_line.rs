//! The binary as people use it.
#![allow(clippy::unwrap_used)] // A test's helpers fail it by a panic.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const NUMBERS: &str = "
CREATE TABLE numbers (id BIGINT) WITH (
  'connector' = 'datagen', 'number-of-rows' = '5',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '5');
CREATE TABLE shown (id BIGINT, twice BIGINT) WITH ('connector' = 'print');
INSERT INTO shown SELECT id, id * 2 FROM numbers;";

const ENDLESS: &str = "
CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
CREATE TABLE nothing (id BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nothing SELECT id FROM numbers;";

fn tidemill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    // Many clusters run side by side.
    command.env("TIDEMILL_REST_PORT", "0");
    command
}

/// Runs with a script on standard input.
fn with_script(arguments: &[&str], script: &str) -> Output {
    let mut child = spawn(arguments, script);
    child.stdin = None;
    child.wait_with_output().unwrap()
}

fn spawn(arguments: &[&str], script: &str) -> Child {
    let mut child =
        tidemill().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

/// Waits for the end, but not for ever.
fn wait(child: &mut Child) -> std::process::ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn run_prints_the_rows_and_a_summary_apart() {
    let output = with_script(&["run", "-"], NUMBERS);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["+I[1, 2]", "+I[2, 4]", "+I[3, 6]", "+I[4, 8]", "+I[5, 10]"]);
    assert!(stderr(&output).contains("FINISHED"), "{}", stderr(&output));
}

#[test]
fn the_summary_as_json_is_the_last_line() {
    let output = with_script(&["run", "-", "--parallelism", "3", "--output", "json"], NUMBERS);
    let text = stdout(&output);
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["state"], "FINISHED");
    let job = &summary["jobs"][0];
    assert_eq!(job["job_id"].as_str().unwrap().len(), 32);
    assert_eq!(job["late_rows_dropped"], 0);
    let sink = job["operators"].as_array().unwrap().iter().find(|operator| operator["kind"] == "sink").unwrap();
    assert_eq!((&sink["records_in"], &sink["parallelism"]), (&5.into(), &3.into()));
}

#[test]
fn a_select_prints_and_an_explain_explains() {
    let output = with_script(&["run", "-"], "EXPLAIN SELECT 1 AS a; SELECT 1 + 1 AS two, 'x' AS x;");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Stream plan") && text.ends_with("+I[2, x]\n"), "{text}");
}

#[test]
fn a_null_for_a_not_null_column_fails_the_job_or_is_dropped() {
    let script = |set: &str| {
        format!(
            "{set} CREATE TABLE strict (id INT NOT NULL, note STRING) WITH ('connector' = 'print');
            INSERT INTO strict SELECT CAST(NULLIF(id, 2) AS INT), CAST(NULL AS STRING)
            FROM (VALUES (1), (2), (3)) AS t(id);"
        )
    };
    let output = with_script(&["run", "-"], &script(""));
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    for part in ["table 'strict'", "column 'id' is NOT NULL", "'table.exec.sink.not-null-enforcer' = 'DROP'"] {
        assert!(error.contains(part), "{error}");
    }
    let output =
        with_script(&["run", "-", "--output", "json"], &script("SET 'table.exec.sink.not-null-enforcer' = 'DROP';"));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let (mut rows, summary): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("+I"));
    rows.sort_unstable();
    assert_eq!(rows, ["+I[1, null]", "+I[3, null]"]);
    let summary: serde_json::Value = serde_json::from_str(summary[0]).unwrap();
    assert_eq!(summary["jobs"][0]["records_skipped"], 1);
}

/// Writes files with one job and reads them with the next.
fn write_and_read(directory: &std::path::Path, set: &str, written: &str) -> String {
    format!(
        "{set} CREATE TABLE files (id INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
        INSERT INTO files SELECT {written} FROM (VALUES ('1'), ('2')) AS t(id);
        CREATE TABLE shown (id INT) WITH ('connector' = 'print');
        INSERT INTO shown SELECT id FROM files;
        SELECT id + 10 FROM files;",
        directory.display()
    )
}

#[test]
fn with_dml_sync_a_statement_sees_what_those_before_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new");
    let script = write_and_read(&path, "SET 'table.dml-sync' = 'true';", "CAST(id AS INT)");
    let output = with_script(&["run", "-"], &script);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["+I[11]", "+I[12]", "+I[1]", "+I[2]"]);
}

#[test]
fn with_dml_sync_nothing_starts_after_a_statement_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let script = write_and_read(directory.path(), "", "CAST(id || 'x' AS INT)");
    let output = with_script(&["run", "-", "--set", "table.dml-sync=true", "--output", "json"], &script);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let states: Vec<&str> =
        summary["jobs"].as_array().unwrap().iter().map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["FAILED", "CANCELED", "CANCELED"]);
}

#[test]
fn errors_say_where_and_exit_with_1() {
    let output = with_script(&["run", "-"], "SELECT nope FROM nowhere;");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
    assert!(stdout(&output).is_empty());
    let output = with_script(&["run", "-", "--set", "pipeline.nme=x"], "SELECT 1;");
    assert!(stderr(&output).contains("did you mean 'pipeline.name'?"), "{}", stderr(&output));
    let failing = "CREATE TABLE t (id BIGINT, d STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
        SELECT CAST(d AS INT) FROM t;";
    let output = with_script(&["run", "-", "--output", "json"], failing);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["jobs"][0]["state"], "FAILED");
    assert!(summary["jobs"][0]["error"].as_str().is_some_and(|error| !error.is_empty()));
}

#[test]
fn a_signal_ends_an_endless_job_cleanly() {
    let mut child = spawn(&["run", "-", "--output", "json"], ENDLESS);
    std::thread::sleep(Duration::from_millis(700));
    terminate(&child);
    assert!(wait(&mut child).success());
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["state"], "CANCELED");
}

#[test]
fn a_reader_that_stalls_does_not_keep_the_process_from_ending() {
    let script = "CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000');
        CREATE TABLE shown (id BIGINT) WITH ('connector' = 'print');
        INSERT INTO shown SELECT id FROM numbers;
        SELECT id FROM numbers;";
    let mut child = spawn(&["run", "-"], script);
    // Its output goes to a pipe that nobody reads.
    std::thread::sleep(Duration::from_millis(1500));
    terminate(&child);
    wait(&mut child);
}

#[test]
fn a_reader_that_goes_away_ends_the_job() {
    let script = "CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10000');
        SELECT id FROM numbers;";
    let mut child = spawn(&["run", "-"], script);
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("+I["), "{first}");
    assert!(wait(&mut child).success());
}

#[test]
fn a_local_cluster_comes_up_and_goes_down() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut cluster = tidemill()
        .args(["cluster", "--taskmanagers", "2", "--slots", "2", "--jobmanager-rpc-port", &port])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(cluster.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("2 task managers with 4 slots"), "{ready}");
    let output = with_script(&["submit", "-", "--parallelism", "4", "--jobmanager-rpc-port", &port], "SELECT 42;");
    assert_eq!(stdout(&output), "+I[42]\n", "{}", stderr(&output));
    let detached = with_script(&["submit", "-", "--detach", "--jobmanager-rpc-port", &port], ENDLESS);
    let job = stdout(&detached).trim().to_owned();
    let stopped = tidemill().args(["stop", &job[..8], "--drain", "--jobmanager-rpc-port", &port]).output().unwrap();
    assert!(stdout(&stopped).contains("is FINISHED"), "{} {}", stdout(&stopped), stderr(&stopped));
    terminate(&cluster);
    assert!(wait(&mut cluster).success());
    let gone = tidemill().args(["list", "--jobmanager-rpc-port", &port]).output().unwrap();
    assert!(stderr(&gone).contains("no job manager answers"), "{}", stderr(&gone));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef tidemill"), ("fish", "complete -c tidemill")] {
        let output = tidemill().args(["completions", shell]).output().unwrap();
        let text = stdout(&output);
        assert!(output.status.success() && text.contains(mark), "{shell}");
        for word in ["savepoint", "events", "from-savepoint", "rest-port"] {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man");
    assert!(tidemill().args(["man", "--directory"]).arg(&pages).output().unwrap().status.success());
    for (page, words) in
        [("tidemill.1", "Exit codes"), ("tidemill-rescale.1", "parallelism"), ("tidemill-savepoint-inspect.1", "PATH")]
    {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".TH ") && text.contains(words), "{page}: {text}");
    }
    assert!(!pages.join("tidemill-docs.1").exists(), "what is hidden has no page");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let unreachable = tidemill().args(["list", "--jobmanager-rpc-port", &port]).output().unwrap();
    assert_eq!(unreachable.status.code(), Some(3), "{}", stderr(&unreachable));
    assert_eq!(tidemill().args(["top", "--interval", "0"]).output().unwrap().status.code(), Some(2));
    assert_eq!(tidemill().args(["completions", "tcsh"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn configuration_errors_name_the_option() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("conf.yaml");
    std::fs::write(&file, "jobmanager:\n  rpc:\n    prt: 1\n").unwrap();
    let output = tidemill().args(["jobmanager", "--config"]).arg(&file).output().unwrap();
    assert!(stderr(&output).contains("did you mean 'jobmanager.rpc.port'?"), "{}", stderr(&output));
    let output = tidemill().args(["jobmanager", "--jobmanager-bind-host", "0.0.0.0"]).output().unwrap();
    assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
}
