//! The format `csv`, with Flink's options: fields between delimiters, quoted where needed.
//!
//! A record is a line: line ends inside quotes are not supported, as files are split at line ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, SchemaRef};
use chrono_tz::Tz;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::calendar::days_from_civil;
use tidemill_expr::decimal;
use tidemill_expr::format::{TextStyle, format_value};
use tidemill_expr::parse;

use super::columns::{Column, Data, take_batch};
use super::json::scan::Fault;
use super::json::{TimestampFormat, base64, strict_time, text_value};
use super::{Faults, Records, flag, option};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Encoder, FileFraming, Format, Slab, SubtaskContext};

#[cfg(test)]
mod tests;

const IDENTIFIER: &str = "csv";

/// The format `csv`.
#[derive(Debug)]
pub struct Csv;

const OPTIONS: &[OptionSpec] = &[
    spec("field-delimiter", OptionKind::Text, Some(","), "One character between fields; '\\t' is a tab."),
    spec("quote-character", OptionKind::Text, Some("\""), "Encloses fields that hold delimiters."),
    spec("disable-quote-character", OptionKind::Boolean, Some("false"), "Whether fields are never enclosed."),
    spec("escape-character", OptionKind::Text, None, "Makes the character behind it plain."),
    spec("null-literal", OptionKind::Text, None, "The text of NULL; reading, fields equal to it are NULL."),
    spec(
        "array-element-delimiter",
        OptionKind::Text,
        Some(";"),
        "Between the elements of an ARRAY and the fields of a ROW.",
    ),
    spec("allow-comments", OptionKind::Boolean, Some("false"), "Whether lines that begin with # are passed over."),
    spec(
        "ignore-parse-errors",
        OptionKind::Boolean,
        Some("false"),
        "Skips and counts lines that cannot be read, and reads fields of a wrong type as NULL.",
    ),
    spec(
        "write-bigdecimal-in-scientific-notation",
        OptionKind::Boolean,
        Some("true"),
        "Writes a DECIMAL that ends in zeros before its point as 1E+5; if not, as 100000. (Flink's file sink does not look at it.)",
    ),
    spec("trim-spaces", OptionKind::Boolean, Some("false"), "Reading, drops blanks around fields that are not quoted."),
    spec(
        "ignore-trailing-unmappable",
        OptionKind::Boolean,
        Some("false"),
        "Reading, passes over fields beyond the table's columns.",
    ),
    spec(
        "allow-trailing-comma",
        OptionKind::Boolean,
        Some("true"),
        "Reading, whether a line may end in one more delimiter.",
    ),
    spec(
        "fail-on-missing-columns",
        OptionKind::Boolean,
        Some("false"),
        "Reading, whether a line with too few fields is malformed also where 'ignore-parse-errors' is set.",
    ),
    spec("empty-string-as-null", OptionKind::Boolean, Some("false"), "Reading, whether every empty field is NULL."),
];

const fn spec(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

/// What separates and encloses.
#[derive(Clone, Debug)]
struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    null_literal: Option<String>,
    array_delimiter: String,
    comments: bool,
    plain_decimals: bool,
    trim: bool,
    ignore_trailing: bool,
    trailing_delimiter: bool,
    fail_on_missing: bool,
    empty_is_null: bool,
    ignore_errors: bool,
}

