//! One connection to the job manager.

use std::time::Duration;

use tidemill_common::control::{Fenced, JobManagerMessage, Registration, TaskManagerMessage};
use tidemill_common::ids::LeaderEpoch;
use tokio::sync::mpsc;

use super::wire;

/// How long the job manager may take to accept a connection and a registration.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that may wait for the network.
const OUTBOUND_MAX: usize = 256;

/// An open stream.
pub struct Connection {
    pub outbound: mpsc::Sender<Fenced<TaskManagerMessage>>,
    pub inbound: wire::Inbound,
}

/// Why there is none.
pub enum ConnectError {
    /// The address makes no sense; trying again does not help.
    Address(String),
    Unreachable(String),
}

/// Connects and registers. The answer to the registration comes as the first message.
pub async fn connect(jobmanager: &str, registration: &Registration) -> Result<Connection, ConnectError> {
    let endpoint = wire::endpoint(jobmanager, CONNECT_TIMEOUT).map_err(ConnectError::Address)?;
    let (outbound, messages) = mpsc::channel(OUTBOUND_MAX);
    let register = Fenced { epoch: LeaderEpoch(0), message: TaskManagerMessage::Register(registration.clone()) };
    outbound.send(register).await.map_err(|_| ConnectError::Unreachable("the stream is closed".to_owned()))?;
    let inbound = tokio::time::timeout(CONNECT_TIMEOUT, wire::attach(endpoint, messages))
        .await
        .map_err(|_| ConnectError::Unreachable("no answer to the registration within 10 s".to_owned()))?
        .map_err(ConnectError::Unreachable)?;
    Ok(Connection { outbound, inbound })
}

impl Connection {
    /// The next message; the error says why the connection ended.
    pub async fn next(inbound: &mut wire::Inbound) -> Result<Fenced<JobManagerMessage>, String> {
        wire::next(inbound).await
    }
}
