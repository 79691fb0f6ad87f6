//! SHOW and DESCRIBE.

use std::collections::BTreeMap;

use tidemill_common::config::{SECRET_MASK, is_secret};
use tidemill_common::types::LogicalType;
use tidemill_expr::own::{self, callable_names};

use crate::ast::{ColumnKind, Pattern, Show, TableName};
use crate::catalog::{Catalog, DEFAULT_CATALOG, Path, Relation, View, quoted};
use crate::diagnostic::SqlError;
use crate::rel::Column;
use crate::table::{Table, TableDefinition};
use crate::text_table::render;

/// Functions of windows, which are no names of the registry.
const WINDOW_FUNCTIONS: [&str; 5] = ["CUMULATE", "DESCRIPTOR", "HOP", "SESSION", "TUMBLE"];

/// The module of the built-in functions.
const CORE_MODULE: &str = "core";

/// Gives the columns of a view.
type ViewColumns<'a> = &'a dyn Fn(&View) -> Result<Vec<Column>, SqlError>;

/// The text of a SHOW statement. `columns` gives the columns of a view.
pub fn show(catalog: &Catalog, show: &Show, columns: ViewColumns<'_>) -> Result<String, SqlError> {
    let list = |title: &str, names: Vec<&str>, pattern: &Option<Pattern>| {
        let rows: Vec<Vec<String>> =
            names.into_iter().filter(|name| matches(pattern, name)).map(|name| vec![name.to_owned()]).collect();
        render(&[title], &rows)
    };
    Ok(match show {
        // All functions are of the one module that Flink too begins with.
        Show::Modules { full: false } => list("module name", vec![CORE_MODULE], &None),
        Show::Modules { full: true } => {
            render(&["module name", "used"], &[vec![CORE_MODULE.to_owned(), "TRUE".to_owned()]])
        }
        Show::Jars => render(&["jars"], &[]),
        Show::Catalogs(pattern) => list("catalog name", vec![DEFAULT_CATALOG], pattern),
        Show::CurrentCatalog => list("current catalog name", vec![DEFAULT_CATALOG], &None),
        Show::Databases(pattern) => list("database name", catalog.databases().collect(), pattern),
        Show::CurrentDatabase => list("current database name", vec![&catalog.database], &None),
        Show::Tables { database, pattern } => {
            let database = database_of(catalog, database.as_ref())?;
            list("table name", catalog.relations(&database).into_keys().collect(), pattern)
        }
        Show::Views { database, pattern } => {
            let database = database_of(catalog, database.as_ref())?;
            let relations = catalog.relations(&database);
            let views = relations.iter().filter(|(_, relation)| matches!(relation, Relation::View(_)));
            list("view name", views.map(|(name, _)| *name).collect(), pattern)
        }
        Show::Columns { table, pattern } => describe(catalog, table, pattern.as_ref(), columns)?,
        Show::Functions { user: true, pattern } => list("function name", own::functions().names().collect(), pattern),
        Show::Functions { user: false, pattern } => {
            let mut names: Vec<&str> = callable_names().collect();
            names.retain(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            names.extend(WINDOW_FUNCTIONS);
            names.sort_unstable();
            names.dedup();
            list("function name", names, pattern)
        }
        Show::CreateTable(name) => match relation(catalog, name)? {
            (path, Relation::Table(table)) => create_table(&path, catalog.is_temporary(&path), &table.definition),
            (path, Relation::View(_)) => {
                return Err(SqlError::at(name.span(), format!("'{}' is a view", path.short()))
                    .with_hint("write SHOW CREATE VIEW"));
            }
        },
        Show::CreateView(name) => match relation(catalog, name)? {
            (path, Relation::View(view)) => create_view(&path, catalog.is_temporary(&path), view),
            (path, Relation::Table(_)) => {
                return Err(SqlError::at(name.span(), format!("'{}' is a table", path.short()))
                    .with_hint("write SHOW CREATE TABLE"));
            }
        },
    })
}

/// The text of `SET`: what is set, without secrets.
pub fn options(options: &BTreeMap<String, String>) -> String {
    let row = |(key, value): (&String, &String)| {
        vec![key.clone(), if is_secret(key) { SECRET_MASK.to_owned() } else { value.clone() }]
    };
    render(&["key", "value"], &options.iter().map(row).collect::<Vec<_>>())
}

/// The columns of a table or view.
pub fn describe(
    catalog: &Catalog,
    name: &TableName,
    pattern: Option<&Pattern>,
    columns: ViewColumns<'_>,
) -> Result<String, SqlError> {
    let rows = match relation(catalog, name)? {
        (_, Relation::Table(table)) => table_columns(table),
        (_, Relation::View(view)) => columns(view)?
            .into_iter()
            .map(|column| {
                let (data_type, nullable) = type_text(&column);
                vec![column.name, data_type, nullable, String::new(), String::new(), String::new(), String::new()]
            })
            .collect(),
    };
    let pattern = pattern.cloned();
    let mut header = vec!["name", "type", "null", "key", "extras", "watermark", "comment"];
    // Comments are a column only where there are some.
    let without_comments = rows.iter().all(|row| row[6].is_empty());
    let mut rows: Vec<Vec<String>> = rows.into_iter().filter(|row| matches(&pattern, &row[0])).collect();
    if without_comments {
        header.pop();
        rows.iter_mut().for_each(|row| row.truncate(6));
    }
    Ok(render(&header, &rows))
}

fn table_columns(table: &Table) -> Vec<Vec<String>> {
    let elements = &table.definition.elements;
    let key: Vec<&str> =
        elements.primary_key.iter().flat_map(|key| &key.columns).map(|column| column.value.as_str()).collect();
    let column = |(definition, column): (&crate::ast::ColumnDef, &Column)| {
        let name = definition.name.value.clone();
        let (data_type, nullable) = type_text(column);
        let extras = match &definition.kind {
            ColumnKind::Physical(_) => String::new(),
            ColumnKind::Computed(_, text) => format!("AS {}", one_line(text)),
            ColumnKind::Metadata { key, is_virtual, .. } => {
                metadata(key.as_ref().map(|key| key.0.as_str()), *is_virtual, '\'')
            }
        };
        let watermark = elements.watermark.as_ref().filter(|watermark| watermark.column.value == name);
        let is_key = key.contains(&name.as_str());
        vec![
            name,
            data_type,
            nullable,
            if is_key { format!("PRI({})", key.join(", ")) } else { String::new() },
            extras,
            watermark.map(|watermark| one_line(&watermark.text)).unwrap_or_default(),
            definition.comment.clone().unwrap_or_default(),
        ]
    };
    elements.columns.iter().zip(&table.columns).map(column).collect()
}

/// A type without its nullability, marked if it is a time attribute, and whether it is nullable.
fn type_text(column: &Column) -> (String, String) {
    let mut text = column.data_type.logical.clone().nullable().to_string();
    if let (Some(time), LogicalType::Timestamp(_) | LogicalType::TimestampLtz(_)) =
        (column.time, &column.data_type.logical)
    {
        text += match time {
            crate::rel::TimeAttribute::RowTime => " *ROWTIME*",
            crate::rel::TimeAttribute::ProcessingTime => " *PROCTIME*",
        };
    }
    (text, if column.data_type.nullable { "TRUE" } else { "FALSE" }.to_owned())
}

fn metadata(key: Option<&str>, is_virtual: bool, quote: char) -> String {
    let mut text = "METADATA".to_owned();
    if let Some(key) = key {
        text += &format!(" FROM {quote}{key}{quote}");
    }
    if is_virtual {
        text += " VIRTUAL";
    }
    text
}

/// `CREATE TABLE` as it would be written today.
fn create_table(path: &Path, temporary: bool, definition: &TableDefinition) -> String {
    let comment = |comment: &Option<String>| {
        comment.as_ref().map(|comment| format!(" COMMENT '{}'", comment.replace('\'', "''"))).unwrap_or_default()
    };
    let elements = &definition.elements;
    let mut lines: Vec<String> = Vec::new();
    for column in &elements.columns {
        let kind = match &column.kind {
            ColumnKind::Physical(data_type) => full_type(&data_type.to_string()),
            ColumnKind::Computed(_, text) => format!("AS {}", one_line(text)),
            ColumnKind::Metadata { data_type, key, is_virtual, .. } => {
                let key = key.as_ref().map(|key| key.0.as_str());
                format!("{} {}", full_type(&data_type.to_string()), metadata(key, *is_virtual, '\''))
            }
        };
        lines.push(format!("  {} {kind}{}", quoted(&column.name.value), comment(&column.comment)));
    }
    if let Some(watermark) = &elements.watermark {
        lines.push(format!("  WATERMARK FOR {} AS {}", quoted(&watermark.column.value), one_line(&watermark.text)));
    }
    if let Some(key) = &elements.primary_key {
        let columns: Vec<String> = key.columns.iter().map(|column| quoted(&column.value)).collect();
        let name = key.constraint.as_ref().map(|name| format!("CONSTRAINT {} ", quoted(name))).unwrap_or_default();
        lines.push(format!("  {name}PRIMARY KEY ({}) NOT ENFORCED", columns.join(", ")));
    }
    let mut text = format!(
        "CREATE {}TABLE {} (\n{}\n)",
        if temporary { "TEMPORARY " } else { "" },
        path.quoted(),
        lines.join(",\n")
    );
    text.push('\n');
    if let Some(comment) = &definition.comment {
        text += &format!("COMMENT '{}'\n", comment.replace('\'', "''"));
    }
    if !definition.partitioned_by.is_empty() {
        let columns: Vec<String> = definition.partitioned_by.iter().map(|name| quoted(&name.value)).collect();
        text += &format!("PARTITIONED BY ({})\n", columns.join(", "));
    }
    let options: Vec<String> = definition
        .options
        .iter()
        .map(|option| {
            let value = if is_secret(&option.key) { SECRET_MASK } else { &option.value };
            format!("  '{}' = '{}'", option.key.replace('\'', "''"), value.replace('\'', "''"))
        })
        .collect();
    text + &format!("WITH (\n{}\n)\n", options.join(",\n"))
}

fn create_view(path: &Path, temporary: bool, view: &View) -> String {
    let columns: Vec<String> = view.columns.iter().map(|name| format!("  {}", quoted(name))).collect();
    let comment =
        view.comment.as_ref().map(|comment| format!("\nCOMMENT '{}'", comment.replace('\'', "''"))).unwrap_or_default();
    format!(
        "CREATE {}VIEW {} (\n{}\n){comment}\nAS {}\n",
        if temporary { "TEMPORARY " } else { "" },
        path.quoted(),
        columns.join(",\n"),
        view.text
    )
}

/// The longest texts and bytes, as Flink writes them in SHOW CREATE TABLE.
fn full_type(text: &str) -> String {
    let mut full = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        full += match word.as_str() {
            "STRING" => "VARCHAR(2147483647)",
            "BYTES" => "VARBINARY(2147483647)",
            "TIMESTAMP_LTZ" if c == '(' => "TIMESTAMP_LTZ",
            other => other,
        };
        word.clear();
        if c != '\0' {
            full.push(c);
        }
    }
    full
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn relation<'a>(catalog: &'a Catalog, name: &TableName) -> Result<(Path, &'a Relation), SqlError> {
    let path = catalog.path(name, &catalog.database)?;
    match catalog.get(&path) {
        Some(relation) => Ok((path, relation)),
        None => Err(unknown(catalog, &path, name)),
    }
}

