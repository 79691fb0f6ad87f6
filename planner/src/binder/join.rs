//! Joins of two inputs whose rows are in windows: `JOIN ... ON`, and the conditions `IN` and `EXISTS`
//! over a subquery.

use std::rc::Rc;

use sqlparser::ast::{
    BinaryOperator, Expr as Ast, GroupByExpr, InTarget, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    SelectItem, SetExpr, Spanned, TableWithJoins, UnaryOperator,
};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::Expr;
use tidemill_common::plan::{JoinKind, WindowJoinSide, WindowTime};
use tidemill_expr::bind::{bind_call, coerce, common_type, fold_constants};

use super::expr::is_nested;
use super::shared_columns::{natural, share, using};
use super::subquery::SUBQUERY_BASE;
use super::table_function::is_table_function;
use super::{BATCH_HINT, ExprBinder, QueryBinder, Scope, Source, boolean, whole_join};
use crate::diagnostic::SqlError;
use crate::rel::{Column, Rel, RelOp, WindowColumns, calc, conjuncts};

/// Columns that are appended for the keys of a join begin so.
const KEY: &str = "$key";

impl QueryBinder<'_> {
    /// A relation of a FROM clause with what is joined to it.
    pub(super) fn relations(&mut self, from: &TableWithJoins) -> Result<(Source, Scope), SqlError> {
        let mut source = self.table_factor(&from.relation)?;
        let mut scope = Scope::of(source.name.as_deref(), &source.rel.columns);
        for join in &from.joins {
            self.join(&mut source, &mut scope, join)?;
        }
        Ok((source, scope))
    }

    /// Joins a relation to those before it.
    pub(super) fn join(&mut self, source: &mut Source, scope: &mut Scope, join: &Join) -> Result<(), SqlError> {
        if is_table_function(&join.relation) {
            return self.join_table_function(source, scope, join);
        }
        let right = self.table_factor(&join.relation)?;
        let right_scope = Scope::of(right.name.as_deref(), &right.rel.columns);
        let place = join.relation.span();
        let (kind, constraint) = kind_of(join, self.mode.batch)?;
        let shared = match constraint {
            Constraint::Using(names) => using(names, scope, &right_scope, place)?,
            Constraint::Natural => natural(scope, &right_scope, place)?,
            Constraint::On(_) | Constraint::None => Vec::new(),
        };
        let both = std::mem::take(scope).beside(right_scope);
        let condition = match constraint {
            Constraint::On(on) => Some(self.condition(&both, on)?),
            _ => {
                let width = source.rel.columns.len();
                let equal = shared.iter().map(|column| column.equal(width)).collect::<Result<Vec<_>, _>>()?;
                equal.into_iter().reduce(crate::rel::and)
            }
        };
        let left = source.rel.clone();
        let width = left.columns.len();
        let rel = match condition {
            condition if self.mode.batch => whole_join::join(left, right.rel, kind, condition, place)?,
            Some(condition) => window_join(left, right.rel, kind, condition, place)?,
            None => return Err(without_on(place)),
        };
        *scope = both.with_types(&rel.columns);
        *source = Source { rel, name: None };
        if !shared.is_empty() {
            share(source, scope, &shared, kind, width)?;
        }
        Ok(())
    }

    /// Applies the conditions of WHERE that are subqueries; the others are left.
    pub(super) fn subqueries(
        &mut self,
        source: &mut Source,
        scope: &Scope,
        condition: &Ast,
    ) -> Result<Vec<Ast>, SqlError> {
        let mut rest = Vec::new();
        let mut found = Vec::new();
        split(condition, &mut rest, &mut found, self.mode.batch);
        for subquery in found {
            if self.mode.batch {
                self.whole_semi_join(source, scope, &subquery)?;
            } else {
                self.semi_join(source, scope, &subquery)?;
            }
        }
        Ok(rest)
    }

    fn semi_join(&mut self, source: &mut Source, scope: &Scope, subquery: &Subquery<'_>) -> Result<(), SqlError> {
        let refuse = |what: &str| {
            Err(SqlError::on(subquery.query, format!("a subquery with {what} in WHERE is not supported yet"))
                .with_hint(format!(
                    "it is SELECT ... FROM one window WHERE window_start and window_end are equal to those around it; {BATCH_HINT}",
                )))
        };
        let SetExpr::Select(select) = &*subquery.query.body else { return refuse("UNION or VALUES") };
        let simple = subquery.query.with.is_none()
            && subquery.query.order_by.is_none()
            && subquery.query.limit_clause.is_none()
            && select.having.is_none()
            && select.distinct.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
        if !simple {
            return refuse("more than SELECT, FROM and WHERE");
        }
        let [from] = select.from.as_slice() else { return refuse("several relations") };
        let (inner, inner_scope) = self.relations(from)?;
        let both = scope.clone().around(inner_scope);
        let mut conditions = Vec::new();
        if let Some(condition) = &select.selection {
            let bound = fold_constants(ExprBinder::scalar(&both).bind(condition)?, self.mode.zone);
            conditions.push(boolean(bound, condition.span())?);
        }
        if let Some(needle) = subquery.needle {
            let item = single_item(select)?;
            let needle_value = ExprBinder::scalar(scope).bind(needle)?;
            let item_value = ExprBinder::scalar(&both).bind(item)?;
            let equal =
                bind_call("=", vec![needle_value, item_value]).map_err(|error| SqlError::on(needle, error.message))?;
            conditions.push(fold_constants(equal, self.mode.zone));
        }
        let condition = conditions.into_iter().reduce(crate::rel::and);
        let Some(condition) = condition else { return refuse("no condition") };
        let kind = if subquery.negated { JoinKind::Anti } else { JoinKind::Semi };
        let left = source.rel.clone();
        source.rel = window_join(left, inner.rel, kind, condition, subquery.query.span())?;
        Ok(())
    }
}

