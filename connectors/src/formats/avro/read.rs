//! Values of a writer's schema into columns of a table.

use tidemill_common::types::{DataType, LogicalType, units_per_millisecond};
use tidemill_expr::decimal;

use super::schema::{Meaning, Schema};
use crate::formats::columns::{Column, Data};

/// How values of a writer's schema are read.
pub(super) enum Node {
    /// Passed over.
    Skip(Schema),
    /// Into a column of its kind.
    Value(Schema),
    /// Not of the column's type; an error if one comes.
    Unlike(&'static str),
    Array(Box<Node>),
    Map(Box<Node>),
    /// Each field with the field of the row that it is for; and the fields that are not there.
    Record(Vec<(Node, Option<usize>)>, Vec<usize>),
    Union(Vec<Node>),
    Null,
}

/// The rows of a table in records of a writer: for each field of the writer how it is read.
pub(super) struct Rows {
    fields: Vec<(Node, Option<usize>)>,
    missing: Vec<usize>,
    /// Where records are one branch of a union (Flink writes files so): which of how many.
    branch: Option<(usize, usize)>,
    /// Whether a record takes no bytes at all.
    pub empty: bool,
}

impl Rows {
    /// `columns` are those that are read, in their order.
    ///
    /// # Errors
    /// For people: what does not go together.
    pub fn new(writer: &Schema, columns: &[(String, DataType)]) -> Result<Self, String> {
        let record_of = |schema: &Schema| matches!(schema, Schema::Record(_));
        let (record, branch) = match writer {
            Schema::Union(branches) => {
                let at = branches.iter().position(record_of).unwrap_or_default();
                (branches.get(at).unwrap_or(&Schema::Null), Some((at, branches.len())))
            }
            other => (other, None),
        };
        let Schema::Record(record) = record else {
            return Err(format!("its records are no records, but {}", record.name()));
        };
        let (fields, missing) = fields_of(record, columns)?;
        Ok(Self { fields, missing, branch, empty: least_bytes(writer) == 0 })
    }

    /// Reads one record.
    ///
    /// # Errors
    /// For people; the columns may have part of the row.
    pub fn read(&self, input: &mut Input<'_>, columns: &mut [Column]) -> Result<(), String> {
        if let Some((branch, branches)) = self.branch
            && input.index(branches)? != branch
        {
            return Err("a record is null".to_owned());
        }
        record(&self.fields, &self.missing, input, columns)
    }
}

type Fields = (Vec<(Node, Option<usize>)>, Vec<usize>);

fn fields_of(writer: &[(String, Schema)], wanted: &[(String, DataType)]) -> Result<Fields, String> {
    let mut fields = Vec::with_capacity(writer.len());
    for (at, (name, schema)) in writer.iter().enumerate() {
        if writer[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("its schema names the field '{name}' twice"));
        }
        match wanted.iter().position(|(column, _)| column == name) {
            Some(at) => {
                let node = node(schema, &wanted[at].1.logical).ok_or_else(|| {
                    format!("its field '{name}' is {}, and {} in the table", schema.name(), wanted[at].1.logical)
                })?;
                fields.push((node, Some(at)));
            }
            None => fields.push((Node::Skip(schema.clone()), None)),
        }
    }
    let is_there = |at: &usize| fields.iter().any(|(_, target)| *target == Some(*at));
    let missing = (0..wanted.len()).filter(|at| !is_there(at)).collect();
    Ok((fields, missing))
}

