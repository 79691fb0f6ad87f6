//! Reads splits of files: large reads into one buffer a split, lines decoded in place.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use tidemill_common::ids::SplitId;
use tidemill_common::limits::{BATCH_ROWS_TARGET, RECORD_BYTES_MAX};
use tidemill_common::plan::{MetadataColumn, SourceSpec};

use super::metadata::FileMetadata;
use super::partition::{Assembler, Partitioning};
use super::splits::FileSplit;
use super::storage::Storage;
use super::{Settings, io_error};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Origin, Slab, SourcePoll, SourceReader, Split};

/// Bytes read at once. More only when a single line is longer.
const READ_BYTES: usize = 1 << 20;
/// Pause between looks at a followed file that has not grown.
const FOLLOW_PAUSE: Duration = Duration::from_millis(20);

/// The columns that a reader gives: of files, of their paths, and metadata.
pub(crate) struct Columns {
    projection: Vec<usize>,
    partitions: Option<(Partitioning, Assembler)>,
    metadata: Vec<MetadataColumn>,
}

impl Columns {
    pub fn new(source: &SourceSpec, settings: &Settings) -> Self {
        let projection = source.projection.clone();
        let partitions = settings.partitioning.clone().map(|partitioning| {
            let assembler = Assembler::new(&partitioning, &source.table, &projection);
            (partitioning, assembler)
        });
        Self { projection, partitions, metadata: source.metadata.clone() }
    }

    /// What the decoder is to give, as positions in the table of the files.
    pub fn file_projection(&self) -> &[usize] {
        self.partitions.as_ref().map_or(&self.projection, |(_, assembler)| &assembler.file_projection)
    }

    pub fn has_metadata(&self) -> bool {
        !self.metadata.is_empty()
    }

    /// The values of the partition columns of a file.
    pub fn partition_values(&self, settings: &Settings, path: &Path) -> Result<Vec<ArrayRef>, ConnectorError> {
        let Some((partitioning, _)) = &self.partitions else { return Ok(Vec::new()) };
        let texts = partitioning.texts_of(path).ok_or_else(|| ConnectorError::State {
            table: settings.table.clone(),
            reason: format!("'{}' is in no partition", path.display()),
        })?;
        partitioning.values(path, &texts)
    }

    /// Puts together what was decoded of a file, what its path holds, and what is told of it.
    pub fn assemble(
        &self,
        mut records: RecordBatch,
        values: &[ArrayRef],
        found: Option<&FileMetadata>,
    ) -> Result<RecordBatch, ConnectorError> {
        if let Some((_, assembler)) = &self.partitions {
            records = assembler.assemble(&records, values)?;
        }
        found.map_or(Ok(records.clone()), |found| found.append(&records, &self.metadata))
    }
}

/// Reads file splits, taking turns among them.
pub(crate) struct FileReader {
    settings: Settings,
    storage: Storage,
    decoder: Box<dyn Decoder>,
    columns: Columns,
    metrics: Arc<ConnectorMetrics>,
    splits: Vec<OpenSplit>,
    /// The split whose turn is next.
    turn: usize,
}

struct OpenSplit {
    id: SplitId,
    split: FileSplit,
    /// Of the partition columns.
    values: Vec<ArrayRef>,
    /// For METADATA columns.
    found: Option<FileMetadata>,
    file: Box<dyn Read + Send>,
    /// Bytes read: `buffer[begin..filled]` begins at `split.position` of the file.
    buffer: Vec<u8>,
    begin: usize,
    filled: usize,
    at_end: bool,
    /// The first line began before the split and belongs to the one before.
    skip_first_line: bool,
    paused: bool,
}

impl FileReader {
    pub fn new(
        settings: Settings,
        storage: Storage,
        columns: Columns,
        decoder: Box<dyn Decoder>,
        metrics: Arc<ConnectorMetrics>,
    ) -> Self {
        Self { settings, storage, decoder, columns, metrics, splits: Vec::new(), turn: 0 }
    }

    fn open(&self, split: &Split) -> Result<OpenSplit, ConnectorError> {
        let table = &self.settings.table;
        let id = split.id.clone();
        let mut split = FileSplit::from_split(split, table)?;
        // A split inside a file begins with the first line that begins in it: look at the byte before.
        let skip_first_line = split.position == split.start && split.start > 0;
        let from = split.position - u64::from(skip_first_line);
        let file = self.storage.reader(&self.settings, &split.path, from)?;
        let found = match self.columns.has_metadata() {
            true => Some(self.storage.metadata(&self.settings, &split.path)?),
            false => None,
        };
        let values = self.columns.partition_values(&self.settings, &split.path)?;
        split.position = from;
        Ok(OpenSplit {
            id,
            split,
            values,
            found,
            file,
            buffer: Vec::new(),
            begin: 0,
            filled: 0,
            at_end: false,
            skip_first_line,
            paused: false,
        })
    }
}

