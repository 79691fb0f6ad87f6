//! Where checkpoints are kept: a directory of any store that `object_store` reaches, by URL.
//!
//! Every write is complete and, on local disks, synced before it is reported. Credentials and
//! endpoints of remote stores come from the process's own environment and options, never from a job.

mod copies;
mod files;

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tidemill_common::faults::{Promise, is_broken};
pub use tidemill_common::stores::StoreOptions;
use tidemill_common::stores::{self, with_sources};
use url::Url;

pub use copies::{JobCopies, LocalCopies};
pub use files::{FileReader, FileWriter, ReadStats, attempt_of, checksum};

/// Bytes of an object that are in memory when it is brought to a local file.
const FETCHED_BYTES: usize = 512 * 1024;

/// A directory in a store.
#[derive(Clone)]
pub struct Directory {
    store: Arc<dyn ObjectStore>,
    url: Url,
    path: Path,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// Why a store cannot be used. Names the object; holds no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error(
        "'{url}' is not a directory checkpoints can be kept in: {reason}; write for instance file:///var/lib/tidemill or s3://bucket/path"
    )]
    Url { url: String, reason: String },
    #[error("'{url}' does not exist")]
    NotFound { url: String },
    #[error("'{url}' exists already")]
    Exists { url: String },
    #[error("'{url}' cannot be {doing}: {reason}")]
    Failed { url: String, doing: &'static str, reason: String },
    #[error(
        "the local file '{path}' cannot be {doing}: {reason}. Make room there, or have local files elsewhere (io.tmp.dirs)"
    )]
    Local { path: String, doing: &'static str, reason: String },
    #[error(
        "'{url}' is damaged: {reason}. Put back a copy that is whole, or start from another checkpoint or savepoint"
    )]
    Damaged { url: String, reason: String },
}

