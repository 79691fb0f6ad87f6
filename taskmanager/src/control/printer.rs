//! Writes the lines of `print` tables, on a thread of its own: a terminal or pipe may be slow.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::credit::LinePermit;

/// Where lines go.
#[derive(Clone)]
pub struct PrintTarget(Arc<Print>);

/// Takes lines.
type Print = dyn Fn(&[String]) + Send + Sync;

impl PrintTarget {
    /// Any function. It may block.
    pub fn new(write: impl Fn(&[String]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Standard output. When it is closed, lines are dropped: nobody reads them.
    pub fn stdout() -> Self {
        Self::new(|lines| {
            let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
            for line in lines {
                text.push_str(line);
                text.push('\n');
            }
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                tracing::debug!("standard output is closed");
            }
        })
    }
}

/// The way to the printing thread. Its queue is bounded by the credit of the subtasks.
pub struct Printer {
    sender: mpsc::UnboundedSender<(Vec<String>, LinePermit)>,
    thread: tokio::task::JoinHandle<()>,
}

impl Printer {
    /// Starts the thread, which ends with the printer.
    pub fn start(target: PrintTarget) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<(Vec<String>, LinePermit)>();
        let thread = tokio::task::spawn_blocking(move || {
            while let Some((lines, permit)) = receiver.blocking_recv() {
                (target.0)(&lines);
                drop(permit);
            }
        });
        Self { sender, thread }
    }

    /// Returns when everything is written.
    pub async fn close(self) {
        drop(self.sender);
        if self.thread.await.is_err() {
            tracing::warn!("the printing thread has ended; lines were dropped");
        }
    }

    pub fn print(&self, lines: Vec<String>, permit: LinePermit) {
        if self.sender.send((lines, permit)).is_err() {
            tracing::warn!("the printing thread has ended; lines are dropped");
        }
    }
}
