//! Rows on local disk, for state that has no room in memory: a RocksDB that takes whole files of rows and
//! is read in ranges. Nothing is put or read row by row.
//!
//! Rows are dropped when their namespace is dead, by the compactions. What is being written into a
//! checkpoint beside holds that back: a pin keeps what was alive when it was taken.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::ArrayRef;
use parking_lot::Mutex;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompactionStyle, DBRawIterator, IngestExternalFileOptions, LogLevel, ReadOptions,
};
use tempfile::TempDir;
use tidemill_common::checkpoint::StateFile;

use super::by_group::KeyPart;
use super::local::LocalFile;
use super::reader::{Pending, run_of};
use super::{
    BLOCK_BYTES, KeyedRows, KeyedState, PREFIX_BYTES, READ_ROWS, RUN_BYTES, UNHASHED_BYTES, file_options, key_groups,
    local_error, local_name,
};
use crate::encoding::{EncodedRows, is_row};
use crate::storage::{FileReader, StorageError};

/// Files that are kept open, of one store.
const OPEN_FILES_MAX: i32 = 256;
/// Files of level 0 after which some are compacted.
const COMPACTION_FILES: i32 = 8;
/// What a compaction reads ahead of each of its files.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Memory for rows that are put one by one, of which there are none.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// Memory that the stores of a process share: blocks of files, and their indexes.
#[derive(Clone)]
pub struct BlockCache(Cache, usize);

impl BlockCache {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cache::new_lru_cache(bytes), bytes)
    }

    /// What it has now.
    pub fn used_bytes(&self) -> usize {
        self.0.get_usage()
    }

    /// What it may have.
    pub fn capacity_bytes(&self) -> usize {
        self.1
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCache({} bytes used)", self.0.get_usage())
    }
}

/// Which rows are dead.
struct Dead {
    bounds: Mutex<Bounds>,
    /// The bound for compactions.
    effective: AtomicI64,
}

struct Bounds {
    /// Rows that end up to here are dead.
    bound: i64,
    /// Bounds at the time of each pin.
    pins: Vec<i64>,
}

impl Dead {
    fn change(&self, change: impl FnOnce(&mut Bounds) -> i64) -> i64 {
        let mut bounds = self.bounds.lock();
        let changed = change(&mut bounds);
        let effective = bounds.pins.iter().copied().fold(bounds.bound, i64::min);
        self.effective.store(effective, Ordering::Relaxed);
        changed
    }
}

/// Keeps what is alive now.
struct Pin {
    dead: Arc<Dead>,
    bound: i64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.dead.change(|bounds| {
            if let Some(at) = bounds.pins.iter().position(|bound| *bound == self.bound) {
                bounds.pins.swap_remove(at);
            }
            0
        });
    }
}

/// Rows of one keyed state on local disk. Gone when dropped.
pub struct RowStore {
    shape: KeyedState,
    key_groups: Range<u32>,
    dead: Arc<Dead>,
    db: DB,
    // Behind the database that is in it.
    directory: TempDir,
}

