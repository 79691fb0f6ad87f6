//! JSON to columns. Only projected fields are materialised; the others are passed over.
//!
//! Records of one source tend to have the same fields in the same order. The decoder remembers the
//! fields of the record before, as the bytes `,"name":`, and where their values go; a field is then
//! found by one comparison.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_common::types::Schema;

use super::TimestampFormat;
use super::scan::{Cursor, Fault, unescape};
use super::value::{Settings, read_value};
use crate::api::{ConnectorError, ConnectorMetrics, Decoder, Slab};
use crate::formats::columns::{Column, take_batch};
use crate::formats::{Faults, Records};

/// Most fields of a record whose order is remembered.
const REMEMBERED_FIELDS_MAX: usize = 256;
/// Longest text of a field name that is compared in one step.
const STEP_BYTES: usize = 16;

/// Decodes JSON objects.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    names: Vec<Vec<u8>>,
    /// Fields of the record before.
    remembered: Vec<Remembered>,
    settings: Settings,
    rows: usize,
    /// Records since the last `take`.
    records: u64,
    /// Lines of the current slab before the position of the next call.
    slab_lines: u64,
    faults: Faults,
    metrics: Arc<ConnectorMetrics>,
}

/// A field of the record before: the bytes from the end of the value before it to its own value.
struct Remembered {
    text: Vec<u8>,
    /// The same in one word, if it is short enough, and which of its bytes count.
    word: u128,
    mask: u128,
    /// The column the value goes to.
    target: Option<usize>,
}

impl Remembered {
    fn new(text: &[u8], target: Option<usize>) -> Self {
        let mut word = [0; STEP_BYTES];
        let mut mask = [0; STEP_BYTES];
        for ((byte, word), mask) in text.iter().zip(&mut word).zip(&mut mask) {
            (*word, *mask) = (*byte, u8::MAX);
        }
        Self { text: text.to_owned(), word: u128::from_le_bytes(word), mask: u128::from_le_bytes(mask), target }
    }

    #[inline(always)]
    fn comes_next(&self, cursor: &Cursor<'_>) -> bool {
        let Some(rest) = cursor.bytes.get(cursor.at..) else { return false };
        match rest.first_chunk::<STEP_BYTES>() {
            Some(head) if self.text.len() <= STEP_BYTES => (u128::from_le_bytes(*head) ^ self.word) & self.mask == 0,
            _ => rest.starts_with(&self.text),
        }
    }
}

impl JsonDecoder {
    pub fn new(
        schema: &Schema,
        timestamps: TimestampFormat,
        settings: Settings,
        faults: Faults,
        metrics: Arc<ConnectorMetrics>,
    ) -> Self {
        Self {
            schema: schema.to_arrow(),
            columns: schema.fields.iter().map(|field| Column::new(&field.data_type, timestamps)).collect(),
            names: schema.fields.iter().map(|field| field.name.clone().into_bytes()).collect(),
            remembered: Vec::new(),
            settings,
            rows: 0,
            records: 0,
            slab_lines: 0,
            faults,
            metrics,
        }
    }

    /// Reads one record into the columns.
    #[inline]
    fn record(&mut self, record: &[u8]) -> Result<(), Fault> {
        if !record.is_ascii() && std::str::from_utf8(record).is_err() {
            return Err(Fault::Record("not JSON: the record is not UTF-8".to_owned()));
        }
        let mut cursor = Cursor::new(record);
        if !cursor.accept(b'{') {
            open_behind_mark(&mut cursor)?;
        }
        let (mut position, mut filled) = (0, 0);
        loop {
            let target = match self.remembered.get(position) {
                Some(known) if known.comes_next(&cursor) => {
                    cursor.at += known.text.len();
                    known.target
                }
                _ if cursor.accept(b'}') => break,
                _ => self.unexpected_field(&mut cursor, position)?,
            };
            position += 1;
            let Some(target) = target else {
                cursor.skip_value()?;
                continue;
            };
            let column = &mut self.columns[target];
            if column.len() > self.rows {
                // The name comes again: the last value counts.
                column.truncate(self.rows);
                filled -= 1;
            }
            match read_value(&mut cursor, column, self.settings, 0) {
                Ok(()) => filled += 1,
                Err(Fault::Field(reason)) => {
                    let name = String::from_utf8_lossy(&self.names[target]);
                    return Err(Fault::Record(format!("field '{name}': {reason}")));
                }
                Err(fault) => return Err(fault),
            }
        }
        // Text behind the object is not looked at, as in Flink.
        if filled < self.columns.len() {
            self.fill_missing()?;
        }
        self.rows += 1;
        Ok(())
    }

