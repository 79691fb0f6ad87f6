//! Making columns: one loop a column, over the numbers of its rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, DurationMillisecondArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalYearMonthArray, ListArray, MapArray,
    StringBuilder, StructArray, Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{FieldRef, Fields as ArrowFields};
use arrow::error::ArrowError;
use tidemill_common::hash::hash_columns;
use tidemill_common::types::{LogicalType, timestamp_unit, units_per_millisecond};

use crate::generator::{Stream, unit};

const DAY_MS: i64 = 86_400_000;

/// How one column, or one part of a nested column, is made.
pub(super) struct Column {
    pub values: Values,
    /// Where NULLs come from, and their share.
    pub nulls: Option<(Stream, f64)>,
}

/// How non-NULL values are made.
pub(super) enum Values {
    /// `start` plus the number of the row.
    Sequence {
        start: i64,
        logical: LogicalType,
    },
    Boolean(Stream),
    /// Integers and intervals in `min..=max`.
    Integer {
        stream: Stream,
        min: i64,
        max: i64,
        logical: LogicalType,
    },
    Float {
        stream: Stream,
        min: f64,
        max: f64,
    },
    Double {
        stream: Stream,
        min: f64,
        max: f64,
    },
    Decimal {
        stream: Stream,
        min: f64,
        max: f64,
        precision: u8,
        scale: u8,
    },
    /// Hexadecimal digits, or bytes.
    Text {
        stream: Stream,
        min_length: usize,
        max_length: usize,
        binary: bool,
    },
    Date,
    Time,
    Timestamp {
        stream: Stream,
        max_past_ms: u64,
        logical: LogicalType,
    },
    Array {
        element: Box<Column>,
        field: FieldRef,
        length: usize,
    },
    Map {
        keys: Box<Column>,
        values: Box<Column>,
        logical: LogicalType,
        length: usize,
    },
    Row {
        columns: Vec<Column>,
        fields: ArrowFields,
    },
}

impl Column {
    /// The values of the rows with these numbers, at the time `now_ms`.
    pub fn generate(&self, rows: &[u64], now_ms: i64) -> Result<ArrayRef, ArrowError> {
        let array = self.values.generate(rows, now_ms)?;
        let Some((stream, rate)) = self.nulls else { return Ok(array) };
        let valid = NullBuffer::from_iter(rows.iter().map(|row| stream.unit(*row) >= rate));
        Ok(make_array(array.to_data().into_builder().nulls(Some(valid)).build()?))
    }
}

impl Values {
    fn generate(&self, rows: &[u64], now_ms: i64) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Sequence { start, logical } => sequence(*start, logical, rows)?,
            Self::Boolean(stream) => {
                Arc::new(rows.iter().map(|row| Some(stream.bits(*row) >> 63 == 1)).collect::<BooleanArray>())
            }
            Self::Integer { stream, min, max, logical } => integers(*stream, *min, *max, logical, rows),
            Self::Float { stream, min, max } => {
                Arc::new(rows.iter().map(|row| between(stream.bits(*row), *min, *max) as f32).collect::<Float32Array>())
            }
            Self::Double { stream, min, max } => {
                Arc::new(rows.iter().map(|row| between(stream.bits(*row), *min, *max)).collect::<Float64Array>())
            }
            Self::Decimal { stream, min, max, precision, scale } => {
                let one = 10f64.powi(i32::from(*scale));
                let bound = 10i128.pow(u32::from(*precision)) - 1;
                let unscaled = rows
                    .iter()
                    .map(|row| ((between(stream.bits(*row), *min, *max) * one) as i128).clamp(-bound, bound));
                Arc::new(
                    Decimal128Array::from_iter_values(unscaled).with_precision_and_scale(*precision, *scale as i8)?,
                )
            }
            Self::Text { stream, min_length, max_length, binary } => {
                texts(*stream, *min_length, *max_length, *binary, rows)
            }
            Self::Date => Arc::new(Date32Array::from_value(now_ms.div_euclid(DAY_MS) as i32, rows.len())),
            Self::Time => Arc::new(Time32MillisecondArray::from_value(now_ms.rem_euclid(DAY_MS) as i32, rows.len())),
            Self::Timestamp { stream, max_past_ms, logical } => {
                let past = max_past_ms.saturating_add(u64::from(*max_past_ms > 0));
                let values = rows.iter().map(|row| now_ms.saturating_sub_unsigned(stream.below(*row, past)));
                timestamps(values, logical)
            }
            Self::Array { element, field, length } => {
                let values = element.generate(&inner_rows(rows, *length), now_ms)?;
                let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(*length, rows.len()));
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, None)?)
            }
            Self::Map { keys, values, logical, length } => map(keys, values, logical, *length, rows, now_ms)?,
            Self::Row { columns, fields } => {
                let arrays =
                    columns.iter().map(|column| column.generate(rows, now_ms)).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, None, rows.len())?)
            }
        })
    }
}

