//! `tidemill cluster`: a job manager and task managers as processes of their own, watched over.

use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use tidemill_common::limits::TASK_MANAGER_MEMORY_MIN;
use tidemill_common::ports::free_port;
use tidemill_common::process_options::{PROCESS_OPTIONS, ProcessConfig};
use tidemill_taskmanager::memory::usable_bytes;
use tokio::process::{Child, ChildStdin, Command};

use crate::args::{ClusterArgs, ProcessFlags};
use crate::client::connect_to;
use crate::error::CliError;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::{config, logging};

/// How long the processes may take to find each other.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a process may take to end when it is told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// Pause before a process that died is started again; it doubles each time.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that lived for so long is as good as new.
const RESTART_RESET: Duration = Duration::from_secs(30);

/// Starts the processes and watches over them until a signal.
pub async fn cluster(args: ClusterArgs) -> Result<ExitCode, CliError> {
    let mut flags = args.process.clone();
    if let Some(slots) = args.slots {
        flags.values.insert("taskmanager.numberOfTaskSlots".to_owned(), slots.to_string());
    }
    let mut config = config::load(&flags)?;
    logging::start(&config, "info", &Terminal::detect());
    if config.port("jobmanager.rpc.port") == 0 {
        // The task managers must know it.
        flags.values.insert("jobmanager.rpc.port".to_owned(), free_port().map_err(CliError::Spawn)?.to_string());
        config = config::load(&flags)?;
    }
    // The job manager finds its jobs again when it is started anew.
    let temporary = match config.text("jobmanager.data.dir") {
        Some(_) => None,
        None => {
            let directory = TemporaryDirectory::new()?;
            flags.values.insert("jobmanager.data.dir".to_owned(), directory.0.display().to_string());
            Some(directory)
        }
    };
    if config.text("taskmanager.memory.size").is_none() {
        let each = (usable_bytes() / u64::from(args.taskmanagers.max(1))).max(TASK_MANAGER_MEMORY_MIN);
        flags.values.insert("taskmanager.memory.size".to_owned(), format!("{} mb", each >> 20));
    }
    let mut signals = Signals::listen()?;
    let mut cluster = Cluster::start(&flags, args.taskmanagers)?;
    let watched = tokio::select! {
        result = cluster.watch(&config) => result,
        () = signals.wait() => Ok(()),
    };
    signals.end_at_once();
    cluster.stop().await;
    drop(temporary);
    watched.map(|()| ExitCode::SUCCESS)
}

/// The data of a job manager whose jobs end with the cluster.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("tidemill-cluster-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).map_err(|source| CliError::Write { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "a directory stays");
        }
    }
}

struct Cluster {
    flags: ProcessFlags,
    jobmanager: Process,
    taskmanagers: Vec<Process>,
}

/// A process of the cluster, which lives as long as its standard input is open. (`Child::wait`
/// closes what is left in the child, so it is kept apart.)
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    started: Instant,
    /// Before it is started again, should it die.
    pause: Duration,
}

impl Cluster {
    fn start(flags: &ProcessFlags, taskmanagers: u32) -> Result<Self, CliError> {
        let jobmanager = spawn("jobmanager", flags)?;
        let taskmanagers = (0..taskmanagers).map(|_| spawn("taskmanager", flags)).collect::<Result<_, _>>()?;
        Ok(Self { flags: flags.clone(), jobmanager, taskmanagers })
    }

