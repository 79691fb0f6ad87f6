//! A cluster of processes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;
use tidemill_common::ports::free_port;

/// How long a process may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A job manager and task managers, ended when dropped.
pub struct Cluster {
    job_manager: Option<Child>,
    pub task_managers: Vec<Child>,
    pub port: u16,
    slots: usize,
    /// Options of every process, as flags.
    flags: Vec<String>,
    /// Environment of every process that is started from now on.
    environment: Vec<(String, String)>,
    started: usize,
    keeps_output: bool,
    directory: TempDir,
}

impl Cluster {
    /// Starts a job manager and `task_managers` task managers of `slots` slots.
    pub fn start(task_managers: usize, slots: usize) -> anyhow::Result<Self> {
        Self::start_with(task_managers, slots, &[])
    }

    /// The same with options of the processes, such as `("heartbeat-timeout", "2 s")`. A value may name
    /// the cluster's own directory as `{directory}`.
    pub fn start_with(task_managers: usize, slots: usize, options: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir()?, task_managers, slots, options, Vec::new())
    }

    /// The same in a directory that is there, its processes with variables of the environment.
    pub fn start_in(
        directory: TempDir,
        task_managers: usize,
        slots: usize,
        options: &[(&str, &str)],
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let place = directory.path().to_string_lossy().into_owned();
        let flags = options
            .iter()
            .flat_map(|(flag, value)| [format!("--{flag}"), value.replace("{directory}", &place)])
            .collect();
        let port = free_port()?;
        let task_managers_kept = Vec::new();
        let mut cluster = Self {
            job_manager: None,
            task_managers: task_managers_kept,
            port,
            slots,
            flags,
            environment,
            started: 0,
            keeps_output: false,
            directory,
        };
        cluster.start_job_manager()?;
        for _ in 0..task_managers {
            cluster.start_task_manager()?;
        }
        cluster.await_answer()?;
        Ok(cluster)
    }

    /// The directory of its logs and of what it keeps.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    fn spawn(&mut self, role: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Child> {
        self.started += 1;
        let log = self.directory.path().join(format!("{:03}-{role}.log", self.started));
        Ok(crate::tidemill()?
            .arg(role)
            .args(["--jobmanager-rpc-port", &self.port.to_string()])
            .args(arguments)
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(environment.iter().copied())
            .stderr(File::create(&log)?)
            .stdout(if self.keeps_output { File::create(log.with_extension("out"))?.into() } else { Stdio::null() })
            .spawn()?)
    }

    /// What processes print that are started from now on is kept beside their logs, in files `*.out`.
    pub fn keep_output(&mut self) {
        self.keeps_output = true;
    }

    /// Starts the job manager, at its old port if it was killed.
    pub fn start_job_manager(&mut self) -> anyhow::Result<()> {
        self.start_job_manager_with(&[])
    }

    /// The same with variables of its environment.
    pub fn start_job_manager_with(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        self.job_manager = Some(self.spawn("jobmanager", &[], environment)?);
        Ok(())
    }

    /// Starts one more task manager.
    pub fn start_task_manager(&mut self) -> anyhow::Result<()> {
        self.start_task_manager_with(&[])
    }

    /// The same with variables of its environment.
    pub fn start_task_manager_with(&mut self, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let slots = self.slots.to_string();
        let child = self.spawn("taskmanager", &["--taskmanager-number-of-task-slots", &slots], environment)?;
        self.task_managers.push(child);
        Ok(())
    }

    /// The process of the job manager.
    pub fn job_manager(&mut self) -> Option<&mut Child> {
        self.job_manager.as_mut()
    }

    /// SIGKILL to the job manager.
    pub fn kill_job_manager(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.job_manager.take() {
            let killed = child.kill();
            child.wait()?;
            killed?;
        }
        Ok(())
    }

    /// Tells the job manager to end, and waits for that.
    pub fn stop_job_manager(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.job_manager.take() {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGKILL to a task manager, which is forgotten.
    pub fn kill_task_manager(&mut self, index: usize) -> anyhow::Result<()> {
        let mut child = self.task_managers.remove(index);
        let killed = child.kill();
        child.wait()?;
        Ok(killed?)
    }

    /// All processes die at once. Gives how many task managers there were.
    pub fn kill_all(&mut self) -> anyhow::Result<usize> {
        let processes: Vec<u32> = self.task_managers.iter().chain(&self.job_manager).map(Child::id).collect();
        for process in processes {
            signal(process, "STOP")?;
        }
        self.kill_job_manager()?;
        let count = self.task_managers.len();
        while !self.task_managers.is_empty() {
            self.kill_task_manager(0)?;
        }
        Ok(count)
    }

    /// Starts a job manager and task managers after [`Cluster::kill_all`].
    pub fn restart(&mut self, task_managers: usize) -> anyhow::Result<()> {
        self.start_job_manager()?;
        for _ in 0..task_managers {
            self.start_task_manager()?;
        }
        self.await_answer()
    }

    /// Waits until the job manager answers.
    pub fn await_answer(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let listed = self.command("list").args(["--output", "json"]).output()?;
            if listed.status.success() {
                return Ok(());
            }
            if begun.elapsed() > START_TIMEOUT {
                anyhow::bail!(
                    "the cluster does not answer: {}\n{}",
                    String::from_utf8_lossy(&listed.stderr),
                    self.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The answer of a client command as JSON.
    pub fn json(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        let output = self.command(verb).args(arguments).args(["--output", "json"]).output()?;
        if !output.status.success() {
            anyhow::bail!("tidemill {verb}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
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
            if entry.path().extension().is_some_and(|extension| extension == "out") {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else { continue };
            text += &format!("--- {}\n", entry.file_name().to_string_lossy());
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                text += &line;
                text.push('\n');
            }
        }
        text
    }
}

/// Sends a signal, such as `STOP`, to a process.
pub fn signal(process: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status()?;
    anyhow::ensure!(status.success(), "SIG{name} to {process}: {status}");
    Ok(())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.task_managers.iter_mut().chain(&mut self.job_manager) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
