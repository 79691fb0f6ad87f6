//! Texts to values with Flink's rules, without a formatter a row. Shared with the decoders of formats.

use crate::calendar::{MILLIS_PER_DAY, days_from_civil, days_of_month};
use crate::decimal;
use tidemill_common::types::units_per_millisecond;

/// `yyyy-MM-dd[ HH:mm:ss[.fffffffff]]`, month to second also with one digit, to the carrier unit of
/// `TIMESTAMP(precision)`; digits beyond the precision are cut. A day that its month does not have
/// (30 February) becomes its last day, as in Flink.
pub fn parse_timestamp(text: &str, precision: u8) -> Option<i64> {
    parse_local(text.as_bytes(), precision)
}

/// An instant: [`parse_timestamp`]'s form with a `Z` at its end.
pub fn parse_instant(text: &str, precision: u8) -> Option<i64> {
    parse_timestamp(text.strip_suffix('Z')?, precision)
}

/// Reads the timestamps of a JSON column: `yyyy-MM-dd HH:mm:ss[.fffffffff]` with two digits everywhere, or
/// with a `T` as in ISO-8601, where the seconds may be missing; of an instant with a `Z` at its end. The
/// last minute is remembered, as the rows of a stream tend to follow each other in time.
#[derive(Clone, Debug)]
pub struct TimestampReader {
    precision: u8,
    iso: bool,
    instant: bool,
    /// `yyyy-MM-dd HH:mm` of the last text, and the carrier unit's value of its second 0.
    minute: [u8; MINUTE_BYTES],
    minute_start: i64,
}

const MINUTE_BYTES: usize = "yyyy-MM-dd HH:mm".len();

impl TimestampReader {
    /// A reader of `TIMESTAMP(precision)`, or of `TIMESTAMP_LTZ(precision)` with `instant`.
    pub fn new(precision: u8, iso: bool, instant: bool) -> Self {
        let minute = if iso { *b"1970-01-01T00:00" } else { *b"1970-01-01 00:00" };
        Self { precision, iso, instant, minute, minute_start: 0 }
    }

    /// The value in the carrier unit.
    #[inline]
    pub fn read(&mut self, text: &[u8]) -> Option<i64> {
        let text = if self.instant { text.strip_suffix(b"Z")? } else { text };
        let (minute, rest) = text.split_first_chunk::<MINUTE_BYTES>()?;
        if *minute != self.minute {
            self.minute_start = self.start_of(minute)?;
            self.minute = *minute;
        }
        // The form machines write: `:ss.fff` into milliseconds.
        if let [b':', s1, s0, b'.', f2, f1, f0] = rest
            && self.precision == 3
        {
            let digits = [s1, s0, f2, f1, f0].map(|digit| digit.wrapping_sub(b'0'));
            let valid = digits.iter().all(|digit| *digit < 10) && digits[0] < 6;
            let [s1, s0, f2, f1, f0] = digits.map(i64::from);
            return valid.then(|| self.minute_start + s1 * 10_000 + s0 * 1_000 + f2 * 100 + f1 * 10 + f0);
        }
        self.rest(rest)
    }

    fn rest(&self, rest: &[u8]) -> Option<i64> {
        if rest.is_empty() && self.iso {
            return Some(self.minute_start);
        }
        if rest.len() < 3 || rest[0] != b':' {
            return None;
        }
        let second = two(rest, 1).filter(|second| *second < 60)?;
        let unit = 10_i64.pow(9 - u32::from(self.precision.min(9)));
        let nanos = fraction(&rest[3..])? / unit * unit;
        let per_second = units_per_millisecond(self.precision) * 1_000;
        (self.minute_start + second * per_second).checked_add(nanos / (1_000_000_000 / per_second))
    }

