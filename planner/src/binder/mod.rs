//! Queries: names and types resolved, from `sqlparser`'s tree to [`Rel`].

mod aggregate;
mod expr;
mod group_window;
mod grouping;
pub(crate) mod join;
mod order;
mod scope;
mod set_operation;
mod shared_columns;
mod subquery;
mod table_function;
mod whole_join;
mod window;

use std::rc::Rc;

use sqlparser::ast::{
    Distinct, GroupByExpr, Ident, ObjectName, OrderByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias, TableFactor, Values,
};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::Expr;
use tidemill_common::limits::{PLAN_OPERATORS_MAX, SQL_DEPTH_MAX};
use tidemill_common::suggest::nearest;
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::{bind_field, coerce, common_type, fold_constants};

pub use self::expr::ExprBinder;
use self::order::Unordered;
pub use self::scope::Scope;
use self::subquery::{Subqueries, SubqueryValues};
use self::table_function::is_table_function;
use crate::ast::TableName;
use crate::catalog::{Catalog, DEFAULT_CATALOG, Path, Relation, View};
use crate::diagnostic::SqlError;
use crate::rel::{Column, Rel, RelOp, TimeAttribute, calc, is_larger_than, one_row};
use crate::table::Table;

/// Most rows of one VALUES: each is a small sub-plan.
const VALUES_ROWS_MAX: usize = 1_000;

/// Most nodes of one query's tree, where each use of a view or CTE counts in full.
const QUERY_PARTS_MAX: usize = 4 * PLAN_OPERATORS_MAX;

/// What to do with what streams cannot do.
const BATCH_HINT: &str = "SET 'execution.runtime-mode' = 'batch' before it does this with input that ends";

/// How a query is read.
#[derive(Clone, Copy, Debug)]
pub struct Mode<'a> {
    /// IANA name of the session zone.
    pub zone: &'a str,
    /// Whether all input ends, and rows are final.
    pub batch: bool,
}

/// Where the tables of a query come from.
pub trait Tables {
    /// All names.
    fn catalog(&self) -> &Catalog;
    /// A table with the options of the hint behind its name.
    fn hinted(&self, path: &Path, table: &Table, name: &TableName) -> Result<Table, SqlError>;
    /// Whether reading it ends.
    fn is_bounded(&self, table: &Table) -> bool;
}

/// Binds the queries of one script.
pub struct QueryBinder<'a> {
    tables: &'a dyn Tables,
    /// Where plain names are looked up.
    database: String,
    mode: Mode<'a>,
    /// Common table expressions in reach, innermost last.
    ctes: Vec<(String, Rel)>,
    depth: usize,
}

/// A relation of a FROM clause and its name.
pub(super) struct Source {
    pub rel: Rel,
    pub name: Option<String>,
}

impl<'a> QueryBinder<'a> {
    /// A binder over these tables.
    pub fn new(tables: &'a dyn Tables, mode: Mode<'a>) -> Self {
        Self { tables, database: tables.catalog().database.clone(), mode, ctes: Vec::new(), depth: 0 }
    }

    /// Binds a query.
    pub fn query(&mut self, query: &Query) -> Result<Rel, SqlError> {
        self.depth += 1;
        if self.depth > SQL_DEPTH_MAX {
            return Err(SqlError::on(query, format!("views and queries nested more than {SQL_DEPTH_MAX} levels deep")));
        }
        let ctes_before = self.ctes.len();
        let bound = self.query_inner(query);
        self.ctes.truncate(ctes_before);
        self.depth -= 1;
        let bound = bound?;
        // Views that use others twice double with every level.
        if is_larger_than(&bound, QUERY_PARTS_MAX) {
            return Err(SqlError::on(
                query,
                format!("the query has more than {QUERY_PARTS_MAX} parts when its views are written out"),
            ));
        }
        Ok(bound)
    }

