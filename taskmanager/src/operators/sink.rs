//! Hands rows to a connector's writer, once they hold what the table's columns promise.

use std::time::Instant;

use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::StagedEpoch;
use tidemill_common::faults::{Place, may_die};
use tidemill_common::ids::CheckpointId;
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_connectors::api::{ConnectorContext, PreparedEpoch, SinkWriter};

use super::not_null::NotNull;
use super::window::system_clock;
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

/// The operator of a sink.
pub struct Sink {
    writer: Box<dyn SinkWriter>,
    not_null: NotNull,
    context: ConnectorContext,
    /// Whether rows are published with checkpoints.
    checkpointed: bool,
    finished: bool,
}

impl Sink {
    /// A sink that writes through `writer`.
    pub fn new(writer: Box<dyn SinkWriter>, not_null: NotNull, context: ConnectorContext, checkpointed: bool) -> Self {
        Self { writer, not_null, context, checkpointed, finished: false }
    }
}

impl Operator for Sink {
    fn process_batch(&mut self, _input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        let batch = self.not_null.enforce(batch)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        self.context.may_write()?;
        Ok(self.writer.write(&batch)?)
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.writer.watermark(watermark);
        output.emit_watermark(watermark)
    }

    fn next_processing_timer(&self) -> Option<TimestampMs> {
        let due = self.writer.next_timer()?;
        let wait = due.saturating_duration_since(Instant::now());
        Some(system_clock() + wait.as_millis() as i64)
    }

    fn on_processing_time(&mut self, _now: TimestampMs, _output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.writer.next_timer().is_some_and(|due| due <= Instant::now() + std::time::Duration::from_millis(1)) {
            self.context.may_write()?;
            self.writer.on_timer()?;
        }
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        let mut epochs = Vec::with_capacity(state.staged.len());
        for StagedEpoch { origin, files } in &state.staged {
            let mut rows = Vec::new();
            for file in files {
                let content = state.reader.read(file);
                rows.extend_from_slice(
                    &content.map_err(|source| OperatorError::Storage { operator: origin.sink.clone(), source })?,
                );
            }
            epochs.push(PreparedEpoch { origin: origin.clone(), rows });
        }
        self.context.may_write()?;
        may_die(Place::WhileRestoring);
        Ok(self.writer.recover(epochs)?)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        // Without checkpoints of its own a job publishes at its end, so that nothing is left for the
        // savepoint that stopped it.
        if !self.finished || self.checkpointed {
            self.context.may_write()?;
            snapshot.staged = self.writer.prepare_commit(snapshot.checkpoint)?;
        }
        Ok(())
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.context.may_write()?;
        may_die(Place::BeforePublishing);
        self.writer.commit(checkpoint)?;
        may_die(Place::AfterPublishing);
        Ok(())
    }

    fn finish(&mut self, _output: &mut dyn Output) -> Result<(), OperatorError> {
        self.context.may_write()?;
        self.finished = true;
        Ok(self.writer.finish()?)
    }
}
