//! Folds the tables of panes that have got many, so that a window that fires has few to merge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::assigner::Window;
use super::layout::Layout;
use super::pane::Frozen;
use super::table::{Scratch, Table};

/// Tables of one pane that are to become one.
pub(super) struct FoldJob {
    pub key: Window,
    pub cumulated: bool,
    pub layout: Arc<Layout>,
    pub run: u64,
    pub tables: Vec<Frozen>,
}

/// What a [`FoldJob`] made of the tables of these runs.
pub(super) struct Folded {
    pub key: Window,
    pub cumulated: bool,
    pub runs: Vec<u64>,
    pub table: Frozen,
}

impl FoldJob {
    fn run(self) -> Option<Folded> {
        let mut scratch = Scratch::default();
        let mut whole = Table::new(&self.layout);
        self.tables.iter().for_each(|frozen| whole.absorb(&frozen.table, &mut scratch));
        let runs = self.tables.iter().map(|frozen| frozen.run).collect();
        let table = Frozen::new(self.run, self.tables.last()?.slice, Arc::new(whole));
        Some(Folded { key: self.key, cumulated: self.cumulated, runs, table })
    }
}

/// What is folded beside the task.
#[derive(Default)]
pub(super) struct Folding {
    pub busy: AtomicBool,
    pub done: Mutex<Vec<Folded>>,
}

pub(super) struct FoldJobs {
    pub jobs: Vec<FoldJob>,
    pub folding: Arc<Folding>,
}

impl FoldJobs {
    /// Folds, beside the task.
    pub fn run(mut self) {
        for job in std::mem::take(&mut self.jobs) {
            let folded = job.run();
            self.folding.done.lock().extend(folded);
        }
    }
}

impl Drop for FoldJobs {
    fn drop(&mut self) {
        self.folding.busy.store(false, Ordering::Relaxed);
    }
}