impl Dialect {
    fn new(table: &TableSpec) -> Result<Self, TableError> {
        let byte = |key: &str| -> Result<Option<u8>, TableError> {
            let Some(text) = option(table, IDENTIFIER, key) else { return Ok(None) };
            let text = unescape(text);
            match text.as_bytes() {
                [byte] if byte.is_ascii() => Ok(Some(*byte)),
                _ => Err(TableError::option(
                    format!("csv.{key}"),
                    format!("'csv.{key}' is one ASCII character, not '{text}'"),
                )),
            }
        };
        let quote = byte("quote-character")?;
        let unquoted = flag(table, IDENTIFIER, "disable-quote-character");
        if unquoted && quote.is_some() {
            return Err(TableError::option(
                "csv.quote-character",
                "'csv.quote-character' cannot be set where 'csv.disable-quote-character' is true",
            ));
        }
        let array_delimiter = option(table, IDENTIFIER, "array-element-delimiter").unwrap_or(";").to_owned();
        if array_delimiter.is_empty() {
            return Err(TableError::option("csv.array-element-delimiter", "'csv.array-element-delimiter' is empty"));
        }
        let unless = |key: &str| option(table, IDENTIFIER, key).is_none_or(|text| text.trim() != "false");
        Ok(Self {
            delimiter: byte("field-delimiter")?.unwrap_or(b','),
            quote: (!unquoted).then_some(quote.unwrap_or(b'"')),
            escape: byte("escape-character")?,
            null_literal: option(table, IDENTIFIER, "null-literal").map(str::to_owned),
            array_delimiter,
            comments: flag(table, IDENTIFIER, "allow-comments"),
            plain_decimals: !unless("write-bigdecimal-in-scientific-notation"),
            trim: flag(table, IDENTIFIER, "trim-spaces"),
            ignore_trailing: flag(table, IDENTIFIER, "ignore-trailing-unmappable"),
            trailing_delimiter: unless("allow-trailing-comma"),
            fail_on_missing: flag(table, IDENTIFIER, "fail-on-missing-columns"),
            empty_is_null: flag(table, IDENTIFIER, "empty-string-as-null"),
            ignore_errors: flag(table, IDENTIFIER, "ignore-parse-errors"),
        })
    }
}

impl Format for Csv {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Delimited text, one record a line, columns by position.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn check(&self, table: &TableSpec, _writing: bool) -> Result<(), TableError> {
        Dialect::new(table)?;
        let refuse =
            |name: &str, what: &LogicalType| Err(TableError::table(format!("column '{name}': csv has no {what}")));
        for field in &table.schema.fields {
            let whole = &field.data_type.logical;
            let simple = match whole {
                LogicalType::Array(item) => is_simple(&item.logical),
                LogicalType::Row(fields) => {
                    !fields.is_empty() && fields.iter().all(|field| is_simple(&field.data_type.logical))
                }
                logical => is_simple(logical),
            };
            if !simple {
                return refuse(&field.name, whole);
            }
        }
        Ok(())
    }

    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        let dialect = Dialect::new(table)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let fields: Vec<_> = projection.iter().filter_map(|column| table.schema.fields.get(*column).cloned()).collect();
        let mut targets = vec![None; table.schema.len()];
        for (position, column) in projection.iter().enumerate() {
            if let Some(target) = targets.get_mut(*column) {
                *target = Some(position);
            }
        }
        Ok(Box::new(CsvDecoder {
            schema: Schema::new(fields.clone()).to_arrow(),
            columns: fields.iter().map(|field| Column::new(&field.data_type, TimestampFormat::Sql)).collect(),
            targets,
            dialect,
            rows: 0,
            records: 0,
            slab_lines: 0,
            scratch: Vec::new(),
            faults: Faults::new(table, IDENTIFIER),
            metrics: context.metrics.clone(),
        }))
    }

    fn create_encoder(
        &self,
        table: &TableSpec,
        schema: &Schema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        let dialect = Dialect::new(table)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })?;
        let types = schema.fields.iter().map(|field| field.data_type.logical.clone()).collect();
        Ok(Box::new(CsvEncoder { types, dialect, text: String::new() }))
    }
}

/// Whether a field, or an element of one, can be of this type.
fn is_simple(logical: &LogicalType) -> bool {
    !matches!(
        logical,
        LogicalType::Array(_)
            | LogicalType::Map(..)
            | LogicalType::Multiset(_)
            | LogicalType::Row(_)
            | LogicalType::IntervalYearMonth
            | LogicalType::IntervalDaySecond
    )
}

/// A text with Java's escapes of characters, such as `\t` and `\u0001`.
fn unescape(text: &str) -> String {
    let code = |digits: &str| {
        let hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| hex).and_then(char::from_u32)
    };
    match text.strip_prefix('\\') {
        Some("t") => "\t".to_owned(),
        Some("\\") => "\\".to_owned(),
        Some("'") => "'".to_owned(),
        Some("\"") => "\"".to_owned(),
        Some(rest) => rest.strip_prefix('u').and_then(code).map_or_else(|| text.to_owned(), String::from),
        None => text.to_owned(),
    }
}

