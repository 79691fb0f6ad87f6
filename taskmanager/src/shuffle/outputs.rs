//! The sender's side: partitions rows over the receivers and sends them batch by batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::Array;
use arrow::error::ArrowError;
use tidemill_common::batch::{Barrier, Batch, StreamElement};
use tidemill_common::hash::hash_columns;
use tidemill_common::ids::KeyGroup;
use tidemill_common::key_group::{key_group_of, subtask_of};
use tidemill_common::limits::{EXCHANGE_BATCH_BYTES, EXCHANGE_BATCH_ROWS};
use tidemill_common::plan::Partitioning;
use tidemill_common::time::Watermark;

use super::gather::Selection;
use super::inbox::Inbox;
use super::network::RemoteChannel;
use super::overtaking::Urgency;
use crate::metrics::{TaskMetrics, Wait};
use crate::operator::OperatorError;

/// One receiver.
pub enum Target {
    /// In this process: no serialisation.
    Local {
        inbox: Arc<Inbox>,
        channel: usize,
    },
    Remote(RemoteChannel),
}

/// Which receiver a row goes to.
pub enum Router {
    /// All rows to the first.
    First,
    /// By the key group of the keys' hash.
    Hash {
        keys: Vec<usize>,
        max_parallelism: u32,
        /// The receiver of each key group.
        owners: Vec<u32>,
    },
    /// Batch after batch in turn.
    Rebalance { next: usize },
    /// To everyone.
    Broadcast,
}

impl Router {
    /// The router of an edge whose receiving task has `parallelism` subtasks; `sender` is the index of
    /// the sender, so that not all begin with the same receiver.
    pub fn new(partitioning: &Partitioning, sender: u32, parallelism: u32, max_parallelism: u32) -> Self {
        match partitioning {
            Partitioning::Forward | Partitioning::Global => Self::First,
            Partitioning::Hash { .. } if parallelism == 1 => Self::First,
            Partitioning::Hash { keys } => Self::Hash {
                keys: keys.clone(),
                max_parallelism,
                owners: (0..max_parallelism)
                    .map(|group| subtask_of(KeyGroup(group as u16), parallelism, max_parallelism).0)
                    .collect(),
            },
            Partitioning::Rebalance => Self::Rebalance { next: (sender % parallelism) as usize },
            Partitioning::Broadcast => Self::Broadcast,
        }
    }
}

struct Sender {
    target: Target,
    pending: Selection,
    pending_bytes: usize,
    /// A watermark that came before what is pending.
    watermark: Option<Watermark>,
    /// It got the end of the data: nothing is cut off when this is dropped.
    ended: bool,
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.ended {
            match &mut self.target {
                Target::Local { inbox, channel } => inbox.abort_channel(*channel),
                Target::Remote(channel) => channel.abort(),
            }
        }
    }
}

impl Sender {
    fn send(&mut self, element: StreamElement, owner: &Owner) -> Result<(), OperatorError> {
        self.send_with(element, false, owner)
    }

    /// With `more`, it may wait for what is sent next.
    fn send_with(&mut self, element: StreamElement, more: bool, owner: &Owner) -> Result<(), OperatorError> {
        let sent = match &mut self.target {
            Target::Local { inbox, channel } => inbox
                .put_waiting(*channel, element, more, &owner.cancelled, &owner.urgency, |wait| {
                    owner.metrics.waiting(Wait::Backpressured, wait);
                })
                .map_err(|_| OperatorError::ExchangeClosed),
            Target::Remote(channel) => channel.send(element, more, &owner.cancelled, &owner.urgency, &mut |wait| {
                owner.metrics.waiting(Wait::Backpressured, wait);
            }),
        };
        sent.map_err(|error| if owner.cancelled.load(Ordering::Relaxed) { OperatorError::Cancelled } else { error })
    }

