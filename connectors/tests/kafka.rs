//! The Kafka sink and source against a real broker: each result once, whatever dies when.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use arrow::util::display::array_value_to_string;
use common::{SINK, connector_context, context, epoch, rows, table};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tidemill_common::connector::MetadataSpec;
use tidemill_common::ids::{CheckpointId, SubtaskIndex};
use tidemill_common::plan::{ChangelogMode, MetadataColumn, SinkSpec, SourceSpec};
use tidemill_connectors::api::{Connector, ConnectorError, PreparedEpoch, SinkWriter, SourcePoll, SourceReader, Split};
use tidemill_connectors::kafka::Kafka;
use tidemill_tests::services::Service;

/// How long a read may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

type Check = fn(&Broker);

struct Broker(Service);

impl Broker {
    fn sink(&self, topic: &str, options: &[(&str, &str)]) -> SinkSpec {
        let mut all = vec![
            ("properties.bootstrap.servers", self.0.address.as_str()),
            ("topic", topic),
            ("format", "json"),
            ("sink.delivery-guarantee", "exactly-once"),
            ("sink.transactional-id-prefix", "tests"),
        ];
        all.retain(|(key, _)| !options.iter().any(|(own, _)| own == key));
        all.extend(options);
        let sink = SinkSpec { table: table("kafka", &all, vec![]), changelog: ChangelogMode::InsertOnly };
        Kafka.check_sink(&sink.table).unwrap();
        sink
    }

    fn writer(
        &self,
        topic: &str,
        options: &[(&str, &str)],
        (job, attempt, subtask): (&str, u32, u32),
    ) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        Kafka.create_writer(&self.sink(topic, options), &context(job, attempt, subtask))
    }

    fn exactly_once(&self, topic: &str, of: (&str, u32, u32)) -> Box<dyn SinkWriter> {
        self.writer(topic, &[], of).unwrap()
    }

    fn source(&self, topic: &str, options: &[(&str, &str)]) -> SourceSpec {
        let mut all = vec![
            ("properties.bootstrap.servers", self.0.address.as_str()),
            ("topic", topic),
            ("format", "json"),
            ("scan.startup.mode", "earliest-offset"),
            ("scan.bounded.mode", "latest-offset"),
            ("properties.isolation.level", "read_committed"),
        ];
        all.retain(|(key, _)| !options.iter().any(|(own, _)| own == key));
        all.extend(options);
        let table = table("kafka", &all, vec![]);
        Kafka.check_source(&table).unwrap();
        SourceSpec {
            table,
            projection: vec![0],
            computed: Vec::new(),
            watermark: None,
            metadata: Vec::new(),
            partition_filter: None,
        }
    }

    fn splits(&self, source: &SourceSpec) -> Vec<Split> {
        let mut enumerator = Kafka.create_enumerator(source, 1, &connector_context()).unwrap();
        enumerator.discover().unwrap();
        enumerator.next_splits(SubtaskIndex(0))
    }

    /// The ids that a read_committed reader sees, in order (of the one partition); `each` sees the reader
    /// after each batch and may replace it.
    fn read(&self, source: &SourceSpec, mut each: impl FnMut(&mut Box<dyn SourceReader>)) -> Vec<i64> {
        let mut reader = self.reader(source, self.splits(source));
        let mut ids = Vec::new();
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "the reader does not end");
            match reader.poll(Duration::from_millis(100)).unwrap() {
                SourcePoll::Rows { records, .. } => {
                    ids.extend(records.column(0).as_primitive::<Int64Type>().values());
                    each(&mut reader);
                }
                SourcePoll::NoSplits => return ids,
                _ => {}
            }
        }
    }

    fn reader(&self, source: &SourceSpec, splits: Vec<Split>) -> Box<dyn SourceReader> {
        let mut reader = Kafka.create_reader(source, &context("reader", 1, 0)).unwrap();
        reader.add_splits(splits).unwrap();
        reader
    }

    fn committed(&self, topic: &str) -> Vec<i64> {
        self.read(&self.source(topic, &[]), |_| ())
    }

    /// A read_committed reader sees just these ids. The end of a transaction is answered before its markers
    /// are in all partitions, so that the last rows may come a moment later.
    fn assert_committed(&self, topic: &str, expected: &[i64], when: &str) {
        let begun = Instant::now();
        let mut found = self.committed(topic);
        while found.len() < expected.len() && expected.starts_with(&found) && begun.elapsed() < PATIENCE {
            found = self.committed(topic);
        }
        let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
        let counts = (found.len(), expected.len());
        assert!(found == expected, "{topic} {when}: {counts:?} ids, different from the {same}th on");
    }

    /// A producer like that of a subtask of an earlier attempt.
    fn raw(
        &self,
        transactional_id: &str,
        options: &[(&str, &str)],
    ) -> ThreadedProducer<rdkafka::producer::DefaultProducerContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.0.address).set("transactional.id", transactional_id);
        for (key, value) in options {
            config.set(*key, *value);
        }
        let producer: ThreadedProducer<_> = config.create().unwrap();
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer
    }

    fn topic(&self, name: &str) {
        self.0.run("topic", &[name, "1"]).unwrap();
    }

    fn restart(&self) {
        let port = self.0.address.rsplit_once(':').unwrap().1.to_owned();
        self.0.run("start", &[&port]).unwrap();
    }
}

