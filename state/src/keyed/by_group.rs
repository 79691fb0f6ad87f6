//! Rows in the order of their key groups.

use std::ops::Range;

use arrow::array::ArrayRef;
use tidemill_common::hash::hash_bytes;

use super::{READ_ROWS, key_groups};
use crate::encoding::EncodedRows;

/// Numbers of rows by key group.
pub struct ByKeyGroup {
    rows: Vec<u32>,
    /// Where the rows of each key group begin, and where the last ones end.
    starts: Vec<u32>,
}

impl ByKeyGroup {
    /// Rows of any numbers, in the order of their key groups, those of one in the order given. `keys` gives
    /// the columns that choose the key groups of some of them.
    pub fn new(all: Vec<u32>, max_parallelism: u32, keys: impl Fn(&[u32]) -> Vec<ArrayRef>) -> Self {
        let mut groups: Vec<u16> = Vec::with_capacity(all.len());
        let mut starts = vec![0u32; max_parallelism as usize + 1];
        for chunk in all.chunks(READ_ROWS) {
            for group in key_groups(&keys(chunk), chunk.len(), max_parallelism) {
                groups.push(group.0);
                starts[usize::from(group.0) + 1] += 1;
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        let mut next = starts.clone();
        let mut rows = vec![0; all.len()];
        for (row, group) in all.into_iter().zip(groups) {
            let place = &mut next[usize::from(group)];
            rows[*place as usize] = row;
            *place += 1;
        }
        Self { rows, starts }
    }

    /// The rows of some key groups.
    pub fn of(&self, key_groups: Range<usize>) -> &[u32] {
        let at = |group: usize| self.starts[group.min(self.starts.len() - 1)] as usize;
        &self.rows[at(key_groups.start)..at(key_groups.end)]
    }

    /// How many there are of a key group.
    pub fn count(&self, key_group: usize) -> usize {
        self.of(key_group..key_group + 1).len()
    }
}

/// One of so many parts of the keys of a key group, for when all of them have no room in memory together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    index: u32,
    of: u32,
}

impl KeyPart {
    /// All keys.
    pub const ALL: Self = Self { index: 0, of: 1 };

    /// All parts, of so many.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        let of = of.max(1);
        (0..of).map(move |index| Self { index, of })
    }

    /// Whether an encoded key is in it.
    pub(super) fn has(self, key: &[u8]) -> bool {
        // Not the bits that key groups are made of.
        self.of == 1
            || (u64::from(hash_bytes(key).swap_bytes() as u32) * u64::from(self.of)) >> 32 == u64::from(self.index)
    }

    /// The rows of these key columns that are in it.
    pub fn select(self, keys: &[ArrayRef], rows: usize) -> Vec<usize> {
        if self.of == 1 {
            return (0..rows).collect();
        }
        let mut encoded = EncodedRows::default();
        encoded.encode(keys, rows);
        (0..rows).filter(|row| self.has(encoded.row(*row))).collect()
    }
}
