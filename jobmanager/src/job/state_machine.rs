//! What a job does next: a pure core. `apply` takes an event and gives the actions that follow;
//! timers, messages and slots are the caller's.
//!
//! ```text
//! Created -> Deploying -> Running -> Finishing -> Finished
//!    |  ^        |           |           |
//!    |  |        +-----------+-----------+--> Restarting -> Created, as the next attempts
//!    |  +--------------------------------------- (if the restart strategy allows it)
//!    +-----------+-----------+-----------+--> Failing   -> Failed
//!    +-----------+-----------+-----------+--> Canceling -> Canceled
//! ```
//!
//! What fails, and starts again, is a pipelined region. The state is that of the regions that do not run:
//! while a job is restarting or waits for slots, its healthy regions go on. Regions that are down at the same
//! time start again together.
//!
//! - An attempt is one execution of one region, and its number is never used again. So messages that carry
//!   an attempt concern that region only, and those of an attempt that is over have no effect.
//! - A region is down from its failure until it is deployed as another attempt; nothing is sent to it but
//!   that it is to end.
//! - When all regions were down at once, the job has started again as a whole, and every attempt before its
//!   [first](JobMachine::first_attempt) is over in all subtasks.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::control::{JobState, SubtaskState};
use tidemill_common::ids::{AttemptId, RegionId, SubtaskId, TaskManagerId};
use tidemill_common::regions::Regions;

use super::restart::RestartStrategy;

/// Where each subtask runs.
pub type Placement = BTreeMap<SubtaskId, TaskManagerId>;

/// Where attempts have subtasks.
pub type Executions = BTreeMap<AttemptId, BTreeSet<TaskManagerId>>;

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Slots were found for the subtasks that wait for them.
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
    /// `task.cancellation.timeout` has passed since [`JobAction::Cancel`] of this round.
    CancellationTimedOut {
        round: u64,
    },
    /// The job goes on with other subtasks, from its newest checkpoint.
    Redeploy {
        regions: Regions,
        sources: BTreeSet<SubtaskId>,
    },
    /// The delay of [`JobAction::RestartAfter`] of this round is over.
    RestartDue {
        round: u64,
    },
    CancelRequested,
    StopRequested {
        drain: bool,
    },
}

/// What the job manager has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobAction {
    /// Send every subtask of these regions to its task manager; see to their sources' splits; start the
    /// deployment timer.
    Deploy {
        regions: BTreeSet<RegionId>,
    },
    /// Cancel these attempts; start the cancellation timer.
    Cancel {
        executions: Executions,
        round: u64,
    },
    StopSources {
        executions: Executions,
        drain: bool,
    },
    /// Keep what failed, and which regions end because of it. With `root` it is the reason of all that
    /// failed before.
    RecordFailure {
        subtask: Option<SubtaskId>,
        task_manager: Option<TaskManagerId>,
        cause: String,
        root: bool,
        regions: BTreeSet<RegionId>,
    },
    /// Start a timer of so long, at whose end comes [`JobEvent::RestartDue`].
    RestartAfter {
        delay_ms: i64,
        round: u64,
    },
    /// The attempts of these regions are over: give back the slots in which nothing else runs, and look for
    /// slots for their next ones.
    Reschedule {
        regions: BTreeSet<RegionId>,
    },
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

/// A region, as it is or is to be executed.
#[derive(Clone, Debug)]
struct Execution {
    attempt: AttemptId,
    /// It is not deployed, or is being torn down.
    down: bool,
    /// In which round it was last told to end.
    round: u64,
}

/// What a failure is about.
enum Hit {
    Regions(BTreeSet<RegionId>),
    All,
}

/// A failure as it is told.
struct Failure {
    subtask: Option<SubtaskId>,
    task_manager: Option<TaskManagerId>,
    cause: String,
    root: bool,
}

impl Failure {
    fn of_job(cause: String) -> Self {
        Self { subtask: None, task_manager: None, cause, root: false }
    }
}

