//! Rows come back from files as they were, and only those of the key groups asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;

use tidemill_common::checkpoint::StateFile;

use super::*;
use crate::storage::{Directory, FileReader, FileWriter, StoreOptions};

struct Place {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), runtime }
    }

    fn open(&self) -> Directory {
        Directory::open(&format!("file://{}", self.directory.path().display()), &StoreOptions::new()).unwrap()
    }

    fn writer(&self) -> FileWriter {
        FileWriter::new(self.open(), self.runtime.handle().clone(), false)
    }

    fn reader(&self) -> FileReader {
        FileReader::new(self.open(), StoreOptions::new(), self.runtime.handle().clone())
    }
}

fn state() -> KeyedState {
    KeyedState {
        id: 1,
        key_types: vec![DataType::Int64, DataType::Utf8],
        unhashed: 0,
        tail: 0,
        value_types: vec![DataType::Int64],
        lifetime: Lifetime::Namespace,
        max_parallelism: 128,
    }
}

/// Rows of one namespace.
#[derive(Clone)]
struct Given {
    namespace: i64,
    columns: Vec<ArrayRef>,
}

impl RowSource for Given {
    fn count(&self) -> usize {
        self.columns[0].len()
    }

    fn rows(&self) -> Vec<u32> {
        (0..self.columns[0].len() as u32).rev().collect()
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let rows = UInt32Array::from(rows.to_vec());
        self.columns[..2].iter().map(|column| take(column, &rows, None).unwrap()).collect()
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        vec![take(&self.columns[2], &UInt32Array::from(rows.to_vec()), None).unwrap()]
    }

    fn namespace(&self, _row: u32) -> i64 {
        self.namespace
    }
}

fn rows(namespace: i64, keys: std::ops::Range<i64>) -> Given {
    let texts = keys.clone().map(|key| (key % 3 > 0).then(|| format!("text {}", key / 2))).collect::<StringArray>();
    let values = keys.clone().map(|key| key * namespace).collect::<Int64Array>();
    Given { namespace, columns: vec![Arc::new(keys.collect::<Int64Array>()), Arc::new(texts), Arc::new(values)] }
}

fn sources(run: u64, given: &[Given]) -> Vec<(u64, Arc<dyn RowSource>)> {
    given.iter().map(|given| (run, Arc::new(given.clone()) as Arc<dyn RowSource>)).collect()
}

fn write(place: &Place, state: &KeyedState, given: &[Given], run: u64) -> Vec<StateFile> {
    state.write(sources(run, given), run, place.directory.path(), &place.writer(), &WriteMemory::new(0)).unwrap()
}

type Read = BTreeMap<(i64, i64), (Option<String>, i64)>;

fn read(place: &Place, state: &KeyedState, files: &[StateFile], of: Range<u32>) -> Read {
    let mut found = Read::new();
    let scratch = place.directory.path();
    let collect = |rows: KeyedRows| {
        let (keys, values) = (rows.columns[0].as_primitive::<Int64Type>(), rows.columns[2].as_primitive::<Int64Type>());
        let texts = rows.columns[1].as_string::<i32>();
        for row in 0..rows.namespaces.rows() {
            let text = texts.is_valid(row).then(|| texts.value(row).to_owned());
            let old = found.insert((rows.namespaces.of(row), keys.value(row)), (text, values.value(row)));
            assert_eq!(old, None, "a row is read once");
        }
    };
    state.read(files, &of, scratch, &place.reader(), collect).unwrap();
    found
}

#[test]
fn rows_come_back_by_key_group() {
    let (place, state) = (Place::new(), state());
    let written = vec![rows(-5, 0..3_000), rows(7, 2_000..2_010), rows(i64::MAX, 1..2)];
    let files = write(&place, &state, &written, 3);
    let all = read(&place, &state, &files, 0..128);
    assert_eq!(all.len(), 3_011);
    assert_eq!(all[&(-5, 4)], (Some("text 2".to_owned()), -20));
    assert_eq!(all[&(-5, 3)], (None, -15));
    let mut apart = BTreeMap::new();
    for of in [0..1, 1..50, 50..127, 127..128] {
        let part = read(&place, &state, &files, of.clone());
        for Given { namespace, columns } in &written {
            let key_groups = state.key_groups(&columns[..2], columns[0].len());
            for (row, key_group) in key_groups.iter().enumerate() {
                let key = (*namespace, columns[0].as_primitive::<Int64Type>().value(row));
                assert_eq!(part.contains_key(&key), of.contains(&u32::from(key_group.0)));
            }
        }
        apart.extend(part);
    }
    assert_eq!(apart, all);
    let left: Vec<_> = std::fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let expected = files.iter().filter(|file| file.inline.is_none()).count();
    assert_eq!(left.len(), expected, "nothing but the files is left: {left:?}");
}

