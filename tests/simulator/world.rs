//! What is outside of the processes: time, the store of checkpoints, the job manager's disk, and the
//! database that the sinks write to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemill_common::checkpoint::CheckpointMetadata;
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::ids::{JobId, SubtaskId};

use crate::counter::Epoch;
use crate::manager::{ManagerEvent, Record};
use crate::tasks::{At, Down, Element, Up, job_of};
use crate::workload::{LANE_SPLITS, Output, ROWS_PER_SPLIT, Row, SPLITS};

/// A connection between a task manager and the job manager.
pub type Link = u64;
/// A channel between two subtasks of an attempt.
pub type ChannelId = (u32, SubtaskId, SubtaskId);

/// What happens next.
#[derive(Debug)]
pub enum Next {
    ToManager {
        link: Link,
        message: Up,
    },
    ToTaskManager {
        link: Link,
        message: Box<Down>,
    },
    LinkLost {
        link: Link,
        manager_side: bool,
    },
    /// The head of a channel arrives.
    Data(ChannelId),
    /// A sender gets credits back.
    Credit {
        channel: ChannelId,
        credits: usize,
    },
    Step(At),
    Uploaded(At),
    Manager {
        life: u64,
        event: ManagerEvent,
    },
    DiskWrite {
        life: u64,
        record: Option<Record>,
    },
    Delete {
        life: u64,
        names: Vec<String>,
        tries: u32,
    },
    /// Of a job that has ended: all below its directory.
    DeleteAll {
        directory: String,
    },
    /// The job's owner wants something, or looks whether it has got it.
    Owner,
    StartTaskManager(usize),
    StartManager,
    Fault,
}

/// What is kept in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Metadata(Box<CheckpointMetadata>),
    State(State),
    Outputs(Vec<Output>),
    /// Rows that a barrier has overtaken.
    InFlight(Vec<Row>),
}

/// A file of keyed state: how many rows each key has had, and rows of windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub counts: BTreeMap<u64, u64>,
    pub rows: Vec<Row>,
}

/// How a request to the store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Nothing has happened.
    Refused,
    /// It has happened, and nobody is told.
    Unheard,
}

