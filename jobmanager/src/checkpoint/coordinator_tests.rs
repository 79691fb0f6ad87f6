use std::time::Duration;

use proptest::prelude::*;
use tidemill_common::checkpoint::SnapshotStats;
use tidemill_common::ids::{SubtaskIndex, TaskId};

use super::*;

fn subtask(task: u32, index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(task), index: SubtaskIndex(index) }
}

/// Two sources and a sink.
fn all() -> [SubtaskId; 3] {
    [subtask(0, 0), subtask(0, 1), subtask(1, 0)]
}

fn deployed(attempt: u32) -> Event {
    let sources = BTreeSet::from([subtask(0, 0), subtask(0, 1)]);
    let executions = all().map(|subtask| (subtask, AttemptId(attempt))).into();
    Event::Deployed { attempt: AttemptId(attempt), executions, sources }
}

fn options(set: &[(&str, &str)]) -> CheckpointOptions {
    let set = set.iter().map(|(key, value)| (format!("execution.checkpointing.{key}"), (*value).to_owned()));
    CheckpointOptions::new(&set.collect())
}

fn coordinator(set: &[(&str, &str)]) -> Coordinator {
    let mut coordinator = Coordinator::new(options(set), 1);
    assert_eq!(coordinator.apply(0, Event::IdsReserved { end: 1_000 }), vec![]);
    coordinator.apply(0, deployed(1));
    coordinator
}

fn running(set: &[(&str, &str)]) -> Coordinator {
    let mut coordinator = coordinator(set);
    assert_eq!(coordinator.apply(0, Event::Started), vec![]);
    coordinator
}

fn id(id: u64) -> CheckpointId {
    CheckpointId(id)
}

fn ack(attempt: u32, subtask: SubtaskId, checkpoint: u64) -> Event {
    let stats = SnapshotStats { bytes_new: 5, sync_us: 7, ..SnapshotStats::default() };
    let snapshot = Box::new(SubtaskSnapshot { operators: Vec::new(), stats });
    Event::Acknowledged { attempt: AttemptId(attempt), subtask, checkpoint: id(checkpoint), snapshot }
}

fn prepared(checkpoint: u64) -> Event {
    Event::Prepared { checkpoint: id(checkpoint), enumerators: Ok(vec![]) }
}

fn location(checkpoint: u64) -> String {
    format!("file:///c/chk-{checkpoint}")
}

fn written(checkpoint: u64) -> Event {
    Event::Written { checkpoint: id(checkpoint), result: Ok(location(checkpoint)) }
}

fn persisted(checkpoint: u64) -> Event {
    Event::Persisted { checkpoint: id(checkpoint), result: Ok(()) }
}

/// Prepared, acknowledged by all and written: the actions of the last step.
fn complete(coordinator: &mut Coordinator, now: i64, attempt: u32, checkpoint: u64) -> Vec<Action> {
    coordinator.apply(now, prepared(checkpoint));
    for subtask in all() {
        coordinator.apply(now, ack(attempt, subtask, checkpoint));
    }
    let actions = coordinator.apply(now, written(checkpoint));
    assert_eq!(actions, vec![Action::Persist { checkpoint: id(checkpoint) }]);
    let mut actions = coordinator.apply(now, persisted(checkpoint));
    assert_eq!(actions.remove(0), Action::Retain { checkpoint: id(checkpoint) });
    actions
}

#[test]
fn a_checkpoint_is_taken_every_interval_once_the_job_runs() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    assert_eq!(coordinator.wake_ms(), Some(100));
    assert_eq!(coordinator.apply(99, Event::Due), vec![]);
    assert_eq!(coordinator.apply(100, Event::Due), vec![Action::Prepare { checkpoint: id(1) }]);
    assert_eq!(
        coordinator.apply(101, prepared(1)),
        vec![Action::Trigger { checkpoint: id(1), timestamp_ms: 100, savepoint: None, stop: None }]
    );
    assert_eq!(coordinator.apply(102, ack(1, subtask(0, 0), 1)), vec![]);
    assert_eq!(coordinator.apply(102, ack(1, subtask(0, 0), 1)), vec![], "twice");
    coordinator.apply(103, ack(1, subtask(0, 1), 1));
    let write = coordinator.apply(104, ack(1, subtask(1, 0), 1));
    assert!(matches!(&write[..], [Action::Write(all)] if all.subtasks.len() == 3 && all.timestamp_ms == 100));
    assert_eq!(coordinator.newest(), None, "not complete yet");
    assert_eq!(coordinator.apply(105, written(1)), vec![Action::Persist { checkpoint: id(1) }]);
    assert_eq!(coordinator.newest(), None, "a crash would not find it");
    assert_eq!(
        coordinator.apply(106, persisted(1)),
        vec![Action::Retain { checkpoint: id(1) }, Action::Complete { checkpoint: id(1) }]
    );
    assert_eq!(coordinator.newest().map(|newest| newest.checkpoint), Some(id(1)));
    assert_eq!(coordinator.wake_ms(), Some(200));
    let stats = coordinator.history.latest().next().unwrap().clone();
    assert_eq!(
        (stats.state, stats.end_ms, stats.bytes_new, stats.sync_us),
        (CheckpointState::Completed, Some(106), 15, 7)
    );
}

