//! Handing messages to librdkafka, and what becomes of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::client::{log, words};
use super::records::Record;
use crate::api::{ConnectorContext, ConnectorError};

/// How often a wait looks whether the job was cancelled.
pub(super) const WAIT: Duration = Duration::from_millis(50);
/// How long a wait for deliveries lasts beyond the time that librdkafka gives each of them.
const FLUSH_GRACE: Duration = Duration::from_secs(10);

/// Keeps the first failed delivery.
pub(super) struct Deliveries {
    table: String,
    servers: String,
    failed: Mutex<Option<String>>,
}

impl Deliveries {
    pub fn new(table: &str, servers: &str) -> Self {
        Self { table: table.to_owned(), servers: servers.to_owned(), failed: Mutex::new(None) }
    }

    pub fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn check(&self) -> Result<(), ConnectorError> {
        self.failure().map_or(Ok(()), |reason| Err(self.error(reason)))
    }

    pub fn error(&self, reason: String) -> ConnectorError {
        ConnectorError::External {
            table: self.table.clone(),
            reason: format!("Kafka at {} did not take a message, {reason}", self.servers),
            action: "check the broker, the topic and the options 'properties.*'".to_owned(),
        }
    }
}

pub(super) struct DeliveryContext(pub std::sync::Arc<Deliveries>);

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

/// Hands over a message; waits while librdkafka's queue is full.
pub(super) fn send(
    producer: &ThreadedProducer<DeliveryContext>,
    deliveries: &Deliveries,
    topic: &str,
    record: &Record<'_>,
    context: &ConnectorContext,
) -> Result<(), ConnectorError> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).payload(record.value);
    if let Some(key) = record.key {
        message = message.key(key);
    }
    if let Some(partition) = record.partition {
        message = message.partition(partition);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                if context.is_cancelled() {
                    return Err(ConnectorError::Cancelled);
                }
                deliveries.check()?;
                message = back;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err((error, _)) => {
                let length = record.value.len();
                return Err(deliveries.error(format!("topic {topic}, {length} bytes: {}", words(&error))));
            }
        }
    }
}

/// Waits until the brokers have everything. `timeout` is what librdkafka gives each message.
pub(super) fn wait_for_deliveries(
    producer: &ThreadedProducer<DeliveryContext>,
    deliveries: &Deliveries,
    timeout: Duration,
    context: &ConnectorContext,
) -> Result<(), ConnectorError> {
    let timeout = timeout + FLUSH_GRACE;
    let begin = Instant::now();
    loop {
        deliveries.check()?;
        match producer.flush(WAIT) {
            Ok(()) => return deliveries.check(),
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {}
            Err(error) => return Err(deliveries.error(words(&error))),
        }
        if context.is_cancelled() {
            return Err(ConnectorError::Cancelled);
        }
        if begin.elapsed() > timeout {
            return Err(ConnectorError::Timeout {
                table: deliveries.table.clone(),
                what: format!("Kafka at {} (taking messages)", deliveries.servers),
                seconds: timeout.as_secs(),
            });
        }
    }
}
