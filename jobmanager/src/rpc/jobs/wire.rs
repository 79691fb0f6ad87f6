//! `JobService` on the wire.

use std::pin::Pin;

use futures::Stream;
use tidemill_common::checkpoint::CheckpointKind;
use tidemill_common::control::{
    CheckpointHistory, CheckpointState, CheckpointStats, ClusterInfo, JobDetail, JobException, JobState, JobSummary,
    LogEntry, LogKind, MemoryUse, OperatorFate, OperatorStatus, ProcessStatus, RestoredOperator, Script,
    SubmittedScript, SubmittedStatement, SubtaskStatus,
};
use tidemill_common::limits::GRPC_MESSAGE_BYTES_MAX;
use tidemill_proto::v1;
use tidemill_proto::v1::job_service_server::{JobService, JobServiceServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Jobs;
use crate::command::{ClientCommand, Command};
use crate::error::JobManagerError;
use crate::rows::Chunk;
use crate::views::{LogPage, View};

/// Messages of a stream that may wait for a slow client.
const STREAM_MESSAGES_MAX: usize = 4;

/// The service, with its limits.
pub fn server(jobs: Jobs) -> JobServiceServer<Jobs> {
    JobServiceServer::new(jobs)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = Messages<v1::WatchJobResponse>;
    type FetchRowsStream = Messages<v1::FetchRowsResponse>;
    type ListEventsStream = Messages<v1::ListEventsResponse>;

    async fn submit_script(
        &self,
        request: Request<v1::SubmitScriptRequest>,
    ) -> Result<Response<v1::SubmitScriptResponse>, Status> {
        use v1::submit_script_response::Result as Outcome;
        let v1::SubmitScriptRequest { script, file, options, dry_run, session, cells } = request.into_inner();
        let options = options.into_iter().collect();
        let script = Script { text: script, file, options, dry_run, session, cells };
        let result = match self.submit(script).await {
            Ok(submitted) => Outcome::Submitted(submitted_script(submitted)),
            Err(JobManagerError::Script(rendered)) => Outcome::Error(v1::ScriptError { rendered }),
            Err(error) => return Err(status(&error)),
        };
        Ok(Response::new(v1::SubmitScriptResponse { result: Some(result) }))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        use v1::explain_response::Result as Outcome;
        let v1::ExplainRequest { script, file, options } = request.into_inner();
        let options = options.into_iter().collect();
        let script = Script { text: script, file, options, dry_run: true, ..Script::default() };
        let result = match self.explain(script).await {
            Ok(explained) => {
                Outcome::Explained(v1::ExplainedScript { plans: explained.plans, warnings: explained.warnings })
            }
            Err(JobManagerError::Script(rendered)) => Outcome::Error(v1::ScriptError { rendered }),
            Err(error) => return Err(status(&error)),
        };
        Ok(Response::new(v1::ExplainResponse { result: Some(result) }))
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let jobs = self.master.ask(|reply| ClientCommand::List { reply }).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::ListJobsResponse { jobs: jobs.iter().map(summary).collect() }))
    }

    async fn describe_job(
        &self,
        request: Request<v1::DescribeJobRequest>,
    ) -> Result<Response<v1::DescribeJobResponse>, Status> {
        let job = request.into_inner().job_id;
        let watch = flat(self.master.ask(|reply| ClientCommand::Watch { job, reply }).await)?;
        let job = detail(&watch.borrow());
        Ok(Response::new(v1::DescribeJobResponse { job: Some(job) }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let job = request.into_inner().job_id;
        let job = flat(self.master.ask(|reply| ClientCommand::Cancel { job, reply }).await)?;
        Ok(Response::new(v1::CancelJobResponse { job: Some(summary(&job)) }))
    }

    async fn stop_job(&self, request: Request<v1::StopJobRequest>) -> Result<Response<v1::StopJobResponse>, Status> {
        let v1::StopJobRequest { job_id: job, drain } = request.into_inner();
        let job = flat(self.master.ask(|reply| ClientCommand::Stop { job, drain, reply }).await)?;
        Ok(Response::new(v1::StopJobResponse { job: Some(summary(&job)) }))
    }

    async fn rescale_job(
        &self,
        request: Request<v1::RescaleJobRequest>,
    ) -> Result<Response<v1::RescaleJobResponse>, Status> {
        let v1::RescaleJobRequest { job_id: job, parallelism } = request.into_inner();
        let job = flat(self.master.ask(|reply| ClientCommand::Rescale { job, parallelism, reply }).await)?;
        Ok(Response::new(v1::RescaleJobResponse { job: Some(summary(&job)) }))
    }

    async fn trigger_savepoint(
        &self,
        request: Request<v1::TriggerSavepointRequest>,
    ) -> Result<Response<v1::TriggerSavepointResponse>, Status> {
        let v1::TriggerSavepointRequest { job_id: job, directory, stop_drain: stop } = request.into_inner();
        let name = job.clone();
        let command = |reply| ClientCommand::Savepoint { job: name, directory, stop, reply };
        let location = flat(self.master.ask(command).await)?;
        let watch = flat(self.master.ask(|reply| ClientCommand::Watch { job, reply }).await)?;
        let job = summary(&watch.borrow().summary);
        Ok(Response::new(v1::TriggerSavepointResponse { location, job: Some(job) }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        let job = request.into_inner().job_id;
        let history = flat(self.master.ask(|reply| ClientCommand::Checkpoints { job, reply }).await)?;
        Ok(Response::new(checkpoints(history)))
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let job = request.into_inner().job_id;
        let mut watch = flat(self.master.ask(|reply| ClientCommand::Watch { job, reply }).await)?;
        let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
        tokio::spawn(async move {
            watch.mark_changed();
            while tokio::select! { changed = watch.changed() => changed.is_ok(), () = sender.closed() => false } {
                let (job, ended) = {
                    let job = watch.borrow_and_update();
                    (detail(&job), job.summary.state.is_terminal())
                };
                if sender.send(Ok(v1::WatchJobResponse { job: Some(job) })).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn fetch_rows(
        &self,
        request: Request<v1::FetchRowsRequest>,
    ) -> Result<Response<Self::FetchRowsStream>, Status> {
        let job = request.into_inner().job_id;
        let (job, rows) = flat(self.master.ask(|reply| ClientCommand::Fetch { job, reply }).await)?;
        let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
        let master = self.master.clone();
        tokio::spawn(async move {
            loop {
                let chunk = tokio::select! {
                    chunk = rows.next() => match chunk {
                        Some(chunk) => chunk,
                        None => return,
                    },
                    () = sender.closed() => break,
                };
                if sender.send(Ok(v1::FetchRowsResponse { lines: chunk.lines })).await.is_err() {
                    break;
                }
                let Chunk { task_manager, attempt, sequence, .. } = chunk;
                let _ = master.send(Command::RowsTaken { job: job.clone(), task_manager, attempt, sequence }).await;
            }
            let _ = master.send(Command::RowsAbandoned { job }).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<Self::ListEventsStream>, Status> {
        let v1::ListEventsRequest { job_id, mut after, follow } = request.into_inner();
        let mut page = flat(self.log_page(job_id.clone(), after).await)?;
        let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
        let jobs = self.clone();
        tokio::spawn(async move {
            loop {
                after = page.entries.last().map_or(after, |entry| entry.sequence);
                let entries = page.entries.into_iter().map(log_entry).collect();
                if sender.send(Ok(v1::ListEventsResponse { entries })).await.is_err() || page.ended || !follow {
                    return;
                }
                let more = async { page.changed.wait_for(|newest| *newest > after).await.is_ok() };
                if !tokio::select! { more = more => more, () = sender.closed() => false } {
                    return;
                }
                // The job may have been forgotten meanwhile.
                let Ok(Ok(next)) = jobs.log_page(job_id.clone(), after).await else { return };
                page = next;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_subtasks(
        &self,
        request: Request<v1::ListSubtasksRequest>,
    ) -> Result<Response<v1::ListSubtasksResponse>, Status> {
        let job = request.into_inner().job_id;
        let (_, subtasks) = flat(self.master.look(|reply| View::Subtasks { job, reply }).await)?;
        Ok(Response::new(v1::ListSubtasksResponse { subtasks: subtasks.into_iter().map(subtask_status).collect() }))
    }

    async fn cluster_info(
        &self,
        _: Request<v1::ClusterInfoRequest>,
    ) -> Result<Response<v1::ClusterInfoResponse>, Status> {
        let info = self.master.ask(|reply| ClientCommand::Info { reply }).await.map_err(|error| status(&error))?;
        Ok(Response::new(cluster_info(info)))
    }
}

impl Jobs {
    async fn log_page(&self, job: String, after: u64) -> Result<Result<LogPage, JobManagerError>, JobManagerError> {
        self.master.look(|reply| View::Log { job, after, reply }).await
    }
}

fn log_entry(entry: LogEntry) -> v1::LogEntry {
    let kind = match entry.kind {
        LogKind::State => v1::LogKind::State,
        LogKind::Attempt => v1::LogKind::Attempt,
        LogKind::Failure => v1::LogKind::Failure,
        LogKind::Checkpoint => v1::LogKind::Checkpoint,
        LogKind::Savepoint => v1::LogKind::Savepoint,
        LogKind::Request => v1::LogKind::Request,
    };
    v1::LogEntry {
        sequence: entry.sequence,
        timestamp_ms: entry.timestamp_ms,
        kind: kind.into(),
        message: entry.message,
    }
}

fn subtask_status(status: SubtaskStatus) -> v1::SubtaskStatus {
    v1::SubtaskStatus {
        subtask: Some(v1::SubtaskId { task: status.task.0, index: status.index.0 }),
        name: status.name,
        region: status.region.map(|region| region.0),
        attempt: status.attempt.map(|attempt| attempt.0),
        task_manager_id: status.task_manager.map(|id| id.0),
        state: status.state,
        records_in: status.records_in,
        records_out: status.records_out,
        late_rows_dropped: status.late_rows_dropped,
        busy_ms: status.busy_ms,
        idle_ms: status.idle_ms,
        backpressured_ms: status.backpressured_ms,
        watermark_ms: status.watermark_ms,
        splits: status
            .splits
            .into_iter()
            .map(|split| v1::SplitStatus { split: split.split, watermark_ms: split.watermark_ms, idle: split.idle })
            .collect(),
    }
}

fn process_status(process: ProcessStatus) -> v1::ProcessStatus {
    let memory = |memory: MemoryUse| v1::MemoryUse {
        consumer: memory.consumer,
        used_bytes: memory.used_bytes,
        limit_bytes: memory.limit_bytes,
    };
    v1::ProcessStatus { http_address: process.http_address, memory: process.memory.into_iter().map(memory).collect() }
}

fn flat<T>(result: Result<Result<T, JobManagerError>, JobManagerError>) -> Result<T, Status> {
    result.and_then(|inner| inner).map_err(|error| status(&error))
}

fn status(error: &JobManagerError) -> Status {
    let text = error.to_string();
    match error {
        JobManagerError::NoSuchJob(_) => Status::not_found(text),
        JobManagerError::Script(_) | JobManagerError::AmbiguousJob { .. } | JobManagerError::Plan(_) => {
            Status::invalid_argument(text)
        }
        JobManagerError::NoSavepointDirectory { .. } | JobManagerError::Storage(_) => Status::invalid_argument(text),
        JobManagerError::NotKept { .. } | JobManagerError::JobStore(_) => Status::internal(text),
        JobManagerError::SavepointFailed { .. } => Status::aborted(text),
        JobManagerError::NoRows(_)
        | JobManagerError::RowsTaken(_)
        | JobManagerError::NotRunning { .. }
        | JobManagerError::BatchMode { .. }
        | JobManagerError::NotRescalable { .. }
        | JobManagerError::NoCheckpoint(_)
        | JobManagerError::NotEnoughSlots { .. } => Status::failed_precondition(text),
        JobManagerError::ShuttingDown => Status::unavailable(text),
        JobManagerError::Bind { .. }
        | JobManagerError::Server(_)
        | JobManagerError::Reflection(_)
        | JobManagerError::OtherBinary(_)
        | JobManagerError::Http(_)
        | JobManagerError::Internal(_) => Status::internal(text),
    }
}

fn submitted_script(script: SubmittedScript) -> v1::SubmittedScript {
    use v1::submitted_statement::Result as Outcome;
    let statement = |statement| {
        let result = match statement {
            SubmittedStatement::Explain(text) => Outcome::Explain(text),
            SubmittedStatement::Job(job) => Outcome::Job(v1::SubmittedJob {
                job_id: job.job.0,
                name: job.name,
                select: job.columns.is_some(),
                columns: job.columns.unwrap_or_default(),
                restored: job.restored.into_iter().map(restored_operator).collect(),
            }),
        };
        v1::SubmittedStatement { result: Some(result) }
    };
    v1::SubmittedScript {
        statements: script.statements.into_iter().map(statement).collect(),
        warnings: script.warnings,
    }
}

fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Created => v1::JobState::Created,
        JobState::Deploying => v1::JobState::Deploying,
        JobState::Running => v1::JobState::Running,
        JobState::Finishing => v1::JobState::Finishing,
        JobState::Finished => v1::JobState::Finished,
        JobState::Restarting => v1::JobState::Restarting,
        JobState::Failing => v1::JobState::Failing,
        JobState::Failed => v1::JobState::Failed,
        JobState::Canceling => v1::JobState::Canceling,
        JobState::Canceled => v1::JobState::Canceled,
    }
}

fn summary(job: &JobSummary) -> v1::JobSummary {
    v1::JobSummary {
        job_id: job.job_id.0.clone(),
        name: job.name.clone(),
        state: job_state(job.state).into(),
        start_ms: job.start_ms,
        end_ms: job.end_ms,
    }
}

fn detail(job: &JobDetail) -> v1::JobDetail {
    v1::JobDetail {
        summary: Some(summary(&job.summary)),
        max_parallelism: job.max_parallelism,
        slots: job.slots,
        regions: job.regions,
        attempts: job
            .attempts
            .iter()
            .map(|attempt| v1::JobAttempt {
                attempt: attempt.attempt.0,
                region: attempt.region.0,
                subtasks: attempt.subtasks,
                start_ms: attempt.start_ms,
                end_ms: attempt.end_ms,
            })
            .collect(),
        operators: job.operators.iter().map(operator_status).collect(),
        exceptions: job.exceptions.iter().map(exception).collect(),
    }
}

fn exception(exception: &JobException) -> v1::JobException {
    v1::JobException {
        timestamp_ms: exception.timestamp_ms,
        subtask: exception.subtask.clone(),
        task_manager_id: exception.task_manager.as_ref().map(|id| id.0.clone()),
        cause: exception.cause.clone(),
        regions: exception.regions.iter().map(|region| region.0).collect(),
    }
}

fn operator_status(status: &OperatorStatus) -> v1::OperatorStatus {
    v1::OperatorStatus {
        operator: status.operator.0,
        uid: status.uid.clone(),
        name: status.name.clone(),
        kind: status.kind.clone(),
        task: status.task.0,
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
        holding_split: status.holding_split.clone(),
        busy_ms: status.busy_ms,
        idle_ms: status.idle_ms,
        backpressured_ms: status.backpressured_ms,
        inputs: status
            .inputs
            .iter()
            .map(|input| v1::OperatorInput { operator: input.operator.0, partitioning: input.partitioning.clone() })
            .collect(),
    }
}

fn restored_operator(operator: RestoredOperator) -> v1::RestoredOperator {
    let fate = match operator.fate {
        OperatorFate::Kept => v1::OperatorFate::Kept,
        OperatorFate::New => v1::OperatorFate::New,
        OperatorFate::Dropped => v1::OperatorFate::Dropped,
    };
    v1::RestoredOperator { uid: operator.uid, name: operator.name, fate: fate.into(), reason: operator.reason }
}

fn checkpoints(history: CheckpointHistory) -> v1::ListCheckpointsResponse {
    let CheckpointHistory { job_id, counts, restored, checkpoints } = history;
    v1::ListCheckpointsResponse {
        job_id: job_id.0,
        counts: Some(v1::CheckpointCounts {
            in_progress: counts.in_progress,
            completed: counts.completed,
            savepoints: counts.savepoints,
            failed: counts.failed,
        }),
        restored,
        checkpoints: checkpoints.into_iter().map(checkpoint).collect(),
    }
}

fn checkpoint(stats: CheckpointStats) -> v1::Checkpoint {
    let state = match stats.state {
        CheckpointState::InProgress => v1::CheckpointState::InProgress,
        CheckpointState::Completed => v1::CheckpointState::Completed,
        CheckpointState::Failed => v1::CheckpointState::Failed,
    };
    v1::Checkpoint {
        checkpoint: stats.checkpoint.0,
        attempt: stats.attempt.0,
        savepoint: stats.kind == CheckpointKind::Savepoint,
        stop: stats.stop,
        state: state.into(),
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
    }
}

fn cluster_info(info: ClusterInfo) -> v1::ClusterInfoResponse {
    v1::ClusterInfoResponse {
        version: info.version,
        leader_epoch: info.leader_epoch.0,
        task_managers: info
            .task_managers
            .into_iter()
            .map(|member| v1::TaskManagerInfo {
                task_manager_id: member.id.0,
                data_address: member.data_address,
                slots: member.slots,
                free_slots: member.free_slots,
                registered_ms: member.registered_ms,
                process: Some(process_status(member.process)),
            })
            .collect(),
    }
}