/// A condition over a subquery.
pub(super) struct Subquery<'a> {
    /// Of IN.
    pub needle: Option<&'a Ast>,
    pub query: &'a Query,
    pub negated: bool,
}

/// Splits a condition into those over subqueries and the others. NOT IN is one of them in batch mode.
pub(super) fn split<'a>(condition: &'a Ast, rest: &mut Vec<Ast>, found: &mut Vec<Subquery<'a>>, batch: bool) {
    match condition {
        Ast::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(left, rest, found, batch);
            split(right, rest, found, batch);
        }
        Ast::Nested(inner) if has_subquery(inner, batch) => split(inner, rest, found, batch),
        other => match subquery(other, batch) {
            Some(subquery) => found.push(subquery),
            None => rest.push(other.clone()),
        },
    }
}

/// The subquery that a condition is over, if it is IN or EXISTS, or NOT of one.
fn subquery(condition: &Ast, batch: bool) -> Option<Subquery<'_>> {
    match condition {
        Ast::In { expr, target: InTarget::Subquery(query), negated, .. } if batch || !negated => {
            Some(Subquery { needle: Some(&**expr), query, negated: *negated })
        }
        Ast::Exists { subquery, negated } => Some(Subquery { needle: None, query: subquery, negated: *negated }),
        Ast::UnaryOp { op: UnaryOperator::Not, expr } => {
            let inner = match &**expr {
                Ast::Nested(inner) if batch => inner,
                exists @ Ast::Exists { .. } => exists,
                other if batch => other,
                _ => return None,
            };
            let found = subquery(inner, batch)?;
            Some(Subquery { negated: !found.negated, ..found })
        }
        _ => None,
    }
}

fn has_subquery(ast: &Ast, batch: bool) -> bool {
    match ast {
        Ast::Nested(inner) => has_subquery(inner, batch),
        Ast::BinaryOp { left, op: BinaryOperator::And, right } => {
            has_subquery(left, batch) || has_subquery(right, batch)
        }
        other => subquery(other, batch).is_some(),
    }
}

/// Whether a WHERE has conditions over subqueries that [`QueryBinder::subqueries`] takes.
pub(super) fn needs_join(condition: &Ast, batch: bool) -> bool {
    // A chain of conditions nests to the left; it is walked, not descended into.
    let mut rest = condition;
    while let Ast::BinaryOp { left, op: BinaryOperator::And, right } = rest {
        if has_subquery(right, batch) {
            return true;
        }
        rest = left;
    }
    has_subquery(rest, batch)
}

pub(super) fn single_item(select: &Select) -> Result<&Ast, SqlError> {
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] => Ok(item),
        _ => Err(SqlError::on(select, "a subquery behind IN selects one expression")),
    }
}

