//! A loss of power: what processes have written and not synced is gone.
//!
//! `power/shim.c` writes down what they ask of the file system. When all of them are dead, what a file
//! system may forget is taken away: content that was not synced, and names in directories that were not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tempfile::TempDir;

/// A disk below a directory.
pub struct Disk {
    root: PathBuf,
    /// Holds the shim and its log.
    own: TempDir,
    /// What was there and durable when the log began.
    before: BTreeSet<PathBuf>,
}

/// What a loss of power has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Files whose content was not on disk.
    pub emptied: u64,
    /// Files, directories and new names that were not on disk.
    pub forgotten: u64,
}

/// What the log says: names, each of a file or directory, and which content is on disk.
#[derive(Default)]
struct Model {
    now: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    synced: Vec<bool>,
}

impl Model {
    fn new(before: &BTreeSet<PathBuf>) -> Self {
        let now: BTreeMap<PathBuf, usize> = before.iter().cloned().zip(0..).collect();
        Self { durable: now.clone(), synced: vec![true; now.len()], now }
    }

    fn file(&mut self, path: &Path, synced: bool) {
        let id = *self.now.entry(path.to_owned()).or_insert_with(|| {
            self.synced.push(true);
            self.synced.len() - 1
        });
        self.synced[id] = synced;
    }

    fn apply(&mut self, line: &str) -> Option<()> {
        let (what, rest) = line.split_at_checked(2)?;
        let path = Path::new(rest);
        match what.trim_end() {
            "W" => self.file(path, false),
            "M" => self.file(path, true),
            "S" if self.now.contains_key(path) => self.file(path, true),
            "S" => {}
            "D" => {
                self.durable.retain(|name, _| name.parent() != Some(path));
                let entries = self.now.iter().filter(|(name, _)| name.parent() == Some(path));
                self.durable.extend(entries.map(|(name, id)| (name.clone(), *id)));
            }
            "U" => drop(self.now.remove(path)),
            "L" => {
                let (from, to) = rest.split_once('\t')?;
                let id = *self.now.get(Path::new(from))?;
                self.now.insert(PathBuf::from(to), id);
            }
            "R" => {
                let (from, to) = rest.split_once('\t')?;
                let moved: Vec<PathBuf> = self.now.keys().filter(|name| name.starts_with(from)).cloned().collect();
                for name in moved {
                    let id = self.now.remove(&name)?;
                    let below = name.strip_prefix(from).ok()?;
                    let new = if below.as_os_str().is_empty() { PathBuf::from(to) } else { Path::new(to).join(below) };
                    self.now.insert(new, id);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The name that a file still has on disk, if it was renamed since.
    fn old_name(&self, id: usize) -> Option<&Path> {
        let mut names = self.durable.iter().filter(|(name, found)| **found == id && !self.now.contains_key(*name));
        names.next().map(|(name, _)| name.as_path())
    }
}

impl Disk {
    /// A disk below `root`, which is empty. `None`, with the reason, where there is no C compiler.
    pub fn new(root: &Path) -> anyhow::Result<Option<Self>> {
        let own = tempfile::tempdir()?;
        let source = crate::directory().join("power/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(own.path().join("shim.so"))
            .arg(source)
            .arg("-ldl")
            .output();
        match compiled {
            Ok(output) => {
                anyhow::ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
                Ok(Some(Self { root: root.to_owned(), own, before: BTreeSet::new() }))
            }
            Err(error) => {
                crate::services::report_skipped(&format!("no C compiler: {error}"));
                Ok(None)
            }
        }
    }

    /// The environment of processes that use the disk.
    pub fn environment(&self) -> Vec<(String, String)> {
        let own = |name: &str| self.own.path().join(name).display().to_string();
        let pairs = [("LD_PRELOAD", own("shim.so")), ("POWER_LOG", own("log"))];
        let root = ("POWER_ROOT".to_owned(), self.root.display().to_string());
        pairs.map(|(name, value)| (name.to_owned(), value)).into_iter().chain([root]).collect()
    }

    /// All processes are dead; what they had not synced is taken away.
    pub fn lose_power(&mut self) -> anyhow::Result<Lost> {
        let log = self.own.path().join("log");
        let text = std::fs::read_to_string(&log).context("the log of the shim")?;
        let mut model = Model::new(&self.before);
        for line in text.lines() {
            model.apply(line).with_context(|| format!("a strange line in the log of the shim: {line}"))?;
        }
        let mut lost = Lost::default();
        self.forget(&self.root, &model, &mut lost)?;
        std::fs::remove_file(&log)?;
        self.before.clear();
        let mut before = BTreeSet::new();
        walk(&self.root, &mut |path| {
            before.insert(path.to_owned());
        })?;
        self.before = before;
        Ok(lost)
    }

    fn forget(&self, directory: &Path, model: &Model, lost: &mut Lost) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            // Logs of the processes are not theirs.
            let Some(id) = model.now.get(&path) else { continue };
            if !model.durable.contains_key(&path) {
                lost.forgotten += 1;
                match model.old_name(*id) {
                    Some(old) if old.parent().is_some_and(Path::is_dir) => std::fs::rename(&path, old)?,
                    _ if path.is_dir() => std::fs::remove_dir_all(&path)?,
                    _ => std::fs::remove_file(&path)?,
                }
            } else if path.is_dir() {
                self.forget(&path, model, lost)?;
            } else if !model.synced[*id] {
                lost.emptied += 1;
                std::fs::File::create(&path)?;
            }
        }
        Ok(())
    }
}

fn walk(directory: &Path, each: &mut impl FnMut(&Path)) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        each(&path);
        if path.is_dir() {
            walk(&path, each)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_was_not_synced_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("disk");
        std::fs::create_dir(&root).unwrap();
        let Some(mut disk) = Disk::new(&root).unwrap() else { return };
        let program = directory.path().join("writes");
        let source = crate::directory().join("power/writes.c");
        let compiled = Command::new("cc").arg("-o").args([&program, &source]).output().unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let written = Command::new(&program).envs(disk.environment()).status().unwrap();
        assert!(written.success(), "{written}");
        let lost = disk.lose_power().unwrap();
        assert_eq!((lost.emptied, lost.forgotten), (1, 3), "{lost:?}");
        let mut left = Vec::new();
        walk(&root, &mut |path| {
            left.push((path.strip_prefix(&root).unwrap().display().to_string(), std::fs::read(path).ok()));
        })
        .unwrap();
        left.sort();
        let text = Some(b"text".to_vec());
        let expected = [
            ("kept", None),
            ("kept/empty", Some(Vec::new())),
            ("kept/renamed.new", text.clone()),
            ("kept/synced", text),
        ];
        assert_eq!(left, expected.map(|(name, content)| (name.to_owned(), content)));
    }
}
