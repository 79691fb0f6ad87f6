//! The sending side of a connection: whoever sends a frame writes it; what the socket does not take goes
//! into a queue that a task writes. Another task reads credits.
//!
//! To write at once spares two changes of threads a frame, which cost more than the frame's bytes.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidemill_common::batch::StreamElement;
use tidemill_common::limits::CHANNEL_OVERDRAFT_ELEMENTS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::sockets::Sockets;
use super::{ChannelKey, OnLost};
use crate::operator::OperatorError;
use crate::shuffle::codec::{self, Frame};
use crate::shuffle::fare::{Fare, Fares};
use crate::shuffle::frame::{FrameError, FrameKind, HEADER_BYTES, Header};
use crate::shuffle::inbox::{CANCEL_CHECK, URGENCY_CHECK};
use crate::shuffle::overtaking::Urgency;

/// How long a task manager tries to reach another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_RETRY: Duration = Duration::from_millis(100);
/// Pieces of one vectored write.
const SLICES_MAX: usize = 256;

#[derive(Default)]
struct Credit {
    /// Below 0 if the channel is overdrawn.
    free: i64,
    /// The receiver is there: before, nothing may be sent.
    connected: bool,
    /// The receiver has ended, or the connection is lost.
    closed: bool,
}

/// A channel as the connection sees it.
struct Channel {
    credit: Mutex<Credit>,
    changed: Condvar,
    lost: OnLost,
}

impl Channel {
    fn close(&self) {
        self.credit.lock().closed = true;
        self.changed.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that have been written.
    written: usize,
    /// Where senders write. Not there before the connection is made, and while the socket is full: then
    /// the task that writes has its turn.
    stream: Option<Arc<OwnedWriteHalf>>,
    lost: Option<String>,
    stopped: bool,
}

impl Queue {
    /// Writes what the socket takes. Whether that was all.
    fn write(&mut self, stream: &OwnedWriteHalf) -> std::io::Result<bool> {
        while !self.frames.is_empty() {
            let mut skipped = self.written;
            let unwritten = self.frames.iter().flat_map(Frame::slices).filter_map(|slice| {
                let from = skipped.min(slice.len());
                skipped -= from;
                (from < slice.len()).then(|| IoSlice::new(&slice[from..]))
            });
            let slices: Vec<IoSlice<'_>> = unwritten.take(SLICES_MAX).collect();
            match stream.try_write_vectored(&slices) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            while let Some(bytes) = self.frames.front().map(|frame| frame.slices().map(<[u8]>::len).sum::<usize>())
                && self.written >= bytes
            {
                self.written -= bytes;
                self.frames.pop_front();
            }
        }
        Ok(true)
    }
}

/// A connection to another task manager.
pub struct Connection {
    address: String,
    /// Bounded by the credits of the channels.
    queue: Mutex<Queue>,
    filled: Notify,
    next_channel: AtomicU32,
    channels: Mutex<HashMap<u32, Arc<Channel>>>,
}

impl Connection {
    /// A connection that is made in the background.
    pub fn start(address: &str, sockets: &Sockets) -> Arc<Self> {
        let connection = Arc::new(Self {
            address: address.to_owned(),
            queue: Mutex::default(),
            filled: Notify::new(),
            next_channel: AtomicU32::new(0),
            channels: Mutex::default(),
        });
        let serving = connection.clone();
        sockets.spawn(async move {
            if let Err(reason) = serving.serve().await {
                serving.lose(&reason);
            }
        });
        connection
    }

    pub fn is_lost(&self) -> bool {
        let queue = self.queue.lock();
        queue.lost.is_some() || queue.stopped
    }

    /// Ends the connection once all frames are written.
    pub fn stop(&self) {
        self.queue.lock().stopped = true;
        self.filled.notify_one();
    }

