//! The source operator: drives a connector's reader, computes columns, assigns watermarks.

mod watermarks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMillisecondType};
use chrono_tz::Tz;
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::SplitPosition;
use tidemill_common::ids::{OperatorId, SplitId, SubtaskIndex};
use tidemill_common::plan::{PlanOperator, SourceSpec, WatermarkSpec};
use tidemill_common::time::Watermark;
use tidemill_common::types::{Field, Schema};
use tidemill_connectors::api::{SourcePoll, SourceReader, Split};
use tidemill_expr::eval::{EvalContext, Program};

use crate::chain::Chain;
use crate::checkpoint::splits_of;
use crate::metrics::{OperatorMetrics, TaskMetrics, Wait};
use crate::operator::{OperatorError, Output};
use crate::operators::window::system_clock;
use crate::snapshot::{RestoredState, Snapshot};
use watermarks::{Cut, SplitWatermarks};

/// State: the watermark as the stream of rows has raised it.
const RAISED: &str = "raised-watermark";
/// The longest wait in a reader: mail is served that often.
const POLL_WAIT_MAX: Duration = Duration::from_millis(20);
/// A reader of an unbounded source that got no split in this time (there are fewer splits than
/// readers) is set aside in watermark merging until it gets one.
const NO_SPLIT_IDLE: Duration = Duration::from_secs(1);
/// How often it is told how far the splits are, and of how many at most.
const SPLITS_TOLD: Duration = Duration::from_secs(1);
const SPLITS_TOLD_MAX: usize = 32;

/// What to do after [`Source::step`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    Rows,
    /// Nothing came within the time-out.
    Pending,
    /// There is nothing to read until mail comes.
    NeedsMail,
    /// All is read.
    Ended,
}

struct Watermarks {
    spec: WatermarkSpec,
    program: Program,
    splits: SplitWatermarks,
    last_periodic: Instant,
    last_told: Option<Instant>,
}

/// A source in one subtask.
pub struct Source {
    operator: OperatorId,
    uid: String,
    name: String,
    reader: Box<dyn SourceReader>,
    bounded: bool,
    computed: Option<Program>,
    schema: SchemaRef,
    zone: Tz,
    watermarks: Option<Watermarks>,
    /// Asks the job manager for splits.
    request: Box<dyn Fn() + Send>,
    requested: bool,
    no_more: bool,
    /// Set aside because it has no split.
    splitless: bool,
    started: Instant,
    metrics: Arc<OperatorMetrics>,
    task_metrics: Arc<TaskMetrics>,
    cuts: Vec<Cut>,
}

impl Source {
    /// A source that has no splits yet. `request` asks for some.
    pub fn new(
        operator: &PlanOperator,
        spec: &SourceSpec,
        (reader, bounded): (Box<dyn SourceReader>, bool),
        zone: Tz,
        request: Box<dyn Fn() + Send>,
        metrics: Arc<OperatorMetrics>,
        task_metrics: Arc<TaskMetrics>,
    ) -> Result<Self, OperatorError> {
        let evaluation = |reason: String| OperatorError::Evaluation { operator: operator.name.clone(), reason };
        let mut physical: Vec<Field> =
            spec.projection.iter().map(|index| spec.table.schema.fields[*index].clone()).collect();
        physical.extend(spec.metadata.iter().map(|column| Field::new(column.key.clone(), column.data_type.clone())));
        let computed = if spec.computed.is_empty() {
            None
        } else {
            let physical = Schema::new(physical).to_arrow();
            Some(Program::compile(&spec.computed, &physical).map_err(|error| evaluation(error.to_string()))?)
        };
        let schema = operator.schema.to_arrow();
        let watermarks = match &spec.watermark {
            Some(watermark) => {
                let time = schema.field(watermark.rowtime).data_type();
                let value = watermark.expression.data_type().logical.to_arrow();
                if [time, &value].iter().any(|t| !matches!(t, DataType::Timestamp(TimeUnit::Millisecond, _))) {
                    let reason = format!("a watermark of type {value} over a row time of type {time}");
                    return Err(OperatorError::Internal { operator: operator.name.clone(), reason });
                }
                let expression = std::slice::from_ref(&watermark.expression);
                Some(Watermarks {
                    spec: watermark.clone(),
                    program: Program::compile(expression, &schema).map_err(|error| evaluation(error.to_string()))?,
                    splits: SplitWatermarks::new(watermark.interval_ms, bounded),
                    last_periodic: Instant::now(),
                    last_told: None,
                })
            }
            None => None,
        };
        Ok(Self {
            operator: operator.id,
            uid: operator.uid.clone(),
            name: operator.name.clone(),
            reader,
            bounded,
            computed,
            schema,
            zone,
            watermarks,
            request,
            requested: false,
            no_more: false,
            splitless: false,
            started: Instant::now(),
            metrics,
            task_metrics,
            cuts: Vec::new(),
        })
    }