#[test]
fn without_an_interval_none_are_taken() {
    let mut coordinator = running(&[]);
    assert_eq!(coordinator.wake_ms(), None);
    assert_eq!(coordinator.apply(1_000_000, Event::Due), vec![]);
}

#[test]
fn there_is_a_least_pause_and_one_in_flight() {
    let mut coordinator = running(&[("interval", "100 ms"), ("min-pause", "80 ms")]);
    coordinator.apply(100, Event::Due);
    assert_eq!(coordinator.apply(250, Event::Due), vec![], "one in flight");
    assert_eq!(complete(&mut coordinator, 260, 1, 1), vec![Action::Complete { checkpoint: id(1) }]);
    assert_eq!(coordinator.wake_ms(), Some(340));
    assert_eq!(coordinator.apply(340, Event::Due), vec![Action::Prepare { checkpoint: id(2) }]);
}

#[test]
fn older_ones_are_discarded_and_the_newest_kept() {
    let mut coordinator = running(&[("interval", "100 ms"), ("num-retained", "2")]);
    for (checkpoint, now) in [(1, 100), (2, 200)] {
        coordinator.apply(now, Event::Due);
        assert_eq!(
            complete(&mut coordinator, now, 1, checkpoint),
            vec![Action::Complete { checkpoint: id(checkpoint) }]
        );
    }
    coordinator.apply(300, Event::Due);
    assert_eq!(
        complete(&mut coordinator, 300, 1, 3),
        vec![Action::Complete { checkpoint: id(3) }, Action::Discard { checkpoint: id(1), location: location(1) }]
    );
    let kept: Vec<_> = coordinator.retained().map(|retained| retained.checkpoint.0).collect();
    assert_eq!(kept, [2, 3]);
    assert_eq!(coordinator.ended(400, true), vec![]);
    assert_eq!(coordinator.ended(400, false).len(), 2);
}

#[test]
fn a_declined_checkpoint_is_aborted_and_fails_the_job_beyond_the_tolerance() {
    let mut coordinator = running(&[("interval", "100 ms"), ("tolerable-failed-checkpoints", "1")]);
    let decline = |checkpoint| Event::Declined {
        attempt: AttemptId(1),
        subtask: subtask(0, 1),
        checkpoint: id(checkpoint),
        reason: "disk full".into(),
    };
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    assert_eq!(coordinator.apply(110, decline(1)), vec![Action::Aborted { checkpoint: id(1) }]);
    assert_eq!(coordinator.apply(110, decline(1)), vec![], "late");
    coordinator.apply(200, Event::Due);
    coordinator.apply(200, prepared(2));
    let actions = coordinator.apply(210, decline(2));
    let [Action::Aborted { .. }, Action::Fail { cause }] = &actions[..] else { panic!("{actions:?}") };
    assert!(cause.contains("disk full") && cause.contains("tolerable-failed-checkpoints"), "{cause}");
    assert_eq!(coordinator.history.counts.failed, 2);
}

