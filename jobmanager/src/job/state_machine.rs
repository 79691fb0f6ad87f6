//! What a job does next: a pure core. `apply` takes an event and gives the actions that follow;
//! timers, messages and slots are the caller's.
//!
//! ```text
//! Created -> Deploying -> Running -> Finishing -> Finished
//!    |  ^        |           |           |
//!    |  |        +-----------+-----------+--> Restarting -> Created, as the next attempt
//!    |  +--------------------------------------- (if the restart strategy allows it)
//!    +-----------+-----------+-----------+--> Failing   -> Failed
//!    +-----------+-----------+-----------+--> Canceling -> Canceled
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::control::{JobState, SubtaskState};
use tidemill_common::ids::{AttemptId, SubtaskId, TaskManagerId};

use super::restart::RestartStrategy;

/// Where each subtask runs.
pub type Placement = BTreeMap<SubtaskId, TaskManagerId>;

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Slots were found.
    Placed(Placement),
    /// No slots within `slot.request.timeout`; says what was missing.
    SlotsTimedOut(String),
    SubtaskChanged {
        attempt: AttemptId,
        task_manager: TaskManagerId,
        subtask: SubtaskId,
        state: SubtaskState,
    },
    TaskManagerLost {
        task_manager: TaskManagerId,
        reason: String,
    },
    /// Something of the job that runs on the job manager failed, such as a split enumerator.
    CoordinatorFailed {
        cause: String,
    },
    /// `task.deployment.timeout` has passed since [`JobAction::Deploy`].
    DeploymentTimedOut,
    /// `task.cancellation.timeout` has passed since [`JobAction::Cancel`].
    CancellationTimedOut,
    /// The job goes on with other subtasks, from its newest checkpoint.
    Redeploy {
        subtasks: Vec<SubtaskId>,
        sources: BTreeSet<SubtaskId>,
    },
    /// The delay of [`JobAction::RestartAfter`] is over.
    RestartDue,
    CancelRequested,
    StopRequested {
        drain: bool,
    },
}

/// What the job manager has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobAction {
    /// Send every subtask to its task manager; start the split enumerators and the deployment timer.
    Deploy,
    /// Cancel the attempt on these task managers; start the cancellation timer.
    Cancel {
        task_managers: BTreeSet<TaskManagerId>,
    },
    StopSources {
        task_managers: BTreeSet<TaskManagerId>,
        drain: bool,
    },
    /// Keep what failed. With `root` it is the reason of all that failed before.
    RecordFailure {
        subtask: Option<SubtaskId>,
        task_manager: Option<TaskManagerId>,
        cause: String,
        root: bool,
    },
    /// Start a timer of so long, at whose end comes [`JobEvent::RestartDue`].
    RestartAfter {
        delay_ms: i64,
    },
    /// The attempt is over: give its slots back, and look for slots for the next one.
    Reschedule,
    /// The job has ended: give its slots back.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Not heard of yet.
    Starting,
    Running,
    /// Its input has ended, it waits for the last checkpoint.
    Finishing,
    Finished,
    /// Cancelled, failed or lost.
    Gone,
}

impl Progress {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Finished | Self::Gone)
    }
}

/// The state of one job.
#[derive(Clone, Debug)]
pub struct JobMachine {
    state: JobState,
    attempt: AttemptId,
    placement: Placement,
    subtasks: BTreeMap<SubtaskId, Progress>,
    sources: BTreeSet<SubtaskId>,
    restarts: RestartStrategy,
    /// Subtasks and sources of the next attempt, if they are others.
    next: Option<(Vec<SubtaskId>, BTreeSet<SubtaskId>)>,
    /// A stop was asked for while slots were being taken.
    stop_when_placed: Option<bool>,
    /// Whether the delay before a restart is over.
    restart_due: bool,
    /// The time and a random number, as the caller has told them.
    now_ms: i64,
    chance: f64,
}

