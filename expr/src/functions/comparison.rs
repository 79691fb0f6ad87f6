//! Comparisons, `IN`, and tests for NULL and truth.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Scalar as ArrowScalar, make_comparator};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp;
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{LogicalType, timestamp_unit};

use crate::decimal;
use crate::eval::value::{Value, binary_test, booleans_by_row};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Function, Kernel, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    test("=", equal, "a = b", "Equal."),
    test("<>", not_equal, "a <> b", "Not equal."),
    test("<", less, "a < b", "Less; texts are compared byte by byte."),
    test("<=", less_or_equal, "a <= b", "Less or equal."),
    test(">", greater, "a > b", "Greater."),
    test(">=", greater_or_equal, "a >= b", "Greater or equal."),
    test("IS DISTINCT FROM", distinct, "a IS DISTINCT FROM b", "Different, where NULL equals NULL."),
    test("IS NOT DISTINCT FROM", not_distinct, "a IS NOT DISTINCT FROM b", "Equal, where NULL equals NULL."),
    test("IN", in_list, "a IN (b, ...)", "Equal to one of a list."),
    test("IS NULL", is_null, "a IS NULL", "Whether the value is NULL."),
    test("IS NOT NULL", is_not_null, "a IS NOT NULL", "Whether the value is not NULL."),
    test("IS TRUE", is_true, "a IS TRUE", "TRUE, not FALSE or UNKNOWN."),
    test("IS NOT TRUE", is_not_true, "a IS NOT TRUE", "FALSE or UNKNOWN."),
    test("IS FALSE", is_false, "a IS FALSE", "FALSE, not TRUE or UNKNOWN."),
    test("IS NOT FALSE", is_not_false, "a IS NOT FALSE", "TRUE or UNKNOWN."),
];

const fn test(
    name: &'static str,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Comparison, &[], returns::boolean, compile).doc(signature, description)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::NotEqual => ordering != Ordering::Equal,
            Self::Less => ordering == Ordering::Less,
            Self::LessOrEqual => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::GreaterOrEqual => ordering != Ordering::Less,
        }
    }
}

fn equal(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::Equal, site)
}
fn not_equal(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::NotEqual, site)
}
fn less(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::Less, site)
}
fn less_or_equal(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::LessOrEqual, site)
}
fn greater(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::Greater, site)
}
fn greater_or_equal(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare(Op::GreaterOrEqual, site)
}

