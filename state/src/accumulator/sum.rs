//! `SUM`: NULL over no value; integers wrap; a decimal sum that leaves 38 digits is NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use tidemill_common::plan::AggregateCall;
use tidemill_common::types::LogicalType;

use super::{Accumulator, for_each_value, unsupported};
use crate::StateError;
use crate::fixed::{self, null_buffer, with_integer_type};
use crate::rows::Rows;

/// One more than the largest unscaled decimal: 10^38.
const DECIMAL_BOUND: i128 = 100_000_000_000_000_000_000_000_000_000_000_000_000;

/// The sum, if it is a DECIMAL(38, s).
#[inline]
pub(super) fn add_decimals(a: i128, b: i128) -> Option<i128> {
    a.checked_add(b).filter(|sum| -DECIMAL_BOUND < *sum && *sum < DECIMAL_BOUND)
}

pub(super) fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    let result = call.return_type.logical.to_arrow();
    Ok(match &call.arg_types[0].logical {
        LogicalType::TinyInt | LogicalType::SmallInt | LogicalType::Int | LogicalType::BigInt => {
            Box::new(IntegerSum { result, sums: Vec::new() })
        }
        LogicalType::Float => Box::new(FloatSum { single: true, sums: Vec::new() }),
        LogicalType::Double => Box::new(FloatSum { single: false, sums: Vec::new() }),
        LogicalType::Decimal(_, scale) => Box::new(DecimalSum { scale: *scale as i8, sums: Vec::new() }),
        _ => return Err(unsupported(call, "only numbers can be summed")),
    })
}

/// Sums in 64 bits, cut to the result's width when emitted, which is the same as wrapping there.
struct IntegerSum {
    result: DataType,
    /// Sum, and whether there was a value.
    sums: Vec<(i64, bool)>,
}

impl IntegerSum {
    fn column(&self, data_type: &DataType, slots: &[u32]) -> ArrayRef {
        let nulls = null_buffer(slots.iter().map(|slot| self.sums[*slot as usize].1));
        fixed::from_words(data_type, slots.iter().map(|slot| self.sums[*slot as usize].0), nulls)
    }
}

impl Accumulator for IntegerSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (0, false));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let sums = &mut self.sums[..];
        with_integer_type!(args[0].data_type(), T => {
            for_each_value(slots, args[0].as_primitive::<T>(), rows, |slot, value| {
                let sum = &mut sums[slot];
                *sum = (sum.0.wrapping_add(i64::from(value)), true);
            });
        }, _ => {});
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.update(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.column(&DataType::Int64, slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        self.column(&self.result, slots)
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (0, false));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 16
    }
}

/// A FLOAT sum is rounded to single precision after every addition.
struct FloatSum {
    single: bool,
    sums: Vec<(f64, bool)>,
}

impl FloatSum {
    #[inline(always)]
    fn add<T: ArrowPrimitiveType<Native: Into<f64>>>(&mut self, slots: &[u32], array: &dyn Array, rows: Rows<'_>) {
        let single = self.single;
        let sums = &mut self.sums[..];
        for_each_value(slots, array.as_primitive::<T>(), rows, |slot, value| {
            let sum = &mut sums[slot];
            // The first value stands for itself: 0.0 + -0.0 would lose the sign.
            let added = if sum.1 { sum.0 + value.into() } else { value.into() };
            *sum = (if single { f64::from(added as f32) } else { added }, true);
        });
    }

    fn doubles(&self, slots: &[u32]) -> Float64Array {
        let nulls = null_buffer(slots.iter().map(|slot| self.sums[*slot as usize].1));
        Float64Array::new(slots.iter().map(|slot| self.sums[*slot as usize].0).collect(), nulls)
    }
}

impl Accumulator for FloatSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (0.0, false));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        if *args[0].data_type() == DataType::Float32 {
            self.add::<Float32Type>(slots, &args[0], rows);
        } else {
            self.add::<Float64Type>(slots, &args[0], rows);
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.add::<Float64Type>(slots, &state[0], rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![Arc::new(self.doubles(slots))]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let doubles = self.doubles(slots);
        if self.single {
            Arc::new(Float32Array::new(
                doubles.values().iter().map(|sum| *sum as f32).collect(),
                doubles.nulls().cloned(),
            ))
        } else {
            Arc::new(doubles)
        }
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (0.0, false));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 16
    }
}

/// After an overflow the sum is NULL, and (as in Flink) begins anew with the next value.
struct DecimalSum {
    scale: i8,
    sums: Vec<(i128, bool)>,
}

impl Accumulator for DecimalSum {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (0, false));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let sums = &mut self.sums[..];
        for_each_value(slots, args[0].as_primitive::<Decimal128Type>(), rows, |slot, value| {
            let sum = &mut sums[slot];
            *sum = match sum {
                (_, false) => (value, true),
                (sum, true) => add_decimals(*sum, value).map_or((0, false), |sum| (sum, true)),
            };
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.update(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.emit(slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let nulls = null_buffer(slots.iter().map(|slot| self.sums[*slot as usize].1));
        let values = slots.iter().map(|slot| self.sums[*slot as usize].0).collect();
        Arc::new(Decimal128Array::new(values, nulls).with_data_type(DataType::Decimal128(38, self.scale)))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (0, false));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 32
    }
}
