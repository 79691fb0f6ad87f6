//! When checkpoints of a job are taken and what becomes of them: a pure core. `apply` takes an event
//! and gives the actions that follow; messages, clocks and stores are the caller's.
//!
//! ```text
//! due or asked for -> Preparing -> Triggered -> Writing -> Persisting -> complete
//!                     enumerators  all subtasks  _metadata  pointer       subtasks are told
//! ```
//!
//! One checkpoint is in flight at a time, and none while a region of the job is down. Ids rise and are never
//! used twice, whatever the attempt.
//! A complete checkpoint is told to the subtasks only when the job manager would find it again after a
//! crash: what they publish then can never be read a second time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_common::checkpoint::{CheckpointKind, CheckpointOptions, SubtaskSnapshot};
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::{AttemptId, CheckpointId, OperatorId, SubtaskId};

use super::history::{CheckpointState, CheckpointStats, History};

/// Longest wait before something that failed is tried again without being due.
const RETRY_MS: i64 = 1_000;
/// Savepoints that may wait for their turn.
const SAVEPOINTS_WAITING_MAX: usize = 16;

/// A client's request for a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Where a subtask stands, as far as checkpoints go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Running,
    /// Its input has ended; it stays for the checkpoint that covers its end.
    Finishing,
    /// It has nothing more to keep: a complete checkpoint covers its end.
    Finished,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Regions of the job are being started. All its subtasks with the attempts that they run in, of which
    /// `attempt` is the newest: those that run in the same one as before go on. `sources` are those that read
    /// from outside.
    Deployed {
        attempt: AttemptId,
        executions: BTreeMap<SubtaskId, AttemptId>,
        sources: BTreeSet<SubtaskId>,
    },
    /// All of them run.
    Started,
    /// A region of the job has ended or is being torn down, or all of them are.
    Halted {
        reason: String,
    },
    SubtaskChanged {
        subtask: SubtaskId,
        standing: Standing,
    },
    /// The time may have come for something.
    Due,
    /// The enumerators have answered [`Action::Prepare`].
    Prepared {
        checkpoint: CheckpointId,
        enumerators: Result<Vec<(OperatorId, serde_json::Value)>, String>,
    },
    Acknowledged {
        attempt: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        snapshot: Box<SubtaskSnapshot>,
    },
    Declined {
        attempt: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        reason: String,
    },
    /// [`Action::Write`] is done: the URL of the checkpoint's directory.
    Written {
        checkpoint: CheckpointId,
        result: Result<String, String>,
    },
    /// [`Action::Persist`] is done.
    Persisted {
        checkpoint: CheckpointId,
        result: Result<(), String>,
    },
    /// Ids below this one may be used: a job manager that starts anew begins at it.
    IdsReserved {
        end: u64,
    },
    /// A client wants a savepoint in this directory; with `stop` the job ends after it.
    SavepointRequested {
        request: RequestId,
        directory: String,
        stop: Option<bool>,
    },
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Take snapshots of the split enumerators once none is away for discovery, and answer with
    /// [`Event::Prepared`]. What is assigned later must be sent after the trigger that follows.
    Prepare { checkpoint: CheckpointId },
    /// Tell the task managers with sources.
    Trigger { checkpoint: CheckpointId, timestamp_ms: i64, savepoint: Option<String>, stop: Option<bool> },
    /// Write `_metadata`, unless there is one, and answer with [`Event::Written`].
    Write(Box<Collected>),
    /// Keep [`Coordinator::to_keep`] beyond a crash, and answer with [`Event::Persisted`].
    Persist { checkpoint: CheckpointId },
    /// It is kept from now on, and what it names is not to be deleted. Its attempts may be over.
    Retain { checkpoint: CheckpointId },
    /// Tell all task managers of regions that run that it is complete.
    Complete { checkpoint: CheckpointId },
    /// Tell all task managers of regions that run that it will not be.
    Aborted { checkpoint: CheckpointId },
    /// Delete it: its metadata first, then the files nothing else names.
    Discard { checkpoint: CheckpointId, location: String },
    /// Keep beyond a crash that ids below `end` are taken, and answer with [`Event::IdsReserved`].
    ReserveIds { end: u64 },
    /// Answer a client: where the savepoint is, or why there is none.
    Answer { request: RequestId, result: Result<String, String> },
    /// The job fails.
    Fail { cause: String },
}

