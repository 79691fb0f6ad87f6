//! The metrics of a job manager, under Flink's names where Flink has them.

use tidemill_common::control::{CheckpointState, JobState};
use tidemill_http::exposition::{Exposition, Metric};

use crate::command::{ClientCommand, MasterHandle};
use crate::views::{JobStatus, View};

const JOB: &[&str] = &["job_id", "job_name"];

const BUILD: Metric =
    Metric::gauge("tidemill_build_info", &["version", "role"], "Always 1; the version of the process.");
const EPOCH: Metric = Metric::gauge(
    "tidemill_jobmanager_leader_epoch",
    &[],
    "Epoch of the leading job manager; rises with every change.",
);
const TASK_MANAGERS: Metric =
    Metric::gauge("flink_jobmanager_numRegisteredTaskManagers", &[], "Task managers that are registered.");
const SLOTS: Metric = Metric::gauge("flink_jobmanager_taskSlotsTotal", &[], "Slots of all task managers.");
const SLOTS_FREE: Metric = Metric::gauge("flink_jobmanager_taskSlotsAvailable", &[], "Slots that no job has.");
const RUNNING: Metric = Metric::gauge("flink_jobmanager_numRunningJobs", &[], "Jobs that run.");
const STATE: Metric = Metric::gauge(
    "tidemill_jobmanager_job_state",
    &["job_id", "job_name", "state"],
    "1 for the state that the job is in. Of jobs that have ended too, as long as they are remembered.",
);
const UPTIME: Metric = Metric::gauge(
    "flink_jobmanager_job_uptime",
    JOB,
    "Milliseconds that the job has run without interruption; 0 if it does not run.",
);
const DOWNTIME: Metric = Metric::gauge(
    "flink_jobmanager_job_downtime",
    JOB,
    "Milliseconds that the job has been in its state if it should run and does not; 0 if it runs.",
);
const RESTARTS: Metric = Metric::counter(
    "flink_jobmanager_job_numRestarts",
    JOB,
    "How often the job, or regions of it, have started again after a failure.",
);
const IN_PROGRESS: Metric =
    Metric::gauge("flink_jobmanager_job_numberOfInProgressCheckpoints", JOB, "Checkpoints that are being taken.");
const COMPLETED: Metric = Metric::counter(
    "flink_jobmanager_job_numberOfCompletedCheckpoints",
    JOB,
    "Checkpoints and savepoints that were completed.",
);
const FAILED: Metric =
    Metric::counter("flink_jobmanager_job_numberOfFailedCheckpoints", JOB, "Checkpoints and savepoints that failed.");
const TOTAL: Metric = Metric::counter(
    "flink_jobmanager_job_totalNumberOfCheckpoints",
    JOB,
    "Checkpoints and savepoints that were begun.",
);
const LAST_ID: Metric =
    Metric::gauge("flink_jobmanager_job_lastCompletedCheckpointId", JOB, "The newest checkpoint that is complete.");
const LAST_DURATION: Metric = Metric::gauge(
    "flink_jobmanager_job_lastCheckpointDuration",
    JOB,
    "Milliseconds from the trigger to the end of the newest complete checkpoint.",
);
const LAST_SIZE: Metric = Metric::gauge(
    "flink_jobmanager_job_lastCheckpointSize",
    JOB,
    "Bytes that were written for the newest complete checkpoint.",
);
const LAST_FULL_SIZE: Metric = Metric::gauge(
    "flink_jobmanager_job_lastCheckpointFullSize",
    JOB,
    "Bytes of all that the newest complete checkpoint holds and names.",
);
const LAST_AGE: Metric = Metric::gauge(
    "tidemill_jobmanager_job_lastCheckpointTimestamp",
    JOB,
    "When the newest complete checkpoint was complete, in milliseconds since the epoch.",
);
const LAST_ALIGNMENT: Metric = Metric::gauge(
    "tidemill_jobmanager_job_lastCheckpointAlignmentTime",
    JOB,
    "Milliseconds from the first to the last barrier in the newest complete checkpoint: the longest of all subtasks.",
);

