//! `tidemill jobmanager` and `tidemill taskmanager`.

use std::net::SocketAddr;
use std::process::ExitCode;

use tidemill_common::ids::TaskManagerId;
use tidemill_jobmanager::{JobManager, JobManagerConfig};
use tidemill_taskmanager::control::{TaskManager, TaskManagerConfig};
use tokio::sync::oneshot;

use crate::allocator;
use crate::args::RoleArgs;
use crate::error::CliError;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::{config, logging};

/// Runs a job manager until a signal.
pub async fn jobmanager(args: RoleArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    logging::start(&config, "info", &Terminal::detect());
    let stop = stop_requests(args.exit_with_parent)?;
    let settings = JobManagerConfig::from_process(&config)?;
    warn_of_unprotected([Some(settings.bind), settings.http]);
    let mut jobmanager = JobManager::start(settings).await?;
    tokio::select! {
        error = jobmanager.failed() => return Err(error.into()),
        () = stop => {}
    }
    Signals::listen()?.end_at_once();
    tracing::info!("job manager ends; its jobs are cancelled");
    jobmanager.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Runs a task manager until a signal.
pub async fn taskmanager(args: RoleArgs) -> Result<ExitCode, CliError> {
    let config = config::load(&args.process)?;
    logging::start(&config, "info", &Terminal::detect());
    allocator::fit(config.memory_size("taskmanager.memory.size"));
    let stop = stop_requests(args.exit_with_parent)?;
    let settings = TaskManagerConfig::from_process(&config)?;
    warn_of_unprotected([Some(settings.data_bind), settings.http]);
    let taskmanager = TaskManager::start(settings, new_task_manager_id()).await?;
    taskmanager.run(Box::pin(stop)).await?;
    tracing::info!("task manager ends");
    Ok(ExitCode::SUCCESS)
}

/// Says what it means to listen beyond this machine.
fn warn_of_unprotected(ports: [Option<SocketAddr>; 2]) {
    for address in ports.into_iter().flatten().filter(|address| !address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "neither TLS nor access tokens protect this port (security.unprotected-ports): whoever reaches it can run jobs"
        );
    }
}

/// The id of one life of a task manager.
pub fn new_task_manager_id() -> TaskManagerId {
    let id = uuid::Uuid::new_v4().simple().to_string();
    TaskManagerId(format!("tm-{}", &id[..12]))
}

/// Waits for a signal, and with `exit_with_parent` for the end of standard input, which the parent
/// holds open as long as it lives.
fn stop_requests(exit_with_parent: bool) -> Result<impl Future<Output = ()>, CliError> {
    let mut signals = Signals::listen()?;
    let (sender, parent_gone) = oneshot::channel::<()>();
    if exit_with_parent {
        std::thread::Builder::new()
            .name("parent-watch".to_owned())
            .spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                let _ = sender.send(());
            })
            .map_err(CliError::Spawn)?;
    } else {
        // Never answered, but not closed either.
        std::mem::forget(sender);
    }
    Ok(async move {
        tokio::select! {
            () = signals.wait() => {}
            _ = parent_gone => {}
        }
    })
}
