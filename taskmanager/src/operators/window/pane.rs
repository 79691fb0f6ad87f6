//! The groups of one slice.

use arrow::array::ArrayRef;
use tidemill_state::accumulator::Accumulator;
use tidemill_state::fused::FusedTable;
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::layout::{FilterScratch, Layout, Prepared, accumulate};

/// Keys and their accumulators.
pub(crate) enum Pane {
    /// Side by side in one table; see [`Layout::fused`].
    Fused(FusedTable),
    /// Slots of keys, and columns of accumulators over them.
    Columns(Columns),
}

pub(crate) struct Columns {
    table: KeyTable,
    accumulators: Vec<Box<dyn Accumulator>>,
}

/// Buffers that panes share.
#[derive(Debug, Default)]
pub(crate) struct PaneScratch {
    /// After [`Pane::add`], the slot of each added row (not of fused panes).
    pub slots: Vec<u32>,
    words: Vec<u32>,
    filter: FilterScratch,
}

impl Columns {
    fn new(layout: &Layout) -> Self {
        Self { table: KeyTable::new(layout.key_types.clone()), accumulators: layout.accumulators() }
    }

    fn resize(&mut self) {
        let slots = self.table.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
    }

    /// Adds rows of accumulators: key columns, then accumulator columns.
    fn merge(&mut self, keys: usize, states: &[ArrayRef], count: usize, rows: Rows<'_>) {
        let mut batch = KeyBatch::default();
        batch.load(&states[..keys], count);
        let mut slots = Vec::new();
        self.table.intern(&batch, rows, &mut slots);
        self.resize();
        let mut from = keys;
        for accumulator in &mut self.accumulators {
            let width = accumulator.state(&[]).len();
            accumulator.merge(&slots, &states[from..from + width], rows);
            from += width;
        }
    }
}

impl Pane {
    /// An empty pane.
    pub fn new(layout: &Layout) -> Self {
        match layout.fused.as_ref().and_then(|plan| plan.table()) {
            Some(table) => Self::Fused(table),
            None => Self::Columns(Columns::new(layout)),
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        match self {
            Self::Fused(table) => table.len(),
            Self::Columns(columns) => columns.table.len(),
        }
    }

    /// Adds rows of a batch that fits the layout.
    pub fn add(&mut self, layout: &Layout, prepared: &Prepared, rows: Rows<'_>, scratch: &mut PaneScratch) {
        match self {
            Self::Fused(table) => {
                if let Some(keys) = prepared.keys.fixed_words() {
                    let words: Vec<&[i64]> = prepared.words.iter().map(|words| &words[..]).collect();
                    table.update(keys, &words, rows);
                }
            }
            Self::Columns(columns) => {
                columns.table.intern(&prepared.keys, rows, &mut scratch.slots);
                columns.resize();
                let PaneScratch { slots, filter, .. } = scratch;
                accumulate(layout, prepared, &mut columns.accumulators, slots, rows, filter);
            }
        }
    }

    /// Adds all groups of another pane. `scratch.slots` then has the slot here of each of its slots
    /// (not of fused panes).
    pub fn absorb(&mut self, other: &Pane, scratch: &mut PaneScratch) {
        match (self, other) {
            (Self::Fused(table), Self::Fused(other)) => table.absorb(other),
            (Self::Columns(columns), Self::Columns(other)) => {
                columns.table.intern_table(&other.table, &mut scratch.slots);
                columns.resize();
                for (accumulator, other) in columns.accumulators.iter_mut().zip(&other.accumulators) {
                    accumulator.absorb(other.as_ref(), &scratch.slots);
                }
            }
            // All panes of an operator are of one kind.
            _ => {}
        }
    }

    /// Adds rows out of `count` of key columns and accumulator columns, as [`Pane::states`] gave them,
    /// that fit the layout.
    pub fn merge(&mut self, layout: &Layout, states: &[ArrayRef], count: usize, rows: Rows<'_>) {
        match (self, &layout.fused) {
            (Self::Columns(columns), _) => columns.merge(layout.keys.len(), states, count, rows),
            (Self::Fused(table), Some(plan)) => {
                let mut batch = KeyBatch::default();
                batch.load(&states[..layout.keys.len()], count);
                let words = plan.words(&states[layout.keys.len()..], count);
                if let (Some(keys), Some(words)) = (batch.fixed_words(), words) {
                    table.merge(keys, &words, rows);
                }
            }
            (Self::Fused(_), None) => {}
        }
    }

    /// Turns a fused pane into one of columns.
    pub fn unfuse(&mut self, layout: &Layout, scratch: &mut PaneScratch) {
        if let (Self::Fused(table), Some(plan)) = (&*self, &layout.fused) {
            table.slots(&mut scratch.words);
            let states = plan.states(layout, table, &scratch.words);
            let mut columns = Columns::new(layout);
            let count = scratch.words.len();
            columns.merge(layout.keys.len(), &states, count, Rows::All(count));
            *self = Self::Columns(columns);
        }
    }

    /// All slots that are in use.
    pub fn slots(&self, slots: &mut Vec<u32>) {
        match self {
            Self::Fused(table) => table.slots(slots),
            Self::Columns(columns) => {
                slots.clear();
                slots.extend(0..columns.table.len() as u32);
            }
        }
    }

    /// Key columns and results.
    pub fn results(&self, layout: &Layout, slots: &[u32]) -> Vec<ArrayRef> {
        match (self, &layout.fused) {
            (Self::Fused(table), Some(plan)) => plan.results(table, slots),
            (Self::Columns(pane), _) => {
                let mut columns = pane.table.columns(slots);
                columns.extend(pane.accumulators.iter().map(|accumulator| accumulator.emit(slots)));
                columns
            }
            (Self::Fused(_), None) => Vec::new(),
        }
    }

    /// Key columns and accumulator columns.
    pub fn states(&self, layout: &Layout, slots: &[u32]) -> Vec<ArrayRef> {
        match (self, &layout.fused) {
            (Self::Fused(table), Some(plan)) => plan.states(layout, table, slots),
            (Self::Columns(pane), _) => {
                let mut columns = pane.table.columns(slots);
                columns.extend(pane.accumulators.iter().flat_map(|accumulator| accumulator.state(slots)));
                columns
            }
            (Self::Fused(_), None) => Vec::new(),
        }
    }

    /// Forgets everything but memory.
    fn reset(&mut self) {
        match self {
            Self::Fused(table) => table.reset(),
            Self::Columns(columns) => {
                columns.table.reset();
                columns.accumulators.iter_mut().for_each(|accumulator| accumulator.reset());
            }
        }
    }
}

/// Panes that are empty and may be used again.
#[derive(Default)]
pub(crate) struct PanePool {
    spare: Vec<Pane>,
}

impl PanePool {
    const SPARE_MAX: usize = 4;

    /// An empty pane.
    pub fn take(&mut self, layout: &Layout) -> Pane {
        self.spare.pop().unwrap_or_else(|| Pane::new(layout))
    }

    /// Takes a pane back.
    pub fn give(&mut self, mut pane: Pane) {
        if self.spare.len() < Self::SPARE_MAX {
            pane.reset();
            self.spare.push(pane);
        }
    }

    /// Drops all spare panes.
    pub fn clear(&mut self) {
        self.spare.clear();
    }
}
