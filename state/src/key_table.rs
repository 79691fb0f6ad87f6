//! From row keys to dense slots.
//!
//! Open addressing by the low bits of a 64-bit hash (the high bits choose key groups, so they are
//! spent). One key column of at most 64 bits is kept in the bucket; other keys are bytes in an
//! arena, found by a tag of the hash and verified. Slots are given out 0, 1, 2, ..., so that
//! accumulators are plain columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use tidemill_common::hash::{hash_bytes, hash_i64};

use crate::encoding::{self, EncodedRows};
use crate::fixed::{self, null_buffer};
use crate::rows::Rows;

const EMPTY: u32 = u32::MAX;
const CAPACITY_MIN: usize = 16;

/// The keys of one batch, made once and interned into as many tables as the batch has slices.
#[derive(Debug, Default)]
pub struct KeyBatch {
    keys: BatchKeys,
    scratch: EncodedRows,
}

#[derive(Debug, Default)]
enum BatchKeys {
    /// No key column: one group.
    #[default]
    None,
    Fixed(ScalarBuffer<i64>, Option<NullBuffer>),
    /// One column of strings or byte strings.
    Content(ArrayRef),
    /// Rows in `scratch`.
    Encoded,
}

impl KeyBatch {
    /// Takes the key columns of a batch of so many rows.
    pub fn load(&mut self, columns: &[ArrayRef], rows: usize) {
        self.keys = match columns {
            [] => BatchKeys::None,
            [column] if matches!(column.data_type(), DataType::Utf8 | DataType::Binary) => {
                BatchKeys::Content(Arc::clone(column))
            }
            [column] if let Some(words) = fixed::words(column) => {
                BatchKeys::Fixed(words, column.nulls().filter(|nulls| nulls.null_count() > 0).cloned())
            }
            columns => {
                self.scratch.encode(columns, rows);
                BatchKeys::Encoded
            }
        };
    }
}

