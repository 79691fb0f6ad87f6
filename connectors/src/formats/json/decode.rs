//! JSON to columns. Only projected fields are materialised; the others are passed over.
//!
//! Records of one source tend to have the same fields in the same order. The decoder remembers the
//! fields of the record before, as the bytes `"name":`, and where their values go; a field is then
//! found by one comparison.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::parse;

use super::TimestampFormat;
use super::scan::{Cursor, Fault, is_number, unescape};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Slab};
use crate::formats::columns::{Column, Data};
use crate::formats::{Faults, Records};

/// Most fields of a record whose order is remembered.
const REMEMBERED_FIELDS_MAX: usize = 256;
/// Deepest nesting of a column's type and value.
const VALUE_DEPTH_MAX: usize = 64;

/// Decodes JSON objects.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    names: Vec<Vec<u8>>,
    /// Fields of the record before: `"name":` and the column it goes to.
    remembered: Vec<(Vec<u8>, Option<usize>)>,
    settings: Settings,
    rows: usize,
    /// Records since the last `take`.
    records: u64,
    /// Lines of the current slab before the position of the next call.
    slab_lines: u64,
    faults: Faults,
    metrics: Arc<ConnectorMetrics>,
}

/// How values are read.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub timestamps: TimestampFormat,
    pub ignore_errors: bool,
    pub fail_on_missing: bool,
}

impl JsonDecoder {
    pub fn new(schema: &Schema, settings: Settings, faults: Faults, metrics: Arc<ConnectorMetrics>) -> Self {
        Self {
            schema: schema.to_arrow(),
            columns: schema.fields.iter().map(|field| Column::new(&field.data_type)).collect(),
            names: schema.fields.iter().map(|field| field.name.clone().into_bytes()).collect(),
            remembered: Vec::new(),
            settings,
            rows: 0,
            records: 0,
            slab_lines: 0,
            faults,
            metrics,
        }
    }

