//! What a function is: one [`Function`] holds its name, parameters, type rule, kernel and
//! documentation. The lists stand in `functions/`.

use std::collections::HashMap;
use std::sync::OnceLock;

use arrow::array::ArrayRef;
use tidemill_common::expr::Expr;
use tidemill_common::types::{DataType, LogicalType, MAX_LENGTH};

use crate::bind::{BindError, any_nullable, call, cast_to, common_logical};
use crate::eval::value::Value;
use crate::eval::{CompileError, EvalContext, EvalError};
use crate::functions;

/// A parameter: what it takes and what it converts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// CHAR or VARCHAR.
    Text,
    /// CHAR, VARCHAR, BINARY or VARBINARY; texts are taken as UTF-8.
    TextOrBytes,
    Bytes,
    /// TINYINT to INT, converted to INT.
    Int,
    /// Any integer, converted to BIGINT.
    BigInt,
    /// Any number, converted to DOUBLE.
    Double,
    /// Any number, as it is.
    Number,
    /// TIMESTAMP or TIMESTAMP_LTZ, as it is.
    Timestamp,
    /// DATE, TIMESTAMP or TIMESTAMP_LTZ.
    Instant,
    /// DATE, TIME, TIMESTAMP, TIMESTAMP_LTZ.
    Temporal,
    Array,
    ArrayOrMap,
    Map,
    Any,
}

/// When a result is nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nullable {
    IfAnyArgument,
    Always,
    Never,
}

/// How long a value stays the same for the same arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Volatility {
    Immutable,
    /// The clock: one value a batch.
    Batch,
    /// Another value a row.
    Row,
}

/// Groups of docs/sql.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Comparison,
    Logical,
    Arithmetic,
    Conditional,
    String,
    Regex,
    Temporal,
    Json,
    Hash,
    Collection,
    Conversion,
    Aggregate,
}

/// A call about to be compiled: kernels look at literal arguments here, once.
pub(crate) struct CallSite<'a> {
    pub args: &'a [Expr],
    pub data_type: &'a DataType,
}

/// What a kernel knows besides its arguments.
pub(crate) struct Frame<'a> {
    pub rows: usize,
    pub context: &'a EvalContext,
}

/// Evaluates a call on whole columns. Arguments are arrays of `rows` rows or scalars; the result
/// has `rows` rows.
pub(crate) type Kernel = Box<dyn Fn(&[Value], &Frame<'_>) -> Result<ArrayRef, EvalError> + Send + Sync>;

/// Binds a call by itself.
pub(crate) type BindRule = fn(Vec<Expr>) -> Result<Expr, BindError>;

/// The result type for converted arguments.
pub(crate) type ReturnRule = fn(&[Expr]) -> Result<LogicalType, BindError>;

/// One entry of the registry.
pub(crate) struct Function {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub category: Category,
    pub params: &'static [Param],
    pub required: usize,
    /// The last parameter may repeat.
    pub variadic: bool,
    pub returns: ReturnRule,
    pub nullable: Nullable,
    pub custom: Option<BindRule>,
    pub compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    /// Whether some values make it fail, so that it may only be evaluated for rows that need it.
    pub can_fail: bool,
    pub volatility: Volatility,
    pub signature: &'static str,
    pub description: &'static str,
    pub difference: &'static str,
}

impl Function {
    /// A function with fixed parameters, all of them required.
    pub const fn new(
        name: &'static str,
        category: Category,
        params: &'static [Param],
        returns: ReturnRule,
        compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            category,
            params,
            required: params.len(),
            variadic: false,
            returns,
            nullable: Nullable::IfAnyArgument,
            custom: None,
            compile,
            can_fail: false,
            volatility: Volatility::Immutable,
            signature: "",
            description: "",
            difference: "",
        }
    }

    /// Only the first `required` parameters must be given.
    pub const fn optional_after(mut self, required: usize) -> Self {
        self.required = required;
        self
    }

    /// The last parameter may repeat.
    pub const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    /// The result can be NULL even if no argument is.
    pub const fn may_be_null(mut self) -> Self {
        self.nullable = Nullable::Always;
        self
    }

    /// The result is never NULL.
    pub const fn never_null(mut self) -> Self {
        self.nullable = Nullable::Never;
        self
    }

    /// Some values are errors.
    pub const fn can_fail(mut self) -> Self {
        self.can_fail = true;
        self
    }

    /// Depends on more than its arguments.
    pub const fn volatile(mut self, volatility: Volatility) -> Self {
        self.volatility = volatility;
        self
    }

    /// Other names.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Binds itself instead of by parameters and return rule.
    pub const fn custom(mut self, bind: BindRule) -> Self {
        self.custom = Some(bind);
        self
    }

    /// Documentation.
    pub const fn doc(mut self, signature: &'static str, description: &'static str) -> Self {
        self.signature = signature;
        self.description = description;
        self
    }

    /// Where it differs from Flink.
    pub const fn differs(mut self, difference: &'static str) -> Self {
        self.difference = difference;
        self
    }

    /// Checks and converts the arguments, infers the type.
    pub fn bind(&self, args: Vec<Expr>) -> Result<Expr, BindError> {
        if let Some(custom) = self.custom {
            return custom(args);
        }
        let args = convert_arguments(self.name, self.params, self.required, self.variadic, args)?;
        let logical = (self.returns)(&args)?;
        let nullable = match self.nullable {
            Nullable::IfAnyArgument => any_nullable(&args),
            Nullable::Always => true,
            Nullable::Never => false,
        };
        let data_type = logical.with_nullable(nullable);
        // Wrong constants (a pattern, say) are found now, not when the job starts.
        if let Err(error) = (self.compile)(&CallSite { args: &args, data_type: &data_type }) {
            return Err(BindError::new(format!("{}: {error}", self.name)));
        }
        Ok(call(self.name, args, data_type))
    }
}

