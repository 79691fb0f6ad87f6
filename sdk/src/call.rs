//! What all calls share: which rows a function is called for, and what becomes of its failures.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::Array;
use arrow::buffer::NullBuffer;
use tidemill_expr::own::{Argument, Parameter};

/// The rows for which a function is called.
pub(crate) enum Called {
    All,
    None,
    /// Those that are valid.
    Some(NullBuffer),
}

impl Called {
    /// All rows but those with NULL where the function takes none.
    pub fn of(args: &[Argument<'_>], parameters: &[Parameter]) -> Self {
        let mut union: Option<NullBuffer> = None;
        for (argument, parameter) in args.iter().zip(parameters) {
            let nulls = argument.array.nulls().filter(|nulls| nulls.null_count() > 0);
            let (Some(nulls), false) = (nulls, parameter.takes_null) else { continue };
            if argument.constant {
                return Self::None;
            }
            union = NullBuffer::union(union.as_ref(), Some(nulls));
        }
        union.map_or(Self::All, Self::Some)
    }

    /// Whether the function is called for a row.
    #[inline(always)]
    pub fn is(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(nulls) => nulls.is_valid(row),
        }
    }
}

/// Runs code of the user: a panic is a failure like any other.
pub(crate) fn guarded<T>(name: &str, run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(format!("function {name} failed: {reason}")),
        Err(panic) => Err(format!("function {name} panicked: {}", message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
