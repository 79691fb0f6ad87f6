//! What reaches the master: from task managers, from clients, and from its own helpers.

use std::sync::Arc;

use tidemill_common::control::{
    CheckpointHistory, ClusterInfo, Fenced, JobDetail, JobManagerMessage, JobSummary, Registration, TaskManagerMessage,
};
use tidemill_common::ids::{AttemptId, JobId, LeaderEpoch, OperatorId, TaskManagerId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cluster::ConnectionId;
use crate::error::JobManagerError;
use crate::job::PreparedJob;
use crate::rows::RowBuffer;
use crate::splits::Discovered;
use crate::views::View;

/// Commands that may wait for the master.
pub const COMMANDS_MAX: usize = 1_024;
/// Messages that may wait for a task manager; one that takes none for so long is lost.
pub const MESSAGES_TO_TASK_MANAGER_MAX: usize = 4_096;

pub type Reply<T> = oneshot::Sender<T>;
pub type ToTaskManager = mpsc::Sender<Fenced<JobManagerMessage>>;

/// One command.
pub enum Command {
    /// A task manager offers itself. The reply is why it may not join.
    Join {
        registration: Registration,
        sender: ToTaskManager,
        reply: Reply<Result<ConnectionId, String>>,
    },
    FromTaskManager {
        id: TaskManagerId,
        connection: ConnectionId,
        message: Fenced<TaskManagerMessage>,
    },
    Disconnected {
        id: TaskManagerId,
        connection: ConnectionId,
        reason: String,
    },
    Client(ClientCommand),
    /// A helper has made the enumerator of a source, and has run its discovery. The attempt is the one that
    /// the enumerator is for.
    Discovered {
        job: JobId,
        attempt: AttemptId,
        operator: OperatorId,
        result: Discovered,
    },
    DiscoveryDue {
        job: JobId,
        attempt: AttemptId,
        operator: OperatorId,
    },
    Timeout {
        job: JobId,
        attempt: AttemptId,
        timer: Timer,
    },
    /// Something that the coordinator of a job's checkpoints waits for.
    Checkpoint {
        job: JobId,
        event: Box<crate::checkpoint::coordinator::Event>,
    },
    CheckpointDue {
        job: JobId,
        wake_ms: i64,
    },
    /// Jobs that were submitted and kept, or found again.
    Admitted(Box<crate::recovery::Admitted>),
    /// It is kept, or not, where an attempt of a job may run.
    PlacementKept {
        job: JobId,
        attempt: AttemptId,
        schedule: crate::scheduler::Schedule,
        result: Result<(), String>,
    },
    /// The client of a SELECT has taken rows.
    RowsTaken {
        job: JobId,
        task_manager: TaskManagerId,
        attempt: AttemptId,
        sequence: u64,
    },
    /// The client of a SELECT has gone away.
    RowsAbandoned {
        job: JobId,
    },
}

/// What clients ask.
pub enum ClientCommand {
    Submit {
        jobs: Vec<PreparedJob>,
        reply: Reply<Result<Vec<JobId>, JobManagerError>>,
    },
    List {
        reply: Reply<Vec<JobSummary>>,
    },
    Watch {
        job: String,
        reply: Reply<Result<watch::Receiver<Arc<JobDetail>>, JobManagerError>>,
    },
    Cancel {
        job: String,
        reply: Reply<Result<JobSummary, JobManagerError>>,
    },
    Stop {
        job: String,
        drain: bool,
        reply: Reply<Result<JobSummary, JobManagerError>>,
    },
    Rescale {
        job: String,
        parallelism: u32,
        reply: Reply<Result<JobSummary, JobManagerError>>,
    },
    /// Take a savepoint, below this directory or the configured one; with `stop` the job ends after it.
    /// The reply is its URL, once it is complete.
    Savepoint {
        job: String,
        directory: Option<String>,
        stop: Option<bool>,
        reply: Reply<Result<String, JobManagerError>>,
    },
    Checkpoints {
        job: String,
        reply: Reply<Result<CheckpointHistory, JobManagerError>>,
    },
    Fetch {
        job: String,
        reply: Reply<Result<(JobId, Arc<RowBuffer>), JobManagerError>>,
    },
    Info {
        reply: Reply<ClusterInfo>,
    },
    View(View),
    /// Cancel all jobs; the reply comes when all have ended.
    Shutdown {
        reply: Reply<()>,
    },
}

/// The named waits of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// `task.deployment.timeout`
    Deployment,
    /// `task.cancellation.timeout`, of what was told to end in this round.
    Cancellation { round: u64 },
    /// The delay before a restart.
    Restart { round: u64 },
}

/// The way to the master.
#[derive(Clone)]
pub struct MasterHandle {
    pub commands: mpsc::Sender<Command>,
    pub epoch: LeaderEpoch,
}

impl MasterHandle {
    pub async fn send(&self, command: Command) -> Result<(), JobManagerError> {
        self.commands.send(command).await.map_err(|_| JobManagerError::ShuttingDown)
    }

    /// Looks at something.
    pub async fn look<T>(&self, make: impl FnOnce(Reply<T>) -> View) -> Result<T, JobManagerError> {
        self.ask(|reply| ClientCommand::View(make(reply))).await
    }

    /// Sends what a client asks, and waits for the answer.
    pub async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> ClientCommand) -> Result<T, JobManagerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Client(make(reply))).await?;
        answer.await.map_err(|_| JobManagerError::ShuttingDown)
    }
}
