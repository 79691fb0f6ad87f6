//! Pairs of rows of two sides with equal keys, by a hash table over the right one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};
use chrono_tz::Tz;
use tidemill_common::batch::Batch;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{JoinKind, WindowJoinSide};
use tidemill_expr::eval::{EvalContext, Program};
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::{LEFT, NONE, OPERATOR, RIGHT, batch, internal};
use crate::operator::{OperatorError, Output};
use crate::operators::window::system_clock;

/// What is joined how.
pub(super) struct Joiner {
    pub kind: JoinKind,
    /// All rows are in one window, which has no columns and ends with the input.
    pub is_whole: bool,
    pub sides: [WindowJoinSide; 2],
    pub key_types: Vec<DataType>,
    /// Over the columns of both sides.
    pub condition: Option<(Program, SchemaRef)>,
    pub output: SchemaRef,
    pub zone: Tz,
}

impl Joiner {
    /// The columns that must be equal: the start of the window, and those of the join.
    fn equal_columns(&self, side: usize, records: &RecordBatch) -> Vec<ArrayRef> {
        let start = (!self.is_whole).then(|| {
            let start = records.column(self.sides[side].start).as_primitive::<TimestampMillisecondType>();
            Arc::new(Int64Array::new(start.values().clone(), start.nulls().cloned())) as ArrayRef
        });
        let keys = self.sides[side].keys.iter().map(|key| records.column(*key).clone());
        start.into_iter().chain(keys).collect()
    }
}

/// Rows of two sides while they are joined.
pub(super) struct Joined<'a> {
    join: &'a Joiner,
    left: &'a RecordBatch,
    right: &'a RecordBatch,
    /// Rows of each side that have a partner.
    pub matched: [Vec<bool>; 2],
    /// Rows that have equal keys and were not looked at yet.
    pairs: (Vec<u32>, Vec<u32>),
    output: &'a mut dyn Output,
}

impl<'a> Joined<'a> {
    /// Rows of which none has a partner yet.
    pub fn new(join: &'a Joiner, left: &'a RecordBatch, right: &'a RecordBatch, output: &'a mut dyn Output) -> Self {
        let matched = [left, right].map(|side| vec![false; side.num_rows()]);
        Self { join, left, right, matched, pairs: (Vec::new(), Vec::new()), output }
    }

    /// Finds the pairs of rows with equal keys, and emits those for which the condition holds.
    pub fn join(&mut self) -> Result<(), OperatorError> {
        if self.left.num_rows() > 0 && self.right.num_rows() > 0 {
            self.pairs_of_keys()?;
        }
        self.check()
    }

