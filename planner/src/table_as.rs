//! The columns of `CREATE TABLE ... AS SELECT`.

use sqlparser::ast::Ident;

use crate::ast::{ColumnDef, ColumnKind, CreateTable};
use crate::binder::unique_names;
use crate::diagnostic::SqlError;
use crate::rel::Rel;
use crate::table::TableDefinition;

/// Gives a table the columns of a query behind its own. One of its own that the query has too says what type it
/// has; names in parentheses say the order of all. Returns the names of the query's columns.
pub fn columns(create: &CreateTable, rel: &Rel, definition: &mut TableDefinition) -> Result<Vec<Ident>, SqlError> {
    let names = unique_names(rel.columns.iter().map(|column| column.name.as_str()));
    let mut own = std::mem::take(&mut definition.elements.columns);
    let mut selected = Vec::new();
    for (name, column) in names.iter().zip(&rel.columns) {
        let declared = own.iter().position(|own| own.name.value == *name).map(|at| own.remove(at));
        selected.push(match declared {
            None => ColumnDef {
                name: Ident::new(name),
                kind: ColumnKind::Physical(column.data_type.clone()),
                comment: None,
                position: None,
            },
            Some(declared) if matches!(declared.kind, ColumnKind::Physical(_)) => declared,
            Some(declared) => {
                return Err(SqlError::at(
                    declared.name.span,
                    format!("column '{name}' is also selected, and neither computed nor METADATA"),
                )
                .with_hint("rename one of them"));
            }
        });
    }
    if !create.selected.is_empty() {
        selected = in_order(&create.selected, selected)?;
    }
    own.extend(selected);
    definition.elements.columns = own;
    Ok(names.into_iter().map(Ident::new).collect())
}

fn in_order(order: &[Ident], mut columns: Vec<ColumnDef>) -> Result<Vec<ColumnDef>, SqlError> {
    let expected = columns.len();
    let mut ordered = Vec::new();
    for name in order {
        let Some(at) = columns.iter().position(|column| column.name.value == name.value) else {
            let near = tidemill_common::suggest::nearest(&name.value, columns.iter().map(|c| c.name.value.as_str()));
            return Err(
                SqlError::at(name.span, format!("the query has no column '{}'", name.value)).with_suggestion(near)
            );
        };
        ordered.push(columns.remove(at));
    }
    match order.first() {
        Some(first) if order.len() != expected => {
            Err(SqlError::at(first.span, format!("{} names for the {expected} columns of the query", order.len()))
                .with_hint("name all of them, or none"))
        }
        _ => Ok(ordered),
    }
}
