//! What the benches share.

pub mod jobs;
