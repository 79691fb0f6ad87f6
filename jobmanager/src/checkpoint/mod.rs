//! Checkpoints and savepoints: [`coordinator`] decides, [`driver`] does what it says from the master,
//! [`registry`] knows which files are still named, [`store`] reads, writes and deletes.

pub mod coordinator;
mod driver;
pub mod history;
pub mod metadata;
pub mod registry;
pub mod restore;
pub mod store;

use std::collections::BTreeMap;

use tidemill_common::checkpoint::{CheckpointOptions, CheckpointRetention};
use tidemill_common::control::{CheckpointHistory, JobState, RestoredOperator};
use tidemill_common::ids::{CheckpointId, JobId};
use tidemill_state::storage::{Directory, StorageError, StoreOptions};

use crate::command::Reply;
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use coordinator::{Coordinator, RequestId};

/// How a job's checkpoints are taken: its options, and directories that can be used.
#[derive(Clone, Debug)]
pub struct CheckpointPlan {
    pub options: CheckpointOptions,
    /// For the checkpoints of all jobs; `None` if the job takes none.
    pub directory: Option<Directory>,
    /// For savepoints that are asked for without a directory.
    pub savepoints: Option<Directory>,
    pub store: StoreOptions,
    pub restored: Option<RestoredFrom>,
    /// Ids of states from this one on were never used.
    pub next_state_id: u32,
}

/// The checkpoint or savepoint a job starts from.
#[derive(Clone, Debug)]
pub struct RestoredFrom {
    /// URL of its directory.
    pub location: String,
    /// URLs of the files it names.
    pub files: Vec<String>,
    /// What becomes of each operator.
    pub operators: Vec<RestoredOperator>,
}

impl CheckpointPlan {
    /// None are taken, whatever the interval.
    pub fn none(options: &BTreeMap<String, String>) -> Self {
        let options = CheckpointOptions { interval: None, ..CheckpointOptions::new(options) };
        Self {
            options,
            directory: None,
            savepoints: None,
            store: StoreOptions::new(),
            restored: None,
            next_state_id: 1,
        }
    }

    /// The directories that a job's options name, else those of the process.
    ///
    /// # Errors
    /// If one is no URL of a directory.
    pub fn new(options: &BTreeMap<String, String>, config: &JobManagerConfig) -> Result<Self, StorageError> {
        let options = CheckpointOptions::new(options);
        let open = |url: &str| Directory::open(url, &config.store);
        let directory = match options.interval {
            Some(_) => Some(open(options.directory.as_deref().unwrap_or(&config.checkpoints_directory))?),
            None => None,
        };
        let savepoints = options.savepoint_directory.as_deref().or(config.savepoints_directory.as_deref());
        let savepoints = savepoints.map(open).transpose()?;
        Ok(Self { options, directory, savepoints, store: config.store.clone(), restored: None, next_state_id: 1 })
    }
}

/// The checkpoints of one job, as the master holds them.
pub struct JobCheckpoints {
    pub coordinator: Coordinator,
    plan: CheckpointPlan,
    /// Of this job's checkpoints.
    directory: Option<Directory>,
    /// What waits until no enumerator is away.
    preparing: Option<CheckpointId>,
    requests: BTreeMap<RequestId, Reply<Result<String, JobManagerError>>>,
    requests_made: u64,
    /// When the coordinator is to be woken next.
    wake_ms: Option<i64>,
    /// How often files that nothing names were looked for in the present attempt, and when next.
    sweeps: u32,
    next_sweep_ms: i64,
    /// Whether it is not known which files a kept checkpoint names: none may be deleted for not being named.
    files_unknown: bool,
}

impl JobCheckpoints {
    /// For a new job. `first_id` was never used by it.
    pub fn new(job: &JobId, checkpoints: CheckpointPlan, first_id: u64) -> Self {
        Self {
            coordinator: Coordinator::new(checkpoints.options.clone(), first_id),
            directory: checkpoints.directory.as_ref().map(|directory| directory.child(&job.0)),
            plan: checkpoints,
            preparing: None,
            requests: BTreeMap::new(),
            requests_made: 0,
            wake_ms: None,
            sweeps: 0,
            next_sweep_ms: 0,
            files_unknown: false,
        }
    }

    /// Goes on with what was kept before a crash.
    pub fn recover(&mut self, first_id: u64, retained: Vec<coordinator::Retained>) {
        self.coordinator.recover(first_id, retained);
    }

    /// A checkpoint that is kept cannot be read.
    pub fn files_are_unknown(&mut self) {
        self.files_unknown = true;
    }

    /// The checkpoint or savepoint the job was submitted with.
    pub fn restored(&self) -> Option<&RestoredFrom> {
        self.plan.restored.as_ref()
    }

    /// Ids of states from this one on were never used.
    pub fn next_state_id(&self) -> u32 {
        self.plan.next_state_id
    }

    /// URL of the checkpoint or savepoint that the next attempt starts from.
    pub fn newest(&self) -> Option<String> {
        let own = self.coordinator.newest().map(|newest| newest.location.clone());
        own.or_else(|| self.plan.restored.as_ref().map(|restored| restored.location.clone()))
    }

    /// URL of the directory of the job's checkpoints; `None` if it takes none.
    pub fn directory(&self) -> Option<String> {
        self.directory.as_ref().map(Directory::url)
    }

    /// Whether checkpoints stay when the job ends so.
    fn retained_after(&self, state: JobState) -> bool {
        matches!(
            (self.plan.options.retention, state),
            (CheckpointRetention::RetainOnCancellation, JobState::Canceled | JobState::Failed)
                | (CheckpointRetention::RetainOnFailure, JobState::Failed)
        )
    }

    /// What is told of them.
    pub fn history(&self, job: &JobId) -> CheckpointHistory {
        CheckpointHistory {
            job_id: job.clone(),
            counts: self.coordinator.history.counts,
            restored: self.plan.restored.as_ref().map(|restored| restored.location.clone()),
            checkpoints: self.coordinator.history.latest().cloned().collect(),
        }
    }
}