#[test]
fn a_complete_one_forgives_those_that_failed_before() {
    let mut coordinator =
        running(&[("interval", "100 ms"), ("tolerable-failed-checkpoints", "1"), ("timeout", "50 ms")]);
    for round in 0..4 {
        let (now, checkpoint) = (100 + round * 200, 1 + 2 * round as u64);
        coordinator.apply(now, Event::Due);
        coordinator.apply(now, prepared(checkpoint));
        assert_eq!(coordinator.wake_ms(), Some(now + 50));
        assert_eq!(coordinator.apply(now + 50, Event::Due), vec![Action::Aborted { checkpoint: id(checkpoint) }]);
        coordinator.apply(now + 100, Event::Due);
        assert_eq!(
            complete(&mut coordinator, now + 100, 1, checkpoint + 1)[0],
            Action::Complete { checkpoint: id(checkpoint + 1) }
        );
    }
    let failure = coordinator.history.latest().nth(1).unwrap().failure.clone().unwrap();
    assert_eq!(
        failure,
        "3 of 3 subtasks did not answer, such as 0/0, 0/1, 1/0 within 0.05 s (execution.checkpointing.timeout)"
    );
}

/// Classic bug 29: aborted attempts still report.
#[test]
fn bug_29_answers_of_an_attempt_that_is_over_have_no_effect() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    coordinator.apply(101, ack(1, subtask(0, 0), 1));
    let actions = coordinator.apply(110, Event::Halted { reason: "the job is RESTARTING".into() });
    assert_eq!(actions, vec![Action::Aborted { checkpoint: id(1) }]);
    assert_eq!(coordinator.apply(111, ack(1, subtask(0, 1), 1)), vec![]);
    coordinator.apply(200, deployed(2));
    coordinator.apply(200, Event::Started);
    assert_eq!(
        coordinator.apply(300, Event::Due),
        vec![Action::Prepare { checkpoint: id(2) }],
        "ids are not used again"
    );
    coordinator.apply(300, prepared(2));
    for subtask in all() {
        assert_eq!(coordinator.apply(301, ack(1, subtask, 2)), vec![], "attempt 1 knows nothing of checkpoint 2");
    }
    assert_eq!(coordinator.apply(302, written(1)), vec![Action::Discard { checkpoint: id(1), location: location(1) }]);
}

/// The source 0/1 is a region of its own, which fails and starts again as attempt 2; the others run on in
/// attempt 1.
#[test]
fn while_a_region_is_down_no_checkpoint_is_taken_and_the_others_run_on() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    coordinator.apply(101, ack(1, subtask(0, 0), 1));
    let actions = coordinator.apply(110, Event::Halted { reason: "the job is RESTARTING".into() });
    assert_eq!(actions, vec![Action::Aborted { checkpoint: id(1) }], "those that run on are told");
    coordinator.apply(150, finishing(subtask(0, 0)));
    assert_eq!(coordinator.apply(400, Event::Due), vec![]);
    let sources = BTreeSet::from([subtask(0, 0), subtask(0, 1)]);
    let mut executions: BTreeMap<_, _> = all().map(|subtask| (subtask, AttemptId(1))).into();
    executions.insert(subtask(0, 1), AttemptId(2));
    assert_eq!(coordinator.apply(500, Event::Deployed { attempt: AttemptId(2), executions, sources }), vec![]);
    coordinator.apply(500, Event::Started);
    assert_eq!(coordinator.apply(600, Event::Due), vec![Action::Prepare { checkpoint: id(2) }]);
    coordinator.apply(600, prepared(2));
    assert_eq!(coordinator.apply(601, ack(1, subtask(0, 1), 2)), vec![], "of the attempt that is over");
    coordinator.apply(601, ack(1, subtask(0, 0), 2));
    coordinator.apply(601, ack(1, subtask(1, 0), 2));
    let write = coordinator.apply(602, ack(2, subtask(0, 1), 2));
    assert!(matches!(&write[..], [Action::Write(all)] if all.subtasks.len() == 3 && all.attempt == AttemptId(2)));
    coordinator.apply(603, written(2));
    coordinator.apply(604, persisted(2));
    // It is remembered that the source that ran on has ended: with the other, all input has.
    assert_eq!(coordinator.apply(650, finishing(subtask(0, 1))), vec![Action::Prepare { checkpoint: id(3) }]);
}

#[test]
fn a_checkpoint_that_is_kept_too_late_is_started_from_but_not_told() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    for subtask in all() {
        coordinator.apply(101, ack(1, subtask, 1));
    }
    coordinator.apply(102, written(1));
    coordinator.apply(103, Event::Halted { reason: "the job is RESTARTING".into() });
    coordinator.apply(104, deployed(2));
    coordinator.apply(104, Event::Started);
    // Its files are named by what is started from, though nobody is told.
    assert_eq!(coordinator.apply(105, persisted(1)), vec![Action::Retain { checkpoint: id(1) }]);
    assert_eq!(coordinator.newest().map(|newest| newest.checkpoint), Some(id(1)));
}

