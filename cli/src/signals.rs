//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// Exit code of a process that a second signal ends at once.
const INTERRUPTED: i32 = 130;

/// Requests to end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on signals are requests.
    pub fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::Signals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on a signal ends the process at once: the user has asked twice.
    pub fn end_at_once(mut self) {
        tokio::spawn(async move {
            self.wait().await;
            std::process::exit(INTERRUPTED);
        });
    }
}
