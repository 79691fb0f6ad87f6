//! Splits of every size give every line once; parts hold what was written.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, SubtaskIndex};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Filesystem;
use crate::api::{Connector, ConnectorError, PreparedEpoch, SinkWriter, SourcePoll, SubtaskContext};
use crate::testing::{connector_context, subtask_context};

fn table(path: &Path, options: &[(&str, &str)]) -> TableSpec {
    let mut all = BTreeMap::from([
        ("connector".to_owned(), "filesystem".to_owned()),
        ("path".to_owned(), path.display().to_string()),
        ("format".to_owned(), "json".to_owned()),
    ]);
    all.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    TableSpec {
        name: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options: all,
        schema: Schema::new(vec![
            Field::new("i", LogicalType::BigInt.nullable()),
            Field::new("s", LogicalType::STRING.nullable()),
        ]),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

fn source(table: TableSpec) -> SourceSpec {
    SourceSpec {
        projection: (0..table.schema.len()).collect(),
        table,
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    }
}

fn read_all(source: &SourceSpec) -> Vec<i64> {
    let mut enumerator = Filesystem.create_enumerator(source, 1, &connector_context()).unwrap();
    enumerator.discover().unwrap();
    let mut reader = Filesystem.create_reader(source, &subtask_context(0, 1)).unwrap();
    let mut values = Vec::new();
    loop {
        match reader.poll(Duration::ZERO).unwrap() {
            SourcePoll::Rows { records, .. } => {
                values.extend(records.column(0).as_primitive::<Int64Type>().values().iter().copied());
                // A reader that goes on from a snapshot reads the rest.
                let snapshot = reader.snapshot();
                reader = Filesystem.create_reader(source, &subtask_context(0, 1)).unwrap();
                reader.add_splits(snapshot).unwrap();
            }
            SourcePoll::NoSplits => {
                let splits = enumerator.next_splits(SubtaskIndex(0));
                if splits.is_empty() {
                    assert!(enumerator.is_exhausted(SubtaskIndex(0)));
                    return values;
                }
                reader.add_splits(splits).unwrap();
            }
            SourcePoll::Pending | SourcePoll::SplitFinished(_) => {}
        }
    }
}

#[test]
fn splits_of_every_size_give_every_line_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lines.json");
    let lines: Vec<String> = (0..50).map(|i| format!("{{\"i\":{i},\"s\":\"{}\"}}", "x".repeat(i % 7))).collect();
    // With and without an end of the last line.
    for text in [lines.join("\n"), lines.join("\n") + "\n"] {
        std::fs::write(&path, &text).unwrap();
        for size in 1..=text.len() + 1 {
            let spec = source(table(&path, &[("source.split-size", &format!("{size} b"))]));
            let mut values = read_all(&spec);
            values.sort_unstable();
            assert_eq!(values, (0..50).collect::<Vec<i64>>(), "split size {size}");
        }
    }
}

#[test]
fn a_malformed_line_is_named_by_its_number_in_every_split() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lines.json");
    let lines: Vec<String> =
        (1..=50).map(|i| if i == 37 { "oops".to_owned() } else { format!("{{\"i\":{i}}}") }).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    for size in [10, 64, 10_000] {
        let spec = source(table(&path, &[("source.split-size", &format!("{size} b"))]));
        let mut enumerator = Filesystem.create_enumerator(&spec, 1, &connector_context()).unwrap();
        enumerator.discover().unwrap();
        let mut reader = Filesystem.create_reader(&spec, &subtask_context(0, 1)).unwrap();
        let error = loop {
            match reader.poll(Duration::ZERO) {
                Ok(SourcePoll::NoSplits) => reader.add_splits(enumerator.next_splits(SubtaskIndex(0))).unwrap(),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("lines.json:37: "), "{size}: {error}");
    }
}

#[test]
fn directories_are_read_without_hidden_files() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::fs::write(directory.path().join("a"), "{\"i\":1}\n").unwrap();
    std::fs::write(directory.path().join("sub/b"), "{\"i\":2}\n").unwrap();
    std::fs::write(directory.path().join(".hidden"), "{\"i\":3}\n").unwrap();
    std::fs::write(directory.path().join("_success"), "").unwrap();
    assert_eq!(read_all(&source(table(directory.path(), &[]))), [1, 2]);
    assert_eq!(read_all(&source(table(&directory.path().join("*"), &[]))), [1]);
    let missing = table(&directory.path().join("nothing"), &[]);
    let error = Filesystem.probe_source(&missing, &connector_context()).unwrap_err().to_string();
    assert!(error.contains("there is no file"), "{error}");
}

