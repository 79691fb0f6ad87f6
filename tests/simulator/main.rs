//! The protocols of checkpoints, restarts and commits driven together by a seeded scheduler, with
//! processes that are killed, connections that break and stores that fail. What must always hold is
//! asserted as it runs.
//!
//! `TIDEMILL_SIMULATOR_SEEDS` is how many seeds are run (2 000 unless set), `TIDEMILL_SIMULATOR_SEED`
//! runs one alone and shows its last events.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

// The task managers' own, without all that they need beside it.
#[path = "../../taskmanager/src/aligner.rs"]
#[allow(dead_code, reason = "not every way of alignment is simulated")]
mod aligner;
mod counter;
#[path = "../../taskmanager/src/shuffle/fare.rs"]
mod fare;
mod manager;
mod owner;
mod source;
#[path = "../../taskmanager/src/source/watermarks.rs"]
#[allow(dead_code, reason = "no split is idle, and none waits for others")]
mod split_watermarks;
mod tasks;
#[path = "../../taskmanager/src/watermark.rs"]
#[allow(dead_code, reason = "no source is idle")]
mod watermark;
mod workload;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use manager::{LEASE, Manager, assert_complete};
use owner::Owner;
use tasks::{TaskManager, Up};
use world::{Landed, Link, Next, Outcome, World};

const TASK_MANAGERS: usize = 3;
/// Faults come until then, in milliseconds, or until enough have landed.
const FAULTS_UNTIL: i64 = 1_500;
/// I7: a run that needs more events does not recover.
const EVENTS_MAX: u64 = 200_000;

