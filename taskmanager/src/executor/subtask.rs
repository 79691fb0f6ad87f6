//! The thread of one subtask, from building its operators to telling how it ended.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use parking_lot::Mutex;
use tidemill_common::checkpoint::{Barriers, CheckpointOptions, InFlightInput};
use tidemill_common::ids::{AttemptId, JobId, SubtaskId, TaskManagerId};
use tidemill_common::job_graph::JobGraph;
use tidemill_common::plan::OperatorKind;
use tidemill_connectors::api::{ConnectorContext, ConnectorError, RowOutput};
use tidemill_state::accumulator::OwnFailure;
use tidemill_state::storage::{JobCopies, StoreOptions};
use tokio::sync::mpsc;

use super::{Deployment, ExecutorEvent, LineTarget, Subtask, SubtaskState};
use crate::aligner::BarrierAligner;
use crate::build::BuildContext;
use crate::chain::{Chain, Stage};
use crate::checkpoint::Checkpoints;
use crate::control::credit::LineCredit;
use crate::in_flight::Replay;
use crate::memory::MemoryBudget;
use crate::operator::OperatorError;
use crate::shuffle::network::{ChannelKey, Network};
use crate::shuffle::{
    Decoder, Exchange, Inbox, Mail, Outputs, Router, Target, Urgency, channel_of, input_channels, overtakable_channels,
    receivers,
};
use crate::snapshot::Restored;
use crate::source::Source;
use crate::task::{Gate, Head, Runtime, Task, TaskError};

/// How long a deployment waits for the subtasks of earlier attempts, which have been cancelled.
const EARLIER_ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(30);

/// What all subtasks of a deployment share.
pub(super) struct Launch {
    pub deployment: Deployment,
    pub graph: Arc<JobGraph>,
    pub zone: Tz,
    pub connector: ConnectorContext,
    pub inboxes: BTreeMap<SubtaskId, Arc<Inbox>>,
    pub here: TaskManagerId,
    pub network: Arc<Network>,
    pub events: mpsc::Sender<ExecutorEvent>,
    /// How stores of checkpoints are reached.
    pub store: StoreOptions,
    /// Where files of state are made and kept.
    pub scratch: PathBuf,
    pub memory: MemoryBudget,
    /// When the subtasks of earlier attempts, in whose place this one is, have ended here. Nothing starts before, so that
    /// what they do last is not mixed with what is done anew.
    pub before: Vec<Arc<Mutex<Option<Instant>>>>,
    /// What the deployment starts from, read by the first subtask that needs it.
    pub restored: OnceLock<Result<Option<Restored>, String>>,
    pub options: CheckpointOptions,
    pub barriers: Barriers,
    /// Copies of the job's files on this machine, if it keeps or uses any.
    pub copies: Option<Arc<JobCopies>>,
}

/// The way of printed and collected rows: an event, with leave of the subtask's credit.
struct Lines {
    job: JobId,
    attempt: AttemptId,
    target: LineTarget,
    credit: Arc<LineCredit>,
    cancelled: Arc<AtomicBool>,
    events: mpsc::Sender<ExecutorEvent>,
}

impl RowOutput for Lines {
    fn lines(&self, lines: Vec<String>) -> Result<(), ConnectorError> {
        let permit = self.credit.acquire(&self.cancelled).ok_or(ConnectorError::Cancelled)?;
        let Self { job, attempt, target, .. } = self;
        let event = ExecutorEvent::Lines { job: job.clone(), attempt: *attempt, target: *target, lines, permit };
        self.events.blocking_send(event).map_err(|_| ConnectorError::Cancelled)
    }
}

impl Launch {
    fn tell(&self, subtask: SubtaskId, state: SubtaskState) {
        let Deployment { job, attempt, .. } = &self.deployment;
        let event = ExecutorEvent::StateChanged { job: job.clone(), attempt: *attempt, subtask, state };
        if self.events.blocking_send(event).is_err() {
            tracing::debug!(%subtask, "nobody listens to events");
        }
    }

    /// Starts the subtask's thread.
    pub fn spawn(self: Arc<Self>, id: SubtaskId, subtask: &Subtask) -> std::io::Result<()> {
        let subtask = subtask.clone();
        let name = format!("task-{}-{}", id.task.0, id.index.0);
        std::thread::Builder::new().name(name).spawn(move || self.run(id, &subtask)).map(drop)
    }