fn between(bits: u64, min: f64, max: f64) -> f64 {
    // Two halves, so that the distance of the bounds cannot overflow.
    let share = unit(bits);
    (min * (1.0 - share) + max * share).clamp(min, max)
}

fn inner_rows(rows: &[u64], length: usize) -> Vec<u64> {
    rows.iter()
        .flat_map(|row| (0..length as u64).map(move |i| row.wrapping_mul(length as u64).wrapping_add(i)))
        .collect()
}

fn sequence(start: i64, logical: &LogicalType, rows: &[u64]) -> Result<ArrayRef, ArrowError> {
    let numbers = rows.iter().map(|row| start.wrapping_add_unsigned(*row));
    Ok(match logical {
        LogicalType::TinyInt => Arc::new(numbers.map(|n| n as i8).collect::<Int8Array>()),
        LogicalType::SmallInt => Arc::new(numbers.map(|n| n as i16).collect::<Int16Array>()),
        LogicalType::Int => Arc::new(numbers.map(|n| n as i32).collect::<Int32Array>()),
        LogicalType::BigInt => Arc::new(numbers.collect::<Int64Array>()),
        LogicalType::Float => Arc::new(numbers.map(|n| n as f32).collect::<Float32Array>()),
        LogicalType::Double => Arc::new(numbers.map(|n| n as f64).collect::<Float64Array>()),
        LogicalType::Decimal(precision, scale) => {
            let one = 10i128.pow(u32::from(*scale));
            let values = numbers.map(|n| i128::from(n).saturating_mul(one));
            Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(*precision, *scale as i8)?)
        }
        _ => {
            let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 8);
            let mut digits = String::new();
            for number in numbers {
                use std::fmt::Write as _;
                digits.clear();
                // Writing to a String never fails.
                let _ = write!(digits, "{number}");
                builder.append_value(&digits);
            }
            Arc::new(builder.finish())
        }
    })
}

fn integers(stream: Stream, min: i64, max: i64, logical: &LogicalType, rows: &[u64]) -> ArrayRef {
    let span = (max.wrapping_sub(min) as u64).wrapping_add(1);
    let numbers = rows.iter().map(|row| {
        // A span of 2^64 wraps to 0: every number is as likely.
        let above = if span == 0 { stream.bits(*row) } else { stream.below(*row, span) };
        min.wrapping_add_unsigned(above)
    });
    match logical {
        LogicalType::TinyInt => Arc::new(numbers.map(|n| n as i8).collect::<Int8Array>()),
        LogicalType::SmallInt => Arc::new(numbers.map(|n| n as i16).collect::<Int16Array>()),
        LogicalType::Int => Arc::new(numbers.map(|n| n as i32).collect::<Int32Array>()),
        LogicalType::IntervalYearMonth => Arc::new(IntervalYearMonthArray::from_iter_values(numbers.map(|n| n as i32))),
        LogicalType::IntervalDaySecond => Arc::new(DurationMillisecondArray::from_iter_values(numbers)),
        _ => Arc::new(numbers.collect::<Int64Array>()),
    }
}

