//! `JobService` on the wire, from the client's side.

use std::time::Duration;

use tidemill_common::checkpoint::CheckpointKind;
use tidemill_common::control::{
    CheckpointCounts, CheckpointHistory, CheckpointState, CheckpointStats, ClusterInfo, JobAttempt, JobDetail,
    JobException, JobState, JobSummary, LogEntry, LogKind, MemoryUse, OperatorFate, OperatorInput, OperatorStatus,
    ProcessStatus, RestoredOperator, Script, SubmittedJob, SubmittedScript, SubmittedStatement, TaskManagerInfo,
};
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, LeaderEpoch, OperatorId, RegionId, TaskId, TaskManagerId};
use tidemill_common::limits::GRPC_MESSAGE_BYTES_MAX;
use tidemill_proto::v1;
use tidemill_proto::v1::job_service_client::JobServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

use crate::error::CliError;

/// A connection. Every request has the time-out `client.timeout`.
#[derive(Clone)]
pub struct Client {
    inner: JobServiceClient<Channel>,
    timeout: Duration,
}

/// The states of a job, until its end.
pub struct JobUpdates(Streaming<v1::WatchJobResponse>);

/// What happens to a job.
pub struct Events(Streaming<v1::ListEventsResponse>);

/// The rows of a SELECT.
pub struct Rows(Streaming<v1::FetchRowsResponse>);

impl Client {
    pub async fn connect(address: &str, timeout: Duration) -> Result<Self, CliError> {
        let unreachable = |reason: String| CliError::Connect { address: address.to_owned(), reason };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(error.to_string()))?
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        let channel = endpoint.connect().await.map_err(|error| unreachable(innermost(&error)))?;
        let inner = JobServiceClient::new(channel)
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX);
        Ok(Self { inner, timeout })
    }

    pub async fn submit(&mut self, script: Script) -> Result<SubmittedScript, CliError> {
        use v1::submit_script_response::Result as Outcome;
        let Script { text, file, options, dry_run, session, cells } = script;
        let options = options.into_iter().collect();
        let request = v1::SubmitScriptRequest { script: text, file, options, dry_run, session, cells };
        let response = timed("the submission", self.timeout, self.inner.submit_script(request)).await?;
        match response.result.ok_or_else(|| missing("result"))? {
            Outcome::Submitted(submitted) => submitted_script(submitted),
            Outcome::Error(error) => Err(CliError::Script(error.rendered)),
        }
    }

    pub async fn list(&mut self) -> Result<Vec<JobSummary>, CliError> {
        let response = timed("the list", self.timeout, self.inner.list_jobs(v1::ListJobsRequest {})).await?;
        response.jobs.into_iter().map(summary).collect()
    }

    pub async fn describe(&mut self, job: &str) -> Result<JobDetail, CliError> {
        let request = v1::DescribeJobRequest { job_id: job.to_owned() };
        let response = timed("the description", self.timeout, self.inner.describe_job(request)).await?;
        detail(response.job.ok_or_else(|| missing("job"))?)
    }

    pub async fn cancel(&mut self, job: &str) -> Result<JobSummary, CliError> {
        let request = v1::CancelJobRequest { job_id: job.to_owned() };
        let response = timed("the cancellation", self.timeout, self.inner.cancel_job(request)).await?;
        summary(response.job.ok_or_else(|| missing("job"))?)
    }

    pub async fn stop(&mut self, job: &str, drain: bool) -> Result<JobSummary, CliError> {
        let request = v1::StopJobRequest { job_id: job.to_owned(), drain };
        let response = timed("the stop", self.timeout, self.inner.stop_job(request)).await?;
        summary(response.job.ok_or_else(|| missing("job"))?)
    }

    pub async fn rescale(&mut self, job: &str, parallelism: u32) -> Result<JobSummary, CliError> {
        let request = v1::RescaleJobRequest { job_id: job.to_owned(), parallelism };
        let response = timed("the rescale", self.timeout, self.inner.rescale_job(request)).await?;
        summary(response.job.ok_or_else(|| missing("job"))?)
    }

    /// Takes a savepoint; waits for it as long as it takes.
    pub async fn savepoint(&mut self, job: &str, directory: Option<String>) -> Result<String, CliError> {
        let request = v1::TriggerSavepointRequest { job_id: job.to_owned(), directory, stop_drain: None };
        let response = self.inner.trigger_savepoint(request).await.map_err(|status| refused(&status))?;
        Ok(response.into_inner().location)
    }

    /// Ends a job with a savepoint; waits for that as long as it takes.
    pub async fn stop_with_savepoint(
        &mut self,
        job: &str,
        directory: Option<String>,
        drain: bool,
    ) -> Result<(JobSummary, String), CliError> {
        let request = v1::TriggerSavepointRequest { job_id: job.to_owned(), directory, stop_drain: Some(drain) };
        let response = self.inner.trigger_savepoint(request).await.map_err(|status| refused(&status))?.into_inner();
        Ok((summary(response.job.ok_or_else(|| missing("job"))?)?, response.location))
    }

    pub async fn checkpoints(&mut self, job: &str) -> Result<CheckpointHistory, CliError> {
        let request = v1::ListCheckpointsRequest { job_id: job.to_owned() };
        let response = timed("the checkpoints", self.timeout, self.inner.list_checkpoints(request)).await?;
        history(response)
    }

    pub async fn watch(&mut self, job: &str) -> Result<JobUpdates, CliError> {
        let request = v1::WatchJobRequest { job_id: job.to_owned() };
        timed("watching the job", self.timeout, self.inner.watch_job(request)).await.map(JobUpdates)
    }

    /// What has happened to a job, and with `follow` what happens until its end.
    pub async fn events(&mut self, job: &str, follow: bool) -> Result<Events, CliError> {
        let request = v1::ListEventsRequest { job_id: job.to_owned(), after: 0, follow };
        timed("the events", self.timeout, self.inner.list_events(request)).await.map(Events)
    }

    pub async fn rows(&mut self, job: &JobId) -> Result<Rows, CliError> {
        let request = v1::FetchRowsRequest { job_id: job.0.clone() };
        timed("fetching the rows", self.timeout, self.inner.fetch_rows(request)).await.map(Rows)
    }

    pub async fn cluster_info(&mut self) -> Result<ClusterInfo, CliError> {
        let request = v1::ClusterInfoRequest {};
        timed("the cluster's description", self.timeout, self.inner.cluster_info(request)).await.map(cluster_info)
    }
}

