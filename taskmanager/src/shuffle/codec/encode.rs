//! From a batch to a frame.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, Utf8Type};
use tidemill_common::batch::Batch;
use tidemill_common::limits::FRAME_BYTES_MAX;

use super::packed::{self, Layout};
use super::{Frame, HEADER_BYTES, fixed_width, padded};
use crate::shuffle::frame::{FrameError, FrameKind, Header};

/// Bodies below this size are not worth compressing.
const COMPRESS_FROM: usize = 1024;

/// Buffers in the order of the directory, and how their values lie.
#[derive(Default)]
struct Buffers(Vec<(Option<Buffer>, Layout)>);

/// The frame of a batch.
pub(super) fn batch(batch: &Batch, channel: u32, attempt: u32, compress: bool) -> Result<Frame, FrameError> {
    let mut buffers = Buffers::default();
    buffers.push(batch.kinds.as_ref().map(|kinds| Buffer::from_vec(kinds.iter().map(|kind| *kind as u8).collect())));
    for column in batch.records.columns() {
        buffers.array(column)?;
    }
    let directory = padded(buffers.0.len() * 4);
    let lengths = buffers.0.iter().map(|(buffer, layout)| (buffer.as_ref().map_or(0, Buffer::len), layout));
    let length = directory + lengths.clone().map(|(length, _)| padded(length)).sum::<usize>();
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: length as u64 });
    }
    let mut header = Header {
        kind: FrameKind::Batch,
        channel,
        attempt,
        length: length as u32,
        rows: batch.rows() as u32,
        plain_length: 0,
        value: i64::from(batch.kinds.is_some()),
    };
    let mut head = Vec::with_capacity(HEADER_BYTES + directory);
    head.extend_from_slice(&header.encode());
    lengths.for_each(|(length, layout)| head.extend_from_slice(&layout.entry(length).to_le_bytes()));
    head.resize(HEADER_BYTES + directory, 0);
    let pieces = buffers.0.into_iter().filter_map(|(buffer, _)| buffer).filter(|buffer| !buffer.is_empty());
    let frame = Frame { head, pieces: pieces.collect() };
    if !compress || length < COMPRESS_FROM {
        return Ok(frame);
    }
    let mut plain = Vec::with_capacity(HEADER_BYTES + length);
    frame.slices().for_each(|slice| plain.extend_from_slice(slice));
    let compressed = lz4_flex::block::compress(&plain[HEADER_BYTES..]);
    if compressed.len() >= length {
        return Ok(frame);
    }
    header.plain_length = length as u32;
    Ok(Frame::new(header, &compressed))
}

impl Buffers {
    /// A buffer as it lies in memory.
    fn push(&mut self, buffer: Option<Buffer>) {
        self.0.push((buffer, Layout::Plain));
    }

    fn array(&mut self, array: &ArrayRef) -> Result<(), FrameError> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.push(nulls.map(|nulls| nulls.inner().sliced()));
        match array.data_type() {
            DataType::Null => {}
            DataType::Boolean => self.push(Some(array.as_boolean().values().sliced())),
            DataType::Utf8 => self.bytes::<Utf8Type>(array),
            DataType::Binary => self.bytes::<BinaryType>(array),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let values = self.offsets(list.offsets(), list.values());
                self.array(&values)?;
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
                let entries = self.offsets(map.offsets(), &entries);
                self.array(&entries)?;
            }
            DataType::Struct(_) => {
                for column in array.as_struct().columns() {
                    self.array(column)?;
                }
            }
            other => {
                let Some(width) = fixed_width(other) else {
                    return Err(FrameError::Arrow { reason: format!("columns of type {other} cannot be sent") });
                };
                let data = array.to_data();
                self.0.push(match packed::pack(&data) {
                    Some((buffer, layout)) => (Some(buffer), layout),
                    None => {
                        let whole = &data.buffers()[0];
                        (Some(whole.slice_with_length(data.offset() * width, data.len() * width)), Layout::Plain)
                    }
                });
            }
        }
        Ok(())
    }

    /// Appends offsets that begin with 0; gives the values they point into.
    fn offsets(&mut self, offsets: &OffsetBuffer<i32>, values: &ArrayRef) -> ArrayRef {
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        self.push(Some(rebased(offsets)));
        values.slice(first, last - first)
    }

    fn bytes<T: ByteArrayType<Offset = i32>>(&mut self, array: &ArrayRef) {
        let array = array.as_bytes::<T>();
        let offsets = array.offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        self.push(Some(rebased(offsets)));
        self.push(Some(array.values().slice_with_length(first, last - first)));
    }
}

fn rebased(offsets: &OffsetBuffer<i32>) -> Buffer {
    let first = offsets[0];
    if first == 0 {
        offsets.inner().inner().clone()
    } else {
        Buffer::from_vec(offsets.iter().map(|offset| offset - first).collect::<Vec<i32>>())
    }
}