    fn query_inner(&mut self, query: &Query) -> Result<Rel, SqlError> {
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(SqlError::on(with, "WITH RECURSIVE does not exist in Flink SQL"));
            }
            for cte in &with.cte_tables {
                let rel = self.query(&cte.query)?;
                let rel = rename(rel, &cte.alias)?;
                self.ctes.push((cte.alias.name.value.clone(), rel));
            }
        }
        let items = order::items(query, self.mode)?;
        let rows = order::range(query, self.mode)?;
        let unordered = match &*query.body {
            SetExpr::Select(select) => self.select(select, items)?,
            body => {
                let rel = self.set_expr(body)?;
                order::of_columns(&rel, items, self.mode)?
            }
        };
        Ok(unordered.sorted(rows))
    }

    fn set_expr(&mut self, body: &SetExpr) -> Result<Rel, SqlError> {
        match body {
            SetExpr::Select(select) => self.select(select, &[]).map(|unordered| unordered.rel),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, .. } => {
                // A chain of unions nests to the left; it is walked, not descended into.
                let mut branches = Vec::new();
                let mut rest = body;
                while let SetExpr::SetOperation {
                    left,
                    op: SetOperator::Union,
                    set_quantifier: SetQuantifier::All,
                    right,
                } = rest
                {
                    branches.push(&**right);
                    rest = left;
                }
                self.depth += 1;
                if self.depth > SQL_DEPTH_MAX {
                    return Err(SqlError::on(rest, format!("nested more than {SQL_DEPTH_MAX} levels deep")));
                }
                let mut all = self.set_expr(rest)?;
                for branch in branches.into_iter().rev() {
                    all = union(all, self.set_expr(branch)?, "UNION ALL", branch.span())?;
                }
                self.depth -= 1;
                Ok(all)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } if self.mode.batch => {
                self.depth += 1;
                if self.depth > SQL_DEPTH_MAX {
                    return Err(SqlError::on(body, format!("nested more than {SQL_DEPTH_MAX} levels deep")));
                }
                let (left, place) = (self.set_expr(left)?, right.span());
                let right = self.set_expr(right)?;
                self.depth -= 1;
                set_operation::operation(left, right, (*op, *set_quantifier), place)
            }
            SetExpr::SetOperation { op, set_quantifier, .. } => Err(SqlError::on(
                body,
                format!("{op} {set_quantifier}").trim_end().to_owned() + " is not supported yet",
            )
            .with_hint(format!("UNION ALL is; {BATCH_HINT}"))),
            SetExpr::Values(values) => self.values(values),
            other => Err(SqlError::on(other, "expected SELECT")),
        }
    }

    /// `VALUES (..), (..)`: one calculated row each.
    fn values(&mut self, values: &Values) -> Result<Rel, SqlError> {
        let scope = Scope::default();
        let mut rows: Vec<(Vec<Expr>, Span)> = Vec::new();
        for row in &values.rows {
            let bound = row
                .iter()
                .map(|value| Ok(fold_constants(ExprBinder::scalar(&scope).bind(value)?, self.mode.zone)))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let span = row.iter().map(Spanned::span).next().unwrap_or(Span::empty());
            rows.push((bound, span));
        }
        if rows.len() > VALUES_ROWS_MAX {
            return Err(SqlError::at(rows[0].1, format!("VALUES of more than {VALUES_ROWS_MAX} rows; read a file")));
        }
        let width = rows.first().map_or(0, |(row, _)| row.len());
        if let Some((row, span)) = rows.iter().find(|(row, _)| row.len() != width) {
            let (found, expected) = (row.len(), width);
            return Err(SqlError::at(
                *span,
                format!("a row of VALUES has {found} columns, the first row has {expected}"),
            ));
        }
        let mut rels = Vec::new();
        for column in 0..width {
            let types: Option<Vec<_>> =
                rows.iter().map(|(row, _)| Some(row.get(column)?.data_type().clone())).collect();
            let span = rows[0].1;
            let Some(data_type) = types.and_then(|types| common_type(&types)) else {
                return Err(SqlError::at(
                    span,
                    format!("the rows of VALUES have no common type in column {}", column + 1),
                ));
            };
            for (row, span) in &mut rows {
                let value = coerce(row[column].clone(), &data_type);
                row[column] = value.map_err(|error| SqlError::at(*span, error.message))?;
            }
        }
        for (row, span) in rows {
            let names = (0..width).map(|column| format!("EXPR${column}")).collect();
            rels.push((calc(one_row(), None, row, names), span));
        }
        let mut rels = rels.into_iter();
        let Some((first, _)) = rels.next() else { return Err(SqlError::general("VALUES without rows")) };
        rels.try_fold(first, |left, (right, span)| union(left, right, "UNION ALL", span))
    }

    fn select(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<Unordered, SqlError> {
        refuse_clauses(select, self.mode)?;
        let (mut source, mut scope, mut filter) = self.filtered_relations(select)?;
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(expressions, modifiers) => {
                if !modifiers.is_empty() {
                    return Err(SqlError::on(select, "GROUP BY modifiers are not supported yet"));
                }
                expressions.as_slice()
            }
            GroupByExpr::All(_) => return Err(SqlError::on(select, "GROUP BY ALL does not exist in Flink SQL")),
        };
        let Some(window) = group_window::find(grouped)? else {
            let (mode, subqueries) = (self.mode, Subqueries::new(self));
            return aggregate::select(mode, select, source, &scope, filter, (grouped, order), subqueries);
        };
        let grouped = group_window::apply(self.mode, &window, &mut source, &mut scope, filter.take(), grouped)?;
        let (mode, subqueries) = (self.mode, Subqueries::new(self));
        aggregate::select(mode, select, source, &scope, None, (&grouped, order), subqueries)
    }

    /// FROM, and what is left of WHERE.
    fn filtered_relations(&mut self, select: &Select) -> Result<(Source, Scope, Option<Expr>), SqlError> {
        let (mut source, scope) = match select.from.as_slice() {
            [] => (Source { rel: one_row(), name: None }, Scope::default()),
            [_, listed @ ..]
                if self.mode.batch
                    && !listed.is_empty()
                    && !listed.iter().any(|listed| is_table_function(&listed.relation)) =>
            {
                return self.side_by_side(&select.from, select.selection.as_ref());
            }
            [first, listed @ ..] => {
                let (mut source, mut scope) = self.relations(first)?;
                self.listed(&mut source, &mut scope, listed)?;
                (source, scope)
            }
        };
        let conditions = match &select.selection {
            None => Vec::new(),
            Some(condition) if join::needs_join(condition, self.mode.batch) => {
                self.subqueries(&mut source, &scope, condition)?
            }
            Some(condition) => vec![condition.clone()],
        };
        let (mode, subqueries) = (self.mode, Subqueries::new(self));
        let known: Option<&dyn SubqueryValues> = if mode.batch { Some(&subqueries) } else { None };
        let bound = conditions.iter().map(|condition| bound_condition(mode.zone, &scope, condition, known));
        let mut bound = bound.collect::<Result<Vec<_>, _>>()?;
        let steps = subqueries.steps();
        source.rel = steps.join(source.rel, &mut bound, &|outer| Ok(outer.clone()))?;
        Ok((source, scope, bound.into_iter().reduce(crate::rel::and)))
    }

    /// An ON condition.
    fn condition(&self, scope: &Scope, condition: &sqlparser::ast::Expr) -> Result<Expr, SqlError> {
        bound_condition(self.mode.zone, scope, condition, None)
    }

    fn table_factor(&mut self, factor: &TableFactor) -> Result<Source, SqlError> {
        refuse_table_clauses(factor)?;
        match factor {
            factor if table_function::is_table_function(factor) => self.table_function_alone(factor),
            TableFactor::Table { name, alias, args: None, .. } => {
                let rel = self.named(name)?;
                let plain = Some(TableName::of(name)?.name().to_owned());
                match alias {
                    Some(alias) => Ok(Source { rel: rename(rel, alias)?, name: Some(alias.name.value.clone()) }),
                    None => Ok(Source { rel, name: plain }),
                }
            }
            TableFactor::Derived { lateral: false, subquery, alias, .. } => {
                let rel = self.query(subquery)?;
                match alias {
                    Some(alias) => Ok(Source { rel: rename(rel, alias)?, name: Some(alias.name.value.clone()) }),
                    None => Ok(Source { rel, name: None }),
                }
            }
            TableFactor::TableFunction { expr, alias } => {
                let rel = self.window_function(expr)?;
                match alias {
                    Some(alias) => Ok(Source { rel: rename(rel, alias)?, name: Some(alias.name.value.clone()) }),
                    None => Ok(Source { rel, name: None }),
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } if table_with_joins.joins.is_empty() => {
                self.table_factor(&table_with_joins.relation)
            }
            TableFactor::Table { name, .. } => {
                Err(SqlError::on(name, "table functions are called as TABLE(function(...))"))
            }
            TableFactor::MatchRecognize { .. } => Err(SqlError::on(factor, "MATCH_RECOGNIZE is not supported yet")),
            other => Err(SqlError::on(other, "this form of FROM is not supported yet")),
        }
    }

    /// The relation with this name.
    fn named(&mut self, name: &ObjectName) -> Result<Rel, SqlError> {
        let name = TableName::of(name)?;
        if let [single] = name.parts.as_slice()
            && let Some((_, rel)) = self.ctes.iter().rev().find(|(cte, _)| *cte == single.value)
        {
            refuse_hint(&name, "a query")?;
            return Ok(rel.clone());
        }
        let catalog = self.tables.catalog();
        let path = catalog.path(&name, &self.database)?;
        match catalog.get(&path) {
            Some(Relation::Table(table)) => {
                let table = if name.hint.is_empty() {
                    table.clone()
                } else {
                    Rc::new(self.tables.hinted(&path, table, &name)?)
                };
                let table = if self.mode.batch { Rc::new(self.bounded(&table, &path, &name)?) } else { table };
                let columns = table.columns.clone();
                Ok(Rel { op: Rc::new(RelOp::Scan(table)), columns, window: None })
            }
            Some(Relation::View(view)) => {
                refuse_hint(&name, "a view")?;
                let view = view.clone();
                self.view(&view).map_err(|error| SqlError { span: None, ..error }.or_at(name.span()))
            }
            None => {
                let names = catalog.names(&path.database).chain(self.ctes.iter().map(|(name, _)| name.as_str()));
                Err(SqlError::at(name.span(), format!("unknown table '{}'", path.short()))
                    .with_suggestion(nearest(&path.name, names)))
            }
        }
    }

    /// The table as batch mode reads it: to its end, without watermarks, so that no row is late.
    fn bounded(&self, table: &Table, path: &Path, name: &TableName) -> Result<Table, SqlError> {
        if !self.tables.is_bounded(table) {
            return Err(SqlError::at(
                name.span(),
                format!(
                    "Querying an unbounded table '{DEFAULT_CATALOG}.{}.{}' in batch mode is not allowed. The table source is unbounded.",
                    path.database, path.name
                ),
            )
            .with_hint("give it an end by its options, such as 'scan.bounded.mode' of kafka, or SET 'execution.runtime-mode' = 'streaming'"));
        }
        let mut table = Table { watermark: None, ..table.clone() };
        for column in &mut table.columns {
            column.time = column.time.filter(|time| *time == TimeAttribute::ProcessingTime);
        }
        Ok(table)
    }

    /// The query of a view. It sees tables and views of its own database only, not the CTEs around its use.
    pub fn view(&mut self, view: &View) -> Result<Rel, SqlError> {
        let ctes = std::mem::take(&mut self.ctes);
        let database = std::mem::replace(&mut self.database, view.database.clone());
        let rel = self.query(&view.query);
        (self.ctes, self.database) = (ctes, database);
        let mut rel = rel?;
        for (column, name) in rel.columns.iter_mut().zip(&view.columns) {
            column.name.clone_from(name);
        }
        Ok(rel)
    }
}

