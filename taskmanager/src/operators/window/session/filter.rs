//! Which keys may have sessions on disk: a Bloom filter in parts, each of which goes when the sessions it is of
//! have ended.

use tidemill_common::time::TimestampMs;

/// Keys of the first part, and of the largest ones.
const KEYS_MIN: usize = 16 << 10;
const KEYS_MAX: usize = 4 << 20;
const BITS_PER_KEY: usize = 10;
/// Bits that are set for a key: with ten there are, one key in a hundred is taken for another.
const PROBES: u64 = 5;

/// Keys of which some have been added.
#[derive(Default)]
pub(super) struct KeyFilter {
    parts: Vec<Part>,
}

struct Part {
    bits: Vec<u64>,
    keys: usize,
    keys_max: usize,
    /// When the last session of its keys has ended.
    last_timer: TimestampMs,
}

impl KeyFilter {
    /// Adds a key by its hash, which has a session until then.
    pub fn add(&mut self, hash: u64, timer: TimestampMs) {
        if self.parts.last().is_none_or(|part| part.keys >= part.keys_max) {
            let keys_max = self.parts.last().map_or(KEYS_MIN, |last| (last.keys_max * 2).min(KEYS_MAX));
            let bits = vec![0; (keys_max * BITS_PER_KEY).div_ceil(64)];
            self.parts.push(Part { bits, keys: 0, keys_max, last_timer: TimestampMs::MIN });
        }
        if let Some(part) = self.parts.last_mut() {
            part.keys += 1;
            part.last_timer = part.last_timer.max(timer);
            for place in places(hash, part.bits.len()) {
                part.bits[place / 64] |= 1 << (place % 64);
            }
        }
    }

    /// Whether a key may have been added.
    pub fn has(&self, hash: u64) -> bool {
        let is_set = |part: &Part, place: usize| part.bits[place / 64] & 1 << (place % 64) != 0;
        self.parts.iter().any(|part| places(hash, part.bits.len()).all(|place| is_set(part, place)))
    }

    /// Forgets keys whose sessions have ended.
    pub fn forget(&mut self, timer: TimestampMs) {
        self.parts.retain(|part| part.last_timer > timer);
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bits.len() * 8).sum()
    }
}

/// The bits of a key.
fn places(hash: u64, words: usize) -> impl Iterator<Item = usize> {
    let step = hash.rotate_left(32) | 1;
    let place = move |probe: u64| hash.wrapping_add(step.wrapping_mul(probe)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| ((u128::from(place(probe)) * (words as u128 * 64)) >> 64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_added_are_there_until_their_sessions_end_and_few_others() {
        let hash = |key: u64| tidemill_common::hash::hash_bytes(&key.to_le_bytes());
        let mut filter = KeyFilter::default();
        (0..100_000).for_each(|key| filter.add(hash(key), key as i64));
        assert!((0..100_000).all(|key| filter.has(hash(key))));
        let others = (100_000..200_000).filter(|key| filter.has(hash(*key))).count();
        assert!(others < 4_000, "{others} of 100000 others");
        let bytes = filter.memory_bytes();
        filter.forget(50_000);
        assert!(filter.memory_bytes() < bytes && (50_001..100_000).all(|key| filter.has(hash(key))));
        filter.forget(99_999);
        assert_eq!(filter.memory_bytes(), 0);
    }
}
