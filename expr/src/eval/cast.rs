//! Casts with Flink's texts, roundings and failures.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, Decimal128Array, ListArray, MapArray, PrimitiveArray,
    StructArray, new_null_array,
};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use tidemill_common::limits::ERROR_RECORD_CHARS_MAX;
use tidemill_common::types::{LogicalType, MAX_LENGTH, timestamp_unit, units_per_millisecond};

use super::value::{Value, booleans_by_row, primitives_by_row, strings_by_row, try_primitives_by_row, unary};
use super::{CompileError, EvalError};
use crate::bind::check_cast;
use crate::calendar::{MILLIS_PER_DAY, Zone};
use crate::decimal;
use crate::format::{TextStyle, format_in};
use crate::parse;
use crate::registry::{Frame, Kernel};

/// The kernel of a cast and whether some values make it fail.
pub(crate) fn compile_cast(
    from: &LogicalType,
    to: &LogicalType,
    try_cast: bool,
) -> Result<(Kernel, bool), CompileError> {
    check_cast(from, to).map_err(|error| CompileError::invalid(error.message))?;
    let (from, to) = (from.clone(), to.clone());
    let can_fail = !try_cast && may_fail(&from, &to);
    let kernel: Kernel = Box::new(move |args, frame| cast(&args[0], &from, &to, try_cast, frame));
    Ok((kernel, can_fail))
}

/// The kernel of `CAST(CAST(x AS TIMESTAMP(to)) AS STRING)` for a timestamp of less than nanoseconds:
/// its text has zeros for the digits it lacks. The nanoseconds of years beyond 2262 need not exist then.
pub(crate) fn compile_padded_text(from: &LogicalType, via: &LogicalType, to: &LogicalType) -> Option<Kernel> {
    use LogicalType as L;
    let (from_precision, precision) = match (from, via) {
        (L::Timestamp(from), L::Timestamp(to)) | (L::TimestampLtz(from), L::TimestampLtz(to)) => (*from, *to),
        _ => return None,
    };
    if *to != L::STRING || from_precision > 6 || precision <= 6 {
        return None;
    }
    let from = from.clone();
    Some(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        let (array, step) = (args[0].array(), args[0].step());
        strings_by_row(frame.rows, frame.rows * 29, |row, out| {
            if array.is_null(row * step) {
                return None;
            }
            format_in(array, &from, row * step, TextStyle::Cast, &mut zone, out);
            if from_precision == 0 {
                out.push('.');
            }
            (from_precision..precision).for_each(|_| out.push('0'));
            Some(())
        })
    }))
}

fn may_fail(from: &LogicalType, to: &LogicalType) -> bool {
    use LogicalType as L;
    match (from, to) {
        (f, t) if f.is_string() => !t.is_string() && !matches!(t, L::Binary(_) | L::Varbinary(_)),
        (L::Array(f), L::Array(t)) => may_fail(&f.logical, &t.logical),
        (L::Map(fk, fv), L::Map(tk, tv)) => may_fail(&fk.logical, &tk.logical) || may_fail(&fv.logical, &tv.logical),
        (L::Row(f), L::Row(t)) => f.iter().zip(t).any(|(f, t)| may_fail(&f.data_type.logical, &t.data_type.logical)),
        (_, L::Timestamp(p) | L::TimestampLtz(p)) => *p > 6,
        _ => false,
    }
}