/// A WHERE or ON condition: BOOLEAN. `subqueries` may stand in it, if they are known.
pub(super) fn bound_condition(
    zone: &str,
    scope: &Scope,
    condition: &sqlparser::ast::Expr,
    subqueries: Option<&dyn SubqueryValues>,
) -> Result<Expr, SqlError> {
    let bound = fold_constants(ExprBinder::scalar(scope).known(subqueries).bind(condition)?, zone);
    boolean(bound, condition.span())
}

/// Only tables have options.
fn refuse_hint(name: &TableName, what: &str) -> Result<(), SqlError> {
    match name.hint.first() {
        None => Ok(()),
        Some(option) => Err(SqlError::at(option.key_span, format!("a hint OPTIONS(...) has no meaning behind {what}"))
            .with_hint("write it behind the table that is read")),
    }
}

fn refuse_clauses(select: &Select, mode: Mode<'_>) -> Result<(), SqlError> {
    if matches!(select.distinct, Some(Distinct::Distinct)) && !mode.batch {
        return Err(SqlError::on(select, "SELECT DISTINCT on a stream is not supported yet").with_hint(BATCH_HINT));
    }
    let refused = [
        (matches!(select.distinct, Some(Distinct::On(_))), "DISTINCT ON does not exist in Flink SQL"),
        (select.top.is_some(), "TOP does not exist in Flink SQL"),
        (!select.named_window.is_empty(), "OVER windows are not supported yet"),
        (select.qualify.is_some(), "QUALIFY is not supported yet"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW does not exist in Flink SQL"),
        (select.into.is_some(), "SELECT INTO does not exist in Flink SQL"),
        (!select.sort_by.is_empty() || !select.cluster_by.is_empty(), "SORT BY does not exist in Flink SQL"),
    ];
    match refused.iter().find(|(there, _)| *there) {
        Some((_, message)) => Err(SqlError::on(select, *message)),
        None => Ok(()),
    }
}

/// A name that is not taken: where it is, with a number behind it, as Flink numbers them.
pub(super) fn unique_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(name) {
        return name.to_owned();
    }
    (0..).map(|number: usize| format!("{name}{number}")).find(|name| !is_taken(name)).unwrap_or_default()
}

