//! What goes over a connection between task managers: a fixed header, then a body.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..2 | magic | `TM` |
//! | 2 | version | 3 |
//! | 3 | kind | [`FrameKind`] |
//! | 4..8 | channel | chosen by the sender with [`FrameKind::Open`] |
//! | 8..12 | attempt | of the job: what is stale is refused |
//! | 12..16 | length | bytes of the body as sent |
//! | 16..20 | rows | of a batch |
//! | 20..24 | plain length | bytes of the body before compression; 0 if it is not compressed |
//! | 24..32 | value | watermark, credits, flags: by kind |
//!
//! All numbers are little-endian. A length above [`FRAME_BYTES_MAX`] is refused before anything is
//! allocated.

use tidemill_common::batch::StreamElement;
use tidemill_common::limits::FRAME_BYTES_MAX;

use super::fare::Passenger;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 2] = *b"TM";
const VERSION: u8 = 3;

/// What a frame is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Sender to receiver: the channel of the body's [`super::network::ChannelKey`].
    Open = 0,
    /// A batch; bit 0 of the value: row kinds come first in the body.
    Batch = 1,
    /// The value is the watermark.
    Watermark = 2,
    /// The value is the checkpoint; the body has the timestamp and the URL of a savepoint.
    Barrier = 3,
    /// The value is 1 for idle, 0 for active.
    Idle = 4,
    /// The value is 1 for drain.
    EndOfData = 5,
    EndOfPartition = 6,
    /// The sender has ended without an end of its data.
    Abort = 7,
    /// Receiver to sender: the value is the number of elements that may be sent more.
    Credit = 8,
    /// Receiver to sender: the receiver has ended, or belongs to another attempt.
    Closed = 9,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        use FrameKind::{Abort, Barrier, Batch, Closed, Credit, EndOfData, EndOfPartition, Idle, Open, Watermark};
        [Open, Batch, Watermark, Barrier, Idle, EndOfData, EndOfPartition, Abort, Credit, Closed]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// The kind of the frame that an element goes in.
    pub fn of(element: &StreamElement) -> Self {
        match element {
            StreamElement::Batch(_) => Self::Batch,
            StreamElement::Watermark(_) => Self::Watermark,
            StreamElement::Barrier(_) => Self::Barrier,
            StreamElement::Idle(_) => Self::Idle,
            StreamElement::EndOfData { .. } => Self::EndOfData,
            StreamElement::EndOfPartition => Self::EndOfPartition,
        }
    }

    /// By which it takes a place in a channel in which barriers may overtake, or not.
    pub fn passenger(self, overtaking: bool) -> Passenger {
        match self {
            Self::Watermark => Passenger::Watermark,
            Self::Barrier if overtaking => Passenger::OvertakingBarrier,
            _ => Passenger::Other,
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: FrameKind,
    pub channel: u32,
    pub attempt: u32,
    pub length: u32,
    pub rows: u32,
    pub plain_length: u32,
    pub value: i64,
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("this is no shuffle of this version: the header begins with {bytes:?}")]
    Foreign { bytes: [u8; 4] },
    #[error("a frame of {bytes} bytes is longer than the limit of {FRAME_BYTES_MAX} bytes")]
    TooLong { bytes: u64 },
    #[error("a frame is damaged: {what}")]
    Damaged { what: &'static str },
    #[error("a frame is damaged: {reason}")]
    Arrow { reason: String },
}

impl Header {
    /// A frame without a body.
    pub fn control(kind: FrameKind, channel: u32, attempt: u32, value: i64) -> Self {
        Self { kind, channel, attempt, length: 0, rows: 0, plain_length: 0, value }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.channel.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.rows.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.plain_length.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If it is of something else, or says lengths above the limit.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let foreign = FrameError::Foreign { bytes: [bytes[0], bytes[1], bytes[2], bytes[3]] };
        if bytes[0..2] != MAGIC || bytes[2] != VERSION {
            return Err(foreign);
        }
        let mut value = [0; 8];
        value.copy_from_slice(&bytes[24..32]);
        let header = Self {
            kind: FrameKind::from_byte(bytes[3]).ok_or(foreign)?,
            channel: number(4),
            attempt: number(8),
            length: number(12),
            rows: number(16),
            plain_length: number(20),
            value: i64::from_le_bytes(value),
        };
        let longest = header.length.max(header.plain_length) as usize;
        if longest > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes: longest as u64 });
        }
        Ok(header)
    }
}
