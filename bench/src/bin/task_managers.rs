//! What it costs that a job is spread over processes: the keyed window of `window.sql` at parallelism 2
//! on one task manager of two slots, and on two of one slot, each a process of its own, by turns. With
//! local aggregation the accumulators cross the exchange, without it every row does.
//!
//! `task_managers [million events] [rounds]`

use std::time::{Duration, Instant};

use anyhow::Context;
use tidemill_tests::cluster::Cluster;

const WINDOW: &str = include_str!("../../window.sql");
const EVENTS: &str = "'events.num' = '54347826'";
/// How long all rounds may take; what is measured until then counts.
const TIME_MAX: Duration = Duration::from_secs(120);
const ROUNDS_MIN: usize = 3;
/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;

/// One task manager of two slots, or two of one.
const SHAPES: [(usize, usize); 2] = [(1, 2), (2, 1)];

struct Case {
    name: &'static str,
    settings: &'static str,
    wanted: f64,
}

const CASES: [Case; 2] = [
    Case { name: "local aggregation", settings: "", wanted: 0.8 },
    Case { name: "every row", settings: "SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE';\n", wanted: 0.65 },
];

/// What a run took.
#[derive(Clone, Copy)]
struct Sample {
    rows_per_s: f64,
    cpu_s_per_million: f64,
}

fn main() -> anyhow::Result<()> {
    let number = |at: usize, otherwise: u64| std::env::args().nth(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (millions, rounds) = (number(1, 200)?, number(2, 7)? as usize);
    anyhow::ensure!(WINDOW.contains(EVENTS), "window.sql has another number of events than is replaced");
    let directory = tempfile::tempdir()?;
    let scripts: Vec<String> = CASES
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let events = format!("'events.num' = '{}'", millions * 1_000_000);
            let path = directory.path().join(format!("{index}.sql"));
            std::fs::write(&path, format!("{}{}", case.settings, WINDOW.replace(EVENTS, &events)))?;
            Ok(path.display().to_string())
        })
        .collect::<anyhow::Result<_>>()?;
    let clusters = [start(SHAPES[0])?, start(SHAPES[1])?];
    for cluster in &clusters {
        run(cluster, &scripts[0])?;
    }
    let begun = Instant::now();
    let mut samples: [[Vec<Sample>; 2]; 2] = Default::default();
    for round in 0..rounds {
        if round >= ROUNDS_MIN && begun.elapsed() > TIME_MAX {
            break;
        }
        for (script, of_case) in scripts.iter().zip(&mut samples) {
            for (cluster, of_shape) in clusters.iter().zip(of_case) {
                of_shape.push(run(cluster, script)?);
            }
        }
    }
    println!("window.sql over {millions} M events at parallelism 2, medians of {} rounds", samples[0][0].len());
    for (case, [one, two]) in CASES.iter().zip(&samples) {
        let (one, two) = (median(one), median(two));
        let ratio = two.rows_per_s / one.rows_per_s;
        println!(
            "{:<17}: one process {:.1} M rows/s, {:.4} CPU s/M; two {:.1} M rows/s, {:.4} CPU s/M; \
             speed two/one {ratio:.2} ({}, wanted {}), by CPU time {:.2}",
            case.name,
            one.rows_per_s / 1e6,
            one.cpu_s_per_million,
            two.rows_per_s / 1e6,
            two.cpu_s_per_million,
            if ratio >= case.wanted { "ok" } else { "MISSED" },
            case.wanted,
            one.cpu_s_per_million / two.cpu_s_per_million,
        );
    }
    Ok(())
}

/// A cluster whose slots are all there.
fn start((task_managers, slots): (usize, usize)) -> anyhow::Result<Cluster> {
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

/// Runs the script to its end.
fn run(cluster: &Cluster, script: &str) -> anyhow::Result<Sample> {
    let cpu = cpu_seconds(cluster)?;
    let ended = cluster.run("submit", &[script, "--parallelism", "2", "--output", "json"])?;
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

fn median(samples: &[Sample]) -> Sample {
    let middle = |value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample { rows_per_s: middle(|s| s.rows_per_s), cpu_s_per_million: middle(|s| s.cpu_s_per_million) }
}
