//! The JDBC sink against a real PostgreSQL: each result once, whatever dies when.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{SINK, connector_context, context, epoch, rows, table};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection, Row};
use tidemill_common::ids::CheckpointId;
use tidemill_common::plan::{ChangelogMode, SinkSpec};
use tidemill_connectors::api::{Connector, ConnectorError, PreparedEpoch, SinkWriter};
use tidemill_connectors::jdbc::Jdbc;
use tidemill_tests::services::Service;

/// Does something on an empty database.
type Check = fn(&Server);

struct Server {
    service: Service,
    user: String,
    address: String,
}

impl Server {
    /// `postgresql://user@host:port/database`
    fn new(service: Service) -> Self {
        let (_, rest) = service.address.split_once("://").unwrap();
        let (user, address) = rest.split_once('@').unwrap();
        let (user, address) = (user.split(':').next().unwrap().to_owned(), address.to_owned());
        Self { service, user, address }
    }

    fn writer(&self, name: &str, key: Vec<usize>, (job, attempt, subtask): (&str, u32, u32)) -> Box<dyn SinkWriter> {
        let url = format!("jdbc:postgresql://{}", self.address);
        let options = [("url", url.as_str()), ("table-name", name), ("username", &self.user)];
        let sink = SinkSpec { table: table("jdbc", &options, key), changelog: ChangelogMode::InsertOnly };
        Jdbc.check_sink(&sink.table).unwrap();
        Jdbc.create_writer(&sink, &context(job, attempt, subtask)).unwrap()
    }

    async fn connect(&self) -> PgConnection {
        let (host_port, database) = self.address.split_once('/').unwrap();
        let (host, port) = host_port.split_once(':').unwrap();
        let options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port.parse().unwrap())
            .database(database)
            .username(&self.user)
            .ssl_mode(PgSslMode::Disable);
        options.connect().await.unwrap()
    }

    /// The first column of all rows, as text.
    fn sql(&self, sql: &'static str) -> Vec<String> {
        connector_context().io.block_on(async {
            let rows = sqlx::raw_sql(sql).fetch_all(&mut self.connect().await).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect()
        })
    }

    fn ids(&self) -> Vec<i64> {
        self.sql("SELECT id::text AS number FROM log ORDER BY id").iter().map(|id| id.parse().unwrap()).collect()
    }
}

fn prepare(writer: &mut dyn SinkWriter, job: &str, subtask: u32, checkpoint: u64) -> Vec<PreparedEpoch> {
    epoch(job, subtask, checkpoint, writer.prepare_commit(CheckpointId(checkpoint)).unwrap())
}

#[test]
fn postgres() {
    let Some(service) = Service::start("postgres.sh").unwrap() else { return };
    let server = Server::new(service);
    let checks: [(&str, Check); 5] = [
        ("bug 17", bug_17_published_once_wherever_an_attempt_dies),
        ("bug 1", bug_1_a_zombie_changes_nothing),
        ("many start at once", many_start_at_once),
        ("a frozen transaction", a_frozen_transaction_of_a_zombie_is_ended),
        ("a server that restarts", a_server_that_restarts_doubles_nothing),
    ];
    for (name, check) in checks {
        server.sql(
            "DROP TABLE IF EXISTS log; CREATE TABLE log (id bigint, name text); DROP TABLE IF EXISTS kpi; \
             CREATE TABLE kpi (id bigint PRIMARY KEY, name text); DROP TABLE IF EXISTS tidemill_commits",
        );
        let begun = Instant::now();
        check(&server);
        println!("{name}: {:?}", begun.elapsed());
    }
}

