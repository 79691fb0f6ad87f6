//! A subtask's part in the checkpoints of its job: what was copied at a barrier is encoded, written and
//! reported beside the task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tidemill_common::batch::Barrier;
use tidemill_common::checkpoint::{
    EpochOrigin, InFlight, OperatorSnapshot, SnapshotStats, SplitPosition, StagedEpoch, StateFile, SubtaskSnapshot,
};
use tidemill_common::faults::{Place, may_die};
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, OperatorId, SubtaskId};
use tidemill_connectors::lease::Lease;
use tidemill_state::storage::{Directory, FileWriter, JobCopies, StorageError, StoreOptions};
use tokio::sync::{mpsc, oneshot};

use crate::executor::{ExecutorEvent, SubtaskState};
use crate::in_flight::{self, Collected};
use crate::snapshot::Snapshot;

/// Splits whose positions wait for their checkpoint, at most; older ones are forgotten.
const POSITIONS_MAX: usize = 16;

/// What one operator leaves at a barrier.
pub struct OperatorPart {
    pub operator: OperatorId,
    pub uid: String,
    pub snapshot: Snapshot,
    /// Of a source.
    pub splits: Vec<SplitPosition>,
}

/// Rows that a barrier has overtaken, which are still being collected.
pub struct Collecting {
    /// The operator they are on their way to.
    pub operator: OperatorId,
    /// What comes of it: all of them, or why they cannot be kept. Nothing if the checkpoint is given up.
    pub collected: oneshot::Receiver<Result<Collected, String>>,
}

/// Rows of a sink that wait for their checkpoint.
struct Epoch {
    operator: OperatorId,
    origin: EpochOrigin,
    rows: Bytes,
    /// Where a checkpoint holds them already.
    file: Option<StateFile>,
}

/// Takes part in checkpoints for one subtask.
pub struct Checkpoints {
    job: JobId,
    attempt: AttemptId,
    subtask: SubtaskId,
    /// Of the job's checkpoints; `None` if it takes none.
    directory: Option<Directory>,
    options: StoreOptions,
    io: tokio::runtime::Handle,
    events: mpsc::Sender<ExecutorEvent>,
    /// Positions of a source's splits in checkpoints that are not complete.
    positions: VecDeque<(CheckpointId, Vec<SplitPosition>)>,
    /// Epochs of sinks that are not published yet. Every checkpoint holds all of them: that an older
    /// one was complete does not say that it was published before this one is complete, too.
    unpublished: Arc<Mutex<Vec<Epoch>>>,
    /// After the input has ended: the first checkpoint taken since, which publishes the tail.
    last: Option<CheckpointId>,
    ended: bool,
    /// Without it nothing is written: it would be left over.
    pub lease: Lease,
    /// Copies of files of state that stay on this machine, if any do.
    pub copies: Option<Arc<JobCopies>>,
}

impl Checkpoints {
    /// For a subtask of a job whose checkpoints are kept in `directory`.
    ///
    /// # Errors
    /// If the directory's URL cannot be used.
    pub fn new(
        (job, attempt, subtask): (JobId, AttemptId, SubtaskId),
        directory: Option<&str>,
        options: StoreOptions,
        io: tokio::runtime::Handle,
        events: mpsc::Sender<ExecutorEvent>,
    ) -> Result<Self, StorageError> {
        let directory = directory.map(|url| Directory::open(url, &options)).transpose()?;
        let directory = directory.map(|directory| directory.child("shared"));
        let positions = VecDeque::new();
        Ok(Self {
            job,
            attempt,
            subtask,
            directory,
            options,
            io,
            events,
            positions,
            unpublished: Arc::default(),
            last: None,
            ended: false,
            lease: Lease::unlimited(),
            copies: None,
        })
    }

    /// Whether the job takes checkpoints by itself, the last one after its input has ended.
    pub fn are_taken(&self) -> bool {
        self.directory.is_some()
    }

    /// The input has ended. With a checkpoint to come, the subtask stays until it is complete.
    pub fn input_ended(&mut self) {
        self.ended = true;
        if self.are_taken() {
            self.tell(ExecutorEvent::StateChanged {
                job: self.job.clone(),
                attempt: self.attempt,
                subtask: self.subtask,
                state: SubtaskState::Finishing,
            });
        }
    }

