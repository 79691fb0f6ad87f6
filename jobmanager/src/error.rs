//! Why the job manager refuses or fails.

use std::net::SocketAddr;

use tidemill_common::ids::JobId;

/// An error of the job manager.
#[derive(Debug, thiserror::Error)]
pub enum JobManagerError {
    #[error(
        "cannot listen on {address} for gRPC: {source}; is another job manager running? Choose another port with --jobmanager-rpc-port"
    )]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("the gRPC server failed: {0}")]
    Server(#[source] tonic::transport::Error),
    #[error(transparent)]
    Http(#[from] tidemill_http::HttpError),
    #[error("gRPC reflection cannot be set up: {0}")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The script is at fault, or an outside system it names; already rendered for people.
    #[error("{0}")]
    Script(String),
    #[error("there is no job '{0}'; `tidemill list` shows all")]
    NoSuchJob(String),
    #[error("'{prefix}' is the beginning of several jobs: {}", .jobs.iter().map(|job| job.0.as_str()).collect::<Vec<_>>().join(", "))]
    AmbiguousJob { prefix: String, jobs: Vec<JobId> },
    #[error("job {0} is no SELECT, it has no rows to fetch")]
    NoRows(JobId),
    #[error("the rows of job {0} are fetched by another client")]
    RowsTaken(JobId),
    #[error("job {job} cannot be stopped, it is {state}")]
    NotRunning { job: JobId, state: tidemill_common::control::JobState },
    #[error(
        "job {job} runs in batch mode and cannot be {action}: it has no state to go on from, and its rows are final when all input has been read. Let it end, or cancel it"
    )]
    BatchMode { job: JobId, action: &'static str },
    #[error("job {job} cannot be rescaled, it is {state}; wait until it runs")]
    NotRescalable { job: JobId, state: tidemill_common::control::JobState },
    #[error(
        "job {0} has no complete checkpoint to go on from; set 'execution.checkpointing.interval', or wait for its first checkpoint"
    )]
    NoCheckpoint(JobId),
    #[error(
        "job {job} needs {needed} slots at parallelism {parallelism}, and {available} are free or its own; start more task managers, give them more slots (taskmanager.numberOfTaskSlots), or choose a lower parallelism. It goes on as it is"
    )]
    NotEnoughSlots { job: JobId, parallelism: u32, needed: u32, available: u32 },
    #[error(
        "job {job} has no directory for savepoints: name one, or set execution.checkpointing.savepoint-dir in the script or state.savepoints.dir of the job manager"
    )]
    NoSavepointDirectory { job: JobId },
    #[error("the job cannot be kept in the job manager's data directory (jobmanager.data.dir): {reason}")]
    NotKept { reason: String },
    #[error(transparent)]
    JobStore(#[from] crate::jobstore::JobStoreError),
    #[error("the savepoint of job {job} failed: {reason}")]
    SavepointFailed { job: JobId, reason: String },
    #[error(transparent)]
    Storage(#[from] tidemill_state::storage::StorageError),
    #[error("the job manager is shutting down")]
    ShuttingDown,
    #[error("the plan cannot be used: {0}")]
    Plan(#[from] tidemill_common::plan::PlanError),
    #[error("the job was planned by another binary: {0}")]
    OtherBinary(#[from] tidemill_expr::own::UnknownFunction),
    #[error("an internal task failed: {0}")]
    Internal(String),
}
