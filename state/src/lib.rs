//! Keyed state in memory: tables that give every key a dense slot, and accumulators over those
//! slots.
//!
//! An operator interns the keys of a batch ([`KeyTable`]) and hands the slots to its accumulators
//! ([`accumulator::Accumulator`]), each of which keeps one column of state. The hottest shape, one
//! fixed-width key with integer aggregates, has a table of its own that holds the accumulators
//! beside the key ([`fused::FusedTable`]).

pub mod accumulator;
mod encoding;
pub mod fixed;
pub mod fused;
mod key_table;
pub mod keyed;
mod rows;
mod slot_map;
pub mod storage;

pub use key_table::{KeyBatch, KeyTable};
pub use rows::Rows;

/// Why a state cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The planner asks for an aggregate that this crate cannot compute.
    #[error("{function}({types}) cannot be computed: {reason}")]
    UnsupportedAggregate { function: String, types: String, reason: &'static str },
    /// The plan names one of a user's own aggregates, and it is another user's binary.
    #[error(
        "the aggregate function {name} version {version} is not in this binary; run the binary whose registry has it in the whole cluster"
    )]
    UnknownAggregate { name: String, version: u16 },
}