    /// Whether a complete checkpoint covers the end of the input.
    pub fn covers_the_end(&self, complete: CheckpointId) -> bool {
        self.last.is_some_and(|last| last <= complete)
    }

    /// Writes what the operators left and reports it, beside the task; with `collecting`, once that is
    /// written, too.
    pub fn take(
        &mut self,
        barrier: &Barrier,
        mut parts: Vec<OperatorPart>,
        (alignment, sync): (Duration, Duration),
        collecting: Option<Collecting>,
    ) {
        if self.ended && self.last.is_none() {
            self.last = Some(barrier.checkpoint);
        }
        for part in parts.iter().filter(|part| !part.splits.is_empty()) {
            self.positions.push_back((barrier.checkpoint, part.splits.clone()));
            if self.positions.len() > POSITIONS_MAX {
                self.positions.pop_front();
            }
        }
        for part in &mut parts {
            if let Some(rows) = part.snapshot.staged.take() {
                let origin = EpochOrigin {
                    job: self.job.clone(),
                    sink: part.uid.clone(),
                    subtask: self.subtask.index,
                    checkpoint: barrier.checkpoint,
                };
                let epoch = Epoch { operator: part.operator, origin, rows: rows.into(), file: None };
                self.unpublished.lock().push(epoch);
            }
        }
        let stats = SnapshotStats {
            alignment_ms: alignment.as_millis() as u64,
            sync_us: sync.as_micros() as u64,
            ..SnapshotStats::default()
        };
        let writer = self.writer(barrier);
        let (job, attempt, subtask, checkpoint) = (self.job.clone(), self.attempt, self.subtask, barrier.checkpoint);
        let (events, epochs, full) = (self.events.clone(), self.unpublished.clone(), barrier.savepoint.is_some());
        let (lease, held) = (self.lease.clone(), self.lease.clone());
        let copies = self.copies.clone().filter(|_| !full);
        let writing = move || {
            let written = writer.and_then(|writer| write(&writer, parts, &epochs, checkpoint, full, stats));
            if let (Ok(snapshot), Some(copies)) = (&written, copies) {
                copies.record(checkpoint, snapshot.operators.iter().flat_map(|(_, kept)| &kept.files));
            }
            written.map_err(|error| error.to_string())
        };
        let event = move |result: Result<SubtaskSnapshot, String>| {
            let result = result.map(Box::new);
            ExecutorEvent::Checkpointed { job, attempt, subtask, checkpoint, result }
        };
        let Some(collecting) = collecting else {
            self.io.spawn_blocking(move || {
                if !lease.is_valid() {
                    return;
                }
                let event = event(writing());
                may_die(Place::BeforeAcknowledgement);
                if events.blocking_send(event).is_err() {
                    tracing::debug!(%subtask, "nobody listens to events");
                }
                may_die(Place::AfterAcknowledgement);
            });
            return;
        };
        let (io, writer) = (self.io.clone(), self.writer(barrier));
        // What the operators left is written in any case: later parts may wait for earlier ones.
        let written = io.spawn_blocking(move || lease.is_valid().then(writing));
        self.io.spawn(async move {
            let result = async {
                let Some(written) = written.await.map_err(|error| error.to_string())? else { return Ok(None) };
                let mut snapshot = written?;
                let Collecting { operator, collected } = collecting;
                let collected = collected.await.map_err(|_| "it was given up for a newer one".to_owned())??;
                if !held.is_valid() {
                    return Ok(None);
                }
                let keep = move || {
                    let writer = writer.map_err(|error| error.to_string())?;
                    in_flight::write(collected, &writer, checkpoint)
                };
                let kept = io.spawn_blocking(keep).await.map_err(|error| error.to_string())??;
                if let Some(kept) = kept {
                    snapshot.stats.bytes_in_flight = kept.file.bytes;
                    snapshot.stats.bytes_new += kept.file.bytes;
                    add_in_flight(&mut snapshot, operator, kept);
                }
                Ok(Some(snapshot))
            };
            // Without a lease nobody is told: the attempt is over.
            let Some(result) = result.await.transpose() else { return };
            may_die(Place::BeforeAcknowledgement);
            if events.send(event(result)).await.is_err() {
                tracing::debug!(%subtask, "nobody listens to events");
            }
            may_die(Place::AfterAcknowledgement);
        });
    }

