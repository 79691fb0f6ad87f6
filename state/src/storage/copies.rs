//! Copies of files of checkpoints on this machine, so that a restore here need not fetch them.
//!
//! In the root directory every process has a **place** of its own, which it locks while it lives. It adds
//! and deletes files in its own place only, and reads those of all: whoever takes over from a process that
//! was killed finds what that has left. A copy has the name of its file, which no other file ever has, and
//! is not trusted: whoever reads it compares it with what the checkpoint says ([`super::FileReader`]).
//!
//! Copies are kept of what the newest complete checkpoint names, and of what has come since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_common::checkpoint::StateFile;
use tidemill_common::ids::{CheckpointId, JobId, SubtaskId, SubtaskIndex, TaskId};

use super::StorageError;

const DIRECTORY: &str = "tidemill-copies";
const LOCK: &str = "lock";
/// Beside the copies of a job: whose state they are.
const SUBTASK_PREFIX: &str = "subtask-";
/// While a copy is made that cannot be a link.
const PART_SUFFIX: &str = ".part";
/// Longest name of a file or job that copies are kept of.
const NAME_MAX: usize = 128;

/// The copies on a machine, as one process sees them.
#[derive(Debug)]
pub struct LocalCopies {
    /// With the places of all processes of a cluster.
    root: PathBuf,
    id: String,
    /// Of this process, once it has copies.
    place: Mutex<Option<Place>>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Held for as long as the process lives.
    _lock: File,
}

impl LocalCopies {
    /// In `directory`, for the cluster of this name. Nothing is created yet.
    pub fn new(directory: &Path, cluster: &str) -> Self {
        let cluster: String = cluster.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let root = directory.join(DIRECTORY).join(cluster);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let id = format!("{}:{}", host.trim(), directory.display());
        Self { root, id, place: Mutex::new(None) }
    }

    /// The same for all processes that find each other's copies, also after a restart.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The jobs and subtasks of which there are copies that are nobody else's.
    pub fn jobs(&self) -> BTreeMap<JobId, BTreeSet<SubtaskId>> {
        let mut jobs: BTreeMap<JobId, BTreeSet<SubtaskId>> = BTreeMap::new();
        for (_, directory) in self.abandoned().chain(self.own()).flat_map(|place| names(&place)) {
            let Some(job) = name_of(&directory).filter(|_| directory.is_dir()) else { continue };
            let subtasks = names(&directory).into_iter().filter_map(|(name, _)| subtask_of(&name));
            jobs.entry(JobId(job.to_owned())).or_default().extend(subtasks);
        }
        jobs
    }

    /// The copies of a job, for one attempt of it.
    ///
    /// # Errors
    /// If this process can have no place in the root directory.
    pub fn of_job(&self, job: &JobId) -> Result<JobCopies, StorageError> {
        let failed = |error: std::io::Error| StorageError::Failed {
            url: self.root.display().to_string(),
            doing: "written",
            reason: error.to_string(),
        };
        if name_of(Path::new(&job.0)) != Some(&job.0) {
            return Err(failed(std::io::Error::other(format!("'{job}' is not the name of a directory"))));
        }
        let mut place = self.place.lock();
        let path = match &*place {
            Some(place) => place.path.clone(),
            None => {
                self.abandoned().for_each(|abandoned| remove_if_empty(&abandoned));
                place.insert(Place::take(&self.root).map_err(failed)?).path.clone()
            }
        };
        Ok(JobCopies { root: self.root.clone(), own: path.join(&job.0), job: job.0.clone(), kept: Mutex::default() })
    }

    /// Deletes the copies of a job, but those of other processes.
    pub fn forget(&self, job: &JobId) {
        if name_of(Path::new(&job.0)) != Some(&job.0) {
            return;
        }
        for place in self.abandoned() {
            remove(&place.join(&job.0));
            remove_if_empty(&place);
        }
        self.own().for_each(|place| remove(&place.join(&job.0)));
    }

