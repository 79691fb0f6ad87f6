//! The rows of a top-level SELECT on their way from the task managers to the client.
//!
//! Bounded by the protocol: a task manager has at most a window of chunks in flight and sends more
//! only when the client has taken them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidemill_common::ids::{AttemptId, TaskManagerId};
use tokio::sync::Notify;

/// Chunks that may wait here; a task manager that sends more breaks the protocol.
pub const CHUNKS_MAX: usize = 4_096;

/// Some rows, and which acknowledgement they are owed.
#[derive(Debug)]
pub struct Chunk {
    pub task_manager: TaskManagerId,
    pub attempt: AttemptId,
    pub sequence: u64,
    pub lines: Vec<String>,
}

/// Rows that wait for the client.
#[derive(Debug, Default)]
pub struct RowBuffer {
    state: Mutex<State>,
    changed: Notify,
    attached: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    closed: bool,
}

impl RowBuffer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows; gives `false` if more wait than the protocol allows.
    pub fn push(&self, chunk: Chunk) -> bool {
        let mut state = self.state.lock();
        if state.chunks.len() >= CHUNKS_MAX {
            return false;
        }
        state.chunks.push_back(chunk);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// No rows will follow.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Makes the caller the one reader; `false` if there is one already.
    pub fn attach(&self) -> bool {
        !self.attached.swap(true, Ordering::AcqRel)
    }

    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// The next rows; `None` at the end. For one reader.
    pub async fn next(&self) -> Option<Chunk> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(chunk) = state.chunks.pop_front() {
                    return Some(chunk);
                }
                if state.closed {
                    return None;
                }
            }
            // A notification between the check and here is kept by `Notify`.
            self.changed.notified().await;
        }
    }
}