#[test]
fn rows_outside_of_a_files_key_groups_do_not_come_back() {
    let (place, state) = (Place::new(), state());
    let mut files = write(&place, &state, &[rows(1, 0..500)], 0);
    files[0].key_groups = 10..20;
    let clipped = read(&place, &state, &files, 0..15);
    files[0].key_groups = 0..128;
    assert_eq!(clipped, read(&place, &state, &files, 10..15));
    assert!(!clipped.is_empty());
}

#[test]
fn files_of_another_state_are_refused() {
    let (place, state) = (Place::new(), state());
    let files = write(&place, &state, &[rows(1, 0..5)], 0);
    let other = KeyedState { value_types: vec![DataType::Utf8], ..state };
    let error = other.read(&files, &(0..128), place.directory.path(), &place.reader(), |_| {}).unwrap_err();
    assert!(error.to_string().contains("not of the operator's state"), "{error}");
}

#[test]
fn runs_of_a_key_come_back_in_order_and_large_states_in_several_files() {
    let (place, state) = (Place::new(), state());
    let mut first = rows(1, 0..200_000);
    // Values that do not compress, so that there is more than one file.
    let texts = (0..200_000u64).map(|row| {
        (0..16).map(|part| format!("{:016x}", hash_bytes(&[row.to_le_bytes(), [part; 8]].concat()))).collect::<String>()
    });
    first.columns[1] = Arc::new(texts.map(Some).collect::<StringArray>());
    let mut second = first.clone();
    second.columns[2] = Arc::new((0..200_000).map(|_| Some(-1)).collect::<Int64Array>());
    let write = |memory: usize| {
        let sources: Vec<(u64, Arc<dyn RowSource>)> = vec![(9, Arc::new(second.clone())), (4, Arc::new(first.clone()))];
        state.write(sources, 9, place.directory.path(), &place.writer(), &WriteMemory::new(memory)).unwrap()
    };
    let files = write(0);
    assert!(files.len() > 8, "{} files", files.len());
    assert!(write(1 << 30).len() < files.len(), "with more memory there are fewer");
    assert!(files.windows(2).all(|pair| pair[0].key_groups.end <= pair[1].key_groups.start));
    let mut values: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let collect = |rows: KeyedRows| {
        let (keys, read) = (rows.columns[0].as_primitive::<Int64Type>(), rows.columns[2].as_primitive::<Int64Type>());
        keys.values().iter().zip(read.values()).for_each(|(key, value)| values.entry(*key).or_default().push(*value));
    };
    state.read(&files, &(0..128), place.directory.path(), &place.reader(), collect).unwrap();
    assert_eq!(values.len(), 200_000);
    assert!(values.iter().all(|(key, values)| values == &[*key, -1]));
}

#[test]
fn what_dead_processes_left_is_swept() {
    let place = Place::new();
    let scratch = place.directory.path();
    // No process has an id this high.
    for name in ["tidemill-state-4194305-x.sst", "tidemill-state-x", "other"] {
        std::fs::write(scratch.join(name), "").unwrap();
    }
    std::fs::create_dir(scratch.join("tidemill-state-4194306-y")).unwrap();
    std::fs::write(scratch.join(local_name()), "").unwrap();
    sweep(scratch);
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 3);
}

/// Rows of a store, as `key -> sum of the values of its runs`, of some namespaces.
fn stored(store: &RowStore, namespaces: std::ops::RangeInclusive<i64>) -> BTreeMap<(i64, i64), i64> {
    let mut found = BTreeMap::new();
    for key_group in 0..128 {
        for part in KeyPart::all(key_group % 4) {
            let add = |rows: KeyedRows| {
                let of_part = part.select(&rows.columns[..2], rows.namespaces.rows());
                assert_eq!(of_part.len(), rows.namespaces.rows());
                sums(&rows, &mut found);
            };
            store.read(key_group, part, &namespaces, add).unwrap();
        }
    }
    found
}