    #[cold]
    fn start_of(&self, minute: &[u8; MINUTE_BYTES]) -> Option<i64> {
        let separator = if self.iso { b'T' } else { b' ' };
        if [minute[4], minute[7], minute[10], minute[13]] != [b'-', b'-', separator, b':'] {
            return None;
        }
        let (year, month, day) = (two(minute, 0)? * 100 + two(minute, 2)?, two(minute, 5)?, two(minute, 8)?);
        // Java resolves ISO-8601 local times strictly, the other forms with the month's last day.
        if self.iso && !self.instant && (1..=12).contains(&month) && day > days_of_month(year, month) {
            return None;
        }
        assemble((year, month, day), (two(minute, 11)?, two(minute, 14)?, 0), 0, self.precision)
    }
}

fn two(bytes: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (bytes[at].wrapping_sub(b'0'), bytes[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// One or two digits; the position after them.
fn one_or_two(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let first = bytes.get(at)?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    match bytes.get(at + 1).map(|byte| byte.wrapping_sub(b'0')) {
        Some(second) if second < 10 => Some((i64::from(first * 10 + second), at + 2)),
        _ => Some((i64::from(first), at + 1)),
    }
}

fn parse_local(bytes: &[u8], precision: u8) -> Option<i64> {
    // The form machines write: two digits everywhere.
    if bytes.len() >= 19
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b' '
        && bytes[13] == b':'
        && bytes[16] == b':'
        && let (Some(century), Some(year), Some(month), Some(day)) =
            (two(bytes, 0), two(bytes, 2), two(bytes, 5), two(bytes, 8))
        && let (Some(hour), Some(minute), Some(second)) = (two(bytes, 11), two(bytes, 14), two(bytes, 17))
    {
        let nanos = fraction(&bytes[19..])?;
        return assemble((century * 100 + year, month, day), (hour, minute, second), nanos, precision);
    }
    if bytes.len() < 5 || bytes[4] != b'-' {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    let (month, at) = one_or_two(bytes, 5)?;
    if bytes.get(at) != Some(&b'-') {
        return None;
    }
    let (day, at) = one_or_two(bytes, at + 1)?;
    if at == bytes.len() {
        return assemble((year, month, day), (0, 0, 0), 0, precision);
    }
    if bytes[at] != b' ' {
        return None;
    }
    let (hour, at) = one_or_two(bytes, at + 1)?;
    if bytes.get(at) != Some(&b':') {
        return None;
    }
    let (minute, at) = one_or_two(bytes, at + 1)?;
    if bytes.get(at) != Some(&b':') {
        return None;
    }
    let (second, at) = one_or_two(bytes, at + 1)?;
    let nanos = fraction(&bytes[at..])?;
    assemble((year, month, day), (hour, minute, second), nanos, precision)
}

/// `.digits` to nanoseconds; nothing is 0.
fn fraction(bytes: &[u8]) -> Option<i64> {
    let Some((dot, digits)) = bytes.split_first() else { return Some(0) };
    if *dot != b'.' || digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut nanos = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        nanos = nanos * 10 + i64::from(digit);
    }
    Some(nanos * 10_i64.pow(9 - digits.len() as u32))
}

/// Builds a timestamp in its carrier unit from checked fields.
pub(crate) fn assemble(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
    nanos: i64,
    precision: u8,
) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day = day.min(days_of_month(year, month));
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let unit = 10_i64.pow(9 - u32::from(precision.min(9)));
    let nanos = nanos / unit * unit;
    let per_second = units_per_millisecond(precision) * 1_000;
    seconds.checked_mul(per_second)?.checked_add(nanos / (1_000_000_000 / per_second))
}

/// `yyyy-MM-dd` and nothing else, to days since 1970-01-01. The day must exist.
pub fn parse_date_strict(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    date(year, two(bytes, 5)?, two(bytes, 8)?)
}

fn date(year: i64, month: i64, day: i64) -> Option<i32> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day)).ok()
}

/// What `CAST(text AS DATE)` and `TO_DATE` take: `yyyy[-MM[-dd]]` with blanks around its parts and
/// anything after a blank.
pub fn parse_date(text: &str) -> Option<i32> {
    if let Some(days) = parse_date_strict(text) {
        return Some(days);
    }
    let text = match text.find(' ') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    };
    let number = |part: &str| -> Option<i64> {
        let part = part.trim_matches(|c: char| c <= ' ');
        if part.is_empty() || part.len() > 10 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        part.parse().ok()
    };
    let mut parts = text.splitn(3, '-');
    let year = number(parts.next()?)?;
    let month = parts.next().map_or(Some(1), number)?;
    let day = parts.next().map_or(Some(1), number)?;
    date(year, month, day)
}

