//! Files in a store of objects: found by listing, read by ranges in the I/O runtime.

use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStoreExt};
use tidemill_common::stores::{self, Bucket, with_sources};
use tokio::task::JoinHandle;
use url::Url;

use super::Settings;
use super::metadata::FileMetadata;
use super::splits::{DIRECTORY_DEPTH_MAX, is_hidden};
use crate::api::{ConnectorContext, ConnectorError, FileInput};

/// Bytes of one request for what is read from its beginning on; the next is on its way meanwhile.
const READ_BYTES: u64 = 4 << 20;
/// How often a wait looks whether the job was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(100);

/// A directory in a bucket.
#[derive(Clone)]
pub(super) struct Remote {
    pub table: String,
    pub bucket: Bucket,
    /// Its URL, as the user wrote it.
    pub url: Url,
    pub directory: Key,
    pub context: ConnectorContext,
}

impl Remote {
    pub fn open(table: &str, url: &Url, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let (bucket, directory) = stores::open(url, &context.stores).map_err(|reason| ConnectorError::External {
            table: table.to_owned(),
            reason: format!("'{url}' cannot be used: {reason}"),
            action: "correct 'path', or the options and the environment of the processes".to_owned(),
        })?;
        Ok(Self { table: table.to_owned(), bucket, url: url.clone(), directory, context: context.clone() })
    }

