//! Columns that decoders fill: one builder a column that can also take back its last value, for
//! records that turn out malformed half-way and for names that come twice.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, Time32MillisecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowTimestampType, DataType as ArrowType, Field as ArrowField, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use tidemill_common::types::{DataType, LogicalType, timestamp_unit};
use tidemill_expr::parse::TimestampReader;

use super::json::TimestampFormat;
use crate::api::ConnectorError;

/// The values of all columns as a batch; the columns are empty again.
///
/// # Errors
/// If there is a NULL where the table's type has NOT NULL.
pub(crate) fn take_batch(
    columns: &mut [Column],
    schema: &SchemaRef,
    rows: usize,
    table: &str,
    format: &'static str,
) -> Result<RecordBatch, ConnectorError> {
    let mut arrays = Vec::with_capacity(columns.len());
    for (column, field) in columns.iter_mut().zip(schema.fields()) {
        let array = column.take().map_err(|_| not_null(table, field.name()))?;
        if !field.is_nullable() && array.null_count() > 0 {
            return Err(not_null(table, field.name()));
        }
        arrays.push(array);
    }
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
        .map_err(|error| ConnectorError::Internal { connector: format, reason: error.to_string() })
}

/// The refusal of a NULL in a column, or inside a column, that has none by its type.
pub(crate) fn not_null(table: &str, column: &str) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("column '{column}' has a NULL where its type is NOT NULL"),
        action: "leave NOT NULL out of the table's definition, or correct the data".to_owned(),
    }
}

/// Largest room that a column keeps ready for the next batch, in values or bytes.
const KEPT_ROOM_MAX: usize = 1 << 20;

/// Validity of a column's values; nothing is stored until the first NULL.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    length: usize,
    /// One flag a value up to `length`, once there was a NULL.
    flags: Option<Vec<bool>>,
}

impl Validity {
    #[inline(always)]
    pub fn push(&mut self, valid: bool) {
        match &mut self.flags {
            None if valid => {}
            None => {
                let mut flags = vec![true; self.length];
                flags.push(false);
                self.flags = Some(flags);
            }
            Some(flags) => flags.push(valid),
        }
        self.length += 1;
    }

    pub fn len(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        if let Some(flags) = &mut self.flags {
            flags.truncate(length);
        }
    }

    fn take(&mut self) -> Option<NullBuffer> {
        self.length = 0;
        self.flags.take().map(|flags| NullBuffer::new(BooleanBuffer::from(flags)))
    }
}

/// A column being filled.
#[derive(Debug)]
pub(crate) struct Column {
    pub data: Data,
    pub validity: Validity,
    pub logical: LogicalType,
}

