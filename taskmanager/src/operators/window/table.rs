//! Groups: keys and their accumulators.

use arrow::array::ArrayRef;
use tidemill_state::accumulator::Accumulator;
use tidemill_state::fused::FusedTable;
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::layout::{FilterScratch, Layout, Prepared, accumulate};

/// Keys and their accumulators.
pub(crate) enum Table {
    /// Side by side in one table; see [`Layout::fused`].
    Fused(FusedTable),
    /// Slots of keys, and columns of accumulators over them.
    Columns(Columns),
}

pub(crate) struct Columns {
    table: KeyTable,
    accumulators: Vec<Box<dyn Accumulator>>,
}

/// Buffers that tables share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// After [`Table::add`], the slot of each added row (not of fused tables).
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

impl Table {
    /// An empty table.
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

    /// Bytes held, roughly.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Fused(table) => table.memory_bytes(),
            Self::Columns(Columns { table, accumulators }) => {
                table.memory_bytes() + accumulators.iter().map(|accumulator| accumulator.memory_bytes()).sum::<usize>()
            }
        }
    }

    /// Says how many groups there will be, probably.
    pub fn expect(&mut self, groups: usize) {
        if let Self::Fused(table) = self {
            table.expect(groups);
        }
    }

    /// Adds rows of a batch that fits the layout.
    pub fn add(&mut self, layout: &Layout, prepared: &Prepared, rows: Rows<'_>, scratch: &mut Scratch) {
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
                let Scratch { slots, filter, .. } = scratch;
                accumulate(layout, prepared, &mut columns.accumulators, slots, rows, filter);
            }
        }
    }

    /// Adds all groups of another table. `scratch.slots` then has the slot here of each of its slots
    /// (not of fused tables).
    pub fn absorb(&mut self, other: &Table, scratch: &mut Scratch) {
        match (self, other) {
            (Self::Fused(table), Self::Fused(other)) => table.absorb(other),
            (Self::Columns(columns), Self::Columns(other)) => {
                columns.table.intern_table(&other.table, &mut scratch.slots);
                columns.resize();
                for (accumulator, other) in columns.accumulators.iter_mut().zip(&other.accumulators) {
                    accumulator.absorb(other.as_ref(), &scratch.slots);
                }
            }
            // All tables of an operator are of one kind.
            _ => {}
        }
    }

    /// Adds rows out of `count` of key columns and accumulator columns, as [`Table::states`] gave them,
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

    /// The one group that there is without keys, to which nothing was added.
    pub fn of_nothing(layout: &Layout) -> Self {
        let mut columns = Columns::new(layout);
        let mut keys = KeyBatch::default();
        keys.load(&[], 1);
        columns.table.intern(&keys, Rows::All(1), &mut Vec::new());
        columns.resize();
        Self::Columns(columns)
    }

    /// An empty table of columns.
    pub fn columns(layout: &Layout) -> Self {
        Self::Columns(Columns::new(layout))
    }

    /// Adds what a fused table has to a table of columns.
    pub fn absorb_fused(&mut self, layout: &Layout, other: &Table, scratch: &mut Scratch) {
        if let (Self::Columns(columns), Self::Fused(table), Some(plan)) = (self, other, &layout.fused) {
            table.slots(&mut scratch.words);
            let states = plan.states(layout, table, &scratch.words);
            let count = scratch.words.len();
            columns.merge(layout.keys.len(), &states, count, Rows::All(count));
        }
    }

    /// Turns a fused table into one of columns.
    pub fn unfuse(&mut self, layout: &Layout, scratch: &mut Scratch) {
        if let Self::Fused(_) = self {
            let mut columns = Self::columns(layout);
            columns.absorb_fused(layout, self, scratch);
            *self = columns;
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

    /// Key columns.
    pub fn keys(&self, layout: &Layout, slots: &[u32]) -> Vec<ArrayRef> {
        match (self, &layout.fused) {
            (Self::Fused(table), Some(plan)) => vec![plan.key_column(table, slots)],
            (Self::Columns(pane), _) => pane.table.columns(slots),
            (Self::Fused(_), None) => Vec::new(),
        }
    }

    /// Adds what is here of some keys to another table. Both must be tables of columns.
    pub fn pick(&self, layout: &Layout, keys: &KeyBatch, count: usize, into: &mut Table) {
        if let (Self::Columns(columns), Self::Columns(into)) = (self, into) {
            let mut slots = Vec::new();
            columns.table.find(keys, count, &mut slots);
            let states = self.states(layout, &slots);
            into.merge(layout.keys.len(), &states, slots.len(), Rows::All(slots.len()));
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

/// Tables that are empty and may be used again.
#[derive(Default)]
pub(crate) struct TablePool {
    spare: Vec<Table>,
}

impl TablePool {
    const SPARE_MAX: usize = 4;

    /// An empty table.
    pub fn take(&mut self, layout: &Layout) -> Table {
        self.spare.pop().unwrap_or_else(|| Table::new(layout))
    }

    /// Takes a table back.
    pub fn give(&mut self, mut table: Table) {
        if self.spare.len() < Self::SPARE_MAX {
            table.reset();
            self.spare.push(table);
        }
    }

    /// Drops all spare tables.
    pub fn clear(&mut self) {
        self.spare.clear();
    }
}