#[test]
fn what_cannot_be_kept_is_not_complete() {
    let mut coordinator = running(&[("interval", "100 ms"), ("tolerable-failed-checkpoints", "5")]);
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    for subtask in all() {
        coordinator.apply(101, ack(1, subtask, 1));
    }
    coordinator.apply(102, written(1));
    let failed = Event::Persisted { checkpoint: id(1), result: Err("no space left".into()) };
    assert_eq!(
        coordinator.apply(103, failed),
        vec![Action::Aborted { checkpoint: id(1) }],
        "its files stay: a record that names it may be on disk"
    );
    assert_eq!(coordinator.newest(), None);
}

#[test]
fn ids_are_reserved_before_they_are_used() {
    let mut coordinator = Coordinator::new(options(&[("interval", "100 ms")]), 7);
    coordinator.apply(0, deployed(1));
    coordinator.apply(0, Event::Started);
    assert_eq!(coordinator.apply(100, Event::Due), vec![Action::ReserveIds { end: 7 + IDS_RESERVED }]);
    assert_eq!(coordinator.apply(150, Event::Due), vec![], "it was asked already");
    assert_eq!(coordinator.wake_ms(), None, "nothing can be done until it is answered");
    assert_eq!(coordinator.apply(155, Event::IdsReserved { end: 0 }), vec![], "it failed");
    assert_eq!(coordinator.wake_ms(), Some(1_155));
    assert_eq!(coordinator.apply(1_155, Event::Due), vec![Action::ReserveIds { end: 7 + IDS_RESERVED }]);
    let actions = coordinator.apply(1_160, Event::IdsReserved { end: 7 + IDS_RESERVED });
    assert_eq!(actions, vec![Action::Prepare { checkpoint: id(7) }]);
}

fn finishing(subtask: SubtaskId) -> Event {
    Event::SubtaskChanged { subtask, standing: Standing::Finishing }
}

/// Classic bug 27: the tail of a bounded job is not committed (FLIP-147).
#[test]
fn bug_27_the_end_of_the_input_is_covered_at_once_and_until_it_succeeds() {
    let mut coordinator = running(&[("interval", "10 min"), ("tolerable-failed-checkpoints", "9")]);
    assert_eq!(coordinator.apply(10, finishing(subtask(0, 0))), vec![]);
    assert_eq!(coordinator.apply(20, finishing(subtask(0, 1))), vec![Action::Prepare { checkpoint: id(1) }]);
    coordinator.apply(20, prepared(1));
    let declined =
        Event::Declined { attempt: AttemptId(1), subtask: subtask(1, 0), checkpoint: id(1), reason: "busy".into() };
    assert_eq!(coordinator.apply(30, declined), vec![Action::Aborted { checkpoint: id(1) }]);
    assert_eq!(coordinator.wake_ms(), Some(1_030));
    assert_eq!(coordinator.apply(1_030, Event::Due), vec![Action::Prepare { checkpoint: id(2) }]);
    assert_eq!(complete(&mut coordinator, 1_040, 1, 2), vec![Action::Complete { checkpoint: id(2) }]);
    assert_eq!(coordinator.wake_ms(), None, "the job ends by itself");
}

#[test]
fn one_that_was_triggered_before_the_end_does_not_cover_it() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    coordinator.apply(101, finishing(subtask(0, 0)));
    coordinator.apply(101, finishing(subtask(0, 1)));
    for subtask in all() {
        coordinator.apply(102, ack(1, subtask, 1));
    }
    coordinator.apply(103, written(1));
    assert_eq!(
        coordinator.apply(104, persisted(1)),
        vec![
            Action::Retain { checkpoint: id(1) },
            Action::Complete { checkpoint: id(1) },
            Action::Prepare { checkpoint: id(2) }
        ]
    );
}

#[test]
fn subtasks_that_have_finished_are_not_waited_for() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(50, Event::SubtaskChanged { subtask: subtask(0, 0), standing: Standing::Finished });
    coordinator.apply(100, Event::Due);
    coordinator.apply(100, prepared(1));
    coordinator.apply(101, ack(1, subtask(1, 0), 1));
    // It has taken note of an earlier complete checkpoint before it saw the trigger.
    let last = coordinator.apply(102, Event::SubtaskChanged { subtask: subtask(0, 1), standing: Standing::Finished });
    assert!(matches!(&last[..], [Action::Write(all)] if all.subtasks.len() == 1), "{last:?}");
}

