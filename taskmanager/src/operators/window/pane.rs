//! The groups of one slice: a table that rows are added to, and the tables that have been frozen at
//! barriers. A key may be in several; its accumulators are what all of them have, merged.
//!
//! So nothing is copied at a barrier, and what a snapshot writes is what has come since the last one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use tidemill_state::Rows;

use super::assigner::Window;
use super::layout::{Layout, Prepared};
use super::table::{Scratch, Table, TablePool};

/// Tables that are folded into one, at least.
const FOLD_MIN: usize = 4;

/// A table that does not change any more.
#[derive(Clone)]
pub(crate) struct Frozen {
    /// Unique within the operator.
    pub run: u64,
    /// The slice under which its rows are kept.
    pub slice: Window,
    pub table: Arc<Table>,
    /// Of the table.
    pub bytes: usize,
}

impl Frozen {
    pub fn new(run: u64, slice: Window, table: Arc<Table>) -> Self {
        let bytes = table.memory_bytes();
        Self { run, slice, table, bytes }
    }
}

pub(crate) struct Pane {
    /// What has come since the last barrier.
    pub current: Table,
    /// Oldest first.
    frozen: Vec<Frozen>,
    /// How many rows have gone to disk.
    spilled: usize,
}

impl Pane {
    /// An empty pane.
    pub fn new(layout: &Layout, pool: &mut TablePool) -> Self {
        Self { current: pool.take(layout), frozen: Vec::new(), spilled: 0 }
    }

    /// A pane of one table.
    pub fn of(current: Table) -> Self {
        Self { current, frozen: Vec::new(), spilled: 0 }
    }

    /// Whether rows have come since the last barrier, only.
    pub fn is_whole(&self) -> bool {
        self.frozen.is_empty() && self.spilled == 0
    }

    /// All tables.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.frozen.iter().map(|frozen| frozen.table.as_ref()).chain([&self.current])
    }

    /// The frozen tables.
    pub fn frozen(&self) -> &[Frozen] {
        &self.frozen
    }

    /// Adds rows of a batch that fits the layout.
    pub fn add(&mut self, layout: &Layout, prepared: &Prepared, rows: Rows<'_>, scratch: &mut Scratch) {
        self.current.add(layout, prepared, rows, scratch);
    }

    /// Adds rows of accumulators, out of `count`.
    pub fn merge(&mut self, layout: &Layout, states: &[ArrayRef], count: usize, rows: Rows<'_>) {
        self.current.merge(layout, states, count, rows);
    }

    /// Freezes what has come, if there is any.
    pub fn freeze(&mut self, slice: Window, layout: &Layout, run: u64, pool: &mut TablePool) -> Option<&Frozen> {
        if self.current.len() == 0 {
            return None;
        }
        let mut next = pool.take(layout);
        next.expect(self.current.len());
        let table = Arc::new(std::mem::replace(&mut self.current, next));
        self.frozen.push(Frozen::new(run, slice, table));
        self.frozen.last()
    }

    /// Bytes of its tables.
    pub fn memory_bytes(&self) -> usize {
        self.current.memory_bytes() + self.frozen.iter().map(|frozen| frozen.bytes).sum::<usize>()
    }

    /// How many rows of it are on disk.
    pub fn spilled_rows(&self) -> usize {
        self.spilled
    }

    /// So many rows more of it are on disk.
    pub fn are_on_disk(&mut self, rows: usize) {
        self.spilled += rows;
    }

    /// Gives up the tables of these runs: they are on disk.
    pub fn spilled(&mut self, runs: &BTreeSet<u64>) -> Vec<Frozen> {
        let given: Vec<Frozen> = self.frozen.extract_if(.., |frozen| runs.contains(&frozen.run)).collect();
        self.spilled += given.iter().map(|frozen| frozen.table.len()).sum::<usize>();
        given
    }

    /// Takes all that another pane has.
    pub fn join(&mut self, other: Pane, scratch: &mut Scratch, pool: &mut TablePool) {
        self.current.absorb(&other.current, scratch);
        pool.give(other.current);
        self.frozen.extend(other.frozen);
        self.spilled += other.spilled;
    }

    /// All groups, in one table.
    pub fn into_table(self, scratch: &mut Scratch, pool: &mut TablePool) -> Table {
        let mut tables = vec![self.current];
        let mut shared = Vec::new();
        for frozen in self.frozen {
            match Arc::try_unwrap(frozen.table) {
                Ok(table) => tables.push(table),
                Err(table) => shared.push(table),
            }
        }
        // The largest becomes the base.
        tables.sort_by_key(Table::len);
        let mut whole = tables.pop().unwrap_or_else(|| unreachable!("there is a current table"));
        for table in tables {
            whole.absorb(&table, scratch);
            pool.give(table);
        }
        shared.iter().for_each(|table| whole.absorb(table, scratch));
        whole
    }

    /// Makes one frozen table, of run `run`, of those that are frozen.
    pub fn fold(&mut self, slice: Window, layout: &Layout, run: u64, scratch: &mut Scratch, pool: &mut TablePool) {
        if self.frozen.len() > 1 {
            let frozen = Pane { current: pool.take(layout), frozen: std::mem::take(&mut self.frozen), spilled: 0 };
            let table = Arc::new(frozen.into_table(scratch, pool));
            self.frozen.push(Frozen::new(run, slice, table));
        }
    }

    /// Turns fused tables into tables of columns.
    pub fn unfuse(&mut self, layout: &Layout, scratch: &mut Scratch) {
        self.current.unfuse(layout, scratch);
        for frozen in &mut self.frozen {
            let mut table = Table::columns(layout);
            table.absorb_fused(layout, &frozen.table, scratch);
            *frozen = Frozen::new(frozen.run, frozen.slice, Arc::new(table));
        }
    }

    /// The newest frozen tables, if it pays to fold them: enough of them, none of which is much larger
    /// than those after it together.
    pub fn to_fold(&self) -> Option<&[Frozen]> {
        let mut groups = 0;
        let mut from = self.frozen.len();
        while from > 0 && (groups == 0 || self.frozen[from - 1].table.len() <= 2 * groups) {
            from -= 1;
            groups += self.frozen[from].table.len();
        }
        let tables = &self.frozen[from..];
        (tables.len() >= FOLD_MIN).then_some(tables)
    }

    /// Puts a table in place of those that were folded into it, if they are all still there. Gives them.
    pub fn replace(&mut self, runs: &[u64], folded: Frozen) -> Vec<Frozen> {
        let from = self.frozen.iter().position(|frozen| Some(&frozen.run) == runs.first());
        if let Some(from) = from
            && let Some(tables) = self.frozen.get(from..from + runs.len())
            && tables.iter().map(|frozen| frozen.run).eq(runs.iter().copied())
        {
            return self.frozen.splice(from..from + runs.len(), [folded]).collect();
        }
        vec![folded]
    }

    /// Gives tables back.
    pub fn recycle(self, pool: &mut TablePool) {
        pool.give(self.current);
    }
}
