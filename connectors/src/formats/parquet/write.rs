//! Rows to a file, a row group at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};
use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{DataType, LogicalType};

use super::conform::for_file;
use super::{Settings, internal};
use crate::api::{ConnectorError, FileEncoder};

/// Writes one file.
pub(super) struct ParquetEncoder {
    table: String,
    /// `None` once it is finished.
    writer: Option<ArrowWriter<Vec<u8>>>,
    schema: SchemaRef,
    types: Vec<LogicalType>,
    zone: Option<Tz>,
    block_bytes: usize,
}

impl ParquetEncoder {
    pub fn new(table: &TableSpec, settings: &Settings) -> Result<Self, ConnectorError> {
        let fields = table.schema.fields.iter().map(|field| file_field(&field.name, &field.data_type, settings.unit));
        let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(settings.compression)
            .set_dictionary_enabled(settings.dictionary)
            .set_dictionary_page_size_limit(settings.dictionary_bytes)
            .set_data_page_size_limit(settings.page_bytes)
            .set_max_row_group_row_count(None)
            .set_coerce_types(true)
            .set_created_by(format!("tidemill version {}", env!("CARGO_PKG_VERSION")))
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)
            .map_err(|error| internal(error.to_string()))?;
        Ok(Self {
            table: table.name.clone(),
            writer: Some(writer),
            types: table.schema.fields.iter().map(|field| field.data_type.logical.clone()).collect(),
            schema,
            zone: settings.zone,
            block_bytes: settings.block_bytes,
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ConnectorError {
        ConnectorError::Write {
            table: self.table.clone(),
            reason: format!("a row cannot be written as parquet: {error}"),
        }
    }

    /// Calls the writer, then takes what it has written.
    fn with_writer(
        &mut self,
        out: &mut Vec<u8>,
        call: impl FnOnce(&mut ArrowWriter<Vec<u8>>) -> Result<(), ParquetError>,
    ) -> Result<(), ConnectorError> {
        let writer = self.writer.as_mut().ok_or_else(|| internal("the file is finished"))?;
        let called = call(writer).and_then(|()| writer.sync().map_err(ParquetError::from));
        out.append(writer.inner_mut());
        called.map_err(|error| self.failed(&error))
    }
}

impl FileEncoder for ParquetEncoder {
    fn encode(&mut self, records: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let columns = records.columns().iter().zip(&self.types).zip(self.schema.fields());
        let columns = columns
            .map(|((column, logical), field)| for_file(column, logical, field.data_type(), self.zone))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns));
        let records = columns.map_err(|error| self.failed(&error))?;
        let block_bytes = self.block_bytes;
        self.with_writer(out, |writer| {
            writer.write(&records)?;
            if writer.in_progress_size() >= block_bytes { writer.flush() } else { Ok(()) }
        })
    }

    fn bytes_held(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.memory_size().max(writer.in_progress_size()))
    }

    fn release(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.with_writer(out, ArrowWriter::flush)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let writer = self.writer.take().ok_or_else(|| internal("the file is finished"))?;
        let mut rest = writer.into_inner().map_err(|error| self.failed(&error))?;
        out.append(&mut rest);
        Ok(())
    }
}

/// A column as files have it. All may be NULL: NOT NULL is the table's word, not the file's.
fn file_field(name: &str, data_type: &DataType, unit: Option<TimeUnit>) -> ArrowField {
    ArrowField::new(name, file_type(&data_type.logical, unit), true)
}

fn file_type(logical: &LogicalType, unit: Option<TimeUnit>) -> ArrowType {
    let default =
        |precision: &u8| unit.unwrap_or(if *precision > 6 { TimeUnit::Nanosecond } else { TimeUnit::Microsecond });
    match logical {
        LogicalType::Timestamp(precision) => ArrowType::Timestamp(default(precision), None),
        LogicalType::TimestampLtz(precision) => ArrowType::Timestamp(default(precision), Some("UTC".into())),
        LogicalType::Array(item) => ArrowType::List(Arc::new(file_field("element", item, unit))),
        LogicalType::Map(key, value) => map_type(key, value, unit),
        LogicalType::Multiset(item) => map_type(item, &LogicalType::Int.not_null(), unit),
        LogicalType::Row(fields) => {
            ArrowType::Struct(fields.iter().map(|field| file_field(&field.name, &field.data_type, unit)).collect())
        }
        other => other.to_arrow(),
    }
}

fn map_type(key: &DataType, value: &DataType, unit: Option<TimeUnit>) -> ArrowType {
    let key = ArrowField::new("key", file_type(&key.logical, unit), false);
    let entries = ArrowType::Struct(vec![key, file_field("value", value, unit)].into());
    ArrowType::Map(Arc::new(ArrowField::new("key_value", entries, false)), false)
}
