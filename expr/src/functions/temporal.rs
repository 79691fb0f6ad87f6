//! Functions of dates and times. Instants are looked at in the session zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, PrimitiveArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMillisecondType, Float64Type, Int32Type, Int64Type, IntervalYearMonthType,
    Time32MillisecondType,
};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{LogicalType, units_per_millisecond};

use super::time_units::{Unit, difference, extract_unit, floor_to, interval_unit};
use crate::bind::{BindError, any_nullable, bind_call, bind_case, call, cast_to, literal_text};
use crate::calendar::{MILLIS_PER_DAY, SECONDS_PER_DAY, Zone, civil_from_days};
use crate::decimal;
use crate::eval::value::{
    Strings, Value, primitives_by_row, strings_by_row, try_primitives_by_row, try_strings_by_row,
};
use crate::eval::{CompileError, EvalContext, EvalError, timestamp_column, timestamps};
use crate::parse;
use crate::pattern::{Moment, Pattern, parse_jdbc};
use crate::registry::{CallSite, Category, Function, Kernel, Param, Volatility, convert_arguments, returns};

const fn temporal(
    name: &'static str,
    params: &'static [Param],
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Temporal, params, returns, compile).doc(signature, description)
}

const fn clock(
    name: &'static str,
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    description: &'static str,
) -> Function {
    temporal(name, &[], returns, compile, name, description).never_null().volatile(Volatility::Batch)
}

const fn part(
    name: &'static str,
    bind: fn(Vec<Expr>) -> Result<Expr, BindError>,
    description: &'static str,
) -> Function {
    temporal(name, &[Param::Temporal], returns::bigint, refuse, name, description).custom(bind)
}

pub(super) const FUNCTIONS: &[Function] = &[
    temporal("EXTRACT", &[Param::Text, Param::Temporal], returns::bigint, extract, "EXTRACT(unit FROM time)", "A field of a time: YEAR, QUARTER, MONTH, WEEK (ISO), DAY, DOY, DOW (1 is Sunday), HOUR, MINUTE, SECOND, MILLISECOND, EPOCH, ...")
        .custom(bind_extract),
    part("YEAR", |args| bind_part("YEAR", args), "Year of a date."),
    part("QUARTER", |args| bind_part("QUARTER", args), "Quarter, 1 to 4."),
    part("MONTH", |args| bind_part("MONTH", args), "Month, 1 to 12."),
    part("WEEK", |args| bind_part("WEEK", args), "Week by ISO 8601."),
    part("DAYOFYEAR", |args| bind_part("DOY", args), "Day of the year, from 1."),
    part("DAYOFMONTH", |args| bind_part("DAY", args), "Day of the month, from 1."),
    part("DAYOFWEEK", |args| bind_part("DOW", args), "Day of the week, 1 is Sunday."),
    part("HOUR", |args| bind_part("HOUR", args), "Hour, 0 to 23."),
    part("MINUTE", |args| bind_part("MINUTE", args), "Minute, 0 to 59."),
    part("SECOND", |args| bind_part("SECOND", args), "Second, 0 to 59."),
    temporal("FLOOR TO", &[Param::Temporal, Param::Text], returns::first, |site| round_to(site, false), "FLOOR(time TO unit)", "The start of the unit a time lies in; weeks start on Sunday."),
    temporal("CEIL TO", &[Param::Temporal, Param::Text], returns::first, |site| round_to(site, true), "CEIL(time TO unit)", "The start of the next unit, or the time itself if it is a start."),
    temporal("TIMESTAMPADD", &[], returns::first, refuse, "TIMESTAMPADD(unit, n, time)", "A time moved by n units.").custom(bind_add),
    temporal("TIMESTAMPDIFF", &[], returns::int, subtract, "TIMESTAMPDIFF(unit, from, to)", "Whole units between two times. INT.").custom(bind_difference),
    temporal("OVERLAPS", &[], returns::boolean, refuse, "(from, to) OVERLAPS (from, to)", "Whether two periods overlap; an end may be an INTERVAL.").custom(bind_overlaps),
    temporal("DATE_FORMAT", &[], returns::string, date_format, "DATE_FORMAT(time, pattern)", "A TIMESTAMP, or a text 'yyyy-MM-dd HH:mm:ss', by a pattern of Java's DateTimeFormatter.")
        .custom(bind_date_format).can_fail(),
    temporal("TO_TIMESTAMP", &[Param::Text, Param::Text], returns::timestamp, to_timestamp, "TO_TIMESTAMP(a[, pattern])", "TIMESTAMP(3) from a text 'yyyy-MM-dd HH:mm:ss[.fff]' or by a pattern; NULL if it does not fit.")
        .optional_after(1).may_be_null().can_fail(),
    temporal("TO_TIMESTAMP_LTZ", &[], returns::timestamp_ltz, to_timestamp_ltz, "TO_TIMESTAMP_LTZ(number[, 0 | 3])\nTO_TIMESTAMP_LTZ(a[, pattern[, zone]])", "TIMESTAMP_LTZ(3) from seconds (0) or milliseconds (3) since 1970, or from a text.")
        .custom(bind_to_timestamp_ltz).can_fail(),
    temporal("TO_DATE", &[Param::Text, Param::Text], returns::date, to_date, "TO_DATE(a[, pattern])", "DATE from a text 'yyyy-MM-dd' or by a pattern of Java's SimpleDateFormat.")
        .optional_after(1).may_be_null().can_fail(),
    temporal("FROM_UNIXTIME", &[Param::BigInt, Param::Text], returns::string, from_unixtime, "FROM_UNIXTIME(seconds[, pattern])", "A text in the session zone, 'yyyy-MM-dd HH:mm:ss' unless a pattern is given.")
        .optional_after(1).can_fail(),
    temporal("UNIX_TIMESTAMP", &[Param::Text, Param::Text], returns::bigint, unix_timestamp, "UNIX_TIMESTAMP()\nUNIX_TIMESTAMP(a[, pattern])", "Seconds since 1970, of now or of a text in the session zone.")
        .optional_after(0).volatile(Volatility::Batch).can_fail(),
    temporal("CONVERT_TZ", &[Param::Text, Param::Text, Param::Text], returns::string, convert_tz, "CONVERT_TZ(a, from zone, to zone)", "A text 'yyyy-MM-dd HH:mm:ss' of one zone in another.").may_be_null(),
    clock("CURRENT_TIMESTAMP", returns::timestamp_ltz, now, "The clock. TIMESTAMP_LTZ(3).").alias(&["NOW", "CURRENT_ROW_TIMESTAMP"]),
    clock("PROCTIME", returns::timestamp_ltz, now, "The clock, as a time attribute. TIMESTAMP_LTZ(3)."),
    clock("LOCALTIMESTAMP", returns::timestamp, local_timestamp, "The clock in the session zone. TIMESTAMP(3)."),
    clock("CURRENT_DATE", returns::date, current_date, "Today in the session zone."),
    clock("CURRENT_TIME", returns::time, current_time, "The time of day in the session zone. TIME(0).").alias(&["LOCALTIME"]),
];

