//! What the shell knows between statements, and how it carries one out.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tidemill_common::config::is_batch;
use tidemill_common::control::{Script, SubmittedJob, SubmittedScript, SubmittedStatement};
use tidemill_common::suggest::nearest;
use tidemill_connectors::registry::Registry;
use tidemill_planner::ast::StatementKind;
use tidemill_planner::dialect::parse_script;
use tidemill_planner::session::Planner;

use super::editor::Printer;
use super::jobs::Jobs;
use super::results::{ResultMode, Results};
use crate::client::Client;
use crate::error::CliError;
use crate::signals::Signals;
use crate::table::duration;
use crate::terminal::Terminal;

const RESULT_MODE: &str = "sql-client.execution.result-mode";
const MAX_ROWS: &str = "sql-client.execution.max-table-result.rows";
/// Rows that a table in place holds at most, unless [`MAX_ROWS`] says otherwise.
const MAX_ROWS_DEFAULT: usize = 1_000;

/// What became of a statement.
pub enum Outcome {
    Done,
    /// It was refused, and the error is shown.
    Failed,
    Quit,
    Help,
    /// The statements of a file are to be run.
    Source(String),
}

/// A shell.
pub struct Shell {
    client: Client,
    pub terminal: Terminal,
    pub printer: Option<Printer>,
    options: BTreeMap<String, String>,
    /// The statements that have defined and set something.
    session: String,
    jobs: Jobs,
    mode: Option<ResultMode>,
    max_rows: usize,
    interactive: bool,
    /// Names to complete.
    pub names: Arc<Mutex<Vec<String>>>,
}

impl Shell {
    pub fn new(client: Client, terminal: Terminal, options: BTreeMap<String, String>, interactive: bool) -> Self {
        Self {
            client,
            terminal,
            printer: None,
            options,
            session: String::new(),
            jobs: Jobs::default(),
            mode: None,
            max_rows: MAX_ROWS_DEFAULT,
            interactive,
            names: Arc::default(),
        }
    }

    /// Carries out the statement at `range` of a text.
    pub async fn statement(&mut self, text: &str, range: Range<usize>, file: &str) -> Result<Outcome, CliError> {
        let statement = text[range.clone()].trim();
        if let Some(outcome) = command(statement) {
            return Ok(outcome);
        }
        // What stands before becomes blanks, so that errors name the right line and column.
        let mut placed: String = text[..range.start].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        placed.push_str(&text[range]);
        let kind = match parse_script(&placed) {
            Ok(statements) => statements.into_iter().next().map(|statement| statement.kind),
            Err(error) => {
                self.terminal.message(error.render(&placed, file).trim_end());
                return Ok(Outcome::Failed);
            }
        };
        if let Some(StatementKind::Set(set)) = &kind
            && set.key.starts_with("sql-client.")
            && let Some(result) = self.own_option(&set.key, &set.value)
        {
            return Ok(match result {
                Ok(()) => {
                    self.done();
                    Outcome::Done
                }
                Err(message) => {
                    self.terminal.message(&format!("error: {message}"));
                    Outcome::Failed
                }
            });
        }
        let start = Instant::now();
        let script = Script {
            text: placed,
            file: file.to_owned(),
            options: self.options.clone(),
            dry_run: false,
            session: self.session.clone(),
            cells: true,
        };
        let submitted = match self.client.submit(script).await {
            Ok(submitted) => submitted,
            Err(CliError::Script(rendered)) => {
                self.terminal.message(rendered.trim_end());
                return Ok(Outcome::Failed);
            }
            Err(error @ CliError::Refused(_)) => {
                self.terminal.message(&format!("error: {error}"));
                return Ok(Outcome::Failed);
            }
            Err(error) => return Err(error),
        };
        if kind.as_ref().is_some_and(changes_session) {
            self.session.push_str(statement);
            self.session.push_str(";\n");
            self.learn_names();
        }
        self.show(submitted, start).await
    }

