//! The topic of markers: which checkpoints are published, by origin. A marker is written in the
//! transaction that publishes, so that it is there exactly if the messages are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::JobId;

use super::IDENTIFIER;
use super::batch_queue::{BatchQueue, Content};
use super::client::{Cluster, LogContext, refused, words};
use super::settings::SinkSettings;
use crate::api::{ConnectorContext, ConnectorError};

/// All markers are in this partition, however many the topic has: they must be found again.
pub(super) const PARTITION: i32 = 0;
/// Small segments are compacted soon.
const SEGMENT_MS: &str = "3600000";
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Markers that are read at once.
const BATCH: usize = 1000;
const POLL: Duration = Duration::from_millis(50);
/// Transactions of others that are not over yet hold the end of the topic back, at most for so long
/// beyond their own time-out.
const READ_GRACE: Duration = Duration::from_secs(30);

/// Whose checkpoints a marker is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Origin {
    pub job: JobId,
    pub sink: String,
    pub subtask: u32,
}

impl Origin {
    pub fn of(epoch: &EpochOrigin) -> Self {
        Self { job: epoch.job.clone(), sink: epoch.sink.clone(), subtask: epoch.subtask.0 }
    }

    /// Key of the marker, and end of the transactional id.
    pub fn key(&self) -> String {
        format!("{}-{}-{}", self.job, self.sink, self.subtask)
    }
}

/// What is known of an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    #[serde(flatten)]
    pub origin: Origin,
    /// The newest checkpoint whose messages are published, if any are.
    pub checkpoint: Option<u64>,
    /// The newest attempt of the job.
    pub attempt: u32,
}

/// The topic of markers.
pub(super) struct Commits<'a> {
    pub settings: &'a SinkSettings,
    pub table: &'a str,
    pub context: &'a ConnectorContext,
}

