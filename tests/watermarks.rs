//! Watermarks of running jobs: a silent partition does not hold back the others for ever, and a fast source
//! waits for a slow one where it is told to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tidemill_tests::cluster::Cluster;
use tidemill_tests::services::Service;

/// How long a line that must come may take.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);

/// A command that prints rows, ended when dropped.
struct Rows {
    child: Child,
    lines: Receiver<String>,
}

impl Rows {
    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line; `None` if none comes in this time.
    fn within(&self, time: Duration) -> Option<String> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the job has ended"),
        }
    }

    /// All lines to the end.
    fn all(mut self) -> Vec<String> {
        let lines = self.lines.iter().collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Counts in windows of ten seconds over a topic; a subtask each for its two partitions, and two behind the
/// exchange.
fn counts(servers: &str, set: &str) -> tempfile::NamedTempFile {
    script(&format!(
        "{set}
SET 'table.exec.resource.default-parallelism' = '2';
CREATE TABLE events (name STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
    'connector' = 'kafka', 'topic' = 'half-silent', 'properties.bootstrap.servers' = '{servers}',
    'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
SELECT window_start, name, COUNT(*)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, name;"
    ))
}

fn produce(kafka: &Service, keys: &[&str], seconds: std::ops::Range<u32>) {
    let mut text = String::new();
    for second in seconds {
        for key in keys {
            let at = format!("2024-06-01 10:{:02}:{:02}", second / 60, second % 60);
            text += &format!("{key}\t{{\"name\":\"{key}\",\"ts\":\"{at}\"}}\n");
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    kafka.run("produce", &["half-silent", &file.path().display().to_string()]).unwrap();
}

#[test]
fn bug_24_a_silent_partition_holds_windows_back_until_the_idle_timeout() {
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    kafka.run("topic", &["half-silent", "2"]).unwrap();
    // One key, one partition: the other has nothing.
    produce(&kafka, &["a"], 0..25);
    let cluster = Cluster::start(2, 2).unwrap();
    let submit = |file: &tempfile::NamedTempFile| {
        let mut command = cluster.command("submit");
        command.arg(file.path());
        Rows::of(command)
    };
    let waiting_script = counts(&kafka.address, "");
    let idle_script = counts(&kafka.address, "SET 'table.exec.source.idle-timeout' = '500 ms';");
    let (waiting, idle) = (submit(&waiting_script), submit(&idle_script));
    let expected = ["+I[2024-06-01T10:00, a, 10]", "+I[2024-06-01T10:00:10, a, 10]"];
    for expected in expected {
        assert_eq!(idle.within(LINE_TIMEOUT).as_deref(), Some(expected), "{}", cluster.logs());
    }
    // The third window is open: the partition that speaks stands at its 24th second.
    assert_eq!(idle.within(Duration::from_secs(2)), None);
    assert_eq!(waiting.within(Duration::from_secs(1)), None, "nobody said that a partition may be idle");
    // Many keys: both partitions move on, and the windows of both jobs close.
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    produce(&kafka, &keys, 60..62);
    for expected in expected {
        assert_eq!(waiting.within(LINE_TIMEOUT).as_deref(), Some(expected), "{}", cluster.logs());
    }
    let third = Some("+I[2024-06-01T10:00:20, a, 5]");
    assert_eq!(waiting.within(LINE_TIMEOUT).as_deref(), third);
    assert_eq!(idle.within(LINE_TIMEOUT).as_deref(), third);
}

/// Rows of a source whose event time runs 200 s a second and of one with 1 s a second, as they come.
fn fast_and_slow(alignment: &str) -> Vec<(String, u64)> {
    let table = |name: &str, rate: u32, rows: u32| {
        format!(
            "CREATE TABLE {name} (id BIGINT, ts AS TO_TIMESTAMP_LTZ(id * 1000, 3), WATERMARK FOR ts AS ts) WITH (
    'connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' = '{rows}'{alignment},
    'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '{rows}');\n"
        )
    };
    let file = script(&format!(
        "{}{}SELECT 'fast', id FROM fast UNION ALL SELECT 'slow', id FROM slow;",
        table("fast", 200, 1000),
        table("slow", 1, 8)
    ));
    let begun = Instant::now();
    let mut command = tidemill_tests::tidemill().unwrap();
    command.arg("run").arg(file.path());
    let rows = Rows::of(command).all();
    assert!(begun.elapsed() < Duration::from_secs(60), "the slow source takes eight seconds");
    let read = |line: &String| {
        let (name, id) = line.trim_start_matches("+I[").trim_end_matches(']').split_once(", ").unwrap();
        (name.to_owned(), id.parse().unwrap())
    };
    rows.iter().map(read).collect()
}

/// The furthest that the fast source had come when the slow one was at its end, and at its own end.
fn fast_at_the_end(rows: &[(String, u64)]) -> (u64, usize) {
    let last_slow = rows.iter().rposition(|(name, _)| name == "slow").unwrap();
    let before = rows[..last_slow].iter().filter(|(name, _)| name == "fast").map(|(_, id)| *id).max();
    (before.unwrap_or(0), rows.iter().filter(|(name, _)| name == "fast").count())
}

#[test]
fn a_fast_source_waits_for_a_slow_one_in_its_alignment_group() {
    let aligned = std::thread::spawn(|| {
        fast_and_slow(
            ",
    'scan.watermark.alignment.group' = 'both', 'scan.watermark.alignment.max-drift' = '20 s',
    'scan.watermark.alignment.update-interval' = '100 ms'",
        )
    });
    let free = fast_at_the_end(&fast_and_slow(""));
    let aligned = fast_at_the_end(&aligned.join().unwrap());
    assert_eq!(free, (1000, 1000));
    // It may overshoot by what it reads until it is told to wait, and goes on when the slow one has ended.
    assert!(aligned.0 < 700, "the fast source was at second {} when the slow one was at 8", aligned.0);
    assert_eq!(aligned.1, 1000);
}
