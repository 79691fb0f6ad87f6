//! From a frame to a batch. Every length and offset is checked before it is used.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BooleanArray, GenericByteArray, ListArray, MapArray, NullArray, RecordBatch,
    RecordBatchOptions, StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, SchemaRef, Utf8Type};
use tidemill_common::batch::{Batch, RowKind};

use super::packed::{self, Layout};
use super::{ALIGNMENT, fixed_width, padded};
use crate::shuffle::frame::{FrameError, Header};

const fn damaged(what: &'static str) -> FrameError {
    FrameError::Damaged { what }
}

fn arrow(error: arrow::error::ArrowError) -> FrameError {
    FrameError::Arrow { reason: error.to_string() }
}

/// Reads a batch of this schema.
pub(super) fn batch(header: &Header, body: Buffer, schema: &SchemaRef) -> Result<Batch, FrameError> {
    let body = plain(header, body)?;
    let rows = header.rows as usize;
    let entries = 1 + schema.fields().iter().map(|field| entries(field.data_type())).sum::<usize>();
    let mut reader = Reader { directory: 0, next: padded(entries * 4), body };
    if reader.body.len() < reader.next {
        return Err(damaged("the directory is cut off"));
    }
    let kinds = reader.buffer()?;
    let kinds = match (kinds.len(), header.value) {
        (0, _) if rows > 0 || header.value == 0 => None,
        (length, 1) if length == rows => {
            let kinds: Result<Vec<RowKind>, FrameError> = kinds.as_slice().iter().map(|byte| kind(*byte)).collect();
            Some(Arc::from(kinds?))
        }
        _ => return Err(damaged("the row kinds are not one a row")),
    };
    let columns: Result<Vec<ArrayRef>, FrameError> =
        schema.fields().iter().map(|field| reader.array(field.data_type(), rows)).collect();
    if reader.next != reader.body.len() {
        return Err(damaged("bytes are left over"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let records = RecordBatch::try_new_with_options(schema.clone(), columns?, &options).map_err(arrow)?;
    Ok(Batch { records, kinds })
}

fn kind(byte: u8) -> Result<RowKind, FrameError> {
    match byte {
        0 => Ok(RowKind::Insert),
        1 => Ok(RowKind::UpdateBefore),
        2 => Ok(RowKind::UpdateAfter),
        3 => Ok(RowKind::Delete),
        _ => Err(damaged("a row kind is none of the four")),
    }
}

/// The body as it was before compression, aligned.
fn plain(header: &Header, body: Buffer) -> Result<Buffer, FrameError> {
    if header.plain_length == 0 {
        if body.as_ptr().align_offset(ALIGNMENT) == 0 {
            return Ok(body);
        }
        let mut aligned = MutableBuffer::with_capacity(body.len());
        aligned.extend_from_slice(body.as_slice());
        return Ok(aligned.into());
    }
    let mut plain = MutableBuffer::from_len_zeroed(header.plain_length as usize);
    match lz4_flex::block::decompress_into(body.as_slice(), plain.as_slice_mut()) {
        Ok(length) if length == plain.len() => Ok(plain.into()),
        Ok(_) => Err(damaged("it is shorter than the header says once decompressed")),
        Err(_) => Err(damaged("it cannot be decompressed")),
    }
}

/// Directory entries of a column.
fn entries(data_type: &DataType) -> usize {
    1 + match data_type {
        DataType::Null => 0,
        DataType::Utf8 | DataType::Binary => 2,
        DataType::List(field) | DataType::Map(field, _) => 1 + entries(field.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| entries(field.data_type())).sum(),
        _ => 1,
    }
}

struct Reader {
    body: Buffer,
    /// Position of the next directory entry, and of the next buffer.
    directory: usize,
    next: usize,
}

impl Reader {
    /// A buffer whose values lie in it as in memory.
    fn buffer(&mut self) -> Result<Buffer, FrameError> {
        match self.any_buffer()? {
            (buffer, Layout::Plain) => Ok(buffer),
            (_, Layout::Packed(_)) => Err(damaged("what is never packed is packed")),
        }
    }

    fn any_buffer(&mut self) -> Result<(Buffer, Layout), FrameError> {
        let entry = self.body.get(self.directory..self.directory + 4).ok_or(damaged("the directory is cut off"))?;
        let (layout, length) = Layout::of_entry(u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]))
            .ok_or(damaged("a buffer has a layout that is not known"))?;
        self.directory += 4;
        let end = self.next + padded(length);
        if end > self.body.len() {
            return Err(damaged("a buffer is cut off"));
        }
        let buffer = self.body.slice_with_length(self.next, length);
        self.next = end;
        Ok((buffer, layout))
    }

    /// The values of a fixed-width column.
    fn values(&mut self, data_type: &DataType, width: usize, rows: usize) -> Result<Buffer, FrameError> {
        const WHAT: &str = "a column has another length than the rows";
        match self.any_buffer()? {
            (buffer, Layout::Plain) if Some(buffer.len()) == rows.checked_mul(width) => Ok(buffer),
            (_, Layout::Plain) => Err(damaged(WHAT)),
            (buffer, Layout::Packed(width)) => packed::unpack(buffer, width, data_type, rows).ok_or(damaged(WHAT)),
        }
    }

    /// A buffer that must have this length.
    fn exactly(&mut self, length: Option<usize>, what: &'static str) -> Result<Buffer, FrameError> {
        let buffer = self.buffer()?;
        if Some(buffer.len()) == length { Ok(buffer) } else { Err(damaged(what)) }
    }

    fn bits(&mut self, rows: usize, what: &'static str) -> Result<BooleanBuffer, FrameError> {
        Ok(BooleanBuffer::new(self.exactly(Some(rows.div_ceil(8)), what)?, 0, rows))
    }

    fn nulls(&mut self, rows: usize) -> Result<Option<NullBuffer>, FrameError> {
        let buffer = self.buffer()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        if buffer.len() != rows.div_ceil(8) {
            return Err(damaged("a validity bitmap has another length than the rows need"));
        }
        Ok(Some(NullBuffer::new(BooleanBuffer::new(buffer, 0, rows))))
    }

    fn offsets(&mut self, rows: usize) -> Result<OffsetBuffer<i32>, FrameError> {
        const WHAT: &str = "offsets are not one more than the rows";
        let buffer = self.exactly(rows.checked_add(1).and_then(|count| count.checked_mul(4)), WHAT)?;
        let offsets = ScalarBuffer::<i32>::from(buffer);
        let rising = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if offsets[0] != 0 || !rising {
            return Err(damaged("offsets fall"));
        }
        Ok(OffsetBuffer::new(offsets))
    }

    fn array(&mut self, data_type: &DataType, rows: usize) -> Result<ArrayRef, FrameError> {
        let nulls = self.nulls(rows)?;
        let last = |offsets: &OffsetBuffer<i32>| offsets[offsets.len() - 1] as usize;
        Ok(match data_type {
            DataType::Null => Arc::new(NullArray::new(rows)),
            DataType::Boolean => Arc::new(BooleanArray::new(self.bits(rows, "a BOOLEAN column")?, nulls)),
            DataType::Utf8 => self.bytes::<Utf8Type>(rows, nulls)?,
            DataType::Binary => self.bytes::<BinaryType>(rows, nulls)?,
            DataType::List(field) => {
                let offsets = self.offsets(rows)?;
                let values = self.array(field.data_type(), last(&offsets))?;
                Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls).map_err(arrow)?)
            }
            DataType::Map(field, sorted) => {
                let offsets = self.offsets(rows)?;
                let entries = self.array(field.data_type(), last(&offsets))?;
                let entries = entries.as_any().downcast_ref::<StructArray>().ok_or(damaged("a map"))?.clone();
                Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted).map_err(arrow)?)
            }
            DataType::Struct(fields) => {
                let columns: Result<Vec<ArrayRef>, FrameError> =
                    fields.iter().map(|field| self.array(field.data_type(), rows)).collect();
                let built = StructArray::try_new_with_length(fields.clone(), columns?, nulls, rows);
                Arc::new(built.map_err(arrow)?)
            }
            other => {
                let width = fixed_width(other).ok_or_else(|| FrameError::Arrow {
                    reason: format!("columns of type {other} cannot be received"),
                })?;
                let values = self.values(other, width, rows)?;
                let data = ArrayData::builder(other.clone()).len(rows).nulls(nulls).add_buffer(values);
                make_array(data.build().map_err(arrow)?)
            }
        })
    }

    fn bytes<T: ByteArrayType<Offset = i32>>(
        &mut self,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, FrameError> {
        let offsets = self.offsets(rows)?;
        let bytes = self.exactly(Some(offsets[rows] as usize), "strings have another length than their offsets")?;
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, bytes, nulls).map_err(arrow)?))
    }
}
