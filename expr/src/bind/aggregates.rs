//! Aggregate calls: which there are and what they return.

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::AggregateFunction;
use tidemill_common::types::{DataType, LogicalType};

use super::{BindError, cast_to, list_types, literal_integer};
use crate::own;

/// An aggregate call, typed.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundAggregate {
    pub function: AggregateFunction,
    /// Arguments to evaluate per row, with casts inserted (without constant parameters such as
    /// the fractions of PERCENTILE).
    pub args: Vec<Expr>,
    pub return_type: DataType,
}

/// Aggregates that can be bound.
pub(crate) const NAMES: [&str; 20] = [
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "APPROX_COUNT_DISTINCT",
    "PERCENTILE",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STDDEV",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "FIRST_VALUE",
    "LAST_VALUE",
    "LISTAGG",
    "ARRAY_AGG",
    "COLLECT",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
];

/// Aggregates of Flink that are known by name but refused, and why.
const REFUSED: [(&str, &str); 6] = [
    ("CUME_DIST", "is for OVER windows, which are not supported yet"),
    ("NTH_VALUE", "is not supported: Flink has no implementation of it either"),
    ("BITMAP_BUILD_AGG", "is not supported: there is no type BITMAP here"),
    ("BITMAP_AND_AGG", "is not supported: there is no type BITMAP here"),
    ("BITMAP_OR_AGG", "is not supported: there is no type BITMAP here"),
    ("BITMAP_XOR_AGG", "is not supported: there is no type BITMAP here"),
];

/// Whether a call of this name is an aggregate (also one that is not supported yet).
pub fn is_aggregate(name: &str) -> bool {
    let name = name.to_uppercase();
    NAMES.contains(&name.as_str()) || refusal(&name).is_some() || own::is_own_aggregate(&name)
}

fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}

/// Names of the built-in aggregates, for suggestions.
pub fn aggregate_names() -> &'static [&'static str] {
    &NAMES
}

