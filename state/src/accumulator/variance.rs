//! `VAR_POP`, `VAR_SAMP`, `STDDEV_POP` and `STDDEV_SAMP`, by Welford's method: count, mean and the sum of
//! squared differences from the mean, which merge (Chan, Golub and LeVeque, 1979).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use tidemill_common::plan::AggregateCall;

use super::percentile::doubles;
use super::{Accumulator, unsupported};
use crate::StateError;
use crate::rows::Rows;

pub(super) fn create(call: &AggregateCall, sample: bool, root: bool) -> Result<Box<dyn Accumulator>, StateError> {
    if !call.arg_types.first().is_some_and(|arg| arg.logical.is_numeric()) {
        return Err(unsupported(call, "only numbers have a variance"));
    }
    let result = call.return_type.logical.to_arrow();
    Ok(Box::new(Variance { sample, root, result, moments: Vec::new() }))
}

#[derive(Clone, Copy, Default)]
struct Moments {
    count: i64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    fn merge(&mut self, other: Self) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = other;
            }
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * (other.count as f64 / count as f64);
        self.squares += other.squares + delta * delta * (self.count as f64 * other.count as f64 / count as f64);
        self.count = count;
    }
}

struct Variance {
    sample: bool,
    root: bool,
    result: DataType,
    moments: Vec<Moments>,
}

impl Variance {
    fn value(&self, slot: u32) -> Option<f64> {
        let moments = self.moments[slot as usize];
        let count = moments.count - i64::from(self.sample);
        let variance = (count > 0).then(|| moments.squares / count as f64)?;
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

impl Accumulator for Variance {
    fn resize(&mut self, slots: usize) {
        self.moments.resize(slots, Moments::default());
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let values = doubles(&args[0]);
        rows.for_each_slot(slots, |slot, row| {
            if args[0].is_valid(row) {
                self.moments[slot].add(values[row]);
            }
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let counts = state[0].as_primitive::<Int64Type>();
        let means = state[1].as_primitive::<Float64Type>();
        let squares = state[2].as_primitive::<Float64Type>();
        rows.for_each_slot(slots, |slot, row| {
            let other = Moments { count: counts.value(row), mean: means.value(row), squares: squares.value(row) };
            self.moments[slot].merge(other);
        });
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let moments = || slots.iter().map(|slot| self.moments[*slot as usize]);
        vec![
            Arc::new(Int64Array::from_iter_values(moments().map(|moments| moments.count))),
            Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.mean))),
            Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.squares))),
        ]
    }

    /// In the type that Flink gives it: that of the argument, so that integers are cut.
    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let values: Float64Array = slots.iter().map(|slot| self.value(*slot)).collect();
        match &self.result {
            DataType::Float64 => Arc::new(values),
            DataType::Decimal128(precision, scale) => {
                let limit = 10_f64.powi(i32::from(*precision));
                let power = 10_f64.powi(i32::from(*scale));
                let scaled = values.iter().map(|value| {
                    value
                        .map(|value| (value * power).round())
                        .filter(|value| value.abs() < limit)
                        .map(|value| value as i128)
                });
                Arc::new(scaled.collect::<PrimitiveArray<Decimal128Type>>().with_data_type(self.result.clone()))
            }
            DataType::Float32 => cast(&values, &self.result).unwrap_or_else(|_| Arc::new(values)),
            integer => {
                let whole: Int64Array = values.iter().map(|value| value.map(|value| value as i64)).collect();
                cast(&whole, integer).unwrap_or_else(|_| Arc::new(whole))
            }
        }
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.moments[*slot as usize] = Moments::default());
    }

    fn reset(&mut self) {
        self.moments.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}