#[test]
fn a_followed_file_gives_whole_lines_as_they_are_appended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, "{\"i\":1}\n{\"i\":").unwrap();
    let spec = source(table(directory.path(), &[("source.monitor-interval", "1 s"), ("source.follow", "true")]));
    let mut enumerator = Filesystem.create_enumerator(&spec, 1, &connector_context()).unwrap();
    enumerator.discover().unwrap();
    let mut reader = Filesystem.create_reader(&spec, &subtask_context(0, 1)).unwrap();
    reader.add_splits(enumerator.next_splits(SubtaskIndex(0))).unwrap();
    let mut read = || {
        let mut values = Vec::new();
        for _ in 0..3 {
            if let SourcePoll::Rows { records, .. } = reader.poll(Duration::ZERO).unwrap() {
                values.extend(records.column(0).as_primitive::<Int64Type>().values().iter().copied());
            }
        }
        values
    };
    assert_eq!(read(), [1]);
    assert!(read().is_empty());
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"2}\n{\"i\":3}\n").unwrap();
    assert_eq!(read(), [2, 3]);
    assert!(!enumerator.is_exhausted(SubtaskIndex(0)));
}

#[test]
fn parts_appear_when_they_are_finished() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("in.json");
    std::fs::write(&input, "{\"i\":1,\"s\":\"a\"}\n{\"i\":2,\"s\":null}\n").unwrap();
    let out = directory.path().join("out");
    let spec = SinkSpec { table: table(&out, &[]), changelog: ChangelogMode::InsertOnly };
    let read = source(table(&input, &[]));
    let mut reader = Filesystem.create_reader(&read, &subtask_context(0, 1)).unwrap();
    let mut enumerator = Filesystem.create_enumerator(&read, 1, &connector_context()).unwrap();
    enumerator.discover().unwrap();
    reader.add_splits(enumerator.next_splits(SubtaskIndex(0))).unwrap();
    let SourcePoll::Rows { records, .. } = reader.poll(Duration::ZERO).unwrap() else { panic!("no rows") };

    let visible = || {
        let names = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).collect::<Vec<_>>()
    };
    let mut writer = Filesystem.create_writer(&spec, &subtask_context(0, 1)).unwrap();
    writer.write(&Batch::insert(records.clone())).unwrap();
    writer.flush().unwrap();
    assert!(visible().is_empty());
    writer.finish().unwrap();
    let parts = visible();
    assert_eq!(parts.len(), 1);
    assert_eq!(std::fs::read_to_string(&parts[0]).unwrap(), "{\"i\":1,\"s\":\"a\"}\n{\"i\":2,\"s\":null}\n");

    // A writer that is dropped unfinished leaves nothing.
    let mut writer = Filesystem.create_writer(&spec, &subtask_context(0, 1)).unwrap();
    writer.write(&Batch::insert(records)).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

/// A sink in a job with checkpoints, whose attempts die at any point.
struct Sink {
    directory: tempfile::TempDir,
    options: Vec<(&'static str, &'static str)>,
    job: &'static str,
    parallelism: u32,
}

impl Sink {
    fn new(options: &[(&'static str, &'static str)]) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), options: options.to_vec(), job: "j1", parallelism: 1 }
    }

    fn context(&self, attempt: u32, subtask: u32) -> SubtaskContext {
        SubtaskContext {
            job_id: self.job.to_owned(),
            attempt: AttemptId(attempt),
            first_attempt: AttemptId(attempt),
            checkpointed: true,
            ..subtask_context(subtask, self.parallelism)
        }
    }

    fn writer(&self, attempt: u32, subtask: u32) -> Box<dyn SinkWriter> {
        let sink =
            SinkSpec { table: table(self.directory.path(), &self.options), changelog: ChangelogMode::InsertOnly };
        Filesystem.create_writer(&sink, &self.context(attempt, subtask)).unwrap()
    }

    fn epoch(&self, subtask: u32, checkpoint: u64, rows: Option<Vec<u8>>) -> Vec<PreparedEpoch> {
        let origin = EpochOrigin {
            job: JobId::from(self.job),
            sink: "test".to_owned(),
            subtask: SubtaskIndex(subtask),
            checkpoint: CheckpointId(checkpoint),
        };
        rows.into_iter().map(|rows| PreparedEpoch { origin: origin.clone(), rows }).collect()
    }

    /// Names of hidden files, and the numbers in all parts that anybody can see.
    fn state(&self) -> (Vec<String>, Vec<i64>) {
        let (mut hidden, mut rows) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') {
                hidden.push(name);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                rows.extend(text.lines().map(|line| line[5..line.find([',', '}']).unwrap()].parse::<i64>().unwrap()));
            }
        }
        rows.sort_unstable();
        (hidden, rows)
    }

    fn visible(&self) -> Vec<i64> {
        self.state().1
    }
}

