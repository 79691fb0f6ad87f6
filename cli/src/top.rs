//! `tidemill top`: the operators of the jobs that run, as they are now, again and again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidemill_common::control::{JobDetail, OperatorStatus};
use tidemill_common::ids::{JobId, OperatorId};

use crate::args::TopArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::jobs::connect;
use crate::signals::Signals;
use crate::summary::short;
use crate::table::{behind, number, render, watermark};

/// Clears the screen and goes to its beginning.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The counters of an operator at some time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    records_in: u64,
    records_out: u64,
    busy_ms: u64,
    idle_ms: u64,
    backpressured_ms: u64,
}

type Samples = BTreeMap<(JobId, OperatorId), Sample>;

/// Shows the table until a signal, or as often as it is told to.
pub async fn top(args: TopArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let mut signals = Signals::listen()?;
    let screen = std::io::stdout().is_terminal();
    let interval = Duration::from_secs_f64(args.interval);
    let mut before = Samples::new();
    let mut round = 0;
    loop {
        let jobs = jobs(&mut client, args.job.as_deref()).await?;
        let now = Instant::now();
        // The first look has no rates: there is nothing to compare with.
        if round > 0 {
            let text = page(&jobs, &before, now);
            let text = if screen { format!("{CLEAR}{text}") } else { text };
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if args.iterations.is_some_and(|iterations| round >= iterations) {
            return Ok(ExitCode::SUCCESS);
        }
        before = samples(&jobs, now);
        // Something is shown soon.
        let pause = if round == 0 { interval.min(Duration::from_secs(1)) } else { interval };
        round += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = signals.wait() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The jobs that have not ended, or the one that was named.
async fn jobs(client: &mut Client, job: Option<&str>) -> Result<Vec<JobDetail>, CliError> {
    if let Some(job) = job {
        return Ok(vec![client.describe(job).await?]);
    }
    let mut jobs = Vec::new();
    for job in client.list().await?.into_iter().filter(|job| !job.state.is_terminal()) {
        jobs.push(client.describe(&job.job_id.0).await?);
    }
    Ok(jobs)
}

fn samples(jobs: &[JobDetail], at: Instant) -> Samples {
    let of_job = |job: &JobDetail| {
        let id = job.summary.job_id.clone();
        job.operators
            .iter()
            .map(|operator| {
                let sample = Sample {
                    at,
                    records_in: operator.records_in,
                    records_out: operator.records_out,
                    busy_ms: operator.busy_ms,
                    idle_ms: operator.idle_ms,
                    backpressured_ms: operator.backpressured_ms,
                };
                ((id.clone(), operator.operator), sample)
            })
            .collect::<Vec<_>>()
    };
    jobs.iter().flat_map(of_job).collect()
}

fn page(jobs: &[JobDetail], before: &Samples, now: Instant) -> String {
    const HEADER: [&str; 10] =
        ["OPERATOR", "SUBTASKS", "IN/S", "OUT/S", "LATE", "LAG", "BUSY", "BACKPRESSURED", "WATERMARK (UTC)", "BEHIND"];
    let clock = chrono::Utc::now();
    let mut text = format!("{} UTC, {} jobs\n", clock.format("%Y-%m-%d %H:%M:%S"), jobs.len());
    for job in jobs {
        let summary = &job.summary;
        text += &format!("\n{} ({}) {}\n", summary.name, summary.job_id, summary.state);
        let rows: Vec<_> = job
            .operators
            .iter()
            .map(|operator| {
                let before = before.get(&(summary.job_id.clone(), operator.operator));
                row(operator, before, now, clock.timestamp_millis())
            })
            .collect();
        text += &render(&HEADER, &[1, 2, 3, 4, 5, 6, 7, 9], &rows);
    }
    text
}

fn row(operator: &OperatorStatus, before: Option<&Sample>, now: Instant, now_ms: i64) -> Vec<String> {
    // Counters begin anew when a job starts again.
    let rate = |new: u64, old: fn(&Sample) -> u64| {
        let rate = before.and_then(|sample| {
            let seconds = now.saturating_duration_since(sample.at).as_secs_f64();
            let risen = new.checked_sub(old(sample))?;
            (seconds > 0.0).then(|| number((risen as f64 / seconds).round() as u64))
        });
        rate.unwrap_or_else(|| "-".to_owned())
    };
    let risen = |new: u64, old: fn(&Sample) -> u64| before.map_or(0, |sample| new.saturating_sub(old(sample)));
    let busy = risen(operator.busy_ms, |sample| sample.busy_ms);
    let backpressured = risen(operator.backpressured_ms, |sample| sample.backpressured_ms);
    let total = busy + backpressured + risen(operator.idle_ms, |sample| sample.idle_ms);
    let share =
        |part: u64| (part * 100).checked_div(total).map_or_else(|| "-".to_owned(), |share| format!("{share} %"));
    vec![
        short(&operator.name),
        format!("{}/{}", operator.subtasks_running, operator.parallelism),
        rate(operator.records_in, |sample| sample.records_in),
        rate(operator.records_out, |sample| sample.records_out),
        number(operator.late_rows_dropped),
        operator.records_lag.map_or_else(|| "-".to_owned(), number),
        share(busy),
        share(backpressured),
        watermark(operator.watermark_ms),
        behind(operator.watermark_ms, now_ms),
    ]
}

#[cfg(test)]
mod tests {
    use tidemill_common::ids::TaskId;

    use super::*;

    fn operator(records_in: u64, busy_ms: u64, idle_ms: u64) -> OperatorStatus {
        OperatorStatus {
            operator: OperatorId(0),
            uid: "u".to_owned(),
            name: "Calc".to_owned(),
            kind: "calc".to_owned(),
            task: TaskId(0),
            parallelism: 2,
            subtasks_running: 2,
            subtasks_ended: 0,
            records_in,
            records_out: records_in,
            bytes: 0,
            late_rows_dropped: 0,
            records_skipped: 0,
            records_lag: None,
            watermark_ms: None,
            holding_split: None,
            busy_ms,
            idle_ms,
            backpressured_ms: 0,
            inputs: Vec::new(),
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let start = Instant::now();
        let sample =
            Sample { at: start, records_in: 1_000, records_out: 9_000, busy_ms: 100, idle_ms: 0, backpressured_ms: 0 };
        let cells = row(&operator(5_000, 400, 900), Some(&sample), start + Duration::from_secs(2), 0);
        // What has been emitted is less than before: the job has started again.
        assert_eq!(cells[1..4], ["2/2", "2 000", "-"]);
        assert_eq!(cells[6..8], ["25 %", "0 %"]);
        let first = row(&operator(5_000, 400, 900), None, start, 0);
        assert_eq!((first[2].as_str(), first[6].as_str()), ("-", "-"));
    }
}
