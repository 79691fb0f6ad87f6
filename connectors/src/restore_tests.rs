//! Classic bug 26 (FLINK-20290, FLINK-6006), splits duplicated or forgotten, also where one is assigned in
//! the midst of a checkpoint: every source, broken off at any point and gone on with from a snapshot, gives
//! the rows of an unbroken read, in order per split; also at another parallelism.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidemill_common::batch::Batch;
use tidemill_common::ids::{SplitId, SubtaskIndex};
use tidemill_common::plan::{SourceSpec, TableSpec};
use tidemill_common::types::{Field, LogicalType as L, Schema};

use crate::api::{Connector, SourcePoll, SourceReader, Split, SplitEnumerator};
use crate::row_text::RowText;
use crate::testing::{connector_context, subtask_context};

/// How long a read may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Texts of rows, in order of reading.
pub(crate) type Rows = BTreeMap<SplitId, Vec<String>>;

/// A table that is read in tests.
pub(crate) struct Table<'a> {
    pub connector: &'a dyn Connector,
    pub source: SourceSpec,
    /// Rows after which a source without end is read.
    pub rows: Option<usize>,
}

/// A source in a job: its enumerator, its readers, and what they gave.
struct Job<'a> {
    table: &'a Table<'a>,
    text: RowText,
    enumerator: Box<dyn SplitEnumerator>,
    readers: Vec<Reader>,
    rows: Rows,
}

struct Reader {
    reader: Box<dyn SourceReader>,
    ended: bool,
}

/// A checkpoint of a job.
struct Saved {
    enumerator: String,
    splits: Vec<String>,
    rows: Rows,
}

impl<'a> Job<'a> {
    fn start(table: &'a Table<'a>, parallelism: u32, saved: Option<&Saved>) -> Self {
        let source = &table.source;
        let mut enumerator = table.connector.create_enumerator(source, parallelism, &connector_context()).unwrap();
        if let Some(saved) = saved {
            enumerator.restore(serde_json::from_str(&saved.enumerator).unwrap()).unwrap();
            let splits = saved.splits.iter().map(|split| serde_json::from_str(split).unwrap());
            enumerator.add_back(splits.collect());
        }
        enumerator.discover().unwrap();
        let reader = |subtask| Reader {
            reader: table.connector.create_reader(source, &subtask_context(subtask, parallelism)).unwrap(),
            ended: false,
        };
        let fields = source.projection.iter().map(|column| source.table.schema.fields[*column].clone()).collect();
        Self {
            table,
            text: RowText::new(&Schema::new(fields), "UTC"),
            enumerator,
            readers: (0..parallelism).map(reader).collect(),
            rows: saved.map(|saved| saved.rows.clone()).unwrap_or_default(),
        }
    }

    fn assign(&mut self, reader: usize) -> bool {
        let splits = self.enumerator.next_splits(SubtaskIndex(reader as u32));
        let any = !splits.is_empty();
        self.readers[reader].reader.add_splits(splits).unwrap();
        any
    }

    fn step(&mut self, reader: usize) {
        if self.readers[reader].ended {
            return;
        }
        match self.readers[reader].reader.poll(Duration::from_millis(1)).unwrap() {
            SourcePoll::Rows { split, records } => {
                let batch = Batch::insert(records);
                let texts = self.rows.entry(split).or_default();
                for row in 0..batch.rows() {
                    let mut text = String::new();
                    self.text.append(&batch, row, &mut text);
                    texts.push(text);
                }
            }
            SourcePoll::NoSplits => {
                if !self.assign(reader) {
                    self.readers[reader].ended = self.enumerator.is_exhausted(SubtaskIndex(reader as u32));
                }
            }
            SourcePoll::Pending | SourcePoll::SplitFinished(_) => {}
        }
    }

