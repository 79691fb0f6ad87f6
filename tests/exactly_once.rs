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
    /// Now and then the job manager, else a task manager.
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
                if victims == Victims::Anybody && random.random_ratio(1, 4) {
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
