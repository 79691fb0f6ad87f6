//! `PRINTF`: the part of Java's `Formatter` for numbers, texts and truth values. What Java answers with
//! an exception is NULL, as in Flink.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use tidemill_common::expr::Expr;
use tidemill_common::limits::RECORD_BYTES_MAX;
use tidemill_common::types::LogicalType;

use crate::bind::{BindError, call};
use crate::decimal;
use crate::eval::CompileError;
use crate::eval::value::strings_by_row;
use crate::format::{format_double, format_float};
use crate::registry::{CallSite, Category, Function, Kernel, returns};

pub(super) const FUNCTIONS: &[Function] = &[Function::new("PRINTF", Category::String, &[], returns::string, printf)
    .custom(bind)
    .may_be_null()
    .doc(
        "PRINTF(format, a, ...)",
        "A text by a format of Java's Formatter (%s %d %x %o %f %e %c %b); NULL where an argument does not fit it.",
    )
    .differs("Arguments are numbers, texts and BOOLEANs; %g, %a, %h and %t are refused (NULL).")];

fn bind(args: Vec<Expr>) -> Result<Expr, BindError> {
    let Some((format, values)) = args.split_first() else {
        return Err(BindError::new("PRINTF takes a format and values"));
    };
    if !format.data_type().logical.is_string() {
        return Err(BindError::new(format!("the format of PRINTF must be a text, not {}", format.data_type().logical)));
    }
    for value in values {
        let logical = &value.data_type().logical;
        if !(logical.is_numeric() || logical.is_string() || matches!(logical, LogicalType::Boolean | LogicalType::Null))
        {
            return Err(BindError::new(format!("PRINTF does not take a value of type {logical}; CAST it to STRING")));
        }
    }
    Ok(call("PRINTF", args, LogicalType::STRING.nullable()))
}

/// An argument of a row.
enum Argument {
    Null,
    Boolean(bool),
    /// With the bits of its type, which negative numbers show in %x and %o.
    Integer(i64, u32),
    Float(f32),
    Double(f64),
    Decimal(i128, u8),
    Text(String),
}

fn argument(array: &ArrayRef, logical: &LogicalType, row: usize) -> Argument {
    use LogicalType as L;
    if *logical == L::Null || array.is_null(row) {
        return Argument::Null;
    }
    match logical {
        L::Boolean => Argument::Boolean(array.as_boolean().value(row)),
        L::TinyInt => Argument::Integer(i64::from(array.as_primitive::<Int8Type>().value(row)), 8),
        L::SmallInt => Argument::Integer(i64::from(array.as_primitive::<Int16Type>().value(row)), 16),
        L::Int => Argument::Integer(i64::from(array.as_primitive::<Int32Type>().value(row)), 32),
        L::BigInt => Argument::Integer(array.as_primitive::<Int64Type>().value(row), 64),
        L::Float => Argument::Float(array.as_primitive::<Float32Type>().value(row)),
        L::Double => Argument::Double(array.as_primitive::<Float64Type>().value(row)),
        L::Decimal(_, scale) => Argument::Decimal(array.as_primitive::<Decimal128Type>().value(row), *scale),
        _ => Argument::Text(array.as_string::<i32>().value(row).to_owned()),
    }
}

impl Argument {
    /// What Java's `toString` gives.
    fn text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value, _) => out.push_str(&value.to_string()),
            Self::Float(value) => format_float(*value, &mut out),
            Self::Double(value) => format_double(*value, &mut out),
            Self::Decimal(unscaled, scale) => decimal::format_plain(*unscaled, *scale, &mut out),
            Self::Text(text) => out.push_str(text),
        }
        out
    }
}

/// `%[argument$][flags][width][.precision]conversion`.
#[derive(Default)]
struct Spec {
    position: Option<usize>,
    flags: String,
    width: Option<usize>,
    precision: Option<usize>,
    conversion: char,
}

