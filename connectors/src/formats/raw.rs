//! The format `raw`: a record is the single column, as text, as bytes or as a number of fixed width.

mod charset;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef};
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{LogicalType, Schema};

use self::charset::Charset;
use super::columns::{Column, Data, take_batch};
use super::json::TimestampFormat;
use super::{Faults, Records, option};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Encoder, FileFraming, Format, Slab, SubtaskContext};

const IDENTIFIER: &str = "raw";

/// The format `raw`.
pub struct Raw;

const OPTIONS: &[OptionSpec] = &[
    spec(
        "charset",
        OptionKind::Text,
        "UTF-8",
        "How texts are encoded: UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE or UTF-16LE. What cannot be decoded becomes the replacement character, what cannot be encoded a question mark.",
    ),
    spec(
        "endianness",
        OptionKind::Enum(&["big-endian", "little-endian"]),
        "big-endian",
        "Order of the bytes of numbers.",
    ),
    spec(
        "ignore-parse-errors",
        OptionKind::Boolean,
        "false",
        "Tidemill's own: skips and counts records that do not have the number of bytes of their type.",
    ),
];

const fn spec(key: &'static str, kind: OptionKind, default: &'static str, description: &'static str) -> OptionSpec {
    OptionSpec { key, kind, required: false, default: Some(default), description }
}

/// How values stand in bytes.
#[derive(Clone, Copy)]
struct Layout {
    charset: Charset,
    little_endian: bool,
}

impl Layout {
    fn new(table: &TableSpec) -> Result<Self, TableError> {
        let name = option(table, IDENTIFIER, "charset").unwrap_or("UTF-8");
        let charset = Charset::of(name).ok_or_else(|| {
            TableError::option(
                "raw.charset",
                format!("'{name}' is no charset this release knows; take one of {}", charset::NAMES.join(", ")),
            )
        })?;
        let little_endian = option(table, IDENTIFIER, "endianness")
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("little-endian"));
        Ok(Self { charset, little_endian })
    }

    fn checked(table: &TableSpec) -> Result<Self, ConnectorError> {
        Self::new(table).map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })
    }
}

