//! The closed registry of functions: type inference as Flink does it, and vectorised evaluation.
//!
//! The planner binds SQL calls to typed [`Expr`]s with [`bind`]; task managers compile expressions
//! once per operator into a [`eval::Program`] and run it on every batch. Both need it and neither may
//! depend on the other, hence a crate of its own.

use tidemill_common::expr::Expr;
use tidemill_common::plan::AggregateFunction;
use tidemill_common::types::DataType;

pub mod bind {
    //! From SQL names and argument expressions to typed calls.
    use super::*;

    /// Why a call or cast cannot be typed. The planner adds the position.
    #[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
    #[error("{message}")]
    pub struct BindError {
        /// For people: what was written, what was expected, a suggestion.
        pub message: String,
    }

    /// Binds a scalar function or operator (`+`, `=`, `AND`, `NOT`, `IS NULL`, `LIKE`, `BETWEEN` is
    /// rewritten by the planner, `ITEM` for `a[1]`, `FIELD` is [`bind_field`]): infers the type as Flink does, inserts the casts
    /// Flink would insert. `name` in any case.
    pub fn bind_call(name: &str, args: Vec<Expr>) -> Result<Expr, BindError> {
        let _ = args;
        Err(BindError { message: format!("unknown function '{name}'") })
    }

    /// An aggregate call, typed.
    #[derive(Debug, Clone, PartialEq)]
    pub struct BoundAggregate {
        pub function: AggregateFunction,
        /// Arguments to evaluate per row, with casts inserted (without constant parameters such as
        /// the fractions of PERCENTILE).
        pub args: Vec<Expr>,
        pub return_type: DataType,
    }
}