fn compare(op: Op, site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    use LogicalType as L;
    let [left, right] = site.args else {
        return Err(CompileError::invalid("a comparison has two sides"));
    };
    let (l, r) = (&left.data_type().logical, &right.data_type().logical);
    Ok(match (l, r) {
        (L::TinyInt, L::TinyInt) => native::<Int8Type>(op),
        (L::SmallInt, L::SmallInt) => native::<Int16Type>(op),
        (L::Int, L::Int) => native::<Int32Type>(op),
        (L::BigInt, L::BigInt) => native::<Int64Type>(op),
        // Not Arrow's total order: as in Java, NaN compares with nothing and -0.0 equals 0.0.
        (L::Float, L::Float) => native::<Float32Type>(op),
        (L::Double, L::Double) => native::<Float64Type>(op),
        (L::Date, L::Date) => native::<Date32Type>(op),
        (L::Time(_), L::Time(_)) => native::<Time32MillisecondType>(op),
        (L::IntervalYearMonth, L::IntervalYearMonth) => native::<IntervalYearMonthType>(op),
        (L::IntervalDaySecond, L::IntervalDaySecond) => native::<DurationMillisecondType>(op),
        (L::Timestamp(lp), L::Timestamp(rp)) | (L::TimestampLtz(lp), L::TimestampLtz(rp))
            if timestamp_unit(*lp) == timestamp_unit(*rp) =>
        {
            match timestamp_unit(*lp) {
                TimeUnit::Microsecond => native::<TimestampMicrosecondType>(op),
                TimeUnit::Nanosecond => native::<TimestampNanosecondType>(op),
                _ => native::<TimestampMillisecondType>(op),
            }
        }
        (L::Decimal(_, ls), L::Decimal(_, rs)) if ls == rs => native::<Decimal128Type>(op),
        (L::Decimal(_, ls), L::Decimal(_, rs)) => {
            let (ls, rs) = (*ls, *rs);
            Box::new(move |args, frame| {
                let test = |l: i128, r: i128| op.holds(decimal::compare(l, ls, r, rs));
                Ok(Arc::new(binary_test::<Decimal128Type>(&args[0], &args[1], frame.rows, test)?))
            })
        }
        _ if (l.is_string() && r.is_string()) || (*l == L::Boolean && *r == L::Boolean) || is_binary(l, r) => {
            Box::new(move |args, frame| Ok(Arc::new(arrow_compare(op, &args[0], &args[1], frame.rows)?)))
        }
        _ if l.to_arrow() == r.to_arrow() => Box::new(move |args, frame| {
            let rows = frame.rows;
            let (left, right) = (args[0].clone().into_array(rows)?, args[1].clone().into_array(rows)?);
            let nulls = NullBuffer::union(left.nulls(), right.nulls());
            let comparator = make_comparator(&left, &right, SortOptions::default())?;
            let values = BooleanBuffer::collect_bool(rows, |row| op.holds(comparator(row, row)));
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }),
        _ => return Err(CompileError::invalid(format!("a comparison of {l} and {r} is not planned that way"))),
    })
}

fn is_binary(left: &LogicalType, right: &LogicalType) -> bool {
    let binary = |logical: &LogicalType| matches!(logical, LogicalType::Binary(_) | LogicalType::Varbinary(_));
    binary(left) && binary(right)
}

fn native<T: ArrowPrimitiveType>(op: Op) -> Kernel
where
    T::Native: PartialOrd,
{
    macro_rules! test {
        ($test:expr) => {
            Box::new(|args, frame| Ok(Arc::new(binary_test::<T>(&args[0], &args[1], frame.rows, $test)?)))
        };
    }
    match op {
        Op::Equal => test!(|l, r| l == r),
        Op::NotEqual => test!(|l, r| l != r),
        Op::Less => test!(|l, r| l < r),
        Op::LessOrEqual => test!(|l, r| l <= r),
        Op::Greater => test!(|l, r| l > r),
        Op::GreaterOrEqual => test!(|l, r| l >= r),
    }
}

fn arrow_compare(op: Op, left: &Value, right: &Value, rows: usize) -> Result<BooleanArray, EvalError> {
    let run = |left: &dyn arrow::array::Datum, right: &dyn arrow::array::Datum| match op {
        Op::Equal => cmp::eq(left, right),
        Op::NotEqual => cmp::neq(left, right),
        Op::Less => cmp::lt(left, right),
        Op::LessOrEqual => cmp::lt_eq(left, right),
        Op::Greater => cmp::gt(left, right),
        Op::GreaterOrEqual => cmp::gt_eq(left, right),
    };
    let result = match (left, right) {
        (Value::Array(left), Value::Array(right)) => run(left, right)?,
        (Value::Array(left), Value::Scalar(right)) => run(left, &ArrowScalar::new(right.clone()))?,
        (Value::Scalar(left), Value::Array(right)) => run(&ArrowScalar::new(left.clone()), right)?,
        (Value::Scalar(left), Value::Scalar(right)) => run(left, right)?,
    };
    debug_assert_eq!(result.len(), rows);
    Ok(result)
}

fn distinct(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare_distinct(site, true)
}

fn not_distinct(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compare_distinct(site, false)
}

