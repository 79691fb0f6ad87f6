//! Partitions: directories whose names hold the values of columns, `day=2024-01-01/country=de`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    Time32MillisecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Int64Type, SchemaRef, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use chrono_tz::Tz;
use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType, Schema, timestamp_unit};
use tidemill_expr::decimal;
use tidemill_expr::format::{TextStyle, format_timestamp, format_value};
use tidemill_expr::parse;

use super::IDENTIFIER;
use crate::api::ConnectorError;

/// The partition columns of a table.
#[derive(Clone, Debug)]
pub(crate) struct Partitioning {
    table: String,
    /// Positions in the table's schema, in the order of the directories.
    keys: Vec<usize>,
    fields: Vec<Field>,
    /// `key=` of each, escaped.
    prefixes: Vec<String>,
    /// The name that stands for NULL.
    default_name: String,
}

impl Partitioning {
    /// `None` if the table has no partitions.
    pub fn of(table: &TableSpec, default_name: &str) -> Option<Self> {
        if table.partition_keys.is_empty() {
            return None;
        }
        let fields: Vec<Field> = table.partition_keys.iter().map(|key| table.schema.fields[*key].clone()).collect();
        let prefix = |field: &Field| {
            let mut name = String::new();
            escape(&field.name, &mut name);
            name + "="
        };
        Some(Self {
            table: table.name.clone(),
            keys: table.partition_keys.clone(),
            prefixes: fields.iter().map(prefix).collect(),
            fields,
            default_name: default_name.to_owned(),
        })
    }

    /// Whether the columns have types that a name can hold.
    pub fn check(&self) -> Result<(), TableError> {
        for field in &self.fields {
            let logical = &field.data_type.logical;
            let fine = !matches!(
                logical,
                LogicalType::Null
                    | LogicalType::Binary(_)
                    | LogicalType::Varbinary(_)
                    | LogicalType::IntervalYearMonth
                    | LogicalType::IntervalDaySecond
                    | LogicalType::Array(_)
                    | LogicalType::Map(..)
                    | LogicalType::Multiset(_)
                    | LogicalType::Row(_)
            );
            if !fine {
                return Err(TableError::table(format!(
                    "partition column '{}' is {logical}, which the name of a directory cannot hold; \
                     partition by a text, number, date or time",
                    field.name
                )));
            }
        }
        Ok(())
    }

    /// The columns, in the order of the directories.
    pub fn schema(&self) -> Schema {
        Schema::new(self.fields.clone())
    }

    /// Names of the columns, in the order of the directories.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// The table as its files have it: without the partition columns.
    pub fn file_table(&self, table: &TableSpec) -> TableSpec {
        let fields = table.schema.fields.iter().enumerate().filter(|(at, _)| !self.keys.contains(at));
        TableSpec {
            schema: Schema::new(fields.map(|(_, field)| field.clone()).collect()),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
            ..table.clone()
        }
    }

