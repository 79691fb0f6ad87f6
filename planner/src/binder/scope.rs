//! Names in reach of an expression.

use sqlparser::ast::{Function, Ident};
use tidemill_common::expr::Expr;
use tidemill_common::suggest::nearest;
use tidemill_common::types::DataType;
use tidemill_expr::bind::bind_field;

use super::group_window::{self, GroupWindow};
use crate::diagnostic::SqlError;
use crate::rel::Column;

/// The columns of the relations in a FROM clause, in order.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    columns: Vec<ScopeColumn>,
    /// How many columns the relation has, of which those in the scope are some.
    width: usize,
    /// What `*` stands for, by position in the relation.
    star: Vec<usize>,
    /// The window of a GROUP BY TUMBLE(...), which functions such as TUMBLE_START name.
    group_window: Option<GroupWindow>,
    /// Columns from here on hide those before of the same name: they are a subquery's own.
    inner: usize,
}

#[derive(Clone, Debug)]
struct ScopeColumn {
    qualifier: Option<String>,
    name: String,
    data_type: DataType,
    /// Position in the relation.
    index: usize,
    /// Whether another column, which USING or NATURAL made of it, has the name without a qualifier.
    is_hidden: bool,
}

impl Scope {
    /// The columns of one relation, reachable with or without its name.
    pub fn of(qualifier: Option<&str>, columns: &[Column]) -> Self {
        let width = columns.len();
        let columns = columns
            .iter()
            .enumerate()
            .map(|(index, column)| ScopeColumn {
                qualifier: qualifier.map(str::to_owned),
                name: column.name.clone(),
                data_type: column.data_type.clone(),
                index,
                is_hidden: false,
            })
            .collect();
        Self { columns, width, star: (0..width).collect(), group_window: None, inner: 0 }
    }

    /// The columns of two relations that are joined.
    pub(super) fn beside(mut self, right: Self) -> Self {
        let by = self.width;
        self.columns.extend(right.columns.into_iter().map(|column| ScopeColumn { index: column.index + by, ..column }));
        self.star.extend(right.star.into_iter().map(|index| index + by));
        self.width += right.width;
        self
    }

    /// This scope around that of a subquery.
    pub(super) fn around(self, inner: Self) -> Self {
        let before = self.columns.len();
        Self { inner: before, ..self.beside(inner) }
    }

    /// This scope with the types that the columns have come to have.
    pub(super) fn with_types(mut self, columns: &[Column]) -> Self {
        for known in &mut self.columns {
            if let Some(column) = columns.get(known.index) {
                known.data_type = column.data_type.clone();
            }
        }
        self
    }

    /// This scope of a join with columns that both sides share, by name and position in `columns`, all there
    /// are now: they come first, and have their names for themselves.
    pub(super) fn with_shared(mut self, shared: &[(String, usize)], columns: &[Column]) -> Self {
        let mut hidden = Vec::new();
        for column in &mut self.columns {
            if !column.is_hidden && shared.iter().any(|(name, _)| *name == column.name) {
                column.is_hidden = true;
                hidden.push(column.index);
            }
        }
        let rest = self.star.iter().copied().filter(|index| !hidden.contains(index));
        self.star = shared.iter().map(|(_, index)| *index).chain(rest).collect();
        self.columns.extend(shared.iter().map(|(name, index)| ScopeColumn {
            qualifier: None,
            name: name.clone(),
            data_type: columns[*index].data_type.clone(),
            index: *index,
            is_hidden: false,
        }));
        self.width = columns.len();
        self
    }

    /// How many columns the relation has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// What `*` stands for, by position in the relation.
    pub(super) fn star(&self) -> &[usize] {
        &self.star
    }

    /// The names that can be written without a qualifier, in the order of `*`.
    pub(super) fn plain_names(&self) -> Vec<String> {
        let plain = |index: &usize| self.columns.iter().find(|column| !column.is_hidden && column.index == *index);
        self.star.iter().filter_map(plain).map(|column| column.name.clone()).collect()
    }

    /// Whether a name can be written without a qualifier.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| !column.is_hidden && column.name == name)
    }

    /// This scope with the window that its rows are grouped by.
    pub(super) fn with_group_window(mut self, window: GroupWindow) -> Self {
        self.group_window = Some(window);
        self
    }

    /// The column that TUMBLE_START and its like stand for; `None` for all other functions.
    pub(super) fn auxiliary(&self, name: &str, function: &Function) -> Result<Option<Expr>, SqlError> {
        let Some(column) = group_window::auxiliary(self.group_window.as_ref(), name, function)? else {
            return Ok(None);
        };
        let found = self.columns.iter().find(|known| known.index == column);
        Ok(found.map(|found| Expr::column(column, found.data_type.clone())))
    }

    /// The name of a column, for messages.
    pub fn name(&self, index: usize) -> &str {
        self.columns.iter().find(|column| column.index == index).map_or("?", |column| &column.name)
    }

    /// Positions of a relation's columns (`t.*`).
    pub fn of_qualifier(&self, qualifier: &str) -> Vec<usize> {
        let of = |column: &&ScopeColumn| column.qualifier.as_deref() == Some(qualifier);
        self.columns.iter().filter(of).map(|column| column.index).collect()
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
        let is_meant = |column: &&ScopeColumn| {
            column.name == name.value
                && if qualifier.is_none() { !column.is_hidden } else { column.qualifier.as_deref() == qualifier }
        };
        let all = self.columns.iter();
        let hides = self.inner > 0 && all.clone().skip(self.inner).any(|column| is_meant(&column));
        let mut found = all.skip(if hides { self.inner } else { 0 }).filter(is_meant);
        let Some(column) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(SqlError::at(name.span, format!("column '{}' is ambiguous", name.value))
                .with_hint("name the table too, or rename one of them"));
        }
        Ok(Some(Expr::column(column.index, column.data_type.clone())))
    }

    fn unknown(&self, name: &Ident, qualifier: Option<&str>) -> SqlError {
        let candidates = self
            .columns
            .iter()
            .filter(|column| qualifier.is_none() || column.qualifier.as_deref() == qualifier)
            .map(|column| column.name.as_str())
            .filter(|name| !name.starts_with('$'));
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
