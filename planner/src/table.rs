//! Tables: from their definitions to what the binder and the stream plan need.

use std::collections::BTreeMap;

use sqlparser::ast::{Ident, Spanned};
use sqlparser::tokenizer::Span;
use tidemill_common::config::check_value;
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, OptionKind, OptionSpec};
use tidemill_common::expr::Expr;
use tidemill_common::plan::{AlignmentSpec, MetadataColumn, TableSpec};
use tidemill_common::suggest::nearest;
use tidemill_common::types::{DataType, Field, LogicalType, Schema};
use tidemill_expr::bind::{bind_cast, fold_constants};

use crate::ast::{ColumnDef, ColumnKind, TableElements, TableOption};
use crate::binder::{ExprBinder, Scope};
use crate::diagnostic::SqlError;
use crate::rel::{Column, TimeAttribute};

/// A table as its statements defined it: `LIKE` and `ALTER TABLE` are worked in.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    pub elements: TableElements,
    pub comment: Option<String>,
    pub partitioned_by: Vec<Ident>,
    pub options: Vec<TableOption>,
    pub options_span: Span,
    /// Whether its places are those of the script at hand.
    pub placed: bool,
}

impl TableDefinition {
    /// This definition without places, for when its text is gone.
    pub fn without_places(mut self) -> Self {
        self.placed = false;
        self.options_span = Span::empty();
        for option in &mut self.options {
            (option.key_span, option.value_span) = (Span::empty(), Span::empty());
        }
        for column in &mut self.partitioned_by {
            column.span = Span::empty();
        }
        self
    }
}

/// A table that can be read and written.
#[derive(Clone, Debug)]
pub struct Table {
    pub definition: TableDefinition,
    pub spec: TableSpec,
    /// All columns in order, computed ones included.
    pub columns: Vec<Column>,
    /// The value of each column over the physical columns and, behind them, `metadata`.
    pub values: Vec<Expr>,
    pub metadata: Vec<MetadataColumn>,
    /// Metadata columns that are not VIRTUAL: an INSERT would write them.
    pub persisted_metadata: Vec<String>,
    pub watermark: Option<Watermark>,
    /// What is asked of a scan's partition columns, over `spec.partition_keys` in their order.
    pub partition_filter: Option<Expr>,
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

/// What a table is defined by besides its definition.
pub struct TableContext<'a> {
    pub connectors: &'a dyn ConnectorCatalog,
    /// IANA name of the session zone.
    pub zone: &'a str,
    pub idle_timeout_ms: Option<i64>,
}

/// Makes a table of a definition, checking everything that needs no I/O but what depends on whether
/// the table is read or written.
pub fn define_table(name: &str, definition: TableDefinition, context: &TableContext<'_>) -> Result<Table, SqlError> {
    let info = check_options(name, &definition, context.connectors)?;
    let options: BTreeMap<String, String> =
        definition.options.iter().map(|option| (option.key.clone(), option.value.clone())).collect();
    let schema = physical_schema(&definition.elements.columns);
    let mut table = Table {
        spec: TableSpec {
            name: name.to_owned(),
            connector: info.identifier.to_owned(),
            options,
            schema,
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        },
        columns: Vec::new(),
        values: Vec::new(),
        metadata: Vec::new(),
        persisted_metadata: Vec::new(),
        watermark: None,
        partition_filter: None,
        options: definition.options.clone(),
        options_span: definition.options_span,
        definition,
    };
    table.primary_key()?;
    table.bind_columns(context)?;
    table.bind_watermark(context)?;
    table.partition_keys(&info)?;
    Ok(table)
}

fn physical_schema(columns: &[ColumnDef]) -> Schema {
    let mut schema = Schema::default();
    for column in columns {
        if let ColumnKind::Physical(data_type) = &column.kind {
            schema.fields.push(Field::new(column.name.value.clone(), data_type.clone()));
        }
    }
    schema
}

