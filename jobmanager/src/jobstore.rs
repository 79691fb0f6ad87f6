//! What of its jobs a job manager finds again after a crash: a directory with a record of each job that
//! has not ended. A record is replaced as a whole, and is on disk before anybody is told so.
//!
//! ```text
//! <directory>/lock                    held while a job manager uses it
//! <directory>/jobs/<job>/plan-<n>     the plan, written once
//! <directory>/jobs/<job>/record       attempt, ids, newest checkpoints, the name of the plan
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use serde::{Deserialize, Serialize};
use tidemill_common::checkpoint::CheckpointKind;
use tidemill_common::durable::create_directory;
use tidemill_common::ids::{CheckpointId, JobId, LeaderEpoch, TaskManagerId};
use tidemill_state::storage::checksum;

/// Version of [`JobRecord`]. A reader refuses what is newer.
const RECORD_VERSION: u32 = 1;
/// Writes that may wait.
const WRITES_MAX: usize = 16_384;
const RECORD: &str = "record";

/// What is kept of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub version: u32,
    pub job: JobId,
    pub submitted_ms: i64,
    /// No attempt from this one on was ever deployed.
    pub attempts_end: u32,
    /// No checkpoint id from this one on was ever used.
    pub ids_end: u64,
    pub next_state_id: u32,
    /// How many times the plan was replaced.
    pub plan: u32,
    /// The checkpoint or savepoint the job was submitted with.
    pub restored: Option<String>,
    /// Complete checkpoints, oldest first.
    pub retained: Vec<RetainedRecord>,
    /// Where the present attempt runs.
    pub task_managers: BTreeSet<TaskManagerId>,
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedRecord {
    pub checkpoint: CheckpointId,
    pub location: String,
    pub kind: CheckpointKind,
}

/// A job that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredJob {
    pub record: JobRecord,
    /// The plan as JSON.
    pub plan: Vec<u8>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobStoreError {
    #[error("the job manager's data directory {} cannot be used (jobmanager.data.dir): {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "the job manager's data directory {} is used by another job manager; stop that one, or name another directory (jobmanager.data.dir)", path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "{} cannot be used: {reason}. Its job cannot be recovered; move the directory {} away to start without it", path.display(), path.parent().unwrap_or(path).display()
    )]
    Damaged { path: PathBuf, reason: String },
}

type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

enum Write {
    Put { record: Box<JobRecord>, plan: Option<Vec<u8>>, done: Done },
    Remove { job: JobId },
}

/// A store and what was in it.
pub struct Opened {
    pub store: JobStore,
    /// In order of submission.
    pub jobs: Vec<StoredJob>,
    /// Higher than that of any job manager that has used the directory.
    pub epoch: LeaderEpoch,
}

