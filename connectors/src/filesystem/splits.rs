//! Which files there are, and the splits they are read in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use tidemill_common::ids::{SplitId, SubtaskIndex};
use tidemill_common::plan::SourceSpec;
use tidemill_expr::eval::{EvalContext, Predicate};

use super::storage::Storage;
use super::{IDENTIFIER, Settings, io_error};
use crate::api::{ConnectorError, Format, ReaderReport, Split, SplitEnumerator};

/// Deepest directory below the table's path.
pub(super) const DIRECTORY_DEPTH_MAX: usize = 32;

/// A range of a file: the lines that begin in `start..end`, and the position reached in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    pub path: PathBuf,
    pub start: u64,
    /// `None`: to the end of the file, wherever that is.
    pub end: Option<u64>,
    /// Where the next line begins; equal to `start` before the first read. In files of other formats the
    /// number of rows that were read.
    pub position: u64,
    /// Number of the next line, from 1; unknown in splits that begin inside a file.
    pub line: Option<u64>,
}

impl FileSplit {
    pub fn id(&self) -> SplitId {
        SplitId(format!("{}@{}", self.path.display(), self.start))
    }

    pub fn to_split(&self, table: &str) -> Result<Split, ConnectorError> {
        let state = serde_json::to_value(self)
            .map_err(|error| ConnectorError::State { table: table.to_owned(), reason: error.to_string() })?;
        Ok(Split::new(self.id(), state))
    }

    pub fn from_split(split: &Split, table: &str) -> Result<Self, ConnectorError> {
        serde_json::from_value(split.state.clone())
            .map_err(|error| ConnectorError::State { table: table.to_owned(), reason: error.to_string() })
    }
}

/// All files of a table on this machine with their sizes, in order of their names.
pub(super) fn list_local(path: &Path, settings: &Settings) -> Result<Vec<(PathBuf, u64)>, ConnectorError> {
    let mut files = Vec::new();
    let text = path.to_string_lossy();
    if path.is_dir() {
        walk(path, 0, settings, &mut files)?;
    } else if path.is_file() {
        files.push((path.to_owned(), size(path, settings)?));
    } else if text.contains(['*', '?', '[']) {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let matches = glob::glob_with(&text, options).map_err(|error| ConnectorError::External {
            table: settings.table.clone(),
            reason: format!("'{text}' is no glob: {error}"),
            action: "correct 'path'".to_owned(),
        })?;
        for path in matches.filter_map(Result::ok).filter(|path| path.is_file()) {
            let size = size(&path, settings)?;
            files.push((path, size));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file or directory is not read. That of a partition is, whatever the column's name.
pub(super) fn is_hidden(name: &str, settings: &Settings) -> bool {
    let of_partition = || settings.partitioning.as_ref().is_some_and(|known| known.is_directory(name));
    name.starts_with(['.', '_']) && !of_partition()
}

fn size(path: &Path, settings: &Settings) -> Result<u64, ConnectorError> {
    let metadata = path.metadata().map_err(|error| io_error(&settings.table, "read", path, &error))?;
    Ok(metadata.len())
}

fn walk(
    directory: &Path,
    depth: usize,
    settings: &Settings,
    files: &mut Vec<(PathBuf, u64)>,
) -> Result<(), ConnectorError> {
    if depth > DIRECTORY_DEPTH_MAX {
        return Err(ConnectorError::External {
            table: settings.table.clone(),
            reason: format!("'{}' is more than {DIRECTORY_DEPTH_MAX} directories deep", directory.display()),
            action: "is there a loop of links?".to_owned(),
        });
    }
    let entries = std::fs::read_dir(directory).map_err(|error| io_error(&settings.table, "list", directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| io_error(&settings.table, "list", directory, &error))?;
        let name = entry.file_name();
        if is_hidden(&name.to_string_lossy(), settings) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            walk(&path, depth + 1, settings, files)?;
        } else if let Ok(metadata) = path.metadata() {
            // A file that vanished since it was listed is none.
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

/// Leaves out partitions that no reader asks for.
pub(crate) struct PartitionFilter {
    predicate: Predicate,
    schema: SchemaRef,
    context: EvalContext,
}

impl PartitionFilter {
    /// `None` if all partitions are read.
    pub fn of(source: &SourceSpec, settings: &Settings) -> Result<Option<Self>, ConnectorError> {
        let (Some(filter), Some(partitioning)) = (&source.partition_filter, &settings.partitioning) else {
            return Ok(None);
        };
        let schema = partitioning.schema().to_arrow();
        let predicate = Predicate::compile(&filter.condition, &schema)
            .map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.to_string() })?;
        // The planner has checked the zone's name, and takes no conditions on the clock.
        let context = EvalContext { now_ms: 0, zone: filter.zone.parse().unwrap_or(chrono_tz::UTC) };
        Ok(Some(Self { predicate, schema, context }))
    }

    /// Whether a partition may have rows that the job asks for.
    fn takes(&self, values: Vec<ArrayRef>) -> bool {
        let Ok(records) = RecordBatch::try_new(self.schema.clone(), values) else { return true };
        // What fails here fails for the rows, too, if there are any.
        self.predicate
            .select(&records, &self.context)
            .map_or(true, |selected| selected.is_valid(0) && selected.value(0))
    }
}

/// How files are cut into splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Into lines, anywhere.
    Lines,
    /// Into parts of which the format knows where they begin.
    Parts,
    /// Not at all.
    Whole,
}

impl Shape {
    pub fn of(format: &dyn Format) -> Self {
        match format.files() {
            None => Self::Lines,
            Some(files) if files.splittable() => Self::Parts,
            Some(_) => Self::Whole,
        }
    }
}

/// Finds files and hands out their splits.
pub(super) struct FileEnumerator {
    settings: Settings,
    storage: Storage,
    shape: Shape,
    filter: Option<PartitionFilter>,
    /// Files of a partitioned table that are in no partition were told of.
    warned: bool,
    /// Files already cut into splits.
    known: BTreeSet<PathBuf>,
    unassigned: VecDeque<FileSplit>,
    discovered: bool,
}

#[derive(Serialize, Deserialize)]
struct State {
    known: BTreeSet<PathBuf>,
    unassigned: VecDeque<FileSplit>,
    discovered: bool,
}

impl FileEnumerator {
    pub fn new(settings: Settings, storage: Storage, shape: Shape, filter: Option<PartitionFilter>) -> Self {
        Self {
            settings,
            storage,
            shape,
            filter,
            warned: false,
            known: BTreeSet::new(),
            unassigned: VecDeque::new(),
            discovered: false,
        }
    }

    /// Whether a file is to be read: it is in a partition, and in one that is asked for.
    fn takes(&mut self, path: &Path) -> Result<bool, ConnectorError> {
        let Some(partitioning) = &self.settings.partitioning else { return Ok(true) };
        let Some(texts) = partitioning.texts_of(path) else {
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    table = self.settings.table, file = %path.display(),
                    "files that are in no partition of the table are not read"
                );
            }
            return Ok(false);
        };
        let values = partitioning.values(path, &texts)?;
        Ok(self.filter.as_ref().is_none_or(|filter| filter.takes(values)))
    }

    fn cut(&mut self, path: &Path, size: u64) {
        let whole = self.settings.follow || self.shape == Shape::Whole || size <= self.settings.split_bytes;
        let step = if whole { u64::MAX } else { self.settings.split_bytes };
        let mut start = 0;
        loop {
            let last = size - start <= step;
            let end = if last { (!self.settings.follow).then_some(size) } else { Some(start + step) };
            let (position, line) = match self.shape {
                Shape::Lines => (start, (start == 0).then_some(1)),
                Shape::Parts | Shape::Whole => (0, None),
            };
            self.unassigned.push_back(FileSplit { path: path.to_owned(), start, end, position, line });
            if last {
                return;
            }
            start += step;
        }
    }
}

