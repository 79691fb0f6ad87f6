//! What a task manager tells over HTTP: its metrics, and whether it can work.

mod metrics;
mod shares;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidemill_common::ids::TaskManagerId;
use tidemill_connectors::lease::Lease;
use tidemill_http::exposition::Exposition;
use tidemill_http::{Request, Response, Service};

use crate::executor::TaskExecutor;
use shares::Shares;

pub use metrics::TASK_MANAGER_METRICS;

/// How long the time is over which rates are measured, as in Flink.
const SAMPLES_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Status {
    id: TaskManagerId,
    slots: u32,
    executor: Arc<TaskExecutor>,
    lease: Lease,
    shares: Mutex<Shares>,
}

impl Status {
    /// Begins to measure.
    pub fn start(id: TaskManagerId, slots: u32, executor: Arc<TaskExecutor>, lease: Lease) -> Arc<Self> {
        let status = Arc::new(Self { id, slots, executor, lease, shares: Mutex::default() });
        tokio::spawn(measure(Arc::downgrade(&status)));
        status
    }
}

async fn measure(status: Weak<Status>) {
    loop {
        tokio::time::sleep(SAMPLES_PAUSE).await;
        let Some(status) = status.upgrade() else { return };
        let subtasks: Vec<_> = status.executor.views().into_iter().map(|view| view.metrics).collect();
        status.shares.lock().sample(Instant::now(), &subtasks);
    }
}

impl Service for Status {
    async fn answer(&self, request: Request) -> Response {
        Response::not_found(&request.path)
    }

    async fn metrics(&self, page: &mut Exposition) {
        metrics::write(self, page);
    }

    async fn is_ready(&self) -> Result<(), String> {
        if self.lease.is_granted() {
            return Ok(());
        }
        Err("not registered with a job manager (jobmanager.rpc.address, jobmanager.rpc.port)".to_owned())
    }
}
