//! `tidemill apply`: sees to it that a job runs as it is declared. Safe to run again at any time: after a
//! crash in its midst it goes on where it was.

mod decide;
mod record;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tidemill_common::checkpoint::CheckpointKind;
use tidemill_common::config::parse_duration;
use tidemill_common::control::{
    CheckpointState, JobDetail, JobState, JobSummary, Script, SubmittedJob, SubmittedScript, SubmittedStatement,
    WOULD_BE_REFUSED,
};
use tidemill_common::process_options::ProcessConfig;
use tidemill_state::storage::Directory;
use tokio::time::{Instant, timeout_at};

use crate::args::{ApplyArgs, Output};
use crate::client::{self, Client};
use crate::error::CliError;
use crate::jobs::print_json;
use crate::script::{absolute, read};
use crate::terminal::Terminal;
use crate::{config, logging};

use decide::{Declared, Found, Last, Step, Wanted, decide};
use record::{Record, VERSION};

/// Pause between two looks at what is awaited.
const PAUSE: Duration = Duration::from_millis(500);
const START_OPTION: &str = "execution.state-recovery.path";

/// What was done, for programs.
#[derive(Serialize)]
struct Applied<'a> {
    name: &'a str,
    action: &'static str,
    job_id: Option<String>,
    /// What the job was started from, or was stopped with.
    savepoint: Option<String>,
}

/// Applies a declaration.
pub async fn apply(args: ApplyArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "warn", &terminal);
    check_name(&args.name)?;
    let wait = parse_duration(&args.wait).map_err(|reason| refused(format!("--wait: {reason}")))?;
    let until = Instant::now() + wait;
    let savepoints = config.text("state.savepoints.dir").ok_or_else(|| {
        refused("a declared job needs a directory for its savepoints; name it with --state-savepoints-dir")
    })?;
    let savepoints = Directory::open(&absolute(savepoints)?, &config.store_options())?;
    let mut script = read(&args.script)?;
    script.options.insert("pipeline.name".to_owned(), args.name.clone());
    if args.allow_non_restored_state {
        script.options.insert("execution.state-recovery.ignore-unclaimed-state".to_owned(), "true".to_owned());
    }
    let wanted = Wanted {
        digest: digest(&script),
        running: !args.stopped,
        from_savepoint: args.from_savepoint.as_deref().map(absolute).transpose()?,
        fresh: args.fresh,
    };
    let record = Record::new(&savepoints, &args.name);
    let client = connect(&config, until).await?;
    let mut applier = Applier { client, record, name: &args.name, script, until, terminal: &terminal };
    let applied = applier.run(&wanted).await?;
    if args.output == Output::Json {
        return print_json(&applied);
    }
    let job = applied.job_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    let savepoint = applied.savepoint.as_ref().map(|url| format!(", savepoint {url}")).unwrap_or_default();
    println!("job {}{job} {}{savepoint}", applied.name, applied.action);
    Ok(ExitCode::SUCCESS)
}

fn refused(reason: impl Into<String>) -> CliError {
    CliError::Refused(reason.into())
}

/// The name is that of a directory too.
fn check_name(name: &str) -> Result<(), CliError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(allowed) {
        return Err(refused(format!(
            "--name: '{name}' is not the name of a declared job; write up to 100 letters, digits, '-', '_' and '.', the first of them no '.'"
        )));
    }
    Ok(())
}

