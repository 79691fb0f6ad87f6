//! Contexts for the tests of connectors.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tidemill_common::ids::SubtaskIndex;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::Schema;

use crate::api::{ConnectorContext, ConnectorError, ConnectorMetrics, RowOutput, SubtaskContext};

/// Keeps lines for a test to look at.
#[derive(Default)]
pub(crate) struct Lines(pub std::sync::Mutex<Vec<String>>);

impl RowOutput for Lines {
    fn lines(&self, lines: Vec<String>) -> Result<(), ConnectorError> {
        self.0.lock().unwrap().extend(lines);
        Ok(())
    }
}

pub(crate) fn connector_context() -> ConnectorContext {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let runtime = RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    ConnectorContext {
        io: runtime.handle().clone(),
        cancelled: Arc::new(AtomicBool::new(false)),
        lease: crate::lease::Lease::unlimited(),
        stores: tidemill_common::stores::StoreOptions::new(),
    }
}

pub(crate) fn subtask_context(subtask: u32, parallelism: u32) -> SubtaskContext {
    SubtaskContext {
        connector: connector_context(),
        job_name: "test".to_owned(),
        job_id: "0".repeat(32),
        subtask: SubtaskIndex(subtask),
        parallelism,
        operator: "test".to_owned(),
        attempt: tidemill_common::ids::AttemptId(1),
        first_attempt: tidemill_common::ids::AttemptId(1),
        checkpointed: false,
        session_zone: "UTC".to_owned(),
        metrics: Arc::new(ConnectorMetrics::default()),
        output: Arc::new(Lines::default()),
    }
}

/// A table of these columns and no options.
pub(crate) fn table_of(schema: Schema) -> TableSpec {
    TableSpec {
        name: "t".to_owned(),
        connector: "filesystem".to_owned(),
        options: std::collections::BTreeMap::new(),
        schema,
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
    }
}
