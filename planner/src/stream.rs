//! From relations to the stream plan: operators, parallelism, exchanges, phases, state.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_common::config::{Options, is_batch};
use tidemill_common::connector::{ConnectorCatalog, TableError};
use tidemill_common::expr::Expr;
use tidemill_common::hash::hash_bytes;
use tidemill_common::ids::OperatorId;
use tidemill_common::key_group::default_max_parallelism;
use tidemill_common::limits::{PARALLELISM_MAX, PLAN_OPERATORS_MAX};
use tidemill_common::plan::{
    AggregateCall, AggregatePhase, CalcSpec, ChangelogMode, CorrelateSpec, MetadataColumn, OperatorKind, PLAN_VERSION,
    PartitionFilter, Partitioning, PlanEdge, PlanOperator, RowRange, SinkSpec, SortKey, SortSpec, SourceSpec,
    StateDescriptor, StateKind, StreamPlan, TableSpec, WatermarkSpec, WindowAggregateSpec, WindowJoinSpec, WindowKind,
    WindowSpec, WindowTime, accumulator_types,
};
use tidemill_common::types::{Field, LogicalType, Schema};

use crate::diagnostic::SqlError;
use crate::explain::operator_name;
use crate::rel::{Rel, RelOp};
use crate::table::Table;

/// Builds the plan of one job.
pub struct StreamPlanner<'a> {
    connectors: &'a dyn ConnectorCatalog,
    options: &'a BTreeMap<String, String>,
    parallelism: u32,
    operators: Vec<PlanOperator>,
    /// Operators by what they do and read, so that equal sub-plans are one.
    known: BTreeMap<String, OperatorId>,
}

impl<'a> StreamPlanner<'a> {
    /// A planner for a job with these options.
    pub fn new(connectors: &'a dyn ConnectorCatalog, options: &'a BTreeMap<String, String>) -> Result<Self, SqlError> {
        let parallelism = ["table.exec.resource.default-parallelism", "parallelism.default"]
            .iter()
            .find_map(|key| Options(options).integer(key).filter(|value| *value > 0))
            .unwrap_or(1);
        let parallelism = checked_parallelism(parallelism)?;
        Ok(Self { connectors, options, parallelism, operators: Vec::new(), known: BTreeMap::new() })
    }

    /// Adds a query that ends in a sink.
    pub fn sink(&mut self, query: &Rel, table: TableSpec) -> Result<(), SqlError> {
        let input = self.relation(query)?;
        let from = &self.operators[input.0 as usize];
        let (changelog, upsert_key, parallelism) = (from.changelog, from.upsert_key.clone(), from.parallelism);
        let mut spec = SinkSpec { table, changelog };
        spec.changelog = self
            .connectors
            .sink_changelog(&spec, changelog)
            .map_err(|error| SqlError::general(format!("table '{}': {}", spec.table.name, error.message)))?;
        let parallelism = match Options(&spec.table.options).integer("sink.parallelism") {
            Some(own) => checked_parallelism(own)?,
            None => parallelism,
        };
        let parallelism = match self.connectors.sink_parallelism_max(&spec.table) {
            Some(most) => parallelism.min(most),
            None => parallelism,
        };
        // Updates of one row must meet in one subtask, in order.
        let set = |key: &[usize]| key.iter().copied().collect::<BTreeSet<usize>>();
        let keyed = changelog != ChangelogMode::InsertOnly
            && !spec.table.primary_key.is_empty()
            && upsert_key.is_none_or(|key| set(&key) != set(&spec.table.primary_key));
        let partitioning = if keyed {
            Partitioning::Hash { keys: spec.table.primary_key.clone() }
        } else {
            self.direct(input, parallelism)
        };
        self.add(
            OperatorKind::Sink(spec),
            vec![PlanEdge { from: input, partitioning }],
            Schema::default(),
            parallelism,
            changelog,
            None,
            Vec::new(),
        )?;
        Ok(())
    }

