//! Each row as often as one of its columns says: INTERSECT ALL and EXCEPT ALL.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use tidemill_common::batch::Batch;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::types::Schema;

use crate::operator::{Operator, OperatorError, Output};

const OPERATOR: &str = "ReplicateRows";

/// The operator.
///
/// # Errors
/// If the column is no BIGINT; the planner should have seen to it.
pub fn create(times: usize, input: &Schema) -> Result<Box<dyn Operator>, OperatorError> {
    match input.fields.get(times).map(|field| field.data_type.logical.to_arrow()) {
        Some(DataType::Int64) => Ok(Box::new(ReplicateRows { times })),
        _ => Err(internal(format!("column {times} is no BIGINT"))),
    }
}

struct ReplicateRows {
    times: usize,
}

impl Operator for ReplicateRows {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let records = &batch.records;
        let times = records.column(self.times).as_primitive::<Int64Type>();
        let mut rows = Vec::new();
        for row in 0..records.num_rows() {
            let mut left = if times.is_null(row) { 0 } else { times.value(row) };
            while left > 0 {
                let room = (BATCH_ROWS_TARGET - rows.len()) as i64;
                let now = left.min(room);
                rows.extend(std::iter::repeat_n(row as u32, now as usize));
                left -= now;
                if rows.len() == BATCH_ROWS_TARGET {
                    output.emit(Batch::insert(taken(records, std::mem::take(&mut rows))?))?;
                }
            }
        }
        if rows.is_empty() { Ok(()) } else { output.emit(Batch::insert(taken(records, rows)?)) }
    }
}

fn taken(records: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let rows = UInt32Array::from(rows);
    let take = |column: &ArrayRef| take(column, &rows, None).map_err(|error| internal(error.to_string()));
    let columns = records.columns().iter().map(take).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(records.schema(), columns, &options).map_err(|error| internal(error.to_string()))
}

fn internal(reason: String) -> OperatorError {
    OperatorError::Internal { operator: OPERATOR.to_owned(), reason }
}
