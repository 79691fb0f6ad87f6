//! Standard error as a place for progress, and everything else written around it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether people look on, and what is drawn for them.
#[derive(Clone)]
pub struct Terminal {
    bars: MultiProgress,
    interactive: bool,
    /// Whether results go to the terminal as well.
    results_here: bool,
}

impl Terminal {
    /// Draws if standard error is a terminal.
    pub fn detect() -> Self {
        let interactive = std::io::stderr().is_terminal();
        let target = if interactive { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let results_here = interactive && std::io::stdout().is_terminal();
        Self { bars: MultiProgress::with_draw_target(target), interactive, results_here }
    }

    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Runs something that writes to the terminal, with the progress out of its way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.interactive { self.bars.suspend(write) } else { write() }
    }

    /// Runs something that writes results. Where these go elsewhere the progress is not in their
    /// way, and must not wait for whoever reads them.
    pub fn results<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.results_here { self.bars.suspend(write) } else { write() }
    }

    /// One line of progress; `None` if nobody looks on.
    pub fn progress(&self) -> Option<ProgressBar> {
        if !self.interactive {
            return None;
        }
        let style =
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        bar.enable_steady_tick(Duration::from_millis(150));
        Some(bar)
    }

    /// Writes a message for people.
    pub fn message(&self, text: &str) {
        self.suspend(|| eprintln!("{text}"));
    }
}
