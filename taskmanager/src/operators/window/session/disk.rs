//! Sessions on local disk. All sessions of a key stand together, and are brought back to memory together,
//! when a row of the key comes, or when the first of them ends. When that is, timers say: rows by the
//! instant of an end, of which nothing but the key matters, and which may be outdated.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use tidemill_common::checkpoint::StateFile;
use tidemill_common::time::TimestampMs;
use tidemill_state::keyed::{
    KeyPart, KeyedRows, KeyedState, Lifetime, LocalFile, PinnedRows, RowSource, RowStore, key_hashes,
};
use tidemill_state::storage::{FileReader, StorageError};
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::filter::KeyFilter;
use crate::operators::window::keyed::{KeyedContext, WindowState};
use crate::operators::window::rows::CopiedRows;

/// The state of timers, beside that of the sessions.
const TIMERS: u32 = 2;
/// Timers that are written together after a restore.
const TIMERS_AT_A_TIME: usize = 64 * 1024;

pub(super) struct Disk {
    shape: KeyedState,
    timers_shape: KeyedState,
    context: KeyedContext,
    stores: Option<Stores>,
    filter: KeyFilter,
    /// No timer is before it.
    next_timer: TimestampMs,
    /// Tells timers apart that were written one after the other.
    timers_run: u64,
}

#[derive(Clone)]
struct Stores {
    sessions: Arc<RowStore>,
    timers: Arc<RowStore>,
}

/// Rows of sessions by their keys.
pub(super) struct Timers {
    pub instants: Vec<TimestampMs>,
    /// With the starts of the sessions.
    pub keys: Vec<ArrayRef>,
}

impl Disk {
    pub fn new(state: &WindowState) -> Self {
        let shape = state.shape().clone();
        let timers_shape =
            KeyedState { id: TIMERS, value_types: Vec::new(), lifetime: Lifetime::Namespace, ..shape.clone() };
        let (context, filter) = (state.context().clone(), KeyFilter::default());
        Self { shape, timers_shape, context, stores: None, filter, next_timer: TimestampMs::MAX, timers_run: 0 }
    }

    /// Whether sessions may go to disk.
    pub fn is_allowed(&self) -> bool {
        self.context.spills
    }

    /// Whether there may be any.
    pub fn has_rows(&self) -> bool {
        self.stores.is_some()
    }

    /// About how many rows there are.
    pub fn rows(&self) -> usize {
        self.stores.as_ref().map_or(0, |stores| stores.sessions.rows())
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes()
    }

    /// The instant of the first end, or one before it.
    pub fn next_timer(&self) -> Option<TimestampMs> {
        self.has_rows().then_some(self.next_timer).filter(|timer| *timer < TimestampMs::MAX)
    }

    fn stores(&mut self) -> Result<Stores, StorageError> {
        if let Some(stores) = &self.stores {
            return Ok(stores.clone());
        }
        let open = |shape: &KeyedState| {
            let KeyedContext { key_groups, scratch, memory, .. } = &self.context;
            RowStore::open(shape, key_groups.clone(), scratch, memory.blocks()).map(Arc::new)
        };
        let stores = Stores { sessions: open(&self.shape)?, timers: open(&self.timers_shape)? };
        Ok(self.stores.insert(stores).clone())
    }