fn cast(
    value: &Value,
    from: &LogicalType,
    to: &LogicalType,
    try_cast: bool,
    frame: &Frame<'_>,
) -> Result<ArrayRef, EvalError> {
    use LogicalType as L;
    let rows = frame.rows;
    if from == to {
        return value.clone().into_array(rows);
    }
    Ok(match (from, to) {
        (L::Null, _) => new_null_array(&to.to_arrow(), rows),
        (f, L::Char(_) | L::Varchar(_)) => to_text(value, f, to, frame)?,
        (f, L::Binary(length) | L::Varbinary(length)) => to_bytes(value, f, *length, matches!(to, L::Binary(_)), rows)?,
        (f, _) if f.is_string() => from_text(value, to, try_cast, frame)?,
        (L::Boolean, t) => from_boolean(value, t, rows)?,
        (f, L::Boolean) => to_boolean(value, f, rows)?,
        (L::IntervalYearMonth, t) => {
            let months = primitives_by_row::<Int64Type>(rows, {
                let months = value.primitives::<IntervalYearMonthType>()?;
                move |row| months.get(row).map(i64::from)
            });
            numeric(&Value::Array(months), &L::BigInt, t, rows)?
        }
        (L::IntervalDaySecond, t) => {
            let millis = primitives_by_row::<Int64Type>(rows, {
                let millis = value.primitives::<DurationMillisecondType>()?;
                move |row| millis.get(row)
            });
            numeric(&Value::Array(millis), &L::BigInt, t, rows)?
        }
        (f, t) if f.is_numeric() && t.is_numeric() => numeric(value, f, t, rows)?,
        (L::Time(_), L::Time(_)) => value.clone().into_array(rows)?,
        // How values are counted does not depend on what may be NULL.
        (L::Multiset(_), L::Multiset(_)) => value.clone().into_array(rows)?,
        (L::Array(_) | L::Map(..) | L::Row(_), _) => nested(value, from, to, try_cast, frame)?,
        _ => temporal(value, from, to, try_cast, frame)?,
    })
}

fn nested(
    value: &Value,
    from: &LogicalType,
    to: &LogicalType,
    try_cast: bool,
    frame: &Frame<'_>,
) -> Result<ArrayRef, EvalError> {
    let array = value.clone().into_array(frame.rows)?;
    let inner = |values: &ArrayRef, from: &LogicalType, to: &LogicalType| {
        let frame = Frame { rows: values.len(), context: frame.context };
        cast(&Value::Array(values.clone()), from, to, try_cast, &frame)
    };
    match (from, to, to.to_arrow()) {
        (LogicalType::Array(f), LogicalType::Array(t), ArrowType::List(field)) => {
            let list = array.as_list::<i32>();
            let values = inner(list.values(), &f.logical, &t.logical)?;
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (LogicalType::Map(fk, fv), LogicalType::Map(tk, tv), ArrowType::Map(field, sorted)) => {
            let map = array.as_map();
            let keys = inner(map.keys(), &fk.logical, &tk.logical)?;
            let values = inner(map.values(), &fv.logical, &tv.logical)?;
            let ArrowType::Struct(fields) = field.data_type() else {
                return Err(EvalError::new("a MAP has no entries"));
            };
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            let offsets = map.offsets().clone();
            Ok(Arc::new(MapArray::try_new(field, offsets, entries, map.nulls().cloned(), sorted)?))
        }
        (LogicalType::Row(f), LogicalType::Row(t), ArrowType::Struct(fields)) => {
            let row = array.as_struct();
            let columns = f
                .iter()
                .zip(t)
                .zip(row.columns())
                .map(|((f, t), column)| inner(column, &f.data_type.logical, &t.data_type.logical))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(fields, columns, row.nulls().cloned())?))
        }
        _ => Err(EvalError::new(format!("a value of type {from} cannot be cast to {to}"))),
    }
}

fn to_text(value: &Value, from: &LogicalType, to: &LogicalType, frame: &Frame<'_>) -> Result<ArrayRef, EvalError> {
    let (length, fixed) = match to {
        LogicalType::Char(length) => (*length, true),
        LogicalType::Varchar(length) => (*length, false),
        _ => (MAX_LENGTH, false),
    };
    let rows = frame.rows;
    if from.is_string() {
        let fits = match from {
            LogicalType::Char(from) | LogicalType::Varchar(from) => *from <= length,
            _ => false,
        };
        if fits && !fixed {
            return value.clone().into_array(rows);
        }
        let texts = value.strings()?;
        return strings_by_row(rows, texts.bytes(), |row, out| {
            out.push_str(texts.get(row)?);
            fit_text(out, length, fixed);
            Some(())
        });
    }
    let mut zone = Zone::new(frame.context.zone);
    let (array, step) = (value.array(), value.step());
    strings_by_row(rows, rows * 12, |row, out| {
        let row = row * step;
        if array.is_null(row) {
            return None;
        }
        format_in(array, from, row, TextStyle::Cast, &mut zone, out);
        fit_text(out, length, fixed);
        Some(())
    })
}