/// Checks the number and the types of arguments, and converts them to what the kernel takes.
pub(crate) fn convert_arguments(
    name: &str,
    params: &[Param],
    required: usize,
    variadic: bool,
    args: Vec<Expr>,
) -> Result<Vec<Expr>, BindError> {
    if args.len() < required || (args.len() > params.len() && !variadic) {
        let expected = if variadic {
            format!("at least {required}")
        } else if required == params.len() {
            format!("{required}")
        } else {
            format!("{required} to {}", params.len())
        };
        return Err(BindError::new(format!("{name} takes {expected} argument(s), not {}", args.len())));
    }
    let last = params.len().saturating_sub(1);
    args.into_iter().enumerate().map(|(index, arg)| convert(name, index, params[index.min(last)], arg)).collect()
}

fn convert(name: &str, index: usize, param: Param, arg: Expr) -> Result<Expr, BindError> {
    use LogicalType as L;
    let given = &arg.data_type().logical;
    let target: Option<LogicalType> = match (param, given) {
        (Param::Any, _) => None,
        (Param::Text | Param::TextOrBytes, L::Null) => Some(L::STRING),
        (Param::Text, t) if t.is_string() => None,
        (Param::TextOrBytes, t) if t.is_string() => None,
        (Param::TextOrBytes | Param::Bytes, L::Binary(_) | L::Varbinary(_)) => None,
        (Param::Bytes, L::Null) => Some(L::BYTES),
        (Param::Int, L::Int) | (Param::BigInt, L::BigInt) | (Param::Double, L::Double) => None,
        (Param::Int, L::TinyInt | L::SmallInt | L::Null) => Some(L::Int),
        (Param::BigInt, L::Null) => Some(L::BigInt),
        (Param::BigInt, t) if t.is_integer() => Some(L::BigInt),
        (Param::Double, L::Null) => Some(L::Double),
        (Param::Double, t) if t.is_numeric() => Some(L::Double),
        (Param::Number, L::Null) => Some(L::Int),
        (Param::Number, t) if t.is_numeric() => None,
        (Param::Timestamp | Param::Instant | Param::Temporal, L::Timestamp(_) | L::TimestampLtz(_)) => None,
        (Param::Timestamp | Param::Instant | Param::Temporal, L::Null) => Some(L::Timestamp(3)),
        (Param::Instant | Param::Temporal, L::Date) => None,
        (Param::Temporal, L::Time(_)) => None,
        (Param::Timestamp, L::Date) => Some(L::Timestamp(3)),
        (Param::Array | Param::ArrayOrMap, L::Array(_)) | (Param::Map | Param::ArrayOrMap, L::Map(..)) => None,
        _ => {
            return Err(BindError::new(format!(
                "argument {} of {name} must be {}, not {given}; add a CAST",
                index + 1,
                describe(param)
            )));
        }
    };
    match target {
        Some(logical) => cast_to(arg, &logical),
        None => Ok(arg),
    }
}

