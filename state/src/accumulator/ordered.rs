//! Values in the order of their arrival: the base of `FIRST_VALUE`, `LISTAGG` and their like.
//!
//! Each value has a number that rises in the process and begins at the clock, so that values keep their
//! order when accumulators are merged in any order, and when a job goes on from a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use tidemill_common::types::{DataType as SqlType, Field as SqlField, LogicalType};

use crate::rows::Rows;

/// Chunks from which on they are gathered into one.
const CHUNKS_MAX: usize = 64;
/// Rows that may be stored although no slot needs them, besides as many as are needed.
const STALE_ROWS_MAX: usize = 8192;

/// Reserves numbers for `count` values; gives the first.
fn numbers(count: usize) -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    let next = |last: i64| last.max(now).saturating_add(count as i64);
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
    last.unwrap_or_else(|last| last).max(now) + 1
}

/// Which values of a slot are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    First,
    Last,
}

/// A value: its number, and where it is stored.
#[derive(Clone, Copy)]
struct Entry {
    order: i64,
    chunk: u32,
    row: u32,
}

/// Values of all slots, each of one or several columns.
pub(super) struct Ordered {
    keep: Keep,
    types: Vec<DataType>,
    chunks: Vec<Vec<ArrayRef>>,
    stored_rows: usize,
    entries: Vec<Vec<Entry>>,
    live_rows: usize,
}

/// The accumulator column's type for values of these types.
pub(super) fn state_type(types: &[SqlType]) -> SqlType {
    let mut fields = vec![SqlField::new("order", LogicalType::BigInt.nullable())];
    let columns = types.iter().enumerate();
    fields.extend(columns.map(|(index, t)| SqlField::new(format!("v{index}"), t.logical.clone().nullable())));
    LogicalType::Array(Box::new(LogicalType::Row(fields).nullable())).nullable()
}

impl Ordered {
    pub(super) fn new(keep: Keep, types: Vec<DataType>) -> Self {
        Self { keep, types, chunks: Vec::new(), stored_rows: 0, entries: Vec::new(), live_rows: 0 }
    }

    pub(super) fn resize(&mut self, slots: usize) {
        self.entries.resize_with(slots, Vec::new);
    }