/// Cuts a text to its length in code points; CHAR is also padded with blanks.
fn fit_text(text: &mut String, length: u32, fixed: bool) {
    if length == MAX_LENGTH {
        return;
    }
    let length = length as usize;
    // No more bytes than characters allowed: nothing can be too long.
    if text.len() > length
        && let Some((at, _)) = text.char_indices().nth(length)
    {
        text.truncate(at);
    }
    if fixed {
        for _ in text.chars().count()..length {
            text.push(' ');
        }
    }
}

fn to_bytes(value: &Value, from: &LogicalType, length: u32, fixed: bool, rows: usize) -> Result<ArrayRef, EvalError> {
    let mut builder = BinaryBuilder::with_capacity(rows, 0);
    let mut append = |bytes: Option<&[u8]>| match bytes {
        None => builder.append_null(),
        Some(bytes) => {
            let kept = &bytes[..bytes.len().min(length as usize)];
            if fixed && kept.len() < length as usize {
                let mut padded = kept.to_vec();
                padded.resize(length as usize, 0);
                builder.append_value(&padded);
            } else {
                builder.append_value(kept);
            }
        }
    };
    if from.is_string() {
        let texts = value.strings()?;
        (0..rows).for_each(|row| append(texts.get(row).map(str::as_bytes)));
    } else {
        let bytes = value.binaries()?;
        (0..rows).for_each(|row| append(bytes.get(row)));
    }
    Ok(Arc::new(builder.finish()))
}

fn not_a(text: &str, to: &LogicalType) -> EvalError {
    let mut shown: String = text.chars().take(ERROR_RECORD_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    EvalError::new(format!(
        "CAST failed: for input string '{shown}', which is not a valid {to}; use TRY_CAST to get NULL instead"
    ))
}

fn from_text(value: &Value, to: &LogicalType, try_cast: bool, frame: &Frame<'_>) -> Result<ArrayRef, EvalError> {
    use LogicalType as L;
    let rows = frame.rows;
    let texts = value.strings()?;
    fn parsed<T: ArrowPrimitiveType>(
        rows: usize,
        texts: super::value::Strings<'_>,
        to: &LogicalType,
        try_cast: bool,
        mut parse: impl FnMut(&str) -> Option<T::Native>,
    ) -> Result<ArrayRef, EvalError> {
        try_primitives_by_row::<T>(rows, |row| match texts.get(row) {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some(value) => Ok(Some(value)),
                None if try_cast => Ok(None),
                None => Err(not_a(text, to)),
            },
        })
    }
    Ok(match to {
        L::Boolean => {
            let mut failed = None;
            let array = booleans_by_row(rows, |row| {
                let text = texts.get(row)?;
                let value = parse::parse_boolean(text);
                if value.is_none() && !try_cast && failed.is_none() {
                    failed = Some(not_a(text, to));
                }
                value
            });
            match failed {
                Some(error) => return Err(error),
                None => array,
            }
        }
        L::TinyInt => parsed::<Int8Type>(rows, texts, to, try_cast, |text| {
            parse::parse_integer(text).and_then(|value| value.try_into().ok())
        })?,
        L::SmallInt => parsed::<Int16Type>(rows, texts, to, try_cast, |text| {
            parse::parse_integer(text).and_then(|value| value.try_into().ok())
        })?,
        L::Int => parsed::<Int32Type>(rows, texts, to, try_cast, |text| {
            parse::parse_integer(text).and_then(|value| value.try_into().ok())
        })?,
        L::BigInt => parsed::<Int64Type>(rows, texts, to, try_cast, parse::parse_integer)?,
        L::Float => parsed::<Float32Type>(rows, texts, to, try_cast, parse::parse_float)?,
        L::Double => parsed::<Float64Type>(rows, texts, to, try_cast, parse::parse_double)?,
        L::Decimal(precision, scale) => {
            let mut values = Vec::with_capacity(rows);
            for row in 0..rows {
                values.push(match texts.get(row) {
                    None => None,
                    Some(text) => match parse::parse_decimal_number(text) {
                        // What does not fit is NULL, what is no number an error.
                        Some(number) => number.fit(*precision, *scale),
                        None if try_cast => None,
                        None => return Err(not_a(text, to)),
                    },
                });
            }
            decimals(values, *precision, *scale)?
        }
        L::Date => parsed::<Date32Type>(rows, texts, to, try_cast, parse::parse_date)?,
        L::Time(_) => parsed::<Time32MillisecondType>(rows, texts, to, try_cast, parse::parse_time)?,
        L::Timestamp(precision) | L::TimestampLtz(precision) => {
            let mut zone = Zone::new(frame.context.zone);
            let zoned = matches!(to, L::TimestampLtz(_));
            let precision = *precision;
            let per_second = units_per_millisecond(precision) * 1_000;
            let parse = |text: &str| {
                let local = parse::parse_timestamp(text, precision)?;
                Some(if zoned { zone.to_instant(local, per_second) } else { local })
            };
            let array = match timestamp_unit(precision) {
                TimeUnit::Microsecond => parsed::<TimestampMicrosecondType>(rows, texts, to, try_cast, parse)?,
                TimeUnit::Nanosecond => parsed::<TimestampNanosecondType>(rows, texts, to, try_cast, parse)?,
                _ => parsed::<TimestampMillisecondType>(rows, texts, to, try_cast, parse)?,
            };
            return retype(&array, to);
        }
        other => return Err(EvalError::new(format!("a text cannot be cast to {other}"))),
    })
}

