//! JSON texts: values by path, tests.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType as ArrowType, Float64Type, Int32Type};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::LogicalType;

use super::collections::string_lists;
use crate::bind::{BindError, bind_case, bind_cast, call, cast_to, literal_string, literal_text};
use crate::eval::value::{
    Booleans, Primitives, Strings, Value, booleans_by_row, strings_by_row, try_primitives_by_row, try_strings_by_row,
};
use crate::eval::{CompileError, EvalError};
use crate::json::{Json, Mode, Path, PathError, parse, push_number, write};
use crate::registry::{CallSite, Category, Function, Kernel, Param, convert_arguments, returns};

const DOCUMENT_PATH: &[Param] = &[Param::Text, Param::Text];
const PATHS: &str =
    "Filters ([?(...)]) and functions (.length()) in paths are refused; a path must be a literal, as in Flink.";

const fn is_json(
    name: &'static str,
    aliases: &'static [&'static str],
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
) -> Function {
    Function::new(name, Category::Json, &[Param::Text], returns::boolean, compile).never_null().alias(aliases)
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("JSON_VALUE", Category::Json, DOCUMENT_PATH, returns::string, json_value)
        .may_be_null()
        .can_fail()
        .custom(bind_value)
        .doc(
            "JSON_VALUE(json, path [RETURNING type] [NULL | ERROR | DEFAULT a ON EMPTY] [NULL | ERROR | DEFAULT a ON ERROR])",
            "The scalar at a path: STRING, or RETURNING BOOLEAN, INT or DOUBLE. NULL if there is none, unless told otherwise.",
        )
        .differs(PATHS),
    Function::new("JSON_QUERY", Category::Json, DOCUMENT_PATH, returns::string, json_query)
        .may_be_null()
        .can_fail()
        .custom(bind_query)
        .doc(
            "JSON_QUERY(json, path [RETURNING type] [WITHOUT | WITH CONDITIONAL | WITH UNCONDITIONAL [ARRAY] WRAPPER] [NULL | EMPTY ARRAY | EMPTY OBJECT | ERROR ON EMPTY] [... ON ERROR])",
            "The object or array at a path as JSON (or as ARRAY<STRING>), wrapped into an array if told so. NULL if there is none, unless told otherwise.",
        )
        .differs(PATHS),
    Function::new("JSON_EXISTS", Category::Json, DOCUMENT_PATH, returns::boolean, json_exists)
        .may_be_null()
        .can_fail()
        .custom(bind_exists)
        .doc(
            "JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR])",
            "Whether there is something other than null at a path.",
        )
        .differs(PATHS),
    is_json("IS JSON", &["IS JSON VALUE"], |_| is(|_| true)).doc(
        "a IS [NOT] JSON [VALUE]",
        "Whether a text begins with valid JSON; FALSE for NULL.",
    ),
    is_json("IS JSON SCALAR", &[], |_| is(|json| json.is_scalar()))
        .doc("a IS JSON SCALAR", "Whether a text begins with a JSON text, number, truth value or null."),
    is_json("IS JSON ARRAY", &[], |_| is(|json| matches!(json, Json::Array(_))))
        .doc("a IS JSON ARRAY", "Whether a text begins with a JSON array."),
    is_json("IS JSON OBJECT", &[], |_| is(|json| matches!(json, Json::Object(_))))
        .doc("a IS JSON OBJECT", "Whether a text begins with a JSON object."),
];

type Bound = Result<Expr, BindError>;

/// JSON and path of a call, checked.
fn document_and_path(name: &str, args: Vec<Expr>) -> Result<Vec<Expr>, BindError> {
    let args = convert_arguments(name, DOCUMENT_PATH, 2, false, args)?;
    let Some(text) = literal_text(&args[1]) else {
        return Err(BindError::new(format!("the path of {name} must be a literal")));
    };
    match Path::compile(text) {
        Err(PathError::Unsupported) => Err(BindError::new(format!(
            "{name}: filters and functions in a JSON path ('{text}') are not supported; write names, [n], slices and *"
        ))),
        // What is no path finds nothing, in every row.
        _ => Ok(args),
    }
}