fn describe(param: Param) -> &'static str {
    match param {
        Param::Text => "a text",
        Param::TextOrBytes => "a text or BYTES",
        Param::Bytes => "BYTES",
        Param::Int => "an INT",
        Param::BigInt => "an integer",
        Param::Double | Param::Number => "a number",
        Param::Timestamp => "a TIMESTAMP",
        Param::Instant => "a DATE or TIMESTAMP",
        Param::Temporal => "a DATE, TIME or TIMESTAMP",
        Param::Array => "an ARRAY",
        Param::ArrayOrMap => "an ARRAY or MAP",
        Param::Map => "a MAP",
        Param::Any => "a value",
    }
}

/// Every entry.
pub(crate) fn all() -> impl Iterator<Item = &'static Function> {
    functions::ALL.iter().flat_map(|list| list.iter())
}

/// The entry with this upper-case name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Function>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        all()
            .flat_map(|function| {
                std::iter::once(function.name).chain(function.aliases.iter().copied()).map(move |name| (name, function))
            })
            .collect()
    });
    by_name.get(name).copied()
}

/// Return rules that many functions share.
pub(crate) mod returns {
    use super::{BindError, Expr, LogicalType, MAX_LENGTH, common_logical};

    type Rule = Result<LogicalType, BindError>;

    pub fn string(_: &[Expr]) -> Rule {
        Ok(LogicalType::STRING)
    }
    pub fn bytes(_: &[Expr]) -> Rule {
        Ok(LogicalType::BYTES)
    }
    pub fn boolean(_: &[Expr]) -> Rule {
        Ok(LogicalType::Boolean)
    }
    pub fn int(_: &[Expr]) -> Rule {
        Ok(LogicalType::Int)
    }
    pub fn bigint(_: &[Expr]) -> Rule {
        Ok(LogicalType::BigInt)
    }
    pub fn double(_: &[Expr]) -> Rule {
        Ok(LogicalType::Double)
    }
    pub fn date(_: &[Expr]) -> Rule {
        Ok(LogicalType::Date)
    }
    pub fn timestamp(_: &[Expr]) -> Rule {
        Ok(LogicalType::Timestamp(3))
    }
    pub fn timestamp_ltz(_: &[Expr]) -> Rule {
        Ok(LogicalType::TimestampLtz(3))
    }
    pub fn time(_: &[Expr]) -> Rule {
        Ok(LogicalType::Time(0))
    }
    /// The type of the first argument.
    pub fn first(args: &[Expr]) -> Rule {
        Ok(args[0].data_type().logical.clone())
    }
    /// The first argument's text type, but of any length.
    pub fn varying(args: &[Expr]) -> Rule {
        Ok(match &args[0].data_type().logical {
            LogicalType::Char(length) => LogicalType::Varchar(*length),
            LogicalType::Varchar(length) => LogicalType::Varchar(*length),
            other => other.clone(),
        })
    }
    /// The common type of all arguments.
    pub fn common(args: &[Expr]) -> Rule {
        let mut logical = args[0].data_type().logical.clone();
        for arg in &args[1..] {
            let other = &arg.data_type().logical;
            logical = common_logical(&logical, other)
                .ok_or_else(|| BindError::new(format!("{logical} and {other} have no common type; add a CAST")))?;
        }
        Ok(logical)
    }
    /// `CHAR(n)`s and `VARCHAR(n)`s joined.
    pub fn joined(args: &[Expr]) -> Rule {
        let mut total: u64 = 0;
        let mut fixed = true;
        for arg in args {
            match arg.data_type().logical {
                LogicalType::Char(length) => total += u64::from(length),
                LogicalType::Varchar(length) => {
                    fixed = false;
                    total += u64::from(length);
                }
                _ => return Ok(LogicalType::STRING),
            }
        }
        Ok(match u32::try_from(total) {
            Ok(length) if length < MAX_LENGTH && fixed => LogicalType::Char(length),
            Ok(length) if length < MAX_LENGTH => LogicalType::Varchar(length),
            _ => LogicalType::STRING,
        })
    }
}
