//! Files of keyed state and staged rows, in a checkpoint's directory.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tidemill_common::checkpoint::{Blob, StateFile};
use tidemill_common::ids::AttemptId;

use super::copies::{Copies, JobCopies};
use super::{Directory, Fetched, StorageError, StoreOptions};

/// Files up to this size travel in the acknowledgement and the metadata.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a copy that are compared at a time.
const VERIFIED_BYTES: usize = 256 * 1024;
/// Files that are fetched ahead of the one that is wanted.
const FETCHED_AHEAD: usize = 3;

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
    copies: Copies,
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
        Self { directory, io, relative, attempt: None, copies: None, bytes_written: Arc::default() }
    }

    /// Files are named after the attempt that writes them, so that those of a dead one can be told.
    #[must_use]
    pub fn of_attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Copies of files that were made on this machine are kept.
    #[must_use]
    pub fn keeping(mut self, copies: Option<Arc<JobCopies>>) -> Self {
        self.copies = copies;
        self
    }

    /// A file that was written is on this machine, too.
    pub fn keep(&self, file: &StateFile, path: &Path) {
        if let Some(copies) = &self.copies {
            copies.keep(file, path, false);
        }
    }

    /// Does work beside, that nobody waits for.
    pub fn beside(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let writer = self.clone();
        self.io.spawn_blocking(move || work(&writer));
    }

    /// Whether no work is done beside: such work has a copy of the writer.
    pub fn has_nothing_beside(&self) -> bool {
        Arc::strong_count(&self.bytes_written) == 1
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
    copies: Copies,
    /// Directories that files were read from.
    directories: Arc<Mutex<BTreeMap<String, Directory>>>,
    read: Arc<ReadCounters>,
}

#[derive(Debug, Default)]
struct ReadCounters {
    files_local: AtomicU64,
    bytes_local: AtomicU64,
    files_fetched: AtomicU64,
    bytes_fetched: AtomicU64,
}

/// What was read, and from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// From copies on this machine.
    pub files_local: u64,
    pub bytes_local: u64,
    /// From the store.
    pub files_fetched: u64,
    pub bytes_fetched: u64,
}

/// What is on its way.
type Coming<T> = tokio::task::JoinHandle<Result<T, StorageError>>;

/// A file that was asked for before it is wanted.
struct Ahead {
    number: usize,
    path: PathBuf,
    coming: Coming<Fetched>,
}

impl FileReader {
    /// Reads for the checkpoint whose `_metadata` is in `metadata`.
    pub fn new(metadata: Directory, options: StoreOptions, io: tokio::runtime::Handle) -> Self {
        let (directories, read) = (Arc::default(), Arc::default());
        Self { metadata, options, io, copies: None, directories, read }
    }

    /// Uses copies on this machine, and keeps copies of what it fetches.
    #[must_use]
    pub fn with_copies(mut self, copies: Option<Arc<JobCopies>>) -> Self {
        self.copies = copies;
        self
    }

    /// The same, with counters of its own.
    #[must_use]
    pub fn counting(&self) -> Self {
        Self { read: Arc::default(), ..self.clone() }
    }

    /// What was read so far.
    pub fn stats(&self) -> ReadStats {
        let ReadCounters { files_local, bytes_local, files_fetched, bytes_fetched } = &*self.read;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadStats {
            files_local: load(files_local),
            bytes_local: load(bytes_local),
            files_fetched: load(files_fetched),
            bytes_fetched: load(bytes_fetched),
        }
    }

    /// The content of a file, verified. Blocks.
    ///
    /// # Errors
    /// If it is missing, damaged, or the store does not answer.
    pub fn read(&self, file: &StateFile) -> Result<Bytes, StorageError> {
        match &file.inline {
            Some(blob) => {
                let content = Bytes::copy_from_slice(&blob.0);
                let checked = check(file, &content);
                checked.map_err(|reason| StorageError::Damaged { url: file.location.clone(), reason }).map(|()| content)
            }
            None => self.receive(file, self.request(file)?),
        }
    }

    /// Brings files to this machine, one after the other, and calls `each` with the path of each, which is
    /// in `directory` and `each`'s to delete. Blocks.
    ///
    /// # Errors
    /// If a file is missing or damaged, the store does not answer, or `each` fails.
    pub fn fetch<E: From<StorageError>>(
        &self,
        files: &[StateFile],
        path: impl Fn() -> PathBuf,
        mut each: impl FnMut(&StateFile, PathBuf) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ahead: VecDeque<Ahead> = VecDeque::new();
        let mut asked = 0;
        for (at, file) in files.iter().enumerate() {
            while asked < files.len() && ahead.len() <= FETCHED_AHEAD {
                let next = &files[asked];
                if next.inline.is_none() && self.copy_of(next).is_none() {
                    let path = path();
                    ahead.push_back(Ahead { number: asked, coming: self.request_to(next, &path)?, path });
                }
                asked += 1;
            }
            let (to, coming) = match ahead.pop_front_if(|ahead| ahead.number == at) {
                Some(ahead) => (ahead.path, Some(ahead.coming)),
                None => (path(), None),
            };
            self.bring(file, coming, &to)?;
            each(file, to)?;
        }
        Ok(())
    }