    /// Keeps a watermark until rows follow, or what waits is sent: one that follows with no row in
    /// between takes its place. Operators with little output would else send far more watermarks than
    /// rows.
    fn hold(&mut self, watermark: Watermark, owner: &Owner) -> Result<(), OperatorError> {
        if !self.pending.is_empty() {
            self.flush(owner)?;
        }
        self.watermark = Some(watermark);
        Ok(())
    }

    /// Sends the watermark that is held: what follows, if there is `more`, came after it.
    fn release(&mut self, more: bool, owner: &Owner) -> Result<(), OperatorError> {
        match self.watermark.take() {
            Some(watermark) => self.send_with(StreamElement::Watermark(watermark), more, owner),
            None => Ok(()),
        }
    }

    fn flush(&mut self, owner: &Owner) -> Result<(), OperatorError> {
        self.release(!self.pending.is_empty(), owner)?;
        let bytes = std::mem::take(&mut self.pending_bytes);
        match self.pending.take().map_err(internal)? {
            Some(batch) => self.send_rows(&batch, bytes, owner),
            None => Ok(()),
        }
    }

    /// Sends a batch; one of wide rows in parts, as channels are bounded by their number of elements.
    fn send_rows(&mut self, batch: &Batch, bytes: usize, owner: &Owner) -> Result<(), OperatorError> {
        let parts = bytes / EXCHANGE_BATCH_BYTES;
        if parts < 2 {
            return self.send(StreamElement::Batch(batch.clone()), owner);
        }
        let rows = batch.rows().div_ceil(parts).max(1);
        for from in (0..batch.rows()).step_by(rows) {
            let part = batch.slice(from, rows.min(batch.rows() - from));
            self.send_with(StreamElement::Batch(part), from + rows < batch.rows(), owner)?;
        }
        Ok(())
    }

    /// A whole batch. Small ones wait for company.
    fn whole(&mut self, batch: &Batch, bytes: usize, owner: &Owner) -> Result<(), OperatorError> {
        if self.pending.is_empty() && (batch.rows() >= EXCHANGE_BATCH_ROWS || bytes >= EXCHANGE_BATCH_BYTES) {
            self.release(true, owner)?;
            return self.send_rows(batch, bytes, owner);
        }
        self.pending.push_all(batch);
        self.appended(bytes, owner)
    }

    fn appended(&mut self, bytes: usize, owner: &Owner) -> Result<(), OperatorError> {
        self.pending_bytes += bytes;
        if self.pending.len() >= EXCHANGE_BATCH_ROWS || self.pending_bytes >= EXCHANGE_BATCH_BYTES {
            return self.flush(owner);
        }
        Ok(())
    }
}

fn internal(error: ArrowError) -> OperatorError {
    OperatorError::Internal { operator: "the exchange".to_owned(), reason: error.to_string() }
}

/// One edge out of a subtask.
pub struct Exchange {
    router: Router,
    senders: Vec<Sender>,
    hashes: Vec<u64>,
}

impl Exchange {
    /// An exchange to these receivers, in the order the router counts them.
    pub fn new(router: Router, targets: Vec<Target>) -> Self {
        let senders = targets
            .into_iter()
            .map(|target| Sender {
                target,
                pending: Selection::default(),
                pending_bytes: 0,
                watermark: None,
                ended: false,
            })
            .collect();
        Self { router, senders, hashes: Vec::new() }
    }