    fn writer(&self, barrier: &Barrier) -> Result<FileWriter, StorageError> {
        let io = self.io.clone();
        match (&barrier.savepoint, &self.directory) {
            (Some(url), _) => Ok(FileWriter::new(Directory::open(url, &self.options)?, io, true)),
            (None, Some(directory)) => {
                let writer = FileWriter::new(directory.clone(), io, false).of_attempt(self.attempt);
                Ok(writer.keeping(self.copies.clone()))
            }
            (None, None) => Err(StorageError::Url {
                url: String::new(),
                reason: "the job has no directory for checkpoints (execution.checkpointing.dir)".to_owned(),
            }),
        }
    }

    /// The checkpoint is complete and its epochs are published. Gives the positions a source had in it;
    /// older ones are forgotten.
    pub fn complete(&mut self, checkpoint: CheckpointId) -> Option<Vec<SplitPosition>> {
        self.unpublished.lock().retain(|epoch| epoch.origin.checkpoint > checkpoint);
        if let Some(copies) = self.copies.clone() {
            self.io.spawn_blocking(move || copies.complete(checkpoint));
        }
        let mut found = None;
        while self.positions.front().is_some_and(|(id, _)| *id <= checkpoint) {
            found = self.positions.pop_front().filter(|(id, _)| *id == checkpoint).map(|(_, positions)| positions);
        }
        found
    }

    fn tell(&self, event: ExecutorEvent) {
        if self.events.blocking_send(event).is_err() {
            tracing::debug!(subtask = %self.subtask, "nobody listens to events");
        }
    }
}

fn add_in_flight(snapshot: &mut SubtaskSnapshot, operator: OperatorId, in_flight: InFlight) {
    let known = snapshot.operators.iter_mut().find(|(known, _)| *known == operator);
    match known {
        Some((_, kept)) => kept.in_flight = Some(in_flight),
        None => {
            let kept = OperatorSnapshot { in_flight: Some(in_flight), ..OperatorSnapshot::default() };
            snapshot.operators.push((operator, kept));
        }
    }
}

/// Runs on a thread that may block.
fn write(
    writer: &FileWriter,
    parts: Vec<OperatorPart>,
    epochs: &Mutex<Vec<Epoch>>,
    checkpoint: CheckpointId,
    full: bool,
    mut stats: SnapshotStats,
) -> Result<SubtaskSnapshot, StorageError> {
    let begun = Instant::now();
    let mut operators = Vec::with_capacity(parts.len());
    for OperatorPart { operator, snapshot, splits, .. } in parts {
        let Snapshot { values, parts, .. } = snapshot;
        let mut kept = OperatorSnapshot { values, splits, ..OperatorSnapshot::default() };
        for part in parts {
            let files = part(writer)?;
            kept.files.extend(files);
        }
        for epoch in epochs.lock().iter_mut() {
            if epoch.operator == operator && epoch.origin.checkpoint <= checkpoint {
                let file = match &epoch.file {
                    Some(file) if !full => file.clone(),
                    _ => writer.write(epoch.rows.clone(), 0..0, epoch.origin.checkpoint.0)?,
                };
                if !full {
                    epoch.file = Some(file.clone());
                }
                kept.staged.push(StagedEpoch { origin: epoch.origin.clone(), files: vec![file] });
            }
        }
        if !kept.is_empty() {
            operators.push((operator, kept));
        }
    }
    stats.bytes_new += writer.bytes_written();
    stats.async_ms = begun.elapsed().as_millis() as u64;
    Ok(SubtaskSnapshot { operators, stats })
}

/// Positions as a connector sees them.
pub fn splits_of(positions: &[SplitPosition]) -> Vec<tidemill_connectors::api::Split> {
    positions
        .iter()
        .map(|position| tidemill_connectors::api::Split {
            id: position.id.clone(),
            state: position.state.clone(),
            watermark_ms: position.watermark_ms,
        })
        .collect()
}
