//! Buffers rows and hands them to the task that owns the connection.
//!
//! In a job with checkpoints rows of a table without a primary key wait for their checkpoint instead, and
//! every transaction first makes sure that no newer attempt has taken over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{CheckpointId, JobId};
use tokio::sync::{mpsc, oneshot};

use super::commits::{Fence, Marker, StoreError};
use super::rows::{encode, header};
use super::settings::Settings;
use super::store::{Store, is_transient, reason};
use super::value::{Change, append_key, values};
use super::{CANCEL_INTERVAL, IDENTIFIER, cancelled};
use crate::api::{ConnectorContext, ConnectorError, ConnectorMetrics, PreparedEpoch, SinkWriter, SubtaskContext};
use crate::staging::{STAGED_MEMORY_BYTES_MAX, StagedRows, Staging};

/// Buffers under way to the database.
const QUEUE_BUFFERS: usize = 2;
/// How often the writer looks whether what is under way has failed, while no row comes.
const FAILURE_INTERVAL: Duration = Duration::from_millis(100);
const RETRY_DELAY: Duration = Duration::from_millis(200);

enum Command {
    Write(Vec<Change>),
    /// Locks out earlier attempts.
    Register,
    /// Publishes an epoch, unless that was done before.
    Publish(Marker, StagedRows),
    /// Answers when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// Writes rows of one table.
pub(super) struct JdbcWriter {
    settings: Arc<Settings>,
    context: ConnectorContext,
    /// Whose rows these are; the checkpoint is filled in.
    origin: EpochOrigin,
    checkpointed: bool,
    /// Whether earlier attempts are locked out.
    registered: bool,
    /// Rows that cannot be overwritten and wait for their checkpoint.
    staging: Option<Staging>,
    buffer: Buffer,
    /// When the oldest buffered row came.
    since: Option<Instant>,
    /// Buffers sent and not written.
    under_way: Arc<AtomicUsize>,
    /// When failures were last looked for.
    looked: Instant,
    commands: Option<mpsc::Sender<Command>>,
    task: Option<tokio::task::JoinHandle<Result<(), ConnectorError>>>,
}

impl JdbcWriter {
    pub fn new(settings: Settings, store: Store, context: &SubtaskContext) -> Self {
        let settings = Arc::new(settings);
        let (commands, receiver) = mpsc::channel(QUEUE_BUFFERS);
        let under_way = Arc::new(AtomicUsize::new(0));
        let checkpointed = context.checkpointed;
        let fence = Fence {
            job: context.job_id.clone(),
            sink: context.operator.clone(),
            subtask: i64::from(context.subtask.0),
            attempt: i64::from(context.attempt.0),
            first_attempt: i64::from(context.first_attempt.0),
        };
        let staged = checkpointed && settings.key.is_empty();
        let staging = staged.then(|| Staging::new(&settings.table, header(&settings), STAGED_MEMORY_BYTES_MAX));
        let connection = Connection {
            fence,
            checkpointed,
            under_way: Arc::clone(&under_way),
            settings: Arc::clone(&settings),
            store: Some(store),
            context: context.connector.clone(),
            metrics: Arc::clone(&context.metrics),
        };
        let task = context.connector.io.spawn(connection.run(receiver));
        let origin = EpochOrigin {
            job: JobId(context.job_id.clone()),
            sink: context.operator.clone(),
            subtask: context.subtask,
            checkpoint: CheckpointId(0),
        };
        Self {
            origin,
            checkpointed,
            registered: false,
            staging,
            buffer: Buffer::new(settings.key.clone()),
            settings,
            context: context.connector.clone(),
            since: None,
            under_way,
            looked: Instant::now(),
            commands: Some(commands),
            task: Some(task),
        }
    }

    fn send_buffer(&mut self) -> Result<(), ConnectorError> {
        self.since = None;
        let changes = self.buffer.take();
        if changes.is_empty() {
            return Ok(());
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.looked = Instant::now();
        self.send(Command::Write(changes))
    }

    /// Waits for a place in the queue; that is the backpressure of a slow database.
    fn send(&mut self, mut command: Command) -> Result<(), ConnectorError> {
        loop {
            let Some(commands) = &self.commands else { return Err(self.failure()) };
            if self.context.is_cancelled() {
                return Err(ConnectorError::Cancelled);
            }
            match self.context.io.block_on(commands.send_timeout(command, CANCEL_INTERVAL)) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendTimeoutError::Timeout(back)) => command = back,
                Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(self.failure()),
            }
        }
    }

    /// Locks out earlier attempts, once, before anything is written.
    fn register(&mut self) -> Result<(), ConnectorError> {
        if self.checkpointed && !std::mem::replace(&mut self.registered, true) {
            self.send(Command::Register)?;
        }
        Ok(())
    }

