//! Checkpoints: what a subtask hands over at a barrier, what is kept of a whole job, and the options
//! that steer them.
//!
//! A checkpoint is a directory with a `_metadata` object ([`CheckpointMetadata`] as JSON behind a
//! checksum) that names every file of keyed state and holds everything small itself.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{Options, is_batch};
use crate::ids::{CheckpointId, JobId, OperatorId, SplitId, SubtaskIndex};
use crate::plan::StateDescriptor;
use crate::types::Schema;

/// Version of [`CheckpointMetadata`]. A reader refuses what is newer.
pub const METADATA_VERSION: u32 = 2;
/// Name of the object that makes a directory a checkpoint.
pub const METADATA_NAME: &str = "_metadata";

/// Bytes that are kept as base64 in JSON.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Why a checkpoint is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointKind {
    /// By the interval; may share files with others.
    Checkpoint,
    /// By request; self-contained and relocatable.
    Savepoint,
}

/// One file of a checkpoint, complete and synced before anybody names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// A URL, or (in savepoints) a path relative to the directory of `_metadata`.
    pub location: String,
    pub bytes: u64,
    /// CRC-32 of the whole content.
    pub checksum: u32,
    /// The content itself, if it is small; then `location` only names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Blob>,
    /// Key groups of the rows in it. Rows outside are not of this state, whatever the file holds.
    pub key_groups: Range<u32>,
    /// Files of one subtask's state are read in rising order: later rows replace earlier ones, or are
    /// merged with them, as the state's operator does it.
    pub sequence: u64,
}

/// What one operator of one subtask keeps in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// Small states by name. On restore every subtask of the operator gets those of all old subtasks
    /// and picks what is its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Blob>,
    /// Keyed state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<StateFile>,
    /// Positions of a source's unfinished splits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<SplitPosition>,
    /// Rows of a sink that are published once the checkpoint is complete, oldest epoch first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staged: Vec<StagedEpoch>,
    /// Rows that the barrier has overtaken on their way to the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
}

impl OperatorSnapshot {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
            && self.files.is_empty()
            && self.splits.is_empty()
            && self.staged.is_empty()
            && self.in_flight.is_none()
    }

    /// Bytes of all it holds and names.
    pub fn bytes(&self) -> u64 {
        let values: usize = self.values.values().map(|value| value.0.len()).sum();
        let files: u64 = self.files.iter().map(|file| file.bytes).sum();
        let staged: u64 = self.staged.iter().flat_map(|epoch| &epoch.files).map(|file| file.bytes).sum();
        let splits: usize = self.splits.iter().map(|split| split.state.to_string().len()).sum();
        let in_flight = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.file.bytes);
        (values + splits) as u64 + files + staged + in_flight
    }
}

/// Rows that were on their way to a subtask when a barrier overtook them. They count as sent, and as not
/// yet received: on restore they are taken before anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// Inputs of the operator.
    pub inputs: Vec<InFlightInput>,
    /// Channels of the subtask, as they stood when its state was taken.
    pub channels: Vec<InFlightChannel>,
    /// The subtask's watermark then, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
    pub rows: u64,
    /// Rows, watermarks and idleness of all channels: frames of the shuffle, in order within a channel,
    /// whose channel is a position in `channels`.
    pub file: StateFile,
}

/// An input of an operator with rows in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlightInput {
    /// Uid of the operator that sent the rows.
    pub from: String,
    pub schema: Schema,
}

/// A channel of a subtask with rows in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlightChannel {
    /// Position in [`InFlight::inputs`].
    pub input: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
    pub standing: ChannelStanding,
}

/// How a channel counts in the merging of watermarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelStanding {
    Active,
    /// Set aside for now.
    Idle,
    /// Set aside for good.
    Finished,
}

/// Where a source split goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitPosition {
    pub id: SplitId,
    /// The connector's own state, with the position after the last row before the barrier.
    pub state: serde_json::Value,
    /// The split's watermark, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
}

/// Whose rows an epoch holds. They are published and fenced under this name, whoever does it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochOrigin {
    pub job: JobId,
    /// Uid of the sink.
    pub sink: String,
    pub subtask: SubtaskIndex,
    /// The checkpoint that ends the epoch.
    pub checkpoint: CheckpointId,
}

/// The rows a sink took between two barriers and has not published, in the connector's own form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedEpoch {
    pub origin: EpochOrigin,
    pub files: Vec<StateFile>,
}

/// What a subtask reports when its part of a checkpoint is complete and synced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubtaskSnapshot {
    /// Operators with state.
    pub operators: Vec<(OperatorId, OperatorSnapshot)>,
    pub stats: SnapshotStats,
}

