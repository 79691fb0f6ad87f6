//! The allocator's way of giving memory back.
//!
//! The one call below has no safe form. It stores a number in a table of the allocator that other threads
//! read; a thread that misses the change frees later.
#![allow(unsafe_code, reason = "one call of the allocator's C interface")]

/// `mi_option_purge_delay` of mimalloc 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Below this size of a process, freed memory goes back to the system at once: what is kept for the next
/// use is a large part of so little.
const TIGHT_BYTES: u64 = 1 << 30;

/// Fits the allocator to a process that may use so many bytes. Called before there are other threads that
/// allocate much.
pub fn fit(bytes: Option<u64>) {
    if bytes.is_some_and(|bytes| bytes < TIGHT_BYTES) {
        // SAFETY: the option exists, and any number is valid for it.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
    }
}
