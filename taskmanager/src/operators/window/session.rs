//! Session windows: per key, rows that are no further apart than the gap.
//!
//! A row is a window `[ts, ts + gap)` that is united with the sessions it overlaps or touches. It is
//! late only if that window, united, has passed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{WindowAggregateSpec, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_state::accumulator::Accumulator;
use tidemill_state::keyed::{KeyedRows, Namespaces};
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::assigner::Window;
use super::deltas::{AllRows, Delta, DeltaLog};
use super::emitter::{Emitter, RowWindows};
use super::keyed::{KeyedContext, Progress, WindowState};
use super::layout::{FilterScratch, Layout, Prepared, accumulate};
use super::rows::CopiedRows;
use super::spill::Room;
use super::zone::WindowZone;
use super::{Clock, null_row_time};
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

const NONE: u32 = u32::MAX;
/// Keys without a session that are kept before the key table is made anew.
const IDLE_KEYS_MIN: usize = 1024;

#[allow(clippy::too_many_arguments, reason = "called once")]
pub(super) fn create(
    operator: &str,
    spec: &WindowAggregateSpec,
    input: &Schema,
    output: &Schema,
    context: &KeyedContext,
    zone: WindowZone,
    gap: i64,
    clock: Clock,
) -> Result<Box<dyn Operator>, String> {
    if gap <= 0 {
        return Err(format!("the gap of a session window must be positive, but is {gap} ms"));
    }
    if spec.allowed_lateness_ms > 0 {
        return Err("session windows cannot be kept for late rows; unset 'table.exec.emit.allow-lateness'".to_owned());
    }
    // Sessions are slots that are united and freed one by one.
    let layout = Layout { fused: None, ..Layout::new(spec, input)? };
    let state = WindowState::new(operator, context, &layout, &[], &[DataType::Int64])?;
    Ok(Box::new(SessionAggregate {
        operator: operator.to_owned(),
        time: spec.window.time.clone(),
        zone: zone.clone(),
        gap,
        clock,
        progress: state.progress(),
        log: state.log(),
        room: state.room(),
        state,
        late_rows: 0,
        emitter: Emitter::of_windows(operator, output, zone),
        sessions: Sessions { keys: KeyTable::new(layout.key_types.clone()), ..Sessions::default() },
        accumulators: layout.accumulators(),
        layout,
        prepared: Prepared::default(),
        filter: FilterScratch::default(),
        key_slots: Vec::new(),
        slots: Vec::new(),
        rows: Vec::new(),
    }))
}

/// One session; its number is its slot in the accumulators.
#[derive(Debug, Clone, Copy)]
struct Session {
    start: TimestampMs,
    end: TimestampMs,
    key: u32,
    /// Sessions of the same key: the next earlier and the next later one.
    next: u32,
    previous: u32,
    /// Told apart from earlier uses of the number.
    generation: u32,
    /// During a batch: the session this one was united with.
    united_with: u32,
    /// Whether it has changed since the last snapshot.
    dirty: bool,
    /// The start under which it was last handed to a snapshot.
    kept_start: Option<TimestampMs>,
}

impl Session {
    const BLANK: Self = Self {
        start: 0,
        end: 0,
        key: 0,
        next: NONE,
        previous: NONE,
        generation: 0,
        united_with: NONE,
        dirty: false,
        kept_start: None,
    };
}

/// The open sessions.
struct Sessions {
    keys: KeyTable,
    /// Latest session of each key; the others follow from late to early.
    heads: Vec<u32>,
    idle_keys: usize,
    sessions: Vec<Session>,
    free: Vec<u32>,
    /// (end, session, generation), at most one a session; the end may be outdated.
    timers: BinaryHeap<Reverse<(TimestampMs, u32, u32)>>,
    /// Sessions that were united with another during this batch.
    united: Vec<u32>,
    /// Numbers of sessions that have changed since the last snapshot.
    dirty: Vec<u32>,
    /// (key, start) under which a snapshot has got sessions that are parts of others by now.
    moved: Vec<(u32, TimestampMs)>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            keys: KeyTable::new(Vec::new()),
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
}