/// There is no such table or view.
pub fn unknown(catalog: &Catalog, path: &Path, name: &TableName) -> SqlError {
    let near = tidemill_common::suggest::nearest(&path.name, catalog.names(&path.database));
    SqlError::at(name.span(), format!("unknown table '{}'", path.short())).with_suggestion(near)
}

fn database_of(catalog: &Catalog, name: Option<&TableName>) -> Result<String, SqlError> {
    let Some(name) = name else { return Ok(catalog.database.clone()) };
    let database = catalog.database_of(name)?;
    catalog.check_database(&database)?;
    Ok(database.value)
}

/// Whether a name matches a LIKE pattern: `%` is any text, `_` any character.
fn matches(pattern: &Option<Pattern>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let fold = |text: &str| if pattern.ignore_case { text.to_lowercase() } else { text.to_owned() };
    let (text, name): (Vec<char>, Vec<char>) = (fold(&pattern.text).chars().collect(), fold(name).chars().collect());
    // Positions of the pattern that can be reached after each character of the name.
    let skip = |reached: &mut Vec<bool>| {
        for at in 0..text.len() {
            if reached[at] && text[at] == '%' {
                reached[at + 1] = true;
            }
        }
    };
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    skip(&mut reached);
    for c in name {
        let mut next = vec![false; text.len() + 1];
        for at in (0..text.len()).filter(|at| reached[*at]) {
            match text[at] {
                '%' => next[at] = true,
                expected if expected == '_' || expected == c => next[at + 1] = true,
                _ => {}
            }
        }
        skip(&mut next);
        reached = next;
    }
    reached[text.len()] != pattern.negated
}
