//! Values from the JSON of the inputs, and to the JSON of the answers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use serde_json::Value as Json;
use tidemill_common::expr::Expr;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_expr::bind::bind_cast;
use tidemill_expr::decimal;
use tidemill_expr::eval::EvalContext;
use tidemill_expr::format::{TextStyle, format_value};

use crate::evaluate;

/// A column from JSON values, scalars by a cast of their texts.
pub fn column(values: &[&Json], logical: &LogicalType, context: &EvalContext) -> ArrayRef {
    let nulls: Vec<bool> = values.iter().map(|value| !value.is_null()).collect();
    let nulls = || Some(NullBuffer::from(nulls.clone()));
    match (logical, logical.to_arrow()) {
        (LogicalType::Row(fields), arrow::datatypes::DataType::Struct(arrow_fields)) => {
            let columns = fields.iter().map(|field| {
                let values: Vec<&Json> =
                    values.iter().map(|value| value.get(&field.name).unwrap_or(&Json::Null)).collect();
                column(&values, &field.data_type.logical, context)
            });
            Arc::new(StructArray::new(arrow_fields, columns.collect(), nulls()))
        }
        (LogicalType::Array(element), arrow::datatypes::DataType::List(field)) => {
            let items: Vec<&Json> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
            let lengths = values.iter().map(|value| value.as_array().map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(field, offsets, column(&items, &element.logical, context), nulls()))
        }
        (LogicalType::Map(key, value), arrow::datatypes::DataType::Map(field, _)) => {
            let lengths = values.iter().map(|value| value.as_object().map_or(0, |map| map.len()));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let entries: Vec<(Json, &Json)> = values
                .iter()
                .filter_map(|value| value.as_object())
                .flatten()
                .map(|(key, value)| (Json::from(key.as_str()), value))
                .collect();
            let keys: Vec<&Json> = entries.iter().map(|(key, _)| key).collect();
            let items: Vec<&Json> = entries.iter().map(|(_, value)| *value).collect();
            let columns = vec![column(&keys, &key.logical, context), column(&items, &value.logical, context)];
            let arrow::datatypes::DataType::Struct(fields) = field.data_type().clone() else { panic!("{field}") };
            let entries = StructArray::new(fields, columns, None);
            Arc::new(MapArray::new(field, offsets, entries, nulls(), false))
        }
        _ => {
            let texts: StringArray = values
                .iter()
                .map(|value| match value {
                    Json::Null => None,
                    Json::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                })
                .collect();
            let schema = Schema::new(vec![Field::new("text", LogicalType::STRING.nullable())]);
            let batch = RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(texts)]).unwrap();
            let text = Expr::column(0, LogicalType::STRING.nullable());
            let cast = bind_cast(text, logical.clone().nullable(), false).unwrap();
            evaluate(&[cast], &batch, context).unwrap().remove(0)
        }
    }
}

/// A value as Flink's json format writes it.
pub fn to_json(array: &dyn Array, logical: &LogicalType, row: usize, out: &mut String) {
    if array.is_null(row) {
        return out.push_str("null");
    }
    match logical {
        LogicalType::Decimal(_, scale) => {
            let unscaled = array.as_primitive::<arrow::datatypes::Decimal128Type>().value(row);
            decimal::format_stripped(unscaled, *scale, out);
        }
        LogicalType::Array(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..values.len() {
                if index > 0 {
                    out.push(',');
                }
                to_json(&values, &element.logical, index, out);
            }
            out.push(']');
        }
        LogicalType::Map(_, value) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(',');
                }
                quote(entries.column(0).as_string::<i32>().value(index), out);
                out.push(':');
                to_json(entries.column(1), &value.logical, index, out);
            }
            out.push('}');
        }
        LogicalType::Row(fields) => {
            let columns = array.as_struct();
            out.push('{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(&field.name, out);
                out.push(':');
                to_json(columns.column(index), &field.data_type.logical, row, out);
            }
            out.push('}');
        }
        LogicalType::Float | LogicalType::Double => {
            let mut value = String::new();
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, &mut value);
            if value.ends_with(|c: char| c.is_ascii_digit()) { out.push_str(&value) } else { quote(&value, out) }
        }
        logical if logical.is_numeric() || *logical == LogicalType::Boolean => {
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, out);
        }
        logical => {
            let mut value = String::new();
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, &mut value);
            quote(&value, out);
        }
    }
}

pub fn quote(value: &str, out: &mut String) {
    let quoted = serde_json::to_string(value).unwrap();
    for c in quoted.chars() {
        let mut units = [0; 2];
        match c.encode_utf16(&mut units) {
            [high, low] => out.push_str(&format!("\\u{high:04X}\\u{low:04X}")),
            _ => out.push(c),
        }
    }
}
