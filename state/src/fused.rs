//! The hot shape in one pass: one fixed-width key, aggregates of whole integers without NULLs.
//!
//! A bucket holds the key and its accumulators side by side, so that a row costs one probe and no
//! second table. Each set of operations has a kernel of its own, compiled for it.

use std::any::Any;

use arrow::buffer::ScalarBuffer;

use crate::rows::Rows;

/// What one accumulator word does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FusedOp {
    /// Counts rows.
    Count,
    /// Adds the column's value, wrapping.
    Add,
    Min,
    Max,
}

/// Most words of one table.
pub const FUSED_WORDS_MAX: usize = 4;

/// Marks an empty bucket; a key of this value has a bucket of its own behind the others.
const EMPTY: i64 = 0x7ff7_a5c3_9d1e_6b42;
const CAPACITY_MIN: usize = 16;
/// Rows for which room is made at a time.
const CHUNK_ROWS: usize = 256;

trait Op: Send + Sync + 'static {
    const KIND: FusedOp;
    /// The word of a group without rows.
    const START: i64;
    fn apply(word: &mut i64, value: i64);
    fn merge(word: &mut i64, other: i64) {
        Self::apply(word, other);
    }
}

struct Count;
struct Add;
struct Min;
struct Max;

impl Op for Count {
    const KIND: FusedOp = FusedOp::Count;
    const START: i64 = 0;
    #[inline(always)]
    fn apply(word: &mut i64, _value: i64) {
        *word += 1;
    }
    #[inline(always)]
    fn merge(word: &mut i64, other: i64) {
        *word += other;
    }
}

impl Op for Add {
    const KIND: FusedOp = FusedOp::Add;
    const START: i64 = 0;
    #[inline(always)]
    fn apply(word: &mut i64, value: i64) {
        *word = word.wrapping_add(value);
    }
}

impl Op for Min {
    const KIND: FusedOp = FusedOp::Min;
    const START: i64 = i64::MAX;
    #[inline(always)]
    fn apply(word: &mut i64, value: i64) {
        *word = (*word).min(value);
    }
}

impl Op for Max {
    const KIND: FusedOp = FusedOp::Max;
    const START: i64 = i64::MIN;
    #[inline(always)]
    fn apply(word: &mut i64, value: i64) {
        *word = (*word).max(value);
    }
}

/// A set of operations, one a word.
trait Ops<const N: usize>: Send + Sync + 'static {
    const START: [i64; N];
    fn apply(words: &mut [i64; N], columns: &[&[i64]; N], row: usize);
    fn merge(words: &mut [i64; N], other: &[i64; N]);
}

macro_rules! ops {
    ($n:literal: $($op:ident $at:tt),+) => {
        impl<$($op: Op),+> Ops<$n> for ($($op,)+) {
            const START: [i64; $n] = [$($op::START),+];
            #[inline(always)]
            fn apply(words: &mut [i64; $n], columns: &[&[i64]; $n], row: usize) {
                $(
                    // Counting reads no column.
                    let value = if matches!($op::KIND, FusedOp::Count) { 0 } else { columns[$at][row] };
                    $op::apply(&mut words[$at], value);
                )+
            }
            #[inline(always)]
            fn merge(words: &mut [i64; $n], other: &[i64; $n]) {
                $($op::merge(&mut words[$at], other[$at]);)+
            }
        }
    };
}
ops!(1: A 0);
ops!(2: A 0, B 1);
ops!(3: A 0, B 1, C 2);
ops!(4: A 0, B 1, C 2, D 3);

#[derive(Clone, Copy)]
struct Bucket<const N: usize> {
    key: i64,
    words: [i64; N],
}

struct Table<const N: usize, O: Ops<N>> {
    /// A power of two of buckets, and one more for the key that equals `EMPTY`.
    buckets: Vec<Bucket<N>>,
    len: usize,
    has_empty_key: bool,
    /// Groups that are expected.
    expected: usize,
    ops: std::marker::PhantomData<O>,
}

/// Where a key begins to look for its bucket.
#[inline(always)]
fn spread(key: i64) -> usize {
    const K0: u64 = 0xa076_1d64_78bd_642f;
    const K1: u64 = 0xe703_7ed1_a0b4_28db;
    let product = u128::from(key as u64 ^ K0) * u128::from(K1);
    ((product as u64) ^ (product >> 64) as u64) as usize
}

impl<const N: usize, O: Ops<N>> Table<N, O> {
    const VACANT: Bucket<N> = Bucket { key: EMPTY, words: O::START };

    fn new() -> Self {
        Self { buckets: Vec::new(), len: 0, has_empty_key: false, expected: 0, ops: std::marker::PhantomData }
    }

