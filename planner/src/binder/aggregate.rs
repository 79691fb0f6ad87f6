//! SELECT: plain projections, and aggregations over windows or, in batch mode, over all of the input.

use std::rc::Rc;

use sqlparser::ast::{Distinct, Expr as Ast, OrderByExpr, Select, Spanned};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{AggregateCall, WindowKind, WindowTime};
use tidemill_common::types::{DataType, LogicalType};
use tidemill_expr::bind::{bind_aggregate, coerce, fold_constants};

use super::expr::{AGGREGATE_BASE, BoundCall, is_nested};
use super::grouping::{GROUPING, has_grouping, sets};
use super::order::{self, Unordered};
use super::subquery::{SUBQUERY_BASE, Subqueries, SubqueryValues};
use super::window::{WINDOW_COLUMNS, fuse};
use super::{BATCH_HINT, ExprBinder, Item, Mode, Scope, Source, boolean, item_name, select_items, unique_name};
use crate::diagnostic::SqlError;
use crate::rel::{Column, Rel, RelOp, TimeAttribute, WindowColumns, calc};

const WINDOW_HINT: &str = "group by window_start, window_end of TABLE(TUMBLE(...))";

/// An item of a SELECT list.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub expr: Expr,
    pub name: String,
    pub span: Span,
}

/// Binds SELECT list, GROUP BY, HAVING and ORDER BY over a FROM clause and its filter.
pub(super) fn select(
    mode: Mode<'_>,
    select: &Select,
    source: Source,
    scope: &Scope,
    filter: Option<Expr>,
    (grouped, order): (&[Ast], &[OrderByExpr]),
    subqueries: Subqueries<'_, '_>,
) -> Result<Unordered, SqlError> {
    let known: Option<&dyn SubqueryValues> = if mode.batch { Some(&subqueries) } else { None };
    let items = select_items(select, &source, scope)?;
    let mut calls = Vec::new();
    let mut outputs: Vec<Output> = Vec::new();
    for item in &items {
        // What `*` stands for has names that are there once.
        let of_star = |name: &str| unique_name(name, |name| outputs.iter().any(|output| output.name == name));
        let output = match item {
            Item::Column { index } => Output {
                expr: source.rel.column(*index),
                name: of_star(&source.rel.columns[*index].name),
                span: select.span(),
            },
            Item::Field { expr, name } => Output { expr: expr.clone(), name: of_star(name), span: select.span() },
            Item::Expression { ast, name } => {
                let bound = ExprBinder::with_aggregates(scope, &mut calls).known(known).bind(ast)?;
                let name = name.clone().unwrap_or_else(|| item_name(ast, outputs.len()));
                Output { expr: fold_constants(bound, mode.zone), name, span: ast.span() }
            }
        };
        outputs.push(output);
    }
    let having = match &select.having {
        None => None,
        Some(condition) => {
            let bound = ExprBinder::with_aggregates(scope, &mut calls).known(known).bind(condition)?;
            Some((boolean(fold_constants(bound, mode.zone), condition.span())?, condition.span()))
        }
    };
    let width = outputs.len();
    let keys = order::of_select(&mut outputs, order, |ast, selected| {
        let bound = ExprBinder::with_aggregates(scope, &mut calls).known(known).selected(selected).bind(ast)?;
        Ok(fold_constants(bound, mode.zone))
    })?;
    let steps = subqueries.steps();
    let is_distinct = matches!(select.distinct, Some(Distinct::Distinct));
    if is_distinct && let Some(output) = outputs.get(width) {
        return Err(SqlError::at(output.span, "ORDER BY of SELECT DISTINCT takes what is selected, only")
            .with_hint("select the expression too"));
    }
    if grouped.is_empty()
        && let Some(output) = outputs.iter().find(|output| has_grouping(&output.expr))
    {
        return Err(SqlError::at(output.span, "GROUPING needs a GROUP BY"));
    }
    let rel = if grouped.is_empty() && calls.is_empty() && having.is_none() {
        let (mut exprs, names): (Vec<Expr>, _) = outputs.into_iter().map(|output| (output.expr, output.name)).unzip();
        let (rel, filter) = steps.join_filtered(source.rel, filter, &mut exprs)?;
        calc(rel, filter, exprs, names)
    } else {
        if grouped.is_empty() && !mode.batch {
            return Err(SqlError::on(select, "aggregates without windows are not supported yet")
                .with_hint(format!("{WINDOW_HINT}; {BATCH_HINT}")));
        }
        let place = grouped.first().map_or_else(|| select.span(), Spanned::span);
        Grouping { mode, source, scope, filter, calls, outputs, having, known, subqueries: &subqueries, place }
            .all_sets(grouped)?
    };
    let rel = if is_distinct { distinct(rel, select.span())? } else { rel };
    Ok(Unordered { rel, keys, width })
}

