//! Faults that befall the processes of a cluster while a job runs, one after the other. Each is waited
//! for until it has landed: the job has begun another attempt because of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::cluster::{Cluster, signal};

/// How long a fault may take to land, and the job to run again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a process that is to die at a place is waited for; the place may not be reached.
const PLACE_PATIENCE: Duration = Duration::from_secs(12);
/// How long a process that was frozen goes on before it is ended.
const AFTERLIFE: Duration = Duration::from_millis(400);
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// The `heartbeat.timeout` of clusters whose processes are frozen, with what they are frozen for.
pub const HEARTBEAT_TIMEOUT: &str = "2 s";
const FROZEN: Duration = Duration::from_millis(2_600);

/// Places where task managers and job managers die, as `TIDEMILL_DIES_AT` names them.
const TASK_MANAGER_PLACES: [&str; 5] =
    ["before-acknowledgement", "after-acknowledgement", "before-publishing", "after-publishing", "while-restoring"];
const JOB_MANAGER_PLACES: [&str; 4] = ["before-metadata", "after-metadata", "before-completion", "while-deleting"];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillTaskManager,
    KillJobManager,
    KillBoth,
    /// Stopped until it has been replaced and the job runs again; then it goes on.
    FreezeTaskManager,
    FreezeJobManager,
    /// A process that ends itself at a named place; only with a binary that has the feature `faults`.
    DieAt(&'static str),
}

impl Fault {
    /// Those of task managers.
    pub const TASK_MANAGERS: [Self; 2] = [Self::KillTaskManager, Self::FreezeTaskManager];
    /// Those of anybody.
    pub const ALL: [Self; 5] =
        [Self::KillTaskManager, Self::KillJobManager, Self::FreezeTaskManager, Self::KillBoth, Self::FreezeJobManager];

    fn name(self) -> String {
        match self {
            Self::KillTaskManager => "task manager killed".to_owned(),
            Self::KillJobManager => "job manager killed".to_owned(),
            Self::KillBoth => "both killed".to_owned(),
            Self::FreezeTaskManager => "task manager frozen past its lease".to_owned(),
            Self::FreezeJobManager => "job manager frozen".to_owned(),
            Self::DieAt(place) => format!("died {}", place.replace('-', " ")),
        }
    }
}

/// A job as `describe` tells of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub state: String,
    /// The newest attempt; 0 if nobody answers.
    pub attempt: u64,
    pub described: serde_json::Value,
}

impl Told {
    /// Asks.
    pub fn of(cluster: &Cluster, job: &str) -> Self {
        let described = cluster.json("describe", &[job]).unwrap_or_default();
        let attempt = described["attempts"].as_array().and_then(|attempts| attempts.last()?["attempt"].as_u64());
        let state = described["state"].as_str().unwrap_or("?").to_owned();
        Self { state, attempt: attempt.unwrap_or(0), described }
    }

    pub fn runs(&self) -> bool {
        matches!(self.state.as_str(), "RUNNING" | "FINISHING")
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "FAILED" | "CANCELED")
    }
}

/// Chooses faults and counts them.
pub struct Chaos {
    random: StdRng,
    kinds: Vec<Fault>,
    /// What is next, of which each kind has had its turn before one comes again.
    next: Vec<Fault>,
    landed: BTreeMap<Fault, u64>,
    missed: u64,
}

impl Chaos {
    /// Faults of these kinds in an order that `seed` gives. With `TIDEMILL_CHAOS_PLACES=1` processes also
    /// die at named places.
    pub fn new(kinds: &[Fault], seed: u64) -> Self {
        let mut kinds = kinds.to_vec();
        if std::env::var("TIDEMILL_CHAOS_PLACES").is_ok_and(|value| value == "1") {
            kinds.extend(TASK_MANAGER_PLACES.map(Fault::DieAt));
            if kinds.contains(&Fault::KillJobManager) {
                kinds.extend(JOB_MANAGER_PLACES.map(Fault::DieAt));
            }
        }
        let random = StdRng::seed_from_u64(seed);
        Self { random, kinds, next: Vec::new(), landed: BTreeMap::new(), missed: 0 }
    }

