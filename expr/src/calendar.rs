//! The proleptic Gregorian calendar, and zones.

use chrono::{Offset, TimeZone};
use chrono_tz::Tz;

pub const MILLIS_PER_DAY: i64 = 86_400_000;
pub const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 of a date. Months and days beyond their range are not checked.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Whether February has 29 days.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month (1 to 12).
pub fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day that lies `months` later; a day of the month that does not exist becomes the last one.
pub fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + month - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(year, month, day.min(days_of_month(year, month)))
}

/// Day of the week, 1 (Monday) to 7 (Sunday).
pub fn iso_day_of_week(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// Year and week by ISO 8601.
pub fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days + 4 - iso_day_of_week(days);
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Offsets of a zone, remembering the last day asked for: rows of a batch mostly lie close together.
pub struct Zone {
    zone: Tz,
    /// A day of UTC during which the offset does not change, and the offset in seconds.
    utc_day: Option<(i64, i64)>,
    /// The one offset of a zone that has no rules.
    fixed: Option<i64>,
}

impl Zone {
    pub fn new(zone: Tz) -> Self {
        Self { zone, utc_day: None, fixed: None }
    }

    /// A zone of always the same offset in seconds.
    pub fn fixed(offset: i64) -> Self {
        Self { zone: Tz::UTC, utc_day: None, fixed: Some(offset) }
    }

    fn is_utc(&self) -> bool {
        self.fixed.is_none() && matches!(self.zone, Tz::UTC | Tz::Etc__UTC)
    }

    fn lookup(&self, utc_seconds: i64) -> i64 {
        if let Some(offset) = self.fixed {
            return offset;
        }
        // chrono's range ends far beyond what a zone's rules say.
        let clamped = within_rules(utc_seconds).clamp(-200_000_000_000, 200_000_000_000);
        match chrono::DateTime::from_timestamp(clamped, 0) {
            Some(instant) => {
                i64::from(self.zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
            }
            None => 0,
        }
    }

    /// The offset in seconds at an instant.
    pub fn offset_at(&mut self, utc_seconds: i64) -> i64 {
        if self.is_utc() {
            return 0;
        }
        let day = utc_seconds.div_euclid(SECONDS_PER_DAY);
        if let Some((known, offset)) = self.utc_day
            && known == day
        {
            return offset;
        }
        let (first, last) = (self.lookup(day * SECONDS_PER_DAY), self.lookup((day + 1) * SECONDS_PER_DAY - 1));
        if first == last {
            self.utc_day = Some((day, first));
            return first;
        }
        self.lookup(utc_seconds)
    }

    /// Local time of an instant, both in units of which `per_second` are a second.
    pub fn to_local(&mut self, instant: i64, per_second: i64) -> i64 {
        let offset = self.offset_at(instant.div_euclid(per_second));
        instant.saturating_add(offset.saturating_mul(per_second))
    }

    /// The instant of a local time. As in Java, a time that a gap skips is moved by the length of the
    /// gap, and of two instants the earlier is taken.
    pub fn to_instant(&mut self, local: i64, per_second: i64) -> i64 {
        if self.is_utc() {
            return local;
        }
        let seconds = local.div_euclid(per_second);
        // Before any change of that day, and after it.
        let before = self.offset_at(seconds.saturating_sub(SECONDS_PER_DAY));
        let after = self.offset_at(seconds.saturating_add(SECONDS_PER_DAY));
        let offset = if before == after {
            before
        } else {
            // The offset before the change holds up to the change; in a gap Java keeps it too.
            let with_before = self.lookup(seconds - before);
            if with_before == before {
                before
            } else if self.lookup(seconds - after) == after {
                after
            } else {
                before
            }
        };
        local.saturating_sub(offset.saturating_mul(per_second))
    }
}

/// First year of which the zone tables at hand may not tell the changes.
const RULES_END: i64 = 2100;

/// The same time in a year that the tables know and that has the same days of the week: rules go on for ever.
fn within_rules(utc_seconds: i64) -> i64 {
    // Cheap for the times that there are.
    if utc_seconds < 4_102_444_800 {
        return utc_seconds;
    }
    let (year, _, _) = civil_from_days(utc_seconds.div_euclid(SECONDS_PER_DAY).min(4_000_000));
    let first_day = |year: i64| days_from_civil(year, 1, 1);
    let same = |other: &i64| {
        is_leap(*other) == is_leap(year) && iso_day_of_week(first_day(*other)) == iso_day_of_week(first_day(year))
    };
    match (RULES_END - 28..RULES_END).find(same) {
        Some(other) => utc_seconds - (first_day(year) - first_day(other)) * SECONDS_PER_DAY,
        None => utc_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, LocalResult, NaiveDate};
    use proptest::prelude::*;

    #[test]
    fn gaps_and_overlaps() {
        let mut zone = Zone::new(chrono_tz::Europe::Berlin);
        let local = |y, m, d, h: i64, min: i64| days_from_civil(y, m, d) * MILLIS_PER_DAY + (h * 60 + min) * 60_000;
        // 2024-03-31 02:30 does not exist and is 03:30 summer time, 01:30 UTC.
        assert_eq!(zone.to_instant(local(2024, 3, 31, 2, 30), 1000), local(2024, 3, 31, 1, 30));
        // 2024-10-27 02:30 exists twice: summer time first, 00:30 UTC.
        assert_eq!(zone.to_instant(local(2024, 10, 27, 2, 30), 1000), local(2024, 10, 27, 0, 30));
        assert_eq!(zone.to_local(local(2024, 7, 1, 0, 0), 1000), local(2024, 7, 1, 2, 0));
    }

    #[test]
    fn rules_go_on_for_ever() {
        let mut zone = Zone::new(chrono_tz::America::New_York);
        // 2255-03-14 is the second Sunday of March: summer time begins at 07:00 UTC.
        let change = days_from_civil(2255, 3, 11) * SECONDS_PER_DAY + 7 * 3_600;
        assert_eq!(zone.offset_at(change - 1), -5 * 3_600);
        assert_eq!(zone.offset_at(change), -4 * 3_600);
        assert_eq!(Zone::fixed(3_600).to_local(0, 1), 3_600);
    }

    #[test]
    fn weeks() {
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2000, 1, 1)), (1999, 52));
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(days in -700_000_i64..2_900_000) {
            let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(days);
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!((year, month, day), (i64::from(date.year()), i64::from(date.month()), i64::from(date.day())));
            prop_assert_eq!(days_from_civil(year, month, day), days);
            prop_assert_eq!(iso_day_of_week(days), i64::from(date.weekday().number_from_monday()));
            prop_assert_eq!(iso_week(days).1, i64::from(date.iso_week().week()));
        }

        #[test]
        fn local_times_agree_with_chrono(seconds in -2_000_000_000_i64..4_000_000_000, pick in 0_usize..5) {
            use chrono_tz::Tz;
            let tz = [Tz::America__New_York, Tz::Europe__London, Tz::Asia__Kolkata, Tz::Australia__Lord_Howe, Tz::America__Sao_Paulo][pick];
            let mut zone = Zone::new(tz);
            let naive = chrono::DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            if let LocalResult::Single(found) | LocalResult::Ambiguous(found, _) = tz.from_local_datetime(&naive) {
                prop_assert_eq!(zone.to_instant(seconds, 1), found.timestamp());
            }
            let local = zone.to_local(seconds, 1);
            prop_assert_eq!(local, seconds + i64::from(tz.offset_from_utc_datetime(&naive).fix().local_minus_utc()));
        }
    }
}
