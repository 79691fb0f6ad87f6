//! The tables and views of a script.

use std::collections::BTreeMap;
use std::rc::Rc;

use sqlparser::ast::{Query, Spanned};
use sqlparser::tokenizer::Span;
use tidemill_common::config::check_value;
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, OptionKind, OptionSpec};
use tidemill_common::expr::Expr;
use tidemill_common::plan::{AlignmentSpec, TableSpec};
use tidemill_common::suggest::nearest;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_expr::bind::fold_constants;

use crate::ast::{ColumnKind, CreateTable, TableOption};
use crate::binder::{ExprBinder, Scope};
use crate::diagnostic::SqlError;
use crate::rel::{Column, TimeAttribute};

/// A table as `CREATE TABLE` defined it.
#[derive(Clone, Debug)]
pub struct Table {
    pub spec: TableSpec,
    /// All columns in order, computed ones included.
    pub columns: Vec<Column>,
    /// The value of each column over the physical columns.
    pub values: Vec<Expr>,
    pub watermark: Option<Watermark>,
    pub options: Vec<TableOption>,
    pub options_span: Span,
}

/// `WATERMARK FOR column AS expression`; both over [`Table::columns`].
#[derive(Clone, Debug)]
pub struct Watermark {
    pub column: usize,
    pub expression: Expr,
    pub idle_timeout_ms: Option<i64>,
    pub alignment: Option<AlignmentSpec>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Relation {
    Table(Rc<Table>),
    View { query: Rc<Query>, columns: Vec<String> },
}

/// All names, case-sensitive.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    relations: BTreeMap<String, Relation>,
}

impl Catalog {
    /// What this name stands for.
    pub fn get(&self, name: &str) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// Adds a name.
    pub fn insert(&mut self, name: String, relation: Relation) {
        self.relations.insert(name, relation);
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.relations.keys().map(String::as_str)
    }
}

/// Options that every table takes, whatever its connector.
const COMMON_OPTIONS: &[OptionSpec] = &[
    common("connector", OptionKind::Text, "How the table is read and written."),
    common("format", OptionKind::Text, "How records are encoded."),
    common("scan.parallelism", OptionKind::Integer, "Parallelism of the source."),
    common("sink.parallelism", OptionKind::Integer, "Parallelism of the sink."),
    common("scan.watermark.idle-timeout", OptionKind::Duration, "Sets a silent split aside after this time."),
    common("scan.watermark.alignment.group", OptionKind::Text, "Sources of one group wait for each other."),
    common("scan.watermark.alignment.max-drift", OptionKind::Duration, "How far a split may run ahead."),
    common("scan.watermark.alignment.update-interval", OptionKind::Duration, "How often the group compares."),
    common(
        "scan.watermark.emit.strategy",
        OptionKind::Enum(&["on-event", "on-periodic"]),
        "Both are one here: watermarks are exact for every row.",
    ),
];

const fn common(key: &'static str, kind: OptionKind, description: &'static str) -> OptionSpec {
    OptionSpec { key, kind, required: false, default: None, description }
}

/// Replaces `${env:NAME}` in the value of an option.
pub fn resolve_environment(
    option: &mut TableOption,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), SqlError> {
    const OPEN: &str = "${env:";
    let mut resolved = String::new();
    let mut rest = option.value.as_str();
    while let Some(start) = rest.find(OPEN) {
        let name_start = start + OPEN.len();
        let Some(length) = rest[name_start..].find('}') else {
            return Err(SqlError::at(option.value_span, "'${env:' is not closed by '}'"));
        };
        let name = &rest[name_start..name_start + length];
        let Some(value) = environment(name) else {
            return Err(SqlError::at(option.value_span, format!("the environment variable '{name}' is not set"))
                .with_hint("set it for the job manager (or for tidemill run)"));
        };
        resolved.push_str(&rest[..start]);
        resolved.push_str(&value);
        rest = &rest[name_start + length + 1..];
    }
    resolved.push_str(rest);
    option.value = resolved;
    Ok(())
}