    /// Shows what a statement gave, and follows its job.
    async fn show(&mut self, submitted: SubmittedScript, start: Instant) -> Result<Outcome, CliError> {
        for warning in &submitted.warnings {
            self.terminal.message(&format!("warning: {warning}"));
        }
        if submitted.statements.is_empty() {
            self.done();
        }
        for statement in submitted.statements {
            match statement {
                SubmittedStatement::Explain(text) => println!("{}", text.trim_end()),
                SubmittedStatement::Job(job) if job.columns.is_some() => {
                    if !self.select(&job, start).await? {
                        return Ok(Outcome::Failed);
                    }
                }
                SubmittedStatement::Job(job) => {
                    let waits = self.is_sync();
                    self.jobs.follow(&mut self.client, &self.terminal, self.printer.clone(), &job).await?;
                    if waits {
                        let mut signals = Signals::listen()?;
                        if !self.jobs.wait_for(&mut self.client, &job, &mut signals).await? {
                            return Ok(Outcome::Failed);
                        }
                    } else if self.interactive {
                        println!("job {} ({}) runs; its end is told before a prompt", job.name, job.job);
                    }
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Whether statements run in batch mode, after what was set.
    fn is_batch(&self) -> bool {
        let mut options = self.options.clone();
        for statement in parse_script(&self.session).unwrap_or_default() {
            match statement.kind {
                StatementKind::Set(set) => drop(options.insert(set.key, set.value)),
                StatementKind::Reset(None) => options.clone_from(&self.options),
                StatementKind::Reset(Some(option)) => match self.options.get(&option.key) {
                    Some(value) => drop(options.insert(option.key, value.clone())),
                    None => drop(options.remove(&option.key)),
                },
                _ => {}
            }
        }
        is_batch(&options)
    }

    /// The rows of a SELECT, until they end or Ctrl-C. False if the job failed.
    async fn select(&mut self, job: &SubmittedJob, start: Instant) -> Result<bool, CliError> {
        let mode = match self.mode {
            // Rows of a batch only ever come: they are one table, however it is shown.
            None | Some(ResultMode::Tableau) if self.is_batch() => ResultMode::Final,
            Some(mode) => mode,
            None if self.interactive => ResultMode::Table,
            None => ResultMode::Tableau,
        };
        let columns = job.columns.clone().unwrap_or_default();
        let mut results = Results::new(mode, columns, self.max_rows, self.interactive);
        let mut rows = self.client.rows(&job.job).await?;
        let mut states = self.client.watch(&job.job.0).await?;
        let mut signals = Signals::listen()?;
        let mut cancelled = false;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                lines = rows.next() => match lines {
                    Ok(Some(lines)) => if results.take(&lines).is_err() {
                        // Nobody reads any more.
                        let _ = self.client.cancel(&job.job.0).await;
                        cancelled = true;
                        break;
                    },
                    Ok(None) => break,
                    // The job's own state says why.
                    Err(_) => break,
                },
                _ = tick.tick() => drop(results.draw()),
                () = signals.wait() => {
                    if cancelled {
                        break;
                    }
                    cancelled = true;
                    let _ = self.client.cancel(&job.job.0).await;
                }
            }
        }
        let mut last = None;
        while let Ok(Some(detail)) = states.next().await {
            let ended = detail.summary.state.is_terminal();
            last = Some(detail);
            if ended {
                break;
            }
        }
        let _ = results.finish();
        let elapsed = start.elapsed().as_millis() as i64;
        let count = results.count();
        println!("{count} {} in {}", if count == 1 { "row" } else { "rows" }, duration(elapsed));
        let failed = last.as_ref().filter(|_| !cancelled).and_then(crate::summary::failure);
        if let Some(cause) = &failed {
            self.terminal.message(&format!("error: {cause}"));
        }
        let _ = std::io::stdout().flush();
        Ok(failed.is_none())
    }

    /// Whether an INSERT is waited for.
    fn is_sync(&self) -> bool {
        let mut sync = self.options.get("table.dml-sync").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        for statement in parse_script(&self.session).unwrap_or_default() {
            match statement.kind {
                StatementKind::Set(set) if set.key == "table.dml-sync" => sync = set.value.eq_ignore_ascii_case("true"),
                StatementKind::Reset(_) => sync = false,
                _ => {}
            }
        }
        sync
    }

    /// Sets an option of the shell; `None` if it is none.
    fn own_option(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        match key {
            RESULT_MODE => Some(match ResultMode::parse(value) {
                Some(mode) => {
                    self.mode = Some(mode);
                    Ok(())
                }
                None => {
                    let near = nearest(value, ["table", "changelog", "tableau"]);
                    let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
                    Err(format!("option '{key}': '{value}' is not one of table, changelog, tableau{hint}"))
                }
            }),
            MAX_ROWS => Some(match value.trim().parse() {
                Ok(rows) if rows > 0 => {
                    self.max_rows = rows;
                    Ok(())
                }
                _ => Err(format!("option '{key}': '{value}' is not a whole number above 0")),
            }),
            _ => None,
        }
    }

    fn done(&self) {
        if self.interactive {
            println!("done");
        }
    }

    fn learn_names(&self) {
        let environment = |_: &str| Some(String::new());
        let names = Planner::new(&Registry, self.options.clone(), &environment).names(&self.session);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Jobs that have not ended.
    pub async fn running(&mut self) -> usize {
        self.jobs.running()
    }

    /// Cancels the jobs that have not ended.
    pub async fn cancel_jobs(&mut self) {
        self.jobs.cancel(&mut self.client).await;
    }

    /// Waits for all jobs; false if one failed.
    pub async fn wait_for_jobs(&mut self) -> Result<bool, CliError> {
        let mut signals = Signals::listen()?;
        self.jobs.wait_for_all(&mut self.client, &mut signals).await
    }
}

/// A command of the shell itself.
fn command(statement: &str) -> Option<Outcome> {
    let mut words = statement.splitn(2, char::is_whitespace);
    let first = words.next()?.to_uppercase();
    let rest = words.next().unwrap_or_default().trim();
    match first.as_str() {
        "QUIT" | "EXIT" if rest.is_empty() => Some(Outcome::Quit),
        "HELP" if rest.is_empty() => Some(Outcome::Help),
        "CLEAR" if rest.is_empty() => {
            print!("\x1b[2J\x1b[H");
            Some(Outcome::Done)
        }
        "SOURCE" => Some(Outcome::Source(rest.trim_matches('\'').to_owned())),
        _ => None,
    }
}

/// Whether later statements depend on this one.
fn changes_session(kind: &StatementKind) -> bool {
    match kind {
        StatementKind::CreateTable(_)
        | StatementKind::CreateView(_)
        | StatementKind::CreateDatabase { .. }
        | StatementKind::Drop(_)
        | StatementKind::AlterTable(_)
        | StatementKind::AlterView(_)
        | StatementKind::Use(_)
        | StatementKind::UseCatalog(_)
        | StatementKind::Set(_)
        | StatementKind::Reset(_) => true,
        StatementKind::Describe(_)
        | StatementKind::Show(_)
        | StatementKind::ShowOptions
        | StatementKind::Insert(_)
        | StatementKind::StatementSet(_)
        | StatementKind::Explain(_)
        | StatementKind::Query(_) => false,
    }
}