/// The rows, each once.
pub(super) fn distinct(rel: Rel, place: Span) -> Result<Rel, SqlError> {
    let keys = (0..rel.columns.len()).collect();
    whole_of(rel, keys, Vec::new(), place)
}

/// All rows grouped by some columns, with what aggregates make of others. Columns: keys, calls.
pub(super) fn whole(rel: Rel, keys: Vec<usize>, calls: &[(&str, &[usize])], place: Span) -> Result<Rel, SqlError> {
    let call = |(name, args): &(&str, &[usize])| -> Result<AggregateCall, SqlError> {
        let bound = bind_aggregate(name, args.iter().map(|column| rel.column(*column)).collect(), false)
            .map_err(|error| SqlError::at(place, error.message))?;
        Ok(AggregateCall {
            args: args.to_vec(),
            arg_types: bound.args.iter().map(|arg| arg.data_type().clone()).collect(),
            function: bound.function,
            distinct: false,
            filter: None,
            return_type: bound.return_type,
        })
    };
    let calls = calls.iter().map(call).collect::<Result<Vec<_>, _>>()?;
    whole_of(rel, keys, calls, place)
}

/// The same with calls that are bound.
pub(super) fn whole_of(rel: Rel, keys: Vec<usize>, calls: Vec<AggregateCall>, place: Span) -> Result<Rel, SqlError> {
    check_keys(&rel, &keys, place)?;
    let columns = aggregated_columns(&rel, &keys, &calls);
    let (kind, over) = (WindowKind::Whole, WindowTime::Input);
    Ok(Rel { op: Rc::new(RelOp::WindowAggregate { input: rel, kind, over, keys, calls }), columns, window: None })
}

/// Keys and calls, as columns.
fn aggregated_columns(rel: &Rel, keys: &[usize], calls: &[AggregateCall]) -> Vec<Column> {
    let keys = keys.iter().map(|key| Column { time: None, ..rel.columns[*key].clone() });
    let call = |(index, call): (usize, &AggregateCall)| Column {
        name: format!("$agg{index}"),
        data_type: call.return_type.clone(),
        time: None,
    };
    keys.chain(calls.iter().enumerate().map(call)).collect()
}

/// Calls whose arguments and filters have become columns.
pub(super) fn aggregate_calls(calls: &[BoundCall], mut column: impl FnMut(Expr) -> usize) -> Vec<AggregateCall> {
    let of = |bound: &BoundCall| AggregateCall {
        args: bound.args.iter().map(|arg| column(arg.clone())).collect(),
        filter: bound.filter.clone().map(&mut column),
        ..bound.call.clone()
    };
    calls.iter().map(of).collect()
}

/// A SELECT with GROUP BY.
struct Grouping<'a, 'b, 'q> {
    mode: Mode<'a>,
    source: Source,
    scope: &'a Scope,
    filter: Option<Expr>,
    calls: Vec<BoundCall>,
    outputs: Vec<Output>,
    having: Option<(Expr, Span)>,
    subqueries: &'a Subqueries<'b, 'q>,
    /// The same where they may stand.
    known: Option<&'a dyn SubqueryValues>,
    /// Of the clause.
    place: Span,
}

