//! Subqueries as values, in batch mode: `(SELECT ...)`, and IN and EXISTS that are no conditions of WHERE by
//! themselves.
//!
//! What a subquery gives is joined to the rows that use it: one row to all of them, or, where its WHERE compares
//! columns of its own with some of the query around it, one row to those of equal columns. Until it is joined, a
//! value stands for its columns from [`SUBQUERY_BASE`] on.

use std::cell::RefCell;

use sqlparser::ast::{Expr as Ast, InTarget, Query, Select, Spanned, TableWithJoins};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{AggregateCall, AggregateFunction, JoinKind, WindowKind};
use tidemill_common::types::{DataType, LogicalType};
use tidemill_expr::bind::{bind_call, bind_case, coerce, common_type, fold_constants};

use super::aggregate::{aggregate_calls, distinct, whole, whole_of};
use super::expr::{AGGREGATE_BASE, ExprBinder};
use super::join::{needs_join, sides, single_item};
use super::whole_join::{self, at_most_one_row, simple};
use super::{QueryBinder, Scope, boolean};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, RelOp, and, calc, conjuncts};

/// Column indices from here on stand for columns of subqueries.
pub(super) const SUBQUERY_BASE: usize = 1 << 26;

/// Binds the subqueries of one SELECT.
pub(super) struct Subqueries<'b, 'a> {
    binder: RefCell<&'b mut QueryBinder<'a>>,
    bound: RefCell<Vec<(Ast, Expr)>>,
    steps: RefCell<Steps>,
}

/// What binds a subquery, for [`ExprBinder`].
pub trait SubqueryValues {
    /// The value of a subquery in a scope.
    fn value(&self, ast: &Ast, scope: &Scope) -> Result<Expr, SqlError>;
}

/// What has to be joined to rows before their subqueries have values.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(Vec<Step>);

#[derive(Clone, Debug)]
struct Step {
    /// The index by which its first column is called.
    first: usize,
    rel: Rel,
    /// Values over the query around it, and the columns here that they are equal to.
    keys: Vec<(Expr, usize)>,
    kind: JoinKind,
    place: Span,
}

impl Steps {
    /// The rows with what the subqueries in `exprs` give, which become columns of it. `outer` makes of an expression
    /// over the scope in which a subquery was bound one over `rel`.
    pub fn join(
        &self,
        mut rel: Rel,
        exprs: &mut [Expr],
        outer: &dyn Fn(&Expr) -> Result<Expr, SqlError>,
    ) -> Result<Rel, SqlError> {
        for step in &self.0 {
            let named = step.first..step.first + step.rel.columns.len();
            if !exprs.iter().any(|expr| expr.columns().iter().any(|column| named.contains(column))) {
                continue;
            }
            let width = rel.columns.len();
            let mut condition: Option<Expr> = None;
            for (value, column) in &step.keys {
                let column = Expr::column(width + column, step.rel.columns[*column].data_type.clone());
                let equal = call("=", vec![outer(value)?, column], step.place)?;
                condition = Some(condition.map_or_else(|| equal.clone(), |before| and(before, equal.clone())));
            }
            // Columns of the left stay where they are, so that its window is that of the join.
            let window = rel.window.clone();
            rel = whole_join::join(rel, step.rel.clone(), step.kind, condition, step.place)?;
            rel.window = window;
            for expr in exprs.iter_mut() {
                *expr = expr.map_columns(&mut |index, data_type| {
                    let at = if named.contains(&index) { width + index - step.first } else { index };
                    Expr::column(at, data_type.clone())
                });
            }
        }
        Ok(rel)
    }

    /// The same for rows that a filter leaves, where any of the expressions needs it.
    pub fn join_filtered(
        &self,
        rel: Rel,
        filter: Option<Expr>,
        exprs: &mut [Expr],
    ) -> Result<(Rel, Option<Expr>), SqlError> {
        if !exprs.iter().any(|expr| expr.columns().iter().any(|column| *column >= SUBQUERY_BASE)) {
            return Ok((rel, filter));
        }
        let filtered = match filter {
            None => rel,
            Some(filter) => {
                let names = rel.columns.iter().map(|column| column.name.clone()).collect();
                let all = rel.all_columns();
                calc(rel, Some(filter), all, names)
            }
        };
        Ok((self.join(filtered, exprs, &|outer| Ok(outer.clone()))?, None))
    }