impl Directory {
    /// Opens a directory. A bare path is a local one. Nothing is created or read.
    ///
    /// # Errors
    /// If the URL's scheme is not known or its options are not usable.
    pub fn open(text: &str, options: &StoreOptions) -> Result<Self, StorageError> {
        let fail = |reason: String| StorageError::Url { url: text.to_owned(), reason };
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) if std::path::Path::new(text).is_absolute() => {
                Url::from_directory_path(text).map_err(|()| fail("it is not an absolute path".to_owned()))?
            }
            Err(error) => return Err(fail(error.to_string())),
        };
        let (store, path): (Arc<dyn ObjectStore>, Path) = match url.scheme() {
            "file" => {
                let store =
                    object_store::local::LocalFileSystem::new().with_fsync(!is_broken(Promise::SyncBeforeWords));
                let path = url.to_file_path().map_err(|()| fail("it is not a local path".to_owned()))?;
                (Arc::new(store), Path::from_absolute_path(path).map_err(|error| fail(error.to_string()))?)
            }
            _ => {
                let (bucket, path) = stores::open(&url, options).map_err(fail)?;
                (bucket.objects, path)
            }
        };
        Ok(Self { store, url, path })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// The URL of an object in it.
    pub fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    /// A directory in it. `name` may have several parts.
    pub fn child(&self, name: &str) -> Self {
        let mut child = self.clone();
        child.path =
            name.split('/').filter(|part| !part.is_empty()).fold(self.path.clone(), |path, part| path.join(part));
        if let Ok(url) = Url::parse(&self.url_of(name)) {
            child.url = url;
        }
        child
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.path.clone(), |path, part| path.join(part))
    }

    fn error(&self, name: &str, doing: &'static str, error: &object_store::Error) -> StorageError {
        let url = self.url_of(name);
        match error {
            object_store::Error::NotFound { .. } => StorageError::NotFound { url },
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                StorageError::Exists { url }
            }
            error => StorageError::Failed { url, doing, reason: with_sources(error) },
        }
    }

    /// Writes an object, in place of what was there.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn put(&self, name: &str, content: impl Into<PutPayload>) -> Result<(), StorageError> {
        let written = self.store.put(&self.at(name), content.into()).await;
        written.map(drop).map_err(|error| self.error(name, "written", &error))
    }

    /// Writes an object unless there is one. Of several writers one wins, the others get
    /// [`StorageError::Exists`].
    ///
    /// # Errors
    /// If there is one, or the store refuses or does not answer.
    pub async fn put_if_absent(&self, name: &str, content: impl Into<PutPayload>) -> Result<(), StorageError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let written = self.store.put_opts(&self.at(name), content.into(), options).await;
        written.map(drop).map_err(|error| self.error(name, "written", &error))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// If there is none, or the store refuses or does not answer.
    pub async fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        let read = match self.store.get(&self.at(name)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        read.map_err(|error| self.error(name, "read", &error))
    }

    /// Brings an object to a local file that is not there yet, a part at a time: it may be larger than what
    /// there is memory for. The file is deleted unless it is kept.
    ///
    /// # Errors
    /// If there is no such object, the store refuses or does not answer, or the file cannot be written.
    pub async fn fetch(&self, name: &str, to: &std::path::Path) -> Result<Fetched, StorageError> {
        let mut fetched = Fetched::create(to)?;
        let found = self.store.get(&self.at(name)).await.map_err(|error| self.error(name, "read", &error))?;
        let mut parts = match found.payload {
            GetResultPayload::Stream(parts) => parts,
            GetResultPayload::File(from, _) => return fetched.copy(from, self.url_of(name)).await,
        };
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while let Some(part) = parts.try_next().await.map_err(|error| self.error(name, "read", &error))? {
            bytes += part.len();
            waiting.push(part);
            if bytes >= FETCHED_BYTES {
                fetched = fetched.with(std::mem::take(&mut waiting)).await?;
                bytes = 0;
            }
        }
        fetched.with(waiting).await
    }

    /// Deletes an object. One that is not there counts as deleted.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn delete(&self, name: &str) -> Result<(), StorageError> {
        match self.store.delete(&self.at(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(name, "deleted", &error)),
        }
    }

    /// Removes a local directory that holds nothing any more; other stores have none. That it cannot be
    /// removed does not matter.
    pub async fn remove_if_empty(&self) {
        if self.url.scheme() == "file"
            && let Ok(path) = self.url.to_file_path()
        {
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir(path)).await;
            tracing::trace!(?removed, directory = %self.url, "removed a directory");
        }
    }

    /// The objects in it and below, as names relative to it.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub async fn list(&self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        let mut found = self.store.list(Some(&self.path));
        while let Some(object) = found.try_next().await.map_err(|error| self.error("", "listed", &error))? {
            if let Some(rest) = object.location.prefix_match(&self.path) {
                let parts: Vec<_> = rest.map(|part| part.as_ref().to_owned()).collect();
                names.push(parts.join("/"));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A local file with what came of an object.
pub struct Fetched {
    file: std::fs::File,
    path: tempfile::TempPath,
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Fetched {
    fn create(path: &std::path::Path) -> Result<Self, StorageError> {
        let file = std::fs::File::create_new(path).map_err(|error| Self::unwritten(path, error))?;
        let path = tempfile::TempPath::try_from_path(path).map_err(|error| Self::unwritten(path, error))?;
        Ok(Self { file, path, bytes: 0, checksum: crc32fast::Hasher::new() })
    }

    /// Adds what has come, on a thread that may block.
    async fn with(mut self, parts: Vec<Bytes>) -> Result<Self, StorageError> {
        let path = self.path.to_path_buf();
        let write = move || {
            parts.iter().try_for_each(|part| self.add(part))?;
            Ok(self)
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|error| Self::unwritten(&path, error))?
    }

    /// Adds a whole local file.
    async fn copy(mut self, mut from: std::fs::File, url: String) -> Result<Self, StorageError> {
        let path = self.path.to_path_buf();
        let copy = move || {
            let mut part = vec![0; FETCHED_BYTES];
            loop {
                let read = from.read(&mut part).map_err(|error| StorageError::Failed {
                    url: url.clone(),
                    doing: "read",
                    reason: error.to_string(),
                })?;
                if read == 0 {
                    return Ok(self);
                }
                self.add(&part[..read])?;
            }
        };
        let copied = tokio::task::spawn_blocking(copy).await;
        copied.map_err(|error| Self::unwritten(&path, error))?
    }

    fn add(&mut self, part: &[u8]) -> Result<(), StorageError> {
        self.checksum.update(part);
        self.bytes += part.len() as u64;
        self.file.write_all(part).map_err(|error| Self::unwritten(&self.path, error))
    }

    fn unwritten(path: &std::path::Path, reason: impl ToString) -> StorageError {
        StorageError::Local { path: path.display().to_string(), doing: "written", reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests;
