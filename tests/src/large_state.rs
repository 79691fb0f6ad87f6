//! A job whose state does not fit into the memory that its task manager was given.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::Cluster;

/// Bytes of one key and its accumulators: the text of [`KEY_NUMBERS`] numbers, a count and a sum.
pub const ROW_BYTES: u64 = 250;
/// Numbers whose digits make a key, so that it does not compress to nothing.
const KEY_NUMBERS: u64 = 12;

/// What is asked of a run.
pub struct LargeState {
    /// `taskmanager.memory.size`, in MB.
    pub memory_mb: u64,
    /// Keys that are there at once. Each comes twice, far apart.
    pub keys: u64,
    /// Whether the task manager is killed in between, and another takes over.
    pub kill: bool,
    /// How long it may take.
    pub limit: Duration,
}

/// What came of it.
pub struct Outcome {
    pub seconds: f64,
    /// The highest resident memory of any task manager, in MB.
    pub peak_mb: u64,
    /// Bytes of the largest checkpoint.
    pub checkpoint_bytes: u64,
    pub checkpoints: u64,
    pub restarts: u64,
    /// Keys, rows and sum, as the job counted them.
    pub counted: (u64, u64, u64),
}

impl LargeState {
    /// Keys, rows and sum, as they must be.
    pub fn expected(&self) -> (u64, u64, u64) {
        let rows = 2 * self.keys;
        (self.keys, rows, rows * (rows + 1) / 2)
    }

    fn script(&self, place: &Path) -> String {
        let place = place.display();
        let rows = 2 * self.keys;
        let key: Vec<String> = (0..KEY_NUMBERS)
            .map(|number| format!("CAST(k * {} AS STRING)", 6_364_136_223_846_793_005 - 2 * number))
            .collect();
        format!(
            "SET 'execution.checkpointing.interval' = '2 s';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (
    n BIGINT, k AS MOD(n, {keys}), ts AS TO_TIMESTAMP_LTZ(n / 1000, 3), WATERMARK FOR ts AS ts
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '100000000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{rows}'
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
            keys = self.keys,
            key = key.join(" || ")
        )
    }

    /// Runs it, on one task manager of two slots at a time.
    ///
    /// # Errors
    /// If the job fails, or does not end in time.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let memory = format!("{} mb", self.memory_mb);
        let mut cluster = Cluster::start_with(
            1,
            2,
            &[
                ("jobmanager-data-dir", "{directory}/jobmanager"),
                ("taskmanager-memory-size", &memory),
                ("io-tmp-dirs", "{directory}"),
            ],
        )?;
        let place = cluster.directory().join("job");
        std::fs::create_dir(&place)?;
        let file = place.join("job.sql");
        std::fs::write(&file, self.script(&place))?;
        let begun = Instant::now();
        let submitted = cluster.command("submit").arg(&file).args(["--detach", "--parallelism", "2"]).output()?;
        anyhow::ensure!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
        let job = String::from_utf8(submitted.stdout)?.trim().to_owned();
        let (mut outcome, mut killed) = (
            Outcome { seconds: 0.0, peak_mb: 0, checkpoint_bytes: 0, checkpoints: 0, restarts: 0, counted: (0, 0, 0) },
            !self.kill,
        );
        loop {
            std::thread::sleep(Duration::from_millis(200));
            for process in &cluster.task_managers {
                outcome.peak_mb = outcome.peak_mb.max(peak_mb(process.id())?);
            }
            let described = cluster.json("describe", &[&job]).unwrap_or_default();
            let state = described["state"].as_str().unwrap_or("?").to_owned();
            outcome.restarts = described["attempts"].as_array().map_or(0, |attempts| attempts.len() as u64 - 1);
            if state == "FINISHED" {
                break;
            }
            let over = matches!(state.as_str(), "FAILED" | "CANCELED") || begun.elapsed() > self.limit;
            anyhow::ensure!(!over, "the job is {state} after {:?}: {described:#}\n{}", begun.elapsed(), cluster.logs());
            let history = cluster.json("checkpoints", &[&job]).unwrap_or_default();
            let bytes = bytes_of(&history);
            outcome.checkpoint_bytes = outcome.checkpoint_bytes.max(bytes.iter().copied().max().unwrap_or(0));
            outcome.checkpoints = outcome.checkpoints.max(history["completed"].as_u64().unwrap_or(bytes.len() as u64));
            // In the middle, with a good deal of state in a checkpoint.
            if !killed && outcome.checkpoint_bytes > self.keys * ROW_BYTES / 4 {
                cluster.kill_task_manager(0)?;
                cluster.start_task_manager()?;
                killed = true;
            }
        }
        outcome.seconds = begun.elapsed().as_secs_f64();
        outcome.counted = counted(&place.join("counted"))?;
        Ok(outcome)
    }
}

/// Bytes of each checkpoint in a history.
fn bytes_of(history: &serde_json::Value) -> Vec<u64> {
    let list = history.as_array().or_else(|| history["checkpoints"].as_array());
    list.into_iter().flatten().filter_map(|checkpoint| checkpoint["bytes_total"].as_u64()).collect()
}

/// The highest resident memory that a process had so far.
fn peak_mb(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(peak.context("a process without memory")?.trim().parse::<u64>()?.div_ceil(1024))
}

/// The only row of the output.
fn counted(directory: &Path) -> anyhow::Result<(u64, u64, u64)> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            rows.extend(std::fs::read_to_string(entry.path())?.lines().map(str::to_owned));
        }
    }
    anyhow::ensure!(rows.len() == 1, "there should be one row, not {rows:?}");
    let row: serde_json::Value = serde_json::from_str(&rows[0])?;
    let number = |column: &str| row[column].as_u64().context("a count is missing");
    Ok((number("keys")?, number("n")?, number("total")?))
}
