//! `MIN` and `MAX`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, PrimitiveArray, StringBuilder,
};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use tidemill_common::plan::{AggregateCall, AggregateFunction};

use super::{Accumulator, for_each_value, unsupported};
use crate::StateError;
use crate::fixed::{null_buffer, with_integer_type};
use crate::rows::Rows;

pub(super) fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    let data_type = call.arg_types[0].logical.to_arrow();
    let max = call.function == AggregateFunction::Max;
    fn primitive<T: ArrowPrimitiveType<Native: Send>>(data_type: &DataType, max: bool) -> Box<dyn Accumulator> {
        Box::new(PrimitiveExtreme::<T> { data_type: data_type.clone(), max, values: Vec::new() })
    }
    Ok(match &data_type {
        DataType::Boolean => Box::new(BooleanExtreme { max, values: Vec::new() }),
        DataType::Float32 => primitive::<Float32Type>(&data_type, max),
        DataType::Float64 => primitive::<Float64Type>(&data_type, max),
        DataType::Decimal128(..) => primitive::<Decimal128Type>(&data_type, max),
        DataType::Utf8 | DataType::Binary => {
            Box::new(ContentExtreme { text: data_type == DataType::Utf8, max, values: Vec::new() })
        }
        other => with_integer_type!(
            other,
            T => primitive::<T>(&data_type, max),
            _ => return Err(unsupported(call, "values of this type have no order"))
        ),
    })
}

/// Whether `value` replaces `current`. A NaN never does and is never replaced, as in Java.
#[inline(always)]
fn replaces<T: PartialOrd + ?Sized>(max: bool, value: &T, current: &T) -> bool {
    if max { value > current } else { value < current }
}

struct PrimitiveExtreme<T: ArrowPrimitiveType> {
    data_type: DataType,
    max: bool,
    /// The extreme, and whether there was a value.
    values: Vec<(T::Native, bool)>,
}

impl<T: ArrowPrimitiveType<Native: Send>> Accumulator for PrimitiveExtreme<T> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, (T::default_value(), false));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let max = self.max;
        let values = &mut self.values[..];
        for_each_value(slots, args[0].as_primitive::<T>(), rows, |slot, value| {
            let current = &mut values[slot];
            if !current.1 || replaces(max, &value, &current.0) {
                *current = (value, true);
            }
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.update(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.emit(slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let nulls = null_buffer(slots.iter().map(|slot| self.values[*slot as usize].1));
        let values = slots.iter().map(|slot| self.values[*slot as usize].0).collect();
        Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(self.data_type.clone()))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values[*slot as usize] = (T::default_value(), false));
    }

    fn reset(&mut self) {
        self.values.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<(T::Native, bool)>()
    }
}

struct BooleanExtreme {
    max: bool,
    values: Vec<Option<bool>>,
}

impl Accumulator for BooleanExtreme {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, None);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let column = args[0].as_boolean();
        rows.for_each_slot(slots, |slot, row| {
            if column.is_valid(row) {
                let value = column.value(row);
                let current = self.values[slot].unwrap_or(value);
                self.values[slot] = Some(if self.max { current | value } else { current & value });
            }
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.update(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.emit(slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        Arc::new(slots.iter().map(|slot| self.values[*slot as usize]).collect::<BooleanArray>())
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values[*slot as usize] = None);
    }

    fn reset(&mut self) {
        self.values.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.values.capacity()
    }
}

/// Strings and byte strings, in the order of their bytes. The buffer of a slot is kept when a value
/// is replaced.
struct ContentExtreme {
    text: bool,
    max: bool,
    values: Vec<(Vec<u8>, bool)>,
}

impl ContentExtreme {
    fn add<'a>(&mut self, slots: &[u32], rows: Rows<'_>, value: impl Fn(usize) -> Option<&'a [u8]>) {
        rows.for_each_slot(slots, |slot, row| {
            if let Some(value) = value(row) {
                let (current, seen) = &mut self.values[slot];
                if !*seen || replaces(self.max, value, current) {
                    current.clear();
                    current.extend_from_slice(value);
                    *seen = true;
                }
            }
        });
    }
}

impl Accumulator for ContentExtreme {
    fn resize(&mut self, slots: usize) {
        self.values.resize_with(slots, || (Vec::new(), false));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        if self.text {
            let column = args[0].as_string::<i32>();
            self.add(slots, rows, |row| column.is_valid(row).then(|| column.value(row).as_bytes()));
        } else {
            let column = args[0].as_binary::<i32>();
            self.add(slots, rows, |row| column.is_valid(row).then(|| column.value(row)));
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.update(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        vec![self.emit(slots)]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        let values = slots.iter().map(|slot| {
            let (value, seen) = &self.values[*slot as usize];
            seen.then_some(&value[..])
        });
        if self.text {
            let mut builder = StringBuilder::with_capacity(slots.len(), 0);
            values.for_each(|value| builder.append_option(value.map(String::from_utf8_lossy)));
            Arc::new(builder.finish())
        } else {
            let mut builder = BinaryBuilder::with_capacity(slots.len(), 0);
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values[*slot as usize].1 = false);
    }

    fn reset(&mut self) {
        self.values.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.values.iter().map(|(value, _)| value.capacity() + size_of::<(Vec<u8>, bool)>()).sum()
    }
}
