//! A small job manager: two executors in one process, plans made by hand, splits handed out by the
//! connectors' own enumerators.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tidemill_common::expr::Expr;
use tidemill_common::ids::{AttemptId, JobId, OperatorId, SubtaskId, SubtaskIndex, TaskManagerId};
use tidemill_common::job_graph::JobGraph;
use tidemill_common::plan::*;
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_connectors::api::{ConnectorContext, SplitEnumerator};
use tidemill_connectors::lease::Lease;
use tidemill_connectors::registry;
use tidemill_taskmanager::executor::*;
use tokio::sync::mpsc;

pub const WAIT: Duration = Duration::from_secs(20);

/// How a job ended.
#[derive(Debug, Default)]
pub struct Outcome {
    pub states: BTreeMap<SubtaskId, SubtaskState>,
    pub lines: Vec<String>,
    pub records_in: BTreeMap<OperatorId, u64>,
}

/// Task managers, each with a runtime of its own.
pub struct Cluster {
    pub io: tokio::runtime::Runtime,
    pub executors: Vec<Arc<TaskExecutor>>,
    events: mpsc::Receiver<ExecutorEvent>,
    attempts: u32,
}

impl Cluster {
    pub fn new(executors: usize, compression: Compression) -> Self {
        Self::with_lease(executors, compression, &Lease::unlimited())
    }

    /// Executors of one lease, which they do not renew.
    pub fn with_lease(executors: usize, compression: Compression, lease: &Lease) -> Self {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, events) = mpsc::channel(64);
        let executors = (0..executors)
            .map(|index| {
                let config = ExecutorConfig {
                    id: TaskManagerId(format!("tm-{index}")),
                    data_bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    data_host: "127.0.0.1".to_owned(),
                    io: io.handle().clone(),
                    compression,
                    store: Default::default(),
                    scratch: std::env::temp_dir(),
                    copies: std::sync::Arc::new(tidemill_state::storage::LocalCopies::new(
                        &std::env::temp_dir(),
                        "test",
                    )),
                    memory: tidemill_taskmanager::memory::MemoryBudget::of_machine(),
                    lease: lease.clone(),
                };
                io.block_on(TaskExecutor::start(config, sender.clone())).unwrap()
            })
            .collect();
        Self { io, executors, events, attempts: 0 }
    }

    pub fn start(&mut self, plan: &StreamPlan) -> Job<'_> {
        self.attempts += 1;
        let plan = Arc::new(plan.clone());
        let graph = JobGraph::new(&plan);
        let all: Vec<SubtaskId> = graph
            .tasks
            .iter()
            .flat_map(|task| (0..task.parallelism).map(|index| SubtaskId { task: task.id, index: SubtaskIndex(index) }))
            .collect();
        // Neighbours on different task managers wherever possible.
        let place = |id: &SubtaskId| ((id.task.0 + id.index.0) as usize) % self.executors.len();
        let locations: BTreeMap<SubtaskId, Location> = all
            .iter()
            .map(|id| {
                let data_address = self.executors[place(id)].data_address();
                (*id, Location { task_manager: TaskManagerId(format!("tm-{}", place(id))), data_address })
            })
            .collect();
        let (job, attempt) = (JobId::from("job"), AttemptId(self.attempts));
        for (index, executor) in self.executors.iter().enumerate() {
            let subtasks: Vec<SubtaskId> = all.iter().filter(|id| place(id) == index).copied().collect();
            if !subtasks.is_empty() {
                let deployment = Deployment {
                    checkpoint_directory: None,
                    restore: None,
                    job: job.clone(),
                    job_name: "test".to_owned(),
                    attempt,
                    first_attempt: attempt,
                    region: None,
                    plan: plan.clone(),
                    subtasks,
                    locations: locations.clone(),
                };
                executor.deploy(deployment).unwrap();
            }
        }
        let context = ConnectorContext {
            io: self.io.handle().clone(),
            cancelled: Arc::new(AtomicBool::new(false)),
            lease: Lease::unlimited(),
            stores: tidemill_common::stores::StoreOptions::new(),
        };
        let enumerators = plan.operators.iter().filter_map(|operator| match &operator.kind {
            OperatorKind::Source(source) => {
                let connector = registry::connector(&source.table.connector).unwrap();
                let mut enumerator = connector.create_enumerator(source, operator.parallelism, &context).unwrap();
                enumerator.discover().unwrap();
                Some((operator.id, enumerator))
            }
            _ => None,
        });
        let enumerators = enumerators.collect();
        Job {
            cluster: self,
            job,
            attempt,
            plan,
            open: all.into_iter().collect(),
            enumerators,
            outcome: Outcome::default(),
        }
    }

    pub fn run(&mut self, plan: &StreamPlan) -> Outcome {
        self.start(plan).finish()
    }
}

/// A job that runs.
pub struct Job<'a> {
    cluster: &'a mut Cluster,
    pub job: JobId,
    pub attempt: AttemptId,
    plan: Arc<StreamPlan>,
    open: BTreeSet<SubtaskId>,
    enumerators: BTreeMap<OperatorId, Box<dyn SplitEnumerator>>,
    pub outcome: Outcome,
}

