//! `tidemill list`, `describe`, `cancel`, `stop` and `info`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tidemill_common::control::{JobAttempt, JobDetail, JobState, JobSummary, OperatorStatus, TaskManagerInfo};
use tidemill_common::ids::RegionId;
use tidemill_common::process_options::ProcessConfig;

use crate::args::{JobArgs, ListArgs, Output, ProcessFlags, RescaleArgs, StopArgs};
use crate::client::{self, Client};
use crate::error::CliError;
use crate::script::absolute;
use crate::summary::short;
use crate::table::{behind, bytes, duration, number, render, time, watermark};
use crate::terminal::Terminal;
use crate::{config, logging};

pub async fn connect(flags: &ProcessFlags) -> Result<(Client, ProcessConfig), CliError> {
    let config = config::load(flags)?;
    logging::start(&config, "warn", &Terminal::detect());
    Ok((client::connect(&config).await?, config))
}

pub fn print_json(value: &impl Serialize) -> Result<ExitCode, CliError> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}

fn lasted(job: &JobSummary) -> String {
    let end = job.end_ms.unwrap_or_else(|| chrono::Utc::now().timestamp_millis());
    duration(end - job.start_ms)
}

pub async fn list(args: ListArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let jobs = client.list().await?;
    if args.output == Output::Json {
        return print_json(&jobs);
    }
    let row = |job: &JobSummary| {
        vec![job.job_id.0.clone(), short(&job.name), job.state.to_string(), time(job.start_ms), lasted(job)]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    print!("{}", render(&["JOB", "NAME", "STATE", "STARTED (UTC)", "DURATION"], &[], &rows));
    Ok(ExitCode::SUCCESS)
}

pub async fn describe(args: JobArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let job = client.describe(&args.job).await?;
    if args.output == Output::Json {
        return print_json(&job);
    }
    print!("{}", description(&job));
    Ok(ExitCode::SUCCESS)
}

fn description(job: &JobDetail) -> String {
    let mut text = format!(
        "job       {}\nname      {}\nstate     {}\nstarted   {} UTC\nduration  {}\nattempts  {}\nslots     {}\n\n",
        job.summary.job_id,
        job.summary.name,
        job.summary.state,
        time(job.summary.start_ms),
        lasted(&job.summary),
        job.attempts.last().map_or(0, |attempt| attempt.attempt.0),
        job.slots,
    );
    let header = [
        "OPERATOR",
        "TASK",
        "SUBTASKS",
        "RUNNING",
        "IN",
        "OUT",
        "LATE",
        "SKIPPED",
        "LAG",
        "BUSY",
        "BACKPRESSURED",
        "WATERMARK (UTC)",
        "BEHIND",
    ];
    let now_ms = chrono::Utc::now().timestamp_millis();
    let rows: Vec<_> = job.operators.iter().map(|operator| operator_row(operator, now_ms)).collect();
    text.push_str(&render(&header, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12], &rows));
    for operator in &job.operators {
        if let Some(split) = &operator.holding_split {
            text.push_str(&format!("\n{}: the watermark is held back by {split}", short(&operator.name)));
        }
    }
    if job.operators.iter().any(|operator| operator.holding_split.is_some()) {
        text.push('\n');
    }
    if job.regions > 1 {
        text.push_str(&regions(job));
    }
    for exception in &job.exceptions {
        text.push_str(&format!("\n{} UTC", time(exception.timestamp_ms)));
        if let Some(subtask) = &exception.subtask {
            text.push_str(&format!("  {subtask}"));
        }
        if let Some(task_manager) = &exception.task_manager {
            text.push_str(&format!("  on {task_manager}"));
        }
        text.push_str(&format!("\n  {}\n", exception.cause.replace('\n', "\n  ")));
        if job.regions > 1 && !exception.regions.is_empty() {
            let ended: Vec<String> = exception.regions.iter().map(ToString::to_string).collect();
            let regions = if ended.len() == 1 { "region" } else { "regions" };
            text.push_str(&format!("  ended {regions} {} of {}\n", ended.join(", "), job.regions));
        }
    }
    text
}

/// How often each region has started, and since when it runs.
fn regions(job: &JobDetail) -> String {
    let newest: BTreeMap<RegionId, &JobAttempt> =
        job.attempts.iter().map(|attempt| (attempt.region, attempt)).collect();
    let row = |(region, attempt): (&RegionId, &&JobAttempt)| {
        let end = attempt.end_ms.map_or_else(|| "-".to_owned(), time);
        let (subtasks, number) = (attempt.subtasks.to_string(), attempt.attempt.to_string());
        vec![region.to_string(), subtasks, number, time(attempt.start_ms), end]
    };
    let rows: Vec<_> = newest.iter().map(row).collect();
    let header = ["REGION", "SUBTASKS", "ATTEMPT", "STARTED (UTC)", "ENDED (UTC)"];
    format!("\n{}", render(&header, &[0, 1, 2], &rows))
}

