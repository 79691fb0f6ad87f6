//! Rows that table functions make.

use arrow::array::ArrayRef;
use tidemill_common::types::Field;

use crate::value::{Cell, Date, Decimal, Timestamp, TimestampLtz, Value};

/// The columns of a table function's rows: a [`Cell`], or a tuple of up to eight.
pub trait Row: Sized + 'static {
    type Builders: Default + Send;

    /// Names and types. Without names of their own the columns of a tuple are `f0`, `f1` and so on, and a single
    /// one is `EXPR$0`, as in Flink.
    fn columns() -> Vec<Field>;

    /// Adds the row.
    fn append(self, builders: &mut Self::Builders);

    /// Adds a row of NULLs.
    fn append_nulls(builders: &mut Self::Builders);

    /// The columns. The builders are empty then.
    fn finish(builders: &mut Self::Builders) -> Vec<ArrayRef>;
}

fn field<C: Cell>(name: String) -> Field {
    Field::new(name, C::Value::logical().with_nullable(C::NULLABLE))
}

fn append<C: Cell>(cell: C, builder: &mut <C::Value as Value>::Builder) {
    match cell.into_value() {
        Some(value) => value.append(builder),
        None => C::Value::append_null(builder),
    }
}

macro_rules! one {
    ($({$($generic:tt)*})? $type:ty) => {
        impl $(<$($generic)*>)? Row for $type {
            type Builders = <<$type as Cell>::Value as Value>::Builder;

            fn columns() -> Vec<Field> {
                vec![field::<$type>("EXPR$0".to_owned())]
            }

            fn append(self, builder: &mut Self::Builders) {
                append(self, builder);
            }

            fn append_nulls(builder: &mut Self::Builders) {
                <<$type as Cell>::Value as Value>::append_null(builder);
            }

            fn finish(builder: &mut Self::Builders) -> Vec<ArrayRef> {
                vec![<<$type as Cell>::Value as Value>::finish(builder)]
            }
        }
    };
}

one!(bool);
one!(i8);
one!(i16);
one!(i32);
one!(i64);
one!(f32);
one!(f64);
one!(String);
one!(Vec<u8>);
one!(Date);
one!(Timestamp);
one!(TimestampLtz);
one!({const P: u8, const S: u8} Decimal<P, S>);
one!({V: Value} Option<V>);

macro_rules! tuple {
    ($($cell:ident $index:tt),*) => {
        impl<$($cell: Cell),*> Row for ($($cell,)*) {
            type Builders = ($(<$cell::Value as Value>::Builder,)*);

            fn columns() -> Vec<Field> {
                vec![$(field::<$cell>(format!("f{}", $index))),*]
            }

            fn append(self, builders: &mut Self::Builders) {
                $(append(self.$index, &mut builders.$index);)*
            }

            fn append_nulls(builders: &mut Self::Builders) {
                $($cell::Value::append_null(&mut builders.$index);)*
            }

            fn finish(builders: &mut Self::Builders) -> Vec<ArrayRef> {
                vec![$($cell::Value::finish(&mut builders.$index)),*]
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
