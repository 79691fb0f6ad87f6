//! One operator a file.

pub mod window;
pub mod window_table_function;
