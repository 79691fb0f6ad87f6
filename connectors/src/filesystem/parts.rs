//! Parts that wait for their checkpoint: hidden files that are complete and synced, and are published by
//! a rename.
//!
//! A hidden file's name says whose it is: job, sink, attempt, subtask. So a later attempt can remove what
//! an earlier one left and no checkpoint names, and never touches files of anybody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_common::hash::hash_bytes;

use super::io_error;
use crate::api::{ConnectorError, SubtaskContext};

/// Version of [`PendingParts`]. What is newer is refused.
const VERSION: u32 = 1;
const HIDDEN_SUFFIX: &str = ".inprogress";

/// A closed and synced part without its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingPart {
    /// File name while it is hidden.
    pub hidden: String,
    /// File name once it is published.
    pub name: String,
    pub bytes: u64,
}

/// The parts of an epoch, as a checkpoint keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingParts {
    version: u32,
    directory: PathBuf,
    pub parts: Vec<PendingPart>,
}

impl PendingParts {
    pub fn new(directory: &Path, parts: Vec<PendingPart>) -> Self {
        Self { version: VERSION, directory: directory.to_owned(), parts }
    }

    pub fn encode(&self, table: &str) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(self)
            .map_err(|error| ConnectorError::State { table: table.to_owned(), reason: error.to_string() })
    }

    /// Reads what [`PendingParts::encode`] wrote.
    pub fn decode(bytes: &[u8], table: &str) -> Result<Self, ConnectorError> {
        let state = |reason: String| ConnectorError::State { table: table.to_owned(), reason };
        let parts: Self = serde_json::from_slice(bytes).map_err(|error| state(error.to_string()))?;
        if parts.version > VERSION {
            return Err(state(format!("its parts have version {}, this binary reads up to {VERSION}", parts.version)));
        }
        // A checkpoint names files of one directory, hidden ones to be shown; nothing else is renamed.
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']);
        let fine = |part: &PendingPart| {
            plain(&part.hidden) && plain(&part.name) && part.hidden.starts_with('.') && !part.name.starts_with('.')
        };
        match parts.parts.iter().find(|part| !fine(part)) {
            Some(part) => Err(state(format!("'{}' is no name of a pending part", part.hidden))),
            None => Ok(parts),
        }
    }

    /// Gives the parts their names. Those that have them already are left as they are.
    pub fn publish(&self, table: &str) -> Result<(), ConnectorError> {
        for part in &self.parts {
            let (hidden, path) = (self.directory.join(&part.hidden), self.directory.join(&part.name));
            match fs::metadata(&hidden) {
                Ok(found) if found.len() == part.bytes => {
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
                        action: "somebody has changed it; restore the file, or start from another checkpoint"
                            .to_owned(),
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
        }
        sync_directory(&self.directory, table)
    }
}

/// Makes new names in a directory durable.
pub(super) fn sync_directory(directory: &Path, table: &str) -> Result<(), ConnectorError> {
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
pub(super) struct Owner {
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
    pub fn sweep(&self, directory: &Path, kept: &BTreeSet<String>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name();
            let Some(name) = file.to_str().filter(|name| self.is_leftover(name) && !kept.contains(*name)) else {
                continue;
            };
            // It is hidden: left behind it harms nobody.
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(file = name, %error, "a part of an earlier attempt cannot be removed");
            }
        }
    }
}
