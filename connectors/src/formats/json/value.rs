//! JSON values to values of columns, with Flink's leniencies.

use tidemill_common::types::LogicalType;
use tidemill_expr::parse;

use super::base64;
use super::compact::compact;
use super::decode::field_name;
use super::scan::{Cursor, Fault, is_number, is_word, unescape};
use crate::formats::columns::{Column, Data};

/// Deepest nesting of a column's type and value.
const VALUE_DEPTH_MAX: usize = 64;

/// How values are read.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub ignore_errors: bool,
    pub fail_on_missing: bool,
    /// Whether numbers inside a text of a nested value are kept as they are. In Flink a DECIMAL anywhere in
    /// the table does that; without one they are doubles.
    pub exact_numbers: bool,
}

/// Reads one value into a column. A value of a wrong type becomes NULL when errors are ignored.
#[inline]
pub(crate) fn read_value(
    cursor: &mut Cursor<'_>,
    column: &mut Column,
    settings: Settings,
    depth: usize,
) -> Result<(), Fault> {
    cursor.skip_space();
    let start = cursor.at;
    // The common cases, which are most of what is read.
    match &mut column.data {
        Data::I64(values) => {
            if let Some(value) = small_integer(cursor) {
                values.push(value);
                column.validity.push(true);
                return Ok(());
            }
        }
        Data::Text { bytes, ends } if cursor.peek() == b'"' => {
            cursor.at += 1;
            let (raw, escaped) = cursor.string()?;
            if escaped {
                unescape(raw, bytes)?;
            } else {
                bytes.extend_from_slice(raw);
            }
            ends.push(end(bytes.len())?);
            column.validity.push(true);
            return Ok(());
        }
        Data::Timestamp { values, reader } if cursor.peek() == b'"' => {
            cursor.at += 1;
            let (raw, escaped) = cursor.string()?;
            if !escaped && let Some(value) = reader.read(raw) {
                values.push(value);
                column.validity.push(true);
                return Ok(());
            }
            cursor.at = start;
        }
        _ => {}
    }
    any_value(cursor, column, settings, depth)
}

fn any_value(cursor: &mut Cursor<'_>, column: &mut Column, settings: Settings, depth: usize) -> Result<(), Fault> {
    let (start, before) = (cursor.at, column.len());
    match strict_value(cursor, column, settings, depth) {
        Err(Fault::Field(_)) if settings.ignore_errors => {
            cursor.at = start;
            cursor.skip_value()?;
            column.truncate(before);
            column.push_null();
            Ok(())
        }
        other => other,
    }
}

fn strict_value(cursor: &mut Cursor<'_>, column: &mut Column, settings: Settings, depth: usize) -> Result<(), Fault> {
    if cursor.peek() == b'n' {
        if cursor.word() != b"null" {
            return Err(cursor.broken("a value"));
        }
        column.push_null();
        return Ok(());
    }
    match &mut column.data {
        Data::List { item, ends } => {
            open(cursor, b'[', "an array", depth)?;
            if !cursor.accept(b']') {
                loop {
                    read_value(cursor, item, settings, depth + 1)?;
                    if cursor.accept(b',') {
                        continue;
                    }
                    if cursor.accept(b']') {
                        break;
                    }
                    return Err(cursor.broken("',' or ']'"));
                }
            }
            ends.push(end(item.len())?);
        }
        Data::Map { key, value, ends } => {
            open(cursor, b'{', "an object", depth)?;
            map(cursor, key, value, settings, depth)?;
            ends.push(end(key.len())?);
        }
        Data::Row { names, fields } => {
            open(cursor, b'{', "an object", depth)?;
            row(cursor, names, fields, column.validity.len(), settings, depth)?;
        }
        _ => return scalar(cursor, column, settings),
    }
    column.validity.push(true);
    Ok(())
}

fn open(cursor: &mut Cursor<'_>, byte: u8, what: &str, depth: usize) -> Result<(), Fault> {
    if depth > VALUE_DEPTH_MAX {
        return Err(Fault::Record(format!("nested more than {VALUE_DEPTH_MAX} levels deep")));
    }
    if cursor.accept(byte) {
        return Ok(());
    }
    Err(Fault::Field(match cursor.peek() {
        b'{' => format!("expected {what}, found an object"),
        b'[' => format!("expected {what}, found an array"),
        b'"' => format!("expected {what}, found a string"),
        _ => format!("expected {what}, found {}", String::from_utf8_lossy(cursor.word())),
    }))
}