    /// Adds the rows that `wanted` wants.
    pub(super) fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>, wanted: impl Fn(usize) -> bool) {
        let chunk = self.chunks.len() as u32;
        let (mut picks, mut order) = (Vec::new(), numbers(slots.len()));
        rows.for_each_slot(slots, |slot, row| {
            if wanted(row) {
                let entry = Entry { order, chunk, row: picks.len() as u32 };
                if self.add(slot, entry) {
                    picks.push(row as u32);
                }
            }
            order += 1;
        });
        self.store(args, picks);
    }

    /// Adds an entry if its slot needs it.
    fn add(&mut self, slot: usize, entry: Entry) -> bool {
        let entries = &mut self.entries[slot];
        match (self.keep, entries.first_mut()) {
            (Keep::All, _) | (_, None) => {
                entries.push(entry);
                self.live_rows += 1;
                true
            }
            (Keep::First, Some(first)) if entry.order < first.order => {
                *first = entry;
                true
            }
            (Keep::Last, Some(last)) if entry.order >= last.order => {
                *last = entry;
                true
            }
            _ => false,
        }
    }

    fn store(&mut self, columns: &[ArrayRef], picks: Vec<u32>) {
        if picks.is_empty() {
            return;
        }
        self.stored_rows += picks.len();
        let picks = UInt32Array::from(picks);
        let chunk = columns.iter().zip(&self.types).map(|(column, data_type)| {
            // The types are those of the plan, so that nothing can fail here.
            take(column, &picks, None).unwrap_or_else(|_| new_null_array(data_type, picks.len()))
        });
        self.chunks.push(chunk.collect());
        if self.chunks.len() > CHUNKS_MAX || self.stored_rows > 2 * self.live_rows + STALE_ROWS_MAX {
            self.gather();
        }
    }

    /// Puts what is needed into one chunk.
    fn gather(&mut self) {
        let picks: Vec<(usize, usize)> =
            self.entries.iter().flatten().map(|entry| (entry.chunk as usize, entry.row as usize)).collect();
        let chunk: Vec<ArrayRef> = (0..self.types.len()).map(|column| self.column(column, &picks)).collect();
        for (row, entry) in self.entries.iter_mut().flatten().enumerate() {
            (entry.chunk, entry.row) = (0, row as u32);
        }
        self.stored_rows = picks.len();
        self.live_rows = picks.len();
        self.chunks = vec![chunk];
    }

    /// Values by chunk and row; a chunk behind the last one is NULL.
    fn column(&self, column: usize, picks: &[(usize, usize)]) -> ArrayRef {
        let nothing = new_null_array(&self.types[column], 1);
        let mut arrays: Vec<&dyn Array> = self.chunks.iter().map(|chunk| chunk[column].as_ref()).collect();
        arrays.push(nothing.as_ref());
        interleave(&arrays, picks).unwrap_or_else(|_| new_null_array(&self.types[column], picks.len()))
    }

    /// The only value of each slot, or NULL.
    pub(super) fn single(&self, slots: &[u32]) -> ArrayRef {
        let nothing = (self.chunks.len(), 0);
        let picks: Vec<(usize, usize)> = slots
            .iter()
            .map(|slot| self.entries[*slot as usize].first().map_or(nothing, |e| (e.chunk as usize, e.row as usize)))
            .collect();
        self.column(0, &picks)
    }

    /// All values of the slots one behind the other, in the order of arrival, and how many each slot has.
    pub(super) fn lists(&self, slots: &[u32]) -> (Vec<ArrayRef>, Vec<usize>) {
        let (_, columns, lengths) = self.numbered(slots);
        (columns, lengths)
    }

    fn numbered(&self, slots: &[u32]) -> (Vec<i64>, Vec<ArrayRef>, Vec<usize>) {
        let (mut orders, mut picks, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(slots.len()));
        let mut sorted = Vec::new();
        for slot in slots {
            sorted.clear();
            sorted.extend_from_slice(&self.entries[*slot as usize]);
            sorted.sort_by_key(|entry| entry.order);
            lengths.push(sorted.len());
            orders.extend(sorted.iter().map(|entry| entry.order));
            picks.extend(sorted.iter().map(|entry| (entry.chunk as usize, entry.row as usize)));
        }
        let columns = (0..self.types.len()).map(|column| self.column(column, &picks)).collect();
        (orders, columns, lengths)
    }

    pub(super) fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let lists = state[0].as_list::<i32>();
        let members = lists.values().as_struct();
        let orders = members.column(0).as_primitive::<Int64Type>().values();
        let chunk = self.chunks.len() as u32;
        let mut picks = Vec::new();
        rows.for_each_slot(slots, |slot, row| {
            if lists.is_valid(row) {
                for member in lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize {
                    let entry = Entry { order: orders[member], chunk, row: picks.len() as u32 };
                    if self.add(slot, entry) {
                        picks.push(member as u32);
                    }
                }
            }
        });
        self.store(&members.columns()[1..], picks);
    }

    pub(super) fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let (orders, values, lengths) = self.numbered(slots);
        let mut fields = vec![Field::new("order", DataType::Int64, true)];
        let types = self.types.iter().enumerate();
        fields.extend(types.map(|(index, data_type)| Field::new(format!("v{index}"), data_type.clone(), true)));
        let fields = Fields::from(fields);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(orders))];
        columns.extend(values);
        let members = StructArray::new(fields.clone(), columns, None);
        let field = Arc::new(Field::new("item", DataType::Struct(fields), true));
        vec![Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), Arc::new(members), None))]
    }

    pub(super) fn clear_slots(&mut self, slots: &[u32]) {
        for slot in slots {
            self.live_rows -= self.entries[*slot as usize].len();
            self.entries[*slot as usize].clear();
        }
    }

    pub(super) fn reset(&mut self) {
        self.chunks.clear();
        self.entries.clear();
        (self.stored_rows, self.live_rows) = (0, 0);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let arrays: usize = self.chunks.iter().flatten().map(|column| column.get_array_memory_size()).sum();
        arrays + self.entries.len() * size_of::<Vec<Entry>>() + self.live_rows * size_of::<Entry>()
    }
}