/// Makes a table of a definition, checking everything that needs no I/O but what depends on whether
/// the table is read or written.
pub fn define_table(
    definition: &CreateTable,
    connectors: &dyn ConnectorCatalog,
    zone: &str,
    idle_timeout_ms: Option<i64>,
) -> Result<Table, SqlError> {
    let info = check_options(definition, connectors)?;
    let options: BTreeMap<String, String> =
        definition.options.iter().map(|option| (option.key.clone(), option.value.clone())).collect();

    let mut schema = Schema::default();
    for column in &definition.columns {
        if let ColumnKind::Physical(data_type) = &column.kind {
            schema.fields.push(Field::new(column.name.value.clone(), data_type.clone()));
        }
    }
    let mut primary_key = Vec::new();
    for name in definition.primary_key.iter().flatten() {
        let Some(index) = schema.index_of(&name.value) else {
            let names = schema.fields.iter().map(|field| field.name.as_str());
            return Err(SqlError::at(name.span, format!("'{}' is no physical column of the table", name.value))
                .with_suggestion(nearest(&name.value, names)));
        };
        schema.fields[index].data_type.nullable = false;
        primary_key.push(index);
    }

    let physical: Vec<Column> = schema
        .fields
        .iter()
        .map(|field| Column { name: field.name.clone(), data_type: field.data_type.clone(), time: None })
        .collect();
    let scope = Scope::of(None, &physical);
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for column in &definition.columns {
        let value = match &column.kind {
            ColumnKind::Physical(_) => {
                let index = schema.index_of(&column.name.value).unwrap_or_default();
                Expr::column(index, schema.fields[index].data_type.clone())
            }
            ColumnKind::Computed(expression) => fold_constants(ExprBinder::scalar(&scope).bind(expression)?, zone),
        };
        let time = match &value {
            Expr::Call { function, .. } if function.name == "PROCTIME" => Some(TimeAttribute::ProcessingTime),
            _ => None,
        };
        columns.push(Column { name: column.name.value.clone(), data_type: value.data_type().clone(), time });
        values.push(value);
    }

    let watermark = match &definition.watermark {
        None => None,
        Some(watermark) => {
            let name = &watermark.column.value;
            let Some(column) = columns.iter().position(|column| column.name == *name) else {
                let names = columns.iter().map(|column| column.name.as_str());
                return Err(SqlError::at(watermark.column.span, format!("the table has no column '{name}'"))
                    .with_suggestion(nearest(name, names)));
            };
            if columns[column].time == Some(TimeAttribute::ProcessingTime) {
                return Err(SqlError::at(
                    watermark.column.span,
                    format!("'{name}' is the processing time, which needs no watermark"),
                )
                .with_hint("remove WATERMARK FOR: windows take the column as it is"));
            }
            let time_type = columns[column].data_type.clone();
            if !matches!(time_type.logical, LogicalType::Timestamp(0..=3) | LogicalType::TimestampLtz(0..=3)) {
                return Err(SqlError::at(
                    watermark.column.span,
                    format!("a row time is TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p <= 3, but '{name}' is {time_type}"),
                )
                .with_hint("CAST it in a computed column, or convert text by TO_TIMESTAMP"));
            }
            let scope = Scope::of(None, &columns);
            let expression = fold_constants(ExprBinder::scalar(&scope).bind(&watermark.expression)?, zone);
            let same = matches!(
                (&expression.data_type().logical, &time_type.logical),
                (LogicalType::Timestamp(0..=3), LogicalType::Timestamp(_))
                    | (LogicalType::TimestampLtz(0..=3), LogicalType::TimestampLtz(_))
            );
            if !same {
                let span = watermark.expression.span();
                return Err(SqlError::at(
                    span,
                    format!("the watermark is {}, the row time {time_type}", expression.data_type()),
                ));
            }
            columns[column].time = Some(TimeAttribute::RowTime);
            Some(Watermark {
                column,
                expression,
                idle_timeout_ms: duration_ms(&options, "scan.watermark.idle-timeout").or(idle_timeout_ms),
                alignment: alignment(definition, &options)?,
            })
        }
    };

    let spec = TableSpec {
        name: definition.name.value.clone(),
        connector: info.identifier.to_owned(),
        options,
        schema,
        primary_key,
    };
    Ok(Table {
        spec,
        columns,
        values,
        watermark,
        options: definition.options.clone(),
        options_span: definition.options_span,
    })
}

fn duration_ms(options: &BTreeMap<String, String>, key: &str) -> Option<i64> {
    let duration = tidemill_common::config::Options(options).duration(key)?;
    Some(duration.as_millis() as i64).filter(|ms| *ms > 0)
}

