//! Formats: how records are decoded and encoded.

pub mod access_log;
pub mod avro;
pub mod columns;
pub mod csv;
#[cfg(test)]
pub(crate) mod file_tests;
pub mod json;
pub mod parquet;
pub mod raw;

use tidemill_common::config::Options;
use tidemill_common::connector::TableError;
use tidemill_common::limits::ERROR_RECORD_CHARS_MAX;
use tidemill_common::plan::TableSpec;

use crate::api::{ConnectorError, Format, Origin, Slab};
use crate::registry;

/// The value of a format's option: `json.key`, or `value.json.key` where the connector has keys.
pub(crate) fn option<'a>(table: &'a TableSpec, format: &str, key: &str) -> Option<&'a str> {
    let own = format!("{format}.{key}");
    table.options.get(&own).or_else(|| table.options.get(&format!("value.{own}"))).map(String::as_str)
}

/// A boolean option of a format; false if absent.
pub(crate) fn flag(table: &TableSpec, format: &str, key: &str) -> bool {
    option(table, format, key).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
}

/// The format that a table names in `'format'` or `'value.format'`.
pub(crate) fn of_table(table: &TableSpec) -> Result<&'static dyn Format, TableError> {
    let options = Options(&table.options);
    let Some(name) = options.text("format").or_else(|| options.text("value.format")) else {
        return Err(TableError::table(format!("connector '{}' needs the option 'format'", table.connector)));
    };
    registry::format(name).ok_or_else(|| TableError::option("format", format!("unknown format '{name}'")))
}

/// What a decoder does with records that it cannot read.
pub(crate) struct Faults {
    table: String,
    format: &'static str,
    /// Skip and count them.
    pub ignore: bool,
}

impl Faults {
    pub fn new(table: &TableSpec, format: &'static str) -> Self {
        Self { table: table.name.clone(), format, ignore: flag(table, format, "ignore-parse-errors") }
    }

    /// Name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Identifier of the format.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The error about record number `record` of a slab.
    pub fn malformed(&self, slab: &Slab<'_>, record: u64, text: &[u8], reason: String) -> ConnectorError {
        let text = String::from_utf8_lossy(text);
        let mut cut: String = text.trim_end().chars().take(ERROR_RECORD_CHARS_MAX).collect();
        if text.trim_end().chars().count() > ERROR_RECORD_CHARS_MAX {
            cut.push('…');
        }
        ConnectorError::Malformed {
            table: self.table.clone(),
            origin: origin_text(slab.origin, record),
            reason,
            text: cut,
            format: self.format.to_owned(),
        }
    }
}

fn origin_text(origin: &Origin, record: u64) -> String {
    match origin {
        Origin::File { path, first_line } => format!("{path}:{}", first_line + record),
        Origin::Kafka { topic, partition, offsets } => match offsets.get(record as usize) {
            Some(offset) => format!("topic {topic}, partition {partition}, offset {offset}"),
            None => format!("topic {topic}, partition {partition}"),
        },
        Origin::Other(text) => text.to_string(),
    }
}

/// The records of a slab from a byte position on.
pub(crate) struct Records<'a, 's> {
    slab: &'a Slab<'s>,
    /// Byte where the next record begins.
    pub at: usize,
    /// Number of the next record within the slab.
    pub number: u64,
}

impl<'a, 's> Records<'a, 's> {
    /// `number` of the record at `from` is only known for messages; for lines the caller counts.
    pub fn new(slab: &'a Slab<'s>, from: usize, lines_before: u64) -> Self {
        let number = match slab.ends {
            Some(_) if from == 0 => 0,
            Some(ends) => ends.partition_point(|end| *end <= from) as u64,
            None => lines_before,
        };
        Self { slab, at: from, number }
    }

    /// Whether an empty message comes next. A decoder that makes rows of them reads on here: where it goes
    /// on later is a byte, which does not tell them from the message before.
    pub fn empty_message_comes(&self) -> bool {
        self.slab.ends.is_some_and(|ends| ends.get(self.number as usize) == Some(&self.at))
    }

    /// The next record, without its line end.
    #[inline]
    pub fn next(&mut self) -> Option<&'s [u8]> {
        let bytes = self.slab.bytes;
        match self.slab.ends {
            Some(ends) => {
                let end = *ends.get(self.number as usize)?;
                let record = bytes.get(self.at..end)?;
                self.at = end;
                self.number += 1;
                Some(record)
            }
            None => {
                if self.at >= bytes.len() {
                    return None;
                }
                let rest = &bytes[self.at..];
                let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                self.at += (length + 1).min(rest.len());
                self.number += 1;
                let line = &rest[..length];
                Some(line.strip_suffix(b"\r").unwrap_or(line))
            }
        }
    }
}
