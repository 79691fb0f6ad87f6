//! Columns to JSON objects, in Jackson's texts.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type};
use chrono_tz::Tz;
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::decimal;
use tidemill_expr::format::{TextStyle, format_value};

use super::{TimestampFormat, base64};
use crate::api::{ConnectorError, Encoder, FileFraming};

/// How values are written.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub timestamps: TimestampFormat,
    pub plain_decimals: bool,
    pub ignore_nulls: bool,
}

/// Encodes rows as JSON objects.
pub(crate) struct JsonEncoder {
    /// `"name":` of each column, and its type.
    fields: Vec<(String, LogicalType)>,
    style: Style,
    text: String,
}

impl JsonEncoder {
    pub fn new(schema: &Schema, style: Style) -> Self {
        let fields =
            schema.fields.iter().map(|field| (quoted_name(&field.name), field.data_type.logical.clone())).collect();
        Self { fields, style, text: String::new() }
    }
}

impl Encoder for JsonEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), ConnectorError> {
        for row in 0..records.num_rows() {
            self.text.clear();
            self.text.push('{');
            let mut first = true;
            for ((name, logical), column) in self.fields.iter().zip(records.columns()) {
                if self.style.ignore_nulls && column.is_null(row) {
                    continue;
                }
                if !first {
                    self.text.push(',');
                }
                first = false;
                self.text.push_str(name);
                write_value(column, logical, row, self.style, &mut self.text);
            }
            self.text.push('}');
            out.extend_from_slice(self.text.as_bytes());
            ends.push(out.len());
        }
        Ok(())
    }

    fn file_framing(&self) -> FileFraming {
        FileFraming { header: Vec::new(), terminator: b"\n".to_vec() }
    }
}

fn quoted_name(name: &str) -> String {
    let mut text = String::new();
    write_string(name, &mut text);
    text.push(':');
    text
}

fn write_value(array: &ArrayRef, logical: &LogicalType, row: usize, style: Style, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match logical {
        LogicalType::Char(_) | LogicalType::Varchar(_) => write_string(array.as_string::<i32>().value(row), out),
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => {
            out.push('"');
            base64::encode(array.as_binary::<i32>().value(row), out);
            out.push('"');
        }
        LogicalType::Float if !array.as_primitive::<Float32Type>().value(row).is_finite() => {
            quoted(array, logical, row, out);
        }
        LogicalType::Double if !array.as_primitive::<Float64Type>().value(row).is_finite() => {
            quoted(array, logical, row, out);
        }
        LogicalType::Decimal(_, scale) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            if style.plain_decimals {
                decimal::format_plain(unscaled, *scale, out);
            } else {
                decimal::format_stripped(unscaled, *scale, out);
            }
        }
        LogicalType::Timestamp(_) | LogicalType::TimestampLtz(_) => {
            let start = out.len();
            quoted(array, logical, row, out);
            if style.timestamps == TimestampFormat::Iso8601
                && let Some(blank) = out[start..].find(' ')
            {
                out.replace_range(start + blank..start + blank + 1, "T");
            }
        }
        LogicalType::Date | LogicalType::Time(_) => quoted(array, logical, row, out),
        LogicalType::Array(item) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            out.push('[');
            for index in offsets[row] as usize..offsets[row + 1] as usize {
                if index > offsets[row] as usize {
                    out.push(',');
                }
                write_value(list.values(), &item.logical, index, style, out);
            }
            out.push(']');
        }
        LogicalType::Map(..) | LogicalType::Multiset(_) => {
            let value = match logical {
                LogicalType::Map(_, value) => &value.logical,
                _ => &LogicalType::Int,
            };
            let map = array.as_map();
            let offsets = map.value_offsets();
            let keys = map.keys().as_string::<i32>();
            out.push('{');
            for index in offsets[row] as usize..offsets[row + 1] as usize {
                if index > offsets[row] as usize {
                    out.push(',');
                }
                write_string(keys.value(index), out);
                out.push(':');
                write_value(map.values(), value, index, style, out);
            }
            out.push('}');
        }
        LogicalType::Row(fields) => {
            let columns = array.as_struct();
            out.push('{');
            let mut first = true;
            for (field, column) in fields.iter().zip(columns.columns()) {
                if style.ignore_nulls && column.is_null(row) {
                    continue;
                }
                if !first {
                    out.push(',');
                }
                first = false;
                write_string(&field.name, out);
                out.push(':');
                write_value(column, &field.data_type.logical, row, style, out);
            }
            out.push('}');
        }
        _ => format_value(array, logical, row, TextStyle::Sql, Tz::UTC, out),
    }
}

fn quoted(array: &ArrayRef, logical: &LogicalType, row: usize, out: &mut String) {
    out.push('"');
    format_value(array, logical, row, TextStyle::Sql, Tz::UTC, out);
    out.push('"');
}

/// A string as Jackson writes it to bytes: characters beyond the basic plane as two escapes.
fn write_string(text: &str, out: &mut String) {
    push_string(text, true, out);
}

/// A string with the escapes it needs; with `pairs`, characters beyond the basic plane as two of them.
pub(super) fn push_string(text: &str, pairs: bool, out: &mut String) {
    let least_escaped = if pairs { 0xf0 } else { 0xff };
    let escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\' || *byte >= least_escaped;
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.as_bytes().iter().position(escaped) {
        out.push_str(&rest[..at]);
        let mut characters = rest[at..].chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
