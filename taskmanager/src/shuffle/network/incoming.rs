//! The receiving side: who takes which channel, and a task a connection that reads frames into inboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::buffer::Buffer;
use parking_lot::Mutex;
use tidemill_common::ids::{AttemptId, JobId, SubtaskId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::ChannelKey;
use super::bodies::Bodies;
use super::sockets::Sockets;
use crate::shuffle::frame::{FrameKind, HEADER_BYTES, Header};
use crate::shuffle::inbox::{CreditReturn, Delivery, Inbox, Mail};

/// Bytes read ahead: some headers. What is read ahead of a long body is copied once more, the rest of it
/// is read straight into its place.
const READ_AHEAD: usize = 4 * 1024;

/// Where a channel leads.
#[derive(Clone)]
struct Receiver {
    inbox: Arc<Inbox>,
    channel: usize,
}

/// A sender that has opened a channel before its receiver was deployed.
struct Waiting {
    peer: Arc<Peer>,
    channel: u32,
}

#[derive(Default)]
struct Table {
    receivers: BTreeMap<ChannelKey, Receiver>,
    waiting: BTreeMap<ChannelKey, Waiting>,
    /// The newest attempt of each job that was seen here.
    newest: BTreeMap<JobId, AttemptId>,
    peers: Vec<std::sync::Weak<Peer>>,
}

/// All receivers of a task manager.
#[derive(Default)]
pub struct Receivers(Mutex<Table>);

impl Receivers {
    /// Takes channels. Senders that wait for them get their credits.
    pub fn register(
        &self,
        job: &JobId,
        attempt: AttemptId,
        channels: impl Iterator<Item = ChannelKey>,
        inbox: &Arc<Inbox>,
    ) {
        let mut table = self.0.lock();
        let newest = table.newest.entry(job.clone()).or_insert(attempt);
        *newest = attempt.max(*newest);
        table.waiting.retain(|key, waiting| {
            let stale = key.job == *job && key.attempt < attempt;
            if stale {
                waiting.peer.reply(Header::control(FrameKind::Closed, waiting.channel, key.attempt.0, 0));
            }
            !stale
        });
        let mut ready = Vec::new();
        for (channel, key) in channels.enumerate() {
            let receiver = Receiver { inbox: inbox.clone(), channel };
            if let Some(waiting) = table.waiting.remove(&key) {
                ready.push((waiting, receiver.clone(), key.attempt));
            }
            table.receivers.insert(key, receiver);
        }
        drop(table);
        for (waiting, receiver, attempt) in ready {
            waiting.peer.connect(waiting.channel, receiver, attempt);
        }
    }

    /// A subtask has ended. What is still sent to it is dropped.
    pub fn unregister(&self, job: &JobId, attempt: AttemptId, id: SubtaskId) {
        let mut table = self.0.lock();
        table.receivers.retain(|key, _| !(key.job == *job && key.attempt == attempt && key.to == id));
        let gone = !table.receivers.keys().any(|key| key.job == *job)
            && !table.waiting.keys().any(|key| key.job == *job && key.attempt > attempt);
        if gone && table.newest.len() > NEWEST_MAX {
            table.newest.remove(job);
        }
    }

    /// Ends all connections.
    pub fn stop(&self) {
        let peers: Vec<_> = std::mem::take(&mut self.0.lock().peers);
        peers.iter().filter_map(std::sync::Weak::upgrade).for_each(|peer| peer.stop());
    }

    fn open(&self, peer: &Arc<Peer>, channel: u32, key: ChannelKey) {
        let attempt = key.attempt;
        let mut table = self.0.lock();
        if let Some(receiver) = table.receivers.get(&key).cloned() {
            drop(table);
            peer.connect(channel, receiver, attempt);
            return;
        }
        if table.newest.get(&key.job).is_some_and(|newest| *newest > attempt) {
            drop(table);
            tracing::debug!(job = %key.job, %attempt, "refused a channel of a past attempt");
            peer.reply(Header::control(FrameKind::Closed, channel, attempt.0, 0));
            return;
        }
        table.waiting.insert(key, Waiting { peer: peer.clone(), channel });
    }

    fn forget(&self, peer: &Arc<Peer>, channel: Option<u32>) {
        let mine = |waiting: &Waiting| Arc::ptr_eq(&waiting.peer, peer) && channel.is_none_or(|c| c == waiting.channel);
        self.0.lock().waiting.retain(|_, waiting| !mine(waiting));
    }
}

/// Jobs whose newest attempt is remembered after they have gone.
const NEWEST_MAX: usize = 1_000;

/// An incoming connection.
pub struct Peer {
    address: String,
    channels: Mutex<HashMap<u32, Receiver>>,
    /// Headers that go back to the sender.
    replies: Mutex<Vec<u8>>,
    filled: Notify,
    /// To be ended.
    stopped: AtomicBool,
}

struct Credits {
    peer: Arc<Peer>,
    channel: u32,
    attempt: u32,
}

impl CreditReturn for Credits {
    fn grant(&self, credits: usize) {
        self.peer.reply(Header::control(FrameKind::Credit, self.channel, self.attempt, credits as i64));
    }
}

impl Drop for Credits {
    /// The receiver has ended: a sender that waits for credit waits no more.
    fn drop(&mut self) {
        self.peer.reply(Header::control(FrameKind::Closed, self.channel, self.attempt, 0));
    }
}

impl Peer {
    fn connect(self: &Arc<Self>, channel: u32, receiver: Receiver, attempt: AttemptId) {
        self.channels.lock().insert(channel, receiver.clone());
        let credits = Credits { peer: self.clone(), channel, attempt: attempt.0 };
        receiver.inbox.connect_credit(receiver.channel, Box::new(credits));
    }

    fn reply(&self, header: Header) {
        self.replies.lock().extend_from_slice(&header.encode());
        self.filled.notify_one();
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.filled.notify_one();
    }

    async fn write(&self, mut out: OwnedWriteHalf) -> Result<(), String> {
        loop {
            let replies = std::mem::take(&mut *self.replies.lock());
            if !replies.is_empty() {
                out.write_all(&replies).await.map_err(|error| error.to_string())?;
            } else if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            } else {
                self.filled.notified().await;
            }
        }
    }

    async fn read(self: &Arc<Self>, read: OwnedReadHalf, receivers: &Receivers) -> Result<(), String> {
        let mut read = BufReader::with_capacity(READ_AHEAD, read);
        let mut head = [0; HEADER_BYTES];
        let mut bodies = Bodies::default();
        // An inbox that got something its reader was not woken for: what came with it is put first.
        let mut filled: Option<Arc<Inbox>> = None;
        loop {
            if read.buffer().len() < HEADER_BYTES
                && let Some(inbox) = filled.take()
            {
                inbox.wake();
                // Whoever sends the next frame, or reads this one, may go on before this thread sleeps.
                std::thread::yield_now();
            }
            match read.read_exact(&mut head).await {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err("it has closed it".to_owned());
                }
                Err(error) => return Err(error.to_string()),
            }
            let header = Header::decode(&head).map_err(|error| error.to_string())?;
            let body =
                read_body(&mut read, header.length as usize, &mut bodies).await.map_err(|error| error.to_string())?;
            match header.kind {
                FrameKind::Open => {
                    let key = ChannelKey::decode(body.as_slice(), header.attempt)
                        .ok_or("it opened a channel in an unknown way")?;
                    receivers.open(self, header.channel, key);
                }
                FrameKind::Abort => match self.channels.lock().remove(&header.channel) {
                    Some(receiver) => receiver.inbox.abort_channel(receiver.channel),
                    None => receivers.forget(self, Some(header.channel)),
                },
                FrameKind::Credit | FrameKind::Closed => {
                    return Err("it sent a frame that only receivers send".to_owned());
                }
                FrameKind::Batch
                | FrameKind::Watermark
                | FrameKind::Barrier
                | FrameKind::Idle
                | FrameKind::EndOfData
                | FrameKind::EndOfPartition => {
                    let inbox = self.deliver(header, body)?;
                    if let Some(other) =
                        filled.take().filter(|known| !inbox.as_ref().is_some_and(|i| Arc::ptr_eq(i, known)))
                    {
                        other.wake();
                    }
                    filled = inbox;
                }
            }
        }
    }

    /// Puts a frame into its inbox, whose reader is to be woken.
    fn deliver(&self, header: Header, body: Buffer) -> Result<Option<Arc<Inbox>>, String> {
        let mut channels = self.channels.lock();
        let receiver = if header.kind == FrameKind::EndOfPartition {
            channels.remove(&header.channel)
        } else {
            channels.get(&header.channel).cloned()
        };
        // Of a receiver that has ended.
        let Some(receiver) = receiver else { return Ok(None) };
        match receiver.inbox.put(receiver.channel, Delivery::Frame { header, body }) {
            Ok(true) => Ok(Some(receiver.inbox)),
            Ok(false) => Err("it sent more than its credit".to_owned()),
            Err(_) => {
                channels.remove(&header.channel);
                drop(channels);
                self.reply(Header::control(FrameKind::Closed, header.channel, header.attempt, 0));
                Ok(None)
            }
        }
    }
}

