//! Files in a store of objects, which here is in memory: written in pieces, completed once, read by ranges.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{CheckpointId, JobId, SubtaskIndex};
use tidemill_common::plan::TableSpec;
use tidemill_common::stores::Bucket;
use tidemill_common::types::{Field, LogicalType, Schema};
use url::Url;

use super::encoder::Encoders;
use super::remote::Remote;
use super::remote_parts::RemoteParts;
use super::settings::Settings;
use super::sink::PartWriter;
use super::storage::Storage;
use crate::api::{PreparedEpoch, SinkWriter, SubtaskContext};
use crate::testing::{connector_context, subtask_context};

struct Fixture {
    store: Arc<InMemory>,
    table: TableSpec,
}

impl Fixture {
    fn new(path: &str) -> Self {
        let options = [("connector", "filesystem"), ("path", path), ("format", "raw")];
        let table = TableSpec {
            name: "t".to_owned(),
            connector: "filesystem".to_owned(),
            options: options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            schema: Schema::new(vec![Field::new("s", LogicalType::STRING.nullable())]),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        };
        Self { store: Arc::new(InMemory::new()), table }
    }

    fn settings(&self) -> Settings {
        Settings::new(&self.table).unwrap()
    }

    fn remote(&self) -> Remote {
        let url = Url::parse(&self.table.options["path"]).unwrap();
        Remote {
            table: "t".to_owned(),
            bucket: Bucket { objects: self.store.clone(), uploads: self.store.clone() },
            directory: Key::parse(url.path()).unwrap(),
            url,
            context: connector_context(),
        }
    }

    fn put(&self, key: &str, content: &str) {
        let key = Key::parse(key).unwrap();
        let put = self.store.put(&key, content.as_bytes().to_vec().into());
        connector_context().io.block_on(put).unwrap();
    }

    fn writer(&self) -> PartWriter {
        let context = SubtaskContext { checkpointed: true, ..subtask_context(0, 1) };
        let format = crate::registry::format("raw").unwrap();
        let encoders = Encoders::new(format, self.table.clone(), context.clone());
        let store = Box::new(RemoteParts::new(self.remote()));
        PartWriter::new(self.settings(), encoders, store, (1, "raw"), &context)
    }

    fn listed(&self) -> Vec<(String, u64)> {
        let files = Storage::Remote(self.remote()).list(&self.settings()).unwrap();
        files.into_iter().map(|(path, size)| (path.display().to_string(), size)).collect()
    }
}

fn texts(texts: &[&str]) -> Batch {
    let schema = Fixture::new("s3://b/d").table.schema.to_arrow();
    let column = Arc::new(arrow::array::StringArray::from(texts.to_vec()));
    Batch::insert(arrow::array::RecordBatch::try_new(schema, vec![column]).unwrap())
}

#[test]
fn directories_objects_and_globs_are_listed() {
    let fixture = Fixture::new("s3://b/logs");
    for key in ["logs/b", "logs/a", "logs/sub/c", "logs/.hidden", "logs/_tmp/x", "logs2/y", "other"] {
        fixture.put(key, "x\n");
    }
    let names = |path: &str| {
        let other = Fixture { store: fixture.store.clone(), ..Fixture::new(path) };
        other.listed().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("s3://b/logs"), ["logs/a", "logs/b", "logs/sub/c"]);
    assert_eq!(names("s3://b/logs/a"), ["logs/a"]);
    assert_eq!(names("s3://b/logs*/*"), ["logs/a", "logs/b", "logs2/y"]);
    assert_eq!(names("s3://b/nothing"), [""; 0]);
}

#[test]
fn what_is_long_is_read_in_ranges() {
    let fixture = Fixture::new("s3://b/d");
    let content: String = (0..1_200_000).map(|number| format!("{number}\n")).collect();
    fixture.put("d/long", &content);
    let storage = Storage::Remote(fixture.remote());
    for from in [0, 1, 4_194_304, 5_000_000, content.len() as u64] {
        let mut read = String::new();
        storage.reader(&fixture.settings(), Path::new("d/long"), from).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, content[from as usize..]);
    }
    let input = storage.input(&fixture.settings(), Path::new("d/long")).unwrap();
    assert_eq!(input.bytes(), content.len() as u64);
    assert_eq!(input.read(100, 50).unwrap(), content.as_bytes()[100..150]);
    assert!(input.read(input.bytes() - 1, 2).is_err());
}

#[test]
fn a_part_is_there_when_its_checkpoint_is_complete_and_once() {
    let fixture = Fixture::new("s3://b/d");
    let mut writer = fixture.writer();
    writer.recover(Vec::new()).unwrap();
    // Three pieces.
    let long = "x".repeat(10 << 20);
    writer.write(&texts(&[&long, &long, "end"])).unwrap();
    assert_eq!(fixture.listed(), []);
    let epoch = writer.prepare_commit(CheckpointId(1)).unwrap().unwrap();
    assert_eq!(fixture.listed(), []);
    let origin = EpochOrigin {
        job: JobId::from("j"),
        sink: "test".to_owned(),
        subtask: SubtaskIndex(0),
        checkpoint: CheckpointId(1),
    };
    // Dies before, or after, the part is published: the next attempt publishes it, once.
    for published_before in [false, true] {
        if published_before {
            writer.commit(CheckpointId(1)).unwrap();
        }
        let mut next = fixture.writer();
        next.recover(vec![PreparedEpoch { origin: origin.clone(), rows: epoch.clone() }]).unwrap();
        let listed = fixture.listed();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].1, 2 * ((10 << 20) + 1) + 4);
    }
}

#[test]
fn parts_that_nobody_names_are_not_there() {
    let fixture = Fixture::new("s3://b/d");
    let mut writer = fixture.writer();
    writer.write(&texts(&["a"])).unwrap();
    drop(writer);
    assert_eq!(fixture.listed(), []);
    let found = connector_context().io.block_on(fixture.store.list_with_delimiter(None)).unwrap();
    assert!(found.objects.is_empty());
}
