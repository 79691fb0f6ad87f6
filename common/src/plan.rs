//! The stream plan: a typed graph of operators, made by the planner from SQL or from the
//! DataStream API, executed by the task managers, and kept (as versioned JSON) by the job manager
//! and in savepoints.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, FunctionId};
use crate::ids::{OperatorId, StateId};
use crate::types::{DataType, LogicalType, Schema};

/// Version of the plan's encoding. A reader refuses what is newer.
pub const PLAN_VERSION: u32 = 1;

/// A whole job. Operators are in topological order: inputs have smaller ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamPlan {
    pub version: u32,
    /// What the user called the job (`pipeline.name`) or `insert-into_<tables>`.
    pub name: String,
    pub operators: Vec<PlanOperator>,
    /// The session's options (`SET`), all validated.
    pub options: BTreeMap<String, String>,
    pub max_parallelism: u32,
}

/// One operator of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanOperator {
    pub id: OperatorId,
    /// Stable across resubmissions: derived from the normalised sub-plan or set by the user.
    pub uid: String,
    /// For people, as in Flink: `Calc(select=[...])`.
    pub name: String,
    pub kind: OperatorKind,
    pub inputs: Vec<PlanEdge>,
    /// The rows this operator emits. Empty for sinks.
    pub schema: Schema,
    pub parallelism: u32,
    pub changelog: ChangelogMode,
    /// Columns that identify a row of an upsert stream.
    pub upsert_key: Option<Vec<usize>>,
    pub state: Vec<StateDescriptor>,
}

/// Where an operator's input comes from and how rows are routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanEdge {
    pub from: OperatorId,
    pub partitioning: Partitioning,
}

/// How rows are routed to the subtasks of the receiving operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partitioning {
    /// Subtask i to subtask i. Needs equal parallelism.
    Forward,
    /// By the key group of the key columns' hash.
    Hash { keys: Vec<usize> },
    /// Batch after batch, round robin.
    Rebalance,
    /// Every row to every subtask.
    Broadcast,
    /// All to subtask 0.
    Global,
}

/// Which row kinds a stream may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangelogMode {
    InsertOnly,
    /// `+I`, `+U`, `-D`, by upsert key.
    Upsert,
    /// `+I`, `-U`, `+U`, `-D`.
    Retract,
}

/// A state an operator keeps, known before the job starts so that ids are allocated once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateDescriptor {
    /// Allocated by the job manager at first submission and kept in checkpoint metadata.
    pub id: Option<StateId>,
    /// Unique within the operator, such as `window-aggregate`.
    pub name: String,
    pub kind: StateKind,
    pub key: Vec<DataType>,
    /// The namespace below the key: the slice or window end for windows.
    pub namespace: Option<DataType>,
    pub value: Schema,
    pub ttl_ms: Option<i64>,
    /// Version of the value's layout.
    pub version: u16,
}

/// The shape of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKind {
    Value,
    Map,
    List,
    Timers,
    /// Split positions of a source.
    Splits,
}

/// What an operator does.
#[expect(clippy::large_enum_variant, reason = "a plan has few operators, and they are not moved about")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperatorKind {
    Source(SourceSpec),
    Calc(CalcSpec),
    /// Merges its inputs, which all have its schema.
    Union,
    /// A window table function that is not aggregated: appends `window_start`, `window_end`,
    /// `window_time` to each row, once per window the row is in.
    WindowTableFunction(WindowSpec),
    WindowAggregate(WindowAggregateSpec),
    /// Joins the rows of two inputs that are in the same window.
    WindowJoin(WindowJoinSpec),
    /// Joins each row with the rows that a table function makes of it.
    Correlate(CorrelateSpec),
    /// Rows in order, when the input has ended.
    Sort(SortSpec),
    /// Some of the rows, in the order of their arrival.
    Limit(RowRange),
    /// Each row as often as a BIGINT column says; not at all if that is NULL or not positive.
    ReplicateRows {
        times: usize,
    },
    Sink(SinkSpec),
}

