//! Runs the subtasks of a task manager: starts and stops their threads, passes mail to them, and
//! tells what becomes of them.

mod subtask;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::{Barriers, CheckpointOptions, SubtaskSnapshot};
use tidemill_common::control::ProcessStatus;
use tidemill_common::ids::{
    AttemptId, CheckpointId, JobId, OperatorId, RegionId, SubtaskId, SubtaskIndex, TaskManagerId,
};
use tidemill_common::job_graph::JobGraph;
use tidemill_common::plan::StreamPlan;
use tidemill_connectors::api::{ConnectorContext, Split};
use tidemill_connectors::lease::Lease;
use tidemill_state::storage::{JobCopies, LocalCopies, StoreOptions};
use tokio::sync::mpsc;

use crate::control::credit::LinePermit;
use crate::memory::MemoryBudget;
use crate::metrics::{SubtaskMetrics, TaskMetrics};
use crate::shuffle::network::Network;
use crate::shuffle::{Inbox, Mail, Overtaking, input_channels, overtakable_channels};
use subtask::Launch;

/// How long the counters of an ended subtask are still told.
const ENDED_KEPT: Duration = Duration::from_secs(10);

/// Settings of an executor.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    pub id: TaskManagerId,
    /// Where the shuffle listens; port 0 lets the system choose.
    pub data_bind: SocketAddr,
    /// Where others reach it.
    pub data_host: String,
    /// For network and file work.
    pub io: tokio::runtime::Handle,
    pub compression: Compression,
    /// How stores of checkpoints are reached (`s3.endpoint` and its like).
    pub store: StoreOptions,
    /// Where files of state are made and kept.
    pub scratch: PathBuf,
    pub memory: MemoryBudget,
    /// Copies of files of checkpoints on this machine.
    pub copies: Arc<LocalCopies>,
    /// Whether this process may still have effects outside.
    pub lease: Lease,
}

/// How batches are compressed between task managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
}

/// Subtasks to start here.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub job: JobId,
    pub job_name: String,
    pub attempt: AttemptId,
    /// Attempts before this one are over in all subtasks.
    pub first_attempt: AttemptId,
    /// The region that the attempt is of; `None` if it is all of the job.
    pub region: Option<RegionId>,
    pub plan: Arc<StreamPlan>,
    /// Ids of [`JobGraph::new`] of the plan.
    pub subtasks: Vec<SubtaskId>,
    /// URL of the directory of the job's checkpoints; `None` if it takes none.
    pub checkpoint_directory: Option<String>,
    /// URL of the directory whose `_metadata` the subtasks start from.
    pub restore: Option<String>,
    /// Of all subtasks of the attempt.
    pub locations: BTreeMap<SubtaskId, Location>,
}

/// Where a subtask runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub task_manager: TaskManagerId,
    /// `host:port` of its shuffle.
    pub data_address: String,
}

/// Where a subtask stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubtaskState {
    Running,
    /// Its input has ended; it waits for the checkpoint that publishes its tail.
    Finishing,
    Finished,
    Canceled,
    Failed {
        cause: String,
    },
}

/// Whose eyes lines are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineTarget {
    /// The task manager's standard output.
    Print,
    /// The client of a top-level SELECT.
    Collect,
}

/// Something happened in a subtask.
#[derive(Debug)]
pub enum ExecutorEvent {
    StateChanged {
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        state: SubtaskState,
    },
    /// A reader has nothing (more) to read.
    SplitRequest {
        job: JobId,
        attempt: AttemptId,
        operator: OperatorId,
        reader: SubtaskIndex,
    },
    /// A subtask's part of a checkpoint is complete and synced; or why it is not.
    Checkpointed {
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        result: Result<Box<SubtaskSnapshot>, String>,
    },
    Lines {
        job: JobId,
        attempt: AttemptId,
        target: LineTarget,
        lines: Vec<String>,
        permit: LinePermit,
    },
}

/// Why the executor cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("the shuffle cannot listen on {address} (taskmanager.bind-host, taskmanager.data.port): {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("attempt {attempt} of job {job} is already deployed here")]
    AlreadyDeployed { job: JobId, attempt: AttemptId },
    #[error("attempt {attempt} of job {job} is over: attempt {newest} is deployed here")]
    Stale { job: JobId, attempt: AttemptId, newest: AttemptId },
    #[error("the plan has no subtask {subtask}")]
    UnknownSubtask { subtask: SubtaskId },
    #[error("nobody says where subtask {subtask} runs")]
    NoLocation { subtask: SubtaskId },
    #[error("the operating system gives no thread for subtask {subtask}: {source}")]
    Thread { subtask: SubtaskId, source: std::io::Error },
    #[error("the operating system gives no thread for the shuffle: {0}")]
    ShuffleThread(std::io::Error),
}

