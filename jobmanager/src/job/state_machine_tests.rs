use proptest::prelude::*;
use tidemill_common::ids::{SubtaskIndex, TaskId};
use tidemill_common::job_graph::{JobGraph, Task, TaskEdge};
use tidemill_common::plan::Partitioning;

use super::*;

fn subtask(task: u32, index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(task), index: SubtaskIndex(index) }
}

fn all() -> [SubtaskId; 4] {
    [subtask(0, 0), subtask(0, 1), subtask(1, 0), subtask(1, 1)]
}

/// Two tasks of two subtasks; index 0 runs on `a`, index 1 on `b`.
fn placement() -> Placement {
    all().into_iter().map(|s| (s, if s.index.0 == 0 { "a".into() } else { "b".into() })).collect()
}

fn machine() -> JobMachine {
    JobMachine::new(Regions::whole(all()), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), RestartStrategy::None)
}

fn changed(subtask: SubtaskId, state: SubtaskState) -> JobEvent {
    JobEvent::SubtaskChanged { attempt: AttemptId(1), task_manager: placement()[&subtask].clone(), subtask, state }
}

fn running() -> JobMachine {
    let mut machine = machine();
    assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![deploy([0])]);
    for subtask in all() {
        assert_eq!(machine.apply(changed(subtask, SubtaskState::Running)), vec![]);
    }
    assert_eq!(machine.state(), JobState::Running);
    machine
}

fn regions<const N: usize>(ids: [u32; N]) -> BTreeSet<RegionId> {
    ids.map(RegionId).into()
}

fn deploy<const N: usize>(ids: [u32; N]) -> JobAction {
    JobAction::Deploy { regions: regions(ids) }
}

fn reschedule<const N: usize>(ids: [u32; N]) -> JobAction {
    JobAction::Reschedule { regions: regions(ids) }
}

/// Where one attempt has subtasks.
fn on<const N: usize>(attempt: u32, task_managers: [&str; N]) -> Executions {
    Executions::from([(AttemptId(attempt), task_managers.map(TaskManagerId::from).into())])
}

fn failed(cause: &str) -> SubtaskState {
    SubtaskState::Failed { cause: cause.to_owned() }
}

