//! SQL types as Flink names them, and the Arrow types that carry them.
//!
//! There is exactly one Arrow type per SQL type, so that no operator has to ask which of several
//! encodings a column has:
//!
//! | SQL | Arrow |
//! |---|---|
//! | `BOOLEAN`, `TINYINT` .. `BIGINT`, `FLOAT`, `DOUBLE` | `Boolean`, `Int8` .. `Int64`, `Float32`, `Float64` |
//! | `DECIMAL(p, s)` | `Decimal128(p, s)` |
//! | `CHAR(n)`, `VARCHAR(n)`, `STRING` | `Utf8` |
//! | `BINARY(n)`, `VARBINARY(n)`, `BYTES` | `Binary` |
//! | `DATE` | `Date32` (days) |
//! | `TIME(p)` | `Time32(Millisecond)` |
//! | `TIMESTAMP(p)` | `Timestamp(unit, None)`, local time |
//! | `TIMESTAMP_LTZ(p)` | `Timestamp(unit, "UTC")`, an instant |
//! | `INTERVAL` year to month, day to second | `Interval(YearMonth)` (months), `Duration(Millisecond)` |
//! | `ARRAY`, `MAP`, `ROW` | `List`, `Map`, `Struct` |
//! | `MULTISET<t>` | that of `MAP<t, INT>`: how often each value is there |
//!
//! The unit of a timestamp is milliseconds for p <= 3, microseconds for p <= 6, else nanoseconds.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes as arrow_types;
use arrow::datatypes::{IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// Length of `STRING` and `BYTES`, as in Flink.
pub const MAX_LENGTH: u32 = 2_147_483_647;
/// Largest precision of `DECIMAL`.
pub const DECIMAL_PRECISION_MAX: u8 = 38;

/// A SQL type without its nullability.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogicalType {
    /// The type of a bare `NULL`; casts to every type.
    Null,
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    /// Precision 1..=38, scale 0..=precision.
    Decimal(u8, u8),
    /// Length in code points.
    Char(u32),
    /// Length in code points; [`MAX_LENGTH`] is `STRING`.
    Varchar(u32),
    /// Length in bytes.
    Binary(u32),
    /// Length in bytes; [`MAX_LENGTH`] is `BYTES`.
    Varbinary(u32),
    Date,
    /// Fractional digits, 0..=9 (kept to milliseconds, as Flink does).
    Time(u8),
    /// Fractional digits, 0..=9. Local time without a zone.
    Timestamp(u8),
    /// Fractional digits, 0..=9. An instant, shown in the session zone.
    TimestampLtz(u8),
    /// Months.
    IntervalYearMonth,
    /// Milliseconds.
    IntervalDaySecond,
    Array(Box<DataType>),
    Map(Box<DataType>, Box<DataType>),
    /// How often each value is there.
    Multiset(Box<DataType>),
    Row(Vec<Field>),
}

/// A SQL type with its nullability.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataType {
    pub logical: LogicalType,
    pub nullable: bool,
}

/// A named column or row field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub data_type: DataType,
}

/// The columns of a stream, in order. Names may repeat inside a plan; operators address by index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    pub fields: Vec<Field>,
}

impl LogicalType {
    /// `STRING`.
    pub const STRING: LogicalType = LogicalType::Varchar(MAX_LENGTH);
    /// `BYTES`.
    pub const BYTES: LogicalType = LogicalType::Varbinary(MAX_LENGTH);

    /// This type, nullable.
    pub fn nullable(self) -> DataType {
        DataType { logical: self, nullable: true }
    }

    /// This type, `NOT NULL`.
    pub fn not_null(self) -> DataType {
        DataType { logical: self, nullable: false }
    }

    /// This type with the given nullability.
    pub fn with_nullable(self, nullable: bool) -> DataType {
        DataType { logical: self, nullable }
    }

