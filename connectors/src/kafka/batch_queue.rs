//! Fetching messages in batches, which the safe interface of the rdkafka crate does not offer.
//!
//! Why unsafe: `rd_kafka_consume_batch_queue` hands over thousands of messages a call, where the safe
//! `poll` makes an event, an `Arc` and a clock reading for each. Measured on messages of 200 bytes:
//! 0.35 CPU s per million against 0.61.
//!
//! What is relied on, from librdkafka's documentation:
//! - A queue from `rd_kafka_queue_new` and `rd_kafka_queue_get_partition` is a reference of ours,
//!   given back by `rd_kafka_queue_destroy`, before the client is destroyed. The client lives in an
//!   `Arc` that this module holds; fields drop in order of declaration, queues first.
//! - `rd_kafka_queue_forward` before the partition is assigned wins over the client's own forwarding.
//! - A message is ours until `rd_kafka_message_destroy`; `payload` points to `len` bytes of it, or is
//!   NULL. `rkt` outlives it.
//! - Timestamp, leader epoch and headers of a message may be asked for as long as it is ours; names of
//!   headers are C strings, their values `size` bytes or NULL.
//! - `rd_kafka_get_watermark_offsets` asks nobody: it writes what the last answers to fetches have said.
//! - All functions used may be called from any thread; a `BatchQueue` is used by one at a time.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_get_watermark_offsets, rd_kafka_header_get_all, rd_kafka_message_destroy,
    rd_kafka_message_errstr, rd_kafka_message_headers, rd_kafka_message_leader_epoch, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition,
    rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_resp_err_t, rd_kafka_timestamp_type_t, rd_kafka_topic_name,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::client::LogContext;

/// A queue of librdkafka, given back on drop.
struct Queue(NonNull<rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are thread-safe (they lock inside).
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and not used after this.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// The queue of one partition.
pub(super) struct PartitionQueue {
    queue: Queue,
}

/// One queue for all partitions of a reader.
pub(super) struct BatchQueue {
    queue: Queue,
    consumer: Arc<BaseConsumer<LogContext>>,
    messages: Vec<*mut rd_kafka_message_t>,
}

// SAFETY: `messages` is scratch space of one call of `consume` and holds no message between calls.
unsafe impl Send for BatchQueue {}

/// What a message is.
pub(super) enum Content<'a> {
    Value(&'a [u8]),
    /// A tombstone.
    NoValue,
    /// Everything that there is has been read; `offset` is that of the next message.
    EndOfPartition,
    Error(RDKafkaErrorCode, String),
}

/// A message, borrowed for the time of a call.
pub(super) struct Message<'a> {
    /// Address of librdkafka's topic: equal for equal topics of one client.
    pub topic_address: usize,
    raw: &'a rd_kafka_message_t,
    pub partition: i32,
    pub offset: i64,
    pub content: Content<'a>,
}

impl Message<'_> {
    /// The topic's name.
    pub fn topic(&self) -> String {
        if self.raw.rkt.is_null() {
            return String::new();
        }
        // SAFETY: `rkt` is alive as long as the message; its name is a C string.
        unsafe { CStr::from_ptr(rd_kafka_topic_name(self.raw.rkt)) }.to_string_lossy().into_owned()
    }

    /// Milliseconds since the epoch, and what they are, in Kafka's words.
    pub fn timestamp(&self) -> (i64, &'static str) {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; the call writes the kind.
        let millis = unsafe { rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        let kind = match kind {
            rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => "CreateTime",
            rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => "LogAppendTime",
            rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => "NoTimestampType",
        };
        (millis, kind)
    }

    /// The leader epoch, if it is known.
    pub fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { rd_kafka_message_leader_epoch(self.raw) };
        (epoch >= 0).then_some(epoch)
    }

    /// Gives all headers in order. A value that is NULL is empty.
    pub fn headers(&self, mut each: impl FnMut(&str, &[u8])) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is alive; the headers stay its own.
        let found = unsafe { rd_kafka_message_headers(self.raw, &raw mut headers) };
        if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut length) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers are alive as long as the message; the call writes the three.
            let found =
                unsafe { rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length) };
            if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return;
            }
            // SAFETY: the name is a C string, the value NULL or `length` bytes; both live as the message.
            let (name, value) = unsafe {
                let value =
                    if value.is_null() { &[][..] } else { std::slice::from_raw_parts(value.cast::<u8>(), length) };
                (CStr::from_ptr(name), value)
            };
            each(&name.to_string_lossy(), value);
        }
    }
}

