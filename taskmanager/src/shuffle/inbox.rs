//! What a subtask reads: its mail, and its input channels, behind one lock and one signal.
//!
//! Elements are whole batches, so that a lock per element costs nothing a row. A channel has
//! [`CHANNEL_CAPACITY_ELEMENTS`] places: senders of this process wait for room, senders of others
//! have a credit for each place. What takes no place is said in [`super::fare`].
//!
//! Where barriers may overtake, they have places of their own, one a channel: a newer one takes the place of
//! an older, which was given up. The subtask is told of them before it reads on, and may take what waits
//! before them ([`Inbox::capture`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use parking_lot::{Condvar, Mutex};
use tidemill_common::batch::{Barrier, StreamElement};
use tidemill_common::ids::{CheckpointId, OperatorId};
use tidemill_common::limits::{CHANNEL_CAPACITY_ELEMENTS, CHANNEL_OVERDRAFT_ELEMENTS};
use tidemill_connectors::api::Split;

use super::codec;
use super::fare::{Fare, Fares};
use super::frame::{FrameKind, Header};
use super::overtaking::{Overtaking, Urgency};
use crate::operators::window::system_clock;

/// Consumed elements after which a remote sender gets their credits back.
const CREDITS_RETURNED_AT: usize = CHANNEL_CAPACITY_ELEMENTS / 2;
/// How often a sender that waits for room looks whether it was cancelled.
pub(super) const CANCEL_CHECK: Duration = Duration::from_millis(50);
/// How often it looks whether a barrier waits for its subtask.
pub(super) const URGENCY_CHECK: Duration = Duration::from_millis(10);

/// A control message to a subtask.
#[derive(Debug)]
pub enum Mail {
    AssignSplits {
        operator: OperatorId,
        splits: Vec<Split>,
        no_more: bool,
    },
    /// Sources end as if their input had ended.
    StopSources {
        drain: bool,
    },
    /// Splits beyond `max_watermark` wait.
    Alignment {
        group: String,
        max_watermark: i64,
    },
    /// For sources: take a part of this checkpoint and send its barrier; with `stop` end after it.
    TriggerCheckpoint {
        barrier: Barrier,
        stop: Option<bool>,
    },
    /// This and all older checkpoints are complete.
    CheckpointComplete(CheckpointId),
    /// It will not be complete.
    CheckpointAborted(CheckpointId),
    Cancel,
    /// Something the subtask depends on is gone, such as a connection.
    Fail {
        cause: String,
    },
}

/// What a channel carries.
#[derive(Clone, Debug)]
pub enum Delivery {
    Element(StreamElement),
    /// A batch as it came over the network; decoded by the subtask, not by the network's threads.
    Frame {
        header: Header,
        body: Buffer,
    },
    /// The sender has ended without an end of its data.
    Aborted,
}

impl Delivery {
    /// Its kind, by which it takes a place or none.
    fn kind(&self) -> FrameKind {
        match self {
            Self::Element(element) => FrameKind::of(element),
            Self::Frame { header, .. } => header.kind,
            Self::Aborted => FrameKind::Abort,
        }
    }

    /// The barrier, if it is one and can be read.
    fn barrier(&self) -> Option<Barrier> {
        match self {
            Self::Element(StreamElement::Barrier(barrier)) => Some(barrier.clone()),
            Self::Frame { header, body } if header.kind == FrameKind::Barrier => codec::barrier(header, body).ok(),
            _ => None,
        }
    }
}

/// What [`Inbox::next`] gives.
#[derive(Debug)]
pub enum Received {
    Mail(Mail),
    Element {
        channel: usize,
        delivery: Delivery,
    },
    /// A barrier waits in a channel and may overtake what is before it. It will come in its turn, too.
    Announced {
        channel: usize,
        barrier: Barrier,
    },
    /// Nothing came until the deadline.
    Nothing,
}

/// The receiver has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// Gives credits back to a remote sender.
pub trait CreditReturn: Send {
    /// The sender may send `credits` elements more.
    fn grant(&self, credits: usize);
}

