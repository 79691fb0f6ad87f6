//! Sets and counted sets of values per slot, in one flat table.
//!
//! A set per group would cost an allocation a group. Here the table is keyed by (slot, value), and
//! the members of a slot are chained, so that one slot can be read or dropped without looking at
//! the others.

use tidemill_common::hash::{combine, hash_bytes, hash_i64};

const NONE: u32 = u32::MAX;

/// Owners stand between slots and entries: dropping a slot gives it a new owner, and entries of dead
/// owners are left out when the table is next rebuilt.
#[derive(Debug, Default)]
struct Owners {
    /// Owner of each slot, `NONE` before the first member.
    of_slot: Vec<u32>,
    /// First entry of each owner.
    heads: Vec<u32>,
    dead_entries: usize,
}

impl Owners {
    #[inline(always)]
    fn owner(&mut self, slot: u32) -> u32 {
        let slot = slot as usize;
        if slot >= self.of_slot.len() {
            self.of_slot.resize(slot + 1, NONE);
        }
        if self.of_slot[slot] == NONE {
            self.of_slot[slot] = self.heads.len() as u32;
            self.heads.push(NONE);
        }
        self.of_slot[slot]
    }

    fn head(&self, slot: u32) -> u32 {
        match self.of_slot.get(slot as usize) {
            Some(&owner) if owner != NONE => self.heads[owner as usize],
            _ => NONE,
        }
    }

    fn clear(&mut self) {
        self.of_slot.clear();
        self.heads.clear();
        self.dead_entries = 0;
    }

    /// The slot of each owner, `NONE` of dead ones.
    fn slots(&self) -> Vec<u32> {
        let mut slots = vec![NONE; self.heads.len()];
        for (slot, owner) in self.of_slot.iter().enumerate().filter(|(_, owner)| **owner != NONE) {
            slots[*owner as usize] = slot as u32;
        }
        slots
    }

    /// Numbers the live owners anew; gives the new number of each old owner, or `NONE`.
    fn compact(&mut self) -> Vec<u32> {
        let mut renumbered = vec![NONE; self.heads.len()];
        let mut live = 0;
        for owner in self.of_slot.iter_mut().filter(|owner| **owner != NONE) {
            renumbered[*owner as usize] = live;
            *owner = live;
            live += 1;
        }
        self.heads.clear();
        self.heads.resize(live as usize, NONE);
        self.dead_entries = 0;
        renumbered
    }
}

#[derive(Debug, Clone, Copy)]
struct WordEntry<V> {
    word: i64,
    owner: u32,
    next: u32,
    value: V,
}

/// From (slot, word) to a value; with `()` it is a set.
#[derive(Debug)]
pub(crate) struct WordMap<V> {
    buckets: Vec<WordEntry<V>>,
    len: usize,
    owners: Owners,
}

impl<V: Copy + Default> WordMap<V> {
    pub fn new() -> Self {
        Self { buckets: Vec::new(), len: 0, owners: Owners::default() }
    }

    fn vacant() -> WordEntry<V> {
        WordEntry { word: 0, owner: NONE, next: NONE, value: V::default() }
    }

    #[inline(always)]
    fn start(word: i64, owner: u32) -> usize {
        hash_i64(word ^ (i64::from(owner) << 32 | i64::from(owner))) as usize
    }

    /// Makes room for so many members.
    pub fn reserve(&mut self, members: usize) {
        if (self.len + members) * 8 >= self.buckets.len() * 5 {
            self.rebuild(members);
        }
    }

    /// Where the search for (slot, word) begins.
    #[inline(always)]
    pub fn position(&self, slot: u32, word: i64) -> usize {
        let owner = self.owners.of_slot.get(slot as usize).copied().unwrap_or(NONE);
        Self::start(word, owner) & self.buckets.len().saturating_sub(1)
    }

    /// Reads the bucket at a position.
    #[inline(always)]
    pub fn touch(&self, position: usize) -> i64 {
        self.buckets[position].word
    }

    /// Bytes of the buckets.
    pub fn table_bytes(&self) -> usize {
        size_of_val(&self.buckets[..])
    }

