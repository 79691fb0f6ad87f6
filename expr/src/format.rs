//! Values to Flink's texts: of `CAST`, of json and csv, of `print` and of collected rows.

use std::fmt::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use chrono_tz::Tz;
use tidemill_common::types::{LogicalType, units_per_millisecond};

use crate::calendar::{MILLIS_PER_DAY, Zone, civil_from_days};
use crate::decimal;
use crate::java_double;

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStyle {
    /// `CAST(x AS STRING)`: `TRUE`, `2024-03-10 12:00:53.130` with all digits of its precision,
    /// instants in the session zone.
    Cast,
    /// json and csv: `true`, `2024-03-10 12:00:53.13`, instants in UTC with a `Z`.
    Sql,
    /// print and collect, as Java's `Row.toString`: `2024-03-10T12:00`, `null`.
    Row,
}

/// Appends the text of one value. A NULL is `NULL` in [`TextStyle::Cast`] and `null` otherwise.
pub fn format_value(
    array: &dyn Array,
    data_type: &LogicalType,
    row: usize,
    style: TextStyle,
    zone: Tz,
    out: &mut String,
) {
    let mut zone = Zone::new(zone);
    format_in(array, data_type, row, style, &mut zone, out);
}

/// [`format_value`] with a zone that remembers its offsets, for loops.
pub fn format_in(
    array: &dyn Array,
    data_type: &LogicalType,
    row: usize,
    style: TextStyle,
    zone: &mut Zone,
    out: &mut String,
) {
    if array.is_null(row) || *array.data_type() == ArrowType::Null {
        out.push_str(if style == TextStyle::Cast { "NULL" } else { "null" });
        return;
    }
    match data_type {
        LogicalType::Null => {}
        LogicalType::Boolean => {
            let value = array.as_boolean().value(row);
            out.push_str(match (style, value) {
                (TextStyle::Cast, true) => "TRUE",
                (TextStyle::Cast, false) => "FALSE",
                (_, true) => "true",
                (_, false) => "false",
            });
        }
        LogicalType::TinyInt => push_integer(i64::from(array.as_primitive::<Int8Type>().value(row)), out),
        LogicalType::SmallInt => push_integer(i64::from(array.as_primitive::<Int16Type>().value(row)), out),
        LogicalType::Int => push_integer(i64::from(array.as_primitive::<Int32Type>().value(row)), out),
        LogicalType::BigInt => push_integer(array.as_primitive::<Int64Type>().value(row), out),
        LogicalType::Float => format_float(array.as_primitive::<Float32Type>().value(row), out),
        LogicalType::Double => format_double(array.as_primitive::<Float64Type>().value(row), out),
        LogicalType::Decimal(_, scale) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            if style == TextStyle::Row {
                decimal::format_java(unscaled, *scale, out);
            } else {
                decimal::format_plain(unscaled, *scale, out);
            }
        }
        LogicalType::Char(_) | LogicalType::Varchar(_) => out.push_str(array.as_string::<i32>().value(row)),
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => {
            let bytes = array.as_binary::<i32>().value(row);
            if style == TextStyle::Row {
                let signed: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
                let _ = write!(out, "{signed:?}");
            } else {
                out.push_str(&String::from_utf8_lossy(bytes));
            }
        }
        LogicalType::Date => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            if style == TextStyle::Cast { format_date_cast(days, out) } else { format_date(days, out) }
        }
        LogicalType::Time(precision) => {
            let millis = i64::from(array.as_primitive::<Time32MillisecondType>().value(row));
            format_time(millis, *precision, style, out);
        }
        LogicalType::Timestamp(precision) => {
            let value = timestamp_value(array, row);
            format_timestamp(value, *precision, style, out);
        }
        LogicalType::TimestampLtz(precision) => {
            let value = timestamp_value(array, row);
            match style {
                TextStyle::Cast => {
                    let local = zone.to_local(value, units_per_millisecond(*precision) * 1_000);
                    format_timestamp(local, *precision, style, out);
                }
                TextStyle::Sql => {
                    format_timestamp(value, *precision, style, out);
                    out.push('Z');
                }
                TextStyle::Row => format_instant(value, *precision, out),
            }
        }
        LogicalType::IntervalYearMonth => {
            let months = i64::from(array.as_primitive::<IntervalYearMonthType>().value(row));
            let sign = if months < 0 { '-' } else { '+' };
            let _ = write!(out, "{sign}{}-{:02}", months.abs() / 12, months.abs() % 12);
        }
        LogicalType::IntervalDaySecond => {
            let millis = array.as_primitive::<DurationMillisecondType>().value(row);
            let sign = if millis < 0 { '-' } else { '+' };
            let rest = millis.unsigned_abs();
            let (days, rest) = (rest / 86_400_000, rest % 86_400_000);
            let _ = write!(
                out,
                "{sign}{days} {:02}:{:02}:{:02}.{:03}",
                rest / 3_600_000,
                rest / 60_000 % 60,
                rest / 1_000 % 60,
                rest % 1_000
            );
        }
        LogicalType::Array(element) => {
            let list = array.as_list::<i32>();
            let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
            out.push('[');
            for index in start..end {
                if index > start {
                    out.push_str(", ");
                }
                format_in(list.values(), &element.logical, index, style, zone, out);
            }
            out.push(']');
        }
        LogicalType::Map(..) | LogicalType::Multiset(_) => {
            let (key, value) = match data_type {
                LogicalType::Map(key, value) => (&key.logical, &value.logical),
                LogicalType::Multiset(element) => (&element.logical, &LogicalType::Int),
                _ => return,
            };
            let map = array.as_map();
            let (start, end) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
            out.push('{');
            for index in start..end {
                if index > start {
                    out.push_str(", ");
                }
                format_in(map.keys(), key, index, style, zone, out);
                out.push('=');
                format_in(map.values(), value, index, style, zone, out);
            }
            out.push('}');
        }
        LogicalType::Row(fields) => {
            let columns = array.as_struct();
            out.push_str(if style == TextStyle::Row { "+I[" } else { "(" });
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                format_in(columns.column(index), &field.data_type.logical, row, style, zone, out);
            }
            out.push(if style == TextStyle::Row { ']' } else { ')' });
        }
    }
}