impl OpenSplit {
    /// Lines that are there as a whole: `buffer[begin..end]`. Reads until there is at least one, or
    /// the file is at its end.
    fn lines(&mut self, settings: &Settings, metrics: &ConnectorMetrics) -> Result<usize, ConnectorError> {
        let mut searched = self.begin;
        loop {
            let rest = &self.buffer[searched..self.filled];
            if let Some(last) = memchr::memrchr(b'\n', rest) {
                return Ok(self.limit(searched + last + 1));
            }
            if self.at_end {
                // The last line may lack its end; in a followed file it is still being written.
                let end = if settings.follow { self.begin } else { self.filled };
                return Ok(self.limit(end));
            }
            searched = self.filled;
            if self.begin > 0 {
                self.buffer.copy_within(self.begin..self.filled, 0);
                self.filled -= self.begin;
                searched -= self.begin;
                self.begin = 0;
            }
            if self.filled >= RECORD_BYTES_MAX {
                return Err(ConnectorError::External {
                    table: settings.table.clone(),
                    reason: format!(
                        "'{}' has a line of more than {RECORD_BYTES_MAX} bytes at byte {}",
                        self.split.path.display(),
                        self.split.position
                    ),
                    action: "is it a file of lines?".to_owned(),
                });
            }
            self.buffer.resize(self.filled + READ_BYTES, 0);
            let fail = |error: std::io::Error| io_error(&settings.table, "read", &self.split.path, &error);
            let read = match self.file.read(&mut self.buffer[self.filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(fail(error)),
            };
            self.filled += read;
            self.at_end = read == 0;
            metrics.bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
    }

    /// Cuts the lines at the end of the split: the last of them is the one that begins before it.
    fn limit(&self, lines_end: usize) -> usize {
        let Some(end) = self.split.end else { return lines_end };
        // The line that holds the byte before the end is the last.
        let Some(left) = end.checked_sub(self.split.position + 1) else { return self.begin };
        let from = self.begin + usize::try_from(left).unwrap_or(usize::MAX).min(self.filled);
        if from >= lines_end {
            return lines_end;
        }
        memchr::memchr(b'\n', &self.buffer[from..lines_end]).map_or(lines_end, |at| from + at + 1)
    }

    fn finished(&self, settings: &Settings) -> bool {
        let passed = self.split.end.is_some_and(|end| self.split.position >= end);
        passed || (self.at_end && self.begin == self.filled && !settings.follow)
    }

    /// Moves on by decoded bytes and lines.
    fn advance(&mut self, bytes: usize, lines: u64) {
        self.begin += bytes;
        self.split.position += bytes as u64;
        if let Some(line) = &mut self.split.line {
            *line += lines;
        }
    }

    /// Lines of the file before the position.
    fn lines_before(&self, settings: &Settings, storage: &Storage) -> Result<u64, ConnectorError> {
        let fail = |error: std::io::Error| io_error(&settings.table, "read", &self.split.path, &error);
        let mut before = storage.reader(settings, &self.split.path, 0)?.take(self.split.position);
        let (mut buffer, mut lines) = (vec![0; READ_BYTES], 0);
        loop {
            match before.read(&mut buffer) {
                Ok(0) => return Ok(lines),
                Ok(read) => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }

    fn origin(&self) -> Origin {
        match self.split.line {
            Some(first_line) => Origin::File { path: self.split.path.to_string_lossy().into(), first_line },
            None => Origin::Other(
                format!("{}, in the lines from byte {}", self.split.path.display(), self.split.position).into(),
            ),
        }
    }
}

impl SourceReader for FileReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError> {
        for split in &splits {
            let split = self.open(split)?;
            self.splits.push(split);
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<SourcePoll, ConnectorError> {
        if self.splits.is_empty() {
            return Ok(SourcePoll::NoSplits);
        }
        for _ in 0..self.splits.len() {
            let index = self.turn % self.splits.len();
            self.turn = index + 1;
            let split = &mut self.splits[index];
            if split.paused {
                continue;
            }
            if split.finished(&self.settings) {
                let id = split.id.clone();
                self.splits.remove(index);
                self.turn = index;
                return Ok(SourcePoll::SplitFinished(id));
            }
            if split.at_end {
                // A followed file: there may be more by now.
                split.at_end = false;
            }
            let mut end = split.lines(&self.settings, &self.metrics)?;
            if split.skip_first_line && end > split.begin {
                let line =
                    memchr::memchr(b'\n', &split.buffer[split.begin..end]).map_or(end - split.begin, |at| at + 1);
                split.advance(line, 0);
                split.skip_first_line = false;
                end = end.max(split.begin);
                if split.finished(&self.settings) {
                    let id = split.id.clone();
                    self.splits.remove(index);
                    self.turn = index;
                    return Ok(SourcePoll::SplitFinished(id));
                }
            }
            if end == split.begin {
                continue;
            }
            let origin = split.origin();
            let slab = Slab { bytes: &split.buffer[split.begin..end], ends: None, origin: &origin };
            let used = match self.decoder.decode(&slab, 0, BATCH_ROWS_TARGET) {
                Err(ConnectorError::Malformed { .. }) if split.split.line.is_none() => {
                    // The split begins inside the file: only now its line numbers are worth counting.
                    self.decoder.take()?;
                    split.split.line = Some(1 + split.lines_before(&self.settings, &self.storage)?);
                    let origin = split.origin();
                    let slab = Slab { origin: &origin, ..slab };
                    self.decoder.decode(&slab, 0, BATCH_ROWS_TARGET)?
                }
                other => other?,
            };
            split.advance(used, self.decoder.pending_records());
            let rows = self.decoder.pending_rows();
            let records = self.columns.assemble(self.decoder.take()?, &split.values, split.found.as_ref())?;
            if rows > 0 {
                return Ok(SourcePoll::Rows { split: split.id.clone(), records });
            }
        }
        let waiting = self.splits.iter().any(|split| !split.paused && !split.at_end);
        if !waiting {
            std::thread::sleep(timeout.min(FOLLOW_PAUSE));
        }
        Ok(SourcePoll::Pending)
    }

    fn set_paused(&mut self, split: &SplitId, paused: bool) {
        if let Some(split) = self.splits.iter_mut().find(|open| open.id == *split) {
            split.paused = paused;
        }
    }

    fn snapshot(&self) -> Vec<Split> {
        let position = |open: &OpenSplit| {
            let mut split = open.split.clone();
            if open.skip_first_line {
                split.position = split.start;
            }
            split.to_split(&self.settings.table).ok()
        };
        self.splits.iter().filter_map(position).collect()
    }
}
