//! Evaluation: expressions compiled once per operator, run on every batch.

mod cast;
mod program;
mod scalar;
pub(crate) mod value;

use arrow::error::ArrowError;

pub(crate) use cast::{compile_cast, compile_padded_text, timestamp_column, timestamps};
pub use program::{Predicate, Program};
pub(crate) use scalar::{literal_array, scalar_at};

/// What expressions know besides their columns; one for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalContext {
    /// The clock, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The session's zone (`table.local-time-zone`).
    pub zone: chrono_tz::Tz,
}

/// Why an expression cannot be compiled for a schema.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// The plan names a function this binary does not have.
    #[error("function {name} version {version} is not known to this binary; use the version that made the plan")]
    UnknownFunction { name: String, version: u16 },
    /// The plan and the input disagree.
    #[error("the expression reads column {index} as {planned}, but the input has {actual}")]
    ColumnMismatch { index: usize, planned: String, actual: String },
    /// A constant argument is not valid, for people.
    #[error("{reason}")]
    InvalidArgument { reason: String },
}

impl CompileError {
    /// A constant argument is not valid.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidArgument { reason: reason.into() }
    }
}

/// Why the evaluation failed, for people. The operator adds where.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct EvalError {
    pub reason: String,
}

impl EvalError {
    /// An error with this text.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl From<ArrowError> for EvalError {
    fn from(error: ArrowError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests;