/// The names of a result's columns.
pub fn unique_names<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        let name = unique_name(name, |name| unique.iter().any(|known| known == name));
        unique.push(name);
    }
    unique
}

/// What may not stand behind the name of a table.
fn refuse_table_clauses(factor: &TableFactor) -> Result<(), SqlError> {
    if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } = factor {
        return Err(SqlError::on(factor, "TABLESAMPLE is not supported yet")
            .with_hint("write WHERE RAND() < 0.1 for about a tenth of the rows"));
    }
    let other = match factor {
        TableFactor::Table { with_hints, version, partitions, json_path, index_directives, inheritance, .. } => {
            version.is_some()
                || !with_hints.is_empty()
                || !partitions.is_empty()
                || json_path.is_some()
                || !index_directives.is_empty()
                || inheritance.is_some()
        }
        _ => false,
    };
    if other {
        return Err(SqlError::on(factor, "what stands behind the table does not exist in Flink SQL"));
    }
    Ok(())
}

/// The items of a SELECT list with their names; `*` is expanded.
pub(super) enum Item<'a> {
    Column { index: usize },
    Expression { ast: &'a sqlparser::ast::Expr, name: Option<String> },
    Field { expr: Expr, name: String },
}

/// Expands a SELECT list over a scope.
pub(super) fn select_items<'a>(select: &'a Select, source: &Source, scope: &Scope) -> Result<Vec<Item<'a>>, SqlError> {
    let mut items = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(ast) => items.push(Item::Expression { ast, name: None }),
            SelectItem::ExprWithAlias { expr, alias } => {
                items.push(Item::Expression { ast: expr, name: Some(alias.value.clone()) });
            }
            SelectItem::Wildcard(_) => {
                items.extend(scope.star().iter().map(|index| Item::Column { index: *index }));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let columns = scope.of_qualifier(&name.to_string().replace('`', ""));
                if columns.is_empty() {
                    items.extend(fields_of(name, source, scope)?);
                }
                items.extend(columns.into_iter().map(|index| Item::Column { index }));
            }
            other => return Err(SqlError::on(other, format!("'{other}' is not supported"))),
        }
    }
    Ok(items)
}

