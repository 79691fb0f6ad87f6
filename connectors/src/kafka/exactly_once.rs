//! A sink whose messages are kept in the checkpoint and published once it is complete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidemill_common::batch::Batch;
use tidemill_common::ids::CheckpointId;
use tidemill_common::plan::TableSpec;

use super::publisher::{Publisher, Writer, header, write_record};
use super::records::Records;
use super::settings::SinkSettings;
use crate::api::{ConnectorError, ConnectorMetrics, PreparedEpoch, SinkWriter, SubtaskContext};
use crate::staging::{STAGED_MEMORY_BYTES_MAX, Staging};

pub(super) struct ExactlyOnceWriter {
    records: Records,
    staging: Staging,
    publisher: Publisher,
    recovered: bool,
    metrics: Arc<ConnectorMetrics>,
}

impl ExactlyOnceWriter {
    pub fn new(settings: SinkSettings, table: &TableSpec, context: &SubtaskContext) -> Result<Self, ConnectorError> {
        if !context.checkpointed {
            return Err(ConnectorError::External {
                table: table.name.clone(),
                reason: "'sink.delivery-guarantee' = 'exactly-once' publishes with checkpoints, and the job takes none"
                    .to_owned(),
                action: "SET 'execution.checkpointing.interval' = '10 s' and 'state.checkpoints.dir', or choose \
                         'at-least-once'"
                    .to_owned(),
            });
        }
        Ok(Self {
            records: Records::new(&settings, table, context)?,
            staging: Staging::new(&table.name, header(&settings.topic), STAGED_MEMORY_BYTES_MAX),
            publisher: Publisher::new(&settings, &table.name, Writer::new(context), &context.connector)?,
            recovered: false,
            metrics: Arc::clone(&context.metrics),
        })
    }
}

impl SinkWriter for ExactlyOnceWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if !self.recovered {
            // The first attempt of a job starts from nothing.
            self.recover(Vec::new())?;
        }
        let staging = &mut self.staging;
        let bytes = self.records.encode(batch, |record| staging.push(|out| write_record(&record, out)))?;
        self.metrics.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        self.staging.close(checkpoint)
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        while let Some((epoch, rows)) = self.staging.oldest(checkpoint) {
            self.publisher.publish(epoch.0, &rows)?;
            self.staging.published();
        }
        Ok(())
    }

    fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        self.recovered = true;
        self.publisher.recover(epochs)
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        // What is staged is published with the last checkpoint, which is to come.
        Ok(())
    }
}
