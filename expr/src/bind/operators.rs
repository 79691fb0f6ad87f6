//! Typing of operators: arithmetic, comparison, logic, and forms that are rewritten to others.

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{DataType, Field, LogicalType};

use super::{
    BindError, any_nullable, as_decimal, bind_case, boolean, call, cast_to, common_logical, common_type, decimal_add,
    decimal_divide, decimal_multiply, decimal_remainder, list_types, literal_text, wider_type,
};

type Bound = Result<Expr, BindError>;

/// Binds `name` if it is an operator or a form that is rewritten; `None` if the registry has to know.
pub(super) fn bind(name: &str, args: &[Expr]) -> Option<Bound> {
    let args = args.to_vec();
    Some(match name {
        "+" if args.len() == 1 => numeric_sign("+", args),
        "-" if args.len() == 1 => numeric_sign("-", args),
        "NEGATE" => numeric_sign("-", args),
        "+" | "-" | "*" | "/" => two(name, args).and_then(|(left, right)| arithmetic(name, left, right)),
        "%" | "MOD" => two(name, args).and_then(|(left, right)| arithmetic("%", left, right)),
        "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" | "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => {
            two(name, args).and_then(|(left, right)| comparison(name, left, right))
        }
        "AND" | "OR" => logical(name, args),
        "NOT" => one(name, args).and_then(|arg| {
            let arg = boolean(arg, "NOT")?;
            let data_type = arg.data_type().clone();
            Ok(call("NOT", vec![arg], data_type))
        }),
        "IS NULL" | "IS NOT NULL" => one(name, args).map(|arg| {
            let name = if name == "IS NULL" { "IS NULL" } else { "IS NOT NULL" };
            call(name, vec![arg], LogicalType::Boolean.not_null())
        }),
        "IS TRUE" | "IS NOT TRUE" | "IS FALSE" | "IS NOT FALSE" | "IS UNKNOWN" | "IS NOT UNKNOWN" => {
            one(name, args).and_then(|arg| truth_test(name, arg))
        }
        "NOT LIKE" | "NOT SIMILAR TO" => super::bind_call(&name[4..], args).and_then(bind_not),
        "IS NOT JSON" => super::bind_call("IS JSON", args).and_then(bind_not),
        "IN" | "NOT IN" => in_list(args).and_then(|test| if name == "IN" { Ok(test) } else { bind_not(test) }),
        "BETWEEN" | "NOT BETWEEN" | "BETWEEN SYMMETRIC" | "NOT BETWEEN SYMMETRIC" => between(name, args),
        "IF" => {
            if args.len() != 3 {
                return Some(Err(BindError::new(format!("IF takes 3 arguments, not {}", args.len()))));
            }
            let mut args = args.into_iter();
            match (args.next(), args.next(), args.next()) {
                (Some(condition), Some(yes), Some(otherwise)) => choice(condition, yes, otherwise),
                _ => return None,
            }
        }
        "NULLIF" => two(name, args).and_then(|(left, right)| {
            let equal = comparison("=", left.clone(), right)?;
            let data_type = left.data_type().logical.clone().nullable();
            let null = Expr::Literal { value: Scalar::Null, data_type: data_type.clone() };
            Ok(Expr::Case { branches: vec![(equal, null)], otherwise: Some(Box::new(left)), data_type })
        }),
        "COALESCE" | "IFNULL" => coalesce(name, args),
        "ITEM" => two(name, args).and_then(|(container, key)| item(container, key)),
        "ARRAY" => array(args),
        "MAP" => map(args),
        "ROW" => row(args),
        _ => return None,
    })
}

