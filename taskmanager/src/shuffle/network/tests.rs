use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use tidemill_common::batch::{Batch, StreamElement};
use tidemill_common::ids::TaskManagerId;
use tidemill_common::time::Watermark;

use super::*;
use crate::operator::OperatorError;
use crate::shuffle::Decoder;
use crate::shuffle::inbox::{Delivery, Mail, Received};
use crate::shuffle::{Overtaking, Urgency};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn network(io: &tokio::runtime::Runtime) -> Arc<Network> {
    let config = ExecutorConfig {
        id: TaskManagerId::from("t"),
        data_bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data_host: "127.0.0.1".to_owned(),
        io: io.handle().clone(),
        compression: Compression::None,
        store: Default::default(),
        scratch: std::env::temp_dir(),
        copies: Arc::new(tidemill_state::storage::LocalCopies::new(&std::env::temp_dir(), "test")),
        memory: crate::memory::MemoryBudget::of_machine(),
        lease: tidemill_connectors::lease::Lease::unlimited(),
    };
    Network::start(&config).unwrap()
}

fn key(attempt: u32) -> ChannelKey {
    let subtask = |task, index| SubtaskId { task: TaskId(task), index: SubtaskIndex(index) };
    ChannelKey { job: "j".into(), attempt: AttemptId(attempt), edge: 0, from: subtask(0, 1), to: subtask(1, 2) }
}

fn register(network: &Network, attempt: u32, inbox: &Arc<Inbox>) {
    network.receivers.register(&"j".into(), AttemptId(attempt), std::iter::once(key(attempt)), inbox);
}

fn open(network: &Network, to: &Network, attempt: u32, lost: &Arc<Inbox>) -> RemoteChannel {
    let lost = lost.clone();
    network.open(&to.address(), &key(attempt), Box::new(move |cause| lost.mail(Mail::Fail { cause })), false)
}

fn send(channel: &mut RemoteChannel, time: i64, cancelled: &AtomicBool) -> Result<(), OperatorError> {
    channel.send(StreamElement::Watermark(Watermark(time)), false, cancelled, &Urgency::default(), &mut |wait| wait())
}

fn received(inbox: &Inbox) -> Received {
    inbox.next(Some(Instant::now() + Duration::from_secs(10)), |wait| wait())
}

