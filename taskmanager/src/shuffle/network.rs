//! stub
use super::Inbox;
use crate::executor::{ExecutorConfig, ExecutorError};
use crate::operator::OperatorError;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tidemill_common::batch::StreamElement;
use tidemill_common::ids::{AttemptId, JobId, SubtaskId};
use tidemill_common::job_graph::JobGraph;
pub struct ChannelKey {
    pub job: JobId,
    pub attempt: AttemptId,
    pub edge: u32,
    pub from: SubtaskId,
    pub to: SubtaskId,
}
pub struct RemoteChannel;
impl RemoteChannel {
    pub fn send(
        &mut self,
        _e: StreamElement,
        _c: &AtomicBool,
        _w: impl FnOnce(&mut dyn FnMut()),
    ) -> Result<(), OperatorError> {
        Err(OperatorError::ExchangeClosed)
    }
    pub fn abort(&mut self) {}
}
pub struct Network {
    address: String,
}
impl Network {
    pub async fn start(config: &ExecutorConfig) -> Result<Arc<Self>, ExecutorError> {
        Ok(Arc::new(Self { address: format!("{}:{}", config.data_host, config.data_bind.port()) }))
    }
    pub fn address(&self) -> String {
        self.address.clone()
    }
    pub fn register(&self, _job: &JobId, _attempt: AttemptId, _graph: &JobGraph, _id: SubtaskId, _inbox: &Arc<Inbox>) {}
    pub fn unregister(&self, _job: &JobId, _attempt: AttemptId, _id: SubtaskId) {}
    pub fn open(
        &self,
        _address: &str,
        _key: ChannelKey,
        _schema: Option<SchemaRef>,
        _fail: Box<dyn Fn(String) + Send + Sync>,
    ) -> RemoteChannel {
        RemoteChannel
    }
    pub fn stop(&self) {}
}
