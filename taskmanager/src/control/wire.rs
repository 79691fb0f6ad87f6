//! `TaskManagerGateway` on the wire, from the task manager's side.

use std::sync::Arc;
use std::time::Duration;

use tidemill_common::checkpoint::SplitPosition;
use tidemill_common::control::{
    DeployRequest, Fenced, JobManagerMessage, MemoryUse, ProcessStatus, SubtaskReport, SubtaskState, TaskManagerMessage,
};
use tidemill_common::ids::{
    AttemptId, CheckpointId, JobId, LeaderEpoch, OperatorId, RegionId, SplitId, SubtaskId, SubtaskIndex, TaskId,
    TaskManagerId,
};
use tidemill_common::limits::GRPC_MESSAGE_BYTES_MAX;
use tidemill_common::stores::with_sources;
use tidemill_proto::v1;
use tidemill_proto::v1::task_manager_gateway_client::TaskManagerGatewayClient;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// What comes from the job manager.
pub type Inbound = Streaming<v1::JobManagerMessage>;

/// The address of a job manager, as `host:port`.
pub fn endpoint(jobmanager: &str, connect_timeout: Duration) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{jobmanager}")).map_err(|error| error.to_string())?;
    Ok(endpoint
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10)))
}

/// Opens the stream.
pub async fn attach(
    endpoint: Endpoint,
    messages: mpsc::Receiver<Fenced<TaskManagerMessage>>,
) -> Result<Inbound, String> {
    let channel = endpoint.connect().await.map_err(|error| with_sources(&error))?;
    let mut client = TaskManagerGatewayClient::new(channel)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX);
    let response =
        client.attach(ReceiverStream::new(messages).map(encode)).await.map_err(|status| status.message().to_owned())?;
    Ok(response.into_inner())
}

/// The next message; the error says why there is none.
pub async fn next(inbound: &mut Inbound) -> Result<Fenced<JobManagerMessage>, String> {
    match inbound.message().await {
        Ok(Some(message)) => decode(message),
        Ok(None) => Err("the job manager has closed the connection".to_owned()),
        Err(status) => Err(format!("the connection to the job manager broke: {}", status.message())),
    }
}

fn encode(fenced: Fenced<TaskManagerMessage>) -> v1::TaskManagerMessage {
    use v1::task_manager_message::Message;
    let message = match fenced.message {
        TaskManagerMessage::Register(registration) => Message::Register(v1::Register {
            task_manager_id: registration.id.0,
            data_address: registration.data_address,
            slots: registration.slots,
            version: registration.version,
            local_state_id: registration.local_state.id,
            local_jobs: registration.local_state.jobs.into_iter().map(local_job).collect(),
        }),
        TaskManagerMessage::Heartbeat { sequence, subtasks, process } => Message::Heartbeat(v1::Heartbeat {
            sequence,
            subtasks: subtasks.into_iter().map(metrics).collect(),
            process: Some(process_status(process)),
        }),
        TaskManagerMessage::SubtaskStateChanged { job, attempt, subtask, state, metrics: last } => {
            let (state, cause) = match state {
                SubtaskState::Running => (v1::SubtaskState::Running, String::new()),
                SubtaskState::Finishing => (v1::SubtaskState::Finishing, String::new()),
                SubtaskState::Finished => (v1::SubtaskState::Finished, String::new()),
                SubtaskState::Canceled => (v1::SubtaskState::Canceled, String::new()),
                SubtaskState::Failed { cause } => (v1::SubtaskState::Failed, cause),
            };
            Message::SubtaskStateChanged(v1::SubtaskStateChanged {
                job_id: job.0,
                attempt: attempt.0,
                subtask: Some(subtask_id(subtask)),
                state: state.into(),
                cause,
                metrics: last.map(metrics),
            })
        }
        TaskManagerMessage::SplitRequest { job, attempt, operator, reader } => {
            Message::SplitRequest(v1::SplitRequest {
                job_id: job.0,
                attempt: attempt.0,
                operator: operator.0,
                reader: reader.0,
            })
        }
        TaskManagerMessage::CheckpointAcknowledged { job, attempt, subtask, checkpoint, snapshot } => {
            Message::CheckpointAcknowledged(v1::CheckpointAcknowledged {
                job_id: job.0,
                attempt: attempt.0,
                subtask: Some(subtask_id(subtask)),
                checkpoint: checkpoint.0,
                snapshot_json: serde_json::to_vec(&snapshot).unwrap_or_default(),
            })
        }
        TaskManagerMessage::CheckpointDeclined { job, attempt, subtask, checkpoint, reason } => {
            Message::CheckpointDeclined(v1::CheckpointDeclined {
                job_id: job.0,
                attempt: attempt.0,
                subtask: Some(subtask_id(subtask)),
                checkpoint: checkpoint.0,
                reason,
            })
        }
        TaskManagerMessage::CollectedLines { job, attempt, sequence, lines } => {
            Message::CollectedLines(v1::CollectedLines { job_id: job.0, attempt: attempt.0, sequence, lines })
        }
    };
    v1::TaskManagerMessage { leader_epoch: fenced.epoch.0, message: Some(message) }
}

