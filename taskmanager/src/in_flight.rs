//! Rows that a barrier has overtaken on their way to a subtask: collected, written, and taken again after a
//! restore, before anything else.
//!
//! They count as sent and as not yet received. So they are taken by the receiving operator with the event
//! time that it had: a subtask that has the same key groups as before goes on with the watermarks of its
//! channels as they stood, and takes those among the rows in their places; what was late is late again,
//! nothing else. At another parallelism rows go to the owner of their key group, and event time stands
//! still meanwhile; the sources bring it up to date.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::buffer::Buffer;
use tidemill_common::batch::{Batch, StreamElement};
use tidemill_common::checkpoint::{InFlight, InFlightChannel, InFlightInput, OperatorState};
use tidemill_common::hash::hash_columns;
use tidemill_common::ids::{CheckpointId, SubtaskIndex};
use tidemill_common::key_group::{key_group_of, key_group_range};
use tidemill_common::plan::{Partitioning, PlanOperator, StreamPlan};
use tidemill_common::time::Watermark;
use tidemill_state::storage::FileWriter;

use crate::memory::InFlightShare;
use crate::operator::OperatorError;
use crate::shuffle::codec::{self, Frame};
use crate::shuffle::frame::{FrameError, FrameKind, HEADER_BYTES, Header};
use crate::shuffle::gather::Selection;
use crate::shuffle::{Decoder, Delivery, bytes_of};
use crate::snapshot::Restored;
use crate::watermark::WatermarkMerger;

/// What was in flight to one subtask.
pub struct Collected {
    inputs: Arc<[InFlightInput]>,
    channels: Vec<InFlightChannel>,
    watermark: Watermark,
    /// By channel.
    elements: Vec<(usize, Delivery)>,
    memory: InFlightShare,
}

impl Collected {
    /// Nothing yet, of channels that feed these inputs and stand so.
    pub fn new(
        inputs: Arc<[InFlightInput]>,
        channels: impl Iterator<Item = usize>,
        merger: &WatermarkMerger,
        memory: InFlightShare,
    ) -> Self {
        let channels = channels.zip(merger.inputs()).map(|(input, (standing, watermark))| InFlightChannel {
            input: input as u32,
            watermark_ms: (watermark > Watermark::MIN).then_some(watermark.0),
            standing,
        });
        Self { inputs, channels: channels.collect(), watermark: merger.merged(), elements: Vec::new(), memory }
    }

    /// Adds an element of a channel.
    ///
    /// # Errors
    /// If there is more than may be kept.
    pub fn add(&mut self, channel: usize, delivery: Delivery) -> Result<(), String> {
        let bytes = match &delivery {
            Delivery::Element(StreamElement::Batch(batch)) => bytes_of(batch),
            Delivery::Element(_) | Delivery::Aborted => 0,
            Delivery::Frame { header, .. } => header.length.max(header.plain_length) as usize,
        };
        self.memory.add(bytes).map_err(|whole| {
            let megabytes = whole >> 20;
            format!(
                "more than {megabytes} MB are in flight to the subtasks here, as the barriers of some inputs come so much later than others (execution.checkpointing.unaligned.enabled); there is more room with a larger taskmanager.memory.size"
            )
        })?;
        self.elements.push((channel, delivery));
        Ok(())
    }
}

/// Writes what was in flight; `None` if there were no rows: watermarks come again by themselves. Blocks.
///
/// # Errors
/// If it cannot be encoded or written.
pub fn write(collected: Collected, writer: &FileWriter, checkpoint: CheckpointId) -> Result<Option<InFlight>, String> {
    let (mut content, mut rows) = (Vec::new(), 0);
    let Collected { inputs, channels, watermark, elements, memory: _memory } = collected;
    // Each is given up once it is encoded, so that the memory is needed once.
    for (channel, delivery) in elements {
        rows += match &delivery {
            Delivery::Element(element) => encode(element, channel as u32, &mut content),
            Delivery::Frame { header, body } => Ok(copy(header, body, channel as u32, &mut content)),
            Delivery::Aborted => Ok(0),
        }
        .map_err(|error| format!("rows in flight cannot be kept: {error}"))?;
    }
    if rows == 0 {
        return Ok(None);
    }
    let file = writer.write(content.into(), 0..0, checkpoint.0).map_err(|error| error.to_string())?;
    Ok(Some(InFlight {
        inputs: inputs.to_vec(),
        channels,
        watermark_ms: (watermark > Watermark::MIN).then_some(watermark.0),
        rows,
        file,
    }))
}

