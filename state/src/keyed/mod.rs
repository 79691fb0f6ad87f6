//! Keyed state in files: rows of columns, sorted, as SST files that any RocksDB can ingest.
//!
//! A row's key is `key group (u16) | state id (u32) | namespace (i64) | key columns | run (u64)`, numbers
//! big-endian so that bytes sort as they do; its value is the value columns. Columns are encoded as
//! [`crate::encoding`] says. The run tells apart rows of one key that were written one after the other:
//! what they mean together (a sum of accumulators, or the last one) is the state's own affair.

mod by_group;
mod local;
mod memory;
mod reader;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use by_group::{ByKeyGroup, KeyPart};
pub use local::LocalFile;
pub use memory::WriteMemory;
pub use store::{BlockCache, PinnedRows, RowStore};
pub use writer::RowSource;

use std::ops::Range;
use std::path::Path;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use rocksdb::{BlockBasedOptions, DBCompressionType, Options};
use tidemill_common::hash::{hash_bytes, hash_columns};
use tidemill_common::ids::KeyGroup;
use tidemill_common::key_group::key_group_of;

use crate::encoding::EncodedRows;
use crate::storage::StorageError;

/// Version of keys and values in files.
pub const ROWS_VERSION: u32 = 1;
/// Rows that are read at a time.
pub const READ_ROWS: usize = 8192;
/// Bytes of a block in a file.
const BLOCK_BYTES: usize = 16 * 1024;
/// Bytes of a key before the key columns.
const PREFIX_BYTES: usize = 2 + 4 + 8;
/// Bytes of a key column that does not choose the key group, a BIGINT.
const UNHASHED_BYTES: usize = 1 + 8;
/// Bytes of a key behind the key columns.
const RUN_BYTES: usize = 8;

/// The shape of one keyed state.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedState {
    /// Unique within its operator.
    pub id: u32,
    /// Columns of the key in files. Those after the first `unhashed`, which are BIGINTs that are never NULL,
    /// choose the key group.
    pub key_types: Vec<DataType>,
    pub unhashed: usize,
    /// Columns at the end of the key that do not choose the key group, BIGINTs that are never NULL.
    pub tail: usize,
    pub value_types: Vec<DataType>,
    pub lifetime: Lifetime,
    pub max_parallelism: u32,
}

/// What says until when a row is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Its namespace.
    Namespace,
    /// Its first value, a BIGINT that is never NULL.
    FirstValue,
}

/// Rows of some namespaces (windows, sessions) of a state.
#[derive(Clone, Debug)]
pub struct KeyedRows {
    pub namespaces: Namespaces,
    /// Of rows of one key and namespace, those of later runs were written later.
    pub runs: Vec<u64>,
    /// Key columns, then value columns.
    pub columns: Vec<ArrayRef>,
}

/// Of some rows.
#[derive(Clone, Debug)]
pub enum Namespaces {
    /// So many rows of one.
    One(i64, usize),
    /// One a row.
    Each(Vec<i64>),
}

impl Namespaces {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::One(_, rows) => *rows,
            Self::Each(namespaces) => namespaces.len(),
        }
    }

    /// The namespace of a row.
    pub fn of(&self, row: usize) -> i64 {
        match self {
            Self::One(namespace, _) => *namespace,
            Self::Each(namespaces) => namespaces[row],
        }
    }
}

/// Something with a map in it, which has no hash: only subtasks without siblings have such keys.
fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(field) => has_map(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

impl KeyedState {
    /// The key groups of these keys: those by which an exchange routes rows.
    pub fn key_groups(&self, keys: &[ArrayRef], rows: usize) -> Vec<KeyGroup> {
        key_groups(self.hashed(keys), rows, self.max_parallelism)
    }

    /// Those columns of a key that choose the key group.
    fn hashed<'a>(&self, keys: &'a [ArrayRef]) -> &'a [ArrayRef] {
        &keys[self.unhashed..keys.len() - self.tail]
    }

    /// Until when a row is alive, by its whole key and its value.
    fn end_of(&self, key: &[u8], value: &[u8]) -> Option<i64> {
        match self.lifetime {
            Lifetime::Namespace => {
                let bytes = key.get(PREFIX_BYTES - 8..PREFIX_BYTES)?;
                Some(i64::from_be_bytes(bytes.try_into().ok()?) ^ i64::MIN)
            }
            // Behind the flag that says that it is not NULL.
            Lifetime::FirstValue => Some(i64::from_le_bytes(value.get(1..9)?.try_into().ok()?)),
        }
    }

    /// What a reader must agree with.
    pub fn describe(&self) -> String {
        let Self { key_types, value_types, .. } = self;
        format!("rows {ROWS_VERSION}, keys {key_types:?}, values {value_types:?}")
    }

    fn prefix(&self, key_group: u32, namespace: i64) -> [u8; PREFIX_BYTES] {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..2].copy_from_slice(&(key_group as u16).to_be_bytes());
        prefix[2..6].copy_from_slice(&self.id.to_be_bytes());
        prefix[6..].copy_from_slice(&(namespace ^ i64::MIN).to_be_bytes());
        prefix
    }
}

/// The key groups of keys of these columns.
pub fn key_groups(keys: &[ArrayRef], rows: usize, max_parallelism: u32) -> Vec<KeyGroup> {
    key_hashes(keys, rows).into_iter().map(|hash| key_group_of(hash, max_parallelism)).collect()
}

/// The hashes of keys of these columns.
pub fn key_hashes(keys: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = Vec::new();
    if keys.iter().any(|column| has_map(column.data_type())) {
        let mut encoded = EncodedRows::default();
        encoded.encode(keys, rows);
        hashes.extend((0..rows).map(|row| hash_bytes(encoded.row(row))));
    } else {
        hash_columns(keys, rows, &mut hashes);
    }
    hashes
}

/// Options of the files, pinned: they are part of the format.
fn file_options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_format_version(5);
    blocks.set_block_size(BLOCK_BYTES);
    // A store has a cache; what is read once needs none.
    blocks.disable_cache();
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// Names of local files and directories begin with this and the id of their process.
const LOCAL_PREFIX: &str = "tidemill-state-";

/// A name for a local file or directory of this process.
fn local_name() -> String {
    format!("{LOCAL_PREFIX}{}-{}", std::process::id(), uuid::Uuid::new_v4().simple())
}

/// Deletes what processes that are gone have left in `scratch`.
pub fn sweep(scratch: &Path) {
    let processes = Path::new("/proc");
    let Ok(entries) = std::fs::read_dir(scratch) else { return };
    if !processes.join("self").exists() {
        return;
    }
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(LOCAL_PREFIX)?.split('-').next());
        if let Some(process) = process.filter(|process| process.parse::<u32>().is_ok())
            && !processes.join(process).exists()
        {
            let path = entry.path();
            let deleted = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            if let Err(error) = deleted {
                tracing::debug!(path = %path.display(), %error, "a local file of a process that is gone stays");
            }
        }
    }
}

fn local_error(path: &Path, doing: &'static str, reason: impl ToString) -> StorageError {
    StorageError::Local { path: path.display().to_string(), doing, reason: reason.to_string() }
}

/// What two ranges of key groups have in common.
fn intersection(a: &Range<u32>, b: &Range<u32>) -> Range<u32> {
    a.start.max(b.start)..a.end.min(b.end)
}
