//! Aggregate calls: which there are and what they return.

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::AggregateFunction;
use tidemill_common::types::{DataType, LogicalType};

use super::{BindError, cast_to, list_types, literal_integer};

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
pub(crate) const NAMES: [&str; 7] = ["COUNT", "SUM", "AVG", "MIN", "MAX", "APPROX_COUNT_DISTINCT", "PERCENTILE"];

/// Aggregates of Flink that are known by name but refused.
const NOT_YET: [&str; 16] = [
    "SUM0",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STDDEV",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "COLLECT",
    "FIRST_VALUE",
    "LAST_VALUE",
    "LISTAGG",
    "ARRAY_AGG",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
    "CUME_DIST",
    "NTH_VALUE",
];

/// Whether a call of this name is an aggregate (also one that is not supported yet).
pub fn is_aggregate(name: &str) -> bool {
    let name = name.to_uppercase();
    NAMES.contains(&name.as_str()) || NOT_YET.contains(&name.as_str())
}

/// Names of the aggregates, for suggestions.
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
            if args.len() > 1 {
                return Err(BindError::new(
                    "COUNT of several columns is not supported yet; use COUNT(*), or COUNT of a ROW",
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
                LogicalType::Null | LogicalType::Array(_) | LogicalType::Map(..) | LogicalType::Row(_) => {
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
            if args.len() == 3 {
                return Err(BindError::new("PERCENTILE with a frequency argument is not supported yet"));
            }
            count(2)?;
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
            let value = cast_to(args[0].clone(), &LogicalType::Double)?;
            bound(AggregateFunction::Percentile { fractions, array }, vec![value], return_type)
        }
        other if NOT_YET.contains(&other) => {
            Err(BindError::new(format!("the aggregate function {other} is not supported yet")))
        }
        other => {
            let hint = match tidemill_common::suggest::nearest(other, NAMES) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            Err(BindError::new(format!("there is no aggregate function {other}{hint}")))
        }
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
