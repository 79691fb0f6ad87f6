//! The data plane: tasks, operators and the shuffle.
//!
//! A record's way: [`source`] -> [`chain`] of [`operators`] -> [`shuffle`] -> operators -> sink. A
//! [`task`] is one thread that drives a chain; the [`executor`] starts and stops them; [`control`]
//! takes orders from the job manager.

pub mod aligner;
mod build;
pub mod chain;
pub mod checkpoint;
pub mod control;
pub mod executor;
mod in_flight;
pub mod memory;
pub mod metrics;
pub mod operator;
pub mod operators;
pub mod shuffle;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod task;
pub mod watermark;