fn local_job((job, subtasks): (JobId, Vec<SubtaskId>)) -> v1::LocalJob {
    v1::LocalJob { job_id: job.0, subtasks: subtasks.into_iter().map(subtask_id).collect() }
}

fn subtask_id(subtask: SubtaskId) -> v1::SubtaskId {
    v1::SubtaskId { task: subtask.task.0, index: subtask.index.0 }
}

fn process_status(process: ProcessStatus) -> v1::ProcessStatus {
    let memory = |memory: MemoryUse| v1::MemoryUse {
        consumer: memory.consumer,
        used_bytes: memory.used_bytes,
        limit_bytes: memory.limit_bytes,
    };
    v1::ProcessStatus { http_address: process.http_address, memory: process.memory.into_iter().map(memory).collect() }
}

fn metrics(report: SubtaskReport) -> v1::SubtaskMetrics {
    v1::SubtaskMetrics {
        job_id: report.job.0,
        attempt: report.attempt.0,
        subtask: Some(subtask_id(report.subtask)),
        operators: report
            .operators
            .into_iter()
            .map(|counters| v1::OperatorCounters {
                operator: counters.operator.0,
                records_in: counters.records_in,
                records_out: counters.records_out,
                bytes: counters.bytes,
                late_rows_dropped: counters.late_rows_dropped,
                records_skipped: counters.records_skipped,
                records_lag: counters.records_lag,
            })
            .collect(),
        busy_ms: report.busy_ms,
        idle_ms: report.idle_ms,
        backpressured_ms: report.backpressured_ms,
        watermark_ms: report.watermark_ms,
        alignment_watermark_ms: report.alignment_watermark_ms,
        holding_split: report.holding_split,
        splits: report
            .splits
            .into_iter()
            .map(|split| v1::SplitStatus { split: split.split, watermark_ms: split.watermark_ms, idle: split.idle })
            .collect(),
    }
}

fn missing(field: &str) -> String {
    format!("a message of the job manager lacks `{field}`")
}

