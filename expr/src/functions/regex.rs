//! Regular expressions, with Java's syntax. Literal patterns are compiled once, and a wrong one is an
//! error when the statement is planned.

use std::collections::HashMap;

use arrow::datatypes::Int32Type;

use super::collections::string_lists;
use crate::bind::literal_text;
use crate::eval::value::{Strings, Value, try_primitives_by_row, try_strings_by_row};
use crate::eval::{CompileError, EvalError};
use crate::java_regex::{JavaRegex, Scratch};
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};
use tidemill_common::types::LogicalType;

const TEXT_TEXT: &[Param] = &[Param::Text, Param::Text];
const TEXT_TEXT_INT: &[Param] = &[Param::Text, Param::Text, Param::Int];
const REFUSED: &str = "A pattern that is not valid is an error, where Flink gives NULL.";

const fn regex(
    name: &'static str,
    params: &'static [Param],
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Regex, params, returns, compile)
        .can_fail()
        .doc(signature, description)
        .differs(REFUSED)
}

pub(super) const FUNCTIONS: &[Function] = &[
    regex(
        "REGEXP",
        TEXT_TEXT,
        returns::boolean,
        regexp,
        "REGEXP(a, pattern)",
        "Whether the pattern matches a part of the text; an empty pattern never does.",
    ),
    regex(
        "SIMILAR TO",
        TEXT_TEXT,
        returns::boolean,
        similar,
        "a SIMILAR TO pattern",
        "A regular expression for the whole text in which % stands for any characters and _ for one.",
    ),
    regex(
        "REGEXP_EXTRACT",
        TEXT_TEXT_INT,
        returns::string,
        extract,
        "REGEXP_EXTRACT(a, pattern[, group])",
        "A group of the first match, or all of it; NULL if there is none.",
    )
    .optional_after(2)
    .may_be_null(),
    regex(
        "REGEXP_EXTRACT_ALL",
        TEXT_TEXT_INT,
        |_| Ok(LogicalType::Array(Box::new(LogicalType::STRING.nullable()))),
        extract_all,
        "REGEXP_EXTRACT_ALL(a, pattern[, group])",
        "A group of every match (group 1 unless given), as an array.",
    )
    .optional_after(2)
    .may_be_null(),
    regex(
        "REGEXP_REPLACE",
        &[Param::Text, Param::Text, Param::Text],
        returns::string,
        replace,
        "REGEXP_REPLACE(a, pattern, b)",
        "Every match replaced by b as it is: $1 has no meaning.",
    ),
    regex("REGEXP_COUNT", TEXT_TEXT, returns::int, count, "REGEXP_COUNT(a, pattern)", "Number of matches."),
    regex(
        "REGEXP_INSTR",
        TEXT_TEXT,
        returns::int,
        instr,
        "REGEXP_INSTR(a, pattern)",
        "Where the first match begins, from 1; 0 if there is none.",
    ),
    regex(
        "REGEXP_SUBSTR",
        TEXT_TEXT,
        returns::string,
        substr,
        "REGEXP_SUBSTR(a, pattern)",
        "The first match; NULL if there is none.",
    )
    .may_be_null(),
];

/// A pattern that is literal, or one that is compiled when it is met.
enum Patterns {
    Literal(JavaRegex),
    ByRow { whole: bool },
}

/// Patterns met during one batch, each with its scratch.
type Kept = HashMap<String, (JavaRegex, Scratch)>;

/// Most patterns of a column that are kept compiled during one batch.
const PATTERNS_KEPT_MAX: usize = 64;

impl Patterns {
    fn new(site: &CallSite<'_>, whole: bool) -> Result<Self, CompileError> {
        match literal_text(&site.args[1]) {
            Some(pattern) => Ok(Self::Literal(compile(pattern, whole).map_err(CompileError::invalid)?)),
            None => Ok(Self::ByRow { whole }),
        }
    }

    /// Calls `f` with the text and the pattern of a row.
    fn with<'t, R>(
        &self,
        kept: &mut (Kept, Scratch),
        texts: &Strings<'t>,
        patterns: &Strings<'_>,
        row: usize,
        f: impl FnOnce(&'t str, &str, &JavaRegex, &mut Scratch) -> Result<Option<R>, String>,
    ) -> Result<Option<R>, EvalError> {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else { return Ok(None) };
        match self {
            Self::Literal(regex) => f(text, pattern, regex, &mut kept.1).map_err(EvalError::new),
            Self::ByRow { whole } => {
                let kept = &mut kept.0;
                if !kept.contains_key(pattern) {
                    if kept.len() >= PATTERNS_KEPT_MAX {
                        kept.clear();
                    }
                    let regex = compile(pattern, *whole).map_err(EvalError::new)?;
                    kept.insert(pattern.to_owned(), (regex, Scratch::default()));
                }
                match kept.get_mut(pattern) {
                    Some((regex, scratch)) => f(text, pattern, regex, scratch).map_err(EvalError::new),
                    None => Ok(None),
                }
            }
        }
    }
}

