//! ORDER BY, LIMIT, OFFSET and FETCH: in batch mode.

use std::rc::Rc;

use sqlparser::ast::{
    Expr as Ast, LimitClause, OrderByExpr, OrderByKind, OrderBySort, Query, Spanned, UnaryOperator, Value,
};
use tidemill_common::expr::Expr;
use tidemill_common::plan::{RowRange, SortKey};
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::fold_constants;

use super::aggregate::Output;
use super::expr::{ExprBinder, is_nested};
use super::{BATCH_HINT, Mode, Scope};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, RelOp, calc};

/// A query's rows before they are put in order.
pub(super) struct Unordered {
    /// The columns of the query, then those that are only sorted by.
    pub rel: Rel,
    pub keys: Vec<SortKey>,
    /// How many columns the query has.
    pub width: usize,
}

impl Unordered {
    /// The rows in order that are in a range.
    pub fn sorted(self, rows: RowRange) -> Rel {
        let Self { rel, keys, width } = self;
        if keys.is_empty() && rows == RowRange::default() {
            return rel;
        }
        let (columns, window) = (rel.columns.clone(), rel.window.clone());
        let rel = Rel { op: Rc::new(RelOp::Sort { input: rel, keys, rows }), columns, window };
        if rel.columns.len() == width {
            return rel;
        }
        let projection = (0..width).map(|column| rel.column(column)).collect();
        let names = rel.columns[..width].iter().map(|column| column.name.clone()).collect();
        calc(rel, None, projection, names)
    }
}

/// The items of a query's ORDER BY.
pub(super) fn items<'q>(query: &'q Query, mode: Mode<'_>) -> Result<&'q [OrderByExpr], SqlError> {
    let Some(order_by) = &query.order_by else { return Ok(&[]) };
    if !mode.batch {
        return Err(SqlError::on(order_by, "ORDER BY on a stream is not supported yet").with_hint(BATCH_HINT));
    }
    match &order_by.kind {
        OrderByKind::Expressions(items) if order_by.interpolate.is_none() => Ok(items),
        _ => Err(SqlError::on(order_by, "ORDER BY takes expressions, each with ASC or DESC and NULLS FIRST or LAST")),
    }
}

/// Which rows LIMIT, OFFSET and FETCH leave.
pub(super) fn range(query: &Query, mode: Mode<'_>) -> Result<RowRange, SqlError> {
    let mut range = RowRange::default();
    let refuse = |word: &str, place: SqlError| {
        Err(SqlError { message: format!("{word} on a stream is not supported yet"), ..place }.with_hint(BATCH_HINT))
    };
    if let Some(limit_clause) = &query.limit_clause {
        let place = SqlError::on(limit_clause, "");
        let LimitClause::LimitOffset { limit, offset, limit_by } = limit_clause else {
            return Err(SqlError { message: "LIMIT with two numbers does not exist in Flink SQL".to_owned(), ..place }
                .with_hint("write LIMIT count OFFSET start"));
        };
        if !mode.batch {
            return refuse(if limit.is_some() { "LIMIT" } else { "OFFSET" }, place);
        }
        if !limit_by.is_empty() {
            return Err(SqlError { message: "LIMIT BY does not exist in Flink SQL".to_owned(), ..place });
        }
        range.fetch = limit.as_ref().map(|limit| count("LIMIT", limit)).transpose()?;
        range.offset = offset.as_ref().map_or(Ok(0), |offset| count("OFFSET", &offset.value))?;
    }
    if let Some(fetch) = &query.fetch {
        let place = SqlError::on(query, "");
        if !mode.batch {
            return refuse("FETCH", place);
        }
        let message = match &fetch.quantity {
            _ if range.fetch.is_some() => "LIMIT and FETCH mean the same: write one of them",
            _ if fetch.with_ties => "FETCH ... WITH TIES does not exist in Flink SQL",
            _ if fetch.percent => "FETCH ... PERCENT does not exist in Flink SQL",
            None => "FETCH needs the number of rows: FETCH FIRST 10 ROWS ONLY",
            Some(quantity) => {
                range.fetch = Some(count("FETCH", quantity)?);
                return Ok(range);
            }
        };
        return Err(SqlError { message: message.to_owned(), ..place });
    }
    Ok(range)
}

