//! Writes part files: hidden while they grow, renamed when they are finished.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidemill_common::batch::Batch;

use super::{Settings, io_error};
use crate::api::{ConnectorError, ConnectorMetrics, Encoder, SinkWriter, SubtaskContext};

/// Bytes gathered before they are handed to the file.
const WRITE_BYTES: usize = 256 * 1024;

/// Creates the sink's directory.
pub(crate) fn create_directory(settings: &Settings) -> Result<(), ConnectorError> {
    fs::create_dir_all(&settings.path)
        .map_err(|error| io_error(&settings.table, "create the directory", &settings.path, &error))
}

/// Writes the parts of one subtask: `part-<id>-<subtask>-<number>`.
pub(crate) struct PartWriter {
    settings: Settings,
    encoder: Box<dyn Encoder>,
    metrics: Arc<ConnectorMetrics>,
    /// `part-<id>-<subtask>-`; the id differs from writer to writer.
    prefix: String,
    extension: String,
    number: u64,
    part: Option<Part>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Part {
    file: BufWriter<File>,
    hidden: PathBuf,
    path: PathBuf,
    size: u64,
    opened: Instant,
}

impl PartWriter {
    pub fn new(settings: Settings, encoder: Box<dyn Encoder>, format: &str, context: &SubtaskContext) -> Self {
        Self {
            settings,
            encoder,
            metrics: context.metrics.clone(),
            prefix: format!("part-{}-{}-", uuid::Uuid::new_v4(), context.subtask),
            extension: format.to_owned(),
            number: 0,
            part: None,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn open(&mut self) -> Result<&mut Part, ConnectorError> {
        if self.part.is_none() {
            create_directory(&self.settings)?;
            let name = format!("{}{}.{}", self.prefix, self.number, self.extension);
            self.number += 1;
            let hidden = self.settings.path.join(format!(".{name}.inprogress"));
            let file =
                File::create(&hidden).map_err(|error| io_error(&self.settings.table, "create", &hidden, &error))?;
            let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
            let header = self.encoder.file_framing().header;
            file.write_all(&header).map_err(|error| io_error(&self.settings.table, "write", &hidden, &error))?;
            self.part = Some(Part {
                file,
                hidden,
                path: self.settings.path.join(name),
                size: header.len() as u64,
                opened: Instant::now(),
            });
        }
        self.part.as_mut().ok_or(ConnectorError::Internal { connector: "filesystem", reason: "no part".to_owned() })
    }

    /// Syncs the part and gives it its name.
    fn close(&mut self) -> Result<(), ConnectorError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let table = &self.settings.table;
        let fail = |what: &str, error: std::io::Error| io_error(table, what, &part.hidden, &error);
        let file = part.file.into_inner().map_err(|error| fail("write", error.into_error()))?;
        file.sync_all().map_err(|error| fail("sync", error))?;
        fs::rename(&part.hidden, &part.path).map_err(|error| fail("rename", error))?;
        if let Ok(directory) = File::open(&self.settings.path) {
            directory.sync_all().map_err(|error| fail("sync the directory of", error))?;
        }
        Ok(())
    }
}

impl SinkWriter for PartWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let terminator = self.encoder.file_framing().terminator;
        self.bytes.clear();
        self.ends.clear();
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut ends = std::mem::take(&mut self.ends);
        self.encoder.encode(&batch.records, &mut bytes, &mut ends)?;
        let table = self.settings.table.clone();
        let mut written = 0;
        let part = self.open()?;
        let mut start = 0;
        for end in &ends {
            part.file
                .write_all(&bytes[start..*end])
                .and_then(|()| part.file.write_all(&terminator))
                .map_err(|error| io_error(&table, "write", &part.hidden, &error))?;
            written += (end - start + terminator.len()) as u64;
            start = *end;
        }
        part.size += written;
        let full = part.size >= self.settings.part_bytes_max;
        self.metrics.bytes.fetch_add(written, Ordering::Relaxed);
        (self.bytes, self.ends) = (bytes, ends);
        if full { self.close() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        let Some(part) = &mut self.part else { return Ok(()) };
        part.file
            .flush()
            .and_then(|()| part.file.get_ref().sync_data())
            .map_err(|error| io_error(&self.settings.table, "write", &part.hidden, &error))
    }

    fn next_timer(&self) -> Option<Instant> {
        self.part.as_ref().map(|part| part.opened + self.settings.part_age_max)
    }

    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        match self.next_timer() {
            Some(due) if due <= Instant::now() => self.close(),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        self.close()
    }
}

impl Drop for PartWriter {
    /// A part that was never finished belongs to a job that failed: nobody may read it.
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            let _ = fs::remove_file(&part.hidden);
        }
    }
}
