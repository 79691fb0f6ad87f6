//! Writes part files: hidden while they grow, renamed when they are published.
//!
//! In a job with checkpoints a part ends at every barrier and is published when the checkpoint that names
//! it is complete. Without checkpoints a part is published when it is finished.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidemill_common::batch::Batch;
use tidemill_common::ids::CheckpointId;

use super::parts::{Owner, PendingPart, PendingParts, sync_directory};
use super::{IDENTIFIER, Settings, io_error};
use crate::api::{ConnectorError, ConnectorMetrics, Encoder, PreparedEpoch, SinkWriter, SubtaskContext};

/// Bytes gathered before they are handed to the file.
const WRITE_BYTES: usize = 256 * 1024;

/// Creates the sink's directory.
pub(crate) fn create_directory(settings: &Settings) -> Result<(), ConnectorError> {
    tidemill_common::durable::create_directory(&settings.path)
        .map_err(|error| io_error(&settings.table, "create the directory", &settings.path, &error))
}

/// Writes the parts of one subtask: `part-<id>-<subtask>-<number>`.
pub(crate) struct PartWriter {
    settings: Settings,
    encoder: Box<dyn Encoder>,
    metrics: Arc<ConnectorMetrics>,
    owner: Owner,
    /// Whether parts wait for checkpoints.
    checkpointed: bool,
    /// `part-<id>-<subtask>-`; the id differs from writer to writer.
    prefix: String,
    extension: String,
    number: u64,
    part: Option<Part>,
    /// Closed since the last barrier.
    closed: Vec<PendingPart>,
    /// Named in a checkpoint that is not known to be complete.
    epochs: VecDeque<(CheckpointId, PendingParts)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Part {
    file: BufWriter<File>,
    hidden: PathBuf,
    names: PendingPart,
    opened: Instant,
}

impl PartWriter {
    pub fn new(settings: Settings, encoder: Box<dyn Encoder>, format: &str, context: &SubtaskContext) -> Self {
        Self {
            settings,
            encoder,
            metrics: context.metrics.clone(),
            owner: Owner::new(context),
            checkpointed: context.checkpointed,
            prefix: format!("part-{}-{}-", uuid::Uuid::new_v4(), context.subtask),
            extension: format.to_owned(),
            number: 0,
            part: None,
            closed: Vec::new(),
            epochs: VecDeque::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn open(&mut self) -> Result<&mut Part, ConnectorError> {
        if self.part.is_none() {
            create_directory(&self.settings)?;
            let name = format!("{}{}.{}", self.prefix, self.number, self.extension);
            self.number += 1;
            let names = PendingPart { hidden: self.owner.hidden(&name), name, bytes: 0 };
            let hidden = self.settings.path.join(&names.hidden);
            let file =
                File::create(&hidden).map_err(|error| io_error(&self.settings.table, "create", &hidden, &error))?;
            let mut part =
                Part { file: BufWriter::with_capacity(WRITE_BYTES, file), hidden, names, opened: Instant::now() };
            let header = self.encoder.file_framing().header;
            part.file
                .write_all(&header)
                .map_err(|error| io_error(&self.settings.table, "write", &part.hidden, &error))?;
            part.names.bytes = header.len() as u64;
            self.part = Some(part);
        }
        self.part.as_mut().ok_or(ConnectorError::Internal { connector: IDENTIFIER, reason: "no part".to_owned() })
    }

    /// Ends the part: it is complete and synced. Without checkpoints it is published at once.
    fn close(&mut self) -> Result<(), ConnectorError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let table = &self.settings.table;
        let fail = |what: &str, error: std::io::Error| io_error(table, what, &part.hidden, &error);
        let file = part.file.into_inner().map_err(|error| fail("write", error.into_error()))?;
        file.sync_all().map_err(|error| fail("sync", error))?;
        self.closed.push(part.names);
        if self.checkpointed { Ok(()) } else { self.take_closed().publish(&self.settings.table) }
    }

    fn take_closed(&mut self) -> PendingParts {
        PendingParts::new(&self.settings.path, std::mem::take(&mut self.closed))
    }
}

impl SinkWriter for PartWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
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
        part.names.bytes += written;
        let full = part.names.bytes >= self.settings.part_bytes_max;
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

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        self.close()?;
        if self.closed.is_empty() {
            return Ok(None);
        }
        // The checkpoint must not name a file whose name a crash could undo.
        sync_directory(&self.settings.path, &self.settings.table)?;
        let parts = self.take_closed();
        let encoded = parts.encode(&self.settings.table)?;
        self.epochs.push_back((checkpoint, parts));
        Ok(Some(encoded))
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        while let Some((_, parts)) = self.epochs.front().filter(|(epoch, _)| *epoch <= checkpoint) {
            parts.publish(&self.settings.table)?;
            self.epochs.pop_front();
        }
        Ok(())
    }

    fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        let mut kept = BTreeSet::new();
        for epoch in &epochs {
            let parts = PendingParts::decode(&epoch.rows, &self.settings.table)?;
            parts.publish(&self.settings.table)?;
            kept.extend(parts.parts.into_iter().map(|part| part.hidden));
        }
        self.owner.sweep(&self.settings.path, &kept);
        Ok(())
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
    /// A part that no checkpoint names belongs to a job that failed: nobody may read it.
    fn drop(&mut self) {
        let open = self.part.take().map(|part| part.hidden);
        let closed = self.closed.iter().map(|part| self.settings.path.join(&part.hidden));
        for hidden in open.into_iter().chain(closed) {
            let _ = fs::remove_file(hidden);
        }
    }
}