impl Commits<'_> {
    /// Refuses a topic that would lose markers, and with them what they say.
    pub fn probe(&self) -> Result<(), ConnectorError> {
        let cluster = Cluster::read_uncommitted(&self.settings.client, self.table, self.context)?;
        match cluster.find_partitions(&self.settings.commit_topic)? {
            // It will be created as it should be.
            None => Ok(()),
            Some(_) => self.check_policy(),
        }
    }

    /// Creates the topic if it does not exist.
    fn ensure(&self, cluster: &Cluster) -> Result<(), ConnectorError> {
        let topic = self.settings.commit_topic.as_str();
        if cluster.find_partitions(topic)?.is_some() {
            return Ok(());
        }
        self.create_topic()?;
        let begun = Instant::now();
        while cluster.find_partitions(topic)?.is_none() {
            if begun.elapsed() > ADMIN_TIMEOUT {
                return Err(self.external(format!("topic '{topic}' was created and does not appear")));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn admin(&self) -> Result<AdminClient<LogContext>, ConnectorError> {
        let config = self.settings.client.consumer("tidemill");
        AdminClient::from_config_and_context(&config, LogContext)
            .map_err(|error| refused(self.table, &self.settings.client.servers, "the client cannot be created", &error))
    }

    fn create_topic(&self) -> Result<(), ConnectorError> {
        let topic = self.settings.commit_topic.as_str();
        let admin = self.admin()?;
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("segment.ms", SEGMENT_MS);
        let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT));
        let created = self.context.io.block_on(admin.create_topics([&new], &options));
        let failed = |reason: String| {
            self.external(format!("the topic '{topic}' of published checkpoints cannot be created: {reason}"))
        };
        match created.map_err(|error| failed(words(&error)))?.pop() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => Err(failed(code.to_string())),
            _ => Ok(()),
        }
    }

    fn check_policy(&self) -> Result<(), ConnectorError> {
        let topic = self.settings.commit_topic.as_str();
        let admin = self.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
        let described = self.context.io.block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options));
        let policy = match described.map(|mut found| found.pop()) {
            Ok(Some(Ok(found))) => found.get("cleanup.policy").and_then(|entry| entry.value.clone()),
            Ok(Some(Err(code))) => {
                tracing::warn!(table = self.table, topic, %code, "the topic's configuration cannot be looked at");
                None
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(table = self.table, topic, %error, "the topic's configuration cannot be looked at");
                None
            }
        };
        match policy.as_deref() {
            None | Some("compact") => Ok(()),
            Some(other) => Err(ConnectorError::External {
                table: self.table.to_owned(),
                reason: format!(
                    "topic '{topic}', which notes published checkpoints, has the cleanup.policy '{other}' and would \
                     forget them"
                ),
                action: "set its cleanup.policy to 'compact', or name another topic in 'sink.commit-topic'".to_owned(),
            }),
        }
    }

    /// The newest markers of all origins. Waits for transactions that were begun before. Creates the topic
    /// if it does not exist.
    pub fn read(&self) -> Result<BTreeMap<Origin, Marker>, ConnectorError> {
        let topic = self.settings.commit_topic.as_str();
        let cluster = Cluster::read_uncommitted(&self.settings.client, self.table, self.context)?;
        self.ensure(&cluster)?;
        let (_, end) = cluster.bounds(topic, PARTITION)?;
        let mut markers = BTreeMap::new();
        if end == 0 {
            return Ok(markers);
        }
        let (mut queue, _partition) = self.consume()?;
        let begun = Instant::now();
        let patience = self.settings.client.transaction_timeout() + READ_GRACE;
        let mut position = 0;
        let mut failure = None;
        // Messages of open transactions are not given out, nor is what follows them: the end of the
        // partition, as librdkafka tells it, is before them.
        while position < end {
            if self.context.is_cancelled() {
                return Err(ConnectorError::Cancelled);
            }
            queue.consume(POLL, |message| match message.content {
                Content::Value(value) => match serde_json::from_slice::<Marker>(value) {
                    Ok(marker) => {
                        position = position.max(message.offset + 1);
                        markers.insert(marker.origin.clone(), marker);
                    }
                    Err(error) => {
                        failure = Some(format!("the marker at offset {} is strange: {error}", message.offset))
                    }
                },
                Content::NoValue => position = position.max(message.offset + 1),
                Content::EndOfPartition => position = position.max(message.offset),
                Content::Error(code, text) => match code {
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown => {}
                    _ => failure = Some(format!("{code}: {text}")),
                },
            });
            if let Some(failure) = failure {
                return Err(self.external(format!("topic '{topic}', which notes published checkpoints: {failure}")));
            }
            if begun.elapsed() > patience {
                return Err(ConnectorError::Timeout {
                    table: self.table.to_owned(),
                    what: format!("Kafka at {} (reading topic '{topic}' to its end)", self.settings.client.servers),
                    seconds: patience.as_secs(),
                });
            }
        }
        Ok(markers)
    }

    /// A queue of the topic's messages, from the first on.
    fn consume(&self) -> Result<(BatchQueue, super::batch_queue::PartitionQueue), ConnectorError> {
        let topic = self.settings.commit_topic.as_str();
        let servers = &self.settings.client.servers;
        let mut config = self.settings.client.consumer("tidemill");
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "earliest");
        let consumer = BaseConsumer::from_config_and_context(&config, LogContext)
            .map_err(|error| refused(self.table, servers, "the client cannot be created", &error))?;
        let consumer = Arc::new(consumer);
        let none = || ConnectorError::Internal { connector: IDENTIFIER, reason: "librdkafka made no queue".to_owned() };
        let queue = BatchQueue::new(Arc::clone(&consumer), BATCH).ok_or_else(none)?;
        let partition = queue.attach(topic, PARTITION).ok_or_else(none)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, PARTITION, Offset::Beginning)
            .and_then(|()| consumer.incremental_assign(&list))
            .map_err(|error| refused(self.table, servers, &format!("reading topic '{topic}'"), &error))?;
        Ok((queue, partition))
    }

    fn external(&self, reason: String) -> ConnectorError {
        ConnectorError::External {
            table: self.table.to_owned(),
            reason: format!("Kafka at {}: {reason}", self.settings.client.servers),
            action: "check the broker and the rights of its user, or create the topic with one partition and \
                     cleanup.policy=compact"
                .to_owned(),
        }
    }
}
