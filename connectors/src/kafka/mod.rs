//! `kafka`: topics as tables, with the options of Flink's connector, over librdkafka.
//!
//! The enumerator, on the job manager, lists partitions and computes where each begins and ends; a
//! split is a partition with its position. Readers fetch through one queue in batches
//! ([`batch_queue`]) and hand slabs of messages to the format. Positions live in the split, not in
//! the consumer group, which is asked for `group-offsets` and told of completed checkpoints.
//!
//! A sink writes as rows come ([`writer`]), or keeps the messages of a checkpoint in the checkpoint and
//! publishes them, once it is complete, in one transaction with a marker ([`exactly_once`]).

mod batch_queue;
mod client;
mod commits;
mod delivery;
mod enumerator;
mod exactly_once;
mod metadata;
mod properties;
mod publisher;
mod reader;
mod records;
mod settings;
mod writer;

use std::collections::BTreeMap;

use tidemill_common::connector::{ConnectorInfo, MetadataSpec, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use self::client::Cluster;
use self::commits::Commits;
use self::enumerator::KafkaEnumerator;
use self::exactly_once::ExactlyOnceWriter;
use self::reader::KafkaReader;
use self::settings::{Guarantee, SinkSettings, SourceSettings, Topics};
use self::writer::KafkaWriter;
use crate::api::{
    Connector, ConnectorContext, ConnectorError, SinkWriter, SourceReader, SplitEnumerator, SubtaskContext,
};

pub(crate) const IDENTIFIER: &str = "kafka";

/// The connector `kafka`.
pub struct Kafka;

const fn option(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

const OPTIONS: &[OptionSpec] = &[
    option(
        "topic",
        OptionKind::Text,
        None,
        "The topic; a source also reads several, separated by ';'. Either this or 'topic-pattern' is required.",
    ),
    option(
        "topic-pattern",
        OptionKind::Text,
        None,
        "For a source: a regular expression that whole names of topics match. Topics that appear later are found by \
         partition discovery.",
    ),
    OptionSpec {
        key: "properties.bootstrap.servers",
        kind: OptionKind::Text,
        required: true,
        default: None,
        description: "Addresses of brokers, `host:port`, separated by commas.",
    },
    option(
        "properties.group.id",
        OptionKind::Text,
        None,
        "Consumer group. Needed for 'group-offsets'. Positions are kept in checkpoints; when one is complete they are \
         committed to the group, too, unless 'properties.commit.offsets.on.checkpoint' is `false`.",
    ),
    option(
        "properties.*",
        OptionKind::Text,
        None,
        "Any other property of librdkafka, or of the Java client where librdkafka has the like \
         (`properties.auto.offset.reset`, `properties.isolation.level`, `properties.acks`, ..). Connections are not \
         encrypted yet: 'security.protocol' may be PLAINTEXT only.",
    ),
    option("value.format", OptionKind::Text, None, "The same as 'format'; its options begin with 'value.' then."),
    option(
        "key.format",
        OptionKind::Text,
        None,
        "For a sink: format of the message's key, `json` or `raw`. Needs 'key.fields'.",
    ),
    option("key.fields", OptionKind::Text, None, "For a sink: columns of the key, separated by ';'."),
    option(
        "value.fields-include",
        OptionKind::Enum(&["ALL", "EXCEPT_KEY"]),
        Some("ALL"),
        "For a sink: whether the columns of the key are in the value, too.",
    ),
    option(
        "scan.startup.mode",
        OptionKind::Enum(&["earliest-offset", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
        Some("group-offsets"),
        "Where to begin: at the first message kept, after the last one, at what the consumer group has committed \
         ('properties.auto.offset.reset' says what if it has not), at a time, or at given offsets. Partitions that \
         appear later are read from their beginning.",
    ),
    option(
        "scan.startup.timestamp-millis",
        OptionKind::Integer,
        None,
        "For 'timestamp': milliseconds since the epoch.",
    ),
    option(
        "scan.startup.specific-offsets",
        OptionKind::Text,
        None,
        "For 'specific-offsets': `partition:0,offset:42;partition:1,offset:300`. Other partitions begin at their \
         first message.",
    ),
    option(
        "scan.bounded.mode",
        OptionKind::Enum(&["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
        Some("unbounded"),
        "Where to end: never, at what was the last message when the job began, at the group's offsets, at a time, or \
         before given offsets.",
    ),
    option(
        "scan.bounded.timestamp-millis",
        OptionKind::Integer,
        None,
        "For 'timestamp': milliseconds since the epoch.",
    ),
    option(
        "scan.bounded.specific-offsets",
        OptionKind::Text,
        None,
        "For 'specific-offsets': `partition:0,offset:42;..`. Other partitions end at their last message.",
    ),
    option(
        "scan.topic-partition-discovery.interval",
        OptionKind::Duration,
        Some("5 min"),
        "How often to look for new partitions (and topics, with a pattern); 0 is never.",
    ),
    option(
        "sink.partitioner",
        OptionKind::Enum(&["default", "fixed", "round-robin"]),
        Some("default"),
        "`default`: by the key's hash as the Java client, without a key at random in batches. `fixed`: every subtask \
         to one partition. `round-robin`: in turn.",
    ),
    option(
        "sink.delivery-guarantee",
        OptionKind::Enum(&["at-least-once", "none", "exactly-once"]),
        Some("at-least-once"),
        "`at-least-once`: checkpoints wait until the brokers have everything. `none`: they do not. `exactly-once`: the \
         messages of a checkpoint are kept in it and published once it is complete, in one transaction; needs \
         checkpoints and 'sink.transactional-id-prefix'.",
    ),
    option(
        "sink.transactional-id-prefix",
        OptionKind::Text,
        None,
        "For `exactly-once`: what the `transactional.id`s begin with; the job's id, the sink and the subtask follow, so \
         that they never clash. Brokers with access control must allow it.",
    ),
    option(
        "sink.transaction-naming-strategy",
        OptionKind::Enum(&["incrementing", "pooling"]),
        None,
        "Accepted for scripts written for Flink; without effect.",
    ),
    option(
        "sink.commit-topic",
        OptionKind::Text,
        Some("tidemill-commits"),
        "Tidemill's own, for `exactly-once`: the topic in which it is noted, in the same transaction, which checkpoints \
         are published. It is created where it is missing, compacted, with one partition and the broker's default \
         replication, and serves all jobs of a cluster. It must never lose its newest messages: no retention.",
    ),
];

impl Connector for Kafka {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Reads and writes topics of Apache Kafka. Messages without a value are skipped. Only \
                          insert-only results can be written. A source's keys cannot be read yet. **Guarantee** of a sink: that of 'sink.delivery-guarantee'. With `exactly-once` readers \
                          need `isolation.level` = `read_committed`; they see each result once, when the checkpoint \
                          that holds it is complete, also after failures, restarts and changes of parallelism. A \
                          transaction that takes longer than 'properties.transaction.timeout.ms' (5 min) fails the job, \
                          which then publishes again; nothing is lost.",
            options: OPTIONS.to_vec(),
            prefixes: &["properties."],
            source: true,
            sink: true,
            formats: true,
            partitions: false,
        }
    }

    fn metadata(&self) -> &'static [MetadataSpec] {
        metadata::METADATA
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        let settings = SourceSettings::new(table)?;
        settings.client.check()?;
        for key in ["key.format", "key.fields"] {
            if table.options.contains_key(key) {
                return Err(TableError::option(
                    key,
                    format!("option '{key}': reading keys is not supported yet; leave it out"),
                ));
            }
        }
        let format = crate::formats::of_table(table)?;
        if !format.info().source || !format.has_records() {
            return Err(cannot(table, "be read"));
        }
        format.check(table, false)
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        let settings = SinkSettings::new(table)?;
        settings.client.check()?;
        let format = crate::formats::of_table(table)?;
        if !format.info().sink || !format.has_records() {
            return Err(cannot(table, "be written"));
        }
        format.check(&settings.value_table, true)?;
        match &settings.key {
            Some(key) => key.format.check(&key.table, true),
            None => Ok(()),
        }
    }

    fn is_bounded(&self, table: &TableSpec) -> bool {
        SourceSettings::new(table).is_ok_and(|settings| settings.is_bounded())
    }

    fn sink_changelog(&self, table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        match input {
            ChangelogMode::InsertOnly => Ok(ChangelogMode::InsertOnly),
            ChangelogMode::Upsert | ChangelogMode::Retract => Err(TableError::option(
                "connector",
                format!(
                    "table '{}' would receive updates and deletions, and 'kafka' takes insert-only results; Flink has \
                     'upsert-kafka' for that, which is not supported yet",
                    table.name
                ),
            )),
        }
    }

    fn probe_source(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = source_of(table)?;
        let cluster = Cluster::new(&settings.client, &table.name, context)?;
        match &settings.topics {
            Topics::Names(names) => names.iter().try_for_each(|topic| cluster.partitions(topic).map(drop)),
            Topics::Pattern(_) => cluster.topics().map(drop),
        }
    }

    fn probe_sink(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = sink_of(table)?;
        Cluster::new(&settings.client, &table.name, context)?.partitions(&settings.topic)?;
        match settings.guarantee {
            Guarantee::ExactlyOnce => Commits { settings: &settings, table: &table.name, context }.probe(),
            Guarantee::AtLeastOnce | Guarantee::None => Ok(()),
        }
    }

    fn create_enumerator(
        &self,
        source: &SourceSpec,
        parallelism: u32,
        context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let settings = source_of(&source.table)?;
        Ok(Box::new(KafkaEnumerator::new(settings, source.table.name.clone(), parallelism, context.clone())))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let settings = source_of(&source.table)?;
        let format = crate::formats::of_table(&source.table).map_err(internal)?;
        let decoder = format.create_decoder(&source.table, &source.projection, context)?;
        Ok(Box::new(KafkaReader::new(&settings, source, decoder, context)?))
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let settings = sink_of(&sink.table)?;
        if settings.guarantee == Guarantee::ExactlyOnce {
            return Ok(Box::new(ExactlyOnceWriter::new(settings, &sink.table, context)?));
        }
        Ok(Box::new(KafkaWriter::new(settings, &sink.table, context)?))
    }
}

fn cannot(table: &TableSpec, what: &str) -> TableError {
    let format = table.options.get("format").or_else(|| table.options.get("value.format"));
    let format = format.map_or("", String::as_str);
    TableError::option("format", format!("messages of Kafka cannot {what} with the format '{format}'"))
}

/// The table was checked when the job was planned.
fn internal(error: TableError) -> ConnectorError {
    ConnectorError::Internal { connector: IDENTIFIER, reason: error.message }
}

fn source_of(table: &TableSpec) -> Result<SourceSettings, ConnectorError> {
    SourceSettings::new(table).map_err(internal)
}

fn sink_of(table: &TableSpec) -> Result<SinkSettings, ConnectorError> {
    SinkSettings::new(table).map_err(internal)
}

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

#[cfg(test)]
mod tests;