fn savepoint(request: u64, stop: Option<bool>) -> Event {
    Event::SavepointRequested { request: RequestId(request), directory: format!("file:///s/{request}"), stop }
}

#[test]
fn savepoints_wait_for_their_turn_and_publish_nothing() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(100, Event::Due);
    assert_eq!(coordinator.apply(101, savepoint(1, None)), vec![]);
    let actions = complete(&mut coordinator, 110, 1, 1);
    assert_eq!(actions, vec![Action::Complete { checkpoint: id(1) }, Action::Prepare { checkpoint: id(2) }]);
    let trigger = coordinator.apply(111, prepared(2));
    assert!(matches!(&trigger[..], [Action::Trigger { savepoint: Some(url), stop: None, .. }] if url == "file:///s/1"));
    for subtask in all() {
        coordinator.apply(112, ack(1, subtask, 2));
    }
    let done = Event::Written { checkpoint: id(2), result: Ok("file:///s/1".into()) };
    assert_eq!(
        coordinator.apply(113, done),
        vec![Action::Answer { request: RequestId(1), result: Ok("file:///s/1".into()) }]
    );
    assert_eq!(coordinator.newest().map(|newest| newest.checkpoint), Some(id(1)), "it belongs to its owner");
    assert_eq!(coordinator.history.counts.savepoints, 1);
}

#[test]
fn a_job_stops_with_a_savepoint_that_is_its_newest_checkpoint() {
    let mut coordinator = running(&[]);
    assert_eq!(coordinator.apply(10, savepoint(1, Some(false))), vec![Action::Prepare { checkpoint: id(1) }]);
    let refused = coordinator.apply(11, savepoint(2, None));
    assert!(matches!(&refused[..], [Action::Answer { result: Err(reason), .. }] if reason == "the job is ending"));
    let actions = complete(&mut coordinator, 20, 1, 1);
    assert_eq!(
        actions,
        vec![Action::Complete { checkpoint: id(1) }, Action::Answer { request: RequestId(1), result: Ok(location(1)) }]
    );
    assert_eq!(coordinator.stopped_with(), Some(location(1).as_str()));
    assert_eq!(coordinator.ended(30, false), vec![], "savepoints are never deleted");
}

/// Its owner is told that it is complete and starts from it: another attempt would read the same again.
#[test]
fn a_savepoint_to_stop_with_that_is_complete_after_its_attempt_ends_the_job() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(10, savepoint(1, Some(false)));
    coordinator.apply(11, prepared(1));
    for subtask in all() {
        coordinator.apply(12, ack(1, subtask, 1));
    }
    coordinator.apply(13, written(1));
    coordinator.apply(14, Event::Halted { reason: "the job is RESTARTING".into() });
    coordinator.apply(15, deployed(2));
    let actions = coordinator.apply(16, persisted(1));
    let [Action::Retain { .. }, Action::Fail { cause }, Action::Answer { result: Ok(_), .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(cause.contains("start the job again from it"), "{cause}");
    assert_eq!(coordinator.stopped_with(), Some(location(1).as_str()));

    // So it is found by a job manager that is started anew.
    let mut recovered = Coordinator::new(options(&[("interval", "100 ms")]), 1);
    recovered.recover(64, coordinator.to_keep());
    assert_eq!(recovered.stopped_with(), Some(location(1).as_str()));
}

#[test]
fn a_savepoint_to_stop_with_that_fails_starts_the_job_again() {
    let mut coordinator = running(&[("interval", "1 h"), ("timeout", "50 ms"), ("tolerable-failed-checkpoints", "9")]);
    coordinator.apply(10, savepoint(1, Some(true)));
    coordinator.apply(11, prepared(1));
    let actions = coordinator.apply(60, Event::Due);
    let [Action::Aborted { .. }, Action::Answer { result: Err(_), .. }, Action::Fail { cause }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(cause.contains("its sources have ended"), "{cause}");
}

/// Classic: a checkpoint in flight when the job fails leaves its client without an answer.
#[test]
fn savepoints_are_answered_when_the_attempt_is_over() {
    let mut coordinator = running(&[("interval", "100 ms")]);
    coordinator.apply(10, savepoint(1, None));
    coordinator.apply(11, savepoint(2, None));
    let actions = coordinator.apply(12, Event::Halted { reason: "the job is RESTARTING".into() });
    let answers = actions.iter().filter(|action| matches!(action, Action::Answer { result: Err(_), .. })).count();
    assert_eq!((answers, actions.len()), (2, 2), "it was not triggered, so that nobody else is told");
}

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Prepare(bool),
    Ack {
        subtask: usize,
        stale_attempt: bool,
        stale_id: bool,
    },
    Decline(usize),
    Write(bool),
    Persist(bool),
    Halt,
    /// Of all, or of one subtask that is a region of its own.
    Restart(Option<usize>),
    Finishing(usize),
    Finished(usize),
    Savepoint(Option<bool>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1i64..150).prop_map(Step::Wait),
        6 => proptest::bool::weighted(0.95).prop_map(Step::Prepare),
        20 => (0usize..3, proptest::bool::weighted(0.1), proptest::bool::weighted(0.1))
            .prop_map(|(subtask, stale_attempt, stale_id)| Step::Ack { subtask, stale_attempt, stale_id }),
        1 => (0usize..3).prop_map(Step::Decline),
        6 => proptest::bool::weighted(0.9).prop_map(Step::Write),
        6 => proptest::bool::weighted(0.9).prop_map(Step::Persist),
        1 => Just(Step::Halt),
        3 => proptest::option::of(0usize..3).prop_map(Step::Restart),
        1 => (0usize..2).prop_map(Step::Finishing),
        1 => (0usize..3).prop_map(Step::Finished),
        1 => prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)].prop_map(Step::Savepoint),
    ]
}

