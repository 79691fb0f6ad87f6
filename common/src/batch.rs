//! What moves between operators: columnar batches and the control elements among them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::ids::CheckpointId;
use crate::time::Watermark;

/// How a row changes the result it belongs to. The numbers are Flink's and are persisted.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowKind {
    /// `+I`
    Insert = 0,
    /// `-U`: the row as it was before an update.
    UpdateBefore = 1,
    /// `+U`: the row as it is after an update.
    UpdateAfter = 2,
    /// `-D`
    Delete = 3,
}

impl RowKind {
    /// Flink's short form: `+I`, `-U`, `+U`, `-D`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// Columns of rows. Insert-only streams carry no row kinds.
#[derive(Clone, Debug)]
pub struct Batch {
    pub records: RecordBatch,
    /// One kind a row, or `None` when every row is an insert.
    pub kinds: Option<Arc<[RowKind]>>,
}

impl Batch {
    /// A batch whose rows are all inserts.
    pub fn insert(records: RecordBatch) -> Self {
        Self { records, kinds: None }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.records.num_rows()
    }

    /// Some of its rows, which share its memory.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            records: self.records.slice(from, rows),
            kinds: self.kinds.as_ref().map(|kinds| kinds[from..from + rows].into()),
        }
    }

    /// The kind of row `row`.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |kinds| kinds[row])
    }
}

/// Separates the rows before a checkpoint from those after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    pub checkpoint: CheckpointId,
    /// When the checkpoint was triggered, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The URL of the savepoint's directory, which all state is written to; `None` in checkpoints, which
    /// are kept in the job's own directory.
    pub savepoint: Option<Arc<str>>,
}

/// One element of a stream, in order within its channel.
#[derive(Clone, Debug)]
pub enum StreamElement {
    Batch(Batch),
    Watermark(Watermark),
    Barrier(Barrier),
    /// The channel became idle (`true`) and is set aside in watermark merging, or active again.
    Idle(bool),
    /// No more data. With `drain`, event time is at its end: timers fire before this element.
    EndOfData {
        drain: bool,
    },
    /// Nothing at all follows on this channel.
    EndOfPartition,
}
