//! What tests of file formats share: a file in memory, rows drawn at random, and reading it all back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType as ArrowType;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{DataType, Field, LogicalType, Schema};

use crate::api::{ConnectorError, FileFormat, FileInput, FilePart};
use crate::testing::{subtask_context, table_of};

/// A file in memory.
pub(crate) struct Memory(pub Bytes);

impl FileInput for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes, ConnectorError> {
        let start = start as usize;
        let end = start.checked_add(length).filter(|end| *end <= self.0.len());
        end.map(|end| self.0.slice(start..end)).ok_or_else(|| ConnectorError::External {
            table: "t".to_owned(),
            reason: "the file is too short".to_owned(),
            action: String::new(),
        })
    }
}

/// A table with a column of every type that both formats have.
pub(crate) fn every_type() -> TableSpec {
    use LogicalType as L;

    let row = L::Row(vec![Field::new("x", L::Int.nullable()), Field::new("y", L::STRING.nullable())]);
    let types = [
        L::Boolean,
        L::TinyInt,
        L::SmallInt,
        L::Int,
        L::BigInt,
        L::Float,
        L::Double,
        L::Decimal(4, 1),
        L::Decimal(18, 6),
        L::Decimal(38, 10),
        L::STRING,
        L::BYTES,
        L::Date,
        L::Time(3),
        L::Timestamp(3),
        L::Timestamp(6),
        L::TimestampLtz(3),
        L::Array(Box::new(L::Int.nullable())),
        L::Map(Box::new(L::STRING.not_null()), Box::new(L::BigInt.nullable())),
        row.clone(),
        L::Array(Box::new(row.nullable())),
    ];
    let fields = types.into_iter().enumerate().map(|(at, logical)| Field::new(format!("c{at}"), logical.nullable()));
    let options = [("avro.timestamp_mapping.legacy".to_owned(), "false".to_owned())];
    TableSpec { options: options.into(), ..table_of(Schema::new(fields.collect())) }
}

/// Rows of a table, a quarter of all values NULL.
pub(crate) fn random_rows(table: &TableSpec, rows: usize, seed: u64) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(seed);
    let columns = table.schema.fields.iter().map(|field| column(&field.data_type, rows, &mut random)).collect();
    RecordBatch::try_new(table.schema.to_arrow(), columns).unwrap()
}

fn column(data_type: &DataType, rows: usize, random: &mut StdRng) -> ArrayRef {
    let valid: Vec<bool> = (0..rows).map(|_| !data_type.nullable || random.random_ratio(3, 4)).collect();
    let pick = |random: &mut StdRng, most: i128| -> i128 {
        match random.random_range(0..6) {
            0 => most,
            1 => -most,
            2 => 0,
            _ => random.random_range(-most..=most),
        }
    };
    macro_rules! primitive {
        ($array:ty, $native:ty, $most:expr) => {
            Arc::new(<$array>::from_iter(
                valid.iter().map(|valid| valid.then(|| pick(random, $most as i128) as $native)),
            )) as ArrayRef
        };
    }
    match &data_type.logical {
        LogicalType::Boolean => {
            Arc::new(valid.iter().map(|valid| valid.then(|| random.random())).collect::<BooleanArray>())
        }
        LogicalType::TinyInt => primitive!(Int8Array, i8, i8::MAX),
        LogicalType::SmallInt => primitive!(Int16Array, i16, i16::MAX),
        LogicalType::Int => primitive!(Int32Array, i32, i32::MAX),
        LogicalType::BigInt => primitive!(Int64Array, i64, i64::MAX),
        LogicalType::Float => primitive!(Float32Array, f32, 1i64 << 40),
        LogicalType::Double => primitive!(Float64Array, f64, 1i128 << 90),
        LogicalType::Decimal(precision, scale) => {
            let most = 10i128.pow(u32::from(*precision)) - 1;
            let values = valid.iter().map(|valid| valid.then(|| pick(random, most)));
            let array = Decimal128Array::from_iter(values);
            Arc::new(array.with_precision_and_scale(*precision, *scale as i8).unwrap())
        }
        LogicalType::Varchar(_) => Arc::new(
            valid.iter().map(|valid| valid.then(|| "añ☂𝒳".repeat(random.random_range(0..9)))).collect::<StringArray>(),
        ),
        LogicalType::Varbinary(_) => {
            let bytes =
                |random: &mut StdRng| (0..random.random_range(0..40)).map(|_| random.random()).collect::<Vec<u8>>();
            Arc::new(valid.iter().map(|valid| valid.then(|| bytes(random))).collect::<BinaryArray>().slice(0, rows))
        }
        LogicalType::Date => primitive!(Date32Array, i32, 2_000_000),
        LogicalType::Time(_) => primitive!(Time32MillisecondArray, i32, 0),
        LogicalType::Timestamp(3) => primitive!(TimestampMillisecondArray, i64, 250_000_000_000_000i64),
        LogicalType::Timestamp(_) => primitive!(TimestampMicrosecondArray, i64, 250_000_000_000_000_000i64),
        LogicalType::TimestampLtz(_) => {
            let values = valid.iter().map(|valid| valid.then(|| pick(random, 250_000_000_000_000) as i64));
            Arc::new(values.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        }
        LogicalType::Array(item) => {
            let lengths: Vec<usize> =
                valid.iter().map(|valid| if *valid { random.random_range(0..4) } else { 0 }).collect();
            let items = column(item, lengths.iter().sum(), random);
            let ArrowType::List(field) = data_type.logical.to_arrow() else { panic!("a list") };
            Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, Some(NullBuffer::from(valid))))
        }
        LogicalType::Map(key, value) => {
            let lengths: Vec<usize> =
                valid.iter().map(|valid| if *valid { random.random_range(0..4) } else { 0 }).collect();
            let entries = lengths.iter().sum();
            let (keys, values) = (column(key, entries, random), column(value, entries, random));
            let ArrowType::Map(field, sorted) = data_type.logical.to_arrow() else { panic!("a map") };
            let ArrowType::Struct(fields) = field.data_type().clone() else { panic!("entries") };
            let entries = StructArray::new(fields, vec![keys, values], None);
            let nulls = Some(NullBuffer::from(valid));
            Arc::new(MapArray::new(field, OffsetBuffer::from_lengths(lengths), entries, nulls, sorted))
        }
        LogicalType::Row(fields) => {
            let columns = fields.iter().map(|field| {
                let array = column(&field.data_type, rows, random);
                // Below a NULL there is nothing.
                let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::from(valid.clone())));
                arrow::array::make_array(array.to_data().into_builder().nulls(nulls).build().unwrap())
            });
            let columns = columns.collect();
            let ArrowType::Struct(types) = data_type.logical.to_arrow() else { panic!("a row") };
            Arc::new(StructArray::new(types, columns, Some(NullBuffer::from(valid))))
        }
        other => panic!("no random {other}"),
    }
}

