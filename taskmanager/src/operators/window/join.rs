//! Joins rows of two inputs that are in the same window; in batch mode all rows are in one.
//!
//! Rows are kept, as they came, until their window ends; then the window is joined by a hash table over
//! its right side. Both sides are one state: a row's namespace is the end of its window, its key the
//! side, a number that tells rows apart and the columns of the join, its values are the columns of both
//! sides, NULL for the other one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, interleave, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMillisecondType};
use chrono_tz::Tz;
use tidemill_common::batch::Batch;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{JoinKind, WindowJoinSide, WindowJoinSpec, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_expr::eval::{EvalContext, Program};
use tidemill_state::keyed::{KeyedRows, RowSource};
use tidemill_state::{KeyBatch, KeyTable, Rows};

use super::deltas::{AllRows, Delta, DeltaLog};
use super::keyed::{KeyedContext, Progress, WindowState};
use super::spill::Room;
use super::windows::WHOLE;
use super::zone::WindowZone;
use super::{is_row_time, system_clock, zone_of};
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

const OPERATOR: &str = "WindowJoin";
const NONE: u32 = u32::MAX;
const LEFT: usize = 0;
const RIGHT: usize = 1;
/// Columns of a key in files before those of the join: the side, and the number of the row.
const KEY_PREFIX: usize = 2;

/// The operator of a window join.
///
/// # Errors
/// If the plan asks for what it cannot do; the planner should have refused it.
pub fn create_join(
    spec: &WindowJoinSpec,
    inputs: [&Schema; 2],
    output: &Schema,
    context: &KeyedContext,
    zone: Tz,
) -> Result<Box<dyn Operator>, OperatorError> {
    let refuse = |reason: String| OperatorError::Internal { operator: OPERATOR.to_owned(), reason };
    let window_zone = zone_of(&spec.time).map_err(refuse)?;
    let is_whole = spec.time == WindowTime::Input;
    for (side, input) in [&spec.left, &spec.right].into_iter().zip(inputs).filter(|_| !is_whole) {
        is_row_time(input, side.start).and_then(|()| is_row_time(input, side.end)).map_err(refuse)?;
    }
    let schemas = inputs.map(Schema::to_arrow);
    let types = |side: usize, columns: &[usize]| -> Vec<DataType> {
        columns.iter().map(|column| schemas[side].field(*column).data_type().clone()).collect()
    };
    let key_types = types(LEFT, &spec.left.keys);
    if key_types != types(RIGHT, &spec.right.keys) {
        return Err(refuse("the keys of the two sides have different types".to_owned()));
    }
    let condition = match &spec.condition {
        None => None,
        Some(condition) => {
            let both = Schema::new(inputs.iter().flat_map(|input| input.fields.iter().cloned()).collect()).to_arrow();
            let program =
                Program::compile(std::slice::from_ref(condition), &both).map_err(|error| refuse(error.to_string()))?;
            Some((program, both))
        }
    };
    let value_types: Vec<DataType> =
        schemas.iter().flat_map(|schema| schema.fields().iter().map(|field| field.data_type().clone())).collect();
    let state = WindowState::of_rows(
        OPERATOR,
        context,
        [vec![DataType::Int64; KEY_PREFIX], key_types.clone()].concat(),
        KEY_PREFIX,
        value_types,
    );
    Ok(Box::new(WindowJoin {
        kind: spec.kind,
        is_whole,
        sides: [spec.left.clone(), spec.right.clone()],
        schemas,
        key_types,
        condition,
        output: output.to_arrow(),
        zone,
        window_zone,
        progress: state.progress(),
        log: state.log(),
        room: state.room(),
        state,
        windows: BTreeMap::new(),
        rows: 0,
        bytes: 0,
        fresh: Vec::new(),
        late_rows: 0,
    }))
}

/// The rows of one window, by side.
#[derive(Default)]
struct WindowRows {
    sides: [Vec<RecordBatch>; 2],
}

struct WindowJoin {
    kind: JoinKind,
    /// All rows are in one window, which has no columns and ends with the input.
    is_whole: bool,
    sides: [WindowJoinSide; 2],
    schemas: [SchemaRef; 2],
    key_types: Vec<DataType>,
    /// Over the columns of both sides.
    condition: Option<(Program, SchemaRef)>,
    output: SchemaRef,
    zone: Tz,
    window_zone: WindowZone,
    progress: Progress,
    state: WindowState,
    log: DeltaLog,
    room: Room,
    /// Rows by the end of their window.
    windows: BTreeMap<TimestampMs, WindowRows>,
    rows: usize,
    bytes: usize,
    /// Rows that no snapshot has.
    fresh: Vec<Kept>,
    late_rows: u64,
}

/// Rows of one side in one window.
#[derive(Clone)]
struct Kept {
    end: TimestampMs,
    side: usize,
    records: RecordBatch,
}

impl WindowJoin {
    fn internal(reason: impl ToString) -> OperatorError {
        OperatorError::Internal { operator: OPERATOR.to_owned(), reason: reason.to_string() }
    }

    /// Adds rows of a side to their windows, but for those that are late.
    fn add(&mut self, side: usize, records: &RecordBatch) -> Result<(), OperatorError> {
        if self.is_whole {
            return self.keep(WHOLE.end, side, records.clone());
        }
        let ends = records.column(self.sides[side].end).as_primitive::<TimestampMillisecondType>();
        let keys: Vec<ArrayRef> = self.sides[side].keys.iter().map(|key| records.column(*key).clone()).collect();
        let progress = self.progress.of_keys(&keys, records.num_rows());
        let mut by_end: Vec<(TimestampMs, Vec<u32>)> = Vec::new();
        let mut last = 0;
        for row in 0..records.num_rows() {
            if ends.is_null(row) {
                return Err(OperatorError::Evaluation {
                    operator: OPERATOR.to_owned(),
                    reason: "a row has no window: its window_end is NULL".to_owned(),
                });
            }
            let end = ends.value(row);
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[row]);
            if self.window_zone.to_timer(end - 1) <= progress {
                self.late_rows += 1;
                continue;
            }
            if by_end.get(last).is_none_or(|(known, _)| *known != end) {
                last = by_end.iter().position(|(known, _)| *known == end).unwrap_or_else(|| {
                    by_end.push((end, Vec::new()));
                    by_end.len() - 1
                });
            }
            by_end[last].1.push(row as u32);
        }
        for (end, rows) in by_end {
            let records = if rows.len() == records.num_rows() {
                records.clone()
            } else {
                take_rows(records, &UInt32Array::from(rows))?
            };
            self.keep(end, side, records)?;
        }
        Ok(())
    }

    fn keep(&mut self, end: TimestampMs, side: usize, records: RecordBatch) -> Result<(), OperatorError> {
        if self.log.is_incremental() {
            self.fresh.push(Kept { end, side, records: records.clone() });
        }
        self.push(end, side, records)
    }

    /// Keeps rows. Small batches are put together, so that there are not many of them.
    fn push(&mut self, end: TimestampMs, side: usize, records: RecordBatch) -> Result<(), OperatorError> {
        self.rows += records.num_rows();
        self.bytes += records.get_array_memory_size();
        let kept = &mut self.windows.entry(end).or_default().sides[side];
        kept.push(records);
        while let [.., before, last] = kept.as_slice() {
            let (rows_before, rows) = (before.num_rows(), last.num_rows());
            if rows_before > 2 * rows || rows_before + rows > BATCH_ROWS_TARGET {
                break;
            }
            let merged = concat_batches(&self.schemas[side], [before, last]).map_err(Self::internal)?;
            kept.truncate(kept.len() - 2);
            kept.push(merged);
        }
        Ok(())
    }

    fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        self.progress.advance(watermark);
        while let Some(first) = self.windows.first_entry()
            && self.window_zone.to_timer(first.key() - 1) <= watermark
        {
            let window = first.remove();
            let all = window.sides.iter().flatten();
            self.rows -= all.clone().map(RecordBatch::num_rows).sum::<usize>();
            let bytes: usize = all.map(RecordBatch::get_array_memory_size).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
            self.join(&window, output)?;
        }
        if self.windows.is_empty() {
            self.bytes = 0;
        }
        Ok(())
    }

    /// Joins one window.
    fn join(&self, window: &WindowRows, output: &mut dyn Output) -> Result<(), OperatorError> {
        let whole = |side: usize| concat_batches(&self.schemas[side], &window.sides[side]).map_err(Self::internal);
        let (left, right) = (whole(LEFT)?, whole(RIGHT)?);
        let mut joined = Joined {
            join: self,
            left: &left,
            right: &right,
            matched: [vec![false; left.num_rows()], vec![false; right.num_rows()]],
            pairs: (Vec::new(), Vec::new()),
            output,
        };
        if left.num_rows() > 0 && right.num_rows() > 0 {
            joined.pairs_of_keys()?;
        }
        joined.check()?;
        joined.unmatched()
    }

    /// The columns that must be equal: the start of the window, and those of the join.
    fn equal_columns(&self, side: usize, records: &RecordBatch) -> Vec<ArrayRef> {
        let start = (!self.is_whole).then(|| {
            let start = records.column(self.sides[side].start).as_primitive::<TimestampMillisecondType>();
            Arc::new(Int64Array::new(start.values().clone(), start.nulls().cloned())) as ArrayRef
        });
        let keys = self.sides[side].keys.iter().map(|key| records.column(*key).clone());
        start.into_iter().chain(keys).collect()
    }

    /// All rows in memory, for a snapshot.
    fn copy(&self, kept: Vec<Kept>, run: u64) -> Delta {
        let last_end = kept.iter().map(|kept| kept.end).max().unwrap_or(TimestampMs::MIN);
        let rows = JoinRows::new(kept, [&self.sides[LEFT].keys, &self.sides[RIGHT].keys], &self.schemas);
        Delta { run, count: rows.places.len(), rows: Arc::new(rows), last_end }
    }

    fn all(&self) -> Vec<Kept> {
        let of_window = |(end, window): (&TimestampMs, &WindowRows)| {
            let end = *end;
            let of_side =
                |side: usize| window.sides[side].iter().cloned().map(move |records| Kept { end, side, records });
            of_side(LEFT).chain(of_side(RIGHT)).collect::<Vec<_>>()
        };
        self.windows.iter().flat_map(of_window).collect()
    }

    /// Takes rows that were kept, but for those whose window has passed.
    fn restored(&mut self, kept: &KeyedRows) -> Result<(), OperatorError> {
        let rows = kept.namespaces.rows();
        let keys = KEY_PREFIX + self.key_types.len();
        let sides = kept.columns[0].as_primitive::<Int64Type>();
        let progress = self.progress.of_keys(&kept.columns[KEY_PREFIX..keys], rows);
        let mut found: BTreeMap<(TimestampMs, usize), Vec<u32>> = BTreeMap::new();
        for row in 0..rows {
            let end = kept.namespaces.of(row);
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[row]);
            if self.window_zone.to_timer(end - 1) > progress {
                let side = if sides.value(row) == 0 { LEFT } else { RIGHT };
                found.entry((end, side)).or_default().push(row as u32);
            }
        }
        for ((end, side), rows) in found {
            let first = keys + if side == LEFT { 0 } else { self.schemas[LEFT].fields().len() };
            let columns = kept.columns[first..first + self.schemas[side].fields().len()].to_vec();
            let all = batch(&self.schemas[side], columns, kept.namespaces.rows())?;
            let records = take_rows(&all, &UInt32Array::from(rows))?;
            self.push(end, side, records)?;
        }
        Ok(())
    }
}

