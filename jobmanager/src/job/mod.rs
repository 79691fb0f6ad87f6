//! One job: its plan, its state machine, its counters and its history.

mod log;
mod restart;
mod state_machine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_common::config::{FAILOVER_STRATEGY, Options};
use tidemill_common::control::{
    JobAttempt, JobDetail, JobException, JobSummary, LogKind, OperatorStatus, SubtaskReport,
};
use tidemill_common::ids::{AttemptId, JobId, OperatorId, RegionId, SubtaskId, SubtaskIndex, TaskManagerId};
use tidemill_common::job_graph::{JobGraph, Task};
use tidemill_common::plan::{OperatorKind, SourceSpec, StreamPlan};
use tidemill_common::regions::Regions;
use tokio::sync::watch;

use crate::alignment::Alignment;
use crate::checkpoint::{CheckpointPlan, JobCheckpoints};
use crate::recovery::Recovering;
use crate::rows::RowBuffer;
use crate::scheduler::slots_needed;
use crate::splits::SplitAssigner;
use crate::views::inputs;

pub use log::JobLog;
pub use restart::RestartStrategy;
pub use state_machine::{Executions, JobAction, JobEvent, JobMachine, Placement};

/// Most exceptions a job remembers; the first and the latest are kept.
const EXCEPTIONS_MAX: usize = 32;

/// Most attempts a job remembers; the latest are kept, and those that are not over.
const ATTEMPTS_MAX: usize = 32;

/// A job that was planned and probed, and can be started.
pub struct PreparedJob {
    pub plan: StreamPlan,
    /// The columns of a top-level SELECT.
    pub columns: Option<Vec<String>>,
    /// How its checkpoints are taken, once that is known to be possible.
    pub checkpoints: Option<CheckpointPlan>,
}

impl PreparedJob {
    /// Whether the statements after it in its script wait until it has ended.
    pub fn is_awaited(&self) -> bool {
        self.columns.is_some() || Options(&self.plan.options).boolean("table.dml-sync").unwrap_or(false)
    }
}

/// What assigns the splits of one source, for as long as any of its readers goes on.
pub struct SourceCoordinator {
    pub assigner: SplitAssigner,
    /// The newest attempt when it was made: what helpers bring of an older one is stale.
    pub since: AttemptId,
    /// Seen by the connector's work on the job manager.
    pub cancelled: Arc<AtomicBool>,
}

impl Drop for SourceCoordinator {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// A job that runs, waits or has ended.
pub struct Job {
    pub id: JobId,
    pub plan: Arc<StreamPlan>,
    pub plan_json: Arc<Vec<u8>>,
    pub graph: JobGraph,
    pub machine: JobMachine,
    pub splits: BTreeMap<OperatorId, SourceCoordinator>,
    pub alignment: Alignment,
    /// The rows of a top-level SELECT.
    pub rows: Option<Arc<RowBuffer>>,
    pub start_ms: i64,
    /// The job of its script that must finish before it starts.
    pub after: Option<JobId>,
    pub watch: watch::Sender<Arc<JobDetail>>,
    /// The plan of the next attempt, if it is another.
    next: Option<(Arc<StreamPlan>, Arc<Vec<u8>>, JobGraph)>,
    /// Since when the present attempt waits for slots.
    pub waiting_since_ms: i64,
    pub checkpoints: JobCheckpoints,
    /// How many times the plan was replaced, and which of them is kept beyond a crash.
    pub plan_number: u32,
    pub plan_kept: u32,
    /// Whether slots are taken and it is being kept what runs in them.
    pub placing: bool,
    /// Of a job that was found again: what it waits for.
    pub recovering: Option<Recovering>,
    /// What has happened to it.
    pub log: JobLog,
    pub state_since_ms: i64,
    /// How often something of it has failed and started again.
    pub restarts: u64,
    end_ms: Option<i64>,
    attempts: Vec<JobAttempt>,
    counters: BTreeMap<SubtaskId, SubtaskReport>,
    exceptions: Vec<JobException>,
}

impl Job {
    /// A job that waits for slots.
    pub fn new(id: JobId, prepared: PreparedJob, now_ms: i64) -> Result<Self, tidemill_common::plan::PlanError> {
        let plan_json = Arc::new(prepared.plan.to_json()?);
        let graph = JobGraph::new(&prepared.plan);
        let sources = sources_of(&prepared.plan, &graph);
        let restarts = RestartStrategy::new(&prepared.plan.options);
        let checkpoints = prepared.checkpoints.unwrap_or_else(|| CheckpointPlan::none(&prepared.plan.options));
        let checkpoints = JobCheckpoints::new(&id, checkpoints, 1);
        let machine = JobMachine::new(regions_of(&prepared.plan, &graph), sources, restarts);
        let summary = JobSummary {
            job_id: id.clone(),
            name: prepared.plan.name.clone(),
            state: machine.state(),
            start_ms: now_ms,
            end_ms: None,
        };
        let empty = JobDetail {
            summary,
            max_parallelism: prepared.plan.max_parallelism,
            slots: slots_needed(&graph),
            regions: machine.regions().len() as u32,
            attempts: Vec::new(),
            operators: Vec::new(),
            exceptions: Vec::new(),
        };
        let job = Self {
            alignment: Alignment::new(&prepared.plan, &graph),
            rows: prepared.columns.map(|_| Arc::new(RowBuffer::new())),
            id,
            plan: Arc::new(prepared.plan),
            plan_json,
            graph,
            machine,
            splits: BTreeMap::new(),
            start_ms: now_ms,
            after: None,
            watch: watch::Sender::new(Arc::new(empty)),
            next: None,
            waiting_since_ms: now_ms,
            checkpoints,
            plan_number: 0,
            plan_kept: 0,
            placing: false,
            recovering: None,
            log: JobLog::new(),
            state_since_ms: now_ms,
            restarts: 0,
            end_ms: None,
            attempts: Vec::new(),
            counters: BTreeMap::new(),
            exceptions: Vec::new(),
        };
        job.publish();
        Ok(job)
    }

