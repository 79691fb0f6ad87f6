//! `+ - * / %` and the unary minus: integers wrap, a division by zero is an error, decimals that do
//! not fit are NULL, times move by intervals.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, Decimal128Array};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use tidemill_common::types::{DataType, LogicalType, timestamp_unit, units_per_millisecond};

use crate::calendar::{MILLIS_PER_DAY, add_months};
use crate::decimal;
use crate::eval::value::{Value, binary, try_primitives_by_row, unary};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Frame, Function, Kernel, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    operator(
        "+",
        "a + b",
        "Sum; integers wrap around, a DECIMAL that does not fit is NULL. Also TIMESTAMP, DATE or TIME plus INTERVAL.",
    ),
    operator("-", "a - b", "Difference. Also a time minus an INTERVAL."),
    operator("*", "a * b", "Product. Also an INTERVAL times an integer."),
    operator(
        "/",
        "a / b",
        "Quotient; of integers the integer part. Dividing an integer or DECIMAL by zero is an error.",
    )
    .can_fail(),
    operator("%", "a % b", "Remainder with the sign of a and the type of b.").alias(&["MOD"]).can_fail(),
    Function::new("NEGATE", Category::Arithmetic, &[], returns::first, negate).doc("- a", "Negation."),
];

const fn operator(name: &'static str, signature: &'static str, description: &'static str) -> Function {
    let compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError> = match name.as_bytes() {
        b"+" => add,
        b"-" => subtract,
        b"*" => multiply,
        b"/" => divide,
        _ => remainder,
    };
    Function::new(name, Category::Arithmetic, &[], returns::first, compile).doc(signature, description)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

fn add(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compile(Op::Add, site)
}
fn subtract(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compile(Op::Subtract, site)
}
fn multiply(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compile(Op::Multiply, site)
}
fn divide(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compile(Op::Divide, site)
}
fn remainder(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    compile(Op::Remainder, site)
}

fn compile(op: Op, site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    use LogicalType as L;
    let [left, right] = site.args else {
        return Err(CompileError::invalid("an arithmetic operator has two sides"));
    };
    let (l, r) = (&left.data_type().logical, &right.data_type().logical);
    let mismatch = || CompileError::invalid(format!("arithmetic on {l} and {r} is not planned that way"));
    Ok(match (l, r) {
        (L::TinyInt, L::TinyInt) => integers::<Int8Type>(op),
        (L::SmallInt, L::SmallInt) => integers::<Int16Type>(op),
        (L::Int, L::Int) => integers::<Int32Type>(op),
        (L::BigInt, L::BigInt) => integers::<Int64Type>(op),
        (L::Float, L::Float) => floats::<Float32Type>(op),
        (L::Double, L::Double) => floats::<Float64Type>(op),
        (L::Decimal(lp, ls), L::Decimal(rp, rs)) => decimals(op, (*lp, *ls), (*rp, *rs), site.data_type)?,
        (L::IntervalYearMonth, L::IntervalYearMonth) => intervals::<IntervalYearMonthType>(op).ok_or_else(mismatch)?,
        (L::IntervalDaySecond, L::IntervalDaySecond) => {
            intervals::<DurationMillisecondType>(op).ok_or_else(mismatch)?
        }
        (L::IntervalYearMonth, L::BigInt) if op == Op::Multiply => Box::new(|args, frame| {
            let result = binary::<IntervalYearMonthType, Int64Type, IntervalYearMonthType>(
                &args[0],
                &args[1],
                frame.rows,
                |interval, times| i64::from(interval).wrapping_mul(times) as i32,
            )?;
            Ok(Arc::new(result))
        }),
        (L::IntervalDaySecond, L::BigInt) if op == Op::Multiply => Box::new(|args, frame| {
            let result = binary::<DurationMillisecondType, Int64Type, DurationMillisecondType>(
                &args[0],
                &args[1],
                frame.rows,
                i64::wrapping_mul,
            )?;
            Ok(Arc::new(result))
        }),
        (_, L::IntervalYearMonth | L::IntervalDaySecond) if matches!(op, Op::Add | Op::Subtract) => {
            shift(l, r, if op == Op::Add { 1 } else { -1 }).ok_or_else(mismatch)?
        }
        _ => return Err(mismatch()),
    })
}

/// The error of a division of integers or decimals by zero.
pub(super) fn by_zero() -> EvalError {
    EvalError::new("division by zero")
}

fn integers<T: ArrowPrimitiveType>(op: Op) -> Kernel
where
    T::Native: ArrowNativeTypeOp,
{
    fn wrap<T: ArrowPrimitiveType>(f: fn(T::Native, T::Native) -> T::Native) -> Kernel {
        Box::new(move |args, frame| Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, f)?)))
    }
    match op {
        Op::Add => Box::new(|args, frame| {
            Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, |l, r| l.add_wrapping(r))?))
        }),
        Op::Subtract => Box::new(|args, frame| {
            Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, |l, r| l.sub_wrapping(r))?))
        }),
        Op::Multiply => wrap::<T>(|l, r| l.mul_wrapping(r)),
        Op::Divide => Box::new(|args, frame| integer_division::<T>(args, frame, |l, r| l.div_wrapping(r))),
        Op::Remainder => Box::new(|args, frame| integer_division::<T>(args, frame, |l, r| l.mod_wrapping(r))),
    }
}

