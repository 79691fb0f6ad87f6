//! The `fields.*` options, read against the columns of the table.

use std::collections::BTreeSet;

use tidemill_common::config::{Options, check_value, parse_boolean, parse_duration};
use tidemill_common::connector::{OptionKind, TableError};
use tidemill_common::hash::hash_bytes;
use tidemill_common::limits::RECORD_BYTES_MAX;
use tidemill_common::plan::TableSpec;
use tidemill_common::suggest::nearest;
use tidemill_common::types::{DataType, LogicalType, MAX_LENGTH};

use super::column::{Column, Values};
use crate::generator::Stream;

const PROPERTIES: [&str; 9] = ["kind", "min", "max", "max-past", "length", "var-len", "start", "end", "null-rate"];
const LENGTH_DEFAULT: u32 = 100;
const COLLECTION_LENGTH_DEFAULT: i64 = 3;
/// Longest period of a random INTERVAL YEAR TO MONTH, in months, as in Flink.
const MONTHS_MAX: i64 = 120_000;

/// How the columns of a table are made.
pub(super) struct Fields {
    /// One a physical column.
    pub columns: Vec<Column>,
    /// Rows until the first sequence ends.
    pub sequence_rows: Option<u64>,
}

impl Fields {
    /// Reads and checks the options of `table`.
    pub fn new(table: &TableSpec, seed: u64) -> Result<Self, TableError> {
        let mut reading = Reading { table, seed, used: BTreeSet::new(), sequence_rows: None };
        let columns = table
            .schema
            .fields
            .iter()
            .map(|field| reading.column(&field.name, &field.data_type, true))
            .collect::<Result<_, _>>()?;
        reading.refuse_unused()?;
        Ok(Self { columns, sequence_rows: reading.sequence_rows })
    }
}

struct Reading<'a> {
    table: &'a TableSpec,
    seed: u64,
    /// Option keys that belong to a column.
    used: BTreeSet<String>,
    sequence_rows: Option<u64>,
}

