//! The shell `tidemill sql`: by pipe, with `-e` and `-f`, in a terminal, on a cluster.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tidemill_tests::cluster::Cluster;

const NUMBERS: &str = "CREATE TABLE numbers (n INT, tag AS CAST(n AS STRING) || '!') WITH (
  'connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3'
);
";

fn shell(home: &Path) -> Command {
    let mut command = tidemill_tests::tidemill().unwrap();
    command.arg("sql").env("XDG_STATE_HOME", home);
    command
}

/// Runs a shell that reads `input`.
fn piped(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

#[test]
fn statements_come_by_pipe() {
    let home = tempfile::tempdir().unwrap();
    let output = piped(shell(home.path()), &format!("{NUMBERS}SHOW TABLES;\nSELECT n,\n  tag FROM numbers;\n"));
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(out.contains("| table name |\n+------------+\n|    numbers |\n"), "{out}");
    assert!(out.contains("| op | n | tag |\n"), "{out}");
    for row in ["| +I | 1 |  1! |\n", "| +I | 2 |  2! |\n", "| +I | 3 |  3! |\n"] {
        assert!(out.contains(row), "{out}");
    }
    assert!(out.contains("\n3 rows in "), "{out}");
}

#[test]
fn rows_are_shown_as_the_mode_says() {
    let home = tempfile::tempdir().unwrap();
    let mut command = shell(home.path());
    command.args(["-e", NUMBERS, "-e", "SET 'sql-client.execution.result-mode' = 'table'; SELECT n FROM numbers;"]);
    let output = command.output().unwrap();
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.contains("+---+\n| n |\n+---+\n| 1 |\n| 2 |\n| 3 |\n+---+\n"), "{out}");

    let mut command = shell(home.path());
    command.args(["-e", "SET 'sql-client.execution.result-mode' = 'tabel'"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("did you mean 'table'?"), "{}", text(&output.stderr));
}

#[test]
fn a_file_stops_at_its_first_error_and_says_where() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("job.sql");
    let out = home.path().join("out");
    let script = format!(
        "{NUMBERS}-- one\nCREATE TABLE t (n INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
INSERT INTO t SELECT n FROM numbers;\n\n  SELECT m FROM numbers;\nSELECT n FROM numbers;\n",
        out.display()
    );
    std::fs::write(&file, &script).unwrap();
    let mut command = shell(home.path());
    let output = command.arg("-f").arg(&file).output().unwrap();
    let errors = text(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    let line = script.lines().position(|line| line.contains("SELECT m")).unwrap() + 1;
    assert!(errors.contains(&format!("--> {}:{line}:10\n", file.display())), "{errors}");
    assert!(errors.contains("unknown column 'm'") && errors.contains("did you mean 'n'?"), "{errors}");
    assert!(!text(&output.stdout).contains("| +I |"), "{}", text(&output.stdout));

    let _ = std::fs::remove_dir_all(&out);
    // Without the wrong statement each INSERT is waited for and told of.
    std::fs::write(&file, script.replace("  SELECT m FROM numbers;\nSELECT n FROM numbers;\n", "")).unwrap();
    let output = shell(home.path()).arg("-f").arg(&file).output().unwrap();
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("job insert-into_t (") && errors.contains("FINISHED after"), "{errors}");
    let lines: usize = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap().lines().count())
        .sum();
    assert_eq!(lines, 3);
}

#[test]
fn what_was_defined_stays_and_can_be_changed() {
    let home = tempfile::tempdir().unwrap();
    let output = piped(
        shell(home.path()),
        &format!(
            "{NUMBERS}CREATE DATABASE other;
CREATE VIEW other.big AS SELECT n FROM numbers WHERE n > 1;
ALTER TABLE numbers RENAME TO renamed;
DESCRIBE renamed;
USE other;
SHOW TABLES;
SET 'pipeline.name' = 'mine';
SET;
RESET 'pipeline.name';
DROP VIEW big;
SELECT n FROM default_database.renamed WHERE n = 2;
SELECT * FROM big;
"
        ),
    );
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(!output.status.success(), "{out}");
    assert!(out.contains("|        big |") && out.contains("pipeline.name |  mine |"), "{out}");
    assert!(out.contains("| +I | 2 |"), "{out}");
    assert!(errors.contains("unknown table 'other.big'") && errors.contains("<stdin>:15:15"), "{errors}");
}

#[test]
fn in_a_terminal_statements_have_lines_and_a_history() {
    let home = tempfile::tempdir().unwrap();
    let binary = tidemill_tests::binary().unwrap();
    let mut command = Command::new("script");
    command
        .args(["-qefc", &format!("{} sql", binary.display()), "/dev/null"])
        .env("XDG_STATE_HOME", home.path())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let (sender, received) = std::sync::mpsc::channel::<Vec<u8>>();
    let mut output = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read) = std::io::Read::read(&mut output, &mut buffer) {
            if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut shown = Vec::new();
    let mut wait_for = |word: &str| {
        let end = Instant::now() + Duration::from_secs(60);
        let from = shown.len();
        while !text(&shown[from..]).contains(word) {
            let left = end.saturating_duration_since(Instant::now());
            match received.recv_timeout(left) {
                Ok(bytes) => shown.extend(bytes),
                Err(_) => panic!("'{word}' was not shown:\n{}", text(&shown)),
            }
        }
    };
    let mut type_in = |keys: &str| {
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    };
    wait_for("Tidemill SQL> ");
    // A statement of several lines; Tab completes a word and, later, the name of the table.
    type_in(&NUMBERS.replace('\n', "\r"));
    wait_for("done");
    type_in("SELECT n FROM numb\t WHERE n = 2;\r");
    wait_for("1 row in");
    type_in("SELECT m FROM numbers;\r");
    wait_for("unknown column 'm'");
    type_in("QUIT;\r");
    assert!(child.wait().unwrap().success(), "{}", text(&shown));
    let history = std::fs::read_to_string(home.path().join("tidemill/history")).unwrap();
    assert!(history.contains("SELECT m FROM numbers;"), "{history}");
}

#[test]
fn a_shell_on_a_cluster_leaves_its_jobs_there() {
    let home = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(1, 2).unwrap();
    let mut command = shell(home.path());
    command.args([
        "--cluster",
        &format!("127.0.0.1:{}", cluster.port),
        "-e",
        NUMBERS,
        "-e",
        "SELECT n, tag FROM numbers;",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("| +I | 3 |  3! |"), "{}", text(&output.stdout));
    let mut command = shell(home.path());
    let output = command.args(["--cluster", "127.0.0.1:1", "-e", "SELECT 1;"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no job manager answers at 127.0.0.1:1"), "{}", text(&output.stderr));
}