fn send(producer: &ThreadedProducer<rdkafka::producer::DefaultProducerContext>, topic: &str, value: &str) {
    producer.send(BaseRecord::to(topic).partition(0).key("key").payload(value)).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
}

fn prepare(writer: &mut dyn SinkWriter, job: &str, subtask: u32, checkpoint: u64) -> Vec<PreparedEpoch> {
    epoch(job, subtask, checkpoint, writer.prepare_commit(CheckpointId(checkpoint)).unwrap())
}

fn is_fenced(result: &Result<(), ConnectorError>) -> bool {
    matches!(result, Err(ConnectorError::Fenced { .. }))
}

/// One broker serves all, as it takes seconds to start.
#[test]
fn kafka() {
    let Some(service) = Service::start("kafka.sh").unwrap() else { return };
    let broker = Broker(service);
    let checks: [(&str, Check); 15] = [
        ("metadata of messages", metadata_of_messages),
        ("published with checkpoints", published_with_checkpoints),
        ("bug 13", bug_13_transactional_ids_do_not_clash),
        ("bug 14", bug_14_a_zombie_commits_nothing),
        ("an open transaction of a zombie", an_open_transaction_of_a_zombie_is_ended),
        ("bug 16", bug_16_commits_may_be_lost_or_come_late),
        ("bug 17", bug_17_published_once_wherever_an_attempt_dies),
        ("markers behind an open transaction", markers_behind_an_open_transaction_are_waited_for),
        ("a commit topic that forgets", a_commit_topic_that_forgets_is_refused),
        ("positions among control records", positions_among_control_records_are_exact),
        ("group offsets", group_offsets_follow_checkpoints),
        ("the backlog", the_backlog_is_what_has_not_been_read),
        ("a broker that stands still", a_broker_that_stands_still_for_a_moment_is_waited_for),
        ("bug 15", bug_15_a_transaction_that_times_out_fails_and_loses_nothing),
        ("bug 18", bug_18_a_broker_that_is_down_fails_the_flush),
    ];
    for (name, check) in checks {
        let begun = Instant::now();
        check(&broker);
        println!("{name}: {:?}", begun.elapsed());
    }
}