/// A table as its connector sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    /// As the user wrote it, for messages.
    pub name: String,
    /// Value of `'connector'`.
    pub connector: String,
    /// All options of the table, `'connector'` included, as written. Never show the value of one
    /// for which [`crate::config::is_secret`] holds.
    pub options: BTreeMap<String, String>,
    /// The physical columns (no computed, no metadata columns).
    pub schema: Schema,
    /// Columns of the primary key, by position in `schema`.
    pub primary_key: Vec<usize>,
    /// Columns of PARTITIONED BY, in its order, by position in `schema`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_keys: Vec<usize>,
}

/// A source: read and decode, compute columns, assign watermarks. Watermarks are kept per split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSpec {
    pub table: TableSpec,
    /// Physical columns that are read, by position in `table.schema`, ascending. Nothing else is
    /// materialised by the decoder.
    pub projection: Vec<usize>,
    /// If not empty, the emitted columns, over the projected physical columns and the metadata behind
    /// them. Computed and reordered columns stand here.
    pub computed: Vec<Expr>,
    pub watermark: Option<WatermarkSpec>,
    /// What the reader appends to the projected columns: where and when each record was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<MetadataColumn>,
    /// Which partitions are asked for; `None` for all. Rows are filtered once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_filter: Option<PartitionFilter>,
}

/// A condition on the partition columns of a table. Partitions for which it is not TRUE need not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionFilter {
    /// Over `table.partition_keys`, in their order.
    pub condition: Expr,
    /// IANA name of the session zone.
    pub zone: String,
}

/// A piece of metadata that a connector has of each record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetadataColumn {
    /// The connector's name for it, such as `timestamp`.
    pub key: String,
    pub data_type: DataType,
}

/// `WATERMARK FOR <rowtime> AS <expression>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatermarkSpec {
    /// Column of the source's emitted schema.
    pub rowtime: usize,
    /// The watermark of a row, over the source's emitted schema; TIMESTAMP(3) or TIMESTAMP_LTZ(3).
    pub expression: Expr,
    /// Event-time step by which the watermark is raised inside the stream of rows
    /// (`pipeline.auto-watermark-interval`), in milliseconds.
    pub interval_ms: i64,
    /// `scan.watermark.idle-timeout`: a split silent for so long is set aside.
    pub idle_timeout_ms: Option<i64>,
    /// `scan.watermark.alignment.*`.
    pub alignment: Option<AlignmentSpec>,
}

/// Sources of one group wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlignmentSpec {
    pub group: String,
    pub max_drift_ms: i64,
    pub update_interval_ms: i64,
}

/// Filter, then project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalcSpec {
    pub filter: Option<Expr>,
    /// The emitted columns, over the input's.
    pub projection: Vec<Expr>,
}

/// Calls a table function for every row. Emits for each row that it gives the kept columns of the input, then
/// the function's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrelateSpec {
    pub function: TableFunction,
    /// Columns of the input that are the function's arguments.
    pub args: Vec<usize>,
    /// Columns of the input that are emitted.
    pub kept: Vec<usize>,
    /// A row for which the function gives nothing is emitted once, with NULLs.
    pub outer: bool,
}

/// What makes several rows of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableFunction {
    /// The elements of an array (of those that are rows, their fields), the keys and values of a map, the
    /// members of a multiset as often as they are in it; with `ordinality` and their number from 1.
    Unnest { ordinality: bool },
    /// One of the user's own, which the binary must have.
    Own(FunctionId),
}

/// Windows over a time attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSpec {
    pub kind: WindowKind,
    pub time: WindowTime,
}

/// Shapes of windows; all lengths in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowKind {
    Tumble {
        size_ms: i64,
        offset_ms: i64,
    },
    Hop {
        size_ms: i64,
        slide_ms: i64,
        offset_ms: i64,
    },
    Cumulate {
        max_size_ms: i64,
        step_ms: i64,
        offset_ms: i64,
    },
    /// A window a key that ends after `gap_ms` of silence.
    Session {
        gap_ms: i64,
    },
    /// The input already carries its window, from an earlier window operator.
    Attached {
        start: usize,
        end: usize,
    },
    /// One window for all rows, which ends with the input. It has no columns.
    Whole,
}

/// What the windows are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowTime {
    /// A row-time column of the input: TIMESTAMP(3), or TIMESTAMP_LTZ(3) whose windows align with
    /// the session zone.
    RowTime {
        column: usize,
        /// IANA name of the session zone if the column is TIMESTAMP_LTZ, else `None`.
        zone: Option<String>,
    },
    /// The clock of the task manager; windows align with the session zone.
    ProcessingTime { zone: String },
    /// No time: the end of the input. For [`WindowKind::Whole`].
    Input,
}

