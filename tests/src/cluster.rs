//! A cluster of processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;

/// How long a process may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A job manager and task managers, ended when dropped.
pub struct Cluster {
    job_manager: Child,
    pub task_managers: Vec<Child>,
    pub port: u16,
    directory: TempDir,
}

impl Cluster {
    /// Starts a job manager and `task_managers` task managers of `slots` slots.
    pub fn start(task_managers: usize, slots: usize) -> anyhow::Result<Self> {
        let port = crate::free_port()?;
        let directory = tempfile::tempdir()?;
        let job_manager = crate::tidemill()?
            .args(["jobmanager", "--jobmanager-rpc-port", &port.to_string()])
            .stderr(std::fs::File::create(directory.path().join("jobmanager.log"))?)
            .stdout(Stdio::null())
            .spawn()?;
        let mut cluster = Self { job_manager, task_managers: Vec::new(), port, directory };
        for index in 0..task_managers {
            let log = cluster.directory.path().join(format!("taskmanager-{index}.log"));
            let child = crate::tidemill()?
                .args(["taskmanager", "--jobmanager-rpc-port", &port.to_string()])
                .args(["--taskmanager-number-of-task-slots", &slots.to_string()])
                .stderr(std::fs::File::create(log)?)
                .stdout(Stdio::null())
                .spawn()?;
            cluster.task_managers.push(child);
        }
        let begun = Instant::now();
        loop {
            let listed = cluster.command("list").args(["--output", "json"]).output()?;
            if listed.status.success() {
                return Ok(cluster);
            }
            if begun.elapsed() > START_TIMEOUT {
                anyhow::bail!(
                    "the cluster does not answer: {}\n{}",
                    String::from_utf8_lossy(&listed.stderr),
                    cluster.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A client command of this cluster.
    pub fn command(&self, verb: &str) -> Command {
        // `binary` was found when the cluster started.
        let mut command = crate::tidemill().unwrap_or_else(|_| Command::new("tidemill"));
        command.arg(verb).args(["--jobmanager-rpc-port", &self.port.to_string()]);
        command
    }

    /// Runs a client command to its end.
    pub fn run(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(verb).args(arguments).output().context("tidemill")
    }

    /// What all processes logged.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            let Ok(file) = std::fs::File::open(entry.path()) else { continue };
            text += &format!("--- {}\n", entry.file_name().to_string_lossy());
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                text += &line;
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.task_managers.iter_mut().chain([&mut self.job_manager]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
