//! Where the files of a table are: how they are found and read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::metadata::FileMetadata;
use super::remote::Remote;
use super::settings::Location;
use super::splits::list_local;
use super::{Settings, io_error};
use crate::api::{ConnectorContext, ConnectorError, FileInput};

/// Reads files of this machine, or of a store of objects.
#[expect(clippy::large_enum_variant, reason = "a reader has one")]
#[derive(Clone)]
pub(super) enum Storage {
    Local,
    Remote(Remote),
}

impl Storage {
    pub fn open(settings: &Settings, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        match &settings.location {
            Location::Local(_) => Ok(Self::Local),
            Location::Remote(url) => Remote::open(&settings.table, url, context).map(Self::Remote),
        }
    }

    /// All files of the table with their sizes, in order of their names.
    pub fn list(&self, settings: &Settings) -> Result<Vec<(PathBuf, u64)>, ConnectorError> {
        match (self, &settings.location) {
            (Self::Remote(remote), _) => remote.list(settings),
            (Self::Local, Location::Local(path)) => list_local(path, settings),
            (Self::Local, Location::Remote(_)) => Ok(Vec::new()),
        }
    }

    /// A file to be read from anywhere.
    pub fn input(&self, settings: &Settings, path: &Path) -> Result<Arc<dyn FileInput>, ConnectorError> {
        match self {
            Self::Local => {
                let fail = |error: std::io::Error| io_error(&settings.table, "read", path, &error);
                let file = File::open(path).map_err(fail)?;
                let bytes = file.metadata().map_err(fail)?.len();
                let name = path.display().to_string();
                Ok(Arc::new(LocalInput { table: settings.table.clone(), name, path: path.to_owned(), file, bytes }))
            }
            Self::Remote(remote) => remote.input(path),
        }
    }

    /// A file to be read from a position on.
    pub fn reader(&self, settings: &Settings, path: &Path, from: u64) -> Result<Box<dyn Read + Send>, ConnectorError> {
        match self {
            Self::Local => {
                let fail = |error: std::io::Error| io_error(&settings.table, "read", path, &error);
                let mut file = File::open(path).map_err(fail)?;
                file.seek(SeekFrom::Start(from)).map_err(fail)?;
                Ok(Box::new(file))
            }
            Self::Remote(remote) => remote.reader(path, from),
        }
    }

    /// What is told of a file.
    pub fn metadata(&self, settings: &Settings, path: &Path) -> Result<FileMetadata, ConnectorError> {
        match self {
            Self::Local => FileMetadata::of(path).map_err(|error| io_error(&settings.table, "read", path, &error)),
            Self::Remote(remote) => remote.metadata(path),
        }
    }
}

struct LocalInput {
    table: String,
    name: String,
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl FileInput for LocalInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes, ConnectorError> {
        // Nobody is believed about lengths: memory is for what is there.
        let there = self.bytes.saturating_sub(start).min(length as u64) as usize;
        let mut bytes = vec![0; there];
        let read = self.file.read_exact_at(&mut bytes, start);
        let read =
            read.and_then(|()| if there < length { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) });
        read.map_err(|error| io_error(&self.table, "read", &self.path, &error))?;
        Ok(bytes.into())
    }
}
