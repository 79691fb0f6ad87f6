//! Joins rows of two inputs that are in the same window; in batch mode all rows are in one.
//!
//! Rows are kept, as they came, until their window ends; then the window is joined by a hash table over
//! its right side. Both sides are one state: a row's namespace is the end of its window, its key the
//! side, a number that tells rows apart and the columns of the join, its values are the columns of both
//! sides, NULL for the other one.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};
use chrono_tz::Tz;
use tidemill_common::batch::Batch;
use tidemill_common::plan::{WindowJoinSpec, WindowTime};
use tidemill_common::time::{TimestampMs, Watermark};
use tidemill_common::types::Schema;
use tidemill_expr::eval::Program;
use tidemill_state::keyed::{ByKeyGroup, KeyedRows};
use tidemill_state::storage::StorageError;

use self::pairs::{Joined, Joiner};
use self::rows::{Kept, Segment, WindowRows, Windows};
use self::spilled::{SpilledWindow, side_of, sides};
use super::deltas::{AllRows, Delta, DeltaLog};
use super::keyed::{KeyedContext, Progress, WindowState};
use super::spill::Spill;
use super::windows::WHOLE;
use super::zone::WindowZone;
use super::{is_row_time, zone_of};
use crate::operator::{Operator, OperatorError, Output};
use crate::snapshot::{RestoredState, Snapshot};

mod pairs;
mod rows;
mod spilled;

const OPERATOR: &str = "WindowJoin";
const NONE: u32 = u32::MAX;
const LEFT: usize = 0;
const RIGHT: usize = 1;
/// Columns of a key in files before those of the join: the side, and the number of the row.
const KEY_PREFIX: usize = 2;
/// Segments that are in files, after which they are put together.
const SEGMENTS_MAX: usize = 16;

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
    let joiner = Joiner {
        kind: spec.kind,
        is_whole,
        sides: [spec.left.clone(), spec.right.clone()],
        key_types,
        condition,
        output: output.to_arrow(),
        zone,
    };
    Ok(Box::new(WindowJoin {
        joiner,
        schemas,
        window_zone,
        progress: state.progress(),
        log: state.log(),
        spill: state.spill(),
        state,
        current: Windows::default(),
        segments: Vec::new(),
        on_disk: BTreeMap::new(),
        late_rows: 0,
    }))
}

struct WindowJoin {
    joiner: Joiner,
    schemas: [SchemaRef; 2],
    window_zone: WindowZone,
    progress: Progress,
    state: WindowState,
    log: DeltaLog,
    spill: Spill,
    /// Rows that have come since the last barrier or spill.
    current: Windows,
    /// Older rows in memory, oldest first.
    segments: Vec<Segment>,
    /// How many rows each window has on disk, about.
    on_disk: BTreeMap<TimestampMs, usize>,
    late_rows: u64,
}