impl JobMachine {
    /// A job that waits for slots. `sources` are the subtasks that read from outside.
    pub fn new(
        subtasks: impl IntoIterator<Item = SubtaskId>,
        sources: BTreeSet<SubtaskId>,
        restarts: RestartStrategy,
    ) -> Self {
        Self {
            state: JobState::Created,
            attempt: AttemptId(1),
            placement: Placement::new(),
            subtasks: subtasks.into_iter().map(|subtask| (subtask, Progress::Starting)).collect(),
            sources,
            restarts,
            next: None,
            stop_when_placed: None,
            restart_due: false,
            now_ms: 0,
            chance: 0.5,
        }
    }

    /// Tells the time, in milliseconds since the epoch, and a random number from 0 to 1, for the events
    /// that follow.
    pub fn at(&mut self, now_ms: i64, chance: f64) -> &mut Self {
        (self.now_ms, self.chance) = (now_ms, chance);
        self
    }

    /// A failure from now on is for good, and so is the one that the job was about to start again after.
    pub fn never_restart(&mut self) {
        self.restarts = RestartStrategy::None;
        if self.state == JobState::Restarting {
            self.state = JobState::Failing;
        }
    }

    /// The first attempt, of a job that others have run before.
    pub fn begin_at(&mut self, attempt: AttemptId) {
        self.attempt = attempt;
    }

    pub fn state(&self) -> JobState {
        self.state
    }

    /// The execution that counts; messages of others are stale.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Where the subtasks run; empty before [`JobEvent::Placed`].
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Whether a subtask has started and not ended.
    pub fn is_running(&self, subtask: SubtaskId) -> bool {
        matches!(self.subtasks.get(&subtask), Some(Progress::Running | Progress::Finishing))
    }

    /// Whether a subtask has ended, in whatever way.
    pub fn has_ended(&self, subtask: SubtaskId) -> bool {
        self.subtasks.get(&subtask).is_some_and(Progress::has_ended)
    }

    /// Takes an event.
    pub fn apply(&mut self, event: JobEvent) -> Vec<JobAction> {
        if self.state.is_terminal() {
            return Vec::new();
        }
        match event {
            JobEvent::Placed(placement) => self.placed(placement),
            JobEvent::SlotsTimedOut(cause) if self.state == JobState::Created => self.fail(None, None, cause),
            JobEvent::SubtaskChanged { attempt, task_manager, subtask, state } => {
                let known = attempt == self.attempt && self.placement.get(&subtask) == Some(&task_manager);
                if known && !self.has_ended(subtask) {
                    self.subtask_changed(subtask, task_manager, state)
                } else {
                    Vec::new()
                }
            }
            JobEvent::TaskManagerLost { task_manager, reason } => self.task_manager_lost(task_manager, reason),
            JobEvent::CoordinatorFailed { cause } => self.fail(None, None, cause),
            JobEvent::DeploymentTimedOut if self.state == JobState::Deploying => {
                let late: Vec<_> = self
                    .subtasks
                    .iter()
                    .filter(|(_, progress)| **progress == Progress::Starting)
                    .map(|(subtask, _)| subtask.to_string())
                    .collect();
                self.fail(
                    None,
                    None,
                    format!("subtasks {} did not start within task.deployment.timeout", late.join(", ")),
                )
            }
            JobEvent::CancellationTimedOut => self.cancellation_timed_out(),
            JobEvent::Redeploy { subtasks, sources } => self.redeploy(subtasks, sources),
            JobEvent::RestartDue => {
                self.restart_due = true;
                self.end_if_all_ended()
            }
            JobEvent::CancelRequested => self.cancel_requested(),
            JobEvent::StopRequested { drain } => self.stop_requested(drain),
            JobEvent::SlotsTimedOut(_) | JobEvent::DeploymentTimedOut => Vec::new(),
        }
    }

    fn placed(&mut self, placement: Placement) -> Vec<JobAction> {
        if self.state != JobState::Created {
            return Vec::new();
        }
        debug_assert!(self.subtasks.keys().eq(placement.keys()), "every subtask is placed");
        self.placement = placement;
        self.state = JobState::Deploying;
        let mut actions = vec![JobAction::Deploy];
        if let Some(drain) = self.stop_when_placed.take() {
            actions.extend(self.stop_requested(drain));
        }
        actions
    }

