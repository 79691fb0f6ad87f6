use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tidemill_common::batch::{Batch, RowKind};
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, SubtaskIndex};
use tidemill_common::types::{Field, LogicalType as L, Schema};
use tidemill_tests::services::Service;

use super::*;
use crate::api::PreparedEpoch;
use crate::testing::{connector_context, subtask_context};

fn table(options: &[(&str, &str)], primary_key: Vec<usize>) -> TableSpec {
    TableSpec {
        name: "kpi".to_owned(),
        connector: IDENTIFIER.to_owned(),
        options: options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        schema: Schema::new(vec![
            Field::new("id", L::BigInt.not_null()),
            Field::new("name", L::STRING.nullable()),
            Field::new("amount", L::Decimal(10, 2).nullable()),
            Field::new("rate", L::Double.nullable()),
            Field::new("good", L::Boolean.nullable()),
            Field::new("ts", L::Timestamp(3).nullable()),
            Field::new("raw", L::BYTES.nullable()),
        ]),
        primary_key,
        partition_keys: Vec::new(),
    }
}

/// Rows of the table above: all columns follow from the id and the amount.
fn batch(rows: &[(RowKind, i64, Option<i128>)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.map(|_| format!("name {}", row.1))))),
        Arc::new(Decimal128Array::from_iter(rows.iter().map(|row| row.2)).with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.1 as f64 / 4.0))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.1 % 2 == 0)))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| 1_717_236_000_000 + row.1 * 500))),
        Arc::new(BinaryArray::from_iter(rows.iter().map(|row| Some(row.1.to_le_bytes()[..2].to_vec())))),
    ];
    let schema = table(&[], vec![]).schema.to_arrow();
    Batch {
        records: RecordBatch::try_new(schema, columns).unwrap(),
        kinds: Some(rows.iter().map(|row| row.0).collect()),
    }
}

fn write(table: &TableSpec, batches: &[Batch]) -> Result<(), ConnectorError> {
    Jdbc.check_sink(table).unwrap();
    Jdbc.probe_sink(table, &connector_context())?;
    let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::Upsert };
    let mut writer = Jdbc.create_writer(&sink, &subtask_context(0, 1))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.flush()?;
    writer.finish()
}

fn rows(path: &str, sql: &'static str) -> Vec<String> {
    let context = connector_context();
    context.io.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    })
}

const ALL: &str = "SELECT concat_ws('|', id, coalesce(name, 'null'), coalesce(amount, 'null'), rate, good, ts, hex(raw)) \
                   FROM kpi ORDER BY id";

#[test]
fn rows_are_upserted_and_deleted_by_key() {
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/kpi.db");
    let path = path.to_str().unwrap();
    let url = format!("jdbc:sqlite:{path}");
    let table = table(
        &[("url", &url), ("table-name", "kpi"), ("sink.create-table", "true"), ("sink.buffer-flush.max-rows", "3")],
        vec![0],
    );
    let batches = [
        batch(&[(Insert, 1, Some(125)), (Insert, 2, None), (Insert, 3, Some(-5)), (Insert, 4, Some(400))]),
        batch(&[(UpdateBefore, 1, Some(125)), (UpdateAfter, 1, Some(250)), (Delete, 3, Some(-5))]),
        batch(&[(UpdateAfter, 1, Some(300)), (Delete, 4, Some(400)), (Insert, 4, Some(401))]),
    ];
    write(&table, &batches).unwrap();
    let expected = [
        "1|name 1|3|0.25|0|2024-06-01 10:00:00.5|0100",
        "2|null|null|0.5|1|2024-06-01 10:00:01|0200",
        "4|name 4|4.01|1.0|1|2024-06-01 10:00:02|0400",
    ];
    assert_eq!(rows(path, ALL), expected);
    // Writing again changes nothing.
    write(&table, &batches).unwrap();
    assert_eq!(rows(path, ALL), expected);
}

