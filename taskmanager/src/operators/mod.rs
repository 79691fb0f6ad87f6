//! One operator a file.

pub mod calc;
pub mod correlate;
pub mod limit;
pub mod not_null;
pub mod own_table_function;
pub mod replicate_rows;
pub mod sink;
pub mod sort;
pub mod union;
pub mod window;
pub mod window_table_function;
