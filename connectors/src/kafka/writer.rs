//! Writes rows as messages as they come. What is under way is bounded by librdkafka's queue; a full queue
//! is backpressure, a failed delivery fails the job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{Producer, ThreadedProducer};
use tidemill_common::batch::Batch;
use tidemill_common::plan::TableSpec;

use super::client::refused;
use super::delivery::{Deliveries, DeliveryContext, send, wait_for_deliveries};
use super::publisher::{Publisher, Writer};
use super::records::Records;
use super::settings::{Guarantee, SinkSettings};
use crate::api::{ConnectorContext, ConnectorError, ConnectorMetrics, PreparedEpoch, SinkWriter, SubtaskContext};

/// How often the writer looks whether what is under way has failed, while no row comes.
const FAILURE_INTERVAL: Duration = Duration::from_millis(500);

pub(super) struct KafkaWriter {
    table: String,
    settings: SinkSettings,
    producer: ThreadedProducer<DeliveryContext>,
    deliveries: Arc<Deliveries>,
    records: Records,
    /// When failures were last looked for.
    looked: Instant,
    writer: Writer,
    context: ConnectorContext,
    metrics: Arc<ConnectorMetrics>,
}

impl KafkaWriter {
    pub fn new(settings: SinkSettings, table: &TableSpec, context: &SubtaskContext) -> Result<Self, ConnectorError> {
        let records = Records::new(&settings, table, context)?;
        let deliveries = Arc::new(Deliveries::new(&table.name, &settings.client.servers));
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
            records,
            looked: Instant::now(),
            writer: Writer::new(context),
            context: context.connector.clone(),
            metrics: Arc::clone(&context.metrics),
        })
    }

    /// Waits until the brokers have everything.
    fn wait_for_deliveries(&self) -> Result<(), ConnectorError> {
        let timeout = self.settings.client.delivery_timeout();
        wait_for_deliveries(&self.producer, &self.deliveries, timeout, &self.context)
    }
}

impl SinkWriter for KafkaWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.deliveries.check()?;
        let Self { records, producer, deliveries, context, settings, .. } = self;
        let bytes = records.encode(batch, |record| send(producer, deliveries, &settings.topic, &record, context))?;
        self.metrics.bytes.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        match self.settings.guarantee {
            Guarantee::None => self.deliveries.check(),
            Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => self.wait_for_deliveries(),
        }
    }

    /// The guarantee may have been another one when the checkpoint was taken.
    fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        if epochs.is_empty() {
            return Ok(());
        }
        Publisher::new(&self.settings, &self.table, self.writer.clone(), &self.context)?.recover(epochs)
    }

    fn next_timer(&self) -> Option<Instant> {
        // A failure must be told although no further row comes.
        let waits = self.producer.in_flight_count() > 0 || self.deliveries.failure().is_some();
        waits.then(|| self.looked + FAILURE_INTERVAL)
    }

    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        self.looked = Instant::now();
        self.deliveries.check()
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        self.wait_for_deliveries()
    }
}
