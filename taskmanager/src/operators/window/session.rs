//! Session windows: per key, rows that are no further apart than the gap.
//!
//! A row is a window `[ts, ts + gap)` that is united with the sessions it overlaps or touches. It is
//! late only if that window, united, has passed.
//!
//! When sessions have no room in memory all of them go to disk. A key has all of its sessions in memory or
//! none: what is on disk of a key that has any in memory is outdated. In files, of rows of one key and start
//! the last counts, and says whether there is such a session.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{WindowAggregateSpec, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_state::accumulator::Accumulator;
use tidemill_state::keyed::{KeyPart, KeyedRows};
use tidemill_state::storage::StorageError;
use tidemill_state::{KeyBatch, KeyTable, Rows};

use self::disk::{Disk, Timers};
use self::open::{Moved, NONE, Session, Sessions};

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

mod disk;
mod filter;
mod open;

/// Of all rows in files.
const NAMESPACE: i64 = 0;
/// Sessions go to disk when they have this part of the operator's share: tables that grow have for a moment
/// three times their size.
const SPILL_PART: usize = 3;
/// State of a checkpoint goes to disk as it is if its files have this part of the operator's share.
const FILE_PART: usize = 3 * SPILL_PART;
/// Parts in which sessions go to disk.
const EVICTED_PARTS: usize = 8;
/// How long rows on disk stay after the local time at which their session has ended: clocks are set back.
const FORGOTTEN_BEHIND_MS: i64 = 24 * 60 * 60 * 1000;
/// Timers of a key group that end together, after which the whole key group is read rather than key by key.
const DUE_MAX: usize = 16 * 1024;

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
    let state = WindowState::of_sessions(operator, context, &layout)?;
    Ok(Box::new(SessionAggregate {
        operator: operator.to_owned(),
        time: spec.window.time.clone(),
        zone: zone.clone(),
        gap,
        clock,
        progress: state.progress(),
        log: state.log(),
        room: state.room(),
        disk: Disk::new(&state),
        last_end: TimestampMs::MIN,
        state,
        late_rows: 0,
        emitter: Emitter::of_windows(operator, output, zone),
        sessions: Sessions::new(&layout.key_types),
        accumulators: layout.accumulators(),
        layout,
        prepared: Prepared::default(),
        filter: FilterScratch::default(),
        key_slots: Vec::new(),
        slots: Vec::new(),
        rows: Vec::new(),
    }))
}

/// A session that was read from files, if the last row of it says that there is one.
struct FoundSession {
    id: Option<u32>,
    run: u64,
}

