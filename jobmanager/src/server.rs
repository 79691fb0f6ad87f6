//! A job manager: the master behind its gRPC services.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidemill_http::HttpServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::command::{ClientCommand, MasterHandle};
use crate::config::JobManagerConfig;
use crate::error::JobManagerError;
use crate::http::Api;
use crate::master;
use crate::rpc::{gateway, jobs};

/// How long a shutdown waits for open connections.
const CONNECTIONS_CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A running job manager.
pub struct JobManager {
    address: SocketAddr,
    http: Option<HttpServer>,
    master: MasterHandle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    cancellation_timeout: Duration,
}

impl JobManager {
    /// Listens and serves.
    pub async fn start(config: JobManagerConfig) -> Result<Self, JobManagerError> {
        let listener = TcpListener::bind(config.bind)
            .await
            .map_err(|source| JobManagerError::Bind { address: config.bind, source })?;
        let address = listener.local_addr().map_err(|source| JobManagerError::Bind { address: config.bind, source })?;
        let cancellation_timeout = config.cancellation_timeout;
        let master = master::start(config.clone()).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let gateway = gateway::server(gateway::Gateway::new(master.clone()));
        let jobs = jobs::Jobs::new(master.clone(), &config);
        let http = match config.http {
            Some(address) => {
                let api = Arc::new(Api::new(jobs.clone(), &config));
                Some(HttpServer::start(address, "rest.port", config.hosts.clone(), api).await?)
            }
            None => None,
        };
        let jobs = jobs::server(jobs);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        for service in ["tidemill.v1.JobService", "tidemill.v1.TaskManagerGateway"] {
            health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
        }
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tidemill_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(JobManagerError::Reflection)?;
        let server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .add_service(gateway)
            .add_service(jobs)
            .add_service(health_service)
            .add_service(reflection);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tokio::spawn(server.serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        }));
        tracing::info!(%address, "job manager listens");
        Ok(Self { address, http, master, stop, server, cancellation_timeout })
    }

    /// Where the services listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where HTTP is served, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Waits for the server to fail, which it does not by itself.
    pub async fn failed(&mut self) -> JobManagerError {
        match (&mut self.server).await {
            Ok(Ok(())) => JobManagerError::ShuttingDown,
            Ok(Err(error)) => JobManagerError::Server(error),
            Err(error) => JobManagerError::Internal(error.to_string()),
        }
    }

    /// Cancels all jobs, waits for their end, and closes.
    pub async fn shutdown(self) {
        let ended = self.master.ask(|reply| ClientCommand::Shutdown { reply });
        // The jobs' own time-out is within.
        let wait = self.cancellation_timeout + Duration::from_secs(1);
        if tokio::time::timeout(wait, ended).await.is_err() {
            tracing::warn!("jobs did not end within task.cancellation.timeout");
        }
        let _ = self.stop.send(());
        let mut server = self.server;
        if tokio::time::timeout(CONNECTIONS_CLOSE_TIMEOUT, &mut server).await.is_err() {
            server.abort();
        }
    }
}
