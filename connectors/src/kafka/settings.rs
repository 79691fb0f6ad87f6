//! The table's options, read and checked.

use std::time::Duration;

use regex::Regex;
use tidemill_common::config::Options;
use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;
use tidemill_common::suggest::nearest;
use tidemill_common::types::Schema;

use super::Offsets;
use super::properties::ClientSettings;
use crate::api::Format;
use crate::registry;

const COMMIT_TOPIC_DEFAULT: &str = "tidemill-commits";
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(300);

/// What a source reads.
#[derive(Clone, Debug)]
pub(super) enum Topics {
    Names(Vec<String>),
    Pattern(Regex),
}

/// A position in every partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    Earliest,
    Latest,
    Group,
    Timestamp(i64),
    Specific(Offsets),
}

#[derive(Clone, Debug)]
pub(super) struct SourceSettings {
    pub client: ClientSettings,
    pub topics: Topics,
    pub start: Positions,
    /// `None` is unbounded.
    pub stop: Option<Positions>,
    /// `None` is never.
    pub discovery: Option<Duration>,
}

impl SourceSettings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let client = ClientSettings::new(table)?;
        let topics = match (options.text("topic"), options.text("topic-pattern")) {
            (Some(_), Some(_)) => {
                return Err(TableError::option("topic-pattern", "give either 'topic' or 'topic-pattern', not both"));
            }
            (Some(names), None) => Topics::Names(topics(names)?),
            (None, Some(pattern)) => Topics::Pattern(Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
                TableError::option("topic-pattern", format!("option 'topic-pattern' is no regular expression: {error}"))
            })?),
            (None, None) => {
                return Err(TableError::table("connector 'kafka' needs the option 'topic' or 'topic-pattern'"));
            }
        };
        let single = matches!(&topics, Topics::Names(names) if names.len() == 1);
        let start_mode = options.text("scan.startup.mode").unwrap_or("group-offsets").trim().to_lowercase();
        let start = positions(&options, "startup", &start_mode, single)?;
        let stop_mode = options.text("scan.bounded.mode").unwrap_or("unbounded").trim().to_lowercase();
        let stop =
            if stop_mode == "unbounded" { None } else { Some(positions(&options, "bounded", &stop_mode, single)?) };
        for (mode, positions) in [("scan.startup.mode", Some(&start)), ("scan.bounded.mode", stop.as_ref())] {
            if positions == Some(&Positions::Group) && client.group.is_none() {
                return Err(TableError::option(
                    mode,
                    format!("'{mode}' is 'group-offsets', which needs the option 'properties.group.id'"),
                ));
            }
        }
        let interval = options.duration("scan.topic-partition-discovery.interval").unwrap_or(DISCOVERY_INTERVAL);
        let discovery = Some(interval).filter(|interval| !interval.is_zero() && stop.is_none());
        Ok(Self { client, topics, start, stop, discovery })
    }

    pub fn is_bounded(&self) -> bool {
        self.stop.is_some()
    }
}

fn topics(text: &str) -> Result<Vec<String>, TableError> {
    let names: Vec<String> =
        text.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let legal = |name: &String| {
        name.len() <= 249 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match names.iter().find(|name| !legal(name)) {
        Some(name) => Err(TableError::option("topic", format!("option 'topic': '{name}' is no name of a topic"))),
        None if names.is_empty() => Err(TableError::option("topic", "option 'topic' names no topic")),
        None => Ok(names),
    }
}

fn positions(options: &Options<'_>, which: &str, mode: &str, single_topic: bool) -> Result<Positions, TableError> {
    let mode_key = format!("scan.{which}.mode");
    Ok(match mode {
        "earliest-offset" => Positions::Earliest,
        "latest-offset" => Positions::Latest,
        "group-offsets" => Positions::Group,
        "timestamp" => {
            let key = format!("scan.{which}.timestamp-millis");
            match options.integer(&key) {
                Some(time) if time >= 0 => Positions::Timestamp(time),
                _ => return Err(TableError::option(mode_key, format!("'timestamp' needs the option '{key}'"))),
            }
        }
        "specific-offsets" => {
            let key = format!("scan.{which}.specific-offsets");
            let Some(text) = options.text(&key) else {
                return Err(TableError::option(mode_key, format!("'specific-offsets' needs the option '{key}'")));
            };
            if !single_topic {
                return Err(TableError::option(mode_key, "'specific-offsets' is for a single topic"));
            }
            Positions::Specific(specific_offsets(&key, text)?)
        }
        other => return Err(TableError::option(mode_key, format!("'{other}' is not supported"))),
    })
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific_offsets(key: &str, text: &str) -> Result<Offsets, TableError> {
    let wrong = || {
        TableError::option(
            key,
            format!("option '{key}': write '{text}' as 'partition:0,offset:42;partition:1,offset:300'"),
        )
    };
    let mut offsets = Offsets::new();
    for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
        let (partition, offset) = pair.split_once(',').ok_or_else(wrong)?;
        let partition = partition.trim().strip_prefix("partition:").and_then(|text| text.trim().parse::<i32>().ok());
        let offset = offset.trim().strip_prefix("offset:").and_then(|text| text.trim().parse::<i64>().ok());
        match (partition, offset) {
            (Some(partition), Some(offset)) if partition >= 0 && offset >= 0 => offsets.insert(partition, offset),
            _ => return Err(wrong()),
        };
    }
    if offsets.is_empty() { Err(wrong()) } else { Ok(offsets) }
}

/// Which partition a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partitioner {
    Default,
    Fixed,
    RoundRobin,
}