impl Grouping<'_, '_, '_> {
    /// Groups by all sets of keys that a GROUP BY stands for.
    fn all_sets(&self, grouped: &[Ast]) -> Result<Rel, SqlError> {
        let Some(sets) = sets(grouped)? else { return self.select(grouped, None) };
        // Each set is an aggregation of its own over one input; keys that it has not are NULL.
        let mut all: Vec<Expr> = Vec::new();
        for key in sets.iter().flatten() {
            let key = fold_constants(ExprBinder::scalar(self.scope).known(self.known).bind(key)?, self.mode.zone);
            if !all.contains(&key) {
                all.push(key);
            }
        }
        let mut union: Option<Rel> = None;
        for set in &sets {
            let one = self.select(set, Some(&all))?;
            union = Some(match union {
                None => one,
                Some(before) => {
                    let window = before.window.clone();
                    Rel { window, ..super::union(before, one, "UNION ALL", self.place)? }
                }
            });
        }
        union.ok_or_else(|| SqlError::at(self.place, "GROUP BY has no grouping set"))
    }

    /// The window that these expressions group by both ends of, and the other keys. In batch mode there need
    /// not be one.
    fn window(&self, grouped: &[Ast], is_set: bool) -> Result<(Option<WindowColumns>, Vec<Expr>), SqlError> {
        let (batch, place) = (self.mode.batch, self.place);
        let Some(window) = self.source.rel.window.clone() else {
            if batch {
                return Ok((None, self.keys(grouped, None)?.0));
            }
            return Err(SqlError::at(place, "GROUP BY without a window is not supported yet")
                .with_hint(format!("{WINDOW_HINT}; {BATCH_HINT}")));
        };
        let (keys, mut has_start, mut has_end) = self.keys(grouped, Some(&window))?;
        if window.start.is_none() || window.end.is_none() {
            (has_start, has_end) = (false, false);
        }
        if has_start && has_end {
            return Ok((Some(window), keys));
        }
        if batch {
            return Ok((None, self.keys(grouped, None)?.0));
        }
        let missing = if is_set {
            "write GROUP BY window_start, window_end, GROUPING SETS (...): every set needs both"
        } else {
            "add the missing one to GROUP BY"
        };
        Err(SqlError::at(
            place,
            "a window aggregation groups by both window_start and window_end; without them it would update for ever, which is not supported yet",
        )
        .with_hint(format!("{missing}; {BATCH_HINT}")))
    }

    /// Groups by one set of keys. `all` are the keys of all sets, if there are several.
    fn select(&self, grouped: &[Ast], all: Option<&[Expr]>) -> Result<Rel, SqlError> {
        let input = self.source.rel.clone();
        let place = self.place;
        let (window, keys) = self.window(grouped, all.is_some())?;
        let is_session = window.as_ref().is_some_and(|window| window.session_keys.is_some())
            || matches!(&*input.op, RelOp::WindowTableFunction { kind: WindowKind::Session { .. }, .. });
        if all.is_some() && is_session && window.is_some() {
            return Err(SqlError::at(place, "GROUPING SETS over a SESSION window are not supported yet"));
        }
        if let Some(window) = &window {
            check_session_keys(window, &keys, place)?;
        }

        // Below the aggregation stand plain columns: keys, arguments, filters.
        let mut below = Below::default();
        let mut key_columns: Vec<usize> = keys.iter().map(|key| below.column(key.clone())).collect();
        if window.is_none() && keys.is_empty() && all.is_some() {
            // Of no input the set without keys has no row among others, as in Flink: its key is a constant.
            key_columns.push(below.column(Expr::literal(Scalar::Int(0), LogicalType::Int)));
        }
        let calls = aggregate_calls(&self.calls, |expr| below.column(fold_constants(expr, self.mode.zone)));
        let steps = self.subqueries.steps();
        let (input, filter) = steps.join_filtered(input, self.filter.clone(), &mut below.columns)?;
        let (rel, kind, over) = match &window {
            Some(window) => window_input(input, window, filter, below)?,
            None => {
                let names = names(&below.columns, &input);
                let rel = calc(input, filter, below.columns, names);
                check_keys(&rel, &key_columns, place)?;
                (rel, WindowKind::Whole, WindowTime::Input)
            }
        };

        let key_count = key_columns.len();
        let time_type = match &over {
            WindowTime::RowTime { zone: None, .. } => LogicalType::Timestamp(3),
            _ => LogicalType::TimestampLtz(3),
        };
        let time_attribute = match over {
            WindowTime::RowTime { .. } | WindowTime::Input => TimeAttribute::RowTime,
            WindowTime::ProcessingTime { .. } => TimeAttribute::ProcessingTime,
        };
        let mut columns = aggregated_columns(&rel, &key_columns, &calls);
        let first_window_column = columns.len();
        if window.is_some() {
            columns.extend(window_columns(time_type, time_attribute));
        }
        let aggregate = Rel {
            op: Rc::new(RelOp::WindowAggregate { input: rel, kind, over: over.clone(), keys: key_columns, calls }),
            columns,
            window: window.is_some().then(|| WindowColumns {
                start: Some(first_window_column),
                end: Some(first_window_column + 1),
                time: Some(first_window_column + 2),
                over,
                session_keys: None,
            }),
        };

        let above = Above {
            keys: &keys,
            all: all.unwrap_or(&keys),
            key_count,
            window: window.as_ref(),
            first_window_column,
            rel: &aggregate,
            scope: self.scope,
        };
        let mut projection = Vec::new();
        let mut names = Vec::new();
        for Output { expr, name, span } in &self.outputs {
            projection.push(above.replace(expr, *span)?);
            names.push(name.clone());
        }
        let having = self.having.as_ref().map(|(condition, span)| above.replace(condition, *span)).transpose()?;
        projection.extend(having.clone());
        let rel = steps.join(aggregate.clone(), &mut projection, &|outer| above.replace(outer, place))?;
        let filter = having.and_then(|_| projection.pop());
        Ok(calc(rel, filter, projection, names))
    }

    /// The grouping expressions but for the window's columns, and whether those were named.
    fn keys(&self, grouped: &[Ast], window: Option<&WindowColumns>) -> Result<(Vec<Expr>, bool, bool), SqlError> {
        let is = |index: usize, of: fn(&WindowColumns) -> Option<usize>| window.and_then(of) == Some(index);
        let (mut keys, mut has_start, mut has_end) = (Vec::new(), false, false);
        for ast in grouped {
            let key = fold_constants(ExprBinder::scalar(self.scope).known(self.known).bind(ast)?, self.mode.zone);
            match &key {
                Expr::Column { index, .. } if is(*index, |window| window.start) => has_start = true,
                Expr::Column { index, .. } if is(*index, |window| window.end) => has_end = true,
                Expr::Column { index, .. } if is(*index, |window| window.time) => {}
                Expr::Literal { value: Scalar::Int(_), .. } => {
                    return Err(SqlError::on(ast, "GROUP BY a number has no meaning")
                        .with_hint("positions are not column references in Flink: repeat the expression"));
                }
                key if !keys.contains(key) => keys.push(key.clone()),
                _ => {}
            }
        }
        Ok((keys, has_start, has_end))
    }
}

