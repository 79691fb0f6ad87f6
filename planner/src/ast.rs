//! What the dialect layer makes of a script: statements whose queries and expressions are in
//! `sqlparser`'s syntax tree and whose Flink-specific parts are ours.

use std::ops::Range;

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::tokenizer::Span;
use tidemill_common::types::DataType;

use crate::diagnostic::SqlError;
use crate::dialect::hint_options;

/// One statement of a script.
#[derive(Clone, Debug)]
pub struct Statement {
    pub kind: StatementKind,
    /// Bytes of the script.
    pub range: Range<usize>,
    /// Lines and columns of the script.
    pub span: Span,
}

/// The statements there are.
#[derive(Clone, Debug)]
pub enum StatementKind {
    CreateTable(Box<CreateTable>),
    CreateView(CreateView),
    CreateDatabase {
        name: TableName,
        if_not_exists: bool,
    },
    Drop(Drop),
    AlterTable(Box<AlterTable>),
    AlterView(AlterView),
    /// `USE database`.
    Use(TableName),
    /// `USE CATALOG name`.
    UseCatalog(Ident),
    /// `DESCRIBE table`.
    Describe(TableName),
    Show(Show),
    Insert(Insert),
    /// `EXECUTE STATEMENT SET BEGIN ... END`: one job.
    StatementSet(Vec<Insert>),
    /// `SET 'key' = 'value'`.
    Set(SetOption),
    /// `SET`: all options that are set.
    ShowOptions,
    /// `RESET` all options, or one.
    Reset(Option<ResetOption>),
    Explain(Box<StatementKind>),
    Query(Box<Query>),
}

/// `[[catalog.]database.]name`, with the options of a hint `/*+ OPTIONS(...) */` behind it.
#[derive(Clone, Debug)]
pub struct TableName {
    /// One to three.
    pub parts: Vec<Ident>,
    pub hint: Vec<TableOption>,
}

impl TableName {
    /// A name as `sqlparser` read it.
    pub fn of(name: &ObjectName) -> Result<Self, SqlError> {
        let mut parts = Vec::with_capacity(name.0.len());
        let mut hint = Vec::new();
        for part in &name.0 {
            match part.as_ident() {
                Some(ident) => match hint_options(ident) {
                    Some(options) => hint = options,
                    None => parts.push(ident.clone()),
                },
                None => return Err(SqlError::on(name, "expected the name of a table")),
            }
        }
        match parts.len() {
            1..=3 => Ok(Self { parts, hint }),
            _ => Err(SqlError::on(name, "a name has at most three parts: catalog.database.table")),
        }
    }

    /// The name without catalog and database.
    pub fn name(&self) -> &str {
        self.parts.last().map_or("", |part| &part.value)
    }

    /// Its place.
    pub fn span(&self) -> Span {
        Span::union_iter(self.parts.iter().map(|part| part.span))
    }
}

/// `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateTable {
    pub name: TableName,
    pub temporary: bool,
    /// `CREATE OR REPLACE`.
    pub replace: bool,
    pub if_not_exists: bool,
    pub elements: TableElements,
    pub comment: Option<String>,
    pub partitioned_by: Vec<Ident>,
    pub options: Vec<TableOption>,
    /// Of the closing parenthesis of `WITH`, or of the name: where a missing option is reported.
    pub options_span: Span,
    pub like: Option<Like>,
    /// `AS SELECT ...`.
    pub query: Option<Box<Query>>,
    /// Names alone in the parentheses: the order of the query's columns.
    pub selected: Vec<Ident>,
}

/// What stands in the parentheses of a table.
#[derive(Clone, Debug, Default)]
pub struct TableElements {
    pub columns: Vec<ColumnDef>,
    pub watermark: Option<WatermarkDef>,
    pub primary_key: Option<PrimaryKeyDef>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct ColumnDef {
    pub name: Ident,
    pub kind: ColumnKind,
    pub comment: Option<String>,
    /// Where `ALTER TABLE` puts it.
    pub position: Option<ColumnPosition>,
}

/// What a column holds.
#[derive(Clone, Debug)]
pub enum ColumnKind {
    Physical(DataType),
    /// `name AS expression`, and the text of the expression.
    Computed(Box<Expr>, String),
    /// `name type METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        data_type: DataType,
        key: Option<(String, Span)>,
        is_virtual: bool,
        span: Span,
    },
}