/// Appends what is kept of an element: rows, watermarks and idleness. Gives the number of rows.
fn encode(element: &StreamElement, channel: u32, content: &mut Vec<u8>) -> Result<u64, FrameError> {
    match element {
        StreamElement::Batch(batch) => match codec::encode(element, channel, 0, true) {
            Ok(frame) => {
                append(&frame, content);
                Ok(batch.rows() as u64)
            }
            Err(FrameError::TooLong { .. }) if batch.rows() > 1 => {
                let half = batch.rows() / 2;
                let first = encode(&StreamElement::Batch(batch.slice(0, half)), channel, content)?;
                let second = StreamElement::Batch(batch.slice(half, batch.rows() - half));
                Ok(first + encode(&second, channel, content)?)
            }
            Err(error) => Err(error),
        },
        StreamElement::Watermark(_) | StreamElement::Idle(_) => {
            append(&codec::encode(element, channel, 0, false)?, content);
            Ok(0)
        }
        // Ends come again by themselves.
        StreamElement::Barrier(_) | StreamElement::EndOfData { .. } | StreamElement::EndOfPartition => Ok(0),
    }
}

fn append(frame: &Frame, content: &mut Vec<u8>) {
    frame.slices().for_each(|slice| content.extend_from_slice(slice));
}

/// Appends a frame that came over the network, as it is.
fn copy(header: &Header, body: &Buffer, channel: u32, content: &mut Vec<u8>) -> u64 {
    if !matches!(header.kind, FrameKind::Batch | FrameKind::Watermark | FrameKind::Idle) {
        return 0;
    }
    content.extend_from_slice(&Header { channel, attempt: 0, ..*header }.encode());
    content.extend_from_slice(body.as_slice());
    if header.kind == FrameKind::Batch { u64::from(header.rows) } else { 0 }
}

/// Which of the rows are taken.
enum Rows {
    /// All or none: see [`Part::heir`].
    All,
    /// Those whose keys are of the operator's own key groups.
    Owned { keys: Vec<usize>, max_parallelism: u32, owned: std::ops::Range<u32>, hashes: Vec<u64> },
}

/// An input and what came on it.
struct Input {
    decoder: Decoder,
    rows: Rows,
}

/// What was in flight to one old subtask.
struct Part {
    /// Whether the subtask takes all of them that are not routed by keys.
    heir: bool,
    channels: Vec<InFlightChannel>,
    watermark: Watermark,
    frames: VecDeque<(Header, Buffer)>,
}

/// Rows in flight that a subtask takes when it starts.
pub struct Replay {
    /// Position of the operator in the chain.
    pub stage: usize,
    operator: String,
    inputs: Vec<Input>,
    parts: VecDeque<Part>,
    /// The channels' watermarks, if event time goes on among the rows.
    merger: Option<WatermarkMerger>,
}

/// What is to be taken next.
pub enum Replayed {
    Batch { input: usize, batch: Batch },
    Watermark(Watermark),
}

