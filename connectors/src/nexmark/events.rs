//! Numbers and times of events, and the segments in which columns are filled.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::TimeUnit;
use tidemill_common::types::{LogicalType, timestamp_unit, units_per_millisecond};

use super::config::{Config, Kind};
use super::strings::Strings;
use crate::generator::Stream;

pub(super) const FIRST_AUCTION_ID: i64 = 1000;
pub(super) const FIRST_PERSON_ID: i64 = 1000;
/// Hot auctions, sellers and bidders are the first (or second) of so many.
pub(super) const HOT_GROUP: u64 = 100;
const ACTIVE_PERSONS: u64 = 1000;
const PERSON_ID_LEAD: u64 = 10;
const NANOS_PER_MS: u64 = 1_000_000;

/// Consecutive events of one kind within one epoch: they share what was created before them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub epoch: u64,
    /// Number of the first event.
    pub first: u64,
    pub len: u64,
    /// Events of this kind before it in its epoch.
    pub before: u64,
}

impl Segment {
    pub fn events(self) -> Range<u64> {
        self.first..self.first + self.len
    }
}

/// The settings of a generator with its random streams.
pub(super) struct Generator {
    pub config: Config,
    pub base_time_ms: i64,
    delay_ns: u64,
    disorder: Stream,
    /// Built when a text column is first filled.
    strings: std::cell::OnceCell<Strings>,
}

impl Generator {
    pub fn new(config: Config, base_time_ms: i64) -> Self {
        let delay_ns = (1e9 / config.rate as f64).round() as u64;
        let disorder = Stream::new(config.seed, 1);
        Self { config, base_time_ms, delay_ns, disorder, strings: std::cell::OnceCell::new() }
    }

    pub fn stream(&self, salt: u64) -> Stream {
        Stream::new(self.config.seed, salt)
    }

    pub fn strings(&self) -> &Strings {
        self.strings.get_or_init(|| Strings::new(self.config.seed))
    }

    /// The segments of a kind within a range of events.
    pub fn segments(&self, kind: Kind, events: Range<u64>, out: &mut Vec<Segment>) {
        out.clear();
        let total = self.config.total();
        let (offset, count) = self.config.place(kind);
        if events.is_empty() || count == 0 {
            return;
        }
        for epoch in events.start / total..=(events.end - 1) / total {
            let begin = epoch * total + offset;
            let first = begin.max(events.start);
            let end = (begin + count).min(events.end);
            if first < end {
                out.push(Segment { epoch, first, len: end - first, before: first - begin });
            }
        }
    }

    /// The place of an event on the timeline, in milliseconds, without disorder.
    pub fn time_ms(&self, event: u64) -> i64 {
        let elapsed = u128::from(event) * u128::from(self.delay_ns) / u128::from(NANOS_PER_MS);
        self.base_time_ms.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// The times the events of a range claim for themselves.
    pub fn append_times(&self, events: Range<u64>, out: &mut Vec<i64>) {
        if events.is_empty() {
            return;
        }
        // Whole milliseconds once a range; within it small numbers only.
        let start = u128::from(events.start) * u128::from(self.delay_ns);
        let start_ms =
            self.base_time_ms.saturating_add(i64::try_from(start / u128::from(NANOS_PER_MS)).unwrap_or(i64::MAX));
        let rest = (start % u128::from(NANOS_PER_MS)) as u64;
        let (delay, len) = (self.delay_ns, events.end - events.start);
        if self.config.disorder_ms == 0 {
            out.extend((0..len).map(|i| start_ms.wrapping_add(((rest + i * delay) / NANOS_PER_MS) as i64)));
        } else {
            let (disorder, most) = (self.disorder, self.config.disorder_ms + 1);
            let first = events.start;
            out.extend((0..len).map(|i| {
                let behind = disorder.below(first + i, most) as i64;
                start_ms.wrapping_add(((rest + i * delay) / NANOS_PER_MS) as i64).wrapping_sub(behind)
            }));
        }
    }

    /// Number of the newest person (from 0) when an auction or bid of this epoch is made.
    pub fn last_person(&self, epoch: u64) -> u64 {
        ((epoch + 1) * self.config.persons).saturating_sub(1)
    }

    /// Number of the newest auction (from 0) when a bid of this epoch is made.
    pub fn last_auction(&self, epoch: u64) -> u64 {
        ((epoch + 1) * self.config.auctions).saturating_sub(1)
    }

    /// The persons who may act in this epoch: the first of them, and how many (some are yet to come).
    pub fn active_persons(&self, epoch: u64) -> (u64, u64) {
        let persons = self.last_person(epoch) + 1;
        let active = persons.min(ACTIVE_PERSONS);
        (persons - active, active + PERSON_ID_LEAD)
    }
}

/// One of `n` choices, and what is left of the 32 random bits, spread over the whole range again.
#[inline(always)]
pub(super) fn choose(bits: u32, n: u64) -> (u64, u32) {
    let product = u64::from(bits) * n;
    (product >> 32, product as u32)
}

/// Timestamps as a column declared with `logical`.
pub(super) fn timestamps(mut milliseconds: Vec<i64>, logical: &LogicalType) -> ArrayRef {
    let (precision, zone) = match logical {
        LogicalType::TimestampLtz(precision) => (*precision, Some(Arc::from("UTC"))),
        LogicalType::Timestamp(precision) => (*precision, None),
        _ => (3, None),
    };
    let units = units_per_millisecond(precision);
    if units != 1 {
        milliseconds.iter_mut().for_each(|value| *value = value.saturating_mul(units));
    }
    let values = ScalarBuffer::from(milliseconds);
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values, None).with_timezone_opt(zone)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values, None).with_timezone_opt(zone)),
        _ => Arc::new(TimestampMillisecondArray::new(values, None).with_timezone_opt(zone)),
    }
}
