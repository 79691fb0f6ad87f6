//! What clients ask.

mod wire;

use tidemill_common::control::{ExplainedScript, Script, SubmittedJob, SubmittedScript, SubmittedStatement};

use crate::command::{ClientCommand, MasterHandle};
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::submit::{Preparation, Prepared, Statement};

pub use wire::server;

/// Plans scripts, and asks the master for all else.
#[derive(Clone)]
pub struct Jobs {
    pub(crate) master: MasterHandle,
    preparation: Preparation,
}

impl Jobs {
    pub fn new(master: MasterHandle, config: &JobManagerConfig) -> Self {
        Self { master, preparation: Preparation::new(config) }
    }

    /// Plans a script and starts its jobs.
    pub(crate) async fn submit(&self, script: Script) -> Result<SubmittedScript, JobManagerError> {
        let dry_run = script.dry_run;
        let prepared = self.preparation.prepare(script).await?;
        self.start(prepared, dry_run).await
    }

    /// Plans a script, and starts its one SELECT.
    ///
    /// # Errors
    /// If it has other jobs too.
    pub(crate) async fn preview(&self, script: Script) -> Result<SubmittedJob, JobManagerError> {
        let file = script.file.clone();
        let prepared = self.preparation.prepare(script).await?;
        let mut jobs = prepared.statements.iter().filter_map(|statement| match statement {
            Statement::Job(job) => Some(job),
            Statement::Explain(_) => None,
        });
        match (jobs.next(), jobs.next()) {
            (Some(job), None) if job.columns.is_some() => {}
            _ => {
                return Err(JobManagerError::Script(format!(
                    "{file}: a preview shows the rows of one SELECT, with the statements that define its tables before it; submit the script to run INSERT"
                )));
            }
        }
        let submitted = self.start(prepared, false).await?;
        let job = submitted.statements.into_iter().find_map(|statement| match statement {
            SubmittedStatement::Job(job) => Some(job),
            SubmittedStatement::Explain(_) => None,
        });
        job.ok_or_else(|| JobManagerError::Internal("no job was started".to_owned()))
    }

    async fn start(&self, prepared: Prepared, dry_run: bool) -> Result<SubmittedScript, JobManagerError> {
        let mut jobs = Vec::new();
        let mut statements: Vec<SubmittedStatement> = Vec::new();
        for statement in prepared.statements {
            match statement {
                Statement::Explain(text) => statements.push(SubmittedStatement::Explain(text)),
                Statement::Job(job) => {
                    // The id is not known yet.
                    let (name, columns) = (job.plan.name.clone(), job.columns.clone());
                    let restored = job.checkpoints.as_ref().and_then(|checkpoints| checkpoints.restored.as_ref());
                    let restored = restored.map(|restored| restored.operators.clone()).unwrap_or_default();
                    statements.push(SubmittedStatement::Job(SubmittedJob { job: "".into(), name, columns, restored }));
                    jobs.push(*job);
                }
            }
        }
        if dry_run {
            return Ok(SubmittedScript { statements, warnings: prepared.warnings });
        }
        let ids = self.master.ask(|reply| ClientCommand::Submit { jobs, reply }).await??;
        let submitted = statements.iter_mut().filter_map(|statement| match statement {
            SubmittedStatement::Job(job) => Some(job),
            SubmittedStatement::Explain(_) => None,
        });
        for (job, id) in submitted.zip(ids) {
            job.job = id;
        }
        Ok(SubmittedScript { statements, warnings: prepared.warnings })
    }

    pub(crate) async fn explain(&self, script: Script) -> Result<ExplainedScript, JobManagerError> {
        self.preparation.explain(script).await
    }
}
