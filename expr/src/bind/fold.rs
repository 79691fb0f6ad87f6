//! Evaluation of constant expressions at plan time.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use std::sync::Arc;
use tidemill_common::expr::{Expr, Scalar};

use crate::eval::{self, EvalContext, Program};
use crate::own;
use crate::registry::{self, Volatility};

/// Whether the value depends on nothing but the columns: no clock, no randomness.
pub fn is_deterministic(expr: &Expr) -> bool {
    let mut deterministic = true;
    expr.visit(&mut |part| {
        if let Expr::Call { function, .. } = part {
            deterministic &= match registry::find(&function.name) {
                Some(entry) => entry.volatility == Volatility::Immutable,
                None => own::is_deterministic(function),
            };
        }
    });
    deterministic
}

/// Replaces parts that depend on no column by their value. The clock is never read; what would fail
/// is left as it is, to fail (or not be reached) at run time.
pub fn fold_constants(expr: Expr, zone: &str) -> Expr {
    let Ok(zone) = zone.parse::<chrono_tz::Tz>() else { return expr };
    fold(expr, &EvalContext { now_ms: 0, zone })
}

fn fold(expr: Expr, context: &EvalContext) -> Expr {
    let expr = match expr {
        Expr::Column { .. } | Expr::Literal { .. } => return expr,
        Expr::Call { function, args, data_type } => {
            let args: Vec<Expr> = args.into_iter().map(|arg| fold(arg, context)).collect();
            Expr::Call { function, args, data_type }
        }
        Expr::Cast { input, data_type, try_cast } => {
            Expr::Cast { input: Box::new(fold(*input, context)), data_type, try_cast }
        }
        Expr::Case { branches, otherwise, data_type } => {
            let branches =
                branches.into_iter().map(|(when, then)| (fold(when, context), fold(then, context))).collect();
            let otherwise = otherwise.map(|value| Box::new(fold(*value, context)));
            Expr::Case { branches, otherwise, data_type }
        }
    };
    let constant = match &expr {
        Expr::Call { args, .. } => args.iter().all(is_literal),
        Expr::Cast { input, .. } => is_literal(input),
        Expr::Case { branches, otherwise, .. } => {
            branches.iter().all(|(when, then)| is_literal(when) && is_literal(then))
                && otherwise.as_deref().is_none_or(is_literal)
        }
        _ => false,
    };
    if let Expr::Call { function, args, data_type } = &expr
        && matches!(&*function.name, "+" | "-" | "*" | "/" | "=" | "<>" | "<" | "<=" | ">" | ">=")
        && args.iter().any(|arg| matches!(arg, Expr::Literal { value: Scalar::Null, .. }))
    {
        // As in Calcite, NULL makes it NULL without a look at the other side, which might fail.
        return Expr::Literal { value: Scalar::Null, data_type: data_type.logical.clone().nullable() };
    }
    if constant && is_deterministic(&expr) {
        if let Some(literal) = evaluate(&expr, context) {
            return literal;
        }
        return expr;
    }
    simplify(expr)
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal { .. })
}

fn evaluate(expr: &Expr, context: &EvalContext) -> Option<Expr> {
    let schema = Arc::new(Schema::empty());
    let program = Program::compile(std::slice::from_ref(expr), &schema).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).ok()?;
    let column = program.evaluate(&batch, context).ok()?.pop()?;
    let value = eval::scalar_at(&column, 0)?;
    let data_type = expr.data_type().clone();
    let nullable = value == Scalar::Null;
    Some(Expr::Literal { value, data_type: data_type.logical.with_nullable(nullable) })
}

/// `AND` and `OR` with a constant side, `CASE` with constant conditions.
fn simplify(expr: Expr) -> Expr {
    match expr {
        Expr::Call { function, mut args, data_type } if function.name == "AND" || function.name == "OR" => {
            // AND with FALSE, OR with TRUE: the constant is the answer; otherwise the other side is.
            let decides = function.name == "OR";
            for index in 0..2 {
                if let Expr::Literal { value: Scalar::Boolean(value), .. } = &args[index] {
                    // A failing left side must still fail, so only a constant left side decides.
                    if *value == decides && index == 0 {
                        return args.swap_remove(index);
                    }
                    if *value != decides {
                        return args.swap_remove(1 - index);
                    }
                }
            }
            Expr::Call { function, args, data_type }
        }
        Expr::Case { branches, otherwise, data_type } => {
            let mut kept = Vec::with_capacity(branches.len());
            let mut otherwise = otherwise;
            for (when, then) in branches {
                match &when {
                    Expr::Literal { value: Scalar::Boolean(true), .. } => {
                        otherwise = Some(Box::new(then));
                        break;
                    }
                    Expr::Literal { value: Scalar::Boolean(false) | Scalar::Null, .. } => {}
                    _ => kept.push((when, then)),
                }
            }
            match otherwise {
                Some(value) if kept.is_empty() => *value,
                otherwise => Expr::Case { branches: kept, otherwise, data_type },
            }
        }
        other => other,
    }
}
