//! Scripts to jobs.

use std::collections::BTreeMap;
use std::rc::Rc;

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::Span;
use tidemill_common::config::{Options, check_job_option, without_effect};
use tidemill_common::connector::ConnectorCatalog;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{StreamPlan, TableSpec};
use tidemill_common::suggest::nearest;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_expr::bind::coerce;

use crate::ast::{CreateView, Insert, SetOption, StatementKind};
use crate::binder::QueryBinder;
use crate::catalog::{Catalog, Relation, Table, define_table, resolve_environment};
use crate::diagnostic::SqlError;
use crate::dialect::parse_script;
use crate::explain::explain;
use crate::optimizer::optimize;
use crate::rel::{Rel, calc};
use crate::stream::StreamPlanner;

/// What a script comes to.
#[derive(Debug, Default)]
pub struct PlannedScript {
    pub statements: Vec<PlannedStatement>,
    /// What the user should know although it is no error.
    pub warnings: Vec<String>,
}

/// A statement that does something.
#[derive(Debug)]
pub enum PlannedStatement {
    Job { plan: Box<StreamPlan>, kind: JobKind },
    Explain(String),
}

/// What becomes of a job's rows.
#[derive(Debug, PartialEq)]
pub enum JobKind {
    /// They go to tables.
    Insert,
    /// They go to whoever submitted the script.
    Select { schema: Schema },
}

/// Plans scripts.
pub struct Planner<'a> {
    connectors: &'a dyn ConnectorCatalog,
    options: BTreeMap<String, String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Planner<'a> {
    /// A planner; `options` hold before the script's own `SET`s, `environment` gives the value of
    /// `${env:NAME}` in a table's options.
    pub fn new(
        connectors: &'a dyn ConnectorCatalog,
        options: BTreeMap<String, String>,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { connectors, options, environment }
    }

    /// Plans a script. `file` is only named in errors, which come rendered with line and caret.
    pub fn plan_script(&self, script: &str, file: &str) -> Result<PlannedScript, String> {
        self.plan(script).map_err(|error| error.render(script, file))
    }

    /// The same with a typed error.
    pub fn plan(&self, script: &str) -> Result<PlannedScript, SqlError> {
        let statements = parse_script(script)?;
        let mut session = Session {
            connectors: self.connectors,
            environment: self.environment,
            initial: &self.options,
            options: self.options.clone(),
            catalog: Catalog::default(),
        };
        let mut planned = PlannedScript::default();
        for (key, value) in &self.options {
            check_zone(key, value).map_err(SqlError::general)?;
            planned.warnings.extend(without_effect(key).map(|reason| no_effect(key, reason)));
        }
        for statement in &statements {
            session.statement(&statement.kind, &mut planned).map_err(|error| error.or_at(statement.span))?;
        }
        Ok(planned)
    }
}

/// The state of a script being planned.
struct Session<'a> {
    connectors: &'a dyn ConnectorCatalog,
    environment: &'a dyn Fn(&str) -> Option<String>,
    initial: &'a BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    catalog: Catalog,
}