impl Replay {
    /// What is in flight to a subtask of an operator. `head` says whether the operator is the first of its
    /// task and has its inputs from other tasks. Reads files: blocks.
    ///
    /// # Errors
    /// If a file is missing or damaged, or rows come another way in this plan.
    pub fn read(
        restored: &Restored,
        plan: &StreamPlan,
        operator: &PlanOperator,
        subtask: SubtaskIndex,
        (stage, head): (usize, bool),
    ) -> Result<Option<Self>, OperatorError> {
        let Some(old) = restored.operator(&operator.uid) else { return Ok(None) };
        let mut replay = Self {
            stage,
            operator: operator.name.clone(),
            inputs: inputs(plan, operator, subtask, old.parallelism),
            parts: VecDeque::new(),
            merger: None,
        };
        for (index, in_flight) in in_flight_of(old) {
            // A damaged checkpoint must not ask for an input that there is not.
            let inputs = in_flight.inputs.iter().zip(&operator.inputs);
            let same = in_flight.inputs.len() == operator.inputs.len()
                && in_flight.channels.iter().all(|channel| (channel.input as usize) < operator.inputs.len())
                && inputs.clone().all(|(input, edge)| {
                    let from = plan.operator(edge.from);
                    from.uid == input.from && from.schema == input.schema
                });
            if !same {
                return Err(replay.error("rows in flight come another way in this plan".to_owned()));
            }
            if !replay.takes_of(operator, subtask, old.parallelism, index) {
                continue;
            }
            let content = restored
                .reader()
                .read(&in_flight.file)
                .map_err(|source| OperatorError::Storage { operator: operator.name.clone(), source })?;
            let frames = frames(&content.into(), in_flight.channels.len());
            replay.parts.push_back(Part {
                heir: is_heir(operator, subtask, index),
                channels: in_flight.channels.clone(),
                watermark: in_flight.watermark_ms.map_or(Watermark::MIN, Watermark),
                frames: frames.map_err(|error| replay.error(error.to_string()))?,
            });
        }
        if replay.parts.is_empty() {
            return Ok(None);
        }
        if old.parallelism == operator.parallelism
            && head
            && let Some(part) = replay.parts.front()
        {
            let inputs = part.channels.iter().map(|channel| {
                let watermark = channel.watermark_ms.map_or(Watermark::MIN, Watermark);
                (channel.standing, watermark)
            });
            replay.merger = Some(WatermarkMerger::restored(inputs, part.watermark));
        }
        Ok(Some(replay))
    }

    /// Whether a subtask takes any of the rows that were in flight to an old one.
    fn takes_of(
        &self,
        operator: &PlanOperator,
        subtask: SubtaskIndex,
        old_parallelism: u32,
        old: SubtaskIndex,
    ) -> bool {
        if old_parallelism == operator.parallelism {
            return old == subtask;
        }
        // Of a keyed input perhaps; of the others all or nothing.
        self.inputs.iter().any(|input| matches!(input.rows, Rows::Owned { .. })) || is_heir(operator, subtask, old)
    }

    fn error(&self, reason: String) -> OperatorError {
        OperatorError::State { operator: self.operator.clone(), reason }
    }

    /// The next rows or watermark.
    ///
    /// # Errors
    /// If what was kept is damaged.
    pub fn next(&mut self) -> Result<Option<Replayed>, OperatorError> {
        let operator = self.operator.clone();
        let failed = |reason: String| OperatorError::State { operator: operator.clone(), reason };
        while let Some(part) = self.parts.front_mut() {
            let Some((header, body)) = part.frames.pop_front() else {
                self.parts.pop_front();
                continue;
            };
            let channel = header.channel as usize;
            let input = part.channels[channel].input as usize;
            let element = self.inputs[input].decoder.decode(&header, body);
            let element = element.map_err(|error| failed(format!("rows in flight cannot be read: {error}")))?;
            let replayed = match element {
                StreamElement::Batch(batch) => {
                    let heir = part.heir;
                    let batch = self.inputs[input].rows.select(batch, heir);
                    batch.map_err(|error| failed(error.to_string()))?.map(|batch| Replayed::Batch { input, batch })
                }
                StreamElement::Watermark(watermark) => self.merge(|merger| {
                    merger.watermark(channel, watermark);
                }),
                StreamElement::Idle(idle) => self.merge(|merger| {
                    merger.idle(channel, idle);
                }),
                StreamElement::Barrier(_) | StreamElement::EndOfData { .. } | StreamElement::EndOfPartition => None,
            };
            if replayed.is_some() {
                return Ok(replayed);
            }
        }
        Ok(None)
    }

