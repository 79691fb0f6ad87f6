//! State that has no room in memory: tables of panes are written to files on local disk, which a
//! [`RowStore`] takes in, and are read again, key group by key group, when their window fires.
//!
//! A spill is written beside the task. Until it is done its tables count, and are read, as before; then,
//! at once, the store has the rows and the panes have not.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use tidemill_common::checkpoint::StateFile;
use tidemill_common::time::TimestampMs;
use tidemill_state::Rows;
use tidemill_state::keyed::{KeyedRows, KeyedState, LocalFile, PinnedRows, RowSource, RowStore, key_groups};
use tidemill_state::storage::{FileReader, StorageError};

use super::assigner::Window;
use super::deltas::Delta;
use super::keyed::KeyedContext;
use super::layout::Layout;
use super::table::Table;
use crate::memory::{MemoryBudget, MemoryShare};

/// A spill begins when tables have this part of the operator's share: a table that grows has for a
/// moment three times its size, and what is being spilled still has its own.
const SPILL_PART: usize = 5;
/// Rows after which memory is looked at again, where there is much of it and few groups.
const ROWS_BETWEEN_LOOKS: usize = 16 * 1024;
/// What a row may add, for how often to look where there is little room.
const ROW_BYTES: usize = 1024;
/// How many times its size a file needs in memory, about.
const FILE_GROWTH: usize = 3;
/// Groups that are emitted together when a window is read from disk.
pub(super) const GROUPS_AT_A_TIME: usize = 64 * 1024;

/// An operator's view of the memory there is.
pub(super) struct Room {
    share: MemoryShare,
    rows_until_look: usize,
}

impl Room {
    pub fn new(budget: &MemoryBudget) -> Self {
        Self { share: budget.join(), rows_until_look: 0 }
    }

    /// So many rows have come. Whether it is time to look.
    pub fn is_due(&mut self, rows: usize) -> bool {
        self.rows_until_look = self.rows_until_look.saturating_sub(rows);
        self.rows_until_look == 0
    }

    fn looked(&mut self, bytes: usize, groups: usize) {
        self.share.set_used(bytes);
        // Counting is not free for all accumulators: the more there are, the less often.
        self.rows_until_look = ROWS_BETWEEN_LOOKS.min(self.share.bytes() / ROW_BYTES).max(groups / 8);
    }

    /// The operator has these bytes and groups.
    ///
    /// # Errors
    /// The reason, if all operators together have no room.
    pub fn look(&mut self, bytes: usize, groups: usize) -> Result<(), String> {
        self.share.fix();
        self.looked(bytes, groups);
        let (used, whole) = self.share.of_all();
        if used <= whole {
            return Ok(());
        }
        Err(format!(
            "keyed state in memory has {} MB, and there is room for {} MB: give the task manager more (taskmanager.memory.size) or start more task managers",
            used >> 20,
            whole >> 20
        ))
    }
}

/// What a spill brought to disk.
pub(super) struct Spilled {
    /// Runs that no checkpoint's file had when the spill began, and the files of only these.
    pub unwritten: (BTreeSet<u64>, Vec<Arc<LocalFile>>),
    /// All runs.
    pub runs: BTreeSet<u64>,
}

struct UnderWay {
    unwritten: BTreeSet<u64>,
    runs: BTreeSet<u64>,
    bytes: usize,
    /// Files of what was unwritten, and of the rest.
    thread: JoinHandle<Result<[Vec<LocalFile>; 2], StorageError>>,
}

/// Where an operator's state goes that has no room.
pub(super) struct Spill {
    shape: KeyedState,
    context: KeyedContext,
    room: Room,
    store: Option<Arc<RowStore>>,
    under_way: Option<UnderWay>,
}

impl Spill {
    pub fn new(shape: KeyedState, context: &KeyedContext) -> Self {
        Self { shape, context: context.clone(), room: Room::new(&context.memory), store: None, under_way: None }
    }

    /// So many rows have come. Whether it is time to look at the memory.
    pub fn is_due(&mut self, rows: usize) -> bool {
        self.room.is_due(rows)
    }

