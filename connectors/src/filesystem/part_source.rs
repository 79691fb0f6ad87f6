//! Reads files whose format is more than one record after the other, a part of a file at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::ArrayRef;
use bytes::Bytes;
use tidemill_common::ids::SplitId;
use tidemill_common::plan::TableSpec;

use super::Settings;
use super::metadata::FileMetadata;
use super::source::Columns;
use super::splits::FileSplit;
use super::storage::Storage;
use crate::api::{
    ConnectorError, ConnectorMetrics, FileDecoder, FileFormat, FileInput, FilePart, SourcePoll, SourceReader, Split,
    SubtaskContext,
};

/// Reads file splits, taking turns among them.
pub(super) struct PartReader {
    settings: Settings,
    storage: Storage,
    format: &'static dyn FileFormat,
    /// The table as its files have it.
    table: TableSpec,
    columns: Columns,
    context: SubtaskContext,
    splits: Vec<OpenPart>,
    /// The split whose turn is next.
    turn: usize,
}

struct OpenPart {
    id: SplitId,
    /// Its position is the number of rows read.
    split: FileSplit,
    values: Vec<ArrayRef>,
    found: Option<FileMetadata>,
    decoder: Box<dyn FileDecoder>,
    paused: bool,
}

impl PartReader {
    pub fn new(
        settings: Settings,
        storage: Storage,
        format: &'static dyn FileFormat,
        table: TableSpec,
        columns: Columns,
        context: SubtaskContext,
    ) -> Self {
        Self { settings, storage, format, table, columns, context, splits: Vec::new(), turn: 0 }
    }

    fn open(&self, split: &Split) -> Result<OpenPart, ConnectorError> {
        let id = split.id.clone();
        let split = FileSplit::from_split(split, &self.settings.table)?;
        let file = self.storage.input(&self.settings, &split.path)?;
        let found = match self.columns.has_metadata() {
            true => Some(self.storage.metadata(&self.settings, &split.path)?),
            false => None,
        };
        let part = FilePart {
            table: &self.table,
            projection: self.columns.file_projection(),
            file: Arc::new(Counted { file, metrics: self.context.metrics.clone() }),
            range: split.start..split.end.unwrap_or(u64::MAX),
            rows_read: split.position,
        };
        let decoder = self.format.open(part, &self.context)?;
        let values = self.columns.partition_values(&self.settings, &split.path)?;
        Ok(OpenPart { id, split, values, found, decoder, paused: false })
    }
}

impl SourceReader for PartReader {
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
            let part = &mut self.splits[index];
            if part.paused {
                continue;
            }
            let Some(records) = part.decoder.next()? else {
                let id = part.id.clone();
                self.splits.remove(index);
                self.turn = index;
                return Ok(SourcePoll::SplitFinished(id));
            };
            part.split.position += records.num_rows() as u64;
            let records = self.columns.assemble(records, &part.values, part.found.as_ref())?;
            return Ok(SourcePoll::Rows { split: part.id.clone(), records });
        }
        std::thread::sleep(timeout.min(Duration::from_millis(20)));
        Ok(SourcePoll::Pending)
    }

    fn set_paused(&mut self, split: &SplitId, paused: bool) {
        if let Some(part) = self.splits.iter_mut().find(|open| open.id == *split) {
            part.paused = paused;
        }
    }

    fn snapshot(&self) -> Vec<Split> {
        self.splits.iter().filter_map(|part| part.split.to_split(&self.settings.table).ok()).collect()
    }
}

/// Counts the bytes that are read.
struct Counted {
    file: Arc<dyn FileInput>,
    metrics: Arc<ConnectorMetrics>,
}

impl FileInput for Counted {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes, ConnectorError> {
        self.metrics.bytes.fetch_add(length as u64, Ordering::Relaxed);
        self.file.read(start, length)
    }
}