    /// Takes splits to read.
    pub fn assign(&mut self, splits: Vec<Split>, no_more: bool, chain: &mut Chain) -> Result<(), OperatorError> {
        self.no_more |= no_more;
        if splits.is_empty() {
            return Ok(());
        }
        self.requested = false;
        if std::mem::take(&mut self.splitless) {
            chain.idle(false)?;
        }
        let now = self.clock();
        if let Some(watermarks) = &mut self.watermarks {
            for split in &splits {
                watermarks.splits.add(split.id.clone(), split.watermark_ms, now);
            }
        }
        self.reader.add_splits(splits)?;
        self.pause_splits();
        Ok(())
    }

    /// The operator in its plan.
    pub fn operator(&self) -> OperatorId {
        self.operator
    }

    /// The operator, as checkpoints know it.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// What the source keeps at a barrier: its splits behind the last row handed on, and how far the
    /// watermark was raised.
    pub fn snapshot(&self, snapshot: &mut Snapshot) -> Vec<SplitPosition> {
        let watermarks = self.watermarks.as_ref().map(|watermarks| &watermarks.splits);
        if let Some(watermarks) = watermarks {
            snapshot.put_i64(RAISED, watermarks.raised());
        }
        let position = |split: Split| SplitPosition {
            watermark_ms: watermarks.and_then(|watermarks| watermarks.of_split(&split.id)),
            id: split.id,
            state: split.state,
        };
        self.reader.snapshot().into_iter().map(position).collect()
    }

    /// Goes on where a checkpoint was taken. Its splits come like all others, from the job manager.
    pub fn restore(&mut self, state: &RestoredState) {
        let Some(watermarks) = &mut self.watermarks else { return };
        let raised = |of: Option<SubtaskIndex>| {
            let old = state.values.iter().filter(|(subtask, _)| of.is_none_or(|of| of == *subtask));
            old.filter_map(|(_, values)| RestoredState::i64_of(values, RAISED)).min()
        };
        // The same reader gets the same splits; with other readers the lowest is right for all.
        let same = state.values.len() == state.parallelism as usize;
        if let Some(raised) = raised(same.then_some(state.subtask)) {
            watermarks.splits.restore(raised);
        }
    }

    /// A checkpoint with these positions is complete.
    pub fn checkpoint_complete(&mut self, positions: &[SplitPosition]) {
        self.reader.checkpoint_complete(&splits_of(positions));
    }

    /// Splits of this alignment group wait beyond the watermark `bound`.
    pub fn align(&mut self, group: &str, bound: i64) {
        if let Some(watermarks) = &mut self.watermarks
            && watermarks.spec.alignment.as_ref().is_some_and(|alignment| alignment.group == group)
        {
            watermarks.splits.set_bound(bound);
            self.pause_splits();
        }
    }

