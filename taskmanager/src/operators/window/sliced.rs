//! Aggregates of aligned and attached windows.
//!
//! Rows are added to the slice they are in; a window fires, when the watermark reaches its last
//! millisecond, by merging its slices. Lateness is decided per slice, as in Flink: a row is dropped
//! only if every window of its slice has fired.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::FilterBuilder;
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{AggregatePhase, WindowAggregateSpec, WindowKind, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_state::keyed::{KeyedRows, Namespaces};
use tidemill_state::{KeyBatch, Rows};

use super::assigner::{Assigner, Window};
use super::deltas::{AllRows, Delta, DeltaLog};
use super::emitter::{Emitter, RowWindows};
use super::folding::{FoldJob, FoldJobs, Folded, Folding};
use super::grouping::Grouping;
use super::keyed::{KeyedContext, WindowState};
use super::layout::{Layout, Prepared};
use super::pane::{Frozen, Pane};
use super::rows::TableRows;
use super::spill::{Spill, merge_kept};
use super::table::{Scratch, Table, TablePool};
use super::windows::{Slicing, WHOLE, Windows};
use super::zone::WindowZone;
use super::{Clock, null_row_time};
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

/// The name under which a snapshot says whether its rows are free of NULLs, as fused tables are.
const FUSED: &str = "fused";

pub(super) fn create(
    operator: &str,
    spec: &WindowAggregateSpec,
    input: &Schema,
    output: &Schema,
    context: &KeyedContext,
    zone: WindowZone,
    clock: Clock,
) -> Result<Box<dyn Operator>, String> {
    let slicing = match (&spec.window.kind, &spec.window.time) {
        (WindowKind::Whole, _) => Slicing::Whole,
        (WindowKind::Attached { start, end }, _) => Slicing::Attached { start: *start, end: *end },
        (kind, WindowTime::ProcessingTime { .. }) => Slicing::ProcessingTime { assigner: Assigner::new(kind)? },
        (_, WindowTime::Input) => return Err("a window needs a time".to_owned()),
        (kind, WindowTime::RowTime { column, .. }) => {
            let assigner = Assigner::new(kind)?;
            match spec.phase {
                AggregatePhase::Global => Slicing::SliceEnd { assigner },
                _ => Slicing::RowTime { column: *column, assigner },
            }
        }
    };
    if let Slicing::ProcessingTime { .. } = slicing
        && spec.allowed_lateness_ms > 0
    {
        return Err("there is no lateness in processing time".to_owned());
    }
    let layout = Arc::new(Layout::new(spec, input)?);
    // Attached windows of one end are told apart by their start.
    let prefix: &[DataType] = if matches!(slicing, Slicing::Attached { .. }) { &[DataType::Int64] } else { &[] };
    let state = WindowState::new(operator, context, &layout, prefix)?;
    let emitter = match slicing {
        Slicing::Whole => Emitter::of_whole(operator, output),
        _ => Emitter::of_windows(operator, output, zone.clone()),
    };
    Ok(Box::new(SlicedAggregate {
        operator: operator.to_owned(),
        layout,
        windows: Windows { slicing, zone, lateness: spec.allowed_lateness_ms, progress: state.progress() },
        log: state.log(),
        spill: state.spill(),
        state,
        emitter,
        clock,
        slices: BTreeMap::new(),
        cumulated: BTreeMap::new(),
        folding: Arc::default(),
        retired: Vec::new(),
        pool: TablePool::default(),
        late_rows: 0,
        prepared: Prepared::default(),
        grouping: Grouping::default(),
        scratch: Scratch::default(),
        slots: Vec::new(),
        local_times: Vec::new(),
        late_fires: Vec::new(),
    }))
}

struct SlicedAggregate {
    operator: String,
    layout: Arc<Layout>,
    windows: Windows,
    state: WindowState,
    log: DeltaLog,
    spill: Spill,
    emitter: Emitter,
    clock: Clock,
    /// Open slices, by end; `start` tells attached windows of one end apart, and is the slice's
    /// window start otherwise.
    slices: BTreeMap<Window, Pane>,
    /// Cumulating windows that have fired at least once, by window start: everything up to the last
    /// fired end, and the next end.
    cumulated: BTreeMap<TimestampMs, (Pane, TimestampMs)>,
    /// Tables that have been folded beside, to be put into their panes.
    folding: Arc<Folding>,
    /// Tables that are no more. Giving their memory back takes long, and is left to the next snapshot's
    /// parts.
    retired: Vec<Frozen>,
    pool: TablePool,
    late_rows: u64,
    prepared: Prepared,
    grouping: Grouping,
    scratch: Scratch,
    slots: Vec<u32>,
    local_times: Vec<TimestampMs>,
    /// Fired windows that late rows have changed: slice, window end, slots in the slice.
    late_fires: Vec<(Window, TimestampMs, Vec<u32>)>,
}

impl SlicedAggregate {
    /// Adds one slice's rows, or drops them if they are late.
    fn add(&mut self, slice: Window, grouped: Grouped<'_>) {
        let rows = match grouped {
            Grouped::Index(index) => self.grouping.slice(index).1,
            Grouped::Rows(rows) => rows,
        };
        let windows = &self.windows;
        let late = !matches!(windows.slicing, Slicing::ProcessingTime { .. }) && windows.is_fired(slice.end);
        if late && windows.is_over(windows.last_window_end(slice.end)) {
            self.late_rows += rows.len() as u64;
            return;
        }
        let selected = windows.punctual(slice.end, &self.prepared, rows);
        let punctual = selected.as_deref().map_or(rows, Rows::Selected);
        self.late_rows += (rows.len() - punctual.len()) as u64;
        let rows = punctual;
        if rows.is_empty() {
            return;
        }
        let pane = if late && let Some((pane, _)) = self.cumulated.get_mut(&slice.start) {
            pane
        } else {
            self.slices.entry(slice).or_insert_with(|| Pane::new(&self.layout, &mut self.pool))
        };
        pane.add(&self.layout, &self.prepared, rows, &mut self.scratch);
        if late && windows.lateness > 0 {
            let length = windows.assigner().map_or(1, Assigner::slice_length);
            let last = windows.last_window_end(slice.end);
            let mut touched = self.scratch.slots.clone();
            touched.sort_unstable();
            touched.dedup();
            let mut end = slice.end;
            while end <= last && windows.is_fired(end) {
                if !windows.is_over(end) {
                    self.late_fires.push((slice, end, touched.clone()));
                }
                end += length;
            }
        }
    }

    /// Adds rows that were kept to their slices.
    fn take(&mut self, kept: &KeyedRows) {
        let Namespaces::Each(ends) = &kept.namespaces else { return };
        let attached = matches!(self.windows.slicing, Slicing::Attached { .. });
        let columns = &kept.columns[usize::from(attached)..];
        let starts = attached.then(|| kept.columns[0].as_primitive::<Int64Type>().values());
        if !self.layout.fits(columns, ends.len()) {
            self.unfuse();
        }
        let progress = self.windows.progress.of_keys(&columns[..self.layout.keys.len()], ends.len());
        let mut slices: BTreeMap<Window, Vec<u32>> = BTreeMap::new();
        for (row, &end) in ends.iter().enumerate() {
            let progress = progress.as_ref().map_or(self.windows.progress.watermark, |progress| progress[row]);
            if self.windows.is_over_at(self.windows.last_window_end(end), progress) {
                continue;
            }
            let start = starts.map_or_else(|| self.windows.start_of(end), |starts| starts[row]);
            slices.entry(Window { end, start }).or_default().push(row as u32);
        }
        for (slice, rows) in slices {
            let pane = self.slices.entry(slice).or_insert_with(|| Pane::new(&self.layout, &mut self.pool));
            pane.merge(&self.layout, columns, ends.len(), Rows::Selected(&rows));
        }
    }

    /// Lets tables go to disk, if there is no room for them.
    fn make_room(&mut self) -> Result<(), OperatorError> {
        self.end_spill(false)?;
        let panes = || self.slices.values().chain(self.cumulated.values().map(|(pane, _)| pane));
        let bytes = panes().map(Pane::memory_bytes).sum();
        let groups = panes().map(|pane| pane.tables().map(Table::len).sum::<usize>()).sum();
        let full = self.spill.look(bytes, groups);
        let full = full.map_err(|reason| OperatorError::Memory { operator: self.operator.clone(), reason })?;
        if full {
            self.end_spill(true)?;
            self.begin_spill()?;
        }
        Ok(())
    }

    fn begin_spill(&mut self) -> Result<(), OperatorError> {
        self.freeze_all();
        let Self { slices, cumulated, windows, state, layout, log, .. } = self;
        let unwritten = log.unwritten();
        let frozen = || slices.values().chain(cumulated.values().map(|(pane, _)| pane)).flat_map(Pane::frozen);
        let bytes = frozen().map(|frozen| frozen.bytes).sum();
        let deltas = frozen().map(|frozen| delta_of(frozen, (windows, state, layout)));
        let (unwritten, rest) = deltas.partition(|delta: &Delta| unwritten.contains(&delta.run));
        self.pool.clear();
        self.spill.begin(unwritten, rest, bytes).map_err(|error| self.state.storage_error(error))
    }

    /// Takes in what has gone to disk, if it is there or `wait` is set.
    fn end_spill(&mut self, wait: bool) -> Result<(), OperatorError> {
        let spilled = self.spill.end(wait).map_err(|error| self.state.storage_error(error))?;
        if let Some(spilled) = spilled {
            let panes = self.slices.values_mut().chain(self.cumulated.values_mut().map(|(pane, _)| pane));
            panes.for_each(|pane| drop(pane.spilled(&spilled.runs)));
            let (runs, files) = spilled.unwritten;
            self.log.spilled(&runs, files);
        }
        Ok(())
    }

    /// Freezes what all panes have got.
    fn freeze_all(&mut self) {
        let length = self.windows.assigner().map_or(1, Assigner::slice_length);
        let Self { slices, cumulated, windows, state, layout, log, pool, .. } = self;
        for (slice, pane) in slices.iter_mut() {
            freeze(pane, *slice, (windows, state, layout), log, pool);
        }
        // What has been cumulated is kept as if all of it had come in the last slice that has fired.
        for (start, (pane, next_end)) in cumulated.iter_mut() {
            let slice = Window { end: *next_end - length, start: *start };
            freeze(pane, slice, (windows, state, layout), log, pool);
        }
    }

    /// Takes in the files of a checkpoint as they are, row by row only when their windows fire.
    fn restore_to_disk(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        if state.i64s(FUSED).any(|fused| fused == 0) || state.i64s(FUSED).count() < state.values.len() {
            // There may be NULLs among the rows.
            self.unfuse();
        }
        let failed = |error| self.state.storage_error(error);
        for (_, files) in &state.files {
            self.spill.ingest_restored(files, &state.reader).map_err(failed)?;
        }
        let (ends, rows) = self.spill.ends().map_err(failed)?;
        let rows = rows.div_ceil(ends.len().max(1)).max(1);
        for end in ends {
            if !self.windows.is_over(self.windows.last_window_end(end)) {
                let start = self.windows.start_of(end);
                let pane = self.slices.entry(Window { end, start });
                pane.or_insert_with(|| Pane::new(&self.layout, &mut self.pool)).are_on_disk(rows);
            }
        }
        Ok(())
    }

    /// Goes over to tables of columns, for good: a batch has come that fused tables cannot take.
    fn unfuse(&mut self) {
        let panes = self.slices.values_mut().chain(self.cumulated.values_mut().map(|(pane, _)| pane));
        panes.for_each(|pane| pane.unfuse(&self.layout, &mut self.scratch));
        self.pool.clear();
        // What is folded now is fused, and its parts have been turned here.
        self.folding = Arc::default();
        self.layout = Arc::new(Layout { fused: None, ..Layout::clone(&self.layout) });
    }

    /// Adds a batch whose slices the grouping has.
    fn add_grouped(&mut self) {
        for index in 0..self.grouping.len() {
            let (end, _) = self.grouping.slice(index);
            let start = self.windows.start_of(end);
            self.add(Window { end, start }, Grouped::Index(index));
        }
    }

    fn add_attached(&mut self, records: &RecordBatch, start: usize, end: usize) -> Result<(), OperatorError> {
        let (starts, ends) = (self.times(records, start)?, self.times(records, end)?);
        let mut groups: BTreeMap<Window, Vec<u32>> = BTreeMap::new();
        let mut row = 0;
        while row < starts.len() {
            // Rows of one window mostly stand together.
            let window = Window { end: ends[row], start: starts[row] };
            let rows = groups.entry(window).or_default();
            while row < starts.len() && starts[row] == window.start && ends[row] == window.end {
                rows.push(row as u32);
                row += 1;
            }
        }
        for (window, rows) in groups {
            self.add(window, Grouped::Rows(Rows::Selected(&rows)));
        }
        Ok(())
    }

    /// A TIMESTAMP(3) column without NULLs.
    fn times(&self, records: &RecordBatch, column: usize) -> Result<ScalarBuffer<i64>, OperatorError> {
        let column = records.column(column).as_primitive::<TimestampMillisecondType>();
        if column.null_count() > 0 {
            return Err(null_row_time(&self.operator));
        }
        Ok(column.values().clone())
    }

    /// Fires windows again that late rows have changed, for the keys of those rows.
    fn fire_late(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        for (slice, end, mut touched) in std::mem::take(&mut self.late_fires) {
            let window = self.windows.assigner().map_or(slice, |assigner| assigner.window(end));
            let mut parts = match self.windows.assigner() {
                Some(_) => self.slices.range(slices_of(window)),
                None => self.slices.range(slice..=slice),
            };
            let Some(pane) = self.slices.get(&slice) else { continue };
            if self.windows.is_over_at(window.end, self.windows.progress.furthest()) {
                // Before a restore some keys may have come further than this subtask: for them it is over.
                let columns = pane.current.keys(&self.layout, &touched);
                let over = self.windows.over_before(window, &columns, touched.len());
                let mut over = over.values().iter();
                touched.retain(|_| !over.next().unwrap_or(false));
                if touched.is_empty() {
                    continue;
                }
            }
            let mut picked = None;
            if !pane.is_whole() || parts.nth(1).is_some() {
                let mut keys = KeyBatch::default();
                let mut columns = pane.current.keys(&self.layout, &touched);
                keys.load(&columns, touched.len());
                let mut table = self.pool.take(&self.layout);
                let parts = match self.windows.assigner() {
                    Some(_) => self.slices.range(slices_of(window)),
                    None => self.slices.range(slice..=slice),
                };
                let mut spilled = Vec::new();
                for (slice, pane) in parts {
                    pane.tables().for_each(|part| part.pick(&self.layout, &keys, touched.len(), &mut table));
                    spilled.extend((pane.spilled_rows() > 0).then_some(slice.end));
                }
                if !spilled.is_empty() {
                    let attached = matches!(self.windows.slicing, Slicing::Attached { .. });
                    if attached {
                        columns.insert(0, Arc::new(Int64Array::from(vec![window.start; touched.len()])));
                    }
                    let found = self.spill.find(&columns, touched.len(), &spilled);
                    if let Some(rows) = found.map_err(|error| self.state.storage_error(error))? {
                        merge_kept(&mut table, &self.layout, &rows, attached.then_some(window.start));
                    }
                }
                table.slots(&mut touched);
                picked = Some(table);
            }
            let table = picked.as_ref().unwrap_or(&pane.current);
            for slots in touched.chunks(BATCH_ROWS_TARGET) {
                let windows = RowWindows::One(window, slots.len());
                self.emitter.push(table.results(&self.layout, slots), windows, RowKind::UpdateAfter, output)?;
            }
            if let Some(table) = picked {
                self.pool.give(table);
            }
        }
        self.emitter.flush(output)
    }

    /// The next window to fire, after `fired`.
    fn next_window(&self, fired: Option<Window>) -> Option<Window> {
        let of_slices = self.slices.keys().find_map(|slice| self.windows.next_window(*slice, fired));
        let of_cumulated = self.cumulated.iter().map(|(start, (_, end))| Window { end: *end, start: *start }).min();
        match (of_slices, of_cumulated) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Of all of an input without rows there is one row still, if there are no keys.
    fn fire_nothing(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        let is_end = self.windows.is_fired_at(WHOLE.end, watermark) && !self.windows.is_fired(WHOLE.end);
        let is_whole = matches!(self.windows.slicing, Slicing::Whole);
        if !is_whole || !is_end || !self.layout.keys.is_empty() || !self.slices.is_empty() {
            return Ok(());
        }
        let nothing = Table::of_nothing(&self.layout);
        self.emit(&nothing, WHOLE, output)
    }

    /// Fires all windows that are due at this watermark (or clock).
    fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.fire_nothing(watermark, output)?;
        self.apply_folded();
        if self.next_window(None).is_some_and(|window| self.windows.is_fired_at(window.end, watermark)) {
            // What is being written must not be merged with other tables.
            self.end_spill(true)?;
        }
        let mut fired = None;
        while let Some(window) = self.next_window(fired)
            && self.windows.is_fired_at(window.end, watermark)
        {
            match self.windows.assigner() {
                _ if self.is_spilled(window) => self.fire_spilled(window, output)?,
                Some(Assigner::Hop { .. }) => self.fire_merged(window, output)?,
                Some(Assigner::Cumulate { step, max_size, .. }) if self.windows.lateness == 0 => {
                    let (step, max_size) = (*step, *max_size);
                    self.fire_cumulated(window, step, max_size, output)?;
                }
                Some(Assigner::Cumulate { .. }) => self.fire_merged(window, output)?,
                _ => self.fire_slice(window, output)?,
            }
            fired = Some(window);
        }
        self.windows.progress.advance(watermark);
        if self.windows.lateness > 0 {
            while let Some(entry) = self.slices.first_entry()
                && self.windows.is_over(self.windows.last_window_end(entry.key().end))
            {
                self.spill.forget(entry.key().end);
                entry.remove().recycle(&mut self.pool);
            }
        }
        self.emitter.flush(output)
    }

    /// The slices of a window: all it is made of, or the slice that it is.
    fn slices_of(&self, window: Window) -> RangeInclusive<Window> {
        match self.windows.assigner() {
            Some(Assigner::Hop { .. } | Assigner::Cumulate { .. }) => slices_of(window),
            _ => window..=window,
        }
    }

    /// Whether a part of a window is on disk.
    fn is_spilled(&self, window: Window) -> bool {
        let cumulated = self.cumulated.get(&window.start).map(|(pane, _)| pane);
        let mut panes = self.slices.range(self.slices_of(window)).map(|(_, pane)| pane).chain(cumulated);
        self.spill.has_rows() && panes.any(|pane| pane.spilled_rows() > 0)
    }

    /// A window that is on disk in part.
    fn fire_spilled(&mut self, window: Window, output: &mut dyn Output) -> Result<(), OperatorError> {
        let slices: Vec<Window> = self.slices.range(self.slices_of(window)).map(|(slice, _)| *slice).collect();
        self.freeze_all();
        let Self { slices: panes, cumulated, windows, layout, emitter, spill, .. } = self;
        let of_slices = slices.iter().filter_map(|slice| panes.get(slice));
        let of_cumulated = cumulated.get(&window.start).map(|(pane, _)| pane);
        let frozen = of_slices.chain(of_cumulated).flat_map(Pane::frozen);
        let tables: Vec<Arc<Table>> = frozen.map(|frozen| frozen.table.clone()).collect();
        let attached = matches!(windows.slicing, Slicing::Attached { .. });
        let mut parts = spill.window(window, attached, layout, &tables);
        loop {
            let mut table = Table::new(layout);
            let more = parts.next_part(&mut table);
            if !more.map_err(|error| self.state.storage_error(error))? {
                break;
            }
            emit_table(emitter, (windows, layout), &table, window, &mut self.slots, output)?;
        }
        if self.windows.lateness > 0 {
            return Ok(());
        }
        let Some(Assigner::Cumulate { step, max_size, .. }) = self.windows.assigner() else {
            for slice in slices.iter().filter(|slice| self.windows.last_window_end(slice.end) <= window.end) {
                self.spill.forget(slice.end);
                self.slices.remove(slice);
            }
            return Ok(());
        };
        let (step, is_last) = (*step, window.end >= window.start.saturating_add(*max_size));
        let mut whole = self.cumulated.remove(&window.start).map(|(pane, _)| pane);
        for pane in slices.iter().filter_map(|slice| self.slices.remove(slice)) {
            match &mut whole {
                None => whole = Some(pane),
                Some(whole) => whole.join(pane, &mut self.scratch, &mut self.pool),
            }
        }
        match whole {
            Some(whole) if !is_last => drop(self.cumulated.insert(window.start, (whole, window.end + step))),
            _ => self.spill.forget(window.end),
        }
        Ok(())
    }

    /// A window of one slice.
    fn fire_slice(&mut self, window: Window, output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.windows.lateness > 0 {
            return self.fire_parts(window..=window, window, None, output);
        }
        let Some(pane) = self.slices.remove(&window) else { return Ok(()) };
        let table = pane.into_table(&mut self.scratch, &mut self.pool);
        self.emit(&table, window, output)?;
        self.pool.give(table);
        Ok(())
    }

    /// A window of several slices, which stay for the next windows.
    fn fire_merged(&mut self, window: Window, output: &mut dyn Output) -> Result<(), OperatorError> {
        // A slice whose last window this is becomes the base that the others are added to.
        let expiring = self
            .slices
            .first_key_value()
            .map(|(slice, _)| *slice)
            .filter(|slice| self.windows.lateness == 0 && self.windows.last_window_end(slice.end) <= window.end);
        let base = expiring.and_then(|slice| self.slices.remove(&slice));
        let base = base.map(|pane| pane.into_table(&mut self.scratch, &mut self.pool));
        self.fire_parts(slices_of(window), window, base, output)
    }

    /// Emits what these slices, which stay, and the base have together.
    fn fire_parts(
        &mut self,
        slices: RangeInclusive<Window>,
        window: Window,
        base: Option<Table>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let tables = self.slices.range(slices).flat_map(|(_, pane)| pane.tables());
        let mut tables = tables.filter(|table| table.len() > 0).peekable();
        let Self { emitter, windows, layout, scratch, slots, pool, .. } = self;
        let whole = match (base, tables.next()) {
            (None, None) => return Ok(()),
            (Some(base), None) => base,
            (None, Some(only)) if tables.peek().is_none() => {
                return emit_table(emitter, (windows, layout), only, window, slots, output);
            }
            (base, Some(first)) => {
                let mut whole = base.unwrap_or_else(|| pool.take(layout));
                whole.absorb(first, scratch);
                tables.for_each(|table| whole.absorb(table, scratch));
                whole
            }
        };
        emit_table(emitter, (windows, layout), &whole, window, slots, output)?;
        pool.give(whole);
        Ok(())
    }

    fn emit(&mut self, table: &Table, window: Window, output: &mut dyn Output) -> Result<(), OperatorError> {
        emit_table(&mut self.emitter, (&self.windows, &self.layout), table, window, &mut self.slots, output)
    }

    /// The next step of a cumulating window: the step's slice is added to what has been cumulated.
    fn fire_cumulated(
        &mut self,
        window: Window,
        step: i64,
        max_size: i64,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let mut cumulated = self.cumulated.remove(&window.start).map(|(pane, _)| pane);
        // Mostly one slice; more if rows came late for their own slice's window.
        while let Some((&slice, _)) = self.slices.range(slices_of(window)).next() {
            let Some(mut pane) = self.slices.remove(&slice) else { break };
            if self.log.is_incremental() {
                self.freeze(slice, &mut pane);
            }
            match &mut cumulated {
                None => cumulated = Some(pane),
                Some(cumulated) => cumulated.join(pane, &mut self.scratch, &mut self.pool),
            }
        }
        let Some(mut pane) = cumulated else { return Ok(()) };
        if window.end >= window.start.saturating_add(max_size) {
            let table = pane.into_table(&mut self.scratch, &mut self.pool);
            self.emit(&table, window, output)?;
            self.pool.give(table);
            return Ok(());
        }
        if self.log.is_incremental() {
            // What no snapshot has yet must stay apart from what is in files.
            self.freeze(Window { end: window.end - step, ..window }, &mut pane);
            pane.fold(window, &self.layout, self.log.next_run(), &mut self.scratch, &mut self.pool);
        } else {
            let current = pane.into_table(&mut self.scratch, &mut self.pool);
            pane = Pane::of(current);
        }
        if let Some(table) = pane.tables().find(|table| table.len() > 0) {
            emit_table(&mut self.emitter, (&self.windows, &self.layout), table, window, &mut self.slots, output)?;
        }
        self.cumulated.insert(window.start, (pane, window.end + step));
        Ok(())
    }

    /// Freezes what a pane has got, and logs it.
    fn freeze(&mut self, slice: Window, pane: &mut Pane) {
        let Self { windows, state, layout, log, pool, .. } = self;
        freeze(pane, slice, (windows, state, layout), log, pool);
    }

    /// Starts to fold the tables of panes that have got many, beside the task.
    fn start_folding(&mut self, snapshot: &mut Snapshot) {
        if self.spill.is_under_way() || self.spill.has_rows() {
            return;
        }
        let panes = self.slices.iter().map(|(slice, pane)| (*slice, false, pane));
        let panes = panes
            .chain(self.cumulated.iter().map(|(start, (pane, end))| (Window { end: *end, start: *start }, true, pane)));
        let mut jobs = Vec::new();
        for (key, cumulated, pane) in panes {
            if let Some(tables) = pane.to_fold() {
                let (layout, tables) = (self.layout.clone(), tables.to_vec());
                jobs.push(FoldJob { key, cumulated, layout, run: self.log.next_run(), tables });
            }
        }
        if jobs.is_empty() || self.folding.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let jobs = FoldJobs { jobs, folding: self.folding.clone() };
        snapshot.parts.push(Box::new(move |writer| {
            writer.beside(move |_| jobs.run());
            Ok(Vec::new())
        }));
    }

    fn apply_folded(&mut self) {
        let done = std::mem::take(&mut *self.folding.done.lock());
        for Folded { key, cumulated, runs, table } in done {
            if self.spill.is_under_way() {
                // The tables it was made of are being written.
                self.retired.push(table);
                continue;
            }
            let pane = if cumulated {
                self.cumulated.get_mut(&key.start).map(|(pane, _)| pane)
            } else {
                self.slices.get_mut(&key)
            };
            self.retired.extend(match pane {
                Some(pane) => pane.replace(&runs, table),
                None => vec![table],
            });
        }
    }
}

/// What makes rows of files out of tables.
type Shape<'a> = (&'a Windows, &'a WindowState, &'a Arc<Layout>);