macro_rules! landed {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what has happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Landed {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Landed {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

landed! {
    task_managers_killed,
    managers_killed,
    links_cut,
    /// Task managers that stood still until they had been replaced, and then went on.
    frozen,
    store_refused,
    store_unheard,
    disk_failed,
    commits_unheard,
    commits_refused,
    messages_lost,
    /// Effects of past attempts that were refused.
    fenced,
    /// Subtasks' parts of checkpoints with rows in flight, and rows that were taken from them again.
    overtaken,
    replayed,
    /// Rows, watermarks and barriers that had to wait for a credit.
    backpressured,
    /// Jobs that were rescaled, and subtasks that restored what was kept at another parallelism.
    rescaled,
    moved,
    savepoints,
    /// Jobs that were stopped with a savepoint and went on from it as others, and those of which it was
    /// not known at first whether they had been stopped.
    stopped,
    stops_unheard,
    late,
    windows,
    completed,
    aborted,
    restarts,
    /// Restarts of some regions while others went on, and splits that came back because of them.
    failovers,
    given_back,
    events,
}

impl Landed {
    pub fn crashes(&self) -> u64 {
        self.task_managers_killed + self.managers_killed
    }
}

/// The database of the sinks: rows and markers change in one transaction.
#[derive(Debug, Default)]
pub struct Database {
    /// How many rows of each key were counted.
    counted: BTreeMap<u64, u64>,
    /// The last of them from each split.
    order: BTreeMap<(u64, u64), u64>,
    /// Rows that came into a window or were late.
    gathered: BTreeSet<Row>,
    /// The newest window of each key that has fired.
    fired: BTreeMap<u64, i64>,
    pub late: u64,
    pub windows: u64,
    /// Rows that went through lanes, and the last of them from each split.
    passed: BTreeSet<Row>,
    passed_order: BTreeMap<u64, u64>,
    /// The newest checkpoint whose rows are published, per job, sink and subtask.
    markers: BTreeMap<(JobId, String, u32), u64>,
    /// Of each job: the attempt at which it was last started as a whole.
    fences: BTreeMap<JobId, u32>,
    /// The newest attempt of each subtask that has taken over.
    subtask_fences: BTreeMap<(JobId, SubtaskId), u32>,
}

impl Database {
    /// An attempt takes over in a subtask: older ones there have no effect any more, nor have those before the
    /// job was started as a whole in any.
    pub fn fence(&mut self, attempt: u32, first_attempt: u32, subtask: SubtaskId) -> bool {
        let whole = self.fences.entry(job_of(attempt)).or_default();
        *whole = first_attempt.max(*whole);
        let own = self.subtask_fences.entry((job_of(attempt), subtask)).or_default();
        *own = attempt.max(*own);
        self.may_write(attempt, subtask)
    }

    fn may_write(&self, attempt: u32, subtask: SubtaskId) -> bool {
        let whole = self.fences.get(&job_of(attempt)).is_some_and(|whole| *whole <= attempt);
        whole && self.subtask_fences.get(&(job_of(attempt), subtask)) == Some(&attempt)
    }

    /// Publishes epochs that are newer than their markers. `false` if the attempt is past.
    pub fn commit(&mut self, attempt: u32, subtask: SubtaskId, epochs: Vec<Epoch>) -> bool {
        let current = self.may_write(attempt, subtask);
        if !current && !is_broken(Promise::StaleAttempt) {
            return false;
        }
        for (origin, outputs) in epochs {
            let checkpoint = origin.checkpoint.0;
            let marker = self.markers.entry((origin.job, origin.sink, origin.subtask.0)).or_default();
            if checkpoint > *marker || is_broken(Promise::CommitMarker) {
                *marker = checkpoint;
                outputs.into_iter().for_each(|output| self.publish(output, checkpoint));
            }
        }
        true
    }

    fn publish(&mut self, output: Output, checkpoint: u64) {
        match output {
            Output::Counted { row, count } => {
                let last = self.counted.entry(row.key()).or_default();
                // I1 and I2 at once: no row of a key is lost, doubled or out of order.
                assert_eq!(count, *last + 1, "I1: of key {} comes {row:?} of checkpoint {checkpoint}", row.key());
                *last = count;
                let before = self.order.insert((row.key(), row.split), row.index);
                assert!(before < Some(row.index), "I2: {row:?} comes after row {before:?} of its key and split");
            }
            Output::Passed(row) => {
                assert!(self.passed.insert(row), "I1: {row:?} has come through a lane before");
                let before = self.passed_order.insert(row.split, row.index);
                assert!(before < Some(row.index), "I2: {row:?} comes after row {before:?} of its split");
            }
            Output::Late(row) => {
                assert!(row.is_stray(), "I6: {row:?} is in time, and was late for its window");
                self.late += 1;
                self.gather(row);
            }
            Output::Window { window, key, rows } => {
                let before = self.fired.insert(key, window);
                let rises = before.is_none_or(|before| before < window);
                assert!(rises, "I6: window {window} of key {key} fires after {before:?}, in checkpoint {checkpoint}");
                self.windows += 1;
                rows.into_iter().for_each(|row| self.gather(row));
            }
        }
    }

    fn gather(&mut self, row: Row) {
        assert!(self.gathered.insert(row), "I1: {row:?} is in a window, or late, for the second time");
    }

    /// I1: what is published is the answer of a run without faults.
    pub fn assert_whole(&self, lanes: bool) {
        let passed = if lanes { LANE_SPLITS * ROWS_PER_SPLIT } else { 0 };
        assert_eq!(self.passed.len() as u64, passed, "I1: rows come through lanes");
        let rows = SPLITS * ROWS_PER_SPLIT;
        assert_eq!(self.counted.values().sum::<u64>(), rows, "I1: rows are counted");
        assert_eq!(self.gathered.len() as u64, rows, "I1: rows are in windows, or late");
    }
}

/// See the module.
pub struct World {
    pub random: StdRng,
    pub now: i64,
    sequence: u64,
    queue: BTreeMap<(i64, u64), Next>,
    pub objects: BTreeMap<String, Object>,
    /// What the job manager has on its disk.
    pub disk: Option<Record>,
    pub database: Database,
    pub landed: Landed,
    pub faulty: bool,
    /// Whether barriers overtake rows, and tasks are slow enough for it.
    pub overtaking: bool,
    /// Whether all splits are assigned when the job starts, and there are watermarks; else one after the
    /// other, and all windows end with the input.
    pub all_at_once: bool,
    /// Whether jobs have lanes.
    pub lanes: bool,
    /// Elements that wait in a channel at most.
    pub capacity: usize,
    store_fault: f64,
    disk_fault: f64,
    commit_fault: f64,
    /// When the last message on a connection comes, per direction.
    latest: BTreeMap<(Link, bool), i64>,
    pub channels: BTreeMap<ChannelId, VecDeque<Element>>,
    pub cut: BTreeSet<Link>,
    /// Connections that the job manager has given up: what was sent before may still arrive.
    pub given_up: BTreeSet<Link>,
    pub traced: bool,
    pub trace: VecDeque<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut chance = |of: [f64; 4]| of[random.random_range(0..4)];
        let store_fault = chance([0.0, 0.01, 0.05, 0.2]);
        let disk_fault = chance([0.0, 0.0, 0.02, 0.1]);
        let commit_fault = chance([0.0, 0.01, 0.05, 0.2]);
        let overtaking = random.random_bool(0.5);
        let all_at_once = random.random_bool(0.75);
        let capacity = random.random_range(2..=8);
        let lanes = random.random_bool(0.6);
        Self {
            random,
            lanes,
            overtaking,
            all_at_once,
            capacity,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            objects: BTreeMap::new(),
            disk: None,
            database: Database::default(),
            landed: Landed::default(),
            faulty: true,
            store_fault,
            disk_fault,
            commit_fault,
            latest: BTreeMap::new(),
            channels: BTreeMap::new(),
            cut: BTreeSet::new(),
            given_up: BTreeSet::new(),
            traced: std::env::var("TIDEMILL_SIMULATOR_SEED").is_ok(),
            trace: VecDeque::new(),
        }
    }

    pub fn next(&mut self) -> Option<Next> {
        let ((at, _), next) = self.queue.pop_first()?;
        self.now = self.now.max(at);
        self.landed.events += 1;
        self.trace(|| format!("{next:?}"));
        Some(next)
    }

    /// Shows what happens, if anybody looks.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if !self.traced {
            return;
        }
        let line = format!("{} {}", self.now, line());
        if self.trace.len() == 400 {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    pub fn after(&mut self, delay: i64, next: Next) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), next);
    }

    pub fn delay(&mut self, most: i64) -> i64 {
        self.random.random_range(0..=most)
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    /// Messages of a connection come in order, or not at all.
    fn deliver(&mut self, link: Link, up: bool, next: Next) {
        let earliest = self.now + self.random.random_range(0..=5);
        let latest = self.latest.entry((link, up)).or_default();
        let at = earliest.max(*latest + 1);
        *latest = at;
        let delay = at - self.now;
        self.after(delay, next);
    }

    pub fn up(&mut self, link: Link, message: Up) {
        self.deliver(link, true, Next::ToManager { link, message });
    }

    pub fn down(&mut self, link: Link, message: Down) {
        self.deliver(link, false, Next::ToTaskManager { link, message: Box::new(message) });
    }

    /// Both ends learn of it, the task manager perhaps late.
    pub fn cut(&mut self, link: Link, lease: i64) {
        if self.cut.insert(link) {
            let (manager, task_manager) = (self.delay(20), self.delay(lease));
            self.after(manager, Next::LinkLost { link, manager_side: true });
            self.after(task_manager, Next::LinkLost { link, manager_side: false });
        }
    }

    pub fn send(&mut self, channel: ChannelId, element: Element) {
        self.channels.entry(channel).or_default().push_back(element);
        let delay = self.delay(3);
        self.after(delay, Next::Data(channel));
    }

    pub fn step(&mut self, delay: i64, at: At) {
        self.after(delay, Next::Step(at));
    }

    pub fn credit(&mut self, channel: ChannelId, credits: usize) {
        let delay = self.delay(3);
        self.after(delay, Next::Credit { channel, credits });
    }

    /// How a request to the store ends.
    pub fn store_outcome(&mut self) -> Outcome {
        if !self.faulty || !self.chance(self.store_fault) {
            return Outcome::Done;
        }
        if self.chance(0.5) {
            self.landed.store_refused += 1;
            Outcome::Refused
        } else {
            self.landed.store_unheard += 1;
            Outcome::Unheard
        }
    }

    /// Writes an object.
    pub fn put(&mut self, name: &str, object: Object) -> Result<(), String> {
        let outcome = self.store_outcome();
        if outcome != Outcome::Refused {
            self.objects.insert(name.to_owned(), object);
        }
        if outcome == Outcome::Done { Ok(()) } else { Err(format!("{outcome:?}")) }
    }

    pub fn get(&mut self, name: &str) -> Result<Object, String> {
        // A reader tries again, as it does no harm.
        if (0..3).all(|_| self.store_outcome() != Outcome::Done) {
            return Err("the store does not answer".to_owned());
        }
        // I4: what is named is there.
        let found = self.objects.get(name).cloned();
        Ok(found.unwrap_or_else(|| panic!("{name} is named by a checkpoint that is kept, and is gone")))
    }

    pub fn disk_fails(&mut self) -> bool {
        // Without the first ids there would be no checkpoint for a second.
        let fails = self.faulty && self.landed.completed > 0 && self.chance(self.disk_fault);
        self.landed.disk_failed += u64::from(fails);
        fails
    }

    /// How a commit ends.
    pub fn commit_outcome(&mut self) -> Outcome {
        if !self.faulty || !self.chance(self.commit_fault) {
            return Outcome::Done;
        }
        if self.chance(0.5) {
            self.landed.commits_refused += 1;
            Outcome::Refused
        } else {
            self.landed.commits_unheard += 1;
            Outcome::Unheard
        }
    }
}
