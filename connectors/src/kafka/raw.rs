//! The format `raw`: a record is the text or the bytes of a single column, as for keys of messages.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::SchemaRef;
use tidemill_common::connector::{ConnectorInfo, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{LogicalType, Schema};

use crate::api::{ConnectorError, Decoder, Encoder, FileFraming, Format, Slab, SubtaskContext};
use crate::formats::Records;

const IDENTIFIER: &str = "raw";

/// The format `raw`.
pub struct Raw;

impl Format for Raw {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "A record is the text (STRING, VARCHAR, CHAR; UTF-8) or the bytes (BYTES, VARBINARY, BINARY) \
                          of the table's only column. Bytes that are no UTF-8 become replacement characters.",
            options: Vec::new(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
        }
    }

    fn check(&self, table: &TableSpec, _writing: bool) -> Result<(), TableError> {
        let [field] = table.schema.fields.as_slice() else {
            let count = table.schema.len();
            return Err(TableError::option("format", format!("the format 'raw' takes one column, not {count}")));
        };
        match &field.data_type.logical {
            logical if logical.is_string() => Ok(()),
            LogicalType::Binary(_) | LogicalType::Varbinary(_) => Ok(()),
            other => Err(TableError::option(
                "format",
                format!("the format 'raw' takes STRING or BYTES; column '{}' is {other}", field.name),
            )),
        }
    }

    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        let fields = projection.iter().map(|column| table.schema.fields[*column].clone()).collect();
        let columns = match table.schema.fields.first().filter(|_| !projection.is_empty()) {
            None => Column::None,
            Some(field) if field.data_type.logical.is_string() => Column::Text(StringBuilder::new()),
            Some(_) => Column::Bytes(BinaryBuilder::new()),
        };
        Ok(Box::new(RawDecoder { schema: Schema::new(fields).to_arrow(), column: columns, rows: 0, records: 0 }))
    }

    fn create_encoder(
        &self,
        _table: &TableSpec,
        _schema: &Schema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        Ok(Box::new(RawEncoder))
    }
}

enum Column {
    /// Not read: rows are only counted.
    None,
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

struct RawDecoder {
    schema: SchemaRef,
    column: Column,
    rows: usize,
    records: u64,
}

impl Decoder for RawDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        let mut records = Records::new(slab, from, 0);
        while self.rows < max_rows {
            let Some(record) = records.next() else { break };
            match &mut self.column {
                Column::None => {}
                Column::Text(builder) => builder.append_value(String::from_utf8_lossy(record)),
                Column::Bytes(builder) => builder.append_value(record),
            }
            self.rows += 1;
            self.records += 1;
        }
        Ok(records.at)
    }

    fn pending_rows(&self) -> usize {
        self.rows
    }

    fn pending_records(&self) -> u64 {
        self.records
    }

    fn take(&mut self) -> Result<RecordBatch, ConnectorError> {
        let columns: Vec<ArrayRef> = match &mut self.column {
            Column::None => Vec::new(),
            Column::Text(builder) => vec![Arc::new(builder.finish())],
            Column::Bytes(builder) => vec![Arc::new(builder.finish())],
        };
        let rows = std::mem::take(&mut self.rows);
        self.records = 0;
        RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })
    }
}

struct RawEncoder;

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
                match column.as_string_opt::<i32>() {
                    Some(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
                    None => out.extend_from_slice(column.as_binary::<i32>().value(row)),
                }
            }
            ends.push(out.len());
        }
        Ok(())
    }

    fn file_framing(&self) -> FileFraming {
        FileFraming { header: Vec::new(), terminator: b"\n".to_vec() }
    }
}
