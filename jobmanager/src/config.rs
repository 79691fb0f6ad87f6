//! What the job manager takes from the process options.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tidemill_common::config::FAILOVER_STRATEGY;
use tidemill_common::process_options::{ConfigError, ProcessConfig};
use tidemill_http::Hosts;
use tidemill_state::storage::StoreOptions;

/// Settings of a job manager.
#[derive(Clone, Debug)]
pub struct JobManagerConfig {
    /// Where the gRPC services listen; port 0 lets the system choose.
    pub bind: SocketAddr,
    pub default_parallelism: u32,
    pub heartbeat_interval: Duration,
    pub heartbeat_timeout: Duration,
    pub slot_request_timeout: Duration,
    pub deployment_timeout: Duration,
    pub cancellation_timeout: Duration,
    pub probe_timeout: Duration,
    pub collect_attach_timeout: Duration,
    /// How stores of checkpoints are reached.
    pub store: StoreOptions,
    /// Where jobs are kept beyond a crash, if they are.
    pub data_directory: Option<PathBuf>,
    /// URL of the directory for checkpoints of jobs that name none.
    pub checkpoints_directory: String,
    /// The same for savepoints.
    pub savepoints_directory: Option<String>,
    /// Whether a failure starts the full job again, if the job does not say otherwise, and not only the
    /// region that failed.
    pub failover_full: bool,
    /// Ended jobs that are remembered.
    pub history_jobs_max: usize,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
    /// Names by which that is known.
    pub hosts: Hosts,
    /// The options of the process, as they are shown.
    pub shown: Vec<ShownOption>,
}

/// An option of the process for those who look: secrets are masked.
#[derive(Clone, Debug, Serialize)]
pub struct ShownOption {
    pub key: &'static str,
    pub value: String,
    /// Whether it has its default.
    pub default: bool,
}

impl JobManagerConfig {
    /// Reads the options of the process.
    pub fn from_process(config: &ProcessConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            bind: SocketAddr::new(config.listen_address("jobmanager.bind-host")?, config.port("jobmanager.rpc.port")),
            default_parallelism: config.integer("parallelism.default") as u32,
            heartbeat_interval: config.duration("heartbeat.interval"),
            heartbeat_timeout: config.duration("heartbeat.timeout"),
            slot_request_timeout: config.duration("slot.request.timeout"),
            deployment_timeout: config.duration("task.deployment.timeout"),
            cancellation_timeout: config.duration("task.cancellation.timeout"),
            probe_timeout: config.duration("connector.probe.timeout"),
            collect_attach_timeout: config.duration("collect.attach.timeout"),
            store: config.store_options(),
            data_directory: config.text("jobmanager.data.dir").map(PathBuf::from),
            checkpoints_directory: checkpoints_directory(config),
            savepoints_directory: config.text("state.savepoints.dir").map(str::to_owned),
            failover_full: config
                .text(FAILOVER_STRATEGY)
                .is_some_and(|value| value.trim().eq_ignore_ascii_case("full")),
            history_jobs_max: config.integer("jobstore.max-capacity") as usize,
            http: Some(SocketAddr::new(config.listen_address("rest.bind-address")?, config.port("rest.port"))),
            hosts: Hosts::new(config.text("rest.address").unwrap_or_default()),
            shown: config
                .shown()
                .map(|(option, value, set)| ShownOption { key: option.key, value: value.to_owned(), default: !set })
                .collect(),
        })
    }
}

/// Where checkpoints are kept if nobody says so: on this machine.
fn checkpoints_directory(config: &ProcessConfig) -> String {
    if let Some(url) = config.text("state.checkpoints.dir") {
        return url.to_owned();
    }
    if let Some(data) = config.text("jobmanager.data.dir") {
        let data = std::path::absolute(data).unwrap_or_else(|_| PathBuf::from(data));
        return data.join("checkpoints").display().to_string();
    }
    let user = std::env::var("USER").unwrap_or_default();
    let name = if user.is_empty() { "tidemill".to_owned() } else { format!("tidemill-{user}") };
    std::env::temp_dir().join(name).join("checkpoints").display().to_string()
}
