//! What is outside of the processes: time, the store of checkpoints, the job manager's disk, and the
//! database that the sinks write to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemill_common::checkpoint::CheckpointMetadata;
use tidemill_common::ids::SubtaskId;

use crate::manager::{ManagerEvent, Record};
use crate::tasks::{Down, Element, Up};

/// One row on its way: the `count`th of its key, the `index`th of its split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Row {
    pub key: u64,
    pub count: u64,
    pub split: u64,
    pub index: u64,
}

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
    Step {
        attempt: u32,
        subtask: SubtaskId,
        life: u64,
    },
    Uploaded {
        attempt: u32,
        subtask: SubtaskId,
        life: u64,
    },
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
    /// Of a job that has ended.
    DeleteAll {
        life: u64,
    },
    StartTaskManager(usize),
    StartManager,
    Fault,
}

/// What is kept in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Metadata(Box<CheckpointMetadata>),
    Counts(BTreeMap<u64, u64>),
    Rows(Vec<Row>),
    /// Rows that a barrier has overtaken: split, index and key.
    InFlight(Vec<(u64, u64, u64)>),
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

/// How many faults have landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Landed {
    pub task_managers_killed: u64,
    pub managers_killed: u64,
    pub links_cut: u64,
    /// Task managers that stood still until they had been replaced, and then went on.
    pub frozen: u64,
    pub store_refused: u64,
    pub store_unheard: u64,
    pub disk_failed: u64,
    pub commits_unheard: u64,
    pub commits_refused: u64,
    pub messages_lost: u64,
    /// Effects of past attempts that were refused.
    pub fenced: u64,
    /// Subtasks' parts of checkpoints with rows in flight, and rows that were taken from them again.
    pub overtaken: u64,
    pub replayed: u64,
    pub completed: u64,
    pub restarts: u64,
    pub events: u64,
}

impl Landed {
    pub fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a += b;
        sum(&mut self.task_managers_killed, other.task_managers_killed);
        sum(&mut self.managers_killed, other.managers_killed);
        sum(&mut self.links_cut, other.links_cut);
        sum(&mut self.frozen, other.frozen);
        sum(&mut self.store_refused, other.store_refused);
        sum(&mut self.store_unheard, other.store_unheard);
        sum(&mut self.disk_failed, other.disk_failed);
        sum(&mut self.commits_unheard, other.commits_unheard);
        sum(&mut self.commits_refused, other.commits_refused);
        sum(&mut self.messages_lost, other.messages_lost);
        sum(&mut self.fenced, other.fenced);
        sum(&mut self.overtaken, other.overtaken);
        sum(&mut self.replayed, other.replayed);
        sum(&mut self.completed, other.completed);
        sum(&mut self.restarts, other.restarts);
        sum(&mut self.events, other.events);
    }

    pub fn crashes(&self) -> u64 {
        self.task_managers_killed + self.managers_killed
    }
}

/// The database of the sinks: rows and markers change in one transaction.
#[derive(Debug, Default)]
pub struct Database {
    pub rows: Vec<Row>,
    last: BTreeMap<u64, u64>,
    /// The newest checkpoint whose rows are published, per subtask of the sink.
    markers: BTreeMap<u32, u64>,
    /// The newest attempt that has taken over, per subtask.
    fences: BTreeMap<u32, u32>,
}

impl Database {
    /// An attempt takes over: older ones have no effect any more.
    pub fn fence(&mut self, subtask: u32, attempt: u32) -> bool {
        let fence = self.fences.entry(subtask).or_default();
        if *fence > attempt {
            return false;
        }
        *fence = attempt;
        true
    }

    /// Publishes epochs that are newer than the marker. `false` if the attempt is past.
    pub fn commit(&mut self, subtask: u32, attempt: u32, epochs: &[(u64, Vec<Row>)]) -> bool {
        if self.fences.get(&subtask).is_some_and(|fence| *fence > attempt) {
            return false;
        }
        let marker = self.markers.entry(subtask).or_default();
        for (checkpoint, rows) in epochs.iter().filter(|(checkpoint, _)| *checkpoint > *marker) {
            for row in rows {
                let last = self.last.entry(row.key).or_default();
                // I1 and I2 at once: no row of a key is lost, doubled or out of order.
                assert_eq!(row.count, *last + 1, "of key {} comes {row:?} of checkpoint {checkpoint}", row.key);
                *last = row.count;
                self.rows.push(*row);
            }
        }
        *marker = epochs.iter().map(|(checkpoint, _)| *checkpoint).max().unwrap_or(0).max(*marker);
        true
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
    store_fault: f64,
    disk_fault: f64,
    commit_fault: f64,
    /// When the last message on a connection comes, per direction.
    latest: BTreeMap<(Link, bool), i64>,
    pub channels: BTreeMap<ChannelId, VecDeque<Element>>,
    pub cut: BTreeSet<Link>,
    /// Connections that the job manager has given up: what was sent before may still arrive.
    pub given_up: BTreeSet<Link>,
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
        Self {
            random,
            overtaking,
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
            trace: VecDeque::new(),
        }
    }

    pub fn next(&mut self) -> Option<Next> {
        let ((at, _), next) = self.queue.pop_first()?;
        self.now = self.now.max(at);
        self.landed.events += 1;
        let line = format!("{} {next:?}", self.now);
        self.trace(line);
        Some(next)
    }

    pub fn trace(&mut self, line: String) {
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
        if self.store_outcome() != Outcome::Done {
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
