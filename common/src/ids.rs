//! Newtypes for the identifiers that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// A submitted job: 32 hexadecimal digits, chosen by the job manager.
    JobId
}
text_id! {
    /// One life of one task manager process. A restarted process has a new id.
    TaskManagerId
}
text_id! {
    /// A part of a source that is read in order, such as a Kafka partition or a file range.
    SplitId
}
number_id! {
    /// One execution of a region of a job. Rises with every one that starts, over all regions of the job;
    /// fences data frames, files and commits.
    AttemptId(u32)
}
number_id! {
    /// A pipelined region of a job graph: its index in [`crate::regions::Regions`].
    RegionId(u32)
}
number_id! {
    /// Rises with every change of the leading job manager; fences control messages.
    LeaderEpoch(u64)
}
number_id! {
    /// A checkpoint of a job. Rises monotonically and is never used twice.
    CheckpointId(u64)
}
number_id! {
    /// An operator of a stream plan: its index in [`crate::plan::StreamPlan::operators`].
    OperatorId(u32)
}
number_id! {
    /// A task of a job graph: a chain of operators that run on one thread per subtask.
    TaskId(u32)
}
number_id! {
    /// The index of a parallel instance of a task, from 0.
    SubtaskIndex(u32)
}
number_id! {
    /// The persisted id of one operator state. Allocated once per operator uid, never reused.
    StateId(u32)
}
number_id! {
    /// One of the `max-parallelism` shards of the key space.
    KeyGroup(u16)
}

/// One parallel instance of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The task.
    pub task: TaskId,
    /// The instance.
    pub index: SubtaskIndex,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.index)
    }
}
