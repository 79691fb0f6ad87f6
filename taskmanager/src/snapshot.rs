//! What operators keep at a barrier, and what they get back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tidemill_common::checkpoint::{Blob, CheckpointMetadata, METADATA_NAME, OperatorState, StagedEpoch, StateFile};
use tidemill_common::ids::{CheckpointId, SubtaskId, SubtaskIndex};
use tidemill_common::key_group::key_group_range;
use tidemill_common::plan::PlanOperator;
use tidemill_state::storage::{
    Directory, FileReader, FileWriter, JobCopies, ReadStats, StorageError, StoreOptions, checksum,
};

/// Work that is left of a snapshot after its synchronous part: encodes and writes what was copied, on a
/// thread beside the task.
pub type SnapshotPart = Box<dyn FnOnce(&FileWriter) -> Result<Vec<StateFile>, StorageError> + Send>;

/// Collects what one operator keeps in a checkpoint. Filled while the task stands still: copy, do not
/// encode.
pub struct Snapshot {
    pub checkpoint: CheckpointId,
    /// Files must not depend on those of other checkpoints: all state is written anew.
    pub full: bool,
    /// Small states by name.
    pub values: BTreeMap<String, Blob>,
    /// Keyed state.
    pub parts: Vec<SnapshotPart>,
    /// An epoch of a sink, to be published when the checkpoint is complete.
    pub staged: Option<Vec<u8>>,
}

impl Snapshot {
    pub fn new(checkpoint: CheckpointId, full: bool) -> Self {
        Self { checkpoint, full, values: BTreeMap::new(), parts: Vec::new(), staged: None }
    }

    /// Keeps a number under a name.
    pub fn put_i64(&mut self, name: &str, value: i64) {
        self.values.insert(name.to_owned(), Blob(value.to_le_bytes().to_vec()));
    }
}

/// A checkpoint that a deployment starts from.
pub struct Restored {
    checkpoint: CheckpointId,
    operators: Vec<OperatorState>,
    reader: Arc<FileReader>,
    /// Below which URL the job's own files are, which its checkpoints may name again.
    own: Option<String>,
}

impl Restored {
    /// Reads the `_metadata` in a directory. Blocks.
    ///
    /// # Errors
    /// If it is missing, damaged or of a newer version.
    pub fn read(url: &str, store: &StoreOptions, io: &tokio::runtime::Handle) -> Result<Self, StorageError> {
        let directory = Directory::open(url, store)?;
        let bytes = io.block_on(directory.get(METADATA_NAME))?;
        let metadata = CheckpointMetadata::decode(&bytes, checksum).map_err(|error| StorageError::Damaged {
            url: directory.url_of(METADATA_NAME),
            reason: error.to_string(),
        })?;
        let reader = Arc::new(FileReader::new(directory, store.clone(), io.clone()));
        Ok(Self { checkpoint: metadata.checkpoint, operators: metadata.operators, reader, own: None })
    }

    /// Of a job that starts from its beginning and keeps its checkpoints in the directory `url`.
    ///
    /// # Errors
    /// If the URL cannot be used.
    pub fn nothing(url: &str, store: &StoreOptions, io: &tokio::runtime::Handle) -> Result<Self, StorageError> {
        let directory = Directory::open(url, store)?;
        let reader = Arc::new(FileReader::new(directory, store.clone(), io.clone()));
        Ok(Self { checkpoint: CheckpointId(0), operators: Vec::new(), reader, own: None })
    }

    /// For a job that keeps its checkpoints in the directory `url`.
    #[must_use]
    pub fn of_job(mut self, url: &str) -> Self {
        self.own = Some(format!("{}/", url.trim_end_matches('/')));
        self
    }

    /// For subtasks that keep copies of files on their machine, and may (`read`) use those that are there.
    #[must_use]
    pub fn with_copies(mut self, copies: &Arc<JobCopies>, subtasks: &[SubtaskId], read: bool) -> Self {
        let files = self.operators.iter().flat_map(|operator| &operator.subtasks).flat_map(|(_, kept)| &kept.files);
        copies.begin(self.checkpoint, &files.collect::<Vec<_>>(), subtasks, read);
        self.reader = Arc::new(FileReader::clone(&self.reader).with_copies(Some(copies.clone())));
        self
    }

