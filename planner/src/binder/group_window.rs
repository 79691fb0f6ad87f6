//! The group windows of old: `GROUP BY TUMBLE(ts, INTERVAL ...)` with `TUMBLE_START(...)` and the like.
//!
//! They become a window function over the FROM clause, whose columns have names that no script can write.

use std::rc::Rc;

use sqlparser::ast::{Expr as Ast, Function, FunctionArgExpr, Ident, Spanned};
use tidemill_common::expr::Expr;
use tidemill_common::plan::WindowTime;
use tidemill_common::types::LogicalType;

use super::aggregate::window_columns;
use super::expr::{ExprBinder, arguments};
use super::window::{Arguments, time_of_column};
use super::{Mode, Scope, Source};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, RelOp, TimeAttribute, WindowColumns, calc};

const FUNCTIONS: [&str; 3] = ["HOP", "SESSION", "TUMBLE"];
const START: &str = "$window_start";
const END: &str = "$window_end";
const TIME: &str = "$window_time";

/// The window of a GROUP BY.
#[derive(Clone, Debug)]
pub struct GroupWindow {
    /// As it is called in GROUP BY.
    function: Function,
    name: &'static str,
    /// Place of the window's first column.
    first: usize,
    time: TimeAttribute,
}

/// The call of a group window.
pub(super) struct Found<'a> {
    function: &'a Function,
    name: &'static str,
}

/// Finds the group window of a GROUP BY.
pub(super) fn find(grouped: &[Ast]) -> Result<Option<Found<'_>>, SqlError> {
    let mut found: Option<Found<'_>> = None;
    for ast in grouped {
        let Ast::Function(function) = ast else { continue };
        let written = function.name.to_string();
        let Some(name) = FUNCTIONS.iter().find(|name| name.eq_ignore_ascii_case(&written)) else { continue };
        if found.is_some() {
            return Err(SqlError::on(ast, "a query is grouped by one window only"));
        }
        found = Some(Found { function, name });
    }
    Ok(found)
}

/// Puts the window over the source, and gives the grouping with its columns in place of the call.
pub(super) fn apply(
    mode: Mode<'_>,
    found: &Found<'_>,
    source: &mut Source,
    scope: &mut Scope,
    filter: Option<Expr>,
    grouped: &[Ast],
) -> Result<Vec<Ast>, SqlError> {
    let span = found.function.name.span();
    let (args, _) = arguments(found.function)?;
    let names: &[&'static str] = match found.name {
        "TUMBLE" => &["SIZE"],
        "HOP" => &["SLIDE", "SIZE"],
        _ => &["GAP"],
    };
    let expected = || {
        SqlError::at(span, format!("{} in GROUP BY takes a time column and {}", found.name, names.join(" and ")))
            .with_hint(
                "for an offset use the window function: FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size, offset))",
            )
    };
    if args.len() != names.len() + 1 {
        return Err(expected());
    }
    let mut expressions = Vec::new();
    for arg in args {
        let FunctionArgExpr::Expr(arg) = arg else { return Err(expected()) };
        expressions.push(arg);
    }
    let time_ast = expressions.remove(0);
    let Expr::Column { index, .. } = ExprBinder::scalar(scope).bind(time_ast)? else {
        return Err(SqlError::on(time_ast, "a window needs a time attribute, not an expression")
            .with_hint("use the column with the WATERMARK itself, or one AS PROCTIME()"));
    };
    let (over, time) = time_of_column(&source.rel.columns[index], index, mode, time_ast.span())?;
    let kind = Arguments::new(found.name, span, names.iter().copied().zip(expressions).collect()).kind()?;

    let input = source.rel.clone();
    let columns_before = input.columns.clone();
    let names = columns_before.iter().map(|column| column.name.clone()).collect();
    let input = match filter {
        None => input,
        Some(filter) => {
            let all = input.all_columns();
            calc(input, Some(filter), all, names)
        }
    };
    let first = columns_before.len();
    let time_type = match &over {
        WindowTime::RowTime { zone: None, .. } => LogicalType::Timestamp(3),
        _ => LogicalType::TimestampLtz(3),
    };
    let mut columns = columns_before;
    for (mut column, name) in window_columns(time_type, time).into_iter().zip([START, END, TIME]) {
        name.clone_into(&mut column.name);
        columns.push(column);
    }
    source.rel = Rel {
        op: Rc::new(RelOp::WindowTableFunction { input, kind, over: over.clone() }),
        columns,
        window: Some(WindowColumns {
            start: Some(first),
            end: Some(first + 1),
            time: Some(first + 2),
            over,
            // All keys of the grouping are keys of a session.
            session_keys: None,
        }),
    };
    let window = GroupWindow { function: found.function.clone(), name: found.name, first, time };
    let of_window = Scope::of(None, &source.rel.columns[first..]);
    *scope = std::mem::take(scope).beside(of_window).with_group_window(window);
    let mut replaced = Vec::new();
    for ast in grouped {
        match ast {
            Ast::Function(function) if std::ptr::eq(function, found.function) => {
                for name in [START, END] {
                    replaced.push(Ast::Identifier(Ident::with_span(span, name)));
                }
            }
            other => replaced.push(other.clone()),
        }
    }
    Ok(replaced)
}

/// The place of the column that an auxiliary function stands for; `None` for all other functions.
pub(super) fn auxiliary(
    window: Option<&GroupWindow>,
    name: &str,
    function: &Function,
) -> Result<Option<usize>, SqlError> {
    let Some((of, part)) = name.split_once('_') else { return Ok(None) };
    if !FUNCTIONS.contains(&of) || !matches!(part, "START" | "END" | "ROWTIME" | "PROCTIME") {
        return Ok(None);
    }
    let span = function.name.span();
    let Some(window) = window else {
        return Err(SqlError::at(span, format!("{name} needs {of}(...) in GROUP BY"))
            .with_hint("with FROM TABLE(TUMBLE(...)) use window_start, window_end and window_time"));
    };
    if window.name != of || window.function.args != function.args {
        return Err(SqlError::at(span, format!("{name} does not have the arguments of the window in GROUP BY"))
            .with_hint(format!("the query is grouped by {}", window.function)));
    }
    match (part, window.time) {
        ("START", _) => Ok(Some(window.first)),
        ("END", _) => Ok(Some(window.first + 1)),
        ("ROWTIME", TimeAttribute::RowTime) | ("PROCTIME", TimeAttribute::ProcessingTime) => Ok(Some(window.first + 2)),
        ("ROWTIME", _) => {
            Err(SqlError::at(span, "the window is over processing time").with_hint(format!("use {of}_PROCTIME")))
        }
        _ => Err(SqlError::at(span, "the window is over event time").with_hint(format!("use {of}_ROWTIME"))),
    }
}
