//! Splits of every size give every line once; parts hold what was written.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tidemill_common::batch::Batch;
use tidemill_common::ids::SubtaskIndex;
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};
use tidemill_common::types::{Field, LogicalType, Schema};

use super::Filesystem;
use crate::api::{Connector, SourcePoll};
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
    }
}

fn source(table: TableSpec) -> SourceSpec {
    SourceSpec { projection: (0..table.schema.len()).collect(), table, computed: Vec::new(), watermark: None }
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
