//! Files of keyed state and staged rows, in a checkpoint's directory.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidemill_common::checkpoint::{Blob, StateFile};
use tidemill_common::ids::AttemptId;

use super::{Directory, StorageError, StoreOptions};

/// Files up to this size travel in the acknowledgement and the metadata.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// CRC-32 of a content, as checkpoints keep it.
pub fn checksum(content: &[u8]) -> u32 {
    crc32fast::hash(content)
}

/// Writes the files of one subtask's part of a checkpoint. Used beside the task, on a thread that may
/// block.
#[derive(Clone, Debug)]
pub struct FileWriter {
    directory: Directory,
    io: tokio::runtime::Handle,
    relative: bool,
    attempt: Option<AttemptId>,
    bytes_written: Arc<AtomicU64>,
}

/// The attempt that wrote a file, as its name says.
pub fn attempt_of(name: &str) -> Option<AttemptId> {
    name.strip_prefix('a')?.split_once('-')?.0.parse().ok().map(AttemptId)
}

impl FileWriter {
    /// Writes into `directory`. In savepoints (`relative`) files are named by their path in it, so
    /// that it can be moved.
    pub fn new(directory: Directory, io: tokio::runtime::Handle, relative: bool) -> Self {
        Self { directory, io, relative, attempt: None, bytes_written: Arc::default() }
    }

    /// Files are named after the attempt that writes them, so that those of a dead one can be told.
    #[must_use]
    pub fn of_attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Does work beside, that nobody waits for.
    pub fn beside(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let writer = self.clone();
        self.io.spawn_blocking(move || work(&writer));
    }

    /// Bytes of all files written so far.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// Writes a file, complete and synced, under a name nobody else uses. What is small is kept
    /// inline.
    ///
    /// # Errors
    /// If the store refuses or does not answer.
    pub fn write(&self, content: Bytes, key_groups: Range<u32>, sequence: u64) -> Result<StateFile, StorageError> {
        let unique = uuid::Uuid::new_v4().simple();
        let name = self.attempt.map_or_else(|| unique.to_string(), |attempt| format!("a{attempt}-{unique}"));
        let location = if self.relative { name.clone() } else { self.directory.url_of(&name) };
        let file = StateFile {
            location,
            bytes: content.len() as u64,
            checksum: checksum(&content),
            inline: (content.len() <= INLINE_BYTES_MAX).then(|| Blob(content.to_vec())),
            key_groups,
            sequence,
        };
        self.bytes_written.fetch_add(file.bytes, Ordering::Relaxed);
        if file.inline.is_none() {
            self.io.block_on(self.directory.put(&name, content))?;
        }
        Ok(file)
    }
}

/// Reads files that a checkpoint's metadata names.
#[derive(Clone, Debug)]
pub struct FileReader {
    metadata: Directory,
    options: StoreOptions,
    io: tokio::runtime::Handle,
}

impl FileReader {
    /// Reads for the checkpoint whose `_metadata` is in `metadata`.
    pub fn new(metadata: Directory, options: StoreOptions, io: tokio::runtime::Handle) -> Self {
        Self { metadata, options, io }
    }

    /// The content of a file, verified. Blocks.
    ///
    /// # Errors
    /// If it is missing, damaged, or the store does not answer.
    pub fn read(&self, file: &StateFile) -> Result<Bytes, StorageError> {
        let (content, url) = match &file.inline {
            Some(blob) => (Bytes::copy_from_slice(&blob.0), file.location.clone()),
            None => {
                let (directory, name) = self.locate(&file.location)?;
                (self.io.block_on(directory.get(&name))?, directory.url_of(&name))
            }
        };
        if content.len() as u64 != file.bytes {
            let reason = format!("it has {} bytes, the checkpoint says {}", content.len(), file.bytes);
            return Err(StorageError::Damaged { url, reason });
        }
        if checksum(&content) != file.checksum {
            return Err(StorageError::Damaged { url, reason: "its checksum is wrong".to_owned() });
        }
        Ok(content)
    }

    fn locate(&self, location: &str) -> Result<(Directory, String), StorageError> {
        let odd = |reason: &str| StorageError::Url { url: location.to_owned(), reason: reason.to_owned() };
        if location.split('/').any(|part| part == "..") {
            return Err(odd("a part of it is '..'"));
        }
        if !location.contains("://") {
            return Ok((self.metadata.clone(), location.to_owned()));
        }
        let (directory, name) = location.rsplit_once('/').ok_or_else(|| odd("it names no object"))?;
        Ok((Directory::open(directory, &self.options)?, name.to_owned()))
    }
}