#[test]
fn without_a_key_rows_are_appended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let path = path.to_str().unwrap();
    let url = format!("jdbc:sqlite:{path}");
    let table = table(&[("url", &url), ("table-name", "kpi"), ("sink.create-table", "true")], vec![]);
    let many: Vec<_> = (0..1000).map(|id| (RowKind::Insert, id % 10, Some(i128::from(id)))).collect();
    write(&table, &[batch(&many)]).unwrap();
    assert_eq!(rows(path, "SELECT cast(count(*) AS TEXT) FROM kpi"), ["1000"]);
    assert!(Jdbc.sink_changelog(&table, ChangelogMode::Retract).unwrap_err().message.contains("PRIMARY KEY"));
}

#[test]
fn two_writers_share_a_file_and_the_timer_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kpi.db");
    let path = path.to_str().unwrap();
    let url = format!("jdbc:sqlite:{path}");
    let options = [
        ("url", url.as_str()),
        ("table-name", "kpi"),
        ("sink.create-table", "true"),
        ("sink.buffer-flush.interval", "100 ms"),
    ];
    let table = table(&options, vec![0]);
    let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::Upsert };
    let threads: Vec<_> = (0..2)
        .map(|subtask| {
            let sink = sink.clone();
            std::thread::spawn(move || {
                let mut writer = Jdbc.create_writer(&sink, &subtask_context(subtask, 2)).unwrap();
                for round in 0..20 {
                    let ids: Vec<_> = (0..150)
                        .map(|i| (RowKind::Insert, i64::from(subtask) * 10_000 + round * 150 + i, None))
                        .collect();
                    writer.write(&batch(&ids)).unwrap();
                }
                writer.write(&batch(&[(RowKind::Insert, i64::from(subtask) + 90_000, None)])).unwrap();
                std::thread::sleep(Duration::from_millis(120));
                writer.on_timer().unwrap();
                writer.flush().unwrap();
                assert_eq!(writer.next_timer(), None);
                writer.finish().unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(rows(path, "SELECT cast(count(*) AS TEXT) FROM kpi"), ["6002"]);
}

#[test]
fn a_refused_row_is_told_although_no_other_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kpi.db");
    let context = connector_context();
    context.io.block_on(async {
        let mut connection =
            SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        let sql = "CREATE TABLE kpi (id PRIMARY KEY, name NOT NULL, amount, rate, good, ts, raw)";
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    });
    let url = format!("jdbc:sqlite:{}", path.display());
    let options = [("url", url.as_str()), ("table-name", "kpi"), ("sink.buffer-flush.interval", "10 ms")];
    let sink = SinkSpec { table: table(&options, vec![0]), changelog: ChangelogMode::Upsert };
    let mut writer = Jdbc.create_writer(&sink, &subtask_context(0, 1)).unwrap();
    writer.write(&batch(&[(RowKind::Insert, 1, None)])).unwrap();
    let error = loop {
        let timer = writer.next_timer().unwrap();
        std::thread::sleep(timer.saturating_duration_since(std::time::Instant::now()));
        if let Err(error) = writer.on_timer() {
            break error.to_string();
        }
    };
    assert!(error.contains("NOT NULL constraint failed: kpi.name"), "{error}");
}

#[test]
fn what_does_not_fit_is_told_plainly() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kpi.db");
    let url = format!("jdbc:sqlite:{}", path.display());
    let plain = [("url", url.as_str()), ("table-name", "kpi")];
    let error = write(&table(&plain, vec![0]), &[]).unwrap_err().to_string();
    assert!(error.ends_with("does not exist; create the database, or set 'sink.create-table' = 'true'"), "{error}");
    let context = connector_context();
    context.io.block_on(async {
        let mut connection =
            SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        for sql in ["CREATE TABLE other (x)", "CREATE TABLE kpi (id, name, amount, rate, good, ts, raw)"] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    });
    let error = write(&table(&[("url", &url), ("table-name", "other")], vec![]), &[]).unwrap_err().to_string();
    assert!(error.contains("has no column 'id'; its columns are x"), "{error}");
    let error = write(&table(&[("url", &url), ("table-name", "third")], vec![]), &[]).unwrap_err().to_string();
    assert!(error.contains("has no table 'third'; create it"), "{error}");
    let error = write(&table(&plain, vec![0]), &[]).unwrap_err().to_string();
    assert!(error.contains("no primary key or unique index over (id)"), "{error}");
    let check = |options: &[(&str, &str)]| Jdbc.check_sink(&table(options, vec![])).unwrap_err().message;
    assert!(check(&[("url", "jdbc:mysql://h/d"), ("table-name", "t")]).contains("only 'jdbc:postgresql://"));
    assert!(check(&[("url", "jdbc:postgresql://h:x/d"), ("table-name", "t")]).contains("'x' is not a port"));
    assert!(check(&[("url", "jdbc:postgresql://h/d?sslmode=require"), ("table-name", "t")]).contains("not encrypted"));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let options = [
        ("url", "jdbc:postgresql://127.0.0.1:1/shop"),
        ("table-name", "kpi"),
        ("username", "u"),
        ("password", "very secret"),
    ];
    let error = write(&table(&options, vec![0]), &[]).unwrap_err().to_string();
    assert!(error.contains("connecting to PostgreSQL database 'shop' at 127.0.0.1:1 failed"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

/// A table in a job with checkpoints.
struct Job {
    _directory: tempfile::TempDir,
    path: String,
    sink: SinkSpec,
}

impl Job {
    fn new(primary_key: Vec<usize>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kpi.db").display().to_string();
        let url = format!("jdbc:sqlite:{path}");
        let options = [("url", url.as_str()), ("table-name", "kpi"), ("sink.create-table", "true")];
        let sink = SinkSpec { table: table(&options, primary_key), changelog: ChangelogMode::InsertOnly };
        Self { _directory: directory, path, sink }
    }

    /// In an attempt of the whole job.
    fn writer(&self, job: &str, attempt: u32, subtask: u32) -> Box<dyn SinkWriter> {
        self.writer_of_region(job, (attempt, attempt), subtask)
    }

    /// In an attempt, of a job that was last started as a whole as of another one.
    fn writer_of_region(&self, job: &str, (attempt, first): (u32, u32), subtask: u32) -> Box<dyn SinkWriter> {
        let context = SubtaskContext {
            job_id: job.to_owned(),
            attempt: AttemptId(attempt),
            first_attempt: AttemptId(first),
            checkpointed: true,
            ..subtask_context(subtask, 2)
        };
        Jdbc.create_writer(&self.sink, &context).unwrap()
    }

    fn ids(&self) -> Vec<i64> {
        rows(&self.path, "SELECT cast(id AS TEXT) FROM kpi ORDER BY id").iter().map(|id| id.parse().unwrap()).collect()
    }
}

fn epoch(job: &str, subtask: u32, checkpoint: u64, rows: Option<Vec<u8>>) -> Vec<PreparedEpoch> {
    let origin = EpochOrigin {
        job: JobId::from(job),
        sink: "test".to_owned(),
        subtask: SubtaskIndex(subtask),
        checkpoint: CheckpointId(checkpoint),
    };
    rows.into_iter().map(|rows| PreparedEpoch { origin: origin.clone(), rows }).collect()
}

fn inserts(ids: std::ops::Range<i64>) -> Batch {
    batch(&ids.map(|id| (RowKind::Insert, id, (id % 3 > 0).then_some(125))).collect::<Vec<_>>())
}

/// Ends an attempt after each of its steps; the next one starts from the newest complete checkpoint and
/// writes again what that does not hold.
#[test]
fn bug_17_rows_without_a_key_are_published_once_wherever_an_attempt_dies() {
    for died_after in 0..9 {
        let job = Job::new(vec![]);
        let mut writer = job.writer("j1", 1, 0);
        writer.recover(Vec::new()).unwrap();
        let mut restart: (Vec<PreparedEpoch>, i64) = (Vec::new(), 0);
        let mut first = Vec::new();
        for step in 0..=died_after {
            match step {
                0 => writer.write(&inserts(0..5)).unwrap(),
                1 => first = epoch("j1", 0, 1, writer.prepare_commit(CheckpointId(1)).unwrap()),
                2 => writer.write(&inserts(5..8)).unwrap(),
                3 => restart = (first.clone(), 5),
                4 => writer.commit(CheckpointId(1)).unwrap(),
                5 => {
                    let second = writer.prepare_commit(CheckpointId(2)).unwrap();
                    first = [first, epoch("j1", 0, 2, second)].concat();
                }
                6 => writer.write(&inserts(8..9)).unwrap(),
                7 => restart = (first.clone(), 8),
                // Committed, and the answer lost: the checkpoint still holds the rows.
                _ => writer.commit(CheckpointId(2)).unwrap(),
            }
        }
        drop(writer);
        for attempt in [2, 3] {
            let mut writer = job.writer("j1", attempt, 0);
            writer.recover(restart.0.clone()).unwrap();
            assert_eq!(job.ids(), (0..restart.1).collect::<Vec<_>>(), "attempt {attempt} after step {died_after}");
            writer.write(&inserts(restart.1..10)).unwrap();
            if attempt == 3 {
                writer.finish().unwrap();
                writer.prepare_commit(CheckpointId(9)).unwrap();
                writer.commit(CheckpointId(9)).unwrap();
            }
        }
        assert_eq!(job.ids(), (0..10).collect::<Vec<_>>(), "after step {died_after}");
    }
}

#[test]
fn bug_16_commits_may_be_lost_or_come_late() {
    let job = Job::new(vec![]);
    let mut writer = job.writer("j1", 1, 0);
    for checkpoint in 1..=3 {
        writer.write(&inserts(checkpoint * 10..checkpoint * 10 + 2)).unwrap();
        writer.prepare_commit(CheckpointId(checkpoint as u64)).unwrap().unwrap();
    }
    assert_eq!(writer.prepare_commit(CheckpointId(4)).unwrap(), None);
    assert!(job.ids().is_empty());
    writer.commit(CheckpointId(2)).unwrap();
    writer.commit(CheckpointId(1)).unwrap();
    assert_eq!(job.ids(), [10, 11, 20, 21]);
    for _ in 0..2 {
        writer.commit(CheckpointId(4)).unwrap();
        assert_eq!(job.ids(), [10, 11, 20, 21, 30, 31]);
    }
}

#[test]
fn bug_13_jobs_subtasks_and_forks_keep_their_own_markers() {
    let job = Job::new(vec![]);
    let mut epochs = Vec::new();
    for (name, subtask) in [("j1", 0), ("j1", 1), ("j2", 0)] {
        let mut writer = job.writer(name, 1, subtask);
        writer.recover(Vec::new()).unwrap();
        let first = 100 * epochs.len() as i64;
        writer.write(&inserts(first..first + 2)).unwrap();
        epochs.push(epoch(name, subtask, 1, writer.prepare_commit(CheckpointId(1)).unwrap()));
    }
    // j1 comes back with one subtask, which publishes for both.
    let both = [epochs[1].clone(), epochs[0].clone()].concat();
    job.writer("j1", 2, 0).recover(both.clone()).unwrap();
    assert_eq!(job.ids(), [0, 1, 100, 101]);
    job.writer("j2", 2, 0).recover(epochs[2].clone()).unwrap();
    // A fork of j1's checkpoint finds its rows published, and does not lock j1 out.
    let mut fork = job.writer("j3", 1, 0);
    fork.recover(both).unwrap();
    fork.write(&inserts(300..301)).unwrap();
    fork.prepare_commit(CheckpointId(2)).unwrap();
    fork.commit(CheckpointId(2)).unwrap();
    assert_eq!(job.ids(), [0, 1, 100, 101, 200, 201, 300]);
}

#[test]
fn bug_1_a_zombie_changes_nothing() {
    // Without a key: what it is told to publish is published already, or not its own any more.
    let job = Job::new(vec![]);
    let mut zombie = job.writer("j1", 1, 0);
    zombie.recover(Vec::new()).unwrap();
    zombie.write(&inserts(0..2)).unwrap();
    let epochs = epoch("j1", 0, 1, zombie.prepare_commit(CheckpointId(1)).unwrap());
    let mut writer = job.writer("j1", 2, 0);
    writer.recover(epochs.clone()).unwrap();
    let error = zombie.commit(CheckpointId(1)).unwrap_err();
    assert!(matches!(error, ConnectorError::Fenced { .. }), "{error}");
    assert!(error.to_string().contains("another attempt of the job has taken over"), "{error}");
    // One that only starts now is late.
    assert!(matches!(job.writer("j1", 1, 0).recover(epochs), Err(ConnectorError::Fenced { .. })));
    assert_eq!(job.ids(), [0, 1]);

    // With a key: older values must not replace newer ones, in whichever subtask.
    let job = Job::new(vec![0]);
    let mut zombie = job.writer("j1", 1, 1);
    zombie.recover(Vec::new()).unwrap();
    zombie.write(&batch(&[(RowKind::Insert, 7, Some(100))])).unwrap();
    let mut writer = job.writer("j1", 2, 0);
    writer.recover(Vec::new()).unwrap();
    writer.write(&batch(&[(RowKind::Insert, 7, Some(200))])).unwrap();
    assert_eq!(writer.prepare_commit(CheckpointId(5)).unwrap(), None);
    assert!(matches!(zombie.prepare_commit(CheckpointId(5)), Err(ConnectorError::Fenced { .. })));
    assert_eq!(rows(&job.path, "SELECT cast(amount AS TEXT) FROM kpi"), ["2"]);
    writer.finish().unwrap();
    writer.prepare_commit(CheckpointId(6)).unwrap();
    writer.commit(CheckpointId(6)).unwrap();
}

/// The regions of a sink's subtasks start again without each other, and each locks out but itself; a job that
/// starts as a whole locks out all, also subtasks that it does not have any more.
#[test]
fn a_region_that_starts_again_locks_out_its_own_past_and_nobody_else() {
    let job = Job::new(vec![0]);
    let row = |id| batch(&[(RowKind::Insert, id, Some(100))]);
    let mut healthy = job.writer_of_region("j1", (1, 1), 0);
    let mut zombie = job.writer_of_region("j1", (2, 1), 1);
    for writer in [&mut healthy, &mut zombie] {
        writer.recover(Vec::new()).unwrap();
    }
    zombie.write(&row(1)).unwrap();
    let mut again = job.writer_of_region("j1", (3, 1), 1);
    again.recover(Vec::new()).unwrap();
    assert!(matches!(zombie.prepare_commit(CheckpointId(5)), Err(ConnectorError::Fenced { .. })));
    for (writer, id) in [(&mut healthy, 2), (&mut again, 3)] {
        writer.write(&row(id)).unwrap();
        assert_eq!(writer.prepare_commit(CheckpointId(5)).unwrap(), None);
    }
    assert_eq!(job.ids(), [2, 3]);
    // At a lower parallelism: nobody takes the place of subtask 1.
    let mut whole = job.writer("j1", 4, 0);
    whole.recover(Vec::new()).unwrap();
    let mut late = job.writer_of_region("j1", (3, 1), 1);
    assert!(late.recover(Vec::new()).and_then(|()| late.write(&row(5))).and_then(|()| late.flush()).is_err());
    for (writer, id) in [(&mut healthy, 6), (&mut again, 7)] {
        assert!(writer.write(&row(id)).and_then(|()| writer.flush()).is_err());
    }
    assert_eq!(job.ids(), [2, 3]);
}

#[test]
fn rows_of_other_columns_are_not_published_blindly() {
    let job = Job::new(vec![]);
    let mut writer = job.writer("j1", 1, 0);
    writer.write(&inserts(0..2)).unwrap();
    let epochs = epoch("j1", 0, 1, writer.prepare_commit(CheckpointId(1)).unwrap());
    let mut changed = job.sink.clone();
    changed.table.schema.fields.truncate(2);
    let context = SubtaskContext { checkpointed: true, ..subtask_context(0, 1) };
    let error = Jdbc.create_writer(&changed, &context).unwrap().recover(epochs.clone()).unwrap_err().to_string();
    assert!(error.contains("with other columns than 'kpi' has now"), "{error}");
    let mut cut = epochs.clone();
    cut[0].rows.truncate(30);
    assert!(matches!(job.writer("j1", 2, 0).recover(cut), Err(ConnectorError::State { .. })));
    assert!(job.ids().is_empty());
    job.writer("j1", 2, 0).recover(epochs).unwrap();
    assert_eq!(job.ids(), [0, 1]);
}

#[test]
fn postgres_takes_the_same_rows() {
    use RowKind::{Delete, Insert, UpdateAfter};
    let Some(postgres) = Service::start("postgres.sh").unwrap() else { return };
    let (user, address) = postgres.address.trim_start_matches("postgresql://").split_once('@').unwrap();
    let url = format!("jdbc:postgresql://{address}");
    let (host_port, database) = address.split_once('/').unwrap();
    let (host, port) = host_port.split_once(':').unwrap();
    let server = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port.parse().unwrap())
        .database(database)
        .username(user)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable);
    let context = connector_context();
    let run = |sql: &'static str| {
        context.io.block_on(async {
            let mut connection = server.connect().await.unwrap();
            let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>()
        })
    };
    run("DROP TABLE IF EXISTS kpi; CREATE TABLE kpi (raw bytea, id bigint PRIMARY KEY, name varchar(20), \
         amount numeric(12, 2), rate real, good boolean, ts timestamp(3)); DROP TABLE IF EXISTS bad; \
         CREATE TABLE bad (id text, name text, amount text, rate text, good text, ts text, raw text)");
    let options = |table_name: &'static str| {
        vec![("url", url.clone()), ("table-name", table_name.to_owned()), ("username", user.to_owned())]
    };
    let table = |name, key| {
        let options = options(name);
        table(&options.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>(), key)
    };
    let batches = [
        batch(&[(Insert, 1, Some(125)), (Insert, 2, None), (Insert, 3, Some(-5)), (Insert, 4, Some(400))]),
        batch(&[(UpdateAfter, 1, Some(300)), (Delete, 3, None), (Delete, 4, None), (Insert, 4, Some(401))]),
    ];
    for _ in 0..2 {
        write(&table("KPI", vec![0]), &batches).unwrap();
        assert_eq!(
            run(
                "SELECT concat_ws('|', id, coalesce(name, 'null'), coalesce(amount::text, 'null'), rate, good, ts, raw) \
                 FROM kpi ORDER BY id"
            ),
            [
                "1|name 1|3.00|0.25|f|2024-06-01 10:00:00.5|\\x0100",
                "2|null|null|0.5|t|2024-06-01 10:00:01|\\x0200",
                "4|name 4|4.01|1|t|2024-06-01 10:00:02|\\x0400",
            ]
        );
    }
    let error = write(&table("public.bad", vec![]), &[]).unwrap_err().to_string();
    assert!(error.contains("column 'id' is BIGINT, but in PostgreSQL database"), "{error}");
    let error = write(&table("kpi", vec![0, 1]), &[]).unwrap_err().to_string();
    assert!(error.contains("no primary key or unique index over (id, name)"), "{error}");
    let error = write(&table("nope", vec![0]), &[]).unwrap_err().to_string();
    assert!(error.contains("has no table 'nope'"), "{error}");
    // A value that the database refuses is not tried again.
    run("ALTER TABLE kpi ADD CHECK (id < 100)");
    let error = write(&table("kpi", vec![0]), &[batch(&[(Insert, 100, None)])]).unwrap_err().to_string();
    assert!(error.contains("violates check constraint"), "{error}");
    // A connection that is lost is made again.
    let sink = SinkSpec { table: table("kpi", vec![0]), changelog: ChangelogMode::Upsert };
    let subtask = subtask_context(0, 1);
    let mut writer = Jdbc.create_writer(&sink, &subtask).unwrap();
    run("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'tidemill'");
    writer.write(&batch(&[(Insert, 50, None)])).unwrap();
    writer.finish().unwrap();
    assert_eq!(run("SELECT count(*)::text FROM kpi WHERE id = 50"), ["1"]);
    assert_eq!(subtask.metrics.retries.load(std::sync::atomic::Ordering::Relaxed), 1);
}
