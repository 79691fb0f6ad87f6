//! Where a row was found: METADATA columns.

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMillisecondArray};
use arrow::datatypes::Schema as ArrowSchema;
use tidemill_common::connector::MetadataSpec;
use tidemill_common::plan::MetadataColumn;
use tidemill_common::types::LogicalType;

use super::IDENTIFIER;
use crate::api::ConnectorError;

/// The keys of Flink's connector.
pub(super) const METADATA: &[MetadataSpec] = &[
    MetadataSpec { key: "file.path", data_type: || LogicalType::STRING.not_null(), description: "Path of the file." },
    MetadataSpec {
        key: "file.name",
        data_type: || LogicalType::STRING.not_null(),
        description: "Name of the file, the last part of its path.",
    },
    MetadataSpec {
        key: "file.size",
        data_type: || LogicalType::BigInt.not_null(),
        description: "Bytes of the file when its reading began.",
    },
    MetadataSpec {
        key: "file.modification-time",
        data_type: || LogicalType::TimestampLtz(3).not_null(),
        description: "When the file was last changed before its reading began.",
    },
];

/// What is told of a file.
pub(super) struct FileMetadata {
    pub path: String,
    pub name: String,
    pub size: i64,
    pub modified_ms: i64,
}

impl FileMetadata {
    /// What is told of a file of this machine.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = path.metadata()?;
        let modified = metadata.modified()?;
        let modified_ms = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        };
        Ok(Self {
            path: path.display().to_string(),
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size: metadata.len() as i64,
            modified_ms,
        })
    }

    /// Appends the columns to decoded rows.
    pub fn append(&self, records: &RecordBatch, columns: &[MetadataColumn]) -> Result<RecordBatch, ConnectorError> {
        let rows = records.num_rows();
        let text =
            |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
        let mut fields: Vec<Arc<arrow::datatypes::Field>> = records.schema().fields().iter().cloned().collect();
        let mut arrays: Vec<ArrayRef> = records.columns().to_vec();
        for column in columns {
            arrays.push(match column.key.as_str() {
                "file.path" => text(&self.path),
                "file.name" => text(&self.name),
                "file.size" => Arc::new(Int64Array::from_value(self.size, rows)),
                _ => Arc::new(TimestampMillisecondArray::from_value(self.modified_ms, rows).with_timezone("UTC")),
            });
            fields.push(Arc::new(column.data_type.to_arrow_field(&column.key)));
        }
        RecordBatch::try_new_with_options(
            Arc::new(ArrowSchema::new(fields)),
            arrays,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })
    }
}