/// Adds the options that were left out: each must be a literal.
fn with_options(name: &str, mut args: Vec<Expr>, defaults: &[Expr]) -> Result<Vec<Expr>, BindError> {
    let options = if args.len() > 2 { args.split_off(2) } else { defaults.to_vec() };
    if args.len() != 2 || options.len() != defaults.len() {
        return Err(BindError::new(format!("{name} takes a JSON text and a path")));
    }
    let mut args = document_and_path(name, args)?;
    args.extend(options);
    Ok(args)
}

fn null_of(logical: LogicalType) -> Expr {
    Expr::Literal { value: Scalar::Null, data_type: logical.nullable() }
}

fn bind_value(args: Vec<Expr>) -> Bound {
    let (returning, null) = (null_of(LogicalType::STRING), literal_string("NULL"));
    let nothing = null_of(LogicalType::STRING);
    let mut args = with_options("JSON_VALUE", args, &[returning, null.clone(), nothing.clone(), null, nothing])?;
    let logical = match args[2].data_type().logical.clone() {
        LogicalType::Varchar(_) => LogicalType::STRING,
        other @ (LogicalType::Boolean | LogicalType::Int | LogicalType::Double) => other,
        other => {
            return Err(BindError::new(format!("JSON_VALUE returns STRING, BOOLEAN, INT or DOUBLE, not {other}")));
        }
    };
    for (mode, default) in [(3, 4), (5, 6)] {
        let value = args[default].clone();
        let given = literal_text(&args[mode]) == Some("DEFAULT");
        args[default] = match (given, &logical, &value.data_type().logical) {
            (false, ..) => null_of(logical.clone()),
            // Texts of Java: true, not TRUE.
            (true, LogicalType::Varchar(_), LogicalType::Boolean) => {
                let not = call("NOT", vec![value.clone()], value.data_type().clone());
                bind_case(vec![(value, literal_string("true")), (not, literal_string("false"))], None)?
            }
            (true, LogicalType::Varchar(_), _) => cast_to(value, &LogicalType::STRING)?,
            (true, ..) => bind_cast(value, logical.clone().nullable(), false)?,
        };
    }
    Ok(call("JSON_VALUE", args, logical.nullable()))
}

fn bind_query(args: Vec<Expr>) -> Bound {
    let null = literal_string("NULL");
    let options = [null_of(LogicalType::STRING), literal_string("WITHOUT"), null.clone(), null];
    let args = with_options("JSON_QUERY", args, &options)?;
    let logical = match args[2].data_type().logical.clone() {
        LogicalType::Varchar(_) => LogicalType::STRING,
        LogicalType::Array(element) if element.logical.is_string() => {
            LogicalType::Array(Box::new(LogicalType::STRING.nullable()))
        }
        other => return Err(BindError::new(format!("JSON_QUERY returns STRING or ARRAY<STRING>, not {other}"))),
    };
    if matches!(logical, LogicalType::Array(_)) {
        for option in &args[4..] {
            if literal_text(option) == Some("EMPTY OBJECT") {
                return Err(BindError::new("JSON_QUERY cannot return an EMPTY OBJECT as an ARRAY<STRING>"));
            }
        }
    }
    Ok(call("JSON_QUERY", args, logical.nullable()))
}

fn bind_exists(args: Vec<Expr>) -> Bound {
    let args = with_options("JSON_EXISTS", args, &[literal_string("FALSE")])?;
    Ok(call("JSON_EXISTS", args, LogicalType::Boolean.nullable()))
}

/// A path that is valid or finds nothing in any text.
struct Finder(Option<Path>);

impl Finder {
    fn new(site: &CallSite<'_>) -> Result<Self, CompileError> {
        let text = literal_text(&site.args[1])
            .ok_or_else(|| CompileError::invalid("the path into a JSON text must be a literal"))?;
        match Path::compile(text) {
            Ok(path) => Ok(Self(Some(path))),
            Err(PathError::Invalid) => Ok(Self(None)),
            Err(PathError::Unsupported) => {
                Err(CompileError::invalid(format!("the JSON path '{text}' is not supported")))
            }
        }
    }

    fn lax(&self) -> bool {
        self.0.as_ref().is_some_and(|path| path.mode == Mode::Lax)
    }

