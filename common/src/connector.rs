//! What the planner needs to know of connectors and formats, without depending on them.

use crate::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};
use crate::types::DataType;

/// One option of a connector, a format or the system, for validation and for the reference.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Flink's name where Flink has it. For formats without the format's prefix.
    pub key: &'static str,
    pub kind: OptionKind,
    pub required: bool,
    /// Shown in the reference; `None` if there is no default.
    pub default: Option<&'static str>,
    pub description: &'static str,
}

/// How an option's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    Text,
    Boolean,
    /// A whole number.
    Integer,
    /// A decimal number.
    Number,
    /// `10 s`, `500 ms`, `1 min`, as in Flink.
    Duration,
    /// `64 kb`, `2 mb`, as in Flink.
    MemorySize,
    /// One of these words.
    Enum(&'static [&'static str]),
}

/// A connector or format as the reference and the planner see it.
#[derive(Clone, Debug)]
pub struct ConnectorInfo {
    pub identifier: &'static str,
    pub description: &'static str,
    pub options: Vec<OptionSpec>,
    /// Keys that start with one of these are passed through to a client library (`properties.`).
    pub prefixes: &'static [&'static str],
    pub source: bool,
    pub sink: bool,
    /// Whether `'format'` is taken.
    pub formats: bool,
    /// Whether tables may be PARTITIONED BY columns.
    pub partitions: bool,
}

/// A piece of metadata that a connector has of each record that it reads.
#[derive(Clone, Copy, Debug)]
pub struct MetadataSpec {
    /// Flink's name where Flink has it.
    pub key: &'static str,
    pub data_type: fn() -> DataType,
    pub description: &'static str,
}

/// An error about a table, found before the job starts.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct TableError {
    /// The option at fault, so that the planner can point at it; `None` for the table as a whole.
    pub option: Option<String>,
    /// What was written, what was expected, what to do.
    pub message: String,
}

impl TableError {
    /// An error about one option.
    pub fn option(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { option: Some(key.into()), message: message.into() }
    }

    /// An error about the table as a whole.
    pub fn table(message: impl Into<String>) -> Self {
        Self { option: None, message: message.into() }
    }
}

/// The closed registry of connectors, as the planner sees it.
pub trait ConnectorCatalog: Send + Sync {
    /// All connectors, sorted by identifier.
    fn connectors(&self) -> Vec<ConnectorInfo>;
    /// All formats, sorted by identifier.
    fn formats(&self) -> Vec<ConnectorInfo>;
    /// What a connector can tell of each record beside its columns.
    fn metadata(&self, connector: &str) -> Vec<MetadataSpec> {
        let _ = connector;
        Vec::new()
    }
    /// Checks the options and column types of a table that is read. No I/O.
    fn check_source(&self, table: &TableSpec) -> Result<(), TableError>;
    /// Checks the options and column types of a table that is written. No I/O.
    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError>;
    /// Whether the source comes to an end by itself.
    fn is_bounded(&self, source: &SourceSpec) -> bool;
    /// The largest parallelism the sink can have, if it has a bound.
    fn sink_parallelism_max(&self, table: &TableSpec) -> Option<u32> {
        let _ = table;
        None
    }
    /// The changelog the sink can take from a stream of `input` mode, or why none.
    fn sink_changelog(&self, sink: &SinkSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError>;
}