impl BatchQueue {
    /// A queue that takes at most `batch` messages a call. `None` if librdkafka has no memory for it.
    pub fn new(consumer: Arc<BaseConsumer<LogContext>>, batch: usize) -> Option<Self> {
        // SAFETY: the client is alive.
        let queue = NonNull::new(unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self { queue: Queue(queue), consumer, messages: vec![std::ptr::null_mut(); batch] })
    }

    /// Lets the messages of a partition come here. To be called before the partition is assigned.
    pub fn attach(&self, topic: &str, partition: i32) -> Option<PartitionQueue> {
        let topic = CString::new(topic).ok()?;
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client is alive, the name is a C string that the call does not keep.
        let queue = NonNull::new(unsafe { rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) })?;
        let partition = PartitionQueue { queue: Queue(queue) };
        self.resume(&partition);
        Some(partition)
    }

    /// Lets messages come again after [`BatchQueue::pause`].
    pub fn resume(&self, partition: &PartitionQueue) {
        // SAFETY: both queues are alive.
        unsafe { rd_kafka_queue_forward(partition.queue.0.as_ptr(), self.queue.0.as_ptr()) }
    }

    /// Keeps further messages of a partition in its own, bounded queue.
    pub fn pause(&self, partition: &PartitionQueue) {
        // SAFETY: the queue is alive; NULL ends the forwarding.
        unsafe { rd_kafka_queue_forward(partition.queue.0.as_ptr(), std::ptr::null_mut()) }
    }

    /// The offset behind the last message of a partition, as the broker has last said; `None` if it has not.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the name is a C string that the call does not keep, and both offsets are
        // written before it returns.
        let answer = unsafe {
            rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (answer == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Waits at most `timeout` for messages and gives what there is to `each`. Returns how many.
    pub fn consume(&mut self, timeout: Duration, mut each: impl FnMut(Message<'_>)) -> usize {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; the call writes at most `len` pointers and says how many.
        let count = unsafe {
            rd_kafka_consume_batch_queue(
                self.queue.0.as_ptr(),
                timeout_ms,
                self.messages.as_mut_ptr(),
                self.messages.len(),
            )
        };
        // -1 is an error without a message; the next call says more.
        let count = usize::try_from(count).unwrap_or(0).min(self.messages.len());
        let batch = Batch(&self.messages[..count]);
        for message in batch.0 {
            // SAFETY: librdkafka has just handed over this message; `batch` destroys it after the loop.
            let raw = unsafe { &**message };
            each(Message {
                topic_address: raw.rkt as usize,
                raw,
                partition: raw.partition,
                offset: raw.offset,
                content: content(raw),
            });
        }
        count
    }
}

fn content(raw: &rd_kafka_message_t) -> Content<'_> {
    match RDKafkaErrorCode::from(raw.err) {
        RDKafkaErrorCode::NoError if raw.payload.is_null() => Content::NoValue,
        // SAFETY: `payload` is not NULL and points to `len` bytes that live as long as the message.
        RDKafkaErrorCode::NoError => {
            Content::Value(unsafe { std::slice::from_raw_parts(raw.payload.cast::<u8>(), raw.len) })
        }
        RDKafkaErrorCode::PartitionEOF => Content::EndOfPartition,
        code => {
            // SAFETY: the message is alive; the text, if any, is a C string that lives as long.
            let text = unsafe {
                let text = rd_kafka_message_errstr(raw);
                if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
            };
            Content::Error(code, text)
        }
    }
}

/// Messages that are given back also when `each` panics.
struct Batch<'a>(&'a [*mut rd_kafka_message_t]);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: every message was handed over once and is given back once.
            unsafe { rd_kafka_message_destroy(*message) }
        }
    }
}
