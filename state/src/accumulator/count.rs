//! `COUNT(*)` and `COUNT(x, ...)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::{Accumulator, for_each_value};
use crate::rows::Rows;

/// Rows, or rows with no NULL among the arguments.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let counts = &mut self.counts[..];
        let nullable: Vec<_> = args.iter().filter(|column| column.null_count() > 0).collect();
        if nullable.is_empty() {
            slots.iter().for_each(|slot| counts[*slot as usize] += 1);
        } else {
            rows.for_each_slot(slots, |slot, row| {
                counts[slot] += i64::from(nullable.iter().all(|column| column.is_valid(row)));
            });
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let counts = &mut self.counts[..];
        for_each_value(slots, state[0].as_primitive::<Int64Type>(), rows, |slot, count| counts[slot] += count);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.emit(slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot as usize])))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.counts[*slot as usize] = 0);
    }

    fn reset(&mut self) {
        self.counts.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