fn metadata_of_messages(broker: &Broker) {
    broker.topic("metadata");
    let producer = broker.raw("metadata", &[]);
    producer.begin_transaction().unwrap();
    for (id, time) in [("{\"id\":1}", 1_000), ("no json", 2_000), ("{\"id\":3}", 3_000)] {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "a", value: Some("first") })
            .insert(Header { key: "b", value: Some(id) })
            .insert(Header { key: "a", value: Some("last") });
        let record = BaseRecord::to("metadata").partition(0).key("k").payload(id).timestamp(time).headers(headers);
        producer.send(record).unwrap();
    }
    producer.commit_transaction(Duration::from_secs(20)).unwrap();
    let mut source = broker.source("metadata", &[("json.ignore-parse-errors", "true")]);
    let column = |spec: &MetadataSpec| MetadataColumn { key: spec.key.to_owned(), data_type: (spec.data_type)() };
    source.metadata = Kafka.metadata().iter().map(column).collect();
    let mut reader = broker.reader(&source, broker.splits(&source));
    let mut found = Vec::new();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the reader does not end");
        match reader.poll(Duration::from_millis(100)).unwrap() {
            SourcePoll::Rows { records, .. } => {
                for row in 0..records.num_rows() {
                    let times = records.column(6).as_primitive::<TimestampMillisecondType>();
                    let cell = |column: usize| match column {
                        6 => times.value(row).to_string(),
                        column => array_value_to_string(records.column(column), row).unwrap(),
                    };
                    // The leader epoch is the broker's affair.
                    found.push([0, 1, 2, 3, 5, 6, 7].map(cell).join(" "));
                }
            }
            SourcePoll::NoSplits => break,
            _ => {}
        }
    }
    // The message in between was skipped, and its metadata with it.
    let headers = |id: &str| {
        let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{{a: 6c617374, b: {hex}}}")
    };
    let expected = [("1", 0, 1_000), ("3", 2, 3_000)].map(|(id, offset, time)| {
        format!("{id} metadata 0 {} {offset} {time} CreateTime", headers(&format!("{{\"id\":{id}}}")))
    });
    assert_eq!(found, expected);
}

fn published_with_checkpoints(broker: &Broker) {
    broker.topic("plain");
    let mut writer = broker.exactly_once("plain", ("jp", 1, 0));
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows(0..10_000, "a")).unwrap();
    prepare(writer.as_mut(), "jp", 0, 1);
    writer.write(&rows(10_000..10_010, "b")).unwrap();
    assert!(broker.committed("plain").is_empty());
    writer.commit(CheckpointId(1)).unwrap();
    broker.assert_committed("plain", &(0..10_000).collect::<Vec<_>>(), "");
    // The tail, after the end of the input.
    writer.finish().unwrap();
    prepare(writer.as_mut(), "jp", 0, 2);
    writer.commit(CheckpointId(2)).unwrap();
    broker.assert_committed("plain", &(0..10_010).collect::<Vec<_>>(), "");
}

fn bug_13_transactional_ids_do_not_clash(broker: &Broker) {
    broker.topic("clash");
    let mut writers = Vec::new();
    let mut epochs = Vec::new();
    // Two jobs with one prefix, one of them with two subtasks, all at once.
    for (job, subtask) in [("jc1", 0), ("jc1", 1), ("jc2", 0)] {
        let mut writer = broker.exactly_once("clash", (job, 1, subtask));
        writer.recover(Vec::new()).unwrap();
        let first = 100 * writers.len() as i64;
        writer.write(&rows(first..first + 2, "a")).unwrap();
        epochs.push(prepare(writer.as_mut(), job, subtask, 1));
        writers.push(writer);
    }
    writers[2].commit(CheckpointId(1)).unwrap();
    writers[0].commit(CheckpointId(1)).unwrap();
    // jc1 comes back with one subtask, which publishes for both.
    let both = [epochs[1].clone(), epochs[0].clone()].concat();
    let mut one = broker.exactly_once("clash", ("jc1", 2, 0));
    one.recover(both.clone()).unwrap();
    one.write(&rows(2..4, "a")).unwrap();
    prepare(one.as_mut(), "jc1", 0, 2);
    one.commit(CheckpointId(2)).unwrap();
    // The other job goes on as if nothing had been.
    writers[2].write(&rows(202..204, "a")).unwrap();
    prepare(writers[2].as_mut(), "jc2", 0, 2);
    writers[2].commit(CheckpointId(2)).unwrap();
    // A fork of jc1's checkpoint finds everything published and disturbs nobody.
    broker.exactly_once("clash", ("jc3", 1, 0)).recover(both).unwrap();
    one.write(&rows(4..5, "a")).unwrap();
    prepare(one.as_mut(), "jc1", 0, 3);
    one.commit(CheckpointId(3)).unwrap();
    let mut ids = broker.committed("clash");
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4, 100, 101, 200, 201, 202, 203]);
}

