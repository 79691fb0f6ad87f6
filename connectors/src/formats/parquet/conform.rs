//! Columns of a file as the types that the table says.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, PrimitiveArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType as ArrowType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use tidemill_common::types::{DataType, Field, LogicalType, timestamp_unit};
use tidemill_expr::calendar::Zone;

/// Why a column of a file is none of the table's.
#[derive(Debug)]
pub(super) enum Mismatch {
    /// The types do not go together.
    Type { found: ArrowType, wanted: LogicalType },
    /// A value does not fit.
    Value(ArrowError),
}

/// Whether values of a file's type can be read as `wanted`.
pub(super) fn check(found: &ArrowType, wanted: &LogicalType) -> Result<(), Mismatch> {
    use ArrowType as A;
    use LogicalType as L;

    let fits = match (wanted, found) {
        (L::Boolean, A::Boolean)
        | (L::TinyInt | L::SmallInt | L::Int, A::Int8 | A::Int16 | A::Int32 | A::UInt8 | A::UInt16 | A::UInt32)
        | (L::BigInt, A::Int8 | A::Int16 | A::Int32 | A::UInt8 | A::UInt16 | A::UInt32 | A::Int64 | A::UInt64)
        | (L::Float, A::Float32)
        | (L::Double, A::Float32 | A::Float64)
        | (L::Decimal(..), A::Decimal32(..) | A::Decimal64(..) | A::Decimal128(..))
        | (L::Char(_) | L::Varchar(_), A::Utf8 | A::Binary)
        | (L::Binary(_) | L::Varbinary(_), A::Utf8 | A::Binary | A::FixedSizeBinary(_))
        | (L::Date, A::Date32)
        | (L::Time(_), A::Time32(_) | A::Time64(_))
        | (L::Timestamp(_) | L::TimestampLtz(_), A::Timestamp(..)) => true,
        (L::Array(item), A::List(field)) => return check(field.data_type(), &item.logical),
        (L::Map(..) | L::Multiset(_), A::Map(field, _)) => {
            let A::Struct(entries) = field.data_type() else { return mismatch(found, wanted) };
            let [key, value] = entries.as_ref() else { return mismatch(found, wanted) };
            let (wanted_key, wanted_value) = map_types(wanted);
            check(key.data_type(), &wanted_key.logical)?;
            return check(value.data_type(), &wanted_value.logical);
        }
        (L::Row(fields), A::Struct(children)) => {
            let mut all = Ok(());
            for field in fields {
                if let Some(child) = children.iter().find(|child| *child.name() == field.name) {
                    all = all.and_then(|()| check(child.data_type(), &field.data_type.logical));
                }
            }
            return all;
        }
        _ => false,
    };
    if fits { Ok(()) } else { mismatch(found, wanted) }
}

fn mismatch(found: &ArrowType, wanted: &LogicalType) -> Result<(), Mismatch> {
    Err(Mismatch::Type { found: found.clone(), wanted: wanted.clone() })
}

fn map_types(logical: &LogicalType) -> (DataType, DataType) {
    match logical {
        LogicalType::Map(key, value) => ((**key).clone(), (**value).clone()),
        LogicalType::Multiset(item) => ((**item).clone(), LogicalType::Int.not_null()),
        _ => (LogicalType::Null.nullable(), LogicalType::Null.nullable()),
    }
}

/// The values of a checked column in the carrier of `wanted`. `zone` is that of its timestamps.
pub(super) fn conform(array: &ArrayRef, wanted: &LogicalType, zone: Option<Tz>) -> Result<ArrayRef, Mismatch> {
    let target = wanted.to_arrow();
    match wanted {
        LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
            let found = match array.data_type() {
                ArrowType::Timestamp(unit, _) => *unit,
                other => return Err(mismatched(other, wanted)),
            };
            // The number counts; a mark of UTC in the file changes nothing.
            let plain = array.to_data().into_builder().data_type(ArrowType::Timestamp(found, None)).build();
            let plain = arrow::array::make_array(plain.map_err(Mismatch::Value)?);
            let unit = timestamp_unit(*precision);
            let values = cast(&plain, &ArrowType::Timestamp(unit, None))?;
            let values = match zone {
                Some(zone) => shifted(&values, unit, |zone, value, per_second| zone.to_local(value, per_second), zone)?,
                None => values,
            };
            let marked = values.to_data().into_builder().data_type(target).build();
            Ok(arrow::array::make_array(marked.map_err(Mismatch::Value)?))
        }
        LogicalType::Array(item) => {
            let list = array.as_list::<i32>();
            let values = conform(list.values(), &item.logical, zone)?;
            let ArrowType::List(field) = target else { return Err(mismatched(array.data_type(), wanted)) };
            let conformed = ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned());
            Ok(Arc::new(conformed.map_err(Mismatch::Value)?))
        }
        LogicalType::Map(..) | LogicalType::Multiset(_) => {
            let map = array.as_map();
            let (key, value) = map_types(wanted);
            let keys = conform(map.keys(), &key.logical, zone)?;
            let values = conform(map.values(), &value.logical, zone)?;
            let ArrowType::Map(field, sorted) = target else { return Err(mismatched(array.data_type(), wanted)) };
            let ArrowType::Struct(fields) = field.data_type() else {
                return Err(mismatched(array.data_type(), wanted));
            };
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(Mismatch::Value)?;
            let conformed = MapArray::try_new(field, map.offsets().clone(), entries, map.nulls().cloned(), sorted);
            Ok(Arc::new(conformed.map_err(Mismatch::Value)?))
        }
        LogicalType::Row(fields) => {
            let rows = array.as_struct();
            let column = |field: &Field| match rows.column_by_name(&field.name) {
                Some(column) => conform(column, &field.data_type.logical, zone),
                None => Ok(new_null_array(&field.data_type.logical.to_arrow(), rows.len())),
            };
            let columns = fields.iter().map(column).collect::<Result<Vec<_>, _>>()?;
            let ArrowType::Struct(types) = target else { return Err(mismatched(array.data_type(), wanted)) };
            let conformed = StructArray::try_new(types, columns, rows.nulls().cloned());
            Ok(Arc::new(conformed.map_err(Mismatch::Value)?))
        }
        _ => cast(array, &target),
    }
}

