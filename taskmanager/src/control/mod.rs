//! The task manager's side of the control plane: it registers with the job manager, sends
//! heartbeats, does what it is told on the [`TaskExecutor`] and tells what happens there.

mod connection;
pub mod credit;
mod printer;
mod report;
mod session;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_common::control::{LocalState, Registration};
use tidemill_common::ids::{JobId, SubtaskId, TaskManagerId};
use tidemill_common::process_options::{ConfigError, ProcessConfig};
use tidemill_connectors::lease::Lease;
use tidemill_http::{Hosts, HttpError, HttpServer};
use tidemill_state::storage::{LocalCopies, StoreOptions};
use tokio::sync::mpsc;

use crate::executor::{Compression, ExecutorConfig, ExecutorError, ExecutorEvent, TaskExecutor, job_of_copies};
use crate::memory::MemoryBudget;
use crate::status::Status;
use connection::connect;
use session::{Outcome, Session};

pub use printer::PrintTarget;

/// Events of subtasks that may wait for the control side.
const EVENTS_MAX: usize = 1_024;
/// Waits between tries to reach the job manager: doubled from the first to the last.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LAST: Duration = Duration::from_secs(2);
/// How long the end of a process waits for whoever reads its standard output.
const PRINT_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a task manager.
#[derive(Clone)]
pub struct TaskManagerConfig {
    /// The job manager's gRPC services, as `host:port`.
    pub jobmanager: String,
    /// Where the shuffle listens; port 0 lets the system choose.
    pub data_bind: SocketAddr,
    /// Where others reach it.
    pub data_host: String,
    pub slots: u32,
    pub compression: Compression,
    /// How stores of checkpoints are reached.
    pub store: StoreOptions,
    /// Where files of state are made and kept.
    pub scratch: PathBuf,
    /// Where copies of files of checkpoints are kept for jobs that want them.
    pub copies: PathBuf,
    /// Whose copies those are: other clusters do not find them.
    pub cluster: String,
    /// Bytes that this process may use; `None` for a part of what the machine has.
    pub memory: Option<u64>,
    pub heartbeat_timeout: Duration,
    pub registration_timeout: Duration,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
    /// Names by which that is known.
    pub hosts: Hosts,
    /// Where `print` tables write.
    pub print: PrintTarget,
    /// How long the end waits for what was printed to be written; `None` for as long as it takes.
    pub print_timeout: Option<Duration>,
}

impl TaskManagerConfig {
    /// Reads the options of the process.
    pub fn from_process(config: &ProcessConfig) -> Result<Self, ConfigError> {
        let text = |key: &str| config.text(key).unwrap_or_default().to_owned();
        let scratch = config.text("io.tmp.dirs").map_or_else(std::env::temp_dir, PathBuf::from);
        let copies = ["execution.checkpointing.local-backup.dirs", "taskmanager.state.local.root-dirs"];
        Ok(Self {
            jobmanager: format!("{}:{}", text("jobmanager.rpc.address"), config.port("jobmanager.rpc.port")),
            data_bind: SocketAddr::new(
                config.listen_address("taskmanager.bind-host")?,
                config.port("taskmanager.data.port"),
            ),
            data_host: text("taskmanager.host"),
            slots: config.integer("taskmanager.numberOfTaskSlots") as u32,
            compression: match text("taskmanager.network.compression").to_lowercase().as_str() {
                "lz4" => Compression::Lz4,
                _ => Compression::None,
            },
            store: config.store_options(),
            copies: copies.iter().find_map(|key| config.text(key)).map_or_else(|| scratch.clone(), PathBuf::from),
            scratch,
            cluster: format!("{}:{}", text("jobmanager.rpc.address"), config.port("jobmanager.rpc.port")),
            memory: config.memory_size("taskmanager.memory.size"),
            heartbeat_timeout: config.duration("heartbeat.timeout"),
            registration_timeout: config.duration("taskmanager.registration.timeout"),
            http: Some(SocketAddr::new(
                config.listen_address("rest.bind-address")?,
                config.port("taskmanager.rest.port"),
            )),
            hosts: Hosts::new(config.text("rest.address").unwrap_or_default()),
            print: PrintTarget::stdout(),
            print_timeout: Some(PRINT_TIMEOUT),
        })
    }
}

/// Why a task manager ended.
#[derive(Debug, thiserror::Error)]
pub enum TaskManagerError {
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the job manager at {jobmanager} refused this task manager: {reason}")]
    Refused { jobmanager: String, reason: String },
    #[error(
        "no job manager answered at {jobmanager} for {seconds} s (taskmanager.registration.timeout): {reason}; check jobmanager.rpc.address and jobmanager.rpc.port"
    )]
    Unreachable { jobmanager: String, seconds: u64, reason: String },
    #[error("'{jobmanager}' is not the address of a job manager: {reason}")]
    Address { jobmanager: String, reason: String },
}

/// A task manager: the executor, and the conversation with the job manager.
pub struct TaskManager {
    config: TaskManagerConfig,
    executor: Arc<TaskExecutor>,
    events: mpsc::Receiver<ExecutorEvent>,
    registration: Registration,
    copies: Arc<LocalCopies>,
    lease: Lease,
    /// Serves as long as it is there.
    _http: Option<HttpServer>,
}

