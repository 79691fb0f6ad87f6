//! Rows of window joins: in memory by window and side, and on their way into files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::time::TimestampMs;
use tidemill_state::keyed::RowSource;

use super::{LEFT, RIGHT, internal};
use crate::operator::OperatorError;
use crate::operators::window::deltas::Delta;

/// Rows of one side in one window.
#[derive(Clone)]
pub(super) struct Kept {
    pub end: TimestampMs,
    pub side: usize,
    pub records: RecordBatch,
}

/// The rows of one window, by side.
#[derive(Default)]
pub(super) struct WindowRows {
    pub sides: [Vec<RecordBatch>; 2],
}

/// Rows by the end of their window.
#[derive(Default)]
pub(super) struct Windows {
    pub by_end: BTreeMap<TimestampMs, WindowRows>,
    pub rows: usize,
    pub bytes: usize,
}

impl Windows {
    /// Keeps rows. Small batches are put together, so that there are not many of them.
    pub fn push(&mut self, kept: Kept, schema: &SchemaRef) -> Result<(), OperatorError> {
        let Kept { end, side, records } = kept;
        self.rows += records.num_rows();
        self.bytes += records.get_array_memory_size();
        let kept = &mut self.by_end.entry(end).or_default().sides[side];
        kept.push(records);
        while let [.., before, last] = kept.as_slice() {
            let (rows_before, rows) = (before.num_rows(), last.num_rows());
            if rows_before > 2 * rows || rows_before + rows > BATCH_ROWS_TARGET {
                break;
            }
            let merged = concat_batches(schema, [before, last]).map_err(internal)?;
            let parts = before.get_array_memory_size() + last.get_array_memory_size();
            self.bytes = (self.bytes + merged.get_array_memory_size()).saturating_sub(parts);
            kept.truncate(kept.len() - 2);
            kept.push(merged);
        }
        Ok(())
    }

    /// Gives up the rows of a window.
    pub fn take(&mut self, end: TimestampMs) -> WindowRows {
        let window = self.by_end.remove(&end).unwrap_or_default();
        let all = window.sides.iter().flatten();
        self.rows -= all.clone().map(RecordBatch::num_rows).sum::<usize>();
        self.bytes = self.bytes.saturating_sub(all.map(RecordBatch::get_array_memory_size).sum());
        window
    }

    /// All rows.
    pub fn kept(&self) -> impl Iterator<Item = Kept> {
        self.by_end.iter().flat_map(|(end, window)| {
            let of_side = move |side: usize| {
                let rows = window.sides[side].iter().cloned();
                rows.map(move |records| Kept { end: *end, side, records })
            };
            of_side(LEFT).chain(of_side(RIGHT))
        })
    }
}

/// Rows that a barrier or a spill has set aside, together.
pub(super) struct Segment {
    /// Unique within the operator.
    pub run: u64,
    pub windows: Windows,
}

impl Segment {
    /// Its rows, to be written beside.
    pub fn delta(&self, keys: [&[usize]; 2], schemas: &[SchemaRef; 2]) -> Delta {
        let last_end = self.windows.by_end.keys().next_back().copied().unwrap_or(TimestampMs::MIN);
        let rows = JoinRows::new(self.windows.kept().collect(), keys, schemas);
        Delta { run: self.run, count: rows.count(), rows: Arc::new(rows), last_end }
    }
}

/// Rows of both sides on their way into files.
struct JoinRows {
    /// Batch and row of each.
    places: Vec<(u32, u32)>,
    batches: Vec<Kept>,
    /// Columns of the join, and all columns, as one array for each batch.
    keys: Vec<Vec<ArrayRef>>,
    values: Vec<Vec<ArrayRef>>,
}

impl JoinRows {
    fn new(batches: Vec<Kept>, keys: [&[usize]; 2], schemas: &[SchemaRef; 2]) -> Self {
        let rows = |(number, kept): (usize, &Kept)| {
            (0..kept.records.num_rows() as u32).map(move |row| (number as u32, row)).collect::<Vec<_>>()
        };
        let places = batches.iter().enumerate().flat_map(rows).collect();
        let of_key = |at: usize| {
            let column = |kept: &Kept| kept.records.column(keys[kept.side][at]).clone();
            batches.iter().map(column).collect()
        };
        let keys = (0..keys[LEFT].len()).map(of_key).collect();
        let of_value = |side: usize, column: usize| {
            let absent = new_null_array(schemas[side].field(column).data_type(), 1);
            let of_batch = |kept: &Kept| {
                if kept.side == side { kept.records.column(column).clone() } else { absent.clone() }
            };
            batches.iter().map(of_batch).collect()
        };
        let columns = |side: usize| (0..schemas[side].fields().len()).map(move |column| (side, column));
        let values = columns(LEFT).chain(columns(RIGHT)).map(|(side, column)| of_value(side, column)).collect();
        Self { places, batches, keys, values }
    }

    /// The rows of columns, each given as an array for each batch.
    fn gather(columns: &[Vec<ArrayRef>], places: &[(usize, usize)]) -> Vec<ArrayRef> {
        let gather = |arrays: &Vec<ArrayRef>| {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            // Of the other side there is one NULL for all rows.
            let places: Vec<(usize, usize)> = places
                .iter()
                .map(|(batch, row)| (*batch, (*row).min(arrays[*batch].len().saturating_sub(1))))
                .collect();
            // Fails only for rows that are not there.
            interleave(&arrays, &places).ok()
        };
        columns.iter().filter_map(gather).collect()
    }

    fn places(&self, rows: &[u32]) -> Vec<(usize, usize)> {
        let place = |row: &u32| {
            let (batch, row) = self.places[*row as usize];
            (batch as usize, row as usize)
        };
        rows.iter().map(place).collect()
    }
}

impl RowSource for JoinRows {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn rows(&self) -> Vec<u32> {
        (0..self.places.len() as u32).collect()
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let side = |row: &u32| self.batches[self.places[*row as usize].0 as usize].side as i64;
        let mut keys: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(side).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| i64::from(*row)).collect::<Int64Array>()),
        ];
        keys.extend(Self::gather(&self.keys, &self.places(rows)));
        keys
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        Self::gather(&self.values, &self.places(rows))
    }

    fn namespace(&self, row: u32) -> i64 {
        self.batches[self.places[row as usize].0 as usize].end
    }
}