    /// Idleness is told anew by those who are idle; here it only sets channels aside.
    fn merge(&mut self, change: impl FnOnce(&mut WatermarkMerger)) -> Option<Replayed> {
        let merger = self.merger.as_mut()?;
        let before = merger.merged();
        change(merger);
        (merger.merged() > before).then(|| Replayed::Watermark(merger.merged()))
    }

    /// How far event time has come among the rows.
    pub fn watermark(&self) -> Watermark {
        self.merger.as_ref().map_or(Watermark::MIN, WatermarkMerger::merged)
    }
}

/// Whether a subtask takes all that was in flight to an old one, if rows are not routed by keys. At the same
/// parallelism each takes its own; the rows of subtask 0, which may be all, stay with it.
fn is_heir(operator: &PlanOperator, subtask: SubtaskIndex, old: SubtaskIndex) -> bool {
    old.0 % operator.parallelism == subtask.0
}

fn in_flight_of(old: &OperatorState) -> impl Iterator<Item = (SubtaskIndex, &InFlight)> {
    old.subtasks.iter().filter_map(|(index, snapshot)| Some((*index, snapshot.in_flight.as_ref()?)))
}

fn inputs(plan: &StreamPlan, operator: &PlanOperator, subtask: SubtaskIndex, old_parallelism: u32) -> Vec<Input> {
    let owned = key_group_range(subtask, operator.parallelism, plan.max_parallelism);
    let input = |edge: &tidemill_common::plan::PlanEdge| Input {
        decoder: Decoder::new(plan.operator(edge.from).schema.to_arrow()),
        rows: match &edge.partitioning {
            Partitioning::Hash { keys } if old_parallelism != operator.parallelism && operator.parallelism > 1 => {
                let max_parallelism = plan.max_parallelism;
                Rows::Owned { keys: keys.clone(), max_parallelism, owned: owned.clone(), hashes: Vec::new() }
            }
            _ => Rows::All,
        },
    };
    operator.inputs.iter().map(input).collect()
}

impl Rows {
    fn select(&mut self, batch: Batch, heir: bool) -> Result<Option<Batch>, arrow::error::ArrowError> {
        let Self::Owned { keys, max_parallelism, owned, hashes } = self else { return Ok(heir.then_some(batch)) };
        let columns: Vec<_> = keys.iter().map(|key| batch.records.column(*key).clone()).collect();
        hash_columns(&columns, batch.rows(), hashes);
        let mut selection = Selection::default();
        for (row, hash) in hashes.iter().enumerate() {
            if owned.contains(&u32::from(key_group_of(*hash, *max_parallelism).0)) {
                selection.push(row as u32);
            }
        }
        selection.close_part(&batch);
        selection.take()
    }
}

/// Cuts a file into frames.
pub fn frames(content: &Buffer, channels: usize) -> Result<VecDeque<(Header, Buffer)>, FrameError> {
    const CUT_OFF: FrameError = FrameError::Damaged { what: "rows in flight are cut off" };
    let mut frames = VecDeque::new();
    let mut at = 0;
    while at < content.len() {
        let head = content.as_slice()[at..].first_chunk::<HEADER_BYTES>().ok_or(CUT_OFF)?;
        let header = Header::decode(head)?;
        let (start, length) = (at + HEADER_BYTES, header.length as usize);
        if length > content.len() - start {
            return Err(CUT_OFF);
        }
        if header.channel as usize >= channels {
            return Err(FrameError::Damaged { what: "rows in flight are of a channel that there is not" });
        }
        frames.push_back((header, content.slice_with_length(start, length)));
        at = start + length;
    }
    Ok(frames)
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
