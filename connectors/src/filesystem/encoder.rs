//! Encoders of files, whatever their format.

use arrow::array::RecordBatch;
use tidemill_common::plan::TableSpec;

use crate::api::{ConnectorError, Encoder, FileEncoder, FileFraming, Format, SubtaskContext};

/// Makes the encoders of parts.
pub(super) struct Encoders {
    format: &'static dyn Format,
    /// The table as its files have it.
    table: TableSpec,
    context: SubtaskContext,
}

impl Encoders {
    pub fn new(format: &'static dyn Format, table: TableSpec, context: SubtaskContext) -> Self {
        Self { format, table, context }
    }

    /// An encoder of one more part.
    pub fn create(&self) -> Result<Box<dyn FileEncoder>, ConnectorError> {
        match self.format.files() {
            Some(files) => files.create_file_encoder(&self.table, &self.context),
            None => {
                let encoder = self.format.create_encoder(&self.table, &self.table.schema, &self.context)?;
                Ok(Box::new(Records::new(encoder)))
            }
        }
    }
}

/// A file of records with something between them.
struct Records {
    encoder: Box<dyn Encoder>,
    framing: FileFraming,
    begun: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    fn new(encoder: Box<dyn Encoder>) -> Self {
        let framing = encoder.file_framing();
        Self { encoder, framing, begun: false, bytes: Vec::new(), ends: Vec::new() }
    }
}

impl FileEncoder for Records {
    fn encode(&mut self, records: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&self.framing.header);
        }
        self.bytes.clear();
        self.ends.clear();
        self.encoder.encode(records, &mut self.bytes, &mut self.ends)?;
        let mut start = 0;
        for end in &self.ends {
            out.extend_from_slice(&self.bytes[start..*end]);
            out.extend_from_slice(&self.framing.terminator);
            start = *end;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        Ok(())
    }
}
