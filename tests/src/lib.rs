//! What the cross-process tests share: the binary, clusters of it, real servers, golden scripts.

pub mod chaos;
pub mod cluster;
pub mod docs;
pub mod fault_proxy;
pub mod golden;
pub mod http;
pub mod jobs;
pub mod large_state;
pub mod power;
pub mod services;
pub mod small_disk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `tests` directory of the repository.
pub fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

static OTHER: OnceLock<PathBuf> = OnceLock::new();

/// Makes a program with functions of its own what all helpers start instead of the plain `tidemill`.
///
/// # Panics
/// If another one is used already.
pub fn use_program(program: &Path) {
    assert_eq!(OTHER.get_or_init(|| program.to_owned()), program);
}

/// The binary `tidemill` that stands beside the test binaries.
///
/// # Errors
/// If it was not built: `make test` builds it first.
pub fn binary() -> anyhow::Result<PathBuf> {
    let mut directory = std::env::current_exe()?;
    while directory.pop() {
        let binary = directory.join("tidemill");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    anyhow::bail!("the binary 'tidemill' is not built; run `cargo build --release` first")
}

/// A command of the binary that does not read the surroundings' configuration, but for the promise that
/// it is to break.
pub fn tidemill() -> anyhow::Result<Command> {
    let program = match OTHER.get() {
        Some(program) => program.clone(),
        None => binary()?,
    };
    Ok(without_configuration(program))
}

/// A command that does not read the surroundings' configuration, but for the promise that it is to break.
pub fn without_configuration(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    let configures = |name: &str| name.starts_with("TIDEMILL_") && name != "TIDEMILL_BROKEN_PROMISE";
    for (name, _) in std::env::vars().filter(|(name, _)| configures(name)) {
        command.env_remove(name);
    }
    // Many clusters run side by side.
    command.env("TIDEMILL_REST_PORT", "0");
    command
}