impl Job<'_> {
    /// Serves events until `done` or all subtasks have ended.
    pub fn serve(&mut self, timeout: Duration, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + timeout;
        while !self.open.is_empty() && !done(self) {
            let wait = deadline.saturating_duration_since(Instant::now());
            let events = &mut self.cluster.events;
            let event = self.cluster.io.block_on(async { tokio::time::timeout(wait, events.recv()).await });
            match event {
                Ok(Some(event)) => self.event(event),
                Ok(None) => panic!("the executors have ended"),
                Err(_) => panic!("the job hangs: {:?} of {:?} have not ended", self.open, self.outcome.states),
            }
        }
    }

    fn event(&mut self, event: ExecutorEvent) {
        match event {
            ExecutorEvent::StateChanged { attempt, subtask, state, .. } => {
                assert_eq!(attempt, self.attempt);
                if !matches!(state, SubtaskState::Running | SubtaskState::Finishing) {
                    assert!(self.open.remove(&subtask), "{subtask} ended twice");
                }
                if matches!(state, SubtaskState::Failed { .. }) {
                    self.cancel();
                }
                self.outcome.states.insert(subtask, state);
            }
            ExecutorEvent::Checkpointed { subtask, checkpoint, .. } => {
                panic!("{subtask} answers about checkpoint {checkpoint}, which nobody asked for")
            }
            ExecutorEvent::SplitRequest { operator, reader, .. } => {
                let enumerator = self.enumerators.get_mut(&operator).unwrap();
                let splits = enumerator.next_splits(reader);
                let no_more = enumerator.is_exhausted(reader);
                if splits.is_empty() && !no_more {
                    return;
                }
                for executor in &self.cluster.executors {
                    executor.assign_splits(&self.job, self.attempt, operator, reader, splits.clone(), no_more);
                }
            }
            ExecutorEvent::Lines { lines, .. } => self.outcome.lines.extend(lines),
        }
    }

    pub fn cancel(&self) {
        for executor in &self.cluster.executors {
            executor.cancel(&self.job, self.attempt);
        }
    }

    /// Cuts the connections of one executor, as the death of its process would.
    pub fn lose_executor(&self, index: usize) {
        self.cluster.executors[index].cut_connections();
    }

    pub fn stop_sources(&self, drain: bool) {
        for executor in &self.cluster.executors {
            executor.stop_sources(&self.job, self.attempt, drain);
        }
    }

    pub fn metrics(&self) -> Vec<tidemill_taskmanager::metrics::SubtaskMetrics> {
        self.cluster.executors.iter().flat_map(|executor| executor.metrics()).collect()
    }

    pub fn finish(mut self) -> Outcome {
        self.serve(WAIT, |_| false);
        for subtask in self.metrics() {
            for operator in subtask.operators {
                *self.outcome.records_in.entry(operator.operator).or_default() += operator.records_in;
            }
        }
        let _ = &self.plan;
        self.outcome
    }
}

/// Makes plans operator by operator.
pub struct PlanBuilder(pub StreamPlan);

impl PlanBuilder {
    pub fn new() -> Self {
        Self(StreamPlan {
            version: PLAN_VERSION,
            name: "test".to_owned(),
            operators: Vec::new(),
            options: BTreeMap::new(),
            max_parallelism: 128,
        })
    }

    pub fn add(
        &mut self,
        kind: OperatorKind,
        inputs: Vec<(OperatorId, Partitioning)>,
        schema: Schema,
        parallelism: u32,
    ) -> OperatorId {
        let id = OperatorId(self.0.operators.len() as u32);
        self.0.operators.push(PlanOperator {
            id,
            uid: id.to_string(),
            name: format!("operator {id}"),
            kind,
            inputs: inputs.into_iter().map(|(from, partitioning)| PlanEdge { from, partitioning }).collect(),
            schema,
            parallelism,
            changelog: ChangelogMode::InsertOnly,
            upsert_key: None,
            state: Vec::new(),
        });
        id
    }

    pub fn datagen(&mut self, schema: Schema, options: &[(&str, &str)], parallelism: u32) -> OperatorId {
        let mut table = table("generated", "datagen", schema.clone());
        table.options.extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let source = SourceSpec {
            table,
            projection: (0..schema.len()).collect(),
            computed: Vec::new(),
            watermark: None,
            metadata: Vec::new(),
            partition_filter: None,
        };
        self.add(OperatorKind::Source(source), Vec::new(), schema, parallelism)
    }

    pub fn sink(&mut self, input: OperatorId, partitioning: Partitioning, connector: &str, parallelism: u32) {
        let schema = self.0.operator(input).schema.clone();
        let sink = SinkSpec { table: table("out", connector, schema), changelog: ChangelogMode::InsertOnly };
        self.add(OperatorKind::Sink(sink), vec![(input, partitioning)], Schema::new(Vec::new()), parallelism);
    }

    /// Hands on all columns.
    pub fn identity(&mut self, input: OperatorId, partitioning: Partitioning, parallelism: u32) -> OperatorId {
        let schema = self.0.operator(input).schema.clone();
        let columns = schema.fields.iter().enumerate();
        let projection = columns.map(|(index, field)| Expr::column(index, field.data_type.clone())).collect();
        let calc = OperatorKind::Calc(CalcSpec { filter: None, projection });
        self.add(calc, vec![(input, partitioning)], schema, parallelism)
    }
}

fn table(name: &str, connector: &str, schema: Schema) -> TableSpec {
    TableSpec {
        name: name.to_owned(),
        connector: connector.to_owned(),
        options: BTreeMap::from([("connector".to_owned(), connector.to_owned())]),
        schema,
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}

/// `id BIGINT, text STRING`.
pub fn id_and_text() -> Schema {
    Schema::new(vec![
        Field::new("id", LogicalType::BigInt.nullable()),
        Field::new("text", LogicalType::Varchar(tidemill_common::types::MAX_LENGTH).nullable()),
    ])
}
