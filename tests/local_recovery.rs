//! A job whose task manager is killed goes on from copies of its state on local disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use tidemill_tests::cluster::{Cluster, signal};
use tidemill_tests::jobs::{names, rows, submit, wait_for, wait_for_state};

/// Keys, each of which comes twice, far apart.
const KEYS: u64 = 60_000;
/// What is in a checkpoint at least before the kill.
const STATE_BYTES: u64 = 4 << 20;

/// Counts keys, and rows and a sum a key.
fn script(place: &Path) -> String {
    let place = place.display();
    let key: Vec<String> =
        (0..8).map(|n| format!("CAST(k * {} AS STRING)", 6_364_136_223_846_793_005_u64 - 2 * n)).collect();
    format!(
        "SET 'execution.checkpointing.interval' = '300 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'execution.state-recovery.from-local' = 'true';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (
    n BIGINT, k AS MOD(n, {KEYS}), ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '10000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{end}'
);
CREATE TABLE counted (keys BIGINT, n BIGINT, total BIGINT) WITH (
    'connector' = 'filesystem', 'path' = '{place}/counted', 'format' = 'json'
);
CREATE TEMPORARY VIEW keyed AS SELECT {key} AS id, n, ts FROM numbers;
CREATE TEMPORARY VIEW per_key AS
    SELECT window_start, window_end, id, COUNT(*) AS n, SUM(n) AS total
    FROM TABLE(TUMBLE(TABLE keyed, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, id;
INSERT INTO counted SELECT COUNT(*), SUM(n), SUM(total) FROM per_key GROUP BY window_start, window_end;
",
        end = 2 * KEYS,
        key = key.join(" || ")
    )
}

/// A job on one task manager, with a good deal of state in its checkpoints, and another one that stands by.
struct Scene {
    cluster: Cluster,
    place: PathBuf,
    job: String,
}

impl Scene {
    fn start(memory: &str) -> Self {
        let options = [("io-tmp-dirs", "{directory}"), ("taskmanager-memory-size", memory)];
        let mut cluster = Cluster::start_with(1, 2, &options).unwrap();
        let place = cluster.directory().join("job");
        std::fs::create_dir(&place).unwrap();
        let job = submit(&cluster, &script(&place), &["--parallelism", "2"]);
        wait_for(&cluster, "enough state", || {
            let history = cluster.json("checkpoints", &[&job]).ok()?;
            let complete = history["checkpoints"].as_array()?.iter().filter(|c| c["state"] == "COMPLETED");
            complete.filter_map(|c| c["bytes_total"].as_u64()).find(|bytes| *bytes > STATE_BYTES)
        });
        cluster.start_task_manager().unwrap();
        wait_for(&cluster, "another task manager", || {
            let info = cluster.json("info", &[]).ok()?;
            (info["task_managers"].as_array()?.len() == 2).then_some(())
        });
        Self { cluster, place, job }
    }

    /// The task manager with the job does nothing more.
    fn freeze(&self) {
        signal(self.cluster.task_managers[0].id(), "STOP").unwrap();
    }

    /// Files of checkpoints, or copies of them: `a<attempt>-<unique>`.
    fn files(&self, directory: &Path) -> Vec<PathBuf> {
        let is_file = |name: &String| {
            let last = name.rsplit('/').next().unwrap_or_default();
            last.starts_with('a') && last.contains('-') && !last.contains('#')
        };
        names(directory).into_iter().filter(is_file).map(|name| directory.join(name)).collect()
    }

    fn copies(&self) -> PathBuf {
        self.cluster.directory().join("tidemill-copies")
    }

    fn await_restart(&self) {
        wait_for(&self.cluster, "restarted", || {
            let described = self.cluster.json("describe", &[&self.job]).ok()?;
            (described["attempts"].as_array()?.len() > 1 && described["state"] == "RUNNING").then_some(())
        });
    }

    /// What is told of where state was read from: files and bytes, from local disk and from the store.
    fn restored(&self) -> [u64; 4] {
        wait_for(&self.cluster, "restored", || {
            let logs = self.cluster.logs();
            let lines: Vec<&str> = logs.lines().filter(|line| line.contains("restored keyed state")).collect();
            let sum = |name: &str| lines.iter().map(|line| number(line, name)).sum::<u64>();
            (lines.len() >= 2)
                .then(|| [sum("files_local"), sum("bytes_local"), sum("files_fetched"), sum("bytes_fetched")])
        })
    }

    /// The job ends as if nothing had been.
    fn assert_exact(&self) {
        wait_for_state(&self.cluster, &self.job, "FINISHED");
        let rows_read = 2 * KEYS;
        let expected = format!("{{\"keys\":{KEYS},\"n\":{rows_read},\"total\":{}}}", rows_read * (rows_read + 1) / 2);
        assert_eq!(rows(&self.place.join("counted")).into_iter().collect::<Vec<_>>(), [(expected, 1)]);
        wait_for(&self.cluster, "copies deleted", || self.files(&self.copies()).is_empty().then_some(()));
    }
}

/// The number behind `name=` in a line of a log.
fn number(line: &str, name: &str) -> u64 {
    let digits = line.split_once(&format!("{name}=")).map_or("", |(_, rest)| rest);
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[test]
fn after_a_kill_nothing_large_is_read_from_the_store() {
    let mut scene = Scene::start("1 gb");
    assert!(!scene.files(&scene.copies()).is_empty(), "{:?}", names(&scene.copies()));
    scene.freeze();
    // What its heir could fetch is of no use any more.
    for file in scene.files(&scene.place.join("checkpoints")) {
        std::fs::write(file, "lost").unwrap();
    }
    scene.cluster.kill_task_manager(0).unwrap();
    scene.await_restart();
    let [files_local, bytes_local, files_fetched, bytes_fetched] = scene.restored();
    assert!(files_local > 0 && bytes_local > STATE_BYTES / 2, "{files_local} files, {bytes_local} bytes");
    assert_eq!((files_fetched, bytes_fetched), (0, 0));
    scene.assert_exact();
}

#[test]
fn copies_that_are_damaged_are_fetched_from_the_store() {
    // State goes to disk as it is.
    let mut scene = Scene::start("128 mb");
    scene.freeze();
    for (index, file) in scene.files(&scene.copies()).into_iter().enumerate() {
        // Not in place: the file of the store must not be the same one.
        let mut content = std::fs::read(&file).unwrap();
        let half = content.len() / 2;
        std::fs::remove_file(&file).unwrap();
        match index % 3 {
            0 => content[half] ^= 1,
            1 => content.truncate(half),
            _ => continue,
        }
        std::fs::write(&file, content).unwrap();
    }
    scene.cluster.kill_task_manager(0).unwrap();
    scene.await_restart();
    let [files_local, _, files_fetched, bytes_fetched] = scene.restored();
    assert!(files_fetched > 0 && bytes_fetched > STATE_BYTES / 2, "{files_fetched} files, {bytes_fetched} bytes");
    assert_eq!(files_local, 0);
    assert!(scene.cluster.logs().contains("a local copy cannot be used"));
    scene.assert_exact();
}