/// Binds an aggregate call. `COUNT(*)` has no arguments.
///
/// # Errors
/// If the aggregate is unknown, or does not take arguments of these types.
pub fn bind_aggregate(name: &str, args: Vec<Expr>, distinct: bool) -> Result<BoundAggregate, BindError> {
    let name = name.to_uppercase();
    let count = |expected: usize| -> Result<(), BindError> {
        if args.len() == expected {
            return Ok(());
        }
        Err(BindError::new(format!("{name} takes {expected} argument(s), not {}", args.len())))
    };
    let wrong = |what: &str| {
        let given = list_types(args.iter().map(Expr::data_type));
        BindError::new(format!("{name} takes {what}, not {given}"))
    };
    let bound = |function, args, return_type| Ok(BoundAggregate { function, args, return_type });
    match name.as_str() {
        "COUNT" => {
            if args.len() > 1 && !distinct {
                return Err(BindError::new(
                    "COUNT of several columns is for DISTINCT only, as in Flink; use COUNT(*) FILTER (WHERE ...)",
                ));
            }
            if distinct && args.is_empty() {
                return Err(BindError::new("COUNT(DISTINCT *) has no meaning: name a column"));
            }
            // A constant that is not NULL counts rows.
            let args = match args.first() {
                Some(Expr::Literal { value, .. }) if *value != Scalar::Null && !distinct => Vec::new(),
                Some(arg) if arg.data_type().logical == LogicalType::Null => {
                    vec![cast_to(arg.clone(), &LogicalType::Int)?]
                }
                _ => args,
            };
            bound(AggregateFunction::Count, args, LogicalType::BigInt.not_null())
        }
        "SUM" => {
            count(1)?;
            let logical = match &args[0].data_type().logical {
                LogicalType::Decimal(_, scale) => LogicalType::Decimal(38, *scale),
                logical if logical.is_numeric() => logical.clone(),
                _ => return Err(wrong("a number")),
            };
            bound(AggregateFunction::Sum, args, logical.nullable())
        }
        "AVG" => {
            count(1)?;
            let logical = match &args[0].data_type().logical {
                LogicalType::Decimal(_, scale) => LogicalType::Decimal(38, (*scale).max(6)),
                logical if logical.is_numeric() => logical.clone(),
                _ => return Err(wrong("a number")),
            };
            bound(AggregateFunction::Avg, args, logical.nullable())
        }
        "MIN" | "MAX" => {
            count(1)?;
            let logical = args[0].data_type().logical.clone();
            match logical {
                LogicalType::Null
                | LogicalType::Array(_)
                | LogicalType::Map(..)
                | LogicalType::Multiset(_)
                | LogicalType::Row(_) => {
                    return Err(wrong("a value that has an order"));
                }
                LogicalType::Binary(_) | LogicalType::Varbinary(_) => return Err(wrong("a value that has an order")),
                _ => {}
            }
            let function = if name == "MIN" { AggregateFunction::Min } else { AggregateFunction::Max };
            bound(function, args, logical.nullable())
        }
        "APPROX_COUNT_DISTINCT" => {
            count(1)?;
            if distinct {
                return Err(BindError::new("APPROX_COUNT_DISTINCT does not take DISTINCT"));
            }
            bound(AggregateFunction::ApproxCountDistinct, args, LogicalType::BigInt.not_null())
        }
        "PERCENTILE" => {
            if args.len() != 3 {
                count(2)?;
            }
            if distinct {
                return Err(BindError::new("PERCENTILE does not take DISTINCT"));
            }
            if !args[0].data_type().logical.is_numeric() {
                return Err(wrong("a number and fractions between 0 and 1"));
            }
            let (fractions, array) = fractions(&args[1])?;
            let logical = LogicalType::Double;
            let return_type =
                if array { LogicalType::Array(Box::new(logical.nullable())).nullable() } else { logical.nullable() };
            let mut values = vec![cast_to(args[0].clone(), &LogicalType::Double)?];
            if let Some(frequency) = args.get(2) {
                if !frequency.data_type().logical.is_integer() {
                    return Err(wrong("a number, fractions between 0 and 1, and an integer"));
                }
                values.push(cast_to(frequency.clone(), &LogicalType::BigInt)?);
            }
            bound(AggregateFunction::Percentile { fractions, array }, values, return_type)
        }
        "STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP" | "VAR_SAMP" | "VARIANCE" => {
            count(1)?;
            let logical = match &args[0].data_type().logical {
                LogicalType::Decimal(_, scale) => LogicalType::Decimal(38, (*scale).max(6)),
                logical if logical.is_numeric() => logical.clone(),
                _ => return Err(wrong("a number")),
            };
            let function = AggregateFunction::Variance { sample: !name.ends_with("POP"), root: name.starts_with('S') };
            bound(function, args, logical.nullable())
        }
        "FIRST_VALUE" | "LAST_VALUE" => {
            count(1)?;
            let logical = args[0].data_type().logical.clone();
            if logical == LogicalType::Null {
                return Err(wrong("a value of a type; add a CAST"));
            }
            let function =
                if name == "FIRST_VALUE" { AggregateFunction::FirstValue } else { AggregateFunction::LastValue };
            bound(function, args, logical.nullable())
        }
        "LISTAGG" => {
            if args.len() != 2 {
                count(1)?;
            }
            if !args.iter().all(|arg| arg.data_type().logical.is_string()) {
                return Err(wrong("texts; add a CAST"));
            }
            let separator = match args.get(1).map(super::literal_text) {
                None => ",".to_owned(),
                Some(Some(separator)) => separator.to_owned(),
                Some(None) => return Err(BindError::new("the separator of LISTAGG must be a literal")),
            };
            let value = cast_to(args[0].clone(), &LogicalType::STRING)?;
            bound(AggregateFunction::ListAgg { separator }, vec![value], LogicalType::STRING.nullable())
        }
        "ARRAY_AGG" => {
            count(1)?;
            let element = args[0].data_type().clone();
            bound(
                AggregateFunction::ArrayAgg { ignore_nulls: false },
                args,
                LogicalType::Array(Box::new(element)).nullable(),
            )
        }
        "COLLECT" => {
            count(1)?;
            let element = args[0].data_type().logical.clone().not_null();
            bound(AggregateFunction::Collect, args, LogicalType::Multiset(Box::new(element)).not_null())
        }
        "JSON_ARRAYAGG" => {
            let (absent_on_null, args) = json_option(&name, args)?;
            let [value] = <[Expr; 1]>::try_from(args)
                .map_err(|args| BindError::new(format!("{name} takes 1 argument, not {}", args.len())))?;
            let text = super::bind_call("JSON_STRING", vec![value])?;
            bound(AggregateFunction::JsonArrayAgg { absent_on_null }, vec![text], LogicalType::STRING.not_null())
        }
        "JSON_OBJECTAGG" => {
            let (absent_on_null, args) = json_option(&name, args)?;
            let [key, value] = <[Expr; 2]>::try_from(args)
                .map_err(|_| BindError::new(format!("{name} takes KEY name VALUE value")))?;
            if !key.data_type().logical.is_string() {
                return Err(BindError::new(format!(
                    "the key of JSON_OBJECTAGG must be a text, not {}",
                    key.data_type().logical
                )));
            }
            let args = vec![cast_to(key, &LogicalType::STRING)?, super::bind_call("JSON_STRING", vec![value])?];
            bound(AggregateFunction::JsonObjectAgg { absent_on_null }, args, LogicalType::STRING.not_null())
        }
        other if refusal(other).is_some() => {
            Err(BindError::new(format!("{other} {}", refusal(other).unwrap_or_default())))
        }
        other => {
            if let Some(bound) = own::bind_aggregate(other, args, distinct) {
                return bound;
            }
            let hint = match tidemill_common::suggest::nearest(other, NAMES) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            Err(BindError::new(format!("there is no aggregate function {other}{hint}")))
        }
    }
}

