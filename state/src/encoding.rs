//! Rows of several columns as bytes that are equal exactly if the rows are equal keys.
//!
//! Per column a flag (0 NULL, 1 present), then the value: fixed-width little-endian, or a length
//! (u32) and the content. Elements of nested values are encoded the same way. This is the layout of
//! keys in memory and of keys and values in files ([`crate::keyed`]), where it is version 1: the golden
//! bytes in the tests below must never change.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, ListArray, MapArray, PrimitiveArray, StringBuilder,
    StructArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type};

use crate::fixed::{self, null_buffer};

/// Encoded rows: row `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    pub offsets: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// One column on its way into the encoding.
enum Source<'a> {
    Null,
    /// Words of this many significant bytes.
    Fixed(arrow::buffer::ScalarBuffer<i64>, usize, Option<&'a NullBuffer>),
    Decimal(&'a Decimal128Array),
    Text(&'a arrow::array::StringArray),
    Binary(&'a arrow::array::BinaryArray),
    /// Already encoded, with its flag.
    Nested(EncodedRows),
}

impl EncodedRows {
    /// Row `row`.
    #[inline]
    pub fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row]..self.offsets[row + 1]]
    }

    /// Encodes rows, in place of what was there.
    pub fn encode(&mut self, columns: &[ArrayRef], rows: usize) {
        let sources: Vec<Source<'_>> = columns.iter().map(Source::new).collect();
        self.offsets.clear();
        self.offsets.resize(rows + 1, 0);
        for source in &sources {
            source.add_widths(&mut self.offsets[1..]);
        }
        let mut total = 0;
        for offset in &mut self.offsets {
            total += *offset;
            *offset = total;
        }
        self.bytes.clear();
        self.bytes.resize(total, 0);
        let mut cursors: Vec<usize> = self.offsets[..rows].to_vec();
        for source in &sources {
            source.write(&mut cursors, &mut self.bytes);
        }
    }
}

fn significant_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        other => other.primitive_width().unwrap_or(8),
    }
}

impl<'a> Source<'a> {
    fn new(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Null => Self::Null,
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::Decimal128(..) => Self::Decimal(column.as_primitive::<Decimal128Type>()),
            data_type => match fixed::words(column) {
                Some(words) => Self::Fixed(words, significant_bytes(data_type), column.nulls()),
                None => Self::Nested(nested(column)),
            },
        }
    }

    fn add_widths(&self, widths: &mut [usize]) {
        match self {
            Self::Null => widths.iter_mut().for_each(|width| *width += 1),
            Self::Fixed(_, bytes, None) => widths.iter_mut().for_each(|width| *width += 1 + bytes),
            Self::Fixed(_, bytes, Some(nulls)) => {
                widths
                    .iter_mut()
                    .enumerate()
                    .for_each(|(row, width)| *width += 1 + if nulls.is_valid(row) { *bytes } else { 0 });
            }
            Self::Decimal(array) => {
                widths
                    .iter_mut()
                    .enumerate()
                    .for_each(|(row, width)| *width += 1 + if array.is_valid(row) { 16 } else { 0 });
            }
            Self::Text(array) => widths.iter_mut().enumerate().for_each(|(row, width)| {
                *width += 1 + if array.is_valid(row) { 4 + array.value_length(row) as usize } else { 0 };
            }),
            Self::Binary(array) => widths.iter_mut().enumerate().for_each(|(row, width)| {
                *width += 1 + if array.is_valid(row) { 4 + array.value_length(row) as usize } else { 0 };
            }),
            Self::Nested(encoded) => {
                widths.iter_mut().enumerate().for_each(|(row, width)| *width += encoded.row(row).len())
            }
        }
    }

    /// Writes each row's value at its cursor, which moves behind it. NULLs are zero bytes already.
    fn write(&self, cursors: &mut [usize], bytes: &mut [u8]) {
        match self {
            Self::Null => cursors.iter_mut().for_each(|cursor| *cursor += 1),
            Self::Fixed(words, width, nulls) => cursors.iter_mut().enumerate().for_each(|(row, cursor)| {
                if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                    bytes[*cursor] = 1;
                    bytes[*cursor + 1..][..*width].copy_from_slice(&words[row].to_le_bytes()[..*width]);
                    *cursor += width;
                }
                *cursor += 1;
            }),
            Self::Decimal(array) => cursors.iter_mut().enumerate().for_each(|(row, cursor)| {
                if array.is_valid(row) {
                    bytes[*cursor] = 1;
                    bytes[*cursor + 1..][..16].copy_from_slice(&array.value(row).to_le_bytes());
                    *cursor += 16;
                }
                *cursor += 1;
            }),
            Self::Text(array) => cursors.iter_mut().enumerate().for_each(|(row, cursor)| {
                let value = array.is_valid(row).then(|| array.value(row).as_bytes());
                write_content(value, cursor, bytes);
            }),
            Self::Binary(array) => cursors.iter_mut().enumerate().for_each(|(row, cursor)| {
                let value = array.is_valid(row).then(|| array.value(row));
                write_content(value, cursor, bytes);
            }),
            Self::Nested(encoded) => cursors.iter_mut().enumerate().for_each(|(row, cursor)| {
                let value = encoded.row(row);
                bytes[*cursor..][..value.len()].copy_from_slice(value);
                *cursor += value.len();
            }),
        }
    }
}

