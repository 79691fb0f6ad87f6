//! A client of the job manager.

mod wire;

use std::time::Duration;

use tidemill_common::process_options::ProcessConfig;

use crate::error::CliError;

pub use wire::Client;

/// Connects to the job manager that the options name.
pub async fn connect(config: &ProcessConfig) -> Result<Client, CliError> {
    let host = config.text("jobmanager.rpc.address").unwrap_or("127.0.0.1");
    let address = format!("{host}:{}", config.port("jobmanager.rpc.port"));
    connect_to(&address, config.duration("client.timeout")).await
}

/// Connects to the job manager at `host:port`.
pub async fn connect_to(address: &str, timeout: Duration) -> Result<Client, CliError> {
    Client::connect(address, timeout).await
}