/// A session window is made per key of its PARTITION BY, so those must be the keys of the grouping.
fn check_session_keys(window: &WindowColumns, keys: &[Expr], place: Span) -> Result<(), SqlError> {
    let Some(session_keys) = &window.session_keys else { return Ok(()) };
    let mut partition: Vec<Expr> = Vec::new();
    for key in session_keys {
        match key.and_then(|key| keys.iter().find(|k| matches!(k, Expr::Column { index, .. } if *index == key))) {
            Some(key) => partition.push(key.clone()),
            None => {
                return Err(SqlError::at(place, "every PARTITION BY column of SESSION must be a GROUP BY column too"));
            }
        }
    }
    if partition.len() != keys.len() {
        return Err(SqlError::at(
            place,
            "grouping a SESSION window by more than its PARTITION BY columns is not supported yet",
        )
        .with_hint("add the columns to PARTITION BY"));
    }
    Ok(())
}

/// The columns that the aggregation reads, each once.
#[derive(Default)]
struct Below {
    columns: Vec<Expr>,
}

impl Below {
    fn column(&mut self, expr: Expr) -> usize {
        self.columns.iter().position(|column| *column == expr).unwrap_or_else(|| {
            self.columns.push(expr);
            self.columns.len() - 1
        })
    }
}

