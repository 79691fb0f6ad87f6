//! Columns of fixed-width values as 64-bit words and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, NullBufferBuilder, PrimitiveArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalUnit, TimeUnit};

/// Runs the body with `$type` bound to the Arrow type of integer-like values of this data type.
macro_rules! with_integer_type {
    ($data_type:expr, $type:ident => $body:expr, _ => $other:expr) => {{
        use arrow::datatypes as types;
        use arrow::datatypes::{DataType as D, IntervalUnit as I, TimeUnit as U};
        macro_rules! body {
            ($arrow:ty) => {{
                type $type = $arrow;
                $body
            }};
        }
        match $data_type {
            D::Int8 => body!(types::Int8Type),
            D::Int16 => body!(types::Int16Type),
            D::Int32 => body!(types::Int32Type),
            D::Int64 => body!(types::Int64Type),
            D::Date32 => body!(types::Date32Type),
            D::Time32(U::Millisecond) => body!(types::Time32MillisecondType),
            D::Timestamp(U::Millisecond, _) => body!(types::TimestampMillisecondType),
            D::Timestamp(U::Microsecond, _) => body!(types::TimestampMicrosecondType),
            D::Timestamp(U::Nanosecond, _) => body!(types::TimestampNanosecondType),
            D::Duration(U::Millisecond) => body!(types::DurationMillisecondType),
            D::Interval(I::YearMonth) => body!(types::IntervalYearMonthType),
            _ => $other,
        }
    }};
}
pub(crate) use with_integer_type;

/// Whether values of this type are integers of at most 64 bits, whatever they mean.
pub fn is_integer_like(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            | DataType::Duration(TimeUnit::Millisecond)
            | DataType::Interval(IntervalUnit::YearMonth)
    )
}

/// Whether values of this type fit a 64-bit word.
pub fn is_fixed(data_type: &DataType) -> bool {
    is_integer_like(data_type) || matches!(data_type, DataType::Boolean | DataType::Float32 | DataType::Float64)
}

/// Bits that identify a float as a key: every NaN is one, but `-0.0` is not `0.0` (Flink compares
/// keys by their bytes).
#[inline]
pub(crate) fn float_bits(value: f64) -> i64 {
    (if value.is_nan() { f64::NAN } else { value }).to_bits() as i64
}

/// As [`float_bits`].
#[inline]
pub(crate) fn single_bits(value: f32) -> i64 {
    i64::from((if value.is_nan() { f32::NAN } else { value }).to_bits())
}

/// The values of an integer-like column; 64-bit columns are shared, not copied. What stands at NULLs
/// is arbitrary.
pub fn integer_words(column: &dyn Array) -> Option<ScalarBuffer<i64>> {
    fn words<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &dyn Array) -> ScalarBuffer<i64> {
        let values = column.as_primitive::<T>().values();
        if size_of::<T::Native>() == 8 {
            // The same bytes, seen as i64 (timestamps and durations are i64 already).
            return ScalarBuffer::new(values.inner().clone(), 0, values.len());
        }
        values.iter().map(|value| (*value).into()).collect()
    }
    with_integer_type!(column.data_type(), T => Some(words::<T>(column)), _ => None)
}

/// The values of a fixed-width column as words that are equal exactly if the values are equal keys.
pub(crate) fn words(column: &dyn Array) -> Option<ScalarBuffer<i64>> {
    match column.data_type() {
        DataType::Boolean => Some(column.as_boolean().values().iter().map(i64::from).collect()),
        DataType::Float32 => {
            Some(column.as_primitive::<Float32Type>().values().iter().map(|value| single_bits(*value)).collect())
        }
        DataType::Float64 => {
            Some(column.as_primitive::<Float64Type>().values().iter().map(|value| float_bits(*value)).collect())
        }
        _ => integer_words(column),
    }
}

/// A column of these words, the reverse of [`words`]. NULL where `nulls` says so.
pub fn from_words(
    data_type: &DataType,
    words: impl ExactSizeIterator<Item = i64>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    match data_type {
        DataType::Boolean => {
            let values: BooleanBuffer = words.map(|word| word != 0).collect();
            Arc::new(BooleanArray::new(values, nulls))
        }
        DataType::Float32 => {
            let values = words.map(|word| f32::from_bits(word as u32)).collect();
            Arc::new(PrimitiveArray::<Float32Type>::new(values, nulls))
        }
        DataType::Float64 => {
            let values = words.map(|word| f64::from_bits(word as u64)).collect();
            Arc::new(PrimitiveArray::<Float64Type>::new(values, nulls))
        }
        other => with_integer_type!(
            other,
            T => {
                type Native = <T as ArrowPrimitiveType>::Native;
                let values = words.map(|word| word as Native).collect();
                Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone()))
            },
            _ => new_null_array(data_type, words.len())
        ),
    }
}

/// NULLs from validity flags, or `None` if all are valid.
pub fn null_buffer(valid: impl ExactSizeIterator<Item = bool>) -> Option<NullBuffer> {
    let mut nulls = NullBufferBuilder::new(valid.len());
    valid.for_each(|valid| nulls.append(valid));
    nulls.finish()
}
