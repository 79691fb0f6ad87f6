//! What is done with a connection: messages of the job manager become calls on the executor, events
//! of the executor become messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_common::batch::Barrier;
use tidemill_common::control::{
    DeployRequest, Fenced, JobManagerMessage, SubtaskReport, SubtaskState, TaskManagerMessage,
};
use tidemill_common::ids::{AttemptId, JobId, LeaderEpoch, SubtaskId};
use tidemill_common::plan::{OperatorKind, StreamPlan};
use tidemill_connectors::api::Split;
use tidemill_connectors::lease::Lease;
use tidemill_expr::own;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::credit::LinePermit;
use super::printer::{PrintTarget, Printer};
use super::report::report;
use crate::executor::{Deployment, ExecutorEvent, LineTarget, Location, TaskExecutor};

/// How long cancelled subtasks may take when the task manager ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection ended.
pub enum Outcome {
    /// The task manager was told to stop.
    Stopped,
    /// The job manager does not want this task manager.
    Refused(String),
    Lost(String),
}

/// What outlives a connection.
pub struct Session {
    lease: Lease,
    executor: Arc<TaskExecutor>,
    printer: Printer,
    /// The highest epoch of a leader seen; older leaders have no say.
    epoch: LeaderEpoch,
    attempts: BTreeMap<(JobId, AttemptId), DeployedAttempt>,
}

/// An attempt with subtasks here.
struct DeployedAttempt {
    unended: BTreeSet<SubtaskId>,
    /// How often its alignment groups want to be looked at.
    alignment_interval: Option<Duration>,
    /// Chunks of rows sent so far, and the leave of those the client has not taken.
    chunks_sent: u64,
    chunks_open: VecDeque<(u64, LinePermit)>,
}

impl Session {
    pub fn new(executor: Arc<TaskExecutor>, print: PrintTarget, lease: Lease) -> Self {
        Self { lease, executor, printer: Printer::start(print), epoch: LeaderEpoch(0), attempts: BTreeMap::new() }
    }

    /// Returns when everything that was printed is written.
    pub async fn close(self) {
        self.printer.close().await;
    }

