//! What a message tells beside its value: METADATA columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, RecordBatchOptions,
    StringArray, StringBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::Schema as ArrowSchema;
use tidemill_common::connector::MetadataSpec;
use tidemill_common::plan::MetadataColumn;
use tidemill_common::types::{DataType, LogicalType};

use super::IDENTIFIER;
use super::batch_queue::Message;
use crate::api::ConnectorError;

/// The keys of Flink's connector.
pub(super) const METADATA: &[MetadataSpec] = &[
    MetadataSpec { key: "topic", data_type: || LogicalType::STRING.not_null(), description: "Topic of the message." },
    MetadataSpec {
        key: "partition",
        data_type: || LogicalType::Int.not_null(),
        description: "Partition of the message.",
    },
    MetadataSpec {
        key: "headers",
        data_type: headers_type,
        description: "Headers of the message; of several with one name the last.",
    },
    MetadataSpec {
        key: "leader-epoch",
        data_type: || LogicalType::Int.nullable(),
        description: "Leader epoch of the message, if the broker tells it.",
    },
    MetadataSpec {
        key: "offset",
        data_type: || LogicalType::BigInt.not_null(),
        description: "Offset of the message in its partition.",
    },
    MetadataSpec {
        key: "timestamp",
        data_type: || LogicalType::TimestampLtz(3).not_null(),
        description: "Timestamp of the message.",
    },
    MetadataSpec {
        key: "timestamp-type",
        data_type: || LogicalType::STRING.not_null(),
        description: "`CreateTime`, `LogAppendTime` or `NoTimestampType`.",
    },
];

fn headers_type() -> DataType {
    let (name, value) = (LogicalType::STRING.not_null(), LogicalType::BYTES.not_null());
    LogicalType::Map(Box::new(name), Box::new(value)).not_null()
}

/// What was kept of one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    timestamp_ms: i64,
    timestamp_type: &'static str,
    leader_epoch: Option<i32>,
    headers: Vec<(String, Vec<u8>)>,
}

/// The metadata columns that a table reads.
pub(super) struct Metadata {
    columns: Vec<MetadataColumn>,
    headers: bool,
}

impl Metadata {
    /// `None` if the table reads none.
    pub fn new(columns: &[MetadataColumn]) -> Option<Self> {
        let headers = columns.iter().any(|column| column.key == "headers");
        (!columns.is_empty()).then(|| Self { columns: columns.to_vec(), headers })
    }

    /// Takes what is needed out of a message.
    pub fn keep(&self, message: &Message<'_>) -> Kept {
        let (timestamp_ms, timestamp_type) = message.timestamp();
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        if self.headers {
            message.headers(|name, value| match headers.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value.to_vec(),
                None => headers.push((name.to_owned(), value.to_vec())),
            });
        }
        Kept { timestamp_ms, timestamp_type, leader_epoch: message.leader_epoch(), headers }
    }

    /// Appends the columns to decoded rows, one for each message.
    pub fn append(
        &self,
        records: &RecordBatch,
        topic: &str,
        partition: i32,
        offsets: &[i64],
        kept: &[&Kept],
    ) -> Result<RecordBatch, ConnectorError> {
        let rows = records.num_rows();
        let mut fields: Vec<Arc<arrow::datatypes::Field>> = records.schema().fields().iter().cloned().collect();
        let mut arrays: Vec<ArrayRef> = records.columns().to_vec();
        for column in &self.columns {
            arrays.push(match column.key.as_str() {
                "topic" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(topic, rows))),
                "partition" => Arc::new(Int32Array::from_value(partition, rows)),
                "offset" => Arc::new(Int64Array::from(offsets.to_vec())),
                "leader-epoch" => Arc::new(kept.iter().map(|kept| kept.leader_epoch).collect::<Int32Array>()),
                "timestamp" => {
                    let times = kept.iter().map(|kept| kept.timestamp_ms);
                    Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                "timestamp-type" => {
                    Arc::new(StringArray::from_iter_values(kept.iter().map(|kept| kept.timestamp_type)))
                }
                _ => headers(kept)?,
            });
            fields.push(Arc::new(column.data_type.to_arrow_field(&column.key)));
        }
        RecordBatch::try_new_with_options(
            Arc::new(ArrowSchema::new(fields)),
            arrays,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(|error| internal(&error))
    }
}

fn headers(kept: &[&Kept]) -> Result<ArrayRef, ConnectorError> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let value = LogicalType::BYTES.not_null().to_arrow_field("value");
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new()).with_values_field(value);
    for kept in kept {
        for (name, value) in &kept.headers {
            map.keys().append_value(name);
            map.values().append_value(value);
        }
        map.append(true).map_err(|error| internal(&error))?;
    }
    Ok(Arc::new(map.finish()))
}

fn internal(error: &arrow::error::ArrowError) -> ConnectorError {
    ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() }
}
