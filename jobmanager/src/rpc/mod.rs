//! The gRPC services. Each has a part that works with our own types, and a `wire.rs` that converts.

pub mod gateway;
pub mod jobs;
