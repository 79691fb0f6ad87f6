//! The registry of functions: type inference as Flink does it, and vectorised evaluation.
//!
//! The planner binds SQL calls to typed [`tidemill_common::expr::Expr`]s with [`bind`]; task managers
//! compile expressions once per operator into an [`eval::Program`] and run it on every batch. Both
//! need it and neither may depend on the other, hence a crate of its own.
//!
//! A function is one entry of [`registry`]: its name, parameters, result type, kernel and
//! documentation stand together in `functions/`. Operators are entries like any other. What users bring
//! along in their own binaries is beside it, in [`own`].

pub mod bind;
pub mod calendar;
pub mod decimal;
pub mod docs;
pub mod eval;
pub mod format;
mod functions;
mod java_double;
mod java_math;
mod java_regex;
mod json;
pub mod own;
pub mod parse;
pub mod pattern;
mod registry;
