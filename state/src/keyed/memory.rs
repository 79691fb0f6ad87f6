//! Memory for writing rows into files, and the sizes of what is written at a time that follow from it.

use std::ops::RangeInclusive;

use parking_lot::{Condvar, Mutex};

/// Of the memory, in percent: what is being encoded and sorted. The rest is for files that are uploaded.
const SORTING_PERCENT: usize = 60;
/// How many chunks the memory for sorting has room for: two are on their way, one being made and one being
/// written, and a chunk is there as columns, as encoded rows, and as an order.
const CHUNKS: usize = 8;
/// Bytes of rows that are sorted at a time. More do not make it faster.
const CHUNK_BYTES: RangeInclusive<usize> = 128 << 10..=16 << 20;
/// Bytes of a file. Smaller ones cost requests and descriptors, larger ones make nothing faster.
const FILE_BYTES: RangeInclusive<usize> = 1 << 20..=32 << 20;
/// Files that the memory for uploads has room for.
const FILES_AT_A_TIME: usize = 2;
/// Files that one writer uploads at a time.
const UPLOADS_MAX: usize = 4;
/// What the order of a row takes while it is made: its number twice, and its key group.
const ROW_BYTES: usize = 10;

/// Memory that all writers of files of state share. Whoever finds none waits.
#[derive(Debug)]
pub struct WriteMemory {
    /// Bytes of rows that are copied, encoded and sorted at a time, if their key groups allow it.
    pub(super) chunk_bytes: usize,
    /// Bytes after which a file ends with its key group, so that other parallelisms fetch what they need.
    pub(super) file_bytes: usize,
    /// Files of one writer that are uploaded at a time.
    pub(super) uploads: usize,
    sorting: Pool,
    uploading: Pool,
}

impl WriteMemory {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let sorting = bytes / 100 * SORTING_PERCENT;
        let uploading = bytes - sorting;
        let within = |bytes: usize, range: RangeInclusive<usize>| bytes.clamp(*range.start(), *range.end());
        let file_bytes = within(uploading / FILES_AT_A_TIME, FILE_BYTES);
        Self {
            chunk_bytes: within(sorting / CHUNKS, CHUNK_BYTES),
            file_bytes,
            uploads: (uploading / file_bytes).clamp(1, UPLOADS_MAX),
            sorting: Pool::new(sorting),
            uploading: Pool::new(uploading),
        }
    }

    /// What writers have now.
    pub fn used_bytes(&self) -> usize {
        *self.sorting.used.lock() + *self.uploading.used.lock()
    }

    /// What they may have.
    pub fn capacity_bytes(&self) -> usize {
        self.sorting.whole + self.uploading.whole
    }

    /// Waits for the memory to sort so many rows.
    pub(super) fn sort(&self, rows: usize) -> Taken<'_> {
        self.sorting.take(rows.saturating_mul(ROW_BYTES).saturating_add(CHUNKS * self.chunk_bytes))
    }

    /// Waits for the memory for a file of so many bytes.
    pub(super) fn upload(&self, bytes: usize) -> Taken<'_> {
        self.uploading.take(bytes)
    }
}

/// Memory that is taken and given back.
#[derive(Debug)]
struct Pool {
    whole: usize,
    used: Mutex<usize>,
    given_back: Condvar,
}

impl Pool {
    fn new(whole: usize) -> Self {
        Self { whole, used: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Waits until there is so much. What is more than there is altogether goes alone.
    fn take(&self, bytes: usize) -> Taken<'_> {
        let bytes = bytes.min(self.whole);
        let mut used = self.used.lock();
        while *used > 0 && *used + bytes > self.whole {
            self.given_back.wait(&mut used);
        }
        // One that takes nothing still goes alone where there is nothing.
        let bytes = bytes.max(1);
        *used += bytes;
        Taken { pool: self, bytes }
    }
}

/// Memory of a pool, given back when dropped.
pub(super) struct Taken<'a> {
    pool: &'a Pool,
    bytes: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.pool.used.lock() -= self.bytes;
        self.pool.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_memory() {
        let sizes = |mb: usize| {
            let memory = WriteMemory::new(mb << 20);
            (memory.chunk_bytes >> 10, memory.file_bytes >> 10, memory.uploads)
        };
        assert_eq!(sizes(0), (128, 1 << 10, 1));
        let (chunk, file, uploads) = sizes(24);
        assert!(chunk < 2 << 10 && file < 5 << 10 && uploads == 2, "{chunk} {file} {uploads}");
        assert_eq!(sizes(1 << 10), (16 << 10, 32 << 10, 4));
    }

    #[test]
    fn who_finds_no_memory_waits_and_who_wants_too_much_goes_alone() {
        let pool = Pool::new(100);
        let (first, second) = (pool.take(60), pool.take(40));
        std::thread::scope(|scope| {
            let third = scope.spawn(|| drop(pool.take(1_000)));
            drop(first);
            assert!(!third.is_finished());
            drop(second);
        });
        assert_eq!(*pool.used.lock(), 0);
        let none = Pool::new(0);
        let only = none.take(10);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| drop(none.take(10)));
            assert!(!other.is_finished());
            drop(only);
        });
    }
}