struct CsvDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The projected column of each field.
    targets: Vec<Option<usize>>,
    dialect: Dialect,
    rows: usize,
    records: u64,
    slab_lines: u64,
    scratch: Vec<u8>,
    faults: Faults,
    metrics: Arc<ConnectorMetrics>,
}

impl CsvDecoder {
    fn record(&mut self, line: &[u8]) -> Result<(), String> {
        let mut at = 0;
        let mut field = 0;
        loop {
            self.next_field(line, &mut at)?;
            let Some(target) = self.targets.get(field) else {
                let last = at > line.len();
                if self.dialect.ignore_trailing || (self.dialect.trailing_delimiter && last && self.scratch.is_empty())
                {
                    break;
                }
                return Err(format!("the line has more than the table's {} fields", self.targets.len()));
            };
            if let Some(target) = *target {
                let text = std::str::from_utf8(&self.scratch).map_err(|_| "the line is not UTF-8".to_owned())?;
                let column = &mut self.columns[target];
                let before = column.len();
                if let Err(Fault::Field(reason) | Fault::Record(reason)) = put(text, column, &self.dialect) {
                    if !self.faults.ignore {
                        return Err(format!("field {}: {reason}", field + 1));
                    }
                    column.truncate(before);
                    column.push_null();
                }
            }
            field += 1;
            if at > line.len() {
                break;
            }
        }
        if field < self.targets.len() && (self.dialect.fail_on_missing || !self.faults.ignore) {
            return Err(format!("the line has {field} fields, the table {}", self.targets.len()));
        }
        let rows = self.rows;
        self.columns.iter_mut().filter(|column| column.len() == rows).for_each(Column::push_null);
        self.rows += 1;
        Ok(())
    }

    /// Reads the field at `at` into the scratch; `at` is then behind its delimiter, or beyond the
    /// line's end after the last field.
    fn next_field(&mut self, line: &[u8], at: &mut usize) -> Result<(), String> {
        self.scratch.clear();
        let Dialect { delimiter, quote, escape, .. } = self.dialect;
        let mut rest = line.get(*at..).unwrap_or_default();
        if self.dialect.trim {
            let blanks = rest.len() - rest.trim_ascii_start().len();
            if quote.is_some() && rest.get(blanks).copied() == quote {
                rest = &rest[blanks..];
                *at += blanks;
            }
        }
        if quote.is_none_or(|quote| rest.first() != Some(&quote)) {
            if escape.is_none() {
                let length = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
                let field = &rest[..length];
                self.scratch.extend_from_slice(if self.dialect.trim { field.trim_ascii() } else { field });
                *at += length + 1;
                return Ok(());
            }
            let mut index = 0;
            while index < rest.len() && rest[index] != delimiter {
                index += usize::from(Some(rest[index]) == escape && index + 1 < rest.len());
                self.scratch.push(rest[index]);
                index += 1;
            }
            *at += index + 1;
            if self.dialect.trim {
                self.scratch = self.scratch.trim_ascii().to_vec();
            }
            return Ok(());
        }
        let quote = rest[0];
        let mut index = 1;
        loop {
            match rest.get(index) {
                None => return Err("a quote is not closed; line ends inside quotes are not supported".to_owned()),
                Some(byte) if Some(*byte) == escape && index + 1 < rest.len() => {
                    self.scratch.push(rest[index + 1]);
                    index += 2;
                }
                Some(byte) if *byte == quote => {
                    if rest.get(index + 1) == Some(&quote) {
                        self.scratch.push(quote);
                        index += 2;
                        continue;
                    }
                    index += 1;
                    break;
                }
                Some(byte) => {
                    self.scratch.push(*byte);
                    index += 1;
                }
            }
        }
        while rest.get(index).is_some_and(|byte| *byte == b' ') {
            index += 1;
        }
        match rest.get(index) {
            None => *at = line.len() + 1,
            Some(byte) if *byte == delimiter => *at += index + 1,
            Some(_) => return Err("text follows a closing quote".to_owned()),
        }
        Ok(())
    }
}

