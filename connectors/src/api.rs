//! The traits of sources, sinks and formats.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::connector::{ConnectorInfo, MetadataSpec, TableError};
use tidemill_common::ids::{AttemptId, CheckpointId, SplitId, SubtaskIndex};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};
use tidemill_common::stores::StoreOptions;
use tidemill_common::time::Watermark;
use tidemill_common::types::Schema;

use crate::lease::Lease;
use crate::one_way::{not_readable, not_writable, wrong_way};

/// A connector: how tables of one `'connector'` are read and written.
///
/// Connectors are stateless values; everything about a table is in its [`TableSpec`]. One that only reads
/// leaves out what is about sinks, one that only writes what is about sources: such tables are refused.
pub trait Connector: Send + Sync {
    /// Identifier, options, abilities; for validation and the reference.
    fn info(&self) -> ConnectorInfo;

    /// What METADATA columns of a source table can hold.
    fn metadata(&self) -> &'static [MetadataSpec] {
        &[]
    }

    /// Checks what can be known of a source table without I/O, beyond names and kinds of options.
    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        Err(not_readable(table))
    }

    /// The same for a sink table.
    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        Err(not_writable(table))
    }

    /// Whether the source ends by itself; of no meaning for sinks.
    fn is_bounded(&self, table: &TableSpec) -> bool {
        let _ = table;
        true
    }

    /// The changelog mode the sink takes when a stream of mode `input` arrives.
    fn sink_changelog(&self, table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        let _ = input;
        Err(not_writable(table))
    }

    /// The largest parallelism a sink of the table can have, if it has a bound.
    fn sink_parallelism_max(&self, table: &TableSpec) -> Option<u32> {
        let _ = table;
        None
    }

    /// Checks by I/O, at submit and on the job manager, that what the source reads exists.
    /// Bounded in time by the caller's runtime.
    fn probe_source(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let _ = context;
        Err(wrong_way(self.info().identifier, table))
    }

    /// Checks by I/O that what the sink writes to exists and takes these columns.
    fn probe_sink(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let _ = context;
        Err(wrong_way(self.info().identifier, table))
    }

    /// The split enumerator; runs on the job manager.
    fn create_enumerator(
        &self,
        source: &SourceSpec,
        parallelism: u32,
        context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let _ = (parallelism, context);
        Err(wrong_way(self.info().identifier, &source.table))
    }

    /// A reader; runs on the thread of its subtask.
    fn create_reader(
        &self,
        source: &SourceSpec,
        context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let _ = context;
        Err(wrong_way(self.info().identifier, &source.table))
    }

    /// A writer; runs on the thread of its subtask.
    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let _ = context;
        Err(wrong_way(self.info().identifier, &sink.table))
    }
}

/// What connectors get from the process they run in.
#[derive(Clone)]
pub struct ConnectorContext {
    /// Runtime for network and file work that must not block a subtask thread.
    pub io: tokio::runtime::Handle,
    /// Set when the job is cancelled; every wait looks at it at least every 100 ms.
    pub cancelled: Arc<AtomicBool>,
    /// Whether this process may still have effects outside. Looked at right before each of them.
    pub lease: Lease,
    /// How the process reaches stores of objects (`s3.endpoint`); no job can change it.
    pub stores: StoreOptions,
}

impl ConnectorContext {
    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether what is written now counts: the job was not cancelled, and nobody has taken over from
    /// this process.
    ///
    /// # Errors
    /// [`ConnectorError::Cancelled`] if not.
    pub fn may_write(&self) -> Result<(), ConnectorError> {
        if self.is_cancelled() || !self.lease.is_valid() { Err(ConnectorError::Cancelled) } else { Ok(()) }
    }
}

/// What a reader or writer knows of its subtask.
#[derive(Clone)]
pub struct SubtaskContext {
    pub connector: ConnectorContext,
    pub job_name: String,
    pub job_id: String,
    pub subtask: SubtaskIndex,
    pub parallelism: u32,
    /// Uid of the operator.
    pub operator: String,
    /// Rises with every restart of the subtask; what an older attempt of the same subtask does must have no
    /// effect. Other subtasks may run in older or newer ones.
    pub attempt: AttemptId,
    /// When the job was last started as a whole: what attempts before this one do, in whatever subtask, must
    /// have no effect.
    pub first_attempt: AttemptId,
    /// Whether the job takes checkpoints: rows that cannot be overwritten are published with them.
    pub checkpointed: bool,
    /// IANA name of the session time zone.
    pub session_zone: String,
    pub metrics: Arc<ConnectorMetrics>,
    /// Where `print` writes and `collect` sends rows.
    pub output: Arc<dyn RowOutput>,
}