/// What a subtask's part of a checkpoint took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStats {
    /// From the first barrier to the last.
    pub alignment_ms: u64,
    /// While no row was processed, in microseconds.
    pub sync_us: u64,
    /// Encoding, writing and uploading beside the task.
    pub async_ms: u64,
    /// Written for this checkpoint.
    pub bytes_new: u64,
    /// Of rows that the barrier has overtaken.
    #[serde(default)]
    pub bytes_in_flight: u64,
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMetadata {
    pub version: u32,
    pub kind: CheckpointKind,
    pub job: JobId,
    pub job_name: String,
    pub checkpoint: CheckpointId,
    /// When it was triggered, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    pub max_parallelism: u32,
    /// Ids of states from this one on were never used by the job.
    #[serde(default)]
    pub next_state_id: u32,
    pub operators: Vec<OperatorState>,
}

/// The state of one operator, over all its subtasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorState {
    pub uid: String,
    pub name: String,
    pub parallelism: u32,
    /// With the ids that were allocated for them.
    pub descriptors: Vec<StateDescriptor>,
    /// Of the split enumerator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<serde_json::Value>,
    pub subtasks: Vec<(SubtaskIndex, OperatorSnapshot)>,
}

impl CheckpointMetadata {
    /// The object's bytes: a line with the CRC-32 of the rest, then JSON. `checksum` computes it.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn encode(&self, checksum: impl Fn(&[u8]) -> u32) -> Result<Vec<u8>, MetadataError> {
        let json = serde_json::to_vec(self).map_err(MetadataError::Json)?;
        let mut bytes = format!("tidemill-checkpoint {:08x}\n", checksum(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        Ok(bytes)
    }

    /// Reads what [`CheckpointMetadata::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are damaged, of something else, or of a newer version.
    pub fn decode(bytes: &[u8], checksum: impl Fn(&[u8]) -> u32) -> Result<Self, MetadataError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(MetadataError::Foreign)?;
        let (head, json) = (&bytes[..end], &bytes[end + 1..]);
        let expected = std::str::from_utf8(head)
            .ok()
            .and_then(|head| head.strip_prefix("tidemill-checkpoint "))
            .and_then(|sum| u32::from_str_radix(sum, 16).ok())
            .ok_or(MetadataError::Foreign)?;
        if checksum(json) != expected {
            return Err(MetadataError::Damaged);
        }
        let Version { version } = serde_json::from_slice(json).map_err(MetadataError::Json)?;
        if version > METADATA_VERSION {
            return Err(MetadataError::NewerVersion { version });
        }
        serde_json::from_slice(json).map_err(MetadataError::Json)
    }
}

/// Why `_metadata` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("it is not the metadata of a tidemill checkpoint")]
    Foreign,
    #[error("its checksum is wrong: the object is damaged or incomplete")]
    Damaged,
    #[error("it has version {version}, this binary reads up to {METADATA_VERSION}; use a newer tidemill")]
    NewerVersion { version: u32 },
    #[error("its JSON cannot be read or written: {0}")]
    Json(#[source] serde_json::Error),
}

/// The interval of jobs that take no checkpoint but the one behind the end of their input: a hundred years.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The job options of checkpointing, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// `execution.checkpointing.interval`; without it only savepoints are taken, and a bounded job
    /// publishes at its end. In batch mode it is longer than any job: the last checkpoint is the only one.
    pub interval: Option<Duration>,
    /// `execution.checkpointing.timeout`.
    pub timeout: Duration,
    /// `execution.checkpointing.min-pause`.
    pub min_pause: Duration,
    /// `execution.checkpointing.tolerable-failed-checkpoints`.
    pub tolerable_failures: u32,
    /// `execution.checkpointing.num-retained` (`state.checkpoints.num-retained`).
    pub retained: u32,
    /// `execution.checkpointing.externalized-checkpoint-retention`.
    pub retention: CheckpointRetention,
    /// `execution.checkpointing.incremental`.
    pub incremental: bool,
    /// `execution.checkpointing.mode` is `AT_LEAST_ONCE`: barriers are not aligned.
    pub at_least_once: bool,
    /// `execution.checkpointing.unaligned.enabled`.
    pub unaligned: bool,
    /// `execution.checkpointing.aligned-checkpoint-timeout`: how long barriers are aligned before they overtake.
    pub aligned_timeout: Duration,
    /// `execution.checkpointing.local-backup.enabled`: task managers keep copies of what they upload.
    pub local_backup: bool,
    /// `execution.state-recovery.from-local`: a restore uses copies on its machine.
    pub from_local: bool,
    /// `state.checkpoints.dir`.
    pub directory: Option<String>,
    /// `state.savepoints.dir`.
    pub savepoint_directory: Option<String>,
    /// `state.backend.type`.
    pub backend: StateBackend,
}