/// The state of one job.
#[derive(Clone, Debug)]
pub struct JobMachine {
    state: JobState,
    regions: Regions,
    /// By region.
    executions: Vec<Execution>,
    /// Above all attempts so far.
    attempts_end: u32,
    first_attempt: AttemptId,
    placement: Placement,
    subtasks: BTreeMap<SubtaskId, Progress>,
    sources: BTreeSet<SubtaskId>,
    restarts: RestartStrategy,
    /// Regions and sources after the next restart, if they are others.
    next: Option<(Regions, BTreeSet<SubtaskId>)>,
    /// A stop was asked for while slots were being taken.
    stop_when_placed: Option<bool>,
    /// Sources were told to end, which is undone in all regions or in none: whatever fails, all start again.
    as_whole: bool,
    /// How many times regions were told to end.
    round: u64,
    /// Whether the delay before a restart is over.
    restart_due: bool,
    /// The time and a random number, as the caller has told them.
    now_ms: i64,
    chance: f64,
}

impl JobMachine {
    /// A job that waits for slots. `sources` are the subtasks that read from outside.
    pub fn new(regions: Regions, sources: BTreeSet<SubtaskId>, restarts: RestartStrategy) -> Self {
        let mut machine = Self {
            state: JobState::Created,
            executions: Vec::new(),
            attempts_end: 1,
            first_attempt: AttemptId(1),
            placement: Placement::new(),
            subtasks: BTreeMap::new(),
            regions,
            sources,
            restarts,
            next: None,
            stop_when_placed: None,
            as_whole: false,
            round: 0,
            restart_due: false,
            now_ms: 0,
            chance: 0.5,
        };
        machine.begin_at(AttemptId(1));
        machine
    }

    /// Tells the time, in milliseconds since the epoch, and a random number from 0 to 1, for the events
    /// that follow.
    pub fn at(&mut self, now_ms: i64, chance: f64) -> &mut Self {
        (self.now_ms, self.chance) = (now_ms, chance);
        self
    }

    /// A failure from now on is for good, and so is the one that the job was about to start again after.
    /// To be followed by one.
    pub fn never_restart(&mut self) {
        self.restarts = RestartStrategy::None;
        self.as_whole = true;
        if self.state == JobState::Restarting {
            self.state = JobState::Failing;
        }
    }

    /// Sources are being told to end: whatever fails before the job starts again as a whole, all of it does.
    pub fn restart_as_whole(&mut self) {
        self.as_whole = true;
    }

    /// The first attempt, of a job that others have run before.
    pub fn begin_at(&mut self, attempt: AttemptId) {
        self.attempts_end = attempt.0;
        self.begin(self.regions.ids().collect());
    }

    pub fn state(&self) -> JobState {
        self.state
    }

