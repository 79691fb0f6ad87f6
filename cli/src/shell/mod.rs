//! `tidemill sql`: statements as they are typed, on a cluster in this process or on a running one.
//!
//! The shell keeps the texts of the statements that define and set something ([`session`]); the job
//! manager, which keeps no sessions, gets them with every statement. [`editor`] reads lines, [`results`]
//! shows rows.

mod editor;
mod jobs;
mod results;
mod session;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::sync::Arc;

use tidemill_common::limits::SCRIPT_BYTES_MAX;
use tidemill_planner::dialect::statement_texts;
use tokio::sync::Notify;

use crate::args::SqlArgs;
use crate::client::{self, Client};
use crate::embedded::Embedded;
use crate::error::CliError;
use crate::follow::LAST_OUTPUT_TIMEOUT;
use crate::run::print_target;
use crate::terminal::Terminal;
use crate::{config, logging};

use editor::{Editor, Input};
use session::Shell;

const HELP: &str = "\
Statements end with ';'. They are those of Flink SQL: CREATE, INSERT, SELECT, SHOW, DESCRIBE, EXPLAIN, SET, ...
  SET 'sql-client.execution.result-mode' = 'table';      rows in place, as they are now (or 'changelog', 'tableau')
  SET 'table.dml-sync' = 'true';                          wait for each INSERT
  SOURCE 'file.sql';                                      run the statements of a file
  QUIT;                                                   leave (also Ctrl-D); Ctrl-C ends a SELECT
";

/// Runs the shell to its end.
pub async fn sql(args: SqlArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "error", &terminal);
    let closed = Arc::new(Notify::new());
    let (embedded, client) = match &args.cluster {
        Some(address) => (None, client::connect_to(address, config.duration("client.timeout")).await?),
        None => {
            let embedded = Embedded::start(&config, print_target(&terminal, closed)).await?;
            let client = embedded.client().await?;
            (Some(embedded), client)
        }
    };
    let outcome = run(&args, client, &terminal, embedded.is_some()).await;
    if let Some(embedded) = embedded {
        embedded.shutdown(Some(LAST_OUTPUT_TIMEOUT)).await?;
    }
    outcome
}

async fn run(args: &SqlArgs, client: Client, terminal: &Terminal, embedded: bool) -> Result<ExitCode, CliError> {
    let mut options: std::collections::BTreeMap<String, String> = args.set.iter().cloned().collect();
    if let Some(parallelism) = args.parallelism {
        options.insert("parallelism.default".to_owned(), parallelism.to_string());
    }
    let scripted = !args.execute.is_empty() || args.file.is_some();
    let interactive = !scripted && std::io::stdin().is_terminal();
    let mut shell = Shell::new(client, terminal.clone(), options, interactive);
    if let Some(path) = &args.init {
        let text = read(path)?;
        if !script(&mut shell, &text, &path.display().to_string()).await? {
            return Ok(ExitCode::FAILURE);
        }
    }
    if interactive {
        println!("Tidemill {} SQL. Statements end with ';'. HELP; tells more.", env!("CARGO_PKG_VERSION"));
        interact(&mut shell).await?;
        return leave(shell, embedded).await;
    }
    let mut good = true;
    if let Some(path) = &args.file {
        good = script(&mut shell, &read(path)?, &path.display().to_string()).await?;
    }
    for text in &args.execute {
        good = good && script(&mut shell, text, "-e").await?;
    }
    if !scripted {
        good = script(&mut shell, &read(std::path::Path::new("-"))?, "<stdin>").await?;
    }
    if !good {
        shell.cancel_jobs().await;
    }
    good &= shell.wait_for_jobs().await?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &std::path::Path) -> Result<String, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let limit = SCRIPT_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    if path == std::path::Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(limit).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

/// Runs the statements of a text one after the other; false at the first that fails.
async fn script(shell: &mut Shell, text: &str, file: &str) -> Result<bool, CliError> {
    let statements = match statement_texts(text) {
        Ok(statements) => statements,
        Err(error) => {
            shell.terminal.message(error.render(text, file).trim_end());
            return Ok(false);
        }
    };
    for statement in statements {
        match shell.statement(text, statement.range, file).await? {
            session::Outcome::Done => {}
            session::Outcome::Failed => return Ok(false),
            session::Outcome::Quit => return Ok(true),
            session::Outcome::Source(path) => {
                let path = std::path::PathBuf::from(path);
                let text = read(&path)?;
                // Files that name files are read in turn, not nested without end.
                if !source(shell, &text, &path.display().to_string()).await? {
                    return Ok(false);
                }
            }
            session::Outcome::Help => print!("{HELP}"),
        }
    }
    Ok(true)
}

/// A file that SOURCE names.
async fn source(shell: &mut Shell, text: &str, file: &str) -> Result<bool, CliError> {
    let statements = match statement_texts(text) {
        Ok(statements) => statements,
        Err(error) => {
            shell.terminal.message(error.render(text, file).trim_end());
            return Ok(false);
        }
    };
    for statement in statements {
        match shell.statement(text, statement.range, file).await? {
            session::Outcome::Done | session::Outcome::Help => {}
            session::Outcome::Failed => return Ok(false),
            session::Outcome::Quit => return Ok(true),
            session::Outcome::Source(_) => {
                shell.terminal.message(&format!("error: {file} is read by SOURCE and may not hold SOURCE itself"));
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Reads and runs statements until the user leaves.
async fn interact(shell: &mut Shell) -> Result<(), CliError> {
    let mut editor = Editor::new(shell.names.clone())?;
    shell.printer = Some(editor.printer());
    loop {
        let (back, input) = tokio::task::spawn_blocking(move || editor.read())
            .await
            .map_err(|error| CliError::Refused(format!("the line editor failed: {error}")))?;
        editor = back;
        let text = match input {
            Input::Text(text) => text,
            Input::Interrupted => continue,
            Input::End => return Ok(()),
            Input::Failed(reason) => return Err(CliError::Refused(format!("the line editor failed: {reason}"))),
        };
        let statements = match statement_texts(&text) {
            Ok(statements) => statements,
            Err(error) => {
                shell.terminal.message(error.render(&text, "sql").trim_end());
                continue;
            }
        };
        for statement in statements {
            match shell.statement(&text, statement.range, "sql").await? {
                session::Outcome::Done => {}
                session::Outcome::Failed => break,
                session::Outcome::Quit => return Ok(()),
                session::Outcome::Help => print!("{HELP}"),
                session::Outcome::Source(path) => {
                    let path = std::path::PathBuf::from(path);
                    match read(&path) {
                        Ok(text) => drop(source(shell, &text, &path.display().to_string()).await?),
                        Err(error) => shell.terminal.message(&format!("error: {error}")),
                    }
                }
            }
        }
    }
}

/// What becomes of jobs that still run when the user leaves.
async fn leave(mut shell: Shell, embedded: bool) -> Result<ExitCode, CliError> {
    let running = shell.running().await;
    if running > 0 && embedded {
        println!("{running} jobs run in this process and are cancelled.");
        shell.cancel_jobs().await;
    } else if running > 0 {
        println!("{running} jobs go on in the cluster; 'tidemill list' shows them.");
    }
    Ok(ExitCode::SUCCESS)
}
