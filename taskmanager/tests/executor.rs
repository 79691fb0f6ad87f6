//! Whole plans on one and on two executors: the same rows come out whatever the parallelism and
//! wherever the subtasks run, and every way to end ends.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Cluster, Job, PlanBuilder, id_and_text};
use tidemill_common::ids::OperatorId;
use tidemill_common::plan::{OperatorKind, Partitioning, StreamPlan};
use tidemill_connectors::lease::Lease;
use tidemill_taskmanager::executor::{Compression, SubtaskState};

const ROWS: u64 = 30_000;

fn hash() -> Partitioning {
    Partitioning::Hash { keys: vec![0] }
}

fn bounded() -> Vec<(&'static str, &'static str)> {
    vec![
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "1"),
        ("fields.id.end", "30000"),
        ("rows-per-second", "100000000"),
        ("fields.text.length", "20"),
        ("fields.text.null-rate", "0.1"),
    ]
}

/// Source, keyed exchange, calc, rebalance, union of both, collect.
fn shuffling(parallelism: [u32; 4]) -> StreamPlan {
    let mut plan = PlanBuilder::new();
    let source = plan.datagen(id_and_text(), &bounded(), parallelism[0]);
    let keyed = plan.identity(source, hash(), parallelism[1]);
    let balanced = plan.identity(source, Partitioning::Rebalance, parallelism[2]);
    let inputs = vec![(keyed, Partitioning::Rebalance), (balanced, hash())];
    let union = plan.add(OperatorKind::Union, inputs, id_and_text(), parallelism[3]);
    plan.sink(union, Partitioning::Global, "collect", 1);
    plan.0
}