/// The key of written messages.
#[derive(Clone)]
pub(super) struct KeySettings {
    pub format: &'static dyn Format,
    /// Positions in the table's schema.
    pub columns: Vec<usize>,
    /// What the format sees: the key's columns, and its options without the prefix.
    pub table: TableSpec,
}

/// What a sink promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarantee {
    /// Checkpoints do not wait for the brokers.
    None,
    AtLeastOnce,
    /// Messages are published with their checkpoint.
    ExactlyOnce,
}

#[derive(Clone)]
pub(super) struct SinkSettings {
    pub client: ClientSettings,
    pub topic: String,
    pub partitioner: Partitioner,
    pub guarantee: Guarantee,
    /// Before the names of transactions.
    pub transactional_id_prefix: Option<String>,
    /// The topic of the markers of published checkpoints.
    pub commit_topic: String,
    pub key: Option<KeySettings>,
    /// Columns of the value, by position.
    pub value_columns: Vec<usize>,
    /// The table with the value's columns only.
    pub value_table: TableSpec,
}

impl SinkSettings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let client = ClientSettings::new(table)?;
        if options.text("topic-pattern").is_some() {
            return Err(TableError::option("topic-pattern", "a sink needs 'topic', not 'topic-pattern'"));
        }
        let names =
            options.text("topic").ok_or_else(|| TableError::table("connector 'kafka' needs the option 'topic'"))?;
        let mut names = topics(names)?;
        if names.len() != 1 {
            return Err(TableError::option("topic", "a sink writes to one topic only"));
        }
        let word = |key: &str| options.text(key).map(|text| text.trim().to_lowercase());
        let partitioner = match word("sink.partitioner").as_deref() {
            Some("fixed") => Partitioner::Fixed,
            Some("round-robin") => Partitioner::RoundRobin,
            _ => Partitioner::Default,
        };
        let transactional_id_prefix =
            options.text("sink.transactional-id-prefix").filter(|prefix| !prefix.is_empty()).map(str::to_owned);
        let guarantee = match word("sink.delivery-guarantee").as_deref() {
            Some("exactly-once") if transactional_id_prefix.is_none() => {
                return Err(TableError::option(
                    "sink.delivery-guarantee",
                    "'exactly-once' needs the option 'sink.transactional-id-prefix' beside it, such as the name of the job",
                ));
            }
            Some("exactly-once") => Guarantee::ExactlyOnce,
            Some("none") => Guarantee::None,
            _ => Guarantee::AtLeastOnce,
        };
        let commit_topic = options.text("sink.commit-topic").unwrap_or(COMMIT_TOPIC_DEFAULT);
        let commit_topic = match topics(commit_topic)?.as_slice() {
            [topic] if *topic != names[0] => topic.clone(),
            _ => {
                return Err(TableError::option(
                    "sink.commit-topic",
                    "'sink.commit-topic' must name one topic, and not the one that is written to",
                ));
            }
        };
        let key = key(table)?;
        let value_columns: Vec<usize> = match (word("value.fields-include").as_deref(), &key) {
            (Some("except_key"), Some(key)) => {
                (0..table.schema.len()).filter(|column| !key.columns.contains(column)).collect()
            }
            (Some("except_key"), None) => {
                return Err(TableError::option("value.fields-include", "'EXCEPT_KEY' needs 'key.fields'"));
            }
            _ => (0..table.schema.len()).collect(),
        };
        let value_table = TableSpec { schema: select(&table.schema, &value_columns), ..table.clone() };
        Ok(Self {
            client,
            topic: names.remove(0),
            partitioner,
            guarantee,
            transactional_id_prefix,
            commit_topic,
            key,
            value_columns,
            value_table,
        })
    }
}

fn key(table: &TableSpec) -> Result<Option<KeySettings>, TableError> {
    let options = Options(&table.options);
    let (name, fields) = match (options.text("key.format"), options.text("key.fields")) {
        (Some(name), Some(fields)) => (name, fields),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(TableError::option("key.format", "'key.format' needs 'key.fields' beside it")),
        (None, Some(_)) => return Err(TableError::option("key.fields", "'key.fields' needs 'key.format' beside it")),
    };
    let format = registry::format(name)
        .filter(|format| format.info().sink)
        .ok_or_else(|| TableError::option("key.format", format!("'{name}' is no format for keys; use json or raw")))?;
    let mut columns = Vec::new();
    for field in fields.split(';').map(str::trim).filter(|field| !field.is_empty()) {
        let Some(column) = table.schema.index_of(field) else {
            let names = table.schema.fields.iter().map(|field| field.name.as_str());
            let hint = nearest(field, names).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            return Err(TableError::option("key.fields", format!("there is no column '{field}'{hint}")));
        };
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(TableError::option("key.fields", "option 'key.fields' names no column"));
    }
    let prefix = format!("key.{name}.");
    let mut own = TableSpec { schema: select(&table.schema, &columns), primary_key: Vec::new(), ..table.clone() };
    // The format sees options of the key only.
    own.options.retain(|key, _| !key.starts_with(&format!("{name}.")) && !key.starts_with("value."));
    for (option, value) in &table.options {
        if let Some(rest) = option.strip_prefix(&prefix) {
            own.options.insert(format!("{name}.{rest}"), value.clone());
        }
    }
    Ok(Some(KeySettings { format, columns, table: own }))
}

fn select(schema: &Schema, columns: &[usize]) -> Schema {
    Schema::new(columns.iter().map(|column| schema.fields[*column].clone()).collect())
}