impl RowStore {
    /// An empty store in `scratch`, for rows of these key groups.
    ///
    /// # Errors
    /// If there is no database to be made.
    pub fn open(
        shape: &KeyedState,
        key_groups: Range<u32>,
        scratch: &Path,
        cache: &BlockCache,
    ) -> Result<Self, StorageError> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("{}-", local_name()))
            .tempdir_in(scratch)
            .map_err(|error| local_error(scratch, "written", error))?;
        let bounds = Bounds { bound: i64::MIN, pins: Vec::new() };
        let dead = Arc::new(Dead { bounds: Mutex::new(bounds), effective: AtomicI64::new(i64::MIN) });
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_size(BLOCK_BYTES);
        blocks.set_block_cache(&cache.0);
        blocks.set_cache_index_and_filter_blocks(true);
        let mut options = file_options();
        options.set_block_based_table_factory(&blocks);
        options.create_if_missing(true);
        options.set_log_level(LogLevel::Fatal);
        options.set_stats_dump_period_sec(0);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_compaction_readahead_size(READ_AHEAD_BYTES);
        options.set_compaction_style(DBCompactionStyle::Universal);
        options.set_level_zero_file_num_compaction_trigger(COMPACTION_FILES);
        let (filtered, of) = (dead.clone(), shape.clone());
        options.set_compaction_filter("dead rows", move |_level, key, value| match of.end_of(key, value) {
            Some(end) if end <= filtered.effective.load(Ordering::Relaxed) => Decision::Remove,
            _ => Decision::Keep,
        });
        let path = directory.path().join("db");
        let db = DB::open(&options, &path).map_err(|error| local_error(&path, "opened", error))?;
        Ok(Self { shape: shape.clone(), key_groups, dead, db, directory })
    }

    /// Takes in files that were written one after the other, no two of which have a key group in common.
    ///
    /// # Errors
    /// If the database does not take them.
    pub fn ingest(&self, files: &[Arc<LocalFile>]) -> Result<(), StorageError> {
        let mut paths = Vec::with_capacity(files.len());
        for (at, file) in files.iter().enumerate() {
            let path = self.directory.path().join(format!("{at}.sst"));
            std::fs::hard_link(file.path(), &path).map_err(|error| local_error(&path, "written", error))?;
            paths.push(path);
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingested = self.db.ingest_external_file_opts(&options, paths);
        ingested.map_err(|error| local_error(self.directory.path(), "written", error))
    }

    /// Takes in files of a checkpoint.
    ///
    /// # Errors
    /// If one is missing, damaged or not taken.
    pub fn fetch(&self, files: &[StateFile], reader: &FileReader, scratch: &Path) -> Result<(), StorageError> {
        // Those that have no key group in common are taken in together.
        let mut together: Vec<Arc<LocalFile>> = Vec::new();
        LocalFile::fetch(files, reader, scratch, |file| {
            let is_behind = |last: &Arc<LocalFile>| last.key_groups().end <= file.key_groups().start;
            if together.last().is_some_and(|last| !is_behind(last)) {
                self.ingest(&std::mem::take(&mut together))?;
            }
            together.push(Arc::new(file));
            Ok(())
        })?;
        if together.is_empty() { Ok(()) } else { self.ingest(&together) }
    }

    /// Rows that end (as [`KeyedState::lifetime`] says) up to here are dead: they are not read any more, and go
    /// in time.
    pub fn forget(&self, end: i64) {
        self.dead.change(|bounds| {
            bounds.bound = bounds.bound.max(end);
            bounds.bound
        });
    }

    /// Bytes of the rows of some namespaces in one key group, about, as they are in files.
    pub fn bytes(&self, key_group: u32, namespaces: &RangeInclusive<i64>) -> u64 {
        let start = self.shape.prefix(key_group, *namespaces.start());
        let mut end = self.shape.prefix(key_group, *namespaces.end());
        increment(&mut end);
        self.db.get_approximate_sizes(&[rocksdb::Range::new(&start, &end)]).iter().sum()
    }

    /// Calls `each` with the rows of some namespaces in one key group, of a part of its keys, at most
    /// [`READ_ROWS`] at a time. Rows of one key and namespace stand together, older runs first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn read(
        &self,
        key_group: u32,
        part: KeyPart,
        namespaces: &RangeInclusive<i64>,
        mut each: impl FnMut(KeyedRows),
    ) -> Result<(), StorageError> {
        let mut pending = Pending::default();
        let mut rows = self.iterator(key_group);
        rows.seek(self.shape.prefix(key_group, *namespaces.start()));
        while let (Some(key), Some(value)) = (rows.key(), rows.value()) {
            let (namespace, key, run) = self.split(key)?;
            if namespace > *namespaces.end() {
                break;
            }
            if part.has(key.get(UNHASHED_BYTES * self.shape.unhashed..).unwrap_or_default()) {
                pending.push(namespace, run, self.checked(key, value)?, value);
            }
            if pending.len() == READ_ROWS {
                each(pending.take(&self.shape));
            }
            rows.next();
        }
        self.status(&rows)?;
        if pending.len() > 0 {
            each(pending.take(&self.shape));
        }
        Ok(())
    }

    /// Calls `each` with the rows of one namespace in one key group whose key begins with `first` (columns
    /// of one row), at most [`READ_ROWS`] at a time.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn read_of(
        &self,
        key_group: u32,
        namespace: i64,
        first: &[ArrayRef],
        mut each: impl FnMut(KeyedRows),
    ) -> Result<(), StorageError> {
        let mut encoded = EncodedRows::default();
        encoded.encode(first, 1);
        let mut start = self.shape.prefix(key_group, namespace).to_vec();
        start.extend_from_slice(encoded.row(0));
        let mut pending = Pending::default();
        let mut rows = self.iterator(key_group);
        rows.seek(&start);
        while let (Some(key), Some(value)) = (rows.key(), rows.value()) {
            if !key.starts_with(&start) {
                break;
            }
            let (namespace, key, run) = self.split(key)?;
            pending.push(namespace, run, self.checked(key, value)?, value);
            if pending.len() == READ_ROWS {
                each(pending.take(&self.shape));
            }
            rows.next();
        }
        self.status(&rows)?;
        if pending.len() > 0 {
            each(pending.take(&self.shape));
        }
        Ok(())
    }

    /// The rows of some keys in some namespaces. The keys are without the columns of the tail.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn find(&self, keys: &[ArrayRef], rows: usize, namespaces: &[i64]) -> Result<KeyedRows, StorageError> {
        let mut encoded = EncodedRows::default();
        encoded.encode(keys, rows);
        let mut wanted: Vec<(u32, usize)> = key_groups(&keys[self.shape.unhashed..], rows, self.shape.max_parallelism)
            .iter()
            .map(|group| u32::from(group.0))
            .zip(0..)
            .collect();
        wanted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| encoded.row(a.1).cmp(encoded.row(b.1))));
        let behind = UNHASHED_BYTES * self.shape.tail + RUN_BYTES;
        let mut pending = Pending::default();
        let mut target = Vec::new();
        for group in wanted.chunk_by(|a, b| a.0 == b.0) {
            let mut found = self.iterator(group[0].0);
            for namespace in namespaces {
                for (key_group, row) in group {
                    target.clear();
                    target.extend_from_slice(&self.shape.prefix(*key_group, *namespace));
                    target.extend_from_slice(encoded.row(*row));
                    found.seek(&target);
                    while let (Some(key), Some(value)) = (found.key(), found.value()) {
                        if key.len() != target.len() + behind || !key.starts_with(&target) {
                            break;
                        }
                        let (namespace, key, run) = self.split(key)?;
                        pending.push(namespace, run, self.checked(key, value)?, value);
                        found.next();
                    }
                    self.status(&found)?;
                }
            }
        }
        Ok(pending.take(&self.shape))
    }

    /// The first namespace after `namespace` that has rows, of all key groups.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next_namespace(&self, namespace: i64) -> Result<Option<i64>, StorageError> {
        let Some(from) = namespace.checked_add(1) else { return Ok(None) };
        let mut first: Option<i64> = None;
        for key_group in self.key_groups.clone() {
            let mut rows = self.iterator(key_group);
            rows.seek(self.shape.prefix(key_group, from));
            if let Some(key) = rows.key() {
                let (found, ..) = self.split(key)?;
                first = Some(first.map_or(found, |first| first.min(found)));
            }
            self.status(&rows)?;
        }
        Ok(first)
    }

    /// All namespaces that have rows, of all key groups.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn namespaces(&self) -> Result<BTreeSet<i64>, StorageError> {
        let mut found = BTreeSet::new();
        for key_group in self.key_groups.clone() {
            let mut rows = self.iterator(key_group);
            rows.seek(self.shape.prefix(key_group, i64::MIN));
            while let Some(key) = rows.key() {
                let (namespace, ..) = self.split(key)?;
                found.insert(namespace);
                let Some(next) = namespace.checked_add(1) else { break };
                rows.seek(self.shape.prefix(key_group, next));
            }
            self.status(&rows)?;
        }
        Ok(found)
    }

    /// About how many rows there are.
    pub fn rows(&self) -> usize {
        self.db.property_int_value("rocksdb.estimate-num-keys").ok().flatten().unwrap_or(0) as usize
    }

    /// What the store has now, to be written beside: rows of runs up to `run`, and of none of those that
    /// may come in the meantime.
    pub fn pinned(self: &Arc<Self>, run: u64, coming: BTreeSet<u64>) -> PinnedRows {
        let bound = self.dead.change(|bounds| {
            bounds.pins.push(bounds.bound);
            bounds.bound
        });
        let pin = Pin { dead: self.dead.clone(), bound };
        PinnedRows { store: self.clone(), run, coming, pin }
    }

    /// Compacts all there is, so that dead rows are gone.
    #[cfg(test)]
    pub(super) fn compact(&self) {
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    }

    /// Over the rows of one key group of this state.
    fn iterator(&self, key_group: u32) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        let mut end = self.shape.prefix(key_group, i64::MAX).to_vec();
        end.truncate(PREFIX_BYTES - 8);
        increment(&mut end);
        options.set_iterate_upper_bound(end);
        // Large reads go past the cache.
        options.fill_cache(false);
        self.db.raw_iterator_opt(options)
    }

    fn status(&self, rows: &DBRawIterator<'_>) -> Result<(), StorageError> {
        rows.status().map_err(|error| local_error(self.directory.path(), "read", error))
    }

    /// Namespace, key columns and run of a whole key.
    fn split<'a>(&self, key: &'a [u8]) -> Result<(i64, &'a [u8], u64), StorageError> {
        match (namespace_of(key), key.get(PREFIX_BYTES..key.len().saturating_sub(RUN_BYTES))) {
            (Some(namespace), Some(columns)) => Ok((namespace, columns, run_of(key))),
            _ => Err(self.odd()),
        }
    }

    fn checked<'a>(&self, key: &'a [u8], value: &[u8]) -> Result<&'a [u8], StorageError> {
        let fits = is_row(&self.shape.key_types, key) && is_row(&self.shape.value_types, value);
        fits.then_some(key).ok_or_else(|| self.odd())
    }

    fn odd(&self) -> StorageError {
        let reason = "a row in it is not of the operator's state".to_owned();
        StorageError::Damaged { url: self.directory.path().display().to_string(), reason }
    }
}

