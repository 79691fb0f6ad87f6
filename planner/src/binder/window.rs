//! Window table functions: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))`.

use std::rc::Rc;

use sqlparser::ast::{
    Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned,
};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::limits::WINDOWS_PER_ROW_MAX;
use tidemill_common::plan::{WindowKind, WindowTime};
use tidemill_common::suggest::nearest;
use tidemill_common::types::LogicalType;

use super::aggregate::{is_time, window_columns};
use super::expr::interval_literal;
use super::{Mode, QueryBinder};
use crate::diagnostic::SqlError;
use crate::dialect::PARTITION_BY_CALL;
use crate::rel::{Column, Rel, RelOp, TimeAttribute, WindowColumns, calc};

/// The columns that a window function appends.
pub(super) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

const FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// The arguments of a window function by the names Flink gives them.
pub(super) struct Arguments<'a> {
    function: &'static str,
    span: Span,
    values: Vec<(&'static str, &'a Ast)>,
}

impl QueryBinder<'_> {
    /// Binds the argument of `TABLE(...)`.
    pub(super) fn window_function(&mut self, ast: &Ast) -> Result<Rel, SqlError> {
        let Ast::Function(function) = ast else {
            return Err(SqlError::on(ast, "expected a window function in TABLE(...)")
                .with_hint("TUMBLE, HOP, CUMULATE or SESSION"));
        };
        let arguments = Arguments::of(function)?;
        let (table, partition) = self.table_argument(arguments.required("DATA")?)?;
        for name in WINDOW_COLUMNS {
            if table.columns.iter().any(|column| column.name == name) {
                return Err(SqlError::at(arguments.span, format!("the table already has a column '{name}'"))
                    .with_hint("rename it in a view first"));
            }
        }
        let (over, time) = self.time(&arguments, &table)?;
        let kind = arguments.kind()?;
        let time_type = match &over {
            WindowTime::RowTime { zone: None, .. } => LogicalType::Timestamp(3),
            _ => LogicalType::TimestampLtz(3),
        };
        let first = table.columns.len();
        let mut columns = table.columns.clone();
        columns.extend(window_columns(time_type, time));
        let session_keys = match kind {
            WindowKind::Session { .. } => Some(partition.into_iter().map(Some).collect()),
            _ if partition.is_empty() => None,
            _ => {
                return Err(SqlError::at(arguments.span, format!("{} takes no PARTITION BY", arguments.function))
                    .with_hint("group by the columns"));
            }
        };
        Ok(Rel {
            op: Rc::new(RelOp::WindowTableFunction { input: table, kind, over: over.clone() }),
            columns,
            window: Some(WindowColumns {
                start: Some(first),
                end: Some(first + 1),
                time: Some(first + 2),
                over,
                session_keys,
            }),
        })
    }

    /// `TABLE t` or `TABLE t PARTITION BY a, b`, as the dialect layer rewrote them.
    fn table_argument(&mut self, ast: &Ast) -> Result<(Rel, Vec<usize>), SqlError> {
        match ast {
            Ast::Identifier(name) => Ok((self.named(&ObjectName::from(vec![name.clone()]))?, Vec::new())),
            Ast::CompoundIdentifier(names) => Ok((self.named(&ObjectName::from(names.clone()))?, Vec::new())),
            Ast::Function(function) if function.name.to_string() == PARTITION_BY_CALL => {
                let (arguments, _) = super::expr::arguments(function)?;
                let mut parts = arguments.into_iter();
                let Some(FunctionArgExpr::Expr(table)) = parts.next() else {
                    return Err(SqlError::on(ast, "expected TABLE name"));
                };
                let (table, _) = self.table_argument(table)?;
                let mut columns = Vec::new();
                for part in parts {
                    let FunctionArgExpr::Expr(Ast::Identifier(name)) = part else {
                        return Err(SqlError::on(ast, "PARTITION BY takes columns"));
                    };
                    columns.push(position(&table, name)?);
                }
                Ok((table, columns))
            }
            Ast::Subquery(query) => Ok((self.query(query)?, Vec::new())),
            other => Err(SqlError::on(other, "expected TABLE name")),
        }
    }

    /// `DESCRIPTOR(column)`: a time attribute.
    fn time(&self, arguments: &Arguments<'_>, table: &Rel) -> Result<(WindowTime, TimeAttribute), SqlError> {
        let ast = arguments.required("TIMECOL")?;
        let name = match ast {
            Ast::Function(function) if function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
                match super::expr::arguments(function)?.0.as_slice() {
                    [FunctionArgExpr::Expr(Ast::Identifier(name))] => name,
                    _ => return Err(SqlError::on(ast, "expected DESCRIPTOR(column)")),
                }
            }
            other => return Err(SqlError::on(other, "expected DESCRIPTOR(column)")),
        };
        let index = position(table, name)?;
        time_of_column(&table.columns[index], index, self.mode, name.span)
    }
}

