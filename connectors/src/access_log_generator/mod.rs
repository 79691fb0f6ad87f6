//! A made-up web shop's access log: Combined Log Format plus the response time, one line a request.
//!
//! ```text
//! 81.14.200.7 - anna17 [01/Jun/2024:10:00:00.123 +0000] "GET /product/42 HTTP/1.1" 200 18324 "https://shop.example/home" "Mozilla/5.0 ..." 0.087
//! ```
//!
//! Visitors come in sessions: a person (address, agent, and a name once logged in) walks from page to
//! page, some buy. The first number of the address says the region ([`REGIONS`]), the first part of
//! the path the section of the shop, `/checkout/complete?order=..&amount=..` is an order. Robots crawl,
//! requests fail (now and then a section has an incident), lines come late, a few are malformed.
//!
//! The log is a function of its settings: the same seed gives the same bytes, whatever the clock does.

mod line;
mod session;

use std::time::Duration;

use self::line::LineWriter;
use self::session::Visitors;
use crate::generator::mix;

/// Regions, by the first number of a visitor's address.
pub const REGIONS: [(u8, &str); 7] = [
    (24, "us-east"),
    (73, "us-west"),
    (81, "eu-west"),
    (91, "eu-central"),
    (103, "ap-south"),
    (126, "ap-northeast"),
    (177, "sa-east"),
];

/// One line of so many is malformed.
const MALFORMED_ONE_IN: u64 = 2_000;
/// One line of so many is late, by up to [`LATE_MS_MAX`].
const LATE_ONE_IN: u64 = 30;
const LATE_MS_MAX: u64 = 4_000;
/// One line of so many is very late, by up to [`VERY_LATE_MS_MAX`].
const VERY_LATE_ONE_IN: u64 = 4_000;
const VERY_LATE_MS_MAX: u64 = 30_000;

/// Settings of a generated log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessLogConfig {
    pub seed: u64,
    /// Lines a second by the wall clock.
    pub lines_per_second: f64,
    /// How many seconds of event time pass in a second of the wall clock.
    pub speedup: f64,
    /// Event time of the first line, in milliseconds since the epoch.
    pub start_ms: i64,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        // 2024-06-01 10:00:00 UTC
        Self { seed: 1, lines_per_second: 1_000.0, speedup: 20.0, start_ms: 1_717_236_000_000 }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct AccessLogError(String);

/// Makes the lines of a log, in the order in which a server would have written them.
pub struct AccessLog {
    config: AccessLogConfig,
    random: Random,
    visitors: Visitors,
    writer: LineWriter,
    lines: u64,
}

impl AccessLog {
    /// A log from its beginning.
    pub fn new(config: AccessLogConfig) -> Result<Self, AccessLogError> {
        for (name, value, most) in [("rate", config.lines_per_second, 1e9), ("speedup", config.speedup, 1e6)] {
            if !(value > 0.0 && value <= most) {
                return Err(AccessLogError(format!("the {name} is {value}; it must be above 0 and at most {most}")));
            }
        }
        let mut random = Random::new(config.seed);
        let visitors = Visitors::new(&mut random);
        Ok(Self { config, random, visitors, writer: LineWriter::default(), lines: 0 })
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// When the next line is due, since the start by the wall clock.
    pub fn next_due(&self) -> Duration {
        Duration::from_secs_f64(self.lines as f64 / self.config.lines_per_second)
    }

    /// Appends the lines that are due `elapsed` after the start, at most `lines_max`, each with its
    /// line feed. Returns how many.
    pub fn fill_due(&mut self, elapsed: Duration, lines_max: usize, out: &mut Vec<u8>) -> usize {
        let due = (elapsed.as_secs_f64() * self.config.lines_per_second) as u64 + 1;
        let lines = usize::try_from(due.saturating_sub(self.lines)).unwrap_or(usize::MAX).min(lines_max);
        self.fill(lines, out);
        lines
    }

    /// Appends `lines` lines, each with its line feed, whatever the clock says.
    pub fn fill(&mut self, lines: usize, out: &mut Vec<u8>) {
        for _ in 0..lines {
            let elapsed_ms = self.lines as f64 * self.config.speedup * 1_000.0 / self.config.lines_per_second;
            let now_ms = self.config.start_ms.saturating_add(elapsed_ms as i64);
            let request = self.visitors.request(now_ms, &mut self.random);
            let late_ms = if self.random.one_in(VERY_LATE_ONE_IN) {
                self.random.below(VERY_LATE_MS_MAX)
            } else if self.random.one_in(LATE_ONE_IN) {
                self.random.below(LATE_MS_MAX)
            } else {
                self.random.below(200)
            };
            let begin = out.len();
            self.writer.write(&request, now_ms.saturating_sub_unsigned(late_ms), out);
            if self.random.one_in(MALFORMED_ONE_IN) {
                damage(out, begin, &mut self.random);
            }
            out.push(b'\n');
            self.lines += 1;
        }
    }
}

/// What happens to lines in the wild: cut off, overwritten, or not log lines at all.
fn damage(out: &mut Vec<u8>, begin: usize, random: &mut Random) {
    let length = out.len() - begin;
    match random.below(3) {
        0 => out.truncate(begin + 10 + random.below(length as u64 / 2) as usize),
        1 => {
            let at = begin + length / 3;
            out[at..at + 8].copy_from_slice(b"########");
            out.truncate(out.len() - 12);
        }
        _ => {
            out.truncate(begin);
            out.extend_from_slice(b"AH00558: httpd: could not reliably determine the server's name");
        }
    }
}

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(0x5851_f42d_4c95_7f2d)))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`; 0 for an `n` of 0.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number below `n` of which small ones are more likely.
    fn skewed(&mut self, n: u64) -> u64 {
        let unit = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        (unit * unit * unit * n as f64) as u64
    }
}

#[cfg(test)]
mod tests;