    /// The finished plan.
    pub fn finish(self, name: String) -> Result<StreamPlan, SqlError> {
        let widest = self.operators.iter().map(|operator| operator.parallelism).max().unwrap_or(1);
        let max_parallelism = match Options(self.options).integer("pipeline.max-parallelism").filter(|max| *max > 0) {
            Some(max) => checked_parallelism(max)?,
            None => default_max_parallelism(widest),
        };
        if widest > max_parallelism {
            return Err(SqlError::general(format!(
                "parallelism {widest} is above 'pipeline.max-parallelism' = {max_parallelism}"
            )));
        }
        Ok(StreamPlan {
            version: PLAN_VERSION,
            name,
            operators: self.operators,
            options: self.options.clone(),
            max_parallelism,
        })
    }

    fn relation(&mut self, rel: &Rel) -> Result<OperatorId, SqlError> {
        match &*rel.op {
            RelOp::Scan(table) => self.scan(table),
            RelOp::OneRow => self.one_row(),
            RelOp::Calc { input, filter, projection } => {
                let input = self.relation(input)?;
                let from = &self.operators[input.0 as usize];
                let (parallelism, changelog) = (from.parallelism, from.changelog);
                // Of a row that no longer passes the filter the last version would stay for ever.
                if changelog != ChangelogMode::InsertOnly
                    && let Some(filter) = filter
                    && !from.upsert_key.as_ref().is_some_and(|key| filter.columns().iter().all(|at| key.contains(at)))
                {
                    return Err(SqlError::general(
                        "WHERE or HAVING over results that update is not supported yet, but for conditions on the keys and the window",
                    )
                    .with_hint("filter before the aggregation, or set 'table.exec.emit.allow-lateness' to 0"));
                }
                let upsert_key = from.upsert_key.as_ref().and_then(|key| {
                    let position = |key: &usize| {
                        projection.iter().position(|expr| matches!(expr, Expr::Column { index, .. } if index == key))
                    };
                    key.iter().map(position).collect::<Option<Vec<usize>>>()
                });
                let kind = OperatorKind::Calc(CalcSpec { filter: filter.clone(), projection: projection.clone() });
                self.add(kind, vec![forward(input)], schema(rel), parallelism, changelog, upsert_key, Vec::new())
            }
            RelOp::Union { inputs } => {
                let inputs = inputs.iter().map(|input| self.relation(input)).collect::<Result<Vec<_>, _>>()?;
                let parallelism =
                    inputs.iter().map(|input| self.operators[input.0 as usize].parallelism).max().unwrap_or(1);
                if inputs.iter().any(|i| self.operators[i.0 as usize].changelog != ChangelogMode::InsertOnly) {
                    return Err(SqlError::general("UNION ALL of updating queries is not supported yet"));
                }
                let edges = inputs
                    .into_iter()
                    .map(|from| PlanEdge { from, partitioning: self.direct(from, parallelism) })
                    .collect();
                self.add(OperatorKind::Union, edges, schema(rel), parallelism, ChangelogMode::InsertOnly, None, vec![])
            }
            RelOp::Correlate { input, function, args, kept, outer } => {
                let input = self.relation(input)?;
                self.insert_only(input, "a table function")?;
                let parallelism = self.operators[input.0 as usize].parallelism;
                let kind = OperatorKind::Correlate(CorrelateSpec {
                    function: function.clone(),
                    args: args.clone(),
                    kept: kept.clone(),
                    outer: *outer,
                });
                let mode = ChangelogMode::InsertOnly;
                self.add(kind, vec![forward(input)], schema(rel), parallelism, mode, None, Vec::new())
            }
            RelOp::WindowTableFunction { input, kind, over } => {
                if matches!(kind, WindowKind::Session { .. }) {
                    return Err(SqlError::general("SESSION without an aggregation over it is not supported yet"));
                }
                let input = self.relation(input)?;
                let parallelism = self.operators[input.0 as usize].parallelism;
                self.insert_only(input, "a window")?;
                let kind = OperatorKind::WindowTableFunction(WindowSpec { kind: kind.clone(), time: over.clone() });
                let (edges, mode) = (vec![forward(input)], ChangelogMode::InsertOnly);
                self.add(kind, edges, schema(rel), parallelism, mode, None, Vec::new())
            }
            RelOp::WindowJoin { left, right, kind, sides, over, condition } => {
                let spec = WindowJoinSpec {
                    kind: *kind,
                    left: sides[0].clone(),
                    right: sides[1].clone(),
                    time: over.clone(),
                    condition: condition.clone(),
                };
                self.window_join(rel, left, right, spec)
            }
            RelOp::ReplicateRows { input, times } => {
                let from = self.relation(input)?;
                let parallelism = self.operators[from.0 as usize].parallelism;
                let (kind, mode) = (OperatorKind::ReplicateRows { times: *times }, ChangelogMode::InsertOnly);
                self.add(kind, vec![forward(from)], schema(rel), parallelism, mode, None, Vec::new())
            }
            RelOp::Sort { input, keys, rows } => self.sort(rel, input, keys, *rows),
            RelOp::WindowAggregate { input, kind, over, keys, calls } => {
                let window = WindowSpec { kind: kind.clone(), time: over.clone() };
                self.window_aggregate(rel, input, window, keys, calls)
            }
        }
    }

