//! Joins in batch mode: of all rows of one input with all of another.
//!
//! What is equal on both sides becomes the key by which rows are hashed; what says something of one side only
//! is a filter below the join where that is the same; all else is judged pair by pair.

use std::rc::Rc;

use sqlparser::ast::{Expr as Ast, Query, Select, SetExpr, Spanned, TableWithJoins};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{JoinKind, RowRange, WindowJoinSide, WindowTime};
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::{bind_call, fold_constants, is_deterministic};

use super::aggregate::whole;
use super::join::{Conditions, Subquery, joined_columns, needs_join, split, with_keys};
use super::subquery::Subqueries;
use super::{ExprBinder, QueryBinder, Scope, Source, boolean, bound_condition};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, RelOp, and, calc, conjuncts};

impl QueryBinder<'_> {
    /// The relations of a FROM clause, and what is left of WHERE. Conditions of WHERE over several relations
    /// that stand side by side are those of their joins.
    pub(super) fn side_by_side(
        &mut self,
        from: &[TableWithJoins],
        condition: Option<&Ast>,
    ) -> Result<(Source, Scope, Option<Expr>), SqlError> {
        let mut sources = Vec::new();
        let mut scope = Scope::default();
        for relation in from {
            let (source, of_relation) = self.relations(relation)?;
            scope = if sources.is_empty() { of_relation } else { scope.beside(of_relation) };
            sources.push((source.rel, relation.relation.span()));
        }
        let (mut plain, mut found) = (Vec::new(), Vec::new());
        if let Some(condition) = condition {
            split(condition, &mut plain, &mut found, true);
        }
        let (zone, subqueries) = (self.mode.zone, Subqueries::new(self));
        let mut conditions = Vec::new();
        for condition in &plain {
            conditions.extend(conjuncts(bound_condition(zone, &scope, condition, Some(&subqueries))?));
        }
        let steps = subqueries.steps();
        let mut joined: Option<Rel> = None;
        for (rel, place) in sources {
            joined = Some(match joined {
                None => rel,
                Some(left) => {
                    let width = left.columns.len() + rel.columns.len();
                    let (ready, later): (Vec<Expr>, Vec<Expr>) =
                        conditions.into_iter().partition(|condition: &Expr| {
                            is_deterministic(condition) && condition.columns().iter().all(|at| *at < width)
                        });
                    conditions = later;
                    join(left, rel, JoinKind::Inner, ready.into_iter().reduce(and), place)?
                }
            });
        }
        let rel = joined.ok_or_else(|| SqlError::general("FROM without relations"))?;
        let scope = scope.with_types(&rel.columns);
        let mut source = Source { rel, name: None };
        for subquery in &found {
            self.whole_semi_join(&mut source, &scope, subquery)?;
        }
        source.rel = steps.join(source.rel, &mut conditions, &|outer| Ok(outer.clone()))?;
        Ok((source, scope, conditions.into_iter().reduce(and)))
    }

    /// A condition of WHERE that is a subquery.
    pub(super) fn whole_semi_join(
        &mut self,
        source: &mut Source,
        scope: &Scope,
        subquery: &Subquery<'_>,
    ) -> Result<(), SqlError> {
        let standing_alone = self.query(subquery.query);
        match standing_alone {
            Ok(rel) => self.uncorrelated(source, scope, subquery, rel),
            // Names that are not there may be those of the query around it.
            Err(error) => match simple(subquery.query) {
                Some((select, from)) => self.correlated(source, scope, subquery, (select, from)),
                None => Err(error),
            },
        }
    }

    /// A subquery that knows nothing of the query around it.
    fn uncorrelated(
        &mut self,
        source: &mut Source,
        scope: &Scope,
        subquery: &Subquery<'_>,
        rel: Rel,
    ) -> Result<(), SqlError> {
        let place = subquery.query.span();
        let kind = if subquery.negated { JoinKind::Anti } else { JoinKind::Semi };
        let left = source.rel.clone();
        let Some(needle) = subquery.needle else {
            source.rel = join(left, at_most_one_row(rel), kind, None, place)?;
            return Ok(());
        };
        let pairs = self.pairs(needle, scope, &rel, left.columns.len(), place)?;
        let may_be_null = |expr: &Expr| expr.data_type().nullable;
        let equal =
            |pairs: &[(Expr, Expr)]| pairs.iter().map(|(a, b)| equal(a, b, needle)).collect::<Result<Vec<_>, _>>();
        if !subquery.negated || !pairs.iter().any(|(a, b)| may_be_null(a) || may_be_null(b)) {
            source.rel = join(left, rel, kind, equal(&pairs)?.into_iter().reduce(and), place)?;
            return Ok(());
        }
        match pairs.as_slice() {
            [(value, item)] => {
                let width = left.columns.len();
                let item = item.map_columns(&mut |index, data_type| Expr::column(index - width, data_type.clone()));
                let counts = counts(rel.clone(), item, place)?;
                let others = join(left, rel, kind, equal(&pairs)?.into_iter().reduce(and), place)?;
                source.rel = unless_unknown(others, value, counts, place)?;
            }
            // One NULL among several values does not make a comparison unknown that is false by another.
            pairs => {
                let all = equal(pairs)?.into_iter().reduce(and);
                source.rel = join(left, rel, kind, all.map(|all| not_false(all, place)).transpose()?, place)?;
            }
        }
        Ok(())
    }

    /// Values to the left of IN, over the left, and those that they are compared with, over the columns behind.
    fn pairs(
        &self,
        needle: &Ast,
        scope: &Scope,
        rel: &Rel,
        width: usize,
        place: Span,
    ) -> Result<Vec<(Expr, Expr)>, SqlError> {
        let values: Vec<&Ast> = match needle {
            Ast::Tuple(values) => values.iter().collect(),
            Ast::Nested(value) => vec![&**value],
            value => vec![value],
        };
        if values.len() != rel.columns.len() {
            return Err(SqlError::at(
                place,
                format!("{} values are looked for among rows of {} columns", values.len(), rel.columns.len()),
            ));
        }
        let pair = |(at, value): (usize, &&Ast)| {
            let value = fold_constants(ExprBinder::scalar(scope).bind(value)?, self.mode.zone);
            Ok((value, Expr::column(width + at, rel.columns[at].data_type.clone())))
        };
        values.iter().enumerate().map(pair).collect()
    }

    /// A subquery that names columns of the query around it in its WHERE.
    fn correlated(
        &mut self,
        source: &mut Source,
        scope: &Scope,
        subquery: &Subquery<'_>,
        (select, from): (&Select, &TableWithJoins),
    ) -> Result<(), SqlError> {
        let place = subquery.query.span();
        let (mut inner, inner_scope) = self.relations(from)?;
        let both = scope.clone().around(inner_scope.clone());
        let mut conditions = Vec::new();
        if let Some(condition) = &select.selection {
            let rest = if needs_join(condition, true) {
                self.subqueries(&mut inner, &inner_scope, condition)?
            } else {
                vec![condition.clone()]
            };
            for condition in rest {
                let bound = fold_constants(ExprBinder::scalar(&both).bind(&condition)?, self.mode.zone);
                conditions.push(boolean(bound, condition.span())?);
            }
        }
        if let Some(needle) = subquery.needle {
            let item = super::join::single_item(select)?;
            let value = ExprBinder::scalar(scope).bind(needle)?;
            let item = ExprBinder::scalar(&both).bind(item)?;
            let found = fold_constants(equal(&value, &item, needle)?, self.mode.zone);
            let unknown = subquery.negated && (value.data_type().nullable || item.data_type().nullable);
            conditions.push(if unknown { not_false(found, place)? } else { found });
        }
        let kind = if subquery.negated { JoinKind::Anti } else { JoinKind::Semi };
        source.rel = join(source.rel.clone(), inner.rel, kind, conditions.into_iter().reduce(and), place)?;
        Ok(())
    }
}