/// Puts a part of a field into its column; what cannot be read is NULL if errors are ignored.
fn put_element(text: &str, column: &mut Column, dialect: &Dialect) -> Result<(), Fault> {
    let before = column.len();
    match put(text, column, dialect) {
        Err(Fault::Field(_)) if dialect.ignore_errors => {
            column.truncate(before);
            column.push_null();
            Ok(())
        }
        other => other,
    }
}

/// Puts one field into its column.
fn put(text: &str, column: &mut Column, dialect: &Dialect) -> Result<(), Fault> {
    let null = dialect.null_literal.as_deref() == Some(text);
    match &mut column.data {
        // The null literal is looked for in the elements, not in the field as a whole.
        Data::List { item, ends } => {
            if !text.trim().is_empty() {
                text.split(&dialect.array_delimiter).try_for_each(|element| put_element(element, item, dialect))?;
            }
            ends.push(i32::try_from(item.len()).map_err(|_| Fault::Record("too many elements in a batch".to_owned()))?);
            column.validity.push(true);
            return Ok(());
        }
        // Where errors are not ignored Flink takes a NULL for a row with too few fields.
        Data::Row { fields, .. } if text.trim().is_empty() || (null && fields.len() > 1 && !dialect.ignore_errors) => {
            column.push_null();
            return Ok(());
        }
        Data::Row { fields, .. } => {
            let mut parts = text.split(&dialect.array_delimiter);
            for field in fields.iter_mut() {
                match parts.next() {
                    Some(part) => put_element(part, field, dialect)?,
                    None if dialect.ignore_errors => field.push_null(),
                    None => return Err(Fault::Field(format!("'{text}' has too few fields"))),
                }
            }
            if parts.next().is_some() && !dialect.ignore_errors {
                return Err(Fault::Field(format!("'{text}' has too many fields")));
            }
            column.validity.push(true);
            return Ok(());
        }
        _ => {}
    }
    if null || (dialect.empty_is_null && text.is_empty()) {
        column.push_null();
        return Ok(());
    }
    if text.is_empty() && !column.logical.is_string() && !matches!(column.logical, LogicalType::Boolean) {
        return Err(Fault::Field(format!(
            "an empty field is no {}; set 'csv.null-literal' = '' to read it as NULL",
            column.logical
        )));
    }
    // What Java's Date, LocalTime and Timestamp read is not what the json format takes.
    let wrong = || Fault::Field(format!("'{text}' is no {}", column.logical));
    match (&mut column.data, &column.logical) {
        (Data::Date(values), _) => values.push(date(text).ok_or_else(wrong)?),
        (Data::Time(values), LogicalType::Time(precision)) => {
            let unit = 10_i32.pow(3 - u32::from(*precision).min(3));
            values.push(strict_time(text, true).ok_or_else(wrong)? / unit * unit);
        }
        (Data::Timestamp { values, .. }, LogicalType::Timestamp(precision)) => {
            let parsed = Some(text.trim()).filter(|text| text.contains(' '));
            values.push(parsed.and_then(|text| parse::parse_timestamp(text, *precision)).ok_or_else(wrong)?);
        }
        // Unlike other numbers a decimal has no blanks around it.
        (Data::Decimal(_), _) if text.trim() != text => return Err(wrong()),
        _ => return text_value(text, column),
    }
    column.validity.push(true);
    Ok(())
}

