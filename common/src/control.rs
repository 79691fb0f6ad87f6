//! The vocabulary of the control plane: what job manager, task managers and clients tell each
//! other. The wire form is in `tidemill-proto`; these are the types the code works with.

use std::fmt;

use serde::Serialize;

use crate::checkpoint::{CheckpointKind, SplitPosition, SubtaskSnapshot};
use crate::ids::{
    AttemptId, CheckpointId, JobId, LeaderEpoch, OperatorId, RegionId, SubtaskId, SubtaskIndex, TaskId, TaskManagerId,
};

/// From a task manager to the job manager. The first message of a connection is `Register`.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskManagerMessage {
    Register(Registration),
    /// Sign of life, with a snapshot of all subtasks and of the process.
    Heartbeat {
        sequence: u64,
        subtasks: Vec<SubtaskReport>,
        process: ProcessStatus,
    },
    SubtaskStateChanged {
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        state: SubtaskState,
        /// The last counters of a subtask that has ended.
        metrics: Option<SubtaskReport>,
    },
    /// A reader has nothing (more) to read.
    SplitRequest {
        job: JobId,
        attempt: AttemptId,
        operator: OperatorId,
        reader: SubtaskIndex,
    },
    /// A subtask's part of a checkpoint is complete and synced.
    CheckpointAcknowledged {
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        snapshot: Box<SubtaskSnapshot>,
    },
    /// A subtask cannot take its part of a checkpoint; the job goes on.
    CheckpointDeclined {
        job: JobId,
        attempt: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        reason: String,
    },
    /// Rows of a top-level SELECT; `sequence` counts the chunks of this job from this task manager.
    CollectedLines {
        job: JobId,
        attempt: AttemptId,
        sequence: u64,
        lines: Vec<String>,
    },
}

/// What a task manager offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub id: TaskManagerId,
    /// Where its shuffle is reached, as `host:port`.
    pub data_address: String,
    pub slots: u32,
    pub version: String,
    pub local_state: LocalState,
}

/// Copies of state on the machine of a task manager.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalState {
    /// The same for all task managers that find the same copies; empty if there can be none.
    pub id: String,
    /// Whose state there are copies of.
    pub jobs: Vec<(JobId, Vec<SubtaskId>)>,
}

/// From the job manager to a task manager.
#[derive(Clone, Debug, PartialEq)]
pub enum JobManagerMessage {
    Registered {
        heartbeat_interval_ms: u64,
        heartbeat_timeout_ms: u64,
    },
    /// The task manager may not join.
    Refused {
        reason: String,
    },
    HeartbeatAck {
        sequence: u64,
    },
    Deploy(DeployRequest),
    AssignSplits {
        job: JobId,
        attempt: AttemptId,
        operator: OperatorId,
        reader: SubtaskIndex,
        splits: Vec<SplitPosition>,
        no_more: bool,
    },
    Cancel {
        job: JobId,
        attempt: AttemptId,
    },
    StopSources {
        job: JobId,
        attempt: AttemptId,
        drain: bool,
    },
    UpdateAlignment {
        job: JobId,
        attempt: AttemptId,
        group: String,
        max_watermark_ms: i64,
    },
    /// The sources take their part of a checkpoint and send a barrier. What was assigned to them before
    /// is part of it, what comes later is not.
    TriggerCheckpoint {
        job: JobId,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        timestamp_ms: i64,
        /// URL of a savepoint's directory.
        savepoint: Option<String>,
        /// After it the sources end: with `true` event time goes to its end before the barrier.
        stop: Option<bool>,
    },
    /// Every part is there and the checkpoint is written: what was staged for it is published. Covers
    /// all older ones.
    CheckpointComplete {
        job: JobId,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    },
    /// It will not be complete.
    CheckpointAborted {
        job: JobId,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    },
    /// The job has ended for good, or is not known: copies of its state are of no use.
    ForgetJob {
        job: JobId,
    },
    /// The client has taken all chunks up to this one.
    LinesTaken {
        job: JobId,
        attempt: AttemptId,
        sequence: u64,
    },
}

