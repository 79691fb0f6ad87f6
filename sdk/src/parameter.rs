//! Rust types of parameters, and how their values are read out of columns.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMillisecondType,
};
use tidemill_common::types::LogicalType;
use tidemill_expr::own;
use tidemill_expr::own::Argument;

use crate::value::{Date, Decimal, Timestamp, TimestampLtz, Value};

/// A parameter of a function: a number, `bool`, `&str`, `&[u8]`, [`Decimal`], [`Date`], [`Timestamp`] or
/// [`TimestampLtz`], or an `Option` of one of these, with which the function is called for NULL too.
pub trait Parameter {
    /// The value of a row. It may borrow from the column.
    type Item<'a>;
    /// The column, as it is read.
    type Column<'a>;
    /// Whether the function sees NULL.
    const TAKES_NULL: bool;

    /// The type in SQL.
    fn logical() -> LogicalType;

    /// Access to a column; `None` if it has another type.
    fn column(array: &ArrayRef) -> Option<Self::Column<'_>>;

    /// The value of a row. It counts only where the column is not NULL, unless NULL is taken.
    fn get<'a>(column: &Self::Column<'a>, row: usize) -> Self::Item<'a>;
}

macro_rules! primitive {
    ($({$($generic:tt)*})? $type:ty, $arrow:ty, $native:ident => $value:expr) => {
        impl $(<$($generic)*>)? Parameter for $type {
            type Item<'a> = $type;
            type Column<'a> = &'a [<$arrow as arrow::datatypes::ArrowPrimitiveType>::Native];
            const TAKES_NULL: bool = false;

            fn logical() -> LogicalType {
                <$type as Value>::logical()
            }

            fn column(array: &ArrayRef) -> Option<Self::Column<'_>> {
                array.as_primitive_opt::<$arrow>().map(|array| &array.values()[..])
            }

            #[inline(always)]
            fn get<'a>(column: &Self::Column<'a>, row: usize) -> Self::Item<'a> {
                let $native = column[row];
                $value
            }
        }

        one!($({$($generic)*})? $type);
    };
}

/// A parameter that stands alone.
macro_rules! one {
    ($({$($generic:tt)*})? $type:ty) => {
        impl $(<$($generic)*>)? Parameters for $type {
            type Items<'a> = <$type as Parameter>::Item<'a>;
            type Columns<'a> = <($type,) as Parameters>::Columns<'a>;

            fn parameters() -> Vec<own::Parameter> {
                <($type,)>::parameters()
            }

            fn columns<'a>(args: &[Argument<'a>]) -> Result<Self::Columns<'a>, String> {
                <($type,)>::columns(args)
            }

            #[inline(always)]
            fn items<'a>(columns: &Self::Columns<'a>, row: usize) -> Self::Items<'a> {
                <($type,)>::items(columns, row).0
            }
        }
    };
}

primitive!(i8, Int8Type, value => value);
primitive!(i16, Int16Type, value => value);
primitive!(i32, Int32Type, value => value);
primitive!(i64, Int64Type, value => value);
primitive!(f32, Float32Type, value => value);
primitive!(f64, Float64Type, value => value);
primitive!(Date, Date32Type, value => Date(value));
primitive!(Timestamp, TimestampMillisecondType, value => Timestamp(value));
primitive!(TimestampLtz, TimestampMillisecondType, value => TimestampLtz(value));
primitive!({const P: u8, const S: u8} Decimal<P, S>, Decimal128Type, value => Decimal(value));

impl Parameter for bool {
    type Item<'a> = bool;
    type Column<'a> = &'a BooleanArray;
    const TAKES_NULL: bool = false;

    fn logical() -> LogicalType {
        LogicalType::Boolean
    }

    fn column(array: &ArrayRef) -> Option<&BooleanArray> {
        array.as_boolean_opt()
    }

    #[inline(always)]
    fn get<'a>(column: &Self::Column<'a>, row: usize) -> Self::Item<'a> {
        column.value(row)
    }
}
one!(bool);

