//! `ALTER TABLE`: a changed definition of a table.

use sqlparser::ast::Ident;
use tidemill_common::suggest::nearest;

use crate::ast::{ColumnDef, ColumnPosition, TableChange, TableElements};
use crate::diagnostic::SqlError;
use crate::table::TableDefinition;

/// The definition after the change. Renaming the table is not done here.
pub fn apply(definition: &TableDefinition, change: &TableChange) -> Result<TableDefinition, SqlError> {
    let mut changed = definition.clone();
    match change {
        TableChange::Rename(_) => {}
        TableChange::RenameColumn { from, to } => rename(&mut changed, from, to)?,
        TableChange::SetOptions(options) => {
            for option in options {
                if option.key == "connector" && !changed.options.iter().any(|known| same(known, option)) {
                    return Err(SqlError::at(option.key_span, "the connector of a table cannot be changed")
                        .with_hint("create another table LIKE it"));
                }
                match changed.options.iter_mut().find(|known| known.key == option.key) {
                    Some(known) => *known = option.clone(),
                    None => changed.options.push(option.clone()),
                }
            }
        }
        TableChange::ResetOptions(keys) => {
            for (key, span) in keys {
                if key == "connector" {
                    return Err(SqlError::at(*span, "a table cannot be without its 'connector'"));
                }
                changed.options.retain(|option| option.key != *key);
            }
        }
        TableChange::Add(elements) => add(&mut changed.elements, elements)?,
        TableChange::Modify(elements) => modify(&mut changed.elements, elements)?,
        TableChange::DropColumns(names) => {
            for name in names {
                let at = position(&changed.elements, name)?;
                let key = changed.elements.primary_key.iter().flat_map(|key| &key.columns);
                if key.into_iter().any(|column| column.value == name.value) {
                    return Err(SqlError::at(name.span, format!("'{}' is part of the primary key", name.value))
                        .with_hint("drop the primary key first: ALTER TABLE ... DROP PRIMARY KEY"));
                }
                if changed.elements.watermark.as_ref().is_some_and(|w| w.column.value == name.value) {
                    return Err(SqlError::at(name.span, format!("the watermark is on '{}'", name.value))
                        .with_hint("drop the watermark first: ALTER TABLE ... DROP WATERMARK"));
                }
                if changed.partitioned_by.iter().any(|column| column.value == name.value) {
                    return Err(SqlError::at(name.span, format!("the table is partitioned by '{}'", name.value))
                        .with_hint("create another table LIKE it with (EXCLUDING PARTITIONS)"));
                }
                changed.elements.columns.remove(at);
            }
        }
        TableChange::DropPrimaryKey { constraint, span } => match changed.elements.primary_key.take() {
            None => return Err(SqlError::at(*span, "the table has no primary key")),
            Some(key) => {
                if let Some(name) = constraint
                    && key.constraint.as_ref() != Some(&name.value)
                {
                    return Err(SqlError::at(name.span, format!("the table has no constraint '{}'", name.value))
                        .with_suggestion(key.constraint.as_deref()));
                }
            }
        },
        TableChange::DropWatermark(span) => {
            if changed.elements.watermark.take().is_none() {
                return Err(SqlError::at(*span, "the table has no watermark"));
            }
        }
    }
    Ok(changed)
}

fn same(known: &crate::ast::TableOption, option: &crate::ast::TableOption) -> bool {
    known.key == option.key && known.value == option.value
}

fn position(elements: &TableElements, name: &Ident) -> Result<usize, SqlError> {
    elements.columns.iter().position(|column| column.name.value == name.value).ok_or_else(|| {
        let names = elements.columns.iter().map(|column| column.name.value.as_str());
        SqlError::at(name.span, format!("the table has no column '{}'", name.value))
            .with_suggestion(nearest(&name.value, names))
    })
}

fn rename(changed: &mut TableDefinition, from: &Ident, to: &Ident) -> Result<(), SqlError> {
    let at = position(&changed.elements, from)?;
    if changed.elements.columns.iter().any(|column| column.name.value == to.value) {
        return Err(SqlError::at(to.span, format!("the table already has a column '{}'", to.value)));
    }
    changed.elements.columns[at].name = to.clone();
    for column in changed.elements.primary_key.iter_mut().flat_map(|key| &mut key.columns) {
        if column.value == from.value {
            *column = to.clone();
        }
    }
    for column in changed.partitioned_by.iter_mut().filter(|column| column.value == from.value) {
        *column = to.clone();
    }
    Ok(())
}

fn add(elements: &mut TableElements, new: &TableElements) -> Result<(), SqlError> {
    for column in &new.columns {
        if elements.columns.iter().any(|known| known.name.value == column.name.value) {
            return Err(SqlError::at(
                column.name.span,
                format!("the table already has a column '{}'", column.name.value),
            )
            .with_hint("use MODIFY to change it"));
        }
        place(elements, column.clone(), None)?;
    }
    if let Some(key) = &new.primary_key {
        if elements.primary_key.is_some() {
            return Err(
                SqlError::at(key.span, "the table already has a primary key").with_hint("use MODIFY to change it")
            );
        }
        elements.primary_key = Some(key.clone());
    }
    if let Some(watermark) = &new.watermark {
        if elements.watermark.is_some() {
            return Err(
                SqlError::at(watermark.span, "the table already has a watermark").with_hint("use MODIFY to change it")
            );
        }
        elements.watermark = Some(watermark.clone());
    }
    Ok(())
}

fn modify(elements: &mut TableElements, new: &TableElements) -> Result<(), SqlError> {
    for column in &new.columns {
        let at = position(elements, &column.name)?;
        let old = elements.columns.remove(at);
        let comment = column.comment.clone().or(old.comment);
        place(elements, ColumnDef { comment, ..column.clone() }, Some(at))?;
    }
    if let Some(key) = &new.primary_key {
        if elements.primary_key.is_none() {
            return Err(SqlError::at(key.span, "the table has no primary key").with_hint("use ADD"));
        }
        elements.primary_key = Some(key.clone());
    }
    if let Some(watermark) = &new.watermark {
        if elements.watermark.is_none() {
            return Err(SqlError::at(watermark.span, "the table has no watermark").with_hint("use ADD"));
        }
        elements.watermark = Some(watermark.clone());
    }
    Ok(())
}

/// Puts a column where it says, else at `default`, else at the end.
fn place(elements: &mut TableElements, mut column: ColumnDef, default: Option<usize>) -> Result<(), SqlError> {
    let at = match column.position.take() {
        Some(ColumnPosition::First) => 0,
        Some(ColumnPosition::After(name)) => position(elements, &name)? + 1,
        None => default.unwrap_or(elements.columns.len()),
    };
    elements.columns.insert(at, column);
    Ok(())
}
