//! Joins each row with the rows that a table function of the user's own makes of it.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::expr::FunctionId;
use tidemill_common::plan::CorrelateSpec;
use tidemill_common::types::Schema;
use tidemill_expr::own::{self, Argument, Kind, MadeRows, TableKernel};

use crate::operator::{Operator, OperatorError, Output};

/// The operator of the function `id`. `name` is for messages.
pub(super) fn create(
    name: &str,
    id: &FunctionId,
    spec: &CorrelateSpec,
    output: &Schema,
) -> Result<Box<dyn Operator>, OperatorError> {
    let Some(Kind::Table { kernel, .. }) = own::functions().get(id).map(|function| &function.kind) else {
        // Deployments are checked for what the binary lacks before they come here.
        let reason = format!("this binary has no table function {} version {}", id.name, id.version);
        return Err(OperatorError::Evaluation { operator: name.to_owned(), reason });
    };
    Ok(Box::new(OwnTableFunction {
        name: name.to_owned(),
        kernel: &**kernel,
        args: spec.args.clone(),
        kept: spec.kept.clone(),
        outer: spec.outer,
        schema: output.to_arrow(),
    }))
}

struct OwnTableFunction {
    name: String,
    kernel: &'static dyn TableKernel,
    args: Vec<usize>,
    kept: Vec<usize>,
    outer: bool,
    schema: SchemaRef,
}

impl OwnTableFunction {
    /// The kept columns of the rows that the function has made something of, and what it has made.
    fn joined(&self, batch: &Batch, made: MadeRows) -> Result<Batch, ArrowError> {
        let kinds = batch
            .kinds
            .as_ref()
            .map(|kinds| made.parents.iter().map(|row| kinds[*row as usize]).collect::<Arc<[RowKind]>>());
        let parents = UInt32Array::from(made.parents);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in &self.kept {
            columns.push(take(batch.records.column(*column), &parents, None)?);
        }
        columns.extend(made.columns);
        let options = RecordBatchOptions::new().with_row_count(Some(parents.len()));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Batch { records, kinds })
    }
}

impl Operator for OwnTableFunction {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let args: Vec<Argument<'_>> =
            self.args.iter().map(|column| Argument { array: batch.records.column(*column), constant: false }).collect();
        let mut outcome = Ok(());
        let mut emit = |made: MadeRows| {
            outcome = match self.joined(&batch, made) {
                Ok(joined) => output.emit(joined),
                Err(error) => Err(OperatorError::Internal { operator: self.name.clone(), reason: error.to_string() }),
            };
            outcome.is_ok()
        };
        let evaluated = self.kernel.evaluate(&args, batch.rows(), self.outer, &mut emit);
        outcome?;
        evaluated.map_err(|reason| OperatorError::Evaluation { operator: self.name.clone(), reason })
    }
}
