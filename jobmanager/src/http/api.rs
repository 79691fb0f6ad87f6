//! The calls of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_common::config::{SECRET_MASK, is_secret};
use tidemill_common::control::{Script, SubmittedStatement};
use tidemill_common::plan::{OperatorKind, StreamPlan, TableSpec};
use tidemill_http::{ApiError, Request, Response, StatusCode};

use super::routes::Call;
use super::{Api, preview, refusal};
use crate::command::{ClientCommand, Reply};
use crate::error::JobManagerError;
use crate::planning;
use crate::views::View;

/// How long a request for events may wait for the next one.
const EVENTS_WAIT_MS_MAX: u64 = 60_000;
/// How long a request waits for its savepoint, which goes on in any case.
const SAVEPOINT_WAIT: Duration = Duration::from_secs(100);

type Answer = Result<Response, ApiError>;

/// A script to plan or to run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptBody {
    script: String,
    /// How errors name it.
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitBody {
    script: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingBody {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopBody {
    #[serde(default)]
    drain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SavepointBody {
    #[serde(default)]
    directory: Option<String>,
    #[serde(default)]
    stop: bool,
    #[serde(default)]
    drain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RescaleBody {
    parallelism: u32,
}

impl ScriptBody {
    fn script(self) -> Script {
        let file = self.file.unwrap_or_else(|| "script".to_owned());
        Script { text: self.script, file, options: self.options, ..Script::default() }
    }
}

impl Api {
    pub(super) async fn call(&self, call: Call, job: Option<String>, request: Request) -> Answer {
        let job = job.unwrap_or_default();
        match call {
            // It needs nothing of this.
            Call::OpenApi => Ok(Response::not_found(&request.path)),
            Call::Cluster => self.cluster(&request).await,
            Call::Targets => self.targets(&request).await,
            Call::Config => {
                request.only_parameters(&[])?;
                Ok(Response::json(&json!({ "options": self.options })))
            }
            Call::ListJobs => {
                request.only_parameters(&[])?;
                let jobs = self.ask(|reply| ClientCommand::List { reply }).await?;
                Ok(Response::json(&json!({ "jobs": jobs })))
            }
            Call::SubmitJobs => self.submit(request.json()?).await,
            Call::DescribeJob => {
                request.only_parameters(&[])?;
                let watch = self.ask_for(|reply| ClientCommand::Watch { job, reply }).await?;
                let detail = watch.borrow().clone();
                Ok(Response::json(&*detail))
            }
            Call::JobSubtasks => {
                request.only_parameters(&[])?;
                let (job, subtasks) = self.look_for(|reply| View::Subtasks { job, reply }).await?;
                Ok(Response::json(&json!({ "job_id": job, "subtasks": subtasks })))
            }
            Call::JobCheckpoints => {
                request.only_parameters(&[])?;
                let history = self.ask_for(|reply| ClientCommand::Checkpoints { job, reply }).await?;
                Ok(Response::json(&history))
            }
            Call::JobEvents => self.events(job, &request).await,
            Call::JobConfig => {
                request.only_parameters(&[])?;
                let plan = self.look_for(|reply| View::Plan { job, reply }).await?;
                Ok(Response::json(&job_config(&plan)))
            }
            Call::CancelJob => {
                let NothingBody {} = request.json()?;
                let summary = self.ask_for(|reply| ClientCommand::Cancel { job, reply }).await?;
                Ok(Response::json(&summary).with_status(StatusCode::ACCEPTED))
            }
            Call::StopJob => {
                let StopBody { drain } = request.json()?;
                let summary = self.ask_for(|reply| ClientCommand::Stop { job, drain, reply }).await?;
                Ok(Response::json(&summary).with_status(StatusCode::ACCEPTED))
            }
            Call::SavepointJob => self.savepoint(job, request.json()?).await,
            Call::RescaleJob => {
                let RescaleBody { parallelism } = request.json()?;
                check_parallelism(parallelism)?;
                let summary = self.ask_for(|reply| ClientCommand::Rescale { job, parallelism, reply }).await?;
                Ok(Response::json(&summary).with_status(StatusCode::ACCEPTED))
            }
            Call::Explain => {
                let body: ScriptBody = request.json()?;
                let explained = self.jobs.explain(body.script()).await.map_err(|error| refusal(&error))?;
                Ok(Response::json(&json!({ "plans": explained.plans, "warnings": explained.warnings })))
            }
            Call::Preview => {
                let body: ScriptBody = request.json()?;
                preview::start(&self.jobs, body.script()).await
            }
        }
    }

    /// An answer of the master.
    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> ClientCommand) -> Result<T, ApiError> {
        self.jobs.master.ask(make).await.map_err(|error| refusal(&error))
    }

    /// An answer that may be an error.
    async fn ask_for<T>(
        &self,
        make: impl FnOnce(Reply<Result<T, JobManagerError>>) -> ClientCommand,
    ) -> Result<T, ApiError> {
        self.ask(make).await?.map_err(|error| refusal(&error))
    }

    async fn look_for<T>(&self, make: impl FnOnce(Reply<Result<T, JobManagerError>>) -> View) -> Result<T, ApiError> {
        self.ask_for(|reply| ClientCommand::View(make(reply))).await
    }

    async fn cluster(&self, request: &Request) -> Answer {
        request.only_parameters(&[])?;
        Ok(Response::json(&self.ask(|reply| ClientCommand::Info { reply }).await?))
    }

    /// The task managers as Prometheus' `http_sd_configs` takes them.
    async fn targets(&self, request: &Request) -> Answer {
        request.only_parameters(&[])?;
        let info = self.ask(|reply| ClientCommand::Info { reply }).await?;
        let target = |member: &tidemill_common::control::TaskManagerInfo| {
            let address = member.process.http_address.as_ref()?;
            let labels = json!({ "tm_id": member.id });
            Some(json!({ "targets": [address], "labels": labels }))
        };
        Ok(Response::json(&info.task_managers.iter().filter_map(target).collect::<Vec<_>>()))
    }

    async fn submit(&self, body: SubmitBody) -> Answer {
        let SubmitBody { script, file, options, dry_run } = body;
        let script = Script { dry_run, ..ScriptBody { script, file, options }.script() };
        let file = script.file.clone();
        let submitted = self.jobs.submit(script).await.map_err(|error| refusal(&error))?;
        let is_select =
            |statement: &SubmittedStatement| matches!(statement, SubmittedStatement::Job(job) if job.columns.is_some());
        if !dry_run && submitted.statements.iter().any(is_select) {
            self.cancel(&submitted.statements).await;
            let message = format!(
                "{file}: the script has a SELECT, whose rows nobody would fetch; look at them by /api/v1/sql/preview, or INSERT them into a table"
            );
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "select", message));
        }
        let statements: Vec<Value> = submitted
            .statements
            .into_iter()
            .map(|statement| match statement {
                SubmittedStatement::Explain(text) => json!({ "text": text }),
                SubmittedStatement::Job(job) => {
                    let id = (!dry_run).then_some(job.job);
                    json!({ "job": { "job_id": id, "name": job.name, "restored": job.restored } })
                }
            })
            .collect();
        let status = if dry_run { StatusCode::OK } else { StatusCode::CREATED };
        let answer = json!({ "statements": statements, "warnings": submitted.warnings });
        Ok(Response::json(&answer).with_status(status))
    }

    async fn cancel(&self, statements: &[SubmittedStatement]) {
        for statement in statements {
            if let SubmittedStatement::Job(job) = statement {
                let id = job.job.0.clone();
                // It may have ended by itself meanwhile.
                let _ = self.jobs.master.ask(|reply| ClientCommand::Cancel { job: id, reply }).await;
            }
        }
    }

    async fn savepoint(&self, job: String, body: SavepointBody) -> Answer {
        let SavepointBody { directory, stop, drain } = body;
        if drain && !stop {
            let message = "'drain' needs 'stop': only a job that ends takes event time to its end";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid-body", message));
        }
        let name = job.clone();
        let stop = stop.then_some(drain);
        let taken = self.ask_for(|reply| ClientCommand::Savepoint { job: name, directory, stop, reply });
        let location = match tokio::time::timeout(SAVEPOINT_WAIT, taken).await {
            Ok(location) => location?,
            Err(_) => {
                let message = format!(
                    "the savepoint takes longer than {} s and goes on; the job's checkpoints tell when it is complete",
                    SAVEPOINT_WAIT.as_secs()
                );
                return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message));
            }
        };
        let watch = self.ask_for(|reply| ClientCommand::Watch { job, reply }).await?;
        let summary = watch.borrow().summary.clone();
        Ok(Response::json(&json!({ "location": location, "job": summary })))
    }

    /// Events after one that the client has seen; waits for the next if it is told to.
    async fn events(&self, job: String, request: &Request) -> Answer {
        request.only_parameters(&["after", "wait_ms"])?;
        let after = request.number("after", 0)?;
        let wait = Duration::from_millis(request.number("wait_ms", 0)?.min(EVENTS_WAIT_MS_MAX));
        let look = || self.look_for(|reply| View::Log { job: job.clone(), after, reply });
        let mut page = look().await?;
        if page.entries.is_empty() && !page.ended && !wait.is_zero() {
            // Nothing within the time is an answer too.
            let _ = tokio::time::timeout(wait, page.changed.wait_for(|newest| *newest > after)).await;
            page = look().await?;
        }
        Ok(Response::json(&json!({ "events": page.entries, "ended": page.ended })))
    }
}

