//! Scripts to jobs.

use std::collections::BTreeMap;
use std::rc::Rc;

use sqlparser::ast::{Ident, Query};
use sqlparser::tokenizer::Span;
use tidemill_common::checkpoint::CheckpointOptions;
use tidemill_common::config::{Options, check_job_option, is_batch, without_effect};
use tidemill_common::connector::ConnectorCatalog;
use tidemill_common::plan::{SourceSpec, StreamPlan, TableSpec};
use tidemill_common::suggest::nearest;
use tidemill_common::types::{Field, Schema};

use crate::alter;
use crate::ast::{
    AlterTable, AlterView, CreateTable, CreateView, Drop, DropObject, Insert, ResetOption, SetOption, StatementKind,
    TableChange, TableName, ViewChange,
};
use crate::binder::{Mode, QueryBinder, Tables, unique_names};
use crate::catalog::{Catalog, Path, Relation, View, check_catalog};
use crate::diagnostic::SqlError;
use crate::dialect::parse_script;
use crate::explain::explain;
use crate::insert::fit;
use crate::like;
use crate::optimizer::optimize;
use crate::rel::{Column, Rel};
use crate::show::{self, unknown};
use crate::stream::StreamPlanner;
use crate::table::{Table, TableContext, TableDefinition, define_table, resolve_environment};
use crate::table_as;

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
    Job {
        plan: Box<StreamPlan>,
        kind: JobKind,
    },
    /// What EXPLAIN, SHOW or DESCRIBE say.
    Text(String),
}

/// Tells the sink of a SELECT to send rows as arrays of values.
const CELLS: (&str, &str) = ("rows", "cells");

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
    cells: bool,
}

impl<'a> Planner<'a> {
    /// A planner; `options` hold before the script's own `SET`s, `environment` gives the value of
    /// `${env:NAME}` in a table's options.
    pub fn new(
        connectors: &'a dyn ConnectorCatalog,
        options: BTreeMap<String, String>,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { connectors, options, environment, cells: false }
    }

    /// Whether the rows of a SELECT come as arrays of values.
    pub fn with_cells(mut self, cells: bool) -> Self {
        self.cells = cells;
        self
    }

    /// Plans a script. `file` is only named in errors, which come rendered with line and caret.
    pub fn plan_script(&self, script: &str, file: &str) -> Result<PlannedScript, String> {
        self.plan(script).map_err(|error| error.render(script, file))
    }

    /// The same in a session: what the statements in `session` have defined and set is there. Those
    /// start no jobs and say nothing.
    pub fn plan_script_in(&self, session: &str, script: &str, file: &str) -> Result<PlannedScript, String> {
        let mut planned = PlannedScript::default();
        let mut run = || {
            for (key, value) in &self.options {
                check_zone(key, value).map_err(SqlError::general)?;
                planned.warnings.extend(without_effect(key).map(|reason| no_effect(key, reason)));
            }
            let state = self.session(session).map_err(|error| {
                SqlError::general(format!("an earlier statement of the session: {}", error.message))
            })?;
            self.run(state, script, &mut planned)
        };
        run().map(drop).map_err(|error| error.render(script, file))?;
        Ok(planned)
    }