/// One window while it is joined.
struct Joined<'a> {
    join: &'a WindowJoin,
    left: &'a RecordBatch,
    right: &'a RecordBatch,
    /// Rows of each side that have a partner.
    matched: [Vec<bool>; 2],
    /// Rows that have equal keys and were not looked at yet.
    pairs: (Vec<u32>, Vec<u32>),
    output: &'a mut dyn Output,
}

impl Joined<'_> {
    /// Finds the pairs of rows with equal keys.
    fn pairs_of_keys(&mut self) -> Result<(), OperatorError> {
        let start = (!self.join.is_whole).then_some(DataType::Int64);
        let types = start.into_iter().chain(self.join.key_types.iter().cloned()).collect();
        let mut table = KeyTable::new(types);
        let mut keys = KeyBatch::default();
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        for (side, records, slots) in [(RIGHT, self.right, &mut of_right), (LEFT, self.left, &mut of_left)] {
            let columns = self.join.equal_columns(side, records);
            keys.load(&columns, records.num_rows());
            table.intern(&keys, Rows::All(records.num_rows()), slots);
            // NULL is equal to nothing.
            for column in columns.iter().filter(|column| column.null_count() > 0) {
                for (row, slot) in slots.iter_mut().enumerate() {
                    if column.is_null(row) {
                        *slot = NONE;
                    }
                }
            }
        }
        // The right rows of each key, as a list from the last to the first.
        let mut last = vec![NONE; table.len()];
        let mut before = vec![NONE; of_right.len()];
        for (row, slot) in of_right.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            before[row] = std::mem::replace(&mut last[*slot as usize], row as u32);
        }
        for (row, slot) in of_left.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let mut partner = last[*slot as usize];
            while partner != NONE {
                self.pairs.0.push(row as u32);
                self.pairs.1.push(partner);
                if self.pairs.0.len() >= BATCH_ROWS_TARGET {
                    self.check()?;
                }
                partner = before[partner as usize];
            }
        }
        Ok(())
    }

    /// Keeps the pairs for which the condition holds, and emits them.
    fn check(&mut self) -> Result<(), OperatorError> {
        let (mut left, mut right) = std::mem::take(&mut self.pairs);
        if left.is_empty() {
            return Ok(());
        }
        if let Some((program, schema)) = &self.join.condition {
            let columns = self.columns(&UInt32Array::from(left.clone()), &UInt32Array::from(right.clone()))?;
            let records = batch(schema, columns, left.len())?;
            let context = EvalContext { now_ms: system_clock(), zone: self.join.zone };
            let holds = program
                .evaluate(&records, &context)
                .map_err(|error| OperatorError::Evaluation { operator: OPERATOR.to_owned(), reason: error.reason })?;
            let holds: &BooleanArray = holds[0].as_boolean();
            let mut kept = (0..holds.len()).map(|row| holds.is_valid(row) && holds.value(row));
            left.retain(|_| kept.next().unwrap_or(false));
            let mut kept = (0..holds.len()).map(|row| holds.is_valid(row) && holds.value(row));
            right.retain(|_| kept.next().unwrap_or(false));
        }
        left.iter().for_each(|row| self.matched[LEFT][*row as usize] = true);
        right.iter().for_each(|row| self.matched[RIGHT][*row as usize] = true);
        match self.join.kind {
            JoinKind::Semi | JoinKind::Anti => Ok(()),
            _ => self.emit(&UInt32Array::from(left), &UInt32Array::from(right)),
        }
    }

    /// Emits the rows that have no partner, or only have to be known to have one.
    fn unmatched(&mut self) -> Result<(), OperatorError> {
        let rows = |matched: &[bool], wanted: bool| -> Vec<u32> {
            (0..matched.len() as u32).filter(|row| matched[*row as usize] == wanted).collect()
        };
        let kind = self.join.kind;
        if matches!(kind, JoinKind::Left | JoinKind::Full | JoinKind::Semi | JoinKind::Anti) {
            let rows = rows(&self.matched[LEFT], kind == JoinKind::Semi);
            for rows in rows.chunks(BATCH_ROWS_TARGET) {
                self.emit(&UInt32Array::from(rows.to_vec()), &UInt32Array::new_null(rows.len()))?;
            }
        }
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            let rows = rows(&self.matched[RIGHT], false);
            for rows in rows.chunks(BATCH_ROWS_TARGET) {
                self.emit(&UInt32Array::new_null(rows.len()), &UInt32Array::from(rows.to_vec()))?;
            }
        }
        Ok(())
    }

    /// The columns of both sides for pairs of rows; NULL for a row that is none.
    fn columns(&self, left: &UInt32Array, right: &UInt32Array) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns = Vec::with_capacity(self.left.num_columns() + self.right.num_columns());
        for (records, rows) in [(self.left, left), (self.right, right)] {
            for column in records.columns() {
                columns.push(if rows.null_count() == rows.len() {
                    new_null_array(column.data_type(), rows.len())
                } else {
                    take(column, rows, None).map_err(WindowJoin::internal)?
                });
            }
        }
        Ok(columns)
    }

    fn emit(&mut self, left: &UInt32Array, right: &UInt32Array) -> Result<(), OperatorError> {
        if left.is_empty() {
            return Ok(());
        }
        let mut columns = self.columns(left, right)?;
        // Of a semi or anti join only the left side goes on.
        columns.truncate(self.join.output.fields().len());
        let records = batch(&self.join.output, columns, left.len())?;
        self.output.emit(Batch::insert(records))
    }
}

