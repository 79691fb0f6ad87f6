//! What the master does so that its jobs outlive it: it keeps a record of each before it acts on it, and
//! takes up those that had not ended when it starts.
//!
//! A record is on disk before the client is told of its job, before an attempt is deployed, before a
//! checkpoint id is used, and before a checkpoint is told complete. The rows of a top-level SELECT go to
//! a client that a crash cuts off, so that such a job is not kept.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_common::ids::{AttemptId, CheckpointId, JobId, TaskManagerId};
use tidemill_common::plan::StreamPlan;
use tidemill_expr::own;
use tidemill_state::storage::{Directory, StorageError};

use crate::checkpoint::coordinator::{Event, Retained};
use crate::checkpoint::metadata::files_of_metadata;
use crate::checkpoint::{CheckpointPlan, RestoredFrom, store};
use crate::command::{Command, Reply};
use crate::error::JobManagerError;
use crate::job::{Job, JobEvent, PreparedJob};
use crate::jobstore::{JobRecord, RetainedRecord, StoredJob};
use crate::master::Master;
use crate::scheduler::Schedule;

/// How often the metadata of a kept checkpoint is read when a job is taken up, and the pause between.
const READ_TRIES: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(500);

/// Jobs on their way into the master: submitted, with their records on disk, or found again.
pub struct Admitted {
    pub jobs: Vec<Job>,
    /// Of found jobs: what their checkpoints name, or why that is not known.
    pub found: Vec<Found>,
    pub reply: Option<Reply<Result<Vec<JobId>, JobManagerError>>>,
    pub result: Result<(), String>,
}

/// What is known of the files of a job that was found again.
pub struct Found {
    pub job: JobId,
    pub files: Result<Vec<(CheckpointId, Vec<String>)>, String>,
}

/// How long a job that was found again waits before it is deployed.
#[derive(Debug)]
pub struct Recovering {
    /// Task managers that may still run an earlier attempt, until they register and with that end it.
    task_managers: BTreeSet<TaskManagerId>,
    /// When their leases have ended.
    until_ms: i64,
}

impl Recovering {
    /// Whether nothing of an earlier attempt can have effect any more.
    pub fn is_over(&self, now_ms: i64, joined: impl Fn(&TaskManagerId) -> bool) -> bool {
        now_ms >= self.until_ms || self.task_managers.iter().all(joined)
    }
}

impl Master {
    /// Whether records of this job are kept.
    fn is_kept(&self, job: &Job) -> bool {
        self.store.is_some() && job.rows.is_none()
    }

    /// The record of a job as it is now.
    fn record(&self, job: &Job) -> JobRecord {
        let checkpoints = &job.checkpoints;
        let retained = checkpoints.coordinator.to_keep().into_iter().map(|retained| RetainedRecord {
            checkpoint: retained.checkpoint,
            location: retained.location,
            kind: retained.kind,
        });
        JobRecord {
            attempts_end: job.machine.attempts_end(),
            ids_end: checkpoints.coordinator.ids_end(),
            next_state_id: checkpoints.next_state_id(),
            plan: job.plan_kept,
            restored: checkpoints.restored().map(|restored| restored.location.clone()),
            retained: retained.collect(),
            task_managers: job.machine.placement().values().cloned().collect(),
            ..JobRecord::new(job.id.clone(), job.start_ms)
        }
    }

    /// Keeps a record, and sends the command that `done` makes of the outcome. Without a store all is
    /// done at once.
    fn keep(
        &self,
        record: JobRecord,
        plan: Option<Vec<u8>>,
        done: impl FnOnce(Result<(), String>) -> Command + Send + 'static,
    ) {
        let Some(store) = &self.store else { return };
        let commands = self.handle.commands.clone();
        store.put(record, plan, move |result| {
            if let Err(reason) = &result {
                tracing::error!(reason, "a record of a job cannot be written (jobmanager.data.dir)");
            }
            // The master may have ended.
            let _ = commands.blocking_send(done(result));
        });
    }