impl Sessions {
    /// Adds a window of a key. Gives the session it is part of, or `None` if it would be a session
    /// of its own and `is_late` says that it has passed.
    ///
    /// Sessions of a key neither overlap nor touch, so that the search ends at the first that is
    /// before the window: mostly at once, as most rows belong to the latest session.
    fn add(&mut self, key: u32, start: TimestampMs, end: TimestampMs, is_late: impl Fn() -> bool) -> Option<u32> {
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
    fn memory_bytes(&self) -> usize {
        let sessions = self.sessions.capacity() * size_of::<Session>();
        let timers = self.timers.capacity() * size_of::<Reverse<(TimestampMs, u32, u32)>>();
        self.keys.memory_bytes() + self.heads.capacity() * 4 + sessions + timers
    }

    fn allocate(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::BLANK);
            self.sessions.len() as u32 - 1
        })
    }

    /// Opens a session that comes before `later` in time (`NONE`: is the latest).
    fn begin(&mut self, key: u32, start: TimestampMs, end: TimestampMs, later: u32) -> u32 {
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
    fn unlink(&mut self, id: u32) {
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
    fn resize_keys(&mut self) {
        self.idle_keys += self.keys.len() - self.heads.len();
        self.heads.resize(self.keys.len(), NONE);
    }

    /// All open sessions.
    fn open(&self) -> Vec<u32> {
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
    fn touch(&mut self, ids: &[u32]) {
        for id in ids {
            let session = &mut self.sessions[*id as usize];
            if !session.dirty {
                session.dirty = true;
                self.dirty.push(*id);
            }
        }
    }

    /// The sessions that have changed since this was last called, and what moved: (key, start) that
    /// are no more.
    fn take_changes(&mut self) -> (Vec<u32>, Vec<(u32, TimestampMs)>) {
        let (mut changed, mut moved) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.moved));
        changed.retain(|id| {
            let session = &mut self.sessions[*id as usize];
            let start = session.start;
            let kept = if session.dirty { session.kept_start.replace(start) } else { None };
            moved.extend(kept.filter(|kept| *kept != start).map(|kept| (session.key, kept)));
            std::mem::take(&mut session.dirty)
        });
        (changed, moved)
    }

    /// Puts a session that is not linked in front of the others of its key, which are earlier.
    fn link(&mut self, id: u32) {
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

    fn root(&self, mut id: u32) -> u32 {
        while self.sessions[id as usize].united_with != NONE {
            id = self.sessions[id as usize].united_with;
        }
        id
    }

    fn release(&mut self, id: u32) {
        self.sessions[id as usize].generation = self.sessions[id as usize].generation.wrapping_add(1);
        self.sessions[id as usize].united_with = NONE;
        self.sessions[id as usize].dirty = false;
        self.sessions[id as usize].kept_start = None;
        self.free.push(id);
    }

    /// Ends a session.
    fn close(&mut self, id: u32) {
        self.unlink(id);
        self.release(id);
    }

    /// The earliest end of a session, after dropping timers that are outdated.
    fn next_end(&mut self) -> Option<(TimestampMs, u32)> {
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
    fn forget_idle_keys(&mut self) {
        if self.idle_keys < IDLE_KEYS_MIN || self.idle_keys * 2 < self.keys.len() {
            return;
        }
        let live: Vec<u32> = (0..self.heads.len() as u32).filter(|key| self.heads[*key as usize] != NONE).collect();
        self.keys = self.keys.retained(&live);
        let mut renumbered = vec![NONE; self.heads.len()];
        live.iter().enumerate().for_each(|(new, old)| renumbered[*old as usize] = new as u32);
        // What sessions of a key have become has ended with it.
        self.moved.retain_mut(|(key, _)| {
            *key = renumbered[*key as usize];
            *key != NONE
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

struct SessionAggregate {
    operator: String,
    time: WindowTime,
    zone: WindowZone,
    gap: i64,
    clock: Clock,
    progress: Progress,
    state: WindowState,
    log: DeltaLog,
    room: Room,
    late_rows: u64,
    emitter: Emitter,
    layout: Layout,
    sessions: Sessions,
    accumulators: Vec<Box<dyn Accumulator>>,
    prepared: Prepared,
    filter: FilterScratch,
    key_slots: Vec<u32>,
    slots: Vec<u32>,
    rows: Vec<u32>,
}

impl SessionAggregate {
    /// Fails if there is no room for the sessions.
    fn look_for_room(&mut self) -> Result<(), OperatorError> {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.memory_bytes()).sum::<usize>();
        let bytes = accumulators + self.sessions.memory_bytes();
        let looked = self.room.look(bytes, self.sessions.sessions.len());
        looked.map_err(|reason| OperatorError::Memory {
            operator: self.operator.clone(),
            reason: format!("{reason}. Sessions do not go to disk"),
        })
    }

    /// Finds the session of each row. The sessions and rows that are not late are in `slots`, `rows`.
    fn assign(&mut self, records: &RecordBatch) -> Result<(), OperatorError> {
        let rows = records.num_rows();
        self.sessions.keys.intern(&self.prepared.keys, Rows::All(rows), &mut self.key_slots);
        self.sessions.resize_keys();
        self.slots.clear();
        self.rows.clear();
        let times = match &self.time {
            WindowTime::RowTime { column, .. } => {
                let times = records.column(*column).as_primitive::<TimestampMillisecondType>();
                if times.null_count() > 0 {
                    return Err(null_row_time(&self.operator));
                }
                Some(times.values().clone())
            }
            WindowTime::ProcessingTime { .. } | WindowTime::Input => None,
        };
        let now = if times.is_none() { (self.clock)().max(self.progress.furthest().saturating_add(1)) } else { 0 };
        let progress = self.progress.of_keys(&self.prepared.key_columns, rows);
        for (row, key) in self.key_slots.iter().enumerate() {
            let time = times.as_ref().map_or(now, |times| times[row]);
            let start = self.zone.to_local(time);
            let end = start.saturating_add(self.gap);
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[row]);
            let is_late = || self.zone.to_timer(end - 1) <= progress;
            match self.sessions.add(*key, start, end, is_late) {
                Some(session) => {
                    self.slots.push(session);
                    self.rows.push(row as u32);
                }
                None => self.late_rows += 1,
            }
        }
        Ok(())
    }

    /// Moves the accumulators of sessions that have been united, and points rows at what is left.
    fn unite(&mut self) {
        if self.sessions.united.is_empty() {
            return;
        }
        let from = std::mem::take(&mut self.sessions.united);
        let into: Vec<u32> = from.iter().map(|session| self.sessions.root(*session)).collect();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.merge_slots(&from, &into));
        self.slots.iter_mut().for_each(|slot| *slot = self.sessions.root(*slot));
        if self.log.is_incremental() {
            let kept = from.iter().map(|id| self.sessions.sessions[*id as usize]);
            self.sessions.moved.extend(kept.filter_map(|session| Some((session.key, session.kept_start?))));
            self.sessions.touch(&into);
        }
        from.into_iter().for_each(|session| self.sessions.release(session));
    }

    /// Takes rows that were kept; of one session the last counts.
    fn take(&mut self, kept: &KeyedRows, found: &mut HashMap<(u32, TimestampMs), u32>) {
        let Namespaces::Each(starts) = &kept.namespaces else { return };
        let (key_columns, values) = kept.columns.split_at(self.layout.keys.len());
        let mut batch = KeyBatch::default();
        batch.load(key_columns, starts.len());
        self.sessions.keys.intern(&batch, Rows::All(starts.len()), &mut self.key_slots);
        self.sessions.resize_keys();
        let ends = values[0].as_primitive::<Int64Type>();
        self.slots.clear();
        self.rows.clear();
        for (row, &key) in self.key_slots.iter().enumerate() {
            let (start, next) = (starts[row], row + 1);
            if next < starts.len() && (starts[next], self.key_slots[next]) == (start, key) {
                continue;
            }
            let old = found.remove(&(key, start));
            if let Some(old) = old {
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear_slots(&[old]));
                self.sessions.free.push(old);
            }
            if ends.is_valid(row) {
                let id = self.sessions.allocate();
                let kept_start = Some(start);
                self.sessions.sessions[id as usize] =
                    Session { start, end: ends.value(row), key, kept_start, ..Session::BLANK };
                found.insert((key, start), id);
                self.slots.push(id);
                self.rows.push(row as u32);
            }
        }
        let slots = self.sessions.sessions.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
        let mut states = &values[1..];
        for accumulator in &mut self.accumulators {
            let (own, others) = states.split_at(accumulator.state(&[]).len());
            accumulator.merge(&self.slots, own, Rows::Selected(&self.rows));
            states = others;
        }
    }

    /// Opens the sessions that were found, but for those that have ended.
    fn open_found(&mut self, found: HashMap<(u32, TimestampMs), u32>) {
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        let keys: Vec<u32> = found.iter().map(|((key, _), _)| *key).collect();
        let progress = self.progress.of_keys(&self.sessions.keys.columns(&keys), keys.len());
        for (at, (_, id)) in found.into_iter().enumerate() {
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[at]);
            if self.zone.to_timer(self.sessions.sessions[id as usize].end - 1) <= progress {
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear_slots(&[id]));
                self.sessions.release(id);
            } else {
                self.sessions.link(id);
            }
        }
    }

    /// A copy of sessions.
    fn copy(&self, ids: &[u32], run: u64) -> Delta {
        let session = |id: &u32| self.sessions.sessions[*id as usize];
        let keys: Vec<u32> = ids.iter().map(|id| session(id).key).collect();
        let ends: Vec<i64> = ids.iter().map(|id| session(id).end).collect();
        let last_end = ends.iter().copied().max().unwrap_or(TimestampMs::MIN);
        let mut values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ends))];
        values.extend(self.accumulators.iter().flat_map(|accumulator| accumulator.state(ids)));
        let namespaces = ids.iter().map(|id| session(id).start).collect();
        let rows = CopiedRows { namespaces, keys: self.sessions.keys.columns(&keys), values };
        Delta { run, rows: Arc::new(rows), count: ids.len(), last_end }
    }

    /// Rows that say that sessions are no more. They are needed no longer than the sessions they have
    /// become part of.
    fn deletions(&self, moved: &[(u32, TimestampMs)], run: u64) -> Delta {
        let keys: Vec<u32> = moved.iter().map(|(key, _)| *key).collect();
        let types = self.state.value_types();
        let values = types.iter().map(|data_type| new_null_array(data_type, moved.len())).collect();
        let namespaces = moved.iter().map(|(_, start)| *start).collect();
        let rows = CopiedRows { namespaces, keys: self.sessions.keys.columns(&keys), values };
        Delta { run, rows: Arc::new(rows), count: moved.len(), last_end: TimestampMs::MIN }
    }

    fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.progress.advance(watermark);
        self.slots.clear();
        let mut windows = Vec::new();
        self.key_slots.clear();
        while let Some((end, id)) = self.sessions.next_end()
            && self.zone.to_timer(end - 1) <= watermark
        {
            let session = self.sessions.sessions[id as usize];
            self.sessions.timers.pop();
            self.slots.push(id);
            self.key_slots.push(session.key);
            windows.push(Window { end, start: session.start });
            self.sessions.close(id);
            if self.slots.len() == BATCH_ROWS_TARGET {
                self.fire(std::mem::take(&mut windows), output)?;
            }
        }
        self.fire(windows, output)?;
        self.sessions.forget_idle_keys();
        self.emitter.flush(output)
    }

    /// Emits the sessions in `slots`, which are closed already.
    fn fire(&mut self, windows: Vec<Window>, output: &mut dyn Output) -> Result<(), OperatorError> {
        if windows.is_empty() {
            return Ok(());
        }
        let mut columns = self.sessions.keys.columns(&self.key_slots);
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.emit(&self.slots));
            accumulator.clear_slots(&self.slots);
        }
        self.slots.clear();
        self.key_slots.clear();
        self.emitter.push(columns, RowWindows::Each(windows), RowKind::Insert, output)
    }
}

