//! Rust types of SQL values, and what functions give.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, PrimitiveBuilder, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::ArrowPrimitiveType;
use tidemill_common::types::{DECIMAL_PRECISION_MAX, LogicalType};

/// A value of SQL that is not NULL: `bool`, `i8` to `i64`, `f32`, `f64`, `String`, `Vec<u8>`, [`Decimal`],
/// [`Date`], [`Timestamp`], [`TimestampLtz`].
pub trait Value: Sized + Send + Sync + 'static {
    /// Columns of such values are made with it.
    type Builder: Default + Send;

    /// Its type in SQL.
    fn logical() -> LogicalType;

    /// Adds the value to a column.
    fn append(self, builder: &mut Self::Builder);

    /// Adds NULL to a column.
    fn append_null(builder: &mut Self::Builder);

    /// The column. The builder is empty then.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
}

/// `DECIMAL(P, S)`, by its unscaled value: 1.50 as a `DECIMAL(10, 2)` is 150.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Decimal<const P: u8, const S: u8>(pub i128);

/// `DATE`, in days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Date(pub i32);

/// `TIMESTAMP(3)`: local time, in milliseconds since 1970-01-01T00:00:00.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(pub i64);

/// `TIMESTAMP_LTZ(3)`: an instant, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TimestampLtz(pub i64);

/// A column of the one carrier that the type has.
fn column<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>, logical: &LogicalType) -> ArrayRef {
    Arc::new(builder.finish().with_data_type(logical.to_arrow()))
}

macro_rules! value {
    ($({$($generic:tt)*})? $type:ty, $builder:ty, $logical:expr, $value:ident => $native:expr, $finish:expr) => {
        impl $(<$($generic)*>)? Value for $type {
            type Builder = $builder;

            fn logical() -> LogicalType {
                $logical
            }

            fn append(self, builder: &mut Self::Builder) {
                let $value = self;
                builder.append_value($native);
            }

            fn append_null(builder: &mut Self::Builder) {
                builder.append_null();
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                let finish: fn(&mut Self::Builder) -> ArrayRef = $finish;
                finish(builder)
            }
        }

        impl $(<$($generic)*>)? Cell for $type {
            type Value = Self;
            const NULLABLE: bool = false;

            fn into_value(self) -> Option<Self> {
                Some(self)
            }
        }

        impl $(<$($generic)*>)? Returned for $type {
            type Value = Self;
            const NULLABLE: bool = false;

            fn into_result(self) -> Result<Option<Self>, String> {
                Ok(Some(self))
            }
        }
    };
}

value!(bool, BooleanBuilder, LogicalType::Boolean, value => value, |builder| Arc::new(builder.finish()));
value!(i8, Int8Builder, LogicalType::TinyInt, value => value, |builder| Arc::new(builder.finish()));
value!(i16, Int16Builder, LogicalType::SmallInt, value => value, |builder| Arc::new(builder.finish()));
value!(i32, Int32Builder, LogicalType::Int, value => value, |builder| Arc::new(builder.finish()));
value!(i64, Int64Builder, LogicalType::BigInt, value => value, |builder| Arc::new(builder.finish()));
value!(f32, Float32Builder, LogicalType::Float, value => value, |builder| Arc::new(builder.finish()));
value!(f64, Float64Builder, LogicalType::Double, value => value, |builder| Arc::new(builder.finish()));
value!(String, StringBuilder, LogicalType::STRING, value => value, |builder| Arc::new(builder.finish()));
value!(Vec<u8>, BinaryBuilder, LogicalType::BYTES, value => value, |builder| Arc::new(builder.finish()));
value!(Date, Date32Builder, LogicalType::Date, value => value.0, |builder| Arc::new(builder.finish()));
value!(Timestamp, TimestampMillisecondBuilder, LogicalType::Timestamp(3), value => value.0,
    |builder| column(builder, &Self::logical()));
value!(TimestampLtz, TimestampMillisecondBuilder, LogicalType::TimestampLtz(3), value => value.0,
    |builder| column(builder, &Self::logical()));
value!({const P: u8, const S: u8} Decimal<P, S>, Decimal128Builder, {
    const { assert!(P >= 1 && P <= DECIMAL_PRECISION_MAX && S <= P, "DECIMAL(p, s) has p of 1 to 38 and s of 0 to p") };
    LogicalType::Decimal(P, S)
}, value => value.0, |builder| column(builder, &Self::logical()));

/// A column of a row that a function makes: a [`Value`], or an `Option` of one, where NULL may come.
pub trait Cell: 'static {
    type Value: Value;
    const NULLABLE: bool;

    fn into_value(self) -> Option<Self::Value>;
}

impl<V: Value> Cell for Option<V> {
    type Value = V;
    const NULLABLE: bool = true;

    fn into_value(self) -> Option<V> {
        self
    }
}

/// What a function gives: a [`Value`], an `Option` of one, where NULL may come, or a `Result` of either, whose
/// error fails the job.
pub trait Returned: 'static {
    type Value: Value;
    const NULLABLE: bool;

    /// The value; an error in words for people.
    fn into_result(self) -> Result<Option<Self::Value>, String>;
}

impl<V: Value> Returned for Option<V> {
    type Value = V;
    const NULLABLE: bool = true;

    fn into_result(self) -> Result<Option<V>, String> {
        Ok(self)
    }
}

impl<C: Cell, E: Display + 'static> Returned for Result<C, E> {
    type Value = C::Value;
    const NULLABLE: bool = C::NULLABLE;

    fn into_result(self) -> Result<Option<C::Value>, String> {
        self.map(Cell::into_value).map_err(|error| error.to_string())
    }
}
