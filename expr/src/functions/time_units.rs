//! Units of time: fields, rounding, differences.

use tidemill_common::suggest;

use crate::calendar::{SECONDS_PER_DAY, add_months, civil_from_days, days_from_civil, iso_day_of_week, iso_week};
use crate::pattern::Moment;

/// A unit or a field of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    Doy,
    Dow,
    IsoDow,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

const NAMES: [(&str, Unit); 19] = [
    ("MILLENNIUM", Unit::Millennium),
    ("CENTURY", Unit::Century),
    ("DECADE", Unit::Decade),
    ("YEAR", Unit::Year),
    ("ISOYEAR", Unit::IsoYear),
    ("QUARTER", Unit::Quarter),
    ("MONTH", Unit::Month),
    ("WEEK", Unit::Week),
    ("DAY", Unit::Day),
    ("DOY", Unit::Doy),
    ("DOW", Unit::Dow),
    ("ISODOW", Unit::IsoDow),
    ("HOUR", Unit::Hour),
    ("MINUTE", Unit::Minute),
    ("SECOND", Unit::Second),
    ("MILLISECOND", Unit::Millisecond),
    ("MICROSECOND", Unit::Microsecond),
    ("NANOSECOND", Unit::Nanosecond),
    ("EPOCH", Unit::Epoch),
];

impl Unit {
    /// The unit of a name, in any case.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let upper = name.to_uppercase();
        NAMES.iter().find(|(known, _)| *known == upper).map(|(_, unit)| *unit).ok_or_else(|| {
            let hint = match suggest::nearest(&upper, NAMES.iter().map(|(known, _)| *known)) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            format!("'{name}' is not a unit of time{hint}")
        })
    }
}

/// Milliseconds since 1970.
fn millis(moment: Moment) -> i64 {
    (moment.days * SECONDS_PER_DAY + moment.second_of_day) * 1_000 + moment.nanos / 1_000_000
}

/// The day of a time as Flink has it: it divides towards 1970, so that a time before it belongs to the next
/// day unless it is midnight.
fn java_days(moment: Moment) -> i64 {
    millis(moment) / (SECONDS_PER_DAY * 1_000)
}

/// A field of a local time. As in Flink, all divisions are towards zero: hours before 1970 are negative.
pub(super) fn extract_unit(unit: Unit, moment: Moment) -> i64 {
    let total = millis(moment);
    match unit {
        Unit::Hour => return total % 86_400_000 / 3_600_000,
        Unit::Minute => return total % 3_600_000 / 60_000,
        Unit::Second => return total % 60_000 / 1_000,
        Unit::Millisecond => return total % 1_000,
        Unit::Microsecond => return total % 1_000 * 1_000 + moment.nanos % 1_000_000 / 1_000,
        Unit::Nanosecond => return total % 1_000 * 1_000_000 + moment.nanos % 1_000_000,
        Unit::Epoch => return total / 1_000,
        _ => {}
    }
    let days = java_days(moment);
    let (year, month, day) = civil_from_days(days);
    match unit {
        Unit::Week => iso_week(days).1,
        Unit::IsoYear => iso_week(days).0,
        Unit::Dow => iso_day_of_week(days) % 7 + 1,
        Unit::IsoDow => iso_day_of_week(days),
        Unit::Millennium => {
            if year > 0 {
                (year + 999) / 1_000
            } else {
                (year - 999) / 1_000
            }
        }
        Unit::Century => {
            if year > 0 {
                (year + 99) / 100
            } else {
                (year - 99) / 100
            }
        }
        Unit::Decade => year / 10,
        Unit::Quarter => (month + 2) / 3,
        Unit::Month => month,
        Unit::Day => day,
        Unit::Doy => days - days_from_civil(year, 1, 1) + 1,
        _ => year,
    }
}

/// Year, month and day as Flink has them when it rounds: by the Julian calendar before October 1582, although
/// dates are shown by the Gregorian one.
fn date_of(days: i64) -> (i64, i64, i64) {
    const EPOCH_JULIAN: i64 = 2_440_588;
    let julian = days + EPOCH_JULIAN;
    if julian > 2_299_160 {
        return civil_from_days(days);
    }
    let c = julian + 32_082;
    let d = (4 * c + 3) / 1_461;
    let e = c - 1_461 * d / 4;
    let m = (5 * e + 2) / 153;
    (d - 4_800 + m / 10, m + 3 - 12 * (m / 10), e - (153 * m + 2) / 5 + 1)
}

