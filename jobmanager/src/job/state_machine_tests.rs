use proptest::prelude::*;
use tidemill_common::ids::{SubtaskIndex, TaskId};

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
    JobMachine::new(all(), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), RestartStrategy::None)
}

fn changed(subtask: SubtaskId, state: SubtaskState) -> JobEvent {
    JobEvent::SubtaskChanged { attempt: AttemptId(1), task_manager: placement()[&subtask].clone(), subtask, state }
}

fn running() -> JobMachine {
    let mut machine = machine();
    assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![JobAction::Deploy]);
    for subtask in all() {
        assert_eq!(machine.apply(changed(subtask, SubtaskState::Running)), vec![]);
    }
    assert_eq!(machine.state(), JobState::Running);
    machine
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
    let mut machine = JobMachine::new(all(), BTreeSet::from([subtask(0, 0)]), RestartStrategy::new(&options));
    machine.apply(JobEvent::Placed(placement()));
    machine.apply(changed(subtask(0, 0), failed("boom")));
    assert_eq!(machine.state(), JobState::Restarting);
    machine.never_restart();
    machine.apply(JobEvent::CoordinatorFailed { cause: "it was stopped".into() });
    assert_eq!(machine.state(), JobState::Failing);
    machine.apply(JobEvent::RestartDue);
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
                root: false
            },
            JobAction::Cancel { task_managers: BTreeSet::from(["a".into(), "b".into()]) },
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
    assert_eq!(actions, vec![JobAction::Cancel { task_managers: BTreeSet::from(["a".into(), "b".into()]) }]);
    assert_eq!(machine.apply(JobEvent::CancelRequested), vec![]);
    machine.apply(changed(subtask(0, 0), SubtaskState::Canceled));
    machine.apply(changed(subtask(0, 1), failed("torn down")));
    assert_eq!(machine.state(), JobState::Canceling);
    let actions = machine.apply(JobEvent::CancellationTimedOut);
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
        vec![JobAction::StopSources { task_managers: BTreeSet::from(["b".into()]), drain: true }]
    );
}

#[test]
fn a_stop_while_slots_are_taken_stops_the_job_once_it_is_deployed() {
    let mut machine = machine();
    assert_eq!(machine.apply(JobEvent::StopRequested { drain: true }), vec![]);
    let task_managers = BTreeSet::from(["a".into(), "b".into()]);
    let expected = vec![JobAction::Deploy, JobAction::StopSources { task_managers, drain: true }];
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
    let mut machine = JobMachine::new(all(), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), restarts);
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
        assert!(actions.contains(&JobAction::RestartAfter { delay_ms: 7 }), "{actions:?}");
        assert!(actions.iter().any(|action| matches!(action, JobAction::Cancel { .. })));
        assert_eq!(machine.state(), JobState::Restarting);
        if delay_first {
            assert_eq!(machine.apply(JobEvent::RestartDue), vec![]);
        }
        machine.apply(changed(subtask(0, 0), SubtaskState::Canceled));
        machine.apply(changed(subtask(0, 1), failed("torn down")));
        let mut last = machine.apply(changed(subtask(1, 1), SubtaskState::Canceled));
        if !delay_first {
            assert_eq!(last, vec![]);
            last = machine.apply(JobEvent::RestartDue);
        }
        assert_eq!(last, vec![JobAction::Reschedule]);
        assert_eq!((machine.state(), machine.attempt()), (JobState::Created, AttemptId(2)));
        assert_eq!(machine.apply(JobEvent::Placed(placement())), vec![JobAction::Deploy]);
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
    machine.apply(JobEvent::RestartDue);
    let actions = machine.apply(changed(subtask(1, 0), failed("connection to b is lost")));
    assert_eq!(actions.last(), Some(&JobAction::Reschedule));
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
    let actions = machine.apply(JobEvent::Redeploy { subtasks: more.clone(), sources });
    assert!(matches!(&actions[..], [JobAction::Cancel { .. }]), "{actions:?}");
    let mut last = Vec::new();
    for s in all() {
        last = machine.apply(changed(s, SubtaskState::Canceled));
    }
    assert_eq!(last, vec![JobAction::Reschedule]);
    assert_eq!((machine.state(), machine.attempt()), (JobState::Created, AttemptId(2)));
    let placed = more.iter().map(|subtask| (*subtask, "a".into())).collect();
    assert_eq!(machine.apply(JobEvent::Placed(placed)), vec![JobAction::Deploy]);
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
        20 => (0usize..4, state).prop_map(|(index, state)| changed(all()[index], state)),
        1 => prop_oneof![Just("a"), Just("b"), Just("c")]
            .prop_map(|id| JobEvent::TaskManagerLost { task_manager: id.into(), reason: "lost".into() }),
        1 => Just(JobEvent::CoordinatorFailed { cause: "enumerator".into() }),
        1 => Just(JobEvent::DeploymentTimedOut),
        1 => Just(JobEvent::CancellationTimedOut),
        1 => Just(JobEvent::RestartDue),
        1 => Just(JobEvent::CancelRequested),
        1 => any::<bool>().prop_map(|drain| JobEvent::StopRequested { drain }),
    ]
}

proptest! {
    /// Whatever comes: `End` comes once, with a terminal state, nothing follows it, a failed job has
    /// a recorded failure, and a cancellation that times out always ends the job.
    #[test]
    fn every_order_of_events_ends_cleanly(
        events in proptest::collection::vec(any_event(), 0..60),
        attempts in 0u64..3,
    ) {
        let restarts = RestartStrategy::FixedDelay { attempts, delay_ms: 1, failures: 0 };
        let mut machine = JobMachine::new(all(), BTreeSet::from([subtask(0, 0), subtask(0, 1)]), restarts);
        let (mut ends, mut failures) = (0, 0);
        for event in events.into_iter().chain([JobEvent::CancelRequested, JobEvent::CancellationTimedOut]) {
            let was_terminal = machine.state().is_terminal();
            let actions = machine.apply(event);
            prop_assert!(!was_terminal || actions.is_empty());
            failures += actions.iter().filter(|a| matches!(a, JobAction::RecordFailure { .. })).count();
            let ended = actions.contains(&JobAction::End);
            ends += usize::from(ended);
            prop_assert_eq!(ended, !was_terminal && machine.state().is_terminal());
            if let Some(JobAction::Cancel { task_managers }) = actions.iter().find(|a| matches!(a, JobAction::Cancel { .. })) {
                prop_assert!(!task_managers.is_empty());
            }
        }
        prop_assert!(machine.state().is_terminal());
        prop_assert_eq!(ends, 1);
        prop_assert!(machine.state() != JobState::Failed || failures > 0);
    }
}
