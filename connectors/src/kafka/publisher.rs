//! Publishes epochs in transactions, each once.
//!
//! The transactional id is that of the epoch's origin, whoever publishes. Initialising it ends what an
//! earlier producer of that origin has left open and locks it out; after that the markers say what is
//! published, and nothing but this publisher can change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer, ThreadedProducer};
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::{AttemptId, JobId};

use super::IDENTIFIER;
use super::client::{refused, words};
use super::commits::{self, Commits, Marker, Origin};
use super::delivery::{Deliveries, DeliveryContext, WAIT, send, wait_for_deliveries};
use super::records::Record;
use super::settings::SinkSettings;
use crate::api::{ConnectorContext, ConnectorError, PreparedEpoch, SubtaskContext};
use crate::staging::StagedRows;

/// One try of a request to the transaction coordinator, after which the job may have been cancelled.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the coordinator may take to let a producer in.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an abort may take; what is not aborted now is when the id is initialised again.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    origin: Origin,
    attempt: AttemptId,
}

impl Writer {
    pub fn new(context: &SubtaskContext) -> Self {
        let job = JobId(context.job_id.clone());
        let origin = Origin { job, sink: context.operator.clone(), subtask: context.subtask.0 };
        Self { origin, attempt: context.attempt }
    }
}

/// A producer of one origin.
struct Transactions {
    producer: ThreadedProducer<DeliveryContext>,
    deliveries: Arc<Deliveries>,
    marker: Marker,
}

/// Publishes the epochs of a sink's subtask.
pub(super) struct Publisher {
    settings: SinkSettings,
    table: String,
    prefix: String,
    writer: Writer,
    context: ConnectorContext,
    /// Once recovered.
    own: Option<Transactions>,
}

impl Publisher {
    pub fn new(
        settings: &SinkSettings,
        table: &str,
        writer: Writer,
        context: &ConnectorContext,
    ) -> Result<Self, ConnectorError> {
        let prefix = settings.transactional_id_prefix.clone().ok_or_else(|| ConnectorError::State {
            table: table.to_owned(),
            reason: "the checkpoint holds messages that an 'exactly-once' sink has not published yet; set \
                     'sink.transactional-id-prefix' as it was"
                .to_owned(),
        })?;
        Ok(Self {
            settings: settings.clone(),
            table: table.to_owned(),
            prefix,
            writer,
            context: context.clone(),
            own: None,
        })
    }