/// All metrics of a job manager.
pub const JOB_MANAGER_METRICS: &[Metric] = &[
    BUILD,
    EPOCH,
    TASK_MANAGERS,
    SLOTS,
    SLOTS_FREE,
    RUNNING,
    STATE,
    UPTIME,
    DOWNTIME,
    RESTARTS,
    IN_PROGRESS,
    COMPLETED,
    FAILED,
    TOTAL,
    LAST_ID,
    LAST_DURATION,
    LAST_SIZE,
    LAST_FULL_SIZE,
    LAST_AGE,
    LAST_ALIGNMENT,
];

/// Adds all metrics. Those of a master that has ended are missing.
pub async fn write(master: &MasterHandle, page: &mut Exposition) {
    page.value_with(&BUILD, &[env!("CARGO_PKG_VERSION"), "jobmanager"], 1.0);
    let Ok(info) = master.ask(|reply| ClientCommand::Info { reply }).await else { return };
    let Ok(jobs) = master.look(|reply| View::Statuses { reply }).await else { return };
    let sum = |count: &dyn Fn(&tidemill_common::control::TaskManagerInfo) -> u32| {
        info.task_managers.iter().map(|member| f64::from(count(member))).sum::<f64>()
    };
    page.value(&EPOCH, info.leader_epoch.0 as f64);
    page.value(&TASK_MANAGERS, info.task_managers.len() as f64);
    page.value(&SLOTS, sum(&|member| member.slots));
    page.value(&SLOTS_FREE, sum(&|member| member.free_slots));
    let runs = |job: &&JobStatus| matches!(job.summary.state, JobState::Running | JobState::Finishing);
    page.value(&RUNNING, jobs.iter().filter(runs).count() as f64);
    let states: Vec<String> = jobs.iter().map(|job| job.summary.state.to_string()).collect();
    let rows = jobs.iter().zip(&states);
    page.family(
        &STATE,
        rows.map(|(job, state)| ([job.summary.job_id.0.as_str(), &job.summary.name, state.as_str()], 1.0)),
    );
    // Of jobs that have ended there is nothing to watch.
    let live: Vec<&JobStatus> = jobs.iter().filter(|job| !job.summary.state.is_terminal()).collect();
    let mut family = |metric: &Metric, value: &dyn Fn(&JobStatus) -> Option<f64>| {
        let rows = live
            .iter()
            .filter_map(|job| Some(([job.summary.job_id.0.as_str(), job.summary.name.as_str()], value(job)?)));
        page.family(metric, rows);
    };
    let since = |job: &JobStatus, running: bool| {
        let is = matches!(job.summary.state, JobState::Running | JobState::Finishing);
        if is == running { job.state_ms as f64 } else { 0.0 }
    };
    family(&UPTIME, &|job| Some(since(job, true)));
    family(&DOWNTIME, &|job| Some(since(job, false)));
    family(&RESTARTS, &|job| Some(job.restarts as f64));
    let counts = |job: &JobStatus| job.checkpoints.counts;
    family(&IN_PROGRESS, &|job| Some(counts(job).in_progress as f64));
    family(&COMPLETED, &|job| Some((counts(job).completed + counts(job).savepoints) as f64));
    family(&FAILED, &|job| Some(counts(job).failed as f64));
    family(&TOTAL, &|job| {
        let counts = counts(job);
        Some((counts.in_progress + counts.completed + counts.savepoints + counts.failed) as f64)
    });
    let last = |job: &JobStatus| {
        job.checkpoints.checkpoints.iter().find(|stats| stats.state == CheckpointState::Completed).cloned()
    };
    family(&LAST_ID, &|job| Some(last(job)?.checkpoint.0 as f64));
    family(&LAST_DURATION, &|job| last(job).and_then(|stats| Some((stats.end_ms? - stats.trigger_ms) as f64)));
    family(&LAST_SIZE, &|job| Some(last(job)?.bytes_new as f64));
    family(&LAST_FULL_SIZE, &|job| Some(last(job)?.bytes_total as f64));
    family(&LAST_AGE, &|job| Some(last(job)?.end_ms? as f64));
    family(&LAST_ALIGNMENT, &|job| Some(last(job)?.alignment_ms as f64));
}
