//! Sorts rows and writes them to files.

use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use rocksdb::{Options, SstFileWriter};
use tidemill_common::checkpoint::StateFile;

use super::store::PinnedRows;
use super::{FILE_BYTES_TARGET, KeyedState, file_options, local_error, local_name};
use crate::encoding::EncodedRows;
use crate::storage::{FileReader, FileWriter, StorageError};

/// Rows that are copied, encoded and sorted at a time, if their key groups allow it.
const CHUNK_ROWS: usize = 8 * 1024;

/// Where rows come from, no two of the same namespace and key. Rows have any numbers.
pub trait RowSource: Send + Sync {
    /// The numbers of all rows.
    fn rows(&self) -> Vec<u32>;

    /// Key columns of these rows.
    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef>;

    /// Value columns of these rows.
    fn values(&self, rows: &[u32]) -> Vec<ArrayRef>;

    /// The namespace of a row.
    fn namespace(&self, row: u32) -> i64;
}

/// A row on its way into order.
#[derive(Clone, Copy)]
struct Entry {
    key_group: u16,
    namespace: i64,
    /// The first bytes of the key, which mostly decide.
    start: u64,
    part: u32,
    row: u32,
}

/// Encoded rows of one source.
struct Part {
    run: u64,
    keys: EncodedRows,
    values: EncodedRows,
}

/// A source and its rows by key group, as `key group << 32 | row`.
struct Sorted<'a> {
    run: u64,
    source: &'a dyn RowSource,
    rows: Vec<u64>,
    next: usize,
}

impl<'a> Sorted<'a> {
    /// Sorts, and counts the rows of each key group.
    fn new(state: &KeyedState, run: u64, source: &'a dyn RowSource, counts: &mut [usize]) -> Self {
        let all = source.rows();
        let mut rows = Vec::with_capacity(all.len());
        for chunk in all.chunks(CHUNK_ROWS) {
            let key_groups = state.key_groups(&source.keys(chunk), chunk.len());
            rows.extend(key_groups.iter().zip(chunk).map(|(group, row)| u64::from(group.0) << 32 | u64::from(*row)));
            key_groups.iter().for_each(|group| counts[usize::from(group.0)] += 1);
        }
        rows.sort_unstable();
        Self { run, source, rows, next: 0 }
    }

    /// Encodes the rows up to a key group.
    fn encode(&mut self, end: usize, parts: &mut Vec<Part>, entries: &mut Vec<Entry>) {
        let ahead = &self.rows[self.next..];
        let own = &ahead[..ahead.partition_point(|row| (row >> 32) < end as u64)];
        self.next += own.len();
        if own.is_empty() {
            return;
        }
        let rows: Vec<u32> = own.iter().map(|row| *row as u32).collect();
        let mut part = Part { run: self.run, keys: EncodedRows::default(), values: EncodedRows::default() };
        part.keys.encode(&self.source.keys(&rows), rows.len());
        part.values.encode(&self.source.values(&rows), rows.len());
        entries.extend(own.iter().zip(&rows).enumerate().map(|(at, (sorted, row))| Entry {
            key_group: (sorted >> 32) as u16,
            namespace: self.source.namespace(*row),
            start: start_of(part.keys.row(at)),
            part: parts.len() as u32,
            row: at as u32,
        }));
        parts.push(part);
    }
}

impl KeyedState {
    /// Writes the rows of a store into files of a checkpoint. Their local form is made in `scratch`.
    ///
    /// # Errors
    /// If a file cannot be written, or the store cannot be read.
    pub fn write_stored(
        &self,
        stored: &PinnedRows,
        sequence: u64,
        scratch: &Path,
        writer: &FileWriter,
    ) -> Result<Vec<StateFile>, StorageError> {
        let (options, mut files) = (file_options(), Vec::new());
        let each = |file: LocalFile| {
            files.push(file.upload(sequence, writer)?);
            Ok(())
        };
        let mut made = Files { options: &options, scratch, open: None, each };
        let mut rows = stored.cursor();
        while let Some((key, value)) = rows.row() {
            made.put(key, value)?;
            rows.next();
        }
        rows.status()?;
        made.close()?;
        Ok(files)
    }