fn operator_row(operator: &OperatorStatus, now_ms: i64) -> Vec<String> {
    let total = operator.busy_ms + operator.idle_ms + operator.backpressured_ms;
    let share =
        |part: u64| (part * 100).checked_div(total).map_or_else(|| "-".to_owned(), |share| format!("{share} %"));
    vec![
        short(&operator.name),
        operator.task.to_string(),
        operator.parallelism.to_string(),
        operator.subtasks_running.to_string(),
        number(operator.records_in),
        number(operator.records_out),
        number(operator.late_rows_dropped),
        number(operator.records_skipped),
        operator.records_lag.map_or_else(|| "-".to_owned(), number),
        share(operator.busy_ms),
        share(operator.backpressured_ms),
        watermark(operator.watermark_ms),
        behind(operator.watermark_ms, now_ms),
    ]
}

pub async fn cancel(args: JobArgs) -> Result<ExitCode, CliError> {
    let (mut client, config) = connect(&args.process).await?;
    let job = client.cancel(&args.job).await?;
    ended(client, &config, job, args.output).await
}

pub async fn rescale(args: RescaleArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.job.process).await?;
    let asked = client.rescale(&args.job.job, args.parallelism).await?;
    let before = client.describe(&asked.job_id.0).await?;
    let attempt = before.attempts.last().map(|attempt| attempt.attempt);
    let mut updates = client.watch(&asked.job_id.0).await?;
    // Until the next attempt runs, or nothing runs any more.
    let mut job = before;
    while let Some(update) = updates.next().await? {
        job = update;
        let next = job.attempts.last().map(|attempt| attempt.attempt) > attempt;
        if job.summary.state.is_terminal() || (next && job.summary.state == JobState::Running) {
            break;
        }
    }
    if args.job.output == Output::Json {
        return print_json(&job);
    }
    println!("job {} is {} at parallelism {}", job.summary.job_id, job.summary.state, args.parallelism);
    Ok(if job.summary.state == JobState::Running { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn stop(args: StopArgs) -> Result<ExitCode, CliError> {
    let (mut client, config) = connect(&args.job.process).await?;
    if let Some(directory) = args.savepoint {
        let directory = directory.map(|directory| absolute(&directory)).transpose()?;
        let (job, location) = client.stop_with_savepoint(&args.job.job, directory, args.drain).await?;
        if args.job.output == Output::Text {
            println!("savepoint {location}");
        }
        return ended(client, &config, job, args.job.output).await;
    }
    let job = client.stop(&args.job.job, args.drain).await?;
    ended(client, &config, job, args.job.output).await
}

/// Waits for the end of a job that was told to end.
async fn ended(
    mut client: Client,
    config: &ProcessConfig,
    job: JobSummary,
    output: Output,
) -> Result<ExitCode, CliError> {
    let timeout: Duration = config.duration("client.timeout");
    let mut states = client.watch(&job.job_id.0).await?;
    let wait = async {
        let mut last = job;
        while let Some(detail) = states.next().await? {
            last = detail.summary;
        }
        Ok::<_, CliError>(last)
    };
    let job = tokio::time::timeout(timeout, wait)
        .await
        .map_err(|_| CliError::Timeout { what: "the end of the job", seconds: timeout.as_secs() })??;
    if output == Output::Json {
        return print_json(&job);
    }
    println!("job {} ({}) is {}", job.job_id, job.name, job.state);
    Ok(ExitCode::SUCCESS)
}

pub async fn info(args: ListArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let info = client.cluster_info().await?;
    if args.output == Output::Json {
        return print_json(&info);
    }
    let rows: Vec<_> = info
        .task_managers
        .iter()
        .map(|member| {
            vec![
                member.id.0.clone(),
                member.data_address.clone(),
                member.slots.to_string(),
                member.free_slots.to_string(),
                member.process.http_address.clone().unwrap_or_else(|| "-".to_owned()),
                memory(member),
                time(member.registered_ms),
            ]
        })
        .collect();
    const HEADER: [&str; 7] =
        ["TASK MANAGER", "DATA ADDRESS", "SLOTS", "FREE", "HTTP ADDRESS", "MEMORY", "REGISTERED (UTC)"];
    println!("version {}, leader epoch {}", info.version, info.leader_epoch);
    print!("{}", render(&HEADER, &[2, 3, 5], &rows));
    Ok(ExitCode::SUCCESS)
}

/// What the process has of what it may have.
fn memory(member: &TaskManagerInfo) -> String {
    let Some(whole) = member.process.memory.iter().find(|memory| memory.consumer == "process") else {
        return "-".to_owned();
    };
    let limit = whole.limit_bytes.map_or_else(String::new, |limit| format!(" of {}", bytes(limit)));
    format!("{}{limit}", bytes(whole.used_bytes))
}
