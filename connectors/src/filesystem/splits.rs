//! Which files there are, and the splits they are read in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_common::ids::{SplitId, SubtaskIndex};

use super::{Settings, io_error};
use crate::api::{ConnectorError, ReaderReport, Split, SplitEnumerator};

/// Deepest directory below the table's path.
const DIRECTORY_DEPTH_MAX: usize = 32;

/// A range of a file: the lines that begin in `start..end`, and the position reached in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileSplit {
    pub path: PathBuf,
    pub start: u64,
    /// `None`: to the end of the file, wherever that is.
    pub end: Option<u64>,
    /// Where the next line begins; equal to `start` before the first read.
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

/// All files of a table with their sizes, in order of their names.
pub(crate) fn list(settings: &Settings) -> Result<Vec<(PathBuf, u64)>, ConnectorError> {
    let mut files = Vec::new();
    let path = &settings.path;
    let text = path.to_string_lossy();
    if path.is_dir() {
        walk(path, 0, settings, &mut files)?;
    } else if path.is_file() {
        files.push((path.clone(), size(path, settings)?));
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
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
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

/// Finds files and hands out their splits.
pub(crate) struct FileEnumerator {
    settings: Settings,
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
    pub fn new(settings: Settings) -> Self {
        Self { settings, known: BTreeSet::new(), unassigned: VecDeque::new(), discovered: false }
    }

    fn cut(&mut self, path: &Path, size: u64) {
        let whole = self.settings.follow || size <= self.settings.split_bytes;
        let step = if whole { u64::MAX } else { self.settings.split_bytes };
        let mut start = 0;
        loop {
            let last = size - start <= step;
            let end = if last { (!self.settings.follow).then_some(size) } else { Some(start + step) };
            let line = (start == 0).then_some(1);
            self.unassigned.push_back(FileSplit { path: path.to_owned(), start, end, position: start, line });
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
        for (path, size) in list(&self.settings)? {
            if self.known.insert(path.clone()) {
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
