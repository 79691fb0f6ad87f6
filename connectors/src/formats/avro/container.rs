//! Files of blocks of records: the schema and the codec in front, a mark behind each block.

use std::io::{Read, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Bytes, BytesMut};
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::types::{DataType, Schema as TableSchema};

use super::read::{Input, Rows};
use super::schema::Schema;
use super::{IDENTIFIER, internal, write};
use crate::api::{ConnectorError, FileDecoder, FileEncoder, FileInput, FilePart};
use crate::formats::columns::{Column, take_batch};
use crate::formats::json::TimestampFormat;

const MAGIC: &[u8] = b"Obj\x01";
const MARK_BYTES: usize = 16;
/// Bytes of records after which a block is written.
const BLOCK_BYTES: usize = 64_000;
/// Largest block that is read, packed or not.
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// Largest header.
const HEADER_BYTES_MAX: usize = 4 << 20;
/// Bytes fetched at once.
const READ_BYTES: usize = 1 << 20;

/// How blocks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    pub fn of(name: &str) -> Result<Self, String> {
        match name {
            "null" => Ok(Self::Null),
            "deflate" => Ok(Self::Deflate),
            "snappy" => Ok(Self::Snappy),
            "zstandard" => Ok(Self::Zstandard),
            _ => Err(format!("the codec '{name}' is none of null, deflate, snappy and zstandard")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }

    fn pack(self, block: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a block cannot be packed: {error}");
        match self {
            Self::Null => Ok(block.to_vec()),
            Self::Deflate => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(block).and_then(|()| encoder.finish()).map_err(|error| failed(&error))
            }
            Self::Snappy => {
                let mut packed = snap::raw::Encoder::new().compress_vec(block).map_err(|error| failed(&error))?;
                packed.extend(crc32fast::hash(block).to_be_bytes());
                Ok(packed)
            }
            Self::Zstandard => zstd::bulk::compress(block, 0).map_err(|error| failed(&error)),
        }
    }

    fn unpack(self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a block cannot be unpacked: {error}");
        let bounded = |reader: &mut dyn Read| {
            let mut block = Vec::new();
            reader.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(&mut block).map_err(|error| failed(&error))?;
            if block.len() > BLOCK_BYTES_MAX {
                return Err(format!("a block has more than {BLOCK_BYTES_MAX} bytes"));
            }
            Ok(block)
        };
        match self {
            Self::Null => Ok(packed.to_vec()),
            Self::Deflate => bounded(&mut flate2::read::DeflateDecoder::new(packed)),
            Self::Zstandard => bounded(&mut zstd::stream::read::Decoder::new(packed).map_err(|error| failed(&error))?),
            Self::Snappy => {
                let (packed, sum) = packed.split_last_chunk::<4>().ok_or("a block is cut off")?;
                let length = snap::raw::decompress_len(packed).map_err(|error| failed(&error))?;
                if length > BLOCK_BYTES_MAX {
                    return Err(format!("a block has more than {BLOCK_BYTES_MAX} bytes"));
                }
                let block = snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| failed(&error))?;
                if crc32fast::hash(&block) == u32::from_be_bytes(*sum) {
                    Ok(block)
                } else {
                    Err("the checksum of a block is wrong".to_owned())
                }
            }
        }
    }
}

/// Reads a file from its beginning to its end.
pub(super) struct ContainerDecoder {
    table: String,
    file: Arc<dyn FileInput>,
    /// Where the next bytes are fetched, and those that were.
    position: u64,
    buffer: BytesMut,
    codec: Codec,
    mark: [u8; MARK_BYTES],
    rows: Rows,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// The block that is read: what is left of it, and of how many records.
    block: Bytes,
    records: u64,
    /// Rows that were read before.
    skip: u64,
}

