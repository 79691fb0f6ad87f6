//! From SQL names and argument expressions to typed calls.

mod aggregates;
mod cast;
mod fold;
mod literals;
mod operators;
mod types;

use tidemill_common::expr::{Expr, FunctionId, Scalar};
use tidemill_common::suggest;
use tidemill_common::types::{DataType, LogicalType};

use crate::{own, registry};

pub use aggregates::{BoundAggregate, aggregate_names, bind_aggregate, is_aggregate};
pub use cast::{bind_cast, coerce};
pub(crate) use cast::{cast_to, check_cast};
pub use fold::{fold_constants, is_deterministic};
pub use literals::{literal_interval, literal_number, literal_string, literal_typed};
pub use types::common_type;
pub(crate) use types::{
    as_decimal, common_logical, decimal_add, decimal_divide, decimal_multiply, decimal_remainder, decimal_round,
    wider_type,
};

/// Why a call or cast cannot be typed. The planner adds the position.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct BindError {
    /// For people: what was written, what was expected, a suggestion.
    pub message: String,
}

impl BindError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Binds a scalar function or an operator by its SQL spelling (`+`, `=`, `AND`, `IS NULL`, `LIKE`,
/// `IN`, `BETWEEN`, `ITEM` for `a[1]`, ...): infers the type as Flink does and inserts the casts Flink
/// would insert. `name` in any case.
///
/// # Errors
/// If there is no such function, or if it does not take arguments of these types.
pub fn bind_call(name: &str, args: Vec<Expr>) -> Result<Expr, BindError> {
    let upper = name.to_uppercase();
    if let Some(bound) = operators::bind(&upper, &args) {
        return bound;
    }
    match registry::find(&upper) {
        Some(function) => function.bind(args),
        None if is_aggregate(&upper) => Err(BindError::new(format!(
            "{upper} is an aggregate function: it cannot stand here, among values of one row"
        ))),
        None => own::bind_scalar(&upper, args).unwrap_or_else(|| {
            let hint = match suggest::nearest(&upper, own::callable_names()) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            Err(BindError::new(format!("unknown function {upper}{hint}")))
        }),
    }
}

/// Binds a searched `CASE`. The result has the least restrictive type all branches fit in.
///
/// # Errors
/// If a condition is not BOOLEAN, or the branches have no common type.
pub fn bind_case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Result<Expr, BindError> {
    let mut types: Vec<DataType> = branches.iter().map(|(_, value)| value.data_type().clone()).collect();
    types.push(match &otherwise {
        Some(value) => value.data_type().clone(),
        None => LogicalType::Null.nullable(),
    });
    let Some(data_type) = common_type(&types) else {
        return Err(BindError::new(format!(
            "the branches of CASE have no common type: {}; add a CAST",
            list_types(types.iter())
        )));
    };
    let mut bound = Vec::with_capacity(branches.len());
    for (condition, value) in branches {
        let condition = boolean(condition, "WHEN")?;
        bound.push((condition, cast_to(value, &data_type.logical)?));
    }
    let otherwise = match otherwise {
        Some(value) => Some(Box::new(cast_to(value, &data_type.logical)?)),
        None => None,
    };
    Ok(Expr::Case { branches: bound, otherwise, data_type })
}

/// Binds the access to a field of a `ROW`: `address.city`.
///
/// # Errors
/// If `row` is not a ROW or has no such field.
pub fn bind_field(row: Expr, field: &str) -> Result<Expr, BindError> {
    let LogicalType::Row(fields) = &row.data_type().logical else {
        return Err(BindError::new(format!("a value of type {} has no field '{field}'", row.data_type().logical)));
    };
    let Some(index) = fields.iter().position(|candidate| candidate.name == field) else {
        let hint = match suggest::nearest(field, fields.iter().map(|candidate| candidate.name.as_str())) {
            Some(near) => format!("; did you mean '{near}'?"),
            None => String::new(),
        };
        return Err(BindError::new(format!("{} has no field '{field}'{hint}", row.data_type().logical)));
    };
    let found = &fields[index].data_type;
    let data_type = found.logical.clone().with_nullable(found.nullable || row.data_type().nullable);
    let index = Expr::literal(Scalar::Int(index as i32), LogicalType::Int);
    Ok(call("FIELD", vec![row, index], data_type))
}

/// Every scalar function's name (not operators), sorted.
pub fn function_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = registry::all()
        .flat_map(|function| std::iter::once(function.name).chain(function.aliases.iter().copied()))
        .filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()) && !name.contains(' '))
        .filter(|name| !matches!(*name, "FIELD" | "NEGATE" | "AND" | "OR" | "NOT" | "LIKE" | "IN" | "ITEM"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A call of version 1 of a registered function.
pub(crate) fn call(name: &'static str, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr::Call { function: FunctionId { name: name.into(), version: 1 }, args, data_type }
}

/// `expr` as a BOOLEAN; a bare NULL becomes UNKNOWN.
pub(crate) fn boolean(expr: Expr, place: &str) -> Result<Expr, BindError> {
    match expr.data_type().logical {
        LogicalType::Boolean => Ok(expr),
        LogicalType::Null => cast_to(expr, &LogicalType::Boolean),
        _ => Err(BindError::new(format!("{place} takes a BOOLEAN, not {}", expr.data_type().logical))),
    }
}

/// Whether any of these can be NULL.
pub(crate) fn any_nullable(args: &[Expr]) -> bool {
    args.iter().any(|arg| arg.data_type().nullable)
}

/// `INT, STRING`.
pub(crate) fn list_types<'a>(types: impl Iterator<Item = &'a DataType>) -> String {
    types.map(|data_type| data_type.logical.to_string()).collect::<Vec<_>>().join(", ")
}

/// The text of a string literal.
pub(crate) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal { value: Scalar::String(text), .. } => Some(text),
        Expr::Cast { input, .. } if expr.data_type().logical.is_string() => literal_text(input),
        _ => None,
    }
}

/// The value of an integer literal (also a negated one).
pub(crate) fn literal_integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal { value, .. } => match value {
            Scalar::TinyInt(value) => Some(i64::from(*value)),
            Scalar::SmallInt(value) => Some(i64::from(*value)),
            Scalar::Int(value) => Some(i64::from(*value)),
            Scalar::BigInt(value) => Some(*value),
            _ => None,
        },
        Expr::Call { function, args, .. } if function.name == "NEGATE" => literal_integer(&args[0])?.checked_neg(),
        Expr::Cast { input, data_type, .. } if data_type.logical.is_integer() => literal_integer(input),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
