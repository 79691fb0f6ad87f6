//! Copies selected rows of several batches into one new batch: one exact allocation a buffer, one
//! copy a value, and of strings only the bytes of the selected rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, GenericByteArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{
    ArrowPrimitiveType, BinaryType, ByteArrayType, DataType, Date32Type, Decimal128Type, DurationMillisecondType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    Utf8Type,
};
use arrow::error::ArrowError;
use tidemill_common::batch::{Batch, RowKind};

/// Rows of batches, in order, that will make one batch.
#[derive(Default)]
pub struct Selection {
    /// Batches, and where their rows end in `rows`.
    parts: Vec<(Batch, usize)>,
    rows: Vec<u32>,
}

impl Selection {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is selected.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Appends a row of the batch that [`Selection::close_part`] will name.
    #[inline(always)]
    pub fn push(&mut self, row: u32) {
        self.rows.push(row);
    }

    /// Appends all rows of a batch.
    pub fn push_all(&mut self, batch: &Batch) {
        self.rows.extend(0..batch.rows() as u32);
        self.close_part(batch);
    }

    /// The rows pushed since the last call are of this batch. Gives their number.
    pub fn close_part(&mut self, batch: &Batch) -> usize {
        let start = self.parts.last().map_or(0, |part| part.1);
        if self.rows.len() > start {
            self.parts.push((batch.clone(), self.rows.len()));
        }
        self.rows.len() - start
    }

    /// The rows of each batch.
    fn parts(&self) -> impl Iterator<Item = (&Batch, &[u32])> {
        let mut start = 0;
        self.parts.iter().map(move |(batch, end)| {
            let rows = &self.rows[start..*end];
            start = *end;
            (batch, rows)
        })
    }

    /// Makes the batch, and begins anew. `None` if nothing is selected.
    pub fn take(&mut self) -> Result<Option<Batch>, ArrowError> {
        let Some((first, _)) = self.parts.first() else { return Ok(None) };
        let schema = first.records.schema();
        let columns =
            (0..schema.fields().len()).map(|column| self.gather(column)).collect::<Result<Vec<ArrayRef>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let records = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let kinds = self.parts.iter().any(|(batch, _)| batch.kinds.is_some()).then(|| {
            let kinds = self.parts().flat_map(|(batch, rows)| rows.iter().map(|row| batch.kind(*row as usize)));
            kinds.collect::<Arc<[RowKind]>>()
        });
        self.parts.clear();
        self.rows.clear();
        Ok(Some(Batch { records, kinds }))
    }

    fn columns(&self, column: usize) -> impl Iterator<Item = (&ArrayRef, &[u32])> {
        self.parts().map(move |(batch, rows)| (batch.records.column(column), rows))
    }

    fn gather(&self, column: usize) -> Result<ArrayRef, ArrowError> {
        let data_type = self.parts[0].0.records.column(column).data_type();
        macro_rules! primitive {
            ($type:ty) => {
                Ok(self.primitive::<$type>(column))
            };
        }
        match data_type {
            DataType::Int8 => primitive!(Int8Type),
            DataType::Int16 => primitive!(Int16Type),
            DataType::Int32 => primitive!(Int32Type),
            DataType::Int64 => primitive!(Int64Type),
            DataType::Float32 => primitive!(Float32Type),
            DataType::Float64 => primitive!(Float64Type),
            DataType::Date32 => primitive!(Date32Type),
            DataType::Time32(TimeUnit::Millisecond) => primitive!(Time32MillisecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
            DataType::Duration(TimeUnit::Millisecond) => primitive!(DurationMillisecondType),
            DataType::Interval(IntervalUnit::YearMonth) => primitive!(IntervalYearMonthType),
            DataType::Decimal128(..) => primitive!(Decimal128Type),
            DataType::Boolean => Ok(self.boolean(column)),
            DataType::Utf8 => self.bytes::<Utf8Type>(column),
            DataType::Binary => self.bytes::<BinaryType>(column),
            _ => self.other(column),
        }
    }

    fn nulls(&self, column: usize) -> Option<NullBuffer> {
        if self.columns(column).all(|(array, _)| array.null_count() == 0) {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(self.rows.len());
        for (array, rows) in self.columns(column) {
            match array.nulls() {
                Some(nulls) => rows.iter().for_each(|row| valid.append(nulls.is_valid(*row as usize))),
                None => valid.append_n(rows.len(), true),
            }
        }
        Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
    }

    fn primitive<T: ArrowPrimitiveType>(&self, column: usize) -> ArrayRef {
        let mut values: Vec<T::Native> = Vec::with_capacity(self.rows.len());
        for (array, rows) in self.columns(column) {
            let from = &array.as_primitive::<T>().values()[..];
            values.extend(rows.iter().map(|row| from[*row as usize]));
        }
        let data_type = self.parts[0].0.records.column(column).data_type().clone();
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), self.nulls(column)).with_data_type(data_type))
    }

    fn boolean(&self, column: usize) -> ArrayRef {
        let mut values = BooleanBufferBuilder::new(self.rows.len());
        for (array, rows) in self.columns(column) {
            let from = array.as_boolean().values();
            rows.iter().for_each(|row| values.append(from.value(*row as usize)));
        }
        Arc::new(BooleanArray::new(values.finish(), self.nulls(column)))
    }

    fn bytes<T: ByteArrayType<Offset = i32>>(&self, column: usize) -> Result<ArrayRef, ArrowError> {
        let mut offsets: Vec<i32> = Vec::with_capacity(self.rows.len() + 1);
        let mut length = 0usize;
        offsets.push(0);
        for (array, rows) in self.columns(column) {
            let from = array.as_bytes::<T>().value_offsets();
            for row in rows {
                length += (from[*row as usize + 1] - from[*row as usize]) as usize;
                offsets.push(length as i32);
            }
        }
        if i32::try_from(length).is_err() {
            return Err(ArrowError::OffsetOverflowError(length));
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(length);
        for (array, rows) in self.columns(column) {
            let array = array.as_bytes::<T>();
            let (from, data) = (array.value_offsets(), array.value_data());
            for row in rows {
                bytes.extend_from_slice(&data[from[*row as usize] as usize..from[*row as usize + 1] as usize]);
            }
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        // The check that strings are UTF-8 costs little against the copy, and keeps this safe.
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(bytes), self.nulls(column))?))
    }

    fn other(&self, column: usize) -> Result<ArrayRef, ArrowError> {
        let arrays: Vec<&dyn Array> = self.columns(column).map(|(array, _)| array.as_ref()).collect();
        let indices: Vec<(usize, usize)> = self
            .columns(column)
            .enumerate()
            .flat_map(|(part, (_, rows))| rows.iter().map(move |row| (part, *row as usize)))
            .collect();
        interleave(&arrays, &indices)
    }
}
