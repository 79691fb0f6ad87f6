//! Incremental snapshots: each writes the rows that have come since the one before, and names the
//! older files again. Rows of one key in several files are several runs of it.
//!
//! A run that could not be written waits for the next snapshot. When files have become many, or hold far
//! more rows than there are, a base of all state is written beside, and takes their place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_common::checkpoint::StateFile;
use tidemill_common::time::TimestampMs;
use tidemill_state::keyed::{KeyedState, LocalFile, PinnedRows, RowSource};
use tidemill_state::storage::{FileWriter, StorageError};

use crate::memory::MemoryBudget;
use crate::snapshot::Snapshot;

/// Files after which a base is written, if they hold half as many rows as there are.
const FILES_MAX: usize = 32;
/// Files after which a base is written in any case.
const FILES_LIMIT: usize = 512;
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
    /// Of a writing of all state.
    base: bool,
}

/// Files on this machine that are to be in the next snapshot.
#[derive(Clone)]
struct Local {
    files: Vec<Arc<LocalFile>>,
    /// The last run in them.
    run: u64,
    last_end: TimestampMs,
}

/// All rows of the state: those in memory, and those on disk.
pub(super) struct AllRows {
    pub deltas: Vec<Delta>,
    pub stored: Option<Arc<PinnedRows>>,
    /// How many are on disk, and the end of the last window they are in.
    pub stored_rows: usize,
    pub stored_end: TimestampMs,
}

impl AllRows {
    fn is_empty(&self) -> bool {
        self.deltas.is_empty() && self.stored.is_none()
    }
}