fn bug_14_a_zombie_commits_nothing(broker: &Broker) {
    broker.topic("zombie");
    let mut zombie = broker.exactly_once("zombie", ("jz", 1, 0));
    zombie.recover(Vec::new()).unwrap();
    zombie.write(&rows(0..2, "a")).unwrap();
    let epochs = prepare(zombie.as_mut(), "jz", 0, 1);
    zombie.write(&rows(2..4, "zombie")).unwrap();
    zombie.prepare_commit(CheckpointId(2)).unwrap();
    let mut writer = broker.exactly_once("zombie", ("jz", 2, 0));
    writer.recover(epochs.clone()).unwrap();
    writer.write(&rows(2..4, "b")).unwrap();
    prepare(writer.as_mut(), "jz", 0, 3);
    let told = zombie.commit(CheckpointId(2));
    assert!(is_fenced(&told), "{told:?}");
    writer.commit(CheckpointId(3)).unwrap();
    broker.assert_committed("zombie", &[0, 1, 2, 3], "");
    // One that only starts now is late.
    let late = broker.exactly_once("zombie", ("jz", 1, 0)).recover(epochs);
    assert!(is_fenced(&late), "{late:?}");
    broker.assert_committed("zombie", &[0, 1, 2, 3], "");
}

fn an_open_transaction_of_a_zombie_is_ended(broker: &Broker) {
    broker.topic("open");
    let mut first = broker.exactly_once("open", ("jo", 1, 0));
    first.recover(Vec::new()).unwrap();
    first.write(&rows(0..3, "a")).unwrap();
    let epochs = prepare(first.as_mut(), "jo", 0, 1);
    // It is frozen while it publishes.
    let zombie = broker.raw(&format!("tests-jo-{SINK}-0"), &[]);
    zombie.begin_transaction().unwrap();
    send(&zombie, "open", "{\"id\":0}");
    let mut writer = broker.exactly_once("open", ("jo", 2, 0));
    writer.recover(epochs).unwrap();
    zombie.commit_transaction(Duration::from_secs(20)).unwrap_err();
    broker.assert_committed("open", &[0, 1, 2], "");
}

fn bug_16_commits_may_be_lost_or_come_late(broker: &Broker) {
    broker.topic("late");
    let mut writer = broker.exactly_once("late", ("jl", 1, 0));
    for checkpoint in 1..=3 {
        writer.write(&rows(checkpoint * 10..checkpoint * 10 + 2, "a")).unwrap();
        prepare(writer.as_mut(), "jl", 0, checkpoint as u64);
    }
    assert_eq!(writer.prepare_commit(CheckpointId(4)).unwrap(), None);
    writer.commit(CheckpointId(2)).unwrap();
    writer.commit(CheckpointId(1)).unwrap();
    broker.assert_committed("late", &[10, 11, 20, 21], "");
    for _ in 0..2 {
        writer.commit(CheckpointId(4)).unwrap();
        broker.assert_committed("late", &[10, 11, 20, 21, 30, 31], "");
    }
}

/// Ends an attempt after each of its steps; the next one starts from the newest complete checkpoint and
/// writes again what that does not hold.
fn bug_17_published_once_wherever_an_attempt_dies(broker: &Broker) {
    for died_after in [0, 3, 4, 5, 7, 8] {
        let topic = format!("dies-{died_after}");
        let job = format!("jd{died_after}");
        broker.topic(&topic);
        let mut writer = broker.exactly_once(&topic, (&job, 1, 0));
        writer.recover(Vec::new()).unwrap();
        let mut restart: (Vec<PreparedEpoch>, i64) = (Vec::new(), 0);
        let mut first = Vec::new();
        for step in 0..=died_after {
            match step {
                0 => writer.write(&rows(0..5, "a")).unwrap(),
                1 => first = prepare(writer.as_mut(), &job, 0, 1),
                2 => writer.write(&rows(5..8, "a")).unwrap(),
                3 => restart = (first.clone(), 5),
                4 => writer.commit(CheckpointId(1)).unwrap(),
                5 => first = [first, prepare(writer.as_mut(), &job, 0, 2)].concat(),
                6 => writer.write(&rows(8..9, "a")).unwrap(),
                7 => restart = (first.clone(), 8),
                // Committed, and the answer lost: the checkpoint still holds the messages.
                _ => writer.commit(CheckpointId(2)).unwrap(),
            }
        }
        // It stays, frozen, as a zombie.
        std::mem::forget(writer);
        for attempt in [2, 3] {
            let mut writer = broker.exactly_once(&topic, (&job, attempt, 0));
            writer.recover(restart.0.clone()).unwrap();
            let published: Vec<i64> = (0..restart.1).collect();
            broker.assert_committed(&topic, &published, &format!("attempt {attempt} after step {died_after}"));
            writer.write(&rows(restart.1..10, "b")).unwrap();
            if attempt == 3 {
                writer.finish().unwrap();
                prepare(writer.as_mut(), &job, 0, 9);
                writer.commit(CheckpointId(9)).unwrap();
            }
        }
        broker.assert_committed(&topic, &(0..10).collect::<Vec<_>>(), &format!("after step {died_after}"));
    }
}