fn mismatched(found: &ArrowType, wanted: &LogicalType) -> Mismatch {
    Mismatch::Type { found: found.clone(), wanted: wanted.clone() }
}

fn cast(array: &ArrayRef, target: &ArrowType) -> Result<ArrayRef, Mismatch> {
    if array.data_type() == target {
        return Ok(array.clone());
    }
    // A value that does not fit is an error, not NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, target, &options).map_err(Mismatch::Value)
}

/// The other way, for files: columns with the units and zones that files have.
pub(super) fn for_file(
    array: &ArrayRef,
    logical: &LogicalType,
    target: &ArrowType,
    zone: Option<Tz>,
) -> Result<ArrayRef, ArrowError> {
    match (logical, target) {
        (LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision), ArrowType::Timestamp(unit, _)) => {
            let own = timestamp_unit(*precision);
            let values = retyped(array, ArrowType::Timestamp(own, None))?;
            let values = match zone {
                Some(zone) => {
                    let to_instant = |zone: &mut Zone, value, per_second| zone.to_instant(value, per_second);
                    shifted(&values, own, to_instant, zone).map_err(|mismatch| match mismatch {
                        Mismatch::Value(error) => error,
                        Mismatch::Type { found, .. } => ArrowError::CastError(found.to_string()),
                    })?
                }
                None => values,
            };
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let values = cast_with_options(&values, &ArrowType::Timestamp(*unit, None), &options)?;
            retyped(&values, target.clone())
        }
        (LogicalType::Array(item), ArrowType::List(field)) => {
            let list = array.as_list::<i32>();
            let values = for_file(list.values(), &item.logical, field.data_type(), zone)?;
            Ok(Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (LogicalType::Map(..) | LogicalType::Multiset(_), ArrowType::Map(field, sorted)) => {
            let map = array.as_map();
            let (key, value) = map_types(logical);
            let ArrowType::Struct(fields) = field.data_type() else {
                return Err(ArrowError::SchemaError("a map has entries".to_owned()));
            };
            let keys = for_file(map.keys(), &key.logical, fields[0].data_type(), zone)?;
            let values = for_file(map.values(), &value.logical, fields[1].data_type(), zone)?;
            let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
            let offsets = map.offsets().clone();
            Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, map.nulls().cloned(), *sorted)?))
        }
        (LogicalType::Row(fields), ArrowType::Struct(types)) => {
            let rows = array.as_struct();
            let columns = rows.columns().iter().zip(fields).zip(types);
            let columns = columns
                .map(|((column, field), target)| for_file(column, &field.data_type.logical, target.data_type(), zone))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new(types.clone(), columns, rows.nulls().cloned())?))
        }
        _ => Ok(array.clone()),
    }
}

fn retyped(array: &ArrayRef, target: ArrowType) -> Result<ArrayRef, ArrowError> {
    Ok(arrow::array::make_array(array.to_data().into_builder().data_type(target).build()?))
}

/// Timestamps moved between a zone and UTC.
fn shifted(
    array: &ArrayRef,
    unit: TimeUnit,
    shift: impl Fn(&mut Zone, i64, i64) -> i64,
    zone: Tz,
) -> Result<ArrayRef, Mismatch> {
    let mut zone = Zone::new(zone);
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let values = match unit {
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
        _ => array.as_primitive::<TimestampMillisecondType>().values(),
    };
    let values: Vec<i64> = values.iter().map(|value| shift(&mut zone, *value, per_second)).collect();
    let numbers = PrimitiveArray::<Int64Type>::new(values.into(), array.nulls().cloned());
    let numbers: ArrayRef = Arc::new(numbers);
    retyped(&numbers, ArrowType::Timestamp(unit, None)).map_err(Mismatch::Value)
}
