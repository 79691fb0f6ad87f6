//! Writes part files: hidden while they grow, shown when they are published.
//!
//! In a job with checkpoints all parts end at every barrier and are published when the checkpoint that names
//! them is complete. Without checkpoints a part is published when it is finished.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use tidemill_common::batch::Batch;
use tidemill_common::ids::CheckpointId;
use tidemill_common::time::{TimestampMs, Watermark};

use super::Settings;
use super::commit::PartitionCommits;
use super::encoder::Encoders;
use super::partition::Partitioner;
use super::parts::{PartFile, PartStore, PendingPart, PendingParts};
use crate::api::{ConnectorError, ConnectorMetrics, FileEncoder, PreparedEpoch, SinkWriter, SubtaskContext};

/// Most parts that a writer has open; with one more partition, the part that was idle longest is finished.
const PARTS_OPEN_MAX: usize = 256;
/// Most bytes that the encoders of a writer hold back, all together.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Writes the parts of one subtask: `part-<id>-<subtask>-<number>`.
pub(crate) struct PartWriter {
    settings: Settings,
    encoders: Encoders,
    store: Box<dyn PartStore>,
    partitioner: Option<Partitioner>,
    commits: Option<PartitionCommits>,
    metrics: Arc<ConnectorMetrics>,
    /// Whether parts wait for checkpoints.
    checkpointed: bool,
    /// `part-<id>-<subtask>-`; the id differs from writer to writer.
    prefix: String,
    extension: String,
    number: u64,
    /// By the directory of their partition.
    open: BTreeMap<String, Part>,
    /// When ages of parts were looked at.
    checked: Option<Instant>,
    /// Closed since the last barrier.
    closed: Vec<PendingPart>,
    /// Named in a checkpoint that is not known to be complete.
    epochs: VecDeque<(CheckpointId, PendingParts)>,
    bytes: Vec<u8>,
}

struct Part {
    file: Box<dyn PartFile>,
    encoder: Box<dyn FileEncoder>,
    bytes: u64,
    opened: Instant,
    written: Instant,
}

impl PartWriter {
    pub fn new(
        settings: Settings,
        encoders: Encoders,
        store: Box<dyn PartStore>,
        (columns, extension): (usize, &str),
        context: &SubtaskContext,
    ) -> Self {
        Self {
            encoders,
            store,
            partitioner: settings.partitioning.clone().map(|partitioning| Partitioner::new(partitioning, columns)),
            commits: settings.commit.clone().map(PartitionCommits::new),
            metrics: context.metrics.clone(),
            checkpointed: context.checkpointed,
            prefix: format!("part-{}-{}-", uuid::Uuid::new_v4(), context.subtask),
            extension: extension.to_owned(),
            number: 0,
            open: BTreeMap::new(),
            checked: None,
            closed: Vec::new(),
            epochs: VecDeque::new(),
            bytes: Vec::new(),
            settings,
        }
    }

    fn open(&mut self, partition: &str) -> Result<Part, ConnectorError> {
        if self.open.len() >= PARTS_OPEN_MAX {
            let idle = self.open.iter().min_by_key(|(_, part)| part.written).map(|(partition, _)| partition.clone());
            idle.iter().try_for_each(|partition| self.close(partition))?;
        }
        let encoder = self.encoders.create()?;
        let name = format!("{}{}.{}", self.prefix, self.number, self.extension);
        self.number += 1;
        let file = self.store.create(name, partition.to_owned())?;
        let now = Instant::now();
        Ok(Part { file, encoder, bytes: 0, opened: now, written: now })
    }

    fn write_partition(&mut self, partition: &str, records: &RecordBatch) -> Result<(), ConnectorError> {
        if let Some(commits) = &mut self.commits {
            commits.touched(partition, clock())?;
        }
        let mut part = match self.open.remove(partition) {
            Some(part) => part,
            None => self.open(partition)?,
        };
        self.bytes.clear();
        part.encoder.encode(records, &mut self.bytes)?;
        self.append(&mut part)?;
        part.written = Instant::now();
        let full = part.bytes + part.encoder.bytes_held() as u64 >= self.settings.part_bytes_max;
        self.open.insert(partition.to_owned(), part);
        if full { self.close(partition) } else { Ok(()) }
    }

