//! OFFSET and FETCH (or LIMIT): some of the rows, in the order in which they come.

use tidemill_common::batch::Batch;
use tidemill_common::plan::RowRange;

use crate::operator::{Operator, OperatorError, Output};

/// What is still to be left out, and to go on.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    rows: RowRange,
}

impl Limit {
    /// Lets the rows of a range pass.
    pub fn new(rows: RowRange) -> Self {
        Self { rows }
    }

    /// The rows of a batch that are in the range.
    pub fn of(&mut self, batch: Batch) -> Option<Batch> {
        let rows = batch.rows();
        let skipped = usize::try_from(self.rows.offset).map_or(rows, |offset| offset.min(rows));
        self.rows.offset -= skipped as u64;
        let mut taken = rows - skipped;
        if let Some(fetch) = &mut self.rows.fetch {
            taken = usize::try_from(*fetch).map_or(taken, |fetch| fetch.min(taken));
            *fetch -= taken as u64;
        }
        match taken {
            0 => None,
            taken if taken == rows => Some(batch),
            taken => Some(batch.slice(skipped, taken)),
        }
    }

    /// Whether no row goes on any more.
    pub fn is_over(&self) -> bool {
        self.rows.fetch == Some(0)
    }
}

impl Operator for Limit {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        match self.of(batch) {
            Some(batch) => output.emit(batch),
            None => Ok(()),
        }
    }
}