impl Session<'_> {
    fn zone(&self) -> String {
        match Options(&self.options).text("table.local-time-zone") {
            None | Some("default") => "UTC".to_owned(),
            Some(zone) => zone.to_owned(),
        }
    }

    fn statement(&mut self, kind: &StatementKind, planned: &mut PlannedScript) -> Result<(), SqlError> {
        match kind {
            StatementKind::CreateTable(definition) => {
                let name = &definition.name;
                if self.exists(&name.value, name.span, definition.if_not_exists)? {
                    return Ok(());
                }
                let idle = Options(&self.options).duration("table.exec.source.idle-timeout");
                let idle = idle.map(|idle| idle.as_millis() as i64).filter(|ms| *ms > 0);
                let mut definition = definition.clone();
                for option in &mut definition.options {
                    resolve_environment(option, self.environment)?;
                }
                let definition = &definition;
                let table = define_table(definition, self.connectors, &self.zone(), idle)?;
                self.catalog.insert(name.value.clone(), Relation::Table(Rc::new(table)));
            }
            StatementKind::CreateView(view) => self.create_view(view)?,
            StatementKind::Set(set) => self.set(set, planned)?,
            StatementKind::Reset(None) => self.options = self.initial.clone(),
            StatementKind::Reset(Some(key)) => {
                match self.initial.get(key) {
                    Some(value) => self.options.insert(key.clone(), value.clone()),
                    None => self.options.remove(key),
                };
            }
            StatementKind::Explain(inner) => {
                let (plan, _) = self.job(inner)?;
                planned.statements.push(PlannedStatement::Explain(explain(&plan)));
            }
            job => {
                let (plan, kind) = self.job(job)?;
                planned.statements.push(PlannedStatement::Job { plan: Box::new(plan), kind });
            }
        }
        Ok(())
    }

    /// Whether a name is taken; an error unless that is allowed.
    fn exists(&self, name: &str, span: Span, allowed: bool) -> Result<bool, SqlError> {
        match self.catalog.get(name) {
            None => Ok(false),
            Some(_) if allowed => Ok(true),
            Some(_) => Err(SqlError::at(span, format!("'{name}' is defined twice"))),
        }
    }

    fn create_view(&mut self, view: &CreateView) -> Result<(), SqlError> {
        if self.exists(&view.name.value, view.name.span, view.if_not_exists)? {
            return Ok(());
        }
        // Bound now for its errors and columns, and again at each use.
        let zone = self.zone();
        let rel = QueryBinder::new(&self.catalog, &zone).query(&view.query)?;
        let columns: Vec<String> = if view.columns.is_empty() {
            rel.columns.iter().map(|column| column.name.clone()).collect()
        } else if view.columns.len() == rel.columns.len() {
            view.columns.iter().map(|column| column.value.clone()).collect()
        } else {
            return Err(SqlError::at(
                view.columns[0].span,
                format!("the view names {} columns, its query has {}", view.columns.len(), rel.columns.len()),
            ));
        };
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].contains(column) {
                return Err(SqlError::at(view.name.span, format!("the view has two columns named '{column}'"))
                    .with_hint("rename one with AS"));
            }
        }
        let relation = Relation::View { query: Rc::new((*view.query).clone()), columns };
        self.catalog.insert(view.name.value.clone(), relation);
        Ok(())
    }

    fn set(&mut self, set: &SetOption, planned: &mut PlannedScript) -> Result<(), SqlError> {
        check_job_option(&set.key, &set.value).map_err(|error| {
            let span = if error.starts_with("unknown option") { set.key_span } else { set.value_span };
            SqlError::at(span, error)
        })?;
        check_zone(&set.key, &set.value).map_err(|error| SqlError::at(set.value_span, error))?;
        if let Some(reason) = without_effect(&set.key) {
            planned.warnings.push(format!("line {}: {}", set.key_span.start.line, no_effect(&set.key, reason)));
            return Ok(());
        }
        self.options.insert(set.key.clone(), set.value.clone());
        Ok(())
    }

    /// Plans a statement that reads streams.
    fn job(&self, kind: &StatementKind) -> Result<(StreamPlan, JobKind), SqlError> {
        let zone = self.zone();
        match kind {
            StatementKind::Insert(insert) => Ok((self.inserts(std::slice::from_ref(insert), &zone)?, JobKind::Insert)),
            StatementKind::StatementSet(inserts) => Ok((self.inserts(inserts, &zone)?, JobKind::Insert)),
            StatementKind::Query(query) => {
                let rel = QueryBinder::new(&self.catalog, &zone).query(query)?;
                let optimized = optimize(vec![rel], &zone);
                let [rel] = optimized.as_slice() else {
                    return Err(SqlError::general("internal error: the optimizer lost the query"));
                };
                let fields = rel.columns.iter().map(|c| Field::new(c.name.clone(), c.data_type.clone())).collect();
                let schema = Schema::new(fields);
                let table = TableSpec {
                    name: "select".to_owned(),
                    connector: "collect".to_owned(),
                    options: BTreeMap::new(),
                    schema: schema.clone(),
                    primary_key: Vec::new(),
                };
                let mut planner = StreamPlanner::new(self.connectors, &self.options)?;
                planner.sink(rel, table)?;
                Ok((planner.finish(self.name("select".to_owned()))?, JobKind::Select { schema }))
            }
            _ => Err(SqlError::general("only INSERT, STATEMENT SET and SELECT are jobs")),
        }
    }

    fn name(&self, default: String) -> String {
        Options(&self.options).text("pipeline.name").map_or(default, str::to_owned)
    }

    fn inserts(&self, inserts: &[Insert], zone: &str) -> Result<StreamPlan, SqlError> {
        let mut queries = Vec::new();
        let mut tables: Vec<Rc<Table>> = Vec::new();
        for insert in inserts {
            let table = self.sink_table(insert)?;
            let rel = QueryBinder::new(&self.catalog, zone).query(&insert.query)?;
            queries.push(fit(rel, &table, insert)?);
            tables.push(table);
        }
        let queries = optimize(queries, zone);
        let mut planner = StreamPlanner::new(self.connectors, &self.options)?;
        for ((query, table), insert) in queries.iter().zip(&tables).zip(inserts) {
            planner.sink(query, table.spec.clone()).map_err(|error| error.or_at(insert.table.span()))?;
        }
        let mut names: Vec<&str> = Vec::new();
        for table in &tables {
            if !names.contains(&table.spec.name.as_str()) {
                names.push(&table.spec.name);
            }
        }
        planner.finish(self.name(format!("insert-into_{}", names.join(","))))
    }

    fn sink_table(&self, insert: &Insert) -> Result<Rc<Table>, SqlError> {
        let span = insert.table.span();
        let name = match insert.table.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.clone()),
            _ => None,
        };
        let Some(name) = name else {
            return Err(SqlError::at(span, "catalogs and databases are not supported yet"));
        };
        match self.catalog.get(&name) {
            Some(Relation::Table(table)) => {
                self.connectors.check_sink(&table.spec).map_err(|error| {
                    let option = table.options.iter().find(|option| Some(&option.key) == error.option.as_ref());
                    let place = option.map_or(table.options_span, |option| option.value_span);
                    SqlError::at(place, format!("table '{name}': {}", error.message))
                })?;
                Ok(table.clone())
            }
            Some(Relation::View { .. }) => {
                Err(SqlError::at(span, format!("'{name}' is a view: only tables are written")))
            }
            None => Err(SqlError::at(span, format!("unknown table '{name}'"))
                .with_suggestion(nearest(&name, self.catalog.names()))),
        }
    }
}

