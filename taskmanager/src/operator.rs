//! The one trait of all operators but sources.
//!
//! Operators are single-threaded and never block; they are called a batch at a time. Whatever they
//! emit goes to an [`Output`]: the next operator of the chain, or the exchanges of the task.

use tidemill_common::batch::Batch;
use tidemill_common::ids::CheckpointId;
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_state::storage::StorageError;

use crate::snapshot::{RestoredState, Snapshot};

/// Where an operator sends what it emits.
pub trait Output {
    /// Hands on a batch. An empty batch is dropped.
    fn emit(&mut self, batch: Batch) -> Result<(), OperatorError>;

    /// Hands on a watermark; it must not be lower than the one before.
    fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError>;
}

/// One operator of a chain.
pub trait Operator: Send {
    /// Takes a batch of input `input` (0 for all but multi-input operators).
    fn process_batch(&mut self, input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError>;

    /// Event time has advanced; called with the minimum over all inputs, rising. The operator emits
    /// what became due, then hands the watermark on.
    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        output.emit_watermark(watermark)
    }

    /// Called before a barrier, a watermark or idleness passes and when the linger has run out:
    /// hand on everything that is only buffered for efficiency (local pre-aggregation).
    fn flush(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = output;
        Ok(())
    }

    /// The wall-clock time, in milliseconds since the epoch, at which
    /// [`Operator::on_processing_time`] wants to be called.
    fn next_processing_timer(&self) -> Option<TimestampMs> {
        None
    }

    /// The clock reads `now`.
    fn on_processing_time(&mut self, now: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (now, output);
        Ok(())
    }

    /// The input has ended. Called once, after the last batch and (when draining) after
    /// [`Watermark::MAX`].
    fn finish(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.flush(output)
    }

    /// A barrier passes, after [`Operator::flush`]: keeps all that the rows before it have changed.
    /// Copies what it must and leaves encoding and writing to the snapshot's parts.
    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        let _ = snapshot;
        Ok(())
    }

    /// Before the first batch of a job that starts from a checkpoint.
    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        let _ = state;
        Ok(())
    }

    /// The checkpoint and all older ones are complete, everywhere.
    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        let _ = checkpoint;
        Ok(())
    }

    /// The checkpoint will not be complete: what its snapshot held is not kept anywhere.
    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Late rows dropped so far.
    fn late_rows_dropped(&self) -> u64 {
        0
    }
}

/// Why an operator failed. Fails the job.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(transparent)]
    Connector(#[from] tidemill_connectors::api::ConnectorError),
    /// An expression failed on a row, such as a cast of a text that is no number.
    #[error("{operator}: {reason}")]
    Evaluation { operator: String, reason: String },
    /// State of a checkpoint cannot be read or written.
    #[error("{operator}: {source}")]
    Storage { operator: String, source: StorageError },
    /// There is no room for the state.
    #[error("{operator}: {reason}")]
    Memory { operator: String, reason: String },
    /// State of a checkpoint does not fit the operator.
    #[error("{operator}: the state in the checkpoint cannot be used: {reason}")]
    State { operator: String, reason: String },
    /// Said in Flink's words.
    #[error(
        "table '{table}': column '{column}' is NOT NULL, however, a null value is being written into it; SET 'table.exec.sink.not-null-enforcer' = 'DROP' drops such rows instead"
    )]
    NullForNotNull { table: String, column: String },
    /// The channel to another task is gone: that task failed or the job was cancelled.
    #[error("the exchange to another task is closed")]
    ExchangeClosed,
    #[error("cancelled")]
    Cancelled,
    /// A bug, said instead of a panic.
    #[error("internal error in {operator}: {reason}")]
    Internal { operator: String, reason: String },
}
