//! The INSERTs that a shell has started: followed in the background, told of when they end.

use tidemill_common::control::{JobDetail, JobState, SubmittedJob};
use tidemill_common::ids::JobId;
use tokio::sync::watch;

use super::editor::Printer;
use crate::client::Client;
use crate::error::CliError;
use crate::follow::progress;
use crate::signals::Signals;
use crate::summary::{JobReport, failure};
use crate::terminal::Terminal;

/// All jobs of a shell.
#[derive(Default)]
pub struct Jobs {
    jobs: Vec<Followed>,
}

struct Followed {
    job: JobId,
    /// How it ended; `None` while it runs.
    end: watch::Receiver<Option<JobState>>,
}

impl Jobs {
    /// Follows a job until it ends, and tells of that.
    pub async fn follow(
        &mut self,
        client: &mut Client,
        terminal: &Terminal,
        printer: Option<Printer>,
        job: &SubmittedJob,
    ) -> Result<(), CliError> {
        let mut states = client.watch(&job.job.0).await?;
        let (sender, end) = watch::channel(None);
        let terminal = terminal.clone();
        // Beside a prompt nothing is drawn.
        let bar = if printer.is_none() { terminal.progress() } else { None };
        tokio::spawn(async move {
            let state = loop {
                match states.next().await {
                    Ok(Some(detail)) => {
                        if let Some(bar) = &bar {
                            bar.set_message(progress(&detail));
                        }
                        if detail.summary.state.is_terminal() {
                            if let Some(bar) = &bar {
                                bar.finish_and_clear();
                            }
                            tell(&terminal, printer.as_ref(), &report(&detail));
                            break detail.summary.state;
                        }
                    }
                    Ok(None) => break JobState::Failed,
                    Err(error) => {
                        tell(&terminal, printer.as_ref(), &format!("error: the job cannot be seen any more: {error}"));
                        break JobState::Failed;
                    }
                }
            };
            let _ = sender.send(Some(state));
        });
        self.jobs.push(Followed { job: job.job.clone(), end });
        Ok(())
    }

    /// Waits for one job; Ctrl-C cancels it. False if it failed.
    pub async fn wait_for(
        &mut self,
        client: &mut Client,
        job: &SubmittedJob,
        signals: &mut Signals,
    ) -> Result<bool, CliError> {
        let Some(followed) = self.jobs.iter_mut().find(|followed| followed.job == job.job) else { return Ok(true) };
        wait(client, followed, signals).await
    }

    /// Waits for all jobs; Ctrl-C cancels them. False if one failed.
    pub async fn wait_for_all(&mut self, client: &mut Client, signals: &mut Signals) -> Result<bool, CliError> {
        let mut good = true;
        for followed in &mut self.jobs {
            good &= wait(client, followed, signals).await?;
        }
        Ok(good)
    }

    /// Jobs that have not ended.
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|followed| followed.end.borrow().is_none()).count()
    }

    /// Cancels the jobs that have not ended.
    pub async fn cancel(&mut self, client: &mut Client) {
        for followed in &self.jobs {
            let runs = followed.end.borrow().is_none();
            if runs {
                // It may have ended by itself meanwhile.
                let _ = client.cancel(&followed.job.0).await;
            }
        }
    }
}

async fn wait(client: &mut Client, followed: &mut Followed, signals: &mut Signals) -> Result<bool, CliError> {
    let mut asked = false;
    loop {
        if let Some(state) = *followed.end.borrow() {
            return Ok(state != JobState::Failed);
        }
        tokio::select! {
            changed = followed.end.changed() => if changed.is_err() {
                return Ok(false);
            },
            () = signals.wait() => {
                if asked {
                    return Err(CliError::Refused("interrupted before the job had ended".to_owned()));
                }
                asked = true;
                let _ = client.cancel(&followed.job.0).await;
            }
        }
    }
}

/// How a job ended.
fn report(detail: &JobDetail) -> String {
    let mut text = JobReport::new(detail).text();
    if detail.summary.state == JobState::Failed {
        let cause = failure(detail).unwrap_or_else(|| "no cause was recorded".to_owned());
        text.push_str(&format!("\nerror: job {} failed: {cause}", detail.summary.name));
    }
    text
}

fn tell(terminal: &Terminal, printer: Option<&Printer>, text: &str) {
    match printer {
        Some(printer) => printer.print(text),
        None => terminal.message(text),
    }
}
