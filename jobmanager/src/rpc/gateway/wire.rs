//! `TaskManagerGateway` on the wire.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tidemill_common::checkpoint::SplitPosition;
use tidemill_common::control::{
    DeployRequest, Fenced, JobManagerMessage, LocalState, MemoryUse, OperatorCounters, ProcessStatus, Registration,
    SplitStatus, SubtaskReport, SubtaskState, TaskManagerMessage,
};
use tidemill_common::ids::{
    AttemptId, CheckpointId, JobId, LeaderEpoch, OperatorId, SubtaskId, SubtaskIndex, TaskId, TaskManagerId,
};
use tidemill_common::limits::GRPC_MESSAGE_BYTES_MAX;
use tidemill_proto::v1;
use tidemill_proto::v1::task_manager_gateway_server::{TaskManagerGateway, TaskManagerGatewayServer};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Admission, Gateway, REGISTRATION_TIMEOUT};
use crate::command::Command;

/// Consumers of memory, and splits of a subtask, that a task manager may tell of.
const MEMORY_CONSUMERS_MAX: usize = 16;
const SPLITS_MAX: usize = 64;

/// The service, with its limits.
pub fn server(gateway: Gateway) -> TaskManagerGatewayServer<Gateway> {
    TaskManagerGatewayServer::new(gateway)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

type Outbound = Pin<Box<dyn Stream<Item = Result<v1::JobManagerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl TaskManagerGateway for Gateway {
    type AttachStream = Outbound;

    async fn attach(&self, request: Request<Streaming<v1::TaskManagerMessage>>) -> Result<Response<Outbound>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(REGISTRATION_TIMEOUT, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no registration came within 10 s"))??
            .ok_or_else(|| Status::invalid_argument("the stream ended before a registration"))?;
        let TaskManagerMessage::Register(registration) = decode(first)?.message else {
            return Err(Status::invalid_argument("the first message of a stream must be `register`"));
        };
        let id = registration.id.clone();
        let (connection, messages) = match self.admit(registration).await {
            Admission::Joined { connection, messages } => (connection, messages),
            Admission::Refused(reason) => {
                tracing::warn!(task_manager = %id, reason, "refused a task manager");
                let refused = Fenced { epoch: self.epoch(), message: JobManagerMessage::Refused { reason } };
                let stream = futures::stream::once(async move { Ok(encode(refused)) });
                return Ok(Response::new(Box::pin(stream)));
            }
        };
        tokio::spawn(read(self.clone(), id, connection, inbound));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages).map(|message| Ok(encode(message))))))
    }
}

/// Hands on what a task manager sends, until its stream breaks.
async fn read(
    gateway: Gateway,
    id: TaskManagerId,
    connection: crate::cluster::ConnectionId,
    mut inbound: Streaming<v1::TaskManagerMessage>,
) {
    let reason = loop {
        match inbound.message().await {
            Ok(Some(message)) => match decode(message) {
                Ok(message) => {
                    let command = Command::FromTaskManager { id: id.clone(), connection, message };
                    if gateway.master.send(command).await.is_err() {
                        return;
                    }
                }
                Err(status) => break format!("task manager {id} sent what cannot be read: {}", status.message()),
            },
            Ok(None) => break format!("task manager {id} has left"),
            Err(status) => {
                tracing::debug!(task_manager = %id, %status, "stream broke");
                break format!("the connection to task manager {id} was lost; its process has ended or is unreachable");
            }
        }
    };
    let _ = gateway.master.send(Command::Disconnected { id, connection, reason }).await;
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("field `{field}` is missing"))
}

