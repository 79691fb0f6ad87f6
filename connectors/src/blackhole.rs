//! `blackhole`: takes every row and keeps none.

use tidemill_common::batch::Batch;
use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, TableSpec};

use crate::api::{Connector, ConnectorContext, ConnectorError, SinkWriter, SubtaskContext};

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
