//! What a subtask reads: its mail, and its input channels, behind one lock and one signal.
//!
//! Elements are whole batches, so that a lock per element costs nothing a row. A channel holds at most
//! [`CHANNEL_CAPACITY_ELEMENTS`] elements: senders of this process wait for room, senders of others
//! have a credit for each place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use parking_lot::{Condvar, Mutex};
use tidemill_common::batch::{Barrier, StreamElement};
use tidemill_common::ids::{CheckpointId, OperatorId};
use tidemill_common::limits::CHANNEL_CAPACITY_ELEMENTS;
use tidemill_connectors::api::Split;

use super::frame::Header;

/// Consumed elements after which a remote sender gets their credits back.
const CREDITS_RETURNED_AT: usize = CHANNEL_CAPACITY_ELEMENTS / 2;
/// How often a sender that waits for room looks whether it was cancelled.
pub(super) const CANCEL_CHECK: Duration = Duration::from_millis(50);

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
#[derive(Debug)]
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

/// What [`Inbox::next`] gives.
#[derive(Debug)]
pub enum Received {
    Mail(Mail),
    Element {
        channel: usize,
        delivery: Delivery,
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
}

#[derive(Default)]
struct State {
    mail: VecDeque<Mail>,
    channels: Vec<Channel>,
    /// Channels with something to read, in the order of their turn.
    ready: VecDeque<usize>,
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
}

impl Inbox {
    /// An inbox with this many input channels.
    pub fn new(channels: usize) -> Self {
        let channels = (0..channels).map(|_| Channel::default()).collect();
        Self { state: Mutex::new(State { channels, ..State::default() }), filled: Condvar::new(), room: Condvar::new() }
    }

    /// Puts mail. What is sent to a closed inbox is of no interest any more.
    pub fn mail(&self, mail: Mail) {
        let mut state = self.state.lock();
        if !state.closed {
            state.mail.push_back(mail);
            self.wake_reader(&mut state);
        }
    }

    /// The next mail, without waiting.
    pub fn try_mail(&self) -> Option<Mail> {
        self.state.lock().mail.pop_front()
    }

