//! Flink SQL to stream plans.
//!
//! A script's way: text -> [`dialect`] -> statements ([`ast`]) -> [`binder`] (names and types resolved
//! as Flink resolves them, giving a tree of [`rel`]ations) -> [`optimizer`] -> [`stream`] (operators,
//! exchanges, phases, state). [`session`] holds the tables of a script and drives the rest: [`catalog`] is
//! their names, [`table`] what they are, [`like`](mod@like), [`alter`] and [`show`] are the statements about them.

pub mod alter;
pub mod ast;
pub mod binder;
pub mod catalog;
pub mod diagnostic;
pub mod dialect;
pub mod explain;
pub mod insert;
pub mod like;
pub mod optimizer;
pub mod rel;
pub mod session;
pub mod show;
pub mod stream;
pub mod table;
pub mod table_as;
pub mod text_table;

#[cfg(test)]
mod tests;