    #[cold]
    fn unexpected_field(&mut self, cursor: &mut Cursor<'_>, position: usize) -> Result<Option<usize>, Fault> {
        let start = cursor.at;
        if position > 0 && !cursor.accept(b',') {
            return Err(cursor.broken("',' or '}'"));
        }
        let name = field_name(cursor)?;
        let target = self.names.iter().position(|known| *known == *name);
        if position < REMEMBERED_FIELDS_MAX {
            let field = Remembered::new(&cursor.bytes[start..cursor.at], target);
            let known = self.remembered.len();
            match self.remembered.get_mut(position) {
                Some(remembered) => *remembered = field,
                None if known == position => self.remembered.push(field),
                None => {}
            }
        }
        Ok(target)
    }

    fn fill_missing(&mut self) -> Result<(), Fault> {
        let rows = self.rows;
        for (column, name) in self.columns.iter_mut().zip(&self.names) {
            if column.len() == rows {
                if self.settings.fail_on_missing {
                    let name = String::from_utf8_lossy(name);
                    return Err(Fault::Record(format!("field '{name}' is missing")));
                }
                column.push_null();
            }
        }
        Ok(())
    }

    fn take_back(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }
}

/// The opening bracket behind a byte order mark, which Jackson passes over.
#[cold]
fn open_behind_mark(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    if cursor.at == 0 && cursor.bytes.starts_with("\u{feff}".as_bytes()) {
        cursor.at = '\u{feff}'.len_utf8();
    }
    if cursor.accept(b'{') { Ok(()) } else { Err(cursor.broken("'{'")) }
}

/// A field's name with its colon, from the opening quote.
pub(crate) fn field_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Fault> {
    if !cursor.accept(b'"') {
        return Err(cursor.broken("a field name"));
    }
    let (raw, escaped) = cursor.string()?;
    if !cursor.accept(b':') {
        return Err(cursor.broken("':'"));
    }
    if !escaped {
        return Ok(Cow::Borrowed(raw));
    }
    let mut name = Vec::new();
    unescape(raw, &mut name)?;
    Ok(Cow::Owned(name))
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, slab: &Slab<'_>, from: usize, max_rows: usize) -> Result<usize, ConnectorError> {
        if from == 0 {
            self.slab_lines = 0;
        }
        let mut records = Records::new(slab, from, self.slab_lines);
        while self.rows < max_rows {
            let number = records.number;
            let Some(record) = records.next() else { break };
            self.records += 1;
            // An empty message is none, and so is a line without text.
            if record.is_empty() || (slab.ends.is_none() && record.iter().all(u8::is_ascii_whitespace)) {
                continue;
            }
            if let Err(fault) = self.record(record) {
                self.take_back();
                if !self.faults.ignore {
                    let (Fault::Field(reason) | Fault::Record(reason)) = fault;
                    return Err(self.faults.malformed(slab, number, record, reason));
                }
                self.metrics.records_skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.slab_lines = records.number;
        Ok(records.at)
    }

    fn pending_rows(&self) -> usize {
        self.rows
    }

    fn pending_records(&self) -> u64 {
        self.records
    }

    fn take(&mut self) -> Result<RecordBatch, ConnectorError> {
        let rows = std::mem::take(&mut self.rows);
        self.records = 0;
        take_batch(&mut self.columns, &self.schema, rows, self.faults.table(), self.faults.format())
    }
}
