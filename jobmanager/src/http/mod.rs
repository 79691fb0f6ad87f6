//! What a job manager answers over HTTP: the API as JSON, its description, and the page for browsers.
//!
//! [`routes`] is the list of what there is, [`api`] does it, [`preview`] streams the rows of a SELECT,
//! [`metrics`] is for Prometheus, [`assets`] is the page (`web/`).

mod api;
mod assets;
mod metrics;
mod preview;
mod routes;

use std::time::Duration;

use tidemill_http::exposition::Exposition;
use tidemill_http::{ApiError, Content, Method, Request, Response, Service, StatusCode};

use crate::command::ClientCommand;
use crate::config::{JobManagerConfig, ShownOption};
use crate::error::JobManagerError;
use crate::rpc::jobs::Jobs;
use routes::{Call, Found};

pub use metrics::JOB_MANAGER_METRICS;

/// How long the master may take before the process counts as not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub struct Api {
    jobs: Jobs,
    options: Vec<ShownOption>,
}

impl Api {
    pub fn new(jobs: Jobs, config: &JobManagerConfig) -> Self {
        Self { jobs, options: config.shown.clone() }
    }
}

impl Service for Api {
    async fn answer(&self, request: Request) -> Response {
        if !request.path.starts_with("/api/") {
            return match assets::find(&request.path) {
                Some(_) if request.method != Method::GET => Response::method_not_allowed(&request.path, "GET"),
                Some((content, text)) => Response::new(content, text),
                None => Response::not_found(&request.path),
            };
        }
        match routes::find(&request.method, &request.segments()) {
            Found::Nothing => Response::not_found(&request.path),
            Found::OtherMethod(allowed) => Response::method_not_allowed(&request.path, allowed),
            Found::Route(Call::OpenApi, _) => Response::new(Content::Json, routes::OPENAPI),
            Found::Route(call, job) => self.call(call, job, request).await.unwrap_or_else(Response::from),
        }
    }

    async fn metrics(&self, page: &mut Exposition) {
        metrics::write(&self.jobs.master, page).await;
    }

    async fn is_ready(&self) -> Result<(), String> {
        let asked = self.jobs.master.ask(|reply| ClientCommand::Info { reply });
        match tokio::time::timeout(READY_TIMEOUT, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the job manager is busy for {} s", READY_TIMEOUT.as_secs())),
        }
    }
}

/// What an error is over HTTP.
fn refusal(error: &JobManagerError) -> ApiError {
    let (status, code) = match error {
        JobManagerError::NoSuchJob(_) => (StatusCode::NOT_FOUND, "no-such-job"),
        JobManagerError::Script(_) => (StatusCode::BAD_REQUEST, "script"),
        JobManagerError::AmbiguousJob { .. } => (StatusCode::BAD_REQUEST, "ambiguous-job"),
        JobManagerError::Plan(_) => (StatusCode::BAD_REQUEST, "plan"),
        JobManagerError::NoSavepointDirectory { .. } => (StatusCode::BAD_REQUEST, "no-savepoint-directory"),
        JobManagerError::Storage(_) => (StatusCode::BAD_REQUEST, "storage"),
        JobManagerError::SavepointFailed { .. } => (StatusCode::CONFLICT, "savepoint-failed"),
        JobManagerError::NoRows(_) => (StatusCode::CONFLICT, "no-rows"),
        JobManagerError::RowsTaken(_) => (StatusCode::CONFLICT, "rows-taken"),
        JobManagerError::NotRunning { .. } => (StatusCode::CONFLICT, "not-running"),
        JobManagerError::BatchMode { .. } => (StatusCode::CONFLICT, "batch-mode"),
        JobManagerError::NotRescalable { .. } => (StatusCode::CONFLICT, "not-rescalable"),
        JobManagerError::NoCheckpoint(_) => (StatusCode::CONFLICT, "no-checkpoint"),
        JobManagerError::NotEnoughSlots { .. } => (StatusCode::CONFLICT, "not-enough-slots"),
        JobManagerError::OtherBinary(_) => (StatusCode::CONFLICT, "other-binary"),
        JobManagerError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
        JobManagerError::NotKept { .. } | JobManagerError::JobStore(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "not-kept")
        }
        JobManagerError::Bind { .. }
        | JobManagerError::Server(_)
        | JobManagerError::Reflection(_)
        | JobManagerError::Http(_)
        | JobManagerError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    ApiError::new(status, code, error.to_string())
}
