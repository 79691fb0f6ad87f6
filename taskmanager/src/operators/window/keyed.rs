//! The state of windows in checkpoints: rows of (window, key) and accumulators, and how far event time
//! (or the clock) had come.

use std::ops::Range;
use std::path::PathBuf;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use tidemill_common::checkpoint::Blob;
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::KeyGroup;
use tidemill_common::time::TimestampMs;
use tidemill_state::accumulator;
use tidemill_state::keyed::{KeyedRows, KeyedState, Lifetime, key_groups};
use tidemill_state::storage::StorageError;

use super::deltas::DeltaLog;
use super::layout::Layout;
use super::spill::{Room, Spill};
use crate::memory::MemoryBudget;
use crate::operator::OperatorError;
use crate::snapshot::{RestoredState, Snapshot};

const PROGRESS: &str = "progress";
const ROWS: &str = "rows";
/// The only keyed state of a window operator.
const WINDOWS: u32 = 1;

/// Which part of the key space a subtask has, and where it keeps state.
#[derive(Clone, Debug)]
pub struct KeyedContext {
    pub max_parallelism: u32,
    pub key_groups: Range<u32>,
    /// Where files are made before they are uploaded.
    pub scratch: PathBuf,
    /// Whether checkpoints share files with those before them.
    pub incremental: bool,
    pub memory: MemoryBudget,
    /// Whether state that has no room in memory goes to disk.
    pub spills: bool,
}

impl KeyedContext {
    /// For an operator without siblings.
    pub fn alone(max_parallelism: u32) -> Self {
        Self {
            max_parallelism,
            key_groups: 0..max_parallelism,
            scratch: std::env::temp_dir(),
            incremental: false,
            memory: MemoryBudget::of_machine(),
            spills: true,
        }
    }
}

/// How far windows have fired. After a restore the operator starts at the least progress of the old
/// subtasks; what those that were ahead have fired is not fired again, key group by key group.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The watermark, or the clock, up to which all windows have fired.
    pub watermark: TimestampMs,
    /// Key groups for which they have fired further.
    ahead: Vec<(Range<u32>, TimestampMs)>,
    max_parallelism: u32,
}

impl Progress {
    /// The furthest progress of any key group.
    pub fn furthest(&self) -> TimestampMs {
        self.ahead.iter().map(|(_, ahead)| *ahead).fold(self.watermark, TimestampMs::max)
    }

    /// The progress of one key group.
    pub fn of_group(&self, key_group: u32) -> TimestampMs {
        let ahead = self.ahead.iter().filter(|(range, _)| range.contains(&key_group));
        ahead.map(|(_, ahead)| *ahead).fold(self.watermark, TimestampMs::max)
    }

    /// All key groups have come this far.
    pub fn advance(&mut self, to: TimestampMs) {
        self.watermark = self.watermark.max(to);
        self.ahead.retain(|(_, ahead)| *ahead > self.watermark);
    }

    /// The progress for each of these keys, or `None` if it is the watermark for all.
    pub fn of_keys(&self, keys: &[ArrayRef], rows: usize) -> Option<Vec<TimestampMs>> {
        if self.ahead.is_empty() {
            return None;
        }
        let of = |key_group: KeyGroup| self.of_group(u32::from(key_group.0));
        Some(key_groups(keys, rows, self.max_parallelism).into_iter().map(of).collect())
    }
}

/// The keyed state of one window operator, as it is kept.
#[derive(Clone)]
pub(super) struct WindowState {
    operator: String,
    context: KeyedContext,
    shape: KeyedState,
}

impl WindowState {
    /// `prefix` are columns of the key before the operator's own.
    pub fn new(operator: &str, context: &KeyedContext, layout: &Layout, prefix: &[DataType]) -> Result<Self, String> {
        let shape = KeyedState {
            id: WINDOWS,
            key_types: [prefix, &layout.key_types].concat(),
            unhashed: prefix.len(),
            tail: 0,
            value_types: accumulator_types(layout)?,
            lifetime: Lifetime::Namespace,
            max_parallelism: context.max_parallelism,
        };
        Ok(Self { operator: operator.to_owned(), context: context.clone(), shape })
    }

    /// Of sessions: the key ends with the start of the session; its end, and whether there is such a session,
    /// come before the accumulators. So all sessions of a key stand together.
    pub fn of_sessions(operator: &str, context: &KeyedContext, layout: &Layout) -> Result<Self, String> {
        let shape = KeyedState {
            id: WINDOWS,
            key_types: [&layout.key_types[..], &[DataType::Int64]].concat(),
            unhashed: 0,
            tail: 1,
            value_types: [vec![DataType::Int64, DataType::Boolean], accumulator_types(layout)?].concat(),
            lifetime: Lifetime::FirstValue,
            max_parallelism: context.max_parallelism,
        };
        Ok(Self { operator: operator.to_owned(), context: context.clone(), shape })
    }

    /// Of rows as they came. Columns of the key after the first `unhashed` choose the key group.
    pub fn of_rows(
        operator: &str,
        context: &KeyedContext,
        key_types: Vec<DataType>,
        unhashed: usize,
        value_types: Vec<DataType>,
    ) -> Self {
        let max_parallelism = context.max_parallelism;
        let (tail, lifetime) = (0, Lifetime::Namespace);
        let shape = KeyedState { id: WINDOWS, key_types, unhashed, tail, value_types, lifetime, max_parallelism };
        Self { operator: operator.to_owned(), context: context.clone(), shape }
    }

