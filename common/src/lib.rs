//! What every part of Tidemill shares: identifiers, types, time, key groups, the typed expression
//! IR and the stream plan.
//!
//! This crate holds vocabulary and pure rules. It does no I/O, starts no thread and knows no
//! connector, so that the planner, the control plane and the data plane can agree on it without
//! depending on each other.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod connector;
pub mod control;
pub mod durable;
pub mod expr;
pub mod faults;
pub mod hash;
pub mod ids;
pub mod job_graph;
pub mod key_group;
pub mod limits;
pub mod plan;
pub mod ports;
pub mod process_options;
pub mod regions;
pub mod stores;
pub mod suggest;
pub mod time;
pub mod types;
