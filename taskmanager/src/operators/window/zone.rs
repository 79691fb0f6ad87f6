//! Windows over TIMESTAMP_LTZ align with the local time of the session zone. The rules for hours
//! that a zone has twice or not at all are Flink's (`TimeWindowUtil`) and Java's.

use std::cell::Cell;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use tidemill_common::time::TimestampMs;

const HOUR_MS: i64 = 3_600_000;

/// Between instants and the local time that windows are made in. Without a zone they are the same.
#[derive(Debug, Clone)]
pub(crate) struct WindowZone {
    zone: Option<Tz>,
    daylight_saving: bool,
    /// A span of instants over which the offset does not change, and the offset.
    span: Cell<(i64, i64, i64)>,
}

impl WindowZone {
    /// For times without a zone.
    pub fn local() -> Self {
        Self { zone: None, daylight_saving: false, span: Cell::new((0, 0, 0)) }
    }

    /// The zone of this IANA name.
    pub fn named(name: &str) -> Result<Self, String> {
        let zone: Tz = name
            .parse()
            .map_err(|_| format!("unknown time zone '{name}'; expected a name such as 'Europe/Berlin' or 'UTC'"))?;
        if matches!(zone, Tz::UTC | Tz::Etc__UTC) {
            return Ok(Self::local());
        }
        Ok(Self { zone: Some(zone), daylight_saving: has_daylight_saving(zone), span: Cell::new((0, 0, 0)) })
    }

    /// Whether local time and instants are the same.
    pub fn is_utc(&self) -> bool {
        self.zone.is_none()
    }

    /// The local time at an instant.
    #[inline]
    pub fn to_local(&self, instant: TimestampMs) -> TimestampMs {
        let Some(zone) = self.zone else { return instant };
        let (from, to, offset) = self.span.get();
        if from <= instant && instant < to {
            return instant + offset;
        }
        let offset = offset_at(zone, instant);
        // Offsets change at most at quarter hours; a whole quarter hour is a safe span.
        let from = instant - instant.rem_euclid(HOUR_MS / 4);
        self.span.set((from, from + HOUR_MS / 4, offset));
        instant.saturating_add(offset)
    }

    /// The instant of a local time: the earlier one if there are two; if there is none, the time is
    /// moved forward by the gap.
    pub fn to_instant(&self, local: TimestampMs) -> TimestampMs {
        let Some(zone) = self.zone else { return local };
        let Some(time) = naive(local) else { return local };
        match zone.offset_from_local_datetime(&time) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                local - i64::from(offset.fix().local_minus_utc()) * 1000
            }
            LocalResult::None => {
                // In a gap the offset before it applies. No gap is longer than a day.
                let before = (1..=96)
                    .filter_map(|quarter| naive(local - quarter * HOUR_MS / 4))
                    .find_map(|time| zone.offset_from_local_datetime(&time).latest());
                before.map_or(local, |offset| local - i64::from(offset.fix().local_minus_utc()) * 1000)
            }
        }
    }

    /// The watermark (or clock) at which the local time has passed for good: an hour that comes
    /// twice has passed when its second round has.
    pub fn to_timer(&self, local: TimestampMs) -> TimestampMs {
        if self.zone.is_none() || local == TimestampMs::MAX || !self.daylight_saving {
            return self.to_instant(local);
        }
        let first = self.to_instant(local);
        let next_hour = self.to_instant(local + HOUR_MS);
        if first == next_hour {
            first - first % HOUR_MS
        } else if next_hour - first > HOUR_MS {
            first + HOUR_MS
        } else {
            first
        }
    }
}

fn naive(local: TimestampMs) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(local).map(|time| time.naive_utc())
}

fn offset_at(zone: Tz, instant: TimestampMs) -> i64 {
    naive(instant).map_or(0, |time| i64::from(zone.offset_from_utc_datetime(&time).fix().local_minus_utc()) * 1000)
}

/// Whether the zone still changes its clock, as Java's `useDaylightTime` says.
fn has_daylight_saving(zone: Tz) -> bool {
    // Rules that are in force now have been extended to this year.
    let year = 2037;
    let offsets = (1..=12).filter_map(|month| {
        zone.with_ymd_and_hms(year, month, 15, 12, 0, 0).earliest().map(|time| time.offset().fix().local_minus_utc())
    });
    let offsets: Vec<i32> = offsets.collect();
    offsets.iter().any(|offset| *offset != offsets[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn hours_that_come_twice_or_never() {
        let zone = WindowZone::named("America/Los_Angeles").unwrap();
        assert_eq!(zone.to_local(at("2024-03-10T09:59:59Z")), at("2024-03-10T01:59:59Z"));
        assert_eq!(zone.to_local(at("2024-03-10T10:00:00Z")), at("2024-03-10T03:00:00Z"));
        // Never: moved forward by the gap.
        assert_eq!(zone.to_instant(at("2024-03-10T02:30:00Z")), at("2024-03-10T10:30:00Z"));
        assert_eq!(zone.to_timer(at("2024-03-10T02:30:00Z")), at("2024-03-10T10:00:00Z"));
        // Twice: the first for `window_time`, the second for firing.
        assert_eq!(zone.to_instant(at("2024-11-03T01:30:00Z")), at("2024-11-03T08:30:00Z"));
        assert_eq!(zone.to_timer(at("2024-11-03T01:30:00Z")), at("2024-11-03T09:30:00Z"));
        assert_eq!(zone.to_timer(at("2024-11-03T02:30:00Z")), at("2024-11-03T10:30:00Z"));
        let kolkata = WindowZone::named("Asia/Kolkata").unwrap();
        assert!(!kolkata.daylight_saving);
        assert_eq!(kolkata.to_timer(at("2024-02-29T23:59:59Z")), at("2024-02-29T18:29:59Z"));
        assert!(WindowZone::named("Atlantis/Capital").unwrap_err().contains("Atlantis/Capital"));
    }
}
