//! Whole numbers in fewer bytes: how far each value is from the least one, in as many bytes as the
//! farthest needs, then the least value itself (16 bytes, little-endian).
//!
//! Keys, counts, and times of rows that travel together lie close to each other, so that most columns
//! shrink to a quarter. To pack and unpack a value costs a tenth of what its bytes cost in the kernel, on
//! both sides. Values of NULLs count like others: what they are does not matter.

use arrow::array::ArrayData;
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};

use tidemill_common::limits::FRAME_BYTES_MAX;

use super::fixed_width;

/// Columns with fewer rows are sent as they are.
const ROWS_MIN: usize = 32;
/// Bytes of the least value.
const BASE_BYTES: usize = 16;

/// How the values of a buffer lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in memory.
    Plain,
    /// As distances of this many bytes each: 0 (all values are the same), 1, 2 or 4.
    Packed(usize),
}

/// Bits of a directory entry that hold the length of the buffer; the rest is the layout.
const LENGTH_BITS: u32 = 28;

impl Layout {
    /// A directory entry.
    pub fn entry(self, length: usize) -> u32 {
        let code = match self {
            Self::Plain => 0,
            Self::Packed(0) => 1,
            Self::Packed(1) => 2,
            Self::Packed(2) => 3,
            Self::Packed(_) => 4,
        };
        code << LENGTH_BITS | length as u32
    }

    /// What a directory entry says; `None` for a layout that does not exist.
    pub fn of_entry(entry: u32) -> Option<(Self, usize)> {
        let layout = match entry >> LENGTH_BITS {
            0 => Self::Plain,
            1 => Self::Packed(0),
            2 => Self::Packed(1),
            3 => Self::Packed(2),
            4 => Self::Packed(4),
            _ => return None,
        };
        Some((layout, (entry & ((1 << LENGTH_BITS) - 1)) as usize))
    }
}

/// A type that can be packed.
trait Packable: ArrowNativeType + Ord {
    /// As far as it is from `base`, which is not greater.
    fn distance(self, base: Self) -> u128;
    /// The lowest 32 bits of the distance.
    fn near(self, base: Self) -> u32;
    /// The value at a distance.
    fn at(base: Self, distance: u32) -> Self;
    fn widen(self) -> i128;
    /// The lowest bits.
    fn narrow(value: i128) -> Self;
}

macro_rules! packable {
    ($($type:ty as $unsigned:ty),*) => {$(
        impl Packable for $type {
            fn distance(self, base: Self) -> u128 {
                u128::from(self.wrapping_sub(base) as $unsigned)
            }
            #[inline(always)]
            fn near(self, base: Self) -> u32 {
                self.wrapping_sub(base) as u32
            }
            #[inline(always)]
            fn at(base: Self, distance: u32) -> Self {
                base.wrapping_add(distance as $type)
            }
            fn widen(self) -> i128 {
                i128::from(self)
            }
            fn narrow(value: i128) -> Self {
                value as $type
            }
        }
    )*};
}
packable!(i16 as u16, i32 as u32, i64 as u64, i128 as u128);

/// Bytes of one value, of types of whole numbers of more than one byte.
fn integer_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => None,
        DataType::Interval(unit) if *unit != arrow::datatypes::IntervalUnit::YearMonth => None,
        other => fixed_width(other).filter(|width| *width > 1),
    }
}

/// The values of a column in fewer bytes, and their layout; `None` if they are sent as they are.
pub(super) fn pack(array: &ArrayData) -> Option<(Buffer, Layout)> {
    let width = integer_width(array.data_type())?;
    if !worthwhile(array.len(), width) {
        return None;
    }
    match width {
        2 => pack_values(&array.buffer::<i16>(0)[..array.len()]),
        4 => pack_values(&array.buffer::<i32>(0)[..array.len()]),
        8 => pack_values(&array.buffer::<i64>(0)[..array.len()]),
        16 => pack_values(&array.buffer::<i128>(0)[..array.len()]),
        _ => None,
    }
}

/// Few rows are not worth it; and whoever receives a column that is longer than a frame may be refuses it
/// before memory is set aside, as a few bytes can stand for any number of rows.
fn worthwhile(rows: usize, width: usize) -> bool {
    rows >= ROWS_MIN && rows.checked_mul(width).is_some_and(|bytes| bytes <= FRAME_BYTES_MAX)
}

fn pack_values<T: Packable>(values: &[T]) -> Option<(Buffer, Layout)> {
    let first = *values.first()?;
    let (least, most) =
        values.iter().fold((first, first), |(least, most), value| (least.min(*value), most.max(*value)));
    let width = match most.distance(least) {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => return None,
    };
    if width >= size_of::<T>() {
        return None;
    }
    let base = least.widen().to_le_bytes();
    let buffer = match width {
        0 => Buffer::from_vec(base.to_vec()),
        1 => distances(values, least, base, |distance| distance as u8, u8::from_le_bytes),
        2 => distances(values, least, base, |distance| distance as u16, u16::from_le_bytes),
        _ => distances(values, least, base, |distance| distance, u32::from_le_bytes),
    };
    Some((buffer, Layout::Packed(width)))
}

