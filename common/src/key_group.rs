//! Key groups: the shards of the key space that are assigned, moved and restored as a whole.
//!
//! The key group of a row is `(top 32 bits of its hash * max-parallelism) >> 32`; tables inside a
//! subtask index by the low bits, so that a subtask uses all of its table. As in Flink, a subtask
//! owns a contiguous range of key groups.

use std::ops::Range;

use crate::ids::{KeyGroup, SubtaskIndex};

/// The key group of a key with this hash. `max_parallelism` is in 1..=32 768.
#[inline]
pub fn key_group_of(hash: u64, max_parallelism: u32) -> KeyGroup {
    KeyGroup((((hash >> 32) * u64::from(max_parallelism)) >> 32) as u16)
}

/// The key groups that subtask `index` of `parallelism` owns.
pub fn key_group_range(index: SubtaskIndex, parallelism: u32, max_parallelism: u32) -> Range<u32> {
    let bound = |i: u32| ((u64::from(i) * u64::from(max_parallelism)).div_ceil(u64::from(parallelism))) as u32;
    bound(index.0)..bound(index.0 + 1)
}

/// The subtask that owns a key group.
#[inline]
pub fn subtask_of(key_group: KeyGroup, parallelism: u32, max_parallelism: u32) -> SubtaskIndex {
    SubtaskIndex((u64::from(key_group.0) * u64::from(parallelism) / u64::from(max_parallelism)) as u32)
}

/// The default max-parallelism for a job of this parallelism, by Flink's rule: 1.5 times the
/// parallelism rounded up to a power of two, at least 128, at most 32 768.
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    (parallelism + parallelism / 2).next_power_of_two().clamp(128, crate::limits::PARALLELISM_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_partition_the_key_groups_and_routing_agrees() {
        for max in 1..=512u32 {
            for parallelism in 1..=max {
                let mut next = 0;
                for index in 0..parallelism {
                    let range = key_group_range(SubtaskIndex(index), parallelism, max);
                    assert_eq!(range.start, next, "p={parallelism} max={max}");
                    assert!(!range.is_empty(), "p={parallelism} max={max}");
                    for group in range.clone() {
                        assert_eq!(subtask_of(KeyGroup(group as u16), parallelism, max).0, index);
                    }
                    next = range.end;
                }
                assert_eq!(next, max, "p={parallelism} max={max}");
            }
        }
    }

    #[test]
    fn the_whole_hash_range_maps_inside_the_key_groups() {
        for max in [1, 2, 3, 127, 128, 32_768] {
            assert_eq!(key_group_of(0, max).0, 0);
            assert_eq!(u32::from(key_group_of(u64::MAX, max).0), max - 1);
        }
    }
}
