//! When an aggregate can run on fused tables, and how its calls read their words.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use tidemill_common::plan::AggregateFunction;
use tidemill_state::fixed;
use tidemill_state::fused::{FUSED_WORDS_MAX, FusedOp, FusedTable};

use super::layout::{CallLayout, Layout, Prepared};

/// Words of accumulators for a list of calls.
#[derive(Clone, Debug)]
pub(crate) struct FusedPlan {
    key_type: DataType,
    words: Vec<Word>,
    calls: Vec<FusedCall>,
}

/// Operation of a word, and the input column it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    op: FusedOp,
    column: Option<usize>,
}

/// Which words a call's result is made of.
#[derive(Clone, Debug)]
enum FusedCall {
    /// The word as it is, of this type.
    Word(usize, DataType),
    /// Sum and count.
    Average(usize, usize, DataType),
}

impl FusedPlan {
    /// The plan for a layout, if there is a kernel for it.
    pub fn new(layout: &Layout) -> Option<Self> {
        let [key_type] = &layout.key_types[..] else { return None };
        if !fixed::is_fixed(key_type) {
            return None;
        }
        let mut words = Vec::new();
        let mut calls = Vec::new();
        for call in &layout.calls {
            calls.push(Self::call(call, &mut words)?);
        }
        if !words.iter().any(|word| word.op <= FusedOp::Add) {
            words.push(Word { op: FusedOp::Count, column: None });
        }
        // Kernels are for sorted operations.
        let mut order: Vec<usize> = (0..words.len()).collect();
        order.sort_by_key(|word| words[*word].op);
        let place = |word: usize| order.iter().position(|at| *at == word).unwrap_or(word);
        for call in &mut calls {
            *call = match call {
                FusedCall::Word(word, data_type) => FusedCall::Word(place(*word), data_type.clone()),
                FusedCall::Average(sum, count, data_type) => {
                    FusedCall::Average(place(*sum), place(*count), data_type.clone())
                }
            };
        }
        let words: Vec<_> = order.iter().map(|word| words[*word]).collect();
        let plan = Self { key_type: key_type.clone(), words, calls };
        (plan.words.len() <= FUSED_WORDS_MAX && plan.table().is_some()).then_some(plan)
    }

    fn call(layout: &CallLayout, words: &mut Vec<Word>) -> Option<FusedCall> {
        let call = &layout.call;
        if call.distinct || layout.filter.is_some() {
            return None;
        }
        // Calls that need the same word share it. `place` is among the call's own columns.
        let mut word = |op: FusedOp, place: Option<usize>| {
            let wanted = Word { op, column: place.map(|place| layout.columns[place]) };
            words.iter().position(|known| *known == wanted).unwrap_or_else(|| {
                words.push(wanted);
                words.len() - 1
            })
        };
        let arg = call.arg_types.first().map(|arg| arg.logical.to_arrow());
        let integer = arg.as_ref().is_some_and(fixed::is_integer_like);
        let result = call.return_type.logical.to_arrow();
        match call.function {
            AggregateFunction::Count if layout.merges => Some(FusedCall::Word(word(FusedOp::Add, Some(0)), result)),
            // Without NULLs, which the batches are checked for, both forms count rows.
            AggregateFunction::Count => Some(FusedCall::Word(word(FusedOp::Count, None), result)),
            AggregateFunction::Sum if integer => Some(FusedCall::Word(word(FusedOp::Add, Some(0)), result)),
            AggregateFunction::Avg if integer && layout.merges => {
                Some(FusedCall::Average(word(FusedOp::Add, Some(0)), word(FusedOp::Add, Some(1)), result))
            }
            AggregateFunction::Avg if integer => {
                Some(FusedCall::Average(word(FusedOp::Add, Some(0)), word(FusedOp::Count, None), result))
            }
            AggregateFunction::Min if integer => Some(FusedCall::Word(word(FusedOp::Min, Some(0)), result)),
            AggregateFunction::Max if integer => Some(FusedCall::Word(word(FusedOp::Max, Some(0)), result)),
            _ => None,
        }
    }

