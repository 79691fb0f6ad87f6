//! `COUNT`, `SUM` and `AVG` of DISTINCT values: one flat set for all slots, and the plain
//! accumulator for the values that are new in their slot.

use std::any::Any;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Decimal128Array, ListArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Field};
use tidemill_common::plan::{AggregateCall, AggregateFunction};

use super::{Accumulator, unsupported};
use crate::StateError;
use crate::encoding::EncodedRows;
use crate::fixed;
use crate::rows::Rows;
use crate::slot_map::{ContentSet, WordMap};

/// Rows for which room is made, and whose members are touched, at a time.
const CHUNK_ROWS: usize = 256;
/// Tables up to so many bytes stay in a core's second-level cache.
const CACHED_BYTES: usize = 512 * 1024;

pub(super) fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    if call.args.is_empty() {
        return Err(unsupported(call, "DISTINCT needs an argument"));
    }
    use AggregateFunction::{Avg, Count, Own, Sum, Variance};
    let takes_one = matches!(call.function, Own(_)) && call.args.len() == 1;
    if !takes_one && !matches!(call.function, Count | Sum | Avg | Variance { .. }) {
        return Err(unsupported(call, "it has no DISTINCT form"));
    }
    let member = match &call.arg_types[..] {
        [only] => only.logical.to_arrow(),
        _ => DataType::Binary,
    };
    let set = if call.args.len() == 1 && fixed::is_fixed(&member) {
        Members::Words(WordMap::new())
    } else {
        match member {
            DataType::Utf8 | DataType::Binary | DataType::Decimal128(..) => Members::Contents(ContentSet::default()),
            _ => return Err(unsupported(call, "values of this type cannot be told apart")),
        }
    };
    let plain = super::create(&AggregateCall { distinct: false, filter: None, ..call.clone() })?;
    let rows_of_several = call.args.len() > 1;
    Ok(Box::new(Distinct { member, set, plain, rows_of_several, fresh_slots: Vec::new(), fresh_rows: Vec::new() }))
}

enum Members {
    Words(WordMap<()>),
    Contents(ContentSet),
}

struct Distinct {
    member: DataType,
    set: Members,
    plain: Box<dyn Accumulator>,
    /// Members are encoded rows of several arguments.
    rows_of_several: bool,
    /// Scratch: the rows whose value is new.
    fresh_slots: Vec<u32>,
    fresh_rows: Vec<u32>,
}

impl Distinct {
    /// Adds the values of one column. The plain accumulator sees those that are new.
    fn insert(&mut self, slots: &[u32], column: &ArrayRef, rows: Rows<'_>) {
        let Self { set, plain, fresh_slots, fresh_rows, .. } = self;
        fresh_slots.clear();
        fresh_rows.clear();
        let mut add = |fresh: bool, slot: usize, row: usize| {
            if fresh {
                fresh_slots.push(slot as u32);
                fresh_rows.push(row as u32);
            }
        };
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match set {
            Members::Words(set) => {
                if let Some(words) = fixed::words(column) {
                    let words = &words[..];
                    let position = |set: &WordMap<()>, at: usize| set.position(slots[at], words[rows.get(at)]);
                    let cold = set.table_bytes() > CACHED_BYTES;
                    for from in (0..slots.len()).step_by(CHUNK_ROWS) {
                        let chunk = from..slots.len().min(from + CHUNK_ROWS);
                        set.reserve(chunk.len());
                        if cold {
                            // All misses of the chunk at once, instead of one after the other.
                            black_box(chunk.clone().fold(0, |seen, at| seen ^ set.touch(position(set, at))));
                        }
                        for at in chunk {
                            let (slot, row) = (slots[at], rows.get(at));
                            add(valid(row) && set.entry(slot, words[row]).1, slot as usize, row);
                        }
                    }
                }
            }
            Members::Contents(set) => match column.data_type() {
                DataType::Utf8 => {
                    let column = column.as_string::<i32>();
                    rows.for_each_slot(slots, |slot, row| {
                        add(valid(row) && set.insert(slot as u32, column.value(row).as_bytes()), slot, row);
                    });
                }
                DataType::Decimal128(..) => {
                    let column = column.as_primitive::<Decimal128Type>();
                    rows.for_each_slot(slots, |slot, row| {
                        add(valid(row) && set.insert(slot as u32, &column.value(row).to_le_bytes()), slot, row);
                    });
                }
                _ => {
                    let column = column.as_binary::<i32>();
                    rows.for_each_slot(slots, |slot, row| {
                        add(valid(row) && set.insert(slot as u32, column.value(row)), slot, row);
                    });
                }
            },
        }
        plain.update(fresh_slots, std::slice::from_ref(column), Rows::Selected(fresh_rows));
    }

