//! Filter, then project.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use chrono_tz::Tz;
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::expr::Expr;
use tidemill_common::plan::CalcSpec;
use tidemill_common::types::Schema;
use tidemill_expr::eval::{CompileError, EvalContext, EvalError, Predicate, Program};

use super::window::system_clock;
use crate::operator::{Operator, OperatorError, Output};

/// The operator of a filter and projection. `name` is for messages.
pub fn create(
    name: &str,
    spec: &CalcSpec,
    input: &Schema,
    output: &Schema,
    zone: Tz,
) -> Result<Box<dyn Operator>, OperatorError> {
    let compile =
        |error: CompileError| OperatorError::Evaluation { operator: name.to_owned(), reason: error.to_string() };
    let arrow_input = input.to_arrow();
    // Columns that only the filter reads are not filtered themselves.
    let mut used: Vec<usize> = spec.projection.iter().flat_map(Expr::columns).collect();
    used.sort_unstable();
    used.dedup();
    let projection: Vec<Expr> = spec
        .projection
        .iter()
        .map(|expr| {
            expr.map_columns(&mut |index, data_type| {
                Expr::column(used.binary_search(&index).unwrap_or(index), data_type.clone())
            })
        })
        .collect();
    let used_schema = Schema::new(used.iter().map(|index| input.fields[*index].clone()).collect()).to_arrow();
    let identity = projection.len() == used.len()
        && projection.iter().enumerate().all(|(at, expr)| matches!(expr, Expr::Column { index, .. } if *index == at));
    Ok(Box::new(Calc {
        name: name.to_owned(),
        filter: spec
            .filter
            .as_ref()
            .map(|filter| Predicate::compile(filter, &arrow_input))
            .transpose()
            .map_err(compile)?,
        program: if identity { None } else { Some(Program::compile(&projection, &used_schema).map_err(compile)?) },
        used,
        schema: output.to_arrow(),
        zone,
    }))
}

struct Calc {
    name: String,
    filter: Option<Predicate>,
    /// Columns of the input that the projection reads.
    used: Vec<usize>,
    /// Over `used`; `None` if it hands these on as they are.
    program: Option<Program>,
    schema: SchemaRef,
    zone: Tz,
}

impl Calc {
    fn failed(&self, error: &EvalError) -> OperatorError {
        OperatorError::Evaluation { operator: self.name.clone(), reason: error.reason.clone() }
    }

    fn internal(&self, error: &ArrowError) -> OperatorError {
        OperatorError::Internal { operator: self.name.clone(), reason: error.to_string() }
    }
}

impl Operator for Calc {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let context = EvalContext { now_ms: system_clock(), zone: self.zone };
        let Batch { records, mut kinds } = batch;
        let mask = match &self.filter {
            Some(filter) => {
                let mask = filter.select(&records, &context).map_err(|error| self.failed(&error))?;
                match mask.true_count() {
                    0 => return Ok(()),
                    all if all == records.num_rows() => None,
                    _ => Some(mask),
                }
            }
            None => None,
        };
        let mut records = records.project(&self.used).map_err(|error| self.internal(&error))?;
        if let Some(mask) = mask {
            records = filter_record_batch(&records, &mask).map_err(|error| self.internal(&error))?;
            kinds = kinds.map(|kinds| {
                let kept = kinds.iter().zip(mask.values().iter()).filter(|(_, keep)| *keep);
                kept.map(|(kind, _)| *kind).collect::<Arc<[RowKind]>>()
            });
        }
        let columns = match &self.program {
            Some(program) => program.evaluate(&records, &context).map_err(|error| self.failed(&error))?,
            None => records.columns().to_vec(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| self.internal(&error))?;
        output.emit(Batch { records, kinds })
    }
}
