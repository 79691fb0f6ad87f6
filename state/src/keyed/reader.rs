//! Reads rows back from files.

use std::ops::Range;
use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, DBRawIterator, IngestExternalFileOptions, LogLevel, Options};
use tidemill_common::checkpoint::StateFile;

use super::{
    KeyedRows, KeyedState, Namespaces, PREFIX_BYTES, READ_ROWS, RUN_BYTES, file_options, intersection, local_error,
    local_name,
};
use crate::encoding::{decode_column, is_row};
use crate::storage::{FileReader, StorageError};

/// Encoded rows that wait to be decoded.
#[derive(Default)]
pub(super) struct Pending {
    namespaces: Vec<i64>,
    runs: Vec<u64>,
    keys: Vec<u8>,
    key_starts: Vec<usize>,
    values: Vec<u8>,
    value_starts: Vec<usize>,
}

impl KeyedState {
    /// Reads the rows of these files that belong to `key_groups`, file after file, and calls `each`
    /// with at most [`READ_ROWS`] of them at a time. Local copies are made in `scratch`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn read(
        &self,
        files: &[StateFile],
        key_groups: &Range<u32>,
        scratch: &Path,
        reader: &FileReader,
        mut each: impl FnMut(KeyedRows),
    ) -> Result<(), StorageError> {
        if files.is_empty() {
            return Ok(());
        }
        let directory = tempfile::Builder::new()
            .prefix(&format!("{}-", local_name()))
            .tempdir_in(scratch)
            .map_err(|error| local_error(scratch, "written", error))?;
        let names: Vec<String> = (0..files.len()).map(|file| format!("file-{file}")).collect();
        let db = open(&directory.path().join("db"), &names)?;
        let mut at = names.iter();
        let path = || directory.path().join(local_name());
        reader.fetch(files, path, |file, path| {
            let name = at.next().map_or("", String::as_str);
            let damaged = |reason: String| StorageError::Damaged { url: file.location.clone(), reason };
            let family = db.cf_handle(name).ok_or_else(|| local_error(&path, "opened", "it has no family"))?;
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            db.ingest_external_file_cf_opts(family, &options, vec![&path])
                .map_err(|error| damaged(error.to_string()))?;
            let range = intersection(&file.key_groups, key_groups);
            self.scan(db.raw_iterator_cf(family), &range, &damaged, &mut each)
        })
    }

    fn scan(
        &self,
        mut rows: DBRawIterator<'_>,
        key_groups: &Range<u32>,
        damaged: &dyn Fn(String) -> StorageError,
        each: &mut impl FnMut(KeyedRows),
    ) -> Result<(), StorageError> {
        let mut pending = Pending::default();
        rows.seek((key_groups.start as u16).to_be_bytes());
        while let (Some(key), Some(value)) = (rows.key(), rows.value()) {
            let odd = || damaged("a row in it is not of the operator's state".to_owned());
            if key.len() < PREFIX_BYTES + RUN_BYTES {
                return Err(odd());
            }
            let (prefix, rest) = key.split_at(PREFIX_BYTES);
            let (key, run) = rest.split_at(rest.len() - RUN_BYTES);
            if u32::from(u16::from_be_bytes([prefix[0], prefix[1]])) >= key_groups.end {
                break;
            }
            if prefix[2..6] == self.id.to_be_bytes() {
                if !is_row(&self.key_types, key) || !is_row(&self.value_types, value) {
                    return Err(odd());
                }
                let mut namespace = [0; 8];
                namespace.copy_from_slice(&prefix[6..]);
                pending.push(i64::from_be_bytes(namespace) ^ i64::MIN, run_of(run), key, value);
                if pending.len() == READ_ROWS {
                    each(pending.take(self));
                }
            }
            rows.next();
        }
        rows.status().map_err(|error| damaged(error.to_string()))?;
        if pending.len() > 0 {
            each(pending.take(self));
        }
        Ok(())
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.namespaces.len()
    }

    pub(super) fn push(&mut self, namespace: i64, run: u64, key: &[u8], value: &[u8]) {
        self.namespaces.push(namespace);
        self.runs.push(run);
        self.key_starts.push(self.keys.len());
        self.keys.extend_from_slice(key);
        self.value_starts.push(self.values.len());
        self.values.extend_from_slice(value);
    }

    pub(super) fn take(&mut self, state: &KeyedState) -> KeyedRows {
        let Self { namespaces, runs, keys, mut key_starts, values, mut value_starts } = std::mem::take(self);
        let mut columns = Vec::with_capacity(state.key_types.len() + state.value_types.len());
        columns.extend(state.key_types.iter().map(|data_type| decode_column(data_type, &keys, &mut key_starts)));
        columns.extend(state.value_types.iter().map(|data_type| decode_column(data_type, &values, &mut value_starts)));
        KeyedRows { namespaces: Namespaces::Each(namespaces), runs, columns }
    }
}

/// The run at the end of a whole key.
pub(super) fn run_of(key: &[u8]) -> u64 {
    key.last_chunk::<RUN_BYTES>().map_or(0, |run| u64::from_be_bytes(*run))
}

/// A database with a family for each file, as files of other subtasks may hold rows of the same key
/// groups that are no longer of this state.
fn open(path: &Path, families: &[String]) -> Result<DB, StorageError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_log_level(LogLevel::Fatal);
    options.set_stats_dump_period_sec(0);
    options.set_disable_auto_compactions(true);
    let families = families.iter().map(|name| {
        let mut options = file_options();
        options.set_disable_auto_compactions(true);
        ColumnFamilyDescriptor::new(name, options)
    });
    DB::open_cf_descriptors(&options, path, families).map_err(|error| local_error(path, "opened", error))
}
