//! State larger than memory: it goes to disk, checkpoints have it, and it comes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tidemill_tests::large_state::{LargeState, ROW_BYTES};

/// What the process may have beyond its figure: what the allocator has not given back, and batches of wide
/// rows that are on their way.
const BEYOND_MB: u64 = 64;

#[test]
fn a_gb_of_state_in_256_mb_of_memory_with_a_kill() {
    let asked = LargeState { memory_mb: 256, keys: (1 << 30) / ROW_BYTES, kill: true, limit: Duration::from_secs(600) };
    let found = asked.run().unwrap();
    println!(
        "{:.1} s, peak {} MB, {} checkpoints up to {} MB, {} restarts",
        found.seconds,
        found.peak_mb,
        found.checkpoints,
        found.checkpoint_bytes >> 20,
        found.restarts
    );
    assert_eq!(found.counted, asked.expected());
    assert!(found.restarts > 0, "nothing was killed");
    assert!(found.peak_mb <= asked.memory_mb + BEYOND_MB, "{} MB were used", found.peak_mb);
}
