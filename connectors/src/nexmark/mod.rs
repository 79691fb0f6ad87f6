//! `nexmark`: the events of the Nexmark benchmark, as its Java generator for Flink makes them
//! (github.com/nexmark/nexmark), but seeded.
//!
//! Of every 50 events 1 is a new person, 3 are new auctions and 46 are bids. All that an event holds
//! is a function of the seed and of its number, so that any range of events can be generated alone
//! and the table is the same at every parallelism.
//!
//! Differences from the Java generator: event ids begin at 0; there is one timeline, which readers
//! share in blocks; bidders are not shifted by 1000 (there `FIRST_PERSON_ID` is added twice), so that
//! bids refer to persons; the random texts come from a smaller pool.

mod auction;
mod bid;
mod config;
mod events;
mod model;
mod person;
mod reader;
mod strings;

use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::ids::SplitId;
use tidemill_common::plan::{SourceSpec, TableSpec};

use self::config::Config;
use self::model::Layout;
use self::reader::{NexmarkReader, NexmarkSplit};
use crate::api::{Connector, ConnectorContext, ConnectorError, SourceReader, Split, SplitEnumerator, SubtaskContext};
use crate::generator::StaticEnumerator;

pub(crate) const IDENTIFIER: &str = "nexmark";

/// The connector `nexmark`.
pub struct Nexmark;

const fn option(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

const OPTIONS: &[OptionSpec] = &[
    option("events.num", OptionKind::Integer, Some("0"), "Events in all, of all three kinds; 0 is without end."),
    option(
        "first-event.rate",
        OptionKind::Integer,
        Some("100000"),
        "Events a second of event time: the spacing of the timestamps (the Java generator's default is 10000). It is \
         also the rate by the wall clock where events are not emitted at full speed, see 'max-emit-speed'.",
    ),
    option(
        "next-event.rate",
        OptionKind::Integer,
        None,
        "Must equal 'first-event.rate' where it is set: the rate does not vary (nor does it in the Java generator).",
    ),
    option(
        "max-emit-speed",
        OptionKind::Boolean,
        None,
        "Whether events are emitted as fast as possible (`true`) or when they are due by the wall clock (`false`). By \
         default `true`, but `false` for a table without end whose 'first-event.rate' is set.",
    ),
    option("rate.limited", OptionKind::Boolean, Some("false"), "`true` is the same as 'max-emit-speed' = 'false'."),
    option(
        "rate.shape",
        OptionKind::Enum(&["SQUARE", "SINE"]),
        Some("SQUARE"),
        "Without effect: the rate is constant.",
    ),
    option("rate.period", OptionKind::Duration, Some("600 s"), "Without effect: the rate is constant."),
    option("person.proportion", OptionKind::Integer, Some("1"), "Share of new persons among the events."),
    option("auction.proportion", OptionKind::Integer, Some("3"), "Share of new auctions among the events."),
    option("bid.proportion", OptionKind::Integer, Some("46"), "Share of bids among the events."),
    option(
        "bid.hot-ratio.auctions",
        OptionKind::Integer,
        Some("2"),
        "Of so many bids all but one go to the hot auction (the first of the last hundred).",
    ),
    option(
        "bid.hot-ratio.bidders",
        OptionKind::Integer,
        Some("4"),
        "Of so many bids all but one come from the hot bidder (the second of the last hundred persons).",
    ),
    option(
        "auction.hot-ratio.sellers",
        OptionKind::Integer,
        Some("4"),
        "Of so many auctions all but one are of the hot seller (the first of the last hundred persons).",
    ),
    option("person.avg-size", OptionKind::MemorySize, Some("200 b"), "Mean size of a person; `extra` fills it up."),
    option("auction.avg-size", OptionKind::MemorySize, Some("500 b"), "Mean size of an auction; `extra` fills it up."),
    option("bid.avg-size", OptionKind::MemorySize, Some("100 b"), "Mean size of a bid; `extra` fills it up."),
    option(
        "keep-alive",
        OptionKind::Boolean,
        Some("false"),
        "Whether the table stays open, silently, after its last event.",
    ),
    option(
        "stop-at",
        OptionKind::Integer,
        Some("-1"),
        "Ends after so many events, if that is before 'events.num'; -1 is never.",
    ),
    option(
        "nexmark.table",
        OptionKind::Enum(&["event", "person", "auction", "bid"]),
        Some("event"),
        "Tidemill's own. `event`: the benchmark's table of all events, with the columns `event_type INT` (0 person, \
         1 auction, 2 bid), `person ROW<..>`, `auction ROW<..>`, `bid ROW<..>` and, if wanted, `ts` (its time). \
         `person`, `auction`, `bid`: events of that kind only, with its fields as plain columns.",
    ),
    option(
        "nexmark.disorder",
        OptionKind::Duration,
        Some("0 ms"),
        "Tidemill's own: how far, at random, the time of an event may lie behind its place in the stream.",
    ),
    option(
        "nexmark.base-time",
        OptionKind::Text,
        Some("2015-07-15 00:00:00"),
        "Tidemill's own: the time of the first event in UTC, as `yyyy-MM-dd HH:mm:ss`, or `now`.",
    ),
    option("nexmark.seed", OptionKind::Integer, Some("0"), "Tidemill's own: tables of equal seed are equal."),
];

impl Connector for Nexmark {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "The events of the Nexmark benchmark: persons, auctions and bids of an auction house. A table \
                          may declare any of the columns. Persons: `id BIGINT, name STRING, emailAddress STRING, \
                          creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP(3), extra STRING`. \
                          Auctions: `id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, \
                          dateTime TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING`. \
                          Bids: `auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, \
                          dateTime TIMESTAMP(3), extra STRING`.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: true,
            sink: false,
            formats: false,
            partitions: false,
        }
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        let config = Config::new(table)?;
        Layout::new(table, &config, &(0..table.schema.len()).collect::<Vec<_>>()).map(drop)
    }

    fn is_bounded(&self, table: &TableSpec) -> bool {
        Config::new(table).is_ok_and(|config| config.events.is_some() && !config.keep_alive)
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
        let config = config_of(&source.table)?;
        let shares = u64::from(parallelism.max(1));
        let splits = (0..shares)
            .map(|share| {
                let split = NexmarkSplit::new(share, shares, config.base_time_ms());
                let state = serde_json::to_value(&split)
                    .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
                Ok(Split::new(SplitId(format!("events-{share}-of-{shares}")), state))
            })
            .collect::<Result<_, ConnectorError>>()?;
        Ok(Box::new(StaticEnumerator::new(IDENTIFIER, &source.table.name, parallelism, splits)))
    }

    fn create_reader(
        &self,
        source: &SourceSpec,
        _context: &SubtaskContext,
    ) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let config = config_of(&source.table)?;
        let layout = Layout::new(&source.table, &config, &source.projection).map_err(internal)?;
        Ok(Box::new(NexmarkReader::new(source.table.name.clone(), config, layout)))
    }
}

fn config_of(table: &TableSpec) -> Result<Config, ConnectorError> {
    Config::new(table).map_err(internal)
}

/// The table was checked when the job was planned.
fn internal(error: TableError) -> ConnectorError {
    ConnectorError::Internal { connector: IDENTIFIER, reason: error.message }
}

#[cfg(test)]
mod tests;