    /// Adds what is joined. Gives its columns.
    fn add(&mut self, rel: Rel, keys: Vec<(Expr, usize)>, kind: JoinKind, place: Span) -> Vec<Expr> {
        let first = self.0.last().map_or(SUBQUERY_BASE, |last| last.first + last.rel.columns.len());
        let data_type = |data_type: &DataType| match kind {
            JoinKind::Left => data_type.logical.clone().nullable(),
            _ => data_type.clone(),
        };
        let columns = rel.columns.iter().enumerate();
        let columns = columns.map(|(at, column)| Expr::column(first + at, data_type(&column.data_type))).collect();
        self.0.push(Step { first, rel, keys, kind, place });
        columns
    }
}

/// What a subquery is.
enum Bound {
    /// One that knows nothing of the query around it.
    Alone(Rel),
    Tied(Box<Tied>),
}

/// A subquery that is tied to the query around it.
struct Tied {
    /// What its FROM and those of its conditions give that speak of itself only, and behind it the keys.
    rel: Rel,
    scope: Scope,
    /// Over the query around it, and the column here.
    keys: Vec<(Expr, usize)>,
}

impl<'b, 'a> Subqueries<'b, 'a> {
    pub fn new(binder: &'b mut QueryBinder<'a>) -> Self {
        Self { binder: RefCell::new(binder), bound: RefCell::default(), steps: RefCell::default() }
    }

    /// What has to be joined for all that has been bound.
    pub fn steps(&self) -> Steps {
        self.steps.borrow().clone()
    }

    fn add(&self, rel: Rel, keys: Vec<(Expr, usize)>, kind: JoinKind, place: Span) -> Vec<Expr> {
        self.steps.borrow_mut().add(rel, keys, kind, place)
    }

    /// A subquery that stands alone, or else one that is tied to the query around it.
    fn bind(&self, query: &Query, scope: &Scope) -> Result<Bound, SqlError> {
        let alone = self.binder.borrow_mut().query(query);
        match (alone, simple(query)) {
            (Ok(rel), _) => Ok(Bound::Alone(rel)),
            // Names that are not there may be those of the query around it.
            (Err(_), Some((select, from))) => Ok(Bound::Tied(Box::new(self.tied(select, from, scope)?))),
            (Err(error), None) => Err(error),
        }
    }

    fn tied(&self, select: &Select, from: &TableWithJoins, scope: &Scope) -> Result<Tied, SqlError> {
        let mut binder = self.binder.borrow_mut();
        let zone = binder.mode.zone;
        let (mut source, inner) = binder.relations(from)?;
        let both = scope.clone().around(inner.clone());
        let width = scope.width();
        let conditions = match &select.selection {
            None => Vec::new(),
            Some(condition) if needs_join(condition, true) => binder.subqueries(&mut source, &inner, condition)?,
            Some(condition) => vec![condition.clone()],
        };
        let nested = Subqueries::new(&mut binder);
        let (mut own, mut outer) = (Vec::new(), Vec::new());
        let mut filters = Vec::new();
        for ast in &conditions {
            let bound = ExprBinder::scalar(&both).subqueries(&nested).bind(ast)?;
            for condition in conjuncts(boolean(fold_constants(bound, zone), ast.span())?) {
                let columns = condition.columns();
                if columns.iter().all(|column| *column >= width) {
                    filters.push(shifted(&condition, width));
                } else if let Some((value, column)) = sides(&condition, width) {
                    outer.push(value);
                    own.push(column);
                } else {
                    return Err(SqlError::on(
                        ast,
                        "a subquery as a value is tied to the query around it only by equal columns yet",
                    )
                    .with_hint("write WHERE inner.column = outer.column AND ... with conditions on its own columns"));
                }
            }
        }
        let key_count = own.len();
        let mut exprs = own;
        exprs.extend(filters);
        let steps = nested.steps();
        let rel = steps.join(source.rel, &mut exprs, &|outer| {
            if outer.columns().iter().any(|column| *column < width) {
                return Err(SqlError::on(
                    select,
                    "a subquery in a subquery knows the query around both: not supported yet",
                ));
            }
            Ok(shifted(outer, width))
        })?;
        let filter = exprs.split_off(key_count).into_iter().reduce(and);
        let mut projection = rel.all_columns();
        let mut names: Vec<String> = rel.columns.iter().map(|column| column.name.clone()).collect();
        let mut keys = Vec::new();
        for (value, key) in outer.into_iter().zip(exprs) {
            keys.push((value, projection.len()));
            names.push(format!("$tie{}", projection.len()));
            projection.push(key);
        }
        Ok(Tied { rel: calc(rel, filter, projection, names), scope: inner, keys })
    }