impl Operator for WindowJoin {
    fn process_batch(&mut self, input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
        self.add(input.min(RIGHT), &batch.records)?;
        if self.room.is_due(batch.rows()) {
            let looked = self.room.look(self.bytes, self.rows);
            looked.map_err(|reason| OperatorError::Memory {
                operator: OPERATOR.to_owned(),
                reason: format!("{reason}. The rows of window joins do not go to disk"),
            })?;
        }
        Ok(())
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        // After a restore the sources may begin further back.
        let watermark = watermark.max(Watermark(self.progress.watermark));
        self.advance(watermark.0, output)?;
        output.emit_watermark(watermark)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        let fresh = std::mem::take(&mut self.fresh);
        let fresh: Vec<Kept> = fresh
            .into_iter()
            .filter(|kept| self.window_zone.to_timer(kept.end - 1) > self.progress.watermark)
            .collect();
        if !fresh.is_empty() {
            let run = self.log.next_run();
            self.log.push(self.copy(fresh, run));
        }
        self.state.snapshot(snapshot, &self.progress);
        let run = self.log.next_run();
        let Self { log, window_zone, progress, .. } = &*self;
        let is_over = |end: TimestampMs| window_zone.to_timer(end - 1) <= progress.watermark;
        log.snapshot(snapshot, self.rows, is_over, || {
            let all = self.all();
            AllRows::in_memory(if all.is_empty() { Vec::new() } else { vec![self.copy(all, run)] })
        });
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        self.progress = self.state.restored_progress(state)?;
        self.state.clone().restored_rows(state, |rows| self.restored(&rows))?;
        self.log.needs_base();
        Ok(())
    }

