//! The format `access-log`: the Combined Log Format of web servers, with an optional response time.
//!
//! ```text
//! 81.14.200.7 - anna [01/Jun/2024:10:00:00.123 +0000] "GET /product/42 HTTP/1.1" 200 18324 "https://shop.example/" "Mozilla/5.0" 0.087
//! ```
//!
//! Columns go by name; a table takes those it wants ([`FIELDS`]). `-` is NULL. The response time is in
//! seconds in the log and in milliseconds in the column.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::suggest::nearest;
use tidemill_common::types::{LogicalType, Schema, units_per_millisecond};
use tidemill_expr::calendar::days_from_civil;

use super::columns::{Column, Data, take_batch};
use super::json::TimestampFormat;
use super::{Faults, Records};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Encoder, Format, Slab, SubtaskContext};

#[cfg(test)]
mod tests;

const IDENTIFIER: &str = "access-log";

/// The columns there are, and their types.
pub const FIELDS: &[(&str, &str)] = &[
    ("host", "STRING"),
    ("ident", "STRING"),
    ("user_name", "STRING"),
    ("ts", "TIMESTAMP(3) in UTC, or TIMESTAMP_LTZ(3)"),
    ("method", "STRING"),
    ("path", "STRING"),
    ("protocol", "STRING"),
    ("status", "INT"),
    ("body_bytes", "BIGINT"),
    ("referer", "STRING"),
    ("user_agent", "STRING"),
    ("response_time_ms", "BIGINT or DOUBLE"),
];

/// The format `access-log`.
#[derive(Debug)]
pub struct AccessLog;

const OPTIONS: &[OptionSpec] = &[OptionSpec {
    key: "ignore-parse-errors",
    kind: OptionKind::Boolean,
    required: false,
    default: Some("false"),
    description: "Skips and counts lines that cannot be read.",
}];