/// The first row, from which is known whether there is one.
pub(super) fn at_most_one_row(rel: Rel) -> Rel {
    let (columns, rows) = (rel.columns.clone(), RowRange { offset: 0, fetch: Some(1) });
    Rel { op: Rc::new(RelOp::Sort { input: rel, keys: Vec::new(), rows }), columns, window: None }
}

/// A subquery whose WHERE may name columns of the query around it.
pub(super) fn simple(query: &Query) -> Option<(&Select, &TableWithJoins)> {
    use sqlparser::ast::GroupByExpr;
    let SetExpr::Select(select) = &*query.body else { return None };
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    match select.from.as_slice() {
        [from] if plain => Some((select, from)),
        _ => None,
    }
}

fn equal(a: &Expr, b: &Expr, place: &Ast) -> Result<Expr, SqlError> {
    bind_call("=", vec![a.clone(), b.clone()]).map_err(|error| SqlError::on(place, error.message))
}

fn call(name: &str, args: Vec<Expr>, place: Span) -> Result<Expr, SqlError> {
    bind_call(name, args).map_err(|error| SqlError::at(place, error.message))
}

fn not_false(condition: Expr, place: Span) -> Result<Expr, SqlError> {
    call("IS NOT FALSE", vec![condition], place)
}

/// One row: how many rows there are, and for how many of them a value is not NULL.
fn counts(rel: Rel, value: Expr, place: Span) -> Result<Rel, SqlError> {
    let input = calc(rel, None, vec![value], vec!["$value".to_owned()]);
    whole(input, Vec::new(), &[("COUNT", &[]), ("COUNT", &[0])], place)
}