    /// Makes it a job that was found again, whose next attempt is this one.
    pub fn taken_up(&mut self, attempt: AttemptId, plan_number: u32, recovering: Recovering) {
        self.machine.begin_at(attempt);
        (self.plan_number, self.plan_kept) = (plan_number, plan_number);
        self.recovering = Some(recovering);
    }

    /// The sources of the plan.
    pub fn sources(&self) -> impl Iterator<Item = (OperatorId, &SourceSpec, u32)> {
        self.plan.operators.iter().filter_map(|operator| match &operator.kind {
            OperatorKind::Source(source) => Some((operator.id, source, operator.parallelism)),
            _ => None,
        })
    }

    /// The subtask that holds an operator's parallel instance.
    pub fn subtask_of(&self, operator: OperatorId, index: SubtaskIndex) -> Option<SubtaskId> {
        let task = self.graph.tasks.iter().find(|task| task.operators.contains(&operator))?;
        (index.0 < task.parallelism).then_some(SubtaskId { task: task.id, index })
    }

    /// The readers of a source that are in these regions, and whether those are all it has.
    pub fn readers_in(&self, operator: OperatorId, regions: &BTreeSet<RegionId>) -> (BTreeSet<SubtaskIndex>, bool) {
        let task = self.graph.tasks.iter().find(|task| task.operators.contains(&operator));
        let all = task.map_or(0, |task| task.parallelism);
        let is_in = |subtask: SubtaskId| self.machine.regions().of(subtask).is_some_and(|of| regions.contains(&of));
        let readers: BTreeSet<SubtaskIndex> =
            task.into_iter().flat_map(subtasks_of).filter(|subtask| is_in(*subtask)).map(|id| id.index).collect();
        let whole = readers.len() as u32 == all;
        (readers, whole)
    }

    pub fn deployed(&mut self, now_ms: i64, regions: &BTreeSet<RegionId>) {
        for region in regions {
            let Some(attempt) = self.machine.attempt_of(*region) else { continue };
            self.attempts.push(JobAttempt {
                attempt,
                region: *region,
                subtasks: self.machine.regions().members(*region).count() as u32,
                start_ms: now_ms,
                end_ms: None,
            });
            let subtasks = self.attempts.last().map_or(0, |attempt| attempt.subtasks);
            let of = if self.machine.regions().len() > 1 { format!(" of region {region}") } else { String::new() };
            self.log.push(now_ms, LogKind::Attempt, format!("attempt {attempt}{of} is deployed: {subtasks} subtasks"));
        }
        let surplus = self.attempts.len().saturating_sub(ATTEMPTS_MAX);
        let mut ended = self.attempts.iter().filter(|attempt| attempt.end_ms.is_some()).count().min(surplus);
        self.attempts.retain(|attempt| {
            let forgotten = ended > 0 && attempt.end_ms.is_some();
            ended -= usize::from(forgotten);
            !forgotten
        });
    }