/// `row.*`: the fields of a column of rows.
fn fields_of<'a>(name: &ObjectName, source: &Source, scope: &Scope) -> Result<Vec<Item<'a>>, SqlError> {
    let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    let row = scope
        .resolve(&parts)
        .map_err(|_| SqlError::on(name, format!("unknown table '{name}'")).with_suggestion(source.name.as_deref()))?;
    let LogicalType::Row(fields) = &row.data_type().logical else {
        return Err(SqlError::on(name, format!("'{name}' is {}, which has no fields", row.data_type())));
    };
    let field = |name: &String| match bind_field(row.clone(), name) {
        Ok(expr) => Ok(Item::Field { expr, name: name.clone() }),
        Err(error) => Err(SqlError::general(error.message)),
    };
    fields.iter().map(|known| field(&known.name)).collect()
}

/// The name of an unnamed item: that of its column or row field, else Flink's `EXPR$n`.
pub(super) fn item_name(ast: &sqlparser::ast::Expr, position: usize) -> String {
    use sqlparser::ast::{AccessExpr, Expr as Ast};
    match ast {
        Ast::Identifier(name) => name.value.clone(),
        Ast::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.clone()),
        Ast::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Ast::Identifier(field))) => field.value.clone(),
            _ => format!("EXPR${position}"),
        },
        _ => format!("EXPR${position}"),
    }
}

