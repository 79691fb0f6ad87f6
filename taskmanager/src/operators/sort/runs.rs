//! Rows in order in local files, as frames of the shuffle, and merging them.
//!
//! A file has no name once it is open, so that nothing is left of it however the process ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, Rows};
use tidemill_common::batch::{Batch, StreamElement};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_state::storage::StorageError;

use super::{Order, Place, internal, storage};
use crate::operator::OperatorError;
use crate::shuffle::Decoder;
use crate::shuffle::codec::encode;
use crate::shuffle::frame::{HEADER_BYTES, Header};

/// Runs of one size that are merged into one: so many are read at a time, for each size there is.
const FAN_IN: usize = 16;
/// Chunks of so many runs fit into the operator's share.
const CHUNKS_IN_SHARE: usize = 16 * FAN_IN;
/// What a chunk has at least, so that reading it is worth while.
const CHUNK_ROWS_MIN: usize = 64;

/// How many rows of a run are read at a time.
pub(super) fn rows_a_chunk(share_bytes: usize, row_bytes: usize) -> usize {
    (share_bytes / CHUNKS_IN_SHARE / row_bytes.max(1)).clamp(CHUNK_ROWS_MIN, BATCH_ROWS_TARGET)
}

/// The runs of one operator.
pub(super) struct Runs {
    schema: SchemaRef,
    scratch: PathBuf,
    /// Oldest first. Runs of one level are about of one size.
    runs: Vec<Run>,
}

struct Run {
    file: File,
    path: String,
    level: u32,
}

/// A run that is being written.
pub(super) struct RunWriter {
    file: BufWriter<File>,
    path: String,
    level: u32,
}

impl RunWriter {
    /// Appends rows.
    pub fn write(&mut self, records: &RecordBatch) -> Result<(), OperatorError> {
        let element = StreamElement::Batch(Batch::insert(records.clone()));
        let frame = encode(&element, 0, 0, true).map_err(internal)?;
        let written = frame.slices().try_for_each(|bytes| self.file.write_all(bytes));
        written.map_err(|error| failed(&self.path, "written", &error))
    }
}

impl Runs {
    pub fn new(schema: SchemaRef, scratch: PathBuf) -> Self {
        Self { schema, scratch, runs: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Begins a run.
    pub fn begin(&self) -> Result<RunWriter, OperatorError> {
        self.begin_at(0)
    }

    fn begin_at(&self, level: u32) -> Result<RunWriter, OperatorError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(format!("tidemill-sort-{}-{number}", std::process::id()));
        let text = path.display().to_string();
        let open = || {
            std::fs::create_dir_all(&self.scratch)?;
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|error: std::io::Error| failed(&text, "made", &error))?;
        Ok(RunWriter { file: BufWriter::new(file), path: text, level })
    }

    /// The run is written.
    pub fn end(&mut self, run: RunWriter) -> Result<(), OperatorError> {
        let RunWriter { file, path, level } = run;
        let mut file = file.into_inner().map_err(|error| failed(&path, "written", error.error()))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| failed(&path, "read", &error))?;
        self.runs.push(Run { file, path, level });
        Ok(())
    }

    /// Merges runs of one size as soon as there are many. Of a merged run the first `wanted` rows are kept.
    pub fn fold(&mut self, order: &mut Order, rows_a_chunk: usize, wanted: usize) -> Result<(), OperatorError> {
        while let Some(level) = self.runs.last().map(|run| run.level)
            && self.runs.iter().filter(|run| run.level == level).count() >= FAN_IN
        {
            // The newest are those of the lowest level.
            let first = self.runs.iter().position(|run| run.level == level).unwrap_or_default();
            let mut merged =
                Self { schema: self.schema.clone(), scratch: self.scratch.clone(), runs: self.runs.split_off(first) };
            let mut run = self.begin_at(level + 1)?;
            let mut left = wanted;
            merged.merge(order, rows_a_chunk, &mut |records| {
                let records = records.slice(0, records.num_rows().min(left));
                left -= records.num_rows();
                run.write(&records).map(|()| left > 0)
            })?;
            self.end(run)?;
        }
        Ok(())
    }

