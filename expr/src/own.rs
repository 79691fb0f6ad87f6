//! Functions of users: a binary brings them along, and installs them once, before anything is planned or run.
//!
//! Plans name them by name and version, as they do the built-in ones. Several versions of a function may be
//! there at a time: what is planned takes the newest, a plan that is older the one that it names.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::ArrayRef;
use tidemill_common::expr::{Expr, FunctionId};
use tidemill_common::plan::{AggregateFunction, OperatorKind, StreamPlan, TableFunction};
use tidemill_common::types::{DataType, Field, LogicalType};

use crate::bind::{BindError, BoundAggregate, aggregate_names, coerce, function_names, is_aggregate};
use crate::registry;

/// Names that the grammar gives a meaning of their own, in no registry.
const TAKEN: [&str; 13] = [
    "CUMULATE",
    "DESCRIPTOR",
    "GROUPING",
    "GROUPING_ID",
    "HOP",
    "LATERAL",
    "MATCH_PROCTIME",
    "MATCH_ROWTIME",
    "SESSION",
    "TABLE",
    "TUMBLE",
    "UNNEST",
    "TYPEOF",
];

/// An argument of a call: a column, or one value for all rows.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// One row if `constant`.
    pub array: &'a ArrayRef,
    pub constant: bool,
}

/// Evaluates a scalar function on whole columns.
pub trait ScalarKernel: Send + Sync {
    /// A column of `rows` values of the type that the function returns. A failure is said for people.
    fn evaluate(&self, args: &[Argument<'_>], rows: usize) -> Result<ArrayRef, String>;
}

/// Rows that a table function has made.
#[derive(Debug)]
pub struct MadeRows {
    /// The row of the input of each, ascending.
    pub parents: Vec<u32>,
    /// The columns of the function; all NULL where an outer join has nothing.
    pub columns: Vec<ArrayRef>,
}

/// Evaluates a table function on whole columns.
pub trait TableKernel: Send + Sync {
    /// Hands the rows that are made of `rows` rows to `emit`, a batch at a time, until that says no. With
    /// `outer` a row of which none are made gives one of NULLs. A failure is said for people.
    fn evaluate(
        &self,
        args: &[Argument<'_>],
        rows: usize,
        outer: bool,
        emit: &mut dyn FnMut(MadeRows) -> bool,
    ) -> Result<(), String>;
}

/// A parameter of an own function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub logical: LogicalType,
    /// The function is called with NULLs too. Otherwise NULL makes a scalar NULL, a table function gives no
    /// rows of it, and an aggregate leaves the row out.
    pub takes_null: bool,
}

/// What kind of function it is, and what it gives.
pub enum Kind {
    Scalar {
        returns: LogicalType,
        /// It may give NULL although no argument is.
        nullable: bool,
        /// The same for the same arguments.
        deterministic: bool,
        kernel: Box<dyn ScalarKernel>,
    },
    Table {
        columns: Vec<Field>,
        kernel: Box<dyn TableKernel>,
    },
    /// Its accumulators are installed where state is.
    Aggregate {
        returns: DataType,
    },
}

/// One version of a function.
pub struct Function {
    /// In upper case.
    pub name: String,
    pub version: u16,
    pub parameters: Vec<Parameter>,
    pub kind: Kind,
}

impl Function {
    fn id(&self) -> FunctionId {
        FunctionId { name: self.name.clone().into(), version: self.version }
    }

    /// `PRICE(DOUBLE, INT)`, for messages.
    pub fn signature(&self) -> String {
        let parameters: Vec<String> = self.parameters.iter().map(|parameter| parameter.logical.to_string()).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// Arguments of the types that the function takes, converted where Flink converts by itself.
    fn convert(&self, args: Vec<Expr>) -> Result<Vec<Expr>, BindError> {
        if args.len() != self.parameters.len() {
            let (expected, given) = (self.parameters.len(), args.len());
            return Err(BindError::new(format!(
                "{} takes {expected} argument(s), not {given}: {}",
                self.name,
                self.signature()
            )));
        }
        let convert = |(index, (arg, parameter)): (usize, (Expr, &Parameter))| {
            let (given, wanted) = (&arg.data_type().logical, &parameter.logical);
            // The length of a text is no part of what carries it.
            let same = matches!(wanted, LogicalType::Varchar(_)) && given.is_string();
            if same || given == wanted {
                return Ok(arg);
            }
            let given = given.clone();
            coerce(arg, &wanted.clone().nullable()).map_err(|_| {
                BindError::new(format!(
                    "argument {} of {} must be {wanted}, not {given}; add a CAST",
                    index + 1,
                    self.name
                ))
            })
        };
        args.into_iter().zip(&self.parameters).enumerate().map(convert).collect()
    }
}

/// The functions of a binary.
#[derive(Default)]
pub struct Functions {
    /// The versions of each, ascending.
    by_name: BTreeMap<String, BTreeMap<u16, Function>>,
}

/// Why a function cannot be registered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegisterError {
    #[error(
        "'{name}' is no name of a function: it takes a letter or '_' and then letters, digits and '_', so that it can be called without quotes"
    )]
    Name { name: String },
    #[error("{name} is a built-in function, which would always be meant; give your own another name")]
    BuiltIn { name: String },
    #[error("{name} version {version} is registered twice; a function with another meaning takes another version")]
    Twice { name: String, version: u16 },
    #[error("the version of {name} is 0; versions begin with 1")]
    VersionZero { name: String },
    #[error("{name} is {one} in one version and {other} in another; give one of them another name")]
    Kinds { name: String, one: &'static str, other: &'static str },
    #[error("{name}: {reason}")]
    Columns { name: String, reason: String },
    #[error("the functions of this process are fixed already; register all of them before main")]
    Installed,
}

