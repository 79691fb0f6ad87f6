//! One figure of memory for a task manager (`taskmanager.memory.size`), and how it is split.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tidemill_common::limits::TASK_MANAGER_MEMORY_MIN;
use tidemill_state::keyed::BlockCache;

/// What a process needs besides state: code, threads, batches on their way.
const BASE_BYTES: usize = 112 << 20;
/// Of what is left, in percent: tables of keyed state, and blocks of files of state. The rest is for
/// shuffle, formats, clients of connectors, sorting, and what the allocator cannot give back.
const TABLES_PERCENT: usize = 30;
const BLOCKS_PERCENT: usize = 5;
/// Resident memory, in percent of the whole, from which tables have to do with a quarter of their part:
/// what else there is has grown beyond what was foreseen.
const PRESSED_PERCENT: usize = 70;

/// Of a page, where this is known to run.
const PAGE_BYTES: usize = 4096;

/// The memory of one task manager.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Of the whole process.
    process: usize,
    /// For tables of all operators.
    tables: usize,
    /// Operators with keyed state.
    members: AtomicUsize,
    /// Bytes of their tables.
    used: AtomicUsize,
    blocks: BlockCache,
    /// Sorting takes several times what it sorts: one at a time.
    sorting: Mutex<()>,
}

impl MemoryBudget {
    /// For a process of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let process = usize::try_from(bytes.max(TASK_MANAGER_MEMORY_MIN)).unwrap_or(usize::MAX);
        let rest = process - BASE_BYTES;
        let part = |percent: usize| rest / 100 * percent;
        let blocks = BlockCache::new(part(BLOCKS_PERCENT));
        let shared = Shared {
            process,
            tables: part(TABLES_PERCENT),
            members: 0.into(),
            used: 0.into(),
            blocks,
            sorting: Mutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// For a process that was given no figure: three fifths of the memory that there is, for the machine
    /// or for the process's control group.
    pub fn of_machine() -> Self {
        Self::new(usable_bytes())
    }

    /// With this much for tables.
    pub fn with_tables(bytes: usize) -> Self {
        let blocks = BlockCache::new((bytes / 4).min(BASE_BYTES));
        let shared = Shared {
            process: usize::MAX,
            tables: bytes,
            members: 0.into(),
            used: 0.into(),
            blocks,
            sorting: Mutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// One more operator keeps state.
    pub fn join(&self) -> MemoryShare {
        self.shared.members.fetch_add(1, Ordering::Relaxed);
        MemoryShare { shared: self.shared.clone(), used: 0 }
    }

    /// Waits for the turn to sort state on its way to disk.
    pub fn sorting(&self) -> MutexGuard<'_, ()> {
        self.shared.sorting.lock()
    }

    /// Blocks of files of state.
    pub fn blocks(&self) -> &BlockCache {
        &self.shared.blocks
    }
}

/// An operator's part of the memory for tables.
#[derive(Debug)]
pub struct MemoryShare {
    shared: Arc<Shared>,
    used: usize,
}

impl MemoryShare {
    /// How many bytes the operator's tables may have: an equal part, and what others do not use.
    pub fn bytes(&self) -> usize {
        let Shared { tables, members, used, .. } = &*self.shared;
        let others = used.load(Ordering::Relaxed).saturating_sub(self.used);
        let equal = tables / members.load(Ordering::Relaxed).max(1);
        equal.max(tables.saturating_sub(others))
    }

    /// Whether the process has so much memory that tables must do with a quarter of their part. Asks the
    /// system, which is not for every batch.
    pub fn is_pressed(&self) -> bool {
        resident_bytes().is_some_and(|resident| resident > self.shared.process / 100 * PRESSED_PERCENT)
    }

    /// Tells what they have.
    pub fn set_used(&mut self, bytes: usize) {
        self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        self.shared.used.fetch_sub(self.used, Ordering::Relaxed);
        self.used = bytes;
    }

    /// Bytes of all operators' tables, and how many they may have together.
    pub fn of_all(&self) -> (usize, usize) {
        (self.shared.used.load(Ordering::Relaxed), self.shared.tables)
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set_used(0);
        self.shared.members.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory that this process has now.
fn resident_bytes() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * PAGE_BYTES)
}

/// What processes take that were given no figure, all together.
pub fn usable_bytes() -> u64 {
    machine_bytes().unwrap_or(4 << 30) / 5 * 3
}

/// The memory that this process may use, by its control group or the machine.
fn machine_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let machine = total?.trim().parse::<u64>().ok()? << 10;
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = groups.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(limits.fold(machine, u64::min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_share_what_there_is_for_tables() {
        let budget = MemoryBudget::new(256 << 20);
        let mut first = budget.join();
        let whole = first.bytes();
        assert!(whole > 32 << 20 && whole < 64 << 20, "{whole}");
        let mut second = budget.join();
        assert_eq!(first.bytes(), whole, "the other uses nothing");
        first.set_used(700);
        second.set_used(300);
        assert_eq!((first.bytes(), second.bytes()), (whole - 300, whole - 700));
        first.set_used(whole);
        assert_eq!((first.bytes(), second.bytes()), (whole - 300, whole / 2), "half of it is the second's by right");
        assert_eq!(first.of_all(), (whole + 300, whole));
        drop(first);
        assert_eq!((second.bytes(), second.of_all().0), (whole, 300));
    }

    #[test]
    fn there_is_a_machine() {
        assert!(machine_bytes().is_none_or(|bytes| bytes > 64 << 20));
    }
}