    /// The names of tables, views and their columns after the statements of a session, for completion.
    pub fn names(&self, session: &str) -> Vec<String> {
        let Ok(mut session) = self.session(session) else { return Vec::new() };
        let mut names: Vec<String> = session.catalog.databases().map(str::to_owned).collect();
        for database in names.clone() {
            names.extend(session.catalog.names(&database).map(str::to_owned));
        }
        for relation in session.catalog.all() {
            match relation {
                Relation::Table(table) => names.extend(table.columns.iter().map(|column| column.name.clone())),
                Relation::View(view) => names.extend(view.columns.iter().cloned()),
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// The same as [`Planner::plan_script`] with a typed error.
    pub fn plan(&self, script: &str) -> Result<PlannedScript, SqlError> {
        let mut planned = PlannedScript::default();
        for (key, value) in &self.options {
            check_zone(key, value).map_err(SqlError::general)?;
            planned.warnings.extend(without_effect(key).map(|reason| no_effect(key, reason)));
        }
        let session = self.run(self.new_session(), script, &mut planned)?;
        let checkpoints = CheckpointOptions::new(&session.options);
        if checkpoints.unaligned && checkpoints.at_least_once {
            let reason = "barriers overtake rows only with 'execution.checkpointing.mode' = 'EXACTLY_ONCE'";
            planned.warnings.push(no_effect("execution.checkpointing.unaligned.enabled", reason));
        }
        Ok(planned)
    }

    fn new_session(&self) -> Session<'_> {
        Session {
            connectors: self.connectors,
            environment: self.environment,
            initial: &self.options,
            options: self.options.clone(),
            catalog: Catalog::default(),
            cells: self.cells,
        }
    }

    /// The session after these statements.
    fn session(&self, script: &str) -> Result<Session<'_>, SqlError> {
        let mut session = self.run(self.new_session(), script, &mut PlannedScript::default())?;
        for relation in session.catalog.all() {
            if let Relation::Table(table) = relation {
                let table = Rc::make_mut(table);
                table.definition = table.definition.clone().without_places();
                (table.options, table.options_span) = (table.definition.options.clone(), Span::empty());
            }
        }
        Ok(session)
    }

    fn run<'s>(
        &'s self,
        mut session: Session<'s>,
        script: &str,
        planned: &mut PlannedScript,
    ) -> Result<Session<'s>, SqlError> {
        for statement in &parse_script(script)? {
            session.statement(&statement.kind, planned).map_err(|error| error.or_at(statement.span))?;
        }
        Ok(session)
    }
}

/// The state of a script being planned.
struct Session<'a> {
    connectors: &'a dyn ConnectorCatalog,
    environment: &'a dyn Fn(&str) -> Option<String>,
    initial: &'a BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    catalog: Catalog,
    cells: bool,
}

