//! What the master does for checkpoints: it hands events to a job's coordinator and does what comes
//! back. Reading and writing happens off its task, results come back as commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemill_common::checkpoint::{SplitPosition, SubtaskSnapshot};
use tidemill_common::control::{JobManagerMessage, JobState, LogKind, SubtaskState};
use tidemill_common::faults::{Place, may_die};
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, OperatorId, SubtaskId, SubtaskIndex, TaskManagerId};
use tidemill_state::storage::{Directory, StorageError};

use super::coordinator::{Action, Collected, Event, RequestId, Standing};
use super::metadata::{assemble, files_of};
use super::store::{self, Deletion};
use crate::command::{Command, Reply};
use crate::error::JobManagerError;
use crate::job::Job;
use crate::master::{Master, each};
use crate::views::log_checkpoints;

/// The longest pause between two looks for files that nothing names, while a job runs.
const SWEEP_PAUSE_MS_MAX: i64 = 10 * 60 * 1_000;

impl Master {
    /// A job was submitted, or found again: its files are known from now on.
    pub(crate) fn checkpoints_begin(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        if let Some(directory) = job.checkpoints.directory() {
            self.files.job_started(id, &directory);
        }
        if let Some(restored) = &job.checkpoints.plan.restored {
            self.files.restored(id, restored.files.iter().map(String::as_str));
        }
    }

    /// Hands an event to the coordinator of a job and does what follows.
    pub(crate) fn checkpoint(&mut self, id: &JobId, event: Event) {
        let now = self.clock.now_ms();
        let Some(job) = self.jobs.get_mut(id) else { return };
        let kept = matches!(event, Event::Persisted { .. });
        let actions = job.checkpoints.coordinator.apply(now, event);
        log_checkpoints(job, now);
        self.perform_checkpoint(id, actions);
        if kept {
            // Regions that are to start again have waited for what they start from.
            self.schedule();
        }
    }

    fn perform_checkpoint(&mut self, id: &JobId, actions: Vec<Action>) {
        for action in actions {
            self.perform_checkpoint_action(id, action);
        }
        self.wake_coordinator(id);
    }

    /// The job's state has changed.
    pub(crate) fn checkpoints_follow(&mut self, id: &JobId, after: JobState) {
        match after {
            JobState::Running | JobState::Finishing => self.checkpoint(id, Event::Started),
            JobState::Created | JobState::Deploying => {}
            JobState::Failing => {
                let now = self.clock.now_ms();
                if let Some(job) = self.jobs.get_mut(id)
                    && let Some(location) = job.checkpoints.coordinator.stopped_with()
                {
                    let cause = format!(
                        "the savepoint {location} is complete, but the job failed before all it covers was published; start the job again from it"
                    );
                    job.record_failure(None, None, cause, true, now);
                }
                self.checkpoint(id, Event::Halted { reason: "the job is FAILING".to_owned() });
            }
            state => self.checkpoint(id, Event::Halted { reason: format!("the job is {state}") }),
        }
    }

    /// Regions are being deployed.
    pub(crate) fn checkpoints_deployed(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.checkpoints.preparing = None;
        (job.checkpoints.sweeps, job.checkpoints.next_sweep_ms) = (0, 0);
        let regions = job.machine.regions().subtasks();
        let attempts = regions.filter_map(|(subtask, region)| Some((subtask, job.machine.attempt_of(region)?)));
        let executions: BTreeMap<SubtaskId, AttemptId> = attempts.collect();
        let sources =
            executions.keys().copied().filter(|subtask| job.graph.is_source(&job.plan, subtask.task)).collect();
        let attempt = job.machine.attempt();
        self.checkpoint(id, Event::Deployed { attempt, executions, sources });
    }

    pub(crate) fn checkpoints_subtask(
        &mut self,
        id: &JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        state: &SubtaskState,
    ) {
        let standing = match state {
            SubtaskState::Finishing => Standing::Finishing,
            SubtaskState::Finished => Standing::Finished,
            SubtaskState::Running | SubtaskState::Canceled | SubtaskState::Failed { .. } => return,
        };
        if self.jobs.get(id).is_some_and(|job| job.machine.is_deployed_in(subtask, attempt)) {
            self.checkpoint(id, Event::SubtaskChanged { subtask, standing });
        }
    }