    fn emit(&mut self, batch: &Batch, owner: &Owner) -> Result<(), OperatorError> {
        let bytes = bytes_of(batch);
        match &mut self.router {
            Router::First => self.senders[0].whole(batch, bytes, owner),
            Router::Rebalance { next } => {
                let target = *next;
                *next = (target + 1) % self.senders.len();
                self.senders[target].whole(batch, bytes, owner)
            }
            Router::Broadcast => self.senders.iter_mut().try_for_each(|sender| sender.whole(batch, bytes, owner)),
            Router::Hash { keys, max_parallelism, owners } => {
                let columns: Vec<_> = keys.iter().map(|key| batch.records.column(*key).clone()).collect();
                hash_columns(&columns, batch.rows(), &mut self.hashes);
                for (row, hash) in self.hashes.iter().enumerate() {
                    let target = owners[usize::from(key_group_of(*hash, *max_parallelism).0)];
                    self.senders[target as usize].pending.push(row as u32);
                }
                let row_bytes = bytes / batch.rows().max(1);
                for sender in &mut self.senders {
                    let new = sender.pending.close_part(batch);
                    sender.appended(new * row_bytes, owner)?;
                }
                Ok(())
            }
        }
    }
}

/// Bytes of the rows of a batch, not of the buffers they are slices of.
pub fn bytes_of(batch: &Batch) -> usize {
    let size = |array: &dyn Array| array.to_data().get_slice_memory_size().unwrap_or(0);
    batch.records.columns().iter().map(|column| size(column)).sum()
}

struct Owner {
    cancelled: Arc<AtomicBool>,
    metrics: Arc<TaskMetrics>,
    urgency: Arc<Urgency>,
}

/// All edges out of a subtask.
pub struct Outputs {
    exchanges: Vec<Exchange>,
    owner: Owner,
}

impl Outputs {
    /// The edges of a subtask. Sending gives up when `cancelled` is set, and waits for no room while
    /// `urgency` says so.
    pub fn new(
        exchanges: Vec<Exchange>,
        cancelled: Arc<AtomicBool>,
        metrics: Arc<TaskMetrics>,
        urgency: Arc<Urgency>,
    ) -> Self {
        Self { exchanges, owner: Owner { cancelled, metrics, urgency } }
    }

    /// Sends rows, or keeps them until there are enough of them.
    pub fn emit(&mut self, batch: Batch) -> Result<(), OperatorError> {
        self.exchanges.iter_mut().try_for_each(|exchange| exchange.emit(&batch, &self.owner))
    }

    /// Sends an element to everyone, after the rows before it.
    fn everyone(&mut self, element: &StreamElement) -> Result<(), OperatorError> {
        for sender in self.exchanges.iter_mut().flat_map(|exchange| &mut exchange.senders) {
            sender.flush(&self.owner)?;
            sender.send(element.clone(), &self.owner)?;
        }
        Ok(())
    }

    /// Sends a watermark after the rows before it: at once behind those that wait, else with what comes
    /// next.
    pub fn emit_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        let mut senders = self.exchanges.iter_mut().flat_map(|exchange| &mut exchange.senders);
        senders.try_for_each(|sender| sender.hold(watermark, &self.owner))
    }

    pub fn barrier(&mut self, barrier: Barrier) -> Result<(), OperatorError> {
        self.everyone(&StreamElement::Barrier(barrier))
    }

    pub fn idle(&mut self, idle: bool) -> Result<(), OperatorError> {
        self.everyone(&StreamElement::Idle(idle))
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<(), OperatorError> {
        for sender in self.exchanges.iter_mut().flat_map(|exchange| &mut exchange.senders) {
            sender.flush(&self.owner)?;
        }
        Ok(())
    }

    /// Whether rows or watermarks wait.
    pub fn has_pending(&self) -> bool {
        let mut senders = self.exchanges.iter().flat_map(|exchange| &exchange.senders);
        senders.any(|sender| !sender.pending.is_empty() || sender.watermark.is_some())
    }

    /// No data follows.
    pub fn end_of_data(&mut self, drain: bool) -> Result<(), OperatorError> {
        self.everyone(&StreamElement::EndOfData { drain })
    }

    /// Nothing follows.
    pub fn end(&mut self) -> Result<(), OperatorError> {
        for sender in self.exchanges.iter_mut().flat_map(|exchange| &mut exchange.senders) {
            sender.send(StreamElement::EndOfPartition, &self.owner)?;
            sender.ended = true;
        }
        Ok(())
    }
}
