//! A request as a line of Combined Log Format with the response time in seconds at its end.

use std::io::Write as _;

use chrono::{DateTime, Datelike};

use super::session::Request;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS: i64 = 86_400_000;

/// Writes lines; keeps the text of the day, which seldom changes.
#[derive(Default)]
pub(super) struct LineWriter {
    day: Option<i64>,
    date: String,
}

impl LineWriter {
    /// Appends the line without a line feed.
    pub fn write(&mut self, request: &Request<'_>, time_ms: i64, out: &mut Vec<u8>) {
        let day = time_ms.div_euclid(DAY_MS);
        if self.day != Some(day) {
            self.date = date(time_ms);
            self.day = Some(day);
        }
        let ms = time_ms.rem_euclid(DAY_MS);
        let [a, b, c, d] = request.visitor.address;
        let name = request.visitor.name.as_deref().unwrap_or("-");
        let referer = if request.referer.is_empty() { "-" } else { request.referer };
        // Writing to a Vec never fails.
        let _ = write!(
            out,
            "{a}.{b}.{c}.{d} - {name} [{}:{:02}:{:02}:{:02}.{:03} +0000] \"{} {} HTTP/1.1\" {} {} \"{referer}\" \"{}\" {}.{:03}",
            self.date,
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1_000 % 60,
            ms % 1_000,
            request.method,
            request.path,
            request.status,
            request.bytes,
            request.visitor.agent,
            request.response_ms / 1_000,
            request.response_ms % 1_000,
        );
    }
}

fn date(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    format!("{:02}/{}/{:04}", time.day(), MONTHS[time.month0() as usize % 12], time.year())
}