    pub(crate) fn checkpoint_acknowledged(
        &mut self,
        id: &JobId,
        (attempt, subtask, checkpoint): (AttemptId, SubtaskId, CheckpointId),
        snapshot: Box<SubtaskSnapshot>,
    ) {
        // Files are known even of answers without effect, so that they are deleted some day.
        self.files.reported(id, checkpoint, files_of(&snapshot));
        self.checkpoint(id, Event::Acknowledged { attempt, subtask, checkpoint, snapshot });
    }

    /// A client wants a savepoint; it is answered when the savepoint is complete.
    pub(crate) fn savepoint(
        &mut self,
        id: &JobId,
        directory: Option<String>,
        stop: Option<bool>,
        reply: Reply<Result<String, JobManagerError>>,
    ) {
        if let Err(error) = self.refuse_in_batch_mode(id, if stop.is_some() { "stopped" } else { "saved" }) {
            let _ = reply.send(Err(error));
            return;
        }
        let Some(job) = self.jobs.get_mut(id) else { return };
        let state = job.machine.state();
        if !matches!(state, JobState::Running | JobState::Finishing) {
            let _ = reply.send(Err(JobManagerError::NotRunning { job: id.clone(), state }));
            return;
        }
        let checkpoints = &mut job.checkpoints;
        let parent = match directory {
            Some(url) => Directory::open(&url, &checkpoints.plan.store).map_err(JobManagerError::from),
            None => checkpoints
                .plan
                .savepoints
                .clone()
                .ok_or_else(|| JobManagerError::NoSavepointDirectory { job: id.clone() }),
        };
        let parent = match parent {
            Ok(parent) => parent,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("savepoint-{}-{}", &id.0[..id.0.len().min(6)], &unique[..12]);
        checkpoints.requests_made += 1;
        let request = RequestId(checkpoints.requests_made);
        checkpoints.requests.insert(request, reply);
        let directory = parent.child(&name).url();
        let what = if stop.is_some() { "a stop with a savepoint" } else { "a savepoint" };
        job.log.push(self.clock.now_ms(), LogKind::Request, format!("{what} is asked for, in {directory}"));
        self.checkpoint(id, Event::SavepointRequested { request, directory, stop });
    }

    /// The job has ended: its checkpoints are deleted unless they are to stay.
    pub(crate) fn checkpoints_ended(&mut self, id: &JobId) {
        let now = self.clock.now_ms();
        if self.is_suspending() {
            // It is taken up again when the job manager is.
            return;
        }
        let Some(job) = self.jobs.get_mut(id) else { return };
        let state = job.machine.state();
        let checkpoints = &mut job.checkpoints;
        let retain = checkpoints.retained_after(state);
        let actions = checkpoints.coordinator.ended(now, retain);
        let directory = checkpoints.directory.clone();
        for action in actions {
            if matches!(action, Action::Answer { .. }) {
                self.perform_checkpoint_action(id, action);
            }
        }
        self.files.job_ended(id, retain);
        if let Some(job) = directory.filter(|_| !retain) {
            let kept = self.files.named_by_others(id);
            self.deleter.delete(Deletion::Job { job, kept });
        }
        self.forget(id);
    }

    /// An enumerator is back, a checkpoint may wait for it.
    pub(crate) fn checkpoint_prepare(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(checkpoint) = job.checkpoints.preparing else { return };
        let mut enumerators = Ok(Vec::new());
        for (operator, source) in &job.splits {
            match source.assigner.snapshot() {
                // Away for discovery; it comes back.
                None => return,
                Some(Ok(state)) => {
                    if let Ok(states) = &mut enumerators {
                        states.push((*operator, state));
                    }
                }
                Some(Err(error)) => enumerators = Err(error.to_string()),
            }
        }
        job.checkpoints.preparing = None;
        job.splits.values_mut().for_each(|source| source.assigner.prepared(checkpoint));
        self.checkpoint(id, Event::Prepared { checkpoint, enumerators });
    }

    fn perform_checkpoint_action(&mut self, id: &JobId, action: Action) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match action {
            Action::Prepare { checkpoint } => {
                job.checkpoints.preparing = Some(checkpoint);
                self.checkpoint_prepare(id);
            }
            Action::Trigger { checkpoint, timestamp_ms, savepoint, stop } => {
                tracing::debug!(job = %id, %checkpoint, savepoint, "checkpoint triggered");
                if stop.is_some() {
                    job.machine.restart_as_whole();
                }
                for (attempt, task_manager) in executions(job, true) {
                    let message = JobManagerMessage::TriggerCheckpoint {
                        job: id.clone(),
                        attempt,
                        checkpoint,
                        timestamp_ms,
                        savepoint: savepoint.clone(),
                        stop,
                    };
                    self.send(&task_manager, message);
                }
            }
            Action::Write(collected) => {
                for (operator, source) in job.splits.iter_mut().filter(|(_, source)| source.assigner.is_tracked()) {
                    source.assigner.collected(collected.checkpoint, positions(&collected, *operator));
                }
                self.write_checkpoint(id, *collected);
            }
            Action::Persist { checkpoint } => self.persist_checkpoint(id, checkpoint),
            Action::Complete { checkpoint } => {
                tracing::debug!(job = %id, %checkpoint, "checkpoint complete");
                may_die(Place::BeforeCompletion);
                if job.checkpoints.coordinator.stopped_with().is_some() {
                    // Another attempt would read on, beyond what the savepoint's owner goes on from.
                    job.machine.never_restart();
                }
                for (attempt, task_manager) in executions(job, false) {
                    let message = JobManagerMessage::CheckpointComplete { job: id.clone(), attempt, checkpoint };
                    self.send(&task_manager, message);
                }
                self.sweep(id, checkpoint);
            }
            Action::Retain { checkpoint } => {
                job.splits.values_mut().for_each(|source| source.assigner.completed(checkpoint));
                let garbage = self.files.completed(id, checkpoint);
                self.delete_files(garbage);
            }
            Action::Aborted { checkpoint } => {
                tracing::info!(job = %id, %checkpoint, "checkpoint aborted");
                for (attempt, task_manager) in executions(job, false) {
                    let message = JobManagerMessage::CheckpointAborted { job: id.clone(), attempt, checkpoint };
                    self.send(&task_manager, message);
                }
            }
            Action::Discard { checkpoint, location } => {
                let files = self.files.discarded(id, checkpoint);
                self.deleter.delete(Deletion::Checkpoint { location, files });
            }
            Action::ReserveIds { end } => self.reserve_ids(id, end),
            Action::Answer { request, result } => {
                if let Some(reply) = job.checkpoints.requests.remove(&request) {
                    let result = result.map_err(|reason| JobManagerError::SavepointFailed { job: id.clone(), reason });
                    // A client that has gone away needs no answer.
                    drop(reply.send(result));
                }
            }
            Action::Fail { cause } => {
                if job.checkpoints.coordinator.stopped_with().is_some() {
                    job.machine.never_restart();
                }
                self.apply(id, crate::job::JobEvent::CoordinatorFailed { cause });
            }
        }
    }