impl TaskManager {
    /// Starts the executor, under a new id.
    pub async fn start(config: TaskManagerConfig, id: TaskManagerId) -> Result<Self, TaskManagerError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        // Never longer than the job manager waits before it replaces this process.
        let lease = Lease::new(config.heartbeat_timeout);
        let copies = Arc::new(LocalCopies::new(&config.copies, &config.cluster));
        let executor_config = ExecutorConfig {
            copies: copies.clone(),
            id: id.clone(),
            data_bind: config.data_bind,
            data_host: config.data_host.clone(),
            io: tokio::runtime::Handle::current(),
            compression: config.compression,
            store: config.store.clone(),
            scratch: config.scratch.clone(),
            memory: config.memory.map_or_else(MemoryBudget::of_machine, MemoryBudget::new),
            lease: lease.clone(),
        };
        let executor = TaskExecutor::start(executor_config, sender).await?;
        let http = match config.http {
            Some(address) => {
                let status = Status::start(id.clone(), config.slots, executor.clone(), lease.clone());
                let server = HttpServer::start(address, "taskmanager.rest.port", config.hosts.clone(), status).await?;
                // Others may reach it by the name by which they reach the shuffle.
                let host =
                    if address.ip().is_unspecified() { config.data_host.clone() } else { address.ip().to_string() };
                let _ = executor.http_address.set(format!("{host}:{}", server.address().port()));
                Some(server)
            }
            None => None,
        };
        let registration = Registration {
            id,
            data_address: executor.data_address(),
            slots: config.slots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            local_state: LocalState::default(),
        };
        Ok(Self { config, executor, events, registration, copies, lease, _http: http })
    }

    /// Serves the job manager, also when it comes back, until `stop` ends; then cancels what still
    /// runs. Gives an error when the job manager refuses or stays away.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), TaskManagerError> {
        tokio::pin!(stop);
        let mut session = Session::new(self.executor.clone(), self.config.print.clone(), self.lease.clone());
        let ended = self.serve(&mut session, &mut stop).await;
        let limit = self.config.print_timeout.unwrap_or(Duration::MAX);
        if tokio::time::timeout(limit, session.close()).await.is_err() {
            tracing::warn!("standard output is not read; the last lines of print tables are dropped");
        }
        ended
    }

    /// What there is on this machine of the state of jobs.
    async fn local_state(&self) -> LocalState {
        let copies = self.copies.clone();
        let found = tokio::task::spawn_blocking(move || copies.jobs()).await.unwrap_or_default();
        let mut jobs: BTreeMap<JobId, BTreeSet<SubtaskId>> = BTreeMap::new();
        for (name, subtasks) in found {
            jobs.entry(job_of_copies(&name)).or_default().extend(subtasks);
        }
        let jobs = jobs.into_iter().map(|(job, subtasks)| (job, subtasks.into_iter().collect())).collect();
        LocalState { id: self.copies.id().to_owned(), jobs }
    }

    async fn serve(
        &mut self,
        session: &mut Session,
        mut stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(), TaskManagerError> {
        let mut last_contact = Instant::now();
        let mut wait = RECONNECT_FIRST;
        loop {
            self.registration.local_state = self.local_state().await;
            // A job manager that does not answer must not keep a signal or a subtask waiting.
            let tried = {
                let connecting = connect(&self.config.jobmanager, &self.registration);
                tokio::pin!(connecting);
                loop {
                    tokio::select! {
                        tried = &mut connecting => break tried,
                        () = session.discard(&mut self.events) => {}
                        () = &mut stop => return Ok(()),
                    }
                }
            };
            let reason = match tried {
                Ok(connection) => {
                    wait = RECONNECT_FIRST;
                    let outcome = session.serve(connection, &mut self.events, &mut stop).await;
                    last_contact = Instant::now();
                    match outcome {
                        Outcome::Stopped => return Ok(()),
                        Outcome::Refused(reason) => {
                            return Err(TaskManagerError::Refused {
                                jobmanager: self.config.jobmanager.clone(),
                                reason,
                            });
                        }
                        Outcome::Lost(reason) => {
                            tracing::warn!(reason, "lost the job manager; its jobs are cancelled here");
                            reason
                        }
                    }
                }
                Err(connection::ConnectError::Address(reason)) => {
                    return Err(TaskManagerError::Address { jobmanager: self.config.jobmanager.clone(), reason });
                }
                Err(connection::ConnectError::Unreachable(reason)) => {
                    tracing::debug!(reason, "cannot reach the job manager");
                    reason
                }
            };
            if last_contact.elapsed() > self.config.registration_timeout {
                return Err(TaskManagerError::Unreachable {
                    jobmanager: self.config.jobmanager.clone(),
                    seconds: self.config.registration_timeout.as_secs(),
                    reason,
                });
            }
            let pause = tokio::time::sleep(wait);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = session.discard(&mut self.events) => {}
                    () = &mut stop => return Ok(()),
                }
            }
            wait = (wait * 2).min(RECONNECT_LAST);
        }
    }
}