fn ids(lines: &[String]) -> Vec<u64> {
    let mut ids: Vec<u64> = lines
        .iter()
        .map(|line| line.trim_start_matches("+I[").split(',').next().unwrap().trim().parse().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn rows_are_the_same_at_every_parallelism_and_place() {
    let expected: Vec<u64> = (1..=ROWS).flat_map(|id| [id, id]).collect();
    for (executors, compression) in [(1, Compression::None), (2, Compression::None), (2, Compression::Lz4)] {
        let mut cluster = Cluster::new(executors, compression);
        for parallelism in [[1, 1, 1, 1], [2, 3, 1, 2], [3, 2, 4, 1], [4, 4, 4, 4]] {
            let outcome = cluster.run(&shuffling(parallelism));
            assert!(
                outcome.states.values().all(|state| *state == SubtaskState::Finished),
                "{parallelism:?} on {executors}: {:?}",
                outcome.states
            );
            assert_eq!(ids(&outcome.lines), expected, "{parallelism:?} on {executors}");
            let into = |operator: u32| outcome.records_in[&OperatorId(operator)];
            assert_eq!([into(0), into(1), into(2), into(3), into(4)], [ROWS, ROWS, ROWS, 2 * ROWS, 2 * ROWS]);
        }
    }
}

#[test]
fn equal_keys_meet_in_one_subtask() {
    let mut plan = PlanBuilder::new();
    let options = [
        ("fields.id.min", "1"),
        ("fields.id.max", "50"),
        ("number-of-rows", "20000"),
        ("rows-per-second", "100000000"),
        ("fields.text.length", "3"),
    ];
    let source = plan.datagen(id_and_text(), &options, 2);
    plan.sink(source, hash(), "print", 4);
    let outcome = Cluster::new(2, Compression::None).run(&plan.0);
    assert_eq!(outcome.lines.len(), 20_000);
    // `3> +I[17, abc]`
    let owners: BTreeSet<(&str, &str)> = outcome
        .lines
        .iter()
        .map(|line| {
            let (subtask, row) = line.split_once("> +I[").unwrap();
            (row.split(',').next().unwrap(), subtask)
        })
        .collect();
    assert_eq!(owners.len(), 50, "a key is in several subtasks: {owners:?}");
}

fn unbounded() -> Vec<(&'static str, &'static str)> {
    vec![("rows-per-second", "100000000"), ("fields.text.length", "20")]
}

fn endless(connector: &str) -> StreamPlan {
    let mut plan = PlanBuilder::new();
    let source = plan.datagen(id_and_text(), &unbounded(), 2);
    let keyed = plan.identity(source, hash(), 3);
    plan.sink(keyed, Partitioning::Rebalance, connector, 2);
    plan.0
}

#[test]
fn cancel_ends_everything_within_a_second_also_under_backpressure() {
    for executors in [1, 2] {
        let mut cluster = Cluster::new(executors, Compression::None);
        // Nobody takes lines while nobody serves events, so that everything up to the sources is full.
        let mut job = cluster.start(&endless("print"));
        job.serve(Duration::from_secs(20), |job| job.outcome.lines.len() > 10_000);
        std::thread::sleep(Duration::from_millis(500));
        let metrics = job.metrics();
        let backpressured = metrics.iter().filter(|subtask| subtask.backpressured_ms > 100).count();
        assert!(backpressured >= 2, "no backpressure: {metrics:?}");
        let since = Instant::now();
        job.cancel();
        let outcome = job.finish();
        assert!(since.elapsed() < Duration::from_secs(1), "{:?} on {executors}", since.elapsed());
        assert!(outcome.states.values().all(|state| *state == SubtaskState::Canceled), "{:?}", outcome.states);
    }
}

#[test]
fn stopped_sources_end_the_job_as_if_the_input_had_ended() {
    for (executors, drain) in [(1, true), (2, false)] {
        let mut cluster = Cluster::new(executors, Compression::None);
        let mut job = cluster.start(&endless("blackhole"));
        job.serve(Duration::from_secs(20), |job| job.outcome.states.len() == 7);
        let since = Instant::now();
        let has_read = |job: &Job<'_>| job.metrics().iter().flat_map(|s| &s.operators).any(|o| o.records_in > 0);
        while !has_read(&job) {
            assert!(since.elapsed() < Duration::from_secs(20), "nothing is read");
            std::thread::sleep(Duration::from_millis(20));
        }
        job.stop_sources(drain);
        let outcome = job.finish();
        assert!(outcome.states.values().all(|state| *state == SubtaskState::Finished), "{:?}", outcome.states);
        let into = |operator: u32| outcome.records_in[&OperatorId(operator)];
        assert!(into(0) > 0);
        assert_eq!([into(1), into(2)], [into(0), into(0)], "rows were lost on the way");
    }
}

#[test]
fn one_failure_is_told_with_its_cause_and_the_rest_is_cancelled() {
    let mut plan = PlanBuilder::new();
    let source = plan.datagen(id_and_text(), &unbounded(), 2);
    plan.sink(source, hash(), "no-such-connector", 2);
    for executors in [1, 2] {
        let outcome = Cluster::new(executors, Compression::None).run(&plan.0);
        let causes: Vec<&String> = outcome
            .states
            .values()
            .filter_map(|state| match state {
                SubtaskState::Failed { cause } => Some(cause),
                _ => None,
            })
            .collect();
        assert!(!causes.is_empty());
        assert!(causes.iter().all(|cause| cause.contains("no-such-connector")), "{causes:?}");
    }
}

#[test]
fn a_task_manager_that_goes_away_fails_its_neighbours_with_its_address() {
    let mut cluster = Cluster::new(2, Compression::None);
    let address = cluster.executors[1].data_address();
    let mut job = cluster.start(&endless("blackhole"));
    job.serve(Duration::from_secs(20), |job| job.outcome.states.len() == 7);
    job.lose_executor(1);
    job.serve(Duration::from_secs(20), |job| {
        job.outcome.states.values().any(|state| matches!(state, SubtaskState::Failed { .. }))
    });
    let causes: Vec<&SubtaskState> =
        job.outcome.states.values().filter(|state| matches!(state, SubtaskState::Failed { .. })).collect();
    let text = format!("{causes:?}");
    assert!(text.contains(&address) || text.contains("is lost"), "{text}");
    job.finish();
}

/// Classic bug 1 (FLINK-7506): a process that was frozen has been replaced by the time it goes on.
#[test]
fn bug_1_nothing_is_written_once_the_lease_has_run_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = PlanBuilder::new();
    let source = plan.datagen(id_and_text(), &bounded(), 1);
    plan.sink(source, hash(), "filesystem", 2);
    if let OperatorKind::Sink(sink) = &mut plan.0.operators[1].kind {
        let path = directory.path().display().to_string();
        sink.table.options.extend([("path".to_owned(), path), ("format".to_owned(), "json".to_owned())]);
    }
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    let mut cluster = Cluster::with_lease(1, Compression::None, &Lease::new(Duration::ZERO));
    let mut job = cluster.start(&plan.0);
    job.serve(common::WAIT, |job| job.outcome.states.values().any(|state| *state == SubtaskState::Canceled));
    job.cancel();
    let outcome = job.finish();
    assert_eq!(files(), 0, "files were written without a lease: {:?}", outcome.states);
    let lease = Lease::new(Duration::from_secs(600));
    let outcome = Cluster::with_lease(1, Compression::None, &lease).run(&plan.0);
    assert!(files() > 0, "{:?}", outcome.states);
}