type Compiled = Result<Kernel, CompileError>;
type Bound = Result<Expr, BindError>;

/// For forms that are bound to other functions.
fn refuse(_: &CallSite<'_>) -> Compiled {
    Err(CompileError::invalid("this function is planned as another expression"))
}

/// The local days and the second of the day of a time of any type.
pub(super) fn moments(
    value: &Value,
    logical: &LogicalType,
    rows: usize,
    zone: &mut Zone,
) -> Result<Vec<Option<Moment>>, EvalError> {
    Ok(match logical {
        LogicalType::Date => {
            let values = value.primitives::<Date32Type>()?;
            (0..rows)
                .map(|row| values.get(row).map(|days| Moment { days: i64::from(days), second_of_day: 0, nanos: 0 }))
                .collect()
        }
        LogicalType::Time(_) => {
            let values = value.primitives::<Time32MillisecondType>()?;
            (0..rows).map(|row| values.get(row).map(|millis| moment(i64::from(millis), 1_000))).collect()
        }
        LogicalType::Timestamp(precision) => {
            let per_second = units_per_millisecond(*precision) * 1_000;
            timestamps(value, rows)?.iter().map(|value| value.map(|value| moment(value, per_second))).collect()
        }
        LogicalType::TimestampLtz(precision) => {
            let per_second = units_per_millisecond(*precision) * 1_000;
            timestamps(value, rows)?
                .iter()
                .map(|value| value.map(|value| moment(zone.to_local(value, per_second), per_second)))
                .collect()
        }
        other => return Err(EvalError::new(format!("{other} is not a time"))),
    })
}

fn moment(value: i64, per_second: i64) -> Moment {
    let (seconds, rest) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    Moment {
        days: seconds.div_euclid(SECONDS_PER_DAY),
        second_of_day: seconds.rem_euclid(SECONDS_PER_DAY),
        nanos: rest * (1_000_000_000 / per_second),
    }
}

/// In the carrier unit.
fn from_moment(moment: Moment, per_second: i64) -> Option<i64> {
    let seconds = moment.days.checked_mul(SECONDS_PER_DAY)?.checked_add(moment.second_of_day)?;
    seconds.checked_mul(per_second)?.checked_add(moment.nanos / (1_000_000_000 / per_second))
}