fn texts(stream: Stream, min_length: usize, max_length: usize, binary: bool, rows: &[u64]) -> ArrayRef {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes: Vec<u8> = Vec::with_capacity(max_length);
    let fill = |row: u64, bytes: &mut Vec<u8>| {
        let first = stream.bits(row);
        let length = if min_length == max_length {
            max_length
        } else {
            min_length + (first % (max_length - min_length + 1) as u64) as usize
        };
        let inner = Stream::new(first, 1);
        let (per_word, words) = if binary { (8, length.div_ceil(8)) } else { (16, length.div_ceil(16)) };
        bytes.clear();
        for word in 0..words as u64 {
            let bits = inner.bits(word);
            if binary {
                bytes.extend_from_slice(&bits.to_le_bytes());
            } else {
                bytes.extend((0..per_word).map(|digit| DIGITS[(bits >> (4 * digit)) as usize & 15]));
            }
        }
        bytes.truncate(length);
    };
    if binary {
        let mut builder = BinaryBuilder::with_capacity(rows.len(), rows.len() * max_length);
        for row in rows {
            fill(*row, &mut bytes);
            builder.append_value(&bytes);
        }
        Arc::new(builder.finish())
    } else {
        let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * max_length);
        for row in rows {
            fill(*row, &mut bytes);
            // Hexadecimal digits are UTF-8.
            builder.append_value(std::str::from_utf8(&bytes).unwrap_or_default());
        }
        Arc::new(builder.finish())
    }
}

fn timestamps(milliseconds: impl Iterator<Item = i64>, logical: &LogicalType) -> ArrayRef {
    use arrow::datatypes::TimeUnit;
    let (precision, zone) = match logical {
        LogicalType::TimestampLtz(precision) => (*precision, Some(Arc::from("UTC"))),
        LogicalType::Timestamp(precision) => (*precision, None),
        _ => (3, None),
    };
    let units = units_per_millisecond(precision);
    let values: ScalarBuffer<i64> = milliseconds.map(|ms| ms.saturating_mul(units)).collect();
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values, None).with_timezone_opt(zone)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values, None).with_timezone_opt(zone)),
        _ => Arc::new(TimestampMillisecondArray::new(values, None).with_timezone_opt(zone)),
    }
}

/// Maps of up to `length` entries: of equal keys only the first stays.
fn map(
    keys: &Column,
    values: &Column,
    logical: &LogicalType,
    length: usize,
    rows: &[u64],
    now_ms: i64,
) -> Result<ArrayRef, ArrowError> {
    let inner = inner_rows(rows, length);
    let keys = keys.generate(&inner, now_ms)?;
    let values = values.generate(&inner, now_ms)?;
    let mut hashes = Vec::with_capacity(inner.len());
    hash_columns(std::slice::from_ref(&keys), inner.len(), &mut hashes);
    let mut keep = Vec::with_capacity(inner.len());
    let mut lengths = Vec::with_capacity(rows.len());
    let mut seen = HashSet::with_capacity(length);
    for row in 0..rows.len() {
        seen.clear();
        keep.extend(hashes[row * length..(row + 1) * length].iter().map(|hash| seen.insert(*hash)));
        lengths.push(seen.len());
    }
    let keep = BooleanArray::from(keep);
    let keys = arrow::compute::filter(&keys, &keep)?;
    let values = arrow::compute::filter(&values, &keep)?;
    let arrow::datatypes::DataType::Map(entries, _) = logical.to_arrow() else {
        return Err(ArrowError::SchemaError(format!("{logical} is not a map")));
    };
    let arrow::datatypes::DataType::Struct(fields) = entries.data_type().clone() else {
        return Err(ArrowError::SchemaError(format!("{logical} has no entries")));
    };
    let structs = StructArray::try_new(fields, vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(entries, OffsetBuffer::from_lengths(lengths), structs, None, false)?))
}
