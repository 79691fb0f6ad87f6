//! `tidemill generate`: made-up input, at the pace of the clock.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidemill_connectors::access_log_generator::{AccessLog, AccessLogConfig};

use crate::args::GenerateAccessLogArgs;
use crate::error::CliError;
use crate::signals::Signals;

/// Most lines written at once.
const LINES_AT_ONCE_MAX: usize = 10_000;
/// Longest pause between writes, so that a request to end is seen.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Writes a web shop's access log until its time is up or a signal comes.
pub async fn access_log(args: GenerateAccessLogArgs) -> Result<ExitCode, CliError> {
    let defaults = AccessLogConfig::default();
    let config = AccessLogConfig {
        seed: args.seed.unwrap_or(defaults.seed),
        lines_per_second: args.rate.unwrap_or(defaults.lines_per_second),
        speedup: args.speedup.unwrap_or(defaults.speedup),
        start_ms: defaults.start_ms,
    };
    let mut signals = Signals::listen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let stop = stop.clone();
        tokio::task::spawn_blocking(move || {
            let limit = args.seconds.map(Duration::from_secs);
            if args.output.as_os_str() == "-" {
                write_log(config, limit, &stop, &mut io::stdout().lock(), Path::new("standard output"))
            } else {
                write_file(config, limit, &stop, &args.output)
            }
        })
    };
    tokio::pin!(writing);
    let written = tokio::select! {
        written = &mut writing => written,
        () = signals.wait() => {
            stop.store(true, Ordering::Relaxed);
            writing.await
        }
    };
    let lines = written.map_err(|error| CliError::Refused(error.to_string()))??;
    eprintln!("{lines} lines");
    Ok(ExitCode::SUCCESS)
}

/// Writes a log to a file, which is made anew with its directories.
pub fn write_file(
    config: AccessLogConfig,
    limit: Option<Duration>,
    stop: &AtomicBool,
    path: &Path,
) -> Result<u64, CliError> {
    let fail = |source| CliError::Write { path: path.to_owned(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(fail)?;
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(path).map_err(fail)?;
    write_log(config, limit, stop, &mut file, path)
}

/// Returns the number of lines. A reader that goes away ends it without an error.
fn write_log(
    config: AccessLogConfig,
    limit: Option<Duration>,
    stop: &AtomicBool,
    out: &mut dyn Write,
    path: &Path,
) -> Result<u64, CliError> {
    let mut log = AccessLog::new(config).map_err(|error| CliError::Refused(error.to_string()))?;
    let begun = Instant::now();
    let mut bytes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let elapsed = begun.elapsed();
        if limit.is_some_and(|limit| elapsed >= limit) {
            break;
        }
        bytes.clear();
        log.fill_due(elapsed, LINES_AT_ONCE_MAX, &mut bytes);
        match out.write_all(&bytes).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(source) => return Err(CliError::Write { path: path.to_owned(), source }),
        }
        std::thread::sleep(log.next_due().saturating_sub(begun.elapsed()).min(PAUSE_MAX));
    }
    Ok(log.lines())
}