    fn scalar(&self, query: &Query, scope: &Scope) -> Result<Expr, SqlError> {
        let place = query.span();
        let tied = match self.bind(query, scope)? {
            Bound::Alone(rel) => {
                if rel.columns.len() != 1 {
                    let count = rel.columns.len();
                    return Err(SqlError::at(place, format!("a subquery as a value has one column, not {count}")));
                }
                let rel = if has_one_row(&rel) { rel } else { single(rel, &[], 0, place)? };
                return Ok(self.add(rel, Vec::new(), JoinKind::Left, place).swap_remove(0));
            }
            Bound::Tied(tied) => *tied,
        };
        let Some((select, _)) = simple(query) else { return Err(SqlError::at(place, "expected SELECT")) };
        let zone = self.binder.borrow().mode.zone;
        let item = single_item(select)?;
        let mut calls = Vec::new();
        let bound = ExprBinder::with_aggregates(&tied.scope, &mut calls).bind(item)?;
        let bound = fold_constants(bound, zone);
        let outer: Vec<Expr> = tied.keys.iter().map(|(value, _)| value.clone()).collect();
        let at: Vec<usize> = tied.keys.iter().map(|(_, column)| *column).collect();
        let count = at.len();
        let keys = || outer.iter().cloned().zip(0..).collect::<Vec<(Expr, usize)>>();
        if calls.is_empty() {
            let (rel, value) = with_column(tied.rel, bound);
            let rel = single(rel, &at, value, place)?;
            return Ok(self.add(rel, keys(), JoinKind::Left, place).swap_remove(count));
        }
        // What is counted is 0 where no row is equal, all else NULL.
        let zeroes = calls.iter().map(|call| is_count(&call.call.function)).collect::<Option<Vec<bool>>>();
        let Some(zeroes) = zeroes else {
            return Err(SqlError::on(
                item,
                "this aggregate in a subquery that is tied to the query around it is not supported yet",
            )
            .with_hint("COUNT, SUM, AVG, MIN, MAX, FIRST_VALUE, LAST_VALUE, LISTAGG and the statistics are"));
        };
        if bound.columns().iter().any(|column| *column < AGGREGATE_BASE) {
            return Err(SqlError::on(item, "a column beside an aggregate is neither grouped nor aggregated"));
        }
        let mut rel = tied.rel;
        let calls: Vec<AggregateCall> = aggregate_calls(&calls, |expr| {
            let (with, column) = with_column(rel.clone(), fold_constants(expr, zone));
            rel = with;
            column
        });
        let columns = self.add(whole_of(rel, at, calls, place)?, keys(), JoinKind::Left, place);
        let zero = || Expr::literal(Scalar::BigInt(0), LogicalType::BigInt);
        let mut values = Vec::new();
        for (value, is_zero) in columns[count..].iter().zip(zeroes) {
            values.push(if is_zero { call("COALESCE", vec![value.clone(), zero()], place)? } else { value.clone() });
        }
        Ok(bound.map_columns(&mut |index, _| values[index - AGGREGATE_BASE].clone()))
    }

