//! One figure of memory for a task manager (`taskmanager.memory.size`), and how it is split.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidemill_common::control::MemoryUse;
use tidemill_common::limits::TASK_MANAGER_MEMORY_MIN;
use tidemill_state::keyed::{BlockCache, WriteMemory};

/// What a process needs besides state: code, threads, batches on their way.
const BASE_BYTES: usize = 112 << 20;
/// Of what is left, in percent: tables of keyed state, blocks of files of state, and files of state that
/// are being written. The rest is for shuffle, formats, clients of connectors, and what the allocator cannot
/// give back.
const TABLES_PERCENT: usize = 30;
const BLOCKS_PERCENT: usize = 5;
const WRITING_PERCENT: usize = 15;
/// Resident memory, in percent of the whole, from which tables have to do with a quarter of their part:
/// what else there is has grown beyond what was foreseen.
const PRESSED_PERCENT: usize = 70;
/// Of the memory for tables, in percent: what rows in flight may have at most while checkpoints are taken.
const IN_FLIGHT_PERCENT: usize = 50;

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
    /// Bytes of their tables, and of those tables that can go nowhere else.
    used: AtomicUsize,
    fixed: AtomicUsize,
    /// Bytes of rows in flight that checkpoints keep, which tables do not have meanwhile.
    in_flight: AtomicUsize,
    blocks: BlockCache,
    writing: WriteMemory,
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
            fixed: 0.into(),
            in_flight: 0.into(),
            blocks,
            writing: WriteMemory::new(part(WRITING_PERCENT)),
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
            fixed: 0.into(),
            in_flight: 0.into(),
            blocks,
            writing: WriteMemory::new(bytes / 2),
        };
        Self { shared: Arc::new(shared) }
    }

    /// One more operator keeps state.
    pub fn join(&self) -> MemoryShare {
        self.shared.members.fetch_add(1, Ordering::Relaxed);
        MemoryShare { shared: self.shared.clone(), used: 0, is_fixed: false }
    }

    /// Room for rows in flight, none yet.
    pub fn in_flight(&self) -> InFlightShare {
        InFlightShare { shared: self.shared.clone(), used: 0 }
    }

    /// For files of state that are being written.
    pub fn writing(&self) -> &WriteMemory {
        &self.shared.writing
    }

    /// Blocks of files of state.
    pub fn blocks(&self) -> &BlockCache {
        &self.shared.blocks
    }

    /// What each consumer has now, and may have.
    pub fn usage(&self) -> Vec<MemoryUse> {
        let Shared { process, tables, used, in_flight, fixed, blocks, writing, .. } = &*self.shared;
        let entry = |consumer: &str, used: usize, limit: usize| MemoryUse {
            consumer: consumer.to_owned(),
            used_bytes: used as u64,
            limit_bytes: (limit < usize::MAX).then_some(limit as u64),
        };
        let in_flight_limit = tables.saturating_sub(fixed.load(Ordering::Relaxed)) / 100 * IN_FLIGHT_PERCENT;
        vec![
            entry("process", resident_bytes().unwrap_or_default(), *process),
            entry("state-tables", used.load(Ordering::Relaxed), *tables),
            entry("rows-in-flight", in_flight.load(Ordering::Relaxed), in_flight_limit),
            entry("state-blocks", blocks.used_bytes(), blocks.capacity_bytes()),
            entry("state-writing", writing.used_bytes(), writing.capacity_bytes()),
        ]
    }
}

/// An operator's part of the memory for tables.
#[derive(Debug)]
pub struct MemoryShare {
    shared: Arc<Shared>,
    used: usize,
    is_fixed: bool,
}

impl MemoryShare {
    /// How many bytes the operator's tables may have: an equal part, and what others do not use.
    pub fn bytes(&self) -> usize {
        let Shared { tables, members, used, in_flight, .. } = &*self.shared;
        let tables = tables.saturating_sub(in_flight.load(Ordering::Relaxed));
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
        let Shared { used, fixed, .. } = &*self.shared;
        for total in std::iter::once(used).chain(self.is_fixed.then_some(fixed)) {
            total.fetch_add(bytes, Ordering::Relaxed);
            total.fetch_sub(self.used, Ordering::Relaxed);
        }
        self.used = bytes;
    }

    /// The operator's tables stay in memory, however little there is.
    pub fn fix(&mut self) {
        if !std::mem::replace(&mut self.is_fixed, true) {
            self.shared.fixed.fetch_add(self.used, Ordering::Relaxed);
        }
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

/// What one checkpoint of a subtask keeps of the rows in flight.
#[derive(Debug)]
pub struct InFlightShare {
    shared: Arc<Shared>,
    used: usize,
}

impl InFlightShare {
    /// Takes more.
    ///
    /// # Errors
    /// How many bytes all rows in flight may have now, if that is not enough.
    pub fn add(&mut self, bytes: usize) -> Result<(), usize> {
        let Shared { tables, fixed, in_flight, .. } = &*self.shared;
        let free = tables.saturating_sub(fixed.load(Ordering::Relaxed));
        let whole = free / 100 * IN_FLIGHT_PERCENT;
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= whole);
        in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| whole)?;
        self.used += bytes;
        Ok(())
    }
}

impl Drop for InFlightShare {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(self.used, Ordering::Relaxed);
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
    fn rows_in_flight_take_memory_from_tables_that_can_spill() {
        let budget = MemoryBudget::with_tables(1_000);
        let (mut spills, mut stays) = (budget.join(), budget.join());
        stays.fix();
        stays.set_used(200);
        spills.set_used(400);
        let (mut one, mut other) = (budget.in_flight(), budget.in_flight());
        assert_eq!(one.add(300), Ok(()));
        assert_eq!(spills.bytes(), 500, "700 without the rows, less what the other has");
        assert_eq!(other.add(101), Err(400));
        assert_eq!(other.add(100), Ok(()));
        drop(one);
        assert_eq!(other.add(300), Ok(()));
        drop(stays);
        assert_eq!(other.add(100), Ok(()), "nothing stays in memory any more");
        drop(other);
        assert_eq!(spills.bytes(), 1_000);
    }

    #[test]
    fn every_consumer_is_told_of() {
        let budget = MemoryBudget::new(256 << 20);
        let mut tables = budget.join();
        tables.set_used(700);
        let _in_flight = budget.in_flight().add(80);
        let usage = budget.usage();
        let of = |consumer: &str| usage.iter().find(|entry| entry.consumer == consumer).unwrap();
        assert_eq!(
            (of("state-tables").used_bytes, of("rows-in-flight").used_bytes),
            (700, 0),
            "given back when dropped"
        );
        assert!(
            usage.iter().all(|entry| entry.limit_bytes.is_some_and(|limit| limit >= entry.used_bytes)),
            "{usage:?}"
        );
        assert!(of("process").used_bytes > 1 << 20 && of("state-writing").used_bytes == 0);
    }

    #[test]
    fn there_is_a_machine() {
        assert!(machine_bytes().is_none_or(|bytes| bytes > 64 << 20));
    }
}