    /// Writes rows of a run to disk. Gives their files, for a snapshot.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, run: u64, rows: Arc<dyn RowSource>) -> Result<Vec<Arc<LocalFile>>, StorageError> {
        let stores = self.stores()?;
        let files = self.shape.write_local(&[(run, rows)], &self.context.scratch, self.context.memory.writing())?;
        let files: Vec<_> = files.into_iter().map(Arc::new).collect();
        if !files.is_empty() {
            stores.sessions.ingest(&files)?;
        }
        Ok(files)
    }

    /// Writes the timers of sessions that are written to disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_timers(&mut self, timers: Vec<Timers>) -> Result<(), StorageError> {
        let stores = self.stores()?;
        let mut sources: Vec<(u64, Arc<dyn RowSource>)> = Vec::with_capacity(timers.len());
        for Timers { instants, keys } in timers {
            let hashes = key_hashes(&keys[..keys.len() - self.shape.tail], instants.len());
            hashes.iter().zip(&instants).for_each(|(hash, timer)| self.filter.add(*hash, *timer));
            self.next_timer = instants.iter().copied().fold(self.next_timer, TimestampMs::min);
            self.timers_run += 1;
            sources.push((self.timers_run, Arc::new(CopiedRows { namespaces: instants, keys, values: Vec::new() })));
        }
        let memory = self.context.memory.writing();
        let files = self.timers_shape.write_local(&sources, &self.context.scratch, memory)?;
        let files: Vec<_> = files.into_iter().map(Arc::new).collect();
        if files.is_empty() { Ok(()) } else { stores.timers.ingest(&files) }
    }

    /// Which of some keys may have sessions on disk.
    pub fn may_have(&self, keys: &[ArrayRef], rows: usize) -> Vec<u32> {
        let hashes = key_hashes(keys, rows);
        (0..rows as u32).filter(|row| self.filter.has(hashes[*row as usize])).collect()
    }

    /// What is on disk of some keys.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Option<KeyedRows>, StorageError> {
        self.stores.as_ref().map(|stores| stores.sessions.find(keys, rows, &[super::NAMESPACE])).transpose()
    }

    /// The timers of one key group up to an instant, some at a time.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn due(
        &self,
        key_group: u32,
        until: TimestampMs,
        mut each: impl FnMut(&[ArrayRef], usize),
    ) -> Result<(), StorageError> {
        let Some(stores) = &self.stores else { return Ok(()) };
        stores.timers.read(key_group, KeyPart::ALL, &(TimestampMs::MIN..=until), |rows| {
            each(&rows.columns[..rows.columns.len() - self.shape.tail], rows.namespaces.rows());
        })
    }

    /// All rows of one key group, to be read while others are written.
    pub fn reader(&self) -> Option<Arc<RowStore>> {
        self.stores.as_ref().map(|stores| stores.sessions.clone())
    }

    /// What has ended up to this instant, which is this local time or later, is no more.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn forget(&mut self, instant: TimestampMs, local: TimestampMs) -> Result<(), StorageError> {
        let Some(stores) = &self.stores else { return Ok(()) };
        self.next_timer = stores.timers.next_namespace(instant)?.unwrap_or(TimestampMs::MAX);
        stores.timers.forget(instant);
        stores.sessions.forget(local);
        self.filter.forget(instant);
        Ok(())
    }

    /// What is on disk, of runs up to `run`.
    pub fn pinned(&self, run: u64) -> Option<Arc<PinnedRows>> {
        let pinned = |stores: &Stores| Arc::new(stores.sessions.pinned(run, Default::default()));
        self.stores.as_ref().map(pinned)
    }

    /// Whether state of files of so many bytes goes to disk as it is, where there is room for `bytes`.
    pub fn is_large(&self, file_bytes: u64, bytes: usize) -> bool {
        self.context.spills && file_bytes as usize >= bytes / super::FILE_PART
    }

    /// Takes in files of a checkpoint. `timer` says of a key group when an end is, if that is still to come.
    /// Gives the end of the last session.
    ///
    /// # Errors
    /// If one is missing, damaged or not taken.
    pub fn restore<'a>(
        &mut self,
        files: impl Iterator<Item = &'a Vec<StateFile>>,
        reader: &FileReader,
        timer: impl Fn(u32, TimestampMs) -> Option<TimestampMs>,
    ) -> Result<TimestampMs, StorageError> {
        let stores = self.stores()?;
        for files in files {
            stores.sessions.fetch(files, reader, &self.context.scratch)?;
        }
        let (mut waiting, mut count, mut last_end) = (Vec::new(), 0, TimestampMs::MIN);
        for key_group in self.context.key_groups.clone() {
            stores.sessions.read(key_group, KeyPart::ALL, &(i64::MIN..=i64::MAX), |rows| {
                let timers = self.timers_of(&rows, |end| timer(key_group, end));
                last_end = rows.columns[self.shape.key_types.len()]
                    .as_primitive::<Int64Type>()
                    .values()
                    .iter()
                    .copied()
                    .fold(last_end, TimestampMs::max);
                count += timers.instants.len();
                waiting.push(timers);
            })?;
            if count >= TIMERS_AT_A_TIME {
                self.write_timers(std::mem::take(&mut waiting))?;
                count = 0;
            }
        }
        self.write_timers(waiting)?;
        Ok(last_end)
    }

    /// The timers of rows that say that there is a session: of one session the last row counts.
    fn timers_of(&self, rows: &KeyedRows, timer: impl Fn(TimestampMs) -> Option<TimestampMs>) -> Timers {
        let (keys, values) = rows.columns.split_at(self.shape.key_types.len());
        let count = rows.namespaces.rows();
        let (mut batch, mut slots) = (KeyBatch::default(), Vec::new());
        batch.load(keys, count);
        KeyTable::new(self.shape.key_types.clone()).intern(&batch, Rows::All(count), &mut slots);
        let (ends, is_open) = (values[0].as_primitive::<Int64Type>(), values[1].as_boolean());
        let is_last = |row: usize| slots.get(row + 1) != Some(&slots[row]);
        let mut instants = Vec::new();
        let mut own = Vec::new();
        for row in (0..count).filter(|row| is_last(*row) && is_open.value(*row)) {
            if let Some(timer) = timer(ends.value(row)) {
                instants.push(timer);
                own.push(row as u32);
            }
        }
        let own = UInt32Array::from(own);
        // Fails only for rows that are not there.
        Timers { instants, keys: keys.iter().filter_map(|column| take(column, &own, None).ok()).collect() }
    }
}