/// `IF`: numbers and texts get a type for both values, others that of the first.
fn choice(condition: Expr, yes: Expr, otherwise: Expr) -> Bound {
    use LogicalType as L;
    let (l, r) = (yes.data_type().logical.clone(), otherwise.data_type().logical.clone());
    let family = |logical: &L| match logical {
        L::Boolean => Some(1),
        L::Binary(_) | L::Varbinary(_) => Some(2),
        L::Date | L::Time(_) | L::Timestamp(_) | L::TimestampLtz(_) => Some(3),
        _ => None,
    };
    if (l.is_numeric() || l == L::Null) && (r.is_numeric() || r == L::Null)
        || (l.is_string() || l == L::Null) && (r.is_string() || r == L::Null)
    {
        return bind_case(vec![(condition, yes)], Some(otherwise));
    }
    match (family(&l), family(&r)) {
        (Some(left), Some(right)) if left == right => {
            let otherwise = cast_to(otherwise, &l)?;
            bind_case(vec![(condition, yes)], Some(otherwise))
        }
        (Some(_), None) if r == L::Null => bind_case(vec![(condition, yes)], Some(otherwise)),
        (None, Some(_)) if l == L::Null => bind_case(vec![(condition, yes)], Some(otherwise)),
        _ => Err(BindError::new(format!("IF does not take {l} and {r}: use CASE"))),
    }
}

fn one(name: &str, args: Vec<Expr>) -> Bound {
    let count = args.len();
    match args.into_iter().next() {
        Some(arg) if count == 1 => Ok(arg),
        _ => Err(BindError::new(format!("{name} takes 1 argument, not {count}"))),
    }
}

fn two(name: &str, args: Vec<Expr>) -> Result<(Expr, Expr), BindError> {
    let count = args.len();
    let mut args = args.into_iter();
    match (args.next(), args.next()) {
        (Some(left), Some(right)) if count == 2 => Ok((left, right)),
        _ => Err(BindError::new(format!("{name} takes 2 arguments, not {count}"))),
    }
}

fn bind_not(expr: Expr) -> Bound {
    let data_type = expr.data_type().clone();
    Ok(call("NOT", vec![expr], data_type))
}

fn numeric_sign(sign: &str, args: Vec<Expr>) -> Bound {
    let arg = one(sign, args)?;
    let data_type = arg.data_type().clone();
    match &data_type.logical {
        LogicalType::Null => cast_to(arg, &LogicalType::Int),
        logical
            if logical.is_numeric()
                || matches!(logical, LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond) =>
        {
            if sign == "+" {
                return Ok(arg);
            }
            // The smallest INT and BIGINT are written with a minus before a number that is too large.
            if let Expr::Literal { value, .. } = &arg {
                match value {
                    Scalar::Int(value) if *value > 0 => {
                        return Ok(Expr::literal(Scalar::Int(-value), LogicalType::Int));
                    }
                    Scalar::BigInt(2_147_483_648) => {
                        return Ok(Expr::literal(Scalar::Int(i32::MIN), LogicalType::Int));
                    }
                    Scalar::BigInt(value) if *value > 0 => {
                        return Ok(Expr::literal(Scalar::BigInt(-value), LogicalType::BigInt));
                    }
                    Scalar::Decimal(9_223_372_036_854_775_808) if data_type.logical == LogicalType::Decimal(19, 0) => {
                        return Ok(Expr::literal(Scalar::BigInt(i64::MIN), LogicalType::BigInt));
                    }
                    Scalar::Decimal(value) => {
                        return Ok(Expr::Literal { value: Scalar::Decimal(-value), data_type });
                    }
                    Scalar::Double(value) => {
                        return Ok(Expr::literal(Scalar::Double(-value), LogicalType::Double));
                    }
                    _ => {}
                }
            }
            Ok(call("NEGATE", vec![arg], data_type))
        }
        other => Err(BindError::new(format!("- takes a number or an INTERVAL, not {other}"))),
    }
}

fn static_name(name: &str) -> &'static str {
    match name {
        "+" => "+",
        "-" => "-",
        "*" => "*",
        "/" => "/",
        "%" => "%",
        "=" => "=",
        "<>" | "!=" => "<>",
        "<" => "<",
        "<=" => "<=",
        ">" => ">",
        ">=" => ">=",
        "AND" => "AND",
        "OR" => "OR",
        "IS DISTINCT FROM" => "IS DISTINCT FROM",
        _ => "IS NOT DISTINCT FROM",
    }
}