impl Format for AccessLog {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Combined Log Format of web servers, with an optional response time in seconds at the end. Columns by name: host, ident, user_name, ts, method, path, protocol, status, body_bytes, referer, user_agent, response_time_ms.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: false,
            formats: false,
            partitions: false,
        }
    }

    fn check(&self, table: &TableSpec, writing: bool) -> Result<(), TableError> {
        if writing {
            return Err(TableError::option("format", "the format 'access-log' is only read"));
        }
        for field in &table.schema.fields {
            let Some((_, expected)) = FIELDS.iter().find(|(name, _)| *name == field.name) else {
                let near = nearest(&field.name, FIELDS.iter().map(|(name, _)| *name));
                let hint = near.map_or_else(
                    || format!("one of {}", FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean '{near}'?"),
                );
                return Err(TableError::table(format!("an access log has no column '{}'; {hint}", field.name)));
            };
            let logical = &field.data_type.logical;
            let fits = match *expected {
                "STRING" => *logical == LogicalType::STRING,
                "INT" => *logical == LogicalType::Int,
                "BIGINT" => *logical == LogicalType::BigInt,
                "BIGINT or DOUBLE" => matches!(logical, LogicalType::BigInt | LogicalType::Double),
                _ => logical.is_timestamp(),
            };
            if !fits {
                return Err(TableError::table(format!(
                    "column '{}' of an access log is {expected}, not {logical}",
                    field.name
                )));
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
        let fields: Vec<_> = projection.iter().filter_map(|column| table.schema.fields.get(*column).cloned()).collect();
        let mut targets = [None; FIELDS.len()];
        for (position, field) in fields.iter().enumerate() {
            if let Some(index) = FIELDS.iter().position(|(name, _)| *name == field.name) {
                targets[index] = Some(position);
            }
        }
        Ok(Box::new(AccessLogDecoder {
            schema: Schema::new(fields.clone()).to_arrow(),
            columns: fields.iter().map(|field| Column::new(&field.data_type, TimestampFormat::Sql)).collect(),
            targets,
            rows: 0,
            records: 0,
            slab_lines: 0,
            last_second: (Vec::new(), 0),
            faults: Faults::new(table, IDENTIFIER),
            metrics: context.metrics.clone(),
        }))
    }

    fn create_encoder(
        &self,
        table: &TableSpec,
        _schema: &Schema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        Err(ConnectorError::Write {
            table: table.name.clone(),
            reason: "the format 'access-log' is only read".to_owned(),
        })
    }
}

struct AccessLogDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    targets: [Option<usize>; FIELDS.len()],
    rows: usize,
    records: u64,
    slab_lines: u64,
    /// The text of the last time down to the second, and its milliseconds: lines of one second follow
    /// each other.
    last_second: (Vec<u8>, i64),
    faults: Faults,
    metrics: Arc<ConnectorMetrics>,
}

impl AccessLogDecoder {
    fn record(&mut self, line: &[u8]) -> Result<(), String> {
        let mut parts = Parts { line, at: 0 };
        let host = parts.word("the remote host")?;
        let ident = parts.word("the identity")?;
        let user = parts.word("the user")?;
        let time = parts.enclosed(b'[', b']', "the time in brackets")?;
        let request = parts.enclosed(b'"', b'"', "the request in quotes")?;
        let status = parts.word("the status")?;
        let bytes = parts.word("the size")?;
        let (referer, agent) = if parts.at_end() {
            (&b"-"[..], &b"-"[..])
        } else {
            (
                parts.enclosed(b'"', b'"', "the referer in quotes")?,
                parts.enclosed(b'"', b'"', "the user agent in quotes")?,
            )
        };
        let response_time = if parts.at_end() { &b"-"[..] } else { parts.word("the response time")? };
        if !parts.at_end() {
            return Err("text follows the response time".to_owned());
        }

        self.text(0, host)?;
        self.text(1, ident)?;
        self.text(2, user)?;
        if let Some(target) = self.targets[3] {
            let millis = self.time(time)?;
            let column = &mut self.columns[target];
            let scale = match column.logical {
                LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
                    units_per_millisecond(precision)
                }
                _ => 1,
            };
            if let Data::Timestamp { values, .. } = &mut column.data {
                values.push(millis.saturating_mul(scale));
                column.validity.push(true);
            }
        }
        let mut request = request.splitn(3, |byte| *byte == b' ');
        self.text(4, request.next().unwrap_or(b"-"))?;
        self.text(5, request.next().ok_or("the request has no path")?)?;
        self.text(6, request.next().unwrap_or(b"-"))?;
        let status: i32 = number(status)
            .filter(|status| (100..1000).contains(status))
            .ok_or("the status is no number of three digits")?;
        if let Some(column) = self.targets[7].map(|target| &mut self.columns[target])
            && let Data::I32(values) = &mut column.data
        {
            values.push(status);
            column.validity.push(true);
        }
        if let Some(column) = self.targets[8].map(|target| &mut self.columns[target]) {
            if bytes == b"-" {
                column.push_null();
            } else if let Data::I64(values) = &mut column.data {
                values.push(number(bytes).ok_or("the size is no number")?);
                column.validity.push(true);
            }
        }
        self.text(9, referer)?;
        self.text(10, agent)?;
        if let Some(column) = self.targets[11].map(|target| &mut self.columns[target]) {
            if response_time == b"-" {
                column.push_null();
            } else {
                let seconds: f64 = number(response_time).ok_or("the response time is no number")?;
                match &mut column.data {
                    // Logs hold milliseconds or microseconds: no more digits than that are meant.
                    Data::F64(values) => values.push((seconds * 1e6).round() / 1e3),
                    Data::I64(values) => values.push((seconds * 1e3).round() as i64),
                    _ => return Err("the column of the response time is no number".to_owned()),
                }
                column.validity.push(true);
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn text(&mut self, field: usize, value: &[u8]) -> Result<(), String> {
        let Some(column) = self.targets[field].map(|target| &mut self.columns[target]) else { return Ok(()) };
        if value == b"-" {
            column.push_null();
            return Ok(());
        }
        if !value.is_ascii() && std::str::from_utf8(value).is_err() {
            return Err("the line is not UTF-8".to_owned());
        }
        if let Data::Text { bytes, ends } = &mut column.data {
            bytes.extend_from_slice(value);
            ends.push(i32::try_from(bytes.len()).map_err(|_| "a batch has more than 2 GiB in one column".to_owned())?);
            column.validity.push(true);
        }
        Ok(())
    }

    /// `01/Jun/2024:10:00:00[.123] +0000` in milliseconds since the epoch.
    fn time(&mut self, text: &[u8]) -> Result<i64, String> {
        const SECOND: usize = "01/Jun/2024:10:00:00".len();
        let broken = || "the time is not like 01/Jun/2024:10:00:00 +0000".to_owned();
        let second = text.get(..SECOND).ok_or_else(broken)?;
        if self.last_second.0 != second {
            self.last_second = (second.to_vec(), local_second(second).ok_or_else(broken)?);
        }
        let mut rest = &text[SECOND..];
        let mut fraction_ms = 0;
        if let Some(digits) = rest.strip_prefix(b".") {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count == 0 {
                return Err(broken());
            }
            for position in 0..3 {
                fraction_ms = fraction_ms * 10 + digits[..count].get(position).map_or(0, |byte| i64::from(byte - b'0'));
            }
            rest = &digits[count..];
        }
        let offset_ms = match rest {
            [] => 0,
            [b' ', sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 4 && zone.iter().all(u8::is_ascii_digit) => {
                let digit = |at: usize| i64::from(zone[at] - b'0');
                let minutes = (digit(0) * 10 + digit(1)) * 60 + digit(2) * 10 + digit(3);
                minutes * 60_000 * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return Err(broken()),
        };
        Ok(self.last_second.1 + fraction_ms - offset_ms)
    }
}

/// `01/Jun/2024:10:00:00` in milliseconds, as if it were UTC.
fn local_second(text: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    if [text[2], text[6], text[11], text[14], text[17]] != *b"//:::" {
        return None;
    }
    let month = MONTHS.iter().position(|month| **month == text[3..6])? as i64 + 1;
    let field = |from: usize, to: usize| number::<u32>(&text[from..to]).map(i64::from);
    let (day, year) = (field(0, 2)?, field(7, 11)?);
    let (hour, minute, second) = (field(12, 14)?, field(15, 17)?, field(18, 20)?);
    let valid = day >= 1
        && day <= tidemill_expr::calendar::days_of_month(year, month)
        && hour < 24
        && minute < 60
        && second < 61;
    valid.then(|| ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1_000)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Takes a line apart.
struct Parts<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn at_end(&self) -> bool {
        self.line[self.at..].iter().all(u8::is_ascii_whitespace)
    }

    /// Text up to the next blank.
    fn word(&mut self, what: &str) -> Result<&'a [u8], String> {
        let rest = &self.line[self.at..];
        let length = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        if length == 0 {
            return Err(format!("expected {what} at character {}", self.at + 1));
        }
        self.at = (self.at + length + 1).min(self.line.len());
        Ok(&rest[..length])
    }

    /// Text between two characters; a back slash makes the next one plain.
    fn enclosed(&mut self, open: u8, close: u8, what: &str) -> Result<&'a [u8], String> {
        let rest = &self.line[self.at..];
        let broken = || format!("expected {what} at character {}", self.at + 1);
        let inner = rest.strip_prefix(&[open]).ok_or_else(broken)?;
        let mut end = 0;
        loop {
            end += memchr::memchr2(close, b'\\', &inner[end.min(inner.len())..]).ok_or_else(broken)?;
            if inner[end] == close {
                break;
            }
            end += 2;
        }
        let next = self.at + 1 + end + 1;
        self.at = if self.line.get(next) == Some(&b' ') { next + 1 } else { next };
        Ok(&inner[..end])
    }
}

impl Decoder for AccessLogDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        if from == 0 {
            self.slab_lines = 0;
        }
        let mut records = Records::new(slab, from, self.slab_lines);
        while self.rows < max_rows {
            let number = records.number;
            let Some(record) = records.next() else { break };
            self.records += 1;
            if record.is_empty() {
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