/// Plays the caller: answers what the coordinator asks for, in whatever order the steps say.
struct Caller {
    coordinator: Coordinator,
    now: i64,
    attempt: u32,
    /// Of each subtask.
    attempts: [u32; 3],
    /// Who has answered about what was triggered, in the attempt that counts.
    heard: BTreeSet<SubtaskId>,
    /// Asked for and not answered.
    preparing: Option<u64>,
    writing: Vec<u64>,
    persisting: Vec<u64>,
    triggered: Option<u64>,
    last_id: u64,
    completed: Vec<u64>,
    discarded: BTreeSet<u64>,
    requests: u64,
    answers: BTreeSet<u64>,
}

impl Caller {
    fn event(&mut self, event: Event) {
        for action in self.coordinator.apply(self.now, event) {
            match action {
                Action::Prepare { checkpoint } => {
                    assert!(checkpoint.0 > self.last_id, "ids rise");
                    self.last_id = checkpoint.0;
                    self.preparing = Some(checkpoint.0);
                    self.triggered = None;
                }
                Action::Trigger { checkpoint, .. } => {
                    assert_eq!(checkpoint.0, self.last_id, "one in flight");
                    self.heard.clear();
                    self.triggered = Some(checkpoint.0);
                }
                Action::Write(collected) => {
                    assert_eq!(collected.attempt.0, self.attempt, "no part of another attempt");
                    assert!(
                        collected.subtasks.keys().all(|subtask| self.heard.contains(subtask)),
                        "nor of another subtask"
                    );
                    self.writing.push(collected.checkpoint.0);
                }
                Action::Persist { checkpoint, .. } => self.persisting.push(checkpoint.0),
                Action::Complete { checkpoint } => {
                    assert!(self.completed.last().is_none_or(|last| *last < checkpoint.0), "committed ids rise");
                    let newest = self.coordinator.newest().map(|newest| newest.checkpoint);
                    assert_eq!(newest, Some(checkpoint), "what is told is what a restart finds");
                    self.completed.push(checkpoint.0);
                }
                Action::Discard { checkpoint, .. } => {
                    assert!(self.discarded.insert(checkpoint.0), "deleted once");
                }
                Action::Answer { request, .. } => assert!(self.answers.insert(request.0), "answered once"),
                Action::Aborted { checkpoint } => assert!(!self.completed.contains(&checkpoint.0)),
                Action::Retain { checkpoint } => assert!(!self.discarded.contains(&checkpoint.0)),
                Action::ReserveIds { .. } | Action::Fail { .. } => {}
            }
        }
        for retained in self.coordinator.retained() {
            assert!(!self.discarded.contains(&retained.checkpoint.0), "what is kept is not deleted");
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(ms) => {
                self.now += ms;
                self.event(Event::Due);
            }
            Step::Prepare(fine) => {
                if let Some(checkpoint) = self.preparing.take() {
                    let enumerators = if fine { Ok(vec![]) } else { Err("gone".to_owned()) };
                    self.event(Event::Prepared { checkpoint: id(checkpoint), enumerators });
                }
            }
            Step::Ack { subtask, stale_attempt, stale_id } => {
                let checkpoint = self.triggered.unwrap_or(self.last_id).saturating_sub(u64::from(stale_id));
                if !stale_attempt {
                    self.heard.insert(all()[subtask]);
                }
                let attempt = self.attempts[subtask].saturating_sub(u32::from(stale_attempt));
                self.event(ack(attempt, all()[subtask], checkpoint));
            }
            Step::Decline(subtask) => {
                let checkpoint = id(self.triggered.unwrap_or(0));
                let (attempt, subtask) = (AttemptId(self.attempts[subtask]), all()[subtask]);
                self.event(Event::Declined { attempt, subtask, checkpoint, reason: "no".to_owned() });
            }
            Step::Write(fine) => {
                if let Some(checkpoint) = self.writing.pop() {
                    let result = if fine { Ok(location(checkpoint)) } else { Err("500".to_owned()) };
                    self.event(Event::Written { checkpoint: id(checkpoint), result });
                }
            }
            Step::Persist(fine) => {
                if let Some(checkpoint) = self.persisting.pop() {
                    let result = if fine { Ok(()) } else { Err("full".to_owned()) };
                    self.event(Event::Persisted { checkpoint: id(checkpoint), result });
                }
            }
            Step::Halt => {
                self.preparing = None;
                self.event(Event::Halted { reason: "over".to_owned() });
            }
            Step::Restart(region) => {
                self.step(Step::Halt);
                self.attempt += 1;
                self.triggered = None;
                self.heard.clear();
                match region {
                    Some(index) => self.attempts[index] = self.attempt,
                    None => self.attempts = [self.attempt; 3],
                }
                let executions = all().into_iter().zip(self.attempts.map(AttemptId)).collect();
                let sources = BTreeSet::from([subtask(0, 0), subtask(0, 1)]);
                self.event(Event::Deployed { attempt: AttemptId(self.attempt), executions, sources });
                self.event(Event::Started);
            }
            Step::Finishing(index) => self.event(finishing(all()[index])),
            Step::Finished(index) => {
                self.event(Event::SubtaskChanged { subtask: all()[index], standing: Standing::Finished });
            }
            Step::Savepoint(stop) => {
                self.requests += 1;
                self.event(savepoint(self.requests, stop));
            }
        }
    }
}

