//! Reads partitions: messages are copied into one slab a partition, slabs are decoded in turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tidemill_common::ids::SplitId;
use tidemill_common::limits::{BATCH_ROWS_TARGET, RECORD_BYTES_MAX};
use tidemill_common::plan::SourceSpec;

use super::IDENTIFIER;
use super::batch_queue::{BatchQueue, Content, Message, PartitionQueue};
use super::client::{LogContext, refused, words};
use super::enumerator::PartitionSplit;
use super::metadata::{Kept, Metadata};
use super::settings::SourceSettings;
use crate::api::{
    ConnectorError, ConnectorMetrics, Decoder, Origin, Slab, SourcePoll, SourceReader, Split, SubtaskContext,
};

/// Messages taken from librdkafka at once.
const MESSAGES_MAX: usize = BATCH_ROWS_TARGET;
/// How often the client's own events are looked at.
const EVENTS_INTERVAL: Duration = Duration::from_millis(500);
/// How long a reader does without any broker.
const BROKERS_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one wait for messages lasts at most.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A partition that is being read.
struct Partition {
    split: PartitionSplit,
    queue: Option<PartitionQueue>,
    paused: bool,
    slab: PartitionSlab,
    /// Everything up to the stop is fetched.
    complete: bool,
}

/// Messages that were fetched and are not decoded yet.
#[derive(Default)]
struct PartitionSlab {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    offsets: Vec<i64>,
    /// What else is read of each message; empty if nothing is.
    kept: Vec<Kept>,
    /// Made when decoding begins.
    origin: Option<Origin>,
    /// Byte and message where decoding goes on.
    from: usize,
    message: usize,
    /// The offset after the last message seen, tombstones and gaps included.
    next_offset: i64,
}

impl PartitionSlab {
    fn is_empty(&self) -> bool {
        self.message >= self.ends.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.offsets.clear();
        self.kept.clear();
        self.origin = None;
        self.from = 0;
        self.message = 0;
    }
}

pub(super) struct KafkaReader {
    table: String,
    servers: String,
    decoder: Box<dyn Decoder>,
    metadata: Option<Metadata>,
    metrics: Arc<ConnectorMetrics>,
    partitions: BTreeMap<SplitId, Partition>,
    /// Partitions by librdkafka's address of the topic.
    by_address: HashMap<(usize, i32), SplitId>,
    /// Splits with messages to decode, in turn.
    ready: VecDeque<SplitId>,
    finished: VecDeque<SplitId>,
    events_due: Instant,
    /// Since when no broker answers.
    down_since: Option<Instant>,
    /// Whether there is a consumer group to tell of completed checkpoints.
    commits: bool,
    // In this order: the queue refers to the client.
    queue: BatchQueue,
    consumer: Arc<BaseConsumer<LogContext>>,
}

impl KafkaReader {
    pub fn new(
        settings: &SourceSettings,
        source: &SourceSpec,
        decoder: Box<dyn Decoder>,
        context: &SubtaskContext,
    ) -> Result<Self, ConnectorError> {
        let table = source.table.name.as_str();
        let servers = settings.client.servers.clone();
        let config = settings.client.consumer(&format!("tidemill-{}", context.job_id));
        let consumer = BaseConsumer::from_config_and_context(&config, LogContext)
            .map_err(|error| refused(table, &servers, "the client cannot be created", &error))?;
        let consumer = Arc::new(consumer);
        let queue = BatchQueue::new(Arc::clone(&consumer), MESSAGES_MAX).ok_or_else(|| ConnectorError::Internal {
            connector: IDENTIFIER,
            reason: "librdkafka made no queue".to_owned(),
        })?;
        Ok(Self {
            table: table.to_owned(),
            servers,
            decoder,
            metadata: Metadata::new(&source.metadata),
            metrics: Arc::clone(&context.metrics),
            partitions: BTreeMap::new(),
            by_address: HashMap::new(),
            ready: VecDeque::new(),
            finished: VecDeque::new(),
            events_due: Instant::now(),
            down_since: None,
            commits: settings.client.group.is_some() && settings.client.commit_offsets,
            queue,
            consumer,
        })
    }

