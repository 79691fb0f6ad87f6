//! Parts on a file system: hidden files of the table's directory, which a rename publishes.
//!
//! A hidden file's name says whose it is: job, sink, attempt, subtask. So a later attempt can remove what
//! an earlier one left and no checkpoint names, and never touches files of anybody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tidemill_common::hash::hash_bytes;

use super::io_error;
use super::parts::{PartFile, PartStore, PendingPart, PendingParts};
use crate::api::{ConnectorError, SubtaskContext};

const HIDDEN_SUFFIX: &str = ".inprogress";
/// Bytes gathered before they are handed to the file.
const WRITE_BYTES: usize = 256 * 1024;

/// Creates the directory of a table.
pub(super) fn create_directory(table: &str, path: &Path) -> Result<(), ConnectorError> {
    tidemill_common::durable::create_directory(path)
        .map_err(|error| io_error(table, "create the directory", path, &error))
}

/// The parts of one writer in a directory.
pub(super) struct LocalParts {
    table: String,
    directory: PathBuf,
    owner: Owner,
}

impl LocalParts {
    pub fn new(table: &str, directory: PathBuf, context: &SubtaskContext) -> Self {
        Self { table: table.to_owned(), directory, owner: Owner::new(context) }
    }
}

struct LocalPart {
    table: String,
    /// `None` once it is closed.
    file: Option<BufWriter<File>>,
    path: PathBuf,
    part: PendingPart,
}

impl PartStore for LocalParts {
    fn create(&mut self, name: String, partition: String) -> Result<Box<dyn PartFile>, ConnectorError> {
        create_directory(&self.table, &self.directory)?;
        let part = PendingPart { hidden: self.owner.hidden(&name), name, bytes: 0, partition, upload: None };
        let path = self.directory.join(&part.hidden);
        let file = File::create(&path).map_err(|error| io_error(&self.table, "create", &path, &error))?;
        let file = Some(BufWriter::with_capacity(WRITE_BYTES, file));
        Ok(Box::new(LocalPart { table: self.table.clone(), file, path, part }))
    }

    fn sync(&mut self) -> Result<(), ConnectorError> {
        sync_directory(&self.directory, &self.table)
    }

    fn publish(&mut self, parts: &PendingParts) -> Result<(), ConnectorError> {
        publish(parts, &self.table)
    }

    fn mark(&mut self, partition: &str, name: &str) -> Result<(), ConnectorError> {
        let directory = self.directory.join(partition);
        create_directory(&self.table, &directory)?;
        let path = directory.join(name);
        File::create(&path)
            .and_then(|file| file.sync_all())
            .map_err(|error| io_error(&self.table, "create", &path, &error))?;
        sync_directory(&directory, &self.table)
    }

    fn sweep(&mut self, kept: &[PendingParts]) {
        let kept: BTreeSet<&str> =
            kept.iter().flat_map(|epoch| &epoch.parts).map(|part| part.hidden.as_str()).collect();
        self.owner.sweep(&self.directory, &kept);
    }

    fn discard(&mut self, part: &PendingPart) {
        let _ = fs::remove_file(self.directory.join(&part.hidden));
    }
}

impl LocalPart {
    fn failed(&self, what: &str, error: &std::io::Error) -> ConnectorError {
        io_error(&self.table, what, &self.path, error)
    }
}

impl PartFile for LocalPart {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|error| self.failed("write", &error))?;
        self.part.bytes += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ConnectorError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let synced = file.flush().and_then(|()| file.get_ref().sync_data());
        synced.map_err(|error| self.failed("write", &error))
    }

    fn close(mut self: Box<Self>) -> Result<PendingPart, ConnectorError> {
        if let Some(file) = &mut self.file {
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(|error| self.failed("sync", &error))?;
        }
        self.file = None;
        Ok(self.part.clone())
    }
}

impl Drop for LocalPart {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the parts their names. Those that have them already are left as they are.
fn publish(parts: &PendingParts, table: &str) -> Result<(), ConnectorError> {
    let mut changed = BTreeSet::new();
    for part in &parts.parts {
        let directory = parts.directory.join(&part.partition);
        let (hidden, path) = (parts.directory.join(&part.hidden), directory.join(&part.name));
        match fs::metadata(&hidden) {
            Ok(found) if found.len() == part.bytes => {
                create_directory(table, &directory)?;
                fs::rename(&hidden, &path).map_err(|error| io_error(table, "rename", &hidden, &error))?;
            }
            Ok(found) => {
                return Err(ConnectorError::External {
                    table: table.to_owned(),
                    reason: format!(
                        "the pending part '{}' has {} bytes, and the checkpoint says {}",
                        hidden.display(),
                        found.len(),
                        part.bytes
                    ),
                    action: "somebody has changed it; restore the file, or start from another checkpoint".to_owned(),
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Published before; and whoever reads the parts may have taken it away since.
                if !path.exists() {
                    tracing::warn!(table, part = %path.display(), "a part of the checkpoint is not there any more");
                }
            }
            Err(error) => return Err(io_error(table, "read", &hidden, &error)),
        }
        changed.insert(directory);
    }
    changed.insert(parts.directory.clone());
    changed.iter().try_for_each(|directory| sync_directory(directory, table))
}

/// Makes new names in a directory durable.
fn sync_directory(directory: &Path, table: &str) -> Result<(), ConnectorError> {
    match File::open(directory).and_then(|file| file.sync_all()) {
        // Nothing was renamed in a directory that is not there.
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_error(table, "sync the directory", directory, &error))
        }
        _ => Ok(()),
    }
}

/// The writer of hidden files.
#[derive(Clone, Debug)]
struct Owner {
    /// Of all hidden files of the job's sink.
    prefix: String,
    attempt: u32,
    subtask: u32,
    parallelism: u32,
}

impl Owner {
    pub fn new(context: &SubtaskContext) -> Self {
        Self {
            prefix: format!(".{}-{:016x}-", context.job_id, hash_bytes(context.operator.as_bytes())),
            attempt: context.attempt.0,
            subtask: context.subtask.0,
            parallelism: context.parallelism.max(1),
        }
    }

    /// The name of a part while it is hidden.
    pub fn hidden(&self, name: &str) -> String {
        format!("{}{}-{}.{name}{HIDDEN_SUFFIX}", self.prefix, self.attempt, self.subtask)
    }

    /// Whether a file was left by an earlier attempt of this sink, in a subtask whose epochs this one
    /// publishes.
    fn is_leftover(&self, file: &str) -> bool {
        let Some(rest) = file.strip_prefix(&self.prefix).filter(|_| file.ends_with(HIDDEN_SUFFIX)) else {
            return false;
        };
        let Some((attempt, subtask)) = rest.split_once('.').and_then(|(owner, _)| owner.split_once('-')) else {
            return false;
        };
        match (attempt.parse::<u32>(), subtask.parse::<u32>()) {
            (Ok(attempt), Ok(subtask)) => attempt < self.attempt && subtask % self.parallelism == self.subtask,
            _ => false,
        }
    }

    /// Removes what earlier attempts left, but for `kept`.
    pub fn sweep(&self, directory: &Path, kept: &BTreeSet<&str>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name();
            let Some(name) = file.to_str().filter(|name| self.is_leftover(name) && !kept.contains(name)) else {
                continue;
            };
            // It is hidden: left behind it harms nobody.
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(file = name, %error, "a part of an earlier attempt cannot be removed");
            }
        }
    }
}