impl Functions {
    const fn new() -> Self {
        Self { by_name: BTreeMap::new() }
    }

    /// Adds a version of a function.
    ///
    /// # Errors
    /// If it could not be called, or is there already.
    pub fn add(&mut self, mut function: Function) -> Result<(), RegisterError> {
        let mut letters = function.name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(RegisterError::Name { name: function.name });
        }
        function.name = function.name.to_ascii_uppercase();
        let (name, version) = (function.name.clone(), function.version);
        let is_taken = registry::find(&name).is_some() || is_aggregate(&name) || TAKEN.contains(&name.as_str());
        if is_taken {
            return Err(RegisterError::BuiltIn { name });
        }
        if version == 0 {
            return Err(RegisterError::VersionZero { name });
        }
        let versions = self.by_name.entry(name.clone()).or_default();
        if let Some(other) = versions.values().next()
            && kind(other) != kind(&function)
        {
            return Err(RegisterError::Kinds { name, one: kind(other), other: kind(&function) });
        }
        match versions.insert(version, function) {
            None => Ok(()),
            Some(_) => Err(RegisterError::Twice { name, version }),
        }
    }

    /// The newest version of a function; `name` in upper case.
    pub fn newest(&self, name: &str) -> Option<&Function> {
        self.by_name.get(name)?.values().next_back()
    }

    /// The function that a plan names.
    pub fn get(&self, id: &FunctionId) -> Option<&Function> {
        self.by_name.get(&*id.name)?.get(&id.version)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

fn kind(function: &Function) -> &'static str {
    match function.kind {
        Kind::Scalar { .. } => "a scalar function",
        Kind::Table { .. } => "a table function",
        Kind::Aggregate { .. } => "an aggregate function",
    }
}

static INSTALLED: OnceLock<Functions> = OnceLock::new();
static NONE: Functions = Functions::new();

/// Makes functions known for as long as the process lives.
///
/// # Errors
/// If some are already.
pub fn install(functions: Functions) -> Result<(), RegisterError> {
    INSTALLED.set(functions).map_err(|_| RegisterError::Installed)
}

/// The functions of this process.
pub fn functions() -> &'static Functions {
    INSTALLED.get().unwrap_or(&NONE)
}

/// Whether an own function of this name is an aggregate.
pub(crate) fn is_own_aggregate(upper: &str) -> bool {
    functions().newest(upper).is_some_and(|function| matches!(function.kind, Kind::Aggregate { .. }))
}

/// Binds a call of a scalar function, if there is an own function of this name.
pub(crate) fn bind_scalar(upper: &str, args: Vec<Expr>) -> Option<Result<Expr, BindError>> {
    let function = functions().newest(upper)?;
    Some(match &function.kind {
        Kind::Scalar { returns, nullable, .. } => function.convert(args).map(|args| {
            let of_null = args
                .iter()
                .zip(&function.parameters)
                .any(|(arg, parameter)| arg.data_type().nullable && !parameter.takes_null);
            let data_type = returns.clone().with_nullable(*nullable || of_null);
            Expr::Call { function: function.id(), args, data_type }
        }),
        Kind::Table { .. } => {
            Err(BindError::new(format!("{upper} is a table function: write LATERAL TABLE({upper}(...)) in FROM")))
        }
        Kind::Aggregate { .. } => Err(BindError::new(format!(
            "{upper} is an aggregate function: it cannot stand here, among values of one row"
        ))),
    })
}