/// How to read a schema into a type; `None` if they do not go together.
fn node(schema: &Schema, wanted: &LogicalType) -> Option<Node> {
    use LogicalType as L;
    use Schema as S;

    let fits = match (wanted, schema) {
        (_, S::Null) => return Some(Node::Null),
        (_, S::Union(branches)) => {
            let nodes: Vec<Node> =
                branches.iter().map(|branch| node(branch, wanted).unwrap_or(Node::Unlike(branch.name()))).collect();
            let useful = nodes.iter().any(|node| !matches!(node, Node::Unlike(_) | Node::Null));
            let only_null = branches.iter().all(|branch| *branch == S::Null);
            return (useful || only_null).then_some(Node::Union(nodes));
        }
        (L::Array(item), S::Array(items)) => return Some(Node::Array(Box::new(node(items, &item.logical)?))),
        (L::Map(key, value), S::Map(values)) if key.logical.is_string() => {
            return Some(Node::Map(Box::new(node(values, &value.logical)?)));
        }
        (L::Multiset(item), S::Map(values)) if item.logical.is_string() => {
            return Some(Node::Map(Box::new(node(values, &L::Int)?)));
        }
        (L::Row(fields), S::Record(record)) => {
            let wanted: Vec<_> = fields.iter().map(|field| (field.name.clone(), field.data_type.clone())).collect();
            let (fields, missing) = fields_of(record, &wanted).ok()?;
            return Some(Node::Record(fields, missing));
        }
        (L::Boolean, S::Boolean)
        | (L::TinyInt | L::SmallInt | L::Int, S::Int)
        | (L::BigInt | L::Float | L::Double, S::Int | S::Long)
        | (L::Float | L::Double, S::Float)
        | (L::Double, S::Double)
        | (L::Char(_) | L::Varchar(_), S::String | S::Bytes | S::Enum(_))
        | (L::Binary(_) | L::Varbinary(_), S::Bytes | S::String | S::Fixed(_))
        | (L::Decimal(..), S::Bytes | S::Fixed(_))
        | (L::Date | L::Time(_), S::Int)
        | (L::Timestamp(_) | L::TimestampLtz(_), S::Long) => true,
        (wanted, S::Logical(plain, meaning)) => match (wanted, meaning) {
            (L::Decimal(..), Meaning::Decimal(_))
            | (L::Date, Meaning::Date)
            | (L::Time(_), Meaning::Time(_))
            | (L::Timestamp(_) | L::TimestampLtz(_), Meaning::Timestamp(_)) => true,
            // The number is there, too.
            (L::Int | L::BigInt | L::Binary(_) | L::Varbinary(_), _) => return node(plain, wanted),
            _ => false,
        },
        _ => false,
    };
    fits.then(|| Node::Value(schema.clone()))
}

/// The fewest bytes that a value takes.
pub(super) fn least_bytes(schema: &Schema) -> usize {
    match schema {
        Schema::Null => 0,
        Schema::Float => 4,
        Schema::Double => 8,
        Schema::Fixed(size) => *size,
        Schema::Record(fields) => fields.iter().map(|(_, field)| least_bytes(field)).sum(),
        Schema::Logical(plain, _) => least_bytes(plain),
        _ => 1,
    }
}

fn record(
    fields: &[(Node, Option<usize>)],
    missing: &[usize],
    input: &mut Input<'_>,
    columns: &mut [Column],
) -> Result<(), String> {
    for (node, target) in fields {
        match target.and_then(|at| columns.get_mut(at)) {
            Some(column) => read(node, input, column)?,
            None => match node {
                Node::Skip(schema) => skip(schema, input)?,
                _ => return Err("a field has no column".to_owned()),
            },
        }
    }
    for at in missing {
        if let Some(column) = columns.get_mut(*at) {
            column.push_null();
        }
    }
    Ok(())
}

fn read(node: &Node, input: &mut Input<'_>, column: &mut Column) -> Result<(), String> {
    match node {
        Node::Null => column.push_null(),
        Node::Skip(schema) => skip(schema, input)?,
        Node::Unlike(name) => {
            return Err(format!("a value is {name}, and {} in the table", column.logical));
        }
        Node::Union(branches) => {
            let branch = input.index(branches.len())?;
            return read(&branches[branch], input, column);
        }
        Node::Value(schema) => return value(schema, input, column),
        Node::Array(item) => {
            let Data::List { item: items, ends } = &mut column.data else { return Err(unlike(column)) };
            input.blocks(|input| read(item, input, items))?;
            ends.push(end(items.len())?);
            column.validity.push(true);
        }
        Node::Map(node) => {
            let Data::Map { key, value, ends } = &mut column.data else { return Err(unlike(column)) };
            input.blocks(|input| {
                push_text(input.bytes()?, key)?;
                read(node, input, value)
            })?;
            ends.push(end(key.len())?);
            column.validity.push(true);
        }
        Node::Record(nodes, missing) => {
            let Data::Row { fields, .. } = &mut column.data else { return Err(unlike(column)) };
            record(nodes, missing, input, fields)?;
            column.validity.push(true);
        }
    }
    Ok(())
}