    /// Order is that of one subtask. Where only the first rows go on, those before it leave it no more.
    fn sort(&mut self, rel: &Rel, input: &Rel, keys: &[SortKey], rows: RowRange) -> Result<OperatorId, SqlError> {
        let kind = |rows: RowRange| match keys {
            [] => OperatorKind::Limit(rows),
            keys => OperatorKind::Sort(SortSpec { keys: keys.to_vec(), rows }),
        };
        let mode = ChangelogMode::InsertOnly;
        let mut from = self.relation(input)?;
        self.insert_only(from, "ORDER BY or LIMIT")?;
        let parallelism = self.operators[from.0 as usize].parallelism;
        if let (true, Some(end)) = (parallelism > 1, rows.end()) {
            let first = kind(RowRange { offset: 0, fetch: Some(end) });
            from = self.add(first, vec![forward(from)], schema(rel), parallelism, mode, None, Vec::new())?;
        }
        let edge = PlanEdge { from, partitioning: Partitioning::Global };
        self.add(kind(rows), vec![edge], schema(rel), 1, mode, None, Vec::new())
    }

    fn window_join(
        &mut self,
        rel: &Rel,
        left: &Rel,
        right: &Rel,
        spec: WindowJoinSpec,
    ) -> Result<OperatorId, SqlError> {
        let mut edges = Vec::new();
        for (input, side) in [(left, &spec.left), (right, &spec.right)] {
            let from = self.relation(input)?;
            self.insert_only(from, "a join")?;
            let keys = side.keys.clone();
            let partitioning = if keys.is_empty() { Partitioning::Global } else { Partitioning::Hash { keys } };
            edges.push(PlanEdge { from, partitioning });
        }
        let parallelism = if spec.left.keys.is_empty() { 1 } else { self.parallelism };
        let is_whole = spec.time == WindowTime::Input;
        let mut value = schema(left);
        value.fields.extend(schema(right).fields);
        let state = vec![StateDescriptor {
            id: None,
            name: if is_whole { "join" } else { "window-join" }.to_owned(),
            kind: StateKind::List,
            key: spec.left.keys.iter().map(|key| left.columns[*key].data_type.clone()).collect(),
            namespace: (!is_whole).then(|| LogicalType::BigInt.not_null()),
            value,
            ttl_ms: None,
            version: 1,
        }];
        let mode = ChangelogMode::InsertOnly;
        self.add(OperatorKind::WindowJoin(spec), edges, schema(rel), parallelism, mode, None, state)
    }

    /// The source of a single row without columns.
    fn one_row(&mut self) -> Result<OperatorId, SqlError> {
        let table = TableSpec {
            name: "values".to_owned(),
            connector: "values".to_owned(),
            options: BTreeMap::new(),
            schema: Schema::default(),
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        };
        let spec = SourceSpec {
            table,
            projection: Vec::new(),
            computed: Vec::new(),
            watermark: None,
            metadata: Vec::new(),
            partition_filter: None,
        };
        let mode = ChangelogMode::InsertOnly;
        self.add(OperatorKind::Source(spec), Vec::new(), Schema::default(), 1, mode, None, Vec::new())
    }

