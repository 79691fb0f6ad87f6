//! The format `parquet`: files of column chunks, with Flink's options and types.

mod conform;
mod read;
mod write;

#[cfg(test)]
mod tests;

use chrono_tz::Tz;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use tidemill_common::config::parse_memory_size;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{LogicalType, Schema};

use crate::api::{
    ConnectorError, Decoder, Encoder, FileDecoder, FileEncoder, FileFormat, FilePart, Format, SubtaskContext,
};
use crate::formats::{flag, option};

const IDENTIFIER: &str = "parquet";

/// The format `parquet`.
#[derive(Debug)]
pub struct Parquet;

const OPTIONS: &[OptionSpec] = &[
    spec(
        "compression",
        OptionKind::Text,
        Some("SNAPPY"),
        "Of what is written: UNCOMPRESSED, SNAPPY, GZIP, ZSTD or LZ4_RAW. All of them are read.",
    ),
    spec(
        "utc-timezone",
        OptionKind::Boolean,
        Some("false"),
        "Whether timestamps are kept in UTC. If not, they are kept in the zone of the process, which its environment names in TZ (UTC without it).",
    ),
    spec(
        "write.int64.timestamp",
        OptionKind::Boolean,
        Some("true"),
        "Timestamps are written as INT64 with their unit. INT96, which Flink writes unless told otherwise, is outdated and is read only: 'false' is refused.",
    ),
    spec(
        "timestamp.time.unit",
        OptionKind::Enum(&["millis", "micros", "nanos"]),
        None,
        "Unit of written timestamps; what is finer is cut. Without it micros, and nanos for a precision above 6.",
    ),
    spec("block.size", OptionKind::MemorySize, Some("128 mb"), "About the size of a row group."),
    spec("page.size", OptionKind::MemorySize, Some("1 mb"), "About the size of a page."),
    spec(
        "enable.dictionary",
        OptionKind::Boolean,
        Some("true"),
        "Whether repeated values are written as a dictionary.",
    ),
    spec(
        "dictionary.page.size",
        OptionKind::MemorySize,
        Some("1 mb"),
        "Largest dictionary of a column in a row group.",
    ),
];

const fn spec(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

/// Codecs by the names that Flink has for them.
fn compression(text: &str) -> Result<Compression, String> {
    match text.trim().to_uppercase().as_str() {
        "UNCOMPRESSED" => Ok(Compression::UNCOMPRESSED),
        "SNAPPY" => Ok(Compression::SNAPPY),
        "GZIP" => Ok(Compression::GZIP(GzipLevel::default())),
        "ZSTD" => Ok(Compression::ZSTD(ZstdLevel::default())),
        "LZ4_RAW" => Ok(Compression::LZ4_RAW),
        "LZ4" => Err("'LZ4' is outdated and read only; write 'LZ4_RAW'".to_owned()),
        _ => Err(format!("'{text}' is none of UNCOMPRESSED, SNAPPY, GZIP, ZSTD and LZ4_RAW")),
    }
}

/// The options of a table, read.
#[derive(Clone, Debug)]
struct Settings {
    compression: Compression,
    /// Zone of timestamps in files; `None` for UTC.
    zone: Option<Tz>,
    unit: Option<arrow::datatypes::TimeUnit>,
    block_bytes: usize,
    page_bytes: usize,
    dictionary: bool,
    dictionary_bytes: usize,
}

impl Settings {
    fn new(table: &TableSpec) -> Result<Self, TableError> {
        use arrow::datatypes::TimeUnit;

        let bytes = |key: &str, default: usize| {
            let size = option(table, IDENTIFIER, key).and_then(|text| parse_memory_size(text).ok());
            size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX)).max(1)
        };
        let named = option(table, IDENTIFIER, "compression").unwrap_or("SNAPPY");
        let compression = compression(named).map_err(|error| TableError::option("parquet.compression", error))?;
        let local = std::env::var("TZ").ok().and_then(|name| name.trim_start_matches(':').parse::<Tz>().ok());
        let unit =
            option(table, IDENTIFIER, "timestamp.time.unit").map(|unit| match unit.trim().to_lowercase().as_str() {
                "millis" => TimeUnit::Millisecond,
                "nanos" => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            });
        Ok(Self {
            compression,
            zone: local.filter(|zone| *zone != Tz::UTC && !flag(table, IDENTIFIER, "utc-timezone")),
            unit,
            block_bytes: bytes("block.size", 128 << 20),
            page_bytes: bytes("page.size", 1 << 20),
            dictionary: option(table, IDENTIFIER, "enable.dictionary")
                .is_none_or(|text| !text.trim().eq_ignore_ascii_case("false")),
            dictionary_bytes: bytes("dictionary.page.size", 1 << 20),
        })
    }

    fn checked(table: &TableSpec) -> Result<Self, ConnectorError> {
        Self::new(table).map_err(|error| internal(error.message))
    }
}

fn internal(reason: impl Into<String>) -> ConnectorError {
    ConnectorError::Internal { connector: IDENTIFIER, reason: reason.into() }
}

fn check_type(name: &str, logical: &LogicalType) -> Result<(), TableError> {
    match logical {
        LogicalType::Null | LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond => {
            Err(TableError::table(format!("column '{name}': parquet has no {logical}")))
        }
        LogicalType::Array(item) | LogicalType::Multiset(item) => check_type(name, &item.logical),
        LogicalType::Map(key, value) => {
            check_type(name, &key.logical)?;
            check_type(name, &value.logical)
        }
        LogicalType::Row(fields) if fields.is_empty() => {
            Err(TableError::table(format!("column '{name}': parquet has no ROW without fields")))
        }
        LogicalType::Row(fields) => fields.iter().try_for_each(|field| check_type(name, &field.data_type.logical)),
        _ => Ok(()),
    }
}

impl Format for Parquet {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Apache Parquet files. Only the columns that a query reads are fetched and decoded; columns are \
                          found by their names, those that a file does not have are NULL. A file is read in splits of \
                          whole row groups.",
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

    fn has_records(&self) -> bool {
        false
    }

    fn check(&self, table: &TableSpec, writing: bool) -> Result<(), TableError> {
        Settings::new(table)?;
        let key = "write.int64.timestamp";
        if writing && option(table, IDENTIFIER, key).is_some() && !flag(table, IDENTIFIER, key) {
            return Err(TableError::option(
                "parquet.write.int64.timestamp",
                "INT96 timestamps can be read, not written; leave the option out",
            ));
        }
        table.schema.fields.iter().try_for_each(|field| check_type(&field.name, &field.data_type.logical))
    }

    fn create_decoder(
        &self,
        _table: &TableSpec,
        _projection: &[usize],
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        Err(internal("it has no single records"))
    }

    fn create_encoder(
        &self,
        _table: &TableSpec,
        _schema: &Schema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        Err(internal("it has no single records"))
    }
}

impl FileFormat for Parquet {
    fn splittable(&self) -> bool {
        true
    }

    fn open(&self, part: FilePart<'_>, _context: &SubtaskContext) -> Result<Box<dyn FileDecoder>, ConnectorError> {
        let zone = Settings::checked(part.table)?.zone;
        Ok(Box::new(read::ParquetDecoder::open(part, zone)?))
    }

    fn create_file_encoder(
        &self,
        table: &TableSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn FileEncoder>, ConnectorError> {
        Ok(Box::new(write::ParquetEncoder::new(table, &Settings::checked(table)?)?))
    }
}