/// The names of what the aggregation reads.
fn names(columns: &[Expr], rel: &Rel) -> Vec<String> {
    let name = |(position, column): (usize, &Expr)| match column {
        Expr::Column { index, .. } => rel.columns[*index].name.clone(),
        _ => format!("$f{position}"),
    };
    columns.iter().enumerate().map(name).collect()
}

/// Rows are grouped by values that can be compared.
pub(super) fn check_keys(rel: &Rel, keys: &[usize], place: Span) -> Result<(), SqlError> {
    let nested = keys
        .iter()
        .map(|key| &rel.columns[*key])
        .find(|column| is_nested(&column.data_type.logical) && column.data_type.logical != LogicalType::Null);
    match nested {
        None => Ok(()),
        Some(column) => Err(SqlError::at(
            place,
            format!("grouping by '{}', which is {}, is not supported yet", column.name, column.data_type),
        )
        .with_hint("group by its parts")),
    }
}

/// Projects what the aggregation reads, with the window fused into the aggregation where possible.
fn window_input(
    input: Rel,
    window: &WindowColumns,
    filter: Option<Expr>,
    mut below: Below,
) -> Result<(Rel, WindowKind, WindowTime), SqlError> {
    if let Some(fused) = fuse(&input)
        && let Some(columns) = fused.remap_all(&below.columns)
        && let Some(filter) = fused.remap_filter(filter.as_ref())
    {
        let mut columns = columns;
        let over = match fused.over {
            WindowTime::RowTime { column, zone } => {
                let time = fused.rel.column(column);
                let position = columns.iter().position(|column| *column == time).unwrap_or_else(|| {
                    columns.push(time);
                    columns.len() - 1
                });
                WindowTime::RowTime { column: position, zone }
            }
            processing => processing,
        };
        let names = names(&columns, &fused.rel);
        return Ok((calc(fused.rel, filter, columns, names), fused.kind, over));
    }
    // The window stays in the columns, put there by a window function or an earlier aggregation.
    let (Some(start), Some(end)) = (window.start, window.end) else {
        return Err(SqlError::general("window_start and window_end were lost on the way to this aggregation"));
    };
    let start = below.column(input.column(start));
    let end = below.column(input.column(end));
    let over = match &window.over {
        WindowTime::RowTime { zone, .. } => {
            // Only the zone counts: the time of the window is that of its end.
            WindowTime::RowTime { column: end, zone: zone.clone() }
        }
        processing => processing.clone(),
    };
    let names = names(&below.columns, &input);
    Ok((calc(input, filter, below.columns, names), WindowKind::Attached { start, end }, over))
}

/// `window_start`, `window_end`, `window_time`.
pub(super) fn window_columns(time_type: LogicalType, time: TimeAttribute) -> [Column; 3] {
    let bound =
        |name: &str| Column { name: name.to_owned(), data_type: LogicalType::Timestamp(3).not_null(), time: None };
    let [start, end, window_time] = WINDOW_COLUMNS;
    [
        bound(start),
        bound(end),
        Column { name: window_time.to_owned(), data_type: time_type.not_null(), time: Some(time) },
    ]
}

