//! A window that is joined in part from disk: key group by key group, a block of one side with a block of
//! the other, so that no more than some blocks are in memory, however many rows a key has.

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef};
use std::sync::Arc;
use tidemill_common::time::TimestampMs;
use tidemill_state::keyed::{ByKeyGroup, KeyedRows, RowStore};

use super::pairs::{Joined, Joiner};
use super::{KEY_PREFIX, LEFT, RIGHT, batch, internal, storage_error, take_rows};
use crate::operator::{OperatorError, Output};

/// The rows of one window.
pub(super) struct SpilledWindow<'a> {
    pub join: &'a Joiner,
    pub schemas: &'a [SchemaRef; 2],
    pub store: &'a RowStore,
    pub end: TimestampMs,
    /// What is in memory of each side, by key group.
    pub memory: [(RecordBatch, ByKeyGroup); 2],
    /// Bytes of a block.
    pub block_bytes: usize,
}

impl SpilledWindow<'_> {
    /// Joins the rows of one key group.
    pub fn join(&self, key_group: u32, output: &mut dyn Output) -> Result<(), OperatorError> {
        let empty = self.schemas.each_ref().map(|schema| RecordBatch::new_empty(schema.clone()));
        // Which rows of each block of the right side have a partner.
        let mut matched: Vec<Vec<bool>> = Vec::new();
        self.blocks(LEFT, key_group, &mut |left, is_last| {
            let mut of_left = vec![false; left.num_rows()];
            let mut number = 0;
            self.blocks(RIGHT, key_group, &mut |right, _| {
                if number == matched.len() {
                    matched.push(vec![false; right.num_rows()]);
                }
                let mut joined = Joined::new(self.join, &left, &right, output);
                joined.matched = [std::mem::take(&mut of_left), std::mem::take(&mut matched[number])];
                joined.join()?;
                if is_last {
                    joined.right_alone()?;
                }
                [of_left, matched[number]] = joined.matched;
                number += 1;
                Ok(())
            })?;
            let mut joined = Joined::new(self.join, &left, &empty[RIGHT], output);
            joined.matched[LEFT] = of_left;
            joined.left_alone()
        })
    }

    /// Calls `each` with block after block of a side, and whether it is the last one. There is at least
    /// one, which may be empty.
    fn blocks(
        &self,
        side: usize,
        key_group: u32,
        each: &mut dyn FnMut(RecordBatch, bool) -> Result<(), OperatorError>,
    ) -> Result<(), OperatorError> {
        let (records, rows) = &self.memory[side];
        let own = rows.of(key_group as usize..key_group as usize + 1);
        let mut gathered = vec![take_rows(records, &UInt32Array::from(own.to_vec()))?];
        let whole = |gathered: &mut Vec<RecordBatch>| {
            let block = concat_batches(&self.schemas[side], gathered.iter()).map_err(internal);
            gathered.clear();
            block
        };
        let (mut bytes, mut full, mut result) = (0, None, Ok(()));
        let mut add = |rows: &KeyedRows| {
            let records = side_of(rows, side, self.join.key_types.len(), self.schemas)?;
            bytes += records.get_array_memory_size();
            gathered.push(records);
            if bytes < self.block_bytes {
                return Ok(());
            }
            bytes = 0;
            match full.replace(whole(&mut gathered)?) {
                Some(before) => each(before, false),
                None => Ok(()),
            }
        };
        let first: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![side as i64]))];
        let read = self.store.read_of(key_group, self.end, &first, |rows| {
            if result.is_ok() {
                result = add(&rows);
            }
        });
        read.map_err(storage_error)?;
        result?;
        let rest = whole(&mut gathered)?;
        match full {
            Some(full) if rest.num_rows() == 0 => each(full, true),
            Some(full) => each(full, false).and_then(|()| each(rest, true)),
            None => each(rest, true),
        }
    }
}

/// The columns of one side of rows that are all of it.
pub(super) fn side_of(
    kept: &KeyedRows,
    side: usize,
    keys: usize,
    schemas: &[SchemaRef; 2],
) -> Result<RecordBatch, OperatorError> {
    let first = KEY_PREFIX + keys + if side == LEFT { 0 } else { schemas[LEFT].fields().len() };
    let columns = kept.columns[first..first + schemas[side].fields().len()].to_vec();
    batch(&schemas[side], columns, kept.namespaces.rows())
}

/// The side of each row.
pub(super) fn sides(kept: &KeyedRows) -> impl Fn(usize) -> usize + '_ {
    let sides = kept.columns[0].as_primitive::<Int64Type>();
    |row| if sides.value(row) == 0 { LEFT } else { RIGHT }
}