fn bind_extract(args: Vec<Expr>) -> Bound {
    let [unit, time] = <[Expr; 2]>::try_from(args)
        .map_err(|args| BindError::new(format!("EXTRACT takes a unit and a time, not {} arguments", args.len())))?;
    let Some(name) = literal_text(&unit) else { return Err(BindError::new("EXTRACT takes a unit such as YEAR")) };
    let parsed = Unit::named(name).map_err(BindError::new)?;
    let months = time.data_type().logical == LogicalType::IntervalYearMonth;
    if months || time.data_type().logical == LogicalType::IntervalDaySecond {
        if interval_unit(parsed, months, 0).is_none() {
            return Err(BindError::new(format!("{} has no {name}", time.data_type().logical)));
        }
        let nullable = time.data_type().nullable;
        return Ok(call("EXTRACT", vec![unit, time], LogicalType::BigInt.with_nullable(nullable)));
    }
    let time = convert_arguments("EXTRACT", &[Param::Temporal], 1, false, vec![time])?;
    let nullable = any_nullable(&time);
    let args = std::iter::once(unit).chain(time).collect();
    Ok(call("EXTRACT", args, LogicalType::BigInt.with_nullable(nullable)))
}

fn bind_part(unit: &str, args: Vec<Expr>) -> Bound {
    if args.len() != 1 {
        return Err(BindError::new(format!("a date function takes 1 argument, not {}", args.len())));
    }
    bind_extract(std::iter::once(crate::bind::literal_string(unit)).chain(args).collect())
}

fn extract(site: &CallSite<'_>) -> Compiled {
    let unit = literal_text(&site.args[0]).ok_or_else(|| CompileError::invalid("EXTRACT takes a unit"))?;
    let unit = Unit::named(unit).map_err(CompileError::invalid)?;
    let logical = site.args[1].data_type().logical.clone();
    if matches!(logical, LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond) {
        return Ok(Box::new(move |args, frame| extract_from_interval(unit, &logical, &args[1], frame.rows)));
    }
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        let moments = moments(&args[1], &logical, frame.rows, &mut zone)?;
        let values: PrimitiveArray<Int64Type> =
            moments.into_iter().map(|moment| moment.map(|moment| extract_unit(unit, moment))).collect();
        Ok(Arc::new(values))
    }))
}

fn extract_from_interval(unit: Unit, logical: &LogicalType, value: &Value, rows: usize) -> Result<ArrayRef, EvalError> {
    if *logical == LogicalType::IntervalYearMonth {
        let values = value.primitives::<IntervalYearMonthType>()?;
        let field = |row| interval_unit(unit, true, i64::from(values.get(row)?));
        return Ok(primitives_by_row::<Int64Type>(rows, field));
    }
    let values = value.primitives::<DurationMillisecondType>()?;
    Ok(primitives_by_row::<Int64Type>(rows, |row| interval_unit(unit, false, values.get(row)?)))
}

fn round_to(site: &CallSite<'_>, up: bool) -> Compiled {
    let name =
        literal_text(&site.args[1]).ok_or_else(|| CompileError::invalid("FLOOR and CEIL take a literal unit"))?;
    let unit = Unit::named(name).map_err(CompileError::invalid)?;
    if matches!(unit, Unit::Epoch | Unit::Doy | Unit::Dow | Unit::IsoDow | Unit::IsoYear) {
        return Err(CompileError::invalid(format!("a time cannot be rounded to {name}")));
    }
    let logical = site.args[0].data_type().logical.clone();
    let within_day = matches!(
        unit,
        Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond | Unit::Nanosecond
    );
    if matches!(logical, LogicalType::Time(_)) && !within_day {
        return Err(CompileError::invalid(format!("a TIME cannot be rounded to {name}")));
    }
    // As in Flink, the next day of a DATE is never the day itself.
    let next_day = up && unit == Unit::Day && logical == LogicalType::Date;
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        let moments = moments(&args[0], &logical, frame.rows, &mut zone)?;
        let instants = if matches!(logical, LogicalType::TimestampLtz(_)) {
            Some(timestamps(&args[0], frame.rows)?)
        } else {
            None
        };
        let rounded = moments.into_iter().map(|moment| {
            let rounded = moment.map(|moment| floor_to(unit, moment, up));
            rounded.map(|moment| Moment { days: moment.days + i64::from(next_day), ..moment })
        });
        Ok(match &logical {
            LogicalType::Time(_) => {
                let millis = |moment: Moment| {
                    ((moment.days * SECONDS_PER_DAY + moment.second_of_day) * 1_000 + moment.nanos / 1_000_000) as i32
                };
                let times = rounded.map(|moment| moment.map(millis));
                Arc::new(times.collect::<PrimitiveArray<Time32MillisecondType>>())
            }
            LogicalType::Date => {
                Arc::new(rounded.map(|moment| moment.map(|m| m.days as i32)).collect::<PrimitiveArray<Date32Type>>())
            }
            LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
                let per_second = units_per_millisecond(*precision) * 1_000;
                // As in Flink, the offset stays that of the time itself.
                let values: PrimitiveArray<Int64Type> = rounded
                    .enumerate()
                    .map(|(row, moment)| {
                        let local = from_moment(moment?, per_second)?;
                        let offset = instants
                            .as_ref()
                            .map_or(0, |instants| zone.to_local(instants.value(row), per_second) - instants.value(row));
                        Some(local - offset)
                    })
                    .collect();
                timestamp_column(values, &logical)?
            }
            other => return Err(EvalError::new(format!("{other} cannot be rounded to a unit"))),
        })
    }))
}

