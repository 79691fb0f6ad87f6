//! Jobs on a cluster of processes, and what they took.

use std::time::{Duration, Instant};

use anyhow::Context;
use tidemill_tests::cluster::Cluster;

/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;

/// What a run took.
#[derive(Clone, Copy)]
pub struct Sample {
    pub rows_per_s: f64,
    /// Of the task managers.
    pub cpu_s_per_million: f64,
}

/// A cluster whose slots are all there.
///
/// # Errors
/// If it does not come up.
pub fn start(task_managers: usize, slots: usize) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(task_managers, slots)?;
    let begun = Instant::now();
    loop {
        let info = cluster.run("info", &["--output", "json"])?;
        let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap_or_default();
        if info["task_managers"].as_array().is_some_and(|members| members.len() == task_managers) {
            return Ok(cluster);
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "no {task_managers} task managers: {info}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a script of one job to its end. Rows are those of its source.
///
/// # Errors
/// If the job fails.
pub fn run(cluster: &Cluster, script: &str, parallelism: usize) -> anyhow::Result<Sample> {
    let (cpu, parallelism) = (cpu_seconds(cluster)?, parallelism.to_string());
    let ended = cluster.run("submit", &[script, "--parallelism", &parallelism, "--output", "json"])?;
    anyhow::ensure!(ended.status.success(), "{}\n{}", String::from_utf8_lossy(&ended.stderr), cluster.logs());
    let cpu = cpu_seconds(cluster)? - cpu;
    let summary: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    let job = &summary["jobs"][0];
    let operators = job["operators"].as_array().context("the summary lists no operators")?;
    let source = operators.iter().find(|operator| operator["kind"] == "source").context("there is no source")?;
    let rows = source["records_out"].as_f64().context("the source has no records_out")?;
    let milliseconds = job["duration_ms"].as_f64().context("the job has no duration_ms")?;
    anyhow::ensure!(rows > 0.0 && milliseconds > 0.0, "nothing was read: {summary}");
    Ok(Sample { rows_per_s: rows * 1000.0 / milliseconds, cpu_s_per_million: cpu * 1e6 / rows })
}

/// CPU time of the task managers so far.
fn cpu_seconds(cluster: &Cluster) -> anyhow::Result<f64> {
    let of = |process: &std::process::Child| -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        Ok((ticks(11).context("utime")? + ticks(12).context("stime")?) / TICKS)
    };
    cluster.task_managers.iter().map(of).sum()
}

/// The median of each figure.
pub fn median(samples: &[Sample]) -> Sample {
    let middle = |value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample { rows_per_s: middle(|s| s.rows_per_s), cpu_s_per_million: middle(|s| s.cpu_s_per_million) }
}
