//! The master: one task that owns the cluster and all jobs. It takes a command at a time, asks the
//! pure cores what to do, and does it. It never waits for anything but its next command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tidemill_common::checkpoint::{CheckpointOptions, SplitPosition};
use tidemill_common::config::is_batch;
use tidemill_common::connector::ConnectorCatalog;
use tidemill_common::control::{
    ClusterInfo, DeployRequest, Fenced, JobManagerMessage, JobState, JobSummary, LocalState, LogKind, Registration,
    SubtaskState, TaskManagerMessage,
};
use tidemill_common::ids::{
    AttemptId, JobId, LeaderEpoch, OperatorId, RegionId, SubtaskId, SubtaskIndex, TaskManagerId,
};
use tidemill_connectors::api::ConnectorContext;
use tidemill_connectors::lease::Lease;
use tidemill_connectors::registry::{Registry, connector};
use tokio::sync::mpsc;

use crate::checkpoint::coordinator::Event;
use crate::checkpoint::registry::SharedFiles;
use crate::checkpoint::store::Deleter;
use crate::cluster::{Cluster, ConnectionId};
use crate::command::{ClientCommand, Command, MasterHandle, Reply, Timer, ToTaskManager};
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::job::{Executions, Job, JobAction, JobEvent, SourceCoordinator};
use crate::jobstore::JobStore;
use crate::rows::Chunk;
use crate::scheduler::{Homes, place, slots_kept, slots_needed};
use crate::splits::{Discovered, SourceState, SplitAction, SplitAssigner};

/// How often time-outs are looked at and counters shown.
const TICK: Duration = Duration::from_millis(200);

/// How long a shutdown waits for files of old checkpoints to be deleted.
const DELETIONS_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub struct Master {
    pub(crate) config: JobManagerConfig,
    pub(crate) handle: MasterHandle,
    pub(crate) clock: Clock,
    pub(crate) cluster: Cluster,
    senders: BTreeMap<TaskManagerId, ToTaskManager>,
    connections: u64,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// In order of submission.
    pub(crate) order: Vec<JobId>,
    /// Jobs whose counters have changed since they were shown.
    dirty: Vec<JobId>,
    /// Task managers that do not take their messages.
    stuck: Vec<TaskManagerId>,
    /// Files of checkpoints that are still named.
    pub(crate) files: SharedFiles,
    pub(crate) deleter: Deleter,
    /// Where jobs are kept beyond a crash, if they are.
    pub(crate) store: Option<JobStore>,
    pub(crate) shutdown: Option<Reply<()>>,
    /// Where copies of the state of each job's subtasks are.
    homes: BTreeMap<JobId, BTreeMap<SubtaskId, String>>,
    /// Jobs that were found at the start and have not been taken up.
    pub(crate) not_admitted: BTreeSet<JobId>,
}

/// Milliseconds since the epoch that never go back.
pub(crate) struct Clock {
    start: Instant,
    start_ms: i64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: since.as_millis() as i64 }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.start_ms + self.start.elapsed().as_millis() as i64
    }
}

/// Starts a master, which takes up the jobs that it finds in its data directory. The epoch of a lone job
/// manager is the time it starts at, so that it rises with every restart.
///
/// # Errors
/// If the data directory cannot be used.
pub async fn start(config: JobManagerConfig) -> Result<MasterHandle, JobManagerError> {
    let (commands, inbox) = mpsc::channel(crate::command::COMMANDS_MAX);
    let clock = Clock::new();
    let mut epoch = LeaderEpoch(clock.start_ms as u64);
    let (mut store, mut stored) = (None, Vec::new());
    if let Some(directory) = config.data_directory.clone() {
        let opened = tokio::task::spawn_blocking(move || JobStore::open(&directory, epoch)).await;
        let opened = opened.map_err(|error| JobManagerError::Internal(error.to_string()))??;
        (store, stored, epoch) = (Some(opened.store), opened.jobs, opened.epoch);
    }
    let handle = MasterHandle { commands, epoch };
    let master = Master {
        store,
        files: SharedFiles::default(),
        deleter: Deleter::start(config.store.clone()),
        config,
        handle: handle.clone(),
        clock,
        cluster: Cluster::default(),
        senders: BTreeMap::new(),
        connections: 0,
        jobs: BTreeMap::new(),
        order: Vec::new(),
        dirty: Vec::new(),
        stuck: Vec::new(),
        shutdown: None,
        homes: BTreeMap::new(),
        not_admitted: stored.iter().map(|stored| stored.record.job.clone()).collect(),
    };
    master.recover(stored);
    tokio::spawn(master.run(inbox));
    Ok(handle)
}