/// The same values under the Arrow type of `to` (a time zone added, say).
fn retype(array: &ArrayRef, to: &LogicalType) -> Result<ArrayRef, EvalError> {
    let data_type = to.to_arrow();
    if *array.data_type() == data_type {
        return Ok(array.clone());
    }
    let data = array.to_data().into_builder().data_type(data_type).build()?;
    Ok(arrow::array::make_array(data))
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: u8) -> Result<ArrayRef, EvalError> {
    Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale as i8)?))
}

fn from_boolean(value: &Value, to: &LogicalType, rows: usize) -> Result<ArrayRef, EvalError> {
    let values = value.booleans()?;
    let ints = primitives_by_row::<Int8Type>(rows, |row| values.get(row).map(i8::from));
    numeric(&Value::Array(ints), &LogicalType::TinyInt, to, rows)
}

fn to_boolean(value: &Value, from: &LogicalType, rows: usize) -> Result<ArrayRef, EvalError> {
    fn test<T: ArrowPrimitiveType>(value: &Value, rows: usize) -> Result<ArrayRef, EvalError>
    where
        T::Native: PartialEq + Default,
    {
        let values = value.primitives::<T>()?;
        Ok(booleans_by_row(rows, |row| values.get(row).map(|value| value != T::Native::default())))
    }
    match from {
        LogicalType::TinyInt => test::<Int8Type>(value, rows),
        LogicalType::SmallInt => test::<Int16Type>(value, rows),
        LogicalType::Int => test::<Int32Type>(value, rows),
        LogicalType::BigInt => test::<Int64Type>(value, rows),
        LogicalType::Float => test::<Float32Type>(value, rows),
        LogicalType::Double => test::<Float64Type>(value, rows),
        LogicalType::Decimal(..) => test::<Decimal128Type>(value, rows),
        other => Err(EvalError::new(format!("{other} cannot be cast to BOOLEAN"))),
    }
}