impl SplitEnumerator for FileEnumerator {
    fn discover(&mut self) -> Result<(), ConnectorError> {
        if self.discovered && self.settings.monitor_interval.is_none() {
            return Ok(());
        }
        for (path, size) in self.storage.list(&self.settings)? {
            if self.known.insert(path.clone()) && self.takes(&path)? {
                self.cut(&path, size);
            }
        }
        self.discovered = true;
        Ok(())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.settings.monitor_interval
    }

    fn next_splits(&mut self, _reader: SubtaskIndex) -> Vec<Split> {
        while let Some(split) = self.unassigned.pop_front() {
            if let Ok(split) = split.to_split(&self.settings.table) {
                return vec![split];
            }
        }
        Vec::new()
    }

    fn is_exhausted(&self, _reader: SubtaskIndex) -> bool {
        self.discovered && self.settings.monitor_interval.is_none() && self.unassigned.is_empty()
    }

    fn add_back(&mut self, splits: Vec<Split>) {
        for split in splits.iter().rev() {
            if let Ok(split) = FileSplit::from_split(split, &self.settings.table) {
                self.known.insert(split.path.clone());
                // A reader's position counts, not the beginning that a checkpoint may hold beside it.
                self.unassigned.retain(|unread| unread.path != split.path || unread.start != split.start);
                self.unassigned.push_front(split);
            }
        }
    }

    fn snapshot(&self) -> Result<serde_json::Value, ConnectorError> {
        let state =
            State { known: self.known.clone(), unassigned: self.unassigned.clone(), discovered: self.discovered };
        serde_json::to_value(state)
            .map_err(|error| ConnectorError::State { table: self.settings.table.clone(), reason: error.to_string() })
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<(), ConnectorError> {
        let state: State = serde_json::from_value(state)
            .map_err(|error| ConnectorError::State { table: self.settings.table.clone(), reason: error.to_string() })?;
        (self.known, self.unassigned, self.discovered) = (state.known, state.unassigned, state.discovered);
        Ok(())
    }

    fn reconcile(&mut self, reports: &[ReaderReport]) -> Result<(), ConnectorError> {
        let mut owned: BTreeMap<SplitId, ()> = BTreeMap::new();
        for report in reports {
            for split in &report.owned {
                let file = FileSplit::from_split(split, &self.settings.table)?;
                self.known.insert(file.path);
                owned.insert(split.id.clone(), ());
            }
            owned.extend(report.finished.iter().map(|id| (id.clone(), ())));
        }
        self.unassigned.retain(|split| !owned.contains_key(&split.id()));
        Ok(())
    }
}
