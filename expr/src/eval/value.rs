//! Arguments of kernels, typed access to them, and loops that kernels share.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, BooleanBuilder, PrimitiveArray,
    StringArray, StringBuilder, UInt32Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute;

use super::EvalError;

/// A column, or one value for all rows.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Array(ArrayRef),
    /// An array of one row.
    Scalar(ArrayRef),
}

fn mismatch(array: &dyn Array, expected: &str) -> EvalError {
    EvalError::new(format!("a column has type {} where {expected} was planned", array.data_type()))
}

impl Value {
    /// The array behind it: one row for a scalar.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Self::Array(array) | Self::Scalar(array) => array,
        }
    }

    /// How far to step in the array from row to row.
    pub fn step(&self) -> usize {
        match self {
            Self::Array(_) => 1,
            Self::Scalar(_) => 0,
        }
    }

    /// Whether it is one value for all rows.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// As a column of `rows` rows.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef, EvalError> {
        match self {
            Self::Array(array) => Ok(array),
            Self::Scalar(array) if rows == 1 => Ok(array),
            Self::Scalar(array) if array.is_null(0) => Ok(new_null_array(array.data_type(), rows)),
            Self::Scalar(array) => Ok(compute::take(&array, &UInt32Array::from(vec![0; rows]), None)?),
        }
    }

    /// The rows of a mask.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Array(array) => Self::Array(compute::filter(array, mask)?),
            Self::Scalar(array) => Self::Scalar(array.clone()),
        })
    }

    /// Access as texts.
    pub fn strings(&self) -> Result<Strings<'_>, EvalError> {
        let array = self.array().as_string_opt::<i32>().ok_or_else(|| mismatch(self.array(), "a text"))?;
        Ok(Strings { array, step: self.step() })
    }

    /// Access as byte strings.
    pub fn binaries(&self) -> Result<Binaries<'_>, EvalError> {
        let array = self.array().as_binary_opt::<i32>().ok_or_else(|| mismatch(self.array(), "BYTES"))?;
        Ok(Binaries { array, step: self.step() })
    }

    /// Access as booleans.
    pub fn booleans(&self) -> Result<Booleans<'_>, EvalError> {
        let array = self.array().as_boolean_opt().ok_or_else(|| mismatch(self.array(), "BOOLEAN"))?;
        Ok(Booleans { array, step: self.step() })
    }

    /// Access as fixed-width values.
    pub fn primitives<T: ArrowPrimitiveType>(&self) -> Result<Primitives<'_, T>, EvalError> {
        let array =
            self.array().as_primitive_opt::<T>().ok_or_else(|| mismatch(self.array(), &T::DATA_TYPE.to_string()))?;
        Ok(Primitives { array, step: self.step() })
    }
}

/// Texts by row.
#[derive(Clone, Copy)]
pub(crate) struct Strings<'a> {
    array: &'a StringArray,
    step: usize,
}

impl<'a> Strings<'a> {
    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let row = row * self.step;
        if self.array.is_null(row) { None } else { Some(self.array.value(row)) }
    }

    /// Bytes of text in the rows, to size a result.
    pub fn bytes(&self) -> usize {
        let offsets = self.array.value_offsets();
        match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) if self.step == 1 => (last - first) as usize,
            _ => 0,
        }
    }
}

/// Byte strings by row.
#[derive(Clone, Copy)]
pub(crate) struct Binaries<'a> {
    array: &'a BinaryArray,
    step: usize,
}

impl<'a> Binaries<'a> {
    /// The bytes of a row.
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        let row = row * self.step;
        if self.array.is_null(row) { None } else { Some(self.array.value(row)) }
    }
}

/// Booleans by row.
#[derive(Clone, Copy)]
pub(crate) struct Booleans<'a> {
    array: &'a BooleanArray,
    step: usize,
}

impl Booleans<'_> {
    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<bool> {
        let row = row * self.step;
        if self.array.is_null(row) { None } else { Some(self.array.value(row)) }
    }
}

/// Fixed-width values by row.
#[derive(Clone, Copy)]
pub(crate) struct Primitives<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    step: usize,
}

impl<'a, T: ArrowPrimitiveType> Primitives<'a, T> {
    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<T::Native> {
        let row = row * self.step;
        if self.array.is_null(row) { None } else { Some(self.array.value(row)) }
    }

    /// All values, also those under a NULL.
    pub fn values(&self) -> &'a [T::Native] {
        self.array.values()
    }

    /// Whether it is one value for all rows.
    pub fn is_scalar(&self) -> bool {
        self.step == 0
    }

    /// The NULLs, spread to `rows` if it is a scalar.
    pub fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match self.array.nulls() {
            Some(nulls) if self.step == 1 => Some(nulls.clone()),
            Some(nulls) if nulls.is_null(0) => Some(NullBuffer::new_null(rows)),
            _ => None,
        }
    }
}

/// Applies `f` to every value, also under NULLs: `f` must not fail or panic.
pub(crate) fn unary<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    value: &Value,
    rows: usize,
    f: impl Fn(I::Native) -> O::Native,
) -> Result<PrimitiveArray<O>, EvalError> {
    let input = value.primitives::<I>()?;
    let values: ScalarBuffer<O::Native> = if input.is_scalar() {
        let result = f(input.values()[0]);
        std::iter::repeat_n(result, rows).collect()
    } else {
        input.values().iter().map(|value| f(*value)).collect()
    };
    Ok(PrimitiveArray::new(values, input.nulls(rows)))
}

