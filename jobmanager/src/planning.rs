//! The planner, as the job manager calls it.

use std::collections::BTreeMap;

use tidemill_common::control::Script;
use tidemill_common::plan::StreamPlan;
use tidemill_connectors::registry::Registry;
use tidemill_planner::session::{JobKind, PlannedStatement, Planner};

use crate::job::PreparedJob;
use crate::submit::{Prepared, Statement};

/// Plans a script with these options. The error is rendered for people.
pub fn plan(script: &Script, options: BTreeMap<String, String>) -> Result<Prepared, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let planner = Planner::new(&Registry, options, &environment).with_cells(script.cells);
    let planned = planner.plan_script_in(&script.session, &script.text, &script.file)?;
    let statements = planned
        .statements
        .into_iter()
        .map(|statement| match statement {
            PlannedStatement::Text(text) => Statement::Explain(text),
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
