//! `AVG`: integers are summed in 64 bits (which wrap) and truncate; decimals round half up.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, Float64Array, Int64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int64Type, i256};
use tidemill_common::plan::AggregateCall;
use tidemill_common::types::LogicalType;

use super::sum::add_decimals;
use super::{Accumulator, for_each_value, unsupported};
use crate::StateError;
use crate::fixed::{self, null_buffer, with_integer_type};
use crate::rows::Rows;

pub(super) fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    let result = call.return_type.logical.to_arrow();
    Ok(match &call.arg_types[0].logical {
        LogicalType::TinyInt | LogicalType::SmallInt | LogicalType::Int | LogicalType::BigInt => {
            Box::new(IntegerAverage { result, sums: Vec::new() })
        }
        LogicalType::Float | LogicalType::Double => {
            Box::new(FloatAverage { single: result == DataType::Float32, sums: Vec::new() })
        }
        LogicalType::Decimal(_, scale) => {
            let DataType::Decimal128(precision, result_scale) = result else {
                return Err(unsupported(call, "the average of decimals is a decimal"));
            };
            if result_scale < *scale as i8 {
                return Err(unsupported(call, "the average's scale is smaller than the argument's"));
            }
            Box::new(DecimalAverage { scale: *scale as i8, precision, result_scale, sums: Vec::new() })
        }
        _ => return Err(unsupported(call, "only numbers have an average")),
    })
}

/// Adds the counts of accumulator columns.
fn merge_counts(slots: &[u32], column: &ArrayRef, rows: Rows<'_>, add: impl FnMut(usize, i64)) {
    for_each_value(slots, column.as_primitive::<Int64Type>(), rows, add);
}

struct IntegerAverage {
    result: DataType,
    /// Sum and count.
    sums: Vec<(i64, i64)>,
}

impl Accumulator for IntegerAverage {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (0, 0));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let sums = &mut self.sums[..];
        with_integer_type!(args[0].data_type(), T => {
            for_each_value(slots, args[0].as_primitive::<T>(), rows, |slot, value| {
                let sum = &mut sums[slot];
                *sum = (sum.0.wrapping_add(i64::from(value)), sum.1 + 1);
            });
        }, _ => {});
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let sums = &mut self.sums[..];
        for_each_value(slots, state[0].as_primitive::<Int64Type>(), rows, |slot, sum| {
            sums[slot].0 = sums[slot].0.wrapping_add(sum);
        });
        merge_counts(slots, &state[1], rows, |slot, count| sums[slot].1 += count);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let (sums, counts): (Vec<i64>, Vec<i64>) = slots.iter().map(|slot| self.sums[*slot as usize]).unzip();
        vec![Arc::new(Int64Array::from(sums)), Arc::new(Int64Array::from(counts))]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let nulls = null_buffer(slots.iter().map(|slot| self.sums[*slot as usize].1 > 0));
        let averages = slots.iter().map(|slot| {
            let (sum, count) = self.sums[*slot as usize];
            if count > 0 { sum / count } else { 0 }
        });
        fixed::from_words(&self.result, averages, nulls)
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (0, 0));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 16
    }
}

/// Sums in double precision, also of FLOAT.
struct FloatAverage {
    single: bool,
    sums: Vec<(f64, i64)>,
}

impl FloatAverage {
    #[inline(always)]
    fn add<T: ArrowPrimitiveType<Native: Into<f64>>>(
        &mut self,
        slots: &[u32],
        array: &dyn Array,
        rows: Rows<'_>,
        count: i64,
    ) {
        let sums = &mut self.sums[..];
        for_each_value(slots, array.as_primitive::<T>(), rows, |slot, value| {
            let sum = &mut sums[slot];
            *sum = (sum.0 + value.into(), sum.1 + count);
        });
    }
}

impl Accumulator for FloatAverage {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (0.0, 0));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        if *args[0].data_type() == DataType::Float32 {
            self.add::<Float32Type>(slots, &args[0], rows, 1);
        } else {
            self.add::<Float64Type>(slots, &args[0], rows, 1);
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.add::<Float64Type>(slots, &state[0], rows, 0);
        let sums = &mut self.sums[..];
        merge_counts(slots, &state[1], rows, |slot, count| sums[slot].1 += count);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let (sums, counts): (Vec<f64>, Vec<i64>) = slots.iter().map(|slot| self.sums[*slot as usize]).unzip();
        vec![Arc::new(Float64Array::from(sums)), Arc::new(Int64Array::from(counts))]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let nulls = null_buffer(slots.iter().map(|slot| self.sums[*slot as usize].1 > 0));
        let averages = slots.iter().map(|slot| {
            let (sum, count) = self.sums[*slot as usize];
            sum / count as f64
        });
        if self.single {
            Arc::new(Float32Array::new(averages.map(|average| average as f32).collect(), nulls))
        } else {
            Arc::new(Float64Array::new(averages.collect(), nulls))
        }
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (0.0, 0));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 16
    }
}

/// A sum that has overflowed stays NULL.
struct DecimalAverage {
    scale: i8,
    precision: u8,
    result_scale: i8,
    /// Sum (`None` after an overflow) and count.
    sums: Vec<(Option<i128>, i64)>,
}

impl DecimalAverage {
    fn average(&self, slot: u32) -> Option<i128> {
        let (sum, count) = self.sums[slot as usize];
        let scaled = i256::from_i128(sum?)
            .checked_mul(i256::from_i128(10).checked_pow((self.result_scale - self.scale) as u32)?)?;
        if count == 0 {
            return None;
        }
        let count = i256::from_i128(i128::from(count));
        let quotient = scaled.checked_div(count)?;
        let rest = scaled.checked_rem(count)?;
        // Half up, away from zero.
        let doubled = rest.checked_mul(i256::from_i128(2))?.wrapping_abs();
        let step = if scaled < i256::ZERO { i256::from_i128(-1) } else { i256::ONE };
        let rounded = if doubled >= count { quotient.checked_add(step)? } else { quotient };
        let bound = i256::from_i128(10).checked_pow(u32::from(self.precision))?;
        if rounded.wrapping_abs() < bound { rounded.to_i128() } else { None }
    }
}

impl Accumulator for DecimalAverage {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots, (Some(0), 0));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let sums = &mut self.sums[..];
        for_each_value(slots, args[0].as_primitive::<Decimal128Type>(), rows, |slot, value| {
            let sum = &mut sums[slot];
            *sum = (sum.0.and_then(|sum| add_decimals(sum, value)), sum.1 + 1);
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let values = state[0].as_primitive::<Decimal128Type>();
        let counts = state[1].as_primitive::<Int64Type>();
        let sums = &mut self.sums[..];
        rows.for_each_slot(slots, |slot, row| {
            let value = values.is_valid(row).then(|| values.value(row));
            let sum = &mut sums[slot];
            *sum = (sum.0.zip(value).and_then(|(sum, value)| add_decimals(sum, value)), sum.1 + counts.value(row));
        });
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let sums: Decimal128Array = slots.iter().map(|slot| self.sums[*slot as usize].0).collect();
        let counts = Int64Array::from_iter_values(slots.iter().map(|slot| self.sums[*slot as usize].1));
        vec![Arc::new(sums.with_data_type(DataType::Decimal128(38, self.scale))), Arc::new(counts)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let averages: Decimal128Array = slots.iter().map(|slot| self.average(*slot)).collect();
        Arc::new(averages.with_data_type(DataType::Decimal128(self.precision, self.result_scale)))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sums[*slot as usize] = (Some(0), 0));
    }

    fn reset(&mut self) {
        self.sums.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 48
    }
}