/// The entries of an object, behind its bracket.
fn map(
    cursor: &mut Cursor<'_>,
    keys: &mut Column,
    values: &mut Column,
    settings: Settings,
    depth: usize,
) -> Result<(), Fault> {
    let before = keys.len();
    // Where the value of each name begins.
    let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
    if cursor.accept(b'}') {
        return Ok(());
    }
    loop {
        let name = field_name(cursor)?;
        map_key(keys, &name)?;
        entries.push((name.into_owned(), cursor.at));
        read_value(cursor, values, settings, depth + 1)?;
        if cursor.accept(b',') {
            continue;
        }
        if cursor.accept(b'}') {
            break;
        }
        return Err(cursor.broken("',' or '}'"));
    }
    let behind = cursor.at;
    let mut names: Vec<&[u8]> = entries.iter().map(|(name, _)| name.as_slice()).collect();
    names.sort_unstable();
    if names.windows(2).all(|pair| pair[0] != pair[1]) {
        return Ok(());
    }
    // A name comes again: its last value counts. The entries are read once more, without the others.
    keys.truncate(before);
    values.truncate(before);
    for (index, (name, at)) in entries.iter().enumerate() {
        if entries[index + 1..].iter().all(|(later, _)| later != name) {
            map_key(keys, name)?;
            cursor.at = *at;
            read_value(cursor, values, settings, depth + 1)?;
        }
    }
    cursor.at = behind;
    Ok(())
}

fn map_key(column: &mut Column, name: &[u8]) -> Result<(), Fault> {
    // Records are UTF-8 as a whole, and so are their names.
    text_value(std::str::from_utf8(name).unwrap_or_default(), column)
}

/// The fields of an object, behind its bracket.
fn row(
    cursor: &mut Cursor<'_>,
    names: &[String],
    fields: &mut [Column],
    before: usize,
    settings: Settings,
    depth: usize,
) -> Result<(), Fault> {
    if !cursor.accept(b'}') {
        loop {
            let name = field_name(cursor)?;
            match names.iter().position(|known| known.as_bytes() == &*name) {
                Some(index) => {
                    fields[index].truncate(before);
                    read_value(cursor, &mut fields[index], settings, depth + 1).map_err(|fault| match fault {
                        Fault::Field(reason) => Fault::Field(format!("in '{}': {reason}", names[index])),
                        other => other,
                    })?;
                }
                None => cursor.skip_value()?,
            }
            if cursor.accept(b',') {
                continue;
            }
            if cursor.accept(b'}') {
                break;
            }
            return Err(cursor.broken("',' or '}'"));
        }
    }
    for (field, name) in fields.iter_mut().zip(names) {
        if field.len() == before {
            if settings.fail_on_missing {
                return Err(Fault::Field(format!("'{name}' is missing")));
            }
            field.push_null();
        }
    }
    Ok(())
}

fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Record("a batch has more than 2 GiB in one column".to_owned()))
}

/// A whole number of up to 18 digits, if one comes next and ends there; else nothing is consumed.
#[inline(always)]
fn small_integer(cursor: &mut Cursor<'_>) -> Option<i64> {
    let negative = cursor.peek() == b'-';
    let first = cursor.at + usize::from(negative);
    let mut at = first;
    let mut value: u64 = 0;
    while let Some(digit @ 0..=9) = cursor.bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    let digits = at - first;
    let delimited = matches!(cursor.bytes.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'));
    if !delimited || !(1..=18).contains(&digits) || (digits > 1 && cursor.bytes[first] == b'0') {
        return None;
    }
    cursor.at = at;
    Some(if negative { -(value as i64) } else { value as i64 })
}

/// A number as an integer; a fraction is cut, as in Flink.
fn number_to_integer(text: &str) -> Result<i64, Fault> {
    /// 2 to the power of 63.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if let Ok(value) = text.parse::<i64>() {
        return Ok(value);
    }
    let fraction = text.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(value) if fraction && (-BEYOND..=BEYOND).contains(&value) => Ok(value as i64),
        _ => Err(Fault::Field(format!("{text} does not fit"))),
    }
}