/// The values of a column; NULLs have a value too.
#[derive(Debug)]
pub(crate) enum Data {
    Null,
    Boolean(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Date(Vec<i32>),
    Time(Vec<i32>),
    Timestamp {
        values: Vec<i64>,
        reader: TimestampReader,
    },
    F32(Vec<f32>),
    F64(Vec<f64>),
    Decimal(Vec<i128>),
    /// Strings, which are UTF-8, and where each ends.
    Text {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    List {
        item: Box<Column>,
        ends: Vec<i32>,
    },
    Map {
        key: Box<Column>,
        value: Box<Column>,
        ends: Vec<i32>,
    },
    Row {
        names: Vec<String>,
        fields: Vec<Column>,
    },
}

impl Column {
    /// An empty column; `timestamps` is the form of texts that its reader takes.
    pub fn new(data_type: &DataType, timestamps: TimestampFormat) -> Self {
        let new = |data_type: &DataType| Self::new(data_type, timestamps);
        let iso = timestamps == TimestampFormat::Iso8601;
        let data = match &data_type.logical {
            LogicalType::Null => Data::Null,
            LogicalType::Boolean => Data::Boolean(Vec::new()),
            LogicalType::TinyInt => Data::I8(Vec::new()),
            LogicalType::SmallInt => Data::I16(Vec::new()),
            LogicalType::Int | LogicalType::IntervalYearMonth => Data::I32(Vec::new()),
            LogicalType::Date => Data::Date(Vec::new()),
            LogicalType::Time(_) => Data::Time(Vec::new()),
            LogicalType::BigInt | LogicalType::IntervalDaySecond => Data::I64(Vec::new()),
            LogicalType::Timestamp(precision) => {
                Data::Timestamp { values: Vec::new(), reader: TimestampReader::new(*precision, iso, false) }
            }
            LogicalType::TimestampLtz(precision) => {
                Data::Timestamp { values: Vec::new(), reader: TimestampReader::new(*precision, iso, true) }
            }
            LogicalType::Float => Data::F32(Vec::new()),
            LogicalType::Double => Data::F64(Vec::new()),
            LogicalType::Decimal(..) => Data::Decimal(Vec::new()),
            LogicalType::Char(_) | LogicalType::Varchar(_) => Data::Text { bytes: Vec::new(), ends: Vec::new() },
            LogicalType::Binary(_) | LogicalType::Varbinary(_) => Data::Bytes { bytes: Vec::new(), ends: Vec::new() },
            LogicalType::Array(item) => Data::List { item: Box::new(new(item)), ends: Vec::new() },
            LogicalType::Map(key, value) => {
                Data::Map { key: Box::new(new(key)), value: Box::new(new(value)), ends: Vec::new() }
            }
            LogicalType::Multiset(element) => Data::Map {
                key: Box::new(new(element)),
                value: Box::new(new(&LogicalType::Int.not_null())),
                ends: Vec::new(),
            },
            LogicalType::Row(fields) => Data::Row {
                names: fields.iter().map(|field| field.name.clone()).collect(),
                fields: fields.iter().map(|field| new(&field.data_type)).collect(),
            },
        };
        Self { data, validity: Validity::default(), logical: data_type.logical.clone() }
    }

    /// Number of values.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.validity.length
    }

    /// Adds a NULL.
    pub fn push_null(&mut self) {
        match &mut self.data {
            Data::Null => {}
            Data::Boolean(values) => values.push(false),
            Data::I8(values) => values.push(0),
            Data::I16(values) => values.push(0),
            Data::I32(values) | Data::Date(values) | Data::Time(values) => values.push(0),
            Data::I64(values) | Data::Timestamp { values, .. } => values.push(0),
            Data::F32(values) => values.push(0.0),
            Data::F64(values) => values.push(0.0),
            Data::Decimal(values) => values.push(0),
            Data::Text { bytes, ends } | Data::Bytes { bytes, ends } => ends.push(bytes.len() as i32),
            Data::List { item, ends } => ends.push(item.len() as i32),
            Data::Map { key, ends, .. } => ends.push(key.len() as i32),
            Data::Row { fields, .. } => fields.iter_mut().for_each(Column::push_null),
        }
        self.validity.push(false);
    }

    /// Takes values back, down to `length` of them.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.data {
            Data::Null => {}
            Data::Boolean(values) => values.truncate(length),
            Data::I8(values) => values.truncate(length),
            Data::I16(values) => values.truncate(length),
            Data::I32(values) | Data::Date(values) | Data::Time(values) => values.truncate(length),
            Data::I64(values) | Data::Timestamp { values, .. } => values.truncate(length),
            Data::F32(values) => values.truncate(length),
            Data::F64(values) => values.truncate(length),
            Data::Decimal(values) => values.truncate(length),
            Data::Text { bytes, ends } | Data::Bytes { bytes, ends } => {
                ends.truncate(length);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Data::List { item, ends } => {
                ends.truncate(length);
                item.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Data::Map { key, value, ends } => {
                ends.truncate(length);
                let entries = ends.last().map_or(0, |end| *end as usize);
                key.truncate(entries);
                value.truncate(entries);
            }
            Data::Row { fields, .. } => fields.iter_mut().for_each(|field| field.truncate(length)),
        }
        self.validity.truncate(length);
    }

    /// The column as an array; the builder is empty again, with room for as much as it held.
    ///
    /// # Errors
    /// If there is a NULL inside a value where the type has NOT NULL.
    fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let length = self.len();
        let nulls = self.validity.take();
        macro_rules! primitive {
            ($array:ty, $values:expr) => {
                Arc::new(<$array>::new(renew($values).into(), nulls)) as ArrayRef
            };
        }
        Ok(match &mut self.data {
            Data::Null => Arc::new(NullArray::new(length)),
            Data::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(std::mem::take(values)), nulls)),
            Data::I8(values) => primitive!(Int8Array, values),
            Data::I16(values) => primitive!(Int16Array, values),
            Data::I32(values) => primitive!(Int32Array, values),
            Data::Date(values) => primitive!(Date32Array, values),
            Data::Time(values) => primitive!(Time32MillisecondArray, values),
            Data::I64(values) => primitive!(Int64Array, values),
            Data::Timestamp { values, .. } => timestamps(&self.logical, renew(values).into(), nulls),
            Data::F32(values) => primitive!(Float32Array, values),
            Data::F64(values) => primitive!(Float64Array, values),
            Data::Decimal(values) => {
                let array = Decimal128Array::new(renew(values).into(), nulls);
                match self.logical {
                    LogicalType::Decimal(precision, scale) => {
                        Arc::new(array.with_data_type(ArrowType::Decimal128(precision, scale as i8)))
                    }
                    _ => Arc::new(array),
                }
            }
            Data::Text { bytes, ends } => {
                let (offsets, values) = (offsets(ends), Buffer::from_vec(renew(bytes)));
                match StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
                    Ok(array) => Arc::new(array),
                    // Decoders check what they push, so this does not happen; replacing is better
                    // than losing the batch.
                    Err(_) => {
                        let binary = BinaryArray::new(offsets, values, nulls);
                        let text = |value: Option<&[u8]>| value.map(|v| String::from_utf8_lossy(v).into_owned());
                        Arc::new(binary.iter().map(text).collect::<StringArray>())
                    }
                }
            }
            Data::Bytes { bytes, ends } => {
                Arc::new(BinaryArray::new(offsets(ends), Buffer::from_vec(renew(bytes)), nulls))
            }
            Data::List { item, ends } => {
                let values = item.take()?;
                let field = match self.logical.to_arrow() {
                    ArrowType::List(field) => field,
                    _ => Arc::new(ArrowField::new("item", values.data_type().clone(), true)),
                };
                Arc::new(ListArray::try_new(field, offsets(ends), values, nulls)?)
            }
            Data::Map { key, value, ends } => {
                let (keys, values) = (key.take()?, value.take()?);
                let ArrowType::Map(field, sorted) = self.logical.to_arrow() else {
                    return Err(ArrowError::SchemaError("a map was read into another type".to_owned()));
                };
                let ArrowType::Struct(fields) = field.data_type() else {
                    return Err(ArrowError::SchemaError("a map has entries".to_owned()));
                };
                let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
                Arc::new(MapArray::try_new(field, offsets(ends), entries, nulls, sorted)?)
            }
            Data::Row { fields, .. } => {
                let arrays = fields.iter_mut().map(Column::take).collect::<Result<Vec<_>, _>>()?;
                match self.logical.to_arrow() {
                    ArrowType::Struct(types) if !arrays.is_empty() => {
                        Arc::new(StructArray::try_new(types, arrays, nulls)?)
                    }
                    _ => Arc::new(StructArray::new_empty_fields(length, nulls)),
                }
            }
        })
    }
}

fn timestamps(logical: &LogicalType, values: ScalarBuffer<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    let (precision, zone) = match logical {
        LogicalType::TimestampLtz(precision) => (*precision, Some(Arc::from("UTC"))),
        LogicalType::Timestamp(precision) => (*precision, None),
        _ => (3, None),
    };
    fn array<T: ArrowTimestampType>(
        values: ScalarBuffer<i64>,
        nulls: Option<NullBuffer>,
        zone: Option<Arc<str>>,
    ) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values, nulls).with_timezone_opt(zone))
    }
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => array::<TimestampMicrosecondType>(values, nulls, zone),
        TimeUnit::Nanosecond => array::<TimestampNanosecondType>(values, nulls, zone),
        _ => array::<TimestampMillisecondType>(values, nulls, zone),
    }
}

/// Takes what a vector holds and leaves one with about as much room: the next batch is like this one.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len().min(KEPT_ROOM_MAX);
    std::mem::replace(values, Vec::with_capacity(room + room / 8))
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    // `ends` keeps its memory: the offsets are a copy, as they begin with a zero.
    OffsetBuffer::new(offsets.into())
}
