//! The metrics of a task manager, under Flink's names where Flink has them.

use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_common::ids::OperatorId;
use tidemill_common::plan::{OperatorKind, PlanOperator};
use tidemill_http::exposition::{Exposition, Metric};

use super::Status;
use super::shares::Share;
use crate::executor::SubtaskView;

const TASK: &[&str] = &["tm_id", "job_id", "job_name", "task_id", "task_name", "task_attempt_num", "subtask_index"];
const OPERATOR: &[&str] = &[
    "tm_id",
    "job_id",
    "job_name",
    "task_id",
    "task_name",
    "task_attempt_num",
    "subtask_index",
    "operator_id",
    "operator_name",
];
const SPLIT: &[&str] = &[
    "tm_id",
    "job_id",
    "job_name",
    "task_id",
    "task_name",
    "task_attempt_num",
    "subtask_index",
    "operator_id",
    "operator_name",
    "split",
];

/// Characters of a name that become a label, as in Flink.
const NAME_CHARS_MAX: usize = 80;

const TASK_IN: Metric = Metric::counter(
    "flink_taskmanager_job_task_numRecordsIn",
    TASK,
    "Rows that have come to the first operator of the task.",
);
const TASK_OUT: Metric = Metric::counter(
    "flink_taskmanager_job_task_numRecordsOut",
    TASK,
    "Rows that the last operator of the task has emitted.",
);
const TASK_IN_RATE: Metric =
    Metric::gauge("flink_taskmanager_job_task_numRecordsInPerSecond", TASK, "The same a second, over the last 5 s.");
const TASK_OUT_RATE: Metric =
    Metric::gauge("flink_taskmanager_job_task_numRecordsOutPerSecond", TASK, "The same a second, over the last 5 s.");
const BUSY: Metric = Metric::gauge(
    "flink_taskmanager_job_task_busyTimeMsPerSecond",
    TASK,
    "Milliseconds a second that the subtask works, over the last 5 s.",
);
const IDLE: Metric = Metric::gauge(
    "flink_taskmanager_job_task_idleTimeMsPerSecond",
    TASK,
    "Milliseconds a second that the subtask waits for input, over the last 5 s.",
);
const BACKPRESSURED: Metric = Metric::gauge(
    "flink_taskmanager_job_task_backPressuredTimeMsPerSecond",
    TASK,
    "Milliseconds a second that the subtask waits for room in an exchange, over the last 5 s.",
);
const BUSY_TOTAL: Metric = Metric::counter(
    "flink_taskmanager_job_task_accumulateBusyTimeMs",
    TASK,
    "Milliseconds that the subtask has worked.",
);
const IDLE_TOTAL: Metric = Metric::counter(
    "flink_taskmanager_job_task_accumulateIdleTimeMs",
    TASK,
    "Milliseconds that the subtask has waited for input.",
);
const BACKPRESSURED_TOTAL: Metric = Metric::counter(
    "flink_taskmanager_job_task_accumulateBackPressuredTimeMs",
    TASK,
    "Milliseconds that the subtask has waited for room in an exchange.",
);
const INPUT_WATERMARK: Metric = Metric::gauge(
    "flink_taskmanager_job_task_currentInputWatermark",
    TASK,
    "The watermark that the subtask has received, in milliseconds since the epoch. Not of sources, nor before the first.",
);
const OUTPUT_WATERMARK: Metric = Metric::gauge(
    "flink_taskmanager_job_task_operator_currentOutputWatermark",
    OPERATOR,
    "The watermark that a source has emitted, in milliseconds since the epoch. Not before the first.",
);
const WATERMARK_LAG: Metric = Metric::gauge(
    "flink_taskmanager_job_task_operator_watermarkLag",
    OPERATOR,
    "Milliseconds by which the watermark of a source is behind the clock.",
);
const SPLIT_WATERMARK: Metric = Metric::gauge(
    "flink_taskmanager_job_task_operator_split_watermark_currentWatermark",
    SPLIT,
    "The watermark of a split of a source: of the 32 furthest behind.",
);
const OPERATOR_IN: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numRecordsIn",
    OPERATOR,
    "Rows that have come to the operator.",
);
const OPERATOR_OUT: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numRecordsOut",
    OPERATOR,
    "Rows that the operator has emitted.",
);
const BYTES_IN: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numBytesIn",
    OPERATOR,
    "Bytes that a source has read from outside.",
);
const BYTES_OUT: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numBytesOut",
    OPERATOR,
    "Bytes that a sink has written to the outside.",
);
const LATE: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numLateRecordsDropped",
    OPERATOR,
    "Rows that came after their windows were over, and were dropped.",
);
const IN_ERRORS: Metric = Metric::counter(
    "flink_taskmanager_job_task_operator_numRecordsInErrors",
    OPERATOR,
    "Malformed records that a source has skipped ('ignore-parse-errors').",
);
const PENDING: Metric = Metric::gauge(
    "flink_taskmanager_job_task_operator_pendingRecords",
    OPERATOR,
    "Records that a source knows of and has not read yet. Only of connectors that know.",
);
const MEMORY_USED: Metric = Metric::gauge(
    "tidemill_taskmanager_memory_used_bytes",
    &["tm_id", "consumer"],
    "Memory by consumer: 'process' is all of it, 'state-tables' keyed state, 'rows-in-flight' rows that unaligned checkpoints keep, 'state-blocks' cached blocks of files of state, 'state-writing' state on its way into files.",
);
const MEMORY_LIMIT: Metric = Metric::gauge(
    "tidemill_taskmanager_memory_limit_bytes",
    &["tm_id", "consumer"],
    "What each consumer of memory may have.",
);
const SLOTS: Metric = Metric::gauge("tidemill_taskmanager_slots", &["tm_id"], "Slots that the task manager offers.");
const SUBTASKS: Metric =
    Metric::gauge("tidemill_taskmanager_subtasks", &["tm_id"], "Subtasks that the task manager has.");