/// Aggregates rows per window and key.
///
/// Emits, in this order: the key columns, one column per call, then `window_start`, `window_end`
/// (TIMESTAMP(3)) and `window_time` (TIMESTAMP(3) or TIMESTAMP_LTZ(3); the last millisecond of the
/// window). A `Local` phase emits: the key columns, the accumulator columns of each call
/// (`tidemill-state` says their types), and the slice end (BIGINT, milliseconds). Of
/// [`WindowKind::Whole`], which is GROUP BY in batch mode, neither has columns of the window; without keys
/// there is one row, also of no input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregateSpec {
    pub window: WindowSpec,
    /// Columns of the input. For `Global`, positions in the local phase's output.
    pub keys: Vec<usize>,
    /// Arguments are columns of the raw input. For `Global` they are not looked at, as accumulator
    /// columns follow the keys in order of the calls.
    pub calls: Vec<AggregateCall>,
    pub phase: AggregatePhase,
    /// `table.exec.emit.allow-lateness`; with it a window may fire again and the output is upsert.
    pub allowed_lateness_ms: i64,
}

/// Joins the rows of its two inputs that are in the same window, when the window ends; of all rows, when the
/// inputs have ended, if `time` is [`WindowTime::Input`]. Emits the columns
/// of the left, then those of the right; of a semi or anti join those of the left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowJoinSpec {
    pub kind: JoinKind,
    pub left: WindowJoinSide,
    pub right: WindowJoinSide,
    /// What the windows are over: row time, whose column does not count, or nothing.
    pub time: WindowTime,
    /// What else must hold of two rows, over the columns of both.
    pub condition: Option<Expr>,
}

/// An input of a window join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowJoinSide {
    /// Columns of the window: TIMESTAMP(3). They do not count where all rows are joined.
    pub start: usize,
    pub end: usize,
    /// Columns that must be equal to those of the other side, in order, of the same types.
    pub keys: Vec<usize>,
}

/// Orders rows. One subtask, unless it only leaves the first rows to another one behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortSpec {
    /// The most significant first; at least one.
    pub keys: Vec<SortKey>,
    /// Of the rows in order.
    pub rows: RowRange,
}

/// A column by which rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// `OFFSET` and `FETCH` (or `LIMIT`): which rows go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange {
    /// So many are left out first.
    pub offset: u64,
    /// So many go on then; all others without it.
    pub fetch: Option<u64>,
}

impl RowRange {
    /// How many rows it takes to know those that go on.
    pub fn end(&self) -> Option<u64> {
        self.fetch.map(|fetch| self.offset.saturating_add(fetch))
    }
}

/// Which rows a join emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    /// Also rows of the left without a partner, with NULLs.
    Left,
    /// Also rows of the right without a partner.
    Right,
    Full,
    /// Rows of the left that have a partner, once.
    Semi,
    /// Rows of the left that have none.
    Anti,
}

/// Which part of a split aggregation an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregatePhase {
    /// All of it.
    Single,
    /// Before the exchange: emits accumulators per (key, slice).
    Local,
    /// After the exchange: merges accumulators.
    Global,
}

/// One aggregate of a SELECT list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Input columns. Empty for `COUNT(*)`.
    pub args: Vec<usize>,
    /// Types of `args`.
    pub arg_types: Vec<DataType>,
    pub distinct: bool,
    /// `FILTER (WHERE ...)`: a BOOLEAN column of the input.
    pub filter: Option<usize>,
    pub return_type: DataType,
}

impl AggregateCall {
    /// Whether DISTINCT makes it keep a set of values beside its own accumulator. Others do not care how often
    /// a value comes, or keep all values anyway.
    pub fn needs_set(&self) -> bool {
        use AggregateFunction as F;
        self.distinct
            && matches!(
                self.function,
                F::Count
                    | F::Sum
                    | F::Avg
                    | F::Variance { .. }
                    | F::ApproxCountDistinct
                    | F::Percentile { .. }
                    | F::Own(_)
            )
    }
}

