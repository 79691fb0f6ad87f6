//! Least restrictive common types, and the precision and scale of decimal arithmetic.

use tidemill_common::types::{DECIMAL_PRECISION_MAX, DataType, Field, LogicalType};

/// The least restrictive type that values of all these types fit in, as Flink finds it for `CASE`,
/// `COALESCE`, `UNION` and array constructors; `None` if there is none.
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let (first, rest) = types.split_first()?;
    let mut logical = first.logical.clone();
    for data_type in rest {
        logical = common_logical(&logical, &data_type.logical)?;
    }
    Some(logical.with_nullable(types.iter().any(|data_type| data_type.nullable)))
}

/// [`common_type`] as Flink's own functions (`COALESCE`, `GREATEST`, ...) find it: of FLOAT and DOUBLE it is
/// DOUBLE, where Calcite's `CASE` takes the first.
pub(crate) fn wider_type(types: &[DataType]) -> Option<DataType> {
    let common = common_type(types)?;
    let double = types.iter().any(|data_type| data_type.logical == LogicalType::Double);
    if common.logical == LogicalType::Float && double {
        return Some(LogicalType::Double.with_nullable(common.nullable));
    }
    Some(common)
}

/// [`common_type`] of two, without nullability.
pub(crate) fn common_logical(left: &LogicalType, right: &LogicalType) -> Option<LogicalType> {
    use LogicalType as L;
    if left == right {
        return Some(left.clone());
    }
    Some(match (left, right) {
        (L::Null, other) | (other, L::Null) => other.clone(),
        (l, r) if l.is_numeric() && r.is_numeric() => common_numeric(l, r),
        (L::Char(l), L::Char(r) | L::Varchar(r)) | (L::Varchar(l), L::Char(r) | L::Varchar(r)) => L::Varchar(*l.max(r)),
        (L::Binary(l), L::Binary(r) | L::Varbinary(r)) | (L::Varbinary(l), L::Binary(r) | L::Varbinary(r)) => {
            L::Varbinary(*l.max(r))
        }
        (L::Time(l), L::Time(r)) => L::Time(*l.max(r)),
        (L::Timestamp(l), L::Timestamp(r)) => L::Timestamp(*l.max(r)),
        (L::TimestampLtz(l), L::TimestampLtz(r) | L::Timestamp(r)) | (L::Timestamp(l), L::TimestampLtz(r)) => {
            L::TimestampLtz(*l.max(r))
        }
        (L::Date, L::Timestamp(precision)) | (L::Timestamp(precision), L::Date) => L::Timestamp(*precision),
        (L::Array(l), L::Array(r)) => L::Array(Box::new(common_pair(l, r)?)),
        (L::Map(lk, lv), L::Map(rk, rv)) => L::Map(Box::new(common_pair(lk, rk)?), Box::new(common_pair(lv, rv)?)),
        (L::Row(l), L::Row(r)) if l.len() == r.len() => L::Row(
            l.iter()
                .zip(r)
                .map(|(l, r)| Some(Field::new(l.name.clone(), common_pair(&l.data_type, &r.data_type)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn common_pair(left: &DataType, right: &DataType) -> Option<DataType> {
    Some(common_logical(&left.logical, &right.logical)?.with_nullable(left.nullable || right.nullable))
}

/// Calcite gives FLOAT and DOUBLE the same precision, so that of two approximate types the first wins.
fn common_numeric(left: &LogicalType, right: &LogicalType) -> LogicalType {
    use LogicalType as L;
    let approximate = |t: &L| matches!(t, L::Float | L::Double);
    match (left, right) {
        (l, r) if approximate(l) && approximate(r) => l.clone(),
        (L::Decimal(..), r) if approximate(r) => L::Double,
        (l, L::Decimal(..)) if approximate(l) => L::Double,
        (l, _) if approximate(l) => l.clone(),
        (_, r) if approximate(r) => r.clone(),
        (L::Decimal(..), _) | (_, L::Decimal(..)) => {
            let ((lp, ls), (rp, rs)) = (as_decimal(left), as_decimal(right));
            let scale = ls.max(rs);
            adjust_decimal((lp - ls).max(rp - rs) + scale, scale)
        }
        (l, r) => {
            if integer_rank(l) >= integer_rank(r) {
                l.clone()
            } else {
                r.clone()
            }
        }
    }
}

fn integer_rank(logical: &LogicalType) -> u8 {
    match logical {
        LogicalType::TinyInt => 1,
        LogicalType::SmallInt => 2,
        LogicalType::Int => 3,
        _ => 4,
    }
}

/// Precision and scale of the decimal that holds every value of an exact numeric type.
pub(crate) fn as_decimal(logical: &LogicalType) -> (u32, u32) {
    match logical {
        LogicalType::TinyInt => (3, 0),
        LogicalType::SmallInt => (5, 0),
        LogicalType::Int => (10, 0),
        LogicalType::BigInt => (19, 0),
        LogicalType::Decimal(precision, scale) => (u32::from(*precision), u32::from(*scale)),
        _ => (38, 18),
    }
}

/// Fits precision and scale into 38 digits: integer digits are kept before fractional ones, but at
/// least `min(scale, 6)` fractional digits stay.
pub(crate) fn adjust_decimal(precision: u32, scale: u32) -> LogicalType {
    let max = u32::from(DECIMAL_PRECISION_MAX);
    if precision <= max {
        return LogicalType::Decimal(precision.max(1) as u8, scale as u8);
    }
    let integer_digits = precision - scale;
    let scale = max.saturating_sub(integer_digits).max(scale.min(6));
    LogicalType::Decimal(DECIMAL_PRECISION_MAX, scale as u8)
}

/// Type of the sum or difference.
pub(crate) fn decimal_add((lp, ls): (u32, u32), (rp, rs): (u32, u32)) -> LogicalType {
    let scale = ls.max(rs);
    adjust_decimal((lp - ls).max(rp - rs) + scale + 1, scale)
}

/// Type of the product.
pub(crate) fn decimal_multiply((lp, ls): (u32, u32), (rp, rs): (u32, u32)) -> LogicalType {
    adjust_decimal(lp + rp + 1, ls + rs)
}

/// Type of the quotient.
pub(crate) fn decimal_divide((lp, ls): (u32, u32), (rp, rs): (u32, u32)) -> LogicalType {
    let scale = (ls + rp + 1).max(6);
    adjust_decimal(lp - ls + rs + scale, scale)
}

/// Type of the remainder.
pub(crate) fn decimal_remainder((lp, ls): (u32, u32), (rp, rs): (u32, u32)) -> LogicalType {
    let scale = ls.max(rs);
    adjust_decimal((lp - ls).min(rp - rs) + scale, scale)
}

/// Type of `ROUND(x, digits)` and `TRUNCATE(x, digits)`.
pub(crate) fn decimal_round(precision: u8, scale: u8, digits: i64) -> LogicalType {
    if digits >= i64::from(scale) {
        return LogicalType::Decimal(precision, scale);
    }
    let kept = digits.max(0) as u8;
    LogicalType::Decimal((1 + precision - scale + kept).min(DECIMAL_PRECISION_MAX), kept)
}