fn arithmetic(name: &str, left: Expr, right: Expr) -> Bound {
    use LogicalType as L;
    let (l, r) = (left.data_type().logical.clone(), right.data_type().logical.clone());
    let nullable = left.data_type().nullable || right.data_type().nullable;
    match (&l, &r) {
        (L::Null, L::Null) => return arithmetic(name, cast_to(left, &L::Int)?, cast_to(right, &L::Int)?),
        (L::Null, _) if r.is_numeric() => return arithmetic(name, cast_to(left, &r)?, right),
        (_, L::Null) if l.is_numeric() => return arithmetic(name, left, cast_to(right, &l)?),
        _ => {}
    }
    if l.is_numeric() && r.is_numeric() {
        return numeric(name, left, right, nullable);
    }
    let interval = |logical: &L| matches!(logical, L::IntervalYearMonth | L::IntervalDaySecond);
    let temporal = |logical: &L| matches!(logical, L::Date | L::Time(_) | L::Timestamp(_) | L::TimestampLtz(_));
    let bound = |left: Expr, right: Expr, logical: &L| {
        Ok(call(static_name(name), vec![left, right], logical.clone().with_nullable(nullable)))
    };
    match name {
        "+" if interval(&l) && temporal(&r) => Ok(call("+", vec![right, left], r.with_nullable(nullable))),
        "+" | "-" if temporal(&l) && interval(&r) => {
            if matches!((&l, &r), (L::Time(_), L::IntervalYearMonth)) {
                return Err(BindError::new("an INTERVAL of months or years cannot be added to a TIME"));
            }
            bound(left, right, &l)
        }
        "+" | "-" if interval(&l) && l == r => bound(left, right, &l),
        "*" if interval(&l) && r.is_integer() => bound(left, cast_to(right, &L::BigInt)?, &l),
        "*" if l.is_integer() && interval(&r) => bound(right, cast_to(left, &L::BigInt)?, &r),
        "-" if temporal(&l) && temporal(&r) => Err(BindError::new(format!(
            "the difference of {l} and {r} needs a unit: use TIMESTAMPDIFF(unit, from, to)"
        ))),
        _ => {
            let hint = if name == "+" && l.is_string() && r.is_string() { "; texts are joined with ||" } else { "" };
            Err(BindError::new(format!("{name} does not take {l} and {r}{hint}")))
        }
    }
}

fn numeric(name: &str, left: Expr, right: Expr, nullable: bool) -> Bound {
    use LogicalType as L;
    let (l, r) = (left.data_type().logical.clone(), right.data_type().logical.clone());
    let approximate = |logical: &L| matches!(logical, L::Float | L::Double);
    let operator = static_name(name);
    if !approximate(&l) && !approximate(&r) && (matches!(l, L::Decimal(..)) || matches!(r, L::Decimal(..))) {
        let (lp, rp) = (as_decimal(&l), as_decimal(&r));
        let result = match name {
            "+" | "-" => decimal_add(lp, rp),
            "*" => decimal_multiply(lp, rp),
            "/" => decimal_divide(lp, rp),
            _ => decimal_remainder(lp, rp),
        };
        let decimal = |(precision, scale): (u32, u32)| L::Decimal(precision as u8, scale as u8);
        let (left, right) = (cast_to(left, &decimal(lp))?, cast_to(right, &decimal(rp))?);
        // A result that does not fit is NULL, so only types that always fit are NOT NULL.
        let fits = name == "%" || !matches!(result, L::Decimal(38, _));
        return Ok(call(operator, vec![left, right], result.with_nullable(nullable || !fits)));
    }
    let Some(common) = common_logical(&l, &r) else {
        return Err(BindError::new(format!("{name} does not take {l} and {r}")));
    };
    if name == "%" && approximate(&common) {
        return Err(BindError::new(format!("% takes integers and DECIMALs, not {l} and {r}; CAST them")));
    }
    let (left, right) = (cast_to(left, &common)?, cast_to(right, &common)?);
    let computed = call(operator, vec![left, right], common.with_nullable(nullable));
    // As in Flink, a remainder has the type of the divisor.
    if name == "%" { cast_to(computed, &r) } else { Ok(computed) }
}