fn compare_distinct(site: &CallSite<'_>, distinct: bool) -> Result<Kernel, CompileError> {
    let equal = compare(Op::Equal, site)?;
    Ok(Box::new(move |args, frame| {
        let array = equal(args, frame)?;
        let test = Value::Array(array);
        let test = test.booleans()?;
        let null = |value: &Value, row: usize| {
            let row = row * value.step();
            value.array().is_null(row)
        };
        Ok(booleans_by_row(frame.rows, |row| {
            let same = match test.get(row) {
                Some(equal) => equal,
                None => null(&args[0], row) && null(&args[1], row),
            };
            Some(same != distinct)
        }))
    }))
}

fn in_list(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let mut texts: HashSet<String> = HashSet::new();
    let mut numbers: HashSet<i64> = HashSet::new();
    let mut has_null = false;
    for item in &site.args[1..] {
        let Expr::Literal { value, .. } = item else {
            return Err(CompileError::invalid("the list of IN is not constant"));
        };
        match value {
            Scalar::Null => has_null = true,
            Scalar::String(text) => {
                texts.insert(text.clone());
            }
            Scalar::TinyInt(value) => {
                numbers.insert(i64::from(*value));
            }
            Scalar::SmallInt(value) => {
                numbers.insert(i64::from(*value));
            }
            Scalar::Int(value) => {
                numbers.insert(i64::from(*value));
            }
            Scalar::BigInt(value) => {
                numbers.insert(*value);
            }
            other => return Err(CompileError::invalid(format!("IN does not look up {other:?} in a set"))),
        }
    }
    let answer = move |found: bool| if found { Some(true) } else { (!has_null).then_some(false) };
    fn integers<T: ArrowPrimitiveType>(
        numbers: HashSet<i64>,
        answer: impl Fn(bool) -> Option<bool> + Send + Sync + 'static,
    ) -> Kernel
    where
        i64: From<T::Native>,
    {
        let mut sorted: Vec<i64> = numbers.into_iter().collect();
        sorted.sort_unstable();
        Box::new(move |args, frame| {
            let values = args[0].primitives::<T>()?;
            Ok(booleans_by_row(frame.rows, |row| {
                let value = i64::from(values.get(row)?);
                answer(if sorted.len() <= 8 { sorted.contains(&value) } else { sorted.binary_search(&value).is_ok() })
            }))
        })
    }
    Ok(match &site.args[0].data_type().logical {
        LogicalType::TinyInt => integers::<Int8Type>(numbers, answer),
        LogicalType::SmallInt => integers::<Int16Type>(numbers, answer),
        LogicalType::Int => integers::<Int32Type>(numbers, answer),
        LogicalType::BigInt => integers::<Int64Type>(numbers, answer),
        _ => {
            // A few texts are found faster by comparing than by hashing.
            let few: Vec<String> = if texts.len() <= 6 { texts.iter().cloned().collect() } else { Vec::new() };
            Box::new(move |args, frame| {
                let values = args[0].strings()?;
                Ok(booleans_by_row(frame.rows, |row| {
                    let value = values.get(row)?;
                    answer(if few.is_empty() { texts.contains(value) } else { few.iter().any(|text| text == value) })
                }))
            })
        }
    })
}

fn null_test(negated: bool) -> Kernel {
    Box::new(move |args, _| {
        let array = args[0].array();
        let result = if negated { compute::is_not_null(array)? } else { compute::is_null(array)? };
        Ok(Arc::new(result))
    })
}

fn is_null(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(null_test(false))
}

fn is_not_null(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(null_test(true))
}

fn truth(expected: bool, negated: bool) -> Result<Kernel, CompileError> {
    Ok(Box::new(move |args, frame| {
        let values = args[0].booleans()?;
        let result: ArrayRef = booleans_by_row(frame.rows, |row| Some((values.get(row) == Some(expected)) != negated));
        Ok(result)
    }))
}

fn is_true(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    truth(true, false)
}
fn is_not_true(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    truth(true, true)
}
fn is_false(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    truth(false, false)
}
fn is_not_false(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    truth(false, true)
}