/// Number to number: integers wrap, floating-point values saturate at INT and BIGINT and wrap below, as
/// in Java; decimals that do not fit are NULL.
fn numeric(value: &Value, from: &LogicalType, to: &LogicalType, rows: usize) -> Result<ArrayRef, EvalError> {
    use LogicalType as L;
    macro_rules! to_numbers {
        ($input:ty, $to_small:expr, $to_long:expr) => {{
            let (small, long): (fn(_) -> i32, fn(_) -> i64) = ($to_small, $to_long);
            match to {
                L::TinyInt => Arc::new(unary::<$input, Int8Type>(value, rows, |v| small(v) as i8)?) as ArrayRef,
                L::SmallInt => Arc::new(unary::<$input, Int16Type>(value, rows, |v| small(v) as i16)?),
                L::Int => Arc::new(unary::<$input, Int32Type>(value, rows, |v| small(v))?),
                L::BigInt => Arc::new(unary::<$input, Int64Type>(value, rows, |v| long(v))?),
                L::Float => Arc::new(unary::<$input, Float32Type>(value, rows, |v| v as f32)?),
                L::Double => Arc::new(unary::<$input, Float64Type>(value, rows, |v| f64::from(v))?),
                other => return Err(EvalError::new(format!("{from} cannot be cast to {other}"))),
            }
        }};
    }
    if let L::Decimal(precision, scale) = to {
        let (precision, scale) = (*precision, *scale);
        // An integer type whose every value fits needs no check.
        let digits = match from {
            L::TinyInt => 3,
            L::SmallInt => 5,
            L::Int => 10,
            L::BigInt => 19,
            _ => u8::MAX,
        };
        if digits <= precision - scale
            && let Some(power) = decimal::power_of_ten(scale)
        {
            let array = match from {
                L::TinyInt => unary::<Int8Type, Decimal128Type>(value, rows, |v| i128::from(v) * power),
                L::SmallInt => unary::<Int16Type, Decimal128Type>(value, rows, |v| i128::from(v) * power),
                L::Int => unary::<Int32Type, Decimal128Type>(value, rows, |v| i128::from(v) * power),
                _ => unary::<Int64Type, Decimal128Type>(value, rows, |v| i128::from(v) * power),
            }?;
            return Ok(Arc::new(array.with_precision_and_scale(precision, scale as i8)?));
        }
        macro_rules! to_decimal {
            ($input:ty, $convert:expr) => {{
                let values = value.primitives::<$input>()?;
                decimals((0..rows).map(|row| values.get(row).and_then($convert)).collect(), precision, scale)
            }};
        }
        return match from {
            L::TinyInt => to_decimal!(Int8Type, |v| decimal::rescale(i128::from(v), 0, precision, scale)),
            L::SmallInt => to_decimal!(Int16Type, |v| decimal::rescale(i128::from(v), 0, precision, scale)),
            L::Int => to_decimal!(Int32Type, |v| decimal::rescale(i128::from(v), 0, precision, scale)),
            L::BigInt => to_decimal!(Int64Type, |v| decimal::rescale(i128::from(v), 0, precision, scale)),
            L::Float => to_decimal!(Float32Type, |v| decimal::from_f64(f64::from(v), precision, scale)),
            L::Double => to_decimal!(Float64Type, |v| decimal::from_f64(v, precision, scale)),
            L::Decimal(_, from_scale) => {
                let from_scale = *from_scale;
                to_decimal!(Decimal128Type, |v| decimal::rescale(v, from_scale, precision, scale))
            }
            other => Err(EvalError::new(format!("{other} cannot be cast to {to}"))),
        };
    }
    Ok(match from {
        L::TinyInt => to_numbers!(Int8Type, i32::from, i64::from),
        L::SmallInt => to_numbers!(Int16Type, i32::from, i64::from),
        L::Int => to_numbers!(Int32Type, |v| v, i64::from),
        L::BigInt => match to {
            L::Double => Arc::new(unary::<Int64Type, Float64Type>(value, rows, |v| v as f64)?),
            L::Float => Arc::new(unary::<Int64Type, Float32Type>(value, rows, |v| v as f32)?),
            L::TinyInt => Arc::new(unary::<Int64Type, Int8Type>(value, rows, |v| v as i8)?),
            L::SmallInt => Arc::new(unary::<Int64Type, Int16Type>(value, rows, |v| v as i16)?),
            L::Int => Arc::new(unary::<Int64Type, Int32Type>(value, rows, |v| v as i32)?),
            _ => value.clone().into_array(rows)?,
        },
        L::Float => to_numbers!(Float32Type, |v| v as i32, |v| v as i64),
        L::Double => match to {
            L::Float => Arc::new(unary::<Float64Type, Float32Type>(value, rows, |v| v as f32)?),
            L::TinyInt => Arc::new(unary::<Float64Type, Int8Type>(value, rows, |v| v as i32 as i8)?),
            L::SmallInt => Arc::new(unary::<Float64Type, Int16Type>(value, rows, |v| v as i32 as i16)?),
            L::Int => Arc::new(unary::<Float64Type, Int32Type>(value, rows, |v| v as i32)?),
            L::BigInt => Arc::new(unary::<Float64Type, Int64Type>(value, rows, |v| v as i64)?),
            _ => value.clone().into_array(rows)?,
        },
        L::Decimal(_, scale) => {
            let scale = *scale;
            match to {
                L::Float => {
                    Arc::new(unary::<Decimal128Type, Float32Type>(value, rows, |v| decimal::to_f64(v, scale) as f32)?)
                        as ArrayRef
                }
                L::Double => {
                    Arc::new(unary::<Decimal128Type, Float64Type>(value, rows, |v| decimal::to_f64(v, scale))?)
                }
                L::TinyInt => {
                    Arc::new(unary::<Decimal128Type, Int8Type>(value, rows, |v| decimal::truncate(v, scale, 0) as i8)?)
                }
                L::SmallInt => Arc::new(unary::<Decimal128Type, Int16Type>(value, rows, |v| {
                    decimal::truncate(v, scale, 0) as i16
                })?),
                L::Int => Arc::new(unary::<Decimal128Type, Int32Type>(value, rows, |v| {
                    decimal::truncate(v, scale, 0) as i32
                })?),
                L::BigInt => Arc::new(unary::<Decimal128Type, Int64Type>(value, rows, |v| {
                    decimal::truncate(v, scale, 0) as i64
                })?),
                other => return Err(EvalError::new(format!("{from} cannot be cast to {other}"))),
            }
        }
        other => return Err(EvalError::new(format!("{other} cannot be cast to {to}"))),
    })
}