fn unit_interval(name: &str) -> Result<Expr, BindError> {
    let unit = Unit::named(name.strip_prefix("SQL_TSI_").unwrap_or(name)).map_err(BindError::new)?;
    let months = |count| Expr::literal(Scalar::IntervalMonths(count), LogicalType::IntervalYearMonth);
    let millis = |count| Expr::literal(Scalar::IntervalMillis(count), LogicalType::IntervalDaySecond);
    Ok(match unit {
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Week => millis(7 * MILLIS_PER_DAY),
        Unit::Day => millis(MILLIS_PER_DAY),
        Unit::Hour => millis(3_600_000),
        Unit::Minute => millis(60_000),
        Unit::Second => millis(1_000),
        Unit::Millisecond => millis(1),
        _ => return Err(BindError::new(format!("times cannot be moved by {name}"))),
    })
}

fn bind_add(args: Vec<Expr>) -> Bound {
    let [unit, count, time] = <[Expr; 3]>::try_from(args)
        .map_err(|args| BindError::new(format!("TIMESTAMPADD takes 3 arguments, not {}", args.len())))?;
    let Some(name) = literal_text(&unit) else { return Err(BindError::new("TIMESTAMPADD takes a unit such as DAY")) };
    let interval = unit_interval(&name.to_uppercase())?;
    let within_day = matches!(&interval, Expr::Literal { value: Scalar::IntervalMillis(millis), .. } if millis % MILLIS_PER_DAY != 0);
    let time = match time.data_type().logical {
        LogicalType::Date if within_day => cast_to(time, &LogicalType::Timestamp(6))?,
        LogicalType::Null => cast_to(time, &LogicalType::Timestamp(3))?,
        _ => time,
    };
    let count = cast_to(count, &LogicalType::BigInt)?;
    bind_call("+", vec![time, bind_call("*", vec![interval, count])?])
}

fn bind_difference(args: Vec<Expr>) -> Bound {
    let [unit, from, to] = <[Expr; 3]>::try_from(args)
        .map_err(|args| BindError::new(format!("TIMESTAMPDIFF takes 3 arguments, not {}", args.len())))?;
    let Some(name) = literal_text(&unit) else { return Err(BindError::new("TIMESTAMPDIFF takes a unit such as DAY")) };
    let name = name.to_uppercase();
    let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name).to_owned();
    unit_interval(&name)?;
    let mut times = convert_arguments("TIMESTAMPDIFF", &[Param::Instant], 2, true, vec![from, to])?;
    let logical = returns::common(&times)?;
    for time in &mut times {
        *time = cast_to(time.clone(), &logical)?;
    }
    let nullable = any_nullable(&times);
    let args = std::iter::once(crate::bind::literal_string(&name)).chain(times).collect();
    Ok(call("TIMESTAMPDIFF", args, LogicalType::Int.with_nullable(nullable)))
}

fn subtract(site: &CallSite<'_>) -> Compiled {
    let unit = literal_text(&site.args[0]).ok_or_else(|| CompileError::invalid("TIMESTAMPDIFF takes a unit"))?;
    let unit = Unit::named(unit).map_err(CompileError::invalid)?;
    let logical = site.args[1].data_type().logical.clone();
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        let from = moments(&args[1], &logical, frame.rows, &mut zone)?;
        let to = moments(&args[2], &logical, frame.rows, &mut zone)?;
        // Instants differ by real time, whatever the zone does in between.
        let zoned = matches!(logical, LogicalType::TimestampLtz(_));
        let (from, to) = if zoned && !matches!(unit, Unit::Year | Unit::Quarter | Unit::Month) {
            let instants = LogicalType::Timestamp(match logical {
                LogicalType::TimestampLtz(precision) => precision,
                _ => 3,
            });
            (moments(&args[1], &instants, frame.rows, &mut zone)?, moments(&args[2], &instants, frame.rows, &mut zone)?)
        } else {
            (from, to)
        };
        Ok(primitives_by_row::<Int32Type>(frame.rows, |row| Some(difference(unit, from[row]?, to[row]?) as i32)))
    }))
}

