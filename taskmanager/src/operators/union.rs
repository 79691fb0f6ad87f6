//! `UNION ALL`: hands on the rows of all inputs as they come.

use tidemill_common::batch::Batch;

use crate::operator::{Operator, OperatorError, Output};

/// The operator of a union. Watermarks are merged before it.
pub struct Union;

impl Operator for Union {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        output.emit(batch)
    }
}