fn decode(message: v1::TaskManagerMessage) -> Result<Fenced<TaskManagerMessage>, Status> {
    use v1::task_manager_message::Message;
    let epoch = LeaderEpoch(message.leader_epoch);
    let message = match message.message.ok_or_else(|| missing("message"))? {
        Message::Register(register) => TaskManagerMessage::Register(Registration {
            id: TaskManagerId(register.task_manager_id),
            data_address: register.data_address,
            slots: register.slots,
            version: register.version,
            local_state: LocalState {
                id: register.local_state_id,
                jobs: register.local_jobs.into_iter().map(local_job).collect::<Result<_, _>>()?,
            },
        }),
        Message::Heartbeat(heartbeat) => TaskManagerMessage::Heartbeat {
            sequence: heartbeat.sequence,
            subtasks: heartbeat.subtasks.into_iter().map(report).collect::<Result<_, _>>()?,
            process: process_status(heartbeat.process.unwrap_or_default()),
        },
        Message::SubtaskStateChanged(changed) => TaskManagerMessage::SubtaskStateChanged {
            state: subtask_state(changed.state(), &changed.cause)?,
            job: JobId(changed.job_id),
            attempt: AttemptId(changed.attempt),
            subtask: subtask(changed.subtask)?,
            metrics: changed.metrics.map(report).transpose()?,
        },
        Message::SplitRequest(request) => TaskManagerMessage::SplitRequest {
            job: JobId(request.job_id),
            attempt: AttemptId(request.attempt),
            operator: OperatorId(request.operator),
            reader: SubtaskIndex(request.reader),
        },
        Message::CheckpointAcknowledged(ack) => TaskManagerMessage::CheckpointAcknowledged {
            job: JobId(ack.job_id),
            attempt: AttemptId(ack.attempt),
            subtask: subtask(ack.subtask)?,
            checkpoint: CheckpointId(ack.checkpoint),
            snapshot: serde_json::from_slice(&ack.snapshot_json)
                .map_err(|error| Status::invalid_argument(format!("the snapshot cannot be read: {error}")))?,
        },
        Message::CheckpointDeclined(declined) => TaskManagerMessage::CheckpointDeclined {
            job: JobId(declined.job_id),
            attempt: AttemptId(declined.attempt),
            subtask: subtask(declined.subtask)?,
            checkpoint: CheckpointId(declined.checkpoint),
            reason: declined.reason,
        },
        Message::CollectedLines(collected) => TaskManagerMessage::CollectedLines {
            job: JobId(collected.job_id),
            attempt: AttemptId(collected.attempt),
            sequence: collected.sequence,
            lines: collected.lines,
        },
    };
    Ok(Fenced { epoch, message })
}

fn process_status(process: v1::ProcessStatus) -> ProcessStatus {
    let memory = |memory: v1::MemoryUse| MemoryUse {
        consumer: memory.consumer,
        used_bytes: memory.used_bytes,
        limit_bytes: memory.limit_bytes,
    };
    ProcessStatus {
        http_address: process.http_address,
        memory: process.memory.into_iter().take(MEMORY_CONSUMERS_MAX).map(memory).collect(),
    }
}

fn local_job(local: v1::LocalJob) -> Result<(JobId, Vec<SubtaskId>), Status> {
    let subtasks = local.subtasks.into_iter().map(|id| subtask(Some(id))).collect::<Result<_, _>>()?;
    Ok((JobId(local.job_id), subtasks))
}

fn subtask(id: Option<v1::SubtaskId>) -> Result<SubtaskId, Status> {
    let id = id.ok_or_else(|| missing("subtask"))?;
    Ok(SubtaskId { task: TaskId(id.task), index: SubtaskIndex(id.index) })
}

fn subtask_state(state: v1::SubtaskState, cause: &str) -> Result<SubtaskState, Status> {
    match state {
        v1::SubtaskState::Running => Ok(SubtaskState::Running),
        v1::SubtaskState::Finishing => Ok(SubtaskState::Finishing),
        v1::SubtaskState::Finished => Ok(SubtaskState::Finished),
        v1::SubtaskState::Canceled => Ok(SubtaskState::Canceled),
        v1::SubtaskState::Failed => Ok(SubtaskState::Failed { cause: cause.to_owned() }),
        v1::SubtaskState::Unspecified => Err(missing("state")),
    }
}

fn report(metrics: v1::SubtaskMetrics) -> Result<SubtaskReport, Status> {
    let counters = |counters: v1::OperatorCounters| OperatorCounters {
        operator: OperatorId(counters.operator),
        records_in: counters.records_in,
        records_out: counters.records_out,
        bytes: counters.bytes,
        late_rows_dropped: counters.late_rows_dropped,
        records_skipped: counters.records_skipped,
        records_lag: counters.records_lag,
    };
    Ok(SubtaskReport {
        job: JobId(metrics.job_id),
        attempt: AttemptId(metrics.attempt),
        subtask: subtask(metrics.subtask)?,
        operators: metrics.operators.into_iter().map(counters).collect(),
        busy_ms: metrics.busy_ms,
        idle_ms: metrics.idle_ms,
        backpressured_ms: metrics.backpressured_ms,
        watermark_ms: metrics.watermark_ms,
        alignment_watermark_ms: metrics.alignment_watermark_ms,
        holding_split: metrics.holding_split,
        splits: metrics
            .splits
            .into_iter()
            .take(SPLITS_MAX)
            .map(|split| SplitStatus { split: split.split, watermark_ms: split.watermark_ms, idle: split.idle })
            .collect(),
    })
}

