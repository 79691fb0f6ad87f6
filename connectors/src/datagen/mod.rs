//! `datagen`: rows made up in memory, random or in sequence, with Flink's options.
//!
//! Every value is a function of the seed, the column and the number of its row, so that a seeded
//! table holds the same rows at any parallelism, and a reader can go on from any row.

mod column;
mod fields;
mod reader;

use tidemill_common::config::Options;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::ids::SplitId;
use tidemill_common::plan::{SourceSpec, TableSpec};

use self::fields::Fields;
use self::reader::{DatagenReader, DatagenSplit};
use crate::api::{Connector, ConnectorContext, ConnectorError, SourceReader, Split, SplitEnumerator, SubtaskContext};
use crate::generator::{StaticEnumerator, fresh_seed};

pub(crate) const IDENTIFIER: &str = "datagen";
const ROWS_PER_SECOND_DEFAULT: i64 = 10_000;

/// The connector `datagen`.
pub struct Datagen;

const fn option(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

const OPTIONS: &[OptionSpec] = &[
    option(
        "rows-per-second",
        OptionKind::Integer,
        Some("10000"),
        "Rows a second, of all readers together. Rows are held back by the wall clock to keep to it.",
    ),
    option(
        "number-of-rows",
        OptionKind::Integer,
        None,
        "Rows in all, after which the table ends. Without it, and without a `sequence`, the table is unbounded.",
    ),
    option(
        "seed",
        OptionKind::Integer,
        None,
        "Makes random values the same in every run and at every parallelism (all but dates and times, which follow \
         the clock). Tidemill's own; without it every job has other values.",
    ),
    option(
        "fields.#.kind",
        OptionKind::Enum(&["random", "sequence"]),
        Some("random"),
        "How column `#` is made: `random` values, or the numbers from `start` to `end`, each once. The first sequence \
         that ends ends the table. Fields of rows, elements of arrays, keys and values of maps are named by a path: \
         `fields.point.x.min`, `fields.list.element.max`, `fields.map.key.length`, `fields.map.value.length`.",
    ),
    option(
        "fields.#.min",
        OptionKind::Number,
        None,
        "Smallest random number of column `#`; the smallest of the type otherwise (0 for FLOAT and DOUBLE).",
    ),
    option(
        "fields.#.max",
        OptionKind::Number,
        None,
        "Largest random number of column `#`; the largest of the type otherwise.",
    ),
    option(
        "fields.#.max-past",
        OptionKind::Duration,
        Some("0 ms"),
        "How far a random TIMESTAMP or TIMESTAMP_LTZ of column `#` may lie behind the clock.",
    ),
    option(
        "fields.#.length",
        OptionKind::Integer,
        None,
        "Length of a random text (hexadecimal digits) or of bytes: 100 for STRING and BYTES, else the type's length. \
         Elements of an ARRAY or MAP: 3.",
    ),
    option(
        "fields.#.var-len",
        OptionKind::Boolean,
        Some("false"),
        "Whether the length of a random VARCHAR, STRING, VARBINARY or BYTES varies from 1 to `length`.",
    ),
    option("fields.#.start", OptionKind::Integer, None, "First number of a sequence; required for one."),
    option("fields.#.end", OptionKind::Integer, None, "Last number of a sequence; required for one."),
    option("fields.#.null-rate", OptionKind::Number, Some("0"), "Share of NULL among random values, 0 to 1."),
];

impl Connector for Datagen {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Makes up rows in memory: random values or sequences for every physical column. Random DATE \
                          and TIME values are those of the clock.",
            options: OPTIONS.to_vec(),
            prefixes: &["fields."],
            source: true,
            sink: false,
            formats: false,
            partitions: false,
        }
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        let options = Options(&table.options);
        for (key, least) in [("rows-per-second", 1), ("number-of-rows", 0)] {
            if options.integer(key).is_some_and(|value| value < least) {
                return Err(TableError::option(key, format!("option '{key}' must be {least} or more")));
            }
        }
        Fields::new(table, 0).map(drop)
    }

    fn is_bounded(&self, table: &TableSpec) -> bool {
        rows(table).is_some()
    }

    fn probe_source(&self, _table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn create_enumerator(
        &self,
        source: &SourceSpec,
        parallelism: u32,
        _context: &ConnectorContext,
    ) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let seed = Options(&source.table.options).integer("seed").map_or_else(fresh_seed, |seed| seed as u64);
        let stride = u64::from(parallelism.max(1));
        let splits = (0..stride)
            .map(|first| {
                let split = DatagenSplit { seed, next: first, stride, rows: rows(&source.table) };
                Ok(Split::new(SplitId(format!("rows-{first}-of-{stride}")), split.to_json()?))
            })
            .collect::<Result<_, ConnectorError>>()?;
        Ok(Box::new(StaticEnumerator::new(IDENTIFIER, &source.table.name, parallelism, splits)))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        Ok(Box::new(DatagenReader::new(source)?))
    }
}

/// Rows of the table in all: `number-of-rows` or the shortest sequence, whichever is less.
fn rows(table: &TableSpec) -> Option<u64> {
    let wanted = Options(&table.options).integer("number-of-rows").map(|rows| rows.max(0) as u64);
    let sequences = Fields::new(table, 0).ok().and_then(|fields| fields.sequence_rows);
    wanted.into_iter().chain(sequences).min()
}

#[cfg(test)]
mod tests;
