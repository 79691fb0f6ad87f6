//! The bodies of frames.
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use tidemill_common::batch::StreamElement;

use super::frame::{FrameError, Header};

/// Reads the elements of one channel.
pub struct Decoder {
    _schema: SchemaRef,
}

impl Decoder {
    pub fn new(schema: SchemaRef) -> Self {
        Self { _schema: schema }
    }

    pub fn decode(&self, _header: &Header, _body: Buffer) -> Result<StreamElement, FrameError> {
        Err(FrameError::Damaged { what: "stub" })
    }
}