#[test]
fn elements_arrive_in_order_though_the_receiver_is_slow_and_late() {
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let lost = Arc::new(Inbox::new(0));
    let mut channel = open(&sender, &receiver, 1, &lost);
    let sending = std::thread::spawn(move || {
        let cancelled = AtomicBool::new(false);
        (0..500).try_for_each(|time| send(&mut channel, time, &cancelled)).map(|()| channel)
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!sending.is_finished(), "nothing may be sent before the receiver is there");
    let inbox = Arc::new(Inbox::new(1));
    register(&receiver, 1, &inbox);
    for expected in 0..500 {
        match received(&inbox) {
            Received::Element { channel: 0, delivery: Delivery::Frame { header, .. } } => {
                assert_eq!(header.value, expected);
            }
            other => panic!("{other:?}"),
        }
    }
    let mut channel = sending.join().unwrap().unwrap();
    channel.abort();
    assert!(matches!(received(&inbox), Received::Element { delivery: Delivery::Aborted, .. }));
}

#[test]
fn past_attempts_are_refused() {
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let inbox = Arc::new(Inbox::new(1));
    register(&receiver, 2, &inbox);
    let lost = Arc::new(Inbox::new(0));
    let mut channel = open(&sender, &receiver, 1, &lost);
    assert!(matches!(send(&mut channel, 1, &AtomicBool::new(false)), Err(OperatorError::ExchangeClosed)));
}

#[test]
fn a_receiver_that_ends_or_a_cancelled_sender_wait_for_nobody() {
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let inbox = Arc::new(Inbox::new(1));
    register(&receiver, 1, &inbox);
    let lost = Arc::new(Inbox::new(0));
    let mut channel = open(&sender, &receiver, 1, &lost);
    let cancelled = Arc::new(AtomicBool::new(false));
    let sending = {
        let cancelled = cancelled.clone();
        std::thread::spawn(move || {
            let ended = (0..500).try_for_each(|time| send(&mut channel, time, &cancelled));
            (ended, channel)
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    cancelled.store(true, Ordering::Relaxed);
    let (ended, mut channel) = sending.join().unwrap();
    assert!(ended.is_err());
    inbox.close();
    cancelled.store(false, Ordering::Relaxed);
    // The credit may not be used up; in the end the receiver's absence is told.
    let ended = (0..500).try_for_each(|time| {
        std::thread::sleep(Duration::from_millis(1));
        send(&mut channel, time, &AtomicBool::new(time > 450))
    });
    assert!(matches!(ended, Err(OperatorError::ExchangeClosed)));
}

#[test]
fn a_lost_connection_is_told_to_both_sides_with_its_cause() {
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let inbox = Arc::new(Inbox::new(1));
    register(&receiver, 1, &inbox);
    let lost = Arc::new(Inbox::new(0));
    let mut channel = open(&sender, &receiver, 1, &lost);
    send(&mut channel, 1, &AtomicBool::new(false)).unwrap();
    assert!(matches!(received(&inbox), Received::Element { .. }));
    receiver.stop();
    for side in [&lost, &inbox] {
        match received(side) {
            Received::Mail(Mail::Fail { cause }) => assert!(cause.contains("is lost"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let io = runtime();
    let sender = network(&io);
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let lost = Arc::new(Inbox::new(0));
    let inbox = lost.clone();
    let _channel =
        sender.open(&free.to_string(), &key(1), Box::new(move |cause| inbox.mail(Mail::Fail { cause })), false);
    match received(&lost) {
        Received::Mail(Mail::Fail { cause }) => assert!(cause.contains(&free.to_string()), "{cause}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_bytes_end_the_connection_and_nothing_else() {
    use std::io::{Read, Write};
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let mut foreign = std::net::TcpStream::connect(receiver.address()).unwrap();
    foreign.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
    foreign.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(!matches!(foreign.read(&mut [0; 16]), Ok(1..)), "a foreign client got an answer");
    let inbox = Arc::new(Inbox::new(1));
    register(&receiver, 1, &inbox);
    let mut channel = open(&sender, &receiver, 1, &Arc::new(Inbox::new(0)));
    send(&mut channel, 7, &AtomicBool::new(false)).unwrap();
    assert!(matches!(received(&inbox), Received::Element { .. }));
}

/// Batches of more pieces than one write has, and larger than what a socket takes at once, from two senders
/// over one connection, with watermarks that wait for the rows behind them.
#[test]
fn large_frames_arrive_whole_whoever_writes_them() {
    const BATCHES: i64 = 40;
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let columns = (0..300).map(|column| (format!("c{column}"), values(column, 1_000))).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(
        columns.iter().map(|(name, _)| Field::new(name, DataType::Int64, true)).collect::<Vec<_>>(),
    ));
    let records = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, values)| values).collect());
    let batch = Batch::insert(records.unwrap());
    std::thread::scope(|scope| {
        for attempt in [1, 2] {
            let inbox = Arc::new(Inbox::new(1));
            register(&receiver, attempt, &inbox);
            let mut channel = open(&sender, &receiver, attempt, &Arc::new(Inbox::new(0)));
            let (batch, decoder) = (batch.clone(), Decoder::new(schema.clone()));
            scope.spawn(move || {
                let mut send = |element, more| {
                    let (cancelled, urgency) = (AtomicBool::new(false), Urgency::default());
                    channel.send(element, more, &cancelled, &urgency, &mut |wait: &mut dyn FnMut()| wait()).unwrap();
                };
                for time in 0..BATCHES {
                    send(StreamElement::Watermark(Watermark(time)), true);
                    send(StreamElement::Batch(batch.clone()), false);
                }
                // Until all is read.
                std::thread::sleep(Duration::from_secs(1));
            });
            let expected = self::values(299, 1_000);
            scope.spawn(move || {
                for time in 0..BATCHES {
                    let next = || match received(&inbox) {
                        Received::Element { delivery: Delivery::Frame { header, body }, .. } => {
                            decoder.decode(&header, body).unwrap()
                        }
                        other => panic!("{other:?}"),
                    };
                    assert!(matches!(next(), StreamElement::Watermark(Watermark(found)) if found == time));
                    let StreamElement::Batch(found) = next() else { panic!("rows are missing") };
                    assert_eq!((found.rows(), found.records.column(299)), (1_000, &expected));
                }
            });
        }
    });
}

fn values(column: i64, rows: i64) -> ArrayRef {
    Arc::new((0..rows).map(|row| Some(row * column)).collect::<Int64Array>())
}

/// Barriers go to a receiver without credit; and nothing is sent to one that is not there yet, as it would
/// be lost.
#[test]
fn barriers_overtake_in_the_network_and_wait_for_the_receiver_only() {
    let io = runtime();
    let (sender, receiver) = (network(&io), network(&io));
    let inbox = Arc::new(Inbox::overtaking(Overtaking::new(Duration::ZERO, vec![true])));
    let mut channel = sender.open(&receiver.address(), &key(1), Box::new(|_| {}), true);
    let element = |id| {
        let barrier = tidemill_common::batch::Barrier {
            checkpoint: tidemill_common::ids::CheckpointId(id),
            timestamp_ms: 0,
            savepoint: None,
        };
        StreamElement::Barrier(barrier)
    };
    let sending = std::thread::spawn(move || {
        let (cancelled, urgency) = (AtomicBool::new(false), Urgency::default());
        urgency.plan(Some(0));
        channel.send(element(1), false, &cancelled, &urgency, &mut |wait| wait()).unwrap();
        channel
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!sending.is_finished(), "nothing may be sent before the receiver is there");
    register(&receiver, 1, &inbox);
    let mut channel = sending.join().unwrap();
    let announced = |expected: u64| match received(&inbox) {
        Received::Announced { channel: 0, barrier } => assert_eq!(barrier.checkpoint.0, expected),
        other => panic!("{other:?}"),
    };
    announced(1);
    // All credit is used up, then as much again is overdrawn.
    let urgency = Urgency::default();
    let mut sent = 0;
    for overdraft in [false, true] {
        urgency.plan(overdraft.then_some(0));
        let impatient = AtomicBool::new(true);
        let filler = |number| StreamElement::Idle(number % 2 == 1);
        while channel.send(filler(sent), false, &impatient, &urgency, &mut |wait| wait()).is_ok() {
            sent += 1;
        }
    }
    let full = tidemill_common::limits::CHANNEL_CAPACITY_ELEMENTS + tidemill_common::limits::CHANNEL_OVERDRAFT_ELEMENTS;
    assert_eq!(sent, full as i64);
    channel.send(element(2), false, &AtomicBool::new(false), &urgency, &mut |wait| wait()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while inbox.capture(0, tidemill_common::ids::CheckpointId(2)).is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    announced(2);
    assert_eq!(inbox.capture(0, tidemill_common::ids::CheckpointId(2)).map(|captured| captured.len()), Some(full));
    for expected in 0..full as i64 {
        match received(&inbox) {
            Received::Element { delivery: Delivery::Frame { header, .. }, .. } => {
                assert_eq!(header.value, expected % 2)
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(received(&inbox), Received::Element { .. }), "the barrier comes in its turn, too");
    // The credits come back, also those that were overdrawn.
    let cancelled = AtomicBool::new(false);
    for _ in 0..4 {
        channel.send(StreamElement::Idle(true), false, &cancelled, &Urgency::default(), &mut |wait| wait()).unwrap();
    }
}
