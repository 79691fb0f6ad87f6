//! The bodies of frames: columns as they lie in memory.
//!
//! A batch's body is a directory, then buffers, each beginning at a multiple of 64 bytes. The
//! directory holds the length and layout of every buffer as a `u32`: first of the row kinds (one byte a
//! row, 0 if there are none), then per column (depth first) of its validity bitmap (0 if nothing is NULL)
//! and of its values: one buffer for fixed-width types, offsets and bytes for strings, offsets for lists
//! and maps. Types are those of the plan and are not sent. Whole numbers that lie close to each other are
//! packed (`packed.rs`); all else is written as it lies in memory, and read as slices of one aligned body,
//! after every length, offset and string has been checked: nothing that comes over the network is trusted.

mod decode;
mod encode;
mod packed;

#[cfg(test)]
mod tests;

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use tidemill_common::batch::{Barrier, StreamElement};
use tidemill_common::ids::CheckpointId;
use tidemill_common::time::Watermark;

use super::frame::{FrameError, FrameKind, HEADER_BYTES, Header};

/// Where buffers of a body begin.
const ALIGNMENT: usize = 64;

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// Bytes of one value; `None` for types that are not one buffer of fixed-width values.
fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean | DataType::Null => None,
        DataType::Decimal128(..) => Some(16),
        other => other.primitive_width(),
    }
}

/// A frame that is ready to be written: header and body in pieces, with the padding between them.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The header's bytes, and the first piece of the body.
    pub head: Vec<u8>,
    /// The rest of the body; every piece is followed by padding to 64 bytes.
    pub pieces: Vec<Buffer>,
}

impl Frame {
    /// A frame whose body is in one piece.
    pub fn new(mut header: Header, body: &[u8]) -> Self {
        header.length = body.len() as u32;
        let mut head = Vec::with_capacity(HEADER_BYTES + body.len());
        head.extend_from_slice(&header.encode());
        head.extend_from_slice(body);
        Self { head, pieces: Vec::new() }
    }

    /// The bytes in the order in which they are written.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        static ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        let rest = self.pieces.iter().flat_map(|piece| {
            let padding = padded(piece.len()) - piece.len();
            [piece.as_slice(), &ZEROS[..padding]]
        });
        std::iter::once(self.head.as_slice()).chain(rest).filter(|slice| !slice.is_empty())
    }
}

/// Makes the frame of an element.
///
/// # Errors
/// [`FrameError::TooLong`] if a batch does not fit into a frame.
pub fn encode(element: &StreamElement, channel: u32, attempt: u32, compress: bool) -> Result<Frame, FrameError> {
    let control = |kind, value| Frame::new(Header::control(kind, channel, attempt, value), &[]);
    Ok(match element {
        StreamElement::Batch(batch) => encode::batch(batch, channel, attempt, compress)?,
        StreamElement::Watermark(watermark) => control(FrameKind::Watermark, watermark.0),
        StreamElement::Barrier(barrier) => {
            let mut body = barrier.timestamp_ms.to_le_bytes().to_vec();
            body.extend_from_slice(barrier.savepoint.as_deref().unwrap_or_default().as_bytes());
            Frame::new(Header::control(FrameKind::Barrier, channel, attempt, barrier.checkpoint.0 as i64), &body)
        }
        StreamElement::Idle(idle) => control(FrameKind::Idle, i64::from(*idle)),
        StreamElement::EndOfData { drain } => control(FrameKind::EndOfData, i64::from(*drain)),
        StreamElement::EndOfPartition => control(FrameKind::EndOfPartition, 0),
    })
}

/// Reads a barrier.
///
/// # Errors
/// If the frame is damaged.
pub fn barrier(header: &Header, body: &Buffer) -> Result<Barrier, FrameError> {
    let damaged = FrameError::Damaged { what: "a barrier" };
    let Some((timestamp, url)) = body.as_slice().split_first_chunk::<8>() else { return Err(damaged) };
    let url = std::str::from_utf8(url).map_err(|_| damaged)?;
    Ok(Barrier {
        checkpoint: CheckpointId(header.value as u64),
        timestamp_ms: i64::from_le_bytes(*timestamp),
        savepoint: (!url.is_empty()).then(|| url.into()),
    })
}

/// Reads the elements of one channel.
#[derive(Clone, Debug)]
pub struct Decoder {
    schema: SchemaRef,
}

impl Decoder {
    /// For batches of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }

    /// Reads an element.
    ///
    /// # Errors
    /// If the frame is damaged or of another schema. No input panics.
    pub fn decode(&self, header: &Header, body: Buffer) -> Result<StreamElement, FrameError> {
        let flag = || match header.value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Damaged { what: "a flag is neither 0 nor 1" }),
        };
        if header.length as usize != body.len() {
            return Err(FrameError::Damaged { what: "the body has another length than the header says" });
        }
        Ok(match header.kind {
            FrameKind::Batch => StreamElement::Batch(decode::batch(header, body, &self.schema)?),
            FrameKind::Watermark => StreamElement::Watermark(Watermark(header.value)),
            FrameKind::Barrier => StreamElement::Barrier(barrier(header, &body)?),
            FrameKind::Idle => StreamElement::Idle(flag()?),
            FrameKind::EndOfData => StreamElement::EndOfData { drain: flag()? },
            FrameKind::EndOfPartition => StreamElement::EndOfPartition,
            FrameKind::Open | FrameKind::Abort | FrameKind::Credit | FrameKind::Closed => {
                return Err(FrameError::Damaged { what: "this kind of frame carries no element" });
            }
        })
    }
}
