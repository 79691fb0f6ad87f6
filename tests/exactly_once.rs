//! Kill anything, at any time, and the answer is the same: real processes, real kills, and the output
//! compared with that of a run without faults.
//!
//! `TIDEMILL_CHAOS_FAULTS` is how many faults are to land in each test (a few unless set),
//! `TIDEMILL_CHAOS_SEED` their order; with `TIDEMILL_CHAOS_PLACES=1` processes also die at named places, as
//! those do that were built with the feature `faults`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME};
use tidemill_state::storage::checksum;
use tidemill_tests::chaos::{Chaos, Fault, HEARTBEAT_TIMEOUT, Told};
use tidemill_tests::cluster::Cluster;
use tidemill_tests::fault_proxy::FaultProxy;
use tidemill_tests::jobs::{rows, submit, wait_for, wait_for_checkpoints};
use tidemill_tests::services::Service;

/// Events a second, by the clock and in event time.
const RATE: u64 = 20_000;
/// How long a fault may take, at the most on average.
const SECONDS_PER_FAULT: u64 = 10;
/// How long the output may take after the last fault.
const GRACE: Duration = Duration::from_secs(120);

/// Windows over keyed bids, of which each result row is written once. `limited` says whether events
/// come by the clock.
fn script(directory: &Path, store: &str, events: u64, limited: bool) -> String {
    let place = directory.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = '{store}';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
CREATE TABLE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '1' SECOND
) WITH (
    'connector' = 'nexmark', 'nexmark.table' = 'bid', 'events.num' = '{events}',
    'first-event.rate' = '{RATE}', 'rate.limited' = '{limited}', 'nexmark.disorder' = '500 ms'
);
CREATE TABLE per_auction (auction BIGINT, ends TIMESTAMP(3), bids BIGINT, bidders BIGINT, total BIGINT)
    WITH ('connector' = 'filesystem', 'path' = '{place}/per_auction', 'format' = 'json');
CREATE TABLE sessions (bidder BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3), bids BIGINT)
    WITH ('connector' = 'filesystem', 'path' = '{place}/sessions', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO per_auction
    SELECT auction, window_end, COUNT(*), COUNT(DISTINCT bidder), SUM(price)
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND))
    GROUP BY auction, window_start, window_end;
INSERT INTO sessions
    SELECT bidder, window_start, window_end, COUNT(*)
    FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND))
    GROUP BY bidder, window_start, window_end;
END;
"
    )
}

/// Fails with the first differences, if there are any.
fn assert_same(what: &str, expected: &BTreeMap<String, usize>, found: &BTreeMap<String, usize>, context: &str) {
    let differs = |row: &&String| expected.get(*row) != found.get(*row);
    let all: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let wrong: Vec<_> = all.into_iter().filter(differs).collect();
    let shown: Vec<_> = wrong
        .iter()
        .take(10)
        .map(|row| {
            format!("{row}: {:?} times, not {:?}", found.get(*row).unwrap_or(&0), expected.get(*row).unwrap_or(&0))
        })
        .collect();
    assert!(wrong.is_empty(), "{what}: {} rows are wrong\n{}\n{context}", wrong.len(), shown.join("\n"));
    assert!(!expected.is_empty(), "{what}: there is nothing to compare");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Of the rows of a run to the end those whose windows a stop has let fire: with `ends` up to the last
/// that is found. Watermarks come before the barrier on every channel or behind it, so that all subtasks
/// have fired the same windows.
fn up_to_the_last_of(found: &BTreeMap<String, usize>, all: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let ends = |row: &String| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["ends"].as_str().unwrap().to_owned()
    };
    let last = found.keys().map(ends).max().unwrap_or_default();
    all.into_iter().filter(|(row, _)| ends(row) <= last).collect()
}