    /// An empty table.
    pub fn table(&self) -> Option<FusedTable> {
        let ops: Vec<FusedOp> = self.words.iter().map(|word| word.op).collect();
        FusedTable::new(&ops)
    }

    /// Takes the columns of a batch that the words read. Says no if the batch has NULLs.
    pub fn load(&self, layout: &Layout, prepared: &mut Prepared, records: &RecordBatch) -> bool {
        prepared.words.clear();
        let has_nulls = |column: &usize| records.column(*column).null_count() > 0;
        if prepared.keys.fixed_words().is_none() || layout.calls.iter().any(|call| call.columns.iter().any(has_nulls)) {
            return false;
        }
        for word in &self.words {
            let words = match word.column {
                None => Some(ScalarBuffer::from(Vec::<i64>::new())),
                Some(column) => fixed::integer_words(records.column(column)),
            };
            match words {
                Some(words) => prepared.words.push(words),
                None => return false,
            }
        }
        true
    }

    /// The words of accumulator columns as [`FusedPlan::states`] gives them (of `rows` rows), or `None`
    /// if there are NULLs among them, or were among what they were made of: then counts that share a word
    /// differ.
    pub fn words(&self, states: &[ArrayRef], rows: usize) -> Option<Vec<ScalarBuffer<i64>>> {
        let mut words = vec![ScalarBuffer::from(vec![0; rows]); self.words.len()];
        let mut is_set = vec![false; self.words.len()];
        let mut states = states.iter();
        let mut set = |word: usize| {
            let column = states.next().filter(|column| column.null_count() == 0)?;
            let content = fixed::integer_words(column)?;
            if std::mem::replace(&mut is_set[word], true) && words[word] != content {
                return None;
            }
            words[word] = content;
            Some(())
        };
        for call in &self.calls {
            match call {
                FusedCall::Word(word, _) => set(*word)?,
                FusedCall::Average(sum, count, _) => {
                    set(*sum)?;
                    set(*count)?;
                }
            }
        }
        Some(words)
    }

    /// The key column.
    pub fn key_column(&self, table: &FusedTable, slots: &[u32]) -> ArrayRef {
        fixed::from_words(&self.key_type, table.keys(slots).into_iter(), None)
    }

    /// Key column and results.
    pub fn results(&self, table: &FusedTable, slots: &[u32]) -> Vec<ArrayRef> {
        let mut columns = vec![self.key_column(table, slots)];
        for call in &self.calls {
            columns.push(match call {
                FusedCall::Word(word, DataType::Int64) => Arc::new(Int64Array::from(table.words(*word, slots))),
                FusedCall::Word(word, data_type) => {
                    fixed::from_words(data_type, table.words(*word, slots).into_iter(), None)
                }
                FusedCall::Average(sum, count, data_type) => {
                    let counts = table.words(*count, slots);
                    let averages = table.words(*sum, slots).into_iter().zip(&counts);
                    let averages: Vec<i64> =
                        averages.map(|(sum, count)| if *count > 0 { sum / count } else { 0 }).collect();
                    let nulls = fixed::null_buffer(counts.iter().map(|count| *count > 0));
                    fixed::from_words(data_type, averages.into_iter(), nulls)
                }
            });
        }
        columns
    }

    /// Key column and accumulator columns.
    pub fn states(&self, layout: &Layout, table: &FusedTable, slots: &[u32]) -> Vec<ArrayRef> {
        let mut columns = vec![self.key_column(table, slots)];
        let big = |word: usize| -> ArrayRef { Arc::new(Int64Array::from(table.words(word, slots))) };
        for (call, layout) in self.calls.iter().zip(&layout.calls) {
            match call {
                // Sums are kept in 64 bits whatever they result in.
                FusedCall::Word(word, _) if layout.call.function == AggregateFunction::Sum => columns.push(big(*word)),
                FusedCall::Word(word, data_type) => {
                    columns.push(fixed::from_words(data_type, table.words(*word, slots).into_iter(), None));
                }
                FusedCall::Average(sum, count, _) => columns.extend([big(*sum), big(*count)]),
            }
        }
        columns
    }
}
