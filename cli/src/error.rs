//! Why a command failed.

use std::path::PathBuf;

use tidemill_common::process_options::ConfigError;
use tidemill_jobmanager::JobManagerError;
use tidemill_taskmanager::control::TaskManagerError;

/// Exit codes, as `tidemill --help` tells them. 2 is the command line's own.
const FAILED: u8 = 1;
const UNREACHABLE: u8 = 3;
const TIMED_OUT: u8 = 4;

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("cannot start threads: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    ConfigFile { path: PathBuf, reason: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    JobManager(#[from] JobManagerError),
    #[error(transparent)]
    TaskManager(#[from] TaskManagerError),
    #[error(transparent)]
    Storage(#[from] tidemill_state::storage::StorageError),
    /// Already rendered for people.
    #[error("{0}")]
    Script(String),
    #[error(
        "no job manager answers at {address}: {reason}; start one with `tidemill cluster`, or name it with --jobmanager-rpc-address and --jobmanager-rpc-port"
    )]
    Connect { address: String, reason: String },
    #[error("{what} took longer than {seconds} s (client.timeout)")]
    Timeout { what: &'static str, seconds: u64 },
    #[error("{0}")]
    Refused(String),
    #[error("the job manager's answer cannot be read: {0}")]
    Protocol(String),
    #[error("the rows of a SELECT need a client that fetches them; submit it without --detach")]
    DetachedSelect,
    #[error("cannot start a process of the cluster: {0}")]
    Spawn(#[source] std::io::Error),
    #[error("the {process} ended: {status}")]
    ProcessEnded { process: String, status: String },
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error("{0}")]
    Encode(#[from] serde_json::Error),
}

impl CliError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Connect { .. } => UNREACHABLE,
            Self::Timeout { .. } => TIMED_OUT,
            _ => FAILED,
        }
    }
}
