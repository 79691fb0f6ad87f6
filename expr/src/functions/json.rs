//! JSON texts: values by path, tests.

use serde_json::Value as Json;
use tidemill_common::limits::SQL_DEPTH_MAX;

use crate::bind::literal_text;
use crate::eval::CompileError;
use crate::eval::value::{booleans_by_row, strings_by_row};
use crate::format::format_double;
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};

const DOCUMENT_PATH: &[Param] = &[Param::Text, Param::Text];
const PATHS: &str = "Paths are $, .name, ['name'] and [n], and must be literals.";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("JSON_VALUE", Category::Json, DOCUMENT_PATH, returns::string, json_value)
        .may_be_null()
        .doc("JSON_VALUE(json, path)", "The scalar at a path as a text; NULL if there is none.")
        .differs(PATHS),
    Function::new("JSON_QUERY", Category::Json, DOCUMENT_PATH, returns::string, json_query)
        .may_be_null()
        .doc("JSON_QUERY(json, path)", "The object or array at a path as JSON; NULL if there is none.")
        .differs(PATHS),
    Function::new("JSON_EXISTS", Category::Json, DOCUMENT_PATH, returns::boolean, json_exists)
        .may_be_null()
        .doc("JSON_EXISTS(json, path)", "Whether there is something at a path.")
        .differs(PATHS),
    Function::new("IS JSON", Category::Json, &[Param::Text], returns::boolean, is_json)
        .never_null()
        .doc("a IS JSON", "Whether a text is valid JSON; FALSE for NULL."),
];

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Reads `$.a['b c'][0]`, after an optional `lax` or `strict`.
fn path(text: &str) -> Result<Vec<Step>, CompileError> {
    let refuse = || {
        CompileError::invalid(format!("the JSON path '{text}' is not supported: write $, then .name, ['name'] or [n]"))
    };
    let rest = text.trim();
    let rest = rest.strip_prefix("lax ").or_else(|| rest.strip_prefix("strict ")).unwrap_or(rest).trim_start();
    let mut rest = rest.strip_prefix('$').ok_or_else(refuse)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let key = &after[..end];
            if key.is_empty() || key.contains(['*', '(', ')', '?', '@', '\'', '"', ' ']) {
                return Err(refuse());
            }
            steps.push(Step::Key(key.to_owned()));
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
            match quote {
                Some(quote) => {
                    let (key, after) = after[1..].split_once(quote).ok_or_else(refuse)?;
                    steps.push(Step::Key(key.to_owned()));
                    rest = after.strip_prefix(']').ok_or_else(refuse)?;
                }
                None => {
                    let (index, after) = after.split_once(']').ok_or_else(refuse)?;
                    steps.push(Step::Index(index.trim().parse().map_err(|_| refuse())?));
                    rest = after;
                }
            }
        } else {
            return Err(refuse());
        }
        if steps.len() > SQL_DEPTH_MAX {
            return Err(refuse());
        }
    }
    Ok(steps)
}

fn literal_path(site: &CallSite<'_>) -> Result<Vec<Step>, CompileError> {
    match literal_text(&site.args[1]) {
        Some(text) => path(text),
        None => Err(CompileError::invalid("the path into a JSON text must be a literal")),
    }
}

fn at<'a>(json: &'a Json, steps: &[Step]) -> Option<&'a Json> {
    steps.iter().try_fold(json, |json, step| match step {
        Step::Key(key) => json.as_object()?.get(key),
        Step::Index(index) => json.as_array()?.get(*index),
    })
}

fn parse(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok()
}

fn json_value(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let steps = literal_path(site)?;
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, frame.rows * 8, |row, out| {
            let json = parse(texts.get(row)?)?;
            match at(&json, &steps)? {
                Json::String(text) => out.push_str(text),
                Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
                Json::Number(number) if number.is_f64() => format_double(number.as_f64()?, out),
                Json::Number(number) => out.push_str(&number.to_string()),
                _ => return None,
            }
            Some(())
        })
    }))
}

fn json_query(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let steps = literal_path(site)?;
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            let json = parse(texts.get(row)?)?;
            let found = at(&json, &steps).filter(|found| found.is_object() || found.is_array())?;
            out.push_str(&found.to_string());
            Some(())
        })
    }))
}

fn json_exists(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let steps = literal_path(site)?;
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        Ok(booleans_by_row(frame.rows, |row| {
            let text = texts.get(row)?;
            Some(parse(text).is_some_and(|json| at(&json, &steps).is_some()))
        }))
    }))
}

fn is_json(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        Ok(booleans_by_row(frame.rows, |row| {
            let text = texts.get(row);
            Some(text.is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()))
        }))
    }))
}