    fn delete_files(&self, files: Vec<String>) {
        if !files.is_empty() {
            self.deleter.delete(Deletion::Files(files));
        }
    }

    fn write_checkpoint(&mut self, id: &JobId, collected: Collected) {
        let Some(job) = self.jobs.get(id) else { return };
        let checkpoint = collected.checkpoint;
        let own = job.checkpoints.directory.clone();
        let (store, plan) = (job.checkpoints.plan.store.clone(), job.plan.clone());
        let next_state_id = job.checkpoints.plan.next_state_id;
        let (handle, job) = (self.handle.clone(), id.clone());
        tokio::spawn(async move {
            let written = async {
                let directory = match (&collected.directory, own) {
                    (Some(url), _) => Directory::open(url, &store)?,
                    (None, Some(own)) => own.child(&store::directory_name(checkpoint)),
                    (None, None) => return Err(no_directory()),
                };
                let metadata = assemble(&job, &plan, next_state_id, collected);
                may_die(Place::BeforeMetadata);
                store::write_metadata(&directory, &metadata).await?;
                may_die(Place::AfterMetadata);
                Ok::<_, StorageError>(directory.url())
            };
            let result = written.await.map_err(|error| error.to_string());
            let event = Box::new(Event::Written { checkpoint, result });
            let _ = handle.send(Command::Checkpoint { job, event }).await;
        });
    }

