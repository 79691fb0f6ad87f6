//! Windows fire: their slices are merged, and what they have is emitted.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::compute::FilterBuilder;
use tidemill_common::batch::RowKind;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::time::TimestampMs;
use tidemill_state::KeyBatch;

use super::SlicedAggregate;
use crate::operator::{OperatorError, Output};
use crate::operators::window::assigner::{Assigner, Window};
use crate::operators::window::emitter::{Emitter, RowWindows};
use crate::operators::window::layout::Layout;
use crate::operators::window::pane::Pane;
use crate::operators::window::spill::merge_kept;
use crate::operators::window::table::Table;
use crate::operators::window::windows::{Slicing, WHOLE, Windows};

impl SlicedAggregate {
    /// Fires windows again that late rows have changed, for the keys of those rows.
    pub(super) fn fire_late(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
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
    pub(super) fn next_window(&self, fired: Option<Window>) -> Option<Window> {
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
    pub(super) fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
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
