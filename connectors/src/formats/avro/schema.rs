//! Schemas: those that files bring along, and those of tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidemill_common::connector::TableError;
use tidemill_common::limits::TYPE_DEPTH_MAX;
use tidemill_common::types::{DataType, Field, LogicalType};

/// Most parts of a schema, after names were followed.
const PARTS_MAX: usize = 100_000;

/// A schema without names: each is replaced by what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(Box<Schema>),
    Map(Box<Schema>),
    Record(Vec<(String, Schema)>),
    Union(Vec<Schema>),
    /// One of the above with a meaning.
    Logical(Box<Schema>, Meaning),
}

/// A logical type. Those that are not known are left out, as Avro says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Digits behind the point.
    Decimal(u8),
    Date,
    /// Units per second.
    Time(i64),
    /// Units per second.
    Timestamp(i64),
}

impl Schema {
    /// Reads a schema from its JSON.
    ///
    /// # Errors
    /// For people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("its schema is no JSON: {error}"))?;
        let mut parser = Parser { named: BTreeMap::new(), parts: 0 };
        parser.schema(&value, "", 0)
    }

    /// The name of the type, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Fixed(_) => "fixed",
            Self::Enum(_) => "enum",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Record(_) => "record",
            Self::Union(_) => "union",
            Self::Logical(_, Meaning::Decimal(_)) => "decimal",
            Self::Logical(_, Meaning::Date) => "date",
            Self::Logical(_, Meaning::Time(_)) => "time",
            Self::Logical(_, Meaning::Timestamp(_)) => "timestamp",
        }
    }
}

struct Parser<'a> {
    /// By full name; `None` while the type is being read.
    named: BTreeMap<String, Option<(&'a Value, String)>>,
    parts: usize,
}

impl<'a> Parser<'a> {
    fn schema(&mut self, value: &'a Value, namespace: &str, depth: usize) -> Result<Schema, String> {
        self.parts += 1;
        if depth > 2 * TYPE_DEPTH_MAX || self.parts > PARTS_MAX {
            return Err("its schema is nested too deeply or too large".to_owned());
        }
        match value {
            Value::String(name) => self.by_name(name, namespace, depth),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.schema(branch, namespace, depth + 1));
                Ok(Schema::Union(branches.collect::<Result<_, _>>()?))
            }
            Value::Object(object) => self.object(value, object, namespace, depth),
            _ => Err(format!("its schema has '{value}' for a type")),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str, depth: usize) -> Result<Schema, String> {
        Ok(match name {
            "null" => Schema::Null,
            "boolean" => Schema::Boolean,
            "int" => Schema::Int,
            "long" => Schema::Long,
            "float" => Schema::Float,
            "double" => Schema::Double,
            "bytes" => Schema::Bytes,
            "string" => Schema::String,
            _ => {
                let full = full_name(name, namespace);
                match self.named.get(&full).or_else(|| self.named.get(name)) {
                    Some(Some((value, namespace))) => {
                        let (value, namespace) = (*value, namespace.clone());
                        return self.schema(value, &namespace, depth + 1);
                    }
                    Some(None) => return Err(format!("its type '{name}' is within itself, and no type of a table is")),
                    None => return Err(format!("its schema names the type '{name}', which it does not define")),
                }
            }
        })
    }

    fn object(
        &mut self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Schema, String> {
        let kind = object.get("type").ok_or("its schema has a type without 'type'")?;
        let Some(kind) = kind.as_str() else { return self.schema(kind, namespace, depth + 1) };
        let plain = match kind {
            "array" => {
                let items = object.get("items").ok_or("its schema has an array without 'items'")?;
                Schema::Array(Box::new(self.schema(items, namespace, depth + 1)?))
            }
            "map" => {
                let values = object.get("values").ok_or("its schema has a map without 'values'")?;
                Schema::Map(Box::new(self.schema(values, namespace, depth + 1)?))
            }
            "record" | "error" | "enum" | "fixed" => return self.named_type(value, object, kind, namespace, depth),
            name => self.by_name(name, namespace, depth)?,
        };
        Ok(with_meaning(plain, object))
    }

    fn named_type(
        &mut self,
        value: &'a Value,
        object: &'a Map<String, Value>,
        kind: &str,
        namespace: &str,
        depth: usize,
    ) -> Result<Schema, String> {
        let name = object.get("name").and_then(Value::as_str).ok_or("its schema has a type without a name")?;
        let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, own);
        let inner = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        let plain = match kind {
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array).ok_or("an enum has no 'symbols'")?;
                Schema::Enum(symbols.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).ok_or("a fixed has no 'size'")?;
                Schema::Fixed(usize::try_from(size).map_err(|_| "a fixed is too large")?)
            }
            _ => {
                self.named.insert(full.clone(), None);
                let fields = object.get("fields").and_then(Value::as_array).ok_or("a record has no 'fields'")?;
                let mut read = Vec::with_capacity(fields.len());
                for field in fields {
                    let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
                    let schema = field.get("type").ok_or_else(|| format!("the field '{name}' has no type"))?;
                    read.push((name.to_owned(), self.schema(schema, &inner, depth + 1)?));
                }
                Schema::Record(read)
            }
        };
        self.named.insert(full, Some((value, own.to_owned())));
        Ok(with_meaning(plain, object))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn with_meaning(plain: Schema, object: &Map<String, Value>) -> Schema {
    let meaning = match (object.get("logicalType").and_then(Value::as_str), &plain) {
        (Some("decimal"), Schema::Bytes | Schema::Fixed(_)) => {
            let scale = object.get("scale").and_then(Value::as_u64).unwrap_or(0);
            u8::try_from(scale).ok().map(Meaning::Decimal)
        }
        (Some("date"), Schema::Int) => Some(Meaning::Date),
        (Some("time-millis"), Schema::Int) => Some(Meaning::Time(1_000)),
        (Some("time-micros"), Schema::Long) => Some(Meaning::Time(1_000_000)),
        (Some("timestamp-millis" | "local-timestamp-millis"), Schema::Long) => Some(Meaning::Timestamp(1_000)),
        (Some("timestamp-micros" | "local-timestamp-micros"), Schema::Long) => Some(Meaning::Timestamp(1_000_000)),
        (Some("timestamp-nanos" | "local-timestamp-nanos"), Schema::Long) => Some(Meaning::Timestamp(1_000_000_000)),
        _ => None,
    };
    match meaning {
        Some(meaning) => Schema::Logical(Box::new(plain), meaning),
        None => plain,
    }
}