/// What `CAST(text AS TIME)` takes: `HH[:mm[:ss[.fff]]]` with an optional offset, to milliseconds of
/// the day.
pub fn parse_time(text: &str) -> Option<i32> {
    let number = |part: &str| -> Option<i64> {
        let part = part.trim_matches(|c: char| c <= ' ');
        if part.is_empty() || part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        part.parse().ok()
    };
    let (text, offset) = match text.find('-').or_else(|| text.find('+')) {
        Some(at) => {
            let zone = &text[at + 1..];
            let (hour, minute) = match zone.split_once(':') {
                Some((hour, minute)) => (number(hour)?, number(minute)?),
                None => (number(zone)?, 0),
            };
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            (&text[..at], sign * (hour * 3_600_000 + minute * 60_000))
        }
        None => (text, 0),
    };
    let mut parts = text.splitn(3, ':');
    let hour = number(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), number)?;
    let (second, milli) = match parts.next() {
        None => (0, 0),
        Some(rest) => match rest.split_once('.') {
            None => (number(rest)?, 0),
            Some((second, digits)) => {
                let mut milli = 0;
                for (index, byte) in digits.trim().bytes().take(3).enumerate() {
                    let digit = byte.wrapping_sub(b'0');
                    milli += i64::from(if digit > 9 { 0 } else { digit }) * [100, 10, 1][index];
                }
                (number(second)?, milli)
            }
        },
    };
    if minute > 59 || second > 59 {
        return None;
    }
    let millis = hour * 3_600_000 + minute * 60_000 + second * 1_000 + milli + offset;
    if (0..MILLIS_PER_DAY).contains(&millis) { Some(millis as i32) } else { None }
}

/// What `CAST(text AS BOOLEAN)` takes, in any case: `true t yes y 1`, `false f no n 0`.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let text = text.trim_matches(' ');
    const TRUE: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const FALSE: [&str; 5] = ["false", "f", "no", "n", "0"];
    if TRUE.iter().any(|known| text.eq_ignore_ascii_case(known)) {
        return Some(true);
    }
    FALSE.iter().any(|known| text.eq_ignore_ascii_case(known)).then_some(false)
}

/// What a cast to an integer type takes: blanks around, a sign, digits; a fraction is checked and cut.
pub fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim_matches(' ');
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for (index, byte) in digits.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => {
                // Built up negative, as the range below zero is larger by one.
                value = value.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))?;
            }
            b'.' => {
                if !digits.as_bytes()[index + 1..].iter().all(u8::is_ascii_digit) {
                    return None;
                }
                break;
            }
            _ => return None,
        }
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// What a cast to DECIMAL takes, rounded half up; `None` if it is not a number or does not fit.
pub fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    parse_decimal_number(text)?.fit(precision, scale)
}

/// The number a text says, before it is fitted into a DECIMAL.
pub fn parse_decimal_number(text: &str) -> Option<decimal::Parsed> {
    decimal::parse(text.trim_matches(|c: char| c <= ' '))
}

/// What a cast to DOUBLE takes: Java's `Double.parseDouble` without hexadecimal forms.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    match text.trim_start_matches(['+', '-']) {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    digits.parse().ok()
}