fn bind_overlaps(args: Vec<Expr>) -> Bound {
    let [a, b, c, d] = <[Expr; 4]>::try_from(args)
        .map_err(|args| BindError::new(format!("OVERLAPS takes two pairs, not {} values", args.len())))?;
    let period = |start: Expr, end: Expr| -> Result<(Expr, Expr), BindError> {
        let interval =
            matches!(end.data_type().logical, LogicalType::IntervalDaySecond | LogicalType::IntervalYearMonth);
        let end = if interval { bind_call("+", vec![start.clone(), end])? } else { end };
        let ordered = bind_call("<=", vec![start.clone(), end.clone()])?;
        Ok((
            bind_case(vec![(ordered.clone(), start.clone())], Some(end.clone()))?,
            bind_case(vec![(ordered, end)], Some(start))?,
        ))
    };
    let ((start0, end0), (start1, end1)) = (period(a, b)?, period(c, d)?);
    let first = bind_call(">=", vec![end0, start1])?;
    bind_call("AND", vec![first, bind_call(">=", vec![end1, start0])?])
}

/// A pattern that is literal, or one that is read when it is met.
enum Patterns {
    Literal(Pattern),
    ByRow,
}

impl Patterns {
    fn new(expr: &Expr) -> Result<Self, CompileError> {
        match literal_text(expr) {
            Some(pattern) => Ok(Self::Literal(Pattern::new(pattern).map_err(CompileError::invalid)?)),
            None => Ok(Self::ByRow),
        }
    }

    fn given(text: &str) -> Result<Self, CompileError> {
        Ok(Self::Literal(Pattern::new(text).map_err(CompileError::invalid)?))
    }

    /// The pattern of a row; `last` keeps the one read last.
    fn get<'a>(
        &'a self,
        last: &'a mut Option<(String, Pattern)>,
        texts: Option<&Strings<'_>>,
        row: usize,
    ) -> Result<Option<&'a Pattern>, EvalError> {
        match self {
            Self::Literal(pattern) => Ok(Some(pattern)),
            Self::ByRow => {
                let Some(text) = texts.and_then(|texts| texts.get(row)) else { return Ok(None) };
                if last.as_ref().is_none_or(|(known, _)| known != text) {
                    *last = Some((text.to_owned(), Pattern::new(text).map_err(EvalError::new)?));
                }
                Ok(last.as_ref().map(|(_, pattern)| pattern))
            }
        }
    }
}

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

fn default_pattern() -> Result<Pattern, CompileError> {
    Pattern::new(DEFAULT_PATTERN).map_err(CompileError::invalid)
}

fn now_year(context: &EvalContext) -> i64 {
    civil_from_days(context.now_ms.div_euclid(MILLIS_PER_DAY)).0
}

fn bind_date_format(args: Vec<Expr>) -> Bound {
    let [time, pattern] = <[Expr; 2]>::try_from(args)
        .map_err(|args| BindError::new(format!("DATE_FORMAT takes 2 arguments, not {}", args.len())))?;
    let texts = time.data_type().logical.is_string();
    if time.data_type().logical == LogicalType::Date {
        return Err(BindError::new("DATE_FORMAT takes a TIMESTAMP or a text, not DATE; CAST it AS TIMESTAMP(0)"));
    }
    let param = if texts { Param::Text } else { Param::Timestamp };
    let mut args = convert_arguments("DATE_FORMAT", &[param], 1, false, vec![time])?;
    args.extend(convert_arguments("DATE_FORMAT", &[Param::Text], 1, false, vec![pattern])?);
    if let Some(pattern) = literal_text(&args[1]) {
        Pattern::new(pattern).map_err(BindError::new)?;
    }
    let nullable = texts || any_nullable(&args);
    Ok(call("DATE_FORMAT", args, LogicalType::STRING.with_nullable(nullable)))
}

fn date_format(site: &CallSite<'_>) -> Compiled {
    let patterns = Patterns::new(&site.args[1])?;
    let logical = site.args[0].data_type().logical.clone();
    let source = default_pattern()?;
    // The usual patterns of rounded times repeat row after row.
    Ok(Box::new(move |args, frame| {
        let mut zone = Zone::new(frame.context.zone);
        let texts = args[1].strings()?;
        let simple = logical.is_string();
        let moments = if simple {
            let values = args[0].strings()?;
            let year = now_year(frame.context);
            (0..frame.rows).map(|row| source.parse_lenient(values.get(row)?, year)).collect()
        } else {
            moments(&args[0], &logical, frame.rows, &mut zone)?
        };
        let mut last = None;
        let mut known: Option<(Moment, String)> = None;
        let literal = matches!(patterns, Patterns::Literal(_));
        try_strings_by_row(frame.rows, frame.rows * 20, |row, out| {
            let Some(moment) = moments[row] else { return Ok(None) };
            if literal
                && let Some((same, text)) = &known
                && *same == moment
            {
                out.push_str(text);
                return Ok(Some(()));
            }
            let Some(pattern) = patterns.get(&mut last, Some(&texts), row)? else { return Ok(None) };
            pattern.format(moment, simple, out);
            if literal {
                known = Some((moment, out.clone()));
            }
            Ok(Some(()))
        })
    }))
}