fn integer_division<T: ArrowPrimitiveType>(
    args: &[Value],
    frame: &Frame<'_>,
    f: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef, EvalError>
where
    T::Native: ArrowNativeTypeOp,
{
    let divisors = args[1].primitives::<T>()?;
    if args[1].is_scalar()
        && let Some(divisor) = divisors.get(0)
        && !divisor.is_zero()
    {
        return Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, f)?));
    }
    let dividends = args[0].primitives::<T>()?;
    try_primitives_by_row::<T>(frame.rows, |row| match (dividends.get(row), divisors.get(row)) {
        (Some(_), Some(divisor)) if divisor.is_zero() => Err(by_zero()),
        (Some(dividend), Some(divisor)) => Ok(Some(f(dividend, divisor))),
        _ => Ok(None),
    })
}

fn floats<T: ArrowPrimitiveType>(op: Op) -> Kernel
where
    T::Native: ArrowNativeTypeOp,
{
    match op {
        Op::Add => integers::<T>(Op::Add),
        Op::Subtract => integers::<T>(Op::Subtract),
        Op::Multiply => integers::<T>(Op::Multiply),
        Op::Divide => Box::new(|args, frame| {
            Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, |l, r| l.div_wrapping(r))?))
        }),
        Op::Remainder => Box::new(|args, frame| {
            Ok(Arc::new(binary::<T, T, T>(&args[0], &args[1], frame.rows, |l, r| l.mod_wrapping(r))?))
        }),
    }
}

fn decimals(
    op: Op,
    (left_precision, left_scale): (u8, u8),
    (right_precision, right_scale): (u8, u8),
    result: &DataType,
) -> Result<Kernel, CompileError> {
    let LogicalType::Decimal(precision, scale) = result.logical else {
        return Err(CompileError::invalid(format!("decimal arithmetic gives {result}")));
    };
    // Where the result type holds every value, nothing is rounded and nothing overflows.
    let exact: Option<(i128, i128)> = match op {
        Op::Multiply if scale == left_scale + right_scale && left_precision + right_precision <= precision => {
            Some((1, 1))
        }
        Op::Add | Op::Subtract if scale == left_scale.max(right_scale) => {
            let whole = (left_precision - left_scale).max(right_precision - right_scale);
            decimal::power_of_ten(scale - left_scale)
                .zip(decimal::power_of_ten(scale - right_scale))
                .filter(|_| whole + scale < precision)
        }
        _ => None,
    };
    if let Some((left_factor, right_factor)) = exact {
        return Ok(Box::new(move |args, frame| {
            let (left, right, rows) = (&args[0], &args[1], frame.rows);
            let array = match op {
                Op::Multiply => {
                    binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, rows, i128::wrapping_mul)
                }
                Op::Add => binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, rows, |l, r| {
                    l.wrapping_mul(left_factor).wrapping_add(r.wrapping_mul(right_factor))
                }),
                _ => binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, rows, |l, r| {
                    l.wrapping_mul(left_factor).wrapping_sub(r.wrapping_mul(right_factor))
                }),
            }?;
            Ok(Arc::new(array.with_precision_and_scale(precision, scale as i8)?))
        }));
    }
    type Calculate = fn(i128, u8, i128, u8, u8, u8) -> Option<i128>;
    let calculate: Calculate = match op {
        Op::Add => decimal::add,
        Op::Subtract => |l, ls, r, rs, p, s| decimal::add(l, ls, r.checked_neg()?, rs, p, s),
        Op::Multiply => decimal::multiply,
        Op::Divide => decimal::divide,
        Op::Remainder => decimal::remainder,
    };
    let divides = matches!(op, Op::Divide | Op::Remainder);
    Ok(Box::new(move |args, frame| {
        let (left, right) = (args[0].primitives::<Decimal128Type>()?, args[1].primitives::<Decimal128Type>()?);
        let mut values = Vec::with_capacity(frame.rows);
        for row in 0..frame.rows {
            values.push(match (left.get(row), right.get(row)) {
                (Some(_), Some(0)) if divides => return Err(by_zero()),
                (Some(l), Some(r)) => calculate(l, left_scale, r, right_scale, precision, scale),
                _ => None,
            });
        }
        decimal_array(values, precision, scale)
    }))
}