    fn scan(&mut self, table: &Table) -> Result<OperatorId, SqlError> {
        let fail = |error: TableError| {
            let option = table.options.iter().find(|option| Some(&option.key) == error.option.as_ref());
            let span = option.map_or(table.options_span, |option| option.value_span);
            SqlError::at(span, format!("table '{}': {}", table.spec.name, error.message))
        };
        self.connectors.check_source(&table.spec).map_err(fail)?;
        // Physical columns come first, metadata behind them.
        let used: Vec<usize> = {
            let mut used: Vec<usize> = table.values.iter().flat_map(Expr::columns).collect();
            used.sort_unstable();
            used.dedup();
            used
        };
        let physical = table.spec.schema.len();
        let projection: Vec<usize> = used.iter().copied().filter(|column| *column < physical).collect();
        let metadata: Vec<MetadataColumn> =
            used[projection.len()..].iter().map(|column| table.metadata[column - physical].clone()).collect();
        let position = |column: usize| used.iter().position(|known| *known == column).unwrap_or_default();
        let computed: Vec<_> = table
            .values
            .iter()
            .map(|value| value.map_columns(&mut |index, data_type| Expr::column(position(index), data_type.clone())))
            .collect();
        let plain = computed.len() == used.len()
            && computed
                .iter()
                .enumerate()
                .all(|(at, value)| matches!(value, Expr::Column { index, .. } if *index == at));
        let interval_ms =
            Options(self.options).duration("pipeline.auto-watermark-interval").map_or(200, |d| d.as_millis() as i64);
        let watermark = table.watermark.as_ref().map(|watermark| WatermarkSpec {
            rowtime: watermark.column,
            expression: watermark.expression.clone(),
            interval_ms,
            idle_timeout_ms: watermark.idle_timeout_ms,
            alignment: watermark.alignment.clone(),
        });
        let spec = SourceSpec {
            table: table.spec.clone(),
            projection,
            computed: if plain { Vec::new() } else { computed },
            watermark,
            metadata,
            partition_filter: table.partition_filter.clone().map(|condition| PartitionFilter {
                condition,
                zone: Options(self.options).text("table.local-time-zone").unwrap_or("UTC").to_owned(),
            }),
        };
        let schema = Schema::new(
            table.columns.iter().map(|column| Field::new(column.name.clone(), column.data_type.clone())).collect(),
        );
        let parallelism = match Options(&spec.table.options).integer("scan.parallelism") {
            Some(own) => checked_parallelism(own)?,
            None => self.parallelism,
        };
        let state = vec![StateDescriptor {
            id: None,
            name: "splits".to_owned(),
            kind: StateKind::Splits,
            key: Vec::new(),
            namespace: None,
            value: Schema::new(vec![Field::new("split", LogicalType::STRING.not_null())]),
            ttl_ms: None,
            version: 1,
        }];
        self.add(OperatorKind::Source(spec), Vec::new(), schema, parallelism, ChangelogMode::InsertOnly, None, state)
    }