/// What Flink's TO_TIMESTAMP does with a pattern.
fn parse_with(pattern: &Pattern, text: &str) -> Option<Moment> {
    pattern.parse_strict(text).or_else(|| parse_jdbc(text))
}

fn to_timestamp(site: &CallSite<'_>) -> Compiled {
    let Some(pattern) = site.args.get(1) else {
        return Ok(Box::new(|args, frame| {
            let texts = args[0].strings()?;
            let values = (0..frame.rows).map(|row| parse::parse_timestamp(texts.get(row)?, 3));
            timestamp_column(values.collect(), &LogicalType::Timestamp(3))
        }));
    };
    // The default pattern takes what no pattern takes, and more.
    let patterns = Patterns::new(pattern)?;
    Ok(Box::new(move |args, frame| {
        let (texts, pattern_texts) = (args[0].strings()?, args[1].strings()?);
        let mut last = None;
        let values = (0..frame.rows)
            .map(|row| {
                let Some(text) = texts.get(row) else { return Ok(None) };
                let Some(pattern) = patterns.get(&mut last, Some(&pattern_texts), row)? else { return Ok(None) };
                Ok(parse_with(pattern, text).and_then(|moment| from_moment(moment, 1_000)))
            })
            .collect::<Result<PrimitiveArray<Int64Type>, EvalError>>()?;
        timestamp_column(values, &LogicalType::Timestamp(3))
    }))
}

fn bind_to_timestamp_ltz(args: Vec<Expr>) -> Bound {
    let Some(first) = args.first() else {
        return Err(BindError::new("TO_TIMESTAMP_LTZ takes 1 to 3 arguments, not 0"));
    };
    let args = if first.data_type().logical.is_string() {
        let args = convert_arguments("TO_TIMESTAMP_LTZ", &[Param::Text; 3], 1, false, args)?;
        if let Some(pattern) = args.get(1).and_then(literal_text) {
            Pattern::new(pattern).map_err(BindError::new)?;
        }
        args
    } else {
        let mut args = convert_arguments("TO_TIMESTAMP_LTZ", &[Param::Number, Param::Int], 1, false, args)?;
        if args[0].data_type().logical.is_integer() {
            args[0] = cast_to(args[0].clone(), &LogicalType::BigInt)?;
        } else if args[0].data_type().logical == LogicalType::Float {
            args[0] = cast_to(args[0].clone(), &LogicalType::Double)?;
        }
        if let Some(precision) = args.get(1).and_then(crate::bind::literal_integer)
            && !matches!(precision, 0 | 3)
        {
            return Err(BindError::new(format!(
                "the precision of TO_TIMESTAMP_LTZ is 0 for seconds or 3 for milliseconds, not {precision}"
            )));
        }
        args
    };
    Ok(call("TO_TIMESTAMP_LTZ", args, LogicalType::TimestampLtz(3).nullable()))
}

/// The instants of years 0 to 9999 that Flink takes.
const INSTANT_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