    /// The bucket of a key. There must be room.
    #[inline(always)]
    fn bucket<'a>(
        buckets: &'a mut [Bucket<N>],
        len: &mut usize,
        has_empty_key: &mut bool,
        key: i64,
    ) -> &'a mut Bucket<N> {
        let mask = buckets.len() - 2;
        if key == EMPTY {
            *has_empty_key = true;
            return &mut buckets[mask + 1];
        }
        let mut at = spread(key) & mask;
        loop {
            let found = buckets[at].key;
            if found == key {
                break;
            }
            if found == EMPTY {
                buckets[at].key = key;
                *len += 1;
                break;
            }
            at = (at + 1) & mask;
        }
        &mut buckets[at]
    }

    /// Makes room for so many new keys.
    fn reserve(&mut self, keys: usize) {
        let capacity = self.buckets.len().saturating_sub(1);
        if (self.len + keys) * 2 <= capacity {
            return;
        }
        // Once it is plausible, all that is expected gets its room at once.
        let groups = self.len + keys;
        let groups = if groups * 8 >= self.expected { groups.max(self.expected) } else { groups };
        let wanted = (groups * 2).next_power_of_two().max(CAPACITY_MIN);
        let old = std::mem::replace(&mut self.buckets, vec![Self::VACANT; wanted + 1]);
        if let Some((last, old)) = old.split_last() {
            self.buckets[wanted] = *last;
            self.len = 0;
            for bucket in old.iter().filter(|bucket| bucket.key != EMPTY) {
                *Self::bucket(&mut self.buckets, &mut self.len, &mut self.has_empty_key, bucket.key) = *bucket;
            }
        }
    }
}

