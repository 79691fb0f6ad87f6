//! The options of a table, read.

use std::path::PathBuf;
use std::time::Duration;

use tidemill_common::config::Options;
use tidemill_common::connector::{OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::stores;
use url::Url;

use super::IDENTIFIER;
use super::commit::CommitSettings;
use super::partition::Partitioning;
use crate::api::ConnectorError;

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "path",
        kind: OptionKind::Text,
        required: true,
        default: None,
        description: "A file, a directory (read with all below it but names that begin with '.' or '_'), or a glob; of a sink the directory of its parts. A local path, or s3://, gs:// or az://.",
    },
    spec(
        "source.monitor-interval",
        OptionKind::Duration,
        None,
        "Looks for new files this often and never ends; without it the files there are at the start are read and the source ends.",
    ),
    spec(
        "source.follow",
        OptionKind::Boolean,
        Some("false"),
        "With source.monitor-interval: waits at the end of each file for lines that are appended, instead of finishing with it.",
    ),
    spec("source.split-size", OptionKind::MemorySize, Some("64 mb"), "Larger files are read in several splits."),
    spec("sink.rolling-policy.file-size", OptionKind::MemorySize, Some("128 mb"), "A part is finished at this size."),
    spec(
        "sink.rolling-policy.rollover-interval",
        OptionKind::Duration,
        Some("30 min"),
        "A part is finished at this age.",
    ),
    spec(
        "sink.rolling-policy.inactivity-interval",
        OptionKind::Duration,
        Some("30 min"),
        "A part is finished when nothing was written into it for this long.",
    ),
    spec(
        "sink.rolling-policy.check-interval",
        OptionKind::Duration,
        Some("1 min"),
        "The ages of parts are looked at no more often than this.",
    ),
    spec(
        "partition.default-name",
        OptionKind::Text,
        Some("__DEFAULT_PARTITION__"),
        "Name of a partition whose column is NULL or an empty text.",
    ),
    spec(
        "sink.partition-commit.policy.kind",
        OptionKind::Text,
        None,
        "How a partition is marked as complete: success-file puts an empty file into it. Without it partitions are not marked. metastore and custom are refused: there is no metastore, and no Java class to call.",
    ),
    spec(
        "sink.partition-commit.trigger",
        OptionKind::Enum(&["process-time", "partition-time"]),
        Some("process-time"),
        "When a partition is marked: 'sink.partition-commit.delay' after its first part was begun, or when the watermark has passed the partition's own time by the delay. At the end of a bounded input all are.",
    ),
    spec(
        "sink.partition-commit.delay",
        OptionKind::Duration,
        Some("0 s"),
        "See 'sink.partition-commit.trigger'; for partitions of a day '1 d', of an hour '1 h'.",
    ),
    spec(
        "sink.partition-commit.watermark-time-zone",
        OptionKind::Text,
        Some("UTC"),
        "Zone of the partitions' times, where the watermark is on a TIMESTAMP_LTZ.",
    ),
    spec(
        "sink.partition-commit.success-file.name",
        OptionKind::Text,
        Some("_SUCCESS"),
        "Name of the file that marks a partition.",
    ),
    spec(
        "partition.time-extractor.kind",
        OptionKind::Text,
        Some("default"),
        "default: by the pattern and formatter below. custom is refused, as it names a Java class.",
    ),
    spec(
        "partition.time-extractor.timestamp-pattern",
        OptionKind::Text,
        None,
        "The time of a partition as a text with $column for the values, such as '$day $hour:00:00'; without it the value of the first partition column.",
    ),
    spec(
        "partition.time-extractor.timestamp-formatter",
        OptionKind::Text,
        None,
        "Pattern of that text as of DATE_FORMAT; without it yyyy-MM-dd HH:mm:ss or yyyy-MM-dd.",
    ),
];

const fn spec(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

/// The options of a table, read.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub table: String,
    pub location: Location,
    pub monitor_interval: Option<Duration>,
    pub follow: bool,
    pub split_bytes: u64,
    pub part_bytes_max: u64,
    pub part_age_max: Duration,
    pub part_idle_max: Duration,
    pub check_interval: Duration,
    pub partitioning: Option<Partitioning>,
    pub commit: Option<CommitSettings>,
}

impl Settings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let path = options.text("path").ok_or_else(|| TableError::table("the option 'path' is missing"))?;
        let default_name = options.text("partition.default-name").unwrap_or("__DEFAULT_PARTITION__");
        if default_name.is_empty() || default_name.contains('/') {
            return Err(TableError::option("partition.default-name", "it is the name of a directory"));
        }
        let partitioning = Partitioning::of(table, default_name);
        partitioning.iter().try_for_each(Partitioning::check)?;
        Ok(Self {
            table: table.name.clone(),
            location: Location::new(path)?,
            monitor_interval: options.duration("source.monitor-interval").filter(|interval| !interval.is_zero()),
            follow: options.boolean("source.follow").unwrap_or(false),
            split_bytes: options.memory_size("source.split-size").unwrap_or(64 << 20).max(1),
            part_bytes_max: options.memory_size("sink.rolling-policy.file-size").unwrap_or(128 << 20).max(1),
            part_age_max: options
                .duration("sink.rolling-policy.rollover-interval")
                .unwrap_or(Duration::from_secs(30 * 60)),
            part_idle_max: options
                .duration("sink.rolling-policy.inactivity-interval")
                .unwrap_or(Duration::from_secs(30 * 60)),
            check_interval: options.duration("sink.rolling-policy.check-interval").unwrap_or(Duration::from_secs(60)),
            commit: CommitSettings::new(table, partitioning.as_ref())?,
            partitioning,
        })
    }

    /// The table as its files have it.
    pub fn file_table(&self, table: &TableSpec) -> TableSpec {
        self.partitioning.as_ref().map_or_else(|| table.clone(), |partitioning| partitioning.file_table(table))
    }

    pub fn checked(table: &TableSpec) -> Result<Self, ConnectorError> {
        Self::new(table).map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })
    }
}

/// Where the files of a table are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// On this machine, or mounted there.
    Local(PathBuf),
    /// In a store of objects.
    Remote(Url),
}

impl Location {
    /// A path of this machine, plain or with the scheme `file`, or a URL of a store.
    fn new(text: &str) -> Result<Self, TableError> {
        if let Some(rest) = text.strip_prefix("file:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(TableError::option("path", format!("'{text}' names a host; write file:///path")));
            }
            return Ok(Self::Local(PathBuf::from(path)));
        }
        match text.split_once("://") {
            Some((scheme, _)) if stores::is_remote(scheme) => {
                let url = Url::parse(text).map_err(|error| TableError::option("path", format!("'{text}': {error}")))?;
                match url.host_str() {
                    Some(_) => Ok(Self::Remote(url)),
                    None => Err(TableError::option("path", format!("'{text}' names no bucket"))),
                }
            }
            Some((scheme, _)) => Err(TableError::option(
                "path",
                format!(
                    "'{text}': the scheme '{scheme}' is not supported; use a local path, file://, s3://, gs:// or az://"
                ),
            )),
            None if text.trim().is_empty() => Err(TableError::option("path", "'path' is empty")),
            None => Ok(Self::Local(PathBuf::from(text))),
        }
    }

    /// As parts in a checkpoint name it.
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Local(path) => path.clone(),
            Self::Remote(url) => PathBuf::from(url.as_str()),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(url) => write!(f, "{url}"),
        }
    }
}