#[inline]
fn write_content(value: Option<&[u8]>, cursor: &mut usize, bytes: &mut [u8]) {
    if let Some(value) = value {
        bytes[*cursor] = 1;
        bytes[*cursor + 1..][..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
        bytes[*cursor + 5..][..value.len()].copy_from_slice(value);
        *cursor += 4 + value.len();
    }
    *cursor += 1;
}

/// Rows of a nested column, with their flags.
fn nested(column: &ArrayRef) -> EncodedRows {
    let mut rows = EncodedRows { offsets: vec![0], bytes: Vec::new() };
    let elements = |values: ArrayRef, offsets: &[i32], rows: &mut EncodedRows| {
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        let mut encoded = EncodedRows::default();
        encoded.encode(&[values.slice(first, last - first)], last - first);
        for (row, ends) in offsets.windows(2).enumerate() {
            let (from, to) = (ends[0] as usize - first, ends[1] as usize - first);
            if column.is_valid(row) {
                rows.bytes.push(1);
                rows.bytes.extend_from_slice(&((to - from) as u32).to_le_bytes());
                rows.bytes.extend_from_slice(&encoded.bytes[encoded.offsets[from]..encoded.offsets[to]]);
            } else {
                rows.bytes.push(0);
            }
            rows.offsets.push(rows.bytes.len());
        }
    };
    match column.data_type() {
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            elements(list.values().clone(), list.value_offsets(), &mut rows);
        }
        DataType::Map(..) => {
            let map = column.as_map();
            elements(Arc::new(map.entries().clone()), map.value_offsets(), &mut rows);
        }
        _ => {
            let mut encoded = EncodedRows::default();
            encoded.encode(column.as_struct().columns(), column.len());
            for row in 0..column.len() {
                rows.bytes.push(u8::from(column.is_valid(row)));
                if column.is_valid(row) {
                    rows.bytes.extend_from_slice(encoded.row(row));
                }
                rows.offsets.push(rows.bytes.len());
            }
        }
    }
    rows
}

/// Whether a row can be decoded as values of these types. What was read from elsewhere must be checked
/// before [`decode_column`] sees it.
pub(crate) fn is_row<'a>(types: impl IntoIterator<Item = &'a DataType>, bytes: &[u8]) -> bool {
    let mut at = 0;
    types.into_iter().all(|data_type| check_value(data_type, true, bytes, &mut at).is_some()) && at == bytes.len()
}

fn check_value(data_type: &DataType, nullable: bool, bytes: &[u8], at: &mut usize) -> Option<()> {
    fn take<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
        let taken = bytes.get(*at..at.checked_add(length)?)?;
        *at += length;
        Some(taken)
    }
    let length = |at: &mut usize| Some(u32::from_le_bytes(take(bytes, at, 4)?.try_into().ok()?) as usize);
    match (take(bytes, at, 1)?[0], data_type) {
        (0, _) => nullable.then_some(()),
        (1, DataType::Utf8) => {
            let length = length(at)?;
            std::str::from_utf8(take(bytes, at, length)?).ok().map(drop)
        }
        (1, DataType::Binary) => {
            let length = length(at)?;
            take(bytes, at, length).map(drop)
        }
        (1, DataType::Decimal128(..)) => take(bytes, at, 16).map(drop),
        (1, DataType::List(field) | DataType::Map(field, _)) => {
            let nullable = field.is_nullable() && !matches!(data_type, DataType::Map(..));
            (0..length(at)?).try_for_each(|_| check_value(field.data_type(), nullable, bytes, at))
        }
        (1, DataType::Struct(fields)) => {
            fields.iter().try_for_each(|field| check_value(field.data_type(), field.is_nullable(), bytes, at))
        }
        (1, other) if fixed::is_fixed(other) => take(bytes, at, significant_bytes(other)).map(drop),
        _ => None,
    }
}

