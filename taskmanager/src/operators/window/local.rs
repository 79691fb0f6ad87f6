//! The local phase: aggregates per key and slice before the exchange, and hands accumulators on.
//!
//! It is only an optimisation: it drops no late row and may flush at any time. When keys hardly
//! repeat, it lets rows pass as accumulators of one row and only samples now and then.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{WindowAggregateSpec, WindowKind, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_state::Rows;
use tidemill_state::accumulator::Accumulator;

use super::assigner::{Assigner, Window};
use super::emitter::{Emitter, RowWindows};
use super::grouping::Grouping;
use super::layout::{FilterScratch, Layout, Prepared, accumulate};
use super::null_row_time;
use super::table::{Scratch, Table, TablePool};
use super::windows::WHOLE;
use super::zone::WindowZone;
use crate::operator::{Operator, OperatorError, Output};

/// Groups that are held at most, so that they stay within a core's L2 cache.
const GROUPS_MAX: usize = 16 * 1024;
/// Rows after which it is judged whether aggregation pays.
const JUDGED_ROWS: usize = 32 * 1024;
/// Rows that pass after it did not pay.
const PASSED_ROWS: usize = 1024 * 1024;

pub(super) fn create(
    operator: &str,
    spec: &WindowAggregateSpec,
    input: &Schema,
    output: &Schema,
    zone: WindowZone,
) -> Result<Box<dyn Operator>, String> {
    let slices = match (&spec.window.kind, &spec.window.time) {
        (WindowKind::Whole, _) => None,
        (kind, WindowTime::RowTime { column, .. }) => Some((*column, Assigner::new(kind)?)),
        _ => return Err("a local phase needs a row time".to_owned()),
    };
    let layout = Layout::new(spec, input)?;
    let emitter = match slices {
        None => Emitter::of_whole(operator, output),
        Some(_) => Emitter::of_slices(operator, output),
    };
    Ok(Box::new(LocalAggregate {
        operator: operator.to_owned(),
        zone,
        assigned: slices,
        single_rows: layout.accumulators(),
        layout,
        emitter,
        slices: BTreeMap::new(),
        pool: TablePool::default(),
        groups: 0,
        judged_rows: 0,
        judged_groups: 0,
        rows_to_pass: 0,
        prepared: Prepared::default(),
        grouping: Grouping::default(),
        scratch: Scratch::default(),
        filter: FilterScratch::default(),
        slots: Vec::new(),
        local_times: Vec::new(),
    }))
}

struct LocalAggregate {
    operator: String,
    zone: WindowZone,
    /// The row time, and how it is cut into slices; without it all is one.
    assigned: Option<(usize, Assigner)>,
    layout: Layout,
    emitter: Emitter,
    slices: BTreeMap<TimestampMs, Table>,
    pool: TablePool,
    /// Groups in `slices`.
    groups: usize,
    /// Rows and groups since aggregation was last judged.
    judged_rows: usize,
    judged_groups: usize,
    rows_to_pass: usize,
    /// Accumulators of one row each, for rows that pass.
    single_rows: Vec<Box<dyn Accumulator>>,
    prepared: Prepared,
    grouping: Grouping,
    scratch: Scratch,
    filter: FilterScratch,
    slots: Vec<u32>,
    local_times: Vec<TimestampMs>,
}

impl LocalAggregate {
    fn load_times(&mut self, records: &RecordBatch) -> Result<(), OperatorError> {
        let Some((column, _)) = self.assigned else { return Ok(()) };
        let times = records.column(column).as_primitive::<TimestampMillisecondType>();
        if times.null_count() > 0 {
            return Err(null_row_time(&self.operator));
        }
        self.local_times.clear();
        if self.zone.is_utc() {
            self.local_times.extend_from_slice(times.values());
        } else {
            self.local_times.extend(times.values().iter().map(|time| self.zone.to_local(*time)));
        }
        Ok(())
    }

    fn aggregate(&mut self) {
        match &self.assigned {
            Some((_, assigner)) => self.grouping.assign(assigner, &self.local_times),
            None => self.grouping.assign_all(WHOLE.end, self.prepared.rows),
        }
        for index in 0..self.grouping.len() {
            let (end, rows) = self.grouping.slice(index);
            let pane = self.slices.entry(end).or_insert_with(|| self.pool.take(&self.layout));
            let before = pane.len();
            pane.add(&self.layout, &self.prepared, rows, &mut self.scratch);
            let new = pane.len() - before;
            self.groups += new;
            self.judged_groups += new;
        }
        self.judged_rows += self.prepared.rows;
        if self.judged_rows >= JUDGED_ROWS {
            if self.judged_groups * 2 > self.judged_rows {
                self.rows_to_pass = PASSED_ROWS;
            }
            (self.judged_rows, self.judged_groups) = (0, 0);
        }
    }

    /// Emits each row as accumulators.
    fn pass(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        let rows = self.prepared.rows;
        self.rows_to_pass = self.rows_to_pass.saturating_sub(rows);
        self.slots.clear();
        self.slots.extend(0..rows as u32);
        self.single_rows.iter_mut().for_each(|accumulator| accumulator.resize(rows));
        let all = Rows::All(rows);
        accumulate(&self.layout, &self.prepared, &mut self.single_rows, &self.slots, all, &mut self.filter);
        let mut columns = self.prepared.key_columns.clone();
        for accumulator in &mut self.single_rows {
            columns.extend(accumulator.state(&self.slots));
            accumulator.reset();
        }
        let windows = match &self.assigned {
            Some((_, assigner)) => {
                let window = |time: &i64| Window { end: assigner.slice_end(*time), start: *time };
                RowWindows::Each(self.local_times.iter().map(window).collect())
            }
            None => RowWindows::One(WHOLE, rows),
        };
        self.emitter.push(columns, windows, RowKind::Insert, output)?;
        self.emitter.flush(output)
    }
}

impl Operator for LocalAggregate {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
        self.load_times(&batch.records)?;
        if !self.prepared.load(&self.layout, &batch.records) {
            self.slices.values_mut().for_each(|pane| pane.unfuse(&self.layout, &mut self.scratch));
            self.pool.clear();
            self.layout.fused = None;
        }
        if self.rows_to_pass > 0 {
            return self.pass(output);
        }
        self.aggregate();
        if self.groups >= GROUPS_MAX || self.rows_to_pass > 0 {
            self.flush(output)?;
        }
        if self.rows_to_pass > 0 {
            // They are not needed for long.
            self.pool.clear();
        }
        Ok(())
    }

    /// What belongs to slices that have not ended may stay: the global phase counts it as long as
    /// the slice's first window has not fired.
    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        if let Some((end, _)) = self.slices.first_key_value()
            && self.zone.to_timer(end - 1) <= watermark.0
        {
            self.flush(output)?;
        }
        output.emit_watermark(watermark)
    }

    fn flush(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        while let Some((end, pane)) = self.slices.pop_first() {
            pane.slots(&mut self.slots);
            for slots in self.slots.chunks(BATCH_ROWS_TARGET) {
                let windows = RowWindows::One(Window { end, start: end }, slots.len());
                self.emitter.push(pane.states(&self.layout, slots), windows, RowKind::Insert, output)?;
            }
            self.pool.give(pane);
        }
        self.groups = 0;
        self.emitter.flush(output)
    }
}
