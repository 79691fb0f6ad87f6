//! What has happened to a job: the latest entries, for people who look later and for those who look on.

use std::collections::VecDeque;

use tidemill_common::control::{LogEntry, LogKind};
use tokio::sync::watch;

/// Entries that are remembered.
const ENTRIES_MAX: usize = 256;
/// Of them, those about checkpoints that went as they should; so they do not push out what is rare.
const CHECKPOINTS_MAX: usize = 64;
/// Characters of a message.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// See the module.
#[derive(Debug)]
pub struct JobLog {
    entries: VecDeque<LogEntry>,
    /// The sequence of the newest entry, for those who wait for the next.
    newest: watch::Sender<u64>,
}

impl JobLog {
    pub fn new() -> Self {
        Self { entries: VecDeque::new(), newest: watch::Sender::new(0) }
    }

    /// Adds an entry.
    pub fn push(&mut self, timestamp_ms: i64, kind: LogKind, message: impl Into<String>) {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        let sequence = *self.newest.borrow() + 1;
        self.entries.push_back(LogEntry { sequence, timestamp_ms, kind, message });
        let checkpoints = self.entries.iter().filter(|entry| entry.kind == LogKind::Checkpoint).count();
        if checkpoints > CHECKPOINTS_MAX
            && let Some(oldest) = self.entries.iter().position(|entry| entry.kind == LogKind::Checkpoint)
        {
            self.entries.remove(oldest);
        }
        if self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.newest.send_replace(sequence);
    }

    /// The entries after this one, oldest first.
    pub fn after(&self, sequence: u64) -> Vec<LogEntry> {
        self.entries.iter().filter(|entry| entry.sequence > sequence).cloned().collect()
    }

    /// Tells when there are more.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_do_not_push_out_what_is_rare() {
        let mut log = JobLog::new();
        log.push(1, LogKind::Failure, "x".repeat(3_000));
        for round in 0..1_000 {
            log.push(round, LogKind::Checkpoint, format!("checkpoint {round}"));
        }
        let entries = log.after(0);
        assert_eq!(entries.len(), 1 + CHECKPOINTS_MAX);
        assert_eq!((entries[0].kind, entries[0].message.chars().count()), (LogKind::Failure, MESSAGE_CHARS_MAX + 1));
        assert_eq!(log.after(1_000).len(), 1);
        for _ in 0..1_000 {
            log.push(1, LogKind::State, "s");
        }
        assert_eq!(log.after(0).len(), ENTRIES_MAX);
        assert_eq!(*log.subscribe().borrow(), 2_001);
    }
}
