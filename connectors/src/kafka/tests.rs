use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidemill_common::batch::Batch;
use tidemill_common::ids::{SplitId, SubtaskIndex};
use tidemill_common::types::{Field, LogicalType as L, Schema};
use tidemill_tests::services::Service;

use super::*;
use crate::api::SourcePoll;
use crate::testing::{connector_context, subtask_context};

fn table(options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "events".to_owned(),
        connector: IDENTIFIER.to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(vec![Field::new("id", L::BigInt.nullable()), Field::new("name", L::STRING.nullable())]),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn check(options: &[(&str, &str)]) -> String {
    let mut all = vec![("properties.bootstrap.servers", "127.0.0.1:1"), ("format", "json")];
    all.extend(options);
    let table = table(&all);
    let error = match Kafka.check_source(&table) {
        Ok(()) => Kafka.check_sink(&table).unwrap_err(),
        Err(error) => error,
    };
    error.message
}

#[test]
fn wrong_options_are_told_plainly() {
    assert_eq!(check(&[]), "connector 'kafka' needs the option 'topic' or 'topic-pattern'");
    assert_eq!(check(&[("topic", "a b")]), "option 'topic': 'a b' is no name of a topic");
    let group = "'scan.startup.mode' is 'group-offsets', which needs the option 'properties.group.id'";
    assert_eq!(check(&[("topic", "a")]), group);
    let mode = ("scan.startup.mode", "specific-offsets");
    let offsets = |text| check(&[("topic", "a"), mode, ("scan.startup.specific-offsets", text)]);
    assert!(offsets("partition:0;offset:1").contains("write 'partition:0;offset:1' as 'partition:0,offset:42;"));
    let start = ("scan.startup.mode", "earliest-offset");
    assert_eq!(
        check(&[("topic", "a"), start, ("properties.fetch.size", "1")]),
        "option 'properties.fetch.size' = '1': No such configuration property: \"fetch.size\""
    );
    assert!(
        check(&[("topic", "a"), start, ("properties.security.protocol", "SASL_SSL")]).contains("only PLAINTEXT is")
    );
    let exactly = ("sink.delivery-guarantee", "exactly-once");
    assert!(check(&[("topic", "a"), start, exactly]).starts_with("'exactly-once' needs the option"));
    let prefix = ("sink.transactional-id-prefix", "p");
    let commits = ("sink.commit-topic", "a");
    assert!(check(&[("topic", "a"), start, exactly, prefix, commits]).contains("not the one that is written to"));
    assert!(check(&[("topic", "a"), start, ("properties.transactional.id", "x")]).contains("transactional-id-prefix"));
    assert_eq!(check(&[("topic", "a;b"), start]), "a sink writes to one topic only");
    let error = Kafka.sink_changelog(&table(&[("topic", "a")]), ChangelogMode::Upsert).unwrap_err();
    assert!(error.message.contains("upsert-kafka"));
}

#[test]
fn a_cluster_that_is_not_there_is_named_and_cancelling_ends_the_wait() {
    let servers = ("properties.bootstrap.servers", "127.0.0.1:1");
    let table = table(&[servers, ("topic", "a"), ("scan.startup.mode", "earliest-offset"), ("format", "json")]);
    let context = connector_context();
    let cancelled = Arc::clone(&context.cancelled);
    let begin = Instant::now();
    let waiter = std::thread::spawn(move || Kafka.probe_source(&table, &context));
    std::thread::sleep(Duration::from_millis(300));
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(waiter.join().unwrap(), Err(ConnectorError::Cancelled)));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// A broker in this process, by librdkafka.
fn mock(
    topics: &[(&str, i32)],
) -> (rdkafka::mocking::MockCluster<'static, rdkafka::producer::DefaultProducerContext>, String) {
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1).unwrap();
    }
    let servers = cluster.bootstrap_servers();
    (cluster, servers)
}

