//! How long a job with much keyed state is away: from the SIGKILL of its task manager, while another one
//! stands by, to the first row beyond everything that was written before; with the state on local disk,
//! and fetched from a store. And the same from the request to rescale it.
//!
//! The state and the rows are of one operator: a window far in the future has all the state, and small
//! ones fire ten times a second. All rows behind the last checkpoint are read again, at the pace at which
//! they came.
//!
//! `recovery [MB of state] [rounds] [local|files|s3|rescale]`

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::large_state::ROW_BYTES;
use tidemill_tests::services::Service;

/// Rows a second.
const PACE: u64 = 400_000;
/// How long until all state is in checkpoints.
const FILL_TIME_MAX: Duration = Duration::from_secs(180);
/// How long a recovery may take before it counts as failed.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(60);
/// After the state is there, and between two rounds: for compactions to end.
const REST: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Local,
    Files,
    S3,
    Rescale,
}

impl Case {
    const ALL: [Self; 4] = [Self::Local, Self::Files, Self::S3, Self::Rescale];

    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Files => "files",
            Self::S3 => "s3",
            Self::Rescale => "rescale",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Local => "killed, state on local disk",
            Self::Files => "killed, state fetched from files",
            Self::S3 => "killed, state fetched from an S3 server",
            Self::Rescale => "rescaled from 2 to 4 and back",
        }
    }

    /// Seconds.
    fn wanted(self) -> f64 {
        match self {
            Self::Local => 2.0,
            Self::Files | Self::S3 => 5.0,
            Self::Rescale => 3.0,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| arguments.get(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (megabytes, rounds) = (number(0, 1024)?, number(1, 3)?);
    for case in Case::ALL {
        if arguments.get(2).is_none_or(|only| only == case.name()) {
            measure(case, megabytes << 20, rounds)?;
        }
    }
    Ok(())
}

fn measure(case: Case, bytes: u64, rounds: u64) -> anyhow::Result<()> {
    let service = match case {
        Case::S3 => match Service::start("s3.sh")? {
            Some(service) => Some(service),
            None => {
                println!("{:<40}: skipped, there is no S3 server", case.what());
                return Ok(());
            }
        },
        _ => None,
    };
    let endpoint = service.as_ref().map_or("http://127.0.0.1:1", |service| &service.address);
    let s3 = [
        ("s3-endpoint", endpoint),
        ("s3-access-key", "test"),
        ("s3-secret-key", "test"),
        ("s3-region", "us-east-1"),
        ("s3-path-style-access", "true"),
    ];
    let options = [("taskmanager-memory-size", "2 gb"), ("io-tmp-dirs", "{directory}")];
    let mut cluster = Cluster::start_with(0, 4, &[&options[..], &s3].concat())?;
    cluster.keep_output();
    cluster.start_task_manager()?;
    let place = match case {
        Case::S3 => "s3://tidemill/checkpoints".to_owned(),
        _ => format!("file://{}/checkpoints", cluster.directory().display()),
    };
    let file = cluster.directory().join("job.sql");
    std::fs::write(&file, script(bytes, &place, case == Case::Local || case == Case::Rescale))?;
    let submitted = cluster.run("submit", &[&file.display().to_string(), "--detach", "--parallelism", "2"])?;
    anyhow::ensure!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let job = String::from_utf8(submitted.stdout)?.trim().to_owned();
    let kept = filled(&cluster, &job, bytes)?;
    let mut taken = Vec::new();
    for round in 0..rounds {
        if case != Case::Rescale {
            cluster.start_task_manager()?;
        }
        std::thread::sleep(REST);
        let mut output = Output::new(&cluster)?;
        let begun = Instant::now();
        if case == Case::Rescale {
            let parallelism = if round % 2 == 0 { "4" } else { "2" };
            let asked = cluster.run("rescale", &[&job, "--parallelism", parallelism])?;
            anyhow::ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        } else {
            cluster.kill_task_manager(0)?;
        }
        let before = output.read(&cluster)?;
        while output.read(&cluster)? <= before {
            anyhow::ensure!(begun.elapsed() < RECOVERY_TIME_MAX, "no row came\n{}", cluster.logs());
            std::thread::sleep(POLL);
        }
        taken.push(begun.elapsed().as_secs_f64());
    }
    let each: Vec<String> = taken.iter().map(|seconds| format!("{seconds:.2}")).collect();
    let worst = taken.iter().copied().fold(0.0, f64::max);
    println!(
        "{:<40}: {} s with {} MB in checkpoints ({}, wanted under {} s)",
        case.what(),
        each.join(", "),
        kept >> 20,
        if worst < case.wanted() { "met" } else { "MISSED" },
        case.wanted()
    );
    if std::env::var("SHOW_LOGS").is_ok() {
        println!("{}", cluster.logs());
    }
    Ok(())
}

fn script(bytes: u64, place: &str, local: bool) -> String {
    let keys = bytes / ROW_BYTES;
    let per_ms = PACE / 1000;
    let text: Vec<String> =
        (0..12).map(|number| format!("CAST(n * {} AS STRING)", 6_364_136_223_846_793_005_u64 - 2 * number)).collect();
    format!(
        "SET 'execution.checkpointing.interval' = '500 ms';
SET 'state.checkpoints.dir' = '{place}';
SET 'execution.state-recovery.from-local' = '{local}';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'pipeline.auto-watermark-interval' = '20 ms';
CREATE TABLE numbers (
    n BIGINT, ts AS TO_TIMESTAMP_LTZ(CASE WHEN n <= {keys} THEN 9000000000 ELSE n / {per_ms} END, 3),
    WATERMARK FOR ts AS TO_TIMESTAMP_LTZ(n / {per_ms}, 3)
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '{PACE}', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000000'
);
CREATE TABLE written (last BIGINT, n BIGINT) WITH ('connector' = 'print');
CREATE TEMPORARY VIEW keyed AS
    SELECT CASE WHEN n <= {keys} THEN {text} ELSE CAST(MOD(n, 16) AS STRING) END AS id, n, ts FROM numbers;
INSERT INTO written SELECT MAX(n), COUNT(*)
    FROM TABLE(TUMBLE(TABLE keyed, DESCRIPTOR(ts), INTERVAL '0.1' SECOND)) GROUP BY window_start, window_end, id;
",
        text = text.join(" || ")
    )
}

/// Waits until a checkpoint has all the state, and gives its bytes.
fn filled(cluster: &Cluster, job: &str, bytes: u64) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let seconds = bytes / ROW_BYTES / PACE;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let history = cluster.json("checkpoints", &[job]).unwrap_or_default();
        let complete = history["checkpoints"].as_array().into_iter().flatten().filter(|c| c["state"] == "COMPLETED");
        let largest = complete.filter_map(|checkpoint| checkpoint["bytes_total"].as_u64()).max().unwrap_or(0);
        if largest > bytes / 10 * 9 || begun.elapsed().as_secs() > 4 * seconds + 10 && largest > bytes / 2 {
            return Ok(largest);
        }
        anyhow::ensure!(
            begun.elapsed() < FILL_TIME_MAX,
            "only {largest} bytes are in checkpoints: {history:#}\n{}",
            cluster.logs()
        );
    }
}

