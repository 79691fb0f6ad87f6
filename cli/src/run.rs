//! `tidemill run`: a script on a cluster in this process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tidemill_common::control::JobState;
use tidemill_taskmanager::control::PrintTarget;
use tokio::sync::Notify;

use crate::args::{Output, RunArgs};
use crate::embedded::Embedded;
use crate::error::CliError;
use crate::follow::{Follow, LAST_OUTPUT_TIMEOUT, failures, print_lines};
use crate::signals::Signals;
use crate::summary::ScriptSummary;
use crate::terminal::Terminal;
use crate::{config, logging, script};

/// Runs the script to its end. Exit code 0 unless a job failed.
pub async fn run(args: RunArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "error", &terminal);
    let script = script::read_restored(&args.script, &args.restore)?;
    let signals = Signals::listen()?;
    let closed = Arc::new(Notify::new());
    let embedded = Embedded::start(&config, print_target(&terminal, closed.clone())).await?;
    let mut client = embedded.client().await?;
    let submitted = match client.submit(script).await {
        Ok(submitted) => submitted,
        Err(error) => {
            embedded.shutdown(None).await?;
            return Err(error);
        }
    };
    let follow = Follow { client, terminal: &terminal, fail_fast: true };
    let followed = follow.run(submitted, signals, closed.notified()).await;
    // A terminal or pipe that is slow must not keep the process from ending when it is told to.
    Signals::listen()?.end_at_once();
    embedded.shutdown(output_limit(&followed)).await?;
    show(&followed?, args.output, &terminal)
}

/// How long the last printed lines may take: no limit, unless the jobs were cut short.
pub fn output_limit(followed: &Result<ScriptSummary, CliError>) -> Option<Duration> {
    let finished = matches!(followed, Ok(summary) if summary.state == JobState::Finished);
    (!finished).then_some(LAST_OUTPUT_TIMEOUT)
}

/// Writes around the progress, and tells when nobody reads any more.
pub fn print_target(terminal: &Terminal, closed: Arc<Notify>) -> PrintTarget {
    let terminal = terminal.clone();
    PrintTarget::new(move |lines| {
        if print_lines(&terminal, lines).is_err() {
            closed.notify_one();
        }
    })
}

/// Tells how the jobs ended.
pub fn show(summary: &ScriptSummary, output: Output, terminal: &Terminal) -> Result<ExitCode, CliError> {
    match output {
        Output::Text if summary.jobs.is_empty() => {}
        Output::Text => terminal.message(&summary.text()),
        Output::Json => println!("{}", summary.json()?),
    }
    for failure in failures(summary) {
        terminal.message(&format!("error: {failure}"));
    }
    Ok(if summary.state == JobState::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