const REGISTERED: Metric = Metric::gauge(
    "tidemill_taskmanager_registered",
    &["tm_id"],
    "1 while the task manager is registered with a job manager that answers, else 0.",
);
const BUILD: Metric =
    Metric::gauge("tidemill_build_info", &["version", "role"], "Always 1; the version of the process.");

/// All metrics of a task manager.
pub const TASK_MANAGER_METRICS: &[Metric] = &[
    TASK_IN,
    TASK_OUT,
    TASK_IN_RATE,
    TASK_OUT_RATE,
    BUSY,
    IDLE,
    BACKPRESSURED,
    BUSY_TOTAL,
    IDLE_TOTAL,
    BACKPRESSURED_TOTAL,
    INPUT_WATERMARK,
    OUTPUT_WATERMARK,
    WATERMARK_LAG,
    SPLIT_WATERMARK,
    OPERATOR_IN,
    OPERATOR_OUT,
    BYTES_IN,
    BYTES_OUT,
    LATE,
    IN_ERRORS,
    PENDING,
    MEMORY_USED,
    MEMORY_LIMIT,
    SLOTS,
    SUBTASKS,
    REGISTERED,
    BUILD,
];

/// A subtask with the texts of its labels.
struct Labelled {
    view: SubtaskView,
    share: Option<Share>,
    labels: Vec<String>,
}

impl Labelled {
    fn new(status: &Status, view: SubtaskView) -> Self {
        let metrics = &view.metrics;
        let task = view.graph.tasks.get(metrics.subtask.task.0 as usize);
        let names: Vec<&str> = task
            .map(|task| task.operators.iter().map(|id| view.plan.operator(*id).name.as_str()).collect())
            .unwrap_or_default();
        let labels = vec![
            status.id.0.clone(),
            metrics.job.0.clone(),
            short(&view.job_name),
            metrics.subtask.task.to_string(),
            short(&names.join(" -> ")),
            metrics.attempt.to_string(),
            metrics.subtask.index.to_string(),
        ];
        let share = status.shares.lock().of(metrics);
        Self { share, labels, view }
    }

    fn task(&self) -> Vec<&str> {
        self.labels.iter().map(String::as_str).collect()
    }

    fn operator(&self, id: OperatorId) -> &PlanOperator {
        self.view.plan.operator(id)
    }

    fn is_source(&self) -> bool {
        self.view.graph.is_source(&self.view.plan, self.view.metrics.subtask.task)
    }
}

fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// Adds all metrics.
pub fn write(status: &Status, page: &mut Exposition) {
    let subtasks: Vec<Labelled> = status.executor.views().into_iter().map(|view| Labelled::new(status, view)).collect();
    let id = status.id.0.as_str();
    page.value_with(&BUILD, &[env!("CARGO_PKG_VERSION"), "taskmanager"], 1.0);
    page.value_with(&SLOTS, &[id], f64::from(status.slots));
    page.value_with(&SUBTASKS, &[id], subtasks.len() as f64);
    page.value_with(&REGISTERED, &[id], f64::from(u8::from(status.lease.is_granted())));
    let memory = status.executor.process_status().memory;
    page.family(&MEMORY_USED, memory.iter().map(|memory| ([id, &memory.consumer], memory.used_bytes as f64)));
    let limits = memory.iter().filter_map(|memory| Some(([id, &memory.consumer], memory.limit_bytes? as f64)));
    page.family(&MEMORY_LIMIT, limits);
    tasks(&subtasks, page);
    operators(&subtasks, page);
}