    /// The value of (slot, word), and whether it is new.
    #[inline(always)]
    pub fn entry(&mut self, slot: u32, word: i64) -> (&mut V, bool) {
        self.reserve(0);
        let owner = self.owners.owner(slot);
        let mask = self.buckets.len() - 1;
        let mut at = Self::start(word, owner) & mask;
        loop {
            let bucket = &self.buckets[at];
            if bucket.owner == NONE {
                let next = std::mem::replace(&mut self.owners.heads[owner as usize], at as u32);
                self.buckets[at] = WordEntry { word, owner, next, value: V::default() };
                self.len += 1;
                return (&mut self.buckets[at].value, true);
            }
            if bucket.word == word && bucket.owner == owner {
                return (&mut self.buckets[at].value, false);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn rebuild(&mut self, more: usize) {
        let live = self.len - self.owners.dead_entries + more;
        let capacity = (live * 16 / 5 + 1).next_power_of_two().max(16);
        let old = std::mem::replace(&mut self.buckets, vec![Self::vacant(); capacity]);
        let renumbered = self.owners.compact();
        self.len = 0;
        for entry in old.into_iter().filter(|entry| entry.owner != NONE) {
            let owner = renumbered[entry.owner as usize];
            if owner == NONE {
                continue;
            }
            let mut at = Self::start(entry.word, owner) & (capacity - 1);
            while self.buckets[at].owner != NONE {
                at = (at + 1) & (capacity - 1);
            }
            let next = std::mem::replace(&mut self.owners.heads[owner as usize], at as u32);
            self.buckets[at] = WordEntry { owner, next, ..entry };
            self.len += 1;
        }
    }

    /// Calls `f` with each member of a slot.
    pub fn for_each(&self, slot: u32, mut f: impl FnMut(i64, V)) {
        let mut at = self.owners.head(slot);
        while at != NONE {
            let entry = &self.buckets[at as usize];
            f(entry.word, entry.value);
            at = entry.next;
        }
    }

    /// Calls `f` with slot, word and value of each member, in the order of the table.
    pub fn for_all(&self, mut f: impl FnMut(u32, i64, V)) {
        let slots = self.owners.slots();
        for entry in self.buckets.iter().filter(|entry| entry.owner != NONE) {
            let slot = slots[entry.owner as usize];
            if slot != NONE {
                f(slot, entry.word, entry.value);
            }
        }
    }

    /// Drops the members of a slot.
    pub fn clear_slot(&mut self, slot: u32) {
        let mut members = 0;
        self.for_each(slot, |_, _| members += 1);
        if members > 0 {
            self.owners.dead_entries += members;
            self.owners.of_slot[slot as usize] = NONE;
        }
    }

    /// Drops everything, keeping memory unless far more of it is held than was used.
    pub fn reset(&mut self) {
        if self.buckets.len() > 8 * self.len.max(16) {
            self.buckets = Vec::new();
        } else {
            self.buckets.fill(Self::vacant());
        }
        self.len = 0;
        self.owners.clear();
    }

    pub fn memory_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<WordEntry<V>>() + self.owners.heads.capacity() * 8
    }
}

#[derive(Debug, Clone, Copy)]
struct ContentEntry {
    hash: u64,
    start: usize,
    length: u32,
    owner: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct ContentBucket {
    tag: u32,
    entry: u32,
}

/// A set of byte strings per slot.
#[derive(Debug, Default)]
pub(crate) struct ContentSet {
    index: Vec<ContentBucket>,
    entries: Vec<ContentEntry>,
    bytes: Vec<u8>,
    owners: Owners,
}

impl ContentSet {
    /// Adds a member; whether it is new.
    pub fn insert(&mut self, slot: u32, content: &[u8]) -> bool {
        if self.entries.len() * 8 >= self.index.len() * 5 {
            self.rebuild();
        }
        let owner = self.owners.owner(slot);
        let content_hash = hash_bytes(content);
        let hash = combine(content_hash, u64::from(owner));
        let mask = self.index.len() - 1;
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & mask;
        loop {
            let bucket = self.index[at];
            if bucket.entry == NONE {
                let id = self.entries.len() as u32;
                let next = std::mem::replace(&mut self.owners.heads[owner as usize], id);
                let (start, length) = (self.bytes.len(), content.len() as u32);
                self.bytes.extend_from_slice(content);
                self.entries.push(ContentEntry { hash: content_hash, start, length, owner, next });
                self.index[at] = ContentBucket { tag, entry: id };
                return true;
            }
            if bucket.tag == tag {
                let entry = &self.entries[bucket.entry as usize];
                if entry.owner == owner && &self.bytes[entry.start..][..entry.length as usize] == content {
                    return false;
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn rebuild(&mut self) {
        let live = self.entries.len() - self.owners.dead_entries;
        let capacity = (live * 16 / 5 + 1).next_power_of_two().max(16);
        let purge = self.owners.dead_entries > 0;
        let renumbered = self.owners.compact();
        let old_entries = std::mem::take(&mut self.entries);
        let old_bytes = if purge { std::mem::take(&mut self.bytes) } else { Vec::new() };
        self.index.clear();
        self.index.resize(capacity, ContentBucket { tag: 0, entry: NONE });
        for mut entry in old_entries {
            entry.owner = renumbered[entry.owner as usize];
            if entry.owner == NONE {
                continue;
            }
            if purge {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(&old_bytes[entry.start..][..entry.length as usize]);
                entry.start = start;
            }
            let hash = combine(entry.hash, u64::from(entry.owner));
            let mut at = hash as usize & (capacity - 1);
            while self.index[at].entry != NONE {
                at = (at + 1) & (capacity - 1);
            }
            let id = self.entries.len() as u32;
            entry.next = std::mem::replace(&mut self.owners.heads[entry.owner as usize], id);
            self.index[at] = ContentBucket { tag: (hash >> 32) as u32, entry: id };
            self.entries.push(entry);
        }
    }

    /// Calls `f` with each member of a slot.
    pub fn for_each(&self, slot: u32, mut f: impl FnMut(&[u8])) {
        let mut at = self.owners.head(slot);
        while at != NONE {
            let entry = &self.entries[at as usize];
            f(&self.bytes[entry.start..][..entry.length as usize]);
            at = entry.next;
        }
    }

    /// Calls `f` with slot and content of each member, in the order of the table.
    pub fn for_all(&self, mut f: impl FnMut(u32, &[u8])) {
        let slots = self.owners.slots();
        for entry in &self.entries {
            let slot = slots[entry.owner as usize];
            if slot != NONE {
                f(slot, &self.bytes[entry.start..][..entry.length as usize]);
            }
        }
    }

    /// Drops the members of a slot.
    pub fn clear_slot(&mut self, slot: u32) {
        let mut members = 0;
        self.for_each(slot, |_| members += 1);
        if members > 0 {
            self.owners.dead_entries += members;
            self.owners.of_slot[slot as usize] = NONE;
        }
    }

    /// Drops everything, keeping memory unless far more of it is held than was used.
    pub fn reset(&mut self) {
        if self.index.len() > 8 * self.entries.len().max(16) {
            *self = Self::default();
        } else {
            self.index.fill(ContentBucket { tag: 0, entry: NONE });
            self.entries.clear();
            self.bytes.clear();
            self.owners.clear();
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.index.capacity() * 8 + self.entries.capacity() * size_of::<ContentEntry>() + self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_belong_to_their_slot_and_cleared_slots_are_forgotten() {
        let mut map = WordMap::<i64>::new();
        let mut set = ContentSet::default();
        for round in 0..50 {
            for slot in 0..20u32 {
                for value in 0..100i64 {
                    *map.entry(slot, value % 50).0 += 1;
                    set.insert(slot, format!("value {}", value % 50).as_bytes());
                }
            }
            for slot in 0..20 {
                let (mut words, mut contents) = (Vec::new(), Vec::new());
                map.for_each(slot, |word, count| words.push((word, count)));
                set.for_each(slot, |content| contents.push(content.to_vec()));
                words.sort_unstable();
                contents.sort_unstable();
                contents.dedup();
                assert_eq!(words, (0..50).map(|word| (word, 2)).collect::<Vec<_>>(), "round {round} slot {slot}");
                assert_eq!(contents.len(), 50);
                map.clear_slot(slot);
                set.clear_slot(slot);
                map.for_each(slot, |_, _| panic!("slot {slot} was cleared"));
            }
        }
        assert!(map.buckets.len() <= 1 << 14, "dead members pile up: {}", map.buckets.len());
    }
}