    /// Takes one event while there is no job manager: its jobs are lost, only lines to print count.
    pub async fn discard(&mut self, events: &mut mpsc::Receiver<ExecutorEvent>) {
        match events.recv().await {
            Some(ExecutorEvent::Lines { target: LineTarget::Print, lines, permit, .. }) => {
                self.printer.print(lines, permit);
            }
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Serves one connection.
    pub async fn serve(
        &mut self,
        connection: Connection,
        events: &mut mpsc::Receiver<ExecutorEvent>,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Outcome {
        let Connection { outbound, mut inbound } = connection;
        let (heartbeat, timeout) = tokio::select! {
            first = Connection::next(&mut inbound) => match first {
                Err(reason) => return Outcome::Lost(reason),
                Ok(fenced) if fenced.epoch < self.epoch => {
                    return Outcome::Lost(format!("a job manager of the past epoch {} answered", fenced.epoch));
                }
                Ok(Fenced { epoch, message }) => {
                    self.epoch = epoch;
                    match message {
                        JobManagerMessage::Registered { heartbeat_interval_ms, heartbeat_timeout_ms } => (
                            Duration::from_millis(heartbeat_interval_ms.max(1)),
                            Duration::from_millis(heartbeat_timeout_ms.max(1)),
                        ),
                        JobManagerMessage::Refused { reason } => return Outcome::Refused(reason),
                        other => return Outcome::Lost(format!("the job manager did not answer the registration but sent {other:?}")),
                    }
                }
            },
            () = &mut *stop => return Outcome::Stopped,
        };
        self.lease.renew(Instant::now());
        tracing::info!(epoch = %self.epoch, "registered with the job manager");
        let mut link = Link { outbound, epoch: self.epoch, timeout };
        let outcome = self.converse(&mut link, &mut inbound, events, stop, heartbeat).await;
        self.cancel_all(&mut link, events, matches!(outcome, Outcome::Stopped)).await;
        outcome
    }

    async fn converse(
        &mut self,
        link: &mut Link,
        inbound: &mut super::wire::Inbound,
        events: &mut mpsc::Receiver<ExecutorEvent>,
        stop: &mut (impl Future<Output = ()> + Unpin),
        heartbeat: Duration,
    ) -> Outcome {
        let mut last_heard = Instant::now();
        let mut sequence = 0;
        // When the heartbeats were sent that have no answer yet.
        let mut unanswered: VecDeque<(u64, Instant)> = VecDeque::new();
        loop {
            let pause = self.heartbeat_pause(heartbeat);
            let due = tokio::time::sleep(pause);
            tokio::pin!(due);
            // Until the next heartbeat is due.
            loop {
                let sent = tokio::select! {
                    message = Connection::next(inbound) => match message {
                        Err(reason) => return Outcome::Lost(reason),
                        Ok(fenced) => {
                            last_heard = Instant::now();
                            if let JobManagerMessage::HeartbeatAck { sequence } = &fenced.message {
                                while let Some((_, sent)) = unanswered.pop_front_if(|(open, _)| *open <= *sequence) {
                                    self.lease.renew(sent);
                                }
                            }
                            self.obey(link, fenced).await
                        }
                    },
                    event = events.recv() => match event {
                        Some(event) => self.relay(link, event).await,
                        None => return Outcome::Lost("the executor has ended".to_owned()),
                    },
                    () = &mut due => break,
                    () = &mut *stop => return Outcome::Stopped,
                };
                if let Err(reason) = sent {
                    return Outcome::Lost(reason);
                }
            }
            if last_heard.elapsed() > link.timeout {
                let seconds = link.timeout.as_secs_f64();
                return Outcome::Lost(format!("the job manager was silent for {seconds} s (heartbeat.timeout)"));
            }
            sequence += 1;
            unanswered.push_back((sequence, Instant::now()));
            let subtasks = self.executor.metrics().iter().map(report).collect();
            let process = self.executor.process_status();
            if let Err(reason) = link.send(TaskManagerMessage::Heartbeat { sequence, subtasks, process }).await {
                return Outcome::Lost(reason);
            }
        }
    }

    /// Alignment groups may want to be told more often than heartbeats come.
    fn heartbeat_pause(&self, heartbeat: Duration) -> Duration {
        const LOWEST: Duration = Duration::from_millis(10);
        let wanted = self.attempts.values().filter_map(|attempt| attempt.alignment_interval).min();
        wanted.map_or(heartbeat, |interval| interval.clamp(LOWEST, heartbeat.max(LOWEST)))
    }

    /// Does what the job manager says.
    async fn obey(&mut self, link: &mut Link, fenced: Fenced<JobManagerMessage>) -> Result<(), String> {
        if fenced.epoch < self.epoch {
            tracing::warn!(epoch = %fenced.epoch, "refused a message of a past leader");
            return Ok(());
        }
        self.epoch = fenced.epoch;
        match fenced.message {
            JobManagerMessage::Registered { .. } | JobManagerMessage::HeartbeatAck { .. } => {}
            JobManagerMessage::Refused { reason } => return Err(reason),
            JobManagerMessage::Deploy(request) => return self.deploy(link, request).await,
            JobManagerMessage::AssignSplits { job, attempt, operator, reader, splits, no_more } => {
                let splits = splits
                    .into_iter()
                    .map(|split| Split { id: split.id, state: split.state, watermark_ms: split.watermark_ms })
                    .collect();
                self.executor.assign_splits(&job, attempt, operator, reader, splits, no_more);
            }
            JobManagerMessage::Cancel { job, attempt } => {
                self.executor.cancel(&job, attempt);
                if let Some(deployed) = self.attempts.get_mut(&(job, attempt)) {
                    deployed.chunks_open.clear();
                }
            }
            JobManagerMessage::StopSources { job, attempt, drain } => self.executor.stop_sources(&job, attempt, drain),
            JobManagerMessage::UpdateAlignment { job, attempt, group, max_watermark_ms } => {
                self.executor.update_alignment(&job, attempt, &group, max_watermark_ms);
            }
            JobManagerMessage::TriggerCheckpoint { job, attempt, checkpoint, timestamp_ms, savepoint, stop } => {
                let barrier = Barrier { checkpoint, timestamp_ms, savepoint: savepoint.map(Into::into) };
                self.executor.trigger_checkpoint(&job, attempt, barrier, stop);
            }
            JobManagerMessage::CheckpointComplete { job, attempt, checkpoint } => {
                self.executor.checkpoint_complete(&job, attempt, checkpoint);
            }
            JobManagerMessage::CheckpointAborted { job, attempt, checkpoint } => {
                self.executor.checkpoint_aborted(&job, attempt, checkpoint);
            }
            JobManagerMessage::ForgetJob { job } => self.executor.forget(&job),
            JobManagerMessage::LinesTaken { job, attempt, sequence } => {
                if let Some(deployed) = self.attempts.get_mut(&(job, attempt)) {
                    while deployed.chunks_open.front().is_some_and(|(open, _)| *open <= sequence) {
                        deployed.chunks_open.pop_front();
                    }
                }
            }
        }
        Ok(())
    }

    async fn deploy(&mut self, link: &mut Link, request: DeployRequest) -> Result<(), String> {
        let DeployRequest { job, job_name, attempt, first_attempt, region, plan, subtasks, .. } = request;
        let DeployRequest { checkpoint_directory, restore, locations, .. } = request;
        if self.attempts.keys().any(|(known, newer)| *known == job && *newer > attempt) {
            tracing::warn!(%job, %attempt, "refused a deployment of a past attempt");
            return Ok(());
        }
        let plan = match StreamPlan::from_json(&plan) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return refuse(link, &job, attempt, &subtasks, &error.to_string()).await,
        };
        if let Err(error) = own::check_plan(&plan) {
            let reason = format!("a task manager runs another binary than the job manager: {error}");
            return refuse(link, &job, attempt, &subtasks, &reason).await;
        }
        let deployed = DeployedAttempt {
            unended: subtasks.iter().copied().collect(),
            alignment_interval: alignment_interval(&plan),
            chunks_sent: 0,
            chunks_open: VecDeque::new(),
        };
        self.attempts.insert((job.clone(), attempt), deployed);
        let locations = locations
            .into_iter()
            .map(|(subtask, task_manager, data_address)| (subtask, Location { task_manager, data_address }))
            .collect();
        let deployment = Deployment {
            job: job.clone(),
            job_name,
            attempt,
            first_attempt,
            region,
            plan,
            subtasks: subtasks.clone(),
            checkpoint_directory,
            restore,
            locations,
        };
        match self.executor.deploy(deployment) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.attempts.remove(&(job.clone(), attempt));
                refuse(link, &job, attempt, &subtasks, &error.to_string()).await
            }
        }
    }

