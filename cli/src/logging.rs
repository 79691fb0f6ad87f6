//! Logs: on standard error, for people or as JSON, never between the lines of a result.

use std::io::Write;

use tidemill_common::process_options::ProcessConfig;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::terminal::Terminal;

/// Starts logging. `default_level` holds unless `log.level` is set.
pub fn start(config: &ProcessConfig, default_level: &str, terminal: &Terminal) {
    let level = config.text("log.level").unwrap_or(default_level);
    let filter = EnvFilter::try_new(level).unwrap_or_else(|error| {
        eprintln!("warning: log.level '{level}' is not understood ({error}); logging from {default_level} on");
        EnvFilter::new(default_level)
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter(terminal.clone()));
    let started = match config.text("log.format") {
        Some("json") => builder.json().try_init(),
        _ => builder.with_ansi(terminal.is_interactive()).try_init(),
    };
    if let Err(error) = started {
        eprintln!("warning: logging has been started before: {error}");
    }
}

/// Writes around a progress display.
struct LogWriter(Terminal);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

struct Line<'a>(&'a Terminal);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
