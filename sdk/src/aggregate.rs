//! Aggregate functions: an accumulator a group, kept in state.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_common::types::DataType;
use tidemill_expr::own::{self, Argument};
use tidemill_state::Rows;
use tidemill_state::accumulator::{Accumulator, fail};

use crate::call::{Called, guarded};
use crate::parameter::Parameters;
use crate::value::{Returned, Value};

/// The values of one row for an aggregate.
pub type Input<'a, A> = <<A as Aggregate>::Input as Parameters>::Items<'a>;

/// An aggregate function.
///
/// Rows of a group may be added by several accumulators, which are merged then: before and after an exchange, of the
/// panes of a hopping window, of sessions that grow together, of what was in a checkpoint and what came since. So
/// the order of rows is not known, and merging must give what adding all rows to one accumulator would give.
pub trait Aggregate: Sized + Send + Sync + 'static {
    /// The arguments: a [`Parameter`](crate::Parameter), or a tuple of them. A row with NULL in one that is no
    /// `Option` is left out.
    type Input: Parameters;

    /// What is kept of a group. It goes into checkpoints in the format of `postcard`: a change of its fields takes a
    /// new version of the function.
    type Accumulator: Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The result. It is not NULL unless it is an `Option`.
    type Output: Returned;

    /// Adds a row.
    fn accumulate(&self, accumulator: &mut Self::Accumulator, input: Input<'_, Self>);

    /// Adds what another accumulator holds.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: &Self::Accumulator);

    /// The result of a group, also of one without rows. It may be asked for more than once.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output;

    /// Bytes that an accumulator holds besides its own size, roughly, by a figure that is quick to have (capacities).
    /// The memory of the task manager is kept to its limit by it.
    fn heap_bytes(&self, accumulator: &Self::Accumulator) -> usize {
        let _ = accumulator;
        0
    }
}

/// What the planner is told of the result.
pub(crate) fn return_type<A: Aggregate>() -> DataType {
    <A::Output as Returned>::Value::logical().with_nullable(A::Output::NULLABLE)
}

/// The accumulators of an aggregate by slot.
struct Slots<A: Aggregate> {
    name: Arc<str>,
    aggregate: Arc<A>,
    parameters: Vec<own::Parameter>,
    slots: Vec<A::Accumulator>,
    heap_bytes: usize,
}

/// Makes accumulators of an aggregate.
pub(crate) fn factory<A: Aggregate>(
    name: &str,
    aggregate: A,
) -> impl Fn() -> Box<dyn Accumulator> + Send + Sync + 'static {
    let (name, aggregate): (Arc<str>, _) = (name.to_ascii_uppercase().into(), Arc::new(aggregate));
    move || -> Box<dyn Accumulator> {
        Box::new(Slots {
            name: name.clone(),
            aggregate: aggregate.clone(),
            parameters: A::Input::parameters(),
            slots: Vec::new(),
            heap_bytes: 0,
        })
    }
}

impl<A: Aggregate> Slots<A> {
    /// Runs code of the user, whose failure ends the subtask.
    fn run<T>(name: &str, run: impl FnOnce() -> Result<T, String>) -> T {
        guarded(name, run).unwrap_or_else(|reason| fail(reason))
    }

    /// Changes an accumulator, and keeps the account of memory.
    #[inline(always)]
    fn change(
        aggregate: &A,
        heap_bytes: &mut usize,
        accumulator: &mut A::Accumulator,
        change: impl FnOnce(&mut A::Accumulator),
    ) {
        let before = aggregate.heap_bytes(accumulator);
        change(accumulator);
        *heap_bytes = (*heap_bytes + aggregate.heap_bytes(accumulator)).saturating_sub(before);
    }

    fn take(&mut self, slot: u32) -> A::Accumulator {
        let taken = std::mem::take(&mut self.slots[slot as usize]);
        self.heap_bytes = self.heap_bytes.saturating_sub(self.aggregate.heap_bytes(&taken));
        taken
    }
}