impl Session<'_> {
    fn zone(&self) -> String {
        match Options(&self.options).text("table.local-time-zone") {
            None | Some("default") => "UTC".to_owned(),
            Some(zone) => zone.to_owned(),
        }
    }

    fn mode<'z>(&self, zone: &'z str) -> Mode<'z> {
        Mode { zone, batch: is_batch(&self.options) }
    }

    /// A query in the mode of the session. In batch mode no column is a time attribute.
    fn bind(&self, query: &Query) -> Result<Rel, SqlError> {
        let zone = self.zone();
        let mode = self.mode(&zone);
        let mut rel = QueryBinder::new(self, mode).query(query)?;
        if mode.batch {
            rel.columns.iter_mut().for_each(|column| column.time = None);
        }
        Ok(rel)
    }

    fn statement(&mut self, kind: &StatementKind, planned: &mut PlannedScript) -> Result<(), SqlError> {
        let mut say = |text| planned.statements.push(PlannedStatement::Text(text));
        match kind {
            StatementKind::CreateTable(table) => self.create_table(table, planned)?,
            StatementKind::CreateView(view) => self.create_view(view)?,
            StatementKind::CreateDatabase { name, if_not_exists } => {
                let database = self.catalog.database_of(name)?;
                if !self.catalog.create_database(&database.value) && !if_not_exists {
                    return Err(SqlError::at(database.span, format!("the database '{}' exists", database.value))
                        .with_hint("write CREATE DATABASE IF NOT EXISTS"));
                }
            }
            StatementKind::Drop(drop) => self.drop_object(drop)?,
            StatementKind::AlterTable(alter) => self.alter_table(alter)?,
            StatementKind::AlterView(alter) => self.alter_view(alter)?,
            StatementKind::Use(name) => {
                let database = self.catalog.database_of(name)?;
                self.catalog.check_database(&database)?;
                self.catalog.database = database.value;
            }
            StatementKind::UseCatalog(name) => check_catalog(name)?,
            StatementKind::Describe(name) => {
                say(show::describe(&self.catalog, name, None, &|view| self.view_columns(view))?);
            }
            StatementKind::Show(what) => {
                say(show::show(&self.catalog, what, &|view| self.view_columns(view))?);
            }
            StatementKind::ShowOptions => say(show::options(&self.options)),
            StatementKind::Set(set) => self.set(set, planned)?,
            StatementKind::Reset(None) => self.options = self.initial.clone(),
            StatementKind::Reset(Some(option)) => self.reset(option)?,
            StatementKind::Explain(inner) => {
                let (plan, _) = self.job(inner)?;
                planned.statements.push(PlannedStatement::Text(explain(&plan)));
            }
            job => {
                let (plan, kind) = self.job(job)?;
                planned.statements.push(PlannedStatement::Job { plan: Box::new(plan), kind });
                self.warn_of_batch_mode(planned);
            }
        }
        Ok(())
    }

    /// Says what becomes of checkpoints in batch mode.
    fn warn_of_batch_mode(&self, planned: &mut PlannedScript) {
        let interval = Options(&self.options).duration("execution.checkpointing.interval");
        if !is_batch(&self.options) || interval.is_none_or(|interval| interval.is_zero()) {
            return;
        }
        let warning = "option 'execution.checkpointing.interval' takes no checkpoints in batch mode but the last one: rows are published when all input has been read, and a job that fails starts again from the beginning".to_owned();
        if !planned.warnings.contains(&warning) {
            planned.warnings.push(warning);
        }
    }

    /// The full name of something new. `None` if it is there and may be.
    fn new_path(&self, name: &TableName, temporary: bool, allowed: bool) -> Result<Option<Path>, SqlError> {
        refuse_hint(name)?;
        let path = self.catalog.path(name, &self.catalog.database)?;
        match self.catalog.get_in(&path, temporary) {
            None => Ok(Some(path)),
            Some(_) if allowed => Ok(None),
            Some(_) => Err(SqlError::at(name.span(), format!("'{}' is defined twice", path.short()))
                .with_hint("write IF NOT EXISTS to keep the first, or DROP it before")),
        }
    }

    fn create_table(&mut self, create: &CreateTable, planned: &mut PlannedScript) -> Result<(), SqlError> {
        if create.replace {
            refuse_hint(&create.name)?;
            let path = self.catalog.path(&create.name, &self.catalog.database)?;
            self.catalog.remove(&path, create.temporary);
        }
        let Some(path) = self.new_path(&create.name, create.temporary, create.if_not_exists)? else {
            // As in Flink the rows of AS SELECT go to the table that there is.
            return self.insert_query(create, Vec::new(), planned);
        };
        let mut definition = TableDefinition {
            elements: create.elements.clone(),
            comment: create.comment.clone(),
            partitioned_by: create.partitioned_by.clone(),
            options: create.options.clone(),
            options_span: create.options_span,
            placed: true,
        };
        if let Some(like) = &create.like {
            definition = like::merge(&self.base(&like.source)?, definition, like)?;
        }
        let mut selected = Vec::new();
        if let Some(query) = &create.query {
            selected = table_as::columns(create, &self.bind(query)?, &mut definition)?;
        }
        let table = self.define(&path, definition)?;
        self.catalog.insert(path, create.temporary, Relation::Table(Rc::new(table)));
        self.insert_query(create, selected, planned)
    }

    /// The job of `CREATE TABLE ... AS SELECT`, which writes these columns, or all without any.
    fn insert_query(
        &self,
        create: &CreateTable,
        columns: Vec<Ident>,
        planned: &mut PlannedScript,
    ) -> Result<(), SqlError> {
        if let Some(query) = &create.query {
            let insert = Insert {
                table: create.name.clone(),
                partition: Vec::new(),
                columns,
                query: query.clone(),
                span: create.name.span(),
            };
            let (plan, kind) = self.job(&StatementKind::Insert(insert))?;
            planned.statements.push(PlannedStatement::Job { plan: Box::new(plan), kind });
        }
        Ok(())
    }

    /// The table that LIKE names.
    fn base(&self, name: &TableName) -> Result<TableDefinition, SqlError> {
        refuse_hint(name)?;
        let path = self.catalog.path(name, &self.catalog.database)?;
        match self.catalog.get(&path) {
            Some(Relation::Table(table)) => Ok(table.definition.clone()),
            Some(Relation::View(_)) => {
                Err(SqlError::at(name.span(), format!("'{}' is a view: LIKE takes a table", path.short()))
                    .with_hint("write CREATE TABLE ... AS SELECT, or name the columns"))
            }
            None => Err(unknown(&self.catalog, &path, name)),
        }
    }

    /// A table that can be used.
    fn define(&self, path: &Path, mut definition: TableDefinition) -> Result<Table, SqlError> {
        for option in &mut definition.options {
            resolve_environment(option, self.environment)?;
        }
        let zone = self.zone();
        let idle = Options(&self.options).duration("table.exec.source.idle-timeout");
        let context = TableContext {
            connectors: self.connectors,
            zone: &zone,
            idle_timeout_ms: idle.map(|idle| idle.as_millis() as i64).filter(|ms| *ms > 0),
        };
        let placed = definition.placed;
        define_table(&path.short(), definition, &context)
            .map_err(|error| if placed { error } else { SqlError { span: None, ..error } })
    }

    fn drop_object(&mut self, drop: &Drop) -> Result<(), SqlError> {
        let (name, span) = (&drop.name, drop.name.span());
        refuse_hint(name)?;
        if drop.object == DropObject::Database {
            return self.drop_database(drop);
        }
        let path = self.catalog.path(name, &self.catalog.database)?;
        let word = if drop.object == DropObject::Table { "table" } else { "view" };
        match self.catalog.get_in(&path, drop.temporary) {
            Some(Relation::Table(_)) if drop.object == DropObject::View => {
                return Err(SqlError::at(span, format!("'{}' is a table", path.short())).with_hint("write DROP TABLE"));
            }
            Some(Relation::View(_)) if drop.object == DropObject::Table => {
                return Err(SqlError::at(span, format!("'{}' is a view", path.short())).with_hint("write DROP VIEW"));
            }
            Some(_) if !drop.temporary && self.catalog.is_temporary(&path) => {
                return Err(SqlError::at(span, format!("a temporary object hides '{}'", path.short()))
                    .with_hint(format!("drop it first: DROP TEMPORARY {}", word.to_uppercase())));
            }
            Some(_) => {
                self.catalog.remove(&path, drop.temporary);
            }
            None if drop.if_exists => {}
            None if !drop.temporary && self.catalog.is_temporary(&path) => {
                return Err(SqlError::at(span, format!("'{}' is temporary", path.short()))
                    .with_hint(format!("write DROP TEMPORARY {}", word.to_uppercase())));
            }
            None if drop.temporary && self.catalog.get(&path).is_some() => {
                return Err(SqlError::at(span, format!("'{}' is not temporary", path.short()))
                    .with_hint(format!("write DROP {}", word.to_uppercase())));
            }
            None => {
                let near = nearest(&path.name, self.catalog.names(&path.database));
                return Err(SqlError::at(span, format!("unknown {word} '{}'", path.short())).with_suggestion(near));
            }
        }
        Ok(())
    }

    fn drop_database(&mut self, drop: &Drop) -> Result<(), SqlError> {
        let database = self.catalog.database_of(&drop.name)?;
        match self.catalog.check_database(&database) {
            Err(_) if drop.if_exists => return Ok(()),
            Err(error) => return Err(SqlError { hint: None, ..error }),
            Ok(()) => {}
        }
        if database.value == self.catalog.database {
            return Err(SqlError::at(database.span, format!("'{}' is the current database", database.value))
                .with_hint("write USE with another one before"));
        }
        if !drop.cascade && !self.catalog.relations(&database.value).is_empty() {
            return Err(SqlError::at(database.span, format!("the database '{}' is not empty", database.value))
                .with_hint("write CASCADE behind it to drop all that is in it"));
        }
        self.catalog.drop_database(&database.value);
        Ok(())
    }

    fn alter_table(&mut self, alter: &AlterTable) -> Result<(), SqlError> {
        let (name, span) = (&alter.name, alter.name.span());
        refuse_hint(name)?;
        let path = self.catalog.path(name, &self.catalog.database)?;
        let table = match self.catalog.get_in(&path, false) {
            Some(Relation::Table(table)) => table.clone(),
            Some(Relation::View(_)) => {
                return Err(SqlError::at(span, format!("'{}' is a view", path.short())).with_hint("write ALTER VIEW"));
            }
            None if self.catalog.is_temporary(&path) => {
                return Err(SqlError::at(span, format!("'{}' is temporary and cannot be altered", path.short()))
                    .with_hint("drop it and create it again, or create it without TEMPORARY"));
            }
            None if alter.if_exists => return Ok(()),
            None => return Err(unknown(&self.catalog, &path, name)),
        };
        if let TableChange::Rename(new) = &alter.change {
            return self.rename(&path, new);
        }
        let definition = alter::apply(&table.definition, &alter.change)?;
        let table = self.define(&path, definition).map_err(|error| {
            let message = format!("table '{}' cannot be changed so: {}", path.short(), error.message);
            SqlError { message, ..error }.or_at(span)
        })?;
        self.catalog.insert(path, false, Relation::Table(Rc::new(table)));
        Ok(())
    }

    fn alter_view(&mut self, alter: &AlterView) -> Result<(), SqlError> {
        let (name, span) = (&alter.name, alter.name.span());
        refuse_hint(name)?;
        let path = self.catalog.path(name, &self.catalog.database)?;
        let temporary = self.catalog.is_temporary(&path);
        match self.catalog.get(&path) {
            Some(Relation::View(_)) if temporary => {
                return Err(SqlError::at(span, format!("'{}' is temporary and cannot be altered", path.short()))
                    .with_hint("drop it and create it again"));
            }
            Some(Relation::View(_)) => {}
            Some(Relation::Table(_)) => {
                return Err(SqlError::at(span, format!("'{}' is a table", path.short())).with_hint("write ALTER TABLE"));
            }
            None => return Err(unknown(&self.catalog, &path, name)),
        }
        match &alter.change {
            ViewChange::Rename(new) => self.rename(&path, new),
            ViewChange::Query(query, text) => {
                let view = self.view(query, text, &[], None, name)?;
                self.catalog.insert(path, false, Relation::View(view));
                Ok(())
            }
        }
    }

    fn rename(&mut self, path: &Path, new: &TableName) -> Result<(), SqlError> {
        refuse_hint(new)?;
        let target = self.catalog.path(new, &path.database)?;
        if self.catalog.get(&target).is_some() {
            return Err(SqlError::at(new.span(), format!("there already is '{}'", target.short())));
        }
        if let Some(relation) = self.catalog.remove(path, false) {
            let relation = match relation {
                Relation::Table(table) => {
                    let mut table = (*table).clone();
                    table.spec.name = target.short();
                    Relation::Table(Rc::new(table))
                }
                view => view,
            };
            self.catalog.insert(target, false, relation);
        }
        Ok(())
    }

    fn create_view(&mut self, view: &CreateView) -> Result<(), SqlError> {
        let Some(path) = self.new_path(&view.name, view.temporary, view.if_not_exists)? else { return Ok(()) };
        let bound = self.view(&view.query, &view.text, &view.columns, view.comment.as_ref(), &view.name)?;
        self.catalog.insert(path, view.temporary, Relation::View(bound));
        Ok(())
    }

    /// A view, bound now for its errors and columns, and again at each use.
    fn view(
        &self,
        query: &Query,
        text: &str,
        names: &[Ident],
        comment: Option<&String>,
        name: &TableName,
    ) -> Result<View, SqlError> {
        let rel = self.bind(query)?;
        let columns: Vec<String> = if names.is_empty() {
            rel.columns.iter().map(|column| column.name.clone()).collect()
        } else if names.len() == rel.columns.len() {
            names.iter().map(|column| column.value.clone()).collect()
        } else {
            return Err(SqlError::at(
                names[0].span,
                format!("the view names {} columns, its query has {}", names.len(), rel.columns.len()),
            ));
        };
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].contains(column) {
                return Err(SqlError::at(name.span(), format!("the view has two columns named '{column}'"))
                    .with_hint("rename one with AS"));
            }
        }
        Ok(View {
            query: Rc::new(query.clone()),
            columns,
            database: self.catalog.database.clone(),
            text: text.to_owned(),
            comment: comment.cloned(),
        })
    }

    fn view_columns(&self, view: &View) -> Result<Vec<Column>, SqlError> {
        let zone = self.zone();
        QueryBinder::new(self, self.mode(&zone)).view(view).map(|rel| rel.columns)
    }

    fn reset(&mut self, option: &ResetOption) -> Result<(), SqlError> {
        let key = &option.key;
        // A key that could not be set was not.
        if let Err(error) = check_job_option(key, "")
            && error.starts_with("unknown option")
        {
            return Err(SqlError::at(option.key_span, error));
        }
        match self.initial.get(key) {
            Some(value) => self.options.insert(key.clone(), value.clone()),
            None => self.options.remove(key),
        };
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
                let rel = self.bind(query)?;
                let optimized = optimize(vec![rel], &zone);
                let [rel] = optimized.as_slice() else {
                    return Err(SqlError::general("internal error: the optimizer lost the query"));
                };
                let names = unique_names(rel.columns.iter().map(|column| column.name.as_str()));
                let fields = names.into_iter().zip(&rel.columns);
                let fields = fields.map(|(name, column)| Field::new(name, column.data_type.clone())).collect();
                let schema = Schema::new(fields);
                let table = TableSpec {
                    name: "select".to_owned(),
                    connector: "collect".to_owned(),
                    options: self.cells.then(|| (CELLS.0.to_owned(), CELLS.1.to_owned())).into_iter().collect(),
                    schema: schema.clone(),
                    primary_key: Vec::new(),
                    partition_keys: Vec::new(),
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
            let rel = self.bind(&insert.query)?;
            queries.push(fit(rel, &table, insert, zone)?);
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
        let (name, span) = (&insert.table, insert.table.span());
        let path = self.catalog.path(name, &self.catalog.database)?;
        let mut table = match self.catalog.get(&path) {
            Some(Relation::Table(table)) => table.clone(),
            Some(Relation::View(_)) => {
                return Err(SqlError::at(span, format!("'{}' is a view: only tables are written", path.short())));
            }
            None => return Err(unknown(&self.catalog, &path, name)),
        };
        if !name.hint.is_empty() {
            table = Rc::new(self.hinted(&path, &table, name)?);
        }
        if let Some(column) = table.persisted_metadata.first() {
            return Err(SqlError::at(
                span,
                format!("column '{column}' of table '{}' is METADATA, which cannot be written yet", path.short()),
            )
            .with_hint("declare it VIRTUAL: it is then left out of what is written"));
        }
        self.connectors.check_sink(&table.spec).map_err(|error| {
            let option = table.options.iter().find(|option| Some(&option.key) == error.option.as_ref());
            let place = option.map_or(table.options_span, |option| option.value_span);
            SqlError::at(place, format!("table '{}': {}", path.short(), error.message)).or_at(span)
        })?;
        Ok(table)
    }
}

