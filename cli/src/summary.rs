//! What is told when jobs have ended.

use serde::Serialize;
use tidemill_common::control::{JobDetail, JobState};
use tidemill_common::ids::JobId;

use crate::table::{duration, number, render};

/// How all jobs of a script ended.
#[derive(Debug, Serialize)]
pub struct ScriptSummary {
    /// FAILED if one failed, else CANCELED if one was cancelled, else FINISHED.
    pub state: JobState,
    pub duration_ms: i64,
    pub jobs: Vec<JobReport>,
}

/// How one job ended.
#[derive(Debug, Serialize)]
pub struct JobReport {
    pub job_id: JobId,
    pub name: String,
    pub state: JobState,
    pub duration_ms: i64,
    pub late_rows_dropped: u64,
    pub records_skipped: u64,
    pub operators: Vec<OperatorReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one operator did.
#[derive(Debug, Serialize)]
pub struct OperatorReport {
    pub operator: u32,
    pub name: String,
    pub kind: String,
    pub parallelism: u32,
    pub records_in: u64,
    pub records_out: u64,
    pub late_rows_dropped: u64,
    pub records_skipped: u64,
}

impl ScriptSummary {
    pub fn new(jobs: &[JobDetail], duration_ms: i64) -> Self {
        let any = |state| jobs.iter().any(|job| job.summary.state == state);
        let state = match () {
            () if any(JobState::Failed) => JobState::Failed,
            () if any(JobState::Canceled) => JobState::Canceled,
            () => JobState::Finished,
        };
        Self { state, duration_ms, jobs: jobs.iter().map(JobReport::new).collect() }
    }

    /// For people.
    pub fn text(&self) -> String {
        self.jobs.iter().map(JobReport::text).collect::<Vec<_>>().join("\n")
    }

    /// For programs: one line.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl JobReport {
    pub fn new(job: &JobDetail) -> Self {
        let operators: Vec<OperatorReport> = job
            .operators
            .iter()
            .map(|operator| OperatorReport {
                operator: operator.operator.0,
                name: operator.name.clone(),
                kind: operator.kind.clone(),
                parallelism: operator.parallelism,
                records_in: operator.records_in,
                records_out: operator.records_out,
                late_rows_dropped: operator.late_rows_dropped,
                records_skipped: operator.records_skipped,
            })
            .collect();
        let failed = job.summary.state == JobState::Failed;
        Self {
            job_id: job.summary.job_id.clone(),
            name: job.summary.name.clone(),
            state: job.summary.state,
            duration_ms: job.summary.end_ms.unwrap_or(job.summary.start_ms) - job.summary.start_ms,
            late_rows_dropped: operators.iter().map(|operator| operator.late_rows_dropped).sum(),
            records_skipped: operators.iter().map(|operator| operator.records_skipped).sum(),
            operators,
            error: if failed { failure(job) } else { None },
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .operators
            .iter()
            .map(|operator| {
                vec![
                    format!("  {}", short(&operator.name)),
                    operator.parallelism.to_string(),
                    number(operator.records_in),
                    number(operator.records_out),
                    number(operator.late_rows_dropped),
                    number(operator.records_skipped),
                ]
            })
            .collect();
        let head = format!("job {} ({}) {} after {}", self.name, self.job_id, self.state, duration(self.duration_ms));
        if rows.is_empty() {
            return head;
        }
        let header = ["  operator", "parallelism", "records in", "records out", "late dropped", "skipped"];
        format!("{head}\n{}", render(&header, &[1, 2, 3, 4, 5], &rows).trim_end())
    }
}

/// Why a job failed, with the place where it did.
pub fn failure(job: &JobDetail) -> Option<String> {
    let exception = job.failure()?;
    Some(match &exception.subtask {
        Some(subtask) => format!("{}: {}", short(subtask), exception.cause),
        None => exception.cause.clone(),
    })
}

/// A name that fits a line.
pub fn short(name: &str) -> String {
    const CHARS_MAX: usize = 72;
    if name.chars().count() <= CHARS_MAX {
        return name.to_owned();
    }
    let (head, tail) = (CHARS_MAX - 21, 20);
    let begin: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(name.chars().count() - tail).collect();
    format!("{begin}…{end}")
}