fn timestamp_value(array: &dyn Array, row: usize) -> i64 {
    match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().value(row),
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => array.as_primitive::<TimestampNanosecondType>().value(row),
        _ => array.as_primitive::<TimestampMillisecondType>().value(row),
    }
}

fn push_integer(value: i64, out: &mut String) {
    let mut buffer = [0_u8; lexical_core::BUFFER_SIZE];
    let text = lexical_core::write(value, &mut buffer);
    // Digits and a sign are ASCII.
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

/// As Java's `Double.toString`: `1.0`, `1.0E10`, `9.99E-4`, `NaN`, `Infinity`.
pub fn format_double(value: f64, out: &mut String) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value == 0.0 {
        return out.push_str("0.0");
    }
    java_double::push_double(value.abs(), out);
}

/// As Java's `Float.toString`.
pub fn format_float(value: f32, out: &mut String) {
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value == 0.0 {
        return out.push_str("0.0");
    }
    java_double::push_float(value.abs(), out);
}

/// Two digits of a number below 100.
pub(crate) fn push_two(value: i64, out: &mut String) {
    out.push(char::from(b'0' + (value / 10 % 10) as u8));
    out.push(char::from(b'0' + (value % 10) as u8));
}

/// `yyyy-MM-dd`, with a sign for years beyond 9999 and before 0.
pub fn format_date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    push_civil(year, month, day, out);
}

/// As a cast writes it: Flink keeps the last four digits of the year.
fn format_date_cast(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    push_civil(year.rem_euclid(10_000), month, day, out);
}

fn push_civil(year: i64, month: i64, day: i64, out: &mut String) {
    if (0..=9999).contains(&year) {
        push_two(year / 100, out);
        push_two(year % 100, out);
    } else {
        let sign = if year < 0 { '-' } else { '+' };
        let _ = write!(out, "{sign}{:04}", year.abs());
    }
    out.push('-');
    push_two(month, out);
    out.push('-');
    push_two(day, out);
}

fn push_fraction(nanos: i64, digits: usize, out: &mut String) {
    out.push('.');
    let mut divisor = 100_000_000;
    for _ in 0..digits {
        out.push(char::from(b'0' + (nanos / divisor % 10) as u8));
        divisor /= 10;
    }
}

fn significant_digits(nanos: i64) -> usize {
    let (mut digits, mut rest) = (9, nanos);
    while digits > 0 && rest % 10 == 0 {
        rest /= 10;
        digits -= 1;
    }
    digits
}

fn format_time(millis: i64, precision: u8, style: TextStyle, out: &mut String) {
    let seconds = millis.div_euclid(1_000);
    let nanos = millis.rem_euclid(1_000) * 1_000_000;
    push_two(seconds / 3_600, out);
    out.push(':');
    push_two(seconds / 60 % 60, out);
    match style {
        TextStyle::Cast => {
            out.push(':');
            push_two(seconds % 60, out);
            if precision > 0 {
                push_fraction(nanos, usize::from(precision.min(3)), out);
            }
        }
        TextStyle::Sql => {
            out.push(':');
            push_two(seconds % 60, out);
            let digits = significant_digits(nanos).min(usize::from(precision));
            if digits > 0 {
                push_fraction(nanos, digits, out);
            }
        }
        TextStyle::Row => java_seconds(seconds % 60, nanos, out),
    }
}