    /// A pause before the next fault.
    pub fn pause(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random_range(0.1..1.0))
    }

    /// How many have landed.
    pub fn landed(&self) -> u64 {
        self.landed.values().sum()
    }

    /// Says what landed, also where the output of tests that pass is kept back.
    pub fn report(&self, what: &str, begun: Instant) {
        let each: Vec<String> = self.landed.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        let seconds = begun.elapsed().as_secs_f64();
        let text = format!("{what}: {} faults landed in {seconds:.1} s: {}", self.landed(), each.join(", "));
        let _ = writeln!(std::io::stderr().lock(), "{text} ({} places were not reached)", self.missed);
    }

    /// One fault of the next kind, on a job that runs. Returns when it has landed and the job runs again,
    /// or has ended.
    ///
    /// # Errors
    /// If it does not land, or the job does not run again.
    pub fn inject(&mut self, cluster: &mut Cluster, job: &str) -> anyhow::Result<()> {
        if self.next.is_empty() {
            self.next = self.kinds.clone();
            self.next.shuffle(&mut self.random);
        }
        let Some(fault) = self.next.pop() else { return Ok(()) };
        let before = await_runs(cluster, job, 0)?;
        if before.has_ended() {
            return Ok(());
        }
        let landed = match fault {
            Fault::KillTaskManager => {
                let victim = self.victim(cluster);
                cluster.kill_task_manager(victim)?;
                cluster.start_task_manager()?;
                true
            }
            Fault::KillJobManager => {
                cluster.kill_job_manager()?;
                cluster.start_job_manager()?;
                cluster.await_answer()?;
                true
            }
            Fault::KillBoth => {
                let victim = self.victim(cluster);
                cluster.kill_job_manager()?;
                cluster.kill_task_manager(victim)?;
                cluster.start_job_manager()?;
                cluster.start_task_manager()?;
                cluster.await_answer()?;
                true
            }
            Fault::FreezeTaskManager => {
                let victim = self.victim(cluster);
                let frozen = cluster.task_managers[victim].id();
                signal(frozen, "STOP")?;
                cluster.start_task_manager()?;
                let replaced = await_runs(cluster, job, before.attempt);
                signal(frozen, "CONT")?;
                std::thread::sleep(AFTERLIFE);
                cluster.kill_task_manager(victim)?;
                replaced?;
                true
            }
            Fault::FreezeJobManager => {
                let Some(frozen) = cluster.job_manager().map(|child| child.id()) else { bail!("no job manager") };
                signal(frozen, "STOP")?;
                std::thread::sleep(FROZEN);
                signal(frozen, "CONT")?;
                true
            }
            Fault::DieAt(place) => self.die_at(cluster, place)?,
        };
        if !landed {
            self.missed += 1;
            return Ok(());
        }
        let after = await_runs(cluster, job, before.attempt)?;
        if after.attempt > before.attempt {
            *self.landed.entry(fault).or_default() += 1;
        }
        Ok(())
    }

    fn victim(&mut self, cluster: &Cluster) -> usize {
        self.random.random_range(0..cluster.task_managers.len())
    }

    /// Puts a process in the place of another that ends itself when it comes to a place, and a third in
    /// the place of that. Gives whether it came there.
    fn die_at(&mut self, cluster: &mut Cluster, place: &str) -> anyhow::Result<bool> {
        let times = if place == "while-restoring" { 1 } else { self.random.random_range(1..=4) };
        let dies = format!("{place}:{times}");
        let environment = [("TIDEMILL_DIES_AT", dies.as_str())];
        let job_manager = JOB_MANAGER_PLACES.contains(&place);
        if job_manager {
            cluster.kill_job_manager()?;
            cluster.start_job_manager_with(&environment)?;
        } else {
            let victim = self.victim(cluster);
            cluster.kill_task_manager(victim)?;
            cluster.start_task_manager_with(&environment)?;
        }
        let begun = Instant::now();
        let mut died = false;
        while !died && begun.elapsed() < PLACE_PATIENCE {
            std::thread::sleep(LOOK_AGAIN);
            let child = if job_manager { cluster.job_manager() } else { cluster.task_managers.last_mut() };
            let Some(child) = child else { bail!("no process") };
            died = child.try_wait()?.is_some();
        }
        if job_manager {
            // A process that is dead is killed in vain.
            let _ = cluster.kill_job_manager();
            cluster.start_job_manager()?;
            cluster.await_answer()?;
        } else {
            let last = cluster.task_managers.len() - 1;
            let _ = cluster.kill_task_manager(last);
            cluster.start_task_manager()?;
        }
        Ok(died)
    }
}

/// Waits until the job runs in an attempt after this one, or has ended as it should.
fn await_runs(cluster: &Cluster, job: &str, attempt: u64) -> anyhow::Result<Told> {
    let begun = Instant::now();
    loop {
        let told = Told::of(cluster, job);
        ensure!(
            !matches!(told.state.as_str(), "FAILED" | "CANCELED"),
            "the job is {}\n{:#}",
            told.state,
            told.described
        );
        if (told.runs() && told.attempt > attempt) || told.state == "FINISHED" {
            return Ok(told);
        }
        let waited = begun.elapsed();
        ensure!(waited < PATIENCE, "the job does not run again for {waited:?}: {:#}", told.described);
        std::thread::sleep(LOOK_AGAIN);
    }
}
