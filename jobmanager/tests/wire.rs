//! A job manager as others see it: over gRPC, with a task manager that only pretends.
#![allow(clippy::unwrap_used)] // A test's helpers fail it by a panic.

use std::net::SocketAddr;
use std::time::Duration;

use tidemill_common::process_options::ProcessConfig;
use tidemill_jobmanager::{JobManager, JobManagerConfig};
use tidemill_proto::v1;
use tidemill_proto::v1::job_service_client::JobServiceClient;
use tidemill_proto::v1::task_manager_gateway_client::TaskManagerGatewayClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

const SCRIPT: &str = "
    CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
    CREATE TABLE nothing (id BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT id FROM numbers;";

async fn start() -> JobManager {
    let mut config = JobManagerConfig::from_process(&ProcessConfig::default()).unwrap();
    config.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http = None;
    config.cancellation_timeout = Duration::from_secs(2);
    JobManager::start(config).await.unwrap()
}

async fn channel(manager: &JobManager) -> Channel {
    Channel::from_shared(format!("http://{}", manager.address())).unwrap().connect().await.unwrap()
}

/// A connection of a task manager that does nothing by itself.
struct Pretender {
    outbound: mpsc::Sender<v1::TaskManagerMessage>,
    inbound: Streaming<v1::JobManagerMessage>,
    epoch: u64,
}

impl Pretender {
    /// Connects, and gives the answer to the registration.
    async fn connect(manager: &JobManager, version: &str) -> (Self, v1::job_manager_message::Message) {
        let (outbound, messages) = mpsc::channel(16);
        let register = v1::Register {
            local_state_id: String::new(),
            local_jobs: Vec::new(),
            task_manager_id: "pretender".into(),
            data_address: "127.0.0.1:1".into(),
            slots: 2,
            version: version.into(),
        };
        let message = v1::task_manager_message::Message::Register(register);
        outbound.send(v1::TaskManagerMessage { leader_epoch: 0, message: Some(message) }).await.unwrap();
        let mut client = TaskManagerGatewayClient::new(channel(manager).await);
        let inbound = client.attach(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let mut pretender = Self { outbound, inbound, epoch: 0 };
        let answer = pretender.next().await;
        (pretender, answer)
    }

    async fn joined(manager: &JobManager) -> Self {
        let (pretender, answer) = Self::connect(manager, env!("CARGO_PKG_VERSION")).await;
        assert!(matches!(answer, v1::job_manager_message::Message::Registered(_)), "{answer:?}");
        pretender
    }

    async fn next(&mut self) -> v1::job_manager_message::Message {
        let message = tokio::time::timeout(Duration::from_secs(10), self.inbound.message()).await.unwrap();
        let message = message.unwrap().unwrap();
        self.epoch = message.leader_epoch;
        message.message.unwrap()
    }

    /// Waits for a deployment.
    async fn deployment(&mut self) -> v1::Deploy {
        loop {
            if let v1::job_manager_message::Message::Deploy(deploy) = self.next().await {
                return deploy;
            }
        }
    }

    async fn tell(&self, epoch: u64, deploy: &v1::Deploy, attempt: u32, state: v1::SubtaskState, cause: &str) {
        for subtask in &deploy.subtasks {
            let changed = v1::SubtaskStateChanged {
                job_id: deploy.job_id.clone(),
                attempt,
                subtask: Some(*subtask),
                state: state.into(),
                cause: cause.into(),
                metrics: None,
            };
            let message = v1::task_manager_message::Message::SubtaskStateChanged(changed);
            self.outbound.send(v1::TaskManagerMessage { leader_epoch: epoch, message: Some(message) }).await.unwrap();
        }
    }
}

async fn submit(client: &mut JobServiceClient<Channel>) -> String {
    let request = v1::SubmitScriptRequest { script: SCRIPT.into(), file: "test.sql".into(), ..Default::default() };
    let response = client.submit_script(request).await.unwrap().into_inner();
    let Some(v1::submit_script_response::Result::Submitted(submitted)) = response.result else {
        panic!("not submitted: {response:?}");
    };
    match submitted.statements[0].result.clone().unwrap() {
        v1::submitted_statement::Result::Job(job) => job.job_id,
        other => panic!("not a job: {other:?}"),
    }
}

/// The job at its end.
async fn ended(client: &mut JobServiceClient<Channel>, job: &str) -> v1::JobDetail {
    let mut states = client.watch_job(v1::WatchJobRequest { job_id: job.into() }).await.unwrap().into_inner();
    let last = async {
        let mut last = None;
        while let Some(state) = states.message().await.unwrap() {
            last = state.job;
        }
        last.unwrap()
    };
    tokio::time::timeout(Duration::from_secs(10), last).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_are_served() {
    let manager = start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&manager).await);
    let request = tonic_health::pb::HealthCheckRequest { service: "tidemill.v1.JobService".into() };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);

    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel(&manager).await);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(services)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"tidemill.v1.JobService"), "{names:?}");
    assert!(names.contains(&"tidemill.v1.TaskManagerGateway"), "{names:?}");
    manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_manager_of_another_version_is_refused() {
    let manager = start().await;
    let (_, answer) = Pretender::connect(&manager, "9.9.9").await;
    let v1::job_manager_message::Message::Refused(refused) = answer else { panic!("not refused: {answer:?}") };
    assert!(refused.reason.contains("9.9.9"), "{}", refused.reason);
    manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_has_no_effect_and_what_is_current_has() {
    let manager = start().await;
    let mut pretender = Pretender::joined(&manager).await;
    let mut client = JobServiceClient::new(channel(&manager).await);
    let job = submit(&mut client).await;
    let deploy = pretender.deployment().await;
    assert_eq!(deploy.job_id, job);
    let (epoch, attempt) = (pretender.epoch, deploy.attempt);
    pretender.tell(epoch, &deploy, attempt, v1::SubtaskState::Running, "").await;
    pretender.tell(epoch - 1, &deploy, attempt, v1::SubtaskState::Failed, "of a past leader").await;
    pretender.tell(epoch, &deploy, attempt - 1, v1::SubtaskState::Failed, "of a past attempt").await;
    pretender.tell(epoch, &deploy, attempt, v1::SubtaskState::Finished, "").await;
    let job = ended(&mut client, &job).await;
    assert_eq!(job.summary.unwrap().state(), v1::JobState::Finished);
    assert!(job.exceptions.is_empty(), "{:?}", job.exceptions);
    manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_fails_the_job_at_once() {
    let manager = start().await;
    let mut pretender = Pretender::joined(&manager).await;
    let mut client = JobServiceClient::new(channel(&manager).await);
    let job = submit(&mut client).await;
    let deploy = pretender.deployment().await;
    pretender.tell(pretender.epoch, &deploy, deploy.attempt, v1::SubtaskState::Running, "").await;
    drop(pretender);
    let job = ended(&mut client, &job).await;
    assert_eq!(job.summary.unwrap().state(), v1::JobState::Failed);
    assert!(job.exceptions[0].cause.contains("task manager pretender"), "{:?}", job.exceptions);
    let info = client.cluster_info(v1::ClusterInfoRequest {}).await.unwrap().into_inner();
    assert!(info.task_managers.is_empty());
    manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_error_is_an_answer_and_an_unknown_job_a_status() {
    let manager = start().await;
    let mut client = JobServiceClient::new(channel(&manager).await);
    let request = v1::SubmitScriptRequest { script: "SELEC 1".into(), file: "bad.sql".into(), ..Default::default() };
    let response = client.submit_script(request).await.unwrap().into_inner();
    let Some(v1::submit_script_response::Result::Error(error)) = response.result else { panic!("no error") };
    assert!(error.rendered.contains("bad.sql"), "{}", error.rendered);
    let status = client.describe_job(v1::DescribeJobRequest { job_id: "nope".into() }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    manager.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_select_have_one_reader() {
    let manager = start().await;
    let _pretender = Pretender::joined(&manager).await;
    let mut client = JobServiceClient::new(channel(&manager).await);
    let request = v1::SubmitScriptRequest { script: "SELECT 1".into(), file: "s.sql".into(), ..Default::default() };
    let response = client.submit_script(request).await.unwrap().into_inner();
    let Some(v1::submit_script_response::Result::Submitted(submitted)) = response.result else {
        panic!("{response:?}")
    };
    let Some(v1::submitted_statement::Result::Job(job)) = submitted.statements[0].result.clone() else { panic!() };
    assert!(job.select);
    let request = v1::FetchRowsRequest { job_id: job.job_id.clone() };
    let rows = client.fetch_rows(request.clone()).await.unwrap();
    let status = client.fetch_rows(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    // The reader goes away: nobody wants the job any more.
    drop(rows);
    let job = ended(&mut client, &job.job_id).await;
    assert_eq!(job.summary.unwrap().state(), v1::JobState::Canceled);
    manager.shutdown().await;
}