    /// Says when the cluster is ready, and starts processes again that die. Returns when the job manager
    /// dies before the cluster was ready: it cannot start.
    async fn watch(&mut self, config: &ProcessConfig) -> Result<(), CliError> {
        let ready = announce(config.clone(), self.taskmanagers.len());
        tokio::pin!(ready);
        let mut announced = false;
        loop {
            tokio::select! {
                result = &mut ready, if !announced => {
                    announced = true;
                    result?;
                }
                status = self.jobmanager.child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    if !announced {
                        return Err(CliError::ProcessEnded { process: "job manager".to_owned(), status });
                    }
                    tracing::warn!("the job manager ended ({status}); it is started again");
                    self.jobmanager = again("jobmanager", &self.jobmanager, &self.flags).await?;
                }
                (index, status) = first_ended(&mut self.taskmanagers) => {
                    tracing::warn!("task manager {} ended ({status}); it is started again", index + 1);
                    self.taskmanagers[index] = again("taskmanager", &self.taskmanagers[index], &self.flags).await?;
                }
            }
        }
    }

    /// Ends the job manager, which cancels the jobs, and then the task managers.
    async fn stop(mut self) {
        stop_child(&mut self.jobmanager, "job manager").await;
        for child in &mut self.taskmanagers {
            child.stdin = None;
        }
        for child in &mut self.taskmanagers {
            stop_child(child, "task manager").await;
        }
    }
}

/// Starts this binary in another role, with the same options.
fn spawn(role: &str, flags: &ProcessFlags) -> Result<Process, CliError> {
    let binary = std::env::current_exe().map_err(CliError::Spawn)?;
    let mut command = Command::new(binary);
    command.arg(role).arg("--exit-with-parent");
    if let Some(file) = &flags.file {
        command.arg("--config").arg(file);
    }
    for option in PROCESS_OPTIONS {
        if let Some(value) = flags.values.get(option.key) {
            command.arg(format!("--{}={value}", option.flag()));
        }
    }
    // Its own process group: Ctrl-C comes here, and the processes end in order. When this process
    // dies, its end of their standard input closes and they end too.
    command.stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(CliError::Spawn)?;
    let stdin = child.stdin.take();
    tracing::info!(pid = child.id(), "started the {role}");
    Ok(Process { child, stdin, started: Instant::now(), pause: RESTART_PAUSE })
}

/// Starts a process that died again, after a pause that grows while it dies early.
async fn again(role: &str, died: &Process, flags: &ProcessFlags) -> Result<Process, CliError> {
    let pause = if died.started.elapsed() >= RESTART_RESET { RESTART_PAUSE } else { died.pause };
    tokio::time::sleep(pause).await;
    let process = spawn(role, flags)?;
    Ok(Process { pause: (pause * 2).min(RESTART_PAUSE_MAX), ..process })
}

/// Waits for the first process to end: its position, and how it ended.
async fn first_ended(processes: &mut [Process]) -> (usize, String) {
    let mut waits: Vec<_> = processes.iter_mut().map(|process| Box::pin(process.child.wait())).collect();
    std::future::poll_fn(|context| {
        for (index, wait) in waits.iter_mut().enumerate() {
            if let Poll::Ready(status) = wait.as_mut().poll(context) {
                return Poll::Ready((
                    index,
                    status.map_or_else(|error| error.to_string(), |status| status.to_string()),
                ));
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits until all task managers have registered, and says so on standard output.
async fn announce(config: ProcessConfig, taskmanagers: usize) -> Result<(), CliError> {
    let host = config.text("jobmanager.rpc.address").unwrap_or("127.0.0.1");
    let address = format!("{host}:{}", config.port("jobmanager.rpc.port"));
    let start = Instant::now();
    loop {
        if let Ok(mut client) = connect_to(&address, Duration::from_secs(1)).await
            && let Ok(info) = client.cluster_info().await
            && info.task_managers.len() >= taskmanagers
        {
            let slots: u32 = info.task_managers.iter().map(|member| member.slots).sum();
            println!("cluster is ready: job manager at {address}, {taskmanagers} task managers with {slots} slots");
            let _ = std::io::stdout().flush();
            return Ok(());
        }
        if start.elapsed() > READY_TIMEOUT {
            return Err(CliError::Refused(format!(
                "the task managers did not register within {} s",
                READY_TIMEOUT.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn stop_child(Process { child, stdin, .. }: &mut Process, process: &str) {
    *stdin = None;
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("the {process} did not end within {} s and is killed", STOP_TIMEOUT.as_secs());
        if let Err(error) = child.kill().await {
            tracing::warn!("the {process} cannot be killed: {error}");
        }
    }
}
