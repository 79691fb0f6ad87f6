use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int64Array, ListArray,
    MapArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use proptest::prelude::*;
use tidemill_common::batch::{Batch, RowKind, StreamElement};

use super::*;

/// A cheap stream of random numbers for the values of a column.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        match self.next() % 3 {
            0 => None,
            1 => Some(NullBuffer::new_valid(rows)),
            _ => Some((0..rows).map(|_| self.next().is_multiple_of(3)).collect()),
        }
    }

    fn optional<T>(&mut self, rows: usize, mut value: impl FnMut(u64) -> T) -> Vec<Option<T>> {
        let all = self.next().is_multiple_of(2);
        (0..rows)
            .map(|_| {
                let number = self.next();
                (all || !number.is_multiple_of(4)).then(|| value(number))
            })
            .collect()
    }

    fn offsets(&mut self, rows: usize) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths((0..rows).map(|_| (self.next() % 4) as usize))
    }

    fn array(&mut self, kind: u8, rows: usize, depth: usize) -> ArrayRef {
        match kind % if depth == 0 { 8 } else { 11 } {
            0 => Arc::new(Int64Array::from(self.optional(rows, |n| n as i64 - 1_000))),
            1 => Arc::new(Int8Array::from(self.optional(rows, |n| n as i8))),
            2 => Arc::new(BooleanArray::from(self.optional(rows, |n| n.is_multiple_of(3)))),
            3 => Arc::new(StringArray::from(self.optional(rows, |n| "äö€x".repeat((n % 7) as usize)))),
            4 => Arc::new(Float64Array::from(self.optional(rows, |n| n as f64 / 7.0))),
            5 => Arc::new(TimestampMillisecondArray::from(self.optional(rows, |n| n as i64)).with_timezone("UTC")),
            6 => Arc::new(
                Decimal128Array::from(self.optional(rows, i128::from)).with_precision_and_scale(20, 2).unwrap(),
            ),
            7 => {
                let mut builder = BinaryBuilder::new();
                self.optional(rows, |n| n.to_le_bytes()[..(n % 8) as usize].to_vec())
                    .into_iter()
                    .for_each(|value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            8 => {
                let offsets = self.offsets(rows);
                let values = self.array(kind / 11, offsets[rows] as usize, depth - 1);
                let field = Arc::new(Field::new("item", values.data_type().clone(), true));
                Arc::new(ListArray::new(field, offsets, values, self.nulls(rows)))
            }
            9 => {
                let columns = [self.array(kind / 11, rows, depth - 1), self.array(kind / 7, rows, depth - 1)];
                let fields: Fields = columns
                    .iter()
                    .enumerate()
                    .map(|(at, column)| Field::new(format!("f{at}"), column.data_type().clone(), true))
                    .collect();
                Arc::new(StructArray::new(fields, columns.to_vec(), self.nulls(rows)))
            }
            _ => {
                let offsets = self.offsets(rows);
                let count = offsets[rows] as usize;
                let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|n| n as i64)));
                let values = self.array(kind / 11, count, depth - 1);
                let fields: Fields = vec![
                    Field::new("key", DataType::Int64, false),
                    Field::new("value", values.data_type().clone(), true),
                ]
                .into();
                let entries = StructArray::new(fields.clone(), vec![keys, values], None);
                let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
                Arc::new(MapArray::new(field, offsets, entries, self.nulls(rows), false))
            }
        }
    }
}

fn random_batch(seed: u64, kinds: &[u8], rows: usize, with_kinds: bool, slice: bool) -> Batch {
    let mut numbers = Numbers(seed);
    let whole = if slice { rows + 5 } else { rows };
    let columns: Vec<ArrayRef> = kinds.iter().map(|kind| numbers.array(*kind, whole, 2)).collect();
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(whole));
    let schema = Arc::new(Schema::new(fields));
    let records = RecordBatch::try_new_with_options(schema, columns, &options).unwrap();
    let records = if slice { records.slice(3, rows) } else { records };
    let all = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    Batch { records, kinds: with_kinds.then(|| (0..rows).map(|row| all[row % 4]).collect()) }
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.slices().flatten().copied().collect()
}

fn read(bytes: &[u8], decoder: &Decoder) -> Result<StreamElement, FrameError> {
    let Some((head, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Damaged { what: "short" });
    };
    decoder.decode(&Header::decode(head)?, Buffer::from(body))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn batches_arrive_as_they_were_sent(
        seed: u64, kinds in prop::collection::vec(0u8..=254, 0..5), rows in 0usize..70,
        with_kinds: bool, slice: bool, compress: bool,
    ) {
        let batch = random_batch(seed, &kinds, rows, with_kinds, slice);
        let frame = encode(&StreamElement::Batch(batch.clone()), 3, 7, compress).unwrap();
        let bytes = bytes_of(&frame);

        let decoder = Decoder::new(batch.records.schema());
        match read(&bytes, &decoder) {
            Ok(StreamElement::Batch(read)) => {
                prop_assert_eq!(read.records, batch.records);
                prop_assert_eq!(read.kinds.unwrap_or_default(), batch.kinds.unwrap_or_default());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn damaged_frames_are_refused_or_read_but_never_panic(
        seed: u64, kinds in prop::collection::vec(0u8..=254, 1..4), rows in 0usize..40, compress: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: Option<prop::sample::Index>,
    ) {
        let batch = random_batch(seed, &kinds, rows, false, false);
        let mut bytes = bytes_of(&encode(&StreamElement::Batch(batch.clone()), 0, 0, compress).unwrap());
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(StreamElement::Batch(read)) = read(&bytes, &Decoder::new(batch.records.schema())) {
            // What is accepted can be looked at.
            let _ = format!("{:?}", read.records);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let schema = random_batch(1, &[0, 2, 3, 8, 9, 10], 3, false, false).records.schema();
        let _ = read(&bytes, &Decoder::new(schema.clone()));
        let mut framed = Header { kind: FrameKind::Batch, channel: 0, attempt: 0, length: bytes.len() as u32, rows: 3, plain_length: 0, value: 0 }.encode().to_vec();
        framed.extend(&bytes);
        let _ = read(&framed, &Decoder::new(schema));
    }
}

#[test]
fn the_other_elements_arrive_as_they_were_sent() {
    let decoder = Decoder::new(Arc::new(Schema::empty()));
    let barrier =
        Barrier { checkpoint: CheckpointId(u64::MAX), timestamp_ms: -5, savepoint: Some("file:///s/p 1".into()) };
    let elements = [
        StreamElement::Watermark(Watermark::MAX),
        StreamElement::Barrier(barrier),
        StreamElement::Idle(true),
        StreamElement::EndOfData { drain: false },
        StreamElement::EndOfPartition,
    ];
    for element in elements {
        let read = read(&bytes_of(&encode(&element, 1, 2, false).unwrap()), &decoder).unwrap();
        assert_eq!(format!("{read:?}"), format!("{element:?}"));
    }
}

#[test]
fn lengths_above_the_limit_are_refused_before_anything_is_allocated() {
    let mut header = Header::control(FrameKind::Batch, 0, 0, 0);
    header.length = u32::MAX;
    assert!(matches!(Header::decode(&header.encode()), Err(FrameError::TooLong { .. })));
}
