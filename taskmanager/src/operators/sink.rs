//! Hands rows to a connector's writer, once they hold what the table's columns promise.

use std::time::Instant;

use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::StagedEpoch;
use tidemill_common::ids::CheckpointId;
use tidemill_common::time::TimestampMs;
use tidemill_connectors::api::{ConnectorContext, PreparedEpoch, SinkWriter};

use super::not_null::NotNull;
use super::window::system_clock;
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

/// The operator of a sink.
pub struct Sink {
    writer: Box<dyn SinkWriter>,
        let batch = self.not_null.enforce(batch)?;
        if batch.rows() == 0 {
            return Ok(());
        }