    /// The state of an operator, if the checkpoint knows it.
    pub fn operator(&self, uid: &str) -> Option<&OperatorState> {
        self.operators.iter().find(|operator| operator.uid == uid)
    }

    /// Reads what the checkpoint names.
    pub fn reader(&self) -> &Arc<FileReader> {
        &self.reader
    }

    /// What subtask `subtask` of an operator starts from; empty if the checkpoint does not know it.
    pub fn of(&self, operator: &PlanOperator, subtask: SubtaskIndex, max_parallelism: u32) -> RestoredState {
        let key_groups = key_group_range(subtask, operator.parallelism, max_parallelism);
        let mut state = RestoredState {
            subtask,
            parallelism: operator.parallelism,
            key_groups: key_groups.clone(),
            max_parallelism,
            values: Vec::new(),
            files: Vec::new(),
            staged: Vec::new(),
            reader: Arc::new(self.reader.counting()),
            own: self.own.clone(),
        };
        let Some(old) = self.operator(&operator.uid) else { return state };
        for (index, snapshot) in &old.subtasks {
            state.values.push((*index, snapshot.values.clone()));
            let overlaps =
                |file: &&StateFile| file.key_groups.start < key_groups.end && key_groups.start < file.key_groups.end;
            let files: Vec<_> = snapshot.files.iter().filter(overlaps).cloned().collect();
            if !files.is_empty() {
                state.files.push((*index, files));
            }
            if index.0 % operator.parallelism == subtask.0 {
                state.staged.extend(snapshot.staged.iter().cloned());
            }
        }
        state
    }
}

/// What an operator of a subtask starts from.
pub struct RestoredState {
    /// The subtask that restores, and of how many.
    pub subtask: SubtaskIndex,
    pub parallelism: u32,
    /// The key groups it owns.
    pub key_groups: Range<u32>,
    pub max_parallelism: u32,
    /// Small states of all old subtasks of the operator.
    pub values: Vec<(SubtaskIndex, BTreeMap<String, Blob>)>,
    /// Keyed state of the old subtasks that owned any of `key_groups`, each in rising sequence. Rows
    /// outside of `key_groups` or of a file's own key groups are not to be taken.
    pub files: Vec<(SubtaskIndex, Vec<StateFile>)>,
    /// Epochs of a sink that this subtask publishes, oldest first.
    pub staged: Vec<StagedEpoch>,
    pub reader: Arc<FileReader>,
    /// Below which URL the job's own files are.
    pub own: Option<String>,
}

impl RestoredState {
    /// Says where files of an operator were read from.
    pub fn log(&self, operator: &str) {
        let ReadStats { files_local, bytes_local, files_fetched, bytes_fetched } = self.reader.stats();
        if files_local + files_fetched > 0 {
            tracing::info!(
                operator, subtask = %self.subtask, files_local, bytes_local, files_fetched, bytes_fetched, "restored keyed state"
            );
        }
    }

    /// The files of keyed state, if checkpoints of this subtask may name them again as they are: they are
    /// the job's own, and have rows of none but its key groups.
    pub fn own_files(&self) -> Option<Vec<StateFile>> {
        let own = self.own.as_deref()?;
        let files: Vec<StateFile> = self.files.iter().flat_map(|(_, files)| files).cloned().collect();
        let is_own = |file: &StateFile| {
            let (theirs, ours) = (&file.key_groups, &self.key_groups);
            file.location.starts_with(own) && ours.start <= theirs.start && theirs.end <= ours.end
        };
        files.iter().all(is_own).then_some(files)
    }

    /// The number that a subtask kept under a name.
    pub fn i64_of(values: &BTreeMap<String, Blob>, name: &str) -> Option<i64> {
        let bytes: [u8; 8] = values.get(name)?.0.as_slice().try_into().ok()?;
        Some(i64::from_le_bytes(bytes))
    }

    /// The number that each old subtask kept under a name.
    pub fn i64s<'a>(&'a self, name: &'a str) -> impl Iterator<Item = i64> + 'a {
        self.values.iter().filter_map(move |(_, values)| Self::i64_of(values, name))
    }
}
