//! Sorts rows and writes them to files.

use std::ops::Range;
use std::path::Path;

use rocksdb::SstFileWriter;
use tidemill_common::checkpoint::StateFile;

use super::{FILE_BYTES_TARGET, KeyedRows, KeyedState, file_options, local_error};
use crate::encoding::EncodedRows;
use crate::storage::{FileWriter, StorageError};

/// A row on its way into order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key_group: u16,
    namespace: i64,
    /// The first bytes of the key, which mostly decide.
    start: u64,
    part: u32,
    row: u32,
}

/// Rows and their bytes.
struct Part {
    keys: EncodedRows,
    values: EncodedRows,
}

impl KeyedState {
    /// Writes rows, no two of the same namespace and key, into files of rising key groups. Their local
    /// form is made in `scratch`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(
        &self,
        rows: Vec<KeyedRows>,
        run: u64,
        scratch: &Path,
        writer: &FileWriter,
    ) -> Result<Vec<StateFile>, StorageError> {
        let mut parts = Vec::with_capacity(rows.len());
        let mut entries = Vec::with_capacity(rows.iter().map(|rows| rows.namespaces.rows()).sum());
        for KeyedRows { namespaces, columns } in rows {
            let count = namespaces.rows();
            let (keys, values) = columns.split_at(self.key_types.len());
            let key_groups = self.key_groups(keys, count);
            let mut part = Part { keys: EncodedRows::default(), values: EncodedRows::default() };
            part.keys.encode(keys, count);
            part.values.encode(values, count);
            entries.extend(key_groups.iter().enumerate().map(|(row, key_group)| Entry {
                key_group: key_group.0,
                namespace: namespaces.of(row),
                start: start_of(part.keys.row(row)),
                part: parts.len() as u32,
                row: row as u32,
            }));
            parts.push(part);
        }
        let key = |entry: &Entry| parts[entry.part as usize].keys.row(entry.row as usize);
        entries.sort_unstable_by(|a, b| {
            let order = (a.key_group, a.namespace, a.start).cmp(&(b.key_group, b.namespace, b.start));
            order.then_with(|| key(a).cmp(key(b)))
        });
        let mut files = Vec::new();
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (content, key_groups, written) = self.file(rest, &parts, run, scratch)?;
            files.push(writer.write(content.into(), key_groups, run)?);
            rest = &rest[written..];
        }
        Ok(files)
    }

    /// Makes one file of as many rows as it should hold: its content, key groups, and number of rows.
    fn file(
        &self,
        entries: &[Entry],
        parts: &[Part],
        run: u64,
        scratch: &Path,
    ) -> Result<(Vec<u8>, Range<u32>, usize), StorageError> {
        let path = scratch.join(format!("{}.sst", uuid::Uuid::new_v4().simple()));
        let fail = |error: rocksdb::Error| local_error(&path, "written", error);
        let options = file_options();
        let mut file = SstFileWriter::create(&options);
        file.open(&path).map_err(fail)?;
        let mut key = Vec::new();
        let mut written = 0;
        let (first, mut last) = (entries[0].key_group, entries[0].key_group);
        for entry in entries {
            if entry.key_group != last {
                if file.file_size() >= FILE_BYTES_TARGET {
                    break;
                }
                last = entry.key_group;
            }
            let part = &parts[entry.part as usize];
            key.clear();
            key.extend_from_slice(&self.prefix(u32::from(entry.key_group), entry.namespace));
            key.extend_from_slice(part.keys.row(entry.row as usize));
            key.extend_from_slice(&run.to_be_bytes());
            file.put(&key, part.values.row(entry.row as usize)).map_err(fail)?;
            written += 1;
        }
        file.finish().map_err(fail)?;
        drop(file);
        let content = std::fs::read(&path).map_err(|error| local_error(&path, "read", error))?;
        std::fs::remove_file(&path).map_err(|error| local_error(&path, "deleted", error))?;
        Ok((content, u32::from(first)..u32::from(last) + 1, written))
    }
}

fn start_of(key: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = key.len().min(8);
    word[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(word)
}