impl Spec {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Reads what follows a `%`; gives what is behind it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let mut spec = Spec::default();
        let mut rest = text;
        let number = |rest: &mut &str| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let digits = &rest[..end];
            *rest = &rest[end..];
            if digits.is_empty() { Some(None) } else { digits.parse::<usize>().ok().map(Some) }
        };
        let before = rest;
        if let Some(position) = number(&mut rest)?
            && let Some(after) = rest.strip_prefix('$')
        {
            spec.position = Some(position);
            rest = after;
        } else {
            rest = before;
        }
        while let Some(flag) = rest.chars().next().filter(|c| "-#+ 0,(".contains(*c)) {
            if spec.has(flag) {
                return None;
            }
            spec.flags.push(flag);
            rest = &rest[1..];
        }
        spec.width = number(&mut rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision = Some(number(&mut rest)??);
        }
        spec.conversion = rest.chars().next()?;
        let needs_width = spec.has('-') || spec.has('0');
        let clash = (spec.has('-') && spec.has('0')) || (spec.has('+') && spec.has(' '));
        if clash || (needs_width && spec.width.is_none()) || spec.width == Some(0) {
            return None;
        }
        let behind = &rest[spec.conversion.len_utf8()..];
        Some((spec, behind))
    }

    /// Appends an argument; `None` where Java throws.
    fn push(&self, argument: &Argument, out: &mut String) -> Option<()> {
        let upper = self.conversion.is_uppercase();
        let general = |spec: &Self| spec.flags.chars().all(|flag| flag == '-');
        let text = match (self.conversion.to_ascii_lowercase(), argument) {
            ('s', argument) if general(self) => self.cut(argument.text()),
            ('b', argument) if general(self) => {
                let value = match argument {
                    Argument::Null => false,
                    Argument::Boolean(value) => *value,
                    _ => true,
                };
                self.cut(value.to_string())
            }
            ('c', Argument::Integer(value, 8..=32)) if general(self) && self.precision.is_none() => {
                char::from_u32(u32::try_from(*value).ok()?)?.to_string()
            }
            ('d' | 'x' | 'o' | 'f' | 'e', Argument::Null) | ('c', Argument::Null) => self.cut("null".to_owned()),
            ('d', Argument::Integer(value, _)) if !upper && self.precision.is_none() && !self.has('#') => {
                self.signed(*value < 0, &value.unsigned_abs().to_string(), "")
            }
            ('x' | 'o', Argument::Integer(value, bits))
                if self.precision.is_none() && !self.flags.contains(['+', ' ', ',', '(']) =>
            {
                let masked = if *bits == 64 { *value as u64 } else { *value as u64 & ((1 << bits) - 1) };
                let hex = self.conversion.eq_ignore_ascii_case(&'x');
                let digits = if hex { format!("{masked:x}") } else { format!("{masked:o}") };
                let prefix = if !self.has('#') {
                    ""
                } else if hex {
                    "0x"
                } else {
                    "0"
                };
                self.padded(prefix, digits)
            }
            ('f' | 'e', argument) if !(upper && self.conversion == 'F') => self.real(argument)?,
            _ => return None,
        };
        let text = if upper { text.to_uppercase() } else { text };
        let blanks = self.width.unwrap_or(0).saturating_sub(text.encode_utf16().count());
        if blanks > RECORD_BYTES_MAX {
            return None;
        }
        let blanks = " ".repeat(blanks);
        if self.has('-') {
            out.push_str(&text);
            out.push_str(&blanks);
        } else {
            out.push_str(&blanks);
            out.push_str(&text);
        }
        Some(())
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        }
    }

    /// Zeros between a prefix and digits, up to the width.
    fn padded(&self, prefix: &str, digits: String) -> String {
        let width = if self.has('0') { self.width.unwrap_or(0) } else { 0 };
        let zeros = width.saturating_sub(prefix.len() + digits.len()).min(RECORD_BYTES_MAX);
        format!("{prefix}{}{digits}", "0".repeat(zeros))
    }

    /// Digits with their sign, groups of three and leading zeros.
    fn signed(&self, negative: bool, whole: &str, rest: &str) -> String {
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if self.has(',') && index > 0 && (whole.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let (before, after) = match (negative, self.has('('), self.has('+'), self.has(' ')) {
            (true, true, ..) => ("(", ")"),
            (true, false, ..) => ("-", ""),
            (false, _, true, _) => ("+", ""),
            (false, _, _, true) => (" ", ""),
            _ => ("", ""),
        };
        let width = if self.has('0') { self.width.unwrap_or(0) } else { 0 };
        let zeros = width.saturating_sub(before.len() + after.len() + grouped.len() + rest.len());
        format!("{before}{}{grouped}{rest}{after}", "0".repeat(zeros.min(RECORD_BYTES_MAX)))
    }

    fn real(&self, argument: &Argument) -> Option<String> {
        let value = match argument {
            Argument::Float(value) => f64::from(*value),
            Argument::Double(value) => *value,
            _ => return None,
        };
        if self.has('#') {
            return None;
        }
        if value.is_nan() {
            return Some("NaN".to_owned());
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            let spec = Spec { flags: self.flags.replace('0', ""), ..Spec::default() };
            return Some(spec.signed(negative, "Infinity", ""));
        }
        let precision = self.precision.unwrap_or(6);
        // Java rounds the shortest decimal text of the number half up, not its exact binary value.
        let mut shortest = String::new();
        match argument {
            Argument::Float(value) => format_float(value.abs(), &mut shortest),
            _ => format_double(value.abs(), &mut shortest),
        }
        let (digits, point) = significant(&shortest);
        if self.conversion.eq_ignore_ascii_case(&'e') {
            if self.has(',') {
                return None;
            }
            let zero = digits.bytes().all(|digit| digit == b'0');
            let (rounded, point) = round_half_up(&digits, if zero { 1 } else { point }, precision as i64 + 1);
            let rounded = &rounded[..precision + 1];
            let exponent = if zero { 0 } else { point - 1 };
            let fraction = &rounded[1..];
            let sign = if exponent < 0 { '-' } else { '+' };
            let rest = format!("{}{fraction}e{sign}{:02}", if precision > 0 { "." } else { "" }, exponent.abs());
            return Some(self.signed(negative, &rounded[..1], &rest));
        }
        let (rounded, point) = round_half_up(&digits, point, point + precision as i64);
        let (whole, fraction) = rounded.split_at(point.max(0) as usize);
        let fraction = format!("{}{fraction}", "0".repeat((-point.min(0)) as usize));
        let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(precision).collect();
        let rest = if precision > 0 { format!(".{fraction}") } else { String::new() };
        Some(self.signed(negative, if whole.is_empty() { "0" } else { whole }, &rest))
    }
}

