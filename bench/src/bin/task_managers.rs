//! What it costs that a job is spread over processes: the keyed window of `window.sql` at parallelism 2
//! on one task manager of two slots, and on two of one slot, each a process of its own, by turns. With
//! local aggregation the accumulators cross the exchange, without it every row does.
//!
//! `task_managers [million events] [rounds]`

use std::time::{Duration, Instant};

use tidemill_bench::jobs::{Sample, median, run, start};

const WINDOW: &str = include_str!("../../window.sql");
const EVENTS: &str = "'events.num' = '54347826'";
/// How long all rounds may take; what is measured until then counts.
const TIME_MAX: Duration = Duration::from_secs(120);
const ROUNDS_MIN: usize = 3;

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
    let [one, two] = SHAPES;
    let clusters = [start(one.0, one.1)?, start(two.0, two.1)?];
    for cluster in &clusters {
        run(cluster, &scripts[0], 2)?;
    }
    let begun = Instant::now();
    let mut samples: [[Vec<Sample>; 2]; 2] = Default::default();
    for round in 0..rounds {
        if round >= ROUNDS_MIN && begun.elapsed() > TIME_MAX {
            break;
        }
        for (script, of_case) in scripts.iter().zip(&mut samples) {
            for (cluster, of_shape) in clusters.iter().zip(of_case) {
                of_shape.push(run(cluster, script, 2)?);
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