impl Parameter for &str {
    type Item<'a> = &'a str;
    type Column<'a> = &'a StringArray;
    const TAKES_NULL: bool = false;

    fn logical() -> LogicalType {
        LogicalType::STRING
    }

    fn column(array: &ArrayRef) -> Option<&StringArray> {
        array.as_string_opt()
    }

    #[inline(always)]
    fn get<'a>(column: &Self::Column<'a>, row: usize) -> Self::Item<'a> {
        column.value(row)
    }
}
one!({'p} &'p str);

impl Parameter for &[u8] {
    type Item<'a> = &'a [u8];
    type Column<'a> = &'a BinaryArray;
    const TAKES_NULL: bool = false;

    fn logical() -> LogicalType {
        LogicalType::BYTES
    }

    fn column(array: &ArrayRef) -> Option<&BinaryArray> {
        array.as_binary_opt()
    }

    #[inline(always)]
    fn get<'a>(column: &Self::Column<'a>, row: usize) -> Self::Item<'a> {
        column.value(row)
    }
}
one!({'p} &'p [u8]);

impl<P: Parameter> Parameter for Option<P> {
    type Item<'a> = Option<P::Item<'a>>;
    type Column<'a> = (P::Column<'a>, Option<&'a NullBuffer>);
    const TAKES_NULL: bool = true;

    fn logical() -> LogicalType {
        P::logical()
    }

    fn column(array: &ArrayRef) -> Option<Self::Column<'_>> {
        Some((P::column(array)?, array.nulls().filter(|nulls| nulls.null_count() > 0)))
    }

    #[inline(always)]
    fn get<'a>((column, nulls): &Self::Column<'a>, row: usize) -> Self::Item<'a> {
        match nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(P::get(column, row)),
        }
    }
}
one!({P: Parameter} Option<P>);

/// All parameters of a function: one [`Parameter`], or a tuple of them.
pub trait Parameters {
    /// The values of a row.
    type Items<'a>;
    /// The columns, as they are read.
    type Columns<'a>;

    /// What the planner is told.
    fn parameters() -> Vec<own::Parameter>;

    /// Access to the columns of arguments.
    ///
    /// # Errors
    /// If they are not what was planned.
    fn columns<'a>(args: &[Argument<'a>]) -> Result<Self::Columns<'a>, String>;

    /// The values of a row.
    fn items<'a>(columns: &Self::Columns<'a>, row: usize) -> Self::Items<'a>;
}

/// A column and how far to step in it from row to row: not at all if it is one value for all rows.
fn column<'a, P: Parameter>(args: &[Argument<'a>], index: usize) -> Result<(P::Column<'a>, usize), String> {
    let argument = args.get(index).ok_or_else(|| format!("argument {} is missing in the plan", index + 1))?;
    let mismatch = || {
        let (found, wanted) = (argument.array.data_type(), P::logical());
        format!("argument {} has type {found} in the plan where {wanted} is declared", index + 1)
    };
    let column = P::column(argument.array).ok_or_else(mismatch)?;
    Ok((column, usize::from(!argument.constant)))
}

macro_rules! tuple {
    ($($parameter:ident $index:tt),*) => {
        impl<$($parameter: Parameter),*> Parameters for ($($parameter,)*) {
            type Items<'a> = ($($parameter::Item<'a>,)*);
            type Columns<'a> = ($(($parameter::Column<'a>, usize),)*);

            fn parameters() -> Vec<own::Parameter> {
                vec![$(own::Parameter { logical: $parameter::logical(), takes_null: $parameter::TAKES_NULL }),*]
            }

            fn columns<'a>(_args: &[Argument<'a>]) -> Result<Self::Columns<'a>, String> {
                Ok(($(column::<$parameter>(_args, $index)?,)*))
            }

            #[inline(always)]
            #[allow(clippy::unused_unit, reason = "without parameters there is nothing to give")]
            fn items<'a>(_columns: &Self::Columns<'a>, _row: usize) -> Self::Items<'a> {
                ($($parameter::get(&_columns.$index.0, _row * _columns.$index.1),)*)
            }
        }
    };
}

tuple!();
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
