//! GROUPING SETS, ROLLUP and CUBE: the sets of keys that a GROUP BY stands for.

use sqlparser::ast::{Expr as Ast, Function, FunctionArgExpr, Spanned};
use tidemill_common::expr::{Expr, FunctionId};
use tidemill_common::types::LogicalType;

use super::expr::{ExprBinder, arguments};
use crate::diagnostic::SqlError;

/// Most sets of one GROUP BY: each is an aggregation of its own.
const SETS_MAX: usize = 64;
/// Most expressions of GROUPING: its bits are a BIGINT.
const GROUPING_ARGUMENTS_MAX: usize = 62;
/// The call that stands for GROUPING until the set is known.
pub(super) const GROUPING: &str = "$GROUPING";

/// The sets of a GROUP BY; `None` if it is a plain list.
pub(super) fn sets(grouped: &[Ast]) -> Result<Option<Vec<Vec<Ast>>>, SqlError> {
    let is_sets = |ast: &Ast| matches!(ast, Ast::GroupingSets(_) | Ast::Cube(_) | Ast::Rollup(_));
    if !grouped.iter().any(is_sets) {
        return Ok(None);
    }
    let mut all: Vec<Vec<Ast>> = vec![Vec::new()];
    for ast in grouped {
        let of = match ast {
            Ast::GroupingSets(sets) => sets.clone(),
            Ast::Rollup(parts) => (0..=parts.len()).rev().map(|length| parts[..length].concat()).collect(),
            Ast::Cube(parts) => cube(ast, parts)?,
            plain => vec![vec![plain.clone()]],
        };
        if all.len().saturating_mul(of.len()) > SETS_MAX {
            return Err(too_many(ast));
        }
        all = all.iter().flat_map(|left| of.iter().map(move |right| [left.as_slice(), right].concat())).collect();
    }
    Ok(Some(all))
}

fn cube(ast: &Ast, parts: &[Vec<Ast>]) -> Result<Vec<Vec<Ast>>, SqlError> {
    if parts.len() > SETS_MAX.ilog2() as usize {
        return Err(too_many(ast));
    }
    // The first part is the highest bit, as in Flink: the whole set comes first.
    let chosen = |mask: usize| {
        let bit = |at: usize| mask & (1 << (parts.len() - 1 - at)) != 0;
        (0..parts.len()).filter(|at| bit(*at)).flat_map(|at| parts[at].clone()).collect()
    };
    Ok((0..1usize << parts.len()).rev().map(chosen).collect())
}

fn too_many(ast: &Ast) -> SqlError {
    SqlError::on(ast, format!("GROUP BY has more than {SETS_MAX} grouping sets"))
        .with_hint("name the sets that are needed in GROUPING SETS ((...), ...)")
}

/// `GROUPING(a, b)`, also called `GROUPING_ID`: replaced by its value where the set is known.
pub(super) fn bind_grouping(binder: &mut ExprBinder<'_>, function: &Function) -> Result<Expr, SqlError> {
    let (args, _) = arguments(function)?;
    let span = function.name.span();
    if !binder.takes_aggregates() {
        return Err(SqlError::at(span, format!("{} may not stand here", function.name))
            .with_hint("it stands in SELECT and HAVING of a query with GROUP BY"));
    }
    if args.is_empty() || args.len() > GROUPING_ARGUMENTS_MAX {
        return Err(SqlError::at(
            span,
            format!("{} takes 1 to {GROUPING_ARGUMENTS_MAX} grouped expressions", function.name),
        ));
    }
    let mut bound = Vec::with_capacity(args.len());
    for arg in args {
        let FunctionArgExpr::Expr(arg) = arg else {
            return Err(SqlError::at(span, format!("{} does not take *", function.name)));
        };
        bound.push(binder.bind(arg)?);
    }
    Ok(Expr::Call {
        function: FunctionId { name: GROUPING.into(), version: 1 },
        args: bound,
        data_type: LogicalType::BigInt.not_null(),
    })
}

/// Whether GROUPING stands somewhere in an expression.
pub(super) fn has_grouping(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. } | Expr::Literal { .. } => false,
        Expr::Call { function, args, .. } => function.name == GROUPING || args.iter().any(has_grouping),
        Expr::Cast { input, .. } => has_grouping(input),
        Expr::Case { branches, otherwise, .. } => {
            branches.iter().any(|(condition, value)| has_grouping(condition) || has_grouping(value))
                || otherwise.as_ref().is_some_and(|value| has_grouping(value))
        }
    }
}