    /// The newest attempt, of whatever region.
    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.attempts_end.saturating_sub(1))
    }

    /// Attempts from this one on were never used.
    pub fn attempts_end(&self) -> u32 {
        self.attempts_end
    }

    /// The first attempt since the job was last started as a whole.
    pub fn first_attempt(&self) -> AttemptId {
        self.first_attempt
    }

    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The attempt of a region that counts, or is to be deployed next; messages of others are stale.
    pub fn attempt_of(&self, region: RegionId) -> Option<AttemptId> {
        self.executions.get(region.0 as usize).map(|execution| execution.attempt)
    }

    /// The same for the region of a subtask.
    pub fn attempt_of_subtask(&self, subtask: SubtaskId) -> Option<AttemptId> {
        self.attempt_of(self.regions.of(subtask)?)
    }

    /// Whether a region is deployed and is not being torn down.
    pub fn is_region_up(&self, region: RegionId) -> bool {
        self.executions.get(region.0 as usize).is_some_and(|execution| !execution.down)
    }

    /// Whether this is the attempt of a region that is deployed and is not being torn down.
    pub fn is_deployed(&self, attempt: AttemptId) -> bool {
        self.executions.iter().any(|execution| execution.attempt == attempt && !execution.down)
    }

    /// Whether a subtask is deployed in this attempt, and its region is not being torn down.
    pub fn is_deployed_in(&self, subtask: SubtaskId, attempt: AttemptId) -> bool {
        self.is_up(subtask) && self.attempt_of_subtask(subtask) == Some(attempt)
    }

    /// The attempts that are deployed and not being torn down.
    pub fn deployed(&self) -> BTreeSet<AttemptId> {
        self.executions.iter().filter(|execution| !execution.down).map(|execution| execution.attempt).collect()
    }

    /// Where deployed attempts have such subtasks, which have not ended.
    pub fn executions(&self, of: impl Fn(SubtaskId) -> bool) -> Executions {
        self.executions_where(|subtask| of(subtask) && self.is_up(subtask))
    }

    /// Where the subtasks run; those that have not been deployed are missing.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Where subtasks of regions run that are not down, as far as they have not ended: what keeps its slots.
    pub fn kept(&self) -> Placement {
        let kept = self.placement.iter().filter(|(subtask, _)| self.is_up(**subtask) && !self.has_ended(**subtask));
        kept.map(|(subtask, task_manager)| (*subtask, task_manager.clone())).collect()
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
            JobEvent::SlotsTimedOut(cause) if self.state == JobState::Created => {
                self.fail(Hit::Regions(self.down()), Failure::of_job(cause))
            }
            JobEvent::SubtaskChanged { attempt, task_manager, subtask, state } => {
                let known = self.attempt_of_subtask(subtask) == Some(attempt)
                    && self.placement.get(&subtask) == Some(&task_manager);
                if known && !self.has_ended(subtask) {
                    self.subtask_changed(subtask, task_manager, state)
                } else {
                    Vec::new()
                }
            }
            JobEvent::TaskManagerLost { task_manager, reason } => self.task_manager_lost(task_manager, reason),
            JobEvent::CoordinatorFailed { cause } => self.fail(Hit::All, Failure::of_job(cause)),
            JobEvent::DeploymentTimedOut if self.state == JobState::Deploying => {
                let starting = self.subtasks.iter().filter(|(_, progress)| **progress == Progress::Starting);
                let late: Vec<SubtaskId> = starting.map(|(subtask, _)| *subtask).collect();
                let names: Vec<String> = late.iter().map(SubtaskId::to_string).collect();
                let cause = format!("subtasks {} did not start within task.deployment.timeout", names.join(", "));
                let regions = late.iter().filter_map(|subtask| self.regions.of(*subtask)).collect();
                self.fail(Hit::Regions(regions), Failure::of_job(cause))
            }
            JobEvent::CancellationTimedOut { round } => self.cancellation_timed_out(round),
            JobEvent::Redeploy { regions, sources } => self.redeploy(regions, sources),
            JobEvent::RestartDue { round } => {
                self.restart_due |= round == self.round;
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
        let regions = self.down();
        for region in &regions {
            for subtask in self.regions.members(*region) {
                debug_assert!(placement.contains_key(&subtask), "every subtask is placed");
                if let Some(task_manager) = placement.get(&subtask) {
                    self.placement.insert(subtask, task_manager.clone());
                }
            }
            self.executions[region.0 as usize].down = false;
        }
        self.state = JobState::Deploying;
        let mut actions = vec![JobAction::Deploy { regions }];
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
        let cause = match state {
            SubtaskState::Running => return self.set(subtask, Progress::Running),
            SubtaskState::Finishing => return self.set(subtask, Progress::Finishing),
            SubtaskState::Finished => return self.set(subtask, Progress::Finished),
            SubtaskState::Canceled if !self.is_up(subtask) => return self.set(subtask, Progress::Gone),
            SubtaskState::Canceled => "the subtask was cancelled, and nobody had asked for it".to_owned(),
            // A subtask that is torn down may fail on the way.
            SubtaskState::Failed { .. } if self.state == JobState::Canceling => {
                return self.set(subtask, Progress::Gone);
            }
            SubtaskState::Failed { cause } => cause,
        };
        self.subtasks.insert(subtask, Progress::Gone);
        let failure = Failure { subtask: Some(subtask), task_manager: Some(task_manager), cause, root: false };
        self.fail(Hit::Regions(self.regions.of(subtask).into_iter().collect()), failure)
    }

    fn set(&mut self, subtask: SubtaskId, progress: Progress) -> Vec<JobAction> {
        self.subtasks.insert(subtask, progress);
        self.advance()
    }

    fn is_finishing(&self, subtask: SubtaskId) -> bool {
        self.subtasks.get(&subtask) == Some(&Progress::Finishing)
    }

    /// Deploying, running or finishing.
    fn is_active(&self) -> bool {
        matches!(self.state, JobState::Deploying | JobState::Running | JobState::Finishing)
    }

    fn is_up(&self, subtask: SubtaskId) -> bool {
        self.regions.of(subtask).is_some_and(|region| self.is_region_up(region))
    }

    /// The regions that are down.
    fn down(&self) -> BTreeSet<RegionId> {
        self.regions.ids().filter(|region| !self.is_region_up(*region)).collect()
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
        if self.state == JobState::Restarting {
            let torn_down = self.subtasks.keys().all(|subtask| self.is_up(*subtask) || self.has_ended(*subtask));
            return if torn_down && self.restart_due { self.restart() } else { Vec::new() };
        }
        if self.state == JobState::Created || !self.subtasks.values().all(Progress::has_ended) {
            return Vec::new();
        }
        self.state = match self.state {
            JobState::Failing => JobState::Failed,
            JobState::Canceling => JobState::Canceled,
            _ => JobState::Finished,
        };
        vec![JobAction::End]
    }

    fn redeploy(&mut self, regions: Regions, sources: BTreeSet<SubtaskId>) -> Vec<JobAction> {
        if !self.is_active() {
            return Vec::new();
        }
        self.next = Some((regions, sources));
        self.state = JobState::Restarting;
        self.restart_due = true;
        let mut actions = self.tear_down(&self.regions.ids().collect());
        actions.extend(self.end_if_all_ended());
        actions
    }

    /// Regions are to end: whatever of them runs is cancelled.
    fn tear_down(&mut self, regions: &BTreeSet<RegionId>) -> Vec<JobAction> {
        self.round += 1;
        for region in regions {
            let execution = &mut self.executions[region.0 as usize];
            (execution.down, execution.round) = (true, self.round);
        }
        // What waits for slots has nothing to end.
        for (subtask, progress) in &mut self.subtasks {
            if *progress == Progress::Starting && !self.placement.contains_key(subtask) {
                *progress = Progress::Gone;
            }
        }
        let executions =
            self.executions_where(|subtask| self.regions.of(subtask).is_some_and(|region| regions.contains(&region)));
        if executions.is_empty() {
            return Vec::new();
        }
        vec![JobAction::Cancel { executions, round: self.round }]
    }

    fn restart(&mut self) -> Vec<JobAction> {
        self.state = JobState::Created;
        if let Some((regions, sources)) = self.next.take() {
            (self.regions, self.sources) = (regions, sources);
            self.executions.clear();
            self.subtasks.clear();
            self.placement.clear();
        }
        let regions = if self.executions.is_empty() { self.regions.ids().collect() } else { self.down() };
        self.begin(regions.clone());
        vec![JobAction::Reschedule { regions }]
    }

    /// Regions are to be deployed as the next attempts.
    fn begin(&mut self, regions: BTreeSet<RegionId>) {
        if regions.len() == self.regions.len() {
            self.first_attempt = AttemptId(self.attempts_end);
            self.as_whole = false;
            self.executions.clear();
            let unused = Execution { attempt: AttemptId(0), down: true, round: 0 };
            self.executions.resize(regions.len(), unused);
        }
        for region in regions {
            self.executions[region.0 as usize].attempt = AttemptId(self.attempts_end);
            self.attempts_end += 1;
            for subtask in self.regions.members(region) {
                self.subtasks.insert(subtask, Progress::Starting);
                self.placement.remove(&subtask);
            }
        }
    }

    fn task_manager_lost(&mut self, lost: TaskManagerId, reason: String) -> Vec<JobAction> {
        let mut hit = BTreeSet::new();
        for (subtask, progress) in &mut self.subtasks {
            if self.placement.get(subtask) == Some(&lost) && !progress.has_ended() {
                *progress = Progress::Gone;
                hit.extend(self.regions.of(*subtask));
            }
        }
        if hit.is_empty() {
            return Vec::new();
        }
        // Its peers may have told first that the connection is gone: this is why.
        let root = hit.iter().any(|region| !self.is_region_up(*region));
        self.fail(Hit::Regions(hit), Failure { subtask: None, task_manager: Some(lost), cause: reason, root })
    }

    fn fail(&mut self, hit: Hit, failure: Failure) -> Vec<JobAction> {
        if self.state == JobState::Canceling {
            return self.end_if_all_ended();
        }
        // What is being torn down has failed already; what waits for slots has not.
        let waits = self.state == JobState::Created;
        let all: BTreeSet<RegionId> = self.regions.ids().filter(|region| waits || self.is_region_up(*region)).collect();
        let (mut regions, mut failures) = match hit {
            Hit::All => (all.clone(), 1),
            Hit::Regions(hit) => (hit.intersection(&all).copied().collect(), hit.intersection(&all).count()),
        };
        if !regions.is_empty() && self.as_whole {
            (regions, failures) = (all.clone(), 1);
        }
        let mut delay_ms = None;
        if !regions.is_empty() && self.state != JobState::Failing {
            delay_ms = self.restarts.failed(self.now_ms, self.chance, failures);
        }
        if !regions.is_empty() && delay_ms.is_none() {
            regions = all;
        }
        let Failure { subtask, task_manager, cause, root } = failure;
        let mut actions =
            vec![JobAction::RecordFailure { subtask, task_manager, cause, root, regions: regions.clone() }];
        if !regions.is_empty() {
            let cancels = self.tear_down(&regions);
            match delay_ms {
                Some(delay_ms) => {
                    self.state = JobState::Restarting;
                    self.restart_due = false;
                    actions.push(JobAction::RestartAfter { delay_ms, round: self.round });
                }
                None => self.state = JobState::Failing,
            }
            actions.extend(cancels);
        }
        actions.extend(self.end_if_all_ended());
        actions
    }

    fn cancel_requested(&mut self) -> Vec<JobAction> {
        match self.state {
            JobState::Created
            | JobState::Deploying
            | JobState::Running
            | JobState::Finishing
            | JobState::Restarting => {
                // What is being torn down is being cancelled already.
                let up = self.regions.ids().filter(|region| self.is_region_up(*region)).collect();
                self.state = JobState::Canceling;
                let mut actions = self.tear_down(&up);
                actions.extend(self.end_if_all_ended());
                actions
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
                self.restart_as_whole();
                let executions =
                    self.executions_where(|subtask| self.sources.contains(&subtask) && self.is_up(subtask));
                vec![JobAction::StopSources { executions, drain }]
            }
            _ => Vec::new(),
        }
    }

    fn cancellation_timed_out(&mut self, round: u64) -> Vec<JobAction> {
        if !matches!(self.state, JobState::Failing | JobState::Canceling | JobState::Restarting) {
            return Vec::new();
        }
        let mut late = Vec::new();
        for (subtask, progress) in &mut self.subtasks {
            let execution = self.regions.of(*subtask).map(|region| &self.executions[region.0 as usize]);
            let told = execution.is_some_and(|execution| execution.down && execution.round <= round);
            if told && !progress.has_ended() {
                late.push(subtask.to_string());
                *progress = Progress::Gone;
            }
        }
        if late.is_empty() {
            return Vec::new();
        }
        let cause = format!("subtasks {} did not end within task.cancellation.timeout", late.join(", "));
        let regions = BTreeSet::new();
        let mut actions =
            vec![JobAction::RecordFailure { subtask: None, task_manager: None, cause, root: false, regions }];
        actions.extend(self.end_if_all_ended());
        actions
    }

    /// Where such subtasks run that have not ended.
    fn executions_where(&self, which: impl Fn(SubtaskId) -> bool) -> Executions {
        let mut executions = Executions::new();
        for (subtask, task_manager) in &self.placement {
            if which(*subtask)
                && !self.has_ended(*subtask)
                && let Some(attempt) = self.attempt_of_subtask(*subtask)
            {
                executions.entry(attempt).or_default().insert(task_manager.clone());
            }
        }
        executions
    }
}

#[cfg(test)]
#[path = "state_machine_tests.rs"]
mod tests;