/// A subtask from outside its thread.
#[derive(Clone)]
struct Subtask {
    inbox: Arc<Inbox>,
    metrics: Arc<TaskMetrics>,
    ended: Arc<Mutex<Option<Instant>>>,
}

/// An attempt of a region of a job.
struct Attempt {
    attempt: AttemptId,
    region: Option<RegionId>,
    /// Another one is deployed in its place.
    replaced: bool,
    copies: Option<Arc<JobCopies>>,
    graph: Arc<JobGraph>,
    plan: Arc<StreamPlan>,
    job_name: String,
    cancelled: Arc<AtomicBool>,
    subtasks: BTreeMap<SubtaskId, Subtask>,
}

/// The counters of a subtask, and what is counted.
pub struct SubtaskView {
    pub job_name: String,
    pub plan: Arc<StreamPlan>,
    pub graph: Arc<JobGraph>,
    pub metrics: SubtaskMetrics,
}

impl Attempt {
    /// Whether it is over because of what is being deployed: the same region, or all of the job, starts anew.
    fn is_replaced_by(&self, deployment: &Deployment) -> bool {
        self.attempt < deployment.first_attempt || self.region == deployment.region
    }

    fn is_over(&self, kept: Duration) -> bool {
        self.subtasks.values().all(|subtask| subtask.ended.lock().is_some_and(|ended| ended.elapsed() >= kept))
    }
}

/// Runs subtasks.
pub struct TaskExecutor {
    config: ExecutorConfig,
    network: Arc<Network>,
    events: mpsc::Sender<ExecutorEvent>,
    /// Attempts of each job, of all regions; old ones until they have ended.
    jobs: Mutex<BTreeMap<JobId, Vec<Attempt>>>,
    /// Where this process serves HTTP, once it does.
    pub http_address: OnceLock<String>,
}

