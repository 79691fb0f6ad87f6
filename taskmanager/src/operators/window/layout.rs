//! What an aggregate reads from its input's columns, and a batch made ready for it.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use tidemill_common::plan::{AggregateCall, AggregatePhase, WindowAggregateSpec};
use tidemill_common::types::Schema;
use tidemill_state::accumulator::{self, Accumulator};
use tidemill_state::{KeyBatch, Rows, StateError};

use super::fused::FusedPlan;

/// Where keys and arguments are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub keys: Vec<usize>,
    pub key_types: Vec<DataType>,
    pub calls: Vec<CallLayout>,
    /// How panes are fused, as long as the batches allow it.
    pub fused: Option<FusedPlan>,
}

/// Where the input of one call is.
#[derive(Clone, Debug)]
pub(crate) struct CallLayout {
    pub call: AggregateCall,
    /// Arguments, or accumulator columns if `merges`.
    pub columns: Vec<usize>,
    pub filter: Option<usize>,
    pub merges: bool,
}

impl Layout {
    /// The layout of a single, local or global aggregate over this input.
    pub fn new(spec: &WindowAggregateSpec, input: &Schema) -> Result<Self, String> {
        let field = |column: usize| {
            input.fields.get(column).ok_or_else(|| format!("there is no input column {column} among {}", input.len()))
        };
        let key_types = spec.keys.iter().map(|key| Ok(field(*key)?.data_type.logical.to_arrow()));
        let key_types = key_types.collect::<Result<Vec<_>, String>>()?;
        let merges = spec.phase == AggregatePhase::Global;
        let mut next_state = spec.keys.len();
        let mut calls = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            let text = |error: StateError| error.to_string();
            let (columns, types): (Vec<usize>, Vec<_>) = if merges {
                let types = accumulator::state_types(call).map_err(text)?;
                let from = next_state;
                next_state += types.len();
                ((from..next_state).collect(), types)
            } else {
                accumulator::create(call).map_err(text)?;
                (call.args.clone(), call.arg_types.clone())
            };
            for (column, expected) in columns.iter().zip(&types) {
                let found = &field(*column)?.data_type;
                if found.logical.to_arrow() != expected.logical.to_arrow() {
                    return Err(format!("input column {column} is {found}, but {:?} reads {expected}", call.function));
                }
            }
            let filter = if merges { None } else { call.filter };
            if let Some(filter) = filter
                && field(filter)?.data_type.logical.to_arrow() != DataType::Boolean
            {
                return Err(format!("the filter column {filter} is {}, not BOOLEAN", field(filter)?.data_type));
            }
            calls.push(CallLayout { call: call.clone(), columns, filter, merges });
        }
        let mut layout = Self { keys: spec.keys.clone(), key_types, calls, fused: None };
        // Late updates address slots one by one, which move in fused tables.
        if spec.allowed_lateness_ms == 0 {
            layout.fused = FusedPlan::new(&layout);
        }
        Ok(layout)
    }

    /// Whether panes can take these key and accumulator columns: no if they are fused and there are
    /// NULLs.
    pub fn fits(&self, columns: &[ArrayRef], rows: usize) -> bool {
        let (keys, states) = columns.split_at(self.keys.len());
        let no_null_key = keys.iter().all(|column| column.null_count() == 0);
        self.fused.as_ref().is_none_or(|plan| no_null_key && plan.words(states, rows).is_some())
    }

    /// Fresh accumulators, one a call.
    pub fn accumulators(&self) -> Vec<Box<dyn Accumulator>> {
        // All calls were accepted by `new`.
        self.calls.iter().filter_map(|call| accumulator::create(&call.call).ok()).collect()
    }
}

/// The columns of one batch that an aggregate reads; made once, used for each slice.
#[derive(Default)]
pub(crate) struct Prepared {
    pub rows: usize,
    pub key_columns: Vec<ArrayRef>,
    pub keys: KeyBatch,
    /// Columns of each call.
    pub columns: Vec<Vec<ArrayRef>>,
    pub filters: Vec<Option<BooleanArray>>,
    /// The column each word of a fused table reads.
    pub words: Vec<ScalarBuffer<i64>>,
}

impl Prepared {
    /// Takes a batch in. Says whether it fits the layout: no if panes are fused and it has NULLs.
    pub fn load(&mut self, layout: &Layout, records: &RecordBatch) -> bool {
        self.rows = records.num_rows();
        let column = |column: &usize| records.column(*column).clone();
        self.key_columns = layout.keys.iter().map(column).collect();
        self.keys.load(&self.key_columns, self.rows);
        self.columns = layout.calls.iter().map(|call| call.columns.iter().map(column).collect()).collect();
        let filter = |call: &CallLayout| call.filter.map(|filter| records.column(filter).as_boolean().clone());
        self.filters = layout.calls.iter().map(filter).collect();
        match &layout.fused {
            Some(plan) => plan.load(layout, self, records),
            None => true,
        }
    }
}

/// Adds rows to accumulators that have room for their slots.
pub(crate) fn accumulate(
    layout: &Layout,
    prepared: &Prepared,
    accumulators: &mut [Box<dyn Accumulator>],
    slots: &[u32],
    rows: Rows<'_>,
    scratch: &mut FilterScratch,
) {
    let mut filtered: Option<usize> = None;
    for (index, (call, accumulator)) in layout.calls.iter().zip(accumulators).enumerate() {
        let columns = &prepared.columns[index];
        if call.merges {
            accumulator.merge(slots, columns, rows);
            continue;
        }
        match (&prepared.filters[index], call.filter) {
            (Some(filter), Some(column)) => {
                // Calls with the same filter stand together often enough to remember one.
                if filtered != Some(column) {
                    scratch.select(filter, slots, rows);
                    filtered = Some(column);
                }
                accumulator.update(&scratch.slots, columns, Rows::Selected(&scratch.rows));
            }
            _ => accumulator.update(slots, columns, rows),
        }
    }
}

/// Rows for which a filter is true.
#[derive(Debug, Default)]
pub(crate) struct FilterScratch {
    slots: Vec<u32>,
    rows: Vec<u32>,
}

impl FilterScratch {
    fn select(&mut self, filter: &BooleanArray, slots: &[u32], rows: Rows<'_>) {
        self.slots.clear();
        self.rows.clear();
        rows.for_each_slot(slots, |slot, row| {
            if filter.value(row) && filter.is_valid(row) {
                self.slots.push(slot as u32);
                self.rows.push(row as u32);
            }
        });
    }
}
