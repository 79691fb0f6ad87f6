//! Row groups of a file to rows of the table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, FieldRef, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use bytes::{Buf, Bytes};
use chrono_tz::Tz;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::SchemaDescriptor;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::types::{LogicalType, Schema};

use super::conform::{Mismatch, check, conform};
use super::internal;
use crate::api::{ConnectorError, FileDecoder, FileInput, FilePart};

/// Bytes fetched at once where the reader does not say how many it wants.
const READ_BYTES: u64 = 64 * 1024;

/// Reads the row groups that begin in a range of a file.
pub(super) struct ParquetDecoder {
    reader: ParquetRecordBatchReader,
    /// Of each column of the table that is read: where it is in the reader's batches, and its type.
    columns: Vec<(Option<usize>, LogicalType)>,
    names: Vec<String>,
    schema: SchemaRef,
    zone: Option<Tz>,
    table: String,
    file: Arc<dyn FileInput>,
}

impl ParquetDecoder {
    pub fn open(part: FilePart<'_>, zone: Option<Tz>) -> Result<Self, ConnectorError> {
        let (table, file) = (part.table.name.clone(), part.file.clone());
        let fail = |error: &dyn std::fmt::Display| damaged(&table, &*file, error);
        let wanted: Vec<_> = part.projection.iter().map(|column| part.table.schema.fields[*column].clone()).collect();
        let input = Input(part.file.clone());
        // What another system has put beside the schema is for itself.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = guarded(|| ArrowReaderMetadata::load(&input, options)).map_err(|error| fail(&error))?;
        let nanoseconds =
            |name: &str| wanted.iter().any(|field| field.name == name && has_nanoseconds(&field.data_type.logical));
        let hinted = with_units(plain.schema(), plain.parquet_schema(), &nanoseconds);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(hinted);
        let metadata = plain.metadata().clone();
        let metadata = guarded(|| ArrowReaderMetadata::try_new(metadata, options)).map_err(|error| fail(&error))?;

        let found = metadata.schema();
        let mut columns = Vec::with_capacity(wanted.len());
        let mut roots = Vec::new();
        for field in &wanted {
            let logical = field.data_type.logical.clone();
            let at = found.fields().iter().position(|column| *column.name() == field.name);
            if let Some(at) = at {
                check(found.field(at).data_type(), &logical)
                    .map_err(|error| unlike(&table, &*file, &field.name, error))?;
                roots.push(at);
            }
            columns.push((at, logical));
        }
        // The reader gives its columns in the order of the file.
        let mut order = roots.clone();
        order.sort_unstable();
        order.dedup();
        for (at, _) in &mut columns {
            *at = at.and_then(|root| order.binary_search(&root).ok());
        }
        let groups = metadata.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| part.range.contains(&start_of(group))).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(BATCH_ROWS_TARGET)
            .with_offset(usize::try_from(part.rows_read).unwrap_or(usize::MAX));
        let reader = guarded(|| builder.build()).map_err(|error| fail(&error))?;
        let names = wanted.iter().map(|field| field.name.clone()).collect();
        let schema = Schema::new(wanted).to_arrow();
        Ok(Self { reader, columns, names, schema, zone, table, file })
    }
}