async fn read_body(read: &mut BufReader<OwnedReadHalf>, length: usize, bodies: &mut Bodies) -> std::io::Result<Buffer> {
    let mut body = bodies.take(length);
    read.read_exact(body.as_slice_mut()).await?;
    Ok(bodies.lend(body))
}

/// Accepts connections until it is dropped.
pub async fn listen(listener: std::net::TcpListener, receivers: Arc<Receivers>, sockets: Sockets) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "no other task manager can connect");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                sockets.spawn(serve(stream, address.to_string(), receivers.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, address: String, receivers: Arc<Receivers>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let peer = Arc::new(Peer {
        address,
        channels: Mutex::default(),
        replies: Mutex::default(),
        filled: Notify::new(),
        stopped: AtomicBool::new(false),
    });
    {
        let mut table = receivers.0.lock();
        table.peers.retain(|known| known.strong_count() > 0);
        table.peers.push(Arc::downgrade(&peer));
    }
    let (read, write) = stream.into_split();
    let ended = tokio::select! {
        read = peer.read(read, &receivers) => read,
        written = peer.write(write) => written,
    };
    receivers.forget(&peer, None);
    let reason = ended.err().unwrap_or_else(|| "this task manager ends".to_owned());
    for receiver in std::mem::take(&mut *peer.channels.lock()).into_values() {
        let cause = format!("the connection from the task manager at {} is lost: {reason}", peer.address);
        receiver.inbox.mail(Mail::Fail { cause });
    }
}
