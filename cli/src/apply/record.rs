//! What is kept of declared jobs: a directory of each below the savepoints' one, with its savepoints and a
//! file that says what was declared. It outlives the cluster.

use tidemill_common::checkpoint::{CheckpointMetadata, METADATA_NAME};
use tidemill_state::storage::{Directory, StorageError, checksum};

use super::decide::Declared;
use crate::error::CliError;

const FILE: &str = "declared.json";
/// Version of [`Declared`]. A reader refuses what is newer.
pub const VERSION: u32 = 1;

/// The directory of a declared job.
pub struct Record {
    directory: Directory,
}

impl Record {
    pub fn new(savepoints: &Directory, name: &str) -> Self {
        Self { directory: savepoints.child(name) }
    }

    /// Where its savepoints are made.
    pub fn url(&self) -> String {
        self.directory.url()
    }

    /// What was declared last.
    pub async fn read(&self) -> Result<Option<Declared>, CliError> {
        let content = match self.directory.get(FILE).await {
            Ok(content) => content,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |reason: String| StorageError::Damaged { url: self.directory.url_of(FILE), reason };
        let declared: Declared = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        if declared.version > VERSION {
            let version = declared.version;
            return Err(damaged(format!("it has version {version}, this program knows {VERSION}")).into());
        }
        Ok(Some(declared))
    }

    pub async fn write(&self, declared: &Declared) -> Result<(), CliError> {
        let content = serde_json::to_vec_pretty(declared)?;
        Ok(self.directory.put(FILE, content).await?)
    }

    /// The newest savepoint of a job among those that were made here, which are all made to stop with.
    pub async fn savepoint_of(&self, job: &str) -> Result<Option<String>, CliError> {
        let mut newest: Option<(i64, String)> = None;
        for name in self.directory.list().await? {
            let Some((savepoint, METADATA_NAME)) = name.split_once('/') else { continue };
            let directory = self.directory.child(savepoint);
            let content = directory.get(METADATA_NAME).await?;
            // One that cannot be read belongs to nobody that is asked for here, or is refused when it is used.
            let Ok(metadata) = CheckpointMetadata::decode(&content, checksum) else { continue };
            if metadata.job.0 == job && newest.as_ref().is_none_or(|(taken, _)| metadata.timestamp_ms >= *taken) {
                newest = Some((metadata.timestamp_ms, directory.url()));
            }
        }
        Ok(newest.map(|(_, url)| url))
    }
}