fn compile(pattern: &str, whole: bool) -> Result<JavaRegex, String> {
    if whole { JavaRegex::whole(&from_similar(pattern)) } else { JavaRegex::new(pattern) }
}

/// SQL's wildcards to regular ones; everything else means the same.
fn from_similar(pattern: &str) -> String {
    let (mut out, mut in_class) = (String::with_capacity(pattern.len() + 8), false);
    for c in pattern.chars() {
        match c {
            '%' if !in_class => out.push_str("(?:.*)"),
            '_' if !in_class => out.push('.'),
            c => {
                in_class = (in_class || c == '[') && c != ']';
                out.push(c);
            }
        }
    }
    out
}

fn test(site: &CallSite<'_>, whole: bool) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, whole)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let mut kept = Default::default();
        let mut builder = arrow::array::BooleanBuilder::with_capacity(frame.rows);
        for row in 0..frame.rows {
            builder.append_option(compiled.with(&mut kept, &texts, &patterns, row, |text, pattern, regex, _| {
                Ok(Some((whole || !pattern.is_empty()) && regex.is_match(text)?))
            })?);
        }
        Ok(std::sync::Arc::new(builder.finish()))
    }))
}

fn regexp(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    test(site, false)
}

fn similar(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    test(site, true)
}

fn group(groups: Option<&crate::eval::value::Primitives<'_, Int32Type>>, row: usize, default: i32) -> Option<i32> {
    match groups {
        Some(groups) => groups.get(row),
        None => Some(default),
    }
}

fn extract(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, false)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let groups = args.get(2).map(Value::primitives::<Int32Type>).transpose()?;
        let mut kept = Default::default();
        try_strings_by_row(frame.rows, texts.bytes() / 4, |row, out| {
            let Some(group) = group(groups.as_ref(), row, 0) else { return Ok(None) };
            compiled.with(&mut kept, &texts, &patterns, row, |text, _, regex, scratch| {
                let Ok(group) = usize::try_from(group) else { return Ok(None) };
                if group > regex.group_count() {
                    return Ok(None);
                }
                let found = regex.group_at(text, 0, group, scratch)?;
                Ok(found.and_then(|(part, _)| part).map(|part| out.push_str(part)))
            })
        })
    }))
}

fn extract_all(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, false)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let groups = args.get(2).map(Value::primitives::<Int32Type>).transpose()?;
        let mut kept = Default::default();
        string_lists(frame.rows, |row, push| {
            let Some(group) = group(groups.as_ref(), row, 1) else { return Ok(false) };
            let found = compiled.with(&mut kept, &texts, &patterns, row, |text, _, regex, scratch| {
                let Some(group) = usize::try_from(group).ok().filter(|group| *group <= regex.group_count()) else {
                    return Ok(None);
                };
                let mut from = 0;
                while from <= text.len() {
                    let Some((part, (start, end))) = regex.group_at(text, from, group, scratch)? else { break };
                    push(part);
                    from = if start == end { end + text[end..].chars().next().map_or(1, char::len_utf8) } else { end };
                }
                Ok(Some(()))
            })?;
            Ok(found.is_some())
        })
    }))
}

fn replace(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, false)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns, others) = (args[0].strings()?, args[1].strings()?, args[2].strings()?);
        let mut kept = Default::default();
        try_strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let Some(other) = others.get(row) else { return Ok(None) };
            compiled.with(&mut kept, &texts, &patterns, row, |text, _, regex, _| {
                let mut copied = 0;
                regex.for_each_match(text, |start, end| {
                    out.push_str(&text[copied..start]);
                    out.push_str(other);
                    copied = end;
                })?;
                out.push_str(&text[copied..]);
                Ok(Some(()))
            })
        })
    }))
}

fn number(site: &CallSite<'_>, f: fn(&str, &JavaRegex) -> Result<i32, String>) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, false)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let mut kept = Default::default();
        try_primitives_by_row::<Int32Type>(frame.rows, |row| {
            compiled.with(&mut kept, &texts, &patterns, row, |text, _, regex, _| f(text, regex).map(Some))
        })
    }))
}

fn count(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    number(site, |text, regex| {
        let mut count = 0;
        regex.for_each_match(text, |_, _| count += 1)?;
        Ok(count)
    })
}

fn instr(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    number(site, |text, regex| {
        // Java counts UTF-16 units here.
        Ok(regex.find_at(text, 0)?.map_or(0, |(start, _)| text[..start].encode_utf16().count() as i32 + 1))
    })
}

fn substr(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let compiled = Patterns::new(site, false)?;
    Ok(Box::new(move |args, frame| {
        let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
        let mut kept = Default::default();
        try_strings_by_row(frame.rows, texts.bytes() / 4, |row, out| {
            compiled.with(&mut kept, &texts, &patterns, row, |text, _, regex, _| {
                Ok(regex.find_at(text, 0)?.map(|(start, end)| out.push_str(&text[start..end])))
            })
        })
    }))
}