impl WindowJoin {
    /// Adds rows of a side to their windows, but for those that are late.
    fn add(&mut self, side: usize, records: &RecordBatch) -> Result<(), OperatorError> {
        if self.joiner.is_whole {
            return self.current.push(Kept { end: WHOLE.end, side, records: records.clone() }, &self.schemas[side]);
        }
        let of_side = &self.joiner.sides[side];
        let ends = records.column(of_side.end).as_primitive::<TimestampMillisecondType>();
        let keys = self.keys(side, records);
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
            self.current.push(Kept { end, side, records }, &self.schemas[side])?;
        }
        Ok(())
    }

    /// The columns of the join.
    fn keys(&self, side: usize, records: &RecordBatch) -> Vec<ArrayRef> {
        self.joiner.sides[side].keys.iter().map(|key| records.column(*key).clone()).collect()
    }

    /// All rows in memory.
    fn in_memory(&self) -> impl Iterator<Item = &Windows> {
        self.segments.iter().map(|segment| &segment.windows).chain([&self.current])
    }

    /// Sets aside what has come.
    fn freeze(&mut self) {
        if self.current.rows > 0 {
            let segment = Segment { run: self.log.next_run(), windows: std::mem::take(&mut self.current) };
            self.log.push(self.delta(&segment));
            self.segments.push(segment);
        }
    }

    fn delta(&self, segment: &Segment) -> Delta {
        segment.delta([LEFT, RIGHT].map(|side| &self.joiner.sides[side].keys[..]), &self.schemas)
    }

    /// Puts segments together that are in files, when there are many.
    fn merge_segments(&mut self) -> Result<(), OperatorError> {
        if self.segments.len() <= SEGMENTS_MAX || self.spill.is_under_way() {
            return Ok(());
        }
        let unwritten = self.log.unwritten();
        let written: Vec<Segment> = self.segments.extract_if(.., |segment| !unwritten.contains(&segment.run)).collect();
        let mut whole = Windows::default();
        for kept in written.iter().flat_map(|segment| segment.windows.kept()) {
            let schema = &self.schemas[kept.side];
            whole.push(kept, schema)?;
        }
        if whole.rows > 0 {
            self.segments.insert(0, Segment { run: self.log.next_run(), windows: whole });
        }
        Ok(())
    }

    /// Lets rows go to disk, if there is no room for them.
    fn make_room(&mut self) -> Result<(), OperatorError> {
        self.end_spill(false)?;
        let bytes = self.in_memory().map(|windows| windows.bytes).sum();
        let rows = self.in_memory().map(|windows| windows.rows).sum();
        let full = self.spill.look(bytes, rows);
        if full.map_err(|reason| OperatorError::Memory { operator: OPERATOR.to_owned(), reason })? {
            self.end_spill(true)?;
            self.freeze();
            let unwritten = self.log.unwritten();
            let bytes = self.in_memory().map(|windows| windows.bytes).sum();
            let deltas = self.segments.iter().map(|segment| self.delta(segment));
            let (unwritten, rest) = deltas.partition(|delta: &Delta| unwritten.contains(&delta.run));
            self.spill.begin(unwritten, rest, bytes).map_err(storage_error)?;
        }
        Ok(())
    }

    /// Takes in what has gone to disk, if it is there or `wait` is set.
    fn end_spill(&mut self, wait: bool) -> Result<(), OperatorError> {
        let Some(spilled) = self.spill.end(wait).map_err(storage_error)? else { return Ok(()) };
        for segment in self.segments.extract_if(.., |segment| spilled.runs.contains(&segment.run)) {
            for kept in segment.windows.kept() {
                *self.on_disk.entry(kept.end).or_default() += kept.records.num_rows();
            }
        }
        let (runs, files) = spilled.unwritten;
        self.log.spilled(&runs, files);
        Ok(())
    }

    /// The end of the first window that is over at a watermark.
    fn next_due(&self, watermark: TimestampMs) -> Option<TimestampMs> {
        let in_memory = self.in_memory().filter_map(|windows| windows.by_end.keys().next());
        let first = in_memory.chain(self.on_disk.keys().next()).min().copied();
        first.filter(|end| self.window_zone.to_timer(end - 1) <= watermark)
    }

    fn advance(&mut self, watermark: TimestampMs, output: &mut dyn Output) -> Result<(), OperatorError> {
        if self.next_due(watermark).is_some() {
            // What is being written must not be joined as well.
            self.end_spill(true)?;
        }
        while let Some(end) = self.next_due(watermark) {
            let mut window = self.current.take(end);
            for segment in &mut self.segments {
                let WindowRows { sides: [left, right] } = segment.windows.take(end);
                window.sides[LEFT].extend(left);
                window.sides[RIGHT].extend(right);
            }
            match self.on_disk.remove(&end) {
                None => self.join(window, output)?,
                Some(_) => {
                    self.join_spilled(end, window, output)?;
                    self.spill.forget(end);
                }
            }
        }
        self.segments.retain(|segment| segment.windows.rows > 0);
        self.progress.advance(watermark);
        Ok(())
    }

    /// All rows of one side in one batch.
    fn whole(&self, side: usize, window: &WindowRows) -> Result<RecordBatch, OperatorError> {
        concat_batches(&self.schemas[side], &window.sides[side]).map_err(internal)
    }

    /// Joins one window that is in memory.
    fn join(&self, window: WindowRows, output: &mut dyn Output) -> Result<(), OperatorError> {
        let (left, right) = (self.whole(LEFT, &window)?, self.whole(RIGHT, &window)?);
        drop(window);
        let mut joined = Joined::new(&self.joiner, &left, &right, output);
        joined.join()?;
        joined.left_alone()?;
        joined.right_alone()
    }

    /// Joins one window that is on disk, in part.
    fn join_spilled(&self, end: TimestampMs, window: WindowRows, output: &mut dyn Output) -> Result<(), OperatorError> {
        let Some(store) = self.spill.stored() else { return self.join(window, output) };
        let by_group = |side: usize| -> Result<(RecordBatch, ByKeyGroup), OperatorError> {
            let whole = self.whole(side, &window)?;
            let keys = self.keys(side, &whole);
            let of = |rows: &[u32]| {
                let rows = UInt32Array::from(rows.to_vec());
                // Fails only for rows that are not there.
                keys.iter().filter_map(|column| take(column, &rows, None).ok()).collect()
            };
            let all = (0..whole.num_rows() as u32).collect();
            let rows = ByKeyGroup::new(all, self.state.max_parallelism(), of);
            Ok((whole, rows))
        };
        let memory = [by_group(LEFT)?, by_group(RIGHT)?];
        drop(window);
        let block_bytes = self.spill.part_bytes() / 2;
        let window = SpilledWindow { join: &self.joiner, schemas: &self.schemas, store, end, memory, block_bytes };
        for key_group in self.state.key_groups() {
            // Before a restore it may have come further: then the rows on disk are of a window that is over.
            if self.window_zone.to_timer(end - 1) > self.progress.of_group(key_group) {
                window.join(key_group, output)?;
            }
        }
        Ok(())
    }

    /// Takes rows that were kept, but for those whose window has passed.
    fn restored(&mut self, kept: &KeyedRows) -> Result<(), OperatorError> {
        let rows = kept.namespaces.rows();
        let keys = KEY_PREFIX + self.joiner.key_types.len();
        let progress = self.progress.of_keys(&kept.columns[KEY_PREFIX..keys], rows);
        let side_of_row = sides(kept);
        let mut found: BTreeMap<(TimestampMs, usize), Vec<u32>> = BTreeMap::new();
        for row in 0..rows {
            let end = kept.namespaces.of(row);
            let progress = progress.as_ref().map_or(self.progress.watermark, |progress| progress[row]);
            if self.window_zone.to_timer(end - 1) > progress {
                found.entry((end, side_of_row(row))).or_default().push(row as u32);
            }
        }
        for ((end, side), rows) in found {
            let all = side_of(kept, side, self.joiner.key_types.len(), &self.schemas)?;
            let records = take_rows(&all, &UInt32Array::from(rows))?;
            self.current.push(Kept { end, side, records }, &self.schemas[side])?;
        }
        Ok(())
    }

    /// Takes in the files of a checkpoint as they are.
    fn restore_to_disk(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        for (_, files) in &state.files {
            self.spill.ingest_restored(files, &state.reader).map_err(storage_error)?;
        }
        let (ends, rows) = self.spill.ends().map_err(storage_error)?;
        let rows = rows.div_ceil(ends.len().max(1)).max(1);
        let is_open = |end: &TimestampMs| self.window_zone.to_timer(end - 1) > self.progress.watermark;
        self.on_disk = ends.into_iter().filter(is_open).map(|end| (end, rows)).collect();
        Ok(())
    }
}