/// What becomes of a job's checkpoints when it ends. Those of a job that finished are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointRetention {
    /// `NO_EXTERNALIZED_CHECKPOINTS`: they are deleted.
    Delete,
    /// `DELETE_ON_CANCELLATION`: they are kept if the job failed.
    RetainOnFailure,
    /// `RETAIN_ON_CANCELLATION`: they are kept if the job failed or was cancelled.
    RetainOnCancellation,
}

/// Where keyed state lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateBackend {
    /// Tables in memory over RocksDB on local disk; state may be larger than memory.
    RocksDb,
    /// In memory only.
    HashMap,
}

impl CheckpointOptions {
    /// Reads a job's options, which were checked before.
    pub fn new(options: &BTreeMap<String, String>) -> Self {
        const RETENTION: &str = "execution.checkpointing.externalized-checkpoint-retention";
        let options = Options(options);
        let is = |key: &str, word: &str| options.text(key).is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
        let duration = |key: &str, default: Duration| options.duration(key).unwrap_or(default);
        let text = |keys: &[&str]| keys.iter().find_map(|key| options.text(key)).map(str::to_owned);
        let count = |keys: &[&str], default: u32| {
            let value = keys.iter().find_map(|key| options.integer(key));
            value.map_or(default, |value| value.clamp(0, i64::from(u32::MAX)) as u32)
        };
        // In batch mode what is published is published once, by the checkpoint behind the end of all input; before
        // that a job that fails starts again from the beginning.
        let batch = is_batch(options.0);
        let interval = options.duration("execution.checkpointing.interval").filter(|interval| !interval.is_zero());
        let strategy = text(&["restart-strategy.type", "restart-strategy"]).map(|word| word.trim().to_lowercase());
        let restarts = strategy.is_some_and(|word| !matches!(word.as_str(), "none" | "off" | "disable"));
        let interval = if batch { (interval.is_some() || restarts).then_some(NEVER) } else { interval };
        let local = options.boolean("state.backend.local-recovery");
        let from_local = options.boolean("execution.state-recovery.from-local").or(local).unwrap_or(false);
        Self {
            local_backup: options
                .boolean("execution.checkpointing.local-backup.enabled")
                .or(local)
                .unwrap_or(from_local),
            from_local,
            interval,
            timeout: duration("execution.checkpointing.timeout", Duration::from_secs(600)),
            min_pause: duration("execution.checkpointing.min-pause", Duration::ZERO),
            tolerable_failures: count(&["execution.checkpointing.tolerable-failed-checkpoints"], 0),
            retained: count(&["execution.checkpointing.num-retained", "state.checkpoints.num-retained"], 1).max(1),
            retention: if is(RETENTION, "RETAIN_ON_CANCELLATION") {
                CheckpointRetention::RetainOnCancellation
            } else if is(RETENTION, "DELETE_ON_CANCELLATION") {
                CheckpointRetention::RetainOnFailure
            } else {
                CheckpointRetention::Delete
            },
            incremental: options
                .boolean("execution.checkpointing.incremental")
                .or(options.boolean("state.backend.incremental"))
                .unwrap_or(true)
                && !batch,
            at_least_once: is("execution.checkpointing.mode", "AT_LEAST_ONCE"),
            unaligned: options
                .boolean("execution.checkpointing.unaligned.enabled")
                .or(options.boolean("execution.checkpointing.unaligned"))
                .unwrap_or(false),
            aligned_timeout: options
                .duration("execution.checkpointing.aligned-checkpoint-timeout")
                .or(options.duration("execution.checkpointing.alignment-timeout"))
                .unwrap_or(Duration::ZERO),
            directory: text(&["execution.checkpointing.dir", "state.checkpoints.dir"]),
            savepoint_directory: text(&["execution.checkpointing.savepoint-dir", "state.savepoints.dir"]),
            backend: if is("state.backend.type", "hashmap") || is("state.backend", "hashmap") {
                StateBackend::HashMap
            } else {
                StateBackend::RocksDb
            },
        }
    }
}

/// How the subtasks of a job treat the barriers of checkpoints. Barriers of savepoints are always
/// aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barriers {
    /// A channel is not read past a barrier before all have brought it.
    Aligned,
    /// Channels are read on: what comes behind a barrier may be in the checkpoint, and is then read again
    /// after a restore.
    AtLeastOnce,
    /// Aligned for so long since the checkpoint was triggered, then barriers overtake rows, which the
    /// checkpoint keeps.
    Overtaking { after: Duration },
}

