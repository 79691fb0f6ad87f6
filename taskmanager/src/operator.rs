//! The one trait of all operators but sources.
//!
//! Operators are single-threaded and never block; they are called a batch at a time. Whatever they
//! emit goes to an [`Output`]: the next operator of the chain, or the exchanges of the task.

use tidemill_common::batch::Batch;
use tidemill_common::time::{TimestampMs, Watermark};

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
    /// The channel to another task is gone: that task failed or the job was cancelled.
    #[error("the exchange to another task is closed")]
    ExchangeClosed,
    #[error("cancelled")]
    Cancelled,
    /// A bug, said instead of a panic.
    #[error("internal error in {operator}: {reason}")]
    Internal { operator: String, reason: String },
}
