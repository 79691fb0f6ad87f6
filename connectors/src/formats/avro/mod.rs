//! The format `avro`: single records of the table's schema, and files with a schema of their own.

mod container;
mod read;
mod schema;
mod write;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{DataType, Schema as TableSchema};

use self::container::{Codec, ContainerDecoder, ContainerEncoder};
use self::read::{Input, Rows};
use self::schema::Schema;
use super::columns::{Column, take_batch};
use super::json::TimestampFormat;
use super::{Records, option, origin_text};
use crate::api::{
    ConnectorError, Decoder, Encoder, FileDecoder, FileEncoder, FileFormat, FileFraming, FilePart, Format, Slab,
    SubtaskContext,
};

const IDENTIFIER: &str = "avro";

/// The format `avro`.
#[derive(Debug)]
pub struct Avro;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "codec",
        kind: OptionKind::Text,
        required: false,
        default: Some("snappy"),
        description: "How files are packed: null, deflate, snappy or zstandard; of no meaning for single records.",
    },
    OptionSpec {
        key: "encoding",
        kind: OptionKind::Enum(&["binary", "json"]),
        required: false,
        default: Some("binary"),
        description: "json is refused: use the format json.",
    },
    OptionSpec {
        key: "timestamp_mapping.legacy",
        kind: OptionKind::Boolean,
        required: false,
        default: Some("true"),
        description: "true: TIMESTAMP(p), p <= 3, is timestamp-millis, and there is no TIMESTAMP_LTZ. false: TIMESTAMP is local-timestamp-millis or -micros, TIMESTAMP_LTZ is timestamp-millis or -micros.",
    },
];

fn legacy(table: &TableSpec) -> bool {
    option(table, IDENTIFIER, "timestamp_mapping.legacy").is_none_or(|text| !text.trim().eq_ignore_ascii_case("false"))
}

fn codec(table: &TableSpec) -> Result<Codec, TableError> {
    Codec::of(option(table, IDENTIFIER, "codec").unwrap_or("snappy").trim())
        .map_err(|error| TableError::option("avro.codec", error))
}

fn internal(reason: impl Into<String>) -> ConnectorError {
    ConnectorError::Internal { connector: IDENTIFIER, reason: reason.into() }
}

/// The schema of a table that was checked.
fn schema_text(table: &TableSpec, schema: &TableSchema) -> Result<String, ConnectorError> {
    let schema = schema::of_table(&schema.fields, legacy(table)).map_err(|error| internal(error.message))?;
    Ok(schema.to_string())
}

impl Format for Avro {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Apache Avro. Single records (messages) have the schema that Flink derives of the table, without a \
                          registry. Files bring their own: fields are found by their names, those that a file does not \
                          have are NULL.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn files(&self) -> Option<&dyn FileFormat> {
        Some(self)
    }

    fn check(&self, table: &TableSpec, _writing: bool) -> Result<(), TableError> {
        if option(table, IDENTIFIER, "encoding").is_some_and(|text| text.trim().eq_ignore_ascii_case("json")) {
            return Err(TableError::option(
                "avro.encoding",
                "the encoding 'json' is not supported; use the format json",
            ));
        }
        codec(table)?;
        schema::of_table(&table.schema.fields, legacy(table)).map(drop)
    }

    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        let schema = Schema::parse(&schema_text(table, &table.schema)?).map_err(internal)?;
        let fields: Vec<_> = projection.iter().map(|column| table.schema.fields[*column].clone()).collect();
        let named: Vec<(String, DataType)> =
            fields.iter().map(|field| (field.name.clone(), field.data_type.clone())).collect();
        Ok(Box::new(RecordDecoder {
            table: table.name.clone(),
            rows: Rows::new(&schema, &named).map_err(internal)?,
            columns: named.iter().map(|(_, data_type)| Column::new(data_type, TimestampFormat::Sql)).collect(),
            schema: TableSchema::new(fields).to_arrow(),
            pending: 0,
        }))
    }

    fn create_encoder(
        &self,
        _table: &TableSpec,
        schema: &TableSchema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        Ok(Box::new(RecordEncoder { types: schema.fields.iter().map(|field| field.data_type.clone()).collect() }))
    }
}

impl FileFormat for Avro {
    fn splittable(&self) -> bool {
        false
    }

    fn open(&self, part: FilePart<'_>, _context: &SubtaskContext) -> Result<Box<dyn FileDecoder>, ConnectorError> {
        Ok(Box::new(ContainerDecoder::open(part)?))
    }

    fn create_file_encoder(
        &self,
        table: &TableSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn FileEncoder>, ConnectorError> {
        let types = table.schema.fields.iter().map(|field| field.data_type.clone()).collect();
        let codec = codec(table).map_err(|error| internal(error.message))?;
        Ok(Box::new(ContainerEncoder::new(&table.name, types, schema_text(table, &table.schema)?, codec)))
    }
}

/// Decodes messages, each a record of the table's schema.
struct RecordDecoder {
    table: String,
    rows: Rows,
    columns: Vec<Column>,
    schema: SchemaRef,
    pending: usize,
}

impl Decoder for RecordDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        let mut records = Records::new(slab, from, 0);
        while self.pending < max_rows || records.at == from || records.empty_message_comes() {
            let number = records.number;
            let Some(record) = records.next() else { break };
            if let Err(reason) = self.rows.read(&mut Input::new(record), &mut self.columns) {
                self.columns.iter_mut().for_each(|column| column.truncate(self.pending));
                return Err(ConnectorError::External {
                    table: self.table.clone(),
                    reason: format!(
                        "{}: the record is none of the table's: {reason}",
                        origin_text(slab.origin, number)
                    ),
                    action: "declare the columns as the writer has them, in its order".to_owned(),
                });
            }
            self.pending += 1;
        }
        Ok(records.at)
    }

    fn pending_rows(&self) -> usize {
        self.pending
    }

    fn pending_records(&self) -> u64 {
        self.pending as u64
    }

    fn take(&mut self) -> Result<RecordBatch, ConnectorError> {
        let rows = std::mem::take(&mut self.pending);
        take_batch(&mut self.columns, &self.schema, rows, &self.table, IDENTIFIER)
    }
}

struct RecordEncoder {
    types: Vec<DataType>,
}

impl Encoder for RecordEncoder {
    fn encode(
        &mut self,
        records: &RecordBatch,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) -> Result<(), ConnectorError> {
        for row in 0..records.num_rows() {
            for (column, data_type) in records.columns().iter().zip(&self.types) {
                write::value(column, data_type, row, out);
            }
            ends.push(out.len());
        }
        Ok(())
    }

    fn file_framing(&self) -> FileFraming {
        FileFraming::default()
    }
}