fn check_parallelism(parallelism: u32) -> Result<(), ApiError> {
    let most = tidemill_common::limits::PARALLELISM_MAX;
    if (1..=most).contains(&parallelism) {
        return Ok(());
    }
    let message = format!("'parallelism' is {parallelism}, and has to be between 1 and {most}");
    Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid-body", message))
}

/// The options of a job and of its tables, with secrets masked, and its plan.
fn job_config(plan: &StreamPlan) -> Value {
    let tables: BTreeMap<(&str, &str), &TableSpec> = plan
        .operators
        .iter()
        .filter_map(|operator| match &operator.kind {
            OperatorKind::Source(source) => Some((("source", source.table.name.as_str()), &source.table)),
            OperatorKind::Sink(sink) => Some((("sink", sink.table.name.as_str()), &sink.table)),
            _ => None,
        })
        .collect();
    let tables: Vec<Value> = tables
        .into_iter()
        .map(|((role, name), table)| {
            json!({ "name": name, "role": role, "connector": table.connector, "options": masked(&table.options) })
        })
        .collect();
    json!({
        "name": plan.name,
        "max_parallelism": plan.max_parallelism,
        "options": masked(&plan.options),
        "tables": tables,
        "plan": planning::explain(plan),
    })
}

fn masked(options: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    options
        .iter()
        .map(|(key, value)| (key.as_str(), if is_secret(key) { SECRET_MASK } else { value.as_str() }))
        .collect()
}