/// What the task managers have printed.
struct Output {
    files: Vec<(PathBuf, u64)>,
    rest: String,
    last: u64,
}

impl Output {
    fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut output = Self { files: Vec::new(), rest: String::new(), last: 0 };
        output.read(cluster)?;
        Ok(output)
    }

    /// The highest row of all there are.
    fn read(&mut self, cluster: &Cluster) -> anyhow::Result<u64> {
        for entry in std::fs::read_dir(cluster.directory())? {
            let path = entry?.path();
            let is_output = path.extension().is_some_and(|extension| extension == "out");
            if is_output && !self.files.iter().any(|(known, _)| *known == path) {
                self.files.push((path, 0));
            }
        }
        for (path, read) in &mut self.files {
            let mut file = std::fs::File::open(&path)?;
            file.seek(SeekFrom::Start(*read))?;
            self.rest.clear();
            let bytes = file.read_to_string(&mut self.rest)?;
            // A line that is not whole is read again.
            let whole = self.rest[..bytes].rfind('\n').map_or(0, |at| at + 1);
            *read += whole as u64;
            for line in self.rest[..whole].lines() {
                let (_, row) = line.split_once('[').context("a line that is no row was printed")?;
                let last = row.split(',').next().and_then(|number| number.trim().parse().ok());
                self.last = self.last.max(last.context("a row without a number was printed")?);
            }
        }
        Ok(self.last)
    }
}
