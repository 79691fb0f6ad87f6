//! Rows as records of the table's schema.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
};
use tidemill_common::types::{DataType, LogicalType};

/// Appends one value; a NULL where the type has none is a bug of the caller, and is written as the type's zero.
pub(super) fn value(array: &ArrayRef, data_type: &DataType, row: usize, out: &mut Vec<u8>) {
    if data_type.logical == LogicalType::Null {
        return;
    }
    if data_type.nullable {
        // The branch of the union: null, then the type.
        let valid = array.is_valid(row);
        long(i64::from(valid), out);
        if !valid {
            return;
        }
    }
    match &data_type.logical {
        LogicalType::Null | LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond => {}
        LogicalType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        LogicalType::TinyInt => long(array.as_primitive::<Int8Type>().value(row).into(), out),
        LogicalType::SmallInt => long(array.as_primitive::<Int16Type>().value(row).into(), out),
        LogicalType::Int => long(array.as_primitive::<Int32Type>().value(row).into(), out),
        LogicalType::BigInt => long(array.as_primitive::<Int64Type>().value(row), out),
        LogicalType::Float => out.extend(array.as_primitive::<Float32Type>().value(row).to_le_bytes()),
        LogicalType::Double => out.extend(array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
        LogicalType::Char(_) | LogicalType::Varchar(_) => bytes(array.as_string::<i32>().value(row).as_bytes(), out),
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => bytes(array.as_binary::<i32>().value(row), out),
        LogicalType::Decimal(..) => {
            bytes(shortest(&array.as_primitive::<Decimal128Type>().value(row).to_be_bytes()), out)
        }
        LogicalType::Date => long(array.as_primitive::<Date32Type>().value(row).into(), out),
        LogicalType::Time(_) => long(array.as_primitive::<Time32MillisecondType>().value(row).into(), out),
        LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
            let number = if *precision > 3 {
                array.as_primitive::<TimestampMicrosecondType>().value(row)
            } else {
                array.as_primitive::<TimestampMillisecondType>().value(row)
            };
            long(number, out);
        }
        LogicalType::Array(item) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            items(offsets[row]..offsets[row + 1], out, |at, out| value(list.values(), item, at, out));
        }
        LogicalType::Map(_, item) => map(array, item, row, out),
        LogicalType::Multiset(_) => map(array, &LogicalType::Int.not_null(), row, out),
        LogicalType::Row(fields) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                value(column, &field.data_type, row, out);
            }
        }
    }
}

fn map(array: &ArrayRef, item: &DataType, row: usize, out: &mut Vec<u8>) {
    let map = array.as_map();
    let offsets = map.value_offsets();
    let keys = map.keys().as_string::<i32>();
    items(offsets[row]..offsets[row + 1], out, |at, out| {
        bytes(keys.value(at).as_bytes(), out);
        value(map.values(), item, at, out);
    });
}

/// One block of items, and the end of the blocks.
fn items(range: std::ops::Range<i32>, out: &mut Vec<u8>, mut item: impl FnMut(usize, &mut Vec<u8>)) {
    if !range.is_empty() {
        long(i64::from(range.end - range.start), out);
        range.for_each(|at| item(at as usize, out));
    }
    long(0, out);
}

/// A number in zig-zag and base 128.
pub(super) fn long(number: i64, out: &mut Vec<u8>) {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes behind their number.
pub(super) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// The fewest bytes of a number in two's complement, at least one.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let mut rest = bytes.as_slice();
    while let [first, second, ..] = rest {
        let sign_only = (*first == 0 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0);
        if !sign_only {
            break;
        }
        rest = &rest[1..];
    }
    rest
}
