//! UNION, INTERSECT and EXCEPT, with and without ALL, in batch mode.
//!
//! The rows of both sides are grouped by all columns, NULLs being equal, and counted by side.

use std::rc::Rc;

use sqlparser::ast::{SetOperator, SetQuantifier};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::bind_call;

use super::aggregate::{distinct, whole};
use super::union;
use crate::diagnostic::SqlError;
use crate::rel::{Rel, RelOp, and, calc};

/// What a set operation gives.
pub(super) fn operation(
    left: Rel,
    right: Rel,
    (operator, quantifier): (SetOperator, SetQuantifier),
    place: Span,
) -> Result<Rel, SqlError> {
    let all = match quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        _ => return Err(SqlError::at(place, format!("{operator} {quantifier} does not exist in Flink SQL"))),
    };
    let text = |word: &str| if all { format!("{word} ALL") } else { word.to_owned() };
    match operator {
        SetOperator::Union if all => union(left, right, "UNION ALL", place),
        SetOperator::Union => distinct(union(left, right, "UNION", place)?, place),
        SetOperator::Intersect => counted(left, right, &text("INTERSECT"), place)?.rows(true, all, place),
        SetOperator::Except => counted(left, right, &text("EXCEPT"), place)?.rows(false, all, place),
        SetOperator::Minus => Err(SqlError::at(place, "MINUS does not exist in Flink SQL").with_hint("write EXCEPT")),
    }
}

/// Each row once, and behind it how often the left has it and the right.
struct Counted {
    rel: Rel,
    names: Vec<String>,
}

fn counted(left: Rel, right: Rel, what: &str, place: Span) -> Result<Counted, SqlError> {
    let names: Vec<String> = left.columns.iter().map(|column| column.name.clone()).collect();
    let width = names.len();
    if width != right.columns.len() {
        let (left, right) = (width, right.columns.len());
        return Err(SqlError::at(place, format!("{what} of {left} columns with {right} columns")));
    }
    let marked = |rel: Rel, of_left: i64| {
        let count = |count: i64| Expr::literal(Scalar::BigInt(count), LogicalType::BigInt);
        let mut names: Vec<String> = rel.columns.iter().map(|column| column.name.clone()).collect();
        names.extend(["$left".to_owned(), "$right".to_owned()]);
        let mut projection = rel.all_columns();
        projection.extend([count(of_left), count(1 - of_left)]);
        calc(rel, None, projection, names)
    };
    let both = union(marked(left, 1), marked(right, 0), what, place)?;
    let keys: Vec<usize> = (0..width).collect();
    let rel = whole(both, keys, &[("SUM", &[width]), ("SUM", &[width + 1])], place)?;
    Ok(Counted { rel, names })
}

impl Counted {
    /// The rows that both sides have, or only the left; of ALL as often as they are left when rows of the right
    /// are set against rows of the left.
    fn rows(self, common: bool, all: bool, place: Span) -> Result<Rel, SqlError> {
        let Self { rel, names } = self;
        let width = names.len();
        let call =
            |name: &str, args: Vec<Expr>| bind_call(name, args).map_err(|error| SqlError::at(place, error.message));
        let (left, right) = (rel.column(width), rel.column(width + 1));
        let zero = || Expr::literal(Scalar::BigInt(0), LogicalType::BigInt);
        let of_left = call(">", vec![left.clone(), zero()])?;
        let mut projection: Vec<Expr> = (0..width).map(|column| rel.column(column)).collect();
        if !all {
            let of_right = call(if common { ">" } else { "=" }, vec![right, zero()])?;
            return Ok(calc(rel, Some(and(of_left, of_right)), projection, names));
        }
        let times = call(if common { "LEAST" } else { "-" }, vec![left, right])?;
        let some = call(">", vec![times.clone(), zero()])?;
        projection.push(times);
        let with_times = names.iter().cloned().chain(["$times".to_owned()]).collect();
        let counted = calc(rel, Some(some), projection, with_times);
        let columns = counted.columns.clone();
        let rows = Rel { op: Rc::new(RelOp::ReplicateRows { input: counted, times: width }), columns, window: None };
        let projection = (0..width).map(|column| rows.column(column)).collect();
        Ok(calc(rows, None, projection, names))
    }
}