    /// Reads one record into the columns.
    #[inline]
    fn record(&mut self, record: &[u8]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(record);
        if !cursor.accept(b'{') {
            return Err(cursor.broken("'{'"));
        }
        if !cursor.accept(b'}') {
            let mut field = 0;
            loop {
                self.field(&mut cursor, field)?;
                field += 1;
                if cursor.accept(b',') {
                    continue;
                }
                if cursor.accept(b'}') {
                    break;
                }
                return Err(cursor.broken("',' or '}'"));
            }
        }
        // Text behind the object is not looked at, as in Flink.
        let rows = self.rows;
        for (column, name) in self.columns.iter_mut().zip(&self.names) {
            if column.len() == rows {
                if self.settings.fail_on_missing {
                    let name = String::from_utf8_lossy(name);
                    return Err(Fault::Record(format!("field '{name}' is missing")));
                }
                column.push_null();
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Reads one field; `position` counts the fields of the record.
    #[inline]
    fn field(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<(), Fault> {
        let target = match self.remembered.get(position) {
            Some((pattern, target)) if cursor.bytes[cursor.at..].starts_with(pattern) => {
                cursor.at += pattern.len();
                *target
            }
            _ => self.unexpected_field(cursor, position)?,
        };
        let Some(target) = target else { return cursor.skip_value() };
        let column = &mut self.columns[target];
        if column.len() > self.rows {
            // The name comes again: the last value counts.
            column.truncate(self.rows);
        }
        let (start, before) = (cursor.at, column.len());
        match value(cursor, column, self.settings, 0) {
            Err(Fault::Field(_)) if self.settings.ignore_errors => {
                cursor.at = start;
                cursor.skip_value()?;
                column.truncate(before);
                column.push_null();
                Ok(())
            }
            Err(Fault::Field(reason)) => {
                let name = String::from_utf8_lossy(&self.names[target]);
                Err(Fault::Record(format!("field '{name}': {reason}")))
            }
            other => other,
        }
    }

    #[cold]
    fn unexpected_field(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<Option<usize>, Fault> {
        cursor.skip_space();
        let start = cursor.at;
        let name = field_name(cursor)?;
        let target = self.names.iter().position(|known| *known == *name);
        if position < REMEMBERED_FIELDS_MAX {
            let entry = (cursor.bytes[start..cursor.at].to_vec(), target);
            let known = self.remembered.len();
            match self.remembered.get_mut(position) {
                Some(remembered) => *remembered = entry,
                None if known == position => self.remembered.push(entry),
                None => {}
            }
        }
        Ok(target)
    }

    fn take_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }
}

/// A field's name with its colon, from the opening quote.
fn field_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Fault> {
    if !cursor.accept(b'"') {
        return Err(cursor.broken("a field name"));
    }
    let (raw, escaped) = cursor.string()?;
    if !cursor.accept(b':') {
        return Err(cursor.broken("':'"));
    }
    if !escaped {
        return Ok(Cow::Borrowed(raw));
    }
    let mut name = Vec::new();
    unescape(raw, &mut name)?;
    Ok(Cow::Owned(name))
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        if from == 0 {
            self.slab_lines = 0;
        }
        let mut records = Records::new(slab, from, self.slab_lines);
        while self.rows < max_rows {
            let number = records.number;
            let Some(record) = records.next() else { break };
            self.records += 1;
            // An empty line between records holds nothing; an empty message is no JSON.
            if slab.ends.is_none() && record.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if let Err(fault) = self.record(record) {
                self.take_back();
                if !self.faults.ignore {
                    let (Fault::Field(reason) | Fault::Record(reason)) = fault;
                    return Err(self.faults.malformed(slab, number, record, reason));
                }
                self.metrics.records_skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.slab_lines = records.number;
        Ok(records.at)
    }

    fn pending_rows(&self) -> usize {
        self.rows
    }

    fn pending_records(&self) -> u64 {
        self.records
    }

    fn take(&mut self) -> Result<RecordBatch, ConnectorError> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::take).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.records = 0;
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| ConnectorError::Internal { connector: "json", reason: error.to_string() })
    }
}

/// Reads one value into a column.
#[inline]
fn value(cursor: &mut Cursor<'_>, column: &mut Column, settings: Settings, depth: usize) -> Result<(), Fault> {
    cursor.skip_space();
    let first = cursor.peek();
    match &mut column.data {
        // The common cases first: a string into a string column, a number into an integer column.
        Data::Bytes { bytes, ends } if first == b'"' && column.logical.is_string() => {
            cursor.at += 1;
            let (raw, escaped) = cursor.string()?;
            let before = bytes.len();
            if escaped {
                unescape(raw, bytes)?;
            } else {
                bytes.extend_from_slice(raw);
            }
            if !raw.is_ascii() && std::str::from_utf8(&bytes[before..]).is_err() {
                return Err(Fault::Record("not JSON: a string is not UTF-8".to_owned()));
            }
            ends.push(end(bytes.len())?);
        }
        Data::I64(values) if matches!(first, b'0'..=b'9' | b'-') && column.logical == LogicalType::BigInt => {
            values.push(integer(cursor)?);
        }
        _ if first == b'n' => {
            if cursor.word() != b"null" {
                return Err(cursor.broken("a value"));
            }
            column.push_null();
            return Ok(());
        }
        Data::I64(_)
        | Data::I32(_)
        | Data::I16(_)
        | Data::I8(_)
        | Data::F32(_)
        | Data::F64(_)
        | Data::Decimal(_)
        | Data::Boolean(_)
        | Data::Bytes { .. }
        | Data::Null => return scalar(cursor, column, settings),
        Data::List { item, ends } => {
            open(cursor, b'[', "an array", depth)?;
            if !cursor.accept(b']') {
                loop {
                    value(cursor, item, settings, depth + 1)?;
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
        Data::Map { key, value: values, ends } => {
            open(cursor, b'{', "an object", depth)?;
            if !cursor.accept(b'}') {
                loop {
                    let name = field_name(cursor)?.into_owned();
                    map_key(key, &name, settings)?;
                    value(cursor, values, settings, depth + 1)?;
                    if cursor.accept(b',') {
                        continue;
                    }
                    if cursor.accept(b'}') {
                        break;
                    }
                    return Err(cursor.broken("',' or '}'"));
                }
            }
            ends.push(end(key.len())?);
        }
        Data::Row { names, fields } => {
            open(cursor, b'{', "an object", depth)?;
            row(cursor, names, fields, column.validity.len(), settings, depth)?;
        }
    }
    column.validity.push(true);
    Ok(())
}

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
                    value(cursor, &mut fields[index], settings, depth + 1)?;
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
    for field in fields {
        if field.len() == before {
            field.push_null();
        }
    }
    Ok(())
}

fn open(cursor: &mut Cursor<'_>, byte: u8, what: &str, depth: usize) -> Result<(), Fault> {
    if depth > VALUE_DEPTH_MAX {
        return Err(Fault::Record(format!("nested more than {VALUE_DEPTH_MAX} levels deep")));
    }
    if cursor.accept(byte) {
        return Ok(());
    }
    let found = String::from_utf8_lossy(cursor.word()).into_owned();
    Err(Fault::Field(format!("expected {what}, found {found}")))
}

fn map_key(column: &mut Column, name: &[u8], settings: Settings) -> Result<(), Fault> {
    let text = std::str::from_utf8(name).map_err(|_| Fault::Record("not JSON: a name is not UTF-8".to_owned()))?;
    text_value(text, column, settings)
}

fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Record("a batch has more than 2 GiB in one column".to_owned()))
}

/// A number for a BIGINT column.
#[inline(always)]
fn integer(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let start = cursor.at;
    let negative = cursor.peek() == b'-';
    let mut at = start + usize::from(negative);
    let mut value: u64 = 0;
    let digits_start = at;
    while let Some(byte @ b'0'..=b'9') = cursor.bytes.get(at) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    let digits = at - digits_start;
    let delimited = matches!(cursor.bytes.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'));
    let leading_zero = digits > 1 && cursor.bytes[digits_start] == b'0';
    if (1..=18).contains(&digits) && delimited && !leading_zero {
        cursor.at = at;
        return Ok(if negative { -(value as i64) } else { value as i64 });
    }
    let word = cursor.word();
    if !is_number(word) {
        cursor.at = start;
        return Err(cursor.broken("a number"));
    }
    number_to_integer(word)
}

/// Integers of any size, and numbers with a fraction, which is cut as in Flink.
#[cold]
fn number_to_integer(word: &[u8]) -> Result<i64, Fault> {
    let text = String::from_utf8_lossy(word);
    if let Ok(value) = text.parse::<i64>() {
        return Ok(value);
    }
    let out_of_range = || Fault::Field(format!("{text} does not fit"));
    if !text.contains(['.', 'e', 'E']) {
        return Err(out_of_range());
    }
    let value: f64 = text.parse().map_err(|_| out_of_range())?;
    if value.abs() < 9.3e18 { Ok(value as i64) } else { Err(out_of_range()) }
}

/// A scalar that is not the common case: by its text.
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
            let text =
                std::str::from_utf8(text).map_err(|_| Fault::Record("not JSON: a string is not UTF-8".to_owned()))?;
            text_value(text, column, settings)
        }
        b'{' | b'[' => {
            let start = cursor.at;
            cursor.skip_value()?;
            let text = &cursor.bytes[start..cursor.at];
            if let Data::Boolean(values) = &mut column.data {
                // As in Flink: whatever is not the text `true` is false.
                values.push(false);
                column.validity.push(true);
                return Ok(());
            }
            if !column.logical.is_string() {
                return Err(Fault::Field(format!("expected {}, found a nested value", column.logical)));
            }
            // A STRING column takes any value as its JSON text, written compactly.
            let compact = compact(text)?;
            text_value(&compact, column, settings)
        }
        _ => {
            let word = cursor.word();
            if !super::scan::is_word(word) {
                cursor.at -= word.len();
                return Err(cursor.broken("a value"));
            }
            let text = std::str::from_utf8(word).unwrap_or_default();
            let number = is_number(word);
            match &mut column.data {
                Data::Boolean(values) => values.push(text == "true"),
                Data::I64(values) if number && column.logical == LogicalType::BigInt => {
                    values.push(number_to_integer(word)?);
                }
                Data::I32(values) if number && column.logical == LogicalType::Int => {
                    values.push(narrow(number_to_integer(word)?, text)?);
                }
                Data::I16(values) if number => values.push(narrow(number_to_integer(word)?, text)?),
                Data::I8(values) if number => values.push(narrow(number_to_integer(word)?, text)?),
                _ => return text_value(text, column, settings),
            }
            column.validity.push(true);
            Ok(())
        }
    }
}