    fn exists(&self, query: &Query, scope: &Scope) -> Result<Expr, SqlError> {
        let place = query.span();
        match self.bind(query, scope)? {
            Bound::Alone(rel) => {
                let count = whole(at_most_one_row(rel), Vec::new(), &[("COUNT", &[])], place)?;
                let rows = self.add(count, Vec::new(), JoinKind::Inner, place).swap_remove(0);
                call(">", vec![rows, Expr::literal(Scalar::BigInt(0), LogicalType::BigInt)], place)
            }
            Bound::Tied(tied) => {
                let Tied { rel, keys, .. } = *tied;
                let (outer, at): (Vec<Expr>, Vec<usize>) = keys.into_iter().unzip();
                let projection = at.iter().map(|column| rel.column(*column)).collect();
                self.is_among(calc(rel, None, projection, key_names(at.len())), outer, place)
            }
        }
    }

    /// Whether values are among rows.
    fn is_among(&self, rel: Rel, values: Vec<Expr>, place: Span) -> Result<Expr, SqlError> {
        let once = distinct(rel, place)?;
        let (flagged, flag) = with_column(once, Expr::literal(Scalar::Boolean(true), LogicalType::Boolean));
        let keys = values.into_iter().zip(0..).collect();
        let found = self.add(flagged, keys, JoinKind::Left, place).swap_remove(flag);
        call("IS NOT NULL", vec![found], place)
    }

    fn is_in(&self, needle: &Ast, query: &Query, scope: &Scope) -> Result<Expr, SqlError> {
        let place = query.span();
        let zone = self.binder.borrow().mode.zone;
        let asts: Vec<&Ast> = match needle {
            Ast::Tuple(values) => values.iter().collect(),
            Ast::Nested(value) => vec![&**value],
            value => vec![value],
        };
        let bind = |ast: &&Ast| Ok(fold_constants(ExprBinder::scalar(scope).bind(ast)?, zone));
        let values = asts.iter().map(bind).collect::<Result<Vec<Expr>, SqlError>>()?;
        let (rel, items, ties) = match self.bind(query, scope)? {
            Bound::Alone(rel) => {
                let items = rel.all_columns();
                (rel, items, Vec::new())
            }
            Bound::Tied(tied) => {
                let Tied { rel, scope, keys } = *tied;
                let Some((select, _)) = simple(query) else { return Err(SqlError::at(place, "expected SELECT")) };
                let item = fold_constants(ExprBinder::scalar(&scope).bind(single_item(select)?)?, zone);
                (rel, vec![item], keys)
            }
        };
        if values.len() != items.len() {
            return Err(SqlError::at(
                place,
                format!("{} values are looked for among rows of {} columns", values.len(), items.len()),
            ));
        }
        let (mut outer, at): (Vec<Expr>, Vec<usize>) = ties.into_iter().unzip();
        let mut projection: Vec<Expr> = at.iter().map(|column| rel.column(*column)).collect();
        let mut may_be_null = false;
        for (value, item) in values.iter().zip(items) {
            let types = [value.data_type().clone(), item.data_type().clone()];
            may_be_null |= types.iter().any(|data_type| data_type.nullable);
            let unlike = || SqlError::on(needle, format!("{} is looked for among values of {}", types[0], types[1]));
            // Of one type, so that a value is there once.
            let common = common_type(&types).ok_or_else(unlike)?;
            let nullable = common.logical.nullable();
            projection.push(coerce(item, &nullable).map_err(|_| unlike())?);
            outer.push(coerce(value.clone(), &nullable).map_err(|_| unlike())?);
        }
        let ties = at.len();
        let rel = calc(rel, None, projection, key_names(outer.len()));
        let found = self.is_among(rel.clone(), outer.clone(), place)?;
        if !may_be_null {
            return Ok(found);
        }
        let [value] = values.as_slice() else {
            return Err(SqlError::on(
                needle,
                "several values that may be NULL behind IN as a value are not supported yet",
            )
            .with_hint("write EXISTS (SELECT * FROM ... WHERE ...)"));
        };
        let kind = if ties == 0 { JoinKind::Inner } else { JoinKind::Left };
        let counts = whole(rel, (0..ties).collect(), &[("COUNT", &[]), ("COUNT", &[ties])], place)?;
        outer.truncate(ties);
        let counts = self.add(counts, outer.into_iter().zip(0..).collect(), kind, place);
        let truth = |truth: bool| Expr::literal(Scalar::Boolean(truth), LogicalType::Boolean);
        let zero = || Expr::literal(Scalar::BigInt(0), LogicalType::BigInt);
        let rows = call("COALESCE", vec![counts[ties].clone(), zero()], place)?;
        let of_nulls = call("<>", vec![rows.clone(), counts[ties + 1].clone()], place)?;
        let is_null = call("IS NULL", vec![value.clone()], place)?;
        let unknown = coerce(Expr::literal(Scalar::Null, LogicalType::Null), &LogicalType::Boolean.nullable());
        let unknown = unknown.map_err(|error| SqlError::at(place, error.message))?;
        let branches = vec![
            (found, truth(true)),
            (call("=", vec![rows, zero()], place)?, truth(false)),
            (call("OR", vec![is_null, of_nulls], place)?, unknown),
        ];
        bind_case(branches, Some(truth(false))).map_err(|error| SqlError::at(place, error.message))
    }
}

