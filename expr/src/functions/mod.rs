//! The functions, in lists by subject.

mod arithmetic;
mod codes;
mod collections;
mod comparison;
mod json;
mod json_build;
mod like;
mod logic;
mod maps;
mod numeric;
mod printf;
mod random;
mod regex;
mod sets;
mod str_to_map;
mod strings;
mod temporal;
mod texts;
mod time_units;

use crate::registry::Function;

/// All lists.
pub(crate) static ALL: [&[Function]; 17] = [
    comparison::FUNCTIONS,
    logic::FUNCTIONS,
    arithmetic::FUNCTIONS,
    numeric::FUNCTIONS,
    random::FUNCTIONS,
    strings::FUNCTIONS,
    texts::FUNCTIONS,
    regex::FUNCTIONS,
    temporal::FUNCTIONS,
    collections::FUNCTIONS,
    json::FUNCTIONS,
    json_build::FUNCTIONS,
    codes::FUNCTIONS,
    printf::FUNCTIONS,
    sets::FUNCTIONS,
    maps::FUNCTIONS,
    str_to_map::FUNCTIONS,
];
