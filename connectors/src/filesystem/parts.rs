//! Parts that wait for their checkpoint, and where they are kept meanwhile.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::commit::CommitState;
use super::remote_parts::Upload;
use crate::api::ConnectorError;

/// Version of [`PendingParts`]. What is newer is refused.
const VERSION: u32 = 2;

/// A complete and durable part that nobody can see yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingPart {
    /// File name while it is hidden; empty where the store hides it.
    pub hidden: String,
    /// File name once it is published.
    pub name: String,
    pub bytes: u64,
    /// Directory of its partition below the table's; empty if there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub partition: String,
    /// In a store of objects: what is to be completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
}

/// The parts of an epoch, as a checkpoint keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingParts {
    version: u32,
    pub directory: PathBuf,
    pub parts: Vec<PendingPart>,
    /// Partitions that are to be marked as complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<CommitState>,
}

impl PendingParts {
    pub fn new(directory: PathBuf, parts: Vec<PendingPart>, commits: Option<CommitState>) -> Self {
        Self { version: VERSION, directory, parts, commits }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.commits.is_none()
    }

    pub fn encode(&self, table: &str) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(self)
            .map_err(|error| ConnectorError::State { table: table.to_owned(), reason: error.to_string() })
    }

    /// Reads what [`PendingParts::encode`] wrote.
    pub fn decode(bytes: &[u8], table: &str) -> Result<Self, ConnectorError> {
        let state = |reason: String| ConnectorError::State { table: table.to_owned(), reason };
        let parts: Self = serde_json::from_slice(bytes).map_err(|error| state(error.to_string()))?;
        if parts.version > VERSION {
            return Err(state(format!("its parts have version {}, this binary reads up to {VERSION}", parts.version)));
        }
        // A checkpoint names files of one directory, hidden ones to be shown; nothing else is renamed.
        let hidden = |part: &PendingPart| match &part.upload {
            Some(_) => part.hidden.is_empty(),
            None => is_file_name(&part.hidden) && part.hidden.starts_with('.'),
        };
        let shown = |part: &PendingPart| is_file_name(&part.name) && !part.name.starts_with('.');
        let fine = |part: &PendingPart| hidden(part) && shown(part) && is_partition(&part.partition);
        if let Some(part) = parts.parts.iter().find(|part| !fine(part)) {
            return Err(state(format!("'{}/{}' is no name of a pending part", part.partition, part.hidden)));
        }
        let mut commits = parts.commits.iter().flat_map(|commits| &commits.pending);
        match commits.find(|pending| pending.directory.is_empty() || !is_partition(&pending.directory)) {
            Some(pending) => Err(state(format!("'{}' is no partition", pending.directory))),
            None => Ok(parts),
        }
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0'])
}

/// Whether it is the directory of a partition, or empty.
fn is_partition(directory: &str) -> bool {
    let fine = |part: &str| part.contains('=') && !part.contains('\0') && !part.starts_with("..");
    directory.is_empty() || directory.split('/').all(fine)
}

/// Where a writer's parts are made and shown.
pub(super) trait PartStore: Send {
    /// Begins a part.
    fn create(&mut self, name: String, partition: String) -> Result<Box<dyn PartFile>, ConnectorError>;

    /// Before a checkpoint names parts: what they are called is durable.
    fn sync(&mut self) -> Result<(), ConnectorError>;

    /// Gives the parts of an epoch their names. Those that have them already are left as they are.
    fn publish(&mut self, parts: &PendingParts) -> Result<(), ConnectorError>;

    /// Puts an empty file into the directory of a partition, in place of the one that there may be.
    fn mark(&mut self, partition: &str, name: &str) -> Result<(), ConnectorError>;

    /// Takes away what earlier attempts left, but for the parts of these epochs.
    fn sweep(&mut self, kept: &[PendingParts]);

    /// Takes away a part that no checkpoint names.
    fn discard(&mut self, part: &PendingPart);
}

/// A part that is being written. It is gone when it is dropped before it is closed.
pub(super) trait PartFile: Send {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError>;

    /// Makes what was written durable; the part goes on.
    fn sync(&mut self) -> Result<(), ConnectorError>;

    /// Ends the part: it is complete and durable, and nobody can see it.
    fn close(self: Box<Self>) -> Result<PendingPart, ConnectorError>;
}