/// Messages after the first of an open transaction are not given out: whoever stopped there would not
/// see its own marker, and publish again.
fn markers_behind_an_open_transaction_are_waited_for(broker: &Broker) {
    broker.topic("behind");
    let mut writer = broker.exactly_once("behind", ("jb", 1, 0));
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows(0..3, "a")).unwrap();
    let epochs = prepare(writer.as_mut(), "jb", 0, 1);
    let other = broker.raw("somebody else", &[]);
    other.begin_transaction().unwrap();
    let marker = "{\"job\":\"jx\",\"sink\":\"s\",\"subtask\":0,\"checkpoint\":7,\"attempt\":1}";
    send(&other, "tidemill-commits", marker);
    writer.commit(CheckpointId(1)).unwrap();
    let wait = Duration::from_secs(2);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(wait);
            other.commit_transaction(Duration::from_secs(20)).unwrap();
        });
        broker.exactly_once("behind", ("jb", 2, 0)).recover(epochs).unwrap();
    });
    assert!(begun.elapsed() >= wait);
    broker.assert_committed("behind", &[0, 1, 2], "");
}

fn a_commit_topic_that_forgets_is_refused(broker: &Broker) {
    broker.topic("forgets?cleanup.policy=delete");
    let sink = broker.sink("plain", &[("sink.commit-topic", "forgets")]);
    let error = Kafka.probe_sink(&sink.table, &connector_context()).unwrap_err().to_string();
    assert!(error.contains("cleanup.policy 'delete' and would forget them"), "{error}");
    // As it is created, it does.
    Kafka.probe_sink(&broker.sink("plain", &[]).table, &connector_context()).unwrap();
}

/// Read in many small pieces, each by a new reader that goes on from a snapshot.
fn positions_among_control_records_are_exact(broker: &Broker) {
    broker.topic("control");
    let producer = broker.raw("control", &[]);
    for id in 0..30 {
        producer.begin_transaction().unwrap();
        send(&producer, "control", &format!("{{\"id\":{id}}}"));
        if id % 3 == 2 {
            producer.abort_transaction(Duration::from_secs(20)).unwrap();
        } else {
            producer.commit_transaction(Duration::from_secs(20)).unwrap();
        }
    }
    let expected: Vec<i64> = (0..30).filter(|id| id % 3 != 2).collect();
    broker.assert_committed("control", &expected, "");
    let source = broker.source("control", &[("scan.bounded.mode", "unbounded")]);
    let mut splits = broker.splits(&source);
    let mut ids: Vec<i64> = Vec::new();
    let begun = Instant::now();
    while ids.len() < expected.len() {
        assert!(begun.elapsed() < PATIENCE, "{ids:?}");
        let mut reader = broker.reader(&source, splits);
        for _ in 0..3 {
            if let SourcePoll::Rows { records, .. } = reader.poll(Duration::from_millis(200)).unwrap() {
                ids.extend(records.column(0).as_primitive::<Int64Type>().values());
            }
        }
        splits = reader.snapshot();
    }
    assert_eq!(ids, expected);
    // A bounded read from any position ends, also where nothing but control records is left.
    let bounded = broker.source("control", &[]);
    let stop = broker.splits(&bounded).remove(0).state["stop"].as_i64().unwrap();
    for offset in (0..=stop).rev().take(7) {
        let mut split = broker.splits(&bounded).remove(0);
        split.state["offset"] = offset.into();
        let mut reader = broker.reader(&bounded, vec![split]);
        let begun = Instant::now();
        while !matches!(reader.poll(Duration::from_millis(50)).unwrap(), SourcePoll::NoSplits) {
            assert!(begun.elapsed() < PATIENCE, "no end from offset {offset}");
        }
    }
}

