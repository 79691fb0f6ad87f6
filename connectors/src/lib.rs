//! Sources, sinks and formats.
//!
//! A connector is one folder and one line in [`registry`]. It implements [`api::Connector`]; the
//! split enumerator it makes lives on the job manager, its readers and writers on the task
//! managers. A format is one folder under [`formats`] and one line in the same registry.

pub mod access_log_generator;
pub mod api;
pub mod blackhole;
pub mod collect;
pub mod datagen;
pub mod filesystem;
pub mod formats;
mod generator;
pub mod jdbc;
pub mod kafka;
pub mod lease;
pub mod nexmark;
mod one_way;
pub mod print;
pub mod registry;
#[cfg(test)]
mod restore_tests;
mod row_text;
mod staging;
#[cfg(test)]
mod testing;
pub mod values;