impl FileDecoder for ParquetDecoder {
    fn next(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        let reader = &mut self.reader;
        let next = guarded(|| reader.next().transpose().map_err(ParquetError::from));
        let Some(records) = next.map_err(|error| damaged(&self.table, &*self.file, &error))? else { return Ok(None) };
        let rows = records.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for ((at, logical), name) in self.columns.iter().zip(&self.names) {
            columns.push(match at {
                Some(at) => conform(records.column(*at), logical, self.zone)
                    .map_err(|error| unlike(&self.table, &*self.file, name, error))?,
                None => new_null_array(&logical.to_arrow(), rows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        records.map(Some).map_err(|error| internal(error.to_string()))
    }
}

/// Where a row group begins.
fn start_of(group: &RowGroupMetaData) -> u64 {
    let start = group.columns().iter().map(|column| {
        let data = column.data_page_offset();
        column.dictionary_page_offset().map_or(data, |dictionary| dictionary.min(data))
    });
    start.min().and_then(|start| u64::try_from(start).ok()).unwrap_or(0)
}

fn has_nanoseconds(logical: &LogicalType) -> bool {
    match logical {
        LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => *precision > 6,
        LogicalType::Array(item) | LogicalType::Multiset(item) => has_nanoseconds(&item.logical),
        LogicalType::Map(key, value) => has_nanoseconds(&key.logical) || has_nanoseconds(&value.logical),
        LogicalType::Row(fields) => fields.iter().any(|field| has_nanoseconds(&field.data_type.logical)),
        _ => false,
    }
}

/// The schema of a file with INT96 as microseconds, but for the columns that are read to the nanosecond:
/// nanoseconds end in the year 2262.
fn with_units(found: &SchemaRef, file: &SchemaDescriptor, nanoseconds: &dyn Fn(&str) -> bool) -> SchemaRef {
    fn hinted(field: &FieldRef, leaf: &mut usize, file: &SchemaDescriptor, unit: TimeUnit) -> FieldRef {
        let data_type = match field.data_type() {
            ArrowType::Struct(children) => {
                ArrowType::Struct(children.iter().map(|child| hinted(child, leaf, file, unit)).collect())
            }
            ArrowType::List(item) => ArrowType::List(hinted(item, leaf, file, unit)),
            ArrowType::Map(entries, sorted) => ArrowType::Map(hinted(entries, leaf, file, unit), *sorted),
            plain => {
                let at = *leaf;
                *leaf += 1;
                let int96 = at < file.num_columns() && file.column(at).physical_type() == PhysicalType::INT96;
                if int96 { ArrowType::Timestamp(unit, None) } else { plain.clone() }
            }
        };
        Arc::new(ArrowField::clone(field).with_data_type(data_type))
    }
    let mut leaf = 0;
    let fields = found.fields().iter().map(|field| {
        let unit = if nanoseconds(field.name()) { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        hinted(field, &mut leaf, file, unit)
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

/// Calls into the library, whose checks of damaged files may be assertions.
fn guarded<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(ParquetError::General("it is damaged".to_owned())))
}

fn damaged(table: &str, file: &dyn FileInput, error: &dyn std::fmt::Display) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("'{}' cannot be read as parquet: {error}", file.name()),
        action: "put back a file that is whole, or take it away".to_owned(),
    }
}

fn unlike(table: &str, file: &dyn FileInput, column: &str, mismatch: Mismatch) -> ConnectorError {
    let (reason, action) = match mismatch {
        Mismatch::Type { found, wanted } => {
            (format!("is {found} there, and {wanted} in the table"), "declare the column as the files have it")
        }
        Mismatch::Value(error) => {
            (format!("has a value that the table's type cannot hold: {error}"), "declare the column wider")
        }
    };
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("'{}': column '{column}' {reason}", file.name()),
        action: action.to_owned(),
    }
}

/// A file as the library reads it.
struct Input(Arc<dyn FileInput>);

impl Length for Input {
    fn len(&self) -> u64 {
        self.0.bytes()
    }
}

impl ChunkReader for Input {
    type T = Stream;

    fn get_read(&self, start: u64) -> Result<Stream, ParquetError> {
        Ok(Stream { file: self.0.clone(), position: start, read: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.0.bytes());
        if end.is_none() {
            return Err(ParquetError::EOF(format!("{length} bytes at byte {start} are not there")));
        }
        self.0.read(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a position.
struct Stream {
    file: Arc<dyn FileInput>,
    position: u64,
    read: Bytes,
}

impl std::io::Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.read.is_empty() {
            let length = self.file.bytes().saturating_sub(self.position).min(READ_BYTES);
            self.read = self.file.read(self.position, length as usize).map_err(std::io::Error::other)?;
            self.position += length;
        }
        let length = out.len().min(self.read.len());
        self.read.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