    /// No window has fired.
    pub fn progress(&self) -> Progress {
        Progress { watermark: TimestampMs::MIN, ahead: Vec::new(), max_parallelism: self.context.max_parallelism }
    }

    fn error(&self, reason: String) -> OperatorError {
        OperatorError::State { operator: self.operator.clone(), reason }
    }

    /// Of which nothing is in files.
    pub fn log(&self) -> DeltaLog {
        DeltaLog::new(
            self.shape.clone(),
            self.context.scratch.clone(),
            self.context.memory.clone(),
            self.context.incremental,
        )
    }

    /// For state that stays in memory.
    pub fn room(&self) -> Room {
        Room::new(&self.context.memory)
    }

    /// The shape of its rows.
    pub fn shape(&self) -> &KeyedState {
        &self.shape
    }

    /// What the operator was given.
    pub fn context(&self) -> &KeyedContext {
        &self.context
    }

    /// Where state goes that has no room in memory.
    pub fn spill(&self) -> Spill {
        Spill::new(self.shape.clone(), &self.context)
    }

    /// What is said of a file that cannot be read or written.
    pub fn storage_error(&self, source: StorageError) -> OperatorError {
        OperatorError::Storage { operator: self.operator.clone(), source }
    }

    /// The number of key groups of all subtasks.
    pub fn max_parallelism(&self) -> u32 {
        self.context.max_parallelism
    }

    /// The key groups of this subtask.
    pub fn key_groups(&self) -> Range<u32> {
        self.context.key_groups.clone()
    }

    /// Number of columns of the key in files.
    pub fn key_columns(&self) -> usize {
        self.shape.key_types.len()
    }

    /// Keeps the progress.
    pub fn snapshot(&self, snapshot: &mut Snapshot, progress: &Progress) {
        let whole = (self.context.key_groups.clone(), progress.watermark);
        let mut kept = Vec::new();
        for (range, watermark) in std::iter::once(&whole).chain(&progress.ahead) {
            kept.extend_from_slice(&range.start.to_le_bytes());
            kept.extend_from_slice(&range.end.to_le_bytes());
            kept.extend_from_slice(&watermark.to_le_bytes());
        }
        snapshot.values.insert(PROGRESS.to_owned(), Blob(kept));
        snapshot.values.insert(ROWS.to_owned(), Blob(self.shape.describe().into_bytes()));
    }

    /// The progress to start from.
    ///
    /// # Errors
    /// If the state is not one of this operator.
    pub fn restored_progress(&self, state: &RestoredState) -> Result<Progress, OperatorError> {
        let described = self.shape.describe();
        let mut ahead = Vec::new();
        for (subtask, values) in &state.values {
            match values.get(ROWS) {
                None => continue,
                Some(found) if found.0 == described.as_bytes() => {}
                Some(found) => {
                    let found = String::from_utf8_lossy(&found.0);
                    return Err(self.error(format!("it has {found}; this plan reads and writes {described}")));
                }
            }
            let of_subtask = values.get(PROGRESS).and_then(|blob| decode_progress(&blob.0));
            ahead.extend(of_subtask.ok_or_else(|| self.error(format!("subtask {subtask} kept no progress")))?);
        }
        let mut progress = self.progress();
        if let Some(least) = ahead.iter().map(|(_, watermark)| *watermark).min()
            && !is_broken(Promise::WatermarkRestore)
        {
            progress.ahead = ahead;
            progress.advance(least);
        }
        Ok(progress)
    }

    /// Calls `each` with the kept rows of this subtask's key groups, those of an old subtask in the order
    /// in which they were written, until it fails.
    ///
    /// # Errors
    /// If a file is missing or damaged, or `each` fails.
    pub fn restored_rows(
        &self,
        state: &RestoredState,
        mut each: impl FnMut(KeyedRows) -> Result<(), OperatorError>,
    ) -> Result<(), OperatorError> {
        let mut result = Ok(());
        for (_, files) in &state.files {
            let take = |rows| {
                if result.is_ok() {
                    result = each(rows);
                }
            };
            self.shape
                .read(files, &state.key_groups, &self.context.scratch, &state.reader, take)
                .map_err(|source| self.storage_error(source))?;
        }
        result
    }
}

fn accumulator_types(layout: &Layout) -> Result<Vec<DataType>, String> {
    let mut types = Vec::new();
    for call in &layout.calls {
        let of_call = accumulator::state_types(&call.call).map_err(|error| error.to_string())?;
        types.extend(of_call.iter().map(|state| state.logical.to_arrow()));
    }
    Ok(types)
}

fn decode_progress(bytes: &[u8]) -> Option<Vec<(Range<u32>, TimestampMs)>> {
    let (entries, rest) = bytes.as_chunks::<16>();
    let decode = |entry: &[u8; 16]| {
        let (range, watermark) = entry.split_at(8);
        let (start, end) = range.split_at(4);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        Some((number(start)?..number(end)?, i64::from_le_bytes(watermark.try_into().ok()?)))
    };
    if rest.is_empty() && !entries.is_empty() { entries.iter().map(decode).collect() } else { None }
}
