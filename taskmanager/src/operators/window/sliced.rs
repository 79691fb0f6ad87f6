//! Aggregates of aligned and attached windows.
//!
//! Rows are added to the slice they are in; a window fires, when the watermark reaches its last
//! millisecond, by merging its slices. Lateness is decided per slice, as in Flink: a row is dropped
//! only if every window of its slice has fired.

mod firing;
mod keeping;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use tidemill_common::batch::Batch;
use tidemill_common::plan::{AggregatePhase, WindowAggregateSpec, WindowKind, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_state::Rows;
use tidemill_state::keyed::{KeyedRows, Namespaces};

use self::keeping::delta_of;
use super::assigner::{Assigner, Window};
use super::deltas::{AllRows, DeltaLog};
use super::emitter::Emitter;
use super::folding::Folding;
use super::grouping::Grouping;
use super::keyed::{KeyedContext, WindowState};
use super::layout::{Layout, Prepared};
use super::pane::{Frozen, Pane};
use super::spill::Spill;
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
}

/// Rows of a slice: of the grouping, or given.
enum Grouped<'a> {
    Index(usize),
    Rows(Rows<'a>),
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
