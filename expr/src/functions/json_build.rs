//! Values to JSON texts: `JSON_STRING`, `JSON_OBJECT`, `JSON_ARRAY`, and quoting.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type};
use base64::Engine;
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use crate::bind::{BindError, call, cast_to, literal_string, literal_text};
use crate::calendar::Zone;
use crate::eval::value::{Value, strings_by_row, try_strings_by_row};
use crate::eval::{CompileError, EvalError};
use crate::format::{TextStyle, format_in};
use crate::json::{Json, parse, push_number, push_text};
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("JSON_STRING", Category::Json, &[Param::Any], returns::string, json_string)
        .can_fail()
        .custom(bind_string)
        .doc("JSON_STRING(a)", "A value as JSON; NULL for NULL."),
    Function::new("JSON_OBJECT", Category::Json, &[], returns::string, json_object)
        .can_fail()
        .custom(bind_object)
        .doc(
            "JSON_OBJECT([[KEY] key VALUE a, ...] [NULL | ABSENT ON NULL])",
            "A JSON object; NULLs are null unless ABSENT ON NULL. JSON_OBJECT, JSON_ARRAY and JSON inside are no texts but parts of it.",
        ),
    Function::new("JSON_ARRAY", Category::Json, &[], returns::string, json_array)
        .can_fail()
        .custom(bind_array)
        .doc(
            "JSON_ARRAY([a, ...] [NULL | ABSENT ON NULL])",
            "A JSON array; NULLs are left out unless NULL ON NULL.",
        ),
    Function::new("JSON", Category::Json, &[Param::Text], returns::string, super::json::json)
        .may_be_null()
        .can_fail()
        .doc("JSON(text)", "A text that is JSON already, as an argument of JSON_OBJECT or JSON_ARRAY.")
        .differs("Also taken outside of JSON_OBJECT, where Flink refuses it."),
    Function::new("JSON_QUOTE", Category::Json, &[Param::Text], returns::string, json_quote)
        .doc("JSON_QUOTE(a)", "A text in double quotes with what JSON wants escaped; non-ASCII as \\u escapes."),
    Function::new("JSON_UNQUOTE", Category::Json, &[Param::Text], returns::string, json_unquote)
        .doc("JSON_UNQUOTE(a)", "A JSON text without its quotes and escapes; another text as it is."),
];

type Bound = Result<Expr, BindError>;

/// Refuses types that have no JSON in Flink.
fn check_type(logical: &LogicalType) -> Result<(), BindError> {
    use LogicalType as L;
    match logical {
        L::Array(element) => check_type(&element.logical),
        L::Map(key, value) if key.logical.is_string() => check_type(&value.logical),
        L::Row(fields) => fields.iter().try_for_each(|field| check_type(&field.data_type.logical)),
        L::Date | L::Time(_) | L::IntervalDaySecond | L::IntervalYearMonth | L::Map(..) => {
            Err(BindError::new(format!("a value of type {logical} has no JSON; CAST it to STRING")))
        }
        _ => Ok(()),
    }
}

fn bind_string(args: Vec<Expr>) -> Bound {
    let [value] = <[Expr; 1]>::try_from(args).map_err(|_| BindError::new("JSON_STRING takes 1 argument"))?;
    let raw = is_raw(&value);
    let value = typed(value)?;
    let nullable = value.data_type().nullable;
    let args = if raw { vec![value, literal_string("RAW")] } else { vec![value] };
    Ok(call("JSON_STRING", args, LogicalType::STRING.with_nullable(nullable)))
}

/// A value of a type that has JSON; a bare NULL becomes a text.
fn typed(value: Expr) -> Bound {
    let value =
        if value.data_type().logical == LogicalType::Null { cast_to(value, &LogicalType::STRING)? } else { value };
    check_type(&value.data_type().logical)?;
    Ok(value)
}

fn bind_object(args: Vec<Expr>) -> Bound {
    if args.len() % 2 != 1 {
        return Err(BindError::new("JSON_OBJECT takes pairs: KEY 'name' VALUE value"));
    }
    let mut bound = Vec::with_capacity(args.len());
    for (index, arg) in args.into_iter().enumerate() {
        if index > 0 && index % 2 == 1 && literal_text(&arg).is_none() {
            return Err(BindError::new("a key of JSON_OBJECT must be a literal text"));
        }
        bound.push(if index > 0 && index % 2 == 0 { typed(arg)? } else { arg });
    }
    mark_raw(&mut bound)?;
    Ok(call("JSON_OBJECT", bound, LogicalType::STRING.not_null()))
}

