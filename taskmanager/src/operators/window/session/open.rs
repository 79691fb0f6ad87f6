//! The open sessions that are in memory, by key and by end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::datatypes::DataType;
use tidemill_common::time::TimestampMs;
use tidemill_state::KeyTable;

pub(super) const NONE: u32 = u32::MAX;
/// Keys without a session that are kept before the key table is made anew.
const IDLE_KEYS_MIN: usize = 1024;

/// One session; its number is its slot in the accumulators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub start: TimestampMs,
    pub end: TimestampMs,
    pub key: u32,
    /// Sessions of the same key: the next earlier and the next later one.
    pub next: u32,
    pub previous: u32,
    /// Told apart from earlier uses of the number.
    pub generation: u32,
    /// During a batch: the session this one was united with.
    pub united_with: u32,
    /// Whether it has changed since the last snapshot.
    pub dirty: bool,
    /// The start under which it was last handed to a snapshot, or to disk.
    pub kept_start: Option<TimestampMs>,
    /// Whether the disk has it as it is.
    pub on_disk: bool,
}

impl Session {
    pub const BLANK: Self = Self {
        start: 0,
        end: 0,
        key: 0,
        next: NONE,
        previous: NONE,
        generation: 0,
        united_with: NONE,
        dirty: false,
        kept_start: None,
        on_disk: false,
    };
}

/// The open sessions.
pub(super) struct Sessions {
    pub keys: KeyTable,
    /// Latest session of each key; the others follow from late to early.
    pub heads: Vec<u32>,
    pub idle_keys: usize,
    pub sessions: Vec<Session>,
    pub free: Vec<u32>,
    /// (end, session, generation), at most one a session; the end may be outdated.
    pub timers: BinaryHeap<Reverse<(TimestampMs, u32, u32)>>,
    /// Sessions that were united with another during this batch.
    pub united: Vec<u32>,
    /// Numbers of sessions that have changed since the last snapshot.
    pub dirty: Vec<u32>,
    /// Sessions that have been kept under another start than they have now, or are parts of others.
    pub moved: Vec<Moved>,
}

/// A session that is no more under this start.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub key: u32,
    pub start: TimestampMs,
    /// Not before the end that it had.
    pub end: TimestampMs,
}

