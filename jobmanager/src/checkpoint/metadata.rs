//! From the parts that subtasks report to the metadata of a checkpoint.

use std::collections::BTreeMap;

use tidemill_common::checkpoint::{
    CheckpointMetadata, METADATA_VERSION, OperatorSnapshot, OperatorState, StateFile, SubtaskSnapshot,
};
use tidemill_common::ids::{JobId, OperatorId};
use tidemill_common::plan::StreamPlan;

use super::coordinator::Collected;
use super::restore::is_stateful;

/// The metadata of a checkpoint of this plan.
pub fn assemble(job: &JobId, plan: &StreamPlan, next_state_id: u32, collected: Collected) -> CheckpointMetadata {
    let mut enumerators: BTreeMap<OperatorId, serde_json::Value> = collected.enumerators.into_iter().collect();
    let mut states: BTreeMap<OperatorId, Vec<_>> = BTreeMap::new();
    for (subtask, snapshot) in collected.subtasks {
        for (operator, state) in snapshot.operators {
            states.entry(operator).or_default().push((subtask.index, state));
        }
    }
    let operators = plan.operators.iter().filter_map(|operator| {
        let coordinator = enumerators.remove(&operator.id);
        let subtasks = states.remove(&operator.id).unwrap_or_default();
        let stateful = coordinator.is_some() || !subtasks.is_empty() || is_stateful(operator);
        stateful.then(|| OperatorState {
            uid: operator.uid.clone(),
            name: operator.name.clone(),
            parallelism: operator.parallelism,
            descriptors: operator.state.clone(),
            coordinator,
            subtasks,
        })
    });
    CheckpointMetadata {
        version: METADATA_VERSION,
        kind: collected.kind,
        job: job.clone(),
        job_name: plan.name.clone(),
        checkpoint: collected.checkpoint,
        timestamp_ms: collected.timestamp_ms,
        max_parallelism: plan.max_parallelism,
        next_state_id,
        operators: operators.collect(),
    }
}

/// URLs of the files that a subtask names. What is inline, and what lies in a savepoint's own directory,
/// is no file of its own.
pub fn files_of(snapshot: &SubtaskSnapshot) -> impl Iterator<Item = &str> {
    snapshot.operators.iter().flat_map(|(_, state)| files_of_operator(state))
}

/// URLs of all files that a checkpoint names.
pub fn files_of_metadata(metadata: &CheckpointMetadata) -> impl Iterator<Item = &str> {
    metadata.operators.iter().flat_map(|operator| &operator.subtasks).flat_map(|(_, state)| files_of_operator(state))
}

/// Where all files of a checkpoint are: URLs, and in savepoints paths in its directory.
pub fn locations_of(metadata: &CheckpointMetadata) -> impl Iterator<Item = &str> {
    let subtasks = metadata.operators.iter().flat_map(|operator| &operator.subtasks);
    subtasks.flat_map(|(_, state)| locations_of_operator(state))
}

fn files_of_operator(state: &OperatorSnapshot) -> impl Iterator<Item = &str> {
    locations_of_operator(state).filter(|location| location.contains("://"))
}

fn locations_of_operator(state: &OperatorSnapshot) -> impl Iterator<Item = &str> {
    let staged = state.staged.iter().flat_map(|epoch| &epoch.files);
    let in_flight = state.in_flight.iter().map(|in_flight| &in_flight.file);
    let files = state.files.iter().chain(staged).chain(in_flight).filter(|file| file.inline.is_none());
    files.map(|file: &StateFile| file.location.as_str())
}