    /// Tables have these bytes and groups. Whether some must go to disk.
    ///
    /// # Errors
    /// The reason, if nothing may go to disk and there is no room.
    pub fn look(&mut self, bytes: usize, groups: usize) -> Result<bool, String> {
        if !self.context.spills {
            let looked = self.room.look(bytes, groups);
            return looked
                .map(|()| false)
                .map_err(|reason| format!("{reason}. 'state.backend.type' = 'rocksdb' lets it go to disk"));
        }
        self.room.looked(bytes, groups);
        let ahead = bytes.saturating_sub(self.under_way.as_ref().map_or(0, |spill| spill.bytes));
        let part = self.room.share.bytes() / SPILL_PART;
        Ok(groups > 0 && (ahead >= part || (ahead >= part / 4 && self.room.share.is_pressed())))
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether there are rows on disk.
    pub fn has_rows(&self) -> bool {
        self.store.is_some()
    }

    /// Begins to write tables of these runs, `bytes` in memory, to disk. None may be under way.
    pub fn begin(&mut self, unwritten: Vec<Delta>, rest: Vec<Delta>, bytes: usize) -> Result<(), StorageError> {
        let runs_of = |deltas: &[Delta]| deltas.iter().map(|delta| delta.run).collect::<BTreeSet<u64>>();
        let (of_unwritten, of_rest) = (runs_of(&unwritten), runs_of(&rest));
        let (shape, scratch) = (self.shape.clone(), self.context.scratch.clone());
        let memory = self.context.memory.clone();
        let write = move |deltas: Vec<Delta>| {
            let sources: Vec<(u64, &dyn RowSource)> =
                deltas.iter().map(|delta| (delta.run, delta.rows.as_ref())).collect();
            shape.write_local(&sources, &scratch)
        };
        let thread = std::thread::Builder::new()
            .name("spill".to_owned())
            .spawn(move || {
                let _turn = memory.sorting();
                Ok([write(unwritten)?, write(rest)?])
            })
            .map_err(|error| StorageError::Failed {
                url: self.context.scratch.display().to_string(),
                doing: "written by a thread of its own",
                reason: error.to_string(),
            })?;
        let runs = of_unwritten.union(&of_rest).copied().collect();
        self.under_way = Some(UnderWay { unwritten: of_unwritten, runs, bytes, thread });
        Ok(())
    }

    /// Takes in what has been written, if it is done or `wait` is set.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn end(&mut self, wait: bool) -> Result<Option<Spilled>, StorageError> {
        let Some(spill) = self.under_way.take_if(|spill| wait || spill.thread.is_finished()) else { return Ok(None) };
        let failed = |_| StorageError::Failed {
            url: self.context.scratch.display().to_string(),
            doing: "written",
            reason: "the thread that spills has panicked".to_owned(),
        };
        let [unwritten, rest] =
            spill.thread.join().map_err(failed)??.map(|files| files.into_iter().map(Arc::new).collect::<Vec<_>>());
        let store = self.store()?;
        for files in [&rest, &unwritten] {
            if !files.is_empty() {
                store.ingest(files)?;
            }
        }
        Ok(Some(Spilled { unwritten: (spill.unwritten, unwritten), runs: spill.runs }))
    }

    /// Takes in files of a checkpoint.
    ///
    /// # Errors
    /// If one is missing, damaged or not taken.
    pub fn ingest_restored(&mut self, files: &[StateFile], reader: &FileReader) -> Result<(), StorageError> {
        let store = self.store()?.clone();
        // Those that have no key group in common are taken in together.
        let mut together: Vec<Arc<LocalFile>> = Vec::new();
        LocalFile::fetch(files, reader, &self.context.scratch, |file| {
            let is_behind = |last: &Arc<LocalFile>| last.key_groups().end <= file.key_groups().start;
            if together.last().is_some_and(|last| !is_behind(last)) {
                store.ingest(&std::mem::take(&mut together))?;
            }
            together.push(Arc::new(file));
            Ok(())
        })?;
        if !together.is_empty() {
            store.ingest(&together)?;
        }
        Ok(())
    }

