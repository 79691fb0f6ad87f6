//! Exchanges between tasks: who sends a row to whom, and how it gets there.
//!
//! The sender's side is [`Outputs`]; the receiver's is an [`Inbox`], into which senders of this process
//! put elements and [`network`] puts what comes from others. Where checkpoints are not aligned, barriers
//! get ahead of what waits ([`overtaking`]).

pub(crate) mod codec;
pub mod fare;
pub(crate) mod frame;
pub(crate) mod gather;
mod inbox;
pub mod network;
mod outputs;
mod overtaking;

pub use codec::Decoder;
pub use inbox::{Delivery, Inbox, Mail, Received};
pub(crate) use outputs::bytes_of;
pub use outputs::{Exchange, Outputs, Router, Target};
pub use overtaking::{Overtaking, Urgency};

use tidemill_common::ids::{SubtaskId, SubtaskIndex, TaskId};
use tidemill_common::job_graph::{JobGraph, TaskEdge};
use tidemill_common::plan::Partitioning;

/// An input channel of a subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputChannel {
    /// Position in [`JobGraph::edges`].
    pub edge: u32,
    /// Which input of the head operator it feeds.
    pub input: usize,
    pub from: SubtaskId,
}

fn senders(graph: &JobGraph, edge: &TaskEdge, receiver: SubtaskIndex) -> Vec<SubtaskIndex> {
    match edge.partitioning {
        Partitioning::Forward => vec![receiver],
        Partitioning::Hash { .. } | Partitioning::Rebalance | Partitioning::Broadcast | Partitioning::Global => {
            (0..graph.tasks[edge.from.0 as usize].parallelism).map(SubtaskIndex).collect()
        }
    }
}

/// The channels of a subtask, in the order of its inbox.
pub fn input_channels(graph: &JobGraph, subtask: SubtaskId) -> Vec<InputChannel> {
    let inputs = graph.inputs(subtask.task).enumerate();
    inputs
        .flat_map(|(input, edge)| {
            senders(graph, edge, subtask.index).into_iter().map(move |index| InputChannel {
                edge: edge.index,
                input,
                from: SubtaskId { task: edge.from, index },
            })
        })
        .collect()
}

/// In which channels of a subtask barriers may overtake: where any row may go to any subtask, so that rows
/// in flight can be routed again. Where each subtask has one receiver of its own, or all are receivers, they
/// may not.
pub fn overtakable_channels(graph: &JobGraph, subtask: SubtaskId) -> Vec<bool> {
    let overtakable = |channel: InputChannel| match graph.edges[channel.edge as usize].partitioning {
        Partitioning::Hash { .. } | Partitioning::Rebalance | Partitioning::Global => true,
        Partitioning::Forward | Partitioning::Broadcast => false,
    };
    input_channels(graph, subtask).into_iter().map(overtakable).collect()
}

/// The receivers of what a subtask sends along an edge, in the order of the partitioner.
pub fn receivers(graph: &JobGraph, edge: &TaskEdge, sender: SubtaskIndex) -> Vec<SubtaskId> {
    let of = |index: u32| SubtaskId { task: edge.to, index: SubtaskIndex(index) };
    match edge.partitioning {
        Partitioning::Forward => vec![of(sender.0)],
        Partitioning::Hash { .. } | Partitioning::Rebalance | Partitioning::Broadcast | Partitioning::Global => {
            (0..graph.tasks[edge.to.0 as usize].parallelism).map(of).collect()
        }
    }
}

/// The channel of `receiver`'s inbox that `sender` writes to along an edge.
pub fn channel_of(graph: &JobGraph, edge: u32, sender: SubtaskId, receiver: SubtaskId) -> Option<usize> {
    input_channels(graph, receiver).iter().position(|channel| channel.edge == edge && channel.from == sender)
}

/// Tasks whose subtasks never send to others.
pub fn is_last(graph: &JobGraph, task: TaskId) -> bool {
    graph.outputs(task).next().is_none()
}
