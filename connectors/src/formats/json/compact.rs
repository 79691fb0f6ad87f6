//! The text of a nested value as Jackson's tree prints it, for STRING columns that are given one.

use tidemill_expr::format::format_double;

use super::encode::push_string;
use super::scan::{Cursor, Fault, unescape};

/// Writes a value that was checked before without white space, strings with the escapes they need,
/// and numbers with a fraction as Java prints a double.
pub(crate) fn compact(text: &[u8]) -> Result<String, Fault> {
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
                    Ok(value) if fraction && word.contains(['.', 'e', 'E']) => format_double(value, &mut out),
                    _ => out.push_str(word),
                }
            }
        }
    }
}