impl ContainerDecoder {
    pub fn open(part: FilePart<'_>) -> Result<Self, ConnectorError> {
        let wanted: Vec<_> = part.projection.iter().map(|column| part.table.schema.fields[*column].clone()).collect();
        let named: Vec<(String, DataType)> =
            wanted.iter().map(|field| (field.name.clone(), field.data_type.clone())).collect();
        let (table, file) = (part.table.name.clone(), part.file);
        let fail = |reason: String| damaged(&table, &*file, &reason);
        let mut header = Header::read(&*file).map_err(|error| match error {
            HeaderError::Unread(error) => error,
            HeaderError::Damaged(reason) => fail(reason),
        })?;
        let codec = Codec::of(header.codec.as_deref().unwrap_or("null")).map_err(fail)?;
        let rows = Schema::parse(&header.schema).and_then(|schema| Rows::new(&schema, &named)).map_err(fail)?;
        let columns = named.iter().map(|(_, data_type)| Column::new(data_type, TimestampFormat::Sql)).collect();
        Ok(Self {
            position: header.end,
            buffer: std::mem::take(&mut header.rest),
            codec,
            mark: header.mark,
            rows,
            columns,
            schema: TableSchema::new(wanted).to_arrow(),
            block: Bytes::new(),
            records: 0,
            skip: part.rows_read,
            table,
            file,
        })
    }

