//! Tables for people, and times and numbers as they stand in them.

use chrono::{DateTime, Utc};

/// Rows below a header, in aligned columns. Columns named in `right` are numbers.
pub fn render(header: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let titles = header.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right.contains(&column) {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `2026-03-01 12:00:00`, in UTC.
pub fn time(ms: i64) -> String {
    match DateTime::<Utc>::from_timestamp_millis(ms) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => ms.to_string(),
    }
}

/// A watermark: a time, or that event time has not begun or is at its end.
pub fn watermark(ms: Option<i64>) -> String {
    match ms {
        None | Some(i64::MIN) => "-".to_owned(),
        Some(i64::MAX) => "end".to_owned(),
        Some(ms) => match DateTime::<Utc>::from_timestamp_millis(ms) {
            Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            None => ms.to_string(),
        },
    }
}

/// How far a watermark is behind the clock.
pub fn behind(ms: Option<i64>, now_ms: i64) -> String {
    match ms {
        None | Some(i64::MIN | i64::MAX) => "-".to_owned(),
        Some(ms) => duration(now_ms.saturating_sub(ms)),
    }
}

/// `12 345 678`
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `1.5 KB`, `20.0 MB`: powers of 1024.
pub fn bytes(value: u64) -> String {
    let mut scaled = value as f64;
    let mut units = ["B", "KB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{value} B") } else { format!("{scaled:.1} {unit}") }
}

/// `1.234 s`, `2 min 5 s`
pub fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{}.{:03} s", seconds, ms % 1000),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["a".to_owned(), number(1_234_567)], vec!["bcd".to_owned(), number(7)]];
        assert_eq!(render(&["X", "N"], &[1], &rows), "X            N\na    1 234 567\nbcd          7\n");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([bytes(512), bytes(1_536), bytes(20 << 20)], ["512 B", "1.5 KB", "20.0 MB"]);
    }

    #[test]
    fn durations_grow_coarser() {
        assert_eq!(duration(1_234), "1.234 s");
        assert_eq!(duration(125_000), "2 min 5 s");
        assert_eq!(duration(3_600_000), "1 h 0 min");
    }
}