    /// What a text has at the path, `None` for a lax path that finds nothing; `Err` says why there is an error.
    fn find<'t>(&self, text: &'t str) -> Result<Option<Json<'t>>, &'static str> {
        let Some(path) = &self.0 else { return Err("the path is not valid") };
        let lax = path.mode == Mode::Lax;
        match parse(text) {
            None if lax => Ok(None),
            None => Err("it is not valid JSON"),
            // As in Flink, a text that is null has nothing at any path, not even at $.
            Some(Json::Null) => Err("it is null"),
            Some(root) => match path.find(&root) {
                Ok(found) => Ok(Some(found)),
                Err(()) if lax => Ok(None),
                Err(()) => Err("there is nothing at the path"),
            },
        }
    }
}

fn failed(name: &str, what: &str, text: &str) -> EvalError {
    let shown: String = text.chars().take(80).collect();
    EvalError::new(format!("{name}: {what}: '{shown}'"))
}

/// What is to be done where there is no value.
#[derive(Clone, Copy)]
enum Otherwise {
    Null,
    Error,
    /// The argument at this position.
    Default(usize),
}

impl Otherwise {
    fn new(site: &CallSite<'_>, at: usize) -> Result<Self, CompileError> {
        match site.args.get(at).and_then(literal_text) {
            Some("NULL") => Ok(Self::Null),
            Some("ERROR") => Ok(Self::Error),
            Some("DEFAULT") => Ok(Self::Default(at + 1)),
            _ => Err(CompileError::invalid("expected NULL, ERROR or DEFAULT")),
        }
    }
}

/// What a row of JSON_VALUE comes to.
enum Scalarly<'t> {
    Found(Json<'t>),
    Null,
    Default(usize),
}

struct ValueCall {
    finder: Finder,
    empty: Otherwise,
    error: Otherwise,
}

impl ValueCall {
    fn row<'t>(&self, text: &'t str) -> Result<Scalarly<'t>, EvalError> {
        let (otherwise, reason) = match self.finder.find(text) {
            Ok(None) => (self.empty, "there is no value"),
            Ok(Some(Json::Null)) => return Ok(Scalarly::Null),
            Ok(Some(found)) if found.is_scalar() => return Ok(Scalarly::Found(found)),
            Ok(Some(_)) if self.finder.lax() => (self.empty, "there is no scalar value"),
            Ok(Some(_)) => (self.error, "the value is no scalar"),
            Err(reason) => (self.error, reason),
        };
        match otherwise {
            Otherwise::Null => Ok(Scalarly::Null),
            Otherwise::Default(at) => Ok(Scalarly::Default(at)),
            Otherwise::Error => Err(failed("JSON_VALUE", reason, text)),
        }
    }
}

/// The text of a scalar.
fn push_scalar(json: &Json<'_>, out: &mut String) {
    match json {
        Json::Text(text) => out.push_str(text),
        Json::Integer(text) | Json::Decimal(text) => push_number(text, out),
        other => write(other, out),
    }
}

fn wrong_type(json: &Json<'_>, wanted: &str) -> EvalError {
    let mut text = String::new();
    push_scalar(json, &mut text);
    failed("JSON_VALUE", &format!("RETURNING {wanted} found another value"), &text)
}

/// The two defaults of JSON_VALUE, of which NULL makes the result NULL.
fn defaults<'a, T>(
    args: &'a [Value],
    call: &ValueCall,
    read: impl Fn(&'a Value) -> Result<T, EvalError>,
) -> Result<Vec<(usize, T)>, EvalError> {
    [call.empty, call.error]
        .into_iter()
        .filter_map(|otherwise| match otherwise {
            Otherwise::Default(at) => Some(read(&args[at]).map(|column| (at, column))),
            _ => None,
        })
        .collect()
}

