//! What of a checkpoint or savepoint a job can start from: a pure core. State is matched by the uids of
//! operators, which say what an operator does; so a job may be edited as long as an operator's meaning
//! stays.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::checkpoint::{CheckpointMetadata, InFlightInput, OperatorState};
use tidemill_common::control::{OperatorFate, RestoredOperator};
use tidemill_common::ids::StateId;
use tidemill_common::plan::{OperatorKind, PlanEdge, PlanOperator, StateDescriptor, StreamPlan};

/// Why a job cannot start from a checkpoint. Says nothing of where it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "it is of job '{job}', and no operator of this job is in it. Start from a savepoint of this job, or without one"
    )]
    OtherJob { job: String },
    #[error(
        "it holds state of operators that this job does not have: {operators}. Undo the change, or give that state up with --allow-non-restored-state (execution.state-recovery.ignore-unclaimed-state)"
    )]
    Dropped { operators: String },
    #[error(
        "operator {operator} runs with parallelism {parallelism}, and the state has {max} key groups (pipeline.max-parallelism), which it keeps for good. Use a parallelism of at most {max}"
    )]
    Parallelism { operator: String, parallelism: u32, max: u32 },
    #[error(
        "it has {found} key groups, and 'pipeline.max-parallelism' is {wanted}. State keeps its number of key groups for good: take the option away"
    )]
    MaxParallelism { found: u32, wanted: u32 },
    #[error(
        "rows are in flight to operator {operator} ({rows} of one subtask) that come another way in this plan, as an aggregation before the exchange comes and goes with the parallelism. Set 'table.optimizer.agg-phase-strategy' to 'TWO_PHASE' if the parallelism is 1 now, keep the plan, or start from a savepoint, which has no rows in flight"
    )]
    InFlight { operator: String, rows: u64 },
    #[error(
        "state '{state}' of operator {operator} has another layout: {what}. Undo the change, or let the operator begin anew under another uid"
    )]
    Layout { operator: String, state: String, what: &'static str },
}

/// Whether an operator takes part in checkpoints.
pub fn is_stateful(operator: &PlanOperator) -> bool {
    matches!(operator.kind, OperatorKind::Source(_) | OperatorKind::Sink(_)) || !operator.state.is_empty()
}

/// What becomes of each operator when a plan starts from a checkpoint.
///
/// # Errors
/// If it cannot start from it.
pub fn match_operators(
    plan: &StreamPlan,
    metadata: &CheckpointMetadata,
    allow_dropped: bool,
) -> Result<Vec<RestoredOperator>, RestoreError> {
    let known: BTreeMap<&str, &OperatorState> =
        metadata.operators.iter().map(|operator| (operator.uid.as_str(), operator)).collect();
    let mut fates = Vec::new();
    let mut kept = 0;
    for operator in &plan.operators {
        if let Some(old) = known.get(operator.uid.as_str()) {
            check_in_flight(plan, operator, old)?;
        }
        if !is_stateful(operator) {
            continue;
        }
        let (fate, reason) = match known.get(operator.uid.as_str()) {
            Some(old) => {
                check_layout(operator, old)?;
                kept += 1;
                (OperatorFate::Kept, rescaled(old.parallelism, operator.parallelism))
            }
            None => (OperatorFate::New, "the checkpoint has no operator with this uid".to_owned()),
        };
        fates.push(RestoredOperator { uid: operator.uid.clone(), name: operator.name.clone(), fate, reason });
    }
    let here: BTreeSet<&str> = plan.operators.iter().map(|operator| operator.uid.as_str()).collect();
    let mut lost = Vec::new();
    for old in metadata.operators.iter().filter(|old| !here.contains(old.uid.as_str())) {
        let held = what_it_holds(old);
        if held.is_some() {
            lost.push(format!("{} ({})", old.name, old.uid));
        }
        fates.push(RestoredOperator {
            uid: old.uid.clone(),
            name: old.name.clone(),
            fate: OperatorFate::Dropped,
            reason: match held {
                Some(held) => format!("the job has no operator with this uid; given up: {held}"),
                None => "the job has no operator with this uid; it held nothing".to_owned(),
            },
        });
    }
    if !lost.is_empty() && !allow_dropped {
        return Err(if kept == 0 {
            RestoreError::OtherJob { job: metadata.job_name.clone() }
        } else {
            RestoreError::Dropped { operators: lost.join(", ") }
        });
    }
    Ok(fates)
}

fn rescaled(old: u32, new: u32) -> String {
    if old == new {
        "it does the same".to_owned()
    } else {
        format!("it does the same, at parallelism {new} and not {old}")
    }
}