struct Simulation {
    world: World,
    owner: Owner,
    manager: Option<Manager>,
    manager_lives: u64,
    told: u64,
    interval: i64,
    retained: u32,
    task_managers: Vec<TaskManager>,
    /// Which task manager, in which life, and which life of the manager a connection is between.
    links: BTreeMap<Link, (usize, u64, u64)>,
    next_link: Link,
    finished: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let interval = 20 + world.delay(40);
        let retained = 1 + world.delay(2) as u32;
        world.after(0, Next::StartManager);
        for index in 0..TASK_MANAGERS {
            world.after(1, Next::StartTaskManager(index));
        }
        world.after(100, Next::Fault);
        world.after(120, Next::Owner);
        let owner = Owner::new(&mut world);
        let task_managers = (0..TASK_MANAGERS).map(|_| TaskManager::new(2 + world.delay(2) as u32)).collect();
        Self {
            world,
            owner,
            manager: None,
            manager_lives: 0,
            told: 0,
            interval,
            retained,
            task_managers,
            links: BTreeMap::new(),
            next_link: 1,
            finished: false,
        }
    }

    fn run(&mut self) {
        while let Some(next) = self.world.next() {
            assert!(self.world.landed.events < EVENTS_MAX, "I7: no end after {EVENTS_MAX} events");
            self.step(next);
        }
        assert!(self.finished, "I7: nothing happens any more, and the job has not finished");
        self.world.database.assert_whole(self.world.lanes);
        self.owner.assert_kept(&self.world);
        // I8: nothing is left, but for what is the owner's.
        let left: Vec<_> = self.world.objects.keys().filter(|name| !name.contains("savepoints")).take(5).collect();
        assert!(left.is_empty(), "I8: {left:?} are left");
        (self.world.landed.late, self.world.landed.windows) = (self.world.database.late, self.world.database.windows);
    }

    fn step(&mut self, next: Next) {
        let until = self.frozen_until(&next);
        if until > self.world.now {
            let delay = until - self.world.now;
            return self.world.after(delay, next);
        }
        let Self { world, manager, task_managers, .. } = self;
        match next {
            Next::ToManager { link, message } => {
                let life = self.links.get(&link).map(|(_, _, life)| *life);
                let heard = !world.cut.contains(&link) && !world.given_up.contains(&link);
                match manager.as_mut().filter(|manager| Some(manager.life) == life && heard) {
                    Some(manager) => manager.message(world, link, message),
                    None => world.landed.messages_lost += 1,
                }
            }
            Next::ToTaskManager { link, message } => {
                let found = self.links.get(&link).copied();
                let here = found.filter(|(index, life, _)| {
                    let task_manager = &task_managers[*index];
                    task_manager.life == *life && task_manager.link == Some(link) && !world.cut.contains(&link)
                });
                match here {
                    Some((index, ..)) => task_managers[index].obey(world, *message),
                    None => world.landed.messages_lost += 1,
                }
            }
            Next::LinkLost { link, manager_side: true } => {
                let life = self.links.get(&link).map(|(_, _, life)| *life);
                if let Some(manager) = manager.as_mut().filter(|manager| Some(manager.life) == life) {
                    manager.lose(world, link);
                }
            }
            Next::LinkLost { link, manager_side: false } => self.task_manager_alone(link),
            Next::Data(channel) => self.data(channel),
            Next::Credit { channel: (attempt, from, to), credits } => {
                if let Some(found) = holder(task_managers, attempt, from) {
                    found.credit(world, attempt, from, to, credits);
                }
            }
            Next::Step(at) => {
                let found = holder(task_managers, at.attempt, at.subtask);
                if let Some(found) = found.filter(|found| found.life == at.life) {
                    found.step(world, at);
                }
            }
            Next::Uploaded(at) => {
                let found = holder(task_managers, at.attempt, at.subtask);
                if let Some(found) = found.filter(|found| found.life == at.life) {
                    found.uploaded(world, at);
                }
            }
            Next::Manager { life, event } => {
                if let Some(manager) = manager.as_mut().filter(|manager| manager.life == life) {
                    manager.event(world, event);
                }
            }
            Next::DiskWrite { life, record } => {
                if manager.as_ref().is_some_and(|manager| manager.life == life) {
                    world.disk = record;
                    assert_complete(world);
                }
            }
            Next::Delete { life, names, tries } => self.delete(life, names, tries),
            Next::DeleteAll { directory } => {
                world.objects.retain(|name, _| !name.starts_with(&directory));
                assert_complete(world);
            }
            Next::Owner => {
                let more = self.owner.act(world, manager.as_mut());
                if more && !self.finished {
                    let delay = 20 + world.delay(150);
                    world.after(delay, Next::Owner);
                }
            }
            Next::StartTaskManager(index) => self.start_task_manager(index),
            Next::StartManager => {
                self.manager_lives += 1;
                let (life, told) = (self.manager_lives, self.told);
                self.manager = Some(Manager::new(&mut self.world, life, told, self.interval, self.retained));
            }
            Next::Fault => self.fault(),
        }
        self.hear();
    }

    /// What the job manager has told.
    fn hear(&mut self) {
        let Some(manager) = &mut self.manager else { return };
        self.told = manager.told;
        for (request, result) in std::mem::take(&mut manager.answers) {
            self.owner.answered(&mut self.world, request, result);
        }
        let Some(ended) = manager.ended.take() else { return };
        if self.owner.job_ended(&mut self.world, &ended) {
            // As another process would, so that nothing of the job before is left in it.
            self.told = 0;
            self.end_manager();
        } else {
            self.finished = true;
        }
    }

    /// Until when the process that something is for stands still.
    fn frozen_until(&self, next: &Next) -> i64 {
        let until = |index: usize, life: u64| {
            let found = &self.task_managers[index];
            if found.life == life { found.frozen_until } else { 0 }
        };
        let of_subtask = |attempt: u32, subtask| {
            let found = self.task_managers.iter().find(|found| found.tasks.contains_key(&(attempt, subtask)));
            found.map_or(0, |found| found.frozen_until)
        };
        match next {
            Next::ToTaskManager { link, .. } | Next::LinkLost { link, manager_side: false } => {
                self.links.get(link).map_or(0, |(index, life, _)| until(*index, *life))
            }
            Next::Data((attempt, _, to)) => of_subtask(*attempt, *to),
            Next::Credit { channel: (attempt, from, _), .. } => of_subtask(*attempt, *from),
            Next::Step(at) | Next::Uploaded(at) => of_subtask(at.attempt, at.subtask),
            _ => 0,
        }
    }

    /// The head of a channel arrives, or waits for its receiver to be deployed.
    fn data(&mut self, channel: world::ChannelId) {
        let (attempt, from, to) = channel;
        if let Some(receiver) = holder(&mut self.task_managers, attempt, to) {
            let element = self.world.channels.get_mut(&channel).and_then(std::collections::VecDeque::pop_front);
            if let Some(element) = element {
                receiver.data(&mut self.world, attempt, from, to, element);
            }
        } else if holder(&mut self.task_managers, attempt, from).is_some() {
            self.world.after(5, Next::Data(channel));
        }
    }

    fn start_task_manager(&mut self, index: usize) {
        let task_manager = &mut self.task_managers[index];
        if !task_manager.up {
            task_manager.up = true;
            task_manager.life += 1;
        }
        self.connect(index);
    }

    fn connect(&mut self, index: usize) {
        let life = self.task_managers[index].life;
        if !self.task_managers[index].up || self.task_managers[index].link.is_some() {
            return;
        }
        let Some(manager) = &self.manager else {
            self.world.after(15, Next::StartTaskManager(index));
            return;
        };
        let link = self.next_link;
        self.next_link += 1;
        self.links.insert(link, (index, life, manager.life));
        self.task_managers[index].link = Some(link);
        let slots = self.task_managers[index].slots;
        self.world.up(link, Up::Register { id: format!("tm{index}-{life}-{link}"), slots });
    }

    /// A task manager has lost its job manager: it ends all, and looks for one again.
    fn task_manager_alone(&mut self, link: Link) {
        let Some((index, life, _)) = self.links.get(&link).copied() else { return };
        let task_manager = &mut self.task_managers[index];
        if task_manager.life == life && task_manager.link == Some(link) {
            task_manager.lose();
            let delay = 5 + self.world.delay(20);
            self.world.after(delay, Next::StartTaskManager(index));
        }
    }

    /// Deletes one name after the other, as long as the process lives.
    fn delete(&mut self, life: u64, mut names: Vec<String>, tries: u32) {
        if self.manager.as_ref().is_none_or(|manager| manager.life != life) && !self.finished {
            return;
        }
        let Some(name) = names.first().cloned() else { return };
        let outcome = self.world.store_outcome();
        if outcome != Outcome::Refused {
            self.world.objects.remove(&name);
            assert_complete(&self.world);
        }
        let tries = if outcome == Outcome::Done {
            names.remove(0);
            3.max(tries)
        } else if tries > 1 {
            tries - 1
        } else if name.ends_with("_metadata") {
            // Its files stay as long as it does.
            return;
        } else {
            names.remove(0);
            3
        };
        self.world.after(1, Next::Delete { life, names, tries });
    }

    fn fault(&mut self) {
        let landed = self.world.landed;
        // What is not reached by then is reached with a store that answers.
        self.world.faulty &= self.world.now <= FAULTS_UNTIL;
        let enough = self.world.now > FAULTS_UNTIL && landed.completed >= 2 && landed.crashes() >= 1;
        if enough || self.finished {
            return;
        }
        let wait = 20 + self.world.delay(160);
        self.world.after(wait, Next::Fault);
        if self.world.landed.completed < 1 && self.world.now < 400 {
            return;
        }
        let kind = if landed.crashes() == 0 { 0 } else { self.world.delay(11) };
        match kind {
            0..=3 => self.kill_task_manager(),
            4..=6 => self.kill_manager(),
            7 | 8 => self.freeze_task_manager(),
            _ => {
                let links: Vec<Link> = self.task_managers.iter().filter_map(|found| found.link).collect();
                if !links.is_empty() {
                    let chosen = self.world.delay(links.len() as i64 - 1) as usize;
                    self.world.landed.links_cut += 1;
                    self.world.cut(links[chosen], LEASE);
                }
            }
        }
    }

    fn kill_task_manager(&mut self) {
        let index = self.world.delay(TASK_MANAGERS as i64 - 1) as usize;
        if !self.task_managers[index].up {
            return;
        }
        self.world.landed.task_managers_killed += 1;
        if let Some(link) = self.task_managers[index].link {
            self.world.cut.insert(link);
            let delay = self.world.delay(10);
            self.world.after(delay, Next::LinkLost { link, manager_side: true });
        }
        self.task_managers[index].kill();
        let delay = 10 + self.world.delay(80);
        self.world.after(delay, Next::StartTaskManager(index));
    }

    /// SIGSTOP for longer than the lease, then SIGCONT: what was on its way to it has effect only now.
    fn freeze_task_manager(&mut self) {
        let index = self.world.delay(TASK_MANAGERS as i64 - 1) as usize;
        let task_manager = &mut self.task_managers[index];
        let Some(link) = task_manager.link.filter(|_| task_manager.frozen_until <= self.world.now) else { return };
        let stands_still = LEASE + self.world.delay(LEASE);
        task_manager.frozen_until = self.world.now + stands_still;
        task_manager.expired = true;
        self.world.landed.frozen += 1;
        self.world.given_up.insert(link);
        self.world.after(LEASE, Next::LinkLost { link, manager_side: true });
        let notices = stands_still + self.world.delay(10);
        self.world.after(notices, Next::LinkLost { link, manager_side: false });
    }

    fn kill_manager(&mut self) {
        if self.manager.is_some() {
            self.world.landed.managers_killed += 1;
            self.owner.cut_off(&mut self.world);
            self.end_manager();
        }
    }

    fn end_manager(&mut self) {
        self.manager = None;
        let links: Vec<Link> = self.task_managers.iter().filter_map(|found| found.link).collect();
        for link in links {
            self.world.cut(link, LEASE / 2);
        }
        let delay = 10 + self.world.delay(60);
        self.world.after(delay, Next::StartManager);
    }
}

