//! From a script to jobs that can start: plan, then ask the outside systems that the tables name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME};
use tidemill_common::config::{FAILOVER_STRATEGY, Options, check_job_option, is_batch};
use tidemill_common::control::{ExplainedScript, Script, WOULD_BE_REFUSED};
use tidemill_common::limits::SCRIPT_BYTES_MAX;
use tidemill_common::plan::{OperatorKind, StreamPlan, TableSpec};
use tidemill_connectors::api::{ConnectorContext, ConnectorError};
use tidemill_connectors::lease::Lease;
use tidemill_connectors::registry::connector;
use tidemill_state::storage::{Directory, StorageError};

use crate::checkpoint::metadata::files_of_metadata;
use crate::checkpoint::{CheckpointPlan, RestoredFrom, restore, store};
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::job::PreparedJob;
use crate::planning;

/// How scripts are prepared on this job manager.
#[derive(Clone)]
pub struct Preparation {
    default_parallelism: u32,
    probe_timeout: Duration,
    config: Arc<JobManagerConfig>,
}

/// A script whose jobs can start.
pub struct Prepared {
    pub statements: Vec<Statement>,
    pub warnings: Vec<String>,
}

/// One statement that does something.
pub enum Statement {
    Job(Box<PreparedJob>),
    Explain(String),
}

impl Preparation {
    pub fn new(config: &JobManagerConfig) -> Self {
        Self {
            default_parallelism: config.default_parallelism,
            probe_timeout: config.probe_timeout,
            config: Arc::new(config.clone()),
        }
    }

    /// Plans a script and checks that its tables exist outside.
    pub async fn prepare(&self, script: Script) -> Result<Prepared, JobManagerError> {
        let (file, dry_run) = (script.file.clone(), script.dry_run);
        let mut prepared = self.plan(script).await?;
        // What a job reads that waits for others may be there only when they have finished.
        let mut waits = false;
        for statement in &mut prepared.statements {
            if let Statement::Job(job) = statement {
                let probed = self.probe(&job.plan, !waits).await;
                probed.map_err(|error| JobManagerError::Script(format!("{file}: {error}")))?;
                waits |= job.is_awaited();
                let checkpoints = self.checkpoints(&mut job.plan, dry_run).await;
                let (checkpoints, refusal) =
                    checkpoints.map_err(|reason| JobManagerError::Script(format!("{file}: {reason}")))?;
                job.checkpoints = Some(checkpoints);
                prepared.warnings.extend(refusal.map(|reason| format!("{WOULD_BE_REFUSED}: {reason}")));
            }
        }
        Ok(prepared)
    }