fn to_timestamp_ltz(site: &CallSite<'_>) -> Compiled {
    let target = LogicalType::TimestampLtz(3);
    let logical = site.args[0].data_type().logical.clone();
    if !logical.is_string() {
        let scale = if let LogicalType::Decimal(_, scale) = logical { scale } else { 0 };
        return Ok(Box::new(move |args, frame| {
            let precisions = args.get(1).map(Value::primitives::<Int32Type>).transpose()?;
            let millis = |row: usize, value: i64| -> Result<Option<i64>, EvalError> {
                let precision = match &precisions {
                    None => 3,
                    Some(precisions) => match precisions.get(row) {
                        Some(precision) => precision,
                        None => return Ok(None),
                    },
                };
                Ok(match precision {
                    0 => value.checked_mul(1_000),
                    3 => Some(value),
                    other => {
                        return Err(EvalError::new(format!(
                            "the precision of TO_TIMESTAMP_LTZ is 0 for seconds or 3 for milliseconds, not {other}"
                        )));
                    }
                }
                .filter(|millis| INSTANT_MS.contains(millis)))
            };
            let array: ArrayRef = match args[0].array().data_type() {
                arrow::datatypes::DataType::Float64 => {
                    let values = args[0].primitives::<Float64Type>()?;
                    try_primitives_by_row::<Int64Type>(frame.rows, |row| match values.get(row) {
                        // Seconds keep their fraction as milliseconds.
                        Some(value) => {
                            let seconds = match &precisions {
                                Some(precisions) => precisions.get(row) == Some(0),
                                None => false,
                            };
                            if seconds {
                                Ok(Some((value * 1_000.0) as i64).filter(|millis| INSTANT_MS.contains(millis)))
                            } else {
                                millis(row, value as i64)
                            }
                        }
                        None => Ok(None),
                    })?
                }
                arrow::datatypes::DataType::Decimal128(..) => {
                    let values = args[0].primitives::<Decimal128Type>()?;
                    try_primitives_by_row::<Int64Type>(frame.rows, |row| match values.get(row) {
                        Some(value) => match i64::try_from(decimal::truncate(value, scale, 0)) {
                            Ok(value) => millis(row, value),
                            Err(_) => Ok(None),
                        },
                        None => Ok(None),
                    })?
                }
                _ => {
                    let values = args[0].primitives::<Int64Type>()?;
                    try_primitives_by_row::<Int64Type>(frame.rows, |row| match values.get(row) {
                        Some(value) => millis(row, value),
                        None => Ok(None),
                    })?
                }
            };
            let values = Value::Array(array);
            let values = values.primitives::<Int64Type>()?;
            timestamp_column((0..frame.rows).map(|row| values.get(row)).collect(), &target)
        }));
    }
    let patterns = match site.args.get(1) {
        Some(pattern) => Some(Patterns::new(pattern)?),
        None => None,
    };
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        let pattern_texts = args.get(1).map(Value::strings).transpose()?;
        let zones = args.get(2).map(Value::strings).transpose()?;
        // As in Flink, texts are in UTC unless a zone is given.
        let mut zone = Zone::new(chrono_tz::UTC);
        let mut zone_name = String::new();
        let mut last = None;
        let values = (0..frame.rows)
            .map(|row| {
                let Some(text) = texts.get(row) else { return Ok(None) };
                if let Some(zones) = &zones {
                    let Some(name) = zones.get(row) else { return Ok(None) };
                    if name != zone_name {
                        let Ok(found) = name.parse() else { return Ok(None) };
                        zone = Zone::new(found);
                        name.clone_into(&mut zone_name);
                    }
                }
                let local = match &patterns {
                    None => Some(parse::parse_timestamp(text, 3).ok_or_else(|| {
                        let shown: String = text.chars().take(80).collect();
                        EvalError::new(format!(
                            "TO_TIMESTAMP_LTZ: '{shown}' is not of the form yyyy-MM-dd HH:mm:ss[.fff]"
                        ))
                    })?),
                    Some(patterns) => match patterns.get(&mut last, pattern_texts.as_ref(), row)? {
                        Some(pattern) => parse_with(pattern, text).and_then(|moment| from_moment(moment, 1_000)),
                        None => None,
                    },
                };
                Ok(local.map(|local| zone.to_instant(local, 1_000)))
            })
            .collect::<Result<PrimitiveArray<Int64Type>, EvalError>>()?;
        timestamp_column(values, &target)
    }))
}

/// The day that Flink gives for a text that a pattern does not fit: the smallest long in
/// milliseconds, cut to an int of days.
const UNPARSED_DAY: i32 = (i64::MIN / MILLIS_PER_DAY) as i32;

fn to_date(site: &CallSite<'_>) -> Compiled {
    let Some(pattern) = site.args.get(1) else {
        return Ok(Box::new(|args, frame| {
            let texts = args[0].strings()?;
            Ok(primitives_by_row::<Date32Type>(frame.rows, |row| parse::parse_date(texts.get(row)?)))
        }));
    };
    let patterns = Patterns::new(pattern)?;
    Ok(Box::new(move |args, frame| {
        let (texts, pattern_texts) = (args[0].strings()?, args[1].strings()?);
        let year = now_year(frame.context);
        let mut last = None;
        try_primitives_by_row::<Date32Type>(frame.rows, |row| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let Some(pattern) = patterns.get(&mut last, Some(&pattern_texts), row)? else { return Ok(None) };
            let days = pattern.parse_lenient(text, year).map_or(UNPARSED_DAY, |moment| moment.days as i32);
            Ok(Some(days))
        })
    }))
}

