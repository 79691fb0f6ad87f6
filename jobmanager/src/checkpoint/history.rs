//! What is told of a job's checkpoints: the latest ones, and how many there were.

use std::collections::VecDeque;

use tidemill_common::checkpoint::{CheckpointKind, SubtaskSnapshot};
pub use tidemill_common::control::{CheckpointCounts, CheckpointState, CheckpointStats};
use tidemill_common::ids::CheckpointId;

/// Checkpoints that are remembered.
const CHECKPOINTS_MAX: usize = 100;
/// Checkpoints that have ended and that nobody has taken notice of.
const ENDED_MAX: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History {
    checkpoints: VecDeque<CheckpointStats>,
    /// Those that have ended since somebody took them; the latest.
    ended: VecDeque<CheckpointId>,
    pub counts: CheckpointCounts,
}

impl History {
    pub fn begun(&mut self, stats: CheckpointStats) {
        if self.checkpoints.len() == CHECKPOINTS_MAX {
            self.checkpoints.pop_front();
        }
        self.counts.in_progress += 1;
        self.checkpoints.push_back(stats);
    }

    /// A subtask has done its part.
    pub fn acknowledged(&mut self, checkpoint: CheckpointId, snapshot: &SubtaskSnapshot) {
        let Some(stats) = self.find(checkpoint) else { return };
        stats.subtasks_acknowledged += 1;
        stats.alignment_ms = stats.alignment_ms.max(snapshot.stats.alignment_ms);
        stats.sync_us = stats.sync_us.max(snapshot.stats.sync_us);
        stats.async_ms = stats.async_ms.max(snapshot.stats.async_ms);
        stats.bytes_new += snapshot.stats.bytes_new;
        stats.bytes_in_flight += snapshot.stats.bytes_in_flight;
        stats.bytes_total += snapshot.operators.iter().map(|(_, operator)| operator.bytes()).sum::<u64>();
    }

    pub fn ended(
        &mut self,
        checkpoint: CheckpointId,
        now_ms: i64,
        state: CheckpointState,
        location: Option<String>,
        failure: Option<String>,
    ) {
        let Some(stats) = self.find(checkpoint) else { return };
        stats.state = state;
        stats.end_ms = Some(now_ms);
        stats.location = location;
        stats.failure = failure;
        let savepoint = stats.kind == CheckpointKind::Savepoint;
        let counts = &mut self.counts;
        counts.in_progress = counts.in_progress.saturating_sub(1);
        match state {
            CheckpointState::Completed if savepoint => counts.savepoints += 1,
            CheckpointState::Completed => counts.completed += 1,
            CheckpointState::Failed => counts.failed += 1,
            CheckpointState::InProgress => {}
        }
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(checkpoint);
    }

    /// What has ended since the last call.
    pub fn take_ended(&mut self) -> Vec<CheckpointStats> {
        let ended = std::mem::take(&mut self.ended);
        ended.into_iter().filter_map(|checkpoint| self.find(checkpoint).cloned()).collect()
    }

    /// Newest first.
    pub fn latest(&self) -> impl Iterator<Item = &CheckpointStats> {
        self.checkpoints.iter().rev()
    }

    fn find(&mut self, checkpoint: CheckpointId) -> Option<&mut CheckpointStats> {
        self.checkpoints.iter_mut().rev().find(|stats| stats.checkpoint == checkpoint)
    }
}