/// By key and start.
type Found = HashMap<(u32, TimestampMs), FoundSession>;

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
    disk: Disk,
    /// No session on disk ends after it.
    last_end: TimestampMs,
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
    /// Lets sessions go to disk if there is no room for them.
    fn make_room(&mut self) -> Result<(), OperatorError> {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.memory_bytes()).sum::<usize>();
        let bytes = accumulators + self.sessions.memory_bytes();
        let (all, sessions) = (bytes + self.disk.memory_bytes(), self.sessions.sessions.len());
        if !self.disk.is_allowed() {
            let looked = self.room.look(all, sessions);
            return looked.map_err(|reason| OperatorError::Memory { operator: self.operator.clone(), reason });
        }
        if self.room.is_full(all, bytes, sessions, SPILL_PART) { self.evict() } else { Ok(()) }
    }

    /// Brings all sessions to disk. Of those that no snapshot has, the next one gets the files.
    fn evict(&mut self) -> Result<(), OperatorError> {
        let (changed, moved) = self.sessions.take_changes();
        self.keep_moved(&moved)?;
        let mut unchanged = self.sessions.open();
        let mut is_changed = vec![false; self.sessions.sessions.len()];
        changed.iter().for_each(|id| is_changed[*id as usize] = true);
        unchanged.retain(|id| !is_changed[*id as usize] && !self.sessions.sessions[*id as usize].on_disk);
        for (ids, is_new) in [(changed, true), (unchanged, false)] {
            for ids in ids.chunks(ids.len().div_ceil(EVICTED_PARTS).max(BATCH_ROWS_TARGET)) {
                let run = self.log.next_run();
                let delta = self.copy(ids, run);
                self.last_end = self.last_end.max(delta.last_end);
                if is_new {
                    self.log.push(delta.clone());
                }
                let files = self.disk.write(run, delta.rows).map_err(|error| self.failed(error))?;
                if is_new {
                    self.log.spilled(&[run].into(), files);
                }
                let timers = self.timers_of(ids);
                self.disk.write_timers(vec![timers]).map_err(|error| self.failed(error))?;
            }
        }
        self.sessions = Sessions::new(&self.layout.key_types);
        self.accumulators = self.layout.accumulators();
        Ok(())
    }

    /// Logs that sessions are no more; on disk, too, if there are any.
    fn keep_moved(&mut self, moved: &[Moved]) -> Result<(), OperatorError> {
        if moved.is_empty() {
            return Ok(());
        }
        let run = self.log.next_run();
        let delta = self.deletions(moved, run);
        self.log.push(delta.clone());
        if self.disk.has_rows() {
            self.disk.write(run, delta.rows).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, error: StorageError) -> OperatorError {
        self.state.storage_error(error)
    }

    fn timers_of(&self, ids: &[u32]) -> Timers {
        let session = |id: &u32| self.sessions.sessions[*id as usize];
        let instants = ids.iter().map(|id| self.zone.to_timer(session(id).end - 1)).collect();
        Timers { instants, keys: self.key_columns(ids.iter().map(|id| (session(id).key, session(id).start))) }
    }

    /// The columns of the key in files.
    fn key_columns(&self, of: impl Iterator<Item = (u32, TimestampMs)>) -> Vec<ArrayRef> {
        let (keys, starts): (Vec<u32>, Vec<i64>) = of.unzip();
        let mut columns = self.sessions.keys.columns(&keys);
        columns.push(Arc::new(Int64Array::from(starts)));
        columns
    }

    /// Brings to memory what is on disk of the keys of this batch that have no session in memory.
    fn bring_missing(&mut self) -> Result<(), OperatorError> {
        if !self.disk.has_rows() {
            return Ok(());
        }
        let mut missing: Vec<u32> = self.key_slots.clone();
        missing.retain(|key| self.sessions.heads[*key as usize] == NONE);
        missing.sort_unstable();
        missing.dedup();
        let columns = self.sessions.keys.columns(&missing);
        let mut wanted = self.disk.may_have(&columns, missing.len());
        wanted.iter_mut().for_each(|row| *row = missing[*row as usize]);
        if wanted.is_empty() {
            return Ok(());
        }
        let slots = std::mem::take(&mut self.key_slots);
        let found = self.find(&wanted)?;
        self.settle(found, None);
        self.key_slots = slots;
        Ok(())
    }

    /// The sessions on disk of keys that have none in memory.
    fn find(&mut self, keys: &[u32]) -> Result<Found, OperatorError> {
        let mut found = Found::new();
        let columns = self.sessions.keys.columns(keys);
        let rows = self.disk.find(&columns, keys.len()).map_err(|error| self.failed(error))?;
        if let Some(rows) = rows {
            self.take(&rows, &mut found, |_| true);
        }
        found.values().filter_map(|found| found.id).for_each(|id| self.sessions.sessions[id as usize].on_disk = true);
        Ok(found)
    }

    /// Fires the sessions on disk that end up to an instant, of keys that have none in memory.
    fn fire_on_disk(&mut self, until: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.disk.next_timer().is_none_or(|timer| timer > until) {
            return Ok(());
        }
        for key_group in self.state.key_groups() {
            let (mut due, mut slots, mut batch) =
                (KeyTable::new(self.layout.key_types.clone()), Vec::new(), KeyBatch::default());
            let read = self.disk.due(key_group, until, |keys, rows| {
                // Beyond some the rest does not matter.
                if due.len() <= DUE_MAX {
                    batch.load(keys, rows);
                    due.intern(&batch, Rows::All(rows), &mut slots);
                }
            });
            read.map_err(|error| self.failed(error))?;
            if due.len() > DUE_MAX {
                self.fire_key_group(key_group, until, output)?;
                self.sessions.forget_idle_keys();
                continue;
            }
            let all: Vec<u32> = (0..due.len() as u32).collect();
            for keys in all.chunks(BATCH_ROWS_TARGET) {
                batch.load(&due.columns(keys), keys.len());
                self.sessions.keys.intern(&batch, Rows::All(keys.len()), &mut slots);
                self.sessions.resize_keys();
                slots.retain(|key| self.sessions.heads[*key as usize] == NONE);
                let found = self.find(&slots)?;
                let fired = self.settle_due(found, until);
                self.emit(fired, output)?;
                self.sessions.forget_idle_keys();
            }
        }
        let local = match until {
            TimestampMs::MAX => until,
            _ => self.zone.to_local(until).saturating_sub(if self.zone.is_utc() { 0 } else { FORGOTTEN_BEHIND_MS }),
        };
        self.disk.forget(until, local).map_err(|error| self.failed(error))
    }

    /// The same for one key group, of which all is read.
    fn fire_key_group(
        &mut self,
        key_group: u32,
        until: TimestampMs,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let Some(store) = self.disk.reader() else { return Ok(()) };
        let (mut found, mut result) = (Found::new(), Ok(()));
        // What is in memory is not read, also when it has ended meanwhile.
        let in_memory: Vec<bool> = self.sessions.heads.iter().map(|head| *head != NONE).collect();
        let read = store.read(key_group, KeyPart::ALL, &(NAMESPACE..=NAMESPACE), |rows| {
            if result.is_err() {
                return;
            }
            self.take(&rows, &mut found, |key| !in_memory.get(key as usize).copied().unwrap_or(false));
            // More rows of the last key may come.
            let last = self.key_slots.last().copied();
            let (whole, rest) = std::mem::take(&mut found).into_iter().partition(|((key, _), _)| Some(*key) != last);
            found = rest;
            let fired = self.settle_due(whole, until);
            result = self.emit(fired, output);
        });
        read.map_err(|error| self.failed(error))?;
        result?;
        let fired = self.settle_due(found, until);
        self.emit(fired, output)
    }

    /// Finds the session of each row. The sessions and rows that are not late are in `slots`, `rows`.
    fn assign(&mut self, records: &RecordBatch) -> Result<(), OperatorError> {
        let rows = records.num_rows();
        self.sessions.keys.intern(&self.prepared.keys, Rows::All(rows), &mut self.key_slots);
        self.sessions.resize_keys();
        self.bring_missing()?;
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
        let kept = from.iter().map(|id| self.sessions.sessions[*id as usize]);
        let moved =
            kept.filter_map(|Session { key, end, kept_start, .. }| Some(Moved { key, end, start: kept_start? }));
        self.sessions.moved.extend(moved);
        self.sessions.touch(&into);
        from.into_iter().for_each(|session| self.sessions.release(session));
    }

    /// Takes rows that were kept, of wanted keys; of one session the last counts.
    fn take(&mut self, kept: &KeyedRows, found: &mut Found, is_wanted: impl Fn(u32) -> bool) {
        let (key_columns, rest) = kept.columns.split_at(self.layout.keys.len());
        let rows = kept.namespaces.rows();
        let mut batch = KeyBatch::default();
        batch.load(key_columns, rows);
        self.sessions.keys.intern(&batch, Rows::All(rows), &mut self.key_slots);
        self.sessions.resize_keys();
        let starts = rest[0].as_primitive::<Int64Type>().values();
        let (ends, is_open) = (rest[1].as_primitive::<Int64Type>(), rest[2].as_boolean());
        self.slots.clear();
        self.rows.clear();
        for (row, &key) in self.key_slots.iter().enumerate() {
            let (start, run, next) = (starts[row], kept.runs[row], row + 1);
            let is_last = next == rows || (starts[next], self.key_slots[next]) != (start, key);
            if !is_last || !is_wanted(key) || found.get(&(key, start)).is_some_and(|found| found.run > run) {
                continue;
            }
            let id = is_open.value(row).then(|| self.sessions.allocate());
            if let Some(FoundSession { id: Some(old), .. }) = found.insert((key, start), FoundSession { id, run }) {
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear_slots(&[old]));
                self.sessions.release(old);
            }
            if let Some(id) = id {
                let Session { generation, .. } = self.sessions.sessions[id as usize];
                let kept_start = Some(start);
                self.sessions.sessions[id as usize] =
                    Session { start, end: ends.value(row), key, kept_start, generation, ..Session::BLANK };
                self.slots.push(id);
                self.rows.push(row as u32);
            }
        }
        let slots = self.sessions.sessions.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
        let mut states = &rest[3..];
        for accumulator in &mut self.accumulators {
            let (own, others) = states.split_at(accumulator.state(&[]).len());
            accumulator.merge(&self.slots, own, Rows::Selected(&self.rows));
            states = others;
        }
    }

    /// Opens sessions that were found, but for those that have ended. Gives those that end up to an instant,
    /// which are not opened either.
    fn settle(&mut self, found: Found, until: Option<TimestampMs>) -> Vec<u32> {
        let mut found: Vec<_> =
            found.into_iter().filter_map(|((key, start), found)| Some((key, start, found.id?))).collect();
        found.sort_unstable();
        let keys: Vec<u32> = found.iter().map(|(key, ..)| *key).collect();
        let progress = self.progress.of_keys(&self.sessions.keys.columns(&keys), keys.len());
        let (mut ended, mut due) = (Vec::new(), Vec::new());
        for (at, (.., id)) in found.into_iter().enumerate() {
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[at]);
            let timer = self.zone.to_timer(self.sessions.sessions[id as usize].end - 1);
            if timer <= progress {
                ended.push(id);
            } else if until.is_some_and(|until| timer <= until) {
                due.push(id);
            } else {
                self.sessions.link(id);
            }
        }
        self.give_up(&ended);
        due
    }

    /// The same for sessions on disk: those of keys of which none ends stay there.
    fn settle_due(&mut self, mut found: Found, until: TimestampMs) -> Vec<u32> {
        let mut due = HashSet::new();
        for ((key, _), session) in &found {
            let end = session.id.map(|id| self.sessions.sessions[id as usize].end);
            if end.is_some_and(|end| self.zone.to_timer(end - 1) <= until) {
                due.insert(*key);
            }
        }
        let staying = found.extract_if(|(key, _), _| !due.contains(key));
        let staying: Vec<u32> = staying.filter_map(|(_, session)| session.id).collect();
        self.give_up(&staying);
        found.values().filter_map(|found| found.id).for_each(|id| self.sessions.sessions[id as usize].on_disk = true);
        self.settle(found, Some(until))
    }

    /// Forgets sessions that are not open.
    fn give_up(&mut self, ids: &[u32]) {
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear_slots(ids));
        ids.iter().for_each(|id| self.sessions.release(*id));
    }

    /// Emits sessions that are not open any more.
    fn emit(&mut self, ids: Vec<u32>, output: &mut dyn Output) -> Result<(), OperatorError> {
        for ids in ids.chunks(BATCH_ROWS_TARGET) {
            self.slots = ids.to_vec();
            let session = |id: &u32| self.sessions.sessions[*id as usize];
            self.key_slots = ids.iter().map(|id| session(id).key).collect();
            let windows = ids.iter().map(|id| Window { start: session(id).start, end: session(id).end }).collect();
            self.fire(windows, output)?;
            ids.iter().for_each(|id| self.sessions.release(*id));
        }
        Ok(())
    }

    /// A copy of sessions.
    fn copy(&self, ids: &[u32], run: u64) -> Delta {
        let session = |id: &u32| self.sessions.sessions[*id as usize];
        let ends: Vec<i64> = ids.iter().map(|id| session(id).end).collect();
        let last_end = ends.iter().copied().max().unwrap_or(TimestampMs::MIN);
        let is_open = BooleanArray::from(vec![true; ids.len()]);
        let mut values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ends)), Arc::new(is_open)];
        values.extend(self.accumulators.iter().flat_map(|accumulator| accumulator.state(ids)));
        let keys = self.key_columns(ids.iter().map(|id| (session(id).key, session(id).start)));
        let rows = CopiedRows { namespaces: vec![NAMESPACE; ids.len()], keys, values };
        Delta { run, rows: Arc::new(rows), count: ids.len(), last_end }
    }

    /// Rows that say that sessions are no more. They are needed no longer than the sessions were.
    fn deletions(&self, moved: &[Moved], run: u64) -> Delta {
        let ends: Vec<i64> = moved.iter().map(|moved| moved.end).collect();
        let last_end = ends.iter().copied().max().unwrap_or(TimestampMs::MIN);
        let is_open = BooleanArray::from(vec![false; moved.len()]);
        let mut values: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ends)), Arc::new(is_open)];
        let types = &self.state.shape().value_types[values.len()..];
        values.extend(types.iter().map(|data_type| new_null_array(data_type, moved.len())));
        let keys = self.key_columns(moved.iter().map(|moved| (moved.key, moved.start)));
        let rows = CopiedRows { namespaces: vec![NAMESPACE; moved.len()], keys, values };
        Delta { run, rows: Arc::new(rows), count: moved.len(), last_end }
    }

    fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.fire_on_disk(watermark, output)?;
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
        self.sessions.touch(&self.slots);
        let rows = Rows::Selected(&self.rows);
        accumulate(&self.layout, &self.prepared, &mut self.accumulators, &self.slots, rows, &mut self.filter);
        if self.room.is_due(batch.rows()) { self.make_room() } else { Ok(()) }
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
        let in_memory = self.sessions.timers.peek().map(|Reverse((end, ..))| self.zone.to_timer(end - 1));
        Some(in_memory.into_iter().chain(self.disk.next_timer()).min()?.saturating_add(1))
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
        self.keep_moved(&moved)?;
        if !changed.is_empty() && self.log.is_incremental() {
            let run = self.log.next_run();
            self.log.push(self.copy(&changed, run));
        }
        self.state.snapshot(snapshot, &self.progress);
        let run = self.log.next_run();
        let (stored_rows, stored_end) = (self.disk.rows(), self.last_end);
        let rows = self.sessions.sessions.len() - self.sessions.free.len() + stored_rows;
        let Self { log, zone, progress, .. } = &*self;
        let is_over = |end: TimestampMs| zone.to_timer(end.saturating_sub(1)) <= progress.watermark;
        log.snapshot(snapshot, rows, is_over, || {
            let open = self.sessions.open();
            let deltas = if open.is_empty() { Vec::new() } else { vec![self.copy(&open, run)] };
            AllRows { deltas, stored: self.disk.pinned(run), stored_rows, stored_end }
        });
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        self.progress = self.state.restored_progress(state)?;
        self.log.needs_base();
        let files = || state.files.iter().flat_map(|(_, files)| files);
        self.log.continue_after(files().map(|file| file.sequence).max().unwrap_or(0));
        if self.disk.is_large(files().map(|file| file.bytes).sum(), self.room.bytes()) {
            let Self { disk, zone, progress, state: own, .. } = self;
            let timer = |key_group: u32, end: TimestampMs| {
                let timer = zone.to_timer(end - 1);
                (timer > progress.of_group(key_group)).then_some(timer)
            };
            let files = state.files.iter().map(|(_, files)| files);
            let restored = disk.restore(files, &state.reader, timer);
            self.last_end = restored.map_err(|error| own.storage_error(error))?;
        } else {
            let mut found = Found::new();
            self.state.clone().restored_rows(state, |rows| {
                self.take(&rows, &mut found, |_| true);
                Ok(())
            })?;
            self.settle(found, None);
        }
        if let Some(files) = state.own_files() {
            let open = self.sessions.open();
            let ends = open.iter().map(|id| self.sessions.sessions[*id as usize].end);
            self.log.adopt(files, open.len() + self.disk.rows(), ends.fold(self.last_end, TimestampMs::max));
        }
        Ok(())
    }

    fn late_rows_dropped(&self) -> u64 {
        self.late_rows
    }
}
