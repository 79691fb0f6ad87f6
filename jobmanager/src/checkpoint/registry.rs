//! Which files of keyed state are still named by a checkpoint: a pure core, over all jobs.
//!
//! A job owns the files below its own directory. A file is deleted when no checkpoint that is kept
//! names it, of whatever job, and a complete checkpoint of its owner is newer than the last one, complete
//! or not, that named it: task managers may name files of an aborted checkpoint again. Files that no job
//! here owns, such as those of a checkpoint that another job has left, are never deleted.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::ids::{CheckpointId, JobId};

/// Who names a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Checkpoint(JobId, CheckpointId),
    /// A job that has started from another's checkpoint and has none of its own yet.
    Restored(JobId),
}

#[derive(Debug, Default)]
struct File {
    owner: Option<JobId>,
    holders: BTreeSet<Holder>,
    /// The newest checkpoint of the owner that named it, complete or not; 0 for none.
    named: u64,
}

#[derive(Debug, Default)]
struct Owner {
    /// URL of the job's directory, with a slash at its end.
    directory: String,
    /// The newest complete checkpoint; 0 for none.
    newest: u64,
    /// Files that each checkpoint in flight or complete names.
    named: BTreeMap<CheckpointId, BTreeSet<String>>,
    ended: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SharedFiles {
    files: BTreeMap<String, File>,
    jobs: BTreeMap<JobId, Owner>,
}

impl SharedFiles {
    /// A job keeps its files below this URL.
    pub fn job_started(&mut self, job: &JobId, directory: &str) {
        let directory = format!("{}/", directory.trim_end_matches('/'));
        self.jobs.insert(job.clone(), Owner { directory, ..Owner::default() });
    }

    /// A job starts from a checkpoint that names these files.
    pub fn restored<'a>(&mut self, job: &JobId, files: impl IntoIterator<Item = &'a str>) {
        for url in files {
            self.file(url).holders.insert(Holder::Restored(job.clone()));
        }
    }

    /// A subtask has reported files as part of a checkpoint, in time or too late.
    pub fn reported<'a>(&mut self, job: &JobId, checkpoint: CheckpointId, files: impl IntoIterator<Item = &'a str>) {
        if !self.jobs.contains_key(job) {
            return;
        }
        for url in files {
            let file = self.file(url);
            if file.owner.as_ref() == Some(job) {
                file.named = file.named.max(checkpoint.0);
            }
            if let Some(owner) = self.jobs.get_mut(job) {
                owner.named.entry(checkpoint).or_default().insert(url.to_owned());
            }
        }
    }

    /// A checkpoint is complete. Gives the files to delete.
    pub fn completed(&mut self, job: &JobId, checkpoint: CheckpointId) -> Vec<String> {
        let Some(owner) = self.jobs.get_mut(job) else { return Vec::new() };
        owner.newest = owner.newest.max(checkpoint.0);
        let own = owner.named.get(&checkpoint).cloned().unwrap_or_default();
        for url in &own {
            self.file(url).holders.insert(Holder::Checkpoint(job.clone(), checkpoint));
        }
        // Those that are older and did not become complete.
        let mut candidates = BTreeSet::new();
        if let Some(owner) = self.jobs.get_mut(job) {
            let older: Vec<CheckpointId> = owner.named.range(..checkpoint).map(|(id, _)| *id).collect();
            for id in older {
                let kept = |url: &String| {
                    let holder = Holder::Checkpoint(job.clone(), id);
                    self.files.get(url).is_some_and(|file| file.holders.contains(&holder))
                };
                if owner.named.get(&id).is_some_and(|files| !files.iter().any(kept)) {
                    candidates.extend(owner.named.remove(&id).unwrap_or_default());
                }
            }
        }
        let restored = Holder::Restored(job.clone());
        for (url, file) in &mut self.files {
            if file.holders.remove(&restored) {
                candidates.insert(url.clone());
            }
        }
        self.take_garbage(candidates)
    }

    /// A checkpoint is kept no longer. Gives the files to delete.
    pub fn discarded(&mut self, job: &JobId, checkpoint: CheckpointId) -> Vec<String> {
        let Some(owner) = self.jobs.get_mut(job) else { return Vec::new() };
        let named = owner.named.remove(&checkpoint).unwrap_or_default();
        let holder = Holder::Checkpoint(job.clone(), checkpoint);
        for url in &named {
            if let Some(file) = self.files.get_mut(url) {
                file.holders.remove(&holder);
            }
        }
        self.take_garbage(named)
    }

    /// A job has ended. Gives its files to delete; with `retain` all stay, and are nobody's from now on.
    pub fn job_ended(&mut self, job: &JobId, retain: bool) -> Vec<String> {
        let Some(owner) = self.jobs.get_mut(job) else { return Vec::new() };
        owner.ended = true;
        owner.named.clear();
        let mut candidates = Vec::new();
        for (url, file) in &mut self.files {
            file.holders.retain(|holder| match holder {
                Holder::Checkpoint(holder, _) | Holder::Restored(holder) => holder != job,
            });
            if retain && file.owner.as_ref() == Some(job) {
                file.owner = None;
            }
            candidates.push(url.clone());
        }
        let garbage = self.take_garbage(candidates);
        self.files.retain(|_, file| file.owner.is_some() || !file.holders.is_empty());
        self.forget_ended();
        garbage
    }

    /// Files of a job that a checkpoint names, or may yet.
    pub fn of_job(&self, job: &JobId) -> impl Iterator<Item = String> {
        let files = self.files.iter().filter(move |(_, file)| file.owner.as_ref() == Some(job));
        files.map(|(url, _)| url.clone())
    }

    /// Files of a job that are named by others.
    pub fn named_by_others(&self, job: &JobId) -> BTreeSet<String> {
        let files = self.files.iter().filter(|(_, file)| file.owner.as_ref() == Some(job));
        files.filter(|(_, file)| !file.holders.is_empty()).map(|(url, _)| url.clone()).collect()
    }

    fn file(&mut self, url: &str) -> &mut File {
        let jobs = &self.jobs;
        self.files.entry(url.to_owned()).or_insert_with(|| {
            let owner = jobs.iter().find(|(_, owner)| url.starts_with(&owner.directory)).map(|(job, _)| job.clone());
            File { owner, ..File::default() }
        })
    }

    fn take_garbage(&mut self, candidates: impl IntoIterator<Item = String>) -> Vec<String> {
        let jobs = &self.jobs;
        let is_garbage = |file: &File| {
            let owner = file.owner.as_ref().and_then(|owner| jobs.get(owner));
            file.holders.is_empty() && owner.is_some_and(|owner| owner.ended || file.named < owner.newest)
        };
        let garbage: Vec<String> =
            candidates.into_iter().filter(|url| self.files.get(url).is_some_and(is_garbage)).collect();
        for url in &garbage {
            self.files.remove(url);
        }
        if !garbage.is_empty() {
            self.forget_ended();
        }
        garbage
    }

    /// Forgets jobs that have ended and whose files are gone.
    fn forget_ended(&mut self) {
        let files = &self.files;
        self.jobs.retain(|job, owner| !owner.ended || files.values().any(|file| file.owner.as_ref() == Some(job)));
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
