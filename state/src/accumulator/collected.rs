//! `FIRST_VALUE`, `LAST_VALUE`, `LISTAGG`, `ARRAY_AGG`, `COLLECT`, `JSON_ARRAYAGG` and `JSON_OBJECTAGG`: what
//! becomes of values in the order of their arrival.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, MapArray, StringBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use tidemill_common::plan::{AggregateCall, AggregateFunction};

use super::ordered::{Keep, Ordered};
use super::{Accumulator, unsupported};
use crate::StateError;
use crate::encoding::EncodedRows;
use crate::fixed::null_buffer;
use crate::rows::Rows;

pub(super) fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    let columns = if matches!(call.function, AggregateFunction::JsonObjectAgg { .. }) { 2 } else { 1 };
    if call.arg_types.len() != columns {
        return Err(unsupported(call, "it has another number of arguments"));
    }
    let keep = match call.function {
        AggregateFunction::FirstValue => Keep::First,
        AggregateFunction::LastValue => Keep::Last,
        _ => Keep::All,
    };
    let types = call.arg_types.iter().map(|arg| arg.logical.to_arrow()).collect();
    Ok(Box::new(Collected {
        function: call.function.clone(),
        distinct: call.distinct,
        result: call.return_type.logical.to_arrow(),
        values: Ordered::new(keep, types),
    }))
}

struct Collected {
    function: AggregateFunction,
    distinct: bool,
    result: DataType,
    values: Ordered,
}

/// Values of all slots one behind the other, and where those of each begin and end.
struct Lists {
    columns: Vec<ArrayRef>,
    spans: Vec<std::ops::Range<usize>>,
}

impl Lists {
    fn new(values: &Ordered, slots: &[u32]) -> Self {
        let (columns, lengths) = values.lists(slots);
        let mut end = 0;
        let spans = lengths.into_iter().map(|length| {
            end += length;
            end - length..end
        });
        Self { spans: spans.collect(), columns }
    }

    /// For each slot the first place of each different value, in the order of arrival, and how often it is there.
    fn different(&self) -> Vec<Vec<(u32, i32)>> {
        let rows = self.columns[0].len();
        let mut encoded = EncodedRows::default();
        encoded.encode(&self.columns[..1], rows);
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        self.spans
            .iter()
            .map(|span| {
                places.clear();
                let mut found: Vec<(u32, i32)> = Vec::new();
                for row in span.clone() {
                    let place = *places.entry(encoded.row(row)).or_insert(found.len());
                    match found.get_mut(place) {
                        Some(known) => known.1 += 1,
                        None => found.push((row as u32, 1)),
                    }
                }
                found
            })
            .collect()
    }

    /// The same without repeated values.
    fn distinct(self) -> Self {
        let different = self.different();
        let picks: UInt32Array = different.iter().flatten().map(|(row, _)| Some(*row)).collect();
        let mut end = 0;
        let spans = different.iter().map(|found| {
            end += found.len();
            end - found.len()..end
        });
        let columns = self.columns.iter().map(|column| take(column, &picks, None).unwrap_or_else(|_| column.clone()));
        Self { spans: spans.collect(), columns: columns.collect() }
    }

    fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.spans.iter().map(std::ops::Range::len)
    }

    fn arrays(self, field: &Arc<Field>) -> ArrayRef {
        let nulls = null_buffer(self.lengths().map(|length| length > 0));
        let offsets = OffsetBuffer::from_lengths(self.lengths());
        Arc::new(ListArray::new(field.clone(), offsets, self.columns[0].clone(), nulls))
    }

    fn joined(&self, separator: &str) -> ArrayRef {
        let texts = self.columns[0].as_string::<i32>();
        let mut builder = StringBuilder::with_capacity(self.spans.len(), texts.value_data().len());
        let mut text = String::new();
        for span in &self.spans {
            text.clear();
            for row in span.clone() {
                if row > span.start {
                    text.push_str(separator);
                }
                text.push_str(texts.value(row));
            }
            builder.append_option((!span.is_empty()).then_some(&text));
        }
        Arc::new(builder.finish())
    }

    /// How often each value is there.
    fn counted(&self, entries: &Arc<Field>) -> Option<ArrayRef> {
        let DataType::Struct(fields) = entries.data_type() else { return None };
        let different = self.different();
        let picks: UInt32Array = different.iter().flatten().map(|(row, _)| Some(*row)).collect();
        let counts: Int32Array = different.iter().flatten().map(|(_, count)| Some(*count)).collect();
        let keys = take(&self.columns[0], &picks, None).ok()?;
        let entries_array = StructArray::try_new(fields.clone(), vec![keys, Arc::new(counts)], None).ok()?;
        let offsets = OffsetBuffer::from_lengths(different.iter().map(Vec::len));
        Some(Arc::new(MapArray::try_new(entries.clone(), offsets, entries_array, None, false).ok()?))
    }

    fn json_arrays(&self) -> ArrayRef {
        let texts = self.columns[0].as_string::<i32>();
        let mut builder = StringBuilder::new();
        for span in &self.spans {
            let values: Vec<&str> =
                span.clone().map(|row| if texts.is_valid(row) { texts.value(row) } else { "null" }).collect();
            builder.append_value(format!("[{}]", values.join(",")));
        }
        Arc::new(builder.finish())
    }

    /// Members in the order of their names; of equal names the last one counts.
    fn json_objects(&self) -> ArrayRef {
        let (names, texts) = (self.columns[0].as_string::<i32>(), self.columns[1].as_string::<i32>());
        let mut builder = StringBuilder::new();
        for span in &self.spans {
            let members: BTreeMap<Vec<u16>, usize> =
                span.clone().map(|row| (names.value(row).encode_utf16().collect(), row)).collect();
            let members: Vec<String> = members
                .into_values()
                .map(|row| {
                    let name = serde_json::Value::from(names.value(row));
                    format!("{name}:{}", if texts.is_valid(row) { texts.value(row) } else { "null" })
                })
                .collect();
            builder.append_value(format!("{{{}}}", members.join(",")));
        }
        Arc::new(builder.finish())
    }
}

impl Accumulator for Collected {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let nulls: Option<&NullBuffer> = match &self.function {
            AggregateFunction::ArrayAgg { ignore_nulls: false }
            | AggregateFunction::JsonArrayAgg { absent_on_null: false } => None,
            AggregateFunction::JsonObjectAgg { absent_on_null: true } => args[1].nulls(),
            _ => args[0].nulls(),
        };
        // A member without a name is none.
        let names = matches!(self.function, AggregateFunction::JsonObjectAgg { .. }).then(|| args[0].nulls()).flatten();
        let valid = |nulls: Option<&NullBuffer>, row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        self.values.update(slots, args, rows, |row| {
            let value = match self.function {
                AggregateFunction::JsonObjectAgg { absent_on_null: false } => true,
                _ => valid(nulls, row),
            };
            value && valid(names, row)
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        self.values.merge(slots, state, rows);
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        self.values.state(slots)
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        if matches!(self.function, AggregateFunction::FirstValue | AggregateFunction::LastValue) {
            return self.values.single(slots);
        }
        let lists = Lists::new(&self.values, slots);
        let lists = if self.distinct { lists.distinct() } else { lists };
        match (&self.function, &self.result) {
            (AggregateFunction::ListAgg { separator }, _) => lists.joined(separator),
            (AggregateFunction::JsonArrayAgg { .. }, _) => lists.json_arrays(),
            (AggregateFunction::JsonObjectAgg { .. }, _) => lists.json_objects(),
            (_, DataType::List(field)) => lists.arrays(field),
            (_, DataType::Map(entries, _)) => {
                let nothing = || arrow::array::new_null_array(&self.result, slots.len());
                lists.counted(entries).unwrap_or_else(nothing)
            }
            (_, result) => arrow::array::new_null_array(result, slots.len()),
        }
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        self.values.clear_slots(slots);
    }

    fn reset(&mut self) {
        self.values.reset();
    }

    fn memory_bytes(&self) -> usize {
        self.values.memory_bytes()
    }
}