fn unlike(column: &Column) -> String {
    format!("{} is read otherwise", column.logical)
}

fn end(length: usize) -> Result<i32, String> {
    i32::try_from(length).map_err(|_| "a batch has more than 2 GiB in one column".to_owned())
}

fn push_text(bytes: &[u8], column: &mut Column) -> Result<(), String> {
    let Data::Text { bytes: texts, ends } = &mut column.data else { return Err(unlike(column)) };
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())?;
    texts.extend_from_slice(bytes);
    ends.push(end(texts.len())?);
    column.validity.push(true);
    Ok(())
}

/// A value without parts.
fn value(schema: &Schema, input: &mut Input<'_>, column: &mut Column) -> Result<(), String> {
    let (plain, meaning) = match schema {
        Schema::Logical(plain, meaning) => (&**plain, Some(*meaning)),
        plain => (plain, None),
    };
    let whole = |input: &mut Input<'_>| match plain {
        Schema::Int => input.int().map(i64::from),
        _ => input.long(),
    };
    match (&mut column.data, &column.logical) {
        (Data::Boolean(values), _) => values.push(input.boolean()?),
        (Data::I8(values), _) => values.push(narrow(input.int()?)?),
        (Data::I16(values), _) => values.push(narrow(input.int()?)?),
        (Data::I32(values) | Data::Date(values), _) => values.push(input.int()?),
        (Data::I64(values), _) => values.push(whole(input)?),
        (Data::Time(values), _) => {
            let time = whole(input)?;
            let per_second = if let Some(Meaning::Time(per_second)) = meaning { per_second } else { 1_000 };
            values.push(narrow(time / (per_second / 1_000))?);
        }
        (Data::Timestamp { values, .. }, LogicalType::Timestamp(precision) | LogicalType::TimestampLtz(precision)) => {
            let number = input.long()?;
            let per_second = if let Some(Meaning::Timestamp(per_second)) = meaning { per_second } else { 1_000 };
            let carried = 1_000 * units_per_millisecond(*precision);
            let value = if carried >= per_second {
                number.checked_mul(carried / per_second).ok_or("a timestamp is out of range")?
            } else {
                number.div_euclid(per_second / carried)
            };
            values.push(value);
        }
        (Data::F32(values), _) => values.push(match plain {
            Schema::Float => input.float()?,
            _ => whole(input)? as f32,
        }),
        (Data::F64(values), _) => values.push(match plain {
            Schema::Double => input.double()?,
            Schema::Float => f64::from(input.float()?),
            _ => whole(input)? as f64,
        }),
        (Data::Decimal(values), LogicalType::Decimal(precision, scale)) => {
            let bytes = input.sized(plain)?;
            let from = if let Some(Meaning::Decimal(from)) = meaning { from } else { *scale };
            let unscaled = big_endian(bytes).ok_or("a decimal has more than 38 digits")?;
            let fitting = decimal::rescale(unscaled, from, *precision, *scale);
            match fitting {
                Some(value) => values.push(value),
                // As everywhere: a decimal that does not fit is NULL.
                None => {
                    column.push_null();
                    return Ok(());
                }
            }
        }
        (Data::Text { .. }, _) => {
            if let Schema::Enum(symbols) = plain {
                let at = input.index(symbols.len())?;
                return push_text(symbols[at].as_bytes(), column);
            }
            let bytes = input.sized(plain)?;
            return push_text(bytes, column);
        }
        (Data::Bytes { bytes, ends }, _) => {
            bytes.extend_from_slice(input.sized(plain)?);
            ends.push(end(bytes.len())?);
        }
        _ => return Err(unlike(column)),
    }
    column.validity.push(true);
    Ok(())
}