impl TaskExecutor {
    /// Starts to listen. `events` is to be read until the executor is dropped.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(
        config: ExecutorConfig,
        events: mpsc::Sender<ExecutorEvent>,
    ) -> Result<Arc<Self>, ExecutorError> {
        let network = Network::start(&config)?;
        Ok(Arc::new(Self { config, network, events, jobs: Mutex::default(), http_address: OnceLock::new() }))
    }

    /// Where the shuffle is reached, as `host:port`.
    pub fn data_address(&self) -> String {
        self.network.address()
    }

    /// Starts subtasks. What fails later comes as an event.
    ///
    /// # Errors
    /// If nothing was started.
    pub fn deploy(&self, deployment: Deployment) -> Result<(), ExecutorError> {
        let graph = Arc::new(JobGraph::new(&deployment.plan));
        let Deployment { job, attempt, subtasks, .. } = &deployment;
        for subtask in subtasks {
            let task = graph.tasks.get(subtask.task.0 as usize);
            if task.is_none_or(|task| subtask.index.0 >= task.parallelism) {
                return Err(ExecutorError::UnknownSubtask { subtask: *subtask });
            }
        }
        let mut jobs = self.jobs.lock();
        let attempts = jobs.entry(job.clone()).or_default();
        if let Some(newest) = attempts.iter().map(|known| known.attempt).max() {
            if newest == *attempt {
                return Err(ExecutorError::AlreadyDeployed { job: job.clone(), attempt: newest });
            }
            if newest > *attempt {
                return Err(ExecutorError::Stale { job: job.clone(), attempt: *attempt, newest });
            }
        }
        // Other regions go on.
        for older in attempts.iter_mut().filter(|older| older.is_replaced_by(&deployment)) {
            cancel(older);
            older.replaced = true;
        }
        attempts.retain(|older| !(older.replaced && older.is_over(Duration::ZERO)));
        let replaced = attempts.iter().filter(|older| older.is_replaced_by(&deployment));
        let before = replaced.flat_map(|older| older.subtasks.values().map(|subtask| subtask.ended.clone()));
        let before = before.collect();
        let cancelled = Arc::new(AtomicBool::new(false));
        let options = CheckpointOptions::new(&deployment.plan.options);
        let is_checkpointed = deployment.checkpoint_directory.is_some();
        let barriers = if is_checkpointed { options.barriers() } else { Barriers::Aligned };
        let copies = self.copies(&copies_of(job, deployment.region), &options).filter(|_| is_checkpointed);
        let started = subtasks.iter().map(|id| {
            let operators = graph.tasks[id.task.0 as usize].operators.iter().copied();
            let subtask = Subtask {
                inbox: Arc::new(inbox(&graph, *id, barriers)),
                metrics: Arc::new(TaskMetrics::new(job.clone(), *attempt, *id, operators)),
                ended: Arc::default(),
            };
            (*id, subtask)
        });
        let subtasks: BTreeMap<SubtaskId, Subtask> = started.collect();
        for (id, subtask) in &subtasks {
            self.network.register(job, *attempt, &graph, *id, &subtask.inbox);
        }
        let attempt = Attempt {
            attempt: *attempt,
            region: deployment.region,
            replaced: false,
            copies: copies.clone(),
            graph: graph.clone(),
            plan: deployment.plan.clone(),
            job_name: deployment.job_name.clone(),
            cancelled: cancelled.clone(),
            subtasks,
        };
        let launch = Arc::new(Launch {
            connector: ConnectorContext {
                io: self.config.io.clone(),
                cancelled: cancelled.clone(),
                lease: self.config.lease.clone(),
                stores: self.config.store.clone(),
            },
            zone: crate::build::session_zone(&deployment.plan),
            inboxes: attempt.subtasks.iter().map(|(id, subtask)| (*id, subtask.inbox.clone())).collect(),
            here: self.config.id.clone(),
            network: self.network.clone(),
            events: self.events.clone(),
            store: self.config.store.clone(),
            scratch: self.config.scratch.clone(),
            memory: self.config.memory.clone(),
            restored: OnceLock::new(),
            copies,
            options,
            barriers,
            before,
            graph,
            deployment,
        });
        let mut failed = None;
        for (id, subtask) in &attempt.subtasks {
            if let Err(source) = launch.clone().spawn(*id, subtask) {
                failed = Some(ExecutorError::Thread { subtask: *id, source });
                break;
            }
        }
        if failed.is_some() {
            cancel(&attempt);
            for id in attempt.subtasks.keys() {
                self.network.unregister(&launch.deployment.job, attempt.attempt, *id);
            }
        }
        attempts.push(attempt);
        failed.map_or(Ok(()), Err)
    }

    /// Copies of a job's files here, if it is to keep or use any. That none can be kept is no reason to fail.
    fn copies(&self, job: &JobId, options: &CheckpointOptions) -> Option<Arc<JobCopies>> {
        if !options.local_backup && !options.from_local {
            return None;
        }
        let copies = self.config.copies.of_job(job);
        let told = copies.inspect_err(|error| tracing::warn!(%job, %error, "no local copies of state can be kept"));
        told.ok().map(Arc::new)
    }

    /// A job has ended for good: no copies of its state are needed any more.
    pub fn forget(&self, job: &JobId) {
        self.jobs.lock().get(job).into_iter().flatten().for_each(cancel);
        let (copies, job) = (self.config.copies.clone(), job.clone());
        self.config.io.spawn_blocking(move || {
            let of_regions = copies.jobs().into_keys().filter(|name| *name != job && job_of_copies(name) == job);
            of_regions.chain([job.clone()]).for_each(|name| copies.forget(&name));
        });
    }

    fn with_attempt<T>(&self, job: &JobId, attempt: AttemptId, use_it: impl FnOnce(&Attempt) -> T) -> Option<T> {
        let jobs = self.jobs.lock();
        jobs.get(job)?.iter().find(|known| known.attempt == attempt).map(use_it)
    }

    /// Mail for the source subtasks of an attempt; for one operator's or for all.
    fn mail_sources(&self, job: &JobId, attempt: AttemptId, mail: impl Fn() -> Mail) {
        self.with_attempt(job, attempt, |attempt| {
            let sources = attempt.subtasks.iter().filter(|(id, _)| attempt.graph.inputs(id.task).next().is_none());
            sources.for_each(|(_, subtask)| subtask.inbox.mail(mail()));
        });
    }

    /// Gives splits to a reader.
    pub fn assign_splits(
        &self,
        job: &JobId,
        attempt: AttemptId,
        operator: OperatorId,
        reader: SubtaskIndex,
        splits: Vec<Split>,
        no_more: bool,
    ) {
        self.with_attempt(job, attempt, |attempt| {
            let task = attempt.graph.tasks.iter().find(|task| task.operators.first() == Some(&operator));
            let id = task.map(|task| SubtaskId { task: task.id, index: reader });
            match id.and_then(|id| attempt.subtasks.get(&id)) {
                Some(subtask) => subtask.inbox.mail(Mail::AssignSplits { operator, splits, no_more }),
                None => tracing::warn!(%job, %operator, %reader, "splits came for a reader that is not here"),
            }
        });
    }

    /// Sources end as if their input had ended; with `drain` event time ends too.
    pub fn stop_sources(&self, job: &JobId, attempt: AttemptId, drain: bool) {
        self.mail_sources(job, attempt, || Mail::StopSources { drain });
    }

    /// Sources take their part of a checkpoint; with `stop` they end after it.
    pub fn trigger_checkpoint(&self, job: &JobId, attempt: AttemptId, barrier: Barrier, stop: Option<bool>) {
        self.mail_sources(job, attempt, || Mail::TriggerCheckpoint { barrier: barrier.clone(), stop });
    }

    /// A checkpoint is complete: subtasks publish what waits for it.
    pub fn checkpoint_complete(&self, job: &JobId, attempt: AttemptId, checkpoint: CheckpointId) {
        self.mail_all(job, attempt, || Mail::CheckpointComplete(checkpoint));
    }

    /// A checkpoint will not be complete.
    pub fn checkpoint_aborted(&self, job: &JobId, attempt: AttemptId, checkpoint: CheckpointId) {
        self.mail_all(job, attempt, || Mail::CheckpointAborted(checkpoint));
    }

    fn mail_all(&self, job: &JobId, attempt: AttemptId, mail: impl Fn() -> Mail) {
        self.with_attempt(job, attempt, |attempt| {
            attempt.subtasks.values().for_each(|subtask| subtask.inbox.mail(mail()));
        });
    }

    /// Every subtask ends as soon as it can and tells so.
    pub fn cancel(&self, job: &JobId, attempt: AttemptId) {
        self.with_attempt(job, attempt, cancel);
    }

    /// Splits of the alignment group wait beyond this watermark.
    pub fn update_alignment(&self, job: &JobId, attempt: AttemptId, group: &str, max_watermark: i64) {
        self.mail_sources(job, attempt, || Mail::Alignment { group: group.to_owned(), max_watermark });
    }

    /// Ends all connections to other task managers: their subtasks and the ones here that talk to each
    /// other fail. Nothing can be sent or received afterwards.
    pub fn cut_connections(&self) {
        self.network.stop();
    }

    /// What is told of this process.
    pub fn process_status(&self) -> ProcessStatus {
        ProcessStatus { http_address: self.http_address.get().cloned(), memory: self.config.memory.usage() }
    }

    /// The counters of all subtasks of the newest attempts here, with what they count.
    pub fn views(&self) -> Vec<SubtaskView> {
        let jobs = self.jobs.lock();
        let newest = jobs.values().flatten().filter(|attempt| !attempt.replaced);
        let of_attempt = |attempt: &Attempt| {
            let view = |subtask: &Subtask| SubtaskView {
                job_name: attempt.job_name.clone(),
                plan: attempt.plan.clone(),
                graph: attempt.graph.clone(),
                metrics: subtask.metrics.snapshot(),
            };
            attempt.subtasks.values().map(view).collect::<Vec<_>>()
        };
        newest.flat_map(of_attempt).collect()
    }

    /// The counters of all subtasks that run or have ended some seconds ago at most.
    pub fn metrics(&self) -> Vec<SubtaskMetrics> {
        let mut jobs = self.jobs.lock();
        for attempts in jobs.values_mut() {
            attempts.retain(|attempt| !attempt.is_over(ENDED_KEPT));
        }
        jobs.retain(|_, attempts| !attempts.is_empty());
        let newest = jobs.values().flatten().filter(|attempt| !attempt.replaced);
        newest.flat_map(|attempt| attempt.subtasks.values().map(|subtask| subtask.metrics.snapshot())).collect()
    }
}