    /// Tells the job manager of an event.
    async fn relay(&mut self, link: &mut Link, event: ExecutorEvent) -> Result<(), String> {
        match event {
            ExecutorEvent::StateChanged { job, attempt, subtask, state } => {
                let state = subtask_state(state);
                let is_its = |report: &SubtaskReport| {
                    report.job == job && report.attempt == attempt && report.subtask == subtask
                };
                let metrics =
                    state.has_ended().then(|| self.executor.metrics().iter().map(report).find(is_its)).flatten();
                let key = (job.clone(), attempt);
                if state.has_ended()
                    && let Some(deployed) = self.attempts.get_mut(&key)
                {
                    deployed.unended.remove(&subtask);
                    if deployed.unended.is_empty() {
                        self.attempts.remove(&key);
                    }
                }
                link.send(TaskManagerMessage::SubtaskStateChanged { job, attempt, subtask, state, metrics }).await
            }
            ExecutorEvent::SplitRequest { job, attempt, operator, reader } => {
                link.send(TaskManagerMessage::SplitRequest { job, attempt, operator, reader }).await
            }
            ExecutorEvent::Checkpointed { job, attempt, subtask, checkpoint, result } => {
                link.send(match result {
                    Ok(snapshot) => {
                        TaskManagerMessage::CheckpointAcknowledged { job, attempt, subtask, checkpoint, snapshot }
                    }
                    Err(reason) => TaskManagerMessage::CheckpointDeclined { job, attempt, subtask, checkpoint, reason },
                })
                .await
            }
            ExecutorEvent::Lines { target: LineTarget::Print, lines, permit, .. } => {
                self.printer.print(lines, permit);
                Ok(())
            }
            ExecutorEvent::Lines { job, attempt, target: LineTarget::Collect, lines, permit } => {
                let Some(deployed) = self.attempts.get_mut(&(job.clone(), attempt)) else { return Ok(()) };
                deployed.chunks_sent += 1;
                let sequence = deployed.chunks_sent;
                deployed.chunks_open.push_back((sequence, permit));
                link.send(TaskManagerMessage::CollectedLines { job, attempt, sequence, lines }).await
            }
        }
    }

