//! Programs of your own on Tidemill: functions written in Rust, called from SQL.
//!
//! A program registers its functions and calls [`main`], and is then all that the plain `tidemill` is: job
//! manager, task manager and client, with every command. Plans name functions by name and version, and carry no
//! code, so that all processes of a cluster run the same program.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use tidemill::{Collector, Registry};
//!
//! fn main() -> ExitCode {
//!     let mut registry = Registry::new();
//!     registry.scalar("NET", 1, |gross: f64, rate: i32| gross / (1.0 + f64::from(rate) / 100.0));
//!     registry.table("WORDS", 1, |text: &str, rows: &mut Collector<(String, i32)>| {
//!         for word in text.split_whitespace() {
//!             rows.emit((word.to_owned(), word.len() as i32));
//!         }
//!     });
//!     tidemill::main(registry)
//! }
//! ```
//!
//! `docs/functions.md` tells more, `examples/functions` is a program with all three kinds.

mod aggregate;
mod call;
mod parameter;
mod registry;
mod row;
mod scalar;
mod table;
mod value;

use std::process::ExitCode;

pub use aggregate::{Aggregate, Input};
pub use parameter::{Parameter, Parameters};
pub use registry::Registry;
pub use row::Row;
pub use scalar::ScalarFunction;
pub use table::{Collector, Outcome, TableFunction};
pub use value::{Cell, Date, Decimal, Returned, Timestamp, TimestampLtz, Value};

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line of this process with the functions of the registry. Without success the reason is
/// written to standard error.
pub fn main(registry: Registry) -> ExitCode {
    match registry.install() {
        Ok(()) => tidemill_cli::main(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The Rust of the page is compiled by the tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../docs/functions.md")]
struct Page;

#[cfg(test)]
mod tests;