fn comparison(name: &str, left: Expr, right: Expr) -> Bound {
    use LogicalType as L;
    let operator = static_name(name);
    let (l, r) = (left.data_type().logical.clone(), right.data_type().logical.clone());
    if let Some((left, right)) = text_with_time(&left, &right)? {
        return comparison(name, left, right);
    }
    for (text, number) in [(&l, &r), (&r, &l)] {
        if text.is_string() && matches!(number, L::TinyInt | L::SmallInt | L::Float) {
            return Err(BindError::new(format!("{name} cannot compare {l} with {r}; add a CAST")));
        }
    }
    let nullable = left.data_type().nullable || right.data_type().nullable;
    let distinct = matches!(operator, "IS DISTINCT FROM" | "IS NOT DISTINCT FROM");
    let data_type = L::Boolean.with_nullable(nullable && !distinct);
    // Calcite simplifies `x = x`, so that NaN equals itself there.
    if operator == "=" && left == right && matches!(l, L::Float | L::Double) && super::is_deterministic(&left) {
        let known = call("IS NOT NULL", vec![left], L::Boolean.not_null());
        let unknown = Expr::Literal { value: Scalar::Null, data_type: L::Boolean.nullable() };
        return Ok(if nullable { call("OR", vec![known, unknown], data_type) } else { known });
    }
    let approximate = |logical: &L| matches!(logical, L::Float | L::Double);
    let common = match (&l, &r) {
        (L::Decimal(..), L::Decimal(..)) => return Ok(call(operator, vec![left, right], data_type)),
        (L::Decimal(..), other) if other.is_integer() => {
            let (precision, scale) = as_decimal(other);
            let right = cast_to(right, &L::Decimal(precision as u8, scale as u8))?;
            return Ok(call(operator, vec![left, right], data_type));
        }
        (other, L::Decimal(..)) if other.is_integer() => {
            let (precision, scale) = as_decimal(other);
            let left = cast_to(left, &L::Decimal(precision as u8, scale as u8))?;
            return Ok(call(operator, vec![left, right], data_type));
        }
        (l, r) if approximate(l) && approximate(r) && l != r => Some(L::Double),
        (l, r) if l.is_string() && r.is_string() => return Ok(call(operator, vec![left, right], data_type)),
        (l, r)
            if l.is_string()
                && (r.is_numeric() || matches!(r, L::Boolean | L::Date | L::Time(_)) || r.is_timestamp()) =>
        {
            Some(r.clone())
        }
        (l, r)
            if r.is_string()
                && (l.is_numeric() || matches!(l, L::Boolean | L::Date | L::Time(_)) || l.is_timestamp()) =>
        {
            Some(l.clone())
        }
        (L::Timestamp(_), L::TimestampLtz(_)) | (L::TimestampLtz(_), L::Timestamp(_)) => {
            return Err(BindError::new(format!(
                "{l} and {r} cannot be compared: cast one of them to the other's type"
            )));
        }
        (l, r) => common_logical(l, r),
    };
    let Some(common) = common else {
        return Err(BindError::new(format!("{name} cannot compare {l} with {r}; add a CAST")));
    };
    let ordered = matches!(operator, "<" | "<=" | ">" | ">=");
    match &common {
        L::Map(..) | L::Multiset(_) => {
            return Err(BindError::new(format!("{name} does not compare values of type {common}")));
        }
        L::Array(_) | L::Row(_) if ordered => {
            return Err(BindError::new(format!("values of type {common} have no order; {name} does not compare them")));
        }
        L::Null => {
            let int = L::Int;
            return Ok(call(operator, vec![cast_to(left, &int)?, cast_to(right, &int)?], data_type));
        }
        _ => {}
    }
    let (left, right) = (cast_to(left, &common)?, cast_to(right, &common)?);
    let nullable = any_nullable(&[left.clone(), right.clone()]);
    Ok(call(operator, vec![left, right], L::Boolean.with_nullable(nullable && !distinct)))
}

