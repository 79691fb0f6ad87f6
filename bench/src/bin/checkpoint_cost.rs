//! What a checkpoint a second costs whole jobs on the RocksDB backend: the keyed window of `window.sql`,
//! and the dashboard job over JSON files, each without checkpoints and with them by turns, at parallelism 2
//! on a task manager of two slots. Checkpoints go to a local disk.
//!
//! `checkpoint_cost [million bids] [million JSON bids] [rounds]`

use std::path::Path;

use anyhow::Context;
use tidemill_bench::jobs::{median, run, start};

const WINDOW: &str = include_str!("../../window.sql");
const EVENTS: &str = "'events.num' = '54347826'";
const KPI: &str = include_str!("../../flink/kpi.sql");
/// By how much checkpoints may slow a job down, in percent.
const SLOWER_MAX: f64 = 5.0;
const PARALLELISM: usize = 2;

/// Makes the JSON bids that the dashboard job reads.
const BIDS: &str = "
CREATE TABLE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING
) WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid', 'events.num' = '${events}');
CREATE TABLE file (
    auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING
) WITH ('connector' = 'filesystem', 'path' = '${data}', 'format' = 'json');
INSERT INTO file SELECT * FROM bid;
";

fn main() -> anyhow::Result<()> {
    let number = |at: usize, otherwise: u64| std::env::args().nth(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (bids, json, rounds) = (number(1, 400)? * 1_000_000, number(2, 12)? * 1_000_000, number(3, 5)?);
    anyhow::ensure!(WINDOW.contains(EVENTS), "window.sql has another number of events than is replaced");
    // Beside the build, not in memory as `/tmp` may be.
    let directory = tempfile::tempdir_in(std::env::current_exe()?.parent().context("a program lies in a directory")?)?;
    let cluster = start(1, PARALLELISM)?;
    let place = |name: &str| directory.path().join(name).display().to_string();
    let write = |name: &str, text: &str| -> anyhow::Result<String> {
        std::fs::write(directory.path().join(name), text)?;
        Ok(place(name))
    };
    // 46 of 50 events of the generator are bids.
    let events = (json * 50 / 46).to_string();
    let generate = write("bids.sql", &BIDS.replace("${events}", &events).replace("${data}", &place("bids")))?;
    run(&cluster, &generate, PARALLELISM)?;
    let kpi = KPI.replace("${data}", &place("bids")).replace("${out}", &place("out"));
    let window = WINDOW.replace(EVENTS, &format!("'events.num' = '{bids}'"));
    for (name, text) in [("keyed window", window), ("dashboard job", kpi)] {
        let with = format!(
            "SET 'execution.checkpointing.interval' = '1 s';\nSET 'execution.checkpointing.dir' = 'file://{}';\n{text}",
            place("checkpoints")
        );
        let scripts = [write("without.sql", &rocksdb(&text))?, write("with.sql", &rocksdb(&with))?];
        let mut samples = [Vec::new(), Vec::new()];
        run(&cluster, &scripts[0], PARALLELISM)?;
        for _ in 0..rounds {
            for (script, samples) in scripts.iter().zip(&mut samples) {
                samples.push(run(&cluster, script, PARALLELISM)?);
                remove(&directory.path().join("out"))?;
            }
        }
        let [without, with] = samples.map(|samples| median(&samples));
        let slower = (1.0 - with.rows_per_s / without.rows_per_s) * 100.0;
        println!(
            "{name:<13}: without checkpoints {:.2} M rows/s, {:.4} CPU s/M; one a second {:.2} M rows/s, {:.4} CPU s/M; \
             {slower:.1} % slower ({}, wanted {SLOWER_MAX})",
            without.rows_per_s / 1e6,
            without.cpu_s_per_million,
            with.rows_per_s / 1e6,
            with.cpu_s_per_million,
            if slower <= SLOWER_MAX { "ok" } else { "MISSED" },
        );
    }
    Ok(())
}

fn rocksdb(text: &str) -> String {
    format!("SET 'state.backend.type' = 'rocksdb';\n{text}")
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
