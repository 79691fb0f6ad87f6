//! `STR_TO_MAP`: texts such as `k1=v1,k2=v2`, split by regular expressions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::StringBuilder;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use tidemill_common::types::LogicalType;

use super::collections::map_array;
use crate::eval::value::Value;
use crate::eval::{CompileError, EvalError};
use crate::java_regex::JavaRegex;
use crate::registry::{CallSite, Category, Function, Kernel, Param};

pub(super) const FUNCTIONS: &[Function] = &[Function::new(
    "STR_TO_MAP",
    Category::Collection,
    &[Param::Text, Param::Text, Param::Text],
    |_| Ok(LogicalType::Map(Box::new(LogicalType::STRING.nullable()), Box::new(LogicalType::STRING.nullable()))),
    str_to_map,
)
.optional_after(1)
.can_fail()
.doc(
    "STR_TO_MAP(a[, between pairs[, between key and value]])",
    "A text such as 'k1=v1,k2=v2' as a map; the separators (',' and '=' unless given) are regular expressions.",
)];

/// What texts are split by: most separators are no patterns.
enum Separator {
    Plain(String),
    Pattern(JavaRegex),
}

impl Separator {
    fn new(text: &str) -> Result<Self, EvalError> {
        if !text.is_empty() && !text.contains(|c| ".$|()[{^?*+\\".contains(c)) {
            return Ok(Self::Plain(text.to_owned()));
        }
        JavaRegex::new(text).map(Self::Pattern).map_err(EvalError::new)
    }

    /// The first match at or behind `from` that is not an empty one at the very beginning.
    fn find(&self, text: &str, from: usize) -> Result<Option<(usize, usize)>, EvalError> {
        match self {
            Self::Plain(plain) => Ok(text[from..].find(plain).map(|at| (from + at, from + at + plain.len()))),
            Self::Pattern(pattern) => match pattern.find_at(text, from).map_err(EvalError::new)? {
                Some((start, end)) if start == end && start == from => {
                    let Some(next) = text[from..].chars().next() else { return Ok(None) };
                    match from + next.len_utf8() {
                        next if next < text.len() => pattern.find_at(text, next).map_err(EvalError::new),
                        _ => Ok(None),
                    }
                }
                found => Ok(found),
            },
        }
    }

    /// The parts of a text as Java's `split` gives them: no empty ones at the end.
    fn split<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, EvalError> {
        let (mut parts, mut from) = (Vec::new(), 0);
        while let Some((start, end)) = self.find(text, from)? {
            parts.push(&text[from..start]);
            from = end;
        }
        parts.push(&text[from..]);
        while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        if parts.len() == 1 && parts[0].is_empty() && !text.is_empty() {
            parts.clear();
        }
        Ok(parts)
    }

    /// A text before and behind the first separator.
    fn cut<'t>(&self, text: &'t str) -> Result<(&'t str, Option<&'t str>), EvalError> {
        Ok(match self.find(text, 0)? {
            Some((start, end)) => (&text[..start], Some(&text[end..])),
            None => (text, None),
        })
    }
}

/// Where a key stands among others in a `java.util.HashMap` of this many buckets.
fn bucket(key: &str, buckets: usize) -> usize {
    let hash = key.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash ^ hash >> 16) as usize & (buckets - 1)
}

/// Buckets of a map made for `expected` keys, as Flink makes it.
fn buckets(expected: usize) -> usize {
    let capacity = if expected <= 2 { expected + 1 } else { (expected as f32 / 0.75 + 1.0) as usize };
    capacity.max(1).next_power_of_two()
}

fn str_to_map(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let data_type = site.data_type.logical.to_arrow();
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        let pair_separators = args.get(1).map(Value::strings).transpose()?;
        let key_separators = args.get(2).map(Value::strings).transpose()?;
        let mut kept: HashMap<String, Separator> = HashMap::new();
        let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
        let (mut lengths, mut valid) = (Vec::with_capacity(frame.rows), Vec::with_capacity(frame.rows));
        for row in 0..frame.rows {
            let between_pairs = pair_separators.as_ref().map_or(Some(","), |separators| separators.get(row));
            let between = key_separators.as_ref().map_or(Some("="), |separators| separators.get(row));
            let (Some(text), Some(between_pairs), Some(between)) = (texts.get(row), between_pairs, between) else {
                lengths.push(0);
                valid.push(false);
                continue;
            };
            valid.push(true);
            for separator in [between_pairs, between] {
                if !kept.contains_key(separator) {
                    kept.insert(separator.to_owned(), Separator::new(separator)?);
                }
            }
            let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
            if let (Some(between_pairs), Some(between)) = (kept.get(between_pairs), kept.get(between))
                && !text.is_empty()
            {
                let parts = between_pairs.split(text)?;
                let count = buckets(parts.len());
                for part in parts {
                    let (key, value) = between.cut(part)?;
                    match pairs.iter_mut().find(|(known, _)| *known == key) {
                        Some(known) => known.1 = value,
                        None => pairs.push((key, value)),
                    }
                }
                pairs.sort_by_key(|(key, _)| bucket(key, count));
            }
            lengths.push(pairs.len());
            for (key, value) in pairs {
                keys.append_value(key);
                values.append_option(value);
            }
        }
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        let offsets = OffsetBuffer::from_lengths(lengths);
        map_array(&data_type, offsets, Arc::new(keys.finish()), Arc::new(values.finish()), nulls)
    }))
}