impl Table {
    fn primary_key(&mut self) -> Result<(), SqlError> {
        let Some(key) = self.definition.elements.primary_key.clone() else { return Ok(()) };
        let schema = &mut self.spec.schema;
        for name in &key.columns {
            let Some(index) = schema.index_of(&name.value) else {
                let names = schema.fields.iter().map(|field| field.name.as_str());
                return Err(SqlError::at(
                    name.span,
                    format!("the primary key names '{}', which is no physical column of the table", name.value),
                )
                .with_suggestion(nearest(&name.value, names)));
            };
            if self.spec.primary_key.contains(&index) {
                return Err(SqlError::at(name.span, format!("'{}' is named twice in the primary key", name.value)));
            }
            schema.fields[index].data_type.nullable = false;
            self.spec.primary_key.push(index);
        }
        // DESCRIBE and LIKE see that key columns are not NULL.
        for column in &mut self.definition.elements.columns {
            if let ColumnKind::Physical(data_type) = &mut column.kind
                && key.columns.iter().any(|name| name.value == column.name.value)
            {
                data_type.nullable = false;
            }
        }
        Ok(())
    }

    fn partition_keys(&mut self, connector: &ConnectorInfo) -> Result<(), SqlError> {
        let names = self.definition.partitioned_by.clone();
        let Some(first) = names.first() else { return Ok(()) };
        if !connector.partitions {
            return Err(SqlError::at(first.span, format!("connector '{}' has no partitions", connector.identifier))
                .with_hint("leave PARTITIONED BY out: the columns are then written like all others"));
        }
        let schema = &self.spec.schema;
        for name in &names {
            let Some(index) = schema.index_of(&name.value) else {
                let known = schema.fields.iter().map(|field| field.name.as_str());
                return Err(SqlError::at(
                    name.span,
                    format!("PARTITIONED BY names '{}', which is no physical column of the table", name.value),
                )
                .with_suggestion(nearest(&name.value, known)));
            };
            if self.spec.partition_keys.contains(&index) {
                return Err(SqlError::at(name.span, format!("'{}' is named twice in PARTITIONED BY", name.value)));
            }
            self.spec.partition_keys.push(index);
        }
        if names.len() == schema.len() {
            return Err(SqlError::at(first.span, "all columns of the table are partition columns")
                .with_hint("the files need at least one column: leave one out of PARTITIONED BY"));
        }
        Ok(())
    }

    /// Computed columns see the physical and the metadata columns.
    fn bind_columns(&mut self, context: &TableContext<'_>) -> Result<(), SqlError> {
        let mut visible: Vec<Column> = Vec::new();
        let mut visible_values: Vec<Expr> = Vec::new();
        let definitions = self.definition.elements.columns.clone();
        for column in &definitions {
            let value = match &column.kind {
                ColumnKind::Physical(_) => {
                    let index = self.spec.schema.index_of(&column.name.value).unwrap_or_default();
                    Expr::column(index, self.spec.schema.fields[index].data_type.clone())
                }
                ColumnKind::Metadata { data_type, key, is_virtual, span } => {
                    let (key, place) = key.clone().unwrap_or_else(|| (column.name.value.clone(), *span));
                    if !is_virtual {
                        self.persisted_metadata.push(column.name.value.clone());
                    }
                    self.metadata_value(&key, place, data_type, context)?
                }
                ColumnKind::Computed(..) => continue,
            };
            // A metadata column is as nullable as it is declared.
            let data_type = match &column.kind {
                ColumnKind::Metadata { data_type, .. } => data_type.clone(),
                _ => value.data_type().clone(),
            };
            visible.push(Column { name: column.name.value.clone(), data_type, time: None });
            visible_values.push(value);
        }
        let scope = Scope::of(None, &visible);
        for column in &definitions {
            let (value, declared) = match &column.kind {
                ColumnKind::Computed(expression, _) => {
                    let bound = ExprBinder::scalar(&scope).bind(expression)?;
                    let value = bound.map_columns(&mut |index, _| visible_values[index].clone());
                    let value = fold_constants(value, context.zone);
                    let data_type = value.data_type().clone();
                    (value, data_type)
                }
                _ => {
                    let at = visible.iter().position(|seen| seen.name == column.name.value).unwrap_or_default();
                    (visible_values[at].clone(), visible[at].data_type.clone())
                }
            };
            let time = match &value {
                Expr::Call { function, .. } if function.name == "PROCTIME" => Some(TimeAttribute::ProcessingTime),
                _ => None,
            };
            self.columns.push(Column { name: column.name.value.clone(), data_type: declared, time });
            self.values.push(value);
        }
        Ok(())
    }