#[derive(Default)]
struct Channel {
    queue: VecDeque<Delivery>,
    /// Not read for now: its barrier waits for those of others.
    blocked: bool,
    /// Whether it is in `ready`.
    listed: bool,
    credit: Option<Box<dyn CreditReturn>>,
    consumed: usize,
    /// What was put.
    put: Fares,
    /// What was taken.
    taken: Fares,
    /// Elements in the queue that take one of its places.
    places: usize,
    /// A barrier in the queue has a place of its own.
    barrier: bool,
    /// The end of the sender's data was put.
    ended: bool,
}

#[derive(Default)]
struct State {
    mail: VecDeque<Mail>,
    channels: Vec<Channel>,
    /// Channels with something to read, in the order of their turn.
    ready: VecDeque<usize>,
    /// Channels with a barrier that the subtask has not heard of.
    announced: VecDeque<usize>,
    closed: bool,
    /// Whether the subtask waits.
    reader_waits: bool,
    writers_waiting: usize,
}

/// The inbox of one subtask.
pub struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
    room: Condvar,
    overtaking: Option<Overtaking>,
}

impl Channel {
    /// A newer barrier takes the place of an older one.
    fn make_place_for_barrier(&mut self) {
        if self.barrier {
            self.queue.retain(|delivery| delivery.kind() != FrameKind::Barrier);
        }
        self.barrier = true;
    }
}

impl Inbox {
    /// An inbox with this many input channels.
    pub fn new(channels: usize) -> Self {
        Self::with(channels, None)
    }

    /// An inbox in which barriers may overtake.
    pub fn overtaking(overtaking: Overtaking) -> Self {
        Self::with(overtaking.channels.len(), Some(overtaking))
    }

    fn with(channels: usize, overtaking: Option<Overtaking>) -> Self {
        let channels = (0..channels).map(|_| Channel::default()).collect();
        let state = Mutex::new(State { channels, ..State::default() });
        Self { state, filled: Condvar::new(), room: Condvar::new(), overtaking }
    }

    /// How barriers may overtake, if they may.
    pub fn overtakes(&self) -> Option<&Overtaking> {
        self.overtaking.as_ref()
    }

