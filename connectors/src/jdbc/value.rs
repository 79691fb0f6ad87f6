//! Rows between Arrow columns and a database.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::format::{TextStyle, format_value};

/// How the values of a column are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
    Boolean,
    Bytes,
    /// Texts, and everything whose text the database reads: decimals, dates, times, timestamps.
    Text,
}

impl Kind {
    /// `None` for types that no database column takes.
    pub fn of(logical: &LogicalType) -> Option<Self> {
        use LogicalType as L;
        Some(match logical {
            L::Boolean => Self::Boolean,
            L::TinyInt | L::SmallInt | L::Int | L::BigInt => Self::Integer,
            L::Float | L::Double => Self::Float,
            L::Binary(_) | L::Varbinary(_) => Self::Bytes,
            L::Decimal(..)
            | L::Char(_)
            | L::Varchar(_)
            | L::Date
            | L::Time(_)
            | L::Timestamp(_)
            | L::TimestampLtz(_) => Self::Text,
            L::Null
            | L::IntervalYearMonth
            | L::IntervalDaySecond
            | L::Array(_)
            | L::Map(..)
            | L::Multiset(_)
            | L::Row(_) => {
                return None;
            }
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Bytes(Vec<u8>),
    Text(String),
}

/// What is to happen to one row of the database's table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub delete: bool,
    pub values: Vec<Value>,
}

/// The values of row `row`.
pub(super) fn values(records: &RecordBatch, schema: &Schema, kinds: &[Kind], row: usize) -> Vec<Value> {
    let columns = records.columns().iter().zip(&schema.fields).zip(kinds);
    columns.map(|((column, field), kind)| value(column.as_ref(), &field.data_type.logical, *kind, row)).collect()
}

fn value(column: &dyn Array, logical: &LogicalType, kind: Kind, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match kind {
        Kind::Boolean => Value::Boolean(column.as_boolean().value(row)),
        Kind::Bytes => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        Kind::Integer => Value::Integer(match logical {
            LogicalType::TinyInt => i64::from(column.as_primitive::<Int8Type>().value(row)),
            LogicalType::SmallInt => i64::from(column.as_primitive::<Int16Type>().value(row)),
            LogicalType::Int => i64::from(column.as_primitive::<Int32Type>().value(row)),
            _ => column.as_primitive::<Int64Type>().value(row),
        }),
        Kind::Float => Value::Float(match logical {
            LogicalType::Float => f64::from(column.as_primitive::<Float32Type>().value(row)),
            _ => column.as_primitive::<Float64Type>().value(row),
        }),
        Kind::Text if logical.is_string() => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        Kind::Text => {
            let mut text = String::new();
            format_value(column, logical, row, TextStyle::Sql, chrono_tz::UTC, &mut text);
            Value::Text(text)
        }
    }
}

/// Appends an unambiguous encoding of a key value, to tell keys apart.
pub(super) fn append_key(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Integer(number) => {
            out.push(1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            out.push(2);
            // 0.0 and -0.0 are one key to a database.
            out.extend_from_slice(&(number + 0.0).to_bits().to_le_bytes());
        }
        Value::Boolean(truth) => out.extend_from_slice(&[3, u8::from(*truth)]),
        Value::Bytes(bytes) => append_bytes(4, bytes, out),
        Value::Text(text) => append_bytes(5, text.as_bytes(), out),
    }
}

fn append_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
