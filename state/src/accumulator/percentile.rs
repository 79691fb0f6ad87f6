//! `PERCENTILE(x, p)` and `PERCENTILE(x, p, frequency)`, exact: values and their counts, with linear
//! interpolation between neighbours.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Float32Type, Float64Type, Int64Type};
use tidemill_common::plan::AggregateCall;

use super::{Accumulator, unsupported};
use crate::StateError;
use crate::fixed::{float_bits, integer_words};
use crate::rows::Rows;
use crate::slot_map::WordMap;

pub(super) fn create(call: &AggregateCall, fractions: &[f64], array: bool) -> Result<Box<dyn Accumulator>, StateError> {
    if !call.arg_types.iter().all(|arg| arg.logical.is_numeric()) || call.arg_types.is_empty() {
        return Err(unsupported(call, "only numbers have percentiles"));
    }
    if fractions.iter().any(|fraction| !(0.0..=1.0).contains(fraction)) || (!array && fractions.len() != 1) {
        return Err(unsupported(call, "a fraction must be between 0 and 1"));
    }
    Ok(Box::new(Percentile { fractions: fractions.to_vec(), array, counts: WordMap::new() }))
}

struct Percentile {
    fractions: Vec<f64>,
    array: bool,
    /// Count of each value (by its bits) of each slot.
    counts: WordMap<i64>,
}

/// A numeric column as doubles.
pub(super) fn doubles(column: &ArrayRef) -> Vec<f64> {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect(),
        DataType::Float64 => column.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Decimal128(_, scale) => {
            let scale = 10f64.powi(i32::from(*scale));
            column.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as f64 / scale).collect()
        }
        _ => integer_words(column).map_or_else(Vec::new, |words| words.iter().map(|word| *word as f64).collect()),
    }
}

impl Percentile {
    /// Values and counts of a slot, in Java's order of doubles (-0.0 before 0.0, NaN last).
    fn sorted(&self, slot: u32, values: &mut Vec<(f64, i64)>) {
        values.clear();
        self.counts.for_each(slot, |bits, count| values.push((f64::from_bits(bits as u64), count)));
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    }

    fn percentile(values: &[(f64, i64)], total: i64, fraction: f64) -> f64 {
        let position = fraction * (total - 1) as f64 + 1.0;
        let (lower, higher) = (position.floor() as i64, position.ceil() as i64);
        let mut at = 0;
        let mut seen = values[0].1;
        while seen < lower && at + 1 < values.len() {
            at += 1;
            seen += values[at].1;
        }
        if seen >= higher || at + 1 == values.len() {
            values[at].0
        } else {
            (higher as f64 - position) * values[at].0 + (position - lower as f64) * values[at + 1].0
        }
    }
}

impl Accumulator for Percentile {
    fn resize(&mut self, _slots: usize) {}

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let values = doubles(&args[0]);
        let frequencies = args.get(1).map(doubles);
        rows.for_each_slot(slots, |slot, row| {
            let frequency = match &frequencies {
                None => 1,
                Some(_) if args[1].is_null(row) => 0,
                Some(frequencies) => frequencies[row] as i64,
            };
            if frequency > 0 && args[0].is_valid(row) {
                *self.counts.entry(slot as u32, float_bits(values[row])).0 += frequency;
            }
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let lists = state[0].as_list::<i32>();
        let members = lists.values().as_struct();
        let values = members.column(0).as_primitive::<Float64Type>().values();
        let counts = members.column(1).as_primitive::<Int64Type>().values();
        rows.for_each_slot(slots, |slot, row| {
            if lists.is_valid(row) {
                for member in lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize {
                    *self.counts.entry(slot as u32, float_bits(values[member])).0 += counts[member];
                }
            }
        });
    }

    fn absorb(&mut self, other: &dyn Accumulator, slots: &[u32]) {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else { return };
        other.counts.for_all(|slot, bits, count| *self.counts.entry(slots[slot as usize], bits).0 += count);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let (mut values, mut counts, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(slots.len()));
        for slot in slots {
            let before = values.len();
            self.counts.for_each(*slot, |bits, count| {
                values.push(f64::from_bits(bits as u64));
                counts.push(count);
            });
            lengths.push(values.len() - before);
        }
        let fields = Fields::from(vec![
            Field::new("value", DataType::Float64, true),
            Field::new("count", DataType::Int64, true),
        ]);
        let members = StructArray::new(
            fields.clone(),
            vec![Arc::new(Float64Array::from(values)), Arc::new(Int64Array::from(counts))],
            None,
        );
        let field = Arc::new(Field::new("item", DataType::Struct(fields), true));
        vec![Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), Arc::new(members), None))]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let mut values = Vec::new();
        let mut percentiles = Vec::with_capacity(slots.len() * self.fractions.len());
        let mut valid = Vec::with_capacity(slots.len());
        for slot in slots {
            self.sorted(*slot, &mut values);
            let total: i64 = values.iter().map(|(_, count)| count).sum();
            valid.push(total > 0 && !self.fractions.is_empty());
            for fraction in &self.fractions {
                percentiles.push((total > 0).then(|| Self::percentile(&values, total, *fraction)));
            }
        }
        if !self.array {
            return Arc::new(Float64Array::from(percentiles));
        }
        let nulls = crate::fixed::null_buffer(valid.iter().copied());
        let elements: Float64Array = percentiles.into_iter().collect();
        let field = Arc::new(Field::new("item", DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(self.fractions.len(), slots.len()));
        Arc::new(ListArray::new(field, offsets, Arc::new(elements), nulls))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.counts.clear_slot(*slot));
    }

    fn reset(&mut self) {
        self.counts.reset();
    }

    fn memory_bytes(&self) -> usize {
        self.counts.memory_bytes()
    }
}
