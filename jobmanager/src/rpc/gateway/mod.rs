//! Connections of task managers.

mod wire;

use std::time::Duration;

use tidemill_common::control::{Fenced, JobManagerMessage, Registration};
use tidemill_common::ids::LeaderEpoch;
use tokio::sync::{mpsc, oneshot};

use crate::cluster::ConnectionId;
use crate::command::{Command, MESSAGES_TO_TASK_MANAGER_MAX, MasterHandle};

pub use wire::server;

/// How long a connection may take to say who it is.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes connections and hands their messages to the master.
#[derive(Clone)]
pub struct Gateway {
    master: MasterHandle,
}

/// An answer to a registration.
enum Admission {
    Joined { connection: ConnectionId, messages: mpsc::Receiver<Fenced<JobManagerMessage>> },
    Refused(String),
}

impl Gateway {
    pub fn new(master: MasterHandle) -> Self {
        Self { master }
    }

    fn epoch(&self) -> LeaderEpoch {
        self.master.epoch
    }

    async fn admit(&self, registration: Registration) -> Admission {
        let (sender, messages) = mpsc::channel(MESSAGES_TO_TASK_MANAGER_MAX);
        let (reply, answer) = oneshot::channel();
        let join = Command::Join { registration, sender, reply };
        if self.master.send(join).await.is_err() {
            return Admission::Refused("the job manager is shutting down".to_owned());
        }
        match answer.await {
            Ok(Ok(connection)) => Admission::Joined { connection, messages },
            Ok(Err(reason)) => Admission::Refused(reason),
            Err(_) => Admission::Refused("the job manager is shutting down".to_owned()),
        }
    }
}