    /// Hands on the rows of all runs in order, until `emit` wants no more. No run is left.
    pub fn merge(
        &mut self,
        order: &mut Order,
        rows_a_batch: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, OperatorError>,
    ) -> Result<(), OperatorError> {
        let runs = std::mem::take(&mut self.runs);
        let mut heads = BinaryHeap::with_capacity(runs.len());
        let mut cursors = Vec::with_capacity(runs.len());
        for (number, run) in runs.into_iter().enumerate() {
            let mut cursor = Cursor { reader: RunReader::new(run, self.schema.clone()), chunk: None };
            cursor.read(order)?;
            heads.extend(cursor.key().map(|key| Reverse((key, number))));
            cursors.push(cursor);
        }
        let mut merged = Merged::default();
        while let Some(Reverse((_, number))) = heads.pop() {
            let Some(chunk) = &mut cursors[number].chunk else { continue };
            merged.take(number, chunk);
            if chunk.row == chunk.records.num_rows() {
                merged.forget(number);
                cursors[number].read(order)?;
            }
            heads.extend(cursors[number].key().map(|key| Reverse((key, number))));
            if merged.places.len() >= rows_a_batch && !emit(merged.emit(order)?)? {
                return Ok(());
            }
        }
        if !merged.places.is_empty() {
            emit(merged.emit(order)?)?;
        }
        Ok(())
    }
}

/// Where the merge is in a run.
struct Cursor {
    reader: RunReader,
    /// `None` at the end.
    chunk: Option<Chunk>,
}

struct Chunk {
    records: RecordBatch,
    keys: Rows,
    /// The next one.
    row: usize,
}

impl Cursor {
    fn read(&mut self, order: &mut Order) -> Result<(), OperatorError> {
        self.chunk = match self.reader.next()? {
            Some(records) => Some(Chunk { keys: order.keys(&records)?, records, row: 0 }),
            None => None,
        };
        Ok(())
    }

    fn key(&self) -> Option<OwnedRow> {
        self.chunk.as_ref().map(|chunk| chunk.keys.row(chunk.row).owned())
    }
}

/// Rows that were merged and not emitted yet.
#[derive(Default)]
struct Merged {
    chunks: Vec<RecordBatch>,
    /// Which of them is that of a run.
    of_run: Vec<Option<usize>>,
    places: Vec<Place>,
}

impl Merged {
    /// Takes the next row of a chunk.
    fn take(&mut self, run: usize, chunk: &mut Chunk) {
        if self.of_run.len() <= run {
            self.of_run.resize(run + 1, None);
        }
        let at = *self.of_run[run].get_or_insert_with(|| {
            self.chunks.push(chunk.records.clone());
            self.chunks.len() - 1
        });
        self.places.push((at, chunk.row));
        chunk.row += 1;
    }

    /// The run goes on with another chunk.
    fn forget(&mut self, run: usize) {
        if let Some(at) = self.of_run.get_mut(run) {
            *at = None;
        }
    }

    fn emit(&mut self, order: &Order) -> Result<RecordBatch, OperatorError> {
        let records = order.gather(&self.chunks, &self.places)?;
        self.chunks.clear();
        self.of_run.clear();
        self.places.clear();
        Ok(records)
    }
}

struct RunReader {
    file: BufReader<File>,
    path: String,
    decoder: Decoder,
}

impl RunReader {
    fn new(run: Run, schema: SchemaRef) -> Self {
        Self { file: BufReader::new(run.file), path: run.path, decoder: Decoder::new(schema) }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut header = [0; HEADER_BYTES];
        let read = |error: &std::io::Error| failed(&self.path, "read", error);
        if self.file.fill_buf().map_err(|error| read(&error))?.is_empty() {
            return Ok(None);
        }
        self.file.read_exact(&mut header).map_err(|error| read(&error))?;
        let header = Header::decode(&header).map_err(internal)?;
        let mut body = MutableBuffer::from_len_zeroed(header.length as usize);
        self.file.read_exact(body.as_slice_mut()).map_err(|error| read(&error))?;
        match self.decoder.decode(&header, Buffer::from(body)).map_err(internal)? {
            StreamElement::Batch(batch) => Ok(Some(batch.records)),
            _ => Err(internal("a run holds rows only")),
        }
    }
}

fn failed(path: &str, doing: &'static str, error: &std::io::Error) -> OperatorError {
    storage(StorageError::Local { path: path.to_owned(), doing, reason: error.to_string() })
}
