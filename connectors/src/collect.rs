//! `collect`: the rows of a top-level SELECT, sent to the client that submitted it. Made by the
//! planner only; `CREATE TABLE` does not know it.
//!
//! Rows are sent as they come, at least once: after a failure those since the last checkpoint are sent
//! again.

use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, TableSpec};

use crate::api::{Connector, ConnectorContext, ConnectorError, SinkWriter, SubtaskContext};
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
            partitions: false,
        }
    }

    fn check_sink(&self, _table: &TableSpec) -> Result<(), TableError> {
        Ok(())
    }

    fn sink_changelog(&self, _table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        Ok(input)
    }

    fn probe_sink(&self, _table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let cells = sink.table.options.get("rows").is_some_and(|rows| rows == "cells");
        Ok(Box::new(LineWriter::new(sink, context, String::new()).with_cells(cells)))
    }
}
