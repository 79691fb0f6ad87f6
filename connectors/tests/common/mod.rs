//! Contexts and rows for tests of connectors against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::EpochOrigin;
use tidemill_common::ids::{AttemptId, CheckpointId, JobId, SubtaskIndex};
use tidemill_common::plan::TableSpec;
use tidemill_common::types::{Field, LogicalType as L, Schema};
use tidemill_connectors::api::{
    ConnectorContext, ConnectorError, ConnectorMetrics, PreparedEpoch, RowOutput, SubtaskContext,
};
use tidemill_connectors::lease::Lease;

pub const SINK: &str = "00000000000000aa";

struct Nowhere;

impl RowOutput for Nowhere {
    fn lines(&self, _lines: Vec<String>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// A runtime for all tests of a file.
pub fn connector_context() -> ConnectorContext {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let runtime = RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    ConnectorContext {
        io: runtime.handle().clone(),
        cancelled: Arc::new(AtomicBool::new(false)),
        lease: Lease::unlimited(),
        stores: tidemill_common::stores::StoreOptions::new(),
    }
}

/// Subtask `subtask` in an attempt of a job with checkpoints.
pub fn context(job: &str, attempt: u32, subtask: u32) -> SubtaskContext {
    SubtaskContext {
        connector: connector_context(),
        job_name: job.to_owned(),
        job_id: job.to_owned(),
        subtask: SubtaskIndex(subtask),
        parallelism: 2,
        operator: SINK.to_owned(),
        attempt: AttemptId(attempt),
        first_attempt: AttemptId(attempt),
        checkpointed: true,
        session_zone: "UTC".to_owned(),
        metrics: Arc::new(ConnectorMetrics::default()),
        output: Arc::new(Nowhere),
    }
}

/// A table `t (id BIGINT, name STRING)`.
pub fn table(connector: &str, options: &[(&str, &str)], primary_key: Vec<usize>) -> TableSpec {
    TableSpec {
        name: "t".to_owned(),
        connector: connector.to_owned(),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        schema: Schema::new(vec![Field::new("id", L::BigInt.nullable()), Field::new("name", L::STRING.nullable())]),
        primary_key,
        partition_keys: Vec::new(),
    }
}

/// Rows of it.
pub fn rows(ids: std::ops::Range<i64>, name: &str) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.map(|_| name))),
    ];
    Batch::insert(RecordBatch::try_new(table("", &[], vec![]).schema.to_arrow(), columns).unwrap())
}

/// What a checkpoint keeps of an epoch.
pub fn epoch(job: &str, subtask: u32, checkpoint: u64, rows: Option<Vec<u8>>) -> Vec<PreparedEpoch> {
    let origin = EpochOrigin {
        job: JobId::from(job),
        sink: SINK.to_owned(),
        subtask: SubtaskIndex(subtask),
        checkpoint: CheckpointId(checkpoint),
    };
    rows.into_iter().map(|rows| PreparedEpoch { origin: origin.clone(), rows }).collect()
}