    fn window_aggregate(
        &mut self,
        rel: &Rel,
        input: &Rel,
        window: WindowSpec,
        keys: &[usize],
        calls: &[AggregateCall],
    ) -> Result<OperatorId, SqlError> {
        let input_id = self.relation(input)?;
        self.insert_only(input_id, "a window aggregation")?;
        let input_schema = schema(input);
        // In batch mode no row is late.
        let allowed_lateness_ms = Options(self.options)
            .duration("table.exec.emit.allow-lateness")
            .filter(|_| !is_batch(self.options))
            .map_or(0, |lateness| lateness.as_millis() as i64);
        let is_whole = window.kind == WindowKind::Whole;
        let changelog = if allowed_lateness_ms > 0 { ChangelogMode::Upsert } else { ChangelogMode::InsertOnly };
        let window_at = keys.len() + calls.len();
        let window_key = [window_at, window_at + 1].into_iter().filter(|_| !is_whole);
        let upsert_key = Some((0..keys.len()).chain(window_key).collect());
        let parallelism = if keys.is_empty() { 1 } else { self.parallelism };
        let exchange = |keys: Vec<usize>| {
            if keys.is_empty() { Partitioning::Global } else { Partitioning::Hash { keys } }
        };
        let state = vec![StateDescriptor {
            id: None,
            name: if is_whole { "group-aggregate" } else { "window-aggregate" }.to_owned(),
            kind: StateKind::Map,
            key: keys.iter().map(|key| input_schema.fields[*key].data_type.clone()).collect(),
            namespace: (!is_whole).then(|| LogicalType::BigInt.not_null()),
            value: accumulator_schema(calls),
            ttl_ms: None,
            version: 1,
        }];
        let mut spec = WindowAggregateSpec {
            window,
            keys: keys.to_vec(),
            calls: calls.to_vec(),
            phase: AggregatePhase::Single,
            allowed_lateness_ms,
        };
        let from_parallelism = self.operators[input_id.0 as usize].parallelism;
        let single = from_parallelism == 1 && parallelism == 1;
        if !self.two_phase(&spec, single) {
            let edge = PlanEdge { from: input_id, partitioning: exchange(keys.to_vec()) };
            let kind = OperatorKind::WindowAggregate(spec);
            return self.add(kind, vec![edge], schema(rel), parallelism, changelog, upsert_key, state);
        }
        let mut local_fields: Vec<Field> = keys.iter().map(|key| input_schema.fields[*key].clone()).collect();
        local_fields.extend(accumulator_schema(calls).fields);
        if !is_whole {
            local_fields.push(Field::new("$slice_end", LogicalType::BigInt.not_null()));
        }
        let local = WindowAggregateSpec { phase: AggregatePhase::Local, ..spec.clone() };
        let local_id = self.add(
            OperatorKind::WindowAggregate(local),
            vec![forward(input_id)],
            Schema::new(local_fields.clone()),
            from_parallelism,
            ChangelogMode::InsertOnly,
            None,
            Vec::new(),
        )?;
        let meaning = format!("{:?}", OperatorKind::WindowAggregate(spec.clone()));
        let key_positions: Vec<usize> = (0..keys.len()).collect();
        spec.phase = AggregatePhase::Global;
        spec.keys.clone_from(&key_positions);
        if let WindowTime::RowTime { column, .. } = &mut spec.window.time {
            *column = local_fields.len() - 1;
        }
        let edge = PlanEdge { from: local_id, partitioning: exchange(key_positions) };
        self.add_as(
            &meaning,
            OperatorKind::WindowAggregate(spec),
            vec![edge],
            schema(rel),
            parallelism,
            changelog,
            upsert_key,
            state,
        )
    }

    /// Whether to aggregate before the exchange: where every call splits, over aligned event-time
    /// windows, and where there is an exchange at all.
    fn two_phase(&self, spec: &WindowAggregateSpec, single: bool) -> bool {
        let aligned = matches!(
            spec.window.kind,
            WindowKind::Tumble { .. } | WindowKind::Hop { .. } | WindowKind::Cumulate { .. }
        ) && matches!(spec.window.time, WindowTime::RowTime { .. });
        let splits = (aligned || spec.window.kind == WindowKind::Whole)
            && spec.calls.iter().all(|call| accumulator_types(call).is_some());
        match Options(self.options).text("table.optimizer.agg-phase-strategy").map(str::to_uppercase).as_deref() {
            Some("ONE_PHASE") => false,
            Some("TWO_PHASE") => splits,
            _ => splits && !single,
        }
    }

    fn insert_only(&self, input: OperatorId, what: &str) -> Result<(), SqlError> {
        if self.operators[input.0 as usize].changelog == ChangelogMode::InsertOnly {
            return Ok(());
        }
        Err(SqlError::general(format!("{what} over an updating query is not supported yet"))
            .with_hint("'table.exec.emit.allow-lateness' makes window results update"))
    }