    /// Time that passes only while the source is free to read: a split is not silent because those who
    /// take its rows are slow.
    fn clock(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.task_metrics.backpressured())
    }

    fn pause_splits(&mut self) {
        if let Some(watermarks) = &mut self.watermarks {
            for (split, paused) in watermarks.splits.pauses() {
                self.reader.set_paused(&split, paused);
            }
        }
    }

    /// Reads once. Waits at most `timeout`, and only if nothing is there.
    pub fn step(&mut self, timeout: Duration, chain: &mut Chain) -> Result<Step, OperatorError> {
        let mut polled = self.reader.poll(Duration::ZERO)?;
        if matches!(polled, SourcePoll::Pending) && !timeout.is_zero() {
            let Self { reader, task_metrics, .. } = self;
            polled = task_metrics.waiting(Wait::Idle, || reader.poll(timeout.min(POLL_WAIT_MAX)))?;
        }
        let step = match polled {
            SourcePoll::Rows { split, records } => {
                self.rows(&split, records, chain)?;
                Step::Rows
            }
            SourcePoll::Pending => Step::Pending,
            SourcePoll::SplitFinished(split) => {
                if let Some(watermarks) = &mut self.watermarks {
                    watermarks.splits.finish(&split);
                }
                Step::Rows
            }
            SourcePoll::NoSplits if self.no_more => Step::Ended,
            SourcePoll::NoSplits => {
                if !std::mem::replace(&mut self.requested, true) {
                    (self.request)();
                }
                Step::NeedsMail
            }
        };
        self.advance(step == Step::Rows, chain)?;
        Ok(step)
    }

    /// Hands on the watermark and idleness, as far as they have changed.
    fn advance(&mut self, hot: bool, chain: &mut Chain) -> Result<(), OperatorError> {
        let now = self.clock();
        let Some(watermarks) = &mut self.watermarks else { return Ok(()) };
        if let Some(timeout) = watermarks.spec.idle_timeout_ms {
            watermarks.splits.find_idle(Duration::from_millis(timeout.max(1) as u64), now);
        }
        let changed = watermarks.splits.idle_changed();
        if changed == Some(false) {
            chain.idle(false)?;
        }
        // A bounded source that has more to read at once does not look at the clock, so that its
        // result does not depend on it.
        let interval = Duration::from_millis(watermarks.spec.interval_ms.max(1) as u64);
        let due = (!hot || !self.bounded) && watermarks.last_periodic.elapsed() >= interval;
        let watermark = if due {
            watermarks.last_periodic = Instant::now();
            self.task_metrics.set_holding_split(watermarks.splits.holding());
            watermarks.splits.periodic()
        } else {
            watermarks.splits.after_batch()
        };
        if let Some(watermark) = watermark {
            self.task_metrics.set_watermark(Watermark(watermark));
            chain.watermark(Watermark(watermark))?;
        }
        if changed == Some(true) {
            chain.idle(true)?;
        }
        let splitless = watermarks.splits.is_empty() && !self.bounded && now >= NO_SPLIT_IDLE;
        if splitless && !self.splitless {
            self.splitless = true;
            chain.idle(true)?;
        }
        if watermarks.last_told.is_none_or(|told| told.elapsed() >= SPLITS_TOLD) {
            watermarks.last_told = Some(Instant::now());
            self.task_metrics.set_splits(watermarks.splits.statuses(SPLITS_TOLD_MAX));
        }
        if watermarks.spec.alignment.is_some() {
            self.task_metrics.set_alignment_watermark(watermarks.splits.lowest());
        }
        self.pause_splits();
        Ok(())
    }

    fn rows(&mut self, split: &SplitId, records: RecordBatch, chain: &mut Chain) -> Result<(), OperatorError> {
        let rows = records.num_rows();
        self.metrics.count_in(rows);
        let context = EvalContext { now_ms: system_clock(), zone: self.zone };
        let failed = |reason: String| OperatorError::Evaluation { operator: self.name.clone(), reason };
        let columns = match &self.computed {
            Some(program) => program.evaluate(&records, &context).map_err(|error| failed(error.reason))?,
            None => records.columns().to_vec(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| OperatorError::Internal { operator: self.name.clone(), reason: error.to_string() })?;
        self.cuts.clear();
        if let Some(watermarks) = &mut self.watermarks {
            let times = records.column(watermarks.spec.rowtime).as_primitive::<TimestampMillisecondType>();
            if times.null_count() > 0 {
                let column = self.schema.field(watermarks.spec.rowtime).name();
                return Err(failed(format!(
                    "the row time column '{column}' is NULL in a row; filter such rows out before, or give the column \
                     a value with COALESCE in a computed column"
                )));
            }
            let values = watermarks.program.evaluate(&records, &context).map_err(|error| failed(error.reason))?;
            let values = values[0].as_primitive::<TimestampMillisecondType>();
            let now = self.started.elapsed().saturating_sub(self.task_metrics.backpressured());
            if values.null_count() == 0 {
                let rows = times.values().iter().zip(values.values()).map(|(time, value)| (*time, Some(*value)));
                watermarks.splits.rows(split, rows, now, &mut self.cuts);
            } else {
                let rows = times.values().iter().copied().zip(values.iter());
                watermarks.splits.rows(split, rows, now, &mut self.cuts);
            }
            if watermarks.splits.idle_changed() == Some(false) {
                chain.idle(false)?;
            }
        }
        let mut start = 0;
        for cut in std::mem::take(&mut self.cuts) {
            let before = records.slice(start, cut.row - start);
            chain.downstream(Some(&self.metrics)).emit(Batch::insert(before))?;
            self.task_metrics.set_watermark(Watermark(cut.watermark));
            chain.watermark(Watermark(cut.watermark))?;
            start = cut.row;
        }
        chain.downstream(Some(&self.metrics)).emit(Batch::insert(records.slice(start, rows - start)))
    }
}
