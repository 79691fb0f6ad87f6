//! The connector `filesystem`: files of lines, read in splits and written as parts.

mod commit;
mod encoder;
mod local;
mod metadata;
mod part_source;
mod partition;
mod parts;
mod remote;
mod remote_parts;
mod settings;
mod sink;
mod source;
mod splits;
mod storage;

#[cfg(test)]
mod partitioned_tests;
#[cfg(test)]
mod remote_tests;
#[cfg(test)]
mod tests;

use tidemill_common::connector::{ConnectorInfo, MetadataSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use self::encoder::Encoders;
use self::local::LocalParts;
use self::part_source::PartReader;
use self::parts::PartStore;
use self::remote::Remote;
use self::remote_parts::RemoteParts;
use self::settings::{Location, OPTIONS, Settings};
use self::splits::Shape;
use self::storage::Storage;
use crate::api::{
    Connector, ConnectorContext, ConnectorError, Format, SinkWriter, SourceReader, SplitEnumerator, SubtaskContext,
};
use crate::formats;

const IDENTIFIER: &str = "filesystem";

/// The connector `filesystem`.
#[derive(Debug)]
pub struct Filesystem;

impl Connector for Filesystem {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Files of a local (or mounted) file system or of a store of objects (S3 and what speaks its \
                          protocol, Google Cloud Storage, Azure): a file, a directory or a glob is read, bounded or watched; \
                          parts are written to a directory. Tables may be PARTITIONED BY columns, whose values are \
                          then in the names of directories (`day=2024-01-01/`) and not in the files. **Guarantee** of a sink: in a job with checkpoints every \
                          row is in exactly one part. Parts are hidden files while they grow; each ends with a \
                          checkpoint at the latest and gets its name when that checkpoint is complete, so that readers \
                          see whole parts only and none twice. What a failed attempt left is removed by the next one. \
                          In a store of objects a part is an upload in pieces that goes on while rows come, and is \
                          completed when the checkpoint is complete; uploads that a dead writer left are the \
                          store's to remove (its rule for incomplete uploads). Stores are reached by the options of \
                          the process (`s3.endpoint`) and its environment, never by those of a table. \
                          Without checkpoints a part gets its name when it is finished, and a job that is started \
                          again writes again.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: true,
            partitions: true,
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
        let format = formats::of_table(table)?;
        if settings.follow && matches!(settings.location, Location::Remote(_)) {
            return Err(TableError::option("source.follow", "objects of a store do not grow; leave it out"));
        }
        if settings.follow && format.files().is_some() {
            return Err(TableError::option(
                "source.follow",
                format!("files of the format '{}' do not grow; leave it out", format.info().identifier),
            ));
        }
        format.check(&settings.file_table(table), false)
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        let settings = Settings::new(table)?;
        formats::of_table(table)?.check(&settings.file_table(table), true)
    }

    fn is_bounded(&self, table: &TableSpec) -> bool {
        Settings::new(table).is_ok_and(|settings| settings.monitor_interval.is_none())
    }

    fn sink_parallelism_max(&self, table: &TableSpec) -> Option<u32> {
        // Only who has written all rows of a partition knows that it is complete.
        Settings::new(table).ok()?.commit.map(|_| 1)
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

    fn probe_source(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = Settings::checked(table)?;
        let files = Storage::open(&settings, context)?.list(&settings)?;
        let is_directory = matches!(&settings.location, Location::Local(path) if path.is_dir());
        if files.is_empty() && settings.monitor_interval.is_none() && !is_directory {
            return Err(ConnectorError::External {
                table: table.name.clone(),
                reason: format!("there is no file '{}'", settings.location),
                action: "correct 'path', or create the file".to_owned(),
            });
        }
        Ok(())
    }

    fn probe_sink(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = Settings::checked(table)?;
        match &settings.location {
            Location::Local(path) if path.is_file() => Err(ConnectorError::External {
                table: table.name.clone(),
                reason: format!("'{}' is a file", path.display()),
                action: "name a directory in 'path'".to_owned(),
            }),
            Location::Local(path) => local::create_directory(&settings.table, path),
            // That the bucket answers is as much as can be known without writing.
            Location::Remote(_) => Storage::open(&settings, context)?.list(&settings).map(drop),
        }
    }

    fn create_enumerator(
        &self,
        source: &SourceSpec,
        _parallelism: u32,
        context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let settings = Settings::checked(&source.table)?;
        let filter = splits::PartitionFilter::of(source, &settings)?;
        let storage = Storage::open(&settings, context)?;
        let shape = Shape::of(format_of(&source.table)?);
        Ok(Box::new(splits::FileEnumerator::new(settings, storage, shape, filter)))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let format = format_of(&source.table)?;
        let settings = Settings::checked(&source.table)?;
        let table = settings.file_table(&source.table);
        let columns = source::Columns::new(source, &settings);
        let storage = Storage::open(&settings, &context.connector)?;
        if let Some(files) = format.files() {
            return Ok(Box::new(PartReader::new(settings, storage, files, table, columns, context.clone())));
        }
        let decoder = format.create_decoder(&table, columns.file_projection(), context)?;
        Ok(Box::new(source::FileReader::new(settings, storage, columns, decoder, context.metrics.clone())))
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let format = format_of(&sink.table)?;
        let settings = Settings::checked(&sink.table)?;
        let encoders = Encoders::new(format, settings.file_table(&sink.table), context.clone());
        let store: Box<dyn PartStore> = match &settings.location {
            Location::Local(path) => Box::new(LocalParts::new(&settings.table, path.clone(), context)),
            Location::Remote(url) => {
                let remote = Remote::open(&settings.table, url, &context.connector)?;
                Box::new(RemoteParts::new(remote))
            }
        };
        let shape = (sink.table.schema.len(), format.info().identifier);
        Ok(Box::new(sink::PartWriter::new(settings, encoders, store, shape, context)))
    }
}

fn format_of(table: &TableSpec) -> Result<&'static dyn Format, ConnectorError> {
    formats::of_table(table).map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })
}

/// A failure of the file system, for people.
fn io_error(table: &str, what: &str, path: &std::path::Path, error: &std::io::Error) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("cannot {what} '{}': {error}", path.display()),
        action: "check the path, its permissions and the disk".to_owned(),
    }
}
