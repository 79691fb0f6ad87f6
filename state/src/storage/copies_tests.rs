use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Directory, FileReader, FileWriter, ReadStats, StoreOptions};
use super::*;

/// A store, and a machine with local disk.
struct Place {
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
    files: std::cell::Cell<u64>,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        std::fs::create_dir(directory.path().join("store")).unwrap();
        Self { runtime, directory, files: 0.into() }
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn store(&self) -> Directory {
        Directory::open(self.directory.path().join("store").to_str().unwrap(), &StoreOptions::new()).unwrap()
    }

    /// A process on the machine, while it is not dropped.
    fn process(&self) -> LocalCopies {
        LocalCopies::new(&self.disk(), "127.0.0.1:6123")
    }

    /// Writes a file that is on local disk, too, as operators do.
    fn write(&self, copies: &Arc<JobCopies>) -> StateFile {
        self.files.set(self.files.get() + 1);
        let content: Bytes = (0..30_000).flat_map(|n: u64| (n * self.files.get()).to_le_bytes()).collect();
        let path = self.disk().join(format!("made-{}", self.files.get()));
        std::fs::write(&path, &content).unwrap();
        let writer = FileWriter::new(self.store(), self.runtime.handle().clone(), false).keeping(Some(copies.clone()));
        let file = writer.write(content, 0..8, 1).unwrap();
        writer.keep(&file, &path);
        std::fs::remove_file(path).unwrap();
        file
    }

    /// Brings files here; gives from where they came.
    fn fetch(&self, files: &[StateFile], copies: &Arc<JobCopies>) -> Result<ReadStats, StorageError> {
        let reader = FileReader::new(self.store(), StoreOptions::new(), self.runtime.handle().clone());
        let reader = reader.with_copies(Some(copies.clone()));
        let mut fetched = 0;
        let paths = std::cell::Cell::new(0);
        // Several are on their way at once.
        let path = || self.disk().join(format!("fetched-{}", paths.replace(paths.get() + 1)));
        reader.fetch(files, path, |file, path| {
            let content = std::fs::read(&path).unwrap();
            assert_eq!((content.len() as u64, super::super::checksum(&content)), (file.bytes, file.checksum));
            fetched += 1;
            std::fs::remove_file(path).unwrap();
            Ok::<(), StorageError>(())
        })?;
        assert_eq!(fetched, files.len());
        Ok(reader.stats())
    }

    /// The store has lost its files.
    fn lose(&self) {
        for (_, path) in names(&self.directory.path().join("store")) {
            std::fs::write(path, "lost").unwrap();
        }
    }
}

fn job() -> JobId {
    JobId::from("0123abcd")
}

fn subtask(index: u32) -> SubtaskId {
    SubtaskId { task: TaskId(1), index: SubtaskIndex(index) }
}

/// An attempt begins anew.
fn begun(process: &LocalCopies) -> Arc<JobCopies> {
    let copies = Arc::new(process.of_job(&job()).unwrap());
    copies.begin(CheckpointId(0), &[], &[subtask(0)], true);
    copies
}

/// An attempt goes on from a checkpoint that names these files.
fn restored(process: &LocalCopies, files: &[StateFile]) -> Arc<JobCopies> {
    let copies = Arc::new(process.of_job(&job()).unwrap());
    copies.begin(CheckpointId(1), &files.iter().collect::<Vec<_>>(), &[subtask(1)], true);
    copies
}

fn own(copies: &JobCopies) -> BTreeSet<String> {
    names(&copies.own).into_iter().map(|(name, _)| name).filter(|name| !name.starts_with(SUBTASK_PREFIX)).collect()
}

fn names_of<'a>(files: impl IntoIterator<Item = &'a StateFile>) -> BTreeSet<String> {
    files.into_iter().map(|file| name_of(Path::new(&file.location)).unwrap().to_owned()).collect()
}

