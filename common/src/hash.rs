//! The hash of logical key values, version 1: shuffles, tables, filters and persisted key groups
//! all use it, computed once a row.
//!
//! It is part of the state format: the golden values in the tests below must never change.
//! Rules: all integer-like values (integers, dates, times, timestamps, intervals) hash as their
//! 64-bit carrier value; `-0.0` as `0.0` and every NaN as one NaN; DECIMAL as its unscaled value
//! (scale is fixed by the type); strings and bytes by content, whatever encoding carries them; NULL
//! as a constant of its own. Several columns combine in order.
//!
//! The mixing is the folded 128-bit multiply of wyhash (Wang Yi, public domain).

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;
const NULL_HASH: u64 = 0x5899_65cc_7537_4cc3;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Hash of an integer-like value.
#[inline(always)]
pub fn hash_i64(value: i64) -> u64 {
    fold(fold(value as u64 ^ K0, K1), K2)
}

/// Hash of a float: `-0.0` equals `0.0`, every NaN equals every other.
#[inline]
pub fn hash_f64(value: f64) -> u64 {
    let bits = if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    };
    hash_i64(bits as i64)
}

/// Hash of a string or of bytes.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    #[inline(always)]
    fn word(bytes: &[u8], at: usize) -> u64 {
        let mut word = [0u8; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }
    let length = bytes.len();
    let mut state = K0 ^ length as u64;
    let (a, b) = match length {
        0 => (0, 0),
        1..=3 => {
            let (first, middle, last) = (bytes[0], bytes[length / 2], bytes[length - 1]);
            (u64::from(first) << 16 | u64::from(middle) << 8 | u64::from(last), 0)
        }
        4..=8 => {
            let half =
                |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
            (half(0), half(length - 4))
        }
        9..=16 => (word(bytes, 0), word(bytes, length - 8)),
        _ => {
            let mut at = 0;
            while at + 16 < length {
                state = fold(word(bytes, at) ^ K1, word(bytes, at + 8) ^ state);
                at += 16;
            }
            (word(bytes, length - 16), word(bytes, length - 8))
        }
    };
    fold(fold(a ^ K1, b ^ state), K2 ^ length as u64)
}

/// Hash of `NULL`.
#[inline]
pub fn hash_null() -> u64 {
    NULL_HASH
}

/// Adds the hash of the next column to the hash of those before it.
#[inline(always)]
pub fn combine(hash: u64, next: u64) -> u64 {
    fold(hash ^ K1, next ^ K2)
}

/// Hashes rows of the given columns into `out` (cleared first). No column at all hashes to one
/// constant, so that keyless aggregates live in one key group.
///
/// # Panics
/// Never for the Arrow types of [`crate::types`]; other types are a planner bug and panic.
pub fn hash_columns(columns: &[ArrayRef], rows: usize, out: &mut Vec<u64>) {
    out.clear();
    match columns {
        [] => out.resize(rows, hash_i64(0)),
        [first, rest @ ..] => {
            for_each_hash(first, |hash| out.push(hash));
            for column in rest {
                let mut row = 0;
                for_each_hash(column, |hash| {
                    out[row] = combine(out[row], hash);
                    row += 1;
                });
            }
        }
    }
}

/// Hashes of nested values, in a list of their own (which also ends the recursion of closure types).
fn hashes_of(column: &ArrayRef) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(column.len());
    hash_columns(std::slice::from_ref(column), column.len(), &mut hashes);
    hashes
}

