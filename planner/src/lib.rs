//! Flink SQL to stream plans.
//!
//! A script's way: text -> [`dialect`] -> statements ([`ast`]) -> [`binder`] (names and types resolved
//! as Flink resolves them, giving a tree of [`rel`]ations) -> [`optimizer`] -> [`stream`] (operators,
//! exchanges, phases, state). [`session`] holds the tables of a script and drives the rest.

pub mod ast;
pub mod binder;
pub mod catalog;
pub mod diagnostic;
pub mod dialect;
pub mod explain;
pub mod optimizer;
pub mod rel;
pub mod session;
pub mod stream;

#[cfg(test)]
mod tests;