/// What a join is on.
#[derive(Clone, Copy)]
enum Constraint<'a> {
    On(&'a Ast),
    Using(&'a [ObjectName]),
    Natural,
    None,
}

/// The kind of a join and its condition. In batch mode there need not be one.
fn kind_of(join: &Join, batch: bool) -> Result<(JoinKind, Constraint<'_>), SqlError> {
    let place = join.relation.span();
    let (kind, constraint) = match &join.join_operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinKind::Inner, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinKind::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinKind::Right, constraint),
        JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
        JoinOperator::CrossJoin(_) if batch => return Ok((JoinKind::Inner, Constraint::None)),
        _ => {
            let joins = "JOIN, LEFT JOIN, RIGHT JOIN and FULL JOIN";
            return Err(SqlError::at(place, "this join is not supported yet").with_hint(if batch {
                format!("{joins} with ON or USING and CROSS JOIN are")
            } else {
                format!("{joins} of two windows are")
            }));
        }
    };
    match constraint {
        JoinConstraint::On(on) => Ok((kind, Constraint::On(on))),
        JoinConstraint::Using(names) => Ok((kind, Constraint::Using(names))),
        JoinConstraint::UsingAlias(_, alias) => {
            Err(SqlError::at(alias.span, "USING (...) AS does not exist in Flink SQL"))
        }
        JoinConstraint::Natural => Ok((kind, Constraint::Natural)),
        JoinConstraint::None if batch && kind == JoinKind::Inner => Ok((kind, Constraint::None)),
        JoinConstraint::None if batch => {
            Err(SqlError::at(place, "an outer join needs a condition").with_hint("write ON l.key = r.key AND ..."))
        }
        JoinConstraint::None => Err(without_on(place)),
    }
}

fn without_on(place: Span) -> SqlError {
    SqlError::at(place, "a join without a condition is not supported yet")
        .with_hint("write ON l.window_start = r.window_start AND l.window_end = r.window_end AND ...")
}

/// What a condition says of a join.
#[derive(Default)]
pub(super) struct Conditions {
    start: bool,
    end: bool,
    /// Pairs of expressions, each over its side.
    pub keys: Vec<(Expr, Expr)>,
    /// Over both sides.
    pub rest: Vec<Expr>,
}

impl Conditions {
    /// Of a window join.
    fn of(condition: Expr, sides_of: [(&Rel, &WindowColumns); 2]) -> Self {
        let [(left_rel, left), (right_rel, right)] = sides_of;
        let width = left_rel.columns.len();
        let mut conditions = Self::default();
        for condition in conjuncts(condition) {
            let sides = sides(&condition, width);
            let are = |l: Option<usize>, r: Option<usize>| {
                let is = |rel: &Rel, expr: &Expr, column: Option<usize>| matches!(expr, Expr::Column { index, .. } if column.is_some_and(|column| rel.same_column(*index, column)));
                sides.as_ref().is_some_and(|(of_left, of_right)| is(left_rel, of_left, l) && is(right_rel, of_right, r))
            };
            if are(left.start, right.start) {
                conditions.start = true;
            } else if are(left.end, right.end) {
                conditions.end = true;
            } else {
                conditions.add(condition, sides);
            }
        }
        conditions
    }

    /// Of a join without windows.
    pub fn of_pairs(all: Vec<Expr>, width: usize) -> Self {
        let mut conditions = Self::default();
        for condition in all {
            let sides = sides(&condition, width);
            conditions.add(condition, sides);
        }
        conditions
    }

    fn add(&mut self, condition: Expr, sides: Option<(Expr, Expr)>) {
        let key = sides.and_then(|(of_left, of_right)| {
            let types = [of_left.data_type().clone(), of_right.data_type().clone()];
            let common = common_type(&types).filter(|common| !is_nested(&common.logical))?;
            Some((coerce(of_left, &common).ok()?, coerce(of_right, &common).ok()?))
        });
        match key {
            Some(key) => self.keys.push(key),
            None => self.rest.push(condition),
        }
    }
}

/// The sides of an equality of one expression over the left and one over the right, each over its own
/// columns. Those of subqueries stay as they are.
pub(super) fn sides(condition: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let Expr::Call { function, args, .. } = condition else { return None };
    let ("=", [a, b]) = (&*function.name, args.as_slice()) else { return None };
    let is_left = |expr: &Expr| !expr.columns().is_empty() && expr.columns().iter().all(|column| *column < width);
    let is_right = |expr: &Expr| !expr.columns().is_empty() && expr.columns().iter().all(|column| *column >= width);
    let (left, right) = match () {
        () if is_left(a) && is_right(b) => (a, b),
        () if is_left(b) && is_right(a) => (b, a),
        () => return None,
    };
    let right = right.map_columns(&mut |index, data_type| {
        Expr::column(if index < SUBQUERY_BASE { index - width } else { index }, data_type.clone())
    });
    Some((left.clone(), right))
}