impl KeyBatch {
    /// The words of a single fixed-width key column without NULLs.
    pub fn fixed_words(&self) -> Option<&[i64]> {
        match &self.keys {
            BatchKeys::Fixed(words, None) => Some(words),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct FixedBucket {
    word: i64,
    slot: u32,
}

#[derive(Debug, Clone, Copy)]
struct ContentBucket {
    tag: u32,
    slot: u32,
}

/// Keys and their slots.
#[derive(Debug)]
pub struct KeyTable {
    types: Vec<DataType>,
    keys: Keys,
    /// Slot of the NULL key of a single key column, or `EMPTY`.
    null_slot: u32,
    len: usize,
}

#[derive(Debug)]
enum Keys {
    None,
    Fixed { index: Vec<FixedBucket>, words: Vec<i64> },
    Content { index: Vec<ContentBucket>, arena: Arena, encoded: bool },
}

#[derive(Debug, Default)]
struct Arena {
    /// Where the content of each slot ends.
    ends: Vec<usize>,
    hashes: Vec<u64>,
    bytes: Vec<u8>,
}

impl Arena {
    #[inline(always)]
    fn get(&self, slot: usize) -> &[u8] {
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.bytes[start..self.ends[slot]]
    }

    fn push(&mut self, hash: u64, content: &[u8]) {
        self.bytes.extend_from_slice(content);
        self.ends.push(self.bytes.len());
        self.hashes.push(hash);
    }
}

impl KeyTable {
    /// A table for keys of these types.
    pub fn new(types: Vec<DataType>) -> Self {
        let keys = match &types[..] {
            [] => Keys::None,
            [only] if fixed::is_fixed(only) => Keys::Fixed { index: Vec::new(), words: Vec::new() },
            [DataType::Utf8 | DataType::Binary] => {
                Keys::Content { index: Vec::new(), arena: Arena::default(), encoded: false }
            }
            _ => Keys::Content { index: Vec::new(), arena: Arena::default(), encoded: true },
        };
        Self { types, keys, null_slot: EMPTY, len: 0 }
    }

    /// Number of slots given out.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Types of the key columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Bytes held, roughly.
    pub fn memory_bytes(&self) -> usize {
        match &self.keys {
            Keys::None => 0,
            Keys::Fixed { index, words } => index.capacity() * size_of::<FixedBucket>() + words.capacity() * 8,
            Keys::Content { index, arena, .. } => {
                index.capacity() * size_of::<ContentBucket>() + arena.bytes.capacity() + arena.ends.capacity() * 16
            }
        }
    }

    /// Forgets all keys, keeping memory unless far more of it is held than was used.
    pub fn reset(&mut self) {
        let used = self.len;
        match &mut self.keys {
            Keys::None => {}
            Keys::Fixed { index, words } => {
                words.clear();
                if index.len() > 8 * used.max(CAPACITY_MIN) {
                    *index = vec![FixedBucket { word: 0, slot: EMPTY }; capacity_for(used)];
                } else {
                    index.fill(FixedBucket { word: 0, slot: EMPTY });
                }
            }
            Keys::Content { index, arena, .. } => {
                arena.bytes.clear();
                arena.ends.clear();
                arena.hashes.clear();
                if index.len() > 8 * used.max(CAPACITY_MIN) {
                    *index = vec![ContentBucket { tag: 0, slot: EMPTY }; capacity_for(used)];
                } else {
                    index.fill(ContentBucket { tag: 0, slot: EMPTY });
                }
            }
        }
        self.null_slot = EMPTY;
        self.len = 0;
    }

    /// The slot of each row's key, into `slots` (cleared first). New keys get the next slots.
    pub fn intern(&mut self, batch: &KeyBatch, rows: Rows<'_>, slots: &mut Vec<u32>) {
        slots.clear();
        slots.reserve(rows.len());
        let Self { keys, null_slot, len, .. } = self;
        match (keys, &batch.keys) {
            (Keys::Fixed { index, words }, BatchKeys::Fixed(values, None)) => {
                let values = &values[..];
                rows.for_each(|row| slots.push(intern_word(index, words, len, values[row])));
            }
            (Keys::Fixed { index, words }, BatchKeys::Fixed(values, Some(nulls))) => rows.for_each(|row| {
                slots.push(if nulls.is_valid(row) {
                    intern_word(index, words, len, values[row])
                } else {
                    null_slot_of(null_slot, len, || words.push(0))
                });
            }),
            (Keys::Content { index, arena, encoded: false }, BatchKeys::Content(column)) => match column.data_type() {
                DataType::Utf8 => {
                    let column = column.as_string::<i32>();
                    intern_contents(index, arena, len, null_slot, rows, slots, |row| {
                        column.is_valid(row).then(|| column.value(row).as_bytes())
                    });
                }
                _ => {
                    let column = column.as_binary::<i32>();
                    intern_contents(index, arena, len, null_slot, rows, slots, |row| {
                        column.is_valid(row).then(|| column.value(row))
                    });
                }
            },
            (Keys::Content { index, arena, encoded: true }, BatchKeys::Encoded) => {
                intern_contents(index, arena, len, null_slot, rows, slots, |row| Some(batch.scratch.row(row)));
            }
            // No key columns (or, which the operators rule out, keys of another type): one group.
            _ => {
                if !rows.is_empty() {
                    *len = (*len).max(1);
                    slots.resize(rows.len(), 0);
                }
            }
        }
    }

    /// The slots of those of a batch's keys that are here, into `slots` (cleared first).
    pub fn find(&self, batch: &KeyBatch, rows: usize, slots: &mut Vec<u32>) {
        slots.clear();
        let null = (self.null_slot != EMPTY).then_some(self.null_slot);
        match (&self.keys, &batch.keys) {
            (Keys::Fixed { index, .. }, BatchKeys::Fixed(values, nulls)) => {
                let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                slots.extend(
                    (0..rows).filter_map(|row| if is_null(row) { null } else { find_word(index, values[row]) }),
                );
            }
            (Keys::Content { index, arena, encoded: false }, BatchKeys::Content(column)) => {
                let text = column.as_string_opt::<i32>();
                let binary = column.as_binary_opt::<i32>();
                slots.extend((0..rows).filter_map(|row| match (text, binary) {
                    _ if column.is_null(row) => null,
                    (Some(text), _) => find_content(index, arena, text.value(row).as_bytes()),
                    (None, binary) => find_content(index, arena, binary?.value(row)),
                }));
            }
            (Keys::Content { index, arena, encoded: true }, BatchKeys::Encoded) => {
                slots.extend((0..rows).filter_map(|row| find_content(index, arena, batch.scratch.row(row))));
            }
            _ => slots.extend((self.len > 0 && rows > 0).then_some(0)),
        }
    }

    /// The slot, in this table, of each key of another table of the same types.
    pub fn intern_table(&mut self, other: &KeyTable, slots: &mut Vec<u32>) {
        slots.clear();
        let Self { keys, null_slot, len, .. } = self;
        match (keys, &other.keys) {
            (Keys::Fixed { index, words }, Keys::Fixed { words: others, .. }) => {
                for (slot, word) in others.iter().enumerate() {
                    slots.push(if slot as u32 == other.null_slot {
                        null_slot_of(null_slot, len, || words.push(0))
                    } else {
                        intern_word(index, words, len, *word)
                    });
                }
            }
            (Keys::Content { index, arena, .. }, Keys::Content { arena: others, .. }) => {
                for slot in 0..other.len {
                    slots.push(if slot as u32 == other.null_slot {
                        null_slot_of(null_slot, len, || arena.push(0, &[]))
                    } else {
                        intern_content(index, arena, len, others.hashes[slot], others.get(slot))
                    });
                }
            }
            _ => {
                *len = (*len).max(other.len);
                slots.resize(other.len, 0);
            }
        }
    }

    /// A table of only these keys, whose slots are their places in `slots`.
    pub fn retained(&self, slots: &[u32]) -> Self {
        let mut table = Self::new(self.types.clone());
        for &slot in slots {
            let Self { keys, null_slot, len, .. } = &mut table;
            match (keys, &self.keys) {
                (Keys::Fixed { words, .. }, Keys::Fixed { .. }) if slot == self.null_slot => {
                    null_slot_of(null_slot, len, || words.push(0));
                }
                (Keys::Content { arena, .. }, Keys::Content { .. }) if slot == self.null_slot => {
                    null_slot_of(null_slot, len, || arena.push(0, &[]));
                }
                (Keys::Fixed { index, words }, Keys::Fixed { words: others, .. }) => {
                    intern_word(index, words, len, others[slot as usize]);
                }
                (Keys::Content { index, arena, .. }, Keys::Content { arena: others, .. }) => {
                    let slot = slot as usize;
                    intern_content(index, arena, len, others.hashes[slot], others.get(slot));
                }
                _ => *len = 1,
            }
        }
        table
    }

    /// The key columns of these slots.
    pub fn columns(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let has_null = self.null_slot != EMPTY;
        match &self.keys {
            Keys::None => Vec::new(),
            Keys::Fixed { words, .. } => {
                let nulls = has_null.then(|| null_buffer(slots.iter().map(|slot| *slot != self.null_slot))).flatten();
                vec![fixed::from_words(&self.types[0], slots.iter().map(|slot| words[*slot as usize]), nulls)]
            }
            Keys::Content { arena, encoded: false, .. } => {
                let content = slots.iter().map(|slot| (*slot != self.null_slot).then(|| arena.get(*slot as usize)));
                vec![if self.types[0] == DataType::Utf8 {
                    let mut builder = StringBuilder::with_capacity(slots.len(), 0);
                    content.for_each(|content| builder.append_option(content.map(String::from_utf8_lossy)));
                    Arc::new(builder.finish())
                } else {
                    let mut builder = BinaryBuilder::with_capacity(slots.len(), 0);
                    content.for_each(|content| builder.append_option(content));
                    Arc::new(builder.finish())
                }]
            }
            Keys::Content { arena, .. } => {
                let start = |slot: &u32| if *slot == 0 { 0 } else { arena.ends[*slot as usize - 1] };
                let mut cursors: Vec<usize> = slots.iter().map(start).collect();
                self.types
                    .iter()
                    .map(|data_type| encoding::decode_column(data_type, &arena.bytes, &mut cursors))
                    .collect()
            }
        }
    }
}

fn null_slot_of(null_slot: &mut u32, len: &mut usize, push: impl FnOnce()) -> u32 {
    if *null_slot == EMPTY {
        *null_slot = *len as u32;
        *len += 1;
        push();
    }
    *null_slot
}

/// Buckets for so many keys: a power of two, at most 5/8 full.
fn capacity_for(keys: usize) -> usize {
    (keys * 8 / 5 + 1).next_power_of_two().max(CAPACITY_MIN)
}

fn is_full(capacity: usize, keys: usize) -> bool {
    keys * 8 >= capacity * 5
}

#[inline(always)]
fn intern_word(index: &mut Vec<FixedBucket>, words: &mut Vec<i64>, len: &mut usize, word: i64) -> u32 {
    if is_full(index.len(), *len) {
        grow_words(index, *len);
    }
    let mask = index.len() - 1;
    let mut at = hash_i64(word) as usize & mask;
    loop {
        let bucket = &mut index[at & mask];
        if bucket.slot == EMPTY {
            *bucket = FixedBucket { word, slot: *len as u32 };
            words.push(word);
            *len += 1;
            return bucket.slot;
        }
        if bucket.word == word {
            return bucket.slot;
        }
        at += 1;
    }
}

fn find_word(index: &[FixedBucket], word: i64) -> Option<u32> {
    let mask = index.len().checked_sub(1)?;
    let start = hash_i64(word) as usize;
    let buckets = (0..).map(|step: usize| index[start.wrapping_add(step) & mask]);
    buckets.take_while(|bucket| bucket.slot != EMPTY).find(|bucket| bucket.word == word).map(|bucket| bucket.slot)
}

fn find_content(index: &[ContentBucket], arena: &Arena, content: &[u8]) -> Option<u32> {
    let mask = index.len().checked_sub(1)?;
    let hash = hash_bytes(content);
    let tag = (hash >> 32) as u32;
    let mut at = hash as usize;
    loop {
        let bucket = index[at & mask];
        if bucket.slot == EMPTY {
            return None;
        }
        if bucket.tag == tag && arena.get(bucket.slot as usize) == content {
            return Some(bucket.slot);
        }
        at = at.wrapping_add(1);
    }
}

#[cold]
#[inline(never)]
fn grow_words(index: &mut Vec<FixedBucket>, len: usize) {
    let capacity = (index.len() * 2).max(capacity_for(len));
    let old = std::mem::replace(index, vec![FixedBucket { word: 0, slot: EMPTY }; capacity]);
    for bucket in old.into_iter().filter(|bucket| bucket.slot != EMPTY) {
        let mut at = hash_i64(bucket.word) as usize;
        while index[at & (capacity - 1)].slot != EMPTY {
            at += 1;
        }
        index[at & (capacity - 1)] = bucket;
    }
}

#[inline(always)]
fn intern_contents<'a>(
    index: &mut Vec<ContentBucket>,
    arena: &mut Arena,
    len: &mut usize,
    null_slot: &mut u32,
    rows: Rows<'_>,
    slots: &mut Vec<u32>,
    content: impl Fn(usize) -> Option<&'a [u8]>,
) {
    rows.for_each(|row| {
        slots.push(match content(row) {
            Some(content) => intern_content(index, arena, len, hash_bytes(content), content),
            None => null_slot_of(null_slot, len, || arena.push(0, &[])),
        });
    });
}

#[inline(always)]
fn intern_content(
    index: &mut Vec<ContentBucket>,
    arena: &mut Arena,
    len: &mut usize,
    hash: u64,
    content: &[u8],
) -> u32 {
    if is_full(index.len(), *len) {
        grow_contents(index, arena, *len);
    }
    let mask = index.len() - 1;
    let tag = (hash >> 32) as u32;
    let mut at = hash as usize & mask;
    loop {
        let bucket = &mut index[at & mask];
        if bucket.slot == EMPTY {
            *bucket = ContentBucket { tag, slot: *len as u32 };
            arena.push(hash, content);
            *len += 1;
            return bucket.slot;
        }
        if bucket.tag == tag && arena.get(bucket.slot as usize) == content {
            return bucket.slot;
        }
        at += 1;
    }
}

#[cold]
#[inline(never)]
fn grow_contents(index: &mut Vec<ContentBucket>, arena: &Arena, len: usize) {
    let capacity = (index.len() * 2).max(capacity_for(len));
    let old = std::mem::replace(index, vec![ContentBucket { tag: 0, slot: EMPTY }; capacity]);
    for bucket in old.into_iter().filter(|bucket| bucket.slot != EMPTY) {
        let mut at = arena.hashes[bucket.slot as usize] as usize;
        while index[at & (capacity - 1)].slot != EMPTY {
            at += 1;
        }
        index[at & (capacity - 1)] = bucket;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{
        BooleanArray, Decimal128Array, Float64Array, Int8Array, Int64Array, ListArray, MapBuilder, StringArray,
        StructArray, TimestampMicrosecondArray,
    };
    use arrow::compute::concat;
    use arrow::datatypes::{Field, Int32Type};
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn columns_of_every_type() -> Vec<ArrayRef> {
        let rows = 500i64;
        let at = |row: i64| (row * 7 % 40, row % 9 != 0);
        let numbers = || (0..rows).map(|row| at(row).1.then_some(at(row).0 - 20));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
            (0..rows).map(|row| at(row).1.then(|| (0..at(row).0 % 4).map(|v| (v != 2).then_some(v as i32)))),
        );
        let texts: ArrayRef = Arc::new(
            numbers()
                .map(|v| v.map(|v| "long text ".repeat((v + 20) as usize % 3) + &v.to_string()))
                .collect::<StringArray>(),
        );
        let nulls = null_buffer((0..rows as usize).map(|row| row % 5 != 0));
        let fields = vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)];
        let numbers_column: ArrayRef = Arc::new(numbers().collect::<Int64Array>());
        let rows_of_two = StructArray::new(fields.into(), vec![texts.clone(), numbers_column.clone()], nulls);
        let mut map = MapBuilder::new(None, arrow::array::StringBuilder::new(), arrow::array::Int64Builder::new());
        for row in 0..rows {
            (0..row % 3).for_each(|entry| {
                map.keys().append_value(format!("k{entry}"));
                map.values().append_value(row % 4);
            });
            map.append(row % 11 != 0).unwrap();
        }
        let mut bytes = BinaryBuilder::new();
        numbers().for_each(|v| bytes.append_option(v.map(|v| v.to_le_bytes())));
        vec![
            numbers_column,
            Arc::new(numbers().map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
            Arc::new(numbers().map(|v| v.map(|v| v > 0)).collect::<BooleanArray>()),
            Arc::new(numbers().map(|v| v.map(|v| v as f64 / 8.0)).collect::<Float64Array>()),
            Arc::new(
                numbers()
                    .map(|v| v.map(|v| i128::from(v) << 64))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, 4)
                    .unwrap(),
            ),
            Arc::new(numbers().collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
            texts,
            Arc::new(bytes.finish()),
            Arc::new(list),
            Arc::new(rows_of_two),
            Arc::new(map.finish()),
        ]
    }

    fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
        columns
            .iter()
            .map(|column| array_value_to_string(column, row).unwrap() + &format!("{}", column.is_null(row)))
            .collect()
    }