impl Master {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                _ = tick.tick() => self.tick(),
            }
            while let Some(id) = self.stuck.pop() {
                self.lose(&id, format!("task manager {id} does not take its messages"));
            }
            if self.shutdown.is_some() && self.jobs.values().all(|job| job.machine.state().is_terminal()) {
                let Self { deleter, shutdown, store, .. } = self;
                deleter.finish(DELETIONS_TIMEOUT).await;
                if let Some(store) = store
                    && let Err(error) = tokio::task::spawn_blocking(|| store.close()).await
                {
                    tracing::error!(%error, "the job store does not close");
                }
                if let Some(reply) = shutdown {
                    let _ = reply.send(());
                }
                return;
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Join { registration, sender, reply } => {
                let answer = self.join(registration, sender);
                if reply.send(answer).is_err() {
                    tracing::debug!("a task manager went away while it joined");
                }
            }
            Command::FromTaskManager { id, connection, message } => {
                if message.epoch != self.handle.epoch {
                    tracing::warn!(task_manager = %id, epoch = %message.epoch, "refused a message of another leader epoch");
                } else if self.is_current(&id, connection) {
                    self.cluster.seen(&id, self.clock.now_ms());
                    self.on_task_manager(id, message.message);
                }
            }
            Command::Disconnected { id, connection, reason } => {
                if self.is_current(&id, connection) {
                    self.lose(&id, reason);
                }
            }
            Command::Client(command) => self.client(command),
            Command::Discovered { job, attempt, operator, result } => {
                let Some(assigner) = self.assigner(&job, attempt, operator) else { return };
                let discovered = result.and_then(|(enumerator, watermarks)| {
                    assigner.restore_watermarks(watermarks);
                    assigner.discovered(enumerator, Ok(()))
                });
                match discovered {
                    Ok(actions) => {
                        self.perform_splits(&job, operator, actions);
                        self.checkpoint_prepare(&job);
                    }
                    Err(error) => self.apply(&job, JobEvent::CoordinatorFailed { cause: error.to_string() }),
                }
            }
            Command::DiscoveryDue { job, attempt, operator } => {
                let actions = self.assigner(&job, attempt, operator).map(SplitAssigner::discovery_due);
                let actions = actions.unwrap_or_default();
                self.perform_splits(&job, operator, actions);
            }
            Command::Timeout { job, attempt, timer } => {
                if self.current(&job, attempt).is_some() {
                    let event = match timer {
                        Timer::Deployment => JobEvent::DeploymentTimedOut,
                        Timer::Cancellation { round } => JobEvent::CancellationTimedOut { round },
                        Timer::Restart { round } => JobEvent::RestartDue { round },
                    };
                    self.apply(&job, event);
                }
            }
            Command::Checkpoint { job, event } => self.checkpoint(&job, *event),
            Command::Admitted(admitted) => self.admit(*admitted),
            Command::PlacementKept { job, attempt, schedule, result } => self.placed(&job, attempt, schedule, result),
            Command::CheckpointDue { job, wake_ms } => self.checkpoint_due(&job, wake_ms),
            Command::RowsTaken { job, task_manager, attempt, sequence } => {
                self.send(&task_manager, JobManagerMessage::LinesTaken { job, attempt, sequence });
            }
            Command::RowsAbandoned { job } => {
                tracing::info!(%job, "the client of the SELECT has gone, the job is cancelled");
                self.apply(&job, JobEvent::CancelRequested);
            }
        }
    }

    /// The job, if it has not ended and this is its newest attempt.
    fn current(&mut self, job: &JobId, attempt: AttemptId) -> Option<&mut Job> {
        self.jobs.get_mut(job).filter(|job| job.machine.attempt() == attempt && !job.machine.state().is_terminal())
    }

    /// What assigns the splits of a source, if it was made in this attempt and is still of use.
    fn assigner(&mut self, job: &JobId, attempt: AttemptId, operator: OperatorId) -> Option<&mut SplitAssigner> {
        let source = self.jobs.get_mut(job)?.splits.get_mut(&operator)?;
        let counts = source.since == attempt && !source.cancelled.load(Ordering::Relaxed);
        counts.then_some(&mut source.assigner)
    }

    // Task managers.

    fn join(&mut self, registration: Registration, sender: ToTaskManager) -> Result<ConnectionId, String> {
        let version = env!("CARGO_PKG_VERSION");
        if registration.version != version {
            return Err(format!(
                "the job manager has version {version}, the task manager {}; run the same version everywhere",
                registration.version
            ));
        }
        if registration.slots == 0 {
            return Err("a task manager must offer at least one slot (taskmanager.numberOfTaskSlots)".to_owned());
        }
        let id = registration.id.clone();
        if self.cluster.member(&id).is_some() {
            self.lose(&id, format!("task manager {id} has connected anew"));
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        tracing::info!(task_manager = %id, slots = registration.slots, data = %registration.data_address, "task manager joined");
        let local_state = registration.local_state.clone();
        self.cluster.join(registration, connection, self.clock.now_ms());
        self.senders.insert(id.clone(), sender);
        let registered = JobManagerMessage::Registered {
            heartbeat_interval_ms: self.config.heartbeat_interval.as_millis() as u64,
            heartbeat_timeout_ms: self.config.heartbeat_timeout.as_millis() as u64,
        };
        self.send(&id, registered);
        self.local_state_found(&id, local_state);
        self.schedule();
        Ok(connection)
    }

    /// A task manager has joined that finds copies of the state of jobs.
    fn local_state_found(&mut self, id: &TaskManagerId, local_state: LocalState) {
        for (job, subtasks) in local_state.jobs {
            let ended = self.jobs.get(&job).is_none_or(|job| job.machine.state().is_terminal());
            if ended && !self.not_admitted.contains(&job) {
                self.send(id, JobManagerMessage::ForgetJob { job });
                continue;
            }
            // Where a subtask ran last is known better.
            let homes = self.homes.entry(job).or_default();
            for subtask in subtasks {
                homes.entry(subtask).or_insert_with(|| local_state.id.clone());
            }
        }
    }

    /// Nobody needs copies of a job's state any more, unless another job manager takes it up.
    fn forget_local_state(&mut self, job: &JobId) {
        if self.homes.remove(job).is_some() && !self.is_suspending() {
            for id in self.senders.keys().cloned().collect::<Vec<_>>() {
                self.send(&id, JobManagerMessage::ForgetJob { job: job.clone() });
            }
        }
    }

    fn is_current(&self, id: &TaskManagerId, connection: ConnectionId) -> bool {
        self.cluster.member(id).is_some_and(|member| member.connection == connection)
    }

    fn lose(&mut self, id: &TaskManagerId, reason: String) {
        tracing::warn!(task_manager = %id, reason, "task manager lost");
        self.cluster.leave(id);
        self.senders.remove(id);
        for job in self.order.clone() {
            self.apply(&job, JobEvent::TaskManagerLost { task_manager: id.clone(), reason: reason.clone() });
        }
    }

    pub(crate) fn send(&mut self, id: &TaskManagerId, message: JobManagerMessage) {
        let Some(sender) = self.senders.get(id) else { return };
        if sender.try_send(Fenced { epoch: self.handle.epoch, message }).is_err() && !self.stuck.contains(id) {
            self.stuck.push(id.clone());
        }
    }

    fn on_task_manager(&mut self, id: TaskManagerId, message: TaskManagerMessage) {
        match message {
            TaskManagerMessage::Register(_) => {
                tracing::warn!(task_manager = %id, "refused a second registration on one connection");
            }
            TaskManagerMessage::Heartbeat { sequence, subtasks, process } => {
                self.cluster.reported(&id, process);
                for report in subtasks {
                    if let Some(job) = self.jobs.get_mut(&report.job)
                        && job.machine.placement().get(&report.subtask) == Some(&id)
                    {
                        let name = job.id.clone();
                        job.report(report, false);
                        self.mark_dirty(name);
                    }
                }
                self.send(&id, JobManagerMessage::HeartbeatAck { sequence });
            }
            TaskManagerMessage::SubtaskStateChanged { job, attempt, subtask, state, metrics } => {
                if let SubtaskState::Failed { cause } = &state {
                    tracing::debug!(%job, %subtask, cause, "subtask failed");
                }
                if let Some(found) = self.jobs.get_mut(&job)
                    && let Some(report) = metrics
                    && found.machine.placement().get(&subtask) == Some(&id)
                {
                    found.report(report, state.has_ended());
                }
                self.checkpoints_subtask(&job, attempt, subtask, &state);
                self.apply(&job, JobEvent::SubtaskChanged { attempt, task_manager: id, subtask, state });
            }
            TaskManagerMessage::SplitRequest { job, attempt, operator, reader } => {
                let Some(found) = self.jobs.get_mut(&job) else { return };
                let subtask = found.subtask_of(operator, reader);
                if !subtask.is_some_and(|subtask| found.machine.is_deployed_in(subtask, attempt)) {
                    return;
                }
                let actions = found.splits.get_mut(&operator).map(|source| source.assigner.requested(reader));
                let actions = actions.unwrap_or_default();
                self.perform_splits(&job, operator, actions);
            }
            TaskManagerMessage::CheckpointAcknowledged { job, attempt, subtask, checkpoint, snapshot } => {
                self.checkpoint_acknowledged(&job, (attempt, subtask, checkpoint), snapshot);
            }
            TaskManagerMessage::CheckpointDeclined { job, attempt, subtask, checkpoint, reason } => {
                self.checkpoint(&job, Event::Declined { attempt, subtask, checkpoint, reason });
            }
            TaskManagerMessage::CollectedLines { job, attempt, sequence, lines } => {
                let Some(found) = self.jobs.get(&job).filter(|job| job.machine.is_deployed(attempt)) else { return };
                let taken = match &found.rows {
                    Some(rows) => rows.push(Chunk { task_manager: id, attempt, sequence, lines }),
                    None => true,
                };
                if !taken {
                    let cause = "a task manager sent more rows than the client takes".to_owned();
                    self.apply(&job, JobEvent::CoordinatorFailed { cause });
                }
            }
        }
    }

    // Jobs.

    fn client(&mut self, command: ClientCommand) {
        // A client that has gone away needs no answer.
        match command {
            ClientCommand::Submit { jobs, reply } => self.submit(jobs, reply),
            ClientCommand::List { reply } => {
                let jobs = self.order.iter().rev().filter_map(|id| self.jobs.get(id)).map(Job::summary).collect();
                drop(reply.send(jobs));
            }
            ClientCommand::Watch { job, reply } => {
                let receiver = self.find(&job).map(|id| {
                    let job = &self.jobs[&id];
                    job.publish();
                    job.watch.subscribe()
                });
                drop(reply.send(receiver));
            }
            ClientCommand::Cancel { job, reply } => {
                let answer = self.find(&job).map(|id| {
                    self.apply(&id, JobEvent::CancelRequested);
                    self.summary(&id)
                });
                drop(reply.send(answer));
            }
            ClientCommand::Stop { job, drain, reply } => drop(reply.send(self.stop(&job, drain))),
            ClientCommand::Rescale { job, parallelism, reply } => drop(reply.send(self.rescale(&job, parallelism))),
            ClientCommand::Savepoint { job, directory, stop, reply } => match self.find(&job) {
                Ok(id) => self.savepoint(&id, directory, stop, reply),
                Err(error) => drop(reply.send(Err(error))),
            },
            ClientCommand::Checkpoints { job, reply } => {
                drop(reply.send(self.find(&job).map(|id| self.jobs[&id].checkpoints.history(&id))));
            }
            ClientCommand::Fetch { job, reply } => {
                let answer = self.find(&job).and_then(|id| match &self.jobs[&id].rows {
                    None => Err(JobManagerError::NoRows(id)),
                    Some(rows) if rows.attach() => Ok((id, rows.clone())),
                    Some(_) => Err(JobManagerError::RowsTaken(id)),
                });
                drop(reply.send(answer));
            }
            ClientCommand::View(view) => self.view(view),
            ClientCommand::Info { reply } => drop(reply.send(ClusterInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                leader_epoch: self.handle.epoch,
                task_managers: self.cluster.infos(),
            })),
            ClientCommand::Shutdown { reply } => {
                self.shutdown = Some(reply);
                for job in self.order.clone() {
                    self.apply(&job, JobEvent::CancelRequested);
                }
            }
        }
    }

    fn stop(&mut self, job: &str, drain: bool) -> Result<JobSummary, JobManagerError> {
        let id = self.find(job)?;
        let state = self.jobs[&id].machine.state();
        if !matches!(state, JobState::Created | JobState::Deploying | JobState::Running) {
            return Err(JobManagerError::NotRunning { job: id, state });
        }
        self.refuse_in_batch_mode(&id, "stopped")?;
        // A job that waits for slots has read nothing: it only goes away.
        let job = &self.jobs[&id];
        let waits = state == JobState::Created && !job.placing && job.machine.placement().is_empty();
        self.apply(&id, if waits { JobEvent::CancelRequested } else { JobEvent::StopRequested { drain } });
        Ok(self.summary(&id))
    }

    /// A job in batch mode goes on to its end, or is cancelled.
    pub(crate) fn refuse_in_batch_mode(&self, id: &JobId, action: &'static str) -> Result<(), JobManagerError> {
        match self.jobs.get(id) {
            Some(job) if is_batch(&job.plan.options) => Err(JobManagerError::BatchMode { job: id.clone(), action }),
            _ => Ok(()),
        }
    }

    fn rescale(&mut self, job: &str, parallelism: u32) -> Result<JobSummary, JobManagerError> {
        let id = self.find(job)?;
        self.refuse_in_batch_mode(&id, "rescaled")?;
        let Some(found) = self.jobs.get_mut(&id) else { return Err(JobManagerError::NoSuchJob(job.to_owned())) };
        let state = found.machine.state();
        if !matches!(state, JobState::Deploying | JobState::Running) {
            return Err(JobManagerError::NotRescalable { job: id, state });
        }
        if found.checkpoints.newest().is_none() {
            return Err(JobManagerError::NoCheckpoint(id));
        }
        // A job that had to wait for slots would be worse off than before.
        let needed = found.slots_at(parallelism)?;
        let free: u32 = self.cluster.free_slots().values().sum();
        let available = free + self.cluster.slots_of(&id);
        if needed > available {
            return Err(JobManagerError::NotEnoughSlots { job: id, parallelism, needed, available });
        }
        let event = found.rescale(parallelism)?;
        let message = format!("parallelism {parallelism} is asked for");
        found.log.push(self.clock.now_ms(), LogKind::Request, message);
        self.apply(&id, event);
        Ok(self.summary(&id))
    }

    /// Whether jobs are left to be taken up by the next job manager.
    pub(crate) fn is_suspending(&self) -> bool {
        self.shutdown.is_some() && self.store.is_some()
    }

    fn summary(&self, id: &JobId) -> JobSummary {
        self.jobs[id].summary()
    }

    /// The job with this id, or the only one whose id begins so.
    pub(crate) fn find(&self, prefix: &str) -> Result<JobId, JobManagerError> {
        let found: Vec<JobId> =
            self.order.iter().filter(|id| !prefix.is_empty() && id.0.starts_with(prefix)).cloned().collect();
        match <[JobId; 1]>::try_from(found) {
            Ok([id]) => Ok(id),
            Err(found) if found.is_empty() => Err(JobManagerError::NoSuchJob(prefix.to_owned())),
            Err(jobs) => Err(JobManagerError::AmbiguousJob { prefix: prefix.to_owned(), jobs }),
        }
    }

    /// Gives free slots to the jobs that wait for them, in order of submission.
    pub(crate) fn schedule(&mut self) {
        for id in self.order.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            if job.machine.state() != JobState::Created || job.after.is_some() || job.placing {
                continue;
            }
            // What it starts from is not known yet.
            if job.checkpoints.coordinator.is_persisting() {
                continue;
            }
            let is_joined = |member: &TaskManagerId| self.cluster.member(member).is_some();
            if job.recovering.as_ref().is_some_and(|recovering| !recovering.is_over(self.clock.now_ms(), is_joined)) {
                continue;
            }
            let of_subtasks = match CheckpointOptions::new(&job.plan.options).from_local {
                true => self.homes.get(&id).cloned().unwrap_or_default(),
                false => BTreeMap::new(),
            };
            let homes = Homes { of_subtasks, of_task_managers: self.cluster.homes() };
            if let Ok(schedule) = place(&job.graph, &self.cluster.free_slots(), &homes, &job.machine.kept()) {
                self.cluster.set_slots(&id, &schedule.slots);
                self.place(&id, schedule);
            }
        }
    }

    /// Gives back the slots of a job in which nothing runs on.
    pub(crate) fn release_slots(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        let kept = slots_kept(&job.graph, &job.machine.kept());
        self.cluster.set_slots(id, &kept);
    }

    pub(crate) fn apply(&mut self, id: &JobId, event: JobEvent) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let before = job.machine.state();
        let actions = job.machine.at(self.clock.now_ms(), rand::random()).apply(event);
        let after = job.machine.state();
        if before != after {
            tracing::info!(job = %id, from = %before, to = %after, "job state");
            job.state_changed(before, after, self.clock.now_ms());
        }
        let slots_back = actions.iter().any(|action| matches!(action, JobAction::End | JobAction::Reschedule { .. }));
        for action in actions {
            self.perform(id, action);
        }
        if let Some(job) = self.jobs.get(id)
            && before != after
        {
            job.publish();
            self.checkpoints_follow(id, after);
        }
        if after.is_terminal() && before != after {
            self.release_followers(id, after);
        }
        if slots_back {
            self.forget_old();
            self.schedule();
        }
    }

    /// The jobs that wait for this one go on; unless it has finished as it should, they and those that
    /// wait for them are cancelled.
    fn release_followers(&mut self, id: &JobId, state: JobState) {
        let now = self.clock.now_ms();
        let mut ended = BTreeSet::from([id.clone()]);
        let mut followers = Vec::new();
        for other in &self.order {
            let Some(after) = self.jobs.get(other).and_then(|job| job.after.as_ref()) else { continue };
            if ended.contains(after) {
                followers.push(other.clone());
                if state != JobState::Finished {
                    ended.insert(other.clone());
                }
            }
        }
        let name = self.jobs.get(id).map(|job| job.plan.name.clone()).unwrap_or_default();
        // The last first, so that none of them has followers when it ends.
        for follower in followers.iter().rev() {
            let Some(job) = self.jobs.get_mut(follower) else { continue };
            job.after = None;
            job.start_ms = now;
            if state != JobState::Finished && !job.machine.state().is_terminal() {
                let cause = format!("not started: job {name} ({id}) before it in its script is {state}");
                job.record_failure(None, None, cause, false, now);
                self.apply(follower, JobEvent::CancelRequested);
            }
        }
    }

    fn perform(&mut self, id: &JobId, action: JobAction) {
        let now = self.clock.now_ms();
        let Some(job) = self.jobs.get_mut(id) else { return };
        let attempt = job.machine.attempt();
        match action {
            JobAction::Deploy { regions } => {
                job.deployed(now, &regions);
                self.checkpoints_deployed(id);
                self.deploy(id, &regions);
                self.start_timer(id, attempt, Timer::Deployment, self.config.deployment_timeout);
            }
            JobAction::Cancel { executions, round } => {
                job.cancel_sources();
                for (attempt, task_manager) in each(executions) {
                    self.send(&task_manager, JobManagerMessage::Cancel { job: id.clone(), attempt });
                }
                self.start_timer(id, attempt, Timer::Cancellation { round }, self.config.cancellation_timeout);
            }
            JobAction::StopSources { executions, drain } => {
                for (attempt, task_manager) in each(executions) {
                    self.send(&task_manager, JobManagerMessage::StopSources { job: id.clone(), attempt, drain });
                }
            }
            JobAction::RecordFailure { subtask, task_manager, cause, root, regions } => {
                let ended: Vec<u32> = regions.iter().map(|region| region.0).collect();
                tracing::warn!(job = %id, cause, regions = ?ended, of = job.machine.regions().len(), "failure");
                job.record_failure_of(subtask, task_manager, cause, root, (&regions, now));
            }
            JobAction::RestartAfter { delay_ms, round } => {
                tracing::info!(job = %id, delay_ms, "restarts");
                job.restarts += 1;
                let delay = Duration::from_millis(delay_ms.max(0) as u64);
                self.start_timer(id, attempt, Timer::Restart { round }, delay);
            }
            JobAction::Reschedule { regions } => {
                job.attempts_ended(now, &regions);
                self.release_slots(id);
            }
            JobAction::End => {
                job.ended(now);
                self.release_slots(id);
                self.forget_local_state(id);
                self.checkpoints_ended(id);
            }
        }
    }

    /// Sends regions to their task managers, and sees to the splits of their sources. Older attempts come
    /// first, as task managers know by the number which are over.
    fn deploy(&mut self, id: &JobId, regions: &BTreeSet<RegionId>) {
        let Some(job) = self.jobs.get(id) else { return };
        let mut messages = Vec::new();
        for region in regions {
            let Some(attempt) = job.machine.attempt_of(*region) else { continue };
            let mut subtasks: BTreeMap<TaskManagerId, Vec<SubtaskId>> = BTreeMap::new();
            let mut locations = Vec::new();
            for subtask in job.machine.regions().members(*region) {
                let Some(task_manager) = job.machine.placement().get(&subtask) else { continue };
                let Some(member) = self.cluster.member(task_manager) else { continue };
                locations.push((subtask, task_manager.clone(), member.registration.data_address.clone()));
                subtasks.entry(task_manager.clone()).or_default().push(subtask);
            }
            for (task_manager, subtasks) in subtasks {
                let request = DeployRequest {
                    job: id.clone(),
                    job_name: job.plan.name.clone(),
                    attempt,
                    first_attempt: job.machine.first_attempt(),
                    region: (job.machine.regions().len() > 1).then_some(*region),
                    plan: job.plan_json.clone(),
                    checkpoint_directory: job.checkpoints.directory(),
                    restore: job.checkpoints.newest(),
                    subtasks,
                    locations: locations.clone(),
                };
                messages.push((task_manager, JobManagerMessage::Deploy(request)));
            }
        }
        if CheckpointOptions::new(&job.plan.options).local_backup {
            let member = |task_manager| Some(self.cluster.member(task_manager)?.registration.local_state.id.clone());
            let homes = job.machine.placement().iter().filter_map(|(subtask, id)| Some((*subtask, member(id)?)));
            self.homes.insert(id.clone(), homes.collect());
        }
        for (task_manager, message) in messages {
            self.send(&task_manager, message);
        }
        self.deploy_sources(id, regions);
    }

    /// Sources of which all readers start have their enumerators made anew, from the checkpoint; those that
    /// others go on reading take back what the readers that start had.
    fn deploy_sources(&mut self, id: &JobId, regions: &BTreeSet<RegionId>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let (attempt, restore, plan) = (job.machine.attempt(), job.checkpoints.newest(), job.plan.clone());
        let sources: Vec<_> =
            job.sources().map(|(operator, source, parallelism)| (operator, source.clone(), parallelism)).collect();
        for (operator, source, parallelism) in sources {
            let Some(job) = self.jobs.get_mut(id) else { return };
            let (readers, all) = job.readers_in(operator, regions);
            if !all {
                let restarted = job.splits.get_mut(&operator).filter(|_| !readers.is_empty());
                let actions = restarted.map(|source| source.assigner.restarted(&readers)).unwrap_or_default();
                self.perform_splits(id, operator, actions);
                continue;
            }
            let mut assigner =
                SplitAssigner::new(parallelism, Registry.is_bounded(&source), source.watermark.is_some());
            let of = |reader: &SubtaskIndex| job.machine.regions().of(job.subtask_of(operator, *reader)?);
            if readers.iter().filter_map(of).collect::<BTreeSet<_>>().len() > 1 {
                assigner = assigner.tracked();
            }
            let cancelled = Arc::new(AtomicBool::new(false));
            let context = ConnectorContext {
                io: tokio::runtime::Handle::current(),
                cancelled: cancelled.clone(),
                lease: Lease::unlimited(),
                stores: self.config.store.clone(),
            };
            job.splits.insert(operator, SourceCoordinator { assigner, since: attempt, cancelled });
            let uid = plan.operator(operator).uid.clone();
            let restore = restore.as_ref().map(|url| (url.clone(), uid, self.config.store.clone()));
            self.discover(id, attempt, operator, move || {
                let connector = connector(&source.table.connector).ok_or_else(|| unknown(&source.table))?;
                let mut enumerator = connector.create_enumerator(&source, parallelism, &context)?;
                let watermarks = match restore {
                    Some((url, uid, store)) => {
                        let state = SourceState::read(&url, &uid, &store, &context.io);
                        let state = state.map_err(|error| unreadable(&source.table, &error))?;
                        state.restore(enumerator.as_mut())?
                    }
                    None => BTreeMap::new(),
                };
                enumerator.discover()?;
                Ok((enumerator, watermarks))
            });
        }
    }

    fn perform_splits(&mut self, id: &JobId, operator: OperatorId, actions: Vec<SplitAction>) {
        for action in actions {
            let Some(job) = self.jobs.get(id) else { return };
            let Some(since) = job.splits.get(&operator).map(|source| source.since) else { return };
            match action {
                SplitAction::Discover(mut enumerator) => self.discover(id, since, operator, move || {
                    enumerator.discover()?;
                    Ok((enumerator, BTreeMap::new()))
                }),
                SplitAction::DiscoverAfter(time) => {
                    let (handle, job) = (self.handle.clone(), id.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        let _ = handle.send(Command::DiscoveryDue { job, attempt: since, operator }).await;
                    });
                }
                SplitAction::Assign { reader, splits, no_more } => {
                    let place = job.subtask_of(operator, reader).and_then(|subtask| {
                        let attempt = job.machine.attempt_of_subtask(subtask)?;
                        Some((attempt, job.machine.placement().get(&subtask)?.clone()))
                    });
                    // A reader that waits for slots gets them when it is deployed.
                    let Some((attempt, task_manager)) = place else { continue };
                    let splits = splits
                        .into_iter()
                        .map(|split| SplitPosition {
                            id: split.id,
                            state: split.state,
                            watermark_ms: split.watermark_ms,
                        })
                        .collect();
                    let message =
                        JobManagerMessage::AssignSplits { job: id.clone(), attempt, operator, reader, splits, no_more };
                    self.send(&task_manager, message);
                }
            }
        }
    }

    /// Runs an enumerator's I/O off this task.
    fn discover(
        &self,
        id: &JobId,
        attempt: AttemptId,
        operator: OperatorId,
        work: impl FnOnce() -> Discovered + Send + 'static,
    ) {
        let (handle, job) = (self.handle.clone(), id.clone());
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                Err(tidemill_connectors::api::ConnectorError::Internal {
                    connector: "split enumerator",
                    reason: error.to_string(),
                })
            });
            let _ = handle.send(Command::Discovered { job, attempt, operator, result }).await;
        });
    }

    fn start_timer(&self, id: &JobId, attempt: AttemptId, timer: Timer, after: Duration) {
        let (handle, job) = (self.handle.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = handle.send(Command::Timeout { job, attempt, timer }).await;
        });
    }

    fn mark_dirty(&mut self, id: JobId) {
        if !self.dirty.contains(&id) {
            self.dirty.push(id);
        }
    }

    /// Forgets the jobs that ended first, beyond the history's bound.
    fn forget_old(&mut self) {
        let ended: Vec<JobId> = self
            .order
            .iter()
            .filter(|id| self.jobs.get(*id).is_some_and(|job| job.end_ms().is_some()))
            .cloned()
            .collect();
        let surplus = ended.len().saturating_sub(self.config.history_jobs_max);
        for id in &ended[..surplus] {
            self.jobs.remove(id);
            self.order.retain(|other| other != id);
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now_ms();
        let timeout = self.config.heartbeat_timeout;
        for id in self.cluster.silent(now, timeout.as_millis() as i64) {
            let seconds = timeout.as_secs_f64();
            self.lose(&id, format!("task manager {id} was silent for {seconds} s (heartbeat.timeout)"));
        }
        for id in self.order.clone() {
            self.check_waits(&id, now);
        }
        if self.jobs.values().any(|job| job.recovering.is_some() && job.machine.state() == JobState::Created) {
            self.schedule();
        }
        for id in std::mem::take(&mut self.dirty) {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let announcements = job.alignment.announcements(now);
            let executions: Vec<_> = each(job.machine.executions(|_| true)).collect();
            job.publish();
            for (group, max_watermark_ms) in announcements {
                for (attempt, task_manager) in &executions {
                    let message = JobManagerMessage::UpdateAlignment {
                        job: id.clone(),
                        attempt: *attempt,
                        group: group.clone(),
                        max_watermark_ms,
                    };
                    self.send(task_manager, message);
                }
            }
        }
    }

    /// The waits of a job that have no timer of their own.
    fn check_waits(&mut self, id: &JobId, now: i64) {
        let Some(job) = self.jobs.get(id) else { return };
        if job.machine.state().is_terminal() || job.after.is_some() {
            return;
        }
        let waited = now.saturating_sub(job.start_ms);
        let waited_for_slots = now.saturating_sub(job.waiting_since_ms);
        if job.machine.state() == JobState::Created
            && waited_for_slots > self.config.slot_request_timeout.as_millis() as i64
        {
            let cause = self.no_slots(slots_needed(&job.graph));
            self.apply(id, JobEvent::SlotsTimedOut(cause));
            return;
        }
        let unattached = job.rows.as_ref().is_some_and(|rows| !rows.is_attached());
        if unattached && waited > self.config.collect_attach_timeout.as_millis() as i64 {
            let seconds = self.config.collect_attach_timeout.as_secs_f64();
            let cause = format!("nobody fetched the rows of the SELECT for {seconds} s (collect.attach.timeout)");
            self.apply(id, JobEvent::CoordinatorFailed { cause });
        }
    }

    fn no_slots(&self, needed: u32) -> String {
        let (members, slots) = self.cluster.size();
        let free: u32 = self.cluster.free_slots().values().sum();
        let seconds = self.config.slot_request_timeout.as_secs_f64();
        format!(
            "the job needs {needed} slots; {members} task manager{} with {slots} slot{} {} connected and {free} of them are free. Waited {seconds} s (slot.request.timeout). Start more task managers, give them more slots (taskmanager.numberOfTaskSlots), or lower the parallelism",
            if members == 1 { "" } else { "s" },
            if slots == 1 { "" } else { "s" },
            if members == 1 { "is" } else { "are" },
        )
    }
}

/// Each attempt with each of its task managers.
pub(crate) fn each(executions: Executions) -> impl Iterator<Item = (AttemptId, TaskManagerId)> {
    let of_attempt = |(attempt, task_managers): (AttemptId, BTreeSet<TaskManagerId>)| {
        task_managers.into_iter().map(move |task_manager| (attempt, task_manager))
    };
    executions.into_iter().flat_map(of_attempt)
}

fn unreadable(
    table: &tidemill_common::plan::TableSpec,
    error: &dyn std::error::Error,
) -> tidemill_connectors::api::ConnectorError {
    tidemill_connectors::api::ConnectorError::State { table: table.name.clone(), reason: error.to_string() }
}

fn unknown(table: &tidemill_common::plan::TableSpec) -> tidemill_connectors::api::ConnectorError {
    tidemill_connectors::api::ConnectorError::External {
        table: table.name.clone(),
        reason: format!("the connector '{}' is not known to this job manager", table.connector),
        action: "run the same version everywhere".to_owned(),
    }
}