impl CheckpointOptions {
    /// How barriers are treated. As in Flink nothing is overtaken where rows may come twice anyway.
    pub fn barriers(&self) -> Barriers {
        match (self.interval, self.at_least_once, self.unaligned) {
            (Some(_), true, _) => Barriers::AtLeastOnce,
            (Some(_), false, true) => Barriers::Overtaking { after: self.aligned_timeout },
            _ => Barriers::Aligned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> CheckpointMetadata {
        CheckpointMetadata {
            version: METADATA_VERSION,
            kind: CheckpointKind::Checkpoint,
            job: JobId::from("j"),
            job_name: "name".to_owned(),
            checkpoint: CheckpointId(7),
            timestamp_ms: 1,
            max_parallelism: 128,
            next_state_id: 1,
            operators: vec![OperatorState {
                uid: "u".to_owned(),
                name: "n".to_owned(),
                parallelism: 1,
                descriptors: Vec::new(),
                coordinator: None,
                subtasks: vec![(
                    SubtaskIndex(0),
                    OperatorSnapshot {
                        values: BTreeMap::from([("w".to_owned(), Blob(vec![0, 255, 10]))]),
                        ..OperatorSnapshot::default()
                    },
                )],
            }],
        }
    }

    fn sum(bytes: &[u8]) -> u32 {
        bytes.iter().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
    }

    #[test]
    fn metadata_survives_and_damage_is_told() {
        let metadata = metadata();
        let bytes = metadata.encode(sum).unwrap();
        assert_eq!(CheckpointMetadata::decode(&bytes, sum).unwrap(), metadata);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(CheckpointMetadata::decode(&damaged, sum).is_err(), "bit of byte {at}");
            assert!(CheckpointMetadata::decode(&bytes[..at], sum).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn metadata_of_a_newer_version_is_refused() {
        let newer = CheckpointMetadata { version: METADATA_VERSION + 1, ..metadata() };
        let error = CheckpointMetadata::decode(&newer.encode(sum).unwrap(), sum).unwrap_err();
        assert!(matches!(error, MetadataError::NewerVersion { version: 3 }), "{error}");
    }

    #[test]
    fn options_have_flinks_names_and_defaults() {
        let none = CheckpointOptions::new(&BTreeMap::new());
        assert_eq!((none.interval, none.retained, none.tolerable_failures), (None, 1, 0));
        assert_eq!(none.timeout, Duration::from_secs(600));
        let set = [
            ("execution.checkpointing.interval", "1 s"),
            ("state.checkpoints.num-retained", "3"),
            ("state.backend.type", "hashmap"),
            ("state.checkpoints.dir", "file:///tmp/x"),
        ];
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let options = CheckpointOptions::new(&set);
        assert_eq!((options.interval, options.retained), (Some(Duration::from_secs(1)), 3));
        assert_eq!((options.backend, options.directory.as_deref()), (StateBackend::HashMap, Some("file:///tmp/x")));
        assert_eq!(options.barriers(), Barriers::Aligned);
    }

    #[test]
    fn one_option_is_enough_for_copies_on_local_disk() {
        let local = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let CheckpointOptions { local_backup, from_local, .. } = CheckpointOptions::new(&set);
            (local_backup, from_local)
        };
        assert_eq!(local(&[]), (false, false));
        let from_local = ("execution.state-recovery.from-local", "true");
        assert_eq!(local(&[from_local]), (true, true));
        assert_eq!(local(&[("state.backend.local-recovery", "true")]), (true, true));
        let backup = |value| ("execution.checkpointing.local-backup.enabled", value);
        assert_eq!(local(&[backup("true")]), (true, false));
        assert_eq!(local(&[backup("false"), from_local]), (false, true));
    }

    #[test]
    fn barriers_overtake_where_nothing_comes_twice() {
        let barriers = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(key, value)| (format!("execution.checkpointing.{key}"), (*value).to_owned()));
            CheckpointOptions::new(&set.collect()).barriers()
        };
        let unaligned = ("unaligned.enabled", "true");
        assert_eq!(barriers(&[unaligned]), Barriers::Aligned, "there are only savepoints");
        let every = ("interval", "1 s");
        assert_eq!(barriers(&[every, unaligned]), Barriers::Overtaking { after: Duration::ZERO });
        let late = ("aligned-checkpoint-timeout", "30 s");
        assert_eq!(barriers(&[every, unaligned, late]), Barriers::Overtaking { after: Duration::from_secs(30) });
        assert_eq!(barriers(&[every, late]), Barriers::Aligned);
        assert_eq!(barriers(&[every, unaligned, ("mode", "at_least_once")]), Barriers::AtLeastOnce);
    }
}
