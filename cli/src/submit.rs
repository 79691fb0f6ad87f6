//! `tidemill submit`: a script on a running cluster.

use std::process::ExitCode;

use tidemill_common::control::SubmittedStatement;

use crate::args::SubmitArgs;
use crate::client;
use crate::error::CliError;
use crate::follow::Follow;
use crate::run::show;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::{config, logging, savepoints, script};

/// Submits the script, and follows its jobs unless it is told to leave them.
pub async fn submit(args: SubmitArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "warn", &terminal);
    let mut script = script::read_restored(&args.script, &args.restore)?;
    script.dry_run = args.dry_run;
    let mut client = client::connect(&config).await?;
    let submitted = client.submit(script).await?;
    if args.dry_run {
        return savepoints::show_restored(&submitted, args.output);
    }
    if !args.detach {
        let follow = Follow { client, terminal: &terminal, fail_fast: false };
        let summary = follow.run(submitted, Signals::listen()?, std::future::pending()).await?;
        return show(&summary, args.output, &terminal);
    }
    for warning in &submitted.warnings {
        terminal.message(&format!("warning: {warning}"));
    }
    let is_select =
        |statement: &SubmittedStatement| matches!(statement, SubmittedStatement::Job(job) if job.columns.is_some());
    let select = submitted.statements.iter().any(is_select);
    for statement in submitted.statements {
        match statement {
            SubmittedStatement::Explain(text) => println!("{}", text.trim_end()),
            SubmittedStatement::Job(job) if select => drop(client.cancel(&job.job.0).await?),
            SubmittedStatement::Job(job) => println!("{}", job.job),
        }
    }
    if select { Err(CliError::DetachedSelect) } else { Ok(ExitCode::SUCCESS) }
}