fn from_unixtime(site: &CallSite<'_>) -> Compiled {
    let patterns = match site.args.get(1) {
        Some(pattern) => Patterns::new(pattern)?,
        None => Patterns::given(DEFAULT_PATTERN)?,
    };
    Ok(Box::new(move |args, frame| {
        let seconds = args[0].primitives::<Int64Type>()?;
        let texts = args.get(1).map(Value::strings).transpose()?;
        let mut zone = Zone::new(frame.context.zone);
        let mut last = None;
        try_strings_by_row(frame.rows, frame.rows * 20, |row, out| {
            let Some(seconds) = seconds.get(row) else { return Ok(None) };
            let Some(pattern) = patterns.get(&mut last, texts.as_ref(), row)? else { return Ok(None) };
            // As in Java, too many seconds wrap when they become milliseconds.
            let millis = seconds.wrapping_mul(1_000);
            pattern.format(moment(zone.to_local(millis, 1_000), 1_000), true, out);
            Ok(Some(()))
        })
    }))
}

fn unix_timestamp(site: &CallSite<'_>) -> Compiled {
    if site.args.is_empty() {
        return Ok(Box::new(|_, frame| {
            Ok(primitives_by_row::<Int64Type>(frame.rows, |_| Some(frame.context.now_ms.div_euclid(1_000))))
        }));
    }
    let patterns = match site.args.get(1) {
        Some(pattern) => Patterns::new(pattern)?,
        None => Patterns::given(DEFAULT_PATTERN)?,
    };
    Ok(Box::new(move |args, frame| {
        let texts = args[0].strings()?;
        let pattern_texts = args.get(1).map(Value::strings).transpose()?;
        let mut zone = Zone::new(frame.context.zone);
        let year = now_year(frame.context);
        let mut last = None;
        try_primitives_by_row::<Int64Type>(frame.rows, |row| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let Some(pattern) = patterns.get(&mut last, pattern_texts.as_ref(), row)? else { return Ok(None) };
            // As in Flink, a text that does not fit is the smallest BIGINT.
            let seconds = pattern.parse_lenient(text, year).and_then(|moment| from_moment(moment, 1_000));
            Ok(Some(seconds.map_or(i64::MIN, |millis| zone.to_instant(millis, 1_000) / 1_000)))
        })
    }))
}

fn convert_tz(_: &CallSite<'_>) -> Compiled {
    let pattern = default_pattern()?;
    Ok(Box::new(move |args, frame| {
        let (texts, from, to) = (args[0].strings()?, args[1].strings()?, args[2].strings()?);
        let year = now_year(frame.context);
        let mut zones: Option<(String, Zone, String, Zone)> = None;
        strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let (text, from, to) = (texts.get(row)?, from.get(row)?, to.get(row)?);
            if zones.as_ref().is_none_or(|(f, _, t, _)| f != from || t != to) {
                // As in Java, a zone that is not known is GMT.
                let zone = |name: &str| match custom_offset(name) {
                    Some(offset) => Zone::fixed(offset),
                    None => Zone::new(name.parse().unwrap_or(chrono_tz::UTC)),
                };
                zones = Some((from.to_owned(), zone(from), to.to_owned(), zone(to)));
            }
            let (_, from, _, to) = zones.as_mut()?;
            let local = from_moment(pattern.parse_lenient(text, year)?, 1_000)?;
            let instant = from.to_instant(local, 1_000);
            pattern.format(moment(to.to_local(instant, 1_000), 1_000), true, out);
            Some(())
        })
    }))
}

/// The offset in seconds of one of Java's custom zones: `GMT+8`, `GMT-0830`, `GMT+08:30`.
fn custom_offset(name: &str) -> Option<i64> {
    let rest = name.strip_prefix("GMT")?;
    let (sign, rest) = match rest.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, rest.strip_prefix('-')?),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if rest.len() > 2 => rest.split_at(rest.len() - 2),
        None => (rest, "0"),
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn constant(value: i64, rows: usize, logical: LogicalType) -> Result<ArrayRef, EvalError> {
    timestamp_column(std::iter::repeat_n(Some(value), rows).collect(), &logical)
}

fn now(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|_, frame| constant(frame.context.now_ms, frame.rows, LogicalType::TimestampLtz(3))))
}

fn local_now(context: &EvalContext) -> i64 {
    Zone::new(context.zone).to_local(context.now_ms, 1_000)
}

fn local_timestamp(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|_, frame| constant(local_now(frame.context), frame.rows, LogicalType::Timestamp(3))))
}

fn current_date(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|_, frame| {
        let days = local_now(frame.context).div_euclid(MILLIS_PER_DAY) as i32;
        Ok(primitives_by_row::<Date32Type>(frame.rows, |_| Some(days)))
    }))
}

fn current_time(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|_, frame| {
        let millis = local_now(frame.context).rem_euclid(MILLIS_PER_DAY) / 1_000 * 1_000;
        Ok(primitives_by_row::<Time32MillisecondType>(frame.rows, |_| Some(millis as i32)))
    }))
}