/// Decodes the next column of each row; the cursors move behind it.
pub(crate) fn decode_column(data_type: &DataType, bytes: &[u8], cursors: &mut [usize]) -> ArrayRef {
    fn present(bytes: &[u8], cursor: &mut usize) -> bool {
        *cursor += 1;
        bytes[*cursor - 1] != 0
    }
    fn length(bytes: &[u8], cursor: &mut usize) -> usize {
        *cursor += 4;
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[*cursor - 4..*cursor]);
        u32::from_le_bytes(word) as usize
    }
    /// Starts and lengths of lists: the elements' cursors, the offsets and the NULLs.
    fn lists(
        bytes: &[u8],
        cursors: &mut [usize],
        mut elements: impl FnMut(usize, &mut usize),
    ) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let mut valid = Vec::with_capacity(cursors.len());
        let mut lengths = Vec::with_capacity(cursors.len());
        for cursor in cursors {
            valid.push(present(bytes, cursor));
            let elements_of_row = if valid[valid.len() - 1] { length(bytes, cursor) } else { 0 };
            lengths.push(elements_of_row);
            elements(elements_of_row, cursor);
        }
        (OffsetBuffer::from_lengths(lengths), null_buffer(valid.into_iter()))
    }
    match data_type {
        DataType::Null => {
            cursors.iter_mut().for_each(|cursor| *cursor += 1);
            new_null_array(data_type, cursors.len())
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::with_capacity(cursors.len(), 0);
            for cursor in cursors {
                if present(bytes, cursor) {
                    let length = length(bytes, cursor);
                    builder.append_value(String::from_utf8_lossy(&bytes[*cursor..*cursor + length]));
                    *cursor += length;
                } else {
                    builder.append_null();
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::with_capacity(cursors.len(), 0);
            for cursor in cursors {
                if present(bytes, cursor) {
                    let length = length(bytes, cursor);
                    builder.append_value(&bytes[*cursor..*cursor + length]);
                    *cursor += length;
                } else {
                    builder.append_null();
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Decimal128(..) => {
            let values = cursors.iter_mut().map(|cursor| {
                present(bytes, cursor).then(|| {
                    let mut word = [0; 16];
                    word.copy_from_slice(&bytes[*cursor..*cursor + 16]);
                    *cursor += 16;
                    i128::from_le_bytes(word)
                })
            });
            Arc::new(values.collect::<PrimitiveArray<Decimal128Type>>().with_data_type(data_type.clone()))
        }
        DataType::List(field) => {
            let mut inner = Vec::new();
            let (offsets, nulls) = lists(bytes, cursors, |elements, cursor| {
                for _ in 0..elements {
                    inner.push(*cursor);
                    skip(field.data_type(), bytes, cursor);
                }
            });
            let values = decode_column(field.data_type(), bytes, &mut inner);
            Arc::new(ListArray::new(field.clone(), offsets, values, nulls))
        }
        DataType::Map(entries, ordered) => {
            let mut inner = Vec::new();
            let (offsets, nulls) = lists(bytes, cursors, |elements, cursor| {
                for _ in 0..elements {
                    inner.push(*cursor);
                    skip(entries.data_type(), bytes, cursor);
                }
            });
            let values = decode_column(entries.data_type(), bytes, &mut inner);
            Arc::new(MapArray::new(entries.clone(), offsets, values.as_struct().clone(), nulls, *ordered))
        }
        DataType::Struct(fields) => {
            let valid: Vec<bool> = cursors.iter_mut().map(|cursor| present(bytes, cursor)).collect();
            let mut inner: Vec<usize> =
                cursors.iter().zip(&valid).filter(|(_, valid)| **valid).map(|(cursor, _)| *cursor).collect();
            let dense: Vec<ArrayRef> =
                fields.iter().map(|field| decode_column(field.data_type(), bytes, &mut inner)).collect();
            let mut ends = inner.into_iter();
            for (cursor, _) in cursors.iter_mut().zip(&valid).filter(|(_, valid)| **valid) {
                *cursor = ends.next().unwrap_or(*cursor);
            }
            spread_struct(fields, dense, &valid)
        }
        other => {
            let width = significant_bytes(other);
            let mut valid = Vec::with_capacity(cursors.len());
            let mut words = Vec::with_capacity(cursors.len());
            for cursor in cursors {
                let present = present(bytes, cursor);
                let mut word = [0; 8];
                if present {
                    word[..width].copy_from_slice(&bytes[*cursor..*cursor + width]);
                    *cursor += width;
                }
                valid.push(present);
                // Narrow signed values are cut to their width again by `from_words`.
                words.push(i64::from_le_bytes(word));
            }
            fixed::from_words(other, words.into_iter(), null_buffer(valid.into_iter()))
        }
    }
}

/// Puts the rows of a struct that are present at their places, NULLs between them.
fn spread_struct(fields: &arrow::datatypes::Fields, dense: Vec<ArrayRef>, valid: &[bool]) -> ArrayRef {
    let mut next = 0u32;
    let indices: PrimitiveArray<arrow::datatypes::UInt32Type> = valid
        .iter()
        .map(|valid| {
            next += u32::from(*valid);
            valid.then(|| next - 1)
        })
        .collect();
    let columns = dense
        .iter()
        .map(|column| {
            arrow::compute::take(column, &indices, None)
                .unwrap_or_else(|_| new_null_array(column.data_type(), valid.len()))
        })
        .collect();
    Arc::new(StructArray::new(fields.clone(), columns, null_buffer(valid.iter().copied())))
}

fn skip(data_type: &DataType, bytes: &[u8], cursor: &mut usize) {
    // Decoding a single value moves its cursor; nested keys are rare enough for that.
    let mut cursors = [*cursor];
    decode_column(data_type, bytes, &mut cursors);
    *cursor = cursors[0];
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    fn columns() -> Vec<ArrayRef> {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![-2, 258]));
        let fields = vec![Field::new("s", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let decimals = Decimal128Array::from(vec![Some(-1), None]).with_precision_and_scale(38, 2).unwrap();
        vec![
            numbers.clone(),
            Arc::new(Int32Array::from(vec![Some(7), None])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Float64Array::from(vec![1.5, -0.0])),
            Arc::new(TimestampMillisecondArray::from(vec![0, 1])),
            texts.clone(),
            Arc::new(decimals),
            Arc::new(list),
            Arc::new(StructArray::new(fields.into(), vec![texts, numbers], null_buffer([true, false].into_iter()))),
        ]
    }

    /// Of [`columns`], column by column. Part of the state format.
    const GOLDEN: [[&str; 2]; 9] = [
        ["01feffffffffffffff", "010201000000000000"],
        ["0107000000", "00"],
        ["0101", "0100"],
        ["01000000000000f83f", "010000000000000080"],
        ["010000000000000000", "010100000000000000"],
        ["0102000000c3a9", "00"],
        ["01ffffffffffffffffffffffffffffffff", "00"],
        ["010200000001010000000000000000", "00"],
        ["010102000000c3a901feffffffffffffff", "00"],
    ];

    #[test]
    fn golden_bytes_never_change() {
        let columns = columns();
        let mut rows = EncodedRows::default();
        rows.encode(&columns, 2);
        for row in 0..2 {
            let hex: String = rows.row(row).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, GOLDEN.map(|column| column[row]).concat());
        }
        let mut cursors = vec![0, rows.offsets[1]];
        for column in &columns {
            assert_eq!(&decode_column(column.data_type(), &rows.bytes, &mut cursors), column);
        }
    }

    #[test]
    fn what_is_cut_or_odd_is_no_row() {
        let columns = columns();
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let mut rows = EncodedRows::default();
        rows.encode(&columns, 2);
        for row in 0..2 {
            let bytes = rows.row(row);
            assert!(is_row(&types, bytes));
            assert!((0..bytes.len()).all(|end| !is_row(&types, &bytes[..end])));
            assert!(!is_row(&types, &[bytes, &[0]].concat()));
            for at in 0..bytes.len() {
                let mut odd = bytes.to_vec();
                odd[at] ^= 0xff;
                if is_row(&types, &odd) {
                    let mut cursors = [0];
                    types.iter().for_each(|data_type| drop(decode_column(data_type, &odd, &mut cursors)));
                }
            }
        }
    }
}
