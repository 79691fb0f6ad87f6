//! `tidemill savepoint`, `savepoint inspect`, `checkpoints`, and what `submit --dry-run` shows.

use std::process::ExitCode;

use serde::Serialize;
use tidemill_common::checkpoint::{CheckpointKind, CheckpointMetadata, METADATA_NAME, OperatorState};
use tidemill_common::control::{
    CheckpointHistory, CheckpointStats, OperatorFate, RestoredOperator, SubmittedScript, SubmittedStatement,
};
use tidemill_state::storage::{Directory, StorageError, checksum};

use crate::args::{InspectArgs, JobArgs, Output, SavepointArgs, SavepointCommand};
use crate::error::CliError;
use crate::jobs::{connect, print_json};
use crate::script::absolute;
use crate::summary::short;
use crate::table::{bytes, duration, number, render, time};
use crate::terminal::Terminal;
use crate::{config, logging};

/// Takes a savepoint, or looks into one.
pub async fn savepoint(args: SavepointArgs) -> Result<ExitCode, CliError> {
    match args.command {
        Some(SavepointCommand::Inspect(inspected)) => inspect(inspected).await,
        None => {
            let (mut client, _) = connect(&args.process).await?;
            let directory = args.directory.map(|directory| absolute(&directory)).transpose()?;
            let location = client.savepoint(&args.job.unwrap_or_default(), directory).await?;
            match args.output {
                Output::Text => println!("{location}"),
                Output::Json => return print_json(&serde_json::json!({ "location": location })),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Shows the latest checkpoints of a job.
pub async fn checkpoints(args: JobArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let history = client.checkpoints(&args.job).await?;
    if args.output == Output::Json {
        return print_json(&history);
    }
    print!("{}", history_text(&history));
    Ok(ExitCode::SUCCESS)
}

fn history_text(history: &CheckpointHistory) -> String {
    let counts = &history.counts;
    let mut text = format!(
        "{} complete, {} failed, {} in progress, {} savepoints\n",
        counts.completed, counts.failed, counts.in_progress, counts.savepoints
    );
    if let Some(restored) = &history.restored {
        text.push_str(&format!("started from {restored}\n"));
    }
    text.push('\n');
    let header = [
        "ID",
        "KIND",
        "STATE",
        "TRIGGERED (UTC)",
        "DURATION",
        "SYNC",
        "ASYNC",
        "ALIGNMENT",
        "IN FLIGHT",
        "NEW",
        "TOTAL",
        "SUBTASKS",
    ];
    let rows: Vec<_> = history.checkpoints.iter().map(stats_row).collect();
    text.push_str(&render(&header, &[0, 4, 5, 6, 7, 8, 9, 10, 11], &rows));
    for stats in &history.checkpoints {
        if let Some(failure) = &stats.failure {
            text.push_str(&format!("\n{}: {failure}", stats.checkpoint));
        }
    }
    if let Some(newest) = history.checkpoints.iter().find_map(|stats| stats.location.as_ref()) {
        text.push_str(&format!("\nnewest: {newest}\n"));
    }
    text
}

fn stats_row(stats: &CheckpointStats) -> Vec<String> {
    let kind = match (stats.kind, stats.stop) {
        (CheckpointKind::Checkpoint, _) => "checkpoint",
        (CheckpointKind::Savepoint, false) => "savepoint",
        (CheckpointKind::Savepoint, true) => "savepoint, stop",
    };
    vec![
        stats.checkpoint.to_string(),
        kind.to_owned(),
        stats.state.to_string(),
        time(stats.trigger_ms),
        stats.end_ms.map_or_else(|| "-".to_owned(), |end| duration(end - stats.trigger_ms)),
        format!("{}.{:03} ms", stats.sync_us / 1_000, stats.sync_us % 1_000),
        format!("{} ms", number(stats.async_ms)),
        format!("{} ms", number(stats.alignment_ms)),
        bytes(stats.bytes_in_flight),
        bytes(stats.bytes_new),
        bytes(stats.bytes_total),
        format!("{}/{}", stats.subtasks_acknowledged, stats.subtasks),
    ]
}

/// What a savepoint or checkpoint holds.
#[derive(Serialize)]
struct Inspected<'a> {
    location: String,
    kind: CheckpointKind,
    job_id: &'a str,
    job_name: &'a str,
    checkpoint: u64,
    timestamp_ms: i64,
    version: u32,
    max_parallelism: u32,
    bytes: u64,
    operators: Vec<InspectedOperator<'a>>,
}

#[derive(Serialize)]
struct InspectedOperator<'a> {
    uid: &'a str,
    name: &'a str,
    parallelism: u32,
    bytes: u64,
    files: usize,
    splits: usize,
    unpublished_epochs: usize,
    /// That barriers have overtaken.
    rows_in_flight: u64,
    values: Vec<&'a str>,
    states: Vec<InspectedState<'a>>,
    key_groups: Vec<InspectedRange>,
}

#[derive(Serialize)]
struct InspectedState<'a> {
    id: Option<u32>,
    name: &'a str,
    kind: String,
    key: Vec<String>,
    namespace: Option<String>,
    value: Vec<String>,
    version: u16,
}

#[derive(Serialize)]
struct InspectedRange {
    subtask: u32,
    first: u32,
    last: u32,
    bytes: u64,
}

async fn inspect(args: InspectArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    logging::start(&config, "warn", &Terminal::detect());
    let directory = Directory::open(&absolute(&args.path)?, &config.store_options())?;
    let content = directory.get(METADATA_NAME).await?;
    let metadata = CheckpointMetadata::decode(&content, checksum)
        .map_err(|error| StorageError::Damaged { url: directory.url_of(METADATA_NAME), reason: error.to_string() })?;
    let inspected = Inspected {
        location: directory.url(),
        kind: metadata.kind,
        job_id: &metadata.job.0,
        job_name: &metadata.job_name,
        checkpoint: metadata.checkpoint.0,
        timestamp_ms: metadata.timestamp_ms,
        version: metadata.version,
        max_parallelism: metadata.max_parallelism,
        bytes: metadata.operators.iter().map(bytes_of).sum(),
        operators: metadata.operators.iter().map(operator).collect(),
    };
    if args.output == Output::Json {
        return print_json(&inspected);
    }
    print!("{}", inspected_text(&inspected));
    Ok(ExitCode::SUCCESS)
}

fn bytes_of(operator: &OperatorState) -> u64 {
    operator.subtasks.iter().map(|(_, snapshot)| snapshot.bytes()).sum()
}

fn operator(state: &OperatorState) -> InspectedOperator<'_> {
    let snapshots = || state.subtasks.iter().map(|(_, snapshot)| snapshot);
    let mut values: Vec<&str> = snapshots().flat_map(|snapshot| snapshot.values.keys()).map(String::as_str).collect();
    values.sort_unstable();
    values.dedup();
    let range = |(subtask, snapshot): &(tidemill_common::ids::SubtaskIndex, _)| {
        let snapshot: &tidemill_common::checkpoint::OperatorSnapshot = snapshot;
        let first = snapshot.files.iter().map(|file| file.key_groups.start).min()?;
        let end = snapshot.files.iter().map(|file| file.key_groups.end).max()?;
        let bytes = snapshot.files.iter().map(|file| file.bytes).sum();
        Some(InspectedRange { subtask: subtask.0, first, last: end.saturating_sub(1), bytes })
    };
    InspectedOperator {
        uid: &state.uid,
        name: &state.name,
        parallelism: state.parallelism,
        bytes: bytes_of(state),
        files: snapshots().map(|snapshot| snapshot.files.len()).sum(),
        splits: snapshots().map(|snapshot| snapshot.splits.len()).sum(),
        unpublished_epochs: snapshots().map(|snapshot| snapshot.staged.len()).sum(),
        rows_in_flight: snapshots().filter_map(|snapshot| snapshot.in_flight.as_ref()).map(|found| found.rows).sum(),
        values,
        states: state
            .descriptors
            .iter()
            .map(|descriptor| InspectedState {
                id: descriptor.id.map(|id| id.0),
                name: &descriptor.name,
                kind: format!("{:?}", descriptor.kind).to_lowercase(),
                key: descriptor.key.iter().map(ToString::to_string).collect(),
                namespace: descriptor.namespace.as_ref().map(ToString::to_string),
                value: descriptor
                    .value
                    .fields
                    .iter()
                    .map(|field| format!("{} {}", field.name, field.data_type))
                    .collect(),
                version: descriptor.version,
            })
            .collect(),
        key_groups: state.subtasks.iter().filter_map(range).collect(),
    }
}

