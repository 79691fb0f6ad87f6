//! Incremental snapshots: each writes the rows that have come since the one before, and names the
//! older files again. Rows of one key in several files are several runs of it.
//!
//! A run that could not be written waits for the next snapshot. When files have become many, or hold far
//! more rows than there are, a base of all state is written beside, and takes their place.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_common::checkpoint::StateFile;
use tidemill_common::time::TimestampMs;
use tidemill_state::keyed::{KeyedState, RowSource};
use tidemill_state::storage::{FileWriter, StorageError};

use crate::snapshot::Snapshot;

/// Files after which a base is written.
const FILES_MAX: usize = 32;
/// Files after which a base is written if they hold twice the rows that there are.
const FILES_MIN: usize = 8;
/// Snapshots in a row that could not be written, after which their rows are no longer kept apart.
const FAILURES_MAX: u32 = 8;

/// Rows that do not change, to be written beside the task.
#[derive(Clone)]
pub(super) struct Delta {
    pub run: u64,
    pub rows: Arc<dyn RowSource>,
    pub count: usize,
    /// End of the last window that rows are in.
    pub last_end: TimestampMs,
}

/// A file that checkpoints name.
#[derive(Clone)]
struct Written {
    file: StateFile,
    /// The last run in it.
    run: u64,
    last_end: TimestampMs,
    rows: usize,
}

#[derive(Default)]
struct Log {
    files: Vec<Written>,
    unwritten: Vec<Delta>,
    /// The files are not enough: all state must be written before deltas make sense.
    needs_base: bool,
    failures: u32,
    /// How often all state has been written anew.
    bases: u64,
    compacting: bool,
    /// Snapshots that have been begun, and how many of them have ended, in order.
    begun: u64,
    ended: u64,
    ended_early: Vec<u64>,
}

struct Shared {
    shape: KeyedState,
    scratch: PathBuf,
    log: Mutex<Log>,
    turn: Condvar,
}

/// What of one operator's state is in files, and what is not yet.
pub(super) struct DeltaLog {
    shared: Arc<Shared>,
    incremental: bool,
    last_run: u64,
}

impl DeltaLog {
    /// For a state of which nothing is in files. If not `incremental`, every snapshot writes all.
    pub fn new(shape: KeyedState, scratch: PathBuf, incremental: bool) -> Self {
        let shared = Shared { shape, scratch, log: Mutex::default(), turn: Condvar::new() };
        Self { shared: Arc::new(shared), incremental, last_run: 0 }
    }

    /// Whether deltas are of any use.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// A number for the next rows.
    pub fn next_run(&mut self) -> u64 {
        self.last_run += 1;
        self.last_run
    }

    /// Rows have come to be that no snapshot has.
    pub fn push(&self, delta: Delta) {
        if self.incremental {
            let mut log = self.shared.log.lock();
            if !log.needs_base {
                log.unwritten.push(delta);
            }
        }
    }

    /// State has come to be that is in no file of this log.
    pub fn needs_base(&self) {
        self.shared.log.lock().needs_base = true;
    }

    /// Adds the work of a snapshot. All deltas have been pushed; `all` gives all rows (of which there
    /// are `rows`), if they are needed; `is_over` says which windows' rows are dead.
    pub fn snapshot(
        &self,
        snapshot: &mut Snapshot,
        rows: usize,
        is_over: impl Fn(TimestampMs) -> bool,
        all: impl FnOnce() -> Vec<Delta>,
    ) {
        let (shared, cut) = (self.shared.clone(), self.last_run);
        if snapshot.full || !self.incremental {
            let all = all();
            if !all.is_empty() {
                snapshot.parts.push(Box::new(move |writer| shared.write(&all, cut, writer)));
            }
            return;
        }
        let mut log = self.shared.log.lock();
        log.files.retain(|written| !is_over(written.last_end));
        log.unwritten.retain(|delta| !is_over(delta.last_end));
        if log.failures >= FAILURES_MAX {
            log.needs_base = true;
        }
        log.begun += 1;
        let ticket = Ticket { shared: shared.clone(), number: log.begun };
        if log.needs_base {
            log.needs_base = false;
            log.failures = 0;
            log.bases += 1;
            log.unwritten.clear();
            drop(log);
            let part = BasePart { ticket, all: all(), cut, done: false };
            snapshot.parts.push(Box::new(move |writer| part.run(writer)));
            return;
        }
        let in_files: usize = log.files.iter().map(|written| written.rows).sum();
        let many = log.files.len() >= FILES_MAX || (log.files.len() >= FILES_MIN && in_files > 2 * rows);
        let compaction = (many && !log.compacting).then(|| {
            log.compacting = true;
            Compaction { shared: shared.clone(), all: all(), cut, bases: log.bases }
        });
        let nothing = log.files.is_empty() && log.unwritten.is_empty();
        // Tickets take the lock when they are dropped.
        drop(log);
        if nothing {
            return;
        }
        snapshot.parts.push(Box::new(move |writer| {
            let files = ticket.write_deltas(cut, writer)?;
            if let Some(compaction) = compaction {
                writer.beside(|writer| compaction.run(writer));
            }
            Ok(files)
        }));
    }
}