    async fn serve(&self) -> Result<(), String> {
        let stream = self.connect().await?;
        let (read, write) = stream.into_split();
        tokio::select! {
            read = self.read(read) => read,
            written = self.write(write) => written.map_err(|error| error.to_string()),
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let deadline = tokio::time::Instant::now() + CONNECT_TIMEOUT;
        loop {
            let tried = tokio::time::timeout_at(deadline, TcpStream::connect(&self.address)).await;
            let reason = match tried {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    return Ok(stream);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if tokio::time::Instant::now() + CONNECT_RETRY >= deadline {
                return Err(format!("it could not be reached for {} s: {reason}", CONNECT_TIMEOUT.as_secs()));
            }
            tokio::time::sleep(CONNECT_RETRY).await;
        }
    }

    fn lose(&self, reason: &str) {
        let cause = format!("the connection to the task manager at {} is lost: {reason}", self.address);
        {
            let mut queue = self.queue.lock();
            queue.lost = Some(cause.clone());
            queue.stream = None;
        }
        let channels = std::mem::take(&mut *self.channels.lock());
        for channel in channels.values() {
            (channel.lost)(cause.clone());
            channel.close();
        }
        self.queue.lock().frames.clear();
    }

    /// Sends a frame, or with `more` lets it wait for the next one.
    fn enqueue(&self, frame: Frame, more: bool) {
        let mut queue = self.queue.lock();
        if queue.lost.is_some() {
            return;
        }
        queue.frames.push_back(frame);
        if more {
            return;
        }
        self.write_now(queue);
    }

    /// Sends what waits for more.
    fn kick(&self) {
        let queue = self.queue.lock();
        if !queue.frames.is_empty() {
            self.write_now(queue);
        }
    }

    fn write_now(&self, mut queue: MutexGuard<'_, Queue>) {
        if let Some(stream) = queue.stream.take() {
            // What fails here fails again for the task that writes, which says so.
            if queue.write(&stream).unwrap_or(false) {
                queue.stream = Some(stream);
                return;
            }
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Writes what senders could not.
    async fn write(&self, out: OwnedWriteHalf) -> std::io::Result<()> {
        let mut out = Arc::new(out);
        loop {
            let written = {
                let mut queue = self.queue.lock();
                let written = queue.write(&out)?;
                if written && queue.stopped {
                    queue.stream = None;
                    break;
                }
                // From here on the senders write.
                queue.stream = written.then(|| out.clone());
                written
            };
            if written {
                self.filled.notified().await;
            } else {
                out.writable().await?;
            }
        }
        match Arc::get_mut(&mut out) {
            Some(out) => out.shutdown().await,
            None => Ok(()),
        }
    }

    async fn read(&self, mut read: OwnedReadHalf) -> Result<(), String> {
        let mut head = [0; HEADER_BYTES];
        loop {
            read.read_exact(&mut head).await.map_err(|error| error.to_string())?;
            let header = Header::decode(&head).map_err(|error| error.to_string())?;
            let channel = self.channels.lock().get(&header.channel).cloned();
            match (header.kind, channel) {
                (FrameKind::Credit, Some(channel)) => {
                    let mut credit = channel.credit.lock();
                    credit.free = credit.free.saturating_add(header.value.max(0));
                    credit.connected = true;
                    drop(credit);
                    channel.changed.notify_all();
                }
                (FrameKind::Closed, Some(channel)) => {
                    channel.close();
                    self.channels.lock().remove(&header.channel);
                }
                // Of a channel that has ended.
                (FrameKind::Credit | FrameKind::Closed, None) => {}
                _ => return Err("it sent a frame that only senders send".to_owned()),
            }
        }
    }
}

/// The sender's end of one channel.
pub struct RemoteChannel {
    connection: Arc<Connection>,
    channel: Arc<Channel>,
    id: u32,
    attempt: u32,
    compress: bool,
    /// Barriers may overtake: they need no credit.
    overtaking: bool,
    sent: Fares,
}

impl RemoteChannel {
    pub(super) fn open(
        connection: Arc<Connection>,
        key: &ChannelKey,
        lost: OnLost,
        compress: bool,
        overtaking: bool,
    ) -> Self {
        let id = connection.next_channel.fetch_add(1, Ordering::Relaxed);
        let channel = Arc::new(Channel { credit: Mutex::default(), changed: Condvar::new(), lost });
        connection.channels.lock().insert(id, channel.clone());
        let attempt = key.attempt.0;
        connection.enqueue(Frame::new(Header::control(FrameKind::Open, id, attempt, 0), &key.encode()), false);
        // Looked at after the channel was listed: whoever loses the connection later sees it.
        let lost = connection.queue.lock().lost.clone();
        if let Some(cause) = lost {
            connection.channels.lock().remove(&id);
            (channel.lost)(cause);
            channel.close();
        }
        Self { connection, channel, id, attempt, compress, overtaking, sent: Fares::default() }
    }

    /// Sends an element, when there is credit for it; with `more` it may wait for the next one. Gives up
    /// when `cancelled` is set; overdraws the channel if it is urgent that the sender goes on.
    pub fn send(
        &mut self,
        element: StreamElement,
        more: bool,
        cancelled: &AtomicBool,
        urgency: &Urgency,
        wait: &mut dyn FnMut(&mut dyn FnMut()),
    ) -> Result<(), OperatorError> {
        let frame = match codec::encode(&element, self.id, self.attempt, self.compress) {
            Ok(frame) => frame,
            Err(FrameError::TooLong { .. }) if rows_of(&element) > 1 => {
                if let StreamElement::Batch(batch) = element {
                    let half = batch.rows() / 2;
                    self.send(StreamElement::Batch(batch.slice(0, half)), true, cancelled, urgency, wait)?;
                    self.send(
                        StreamElement::Batch(batch.slice(half, batch.rows() - half)),
                        more,
                        cancelled,
                        urgency,
                        wait,
                    )?;
                }
                return Ok(());
            }
            Err(error) => {
                let reason = format!("a row cannot be sent: {error}");
                return Err(OperatorError::Evaluation { operator: "the exchange".to_owned(), reason });
            }
        };
        let fare = self.sent.next(FrameKind::of(&element).passenger(self.overtaking));
        self.take_credit(fare != Fare::Place, cancelled, urgency, wait)?;
        self.sent.passed(fare);
        let last = matches!(element, StreamElement::EndOfPartition);
        self.connection.enqueue(frame, more);
        if last {
            self.connection.channels.lock().remove(&self.id);
        }
        Ok(())
    }

    /// Waits until the element may be sent: at no cost (`free`), or for a credit.
    fn take_credit(
        &self,
        free: bool,
        cancelled: &AtomicBool,
        urgency: &Urgency,
        wait: &mut dyn FnMut(&mut dyn FnMut()),
    ) -> Result<(), OperatorError> {
        let mut credit = self.channel.credit.lock();
        let may_send = |credit: &Credit| {
            let overdraft = self.overtaking
                && credit.free <= 0
                && credit.free > -(CHANNEL_OVERDRAFT_ELEMENTS as i64)
                && urgency.is_due();
            credit.connected && (free || credit.free > 0 || overdraft)
        };
        let mut sendable = may_send(&credit);
        if !sendable && !credit.closed {
            let check = if self.overtaking { URGENCY_CHECK } else { CANCEL_CHECK };
            self.connection.kick();
            wait(&mut || {
                while !sendable && !credit.closed && !cancelled.load(Ordering::Relaxed) {
                    self.channel.changed.wait_for(&mut credit, check);
                    sendable = may_send(&credit);
                }
            });
        }
        if credit.closed || !sendable {
            return Err(OperatorError::ExchangeClosed);
        }
        credit.free -= i64::from(!free);
        Ok(())
    }

    /// Tells the receiver that nothing follows though the data has not ended.
    pub fn abort(&mut self) {
        self.connection.enqueue(Frame::new(Header::control(FrameKind::Abort, self.id, self.attempt, 0), &[]), false);
        self.connection.channels.lock().remove(&self.id);
    }
}

fn rows_of(element: &StreamElement) -> usize {
    match element {
        StreamElement::Batch(batch) => batch.rows(),
        _ => 0,
    }
}
