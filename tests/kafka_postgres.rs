//! The dashboard job (`examples/web_analytics/kafka.sql`) on a cluster, with a real Kafka in and a real
//! PostgreSQL out, against key figures computed here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tidemill_tests::cluster::Cluster;
use tidemill_tests::services::Service;

const EVENTS: u64 = 6_000;
/// How long the results may take.
const RESULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Page views, users, summed milliseconds, failures and revenue in cents, by (minute, section).
type Figures = BTreeMap<(u64, &'static str), (u64, BTreeSet<u64>, u64, u64, u64)>;

/// Five minutes of events, ten seconds apart within a partition at most, and a last one that moves time
/// on far enough to close them.
fn events() -> (String, Figures) {
    const SECTIONS: [&str; 4] = ["home", "product", "cart", "checkout"];
    const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
    let mut text = String::new();
    let mut figures = Figures::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut event = |second: u64,
                     section: &'static str,
                     user: u64,
                     status: u64,
                     ms: u64,
                     cents: Option<u64>,
                     region: &str| {
        let revenue = cents.map_or("null".to_owned(), |cents| format!("{}.{:02}", cents / 100, cents % 100));
        let _ = writeln!(
            text,
            "{{\"ts\":\"2024-06-01 10:{:02}:{:02}\",\"user_id\":\"u{user}\",\"region\":\"{region}\",\"section\":\"{section}\",\
             \"path\":\"/{section}\",\"status\":{status},\"ms\":{ms},\"revenue\":{revenue}}}",
            second / 60,
            second % 60
        );
        let entry = figures.entry((second / 60, section)).or_default();
        entry.0 += 1;
        entry.1.insert(user);
        entry.2 += ms;
        entry.3 += u64::from(status >= 500);
        entry.4 += cents.unwrap_or(0);
    };
    for number in 0..EVENTS {
        let second = number * 300 / EVENTS + random(2);
        let section = SECTIONS[random(4) as usize];
        let status = if random(20) == 0 { 503 } else { 200 };
        let cents = (section == "checkout" && status == 200).then(|| random(10_000));
        event(second.min(299), section, random(500), status, 1 + random(400), cents, REGIONS[random(3) as usize]);
    }
    (text, figures)
}

#[test]
fn kafka_to_postgres_on_a_cluster() {
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    let Some(postgres) = Service::start("postgres.sh").unwrap() else { return };
    let examples = tidemill_tests::directory().join("../examples/web_analytics");
    let (text, figures) = events();
    // One more event in every partition moves its watermark beyond the last minute.
    let file = tempfile::NamedTempFile::new().unwrap();
    let last = "{\"ts\":\"2024-06-01 10:30:00\",\"user_id\":\"u0\",\"region\":\"eu-west\",\"section\":\"end\",\"status\":200,\"ms\":1}\n";
    // Keys spread them over the partitions; without keys a producer may send them all to one.
    let ends: String = (0..200).map(|key| format!("k{key}\t{last}")).collect();
    std::fs::write(file.path(), text + &ends).unwrap();
    kafka.run("topic", &["access-events", "2"]).unwrap();
    kafka.run("produce", &["access-events", &file.path().display().to_string()]).unwrap();
    let schema = std::fs::read_to_string(examples.join("postgres.sql")).unwrap();
    postgres.run_with_input("sql", &[], &schema).unwrap();

    // The URL is postgresql://user@host:port/database.
    let url = postgres.address.clone();
    let (user, database) =
        url.trim_start_matches("postgresql://").trim_start_matches("postgres://").split_once('@').unwrap();
    let script = std::fs::read_to_string(examples.join("kafka.sql"))
        .unwrap()
        .replace("${env:KAFKA_SERVERS}", &kafka.address)
        .replace("${env:POSTGRES_DATABASE}", database)
        .replace("${env:POSTGRES_USER}", user.split(':').next().unwrap());
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let cluster = Cluster::start(2, 1).unwrap();
    let submitted =
        cluster.command("submit").arg(file.path()).args(["--detach", "--parallelism", "2"]).output().unwrap();
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));

    let query = "SELECT extract(minute FROM minute_start)::int, section, page_views, unique_users, \
                 round((mean_ms * page_views)::numeric), round((error_rate * page_views)::numeric), round(revenue * 100) \
                 FROM kpi_by_section WHERE section <> 'end' ORDER BY 1, 2";
    let expected: Vec<String> = figures
        .iter()
        .map(|((minute, section), (views, users, ms, failures, cents))| {
            format!("{minute}|{section}|{views}|{}|{ms}|{failures}|{cents}", users.len())
        })
        .collect();
    let begun = Instant::now();
    loop {
        let rows = postgres.run_with_input("sql", &[], query).unwrap();
        let rows: Vec<&str> = rows.lines().map(str::trim).filter(|line| line.contains('|')).collect();
        if rows == expected {
            return;
        }
        assert!(
            begun.elapsed() < RESULT_TIMEOUT,
            "after {RESULT_TIMEOUT:?}: {} rows, expected {}\n{rows:#?}\n{expected:#?}\n{}",
            rows.len(),
            expected.len(),
            cluster.logs()
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}