fn narrow<T: TryFrom<i64>>(value: i64, text: &str) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| Fault::Field(format!("{text} does not fit")))
}

/// A nested value without white space between its tokens.
fn compact(text: &[u8]) -> Result<String, Fault> {
    let mut out = Vec::with_capacity(text.len());
    let mut cursor = Cursor::new(text);
    while cursor.at < text.len() {
        match cursor.peek() {
            b'"' => {
                let start = cursor.at;
                cursor.at += 1;
                cursor.string()?;
                out.extend_from_slice(&text[start..cursor.at]);
            }
            b' ' | b'\t' | b'\r' | b'\n' => cursor.at += 1,
            byte => {
                out.push(byte);
                cursor.at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| Fault::Record("not JSON: a string is not UTF-8".to_owned()))
}

/// A value that is written as text, for a column of any scalar type.
pub(crate) fn text_value(text: &str, column: &mut Column, settings: Settings) -> Result<(), Fault> {
    let wrong = |logical: &LogicalType| Fault::Field(format!("'{text}' is no {logical}"));
    let logical = &column.logical;
    // A cast takes a date alone or a time without seconds; the formats do not.
    if logical.is_timestamp() && settings.timestamps == TimestampFormat::Sql && text.as_bytes().get(16) != Some(&b':') {
        return Err(wrong(logical));
    }
    match &mut column.data {
        Data::Null => {}
        Data::Boolean(values) => values.push(text.trim().eq_ignore_ascii_case("true")),
        Data::I8(values) => values.push(trimmed(text, logical)?),
        Data::I16(values) => values.push(trimmed(text, logical)?),
        Data::I32(values) => values.push(match logical {
            LogicalType::Date => parse::parse_date_strict(text).ok_or_else(|| wrong(logical))?,
            LogicalType::Time(_) => parse::parse_time(text.trim_end_matches('Z')).ok_or_else(|| wrong(logical))?,
            _ => trimmed(text, logical)?,
        }),
        Data::I64(values) => values.push(match logical {
            LogicalType::Timestamp(precision) => match settings.timestamps {
                TimestampFormat::Sql => parse::parse_timestamp(text, *precision),
                TimestampFormat::Iso8601 => parse::parse_timestamp_iso(text, *precision),
            }
            .ok_or_else(|| wrong(logical))?,
            LogicalType::TimestampLtz(precision) => match settings.timestamps {
                TimestampFormat::Sql => parse::parse_instant(text, *precision),
                TimestampFormat::Iso8601 => parse::parse_instant_iso(text, *precision),
            }
            .ok_or_else(|| wrong(logical))?,
            _ => trimmed(text, logical)?,
        }),
        Data::F32(values) => values.push(parse::parse_float(text.trim()).ok_or_else(|| wrong(logical))?),
        Data::F64(values) => values.push(parse::parse_double(text.trim()).ok_or_else(|| wrong(logical))?),
        Data::Decimal(values) => {
            let LogicalType::Decimal(precision, scale) = logical else { return Err(wrong(logical)) };
            if parse::parse_decimal_number(text).is_none() {
                return Err(wrong(logical));
            }
            // A number that does not fit is NULL, as in Flink.
            match parse::parse_decimal(text, *precision, *scale) {
                Some(value) => values.push(value),
                None => {
                    column.push_null();
                    return Ok(());
                }
            }
        }
        Data::Bytes { bytes, ends } => {
            if logical.is_string() {
                bytes.extend_from_slice(text.as_bytes());
            } else {
                super::base64::decode(text.as_bytes(), bytes).ok_or_else(|| wrong(logical))?;
            }
            ends.push(end(bytes.len())?);
        }
        Data::List { .. } | Data::Map { .. } | Data::Row { .. } => return Err(wrong(logical)),
    }
    column.validity.push(true);
    Ok(())
}

fn trimmed<T: std::str::FromStr>(text: &str, logical: &LogicalType) -> Result<T, Fault> {
    text.trim().parse().map_err(|_| Fault::Field(format!("'{text}' is no {logical}")))
}