impl Tables for Session<'_> {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn is_bounded(&self, table: &Table) -> bool {
        // Whether a read ends is said by the table's options.
        let spec = SourceSpec {
            table: table.spec.clone(),
            projection: Vec::new(),
            computed: Vec::new(),
            watermark: None,
            metadata: Vec::new(),
            partition_filter: None,
        };
        self.connectors.is_bounded(&spec)
    }

    fn hinted(&self, path: &Path, table: &Table, name: &TableName) -> Result<Table, SqlError> {
        let mut definition = table.definition.clone();
        if Options(&self.options).boolean("table.dynamic-table-options.enabled") == Some(false) {
            let place = name.hint.first().map_or(name.span(), |option| option.key_span);
            return Err(SqlError::at(place, "hints OPTIONS(...) are switched off")
                .with_hint("set 'table.dynamic-table-options.enabled' to 'true'"));
        }
        for option in &name.hint {
            if option.key == "connector" {
                return Err(SqlError::at(option.key_span, "a hint cannot change the connector of a table"));
            }
            match definition.options.iter_mut().find(|known| known.key == option.key) {
                Some(known) => *known = option.clone(),
                None => definition.options.push(option.clone()),
            }
        }
        self.define(path, definition).map_err(|error| error.or_at(name.span()))
    }
}

/// Options are set where a table is read or written, not where it is defined.
fn refuse_hint(name: &TableName) -> Result<(), SqlError> {
    match name.hint.first() {
        None => Ok(()),
        Some(option) => Err(SqlError::at(option.key_span, "a hint OPTIONS(...) has no meaning here")
            .with_hint("write the options in WITH (...), or ALTER TABLE ... SET (...)")),
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