/// The values of a timestamp column with their NULLs, whatever the unit.
pub(crate) fn timestamps(value: &Value, rows: usize) -> Result<PrimitiveArray<Int64Type>, EvalError> {
    match value.array().data_type() {
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            unary::<TimestampMicrosecondType, Int64Type>(value, rows, |v| v)
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            unary::<TimestampNanosecondType, Int64Type>(value, rows, |v| v)
        }
        _ => unary::<TimestampMillisecondType, Int64Type>(value, rows, |v| v),
    }
}

/// BIGINTs in the carrier unit as a column of `to`.
pub(crate) fn timestamp_column(values: PrimitiveArray<Int64Type>, to: &LogicalType) -> Result<ArrayRef, EvalError> {
    let array: ArrayRef = Arc::new(values);
    retype(&array, to)
}

/// A timestamp of precision `from` as one of precision `to`. As in Flink, digits above the third are
/// cut towards the past, those of milliseconds towards 1970.
fn convert_precision(value: i64, from: u8, to: u8) -> Option<i64> {
    let (from_units, to_units) = (units_per_millisecond(from), units_per_millisecond(to));
    if to >= from {
        return value.checked_mul(to_units / from_units);
    }
    if to >= 3 {
        let carrier_digits = if from_units == 1 {
            3
        } else if from_units == 1_000 {
            6
        } else {
            9
        };
        let unit = 10_i64.pow(carrier_digits - u32::from(to));
        return Some(value.div_euclid(unit) * unit / (from_units / to_units));
    }
    let millis = value.div_euclid(from_units);
    let unit = 10_i64.pow(3 - u32::from(to));
    Some(millis / unit * unit)
}

