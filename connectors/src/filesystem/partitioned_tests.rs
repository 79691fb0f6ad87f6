//! Partitions are written, read, left out and marked, wherever an attempt dies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, SubtaskIndex};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};
use tidemill_common::time::Watermark;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Filesystem;
use crate::api::{Connector, PreparedEpoch, SinkWriter, SourcePoll, SubtaskContext};
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
            Field::new("hour", LogicalType::BigInt.nullable()),
            Field::new("i", LogicalType::BigInt.nullable()),
            Field::new("day", LogicalType::STRING.nullable()),
        ]),
        primary_key: Vec::new(),
        partition_keys: vec![2, 0],
    }
}

/// Rows of a day and an hour.
fn rows(day: &str, hour: i64, numbers: std::ops::Range<i64>) -> Batch {
    let count = (numbers.end - numbers.start) as usize;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_value(hour, count)),
        Arc::new(Int64Array::from_iter_values(numbers)),
        Arc::new(StringArray::from(vec![day; count])),
    ];
    Batch::insert(RecordBatch::try_new(table(Path::new("/"), &[]).schema.to_arrow(), columns).unwrap())
}

/// All rows of a table: day, hour and number.
fn read(table: TableSpec, projection: &[usize]) -> Vec<String> {
    let source = SourceSpec {
        table,
        projection: projection.to_vec(),
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Filesystem.create_enumerator(&source, 1, &connector_context()).unwrap();
    enumerator.discover().unwrap();
    let mut reader = Filesystem.create_reader(&source, &subtask_context(0, 1)).unwrap();
    let mut found = Vec::new();
    loop {
        match reader.poll(Duration::ZERO).unwrap() {
            SourcePoll::Rows { records, .. } => {
                for row in 0..records.num_rows() {
                    let cells = records.columns().iter().map(|column| match column.is_null(row) {
                        true => "null".to_owned(),
                        false => match column.as_string_opt::<i32>() {
                            Some(texts) => texts.value(row).to_owned(),
                            None => column.as_primitive::<Int64Type>().value(row).to_string(),
                        },
                    });
                    found.push(cells.collect::<Vec<_>>().join(","));
                }
            }
            SourcePoll::NoSplits => {
                let splits = enumerator.next_splits(SubtaskIndex(0));
                if splits.is_empty() {
                    found.sort();
                    return found;
                }
                reader.add_splits(splits).unwrap();
            }
            SourcePoll::Pending | SourcePoll::SplitFinished(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_into_partitions_is_read_back(
        rows in proptest::collection::vec((proptest::option::of("[a-c%/:=\"☂ ]{1,3}"), proptest::option::of(-2i64..3), any::<i64>()), 1..60),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path(), &[]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(_, hour, _)| *hour).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(.., i)| Some(*i)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(day, ..)| day.clone()).collect::<StringArray>()),
        ];
        let records = RecordBatch::try_new(table.schema.to_arrow(), columns).unwrap();
        let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::InsertOnly };
        let mut writer = Filesystem.create_writer(&sink, &subtask_context(0, 1)).unwrap();
        writer.write(&Batch::insert(records)).unwrap();
        writer.finish().unwrap();
        let shown = |value: Option<String>| value.unwrap_or("null".to_owned());
        let mut expected: Vec<String> = rows
            .into_iter()
            .map(|(day, hour, i)| format!("{},{i},{}", shown(hour.map(|hour| hour.to_string())), shown(day)))
            .collect();
        expected.sort();
        prop_assert_eq!(read(table.clone(), &[0, 1, 2]), expected);
        // The columns of the path alone, and none of them.
        prop_assert_eq!(read(table.clone(), &[2]).len(), read(table, &[1]).len());
    }
}

#[test]
fn files_outside_of_partitions_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["day=1/hour=2", "day=1", "other", "_tmp/day=1/hour=2"] {
        std::fs::create_dir_all(directory.path().join(path)).unwrap();
        std::fs::write(directory.path().join(path).join("a"), "{\"i\":7}\n").unwrap();
    }
    assert_eq!(read(table(directory.path(), &[]), &[0, 1, 2]), ["2,7,1"]);
    std::fs::create_dir_all(directory.path().join("day=1/hour=noon")).unwrap();
    std::fs::write(directory.path().join("day=1/hour=noon/a"), "{\"i\":7}\n").unwrap();
    let source = SourceSpec {
        table: table(directory.path(), &[]),
        projection: vec![1],
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    };
    let mut enumerator = Filesystem.create_enumerator(&source, 1, &connector_context()).unwrap();
    let error = enumerator.discover().unwrap_err().to_string();
    assert!(error.contains("'hour' is 'noon', which is no BIGINT"), "{error}");
}

/// A sink whose partitions are marked.
struct Sink {
    directory: tempfile::TempDir,
    options: Vec<(&'static str, &'static str)>,
}

