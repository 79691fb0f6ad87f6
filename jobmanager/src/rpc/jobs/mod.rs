//! What clients ask.

mod wire;

use tidemill_common::control::{ExplainedScript, Script, SubmittedJob, SubmittedScript, SubmittedStatement};

use crate::command::{ClientCommand, MasterHandle};
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::submit::{Preparation, Statement};

pub use wire::server;

/// Plans scripts, and asks the master for all else.
#[derive(Clone)]
pub struct Jobs {
    master: MasterHandle,
    preparation: Preparation,
}

impl Jobs {
    pub fn new(master: MasterHandle, config: &JobManagerConfig) -> Self {
        Self { master, preparation: Preparation::new(config) }
    }

    async fn submit(&self, script: Script) -> Result<SubmittedScript, JobManagerError> {
        let dry_run = script.dry_run;
        let prepared = self.preparation.prepare(script).await?;
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

    async fn explain(&self, script: Script) -> Result<ExplainedScript, JobManagerError> {
        self.preparation.explain(script).await
    }
}
