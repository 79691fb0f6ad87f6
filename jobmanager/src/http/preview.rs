//! The rows of a SELECT as lines of JSON, while the client reads them. When it goes away, the job is cancelled.
//!
//! The first line names the job and the columns, the last one says how the job ended; those between have rows,
//! each an array of its kind (`+I`, `-U`, `+U`, `-D`) and its values as texts.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tidemill_common::control::{JobDetail, Script, SubmittedJob};
use tidemill_common::ids::JobId;
use tidemill_http::{ApiError, Content, Response, STREAM_CHUNKS_MAX};
use tokio::sync::{mpsc, watch};

use super::refusal;
use crate::command::{ClientCommand, Command, MasterHandle};
use crate::rows::{Chunk, RowBuffer};
use crate::rpc::jobs::Jobs;

/// Starts the SELECT of a script.
pub async fn start(jobs: &Jobs, script: Script) -> Result<Response, ApiError> {
    let refused = |error| refusal(&error);
    let submitted = jobs.preview(Script { cells: true, ..script }).await.map_err(refused)?;
    let SubmittedJob { job, columns, .. } = submitted;
    let master = jobs.master.clone();
    let fetch = |reply| ClientCommand::Fetch { job: job.0.clone(), reply };
    let (job, rows) = master.ask(fetch).await.and_then(|fetched| fetched).map_err(refused)?;
    let look = |reply| ClientCommand::Watch { job: job.0.clone(), reply };
    let states = master.ask(look).await.and_then(|watched| watched).map_err(refused)?;
    let (sender, receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    let first = json!({ "job_id": job, "columns": columns.unwrap_or_default() });
    tokio::spawn(async move {
        if send(&sender, first.to_string()).await && forward(&master, &job, &rows, &sender).await {
            let _ = send(&sender, end(states).await).await;
        } else {
            let _ = master.send(Command::RowsAbandoned { job }).await;
        }
    });
    Ok(Response::stream(Content::JsonLines, receiver))
}

async fn send(sender: &mpsc::Sender<Bytes>, mut line: String) -> bool {
    line.push('\n');
    sender.send(Bytes::from(line)).await.is_ok()
}

/// Hands on all rows; false if the client has gone away.
async fn forward(master: &MasterHandle, job: &JobId, rows: &Arc<RowBuffer>, sender: &mpsc::Sender<Bytes>) -> bool {
    loop {
        let chunk = tokio::select! {
            chunk = rows.next() => match chunk {
                Some(chunk) => chunk,
                None => return true,
            },
            () = sender.closed() => return false,
        };
        let Chunk { task_manager, attempt, sequence, lines } = chunk;
        // Every line is JSON already.
        if !send(sender, format!("{{\"rows\":[{}]}}", lines.join(","))).await {
            return false;
        }
        let _ = master.send(Command::RowsTaken { job: job.clone(), task_manager, attempt, sequence }).await;
    }
}

/// How the job ended.
async fn end(mut states: watch::Receiver<Arc<JobDetail>>) -> String {
    let ended = states.wait_for(|job| job.summary.state.is_terminal()).await;
    match ended {
        Ok(job) => {
            let failure = job.failure().map(|exception| exception.cause.clone());
            json!({ "end": { "state": job.summary.state, "failure": failure } }).to_string()
        }
        Err(_) => json!({ "end": { "state": "FAILED", "failure": "the job manager has ended" } }).to_string(),
    }
}
