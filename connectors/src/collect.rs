//! `collect`: the rows of a top-level SELECT, sent to the client that submitted it. Made by the
//! planner only; `CREATE TABLE` does not know it.
//!
//! Rows are sent as they come, at least once: after a failure those since the last checkpoint are sent
//! again.

use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use crate::api::{
    Connector, ConnectorContext, ConnectorError, SinkWriter, SourceReader, SplitEnumerator, SubtaskContext,
};
use crate::one_way::{not_readable, wrong_way};
use crate::print::LineWriter;

/// Identifier of the connector, for the planner and for the registry, which hides it.
pub const IDENTIFIER: &str = "collect";

/// The connector `collect`.
pub struct Collect;

impl Connector for Collect {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Internal: sends the rows of a top-level SELECT to the client.",
            options: Vec::new(),
            prefixes: &[],
            source: false,
            sink: true,
            formats: false,
        }
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        Err(not_readable(table))
    }

    fn check_sink(&self, _table: &TableSpec) -> Result<(), TableError> {
        Ok(())
    }

    fn is_bounded(&self, _table: &TableSpec) -> bool {
        true
    }

    fn sink_changelog(&self, _table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        Ok(input)
    }

    fn probe_source(&self, table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Err(wrong_way(IDENTIFIER, table))
    }

    fn probe_sink(&self, _table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn create_enumerator(
        &self,
        source: &SourceSpec,
        _parallelism: u32,
        _context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Err(wrong_way(IDENTIFIER, &source.table))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Err(wrong_way(IDENTIFIER, &source.table))
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        Ok(Box::new(LineWriter::new(sink, context, String::new())))
    }
}
