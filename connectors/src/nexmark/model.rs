//! Which columns a table declares, and which part of an event each is.

use arrow::datatypes::{Fields, SchemaRef};
use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;
use tidemill_common::suggest::nearest;
use tidemill_common::types::{Field, LogicalType, Schema};

use super::config::{Config, Kind, Table};

/// What a field of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Id,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    DateTime,
    Extra,
}

/// The type a part must be declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    BigInt,
    Text,
    Timestamp,
}

const PERSON: &[(&str, Part, Shape)] = &[
    ("id", Part::Id, Shape::BigInt),
    ("name", Part::Name, Shape::Text),
    ("emailAddress", Part::EmailAddress, Shape::Text),
    ("creditCard", Part::CreditCard, Shape::Text),
    ("city", Part::City, Shape::Text),
    ("state", Part::State, Shape::Text),
    ("dateTime", Part::DateTime, Shape::Timestamp),
    ("extra", Part::Extra, Shape::Text),
];
const AUCTION: &[(&str, Part, Shape)] = &[
    ("id", Part::Id, Shape::BigInt),
    ("itemName", Part::ItemName, Shape::Text),
    ("description", Part::Description, Shape::Text),
    ("initialBid", Part::InitialBid, Shape::BigInt),
    ("reserve", Part::Reserve, Shape::BigInt),
    ("dateTime", Part::DateTime, Shape::Timestamp),
    ("expires", Part::Expires, Shape::Timestamp),
    ("seller", Part::Seller, Shape::BigInt),
    ("category", Part::Category, Shape::BigInt),
    ("extra", Part::Extra, Shape::Text),
];
const BID: &[(&str, Part, Shape)] = &[
    ("auction", Part::Auction, Shape::BigInt),
    ("bidder", Part::Bidder, Shape::BigInt),
    ("price", Part::Price, Shape::BigInt),
    ("channel", Part::Channel, Shape::Text),
    ("url", Part::Url, Shape::Text),
    ("dateTime", Part::DateTime, Shape::Timestamp),
    ("extra", Part::Extra, Shape::Text),
];

/// A column of an event, with the precision its timestamps are declared with.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub part: Part,
    pub logical: LogicalType,
}

/// A column of the table.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A field of an event of the table's kind.
    Plain(Leaf),
    /// `event_type`.
    EventType,
    /// The time of any event.
    Time(LogicalType),
    /// `person`, `auction` or `bid`: NULL for events of other kinds.
    Event { kind: Kind, leaves: Vec<Leaf>, fields: Fields },
}

/// The projected columns.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub schema: SchemaRef,
    pub nodes: Vec<Node>,
}

impl Layout {
    pub fn new(table: &TableSpec, config: &Config, projection: &[usize]) -> Result<Self, TableError> {
        let fields: Vec<Field> = projection.iter().map(|index| table.schema.fields[*index].clone()).collect();
        let nodes = fields
            .iter()
            .map(|field| match config.table {
                Table::Plain(kind) => leaf(kind, field, "").map(Node::Plain),
                Table::Event => event_column(field),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { schema: Schema::new(fields).to_arrow(), nodes })
    }
}

fn event_column(field: &Field) -> Result<Node, TableError> {
    let kind = match field.name.as_str() {
        "event_type" if field.data_type.logical == LogicalType::Int => return Ok(Node::EventType),
        "event_type" => return Err(wrong_type("event_type", "INT", &field.data_type.logical)),
        "ts" | "dateTime" if field.data_type.logical.is_timestamp() => {
            return Ok(Node::Time(field.data_type.logical.clone()));
        }
        "ts" | "dateTime" => return Err(wrong_type(&field.name, "TIMESTAMP(3)", &field.data_type.logical)),
        "person" => Kind::Person,
        "auction" => Kind::Auction,
        "bid" => Kind::Bid,
        other => {
            return Err(unknown(other, &["event_type", "person", "auction", "bid", "ts"], "the table of all events"));
        }
    };
    let LogicalType::Row(inner) = &field.data_type.logical else {
        return Err(wrong_type(&field.name, "a ROW", &field.data_type.logical));
    };
    let leaves = inner.iter().map(|inner| leaf(kind, inner, &format!("{}.", field.name))).collect::<Result<_, _>>()?;
    Ok(Node::Event { kind, leaves, fields: inner.iter().map(Field::to_arrow).collect() })
}

fn leaf(kind: Kind, field: &Field, path: &str) -> Result<Leaf, TableError> {
    let (parts, what) = match kind {
        Kind::Person => (PERSON, "a person"),
        Kind::Auction => (AUCTION, "an auction"),
        Kind::Bid => (BID, "a bid"),
    };
    let Some((_, part, shape)) = parts.iter().find(|(name, _, _)| *name == field.name) else {
        let names: Vec<&str> = parts.iter().map(|(name, _, _)| *name).collect();
        return Err(unknown(&field.name, &names, what));
    };
    let logical = &field.data_type.logical;
    let (fits, expected) = match shape {
        Shape::BigInt => (*logical == LogicalType::BigInt, "BIGINT"),
        Shape::Text => (matches!(logical, LogicalType::Varchar(_)), "STRING"),
        Shape::Timestamp => (logical.is_timestamp(), "TIMESTAMP(3)"),
    };
    if !fits {
        return Err(wrong_type(&format!("{path}{}", field.name), expected, logical));
    }
    Ok(Leaf { part: *part, logical: logical.clone() })
}

fn unknown(name: &str, known: &[&str], what: &str) -> TableError {
    TableError::table(match nearest(name, known.iter().copied()) {
        Some(near) => format!("column '{name}' is no part of {what}; did you mean '{near}'?"),
        None => format!("column '{name}' is no part of {what}, which has the columns {}", known.join(", ")),
    })
}

fn wrong_type(name: &str, expected: &str, found: &LogicalType) -> TableError {
    TableError::table(format!("column '{name}' must be {expected}, it is {found}"))
}
