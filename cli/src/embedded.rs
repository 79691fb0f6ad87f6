//! A cluster in this process: a job manager and one task manager that talk over loopback, by the
//! same code as anywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidemill_common::limits::PARALLELISM_MAX;
use tidemill_common::process_options::ProcessConfig;
use tidemill_jobmanager::{JobManager, JobManagerConfig};
use tidemill_taskmanager::control::{PrintTarget, TaskManager, TaskManagerConfig, TaskManagerError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, connect_to};
use crate::error::CliError;
use crate::roles::new_task_manager_id;

/// A running cluster.
pub struct Embedded {
    jobmanager: JobManager,
    stop: oneshot::Sender<()>,
    taskmanager: JoinHandle<Result<(), TaskManagerError>>,
    client_timeout: Duration,
}

impl Embedded {
    /// Starts it on ports that the system chooses. One process has room for any parallelism, so
    /// that slots do not limit it.
    pub async fn start(config: &ProcessConfig, print: PrintTarget) -> Result<Self, CliError> {
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        // Its jobs end with the process.
        let mut jobmanager_config =
            JobManagerConfig { bind: any_port, data_directory: None, ..JobManagerConfig::from_process(config)? };
        // Many scripts may run side by side, and most are not looked at.
        let serves = config.is_set("rest.port");
        jobmanager_config.http = jobmanager_config.http.filter(|_| serves);
        let jobmanager = JobManager::start(jobmanager_config).await?;
        let taskmanager_config = TaskManagerConfig {
            jobmanager: jobmanager.address().to_string(),
            data_bind: any_port,
            data_host: Ipv4Addr::LOCALHOST.to_string(),
            slots: PARALLELISM_MAX,
            cluster: "embedded".to_owned(),
            print,
            print_timeout: None,
            http: None,
            ..TaskManagerConfig::from_process(config)?
        };
        let taskmanager = TaskManager::start(taskmanager_config, new_task_manager_id()).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let taskmanager = tokio::spawn(taskmanager.run(Box::pin(async {
            let _ = stopped.await;
        })));
        Ok(Self { jobmanager, stop, taskmanager, client_timeout: config.duration("client.timeout") })
    }

    /// A client of this cluster.
    pub async fn client(&self) -> Result<Client, CliError> {
        connect_to(&self.jobmanager.address().to_string(), self.client_timeout).await
    }

    /// Ends it; returns when all that was printed is written, or this time has passed.
    pub async fn shutdown(mut self, limit: Option<Duration>) -> Result<(), CliError> {
        let _ = self.stop.send(());
        let ended = match limit {
            None => (&mut self.taskmanager).await,
            Some(limit) => match tokio::time::timeout(limit, &mut self.taskmanager).await {
                Ok(ended) => ended,
                Err(_) => Ok(Ok(())),
            },
        };
        self.jobmanager.shutdown().await;
        match ended {
            Ok(result) => Ok(result?),
            Err(error) => Err(CliError::Refused(format!("the task manager failed: {error}"))),
        }
    }
}