/// What a window over this column is over.
pub(super) fn time_of_column(
    column: &Column,
    index: usize,
    mode: Mode<'_>,
    place: Span,
) -> Result<(WindowTime, TimeAttribute), SqlError> {
    let zone = mode.zone.to_owned();
    // In batch mode there are no watermarks: any time will do.
    let time = if mode.batch && column.time.is_none() && is_time(&column.data_type) {
        Some(TimeAttribute::RowTime)
    } else {
        column.time
    };
    match time {
        Some(TimeAttribute::ProcessingTime) if mode.batch => {
            Err(SqlError::at(place, "windows over processing time do not exist in batch mode")
                .with_hint("use a column of the rows, or SET 'execution.runtime-mode' = 'streaming'"))
        }
        Some(TimeAttribute::RowTime) => {
            let zone = matches!(column.data_type.logical, LogicalType::TimestampLtz(_)).then_some(zone);
            Ok((WindowTime::RowTime { column: index, zone }, TimeAttribute::RowTime))
        }
        Some(TimeAttribute::ProcessingTime) => Ok((WindowTime::ProcessingTime { zone }, TimeAttribute::ProcessingTime)),
        None => {
            let error = SqlError::at(
                place,
                format!("a window needs a time attribute, but '{}' is a plain {}", column.name, column.data_type),
            );
            Err(error.with_hint(if is_time(&column.data_type) {
                "declare WATERMARK FOR it in CREATE TABLE, and use the column itself: expressions and casts lose the attribute"
            } else {
                "use a column with WATERMARK FOR, or one AS PROCTIME()"
            }))
        }
    }
}

impl<'a> Arguments<'a> {
    /// Arguments that are sorted already.
    pub(super) fn new(function: &'static str, span: Span, values: Vec<(&'static str, &'a Ast)>) -> Self {
        Self { function, span, values }
    }

    /// Sorts positional and named arguments.
    fn of(function: &'a Function) -> Result<Self, SqlError> {
        let span = function.name.span();
        let written = function.name.to_string();
        let Some(name) = FUNCTIONS.iter().find(|name| name.eq_ignore_ascii_case(&written)) else {
            return Err(SqlError::at(span, format!("unknown window function '{written}'"))
                .with_suggestion(nearest(&written, FUNCTIONS)));
        };
        let names: &[&'static str] = match *name {
            "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            _ => &["DATA", "TIMECOL", "GAP"],
        };
        let FunctionArguments::List(list) = &function.args else {
            return Err(SqlError::at(span, format!("{name} takes {}", names.join(", "))));
        };
        let mut values: Vec<(&'static str, &'a Ast)> = Vec::new();
        for (index, argument) in list.args.iter().enumerate() {
            let (slot, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (names.get(index).copied(), value),
                FunctionArg::Named { name: given, arg: FunctionArgExpr::Expr(value), .. } => {
                    let slot = names.iter().find(|known| known.eq_ignore_ascii_case(&given.value));
                    if slot.is_none() {
                        return Err(SqlError::at(given.span, format!("{name} has no argument '{}'", given.value))
                            .with_suggestion(nearest(&given.value, names.iter().copied())));
                    }
                    (slot.copied(), value)
                }
                _ => (None, function_span_ast(function, span)?),
            };
            let Some(slot) = slot else {
                return Err(SqlError::at(
                    span,
                    format!("{name} takes at most {} arguments: {}", names.len(), names.join(", ")),
                ));
            };
            if values.iter().any(|(taken, _)| *taken == slot) {
                return Err(SqlError::at(span, format!("argument '{slot}' of {name} is given twice")));
            }
            values.push((slot, value));
        }
        Ok(Self { function: name, span, values })
    }

    fn get(&self, name: &str) -> Option<&'a Ast> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn required(&self, name: &str) -> Result<&'a Ast, SqlError> {
        self.get(name).ok_or_else(|| SqlError::at(self.span, format!("{} needs its argument {name}", self.function)))
    }

