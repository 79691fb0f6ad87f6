use tidemill_common::checkpoint::{
    Blob, ChannelStanding, CheckpointKind, InFlight, InFlightChannel, METADATA_VERSION, OperatorSnapshot, StateFile,
};
use tidemill_common::ids::{CheckpointId, JobId, OperatorId, SubtaskIndex};
use tidemill_common::plan::{ChangelogMode, PLAN_VERSION, StateKind};
use tidemill_common::types::{Field, LogicalType, Schema};

use super::*;

fn state(name: &str, value: LogicalType) -> StateDescriptor {
    StateDescriptor {
        id: None,
        name: name.to_owned(),
        kind: StateKind::Map,
        key: vec![LogicalType::BigInt.not_null()],
        namespace: None,
        value: Schema::new(vec![Field::new("v", value.not_null())]),
        ttl_ms: None,
        version: 1,
    }
}

fn operator(id: u32, uid: &str, state: Vec<StateDescriptor>) -> PlanOperator {
    PlanOperator {
        id: OperatorId(id),
        uid: uid.to_owned(),
        name: format!("Op({uid})"),
        kind: OperatorKind::Union,
        inputs: Vec::new(),
        schema: Schema::new(Vec::new()),
        parallelism: 2,
        changelog: ChangelogMode::InsertOnly,
        upsert_key: None,
        state,
    }
}

fn plan(operators: Vec<PlanOperator>) -> StreamPlan {
    StreamPlan {
        version: PLAN_VERSION,
        name: "new".to_owned(),
        operators,
        options: BTreeMap::new(),
        max_parallelism: 128,
    }
}

fn held(uid: &str, descriptors: Vec<StateDescriptor>, bytes: usize) -> OperatorState {
    let values = BTreeMap::from([("v".to_owned(), Blob(vec![0; bytes]))]);
    let snapshot = OperatorSnapshot { values, ..OperatorSnapshot::default() };
    OperatorState {
        uid: uid.to_owned(),
        name: format!("Op({uid})"),
        parallelism: 1,
        descriptors,
        coordinator: None,
        subtasks: if bytes > 0 { vec![(SubtaskIndex(0), snapshot)] } else { Vec::new() },
    }
}

fn metadata(operators: Vec<OperatorState>) -> CheckpointMetadata {
    CheckpointMetadata {
        version: METADATA_VERSION,
        kind: CheckpointKind::Savepoint,
        job: JobId::from("j"),
        job_name: "old".to_owned(),
        checkpoint: CheckpointId(3),
        timestamp_ms: 0,
        max_parallelism: 64,
        next_state_id: 9,
        operators,
    }
}

#[test]
fn operators_are_matched_by_uid() {
    let plan = plan(vec![
        operator(0, "a", vec![state("s", LogicalType::BigInt)]),
        operator(1, "calc", vec![]),
        operator(2, "c", vec![state("s", LogicalType::BigInt)]),
    ]);
    let metadata = metadata(vec![
        held("a", vec![state("s", LogicalType::BigInt)], 8),
        held("b", vec![state("s", LogicalType::BigInt)], 8),
        held("empty", vec![], 0),
    ]);
    let error = match_operators(&plan, &metadata, false).unwrap_err();
    assert_eq!(error, RestoreError::Dropped { operators: "Op(b) (b)".to_owned() });
    let fates = match_operators(&plan, &metadata, true).unwrap();
    let shown: Vec<_> = fates.iter().map(|o| format!("{} {:?}: {}", o.uid, o.fate, o.reason)).collect();
    assert_eq!(
        shown,
        [
            "a Kept: it does the same, at parallelism 2 and not 1",
            "c New: the checkpoint has no operator with this uid",
            "b Dropped: the job has no operator with this uid; given up: 8 bytes of state",
            "empty Dropped: the job has no operator with this uid; it held nothing",
        ]
    );
}

#[test]
fn a_savepoint_of_another_job_is_refused() {
    let plan = plan(vec![operator(0, "a", vec![state("s", LogicalType::BigInt)])]);
    let metadata = metadata(vec![held("b", vec![], 1)]);
    let error = match_operators(&plan, &metadata, false).unwrap_err();
    assert_eq!(error, RestoreError::OtherJob { job: "old".to_owned() });
}