    /// Takes jobs that were submitted, once they are kept.
    pub(crate) fn submit(&mut self, prepared: Vec<PreparedJob>, reply: Reply<Result<Vec<JobId>, JobManagerError>>) {
        let now = self.clock.now_ms();
        let new_id = || JobId(uuid::Uuid::new_v4().simple().to_string());
        let mut awaited: Option<JobId> = None;
        let make = |prepared: PreparedJob| {
            let is_awaited = prepared.is_awaited();
            let mut job = Job::new(new_id(), prepared, now)?;
            job.after = awaited.clone();
            if is_awaited {
                awaited = Some(job.id.clone());
            }
            Ok(job)
        };
        let jobs: Result<Vec<Job>, tidemill_common::plan::PlanError> = prepared.into_iter().map(make).collect();
        let jobs = match jobs {
            Ok(jobs) if self.shutdown.is_none() => jobs,
            Ok(_) => return drop(reply.send(Err(JobManagerError::ShuttingDown))),
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        let records: Vec<_> = jobs
            .iter()
            .filter(|job| self.is_kept(job))
            .map(|job| (self.record(job), job.plan_json.as_ref().clone()))
            .collect();
        let admitted = Admitted { jobs, found: Vec::new(), reply: Some(reply), result: Ok(()) };
        if records.is_empty() {
            return self.admit(admitted);
        }
        // Writes happen in order: the last one tells of all.
        let first_error: Arc<Mutex<Option<String>>> = Arc::default();
        let last = records.len() - 1;
        let mut admitted = Some(admitted);
        let Some(store) = &self.store else { return };
        for (index, (record, plan)) in records.into_iter().enumerate() {
            let errors = first_error.clone();
            let admitted = if index == last { admitted.take() } else { None };
            let commands = self.handle.commands.clone();
            store.put(record, Some(plan), move |result| {
                let mut error = errors.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(reason) = result {
                    error.get_or_insert(reason);
                }
                if let Some(mut admitted) = admitted {
                    admitted.result = error.take().map_or(Ok(()), Err);
                    let _ = commands.blocking_send(Command::Admitted(Box::new(admitted)));
                }
            });
        }
    }

    /// Takes jobs in.
    pub(crate) fn admit(&mut self, admitted: Admitted) {
        let Admitted { jobs, found, reply, result } = admitted;
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let refused = match result {
            _ if self.shutdown.is_some() => Some(JobManagerError::ShuttingDown),
            Err(reason) => Some(JobManagerError::NotKept { reason }),
            Ok(()) => None,
        };
        if let Some(error) = refused {
            // Those that were found are left for the next start.
            if let Some(reply) = reply {
                ids.iter().for_each(|id| self.forget(id));
                drop(reply.send(Err(error)));
            }
            return;
        }
        for mut job in jobs {
            if let Some(recovering) = &job.recovering {
                // It has not waited for slots before.
                job.waiting_since_ms = recovering.until_ms;
            }
            tracing::info!(job = %job.id, name = job.plan.name, "job submitted");
            self.order.push(job.id.clone());
            self.not_admitted.remove(&job.id);
            self.jobs.insert(job.id.clone(), job);
        }
        for id in &ids {
            self.checkpoints_begin(id);
        }
        for Found { job, files } in found {
            self.files_found(&job, files);
            self.end_if_stopped(&job);
        }
        // A client that has gone away needs no answer.
        if let Some(reply) = reply {
            drop(reply.send(Ok(ids)));
        }
        self.schedule();
    }

    /// A job that was found with the savepoint it was to end with: whoever asked for that may go on from it.
    fn end_if_stopped(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(location) = job.checkpoints.coordinator.stopped_with() else { return };
        let cause = format!(
            "the savepoint {location} is complete, and the job manager ended before the job had; start the job again from it"
        );
        job.machine.never_restart();
        self.apply(id, JobEvent::CoordinatorFailed { cause });
    }

    fn files_found(&mut self, id: &JobId, files: Result<Vec<(CheckpointId, Vec<String>)>, String>) {
        match files {
            Ok(checkpoints) => {
                for (checkpoint, files) in checkpoints {
                    self.files.reported(id, checkpoint, files.iter().map(String::as_str));
                    self.files.completed(id, checkpoint);
                }
            }
            Err(cause) => {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.checkpoints.files_are_unknown();
                }
                self.apply(id, JobEvent::CoordinatorFailed { cause });
            }
        }
    }

