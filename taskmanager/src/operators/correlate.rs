//! Joins each row with the rows that a table function makes of it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{is_null, nullif, take};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::error::ArrowError;
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{CorrelateSpec, TableFunction};
use tidemill_common::types::{LogicalType, Schema};

use crate::operator::{Operator, OperatorError, Output};
use crate::operators::own_table_function;

/// The operator of a table function. `name` is for messages.
pub fn create(
    name: &str,
    spec: &CorrelateSpec,
    input: &Schema,
    output: &Schema,
) -> Result<Box<dyn Operator>, OperatorError> {
    let ordinality = match &spec.function {
        TableFunction::Unnest { ordinality } => *ordinality,
        TableFunction::Own(id) => return own_table_function::create(name, id, spec, output),
    };
    let argument = match spec.args.as_slice() {
        [argument] => *argument,
        _ => {
            let reason = "UNNEST has not one argument in the plan".to_owned();
            return Err(OperatorError::Internal { operator: name.to_owned(), reason });
        }
    };
    let multiset = matches!(input.fields[argument].data_type.logical, LogicalType::Multiset(_));
    Ok(Box::new(Unnest {
        name: name.to_owned(),
        argument,
        kept: spec.kept.clone(),
        outer: spec.outer,
        ordinality,
        multiset,
        schema: output.to_arrow(),
    }))
}

struct Unnest {
    name: String,
    argument: usize,
    kept: Vec<usize>,
    outer: bool,
    ordinality: bool,
    multiset: bool,
    schema: SchemaRef,
}

/// What there is to unnest in a column: its elements one after the other, and where those of each row are.
struct Elements {
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    /// Columns of the elements.
    columns: Vec<ArrayRef>,
    /// How often each element counts; once without.
    counts: Option<ArrayRef>,
}

impl Elements {
    fn of(column: &ArrayRef, multiset: bool) -> Result<Self, ArrowError> {
        if let Some(list) = column.as_list_opt::<i32>() {
            let columns = fields(list.values())?;
            return Ok(Self { offsets: list.offsets().clone(), nulls: list.nulls().cloned(), columns, counts: None });
        }
        let map = column.as_map_opt().ok_or_else(|| {
            ArrowError::InvalidArgumentError(format!("a column of type {} has no elements", column.data_type()))
        })?;
        let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
        Ok(if multiset {
            Self { offsets, nulls, columns: fields(map.keys())?, counts: Some(map.values().clone()) }
        } else {
            Self { offsets, nulls, columns: vec![map.keys().clone(), map.values().clone()], counts: None }
        })
    }

    fn of_row(&self, row: usize) -> Range<usize> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return 0..0;
        }
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// The fields of elements that are rows; other elements are one column.
fn fields(elements: &ArrayRef) -> Result<Vec<ArrayRef>, ArrowError> {
    let Some(rows) = elements.as_struct_opt() else { return Ok(vec![elements.clone()]) };
    if rows.null_count() == 0 {
        return Ok(rows.columns().to_vec());
    }
    // The fields of a row that is NULL are NULL, whatever they hold.
    let gone = is_null(rows)?;
    rows.columns().iter().map(|column| nullif(column, &gone)).collect()
}

/// The rows of one output batch.
#[derive(Default)]
struct Made {
    /// The row of the input of each.
    rows: Vec<u32>,
    /// The element of each; `None` for the NULLs of an outer join.
    elements: Vec<Option<u32>>,
    ordinals: Vec<Option<i32>>,
}

impl Made {
    fn push(&mut self, row: usize, element: Option<usize>, ordinal: Option<usize>) {
        self.rows.push(row as u32);
        self.elements.push(element.map(|element| element as u32));
        self.ordinals.push(ordinal.map(|ordinal| ordinal as i32));
    }
}

impl Unnest {
    fn emit(
        &self,
        batch: &Batch,
        elements: &Elements,
        made: &mut Made,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let count = made.rows.len();
        if count == 0 {
            return Ok(());
        }
        let Made { rows, elements: taken, ordinals } = std::mem::take(made);
        let kinds =
            batch.kinds.as_ref().map(|kinds| rows.iter().map(|row| kinds[*row as usize]).collect::<Arc<[RowKind]>>());
        let (rows, taken) = (UInt32Array::from(rows), UInt32Array::from(taken));
        let build = || -> Result<RecordBatch, ArrowError> {
            let mut columns = Vec::with_capacity(self.schema.fields().len());
            for column in &self.kept {
                columns.push(take(batch.records.column(*column), &rows, None)?);
            }
            for column in &elements.columns {
                columns.push(take(column, &taken, None)?);
            }
            if self.ordinality {
                columns.push(Arc::new(Int32Array::from(ordinals)));
            }
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
        };
        let records = build().map_err(|error| self.internal(&error))?;
        output.emit(Batch { records, kinds })
    }

    fn internal(&self, error: &ArrowError) -> OperatorError {
        OperatorError::Internal { operator: self.name.clone(), reason: error.to_string() }
    }
}

impl Operator for Unnest {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let argument = batch.records.column(self.argument);
        let elements = Elements::of(argument, self.multiset).map_err(|error| self.internal(&error))?;
        let counts = elements.counts.as_ref().map(|counts| counts.as_primitive::<Int32Type>());
        let mut made = Made::default();
        for row in 0..batch.rows() {
            let mut ordinal = 0;
            for element in elements.of_row(row) {
                for _ in 0..counts.map_or(1, |counts| counts.value(element)) {
                    ordinal += 1;
                    made.push(row, Some(element), Some(ordinal));
                    if made.rows.len() == BATCH_ROWS_TARGET {
                        self.emit(&batch, &elements, &mut made, output)?;
                    }
                }
            }
            if ordinal == 0 && self.outer {
                made.push(row, None, None);
                if made.rows.len() == BATCH_ROWS_TARGET {
                    self.emit(&batch, &elements, &mut made, output)?;
                }
            }
        }
        self.emit(&batch, &elements, &mut made, output)
    }
}
