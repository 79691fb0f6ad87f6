//! Window table functions that are not aggregated: each row, once per window it is in, with
//! `window_start`, `window_end` and `window_time` appended.
//!
//! As in Flink nothing is late here (who reads the windows decides that), and a row without a row
//! time is in no window.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{WindowSpec, WindowTime};
use tidemill_common::types::Schema;

use super::window::{Assigner, Clock, WindowZone, is_row_time, system_clock, zone_of};
use crate::operator::{Operator, OperatorError, Output};

const OPERATOR: &str = "WindowTableFunction";

/// The operator of a window table function.
///
/// # Errors
/// For session windows and for input that has no TIMESTAMP(3) where the plan says.
pub fn create(
    spec: &WindowSpec,
    input: &Schema,
    output: &Schema,
    max_parallelism: u32,
) -> Result<Box<dyn Operator>, OperatorError> {
    let _ = max_parallelism;
    create_with_clock(spec, input, output, system_clock)
}

fn create_with_clock(
    spec: &WindowSpec,
    input: &Schema,
    output: &Schema,
    clock: Clock,
) -> Result<Box<dyn Operator>, OperatorError> {
    let refuse = |reason: String| OperatorError::Internal { operator: OPERATOR.to_owned(), reason };
    if let WindowTime::RowTime { column, .. } = &spec.time {
        is_row_time(input, *column).map_err(refuse)?;
    }
    let schema = output.to_arrow();
    let time = schema.fields().last().map(|field| field.data_type().clone());
    Ok(Box::new(WindowTableFunction {
        assigner: Assigner::new(&spec.kind).map_err(refuse)?,
        zone: zone_of(&spec.time).map_err(refuse)?,
        time: spec.time.clone(),
        instant: matches!(time, Some(DataType::Timestamp(_, Some(_)))),
        schema,
        clock,
        rows: Vec::new(),
        starts: Vec::new(),
        ends: Vec::new(),
    }))
}

struct WindowTableFunction {
    assigner: Assigner,
    zone: WindowZone,
    time: WindowTime,
    schema: SchemaRef,
    /// `window_time` is a TIMESTAMP_LTZ.
    instant: bool,
    clock: Clock,
    /// Output rows that wait: the input row of each, and its window.
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl WindowTableFunction {
    fn emit(&mut self, batch: &Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let internal = |error: arrow::error::ArrowError| OperatorError::Internal {
            operator: OPERATOR.to_owned(),
            reason: error.to_string(),
        };
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let whole = rows.len() == batch.rows() && rows.iter().enumerate().all(|(at, row)| at == *row as usize);
        let kinds =
            batch.kinds.as_ref().map(|kinds| rows.iter().map(|row| kinds[*row as usize]).collect::<Arc<[RowKind]>>());
        let records = if whole {
            batch.records.clone()
        } else {
            take_record_batch(&batch.records, &UInt32Array::from(rows)).map_err(internal)?
        };
        let (starts, ends) = (std::mem::take(&mut self.starts), std::mem::take(&mut self.ends));
        let times = ends.iter().map(|end| if self.instant { self.zone.to_instant(end - 1) } else { end - 1 });
        let times = TimestampMillisecondArray::from_iter_values(times);
        let times = if self.instant { times.with_timezone("UTC") } else { times };
        let mut columns: Vec<ArrayRef> = records.columns().to_vec();
        columns.push(Arc::new(TimestampMillisecondArray::from(starts)));
        columns.push(Arc::new(TimestampMillisecondArray::from(ends)));
        columns.push(Arc::new(times));
        let records = RecordBatch::try_new(self.schema.clone(), columns).map_err(internal)?;
        output.emit(Batch { records, kinds })
    }
}

impl Operator for WindowTableFunction {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let now = (self.clock)();
        let times = match &self.time {
            WindowTime::RowTime { column, .. } => {
                Some(batch.records.column(*column).as_primitive::<TimestampMillisecondType>().clone())
            }
            WindowTime::ProcessingTime { .. } | WindowTime::Input => None,
        };
        for row in 0..batch.rows() {
            let time = match &times {
                Some(times) if times.is_null(row) => continue,
                Some(times) => times.value(row),
                None => now,
            };
            let Self { rows, starts, ends, .. } = self;
            self.assigner.for_each_window(self.zone.to_local(time), |window| {
                rows.push(row as u32);
                starts.push(window.start);
                ends.push(window.end);
            });
            if self.rows.len() >= BATCH_ROWS_TARGET {
                self.emit(&batch, output)?;
            }
        }
        self.emit(&batch, output)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_common::plan::WindowKind;
    use tidemill_common::time::Watermark;
    use tidemill_common::types::{Field, LogicalType};

    use super::*;

    struct Collected(Vec<(i64, i64, i64, i64)>);

    impl Output for Collected {
        fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
            let column =
                |column: usize| batch.records.column(column).as_primitive::<TimestampMillisecondType>().clone();
            let (times, starts, ends, window_times) = (column(0), column(1), column(2), column(3));
            for row in 0..batch.rows() {
                self.0.push((times.value(row), starts.value(row), ends.value(row), window_times.value(row)));
            }
            Ok(())
        }

        fn emit_watermark(&mut self, _watermark: Watermark) -> Result<(), OperatorError> {
            Ok(())
        }
    }

    #[test]
    fn a_row_appears_once_per_window_and_rows_without_time_never() {
        let timestamp = || LogicalType::Timestamp(3).nullable();
        let input = Schema::new(vec![Field::new("ts", timestamp())]);
        let names = ["ts", "window_start", "window_end", "window_time"];
        let output = Schema::new(names.iter().map(|name| Field::new(*name, timestamp())).collect());
        let spec = WindowSpec {
            kind: WindowKind::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 },
            time: WindowTime::RowTime { column: 0, zone: None },
        };
        let mut operator = create(&spec, &input, &output, 128).unwrap();
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(7), None, Some(-1)]));
        let records = RecordBatch::try_new(input.to_arrow(), vec![times]).unwrap();
        let mut collected = Collected(Vec::new());
        operator.process_batch(0, Batch::insert(records), &mut collected).unwrap();
        assert_eq!(collected.0, [(7, 5, 15, 14), (7, 0, 10, 9), (-1, -5, 5, 4), (-1, -10, 0, -1)]);
        let session = WindowSpec { kind: WindowKind::Session { gap_ms: 5 }, ..spec };
        assert!(create(&session, &input, &output, 128).is_err());
    }
}
