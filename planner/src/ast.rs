//! What the dialect layer makes of a script: statements whose queries and expressions are in
//! `sqlparser`'s syntax tree and whose Flink-specific parts are ours.

use std::ops::Range;

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::tokenizer::Span;
use tidemill_common::types::DataType;

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
    Insert(Insert),
    /// `EXECUTE STATEMENT SET BEGIN ... END`: one job.
    StatementSet(Vec<Insert>),
    /// `SET 'key' = 'value'`.
    Set(SetOption),
    /// `RESET` all options, or one.
    Reset(Option<String>),
    Explain(Box<StatementKind>),
    Query(Box<Query>),
}

/// `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateTable {
    pub name: Ident,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDef>,
    pub watermark: Option<WatermarkDef>,
    pub primary_key: Option<Vec<Ident>>,
    pub options: Vec<TableOption>,
    /// Of the closing parenthesis of `WITH`, or of the name: where a missing option is reported.
    pub options_span: Span,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct ColumnDef {
    pub name: Ident,
    pub kind: ColumnKind,
}

/// What a column holds.
#[derive(Clone, Debug)]
pub enum ColumnKind {
    Physical(DataType),
    /// `name AS expression`.
    Computed(Box<Expr>),
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug)]
pub struct WatermarkDef {
    pub column: Ident,
    pub expression: Expr,
}

/// `'key' = 'value'` in `WITH (...)`.
#[derive(Clone, Debug)]
pub struct TableOption {
    pub key: String,
    pub value: String,
    pub key_span: Span,
    pub value_span: Span,
}

/// `CREATE [TEMPORARY] VIEW name [(columns)] AS query`.
#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: Ident,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
}

/// `INSERT INTO table [(columns)] query`.
#[derive(Clone, Debug)]
pub struct Insert {
    pub table: ObjectName,
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