fn tasks(subtasks: &[Labelled], page: &mut Exposition) {
    let mut family = |metric: &Metric, value: &dyn Fn(&Labelled) -> Option<f64>| {
        page.family(metric, subtasks.iter().filter_map(|subtask| Some((subtask.task(), value(subtask)?))));
    };
    let metrics = |subtask: &Labelled| subtask.view.metrics.clone();
    family(&TASK_IN, &|subtask| Some(metrics(subtask).operators.first()?.records_in as f64));
    family(&TASK_OUT, &|subtask| Some(metrics(subtask).operators.last()?.records_out as f64));
    family(&TASK_IN_RATE, &|subtask| Some(subtask.share?.records_in));
    family(&TASK_OUT_RATE, &|subtask| Some(subtask.share?.records_out));
    family(&BUSY, &|subtask| Some(subtask.share?.busy_ms));
    family(&IDLE, &|subtask| Some(subtask.share?.idle_ms));
    family(&BACKPRESSURED, &|subtask| Some(subtask.share?.backpressured_ms));
    family(&BUSY_TOTAL, &|subtask| Some(subtask.view.metrics.busy_ms as f64));
    family(&IDLE_TOTAL, &|subtask| Some(subtask.view.metrics.idle_ms as f64));
    family(&BACKPRESSURED_TOTAL, &|subtask| Some(subtask.view.metrics.backpressured_ms as f64));
    family(&INPUT_WATERMARK, &|subtask| {
        let watermark = subtask.view.metrics.watermark_ms.filter(|_| !subtask.is_source());
        watermark.map(|watermark| watermark as f64)
    });
}

fn operators(subtasks: &[Labelled], page: &mut Exposition) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let names: Vec<Vec<(String, String)>> = subtasks
        .iter()
        .map(|subtask| {
            let of = |id: OperatorId| {
                let operator = subtask.operator(id);
                (operator.uid.clone(), short(&operator.name))
            };
            subtask.view.metrics.operators.iter().map(|counters| of(counters.operator)).collect()
        })
        .collect();
    // The value of each operator of each subtask.
    let mut family = |metric: &Metric, value: &dyn Fn(&Labelled, usize, &OperatorKind) -> Option<f64>| {
        let all = subtasks.iter().zip(&names).flat_map(|(subtask, names)| {
            names.iter().enumerate().filter_map(move |(index, (uid, name))| {
                let kind = &subtask.operator(subtask.view.metrics.operators[index].operator).kind;
                let value = value(subtask, index, kind)?;
                Some(([subtask.task(), vec![uid.as_str(), name.as_str()]].concat(), value))
            })
        });
        page.family(metric, all);
    };
    let counters = |subtask: &Labelled, index: usize| subtask.view.metrics.operators[index].clone();
    let source_watermark = |subtask: &Labelled, kind: &OperatorKind| {
        subtask.view.metrics.watermark_ms.filter(|_| matches!(kind, OperatorKind::Source(_)))
    };
    family(&OUTPUT_WATERMARK, &|subtask, _, kind| source_watermark(subtask, kind).map(|watermark| watermark as f64));
    family(&WATERMARK_LAG, &|subtask, _, kind| {
        // At the end of event time there is no lag any more.
        let watermark = source_watermark(subtask, kind).filter(|watermark| *watermark < i64::MAX)?;
        Some(now_ms.saturating_sub(watermark) as f64)
    });
    family(&OPERATOR_IN, &|subtask, index, _| Some(counters(subtask, index).records_in as f64));
    family(&OPERATOR_OUT, &|subtask, index, _| Some(counters(subtask, index).records_out as f64));
    family(&BYTES_IN, &|subtask, index, kind| match kind {
        OperatorKind::Source(_) => Some(counters(subtask, index).bytes as f64),
        _ => None,
    });
    family(&BYTES_OUT, &|subtask, index, kind| match kind {
        OperatorKind::Sink(_) => Some(counters(subtask, index).bytes as f64),
        _ => None,
    });
    family(&LATE, &|subtask, index, kind| match kind {
        OperatorKind::WindowAggregate(_) | OperatorKind::WindowJoin(_) => {
            Some(counters(subtask, index).late_rows_dropped as f64)
        }
        _ => Some(counters(subtask, index).late_rows_dropped as f64).filter(|late| *late > 0.0),
    });
    family(&IN_ERRORS, &|subtask, index, kind| match kind {
        OperatorKind::Source(_) => Some(counters(subtask, index).records_skipped as f64),
        _ => None,
    });
    family(&PENDING, &|subtask, index, _| counters(subtask, index).records_lag.map(|lag| lag as f64));
    let splits = subtasks.iter().zip(&names).flat_map(|(subtask, names)| {
        let first = names.first();
        subtask.view.metrics.splits.iter().filter_map(move |split| {
            let (uid, name) = first?;
            let labels = [subtask.task(), vec![uid.as_str(), name.as_str(), split.split.as_str()]].concat();
            Some((labels, split.watermark_ms? as f64))
        })
    });
    page.family(&SPLIT_WATERMARK, splits);
}