impl Operator for WindowJoin {
    fn process_batch(&mut self, input: usize, batch: Batch, _output: &mut dyn Output) -> Result<(), OperatorError> {
        if batch.rows() == 0 {
            return Ok(());
        }
        self.add(input.min(RIGHT), &batch.records)?;
        if self.spill.is_due(batch.rows()) { self.make_room() } else { Ok(()) }
    }

    fn process_watermark(&mut self, watermark: Watermark, output: &mut dyn Output) -> Result<(), OperatorError> {
        // After a restore the sources may begin further back.
        let watermark = watermark.max(Watermark(self.progress.watermark));
        self.advance(watermark.0, output)?;
        output.emit_watermark(watermark)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        self.merge_segments()?;
        self.freeze();
        self.state.snapshot(snapshot, &self.progress);
        let in_memory: usize = self.in_memory().map(|windows| windows.rows).sum();
        let stored_rows = self.on_disk.values().sum();
        let last_run = self.log.last_run();
        let Self { log, window_zone, progress, .. } = &*self;
        let is_over = |end: TimestampMs| window_zone.to_timer(end - 1) <= progress.watermark;
        log.snapshot(snapshot, in_memory + stored_rows, is_over, || AllRows {
            deltas: self.segments.iter().map(|segment| self.delta(segment)).collect(),
            stored: self.spill.pinned(last_run),
            stored_rows,
            stored_end: self.on_disk.keys().next_back().copied().unwrap_or(TimestampMs::MIN),
        });
        Ok(())
    }

    fn restore(&mut self, state: &RestoredState) -> Result<(), OperatorError> {
        self.progress = self.state.restored_progress(state)?;
        self.log.needs_base();
        let files = || state.files.iter().flat_map(|(_, files)| files);
        self.log.continue_after(files().map(|file| file.sequence).max().unwrap_or(0));
        if self.spill.is_large(files().map(|file| file.bytes).sum()) {
            self.restore_to_disk(state)?;
        } else {
            self.state.clone().restored_rows(state, |rows| {
                self.restored(&rows)?;
                if self.spill.is_due(rows.namespaces.rows()) { self.make_room() } else { Ok(()) }
            })?;
        }
        self.freeze();
        if let Some(files) = state.own_files() {
            let rows =
                self.in_memory().map(|windows| windows.rows).sum::<usize>() + self.on_disk.values().sum::<usize>();
            let ends = self.in_memory().flat_map(|windows| windows.by_end.keys()).chain(self.on_disk.keys());
            let last_end = ends.max().copied().unwrap_or(TimestampMs::MIN);
            self.log.adopt(files, rows, last_end);
        }
        Ok(())
    }

    fn late_rows_dropped(&self) -> u64 {
        self.late_rows
    }
}

fn internal(reason: impl ToString) -> OperatorError {
    OperatorError::Internal { operator: OPERATOR.to_owned(), reason: reason.to_string() }
}

fn storage_error(source: StorageError) -> OperatorError {
    OperatorError::Storage { operator: OPERATOR.to_owned(), source }
}

fn take_rows(records: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch, OperatorError> {
    let columns = records
        .columns()
        .iter()
        .map(|column| take(column, rows, None))
        .collect::<Result<Vec<_>, _>>()
        .map_err(internal)?;
    batch(&records.schema(), columns, rows.len())
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(internal)
}
