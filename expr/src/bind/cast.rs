//! Explicit casts, and the implicit ones of INSERT and UNION.

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{DataType, LogicalType};

use super::BindError;

/// Binds `CAST(input AS target)` or `TRY_CAST`. The result is nullable if the input is, or when it is a
/// TRY_CAST, whatever `target` says.
///
/// # Errors
/// If Flink does not cast between these types.
pub fn bind_cast(input: Expr, target: DataType, try_cast: bool) -> Result<Expr, BindError> {
    check_cast(&input.data_type().logical, &target.logical)?;
    let nullable = input.data_type().nullable || try_cast || decimal_may_overflow(&input, &target.logical);
    Ok(Expr::Cast { input: Box::new(input), data_type: target.logical.with_nullable(nullable), try_cast })
}

/// Casts to a type, keeping the nullability; nothing is done if the type is the same. A bare NULL
/// becomes a NULL of the type.
pub(crate) fn cast_to(expr: Expr, logical: &LogicalType) -> Result<Expr, BindError> {
    if expr.data_type().logical == *logical {
        return Ok(expr);
    }
    if matches!(&expr, Expr::Literal { value: Scalar::Null, .. }) {
        return Ok(Expr::Literal { value: Scalar::Null, data_type: logical.clone().nullable() });
    }
    bind_cast(expr, logical.clone().not_null(), false)
}

/// A decimal that does not fit becomes NULL, not an error.
fn decimal_may_overflow(input: &Expr, target: &LogicalType) -> bool {
    let LogicalType::Decimal(precision, scale) = target else { return false };
    let (from_precision, from_scale) = match &input.data_type().logical {
        LogicalType::Float | LogicalType::Double => return true,
        logical if logical.is_numeric() => super::as_decimal(logical),
        _ => return false,
    };
    u32::from(precision - scale) < from_precision - from_scale
}

/// Whether a cast exists.
pub(crate) fn check_cast(from: &LogicalType, to: &LogicalType) -> Result<(), BindError> {
    use LogicalType as L;
    let allowed = match (from, to) {
        (l, r) if l == r => true,
        (L::Null, _) => true,
        (_, L::Null) => false,
        (_, t) if t.is_string() => true,
        (f, L::Row(_) | L::Array(_) | L::Map(..)) if f.is_string() => false,
        (f, L::IntervalYearMonth | L::IntervalDaySecond) if f.is_string() => false,
        (f, _) if f.is_string() => true,
        (L::Boolean, t) => t.is_numeric(),
        (f, L::Boolean) => f.is_numeric(),
        (f, t) if f.is_numeric() && t.is_numeric() => true,
        (f, L::Timestamp(_) | L::TimestampLtz(_)) if f.is_numeric() => {
            return Err(BindError::new(format!(
                "the cast from {from} to {to} is not clear about its unit and zone; use TO_TIMESTAMP_LTZ(value, 0 or 3) instead"
            )));
        }
        (L::Timestamp(_) | L::TimestampLtz(_), t) if t.is_numeric() => {
            return Err(BindError::new(format!(
                "the cast from {from} to {to} is not clear about its unit and zone; use EXTRACT or UNIX_TIMESTAMP instead"
            )));
        }
        (L::Binary(_) | L::Varbinary(_), L::Binary(_) | L::Varbinary(_)) => true,
        (L::Date, L::Timestamp(_) | L::TimestampLtz(_)) => true,
        (L::Time(_), L::Time(_) | L::Timestamp(_) | L::TimestampLtz(_)) => true,
        (L::Timestamp(_) | L::TimestampLtz(_), L::Date | L::Time(_) | L::Timestamp(_) | L::TimestampLtz(_)) => true,
        (L::Array(f), L::Array(t)) => return check_cast(&f.logical, &t.logical),
        (L::Multiset(f), L::Multiset(t)) => f.logical == t.logical,
        (L::Map(fk, fv), L::Map(tk, tv)) => {
            check_cast(&fk.logical, &tk.logical)?;
            return check_cast(&fv.logical, &tv.logical);
        }
        (L::Row(f), L::Row(t)) if f.len() == t.len() => {
            for (f, t) in f.iter().zip(t) {
                check_cast(&f.data_type.logical, &t.data_type.logical)?;
            }
            true
        }
        _ => false,
    };
    if allowed { Ok(()) } else { Err(BindError::new(format!("a value of type {from} cannot be cast to {to}"))) }
}

/// Converts implicitly, as Flink does for INSERT and UNION: to a wider number, to another length of
/// the same kind of text, between timestamps; anything else is an error.
///
/// # Errors
/// If the types do not convert implicitly.
pub fn coerce(expr: Expr, to: &DataType) -> Result<Expr, BindError> {
    let from = &expr.data_type().logical;
    if !implicit(from, &to.logical) {
        return Err(BindError::new(format!(
            "a value of type {from} does not convert to {} by itself; add a CAST",
            to.logical
        )));
    }
    cast_to(expr, &to.logical)
}

fn implicit(from: &LogicalType, to: &LogicalType) -> bool {
    use LogicalType as L;
    let rank = |logical: &L| match logical {
        L::TinyInt => Some(1),
        L::SmallInt => Some(2),
        L::Int => Some(3),
        L::BigInt => Some(4),
        L::Decimal(..) => Some(5),
        L::Float => Some(6),
        L::Double => Some(7),
        _ => None,
    };
    match (from, to) {
        (L::Null, _) => true,
        (f, t) if f == t => true,
        (L::Decimal(..), L::Decimal(..)) => true,
        (f, t) if f.is_numeric() && t.is_numeric() => rank(f) <= rank(t),
        (L::Varchar(_), L::Char(_)) => false,
        (f, t) if f.is_string() && t.is_string() => true,
        (L::Binary(_) | L::Varbinary(_), L::Binary(_) | L::Varbinary(_)) => true,
        (L::Date, L::Timestamp(_)) => true,
        (L::Time(_), L::Time(_)) => true,
        (L::Timestamp(_) | L::TimestampLtz(_), L::Timestamp(_) | L::TimestampLtz(_)) => true,
        (L::Array(f), L::Array(t)) => implicit(&f.logical, &t.logical),
        (L::Multiset(f), L::Multiset(t)) => f.logical == t.logical,
        (L::Map(fk, fv), L::Map(tk, tv)) => implicit(&fk.logical, &tk.logical) && implicit(&fv.logical, &tv.logical),
        (L::Row(f), L::Row(t)) => {
            f.len() == t.len() && f.iter().zip(t).all(|(f, t)| implicit(&f.data_type.logical, &t.data_type.logical))
        }
        _ => false,
    }
}