#[test]
fn state_of_another_layout_is_refused() {
    let plan = plan(vec![operator(0, "a", vec![state("s", LogicalType::Double)])]);
    let metadata = metadata(vec![held("a", vec![state("s", LogicalType::BigInt)], 1)]);
    let error = match_operators(&plan, &metadata, true).unwrap_err().to_string();
    assert!(error.contains("'s'") && error.contains("Op(a)") && error.contains("other types"), "{error}");
}

#[test]
fn the_number_of_key_groups_is_that_of_the_state() {
    let mut fine = plan(vec![operator(0, "a", vec![])]);
    adopt_max_parallelism(&mut fine, &metadata(vec![])).unwrap();
    assert_eq!(fine.max_parallelism, 64);
    let mut wanted = plan(vec![]);
    wanted.options.insert("pipeline.max-parallelism".to_owned(), "256".to_owned());
    let error = adopt_max_parallelism(&mut wanted, &metadata(vec![])).unwrap_err();
    assert_eq!(error, RestoreError::MaxParallelism { found: 64, wanted: 256 });
    let mut wide = plan(vec![PlanOperator { parallelism: 65, ..operator(0, "a", vec![]) }]);
    let error = adopt_max_parallelism(&mut wide, &metadata(vec![])).unwrap_err().to_string();
    assert!(error.contains("parallelism 65") && error.contains("at most 64"), "{error}");
}

#[test]
fn state_ids_are_kept_and_never_used_again() {
    let mut plan = plan(vec![
        operator(0, "a", vec![state("s", LogicalType::BigInt), state("t", LogicalType::BigInt)]),
        operator(1, "b", vec![state("s", LogicalType::BigInt)]),
    ]);
    assert_eq!(allocate_state_ids(&mut plan.clone(), None), 4);
    let old = StateDescriptor { id: Some(StateId(5)), ..state("t", LogicalType::BigInt) };
    let next = allocate_state_ids(&mut plan, Some(&metadata(vec![held("a", vec![old], 1)])));
    let ids: Vec<_> = plan.operators.iter().flat_map(|o| &o.state).map(|s| s.id.unwrap().0).collect();
    assert_eq!((ids, next), (vec![9, 5, 10], 11));
}

/// An operator that `rows` are in flight to, from the operator `from`.
fn reached(uid: &str, from: &str, rows: u64) -> OperatorState {
    let file =
        StateFile { location: "f".to_owned(), bytes: 5, checksum: 0, inline: None, key_groups: 0..0, sequence: 1 };
    let inputs = vec![InFlightInput { from: from.to_owned(), schema: Schema::new(Vec::new()) }];
    let channels = vec![InFlightChannel { input: 0, watermark_ms: None, standing: ChannelStanding::Active }];
    let in_flight = Some(InFlight { inputs, channels, watermark_ms: None, rows, file });
    let snapshot = OperatorSnapshot { in_flight, ..OperatorSnapshot::default() };
    OperatorState { subtasks: vec![(SubtaskIndex(0), snapshot)], ..held(uid, Vec::new(), 0) }
}

#[test]
fn rows_in_flight_are_taken_over_only_if_they_come_the_same_way() {
    let edge = |from| PlanEdge { from: OperatorId(from), partitioning: tidemill_common::plan::Partitioning::Rebalance };
    let receiver = PlanOperator { inputs: vec![edge(0)], ..operator(1, "b", Vec::new()) };
    let plan = plan(vec![operator(0, "a", Vec::new()), receiver]);
    let fates = match_operators(&plan, &metadata(vec![held("a", Vec::new(), 1), reached("b", "a", 7)]), false).unwrap();
    assert!(fates.is_empty(), "neither keeps state by itself: {fates:?}");
    let error = match_operators(&plan, &metadata(vec![reached("b", "local", 7)]), true).unwrap_err().to_string();
    assert!(error.contains("Op(b)") && error.contains("TWO_PHASE") && error.contains("savepoint"), "{error}");
    let error = match_operators(&plan, &metadata(vec![reached("gone", "a", 7)]), false).unwrap_err().to_string();
    assert!(error.contains("no operator of this job"), "{error}");
}
