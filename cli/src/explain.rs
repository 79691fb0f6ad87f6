//! `tidemill explain`: the plans of a script, without a cluster.

use std::process::ExitCode;

use tidemill_jobmanager::submit::Preparation;
use tidemill_jobmanager::{JobManagerConfig, JobManagerError};

use crate::args::ExplainArgs;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{config, logging, script};

pub async fn explain(args: ExplainArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "warn", &terminal);
    let script = script::read(&args.script)?;
    let preparation = Preparation::new(&JobManagerConfig::from_process(&config)?);
    let explained = preparation.explain(script).await.map_err(|error| match error {
        JobManagerError::Script(rendered) => CliError::Script(rendered),
        error => CliError::JobManager(error),
    })?;
    for warning in &explained.warnings {
        terminal.message(&format!("warning: {warning}"));
    }
    let plans: Vec<&str> = explained.plans.iter().map(|plan| plan.trim_end()).collect();
    println!("{}", plans.join("\n\n"));
    Ok(ExitCode::SUCCESS)
}
