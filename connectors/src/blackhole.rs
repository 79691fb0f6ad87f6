//! `blackhole`: takes every row and keeps none.

use tidemill_common::batch::Batch;
use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use crate::api::{
    Connector, ConnectorContext, ConnectorError, SinkWriter, SourceReader, SplitEnumerator, SubtaskContext,
};
use crate::one_way::{not_readable, wrong_way};

const IDENTIFIER: &str = "blackhole";

/// The connector `blackhole`.
pub struct Blackhole;

impl Connector for Blackhole {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Takes every row and keeps none. For measuring and trying out. There is nothing to guarantee: after a \
                          failure it takes the rows since the last checkpoint again.",
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

    fn create_writer(
        &self,
        _sink: &SinkSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        Ok(Box::new(BlackholeWriter))
    }
}

struct BlackholeWriter;

impl SinkWriter for BlackholeWriter {
    fn write(&mut self, _batch: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }
}
