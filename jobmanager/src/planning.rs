//! The planner, as the job manager calls it.

use std::collections::BTreeMap;

use tidemill_common::plan::StreamPlan;
use tidemill_connectors::registry::Registry;
use tidemill_planner::session::{JobKind, PlannedStatement, Planner};

use crate::job::PreparedJob;
use crate::submit::{Prepared, Statement};

/// Plans a script. The error is rendered for people.
pub fn plan(text: &str, file: &str, options: BTreeMap<String, String>) -> Result<Prepared, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let planned = Planner::new(&Registry, options, &environment).plan_script(text, file)?;
    let statements = planned
        .statements
        .into_iter()
        .map(|statement| match statement {
            PlannedStatement::Explain(text) => Statement::Explain(text),
            PlannedStatement::Job { plan, kind } => {
                let columns = match kind {
                    JobKind::Insert => None,
                    JobKind::Select { schema } => Some(schema.fields.into_iter().map(|field| field.name).collect()),
                };
                Statement::Job(Box::new(PreparedJob { plan: *plan, columns, checkpoints: None }))
            }
        })
        .collect();
    Ok(Prepared { statements, warnings: planned.warnings })
}

/// The plan as text.
pub fn explain(plan: &StreamPlan) -> String {
    tidemill_planner::explain::explain(plan)
}
