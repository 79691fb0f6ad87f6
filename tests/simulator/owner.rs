//! Who the job belongs to: takes savepoints, rescales it, and stops it with a savepoint to go on from
//! that as another job.

use tidemill_jobmanager::cores::RequestId;

use crate::manager::{Ended, Manager, Record};
use crate::tasks::Shape;
use crate::workload::assert_consistent;
use crate::world::{Object, World};

/// See the module.
pub struct Owner {
    /// What is still to be asked for.
    wishes: i64,
    requests: u64,
    /// What was asked for and has no answer: whether the job is to stop, and where the savepoint is to be.
    asked: Option<(RequestId, bool)>,
    /// Where a stop was told to have left its savepoint.
    stopped: Option<String>,
    /// Savepoints that are the owner's.
    savepoints: Vec<String>,
    job: u32,
}

pub fn shape(world: &mut World) -> Shape {
    let lanes = if world.lanes { 1 + world.delay(2) as u32 } else { 0 };
    Shape { sources: 1 + world.delay(2) as u32, counters: 1 + world.delay(3) as u32, lanes }
}

impl Owner {
    pub fn new(world: &mut World) -> Self {
        let shape = shape(world);
        world.disk = Some(Record::submitted(1, shape, None));
        let wishes = world.delay(5);
        Self { wishes, requests: 0, asked: None, stopped: None, savepoints: Vec::new(), job: 1 }
    }

    /// Asks for something, if the job runs; gives whether it may want more later.
    pub fn act(&mut self, world: &mut World, manager: Option<&mut Manager>) -> bool {
        let Some(manager) = manager.filter(|manager| manager.runs() && self.asked.is_none()) else {
            return self.wishes > 0;
        };
        if self.wishes == 0 {
            return false;
        }
        self.wishes -= 1;
        match world.delay(4) {
            0 | 1 => {
                let shape = shape(world);
                manager.rescale(world, shape);
            }
            wish => {
                self.requests += 1;
                let request = RequestId(self.requests);
                let stop = (wish > 2).then_some(false);
                self.asked = Some((request, stop.is_some()));
                manager.savepoint(world, request, format!("store://savepoints/s{}", self.requests), stop);
            }
        }
        true
    }

    pub fn answered(&mut self, world: &mut World, request: RequestId, result: Result<String, String>) {
        let Some((_, stop)) = self.asked.take_if(|(asked, _)| *asked == request) else { return };
        if let Ok(location) = result {
            world.landed.savepoints += u64::from(!stop);
            self.keep(world, &location);
            self.stopped = stop.then_some(location);
        }
    }

    /// The job manager has died: whoever waits for an answer gets none.
    pub fn cut_off(&mut self, world: &mut World) {
        if let Some((_, true)) = self.asked.take() {
            world.landed.stops_unheard += 1;
        }
    }

    fn keep(&mut self, world: &World, location: &str) {
        if !self.savepoints.iter().any(|known| known == location) {
            self.savepoints.push(location.to_owned());
        }
        assert_savepoint(world, location);
    }

    /// The job has ended; gives whether another goes on from its savepoint.
    pub fn job_ended(&mut self, world: &mut World, ended: &Ended) -> bool {
        if let Some(told) = self.stopped.take() {
            // I5: what was told to be stopped reads no further.
            assert_eq!(*ended, Ended::Stopped(told), "the job was told to be stopped");
        }
        let Ended::Stopped(location) = ended else { return false };
        self.keep(world, location);
        self.asked = None;
        world.landed.stopped += 1;
        self.job += 1;
        let shape = shape(world);
        world.disk = Some(Record::submitted(self.job, shape, Some(location.clone())));
        true
    }

    /// Savepoints hold whatever the jobs have done since.
    pub fn assert_kept(&self, world: &World) {
        assert!(self.stopped.is_none(), "the job was told to be stopped, and goes on");
        self.savepoints.iter().for_each(|location| assert_savepoint(world, location));
    }
}

fn assert_savepoint(world: &World, location: &str) {
    let Some(Object::Metadata(metadata)) = world.objects.get(&format!("{location}/_metadata")) else {
        panic!("I4: the savepoint {location} is gone")
    };
    assert_consistent(metadata, location, &world.objects);
}