    fn late_rows_dropped(&self) -> u64 {
        self.late_rows
    }
}

/// Rows of both sides on their way into files.
struct JoinRows {
    /// Batch and row of each.
    places: Vec<(u32, u32)>,
    batches: Vec<Kept>,
    /// Columns of the join, and all columns, as one array for each batch.
    keys: Vec<Vec<ArrayRef>>,
    values: Vec<Vec<ArrayRef>>,
}

impl JoinRows {
    fn new(batches: Vec<Kept>, keys: [&Vec<usize>; 2], schemas: &[SchemaRef; 2]) -> Self {
        let rows = |(number, kept): (usize, &Kept)| {
            (0..kept.records.num_rows() as u32).map(move |row| (number as u32, row)).collect::<Vec<_>>()
        };
        let places = batches.iter().enumerate().flat_map(rows).collect();
        let of_key = |at: usize| {
            let column = |kept: &Kept| kept.records.column(keys[kept.side][at]).clone();
            batches.iter().map(column).collect()
        };
        let keys = (0..keys[LEFT].len()).map(of_key).collect();
        let of_value = |side: usize, column: usize| {
            let absent = new_null_array(schemas[side].field(column).data_type(), 1);
            let of_batch = |kept: &Kept| {
                if kept.side == side { kept.records.column(column).clone() } else { absent.clone() }
            };
            batches.iter().map(of_batch).collect()
        };
        let columns = |side: usize| (0..schemas[side].fields().len()).map(move |column| (side, column));
        let values = columns(LEFT).chain(columns(RIGHT)).map(|(side, column)| of_value(side, column)).collect();
        Self { places, batches, keys, values }
    }

