//! The commit table: which epochs are published, and which attempts of a job may write.
//!
//! One row a subtask of a sink holds the newest checkpoint whose rows are published; it changes in the
//! transaction that inserts them. Who may write is in rows of negative subtasks: one a sink (subtask -1)
//! holds the attempt at which its job was last started as a whole, and one a subtask the attempt that this
//! runs in, as regions of the job start again without each other. Every transaction reads both under a lock
//! and gives up if another attempt has taken over; a new attempt raises them, which waits for the
//! transactions of earlier ones.

use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::faults::{Promise, is_broken};

use super::store::quote;

/// Subtask of the row that holds the attempt at which the job was last started as a whole.
pub(super) const FENCE: i64 = -1;
/// What a row holds before its first checkpoint.
pub(super) const NONE_PUBLISHED: i64 = -1;

/// The attempt of a job that writes to a sink from a subtask.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    pub job: String,
    pub sink: String,
    pub subtask: i64,
    pub attempt: i64,
    /// All before this one are over, in whatever subtask.
    pub first_attempt: i64,
}

impl Fence {
    /// Subtask of the row that holds the attempt that the subtask runs in.
    pub fn own_row(&self) -> i64 {
        FENCE - 1 - self.subtask
    }

    /// The rows to raise when the attempt begins, and what to. In the order in which others lock them.
    pub fn rows(&self) -> [(i64, i64); 2] {
        [(FENCE, self.first_attempt), (self.own_row(), self.attempt)]
    }

    /// Whether the attempt may write, by the rows that were found.
    pub fn check(&self, found: &[(i64, i64)]) -> Result<(), StoreError> {
        let row = |subtask| found.iter().find(|(of, _)| *of == subtask).map(|(_, attempt)| *attempt);
        match (row(FENCE), row(self.own_row())) {
            (Some(whole), Some(own)) if whole <= self.attempt && own == self.attempt => Ok(()),
            _ if is_broken(Promise::StaleAttempt) => Ok(()),
            (Some(whole), Some(own)) => Err(StoreError::Fenced(Some(whole.max(own)))),
            _ => Err(StoreError::Fenced(None)),
        }
    }
}

/// The row of an epoch's origin, and the checkpoint it rises to.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    pub job: String,
    pub sink: String,
    pub subtask: i64,
    pub checkpoint: i64,
}

impl Marker {
    pub fn of(origin: &EpochOrigin) -> Self {
        Self {
            job: origin.job.0.clone(),
            sink: origin.sink.clone(),
            subtask: i64::from(origin.subtask.0),
            checkpoint: i64::try_from(origin.checkpoint.0).unwrap_or(i64::MAX),
        }
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum StoreError {
    Sql(sqlx::Error),
    /// Another attempt has taken over; `None` if the row is gone.
    Fenced(Option<i64>),
    /// Staged rows that cannot be read.
    Rows(crate::api::ConnectorError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// The statements, in the words of one of the databases.
pub(super) struct CommitSql {
    pub create: String,
    /// Parameters: job, sink, subtask, attempt. Changes nothing if that attempt or a newer one is recorded.
    pub register: String,
    /// Parameters: job, sink, own row. Gives subtasks and attempts.
    pub attempts: String,
    /// Parameters: job, sink, subtask, attempt.
    pub insert: String,
    /// Parameters: job, sink, subtask.
    pub published: String,
    /// Parameters: job, sink, subtask, checkpoint, attempt.
    pub update: String,
}

impl CommitSql {
    /// `locks`: whether rows are locked when they are read (else the whole database is).
    pub fn new(schema: Option<&str>, table: &str, locks: bool) -> Self {
        let name = schema.map_or_else(|| quote(table), |schema| format!("{}.{}", quote(schema), quote(table)));
        let (share, update) = if locks { (" FOR SHARE", " FOR UPDATE") } else { ("", "") };
        let values = "(job, sink, subtask, checkpoint, attempt)";
        let key = "job = $1 AND sink = $2 AND subtask";
        Self {
            create: format!(
                "CREATE TABLE IF NOT EXISTS {name} (job VARCHAR(64) NOT NULL, sink VARCHAR(64) NOT NULL, subtask BIGINT NOT \
                 NULL, checkpoint BIGINT NOT NULL, attempt BIGINT NOT NULL, PRIMARY KEY (job, sink, subtask))"
            ),
            register: format!(
                "INSERT INTO {name} AS c {values} VALUES ($1, $2, $3, {NONE_PUBLISHED}, $4) ON CONFLICT (job, sink, \
                 subtask) DO UPDATE SET attempt = excluded.attempt WHERE c.attempt < excluded.attempt"
            ),
            attempts: format!(
                "SELECT subtask, attempt FROM {name} WHERE {key} IN ({FENCE}, $3) ORDER BY subtask DESC{share}"
            ),
            insert: format!(
                "INSERT INTO {name} {values} VALUES ($1, $2, $3, {NONE_PUBLISHED}, $4) ON CONFLICT DO NOTHING"
            ),
            published: format!("SELECT checkpoint FROM {name} WHERE {key} = $3{update}"),
            update: format!("UPDATE {name} SET checkpoint = $4, attempt = $5 WHERE {key} = $3"),
        }
    }
}
