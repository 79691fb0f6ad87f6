//! The data plane: tasks, operators and the shuffle.
//!
//! A record's way: [`source`](crate::operators) -> chain of operators -> [`shuffle`] -> operators -> sink.

pub mod operator;
pub mod operators;
