//! ORDER BY: keeps rows until the input has ended, and emits them in order.
//!
//! What has no room in memory is sorted and written to local files, which are merged in the end. Where only
//! the first rows go on, the others are dropped as soon as it is known that they are not among them.

mod runs;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use tidemill_common::batch::Batch;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::SortSpec;
use tidemill_common::time::Watermark;
use tidemill_common::types::Schema;
use tidemill_state::storage::StorageError;

use self::runs::Runs;
use super::limit::Limit;
use crate::memory::{MemoryBudget, MemoryShare};
use crate::operator::{Operator, OperatorError, Output};

const OPERATOR: &str = "Sort";
/// A run is written when rows have this part of the operator's share: beside them there are their keys, their
/// order, and what is on its way to the file.
const SPILL_PART: usize = 4;

/// The operator of a sort.
///
/// # Errors
/// If the plan asks for what it cannot do; the planner should have refused it.
pub fn create(
    spec: &SortSpec,
    input: &Schema,
    scratch: PathBuf,
    memory: &MemoryBudget,
) -> Result<Box<dyn Operator>, OperatorError> {
    let order = Order::new(spec, input)?;
    let runs = Runs::new(order.schema.clone(), scratch);
    Ok(Box::new(Sort { spec: spec.clone(), order, batches: Vec::new(), rows: 0, bytes: 0, runs, share: memory.join() }))
}

struct Sort {
    spec: SortSpec,
    order: Order,
    /// Rows as they came.
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// Rows in order, in files.
    runs: Runs,
    share: MemoryShare,
}

/// How rows are compared.
struct Order {
    schema: SchemaRef,
    columns: Vec<usize>,
    converter: RowConverter,
}

/// A row of several batches.
type Place = (usize, usize);

impl Order {
    fn new(spec: &SortSpec, input: &Schema) -> Result<Self, OperatorError> {
        let schema = input.to_arrow();
        let field = |key: &tidemill_common::plan::SortKey| {
            let field = schema.fields().get(key.column).ok_or_else(|| internal("a sort key does not exist"))?;
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            Ok(SortField::new_with_options(field.data_type().clone(), options))
        };
        let fields = spec.keys.iter().map(field).collect::<Result<Vec<_>, OperatorError>>()?;
        let converter = RowConverter::new(fields).map_err(internal)?;
        Ok(Self { columns: spec.keys.iter().map(|key| key.column).collect(), schema, converter })
    }

    /// What a batch's rows are compared by.
    fn keys(&mut self, records: &RecordBatch) -> Result<Rows, OperatorError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| records.column(*column).clone()).collect();
        self.converter.convert_columns(&columns).map_err(internal)
    }

    /// The first `count` rows of some batches in order; equal ones as they came.
    fn first(&mut self, batches: &[RecordBatch], count: usize) -> Result<Vec<Place>, OperatorError> {
        let keys = batches.iter().map(|records| self.keys(records)).collect::<Result<Vec<_>, _>>()?;
        let of_batch = |(batch, records): (usize, &RecordBatch)| (0..records.num_rows()).map(move |row| (batch, row));
        let mut places: Vec<Place> = batches.iter().enumerate().flat_map(of_batch).collect();
        let compare = |a: &Place, b: &Place| keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)).then(a.cmp(b));
        if count < places.len() {
            places.select_nth_unstable_by(count, compare);
            places.truncate(count);
        }
        places.sort_unstable_by(compare);
        Ok(places)
    }

    /// Rows of several batches as one.
    fn gather(&self, batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch, OperatorError> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in 0..self.schema.fields().len() {
            let arrays: Vec<&dyn Array> = batches.iter().map(|records| records.column(column).as_ref()).collect();
            columns.push(interleave(&arrays, places).map_err(internal)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(internal)
    }
}

impl Sort {
    /// So many rows of those in order are wanted at most.
    fn wanted(&self) -> usize {
        self.spec.rows.end().map_or(usize::MAX, |end| usize::try_from(end).unwrap_or(usize::MAX))
    }

    /// Takes the rows that are kept, in order.
    fn take_sorted(&mut self) -> Result<(Vec<RecordBatch>, Vec<Place>), OperatorError> {
        let batches = std::mem::take(&mut self.batches);
        let places = self.order.first(&batches, self.wanted())?;
        (self.rows, self.bytes) = (0, 0);
        Ok((batches, places))
    }

    /// Keeps only the rows that can still be wanted.
    fn shrink(&mut self) -> Result<(), OperatorError> {
        let (batches, places) = self.take_sorted()?;
        for places in places.chunks(BATCH_ROWS_TARGET) {
            let records = self.order.gather(&batches, places)?;
            self.keep(records);
        }
        Ok(())
    }

    fn keep(&mut self, records: RecordBatch) {
        self.rows += records.num_rows();
        self.bytes += bytes_of(&records);
        self.batches.push(records);
    }

    /// Writes the rows that are kept into a file, in order.
    fn spill(&mut self) -> Result<(), OperatorError> {
        let rows_a_chunk = runs::rows_a_chunk(self.share.bytes(), self.bytes / self.rows.max(1));
        let (batches, places) = self.take_sorted()?;
        let mut run = self.runs.begin()?;
        for places in places.chunks(rows_a_chunk) {
            run.write(&self.order.gather(&batches, places)?)?;
        }
        drop(batches);
        self.runs.end(run)?;
        let wanted = self.wanted();
        self.runs.fold(&mut self.order, rows_a_chunk, wanted)
    }

    fn emit_all(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        let mut limit = Limit::new(self.spec.rows);
        let mut emit = |records: RecordBatch| -> Result<bool, OperatorError> {
            if let Some(batch) = limit.of(Batch::insert(records)) {
                output.emit(batch)?;
            }
            Ok(!limit.is_over())
        };
        if self.runs.is_empty() {
            let (batches, places) = self.take_sorted()?;
            for places in places.chunks(BATCH_ROWS_TARGET) {
                if !emit(self.order.gather(&batches, places)?)? {
                    break;
                }
            }
        } else {
            if self.rows > 0 {
                self.spill()?;
            }
            self.share.set_used(0);
            self.runs.merge(&mut self.order, BATCH_ROWS_TARGET, &mut emit)?;
        }
        self.share.set_used(0);
        Ok(())
    }
}

impl Operator for Sort {
    fn process_batch(&mut self, _input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        let wanted = self.wanted();
        if wanted == 0 || batch.rows() == 0 {
            return Ok(());
        }
        self.keep(batch.records);
        if self.rows >= wanted.saturating_add(wanted.max(BATCH_ROWS_TARGET)) {
            self.shrink()?;
        }
        self.share.set_used(self.bytes);
        if self.bytes > self.share.bytes() / SPILL_PART {
            self.spill()?;
            self.share.set_used(0);
        }
        Ok(())
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        // Before the operators behind it are told that all rows have come.
        if watermark == Watermark::MAX {
            self.emit_all(output)?;
        }
        output.emit_watermark(watermark)
    }
}

/// Bytes of a batch's own rows, whatever they are a part of.
fn bytes_of(records: &RecordBatch) -> usize {
    let bytes =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    records.columns().iter().map(bytes).sum()
}

fn internal(reason: impl ToString) -> OperatorError {
    OperatorError::Internal { operator: OPERATOR.to_owned(), reason: reason.to_string() }
}

fn storage(source: StorageError) -> OperatorError {
    OperatorError::Storage { operator: OPERATOR.to_owned(), source }
}
