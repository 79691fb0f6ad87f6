//! `properties.*`: what users of the Java client write, as librdkafka takes it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;

const PREFIX: &str = "properties.";
/// As the Java client; a message that no broker took until then fails the job.
const DELIVERY_TIMEOUT_MS: &str = "120000";
/// A transaction holds what one checkpoint publishes. Brokers take up to 15 minutes unless told otherwise.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Properties of the Java client that say how it is programmed, not what it does.
const WITHOUT_EFFECT: [&str; 12] = [
    "key.deserializer",
    "value.deserializer",
    "key.serializer",
    "value.serializer",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "max.poll.records",
    "max.poll.interval.ms",
    "interceptor.classes",
    "metric.reporters",
    "client.dns.lookup",
    "allow.auto.create.topics",
];

/// The client's properties of a table, checked.
#[derive(Clone, Debug)]
pub(super) struct ClientSettings {
    pub servers: String,
    pub group: Option<String>,
    /// `auto.offset.reset`, in Java's words.
    pub offset_reset: Option<String>,
    /// Whether the group is told of completed checkpoints.
    pub commit_offsets: bool,
    properties: BTreeMap<String, String>,
}

impl ClientSettings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let mut settings = Self {
            servers: String::new(),
            group: None,
            offset_reset: None,
            commit_offsets: true,
            properties: BTreeMap::new(),
        };
        for (key, value) in &table.options {
            let Some(property) = key.strip_prefix(PREFIX) else { continue };
            settings.take(key, property, value.trim())?;
        }
        if settings.servers.is_empty() {
            return Err(TableError::option(
                "properties.bootstrap.servers",
                "the option 'properties.bootstrap.servers' is missing or empty",
            ));
        }
        Ok(settings)
    }

    fn take(&mut self, key: &str, property: &str, value: &str) -> Result<(), TableError> {
        match property {
            "bootstrap.servers" => value.clone_into(&mut self.servers),
            "group.id" => self.group = Some(value.to_owned()).filter(|group| !group.is_empty()),
            "auto.offset.reset" => match value.to_lowercase().as_str() {
                "earliest" | "latest" | "none" => self.offset_reset = Some(value.to_lowercase()),
                _ => {
                    return Err(TableError::option(
                        key,
                        format!("option '{key}': '{value}' is not one of earliest, latest, none"),
                    ));
                }
            },
            // Of Flink's own.
            "commit.offsets.on.checkpoint" => match value.to_lowercase().as_str() {
                "true" => self.commit_offsets = true,
                "false" => self.commit_offsets = false,
                _ => {
                    return Err(TableError::option(
                        key,
                        format!("option '{key}': '{value}' is neither true nor false"),
                    ));
                }
            },
            "transactional.id" => {
                return Err(TableError::option(
                    key,
                    format!(
                        "option '{key}': write 'sink.delivery-guarantee' = 'exactly-once' and \
                             'sink.transactional-id-prefix' instead"
                    ),
                ));
            }
            "security.protocol" if !value.eq_ignore_ascii_case("PLAINTEXT") => {
                return Err(TableError::option(
                    key,
                    format!("option '{key}': '{value}' is not supported yet; only PLAINTEXT is"),
                ));
            }
            property if WITHOUT_EFFECT.contains(&property) => {}
            property if property.starts_with("sasl.") || property.starts_with("ssl.") => {
                return Err(TableError::option(
                    key,
                    format!("option '{key}' is not supported yet: connections are neither encrypted nor authenticated"),
                ));
            }
            property => {
                self.properties.insert(property.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// Finds properties that librdkafka does not know or take, without I/O.
    pub fn check(&self) -> Result<(), TableError> {
        self.base().create_native_config().map(drop).map_err(|error| match error {
            KafkaError::ClientConfig(_, description, property, value) => {
                let key = format!("{PREFIX}{property}");
                let message = format!("option '{key}' = '{value}': {}", description.trim_end_matches('.'));
                TableError::option(key, message)
            }
            other => TableError::table(format!("the properties of the Kafka client are refused: {other}")),
        })
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config.set("client.id", "tidemill");
        for (property, value) in &self.properties {
            config.set(property, value);
        }
        // Lines of the log come by the context.
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Warning);
        config
    }

    fn with_defaults(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.base();
        for (property, value) in defaults {
            if !self.properties.contains_key(*property) {
                config.set(*property, *value);
            }
        }
        config
    }

    /// A client that reads messages and asks for offsets.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.with_defaults(&[
            // One process has many readers: what each prefetches is bounded.
            ("queued.max.messages.kbytes", "16384"),
            ("queued.min.messages", "100000"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.message.max.bytes", "1048576"),
            // As the Java client; librdkafka's own default is read_committed.
            ("isolation.level", "read_uncommitted"),
            ("topic.metadata.refresh.interval.ms", "60000"),
        ]);
        config.set("group.id", self.group.as_deref().unwrap_or(group));
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config
            .set("auto.offset.reset", self.offset_reset.as_deref().filter(|reset| *reset != "none").unwrap_or("error"));
        config
    }

    /// A client that writes messages.
    pub fn producer(&self) -> ClientConfig {
        // Without acknowledgement by all replicas librdkafka refuses idempotence.
        let acknowledged = self.properties.get("acks").is_none_or(|acks| matches!(acks.as_str(), "all" | "-1"));
        let mut config = self.with_defaults(&[
            // Messages under way, of each writer.
            ("queue.buffering.max.kbytes", "32768"),
            ("queue.buffering.max.messages", "100000"),
            ("linger.ms", "5"),
            ("delivery.timeout.ms", DELIVERY_TIMEOUT_MS),
            ("batch.size", "262144"),
            // As the Java client: retries neither repeat nor reorder.
            ("enable.idempotence", if acknowledged { "true" } else { "false" }),
            // The Java client's hash of the key.
            ("partitioner", "murmur2_random"),
        ]);
        // Of a table that is read, too.
        config.remove("isolation.level");
        config
    }

    /// A client that writes messages in transactions.
    pub fn transactional(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", transactional_id);
        let timeout = self.transaction_timeout();
        config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        // librdkafka wants it so.
        if self.delivery_timeout() > timeout {
            config.remove("message.timeout.ms");
            config.set("delivery.timeout.ms", timeout.as_millis().to_string());
        }
        config
    }

    /// How long a transaction may take before the broker aborts it.
    pub fn transaction_timeout(&self) -> Duration {
        let text = self.properties.get("transaction.timeout.ms");
        text.and_then(|text| text.parse().ok()).map_or(TRANSACTION_TIMEOUT, Duration::from_millis)
    }

    /// How long a message may be under way.
    pub fn delivery_timeout(&self) -> Duration {
        let names = ["delivery.timeout.ms", "message.timeout.ms"];
        let text = names.iter().find_map(|name| self.properties.get(*name)).map_or(DELIVERY_TIMEOUT_MS, String::as_str);
        Duration::from_millis(text.parse().unwrap_or(0))
    }
}