    /// Nobody counts on the jobs any more: the job manager has failed them, or the process ends.
    /// When it ends, their subtasks are waited for, so that sinks can close.
    async fn cancel_all(&mut self, link: &mut Link, events: &mut mpsc::Receiver<ExecutorEvent>, wait: bool) {
        for ((job, attempt), deployed) in &mut self.attempts {
            deployed.chunks_open.clear();
            self.executor.cancel(job, *attempt);
        }
        if !wait {
            self.attempts.clear();
            return;
        }
        let deadline = tokio::time::sleep(STOP_TIMEOUT);
        tokio::pin!(deadline);
        while !self.attempts.is_empty() {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        // A job manager that has ended as well needs no news.
                        let _ = self.relay(link, event).await;
                    }
                    None => return,
                },
                () = &mut deadline => {
                    tracing::warn!("subtasks did not end within 5 s");
                    return;
                }
            }
        }
    }
}

/// The sending half of a connection.
struct Link {
    outbound: mpsc::Sender<Fenced<TaskManagerMessage>>,
    epoch: LeaderEpoch,
    timeout: Duration,
}

impl Link {
    async fn send(&mut self, message: TaskManagerMessage) -> Result<(), String> {
        let fenced = Fenced { epoch: self.epoch, message };
        match self.outbound.send_timeout(fenced, self.timeout).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err("the job manager takes no messages (heartbeat.timeout)".to_owned())
            }
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err("the connection is closed".to_owned()),
        }
    }
}

async fn refuse(
    link: &mut Link,
    job: &JobId,
    attempt: AttemptId,
    subtasks: &[SubtaskId],
    cause: &str,
) -> Result<(), String> {
    for subtask in subtasks {
        let message = TaskManagerMessage::SubtaskStateChanged {
            job: job.clone(),
            attempt,
            subtask: *subtask,
            state: SubtaskState::Failed { cause: cause.to_owned() },
            metrics: None,
        };
        link.send(message).await?;
    }
    Ok(())
}

fn alignment_interval(plan: &StreamPlan) -> Option<Duration> {
    plan.operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Source(source) => source.watermark.as_ref()?.alignment.as_ref(),
            _ => None,
        })
        .map(|alignment| Duration::from_millis(alignment.update_interval_ms.max(1) as u64))
        .min()
}

fn subtask_state(state: crate::executor::SubtaskState) -> SubtaskState {
    match state {
        crate::executor::SubtaskState::Running => SubtaskState::Running,
        crate::executor::SubtaskState::Finishing => SubtaskState::Finishing,
        crate::executor::SubtaskState::Finished => SubtaskState::Finished,
        crate::executor::SubtaskState::Canceled => SubtaskState::Canceled,
        crate::executor::SubtaskState::Failed { cause } => SubtaskState::Failed { cause },
    }
}
