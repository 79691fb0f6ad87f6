//! Rows of window state on their way into files.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::take;
use tidemill_state::keyed::RowSource;

use super::assigner::Window;
use super::layout::Layout;
use super::table::Table;

/// The groups of a slice.
pub(super) struct TableRows {
    pub table: Arc<Table>,
    pub layout: Arc<Layout>,
    pub slice: Window,
    /// Whether the key begins with the window's start.
    pub with_start: bool,
}

impl RowSource for TableRows {
    fn count(&self) -> usize {
        self.table.len()
    }

    fn rows(&self) -> Vec<u32> {
        let mut slots = Vec::new();
        self.table.slots(&mut slots);
        slots
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let mut keys: Vec<ArrayRef> = Vec::with_capacity(self.layout.keys.len() + 1);
        if self.with_start {
            keys.push(Arc::new(Int64Array::from(vec![self.slice.start; rows.len()])));
        }
        keys.extend(self.table.keys(&self.layout, rows));
        keys
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        self.table.states(&self.layout, rows).split_off(self.layout.keys.len())
    }

    fn namespace(&self, _row: u32) -> i64 {
        self.slice.end
    }
}

/// Rows that were copied.
pub(super) struct CopiedRows {
    pub namespaces: Vec<i64>,
    pub keys: Vec<ArrayRef>,
    pub values: Vec<ArrayRef>,
}

impl CopiedRows {
    fn take(columns: &[ArrayRef], rows: &[u32]) -> Vec<ArrayRef> {
        let rows = UInt32Array::from(rows.to_vec());
        // Fails only for rows that are not there.
        columns.iter().filter_map(|column| take(column, &rows, None).ok()).collect()
    }
}

impl RowSource for CopiedRows {
    fn count(&self) -> usize {
        self.namespaces.len()
    }

    fn rows(&self) -> Vec<u32> {
        (0..self.namespaces.len() as u32).collect()
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        Self::take(&self.keys, rows)
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        Self::take(&self.values, rows)
    }

    fn namespace(&self, row: u32) -> i64 {
        self.namespaces[row as usize]
    }
}
