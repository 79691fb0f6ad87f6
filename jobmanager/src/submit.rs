//! From a script to jobs that can start: plan, then ask the outside systems that the tables name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemill_common::config::check_job_option;
use tidemill_common::control::{ExplainedScript, Script};
use tidemill_common::limits::SCRIPT_BYTES_MAX;
use tidemill_common::plan::{OperatorKind, StreamPlan, TableSpec};
use tidemill_connectors::api::{ConnectorContext, ConnectorError};
use tidemill_connectors::lease::Lease;
use tidemill_connectors::registry::connector;

use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::job::PreparedJob;
use crate::planning;

/// How scripts are prepared on this job manager.
#[derive(Clone)]
pub struct Preparation {
    default_parallelism: u32,
    probe_timeout: Duration,
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
        Self { default_parallelism: config.default_parallelism, probe_timeout: config.probe_timeout }
    }

    /// Plans a script and checks that its tables exist outside.
    pub async fn prepare(&self, script: Script) -> Result<Prepared, JobManagerError> {
        let file = script.file.clone();
        let prepared = self.plan(script).await?;
        // What a job reads that waits for others may be there only when they have finished.
        let mut waits = false;
        for statement in &prepared.statements {
            if let Statement::Job(job) = statement {
                let probed = self.probe(&job.plan, !waits).await;
                probed.map_err(|error| JobManagerError::Script(format!("{file}: {error}")))?;
                waits |= job.is_awaited();
            }
        }
        Ok(prepared)
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
        if script.text.len() > SCRIPT_BYTES_MAX {
            let (size, max) = (script.text.len(), SCRIPT_BYTES_MAX);
            return Err(JobManagerError::Script(format!(
                "{}: the script has {size} bytes, {max} are the most that is taken",
                script.file
            )));
        }
        for (key, value) in &script.options {
            check_job_option(key, value).map_err(JobManagerError::Script)?;
        }
        let mut options = BTreeMap::from([("parallelism.default".to_owned(), self.default_parallelism.to_string())]);
        options.extend(script.options.clone());
        tokio::task::spawn_blocking(move || planning::plan(&script.text, &script.file, options))
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
