//! Sorts rows and writes them to files.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};

use arrow::array::ArrayRef;
use rocksdb::{Options, SstFileWriter};
use tidemill_common::checkpoint::StateFile;

use super::by_group::ByKeyGroup;
use super::local::{LocalFile, LocalPath, TakeFile, upload_beside};
use super::memory::WriteMemory;
use super::store::PinnedRows;
use super::{KeyedState, file_options, local_error};
use crate::encoding::EncodedRows;
use crate::storage::{FileWriter, StorageError};

/// Rows by which the size of all is estimated.
const SAMPLE_ROWS: usize = 256;

/// Where rows come from, no two of the same namespace and key. Rows have any numbers.
pub trait RowSource: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

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

/// Encoded rows of some key groups, in order.
struct Chunk {
    parts: Vec<Part>,
    entries: Vec<Entry>,
}

/// A source and its rows by key group.
struct Sorted<'a> {
    run: u64,
    source: &'a dyn RowSource,
    rows: ByKeyGroup,
}

impl<'a> Sorted<'a> {
    fn new(state: &KeyedState, run: u64, source: &'a dyn RowSource) -> Self {
        let keys = |rows: &[u32]| state.hashed(&source.keys(rows)).to_vec();
        Self { run, source, rows: ByKeyGroup::new(source.rows(), state.max_parallelism, keys) }
    }

    /// Encodes the rows of some key groups.
    fn encode(&self, key_groups: Range<usize>, into: &mut Chunk) {
        let rows = self.rows.of(key_groups.clone());
        if rows.is_empty() {
            return;
        }
        let mut part = Part { run: self.run, keys: EncodedRows::default(), values: EncodedRows::default() };
        part.keys.encode(&self.source.keys(rows), rows.len());
        part.values.encode(&self.source.values(rows), rows.len());
        let mut at = 0;
        into.entries.reserve(rows.len());
        for key_group in key_groups {
            for row in self.rows.of(key_group..key_group + 1) {
                into.entries.push(Entry {
                    key_group: key_group as u16,
                    namespace: self.source.namespace(*row),
                    start: start_of(part.keys.row(at)),
                    part: into.parts.len() as u32,
                    row: at as u32,
                });
                at += 1;
            }
        }
        into.parts.push(part);
    }

    /// About how many bytes the rows have, by a few of them.
    fn bytes(&self) -> usize {
        let all = self.rows.of(0..usize::MAX);
        let some: Vec<u32> = all.iter().step_by(all.len().div_ceil(SAMPLE_ROWS).max(1)).copied().collect();
        if some.is_empty() {
            return 0;
        }
        let mut encoded = EncodedRows::default();
        let mut bytes = 0;
        for columns in [self.source.keys(&some), self.source.values(&some)] {
            encoded.encode(&columns, some.len());
            bytes += encoded.bytes.len();
        }
        (bytes / some.len() + size_of::<Entry>()) * all.len()
    }
}

impl Chunk {
    fn sort(&mut self) {
        let Self { parts, entries } = self;
        let key = |entry: &Entry| parts[entry.part as usize].keys.row(entry.row as usize);
        let run = |entry: &Entry| parts[entry.part as usize].run;
        entries.sort_unstable_by(|a, b| {
            let order = (a.key_group, a.namespace, a.start).cmp(&(b.key_group, b.namespace, b.start));
            order.then_with(|| key(a).cmp(key(b))).then_with(|| run(a).cmp(&run(b)))
        });
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
        memory: &WriteMemory,
    ) -> Result<Vec<StateFile>, StorageError> {
        upload_beside(sequence, writer, memory, |take| {
            let mut files =
                Files { options: &file_options(), scratch, file_bytes: memory.file_bytes, open: None, take };
            let mut rows = stored.cursor();
            while let Some((key, value)) = rows.row() {
                files.put(key, value)?;
                rows.next();
            }
            rows.status()?;
            files.close()
        })
    }

