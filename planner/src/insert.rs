//! INSERT: the query's columns as the table's.

use sqlparser::ast::Spanned;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::suggest::nearest;
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::{bind_cast, coerce, fold_constants};

use crate::ast::Insert;
use crate::binder::{ExprBinder, Scope};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, calc};
use crate::table::Table;

/// Casts the query's columns to those of the sink, where Flink casts implicitly. NULLs for NOT NULL
/// columns are the running sink's to judge.
pub fn fit(rel: Rel, table: &Table, insert: &Insert, zone: &str) -> Result<Rel, SqlError> {
    let sink = &table.spec.schema;
    let place = insert.query.span();
    let fixed = fixed_values(table, insert, zone)?;
    // Which query column each sink column gets.
    let mut sources: Vec<Option<usize>> = vec![None; sink.len()];
    if insert.columns.is_empty() {
        let open = (0..sink.len()).filter(|index| fixed[*index].is_none());
        for (position, index) in open.enumerate() {
            sources[index] = Some(position);
        }
    }
    for (position, column) in insert.columns.iter().enumerate() {
        let Some(index) = sink.index_of(&column.value) else {
            let names = sink.fields.iter().map(|field| field.name.as_str());
            return Err(SqlError::at(
                column.span,
                format!("table '{}' has no column '{}'", table.spec.name, column.value),
            )
            .with_suggestion(nearest(&column.value, names)));
        };
        if sources[index].is_some() || fixed[index].is_some() {
            return Err(SqlError::at(column.span, format!("column '{}' is named twice", column.value)));
        }
        sources[index] = Some(position);
    }
    let expected = if insert.columns.is_empty() { sink.len() - insert.partition.len() } else { insert.columns.len() };
    let schemas = || {
        let query: Vec<String> = rel.columns.iter().map(|c| format!("{}: {}", c.name, c.data_type)).collect();
        let sink: Vec<String> = sink.fields.iter().map(|f| format!("{}: {}", f.name, f.data_type)).collect();
        format!("query schema: [{}]\nhint: sink schema:  [{}]", query.join(", "), sink.join(", "))
    };
    let mismatch = |cause: String| {
        SqlError::at(
            place,
            format!("column types of query result and sink for '{}' do not match: {cause}", table.spec.name),
        )
        .with_hint(schemas())
    };
    if rel.columns.len() != expected {
        return Err(mismatch(format!("the query has {} columns, {expected} are expected", rel.columns.len())));
    }
    let row_times = rel.columns.iter().filter(|column| column.time == Some(crate::rel::TimeAttribute::RowTime)).count();
    if row_times > 1 {
        return Err(SqlError::at(place, "the query has more than one row-time column")
            .with_hint("cast all but one, for instance CAST(window_time AS TIMESTAMP(3))"));
    }
    let mut projection = Vec::new();
    for (index, (field, source)) in sink.fields.iter().zip(&sources).enumerate() {
        let value = match source {
            _ if fixed[index].is_some() => fixed[index].clone().unwrap_or_else(|| rel.column(0)),
            Some(source) => coerce(rel.column(*source), &field.data_type).map_err(|error| {
                mismatch(format!("column '{}' at position {}: {}", field.name, index + 1, error.message))
            })?,
            None if !field.data_type.nullable => {
                return Err(SqlError::at(
                    insert.table.span(),
                    format!("column '{}' is NOT NULL and is not in the list of columns", field.name),
                ));
            }
            None => {
                let null = Expr::literal(Scalar::Null, LogicalType::Null);
                coerce(null, &field.data_type).map_err(|error| mismatch(error.message))?
            }
        };
        projection.push(value);
    }
    let same = projection.len() == rel.columns.len()
        && projection.iter().enumerate().all(|(at, expr)| matches!(expr, Expr::Column { index, .. } if *index == at));
    if same {
        return Ok(rel);
    }
    let names = sink.fields.iter().map(|field| field.name.clone()).collect();
    Ok(calc(rel, None, projection, names))
}

/// The values that PARTITION (column = value) gives to columns of the table.
fn fixed_values(table: &Table, insert: &Insert, zone: &str) -> Result<Vec<Option<Expr>>, SqlError> {
    let sink = &table.spec.schema;
    let mut fixed: Vec<Option<Expr>> = vec![None; sink.len()];
    for (column, value) in &insert.partition {
        let partitions = &table.definition.partitioned_by;
        if !partitions.iter().any(|partition| partition.value == column.value) {
            let error = SqlError::at(
                column.span,
                format!("'{}' is no partition column of table '{}'", column.value, table.spec.name),
            );
            return Err(match nearest(&column.value, partitions.iter().map(|partition| partition.value.as_str())) {
                Some(near) => error.with_suggestion(Some(near)),
                None if partitions.is_empty() => error.with_hint("the table has no PARTITIONED BY"),
                None => error.with_hint({
                    let names: Vec<&str> = partitions.iter().map(|partition| partition.value.as_str()).collect();
                    format!("the table is partitioned by {}", names.join(", "))
                }),
            });
        }
        let Some(index) = sink.index_of(&column.value) else { continue };
        if fixed[index].is_some() {
            return Err(SqlError::at(column.span, format!("column '{}' is named twice", column.value)));
        }
        let bound = fold_constants(ExprBinder::scalar(&Scope::default()).bind(value)?, zone);
        let data_type = &sink.fields[index].data_type;
        let cast =
            bind_cast(bound, data_type.clone(), false).map_err(|error| SqlError::at(value.span(), error.message))?;
        fixed[index] = Some(fold_constants(cast, zone));
    }
    Ok(fixed)
}