#[test]
fn whoever_takes_over_from_a_dead_process_needs_no_store() {
    let place = Place::new();
    let (dead, heir, other) = (place.process(), place.process(), place.process());
    assert_eq!(dead.id(), heir.id());
    let copies = begun(&dead);
    let files = [place.write(&copies), place.write(&copies)];
    copies.record(CheckpointId(1), files.iter());
    copies.complete(CheckpointId(1));
    assert_eq!(heir.jobs(), BTreeMap::new(), "they are the first process's");
    place.lose();
    drop((copies, dead));
    assert_eq!(heir.jobs(), BTreeMap::from([(job(), BTreeSet::from([subtask(0)]))]));
    let elsewhere = LocalCopies::new(&place.disk(), "127.0.0.1:7000");
    assert_eq!(elsewhere.jobs(), BTreeMap::new(), "another cluster has copies of its own");
    // Two subtasks take one file each, in two processes.
    let (first, second) = (restored(&heir, &files), restored(&other, &files));
    for (copies, file) in [(&first, &files[0]), (&second, &files[1])] {
        let stats = place.fetch(std::slice::from_ref(file), copies).unwrap();
        let expected = ReadStats { files_local: 1, bytes_local: file.bytes, ..ReadStats::default() };
        assert_eq!((stats, own(copies)), (expected, names_of([file])));
        copies.record(CheckpointId(2), std::iter::once(file));
    }
    first.complete(CheckpointId(2));
    assert_eq!(names(&first.root).len(), 2, "the dead process's place is gone");
    assert_eq!(own(&second), names_of([&files[1]]));
    assert_eq!(heir.jobs(), BTreeMap::from([(job(), BTreeSet::from([subtask(1)]))]));
    heir.forget(&job());
    assert_eq!((heir.jobs(), own(&second).len()), (BTreeMap::new(), 1));
}

#[test]
fn a_copy_that_is_damaged_cut_off_or_gone_is_fetched_and_replaced() {
    let place = Place::new();
    let process = place.process();
    let copies = begun(&process);
    let files: Vec<StateFile> = (0..4).map(|_| place.write(&copies)).collect();
    let path = |file: &StateFile| copies.own.join(names_of([file]).first().unwrap());
    let content = std::fs::read(path(&files[0])).unwrap();
    let mut flipped = content.clone();
    flipped[77] ^= 4;
    std::fs::write(path(&files[0]), flipped).unwrap();
    std::fs::write(path(&files[1]), &content[..content.len() / 2]).unwrap();
    std::fs::remove_file(path(&files[2])).unwrap();
    let again = restored(&process, &files);
    let stats = place.fetch(&files, &again).unwrap();
    assert_eq!((stats.files_local, stats.files_fetched), (1, 3));
    assert_eq!(own(&again), names_of(&files));
    // Those that were fetched are whole.
    let stats = place.fetch(&files, &restored(&process, &files)).unwrap();
    assert_eq!((stats.files_local, stats.files_fetched), (4, 0));
    std::fs::write(path(&files[3]), "x").unwrap();
    place.lose();
    let error = place.fetch(&files[3..], &restored(&process, &files)).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

#[test]
fn copies_are_not_read_unless_they_are_to_be() {
    let place = Place::new();
    let process = place.process();
    let copies = begun(&process);
    let files = [place.write(&copies)];
    let again = Arc::new(process.of_job(&job()).unwrap());
    again.begin(CheckpointId(1), &[&files[0]], &[subtask(0)], false);
    assert_eq!(place.fetch(&files, &again).unwrap().files_fetched, 1);
}

#[test]
fn a_stale_attempt_keeps_and_deletes_nothing() {
    let place = Place::new();
    let process = place.process();
    let stale = begun(&process);
    let files = [place.write(&stale)];
    stale.record(CheckpointId(1), files.iter());
    let newer = restored(&process, &files);
    stale.close();
    place.write(&stale);
    stale.record(CheckpointId(9), [].iter());
    stale.complete(CheckpointId(9));
    assert_eq!(own(&newer), names_of(&files));
}

#[test]
fn names_that_lead_elsewhere_are_left_alone() {
    let place = Place::new();
    let process = place.process();
    assert!(process.of_job(&JobId::from("../x")).is_err());
    process.forget(&JobId::from(".."));
    let copies = begun(&process);
    let file = StateFile { location: "file:///x/..".to_owned(), ..place.write(&copies) };
    copies.keep(&file, &place.disk(), false);
    copies.record(CheckpointId(1), std::iter::once(&file));
    assert_eq!(copies.find(&file), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    /// What the newest complete checkpoint names is there; what only older ones named is not. Snapshots
    /// name what the one before named, or write all anew; some are aborted.
    #[test]
    fn copies_are_those_of_the_newest_complete_checkpoint(
        steps in proptest::collection::vec((0usize..3, any::<bool>(), any::<bool>()), 1..12),
    ) {
        let place = Place::new();
        let process = place.process();
        let copies = begun(&process);
        let mut files: Vec<StateFile> = Vec::new();
        for (checkpoint, (new, is_base, is_complete)) in (1..).zip(steps) {
            if is_base {
                files.clear();
            }
            files.extend((0..new).map(|_| place.write(&copies)));
            copies.record(CheckpointId(checkpoint), files.iter());
            if is_complete {
                copies.complete(CheckpointId(checkpoint));
                // Every subtask tells it.
                copies.complete(CheckpointId(checkpoint));
                prop_assert_eq!(own(&copies), names_of(&files));
            } else {
                prop_assert!(own(&copies).is_superset(&names_of(&files)));
            }
        }
    }
}