    /// Ends of the slices that are on disk, and the number of rows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn ends(&self) -> Result<(BTreeSet<TimestampMs>, usize), StorageError> {
        match &self.store {
            Some(store) => Ok((store.namespaces()?, store.rows())),
            None => Ok((BTreeSet::new(), 0)),
        }
    }

    /// Whether state of files of so many bytes goes to disk as it is.
    pub fn is_large(&self, bytes: u64) -> bool {
        self.context.spills && bytes as usize >= self.room.share.bytes() / (SPILL_PART * FILE_GROWTH)
    }

    fn store(&mut self) -> Result<&Arc<RowStore>, StorageError> {
        if self.store.is_none() {
            let Self { shape, context, .. } = &*self;
            let store = RowStore::open(shape, context.key_groups.clone(), &context.scratch, context.memory.blocks())?;
            self.store = Some(Arc::new(store));
        }
        self.store.as_ref().ok_or_else(|| unreachable!("it has just been opened"))
    }

    /// Slices up to this end are over.
    pub fn forget(&self, slice_end: TimestampMs) {
        if let Some(store) = &self.store {
            store.forget(slice_end);
        }
    }

    /// What is on disk, of runs up to `run`.
    pub fn pinned(&self, run: u64) -> Option<Arc<PinnedRows>> {
        let coming = self.under_way.as_ref().map(|spill| spill.runs.clone()).unwrap_or_default();
        self.store.as_ref().map(|store| Arc::new(store.pinned(run, coming)))
    }

    /// What is on disk of some keys in slices of these ends.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(
        &self,
        keys: &[ArrayRef],
        rows: usize,
        ends: &[TimestampMs],
    ) -> Result<Option<KeyedRows>, StorageError> {
        self.store.as_ref().map(|store| store.find(keys, rows, ends)).transpose()
    }

    /// Reads a window, a part of its keys at a time: what the tables have and what is on disk.
    pub fn window<'a>(
        &'a self,
        window: Window,
        attached: bool,
        layout: &'a Layout,
        tables: &'a [Arc<Table>],
    ) -> SpilledWindow<'a> {
        let by_group = tables.iter().map(|table| ByGroup::new(table, layout, self.context.max_parallelism)).collect();
        let groups = self.context.key_groups.clone();
        SpilledWindow { store: self.store.as_deref(), window, attached, layout, tables: by_group, groups }
    }

    /// Bytes that one part of a window may have.
    pub fn part_bytes(&self) -> usize {
        self.room.share.bytes() / 8
    }
}

/// A table's slots by key group.
struct ByGroup<'a> {
    table: &'a Table,
    /// `key group << 32 | slot`, sorted.
    slots: Vec<u64>,
    next: usize,
}

impl<'a> ByGroup<'a> {
    fn new(table: &'a Table, layout: &Layout, max_parallelism: u32) -> Self {
        let mut all = Vec::new();
        table.slots(&mut all);
        let mut slots = Vec::with_capacity(all.len());
        for chunk in all.chunks(GROUPS_AT_A_TIME) {
            let groups = key_groups(&table.keys(layout, chunk), chunk.len(), max_parallelism);
            slots.extend(groups.iter().zip(chunk).map(|(group, slot)| u64::from(group.0) << 32 | u64::from(*slot)));
        }
        slots.sort_unstable();
        Self { table, slots, next: 0 }
    }

    /// The slots up to and in a key group that have not been taken.
    fn take(&mut self, key_group: u32) -> Vec<u32> {
        let ahead = &self.slots[self.next..];
        let own = &ahead[..ahead.partition_point(|slot| slot >> 32 <= u64::from(key_group))];
        self.next += own.len();
        own.iter().map(|slot| *slot as u32).collect()
    }
}

/// A window that is read from disk and memory.
pub(super) struct SpilledWindow<'a> {
    store: Option<&'a RowStore>,
    window: Window,
    /// Whether keys on disk begin with the start of their window.
    attached: bool,
    layout: &'a Layout,
    tables: Vec<ByGroup<'a>>,
    groups: Range<u32>,
}

impl SpilledWindow<'_> {
    /// Adds the groups of the next key groups to a table, until it has many or `bytes`. Whether there
    /// were any key groups left.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn next_part(&mut self, into: &mut Table, bytes: usize) -> Result<bool, StorageError> {
        let layout = self.layout;
        let first = if self.attached { self.window.end } else { self.window.start.saturating_add(1) };
        let mut begun = false;
        for key_group in self.groups.by_ref() {
            begun = true;
            for table in &mut self.tables {
                for slots in table.take(key_group).chunks(GROUPS_AT_A_TIME) {
                    into.merge(layout, &table.table.states(layout, slots), slots.len(), Rows::All(slots.len()));
                }
            }
            if let Some(store) = self.store {
                let (start, attached) = (self.window.start, self.attached);
                store.read(key_group, &(first..=self.window.end), |rows| {
                    merge_kept(into, layout, &rows, attached.then_some(start));
                })?;
            }
            if into.len() >= GROUPS_AT_A_TIME || into.memory_bytes() >= bytes {
                break;
            }
        }
        Ok(begun)
    }
}

/// Adds kept rows; of attached windows those of one start.
pub(super) fn merge_kept(into: &mut Table, layout: &Layout, rows: &KeyedRows, start: Option<TimestampMs>) {
    let count = rows.namespaces.rows();
    match start {
        None => into.merge(layout, &rows.columns, count, Rows::All(count)),
        Some(start) => {
            let starts = rows.columns[0].as_primitive::<Int64Type>().values();
            let own: Vec<u32> = (0..count as u32).filter(|row| starts[*row as usize] == start).collect();
            into.merge(layout, &rows.columns[1..], count, Rows::Selected(&own));
        }
    }
}
