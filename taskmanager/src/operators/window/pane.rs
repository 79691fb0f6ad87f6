//! The groups of one slice.

use arrow::array::ArrayRef;
use tidemill_state::accumulator::Accumulator;
use tidemill_state::{KeyTable, Rows};

use super::layout::{FilterScratch, Layout, Prepared, accumulate};

/// Keys and their accumulators.
pub(crate) struct Pane {
    table: KeyTable,
    accumulators: Vec<Box<dyn Accumulator>>,
}

/// Buffers that panes share.
#[derive(Debug, Default)]
pub(crate) struct PaneScratch {
    /// After [`Pane::add`], the slot of each added row.
    pub slots: Vec<u32>,
    filter: FilterScratch,
}

impl Pane {
    /// An empty pane.
    pub fn new(layout: &Layout) -> Self {
        Self { table: KeyTable::new(layout.key_types.clone()), accumulators: layout.accumulators() }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds rows of a batch.
    pub fn add(&mut self, layout: &Layout, prepared: &Prepared, rows: Rows<'_>, scratch: &mut PaneScratch) {
        self.table.intern(&prepared.keys, rows, &mut scratch.slots);
        let slots = self.table.len();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
        let PaneScratch { slots, filter } = scratch;
        accumulate(layout, prepared, &mut self.accumulators, slots, rows, filter);
    }

    /// Adds all groups of another pane. `scratch.slots` then has the slot here of each of its slots.
    pub fn absorb(&mut self, other: &Pane, scratch: &mut PaneScratch) {
        self.table.intern_table(&other.table, &mut scratch.slots);
        let slots = self.table.len();
        for (accumulator, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            accumulator.resize(slots);
            accumulator.absorb(other.as_ref(), &scratch.slots);
        }
    }

    /// All slots that are in use.
    pub fn slots(&self, slots: &mut Vec<u32>) {
        slots.clear();
        slots.extend(0..self.table.len() as u32);
    }

    /// Key columns and results.
    pub fn results(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let mut columns = self.table.columns(slots);
        columns.extend(self.accumulators.iter().map(|accumulator| accumulator.emit(slots)));
        columns
    }

    /// Key columns and accumulator columns.
    pub fn states(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let mut columns = self.table.columns(slots);
        columns.extend(self.accumulators.iter().flat_map(|accumulator| accumulator.state(slots)));
        columns
    }

    /// Forgets everything but memory.
    pub fn reset(&mut self) {
        self.table.reset();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.reset());
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
}