/// The first argument of the JSON aggregates, `NULL` or `ABSENT` (on NULL), and the others.
fn json_option(name: &str, mut args: Vec<Expr>) -> Result<(bool, Vec<Expr>), BindError> {
    let option = args.first().and_then(super::literal_text).map(str::to_owned);
    match option.as_deref() {
        Some(option @ ("NULL" | "ABSENT")) => {
            args.remove(0);
            Ok((option == "ABSENT", args))
        }
        _ => Err(BindError::new(format!("{name} lacks NULL ON NULL or ABSENT ON NULL"))),
    }
}

fn fractions(expr: &Expr) -> Result<(Vec<f64>, bool), BindError> {
    if let Expr::Call { function, args, .. } = expr
        && function.name == "ARRAY"
    {
        let values: Vec<f64> = args.iter().map(fraction).collect::<Result<_, _>>()?;
        return Ok((values, true));
    }
    Ok((vec![fraction(expr)?], false))
}

fn fraction(expr: &Expr) -> Result<f64, BindError> {
    let value = match expr {
        Expr::Literal { value: Scalar::Decimal(unscaled), data_type } => {
            let LogicalType::Decimal(_, scale) = data_type.logical else {
                return Err(BindError::new("the fractions of PERCENTILE must be literals between 0 and 1"));
            };
            Some(crate::decimal::to_f64(*unscaled, scale))
        }
        Expr::Literal { value: Scalar::Double(value), .. } => Some(*value),
        Expr::Literal { value: Scalar::Float(value), .. } => Some(f64::from(*value)),
        Expr::Cast { input, .. } => Some(fraction(input)?),
        other => literal_integer(other).map(|value| value as f64),
    };
    match value {
        Some(value) if (0.0..=1.0).contains(&value) => Ok(value),
        Some(value) => Err(BindError::new(format!("a fraction of PERCENTILE must be between 0 and 1, not {value}"))),
        None => Err(BindError::new("the fractions of PERCENTILE must be literals between 0 and 1")),
    }
}