/// Rewrites SELECT items from the columns below the aggregation to those above it.
struct Above<'a> {
    keys: &'a [Expr],
    /// The keys of all grouping sets.
    all: &'a [Expr],
    key_count: usize,
    /// None in batch mode without one.
    window: Option<&'a WindowColumns>,
    first_window_column: usize,
    rel: &'a Rel,
    scope: &'a Scope,
}

impl Above<'_> {
    fn is_window(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Column { index, .. } if self.window_columns().contains(&Some(*index)))
    }

    fn window_columns(&self) -> [Option<usize>; 3] {
        self.window.map_or([None; 3], |window| [window.start, window.end, window.time])
    }

    /// The value of GROUPING: a bit for each argument, 1 if the set does not have it.
    fn grouping(&self, args: &[Expr], span: Span) -> Result<i64, SqlError> {
        let mut bits = 0;
        for arg in args {
            if !self.all.contains(arg) && !self.is_window(arg) {
                return Err(SqlError::at(span, "an argument of GROUPING is not in GROUP BY"));
            }
            let missing = !self.keys.contains(arg) && !self.is_window(arg);
            bits = bits << 1 | i64::from(missing);
        }
        Ok(bits)
    }

    fn replace(&self, expr: &Expr, span: Span) -> Result<Expr, SqlError> {
        if let Some(key) = self.keys.iter().position(|key| key == expr) {
            return Ok(self.rel.column(key));
        }
        if self.all.contains(expr) && !self.is_window(expr) {
            let null = Expr::literal(Scalar::Null, LogicalType::Null);
            return coerce(null, &expr.data_type().logical.clone().nullable())
                .map_err(|error| SqlError::at(span, error.message));
        }
        if let Expr::Call { function, args, data_type } = expr
            && function.name == GROUPING
        {
            return self
                .grouping(args, span)
                .map(|bits| Expr::Literal { value: Scalar::BigInt(bits), data_type: data_type.clone() });
        }
        if let Expr::Column { index, .. } = expr {
            return match self.window_columns().iter().position(|column| *column == Some(*index)) {
                Some(position) => Ok(self.rel.column(self.first_window_column + position)),
                None if *index >= SUBQUERY_BASE => Ok(expr.clone()),
                None if *index >= AGGREGATE_BASE => Ok(self.rel.column(self.key_count + index - AGGREGATE_BASE)),
                None => Err(SqlError::at(
                    span,
                    format!("column '{}' is neither grouped nor aggregated", self.scope.name(*index)),
                )
                .with_hint("add it to GROUP BY, or aggregate it")),
            };
        }
        self.replace_below(expr, span)
    }

    fn replace_below(&self, expr: &Expr, span: Span) -> Result<Expr, SqlError> {
        let boxed = |expr: &Expr| self.replace(expr, span).map(Box::new);
        Ok(match expr {
            Expr::Column { .. } | Expr::Literal { .. } => expr.clone(),
            Expr::Call { function, args, data_type } => Expr::Call {
                function: function.clone(),
                args: args.iter().map(|arg| self.replace(arg, span)).collect::<Result<_, _>>()?,
                data_type: data_type.clone(),
            },
            Expr::Cast { input, data_type, try_cast } => {
                Expr::Cast { input: boxed(input)?, data_type: data_type.clone(), try_cast: *try_cast }
            }
            Expr::Case { branches, otherwise, data_type } => Expr::Case {
                branches: branches
                    .iter()
                    .map(|(condition, value)| Ok((self.replace(condition, span)?, self.replace(value, span)?)))
                    .collect::<Result<_, SqlError>>()?,
                otherwise: otherwise.as_ref().map(|value| boxed(value)).transpose()?,
                data_type: data_type.clone(),
            },
        })
    }
}

/// The type of a window's time, for messages.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type.logical, LogicalType::Timestamp(0..=3) | LogicalType::TimestampLtz(0..=3))
}