fn what_it_holds(old: &OperatorState) -> Option<String> {
    let snapshots = || old.subtasks.iter().map(|(_, snapshot)| snapshot);
    let bytes: u64 = snapshots().map(tidemill_common::checkpoint::OperatorSnapshot::bytes).sum();
    let splits: usize = snapshots().map(|snapshot| snapshot.splits.len()).sum();
    let epochs: usize = snapshots().map(|snapshot| snapshot.staged.len()).sum();
    let mut parts = Vec::new();
    if old.coordinator.is_some() || splits > 0 {
        parts.push(format!("the positions of {splits} splits"));
    }
    if epochs > 0 {
        parts.push(format!("rows of {epochs} epochs that may not be published yet"));
    }
    let rows: u64 = snapshots().filter_map(|snapshot| snapshot.in_flight.as_ref()).map(|rows| rows.rows).sum();
    if rows > 0 {
        parts.push(format!("{rows} rows that a barrier has overtaken"));
    }
    if parts.is_empty() && bytes > 0 {
        parts.push(format!("{bytes} bytes of state"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Rows in flight are taken as they were sent, so that they must have come the same way.
fn check_in_flight(plan: &StreamPlan, operator: &PlanOperator, old: &OperatorState) -> Result<(), RestoreError> {
    for in_flight in old.subtasks.iter().filter_map(|(_, snapshot)| snapshot.in_flight.as_ref()) {
        let same = |(input, edge): (&InFlightInput, &PlanEdge)| {
            let from = plan.operator(edge.from);
            from.uid == input.from && from.schema == input.schema
        };
        let inputs = &in_flight.inputs;
        if inputs.len() != operator.inputs.len() || !inputs.iter().zip(&operator.inputs).all(same) {
            return Err(RestoreError::InFlight { operator: operator.name.clone(), rows: in_flight.rows });
        }
    }
    Ok(())
}

/// State is read as it was written, so that its shape must be the same.
fn check_layout(operator: &PlanOperator, old: &OperatorState) -> Result<(), RestoreError> {
    for state in &operator.state {
        let Some(before) = old.descriptors.iter().find(|before| before.name == state.name) else { continue };
        let what = if before.kind != state.kind {
            Some("it is of another kind")
        } else if before.key != state.key {
            Some("its key has other types")
        } else if before.namespace != state.namespace {
            Some("its windows are of another kind")
        } else if before.value != state.value {
            Some("its values have other types")
        } else if before.version > state.version {
            Some("a newer version of tidemill has written it")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(RestoreError::Layout { operator: operator.name.clone(), state: state.name.clone(), what });
        }
    }
    Ok(())
}

/// A plan takes over the number of key groups of the state it starts from.
///
/// # Errors
/// If it cannot: the script wants another, or a parallelism is above it.
pub fn adopt_max_parallelism(plan: &mut StreamPlan, metadata: &CheckpointMetadata) -> Result<(), RestoreError> {
    let found = metadata.max_parallelism;
    let wanted = plan.options.get("pipeline.max-parallelism").and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(wanted) = wanted.filter(|wanted| *wanted != 0 && *wanted != found) {
        return Err(RestoreError::MaxParallelism { found, wanted });
    }
    if let Some(operator) = plan.operators.iter().find(|operator| operator.parallelism > found) {
        return Err(RestoreError::Parallelism {
            operator: operator.name.clone(),
            parallelism: operator.parallelism,
            max: found,
        });
    }
    plan.max_parallelism = found;
    Ok(())
}

/// Gives every state of a plan its id: the one it has in the checkpoint, else one that was never used.
/// Gives the first id that is free then.
pub fn allocate_state_ids(plan: &mut StreamPlan, restored: Option<&CheckpointMetadata>) -> u32 {
    let mut known: BTreeMap<(&str, &str), StateId> = BTreeMap::new();
    let mut next = 1;
    if let Some(metadata) = restored {
        next = next.max(metadata.next_state_id);
        for operator in &metadata.operators {
            for StateDescriptor { id, name, .. } in &operator.descriptors {
                if let Some(id) = id {
                    known.insert((&operator.uid, name), *id);
                    next = next.max(id.0 + 1);
                }
            }
        }
    }
    for operator in &mut plan.operators {
        for state in &mut operator.state {
            let id = known.get(&(operator.uid.as_str(), state.name.as_str())).copied();
            state.id = Some(id.unwrap_or_else(|| {
                next += 1;
                StateId(next - 1)
            }));
        }
    }
    next
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
