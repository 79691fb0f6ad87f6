//! Hands rows to a connector's writer.

use std::time::Instant;

use tidemill_common::batch::Batch;
use tidemill_common::time::TimestampMs;
use tidemill_connectors::api::SinkWriter;

use super::window::system_clock;
use crate::operator::{Operator, OperatorError, Output};

/// The operator of a sink.
pub struct Sink(pub Box<dyn SinkWriter>);

impl Operator for Sink {
    fn process_batch(&mut self, _input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        Ok(self.0.write(&batch)?)
    }

    fn next_processing_timer(&self) -> Option<TimestampMs> {
        let due = self.0.next_timer()?;
        let wait = due.saturating_duration_since(Instant::now());
        Some(system_clock() + wait.as_millis() as i64)
    }

    fn on_processing_time(&mut self, _now: TimestampMs, _output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.0.next_timer().is_some_and(|due| due <= Instant::now() + std::time::Duration::from_millis(1)) {
            self.0.on_timer()?;
        }
        Ok(())
    }

    fn finish(&mut self, _output: &mut dyn Output) -> Result<(), OperatorError> {
        Ok(self.0.finish()?)
    }
}
