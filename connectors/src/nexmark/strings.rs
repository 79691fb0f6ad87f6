//! Random texts, channels, links and prices.

use crate::generator::{Stream, mix};

const POOL_BYTES: usize = 64 * 1024;
const MIN_TEXT: u64 = 3;
pub(super) const CHANNELS: u64 = 10_000;
pub(super) const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// What texts are cut from.
pub(super) struct Strings {
    pool: String,
    hot_urls: [String; 4],
    channels: Vec<(String, String)>,
}

impl Strings {
    pub fn new(seed: u64) -> Self {
        let letters = Stream::new(seed, 100);
        let pool = (0..POOL_BYTES as u64).map(|i| (b'a' + letters.below(i, 26) as u8) as char).collect();
        let urls = Stream::new(seed, 101);
        let channels = (0..CHANNELS)
            .map(|number| {
                let mut url = base_url(urls.bits(number));
                if !mix(urls.bits(number)).is_multiple_of(10) {
                    // As the Java generator: the number with its bits reversed.
                    let id = (number as u32).reverse_bits().cast_signed().unsigned_abs();
                    url.push_str(&format!("&channel_id={id}"));
                }
                (format!("channel-{number}"), url)
            })
            .collect();
        let hot_urls = [0, 1, 2, 3].map(|i| base_url(urls.bits(CHANNELS + i)));
        Self { pool, hot_urls, channels }
    }

    /// The channel of a bid and its link: half come over four hot channels.
    pub fn channel(&self, bits: u64) -> (&str, &str) {
        if bits >> 63 == 1 {
            let hot = (bits >> 61) as usize & 3;
            (HOT_CHANNELS[hot], &self.hot_urls[hot])
        } else {
            let number = ((bits & 0xffff_ffff) * CHANNELS) >> 32;
            let (channel, url) = &self.channels[number as usize];
            (channel, url)
        }
    }

    /// Padding that brings a record of `current` bytes to `average` bytes on average.
    pub fn extra(&self, bits: u64, current: u64, average: u64, out: &mut String) {
        out.clear();
        if current > average {
            return;
        }
        let missing = average - current;
        let delta = (missing as f64 * 0.2).round() as u64;
        let spread = if delta == 0 { 0 } else { ((bits >> 32) * 2 * delta) >> 32 };
        let mut left = (missing - delta + spread) as usize;
        let mut at = bits as usize % (POOL_BYTES / 2);
        while left > 0 {
            let piece = left.min(POOL_BYTES - at);
            out.push_str(&self.pool[at..at + piece]);
            left -= piece;
            at = 0;
        }
    }
}

fn base_url(bits: u64) -> String {
    let mut url = String::from("https://www.nexmark.com/");
    let mut piece = String::new();
    for part in 0..3 {
        text(mix(bits.wrapping_add(part + 1)), 5, '_', &mut piece);
        url.push_str(&piece);
        url.push('/');
    }
    url.push_str("item.htm?query=1");
    url
}

/// A text of 3 to `longest` - 1 characters, of which every thirteenth or so is `special`.
pub(super) fn text(bits: u64, longest: u64, special: char, out: &mut String) {
    out.clear();
    let draws = Stream::new(bits, 3);
    let length = MIN_TEXT + draws.below(0, longest - MIN_TEXT);
    for i in 1..=length {
        let bits = draws.bits(i);
        if ((bits >> 32) * 13) >> 32 == 0 {
            out.push(special);
        } else {
            out.push((b'a' + (((bits & 0xffff_ffff) * 26) >> 32) as u8) as char);
        }
    }
    let kept = out.trim();
    if kept.len() < out.len() {
        *out = kept.to_owned();
    }
}

/// Prices: `round(10^(6 u) * 100)` for a uniform `u`, by two table look-ups and a short series.
pub(super) struct Prices {
    /// `100 * 10^(6 i / STEPS)`.
    coarse: Vec<f64>,
}

const STEP_BITS: u32 = 10;
const STEPS: usize = 1 << STEP_BITS;
/// `ln(10^6) / STEPS`.
const STEP_LN: f64 = 13.815_510_557_964_274 / STEPS as f64;
/// Adding it leaves an integer in the low bits of a float: rounding without a conversion.
const ROUND: f64 = 4_503_599_627_370_496.0;

impl Prices {
    pub fn new() -> Self {
        Self { coarse: (0..STEPS).map(|i| 100.0 * 10f64.powf(6.0 * i as f64 / STEPS as f64)).collect() }
    }

    #[inline(always)]
    pub fn price(&self, bits: u64) -> i64 {
        let coarse = self.coarse[(bits >> (64 - STEP_BITS)) as usize];
        // The further bits as a number in [1, 2), which takes no conversion.
        let further = f64::from_bits(((bits << STEP_BITS) >> 12) | 0x3ff0_0000_0000_0000);
        let x = (further - 1.0) * STEP_LN;
        // The series is exact to 1e-9 for x < 0.0135.
        let fine = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0)));
        ((coarse * fine + ROUND).to_bits() & 0x000f_ffff_ffff_ffff) as i64
    }
}
