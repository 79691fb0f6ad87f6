//! Collects results into batches of at most [`BATCH_ROWS_TARGET`] rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, SchemaRef};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::types::Schema;

use super::assigner::Window;
use super::zone::WindowZone;
use crate::operator::{OperatorError, Output};

/// The windows of some rows.
pub(crate) enum RowWindows {
    /// So many rows of one window.
    One(Window, usize),
    /// A window a row.
    Each(Vec<Window>),
}

impl RowWindows {
    fn len(&self) -> usize {
        match self {
            Self::One(_, rows) => *rows,
            Self::Each(windows) => windows.len(),
        }
    }

    fn append(&self, out: &mut Vec<i64>, of: impl Fn(Window) -> i64) {
        match self {
            Self::One(window, rows) => out.resize(out.len() + rows, of(*window)),
            Self::Each(windows) => out.extend(windows.iter().map(|window| of(*window))),
        }
    }
}

/// What is written behind keys and aggregates.
enum Tail {
    /// `window_start`, `window_end`, `window_time`.
    Window { zone: WindowZone, instant: bool },
    /// The slice end, BIGINT.
    SliceEnd,
    /// Nothing: there is one window.
    Nothing,
}

/// The rows that wait, with their windows.
pub(crate) struct Emitter {
    operator: String,
    schema: SchemaRef,
    tail: Tail,
    chunks: Vec<(Vec<ArrayRef>, RowWindows, RowKind)>,
    rows: usize,
}

impl Emitter {
    /// Of final results: rows end with the window's three columns.
    pub fn of_windows(operator: &str, output: &Schema, zone: WindowZone) -> Self {
        let schema = output.to_arrow();
        let time = schema.fields().last().map(|field| field.data_type().clone());
        let instant = matches!(time, Some(DataType::Timestamp(_, Some(_))));
        Self::new(operator, schema, Tail::Window { zone, instant })
    }

    /// Of accumulators: rows end with the slice end.
    pub fn of_slices(operator: &str, output: &Schema) -> Self {
        Self::new(operator, output.to_arrow(), Tail::SliceEnd)
    }

    /// Of a whole input: rows end with the aggregates, or the accumulators.
    pub fn of_whole(operator: &str, output: &Schema) -> Self {
        Self::new(operator, output.to_arrow(), Tail::Nothing)
    }

    fn new(operator: &str, schema: SchemaRef, tail: Tail) -> Self {
        Self { operator: operator.to_owned(), schema, tail, chunks: Vec::new(), rows: 0 }
    }

    /// Adds rows, not many more than [`BATCH_ROWS_TARGET`].
    pub fn push(
        &mut self,
        columns: Vec<ArrayRef>,
        windows: RowWindows,
        kind: RowKind,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let rows = windows.len();
        if self.rows + rows > BATCH_ROWS_TARGET {
            self.flush(output)?;
        }
        self.rows += rows;
        self.chunks.push((columns, windows, kind));
        Ok(())
    }

    /// Emits what waits.
    pub fn flush(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let chunks = std::mem::take(&mut self.chunks);
        let internal = |error: arrow::error::ArrowError| OperatorError::Internal {
            operator: self.operator.clone(),
            reason: error.to_string(),
        };
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in 0..chunks[0].0.len() {
            if let [(only, ..)] = &chunks[..] {
                columns.push(only[column].clone());
            } else {
                let parts: Vec<_> = chunks.iter().map(|(columns, ..)| columns[column].as_ref()).collect();
                columns.push(concat(&parts).map_err(internal)?);
            }
        }
        let window_column = |of: &dyn Fn(Window) -> i64| {
            let mut values = Vec::with_capacity(rows);
            chunks.iter().for_each(|(_, windows, _)| windows.append(&mut values, of));
            values
        };
        match &self.tail {
            Tail::Window { zone, instant } => {
                columns.push(Arc::new(TimestampMillisecondArray::from(window_column(&|window| window.start))));
                columns.push(Arc::new(TimestampMillisecondArray::from(window_column(&|window| window.end))));
                columns.push(if *instant {
                    let times = window_column(&|window| zone.to_instant(window.end - 1));
                    Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"))
                } else {
                    Arc::new(TimestampMillisecondArray::from(window_column(&|window| window.end - 1)))
                });
            }
            Tail::Nothing => {}
            Tail::SliceEnd => columns.push(Arc::new(Int64Array::from(window_column(&|window| window.end)))),
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(internal)?;
        let kinds = chunks
            .iter()
            .any(|(_, _, kind)| *kind != RowKind::Insert)
            .then(|| chunks.iter().flat_map(|(_, windows, kind)| std::iter::repeat_n(*kind, windows.len())).collect());
        output.emit(Batch { records, kinds })
    }
}