/// `yyyy-[m]m-[d]d` as `java.sql.Date` reads it: a day beyond the month's last is in the next month.
fn date(text: &str) -> Option<i32> {
    let mut parts = text.trim().splitn(3, '-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| -> Option<i64> {
        let part = parts.next()?;
        let digits = lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    if valid { i32::try_from(days_from_civil(year, month, 1) + day - 1).ok() } else { None }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        if from == 0 {
            self.slab_lines = 0;
        }
        let mut records = Records::new(slab, from, self.slab_lines);
        while self.rows < max_rows {
            let number = records.number;
            let Some(record) = records.next() else { break };
            self.records += 1;
            if record.is_empty() || (self.dialect.comments && record.first() == Some(&b'#')) {
                continue;
            }
            if let Err(reason) = self.record(record) {
                let rows = self.rows;
                self.columns.iter_mut().for_each(|column| column.truncate(rows));
                if !self.faults.ignore {
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
        let rows = std::mem::take(&mut self.rows);
        self.records = 0;
        take_batch(&mut self.columns, &self.schema, rows, self.faults.table(), self.faults.format())
    }
}

struct CsvEncoder {
    types: Vec<LogicalType>,
    dialect: Dialect,
    text: String,
}

impl Encoder for CsvEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), ConnectorError> {
        for row in 0..records.num_rows() {
            for (index, (logical, column)) in self.types.iter().zip(records.columns()).enumerate() {
                if index > 0 {
                    out.push(self.dialect.delimiter);
                }
                self.text.clear();
                if column.is_null(row) {
                    out.extend_from_slice(self.dialect.null_literal.as_deref().unwrap_or_default().as_bytes());
                    continue;
                }
                write_value(column, logical, row, &self.dialect, &mut self.text);
                let quotable = matches!(
                    logical,
                    LogicalType::Char(_)
                        | LogicalType::Varchar(_)
                        | LogicalType::Timestamp(_)
                        | LogicalType::TimestampLtz(_)
                        | LogicalType::Array(_)
                        | LogicalType::Row(_)
                        | LogicalType::Binary(_)
                        | LogicalType::Varbinary(_)
                );
                match self.dialect.quote {
                    Some(quote) if quotable && needs_quotes(&self.text, self.dialect.delimiter, quote) => {
                        out.push(quote);
                        for byte in self.text.bytes() {
                            if byte == quote {
                                out.push(quote);
                            }
                            out.push(byte);
                        }
                        out.push(quote);
                    }
                    _ => out.extend_from_slice(self.text.as_bytes()),
                }
            }
            ends.push(out.len());
        }
        Ok(())
    }

    fn file_framing(&self) -> FileFraming {
        FileFraming { header: Vec::new(), terminator: b"\n".to_vec() }
    }
}

fn write_value(array: &ArrayRef, logical: &LogicalType, row: usize, dialect: &Dialect, text: &mut String) {
    match logical {
        LogicalType::Decimal(_, scale) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            if dialect.plain_decimals {
                let start = text.len();
                decimal::format_plain(unscaled, *scale, text);
                if *scale > 0 {
                    let kept = text[start..].trim_end_matches('0').trim_end_matches('.').len();
                    text.truncate(start + kept);
                }
            } else {
                decimal::format_stripped(unscaled, *scale, text);
            }
        }
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => {
            base64::encode(array.as_binary::<i32>().value(row), text);
        }
        LogicalType::Array(item) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            for index in offsets[row] as usize..offsets[row + 1] as usize {
                if index > offsets[row] as usize {
                    text.push_str(&dialect.array_delimiter);
                }
                write_element(list.values(), &item.logical, index, dialect, text);
            }
        }
        LogicalType::Row(fields) => {
            for (index, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if index > 0 {
                    text.push_str(&dialect.array_delimiter);
                }
                write_element(column, &field.data_type.logical, row, dialect, text);
            }
        }
        _ => format_value(array, logical, row, TextStyle::Sql, Tz::UTC, text),
    }
}

fn write_element(array: &ArrayRef, logical: &LogicalType, row: usize, dialect: &Dialect, text: &mut String) {
    if array.is_null(row) {
        text.push_str(dialect.null_literal.as_deref().unwrap_or_default());
    } else {
        write_value(array, logical, row, dialect, text);
    }
}

/// Longest text that Jackson looks into before it quotes; longer ones it always encloses.
const LOOKED_INTO_CHARS_MAX: usize = 24;

/// Jackson's loose check: any character not above both delimiter and quote, or a back slash.
fn needs_quotes(text: &str, delimiter: u8, quote: u8) -> bool {
    let least = u32::from(delimiter.max(quote));
    text.encode_utf16().count() > LOOKED_INTO_CHARS_MAX
        || text.chars().any(|character| u32::from(character) <= least || character == '\\')
}