    /// A checkpoint. A split may be assigned after the enumerator's part of it and before a reader's.
    fn save(&mut self, assign_between: Option<usize>) -> Saved {
        let enumerator = self.enumerator.snapshot().unwrap().to_string();
        if let Some(reader) = assign_between {
            self.assign(reader);
        }
        let split = |split: Split| serde_json::to_string(&split).unwrap();
        let splits = self.readers.iter().flat_map(|reader| reader.reader.snapshot()).map(split);
        Saved { enumerator, splits: splits.collect(), rows: self.rows.clone() }
    }

    fn read_to_end(mut self) -> Rows {
        let begun = Instant::now();
        loop {
            let read: usize = self.rows.values().map(Vec::len).sum();
            if self.readers.iter().all(|reader| reader.ended) || self.table.rows.is_some_and(|rows| read >= rows) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{read} rows were read and no end is in sight");
            (0..self.readers.len()).for_each(|reader| self.step(reader));
        }
        // Nothing may follow.
        (0..self.readers.len()).for_each(|reader| (0..4).for_each(|_| self.step(reader)));
        self.rows
    }
}

/// The rows of an unbroken read.
pub(crate) fn unbroken(table: &Table<'_>) -> Rows {
    Job::start(table, 1, None).read_to_end()
}

/// Reads, with a checkpoint or a crash where the actions say so; `outside` is told each action.
pub(crate) fn broken(table: &Table<'_>, actions: &[u8], mut outside: impl FnMut(u8)) -> Rows {
    let parallelism = |action: u8| 1 + u32::from(action % 3);
    let mut job = Job::start(table, parallelism(actions.first().copied().unwrap_or(0)), None);
    let mut saved: Option<Saved> = None;
    for action in actions {
        outside(*action);
        let reader = usize::from(*action) % job.readers.len();
        match action % 8 {
            0 => saved = Some(job.save(None)),
            1 => saved = Some(job.save(Some(reader))),
            2 => job = Job::start(table, parallelism(action / 8), saved.as_ref()),
            3 if table.rows.is_some() => job.enumerator.discover().unwrap(),
            _ => job.step(reader),
        }
    }
    job = Job::start(table, parallelism(actions.last().copied().unwrap_or(0)), saved.as_ref());
    if table.rows.is_some() {
        job.enumerator.discover().unwrap();
    }
    job.read_to_end()
}

fn spec(connector: &str, options: &[(&str, String)], columns: &[(&str, L)]) -> SourceSpec {
    let table = TableSpec {
        name: "t".to_owned(),
        connector: connector.to_owned(),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        schema: Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone().nullable())).collect()),
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    };
    SourceSpec {
        projection: (0..table.schema.len()).collect(),
        table,
        computed: Vec::new(),
        watermark: None,
        metadata: Vec::new(),
        partition_filter: None,
    }
}

fn bounded(connector: &dyn Connector, source: SourceSpec) -> Table<'_> {
    connector.check_source(&source.table).unwrap();
    assert!(connector.is_bounded(&source.table));
    Table { connector, source, rows: None }
}

/// What a job with `parallelism` would read; generated tables have other splits at another parallelism.
fn same_rows(left: &Rows, right: &Rows) {
    let all = |rows: &Rows| {
        let mut all: Vec<String> = rows.values().flatten().cloned().collect();
        all.sort();
        all
    };
    assert_eq!(all(left), all(right));
}

fn lines(rows: std::ops::Range<usize>) -> String {
    rows.map(|row| format!("{{\"i\":{row},\"s\":\"{}\"}}\n", "x".repeat(row % 9))).collect()
}

fn files(path: &Path, options: &[(&str, &str)]) -> SourceSpec {
    let mut all = vec![("path", path.display().to_string()), ("format", "json".to_owned())];
    all.extend(options.iter().map(|(key, value)| (*key, (*value).to_owned())));
    spec("filesystem", &all, &[("i", L::BigInt), ("s", L::STRING)])
}

