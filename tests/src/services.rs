//! Real servers on loopback, by the scripts in `tests/services`.

use std::io::{BufRead, BufReader, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use tidemill_common::ports::free_port;

/// Exit code of a service script when the machine cannot provide the server.
const UNAVAILABLE: i32 = 77;

/// A server that is stopped when dropped.
pub struct Service {
    script: &'static str,
    directory: TempDir,
    /// What the script printed: an address.
    pub address: String,
}

impl Service {
    /// Starts a server. `None` where this machine cannot provide it, unless
    /// `TIDEMILL_REQUIRE_SERVICES=1` makes that an error; the reason is printed.
    pub fn start(script: &'static str) -> anyhow::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let output = Command::new("bash")
            .arg(crate::directory().join("services").join(script))
            .arg("start")
            .arg(directory.path())
            .arg(port.to_string())
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.code() == Some(UNAVAILABLE) {
            let required = std::env::var("TIDEMILL_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
            anyhow::ensure!(!required, "{script}: {errors}");
            report_skipped(&format!("{script}: {errors}"));
            return Ok(None);
        }
        anyhow::ensure!(output.status.success(), "{script} failed: {errors}");
        let printed = String::from_utf8_lossy(&output.stdout);
        let address = printed.lines().last().unwrap_or_default().trim().to_owned();
        Ok(Some(Self { script, directory, address }))
    }

    /// Runs another command of the script, such as `topic NAME 4`, and returns what it printed.
    pub fn run(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_with_input(command, arguments, "")
    }

    /// A process of the script that takes one command after the other, which saves a start each.
    pub fn session(&self) -> anyhow::Result<Session> {
        let mut child = Command::new("bash")
            .arg(crate::directory().join("services").join(self.script))
            .arg("session")
            .arg(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (commands, answers) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Session { child, commands, answers })
    }

    /// [`Service::run`] with a text as standard input.
    pub fn run_with_input(&self, command: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        let output = Command::new("bash")
            .arg(crate::directory().join("services").join(self.script))
            .arg(command)
            .arg(self.directory.path())
            .args(arguments)
            .stdin(file)
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{} {command} failed: {errors}", self.script);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// See [`Service::session`].
pub struct Session {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Option<BufReader<ChildStdout>>,
}

impl Session {
    /// Runs a command, such as `topic NAME 4`, and returns what it printed.
    ///
    /// # Errors
    /// If it fails, or the process has ended.
    pub fn run(&mut self, command: &str) -> anyhow::Result<String> {
        let (Some(commands), Some(answers)) = (&mut self.commands, &mut self.answers) else {
            anyhow::bail!("the session has ended")
        };
        writeln!(commands, "{command}")?;
        commands.flush()?;
        let mut text = String::new();
        loop {
            let mut line = String::new();
            anyhow::ensure!(answers.read_line(&mut line)? > 0, "{command}: the session has ended");
            match line.trim_end() {
                "--- done" => return Ok(text),
                failed if failed.starts_with("--- failed") => anyhow::bail!("{command}: {failed}"),
                _ => text += &line,
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It ends with its input.
        self.commands = None;
        if let Err(error) = self.child.wait() {
            eprintln!("{error}");
        }
    }
}

/// Says on standard error why a test is skipped. Not by `eprintln`, which is kept back where tests pass.
pub fn report_skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr().lock(), "test {test} ... skipped: {reason}");
}

impl Drop for Service {
    fn drop(&mut self) {
        let stopped = self.run("stop", &[]);
        if let Err(error) = stopped {
            eprintln!("{error}");
        }
    }
}