/// Aggregate functions. Sums and averages keep the type, as in Flink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// Rows, or rows whose argument is not NULL. BIGINT.
    Count,
    /// Integers keep their type and wrap; DECIMAL(p, s) gives DECIMAL(38, s), NULL on overflow.
    Sum,
    Avg,
    Min,
    Max,
    /// BIGINT, by HyperLogLog++.
    ApproxCountDistinct,
    /// Exact, with linear interpolation: `PERCENTILE(x, p)`; several fractions give an array.
    Percentile {
        fractions: Vec<f64>,
        array: bool,
    },
    /// `VAR_POP`, or of a sample (`VAR_SAMP`), or the root of it (`STDDEV_POP`, `STDDEV_SAMP`).
    Variance {
        sample: bool,
        root: bool,
    },
    /// The value that came first, of those that are not NULL.
    FirstValue,
    LastValue,
    /// Texts in the order of their arrival.
    ListAgg {
        separator: String,
    },
    ArrayAgg {
        ignore_nulls: bool,
    },
    /// How often each value is there: a MULTISET.
    Collect,
    /// Arguments are JSON texts.
    JsonArrayAgg {
        absent_on_null: bool,
    },
    /// Arguments are a name and a JSON text.
    JsonObjectAgg {
        absent_on_null: bool,
    },
    /// One of the user's own, which the binary must have.
    Own(FunctionId),
}

/// Writes rows to a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkSpec {
    pub table: TableSpec,
    /// What arrives.
    pub changelog: ChangelogMode,
}

impl OperatorKind {
    /// The expressions that the operator evaluates.
    fn expressions(&self) -> Vec<&Expr> {
        match self {
            Self::Source(source) => source
                .computed
                .iter()
                .chain(source.watermark.as_ref().map(|watermark| &watermark.expression))
                .chain(source.partition_filter.as_ref().map(|filter| &filter.condition))
                .collect(),
            Self::Calc(calc) => calc.filter.iter().chain(&calc.projection).collect(),
            Self::WindowJoin(join) => join.condition.iter().collect(),
            Self::Union
            | Self::WindowTableFunction(_)
            | Self::WindowAggregate(_)
            | Self::Correlate(_)
            | Self::Sort(_)
            | Self::Limit(_)
            | Self::ReplicateRows { .. }
            | Self::Sink(_) => Vec::new(),
        }
    }
}

impl StreamPlan {
    /// The operator with this id.
    ///
    /// # Panics
    /// If the plan has no such operator: ids come from the plan itself.
    pub fn operator(&self, id: OperatorId) -> &PlanOperator {
        &self.operators[id.0 as usize]
    }

    /// The same plan at another parallelism: that of every operator that has the job's present one.
    /// Operators with a parallelism of their own (`scan.parallelism`, `sink.parallelism`) keep it.
    ///
    /// # Errors
    /// If there are fewer key groups, or an operator cannot keep its own parallelism beside its neighbours.
    pub fn rescaled(&self, parallelism: u32) -> Result<Self, PlanError> {
        if parallelism == 0 || parallelism > self.max_parallelism {
            return Err(PlanError::Parallelism { parallelism, max: self.max_parallelism });
        }
        let present = self.operators.iter().map(|operator| operator.parallelism).max().unwrap_or(1);
        let mut plan = self.clone();
        for operator in plan.operators.iter_mut().filter(|operator| operator.parallelism == present) {
            operator.parallelism = parallelism;
        }
        for index in 0..plan.operators.len() {
            for edge in 0..plan.operators[index].inputs.len() {
                let PlanEdge { from, partitioning } = plan.operators[index].inputs[edge].clone();
                let equal = plan.operator(from).parallelism == plan.operators[index].parallelism;
                if partitioning == Partitioning::Forward && !equal {
                    plan.operators[index].inputs[edge].partitioning = Partitioning::Rebalance;
                }
            }
        }
        plan.check()?;
        Ok(plan)
    }

    /// The plan as it is persisted and sent.
    pub fn to_json(&self) -> Result<Vec<u8>, PlanError> {
        serde_json::to_vec(self).map_err(PlanError::Encode)
    }