fn json_value(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let call =
        ValueCall { finder: Finder::new(site)?, empty: Otherwise::new(site, 3)?, error: Otherwise::new(site, 5)? };
    let returning = site.data_type.logical.clone();
    Ok(Box::new(move |args, frame| {
        let (texts, rows) = (args[0].strings()?, frame.rows);
        match returning {
            LogicalType::Boolean => values_as_booleans(&call, args, &texts, rows),
            LogicalType::Int => {
                let columns: Vec<(usize, Primitives<'_, Int32Type>)> = defaults(args, &call, Value::primitives)?;
                try_primitives_by_row::<Int32Type>(rows, |row| {
                    let Some(text) = texts.get(row).filter(|_| columns.iter().all(|(_, c)| c.get(row).is_some()))
                    else {
                        return Ok(None);
                    };
                    match call.row(text)? {
                        Scalarly::Null => Ok(None),
                        Scalarly::Default(at) => Ok(columns.iter().find(|c| c.0 == at).and_then(|c| c.1.get(row))),
                        Scalarly::Found(found) => match &found {
                            Json::Integer(text) => text.parse().map(Some).map_err(|_| wrong_type(&found, "INT")),
                            _ => Err(wrong_type(&found, "INT")),
                        },
                    }
                })
            }
            LogicalType::Double => {
                let columns: Vec<(usize, Primitives<'_, Float64Type>)> = defaults(args, &call, Value::primitives)?;
                try_primitives_by_row::<Float64Type>(rows, |row| {
                    let Some(text) = texts.get(row).filter(|_| columns.iter().all(|(_, c)| c.get(row).is_some()))
                    else {
                        return Ok(None);
                    };
                    match call.row(text)? {
                        Scalarly::Null => Ok(None),
                        Scalarly::Default(at) => Ok(columns.iter().find(|c| c.0 == at).and_then(|c| c.1.get(row))),
                        // As in Flink, a number without a fraction is no DOUBLE.
                        Scalarly::Found(found) => match &found {
                            Json::Decimal(text) => text.parse().map(Some).map_err(|_| wrong_type(&found, "DOUBLE")),
                            _ => Err(wrong_type(&found, "DOUBLE")),
                        },
                    }
                })
            }
            _ => values_as_texts(&call, args, &texts, rows),
        }
    }))
}

fn values_as_booleans(
    call: &ValueCall,
    args: &[Value],
    texts: &Strings<'_>,
    rows: usize,
) -> Result<ArrayRef, EvalError> {
    let columns: Vec<(usize, Booleans<'_>)> = defaults(args, call, Value::booleans)?;
    let mut failure = None;
    let values = booleans_by_row(rows, |row| {
        let text = texts.get(row).filter(|_| columns.iter().all(|(_, c)| c.get(row).is_some()))?;
        match call.row(text) {
            Ok(Scalarly::Null) => None,
            Ok(Scalarly::Default(at)) => columns.iter().find(|c| c.0 == at).and_then(|c| c.1.get(row)),
            Ok(Scalarly::Found(Json::Boolean(value))) => Some(value),
            Ok(Scalarly::Found(found)) => {
                failure.get_or_insert_with(|| wrong_type(&found, "BOOLEAN"));
                None
            }
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    });
    failure.map_or(Ok(values), Err)
}

fn values_as_texts(call: &ValueCall, args: &[Value], texts: &Strings<'_>, rows: usize) -> Result<ArrayRef, EvalError> {
    let columns: Vec<(usize, Strings<'_>)> = defaults(args, call, Value::strings)?;
    try_strings_by_row(rows, rows * 8, |row, out| {
        let Some(text) = texts.get(row).filter(|_| columns.iter().all(|(_, c)| c.get(row).is_some())) else {
            return Ok(None);
        };
        match call.row(text)? {
            Scalarly::Null => return Ok(None),
            Scalarly::Found(found) => push_scalar(&found, out),
            Scalarly::Default(at) => {
                let default = columns.iter().find(|column| column.0 == at).and_then(|column| column.1.get(row));
                out.push_str(default.unwrap_or_default());
            }
        }
        Ok(Some(()))
    })
}

/// Whether JSON_QUERY puts what it finds into an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapper {
    Without,
    Conditional,
    Unconditional,
}

struct QueryCall {
    finder: Finder,
    wrapper: Wrapper,
    empty: String,
    error: String,
}

impl QueryCall {
    fn new(site: &CallSite<'_>) -> Result<Self, CompileError> {
        let option = |at: usize| {
            let text = site.args.get(at).and_then(literal_text).unwrap_or_default();
            match text {
                "NULL" | "ERROR" | "EMPTY ARRAY" | "EMPTY OBJECT" => Ok(text.to_owned()),
                _ => Err(CompileError::invalid("expected NULL, ERROR, EMPTY ARRAY or EMPTY OBJECT")),
            }
        };
        let wrapper = match site.args.get(3).and_then(literal_text) {
            Some("CONDITIONAL") => Wrapper::Conditional,
            Some("UNCONDITIONAL") => Wrapper::Unconditional,
            _ => Wrapper::Without,
        };
        Ok(Self { finder: Finder::new(site)?, wrapper, empty: option(4)?, error: option(5)? })
    }

    /// The array or object of a row; `None` is NULL.
    fn row<'t>(&self, text: &'t str) -> Result<Option<Json<'t>>, EvalError> {
        let (otherwise, reason) = match self.finder.find(text) {
            Ok(None) => (&self.empty, "there is no value"),
            Err(reason) => (&self.error, reason),
            Ok(Some(Json::Null)) => {
                let otherwise = if self.finder.lax() { &self.empty } else { &self.error };
                (otherwise, "the value is null")
            }
            Ok(Some(found)) => {
                let found = match (self.wrapper, &found) {
                    (Wrapper::Without, _) | (Wrapper::Conditional, Json::Array(_)) => found,
                    _ => Json::Array(vec![found]),
                };
                if !found.is_scalar() {
                    return Ok(Some(found));
                }
                let otherwise = if self.finder.lax() { &self.empty } else { &self.error };
                (otherwise, "the value is no array or object")
            }
        };
        match otherwise.as_str() {
            "EMPTY ARRAY" => Ok(Some(Json::Array(Vec::new()))),
            "EMPTY OBJECT" => Ok(Some(Json::Object(Vec::new()))),
            "NULL" => Ok(None),
            _ => Err(failed("JSON_QUERY", reason, text)),
        }
    }

    /// Like [`QueryCall::row`] for arrays: an object is an error.
    fn items<'t>(&self, text: &'t str) -> Result<Option<Vec<Json<'t>>>, EvalError> {
        match self.row(text)? {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(_) => match self.error.as_str() {
                "NULL" => Ok(None),
                "EMPTY ARRAY" => Ok(Some(Vec::new())),
                _ => Err(failed("JSON_QUERY", "the value is no array", text)),
            },
        }
    }
}

