//! The shuffle between task managers: one TCP connection a pair and direction, over which all channels
//! from the one to the other run, each with its own credit.
//!
//! A receiver grants a credit for each place in a channel's queue; a sender without credit waits, and
//! only its subtask with it. So whatever arrives has a place, reading never stops, and a slow subtask
//! never holds up others on its connection. Subtasks never wait for a socket: sockets are served by a
//! thread of their own, and batches are decoded by the subtasks that read them.

mod bodies;
mod incoming;
mod outgoing;
mod sockets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_common::ids::{AttemptId, JobId, SubtaskId, SubtaskIndex, TaskId};
use tidemill_common::job_graph::JobGraph;
use tokio::task::JoinHandle;

use super::{Inbox, input_channels};
use crate::executor::{Compression, ExecutorConfig, ExecutorError};
use incoming::Receivers;
use outgoing::Connection;
pub use outgoing::RemoteChannel;
use sockets::Sockets;

/// Called with the cause when a channel's connection is lost.
pub type OnLost = Box<dyn Fn(String) + Send + Sync>;

/// Names a channel in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    pub job: JobId,
    pub attempt: AttemptId,
    /// Position in [`JobGraph::edges`].
    pub edge: u32,
    pub from: SubtaskId,
    pub to: SubtaskId,
}

/// Longest id of a job that a peer may send, in bytes.
const JOB_ID_BYTES_MAX: usize = 256;

impl ChannelKey {
    /// The body of the frame that opens the channel; the attempt stands in the header.
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.edge, self.from.task.0, self.from.index.0, self.to.task.0, self.to.index.0];
        let mut body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        body.extend_from_slice(self.job.0.as_bytes());
        body
    }

    fn decode(body: &[u8], attempt: u32) -> Option<Self> {
        let (numbers, job) = body.split_at_checked(20)?;
        let number = |at: usize| {
            u32::from_le_bytes([numbers[at * 4], numbers[at * 4 + 1], numbers[at * 4 + 2], numbers[at * 4 + 3]])
        };
        let subtask = |at: usize| SubtaskId { task: TaskId(number(at)), index: SubtaskIndex(number(at + 1)) };
        let job = std::str::from_utf8(job).ok().filter(|job| job.len() <= JOB_ID_BYTES_MAX)?;
        Some(Self {
            job: JobId::from(job),
            attempt: AttemptId(attempt),
            edge: number(0),
            from: subtask(1),
            to: subtask(3),
        })
    }
}

/// The shuffle of one task manager.
pub struct Network {
    address: String,
    sockets: Sockets,
    compression: Compression,
    receivers: Arc<Receivers>,
    /// To other task managers, by address.
    connections: Mutex<BTreeMap<String, Arc<Connection>>>,
    listener: JoinHandle<()>,
}

impl Network {
    /// Starts to listen.
    pub fn start(config: &ExecutorConfig) -> Result<Arc<Self>, ExecutorError> {
        let bind = |source| ExecutorError::Bind { address: config.data_bind, source };
        let listener = std::net::TcpListener::bind(config.data_bind).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let port = listener.local_addr().map_err(bind)?.port();
        let receivers = Arc::new(Receivers::default());
        let sockets = Sockets::start().map_err(ExecutorError::ShuffleThread)?;
        let serving = sockets.spawn(incoming::listen(listener, receivers.clone(), sockets.clone()));
        Ok(Arc::new(Self {
            address: format!("{}:{port}", config.data_host),
            sockets,
            compression: config.compression,
            receivers,
            connections: Mutex::new(BTreeMap::new()),
            listener: serving,
        }))
    }

    /// Where it is reached, as `host:port`.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// A subtask takes what is sent to it from now on.
    pub fn register(&self, job: &JobId, attempt: AttemptId, graph: &JobGraph, id: SubtaskId, inbox: &Arc<Inbox>) {
        let channels = input_channels(graph, id).into_iter().map(|channel| ChannelKey {
            job: job.clone(),
            attempt,
            edge: channel.edge,
            from: channel.from,
            to: id,
        });
        self.receivers.register(job, attempt, channels, inbox);
    }

    /// A subtask has ended.
    pub fn unregister(&self, job: &JobId, attempt: AttemptId, id: SubtaskId) {
        self.receivers.unregister(job, attempt, id);
    }

    /// Opens a channel to a subtask of another task manager; the connection is made in the background.
    /// `lost` is called once if it fails before the channel has ended. With `overtaking` barriers may
    /// overtake, as the receiver knows, too.
    pub fn open(&self, address: &str, key: &ChannelKey, lost: OnLost, overtaking: bool) -> RemoteChannel {
        let mut connections = self.connections.lock();
        connections.retain(|_, connection| !connection.is_lost());
        let connection =
            connections.entry(address.to_owned()).or_insert_with(|| Connection::start(address, &self.sockets)).clone();
        drop(connections);
        RemoteChannel::open(connection, key, lost, self.compression == Compression::Lz4, overtaking)
    }

    /// Ends all connections.
    pub fn stop(&self) {
        self.listener.abort();
        self.receivers.stop();
        for connection in std::mem::take(&mut *self.connections.lock()).values() {
            connection.stop();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop();
    }
}