/// Runs the job under faults, its checkpoints kept in `store` (or in a directory of its own), stops it
/// when they have landed, and compares its output with that of a run without faults.
fn chaos(what: &str, mut cluster: Cluster, mut chaos: Chaos, faults: u64, store: Option<&str>) {
    // It is stopped before it comes to its end.
    let events = RATE * (faults * SECONDS_PER_FAULT + 20);
    let place = cluster.directory().join("job");
    std::fs::create_dir(&place).unwrap();
    let begun = Instant::now();
    let store = store.map_or_else(|| format!("file://{}/checkpoints", place.display()), str::to_owned);
    let job = submit(&cluster, &script(&place, &store, events, true), &["--parallelism", "2"]);
    while chaos.landed() < faults {
        let pause = chaos.pause(Duration::from_millis(700));
        std::thread::sleep(pause);
        let injected = chaos.inject(&mut cluster, &job);
        assert!(injected.is_ok(), "{what}: {}\n{}", injected.unwrap_err(), cluster.logs());
        let told = Told::of(&cluster, &job);
        assert!(!told.has_ended(), "{what}: the job is {} too early\n{}", told.state, cluster.logs());
    }
    let written = |table: &str| rows(&place.join(table)).len();
    let before = ["per_auction", "sessions"].map(|table| (table, written(table)));
    wait_for(&cluster, "writing after the last fault", || {
        before.iter().all(|(table, before)| written(table) > *before).then_some(())
    });
    let savepoints = place.join("savepoints").display().to_string();
    let stopping = Instant::now();
    loop {
        let stopped = cluster.run("stop", &[&job, "--savepoint", &savepoints]).unwrap();
        if stopped.status.success() {
            break;
        }
        // A store that fails may fail the savepoint; the job goes on, and is asked again.
        let told = Told::of(&cluster, &job);
        if told.state == "FINISHED" {
            break;
        }
        let error = String::from_utf8_lossy(&stopped.stderr).into_owned();
        assert!(!told.has_ended() && stopping.elapsed() < GRACE, "{what}: {error}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(500));
    }
    chaos.report(what, begun);

    assert_exact(what, &cluster, &place, events);
}

/// Compares what a job has written, up to the last window, with the output of a run without faults.
fn assert_exact(what: &str, cluster: &Cluster, place: &Path, events: u64) {
    let oracle = tempfile::tempdir().unwrap();
    let file = oracle.path().join("job.sql");
    let store = format!("file://{}/checkpoints", oracle.path().display());
    std::fs::write(&file, script(oracle.path(), &store, events, false)).unwrap();
    let run = tidemill_tests::tidemill().unwrap().arg("run").arg(&file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for table in ["per_auction", "sessions"] {
        let found = rows(&place.join(table));
        let expected = up_to_the_last_of(&found, rows(&oracle.path().join(table)));
        assert_same(&format!("{what}: {table}"), &expected, &found, &cluster.logs());
    }
}

fn seed(default: u64) -> u64 {
    number("TIDEMILL_CHAOS_SEED", default)
}

/// The default is for the short run: those of all tests together are more than twenty.
fn faults(default: u64) -> u64 {
    number("TIDEMILL_CHAOS_FAULTS", default)
}

const FREEZABLE: (&str, &str) = ("heartbeat-timeout", HEARTBEAT_TIMEOUT);

#[test]
fn task_managers_are_killed_and_frozen_and_the_output_is_that_of_a_run_without_faults() {
    let cluster = Cluster::start_with(2, 1, &[FREEZABLE]).unwrap();
    chaos("task managers", cluster, Chaos::new(&Fault::TASK_MANAGERS, seed(1)), faults(8), None);
}

/// Windows over bids that come faster than they can be aggregated, so that all channels are full.
/// Checkpoints must be complete all the same, with rows in flight.
fn backpressured(directory: &Path, events: u64) -> String {
    let place = directory.display();
    format!(
        "SET 'execution.checkpointing.interval' = '150 ms';
SET 'execution.checkpointing.unaligned.enabled' = 'true';
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
CREATE TABLE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, `dateTime` TIMESTAMP(3),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '1' SECOND
) WITH (
    'connector' = 'nexmark', 'nexmark.table' = 'bid', 'events.num' = '{events}',
    'first-event.rate' = '{RATE}', 'rate.limited' = 'false', 'nexmark.disorder' = '500 ms'
);
CREATE TABLE per_auction (auction BIGINT, ends TIMESTAMP(3), bids BIGINT, bidders BIGINT, prices BIGINT,
    channels BIGINT, times BIGINT, total BIGINT, least BIGINT, middle DOUBLE)
    WITH ('connector' = 'filesystem', 'path' = '{place}/per_auction', 'format' = 'json');
INSERT INTO per_auction
    SELECT auction, window_end, COUNT(*), COUNT(DISTINCT bidder), COUNT(DISTINCT price), COUNT(DISTINCT channel),
        COUNT(DISTINCT `dateTime`), SUM(price), MIN(price), PERCENTILE(price, 0.5)
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end;
"
    )
}

/// What a run without faults and without checkpoints writes.
fn oracle_of(script: impl Fn(&Path) -> String, table: &str) -> BTreeMap<String, usize> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("job.sql");
    std::fs::write(&file, script(place.path())).unwrap();
    let run = tidemill_tests::tidemill().unwrap().arg("run").arg(&file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    rows(&place.path().join(table))
}

/// A job's state, its newest attempt, and all about it.
fn state(cluster: &Cluster, job: &str) -> (String, u64, serde_json::Value) {
    let described = cluster.json("describe", &[job]).unwrap_or_default();
    let attempts = described["attempts"].as_array().and_then(|attempts| attempts.last()?["attempt"].as_u64());
    (described["state"].as_str().unwrap_or("?").to_owned(), attempts.unwrap_or(0), described)
}

/// The newest complete checkpoint, and how many complete ones had rows in flight.
fn overtaken(cluster: &Cluster, job: &str) -> (Option<serde_json::Value>, usize) {
    let history = cluster.json("checkpoints", &[job]).unwrap_or_default();
    let all = history["checkpoints"].as_array().cloned().unwrap_or_default();
    let complete: Vec<_> = all.into_iter().filter(|checkpoint| checkpoint["state"] == "COMPLETED").collect();
    let with_rows = complete.iter().filter(|checkpoint| checkpoint["bytes_in_flight"].as_u64() > Some(0)).count();
    (complete.first().cloned(), with_rows)
}

/// Checkpoints of a job under backpressure hold rows in flight: after kills, and after a restore from one of
/// them at another parallelism, nothing is lost, doubled or late.
#[test]
fn rows_in_flight_survive_kills_and_a_change_of_parallelism() {
    let events = number("TIDEMILL_CHAOS_EVENTS", 1_500_000);
    // The job has an end, before which it is moved, too.
    let (faults, seed) = (number("TIDEMILL_CHAOS_FAULTS", 3).min(6), number("TIDEMILL_CHAOS_SEED", 5));
    let mut random = seed;
    let expected = oracle_of(|place| backpressured(place, events), "per_auction");
    let mut cluster = Cluster::start(3, 1).unwrap();
    let place = cluster.directory().join("job");
    std::fs::create_dir(&place).unwrap();
    let begun = Instant::now();
    let mut job = submit(&cluster, &backpressured(&place, events), &["--parallelism", "2"]);
    let (mut landed, mut attempt, mut with_rows) = (0, 0, 0);
    let mut moved = false;
    loop {
        let (state, now, described) = state(&cluster, &job);
        if now > attempt && attempt > 0 {
            landed += now - attempt;
        }
        attempt = attempt.max(now);
        let (newest, held) = overtaken(&cluster, &job);
        match state.as_str() {
            "FINISHED" => break,
            "RUNNING" if held > 0 && landed < faults && newest.is_some() => {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 1;
                std::thread::sleep(Duration::from_millis(random % 400));
                let victim = random as usize % cluster.task_managers.len();
                cluster.kill_task_manager(victim).unwrap();
                cluster.start_task_manager().unwrap();
            }
            "RUNNING" if held > 0 && !moved => {
                // Whichever is the newest when the job has ended: it goes on from that.
                assert!(cluster.run("cancel", &[&job]).unwrap().status.success());
                let (newest, held) = overtaken(&cluster, &job);
                let newest = newest.unwrap();
                println!("moved from {newest}");
                (moved, with_rows, attempt) = (true, with_rows + held, 0);
                let location = newest["location"].as_str().unwrap();
                let arguments = ["--parallelism", "3", "--from-savepoint", location];
                job = submit(&cluster, &backpressured(&place, events), &arguments);
            }
            "FAILED" | "CANCELED" => panic!("the job is {state}\n{described:#}\n{}", cluster.logs()),
            _ => {}
        }
        assert!(begun.elapsed() < GRACE * 2, "the job does not end: {described:#}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(30));
    }
    with_rows += overtaken(&cluster, &job).1;
    println!("seed {seed}: {landed} restarts, {with_rows} checkpoints with rows in flight, {:?}", begun.elapsed());
    assert!(landed > 0 && with_rows > 0 && moved, "{landed} restarts, {with_rows} with rows in flight, moved: {moved}");
    let found = rows(&place.join("per_auction"));
    assert_same("per_auction", &expected, &found, &format!("seed {seed}\n{}", cluster.logs()));
}

/// A job manager that was killed takes its jobs up again from its data directory.
#[test]
fn job_and_task_managers_are_killed_and_frozen() {
    let options = [FREEZABLE, ("jobmanager-data-dir", "{directory}/jobmanager")];
    let cluster = Cluster::start_with(2, 1, &options).unwrap();
    chaos("anybody", cluster, Chaos::new(&Fault::ALL, seed(3)), faults(10), None);
}

/// The store answers 500 and 503, cuts connections, and writes what its client takes for failed.
#[test]
fn task_managers_are_killed_while_the_store_of_checkpoints_fails_now_and_then() {
    let Some(store) = Service::start("s3.sh").unwrap() else { return };
    let proxy = FaultProxy::start(&store.address, 12, seed(2)).unwrap();
    let options = [
        FREEZABLE,
        ("s3-endpoint", proxy.url.as_str()),
        ("s3-path-style-access", "true"),
        ("s3-access-key", "test"),
        ("s3-secret-key", "test"),
        ("s3-region", "us-east-1"),
    ];
    let cluster = Cluster::start_with(2, 1, &options).unwrap();
    let kinds = Chaos::new(&[Fault::KillTaskManager], seed(2));
    chaos("with faults of the store", cluster, kinds, faults(6), Some("s3://tidemill/checkpoints"));
    let _ = writeln!(std::io::stderr().lock(), "of the store: {:?}", proxy.landed);
    let least = [&proxy.landed.errors, &proxy.landed.busy, &proxy.landed.cut_before, &proxy.landed.cut_after];
    assert!(least.iter().all(|landed| landed.load(Ordering::Relaxed) > 0), "a kind of fault did not land");
}

/// Keys, windows, sessions and splits go to twice as many subtasks and back while rows come.
#[test]
fn a_job_is_rescaled_from_2_to_4_to_2_under_load() {
    let cluster = Cluster::start(4, 1).unwrap();
    let events = RATE * 600;
    let place = cluster.directory().join("job");
    std::fs::create_dir(&place).unwrap();
    let store = format!("file://{}/checkpoints", place.display());
    let job = submit(&cluster, &script(&place, &store, events, true), &["--parallelism", "2"]);
    let error = |parallelism: &str| {
        let output = cluster.run("rescale", &[&job, "--parallelism", parallelism]).unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    wait_for_checkpoints(&cluster, &job, 1);
    let refused = error("5");
    assert!(refused.contains("needs 5 slots") && refused.contains("4 are free or its own"), "{refused}");
    let refused = error("32768");
    assert!(refused.contains("pipeline.max-parallelism"), "{refused}");
    for (round, parallelism) in [4u64, 2, 4, 2].into_iter().enumerate() {
        let before = Told::of(&cluster, &job);
        let windows = rows(&place.join("per_auction")).len();
        let asked = wait_for(&cluster, "a checkpoint to go on from", || {
            let output = cluster.run("rescale", &[&job, "--parallelism", &parallelism.to_string()]).unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || error.contains("no complete checkpoint"), "{error}");
            output.status.success().then_some(output)
        });
        drop(asked);
        let told = wait_for(&cluster, "running at another parallelism", || {
            let told = Told::of(&cluster, &job);
            assert!(!told.has_ended(), "{:#}\n{}", told.described, cluster.logs());
            (told.runs() && told.attempt > before.attempt).then_some(told)
        });
        assert_eq!(told.described["slots"], parallelism, "{:#}", told.described);
        wait_for(&cluster, "output after a rescale", || {
            (rows(&place.join("per_auction")).len() > windows + 100).then_some(())
        });
        println!("round {round}: parallelism {parallelism}");
    }
    let savepoints = place.join("savepoints").display().to_string();
    let stopped = cluster.run("stop", &[&job, "--savepoint", &savepoints]).unwrap();
    assert!(stopped.status.success(), "{}\n{}", String::from_utf8_lossy(&stopped.stderr), cluster.logs());
    let text = String::from_utf8(stopped.stdout).unwrap();
    let location = text.lines().find_map(|line| line.strip_prefix("savepoint ")).unwrap();
    bug_25_every_split_is_kept_once(location);
    assert_exact("rescaled", &cluster, &place, events);
}

/// Classic bug 25: the splits that every subtask was given on restore are kept again by each.
fn bug_25_every_split_is_kept_once(savepoint: &str) {
    let file = Path::new(savepoint.trim_start_matches("file://")).join(METADATA_NAME);
    let metadata = CheckpointMetadata::decode(&std::fs::read(file).unwrap(), checksum).unwrap();
    let subtasks = metadata.operators.iter().flat_map(|operator| &operator.subtasks);
    let mut splits: Vec<&str> = subtasks.flat_map(|(_, kept)| &kept.splits).map(|split| split.id.0.as_str()).collect();
    splits.sort_unstable();
    let count = splits.len();
    splits.dedup();
    assert!(count > 0 && splits.len() == count, "{count} positions of the splits {splits:?}");
}

/// Events of the Kafka test: user, number and amount by the event's place, ten milliseconds apart.
fn event(place: u64) -> (u64, u64) {
    (place.wrapping_mul(0x9e37_79b9) >> 7 & 31, place % 97)
}

/// From a real Kafka, written to while the job runs, to Kafka in transactions and to a table without a
/// key, with kills of anybody.
#[test]
fn kafka_to_kafka_and_postgres_while_anybody_is_killed() {
    /// Events between two faults.
    const CHUNK: u64 = 1_500;
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    let Some(postgres) = Service::start("postgres.sh").unwrap() else { return };
    // Under load a JVM takes seconds to start: one does it all.
    let mut tool = kafka.session().unwrap();
    let mut chaos = Chaos::new(&Fault::ALL, seed(4));
    for (topic, partitions) in [("events", "3"), ("copies", "2"), ("sums", "2")] {
        tool.run(&format!("topic {topic} {partitions}")).unwrap();
    }
    let table = "CREATE TABLE sums (user_id BIGINT, ends TIMESTAMP(3), n BIGINT, total BIGINT);";
    postgres.run_with_input("sql", &[], table).unwrap();
    let url = postgres.address.trim_start_matches("postgresql://");
    let (user, database) = url.split_once('@').unwrap();

    let options = [FREEZABLE, ("jobmanager-data-dir", "{directory}/jobmanager")];
    let mut cluster = Cluster::start_with(2, 1, &options).unwrap();
    let place = cluster.directory().display().to_string();
    let script = format!(
        "SET 'execution.checkpointing.interval' = '300 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '200 ms';
CREATE TABLE events (user_id BIGINT, seq BIGINT, amount BIGINT, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = '{servers}',
    'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE copies (user_id BIGINT, seq BIGINT) WITH ('connector' = 'kafka', 'topic' = 'copies',
    'properties.bootstrap.servers' = '{servers}', 'key.format' = 'json', 'key.fields' = 'user_id', 'value.format' = 'json',
    'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'copies');
CREATE TABLE sums_topic (user_id BIGINT, ends TIMESTAMP(3), n BIGINT, total BIGINT) WITH ('connector' = 'kafka',
    'topic' = 'sums', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json',
    'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sums');
CREATE TABLE sums_table (user_id BIGINT, ends TIMESTAMP(3), n BIGINT, total BIGINT) WITH ('connector' = 'jdbc',
    'url' = 'jdbc:postgresql://{database}', 'username' = '{user}', 'table-name' = 'sums');
CREATE TEMPORARY VIEW sums AS SELECT user_id, window_end AS ends, COUNT(*) AS n, SUM(amount) AS total
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY user_id, window_start, window_end;
EXECUTE STATEMENT SET BEGIN
INSERT INTO copies SELECT user_id, seq FROM events;
INSERT INTO sums_topic SELECT user_id, ends, n, total FROM sums;
INSERT INTO sums_table SELECT user_id, ends, n, total FROM sums;
END;
",
        servers = kafka.address,
    );
    let job = submit(&cluster, &script, &["--parallelism", "2"]);

    let mut windows = BTreeMap::<(u64, u64), (u64, u64)>::new();
    let mut produced = 0;
    let begun = Instant::now();
    let file = tempfile::NamedTempFile::new().unwrap();
    while chaos.landed() < faults(6) {
        let mut lines = String::new();
        for place in produced..produced + CHUNK {
            let ((user, amount), ms) = (event(place), place * 10);
            let ts = format!("2024-06-01 10:{:02}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
            lines += &format!("k{user}\t{{\"user_id\":{user},\"seq\":{place},\"amount\":{amount},\"ts\":\"{ts}\"}}\n");
            let sums = windows.entry((ms / 5_000, user)).or_default();
            *sums = (sums.0 + 1, sums.1 + amount);
        }
        produced += CHUNK;
        std::fs::write(file.path(), lines).unwrap();
        tool.run(&format!("produce events {}", file.path().display())).unwrap();
        let pause = chaos.pause(Duration::from_millis(900));
        std::thread::sleep(pause);
        let injected = chaos.inject(&mut cluster, &job);
        assert!(injected.is_ok(), "{}\n{}", injected.unwrap_err(), cluster.logs());
    }
    chaos.report("Kafka and PostgreSQL", begun);
    // Events of another user close the windows in every partition.
    let end = "{\"user_id\":-1,\"seq\":-1,\"amount\":0,\"ts\":\"2024-06-01 11:00:00\"}";
    let ends: String = (0..200).map(|key| format!("e{key}\t{end}\n")).collect();
    std::fs::write(file.path(), ends).unwrap();
    tool.run(&format!("produce events {}", file.path().display())).unwrap();

    let expected: BTreeMap<String, usize> = windows
        .iter()
        .map(|((window, user), (n, total))| {
            let second = (window + 1) * 5;
            (format!("{user}|2024-06-01 10:{:02}:{:02}|{n}|{total}", second / 60, second % 60), 1)
        })
        .collect();
    let query = "SELECT user_id, to_char(ends, 'YYYY-MM-DD HH24:MI:SS'), n, total FROM sums";
    let waiting = Instant::now();
    loop {
        let rows = postgres.run_with_input("sql", &[], query).unwrap();
        let mut found = BTreeMap::new();
        for row in rows.lines() {
            *found.entry(row.trim().to_owned()).or_default() += 1;
        }
        if found.values().sum::<usize>() >= expected.len() || waiting.elapsed() > GRACE {
            assert_same("sums in PostgreSQL", &expected, &found, &cluster.logs());
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut found = BTreeMap::new();
    for line in tool.run("drain sums").unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        *found.entry(format!("{}|{}|{}|{}", text("user_id"), text("ends"), text("n"), text("total"))).or_default() += 1;
    }
    assert_same("sums in Kafka", &expected, &found, &cluster.logs());
    let mut last = BTreeMap::<i64, i64>::new();
    let mut copies = 0;
    for line in tool.run("drain copies").unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (user, seq) = (row["user_id"].as_i64().unwrap(), row["seq"].as_i64().unwrap());
        if user >= 0 {
            let before = last.insert(user, seq);
            assert!(before < Some(seq), "user {user}: event {seq} comes after {before:?}\n{}", cluster.logs());
            copies += 1;
        }
    }
    assert_eq!(copies, produced, "copies in Kafka\n{}", cluster.logs());
}