    /// Forward where the parallelism is the same.
    fn direct(&self, from: OperatorId, parallelism: u32) -> Partitioning {
        if self.operators[from.0 as usize].parallelism == parallelism {
            Partitioning::Forward
        } else {
            Partitioning::Rebalance
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one operator")]
    fn add(
        &mut self,
        kind: OperatorKind,
        inputs: Vec<PlanEdge>,
        schema: Schema,
        parallelism: u32,
        changelog: ChangelogMode,
        upsert_key: Option<Vec<usize>>,
        state: Vec<StateDescriptor>,
    ) -> Result<OperatorId, SqlError> {
        let meaning = format!("{kind:?}");
        self.add_as(&meaning, kind, inputs, schema, parallelism, changelog, upsert_key, state)
    }

    /// Adds an operator, or finds the one that does the same. `meaning` goes into the uid.
    #[expect(clippy::too_many_arguments, reason = "the fields of one operator")]
    fn add_as(
        &mut self,
        meaning: &str,
        kind: OperatorKind,
        inputs: Vec<PlanEdge>,
        schema: Schema,
        parallelism: u32,
        changelog: ChangelogMode,
        upsert_key: Option<Vec<usize>>,
        state: Vec<StateDescriptor>,
    ) -> Result<OperatorId, SqlError> {
        let is_sink = matches!(kind, OperatorKind::Sink(_));
        let fingerprint = format!("{kind:?} {inputs:?} {parallelism}");
        if !is_sink && let Some(id) = self.known.get(&fingerprint) {
            return Ok(*id);
        }
        if self.operators.len() >= PLAN_OPERATORS_MAX {
            return Err(SqlError::general(format!("the job has more than {PLAN_OPERATORS_MAX} operators")));
        }
        let id = OperatorId(self.operators.len() as u32);
        // The uid depends on what the operator means and reads, not on parallelism or position: a
        // local phase, which comes and goes with the parallelism, is looked through.
        let read: Vec<&str> = inputs
            .iter()
            .map(|edge| {
                let from = &self.operators[edge.from.0 as usize];
                match (&from.kind, from.inputs.as_slice()) {
                    (OperatorKind::WindowAggregate(aggregate), [below]) if aggregate.phase == AggregatePhase::Local => {
                        self.operators[below.from.0 as usize].uid.as_str()
                    }
                    _ => from.uid.as_str(),
                }
            })
            .collect();
        let mut uid = format!("{:016x}", hash_bytes(format!("{meaning} {read:?}").as_bytes()));
        let repeats = self.operators.iter().filter(|operator| operator.uid.starts_with(&uid)).count();
        if repeats > 0 {
            uid = format!("{uid}-{repeats}");
        }
        let name =
            operator_name(&kind, &schema, inputs.first().map(|edge| &self.operators[edge.from.0 as usize].schema));
        self.operators.push(PlanOperator {
            id,
            uid,
            name,
            kind,
            inputs,
            schema,
            parallelism,
            changelog,
            upsert_key,
            state,
        });
        self.known.insert(fingerprint, id);
        Ok(id)
    }
}

fn forward(from: OperatorId) -> PlanEdge {
    PlanEdge { from, partitioning: Partitioning::Forward }
}

fn schema(rel: &Rel) -> Schema {
    Schema::new(rel.columns.iter().map(|column| Field::new(column.name.clone(), column.data_type.clone())).collect())
}

/// The accumulators of all calls, as the local phase sends them.
fn accumulator_schema(calls: &[AggregateCall]) -> Schema {
    let mut fields = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        for (part, data_type) in accumulator_types(call).unwrap_or_default().into_iter().enumerate() {
            fields.push(Field::new(format!("$acc{index}_{part}"), data_type));
        }
    }
    Schema::new(fields)
}

fn checked_parallelism(value: i64) -> Result<u32, SqlError> {
    u32::try_from(value)
        .ok()
        .filter(|value| (1..=PARALLELISM_MAX).contains(value))
        .ok_or_else(|| SqlError::general(format!("parallelism {value} is out of range: 1 to {PARALLELISM_MAX}")))
}