/// The rows that are surely not among others: those of no others, or those that are not NULL where no other is.
fn unless_unknown(rel: Rel, value: &Expr, counts: Rel, place: Span) -> Result<Rel, SqlError> {
    let width = rel.columns.len();
    let names = rel.columns.iter().map(|column| column.name.clone()).collect();
    let both = join(rel, counts, JoinKind::Inner, None, place)?;
    let (rows, values) = (both.column(width), both.column(width + 1));
    let zero = Expr::literal(Scalar::BigInt(0), LogicalType::BigInt);
    let none = call("=", vec![rows.clone(), zero], place)?;
    let is_value = call("IS NOT NULL", vec![value.clone()], place)?;
    let no_null = call("=", vec![rows, values], place)?;
    let sure = call("OR", vec![none, and(is_value, no_null)], place)?;
    let projection = (0..width).map(|column| both.column(column)).collect();
    Ok(calc(both, Some(sure), projection, names))
}

/// Joins all rows of one relation with all of another. Columns of the right stand behind those of the left, also
/// in `condition`.
pub(super) fn join(
    left: Rel,
    right: Rel,
    kind: JoinKind,
    condition: Option<Expr>,
    place: Span,
) -> Result<Rel, SqlError> {
    let width = left.columns.len();
    let shown = joined_columns(&left.columns, &right.columns, kind);
    let right_width = right.columns.len();
    let all = condition.map(conjuncts).unwrap_or_default();
    // A row of a side that is emitted in any case is not filtered away.
    let filters_left = matches!(kind, JoinKind::Inner | JoinKind::Right);
    let filters_right = matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti);
    let (mut of_left, mut of_right, mut of_both) = (Vec::new(), Vec::new(), Vec::new());
    for condition in all {
        let columns = condition.columns();
        let alone = !columns.is_empty() && is_deterministic(&condition);
        if alone && filters_left && columns.iter().all(|at| *at < width) {
            of_left.push(condition);
        } else if alone && filters_right && columns.iter().all(|at| *at >= width) {
            of_right.push(condition.map_columns(&mut |at, data_type| Expr::column(at - width, data_type.clone())));
        } else {
            of_both.push(condition);
        }
    }
    let (left, right) = (filtered(left, of_left), filtered(right, of_right));
    let conditions = Conditions::of_pairs(of_both, width);
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = conditions.keys.into_iter().unzip();
    let (left, left_keys) = with_keys(left, left_keys);
    let (right, right_keys) = with_keys(right, right_keys);
    // Appended keys of the left move the columns of the right.
    let shift = left.columns.len() - width;
    let moved = |at: usize| if at < width { at } else { at + shift };
    let condition = conditions.rest.into_iter().reduce(and);
    let condition = condition
        .map(|condition| condition.map_columns(&mut |at, data_type| Expr::column(moved(at), data_type.clone())));
    if let Some(time) = left.columns.iter().chain(&right.columns).find(|column| column.time.is_some())
        && time.time == Some(crate::rel::TimeAttribute::ProcessingTime)
    {
        return Err(SqlError::at(place, format!("'{}' is a processing time, which is not joined", time.name))
            .with_hint("select the other columns"));
    }
    let side = |keys: Vec<usize>| WindowJoinSide { start: 0, end: 0, keys };
    let op = RelOp::WindowJoin {
        kind,
        sides: [side(left_keys), side(right_keys)],
        over: WindowTime::Input,
        condition,
        left: left.clone(),
        right: right.clone(),
    };
    let columns = joined_columns(&left.columns, &right.columns, kind);
    let rel = Rel { op: Rc::new(op), columns, window: None };
    if rel.columns.len() == shown.len() {
        return Ok(rel);
    }
    let of_right = (0..right_width).map(|column| left.columns.len() + column);
    let projection = (0..width).chain(of_right).take(shown.len()).map(|column| rel.column(column)).collect();
    let names = shown.iter().map(|column| column.name.clone()).collect();
    Ok(calc(rel, None, projection, names))
}

fn filtered(rel: Rel, conditions: Vec<Expr>) -> Rel {
    let Some(filter) = conditions.into_iter().reduce(and) else { return rel };
    let names = rel.columns.iter().map(|column| column.name.clone()).collect();
    let all = rel.all_columns();
    calc(rel, Some(filter), all, names)
}