fn alignment(table: &CreateTable, options: &BTreeMap<String, String>) -> Result<Option<AlignmentSpec>, SqlError> {
    const GROUP: &str = "scan.watermark.alignment.group";
    const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";
    let group = options.get(GROUP);
    let max_drift_ms = duration_ms(options, MAX_DRIFT);
    match (group, max_drift_ms) {
        (None, None) => Ok(None),
        (Some(group), Some(max_drift_ms)) => Ok(Some(AlignmentSpec {
            group: group.clone(),
            max_drift_ms,
            update_interval_ms: duration_ms(options, "scan.watermark.alignment.update-interval").unwrap_or(1_000),
        })),
        _ => Err(SqlError::at(table.options_span, format!("'{GROUP}' and '{MAX_DRIFT}' must be given together"))),
    }
}

/// Checks names, presence and kinds of a table's options.
fn check_options(table: &CreateTable, connectors: &dyn ConnectorCatalog) -> Result<ConnectorInfo, SqlError> {
    let all = connectors.connectors();
    let Some(connector) = table.options.iter().find(|option| option.key == "connector") else {
        return Err(SqlError::at(
            table.options_span,
            format!("table '{}' has no option 'connector'", table.name.value),
        )
        .with_hint(format!("one of {}", identifiers(&all))));
    };
    let Some(info) = all.iter().find(|info| info.identifier == connector.value) else {
        let near = nearest(&connector.value, all.iter().map(|info| info.identifier));
        let error = SqlError::at(connector.value_span, format!("unknown connector '{}'", connector.value));
        return Err(match near {
            Some(_) => error.with_suggestion(near),
            None => error.with_hint(format!("one of {}", identifiers(&all))),
        });
    };
    // A format's options carry its name as prefix: json.ignore-parse-errors.
    let formats = connectors.formats();
    let mut known: Vec<(String, OptionSpec)> = Vec::new();
    let own = info.options.iter().chain(COMMON_OPTIONS.iter().filter(|common| common.key != "format" || info.formats));
    known.extend(own.map(|option| (option.key.to_owned(), *option)));
    for prefix in ["", "key.", "value."] {
        let Some(option) = table.options.iter().find(|option| option.key == format!("{prefix}format")) else {
            continue;
        };
        let taken =
            if prefix.is_empty() { info.formats } else { info.options.iter().any(|known| known.key == option.key) };
        if !taken {
            continue;
        }
        let Some(format) = formats.iter().find(|format| format.identifier == option.value) else {
            let near = nearest(&option.value, formats.iter().map(|format| format.identifier));
            let error = SqlError::at(option.value_span, format!("unknown format '{}'", option.value));
            return Err(match near {
                Some(_) => error.with_suggestion(near),
                None => error.with_hint(format!("one of {}", identifiers(&formats))),
            });
        };
        known.extend(
            format.options.iter().map(|option| (format!("{prefix}{}.{}", format.identifier, option.key), *option)),
        );
    }
    for option in &table.options {
        match known.iter().find(|(key, _)| matches(key, &option.key)) {
            Some((_, spec)) => check_value(spec.kind, &option.value)
                .map_err(|error| SqlError::at(option.value_span, format!("option '{}': {error}", option.key)))?,
            None if info.prefixes.iter().any(|prefix| option.key.starts_with(prefix)) => {}
            None => {
                let near = nearest(&option.key, known.iter().map(|(key, _)| key.as_str()));
                return Err(SqlError::at(
                    option.key_span,
                    format!("connector '{}' has no option '{}'", info.identifier, option.key),
                )
                .with_suggestion(near));
            }
        }
    }
    for (key, spec) in &known {
        if spec.required && !table.options.iter().any(|option| matches(key, &option.key)) {
            return Err(SqlError::at(
                table.options_span,
                format!(
                    "table '{}' has no option '{key}', which connector '{}' needs",
                    table.name.value, info.identifier
                ),
            )
            .with_hint(spec.description));
        }
    }
    Ok(info.clone())
}

/// Whether an option's key is this one; `#` in the known key stands for any column name.
fn matches(known: &str, key: &str) -> bool {
    match known.split_once('#') {
        None => known == key,
        Some((before, after)) => {
            key.len() > before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
        }
    }
}

fn identifiers(infos: &[ConnectorInfo]) -> String {
    infos.iter().map(|info| info.identifier).filter(|name| *name != "collect").collect::<Vec<_>>().join(", ")
}