fn bind_array(args: Vec<Expr>) -> Bound {
    let mut bound = Vec::with_capacity(args.len());
    for (index, arg) in args.into_iter().enumerate() {
        bound.push(if index > 0 { typed(arg)? } else { arg });
    }
    mark_raw(&mut bound)?;
    Ok(call("JSON_ARRAY", bound, LogicalType::STRING.not_null()))
}

/// Notes behind the first argument, `NULL` or `ABSENT`, which of the others are JSON already: `NULL 010`.
/// It cannot be seen any more when constants have been folded.
fn mark_raw(args: &mut [Expr]) -> Result<(), BindError> {
    let Some(option @ ("NULL" | "ABSENT")) = args.first().and_then(literal_text) else {
        return Err(BindError::new("expected NULL ON NULL or ABSENT ON NULL"));
    };
    let marks: String = args[1..].iter().map(|arg| if is_raw(arg) { '1' } else { '0' }).collect();
    args[0] = literal_string(&format!("{option} {marks}"));
    Ok(())
}

/// An argument that is JSON already.
fn is_raw(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, .. } if matches!(&*function.name, "JSON_OBJECT" | "JSON_ARRAY" | "JSON"))
}

/// Appends the JSON of a value.
fn push_value(
    array: &dyn Array,
    logical: &LogicalType,
    row: usize,
    zone: &mut Zone,
    out: &mut String,
) -> Result<(), EvalError> {
    use LogicalType as L;
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match logical {
        L::Char(_) | L::Varchar(_) => push_text(array.as_string::<i32>().value(row), out),
        L::Binary(_) | L::Varbinary(_) => {
            let bytes = array.as_binary::<i32>().value(row);
            out.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        L::Float => push_float(f64::from(array.as_primitive::<Float32Type>().value(row)), out),
        L::Double => push_float(array.as_primitive::<Float64Type>().value(row), out),
        L::Decimal(_, scale) => {
            let mut text = String::new();
            crate::decimal::format_plain(array.as_primitive::<Decimal128Type>().value(row), *scale, &mut text);
            push_number(&text, out);
        }
        L::Timestamp(_) | L::TimestampLtz(_) => {
            let mut text = String::new();
            format_in(array, logical, row, TextStyle::Sql, zone, &mut text);
            push_text(&text.replacen(' ', "T", 1), out);
        }
        L::Array(element) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..items.len() {
                if index > 0 {
                    out.push(',');
                }
                push_value(&items, &element.logical, index, zone, out)?;
            }
            out.push(']');
        }
        L::Map(_, value) => {
            let entries = array.as_map().value(row);
            let keys = entries.column(0).as_string::<i32>();
            let members = (0..entries.len()).map(|index| (keys.value(index), entries.column(1), &value.logical, index));
            push_members(members.collect(), zone, out)?;
        }
        L::Row(fields) => {
            let columns = array.as_struct();
            let members = fields.iter().zip(columns.columns());
            let members = members.map(|(field, column)| (field.name.as_str(), column, &field.data_type.logical, row));
            push_members(members.collect(), zone, out)?;
        }
        _ => format_in(array, logical, row, TextStyle::Sql, zone, out),
    }
    Ok(())
}

type Member<'a> = (&'a str, &'a arrow::array::ArrayRef, &'a LogicalType, usize);

/// Appends an object whose members stand in the order of their names; of equal names the last one counts.
fn push_members(mut members: Vec<Member<'_>>, zone: &mut Zone, out: &mut String) -> Result<(), EvalError> {
    members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
    out.push('{');
    let mut first = true;
    for (index, (name, column, logical, row)) in members.iter().enumerate() {
        if members.get(index + 1).is_some_and(|next| next.0 == *name) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        push_text(name, out);
        out.push(':');
        push_value(column, logical, *row, zone, out)?;
    }
    out.push('}');
    Ok(())
}

fn push_float(value: f64, out: &mut String) {
    let mut text = String::new();
    crate::format::format_double(value, &mut text);
    if value.is_finite() { push_number(&text, out) } else { push_text(&text, out) }
}

fn json_string(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let logical = site.args[0].data_type().logical.clone();
    let raw = site.args.len() > 1;
    Ok(Box::new(move |args, frame| {
        let (array, step) = (args[0].array(), args[0].step());
        let mut zone = Zone::new(frame.context.zone);
        try_strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            let row = row * step;
            if array.is_null(row) {
                return Ok(None);
            }
            if raw {
                out.push_str(array.as_string::<i32>().value(row));
            } else {
                push_value(array, &logical, row, &mut zone, out)?;
            }
            Ok(Some(()))
        })
    }))
}