    /// Deploys a job to the slots found for it, once it is kept that it may run there.
    pub(crate) fn place(&mut self, id: &JobId, schedule: Schedule) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.placing = true;
        let attempt = job.machine.attempt();
        let Some(job) = self.jobs.get(id).filter(|job| self.is_kept(job)) else {
            return self.placed(id, attempt, schedule, Ok(()));
        };
        let mut record = self.record(job);
        record.task_managers = schedule.placement.values().cloned().collect();
        record.plan = job.plan_number;
        let plan = (job.plan_number > job.plan_kept).then(|| job.plan_json.as_ref().clone());
        let id = id.clone();
        self.keep(record, plan, move |result| Command::PlacementKept { job: id, attempt, schedule, result });
    }

    /// It is kept where a job may run: deploys it there, if that is still possible.
    pub(crate) fn placed(&mut self, id: &JobId, attempt: AttemptId, schedule: Schedule, kept: Result<(), String>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.placing = false;
        if job.machine.state() != tidemill_common::control::JobState::Created || job.machine.attempt() != attempt {
            // Another region has failed since, or the job is over: nothing runs in the slots that were taken.
            self.release_slots(id);
            return self.schedule();
        }
        job.plan_kept = job.plan_number;
        job.recovering = None;
        let members_are_there = schedule.slots.keys().all(|member| self.cluster.member(member).is_some());
        match kept {
            Ok(()) if members_are_there => self.apply(id, JobEvent::Placed(schedule.placement)),
            Ok(()) => {
                self.release_slots(id);
                self.schedule();
            }
            Err(reason) => {
                self.release_slots(id);
                let cause = format!("the job manager cannot keep where the job runs (jobmanager.data.dir): {reason}");
                self.apply(id, JobEvent::CoordinatorFailed { cause });
            }
        }
    }

    /// Keeps the pointer to a complete checkpoint.
    pub(crate) fn persist_checkpoint(&mut self, id: &JobId, checkpoint: CheckpointId) {
        let Some(job) = self.jobs.get(id).filter(|job| self.is_kept(job)) else {
            return self.checkpoint(id, Event::Persisted { checkpoint, result: Ok(()) });
        };
        let record = self.record(job);
        let job = id.clone();
        self.keep(record, None, move |result| Command::Checkpoint {
            job,
            event: Box::new(Event::Persisted { checkpoint, result }),
        });
    }

    /// Keeps that checkpoint ids below `end` are in use.
    pub(crate) fn reserve_ids(&mut self, id: &JobId, end: u64) {
        let Some(job) = self.jobs.get(id).filter(|job| self.is_kept(job)) else {
            return self.checkpoint(id, Event::IdsReserved { end });
        };
        let mut record = self.record(job);
        record.ids_end = end;
        let job = id.clone();
        self.keep(record, None, move |result| {
            // Without them no checkpoint is triggered until it is tried again.
            let end = if result.is_ok() { end } else { 0 };
            Command::Checkpoint { job, event: Box::new(Event::IdsReserved { end }) }
        });
    }

    /// A job has ended and is not to be taken up again.
    pub(crate) fn forget(&mut self, id: &JobId) {
        if let Some(store) = &self.store {
            store.remove(id.clone());
        }
    }

    /// Takes up the jobs that were found, in the background: their checkpoints have to be read.
    pub(crate) fn recover(&self, stored: Vec<StoredJob>) {
        let until_ms = self.clock.now_ms() + self.config.heartbeat_timeout.as_millis() as i64;
        for stored in stored {
            let (handle, config) = (self.handle.clone(), self.config.clone());
            tokio::spawn(async move {
                let id = stored.record.job.clone();
                match recovered(stored, &config, until_ms).await {
                    Ok((job, files)) => {
                        let found = vec![Found { job: id, files }];
                        let admitted = Admitted { jobs: vec![job], found, reply: None, result: Ok(()) };
                        let _ = handle.send(Command::Admitted(Box::new(admitted))).await;
                    }
                    Err(error) => tracing::error!(job = %id, %error, "a job cannot be taken up again"),
                }
            });
        }
    }
}

type Files = Result<Vec<(CheckpointId, Vec<String>)>, String>;

/// A job from its record, and what its checkpoints name.
async fn recovered(
    stored: StoredJob,
    config: &crate::JobManagerConfig,
    until_ms: i64,
) -> Result<(Job, Files), JobManagerError> {
    let StoredJob { record, plan } = stored;
    let plan = StreamPlan::from_json(&plan)?;
    own::check_plan(&plan)?;
    let mut checkpoints = CheckpointPlan::new(&plan.options, config)?;
    checkpoints.next_state_id = record.next_state_id;
    let newest = record.retained.last().map(|retained| retained.location.clone()).or(record.restored.clone());
    checkpoints.restored =
        record.restored.map(|location| RestoredFrom { location, files: Vec::new(), operators: Vec::new() });
    let prepared = PreparedJob { plan, columns: None, checkpoints: Some(checkpoints) };
    let mut job = Job::new(record.job, prepared, record.submitted_ms)?;
    let retained = record.retained.iter().map(|retained| Retained {
        checkpoint: retained.checkpoint,
        location: retained.location.clone(),
        kind: retained.kind,
    });
    job.checkpoints.recover(record.ids_end, retained.collect());
    let attempt = AttemptId(record.attempts_end);
    job.taken_up(attempt, record.plan, Recovering { task_managers: record.task_managers, until_ms });
    let cause = match &newest {
        Some(location) => format!("the job manager was started again; the job goes on from {location}"),
        None => "the job manager was started again; the job has no checkpoint and begins anew".to_owned(),
    };
    job.record_failure(None, None, cause, false, job.start_ms);
    let mut files = Vec::new();
    for retained in &record.retained {
        match read_files(&retained.location, config).await {
            Ok(named) => files.push((retained.checkpoint, named)),
            Err(error) => return Ok((job, Err(format!("the job cannot go on: {error}")))),
        }
    }
    Ok((job, Ok(files)))
}

async fn read_files(location: &str, config: &crate::JobManagerConfig) -> Result<Vec<String>, StorageError> {
    let directory = Directory::open(location, &config.store)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match store::read_metadata(&directory).await {
            Ok(metadata) => return Ok(files_of_metadata(&metadata).map(str::to_owned).collect()),
            Err(error) if tries == READ_TRIES => return Err(error),
            Err(_) => tokio::time::sleep(READ_PAUSE).await,
        }
    }
}
