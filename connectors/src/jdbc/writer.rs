//! Buffers rows and hands them to the task that owns the connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidemill_common::batch::{Batch, RowKind};
use tokio::sync::{mpsc, oneshot};

use super::settings::Settings;
use super::store::{Store, is_transient, reason};
use super::value::{Change, append_key, values};
use super::{CANCEL_INTERVAL, IDENTIFIER, cancelled};
use crate::api::{ConnectorContext, ConnectorError, ConnectorMetrics, SinkWriter, SubtaskContext};

/// Buffers under way to the database.
const QUEUE_BUFFERS: usize = 2;
/// How often the writer looks whether what is under way has failed, while no row comes.
const FAILURE_INTERVAL: Duration = Duration::from_millis(100);
const RETRY_DELAY: Duration = Duration::from_millis(200);

enum Command {
    Write(Vec<Change>),
    /// Answers when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// Writes rows of one table.
pub(super) struct JdbcWriter {
    settings: Arc<Settings>,
    context: ConnectorContext,
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
        let connection = Connection {
            under_way: Arc::clone(&under_way),
            settings: Arc::clone(&settings),
            store: Some(store),
            context: context.connector.clone(),
            metrics: Arc::clone(&context.metrics),
        };
        let task = context.connector.io.spawn(connection.run(receiver));
        Self {
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
        for row in 0..batch.rows() {
            let kind = batch.kind(row);
            if kind == RowKind::UpdateBefore {
                // The row after the update has the same key and replaces it.
                continue;
            }
            let values = values(&batch.records, &self.settings.schema, &self.settings.kinds, row);
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
                    self.write(&changes).await?;
                    self.under_way.fetch_sub(1, Ordering::Relaxed);
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

    /// Writes one buffer, again after failures that may pass.
    async fn write(&mut self, changes: &[Change]) -> Result<(), ConnectorError> {
        let (context, timeout) = (self.context.clone(), self.settings.timeout);
        let mut attempt = 0;
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = tokio::time::timeout(timeout, self.try_write(changes)) => outcome,
                () = cancelled(&context) => return Err(ConnectorError::Cancelled),
            };
            let (error, transient) = match outcome {
                Ok(Ok(())) => return Ok(()),
                Ok(Err((error, transient))) => (error, transient),
                Err(_) => {
                    let what = format!("{} (writing {} rows)", self.settings.target.display(), changes.len());
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
    async fn try_write(&mut self, changes: &[Change]) -> Result<(), (ConnectorError, bool)> {
        let mut store = match self.store.take() {
            Some(store) => store,
            // It was there before, so whatever is the matter may pass.
            None => Store::open(&self.settings).await.map_err(|error| (error, true))?,
        };
        let result = store.write(changes).await;
        match result {
            Ok(()) => {
                self.store = Some(store);
                Ok(())
            }
            Err(error) => {
                let told = ConnectorError::Write {
                    table: self.settings.table.clone(),
                    reason: format!(
                        "{} refused a transaction of {} rows: {}",
                        self.settings.target.display(),
                        changes.len(),
                        reason(&error)
                    ),
                };
                Err((told, is_transient(&error)))
            }
        }
    }
}