/// A value for a column of a scalar type, but for the commonest.
fn scalar(cursor: &mut Cursor<'_>, column: &mut Column, settings: Settings) -> Result<(), Fault> {
    match cursor.peek() {
        b'"' => {
            cursor.at += 1;
            let (raw, escaped) = cursor.string()?;
            let mut owned = Vec::new();
            let text = if escaped {
                unescape(raw, &mut owned)?;
                &owned
            } else {
                raw
            };
            // Records are UTF-8 as a whole, and so are their strings.
            text_value(std::str::from_utf8(text).unwrap_or_default(), column)
        }
        b'{' | b'[' => {
            let start = cursor.at;
            cursor.skip_value()?;
            match &mut column.data {
                // Whatever is not the text `true` is false, as in Flink.
                Data::Boolean(values) => {
                    values.push(false);
                    column.validity.push(true);
                    Ok(())
                }
                // A STRING column takes any value as its JSON text.
                Data::Text { .. } => {
                    text_value(&compact(&cursor.bytes[start..cursor.at], settings.exact_numbers)?, column)
                }
                _ => Err(Fault::Field(format!("expected {}, found a nested value", column.logical))),
            }
        }
        _ => {
            let word = cursor.word();
            if !is_word(word) {
                cursor.at -= word.len();
                return Err(cursor.broken("a value"));
            }
            word_value(std::str::from_utf8(word).unwrap_or_default(), is_number(word), column)
        }
    }
}

/// A number, `true` or `false`.
fn word_value(text: &str, number: bool, column: &mut Column) -> Result<(), Fault> {
    let out_of_range = |_| Fault::Field(format!("{text} does not fit"));
    match &mut column.data {
        Data::Boolean(values) => values.push(text == "true"),
        Data::I64(values) if number => values.push(number_to_integer(text)?),
        Data::I32(values) if number => {
            values.push(i32::try_from(number_to_integer(text)?).map_err(out_of_range)?);
        }
        Data::Bytes { .. } => return Err(Fault::Field(format!("expected base64 in a string, found {text}"))),
        _ => return text_value(text, column),
    }
    column.validity.push(true);
    Ok(())
}

/// A value that is written as text, for a column of any scalar type.
pub(crate) fn text_value(text: &str, column: &mut Column) -> Result<(), Fault> {
    let logical = &column.logical;
    let wrong = || Fault::Field(format!("'{text}' is no {logical}"));
    match &mut column.data {
        Data::Null => {}
        Data::Boolean(values) => values.push(text.trim().eq_ignore_ascii_case("true")),
        Data::I8(values) => values.push(text.trim().parse().map_err(|_| wrong())?),
        Data::I16(values) => values.push(text.trim().parse().map_err(|_| wrong())?),
        Data::I32(values) => values.push(text.trim().parse().map_err(|_| wrong())?),
        Data::I64(values) => values.push(text.trim().parse().map_err(|_| wrong())?),
        Data::Date(values) => values.push(parse::parse_date_strict(text).ok_or_else(wrong)?),
        // The end of a day is taken for its beginning.
        Data::Time(values) if text == "24:00:00" => values.push(0),
        Data::Time(values) => values.push(strict_time(text, false).ok_or_else(wrong)?),
        Data::Timestamp { values, reader } => values.push(reader.read(text.as_bytes()).ok_or_else(wrong)?),
        Data::F32(values) => values.push(parse::parse_float(text).ok_or_else(wrong)?),
        Data::F64(values) => values.push(parse::parse_double(text).ok_or_else(wrong)?),
        Data::Decimal(values) => {
            let LogicalType::Decimal(precision, scale) = logical else { return Err(wrong()) };
            // A number that does not fit is NULL, as in Flink.
            match parse::parse_decimal_number(text).ok_or_else(wrong)?.fit(*precision, *scale) {
                Some(value) => values.push(value),
                None => {
                    column.push_null();
                    return Ok(());
                }
            }
        }
        Data::Text { bytes, ends } => {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(end(bytes.len())?);
        }
        Data::Bytes { bytes, ends } => {
            base64::decode(text.as_bytes(), bytes).ok_or_else(wrong)?;
            ends.push(end(bytes.len())?);
        }
        Data::List { .. } | Data::Map { .. } | Data::Row { .. } => return Err(wrong()),
    }
    column.validity.push(true);
    Ok(())
}

/// `HH:mm:ss[.fffffffff]` with two digits everywhere, in milliseconds of the day; with
/// `seconds_optional` also `HH:mm`.
pub(crate) fn strict_time(text: &str, seconds_optional: bool) -> Option<i32> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let form = |separator: u8, byte: u8, index: usize| {
        if index % 3 == 2 { byte == separator } else { byte.is_ascii_digit() }
    };
    let strict = clock.bytes().enumerate().all(|(index, byte)| form(b':', byte, index))
        && (clock.len() == 8 || (seconds_optional && text.len() == 5));
    let fits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if strict && fits { parse::parse_time(text) } else { None }
}