/// A text that is compared with a time becomes one; as in Flink, what is no TIME or TIMESTAMP becomes NULL.
fn text_with_time(left: &Expr, right: &Expr) -> Result<Option<(Expr, Expr)>, BindError> {
    let time = |expr: &Expr| {
        let logical = &expr.data_type().logical;
        matches!(logical, LogicalType::Date | LogicalType::Time(_)) || logical.is_timestamp()
    };
    let cast = |text: &Expr, to: &Expr| {
        let try_cast = to.data_type().logical != LogicalType::Date;
        super::bind_cast(text.clone(), to.data_type().clone(), try_cast)
    };
    Ok(if left.data_type().logical.is_string() && time(right) {
        Some((cast(left, right)?, right.clone()))
    } else if right.data_type().logical.is_string() && time(left) {
        Some((left.clone(), cast(right, left)?))
    } else {
        None
    })
}

fn logical(name: &str, args: Vec<Expr>) -> Bound {
    if args.len() < 2 {
        return Err(BindError::new(format!("{name} takes at least 2 arguments, not {}", args.len())));
    }
    let mut bound: Option<Expr> = None;
    for arg in args {
        let arg = boolean(arg, name)?;
        bound = Some(match bound {
            None => arg,
            Some(left) => {
                let nullable = left.data_type().nullable || arg.data_type().nullable;
                call(static_name(name), vec![left, arg], LogicalType::Boolean.with_nullable(nullable))
            }
        });
    }
    bound.ok_or_else(|| BindError::new(format!("{name} takes at least 2 arguments")))
}

fn truth_test(name: &str, arg: Expr) -> Bound {
    let arg = boolean(arg, name)?;
    let name = match name {
        "IS TRUE" => "IS TRUE",
        "IS NOT TRUE" => "IS NOT TRUE",
        "IS FALSE" => "IS FALSE",
        "IS NOT FALSE" => "IS NOT FALSE",
        "IS UNKNOWN" => "IS NULL",
        _ => "IS NOT NULL",
    };
    Ok(call(name, vec![arg], LogicalType::Boolean.not_null()))
}

fn in_list(args: Vec<Expr>) -> Bound {
    let mut args = args.into_iter();
    let Some(needle) = args.next() else {
        return Err(BindError::new("IN takes a value and a list"));
    };
    let items: Vec<Expr> = args.collect();
    if items.is_empty() {
        return Err(BindError::new("the list of IN is empty"));
    }
    // Comparing with each item gives the types; when all sides agree one set lookup does.
    let mut tests = Vec::with_capacity(items.len());
    for item in &items {
        tests.push(comparison("=", needle.clone(), item.clone())?);
    }
    let literals = items.iter().all(|item| matches!(item, Expr::Literal { .. }));
    let same = items.iter().all(|item| {
        let (n, i) = (&needle.data_type().logical, &item.data_type().logical);
        n == i || (n.is_string() && i.is_string()) || *i == LogicalType::Null
    });
    let hashable = needle.data_type().logical.is_string() || needle.data_type().logical.is_integer();
    if literals && same && hashable && items.len() > 1 {
        let nullable = needle.data_type().nullable || any_nullable(&items);
        let all = std::iter::once(needle).chain(items).collect();
        return Ok(call("IN", all, LogicalType::Boolean.with_nullable(nullable)));
    }
    if tests.len() == 1
        && let Some(test) = tests.pop()
    {
        return Ok(test);
    }
    logical("OR", tests)
}

fn between(name: &str, args: Vec<Expr>) -> Bound {
    let [value, low, high] = <[Expr; 3]>::try_from(args)
        .map_err(|args| BindError::new(format!("{name} takes 3 arguments, not {}", args.len())))?;
    let range = |low: &Expr, high: &Expr| {
        let above = comparison(">=", value.clone(), low.clone())?;
        let below = comparison("<=", value.clone(), high.clone())?;
        logical("AND", vec![above, below])
    };
    let test = if name.ends_with("SYMMETRIC") {
        logical("OR", vec![range(&low, &high)?, range(&high, &low)?])?
    } else {
        range(&low, &high)?
    };
    if name.starts_with("NOT") { bind_not(test) } else { Ok(test) }
}