fn actions() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn datagen(actions in actions()) {
        let options = [
            ("number-of-rows", "30000".to_owned()),
            ("seed", "5".to_owned()),
            ("rows-per-second", "10000000".to_owned()),
            ("fields.n.kind", "sequence".to_owned()),
            ("fields.n.start", "1".to_owned()),
            ("fields.n.end", "29000".to_owned()),
        ];
        let source = spec("datagen", &options, &[("n", L::BigInt), ("r", L::Int), ("s", L::STRING)]);
        let table = bounded(&crate::datagen::Datagen, source);
        let rows = broken(&table, &actions, |_| ());
        same_rows(&rows, &unbroken(&table));
        // Each split in its order.
        for texts in rows.values() {
            let number = |text: &String| text[3..].split(',').next().unwrap().parse::<u64>().unwrap();
            prop_assert!(texts.is_sorted_by_key(number));
        }
    }

    #[test]
    fn nexmark(actions in actions(), event_table in any::<bool>()) {
        let options = [
            ("events.num", "40000".to_owned()),
            ("nexmark.disorder", "2 s".to_owned()),
            ("nexmark.table", if event_table { "event" } else { "auction" }.to_owned()),
        ];
        let columns = if event_table { vec![("event_type", L::Int), ("ts", L::Timestamp(3))] }
            else { vec![("id", L::BigInt), ("itemName", L::STRING), ("dateTime", L::Timestamp(3))] };
        let table = bounded(&crate::nexmark::Nexmark, spec("nexmark", &options, &columns));
        same_rows(&broken(&table, &actions, |_| ()), &unbroken(&table));
    }

    #[test]
    fn values(actions in actions()) {
        let table = Table { connector: &crate::values::Values, source: spec("values", &[], &[]), rows: None };
        prop_assert_eq!(broken(&table, &actions, |_| ()), unbroken(&table));
    }

    #[test]
    fn files_of_several_splits(actions in actions(), size in 1usize..200) {
        let directory = tempfile::tempdir().unwrap();
        for (file, rows) in [0..0, 0..40, 40..41, 41..300].into_iter().enumerate() {
            std::fs::write(directory.path().join(format!("f{file}")), lines(rows)).unwrap();
        }
        let size = format!("{} b", size * 20);
        let table = bounded(&crate::filesystem::Filesystem, files(directory.path(), &[("source.split-size", &size)]));
        prop_assert_eq!(broken(&table, &actions, |_| ()), unbroken(&table));
    }

    #[test]
    fn a_watched_directory(actions in actions()) {
        let directory = tempfile::tempdir().unwrap();
        let mut written = 0;
        let watch = [("source.monitor-interval", "1 s"), ("source.split-size", "500 b")];
        let table = |rows| Table {
            connector: &crate::filesystem::Filesystem,
            source: files(directory.path(), &watch),
            rows: Some(rows),
        };
        // Files appear while it is read.
        let news = actions.iter().filter(|action| *action % 16 >= 8).count();
        let rows = broken(&table(news * 25), &actions, |action| {
            if action % 16 >= 8 {
                std::fs::write(directory.path().join(format!("f{written:03}")), lines(written * 25..(written + 1) * 25)).unwrap();
                written += 1;
            }
        });
        let whole = [("source.split-size", "500 b")];
        prop_assert_eq!(rows, unbroken(&bounded(&crate::filesystem::Filesystem, files(directory.path(), &whole))));
    }

    #[test]
    fn a_followed_file(actions in actions()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let text = lines(0..200);
        // Cut anywhere, also inside a line.
        let mut pieces = text.as_bytes().chunks(text.len() / (actions.len() + 1) + 1);
        std::fs::write(&path, pieces.next().unwrap()).unwrap();
        let append = |pieces: &mut std::slice::Chunks<'_, u8>| {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            pieces.next().map(|piece| file.write_all(piece).unwrap())
        };
        let table = Table {
            connector: &crate::filesystem::Filesystem,
            source: files(directory.path(), &[("source.monitor-interval", "1 s"), ("source.follow", "true")]),
            rows: Some(200),
        };
        let rows = broken(&table, &actions, |_| { append(&mut pieces); });
        let expected: Vec<String> = (0..200).map(|row| format!("+I[{row}, {}]", "x".repeat(row % 9))).collect();
        prop_assert_eq!(rows.into_values().collect::<Vec<_>>(), vec![expected]);
    }
}