impl Format for Raw {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "A record is the table's only column: its text (STRING, VARCHAR, CHAR), its bytes (BYTES, \
                          VARBINARY, BINARY), or its bytes as a number of fixed width (BOOLEAN as one byte, TINYINT, \
                          SMALLINT, INT, BIGINT, FLOAT, DOUBLE). In files a record is a line.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn check(&self, table: &TableSpec, _writing: bool) -> Result<(), TableError> {
        let [field] = table.schema.fields.as_slice() else {
            let count = table.schema.len();
            return Err(TableError::option("format", format!("the format 'raw' takes one column, not {count}")));
        };
        let logical = &field.data_type.logical;
        let known = logical.is_string() || width(logical).is_some() || is_bytes(logical);
        if !known {
            return Err(TableError::option(
                "format",
                format!(
                    "the format 'raw' takes STRING, BYTES, BOOLEAN or a number but DECIMAL; column '{}' is {logical}",
                    field.name
                ),
            ));
        }
        Layout::new(table).map(drop)
    }

    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        let fields: Vec<_> = projection.iter().filter_map(|column| table.schema.fields.get(*column).cloned()).collect();
        Ok(Box::new(RawDecoder {
            columns: fields.iter().map(|field| Column::new(&field.data_type, TimestampFormat::Sql)).collect(),
            schema: Schema::new(fields).to_arrow(),
            layout: Layout::checked(table)?,
            rows: 0,
            records: 0,
            slab_lines: 0,
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
        let logical = schema.fields.first().map_or(LogicalType::Null, |field| field.data_type.logical.clone());
        Ok(Box::new(RawEncoder { layout: Layout::checked(table)?, logical }))
    }
}

fn is_bytes(logical: &LogicalType) -> bool {
    matches!(logical, LogicalType::Binary(_) | LogicalType::Varbinary(_))
}

/// Bytes of a value of a type of fixed width.
fn width(logical: &LogicalType) -> Option<usize> {
    match logical {
        LogicalType::Boolean | LogicalType::TinyInt => Some(1),
        LogicalType::SmallInt => Some(2),
        LogicalType::Int | LogicalType::Float => Some(4),
        LogicalType::BigInt | LogicalType::Double => Some(8),
        _ => None,
    }
}

struct RawDecoder {
    schema: SchemaRef,
    /// The column, or none if only rows are counted.
    columns: Vec<Column>,
    layout: Layout,
    rows: usize,
    records: u64,
    slab_lines: u64,
    faults: Faults,
    metrics: Arc<ConnectorMetrics>,
}

impl RawDecoder {
    fn record(&mut self, record: &[u8]) -> Result<(), String> {
        let Some(column) = self.columns.first_mut() else { return Ok(()) };
        if let Some(width) = width(&column.logical)
            && record.len() != width
        {
            return Err(format!("{} bytes are no {}, which has {width}", record.len(), column.logical));
        }
        let number = number(record, self.layout.little_endian);
        match &mut column.data {
            Data::Text { bytes, ends } => {
                self.layout.charset.decode(record, bytes);
                ends.push(end(bytes.len())?);
            }
            Data::Bytes { bytes, ends } => {
                bytes.extend_from_slice(record);
                ends.push(end(bytes.len())?);
            }
            Data::Boolean(values) => values.push(number != 0),
            Data::I8(values) => values.push(number as i8),
            Data::I16(values) => values.push(number as i16),
            Data::I32(values) => values.push(number as i32),
            Data::I64(values) => values.push(number as i64),
            Data::F32(values) => values.push(f32::from_bits(number as u32)),
            Data::F64(values) => values.push(f64::from_bits(number)),
            _ => return Err(format!("the format 'raw' has no {}", column.logical)),
        }
        column.validity.push(true);
        Ok(())
    }
}

fn end(length: usize) -> Result<i32, String> {
    i32::try_from(length).map_err(|_| "a batch has more than 2 GiB in one column".to_owned())
}

/// At most eight bytes as a number.
fn number(bytes: &[u8], little_endian: bool) -> u64 {
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    let bytes = &bytes[..bytes.len().min(8)];
    if little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        if from == 0 {
            self.slab_lines = 0;
        }
        let mut records = Records::new(slab, from, self.slab_lines);
        while self.rows < max_rows || records.at == from || records.empty_message_comes() {
            let number = records.number;
            let Some(record) = records.next() else { break };
            self.records += 1;
            match self.record(record) {
                Ok(()) => self.rows += 1,
                Err(reason) if !self.faults.ignore => {
                    return Err(self.faults.malformed(slab, number, record, reason));
                }
                Err(_) => {
                    self.metrics.records_skipped.fetch_add(1, Ordering::Relaxed);
                }
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
        take_batch(&mut self.columns, &self.schema, rows, self.faults.table(), IDENTIFIER)
    }
}

struct RawEncoder {
    layout: Layout,
    logical: LogicalType,
}

impl RawEncoder {
    fn value(&self, column: &ArrayRef, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        match &self.logical {
            logical if logical.is_string() => {
                return self.layout.charset.encode(column.as_string::<i32>().value(row), out);
            }
            logical if is_bytes(logical) => return out.extend_from_slice(column.as_binary::<i32>().value(row)),
            LogicalType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
            LogicalType::TinyInt => out.extend(column.as_primitive::<Int8Type>().value(row).to_be_bytes()),
            LogicalType::SmallInt => out.extend(column.as_primitive::<Int16Type>().value(row).to_be_bytes()),
            LogicalType::Int => out.extend(column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
            LogicalType::BigInt => out.extend(column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
            LogicalType::Float => out.extend(column.as_primitive::<Float32Type>().value(row).to_be_bytes()),
            LogicalType::Double => out.extend(column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
            _ => {}
        }
        if self.layout.little_endian {
            out[start..].reverse();
        }
    }
}

impl Encoder for RawEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), ConnectorError> {
        let column = records.column(0);
        for row in 0..records.num_rows() {
            if column.is_valid(row) {
                self.value(column, row, out);
            }
            ends.push(out.len());
        }
        Ok(())
    }

    fn file_framing(&self) -> FileFraming {
        FileFraming { header: Vec::new(), terminator: b"\n".to_vec() }
    }
}
