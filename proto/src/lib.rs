//! The gRPC interface of Tidemill: messages and services generated from `proto/tidemill/v1/`, and
//! nothing else.
//!
//! Generated types stay at the edge: each crate that speaks gRPC converts them in its `wire.rs`.

/// Package `tidemill.v1`.
pub mod v1 {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("tidemill.v1");
}

/// The encoded `FileDescriptorSet` of all files, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
