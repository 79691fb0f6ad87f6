//! Writes rows as messages. What is under way is bounded by librdkafka's queue; a full queue is
//! backpressure, a failed delivery fails the job.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tidemill_common::batch::Batch;
use tidemill_common::plan::TableSpec;

use super::IDENTIFIER;
use super::client::{Cluster, log, refused, words};
use super::settings::{Partitioner, SinkSettings};
use crate::api::{ConnectorContext, ConnectorError, ConnectorMetrics, Encoder, SinkWriter, SubtaskContext};

/// How often a wait looks whether the job was cancelled.
const WAIT: Duration = Duration::from_millis(50);
/// How often the writer looks whether what is under way has failed, while no row comes.
const FAILURE_INTERVAL: Duration = Duration::from_millis(500);
/// How long a wait for deliveries lasts beyond the time that librdkafka gives each of them.
const FLUSH_GRACE: Duration = Duration::from_secs(10);

/// Keeps the first failed delivery.
#[derive(Default)]
struct Deliveries {
    failed: Mutex<Option<String>>,
}

impl Deliveries {
    fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct DeliveryContext(Arc<Deliveries>);

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", %error, reason, "client");
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let text = format!("topic {}, partition {}: {}", message.topic(), message.partition(), words(error));
            self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        }
    }
}

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

pub(super) struct KafkaWriter {
    table: String,
    settings: SinkSettings,
    producer: ThreadedProducer<DeliveryContext>,
    deliveries: Arc<Deliveries>,
    value: Part,
    key: Option<Part>,
    /// Whether a NULL key is no key at all, as of the format `raw`.
    raw_key: bool,
    partitions: Vec<i32>,
    /// The partition of the next record, by position in `partitions`.
    next: usize,
    /// When failures were last looked for.
    looked: Instant,
    context: ConnectorContext,
    metrics: Arc<ConnectorMetrics>,
}

impl KafkaWriter {
    pub fn new(settings: SinkSettings, table: &TableSpec, context: &SubtaskContext) -> Result<Self, ConnectorError> {
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
        let raw_key = settings.key.as_ref().is_some_and(|key| key.format.info().identifier == "raw");
        let partitions = match settings.partitioner {
            Partitioner::Default => Vec::new(),
            Partitioner::Fixed | Partitioner::RoundRobin => {
                Cluster::new(&settings.client, &table.name, &context.connector)?.partitions(&settings.topic)?
            }
        };
        let deliveries = Arc::new(Deliveries::default());
        let producer = ThreadedProducer::from_config_and_context(
            &settings.client.producer(),
            DeliveryContext(Arc::clone(&deliveries)),
        )
        .map_err(|error| refused(&table.name, &settings.client.servers, "the client cannot be created", &error))?;
        Ok(Self {
            table: table.name.clone(),
            settings,
            producer,
            deliveries,
            value,
            key,
            raw_key,
            partitions,
            next: context.subtask.0 as usize,
            looked: Instant::now(),
            context: context.connector.clone(),
            metrics: Arc::clone(&context.metrics),
        })
    }

    fn partition(&mut self) -> Option<i32> {
        match self.settings.partitioner {
            Partitioner::Default => None,
            Partitioner::Fixed => self.partitions.get(self.next % self.partitions.len().max(1)).copied(),
            Partitioner::RoundRobin => {
                let partition = self.partitions.get(self.next % self.partitions.len().max(1)).copied();
                self.next = self.next.wrapping_add(1);
                partition
            }
        }
    }

    fn failed(&self, reason: String) -> ConnectorError {
        ConnectorError::External {
            table: self.table.clone(),
            reason: format!("Kafka at {} did not take a message, {reason}", self.settings.client.servers),
            action: "check the broker, the topic and the options 'properties.*'".to_owned(),
        }
    }

    fn check_deliveries(&self) -> Result<(), ConnectorError> {
        self.deliveries.failure().map_or(Ok(()), |reason| Err(self.failed(reason)))
    }

    fn send(&self, row: usize, with_key: bool, partition: Option<i32>) -> Result<(), ConnectorError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.settings.topic).payload(self.value.record(row));
        if let Some(key) = self.key.as_ref().filter(|_| with_key) {
            record = record.key(key.record(row));
        }
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if self.context.is_cancelled() {
                        return Err(ConnectorError::Cancelled);
                    }
                    self.check_deliveries()?;
                    record = back;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err((error, _)) => {
                    let length = self.value.record(row).len();
                    return Err(self.failed(format!(
                        "topic {}, {length} bytes: {}",
                        self.settings.topic,
                        words(&error)
                    )));
                }
            }
        }
    }

    /// Waits until the brokers have everything.
    fn wait_for_deliveries(&self) -> Result<(), ConnectorError> {
        let timeout = self.settings.client.delivery_timeout() + FLUSH_GRACE;
        let begin = Instant::now();
        loop {
            self.check_deliveries()?;
            match self.producer.flush(WAIT) {
                Ok(()) => return self.check_deliveries(),
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
                Err(error) => return Err(self.failed(words(&error))),
            }
            if self.context.is_cancelled() {
                return Err(ConnectorError::Cancelled);
            }
            if begin.elapsed() > timeout {
                return Err(ConnectorError::Timeout {
                    table: self.table.clone(),
                    what: format!("Kafka at {} (taking messages)", self.settings.client.servers),
                    seconds: timeout.as_secs(),
                });
            }
        }
    }
}

impl SinkWriter for KafkaWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.check_deliveries()?;
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
        let raw_key = self.key.as_ref().filter(|_| self.raw_key).and_then(|key| key.columns.first().copied());
        for row in 0..batch.rows() {
            let with_key = raw_key.is_none_or(|column| batch.records.column(column).is_valid(row));
            let partition = self.partition();
            self.send(row, with_key, partition)?;
        }
        self.metrics.bytes.fetch_add(self.value.bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        if self.settings.flush_at_checkpoints { self.wait_for_deliveries() } else { self.check_deliveries() }
    }

    fn next_timer(&self) -> Option<Instant> {
        // A failure must be told although no further row comes.
        let waits = self.producer.in_flight_count() > 0 || self.deliveries.failure().is_some();
        waits.then(|| self.looked + FAILURE_INTERVAL)
    }

    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        self.looked = Instant::now();
        self.check_deliveries()
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        self.wait_for_deliveries()
    }
}
