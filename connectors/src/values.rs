//! `values`: one row without columns, over which VALUES and SELECT without FROM compute. Made by the
//! planner only; `CREATE TABLE` does not know it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;
use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::ids::{SplitId, SubtaskIndex};
use tidemill_common::plan::{SourceSpec, TableSpec};

use crate::api::{
    Connector, ConnectorContext, ConnectorError, ReaderReport, SourcePoll, SourceReader, Split, SplitEnumerator,
    SubtaskContext,
};

/// Identifier of the connector, for the planner and for the registry, which hides it.
pub const IDENTIFIER: &str = "values";

/// The connector `values`.
pub struct Values;

impl Connector for Values {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Internal: one row without columns.",
            options: Vec::new(),
            prefixes: &[],
            source: true,
            sink: false,
            formats: false,
            partitions: false,
        }
    }

    fn check_source(&self, _table: &TableSpec) -> Result<(), TableError> {
        Ok(())
    }

    fn is_bounded(&self, _table: &TableSpec) -> bool {
        true
    }

    fn probe_source(&self, _table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn create_enumerator(
        &self,
        _source: &SourceSpec,
        _parallelism: u32,
        _context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(OneSplit { pending: true }))
    }

    fn create_reader(
        &self,
        _source: &SourceSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(OneRow { splits: Vec::new(), read: false }))
    }
}

fn the_split() -> Split {
    Split::new(SplitId("values".to_owned()), serde_json::Value::Null)
}

struct OneSplit {
    pending: bool,
}

impl SplitEnumerator for OneSplit {
    fn discover(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn next_splits(&mut self, _reader: SubtaskIndex) -> Vec<Split> {
        if std::mem::take(&mut self.pending) { vec![the_split()] } else { Vec::new() }
    }

    fn is_exhausted(&self, _reader: SubtaskIndex) -> bool {
        !self.pending
    }

    fn add_back(&mut self, splits: Vec<Split>) {
        self.pending |= !splits.is_empty();
    }

    fn snapshot(&self) -> Result<serde_json::Value, ConnectorError> {
        Ok(self.pending.into())
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), ConnectorError> {
        self.pending = state.as_bool().unwrap_or(true);
        Ok(())
    }

    fn reconcile(&mut self, reports: &[ReaderReport]) -> Result<(), ConnectorError> {
        self.pending &= reports.iter().all(|report| report.owned.is_empty() && report.finished.is_empty());
        Ok(())
    }
}

struct OneRow {
    splits: Vec<Split>,
    read: bool,
}

impl SourceReader for OneRow {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError> {
        self.splits.extend(splits);
        Ok(())
    }

    fn poll(&mut self, _timeout: Duration) -> Result<SourcePoll, ConnectorError> {
        let Some(split) = self.splits.last() else { return Ok(SourcePoll::NoSplits) };
        if self.read {
            let id = split.id.clone();
            self.splits.clear();
            return Ok(SourcePoll::SplitFinished(id));
        }
        self.read = true;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let records = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), Vec::new(), &options)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
        Ok(SourcePoll::Rows { split: split.id.clone(), records })
    }

    fn set_paused(&mut self, _split: &SplitId, _paused: bool) {}

    fn snapshot(&self) -> Vec<Split> {
        if self.read { Vec::new() } else { self.splits.clone() }
    }
}