/// An argument of JSON_OBJECT or JSON_ARRAY.
struct Part {
    logical: LogicalType,
    raw: bool,
    at: usize,
}

impl Part {
    fn new(site: &CallSite<'_>, options: &Options, at: usize) -> Self {
        let raw = options.marks.as_bytes().get(at - 1) == Some(&b'1');
        Self { logical: site.args[at].data_type().logical.clone(), raw, at }
    }

    fn is_null(&self, args: &[Value], row: usize) -> bool {
        args[self.at].array().is_null(row * args[self.at].step())
    }

    fn push(&self, args: &[Value], row: usize, zone: &mut Zone, out: &mut String) -> Result<(), EvalError> {
        let (array, row) = (args[self.at].array(), row * args[self.at].step());
        if self.raw && array.is_valid(row) {
            out.push_str(array.as_string::<i32>().value(row));
            return Ok(());
        }
        push_value(array, &self.logical, row, zone, out)
    }
}

/// The first argument of a call.
struct Options {
    absent: bool,
    marks: String,
}

impl Options {
    fn new(site: &CallSite<'_>) -> Result<Self, CompileError> {
        match site.args.first().and_then(literal_text).and_then(|text| text.split_once(' ')) {
            Some((option, marks)) => Ok(Self { absent: option == "ABSENT", marks: marks.to_owned() }),
            None => Err(CompileError::invalid("expected NULL ON NULL or ABSENT ON NULL")),
        }
    }
}

fn json_object(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let options = Options::new(site)?;
    let absent = options.absent;
    let mut members: Vec<(String, Part)> = (1..site.args.len().saturating_sub(1))
        .step_by(2)
        .filter_map(|at| Some((literal_text(&site.args[at])?.to_owned(), Part::new(site, &options, at + 1))))
        .collect();
    members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        try_strings_by_row(frame.rows, frame.rows * 32, |row, out| {
            out.push('{');
            let mut first = true;
            for (index, (name, part)) in members.iter().enumerate() {
                // Of equal names the last one counts that is written at all.
                let written = |part: &Part| !(absent && part.is_null(args, row));
                let again =
                    members[index + 1..].iter().take_while(|(next, _)| next == name).any(|(_, next)| written(next));
                if again || !written(part) {
                    continue;
                }
                if !first {
                    out.push(',');
                }
                first = false;
                push_text(name, out);
                out.push(':');
                part.push(args, row, &mut zone, out)?;
            }
            out.push('}');
            Ok(Some(()))
        })
    }))
}

fn json_array(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let options = Options::new(site)?;
    let absent = options.absent;
    let parts: Vec<Part> = (1..site.args.len()).map(|at| Part::new(site, &options, at)).collect();
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        try_strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            out.push('[');
            let mut first = true;
            for part in parts.iter().filter(|part| !(absent && part.is_null(args, row))) {
                if !first {
                    out.push(',');
                }
                first = false;
                part.push(args, row, &mut zone, out)?;
            }
            out.push(']');
            Ok(Some(()))
        })
    }))
}

fn json_quote(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, texts.bytes() + frame.rows * 2, |row, out| {
            out.push('"');
            let units: Vec<u16> = texts.get(row)?.encode_utf16().collect();
            for (at, unit) in units.iter().enumerate() {
                match *unit {
                    0x22 => out.push_str("\\\""),
                    0x5C => out.push_str("\\\\"),
                    0x2F => out.push_str("\\/"),
                    0x08 => out.push_str("\\b"),
                    0x0C => out.push_str("\\f"),
                    0x0A => out.push_str("\\n"),
                    0x0D => out.push_str("\\r"),
                    0x09 => out.push_str("\\t"),
                    // As in Flink, the first half of a pair is shown as the whole character.
                    high @ 0xD800..=0xDBFF => {
                        let low = units.get(at + 1).copied().unwrap_or(0xDC00);
                        let code = 0x10000 + ((u32::from(high) - 0xD800) << 10) + u32::from(low.wrapping_sub(0xDC00));
                        out.push_str(&format!("\\u{code:04x}"));
                    }
                    unit if unit > 127 => out.push_str(&format!("\\u{unit:04x}")),
                    unit => out.push(char::from(unit as u8)),
                }
            }
            out.push('"');
            Some(())
        })
    }))
}

fn json_unquote(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let text = texts.get(row)?;
            match parse(text) {
                Some(Json::Text(unquoted)) if text.starts_with('"') && text.ends_with('"') => out.push_str(&unquoted),
                _ => out.push_str(text),
            }
            Some(())
        })
    }))
}