    /// Tries to put an element: `Ok(false)` if the channel is full (then nothing is taken).
    fn try_put(&self, state: &mut State, channel: usize, delivery: &mut Option<Delivery>) -> Result<bool, Closed> {
        if state.closed {
            return Err(Closed);
        }
        let slot = &mut state.channels[channel];
        if slot.queue.len() >= CHANNEL_CAPACITY_ELEMENTS {
            return Ok(false);
        }
        slot.queue.extend(delivery.take());
        if !slot.blocked && !slot.listed {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        self.wake_reader(state);
        Ok(true)
    }

    /// Puts an element without waiting, for remote senders, who have a credit for it. Gives `false` if
    /// the channel is full: the sender has broken the protocol.
    pub fn put(&self, channel: usize, delivery: Delivery) -> Result<bool, Closed> {
        self.try_put(&mut self.state.lock(), channel, &mut Some(delivery))
    }

    /// Puts an element into a channel of this process. Calls `blocked` around the wait if the channel
    /// is full. Gives up when the receiver has ended or `cancelled` is set.
    pub fn put_waiting(
        &self,
        channel: usize,
        element: StreamElement,
        cancelled: &AtomicBool,
        blocked: impl FnOnce(&mut dyn FnMut()),
    ) -> Result<(), Closed> {
        let mut delivery = Some(Delivery::Element(element));
        let mut state = self.state.lock();
        if self.try_put(&mut state, channel, &mut delivery)? {
            return Ok(());
        }
        let mut result = Ok(false);
        blocked(&mut || {
            state.writers_waiting += 1;
            loop {
                result = self.try_put(&mut state, channel, &mut delivery);
                if result != Ok(false) || cancelled.load(Ordering::Relaxed) {
                    break;
                }
                self.room.wait_for(&mut state, CANCEL_CHECK);
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
        slot.queue.push_back(Delivery::Aborted);
        if !slot.blocked && !slot.listed {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        self.wake_reader(&mut state);
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
        if let Some(mail) = state.mail.pop_front() {
            return Some(Received::Mail(mail));
        }
        let channel = state.ready.pop_front()?;
        let slot = &mut state.channels[channel];
        slot.listed = false;
        let delivery = slot.queue.pop_front()?;
        if !slot.queue.is_empty() {
            slot.listed = true;
            state.ready.push_back(channel);
        }
        if let Some(credit) = &slot.credit {
            slot.consumed += 1;
            if slot.consumed >= CREDITS_RETURNED_AT {
                credit.grant(std::mem::take(&mut slot.consumed));
            }
        } else if state.writers_waiting > 0 && slot.queue.len() <= CHANNEL_CAPACITY_ELEMENTS / 2 {
            // Half empty, so that a sender that wakes up has some room.
            self.room.notify_all();
        }
        Some(Received::Element { channel, delivery })
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

    fn wake_reader(&self, state: &mut State) {
        if state.reader_waits {
            self.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemill_common::time::Watermark;

    use super::*;

    fn element(time: i64) -> StreamElement {
        StreamElement::Watermark(Watermark(time))
    }

    fn wait(wait: &mut dyn FnMut()) {
        wait();
    }

    fn channel_of(inbox: &Inbox) -> Option<usize> {
        match inbox.next(Some(Instant::now()), wait) {
            Received::Element { channel, .. } => Some(channel),
            _ => None,
        }
    }

    #[test]
    fn channels_take_turns_and_blocked_ones_wait() {
        let inbox = Inbox::new(3);
        for channel in 0..3 {
            for time in 0..3 {
                assert_eq!(inbox.put(channel, Delivery::Element(element(time))), Ok(true));
            }
        }
        assert_eq!([channel_of(&inbox), channel_of(&inbox), channel_of(&inbox)], [Some(0), Some(1), Some(2)]);
        inbox.set_blocked(1, true);
        let rest: Vec<_> = std::iter::from_fn(|| channel_of(&inbox)).collect();
        assert_eq!(rest, [0, 2, 0, 2]);
        inbox.set_blocked(1, false);
        let rest: Vec<_> = std::iter::from_fn(|| channel_of(&inbox)).collect();
        assert_eq!(rest, [1, 1]);
    }

    #[test]
    fn mail_comes_before_data() {
        let inbox = Inbox::new(1);
        assert_eq!(inbox.put(0, Delivery::Element(element(1))), Ok(true));
        inbox.mail(Mail::Cancel);
        assert!(matches!(inbox.next(None, wait), Received::Mail(Mail::Cancel)));
        assert!(matches!(inbox.next(None, wait), Received::Element { channel: 0, .. }));
    }

    #[test]
    fn a_full_channel_makes_its_sender_wait_and_close_or_cancel_frees_it() {
        let inbox = Arc::new(Inbox::new(1));
        let cancelled = Arc::new(AtomicBool::new(false));
        let send = |count: i64| {
            let (inbox, cancelled) = (inbox.clone(), cancelled.clone());
            std::thread::spawn(move || {
                (0..count).try_for_each(|time| inbox.put_waiting(0, element(time), &cancelled, wait))
            })
        };
        let sender = send(1_000);
        let mut next = 0;
        while next < 1_000 {
            match inbox.next(Some(Instant::now() + Duration::from_secs(5)), wait) {
                Received::Element { delivery: Delivery::Element(StreamElement::Watermark(time)), .. } => {
                    assert_eq!(time.0, next);
                    next += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sender.join().unwrap(), Ok(()));
        let sender = send(1_000);
        std::thread::sleep(Duration::from_millis(20));
        cancelled.store(true, Ordering::Relaxed);
        assert_eq!(sender.join().unwrap(), Err(Closed));
        cancelled.store(false, Ordering::Relaxed);
        let sender = send(1_000);
        std::thread::sleep(Duration::from_millis(20));
        inbox.close();
        assert_eq!(sender.join().unwrap(), Err(Closed));
    }

    #[test]
    fn a_sender_without_credit_is_noticed() {
        let inbox = Inbox::new(1);
        for _ in 0..CHANNEL_CAPACITY_ELEMENTS {
            assert_eq!(inbox.put(0, Delivery::Element(element(1))), Ok(true));
        }
        assert_eq!(inbox.put(0, Delivery::Element(element(1))), Ok(false));
    }
}
