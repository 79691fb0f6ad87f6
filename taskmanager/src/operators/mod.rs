//! One operator a file.

pub mod calc;
pub mod correlate;
pub mod not_null;
pub mod sink;
pub mod union;
pub mod window;
pub mod window_table_function;
