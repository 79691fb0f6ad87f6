//! The thread that serves the sockets of the shuffle.
//!
//! It is one thread, apart from those for RPC and uploads: with several, each frame that arrives wakes a second
//! one to watch the sockets while the first serves it, which costs more than to serve it.

use std::convert::Infallible;
use std::future::Future;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Runs tasks on the thread, which ends when all clones are gone and all tasks have ended.
#[derive(Clone)]
pub struct Sockets {
    thread: Handle,
    alive: mpsc::Sender<Infallible>,
}

impl Sockets {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (alive, mut gone) = mpsc::channel(1);
        let thread = runtime.handle().clone();
        std::thread::Builder::new()
            .name("tidemill-shuffle".to_owned())
            .spawn(move || runtime.block_on(async move { gone.recv().await }))?;
        Ok(Self { thread, alive })
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let alive = self.alive.clone();
        self.thread.spawn(async move {
            task.await;
            drop(alive);
        })
    }
}