    /// Regions are being torn down, or are all there were: work for sources that are of no other is of no use.
    pub fn cancel_sources(&self) {
        let down: BTreeSet<RegionId> =
            self.machine.regions().ids().filter(|id| !self.machine.is_region_up(*id)).collect();
        for (operator, source) in &self.splits {
            if self.readers_in(*operator, &down).1 {
                source.cancelled.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The attempts of these regions are over and others will follow: nothing of them has effect any more.
    pub fn attempts_ended(&mut self, now_ms: i64, regions: &BTreeSet<RegionId>) {
        for attempt in &mut self.attempts {
            if self.next.is_some() || regions.contains(&attempt.region) {
                attempt.end_ms.get_or_insert(now_ms);
            }
        }
        self.waiting_since_ms = now_ms;
        if regions.len() < self.machine.regions().len() {
            let subtasks: Vec<SubtaskId> =
                regions.iter().flat_map(|region| self.machine.regions().members(*region)).collect();
            for subtask in subtasks {
                self.counters.remove(&subtask);
                self.alignment.restarted(subtask);
            }
            let operators: Vec<OperatorId> = self.splits.keys().copied().collect();
            for operator in operators {
                if self.readers_in(operator, regions).1 {
                    self.splits.remove(&operator);
                }
            }
            return;
        }
        self.splits.clear();
        self.counters.clear();
        if let Some((plan, plan_json, graph)) = self.next.take() {
            (self.plan, self.plan_json, self.graph) = (plan, plan_json, graph);
            self.plan_number += 1;
        }
        self.alignment = Alignment::new(&self.plan, &self.graph);
    }

    /// Marks the end, so that everything that waits for the job goes on.
    pub fn ended(&mut self, now_ms: i64) {
        self.end_ms = Some(now_ms);
        for attempt in &mut self.attempts {
            attempt.end_ms.get_or_insert(now_ms);
        }
        self.splits.clear();
        if let Some(rows) = &self.rows {
            rows.close();
        }
    }

    /// Slots that the job needs at another parallelism.
    pub fn slots_at(&self, parallelism: u32) -> Result<u32, tidemill_common::plan::PlanError> {
        Ok(slots_needed(&JobGraph::new(&self.plan.rescaled(parallelism)?)))
    }

    /// Prepares the next attempt to run at another parallelism; gives the event that brings it about.
    pub fn rescale(&mut self, parallelism: u32) -> Result<JobEvent, tidemill_common::plan::PlanError> {
        let plan = self.plan.rescaled(parallelism)?;
        let graph = JobGraph::new(&plan);
        let (regions, sources) = (regions_of(&plan, &graph), sources_of(&plan, &graph));
        self.next = Some((Arc::new(plan.clone()), Arc::new(plan.to_json()?), graph));
        Ok(JobEvent::Redeploy { regions, sources })
    }

    pub fn end_ms(&self) -> Option<i64> {
        self.end_ms
    }

    /// Takes a snapshot of counters. A subtask that has ended has sent its last one.
    pub fn report(&mut self, report: SubtaskReport, last: bool) {
        let subtask = report.subtask;
        if Some(report.attempt) != self.machine.attempt_of_subtask(subtask)
            || (!last && self.machine.has_ended(subtask))
        {
            return;
        }
        match report.alignment_watermark_ms {
            Some(watermark) if !last => self.alignment.report(subtask, watermark),
            _ if last => self.alignment.ended(subtask),
            _ => {}
        }
        self.counters.insert(subtask, report);
    }

    /// The latest counters of a subtask.
    pub fn report_of(&self, subtask: SubtaskId) -> Option<&SubtaskReport> {
        self.counters.get(&subtask)
    }

    pub fn record_failure(
        &mut self,
        subtask: Option<SubtaskId>,
        task_manager: Option<TaskManagerId>,
        cause: String,
        root: bool,
        now_ms: i64,
    ) {
        self.record_failure_of(subtask, task_manager, cause, root, (&BTreeSet::new(), now_ms));
    }

    /// The same, of a failure because of which regions end.
    pub fn record_failure_of(
        &mut self,
        subtask: Option<SubtaskId>,
        task_manager: Option<TaskManagerId>,
        cause: String,
        root: bool,
        (regions, now_ms): (&BTreeSet<RegionId>, i64),
    ) {
        let subtask = subtask.map(|subtask| self.subtask_name(subtask));
        let regions = regions.iter().copied().collect();
        let place = subtask.as_ref().map(|subtask| format!("{subtask}: ")).unwrap_or_default();
        let on = task_manager.as_ref().map(|id| format!(" (on {id})")).unwrap_or_default();
        self.log.push(now_ms, LogKind::Failure, format!("{place}{cause}{on}"));
        let exception = JobException { timestamp_ms: now_ms, subtask, task_manager, cause, regions };
        if root {
            self.exceptions.insert(0, exception);
        } else {
            self.exceptions.push(exception);
        }
        if self.exceptions.len() > EXCEPTIONS_MAX {
            self.exceptions.remove(1);
        }
    }

    /// `Source: bids -> Calc(...) (1/2)`, as Flink names subtasks.
    pub fn subtask_name(&self, subtask: SubtaskId) -> String {
        let Some(task) = self.graph.tasks.get(subtask.task.0 as usize) else { return subtask.to_string() };
        let names: Vec<&str> = task.operators.iter().map(|id| self.plan.operator(*id).name.as_str()).collect();
        format!("{} ({}/{})", names.join(" -> "), subtask.index.0 + 1, task.parallelism)
    }

    pub fn summary(&self) -> JobSummary {
        JobSummary {
            job_id: self.id.clone(),
            name: self.plan.name.clone(),
            state: self.machine.state(),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
        }
    }

    /// Shows the present state to all who watch the job.
    pub fn publish(&self) {
        self.watch.send_replace(Arc::new(self.detail()));
    }

    fn detail(&self) -> JobDetail {
        JobDetail {
            summary: self.summary(),
            max_parallelism: self.plan.max_parallelism,
            slots: slots_needed(&self.graph),
            regions: self.machine.regions().len() as u32,
            attempts: self.attempts.clone(),
            operators: self.operators(),
            exceptions: self.exceptions.clone(),
        }
    }

    /// Sums the counters of the subtasks per operator.
    fn operators(&self) -> Vec<OperatorStatus> {
        let mut statuses: Vec<OperatorStatus> = self
            .plan
            .operators
            .iter()
            .map(|operator| OperatorStatus {
                operator: operator.id,
                uid: operator.uid.clone(),
                name: operator.name.clone(),
                kind: kind(&operator.kind).to_owned(),
                task: tidemill_common::ids::TaskId(0),
                parallelism: operator.parallelism,
                subtasks_running: 0,
                subtasks_ended: 0,
                records_in: 0,
                records_out: 0,
                bytes: 0,
                late_rows_dropped: 0,
                records_skipped: 0,
                records_lag: None,
                watermark_ms: None,
                holding_split: None,
                busy_ms: 0,
                idle_ms: 0,
                backpressured_ms: 0,
                inputs: inputs(operator),
            })
            .collect();
        for task in &self.graph.tasks {
            for operator in &task.operators {
                self.sum_task(task, &mut statuses[operator.0 as usize]);
            }
        }
        statuses
    }

    fn sum_task(&self, task: &Task, status: &mut OperatorStatus) {
        status.task = task.id;
        let mut lags = Vec::new();
        for subtask in subtasks_of(task) {
            status.subtasks_running += u32::from(self.machine.is_running(subtask));
            status.subtasks_ended += u32::from(self.machine.has_ended(subtask));
            let Some(report) = self.counters.get(&subtask) else { continue };
            status.busy_ms += report.busy_ms;
            status.idle_ms += report.idle_ms;
            status.backpressured_ms += report.backpressured_ms;
            if status.kind == "source"
                && report.holding_split.is_some()
                && status.watermark_ms.is_none_or(|lowest| report.watermark_ms.is_none_or(|mine| mine <= lowest))
            {
                status.holding_split.clone_from(&report.holding_split);
            }
            status.watermark_ms = match (status.watermark_ms, report.watermark_ms) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            for counters in report.operators.iter().filter(|counters| counters.operator == status.operator) {
                status.records_in += counters.records_in;
                status.records_out += counters.records_out;
                status.bytes += counters.bytes;
                status.late_rows_dropped += counters.late_rows_dropped;
                status.records_skipped += counters.records_skipped;
                lags.extend(counters.records_lag);
            }
        }
        status.records_lag = (!lags.is_empty()).then(|| lags.iter().sum());
    }
}

fn kind(kind: &OperatorKind) -> &'static str {
    match kind {
        OperatorKind::Source(_) => "source",
        OperatorKind::Calc(_) => "calc",
        OperatorKind::Union => "union",
        OperatorKind::WindowTableFunction(_) => "window-table-function",
        OperatorKind::WindowJoin(_) => "window-join",
        OperatorKind::Correlate(_) => "correlate",
        OperatorKind::Sort(_) => "sort",
        OperatorKind::Limit(_) => "limit",
        OperatorKind::ReplicateRows { .. } => "replicate-rows",
        OperatorKind::WindowAggregate(_) => "window-aggregate",
        OperatorKind::Sink(_) => "sink",
    }
}

/// What fails and starts again together, as the job's options say.
fn regions_of(plan: &StreamPlan, graph: &JobGraph) -> Regions {
    match Options(&plan.options).text(FAILOVER_STRATEGY) {
        Some(strategy) if strategy.trim().eq_ignore_ascii_case("full") => {
            Regions::whole(graph.tasks.iter().flat_map(subtasks_of))
        }
        _ => Regions::new(graph),
    }
}

fn sources_of(plan: &StreamPlan, graph: &JobGraph) -> BTreeSet<SubtaskId> {
    graph.tasks.iter().filter(|task| graph.is_source(plan, task.id)).flat_map(subtasks_of).collect()
}

pub(crate) fn subtasks_of(task: &Task) -> impl Iterator<Item = SubtaskId> + use<> {
    let id = task.id;
    (0..task.parallelism).map(move |index| SubtaskId { task: id, index: SubtaskIndex(index) })
}
