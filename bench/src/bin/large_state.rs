//! Keyed state larger than memory: a job with ten times the state that its task manager has memory for runs,
//! checkpoints, loses its task manager on the way and recovers, and gives the right answer; the highest
//! resident memory of any task manager beside its figure (`taskmanager.memory.size`).
//!
//! `large_state [MB of memory] [MB of state]`

use std::time::Duration;

use anyhow::Context;
use tidemill_tests::large_state::{LargeState, ROW_BYTES};

/// How long a run may take for each MB of state before it counts as failed.
const TIME_PER_MB: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| -> anyhow::Result<u64> {
        let given = arguments.next().map(|text| text.parse()).transpose();
        Ok(given.context("large_state [MB of memory] [MB of state]")?.unwrap_or(default))
    };
    let (memory_mb, state_mb) = (number(1 << 10)?, number(10 << 10)?);
    let limit = TIME_PER_MB * u32::try_from(state_mb)?;
    let asked = LargeState { memory_mb, keys: (state_mb << 20) / ROW_BYTES, kill: true, limit };
    let found = asked.run()?;
    anyhow::ensure!(found.counted == asked.expected(), "the answer is wrong: {:?}", found.counted);
    anyhow::ensure!(found.restarts > 0, "nothing was killed");
    let verdict = if found.peak_mb <= memory_mb { "met" } else { "MISSED" };
    println!(
        "{state_mb} MB of state in {memory_mb} MB, killed once: at most {} MB resident ({verdict}), {:.0} s, \
         {} checkpoints of up to {} MB",
        found.peak_mb,
        found.seconds,
        found.checkpoints,
        found.checkpoint_bytes >> 20
    );
    Ok(())
}