fn numbers(range: std::ops::Range<i64>) -> Batch {
    let columns: Vec<arrow::array::ArrayRef> = vec![
        std::sync::Arc::new(arrow::array::Int64Array::from_iter_values(range.clone())),
        std::sync::Arc::new(arrow::array::StringArray::from_iter(range.map(|_| None::<&str>))),
    ];
    let schema = table(Path::new("/"), &[]).schema.to_arrow();
    Batch::insert(arrow::array::RecordBatch::try_new(schema, columns).unwrap())
}

/// A process that was killed: nothing of the writer runs any more.
fn kill(writer: Box<dyn SinkWriter>) {
    std::mem::forget(writer);
}

#[test]
fn parts_are_published_by_their_checkpoint_and_not_before() {
    let sink = Sink::new(&[("sink.rolling-policy.file-size", "100 b")]);
    let mut writer = sink.writer(1, 0);
    writer.recover(Vec::new()).unwrap();
    for first in [0, 5, 10] {
        writer.write(&numbers(first..first + 5)).unwrap();
    }
    writer.prepare_commit(CheckpointId(1)).unwrap().unwrap();
    writer.write(&numbers(15..20)).unwrap();
    writer.prepare_commit(CheckpointId(2)).unwrap().unwrap();
    assert_eq!(writer.prepare_commit(CheckpointId(3)).unwrap(), None);
    assert!(sink.visible().is_empty());
    writer.commit(CheckpointId(1)).unwrap();
    assert_eq!(sink.visible(), (0..15).collect::<Vec<_>>());
    // Checkpoint 2 was aborted; the one after it publishes its rows. Twice is once.
    writer.commit(CheckpointId(3)).unwrap();
    writer.commit(CheckpointId(3)).unwrap();
    writer.commit(CheckpointId(2)).unwrap();
    assert_eq!(sink.visible(), (0..20).collect::<Vec<_>>());
    // The tail, after the end of the input.
    writer.write(&numbers(20..22)).unwrap();
    writer.finish().unwrap();
    assert_eq!(sink.visible().len(), 20);
    writer.prepare_commit(CheckpointId(4)).unwrap().unwrap();
    writer.commit(CheckpointId(4)).unwrap();
    assert_eq!(sink.state(), (Vec::new(), (0..22).collect()));
}

/// Kills an attempt after each of its steps; the next one starts from the newest complete checkpoint and
/// writes again what that does not hold.
#[test]
fn bug_19_no_part_is_lost_or_doubled_wherever_an_attempt_dies() {
    for died_after in 0..9 {
        let sink = Sink::new(&[]);
        let mut writer = sink.writer(1, 0);
        writer.recover(Vec::new()).unwrap();
        // What a restart finds: the epochs of the newest complete checkpoint, and the next row.
        let mut restart: (Vec<PreparedEpoch>, i64) = (Vec::new(), 0);
        let mut first = Vec::new();
        for step in 0..=died_after {
            match step {
                0 => writer.write(&numbers(0..5)).unwrap(),
                1 => first = sink.epoch(0, 1, writer.prepare_commit(CheckpointId(1)).unwrap()),
                2 => writer.write(&numbers(5..8)).unwrap(),
                3 => restart = (first.clone(), 5),
                4 => writer.commit(CheckpointId(1)).unwrap(),
                5 => {
                    let second = writer.prepare_commit(CheckpointId(2)).unwrap();
                    first = [first, sink.epoch(0, 2, second)].concat();
                }
                6 => writer.write(&numbers(8..9)).unwrap(),
                7 => restart = (first.clone(), 8),
                _ => writer.commit(CheckpointId(2)).unwrap(),
            }
        }
        kill(writer);
        // The second attempt dies right after it has recovered.
        for attempt in [2, 3] {
            let mut writer = sink.writer(attempt, 0);
            writer.recover(restart.0.clone()).unwrap();
            assert_eq!(sink.visible(), (0..restart.1).collect::<Vec<_>>(), "attempt {attempt} after step {died_after}");
            assert!(sink.state().0.is_empty(), "leftovers after step {died_after}");
            writer.write(&numbers(restart.1..10)).unwrap();
            if attempt == 2 {
                kill(writer);
                continue;
            }
            writer.finish().unwrap();
            writer.prepare_commit(CheckpointId(9)).unwrap();
            writer.commit(CheckpointId(9)).unwrap();
        }
        assert_eq!(sink.state(), (Vec::new(), (0..10).collect()), "after step {died_after}");
    }
}

