//! The text of a nested value as Jackson's tree prints it, for STRING columns that are given one.

use tidemill_expr::format::format_double;

use super::encode::push_string;
use super::scan::{Cursor, Fault, unescape};

/// Writes a value that was checked before without white space, strings with the escapes they need, and
/// numbers with a fraction or an exponent as Java prints a double, or, if `exact`, a `BigDecimal` without
/// zeros at its end.
pub(crate) fn compact(text: &[u8], exact: bool) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut cursor = Cursor::new(text);
    let mut unescaped = Vec::new();
    loop {
        cursor.skip_space();
        match text.get(cursor.at) {
            None => return Ok(out),
            Some(b'"') => {
                cursor.at += 1;
                let (raw, escaped) = cursor.string()?;
                let inside = if escaped {
                    unescaped.clear();
                    unescape(raw, &mut unescaped)?;
                    &unescaped
                } else {
                    raw
                };
                // Records are UTF-8 as a whole, and so are their strings.
                push_string(std::str::from_utf8(inside).unwrap_or_default(), false, &mut out);
            }
            Some(byte @ (b'{' | b'}' | b'[' | b']' | b',' | b':')) => {
                out.push(char::from(*byte));
                cursor.at += 1;
            }
            Some(_) => {
                let word = std::str::from_utf8(cursor.word()).unwrap_or_default();
                let fraction = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
                match word.parse() {
                    Ok(_) if exact && fraction && word.contains(['.', 'e', 'E']) => push_stripped(word, &mut out),
                    Ok(value) if fraction && word.contains(['.', 'e', 'E']) => format_double(value, &mut out),
                    _ => out.push_str(word),
                }
            }
        }
    }
}

/// A JSON number as `new BigDecimal(text).stripTrailingZeros().toString()` gives it.
fn push_stripped(number: &str, out: &mut String) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = integer.starts_with('-');
    let digits = format!("{}{fraction}", integer.trim_start_matches('-'));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let kept = digits.trim_start_matches('0').trim_end_matches('0');
    if kept.is_empty() {
        out.push('0');
        return;
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let scale = (fraction.len() as i64).saturating_sub(exponent).saturating_sub(zeros as i64);
    let adjusted = (kept.len() as i64 - 1).saturating_sub(scale);
    if negative {
        out.push('-');
    }
    if scale == 0 {
        out.push_str(kept);
    } else if scale > 0 && adjusted >= -6 {
        let point = kept.len() as i64 - scale;
        match usize::try_from(point).ok().filter(|point| *point > 0) {
            Some(point) => {
                out.push_str(&kept[..point]);
                out.push('.');
                out.push_str(&kept[point..]);
            }
            None => {
                out.push_str("0.");
                out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
                out.push_str(kept);
            }
        }
    } else {
        out.push_str(&kept[..1]);
        if kept.len() > 1 {
            out.push('.');
            out.push_str(&kept[1..]);
        }
        out.push_str(if adjusted < 0 { "E" } else { "E+" });
        out.push_str(&adjusted.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_are_those_of_big_decimal() {
        let cases = [
            ("1.0", "1"),
            ("1e5", "1E+5"),
            ("-0.0", "0"),
            ("12345678901234567890.50", "12345678901234567890.5"),
            ("-1.25e-3", "-0.00125"),
            ("1e-7", "1E-7"),
            ("0.000001", "0.000001"),
            ("0.00000012", "1.2E-7"),
            ("1.5e1", "15"),
            ("120.0e0", "1.2E+2"),
            ("1e99999999999999999999", "1"),
        ];
        for (number, text) in cases {
            let array = format!("[{number}, 10]");
            assert_eq!(compact(array.as_bytes(), true).unwrap(), format!("[{text},10]"), "{number}");
        }
        assert_eq!(compact(b"[1.0, 1e5]", false).unwrap(), "[1.0,100000.0]");
    }
}
