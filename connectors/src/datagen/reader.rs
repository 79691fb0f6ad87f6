//! Reads a share of the rows: every `stride`-th, so that all readers advance together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use tidemill_common::config::Options;
use tidemill_common::ids::SplitId;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::SourceSpec;
use tidemill_common::types::Schema;

use super::column::Column;
use super::fields::Fields;
use super::{IDENTIFIER, ROWS_PER_SECOND_DEFAULT};
use crate::api::{ConnectorError, SourcePoll, SourceReader, Split};
use crate::generator::Pace;

/// State of a split: which rows it has, and the next of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatagenSplit {
    pub seed: u64,
    pub next: u64,
    pub stride: u64,
    /// Rows of the whole table; `None` is unbounded.
    pub rows: Option<u64>,
}

impl DatagenSplit {
    pub fn to_json(&self) -> Result<serde_json::Value, ConnectorError> {
        serde_json::to_value(self)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })
    }

    /// Rows left, at most `most`.
    fn take(&self, most: usize) -> usize {
        match self.rows {
            Some(rows) => rows.saturating_sub(self.next).div_ceil(self.stride).min(most as u64) as usize,
            None => most,
        }
    }
}

struct ActiveSplit {
    id: SplitId,
    state: DatagenSplit,
    pace: Pace,
}

pub(super) struct DatagenReader {
    source: SourceSpec,
    schema: SchemaRef,
    rows_per_second: f64,
    /// In turn.
    splits: VecDeque<ActiveSplit>,
    paused: BTreeSet<SplitId>,
    /// The projected columns, a seed.
    columns: BTreeMap<u64, Vec<Column>>,
    row_numbers: Vec<u64>,
}

impl DatagenReader {
    pub fn new(source: &SourceSpec) -> Result<Self, ConnectorError> {
        let fields = source.projection.iter().map(|index| source.table.schema.fields[*index].clone()).collect();
        let rows_per_second =
            Options(&source.table.options).integer("rows-per-second").unwrap_or(ROWS_PER_SECOND_DEFAULT);
        Ok(Self {
            schema: Schema::new(fields).to_arrow(),
            source: source.clone(),
            rows_per_second: rows_per_second as f64,
            splits: VecDeque::new(),
            paused: BTreeSet::new(),
            columns: BTreeMap::new(),
            row_numbers: Vec::with_capacity(BATCH_ROWS_TARGET),
        })
    }

    fn columns_of(&mut self, seed: u64) -> Result<(), ConnectorError> {
        if self.columns.contains_key(&seed) {
            return Ok(());
        }
        let fields = Fields::new(&self.source.table, seed)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let mut all: Vec<Option<Column>> = fields.columns.into_iter().map(Some).collect();
        let projected = self.source.projection.iter().filter_map(|index| all[*index].take()).collect();
        self.columns.insert(seed, projected);
        Ok(())
    }
}

impl SourceReader for DatagenReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), ConnectorError> {
        for split in splits {
            let state: DatagenSplit = serde_json::from_value(split.state).map_err(|error| ConnectorError::State {
                table: self.source.table.name.clone(),
                reason: error.to_string(),
            })?;
            if state.stride == 0 {
                return Err(ConnectorError::State {
                    table: self.source.table.name.clone(),
                    reason: "the stride is 0".to_owned(),
                });
            }
            self.columns_of(state.seed)?;
            let pace = Pace::new(self.rows_per_second / state.stride as f64);
            self.splits.push_back(ActiveSplit { id: split.id, state, pace });
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<SourcePoll, ConnectorError> {
        let now = Instant::now();
        let mut wait = timeout;
        for _ in 0..self.splits.len() {
            let Some(mut split) = self.splits.pop_front() else { break };
            if self.paused.contains(&split.id) {
                self.splits.push_back(split);
                continue;
            }
            if split.state.take(1) == 0 {
                return Ok(SourcePoll::SplitFinished(split.id));
            }
            match split.pace.due(now) {
                Ok(due) => {
                    let rows = split.state.take(BATCH_ROWS_TARGET.min(usize::try_from(due).unwrap_or(usize::MAX)));
                    let (first, stride) = (split.state.next, split.state.stride);
                    self.row_numbers.clear();
                    self.row_numbers.extend((0..rows as u64).map(|row| first + row * stride));
                    let now_ms = SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
                    let columns = self.columns.get(&split.state.seed).map(Vec::as_slice).unwrap_or_default();
                    let arrays = columns.iter().map(|column| column.generate(&self.row_numbers, now_ms));
                    let options = RecordBatchOptions::new().with_row_count(Some(rows));
                    let records = arrays
                        .collect::<Result<Vec<_>, _>>()
                        .and_then(|arrays| RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options))
                        .map_err(|error| ConnectorError::Internal {
                            connector: IDENTIFIER,
                            reason: error.to_string(),
                        })?;
                    split.state.next += rows as u64 * stride;
                    split.pace.emitted(rows as u64);
                    let id = split.id.clone();
                    self.splits.push_back(split);
                    return Ok(SourcePoll::Rows { split: id, records });
                }
                Err(until) => {
                    wait = wait.min(until);
                    self.splits.push_back(split);
                }
            }
        }
        if self.splits.is_empty() {
            return Ok(SourcePoll::NoSplits);
        }
        std::thread::sleep(wait);
        Ok(SourcePoll::Pending)
    }

    fn set_paused(&mut self, split: &SplitId, paused: bool) {
        if paused {
            self.paused.insert(split.clone());
        } else {
            self.paused.remove(split);
        }
    }

    fn snapshot(&self) -> Vec<Split> {
        self.splits.iter().filter_map(|split| Some(Split::new(split.id.clone(), split.state.to_json().ok()?))).collect()
    }
}
