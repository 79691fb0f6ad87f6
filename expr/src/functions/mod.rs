//! The functions, in lists by subject.

mod arithmetic;
mod collections;
mod comparison;
mod json;
mod like;
mod logic;
mod numeric;
mod regex;
mod strings;
mod temporal;
mod texts;
mod time_units;

use crate::registry::Function;

/// All lists.
pub(crate) static ALL: [&[Function]; 10] = [
    comparison::FUNCTIONS,
    logic::FUNCTIONS,
    arithmetic::FUNCTIONS,
    numeric::FUNCTIONS,
    strings::FUNCTIONS,
    texts::FUNCTIONS,
    regex::FUNCTIONS,
    temporal::FUNCTIONS,
    collections::FUNCTIONS,
    json::FUNCTIONS,
];