/// The schema of a table's rows, as Flink derives it.
///
/// # Errors
/// If a column has a type that Avro does not have.
pub(super) fn of_table(fields: &[Field], legacy: bool) -> Result<Value, TableError> {
    record(fields, "org.apache.flink.avro.generated.record", legacy, "")
}

fn record(fields: &[Field], name: &str, legacy: bool, column: &str) -> Result<Value, TableError> {
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let column = if column.is_empty() { field.name.clone() } else { format!("{column}.{}", field.name) };
        if !is_name(&field.name) {
            return Err(TableError::table(format!(
                "column '{column}': a name in avro has letters, digits and _, and begins with no digit; rename it"
            )));
        }
        let schema = of_type(&field.data_type, &format!("{name}_{}", field.name), legacy, &column)?;
        values.push(if field.data_type.nullable {
            json!({"name": field.name, "type": schema, "default": null})
        } else {
            json!({"name": field.name, "type": schema})
        });
    }
    // The namespace is that of the name, written once.
    Ok(match name.rsplit_once('.') {
        Some((namespace, name)) => json!({"type": "record", "name": name, "namespace": namespace, "fields": values}),
        None => json!({"type": "record", "name": name, "fields": values}),
    })
}

fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn of_type(data_type: &DataType, name: &str, legacy: bool, column: &str) -> Result<Value, TableError> {
    let logical = &data_type.logical;
    let refuse = |reason: String| Err(TableError::table(format!("column '{column}': avro {reason}")));
    let schema = match logical {
        LogicalType::Null => return Ok(json!("null")),
        LogicalType::Boolean => json!("boolean"),
        LogicalType::TinyInt | LogicalType::SmallInt | LogicalType::Int => json!("int"),
        LogicalType::BigInt => json!("long"),
        LogicalType::Float => json!("float"),
        LogicalType::Double => json!("double"),
        LogicalType::Char(_) | LogicalType::Varchar(_) => json!("string"),
        LogicalType::Binary(_) | LogicalType::Varbinary(_) => json!("bytes"),
        LogicalType::Decimal(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        LogicalType::Date => json!({"type": "int", "logicalType": "date"}),
        LogicalType::Time(0..=3) => json!({"type": "int", "logicalType": "time-millis"}),
        LogicalType::Time(_) => return refuse(format!("has no {logical}: declare it as TIME(3)")),
        LogicalType::Timestamp(precision) => match (precision, legacy) {
            (0..=3, true) => json!({"type": "long", "logicalType": "timestamp-millis"}),
            (0..=3, false) => json!({"type": "long", "logicalType": "local-timestamp-millis"}),
            (4..=6, false) => json!({"type": "long", "logicalType": "local-timestamp-micros"}),
            (_, true) => {
                return refuse(format!(
                    "has no {logical}: declare it as TIMESTAMP(3), or set 'avro.timestamp_mapping.legacy' to 'false' for up to TIMESTAMP(6)"
                ));
            }
            _ => return refuse(format!("has no {logical}: declare it as TIMESTAMP(6)")),
        },
        LogicalType::TimestampLtz(precision) => match (precision, legacy) {
            (_, true) => {
                return refuse(format!("has no {logical} unless 'avro.timestamp_mapping.legacy' is 'false'"));
            }
            (0..=3, _) => json!({"type": "long", "logicalType": "timestamp-millis"}),
            (4..=6, _) => json!({"type": "long", "logicalType": "timestamp-micros"}),
            _ => return refuse(format!("has no {logical}: declare it as TIMESTAMP_LTZ(6)")),
        },
        LogicalType::IntervalYearMonth | LogicalType::IntervalDaySecond => return refuse(format!("has no {logical}")),
        LogicalType::Array(item) => json!({"type": "array", "items": of_type(item, name, legacy, column)?}),
        LogicalType::Map(key, value) => {
            if !key.logical.is_string() {
                return refuse(format!("has texts as keys of maps, not {}", key.logical));
            }
            json!({"type": "map", "values": of_type(value, name, legacy, column)?})
        }
        LogicalType::Multiset(item) => {
            if !item.logical.is_string() {
                return refuse(format!("has texts as values of a MULTISET, not {}", item.logical));
            }
            json!({"type": "map", "values": "int"})
        }
        LogicalType::Row(fields) => record(fields, name.rsplit('.').next().unwrap_or(name), legacy, column)?,
    };
    Ok(if data_type.nullable { json!(["null", schema]) } else { schema })
}