fn json_query(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let call = QueryCall::new(site)?;
    if matches!(site.data_type.logical.to_arrow(), ArrowType::List(_)) {
        return Ok(Box::new(move |args, frame| {
            let texts = args[0].strings()?;
            string_lists(frame.rows, |row, push| {
                let Some(text) = texts.get(row) else { return Ok(false) };
                let Some(items) = call.items(text)? else { return Ok(false) };
                for item in items {
                    let mut text = String::new();
                    push_scalar(&item, &mut text);
                    push(Some(text.as_str()).filter(|_| item != Json::Null));
                }
                Ok(true)
            })
        }));
    }
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        try_strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            Ok(call.row(text)?.map(|found| write(&found, out)))
        })
    }))
}

fn json_exists(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let finder = Finder::new(site)?;
    let otherwise = match site.args.get(2).and_then(literal_text) {
        Some("TRUE") => Some(Some(true)),
        Some("UNKNOWN") => Some(None),
        Some("ERROR") => None,
        _ => Some(Some(false)),
    };
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        let mut failure = None;
        let values = booleans_by_row(frame.rows, |row| {
            let text = texts.get(row)?;
            match finder.find(text) {
                Ok(found) => Some(found.is_some_and(|found| found != Json::Null)),
                Err(reason) => otherwise.unwrap_or_else(|| {
                    failure.get_or_insert_with(|| failed("JSON_EXISTS", reason, text));
                    None
                }),
            }
        });
        failure.map_or(Ok(values), Err)
    }))
}

fn is(test: fn(&Json<'_>) -> bool) -> Result<Kernel, CompileError> {
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        Ok(booleans_by_row(frame.rows, |row| Some(texts.get(row).and_then(parse).is_some_and(|json| test(&json)))))
    }))
}

/// The text that a JSON text has when it is written again: no blanks, sorted keys.
pub(super) fn json(_: &CallSite<'_>) -> Result<Kernel, CompileError> {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        let mut failure = None;
        let values = strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let text = texts.get(row)?.trim();
            match parse(text) {
                Some(json) => write(&json, out),
                None if text.is_empty() => return None,
                None => {
                    failure.get_or_insert_with(|| failed("JSON", "not valid JSON", text));
                }
            }
            Some(())
        })?;
        failure.map_or(Ok(values), Err)
    }))
}