fn inspected_text(inspected: &Inspected<'_>) -> String {
    let kind = match inspected.kind {
        CheckpointKind::Checkpoint => "checkpoint",
        CheckpointKind::Savepoint => "savepoint",
    };
    let mut text = format!(
        "{kind} {} of job {} ({})\nlocation         {}\ntaken            {} UTC\nmax-parallelism  {}\nbytes            {}\n\n",
        inspected.checkpoint,
        inspected.job_id,
        inspected.job_name,
        inspected.location,
        time(inspected.timestamp_ms),
        inspected.max_parallelism,
        number(inspected.bytes),
    );
    let rows: Vec<_> = inspected
        .operators
        .iter()
        .map(|operator| {
            vec![
                short(operator.name),
                operator.uid.to_owned(),
                operator.parallelism.to_string(),
                bytes(operator.bytes),
                operator.files.to_string(),
                operator.splits.to_string(),
                operator.unpublished_epochs.to_string(),
                number(operator.rows_in_flight),
            ]
        })
        .collect();
    let header = ["OPERATOR", "UID", "PARALLELISM", "BYTES", "FILES", "SPLITS", "UNPUBLISHED", "IN FLIGHT"];
    text.push_str(&render(&header, &[2, 3, 4, 5, 6, 7], &rows));
    let states: Vec<_> = inspected
        .operators
        .iter()
        .flat_map(|operator| operator.states.iter().map(move |state| (operator, state)))
        .map(|(operator, state)| {
            vec![
                state.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
                operator.uid.to_owned(),
                state.name.to_owned(),
                state.kind.clone(),
                state.key.join(", "),
                state.namespace.clone().unwrap_or_else(|| "-".to_owned()),
                state.value.join(", "),
                state.version.to_string(),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&render(&["STATE ID", "UID", "NAME", "KIND", "KEY", "NAMESPACE", "VALUE", "VERSION"], &[0], &states));
    let ranges: Vec<_> = inspected
        .operators
        .iter()
        .flat_map(|operator| operator.key_groups.iter().map(move |range| (operator, range)))
        .map(|(operator, range)| {
            let groups = format!("{} to {}", range.first, range.last);
            vec![operator.uid.to_owned(), range.subtask.to_string(), groups, bytes(range.bytes)]
        })
        .collect();
    if !ranges.is_empty() {
        text.push('\n');
        text.push_str(&render(&["UID", "SUBTASK", "KEY GROUPS", "BYTES"], &[1, 3], &ranges));
    }
    text
}

/// Says what would become of each operator's state.
pub fn show_restored(submitted: &SubmittedScript, output: Output) -> Result<ExitCode, CliError> {
    #[derive(Serialize)]
    struct Job<'a> {
        name: &'a str,
        operators: &'a [RestoredOperator],
    }
    let jobs: Vec<Job<'_>> = submitted
        .statements
        .iter()
        .filter_map(|statement| match statement {
            SubmittedStatement::Job(job) => Some(Job { name: &job.name, operators: &job.restored }),
            SubmittedStatement::Explain(_) => None,
        })
        .collect();
    for warning in &submitted.warnings {
        eprintln!("warning: {warning}");
    }
    if output == Output::Json {
        return print_json(&jobs);
    }
    for job in jobs {
        println!("job {}", job.name);
        let row = |operator: &RestoredOperator| {
            let fate = match operator.fate {
                OperatorFate::Kept => "kept",
                OperatorFate::New => "new",
                OperatorFate::Dropped => "dropped",
            };
            vec![fate.to_owned(), short(&operator.name), operator.uid.clone(), operator.reason.clone()]
        };
        let rows: Vec<_> = job.operators.iter().map(row).collect();
        print!("{}", render(&["STATE", "OPERATOR", "UID", "WHY"], &[], &rows));
    }
    Ok(ExitCode::SUCCESS)
}