    fn assign(&self, split: &PartitionSplit) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&split.topic, split.partition, Offset::Offset(split.offset))?;
        self.consumer.incremental_assign(&list)
    }

    /// Decodes the next portion of a split's slab. `None` if all of it was skipped.
    fn decode(&mut self, id: &SplitId) -> Result<Option<SourcePoll>, ConnectorError> {
        let Some(partition) = self.partitions.get_mut(id) else { return Ok(None) };
        let slab = &mut partition.slab;
        let origin = slab.origin.get_or_insert_with(|| Origin::Kafka {
            topic: Arc::from(partition.split.topic.as_str()),
            partition: partition.split.partition,
            offsets: Arc::from(slab.offsets.as_slice()),
        });
        let view = Slab { bytes: &slab.bytes, ends: Some(&slab.ends), origin };
        let (from, first) = (slab.from, slab.message);
        let skipped = self.metrics.records_skipped.load(Ordering::Relaxed);
        slab.from = self.decoder.decode(&view, from, BATCH_ROWS_TARGET)?;
        // Where the decoder stopped says how many messages it consumed: none is empty.
        slab.message = slab.ends.partition_point(|end| *end <= slab.from);
        let mut records = self.decoder.take()?;
        if let Some(metadata) = &self.metadata {
            let mut messages: Vec<usize> = (first..slab.message).collect();
            if messages.len() != records.num_rows() {
                // Some messages gave no row: which, says only decoding one after the other.
                self.metrics.records_skipped.store(skipped, Ordering::Relaxed);
                (records, messages) = one_by_one(&mut *self.decoder, &view, from, messages)?;
            }
            let offsets: Vec<i64> = messages.iter().map(|at| slab.offsets[*at]).collect();
            let kept: Vec<&Kept> = messages.iter().map(|at| &slab.kept[*at]).collect();
            records = metadata.append(&records, &partition.split.topic, partition.split.partition, &offsets, &kept)?;
        }
        partition.split.offset = if slab.is_empty() { slab.next_offset } else { slab.offsets[slab.message] };
        if slab.is_empty() {
            slab.clear();
            if partition.complete {
                self.finished.push_back(id.clone());
            }
        } else {
            self.ready.push_back(id.clone());
        }
        Ok((records.num_rows() > 0).then(|| SourcePoll::Rows { split: id.clone(), records }))
    }

    /// Fetches messages into the slabs. Called when no slab of a split that may be read is left.
    fn fetch(&mut self, timeout: Duration) -> Result<bool, ConnectorError> {
        let mut bytes = 0;
        let mut failure = None;
        let Self { queue, partitions, by_address, ready, finished, metadata, .. } = self;
        let mut last: Option<((usize, i32), SplitId)> = None;
        let count = queue.consume(timeout, |message| {
            let address = (message.topic_address, message.partition);
            if last.as_ref().is_none_or(|(known, _)| *known != address) {
                let id = by_address
                    .entry(address)
                    .or_insert_with(|| SplitId(format!("{}-{}", message.topic(), message.partition)));
                last = Some((address, id.clone()));
            }
            let Some((_, id)) = &last else { return };
            // Messages of a partition that is finished are still on their way.
            let Some(partition) = partitions.get_mut(id) else {
                if let Content::Error(code, text) = message.content {
                    failure.get_or_insert((id.clone(), message.offset, code, text));
                }
                return;
            };
            match take(partition, &message, metadata.as_ref()) {
                Ok(length) => bytes += length,
                Err((code, text)) => {
                    failure.get_or_insert((id.clone(), message.offset, code, text));
                }
            }
            if partition.complete && partition.slab.is_empty() && !finished.contains(id) {
                finished.push_back(id.clone());
            }
        });
        for (id, partition) in partitions.iter_mut() {
            if !partition.slab.is_empty() && !ready.contains(id) {
                ready.push_back(id.clone());
            } else if partition.slab.is_empty() && partition.slab.next_offset > partition.split.offset {
                // Nothing but tombstones or gaps.
                partition.split.offset = partition.slab.next_offset;
            }
        }
        self.metrics.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if count > 0 {
            self.down_since = None;
        }
        match failure {
            Some((id, offset, code, text)) => self.failure(&id, offset, code, &text).map(|()| count > 0),
            None => Ok(count > 0),
        }
    }

    /// An error about a partition: fatal, or one that librdkafka gets over by itself.
    fn failure(&self, id: &SplitId, offset: i64, code: RDKafkaErrorCode, text: &str) -> Result<(), ConnectorError> {
        use RDKafkaErrorCode as Code;
        let (topic, partition) = id.0.rsplit_once('-').unwrap_or((&id.0, "?"));
        let place = format!("topic {topic}, partition {partition}, offset {offset}");
        let (reason, action) = match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => (
                format!("{place}: there is no such offset in the partition (any more): {text}"),
                "start elsewhere with 'scan.startup.mode', or set 'properties.auto.offset.reset'",
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                (format!("{place}: the topic or partition does not exist any more"), "start the job again")
            }
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::SaslAuthenticationFailed => {
                (format!("{place}: {text}"), "let the broker's administrator grant the rights")
            }
            Code::BadMessage | Code::BadCompression | Code::MessageSizeTooLarge | Code::InvalidMessage => {
                (format!("{place}: {text}"), "raise 'properties.fetch.message.max.bytes', or start after it")
            }
            _ => {
                tracing::warn!(table = %self.table, %place, %code, text, "Kafka");
                return Ok(());
            }
        };
        Err(ConnectorError::External { table: self.table.clone(), reason, action: action.to_owned() })
    }

    /// Looks at the events of the client itself.
    fn events(&mut self) -> Result<(), ConnectorError> {
        let now = Instant::now();
        if now < self.events_due {
            return Ok(());
        }
        self.events_due = now + EVENTS_INTERVAL;
        self.tell_lag();
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            let Err(error) = event else { continue };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AllBrokersDown) => {
                    tracing::warn!(table = %self.table, servers = %self.servers, "no broker answers");
                    self.down_since.get_or_insert(now);
                }
                Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::Fatal) => {
                    return Err(refused(&self.table, &self.servers, "the connection was refused", &error));
                }
                _ => tracing::warn!(table = %self.table, error = words(&error), "Kafka"),
            }
        }
        match self.down_since {
            Some(since) if now - since > BROKERS_TIMEOUT => Err(ConnectorError::Timeout {
                table: self.table.clone(),
                what: format!("Kafka at {} (none of the brokers)", self.servers),
                seconds: BROKERS_TIMEOUT.as_secs(),
            }),
            _ => Ok(()),
        }
    }

    /// Tells how many messages there are behind those that were read.
    fn tell_lag(&self) {
        let lag = self.partitions.values().filter_map(|partition| {
            let PartitionSplit { topic, partition: number, offset, .. } = &partition.split;
            let end = self.queue.end_offset(topic, *number)?;
            // Before the first message the offset may be one of the places that have names.
            u64::try_from(end - *offset).ok().filter(|_| *offset >= 0)
        });
        if let Some(lag) = lag.reduce(u64::saturating_add) {
            self.metrics.records_lag.store(lag, Ordering::Relaxed);
        }
    }

    fn finish(&mut self, id: &SplitId) {
        let Some(mut partition) = self.partitions.remove(id) else { return };
        if let Some(queue) = partition.queue.take() {
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.split.topic, partition.split.partition);
            // It may have gone by itself; what matters is that no message of it is taken any more.
            if let Err(error) = self.consumer.incremental_unassign(&list) {
                tracing::debug!(table = %self.table, split = %id, %error, "unassign");
            }
            drop(queue);
        }
    }
}