impl Shared {
    fn write(&self, deltas: &[Delta], sequence: u64, writer: &FileWriter) -> Result<Vec<StateFile>, StorageError> {
        let sources: Vec<(u64, &dyn RowSource)> = deltas.iter().map(|delta| (delta.run, delta.rows.as_ref())).collect();
        self.shape.write(&sources, sequence, &self.scratch, writer)
    }

    fn written(files: Vec<StateFile>, deltas: &[Delta], run: u64) -> impl Iterator<Item = Written> {
        let last_end = deltas.iter().map(|delta| delta.last_end).max().unwrap_or(TimestampMs::MIN);
        let rows = deltas.iter().map(|delta| delta.count).sum::<usize>() / files.len().max(1);
        files.into_iter().map(move |file| Written { file, run, last_end, rows })
    }
}

impl Log {
    fn files_up_to(&self, run: u64) -> Vec<StateFile> {
        self.files.iter().filter(|written| written.run <= run).map(|written| written.file.clone()).collect()
    }
}

/// The turn of a snapshot: parts work in the order of their snapshots, as a file names those before it.
struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

impl Ticket {
    fn wait(&self) {
        let mut log = self.shared.log.lock();
        while log.ended + 1 < self.number {
            self.shared.turn.wait(&mut log);
        }
    }

    fn write_deltas(&self, cut: u64, writer: &FileWriter) -> Result<Vec<StateFile>, StorageError> {
        self.wait();
        let deltas: Vec<Delta> = {
            let log = self.shared.log.lock();
            if log.needs_base {
                return Err(StorageError::Failed {
                    url: "the state of an earlier checkpoint".to_owned(),
                    doing: "referenced",
                    reason: "it was not written; the next checkpoint writes all state".to_owned(),
                });
            }
            log.unwritten.iter().filter(|delta| delta.run <= cut).cloned().collect()
        };
        let written = self.shared.write(&deltas, cut, writer);
        let mut log = self.shared.log.lock();
        match written {
            Ok(files) => {
                log.failures = 0;
                log.unwritten.retain(|delta| delta.run > cut);
                log.files.extend(Shared::written(files, &deltas, cut));
                Ok(log.files_up_to(cut))
            }
            Err(error) => {
                log.failures += 1;
                Err(error)
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut log = self.shared.log.lock();
        log.ended_early.push(self.number);
        while let Some(at) = log.ended_early.iter().position(|number| *number == log.ended + 1) {
            log.ended_early.swap_remove(at);
            log.ended += 1;
        }
        self.shared.turn.notify_all();
    }
}

/// A snapshot that writes all.
struct BasePart {
    ticket: Ticket,
    all: Vec<Delta>,
    cut: u64,
    done: bool,
}

impl BasePart {
    fn run(mut self, writer: &FileWriter) -> Result<Vec<StateFile>, StorageError> {
        self.ticket.wait();
        let shared = &self.ticket.shared;
        let files = shared.write(&self.all, self.cut, writer)?;
        let mut log = shared.log.lock();
        log.files = Shared::written(files, &self.all, self.cut).collect();
        let files = log.files_up_to(self.cut);
        drop(log);
        self.done = true;
        Ok(files)
    }
}

impl Drop for BasePart {
    fn drop(&mut self) {
        if !self.done {
            self.ticket.shared.log.lock().needs_base = true;
        }
    }
}

/// Writes a base beside, for later snapshots to name.
struct Compaction {
    shared: Arc<Shared>,
    all: Vec<Delta>,
    cut: u64,
    bases: u64,
}

impl Compaction {
    fn run(self, writer: &FileWriter) {
        match self.shared.write(&self.all, self.cut, writer) {
            Ok(files) => {
                let mut log = self.shared.log.lock();
                if !log.needs_base && log.bases == self.bases {
                    let newer = log.files.iter().filter(|written| written.run > self.cut).cloned().collect::<Vec<_>>();
                    log.files = Shared::written(files, &self.all, self.cut).chain(newer).collect();
                }
            }
            Err(error) => tracing::warn!(%error, "old state files could not be compacted"),
        }
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        self.shared.log.lock().compacting = false;
    }
}