impl Operator for SessionAggregate {
    fn process_batch(&mut self, _input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
        self.prepared.load(&self.layout, &batch.records);
        self.assign(&batch.records)?;
        let slots = self.sessions.sessions.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
        self.unite();
        if self.log.is_incremental() {
            self.sessions.touch(&self.slots);
        }
        let rows = Rows::Selected(&self.rows);
        accumulate(&self.layout, &self.prepared, &mut self.accumulators, &self.slots, rows, &mut self.filter);
        if self.room.is_due(batch.rows()) { self.look_for_room() } else { Ok(()) }
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        if matches!(self.time, WindowTime::ProcessingTime { .. }) {
            return output.emit_watermark(watermark);
        }
        // After a restore the sources may begin further back.
        let watermark = watermark.max(Watermark(self.progress.watermark));
        self.advance(watermark.0, output)?;
        output.emit_watermark(watermark)
    }

    fn next_processing_timer(&self) -> Option<TimestampMs> {
        if matches!(self.time, WindowTime::RowTime { .. }) {
            return None;
        }
        // The end may be outdated; then the timer finds nothing to do and is set again.
        let Reverse((end, ..)) = self.sessions.timers.peek()?;
        Some(self.zone.to_timer(end - 1).saturating_add(1))
    }

    fn on_processing_time(&mut self, now: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        if matches!(self.time, WindowTime::ProcessingTime { .. }) {
            self.advance(now.saturating_sub(1).max(self.progress.watermark), output)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        let (changed, moved) = self.sessions.take_changes();
        // A session may have begun where one was that is no more: its row comes later.
        if !moved.is_empty() {
            let run = self.log.next_run();
            self.log.push(self.deletions(&moved, run));
        }
        if !changed.is_empty() {
            let run = self.log.next_run();
            self.log.push(self.copy(&changed, run));
        }
        self.state.snapshot(snapshot, &self.progress);
        let run = self.log.next_run();
        let open = self.sessions.sessions.len() - self.sessions.free.len();
        let Self { log, zone, progress, .. } = &*self;
        let is_over = |end: TimestampMs| zone.to_timer(end - 1) <= progress.watermark;
        log.snapshot(snapshot, open, is_over, || {
            let open = self.sessions.open();
            AllRows::in_memory(if open.is_empty() { Vec::new() } else { vec![self.copy(&open, run)] })
        });
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        self.progress = self.state.restored_progress(state)?;
        let mut found = HashMap::new();
        self.state.clone().restored_rows(state, |rows| {
            self.take(&rows, &mut found);
            Ok(())
        })?;
        self.open_found(found);
        self.log.needs_base();
        Ok(())
    }

    fn late_rows_dropped(&self) -> u64 {
        self.late_rows
    }
}
