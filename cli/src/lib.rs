//! The command line: clients, servers, and both in one process.
//!
//! [`args`] says what can be written, one module a command does it. [`follow`] shows jobs until they
//! end, for all commands that start some. Results go to standard output, everything else (progress,
//! logs, summaries for people, errors) to standard error.

mod allocator;
mod apply;
mod args;
mod client;
mod cluster;
mod config;
mod demo;
mod docs;
mod embedded;
mod error;
mod events;
mod explain;
mod follow;
mod generate;
mod jobs;
mod logging;
mod manual;
mod roles;
mod run;
mod savepoints;
mod script;
mod shell;
mod signals;
mod submit;
mod summary;
mod table;
mod terminal;
mod top;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, GenerateCommand};
use error::CliError;

/// Worker threads for network and timers. Subtasks have threads of their own.
const RUNTIME_THREADS: usize = 2;
/// Most threads for blocking work, such as split discovery and printing.
const BLOCKING_THREADS_MAX: usize = 64;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("tidemill-io")
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(cli));
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(CliError::Runtime(error)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::Run(args) => run::run(args).await,
        Command::Jobmanager(args) => roles::jobmanager(args).await,
        Command::Taskmanager(args) => roles::taskmanager(args).await,
        Command::Cluster(args) => cluster::cluster(args).await,
        Command::Sql(args) => shell::sql(args).await,
        Command::Submit(args) => submit::submit(args).await,
        Command::Apply(args) => apply::apply(args).await,
        Command::List(args) => jobs::list(args).await,
        Command::Describe(args) => jobs::describe(args).await,
        Command::Cancel(args) => jobs::cancel(args).await,
        Command::Stop(args) => jobs::stop(args).await,
        Command::Savepoint(args) => savepoints::savepoint(args).await,
        Command::Checkpoints(args) => savepoints::checkpoints(args).await,
        Command::Events(args) => events::events(args).await,
        Command::Top(args) => top::top(args).await,
        Command::Rescale(args) => jobs::rescale(args).await,
        Command::Info(args) => jobs::info(args).await,
        Command::Explain(args) => explain::explain(args).await,
        Command::Generate(GenerateCommand::AccessLog(args)) => generate::access_log(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Docs(args) => docs::docs(&args),
    }
}