/// Decodes messages singly. Gives their rows and which messages have one.
fn one_by_one(
    decoder: &mut dyn Decoder,
    slab: &Slab<'_>,
    mut from: usize,
    messages: Vec<usize>,
) -> Result<(RecordBatch, Vec<usize>), ConnectorError> {
    let ends = slab.ends.unwrap_or_default();
    let mut with_row = Vec::with_capacity(messages.len());
    for message in messages {
        let end = ends[message];
        let rows = decoder.pending_rows();
        let part = Slab { bytes: &slab.bytes[..end], ends: Some(&ends[..=message]), origin: slab.origin };
        from = decoder.decode(&part, from, rows + 1)?;
        if decoder.pending_rows() > rows {
            with_row.push(message);
        }
    }
    Ok((decoder.take()?, with_row))
}

/// Takes a message into the slab of its partition; returns its length.
fn take(
    partition: &mut Partition,
    message: &Message<'_>,
    metadata: Option<&Metadata>,
) -> Result<usize, (RDKafkaErrorCode, String)> {
    let beyond = |offset: i64| partition.split.stop.is_some_and(|stop| offset >= stop);
    match &message.content {
        _ if partition.complete => Ok(0),
        Content::Error(code, text) => Err((*code, text.clone())),
        Content::EndOfPartition => {
            partition.complete = beyond(message.offset);
            partition.slab.next_offset = partition.slab.next_offset.max(message.offset);
            Ok(0)
        }
        _ if beyond(message.offset) => {
            partition.complete = true;
            Ok(0)
        }
        content => {
            let mut length = 0;
            // A message without a byte is no record of any format, as one without a value.
            if let Content::Value(value) = content
                && !value.is_empty()
            {
                if value.len() > RECORD_BYTES_MAX {
                    let text = format!("the message has {} bytes, more than {RECORD_BYTES_MAX}", value.len());
                    return Err((RDKafkaErrorCode::MessageSizeTooLarge, text));
                }
                length = value.len();
                partition.slab.bytes.extend_from_slice(value);
                partition.slab.ends.push(partition.slab.bytes.len());
                partition.slab.offsets.push(message.offset);
                partition.slab.kept.extend(metadata.map(|metadata| metadata.keep(message)));
            }
            partition.slab.next_offset = message.offset + 1;
            partition.complete = beyond(message.offset + 1);
            Ok(length)
        }
    }
}