/// A field of an interval of months or milliseconds.
pub(super) fn interval_unit(unit: Unit, months: bool, value: i64) -> Option<i64> {
    Some(match (unit, months) {
        (Unit::Year, true) => value / 12,
        (Unit::Month, true) => value % 12,
        (Unit::Day, false) => value / 86_400_000,
        (Unit::Hour, false) => value % 86_400_000 / 3_600_000,
        (Unit::Minute, false) => value % 3_600_000 / 60_000,
        (Unit::Second, false) => value % 60_000 / 1_000,
        _ => return None,
    })
}

/// The start of the unit a time lies in, or (`up`) of the next one unless it is a start itself.
pub(super) fn floor_to(unit: Unit, moment: Moment, up: bool) -> Moment {
    let day = |days: i64| Moment { days, second_of_day: 0, nanos: 0 };
    let days = java_days(moment);
    let (year, month, day_of_month) = date_of(days);
    let calendar = |start_year: i64, start_month: i64, months: i64| {
        let start = days_from_civil(start_year, start_month, 1);
        (day(start), day(add_months(start, months)))
    };
    let within = |seconds: i64| {
        let start = moment.second_of_day - moment.second_of_day % seconds;
        let next = start + seconds;
        (
            Moment { days: moment.days, second_of_day: start, nanos: 0 },
            Moment { days: moment.days + next / SECONDS_PER_DAY, second_of_day: next % SECONDS_PER_DAY, nanos: 0 },
        )
    };
    let (start, next) = match unit {
        Unit::Millennium => calendar((year - 1).div_euclid(1_000) * 1_000 + 1, 1, 12_000),
        Unit::Century => calendar((year - 1).div_euclid(100) * 100 + 1, 1, 1_200),
        Unit::Decade => calendar(year.div_euclid(10) * 10, 1, 120),
        Unit::Quarter => calendar(year, (month - 1) / 3 * 3 + 1, 3),
        Unit::Month => calendar(year, month, 1),
        Unit::Week => {
            // Weeks start on Sunday here.
            let start = days_from_civil(year, month, day_of_month) - iso_day_of_week(days) % 7;
            (day(start), day(start + 7))
        }
        Unit::Day => (day(moment.days), day(moment.days + 1)),
        Unit::Hour => within(3_600),
        Unit::Minute => within(60),
        Unit::Second => within(1),
        Unit::Millisecond | Unit::Microsecond | Unit::Nanosecond => {
            let unit = match unit {
                Unit::Millisecond => 1_000_000,
                Unit::Microsecond => 1_000,
                _ => 1,
            };
            let start = Moment { nanos: moment.nanos / unit * unit, ..moment };
            let next = start.nanos + unit;
            if next < 1_000_000_000 { (start, Moment { nanos: next, ..start }) } else { (start, within(1).1) }
        }
        _ => calendar(year, 1, 12),
    };
    // As in Flink, units of days and more look at the date alone.
    let is_start = match unit {
        Unit::Day | Unit::Hour | Unit::Minute | Unit::Second => start == moment,
        Unit::Millisecond | Unit::Microsecond | Unit::Nanosecond => start == moment,
        Unit::Millennium | Unit::Century | Unit::Decade => false,
        Unit::Week => iso_day_of_week(days) == 7,
        Unit::Month => day_of_month == 1,
        // As in Flink, only the first of January starts a quarter.
        _ => month == 1 && day_of_month == 1,
    };
    if up && !is_start { next } else { start }
}

/// Whole units from one time to another, cut towards zero.
pub(super) fn difference(unit: Unit, from: Moment, to: Moment) -> i64 {
    let months = || months_between(to, from);
    let divided = |unit: i64| (millis(to) - millis(from)) / unit;
    match unit {
        Unit::Year => months() / 12,
        Unit::Quarter => months() / 3,
        Unit::Month => months(),
        // As in Flink, from seconds in 32 bits.
        Unit::Week => i64::from(divided(1_000) as i32) / (7 * SECONDS_PER_DAY),
        Unit::Day => divided(86_400_000),
        Unit::Hour => divided(3_600_000),
        Unit::Minute => divided(60_000),
        Unit::Second => divided(1_000),
        _ => divided(1),
    }
}

/// As Calcite counts: whole months between the days, one less if the last is not complete.
fn months_between(to: Moment, from: Moment) -> i64 {
    let months = months_between_days(to.days, from.days);
    let time = |moment: Moment| (moment.second_of_day, moment.nanos);
    if add_months(from.days, months) == to.days && time(to) < time(from) { months - 1 } else { months }
}

fn months_between_days(to: i64, from: i64) -> i64 {
    if to < from {
        return -months_between_days(from, to);
    }
    let ((to_year, to_month, _), (from_year, from_month, _)) = (civil_from_days(to), civil_from_days(from));
    let estimate = (to_year - from_year) * 12 + to_month - from_month;
    if add_months(from, estimate) > to { estimate - 1 } else { estimate }
}