    /// Looks for what dead attempts and deletions that a crash cut off have left: after the first complete
    /// checkpoint of an attempt, when the leases of those before have run out, and less and less often from
    /// then on, as a process may be frozen for long in the midst of a write.
    fn sweep(&mut self, id: &JobId, complete: CheckpointId) {
        let now = self.clock.now_ms();
        let lease_ms = self.config.heartbeat_timeout.as_millis() as i64;
        let Some(job) = self.jobs.get_mut(id) else { return };
        let running = job.machine.deployed();
        if job.checkpoints.files_unknown || now < job.checkpoints.next_sweep_ms {
            return;
        }
        let pause_ms = (2 * lease_ms).saturating_mul(1 << job.checkpoints.sweeps.min(20)).min(SWEEP_PAUSE_MS_MAX);
        job.checkpoints.sweeps += 1;
        job.checkpoints.next_sweep_ms = now + pause_ms;
        let Some(directory) = job.checkpoints.directory.clone() else { return };
        let mut kept: BTreeSet<String> =
            job.checkpoints.coordinator.retained().map(|retained| retained.location.clone()).collect();
        kept.extend(self.files.of_job(id));
        let deletion = Deletion::Leftovers { job: directory, running, checkpoints_below: complete.0, kept };
        self.deleter.delete(deletion);
    }

    /// Makes sure that the coordinator is called when it wants to be.
    fn wake_coordinator(&mut self, id: &JobId) {
        let now = self.clock.now_ms();
        let Some(job) = self.jobs.get_mut(id) else { return };
        let wanted = job.checkpoints.coordinator.wake_ms();
        if wanted == job.checkpoints.wake_ms {
            return;
        }
        job.checkpoints.wake_ms = wanted;
        let Some(wake_ms) = wanted else { return };
        let (handle, job) = (self.handle.clone(), id.clone());
        let wait = Duration::from_millis(u64::try_from(wake_ms.saturating_sub(now)).unwrap_or(0));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = handle.send(Command::CheckpointDue { job, wake_ms }).await;
        });
    }

    /// A timer of [`Master::wake_coordinator`] has ended.
    pub(crate) fn checkpoint_due(&mut self, id: &JobId, wake_ms: i64) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if job.checkpoints.wake_ms == Some(wake_ms) {
            job.checkpoints.wake_ms = None;
            self.checkpoint(id, Event::Due);
        }
    }
}

fn no_directory() -> StorageError {
    StorageError::Url { url: String::new(), reason: "the job has none (execution.checkpointing.dir)".to_owned() }
}

/// Attempts that run, and the task managers that they run on: with any subtask, or with sources.
fn executions(job: &Job, sources_only: bool) -> Vec<(AttemptId, TaskManagerId)> {
    let wanted = |subtask: SubtaskId| !sources_only || job.graph.is_source(&job.plan, subtask.task);
    each(job.machine.executions(wanted)).collect()
}

/// What the readers of a source have in a checkpoint.
fn positions(collected: &Collected, source: OperatorId) -> BTreeMap<SubtaskIndex, Vec<SplitPosition>> {
    let mut positions: BTreeMap<SubtaskIndex, Vec<SplitPosition>> = BTreeMap::new();
    for (subtask, snapshot) in &collected.subtasks {
        for (_, state) in snapshot.operators.iter().filter(|(operator, _)| *operator == source) {
            positions.entry(subtask.index).or_default().extend(state.splits.iter().cloned());
        }
    }
    positions
}