/// Binds a call of an aggregate, if there is an own one of this name.
pub(crate) fn bind_aggregate(
    upper: &str,
    args: Vec<Expr>,
    distinct: bool,
) -> Option<Result<BoundAggregate, BindError>> {
    let function = functions().newest(upper)?;
    let Kind::Aggregate { returns } = &function.kind else { return None };
    if distinct && function.parameters.len() != 1 {
        return Some(Err(BindError::new(format!(
            "DISTINCT takes an aggregate of one argument, and {upper} has {}",
            function.parameters.len()
        ))));
    }
    Some(function.convert(args).map(|args| BoundAggregate {
        function: AggregateFunction::Own(function.id()),
        args,
        return_type: returns.clone(),
    }))
}

/// A table function, typed.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundTable {
    pub id: FunctionId,
    /// With casts inserted.
    pub args: Vec<Expr>,
    /// The columns that it makes.
    pub columns: Vec<Field>,
}

/// Binds a call of an own table function. `name` in any case.
///
/// # Errors
/// If there is none of this name, or if it does not take arguments of these types.
pub fn bind_table(name: &str, args: Vec<Expr>) -> Result<BoundTable, BindError> {
    let upper = name.to_uppercase();
    match functions().newest(&upper) {
        Some(function) => match &function.kind {
            Kind::Table { columns, .. } => {
                let args = function.convert(args)?;
                Ok(BoundTable { id: function.id(), args, columns: columns.clone() })
            }
            _ => Err(BindError::new(format!("{upper} is {}, not a table function", kind(function)))),
        },
        None if registry::find(&upper).is_some() || is_aggregate(&upper) => {
            Err(BindError::new(format!("{upper} is a function of values, not a table function")))
        }
        None => {
            let near = tidemill_common::suggest::nearest(&upper, table_names());
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(BindError::new(format!("unknown table function {upper}{hint}")))
        }
    }
}

/// The names of own table functions.
pub fn table_names() -> impl Iterator<Item = &'static str> {
    let is_table =
        |name: &&str| functions().newest(name).is_some_and(|function| matches!(function.kind, Kind::Table { .. }));
    functions().names().filter(is_table)
}

/// Every name that may be called with values: built-in and own, scalar, table and aggregate functions.
pub fn callable_names() -> impl Iterator<Item = &'static str> {
    function_names().into_iter().chain(aggregate_names().iter().copied()).chain(functions().names())
}

/// Whether the value of a call depends on nothing but the arguments.
pub(crate) fn is_deterministic(id: &FunctionId) -> bool {
    functions().get(id).is_some_and(|function| matches!(function.kind, Kind::Scalar { deterministic: true, .. }))
}

/// What of a plan this binary does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what}; run the same binary, with the same functions in its registry, in the whole cluster")]
pub struct UnknownFunction {
    what: String,
}

impl UnknownFunction {
    fn new(id: &FunctionId) -> Self {
        let name = &id.name;
        let versions = functions().by_name.get(&**name);
        let known: Vec<String> = versions.into_iter().flatten().map(|(version, _)| version.to_string()).collect();
        let what = if known.is_empty() {
            format!("the plan calls {name} version {}, a function that is not in this binary", id.version)
        } else {
            format!("the plan calls {name} version {}, and this binary has version {}", id.version, known.join(", "))
        };
        Self { what }
    }
}

/// Whether this binary has every function that a plan names.
///
/// # Errors
/// If it lacks one.
pub fn check_plan(plan: &StreamPlan) -> Result<(), UnknownFunction> {
    let mut missing = None;
    let mut look = |id: &FunctionId, known: bool| {
        if !known && missing.is_none() {
            missing = Some(UnknownFunction::new(id));
        }
    };
    for expression in plan.expressions() {
        expression.visit(&mut |part| {
            if let Expr::Call { function, .. } = part {
                let built_in = function.version == 1 && registry::find(&function.name).is_some();
                look(function, built_in || is(function, |kind| matches!(kind, Kind::Scalar { .. })));
            }
        });
    }
    for operator in &plan.operators {
        match &operator.kind {
            OperatorKind::Correlate(correlate) => {
                if let TableFunction::Own(id) = &correlate.function {
                    look(id, is(id, |kind| matches!(kind, Kind::Table { .. })));
                }
            }
            OperatorKind::WindowAggregate(aggregate) => {
                for call in &aggregate.calls {
                    if let AggregateFunction::Own(id) = &call.function {
                        look(id, is(id, |kind| matches!(kind, Kind::Aggregate { .. })));
                    }
                }
            }
            _ => {}
        }
    }
    missing.map_or(Ok(()), Err)
}

fn is(id: &FunctionId, test: impl Fn(&Kind) -> bool) -> bool {
    functions().get(id).is_some_and(|function| test(&function.kind))
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