    fn run(&self, id: SubtaskId, subtask: &Subtask) {
        let metrics = &subtask.metrics;
        metrics.start();
        // Built and run apart, so that the task still has its exchanges when its end is told: the
        // neighbours learn of a failure after the job manager does.
        let mut task = None;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let task = task.insert(self.build(id, subtask)?);
            self.tell(id, SubtaskState::Running);
            task.run()
        }));
        metrics.end();
        let cancelled = self.connector.cancelled.load(Ordering::Relaxed);
        let state = match ended {
            Ok(Ok(())) => SubtaskState::Finished,
            Ok(Err(error)) if cancelled || error.is_cancelled() => SubtaskState::Canceled,
            Ok(Err(error)) => SubtaskState::Failed { cause: error.to_string() },
            Err(_) if cancelled => SubtaskState::Canceled,
            Err(panic) => SubtaskState::Failed { cause: cause(&*panic) },
        };
        if let SubtaskState::Failed { cause } = &state {
            tracing::warn!(job = %self.deployment.job, subtask = %id, cause, "subtask failed");
        }
        self.tell(id, state);
        subtask.inbox.close();
        self.network.unregister(&self.deployment.job, self.deployment.attempt, id);
        // Writers and readers of connectors may panic when they are dropped, too.
        if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
            tracing::error!(subtask = %id, "a connector panicked while it was closed");
        }
        *subtask.ended.lock() = Some(Instant::now());
    }

    fn build(&self, id: SubtaskId, subtask: &Subtask) -> Result<Task, TaskError> {
        let Deployment { job, job_name, attempt, plan, .. } = &self.deployment;
        let cancelled = self.connector.cancelled.clone();
        let credit = LineCredit::new();
        let output = {
            let (job, attempt, events, cancelled) = (job.clone(), *attempt, self.events.clone(), cancelled.clone());
            move |connector: &str| -> Arc<dyn RowOutput> {
                let collect = connector == tidemill_connectors::collect::IDENTIFIER;
                Arc::new(Lines {
                    job: job.clone(),
                    attempt,
                    target: if collect { LineTarget::Collect } else { LineTarget::Print },
                    credit: credit.clone(),
                    cancelled: cancelled.clone(),
                    events: events.clone(),
                })
            }
        };
        let context = BuildContext {
            plan: plan.clone(),
            job_id: job.0.clone(),
            job_name: job_name.clone(),
            subtask: id.index,
            attempt: *attempt,
            first_attempt: self.deployment.first_attempt,
            checkpointed: self.deployment.checkpoint_directory.is_some(),
            zone: self.zone,
            scratch: self.scratch.clone(),
            memory: self.memory.clone(),
            connector: self.connector.clone(),
            output: Box::new(output),
        };
        self.await_earlier_attempts()?;
        let restored = self.restored().map_err(TaskError::Dependency)?;
        let metrics = &subtask.metrics;
        let operators = &self.graph.tasks[id.task.0 as usize].operators;
        let mut source = None;
        let mut stages = Vec::with_capacity(operators.len());
        let mut replays = Vec::new();
        for (operator, counters) in operators.iter().map(|operator| plan.operator(*operator)).zip(&metrics.operators) {
            if let OperatorKind::Source(spec) = &operator.kind
                && stages.is_empty()
                && source.is_none()
            {
                let reader = context.reader(operator, spec, counters)?;
                let request = self.split_request(operator.id, id);
                let mut built =
                    Source::new(operator, spec, reader, self.zone, request, counters.clone(), metrics.clone())?;
                if let Some(restored) = restored {
                    built.restore(&restored.of(operator, id.index, plan.max_parallelism));
                }
                source = Some(Box::new(built));
            } else {
                let mut built = context.operator(operator, counters)?;
                if let Some(restored) = restored {
                    let state = restored.of(operator, id.index, plan.max_parallelism);
                    built.restore(&state)?;
                    state.log(&operator.name);
                    let place = (stages.len(), stages.is_empty() && source.is_none());
                    replays.extend(Replay::read(restored, plan, operator, id.index, place)?);
                }
                stages.push(Stage { operator: built, uid: operator.uid.clone(), metrics: counters.clone() });
            }
        }
        // What was further on goes first.
        replays.reverse();
        let urgency = subtask.inbox.overtakes().map_or_else(Arc::<Urgency>::default, |o| o.urgency.clone());
        let outputs = Outputs::new(self.exchanges(id, &subtask.inbox)?, cancelled.clone(), metrics.clone(), urgency);
        let head = match source {
            Some(source) => Head::Source(source),
            None => Head::Inputs(Box::new(self.gate(id))),
        };
        let mut checkpoints = Checkpoints::new(
            (job.clone(), *attempt, id),
            self.deployment.checkpoint_directory.as_deref(),
            self.store.clone(),
            self.connector.io.clone(),
            self.events.clone(),
        )
        .map_err(|error| TaskError::Dependency(error.to_string()))?;
        checkpoints.lease = self.connector.lease.clone();
        checkpoints.copies = self.copies.clone().filter(|_| self.options.local_backup);
        let chain = Chain::new(stages, outputs);
        let runtime = Runtime::new(chain, subtask.inbox.clone(), cancelled, metrics.clone(), checkpoints);
        Ok(Task { head, runtime, replays })
    }

    fn await_earlier_attempts(&self) -> Result<(), TaskError> {
        let begun = Instant::now();
        while self.before.iter().any(|ended| ended.lock().is_none()) {
            if self.connector.is_cancelled() {
                return Err(OperatorError::Cancelled.into());
            }
            if begun.elapsed() > EARLIER_ATTEMPTS_TIMEOUT {
                let seconds = EARLIER_ATTEMPTS_TIMEOUT.as_secs();
                let cause = format!("a subtask of an earlier attempt has not ended within {seconds} s");
                return Err(TaskError::Dependency(cause));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The checkpoint that the deployment starts from.
    fn restored(&self) -> Result<Option<&Restored>, String> {
        let restored = self.restored.get_or_init(|| {
            let Deployment { restore, checkpoint_directory, subtasks, .. } = &self.deployment;
            let io = &self.connector.io;
            let restored = match (restore, checkpoint_directory) {
                (Some(url), directory) => Restored::read(url, &self.store, io).map(|restored| {
                    Some(match directory {
                        Some(directory) => restored.of_job(directory),
                        None => restored,
                    })
                }),
                // With nothing to go on from, sinks still have to fence earlier attempts.
                (None, Some(url)) => Restored::nothing(url, &self.store, io).map(Some),
                (None, None) => Ok(None),
            };
            let restored = restored.map_err(|error| error.to_string())?;
            Ok(match &self.copies {
                Some(copies) => {
                    restored.map(|restored| restored.with_copies(copies, subtasks, self.options.from_local))
                }
                None => restored,
            })
        });
        restored.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn split_request(&self, operator: tidemill_common::ids::OperatorId, id: SubtaskId) -> Box<dyn Fn() + Send> {
        let (job, attempt) = (self.deployment.job.clone(), self.deployment.attempt);
        let events = self.events.clone();
        Box::new(move || {
            let event = ExecutorEvent::SplitRequest { job: job.clone(), attempt, operator, reader: id.index };
            if events.blocking_send(event).is_err() {
                tracing::debug!("nobody listens to events");
            }
        })
    }

    fn gate(&self, id: SubtaskId) -> Gate {
        let plan = &self.deployment.plan;
        let channels = input_channels(&self.graph, id).into_iter().map(|channel| {
            let last = self.graph.tasks[channel.from.task.0 as usize].operators.last();
            let schema = last.map(|operator| plan.operator(*operator).schema.to_arrow());
            (channel, Decoder::new(schema.unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()))))
        });
        let channels: Vec<_> = channels.collect();
        let aligner = match self.barriers {
            Barriers::Aligned => BarrierAligner::new(channels.len()),
            Barriers::AtLeastOnce => BarrierAligner::at_least_once(channels.len()),
            Barriers::Overtaking { .. } => BarrierAligner::overtaking(overtakable_channels(&self.graph, id)),
        };
        let inputs = self.graph.inputs(id.task).filter_map(|edge| {
            let from = self.graph.tasks[edge.from.0 as usize].operators.last().map(|last| plan.operator(*last))?;
            Some(InFlightInput { from: from.uid.clone(), schema: from.schema.clone() })
        });
        let inputs = inputs.collect();
        Gate::new(channels, aligner, inputs, self.memory.clone())
    }

    fn exchanges(&self, id: SubtaskId, inbox: &Arc<Inbox>) -> Result<Vec<Exchange>, TaskError> {
        let Deployment { job, attempt, plan, locations, .. } = &self.deployment;
        let mut exchanges = Vec::new();
        for edge in self.graph.outputs(id.task) {
            let parallelism = self.graph.tasks[edge.to.0 as usize].parallelism;
            let router = Router::new(&edge.partitioning, id.index.0, parallelism, plan.max_parallelism);
            let mut targets = Vec::new();
            for receiver in receivers(&self.graph, edge, id.index) {
                let internal = |reason: String| OperatorError::Internal { operator: "the exchange".to_owned(), reason };
                let channel = channel_of(&self.graph, edge.index, id, receiver)
                    .ok_or_else(|| internal(format!("subtask {receiver} has no channel from {id}")))?;
                targets.push(match (self.inboxes.get(&receiver), locations.get(&receiver)) {
                    (Some(inbox), _) => Target::Local { inbox: inbox.clone(), channel },
                    (None, Some(location)) if location.task_manager != self.here => {
                        let key = ChannelKey {
                            job: job.clone(),
                            attempt: *attempt,
                            edge: edge.index,
                            from: id,
                            to: receiver,
                        };
                        let inbox = inbox.clone();
                        let lost = Box::new(move |cause| inbox.mail(Mail::Fail { cause }));
                        let overtaking = matches!(self.barriers, Barriers::Overtaking { .. });
                        Target::Remote(self.network.open(&location.data_address, &key, lost, overtaking))
                    }
                    (None, _) => return Err(internal(format!("nobody says where subtask {receiver} runs")).into()),
                });
            }
            exchanges.push(Exchange::new(router, targets));
        }
        Ok(exchanges)
    }
}

/// Why a subtask ended that did not come back.
fn cause(panic: &(dyn Any + Send)) -> String {
    if let Some(OwnFailure(reason)) = panic.downcast_ref::<OwnFailure>() {
        return reason.clone();
    }
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("internal error: the subtask panicked: {message}")
}