    /// The rows of columns, each given as an array for each batch.
    fn gather(columns: &[Vec<ArrayRef>], places: &[(usize, usize)]) -> Vec<ArrayRef> {
        let gather = |arrays: &Vec<ArrayRef>| {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            // Of the other side there is one NULL for all rows.
            let places: Vec<(usize, usize)> = places
                .iter()
                .map(|(batch, row)| (*batch, (*row).min(arrays[*batch].len().saturating_sub(1))))
                .collect();
            // Fails only for rows that are not there.
            interleave(&arrays, &places).ok()
        };
        columns.iter().filter_map(gather).collect()
    }

    fn places(&self, rows: &[u32]) -> Vec<(usize, usize)> {
        let place = |row: &u32| {
            let (batch, row) = self.places[*row as usize];
            (batch as usize, row as usize)
        };
        rows.iter().map(place).collect()
    }
}

impl RowSource for JoinRows {
    fn rows(&self) -> Vec<u32> {
        (0..self.places.len() as u32).collect()
    }

    fn keys(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let side = |row: &u32| self.batches[self.places[*row as usize].0 as usize].side as i64;
        let mut keys: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(side).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| i64::from(*row)).collect::<Int64Array>()),
        ];
        keys.extend(Self::gather(&self.keys, &self.places(rows)));
        keys
    }

    fn values(&self, rows: &[u32]) -> Vec<ArrayRef> {
        Self::gather(&self.values, &self.places(rows))
    }

    fn namespace(&self, row: u32) -> i64 {
        self.batches[self.places[row as usize].0 as usize].end
    }
}

fn take_rows(records: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch, OperatorError> {
    let columns = records
        .columns()
        .iter()
        .map(|column| take(column, rows, None))
        .collect::<Result<Vec<_>, _>>()
        .map_err(WindowJoin::internal)?;
    batch(&records.schema(), columns, rows.len())
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(WindowJoin::internal)
}
