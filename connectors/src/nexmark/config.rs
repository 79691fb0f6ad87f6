//! The generator's settings, read from the table's options.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use tidemill_common::config::Options;
use tidemill_common::connector::TableError;
use tidemill_common::limits::{BATCH_ROWS_TARGET, RECORD_BYTES_MAX};
use tidemill_common::plan::TableSpec;

/// 2015-07-15 00:00:00 UTC.
const BASE_TIME_MS: i64 = 1_436_918_400_000;
const RATE_DEFAULT: i64 = 100_000;
/// Largest sum of the proportions.
const TOTAL_MAX: u64 = BATCH_ROWS_TARGET as u64;

/// What is in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// All events, in rows of three rows.
    Event,
    /// Only events of a kind, in plain columns.
    Plain(Kind),
}

/// Kinds of events; the numbers are those of the column `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub table: Table,
    /// Events in all; `None` is without end.
    pub events: Option<u64>,
    pub keep_alive: bool,
    /// Events a second of event time.
    pub rate: u64,
    /// Events a second by the wall clock; `None` is full speed.
    pub emit_rate: Option<f64>,
    pub persons: u64,
    pub auctions: u64,
    pub bids: u64,
    pub hot_auctions: u64,
    pub hot_bidders: u64,
    pub hot_sellers: u64,
    pub person_bytes: u64,
    pub auction_bytes: u64,
    pub bid_bytes: u64,
    pub disorder_ms: u64,
    base_time_ms: Option<i64>,
    pub seed: u64,
}

impl Config {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let number = |key: &'static str, default: i64, least: i64, most: i64| {
            let value = options.integer(key).unwrap_or(default);
            if (least..=most).contains(&value) {
                Ok(value as u64)
            } else {
                Err(TableError::option(key, format!("option '{key}' is {value}; it must be {least} to {most}")))
            }
        };
        let size = |key: &'static str, default: u64| {
            let value = options.memory_size(key).unwrap_or(default);
            if value <= RECORD_BYTES_MAX as u64 / 2 {
                Ok(value)
            } else {
                Err(TableError::option(
                    key,
                    format!("option '{key}' is too large; at most {RECORD_BYTES_MAX} bytes / 2"),
                ))
            }
        };
        let rate = number("first-event.rate", RATE_DEFAULT, 1, 1_000_000_000)?;
        if let Some(next) = options.integer("next-event.rate")
            && next != rate as i64
        {
            return Err(TableError::option(
                "next-event.rate",
                format!(
                    "option 'next-event.rate' is {next} and 'first-event.rate' is {rate}: they must be equal, the rate \
                     does not vary"
                ),
            ));
        }
        let stop_at = options.integer("stop-at").and_then(|stop| u64::try_from(stop).ok());
        let events = Some(number("events.num", 0, 0, i64::MAX / 2)?).filter(|events| *events > 0);
        let events = events.into_iter().chain(stop_at).min();
        let full_speed = options
            .boolean("max-emit-speed")
            .unwrap_or_else(|| events.is_some() || options.text("first-event.rate").is_none())
            && options.boolean("rate.limited") != Some(true);
        let persons = number("person.proportion", 1, 0, 10_000)?;
        let auctions = number("auction.proportion", 3, 0, 10_000)?;
        let bids = number("bid.proportion", 46, 0, 10_000)?;
        if !(1..=TOTAL_MAX).contains(&(persons + auctions + bids)) {
            return Err(TableError::option(
                "bid.proportion",
                format!("the proportions of persons, auctions and bids must add up to 1 to {TOTAL_MAX}"),
            ));
        }
        let kind = match options.text("nexmark.table").map(str::to_lowercase).as_deref() {
            Some("person") => Table::Plain(Kind::Person),
            Some("auction") => Table::Plain(Kind::Auction),
            Some("bid") => Table::Plain(Kind::Bid),
            _ => Table::Event,
        };
        let none_of_kind = match kind {
            Table::Event => false,
            Table::Plain(Kind::Person) => persons == 0,
            Table::Plain(Kind::Auction) => auctions == 0,
            Table::Plain(Kind::Bid) => bids == 0,
        };
        if none_of_kind {
            return Err(TableError::option("nexmark.table", "the proportion of this kind of events is 0"));
        }
        Ok(Self {
            table: kind,
            events,
            keep_alive: options.boolean("keep-alive") == Some(true),
            rate,
            emit_rate: (!full_speed).then_some(rate as f64),
            persons,
            auctions,
            bids,
            hot_auctions: number("bid.hot-ratio.auctions", 2, 1, 1_000_000)?,
            hot_bidders: number("bid.hot-ratio.bidders", 4, 1, 1_000_000)?,
            hot_sellers: number("auction.hot-ratio.sellers", 4, 1, 1_000_000)?,
            person_bytes: size("person.avg-size", 200)?,
            auction_bytes: size("auction.avg-size", 500)?,
            bid_bytes: size("bid.avg-size", 100)?,
            disorder_ms: options.duration("nexmark.disorder").map_or(0, |disorder| disorder.as_millis() as u64),
            base_time_ms: base_time(options.text("nexmark.base-time"))?,
            seed: options.integer("nexmark.seed").unwrap_or(0) as u64,
        })
    }

    /// Events of an epoch: after so many, kinds repeat in the same order.
    pub fn total(&self) -> u64 {
        self.persons + self.auctions + self.bids
    }

    /// Where the events of a kind are in an epoch, and how many.
    pub fn place(&self, kind: Kind) -> (u64, u64) {
        match kind {
            Kind::Person => (0, self.persons),
            Kind::Auction => (self.persons, self.auctions),
            Kind::Bid => (self.persons + self.auctions, self.bids),
        }
    }

    /// Events that one reader generates before the next reader's turn: about a batch, in whole epochs.
    pub fn block(&self) -> u64 {
        self.total() * (BATCH_ROWS_TARGET as u64 / self.total()).max(1)
    }

    /// The time of the first event; the clock's if the option says so.
    pub fn base_time_ms(&self) -> i64 {
        self.base_time_ms.unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }
}

fn base_time(text: Option<&str>) -> Result<Option<i64>, TableError> {
    let Some(text) = text.map(str::trim) else { return Ok(Some(BASE_TIME_MS)) };
    if text.eq_ignore_ascii_case("now") {
        return Ok(None);
    }
    let parsed = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok());
    match parsed {
        Some(time) => Ok(Some(time.and_utc().timestamp_millis())),
        None => Err(TableError::option(
            "nexmark.base-time",
            format!("option 'nexmark.base-time': '{text}' is neither 'now' nor a time like 2024-01-31 12:00:00"),
        )),
    }
}
