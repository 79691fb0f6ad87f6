//! Java's date patterns: `DateTimeFormatter` (DATE_FORMAT, TO_TIMESTAMP), strict, and
//! `SimpleDateFormat` (TO_DATE, FROM_UNIXTIME, UNIX_TIMESTAMP), lenient. English names.

use std::fmt::Write;

use crate::calendar::{civil_from_days, days_from_civil, days_of_month, is_leap, iso_day_of_week};
use crate::format::push_two;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// By ISO: Monday first.
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Text(String),
    Field(char, usize),
}

/// A pattern, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
}

/// A local date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: i64,
    pub second_of_day: i64,
    pub nanos: i64,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// For people: a letter that is not supported, a quote that does not end.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut items: Vec<Item> = Vec::new();
        let mut chars = pattern.chars().peekable();
        let text = |items: &mut Vec<Item>, c: char| match items.last_mut() {
            Some(Item::Text(text)) => text.push(c),
            _ => items.push(Item::Text(c.to_string())),
        };
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    if chars.peek() == Some(&'\'') {
                        chars.next();
                        text(&mut items, '\'');
                        continue;
                    }
                    loop {
                        match chars.next() {
                            None => return Err(format!("the date pattern '{pattern}' has a quote that does not end")),
                            Some('\'') if chars.peek() == Some(&'\'') => {
                                chars.next();
                                text(&mut items, '\'');
                            }
                            Some('\'') => break,
                            Some(c) => text(&mut items, c),
                        }
                    }
                }
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.peek() == Some(&c) {
                        chars.next();
                        count += 1;
                    }
                    let most = match c {
                        'y' | 'u' | 'S' => 9,
                        'M' | 'L' | 'E' => 4,
                        'D' => 3,
                        'a' => 1,
                        'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' => 2,
                        _ => {
                            return Err(format!(
                                "the date pattern '{pattern}' uses the letter '{c}', which is not supported"
                            ));
                        }
                    };
                    if count > most {
                        return Err(format!("the date pattern '{pattern}' repeats the letter '{c}' too often"));
                    }
                    items.push(Item::Field(c, count));
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(format!("the date pattern '{pattern}' uses '{c}', which is not supported"));
                }
                c => text(&mut items, c),
            }
        }
        Ok(Self { items })
    }

    /// Appends the text of a moment. With `simple`, `S` is the number of milliseconds.
    pub fn format(&self, moment: Moment, simple: bool, out: &mut String) {
        let (year, month, day) = civil_from_days(moment.days);
        let hour = moment.second_of_day / 3_600;
        let pad = |out: &mut String, value: i64, width: usize| match (width, value) {
            (2, 0..=99) => push_two(value, out),
            (4, 0..=9_999) => {
                push_two(value / 100, out);
                push_two(value % 100, out);
            }
            _ => {
                let _ = write!(out, "{value:0width$}");
            }
        };
        for item in &self.items {
            let (letter, count) = match item {
                Item::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Item::Field(letter, count) => (*letter, *count),
            };
            match letter {
                'y' | 'u' => {
                    let shown = if letter == 'y' && year <= 0 { 1 - year } else { year };
                    match count {
                        2 => pad(out, shown.rem_euclid(100), 2),
                        count => {
                            if !simple && count >= 4 && shown >= 10_i64.pow(count as u32) {
                                out.push('+');
                            }
                            pad(out, shown, count);
                        }
                    }
                }
                'M' | 'L' => match count {
                    1 | 2 => pad(out, month, count),
                    3 => out.push_str(&MONTHS[(month - 1) as usize][..3]),
                    _ => out.push_str(MONTHS[(month - 1) as usize]),
                },
                'd' => pad(out, day, count),
                'D' => pad(out, moment.days - days_from_civil(year, 1, 1) + 1, count),
                'E' => {
                    let name = DAYS[(iso_day_of_week(moment.days) - 1) as usize];
                    out.push_str(if count < 4 { &name[..3] } else { name });
                }
                'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
                'H' => pad(out, hour, count),
                'k' => pad(out, if hour == 0 { 24 } else { hour }, count),
                'K' => pad(out, hour % 12, count),
                'h' => pad(out, if hour % 12 == 0 { 12 } else { hour % 12 }, count),
                'm' => pad(out, moment.second_of_day / 60 % 60, count),
                's' => pad(out, moment.second_of_day % 60, count),
                'S' if simple => pad(out, moment.nanos / 1_000_000, count),
                'S' => pad(out, moment.nanos / 10_i64.pow(9 - count as u32), count),
                _ => {}
            }
        }
    }

    /// Parses all of a text as `DateTimeFormatter` does in its smart style. Fields that the pattern
    /// does not have are those of 1970-01-01 00:00.
    pub fn parse_strict(&self, text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut fields = Fields::default();
        for (index, item) in self.items.iter().enumerate() {
            let (letter, count) = match item {
                Item::Text(literal) => {
                    at += bytes.get(at..)?.starts_with(literal.as_bytes()).then_some(literal.len())?;
                    continue;
                }
                Item::Field(letter, count) => (*letter, *count),
            };
            let numeric = |item: &Item| matches!(item, Item::Field(letter, count) if !(matches!(letter, 'E' | 'a') || (matches!(letter, 'M' | 'L') && *count > 2)));
            let adjacent = self.items.get(index + 1).is_some_and(numeric);
            let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let rest = text.get(at..)?;
            match letter {
                'M' | 'L' if count >= 3 => {
                    let (month, length) = name(rest, &MONTHS, count == 3, true)?;
                    fields.month = Some(month + 1);
                    at += length;
                    continue;
                }
                'E' => {
                    let (day, length) = name(rest, &DAYS, count < 4, true)?;
                    fields.day_of_week = Some(day + 1);
                    at += length;
                    continue;
                }
                'a' => {
                    fields.afternoon = Some(match rest.get(..2)? {
                        "AM" => false,
                        "PM" => true,
                        _ => return None,
                    });
                    at += 2;
                    continue;
                }
                _ => {}
            }
            let width = match (letter, count) {
                ('y' | 'u', 2) | ('S', _) => count,
                // More digits than the pattern has would need a sign.
                ('y' | 'u', 4..) => {
                    if digits < count || (digits > count && !adjacent) {
                        return None;
                    }
                    count
                }
                ('y' | 'u', _) => digits.min(18),
                (_, 1) => digits.min(18),
                (_, count) => count,
            };
            if width == 0 || digits < width {
                return None;
            }
            let value: i64 = rest[..width].parse().ok()?;
            at += width;
            match letter {
                'y' | 'u' => fields.year = Some(if count == 2 { 2000 + value } else { value }),
                'M' | 'L' => fields.month = Some(value),
                'd' => fields.day = Some(value),
                'D' => fields.day_of_year = Some(value),
                'H' => fields.hour = Some(value),
                'k' => fields.hour = Some(if value == 24 { 0 } else { value }),
                'h' => fields.hour_of_half = Some(if value == 12 { 0 } else { value }),
                'K' => fields.hour_of_half = Some(value),
                'm' => fields.minute = Some(value),
                's' => fields.second = Some(value),
                _ => fields.nanos = Some(value * 10_i64.pow(9 - count as u32)),
            }
        }
        (at == bytes.len()).then(|| fields.resolve())?
    }

    /// Parses the beginning of a text as `SimpleDateFormat` does: what follows is ignored, fields
    /// overflow into each other, dates before 15 October 1582 are Julian. Two-digit years lie in the 80
    /// years before `now_year` or the 20 behind.
    pub fn parse_lenient(&self, text: &str, now_year: i64) -> Option<Moment> {
        let bytes = text.as_bytes();
        let (mut year, mut month, mut day, mut day_of_year) = (1970_i64, 0_i64, 1_i64, None);
        let (mut hour, mut minute, mut second, mut millis) = (0_i64, 0_i64, 0_i64, 0_i64);
        let (mut half, mut hour_of_half) = (None, None);
        let mut at = 0;
        for (index, item) in self.items.iter().enumerate() {
            let (letter, count) = match item {
                Item::Text(literal) => {
                    at += bytes.get(at..)?.starts_with(literal.as_bytes()).then_some(literal.len())?;
                    continue;
                }
                Item::Field(letter, count) => (*letter, *count),
            };
            let obey = matches!(self.items.get(index + 1), Some(Item::Field(..)));
            let start = at;
            while matches!(bytes.get(at), Some(b' ' | b'\t')) {
                at += 1;
            }
            match letter {
                'M' | 'L' if count >= 3 => {
                    let (found, length) = name(text.get(at..)?, &MONTHS, false, false)
                        .or_else(|| name(text.get(at..)?, &MONTHS, true, false))?;
                    month = found;
                    at += length;
                    continue;
                }
                'E' => {
                    let (_, length) = name(text.get(at..)?, &DAYS, false, false)
                        .or_else(|| name(text.get(at..)?, &DAYS, true, false))?;
                    at += length;
                    continue;
                }
                'a' => {
                    let word = text.get(at..at + 2)?;
                    half = Some(if word.eq_ignore_ascii_case("AM") {
                        0
                    } else if word.eq_ignore_ascii_case("PM") {
                        12
                    } else {
                        return None;
                    });
                    at += 2;
                    continue;
                }
                _ => {}
            }
            let end = if obey {
                if start + count > bytes.len() {
                    return None;
                }
                start + count
            } else {
                bytes.len()
            };
            let negative = at < end && bytes[at] == b'-';
            let first = at + usize::from(negative);
            let digits = bytes.get(first..end)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 18 {
                return None;
            }
            let magnitude: i64 = text.get(first..first + digits)?.parse().ok()?;
            let value = if negative { -magnitude } else { magnitude };
            at = first + digits;
            match letter {
                'y' | 'u' => {
                    year = value;
                    if count <= 2 && digits == 2 && !negative {
                        year = now_year - now_year.rem_euclid(100) + value;
                        if year > now_year + 20 {
                            year -= 100;
                        } else if year <= now_year - 80 {
                            year += 100;
                        }
                    }
                }
                'M' | 'L' => month = value.checked_sub(1)?,
                'd' => day = value,
                'D' => day_of_year = Some(value),
                'H' => hour = value,
                'k' => hour = if value == 24 { 0 } else { value },
                'h' => hour_of_half = Some(if value == 12 { 0 } else { value }),
                'K' => hour_of_half = Some(value),
                'm' => minute = value,
                's' => second = value,
                _ => millis = value,
            }
        }
        if let Some(value) = hour_of_half {
            hour = value + half.unwrap_or(0);
        }
        const LIMIT: i64 = 1_000_000_000_000;
        if [year, month, day, hour, minute, second, millis].iter().any(|value| value.abs() > LIMIT) {
            return None;
        }
        let (year, month) = (year + month.div_euclid(12), month.rem_euclid(12) + 1);
        let (month, day) = match day_of_year {
            Some(day) => (1, day),
            None => (month, day),
        };
        let gregorian = days_from_civil(year, month, 1) + day - 1;
        // 15 October 1582.
        let days = if gregorian >= -141_427 { gregorian } else { days_from_julian(year, month) + day - 1 };
        let millis = hour * 3_600_000 + minute * 60_000 + second * 1_000 + millis;
        let days = days + millis.div_euclid(86_400_000);
        let millis = millis.rem_euclid(86_400_000);
        Some(Moment { days, second_of_day: millis / 1_000, nanos: millis % 1_000 * 1_000_000 })
    }
}

