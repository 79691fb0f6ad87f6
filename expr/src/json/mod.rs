//! JSON texts as Flink's functions see them: numbers keep their digits, members stand in the order of
//! their keys when written, and what follows the first value of a text is ignored (as Jackson does).

mod parse;
mod path;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;

pub(crate) use parse::parse;
pub(crate) use path::{Mode, Path, PathError};
pub(crate) use write::{push_number, push_text, write};

/// Levels of nesting that a text may have, as in Jackson.
pub(crate) const DEPTH_MAX: usize = 1000;

/// A value of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Boolean(bool),
    /// A number without fraction or exponent, as it stands in the text.
    Integer(&'a str),
    /// Any other number, as it stands in the text.
    Decimal(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Of equal keys the last one stays.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl Json<'_> {
    /// Neither array nor object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }
}