    /// The directories of a job's checkpoints, which must be writable.
    async fn checkpoints(
        &self,
        plan: &mut StreamPlan,
        dry_run: bool,
    ) -> Result<(CheckpointPlan, Option<String>), String> {
        const DIRECTORY: &str = "the checkpoints of the job cannot be kept (execution.checkpointing.dir, or state.checkpoints.dir of the job manager)";
        let mut checkpoints = CheckpointPlan::new(&plan.options, &self.config).map_err(|error| error.to_string())?;
        if let Some(directory) = &checkpoints.directory {
            match tokio::time::timeout(self.probe_timeout, store::check_writable(directory)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("{DIRECTORY}: {error}")),
                Err(_) => {
                    let (url, seconds) = (directory.url(), self.probe_timeout.as_secs());
                    return Err(format!(
                        "{DIRECTORY}: '{url}' did not answer within {seconds} s (connector.probe.timeout)"
                    ));
                }
            }
        }
        let mut refusal = None;
        match self.restored(plan, dry_run).await? {
            Some((restored, metadata, reason)) => {
                refusal = reason;
                checkpoints.next_state_id = restore::allocate_state_ids(plan, Some(&metadata));
                checkpoints.restored = Some(restored);
            }
            None => checkpoints.next_state_id = restore::allocate_state_ids(plan, None),
        }
        Ok((checkpoints, refusal))
    }

    /// The checkpoint that a job's options say it starts from, if the job can; in a dry run also if it
    /// cannot, with the reason.
    async fn restored(
        &self,
        plan: &mut StreamPlan,
        dry_run: bool,
    ) -> Result<Option<(RestoredFrom, CheckpointMetadata, Option<String>)>, String> {
        let options = Options(&plan.options);
        let option = |keys: [&str; 2]| keys.into_iter().find_map(|key| options.text(key).map(str::to_owned));
        let Some(path) = option(["execution.state-recovery.path", "execution.savepoint.path"]) else { return Ok(None) };
        if is_batch(&plan.options) {
            return Err(format!(
                "the job runs in batch mode and starts from the beginning, not from '{path}'; leave the savepoint out, or SET 'execution.runtime-mode' = 'streaming'"
            ));
        }
        let allow_dropped =
            ["execution.state-recovery.ignore-unclaimed-state", "execution.savepoint.ignore-unclaimed-state"]
                .into_iter()
                .any(|key| options.boolean(key) == Some(true));
        let directory = Directory::open(&path, &self.config.store).map_err(|error| error.to_string())?;
        let read = async {
            let metadata = store::read_metadata(&directory).await?;
            store::check_files(&metadata, &directory, &self.config.store).await?;
            Ok::<_, StorageError>(metadata)
        };
        let metadata = match tokio::time::timeout(self.probe_timeout, read).await {
            Ok(Ok(metadata)) => metadata,
            Ok(Err(error @ StorageError::NotFound { .. })) => {
                return Err(format!(
                    "the job cannot start from '{path}': {error}. Copy savepoints as a whole, and name the directory that holds {METADATA_NAME}"
                ));
            }
            Ok(Err(error)) => return Err(format!("the job cannot start from '{path}': {error}")),
            Err(_) => {
                let seconds = self.probe_timeout.as_secs();
                return Err(format!("'{path}' was not read within {seconds} s (connector.probe.timeout)"));
            }
        };
        let refused = |error: restore::RestoreError| format!("the job cannot start from '{path}': {error}");
        restore::adopt_max_parallelism(plan, &metadata).map_err(refused)?;
        let (operators, refusal) = match restore::match_operators(plan, &metadata, allow_dropped).map_err(refused) {
            Ok(operators) => (operators, None),
            // What becomes of each is what was asked.
            Err(reason) if dry_run => (restore::match_operators(plan, &metadata, true).map_err(refused)?, Some(reason)),
            Err(reason) => return Err(reason),
        };
        let files = files_of_metadata(&metadata).map(str::to_owned).collect();
        Ok(Some((RestoredFrom { location: directory.url(), files, operators }, metadata, refusal)))
    }

    /// The plans of a script as text. No table is looked at.
    pub async fn explain(&self, script: Script) -> Result<ExplainedScript, JobManagerError> {
        let Prepared { statements, warnings } = self.plan(script).await?;
        let plans = statements
            .into_iter()
            .map(|statement| match statement {
                Statement::Explain(text) => text,
                Statement::Job(job) => planning::explain(&job.plan),
            })
            .collect();
        Ok(ExplainedScript { plans, warnings })
    }

    async fn plan(&self, script: Script) -> Result<Prepared, JobManagerError> {
        if script.text.len() + script.session.len() > SCRIPT_BYTES_MAX {
            let (size, max) = (script.text.len() + script.session.len(), SCRIPT_BYTES_MAX);
            return Err(JobManagerError::Script(format!(
                "{}: the script has {size} bytes, {max} are the most that is taken",
                script.file
            )));
        }
        for (key, value) in &script.options {
            check_job_option(key, value).map_err(JobManagerError::Script)?;
        }
        let mut options = BTreeMap::from([("parallelism.default".to_owned(), self.default_parallelism.to_string())]);
        if self.config.failover_full {
            options.insert(FAILOVER_STRATEGY.to_owned(), "full".to_owned());
        }
        options.extend(script.options.clone());
        tokio::task::spawn_blocking(move || planning::plan(&script, options))
            .await
            .map_err(|error| JobManagerError::Internal(error.to_string()))?
            .map_err(JobManagerError::Script)
    }

    /// Asks the outside system of each table once; of those that are read only with `sources`.
    async fn probe(&self, plan: &StreamPlan, sources: bool) -> Result<(), ConnectorError> {
        let mut seen = BTreeSet::new();
        for operator in &plan.operators {
            let (table, source) = match &operator.kind {
                OperatorKind::Source(source) if sources => (&source.table, true),
                OperatorKind::Sink(sink) => (&sink.table, false),
                _ => continue,
            };
            if seen.insert((table.name.clone(), source)) {
                self.probe_table(table.clone(), source).await?;
            }
        }
        Ok(())
    }

    async fn probe_table(&self, table: TableSpec, source: bool) -> Result<(), ConnectorError> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let context = ConnectorContext {
            io: tokio::runtime::Handle::current(),
            cancelled: cancelled.clone(),
            lease: Lease::unlimited(),
            stores: self.config.store.clone(),
        };
        let name = table.name.clone();
        let connector_name = table.connector.clone();
        let Some(found) = connector(&table.connector) else { return Ok(()) };
        let work = tokio::task::spawn_blocking(move || {
            if source { found.probe_source(&table, &context) } else { found.probe_sink(&table, &context) }
        });
        match tokio::time::timeout(self.probe_timeout, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                Err(ConnectorError::Internal { connector: found.info().identifier, reason: error.to_string() })
            }
            Err(_) => {
                // The probe looks at this flag and ends soon.
                cancelled.store(true, Ordering::Relaxed);
                Err(ConnectorError::Timeout {
                    table: name,
                    what: format!("the system behind connector '{connector_name}' (connector.probe.timeout)"),
                    seconds: self.probe_timeout.as_secs(),
                })
            }
        }
    }
}