fn narrow<F: Copy + std::fmt::Display, T: TryFrom<F>>(value: F) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} does not fit the column"))
}

/// A number in two's complement of any length.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    let (sign, rest) = bytes.split_at(spare);
    if sign.iter().any(|byte| *byte != fill) {
        return None;
    }
    let mut all = [fill; 16];
    all[16 - rest.len()..].copy_from_slice(rest);
    let value = i128::from_be_bytes(all);
    // What was cut must have said no more than the sign.
    ((value < 0) == (fill == 0xff)).then_some(value)
}

/// Passes over a value.
fn skip(schema: &Schema, input: &mut Input<'_>) -> Result<(), String> {
    match schema {
        Schema::Null => Ok(()),
        Schema::Boolean => input.boolean().map(drop),
        Schema::Int | Schema::Long | Schema::Enum(_) => input.long().map(drop),
        Schema::Float => input.take(4).map(drop),
        Schema::Double => input.take(8).map(drop),
        Schema::Bytes | Schema::String | Schema::Fixed(_) => input.sized(schema).map(drop),
        Schema::Array(items) => input.skip_blocks(|input| skip(items, input)),
        Schema::Map(values) => input.skip_blocks(|input| {
            input.bytes()?;
            skip(values, input)
        }),
        Schema::Record(fields) => fields.iter().try_for_each(|(_, field)| skip(field, input)),
        Schema::Union(branches) => {
            let branch = input.index(branches.len())?;
            skip(&branches[branch], input)
        }
        Schema::Logical(plain, _) => skip(plain, input),
    }
}

/// Bytes that are read from their beginning on.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("it ends within a value")?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A number in zig-zag and base 128.
    pub fn long(&mut self) -> Result<i64, String> {
        let mut number: u64 = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or("it ends within a number")?;
            self.bytes = rest;
            if shift == 63 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err("a number is too large".to_owned())
    }

    fn int(&mut self) -> Result<i32, String> {
        narrow(self.long()?)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err("a boolean is neither 0 nor 1".to_owned()),
        }
    }

    fn float(&mut self) -> Result<f32, String> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| "it ends within a value")?;
        Ok(f32::from_le_bytes(bytes))
    }

    fn double(&mut self) -> Result<f64, String> {
        let bytes: [u8; 8] = self.take(8)?.try_into().map_err(|_| "it ends within a value")?;
        Ok(f64::from_le_bytes(bytes))
    }

    /// Bytes behind their number.
    pub fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| "a length is negative")?)
    }

    /// The bytes of a text, of bytes or of a fixed.
    fn sized(&mut self, schema: &Schema) -> Result<&'a [u8], String> {
        match schema {
            Schema::Fixed(size) => self.take(*size),
            _ => self.bytes(),
        }
    }

    /// One of so many.
    fn index(&mut self, count: usize) -> Result<usize, String> {
        let index = self.long()?;
        let fitting = usize::try_from(index).ok().filter(|index| *index < count);
        fitting.ok_or_else(|| format!("there is no branch {index} of {count}"))
    }

    /// The number of items of the next block of an array or map; the bytes of the block where it says.
    fn block(&mut self) -> Result<(u64, Option<usize>), String> {
        let count = self.long()?;
        if count >= 0 {
            return Ok((count.unsigned_abs(), None));
        }
        let bytes = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        Ok((count.unsigned_abs(), Some(bytes)))
    }

    /// Reads the items of an array or map.
    pub fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let (count, _) = self.block()?;
            if count == 0 {
                return Ok(());
            }
            // An item without bytes is nothing that anybody writes so many of.
            if count > self.bytes.len() as u64 {
                return Err("an array has more items than bytes".to_owned());
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    fn skip_blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            match self.block()? {
                (0, _) => return Ok(()),
                (_, Some(bytes)) => drop(self.take(bytes)?),
                (count, None) if count > self.bytes.len() as u64 => {
                    return Err("an array has more items than bytes".to_owned());
                }
                (count, None) => (0..count).try_for_each(|_| item(self))?,
            }
        }
    }
}