/// Subtasks to start on one task manager.
#[derive(Clone, Debug, PartialEq)]
pub struct DeployRequest {
    pub job: JobId,
    pub job_name: String,
    pub attempt: AttemptId,
    /// The first attempt since the job was last started as a whole: older ones are over in all subtasks.
    pub first_attempt: AttemptId,
    /// The region that the attempt is of; `None` if it is all of the job.
    pub region: Option<RegionId>,
    /// The plan as [`crate::plan::StreamPlan::to_json`] gives it.
    pub plan: std::sync::Arc<Vec<u8>>,
    /// To run there.
    pub subtasks: Vec<SubtaskId>,
    /// URL of the directory of the job's checkpoints; `None` if the job takes none.
    pub checkpoint_directory: Option<String>,
    /// URL of the directory whose `_metadata` the job starts from.
    pub restore: Option<String>,
    /// Of all subtasks of the attempt: task manager and data address.
    pub locations: Vec<(SubtaskId, TaskManagerId, String)>,
}

/// A message with the epoch of the leader it belongs to. Receivers refuse other epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fenced<T> {
    pub epoch: LeaderEpoch,
    pub message: T,
}

/// Where a subtask stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubtaskState {
    Running,
    /// Its input has ended; it waits for the checkpoint that publishes its tail.
    Finishing,
    Finished,
    Canceled,
    Failed {
        cause: String,
    },
}

impl SubtaskState {
    /// Whether the subtask does nothing more.
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Running | Self::Finishing)
    }
}

/// Cumulative counters of one subtask.
#[derive(Clone, Debug, PartialEq)]
pub struct SubtaskReport {
    pub job: JobId,
    pub attempt: AttemptId,
    pub subtask: SubtaskId,
    pub operators: Vec<OperatorCounters>,
    pub busy_ms: u64,
    pub idle_ms: u64,
    pub backpressured_ms: u64,
    pub watermark_ms: Option<i64>,
    /// What a source reports to its alignment group.
    pub alignment_watermark_ms: Option<i64>,
    /// The split with the lowest watermark, of a source that reads several.
    pub holding_split: Option<String>,
    /// The splits that a source with watermarks reads, those furthest behind first; a bounded number.
    pub splits: Vec<SplitStatus>,
}

/// How far a split of a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitStatus {
    pub split: String,
    /// Absent before the first row.
    pub watermark_ms: Option<i64>,
    /// Silent for so long that it holds the watermark no more.
    pub idle: bool,
}

/// What a task manager tells of its process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessStatus {
    /// Where its HTTP server listens, as `host:port`; absent if it has none.
    pub http_address: Option<String>,
    pub memory: Vec<MemoryUse>,
}

/// Memory of one consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    /// `process`, `state-tables`, `rows-in-flight`, `state-blocks` or `state-writing`.
    pub consumer: String,
    pub used_bytes: u64,
    /// Absent if nothing bounds it.
    pub limit_bytes: Option<u64>,
}

/// Cumulative counters of one operator in one subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCounters {
    pub operator: OperatorId,
    pub records_in: u64,
    pub records_out: u64,
    /// Read from or written to the outside.
    pub bytes: u64,
    pub late_rows_dropped: u64,
    pub records_skipped: u64,
    pub records_lag: Option<u64>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Waits for slots.
    Created,
    /// Its subtasks are being started.
    Deploying,
    Running,
    /// The sources have ended, what they read is still on its way.
    Finishing,
    Finished,
    /// Has failed, the rest is being cancelled; starts again after a delay.
    Restarting,
    /// Has failed for good, the rest is being cancelled.
    Failing,
    Failed,
    Canceling,
    Canceled,
}

impl JobState {
    /// Whether the job has ended for good.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Deploying => "DEPLOYING",
            Self::Running => "RUNNING",
            Self::Finishing => "FINISHING",
            Self::Finished => "FINISHED",
            Self::Restarting => "RESTARTING",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::Canceling => "CANCELING",
            Self::Canceled => "CANCELED",
        })
    }
}

/// A job in a list. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobSummary {
    pub job_id: JobId,
    pub name: String,
    pub state: JobState,
    pub start_ms: i64,
    pub end_ms: Option<i64>,
}

