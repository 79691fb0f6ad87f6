//! Accumulators: one column of state per aggregate call, addressed by slot.
//!
//! Results are Flink's: integers wrap, AVG of integers truncates, SUM over no value is NULL, a
//! decimal that overflows is NULL, floats compare as in Java.

mod approximate;
mod average;
mod collected;
mod count;
mod distinct;
mod extreme;
mod ordered;
mod own;
mod percentile;
mod sum;
mod variance;

#[cfg(test)]
mod tests;

use std::any::Any;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use tidemill_common::plan::{AggregateCall, AggregateFunction, accumulator_types};
use tidemill_common::types::{DataType, Field, LogicalType};

use crate::StateError;
use crate::rows::Rows;

pub use own::{AccumulatorFactory, OwnFailure, fail, install};

/// State of one aggregate call, for every slot.
pub trait Accumulator: Send + Sync + Any {
    /// Makes room for the slots `0..slots`; new ones are empty.
    fn resize(&mut self, slots: usize);

    /// Adds rows. `slots` has one slot per row of `rows`; `args` are whole columns.
    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>);

    /// Adds accumulator columns, as [`Accumulator::state`] gave them.
    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>);

    /// The accumulator columns of these slots; their types are those of [`state_types`].
    fn state(&self, slots: &[u32]) -> Vec<ArrayRef>;

    /// The results of these slots.
    fn emit(&self, slots: &[u32]) -> ArrayRef;

    /// Makes these slots empty.
    fn clear_slots(&mut self, slots: &[u32]);

    /// Drops all slots, keeping memory for the next use.
    fn reset(&mut self);

    /// Adds another accumulator of the same call. `slots[i]` is where its slot `i` goes.
    fn absorb(&mut self, other: &dyn Accumulator, slots: &[u32]) {
        let all: Vec<u32> = (0..slots.len() as u32).collect();
        self.merge(slots, &other.state(&all), Rows::All(slots.len()));
    }

    /// Moves what the slots `from` hold into the slots `into`.
    fn merge_slots(&mut self, from: &[u32], into: &[u32]) {
        let state = self.state(from);
        self.merge(into, &state, Rows::All(from.len()));
        self.clear_slots(from);
    }

    /// Bytes held, roughly.
    fn memory_bytes(&self) -> usize;
}

/// The accumulator of a call.
pub fn create(call: &AggregateCall) -> Result<Box<dyn Accumulator>, StateError> {
    if call.needs_set() {
        return distinct::create(call);
    }
    match &call.function {
        AggregateFunction::Count => Ok(Box::new(count::Count::default())),
        AggregateFunction::Sum => sum::create(call),
        AggregateFunction::Avg => average::create(call),
        AggregateFunction::Min | AggregateFunction::Max => extreme::create(call),
        AggregateFunction::ApproxCountDistinct => Ok(Box::new(approximate::ApproximateCount::new())),
        AggregateFunction::Percentile { fractions, array } => percentile::create(call, fractions, *array),
        AggregateFunction::Variance { sample, root } => variance::create(call, *sample, *root),
        AggregateFunction::FirstValue
        | AggregateFunction::LastValue
        | AggregateFunction::ListAgg { .. }
        | AggregateFunction::ArrayAgg { .. }
        | AggregateFunction::Collect
        | AggregateFunction::JsonArrayAgg { .. }
        | AggregateFunction::JsonObjectAgg { .. } => collected::create(call),
        AggregateFunction::Own(id) => own::create(id),
    }
}

/// Types of the accumulator columns of a call: what a local phase sends to the global one.
pub fn state_types(call: &AggregateCall) -> Result<Vec<DataType>, StateError> {
    // Refuses what has no accumulator.
    create(call)?;
    // What can be aggregated in two phases by the plan's rule is kept as the plan says.
    if let Some(types) = accumulator_types(call) {
        return Ok(types);
    }
    let arg = || call.arg_types[0].logical.clone().nullable();
    if call.needs_set() {
        let member = if call.args.len() == 1 { arg() } else { LogicalType::BYTES.nullable() };
        return Ok(vec![LogicalType::Array(Box::new(member)).nullable()]);
    }
    Ok(match &call.function {
        AggregateFunction::Count
        | AggregateFunction::Sum
        | AggregateFunction::Avg
        | AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::Own(_)
        | AggregateFunction::Variance { .. } => return Err(unsupported(call, "it has no accumulator columns")),
        AggregateFunction::FirstValue
        | AggregateFunction::LastValue
        | AggregateFunction::ListAgg { .. }
        | AggregateFunction::ArrayAgg { .. }
        | AggregateFunction::Collect
        | AggregateFunction::JsonArrayAgg { .. }
        | AggregateFunction::JsonObjectAgg { .. } => vec![ordered::state_type(&call.arg_types)],
        AggregateFunction::ApproxCountDistinct => vec![LogicalType::BYTES.nullable()],
        AggregateFunction::Percentile { .. } => {
            let member = LogicalType::Row(vec![
                Field::new("value", LogicalType::Double.nullable()),
                Field::new("count", LogicalType::BigInt.nullable()),
            ]);
            vec![LogicalType::Array(Box::new(member.nullable())).nullable()]
        }
    })
}

fn unsupported(call: &AggregateCall, reason: &'static str) -> StateError {
    let types: Vec<String> = call.arg_types.iter().map(ToString::to_string).collect();
    let distinct = if call.distinct { " DISTINCT" } else { "" };
    StateError::UnsupportedAggregate {
        function: format!("{:?}{distinct}", call.function),
        types: types.join(", "),
        reason,
    }
}

/// Calls `f` with slot and value of each row whose value is not NULL.
#[inline(always)]
fn for_each_value<T: ArrowPrimitiveType>(
    slots: &[u32],
    array: &PrimitiveArray<T>,
    rows: Rows<'_>,
    mut f: impl FnMut(usize, T::Native),
) {
    let values = &array.values()[..];
    match (array.nulls().filter(|nulls| nulls.null_count() > 0), rows) {
        (None, Rows::All(_)) => slots.iter().zip(values).for_each(|(slot, value)| f(*slot as usize, *value)),
        (None, rows) => rows.for_each_slot(slots, |slot, row| f(slot, values[row])),
        (Some(nulls), rows) => rows.for_each_slot(slots, |slot, row| {
            if nulls.is_valid(row) {
                f(slot, values[row]);
            }
        }),
    }
}