fn encode(fenced: Fenced<JobManagerMessage>) -> v1::JobManagerMessage {
    use v1::job_manager_message::Message;
    let message = match fenced.message {
        JobManagerMessage::Registered { heartbeat_interval_ms, heartbeat_timeout_ms } => {
            Message::Registered(v1::Registered { heartbeat_interval_ms, heartbeat_timeout_ms })
        }
        JobManagerMessage::Refused { reason } => Message::Refused(v1::Refused { reason }),
        JobManagerMessage::HeartbeatAck { sequence } => Message::HeartbeatAck(v1::HeartbeatAck { sequence }),
        JobManagerMessage::Deploy(request) => Message::Deploy(deploy(request)),
        JobManagerMessage::AssignSplits { job, attempt, operator, reader, splits, no_more } => {
            let split = |split: SplitPosition| v1::Split {
                id: split.id.0,
                state_json: split.state.to_string(),
                watermark_ms: split.watermark_ms,
            };
            Message::AssignSplits(v1::AssignSplits {
                job_id: job.0,
                attempt: attempt.0,
                operator: operator.0,
                reader: reader.0,
                splits: splits.into_iter().map(split).collect(),
                no_more,
            })
        }
        JobManagerMessage::Cancel { job, attempt } => {
            Message::Cancel(v1::CancelAttempt { job_id: job.0, attempt: attempt.0 })
        }
        JobManagerMessage::StopSources { job, attempt, drain } => {
            Message::StopSources(v1::StopSources { job_id: job.0, attempt: attempt.0, drain })
        }
        JobManagerMessage::UpdateAlignment { job, attempt, group, max_watermark_ms } => {
            Message::UpdateAlignment(v1::UpdateAlignment { job_id: job.0, attempt: attempt.0, group, max_watermark_ms })
        }
        JobManagerMessage::TriggerCheckpoint { job, attempt, checkpoint, timestamp_ms, savepoint, stop } => {
            Message::TriggerCheckpoint(v1::TriggerCheckpoint {
                job_id: job.0,
                attempt: attempt.0,
                checkpoint: checkpoint.0,
                timestamp_ms,
                savepoint,
                stop_drain: stop,
            })
        }
        JobManagerMessage::CheckpointComplete { job, attempt, checkpoint } => {
            Message::CheckpointComplete(notice(job, attempt, checkpoint))
        }
        JobManagerMessage::CheckpointAborted { job, attempt, checkpoint } => {
            Message::CheckpointAborted(notice(job, attempt, checkpoint))
        }
        JobManagerMessage::ForgetJob { job } => Message::ForgetJob(v1::ForgetJob { job_id: job.0 }),
        JobManagerMessage::LinesTaken { job, attempt, sequence } => {
            Message::LinesTaken(v1::LinesTaken { job_id: job.0, attempt: attempt.0, sequence })
        }
    };
    v1::JobManagerMessage { leader_epoch: fenced.epoch.0, message: Some(message) }
}

fn notice(job: JobId, attempt: AttemptId, checkpoint: CheckpointId) -> v1::CheckpointNotice {
    v1::CheckpointNotice { job_id: job.0, attempt: attempt.0, checkpoint: checkpoint.0 }
}

fn deploy(request: DeployRequest) -> v1::Deploy {
    let id = |subtask: SubtaskId| v1::SubtaskId { task: subtask.task.0, index: subtask.index.0 };
    v1::Deploy {
        job_id: request.job.0,
        job_name: request.job_name,
        attempt: request.attempt.0,
        first_attempt: request.first_attempt.0,
        region: request.region.map(|region| region.0),
        plan: request.plan.as_ref().clone(),
        checkpoint_directory: request.checkpoint_directory,
        restore: request.restore,
        subtasks: request.subtasks.into_iter().map(id).collect(),
        locations: request
            .locations
            .into_iter()
            .map(|(subtask, task_manager, data_address)| v1::SubtaskLocation {
                subtask: Some(id(subtask)),
                task_manager_id: task_manager.0,
                data_address,
            })
            .collect(),
    }
}