/// What a script and its options are compared by.
fn digest(script: &Script) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(&script.text);
    for (key, value) in &script.options {
        add(key);
        add(value);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Connects, as soon as a job manager answers.
async fn connect(config: &ProcessConfig, until: Instant) -> Result<Client, CliError> {
    loop {
        match client::connect(config).await {
            Ok(client) => return Ok(client),
            Err(error @ CliError::Connect { .. }) if Instant::now() + PAUSE >= until => return Err(error),
            Err(CliError::Connect { .. }) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

struct Applier<'a> {
    client: Client,
    record: Record,
    name: &'a str,
    script: Script,
    /// When waiting ends.
    until: Instant,
    terminal: &'a Terminal,
}

impl<'a> Applier<'a> {
    async fn run(&mut self, wanted: &Wanted) -> Result<Applied<'a>, CliError> {
        let found = self.look().await?;
        let declared = found.declared.clone();
        let (action, job_id, savepoint) = match decide(wanted, &found) {
            Step::Refuse { reason } => return Err(refused(format!("{}: {reason}", self.name))),
            Step::Nothing => match (&found.active, wanted.running) {
                (Some(job), _) => {
                    self.await_running(job).await?;
                    ("is unchanged", found.active, None)
                }
                (None, true) => ("has finished", declared.map(|declared| declared.job), None),
                (None, false) => ("is not running", None, declared.and_then(|declared| declared.stopped)),
            },
            Step::Start { from } => {
                self.check(from.as_deref()).await?;
                let job = self.start(from.clone(), wanted).await?;
                ("was started", Some(job), from)
            }
            Step::Upgrade { job } => {
                self.await_running(&job).await?;
                let state = self.state_of(&job).await?;
                self.check(Some(&state)).await?;
                let savepoint = self.stop(&job, declared).await?;
                let new = self.start(Some(savepoint.clone()), wanted).await.map_err(|error| {
                    refused(format!(
                        "{}: the old job has stopped with the savepoint {savepoint}, and the new one does not start; apply it again to go on from there: {error}",
                        self.name
                    ))
                })?;
                ("was upgraded", Some(new), Some(savepoint))
            }
            Step::Stop { job } => {
                self.await_running(&job).await?;
                let savepoint = self.stop(&job, declared).await?;
                ("was stopped", Some(job), Some(savepoint))
            }
            Step::NoteStopped { savepoint } => {
                if let Some(declared) = declared {
                    self.record.write(&Declared { stopped: Some(savepoint.clone()), ..declared }).await?;
                }
                ("has stopped", None, Some(savepoint))
            }
        };
        Ok(Applied { name: self.name, action, job_id, savepoint })
    }

    /// What there is.
    async fn look(&mut self) -> Result<Found, CliError> {
        let declared = self.record.read().await?;
        let jobs = self.client.list().await?;
        let mut running = jobs.iter().filter(|job| job.name == self.name && !job.state.is_terminal());
        let active = running.next().map(|job| job.job_id.0.clone());
        if let (Some(one), Some(other)) = (&active, running.next()) {
            let (name, other) = (self.name, &other.job_id);
            return Err(refused(format!(
                "{name}: two jobs of this name run, {one} and {other}; it is not known which one is meant. Cancel one, or give it another name"
            )));
        }
        let known: Option<&JobSummary> =
            declared.as_ref().and_then(|declared| jobs.iter().find(|job| job.job_id.0 == declared.job));
        let last = match known.map(|job| job.state) {
            None => Last::Unknown,
            Some(JobState::Finished) => Last::Finished,
            Some(state) => Last::Broken(state.to_string()),
        };
        let stopped_with = match (&declared, &active) {
            (Some(declared), None) if declared.stopped.is_none() => {
                let told = if known.is_some() { self.stopped_with(&declared.job).await? } else { None };
                match told {
                    Some(savepoint) => Some(savepoint),
                    None if last == Last::Unknown => self.record.savepoint_of(&declared.job).await?,
                    None => None,
                }
            }
            _ => None,
        };
        Ok(Found { declared, active, last, stopped_with })
    }

    /// The savepoint that a job has ended with, as the job manager tells.
    async fn stopped_with(&mut self, job: &str) -> Result<Option<String>, CliError> {
        let history = self.client.checkpoints(job).await?;
        let mut stops = history.checkpoints.into_iter().filter(|stats| stats.stop);
        Ok(stops.find(|stats| stats.state == CheckpointState::Completed).and_then(|stats| stats.location))
    }

    /// Waits until a job runs.
    async fn await_running(&mut self, job: &str) -> Result<(), CliError> {
        let mut last = self.client.describe(job).await?;
        let mut updates = self.client.watch(job).await?;
        while last.summary.state != JobState::Running && !last.summary.state.is_terminal() {
            match timeout_at(self.until, updates.next()).await {
                Ok(Ok(Some(update))) => last = update,
                Ok(Ok(None)) => last = self.client.describe(job).await?,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.not_running(&last, "still")),
            }
        }
        match last.summary.state {
            JobState::Running | JobState::Finished => Ok(()),
            _ => Err(self.not_running(&last, "now")),
        }
    }

    fn not_running(&self, job: &JobDetail, when: &str) -> CliError {
        let (id, state) = (&job.summary.job_id, job.summary.state);
        let cause = job.exceptions.last().map(|last| format!(": {}", last.cause)).unwrap_or_default();
        refused(format!("{}: job {id} is {when} {state}{cause}", self.name))
    }

    /// What the new script can be tried against: the newest checkpoint of a job, or a savepoint.
    async fn state_of(&mut self, job: &str) -> Result<String, CliError> {
        let history = self.client.checkpoints(job).await?;
        let complete = |stats: &tidemill_common::control::CheckpointStats| {
            (stats.state == CheckpointState::Completed).then(|| stats.location.clone()).flatten()
        };
        match history.checkpoints.iter().filter(|stats| stats.kind == CheckpointKind::Checkpoint).find_map(complete) {
            Some(location) => Ok(location),
            None => self.client.savepoint(job, Some(format!("{}/trials", self.record.url()))).await,
        }
    }

    /// Plans the script and tries it against state, so that what would be refused stops nothing.
    async fn check(&mut self, state: Option<&str>) -> Result<(), CliError> {
        let planned = self.client.submit(Script { dry_run: true, ..self.with_state(state) }).await?;
        if let Some(warning) = planned.warnings.iter().find(|warning| warning.starts_with(WOULD_BE_REFUSED)) {
            return Err(refused(format!("{}: {warning}", self.name)));
        }
        let job = the_job(&planned).map_err(|reason| refused(format!("{}: {reason}", self.name)))?;
        if job.name != self.name {
            return Err(refused(format!(
                "{}: the script names its job '{}' (SET 'pipeline.name'); leave that out, or declare it by that name",
                self.name, job.name
            )));
        }
        for warning in &planned.warnings {
            self.terminal.message(&format!("warning: {warning}"));
        }
        Ok(())
    }

    fn with_state(&self, state: Option<&str>) -> Script {
        let mut script = self.script.clone();
        script.options.extend(state.map(|path| (START_OPTION.to_owned(), path.to_owned())));
        script
    }

    /// Stops a job with a savepoint, and notes that down.
    async fn stop(&mut self, job: &str, declared: Option<Declared>) -> Result<String, CliError> {
        let (_, savepoint) = self.client.stop_with_savepoint(job, Some(self.record.url()), false).await?;
        // What its sinks held back is published when it has ended.
        let mut updates = self.client.watch(job).await?;
        let ended = async {
            while updates.next().await?.is_some_and(|job| !job.summary.state.is_terminal()) {}
            Ok(())
        };
        timeout_at(self.until, ended).await.unwrap_or_else(|_| {
            Err(refused(format!("{}: job {job} has its savepoint {savepoint}, but has not ended yet", self.name)))
        })?;
        let noted = Declared {
            version: VERSION,
            name: self.name.to_owned(),
            // Of a job that was not declared nothing is known.
            digest: declared.map(|declared| declared.digest).unwrap_or_default(),
            job: job.to_owned(),
            start: None,
            stopped: Some(savepoint.clone()),
        };
        self.record.write(&noted).await?;
        Ok(savepoint)
    }

    /// Starts the job, notes that down, and waits until it runs.
    async fn start(&mut self, from: Option<String>, wanted: &Wanted) -> Result<String, CliError> {
        let submitted = self.client.submit(self.with_state(from.as_deref())).await?;
        let job = the_job(&submitted).map_err(refused)?.job.0.clone();
        let declared = Declared {
            version: VERSION,
            name: self.name.to_owned(),
            digest: wanted.digest.clone(),
            job: job.clone(),
            start: from,
            stopped: None,
        };
        self.record.write(&declared).await?;
        self.await_running(&job).await?;
        Ok(job)
    }
}

/// The one job of a script.
fn the_job(script: &SubmittedScript) -> Result<&SubmittedJob, String> {
    let mut jobs = script.statements.iter().filter_map(|statement| match statement {
        SubmittedStatement::Job(job) => Some(job),
        SubmittedStatement::Explain(_) => None,
    });
    match (jobs.next(), jobs.next()) {
        (Some(job), None) if job.columns.is_none() => Ok(job),
        (Some(_), None) => Err("the script is a SELECT, whose rows nobody would fetch; declare an INSERT".to_owned()),
        (None, _) => Err("the script starts no job; it needs an INSERT or an EXECUTE STATEMENT SET".to_owned()),
        (Some(_), Some(_)) => Err(
            "the script starts several jobs; put its INSERTs into one EXECUTE STATEMENT SET, or declare each by itself"
                .to_owned(),
        ),
    }
}
