//! The format `json`, with Flink's options and leniencies.

pub(crate) mod base64;
mod compact;
mod decode;
mod encode;
mod marks;
pub(crate) mod scan;
mod value;

#[cfg(test)]
mod tests;

use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{LogicalType, Schema};

pub(crate) use self::value::{strict_time, text_value};
use crate::api::{ConnectorError, Decoder, Encoder, Format, SubtaskContext};
use crate::formats::{Faults, flag, option};

const IDENTIFIER: &str = "json";

/// How timestamps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    /// `2024-03-10 12:00:53.13`
    Sql,
    /// `2024-03-10T12:00:53.13`
    Iso8601,
}

/// The format `json`.
#[derive(Debug)]
pub struct Json;

const OPTIONS: &[OptionSpec] = &[
    spec(
        "ignore-parse-errors",
        OptionKind::Boolean,
        Some("false"),
        "Skips and counts records that cannot be read, and reads fields of a wrong type as NULL.",
    ),
    spec("fail-on-missing-field", OptionKind::Boolean, Some("false"), "Whether a record without a field is malformed."),
    spec(
        "timestamp-format.standard",
        OptionKind::Enum(&["SQL", "ISO-8601"]),
        Some("SQL"),
        "SQL is '2024-03-10 12:00:53.13', ISO-8601 has a T in place of the blank.",
    ),
    spec(
        "encode.decimal-as-plain-number",
        OptionKind::Boolean,
        Some("false"),
        "Writes decimals with their whole scale, never in scientific notation.",
    ),
    spec("encode.ignore-null-fields", OptionKind::Boolean, Some("false"), "Leaves NULL fields out."),
    spec(
        "map-null-key.mode",
        OptionKind::Enum(&["FAIL", "DROP", "LITERAL"]),
        Some("FAIL"),
        "Accepted for scripts written for Flink; without effect, as keys of maps are never NULL here: a query that makes such a map fails.",
    ),
    spec(
        "map-null-key.literal",
        OptionKind::Text,
        Some("null"),
        "Accepted for scripts written for Flink; without effect, see 'map-null-key.mode'.",
    ),
    spec(
        "decode.json-parser.enabled",
        OptionKind::Boolean,
        Some("true"),
        "Accepted for scripts written for Flink; without effect, as there is one decoder, and it always reads no more than the query asks for.",
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

fn timestamps(table: &TableSpec) -> TimestampFormat {
    match option(table, IDENTIFIER, "timestamp-format.standard") {
        Some(text) if text.trim().eq_ignore_ascii_case("ISO-8601") => TimestampFormat::Iso8601,
        _ => TimestampFormat::Sql,
    }
}

impl Format for Json {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "One JSON object a record. Only the fields that a query reads are materialised.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn check(&self, table: &TableSpec, _writing: bool) -> Result<(), TableError> {
        let ignore = flag(table, IDENTIFIER, "ignore-parse-errors");
        if ignore && flag(table, IDENTIFIER, "fail-on-missing-field") {
            return Err(TableError::option(
                "json.fail-on-missing-field",
                "'json.fail-on-missing-field' and 'json.ignore-parse-errors' cannot both be true",
            ));
        }
        for field in &table.schema.fields {
            check_type(&field.name, &field.data_type.logical)?;
        }
        Ok(())
    }

    fn create_decoder(
        &self,
        table: &TableSpec,
        projection: &[usize],
        context: &SubtaskContext,
    ) -> Result<Box<dyn Decoder>, ConnectorError> {
        let faults = Faults::new(table, IDENTIFIER);
        let fields: Vec<_> = projection.iter().filter_map(|column| table.schema.fields.get(*column).cloned()).collect();
        let settings = value::Settings {
            ignore_errors: faults.ignore,
            fail_on_missing: flag(table, IDENTIFIER, "fail-on-missing-field"),
            exact_numbers: fields.iter().any(|field| has_decimal(&field.data_type.logical)),
        };
        let metrics = context.metrics.clone();
        let schema = Schema::new(fields);
        Ok(Box::new(decode::JsonDecoder::new(&schema, timestamps(table), settings, faults, metrics)))
    }

    fn create_encoder(
        &self,
        table: &TableSpec,
        schema: &Schema,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn Encoder>, ConnectorError> {
        Ok(Box::new(encode::JsonEncoder::new(
            schema,
            encode::Style {
                timestamps: timestamps(table),
                plain_decimals: flag(table, IDENTIFIER, "encode.decimal-as-plain-number"),
                ignore_nulls: flag(table, IDENTIFIER, "encode.ignore-null-fields"),
            },
        )))
    }
}

fn has_decimal(logical: &LogicalType) -> bool {
    match logical {
        LogicalType::Decimal(..) => true,
        LogicalType::Array(item) => has_decimal(&item.logical),
        LogicalType::Map(_, value) => has_decimal(&value.logical),
        LogicalType::Row(fields) => fields.iter().any(|field| has_decimal(&field.data_type.logical)),
        _ => false,
    }
}

fn check_type(name: &str, logical: &LogicalType) -> Result<(), TableError> {
    match logical {
        LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond => {
            Err(TableError::table(format!("column '{name}': json has no {logical}")))
        }
        LogicalType::Array(item) => check_type(name, &item.logical),
        LogicalType::Multiset(item) if !item.logical.is_string() => Err(TableError::table(format!(
            "column '{name}': the values of a MULTISET in json are texts, not {}",
            item.logical
        ))),
        LogicalType::Map(key, value) => {
            if !key.logical.is_string() {
                return Err(TableError::table(format!(
                    "column '{name}': the keys of a MAP in json are texts, not {}",
                    key.logical
                )));
            }
            check_type(name, &value.logical)
        }
        LogicalType::Row(fields) => fields.iter().try_for_each(|field| check_type(name, &field.data_type.logical)),
        _ => Ok(()),
    }
}
