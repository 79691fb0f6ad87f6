//! Kill anything, at any time, and the answer is the same: real processes, real kills, and the output
//! compared with that of a run without faults.
//!
//! `TIDEMILL_CHAOS_FAULTS` is how many faults are to land (a few unless set), `TIDEMILL_CHAOS_SEED` their
//! order.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemill_tests::cluster::Cluster;
use tidemill_tests::fault_proxy::FaultProxy;
use tidemill_tests::services::Service;

/// Events a second, by the clock and in event time.
const RATE: u64 = 20_000;
/// How long the job may take beyond its events' own time.
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

/// The rows of a directory of part files, with how often each is there. Files whose name begins with a
/// dot or underscore are not published.
fn rows(directory: &Path) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.starts_with('_') {
            continue;
        }
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            *rows.entry(line.to_owned()).or_default() += 1;
        }
    }
    rows
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

fn submit(cluster: &Cluster, text: &str) -> String {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let submitted =
        cluster.command("submit").arg(file.path()).args(["--detach", "--parallelism", "2"]).output().unwrap();
    assert!(submitted.status.success(), "{}\n{}", String::from_utf8_lossy(&submitted.stderr), cluster.logs());
    let listed = cluster.json("list", &[]).unwrap();
    let jobs = listed.as_array().or_else(|| listed["jobs"].as_array()).unwrap();
    jobs[0]["job_id"].as_str().unwrap().to_owned()
}

fn state(cluster: &Cluster, job: &str) -> (String, u64, serde_json::Value) {
    let described = cluster.json("describe", &[job]).unwrap_or_default();
    let attempts = described["attempts"].as_array().and_then(|attempts| attempts.last()?["attempt"].as_u64());
    (described["state"].as_str().unwrap_or("?").to_owned(), attempts.unwrap_or(0), described)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    TaskManagers,
    /// Every fourth time the job manager, else a task manager.
    Anybody,
}