fn holder(
    task_managers: &mut [TaskManager],
    attempt: u32,
    subtask: tidemill_common::ids::SubtaskId,
) -> Option<&mut TaskManager> {
    task_managers.iter_mut().find(|found| found.tasks.contains_key(&(attempt, subtask)))
}

/// Runs one seed; gives what landed.
fn run(seed: u64) -> Result<Landed, String> {
    let mut simulation = Simulation::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let landed = simulation.world.landed;
    outcome.map(|()| landed).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let events: Vec<String> = simulation.world.trace.iter().cloned().collect();
        format!(
            "seed {seed}: {text}\n{landed:?}\nreplay with TIDEMILL_SIMULATOR_SEED={seed}\n{}",
            if std::env::var("TIDEMILL_SIMULATOR_SEED").is_ok() { events.join("\n") } else { String::new() }
        )
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_is_published_is_that_of_a_run_without_faults() {
    if let Some(seed) = number("TIDEMILL_SIMULATOR_SEED") {
        match run(seed) {
            Ok(landed) => println!("seed {seed}: {landed:?}"),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let seeds = number("TIDEMILL_SIMULATOR_SEEDS").unwrap_or(2_000);
    std::panic::set_hook(Box::new(|_| {}));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            std::thread::spawn(move || {
                let mut total = Landed::default();
                let mut poor = 0;
                for seed in (worker..seeds).step_by(threads as usize) {
                    let landed = run(seed)?;
                    if landed.events < 1_000 || landed.completed < 2 || landed.crashes() < 1 {
                        println!("seed {seed} is poor: {landed:?}");
                        poor += 1;
                    }
                    total.add(&landed);
                }
                Ok::<_, String>((total, poor))
            })
        })
        .collect();
    let (mut total, mut poor) = (Landed::default(), 0);
    let mut failures = Vec::new();
    for worker in workers {
        match worker.join().expect("a worker") {
            Ok((landed, few)) => {
                total.add(&landed);
                poor += few;
            }
            Err(error) => failures.push(error),
        }
    }
    let _ = std::panic::take_hook();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{seeds} seeds: {total:?}");
    assert_eq!(poor, 0, "every seed has 1000 events, two complete checkpoints and a crash");
    let each = [
        total.task_managers_killed,
        total.managers_killed,
        total.links_cut,
        total.frozen,
        total.store_refused,
        total.store_unheard,
        total.disk_failed,
        total.commits_unheard,
        total.commits_refused,
        total.messages_lost,
        total.restarts,
        total.failovers,
        total.given_back,
        total.overtaken,
        total.replayed,
        total.backpressured,
        total.rescaled,
        total.moved,
        total.savepoints,
        total.stopped,
        total.late,
        total.windows,
        total.aborted,
    ];
    assert!(total.fenced > 0 || seeds < 1_000, "no effect of a past attempt was refused: {total:?}");
    assert!(total.stops_unheard > 0 || seeds < 1_000, "no job manager died while it stopped a job: {total:?}");
    let few = seeds / 50;
    assert!(each.iter().all(|landed| *landed >= few), "every kind of fault lands, at least {few} times: {total:?}");
}

/// The same seed gives the same run.
#[test]
fn a_seed_replays() {
    assert_eq!(run(7).unwrap(), run(7).unwrap());
}
