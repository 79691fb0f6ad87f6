//! Asking a cluster for topics, partitions and offsets, and what its errors mean.

use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tidemill_common::suggest::nearest;

use super::properties::ClientSettings;
use crate::api::{ConnectorContext, ConnectorError};

/// How long a question may take in all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one try takes, after which the job may have been cancelled.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// Topics that an error lists.
const TOPICS_SHOWN: usize = 10;

/// Sends librdkafka's log to ours.
pub(super) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", %error, reason, "client");
    }
}

impl ConsumerContext for LogContext {
    fn commit_callback(&self, result: rdkafka::error::KafkaResult<()>, _offsets: &TopicPartitionList) {
        // Nothing depends on the group's offsets.
        if let Err(error) = result {
            tracing::warn!(target: "kafka", error = words(&error), "the consumer group's offsets were not committed");
        }
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(target: "kafka", facility, "{message}"),
        _ => tracing::debug!(target: "kafka", facility, "{message}"),
    }
}

/// A connection for questions.
pub(super) struct Cluster {
    consumer: BaseConsumer<LogContext>,
    servers: String,
    table: String,
    context: ConnectorContext,
}

impl Cluster {
    pub fn new(settings: &ClientSettings, table: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        Self::connect(settings, table, context, false)
    }

    /// A connection that also sees what is in transactions.
    pub fn read_uncommitted(
        settings: &ClientSettings,
        table: &str,
        context: &ConnectorContext,
    ) -> Result<Self, ConnectorError> {
        Self::connect(settings, table, context, true)
    }

    fn connect(
        settings: &ClientSettings,
        table: &str,
        context: &ConnectorContext,
        whole: bool,
    ) -> Result<Self, ConnectorError> {
        let mut config = settings.consumer("tidemill");
        // The end of a partition is that of all messages, whoever has committed them.
        if whole {
            config.set("isolation.level", "read_uncommitted");
        }
        let consumer = BaseConsumer::from_config_and_context(&config, LogContext)
            .map_err(|error| refused(table, &settings.servers, "the client cannot be created", &error))?;
        Ok(Self { consumer, servers: settings.servers.clone(), table: table.to_owned(), context: context.clone() })
    }

    /// Asks again until there is an answer, for a bounded time.
    fn ask<T>(&self, what: &str, question: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, ConnectorError> {
        let begin = Instant::now();
        loop {
            if self.context.is_cancelled() {
                return Err(ConnectorError::Cancelled);
            }
            match question(TRY_TIMEOUT) {
                Ok(answer) => return Ok(answer),
                Err(error) if passes(&error) => {
                    if begin.elapsed() >= ANSWER_TIMEOUT {
                        return Err(ConnectorError::Timeout {
                            table: self.table.clone(),
                            what: format!("Kafka at {} ({what}; the last error was: {})", self.servers, words(&error)),
                            seconds: ANSWER_TIMEOUT.as_secs(),
                        });
                    }
                    // Some errors come at once.
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(refused(&self.table, &self.servers, what, &error)),
            }
        }
    }

    /// Names of all topics but Kafka's own.
    pub fn topics(&self) -> Result<Vec<String>, ConnectorError> {
        self.ask("listing the topics", |timeout| {
            let metadata = self.consumer.fetch_metadata(None, timeout)?;
            let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
            Ok(names.filter(|name| !name.starts_with("__")).collect())
        })
    }

    /// Partitions of a topic, which must exist.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, ConnectorError> {
        if let Some(partitions) = self.find_partitions(topic)? {
            return Ok(partitions);
        }
        let topics = self.topics().unwrap_or_default();
        let action = match nearest(topic, topics.iter().map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'?"),
            None if topics.is_empty() => "create it; there is no topic yet".to_owned(),
            None => {
                let more = if topics.len() > TOPICS_SHOWN { ", .." } else { "" };
                let shown: Vec<&str> = topics.iter().take(TOPICS_SHOWN).map(String::as_str).collect();
                format!("create it; there are {}{more}", shown.join(", "))
            }
        };
        Err(ConnectorError::External {
            table: self.table.clone(),
            reason: format!("topic '{topic}' does not exist at {}", self.servers),
            action,
        })
    }

    /// Partitions of a topic; `None` if it does not exist.
    pub fn find_partitions(&self, topic: &str) -> Result<Option<Vec<i32>>, ConnectorError> {
        let partitions = self.ask(&format!("listing the partitions of topic '{topic}'"), |timeout| {
            let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
            let Some(found) = metadata.topics().first() else { return Ok(None) };
            match found.error().map(RDKafkaErrorCode::from) {
                None => Ok(Some(found.partitions().iter().map(|partition| partition.id()).collect::<Vec<_>>())),
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
                Some(code) => Err(KafkaError::MetadataFetch(code)),
            }
        })?;
        Ok(partitions.filter(|partitions| !partitions.is_empty()))
    }

    /// The first offset kept, and the one after the last.
    pub fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), ConnectorError> {
        self.ask(&format!("asking for the offsets of topic '{topic}', partition {partition}"), |timeout| {
            self.consumer.fetch_watermarks(topic, partition, timeout)
        })
    }

    /// The first offset of a message at or after a time; `None` if there is none.
    pub fn offset_at(&self, topic: &str, partition: i32, time_ms: i64) -> Result<Option<i64>, ConnectorError> {
        let what = format!("asking for the offset of topic '{topic}', partition {partition} at {time_ms}");
        self.ask(&what, |timeout| {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition_offset(topic, partition, Offset::Offset(time_ms))?;
            let found = self.consumer.offsets_for_times(wanted, timeout)?;
            offset_of(&found, topic, partition)
        })
    }

    /// What the consumer group has committed.
    pub fn committed(&self, topic: &str, partition: i32) -> Result<Option<i64>, ConnectorError> {
        let what = format!("asking for the group's offset of topic '{topic}', partition {partition}");
        self.ask(&what, |timeout| {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(topic, partition);
            let found = self.consumer.committed_offsets(wanted, timeout)?;
            offset_of(&found, topic, partition)
        })
    }
}

fn offset_of(found: &TopicPartitionList, topic: &str, partition: i32) -> Result<Option<i64>, KafkaError> {
    let Some(element) = found.find_partition(topic, partition) else { return Ok(None) };
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    })
}

/// Whether an answer may still come.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::OperationTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::WaitingForCoordinator
                | Code::RequestTimedOut
                | Code::LeaderNotAvailable
                // Of a partition that was listed: it has no leader at the moment.
                | Code::UnknownPartition
                | Code::NotLeaderForPartition
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::NetworkException
                | Code::TimedOutQueue
        )
    )
}

/// librdkafka's words for an error, without the crate's.
pub(super) fn words(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// An error that will not pass.
pub(super) fn refused(table: &str, servers: &str, what: &str, error: &KafkaError) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("Kafka at {servers}, {what}: {}", words(error)),
        action: "check the options 'properties.*' and the broker".to_owned(),
    }
}
