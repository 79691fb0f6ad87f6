//! Literals: numbers, strings, typed temporal literals and intervals.

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{DECIMAL_PRECISION_MAX, LogicalType};

use super::BindError;
use crate::parse;

/// `1` is INT, `3000000000` BIGINT, `1.5` DECIMAL(2, 1), `1e3` DOUBLE.
///
/// # Errors
/// If the text is not a number, or has more than 38 digits.
pub fn literal_number(text: &str) -> Result<Expr, BindError> {
    let broken = || BindError::new(format!("'{text}' is not a number"));
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| broken())?;
        if !value.is_finite() {
            return Err(BindError::new(format!("the number {text} does not fit in DOUBLE")));
        }
        return Ok(Expr::literal(Scalar::Double(value), LogicalType::Double));
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if integer.len() + fraction.len() == 0 || !integer.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(broken());
    }
    let too_long = || BindError::new(format!("the number {text} has more than {DECIMAL_PRECISION_MAX} digits"));
    // Leading zeros as written count as digits in Calcite: 0.7 is DECIMAL(2, 1).
    let precision = integer.len() + fraction.len();
    let unscaled: i128 = format!("{integer}{fraction}").parse().map_err(|_| too_long())?;
    let unscaled = sign * unscaled;
    if fraction.is_empty() {
        if let Ok(value) = i32::try_from(unscaled) {
            return Ok(Expr::literal(Scalar::Int(value), LogicalType::Int));
        }
        if let Ok(value) = i64::try_from(unscaled) {
            return Ok(Expr::literal(Scalar::BigInt(value), LogicalType::BigInt));
        }
    }
    if precision > DECIMAL_PRECISION_MAX as usize {
        return Err(too_long());
    }
    Ok(Expr::literal(Scalar::Decimal(unscaled), LogicalType::Decimal(precision as u8, fraction.len() as u8)))
}

/// A string literal: CHAR(n) NOT NULL, n in UTF-16 units as in Java.
pub fn literal_string(text: &str) -> Expr {
    Expr::literal(Scalar::String(text.to_owned()), LogicalType::Char(text.encode_utf16().count() as u32))
}

/// `DATE '...'`, `TIME '...'`, `TIMESTAMP '...'`. The precision of a timestamp is the number of its
/// fractional digits.
///
/// # Errors
/// If the text has another form.
pub fn literal_typed(keyword: &str, text: &str) -> Result<Expr, BindError> {
    let broken = |form: &str| BindError::new(format!("{keyword} '{text}' does not have the form '{form}'"));
    let fraction = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.len());
    match keyword.to_uppercase().as_str() {
        "DATE" => {
            let days = parse::parse_date_strict(text).ok_or_else(|| broken("yyyy-MM-dd"))?;
            Ok(Expr::literal(Scalar::Date(days), LogicalType::Date))
        }
        "TIME" => {
            let millis = parse::parse_time(text)
                .filter(|_| text.bytes().filter(|byte| *byte == b':').count() == 2)
                .ok_or_else(|| broken("HH:mm:ss[.SSS]"))?;
            Ok(Expr::literal(Scalar::Time(millis), LogicalType::Time(fraction.min(3) as u8)))
        }
        "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => {
            let precision = fraction.min(9) as u8;
            let valid = text.is_ascii()
                && text.len() >= 10
                && parse::parse_date_strict(&text[..10]).is_some()
                && (text.len() == 10 || text.len() >= 19);
            let value = if valid { parse::parse_timestamp(text, precision) } else { None };
            let value = value.ok_or_else(|| broken("yyyy-MM-dd HH:mm:ss[.SSSSSSSSS]"))?;
            Ok(Expr::literal(Scalar::Timestamp(value), LogicalType::Timestamp(precision)))
        }
        other => Err(BindError::new(format!("{other} '{text}' is not supported; use a CAST"))),
    }
}

/// `INTERVAL 'text' from [TO to]`, with units such as `DAY` or `SECOND`. A leading minus inside the
/// text negates all of it.
///
/// # Errors
/// If the units do not go together or the text does not have their form.
pub fn literal_interval(text: &str, from: &str, to: Option<&str>) -> Result<Expr, BindError> {
    let from = from.to_uppercase();
    let from = from.strip_suffix('S').unwrap_or(&from);
    let to = to.map(str::to_uppercase);
    let to = to.as_deref().map(|to| to.strip_suffix('S').unwrap_or(to));
    let units = match to {
        Some(to) => format!("{from} TO {to}"),
        None => from.to_owned(),
    };
    let broken = || BindError::new(format!("'{text}' is not an INTERVAL {units}"));
    let trimmed = text.trim();
    let (sign, body) = match trimmed.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let number = |part: &str| -> Result<i64, BindError> {
        if part.is_empty() || part.len() > 15 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(broken());
        }
        part.parse().map_err(|_| broken())
    };
    let months = |value: i64| -> Result<Expr, BindError> {
        let value = i32::try_from(sign * value).map_err(|_| broken())?;
        Ok(Expr::literal(Scalar::IntervalMonths(value), LogicalType::IntervalYearMonth))
    };
    match (from, to) {
        ("YEAR", None) => return months(number(body)?.saturating_mul(12)),
        ("QUARTER", None) => return months(number(body)?.saturating_mul(3)),
        ("MONTH", None) => return months(number(body)?),
        ("YEAR", Some("MONTH")) => {
            let (years, rest) = body.split_once('-').ok_or_else(broken)?;
            let rest = number(rest)?;
            if rest > 11 {
                return Err(broken());
            }
            return months(number(years)?.saturating_mul(12) + rest);
        }
        _ => {}
    }
    const FIELDS: [(&str, i64); 4] = [("DAY", 86_400_000), ("HOUR", 3_600_000), ("MINUTE", 60_000), ("SECOND", 1_000)];
    if from == "WEEK" && to.is_none() {
        let millis = number(body)?.checked_mul(7 * 86_400_000).ok_or_else(broken)?;
        return Ok(Expr::literal(Scalar::IntervalMillis(sign * millis), LogicalType::IntervalDaySecond));
    }
    let position = |unit: &str| FIELDS.iter().position(|(name, _)| *name == unit);
    let unknown = || BindError::new(format!("INTERVAL {units} is not a valid combination of units"));
    let first = position(from).ok_or_else(unknown)?;
    let last = match to {
        Some(to) => position(to).filter(|last| *last > first).ok_or_else(unknown)?,
        None => first,
    };
    let parts: Vec<&str> = body.split([' ', ':']).filter(|part| !part.is_empty()).collect();
    if parts.len() != last - first + 1 {
        return Err(broken());
    }
    let mut millis: i64 = 0;
    for (index, part) in parts.iter().enumerate() {
        let (unit, factor) = FIELDS[first + index];
        let (whole, fraction) = match part.split_once('.') {
            Some((whole, fraction)) if unit == "SECOND" => (whole, fraction),
            Some(_) => return Err(broken()),
            None => (*part, ""),
        };
        let value = number(whole)?;
        let limit = [i64::MAX, 23, 59, 59][first + index];
        if index > 0 && value > limit {
            return Err(broken());
        }
        millis = value.checked_mul(factor).and_then(|value| millis.checked_add(value)).ok_or_else(broken)?;
        if !fraction.is_empty() {
            number(fraction)?;
            let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
            millis += number(&digits)?;
        }
    }
    Ok(Expr::literal(Scalar::IntervalMillis(sign * millis), LogicalType::IntervalDaySecond))
}
