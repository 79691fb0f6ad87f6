//! Files of rows on this machine, and their way to where checkpoints are kept.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Scope, ScopedJoinHandle};

use parking_lot::Mutex;
use tidemill_common::checkpoint::StateFile;

use super::memory::WriteMemory;
use super::{local_error, local_name};
use crate::storage::{FileReader, FileWriter, StorageError};

/// A path that is deleted when dropped.
pub(super) struct LocalPath(pub PathBuf);

impl LocalPath {
    /// One that nothing is at.
    pub fn new(scratch: &Path) -> Self {
        Self(scratch.join(format!("{}.sst", local_name())))
    }
}

impl Drop for LocalPath {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "a local file stays");
        }
    }
}

/// A file of rows on this machine. Deleted when dropped.
pub struct LocalFile {
    pub(super) path: LocalPath,
    pub(super) key_groups: Range<u32>,
    pub(super) rows: usize,
}

impl LocalFile {
    /// Brings files of a checkpoint to this machine, and calls `each` with one after the other.
    ///
    /// # Errors
    /// If one is missing or damaged, cannot be written here, or `each` fails.
    pub fn fetch(
        files: &[StateFile],
        reader: &FileReader,
        scratch: &Path,
        mut each: impl FnMut(Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let path = || scratch.join(format!("{}.sst", local_name()));
        reader.fetch(files, path, |file, path| {
            each(Self { path: LocalPath(path), key_groups: file.key_groups.clone(), rows: 0 })
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// The key groups of its rows.
    pub fn key_groups(&self) -> &Range<u32> {
        &self.key_groups
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes it to where checkpoints are kept, when there is memory for it.
    ///
    /// # Errors
    /// If it cannot be read, or the copy cannot be written.
    pub fn upload(&self, sequence: u64, writer: &FileWriter, memory: &WriteMemory) -> Result<StateFile, StorageError> {
        let unread = |error: std::io::Error| local_error(self.path(), "read", error);
        let bytes = std::fs::metadata(self.path()).map_err(unread)?.len();
        let _taken = memory.upload(bytes as usize);
        let content = std::fs::read(self.path()).map_err(unread)?;
        let file = writer.write(content.into(), self.key_groups.clone(), sequence)?;
        writer.keep(&file, self.path());
        Ok(file)
    }
}

/// Takes the files that are made, one after the other.
pub(super) type TakeFile<'a> = dyn FnMut(LocalFile) -> Result<(), StorageError> + 'a;

/// Writes files to where checkpoints are kept while `make` goes on making them. Gives them in the order in
/// which they were made.
pub(super) fn upload_beside(
    sequence: u64,
    writer: &FileWriter,
    memory: &WriteMemory,
    make: impl FnOnce(&mut TakeFile<'_>) -> Result<(), StorageError>,
) -> Result<Vec<StateFile>, StorageError> {
    let (queue, waiting) = mpsc::channel();
    let uploads = Uploads { sequence, writer, memory, waiting: Mutex::new(waiting), done: Mutex::new(Ok(Vec::new())) };
    std::thread::scope(|scope| {
        let mut threads = Threads { scope, uploads: &uploads, queue, started: Vec::new(), last: None, made: 0 };
        let made = make(&mut |file| threads.take(file));
        let last = threads.last.take();
        drop(threads);
        if let Err(error) = made {
            *uploads.done.lock() = Err(error);
        }
        // What is left is done here: mostly it is all there is.
        last.into_iter().for_each(|(number, file)| uploads.upload(number, &file));
        uploads.run();
    });
    let mut done = uploads.done.into_inner()?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, file)| file).collect())
}

/// A file and its number.
type Numbered = (usize, LocalFile);

/// What the threads of one writing share.
struct Uploads<'a> {
    sequence: u64,
    writer: &'a FileWriter,
    memory: &'a WriteMemory,
    waiting: Mutex<Receiver<Numbered>>,
    done: Mutex<Result<Vec<(usize, StateFile)>, StorageError>>,
}

impl Uploads<'_> {
    /// Uploads what comes, until nothing comes any more.
    fn run(&self) {
        loop {
            let next = self.waiting.lock().recv();
            let Ok((number, file)) = next else { return };
            self.upload(number, &file);
        }
    }

    fn upload(&self, number: usize, file: &LocalFile) {
        if self.done.lock().is_err() {
            return;
        }
        let uploaded = file.upload(self.sequence, self.writer, self.memory);
        let mut done = self.done.lock();
        match (&mut *done, uploaded) {
            (Ok(done), Ok(file)) => done.push((number, file)),
            (Ok(_), Err(error)) => *done = Err(error),
            (Err(_), _) => {}
        }
    }
}

/// Hands files to threads, of which there are no more than there are files to upload.
struct Threads<'scope, 'env, 'a> {
    scope: &'scope Scope<'scope, 'env>,
    uploads: &'scope Uploads<'a>,
    queue: Sender<Numbered>,
    started: Vec<ScopedJoinHandle<'scope, ()>>,
    /// The one that came last, which is kept until there is another.
    last: Option<Numbered>,
    made: usize,
}

impl Threads<'_, '_, '_> {
    fn take(&mut self, file: LocalFile) -> Result<(), StorageError> {
        if let Err(error) = &*self.uploads.done.lock() {
            return Err(error.clone());
        }
        let before = self.last.replace((self.made, file));
        self.made += 1;
        let Some(before) = before else { return Ok(()) };
        if self.started.len() < self.uploads.memory.uploads {
            let uploads = self.uploads;
            let named = std::thread::Builder::new().name("upload".to_owned());
            match named.spawn_scoped(self.scope, move || uploads.run()) {
                Ok(thread) => self.started.push(thread),
                // The files are uploaded in the end.
                Err(error) => tracing::warn!(%error, "files of state are not uploaded beside"),
            }
        }
        // Fails only if nobody receives, and the receiver is there.
        drop(self.queue.send(before));
        Ok(())
    }
}