/// `FIRST`, or `AFTER column`.
#[derive(Clone, Debug)]
pub enum ColumnPosition {
    First,
    After(Ident),
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug)]
pub struct WatermarkDef {
    pub column: Ident,
    pub expression: Expr,
    /// Text of the expression.
    pub text: String,
    pub span: Span,
}

/// `[CONSTRAINT name] PRIMARY KEY (columns) NOT ENFORCED`.
#[derive(Clone, Debug)]
pub struct PrimaryKeyDef {
    pub constraint: Option<String>,
    pub columns: Vec<Ident>,
    pub span: Span,
}

/// `'key' = 'value'` in `WITH (...)`.
#[derive(Clone, Debug)]
pub struct TableOption {
    pub key: String,
    pub value: String,
    pub key_span: Span,
    pub value_span: Span,
}

/// `LIKE table (options)`.
#[derive(Clone, Debug)]
pub struct Like {
    pub source: TableName,
    pub options: Vec<LikeOption>,
}

/// `INCLUDING`, `EXCLUDING` or `OVERWRITING`, and of what.
#[derive(Clone, Debug)]
pub struct LikeOption {
    pub strategy: LikeStrategy,
    pub feature: LikeFeature,
    pub span: Span,
}

/// How parts of the base table and of the new one are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikeStrategy {
    Including,
    Excluding,
    Overwriting,
}

/// The parts of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LikeFeature {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// `CREATE [TEMPORARY] VIEW name [(columns)] AS query`.
#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: TableName,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub comment: Option<String>,
    pub query: Box<Query>,
    /// Text of the query.
    pub text: String,
}

/// `DROP ...`.
#[derive(Clone, Debug)]
pub struct Drop {
    pub object: DropObject,
    pub temporary: bool,
    pub if_exists: bool,
    pub name: TableName,
    /// `DROP DATABASE ... CASCADE`.
    pub cascade: bool,
}

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropObject {
    Table,
    View,
    Database,
}

/// `ALTER TABLE`.
#[derive(Clone, Debug)]
pub struct AlterTable {
    pub if_exists: bool,
    pub name: TableName,
    pub change: TableChange,
}

/// What `ALTER TABLE` changes.
#[derive(Clone, Debug)]
pub enum TableChange {
    Rename(TableName),
    RenameColumn { from: Ident, to: Ident },
    SetOptions(Vec<TableOption>),
    ResetOptions(Vec<(String, Span)>),
    Add(TableElements),
    Modify(TableElements),
    DropColumns(Vec<Ident>),
    DropPrimaryKey { constraint: Option<Ident>, span: Span },
    DropWatermark(Span),
}

/// `ALTER VIEW`.
#[derive(Clone, Debug)]
pub struct AlterView {
    pub name: TableName,
    pub change: ViewChange,
}

/// What `ALTER VIEW` changes.
#[derive(Clone, Debug)]
pub enum ViewChange {
    Rename(TableName),
    Query(Box<Query>, String),
}

/// `SHOW ...`.
#[derive(Clone, Debug)]
pub enum Show {
    Catalogs(Option<Pattern>),
    CurrentCatalog,
    Databases(Option<Pattern>),
    CurrentDatabase,
    Tables { database: Option<TableName>, pattern: Option<Pattern> },
    Views { database: Option<TableName>, pattern: Option<Pattern> },
    Columns { table: TableName, pattern: Option<Pattern> },
    Functions { user: bool, pattern: Option<Pattern> },
    CreateTable(TableName),
    CreateView(TableName),
    Modules { full: bool },
    Jars,
}

/// `[NOT] LIKE 'pattern'`, or `ILIKE`.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub negated: bool,
    pub ignore_case: bool,
    pub text: String,
}

/// `INSERT INTO table [PARTITION (...)] [(columns)] query`.
#[derive(Clone, Debug)]
pub struct Insert {
    pub table: TableName,
    /// Columns with a value that is the same for all rows.
    pub partition: Vec<(Ident, Expr)>,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    /// Of the words `INSERT INTO`.
    pub span: Span,
}

/// `SET 'key' = 'value'`.
#[derive(Clone, Debug)]
pub struct SetOption {
    pub key: String,
    pub value: String,
    pub key_span: Span,
    pub value_span: Span,
}

/// `RESET 'key'`.
#[derive(Clone, Debug)]
pub struct ResetOption {
    pub key: String,
    pub key_span: Span,
}