/// A table without its types.
trait Core: Send + Sync + Any {
    fn merge(&mut self, keys: &[i64], columns: &[ScalarBuffer<i64>], rows: Rows<'_>);
    fn update(&mut self, keys: &[i64], columns: &[&[i64]], rows: Rows<'_>);
    fn absorb(&mut self, other: &dyn Core);
    fn expect(&mut self, groups: usize);
    fn len(&self) -> usize;
    fn slots(&self, slots: &mut Vec<u32>);
    fn keys(&self, slots: &[u32]) -> Vec<i64>;
    fn words(&self, word: usize, slots: &[u32]) -> Vec<i64>;
    fn reset(&mut self);
    fn memory_bytes(&self) -> usize;
}

impl<const N: usize, O: Ops<N>> Core for Table<N, O> {
    fn update(&mut self, keys: &[i64], columns: &[&[i64]], rows: Rows<'_>) {
        let Ok(columns): Result<&[&[i64]; N], _> = columns.try_into() else { return };
        match rows {
            Rows::All(rows) => {
                let mut from = 0;
                while from < rows {
                    let to = rows.min(from + CHUNK_ROWS);
                    self.reserve(to - from);
                    let Self { buckets, len, has_empty_key, .. } = self;
                    let chunk = columns.map(|column| if column.is_empty() { column } else { &column[from..to] });
                    for (row, key) in keys[from..to].iter().enumerate() {
                        let bucket = Self::bucket(buckets, len, has_empty_key, *key);
                        O::apply(&mut bucket.words, &chunk, row);
                    }
                    from = to;
                }
            }
            Rows::Selected(rows) => {
                for rows in rows.chunks(CHUNK_ROWS) {
                    self.reserve(rows.len());
                    let Self { buckets, len, has_empty_key, .. } = self;
                    for row in rows {
                        let bucket = Self::bucket(buckets, len, has_empty_key, keys[*row as usize]);
                        O::apply(&mut bucket.words, columns, *row as usize);
                    }
                }
            }
        }
    }

    fn merge(&mut self, keys: &[i64], columns: &[ScalarBuffer<i64>], rows: Rows<'_>) {
        if columns.len() != N {
            return;
        }
        self.reserve(rows.len());
        let Self { buckets, len, has_empty_key, .. } = self;
        rows.for_each(|row| {
            let words = std::array::from_fn(|word| columns[word][row]);
            O::merge(&mut Self::bucket(buckets, len, has_empty_key, keys[row]).words, &words);
        });
    }

    fn absorb(&mut self, other: &dyn Core) {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else { return };
        self.reserve(other.len + 1);
        let Self { buckets, len, has_empty_key, .. } = self;
        let empty_key = if other.has_empty_key { other.buckets.last() } else { None };
        let others = other.buckets.iter().filter(|bucket| bucket.key != EMPTY).chain(empty_key);
        for bucket in others {
            O::merge(&mut Self::bucket(buckets, len, has_empty_key, bucket.key).words, &bucket.words);
        }
    }

    fn expect(&mut self, groups: usize) {
        self.expected = groups;
    }

    fn len(&self) -> usize {
        self.len + usize::from(self.has_empty_key)
    }

    fn slots(&self, slots: &mut Vec<u32>) {
        slots.clear();
        slots.reserve(self.len());
        for (at, bucket) in self.buckets.iter().enumerate() {
            if bucket.key != EMPTY {
                slots.push(at as u32);
            }
        }
        if self.has_empty_key {
            slots.push(self.buckets.len() as u32 - 1);
        }
    }

    fn keys(&self, slots: &[u32]) -> Vec<i64> {
        slots.iter().map(|slot| self.buckets[*slot as usize].key).collect()
    }

    fn words(&self, word: usize, slots: &[u32]) -> Vec<i64> {
        slots.iter().map(|slot| self.buckets[*slot as usize].words[word]).collect()
    }

    fn reset(&mut self) {
        if self.buckets.len() > 16 * self.len.max(CAPACITY_MIN) {
            self.buckets = Vec::new();
        } else {
            self.buckets.fill(Self::VACANT);
        }
        self.len = 0;
        self.has_empty_key = false;
        self.expected = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket<N>>()
    }
}

/// Groups of one fixed-width key with words of accumulators.
pub struct FusedTable {
    core: Box<dyn Core>,
}

impl FusedTable {
    /// A table for these operations, which must be sorted and start with `Count` or `Add`; `None` if
    /// there is no kernel for them.
    pub fn new(ops: &[FusedOp]) -> Option<Self> {
        macro_rules! kernels {
            ($($n:literal $($op:ident)+;)+) => {
                match ops {
                    $([$(FusedOp::$op),+] => Box::new(Table::<$n, ($($op,)+)>::new()),)+
                    _ => return None,
                }
            };
        }
        let core: Box<dyn Core> = kernels! {
            1 Count;
            1 Add;
            2 Count Add;
            2 Count Min;
            2 Count Max;
            2 Add Add;
            2 Add Min;
            2 Add Max;
            3 Count Add Add;
            3 Count Add Min;
            3 Count Add Max;
            3 Count Min Min;
            3 Count Min Max;
            3 Count Max Max;
            3 Add Add Add;
            3 Add Add Min;
            3 Add Add Max;
            3 Add Min Max;
            4 Count Add Add Add;
            4 Count Add Min Max;
            4 Add Add Add Add;
            4 Add Add Min Max;
        };
        Some(Self { core })
    }

    /// Adds rows: their keys, and per operation a whole column of values (empty for `Count`).
    pub fn update(&mut self, keys: &[i64], columns: &[&[i64]], rows: Rows<'_>) {
        self.core.update(keys, columns, rows);
    }

    /// Adds words of accumulators: a column an operation.
    pub fn merge(&mut self, keys: &[i64], columns: &[ScalarBuffer<i64>], rows: Rows<'_>) {
        self.core.merge(keys, columns, rows);
    }

    /// Adds all groups of a table of the same operations.
    pub fn absorb(&mut self, other: &FusedTable) {
        self.core.absorb(other.core.as_ref());
    }

    /// Says how many groups there will be, probably.
    pub fn expect(&mut self, groups: usize) {
        self.core.expect(groups);
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots that are in use. They hold until the next update.
    pub fn slots(&self, slots: &mut Vec<u32>) {
        self.core.slots(slots);
    }

    /// The keys in these slots.
    pub fn keys(&self, slots: &[u32]) -> Vec<i64> {
        self.core.keys(slots)
    }

    /// One word of each of these slots.
    pub fn words(&self, word: usize, slots: &[u32]) -> Vec<i64> {
        self.core.words(word, slots)
    }

    /// Drops all groups, keeping memory unless far more of it is held than was used.
    pub fn reset(&mut self) {
        self.core.reset();
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.core.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn groups_are_those_of_a_map_also_for_the_key_that_marks_vacancy() {
        let ops = [FusedOp::Count, FusedOp::Add, FusedOp::Min, FusedOp::Max];
        let (mut whole, mut half, mut rest) =
            (FusedTable::new(&ops).unwrap(), FusedTable::new(&ops).unwrap(), FusedTable::new(&ops).unwrap());
        let keys: Vec<i64> = (0..10_000i64).map(|row| if row % 97 == 0 { EMPTY } else { row * row % 1009 }).collect();
        let values: Vec<i64> = (0..10_000i64).map(|row| (row * 31) % 501 - 250).collect();
        let columns: [&[i64]; 4] = [&[], &values, &values, &values];
        let selected: Vec<u32> = (0..10_000).filter(|row| row % 2 == 0).collect();
        let others: Vec<u32> = (0..10_000).filter(|row| row % 2 == 1).collect();
        for round in 0..2 {
            whole.update(&keys, &columns, Rows::All(keys.len()));
            half.update(&keys, &columns, Rows::Selected(&selected));
            rest.update(&keys, &columns, Rows::Selected(&others));
            half.absorb(&rest);
            let mut expected: BTreeMap<i64, [i64; 4]> = BTreeMap::new();
            for (key, value) in keys.iter().zip(&values) {
                let words = expected.entry(*key).or_insert([0, 0, i64::MAX, i64::MIN]);
                *words = [words[0] + 1, words[1] + value, words[2].min(*value), words[3].max(*value)];
            }
            for table in [&whole, &half] {
                let mut slots = Vec::new();
                table.slots(&mut slots);
                let words: Vec<Vec<i64>> = (0..4).map(|word| table.words(word, &slots)).collect();
                let found: BTreeMap<i64, [i64; 4]> = table
                    .keys(&slots)
                    .into_iter()
                    .enumerate()
                    .map(|(at, key)| (key, [words[0][at], words[1][at], words[2][at], words[3][at]]))
                    .collect();
                assert_eq!(found, expected, "round {round}");
                assert_eq!(table.len(), expected.len());
            }
            whole.reset();
            half.reset();
            rest.reset();
        }
    }
}