fn sums(rows: &KeyedRows, found: &mut BTreeMap<(i64, i64), i64>) {
    let (keys, values) = (rows.columns[0].as_primitive::<Int64Type>(), rows.columns[2].as_primitive::<Int64Type>());
    for row in 0..rows.namespaces.rows() {
        *found.entry((rows.namespaces.of(row), keys.value(row))).or_default() += values.value(row);
    }
}

fn local(place: &Place, state: &KeyedState, run: u64, given: &[Given]) -> Vec<Arc<LocalFile>> {
    state
        .write_local(&sources(run, given), place.directory.path(), &WriteMemory::new(0))
        .unwrap()
        .into_iter()
        .map(Arc::new)
        .collect()
}

#[test]
fn a_store_gives_what_was_ingested_by_range_and_by_key() {
    let (place, state, scratch) = (Place::new(), state(), tempfile::tempdir().unwrap());
    let store = RowStore::open(&state, 0..128, scratch.path(), &BlockCache::new(1 << 20)).unwrap();
    let first = local(&place, &state, 1, &[rows(-5, 0..3_000), rows(7, 0..9_000)]);
    store.ingest(&first).unwrap();
    store.ingest(&local(&place, &state, 2, &[rows(7, 8_999..9_100), rows(8, 0..10)])).unwrap();
    assert!(first[0].path().exists(), "the file is still to be uploaded");
    assert_eq!(store.namespaces().unwrap().into_iter().collect::<Vec<_>>(), [-5, 7, 8]);
    let all = stored(&store, i64::MIN..=i64::MAX);
    assert_eq!(all.len(), 3_000 + 9_100 + 10);
    assert_eq!(all[&(7, 8_999)], 2 * 7 * 8_999, "two runs of one key");
    assert_eq!(stored(&store, 8..=i64::MAX).len(), 10);
    assert_eq!(stored(&store, -4..=6).len(), 0);
    let asked = [rows(7, 8_990..9_010), rows(7, 20_000..20_005)];
    for (asked, expected) in asked.iter().zip([20, 0]) {
        let keys = &asked.columns[..2];
        let mut found = BTreeMap::new();
        sums(&store.find(keys, keys[0].len(), &[-5, 7, 8]).unwrap(), &mut found);
        assert_eq!(found.len(), expected, "{found:?}");
        assert!(found.iter().all(|(key, sum)| all[key] == *sum));
    }
    drop(store);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn dead_namespaces_go_with_compactions_but_not_from_under_a_pin() {
    let (place, state, scratch) = (Place::new(), state(), tempfile::tempdir().unwrap());
    let memory = &WriteMemory::new(0);
    let store = Arc::new(RowStore::open(&state, 0..128, scratch.path(), &BlockCache::new(1 << 20)).unwrap());
    store.ingest(&local(&place, &state, 1, &[rows(1, 0..1_000), rows(2, 0..1_000)])).unwrap();
    let pinned = store.pinned(2, [2].into());
    store.forget(1);
    // Rows of a later run, and of one that was on its way when the pin was taken.
    for run in 2..20 {
        store.ingest(&local(&place, &state, run, &[rows(2, 0..500), rows(3, 0..1)])).unwrap();
    }
    store.compact();
    assert_eq!(stored(&store, 1..=1).len(), 1_000, "still pinned");
    let files = state.write_stored(&pinned, 1, place.directory.path(), &place.writer(), memory).unwrap();
    let kept = read(&place, &state, &files, 0..128);
    assert_eq!(kept.len(), 2_000);
    assert_eq!(kept[&(2, 4)].1, 8);
    drop(pinned);
    store.compact();
    assert_eq!(stored(&store, 1..=1).len(), 0);
    let left = stored(&store, i64::MIN..=i64::MAX);
    assert_eq!((left.len(), left[&(2, 4)]), (1_001, 19 * 8));
    let later =
        state.write_stored(&store.pinned(3, Default::default()), 3, place.directory.path(), &place.writer(), memory);
    let mut found = BTreeMap::new();
    state
        .read(&later.unwrap(), &(0..128), place.directory.path(), &place.reader(), |rows| sums(&rows, &mut found))
        .unwrap();
    assert_eq!((found.len(), found[&(2, 4)]), (1_001, 3 * 8));
}