impl SourceReader for KafkaReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError> {
        for split in splits {
            let state: PartitionSplit = serde_json::from_value(split.state)
                .map_err(|error| ConnectorError::State { table: self.table.clone(), reason: error.to_string() })?;
            let complete = state.stop.is_some_and(|stop| state.offset >= stop);
            let queue = if complete {
                self.finished.push_back(split.id.clone());
                None
            } else {
                let queue = self.queue.attach(&state.topic, state.partition);
                self.assign(&state).map_err(|error| {
                    let what = format!("topic '{}', partition {}", state.topic, state.partition);
                    refused(&self.table, &self.servers, &what, &error)
                })?;
                queue
            };
            let slab = PartitionSlab { next_offset: state.offset, ..PartitionSlab::default() };
            self.partitions.insert(split.id, Partition { split: state, queue, paused: false, slab, complete });
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<SourcePoll, ConnectorError> {
        self.events()?;
        if let Some(id) = self.finished.pop_front() {
            self.finish(&id);
            return Ok(SourcePoll::SplitFinished(id));
        }
        if self.partitions.is_empty() {
            return Ok(SourcePoll::NoSplits);
        }
        for fetched in [false, true] {
            for _ in 0..self.ready.len() {
                let Some(id) = self.ready.pop_front() else { break };
                if self.partitions.get(&id).is_some_and(|partition| partition.paused) {
                    self.ready.push_back(id);
                } else if let Some(poll) = self.decode(&id)? {
                    return Ok(poll);
                }
            }
            if !fetched && !self.fetch(timeout.min(WAIT_MAX))? {
                break;
            }
        }
        Ok(SourcePoll::Pending)
    }

    fn set_paused(&mut self, split: &SplitId, paused: bool) {
        let Some(partition) = self.partitions.get_mut(split) else { return };
        if partition.paused == paused {
            return;
        }
        partition.paused = paused;
        if let Some(queue) = &partition.queue {
            if paused { self.queue.pause(queue) } else { self.queue.resume(queue) }
        }
    }

    fn snapshot(&self) -> Vec<Split> {
        self.partitions.values().filter_map(|partition| partition.split.to_split().ok()).collect()
    }

    fn checkpoint_complete(&mut self, positions: &[Split]) {
        if !self.commits {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for split in positions {
            let Ok(split) = serde_json::from_value::<PartitionSplit>(split.state.clone()) else { continue };
            let offset = Offset::Offset(split.offset);
            if let Err(error) = offsets.add_partition_offset(&split.topic, split.partition, offset) {
                tracing::warn!(table = %self.table, %error, "the consumer group is not told of an offset");
            }
        }
        // The answer comes to the client's context.
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::warn!(table = %self.table, error = words(&error), "the consumer group is not told of offsets");
        }
    }
}