/// A condition must be BOOLEAN.
pub(super) fn boolean(condition: Expr, span: Span) -> Result<Expr, SqlError> {
    match condition.data_type().logical {
        LogicalType::Boolean => Ok(condition),
        LogicalType::Null => {
            coerce(condition, &LogicalType::Boolean.nullable()).map_err(|error| SqlError::at(span, error.message))
        }
        _ => Err(SqlError::at(span, format!("a condition is BOOLEAN, this is {}", condition.data_type()))),
    }
}

/// Gives the columns of a relation the names of `alias(a, b, ...)`.
fn rename(mut rel: Rel, alias: &TableAlias) -> Result<Rel, SqlError> {
    if alias.columns.is_empty() {
        return Ok(rel);
    }
    if alias.columns.len() != rel.columns.len() {
        return Err(SqlError::at(
            alias.name.span,
            format!("'{}' names {} columns of {}", alias.name.value, alias.columns.len(), rel.columns.len()),
        ));
    }
    for (column, name) in rel.columns.iter_mut().zip(&alias.columns) {
        column.name.clone_from(&name.name.value);
    }
    Ok(rel)
}

/// The rows of both, as of `left UNION ALL right`: the least restrictive types, the names of the left.
fn union(left: Rel, right: Rel, what: &str, span: Span) -> Result<Rel, SqlError> {
    if left.columns.len() != right.columns.len() {
        return Err(SqlError::at(
            span,
            format!("{what} of {} columns with {} columns", left.columns.len(), right.columns.len()),
        ));
    }
    let mut columns = Vec::new();
    for (position, (a, b)) in left.columns.iter().zip(&right.columns).enumerate() {
        let Some(data_type) = common_type(&[a.data_type.clone(), b.data_type.clone()]) else {
            return Err(SqlError::at(
                span,
                format!(
                    "{what}: column {} is {} on one side and {} on the other",
                    position + 1,
                    a.data_type,
                    b.data_type
                ),
            ));
        };
        let time = if a.time == b.time { a.time } else { None };
        columns.push(Column { name: a.name.clone(), data_type, time });
    }
    let align = |rel: Rel| -> Result<Rel, SqlError> {
        let same =
            rel.columns.iter().zip(&columns).all(|(have, want)| have.data_type.logical == want.data_type.logical);
        if same {
            return Ok(rel);
        }
        let projection = columns
            .iter()
            .enumerate()
            .map(|(index, column)| coerce(rel.column(index), &column.data_type))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SqlError::at(span, error.message))?;
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(calc(rel, None, projection, names))
    };
    // Nested unions are one operator.
    let mut inputs = Vec::new();
    for rel in [align(left)?, align(right)?] {
        match &*rel.op {
            RelOp::Union { inputs: nested } => inputs.extend(nested.iter().cloned()),
            _ => inputs.push(rel),
        }
    }
    Ok(Rel { op: Rc::new(RelOp::Union { inputs }), columns, window: None })
}