    fn interval(&self, name: &str) -> Result<Option<i64>, SqlError> {
        let Some(ast) = self.get(name) else { return Ok(None) };
        let millis = match ast {
            Ast::Interval(interval) => match interval_literal(interval).map_err(|error| error.or_at(ast.span()))? {
                Expr::Literal { value: Scalar::IntervalMillis(millis), .. } => Some(millis),
                _ => None,
            },
            Ast::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr } => match &**expr {
                Ast::Interval(interval) => match interval_literal(interval).map_err(|error| error.or_at(ast.span()))? {
                    Expr::Literal { value: Scalar::IntervalMillis(millis), .. } => Some(-millis),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        match millis {
            Some(millis) => Ok(Some(millis)),
            None => {
                Err(SqlError::at(ast.span(), format!("{name} of {} is an interval of days to seconds", self.function))
                    .with_hint("write for instance INTERVAL '5' MINUTE"))
            }
        }
    }

    fn positive(&self, name: &str) -> Result<i64, SqlError> {
        let value = self.interval(name)?;
        match value {
            Some(millis) if millis > 0 => Ok(millis),
            Some(millis) => Err(SqlError::at(
                self.span,
                format!("{name} of {} must be positive, but is {millis} ms", self.function),
            )),
            None => Err(SqlError::at(self.span, format!("{} needs its argument {name}", self.function))),
        }
    }

    pub(super) fn kind(&self) -> Result<WindowKind, SqlError> {
        let offset_ms = self.interval("OFFSET")?.unwrap_or(0);
        let divides = |step: i64, size: i64, what: &str| {
            if size % step != 0 {
                return Err(SqlError::at(
                    self.span,
                    format!(
                        "{} needs a size that is a multiple of its {what}, but the size is {size} ms and the {what} {step} ms",
                        self.function
                    ),
                ));
            }
            if size / step > WINDOWS_PER_ROW_MAX {
                return Err(SqlError::at(
                    self.span,
                    format!("a row would be in {} windows, {WINDOWS_PER_ROW_MAX} are the most", size / step),
                ));
            }
            Ok(())
        };
        Ok(match self.function {
            "TUMBLE" => {
                let size_ms = self.positive("SIZE")?;
                if offset_ms.checked_abs().is_none_or(|offset| offset >= size_ms) {
                    return Err(SqlError::at(
                        self.span,
                        format!(
                            "TUMBLE needs an offset below its size, but the size is {size_ms} ms and the offset {offset_ms} ms"
                        ),
                    ));
                }
                WindowKind::Tumble { size_ms, offset_ms }
            }
            "HOP" => {
                let (slide_ms, size_ms) = (self.positive("SLIDE")?, self.positive("SIZE")?);
                divides(slide_ms, size_ms, "slide")?;
                WindowKind::Hop { size_ms, slide_ms, offset_ms }
            }
            "CUMULATE" => {
                let (step_ms, max_size_ms) = (self.positive("STEP")?, self.positive("SIZE")?);
                divides(step_ms, max_size_ms, "step")?;
                WindowKind::Cumulate { max_size_ms, step_ms, offset_ms }
            }
            _ => WindowKind::Session { gap_ms: self.positive("GAP")? },
        })
    }
}

fn function_span_ast(function: &Function, span: Span) -> Result<&Ast, SqlError> {
    Err(SqlError::at(span, format!("an argument of {} is no expression", function.name)))
}

fn position(table: &Rel, name: &Ident) -> Result<usize, SqlError> {
    table.columns.iter().position(|column| column.name == name.value).ok_or_else(|| {
        let names = table.columns.iter().map(|column| column.name.as_str());
        SqlError::at(name.span, format!("unknown column '{}'", name.value)).with_suggestion(nearest(&name.value, names))
    })
}

/// The input of a window function, reached through filters and projections that do not compute with
/// the window's columns: the aggregation above can assign the windows itself.
pub(super) struct Fused {
    pub rel: Rel,
    pub kind: WindowKind,
    /// Its column is one of `rel`.
    pub over: WindowTime,
    /// Where each column of the relation above is in `rel`; `None` for the window's columns.
    columns: Vec<Option<usize>>,
}

impl Fused {
    /// These expressions over `rel`, unless one uses a column of the window.
    pub fn remap_all(&self, exprs: &[Expr]) -> Option<Vec<Expr>> {
        exprs.iter().map(|expr| self.remap(expr)).collect()
    }

    /// The filter over `rel`; the outer `None` if it uses a column of the window.
    pub fn remap_filter(&self, filter: Option<&Expr>) -> Option<Option<Expr>> {
        match filter {
            None => Some(None),
            Some(filter) => self.remap(filter).map(Some),
        }
    }

    fn remap(&self, expr: &Expr) -> Option<Expr> {
        let lost = expr.columns().into_iter().any(|column| self.columns[column].is_none());
        (!lost).then(|| {
            expr.map_columns(&mut |index, data_type| {
                Expr::column(self.columns[index].unwrap_or_default(), data_type.clone())
            })
        })
    }
}

/// Finds the window function below filters and projections.
pub(super) fn fuse(rel: &Rel) -> Option<Fused> {
    match &*rel.op {
        RelOp::WindowTableFunction { input, kind, over } => {
            let columns = (0..rel.columns.len()).map(|index| (index < input.columns.len()).then_some(index)).collect();
            Some(Fused { rel: input.clone(), kind: kind.clone(), over: over.clone(), columns })
        }
        RelOp::Calc { input, filter, projection } => {
            let below = fuse(input)?;
            let filter = below.remap_filter(filter.as_ref())?;
            let mut exprs = Vec::new();
            let mut names = Vec::new();
            let mut columns = Vec::new();
            for (expr, column) in projection.iter().zip(&rel.columns) {
                match (below.remap(expr), expr) {
                    (Some(expr), _) => {
                        columns.push(Some(exprs.len()));
                        exprs.push(expr);
                        names.push(column.name.clone());
                    }
                    (None, Expr::Column { .. }) => columns.push(None),
                    (None, _) => return None,
                }
            }
            let over = match below.over {
                WindowTime::RowTime { column, zone } => {
                    exprs.push(below.rel.column(column));
                    names.push(below.rel.columns[column].name.clone());
                    WindowTime::RowTime { column: exprs.len() - 1, zone }
                }
                processing => processing,
            };
            Some(Fused { rel: calc(below.rel, filter, exprs, names), kind: below.kind, over, columns })
        }
        _ => None,
    }
}