/// All parts of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    pub checkpoint: CheckpointId,
    pub kind: CheckpointKind,
    /// The newest of the attempts that took part.
    pub attempt: AttemptId,
    pub timestamp_ms: i64,
    /// Of a savepoint.
    pub directory: Option<String>,
    pub subtasks: BTreeMap<SubtaskId, SubtaskSnapshot>,
    pub enumerators: Vec<(OperatorId, serde_json::Value)>,
}

/// A complete checkpoint the job can start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    pub checkpoint: CheckpointId,
    /// URL of its directory.
    pub location: String,
    pub kind: CheckpointKind,
}

/// Ids are reserved so many at a time.
pub const IDS_RESERVED: u64 = 64;

#[derive(Clone, Debug)]
struct Savepoint {
    request: RequestId,
    directory: String,
    stop: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preparing,
    Triggered,
    Writing,
}

#[derive(Debug)]
struct Pending {
    checkpoint: CheckpointId,
    savepoint: Option<Savepoint>,
    triggered_ms: i64,
    deadline_ms: i64,
    stage: Stage,
    /// Whether it is behind the end of all sources' input.
    covers_end: bool,
    waiting: BTreeSet<SubtaskId>,
    subtasks: BTreeMap<SubtaskId, SubtaskSnapshot>,
    enumerators: Vec<(OperatorId, serde_json::Value)>,
}

impl Pending {
    fn kind(&self) -> CheckpointKind {
        if self.savepoint.is_some() { CheckpointKind::Savepoint } else { CheckpointKind::Checkpoint }
    }

    fn stop(&self) -> bool {
        self.savepoint.as_ref().is_some_and(|savepoint| savepoint.stop.is_some())
    }
}

/// A checkpoint whose pointer is being kept. It may become complete after attempts of it are over.
#[derive(Debug)]
struct Persisting {
    retained: Retained,
    /// The newest attempt when it was taken.
    attempt: AttemptId,
    savepoint: Option<Savepoint>,
    covers_end: bool,
}

/// The checkpoints of one job.
#[derive(Debug)]
pub struct Coordinator {
    options: CheckpointOptions,
    sources: BTreeSet<SubtaskId>,
    /// The newest attempt; another one says that a region was deployed since.
    attempt: AttemptId,
    executions: BTreeMap<SubtaskId, AttemptId>,
    running: bool,
    standings: BTreeMap<SubtaskId, Standing>,
    next_id: u64,
    ids_end: u64,
    reserving: bool,
    /// Before which nothing is triggered, after ids could not be reserved.
    ids_retry_ms: i64,
    /// When the next checkpoint is due.
    due_ms: i64,
    /// Before which none is triggered, after a failed one at the end of the input.
    final_retry_ms: i64,
    pending: Option<Pending>,
    persisting: Option<Persisting>,
    queue: VecDeque<Savepoint>,
    retained: VecDeque<Retained>,
    /// In a row.
    failures: u32,
    /// Whether a complete checkpoint covers the end of the input: the job ends by itself.
    end_covered: bool,
    pub history: History,
}

impl Coordinator {
    /// A job that takes checkpoints as its options say. `first_id` was never used by it.
    pub fn new(options: CheckpointOptions, first_id: u64) -> Self {
        Self {
            options,
            sources: BTreeSet::new(),
            attempt: AttemptId(0),
            executions: BTreeMap::new(),
            running: false,
            standings: BTreeMap::new(),
            next_id: first_id,
            ids_end: first_id,
            reserving: false,
            ids_retry_ms: 0,
            due_ms: i64::MAX,
            final_retry_ms: 0,
            pending: None,
            persisting: None,
            queue: VecDeque::new(),
            retained: VecDeque::new(),
            failures: 0,
            end_covered: false,
            history: History::default(),
        }
    }

    /// Goes on with what was kept before a crash: checkpoints, oldest first, and ids that are taken.
    pub fn recover(&mut self, first_id: u64, retained: impl IntoIterator<Item = Retained>) {
        (self.next_id, self.ids_end) = (first_id, first_id);
        self.retained.extend(retained);
    }

    /// The newest checkpoint to start from.
    pub fn newest(&self) -> Option<&Retained> {
        self.retained.back()
    }

    /// Whether a checkpoint is being kept just now. What a region starts from is not known before.
    pub fn is_persisting(&self) -> bool {
        self.persisting.is_some()
    }