proptest! {
    /// Whatever comes in whatever order: ids rise, one checkpoint is in flight, no part of another attempt
    /// is taken, what is told complete is what a restart finds, nothing kept is deleted, every client is
    /// answered once.
    #[test]
    fn every_order_of_events_keeps_the_invariants(
        steps in proptest::collection::vec(any_step(), 0..200),
        retained in 1u32..4,
    ) {
        let mut coordinator = coordinator(&[
            ("interval", "100 ms"),
            ("timeout", "400 ms"),
            ("tolerable-failed-checkpoints", "2"),
            ("num-retained", &retained.to_string()),
        ]);
        coordinator.apply(0, Event::Started);
        let mut caller = Caller {
            coordinator,
            now: 0,
            attempt: 1,
            attempts: [1; 3],
            heard: BTreeSet::new(),
            preparing: None,
            writing: Vec::new(),
            persisting: Vec::new(),
            triggered: None,
            last_id: 0,
            completed: Vec::new(),
            discarded: BTreeSet::new(),
            requests: 0,
            answers: BTreeSet::new(),
        };
        for step in steps {
            caller.step(step);
            prop_assert!(caller.coordinator.retained().count() <= retained as usize);
        }
        for checkpoint in std::mem::take(&mut caller.persisting) {
            caller.event(persisted(checkpoint));
        }
        caller.event(Event::Halted { reason: "over".to_owned() });
        prop_assert_eq!(caller.answers.len() as u64, caller.requests);
    }
}

#[test]
fn options_are_read() {
    let options = options(&[("interval", "1 s"), ("timeout", "5 s")]);
    assert_eq!((options.interval, options.timeout), (Some(Duration::from_secs(1)), Duration::from_secs(5)));
}
