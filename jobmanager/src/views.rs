//! What is only looked at: answers of the master that change nothing.

use std::sync::Arc;

use tidemill_common::control::{
    CheckpointHistory, JobState, JobSummary, LogEntry, LogKind, OperatorInput, SubtaskStatus,
};
use tidemill_common::ids::JobId;
use tidemill_common::plan::{Partitioning, PlanOperator, StreamPlan};
use tokio::sync::watch;

use crate::checkpoint::history::CheckpointState;
use crate::command::Reply;
use crate::error::JobManagerError;
use crate::job::Job;
use crate::master::Master;

/// What can be looked at.
pub enum View {
    Plan { job: String, reply: Reply<Result<Arc<StreamPlan>, JobManagerError>> },
    Log { job: String, after: u64, reply: Reply<Result<LogPage, JobManagerError>> },
    Subtasks { job: String, reply: Reply<Result<(JobId, Vec<SubtaskStatus>), JobManagerError>> },
    Statuses { reply: Reply<Vec<JobStatus>> },
}

/// A part of a job's log.
pub struct LogPage {
    pub entries: Vec<LogEntry>,
    /// Tells when there are more.
    pub changed: watch::Receiver<u64>,
    /// Nothing follows.
    pub ended: bool,
}

/// What metrics tell of a job.
pub struct JobStatus {
    pub summary: JobSummary,
    /// How long it has been in its state.
    pub state_ms: i64,
    pub restarts: u64,
    pub checkpoints: CheckpointHistory,
}

impl Master {
    pub(crate) fn view(&self, view: View) {
        // Whoever asked and has gone away needs no answer.
        match view {
            View::Plan { job, reply } => drop(reply.send(self.find(&job).map(|id| self.jobs[&id].plan.clone()))),
            View::Log { job, after, reply } => drop(reply.send(self.find(&job).map(|id| {
                let job = &self.jobs[&id];
                LogPage {
                    entries: job.log.after(after),
                    changed: job.log.subscribe(),
                    ended: job.machine.state().is_terminal(),
                }
            }))),
            View::Subtasks { job, reply } => {
                drop(reply.send(self.find(&job).map(|id| {
                    let subtasks = self.jobs[&id].subtasks();
                    (id, subtasks)
                })));
            }
            View::Statuses { reply } => {
                let now = self.clock.now_ms();
                let jobs = self.order.iter().filter_map(|id| self.jobs.get(id));
                let status = |job: &Job| JobStatus {
                    summary: job.summary(),
                    state_ms: now.saturating_sub(job.state_since_ms),
                    restarts: job.restarts,
                    checkpoints: job.checkpoints.history(&job.id),
                };
                drop(reply.send(jobs.map(status).collect()));
            }
        }
    }
}

/// Puts into a job's log what has become of its checkpoints since the last call.
pub(crate) fn log_checkpoints(job: &mut Job, now_ms: i64) {
    for stats in job.checkpoints.coordinator.history.take_ended() {
        let savepoint = stats.kind == tidemill_common::checkpoint::CheckpointKind::Savepoint;
        let (kind, name) =
            if savepoint { (LogKind::Savepoint, "savepoint") } else { (LogKind::Checkpoint, "checkpoint") };
        let id = stats.checkpoint;
        let seconds = (stats.end_ms.unwrap_or(now_ms) - stats.trigger_ms) as f64 / 1000.0;
        let message = match stats.state {
            CheckpointState::Completed if savepoint => {
                let location = stats.location.unwrap_or_default();
                format!("savepoint {id} is complete after {seconds:.3} s: {location}")
            }
            CheckpointState::Completed => {
                format!("checkpoint {id} is complete after {seconds:.3} s, {} bytes", stats.bytes_total)
            }
            _ => {
                let failure = stats.failure.unwrap_or_default();
                let kind = if savepoint { LogKind::Savepoint } else { LogKind::Failure };
                job.log.push(now_ms, kind, format!("{name} {id} failed after {seconds:.3} s: {failure}"));
                continue;
            }
        };
        job.log.push(now_ms, kind, message);
    }
}

/// Where the rows of an operator come from.
pub(crate) fn inputs(operator: &PlanOperator) -> Vec<OperatorInput> {
    let partitioning = |partitioning: &Partitioning| match partitioning {
        Partitioning::Forward => "forward",
        Partitioning::Hash { .. } => "hash",
        Partitioning::Rebalance => "rebalance",
        Partitioning::Broadcast => "broadcast",
        Partitioning::Global => "global",
    };
    let input = |edge: &tidemill_common::plan::PlanEdge| OperatorInput {
        operator: edge.from,
        partitioning: partitioning(&edge.partitioning).to_owned(),
    };
    operator.inputs.iter().map(input).collect()
}

impl Job {
    /// The job's state has changed.
    pub(crate) fn state_changed(&mut self, before: JobState, after: JobState, now_ms: i64) {
        self.state_since_ms = now_ms;
        self.log.push(now_ms, LogKind::State, format!("{before} -> {after}"));
    }

    /// All subtasks of the present plan.
    fn subtasks(&self) -> Vec<SubtaskStatus> {
        let tasks = self.graph.tasks.iter().flat_map(crate::job::subtasks_of);
        tasks
            .map(|subtask| {
                let task_manager = self.machine.placement().get(&subtask).cloned();
                let state = match () {
                    () if self.machine.has_ended(subtask) => "ended",
                    () if self.machine.is_running(subtask) => "running",
                    () if task_manager.is_some() => "deployed",
                    () => "waiting",
                };
                let report = self.report_of(subtask);
                let operators = report.map(|report| report.operators.as_slice()).unwrap_or_default();
                SubtaskStatus {
                    task: subtask.task,
                    index: subtask.index,
                    name: self.subtask_name(subtask),
                    region: self.machine.regions().of(subtask),
                    attempt: self.machine.attempt_of_subtask(subtask),
                    task_manager,
                    state: state.to_owned(),
                    records_in: operators.first().map_or(0, |operator| operator.records_in),
                    records_out: operators.last().map_or(0, |operator| operator.records_out),
                    late_rows_dropped: operators.iter().map(|operator| operator.late_rows_dropped).sum(),
                    busy_ms: report.map_or(0, |report| report.busy_ms),
                    idle_ms: report.map_or(0, |report| report.idle_ms),
                    backpressured_ms: report.map_or(0, |report| report.backpressured_ms),
                    watermark_ms: report.and_then(|report| report.watermark_ms),
                    splits: report.map(|report| report.splits.clone()).unwrap_or_default(),
                }
            })
            .collect()
    }
}