/// Takes the rows that a job shows to people (`print`) or to its submitter (a top-level SELECT).
pub trait RowOutput: Send + Sync {
    /// Takes formatted lines. May block for a bounded time while the receiver is slow.
    fn lines(&self, lines: Vec<String>) -> Result<(), ConnectorError>;
}

/// Counters that readers and writers keep; shared with the task's metrics.
#[derive(Debug, Default)]
pub struct ConnectorMetrics {
    /// Malformed records skipped because of `ignore-parse-errors`.
    pub records_skipped: AtomicU64,
    /// Bytes read from or written to the outside.
    pub bytes: AtomicU64,
    /// Records the source knows to exist and has not read yet; `u64::MAX` if unknown.
    pub records_lag: AtomicU64,
    /// Retries of requests to the outside.
    pub retries: AtomicU64,
}

/// A part of a source. `state` is the connector's own JSON: what is read and from which position;
/// a split taken in a snapshot continues there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    pub id: SplitId,
    pub state: serde_json::Value,
    /// Kept by the source operator beside the split; connectors hand it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
}

impl Split {
    /// A split that nobody has read from.
    pub fn new(id: SplitId, state: serde_json::Value) -> Self {
        Self { id, state, watermark_ms: None }
    }
}

/// What a reader says of its splits after a new leader or attempt asks.
#[derive(Clone, Debug, Default)]
pub struct ReaderReport {
    pub subtask: u32,
    pub owned: Vec<Split>,
    pub finished: Vec<SplitId>,
}

/// Finds splits and assigns them to readers. Pure bookkeeping but for `discover`, which does I/O.
pub trait SplitEnumerator: Send {
    /// Looks for splits (files, partitions). Called once at start, and again every
    /// [`SplitEnumerator::discovery_interval`]. May block; called off the control thread.
    fn discover(&mut self) -> Result<(), ConnectorError>;

    /// How often to discover again; `None` when the set of splits is final after the first time.
    fn discovery_interval(&self) -> Option<Duration>;

    /// A reader has nothing (more) to read. `None`: nothing for it now.
    fn next_splits(&mut self, reader: SubtaskIndex) -> Vec<Split>;

    /// Whether no split will ever be assigned to this reader again (bounded sources only).
    fn is_exhausted(&self, reader: SubtaskIndex) -> bool;

    /// Splits that came back from a lost reader, or that readers had in the checkpoint that the job goes
    /// on from (after [`SplitEnumerator::restore`]). Their positions replace those of splits of the same
    /// id that wait for a reader.
    fn add_back(&mut self, splits: Vec<Split>);

    /// Unassigned splits and the discovery position, for a checkpoint. To be taken when the checkpoint is
    /// triggered, so that each split is in exactly one part of it: what was assigned before reaches its
    /// reader before the trigger does, what is assigned later reaches it after.
    fn snapshot(&self) -> Result<serde_json::Value, ConnectorError>;

    /// Continues from a snapshot, before the first `discover`.
    fn restore(&mut self, state: serde_json::Value) -> Result<(), ConnectorError>;

    /// Rebuilds what is assigned from the readers' own reports.
    fn reconcile(&mut self, reports: &[ReaderReport]) -> Result<(), ConnectorError>;
}

/// What a poll of a reader gave.
#[derive(Debug)]
pub enum SourcePoll {
    /// Rows of one split: the projected physical columns of the [`SourceSpec`], in order, and its
    /// metadata behind them.
    Rows { split: SplitId, records: RecordBatch },
    /// Nothing came within the time-out.
    Pending,
    /// A split was read to its end.
    SplitFinished(SplitId),
    /// All assigned splits are finished: ask for more.
    NoSplits,
}

/// Reads splits. All calls come from one thread.
pub trait SourceReader: Send {
    /// Takes splits to read, from their positions on.
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError>;

    /// Reads at most about [`tidemill_common::limits::BATCH_ROWS_TARGET`] rows, all of one split.
    /// Waits at most `timeout`. Each split's rows come in order; splits take turns fairly.
    fn poll(&mut self, timeout: Duration) -> Result<SourcePoll, ConnectorError>;

    /// Stops or resumes reading of splits (watermark alignment).
    fn set_paused(&mut self, split: &SplitId, paused: bool);

    /// The unfinished splits, with the position after the last row that `poll` returned.
    fn snapshot(&self) -> Vec<Split>;