/// Days since 1970-01-01 (Gregorian) of the first of a Julian month.
fn days_from_julian(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5;
    365 * year + year.div_euclid(4) + day_of_year - 719_470
}

/// Which of the names a text begins with, and its length.
fn name(text: &str, names: &[&str], short: bool, exact_case: bool) -> Option<(i64, usize)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if short { &name[..3] } else { name };
        let found = text.get(..name.len())?;
        let same = if exact_case { found == name } else { found.eq_ignore_ascii_case(name) };
        same.then_some((index as i64, name.len()))
    })
}

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    day_of_week: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nanos: Option<i64>,
}

impl Fields {
    fn resolve(self) -> Option<Moment> {
        let within = |value: Option<i64>, low: i64, high: i64| value.is_none_or(|value| (low..=high).contains(&value));
        let year = self.year.unwrap_or(1970);
        // 24:00 is the end of a day.
        let end_of_day = self.hour == Some(24)
            && self.minute.unwrap_or(0) == 0
            && self.second.unwrap_or(0) == 0
            && self.nanos.unwrap_or(0) == 0;
        if !(within(self.month, 1, 12)
            && within(self.day, 1, 31)
            && within(self.day_of_year, 1, 366)
            && (end_of_day || within(self.hour, 0, 23))
            && within(self.hour_of_half, 0, 11)
            && within(self.minute, 0, 59)
            && within(self.second, 0, 59)
            && (0..=999_999_999).contains(&year))
        {
            return None;
        }
        let mut days = match self.day_of_year {
            Some(day) => {
                if day == 366 && !is_leap(year) {
                    return None;
                }
                days_from_civil(year, 1, 1) + day - 1
            }
            None => {
                let month = self.month.unwrap_or(1);
                days_from_civil(year, month, self.day.unwrap_or(1).min(days_of_month(year, month)))
            }
        };
        if self.day_of_week.is_some_and(|day| day != iso_day_of_week(days)) {
            return None;
        }
        let hour = match (self.hour, self.hour_of_half, self.afternoon) {
            (Some(24), ..) => {
                days += 1;
                0
            }
            (Some(hour), ..) => hour,
            (None, Some(hour), Some(afternoon)) => hour + if afternoon { 12 } else { 0 },
            _ => 0,
        };
        let second_of_day = hour * 3_600 + self.minute.unwrap_or(0) * 60 + self.second.unwrap_or(0);
        Some(Moment { days, second_of_day, nanos: self.nanos.unwrap_or(0) })
    }
}