#[test]
fn a_bounded_job_runs_to_its_end() {
    let mut machine = running();
    machine.apply(changed(subtask(0, 0), SubtaskState::Finished));
    assert_eq!(machine.state(), JobState::Running);
    machine.apply(changed(subtask(0, 1), SubtaskState::Finished));
    assert_eq!(machine.state(), JobState::Finishing);
    machine.apply(changed(subtask(1, 0), SubtaskState::Finished));
    assert_eq!(machine.apply(changed(subtask(1, 1), SubtaskState::Finished)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Finished);
}

#[test]
fn a_subtask_may_finish_before_another_has_started() {
    let mut machine = machine();
    machine.apply(JobEvent::Placed(placement()));
    for s in [subtask(0, 0), subtask(1, 0)] {
        machine.apply(changed(s, SubtaskState::Running));
        machine.apply(changed(s, SubtaskState::Finished));
    }
    assert_eq!(machine.state(), JobState::Deploying);
    machine.apply(changed(subtask(0, 1), SubtaskState::Finished));
    assert_eq!(machine.apply(changed(subtask(1, 1), SubtaskState::Finished)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Finished);
}

/// The savepoint that a job was to stop with may be complete while the job is about to start again.
#[test]
fn a_job_that_is_about_to_start_again_ends_if_it_never_may() {
    let options = [("restart-strategy.type", "fixed-delay"), ("restart-strategy.fixed-delay.attempts", "9")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let mut machine =
        JobMachine::new(Regions::whole(all()), BTreeSet::from([subtask(0, 0)]), RestartStrategy::new(&options));
    machine.apply(JobEvent::Placed(placement()));
    machine.apply(changed(subtask(0, 0), failed("boom")));
    assert_eq!(machine.state(), JobState::Restarting);
    machine.never_restart();
    machine.apply(JobEvent::CoordinatorFailed { cause: "it was stopped".into() });
    assert_eq!(machine.state(), JobState::Failing);
    machine.apply(JobEvent::RestartDue { round: 1 });
    for subtask in &all()[1..] {
        machine.apply(changed(*subtask, SubtaskState::Canceled));
    }
    assert_eq!(machine.state(), JobState::Failed);
}

#[test]
fn a_failed_subtask_cancels_the_rest_and_fails_the_job() {
    let mut machine = running();
    let actions = machine.apply(changed(subtask(1, 0), failed("boom")));
    assert_eq!(
        actions,
        vec![
            JobAction::RecordFailure {
                subtask: Some(subtask(1, 0)),
                task_manager: Some("a".into()),
                cause: "boom".into(),
                root: false,
                regions: regions([0]),
            },
            JobAction::Cancel { executions: on(1, ["a", "b"]), round: 1 },
        ]
    );
    assert_eq!(machine.state(), JobState::Failing);
    machine.apply(changed(subtask(0, 0), SubtaskState::Canceled));
    machine.apply(changed(subtask(0, 1), SubtaskState::Finished));
    assert_eq!(machine.apply(changed(subtask(1, 1), SubtaskState::Canceled)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Failed);
}

#[test]
fn a_lost_task_manager_is_the_root_even_when_its_peers_tell_first() {
    let mut machine = running();
    machine.apply(changed(subtask(1, 0), failed("connection to b is lost")));
    let actions = machine.apply(JobEvent::TaskManagerLost { task_manager: "b".into(), reason: "b died".into() });
    assert!(matches!(&actions[..], [JobAction::RecordFailure { root: true, cause, .. }] if cause == "b died"));
    assert_eq!(machine.apply(changed(subtask(0, 0), SubtaskState::Canceled)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Failed);
}

#[test]
fn cancelling_waits_for_all_and_has_an_end() {
    let mut machine = running();
    let actions = machine.apply(JobEvent::CancelRequested);
    assert_eq!(actions, vec![JobAction::Cancel { executions: on(1, ["a", "b"]), round: 1 }]);
    assert_eq!(machine.apply(JobEvent::CancelRequested), vec![]);
    machine.apply(changed(subtask(0, 0), SubtaskState::Canceled));
    machine.apply(changed(subtask(0, 1), failed("torn down")));
    assert_eq!(machine.state(), JobState::Canceling);
    let actions = machine.apply(JobEvent::CancellationTimedOut { round: 1 });
    assert!(matches!(&actions[..], [JobAction::RecordFailure { .. }, JobAction::End]));
    assert_eq!(machine.state(), JobState::Canceled);
}

#[test]
fn stale_attempts_and_strangers_have_no_effect() {
    let mut machine = running();
    let stale = JobEvent::SubtaskChanged {
        attempt: AttemptId(0),
        task_manager: "a".into(),
        subtask: subtask(0, 0),
        state: failed("old"),
    };
    assert_eq!(machine.apply(stale), vec![]);
    let stranger = JobEvent::SubtaskChanged {
        attempt: AttemptId(1),
        task_manager: "b".into(),
        subtask: subtask(0, 0),
        state: failed("not mine"),
    };
    assert_eq!(machine.apply(stranger), vec![]);
    assert_eq!(machine.state(), JobState::Running);
}

#[test]
fn stopping_ends_the_sources_that_still_run() {
    let mut machine = running();
    machine.apply(changed(subtask(0, 0), SubtaskState::Finished));
    assert_eq!(
        machine.apply(JobEvent::StopRequested { drain: true }),
        vec![JobAction::StopSources { executions: on(1, ["b"]), drain: true }]
    );
}

#[test]
fn a_stop_while_slots_are_taken_stops_the_job_once_it_is_deployed() {
    let mut machine = machine();
    assert_eq!(machine.apply(JobEvent::StopRequested { drain: true }), vec![]);
    let expected = vec![deploy([0]), JobAction::StopSources { executions: on(1, ["a", "b"]), drain: true }];
    assert_eq!(machine.apply(JobEvent::Placed(placement())), expected);
}

#[test]
fn a_job_that_waits_for_slots_fails_or_is_cancelled_at_once() {
    let mut waiting = machine();
    let actions = waiting.apply(JobEvent::SlotsTimedOut("no slots".into()));
    assert!(matches!(&actions[..], [JobAction::RecordFailure { .. }, JobAction::End]));
    assert_eq!(waiting.state(), JobState::Failed);
    let mut waiting = machine();
    assert_eq!(waiting.apply(JobEvent::CancelRequested), vec![JobAction::End]);
    assert_eq!(waiting.state(), JobState::Canceled);
}

/// A machine that restarts once after 7 ms, running as attempt 1.
fn restartable() -> JobMachine {
    let restarts = RestartStrategy::FixedDelay { attempts: 1, delay_ms: 7, failures: 0 };
    let mut machine = JobMachine::new(Regions::whole(all()), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), restarts);
    machine.apply(JobEvent::Placed(placement()));
    for subtask in all() {
        machine.apply(changed(subtask, SubtaskState::Running));
    }
    machine
}

#[test]
fn a_failed_job_starts_again_once_all_have_ended_and_the_delay_is_over() {
    for delay_first in [true, false] {
        let mut machine = restartable();
        let actions = machine.apply(changed(subtask(1, 0), failed("boom")));
        assert!(actions.contains(&JobAction::RestartAfter { delay_ms: 7, round: 1 }), "{actions:?}");
        assert!(actions.iter().any(|action| matches!(action, JobAction::Cancel { .. })));
        assert_eq!(machine.state(), JobState::Restarting);
        if delay_first {
            assert_eq!(machine.apply(JobEvent::RestartDue { round: 1 }), vec![]);
        }
        machine.apply(changed(subtask(0, 0), SubtaskState::Canceled));
        machine.apply(changed(subtask(0, 1), failed("torn down")));
        let mut last = machine.apply(changed(subtask(1, 1), SubtaskState::Canceled));
        if !delay_first {
            assert_eq!(last, vec![]);
            last = machine.apply(JobEvent::RestartDue { round: 1 });
        }
        assert_eq!(last, vec![reschedule([0])]);
        assert_eq!((machine.state(), machine.attempt()), (JobState::Created, AttemptId(2)));
        assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![deploy([0])]);
        assert_eq!(machine.apply(changed(subtask(0, 0), failed("of attempt 1"))), vec![], "stale");
        let event = |state| JobEvent::SubtaskChanged {
            attempt: AttemptId(2),
            task_manager: "a".into(),
            subtask: subtask(0, 0),
            state,
        };
        machine.apply(event(failed("again")));
        assert_eq!(machine.state(), JobState::Failing, "only one restart is allowed");
    }
}

/// Classic: aborted attempts still report and trigger cascading recovery.
#[test]
fn what_fails_while_an_attempt_is_torn_down_does_not_count_as_another_failure() {
    let mut machine = restartable();
    machine.apply(JobEvent::TaskManagerLost { task_manager: "b".into(), reason: "b died".into() });
    machine.apply(changed(subtask(0, 0), failed("connection to b is lost")));
    machine.apply(JobEvent::CoordinatorFailed { cause: "enumerator".into() });
    machine.apply(JobEvent::RestartDue { round: 1 });
    let actions = machine.apply(changed(subtask(1, 0), failed("connection to b is lost")));
    assert_eq!(actions.last(), Some(&reschedule([0])));
    assert_eq!(machine.attempt(), AttemptId(2));
}

#[test]
fn a_job_that_waits_to_restart_can_be_cancelled() {
    let mut machine = restartable();
    machine.apply(changed(subtask(1, 0), failed("boom")));
    machine.apply(JobEvent::CancelRequested);
    assert_eq!(machine.state(), JobState::Canceling);
    for s in [subtask(0, 0), subtask(0, 1)] {
        assert_eq!(machine.apply(changed(s, SubtaskState::Canceled)), vec![]);
    }
    assert_eq!(machine.apply(changed(subtask(1, 1), SubtaskState::Canceled)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Canceled);
}

#[test]
fn a_job_goes_on_with_other_subtasks_without_counting_a_failure() {
    let mut machine = running();
    let more: Vec<_> = (0..2).flat_map(|task| (0..3).map(move |index| subtask(task, index))).collect();
    let sources = (0..3).map(|index| subtask(0, index)).collect();
    let actions = machine.apply(JobEvent::Redeploy { regions: Regions::whole(more.clone()), sources });
    assert!(matches!(&actions[..], [JobAction::Cancel { .. }]), "{actions:?}");
    let mut last = Vec::new();
    for s in all() {
        last = machine.apply(changed(s, SubtaskState::Canceled));
    }
    assert_eq!(last, vec![reschedule([0])]);
    assert_eq!((machine.state(), machine.attempt()), (JobState::Created, AttemptId(2)));
    let placed = more.iter().map(|subtask| (*subtask, "a".into())).collect();
    assert_eq!(machine.apply(JobEvent::Placed(placed)), vec![deploy([0])]);
}

#[test]
fn sources_that_wait_for_the_last_checkpoint_have_ended_their_input() {
    let mut machine = running();
    machine.apply(changed(subtask(0, 0), SubtaskState::Finishing));
    machine.apply(changed(subtask(0, 1), SubtaskState::Finishing));
    assert_eq!(machine.state(), JobState::Finishing);
    for s in all() {
        assert!(machine.is_running(s));
        machine.apply(changed(s, SubtaskState::Finished));
    }
    assert_eq!(machine.state(), JobState::Finished);
}

// Several regions: two pipelines without an exchange, of which region 0 runs on `a` and region 1 on `b`.

fn pipelines() -> Regions {
    let task = |id| Task { id: TaskId(id), operators: Vec::new(), parallelism: 2 };
    let edge = TaskEdge { index: 0, from: TaskId(0), to: TaskId(1), partitioning: Partitioning::Forward };
    Regions::new(&JobGraph { tasks: vec![task(0), task(1)], edges: vec![edge] })
}

fn of_attempt(attempt: u32, subtask: SubtaskId, state: SubtaskState) -> JobEvent {
    let task_manager = placement()[&subtask].clone();
    JobEvent::SubtaskChanged { attempt: AttemptId(attempt), task_manager, subtask, state }
}

/// Both regions run, as attempts 1 and 2.
fn two(attempts: u64) -> JobMachine {
    let restarts = RestartStrategy::FixedDelay { attempts, delay_ms: 7, failures: 0 };
    let mut machine = JobMachine::new(pipelines(), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), restarts);
    assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![deploy([0, 1])]);
    for subtask in all() {
        machine.apply(of_attempt(subtask.index.0 + 1, subtask, SubtaskState::Running));
    }
    assert_eq!(machine.state(), JobState::Running);
    machine
}

#[test]
fn only_the_region_that_failed_starts_again() {
    let mut machine = two(3);
    let actions = machine.apply(of_attempt(2, subtask(1, 1), failed("boom")));
    assert_eq!(
        actions,
        vec![
            JobAction::RecordFailure {
                subtask: Some(subtask(1, 1)),
                task_manager: Some("b".into()),
                cause: "boom".into(),
                root: false,
                regions: regions([1]),
            },
            JobAction::RestartAfter { delay_ms: 7, round: 1 },
            JobAction::Cancel { executions: on(2, ["b"]), round: 1 },
        ]
    );
    assert_eq!(machine.state(), JobState::Restarting);
    assert_eq!(machine.deployed(), BTreeSet::from([AttemptId(1)]));
    assert_eq!(machine.executions(|_| true), on(1, ["a"]));
    assert_eq!(machine.apply(JobEvent::RestartDue { round: 1 }), vec![], "not torn down");
    let actions = machine.apply(of_attempt(2, subtask(0, 1), SubtaskState::Canceled));
    assert_eq!(actions, vec![reschedule([1])]);
    assert_eq!(
        (machine.state(), machine.attempt(), machine.first_attempt()),
        (JobState::Created, AttemptId(3), AttemptId(1))
    );
    // The healthy one goes on meanwhile, and keeps its slots.
    assert_eq!(machine.kept().into_keys().collect::<Vec<_>>(), [subtask(0, 0), subtask(1, 0)]);
    assert_eq!(machine.apply(of_attempt(1, subtask(0, 0), SubtaskState::Finishing)), vec![]);
    let moved = placement().into_keys().map(|subtask| (subtask, "a".into())).collect();
    assert_eq!(machine.apply(JobEvent::Placed(moved)), vec![deploy([1])]);
    assert_eq!(machine.apply(of_attempt(2, subtask(0, 1), failed("of the attempt before"))), vec![], "stale");
    for subtask in [subtask(0, 1), subtask(1, 1)] {
        let task_manager = "a".into();
        let state = SubtaskState::Running;
        machine.apply(JobEvent::SubtaskChanged { attempt: AttemptId(3), task_manager, subtask, state });
    }
    assert_eq!(machine.state(), JobState::Running);
    assert_eq!(machine.deployed(), BTreeSet::from([AttemptId(1), AttemptId(3)]));
}

#[test]
fn a_region_that_fails_while_another_is_down_joins_it() {
    let mut machine = two(3);
    machine.apply(of_attempt(2, subtask(0, 1), failed("first")));
    machine.apply(of_attempt(2, subtask(1, 1), SubtaskState::Canceled));
    let actions = machine.apply(of_attempt(1, subtask(0, 0), failed("second")));
    assert!(actions.contains(&JobAction::Cancel { executions: on(1, ["a"]), round: 2 }), "{actions:?}");
    machine.apply(of_attempt(1, subtask(1, 0), SubtaskState::Canceled));
    assert_eq!(machine.apply(JobEvent::RestartDue { round: 1 }), vec![], "the delay of the second");
    assert_eq!(machine.apply(JobEvent::RestartDue { round: 2 }), vec![reschedule([0, 1])]);
    assert_eq!(machine.first_attempt(), AttemptId(3), "all were down at once");
}

#[test]
fn a_region_that_fails_while_another_waits_for_slots_does_not_forget_it() {
    let mut machine = two(3);
    machine.apply(of_attempt(2, subtask(0, 1), failed("first")));
    machine.apply(of_attempt(2, subtask(1, 1), SubtaskState::Canceled));
    machine.apply(JobEvent::RestartDue { round: 1 });
    assert_eq!(machine.state(), JobState::Created);
    machine.apply(JobEvent::TaskManagerLost { task_manager: "a".into(), reason: "a died".into() });
    assert_eq!(machine.state(), JobState::Restarting);
    assert_eq!(machine.apply(JobEvent::RestartDue { round: 2 }), vec![reschedule([0, 1])]);
    assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![deploy([0, 1])]);
}

/// Flink counts the failure of each region against the job's strategy.
#[test]
fn a_lost_task_manager_fails_each_region_that_ran_there() {
    let lost = || JobEvent::TaskManagerLost { task_manager: "a".into(), reason: "a died".into() };
    let together: Placement = placement().into_keys().map(|subtask| (subtask, "a".into())).collect();
    for (attempts, state) in [(1, JobState::Failed), (2, JobState::Restarting)] {
        let restarts = RestartStrategy::FixedDelay { attempts, delay_ms: 7, failures: 0 };
        let mut machine = JobMachine::new(pipelines(), BTreeSet::new(), restarts);
        machine.apply(JobEvent::Placed(together.clone()));
        machine.apply(lost());
        assert_eq!(machine.state(), state);
    }
}

#[test]
fn a_failure_for_good_ends_the_healthy_regions_too() {
    let mut machine = two(0);
    let actions = machine.apply(of_attempt(2, subtask(0, 1), failed("boom")));
    let both = on(1, ["a"]).into_iter().chain(on(2, ["b"])).collect();
    assert_eq!(actions.last(), Some(&JobAction::Cancel { executions: both, round: 1 }));
    assert_eq!(machine.state(), JobState::Failing);
}

#[test]
fn the_savepoint_to_stop_with_ends_all_even_while_a_region_is_down() {
    let mut machine = two(3);
    machine.apply(of_attempt(2, subtask(0, 1), failed("boom")));
    machine.never_restart();
    let actions = machine.apply(JobEvent::CoordinatorFailed { cause: "it was stopped".into() });
    assert_eq!(actions.last(), Some(&JobAction::Cancel { executions: on(1, ["a"]), round: 2 }));
    assert_eq!(machine.state(), JobState::Failing);
}

#[test]
fn sources_that_were_told_to_end_start_again_in_all_regions() {
    let mut machine = two(1);
    machine.apply(JobEvent::StopRequested { drain: false });
    machine.apply(of_attempt(1, subtask(0, 0), SubtaskState::Finishing));
    let actions = machine.apply(of_attempt(2, subtask(0, 1), failed("boom")));
    assert!(matches!(&actions[0], JobAction::RecordFailure { regions: hit, .. } if *hit == regions([0, 1])));
    assert_eq!(machine.state(), JobState::Restarting);
}

#[test]
fn a_job_with_a_region_that_waits_for_slots_can_be_cancelled() {
    let mut machine = two(3);
    machine.apply(of_attempt(2, subtask(0, 1), failed("boom")));
    machine.apply(of_attempt(2, subtask(1, 1), SubtaskState::Canceled));
    machine.apply(JobEvent::RestartDue { round: 1 });
    let actions = machine.apply(JobEvent::CancelRequested);
    assert_eq!(actions, vec![JobAction::Cancel { executions: on(1, ["a"]), round: 2 }]);
    machine.apply(of_attempt(1, subtask(0, 0), SubtaskState::Canceled));
    assert_eq!(machine.apply(of_attempt(1, subtask(1, 0), SubtaskState::Canceled)), vec![JobAction::End]);
    assert_eq!(machine.state(), JobState::Canceled);
}

/// Events of a job of one region, or of two: with those the attempt of the second is another.
fn any_event() -> impl Strategy<Value = JobEvent> {
    let state = prop_oneof![
        3 => Just(SubtaskState::Running),
        1 => Just(SubtaskState::Finishing),
        4 => Just(SubtaskState::Finished),
        1 => Just(SubtaskState::Canceled),
        1 => Just(SubtaskState::Failed { cause: "x".into() }),
    ];
    prop_oneof![
        1 => Just(JobEvent::Placed(placement())),
        1 => Just(JobEvent::SlotsTimedOut("none".into())),
        20 => (0usize..4, 1u32..6, state).prop_map(|(index, attempt, state)| of_attempt(attempt, all()[index], state)),
        1 => prop_oneof![Just("a"), Just("b"), Just("c")]
            .prop_map(|id| JobEvent::TaskManagerLost { task_manager: id.into(), reason: "lost".into() }),
        1 => Just(JobEvent::CoordinatorFailed { cause: "enumerator".into() }),
        1 => Just(JobEvent::DeploymentTimedOut),
        1 => Just(JobEvent::CancellationTimedOut { round: 1 }),
        1 => Just(JobEvent::RestartDue { round: 1 }),
        1 => Just(JobEvent::CancelRequested),
        1 => any::<bool>().prop_map(|drain| JobEvent::StopRequested { drain }),
    ]
}

proptest! {
    /// Whatever comes: `End` comes once, with a terminal state, nothing follows it, a failed job has
    /// a recorded failure, a cancellation that times out always ends the job, no attempt is deployed twice,
    /// and nobody but regions that fail is told to end before the job is.
    #[test]
    fn every_order_of_events_ends_cleanly(
        events in proptest::collection::vec(any_event(), 0..60),
        attempts in 0u64..6,
        several in any::<bool>(),
    ) {
        let restarts = RestartStrategy::FixedDelay { attempts, delay_ms: 1, failures: 0 };
        let regions = if several { pipelines() } else { Regions::whole(all()) };
        let mut machine = JobMachine::new(regions, BTreeSet::from([subtask(0, 0), subtask(0, 1)]), restarts);
        let (mut ends, mut failures) = (0, 0);
        let mut deployed = BTreeSet::new();
        let timed_out = JobEvent::CancellationTimedOut { round: u64::MAX };
        for event in events.into_iter().chain([JobEvent::CancelRequested, timed_out]) {
            let was_terminal = machine.state().is_terminal();
            let healthy = machine.deployed();
            let actions = machine.apply(event);
            prop_assert!(!was_terminal || actions.is_empty());
            failures += actions.iter().filter(|a| matches!(a, JobAction::RecordFailure { .. })).count();
            let ended = actions.contains(&JobAction::End);
            ends += usize::from(ended);
            prop_assert_eq!(ended, !was_terminal && machine.state().is_terminal());
            let mut told = BTreeSet::new();
            for action in &actions {
                match action {
                    JobAction::Deploy { regions } => {
                        for region in regions {
                            let attempt = machine.attempt_of(*region).unwrap();
                            prop_assert!(deployed.insert(attempt), "attempt {attempt} is deployed twice");
                            prop_assert!(attempt >= machine.first_attempt());
                        }
                    }
                    JobAction::Cancel { executions, .. } => {
                        prop_assert!(!executions.is_empty());
                        told.extend(executions.keys().copied());
                    }
                    _ => {}
                }
            }
            // What is told to end was healthy, and what stays healthy is not told.
            prop_assert!(told.is_subset(&healthy), "{told:?} of {healthy:?}");
            prop_assert!(told.is_disjoint(&machine.deployed()));
            if machine.state() == JobState::Running {
                prop_assert_eq!(machine.deployed().len(), machine.regions().len());
            }
        }
        prop_assert!(machine.state().is_terminal());
        prop_assert_eq!(ends, 1);
        prop_assert!(machine.state() != JobState::Failed || failures > 0);
    }
}