    fn pairs_of_keys(&mut self) -> Result<(), OperatorError> {
        let start = (!self.join.is_whole).then_some(DataType::Int64);
        let types = start.into_iter().chain(self.join.key_types.iter().cloned()).collect();
        let mut table = KeyTable::new(types);
        let mut keys = KeyBatch::default();
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        for (side, records, slots) in [(RIGHT, self.right, &mut of_right), (LEFT, self.left, &mut of_left)] {
            let columns = self.join.equal_columns(side, records);
            keys.load(&columns, records.num_rows());
            table.intern(&keys, Rows::All(records.num_rows()), slots);
            // NULL is equal to nothing.
            for column in columns.iter().filter(|column| column.null_count() > 0) {
                for (row, slot) in slots.iter_mut().enumerate() {
                    if column.is_null(row) {
                        *slot = NONE;
                    }
                }
            }
        }
        // The right rows of each key, as a list from the last to the first.
        let mut last = vec![NONE; table.len()];
        let mut before = vec![NONE; of_right.len()];
        for (row, slot) in of_right.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            before[row] = std::mem::replace(&mut last[*slot as usize], row as u32);
        }
        for (row, slot) in of_left.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let mut partner = last[*slot as usize];
            while partner != NONE {
                self.pairs.0.push(row as u32);
                self.pairs.1.push(partner);
                if self.pairs.0.len() >= BATCH_ROWS_TARGET {
                    self.check()?;
                }
                partner = before[partner as usize];
            }
        }
        Ok(())
    }

    /// Keeps the pairs for which the condition holds, and emits them.
    fn check(&mut self) -> Result<(), OperatorError> {
        let (mut left, mut right) = std::mem::take(&mut self.pairs);
        if left.is_empty() {
            return Ok(());
        }
        if let Some((program, schema)) = &self.join.condition {
            let columns = self.columns(&UInt32Array::from(left.clone()), &UInt32Array::from(right.clone()))?;
            let records = batch(schema, columns, left.len())?;
            let context = EvalContext { now_ms: system_clock(), zone: self.join.zone };
            let holds = program
                .evaluate(&records, &context)
                .map_err(|error| OperatorError::Evaluation { operator: OPERATOR.to_owned(), reason: error.reason })?;
            let holds: &BooleanArray = holds[0].as_boolean();
            let mut kept = (0..holds.len()).map(|row| holds.is_valid(row) && holds.value(row));
            left.retain(|_| kept.next().unwrap_or(false));
            let mut kept = (0..holds.len()).map(|row| holds.is_valid(row) && holds.value(row));
            right.retain(|_| kept.next().unwrap_or(false));
        }
        left.iter().for_each(|row| self.matched[LEFT][*row as usize] = true);
        right.iter().for_each(|row| self.matched[RIGHT][*row as usize] = true);
        match self.join.kind {
            JoinKind::Semi | JoinKind::Anti => Ok(()),
            _ => self.emit(&UInt32Array::from(left), &UInt32Array::from(right)),
        }
    }

    /// Emits the left rows that have no partner, or only have to be known to have one.
    pub fn left_alone(&mut self) -> Result<(), OperatorError> {
        let kind = self.join.kind;
        if !matches!(kind, JoinKind::Left | JoinKind::Full | JoinKind::Semi | JoinKind::Anti) {
            return Ok(());
        }
        let rows = rows_where(&self.matched[LEFT], kind == JoinKind::Semi);
        let emit = |rows: &[u32]| self.emit(&UInt32Array::from(rows.to_vec()), &UInt32Array::new_null(rows.len()));
        rows.chunks(BATCH_ROWS_TARGET).try_for_each(emit)
    }

    /// Emits the right rows that have no partner.
    pub fn right_alone(&mut self) -> Result<(), OperatorError> {
        if !matches!(self.join.kind, JoinKind::Right | JoinKind::Full) {
            return Ok(());
        }
        let rows = rows_where(&self.matched[RIGHT], false);
        let emit = |rows: &[u32]| self.emit(&UInt32Array::new_null(rows.len()), &UInt32Array::from(rows.to_vec()));
        rows.chunks(BATCH_ROWS_TARGET).try_for_each(emit)
    }

    /// The columns of both sides for pairs of rows; NULL for a row that is none.
    fn columns(&self, left: &UInt32Array, right: &UInt32Array) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns = Vec::with_capacity(self.left.num_columns() + self.right.num_columns());
        for (records, rows) in [(self.left, left), (self.right, right)] {
            for column in records.columns() {
                columns.push(if rows.null_count() == rows.len() {
                    new_null_array(column.data_type(), rows.len())
                } else {
                    take(column, rows, None).map_err(internal)?
                });
            }
        }
        Ok(columns)
    }

    fn emit(&mut self, left: &UInt32Array, right: &UInt32Array) -> Result<(), OperatorError> {
        if left.is_empty() {
            return Ok(());
        }
        let mut columns = self.columns(left, right)?;
        // Of a semi or anti join only the left side goes on.
        columns.truncate(self.join.output.fields().len());
        let records = batch(&self.join.output, columns, left.len())?;
        self.output.emit(Batch::insert(records))
    }
}

fn rows_where(matched: &[bool], wanted: bool) -> Vec<u32> {
    (0..matched.len() as u32).filter(|row| matched[*row as usize] == wanted).collect()
}