impl Sink {
    fn new(options: &[(&'static str, &'static str)]) -> Self {
        let mut all = vec![("sink.partition-commit.policy.kind", "success-file")];
        all.extend(options);
        Self { directory: tempfile::tempdir().unwrap(), options: all }
    }

    fn by_time() -> Self {
        Self::new(&[
            ("sink.partition-commit.trigger", "partition-time"),
            ("sink.partition-commit.delay", "1 h"),
            ("partition.time-extractor.timestamp-pattern", "$day $hour:00:00"),
        ])
    }

    fn writer(&self, attempt: u32) -> Box<dyn SinkWriter> {
        let table = table(self.directory.path(), &self.options);
        let sink = SinkSpec { table, changelog: ChangelogMode::InsertOnly };
        let context = SubtaskContext {
            job_id: "j".to_owned(),
            attempt: AttemptId(attempt),
            checkpointed: true,
            ..subtask_context(0, 1)
        };
        Filesystem.create_writer(&sink, &context).unwrap()
    }

    fn marked(&self) -> Vec<String> {
        let mut found: Vec<PathBuf> = glob::glob(&format!("{}/*/*/_SUCCESS", self.directory.path().display()))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        found.sort();
        let relative =
            |path: &PathBuf| path.parent().unwrap().strip_prefix(self.directory.path()).unwrap().display().to_string();
        found.iter().map(relative).collect()
    }

    fn visible(&self) -> usize {
        read(table(self.directory.path(), &[]), &[1]).len()
    }
}

fn epoch(checkpoint: u64, rows: Option<Vec<u8>>) -> Vec<PreparedEpoch> {
    let origin = EpochOrigin {
        job: JobId::from("j"),
        sink: "test".to_owned(),
        subtask: SubtaskIndex(0),
        checkpoint: CheckpointId(checkpoint),
    };
    rows.into_iter().map(|rows| PreparedEpoch { origin: origin.clone(), rows }).collect()
}

/// Milliseconds of an hour of the first of January 2024.
fn hour(hour: i64) -> Watermark {
    Watermark((19_723 * 24 + hour) * 3_600_000)
}

#[test]
fn partitions_are_marked_when_the_watermark_has_passed_them() {
    let sink = Sink::by_time();
    let mut writer = sink.writer(1);
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows("2024-01-01", 8, 0..3)).unwrap();
    writer.write(&rows("2024-01-01", 9, 3..5)).unwrap();
    // The hour and the delay must be over, to the millisecond.
    writer.watermark(hour(9));
    writer.prepare_commit(CheckpointId(1)).unwrap();
    writer.commit(CheckpointId(1)).unwrap();
    assert_eq!((sink.visible(), sink.marked().len()), (5, 0));
    writer.watermark(Watermark(hour(9).0 + 1));
    writer.prepare_commit(CheckpointId(2)).unwrap();
    assert_eq!(sink.marked().len(), 0);
    // What comes behind the barrier belongs to the next checkpoint.
    writer.watermark(hour(23));
    writer.commit(CheckpointId(2)).unwrap();
    assert_eq!(sink.marked(), ["day=2024-01-01/hour=8"]);
    // A late row: the partition is marked once more.
    std::fs::remove_file(sink.directory.path().join("day=2024-01-01/hour=8/_SUCCESS")).unwrap();
    writer.write(&rows("2024-01-01", 8, 5..6)).unwrap();
    writer.prepare_commit(CheckpointId(3)).unwrap();
    writer.commit(CheckpointId(3)).unwrap();
    assert_eq!(sink.marked(), ["day=2024-01-01/hour=8", "day=2024-01-01/hour=9"]);
    assert_eq!(writer.prepare_commit(CheckpointId(4)).unwrap(), None);
}

#[test]
fn rows_behind_the_barrier_keep_a_partition_pending() {
    let sink = Sink::new(&[]);
    let mut writer = sink.writer(1);
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows("d", 1, 0..1)).unwrap();
    writer.prepare_commit(CheckpointId(1)).unwrap();
    writer.write(&rows("d", 1, 1..2)).unwrap();
    writer.commit(CheckpointId(1)).unwrap();
    assert_eq!(sink.marked().len(), 1);
    std::fs::remove_file(sink.directory.path().join("day=d/hour=1/_SUCCESS")).unwrap();
    writer.prepare_commit(CheckpointId(2)).unwrap().unwrap();
    writer.commit(CheckpointId(2)).unwrap();
    assert_eq!((sink.visible(), sink.marked().len()), (2, 1));
}

#[test]
fn a_delay_by_the_clock_is_waited_for_and_ends_with_the_input() {
    let sink = Sink::new(&[("sink.partition-commit.delay", "1 h")]);
    let mut writer = sink.writer(1);
    writer.recover(Vec::new()).unwrap();
    writer.write(&rows("d", 1, 0..1)).unwrap();
    writer.prepare_commit(CheckpointId(1)).unwrap();
    writer.commit(CheckpointId(1)).unwrap();
    assert_eq!((sink.visible(), sink.marked().len()), (1, 0));
    writer.watermark(Watermark::MAX);
    writer.finish().unwrap();
    writer.prepare_commit(CheckpointId(2)).unwrap();
    writer.commit(CheckpointId(2)).unwrap();
    assert_eq!(sink.marked(), ["day=d/hour=1"]);
}

