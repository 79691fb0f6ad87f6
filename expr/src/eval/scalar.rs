//! Constants to arrays of one row and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
    new_null_array,
};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use tidemill_common::expr::Scalar;
use tidemill_common::types::LogicalType;

use super::CompileError;

/// The array of one row that carries a constant.
pub(crate) fn literal_array(value: &Scalar, logical: &LogicalType) -> Result<ArrayRef, CompileError> {
    let arrow_type = logical.to_arrow();
    fn one<T: ArrowPrimitiveType>(value: T::Native, arrow_type: &ArrowType) -> Option<ArrayRef> {
        if std::mem::discriminant(&T::DATA_TYPE) != std::mem::discriminant(arrow_type) {
            return None;
        }
        let array = PrimitiveArray::<T>::from_value(value, 1);
        Some(Arc::new(array.with_data_type(arrow_type.clone())))
    }
    let array: Option<ArrayRef> = match value {
        Scalar::Null => Some(new_null_array(&arrow_type, 1)),
        Scalar::Boolean(value) => Some(Arc::new(BooleanArray::from(vec![*value]))),
        Scalar::TinyInt(value) => one::<Int8Type>(*value, &arrow_type),
        Scalar::SmallInt(value) => one::<Int16Type>(*value, &arrow_type),
        Scalar::Int(value) => one::<Int32Type>(*value, &arrow_type),
        Scalar::BigInt(value) => one::<Int64Type>(*value, &arrow_type),
        Scalar::Float(value) => one::<Float32Type>(*value, &arrow_type),
        Scalar::Double(value) => one::<Float64Type>(*value, &arrow_type),
        Scalar::Decimal(value) => one::<Decimal128Type>(*value, &arrow_type),
        Scalar::String(text) => Some(Arc::new(StringArray::from(vec![text.as_str()]))),
        Scalar::Bytes(bytes) => Some(Arc::new(BinaryArray::from(vec![bytes.as_slice()]))),
        Scalar::Date(value) => one::<Date32Type>(*value, &arrow_type),
        Scalar::Time(value) => one::<Time32MillisecondType>(*value, &arrow_type),
        Scalar::Timestamp(value) => match &arrow_type {
            ArrowType::Timestamp(TimeUnit::Millisecond, _) => one::<TimestampMillisecondType>(*value, &arrow_type),
            ArrowType::Timestamp(TimeUnit::Microsecond, _) => one::<TimestampMicrosecondType>(*value, &arrow_type),
            ArrowType::Timestamp(TimeUnit::Nanosecond, _) => one::<TimestampNanosecondType>(*value, &arrow_type),
            _ => None,
        },
        Scalar::IntervalMonths(value) => one::<IntervalYearMonthType>(*value, &arrow_type),
        Scalar::IntervalMillis(value) => one::<DurationMillisecondType>(*value, &arrow_type),
    };
    array
        .filter(|array| *array.data_type() == arrow_type)
        .ok_or_else(|| CompileError::invalid(format!("the constant {value:?} is not of its type {logical}")))
}

/// The value of a row as a constant; `None` for types that have no constants.
pub(crate) fn scalar_at(array: &dyn Array, row: usize) -> Option<Scalar> {
    if array.is_null(row) || *array.data_type() == ArrowType::Null {
        return Some(Scalar::Null);
    }
    Some(match array.data_type() {
        ArrowType::Boolean => Scalar::Boolean(array.as_boolean().value(row)),
        ArrowType::Int8 => Scalar::TinyInt(array.as_primitive::<Int8Type>().value(row)),
        ArrowType::Int16 => Scalar::SmallInt(array.as_primitive::<Int16Type>().value(row)),
        ArrowType::Int32 => Scalar::Int(array.as_primitive::<Int32Type>().value(row)),
        ArrowType::Int64 => Scalar::BigInt(array.as_primitive::<Int64Type>().value(row)),
        ArrowType::Float32 => finite(Scalar::Float(array.as_primitive::<Float32Type>().value(row)))?,
        ArrowType::Float64 => finite(Scalar::Double(array.as_primitive::<Float64Type>().value(row)))?,
        ArrowType::Decimal128(..) => Scalar::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        ArrowType::Utf8 => Scalar::String(array.as_string::<i32>().value(row).to_owned()),
        ArrowType::Binary => Scalar::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        ArrowType::Date32 => Scalar::Date(array.as_primitive::<Date32Type>().value(row)),
        ArrowType::Time32(TimeUnit::Millisecond) => {
            Scalar::Time(array.as_primitive::<Time32MillisecondType>().value(row))
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            Scalar::Timestamp(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Scalar::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            Scalar::Timestamp(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        ArrowType::Interval(_) => Scalar::IntervalMonths(array.as_primitive::<IntervalYearMonthType>().value(row)),
        ArrowType::Duration(TimeUnit::Millisecond) => {
            Scalar::IntervalMillis(array.as_primitive::<DurationMillisecondType>().value(row))
        }
        _ => return None,
    })
}

/// JSON, in which plans are kept, has no NaN and no infinities: such values stay expressions.
fn finite(value: Scalar) -> Option<Scalar> {
    match value {
        Scalar::Float(number) if !number.is_finite() => None,
        Scalar::Double(number) if !number.is_finite() => None,
        value => Some(value),
    }
}