impl<A: Aggregate> Accumulator for Slots<A> {
    fn resize(&mut self, slots: usize) {
        self.slots.resize_with(slots, A::Accumulator::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        let Self { name, aggregate, parameters, slots: accumulators, heap_bytes } = self;
        let args: Vec<Argument<'_>> = args.iter().map(|array| Argument { array, constant: false }).collect();
        let called = Called::of(&args, parameters);
        Self::run(name, || {
            let columns = A::Input::columns(&args)?;
            let mut add = |slot: usize, row: usize| {
                Self::change(aggregate, heap_bytes, &mut accumulators[slot], |accumulator| {
                    aggregate.accumulate(accumulator, A::Input::items(&columns, row));
                });
            };
            match &called {
                Called::All => rows.for_each_slot(slots, add),
                called => rows.for_each_slot(slots, |slot, row| {
                    if called.is(row) {
                        add(slot, row);
                    }
                }),
            }
            Ok(())
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let Self { name, aggregate, slots: accumulators, heap_bytes, .. } = self;
        Self::run(name, || {
            let encoded = state.first().and_then(|column| column.as_binary_opt::<i32>());
            let encoded = encoded.ok_or("its accumulators are not BYTES in the plan")?;
            let mut outcome = Ok(());
            rows.for_each_slot(slots, |slot, row| {
                if outcome.is_err() || encoded.is_null(row) {
                    return;
                }
                match decode::<A::Accumulator>(encoded.value(row)) {
                    Ok(other) => Self::change(aggregate, heap_bytes, &mut accumulators[slot], |accumulator| {
                        aggregate.merge(accumulator, &other);
                    }),
                    Err(reason) => outcome = Err(reason),
                }
            });
            outcome
        });
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        Self::run(&self.name, || {
            let mut builder = BinaryBuilder::with_capacity(slots.len(), slots.len() * size_of::<A::Accumulator>());
            let mut buffer = Vec::new();
            for slot in slots {
                buffer.clear();
                buffer = postcard::to_extend(&self.slots[*slot as usize], buffer)
                    .map_err(|error| format!("an accumulator cannot be encoded: {error}"))?;
                builder.append_value(&buffer);
            }
            Ok(vec![Arc::new(builder.finish()) as ArrayRef])
        })
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        type Given<A> = <<A as Aggregate>::Output as Returned>::Value;
        Self::run(&self.name, || {
            let mut builder = <Given<A> as Value>::Builder::default();
            for slot in slots {
                match self.aggregate.result(&self.slots[*slot as usize]).into_result()? {
                    Some(value) => value.append(&mut builder),
                    None => <Given<A> as Value>::append_null(&mut builder),
                }
            }
            Ok(<Given<A> as Value>::finish(&mut builder))
        })
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| drop(self.take(*slot)));
    }

    fn reset(&mut self) {
        self.slots.clear();
        self.heap_bytes = 0;
    }

    fn absorb(&mut self, other: &dyn Accumulator, slots: &[u32]) {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else { return };
        let Self { name, aggregate, slots: accumulators, heap_bytes, .. } = self;
        Self::run(name, || {
            for (from, into) in other.slots.iter().zip(slots) {
                Self::change(aggregate, heap_bytes, &mut accumulators[*into as usize], |accumulator| {
                    aggregate.merge(accumulator, from);
                });
            }
            Ok(())
        });
    }

    fn merge_slots(&mut self, from: &[u32], into: &[u32]) {
        for (from, into) in from.iter().zip(into) {
            let taken = self.take(*from);
            let Self { name, aggregate, slots: accumulators, heap_bytes, .. } = self;
            Self::run(name, || {
                Self::change(aggregate, heap_bytes, &mut accumulators[*into as usize], |accumulator| {
                    aggregate.merge(accumulator, &taken);
                });
                Ok(())
            });
        }
    }

    fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<A::Accumulator>() + self.heap_bytes
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    const ADVICE: &str = "if its accumulator has changed, give the function a new version, and keep the old one registered for as long as there is state of it";
    match postcard::take_from_bytes(bytes) {
        Ok((accumulator, [])) => Ok(accumulator),
        Ok((_, rest)) => Err(format!("{} bytes follow an accumulator in its state; {ADVICE}", rest.len())),
        Err(error) => Err(format!("an accumulator cannot be read out of its state: {error}; {ADVICE}")),
    }
}
