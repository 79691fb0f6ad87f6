//! `AND`, `OR`, `NOT` and the conditional functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::Int64Type;

use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use crate::bind::{BindError, any_nullable, call, cast_to};
use crate::eval::value::Value;
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Frame, Function, Kernel, Param, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("AND", Category::Logical, &[], returns::boolean, lazily)
        .doc("a AND b", "Three-valued AND; b is not evaluated where a is FALSE."),
    Function::new("OR", Category::Logical, &[], returns::boolean, lazily)
        .doc("a OR b", "Three-valued OR; b is not evaluated where a is TRUE."),
    Function::new("NOT", Category::Logical, &[], returns::boolean, not).doc("NOT a", "Negation; UNKNOWN stays."),
    Function::new("COALESCE", Category::Conditional, &[], returns::first, lazily)
        .alias(&["IFNULL"])
        .doc("COALESCE(a, b, ...)", "The first argument that is not NULL; later ones are not evaluated."),
    Function::new("IF", Category::Conditional, &[], returns::first, lazily)
        .doc("IF(condition, a, b)", "a where the condition is TRUE, else b."),
    Function::new("NULLIF", Category::Conditional, &[], returns::first, lazily)
        .doc("NULLIF(a, b)", "NULL if a = b, else a."),
    Function::new("GREATEST", Category::Conditional, &[Param::Any], returns::common, greatest)
        .variadic()
        .custom(bind_greatest)
        .doc("GREATEST(a, b, ...)", "The largest argument; NULL if one is NULL."),
    Function::new("LEAST", Category::Conditional, &[Param::Any], returns::common, least)
        .variadic()
        .custom(bind_least)
        .doc("LEAST(a, b, ...)", "The smallest argument; NULL if one is NULL."),
    // What the planner puts over a subquery that is a value: the value, and how many rows it has.
    Function::new("$SINGLE_VALUE", Category::Conditional, &[Param::Any, Param::BigInt], returns::first, single_value)
        .may_be_null()
        .can_fail(),
];

fn single_value(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| {
        let rows = args[1].primitives::<Int64Type>()?;
        if (0..frame.rows).any(|row| rows.get(row).is_some_and(|rows| rows > 1)) {
            return Err(EvalError::new("a subquery that is used as a value has more than one row"));
        }
        args[0].clone().into_array(frame.rows)
    }))
}

/// Evaluated by the program itself, never as a kernel.
fn lazily(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Err(CompileError::invalid("this function is planned as another expression"))
}

fn not(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, _| {
        let array = args[0].array();
        let array = array.as_boolean_opt().ok_or_else(|| EvalError::new("NOT takes a BOOLEAN"))?;
        Ok(Arc::new(compute::not(array)?))
    }))
}

fn bind_extreme(name: &'static str, args: Vec<Expr>) -> Result<Expr, BindError> {
    if args.is_empty() {
        return Err(BindError::new(format!("{name} takes at least 1 argument")));
    }
    let mut common = returns::common(&args)?;
    if common == LogicalType::Float && args.iter().any(|arg| arg.data_type().logical == LogicalType::Double) {
        common = LogicalType::Double;
    }
    if matches!(common, LogicalType::Array(_) | LogicalType::Map(..) | LogicalType::Multiset(_) | LogicalType::Row(_)) {
        return Err(BindError::new(format!("{name} does not take values of type {common}: they have no order")));
    }
    let args = args.into_iter().map(|arg| cast_to(arg, &common)).collect::<Result<Vec<_>, _>>()?;
    let nullable = any_nullable(&args);
    Ok(call(name, args, common.with_nullable(nullable)))
}

fn bind_greatest(args: Vec<Expr>) -> Result<Expr, BindError> {
    bind_extreme("GREATEST", args)
}

fn bind_least(args: Vec<Expr>) -> Result<Expr, BindError> {
    bind_extreme("LEAST", args)
}

fn greatest(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| extreme(args, frame, std::cmp::Ordering::Greater)))
}

fn least(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| extreme(args, frame, std::cmp::Ordering::Less)))
}

fn extreme(args: &[Value], frame: &Frame<'_>, wanted: std::cmp::Ordering) -> Result<ArrayRef, EvalError> {
    let rows = frame.rows;
    let mut best = args[0].clone().into_array(rows)?;
    for arg in &args[1..] {
        let other = arg.clone().into_array(rows)?;
        let comparator = make_comparator(&other, &best, SortOptions::default())?;
        let picks: Vec<(usize, usize)> = (0..rows)
            .map(|row| {
                let other_wins = other.is_null(row) || (!best.is_null(row) && comparator(row, row) == wanted);
                (usize::from(other_wins), row)
            })
            .collect();
        best = compute::interleave(&[best.as_ref(), other.as_ref()], &picks)?;
    }
    Ok(best)
}