/// Joins two relations in windows.
fn window_join(left: Rel, right: Rel, kind: JoinKind, condition: Expr, place: Span) -> Result<Rel, SqlError> {
    let (Some(left_window), Some(right_window)) = (left.window.clone(), right.window.clone()) else {
        return Err(SqlError::at(place, "only joins of two windows are supported yet").with_hint(format!(
            "join SELECT * FROM TABLE(TUMBLE(...)) of each table ON l.window_start = r.window_start AND l.window_end = r.window_end AND ...; {BATCH_HINT}",
        )));
    };
    let width = left.columns.len();
    let conditions = Conditions::of(condition, [(&left, &left_window), (&right, &right_window)]);
    let columns = |window: &WindowColumns| window.start.zip(window.end);
    let (Some(left_columns), Some(right_columns)) = (columns(&left_window), columns(&right_window)) else {
        return Err(SqlError::at(place, "both sides of a window join select window_start and window_end"));
    };
    if !conditions.start || !conditions.end {
        return Err(SqlError::at(
            place,
            "a window join is ON equal window_start and equal window_end of both sides, and whatever else",
        )
        .with_hint("add l.window_start = r.window_start AND l.window_end = r.window_end"));
    }
    let zone = |window: &WindowColumns| match &window.over {
        WindowTime::RowTime { zone, .. } => Some(zone.clone()),
        WindowTime::ProcessingTime { .. } | WindowTime::Input => None,
    };
    let (Some(zone), Some(right_zone)) = (zone(&left_window), zone(&right_window)) else {
        return Err(SqlError::at(place, "joins of windows over processing time are not supported yet"));
    };
    if zone != right_zone {
        return Err(SqlError::at(
            place,
            "one side has a row time of TIMESTAMP, the other of TIMESTAMP_LTZ: their windows are not the same",
        ));
    }
    let shown: Vec<Column> = joined_columns(&left.columns, &right.columns, kind);
    let right_width = right.columns.len();
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = conditions.keys.into_iter().unzip();
    let (left, left_keys) = with_keys(left, left_keys);
    let (right, right_keys) = with_keys(right, right_keys);
    // Appended keys of the left move the columns of the right.
    let shift = left.columns.len() - width;
    let moved = |index: usize| if index < width { index } else { index + shift };
    let condition = conditions.rest.into_iter().reduce(crate::rel::and);
    let condition = condition
        .map(|condition| condition.map_columns(&mut |index, data_type| Expr::column(moved(index), data_type.clone())));
    let window = match kind {
        JoinKind::Full => None,
        JoinKind::Right => Some(shifted(&right_window, left.columns.len())),
        _ => Some(left_window),
    };
    let op = RelOp::WindowJoin {
        kind,
        sides: [
            WindowJoinSide { start: left_columns.0, end: left_columns.1, keys: left_keys },
            WindowJoinSide { start: right_columns.0, end: right_columns.1, keys: right_keys },
        ],
        over: WindowTime::RowTime { column: 0, zone },
        condition,
        left: left.clone(),
        right: right.clone(),
    };
    let all = joined_columns(&left.columns, &right.columns, kind);
    let rel = Rel { op: Rc::new(op), columns: all, window };
    if rel.columns.len() == shown.len() {
        return Ok(rel);
    }
    let of_right = (0..right_width).map(|column| left.columns.len() + column);
    let kept = (0..width).chain(of_right).take(shown.len());
    let projection = kept.map(|column| rel.column(column)).collect();
    let names = shown.iter().map(|column| column.name.clone()).collect();
    Ok(calc(rel, None, projection, names))
}

/// The columns that a join emits.
pub(crate) fn joined_columns(left: &[Column], right: &[Column], kind: JoinKind) -> Vec<Column> {
    let side = |columns: &[Column], nullable: bool| -> Vec<Column> {
        let column = |column: &Column| match nullable {
            false => column.clone(),
            true => Column { data_type: column.data_type.logical.clone().nullable(), time: None, ..column.clone() },
        };
        columns.iter().map(column).collect()
    };
    let mut columns = side(left, matches!(kind, JoinKind::Right | JoinKind::Full));
    if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        columns.extend(side(right, matches!(kind, JoinKind::Left | JoinKind::Full)));
    }
    columns
}

/// The relation with a column for each key, and where they are.
pub(super) fn with_keys(rel: Rel, keys: Vec<Expr>) -> (Rel, Vec<usize>) {
    let mut projection = rel.all_columns();
    let mut names: Vec<String> = rel.columns.iter().map(|column| column.name.clone()).collect();
    let mut positions = Vec::new();
    for key in keys {
        let position = projection.iter().position(|column| *column == key).unwrap_or_else(|| {
            names.push(format!("{KEY}{}", projection.len()));
            projection.push(key);
            projection.len() - 1
        });
        positions.push(position);
    }
    if projection.len() == rel.columns.len() {
        return (rel, positions);
    }
    (calc(rel, None, projection, names), positions)
}

fn shifted(window: &WindowColumns, by: usize) -> WindowColumns {
    let shift = |column: Option<usize>| column.map(|column| column + by);
    WindowColumns {
        start: shift(window.start),
        end: shift(window.end),
        time: shift(window.time),
        over: window.over.clone(),
        session_keys: None,
    }
}