/// Runs the job under kills, its checkpoints kept in `store` (or in a directory of its own), and
/// compares its output with that of a run without faults.
fn chaos(mut cluster: Cluster, victims: Victims, faults: u64, seed: u64, store: Option<&str>) {
    let mut random = StdRng::seed_from_u64(seed);
    // A fault every 600 ms or so.
    let events = RATE * (faults * 7 / 10 + 3);

    let oracle = tempfile::tempdir().unwrap();
    let file = oracle.path().join("job.sql");
    let own = |place: &Path| format!("file://{}/checkpoints", place.display());
    std::fs::write(&file, script(oracle.path(), &own(oracle.path()), events, false)).unwrap();
    let run = tidemill_tests::tidemill().unwrap().arg("run").arg(&file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let place = cluster.directory().join("job");
    std::fs::create_dir(&place).unwrap();
    let begun = Instant::now();
    let store = store.map_or_else(|| own(&place), str::to_owned);
    let job = submit(&cluster, &script(&place, &store, events, true));
    let (mut landed, mut kills, mut leader_kills, mut attempt) = (0, 0, 0, 0);
    let limit = Duration::from_secs(events / RATE) * 4 + GRACE;
    loop {
        let (state, now, described) = state(&cluster, &job);
        if now > attempt && attempt > 0 {
            landed += now - attempt;
        }
        attempt = attempt.max(now);
        match state.as_str() {
            "FINISHED" => break,
            "RUNNING" | "FINISHING" if landed < faults => {
                std::thread::sleep(Duration::from_millis(random.random_range(100..700)));
                if victims == Victims::Anybody && (kills + leader_kills) % 4 == 1 {
                    cluster.kill_job_manager().unwrap();
                    cluster.start_job_manager().unwrap();
                    cluster.await_answer().unwrap();
                    leader_kills += 1;
                } else {
                    let victim = random.random_range(0..cluster.task_managers.len());
                    cluster.kill_task_manager(victim).unwrap();
                    cluster.start_task_manager().unwrap();
                    kills += 1;
                }
            }
            "FAILED" | "CANCELED" => panic!("the job is {state}\n{described:#}\n{}", cluster.logs()),
            _ => {}
        }
        assert!(begun.elapsed() < limit, "the job does not end: {described:#}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(30));
    }
    println!(
        "seed {seed}: {kills} task managers and {leader_kills} job managers killed, {landed} restarts, {:?}",
        begun.elapsed()
    );
    assert!(landed >= (faults / 2).max(1), "only {landed} faults landed");
    assert!(victims == Victims::TaskManagers || leader_kills > 0, "no job manager was killed");
    for table in ["per_auction", "sessions"] {
        let (expected, found) = (rows(&oracle.path().join(table)), rows(&place.join(table)));
        assert_same(table, &expected, &found, &format!("seed {seed}\n{}", cluster.logs()));
    }
}

#[test]
fn task_managers_are_killed_at_random_and_the_output_is_that_of_a_run_without_faults() {
    let (faults, seed) = (number("TIDEMILL_CHAOS_FAULTS", 12), number("TIDEMILL_CHAOS_SEED", 1));
    chaos(Cluster::start(3, 1).unwrap(), Victims::TaskManagers, faults, seed, None);
}

/// A job manager that was killed takes its jobs up again from its data directory.
#[test]
fn job_and_task_managers_are_killed_at_random() {
    let (faults, seed) = (number("TIDEMILL_CHAOS_FAULTS", 8), number("TIDEMILL_CHAOS_SEED", 3));
    let cluster = Cluster::start_with(3, 1, &[("jobmanager-data-dir", "{directory}/jobmanager")]).unwrap();
    chaos(cluster, Victims::Anybody, faults, seed, None);
}

/// The store answers 500 and 503, cuts connections, and writes what its client takes for failed.
#[test]
fn task_managers_are_killed_while_the_store_of_checkpoints_fails_now_and_then() {
    let Some(store) = Service::start("s3.sh").unwrap() else { return };
    let (faults, seed) = (number("TIDEMILL_CHAOS_FAULTS", 6), number("TIDEMILL_CHAOS_SEED", 2));
    let proxy = FaultProxy::start(&store.address, 12, seed).unwrap();
    let options = [
        ("s3-endpoint", proxy.url.as_str()),
        ("s3-path-style-access", "true"),
        ("s3-access-key", "test"),
        ("s3-secret-key", "test"),
        ("s3-region", "us-east-1"),
    ];
    let cluster = Cluster::start_with(3, 1, &options).unwrap();
    chaos(cluster, Victims::TaskManagers, faults, seed, Some("s3://tidemill/checkpoints"));
    println!("{:?}", proxy.landed);
    let least = [&proxy.landed.errors, &proxy.landed.busy, &proxy.landed.cut_before, &proxy.landed.cut_after];
    assert!(least.iter().all(|landed| landed.load(Ordering::Relaxed) > 0), "a kind of fault did not land");
}

/// Events of the Kafka test: user, number and amount by the event's place, ten milliseconds apart.
fn event(place: u64) -> (u64, u64) {
    (place.wrapping_mul(0x9e37_79b9) >> 7 & 31, place % 97)
}

/// From a real Kafka, written to while the job runs, to Kafka in transactions and to a table without a
/// key, with kills of anybody.
#[test]
fn kafka_to_kafka_and_postgres_while_anybody_is_killed() {
    const EVENTS: u64 = 12_000;
    const CHUNK: u64 = 1_500;
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    let Some(postgres) = Service::start("postgres.sh").unwrap() else { return };
    let (faults, seed) = (number("TIDEMILL_CHAOS_FAULTS", 6), number("TIDEMILL_CHAOS_SEED", 4));
    let mut random = StdRng::seed_from_u64(seed);
    for (topic, partitions) in [("events", "3"), ("copies", "2"), ("sums", "2")] {
        kafka.run("topic", &[topic, partitions]).unwrap();
    }
    let table = "CREATE TABLE sums (user_id BIGINT, ends TIMESTAMP(3), n BIGINT, total BIGINT);";
    postgres.run_with_input("sql", &[], table).unwrap();
    let url = postgres.address.trim_start_matches("postgresql://");
    let (user, database) = url.split_once('@').unwrap();

    let mut cluster = Cluster::start_with(3, 1, &[("jobmanager-data-dir", "{directory}/jobmanager")]).unwrap();
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
    let job = submit(&cluster, &script);

    let mut windows = BTreeMap::<(u64, u64), (u64, u64)>::new();
    let (mut produced, mut landed, mut kills, mut leader_kills, mut attempt) = (0, 0, 0, 0, 0);
    let begun = Instant::now();
    let file = tempfile::NamedTempFile::new().unwrap();
    while produced < EVENTS || landed < faults {
        let mut lines = String::new();
        for place in produced..(produced + CHUNK).min(EVENTS) {
            let ((user, amount), ms) = (event(place), place * 10);
            let ts = format!("2024-06-01 10:{:02}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
            lines += &format!("k{user}\t{{\"user_id\":{user},\"seq\":{place},\"amount\":{amount},\"ts\":\"{ts}\"}}\n");
            let sums = windows.entry((ms / 5_000, user)).or_default();
            *sums = (sums.0 + 1, sums.1 + amount);
        }
        produced = (produced + CHUNK).min(EVENTS);
        if !lines.is_empty() {
            std::fs::write(file.path(), lines).unwrap();
            kafka.run("produce", &["events", &file.path().display().to_string()]).unwrap();
        }
        let (state, now, described) = state(&cluster, &job);
        if now > attempt && attempt > 0 {
            landed += now - attempt;
        }
        attempt = attempt.max(now);
        assert!(!matches!(state.as_str(), "FAILED" | "CANCELED"), "{described:#}\n{}", cluster.logs());
        assert!(begun.elapsed() < GRACE * 2, "only {landed} faults land\n{described:#}\n{}", cluster.logs());
        if state != "RUNNING" || landed >= faults {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..900)));
        kills += 1;
        if kills % 4 == 2 {
            cluster.kill_job_manager().unwrap();
            cluster.start_job_manager().unwrap();
            cluster.await_answer().unwrap();
            leader_kills += 1;
        } else {
            let victim = random.random_range(0..cluster.task_managers.len());
            cluster.kill_task_manager(victim).unwrap();
            cluster.start_task_manager().unwrap();
        }
    }
    // Events of another user close the windows in every partition.
    let end = "{\"user_id\":-1,\"seq\":-1,\"amount\":0,\"ts\":\"2024-06-01 11:00:00\"}";
    let ends: String = (0..200).map(|key| format!("e{key}\t{end}\n")).collect();
    std::fs::write(file.path(), ends).unwrap();
    kafka.run("produce", &["events", &file.path().display().to_string()]).unwrap();

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
    for line in kafka.run("drain", &["sums"]).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        *found.entry(format!("{}|{}|{}|{}", text("user_id"), text("ends"), text("n"), text("total"))).or_default() += 1;
    }
    assert_same("sums in Kafka", &expected, &found, &cluster.logs());
    let mut last = BTreeMap::<i64, i64>::new();
    let mut copies = 0;
    for line in kafka.run("drain", &["copies"]).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (user, seq) = (row["user_id"].as_i64().unwrap(), row["seq"].as_i64().unwrap());
        if user >= 0 {
            let before = last.insert(user, seq);
            assert!(before < Some(seq), "user {user}: event {seq} comes after {before:?}\n{}", cluster.logs());
            copies += 1;
        }
    }
    assert_eq!(copies, EVENTS, "copies in Kafka\n{}", cluster.logs());
    println!("seed {seed}: {landed} restarts, {leader_kills} job managers killed, {:?}", begun.elapsed());
}