/// A file with these batches.
pub(crate) fn written(format: &dyn FileFormat, table: &TableSpec, batches: &[RecordBatch]) -> Bytes {
    let mut encoder = format.create_file_encoder(table, &subtask_context(0, 1)).unwrap();
    let mut bytes = Vec::new();
    for batch in batches {
        encoder.encode(batch, &mut bytes).unwrap();
    }
    encoder.finish(&mut bytes).unwrap();
    bytes.into()
}

/// The rows of a part of a file.
pub(crate) fn read_part(
    format: &dyn FileFormat,
    table: &TableSpec,
    projection: &[usize],
    file: &Bytes,
    (range, rows_read): (std::ops::Range<u64>, u64),
) -> Result<Vec<RecordBatch>, ConnectorError> {
    let file = Arc::new(Memory(file.clone()));
    let part = FilePart { table, projection, file, range, rows_read };
    let mut decoder = format.open(part, &subtask_context(0, 1))?;
    let mut batches = Vec::new();
    while let Some(batch) = decoder.next()? {
        batches.push(batch);
    }
    Ok(batches)
}

/// All rows of a file.
pub(crate) fn read_all(
    format: &dyn FileFormat,
    table: &TableSpec,
    file: &Bytes,
) -> Result<RecordBatch, ConnectorError> {
    let projection: Vec<usize> = (0..table.schema.len()).collect();
    let batches = read_part(format, table, &projection, file, (0..u64::MAX, 0))?;
    Ok(concat_batches(&table.schema.to_arrow(), &batches).unwrap())
}

/// Nothing that is done to a file makes its decoder panic, or read more rows than can be.
pub(crate) fn survives_damage(format: &dyn FileFormat, rounds: u64) {
    let table = every_type();
    let whole = written(format, &table, &[random_rows(&table, 40, 1)]);
    let mut random = StdRng::seed_from_u64(11);
    let (mut refused, mut read) = (0, 0);
    for _ in 0..rounds {
        let mut bytes = whole.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random(),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.random()),
            }
        }
        match read_all(format, &table, &bytes.into()) {
            Ok(rows) => {
                assert!(rows.num_rows() < 100_000);
                read += 1;
            }
            Err(error) => {
                assert!(matches!(error, ConnectorError::External { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && read > 0, "{refused} refused, {read} read");
}