/// Rows of a store that are not dropped until they are written.
pub struct PinnedRows {
    store: Arc<RowStore>,
    run: u64,
    coming: BTreeSet<u64>,
    pin: Pin,
}

impl PinnedRows {
    /// Over all of them, in order.
    pub(super) fn cursor(&self) -> PinnedCursor<'_> {
        let mut options = ReadOptions::default();
        let groups = &self.store.key_groups;
        options.set_iterate_lower_bound(self.store.shape.prefix(groups.start, i64::MIN).to_vec());
        if let Ok(end) = u16::try_from(groups.end) {
            options.set_iterate_upper_bound(end.to_be_bytes().to_vec());
        }
        options.fill_cache(false);
        let mut rows = self.store.db.raw_iterator_opt(options);
        rows.seek_to_first();
        let mut cursor = PinnedCursor { pinned: self, rows };
        cursor.skip();
        cursor
    }
}

pub(super) struct PinnedCursor<'a> {
    pinned: &'a PinnedRows,
    rows: DBRawIterator<'a>,
}

impl PinnedCursor<'_> {
    /// Goes on to a row that is wanted.
    fn skip(&mut self) {
        while let Some(key) = self.rows.key() {
            let run = run_of(key);
            let value = self.rows.value().unwrap_or_default();
            let end = self.pinned.store.shape.end_of(key, value);
            let alive = end.is_none_or(|end| end > self.pinned.pin.bound);
            if alive && run <= self.pinned.run && !self.pinned.coming.contains(&run) {
                break;
            }
            self.rows.next();
        }
    }

    /// The whole key, and the value.
    pub(super) fn row(&self) -> Option<(&[u8], &[u8])> {
        self.rows.item()
    }

    pub(super) fn next(&mut self) {
        self.rows.next();
        self.skip();
    }

    /// # Errors
    /// If the rows ended because they could not be read.
    pub(super) fn status(&self) -> Result<(), StorageError> {
        self.pinned.store.status(&self.rows)
    }
}

fn namespace_of(key: &[u8]) -> Option<i64> {
    let bytes = key.get(PREFIX_BYTES - 8..PREFIX_BYTES)?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?) ^ i64::MIN)
}

/// The next prefix of the same length.
fn increment(prefix: &mut [u8]) {
    for byte in prefix.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return;
        }
    }
}