    fn subtask_changed(
        &mut self,
        subtask: SubtaskId,
        task_manager: TaskManagerId,
        state: SubtaskState,
    ) -> Vec<JobAction> {
        match state {
            SubtaskState::Running => self.set(subtask, Progress::Running),
            SubtaskState::Finishing => self.set(subtask, Progress::Finishing),
            SubtaskState::Finished => self.set(subtask, Progress::Finished),
            SubtaskState::Canceled => {
                self.set(subtask, Progress::Gone);
                if self.is_active() {
                    let cause = "the subtask was cancelled, and nobody had asked for it".to_owned();
                    return self.fail(Some(subtask), Some(task_manager), cause);
                }
            }
            SubtaskState::Failed { cause } => {
                self.set(subtask, Progress::Gone);
                return match self.state {
                    // A subtask that is torn down may fail on the way.
                    JobState::Canceling => self.end_if_all_ended(),
                    _ => self.fail(Some(subtask), Some(task_manager), cause),
                };
            }
        }
        self.advance()
    }

    fn set(&mut self, subtask: SubtaskId, progress: Progress) {
        self.subtasks.insert(subtask, progress);
    }

    fn is_finishing(&self, subtask: SubtaskId) -> bool {
        self.subtasks.get(&subtask) == Some(&Progress::Finishing)
    }

    /// Deploying, running or finishing.
    fn is_active(&self) -> bool {
        matches!(self.state, JobState::Deploying | JobState::Running | JobState::Finishing)
    }

    fn advance(&mut self) -> Vec<JobAction> {
        if !self.is_active() {
            return self.end_if_all_ended();
        }
        if self.state == JobState::Deploying && self.subtasks.values().all(|progress| *progress != Progress::Starting) {
            self.state = JobState::Running;
        }
        if self.state == JobState::Running
            && !self.sources.is_empty()
            && self.sources.iter().all(|source| self.has_ended(*source) || self.is_finishing(*source))
        {
            self.state = JobState::Finishing;
        }
        self.end_if_all_ended()
    }

    fn end_if_all_ended(&mut self) -> Vec<JobAction> {
        if !self.subtasks.values().all(Progress::has_ended) {
            return Vec::new();
        }
        if self.state == JobState::Restarting {
            return if self.restart_due { self.restart() } else { Vec::new() };
        }
        self.state = match self.state {
            JobState::Failing => JobState::Failed,
            JobState::Canceling => JobState::Canceled,
            _ => JobState::Finished,
        };
        vec![JobAction::End]
    }

    fn redeploy(&mut self, subtasks: Vec<SubtaskId>, sources: BTreeSet<SubtaskId>) -> Vec<JobAction> {
        if !self.is_active() {
            return Vec::new();
        }
        self.next = Some((subtasks, sources));
        self.state = JobState::Restarting;
        self.restart_due = true;
        let mut actions = vec![JobAction::Cancel { task_managers: self.task_managers_of_unended() }];
        actions.extend(self.end_if_all_ended());
        actions
    }

    fn restart(&mut self) -> Vec<JobAction> {
        self.state = JobState::Created;
        self.attempt = AttemptId(self.attempt.0 + 1);
        self.placement.clear();
        if let Some((subtasks, sources)) = self.next.take() {
            self.subtasks = subtasks.into_iter().map(|subtask| (subtask, Progress::Starting)).collect();
            self.sources = sources;
        }
        self.subtasks.values_mut().for_each(|progress| *progress = Progress::Starting);
        vec![JobAction::Reschedule]
    }