    /// A checkpoint with these positions is complete: they may be told to the outside (the offsets of a
    /// Kafka consumer group). Does not wait for an answer; nothing depends on it.
    fn checkpoint_complete(&mut self, positions: &[Split]) {
        let _ = positions;
    }
}

/// Writes rows. All calls come from one thread. `write` may block on the writer's own bounded queue
/// (that is backpressure), and gives up with [`ConnectorError::Cancelled`] when the job is cancelled.
pub trait SinkWriter: Send {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// Returns when everything written so far is durable outside.
    fn flush(&mut self) -> Result<(), ConnectorError>;

    /// A barrier has come, and with it the end of an epoch. A writer that can overwrite what it wrote
    /// (an upsert) makes everything written so far durable outside and gives `None`. A writer that
    /// cannot gives the epoch's rows in a form of its own; they are kept in the checkpoint and are to be
    /// published by [`SinkWriter::commit`] once it is complete.
    ///
    /// # Errors
    /// If the epoch cannot be made durable: the job fails and starts again from the checkpoint before.
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        let _ = checkpoint;
        self.flush().map(|()| None)
    }

    /// The checkpoint is complete: publishes this and all older epochs, in order, each exactly once.
    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        let _ = checkpoint;
        Ok(())
    }

    /// Before the first row: epochs that a complete checkpoint holds and that may be published already.
    /// Publishes those that are not, under their origin, and fences writers of earlier attempts.
    /// Called also with no epoch.
    fn recover(&mut self, epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        match epochs.first() {
            None => Ok(()),
            Some(epoch) => Err(ConnectorError::State {
                table: epoch.origin.sink.clone(),
                reason: "the checkpoint holds rows to publish, and this sink publishes as it writes".to_owned(),
            }),
        }
    }

    /// When [`SinkWriter::on_timer`] wants to be called (`sink.buffer-flush.interval`).
    fn next_timer(&self) -> Option<Instant> {
        None
    }

    /// See [`SinkWriter::next_timer`].
    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// Event time has advanced; rows written later are not older, or late.
    fn watermark(&mut self, watermark: Watermark) {
        let _ = watermark;
    }

    /// The input has ended: flush and close. Publishes what is pending if the job takes no checkpoints
    /// ([`SubtaskContext::checkpointed`]); else a last checkpoint follows and is committed.
    fn finish(&mut self) -> Result<(), ConnectorError>;
}

/// What [`SinkWriter::prepare_commit`] gave, as it comes back from a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedEpoch {
    pub origin: EpochOrigin,
    pub rows: Vec<u8>,
}

/// Where a record came from, for error messages.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file, and the number of the first line of the slab (from 1).
    File { path: Arc<str>, first_line: u64 },
    /// A Kafka partition, and the offset of each record of the slab.
    Kafka { topic: Arc<str>, partition: i32, offsets: Arc<[i64]> },
    /// Anything else, already as text.
    Other(Arc<str>),
}

/// Undecoded records: bytes, and where each record ends.
pub struct Slab<'a> {
    pub bytes: &'a [u8],
    /// `Some`: record i is `bytes[ends[i-1]..ends[i]]`. `None`: records are lines, the decoder finds
    /// their ends; the last line counts as complete.
    pub ends: Option<&'a [usize]>,
    pub origin: &'a Origin,
}

/// Turns bytes into columns. One a reader; keeps its builders between calls.
pub trait Decoder: Send {
    /// Decodes records of `slab` from byte `from` on, until it ends or about `max_rows` rows are
    /// pending. Returns the byte position to go on from. Malformed records fail with
    /// [`ConnectorError::Malformed`] or are skipped and counted, as the format's options say.
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError>;

    /// Rows decoded and not taken yet.
    fn pending_rows(&self) -> usize;

    /// Records (rows and skipped ones) consumed since the last call of `take`; for line numbers.
    fn pending_records(&self) -> u64;

    /// The pending rows as columns of the projected schema.
    fn take(&mut self) -> Result<RecordBatch, ConnectorError>;
}

/// Turns columns into bytes.
pub trait Encoder: Send {
    /// Appends one record a row to `out`, and the end of each to `ends`. No separators.
    fn encode(&mut self, records: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<usize>)
    -> Result<(), ConnectorError>;

    /// What separates records in a file, and what a file begins with (a header line).
    fn file_framing(&self) -> FileFraming;
}

/// How records stand in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFraming {
    pub header: Vec<u8>,
    /// After each record.
    pub terminator: Vec<u8>,
}

