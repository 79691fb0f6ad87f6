//! Rows as people see them: Flink's `Row.toString()`.

use tidemill_common::batch::Batch;
use tidemill_common::types::{LogicalType, Schema};
use tidemill_expr::format::{TextStyle, format_value};

/// Formats rows of one schema as `+I[a, b]`.
pub(crate) struct RowText {
    types: Vec<LogicalType>,
    zone: chrono_tz::Tz,
}

impl RowText {
    pub(crate) fn new(schema: &Schema, session_zone: &str) -> Self {
        Self {
            types: schema.fields.iter().map(|field| field.data_type.logical.clone()).collect(),
            // The planner has checked the zone's name.
            zone: session_zone.parse().unwrap_or(chrono_tz::UTC),
        }
    }

    /// Appends row `row` of `batch`.
    pub(crate) fn append(&self, batch: &Batch, row: usize, out: &mut String) {
        out.push_str(batch.kind(row).short());
        out.push('[');
        for (index, (column, data_type)) in batch.records.columns().iter().zip(&self.types).enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            if column.is_null(row) {
                out.push_str("null");
            } else {
                format_value(column.as_ref(), data_type, row, TextStyle::Row, self.zone, out);
            }
        }
        out.push(']');
    }

    /// Appends row `row` as a JSON array: its kind, then the values as texts, as CAST gives them.
    pub(crate) fn append_cells(&self, batch: &Batch, row: usize, out: &mut String) {
        let mut cells = vec![serde_json::Value::from(batch.kind(row).short())];
        for (column, data_type) in batch.records.columns().iter().zip(&self.types) {
            cells.push(if column.is_null(row) {
                serde_json::Value::Null
            } else {
                let mut text = String::new();
                format_value(column.as_ref(), data_type, row, TextStyle::Cast, self.zone, &mut text);
                text.into()
            });
        }
        out.push_str(&serde_json::Value::Array(cells).to_string());
    }
}
