//! Names in reach of an expression.

use sqlparser::ast::Ident;
use tidemill_common::expr::Expr;
use tidemill_common::suggest::nearest;
use tidemill_common::types::DataType;
use tidemill_expr::bind::bind_field;

use crate::diagnostic::SqlError;
use crate::rel::Column;

/// The columns of the relations in a FROM clause, in order.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    columns: Vec<ScopeColumn>,
}

#[derive(Clone, Debug)]
struct ScopeColumn {
    qualifier: Option<String>,
    name: String,
    data_type: DataType,
}

impl Scope {
    /// The columns of one relation, reachable with or without its name.
    pub fn of(qualifier: Option<&str>, columns: &[Column]) -> Self {
        let columns = columns
            .iter()
            .map(|column| ScopeColumn {
                qualifier: qualifier.map(str::to_owned),
                name: column.name.clone(),
                data_type: column.data_type.clone(),
            })
            .collect();
        Self { columns }
    }

    /// The name of a column, for messages.
    pub fn name(&self, index: usize) -> &str {
        self.columns.get(index).map_or("?", |column| &column.name)
    }

    /// Positions of a relation's columns (`t.*`).
    pub fn of_qualifier(&self, qualifier: &str) -> Vec<usize> {
        let of = |column: &ScopeColumn| column.qualifier.as_deref() == Some(qualifier);
        (0..self.columns.len()).filter(|index| of(&self.columns[*index])).collect()
    }

    fn qualifiers(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter_map(|column| column.qualifier.as_deref())
    }

    /// A name of one or more parts: `column`, `relation.column`, each with row fields behind.
    pub fn resolve(&self, parts: &[Ident]) -> Result<Expr, SqlError> {
        let [first, rest @ ..] = parts else {
            return Err(SqlError::general("an empty name"));
        };
        if let [second, fields @ ..] = rest
            && self.qualifiers().any(|qualifier| qualifier == first.value)
        {
            return match self.find(Some(&first.value), second)? {
                Some(column) => descend(column, fields),
                None => Err(self.unknown(second, Some(&first.value))),
            };
        }
        match self.find(None, first)? {
            Some(column) => descend(column, rest),
            None if rest.is_empty() => Err(self.unknown(first, None)),
            None => Err(SqlError::at(first.span, format!("unknown table or column '{}'", first.value))
                .with_suggestion(nearest(&first.value, self.qualifiers()))),
        }
    }

    fn find(&self, qualifier: Option<&str>, name: &Ident) -> Result<Option<Expr>, SqlError> {
        let mut found = self.columns.iter().enumerate().filter(|(_, column)| {
            column.name == name.value && (qualifier.is_none() || column.qualifier.as_deref() == qualifier)
        });
        let Some((index, column)) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(SqlError::at(name.span, format!("column '{}' is ambiguous", name.value))
                .with_hint("name the table too, or rename one of them"));
        }
        Ok(Some(Expr::column(index, column.data_type.clone())))
    }

    fn unknown(&self, name: &Ident, qualifier: Option<&str>) -> SqlError {
        let candidates = self
            .columns
            .iter()
            .filter(|column| qualifier.is_none() || column.qualifier.as_deref() == qualifier)
            .map(|column| column.name.as_str());
        let of = qualifier.map(|qualifier| format!(" in '{qualifier}'")).unwrap_or_default();
        SqlError::at(name.span, format!("unknown column '{}'{of}", name.value))
            .with_suggestion(nearest(&name.value, candidates))
    }
}

fn descend(column: Expr, fields: &[Ident]) -> Result<Expr, SqlError> {
    fields.iter().try_fold(column, |row, field| {
        bind_field(row, &field.value).map_err(|error| SqlError::at(field.span, error.message))
    })
}