    /// Waits for an answer of the store; each request is bounded in time.
    pub fn wait<T>(
        &self,
        doing: &str,
        key: &Key,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ConnectorError> {
        let answered = self.context.io.block_on(async {
            tokio::pin!(request);
            loop {
                tokio::select! {
                    answer = &mut request => return Some(answer),
                    () = tokio::time::sleep(CANCEL_CHECK) => {
                        if self.context.is_cancelled() {
                            return None;
                        }
                    }
                }
            }
        });
        match answered {
            None => Err(ConnectorError::Cancelled),
            Some(answer) => answer.map_err(|error| self.failed(doing, key, &error)),
        }
    }

    /// A failure of the store, for people.
    pub fn failed(&self, doing: &str, key: &Key, error: &object_store::Error) -> ConnectorError {
        ConnectorError::External {
            table: self.table.clone(),
            reason: format!("cannot {doing} '{key}' of '{}': {}", self.url, with_sources(error)),
            action: "check the path, the permissions and the store".to_owned(),
        }
    }

    /// The key of a file that was listed.
    pub fn key(&self, path: &Path) -> Result<Key, ConnectorError> {
        Key::parse(path.to_string_lossy()).map_err(|error| ConnectorError::State {
            table: self.table.clone(),
            reason: format!("'{}' is no name of an object: {error}", path.display()),
        })
    }

    /// All files of the table with their sizes, in order of their names.
    pub fn list(&self, settings: &Settings) -> Result<Vec<(PathBuf, u64)>, ConnectorError> {
        let whole = self.directory.as_ref();
        let parts: Vec<&str> = whole.split('/').collect();
        let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count();
        let prefix = if plain == parts.len() {
            self.directory.clone()
        } else {
            Key::parse(parts[..plain].join("/")).unwrap_or_default()
        };
        let pattern = if plain == parts.len() { None } else { glob::Pattern::new(whole).ok() };
        let found: Vec<ObjectMeta> =
            self.wait("list", &prefix, self.bucket.objects.list(Some(&prefix)).try_collect::<Vec<_>>())?;
        let mut files = Vec::new();
        for object in found {
            let key = object.location.as_ref();
            let is_read = match &pattern {
                Some(pattern) => pattern.matches_with(
                    key,
                    glob::MatchOptions {
                        require_literal_separator: true,
                        require_literal_leading_dot: true,
                        ..glob::MatchOptions::new()
                    },
                ),
                None => {
                    let below = key.strip_prefix(prefix.as_ref()).unwrap_or(key).trim_start_matches('/');
                    let parts: Vec<&str> = below.split('/').collect();
                    parts.len() <= DIRECTORY_DEPTH_MAX && !parts.iter().any(|part| is_hidden(part, settings))
                }
            };
            // Some tools mark directories by empty objects.
            if is_read && !key.ends_with('/') {
                files.push((PathBuf::from(key), object.size));
            }
        }
        if files.is_empty() && pattern.is_none() && !whole.is_empty() {
            let single = self.context.io.block_on(self.bucket.objects.head(&self.directory));
            match single {
                Ok(object) => files.push((PathBuf::from(object.location.as_ref()), object.size)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("read", &self.directory, &error)),
            }
        }
        files.sort();
        Ok(files)
    }

    fn head(&self, path: &Path) -> Result<ObjectMeta, ConnectorError> {
        let key = self.key(path)?;
        self.wait("read", &key, self.bucket.objects.head(&key))
    }

    /// What is told of a file.
    pub fn metadata(&self, path: &Path) -> Result<FileMetadata, ConnectorError> {
        let found = self.head(path)?;
        let name = found.location.filename().unwrap_or_default().to_owned();
        let path = format!("/{}", found.location);
        Ok(FileMetadata { path, name, size: found.size as i64, modified_ms: found.last_modified.timestamp_millis() })
    }

    /// A file to be read from anywhere.
    pub fn input(&self, path: &Path) -> Result<Arc<dyn FileInput>, ConnectorError> {
        let found = self.head(path)?;
        let mut url = self.url.clone();
        url.set_path(found.location.as_ref());
        Ok(Arc::new(RemoteInput {
            remote: self.clone(),
            key: found.location,
            name: url.to_string(),
            bytes: found.size,
        }))
    }

    /// A file to be read from a position on.
    pub fn reader(&self, path: &Path, from: u64) -> Result<Box<dyn Read + Send>, ConnectorError> {
        let found = self.head(path)?;
        let mut reader = RemoteReader {
            remote: self.clone(),
            key: found.location,
            bytes: found.size,
            position: from.min(found.size),
            read: Bytes::new(),
            coming: None,
        };
        reader.fetch();
        Ok(Box::new(reader))
    }
}

struct RemoteInput {
    remote: Remote,
    key: Key,
    name: String,
    bytes: u64,
}

impl FileInput for RemoteInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes, ConnectorError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let end = start.saturating_add(length as u64);
        let read = self.remote.wait("read", &self.key, self.remote.bucket.objects.get_range(&self.key, start..end))?;
        if read.len() == length {
            return Ok(read);
        }
        Err(ConnectorError::External {
            table: self.remote.table.clone(),
            reason: format!("'{}' ends within what is read", self.name),
            action: "put back a file that is whole, or take it away".to_owned(),
        })
    }
}

/// Reads on from a position, one request ahead.
struct RemoteReader {
    remote: Remote,
    key: Key,
    bytes: u64,
    /// Where the next request begins.
    position: u64,
    read: Bytes,
    coming: Option<JoinHandle<object_store::Result<Bytes>>>,
}

impl RemoteReader {
    fn fetch(&mut self) {
        let end = self.position.saturating_add(READ_BYTES).min(self.bytes);
        if end > self.position {
            let (objects, key, range) = (self.remote.bucket.objects.clone(), self.key.clone(), self.position..end);
            self.coming = Some(self.remote.context.io.spawn(async move { objects.get_range(&key, range).await }));
            self.position = end;
        }
    }
}

impl Read for RemoteReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.read.is_empty() {
            let Some(coming) = self.coming.take() else { return Ok(0) };
            let came = async {
                coming.await.unwrap_or_else(|error| {
                    Err(object_store::Error::Generic { store: "remote", source: Box::new(error) })
                })
            };
            self.read = self.remote.wait("read", &self.key, came).map_err(std::io::Error::other)?;
            self.fetch();
        }
        let length = out.len().min(self.read.len());
        self.read.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

impl Drop for RemoteReader {
    fn drop(&mut self) {
        if let Some(coming) = self.coming.take() {
            coming.abort();
        }
    }
}
