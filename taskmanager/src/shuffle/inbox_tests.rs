use std::sync::Arc;

use tidemill_common::time::Watermark;

use super::*;

fn element(time: i64) -> StreamElement {
    StreamElement::Watermark(Watermark(time))
}

/// Something that takes a place.
fn filler() -> StreamElement {
    StreamElement::Idle(false)
}

fn wait(wait: &mut dyn FnMut()) {
    wait();
}

impl Received {
    /// The next element, announcements apart.
    fn into_element(self) -> Option<StreamElement> {
        match self {
            Self::Element { delivery: Delivery::Element(element), .. } => Some(element),
            Self::Announced { .. } => Some(filler()),
            _ => None,
        }
    }
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
            let urgency = Urgency::default();
            (0..count).try_for_each(|time| inbox.put_waiting(0, element(time), false, &cancelled, &urgency, wait))
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
        assert_eq!(inbox.put(0, Delivery::Element(filler())), Ok(true));
    }
    assert_eq!(inbox.put(0, Delivery::Element(filler())), Ok(false));
}

#[test]
fn a_watermark_behind_each_element_takes_no_place_of_another() {
    for overtaken in [false, true] {
        let inbox = if overtaken { overtaking(vec![true]) } else { Inbox::new(1) };
        let capacity = CHANNEL_CAPACITY_ELEMENTS + if overtaken { CHANNEL_OVERDRAFT_ELEMENTS } else { 0 };
        for round in 0..3 {
            for time in 0..capacity {
                assert!(put(&inbox, 0, filler()) && put(&inbox, 0, element(time as i64)));
            }
            assert!(!put(&inbox, 0, filler()), "round {round}: all places are taken");
            assert!(!put(&inbox, 0, element(99)), "a second watermark takes one");
            assert!(put(&inbox, 0, barrier(round)) == overtaken);
            let read = std::iter::from_fn(|| inbox.next(Some(Instant::now()), wait).into_element());
            let times = read.filter_map(|element| match element {
                StreamElement::Watermark(time) => Some(time.0),
                _ => None,
            });
            assert!(times.eq(0..capacity as i64));
        }
    }
}

/// Barriers that overtake at once.
fn overtaking(channels: Vec<bool>) -> Inbox {
    Inbox::overtaking(Overtaking::new(Duration::ZERO, channels))
}

fn barrier(id: u64) -> StreamElement {
    StreamElement::Barrier(Barrier { checkpoint: CheckpointId(id), timestamp_ms: 0, savepoint: None })
}

fn put(inbox: &Inbox, channel: usize, element: StreamElement) -> bool {
    inbox.put(channel, Delivery::Element(element)).unwrap()
}

fn announced(inbox: &Inbox) -> Option<(usize, u64)> {
    match inbox.next(Some(Instant::now()), wait) {
        Received::Announced { channel, barrier } => Some((channel, barrier.checkpoint.0)),
        _ => None,
    }
}

#[test]
fn barriers_have_room_in_full_channels_and_are_told_before_anything_is_read() {
    let inbox = overtaking(vec![true, true]);
    let full = CHANNEL_CAPACITY_ELEMENTS + CHANNEL_OVERDRAFT_ELEMENTS;
    for _ in 0..full {
        assert!(put(&inbox, 0, filler()));
    }
    assert!(!put(&inbox, 0, filler()), "this is more than may be overdrawn");
    assert!(put(&inbox, 0, barrier(1)));
    assert!(put(&inbox, 1, element(5)) && put(&inbox, 1, barrier(1)));
    let urgency = &inbox.overtakes().unwrap().urgency;
    assert!(urgency.is_due());
    assert_eq!([announced(&inbox), announced(&inbox)], [Some((0, 1)), Some((1, 1))]);
    assert!(!urgency.is_due(), "the subtask has heard of all");
    assert_eq!(inbox.capture(0, CheckpointId(1)).map(|captured| captured.len()), Some(full));
    assert_eq!(inbox.capture(1, CheckpointId(1)).map(|captured| captured.len()), Some(1));
    assert!(inbox.capture(1, CheckpointId(2)).is_none());
    // A newer one takes the older one's place.
    assert!(put(&inbox, 0, barrier(2)));
    assert!(inbox.capture(0, CheckpointId(1)).is_none());
    assert_eq!(announced(&inbox), Some((0, 2)));
    let read: Vec<_> = std::iter::from_fn(|| channel_of(&inbox)).collect();
    assert_eq!(read.iter().filter(|channel| **channel == 0).count(), full + 1);
}

#[test]
fn barriers_of_savepoints_behind_the_end_and_in_other_channels_are_not_told_in_advance() {
    let inbox = overtaking(vec![true, false]);
    let savepoint = Barrier { checkpoint: CheckpointId(1), timestamp_ms: 0, savepoint: Some("file:///s".into()) };
    assert!(put(&inbox, 0, StreamElement::Barrier(savepoint)));
    assert!(put(&inbox, 1, barrier(2)));
    assert!(put(&inbox, 0, StreamElement::EndOfData { drain: true }));
    assert!(put(&inbox, 0, barrier(3)));
    assert!(!inbox.overtakes().unwrap().urgency.is_due());
    assert_eq!(announced(&inbox), None);
}

#[test]
fn a_sender_that_is_urgent_overdraws_a_full_channel() {
    let inbox = overtaking(vec![true]);
    for _ in 0..CHANNEL_CAPACITY_ELEMENTS {
        assert!(put(&inbox, 0, filler()));
    }
    let urgency = Urgency::default();
    let impatient = AtomicBool::new(true);
    assert_eq!(inbox.put_waiting(0, filler(), false, &impatient, &urgency, wait), Err(Closed), "there is no room");
    urgency.plan(Some(0));
    for _ in 0..CHANNEL_OVERDRAFT_ELEMENTS {
        assert_eq!(inbox.put_waiting(0, filler(), false, &impatient, &urgency, wait), Ok(()));
    }
    assert_eq!(inbox.put_waiting(0, filler(), false, &impatient, &urgency, wait), Err(Closed), "it is bounded");
    assert_eq!(inbox.put_waiting(0, barrier(1), false, &impatient, &Urgency::default(), wait), Ok(()));
}
