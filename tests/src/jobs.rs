//! Jobs of a cluster: submitted, watched, and what they have written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// How long a change may take.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(90);

/// Submits a script and waits for the client to end.
pub fn submit_with(cluster: &Cluster, text: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let file = tempfile::Builder::new().suffix(".sql").tempfile()?;
    std::fs::write(file.path(), text)?;
    Ok(cluster.command("submit").arg(file.path()).args(arguments).output()?)
}

/// Submits a script detached and gives the job.
///
/// # Panics
/// If it is refused.
pub fn submit(cluster: &Cluster, text: &str, arguments: &[&str]) -> String {
    match submit_with(cluster, text, &[&["--detach"], arguments].concat()) {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => panic!("{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs()),
        Err(error) => panic!("{error}"),
    }
}

/// Submits a script that is refused, and gives the error.
///
/// # Panics
/// If it is not refused.
pub fn refused(cluster: &Cluster, text: &str, arguments: &[&str]) -> String {
    match submit_with(cluster, text, arguments) {
        Ok(output) if !output.status.success() => String::from_utf8_lossy(&output.stderr).into_owned(),
        Ok(output) => panic!("it was taken: {}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => panic!("{error}"),
    }
}

/// Looks again and again until something is found.
///
/// # Panics
/// If it is not found in time.
pub fn wait_for<T>(cluster: &Cluster, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < CHANGE_TIMEOUT, "not {what}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a job is in a state, and gives its description.
pub fn wait_for_state(cluster: &Cluster, job: &str, state: &str) -> serde_json::Value {
    wait_for(cluster, state, || cluster.json("describe", &[job]).ok().filter(|described| described["state"] == state))
}

/// Waits until so many checkpoints are complete, and gives their history.
pub fn wait_for_checkpoints(cluster: &Cluster, job: &str, count: u64) -> serde_json::Value {
    wait_for(cluster, "enough checkpoints", || {
        let history = cluster.json("checkpoints", &[job]).ok()?;
        (history["counts"]["completed"].as_u64()? >= count).then_some(history)
    })
}

/// Names of files below a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(name) = path.strip_prefix(directory) {
                names.push(name.display().to_string());
            }
        }
    }
    names.sort();
    names
}

/// The lines of published part files, with how often each is there. Names that begin with a dot or
/// underscore are not published.
pub fn rows(directory: &Path) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        for line in std::fs::read_to_string(entry.path()).unwrap_or_default().lines() {
            *rows.entry(line.to_owned()).or_default() += 1;
        }
    }
    rows
}

/// How often each number of the column `n` is in published part files of JSON.
pub fn numbers(directory: &Path) -> BTreeMap<u64, usize> {
    let mut numbers = BTreeMap::new();
    for (line, count) in rows(directory) {
        let row: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        *numbers.entry(row["n"].as_u64().unwrap_or(u64::MAX)).or_default() += count;
    }
    numbers
}