/// What TO_TIMESTAMP falls back to: `java.sql.Timestamp.valueOf` and `java.sql.Date.valueOf`, in which
/// hours and days overflow.
pub(crate) fn parse_jdbc(text: &str) -> Option<Moment> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let number = |part: &str, most: usize| -> Option<i64> {
        let valid = !part.is_empty() && part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit());
        if valid { part.parse().ok() } else { None }
    };
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 {
        return None;
    }
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, 1) + day - 1;
    let Some(time) = time else { return Some(Moment { days, second_of_day: 0, nanos: 0 }) };
    let mut parts = time.splitn(3, ':');
    let (hour, minute, rest) = (number(parts.next()?, 9)?, number(parts.next()?, 9)?, parts.next()?);
    let (second, nanos) = match rest.split_once('.') {
        None => (number(rest, 9)?, 0),
        Some((second, fraction)) => {
            let digits = number(fraction, 9)?;
            (number(second, 9)?, digits * 10_i64.pow(9 - fraction.len() as u32))
        }
    };
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(Moment { days: days + seconds.div_euclid(86_400), second_of_day: seconds.rem_euclid(86_400), nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::format_date;

    fn moment(days: i64, second_of_day: i64, nanos: i64) -> Moment {
        Moment { days, second_of_day, nanos }
    }

    fn text(pattern: &str, moment: Moment) -> String {
        let mut out = String::new();
        Pattern::new(pattern).unwrap().format(moment, false, &mut out);
        out
    }

    #[test]
    fn formats() {
        let at = moment(days_from_civil(2024, 1, 15), 15 * 3_600 + 16 * 60 + 17, 189_000_000);
        assert_eq!(text("yyyy-MM-dd'T'HH:mm:ss.SSS", at), "2024-01-15T15:16:17.189");
        assert_eq!(text("h:mm a", at), "3:16 PM");
        assert_eq!(text("EEE, d MMM yyyy", at), "Mon, 15 Jan 2024");
        assert_eq!(text("EEEE MMMM", at), "Monday January");
        assert_eq!(text("yy/M/d H:m:s", at), "24/1/15 15:16:17");
        assert_eq!(text("'o''clock' DDD", at), "o'clock 015");
        assert!(Pattern::new("yyyy 'open").is_err());
        assert!(Pattern::new("yyyy VV").is_err());
    }

    #[test]
    fn strict_parsing() {
        let parse = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().parse_strict(text);
        let day = days_from_civil(2024, 2, 3);
        assert_eq!(parse("yyyyMMdd", "20240203"), Some(moment(day, 0, 0)));
        assert_eq!(parse("yyyy-MM-dd HH:mm", "2024-02-03 04:05"), Some(moment(day, 14_700, 0)));
        assert_eq!(
            parse("yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "2024-02-03T04:05:06.789123"),
            Some(moment(day, 14_706, 789_123_000))
        );
        assert_eq!(parse("yyyy-MM-dd", "2024-2-3"), None);
        assert_eq!(parse("yyyy-MM-dd", "2024-02-30"), Some(moment(days_from_civil(2024, 2, 29), 0, 0)));
        assert_eq!(parse("dd/MMM/yyyy:HH:mm:ss", "03/Feb/2024:04:05:06"), Some(moment(day, 14_706, 0)));
        assert_eq!(parse("hh:mm a", "12:30 AM"), Some(moment(0, 1_800, 0)));
        assert_eq!(parse("yyyy-MM-dd HH", "2024-02-03 25"), None);
    }

    #[test]
    fn lenient_parsing_recorded_from_flink() {
        let parse = |text: &str| {
            let parsed = Pattern::new("yyyyMMdd").unwrap().parse_lenient(text, 2024)?;
            let mut out = String::new();
            format_date(parsed.days, &mut out);
            Some(out)
        };
        for (text, expected) in [
            ("20240203", Some("2024-02-03")),
            ("2024-02-03 04:05", Some("2023-12-02")),
            (" 2024-02-03 ", Some("0202-03-29")),
            ("0001-01-01", Some("0000-11-29")),
            ("2024-2-3", Some("2023-09-27")),
            ("2024-02", Some("2023-12-02")),
            ("TRUE", None),
            ("2024", None),
            ("", None),
        ] {
            assert_eq!(parse(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn jdbc_texts() {
        let day = days_from_civil(2024, 2, 3);
        assert_eq!(parse_jdbc(" 2024-02-03 "), Some(moment(day, 0, 0)));
        assert_eq!(parse_jdbc("2024-02-03 25:00:00"), Some(moment(day + 1, 3_600, 0)));
        assert_eq!(parse_jdbc("2024-02-03 04:05"), None);
        assert_eq!(parse_jdbc("2024-02-30"), Some(moment(days_from_civil(2024, 3, 1), 0, 0)));
        assert_eq!(parse_jdbc("2024-02-03T04:05:06"), None);
    }

    proptest::proptest! {
        #[test]
        fn parses_what_it_prints(days in -700_000_i64..2_900_000, second in 0_i64..86_400, milli in 0_i64..1_000) {
            let pattern = Pattern::new("yyyy-MM-dd HH:mm:ss.SSS").unwrap();
            let at = moment(days, second, milli * 1_000_000);
            let mut out = String::new();
            pattern.format(at, false, &mut out);
            proptest::prop_assert_eq!(pattern.parse_strict(&out), Some(at));
        }

        #[test]
        fn never_panics(pattern in "[yMdHhmsSEaD' :/.-]{0,12}", text in "[0-9A-Za-z :/.é-]{0,16}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.parse_strict(&text);
                let _ = pattern.parse_lenient(&text, 2024);
                let _ = parse_jdbc(&text);
            }
        }
    }
}