fn for_each_hash(column: &ArrayRef, mut emit: impl FnMut(u64)) {
    macro_rules! primitive {
        ($type:ty, $hash:expr) => {{
            let array = column.as_primitive::<$type>();
            if array.null_count() == 0 {
                array.values().iter().for_each(|value| emit($hash(*value)));
            } else {
                array.iter().for_each(|value| emit(value.map_or(NULL_HASH, $hash)));
            }
        }};
    }
    macro_rules! integer {
        ($type:ty) => {
            primitive!($type, |value| hash_i64(i64::from(value)))
        };
    }
    match column.data_type() {
        DataType::Null => (0..column.len()).for_each(|_| emit(NULL_HASH)),
        DataType::Boolean => {
            column.as_boolean().iter().for_each(|value| emit(value.map_or(NULL_HASH, |v| hash_i64(i64::from(v)))));
        }
        DataType::Int8 => integer!(Int8Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int64 => integer!(Int64Type),
        DataType::Date32 => integer!(Date32Type),
        DataType::Time32(TimeUnit::Millisecond) => integer!(Time32MillisecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integer!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integer!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integer!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Millisecond) => integer!(DurationMillisecondType),
        DataType::Interval(IntervalUnit::YearMonth) => integer!(IntervalYearMonthType),
        DataType::Float32 => primitive!(Float32Type, |value| hash_f64(f64::from(value))),
        DataType::Float64 => primitive!(Float64Type, hash_f64),
        DataType::Decimal128(..) => {
            primitive!(Decimal128Type, |value: i128| combine(hash_i64((value >> 64) as i64), hash_i64(value as i64)));
        }
        DataType::Utf8 => {
            column.as_string::<i32>().iter().for_each(|v| emit(v.map_or(NULL_HASH, |v| hash_bytes(v.as_bytes()))));
        }
        DataType::Utf8View => {
            column.as_string_view().iter().for_each(|v| emit(v.map_or(NULL_HASH, |v| hash_bytes(v.as_bytes()))));
        }
        DataType::Binary => {
            column.as_binary::<i32>().iter().for_each(|value| emit(value.map_or(NULL_HASH, hash_bytes)));
        }
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let values = hashes_of(dictionary.values());
            for (row, key) in dictionary.normalized_keys().into_iter().enumerate() {
                emit(if dictionary.keys().is_null(row) { NULL_HASH } else { values[key] });
            }
        }
        DataType::Struct(_) => {
            let rows = column.as_struct();
            let mut hashes = Vec::new();
            hash_columns(rows.columns(), rows.len(), &mut hashes);
            for (row, hash) in hashes.into_iter().enumerate() {
                emit(if rows.is_null(row) { NULL_HASH } else { hash });
            }
        }
        DataType::List(_) => {
            for element in column.as_list::<i32>().iter() {
                emit(element.map_or(NULL_HASH, |list| {
                    let mut hash = hash_i64(list.len() as i64);
                    hashes_of(&list).into_iter().for_each(|element| hash = combine(hash, element));
                    hash
                }));
            }
        }
        other => unreachable!("{other} is not a carrier of a key column"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray};

    use super::*;

    fn hashes(column: ArrayRef) -> Vec<u64> {
        let mut out = Vec::new();
        let rows = column.len();
        hash_columns(&[column], rows, &mut out);
        out
    }

    #[test]
    fn golden_values_never_change() {
        let texts = ["", "a", "abc", "abcd", "abcdefgh", "abcdefghi", "abcdefghijklmnopq"];
        let got: Vec<String> = [hash_i64(0), hash_i64(1), hash_i64(-1), hash_f64(1.5), combine(1, 2)]
            .into_iter()
            .chain(texts.iter().map(|text| hash_bytes(text.as_bytes())))
            .map(|hash| format!("{hash:016x}"))
            .collect();
        assert_eq!(got, GOLDEN);
    }

    const GOLDEN: [&str; 12] = [
        "a5506ff52926ac13",
        "d153941f83d0cc19",
        "f6316e9a2bff965a",
        "586978a4f19950bb",
        "8991a6eddde1b139",
        "a5506ff52926ac13",
        "85caa2533426baad",
        "832ab5f97945bdba",
        "c0356daca075fb7f",
        "68f658edcbcf701e",
        "ab671b5ce7a12534",
        "1f8834834eef50ac",
    ];

    #[test]
    fn encodings_of_one_value_agree() {
        let words = ["x", "", "a longer string than sixteen bytes"];
        let plain = hashes(Arc::new(StringArray::from_iter_values(words)));
        assert_eq!(plain, hashes(Arc::new(StringViewArray::from_iter_values(words))));
        let dictionary: DictionaryArray<Int32Type> = words.into_iter().collect();
        assert_eq!(plain, hashes(Arc::new(dictionary)));
        assert_eq!(hashes(Arc::new(Int32Array::from(vec![7]))), hashes(Arc::new(Int64Array::from(vec![7]))));
        assert_eq!(
            hashes(Arc::new(Float64Array::from(vec![0.0, f64::NAN]))),
            hashes(Arc::new(Float64Array::from(vec![-0.0, -f64::NAN])))
        );
    }

    #[test]
    fn high_and_low_bits_both_spread_sequential_keys() {
        let mut top = [0u32; 128];
        let mut low = [0u32; 128];
        for key in 0..128_000 {
            let hash = hash_i64(key);
            top[(hash >> 57) as usize] += 1;
            low[(hash & 127) as usize] += 1;
        }
        assert!(top.iter().chain(&low).all(|count| (800..1200).contains(count)), "{top:?} {low:?}");
    }
}