    /// Writes the rows of these sources, each a run of its own, into files of rising key groups on this
    /// machine.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_local(
        &self,
        sources: &[(u64, &dyn RowSource)],
        scratch: &Path,
    ) -> Result<Vec<LocalFile>, StorageError> {
        let mut written = Vec::new();
        let mut counts = vec![0; self.max_parallelism as usize];
        let mut sorted: Vec<_> =
            sources.iter().map(|(run, source)| Sorted::new(self, *run, *source, &mut counts)).collect();
        let options = file_options();
        let each = |file| {
            written.push(file);
            Ok(())
        };
        let mut files = Files { options: &options, scratch, open: None, each };
        let mut whole = Vec::new();
        for Range { end, .. } in chunks(&counts) {
            let (mut parts, mut entries) = (Vec::new(), Vec::new());
            sorted.iter_mut().for_each(|source| source.encode(end, &mut parts, &mut entries));
            let key = |entry: &Entry| parts[entry.part as usize].keys.row(entry.row as usize);
            let run = |entry: &Entry| parts[entry.part as usize].run;
            entries.sort_unstable_by(|a, b| {
                let order = (a.key_group, a.namespace, a.start).cmp(&(b.key_group, b.namespace, b.start));
                order.then_with(|| key(a).cmp(key(b))).then_with(|| run(a).cmp(&run(b)))
            });
            for entry in &entries {
                let part = &parts[entry.part as usize];
                whole.clear();
                whole.extend_from_slice(&self.prefix(u32::from(entry.key_group), entry.namespace));
                whole.extend_from_slice(key(entry));
                whole.extend_from_slice(&part.run.to_be_bytes());
                files.put(&whole, part.values.row(entry.row as usize))?;
            }
        }
        files.close()?;
        Ok(written)
    }
}

/// Ranges of key groups that have about [`CHUNK_ROWS`] rows.
fn chunks(counts: &[usize]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut rows) = (0, 0);
    for (key_group, count) in counts.iter().enumerate() {
        if rows > 0 && rows + count > CHUNK_ROWS {
            chunks.push(start..key_group);
            (start, rows) = (key_group, 0);
        }
        rows += count;
    }
    if rows > 0 {
        chunks.push(start..counts.len());
    }
    chunks
}

/// The files of one writing.
struct Files<'a, E> {
    options: &'a Options,
    scratch: &'a Path,
    open: Option<OpenFile<'a>>,
    each: E,
}

impl<E: FnMut(LocalFile) -> Result<(), StorageError>> Files<'_, E> {
    /// Adds a row, by its whole key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let key_group = key.first_chunk().map_or(0, |group| u16::from_be_bytes(*group));
        if let Some(full) = self.open.take_if(|open| open.is_full(key_group)) {
            (self.each)(full.close()?)?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(OpenFile::create(self.options, self.scratch, key_group)?),
        };
        open.put(key_group, key, value)
    }

    fn close(&mut self) -> Result<(), StorageError> {
        match self.open.take() {
            Some(open) => (self.each)(open.close()?),
            None => Ok(()),
        }
    }
}

/// A path that is deleted when dropped.
struct LocalPath(PathBuf);

impl Drop for LocalPath {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "a local file stays");
        }
    }
}

/// A file of rows on this machine. Deleted when dropped.
pub struct LocalFile {
    path: LocalPath,
    key_groups: Range<u32>,
    rows: usize,
}

impl LocalFile {
    /// Brings files of a checkpoint to this machine, and calls `each` with one after the other.
    ///
    /// # Errors
    /// If one is missing or damaged, cannot be written here, or `each` fails.
    pub fn fetch(
        files: &[StateFile],
        reader: &FileReader,
        scratch: &Path,
        mut each: impl FnMut(Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let path = || scratch.join(format!("{}.sst", local_name()));
        reader.fetch(files, path, |file, path| {
            each(Self { path: LocalPath(path), key_groups: file.key_groups.clone(), rows: 0 })
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// The key groups of its rows.
    pub fn key_groups(&self) -> &Range<u32> {
        &self.key_groups
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes it to where checkpoints are kept.
    ///
    /// # Errors
    /// If it cannot be read, or the copy cannot be written.
    pub fn upload(&self, sequence: u64, writer: &FileWriter) -> Result<StateFile, StorageError> {
        let content = std::fs::read(self.path()).map_err(|error| local_error(self.path(), "read", error))?;
        let file = writer.write(content.into(), self.key_groups.clone(), sequence)?;
        writer.keep(&file, self.path());
        Ok(file)
    }
}

/// A file in the making.
struct OpenFile<'a> {
    // Before the path that it is at.
    file: SstFileWriter<'a>,
    path: LocalPath,
    first: u16,
    last: u16,
    rows: usize,
}

impl<'a> OpenFile<'a> {
    fn create(options: &'a Options, scratch: &Path, first: u16) -> Result<Self, StorageError> {
        let path = scratch.join(format!("{}.sst", local_name()));
        let file = SstFileWriter::create(options);
        file.open(&path).map_err(|error| local_error(&path, "written", error))?;
        Ok(Self { file, path: LocalPath(path), first, last: first, rows: 0 })
    }

    fn is_full(&self, key_group: u16) -> bool {
        key_group != self.last && self.file.file_size() >= FILE_BYTES_TARGET
    }

    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.last = key_group;
        self.rows += 1;
        self.file.put(key, value).map_err(|error| local_error(&self.path.0, "written", error))
    }

    fn close(mut self) -> Result<LocalFile, StorageError> {
        self.file.finish().map_err(|error| local_error(&self.path.0, "written", error))?;
        Ok(LocalFile { path: self.path, key_groups: u32::from(self.first)..u32::from(self.last) + 1, rows: self.rows })
    }
}

fn start_of(key: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = key.len().min(8);
    word[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(word)
}
