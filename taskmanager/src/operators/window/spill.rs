//! State that has no room in memory: tables of panes are written to files on local disk, which a
//! [`RowStore`] takes in, and are read again, key group by key group, when their window fires.
//!
//! A spill is written beside the task. Until it is done its tables count, and are read, as before; then,
//! at once, the store has the rows and the panes have not.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use tidemill_common::checkpoint::StateFile;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::time::TimestampMs;
use tidemill_state::Rows;
use tidemill_state::keyed::{ByKeyGroup, KeyPart, KeyedRows, KeyedState, LocalFile, PinnedRows, RowStore};
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
/// Least bytes of a part of a key group: each part reads the whole of it.
const PART_BYTES_MIN: usize = 256 * 1024;
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

    /// The operator has these bytes and groups, `ahead` of which are not on their way to disk. Whether they
    /// are more than `1 / part` of its share.
    pub fn is_full(&mut self, bytes: usize, ahead: usize, groups: usize, part: usize) -> bool {
        self.looked(bytes, groups);
        let part = self.share.bytes() / part;
        groups > 0 && (ahead >= part || (ahead >= part / 4 && self.share.is_pressed()))
    }

    /// How many bytes the operator may have.
    pub fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// The operator has these bytes and groups, which go nowhere else.
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
            "keyed state in memory has {} MB, and there is room for {} MB: give the task manager more (taskmanager.memory.size) or start more task managers. 'state.backend.type' = 'rocksdb' lets it go to disk",
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
            return self.room.look(bytes, groups).map(|()| false);
        }
        let ahead = bytes.saturating_sub(self.under_way.as_ref().map_or(0, |spill| spill.bytes));
        Ok(self.room.is_full(bytes, ahead, groups, SPILL_PART))
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
            let sources: Vec<_> = deltas.into_iter().map(|delta| (delta.run, delta.rows)).collect();
            shape.write_local(&sources, &scratch, memory.writing())
        };
        let thread = std::thread::Builder::new()
            .name("spill".to_owned())
            .spawn(move || Ok([write(unwritten)?, write(rest)?]))
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
        let store = self.store()?;
        store.fetch(files, reader, &self.context.scratch)
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

    fn store(&mut self) -> Result<Arc<RowStore>, StorageError> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let Self { shape, context, .. } = &*self;
        let store = RowStore::open(shape, context.key_groups.clone(), &context.scratch, context.memory.blocks())?;
        Ok(self.store.insert(Arc::new(store)).clone())
    }

    /// What is on disk, if anything is.
    pub fn stored(&self) -> Option<&RowStore> {
        self.store.as_deref()
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
        let by_group = |table: &'a Arc<Table>| {
            let mut slots = Vec::new();
            table.slots(&mut slots);
            let keys = |slots: &[u32]| table.keys(layout, slots);
            (table.as_ref(), ByKeyGroup::new(slots, self.context.max_parallelism, keys))
        };
        let tables = tables.iter().map(by_group).collect();
        let (key_groups, part_bytes) = (self.context.key_groups.clone(), self.part_bytes());
        let store = self.store.as_deref();
        SpilledWindow { store, window, attached, layout, tables, key_groups, part_bytes, ahead: VecDeque::new() }
    }

    /// Bytes that one part of a window may have.
    pub fn part_bytes(&self) -> usize {
        self.room.share.bytes() / 8
    }
}

/// A window that is read from disk and memory.
pub(super) struct SpilledWindow<'a> {
    store: Option<&'a RowStore>,
    window: Window,
    /// Whether keys on disk begin with the start of their window.
    attached: bool,
    layout: &'a Layout,
    tables: Vec<(&'a Table, ByKeyGroup)>,
    key_groups: Range<u32>,
    /// Bytes that one part may have.
    part_bytes: usize,
    /// Parts of a key group that is too large to be one.
    ahead: VecDeque<(u32, KeyPart)>,
}

impl SpilledWindow<'_> {
    /// Adds the groups of the next key groups, or of a part of a large one, to a table. Whether there were
    /// any left.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn next_part(&mut self, into: &mut Table) -> Result<bool, StorageError> {
        let mut begun = false;
        while let Some((key_group, part)) = self.next() {
            begun = true;
            self.add(key_group, part, into)?;
            if into.len() >= GROUPS_AT_A_TIME || into.memory_bytes() >= self.part_bytes / 2 {
                break;
            }
        }
        Ok(begun)
    }

    /// Namespaces of its rows on disk.
    fn namespaces(&self) -> RangeInclusive<TimestampMs> {
        let first = if self.attached { self.window.end } else { self.window.start.saturating_add(1) };
        first..=self.window.end
    }

    fn next(&mut self) -> Option<(u32, KeyPart)> {
        if self.ahead.is_empty() {
            let key_group = self.key_groups.next()?;
            let bytes = self.store.map_or(0, |store| store.bytes(key_group, &self.namespaces()));
            let parts = (bytes as usize * FILE_GROWTH).div_ceil(self.part_bytes.max(PART_BYTES_MIN));
            self.ahead.extend(KeyPart::all(parts as u32).map(|part| (key_group, part)));
        }
        self.ahead.pop_front()
    }

    fn add(&self, key_group: u32, part: KeyPart, into: &mut Table) -> Result<(), StorageError> {
        let layout = self.layout;
        for (table, slots) in &self.tables {
            for slots in slots.of(key_group as usize..key_group as usize + 1).chunks(BATCH_ROWS_TARGET) {
                let own = part.select(&table.keys(layout, slots), slots.len());
                let own: Vec<u32> = own.into_iter().map(|at| slots[at]).collect();
                into.merge(layout, &table.states(layout, &own), own.len(), Rows::All(own.len()));
            }
        }
        let Some(store) = self.store else { return Ok(()) };
        let start = self.attached.then_some(self.window.start);
        store.read(key_group, part, &self.namespaces(), |rows| merge_kept(into, layout, &rows, start))
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