#[derive(Default)]
struct Log {
    files: Vec<Written>,
    unwritten: Vec<Delta>,
    /// Of what has gone to disk before a snapshot had it.
    local: Vec<Local>,
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
    memory: MemoryBudget,
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
    pub fn new(shape: KeyedState, scratch: PathBuf, memory: MemoryBudget, incremental: bool) -> Self {
        let shared = Shared { shape, scratch, memory, log: Mutex::default(), turn: Condvar::new() };
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

    /// Numbers up to this one have been used, before a restore.
    pub fn continue_after(&mut self, run: u64) {
        self.last_run = self.last_run.max(run);
    }

    /// All state there is is in these files, which have so many rows together; the last window they are in
    /// ends then. Snapshots name them again.
    pub fn adopt(&mut self, files: Vec<StateFile>, rows: usize, last_end: TimestampMs) {
        if self.incremental {
            let mut log = self.shared.log.lock();
            let rows = rows / files.len().max(1);
            log.files = files
                .into_iter()
                .map(|file| Written { run: file.sequence, file, last_end, rows, base: true })
                .collect();
            log.needs_base = false;
        }
    }

    /// The last number that was given.
    pub fn last_run(&self) -> u64 {
        self.last_run
    }

    /// Those runs that are in no file yet.
    pub fn unwritten(&self) -> BTreeSet<u64> {
        self.shared.log.lock().unwritten.iter().map(|delta| delta.run).collect()
    }

    /// Runs that were in no file have gone to disk, in files of their own. A snapshot takes the files if
    /// none has taken the rows.
    pub fn spilled(&self, runs: &BTreeSet<u64>, files: Vec<Arc<LocalFile>>) {
        let mut log = self.shared.log.lock();
        let spilled: Vec<Delta> = log.unwritten.extract_if(.., |delta| runs.contains(&delta.run)).collect();
        // Of rows that are dead by now the log has forgotten.
        let (Some(run), Some(last_end)) = (runs.last().copied(), spilled.iter().map(|delta| delta.last_end).max())
        else {
            return;
        };
        log.local.push(Local { files, run, last_end });
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
        all: impl FnOnce() -> AllRows,
    ) {
        let (shared, cut) = (self.shared.clone(), self.last_run);
        if snapshot.full || !self.incremental {
            let all = all();
            if !all.is_empty() {
                snapshot.parts.push(Box::new(move |writer| {
                    let written = shared.write_all(all, cut, writer)?;
                    Ok(written.into_iter().map(|written| written.file).collect())
                }));
            }
            return;
        }
        let mut log = self.shared.log.lock();
        log.files.retain(|written| !is_over(written.last_end));
        log.unwritten.retain(|delta| !is_over(delta.last_end));
        log.local.retain(|local| !is_over(local.last_end));
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
            log.local.clear();
            drop(log);
            let part = BasePart { ticket, all: Some(all()), cut, done: false };
            snapshot.parts.push(Box::new(move |writer| part.run(writer)));
            return;
        }
        let in_files: usize = log.files.iter().map(|written| written.rows).sum();
        // A base costs as much as there is: there must be as much that is new, or too many files.
        let since_base: usize = log.files.iter().filter(|written| !written.base).map(|written| written.rows).sum();
        let (files, new) = (log.files.iter().filter(|written| !written.base).count(), since_base * 2 >= rows);
        let many = (files >= FILES_MAX && new) || files >= FILES_LIMIT || (files >= FILES_MIN && in_files > 2 * rows);
        let compaction = (many && !log.compacting).then(|| {
            log.compacting = true;
            Compaction { shared: shared.clone(), all: Some(all()), cut, bases: log.bases }
        });
        let nothing = log.files.is_empty() && log.unwritten.is_empty() && log.local.is_empty();
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
    fn write(&self, deltas: Vec<Delta>, sequence: u64, writer: &FileWriter) -> Result<Vec<Written>, StorageError> {
        let last_end = deltas.iter().map(|delta| delta.last_end).max().unwrap_or(TimestampMs::MIN);
        let rows = deltas.iter().map(|delta| delta.count).sum();
        let sources = deltas.into_iter().map(|delta| (delta.run, delta.rows)).collect();
        let files = self.shape.write(sources, sequence, &self.scratch, writer, self.memory.writing())?;
        Ok(written(files, sequence, last_end, rows))
    }

    /// Writes all rows. Those in memory go first, and are given up.
    fn write_all(&self, all: AllRows, sequence: u64, writer: &FileWriter) -> Result<Vec<Written>, StorageError> {
        let AllRows { deltas, stored, stored_rows, stored_end } = all;
        let mut files = self.write(deltas, sequence, writer)?;
        if let Some(stored) = stored {
            let of_store = self.shape.write_stored(&stored, sequence, &self.scratch, writer, self.memory.writing())?;
            files.extend(written(of_store, sequence, stored_end, stored_rows));
        }
        files.iter_mut().for_each(|written| written.base = true);
        Ok(files)
    }

    fn upload(&self, local: &[Local], sequence: u64, writer: &FileWriter) -> Result<Vec<Written>, StorageError> {
        let mut files = Vec::new();
        for Local { files: of_spill, last_end, .. } in local {
            for file in of_spill {
                files.extend(written(
                    vec![file.upload(sequence, writer, self.memory.writing())?],
                    sequence,
                    *last_end,
                    file.rows(),
                ));
            }
        }
        Ok(files)
    }
}

/// Files that have so many rows together.
fn written(files: Vec<StateFile>, run: u64, last_end: TimestampMs, rows: usize) -> Vec<Written> {
    let rows = rows / files.len().max(1);
    files.into_iter().map(|file| Written { file, run, last_end, rows, base: false }).collect()
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
        let (deltas, local): (Vec<Delta>, Vec<Local>) = {
            let log = self.shared.log.lock();
            if log.needs_base {
                return Err(StorageError::Failed {
                    url: "the state of an earlier checkpoint".to_owned(),
                    doing: "referenced",
                    reason: "it was not written; the next checkpoint writes all state".to_owned(),
                });
            }
            let deltas = log.unwritten.iter().filter(|delta| delta.run <= cut).cloned().collect();
            (deltas, log.local.iter().filter(|local| local.run <= cut).cloned().collect())
        };
        let written = self.shared.write(deltas, cut, writer).and_then(|mut files| {
            files.extend(self.shared.upload(&local, cut, writer)?);
            Ok(files)
        });
        let mut log = self.shared.log.lock();
        match written {
            Ok(files) => {
                log.failures = 0;
                log.unwritten.retain(|delta| delta.run > cut);
                log.local.retain(|local| local.run > cut);
                log.files.extend(files);
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
    all: Option<AllRows>,
    cut: u64,
    done: bool,
}

impl BasePart {
    fn run(mut self, writer: &FileWriter) -> Result<Vec<StateFile>, StorageError> {
        self.ticket.wait();
        let shared = &self.ticket.shared;
        let files = self.all.take().map_or(Ok(Vec::new()), |all| shared.write_all(all, self.cut, writer))?;
        let mut log = shared.log.lock();
        log.files = files;
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
    all: Option<AllRows>,
    cut: u64,
    bases: u64,
}

impl Compaction {
    fn run(mut self, writer: &FileWriter) {
        let Some(all) = self.all.take() else { return };
        match self.shared.write_all(all, self.cut, writer) {
            Ok(files) => {
                let mut log = self.shared.log.lock();
                if !log.needs_base && log.bases == self.bases {
                    let newer = log.files.iter().filter(|written| written.run > self.cut).cloned().collect::<Vec<_>>();
                    log.files = files.into_iter().chain(newer).collect();
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