    /// Writes the rows of these sources, each a run of its own, into files of a checkpoint. Their local form
    /// is made in `scratch`. The sources are given up before the last files are where they belong.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(
        &self,
        sources: Vec<(u64, Arc<dyn RowSource>)>,
        sequence: u64,
        scratch: &Path,
        writer: &FileWriter,
        memory: &WriteMemory,
    ) -> Result<Vec<StateFile>, StorageError> {
        upload_beside(sequence, writer, memory, move |take| self.make_files(&sources, scratch, memory, take))
    }

    /// Writes the rows of these sources, each a run of its own, into files of rising key groups on this
    /// machine.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_local(
        &self,
        sources: &[(u64, Arc<dyn RowSource>)],
        scratch: &Path,
        memory: &WriteMemory,
    ) -> Result<Vec<LocalFile>, StorageError> {
        let mut written = Vec::new();
        self.make_files(sources, scratch, memory, &mut |file| {
            written.push(file);
            Ok(())
        })?;
        Ok(written)
    }

    /// Encodes and sorts chunk after chunk, when there is memory for it. If there are several, one is made
    /// while the one before is written.
    fn make_files(
        &self,
        sources: &[(u64, Arc<dyn RowSource>)],
        scratch: &Path,
        memory: &WriteMemory,
        take: &mut TakeFile<'_>,
    ) -> Result<(), StorageError> {
        let _taken = memory.sort(sources.iter().map(|(_, source)| source.count()).sum());
        let sorted: Vec<_> = sources.iter().map(|(run, source)| Sorted::new(self, *run, source.as_ref())).collect();
        let chunks = chunks(&sorted, self.max_parallelism as usize, memory.chunk_bytes);
        let options = file_options();
        let mut files = Files { options: &options, scratch, file_bytes: memory.file_bytes, open: None, take };
        let mut whole = Vec::new();
        let mut put = |chunk: Chunk| -> Result<(), StorageError> {
            for entry in &chunk.entries {
                let part = &chunk.parts[entry.part as usize];
                whole.clear();
                whole.extend_from_slice(&self.prefix(u32::from(entry.key_group), entry.namespace));
                whole.extend_from_slice(part.keys.row(entry.row as usize));
                whole.extend_from_slice(&part.run.to_be_bytes());
                files.put(&whole, part.values.row(entry.row as usize))?;
            }
            Ok(())
        };
        let encode = |key_groups: &Range<usize>| {
            let mut chunk = Chunk { parts: Vec::new(), entries: Vec::new() };
            sorted.iter().for_each(|source| source.encode(key_groups.clone(), &mut chunk));
            chunk.sort();
            chunk
        };
        if let [ahead @ .., last] = &chunks[..]
            && !ahead.is_empty()
        {
            std::thread::scope(|scope| {
                // Without a queue: a chunk is handed over when the one before has been written.
                let (give, made) = mpsc::sync_channel(0);
                let encode = &encode;
                let make = move || ahead.iter().chain([last]).map(encode).try_for_each(|chunk| give.send(chunk));
                let thread = std::thread::Builder::new().name("sort".to_owned()).spawn_scoped(scope, make);
                thread.map_err(|error| local_error(scratch, "written by a thread of its own", error))?;
                made.into_iter().try_for_each(&mut put)
            })?;
        } else {
            chunks.iter().map(encode).try_for_each(&mut put)?;
        }
        files.close()
    }
}

/// Ranges of key groups that have about so many bytes.
fn chunks(sources: &[Sorted<'_>], key_groups: usize, chunk_bytes: usize) -> Vec<Range<usize>> {
    let rows = |group: usize| sources.iter().map(|source| source.rows.count(group)).sum::<usize>();
    let all: usize = (0..key_groups).map(rows).sum();
    let row_bytes = sources.iter().map(Sorted::bytes).sum::<usize>() / all.max(1);
    let rows_max = chunk_bytes / row_bytes.max(1);
    let mut chunks = Vec::new();
    let (mut start, mut ahead) = (0, 0);
    for group in 0..key_groups {
        let count = rows(group);
        if ahead > 0 && ahead + count > rows_max {
            chunks.push(start..group);
            (start, ahead) = (group, 0);
        }
        ahead += count;
    }
    if ahead > 0 {
        chunks.push(start..key_groups);
    }
    chunks
}

/// The files of one writing.
struct Files<'a, 'take> {
    options: &'a Options,
    scratch: &'a Path,
    file_bytes: usize,
    open: Option<OpenFile<'a>>,
    take: &'a mut TakeFile<'take>,
}

impl Files<'_, '_> {
    /// Adds a row, by its whole key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let key_group = key.first_chunk().map_or(0, |group| u16::from_be_bytes(*group));
        if let Some(full) = self.open.take_if(|open| open.is_full(key_group, self.file_bytes)) {
            (self.take)(full.close()?)?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(OpenFile::create(self.options, self.scratch, key_group)?),
        };
        open.put(key_group, key, value)
    }

    fn close(&mut self) -> Result<(), StorageError> {
        match self.open.take() {
            Some(open) => (self.take)(open.close()?),
            None => Ok(()),
        }
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
        let path = LocalPath::new(scratch);
        let file = SstFileWriter::create(options);
        file.open(&path.0).map_err(|error| local_error(&path.0, "written", error))?;
        Ok(Self { file, path, first, last: first, rows: 0 })
    }

    fn is_full(&self, key_group: u16, file_bytes: usize) -> bool {
        key_group != self.last && self.file.file_size() >= file_bytes as u64
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