    /// Locks out earlier attempts and publishes what is not published of `epochs`.
    pub fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        let (settings, table, context) = (self.settings.clone(), self.table.clone(), self.context.clone());
        let commits = Commits { settings: &settings, table: &table, context: &context };
        let mut own = self.open(&self.writer.origin)?;
        let mut markers = commits.read()?;
        if let Some(marker) = markers.get(&self.writer.origin) {
            own.marker.checkpoint = marker.checkpoint;
            if marker.attempt > self.writer.attempt.0 {
                let what = format!("attempt {} of the job, and {} is recorded", self.writer.attempt, marker.attempt);
                return Err(ConnectorError::Fenced { table, what });
            }
        }
        let mut missing: BTreeMap<Origin, Vec<(u64, StagedRows)>> = BTreeMap::new();
        for PreparedEpoch { origin, rows } in epochs {
            let epochs = missing.entry(Origin::of(&origin)).or_default();
            epochs.push((origin.checkpoint.0, StagedRows::Memory(rows.into())));
        }
        for (origin, mut epochs) in missing {
            epochs.sort_by_key(|(checkpoint, _)| *checkpoint);
            if origin == self.writer.origin {
                self.publish_missing(&mut own, &epochs)?;
                continue;
            }
            let covered = |marker: Option<&Marker>| {
                let published = marker.and_then(|marker| marker.checkpoint);
                epochs.iter().all(|(checkpoint, _)| published >= Some(*checkpoint))
            };
            // Its job, if another one, may be alive and well: it is disturbed only if need be.
            if covered(markers.get(&origin)) {
                continue;
            }
            let mut other = self.open(&origin)?;
            markers = commits.read()?;
            if let Some(marker) = markers.get(&origin) {
                other.marker.checkpoint = marker.checkpoint;
                if origin.job != self.writer.origin.job {
                    other.marker.attempt = marker.attempt;
                }
            }
            self.publish_missing(&mut other, &epochs)?;
        }
        // Records the attempt, also if there was nothing to publish.
        self.transaction(&own, None)?;
        self.own = Some(own);
        Ok(())
    }

    fn publish_missing(&self, to: &mut Transactions, epochs: &[(u64, StagedRows)]) -> Result<(), ConnectorError> {
        for (checkpoint, rows) in epochs {
            if to.marker.checkpoint >= Some(*checkpoint) && !is_broken(Promise::CommitMarker) {
                continue;
            }
            to.marker.checkpoint = Some(*checkpoint);
            self.transaction(to, Some(rows))?;
        }
        Ok(())
    }

    /// Publishes an epoch of this writer's own.
    pub fn publish(&mut self, checkpoint: u64, rows: &StagedRows) -> Result<(), ConnectorError> {
        let Some(mut own) = self.own.take() else {
            return Err(ConnectorError::Internal { connector: IDENTIFIER, reason: "not recovered".to_owned() });
        };
        self.publish_missing(&mut own, &[(checkpoint, rows.clone())])?;
        self.own = Some(own);
        Ok(())
    }

    /// Takes over an origin: ends its open transaction and locks its earlier producers out.
    fn open(&self, origin: &Origin) -> Result<Transactions, ConnectorError> {
        let deliveries = Arc::new(Deliveries::new(&self.table, &self.settings.client.servers));
        let config = self.settings.client.transactional(&format!("{}-{}", self.prefix, origin.key()));
        let producer = ThreadedProducer::from_config_and_context(&config, DeliveryContext(Arc::clone(&deliveries)))
            .map_err(|error| {
                refused(&self.table, &self.settings.client.servers, "the client cannot be created", &error)
            })?;
        self.coordinate("letting a transactional producer in", INIT_TIMEOUT, || {
            producer.init_transactions(TRY_TIMEOUT)
        })?;
        let marker = Marker { origin: origin.clone(), checkpoint: None, attempt: self.writer.attempt.0 };
        Ok(Transactions { producer, deliveries, marker })
    }

    /// One transaction: messages, if any, and the marker.
    fn transaction(&self, to: &Transactions, rows: Option<&StagedRows>) -> Result<(), ConnectorError> {
        self.coordinate("beginning a transaction", INIT_TIMEOUT, || to.producer.begin_transaction())?;
        let begun = Instant::now();
        let done = self.fill(to, rows).and_then(|()| {
            self.context.may_write()?;
            let timeout = self.settings.client.transaction_timeout();
            self.coordinate("committing a transaction", timeout, || to.producer.commit_transaction(TRY_TIMEOUT))
        });
        if done.is_err()
            && let Err(error) = to.producer.abort_transaction(ABORT_TIMEOUT)
        {
            tracing::debug!(table = %self.table, %error, "abort of a transaction");
        }
        let timeout = self.settings.client.transaction_timeout();
        match (done, to.producer.client().fatal_error()) {
            // The broker has ended it, which shows in many ways; the producer may be locked out, too.
            (Err(error), _) if begun.elapsed() >= timeout && !matches!(error, ConnectorError::Cancelled) => {
                Err(ConnectorError::External {
                    table: self.table.clone(),
                    reason: format!("a transaction took longer than {} ms: {error}", timeout.as_millis()),
                    action:
                        "raise 'properties.transaction.timeout.ms' (and the broker's transaction.max.timeout.ms), or \
                             shorten 'execution.checkpointing.interval'; the job publishes again when it restarts"
                            .to_owned(),
                })
            }
            // Whatever failed first: this is why.
            (Err(_), Some((code, _))) if is_fenced(code) => {
                let what = format!("Kafka at {}, publishing", self.settings.client.servers);
                Err(ConnectorError::Fenced { table: self.table.clone(), what })
            }
            (done, _) => done,
        }
    }

    fn fill(&self, to: &Transactions, rows: Option<&StagedRows>) -> Result<(), ConnectorError> {
        let Transactions { producer, deliveries, marker } = to;
        if let Some(rows) = rows {
            let mut frames = rows.frames(&self.table);
            let damaged = || ConnectorError::State {
                table: self.table.clone(),
                reason: "the staged messages are damaged".to_owned(),
            };
            let topic = frames.next_frame()?.and_then(read_header).ok_or_else(damaged)?;
            while let Some(frame) = frames.next_frame()? {
                let record = read_record(frame).ok_or_else(damaged)?;
                send(producer, deliveries, &topic, &record, &self.context)?;
            }
            // The marker comes last and late: while it is in an open transaction others wait at it.
            wait_for_deliveries(producer, deliveries, self.settings.client.delivery_timeout(), &self.context)?;
        }
        let internal =
            |error: serde_json::Error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() };
        let value = serde_json::to_vec(marker).map_err(internal)?;
        let key = marker.origin.key();
        let record = Record { key: Some(key.as_bytes()), value: &value, partition: Some(commits::PARTITION) };
        send(producer, deliveries, &self.settings.commit_topic, &record, &self.context)
    }

    /// Asks the transaction coordinator, again while it may still answer.
    fn coordinate(
        &self,
        what: &str,
        timeout: Duration,
        request: impl Fn() -> Result<(), KafkaError>,
    ) -> Result<(), ConnectorError> {
        let begun = Instant::now();
        loop {
            let error = match request() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.context.is_cancelled() {
                return Err(ConnectorError::Cancelled);
            }
            let (passes, fenced, reason) = match &error {
                KafkaError::Transaction(error) => {
                    (error.is_retriable() && !error.txn_requires_abort(), is_fenced(error.code()), error.to_string())
                }
                // What is to be committed is still under way; its own time-out says when to give up.
                error => {
                    let under_way = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
                    (under_way, false, words(error))
                }
            };
            if fenced {
                let what = format!("Kafka at {}, {what}", self.settings.client.servers);
                return Err(ConnectorError::Fenced { table: self.table.clone(), what });
            }
            if !passes {
                return Err(self.failed(what, &reason));
            }
            if begun.elapsed() > timeout {
                return Err(ConnectorError::Timeout {
                    table: self.table.clone(),
                    what: format!("Kafka at {} ({what}; the last error was: {reason})", self.settings.client.servers),
                    seconds: timeout.as_secs(),
                });
            }
            // Some errors come at once.
            std::thread::sleep(WAIT);
        }
    }

    fn failed(&self, what: &str, reason: &str) -> ConnectorError {
        ConnectorError::External {
            table: self.table.clone(),
            reason: format!("Kafka at {}, {what}: {reason}", self.settings.client.servers),
            action: "check the broker and the options 'properties.*'; the job publishes again when it restarts"
                .to_owned(),
        }
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Version of the form of staged messages.
const VERSION: u8 = 1;

/// What an epoch begins with: the topic.
pub(super) fn header(topic: &str) -> Vec<u8> {
    [&[VERSION], topic.as_bytes()].concat()
}

fn read_header(frame: &[u8]) -> Option<String> {
    let topic = frame.strip_prefix(&[VERSION])?;
    std::str::from_utf8(topic).ok().map(str::to_owned)
}

/// Appends a message: partition, length of the key, key, value.
pub(super) fn write_record(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.partition.unwrap_or(-1).to_le_bytes());
    let key_length = record.key.map_or(u32::MAX, |key| key.len() as u32);
    out.extend_from_slice(&key_length.to_le_bytes());
    out.extend_from_slice(record.key.unwrap_or_default());
    out.extend_from_slice(record.value);
}

/// Reads what [`write_record`] wrote. `None` if it is damaged.
fn read_record(frame: &[u8]) -> Option<Record<'_>> {
    let (partition, rest) = frame.split_first_chunk::<4>()?;
    let partition = Some(i32::from_le_bytes(*partition)).filter(|partition| *partition >= 0);
    let (length, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length) {
        u32::MAX => Some(Record { key: None, value: rest, partition }),
        length => {
            let (key, value) = rest.split_at_checked(length as usize)?;
            Some(Record { key: Some(key), value, partition })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_messages_survive() {
        for (key, partition) in [(None, None), (Some(b"k".as_slice()), Some(3)), (Some(b"".as_slice()), Some(0))] {
            let mut frame = Vec::new();
            write_record(&Record { key, value: b"value", partition }, &mut frame);
            let read = read_record(&frame).unwrap();
            assert_eq!((read.key, read.value, read.partition), (key, b"value".as_slice(), partition));
            assert!(read_record(&frame[..7]).is_none());
        }
        assert_eq!(read_header(&header("t")), Some("t".to_owned()));
        assert_eq!(read_header(b"\x02t"), None);
    }
}