fn coalesce(name: &str, args: Vec<Expr>) -> Bound {
    if args.is_empty() || (name == "IFNULL" && args.len() != 2) {
        return Err(BindError::new(format!(
            "{name} takes {} arguments, not {}",
            if name == "IFNULL" { "2" } else { "1 or more" },
            args.len()
        )));
    }
    let types: Vec<DataType> = args.iter().map(|arg| arg.data_type().clone()).collect();
    let Some(common) = wider_type(&types) else {
        return Err(BindError::new(format!(
            "the arguments of {name} have no common type: {}; add a CAST",
            list_types(types.iter())
        )));
    };
    let nullable = types.iter().all(|data_type| data_type.nullable);
    let args: Vec<Expr> = args.into_iter().map(|arg| cast_to(arg, &common.logical)).collect::<Result<_, _>>()?;
    Ok(call("COALESCE", args, common.logical.with_nullable(nullable)))
}

fn item(container: Expr, key: Expr) -> Bound {
    match container.data_type().logical.clone() {
        LogicalType::Array(element) => {
            if !key.data_type().logical.is_integer() {
                return Err(BindError::new(format!(
                    "the index of an ARRAY is an integer, not {}",
                    key.data_type().logical
                )));
            }
            if super::literal_integer(&key).is_some_and(|index| index < 1) {
                return Err(BindError::new("the index of an ARRAY starts at 1"));
            }
            let key = cast_to(key, &LogicalType::Int)?;
            Ok(call("ITEM", vec![container, key], element.logical.clone().nullable()))
        }
        LogicalType::Map(key_type, value_type) => {
            let key = if key.data_type().logical.is_string() && key_type.logical.is_string() {
                key
            } else {
                super::coerce(key, &key_type)?
            };
            Ok(call("ITEM", vec![container, key], value_type.logical.clone().nullable()))
        }
        LogicalType::Row(_) => match literal_text(&key) {
            Some(field) => super::bind_field(container, field),
            None => Err(BindError::new("a field of a ROW is accessed by a name in quotes")),
        },
        other => Err(BindError::new(format!("a value of type {other} has no elements: [] takes an ARRAY or a MAP"))),
    }
}

fn array(args: Vec<Expr>) -> Bound {
    let types: Vec<DataType> = args.iter().map(|arg| arg.data_type().clone()).collect();
    if types.is_empty() {
        return Err(BindError::new("ARRAY[] needs at least one element"));
    }
    let Some(element) = common_type(&types) else {
        return Err(BindError::new(format!(
            "the elements of ARRAY have no common type: {}; add a CAST",
            list_types(types.iter())
        )));
    };
    let args: Vec<Expr> = args.into_iter().map(|arg| cast_to(arg, &element.logical)).collect::<Result<_, _>>()?;
    Ok(call("ARRAY", args, LogicalType::Array(Box::new(element)).not_null()))
}

fn map(args: Vec<Expr>) -> Bound {
    if args.is_empty() || args.len() % 2 == 1 {
        return Err(BindError::new("MAP[] takes pairs of a key and a value"));
    }
    let side = |parity: usize, what: &str| -> Result<DataType, BindError> {
        let types: Vec<DataType> = args.iter().skip(parity).step_by(2).map(|arg| arg.data_type().clone()).collect();
        common_type(&types).ok_or_else(|| {
            BindError::new(format!("the {what} of MAP have no common type: {}; add a CAST", list_types(types.iter())))
        })
    };
    let (key, value) = (side(0, "keys")?, side(1, "values")?);
    let args: Vec<Expr> = args
        .into_iter()
        .enumerate()
        .map(|(index, arg)| cast_to(arg, if index % 2 == 0 { &key.logical } else { &value.logical }))
        .collect::<Result<_, _>>()?;
    Ok(call("MAP", args, LogicalType::Map(Box::new(key), Box::new(value)).not_null()))
}

fn row(args: Vec<Expr>) -> Bound {
    if args.is_empty() {
        return Err(BindError::new("ROW() needs at least one field"));
    }
    let fields = args
        .iter()
        .enumerate()
        .map(|(index, arg)| Field::new(format!("EXPR${index}"), arg.data_type().clone()))
        .collect();
    Ok(call("ROW", args, LogicalType::Row(fields).not_null()))
}