impl Sessions {
    /// None, of keys of these types.
    pub fn new(key_types: &[DataType]) -> Self {
        Self {
            keys: KeyTable::new(key_types.to_vec()),
            heads: Vec::new(),
            idle_keys: 0,
            sessions: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            united: Vec::new(),
            dirty: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Adds a window of a key. Gives the session it is part of, or `None` if it would be a session
    /// of its own and `is_late` says that it has passed.
    ///
    /// Sessions of a key neither overlap nor touch, so that the search ends at the first that is
    /// before the window: mostly at once, as most rows belong to the latest session.
    pub fn add(&mut self, key: u32, start: TimestampMs, end: TimestampMs, is_late: impl Fn() -> bool) -> Option<u32> {
        let (mut found, mut later) = (NONE, NONE);
        let mut at = self.heads[key as usize];
        while at != NONE {
            let session = self.sessions[at as usize];
            if session.end < start {
                break;
            }
            if session.start > end {
                later = at;
            } else if found == NONE {
                found = at;
                let session = &mut self.sessions[at as usize];
                session.start = session.start.min(start);
                session.end = session.end.max(end);
            } else {
                // The window closes the gap to an earlier session.
                let into = &mut self.sessions[found as usize];
                into.start = into.start.min(session.start);
                self.unlink(at);
                self.sessions[at as usize].united_with = found;
                self.united.push(at);
            }
            at = session.next;
        }
        if found != NONE {
            return Some(found);
        }
        if is_late() {
            return None;
        }
        Some(self.begin(key, start, end, later))
    }

    /// Bytes held, roughly.
    pub fn memory_bytes(&self) -> usize {
        let sessions = self.sessions.capacity() * size_of::<Session>();
        let timers = self.timers.capacity() * size_of::<Reverse<(TimestampMs, u32, u32)>>();
        self.keys.memory_bytes() + self.heads.capacity() * 4 + sessions + timers
    }

    pub fn allocate(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::BLANK);
            self.sessions.len() as u32 - 1
        })
    }

    /// Opens a session that comes before `later` in time (`NONE`: is the latest).
    pub fn begin(&mut self, key: u32, start: TimestampMs, end: TimestampMs, later: u32) -> u32 {
        let id = self.allocate();
        let generation = self.sessions[id as usize].generation;
        let head = &mut self.heads[key as usize];
        if *head == NONE {
            self.idle_keys -= 1;
        }
        let next = match later {
            NONE => std::mem::replace(head, id),
            later => std::mem::replace(&mut self.sessions[later as usize].next, id),
        };
        if next != NONE {
            self.sessions[next as usize].previous = id;
        }
        self.sessions[id as usize] = Session { start, end, key, next, previous: later, generation, ..Session::BLANK };
        self.timers.push(Reverse((end, id, generation)));
        id
    }

    /// Takes a session out of its key's list.
    pub fn unlink(&mut self, id: u32) {
        let Session { key, next, previous, .. } = self.sessions[id as usize];
        match previous {
            NONE => self.heads[key as usize] = next,
            previous => self.sessions[previous as usize].next = next,
        }
        if next != NONE {
            self.sessions[next as usize].previous = previous;
        }
        if self.heads[key as usize] == NONE {
            self.idle_keys += 1;
        }
    }

    /// Makes room for keys that have just been interned.
    pub fn resize_keys(&mut self) {
        self.idle_keys += self.keys.len() - self.heads.len();
        self.heads.resize(self.keys.len(), NONE);
    }

    /// All open sessions.
    pub fn open(&self) -> Vec<u32> {
        let mut open = Vec::with_capacity(self.sessions.len() - self.free.len());
        for head in &self.heads {
            let mut at = *head;
            while at != NONE {
                open.push(at);
                at = self.sessions[at as usize].next;
            }
        }
        open
    }

    /// Notes that rows have been added to sessions.
    pub fn touch(&mut self, ids: &[u32]) {
        for id in ids {
            let session = &mut self.sessions[*id as usize];
            session.on_disk = false;
            if !session.dirty {
                session.dirty = true;
                self.dirty.push(*id);
            }
        }
    }

    /// The sessions that have changed since this was last called, and those that are no more.
    pub fn take_changes(&mut self) -> (Vec<u32>, Vec<Moved>) {
        let (mut changed, mut moved) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.moved));
        changed.retain(|id| {
            let session = &mut self.sessions[*id as usize];
            let start = session.start;
            let kept = if session.dirty { session.kept_start.replace(start) } else { None };
            let (key, end) = (session.key, session.end);
            moved.extend(kept.filter(|kept| *kept != start).map(|start| Moved { key, start, end }));
            std::mem::take(&mut session.dirty)
        });
        (changed, moved)
    }

    /// Puts a session that is not linked in front of the others of its key, which are earlier.
    pub fn link(&mut self, id: u32) {
        let Session { key, end, generation, .. } = self.sessions[id as usize];
        let head = &mut self.heads[key as usize];
        if *head == NONE {
            self.idle_keys -= 1;
        } else {
            self.sessions[*head as usize].previous = id;
        }
        self.sessions[id as usize].next = std::mem::replace(head, id);
        self.timers.push(Reverse((end, id, generation)));
    }

    pub fn root(&self, mut id: u32) -> u32 {
        while self.sessions[id as usize].united_with != NONE {
            id = self.sessions[id as usize].united_with;
        }
        id
    }

    pub fn release(&mut self, id: u32) {
        self.sessions[id as usize].generation = self.sessions[id as usize].generation.wrapping_add(1);
        self.sessions[id as usize].united_with = NONE;
        self.sessions[id as usize].dirty = false;
        self.sessions[id as usize].kept_start = None;
        self.free.push(id);
    }

    /// Ends a session.
    pub fn close(&mut self, id: u32) {
        self.unlink(id);
        self.release(id);
    }

    /// The earliest end of a session, after dropping timers that are outdated.
    pub fn next_end(&mut self) -> Option<(TimestampMs, u32)> {
        while let Some(Reverse((end, id, generation))) = self.timers.peek().copied() {
            let session = self.sessions[id as usize];
            if session.generation == generation && session.end == end {
                return Some((end, id));
            }
            self.timers.pop();
            if session.generation == generation {
                self.timers.push(Reverse((session.end, id, generation)));
            }
        }
        None
    }

    /// Forgets keys without a session, once they are the greater part.
    pub fn forget_idle_keys(&mut self) {
        if self.idle_keys < IDLE_KEYS_MIN || self.idle_keys * 2 < self.keys.len() {
            return;
        }
        let live: Vec<u32> = (0..self.heads.len() as u32).filter(|key| self.heads[*key as usize] != NONE).collect();
        self.keys = self.keys.retained(&live);
        let mut renumbered = vec![NONE; self.heads.len()];
        live.iter().enumerate().for_each(|(new, old)| renumbered[*old as usize] = new as u32);
        // What sessions of a key have become has ended with it.
        self.moved.retain_mut(|moved| {
            moved.key = renumbered[moved.key as usize];
            moved.key != NONE
        });
        self.heads = live.iter().map(|key| self.heads[*key as usize]).collect();
        for (key, head) in self.heads.iter().enumerate() {
            let mut at = *head;
            while at != NONE {
                self.sessions[at as usize].key = key as u32;
                at = self.sessions[at as usize].next;
            }
        }
        self.idle_keys = 0;
    }
}