fn decode(message: v1::JobManagerMessage) -> Result<Fenced<JobManagerMessage>, String> {
    use v1::job_manager_message::Message;
    let epoch = LeaderEpoch(message.leader_epoch);
    let message = match message.message.ok_or_else(|| missing("message"))? {
        Message::Registered(registered) => JobManagerMessage::Registered {
            heartbeat_interval_ms: registered.heartbeat_interval_ms,
            heartbeat_timeout_ms: registered.heartbeat_timeout_ms,
        },
        Message::Refused(refused) => JobManagerMessage::Refused { reason: refused.reason },
        Message::HeartbeatAck(ack) => JobManagerMessage::HeartbeatAck { sequence: ack.sequence },
        Message::Deploy(deploy) => JobManagerMessage::Deploy(deploy_request(deploy)?),
        Message::AssignSplits(assign) => JobManagerMessage::AssignSplits {
            job: JobId(assign.job_id),
            attempt: AttemptId(assign.attempt),
            operator: OperatorId(assign.operator),
            reader: SubtaskIndex(assign.reader),
            splits: assign.splits.into_iter().map(split).collect::<Result<_, _>>()?,
            no_more: assign.no_more,
        },
        Message::Cancel(cancel) => {
            JobManagerMessage::Cancel { job: JobId(cancel.job_id), attempt: AttemptId(cancel.attempt) }
        }
        Message::StopSources(stop) => JobManagerMessage::StopSources {
            job: JobId(stop.job_id),
            attempt: AttemptId(stop.attempt),
            drain: stop.drain,
        },
        Message::UpdateAlignment(update) => JobManagerMessage::UpdateAlignment {
            job: JobId(update.job_id),
            attempt: AttemptId(update.attempt),
            group: update.group,
            max_watermark_ms: update.max_watermark_ms,
        },
        Message::TriggerCheckpoint(trigger) => JobManagerMessage::TriggerCheckpoint {
            job: JobId(trigger.job_id),
            attempt: AttemptId(trigger.attempt),
            checkpoint: CheckpointId(trigger.checkpoint),
            timestamp_ms: trigger.timestamp_ms,
            savepoint: trigger.savepoint,
            stop: trigger.stop_drain,
        },
        Message::CheckpointComplete(notice) => JobManagerMessage::CheckpointComplete {
            job: JobId(notice.job_id),
            attempt: AttemptId(notice.attempt),
            checkpoint: CheckpointId(notice.checkpoint),
        },
        Message::CheckpointAborted(notice) => JobManagerMessage::CheckpointAborted {
            job: JobId(notice.job_id),
            attempt: AttemptId(notice.attempt),
            checkpoint: CheckpointId(notice.checkpoint),
        },
        Message::ForgetJob(forget) => JobManagerMessage::ForgetJob { job: JobId(forget.job_id) },
        Message::LinesTaken(taken) => JobManagerMessage::LinesTaken {
            job: JobId(taken.job_id),
            attempt: AttemptId(taken.attempt),
            sequence: taken.sequence,
        },
    };
    Ok(Fenced { epoch, message })
}

fn split(split: v1::Split) -> Result<SplitPosition, String> {
    let state = serde_json::from_str(&split.state_json)
        .map_err(|error| format!("the state of split {} cannot be read: {error}", split.id))?;
    Ok(SplitPosition { id: SplitId(split.id), state, watermark_ms: split.watermark_ms })
}

fn subtask(id: Option<v1::SubtaskId>) -> Result<SubtaskId, String> {
    let id = id.ok_or_else(|| missing("subtask"))?;
    Ok(SubtaskId { task: TaskId(id.task), index: SubtaskIndex(id.index) })
}

fn deploy_request(deploy: v1::Deploy) -> Result<DeployRequest, String> {
    Ok(DeployRequest {
        job: JobId(deploy.job_id),
        job_name: deploy.job_name,
        attempt: AttemptId(deploy.attempt),
        first_attempt: AttemptId(deploy.first_attempt),
        region: deploy.region.map(RegionId),
        plan: Arc::new(deploy.plan),
        checkpoint_directory: deploy.checkpoint_directory,
        restore: deploy.restore,
        subtasks: deploy.subtasks.into_iter().map(|id| subtask(Some(id))).collect::<Result<_, _>>()?,
        locations: deploy
            .locations
            .into_iter()
            .map(|location| {
                Ok((subtask(location.subtask)?, TaskManagerId(location.task_manager_id), location.data_address))
            })
            .collect::<Result<_, String>>()?,
    })
}