impl JobUpdates {
    /// The next state; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<JobDetail>, CliError> {
        match self.0.message().await.map_err(|status| refused(&status))? {
            Some(response) => detail(response.job.ok_or_else(|| missing("job"))?).map(Some),
            None => Ok(None),
        }
    }
}

impl Events {
    /// The next entries; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<LogEntry>>, CliError> {
        match self.0.message().await.map_err(|status| refused(&status))? {
            Some(response) => response.entries.into_iter().map(log_entry).collect::<Result<_, _>>().map(Some),
            None => Ok(None),
        }
    }
}

impl Rows {
    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, CliError> {
        Ok(self.0.message().await.map_err(|status| refused(&status))?.map(|response| response.lines))
    }
}

async fn timed<T>(
    what: &'static str,
    timeout: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CliError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refused(&status)),
        Err(_) => Err(CliError::Timeout { what, seconds: timeout.as_secs() }),
    }
}

fn refused(status: &Status) -> CliError {
    match status.code() {
        Code::Unavailable | Code::Unknown => {
            CliError::Refused(format!("the job manager cannot be reached any more: {}", status.message()))
        }
        _ => CliError::Refused(status.message().to_owned()),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn missing(field: &str) -> CliError {
    CliError::Protocol(format!("`{field}` is missing"))
}

fn submitted_script(script: v1::SubmittedScript) -> Result<SubmittedScript, CliError> {
    use v1::submitted_statement::Result as Outcome;
    let statement = |statement: v1::SubmittedStatement| match statement.result {
        Some(Outcome::Explain(text)) => Ok(SubmittedStatement::Explain(text)),
        Some(Outcome::Job(job)) => Ok(SubmittedStatement::Job(SubmittedJob {
            job: JobId(job.job_id),
            name: job.name,
            columns: job.select.then_some(job.columns),
            restored: job.restored.into_iter().map(restored_operator).collect::<Result<_, _>>()?,
        })),
        None => Err(missing("result")),
    };
    Ok(SubmittedScript {
        statements: script.statements.into_iter().map(statement).collect::<Result<_, _>>()?,
        warnings: script.warnings,
    })
}

fn restored_operator(operator: v1::RestoredOperator) -> Result<RestoredOperator, CliError> {
    let fate = match operator.fate() {
        v1::OperatorFate::Kept => OperatorFate::Kept,
        v1::OperatorFate::New => OperatorFate::New,
        v1::OperatorFate::Dropped => OperatorFate::Dropped,
        v1::OperatorFate::Unspecified => return Err(missing("fate")),
    };
    Ok(RestoredOperator { uid: operator.uid, name: operator.name, fate, reason: operator.reason })
}

fn history(response: v1::ListCheckpointsResponse) -> Result<CheckpointHistory, CliError> {
    let counts = response.counts.unwrap_or_default();
    Ok(CheckpointHistory {
        job_id: JobId(response.job_id),
        counts: CheckpointCounts {
            in_progress: counts.in_progress,
            completed: counts.completed,
            savepoints: counts.savepoints,
            failed: counts.failed,
        },
        restored: response.restored,
        checkpoints: response.checkpoints.into_iter().map(checkpoint).collect::<Result<_, _>>()?,
    })
}

fn checkpoint(stats: v1::Checkpoint) -> Result<CheckpointStats, CliError> {
    let state = match stats.state() {
        v1::CheckpointState::InProgress => CheckpointState::InProgress,
        v1::CheckpointState::Completed => CheckpointState::Completed,
        v1::CheckpointState::Failed => CheckpointState::Failed,
        v1::CheckpointState::Unspecified => return Err(missing("state")),
    };
    Ok(CheckpointStats {
        checkpoint: CheckpointId(stats.checkpoint),
        attempt: AttemptId(stats.attempt),
        kind: if stats.savepoint { CheckpointKind::Savepoint } else { CheckpointKind::Checkpoint },
        stop: stats.stop,
        state,
        trigger_ms: stats.trigger_ms,
        end_ms: stats.end_ms,
        subtasks: stats.subtasks,
        subtasks_acknowledged: stats.subtasks_acknowledged,
        alignment_ms: stats.alignment_ms,
        sync_us: stats.sync_us,
        async_ms: stats.async_ms,
        bytes_new: stats.bytes_new,
        bytes_in_flight: stats.bytes_in_flight,
        bytes_total: stats.bytes_total,
        location: stats.location,
        failure: stats.failure,
    })
}

fn job_state(state: v1::JobState) -> Result<JobState, CliError> {
    match state {
        v1::JobState::Created => Ok(JobState::Created),
        v1::JobState::Deploying => Ok(JobState::Deploying),
        v1::JobState::Running => Ok(JobState::Running),
        v1::JobState::Finishing => Ok(JobState::Finishing),
        v1::JobState::Finished => Ok(JobState::Finished),
        v1::JobState::Restarting => Ok(JobState::Restarting),
        v1::JobState::Failing => Ok(JobState::Failing),
        v1::JobState::Failed => Ok(JobState::Failed),
        v1::JobState::Canceling => Ok(JobState::Canceling),
        v1::JobState::Canceled => Ok(JobState::Canceled),
        v1::JobState::Unspecified => Err(missing("state")),
    }
}

fn summary(job: v1::JobSummary) -> Result<JobSummary, CliError> {
    Ok(JobSummary {
        state: job_state(job.state())?,
        job_id: JobId(job.job_id),
        name: job.name,
        start_ms: job.start_ms,
        end_ms: job.end_ms,
    })
}

fn detail(job: v1::JobDetail) -> Result<JobDetail, CliError> {
    let attempt = |attempt: v1::JobAttempt| JobAttempt {
        attempt: AttemptId(attempt.attempt),
        region: RegionId(attempt.region),
        subtasks: attempt.subtasks,
        start_ms: attempt.start_ms,
        end_ms: attempt.end_ms,
    };
    let exception = |exception: v1::JobException| JobException {
        timestamp_ms: exception.timestamp_ms,
        subtask: exception.subtask,
        task_manager: exception.task_manager_id.map(TaskManagerId),
        cause: exception.cause,
        regions: exception.regions.into_iter().map(RegionId).collect(),
    };
    Ok(JobDetail {
        summary: summary(job.summary.ok_or_else(|| missing("summary"))?)?,
        max_parallelism: job.max_parallelism,
        slots: job.slots,
        regions: job.regions,
        attempts: job.attempts.into_iter().map(attempt).collect(),
        operators: job.operators.into_iter().map(operator_status).collect(),
        exceptions: job.exceptions.into_iter().map(exception).collect(),
    })
}

fn operator_status(status: v1::OperatorStatus) -> OperatorStatus {
    OperatorStatus {
        operator: OperatorId(status.operator),
        uid: status.uid,
        name: status.name,
        kind: status.kind,
        task: TaskId(status.task),
        parallelism: status.parallelism,
        subtasks_running: status.subtasks_running,
        subtasks_ended: status.subtasks_ended,
        records_in: status.records_in,
        records_out: status.records_out,
        bytes: status.bytes,
        late_rows_dropped: status.late_rows_dropped,
        records_skipped: status.records_skipped,
        records_lag: status.records_lag,
        watermark_ms: status.watermark_ms,
        holding_split: status.holding_split,
        busy_ms: status.busy_ms,
        idle_ms: status.idle_ms,
        backpressured_ms: status.backpressured_ms,
        inputs: status
            .inputs
            .into_iter()
            .map(|input| OperatorInput { operator: OperatorId(input.operator), partitioning: input.partitioning })
            .collect(),
    }
}

fn log_entry(entry: v1::LogEntry) -> Result<LogEntry, CliError> {
    let kind = match entry.kind() {
        v1::LogKind::State => LogKind::State,
        v1::LogKind::Attempt => LogKind::Attempt,
        v1::LogKind::Failure => LogKind::Failure,
        v1::LogKind::Checkpoint => LogKind::Checkpoint,
        v1::LogKind::Savepoint => LogKind::Savepoint,
        v1::LogKind::Request => LogKind::Request,
        v1::LogKind::Unspecified => return Err(missing("kind")),
    };
    Ok(LogEntry { sequence: entry.sequence, timestamp_ms: entry.timestamp_ms, kind, message: entry.message })
}

fn process_status(process: v1::ProcessStatus) -> ProcessStatus {
    let memory = |memory: v1::MemoryUse| MemoryUse {
        consumer: memory.consumer,
        used_bytes: memory.used_bytes,
        limit_bytes: memory.limit_bytes,
    };
    ProcessStatus { http_address: process.http_address, memory: process.memory.into_iter().map(memory).collect() }
}

fn cluster_info(info: v1::ClusterInfoResponse) -> ClusterInfo {
    ClusterInfo {
        version: info.version,
        leader_epoch: LeaderEpoch(info.leader_epoch),
        task_managers: info
            .task_managers
            .into_iter()
            .map(|member| TaskManagerInfo {
                id: TaskManagerId(member.task_manager_id),
                data_address: member.data_address,
                slots: member.slots,
                free_slots: member.free_slots,
                registered_ms: member.registered_ms,
                process: process_status(member.process.unwrap_or_default()),
            })
            .collect(),
    }
}
