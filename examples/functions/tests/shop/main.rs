//! The program `shop`: its functions give the same whichever way rows take, and are known wherever names are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod messages;
mod page;
mod state;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command of the program.
fn shop() -> Command {
    tidemill_tests::use_program(Path::new(SHOP));
    let mut command = tidemill_tests::tidemill().unwrap();
    command.env("ORDERS", directory().join("orders.jsonl"));
    command
}

/// The plain `tidemill`, which has none of the functions.
fn plain() -> PathBuf {
    tidemill_tests::binary().unwrap()
}

/// Runs a script to its end with the program.
fn run(script: &str) -> Output {
    let file = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    shop().arg("run").arg(file.path()).output().unwrap()
}

/// The lines that a script prints, sorted, without the subtasks that have printed them.
fn rows(script: &str) -> Vec<String> {
    let output = run(script);
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let plain = |line: &str| match line.split_once("> ") {
        Some((subtask, row)) if subtask.parse::<u32>().is_ok() => row.to_owned(),
        Some((identifier, row)) => format!("{} {row}", identifier.split(':').next().unwrap_or_default()),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(plain).collect();
    lines.sort();
    lines
}

/// The error of a script that is refused.
fn refused(script: &str) -> String {
    let output = run(script);
    assert!(!output.status.success(), "it was taken: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}