/// `:ss[.fff]`, nothing if both are zero.
fn java_seconds(second: i64, nanos: i64, out: &mut String) {
    if second > 0 || nanos > 0 {
        out.push(':');
        push_two(second, out);
        if nanos > 0 {
            push_fraction(nanos, significant_digits(nanos).div_ceil(3) * 3, out);
        }
    }
}

/// Days, second of the day and nanosecond of a timestamp in its carrier unit.
fn split_timestamp(value: i64, precision: u8) -> (i64, i64, i64) {
    let per_millisecond = units_per_millisecond(precision);
    let per_day = MILLIS_PER_DAY * per_millisecond;
    let per_second = 1_000 * per_millisecond;
    let of_day = value.rem_euclid(per_day);
    (value.div_euclid(per_day), of_day / per_second, of_day % per_second * (1_000_000_000 / per_second))
}

/// A timestamp without zone, from its carrier unit.
pub fn format_timestamp(value: i64, precision: u8, style: TextStyle, out: &mut String) {
    let (days, seconds, nanos) = split_timestamp(value, precision);
    if style == TextStyle::Row {
        format_date(days, out);
        out.push('T');
        push_two(seconds / 3_600, out);
        out.push(':');
        push_two(seconds / 60 % 60, out);
        return java_seconds(seconds % 60, nanos, out);
    }
    let (year, month, day) = civil_from_days(days);
    let year = if style == TextStyle::Cast { year.rem_euclid(10_000) } else { year };
    let digits = if style == TextStyle::Cast { usize::from(precision.min(9)) } else { significant_digits(nanos) };
    // Put together in place: texts of timestamps are common in json and csv.
    let mut text = *b"0000-00-00 00:00:00.000000000";
    let mut put = |at: usize, value: i64| {
        text[at] = b'0' + (value / 10 % 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    let usual = (0..=9_999).contains(&year);
    if usual {
        put(0, year / 100);
        put(2, year % 100);
        put(5, month);
        put(8, day);
    } else {
        push_civil(year, month, day, out);
    }
    put(11, seconds / 3_600);
    put(14, seconds / 60 % 60);
    put(17, seconds % 60);
    let mut rest = nanos;
    for at in (20..29).rev() {
        if rest == 0 {
            break;
        }
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = if digits > 0 { 20 + digits } else { 19 };
    let start = if usual { 0 } else { 10 };
    out.push_str(std::str::from_utf8(&text[start..end]).unwrap_or_default());
}

/// As Java's `Instant.toString`.
fn format_instant(value: i64, precision: u8, out: &mut String) {
    let (days, seconds, nanos) = split_timestamp(value, precision);
    format_date(days, out);
    out.push('T');
    push_two(seconds / 3_600, out);
    out.push(':');
    push_two(seconds / 60 % 60, out);
    out.push(':');
    push_two(seconds % 60, out);
    if nanos > 0 {
        push_fraction(nanos, significant_digits(nanos).div_ceil(3) * 3, out);
    }
    out.push('Z');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = String::new();
        format_double(value, &mut out);
        out
    }

    #[test]
    fn java_doubles() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (9.99e-4, "9.99E-4"),
            (1e7, "1.0E7"),
            (9999999.0, "9999999.0"),
            (1.23456789125e8, "1.23456789125E8"),
            (f64::MAX, "1.7976931348623157E308"),
            (5e-324, "4.9E-324"),
            (1e21, "1.0E21"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
        let mut out = String::new();
        format_float(3.4028235e38, &mut out);
        out.push(' ');
        format_float(1.6777216e7, &mut out);
        out.push(' ');
        format_float(0.1, &mut out);
        assert_eq!(out, "3.4028235E38 1.6777216E7 0.1");
    }

    #[test]
    fn timestamps() {
        let text = |value, precision, style| {
            let mut out = String::new();
            format_timestamp(value, precision, style, &mut out);
            out
        };
        assert_eq!(text(1_710_072_053_130, 3, TextStyle::Cast), "2024-03-10 12:00:53.130");
        assert_eq!(text(1_710_072_053_130, 3, TextStyle::Sql), "2024-03-10 12:00:53.13");
        assert_eq!(text(1_710_072_053_130, 3, TextStyle::Row), "2024-03-10T12:00:53.130");
        assert_eq!(text(1_710_072_000_000, 3, TextStyle::Row), "2024-03-10T12:00");
        assert_eq!(text(-500, 3, TextStyle::Cast), "1969-12-31 23:59:59.500");
        let mut out = String::new();
        format_date(622_191_233, &mut out);
        assert_eq!(out, "+1705471-09-27");
    }

    proptest! {
        #[test]
        fn doubles_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let text = double(value);
            let back = crate::parse::parse_double(&text).unwrap();
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }
    }
}