    /// Reads a plan and checks what execution relies on: version, order and bounds.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(PlanError::Decode)?;
        if version > PLAN_VERSION {
            return Err(PlanError::NewerVersion { version });
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(PlanError::Decode)?;
        plan.check()?;
        Ok(plan)
    }

    /// Every expression of the plan, operator by operator.
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.operators.iter().flat_map(|operator| operator.kind.expressions())
    }

    fn check(&self) -> Result<(), PlanError> {
        let broken = |operator: usize, what: &'static str| Err(PlanError::Broken { operator, what });
        if self.operators.len() > crate::limits::PLAN_OPERATORS_MAX {
            return broken(self.operators.len(), "too many operators");
        }
        if self.max_parallelism == 0 || self.max_parallelism > crate::limits::PARALLELISM_MAX {
            return broken(0, "max-parallelism out of range");
        }
        for (index, operator) in self.operators.iter().enumerate() {
            if operator.id.0 as usize != index {
                return broken(index, "ids are not consecutive");
            }
            if operator.parallelism == 0 || operator.parallelism > self.max_parallelism {
                return broken(index, "parallelism is 0 or above max-parallelism");
            }
            for edge in &operator.inputs {
                if edge.from.0 as usize >= index {
                    return broken(index, "an input does not come before its operator");
                }
                if let Partitioning::Hash { keys } = &edge.partitioning
                    && keys.iter().any(|key| *key >= self.operator(edge.from).schema.len())
                {
                    return broken(index, "a key column does not exist");
                }
            }
        }
        Ok(())
    }
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the plan cannot be encoded: {0}")]
    Encode(#[source] serde_json::Error),
    #[error("the plan cannot be decoded: {0}")]
    Decode(#[source] serde_json::Error),
    #[error("the plan has version {version}, this binary reads up to {PLAN_VERSION}; use a newer tidemill")]
    NewerVersion { version: u32 },
    #[error(
        "the parallelism {parallelism} is not 1 to {max}, the number of key groups (pipeline.max-parallelism), which a job keeps for good"
    )]
    Parallelism { parallelism: u32, max: u32 },
    #[error("the plan is damaged at operator {operator}: {what}")]
    Broken { operator: usize, what: &'static str },
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward => f.write_str("forward"),
            Self::Hash { keys } => write!(f, "hash{keys:?}"),
            Self::Rebalance => f.write_str("rebalance"),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Global => f.write_str("global"),
        }
    }
}

impl fmt::Display for ChangelogMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsertOnly => "insert-only",
            Self::Upsert => "upsert",
            Self::Retract => "retract",
        })
    }
}

/// Types of the accumulator columns of a call that can be aggregated in two phases: what the local
/// phase sends to the global one. `None` if the call must see all rows of a group in one place.
pub fn accumulator_types(call: &AggregateCall) -> Option<Vec<DataType>> {
    if call.needs_set() {
        return None;
    }
    let argument = call.arg_types.first().map(|data_type| data_type.logical.clone());
    let count = LogicalType::BigInt.nullable();
    let sum = || match &argument {
        Some(LogicalType::Float | LogicalType::Double) => LogicalType::Double.nullable(),
        Some(LogicalType::Decimal(_, scale)) => LogicalType::Decimal(38, *scale).nullable(),
        _ => LogicalType::BigInt.nullable(),
    };
    match call.function {
        AggregateFunction::Count => Some(vec![count]),
        AggregateFunction::Sum => Some(vec![sum()]),
        AggregateFunction::Avg => Some(vec![sum(), count]),
        AggregateFunction::Min | AggregateFunction::Max => argument.map(|argument| vec![argument.nullable()]),
        AggregateFunction::Variance { .. } => {
            let double = LogicalType::Double.nullable();
            Some(vec![count, double.clone(), double])
        }
        // Encoded as its author says.
        AggregateFunction::Own(_) => Some(vec![LogicalType::BYTES.nullable()]),
        AggregateFunction::ApproxCountDistinct
        | AggregateFunction::Percentile { .. }
        | AggregateFunction::FirstValue
        | AggregateFunction::LastValue
        | AggregateFunction::ListAgg { .. }
        | AggregateFunction::ArrayAgg { .. }
        | AggregateFunction::Collect
        | AggregateFunction::JsonArrayAgg { .. }
        | AggregateFunction::JsonObjectAgg { .. } => None,
    }
}