/// What a cast to FLOAT takes.
pub fn parse_float(text: &str) -> Option<f32> {
    let text = text.trim_matches(|c: char| c <= ' ');
    match text.trim_start_matches(['+', '-']) {
        "NaN" => return Some(f32::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f32::NEG_INFINITY } else { f32::INFINITY }),
        _ => {}
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let ms = |text| parse_timestamp(text, 3);
        assert_eq!(ms("2024-02-03 04:05:06.7"), Some(1_706_933_106_700));
        assert_eq!(ms("2024-02-03 4:5:6"), Some(1_706_933_106_000));
        assert_eq!(ms("2024-2-3"), Some(1_706_918_400_000));
        assert_eq!(ms("2024-02-30"), ms("2024-02-29"));
        assert_eq!(ms("1969-12-31 23:59:59.5"), Some(-500));
        assert_eq!(ms("0001-01-01"), Some(-62_135_596_800_000));
        for bad in [
            "2024-02-03 04:05",
            "2024-02-03T04:05:06",
            " 2024-02-03 ",
            "20240203",
            "2024-02-03 25:00:00",
            "",
            "12024-01-01",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
        assert_eq!(parse_instant("2024-02-03 04:05:06Z", 3), Some(1_706_933_106_000));
    }

    #[test]
    fn readers_of_columns_take_the_strict_forms_only() {
        let mut sql = TimestampReader::new(3, false, false);
        for text in [
            "2024-02-03 04:05:06.7",
            "2024-02-03 04:05:06",
            "2024-02-03 04:05:59.123",
            "2024-02-03 04:06:00.999",
            "2024-02-30 04:06:00.9999",
            "1969-12-31 23:59:59.5",
            "0001-01-01 00:00:00.000",
        ] {
            assert_eq!(sql.read(text.as_bytes()), parse_timestamp(text, 3), "{text}");
            assert!(parse_timestamp(text, 3).is_some());
        }
        for bad in [
            "2024-02-03",
            "2024-02-03 04:05",
            "2024-02-03 04:05:60",
            "2024-02-03 04:05:60.000",
            "2024-02-03 04:05:0x.000",
            "2024-02-03 4:05:06.000",
            "2024-02-03 04:05:6.00",
            "2024-02-03T04:05:06",
            "2024-13-03 04:05:06",
            "2024-02-03 24:05:06",
            "2024-02-03 04:05:06Z",
            "2024-02-03 04:05:06.1234567891",
            "",
        ] {
            assert_eq!(sql.read(bad.as_bytes()), None, "{bad}");
        }
        let mut nanos = TimestampReader::new(9, true, false);
        assert_eq!(nanos.read(b"2024-02-03T04:05:06.789123"), Some(1_706_933_106_789_123_000));
        assert_eq!(nanos.read(b"2024-02-03T04:05"), Some(1_706_933_100_000_000_000));
        assert_eq!(nanos.read(b"2024-02-30T04:05:06"), None);
        let mut instant = TimestampReader::new(3, false, true);
        assert_eq!(instant.read(b"2024-02-03 04:05:06.789Z"), Some(1_706_933_106_789));
        assert_eq!(instant.read(b"2024-02-03 04:05:06.789"), None);
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(parse_date("2024-02-03 25:00:00"), parse_date_strict("2024-02-03"));
        assert_eq!(parse_date(" 2024-02-03 "), parse_date_strict("2024-02-03"));
        assert_eq!(parse_date("2024-02-30"), None);
        assert_eq!(parse_date("\t12\n"), parse_date_strict("0012-01-01"));
        assert_eq!(parse_date("-129"), None);
        assert_eq!(parse_time("4:5:6"), Some(14_706_000));
        assert_eq!(parse_time("1"), Some(3_600_000));
        assert_eq!(parse_time("24:00:00"), None);
        assert_eq!(parse_time("2024-02"), None);
        assert_eq!(parse_time("2024"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_integer(" -1 "), Some(-1));
        assert_eq!(parse_integer("\t12\n"), None);
        assert_eq!(parse_integer("6."), Some(6));
        assert_eq!(parse_integer(".5"), Some(0));
        assert_eq!(parse_integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_integer("9223372036854775808"), None);
        assert_eq!(parse_integer("0x1F"), None);
        assert_eq!(parse_decimal(".5", 3, 0), Some(1));
        assert_eq!(parse_decimal("1e3", 8, 2), Some(100_000));
        assert_eq!(parse_decimal("99999999999999999999", 8, 2), None);
        assert_eq!(parse_double("1e3"), Some(1000.0));
        assert_eq!(parse_double("inf"), None);
        assert_eq!(parse_boolean("TRUE"), Some(true));
        assert_eq!(parse_boolean("off"), None);
    }
}