    /// Whether a name is a directory of partitions, and not hidden although it may begin with `_`.
    pub fn is_directory(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// The texts of the values in the path of a file, `None` for NULL; `None` if the file is in no
    /// partition.
    pub fn texts_of(&self, file: &Path) -> Option<Vec<Option<String>>> {
        let parts: Vec<&str> = file.parent()?.components().filter_map(|part| part.as_os_str().to_str()).collect();
        let count = self.prefixes.len();
        (0..(parts.len() + 1).saturating_sub(count)).rev().find_map(|start| {
            let names = parts[start..].iter().zip(&self.prefixes);
            names.map(|(part, prefix)| Some(self.text(part.strip_prefix(prefix.as_str())?))).collect()
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        if name == self.default_name { None } else { Some(unescape(name)) }
    }

    /// Arrays of one value for each column.
    ///
    /// # Errors
    /// If a text is no value of its column's type.
    pub fn values(&self, file: &Path, texts: &[Option<String>]) -> Result<Vec<ArrayRef>, ConnectorError> {
        let mut values = Vec::with_capacity(texts.len());
        for (field, text) in self.fields.iter().zip(texts) {
            let logical = &field.data_type.logical;
            let value = match text {
                None => Some(new_null_array(&logical.to_arrow(), 1)),
                Some(text) => parsed(text, logical),
            };
            let Some(value) = value else {
                return Err(ConnectorError::External {
                    table: self.table.clone(),
                    reason: format!(
                        "'{}' is in a partition whose '{}' is '{}', which is no {logical}",
                        file.display(),
                        field.name,
                        text.as_deref().unwrap_or_default()
                    ),
                    action: "rename the directory, or declare the column as STRING".to_owned(),
                });
            };
            values.push(value);
        }
        Ok(values)
    }
}

/// Puts the rows of a batch into their partitions.
pub(super) struct Partitioner {
    partitioning: Partitioning,
    /// Positions of the columns that are written into files.
    written: Vec<usize>,
}

impl Partitioner {
    pub fn new(partitioning: Partitioning, columns: usize) -> Self {
        let written = (0..columns).filter(|column| !partitioning.keys.contains(column)).collect();
        Self { partitioning, written }
    }

    /// The rows of each partition, in their order, by the partition's directory.
    pub fn split(&self, records: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, ConnectorError> {
        let fail = |error: arrow::error::ArrowError| ConnectorError::Internal {
            connector: IDENTIFIER,
            reason: error.to_string(),
        };
        let written = records.project(&self.written).map_err(fail)?;
        let columns: Vec<&ArrayRef> = self.partitioning.keys.iter().map(|key| records.column(*key)).collect();
        let mut partitions: Vec<(String, Vec<u32>)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let (mut directory, mut text) = (String::new(), String::new());
        let mut last: Option<usize> = None;
        for row in 0..records.num_rows() {
            directory.clear();
            for ((column, field), prefix) in
                columns.iter().zip(&self.partitioning.fields).zip(&self.partitioning.prefixes)
            {
                if !directory.is_empty() {
                    directory.push('/');
                }
                directory.push_str(prefix);
                text.clear();
                value_text(column, &field.data_type.logical, row, &mut text);
                if text.is_empty() {
                    directory.push_str(&self.partitioning.default_name);
                } else {
                    escape(&text, &mut directory);
                }
            }
            // Rows of one partition tend to come together.
            let at = match last.filter(|at| partitions[*at].0 == directory) {
                Some(at) => at,
                None => match known.get(&directory) {
                    Some(at) => *at,
                    None => {
                        partitions.push((directory.clone(), Vec::new()));
                        known.insert(directory.clone(), partitions.len() - 1);
                        partitions.len() - 1
                    }
                },
            };
            partitions[at].1.push(row as u32);
            last = Some(at);
        }
        if let [(directory, _)] = partitions.as_slice() {
            return Ok(vec![(directory.clone(), written)]);
        }
        let rows_of = |(directory, rows): (String, Vec<u32>)| {
            Ok((directory, take_record_batch(&written, &UInt32Array::from(rows)).map_err(fail)?))
        };
        partitions.into_iter().map(rows_of).collect()
    }
}

/// Puts columns of files and of their paths together.
pub(super) struct Assembler {
    schema: SchemaRef,
    /// For each projected column: where it is among those of the file, or which partition column it is.
    places: Vec<Place>,
    /// The columns that are read from files, as positions in the file's table.
    pub file_projection: Vec<usize>,
}

enum Place {
    File(usize),
    Partition(usize),
}

impl Assembler {
    pub fn new(partitioning: &Partitioning, table: &TableSpec, projection: &[usize]) -> Self {
        let mut file_projection = Vec::new();
        let mut places = Vec::with_capacity(projection.len());
        for column in projection {
            match partitioning.keys.iter().position(|key| key == column) {
                Some(key) => places.push(Place::Partition(key)),
                None => {
                    places.push(Place::File(file_projection.len()));
                    let keys_before = partitioning.keys.iter().filter(|key| *key < column).count();
                    file_projection.push(column - keys_before);
                }
            }
        }
        let fields = projection.iter().map(|column| table.schema.fields[*column].clone());
        Self { schema: Schema::new(fields.collect()).to_arrow(), places, file_projection }
    }

    /// The projected columns.
    pub fn assemble(&self, records: &RecordBatch, values: &[ArrayRef]) -> Result<RecordBatch, ConnectorError> {
        let fail = |error: arrow::error::ArrowError| ConnectorError::Internal {
            connector: IDENTIFIER,
            reason: error.to_string(),
        };
        let rows = records.num_rows();
        let first = UInt32Array::from_value(0, rows);
        let columns = self.places.iter().map(|place| match place {
            Place::File(at) => Ok(records.column(*at).clone()),
            Place::Partition(key) => take(&values[*key], &first, None).map_err(fail),
        });
        RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns.collect::<Result<_, _>>()?,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(fail)
    }
}

/// The text of a value as Flink names directories: dates as days and times as milliseconds, instants in UTC.
/// Empty for NULL.
fn value_text(array: &ArrayRef, logical: &LogicalType, row: usize, out: &mut String) {
    use std::fmt::Write as _;

    if array.is_null(row) {
        return;
    }
    match logical {
        LogicalType::Char(_) | LogicalType::Varchar(_) => out.push_str(array.as_string::<i32>().value(row)),
        // Writing to a String cannot fail.
        LogicalType::Date => {
            let _ = write!(out, "{}", array.as_primitive::<Date32Type>().value(row));
        }
        LogicalType::Time(_) => {
            let _ = write!(out, "{}", array.as_primitive::<Time32MillisecondType>().value(row));
        }
        LogicalType::Decimal(_, scale) => {
            decimal::format_java(array.as_primitive::<Decimal128Type>().value(row), *scale, out);
        }
        LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
            let value = match timestamp_unit(*precision) {
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
                _ => array.as_primitive::<TimestampMillisecondType>().value(row),
            };
            format_timestamp(value, *precision, TextStyle::Row, out);
        }
        _ => format_value(array, logical, row, TextStyle::Sql, Tz::UTC, out),
    }
}

/// An array of the one value that a text is; `None` if it is none of this type.
fn parsed(text: &str, logical: &LogicalType) -> Option<ArrayRef> {
    fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
        text.trim().parse().ok()
    }
    Some(match logical {
        LogicalType::Char(_) | LogicalType::Varchar(_) => Arc::new(StringArray::from(vec![text])),
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => Arc::new(BinaryArray::from(vec![text.as_bytes()])),
        LogicalType::Boolean => Arc::new(BooleanArray::from(vec![parse::parse_boolean(text)?])),
        LogicalType::TinyInt => Arc::new(Int8Array::from(vec![whole::<i8>(text)?])),
        LogicalType::SmallInt => Arc::new(Int16Array::from(vec![whole::<i16>(text)?])),
        LogicalType::Int => Arc::new(Int32Array::from(vec![whole::<i32>(text)?])),
        LogicalType::BigInt => Arc::new(Int64Array::from(vec![whole::<i64>(text)?])),
        LogicalType::Float => Arc::new(Float32Array::from(vec![parse::parse_float(text)?])),
        LogicalType::Double => Arc::new(Float64Array::from(vec![parse::parse_double(text)?])),
        LogicalType::Decimal(precision, scale) => {
            let value = parse::parse_decimal(text, *precision, *scale)?;
            let array = Decimal128Array::from(vec![value]);
            Arc::new(array.with_precision_and_scale(*precision, *scale as i8).ok()?)
        }
        // What other systems write, or the days that Flink writes.
        LogicalType::Date => {
            let days = parse::parse_date_strict(text).or_else(|| whole(text))?;
            Arc::new(Date32Array::from(vec![days]))
        }
        LogicalType::Time(_) => {
            let millis = parse::parse_time(text).filter(|_| text.contains(':')).or_else(|| whole(text))?;
            Arc::new(Time32MillisecondArray::from(vec![millis]))
        }
        LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision) => {
            let text = text.strip_suffix('Z').unwrap_or(text).replacen('T', " ", 1);
            // Seconds that are zero may be missing.
            let text = if text.matches(':').count() == 1 { text + ":00" } else { text };
            let value = parse::parse_timestamp(&text, *precision)?;
            let array: ArrayRef = Arc::new(arrow::array::PrimitiveArray::<Int64Type>::from(vec![value]));
            cast(&array, &logical.to_arrow()).ok()?
        }
        _ => return None,
    })
}

/// Appends a name with Hive's escapes, which Flink has, too.
fn escape(name: &str, out: &mut String) {
    use std::fmt::Write as _;

    for character in name.chars() {
        let escaped = matches!(
            character,
            '\u{1}'
                ..='\u{1f}'
                    | '"'
                    | '#'
                    | '%'
                    | '\''
                    | '*'
                    | '/'
                    | ':'
                    | '='
                    | '?'
                    | '\\'
                    | '\u{7f}'
                    | '{'
                    | '}'
                    | '['
                    | ']'
                    | '^'
        );
        if escaped {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{:02X}", character as u32);
        } else {
            out.push(character);
        }
    }
}

/// What [`escape`] was given. A `%` without two digits behind it stands for itself.
fn unescape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let digits = rest.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[3..];
            }
            None => {
                text.push('%');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The value of each column in a partition's directory, by the column's name, for people and patterns.
pub(super) fn named_texts<'a>(
    partitioning: &'a Partitioning,
    directory: &'a str,
) -> impl Iterator<Item = (&'a str, String)> + 'a {
    partitioning.names().zip(directory.split('/')).map(|(name, part)| {
        let value = part.split_once('=').map_or("", |(_, value)| value);
        (name, unescape(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::table_of;

    #[test]
    fn names_are_escaped_as_hive_does() {
        let mut name = String::new();
        escape("a=b/c:d%e#f \"^~ ☂", &mut name);
        assert_eq!(name, "a%3Db%2Fc%3Ad%25e%23f %22%5E~ ☂");
        assert_eq!(unescape("%zz%4%€%41"), "%zz%4%€A");
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in any::<String>()) {
            let mut name = String::new();
            escape(&text, &mut name);
            prop_assert!(!name.contains('/'));
            prop_assert_eq!(unescape(&name), text);
        }

        #[test]
        fn values_come_back_from_their_directories(
            text in proptest::option::of("[^\\x00]{1,12}"), number in proptest::option::of(any::<i64>()),
            days in proptest::option::of(-700_000i32..700_000),
        ) {
            prop_assume!(text.as_deref() != Some("__DEFAULT_PARTITION__"));
            let fields = vec![
                Field::new("v", LogicalType::Int.nullable()),
                Field::new("a b", LogicalType::STRING.nullable()),
                Field::new("n", LogicalType::BigInt.nullable()),
                Field::new("d", LogicalType::Date.nullable()),
            ];
            let table = TableSpec { partition_keys: vec![1, 3, 2], ..table_of(Schema::new(fields)) };
            let partitioning = Partitioning::of(&table, "__DEFAULT_PARTITION__").unwrap();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from(vec![7])),
                Arc::new(StringArray::from(vec![text.clone()])),
                Arc::new(Int64Array::from(vec![number])),
                Arc::new(Date32Array::from(vec![days])),
            ];
            let records = RecordBatch::try_new(table.schema.to_arrow(), columns.clone()).unwrap();
            let split = Partitioner::new(partitioning.clone(), 4).split(&records).unwrap();
            prop_assert_eq!(split.len(), 1);
            prop_assert_eq!(split[0].1.num_columns(), 1);
            let file = Path::new("/root/x=1").join(&split[0].0).join("part-1");
            let texts = partitioning.texts_of(&file).unwrap();
            let values = partitioning.values(&file, &texts).unwrap();
            let assembler = Assembler::new(&partitioning, &table, &[0, 1, 2, 3]);
            prop_assert_eq!(&assembler.file_projection, &vec![0]);
            let back = assembler.assemble(&split[0].1, &values).unwrap();
            prop_assert_eq!(back.columns(), columns.as_slice());
        }
    }
}