fn group_offsets_follow_checkpoints(broker: &Broker) {
    broker.topic("grouped");
    let mut writer = broker.exactly_once("grouped", ("jg", 1, 0));
    writer.write(&rows(0..100, "a")).unwrap();
    prepare(writer.as_mut(), "jg", 0, 1);
    writer.commit(CheckpointId(1)).unwrap();
    let group = ("properties.group.id", "readers");
    let source = broker.source("grouped", &[group, ("scan.bounded.mode", "unbounded")]);
    let mut reader = broker.reader(&source, broker.splits(&source));
    let begun = Instant::now();
    while !matches!(reader.poll(Duration::from_millis(50)).unwrap(), SourcePoll::Rows { .. }) {
        assert!(begun.elapsed() < PATIENCE);
    }
    let mut positions = reader.snapshot();
    positions[0].state["offset"] = 60.into();
    reader.checkpoint_complete(&positions);
    let from_group = broker.source("grouped", &[group, ("scan.startup.mode", "group-offsets")]);
    loop {
        let _ = reader.poll(Duration::from_millis(50)).unwrap();
        let mut enumerator = Kafka.create_enumerator(&from_group, 1, &connector_context()).unwrap();
        // Until the commit has come through, the group has no offset.
        if enumerator.discover().is_ok() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(broker.read(&from_group, |_| ()), (60..100).collect::<Vec<_>>());
}

fn the_backlog_is_what_has_not_been_read(broker: &Broker) {
    broker.topic("backlog");
    let mut writer = broker.exactly_once("backlog", ("jback", 1, 0));
    writer.write(&rows(0..100, "a")).unwrap();
    prepare(writer.as_mut(), "jback", 0, 1);
    writer.commit(CheckpointId(1)).unwrap();
    let source = broker.source("backlog", &[("scan.bounded.mode", "unbounded")]);
    let context = context("reader", 1, 0);
    let lag = || context.metrics.records_lag.load(Ordering::Relaxed);
    context.metrics.records_lag.store(u64::MAX, Ordering::Relaxed);
    let mut reader = Kafka.create_reader(&source, &context).unwrap();
    let splits = broker.splits(&source);
    let split = splits[0].id.clone();
    reader.add_splits(splits).unwrap();
    reader.set_paused(&split, true);
    let begun = Instant::now();
    // The marker at the end of the transaction has an offset, too.
    while lag() != 101 {
        assert!(matches!(reader.poll(Duration::from_millis(50)).unwrap(), SourcePoll::Pending));
        assert!(begun.elapsed() < PATIENCE, "{}", lag());
    }
    reader.set_paused(&split, false);
    while lag() > 1 {
        reader.poll(Duration::from_millis(50)).unwrap();
        assert!(begun.elapsed() < PATIENCE, "{}", lag());
    }
}

/// A request that is not answered at once is asked again, whatever stage the transaction is in.
fn a_broker_that_stands_still_for_a_moment_is_waited_for(broker: &Broker) {
    broker.topic("still");
    let mut writer = broker.exactly_once("still", ("ji", 1, 0));
    writer.recover(Vec::new()).unwrap();
    for checkpoint in 1..=5 {
        writer.write(&rows(checkpoint * 10..checkpoint * 10 + 10, "a")).unwrap();
        prepare(writer.as_mut(), "ji", 0, checkpoint as u64);
        std::thread::scope(|scope| {
            let commit = scope.spawn(|| writer.commit(CheckpointId(checkpoint as u64)));
            std::thread::sleep(Duration::from_millis(checkpoint as u64 * 4));
            broker.0.run("freeze", &[]).unwrap();
            std::thread::sleep(Duration::from_millis(1200));
            broker.0.run("thaw", &[]).unwrap();
            commit.join().unwrap().unwrap();
        });
    }
    broker.assert_committed("still", &(10..60).collect::<Vec<_>>(), "");
}

/// The broker stands still for longer than a transaction may take, in the midst of it.
fn bug_15_a_transaction_that_times_out_fails_and_loses_nothing(broker: &Broker) {
    broker.topic("slow");
    let timeout = [("properties.transaction.timeout.ms", "1500"), ("properties.socket.timeout.ms", "1000")];
    let mut writer = broker.writer("slow", &timeout, ("js", 1, 0)).unwrap();
    writer.recover(Vec::new()).unwrap();
    let name = "x".repeat(300);
    for first in (0..200_000).step_by(8_000) {
        writer.write(&rows(first..first + 8_000, &name)).unwrap();
    }
    let epochs = prepare(writer.as_mut(), "js", 0, 1);
    let told = std::thread::scope(|scope| {
        let commit = scope.spawn(|| writer.commit(CheckpointId(1)));
        std::thread::sleep(Duration::from_millis(100));
        broker.0.run("freeze", &[]).unwrap();
        std::thread::sleep(Duration::from_secs(4));
        broker.0.run("thaw", &[]).unwrap();
        commit.join().unwrap()
    });
    let error = told.unwrap_err().to_string();
    assert!(error.contains("a transaction took longer than 1500 ms"), "{error}");
    let mut writer = broker.writer("slow", &[], ("js", 2, 0)).unwrap();
    writer.recover(epochs).unwrap();
    broker.assert_committed("slow", &(0..200_000).collect::<Vec<_>>(), "");
}

fn bug_18_a_broker_that_is_down_fails_the_flush(broker: &Broker) {
    broker.topic("down");
    let options = [("sink.delivery-guarantee", "at-least-once"), ("properties.delivery.timeout.ms", "3000")];
    let mut at_least_once = broker.writer("down", &options, ("jw", 1, 0)).unwrap();
    at_least_once.write(&rows(0..10, "a")).unwrap();
    at_least_once.flush().unwrap();
    let patience = [("properties.delivery.timeout.ms", "3000"), ("properties.transaction.timeout.ms", "8000")];
    let mut exactly_once = broker.writer("down", &patience, ("jx", 1, 0)).unwrap();
    exactly_once.recover(Vec::new()).unwrap();
    exactly_once.write(&rows(100..110, "a")).unwrap();
    let epochs = prepare(exactly_once.as_mut(), "jx", 0, 1);
    broker.0.run("kill", &[]).unwrap();
    at_least_once.write(&rows(10..20, "a")).unwrap();
    let begun = Instant::now();
    let told = at_least_once.prepare_commit(CheckpointId(1)).unwrap_err().to_string();
    assert!(told.contains("did not take a message") && told.contains("topic down, partition"), "{told}");
    let told = exactly_once.commit(CheckpointId(1)).unwrap_err().to_string();
    println!("told after {:?}: {told}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(40));
    broker.restart();
    let mut again = broker.exactly_once("down", ("jx", 2, 0));
    again.recover(epochs).unwrap();
    let ids = broker.committed("down");
    assert_eq!(ids.iter().filter(|id| **id >= 100).copied().collect::<Vec<_>>(), (100..110).collect::<Vec<_>>());
}

/// Not a test of a bound: what staging costs.
#[test]
#[ignore = "measures"]
fn speed_of_publishing() {
    let Some(service) = Service::start("kafka.sh").unwrap() else { return };
    let broker = Broker(service);
    let (count, name) = (1_000_000, "x".repeat(180));
    for (topic, guarantee) in [("at-least", "at-least-once"), ("exactly", "exactly-once")] {
        broker.topic(topic);
        let mut writer = broker.writer(topic, &[("sink.delivery-guarantee", guarantee)], ("m", 1, 0)).unwrap();
        let begun = Instant::now();
        writer.recover(Vec::new()).unwrap();
        println!("{guarantee}: recovered in {:?}", begun.elapsed());
        let begun = Instant::now();
        let mut commits = Duration::ZERO;
        for epoch in 0..10 {
            for first in (0..count / 10).step_by(8_000) {
                writer.write(&rows(first..(first + 8_000).min(count / 10), &name)).unwrap();
            }
            writer.prepare_commit(CheckpointId(epoch + 1)).unwrap();
            let commit = Instant::now();
            writer.commit(CheckpointId(epoch + 1)).unwrap();
            commits += commit.elapsed();
        }
        println!(
            "{guarantee}: {count} messages in 10 checkpoints in {:?}, of it in commit {commits:?}",
            begun.elapsed()
        );
    }
}
