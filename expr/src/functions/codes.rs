//! Kinds of characters, parts of texts, addresses.

use std::sync::Arc;

use arrow::array::BinaryBuilder;
use arrow::datatypes::Int64Type;
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use super::collections::string_lists;
use crate::bind::{BindError, call};
use crate::eval::CompileError;
use crate::eval::value::{booleans_by_row, primitives_by_row, strings_by_row};
use crate::parse;
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};

const TEXT: &[Param] = &[Param::Text];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("IS_ALPHA", Category::Conditional, TEXT, returns::boolean, |_| {
        every(|c| u32::from(c) < 0x10000 && c.is_alphabetic() && !is_mark(c))
    })
    .never_null()
    .doc("IS_ALPHA(a)", "Whether a text is of letters only; FALSE if it is empty or NULL."),
    Function::new("IS_DIGIT", Category::Conditional, TEXT, returns::boolean, |_| {
        every(|c| u32::from(c) < 0x10000 && c.is_numeric() && is_decimal_digit(c))
    })
    .never_null()
    .doc("IS_DIGIT(a)", "Whether a text is of digits only; FALSE if it is empty or NULL."),
    Function::new("IS_DECIMAL", Category::Conditional, TEXT, returns::boolean, is_decimal)
        .never_null()
        .custom(bind_is_decimal)
        .doc("IS_DECIMAL(a)", "Whether a text is a number as Java reads a double; FALSE if it is empty or NULL."),
    Function::new("SPLIT", Category::String, &[Param::Text, Param::Text], texts_type, split)
        .doc("SPLIT(a, separator)", "The parts of a text as an array; its characters if the separator is empty.")
        .differs("A character beyond the basic plane is not cut into its two UTF-16 units."),
    Function::new("UNHEX", Category::Conversion, TEXT, returns::bytes, unhex)
        .may_be_null()
        .doc("UNHEX(a)", "The bytes of hexadecimal digits; NULL if there is something else."),
    Function::new("INET_ATON", Category::Conversion, TEXT, returns::bigint, inet_aton)
        .may_be_null()
        .doc("INET_ATON(a)", "An IPv4 address as a number; NULL if it is none."),
    Function::new("INET_NTOA", Category::Conversion, &[Param::BigInt], returns::string, inet_ntoa)
        .may_be_null()
        .doc("INET_NTOA(n)", "A number as an IPv4 address; NULL if it has more than 32 bits."),
];

type Compiled = Result<Kernel, CompileError>;

fn texts_type(_: &[Expr]) -> Result<LogicalType, BindError> {
    Ok(LogicalType::Array(Box::new(LogicalType::STRING.nullable())))
}

/// Marks and letter numbers are alphabetic in Unicode, but no letters in Java.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{345}' | '\u{2160}'..='\u{2188}' | '\u{24B6}'..='\u{24E9}' | '\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3038}'..='\u{303A}' | '\u{5B0}'..='\u{5C7}' | '\u{610}'..='\u{61A}' | '\u{64B}'..='\u{65F}' | '\u{670}'
        | '\u{900}'..='\u{903}' | '\u{93A}'..='\u{93B}' | '\u{93E}'..='\u{94F}' | '\u{962}'..='\u{963}')
}

/// Numerals that are digits of a positional system: those of a block of ten from a zero.
fn is_decimal_digit(c: char) -> bool {
    c.is_ascii_digit()
        || matches!(c,
            '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}' | '\u{7C0}'..='\u{7C9}' | '\u{966}'..='\u{96F}'
            | '\u{9E6}'..='\u{9EF}' | '\u{A66}'..='\u{A6F}' | '\u{AE6}'..='\u{AEF}' | '\u{B66}'..='\u{B6F}'
            | '\u{BE6}'..='\u{BEF}' | '\u{C66}'..='\u{C6F}' | '\u{CE6}'..='\u{CEF}' | '\u{D66}'..='\u{D6F}'
            | '\u{E50}'..='\u{E59}' | '\u{ED0}'..='\u{ED9}' | '\u{F20}'..='\u{F29}' | '\u{1040}'..='\u{1049}'
            | '\u{17E0}'..='\u{17E9}' | '\u{1810}'..='\u{1819}' | '\u{FF10}'..='\u{FF19}')
}

fn every(test: fn(char) -> bool) -> Compiled {
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        Ok(booleans_by_row(frame.rows, |row| {
            Some(texts.get(row).is_some_and(|text| !text.is_empty() && text.chars().all(test)))
        }))
    }))
}

/// Numbers are decimal, whatever their type.
fn bind_is_decimal(args: Vec<Expr>) -> Result<Expr, BindError> {
    let [arg] = <[Expr; 1]>::try_from(args).map_err(|_| BindError::new("IS_DECIMAL takes 1 argument"))?;
    if arg.data_type().logical.is_numeric() {
        return Ok(call("IS NOT NULL", vec![arg], LogicalType::Boolean.not_null()));
    }
    let args = crate::registry::convert_arguments("IS_DECIMAL", TEXT, 1, false, vec![arg])?;
    Ok(call("IS_DECIMAL", args, LogicalType::Boolean.not_null()))
}

fn is_decimal(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        Ok(booleans_by_row(frame.rows, |row| {
            Some(texts.get(row).is_some_and(|text| parse::parse_double(text).is_some()))
        }))
    }))
}

fn split(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let (texts, separators) = (args[0].strings()?, args[1].strings()?);
        string_lists(frame.rows, |row, push| {
            let (Some(text), Some(separator)) = (texts.get(row), separators.get(row)) else { return Ok(false) };
            if text.is_empty() {
                // No part, not an empty one.
            } else if separator.is_empty() {
                text.char_indices().for_each(|(at, c)| push(Some(&text[at..at + c.len_utf8()])));
            } else {
                text.split(separator).for_each(|part| push(Some(part)));
            }
            Ok(true)
        })
    }))
}

fn unhex(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        let mut builder = BinaryBuilder::with_capacity(frame.rows, texts.bytes() / 2);
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        for row in 0..frame.rows {
            let bytes: Option<Vec<u8>> = texts.get(row).and_then(|text| {
                let digits = text.as_bytes();
                // As in Flink, the first of an odd number of digits is checked and lost.
                let (first, rest) = digits.split_at(digits.len() % 2);
                let first = first.iter().map(|byte| digit(*byte).map(|_| 0));
                first.chain(rest.chunks(2).map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?))).collect()
            });
            builder.append_option(bytes.as_deref());
        }
        Ok(Arc::new(builder.finish()))
    }))
}

/// One to four numbers up to 255; the last ones may be left out as in `127.1`.
fn address(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text
        .split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let significant = part.trim_start_matches('0');
            (digits && significant.len() <= 3).then(|| format!("0{significant}").parse().ok())?
        })
        .collect::<Option<_>>()?;
    if parts.iter().any(|part| *part > 255) {
        return None;
    }
    Some(match parts.as_slice() {
        [a] => *a,
        [a, b] => a << 24 | b,
        [a, b, c] => a << 24 | b << 16 | c,
        [a, b, c, d] => a << 24 | b << 16 | c << 8 | d,
        _ => return None,
    })
}

fn inet_aton(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        Ok(primitives_by_row::<Int64Type>(frame.rows, |row| address(texts.get(row)?)))
    }))
}

fn inet_ntoa(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let numbers = args[0].primitives::<Int64Type>()?;
        strings_by_row(frame.rows, frame.rows * 12, |row, out| {
            let number = u32::try_from(numbers.get(row)?).ok()?;
            out.push_str(&std::net::Ipv4Addr::from(number).to_string());
            Some(())
        })
    }))
}