fn distances<T: Packable, U: ArrowNativeType, const WIDTH: usize>(
    values: &[T],
    least: T,
    base: [u8; BASE_BYTES],
    narrow: impl Fn(u32) -> U,
    piece: impl Fn([u8; WIDTH]) -> U,
) -> Buffer {
    let mut packed: Vec<U> = Vec::with_capacity(values.len() + BASE_BYTES / WIDTH);
    packed.extend(values.iter().map(|value| narrow(value.near(least))));
    packed.extend(base.as_chunks::<WIDTH>().0.iter().map(|bytes| piece(*bytes)));
    Buffer::from_vec(packed)
}

/// The values of a column of this type as they lie in memory. `None` if the buffer is not what the layout
/// and the number of rows need, or the type is never packed.
pub(super) fn unpack(buffer: Buffer, width: usize, data_type: &DataType, rows: usize) -> Option<Buffer> {
    let plain = integer_width(data_type)?;
    let packed = rows.checked_mul(width)?;
    if width >= plain || buffer.len() != packed.checked_add(BASE_BYTES)? || !worthwhile(rows, plain) {
        return None;
    }
    let base = i128::from_le_bytes(buffer.get(packed..)?.try_into().ok()?);
    let buffer = buffer.slice_with_length(0, packed);
    Some(match plain {
        2 => unpack_values::<i16>(buffer, width, base, rows),
        4 => unpack_values::<i32>(buffer, width, base, rows),
        8 => unpack_values::<i64>(buffer, width, base, rows),
        16 => unpack_values::<i128>(buffer, width, base, rows),
        _ => return None,
    })
}

fn unpack_values<T: Packable>(buffer: Buffer, width: usize, base: i128, rows: usize) -> Buffer {
    let base = T::narrow(base);
    let values: Vec<T> = match width {
        0 => vec![base; rows],
        1 => ScalarBuffer::<u8>::from(buffer).iter().map(|distance| T::at(base, u32::from(*distance))).collect(),
        2 => ScalarBuffer::<u16>::from(buffer).iter().map(|distance| T::at(base, u32::from(*distance))).collect(),
        _ => ScalarBuffer::<u32>::from(buffer).iter().map(|distance| T::at(base, *distance)).collect(),
    };
    Buffer::from_vec(values)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Date32Array, Decimal128Array, Float64Array, Int16Array, Int64Array};

    use super::*;

    fn round(array: &dyn Array) -> Option<(usize, usize)> {
        let data = array.to_data();
        let (buffer, layout) = pack(&data)?;
        let Layout::Packed(width) = layout else { panic!("{layout:?}") };
        assert_eq!(Layout::of_entry(layout.entry(buffer.len())), Some((layout, buffer.len())));
        let length = buffer.len();
        let read = unpack(buffer, width, data.data_type(), data.len()).unwrap();
        let plain = fixed_width(data.data_type()).unwrap();
        let from = &data.buffers()[0].as_slice()[data.offset() * plain..][..data.len() * plain];
        assert_eq!(read.as_slice(), from);
        Some((width, length))
    }

    #[test]
    fn values_take_the_bytes_that_their_range_needs() {
        let column = |range: i64, from: i64| -> Int64Array {
            (0..100).map(|n| from.wrapping_add(range * (n % 5) / 4)).collect()
        };
        for from in [0, -1, i64::MIN, i64::MAX - 5_000_000_000, 1_700_000_000_000] {
            assert_eq!(round(&column(0, from)), Some((0, 16)));
            assert_eq!(round(&column(255, from)), Some((1, 116)));
            assert_eq!(round(&column(256, from)), Some((2, 216)));
            assert_eq!(round(&column(65_535, from)), Some((2, 216)));
            assert_eq!(round(&column(65_536, from)), Some((4, 416)));
            assert_eq!(round(&column(0xffff_ffff, from)), Some((4, 416)));
            assert_eq!(round(&column(0x1_0000_0000, from)), None);
        }
        let whole: Int64Array = (0..100).map(|n| if n == 3 { i64::MIN } else { i64::MAX }).collect();
        assert_eq!(round(&whole), None);
        assert_eq!(round(&column(9, 5).slice(7, 50)), Some((1, 66)));
        assert_eq!(round(&column(9, 5).slice(7, 20)), None);
    }

    #[test]
    fn a_few_bytes_never_stand_for_more_than_a_frame() {
        let base = || Buffer::from_vec(vec![0u8; BASE_BYTES]);
        let most = FRAME_BYTES_MAX / 8;
        assert_eq!(unpack(base(), 0, &DataType::Int64, most).unwrap().len(), FRAME_BYTES_MAX);
        for rows in [most + 1, u32::MAX as usize, usize::MAX] {
            assert!(unpack(base(), 0, &DataType::Int64, rows).is_none());
        }
        assert!(unpack(base(), 0, &DataType::Float64, 100).is_none());
        assert!(unpack(base(), 4, &DataType::Int32, 4).is_none());
        assert!(pack(&Int64Array::from(vec![1; most + 1]).to_data()).is_none());
    }

    #[test]
    fn types_of_all_widths() {
        assert_eq!(round(&(0..200).collect::<Int16Array>()), Some((1, 216)));
        assert_eq!(round(&(0..300).map(|n| n * 100).collect::<Int16Array>()), None);
        assert_eq!(round(&Date32Array::from_iter_values((0..300).map(|n| n - 9_000))), Some((2, 616)));
        let decimals: Decimal128Array = (0..300).map(|n| -i128::pow(10, 37) + n * 1_000).collect();
        assert_eq!(round(&decimals), Some((4, 1_216)));
        assert_eq!(round(&(0..300).map(f64::from).collect::<Float64Array>()), None);
    }
}
