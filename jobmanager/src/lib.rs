//! The control plane: takes scripts, plans them, places their subtasks on task managers and watches
//! over them.
//!
//! The way of a job: [`rpc::jobs`] takes the script -> [`submit`] plans it and probes its tables ->
//! [`master`] asks [`scheduler`] for slots and [`job`]'s state machine for what to do next, and
//! talks to the task managers through [`rpc::gateway`]. [`splits`] hands out the parts of sources.
//!
//! All decisions are made by pure cores (`job::state_machine`, `scheduler`, `splits`, `alignment`,
//! `cluster`); the master, one task, holds them and does what they say.

mod alignment;
mod cluster;
mod command;
mod config;
mod error;
mod job;
mod master;
mod planning;
mod rows;
mod rpc;
mod scheduler;
mod server;
mod splits;
pub mod submit;

pub use config::JobManagerConfig;
pub use error::JobManagerError;
pub use server::JobManager;
