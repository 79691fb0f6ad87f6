//! Reading, writing and deleting checkpoints. No decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME};
use tidemill_common::faults::{Place, may_die};
use tidemill_common::ids::{AttemptId, CheckpointId};
use tidemill_state::storage::{Directory, StorageError, StoreOptions, attempt_of, checksum};
use tokio::sync::mpsc;

use super::metadata::locations_of;

/// Deletions that may wait. What is beyond is left, and found by a later look at the directory.
const DELETIONS_MAX: usize = 256;
/// Files that are deleted at a time.
const DELETIONS_AT_ONCE: usize = 8;
/// How often a deletion is tried, and the pause before the second time, which doubles.
const DELETE_TRIES: u32 = 4;
const DELETE_PAUSE: Duration = Duration::from_millis(250);

/// Directory of a job's shared files, below its own.
pub const SHARED: &str = "shared";

/// Name of a checkpoint's directory, below its job's.
pub fn directory_name(checkpoint: CheckpointId) -> String {
    format!("chk-{checkpoint}")
}

/// Writes `_metadata`. That an answer of the store was lost is no error: what is there already is
/// compared.
///
/// # Errors
/// If it cannot be written, or somebody else has written another.
pub async fn write_metadata(directory: &Directory, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
    let url = directory.url_of(METADATA_NAME);
    let damaged = |reason: String| StorageError::Damaged { url: url.clone(), reason };
    let bytes = metadata.encode(checksum).map_err(|error| damaged(error.to_string()))?;
    match directory.put_if_absent(METADATA_NAME, bytes.clone()).await {
        Err(error @ StorageError::Exists { .. }) => match directory.get(METADATA_NAME).await {
            Ok(found) if found == bytes => Ok(()),
            _ => Err(error),
        },
        result => result,
    }
}

/// Reads and checks the `_metadata` of a directory.
///
/// # Errors
/// If it is missing, damaged or of a newer version.
pub async fn read_metadata(directory: &Directory) -> Result<CheckpointMetadata, StorageError> {
    let bytes = directory.get(METADATA_NAME).await?;
    CheckpointMetadata::decode(&bytes, checksum)
        .map_err(|error| StorageError::Damaged { url: directory.url_of(METADATA_NAME), reason: error.to_string() })
}

/// Checks that every file a checkpoint names is there, as far as can be seen without reading it.
///
/// # Errors
/// If one is missing, or the store does not answer.
pub async fn check_files(
    metadata: &CheckpointMetadata,
    directory: &Directory,
    options: &StoreOptions,
) -> Result<(), StorageError> {
    let mut wanted: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for location in locations_of(metadata) {
        let (parent, name) = match location.rsplit_once('/') {
            Some((parent, name)) if location.contains("://") => (Some(parent.to_owned()), name),
            _ => (None, location),
        };
        wanted.entry(parent).or_default().insert(name.to_owned());
    }
    for (parent, names) in wanted {
        let parent = match parent {
            Some(url) => Directory::open(&url, options)?,
            None => directory.clone(),
        };
        let found: BTreeSet<String> = parent.list().await?.into_iter().collect();
        if let Some(missing) = names.difference(&found).next() {
            return Err(StorageError::NotFound { url: parent.url_of(missing) });
        }
    }
    Ok(())
}

/// Writes and deletes an object, to see whether that can be done.
///
/// # Errors
/// If it cannot.
pub async fn check_writable(directory: &Directory) -> Result<(), StorageError> {
    let name = format!(".tidemill-{}", uuid::Uuid::new_v4().simple());
    directory.put(&name, Vec::new()).await?;
    directory.delete(&name).await
}

/// Something to delete.
#[derive(Debug)]
pub enum Deletion {
    /// The metadata of a checkpoint, and then files that nothing else names.
    Checkpoint { location: String, files: Vec<String> },
    /// Files that nothing names any more.
    Files(Vec<String>),
    /// What is left in a job's directory: checkpoints that are not kept, and shared files that nothing names
    /// and attempts have written that are over: those before the newest of `running`, but for the others of it.
    Leftovers { job: Directory, running: BTreeSet<AttemptId>, checkpoints_below: u64, kept: BTreeSet<String> },
    /// All of a job's directory but these.
    Job { job: Directory, kept: BTreeSet<String> },
}

/// Deletes in the background, so that no checkpoint waits for it.
pub struct Deleter {
    deletions: mpsc::Sender<Deletion>,
    worker: tokio::task::JoinHandle<()>,
}

impl Deleter {
    /// Starts it.
    pub fn start(options: StoreOptions) -> Self {
        let (sender, mut deletions) = mpsc::channel(DELETIONS_MAX);
        let worker = tokio::spawn(async move {
            while let Some(deletion) = deletions.recv().await {
                delete(deletion, &options).await;
            }
        });
        Self { deletions: sender, worker }
    }

