//! Shows the jobs of a script until they have ended.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tidemill_common::control::{JobDetail, JobState, SubmittedJob, SubmittedScript, SubmittedStatement};
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::CliError;
use crate::signals::Signals;
use crate::summary::{ScriptSummary, failure};
use crate::table::{duration, number};
use crate::terminal::Terminal;

/// States that may wait to be shown.
const UPDATES_MAX: usize = 64;
/// How long the last output of jobs that were cancelled may take.
pub const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the caller wants.
pub struct Follow<'a> {
    pub client: Client,
    pub terminal: &'a Terminal,
    /// Whether one failed job ends the others.
    pub fail_fast: bool,
}

/// What has come.
enum Update {
    Job(usize, Box<JobDetail>),
    /// The jobs cannot be seen any more.
    Failed(CliError),
    /// Nobody reads the results any more.
    OutputClosed,
}

impl Follow<'_> {
    /// Prints the rows of SELECTs as they come, and returns when every job has ended. A signal
    /// cancels them; so does `output_closed`.
    pub async fn run(
        mut self,
        script: SubmittedScript,
        mut signals: Signals,
        output_closed: impl Future<Output = ()>,
    ) -> Result<ScriptSummary, CliError> {
        let start = Instant::now();
        for warning in &script.warnings {
            self.terminal.message(&format!("warning: {warning}"));
        }
        let jobs: Vec<SubmittedJob> = print_explained(script);
        let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
        for (index, job) in jobs.iter().enumerate() {
            self.watch(index, job, &sender).await?;
        }
        let rows = self.print_rows(&jobs, sender.clone());
        drop(sender);
        let mut details: Vec<Option<JobDetail>> = vec![None; jobs.len()];
        let mut bars: Vec<Option<ProgressBar>> = jobs.iter().map(|_| self.terminal.progress()).collect();
        let mut ending = false;
        tokio::pin!(output_closed);
        while details.iter().any(|job| !job.as_ref().is_some_and(|job| job.summary.state.is_terminal())) {
            let update = tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => update,
                    None => return Err(CliError::Protocol("the job manager stopped telling of the jobs".to_owned())),
                },
                () = signals.wait() => {
                    if ending {
                        // Asked twice: do not wait for the jobs.
                        return Err(CliError::Refused("interrupted before the jobs had ended".to_owned()));
                    }
                    self.terminal.message("cancelling; press Ctrl-C again to leave at once");
                    ending = true;
                    self.cancel(&jobs, &details).await;
                    continue;
                }
                () = &mut output_closed, if !ending => Update::OutputClosed,
            };
            match update {
                Update::Failed(error) => return Err(error),
                Update::OutputClosed => {
                    ending = true;
                    self.cancel(&jobs, &details).await;
                }
                Update::Job(index, job) => {
                    let ended = job.summary.state.is_terminal();
                    if let Some(bar) = &bars[index] {
                        bar.set_message(progress(&job));
                    }
                    let failed = matches!(job.summary.state, JobState::Failed | JobState::Failing);
                    if ended && let Some(bar) = bars[index].take() {
                        bar.finish_and_clear();
                    }
                    details[index] = Some(*job);
                    if failed && self.fail_fast && !ending {
                        ending = true;
                        self.cancel(&jobs, &details).await;
                    }
                }
            }
        }
        self.finish_rows(rows, &mut signals, ending).await;
        let details: Vec<JobDetail> = details.into_iter().flatten().collect();
        Ok(ScriptSummary::new(&details, start.elapsed().as_millis() as i64))
    }

    /// Tells of every state of a job.
    async fn watch(&mut self, index: usize, job: &SubmittedJob, sender: &mpsc::Sender<Update>) -> Result<(), CliError> {
        let mut states = self.client.watch(&job.job.0).await?;
        let sender = sender.clone();
        tokio::spawn(async move {
            loop {
                let update = match states.next().await {
                    Ok(Some(job)) => Update::Job(index, Box::new(job)),
                    Ok(None) => return,
                    Err(error) => Update::Failed(error),
                };
                if sender.send(update).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Prints the rows of the SELECTs, one after the other.
    fn print_rows(&self, jobs: &[SubmittedJob], updates: mpsc::Sender<Update>) -> tokio::task::JoinHandle<()> {
        let selects: Vec<SubmittedJob> = jobs.iter().filter(|job| job.columns.is_some()).cloned().collect();
        let (mut client, terminal) = (self.client.clone(), self.terminal.clone());
        tokio::spawn(async move {
            let mut streams = Vec::new();
            for job in &selects {
                match client.rows(&job.job).await {
                    Ok(rows) => streams.push(rows),
                    Err(error) => {
                        let _ = updates.send(Update::Failed(error)).await;
                        return;
                    }
                }
            }
            for mut rows in streams {
                loop {
                    let lines = match rows.next().await {
                        Ok(Some(lines)) => lines,
                        Ok(None) => break,
                        // The job's own state says why.
                        Err(_) => break,
                    };
                    let terminal = terminal.clone();
                    let written = tokio::task::spawn_blocking(move || print_lines(&terminal, &lines)).await;
                    if !matches!(written, Ok(Ok(()))) {
                        let _ = updates.send(Update::OutputClosed).await;
                        return;
                    }
                }
            }
        })
    }

    /// Waits until the rows are printed: as long as their reader takes, unless nobody wants them.
    async fn finish_rows(&self, rows: tokio::task::JoinHandle<()>, signals: &mut Signals, ending: bool) {
        tokio::select! {
            printed = rows => if let Err(error) = printed {
                self.terminal.message(&format!("warning: printing the rows ended early: {error}"));
            },
            () = signals.wait() => {}
            () = tokio::time::sleep(LAST_OUTPUT_TIMEOUT), if ending => {}
        }
    }

    async fn cancel(&mut self, jobs: &[SubmittedJob], details: &[Option<JobDetail>]) {
        for (job, detail) in jobs.iter().zip(details) {
            if detail.as_ref().is_some_and(|detail| detail.summary.state.is_terminal()) {
                continue;
            }
            if let Err(error) = self.client.cancel(&job.job.0).await {
                self.terminal.message(&format!("warning: job {} could not be cancelled: {error}", job.job));
            }
        }
    }
}

/// Writes lines to standard output, around the progress.
pub fn print_lines(terminal: &Terminal, lines: &[String]) -> std::io::Result<()> {
    let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    terminal.results(|| {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    })
}

/// Prints the texts of EXPLAIN statements, and gives the jobs.
fn print_explained(script: SubmittedScript) -> Vec<SubmittedJob> {
    let mut jobs = Vec::new();
    for statement in script.statements {
        match statement {
            SubmittedStatement::Explain(text) => println!("{}", text.trim_end()),
            SubmittedStatement::Job(job) => jobs.push(job),
        }
    }
    jobs
}

/// The error of each failed job, for people.
pub fn failures(summary: &ScriptSummary) -> Vec<String> {
    summary
        .jobs
        .iter()
        .filter(|job| job.state == JobState::Failed)
        .map(|job| format!("job {} failed: {}", job.name, job.error.as_deref().unwrap_or("no cause was recorded")))
        .collect()
}

/// One line about a job that runs.
pub fn progress(job: &JobDetail) -> String {
    let sum = |kind: &str, count: fn(&tidemill_common::control::OperatorStatus) -> u64| -> u64 {
        job.operators.iter().filter(|operator| operator.kind == kind).map(count).sum()
    };
    let read = sum("source", |operator| operator.records_out);
    let written = sum("sink", |operator| operator.records_in);
    // Counters are those of the attempts that run, the oldest of which counts for all.
    let running = job.attempts.iter().filter(|attempt| attempt.end_ms.is_none()).map(|attempt| attempt.start_ms);
    let newest = job.attempts.last().map_or(job.summary.start_ms, |attempt| attempt.start_ms);
    let attempt_start = running.min().unwrap_or(newest);
    let now = chrono::Utc::now().timestamp_millis();
    let elapsed_ms = (now - attempt_start).max(1);
    let rate = (read as f64 * 1000.0 / elapsed_ms as f64) as u64;
    let mut text = format!(
        "{} {} {}: {} rows read ({}/s), {} written",
        job.summary.name,
        job.summary.state,
        duration(now - job.summary.start_ms),
        number(read),
        number(rate),
        number(written)
    );
    let late: u64 = job.operators.iter().map(|operator| operator.late_rows_dropped).sum();
    if late > 0 {
        text.push_str(&format!(", {} late", number(late)));
    }
    if let Some(cause) = failure(job) {
        text.push_str(&format!(", {}", cause.lines().next().unwrap_or_default()));
    }
    text
}