    /// Integers, floats and decimals.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Float | Self::Double | Self::Decimal(..))
    }

    /// `TINYINT` to `BIGINT`.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// `CHAR(n)`, `VARCHAR(n)` and `STRING`.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }

    /// `TIMESTAMP(p)` and `TIMESTAMP_LTZ(p)`.
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::TimestampLtz(_))
    }

    /// The one Arrow type that carries this type.
    pub fn to_arrow(&self) -> arrow_types::DataType {
        use arrow_types::DataType as A;
        match self {
            Self::Null => A::Null,
            Self::Boolean => A::Boolean,
            Self::TinyInt => A::Int8,
            Self::SmallInt => A::Int16,
            Self::Int => A::Int32,
            Self::BigInt => A::Int64,
            Self::Float => A::Float32,
            Self::Double => A::Float64,
            Self::Decimal(precision, scale) => A::Decimal128(*precision, *scale as i8),
            Self::Char(_) | Self::Varchar(_) => A::Utf8,
            Self::Binary(_) | Self::Varbinary(_) => A::Binary,
            Self::Date => A::Date32,
            Self::Time(_) => A::Time32(TimeUnit::Millisecond),
            Self::Timestamp(precision) => A::Timestamp(timestamp_unit(*precision), None),
            Self::TimestampLtz(precision) => A::Timestamp(timestamp_unit(*precision), Some("UTC".into())),
            Self::IntervalYearMonth => A::Interval(IntervalUnit::YearMonth),
            Self::IntervalDaySecond => A::Duration(TimeUnit::Millisecond),
            Self::Array(element) => A::List(Arc::new(element.to_arrow_field("item"))),
            Self::Map(key, value) => A::Map(
                Arc::new(arrow_types::Field::new(
                    "entries",
                    A::Struct(
                        vec![
                            arrow_types::Field::new("key", key.logical.to_arrow(), false),
                            value.to_arrow_field("value"),
                        ]
                        .into(),
                    ),
                    false,
                )),
                false,
            ),
            Self::Multiset(element) => Self::Map(element.clone(), Box::new(Self::Int.not_null())).to_arrow(),
            Self::Row(fields) => A::Struct(fields.iter().map(Field::to_arrow).collect()),
        }
    }
}

/// The Arrow unit that carries a timestamp of this precision.
pub fn timestamp_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// Units of `precision`'s carrier per millisecond: 1, 1 000 or 1 000 000.
pub fn units_per_millisecond(precision: u8) -> i64 {
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1_000_000,
        _ => 1,
    }
}

impl DataType {
    /// An Arrow field of this type. Every Arrow field is nullable: `NOT NULL` is the planner's
    /// knowledge, and batches must not have to be rebuilt when it changes.
    pub fn to_arrow_field(&self, name: &str) -> arrow_types::Field {
        arrow_types::Field::new(name, self.logical.to_arrow(), true)
    }
}

impl Field {
    /// A named column.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type }
    }

    /// The Arrow field that carries this one.
    pub fn to_arrow(&self) -> arrow_types::Field {
        self.data_type.to_arrow_field(&self.name)
    }
}

impl Schema {
    /// A schema of these columns.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    /// The Arrow schema that carries this one.
    pub fn to_arrow(&self) -> arrow_types::SchemaRef {
        Arc::new(arrow_types::Schema::new(self.fields.iter().map(Field::to_arrow).collect::<Vec<_>>()))
    }

    /// Position of the column with exactly this name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Char(length) => write!(f, "CHAR({length})"),
            Self::Varchar(MAX_LENGTH) => f.write_str("STRING"),
            Self::Varchar(length) => write!(f, "VARCHAR({length})"),
            Self::Binary(length) => write!(f, "BINARY({length})"),
            Self::Varbinary(MAX_LENGTH) => f.write_str("BYTES"),
            Self::Varbinary(length) => write!(f, "VARBINARY({length})"),
            Self::Date => f.write_str("DATE"),
            Self::Time(precision) => write!(f, "TIME({precision})"),
            Self::Timestamp(precision) => write!(f, "TIMESTAMP({precision})"),
            Self::TimestampLtz(precision) => write!(f, "TIMESTAMP_LTZ({precision})"),
            Self::IntervalYearMonth => f.write_str("INTERVAL MONTH"),
            Self::IntervalDaySecond => f.write_str("INTERVAL SECOND(3)"),
            Self::Array(element) => write!(f, "ARRAY<{element}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Multiset(element) => write!(f, "MULTISET<{element}>"),
            Self::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}` {}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.logical, if self.nullable { "" } else { " NOT NULL" })
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.fields.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", field.name, field.data_type)?;
        }
        Ok(())
    }
}