/// A DECIMAL column.
pub(super) fn decimal_array(values: Vec<Option<i128>>, precision: u8, scale: u8) -> Result<ArrayRef, EvalError> {
    let array = Decimal128Array::from(values).with_precision_and_scale(precision, scale as i8)?;
    Ok(Arc::new(array))
}

fn intervals<T: ArrowPrimitiveType>(op: Op) -> Option<Kernel>
where
    T::Native: ArrowNativeTypeOp,
{
    matches!(op, Op::Add | Op::Subtract).then(|| integers::<T>(op))
}

/// A time moved by an interval.
fn shift(time: &LogicalType, interval: &LogicalType, sign: i64) -> Option<Kernel> {
    use LogicalType as L;
    let months = *interval == L::IntervalYearMonth;
    Some(match time {
        L::Date if months => Box::new(move |args, frame| {
            let result = binary::<Date32Type, IntervalYearMonthType, Date32Type>(
                &args[0],
                &args[1],
                frame.rows,
                |days, months| add_months(i64::from(days), sign * i64::from(months)) as i32,
            )?;
            Ok(Arc::new(result))
        }),
        L::Date => Box::new(move |args, frame| {
            let result = binary::<Date32Type, DurationMillisecondType, Date32Type>(
                &args[0],
                &args[1],
                frame.rows,
                |days, millis| days.wrapping_add((sign * (millis / MILLIS_PER_DAY)) as i32),
            )?;
            Ok(Arc::new(result))
        }),
        L::Time(_) if !months => Box::new(move |args, frame| {
            let result = binary::<Time32MillisecondType, DurationMillisecondType, Time32MillisecondType>(
                &args[0],
                &args[1],
                frame.rows,
                |time, millis| {
                    i64::from(time).wrapping_add(sign.wrapping_mul(millis)).rem_euclid(MILLIS_PER_DAY) as i32
                },
            )?;
            Ok(Arc::new(result))
        }),
        L::Timestamp(precision) | L::TimestampLtz(precision) => {
            let factor = units_per_millisecond(*precision);
            match timestamp_unit(*precision) {
                TimeUnit::Microsecond => shift_timestamp::<TimestampMicrosecondType>(months, factor, sign),
                TimeUnit::Nanosecond => shift_timestamp::<TimestampNanosecondType>(months, factor, sign),
                _ => shift_timestamp::<TimestampMillisecondType>(months, factor, sign),
            }
        }
        _ => return None,
    })
}

fn shift_timestamp<T: ArrowPrimitiveType<Native = i64>>(months: bool, factor: i64, sign: i64) -> Kernel {
    let per_day = MILLIS_PER_DAY * factor;
    let finish = move |array: arrow::array::PrimitiveArray<T>, source: &Value| -> ArrayRef {
        Arc::new(array.with_data_type(source.array().data_type().clone()))
    };
    if !months {
        return Box::new(move |args, frame| {
            let result = binary::<T, DurationMillisecondType, T>(&args[0], &args[1], frame.rows, |time, millis| {
                time.wrapping_add(sign.wrapping_mul(millis).wrapping_mul(factor))
            })?;
            Ok(finish(result, &args[0]))
        });
    }
    let move_months = move |time: i64, months: i32| {
        let days = add_months(time.div_euclid(per_day), sign * i64::from(months));
        days.wrapping_mul(per_day).wrapping_add(time.rem_euclid(per_day))
    };
    // Months of instants are counted in UTC, as Flink does.
    Box::new(move |args, frame| {
        let result = binary::<T, IntervalYearMonthType, T>(&args[0], &args[1], frame.rows, move_months)?;
        Ok(finish(result, &args[0]))
    })
}

fn negate(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    use LogicalType as L;
    fn of<T: ArrowPrimitiveType>() -> Kernel
    where
        T::Native: ArrowNativeTypeOp,
    {
        Box::new(|args, frame| {
            let result = unary::<T, T>(&args[0], frame.rows, |value| value.neg_wrapping())?;
            Ok(Arc::new(result.with_data_type(args[0].array().data_type().clone())))
        })
    }
    Ok(match &site.data_type.logical {
        L::TinyInt => of::<Int8Type>(),
        L::SmallInt => of::<Int16Type>(),
        L::Int => of::<Int32Type>(),
        L::BigInt => of::<Int64Type>(),
        L::Float => of::<Float32Type>(),
        L::Double => of::<Float64Type>(),
        L::Decimal(..) => of::<Decimal128Type>(),
        L::IntervalYearMonth => of::<IntervalYearMonthType>(),
        L::IntervalDaySecond => of::<DurationMillisecondType>(),
        other => return Err(CompileError::invalid(format!("the minus of {other} is not planned"))),
    })
}