/// Ends an attempt after each of its steps; the next one starts from the newest complete checkpoint and
/// writes again what that does not hold.
fn bug_17_published_once_wherever_an_attempt_dies(server: &Server) {
    for died_after in 0..9 {
        server.sql("TRUNCATE log");
        let job = format!("j{died_after}");
        let mut writer = server.writer("log", vec![], (&job, 1, 0));
        writer.recover(Vec::new()).unwrap();
        let mut restart: (Vec<PreparedEpoch>, i64) = (Vec::new(), 0);
        let mut first = Vec::new();
        for step in 0..=died_after {
            match step {
                0 => writer.write(&rows(0..12_000, "a")).unwrap(),
                1 => first = prepare(writer.as_mut(), &job, 0, 1),
                2 => writer.write(&rows(12_000..12_003, "a")).unwrap(),
                3 => restart = (first.clone(), 12_000),
                4 => writer.commit(CheckpointId(1)).unwrap(),
                5 => first = [first, prepare(writer.as_mut(), &job, 0, 2)].concat(),
                6 => writer.write(&rows(12_003..12_004, "a")).unwrap(),
                7 => restart = (first.clone(), 12_003),
                _ => writer.commit(CheckpointId(2)).unwrap(),
            }
        }
        // It stays, frozen, as a zombie.
        std::mem::forget(writer);
        for attempt in [2, 3] {
            let mut writer = server.writer("log", vec![], (&job, attempt, 0));
            writer.recover(restart.0.clone()).unwrap();
            assert!(server.ids() == (0..restart.1).collect::<Vec<_>>(), "attempt {attempt} after step {died_after}");
            writer.write(&rows(restart.1..12_010, "b")).unwrap();
            if attempt == 3 {
                writer.finish().unwrap();
                prepare(writer.as_mut(), &job, 0, 9);
                writer.commit(CheckpointId(9)).unwrap();
            }
        }
        assert!(server.ids() == (0..12_010).collect::<Vec<_>>(), "after step {died_after}");
    }
}

fn bug_1_a_zombie_changes_nothing(server: &Server) {
    let mut zombie = server.writer("kpi", vec![0], ("jz", 1, 1));
    zombie.recover(Vec::new()).unwrap();
    zombie.write(&rows(7..8, "old")).unwrap();
    let mut writer = server.writer("kpi", vec![0], ("jz", 2, 0));
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows(7..8, "new")).unwrap();
    assert_eq!(writer.prepare_commit(CheckpointId(2)).unwrap(), None);
    let told = zombie.prepare_commit(CheckpointId(2));
    assert!(matches!(told, Err(ConnectorError::Fenced { .. })), "{told:?}");
    assert_eq!(server.sql("SELECT name FROM kpi"), ["new"]);
}

/// The commit table is created by whoever is first.
fn many_start_at_once(server: &Server) {
    std::thread::scope(|scope| {
        for subtask in 0..8 {
            scope.spawn(move || {
                let mut writer = server.writer("log", vec![], ("jm", 3, subtask));
                writer.recover(Vec::new()).unwrap();
                let first = i64::from(subtask) * 10;
                writer.write(&rows(first..first + 10, "a")).unwrap();
                prepare(writer.as_mut(), "jm", subtask, 1);
                writer.commit(CheckpointId(1)).unwrap();
            });
        }
    });
    assert_eq!(server.ids(), (0..80).collect::<Vec<_>>());
}

/// A process that stands still inside a transaction holds its locks; the server ends it.
fn a_frozen_transaction_of_a_zombie_is_ended(server: &Server) {
    let mut first = server.writer("log", vec![], ("jf", 1, 0));
    first.recover(Vec::new()).unwrap();
    first.write(&rows(0..3, "a")).unwrap();
    let epochs = prepare(first.as_mut(), "jf", 0, 1);
    let io = connector_context().io;
    let mut zombie = io.block_on(server.connect());
    // As the writer's own connections do.
    let begin = format!(
        "SET idle_in_transaction_session_timeout = 3000; BEGIN; SELECT attempt FROM tidemill_commits WHERE job = 'jf' AND \
         sink = '{SINK}' AND subtask = -1 FOR SHARE; INSERT INTO log VALUES (0, 'zombie')"
    );
    io.block_on(sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut zombie)).unwrap();
    let begun = Instant::now();
    let mut writer = server.writer("log", vec![], ("jf", 2, 0));
    writer.recover(epochs).unwrap();
    println!("recovered after {:?}", begun.elapsed());
    assert!(begun.elapsed() >= Duration::from_secs(2));
    io.block_on(sqlx::raw_sql("COMMIT").execute(&mut zombie)).unwrap_err();
    assert_eq!(server.ids(), [0, 1, 2]);
}

fn a_server_that_restarts_doubles_nothing(server: &Server) {
    let mut writer = server.writer("log", vec![], ("jr", 1, 0));
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows(0..20_000, "a")).unwrap();
    let epochs = prepare(writer.as_mut(), "jr", 0, 1);
    let port = server.address.split_once('/').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| writer.commit(CheckpointId(1)));
        std::thread::sleep(Duration::from_millis(30));
        server.service.run("stop", &[]).unwrap();
        server.service.run("start", &[&port]).unwrap();
        // Tried again, or given up loudly.
        println!("told: {:?}", commit.join().unwrap());
    });
    server.writer("log", vec![], ("jr", 2, 0)).recover(epochs).unwrap();
    assert!(server.ids() == (0..20_000).collect::<Vec<_>>(), "{} rows", server.ids().len());
}