    /// Fetches until at least `length` bytes are there; false at the end of the file.
    fn fetch(&mut self, length: usize) -> Result<bool, ConnectorError> {
        while self.buffer.len() < length {
            let left = self.file.bytes().saturating_sub(self.position);
            let more = (length - self.buffer.len()).max(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            if more == 0 {
                return Ok(false);
            }
            self.buffer.extend_from_slice(&self.file.read(self.position, more)?);
            self.position += more as u64;
        }
        Ok(true)
    }

    /// The next block; false at the end of the file.
    fn next_block(&mut self) -> Result<bool, ConnectorError> {
        // Two numbers take at most 20 bytes.
        self.fetch(20)?;
        if self.buffer.is_empty() {
            return Ok(false);
        }
        let mut input = Input::new(&self.buffer);
        let counts = input.long().and_then(|records| Ok((records, input.long()?)));
        let used = self.buffer.len() - input.rest().len();
        let (records, length) = counts.map_err(|reason| damaged(&self.table, &*self.file, &reason))?;
        let fitting = usize::try_from(length).ok().filter(|length| *length <= BLOCK_BYTES_MAX);
        let (Ok(records), Some(length)) = (u64::try_from(records), fitting) else {
            return Err(damaged(&self.table, &*self.file, "a block has no size"));
        };
        bytes::Buf::advance(&mut self.buffer, used);
        if !self.fetch(length + MARK_BYTES)? {
            return Err(damaged(&self.table, &*self.file, "it ends within a block"));
        }
        let packed = self.buffer.split_to(length).freeze();
        let mark = self.buffer.split_to(MARK_BYTES);
        if mark.as_ref() != self.mark.as_slice() {
            return Err(damaged(&self.table, &*self.file, "a block does not end with the mark of the file"));
        }
        self.block = match self.codec {
            Codec::Null => packed,
            codec => codec.unpack(&packed).map_err(|reason| damaged(&self.table, &*self.file, &reason))?.into(),
        };
        if records > self.block.len() as u64 && !self.rows.empty {
            return Err(damaged(&self.table, &*self.file, "a block has more records than bytes"));
        }
        self.records = records;
        Ok(true)
    }
}

impl FileDecoder for ContainerDecoder {
    fn next(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        let mut rows = 0;
        while rows < BATCH_ROWS_TARGET {
            if self.records == 0 {
                if !self.next_block()? {
                    break;
                }
                continue;
            }
            let mut input = Input::new(&self.block);
            let read = self.rows.read(&mut input, &mut self.columns);
            let used = self.block.len() - input.rest().len();
            read.map_err(|reason| damaged(&self.table, &*self.file, &reason))?;
            bytes::Buf::advance(&mut self.block, used);
            self.records -= 1;
            rows += 1;
            if self.skip > 0 && (self.skip == rows as u64 || rows == BATCH_ROWS_TARGET) {
                self.skip -= rows as u64;
                rows = 0;
                self.columns.iter_mut().for_each(|column| column.truncate(0));
            }
        }
        if rows == 0 || self.skip > 0 {
            return Ok(None);
        }
        take_batch(&mut self.columns, &self.schema, rows, &self.table, IDENTIFIER).map(Some)
    }
}

struct Header {
    schema: String,
    codec: Option<String>,
    mark: [u8; MARK_BYTES],
    /// What was read beyond the header, and the position behind that.
    rest: BytesMut,
    end: u64,
}

enum HeaderError {
    Unread(ConnectorError),
    Damaged(String),
}

impl Header {
    fn read(file: &dyn FileInput) -> Result<Self, HeaderError> {
        let mut length = READ_BYTES.min(64 * 1024);
        loop {
            let there = usize::try_from(file.bytes()).unwrap_or(usize::MAX).min(length);
            let bytes = file.read(0, there).map_err(HeaderError::Unread)?;
            match Self::parse(&bytes) {
                Ok((mut header, used)) => {
                    header.rest = BytesMut::from(&bytes[used..]);
                    header.end = there as u64;
                    return Ok(header);
                }
                // It may be longer.
                Err(_) if (there as u64) < file.bytes() && length < HEADER_BYTES_MAX => length *= 8,
                Err(reason) => return Err(HeaderError::Damaged(reason)),
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<(Self, usize), String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as an Avro file does")?;
        let mut input = Input::new(rest);
        let (mut schema, mut codec) = (None, None);
        input.blocks(|input| {
            let (key, value) = (input.bytes()?, input.bytes()?);
            let text = || String::from_utf8(value.to_vec()).map_err(|_| "its header is not UTF-8".to_owned());
            match key {
                b"avro.schema" => schema = Some(text()?),
                b"avro.codec" => codec = Some(text()?),
                _ => {}
            }
            Ok(())
        })?;
        let (mark, rest) = input.rest().split_first_chunk().ok_or("it ends within its header")?;
        let schema = schema.ok_or("its header has no schema")?;
        let header = Self { schema, codec, mark: *mark, rest: BytesMut::new(), end: 0 };
        Ok((header, bytes.len() - rest.len()))
    }
}

fn damaged(table: &str, file: &dyn FileInput, reason: &str) -> ConnectorError {
    ConnectorError::External {
        table: table.to_owned(),
        reason: format!("'{}' cannot be read as avro: {reason}", file.name()),
        action: "put back a file that is whole and has the table's columns, or take it away".to_owned(),
    }
}

/// Writes one file.
pub(super) struct ContainerEncoder {
    types: Vec<DataType>,
    codec: Codec,
    /// The schema, until the header is written.
    schema: Option<String>,
    mark: [u8; MARK_BYTES],
    block: Vec<u8>,
    records: u64,
    table: String,
}

impl ContainerEncoder {
    pub fn new(table: &str, types: Vec<DataType>, schema: String, codec: Codec) -> Self {
        let mark = *uuid::Uuid::new_v4().as_bytes();
        Self { types, codec, schema: Some(schema), mark, block: Vec::new(), records: 0, table: table.to_owned() }
    }

    fn header(&mut self, out: &mut Vec<u8>) {
        let Some(schema) = self.schema.take() else { return };
        out.extend_from_slice(MAGIC);
        write::long(2, out);
        for (key, value) in [("avro.schema", schema.as_str()), ("avro.codec", self.codec.name())] {
            write::bytes(key.as_bytes(), out);
            write::bytes(value.as_bytes(), out);
        }
        write::long(0, out);
        out.extend_from_slice(&self.mark);
    }

    fn end_block(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        if self.records == 0 {
            return Ok(());
        }
        let packed = self
            .codec
            .pack(&self.block)
            .map_err(|reason| ConnectorError::Write { table: self.table.clone(), reason })?;
        let records = i64::try_from(self.records).map_err(|_| internal("a block has too many records"))?;
        write::long(records, out);
        write::bytes(&packed, out);
        out.extend_from_slice(&self.mark);
        self.block.clear();
        self.records = 0;
        Ok(())
    }
}

impl FileEncoder for ContainerEncoder {
    fn encode(&mut self, records: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.header(out);
        for row in 0..records.num_rows() {
            for (column, data_type) in records.columns().iter().zip(&self.types) {
                write::value(column, data_type, row, &mut self.block);
            }
            self.records += 1;
            if self.block.len() >= BLOCK_BYTES {
                self.end_block(out)?;
            }
        }
        Ok(())
    }

    fn bytes_held(&self) -> usize {
        self.block.len()
    }

    fn release(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.end_block(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        self.header(out);
        self.end_block(out)
    }
}