/// Turns columns into the bytes of one file. What it gives is to be appended in order.
pub trait FileEncoder: Send {
    /// Takes rows, and appends to `out` what is ready of the file.
    fn encode(&mut self, records: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ConnectorError>;

    /// About the bytes that are held back, as they are written in groups.
    fn bytes_held(&self) -> usize {
        0
    }

    /// Gives out what is held back; the file goes on.
    fn release(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let _ = out;
        Ok(())
    }

    /// Ends the file.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError>;
}

/// A file that can be read from anywhere. It does not change while it is read.
pub trait FileInput: Send + Sync {
    /// Name of the file, for messages.
    fn name(&self) -> &str;

    /// Its size in bytes.
    fn bytes(&self) -> u64;

    /// The bytes from `start` on, `length` of them.
    ///
    /// # Errors
    /// If they cannot be read, or there are not as many.
    fn read(&self, start: u64, length: usize) -> Result<Bytes, ConnectorError>;
}

/// Reads the rows of a part of a file, in order.
pub trait FileDecoder: Send {
    /// The next rows, at most about [`tidemill_common::limits::BATCH_ROWS_TARGET`]; `None` at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>, ConnectorError>;
}

/// A part of a file to be decoded.
pub struct FilePart<'a> {
    pub table: &'a TableSpec,
    /// Ascending positions in `table.schema`.
    pub projection: &'a [usize],
    pub file: Arc<dyn FileInput>,
    /// What begins in these bytes (a row group, a block) is read.
    pub range: Range<u64>,
    /// Rows of the part that were read before.
    pub rows_read: u64,
}

/// A format whose files are more than one record after the other.
pub trait FileFormat: Send + Sync {
    /// Whether parts of one file can be read apart.
    fn splittable(&self) -> bool;

    /// A decoder of a part of a file.
    fn open(&self, part: FilePart<'_>, context: &SubtaskContext) -> Result<Box<dyn FileDecoder>, ConnectorError>;

    /// An encoder of one file with the columns of a table.
    fn create_file_encoder(
        &self,
        table: &TableSpec,
        context: &SubtaskContext,
    ) -> Result<Box<dyn FileEncoder>, ConnectorError>;
}

/// A format: how records of one `'format'` are decoded and encoded.
pub trait Format: Send + Sync {
    /// Identifier, options (without the format's prefix) and abilities.
    fn info(&self) -> ConnectorInfo;

    /// How whole files are read and written, where they are not just records with something between them.
    fn files(&self) -> Option<&dyn FileFormat> {
        None
    }

    /// Whether single records can be decoded and encoded (messages of a queue).
    fn has_records(&self) -> bool {
        true
    }

    /// Checks options and column types.
    fn check(&self, table: &TableSpec, writing: bool) -> Result<(), TableError>;

    /// A decoder of the columns `projection` (ascending positions in `table.schema`).
    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError>;

    /// An encoder of rows of `schema`.
    fn create_encoder(
        &self,
        table: &TableSpec,
        schema: &Schema,
        context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError>;
}

/// Why a connector failed. Every message says where; none holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectorError {
    /// A record that cannot be read. `text` is cut to
    /// [`tidemill_common::limits::ERROR_RECORD_CHARS_MAX`] characters.
    #[error(
        "table '{table}', {origin}: {reason}; the record is: {text}\n  to skip and count such records set '{format}.ignore-parse-errors' = 'true'"
    )]
    Malformed { table: String, origin: String, reason: String, text: String, format: String },
    /// A value that cannot be written.
    #[error("table '{table}': {reason}")]
    Write { table: String, reason: String },
    /// The outside refused, does not exist or does not answer; `action` says what to do.
    #[error("table '{table}': {reason}; {action}")]
    External { table: String, reason: String, action: String },
    /// A named wait ended without an answer.
    #[error("table '{table}': {what} did not answer within {seconds} s")]
    Timeout { table: String, what: String, seconds: u64 },
    /// What an earlier attempt does must have no effect.
    #[error("table '{table}': {what}: another attempt of the job has taken over; nothing was changed")]
    Fenced { table: String, what: String },
    /// The job was cancelled while the connector waited.
    #[error("cancelled")]
    Cancelled,
    /// A split or enumerator state of another version or connector.
    #[error("table '{table}': the stored position cannot be read: {reason}")]
    State { table: String, reason: String },
    /// A bug, said instead of a panic.
    #[error("internal error in connector '{connector}': {reason}")]
    Internal { connector: &'static str, reason: String },
}