fn temporal(
    value: &Value,
    from: &LogicalType,
    to: &LogicalType,
    try_cast: bool,
    frame: &Frame<'_>,
) -> Result<ArrayRef, EvalError> {
    use LogicalType as L;
    let rows = frame.rows;
    let mut zone = Zone::new(frame.context.zone);
    let unsupported = || EvalError::new(format!("{from} cannot be cast to {to}"));
    match to {
        L::Timestamp(precision) | L::TimestampLtz(precision) => {
            let precision = *precision;
            let per_second = units_per_millisecond(precision) * 1_000;
            let source: PrimitiveArray<Int64Type> = match from {
                L::Date => unary::<Date32Type, Int64Type>(value, rows, |days| i64::from(days) * MILLIS_PER_DAY)?,
                L::Time(_) => unary::<Time32MillisecondType, Int64Type>(value, rows, i64::from)?,
                _ => timestamps(value, rows)?,
            };
            let (from_precision, from_zoned) = match from {
                L::Timestamp(precision) => (*precision, false),
                L::TimestampLtz(precision) => (*precision, true),
                L::Date | L::Time(_) => (3, false),
                _ => return Err(unsupported()),
            };
            let to_zoned = matches!(to, L::TimestampLtz(_));
            let mut values = Vec::with_capacity(rows);
            for source in &source {
                let converted = source.and_then(|source| convert_precision(source, from_precision, precision));
                if source.is_some() && converted.is_none() && !try_cast {
                    return Err(EvalError::new(format!(
                        "CAST failed: a {from} lies outside the years 1677 to 2262 that {to} can hold; use a precision up to 6"
                    )));
                }
                values.push(converted.map(|value| match (from_zoned, to_zoned) {
                    (false, true) => zone.to_instant(value, per_second),
                    (true, false) => zone.to_local(value, per_second),
                    _ => value,
                }));
            }
            timestamp_column(PrimitiveArray::from(values), to)
        }
        L::Date | L::Time(_) => {
            let (precision, zoned) = match from {
                L::Timestamp(precision) => (*precision, false),
                L::TimestampLtz(precision) => (*precision, true),
                _ => return Err(unsupported()),
            };
            let factor = units_per_millisecond(precision);
            let mut millis = |value: i64| {
                let millis = value.div_euclid(factor);
                if zoned { zone.to_local(millis, 1_000) } else { millis }
            };
            let day_of = |millis: i64| {
                if zoned { millis.div_euclid(MILLIS_PER_DAY) } else { millis / MILLIS_PER_DAY }
            };
            let source = timestamps(value, rows)?;
            Ok(if *to == L::Date {
                // As in Flink, a TIMESTAMP is divided towards 1970, an instant towards the past.
                let days = source.iter().map(|value| value.map(|value| day_of(millis(value)) as i32));
                Arc::new(days.collect::<PrimitiveArray<Date32Type>>())
            } else {
                // As in Flink, the digits that TIME(p) lacks are cut towards 1970, of an instant to the past.
                let digits = if let L::Time(digits) = to { u32::from((*digits).min(3)) } else { 3 };
                let unit = 10_i64.pow(3 - digits);
                let time = |millis: i64| {
                    let of_day = if zoned { millis.rem_euclid(MILLIS_PER_DAY) } else { millis % MILLIS_PER_DAY };
                    (of_day / unit * unit).rem_euclid(MILLIS_PER_DAY) as i32
                };
                let times = source.iter().map(|value| value.map(|value| time(millis(value))));
                Arc::new(times.collect::<PrimitiveArray<Time32MillisecondType>>())
            })
        }
        _ => Err(unsupported()),
    }
}