fn freeze(pane: &mut Pane, slice: Window, shape: Shape<'_>, log: &mut DeltaLog, pool: &mut TablePool) {
    let run = log.next_run();
    if let Some(frozen) = pane.freeze(slice, shape.2, run, pool) {
        log.push(delta_of(frozen, shape));
    }
}

fn delta_of(frozen: &Frozen, (windows, state, layout): Shape<'_>) -> Delta {
    Delta {
        run: frozen.run,
        count: frozen.table.len(),
        last_end: windows.last_window_end(frozen.slice.end),
        rows: Arc::new(TableRows {
            table: frozen.table.clone(),
            layout: layout.clone(),
            slice: frozen.slice,
            with_start: state.key_columns() > layout.keys.len(),
        }),
    }
}

/// Rows of a slice: of the grouping, or given.
enum Grouped<'a> {
    Index(usize),
    Rows(Rows<'a>),
}

/// Keys of the slices that a window is made of.
fn slices_of(window: Window) -> RangeInclusive<Window> {
    let first = Window { end: window.start.saturating_add(1), start: TimestampMs::MIN };
    first..=Window { end: window.end, start: TimestampMs::MAX }
}

/// Emits a window that fires.
fn emit_table(
    emitter: &mut Emitter,
    (windows, layout): (&Windows, &Layout),
    table: &Table,
    window: Window,
    slots: &mut Vec<u32>,
    output: &mut dyn Output,
) -> Result<(), OperatorError> {
    table.slots(slots);
    for slots in slots.chunks(BATCH_ROWS_TARGET) {
        let columns = table.results(layout, slots);
        match windows.fired_before(window, &columns[..layout.keys.len()], slots.len()) {
            None => emitter.push(columns, RowWindows::One(window, slots.len()), RowKind::Insert, output)?,
            Some(fired) => {
                let (first, rows) = filtered(&columns, &not(&fired));
                emitter.push(first, RowWindows::One(window, rows), RowKind::Insert, output)?;
                if windows.lateness > 0 {
                    // What came late for them is told now, unless it came too late for the window.
                    let over = windows.over_before(window, &columns[..layout.keys.len()], slots.len());
                    let open = BooleanArray::new(fired.values() & not(&over).values(), None);
                    let (again, rows) = filtered(&columns, &open);
                    emitter.push(again, RowWindows::One(window, rows), RowKind::UpdateAfter, output)?;
                }
            }
        }
    }
    Ok(())
}