    /// Several arguments as one column of encoded rows; NULL where any of them is NULL.
    fn encode(args: &[ArrayRef]) -> ArrayRef {
        let rows = args.first().map_or(0, |column| column.len());
        let mut encoded = EncodedRows::default();
        encoded.encode(args, rows);
        let values = (0..rows)
            .map(|row| args.iter().all(|column| column.is_valid(row)).then(|| encoded.row(row)))
            .collect::<BinaryArray>();
        Arc::new(values)
    }

    /// All members of these slots, slot by slot, and how many each has.
    fn members(&self, slots: &[u32]) -> (ArrayRef, Vec<usize>) {
        let mut lengths = Vec::with_capacity(slots.len());
        let column = match &self.set {
            Members::Words(set) => {
                let mut words = Vec::new();
                for slot in slots {
                    let before = words.len();
                    set.for_each(*slot, |word, ()| words.push(word));
                    lengths.push(words.len() - before);
                }
                fixed::from_words(&self.member, words.into_iter(), None)
            }
            Members::Contents(set) => self.contents(|f| {
                for slot in slots {
                    let mut members = 0;
                    set.for_each(*slot, |content| {
                        members += 1;
                        f(content);
                    });
                    lengths.push(members);
                }
            }),
        };
        (column, lengths)
    }

    /// All members and their slots, in the order of the table, which is much faster than slot by
    /// slot.
    fn all_members(&self) -> (ArrayRef, Vec<u32>) {
        let mut slots = Vec::new();
        let column = match &self.set {
            Members::Words(set) => {
                let mut words = Vec::new();
                set.for_all(|slot, word, ()| {
                    slots.push(slot);
                    words.push(word);
                });
                fixed::from_words(&self.member, words.into_iter(), None)
            }
            Members::Contents(set) => self.contents(|f| {
                set.for_all(|slot, content| {
                    slots.push(slot);
                    f(content);
                });
            }),
        };
        (column, slots)
    }

    /// The column of contents that `for_each` hands to its argument.
    fn contents(&self, for_each: impl FnOnce(&mut dyn FnMut(&[u8]))) -> ArrayRef {
        match &self.member {
            DataType::Utf8 => {
                let mut builder = StringBuilder::new();
                for_each(&mut |content| builder.append_value(String::from_utf8_lossy(content)));
                Arc::new(builder.finish())
            }
            DataType::Decimal128(..) => {
                let mut values = Vec::new();
                for_each(&mut |content| values.push(content.try_into().map_or(0, i128::from_le_bytes)));
                Arc::new(Decimal128Array::from(values).with_data_type(self.member.clone()))
            }
            _ => {
                let mut builder = BinaryBuilder::new();
                for_each(&mut |content| builder.append_value(content));
                Arc::new(builder.finish())
            }
        }
    }
}

impl Accumulator for Distinct {
    fn resize(&mut self, slots: usize) {
        self.plain.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        if self.rows_of_several {
            self.insert(slots, &Self::encode(args), rows);
        } else {
            self.insert(slots, &args[0], rows);
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let lists = state[0].as_list::<i32>();
        let (mut member_slots, mut member_rows) = (Vec::new(), Vec::new());
        rows.for_each_slot(slots, |slot, row| {
            if lists.is_valid(row) {
                for member in lists.value_offsets()[row]..lists.value_offsets()[row + 1] {
                    member_slots.push(slot as u32);
                    member_rows.push(member as u32);
                }
            }
        });
        self.insert(&member_slots, lists.values(), Rows::Selected(&member_rows));
    }

    fn absorb(&mut self, other: &dyn Accumulator, slots: &[u32]) {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else { return };
        let (members, mut member_slots) = other.all_members();
        member_slots.iter_mut().for_each(|slot| *slot = slots[*slot as usize]);
        self.insert(&member_slots, &members, Rows::All(member_slots.len()));
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let (members, lengths) = self.members(slots);
        let field = Arc::new(Field::new("item", self.member.clone(), true));
        vec![Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), members, None))]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        self.plain.emit(slots)
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        self.plain.clear_slots(slots);
        for slot in slots {
            match &mut self.set {
                Members::Words(set) => set.clear_slot(*slot),
                Members::Contents(set) => set.clear_slot(*slot),
            }
        }
    }

    fn reset(&mut self) {
        self.plain.reset();
        match &mut self.set {
            Members::Words(set) => set.reset(),
            Members::Contents(set) => set.reset(),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.plain.memory_bytes()
            + match &self.set {
                Members::Words(set) => set.memory_bytes(),
                Members::Contents(set) => set.memory_bytes(),
            }
    }
}