/// A time zone must be one that the time-zone database knows.
fn check_zone(key: &str, value: &str) -> Result<(), String> {
    if key != "table.local-time-zone" || value == "default" || value.parse::<chrono_tz::Tz>().is_ok() {
        return Ok(());
    }
    let near = nearest(value, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
    let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Err(format!("option '{key}': '{value}' is no time zone, such as Europe/Berlin{hint}"))
}

fn no_effect(key: &str, reason: &str) -> String {
    format!("option '{key}' has no effect: {reason}")
}

/// Casts the query's columns to those of the sink, where Flink casts implicitly. NULLs for NOT NULL
/// columns are the running sink's to judge.
fn fit(rel: Rel, table: &Table, insert: &Insert) -> Result<Rel, SqlError> {
    let sink = &table.spec.schema;
    let place = insert.query.span();
    // Which query column each sink column gets.
    let mut sources: Vec<Option<usize>> = vec![None; sink.len()];
    if insert.columns.is_empty() {
        for (index, source) in sources.iter_mut().enumerate() {
            *source = Some(index);
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
        if sources[index].is_some() {
            return Err(SqlError::at(column.span, format!("column '{}' is named twice", column.value)));
        }
        sources[index] = Some(position);
    }
    let expected = if insert.columns.is_empty() { sink.len() } else { insert.columns.len() };
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
