//! From the plan to operators: one explicit match.

use std::path::PathBuf;
use std::sync::{Arc, Once};

use chrono_tz::Tz;
use tidemill_common::checkpoint::{CheckpointOptions, StateBackend};
use tidemill_common::ids::{AttemptId, SubtaskIndex};
use tidemill_common::key_group::key_group_range;
use tidemill_common::plan::{OperatorKind, PlanOperator, SourceSpec, StreamPlan};
use tidemill_common::types::Schema;
use tidemill_connectors::api::{Connector, ConnectorContext, ConnectorError, RowOutput, SourceReader, SubtaskContext};
use tidemill_connectors::registry;
use tidemill_state::keyed::sweep;

use crate::memory::MemoryBudget;
use crate::metrics::OperatorMetrics;
use crate::operator::{Operator, OperatorError};
use crate::operators::not_null::{NotNull, NotNullEnforcer};
use crate::operators::window::KeyedContext;
use crate::operators::{
    calc, correlate, limit::Limit, replicate_rows, sink::Sink, sort, union::Union, window, window_table_function,
};

/// What operators get from their subtask.
pub struct BuildContext {
    pub plan: Arc<StreamPlan>,
    pub job_id: String,
    pub job_name: String,
    pub subtask: SubtaskIndex,
    pub attempt: AttemptId,
    /// Attempts before this one are over in all subtasks.
    pub first_attempt: AttemptId,
    /// Whether the job takes checkpoints.
    pub checkpointed: bool,
    pub zone: Tz,
    /// Where files of state are made and kept.
    pub scratch: PathBuf,
    pub memory: MemoryBudget,
    pub connector: ConnectorContext,
    /// Makes the way of lines of a sink with this connector.
    pub output: LineOutputs,
}

/// From the connector of a sink to the way of its lines.
pub type LineOutputs = Box<dyn Fn(&str) -> Arc<dyn RowOutput> + Send>;

/// The session's zone. The planner has checked its name.
pub fn session_zone(plan: &StreamPlan) -> Tz {
    plan.options.get("table.local-time-zone").and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

impl BuildContext {
    fn not_null_enforcer(&self) -> NotNullEnforcer {
        match self.plan.options.get("table.exec.sink.not-null-enforcer") {
            Some(enforcer) if enforcer.trim().eq_ignore_ascii_case("DROP") => NotNullEnforcer::Drop,
            _ => NotNullEnforcer::Error,
        }
    }

    fn input_schema(&self, operator: &PlanOperator) -> Result<&Schema, OperatorError> {
        match operator.inputs.first() {
            Some(edge) => Ok(&self.plan.operator(edge.from).schema),
            None => Err(OperatorError::Internal {
                operator: operator.name.clone(),
                reason: "the plan gives it no input".to_owned(),
            }),
        }
    }

    fn subtask_context(&self, operator: &PlanOperator, connector: &str, metrics: &OperatorMetrics) -> SubtaskContext {
        SubtaskContext {
            connector: self.connector.clone(),
            job_name: self.job_name.clone(),
            job_id: self.job_id.clone(),
            subtask: self.subtask,
            parallelism: operator.parallelism,
            operator: operator.uid.clone(),
            attempt: self.attempt,
            first_attempt: self.first_attempt,
            checkpointed: self.checkpointed,
            session_zone: self.zone.name().to_owned(),
            metrics: metrics.connector.clone(),
            output: (self.output)(connector),
        }
    }

    /// What an operator with keyed state gets.
    fn keyed_context(&self, operator: &PlanOperator) -> KeyedContext {
        static SWEPT: Once = Once::new();
        // Beside: it may be much, when state of a process that was killed is waited for.
        let scratch = self.scratch.clone();
        SWEPT.call_once(|| drop(std::thread::spawn(move || sweep(&scratch))));
        let options = CheckpointOptions::new(&self.plan.options);
        let max_parallelism = self.plan.max_parallelism;
        KeyedContext {
            max_parallelism,
            key_groups: key_group_range(self.subtask, operator.parallelism, max_parallelism),
            scratch: self.scratch.clone(),
            incremental: self.checkpointed && options.incremental,
            memory: self.memory.clone(),
            spills: options.backend == StateBackend::RocksDb,
        }
    }

    /// An operator that is no source.
    pub fn operator(
        &self,
        operator: &PlanOperator,
        metrics: &OperatorMetrics,
    ) -> Result<Box<dyn Operator>, OperatorError> {
        let max_parallelism = self.plan.max_parallelism;
        let output = &operator.schema;
        match &operator.kind {
            OperatorKind::Source(_) => Err(OperatorError::Internal {
                operator: operator.name.clone(),
                reason: "the plan gives a source an input".to_owned(),
            }),
            OperatorKind::Calc(spec) => {
                calc::create(&operator.name, spec, self.input_schema(operator)?, output, self.zone)
            }
            OperatorKind::Union => Ok(Box::new(Union)),
            OperatorKind::Correlate(spec) => {
                correlate::create(&operator.name, spec, self.input_schema(operator)?, output)
            }
            OperatorKind::WindowTableFunction(spec) => {
                window_table_function::create(spec, self.input_schema(operator)?, output, max_parallelism)
            }
            OperatorKind::WindowAggregate(spec) => {
                window::create(spec, self.input_schema(operator)?, output, &self.keyed_context(operator))
            }
            OperatorKind::WindowJoin(spec) => {
                let [left, right] = operator.inputs.as_slice() else {
                    return Err(OperatorError::Internal {
                        operator: operator.name.clone(),
                        reason: "the plan does not give it two inputs".to_owned(),
                    });
                };
                let inputs = [left, right].map(|edge| &self.plan.operator(edge.from).schema);
                window::create_join(spec, inputs, output, &self.keyed_context(operator), self.zone)
            }
            OperatorKind::Sort(spec) => {
                sort::create(spec, self.input_schema(operator)?, self.scratch.clone(), &self.memory)
            }
            OperatorKind::ReplicateRows { times } => replicate_rows::create(*times, self.input_schema(operator)?),
            OperatorKind::Limit(rows) => Ok(Box::new(Limit::new(*rows))),
            OperatorKind::Sink(spec) => {
                let connector = connector(&spec.table.name, &spec.table.connector)?;
                let context = self.subtask_context(operator, &spec.table.connector, metrics);
                let not_null = NotNull::new(&spec.table, self.not_null_enforcer(), metrics.connector.clone());
                let writer = connector.create_writer(spec, &context)?;
                Ok(Box::new(Sink::new(writer, not_null, context.connector, self.checkpointed)))
            }
        }
    }

    /// The reader of a source, and whether the source is bounded.
    pub fn reader(
        &self,
        operator: &PlanOperator,
        source: &SourceSpec,
        metrics: &OperatorMetrics,
    ) -> Result<(Box<dyn SourceReader>, bool), OperatorError> {
        let connector = connector(&source.table.name, &source.table.connector)?;
        let context = self.subtask_context(operator, &source.table.connector, metrics);
        Ok((connector.create_reader(source, &context)?, connector.is_bounded(&source.table)))
    }
}

fn connector(table: &str, identifier: &str) -> Result<&'static dyn Connector, OperatorError> {
    registry::connector(identifier).ok_or_else(|| {
        OperatorError::Connector(ConnectorError::External {
            table: table.to_owned(),
            reason: format!("this task manager does not know the connector '{identifier}'"),
            action: "use one version of tidemill in the whole cluster".to_owned(),
        })
    })
}