/// Applies `f` to every pair, also under NULLs: `f` must not fail or panic.
pub(crate) fn binary<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    rows: usize,
    f: impl Fn(L::Native, R::Native) -> O::Native,
) -> Result<PrimitiveArray<O>, EvalError> {
    let (l, r) = (left.primitives::<L>()?, right.primitives::<R>()?);
    let nulls = NullBuffer::union(l.nulls(rows).as_ref(), r.nulls(rows).as_ref());
    let values: ScalarBuffer<O::Native> = match (l.is_scalar(), r.is_scalar()) {
        (false, false) => l.values().iter().zip(r.values()).map(|(l, r)| f(*l, *r)).collect(),
        (false, true) => {
            let r = r.values()[0];
            l.values().iter().map(|l| f(*l, r)).collect()
        }
        (true, false) => {
            let l = l.values()[0];
            r.values().iter().map(|r| f(l, *r)).collect()
        }
        (true, true) => std::iter::repeat_n(f(l.values()[0], r.values()[0]), rows).collect(),
    };
    Ok(PrimitiveArray::new(values, nulls))
}

/// Compares every pair, also under NULLs.
pub(crate) fn binary_test<T: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    rows: usize,
    f: impl Fn(T::Native, T::Native) -> bool,
) -> Result<BooleanArray, EvalError> {
    let (l, r) = (left.primitives::<T>()?, right.primitives::<T>()?);
    let nulls = NullBuffer::union(l.nulls(rows).as_ref(), r.nulls(rows).as_ref());
    let (lv, rv) = (l.values(), r.values());
    let values = match (l.is_scalar(), r.is_scalar()) {
        (false, false) => BooleanBuffer::collect_bool(rows, |row| f(lv[row], rv[row])),
        (false, true) => {
            let r = rv[0];
            BooleanBuffer::collect_bool(rows, |row| f(lv[row], r))
        }
        (true, false) => {
            let l = lv[0];
            BooleanBuffer::collect_bool(rows, |row| f(l, rv[row]))
        }
        (true, true) => {
            let result = f(lv[0], rv[0]);
            BooleanBuffer::collect_bool(rows, |_| result)
        }
    };
    Ok(BooleanArray::new(values, nulls))
}

/// A column of fixed-width values, row by row; `None` is NULL.
pub(crate) fn primitives_by_row<O: ArrowPrimitiveType>(
    rows: usize,
    f: impl FnMut(usize) -> Option<O::Native>,
) -> ArrayRef {
    Arc::new((0..rows).map(f).collect::<PrimitiveArray<O>>())
}

/// Like [`primitives_by_row`], for what can fail.
pub(crate) fn try_primitives_by_row<O: ArrowPrimitiveType>(
    rows: usize,
    f: impl FnMut(usize) -> Result<Option<O::Native>, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let array: PrimitiveArray<O> = (0..rows).map(f).collect::<Result<_, _>>()?;
    Ok(Arc::new(array))
}

/// A column of booleans, row by row; `None` is NULL.
pub(crate) fn booleans_by_row(rows: usize, mut f: impl FnMut(usize) -> Option<bool>) -> ArrayRef {
    let mut builder = BooleanBuilder::with_capacity(rows);
    for row in 0..rows {
        builder.append_option(f(row));
    }
    Arc::new(builder.finish())
}

/// A column of texts: `f` appends the text of a row to the buffer, or says that it is NULL.
pub(crate) fn strings_by_row(
    rows: usize,
    bytes: usize,
    mut f: impl FnMut(usize, &mut String) -> Option<()>,
) -> Result<ArrayRef, EvalError> {
    try_strings_by_row(rows, bytes, |row, out| Ok(f(row, out)))
}

/// Like [`strings_by_row`], for what can fail.
pub(crate) fn try_strings_by_row(
    rows: usize,
    bytes: usize,
    mut f: impl FnMut(usize, &mut String) -> Result<Option<()>, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let mut builder = StringBuilder::with_capacity(rows, bytes);
    let mut text = String::new();
    let mut total: usize = 0;
    for row in 0..rows {
        text.clear();
        if f(row, &mut text)?.is_some() {
            total += text.len();
            if total > i32::MAX as usize {
                return Err(EvalError::new("the texts of one batch exceed 2 GiB"));
            }
            builder.append_value(&text);
        } else {
            builder.append_null();
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// A column of parts of texts that exist already.
pub(crate) fn slices_by_row<'a>(
    rows: usize,
    bytes: usize,
    mut f: impl FnMut(usize) -> Option<&'a str>,
) -> Result<ArrayRef, EvalError> {
    let mut builder = StringBuilder::with_capacity(rows, bytes);
    let mut total: usize = 0;
    for row in 0..rows {
        let text = f(row);
        total += text.map_or(0, str::len);
        if total > i32::MAX as usize {
            return Err(EvalError::new("the texts of one batch exceed 2 GiB"));
        }
        builder.append_option(text);
    }
    Ok(Arc::new(builder.finish()))
}
