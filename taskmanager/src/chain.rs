//! The operators of one subtask, called directly, one after the other, and the exchanges at their end.

use std::sync::Arc;

use tidemill_common::batch::{Barrier, Batch};
use tidemill_common::ids::{CheckpointId, OperatorId};
use tidemill_common::time::{TimestampMs, Watermark};

use crate::checkpoint::OperatorPart;
use crate::metrics::OperatorMetrics;
use crate::operator::{Operator, OperatorError, Output};
use crate::shuffle::Outputs;
use crate::snapshot::Snapshot;

/// One operator and its counters.
pub struct Stage {
    pub operator: Box<dyn Operator>,
    pub uid: String,
    pub metrics: Arc<OperatorMetrics>,
}

impl Stage {
    fn count_late_rows(&self) {
        self.metrics.set_late_rows_dropped(self.operator.late_rows_dropped());
    }
}

/// The operators after the head's input: all of them, or all but the source.
pub struct Chain {
    stages: Vec<Stage>,
    outputs: Outputs,
}

/// What an operator (or the source) sees: the rest of the chain.
pub struct Downstream<'a> {
    /// Counts what is emitted here; `None` above the first operator, which counts its input.
    from: Option<&'a OperatorMetrics>,
    stages: &'a mut [Stage],
    outputs: &'a mut Outputs,
}

impl Downstream<'_> {
    fn deliver(&mut self, input: usize, batch: Batch) -> Result<(), OperatorError> {
        let rows = batch.rows();
        if rows == 0 {
            return Ok(());
        }
        if let Some(from) = self.from {
            from.count_out(rows);
        }
        let Some((stage, rest)) = self.stages.split_first_mut() else { return self.outputs.emit(batch) };
        stage.metrics.count_in(rows);
        let mut next = Downstream { from: Some(&stage.metrics), stages: rest, outputs: self.outputs };
        stage.operator.process_batch(input, batch, &mut next)
    }
}

impl Output for Downstream<'_> {
    fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
        self.deliver(0, batch)
    }

    fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        let Some((stage, rest)) = self.stages.split_first_mut() else { return self.outputs.emit_watermark(watermark) };
        let mut next = Downstream { from: Some(&stage.metrics), stages: rest, outputs: self.outputs };
        stage.operator.flush(&mut next)?;
        stage.operator.process_watermark(watermark, &mut next)?;
        stage.count_late_rows();
        Ok(())
    }
}

impl Chain {
    /// Operators in order, and where the last one sends.
    pub fn new(stages: Vec<Stage>, outputs: Outputs) -> Self {
        Self { stages, outputs }
    }

    /// The whole chain, for a source; `from` counts what it emits.
    pub fn downstream<'a>(&'a mut self, from: Option<&'a OperatorMetrics>) -> Downstream<'a> {
        Downstream { from, stages: &mut self.stages, outputs: &mut self.outputs }
    }

    /// The first operator.
    pub fn head(&self) -> Option<OperatorId> {
        self.stages.first().map(|stage| stage.metrics.operator())
    }

    /// A batch for input `input` of the operator at `stage`.
    pub fn batch_at(&mut self, stage: usize, input: usize, batch: Batch) -> Result<(), OperatorError> {
        let Self { stages, outputs } = self;
        let stages = stages.get_mut(stage..).unwrap_or_default();
        Downstream { from: None, stages, outputs }.deliver(input, batch)
    }

    /// A batch for input `input` of the first operator.
    pub fn batch(&mut self, input: usize, batch: Batch) -> Result<(), OperatorError> {
        self.downstream(None).deliver(input, batch)
    }

    /// Event time has advanced.
    pub fn watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.downstream(None).emit_watermark(watermark)
    }

    /// Calls `call` on every operator in order, each with the rest of the chain as its output.
    fn each(
        &mut self,
        mut call: impl FnMut(&mut dyn Operator, &mut dyn Output) -> Result<(), OperatorError>,
    ) -> Result<(), OperatorError> {
        let mut stages = self.stages.as_mut_slice();
        while let Some((stage, rest)) = stages.split_first_mut() {
            let mut next = Downstream { from: Some(&stage.metrics), stages: rest, outputs: &mut self.outputs };
            call(stage.operator.as_mut(), &mut next)?;
            stage.count_late_rows();
            stages = rest;
        }
        Ok(())
    }

    /// Hands on everything that only waits for more: the input is not hot.
    pub fn flush(&mut self) -> Result<(), OperatorError> {
        self.each(|operator, output| operator.flush(output))?;
        self.outputs.flush()
    }

    /// Sends partly filled batches.
    pub fn flush_outputs(&mut self) -> Result<(), OperatorError> {
        self.outputs.flush()
    }

    /// Whether partly filled batches wait to be sent.
    pub fn has_pending(&self) -> bool {
        self.outputs.has_pending()
    }

    /// Collects what every operator keeps at a barrier, and hands the barrier on.
    pub fn barrier(&mut self, barrier: Barrier) -> Result<Vec<OperatorPart>, OperatorError> {
        let mut parts = Vec::with_capacity(self.stages.len());
        let mut stages = self.stages.as_mut_slice();
        while let Some((stage, rest)) = stages.split_first_mut() {
            let mut next = Downstream { from: Some(&stage.metrics), stages: rest, outputs: &mut self.outputs };
            stage.operator.flush(&mut next)?;
            let mut snapshot = Snapshot::new(barrier.checkpoint, barrier.savepoint.is_some());
            stage.operator.snapshot(&mut snapshot)?;
            let (operator, uid) = (stage.metrics.operator(), stage.uid.clone());
            parts.push(OperatorPart { operator, uid, snapshot, splits: Vec::new() });
            stages = rest;
        }
        self.outputs.barrier(barrier)?;
        Ok(parts)
    }

    /// A checkpoint is complete, everywhere.
    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), OperatorError> {
        self.stages.iter_mut().try_for_each(|stage| stage.operator.checkpoint_complete(checkpoint))
    }

    /// A checkpoint will not be complete.
    pub fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.stages.iter_mut().for_each(|stage| stage.operator.checkpoint_aborted(checkpoint));
    }

    /// All inputs are idle, or one is active again.
    pub fn idle(&mut self, idle: bool) -> Result<(), OperatorError> {
        self.each(|operator, output| operator.flush(output))?;
        self.outputs.idle(idle)
    }

    /// The input has ended: every operator finishes, in order, and no data follows.
    pub fn finish(&mut self, drain: bool) -> Result<(), OperatorError> {
        self.each(|operator, output| operator.finish(output))?;
        self.outputs.end_of_data(drain)
    }

    /// Nothing follows at all, no barrier either.
    pub fn end(&mut self) -> Result<(), OperatorError> {
        self.outputs.end()
    }

    /// The earliest processing-time timer of all operators.
    pub fn next_processing_timer(&self) -> Option<TimestampMs> {
        self.stages.iter().filter_map(|stage| stage.operator.next_processing_timer()).min()
    }

    /// Fires the timers that are due.
    pub fn on_processing_time(&mut self, now: TimestampMs) -> Result<(), OperatorError> {
        self.each(|operator, output| match operator.next_processing_timer() {
            Some(due) if due <= now => operator.on_processing_time(now, output),
            _ => Ok(()),
        })
    }
}