fn produce(servers: &str, topic: &str, partition: i32, messages: impl Iterator<Item = Option<String>>) {
    let producer: BaseProducer = rdkafka::ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for message in messages {
        let mut record = BaseRecord::<(), str>::to(topic).partition(partition);
        if let Some(message) = &message {
            record = record.payload(message);
        }
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

struct Read {
    ids: Vec<i64>,
    finished: Vec<SplitId>,
}

/// Reads to the end with some readers; stops a reader after its first rows and goes on from its snapshot.
fn read(table: &TableSpec, parallelism: u32) -> Result<Read, ConnectorError> {
    Kafka.check_source(table).unwrap();
    Kafka.probe_source(table, &connector_context())?;
    let source = SourceSpec {
        table: table.clone(),
        projection: vec![0],
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Kafka.create_enumerator(&source, parallelism, &connector_context())?;
    enumerator.discover()?;
    let state = enumerator.snapshot()?;
    let mut enumerator = Kafka.create_enumerator(&source, parallelism, &connector_context())?;
    enumerator.restore(state)?;
    enumerator.discover()?;
    let mut all = Read { ids: Vec::new(), finished: Vec::new() };
    for subtask in 0..parallelism {
        let context = subtask_context(subtask, parallelism);
        let mut reader = Kafka.create_reader(&source, &context)?;
        reader.add_splits(enumerator.next_splits(SubtaskIndex(subtask)))?;
        assert!(enumerator.is_exhausted(SubtaskIndex(subtask)));
        let mut restarted = false;
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < Duration::from_secs(30), "the reader does not end");
            match reader.poll(Duration::from_millis(100))? {
                SourcePoll::Rows { records, .. } => {
                    all.ids.extend(records.column(0).as_primitive::<Int64Type>().values());
                    if !restarted {
                        restarted = true;
                        let state = reader.snapshot();
                        reader = Kafka.create_reader(&source, &context)?;
                        reader.add_splits(state)?;
                    }
                }
                SourcePoll::SplitFinished(split) => all.finished.push(split),
                SourcePoll::NoSplits => break,
                SourcePoll::Pending => {}
            }
        }
    }
    all.ids.sort_unstable();
    all.finished.sort();
    Ok(all)
}

fn bounded<'a>(servers: &'a str, options: &[(&'a str, &'a str)]) -> TableSpec {
    let mut all = vec![
        ("properties.bootstrap.servers", servers),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
        ("scan.bounded.mode", "latest-offset"),
    ];
    all.retain(|(key, _)| !options.iter().any(|(own, _)| own == key));
    all.extend(options);
    table(&all)
}