/// The store. Writes happen in order, on a thread of its own.
pub struct JobStore {
    writes: mpsc::SyncSender<Write>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl JobStore {
    /// Opens a directory, makes it if need be, and reads the jobs in it. `epoch` is what the job manager's
    /// would be by the clock. Blocks.
    ///
    /// # Errors
    /// If it cannot be used, or holds a job that cannot be read.
    pub fn open(directory: &Path, epoch: LeaderEpoch) -> Result<Opened, JobStoreError> {
        let jobs = directory.join("jobs");
        let io = |source| JobStoreError::Io { path: directory.to_owned(), source };
        create_directory(&jobs).map_err(io)?;
        let lock = File::create(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(JobStoreError::InUse { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let epoch = raise_epoch(&directory.join("epoch"), epoch)?;
        let mut stored = Vec::new();
        for entry in fs::read_dir(&jobs).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.is_dir() {
                stored.extend(read_job(&path)?);
            }
        }
        stored.sort_by_key(|job| job.record.submitted_ms);
        let (writes, inbox) = mpsc::sync_channel::<Write>(WRITES_MAX);
        let work = move || {
            // Held as long as the thread works.
            let _lock = lock;
            while let Ok(write) = inbox.recv() {
                match write {
                    Write::Put { record, plan, done } => {
                        done(put(&jobs, &record, plan).map_err(|error| error.to_string()))
                    }
                    Write::Remove { job } => {
                        if let Err(error) = remove(&jobs.join(&job.0)) {
                            tracing::warn!(%job, %error, "the record of an ended job stays");
                        }
                    }
                }
            }
        };
        let worker = std::thread::Builder::new().name("job-store".to_owned()).spawn(work).map_err(io)?;
        Ok(Opened { store: Self { writes, worker: Some(worker) }, jobs: stored, epoch })
    }

    /// Keeps a record, with the plan if it is new; `done` is called once both are on disk.
    pub fn put(
        &self,
        record: JobRecord,
        plan: Option<Vec<u8>>,
        done: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        let write = Write::Put { record: Box::new(record), plan, done: Box::new(done) };
        if let Err(mpsc::TrySendError::Full(write) | mpsc::TrySendError::Disconnected(write)) =
            self.writes.try_send(write)
            && let Write::Put { done, .. } = write
        {
            done(Err("the disk of jobmanager.data.dir does not keep up".to_owned()));
        }
    }

    /// Forgets a job that has ended.
    pub fn remove(&self, job: JobId) {
        if self.writes.try_send(Write::Remove { job }).is_err() {
            tracing::error!("the disk of jobmanager.data.dir does not keep up: a job that has ended stays in it");
        }
    }

    /// Returns when all is written. Blocks.
    pub fn close(mut self) {
        let Self { writes, worker } = &mut self;
        let (closed, _) = mpsc::sync_channel(0);
        drop(std::mem::replace(writes, closed));
        if let Some(worker) = worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the thread of the job store has panicked");
        }
    }
}

/// The epoch rises though the clock may not.
fn raise_epoch(path: &Path, epoch: LeaderEpoch) -> Result<LeaderEpoch, JobStoreError> {
    let last = match read(path)? {
        Some(content) => String::from_utf8(content).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0),
        None => 0,
    };
    let epoch = LeaderEpoch(epoch.0.max(last + 1));
    replace(path, epoch.to_string().as_bytes())
        .map_err(|source| JobStoreError::Io { path: path.to_owned(), source })?;
    Ok(epoch)
}

fn plan_name(number: u32) -> String {
    format!("plan-{number}")
}

/// `None` for a directory in which a job was being made or removed when the job manager died.
fn read_job(path: &Path) -> Result<Option<StoredJob>, JobStoreError> {
    let file = path.join(RECORD);
    let Some(content) = read(&file)? else {
        if let Err(error) = remove(path) {
            tracing::warn!(path = %path.display(), %error, "the rest of a job stays");
        }
        return Ok(None);
    };
    let damaged = |path: &Path, reason: String| JobStoreError::Damaged { path: path.to_owned(), reason };
    let record: JobRecord = serde_json::from_slice(&content).map_err(|error| damaged(&file, error.to_string()))?;
    if record.version > RECORD_VERSION {
        let reason = format!("it has version {}, this binary reads up to {RECORD_VERSION}", record.version);
        return Err(damaged(&file, reason));
    }
    let file = path.join(plan_name(record.plan));
    let plan = read(&file)?.ok_or_else(|| damaged(&file, "it does not exist".to_owned()))?;
    Ok(Some(StoredJob { record, plan }))
}

/// The content behind a line with its checksum.
fn read(path: &Path) -> Result<Option<Vec<u8>>, JobStoreError> {
    let damaged = |reason: &str| JobStoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(JobStoreError::Io { path: path.to_owned(), source }),
    };
    let (head, rest) = content.split_at_checked(9).ok_or_else(|| damaged("it is too short"))?;
    let sum = std::str::from_utf8(&head[..8]).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
    if sum != Some(checksum(rest)) || head[8] != b'\n' {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(Some(rest.to_vec()))
}

/// Replaces a file as a whole: after a crash it is the old one or the new one.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(format!("{:08x}\n", checksum(content)).as_bytes())?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn put(jobs: &Path, record: &JobRecord, plan: Option<Vec<u8>>) -> std::io::Result<()> {
    let directory = jobs.join(&record.job.0);
    create_directory(&directory)?;
    let new_plan = plan.is_some();
    if let Some(plan) = plan {
        replace(&directory.join(plan_name(record.plan)), &plan)?;
    }
    replace(&directory.join(RECORD), &serde_json::to_vec(record)?)?;
    if new_plan {
        for older in 0..record.plan {
            let _ = fs::remove_file(directory.join(plan_name(older)));
        }
    }
    Ok(())
}