fn count(clause: &str, ast: &Ast) -> Result<u64, SqlError> {
    let number = match ast {
        Ast::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    number.ok_or_else(|| {
        let sign = matches!(ast, Ast::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, .. });
        let what = if sign { "a number without a sign" } else { "a whole number" };
        SqlError::on(ast, format!("{clause} takes {what}"))
    })
}

/// The sort keys of ORDER BY over the columns of a query that is no SELECT.
pub(super) fn of_columns(rel: &Rel, items: &[OrderByExpr], mode: Mode<'_>) -> Result<Unordered, SqlError> {
    let width = rel.columns.len();
    let scope = Scope::of(None, &rel.columns);
    let mut projection = rel.all_columns();
    let mut names: Vec<String> = rel.columns.iter().map(|column| column.name.clone()).collect();
    let mut keys = Vec::new();
    for item in items {
        let column = match ordinal(&item.expr, width)? {
            Some(column) => column,
            None => {
                let expr = fold_constants(ExprBinder::scalar(&scope).bind(&item.expr)?, mode.zone);
                projection.iter().position(|known| *known == expr).unwrap_or_else(|| {
                    names.push(format!("$order{}", projection.len()));
                    projection.push(expr);
                    projection.len() - 1
                })
            }
        };
        keys.push(key(item, column, &projection[column])?);
    }
    let rel = if projection.len() == width { rel.clone() } else { calc(rel.clone(), None, projection, names) };
    Ok(Unordered { rel, keys, width })
}

/// The sort keys of a SELECT's ORDER BY. `bind` binds what is not selected, over the FROM clause; it is appended
/// to `outputs`.
pub(super) fn of_select(
    outputs: &mut Vec<Output>,
    items: &[OrderByExpr],
    mut bind: impl FnMut(&Ast, &[(String, Expr)]) -> Result<Expr, SqlError>,
) -> Result<Vec<SortKey>, SqlError> {
    let width = outputs.len();
    let selected: Vec<(String, Expr)> =
        outputs.iter().map(|output| (output.name.clone(), output.expr.clone())).collect();
    let mut keys = Vec::new();
    for item in items {
        let column = match ordinal(&item.expr, width)? {
            Some(column) => column,
            None => {
                let expr = bind(&item.expr, &selected)?;
                outputs.iter().position(|output| output.expr == expr).unwrap_or_else(|| {
                    let name = format!("$order{}", outputs.len());
                    outputs.push(Output { expr, name, span: item.expr.span() });
                    outputs.len() - 1
                })
            }
        };
        keys.push(key(item, column, &outputs[column].expr)?);
    }
    Ok(keys)
}

/// The column that a bare number stands for.
fn ordinal(ast: &Ast, width: usize) -> Result<Option<usize>, SqlError> {
    let Ast::Value(value) = ast else { return Ok(None) };
    let Value::Number(digits, _) = &value.value else { return Ok(None) };
    let Ok(number) = digits.parse::<usize>() else { return Ok(None) };
    if (1..=width).contains(&number) {
        return Ok(Some(number - 1));
    }
    Err(SqlError::on(ast, format!("ORDER BY {number}: the query has {width} columns")))
}

fn key(item: &OrderByExpr, column: usize, expr: &Expr) -> Result<SortKey, SqlError> {
    let descending = match &item.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => {
            return Err(SqlError::on(&item.expr, "ORDER BY ... USING does not exist in Flink SQL"));
        }
    };
    if item.with_fill.is_some() {
        return Err(SqlError::on(&item.expr, "WITH FILL does not exist in Flink SQL"));
    }
    let logical = &expr.data_type().logical;
    if is_nested(logical) && *logical != LogicalType::Null {
        return Err(SqlError::on(&item.expr, format!("ORDER BY {} is not supported yet", expr.data_type()))
            .with_hint("order by its parts"));
    }
    // NULL is low.
    let nulls_first = item.options.nulls_first.unwrap_or(!descending);
    Ok(SortKey { column, descending, nulls_first })
}
