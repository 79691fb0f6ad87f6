//! One operator a file.
