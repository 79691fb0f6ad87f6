//! `tidemill events`: what has happened to a job, and what happens.

use std::io::Write;
use std::process::ExitCode;

use tidemill_common::control::LogEntry;

use crate::args::{EventsArgs, Output};
use crate::error::CliError;
use crate::jobs::connect;
use crate::table::time;

/// Prints the events that are remembered; with `--follow` also those that come, until the job has ended.
pub async fn events(args: EventsArgs) -> Result<ExitCode, CliError> {
    let (mut client, _) = connect(&args.process).await?;
    let mut events = client.events(&args.job, args.follow).await?;
    let mut out = std::io::stdout();
    while let Some(entries) = events.next().await? {
        for entry in &entries {
            let line = match args.output {
                Output::Text => text(entry),
                Output::Json => serde_json::to_string(entry)?,
            };
            // Nobody reads any more: that is the end.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(entry: &LogEntry) -> String {
    let message = entry.message.replace('\n', "\n    ");
    format!("{}  {:<10}  {message}", time(entry.timestamp_ms), entry.kind.to_string())
}