/// The record goes first: without it there is no job.
fn remove(directory: &Path) -> std::io::Result<()> {
    match fs::remove_file(directory.join(RECORD)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl JobRecord {
    /// The record of a job that has just been submitted.
    pub fn new(job: JobId, submitted_ms: i64) -> Self {
        Self {
            version: RECORD_VERSION,
            job,
            submitted_ms,
            attempts_end: 1,
            ids_end: 1,
            next_state_id: 1,
            plan: 0,
            restored: None,
            retained: Vec::new(),
            task_managers: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(job: &str) -> JobRecord {
        JobRecord { ids_end: 7, ..JobRecord::new(JobId::from(job), 5) }
    }

    fn open(directory: &Path) -> Result<(JobStore, Vec<StoredJob>), JobStoreError> {
        JobStore::open(directory, LeaderEpoch(3)).map(|opened| (opened.store, opened.jobs))
    }

    fn put_and_wait(store: &JobStore, record: JobRecord, plan: Option<Vec<u8>>) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel();
        store.put(record, plan, move |result| sender.send(result).unwrap());
        receiver.recv().unwrap()
    }

    #[test]
    fn jobs_are_found_again_until_they_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (store, found) = open(directory.path()).unwrap();
        assert!(found.is_empty());
        put_and_wait(&store, record("a"), Some(b"plan of a".to_vec())).unwrap();
        put_and_wait(&store, record("b"), Some(b"plan of b".to_vec())).unwrap();
        let newer = JobRecord { ids_end: 70, plan: 1, ..record("a") };
        put_and_wait(&store, newer.clone(), Some(b"another".to_vec())).unwrap();
        store.remove(JobId::from("b"));
        assert!(matches!(open(directory.path()), Err(JobStoreError::InUse { .. })));
        store.close();
        let (_store, found) = open(directory.path()).unwrap();
        assert_eq!(found, [StoredJob { record: newer, plan: b"another".to_vec() }]);
        assert!(!directory.path().join("jobs/a/plan-0").exists());
    }

    #[test]
    fn epochs_rise_though_the_clock_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let epochs = [3, 3, 2, 9].map(|clock| {
            let opened = JobStore::open(directory.path(), LeaderEpoch(clock)).unwrap();
            opened.store.close();
            opened.epoch.0
        });
        assert_eq!(epochs, [3, 4, 5, 9]);
    }

    #[test]
    fn a_job_that_was_being_made_is_none_and_damage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(directory.path()).unwrap();
        put_and_wait(&store, record("a"), Some(b"plan".to_vec())).unwrap();
        store.close();
        let job = directory.path().join("jobs/a");
        fs::write(job.join("record.new"), "half").unwrap();
        fs::create_dir(directory.path().join("jobs/b")).unwrap();
        fs::write(directory.path().join("jobs/b/plan-0"), "x").unwrap();
        let (store, found) = open(directory.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(!directory.path().join("jobs/b").exists());
        store.close();
        let mut content = fs::read(job.join(RECORD)).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(job.join(RECORD), content).unwrap();
        let error = open(directory.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("jobs/a/record") && error.contains("checksum") && error.contains("move"), "{error}");
    }
}