    /// A piece of metadata of the connector, as the declared type.
    fn metadata_value(
        &mut self,
        key: &str,
        place: Span,
        declared: &DataType,
        context: &TableContext<'_>,
    ) -> Result<Expr, SqlError> {
        let known = context.connectors.metadata(&self.spec.connector);
        let Some(found) = known.iter().find(|known| known.key == key) else {
            let connector = &self.spec.connector;
            let error = SqlError::at(place, format!("connector '{connector}' has no metadata '{key}'"));
            let near = nearest(key, known.iter().map(|known| known.key));
            let keys: Vec<&str> = known.iter().map(|known| known.key).collect();
            return Err(match near {
                Some(_) => error.with_suggestion(near),
                None if keys.is_empty() => error.with_hint(format!("connector '{connector}' has no metadata at all")),
                None => error.with_hint(format!("it has {}", keys.join(", "))),
            });
        };
        let data_type = (found.data_type)();
        if self.metadata.iter().any(|column| column.key == key) {
            return Err(SqlError::at(place, format!("two columns read the metadata '{key}'"))
                .with_hint("make one of them a computed column over the other"));
        }
        self.metadata.push(MetadataColumn { key: key.to_owned(), data_type: data_type.clone() });
        let value = Expr::column(self.spec.schema.len() + self.metadata.len() - 1, data_type.clone());
        if data_type == *declared {
            return Ok(value);
        }
        bind_cast(value, declared.clone(), false).map_err(|_| {
            SqlError::at(place, format!("the metadata '{key}' is {data_type} and cannot become {declared}"))
                .with_hint(format!("declare the column as {data_type}"))
        })
    }

    fn bind_watermark(&mut self, context: &TableContext<'_>) -> Result<(), SqlError> {
        let Some(watermark) = self.definition.elements.watermark.clone() else { return Ok(()) };
        let name = &watermark.column.value;
        let Some(column) = self.columns.iter().position(|column| column.name == *name) else {
            let names = self.columns.iter().map(|column| column.name.as_str());
            return Err(SqlError::at(watermark.column.span, format!("the table has no column '{name}'"))
                .with_suggestion(nearest(name, names)));
        };
        if self.columns[column].time == Some(TimeAttribute::ProcessingTime) {
            return Err(SqlError::at(
                watermark.column.span,
                format!("'{name}' is the processing time, which needs no watermark"),
            )
            .with_hint("remove WATERMARK FOR: windows take the column as it is"));
        }
        let time_type = self.columns[column].data_type.clone();
        if !matches!(time_type.logical, LogicalType::Timestamp(0..=3) | LogicalType::TimestampLtz(0..=3)) {
            return Err(SqlError::at(
                watermark.column.span,
                format!("a row time is TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p <= 3, but '{name}' is {time_type}"),
            )
            .with_hint("CAST it in a computed column, or convert text by TO_TIMESTAMP"));
        }
        let scope = Scope::of(None, &self.columns);
        let expression = fold_constants(ExprBinder::scalar(&scope).bind(&watermark.expression)?, context.zone);
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
        self.columns[column].time = Some(TimeAttribute::RowTime);
        self.watermark = Some(Watermark {
            column,
            expression,
            idle_timeout_ms: duration_ms(&self.spec.options, "scan.watermark.idle-timeout").or(context.idle_timeout_ms),
            alignment: alignment(self.options_span, &self.spec.options)?,
        });
        Ok(())
    }
}

fn duration_ms(options: &BTreeMap<String, String>, key: &str) -> Option<i64> {
    let duration = tidemill_common::config::Options(options).duration(key)?;
    Some(duration.as_millis() as i64).filter(|ms| *ms > 0)
}

fn alignment(place: Span, options: &BTreeMap<String, String>) -> Result<Option<AlignmentSpec>, SqlError> {
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
        _ => Err(SqlError::at(place, format!("'{GROUP}' and '{MAX_DRIFT}' must be given together"))),
    }
}

/// Checks names, presence and kinds of a table's options.
fn check_options(
    name: &str,
    table: &TableDefinition,
    connectors: &dyn ConnectorCatalog,
) -> Result<ConnectorInfo, SqlError> {
    let all = connectors.connectors();
    let Some(connector) = table.options.iter().find(|option| option.key == "connector") else {
        return Err(SqlError::at(table.options_span, format!("table '{name}' has no option 'connector'"))
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
                format!("table '{name}' has no option '{key}', which connector '{}' needs", info.identifier),
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