    fn own(&self) -> impl Iterator<Item = PathBuf> {
        self.place.lock().as_ref().map(|place| place.path.clone()).into_iter()
    }

    fn abandoned(&self) -> impl Iterator<Item = PathBuf> {
        abandoned(&self.root)
    }
}

impl Drop for LocalCopies {
    fn drop(&mut self) {
        if let Some(place) = self.place.get_mut().take() {
            remove_if_empty(&place.path);
            // With what is in them gone, if that is all.
            let emptied =
                std::fs::remove_dir(&self.root).and_then(|()| self.root.parent().map_or(Ok(()), std::fs::remove_dir));
            tracing::trace!(?emptied, "removed the directories of local copies");
        }
    }
}

impl Place {
    fn take(root: &Path) -> std::io::Result<Self> {
        loop {
            let path = root.join(uuid::Uuid::new_v4().simple().to_string());
            std::fs::create_dir_all(&path)?;
            let lock = File::create(path.join(LOCK))?;
            lock.lock()?;
            // Before it was locked it looked abandoned, and may have been removed.
            if path.join(LOCK).exists() {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

/// Places of processes that are gone.
fn abandoned(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let is_abandoned = |place: &PathBuf| match File::open(place.join(LOCK)) {
        // Let go of again at once.
        Ok(lock) => lock.try_lock_shared().is_ok(),
        Err(_) => false,
    };
    names(root).into_iter().map(|(_, place)| place).filter(is_abandoned)
}

/// What is in a directory; nothing if there is none.
fn names(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

/// The last part of a path, if it is one that copies and jobs have.
fn name_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (name.len() <= NAME_MAX && !name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn subtask_of(name: &str) -> Option<SubtaskId> {
    let (task, index) = name.strip_prefix(SUBTASK_PREFIX)?.split_once('-')?;
    Some(SubtaskId { task: TaskId(task.parse().ok()?), index: SubtaskIndex(index.parse().ok()?) })
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a local copy stays");
    }
}

/// Removes a place that has nothing but its lock.
fn remove_if_empty(place: &Path) {
    if names(place).iter().all(|(name, _)| name == LOCK) {
        remove(place);
    }
}

/// The copies of one job's files, for one attempt in one process.
#[derive(Debug)]
pub struct JobCopies {
    root: PathBuf,
    /// In the place of this process.
    own: PathBuf,
    job: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What the newest complete checkpoint names, and later ones.
    named: BTreeMap<CheckpointId, BTreeSet<String>>,
    /// The checkpoint that the attempt starts from.
    restored: Option<CheckpointId>,
    /// Where copies are of what it names.
    found: BTreeMap<String, PathBuf>,
    /// A later attempt has taken over, or what others have left has been deleted.
    closed: bool,
    swept: bool,
}

impl JobCopies {
    /// An attempt begins, with these subtasks here, from a checkpoint that names these files (none if it
    /// begins anew). Copies of them may be used (`read`); those of anything else are deleted.
    pub fn begin(&self, checkpoint: CheckpointId, files: &[&StateFile], subtasks: &[SubtaskId], read: bool) {
        let wanted: BTreeSet<&str> = files.iter().filter_map(|file| name_of(Path::new(&file.location))).collect();
        let made = std::fs::create_dir_all(&self.own);
        let marks: BTreeSet<String> =
            subtasks.iter().map(|id| format!("{SUBTASK_PREFIX}{}-{}", id.task, id.index)).collect();
        for (name, path) in names(&self.own) {
            if !wanted.contains(name.as_str()) && !marks.contains(&name) {
                remove(&path);
            }
        }
        let marked = made.and_then(|()| marks.iter().try_for_each(|mark| File::create(self.own.join(mark)).map(drop)));
        if let Err(error) = marked {
            tracing::warn!(path = %self.own.display(), %error, "no local copies can be kept");
        }
        let mut found = BTreeMap::new();
        let others = names(&self.root).into_iter().map(|(_, place)| place.join(&self.job));
        for (name, path) in others.chain([self.own.clone()]).flat_map(|directory| names(&directory)) {
            if wanted.contains(name.as_str()) {
                found.insert(name, path);
            }
        }
        let own = found.iter().filter(|(_, path)| path.starts_with(&self.own)).map(|(name, _)| name.clone()).collect();
        let mut kept = self.kept.lock();
        kept.named = BTreeMap::from([(checkpoint, own)]);
        kept.restored = Some(checkpoint);
        kept.found = if read { found } else { BTreeMap::new() };
    }

    /// Nothing of the attempt counts any more.
    pub fn close(&self) {
        self.kept.lock().closed = true;
    }

    /// Where a copy of a file that the attempt starts from may be.
    pub(super) fn find(&self, file: &StateFile) -> Option<PathBuf> {
        self.kept.lock().found.get(name_of(Path::new(&file.location))?).cloned()
    }

    /// The copy of a file is not what it should be.
    pub(super) fn spoiled(&self, file: &StateFile) {
        if let Some(name) = name_of(Path::new(&file.location)) {
            self.kept.lock().found.remove(name);
            remove(&self.own.join(name));
        }
    }

    /// Keeps a file that was written here, or fetched for the restore.
    pub(super) fn keep(&self, file: &StateFile, path: &Path, is_restored: bool) {
        let Some(name) = name_of(Path::new(&file.location)).filter(|_| file.inline.is_none()) else { return };
        {
            let mut kept = self.kept.lock();
            if kept.closed {
                return;
            }
            if is_restored
                && let Some(restored) = kept.restored
                && let Some(named) = kept.named.get_mut(&restored)
            {
                named.insert(name.to_owned());
            }
        }
        if let Err(error) = copy(path, &self.own.join(name)) {
            tracing::warn!(path = %self.own.display(), %error, "a local copy cannot be kept");
        }
    }

    /// A subtask's part of a checkpoint names these files.
    pub fn record<'a>(&self, checkpoint: CheckpointId, files: impl Iterator<Item = &'a StateFile>) {
        let named = files.filter(|file| file.inline.is_none());
        let named = named.filter_map(|file| Some(name_of(Path::new(&file.location))?.to_owned()));
        self.kept.lock().named.entry(checkpoint).or_default().extend(named);
    }

    /// A checkpoint is complete, and takes the place of older ones. Deletes files.
    pub fn complete(&self, checkpoint: CheckpointId) {
        let (older, swept) = {
            let mut kept = self.kept.lock();
            if kept.closed || !kept.named.contains_key(&checkpoint) {
                return;
            }
            let newer = kept.named.split_off(&checkpoint);
            let older = std::mem::replace(&mut kept.named, newer);
            let named: BTreeSet<&String> = kept.named.values().flatten().collect();
            let older: BTreeSet<String> = older.into_values().flatten().filter(|name| !named.contains(name)).collect();
            kept.found.clear();
            (older, std::mem::replace(&mut kept.swept, true))
        };
        older.iter().for_each(|name| remove(&self.own.join(name)));
        if !swept {
            // All subtasks have started: what dead processes have left of the job is of no use now.
            for place in abandoned(&self.root) {
                remove(&place.join(&self.job));
                remove_if_empty(&place);
            }
        }
    }
}

/// Makes a link, or a copy where there can be none. One that is there already has the same content.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let linked = match std::fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let mut part = to.as_os_str().to_owned();
            part.push(PART_SUFFIX);
            std::fs::copy(from, &part).and_then(|_| std::fs::rename(&part, to))
        }
        linked => linked,
    };
    linked.or_else(|error| if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

/// Shared by those who write and those who read.
pub(super) type Copies = Option<Arc<JobCopies>>;

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;
