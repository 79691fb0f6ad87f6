//! The control plane: takes scripts, plans them, places their subtasks on task managers and watches
//! over them.
//!
//! The way of a job: [`rpc::jobs`] takes the script -> [`submit`] plans it and probes its tables ->
//! [`master`] asks [`scheduler`] for slots and [`job`]'s state machine for what to do next, and
//! talks to the task managers through [`rpc::gateway`]. [`splits`] hands out the parts of sources,
//! [`checkpoint`] takes checkpoints and savepoints.
//!
//! All decisions are made by pure cores (`job::state_machine`, `scheduler`, `splits`, `split_tracker`, `alignment`,
//! `cluster`, `checkpoint::coordinator`); the master, one task, holds them and does what they say.

mod alignment;
mod checkpoint;
mod cluster;
mod command;
mod config;
mod error;
mod http;
mod job;
mod jobstore;
mod master;
mod planning;
mod recovery;
mod rows;
mod rpc;
mod scheduler;
mod server;
mod split_tracker;
mod splits;
pub mod submit;
mod views;

/// The pure cores, for tests that drive them together.
#[doc(hidden)]
pub mod cores {
    pub use crate::checkpoint::coordinator::{Action, Collected, Coordinator, Event, RequestId, Retained, Standing};
    pub use crate::checkpoint::metadata::{assemble, files_of, files_of_metadata, locations_of};
    pub use crate::checkpoint::registry::SharedFiles;
    pub use crate::job::{Executions, JobAction, JobEvent, JobMachine, Placement, RestartStrategy};
    pub use crate::scheduler::{Homes, place, slots_kept};
    pub use crate::split_tracker::SplitTracker;
}

pub use config::JobManagerConfig;
pub use error::JobManagerError;
pub use http::JOB_MANAGER_METRICS;
pub use server::JobManager;