    /// Returns when every command so far is done.
    fn wait(&mut self) -> Result<(), ConnectorError> {
        let (done, mut answer) = oneshot::channel();
        self.send(Command::Flush(done))?;
        loop {
            let answered = self.context.io.block_on(async { tokio::time::timeout(CANCEL_INTERVAL, &mut answer).await });
            match answered {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(self.failure()),
                Err(_) if self.context.is_cancelled() => return Err(ConnectorError::Cancelled),
                Err(_) => {}
            }
        }
    }

    /// Why the connection's task has ended.
    fn failure(&mut self) -> ConnectorError {
        self.commands = None;
        match self.task.take().map(|task| self.context.io.block_on(task)) {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() },
            _ => ConnectorError::Internal { connector: IDENTIFIER, reason: "the writer has ended".to_owned() },
        }
    }
}

impl SinkWriter for JdbcWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.register()?;
        for row in 0..batch.rows() {
            let kind = batch.kind(row);
            if kind == RowKind::UpdateBefore {
                // The row after the update has the same key and replaces it.
                continue;
            }
            let values = values(&batch.records, &self.settings.schema, &self.settings.kinds, row);
            if let Some(staging) = &mut self.staging {
                staging.push(|out| encode(&values, out))?;
                continue;
            }
            self.buffer.push(Change { delete: kind == RowKind::Delete, values });
            self.since.get_or_insert_with(Instant::now);
            if self.buffer.len() >= self.settings.max_rows {
                self.send_buffer()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.send_buffer()?;
        self.wait()
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        match &mut self.staging {
            Some(staging) => staging.close(checkpoint),
            None => self.flush().map(|()| None),
        }
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<(), ConnectorError> {
        while let Some((epoch, rows)) = self.staging.as_ref().and_then(|staging| staging.oldest(checkpoint)) {
            self.register()?;
            let origin = EpochOrigin { checkpoint: epoch, ..self.origin.clone() };
            self.send(Command::Publish(Marker::of(&origin), rows))?;
            self.wait()?;
            if let Some(staging) = &mut self.staging {
                staging.published();
            }
        }
        Ok(())
    }

    fn recover(&mut self, mut epochs: Vec<PreparedEpoch>) -> Result<(), ConnectorError> {
        epochs.sort_by(|left, right| left.origin.cmp(&right.origin));
        if self.checkpointed || !epochs.is_empty() {
            self.registered = true;
            self.send(Command::Register)?;
        }
        for PreparedEpoch { origin, rows } in epochs {
            self.send(Command::Publish(Marker::of(&origin), StagedRows::Memory(rows.into())))?;
        }
        self.wait()
    }

    fn next_timer(&self) -> Option<Instant> {
        let flush = self.since.zip(self.settings.interval).map(|(since, interval)| since + interval);
        // A failure must be told although no further row comes.
        let look = (self.under_way.load(Ordering::Relaxed) > 0).then(|| self.looked + FAILURE_INTERVAL);
        flush.into_iter().chain(look).min()
    }

    fn on_timer(&mut self) -> Result<(), ConnectorError> {
        let now = Instant::now();
        self.looked = now;
        if self.task.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            return Err(self.failure());
        }
        match self.since.zip(self.settings.interval) {
            Some((since, interval)) if since + interval <= now => self.send_buffer(),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        self.flush()?;
        if self.checkpointed {
            // The last checkpoint is to come.
            return Ok(());
        }
        self.commands = None;
        match self.task.take().map(|task| self.context.io.block_on(task)) {
            Some(Ok(Err(error))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Changes in order, of each key only the last.
struct Buffer {
    key: Vec<usize>,
    changes: Vec<Change>,
    places: HashMap<Vec<u8>, usize>,
}

impl Buffer {
    fn new(key: Vec<usize>) -> Self {
        Self { key, changes: Vec::new(), places: HashMap::new() }
    }

    fn len(&self) -> usize {
        self.changes.len()
    }

    fn push(&mut self, change: Change) {
        if self.key.is_empty() {
            self.changes.push(change);
            return;
        }
        let mut key = Vec::new();
        self.key.iter().for_each(|column| append_key(&change.values[*column], &mut key));
        match self.places.get(&key) {
            Some(place) => self.changes[*place] = change,
            None => {
                self.places.insert(key, self.changes.len());
                self.changes.push(change);
            }
        }
    }

    fn take(&mut self) -> Vec<Change> {
        self.places.clear();
        std::mem::take(&mut self.changes)
    }
}

/// The task that owns the connection.
struct Connection {
    fence: Fence,
    checkpointed: bool,
    under_way: Arc<AtomicUsize>,
    settings: Arc<Settings>,
    /// `None` while it is lost.
    store: Option<Store>,
    context: ConnectorContext,
    metrics: Arc<ConnectorMetrics>,
}

impl Connection {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), ConnectorError> {
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                () = cancelled(&self.context) => return Err(ConnectorError::Cancelled),
            };
            match command {
                Some(Command::Write(changes)) => {
                    self.run_transaction(&Transaction::Write(&changes)).await?;
                    self.under_way.fetch_sub(1, Ordering::Relaxed);
                }
                Some(Command::Register) => self.run_transaction(&Transaction::Register).await?,
                Some(Command::Publish(marker, rows)) => {
                    self.run_transaction(&Transaction::Publish(&marker, &rows)).await?;
                }
                // Nobody waits any more if the answer cannot be delivered.
                Some(Command::Flush(done)) => drop(done.send(())),
                None => break,
            }
        }
        if let Some(store) = self.store.take() {
            store.close().await;
        }
        Ok(())
    }

    /// Runs a transaction, again after failures that may pass.
    async fn run_transaction(&mut self, transaction: &Transaction<'_>) -> Result<(), ConnectorError> {
        let (context, timeout) = (self.context.clone(), self.settings.timeout);
        let mut attempt = 0;
        loop {
            context.may_write()?;
            let outcome = tokio::select! {
                biased;
                outcome = tokio::time::timeout(timeout, self.try_transaction(transaction)) => outcome,
                () = cancelled(&context) => return Err(ConnectorError::Cancelled),
            };
            let (error, transient) = match outcome {
                Ok(Ok(())) => return Ok(()),
                Ok(Err((error, transient))) => (error, transient),
                Err(_) => {
                    let what = format!("{} ({})", self.settings.target.display(), transaction.what());
                    let seconds = self.settings.timeout.as_secs();
                    (ConnectorError::Timeout { table: self.settings.table.clone(), what, seconds }, true)
                }
            };
            // The connection's state is not known any more.
            self.store = None;
            if !transient || attempt >= self.settings.max_retries {
                return Err(error);
            }
            attempt += 1;
            self.metrics.retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(table = %self.settings.table, attempt, %error, "writing again");
            tokio::time::sleep(RETRY_DELAY * 2u32.saturating_pow(attempt - 1).min(25)).await;
        }
    }

    /// One attempt; an error comes with whether it may pass.
    async fn try_transaction(&mut self, transaction: &Transaction<'_>) -> Result<(), (ConnectorError, bool)> {
        let mut store = match self.store.take() {
            Some(store) => store,
            // It was there before, so whatever is the matter may pass.
            None => Store::open(&self.settings).await.map_err(|error| (error, true))?,
        };
        let fence = self.checkpointed.then_some(&self.fence);
        let result = match transaction {
            Transaction::Write(changes) => store.write(changes, fence).await,
            Transaction::Register => store.register(&self.fence).await,
            Transaction::Publish(marker, rows) => store.publish(marker, rows, &self.fence, &self.settings).await,
        };
        match result {
            Ok(()) => {
                self.store = Some(store);
                Ok(())
            }
            Err(error) => Err(self.told(transaction, error)),
        }
    }

    fn told(&self, transaction: &Transaction<'_>, error: StoreError) -> (ConnectorError, bool) {
        let table = self.settings.table.clone();
        match error {
            StoreError::Sql(error) => {
                let (database, what) = (self.settings.target.display(), transaction.what());
                let reason = format!("{database} refused a transaction ({what}): {}", reason(&error));
                (ConnectorError::Write { table, reason }, is_transient(&error))
            }
            StoreError::Fenced(Some(attempt)) => {
                let what = format!("{}, as attempt {}; {attempt} is recorded", transaction.what(), self.fence.attempt);
                (ConnectorError::Fenced { table, what }, false)
            }
            StoreError::Fenced(None) => {
                let reason = format!(
                    "the row of this job is gone from '{}' of {}",
                    self.settings.commit_table.1,
                    self.settings.target.display()
                );
                let action = "do not change that table while jobs run".to_owned();
                (ConnectorError::External { table, reason, action }, false)
            }
            StoreError::Rows(error) => (error, false),
        }
    }
}

/// What is done at once or not at all.
enum Transaction<'a> {
    Write(&'a [Change]),
    Register,
    Publish(&'a Marker, &'a StagedRows),
}

impl Transaction<'_> {
    fn what(&self) -> String {
        match self {
            Self::Write(changes) => format!("writing {} rows", changes.len()),
            Self::Register => "locking out earlier attempts of the job".to_owned(),
            Self::Publish(marker, _) => format!("publishing checkpoint {}", marker.checkpoint),
        }
    }
}