/// The significant digits of Java's text of a number, and where its point stands among them: `0.00123` is
/// (`123`, -2).
fn significant(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let point = whole.len() as i64 + exponent.parse::<i64>().unwrap_or(0) - leading as i64;
    let digits = all[leading..].to_owned();
    if digits.is_empty() { ("0".to_owned(), 1) } else { (digits, point) }
}

/// Keeps `count` digits, rounding half up; the point moves when a digit is carried in front.
fn round_half_up(digits: &str, point: i64, count: i64) -> (String, i64) {
    if count < 0 {
        return (String::new(), point.min(0));
    }
    let count = count as usize;
    if count >= digits.len() {
        return (format!("{digits}{}", "0".repeat(count - digits.len())), point);
    }
    let mut kept: Vec<u8> = digits.as_bytes()[..count].to_vec();
    if digits.as_bytes()[count] >= b'5' {
        let mut at = count;
        loop {
            if at == 0 {
                kept.insert(0, b'1');
                return (String::from_utf8(kept).unwrap_or_default(), point + 1);
            }
            at -= 1;
            if kept[at] == b'9' {
                kept[at] = b'0';
            } else {
                kept[at] += 1;
                break;
            }
        }
    }
    (String::from_utf8(kept).unwrap_or_default(), point)
}

fn printf(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let types: Vec<LogicalType> = site.args[1..].iter().map(|arg| arg.data_type().logical.clone()).collect();
    Ok(Box::new(move |args, frame| {
        let formats = args[0].strings()?;
        strings_by_row(frame.rows, formats.bytes(), |row, out| {
            let mut rest = formats.get(row)?;
            let mut next = 0;
            while let Some((plain, after)) = rest.split_once('%') {
                out.push_str(plain);
                let (spec, after) = Spec::read(after)?;
                rest = after;
                match spec.conversion {
                    'n' if spec.width.is_none() && spec.flags.is_empty() => out.push('\n'),
                    '%' => Spec { conversion: 's', ..spec }.push(&Argument::Text("%".to_owned()), out)?,
                    _ => {
                        let position = spec.position.map_or(next, |position| position.wrapping_sub(1));
                        next += usize::from(spec.position.is_none());
                        let value = args.get(position.checked_add(1)?)?;
                        spec.push(&argument(value.array(), types.get(position)?, row * value.step()), out)?;
                    }
                }
            }
            out.push_str(rest);
            Some(())
        })
    }))
}