    /// Puts a file to a path on this machine: a link to a copy that is whole, or what comes from the store.
    fn bring(&self, file: &StateFile, coming: Option<Coming<Fetched>>, to: &Path) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::Failed {
            url: to.display().to_string(),
            doing: "written",
            reason: error.to_string(),
        };
        if file.inline.is_some() {
            std::fs::write(to, self.read(file)?).map_err(failed)?;
        } else if coming.is_some() || !self.link(file, to) {
            let coming = coming.map_or_else(|| self.request_to(file, to), Ok)?;
            let Fetched { path, bytes, checksum, .. } = self.wait(file, coming)?;
            is_right(file, bytes, checksum.finalize()).map_err(|reason| self.damaged(file, reason))?;
            self.count(file);
            path.keep().map_err(|error| failed(error.error))?;
        }
        if let Some(copies) = &self.copies {
            copies.keep(file, to, true);
        }
        Ok(())
    }

    /// Makes a link to a copy, if there is one that is what the checkpoint names.
    fn link(&self, file: &StateFile, to: &Path) -> bool {
        let Some(copy) = self.copy_of(file) else { return false };
        let verified = verify(file, &copy).and_then(|()| {
            let linked = std::fs::hard_link(&copy, to).or_else(|_| std::fs::copy(&copy, to).map(drop));
            linked.map_err(|error| error.to_string())
        });
        match verified {
            Ok(()) => {
                self.read.files_local.fetch_add(1, Ordering::Relaxed);
                self.read.bytes_local.fetch_add(file.bytes, Ordering::Relaxed);
                true
            }
            Err(reason) => {
                if let Some(copies) = &self.copies {
                    copies.spoiled(file);
                }
                let (copy, file) = (copy.display(), &file.location);
                tracing::warn!(%copy, reason, file, "a local copy cannot be used; the file is read from the store");
                false
            }
        }
    }

    fn copy_of(&self, file: &StateFile) -> Option<PathBuf> {
        self.copies.as_ref()?.find(file)
    }

    /// Asks the store for a file.
    fn request(&self, file: &StateFile) -> Result<Coming<Bytes>, StorageError> {
        let (directory, name) = self.locate(&file.location)?;
        Ok(self.io.spawn(async move { directory.get(&name).await }))
    }

    /// Asks the store to bring a file to a path.
    fn request_to(&self, file: &StateFile, to: &Path) -> Result<Coming<Fetched>, StorageError> {
        let ((directory, name), to) = (self.locate(&file.location)?, to.to_owned());
        Ok(self.io.spawn(async move { directory.fetch(&name, &to).await }))
    }

    fn wait<T>(&self, file: &StateFile, coming: Coming<T>) -> Result<T, StorageError> {
        self.io.block_on(coming).map_err(|error| StorageError::Failed {
            url: file.location.clone(),
            doing: "read",
            reason: error.to_string(),
        })?
    }

    /// What the store answers, verified.
    fn receive(&self, file: &StateFile, coming: Coming<Bytes>) -> Result<Bytes, StorageError> {
        let content = self.wait(file, coming)?;
        check(file, &content).map_err(|reason| self.damaged(file, reason))?;
        self.count(file);
        Ok(content)
    }

    fn damaged(&self, file: &StateFile, reason: String) -> StorageError {
        let located = self.locate(&file.location);
        let url = located.map_or_else(|_| file.location.clone(), |(directory, name)| directory.url_of(&name));
        StorageError::Damaged { url, reason }
    }

    fn count(&self, file: &StateFile) {
        self.read.files_fetched.fetch_add(1, Ordering::Relaxed);
        self.read.bytes_fetched.fetch_add(file.bytes, Ordering::Relaxed);
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
        // Connections are kept by directory.
        let mut known = self.directories.lock();
        let directory = match known.get(directory) {
            Some(known) => known.clone(),
            None => known.entry(directory.to_owned()).or_insert(Directory::open(directory, &self.options)?).clone(),
        };
        Ok((directory, name.to_owned()))
    }
}

/// Compares a copy with what the checkpoint says, a part at a time; the error is the reason.
fn verify(file: &StateFile, copy: &Path) -> Result<(), String> {
    let mut content = File::open(copy).map_err(|error| error.to_string())?;
    let (mut hasher, mut bytes) = (crc32fast::Hasher::new(), 0);
    let mut part = vec![0; VERIFIED_BYTES];
    loop {
        let read = content.read(&mut part).map_err(|error| error.to_string())?;
        if read == 0 {
            return is_right(file, bytes, hasher.finalize());
        }
        hasher.update(&part[..read]);
        bytes += read as u64;
    }
}

/// Compares a content with what the checkpoint says; the error is the reason.
fn check(file: &StateFile, content: &[u8]) -> Result<(), String> {
    is_right(file, content.len() as u64, checksum(content))
}

fn is_right(file: &StateFile, bytes: u64, checksum: u32) -> Result<(), String> {
    if bytes != file.bytes {
        return Err(format!("it has {bytes} bytes, the checkpoint says {}", file.bytes));
    }
    if checksum == file.checksum { Ok(()) } else { Err("its checksum is wrong".to_owned()) }
}