fn not(of: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!of.values(), None)
}

/// The rows for which it is true, and their number.
fn filtered(columns: &[ArrayRef], of: &BooleanArray) -> (Vec<ArrayRef>, usize) {
    let predicate = FilterBuilder::new(of).optimize().build();
    // Fails only for columns of another length.
    let columns = columns.iter().filter_map(|column| predicate.filter(column).ok()).collect();
    (columns, predicate.count())
}

impl Operator for SlicedAggregate {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        let records = &batch.records;
        if records.num_rows() == 0 {
            return Ok(());
        }
        if !self.prepared.load(&self.layout, records) {
            self.unfuse();
        }
        match self.windows.slicing {
            Slicing::RowTime { column, assigner } => {
                let times = self.times(records, column)?;
                if self.windows.zone.is_utc() {
                    self.grouping.assign(&assigner, &times);
                } else {
                    self.local_times.clear();
                    self.local_times.extend(times.iter().map(|time| self.windows.zone.to_local(*time)));
                    self.grouping.assign(&assigner, &self.local_times);
                }
                self.add_grouped();
            }
            Slicing::SliceEnd { assigner } => {
                let ends = records.column(records.num_columns() - 1).as_primitive::<Int64Type>();
                self.local_times.clear();
                self.local_times.extend(ends.values().iter().map(|end| end - 1));
                self.grouping.assign(&assigner, &self.local_times);
                self.add_grouped();
            }
            Slicing::ProcessingTime { assigner } => {
                // A clock that was set back does not open windows again.
                let now = (self.clock)().max(self.windows.progress.furthest().saturating_add(1));
                let now = self.windows.zone.to_local(now);
                self.grouping.assign_all(assigner.slice_end(now), records.num_rows());
                self.add_grouped();
            }
            Slicing::Attached { start, end } => self.add_attached(records, start, end)?,
            Slicing::Whole => self.add(WHOLE, Grouped::Rows(Rows::All(records.num_rows()))),
        }
        if !self.late_fires.is_empty() {
            self.fire_late(output)?;
        }
        if self.spill.is_due(records.num_rows()) { self.make_room() } else { Ok(()) }
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        if matches!(self.windows.slicing, Slicing::ProcessingTime { .. }) {
            return output.emit_watermark(watermark);
        }
        // After a restore the sources may begin further back.
        let watermark = watermark.max(Watermark(self.windows.progress.watermark));
        self.advance(watermark.0, output)?;
        output.emit_watermark(watermark)
    }

    fn next_processing_timer(&self) -> Option<TimestampMs> {
        if !matches!(self.windows.slicing, Slicing::ProcessingTime { .. }) {
            return None;
        }
        // After the window's last millisecond, in which rows may still come.
        self.next_window(None).map(|window| self.windows.zone.to_timer(window.end - 1).saturating_add(1))
    }

    fn on_processing_time(&mut self, now: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        if matches!(self.windows.slicing, Slicing::ProcessingTime { .. }) {
            let progress = now.saturating_sub(1).max(self.windows.progress.watermark);
            self.advance(progress, output)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        self.apply_folded();
        if !self.retired.is_empty() {
            let retired = std::mem::take(&mut self.retired);
            snapshot.parts.push(Box::new(move |_| {
                drop(retired);
                Ok(Vec::new())
            }));
        }
        self.freeze_all();
        self.start_folding(snapshot);
        self.state.snapshot(snapshot, &self.windows.progress);
        snapshot.put_i64(FUSED, i64::from(self.layout.fused.is_some()));
        let Self { slices, cumulated, windows, state, layout, log, spill, .. } = self;
        let panes = || slices.values().chain(cumulated.values().map(|(pane, _)| pane));
        let frozen = || panes().flat_map(Pane::frozen);
        let stored_rows = panes().map(Pane::spilled_rows).sum();
        let rows = frozen().map(|frozen| frozen.table.len()).sum::<usize>() + stored_rows;
        let ends =
            slices.keys().copied().chain(cumulated.iter().map(|(start, (_, end))| Window { end: *end, start: *start }));
        let last_run = log.last_run();
        let all = || AllRows {
            deltas: frozen().map(|frozen| delta_of(frozen, (windows, state, layout))).collect(),
            stored: spill.pinned(last_run),
            stored_rows,
            stored_end: ends.map(|slice| windows.last_window_end(slice.end)).max().unwrap_or(TimestampMs::MIN),
        };
        log.snapshot(snapshot, rows, |last_end| windows.is_over(last_end), all);
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        self.windows.progress = self.state.restored_progress(state)?;
        self.log.needs_base();
        let files = || state.files.iter().flat_map(|(_, files)| files);
        self.log.continue_after(files().map(|file| file.sequence).max().unwrap_or(0));
        let attached = matches!(self.windows.slicing, Slicing::Attached { .. });
        if !attached && self.spill.is_large(files().map(|file| file.bytes).sum()) {
            self.restore_to_disk(state)?;
        } else {
            self.state.clone().restored_rows(state, |rows| {
                self.take(&rows);
                if self.spill.is_due(rows.namespaces.rows()) { self.make_room() } else { Ok(()) }
            })?;
        }
        self.freeze_all();
        if let Some(files) = state.own_files() {
            let panes = self.slices.values();
            let rows = panes.map(|pane| pane.tables().map(Table::len).sum::<usize>() + pane.spilled_rows()).sum();
            let ends = self.slices.keys().map(|slice| self.windows.last_window_end(slice.end));
            self.log.adopt(files, rows, ends.max().unwrap_or(TimestampMs::MIN));
        }
        Ok(())
    }

    fn late_rows_dropped(&self) -> u64 {
        self.late_rows
    }
}