    /// Hands the encoded bytes to the part's file.
    fn append(&self, part: &mut Part) -> Result<(), ConnectorError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        part.file.write(&self.bytes)?;
        part.bytes += self.bytes.len() as u64;
        self.metrics.bytes.fetch_add(self.bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Bounds what encoders hold back: the one with most gives it out.
    fn release_held(&mut self) -> Result<(), ConnectorError> {
        let held = |part: &Part| part.encoder.bytes_held();
        while self.open.values().map(held).sum::<usize>() > HELD_BYTES_MAX {
            let most = self.open.iter().max_by_key(|(_, part)| held(part)).map(|(partition, _)| partition.clone());
            let Some((partition, mut part)) = most.and_then(|partition| self.open.remove_entry(&partition)) else {
                break;
            };
            self.bytes.clear();
            part.encoder.release(&mut self.bytes)?;
            self.append(&mut part)?;
            self.open.insert(partition, part);
        }
        Ok(())
    }

    /// Ends a part: it is complete and durable. Without checkpoints it is published at once.
    fn close(&mut self, partition: &str) -> Result<(), ConnectorError> {
        let Some(mut part) = self.open.remove(partition) else { return Ok(()) };
        self.bytes.clear();
        part.encoder.finish(&mut self.bytes)?;
        self.append(&mut part)?;
        self.closed.push(part.file.close()?);
        if self.checkpointed {
            return Ok(());
        }
        let closed = self.take_closed(None);
        self.store.publish(&closed)
    }

    fn close_all(&mut self) -> Result<(), ConnectorError> {
        let partitions: Vec<String> = self.open.keys().cloned().collect();
        partitions.iter().try_for_each(|partition| self.close(partition))
    }

    fn take_closed(&mut self, commits: Option<super::commit::CommitState>) -> PendingParts {
        PendingParts::new(self.settings.location.directory(), std::mem::take(&mut self.closed), commits)
    }

    /// All parts up to the checkpoint have their names: marks the partitions that are due as of it.
    fn mark(&mut self, checkpoint: CheckpointId, epoch: &PendingParts) -> Result<(), ConnectorError> {
        let (Some(commits), Some(state)) = (&mut self.commits, &epoch.commits) else { return Ok(()) };
        let now = clock();
        for directory in commits.due(state, now) {
            self.store.mark(&directory, &commits.settings.success_file)?;
            commits.marked(&directory, checkpoint, now);
        }
        Ok(())
    }
}

impl SinkWriter for PartWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
        match &self.partitioner {
            None => self.write_partition("", &batch.records)?,
            Some(partitioner) => {
                for (partition, records) in partitioner.split(&batch.records)? {
                    self.write_partition(&partition, &records)?;
                }
            }
        }
        self.release_held()
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.open.values_mut().try_for_each(|part| part.file.sync())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        self.close_all()?;
        let commits = self.commits.as_mut().and_then(|commits| commits.prepare(checkpoint));
        let parts = self.take_closed(commits);
        if parts.is_empty() {
            return Ok(None);
        }
        if !parts.parts.is_empty() {
            // The checkpoint must not name a file whose name a crash could undo.
            self.store.sync()?;
        }
        let encoded = parts.encode(&self.settings.table)?;
        self.epochs.push_back((checkpoint, parts));
        Ok(Some(encoded))
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        let mut last = None;
        while let Some((epoch, parts)) = self.epochs.front().filter(|(epoch, _)| *epoch <= checkpoint) {
            self.store.publish(parts)?;
            let epoch = *epoch;
            last = self.epochs.pop_front().map(|(_, parts)| (epoch, parts)).or(last);
        }
        last.map_or(Ok(()), |(epoch, parts)| self.mark(epoch, &parts))
    }

    fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        let (mut kept, mut pending) = (Vec::with_capacity(epochs.len()), None);
        for epoch in &epochs {
            let mut parts = PendingParts::decode(&epoch.rows, &self.settings.table)?;
            self.store.publish(&parts)?;
            // The newest knows all partitions that are pending.
            pending = parts.commits.take();
            kept.push(parts);
        }
        if let (Some(commits), Some(state)) = (&mut self.commits, pending) {
            commits.restore(state);
        }
        self.store.sweep(&kept);
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark) {
        if let Some(commits) = &mut self.commits {
            commits.watermark(watermark);
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let due =
            |part: &Part| (part.opened + self.settings.part_age_max).min(part.written + self.settings.part_idle_max);
        let due = self.open.values().map(due).min()?;
        Some(self.checked.map_or(due, |checked| due.max(checked + self.settings.check_interval)))
    }

    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        let now = Instant::now();
        if self.next_timer().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.checked = Some(now);
        let (age_max, idle_max) = (self.settings.part_age_max, self.settings.part_idle_max);
        let is_over = |part: &Part| part.opened + age_max <= now || part.written + idle_max <= now;
        let over = self.open.iter().filter(|(_, part)| is_over(part)).map(|(partition, _)| partition.clone());
        let over: Vec<String> = over.collect();
        over.iter().try_for_each(|partition| self.close(partition))
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        self.close_all()?;
        if self.checkpointed {
            return Ok(());
        }
        let state = self.commits.as_ref().map(PartitionCommits::state);
        let epoch = self.take_closed(state);
        self.mark(CheckpointId(u64::MAX), &epoch)
    }
}

impl Drop for PartWriter {
    /// A part that no checkpoint names belongs to a job that failed: nobody may read it.
    fn drop(&mut self) {
        for part in std::mem::take(&mut self.closed) {
            self.store.discard(&part);
        }
    }
}

fn clock() -> TimestampMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as TimestampMs)
}