    pub fn delete(&self, deletion: Deletion) {
        if self.deletions.try_send(deletion).is_err() {
            tracing::warn!("too many deletions wait, files of old checkpoints stay for now");
        }
    }

    /// Returns when all that was to be deleted is, or this time has passed.
    pub async fn finish(self, limit: Duration) {
        drop(self.deletions);
        if tokio::time::timeout(limit, self.worker).await.is_err() {
            tracing::warn!("files of old checkpoints stay: they were not deleted in time");
        }
    }
}

async fn delete(deletion: Deletion, options: &StoreOptions) {
    match deletion {
        Deletion::Checkpoint { location, files } => {
            let Some(directory) = opened(&location, options) else { return };
            if delete_directory(&directory).await {
                may_die(Place::WhileDeleting);
                delete_files(files, options).await;
            }
        }
        Deletion::Files(files) => delete_files(files, options).await,
        Deletion::Leftovers { job, running, checkpoints_below, kept } => {
            let Some(names) = listed(&job).await else { return };
            let checkpoint_is_old = |name: &str| {
                let id = name.strip_prefix("chk-").and_then(|rest| rest.split('/').next()?.parse::<u64>().ok());
                id.is_some_and(|id| id < checkpoints_below)
            };
            let file_is_old = |name: &str| {
                let written_by = name.strip_prefix("shared/").and_then(attempt_of);
                written_by.is_some_and(|by| Some(&by) < running.last() && !running.contains(&by))
            };
            let old: Vec<String> =
                names.into_iter().filter(|name| checkpoint_is_old(name) || file_is_old(name)).collect();
            delete_names(&job, old, &kept).await;
        }
        Deletion::Job { job, kept } => {
            let Some(names) = listed(&job).await else { return };
            delete_names(&job, names, &kept).await;
            job.child(SHARED).remove_if_empty().await;
            job.remove_if_empty().await;
        }
    }
}

/// Deletes what a job's directory holds, metadata first. `kept` are URLs of files and of directories of
/// checkpoints.
async fn delete_names(job: &Directory, names: Vec<String>, kept: &BTreeSet<String>) {
    let is_kept = |name: &str| {
        let directory = name.split('/').next().unwrap_or_default();
        kept.contains(&job.url_of(name)) || kept.contains(&job.url_of(directory))
    };
    let (metadata, others): (Vec<String>, Vec<String>) =
        names.into_iter().filter(|name| !is_kept(name)).partition(|name| name.ends_with(&format!("/{METADATA_NAME}")));
    let mut directories = BTreeSet::new();
    for name in metadata.into_iter().chain(others) {
        if let Some(directory) = name.split('/').next().filter(|directory| directory.starts_with("chk-")) {
            directories.insert(directory.to_owned());
        }
        delete_one(job, &name).await;
    }
    for directory in directories {
        job.child(&directory).remove_if_empty().await;
    }
}

/// Deletes a checkpoint's directory, its metadata first; `false` if that is still there.
async fn delete_directory(directory: &Directory) -> bool {
    if !delete_one(directory, METADATA_NAME).await {
        return false;
    }
    for name in listed(directory).await.unwrap_or_default() {
        delete_one(directory, &name).await;
    }
    directory.remove_if_empty().await;
    true
}

async fn delete_files(files: Vec<String>, options: &StoreOptions) {
    let each = futures::stream::iter(files).map(|url| async move {
        let Some((directory, name)) = url.rsplit_once('/') else { return };
        if let Some(directory) = opened(directory, options) {
            delete_one(&directory, name).await;
        }
    });
    each.buffer_unordered(DELETIONS_AT_ONCE).collect::<()>().await;
}

async fn delete_one(directory: &Directory, name: &str) -> bool {
    let mut pause = DELETE_PAUSE;
    for attempt in 1..=DELETE_TRIES {
        match directory.delete(name).await {
            Ok(()) => return true,
            Err(error) if attempt == DELETE_TRIES => {
                tracing::warn!(%error, "a file of an old checkpoint stays");
            }
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    false
}

fn opened(url: &str, options: &StoreOptions) -> Option<Directory> {
    match Directory::open(url, options) {
        Ok(directory) => Some(directory),
        Err(error) => {
            tracing::warn!(%error, "files of an old checkpoint stay");
            None
        }
    }
}

async fn listed(directory: &Directory) -> Option<Vec<String>> {
    match directory.list().await {
        Ok(names) => Some(names),
        Err(error) => {
            tracing::warn!(%error, "files of old checkpoints stay");
            None
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