/// All about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobDetail {
    #[serde(flatten)]
    pub summary: JobSummary,
    pub max_parallelism: u32,
    pub slots: u32,
    /// Pipelined regions, which fail and start again without each other.
    pub regions: u32,
    /// Of all regions, in the order in which they started.
    pub attempts: Vec<JobAttempt>,
    pub operators: Vec<OperatorStatus>,
    pub exceptions: Vec<JobException>,
}

impl JobDetail {
    /// Why the job failed: its first exception.
    pub fn failure(&self) -> Option<&JobException> {
        self.exceptions.first()
    }
}

/// One execution of a region of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobAttempt {
    pub attempt: AttemptId,
    pub region: RegionId,
    /// How many the region has.
    pub subtasks: u32,
    pub start_ms: i64,
    pub end_ms: Option<i64>,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobException {
    pub timestamp_ms: i64,
    /// Task name and subtask, such as `Calc(select=[a]) (1/2)`.
    pub subtask: Option<String>,
    pub task_manager: Option<TaskManagerId>,
    pub cause: String,
    /// The regions that ended because of it.
    pub regions: Vec<RegionId>,
}

/// An operator, summed over its subtasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorStatus {
    pub operator: OperatorId,
    pub uid: String,
    pub name: String,
    /// `source`, `calc`, `union`, `window-table-function`, `window-aggregate` or `sink`.
    pub kind: String,
    /// The task it is chained into.
    pub task: TaskId,
    pub parallelism: u32,
    pub subtasks_running: u32,
    pub subtasks_ended: u32,
    pub records_in: u64,
    pub records_out: u64,
    pub bytes: u64,
    pub late_rows_dropped: u64,
    pub records_skipped: u64,
    pub records_lag: Option<u64>,
    pub watermark_ms: Option<i64>,
    /// The split that holds the watermark back, of a source that reads several.
    pub holding_split: Option<String>,
    /// Of the whole task, summed over its subtasks; so are the next two.
    pub busy_ms: u64,
    pub idle_ms: u64,
    pub backpressured_ms: u64,
    /// Where its rows come from.
    pub inputs: Vec<OperatorInput>,
}

/// An edge between two operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorInput {
    pub operator: OperatorId,
    /// `forward`, `hash`, `rebalance`, `broadcast` or `global`.
    pub partitioning: String,
}

/// One parallel instance of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubtaskStatus {
    pub task: TaskId,
    pub index: SubtaskIndex,
    /// Names of the operators of the task, as in exceptions.
    pub name: String,
    pub region: Option<RegionId>,
    pub attempt: Option<AttemptId>,
    pub task_manager: Option<TaskManagerId>,
    /// `waiting`, `deployed`, `running` or `ended`.
    pub state: String,
    /// Into its first operator.
    pub records_in: u64,
    /// Out of its last operator.
    pub records_out: u64,
    pub late_rows_dropped: u64,
    pub busy_ms: u64,
    pub idle_ms: u64,
    pub backpressured_ms: u64,
    pub watermark_ms: Option<i64>,
    /// Of a source with watermarks; a bounded number.
    pub splits: Vec<SplitStatus>,
}

/// What an entry of a job's log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// The job is in another state.
    State,
    /// A region is deployed.
    Attempt,
    Failure,
    Checkpoint,
    Savepoint,
    /// Somebody has asked for something.
    Request,
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Attempt => "attempt",
            Self::Failure => "failure",
            Self::Checkpoint => "checkpoint",
            Self::Savepoint => "savepoint",
            Self::Request => "request",
        })
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// Counts the entries of a job, from 1.
    pub sequence: u64,
    pub timestamp_ms: i64,
    pub kind: LogKind,
    pub message: String,
}

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckpointState {
    #[serde(rename = "IN_PROGRESS")]
    InProgress,
    Completed,
    Failed,
}

impl fmt::Display for CheckpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        })
    }
}