    fn task_manager_lost(&mut self, lost: TaskManagerId, reason: String) -> Vec<JobAction> {
        let mut hit = false;
        for (subtask, progress) in &mut self.subtasks {
            if self.placement.get(subtask) == Some(&lost) && !progress.has_ended() {
                *progress = Progress::Gone;
                hit = true;
            }
        }
        if !hit {
            return Vec::new();
        }
        match self.state {
            JobState::Canceling => self.end_if_all_ended(),
            // Its peers may have told first that the connection is gone: this is why.
            JobState::Failing | JobState::Restarting => {
                let mut actions = vec![JobAction::RecordFailure {
                    subtask: None,
                    task_manager: Some(lost),
                    cause: reason,
                    root: true,
                }];
                actions.extend(self.end_if_all_ended());
                actions
            }
            _ => self.fail(None, Some(lost), reason),
        }
    }

    fn fail(
        &mut self,
        subtask: Option<SubtaskId>,
        task_manager: Option<TaskManagerId>,
        cause: String,
    ) -> Vec<JobAction> {
        if self.state == JobState::Canceling {
            return self.end_if_all_ended();
        }
        let mut actions = vec![JobAction::RecordFailure { subtask, task_manager, cause, root: false }];
        if !matches!(self.state, JobState::Failing | JobState::Restarting) {
            if self.state == JobState::Created {
                self.subtasks.values_mut().for_each(|progress| *progress = Progress::Gone);
            }
            self.restart_due = false;
            match self.restarts.failed(self.now_ms, self.chance) {
                Some(delay_ms) => {
                    self.state = JobState::Restarting;
                    actions.push(JobAction::RestartAfter { delay_ms });
                }
                None => self.state = JobState::Failing,
            }
            let task_managers = self.task_managers_of_unended();
            if !task_managers.is_empty() {
                actions.push(JobAction::Cancel { task_managers });
            }
        }
        actions.extend(self.end_if_all_ended());
        actions
    }

    fn cancel_requested(&mut self) -> Vec<JobAction> {
        match self.state {
            JobState::Created => {
                self.state = JobState::Canceled;
                vec![JobAction::End]
            }
            JobState::Deploying | JobState::Running | JobState::Finishing => {
                self.state = JobState::Canceling;
                vec![JobAction::Cancel { task_managers: self.task_managers_of_unended() }]
            }
            // Its subtasks are being cancelled already.
            JobState::Restarting => {
                self.state = JobState::Canceling;
                self.end_if_all_ended()
            }
            _ => Vec::new(),
        }
    }

    fn stop_requested(&mut self, drain: bool) -> Vec<JobAction> {
        match self.state {
            // Right after it starts.
            JobState::Created => {
                self.stop_when_placed = Some(drain);
                Vec::new()
            }
            JobState::Deploying | JobState::Running => {
                let task_managers = self
                    .sources
                    .iter()
                    .filter(|source| !self.has_ended(**source))
                    .filter_map(|source| self.placement.get(source).cloned())
                    .collect();
                vec![JobAction::StopSources { task_managers, drain }]
            }
            _ => Vec::new(),
        }
    }

    fn cancellation_timed_out(&mut self) -> Vec<JobAction> {
        if !matches!(self.state, JobState::Failing | JobState::Canceling | JobState::Restarting) {
            return Vec::new();
        }
        let mut late = Vec::new();
        for (subtask, progress) in &mut self.subtasks {
            if !progress.has_ended() {
                late.push(subtask.to_string());
                *progress = Progress::Gone;
            }
        }
        if late.is_empty() {
            return Vec::new();
        }
        let cause = format!("subtasks {} did not end within task.cancellation.timeout", late.join(", "));
        let mut actions = vec![JobAction::RecordFailure { subtask: None, task_manager: None, cause, root: false }];
        actions.extend(self.end_if_all_ended());
        actions
    }

    fn task_managers_of_unended(&self) -> BTreeSet<TaskManagerId> {
        self.subtasks
            .iter()
            .filter(|(_, progress)| !progress.has_ended())
            .filter_map(|(subtask, _)| self.placement.get(subtask).cloned())
            .collect()
    }
}

#[cfg(test)]
#[path = "state_machine_tests.rs"]
mod tests;