/// Between a job and one of its regions in the name that copies of the region's files are kept under.
const REGION_MARK: &str = "-region-";

/// What the copies of an attempt's files are kept under. Regions come and go without each other, each with
/// its own.
fn copies_of(job: &JobId, region: Option<RegionId>) -> JobId {
    region.map_or_else(|| job.clone(), |region| JobId(format!("{job}{REGION_MARK}{region}")))
}

/// The job whose copies are kept under a name.
pub fn job_of_copies(name: &JobId) -> JobId {
    match name.0.split_once(REGION_MARK) {
        Some((job, region)) if region.parse::<u32>().is_ok() => JobId(job.to_owned()),
        _ => name.clone(),
    }
}

/// The inbox of a subtask.
fn inbox(graph: &JobGraph, id: SubtaskId, barriers: Barriers) -> Inbox {
    match barriers {
        Barriers::Overtaking { after } => Inbox::overtaking(Overtaking::new(after, overtakable_channels(graph, id))),
        Barriers::Aligned | Barriers::AtLeastOnce => Inbox::new(input_channels(graph, id).len()),
    }
}

fn cancel(attempt: &Attempt) {
    if let Some(copies) = &attempt.copies {
        copies.close();
    }
    attempt.cancelled.store(true, Ordering::Relaxed);
    for subtask in attempt.subtasks.values() {
        subtask.inbox.mail(Mail::Cancel);
    }
}

impl Drop for TaskExecutor {
    fn drop(&mut self) {
        self.jobs.lock().values().flatten().for_each(cancel);
        self.network.stop();
    }
}
