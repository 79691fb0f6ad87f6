//! Rows as messages: key, value, partition.

use tidemill_common::batch::Batch;
use tidemill_common::plan::TableSpec;

use super::IDENTIFIER;
use super::client::Cluster;
use super::settings::{Partitioner, SinkSettings};
use crate::api::{ConnectorError, Encoder, SubtaskContext};

/// The encoder of a part of the message, and its output.
struct Part {
    encoder: Box<dyn Encoder>,
    columns: Vec<usize>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Part {
    fn new(encoder: Box<dyn Encoder>, columns: &[usize]) -> Self {
        Self { encoder, columns: columns.to_vec(), bytes: Vec::new(), ends: Vec::new() }
    }

    fn encode(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.bytes.clear();
        self.ends.clear();
        let records = batch
            .records
            .project(&self.columns)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
        self.encoder.encode(&records, &mut self.bytes, &mut self.ends)
    }

    fn record(&self, row: usize) -> &[u8] {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[begin..self.ends[row]]
    }
}

/// The messages of one batch.
pub(super) struct Records {
    value: Part,
    key: Option<Part>,
    /// The column whose NULL means no key at all, as of the format `raw`.
    raw_key: Option<usize>,
    partitioner: Partitioner,
    partitions: Vec<i32>,
    /// The partition of the next record, by position in `partitions`.
    next: usize,
}

/// A message to be.
pub(super) struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    /// `None`: librdkafka chooses.
    pub partition: Option<i32>,
}

impl Records {
    pub fn new(settings: &SinkSettings, table: &TableSpec, context: &SubtaskContext) -> Result<Self, ConnectorError> {
        let format = crate::formats::of_table(table)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let encoder = format.create_encoder(&settings.value_table, &settings.value_table.schema, context)?;
        let value = Part::new(encoder, &settings.value_columns);
        let key = match &settings.key {
            Some(key) => {
                let encoder = key.format.create_encoder(&key.table, &key.table.schema, context)?;
                Some(Part::new(encoder, &key.columns))
            }
            None => None,
        };
        let raw_key = settings.key.as_ref().filter(|key| key.format.info().identifier == "raw");
        let partitions = match settings.partitioner {
            Partitioner::Default => Vec::new(),
            Partitioner::Fixed | Partitioner::RoundRobin => {
                Cluster::new(&settings.client, &table.name, &context.connector)?.partitions(&settings.topic)?
            }
        };
        Ok(Self {
            raw_key: raw_key.and_then(|key| key.columns.first().copied()),
            value,
            key,
            partitioner: settings.partitioner,
            partitions,
            next: context.subtask.0 as usize,
        })
    }

    /// Encodes a batch and gives each of its messages to `each`. Returns the bytes of the values.
    pub fn encode(
        &mut self,
        batch: &Batch,
        mut each: impl FnMut(Record<'_>) -> Result<(), ConnectorError>,
    ) -> Result<usize, ConnectorError> {
        if batch.kinds.is_some() && (0..batch.rows()).any(|row| batch.kind(row).short() != "+I") {
            return Err(ConnectorError::Internal {
                connector: IDENTIFIER,
                reason: "a row that is no insertion".to_owned(),
            });
        }
        self.value.encode(batch)?;
        if let Some(key) = &mut self.key {
            key.encode(batch)?;
        }
        for row in 0..batch.rows() {
            let with_key = self.raw_key.is_none_or(|column| batch.records.column(column).is_valid(row));
            let partition = self.partition();
            let key = self.key.as_ref().filter(|_| with_key).map(|key| key.record(row));
            each(Record { key, value: self.value.record(row), partition })?;
        }
        Ok(self.value.bytes.len())
    }

    fn partition(&mut self) -> Option<i32> {
        let partition = self.partitions.get(self.next % self.partitions.len().max(1)).copied();
        if self.partitioner == Partitioner::RoundRobin {
            self.next = self.next.wrapping_add(1);
        }
        partition
    }
}
