//! What becomes of tables besides firing: they are frozen for snapshots, folded beside, and go to disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FUSED, SlicedAggregate};
use crate::operator::OperatorError;
use crate::operators::window::assigner::{Assigner, Window};
use crate::operators::window::deltas::{Delta, DeltaLog};
use crate::operators::window::folding::{FoldJob, FoldJobs, Folded};
use crate::operators::window::keyed::WindowState;
use crate::operators::window::layout::Layout;
use crate::operators::window::pane::{Frozen, Pane};
use crate::operators::window::rows::TableRows;
use crate::operators::window::table::{Table, TablePool};
use crate::operators::window::windows::Windows;
use crate::snapshot::{RestoredState, Snapshot};

impl SlicedAggregate {
    /// Lets tables go to disk, if there is no room for them.
    pub(super) fn make_room(&mut self) -> Result<(), OperatorError> {
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
    pub(super) fn end_spill(&mut self, wait: bool) -> Result<(), OperatorError> {
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
    pub(super) fn freeze_all(&mut self) {
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
    pub(super) fn restore_to_disk(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
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

    /// Freezes what a pane has got, and logs it.
    pub(super) fn freeze(&mut self, slice: Window, pane: &mut Pane) {
        let Self { windows, state, layout, log, pool, .. } = self;
        freeze(pane, slice, (windows, state, layout), log, pool);
    }

    /// Starts to fold the tables of panes that have got many, beside the task.
    pub(super) fn start_folding(&mut self, snapshot: &mut Snapshot) {
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

    pub(super) fn apply_folded(&mut self) {
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

pub(super) fn delta_of(frozen: &Frozen, (windows, state, layout): Shape<'_>) -> Delta {
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