impl SubqueryValues for Subqueries<'_, '_> {
    fn value(&self, ast: &Ast, scope: &Scope) -> Result<Expr, SqlError> {
        if let Some((_, known)) = self.bound.borrow().iter().find(|(known, _)| known == ast) {
            return Ok(known.clone());
        }
        let (value, negated) = match ast {
            Ast::Subquery(query) => (self.scalar(query, scope)?, false),
            Ast::Exists { subquery, negated } => (self.exists(subquery, scope)?, *negated),
            Ast::In { expr, target: InTarget::Subquery(query), negated, .. } => {
                (self.is_in(expr, query, scope)?, *negated)
            }
            other => return Err(SqlError::on(other, "expected a subquery")),
        };
        let value = if negated { call("NOT", vec![value], ast.span())? } else { value };
        self.bound.borrow_mut().push((ast.clone(), value.clone()));
        Ok(value)
    }
}

fn call(name: &str, args: Vec<Expr>, place: Span) -> Result<Expr, SqlError> {
    bind_call(name, args).map_err(|error| SqlError::at(place, error.message))
}

/// An expression over the columns from `width` on, over those columns by themselves.
fn shifted(expr: &Expr, width: usize) -> Expr {
    expr.map_columns(&mut |at, data_type| {
        Expr::column(if at < SUBQUERY_BASE { at - width } else { at }, data_type.clone())
    })
}

/// The rows with one more column, and its place.
fn with_column(rel: Rel, expr: Expr) -> (Rel, usize) {
    let width = rel.columns.len();
    let mut projection = rel.all_columns();
    let names = rel.columns.iter().map(|column| column.name.clone()).chain([format!("$value{width}")]).collect();
    projection.push(expr);
    (calc(rel, None, projection, names), width)
}

fn key_names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("$key{at}")).collect()
}

/// Whether there is one row, whatever the input.
fn has_one_row(rel: &Rel) -> bool {
    match &*rel.op {
        RelOp::OneRow => true,
        RelOp::WindowAggregate { kind: WindowKind::Whole, keys, .. } => keys.is_empty(),
        RelOp::Calc { input, filter: None, .. } => has_one_row(input),
        _ => false,
    }
}

/// A row for each key with the one value that it has. Several fail the job, as in Flink.
fn single(rel: Rel, keys: &[usize], value: usize, place: Span) -> Result<Rel, SqlError> {
    let values = whole(rel, keys.to_vec(), &[("FIRST_VALUE", &[value]), ("COUNT", &[])], place)?;
    let count = keys.len();
    let mut projection: Vec<Expr> = (0..count).map(|key| values.column(key)).collect();
    projection.push(call("$SINGLE_VALUE", vec![values.column(count), values.column(count + 1)], place)?);
    let names = key_names(count).into_iter().chain(["$value".to_owned()]).collect();
    Ok(calc(values, None, projection, names))
}

/// Whether an aggregate of no rows is 0, or else NULL; `None` if it is something else.
fn is_count(function: &AggregateFunction) -> Option<bool> {
    match function {
        AggregateFunction::Count | AggregateFunction::ApproxCountDistinct => Some(true),
        AggregateFunction::Sum
        | AggregateFunction::Avg
        | AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::FirstValue
        | AggregateFunction::LastValue
        | AggregateFunction::ListAgg { .. }
        | AggregateFunction::Variance { .. } => Some(false),
        _ => None,
    }
}
