//! The connector `filesystem`: files of lines, read in splits and written as parts.

mod metadata;
mod parts;
mod sink;
mod source;
mod splits;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use tidemill_common::config::Options;
use tidemill_common::connector::{ConnectorInfo, MetadataSpec, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use crate::api::{
    Connector, ConnectorContext, ConnectorError, SinkWriter, SourceReader, SplitEnumerator, SubtaskContext,
};
use crate::formats;

const IDENTIFIER: &str = "filesystem";

/// The connector `filesystem`.
#[derive(Debug)]
pub struct Filesystem;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "path",
        kind: OptionKind::Text,
        required: true,
        default: None,
        description: "A file, a directory (read with all below it but names that begin with '.' or '_'), or a glob; of a sink the directory of its parts.",
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
    pub path: PathBuf,
    pub monitor_interval: Option<Duration>,
    pub follow: bool,
    pub split_bytes: u64,
    pub part_bytes_max: u64,
    pub part_age_max: Duration,
}

impl Settings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let path = options.text("path").ok_or_else(|| TableError::table("the option 'path' is missing"))?;
        Ok(Self {
            table: table.name.clone(),
            path: local_path(path)?,
            monitor_interval: options.duration("source.monitor-interval").filter(|interval| !interval.is_zero()),
            follow: options.boolean("source.follow").unwrap_or(false),
            split_bytes: options.memory_size("source.split-size").unwrap_or(64 << 20).max(1),
            part_bytes_max: options.memory_size("sink.rolling-policy.file-size").unwrap_or(128 << 20).max(1),
            part_age_max: options
                .duration("sink.rolling-policy.rollover-interval")
                .unwrap_or(Duration::from_secs(30 * 60)),
        })
    }

    fn checked(table: &TableSpec) -> Result<Self, ConnectorError> {
        Self::new(table).map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })
    }
}

/// A path of this machine: plain, or with the scheme `file`.
fn local_path(text: &str) -> Result<PathBuf, TableError> {
    if let Some(rest) = text.strip_prefix("file:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(TableError::option("path", format!("'{text}' names a host; write file:///path")));
        }
        return Ok(PathBuf::from(path));
    }
    match text.split_once("://") {
        Some((scheme, _)) => Err(TableError::option(
            "path",
            format!("'{text}': the scheme '{scheme}' is not supported yet; use a local path or file://"),
        )),
        None if text.trim().is_empty() => Err(TableError::option("path", "'path' is empty")),
        None => Ok(PathBuf::from(text)),
    }
}

impl Connector for Filesystem {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Files of a local (or mounted) file system: a file, a directory or a glob is read, bounded or watched; \
                          parts are written to a directory. **Guarantee** of a sink: in a job with checkpoints every \
                          row is in exactly one part. Parts are hidden files while they grow; each ends with a \
                          checkpoint at the latest and gets its name when that checkpoint is complete, so that readers \
                          see whole parts only and none twice. What a failed attempt left is removed by the next one. \
                          Without checkpoints a part gets its name when it is finished, and a job that is started \
                          again writes again.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: true,
        }
    }

    fn metadata(&self) -> &'static [MetadataSpec] {
        metadata::METADATA
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        let settings = Settings::new(table)?;
        if settings.follow && settings.monitor_interval.is_none() {
            return Err(TableError::option("source.follow", "'source.follow' needs 'source.monitor-interval'"));
        }
        formats::of_table(table)?.check(table, false)
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        Settings::new(table)?;
        formats::of_table(table)?.check(table, true)
    }

    fn is_bounded(&self, table: &TableSpec) -> bool {
        Settings::new(table).is_ok_and(|settings| settings.monitor_interval.is_none())
    }

    fn sink_changelog(&self, table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        match input {
            ChangelogMode::InsertOnly => Ok(input),
            _ => Err(TableError::table(format!(
                "files take inserts only, but the query updates rows of '{}'; write to a jdbc table with a primary key",
                table.name
            ))),
        }
    }

    fn probe_source(&self, table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = Settings::checked(table)?;
        let files = splits::list(&settings)?;
        if files.is_empty() && settings.monitor_interval.is_none() && !settings.path.is_dir() {
            return Err(ConnectorError::External {
                table: table.name.clone(),
                reason: format!("there is no file '{}'", settings.path.display()),
                action: "correct 'path', or create the file".to_owned(),
            });
        }
        Ok(())
    }

    fn probe_sink(&self, table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = Settings::checked(table)?;
        if settings.path.is_file() {
            return Err(ConnectorError::External {
                table: table.name.clone(),
                reason: format!("'{}' is a file", settings.path.display()),
                action: "name a directory in 'path'".to_owned(),
            });
        }
        sink::create_directory(&settings)
    }

    fn create_enumerator(
        &self,
        source: &SourceSpec,
        _parallelism: u32,
        _context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(splits::FileEnumerator::new(Settings::checked(&source.table)?)))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let format = formats::of_table(&source.table)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let decoder = format.create_decoder(&source.table, &source.projection, context)?;
        let settings = Settings::checked(&source.table)?;
        Ok(Box::new(source::FileReader::new(settings, source, decoder, context.metrics.clone())))
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let format = formats::of_table(&sink.table)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let encoder = format.create_encoder(&sink.table, &sink.table.schema, context)?;
        let name = sink.table.options.get("format").cloned().unwrap_or_default();
        Ok(Box::new(sink::PartWriter::new(Settings::checked(&sink.table)?, encoder, &name, context)))
    }
}

/// A failure of the file system, for people.
fn io_error(table: &str, what: &str, path: &std::path::Path, error: &std::io::Error) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("cannot {what} '{}': {error}", path.display()),
        action: "check the path, its permissions and the disk".to_owned(),
    }
}
