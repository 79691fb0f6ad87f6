//! Numeric functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use super::arithmetic::decimal_array;
use crate::bind::{BindError, call, cast_to, decimal_round, literal_integer};
use crate::decimal;
use crate::eval::value::{Value, primitives_by_row, unary};
use crate::eval::{CompileError, EvalError};
use crate::format::format_double;
use crate::java_math;
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};

const fn numeric(
    name: &'static str,
    params: &'static [Param],
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Arithmetic, params, returns, compile).doc(signature, description)
}

macro_rules! real {
    ($name:literal, $signature:literal, $description:literal, $f:expr) => {
        numeric($name, &[Param::Double], returns::double, |_| real($f), $signature, $description)
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    numeric("ABS", &[Param::Number], returns::first, abs, "ABS(a)", "Absolute value."),
    numeric("SIGN", &[Param::Number], returns::first, sign, "SIGN(a)", "-1, 0 or 1, in the type of a."),
    numeric(
        "FLOOR",
        &[],
        returns::first,
        |site| whole(site, Direction::Down),
        "FLOOR(a)\nFLOOR(time TO unit)",
        "The largest whole number not above a.",
    )
    .custom(|args| bind_whole("FLOOR", args)),
    numeric(
        "CEIL",
        &[],
        returns::first,
        |site| whole(site, Direction::Up),
        "CEIL(a)\nCEIL(time TO unit)",
        "The smallest whole number not below a.",
    )
    .alias(&["CEILING"])
    .custom(|args| bind_whole("CEIL", args)),
    numeric(
        "ROUND",
        &[Param::Number, Param::Int],
        rounded,
        |site| round(site, true),
        "ROUND(a[, digits])",
        "Rounded half up (away from zero) to digits behind the point; negative digits round tens.",
    )
    .optional_after(1),
    numeric(
        "TRUNCATE",
        &[Param::Number, Param::Int],
        rounded,
        |site| round(site, false),
        "TRUNCATE(a[, digits])",
        "Cut to digits behind the point.",
    )
    .optional_after(1),
    numeric(
        "POWER",
        &[Param::Double, Param::Double],
        returns::double,
        |_| real2(f64::powf),
        "POWER(a, b)",
        "a to the power of b. DOUBLE.",
    ),
    numeric(
        "LOG",
        &[Param::Double, Param::Double],
        returns::double,
        log,
        "LOG(a)\nLOG(base, a)",
        "Logarithm, natural unless a base is given.",
    )
    .optional_after(1),
    numeric(
        "ATAN2",
        &[Param::Double, Param::Double],
        returns::double,
        |_| real2(f64::atan2),
        "ATAN2(a, b)",
        "Angle of the point (b, a).",
    ),
    real!("SQRT", "SQRT(a)", "Square root. DOUBLE.", f64::sqrt),
    real!("EXP", "EXP(a)", "e to the power of a.", f64::exp),
    real!("LN", "LN(a)", "Natural logarithm.", java_math::ln),
    real!("LOG10", "LOG10(a)", "Logarithm of base 10.", java_math::log10),
    real!("LOG2", "LOG2(a)", "Logarithm of base 2.", |a| java_math::ln(a) / std::f64::consts::LN_2),
    real!("SIN", "SIN(a)", "Sine.", f64::sin),
    real!("COS", "COS(a)", "Cosine.", f64::cos),
    real!("TAN", "TAN(a)", "Tangent.", f64::tan),
    real!("COT", "COT(a)", "Cotangent.", |a| 1.0 / a.tan()),
    real!("ASIN", "ASIN(a)", "Arc sine.", f64::asin),
    real!("ACOS", "ACOS(a)", "Arc cosine.", f64::acos),
    real!("ATAN", "ATAN(a)", "Arc tangent.", f64::atan),
    real!("SINH", "SINH(a)", "Hyperbolic sine.", java_math::sinh),
    real!("COSH", "COSH(a)", "Hyperbolic cosine.", java_math::cosh),
    real!("TANH", "TANH(a)", "Hyperbolic tangent.", f64::tanh),
    real!("DEGREES", "DEGREES(a)", "Radians to degrees.", |a| a * 57.295_779_513_082_32),
    real!("RADIANS", "RADIANS(a)", "Degrees to radians.", |a| a * 0.017_453_292_519_943_295),
    numeric("PI", &[], returns::double, |_| constant(std::f64::consts::PI), "PI()", "3.14159...").never_null(),
    numeric("E", &[], returns::double, |_| constant(std::f64::consts::E), "E()", "2.71828...").never_null(),
];

type Compiled = Result<Kernel, CompileError>;

fn real(f: fn(f64) -> f64) -> Compiled {
    Ok(Box::new(move |args, frame| Ok(Arc::new(unary::<Float64Type, Float64Type>(&args[0], frame.rows, f)?))))
}

fn real2(f: fn(f64, f64) -> f64) -> Compiled {
    Ok(Box::new(move |args, frame| {
        let (left, right) = (args[0].primitives::<Float64Type>()?, args[1].primitives::<Float64Type>()?);
        Ok(primitives_by_row::<Float64Type>(frame.rows, |row| Some(f(left.get(row)?, right.get(row)?))))
    }))
}

fn log(site: &CallSite<'_>) -> Compiled {
    if site.args.len() == 1 {
        real(java_math::ln)
    } else {
        real2(|base, value| java_math::ln(value) / java_math::ln(base))
    }
}

fn constant(value: f64) -> Compiled {
    Ok(Box::new(move |_, frame| Ok(primitives_by_row::<Float64Type>(frame.rows, |_| Some(value)))))
}

/// Applies one of these to a number of any type.
struct ByType {
    integer: fn(i64) -> i64,
    real: fn(f64) -> f64,
    decimal: fn(i128, u8) -> i128,
}

fn by_type(site: &CallSite<'_>, f: ByType) -> Compiled {
    fn kernel<T: ArrowPrimitiveType>(f: impl Fn(T::Native) -> T::Native + Send + Sync + 'static) -> Kernel {
        Box::new(move |args, frame| {
            let result = unary::<T, T>(&args[0], frame.rows, &f)?;
            Ok(Arc::new(result.with_data_type(args[0].array().data_type().clone())))
        })
    }
    let ByType { integer, real, decimal } = f;
    Ok(match &site.args[0].data_type().logical {
        LogicalType::TinyInt => kernel::<Int8Type>(move |v| integer(i64::from(v)) as i8),
        LogicalType::SmallInt => kernel::<Int16Type>(move |v| integer(i64::from(v)) as i16),
        LogicalType::Int => kernel::<Int32Type>(move |v| integer(i64::from(v)) as i32),
        LogicalType::BigInt => kernel::<Int64Type>(integer),
        LogicalType::Float => kernel::<Float32Type>(move |v| real(f64::from(v)) as f32),
        LogicalType::Double => kernel::<Float64Type>(real),
        LogicalType::Decimal(_, scale) => {
            let scale = *scale;
            kernel::<Decimal128Type>(move |v| decimal(v, scale))
        }
        other => return Err(CompileError::invalid(format!("{other} is not a number"))),
    })
}

fn abs(site: &CallSite<'_>) -> Compiled {
    by_type(site, ByType { integer: i64::wrapping_abs, real: f64::abs, decimal: |value, _| value.abs() })
}

fn sign(site: &CallSite<'_>) -> Compiled {
    by_type(
        site,
        ByType {
            integer: i64::signum,
            real: |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
            decimal: |value, scale| value.signum() * decimal::power_of_ten(scale).unwrap_or(1),
        },
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

fn bind_whole(name: &'static str, args: Vec<Expr>) -> Result<Expr, BindError> {
    if args.len() == 2 {
        let to = if name == "FLOOR" { "FLOOR TO" } else { "CEIL TO" };
        return match crate::registry::find(to) {
            Some(function) => function.bind(args),
            None => Err(BindError::new(format!("{name} takes a number"))),
        };
    }
    let [value] = <[Expr; 1]>::try_from(args)
        .map_err(|args| BindError::new(format!("{name} takes 1 or 2 arguments, not {}", args.len())))?;
    let value = if value.data_type().logical == LogicalType::Null { cast_to(value, &LogicalType::Int)? } else { value };
    let logical = match &value.data_type().logical {
        LogicalType::Decimal(precision, _) => LogicalType::Decimal(*precision, 0),
        logical if logical.is_numeric() => logical.clone(),
        other => return Err(BindError::new(format!("{name} takes a number, or a time and a unit, not {other}"))),
    };
    let nullable = value.data_type().nullable;
    Ok(call(name, vec![value], logical.with_nullable(nullable)))
}

fn whole(site: &CallSite<'_>, direction: Direction) -> Compiled {
    let up = direction == Direction::Up;
    match site.args[0].data_type().logical {
        LogicalType::Decimal(precision, scale) => Ok(Box::new(move |args, frame| {
            let values = args[0].primitives::<Decimal128Type>()?;
            let power = decimal::power_of_ten(scale).unwrap_or(1);
            let round = |value: i128| {
                let whole = value.div_euclid(power);
                if up && value.rem_euclid(power) != 0 { whole + 1 } else { whole }
            };
            decimal_array((0..frame.rows).map(|row| values.get(row).map(round)).collect(), precision, 0)
        })),
        _ => by_type(
            site,
            ByType { integer: |value| value, real: if up { f64::ceil } else { f64::floor }, decimal: |value, _| value },
        ),
    }
}

/// With literal digits a DECIMAL loses scale; otherwise it keeps its type.
fn rounded(args: &[Expr]) -> Result<LogicalType, BindError> {
    let logical = &args[0].data_type().logical;
    let LogicalType::Decimal(precision, scale) = logical else { return Ok(logical.clone()) };
    let digits = match args.get(1) {
        None => Some(0),
        Some(digits) => literal_integer(digits),
    };
    Ok(match digits {
        Some(digits) => decimal_round(*precision, *scale, digits),
        None => logical.clone(),
    })
}

/// Rounds or cuts the number that the double's shortest text says, as Java's BigDecimal.valueOf.
fn round_real(value: f64, digits: i64, half_up: bool) -> f64 {
    if !value.is_finite() {
        return value;
    }
    let mut text = String::with_capacity(24);
    format_double(value, &mut text);
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let unscaled: i128 = mantissa.replace('.', "").parse().unwrap_or(0);
    // value = unscaled * 10^-scale
    let scale = fraction - exponent;
    if digits >= scale {
        return value;
    }
    let Some(power) = u8::try_from(scale - digits).ok().and_then(decimal::power_of_ten) else { return 0.0 };
    let (mut quotient, rest) = (unscaled / power, unscaled % power);
    if half_up && rest.abs() >= power - rest.abs() {
        quotient += unscaled.signum();
    }
    if quotient == 0 {
        return 0.0;
    }
    format!("{quotient}e{}", -digits).parse().unwrap_or(value)
}

/// As in Flink, which rounds in decimal digits, NaN and the infinities are errors.
fn finite(mut values: impl Iterator<Item = f64>) -> Result<(), EvalError> {
    match values.find(|value| !value.is_finite()) {
        Some(value) => Err(EvalError::new(format!("ROUND and TRUNCATE take finite numbers, not {value}"))),
        None => Ok(()),
    }
}

fn round(site: &CallSite<'_>, half_up: bool) -> Compiled {
    let logical = site.args[0].data_type().logical.clone();
    let result = site.data_type.logical.clone();
    fn integers<T: ArrowPrimitiveType>(
        args: &[Value],
        rows: usize,
        half_up: bool,
        narrow: fn(i128) -> T::Native,
    ) -> Result<ArrayRef, EvalError>
    where
        i128: From<T::Native>,
    {
        let values = args[0].primitives::<T>()?;
        let digits = args.get(1).map(Value::primitives::<Int32Type>).transpose()?;
        Ok(primitives_by_row::<T>(rows, |row| {
            let value = i128::from(values.get(row)?);
            let digits = match &digits {
                Some(digits) => i64::from(digits.get(row)?),
                None => 0,
            };
            Some(narrow(if half_up { decimal::round(value, 0, digits)? } else { decimal::cut(value, 0, digits) }))
        }))
    }
    Ok(Box::new(move |args, frame| {
        let rows = frame.rows;
        let digits = args.get(1).map(Value::primitives::<Int32Type>).transpose()?;
        let digits_of = |row: usize| match &digits {
            Some(digits) => digits.get(row).map(i64::from),
            None => Some(0),
        };
        Ok(match (&logical, &result) {
            (LogicalType::TinyInt, _) => integers::<Int8Type>(args, rows, half_up, |value| value as i8)?,
            (LogicalType::SmallInt, _) => integers::<Int16Type>(args, rows, half_up, |value| value as i16)?,
            (LogicalType::Int, _) => integers::<Int32Type>(args, rows, half_up, |value| value as i32)?,
            (LogicalType::BigInt, _) => integers::<Int64Type>(args, rows, half_up, |value| value as i64)?,
            (LogicalType::Float, _) => {
                let values = args[0].primitives::<Float32Type>()?;
                finite((0..rows).filter_map(|row| values.get(row)).map(f64::from))?;
                primitives_by_row::<Float32Type>(rows, |row| {
                    Some(round_real(f64::from(values.get(row)?), digits_of(row)?, half_up) as f32)
                })
            }
            (LogicalType::Double, _) => {
                let values = args[0].primitives::<Float64Type>()?;
                finite((0..rows).filter_map(|row| values.get(row)))?;
                primitives_by_row::<Float64Type>(rows, |row| {
                    Some(round_real(values.get(row)?, digits_of(row)?, half_up))
                })
            }
            (LogicalType::Decimal(_, scale), LogicalType::Decimal(precision, to_scale)) => {
                let values = args[0].primitives::<Decimal128Type>()?;
                let round = |row: usize| {
                    let (value, digits) = (values.get(row)?, digits_of(row)?);
                    let value = if half_up {
                        decimal::round(value, *scale, digits)?
                    } else {
                        decimal::cut(value, *scale, digits)
                    };
                    decimal::rescale(value, *scale, *precision, *to_scale)
                };
                decimal_array((0..rows).map(round).collect(), *precision, *to_scale)?
            }
            (other, _) => return Err(EvalError::new(format!("{other} is not a number"))),
        })
    }))
}