    /// Interns in two batches (one by selection) and checks slots and keys against a map.
    fn check(columns: &[ArrayRef]) {
        let rows = columns.first().map_or(0, |column| column.len());
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let mut table = KeyTable::new(types.clone());
        let mut batch = KeyBatch::default();
        batch.load(columns, rows);
        for round in 0..2 {
            let mut expected: BTreeMap<Vec<String>, u32> = BTreeMap::new();
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let selected: Vec<u32> = (0..rows as u32).rev().step_by(3).collect();
            table.intern(&batch, Rows::Selected(&selected), &mut first);
            table.intern(&batch, Rows::All(rows), &mut second);
            let order = selected.iter().map(|row| *row as usize).zip(&first).chain((0..rows).zip(&second));
            for (row, slot) in order {
                let next = expected.len() as u32;
                let known = *expected.entry(texts(columns, row)).or_insert(next);
                assert_eq!(*slot, known, "round {round} row {row} of {types:?}");
            }
            assert_eq!(table.len(), expected.len(), "{types:?}");
            let slots: Vec<u32> = (0..table.len() as u32).collect();
            let keys = table.columns(&slots);
            table.find(&batch, rows, &mut first);
            assert_eq!(first, if columns.is_empty() { vec![0] } else { second.clone() });
            for (key, slot) in &expected {
                assert_eq!(&texts(&keys, *slot as usize), key, "{types:?}");
            }
            assert_eq!(keys.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>(), types);

            // Into a table that has other slots, and back again with a part of the keys.
            let half = rows / 2;
            let mut other = KeyTable::new(types.clone());
            let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(rows - half, half)).collect();
            let mut part_batch = KeyBatch::default();
            part_batch.load(&part, half);
            other.intern(&part_batch, Rows::All(half), &mut first);
            other.intern_table(&table, &mut second);
            assert_eq!(other.len(), expected.len());
            let others = other.columns(&second);
            for slot in &slots {
                assert_eq!(texts(&others, *slot as usize), texts(&keys, *slot as usize));
            }
            let live: Vec<u32> = slots.iter().copied().filter(|slot| slot % 2 == 1).collect();
            let retained = table.retained(&live);
            let retained = retained.columns(&(0..live.len() as u32).collect::<Vec<_>>());
            for (at, slot) in live.iter().enumerate() {
                assert_eq!(texts(&retained, at), texts(&keys, *slot as usize));
            }
            table.reset();
        }
    }

    #[test]
    fn every_type_alone_and_in_pairs() {
        let columns = columns_of_every_type();
        for column in &columns {
            check(std::slice::from_ref(column));
            check(&[column.clone(), columns[6].clone()]);
        }
        check(&columns);
        let twice: Vec<ArrayRef> = columns.iter().map(|column| concat(&[column, column]).unwrap()).collect();
        check(&twice[..3]);
    }

    #[test]
    fn floats_are_keys_by_their_bits() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 0.0]));
        let mut batch = KeyBatch::default();
        batch.load(&[column], 5);
        let (mut table, mut slots) = (KeyTable::new(vec![DataType::Float64]), Vec::new());
        table.intern(&batch, Rows::All(5), &mut slots);
        assert_eq!(slots, [0, 1, 2, 2, 0]);
    }

    #[test]
    fn without_key_columns_there_is_one_group() {
        let (mut table, mut batch, mut slots) = (KeyTable::new(Vec::new()), KeyBatch::default(), Vec::new());
        batch.load(&[], 3);
        table.intern(&batch, Rows::All(3), &mut slots);
        assert_eq!((table.len(), &slots[..]), (1, &[0, 0, 0][..]));
        assert!(table.columns(&[0]).is_empty());
    }
}