/// One checkpoint of a job. Times are milliseconds since the epoch; parts are the longest of all
/// subtasks, bytes their sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointStats {
    pub checkpoint: CheckpointId,
    pub attempt: AttemptId,
    pub kind: CheckpointKind,
    /// Whether the job was to end with it.
    pub stop: bool,
    pub state: CheckpointState,
    pub trigger_ms: i64,
    pub end_ms: Option<i64>,
    pub subtasks: u32,
    pub subtasks_acknowledged: u32,
    /// From the first barrier to the last.
    pub alignment_ms: u64,
    /// While no row was processed, in microseconds.
    pub sync_us: u64,
    /// Encoding, writing and uploading beside the task.
    pub async_ms: u64,
    /// Written for this checkpoint.
    pub bytes_new: u64,
    /// Of rows that barriers have overtaken.
    pub bytes_in_flight: u64,
    /// Of all it holds and names.
    pub bytes_total: u64,
    /// URL of the directory of a complete one.
    pub location: Option<String>,
    pub failure: Option<String>,
}

impl CheckpointStats {
    /// One that has just been triggered.
    pub fn begun(
        checkpoint: CheckpointId,
        attempt: AttemptId,
        kind: CheckpointKind,
        stop: bool,
        trigger_ms: i64,
        subtasks: u32,
    ) -> Self {
        Self {
            checkpoint,
            attempt,
            kind,
            stop,
            state: CheckpointState::InProgress,
            trigger_ms,
            end_ms: None,
            subtasks,
            subtasks_acknowledged: 0,
            alignment_ms: 0,
            sync_us: 0,
            async_ms: 0,
            bytes_new: 0,
            bytes_in_flight: 0,
            bytes_total: 0,
            location: None,
            failure: None,
        }
    }
}

/// How many checkpoints of a job there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointCounts {
    pub in_progress: u64,
    pub completed: u64,
    pub savepoints: u64,
    pub failed: u64,
}

/// The checkpoints of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointHistory {
    pub job_id: JobId,
    pub counts: CheckpointCounts,
    /// URL of the checkpoint or savepoint the present attempt started from.
    pub restored: Option<String>,
    /// The latest, newest first.
    pub checkpoints: Vec<CheckpointStats>,
}

/// What becomes of an operator's state when a job starts from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorFate {
    /// It goes on where it was.
    Kept,
    /// It begins anew.
    New,
    /// The job has it no more.
    Dropped,
}

/// An operator of a job that starts from a checkpoint, or of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoredOperator {
    pub uid: String,
    pub name: String,
    pub fate: OperatorFate,
    pub reason: String,
}

/// A script to run, as it is submitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub text: String,
    /// How errors name it.
    pub file: String,
    /// Job options, as by SET at its head.
    pub options: std::collections::BTreeMap<String, String>,
    /// Plan and check, and start nothing.
    pub dry_run: bool,
    /// Statements that were carried out before, in a shell: what they defined and set is there. They are
    /// not carried out again.
    pub session: String,
    /// Whether rows of a SELECT come as JSON arrays of the row's kind and its values.
    pub cells: bool,
}

/// How the warning of a dry run begins that says why the job would not be taken.
pub const WOULD_BE_REFUSED: &str = "the job would be refused";

/// What became of a submitted script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedScript {
    pub statements: Vec<SubmittedStatement>,
    pub warnings: Vec<String>,
}

/// What became of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmittedStatement {
    Job(SubmittedJob),
    /// The text of an EXPLAIN, SHOW or DESCRIBE statement.
    Explain(String),
}

/// A job that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedJob {
    pub job: JobId,
    pub name: String,
    /// The columns of a top-level SELECT; `None` for INSERT.
    pub columns: Option<Vec<String>>,
    /// What becomes of each operator's state, if the job starts from a checkpoint.
    pub restored: Vec<RestoredOperator>,
}

/// The plans of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedScript {
    pub plans: Vec<String>,
    pub warnings: Vec<String>,
}

/// A cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterInfo {
    pub version: String,
    pub leader_epoch: LeaderEpoch,
    pub task_managers: Vec<TaskManagerInfo>,
}

/// A registered task manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskManagerInfo {
    pub id: TaskManagerId,
    pub data_address: String,
    pub slots: u32,
    pub free_slots: u32,
    pub registered_ms: i64,
    /// As of its last heartbeat.
    pub process: ProcessStatus,
}