#[test]
fn bug_7_leftovers_of_other_jobs_and_newer_attempts_stay() {
    let mut sink = Sink::new(&[]);
    let mut others = Vec::new();
    for job in ["j2", "j1"] {
        sink.job = job;
        let mut writer = sink.writer(if job == "j1" { 5 } else { 1 }, 0);
        writer.write(&numbers(0..1)).unwrap();
        writer.prepare_commit(CheckpointId(1)).unwrap().unwrap();
        writer.write(&numbers(1..2)).unwrap();
        others.push(writer);
    }
    // A late start of an attempt that has been replaced.
    sink.writer(4, 0).recover(Vec::new()).unwrap();
    assert_eq!(sink.state().0.len(), 4);
    sink.writer(6, 0).recover(Vec::new()).unwrap();
    assert_eq!(sink.state().0.len(), 2);
}

#[test]
fn with_fewer_subtasks_each_old_one_is_recovered_once() {
    let mut sink = Sink::new(&[]);
    sink.parallelism = 4;
    let mut epochs = Vec::new();
    for subtask in 0..4 {
        let mut writer = sink.writer(1, subtask);
        let first = i64::from(subtask) * 10;
        writer.write(&numbers(first..first + 2)).unwrap();
        epochs.push(sink.epoch(subtask, 1, writer.prepare_commit(CheckpointId(1)).unwrap()));
        writer.write(&numbers(100..101)).unwrap();
        kill(writer);
    }
    sink.parallelism = 2;
    for subtask in [1, 0] {
        let mine = epochs.iter().skip(subtask).step_by(2).flatten().cloned().collect();
        sink.writer(2, subtask as u32).recover(mine).unwrap();
    }
    assert_eq!(sink.state(), (Vec::new(), vec![0, 1, 10, 11, 20, 21, 30, 31]));
}

#[test]
fn bug_1_a_zombie_publishes_nothing_of_its_own() {
    let sink = Sink::new(&[]);
    let mut zombie = sink.writer(1, 0);
    zombie.write(&numbers(0..2)).unwrap();
    let epoch = sink.epoch(0, 1, zombie.prepare_commit(CheckpointId(1)).unwrap());
    zombie.write(&numbers(2..4)).unwrap();
    let mut writer = sink.writer(2, 0);
    writer.recover(epoch).unwrap();
    zombie.commit(CheckpointId(1)).unwrap();
    zombie.finish().unwrap();
    drop(zombie);
    assert_eq!(sink.state(), (Vec::new(), vec![0, 1]));
}

#[test]
fn a_damaged_or_strange_epoch_is_refused() {
    let sink = Sink::new(&[]);
    let mut writer = sink.writer(1, 0);
    writer.write(&numbers(0..2)).unwrap();
    let rows = writer.prepare_commit(CheckpointId(1)).unwrap().unwrap();
    let recover = |rows: &str| {
        let epoch = sink.epoch(0, 1, Some(rows.as_bytes().to_vec()));
        sink.writer(2, 0).recover(epoch).unwrap_err()
    };
    let text = String::from_utf8(rows.clone()).unwrap();
    assert!(matches!(recover("{}"), ConnectorError::State { .. }));
    assert!(recover(&text.replace("\"version\":2", "\"version\":3")).to_string().contains("version 3"));
    assert!(recover(&text.replace("\"part-", "\"../part-")).to_string().contains("no name of a pending part"));
    // Somebody has cut the hidden file.
    let (hidden, _) = sink.state();
    std::fs::write(sink.directory.path().join(&hidden[0]), "{").unwrap();
    assert!(recover(&text).to_string().contains("has 1 bytes, and the checkpoint says"), "{}", recover(&text));
}