    /// All checkpoints that are kept, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = &Retained> {
        self.retained.iter()
    }

    /// What a restarted job manager is to find: the same, with the one that is being kept just now.
    pub fn to_keep(&self) -> Vec<Retained> {
        let newest = self.persisting.as_ref().map(|persisting| &persisting.retained);
        let all: Vec<Retained> = self.retained.iter().chain(newest).cloned().collect();
        all[all.len().saturating_sub(self.options.retained as usize)..].to_vec()
    }

    /// Ids below this one may be in use.
    pub fn ids_end(&self) -> u64 {
        if self.reserving { self.ids_asked() } else { self.ids_end }
    }

    fn ids_asked(&self) -> u64 {
        self.ids_end.max(self.next_id) + IDS_RESERVED
    }

    /// The savepoint after which the job was to end, if it is complete. From then on the job is its owner's to
    /// start again: another attempt of it would read on beyond what that starts from.
    pub fn stopped_with(&self) -> Option<&str> {
        // No other savepoints are retained.
        let newest = self.newest().filter(|newest| newest.kind == CheckpointKind::Savepoint);
        newest.map(|newest| newest.location.as_str())
    }

    /// When [`Event::Due`] is wanted.
    pub fn wake_ms(&self) -> Option<i64> {
        if let Some(pending) = &self.pending {
            return Some(pending.deadline_ms);
        }
        let no_ids = self.reserving && self.next_id >= self.ids_end;
        if !self.running || self.end_covered || self.persisting.is_some() || no_ids || self.all_have_finished() {
            return None;
        }
        let due = match (self.queue.is_empty(), self.options.interval, self.wants_final()) {
            (false, ..) => 0,
            (true, Some(_), true) => self.final_retry_ms,
            (true, Some(_), false) => self.due_ms,
            (true, None, _) => return None,
        };
        (due < i64::MAX).then_some(due.max(self.ids_retry_ms))
    }

    /// Takes an event.
    pub fn apply(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Deployed { attempt, executions, sources } => {
                let standing = |(subtask, attempt): (&SubtaskId, &AttemptId)| {
                    let same = self.executions.get(subtask) == Some(attempt);
                    (*subtask, self.standings.get(subtask).copied().filter(|_| same).unwrap_or(Standing::Running))
                };
                self.standings = executions.iter().map(standing).collect();
                (self.attempt, self.executions, self.sources) = (attempt, executions, sources);
                (self.running, self.end_covered, self.failures) = (false, false, 0);
            }
            Event::Started => {
                if !std::mem::replace(&mut self.running, true) {
                    self.due_ms = self.interval_ms().map_or(i64::MAX, |interval| now_ms.saturating_add(interval));
                }
            }
            Event::Halted { reason } => self.halted(now_ms, &reason, &mut actions),
            Event::SubtaskChanged { subtask, standing } => {
                self.subtask_changed(now_ms, subtask, standing, &mut actions);
            }
            Event::Due => self.check_deadline(now_ms, &mut actions),
            Event::Prepared { checkpoint, enumerators } => {
                self.prepared(now_ms, checkpoint, enumerators, &mut actions);
            }
            Event::Acknowledged { attempt, subtask, checkpoint, snapshot } => {
                self.acknowledged(now_ms, (attempt, subtask, checkpoint), *snapshot, &mut actions);
            }
            Event::Declined { attempt, subtask, checkpoint, reason } => {
                let current = self.executions.get(&subtask) == Some(&attempt);
                if current && self.is_pending(checkpoint, Stage::Triggered) {
                    self.abort(now_ms, format!("subtask {subtask} declined: {reason}"), true, &mut actions);
                }
            }
            Event::Written { checkpoint, result } => self.written(now_ms, checkpoint, result, &mut actions),
            Event::Persisted { checkpoint, result } => self.persisted(now_ms, checkpoint, result, &mut actions),
            Event::IdsReserved { end } => {
                self.reserving = false;
                if end <= self.ids_end {
                    self.ids_retry_ms = now_ms.saturating_add(RETRY_MS);
                }
                self.ids_end = self.ids_end.max(end);
            }
            Event::SavepointRequested { request, directory, stop } => {
                self.requested(Savepoint { request, directory, stop }, &mut actions);
            }
        }
        self.trigger_if_due(now_ms, &mut actions);
        actions
    }

    /// The job has ended: gives what is to be deleted. Checkpoints stay if they are to be retained;
    /// savepoints are their owner's.
    pub fn ended(&mut self, now_ms: i64, retain: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        self.halted(now_ms, "the job has ended", &mut actions);
        if !retain {
            for old in std::mem::take(&mut self.retained) {
                discard(old, &mut actions);
            }
        }
        actions
    }

    fn interval_ms(&self) -> Option<i64> {
        self.options.interval.map(|interval| i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1))
    }

    fn is_pending(&self, checkpoint: CheckpointId, stage: Stage) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.checkpoint == checkpoint && pending.stage == stage)
    }

    fn halted(&mut self, now_ms: i64, reason: &str, actions: &mut Vec<Action>) {
        self.running = false;
        // Those that go on are told; a savepoint to stop with has none of them.
        self.abort(now_ms, reason.to_owned(), false, actions);
        for savepoint in std::mem::take(&mut self.queue) {
            actions.push(Action::Answer { request: savepoint.request, result: Err(reason.to_owned()) });
        }
    }

    fn subtask_changed(&mut self, now_ms: i64, subtask: SubtaskId, standing: Standing, actions: &mut Vec<Action>) {
        let Some(known) = self.standings.get_mut(&subtask) else { return };
        *known = standing;
        if standing != Standing::Finished || !self.pending.as_ref().is_some_and(|p| p.stage == Stage::Triggered) {
            return;
        }
        // A complete checkpoint covers its end, it has nothing to add to this one.
        if let Some(pending) = &mut self.pending
            && pending.waiting.remove(&subtask)
        {
            self.collected(now_ms, actions);
        }
    }

    fn requested(&mut self, savepoint: Savepoint, actions: &mut Vec<Action>) {
        let refuse = if !self.running {
            Some("the job does not run")
        } else if self.end_covered || self.stop_wanted() {
            Some("the job is ending")
        } else if self.queue.len() >= SAVEPOINTS_WAITING_MAX {
            Some("too many savepoints wait for their turn")
        } else {
            None
        };
        match refuse {
            Some(reason) => {
                actions.push(Action::Answer { request: savepoint.request, result: Err(reason.to_owned()) });
            }
            None => self.queue.push_back(savepoint),
        }
    }

    fn stop_wanted(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::stop)
            || self.persisting.as_ref().and_then(|p| p.savepoint.as_ref()).is_some_and(|s| s.stop.is_some())
            || self.queue.iter().any(|savepoint| savepoint.stop.is_some())
    }

    fn input_has_ended(&self) -> bool {
        !self.sources.is_empty()
            && self.sources.iter().all(|source| self.standings.get(source) != Some(&Standing::Running))
    }

    fn all_have_finished(&self) -> bool {
        self.standings.values().all(|standing| *standing == Standing::Finished)
    }

    /// Whether the tail waits for a checkpoint that publishes it.
    fn wants_final(&self) -> bool {
        self.input_has_ended() && !self.end_covered
    }

    fn trigger_if_due(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let idle = self.running && self.pending.is_none() && self.persisting.is_none() && !self.end_covered;
        if !idle || now_ms < self.ids_retry_ms || self.all_have_finished() {
            return;
        }
        let due = match (self.options.interval, self.wants_final()) {
            (Some(_), true) => now_ms >= self.final_retry_ms,
            (Some(_), false) => now_ms >= self.due_ms,
            (None, _) => false,
        };
        if self.queue.is_empty() && !due {
            return;
        }
        if self.next_id >= self.ids_end {
            self.reserve(actions);
            return;
        }
        let savepoint = self.queue.pop_front();
        let checkpoint = CheckpointId(self.next_id);
        self.next_id += 1;
        if self.ids_end - self.next_id < IDS_RESERVED / 2 {
            self.reserve(actions);
        }
        if let Some(interval) = self.interval_ms().filter(|_| savepoint.is_none()) {
            self.due_ms = now_ms.saturating_add(interval);
        }
        let timeout_ms = i64::try_from(self.options.timeout.as_millis()).unwrap_or(i64::MAX);
        let pending = Pending {
            checkpoint,
            savepoint,
            triggered_ms: now_ms,
            deadline_ms: now_ms.saturating_add(timeout_ms),
            stage: Stage::Preparing,
            covers_end: false,
            waiting: BTreeSet::new(),
            subtasks: BTreeMap::new(),
            enumerators: Vec::new(),
        };
        self.history.begun(CheckpointStats::begun(
            checkpoint,
            self.attempt,
            pending.kind(),
            pending.stop(),
            now_ms,
            self.standings.len() as u32,
        ));
        self.pending = Some(pending);
        actions.push(Action::Prepare { checkpoint });
    }

    fn reserve(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.reserving, true) {
            actions.push(Action::ReserveIds { end: self.ids_asked() });
        }
    }

    fn check_deadline(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending.as_ref().filter(|pending| now_ms >= pending.deadline_ms) else { return };
        let seconds = self.options.timeout.as_secs_f64();
        let what = match pending.stage {
            Stage::Preparing => "the split enumerators did not answer".to_owned(),
            Stage::Triggered => {
                let late: Vec<String> = pending.waiting.iter().take(5).map(SubtaskId::to_string).collect();
                format!(
                    "{} of {} subtasks did not answer, such as {}",
                    pending.waiting.len(),
                    pending.waiting.len() + pending.subtasks.len(),
                    late.join(", ")
                )
            }
            Stage::Writing => "its metadata was not written".to_owned(),
        };
        let cause = format!("{what} within {seconds} s (execution.checkpointing.timeout)");
        self.abort(now_ms, cause, true, actions);
    }

    fn prepared(
        &mut self,
        now_ms: i64,
        checkpoint: CheckpointId,
        enumerators: Result<Vec<(OperatorId, serde_json::Value)>, String>,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_pending(checkpoint, Stage::Preparing) {
            return;
        }
        let covers_end = self.input_has_ended();
        let unfinished = self.standings.iter().filter(|(_, standing)| **standing != Standing::Finished);
        let waiting: BTreeSet<SubtaskId> = unfinished.map(|(subtask, _)| *subtask).collect();
        let Some(pending) = &mut self.pending else { return };
        match enumerators {
            Ok(enumerators) => {
                pending.stage = Stage::Triggered;
                pending.enumerators = enumerators;
                pending.waiting = waiting;
                pending.covers_end = covers_end || pending.stop();
                actions.push(Action::Trigger {
                    checkpoint,
                    timestamp_ms: pending.triggered_ms,
                    savepoint: pending.savepoint.as_ref().map(|savepoint| savepoint.directory.clone()),
                    stop: pending.savepoint.as_ref().and_then(|savepoint| savepoint.stop),
                });
                if pending.waiting.is_empty() {
                    self.collected(now_ms, actions);
                }
            }
            Err(reason) => self.abort(now_ms, format!("a split enumerator failed: {reason}"), true, actions),
        }
    }

    fn acknowledged(
        &mut self,
        now_ms: i64,
        (attempt, subtask, checkpoint): (AttemptId, SubtaskId, CheckpointId),
        snapshot: SubtaskSnapshot,
        actions: &mut Vec<Action>,
    ) {
        let stale = self.executions.get(&subtask) != Some(&attempt) && !is_broken(Promise::StaleAnswer);
        if stale || !self.is_pending(checkpoint, Stage::Triggered) {
            return;
        }
        if let Some(pending) = &mut self.pending
            && pending.waiting.remove(&subtask)
        {
            self.history.acknowledged(checkpoint, &snapshot);
            pending.subtasks.insert(subtask, snapshot);
            self.collected(now_ms, actions);
        }
    }

    /// Goes on once nobody is waited for.
    fn collected(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.waiting.is_empty()) else { return };
        if pending.subtasks.is_empty() {
            self.abort(now_ms, "the job has finished".to_owned(), false, actions);
            return;
        }
        pending.stage = Stage::Writing;
        actions.push(Action::Write(Box::new(Collected {
            checkpoint: pending.checkpoint,
            kind: pending.kind(),
            attempt: self.attempt,
            timestamp_ms: pending.triggered_ms,
            directory: pending.savepoint.as_ref().map(|savepoint| savepoint.directory.clone()),
            subtasks: std::mem::take(&mut pending.subtasks),
            enumerators: std::mem::take(&mut pending.enumerators),
        })));
    }

    fn written(
        &mut self,
        now_ms: i64,
        checkpoint: CheckpointId,
        result: Result<String, String>,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_pending(checkpoint, Stage::Writing) {
            // It was aborted meanwhile.
            if let Ok(location) = result {
                actions.push(Action::Discard { checkpoint, location });
            }
            return;
        }
        let location = match result {
            Ok(location) => location,
            Err(reason) => {
                return self.abort(now_ms, format!("its metadata cannot be written: {reason}"), true, actions);
            }
        };
        let Some(pending) = self.pending.take() else { return };
        let kind = pending.kind();
        if kind == CheckpointKind::Savepoint && !pending.stop() {
            // Nothing is published for it, so that the job goes on from its own checkpoints: their owner
            // may move or delete it.
            self.history.ended(checkpoint, now_ms, CheckpointState::Completed, Some(location.clone()), None);
            actions
                .extend(pending.savepoint.map(|s| Action::Answer { request: s.request, result: Ok(location.clone()) }));
            return;
        }
        actions.push(Action::Persist { checkpoint });
        self.persisting = Some(Persisting {
            retained: Retained { checkpoint, location, kind },
            attempt: self.attempt,
            savepoint: pending.savepoint,
            covers_end: pending.covers_end,
        });
    }

    fn persisted(
        &mut self,
        now_ms: i64,
        checkpoint: CheckpointId,
        result: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(done) = self.persisting.take_if(|persisting| persisting.retained.checkpoint == checkpoint) else {
            return;
        };
        let current = done.attempt == self.attempt && self.running;
        if let Err(reason) = result {
            let cause = format!("the job manager cannot keep it: {reason}");
            let stop = done.savepoint.as_ref().is_some_and(|savepoint| savepoint.stop.is_some());
            self.failed(now_ms, checkpoint, done.savepoint, cause, current, stop, actions);
            if current {
                actions.push(Action::Aborted { checkpoint });
            }
            // Its files stay: a record that names it may be on disk after all.
            return;
        }
        self.history.ended(checkpoint, now_ms, CheckpointState::Completed, Some(done.retained.location.clone()), None);
        let location = done.retained.location.clone();
        self.retained.push_back(done.retained);
        actions.push(Action::Retain { checkpoint });
        if current {
            self.failures = 0;
            self.end_covered |= done.covers_end;
            self.pause(now_ms);
            actions.push(Action::Complete { checkpoint });
        } else if done.savepoint.is_some() {
            actions.push(Action::Fail {
                cause: format!(
                    "the savepoint {location} is complete, and the attempt of the job that was to end with it is over; start the job again from it"
                ),
            });
        }
        while self.retained.len() > self.options.retained as usize {
            let Some(old) = self.retained.pop_front() else { break };
            discard(old, actions);
        }
        actions.extend(done.savepoint.map(|s| Action::Answer { request: s.request, result: Ok(location) }));
    }

    /// The least pause between two checkpoints begins.
    fn pause(&mut self, now_ms: i64) {
        let pause_ms = i64::try_from(self.options.min_pause.as_millis()).unwrap_or(i64::MAX);
        self.due_ms = self.due_ms.max(now_ms.saturating_add(pause_ms));
    }

    fn abort(&mut self, now_ms: i64, cause: String, counted: bool, actions: &mut Vec<Action>) {
        let Some(pending) = self.pending.take() else { return };
        if pending.stage != Stage::Preparing {
            actions.push(Action::Aborted { checkpoint: pending.checkpoint });
        }
        // Its sources have ended and cannot go on.
        let stopped = pending.stop() && pending.stage != Stage::Preparing;
        self.failed(now_ms, pending.checkpoint, pending.savepoint, cause, counted, stopped, actions);
    }

    #[allow(clippy::too_many_arguments, reason = "the facts of one failure")]
    fn failed(
        &mut self,
        now_ms: i64,
        checkpoint: CheckpointId,
        savepoint: Option<Savepoint>,
        cause: String,
        counted: bool,
        stopped: bool,
        actions: &mut Vec<Action>,
    ) {
        self.history.ended(checkpoint, now_ms, CheckpointState::Failed, None, Some(cause.clone()));
        self.pause(now_ms);
        let retry = self.interval_ms().unwrap_or(RETRY_MS).min(RETRY_MS);
        self.final_retry_ms = now_ms.saturating_add(retry);
        if let Some(savepoint) = savepoint {
            actions.push(Action::Answer { request: savepoint.request, result: Err(cause.clone()) });
            if stopped && counted {
                let cause = format!("the savepoint to stop with failed, and its sources have ended: {cause}");
                actions.push(Action::Fail { cause });
            }
            return;
        }
        if !counted {
            return;
        }
        self.failures += 1;
        if self.failures > self.options.tolerable_failures {
            let tolerable = self.options.tolerable_failures;
            self.failures = 0;
            actions.push(Action::Fail {
                cause: format!(
                    "checkpoint {checkpoint} failed, and {tolerable} failed ones in a row are tolerated (execution.checkpointing.tolerable-failed-checkpoints): {cause}"
                ),
            });
        }
    }
}

fn discard(old: Retained, actions: &mut Vec<Action>) {
    if old.kind == CheckpointKind::Checkpoint {
        actions.push(Action::Discard { checkpoint: old.checkpoint, location: old.location });
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