impl Reading<'_> {
    fn column(&mut self, path: &str, data_type: &DataType, top: bool) -> Result<Column, TableError> {
        let kind = self.text(path, "kind", OptionKind::Enum(&["random", "sequence"]))?;
        let null_rate = self.number(path, "null-rate")?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(self.error(path, "null-rate", "must lie between 0 and 1"));
        }
        if null_rate > 0.0 && !data_type.nullable {
            return Err(self.error(path, "null-rate", "cannot be set: the column is NOT NULL"));
        }
        let values = match kind.as_deref().map(str::to_lowercase).as_deref() {
            Some("sequence") if !top => {
                return Err(self.error(path, "kind", "can be 'sequence' for a column only, not inside one"));
            }
            Some("sequence") => self.sequence(path, &data_type.logical)?,
            _ => self.random(path, &data_type.logical)?,
        };
        let salt = hash_bytes(path.as_bytes());
        Ok(Column { values, nulls: (null_rate > 0.0).then(|| (Stream::new(self.seed, !salt), null_rate)) })
    }

    fn sequence(&mut self, path: &str, logical: &LogicalType) -> Result<Values, TableError> {
        use LogicalType as L;
        if !matches!(
            logical,
            L::Char(_)
                | L::Varchar(_)
                | L::TinyInt
                | L::SmallInt
                | L::Int
                | L::BigInt
                | L::Float
                | L::Double
                | L::Decimal(..)
        ) {
            let reason = format!("cannot be 'sequence' for {logical}; numbers, CHAR and VARCHAR can");
            return Err(self.error(path, "kind", &reason));
        }
        let start = self.integer(path, "start")?;
        let end = self.integer(path, "end")?;
        let (Some(start), Some(end)) = (start, end) else {
            let missing = if start.is_none() { "start" } else { "end" };
            return Err(TableError::option(
                format!("fields.{path}.kind"),
                format!("a sequence needs the option 'fields.{path}.{missing}'"),
            ));
        };
        if start > end {
            return Err(self.error(path, "end", &format!("is {end}, which is below the start, {start}")));
        }
        let (least, most) = match logical {
            L::TinyInt | L::SmallInt | L::Int => integer_range(logical),
            L::Decimal(precision, scale) => {
                let most = 10i64.checked_pow(u32::from(precision - scale)).map_or(i64::MAX, |bound| bound - 1);
                (-most, most)
            }
            _ => (i64::MIN, i64::MAX),
        };
        for (key, value) in [("start", start), ("end", end)] {
            if !(least..=most).contains(&value) {
                return Err(self.error(path, key, &format!("is {value}, which is no value of {logical}")));
            }
        }
        let rows = u64::try_from(i128::from(end) - i128::from(start) + 1).unwrap_or(u64::MAX);
        self.sequence_rows = Some(self.sequence_rows.map_or(rows, |known| known.min(rows)));
        Ok(Values::Sequence { start, logical: logical.clone() })
    }

    fn random(&mut self, path: &str, logical: &LogicalType) -> Result<Values, TableError> {
        use LogicalType as L;
        let stream = Stream::new(self.seed, hash_bytes(path.as_bytes()));
        Ok(match logical {
            L::Boolean => Values::Boolean(stream),
            L::TinyInt | L::SmallInt | L::Int | L::BigInt | L::IntervalYearMonth | L::IntervalDaySecond => {
                let (least, most) = integer_range(logical);
                let (least, most) =
                    if matches!(logical, L::IntervalYearMonth) { (0, MONTHS_MAX) } else { (least, most) };
                let min = self.integer(path, "min")?.unwrap_or(least);
                let max = self.integer(path, "max")?.unwrap_or(most);
                let (floor, ceiling) = integer_range(logical);
                for (key, value) in [("min", min), ("max", max)] {
                    if !(floor..=ceiling).contains(&value) {
                        return Err(self.error(path, key, &format!("is {value}, which is no value of {logical}")));
                    }
                }
                if min > max {
                    return Err(self.error(path, "min", &format!("is {min}, which is above the maximum, {max}")));
                }
                Values::Integer { stream, min, max, logical: logical.clone() }
            }
            L::Float | L::Double | L::Decimal(..) => {
                let (least, most) = match logical {
                    L::Float => (0.0, f64::from(f32::MAX)),
                    L::Double => (0.0, f64::MAX),
                    L::Decimal(precision, scale) => (0.0, 10f64.powi(i32::from(precision - scale)) - 1.0),
                    _ => (0.0, 0.0),
                };
                let bound = if matches!(logical, L::Decimal(..)) { most } else { f64::MAX };
                let min = self.number(path, "min")?.unwrap_or(least).clamp(-bound, bound);
                let max = self.number(path, "max")?.unwrap_or(most).clamp(-bound, bound);
                if min > max {
                    return Err(self.error(path, "min", &format!("is {min}, which is above the maximum, {max}")));
                }
                match logical {
                    L::Decimal(precision, scale) => {
                        Values::Decimal { stream, min, max, precision: *precision, scale: *scale }
                    }
                    L::Float => Values::Float { stream, min, max },
                    _ => Values::Double { stream, min, max },
                }
            }
            L::Char(length) | L::Binary(length) => {
                // The type says the length; `length` may only repeat it.
                let wanted = self.integer(path, "length")?;
                if wanted.is_some_and(|wanted| wanted != i64::from(*length)) {
                    return Err(self.error(path, "length", &format!("differs from the length of {logical}")));
                }
                if self.text(path, "var-len", OptionKind::Boolean)?.is_some_and(|text| parse_boolean(&text) == Ok(true))
                {
                    return Err(self.error(path, "var-len", &format!("cannot be set for {logical}")));
                }
                Values::Text {
                    stream,
                    min_length: *length as usize,
                    max_length: *length as usize,
                    binary: matches!(logical, L::Binary(_)),
                }
            }
            L::Varchar(most) | L::Varbinary(most) => {
                let default = if *most == MAX_LENGTH { LENGTH_DEFAULT } else { *most };
                let length = self.integer(path, "length")?.unwrap_or(i64::from(default));
                let bound = i64::from(*most).min(RECORD_BYTES_MAX as i64);
                if !(0..=bound).contains(&length) {
                    return Err(self.error(path, "length", &format!("must lie between 0 and {bound}")));
                }
                let varies = self
                    .text(path, "var-len", OptionKind::Boolean)?
                    .is_some_and(|text| parse_boolean(&text) == Ok(true));
                let length = length as usize;
                Values::Text {
                    stream,
                    min_length: if varies { length.min(1) } else { length },
                    max_length: length,
                    binary: matches!(logical, L::Varbinary(_)),
                }
            }
            L::Date => Values::Date,
            L::Time(_) => Values::Time,
            L::Timestamp(_) | L::TimestampLtz(_) => {
                let max_past = self.text(path, "max-past", OptionKind::Duration)?;
                let max_past = max_past.and_then(|text| parse_duration(&text).ok()).unwrap_or_default();
                Values::Timestamp { stream, max_past_ms: max_past.as_millis() as u64, logical: logical.clone() }
            }
            L::Array(element) => {
                let length = self.collection_length(path)?;
                let element_type = element.to_arrow_field("item");
                let element = self.column(&format!("{path}.element"), element, false)?;
                Values::Array { element: Box::new(element), field: element_type.into(), length }
            }
            L::Multiset(_) => {
                return Err(self.error(path, "kind", "is random, which a MULTISET cannot be"));
            }
            L::Map(key, value) => {
                let length = self.collection_length(path)?;
                let keys = self.column(&format!("{path}.key"), key, false)?;
                if keys.nulls.is_some() {
                    return Err(self.error(&format!("{path}.key"), "null-rate", "cannot be set: keys are never NULL"));
                }
                let values = self.column(&format!("{path}.value"), value, false)?;
                Values::Map { keys: Box::new(keys), values: Box::new(values), logical: logical.clone(), length }
            }
            L::Row(fields) => Values::Row {
                columns: fields
                    .iter()
                    .map(|field| self.column(&format!("{path}.{}", field.name), &field.data_type, false))
                    .collect::<Result<_, _>>()?,
                fields: fields.iter().map(|field| field.to_arrow()).collect(),
            },
            L::Null => {
                return Err(TableError::table(format!("column '{path}' has the type {logical}, which has no values")));
            }
        })
    }

    fn collection_length(&mut self, path: &str) -> Result<usize, TableError> {
        let length = self.integer(path, "length")?.unwrap_or(COLLECTION_LENGTH_DEFAULT);
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= 100_000)
            .ok_or_else(|| self.error(path, "length", "must lie between 0 and 100000"))
    }

    fn text(&mut self, path: &str, property: &str, kind: OptionKind) -> Result<Option<String>, TableError> {
        let key = format!("fields.{path}.{property}");
        let Some(text) = Options(&self.table.options).text(&key).map(str::to_owned) else {
            return Ok(None);
        };
        check_value(kind, &text).map_err(|error| TableError::option(&key, format!("option '{key}': {error}")))?;
        self.used.insert(key);
        Ok(Some(text))
    }

    fn integer(&mut self, path: &str, property: &str) -> Result<Option<i64>, TableError> {
        Ok(self.text(path, property, OptionKind::Integer)?.and_then(|text| text.trim().parse().ok()))
    }

    fn number(&mut self, path: &str, property: &str) -> Result<Option<f64>, TableError> {
        let number: Option<f64> =
            self.text(path, property, OptionKind::Number)?.and_then(|text| text.trim().parse().ok());
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(self.error(path, property, "must be a finite number"));
        }
        Ok(number)
    }

    fn error(&self, path: &str, property: &str, reason: &str) -> TableError {
        let key = format!("fields.{path}.{property}");
        let message = format!("option '{key}' {reason}");
        TableError::option(key, message)
    }

    /// An option of a column that does not exist, or that says nothing about its column.
    fn refuse_unused(&self) -> Result<(), TableError> {
        for key in self.table.options.keys() {
            let Some(rest) = key.strip_prefix("fields.") else { continue };
            if self.used.contains(key) {
                continue;
            }
            let (path, property) = rest.rsplit_once('.').unwrap_or((rest, ""));
            let column = path.split('.').next().unwrap_or(path);
            let names = || self.table.schema.fields.iter().map(|field| field.name.as_str());
            let message = if !PROPERTIES.contains(&property) {
                match nearest(property, PROPERTIES) {
                    Some(near) => format!("unknown option '{key}'; did you mean 'fields.{path}.{near}'?"),
                    None => format!("unknown option '{key}'; a field has the options {}", PROPERTIES.join(", ")),
                }
            } else if !names().any(|name| path == name || path.starts_with(&format!("{name}."))) {
                match nearest(column, names()) {
                    Some(near) => {
                        format!("option '{key}': there is no column '{column}'; did you mean '{near}'?")
                    }
                    None => format!("option '{key}': there is no column '{column}'"),
                }
            } else {
                format!("option '{key}' has no meaning for the type and kind of '{path}'")
            };
            return Err(TableError::option(key, message));
        }
        Ok(())
    }
}

fn integer_range(logical: &LogicalType) -> (i64, i64) {
    match logical {
        LogicalType::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
        LogicalType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        LogicalType::Int | LogicalType::IntervalYearMonth => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}