    /// Puts mail. What is sent to a closed inbox is of no interest any more.
    pub fn mail(&self, mail: Mail) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if let Some(overtaking) = &self.overtaking
            && let Mail::TriggerCheckpoint { barrier, .. } = &mail
            && barrier.savepoint.is_none()
        {
            overtaking.urgency.announce(overtaking.due_ms(barrier, system_clock()));
        }
        state.mail.push_back(mail);
        self.wake_reader(&state);
    }

    /// The next mail, without waiting.
    pub fn try_mail(&self) -> Option<Mail> {
        self.take_mail(&mut self.state.lock())
    }

    fn take_mail(&self, state: &mut State) -> Option<Mail> {
        let mail = state.mail.pop_front()?;
        if let Some(overtaking) = &self.overtaking
            && matches!(mail, Mail::TriggerCheckpoint { .. })
        {
            overtaking.urgency.heard();
        }
        Some(mail)
    }

    /// Tries to put an element into a channel of this capacity: `Ok(false)` if the channel is full (then
    /// nothing is taken). The reader is not woken.
    fn try_put(
        &self,
        state: &mut State,
        channel: usize,
        delivery: &mut Option<Delivery>,
        capacity: usize,
    ) -> Result<bool, Closed> {
        if state.closed {
            return Err(Closed);
        }
        let slot = &mut state.channels[channel];
        let Some(next) = delivery.as_ref() else { return Ok(true) };
        let kind = next.kind();
        let fare = slot.put.next(kind.passenger(self.overtaking.is_some()));
        if fare == Fare::Place && slot.places >= capacity {
            return Ok(false);
        }
        slot.put.passed(fare);
        slot.places += usize::from(fare == Fare::Place);
        if let Some(overtaking) = &self.overtaking
            && fare == Fare::Barrier
        {
            slot.make_place_for_barrier();
            let barrier = next.barrier();
            if let Some(barrier) = barrier.filter(|b| b.savepoint.is_none() && overtaking.channels[channel])
                && !slot.ended
            {
                state.announced.push_back(channel);
                if overtaking.everywhere() {
                    overtaking.urgency.announce(overtaking.due_ms(&barrier, system_clock()));
                }
            }
        }
        slot.ended |= kind == FrameKind::EndOfData;
        slot.queue.extend(delivery.take());
        if !slot.blocked && !slot.listed {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        Ok(true)
    }

    /// Puts an element without waiting, for remote senders, who have a credit for it. Gives `false` if
    /// the channel is full: the sender has broken the protocol. The reader hears of it with [`Inbox::wake`],
    /// so that it is woken once for elements that come together.
    pub fn put(&self, channel: usize, delivery: Delivery) -> Result<bool, Closed> {
        let overdraft = if self.overtaking.is_some() { CHANNEL_OVERDRAFT_ELEMENTS } else { 0 };
        let capacity = CHANNEL_CAPACITY_ELEMENTS + overdraft;
        self.try_put(&mut self.state.lock(), channel, &mut Some(delivery), capacity)
    }

    /// Wakes the reader if it waits: there is something for it.
    pub fn wake(&self) {
        let state = self.state.lock();
        if !state.ready.is_empty() || !state.announced.is_empty() {
            self.wake_reader(&state);
        }
    }

    /// Puts an element into a channel of this process; with `more` the reader is not woken before the next one
    /// is put. Calls `blocked` around the wait if the channel is full. Gives up when the receiver has ended or `cancelled` is set; overdraws the channel if it is
    /// urgent that the sender goes on.
    pub fn put_waiting(
        &self,
        channel: usize,
        element: StreamElement,
        more: bool,
        cancelled: &AtomicBool,
        urgency: &Urgency,
        blocked: impl FnOnce(&mut dyn FnMut()),
    ) -> Result<(), Closed> {
        let mut delivery = Some(Delivery::Element(element));
        let mut state = self.state.lock();
        if self.try_put(&mut state, channel, &mut delivery, CHANNEL_CAPACITY_ELEMENTS)? {
            if !more {
                self.wake_reader(&state);
            }
            return Ok(());
        }
        // Of what was put with `more`.
        self.wake_reader(&state);
        let mut result = Ok(false);
        let check = if self.overtaking.is_some() { URGENCY_CHECK } else { CANCEL_CHECK };
        blocked(&mut || {
            state.writers_waiting += 1;
            loop {
                let overdraft = if urgency.is_due() { CHANNEL_OVERDRAFT_ELEMENTS } else { 0 };
                result = self.try_put(&mut state, channel, &mut delivery, CHANNEL_CAPACITY_ELEMENTS + overdraft);
                if result != Ok(false) || cancelled.load(Ordering::Relaxed) {
                    self.wake_reader(&state);
                    break;
                }
                self.room.wait_for(&mut state, check);
            }
            state.writers_waiting -= 1;
        });
        match result {
            Ok(true) => Ok(()),
            Ok(false) | Err(Closed) => Err(Closed),
        }
    }

    /// The sender of a channel has ended early. Takes a place of its own, so that it never waits.
    pub fn abort_channel(&self, channel: usize) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let slot = &mut state.channels[channel];
        slot.places += 1;
        slot.queue.push_back(Delivery::Aborted);
        if !slot.blocked && !slot.listed {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        self.wake_reader(&state);
    }

    /// Credits of this channel go back to a remote sender.
    pub fn connect_credit(&self, channel: usize, credit: Box<dyn CreditReturn>) {
        let mut state = self.state.lock();
        if !state.closed {
            credit.grant(CHANNEL_CAPACITY_ELEMENTS);
            state.channels[channel].credit = Some(credit);
        }
    }

    /// The next mail or element: mail first, then channels in turn. Waits until `deadline` (for ever
    /// without one); `waiting` is called around the wait.
    pub fn next(&self, deadline: Option<Instant>, waiting: impl FnOnce(&mut dyn FnMut())) -> Received {
        let mut state = self.state.lock();
        if let Some(received) = self.take(&mut state) {
            return received;
        }
        // Often a sender is about to put something: to let it run costs less than to sleep and be woken.
        drop(state);
        std::thread::yield_now();
        let mut state = self.state.lock();
        if let Some(received) = self.take(&mut state) {
            return received;
        }
        let mut received = None;
        waiting(&mut || {
            loop {
                state.reader_waits = true;
                let timed_out = match deadline {
                    Some(deadline) => self.filled.wait_until(&mut state, deadline).timed_out(),
                    None => {
                        self.filled.wait(&mut state);
                        false
                    }
                };
                state.reader_waits = false;
                received = self.take(&mut state);
                if received.is_some() || timed_out {
                    break;
                }
            }
        });
        received.unwrap_or(Received::Nothing)
    }

    fn take(&self, state: &mut State) -> Option<Received> {
        if let Some(mail) = self.take_mail(state) {
            return Some(Received::Mail(mail));
        }
        if !state.announced.is_empty()
            && let Some(announced) = self.take_announced(state)
        {
            return Some(announced);
        }
        let channel = state.ready.pop_front()?;
        let slot = &mut state.channels[channel];
        slot.listed = false;
        let delivery = slot.queue.pop_front()?;
        if !slot.queue.is_empty() {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        let fare = slot.taken.next(delivery.kind().passenger(self.overtaking.is_some()));
        slot.taken.passed(fare);
        match (fare, &slot.credit) {
            (Fare::Rides, _) => {}
            (Fare::Barrier, _) => slot.barrier = false,
            (Fare::Place, Some(credit)) => {
                slot.places -= 1;
                slot.consumed += 1;
                if slot.consumed >= CREDITS_RETURNED_AT {
                    credit.grant(std::mem::take(&mut slot.consumed));
                }
            }
            (Fare::Place, None) => {
                slot.places -= 1;
                // Half empty, so that a sender that wakes up has some room.
                if state.writers_waiting > 0 && slot.places <= CHANNEL_CAPACITY_ELEMENTS / 2 {
                    self.room.notify_all();
                }
            }
        }
        Some(Received::Element { channel, delivery })
    }

    fn take_announced(&self, state: &mut State) -> Option<Received> {
        let mut found = None;
        while found.is_none()
            && let Some(channel) = state.announced.pop_front()
        {
            let barrier = state.channels[channel].queue.iter().rev().find_map(Delivery::barrier);
            found = barrier.map(|barrier| Received::Announced { channel, barrier });
        }
        if let Some(overtaking) = self.overtaking.as_ref().filter(|_| state.announced.is_empty()) {
            overtaking.urgency.heard();
        }
        found
    }

    /// A copy of what waits in a channel before the barrier of this checkpoint; `None` if that does not wait
    /// there.
    pub fn capture(&self, channel: usize, checkpoint: CheckpointId) -> Option<Vec<Delivery>> {
        let state = self.state.lock();
        let queue = &state.channels.get(channel)?.queue;
        let is_it = |delivery: &Delivery| delivery.barrier().is_some_and(|barrier| barrier.checkpoint == checkpoint);
        let end = queue.iter().position(is_it)?;
        Some(queue.iter().take(end).cloned().collect())
    }

    /// Stops or resumes the reading of a channel.
    pub fn set_blocked(&self, channel: usize, blocked: bool) {
        let mut state = self.state.lock();
        let slot = &mut state.channels[channel];
        slot.blocked = blocked;
        if blocked && slot.listed {
            slot.listed = false;
            state.ready.retain(|ready| *ready != channel);
        } else if !blocked && !slot.listed && !slot.queue.is_empty() {
            slot.listed = true;
            state.ready.push_back(channel);
        }
    }

    /// The subtask has ended: senders are told so when they try, and what is queued is dropped.
    pub fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            self.room.notify_all();
            (std::mem::take(&mut state.channels), std::mem::take(&mut state.mail), std::mem::take(&mut state.ready))
        };
        drop(dropped);
    }

    fn wake_reader(&self, state: &State) {
        if state.reader_waits {
            self.filled.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