/// Kills an attempt after each of its steps: no mark is lost, and none is there before the rows.
#[test]
fn marks_outlive_every_death() {
    for died_after in 0..9 {
        let sink = Sink::by_time();
        let mut writer = sink.writer(1);
        writer.recover(Vec::new()).unwrap();
        let mut restart: (Vec<PreparedEpoch>, i64) = (Vec::new(), 0);
        let mut prepared = Vec::new();
        for step in 0..=died_after {
            match step {
                0 => writer.write(&rows("2024-01-01", 8, 0..5)).unwrap(),
                1 => writer.watermark(hour(12)),
                2 => prepared = epoch(1, writer.prepare_commit(CheckpointId(1)).unwrap()),
                3 => writer.write(&rows("2024-01-01", 13, 5..6)).unwrap(),
                4 => restart = (prepared.clone(), 5),
                5 => writer.commit(CheckpointId(1)).unwrap(),
                6 => prepared = epoch(2, writer.prepare_commit(CheckpointId(2)).unwrap()),
                7 => restart = (prepared.clone(), 6),
                _ => writer.commit(CheckpointId(2)).unwrap(),
            }
        }
        std::mem::forget(writer);
        for attempt in [2, 3] {
            let mut writer = sink.writer(attempt);
            writer.recover(restart.0.clone()).unwrap();
            assert_eq!(sink.visible() as i64, restart.1, "after step {died_after}");
            let rest = [(8, 0..5), (13, 5..6), (14, 6..9)];
            for (of_hour, numbers) in rest.into_iter().filter(|(_, numbers)| numbers.start >= restart.1) {
                writer.write(&rows("2024-01-01", of_hour, numbers)).unwrap();
            }
            if attempt == 2 {
                std::mem::forget(writer);
                continue;
            }
            writer.watermark(hour(15));
            writer.prepare_commit(CheckpointId(9)).unwrap();
            writer.commit(CheckpointId(9)).unwrap();
        }
        assert_eq!(sink.visible(), 9, "after step {died_after}");
        assert_eq!(sink.marked(), ["day=2024-01-01/hour=13", "day=2024-01-01/hour=8"], "after step {died_after}");
    }
}

#[test]
fn a_partition_without_a_time_fails_the_job() {
    let sink = Sink::by_time();
    let mut writer = sink.writer(1);
    let error = writer.write(&rows("yesterday", 8, 0..1)).unwrap_err().to_string();
    assert!(error.contains("'yesterday 8:00:00' cannot be read"), "{error}");
}

#[test]
fn many_partitions_do_not_need_as_many_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), &[]);
    let sink = SinkSpec { table: table.clone(), changelog: ChangelogMode::InsertOnly };
    let mut writer = Filesystem.create_writer(&sink, &subtask_context(0, 1)).unwrap();
    for number in 0..700 {
        writer.write(&rows("d", number, number..number + 1)).unwrap();
    }
    let hidden = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert!(hidden.count() <= 256);
    writer.finish().unwrap();
    assert_eq!(read(table, &[1]).len(), 700);
}

#[test]
fn options_are_checked() {
    let path = Path::new("/d");
    let error = |table: &TableSpec| Filesystem.check_sink(table).unwrap_err().to_string();
    let policy = "sink.partition-commit.policy.kind";
    for (options, expected) in [
        (vec![(policy, "metastore,success-file")], "no metastore"),
        (vec![(policy, "custom")], "Java class"),
        (vec![(policy, "success-file"), ("sink.parallelism", "4")], "by one writer"),
        (vec![(policy, "success-file"), ("sink.partition-commit.success-file.name", "a/b")], "no name of a file"),
        (vec![(policy, "success-file"), ("sink.partition-commit.watermark-time-zone", "Mars")], "no time zone"),
        (vec![("partition.time-extractor.kind", "custom")], "Java class"),
        (vec![("partition.time-extractor.timestamp-formatter", "yyyy-'MM")], "quote"),
    ] {
        let error = error(&table(path, &options));
        assert!(error.contains(expected), "{error}");
    }
    let plain = TableSpec { partition_keys: Vec::new(), ..table(path, &[(policy, "success-file")]) };
    assert!(error(&plain).contains("no PARTITIONED BY"));
    let mut bytes = table(path, &[]);
    bytes.schema.fields[2].data_type = LogicalType::BYTES.nullable();
    assert!(error(&bytes).contains("cannot hold"));
    assert_eq!(Filesystem.sink_parallelism_max(&table(path, &[(policy, "success-file")])), Some(1));
    assert_eq!(Filesystem.sink_parallelism_max(&table(path, &[])), None);
}