fn json(ids: std::ops::Range<i64>) -> impl Iterator<Item = Option<String>> {
    ids.map(|id| Some(format!(r#"{{"id":{id},"name":"name {id}"}}"#)))
}

#[test]
fn bounded_reads_end_and_go_on_from_snapshots() {
    let (_cluster, servers) = mock(&[("a", 3), ("empty", 2)]);
    for partition in 0..3 {
        let first = i64::from(partition) * 100_000;
        // Tombstones and empty messages are no records.
        let messages =
            json(first..first + 20_000).chain([None, Some(String::new())]).chain(json(first + 20_000..first + 20_001));
        produce(&servers, "a", partition, messages.chain([None]));
    }
    for parallelism in [1, 2] {
        let all = read(&bounded(&servers, &[("topic", "a;empty")]), parallelism).unwrap();
        assert_eq!(all.ids.len(), 60_003);
        let distinct: std::collections::BTreeSet<i64> = all.ids.iter().copied().collect();
        assert_eq!(distinct.len(), 60_003);
        assert_eq!(all.finished.len(), 5);
    }
    let some = read(
        &bounded(
            &servers,
            &[
                ("topic", "a"),
                ("scan.startup.mode", "specific-offsets"),
                (
                    "scan.startup.specific-offsets",
                    "partition:0,offset:100;partition:1,offset:20004;partition:2,offset:5",
                ),
                ("scan.bounded.mode", "specific-offsets"),
                ("scan.bounded.specific-offsets", "partition:0,offset:103;partition:2,offset:6"),
            ],
        ),
        2,
    )
    .unwrap();
    assert_eq!(some.ids, [100, 101, 102, 200_005]);
    let none = read(&bounded(&servers, &[("topic-pattern", "a"), ("scan.startup.mode", "latest-offset")]), 1).unwrap();
    assert_eq!((none.ids.len(), none.finished.len()), (0, 3));
}

/// Partitions appear while it is read, readers come and go: every row once, in order per partition.
#[test]
fn bug_26_no_partition_is_doubled_or_forgotten() {
    let (cluster, servers) = mock(&[("a", 2)]);
    let options = [
        ("properties.bootstrap.servers", servers.as_str()),
        ("topic-pattern", "a|b"),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
    ];
    for partition in 0..2 {
        produce(&servers, "a", partition, json(i64::from(partition) * 1000..i64::from(partition) * 1000 + 300));
    }
    let table = table(&options);
    let source = SourceSpec {
        table,
        projection: vec![0],
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let table = crate::restore_tests::Table { connector: &Kafka, source, rows: Some(900) };
    let mut told = 0;
    // Steps, checkpoints, one with an assignment in its midst, crashes, discovery.
    let actions = [4, 5, 12, 0, 4, 9, 3, 4, 2, 4, 11, 5, 1, 4, 18, 4, 3, 5, 0, 4, 4, 10, 6, 7, 1, 2, 4];
    let rows = crate::restore_tests::broken(&table, &actions, |_| {
        told += 1;
        if told == 6 {
            cluster.create_topic("b", 1, 1).unwrap();
            produce(&servers, "b", 0, json(2000..2300));
        }
    });
    let expected = [("a-0", 0), ("a-1", 1000), ("b-0", 2000)].map(|(split, first)| {
        let texts = (first..first + 300).map(|id| format!("+I[{id}]")).collect::<Vec<_>>();
        (SplitId(split.to_owned()), texts)
    });
    assert_eq!(rows, BTreeMap::from(expected));
}

#[test]
fn errors_name_topic_partition_and_offset() {
    let (_cluster, servers) = mock(&[("a", 1), ("web-events", 1)]);
    produce(&servers, "a", 0, json(0..3).chain([Some("{broken".to_owned())]).chain(json(4..5)));
    let error = read(&bounded(&servers, &[("topic", "a")]), 1).err().unwrap().to_string();
    assert!(error.contains("topic a, partition 0, offset 3"), "{error}");
    let all = read(&bounded(&servers, &[("topic", "a"), ("json.ignore-parse-errors", "true")]), 1).unwrap();
    assert_eq!(all.ids, [0, 1, 2, 4]);
    let start = [
        ("topic", "a"),
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:77"),
        ("scan.bounded.mode", "specific-offsets"),
        ("scan.bounded.specific-offsets", "partition:0,offset:99"),
    ];
    let error = read(&bounded(&servers, &start), 1).err().unwrap().to_string();
    assert!(error.contains("topic a, partition 0, offset 77") && error.contains("no such offset"), "{error}");
}

#[test]
fn paused_partitions_wait_and_new_messages_come() {
    let (_cluster, servers) = mock(&[("a", 2)]);
    let options = [("properties.bootstrap.servers", servers.as_str()), ("topic", "a"), ("format", "json")];
    let table = table(&[&options[..], &[("scan.startup.mode", "earliest-offset")]].concat());
    assert!(!Kafka.is_bounded(&table));
    let source = SourceSpec {
        table,
        projection: vec![0],
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Kafka.create_enumerator(&source, 1, &connector_context()).unwrap();
    enumerator.discover().unwrap();
    assert_eq!(enumerator.discovery_interval(), Some(Duration::from_secs(300)));
    let mut reader = Kafka.create_reader(&source, &subtask_context(0, 1)).unwrap();
    reader.add_splits(enumerator.next_splits(SubtaskIndex(0))).unwrap();
    assert!(!enumerator.is_exhausted(SubtaskIndex(0)));
    let wait_for = |count: usize, reader: &mut Box<dyn SourceReader>, patience: Duration| {
        let begin = Instant::now();
        let mut ids = Vec::new();
        while ids.len() < count && begin.elapsed() < patience {
            if let SourcePoll::Rows { records, .. } = reader.poll(Duration::from_millis(20)).unwrap() {
                ids.extend(records.column(0).as_primitive::<Int64Type>().values().to_vec());
            }
        }
        ids.sort_unstable();
        ids
    };
    produce(&servers, "a", 0, json(0..2));
    produce(&servers, "a", 1, json(10..12));
    assert_eq!(wait_for(4, &mut reader, Duration::from_secs(20)), [0, 1, 10, 11]);
    reader.set_paused(&SplitId("a-1".to_owned()), true);
    produce(&servers, "a", 1, json(12..14));
    produce(&servers, "a", 0, json(2..3));
    assert_eq!(wait_for(2, &mut reader, Duration::from_secs(3)), [2]);
    reader.set_paused(&SplitId("a-1".to_owned()), false);
    assert_eq!(wait_for(2, &mut reader, Duration::from_secs(20)), [12, 13]);
}

#[test]
fn what_is_written_can_be_read() {
    let (_cluster, servers) = mock(&[("out", 4)]);
    let rows = 10_000i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows)),
        Arc::new(StringArray::from_iter((0..rows).map(|id| (id % 10 > 0).then(|| format!("name {}", id % 7))))),
    ];
    let mut expected = 0;
    for options in [
        &[("sink.partitioner", "round-robin")][..],
        &[("key.format", "raw"), ("key.fields", "name"), ("value.fields-include", "EXCEPT_KEY")],
        &[("key.format", "json"), ("key.fields", "id;name"), ("sink.delivery-guarantee", "none")],
        &[("sink.partitioner", "fixed")],
    ] {
        let base = [("properties.bootstrap.servers", servers.as_str()), ("topic", "out"), ("format", "json")];
        // The mock broker knows no idempotence of several producers.
        let table = table(&[&base[..], options, &[("properties.enable.idempotence", "false")]].concat());
        Kafka.check_sink(&table).unwrap();
        Kafka.probe_sink(&table, &connector_context()).unwrap();
        let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::InsertOnly };
        let mut writer = Kafka.create_writer(&sink, &subtask_context(1, 2)).unwrap();
        let records = RecordBatch::try_new(table.schema.to_arrow(), columns.clone()).unwrap();
        writer.write(&Batch::insert(records)).unwrap();
        writer.flush().unwrap();
        writer.finish().unwrap();
        expected += rows as usize;
        assert_eq!(read(&bounded(&servers, &[("topic", "out")]), 2).unwrap().ids.len(), expected);
    }
}

#[test]
fn a_real_broker_does_the_same() {
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    kafka.run("topic", &["tidemill-test", "3"]).unwrap();
    let servers = kafka.address.clone();
    let topic = ("topic", "tidemill-test");
    let before = read(&bounded(&servers, &[topic]), 2).unwrap().ids.len();
    let table = table(&[
        ("properties.bootstrap.servers", &servers),
        topic,
        ("format", "json"),
        ("key.format", "raw"),
        ("key.fields", "name"),
    ]);
    let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::InsertOnly };
    let mut writer = Kafka.create_writer(&sink, &subtask_context(0, 1)).unwrap();
    let rows = 200_000i64;
    let begin = Instant::now();
    for first in (0..rows).step_by(8000) {
        let ids = first..(first + 8000).min(rows);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringArray::from_iter_values(ids.map(|id| format!("{id:0>150}")))),
        ];
        writer.write(&Batch::insert(RecordBatch::try_new(table.schema.to_arrow(), columns).unwrap())).unwrap();
    }
    writer.finish().unwrap();
    println!("wrote {rows} messages in {:?}", begin.elapsed());
    let begin = Instant::now();
    let all = read(&bounded(&servers, &[topic]), 2).unwrap();
    println!("read {} messages in {:?}", all.ids.len(), begin.elapsed());
    assert_eq!(all.ids.len(), before + rows as usize);
    assert_eq!(
        read(
            &bounded(&servers, &[topic, ("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "0")]),
            1
        )
        .unwrap()
        .ids
        .len(),
        before + rows as usize
    );
    let error = read(
        &bounded(&servers, &[topic, ("scan.startup.mode", "group-offsets"), ("properties.group.id", "nobody")]),
        1,
    );
    assert!(error.err().unwrap().to_string().contains("the consumer group 'nobody' has no offset for topic"));
    let error = read(&bounded(&servers, &[("topic", "tidemil-test")]), 1).err().unwrap().to_string();
    assert!(
        error.contains("topic 'tidemil-test' does not exist") && error.contains("did you mean 'tidemill-test'?"),
        "{error}"
    );
}

/// Not a test of a bound: reads topic `tidemill-test` of the broker in `TIDEMILL_TEST_KAFKA` with one
/// reader and tells the time.
#[test]
#[ignore = "measures"]
fn speed_of_reading() {
    let servers = std::env::var("TIDEMILL_TEST_KAFKA").unwrap();
    let table = bounded(&servers, &[("topic", "tidemill-test")]);
    let source = SourceSpec {
        table,
        projection: vec![0],
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Kafka.create_enumerator(&source, 1, &connector_context()).unwrap();
    let begin = Instant::now();
    enumerator.discover().unwrap();
    let mut reader = Kafka.create_reader(&source, &subtask_context(0, 1)).unwrap();
    reader.add_splits(enumerator.next_splits(SubtaskIndex(0))).unwrap();
    println!("started after {:?}", begin.elapsed());
    let mut rows = 0;
    loop {
        match reader.poll(Duration::from_millis(100)).unwrap() {
            SourcePoll::Rows { records, .. } => rows += records.num_rows(),
            SourcePoll::NoSplits => break,
            _ => {}
        }
    }
    println!("{rows} rows after {:?}", begin.elapsed());
    drop(reader);
    println!("closed after {:?}", begin.elapsed());
}
