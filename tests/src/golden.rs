//! Golden scripts: SQL with the output that a real Flink gave.
//!
//! `NAME.sql` may use `${data}` and `${out}`. `NAME.expected` has comment lines (`#`), then for each
//! output a line `== NAME` and its records in bytewise order: outputs are multisets. Those of a script with a line
//! `-- ordered` are lists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What stands for the content of a mark, so that it is compared like all others.
const MARK: &str = "(a file that marks its directory)";

/// A golden script.
#[derive(Clone, Debug)]
pub struct Golden {
    pub name: String,
    path: PathBuf,
}

/// Records by output: the directory of a sink, or `select-N`.
pub type Outputs = BTreeMap<String, Vec<String>>;

impl Golden {
    /// All golden scripts, by name.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let mut goldens = Vec::new();
        for entry in std::fs::read_dir(crate::directory().join("sql"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                goldens.push(Self { name, path });
            }
        }
        goldens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(goldens)
    }

    /// Whether the answer depends on the order of rows, so that it only holds at parallelism 1.
    pub fn needs_parallelism_one(&self) -> anyhow::Result<bool> {
        Ok(std::fs::read_to_string(&self.path)?.lines().any(|line| line.trim() == "-- parallelism: 1"))
    }

    /// Whether records come in a certain order.
    pub fn is_ordered(&self) -> anyhow::Result<bool> {
        Ok(std::fs::read_to_string(&self.path)?.lines().any(|line| line.trim() == "-- ordered"))
    }

    /// Writes the script with its paths filled in to `out`, and returns where.
    pub fn prepare(&self, out: &Path) -> anyhow::Result<PathBuf> {
        let data = crate::directory().join("sql/data");
        let script = std::fs::read_to_string(&self.path)?
            .replace("${data}", &data.display().to_string())
            .replace("${out}", &out.display().to_string());
        let path = out.join(format!("{}.sql", self.name));
        std::fs::write(&path, script)?;
        Ok(path)
    }

    /// What Flink gave.
    pub fn expected(&self) -> anyhow::Result<Outputs> {
        let path = self.path.with_extension("expected");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut outputs = Outputs::new();
        let mut current: Option<&mut Vec<String>> = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                current = Some(outputs.entry(name.to_owned()).or_default());
            } else if let Some(records) = &mut current {
                records.push(line.to_owned());
            }
        }
        Ok(outputs)
    }

    /// What is in the directories below `out`, and in the rows of top-level SELECTs.
    pub fn actual(&self, out: &Path, selected: &str) -> anyhow::Result<Outputs> {
        let is_ordered = self.is_ordered()?;
        let mut outputs = Outputs::new();
        for entry in std::fs::read_dir(out)? {
            let path = entry?.path();
            if path.is_dir() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_')) {
                read_outputs(out, &path, &mut outputs)?;
            }
        }
        if !is_ordered {
            outputs.values_mut().for_each(|records| records.sort());
        }
        // The rows of all SELECTs come one after the other; which row is whose is not said.
        let mut rows: Vec<String> = selected.lines().map(str::to_owned).collect();
        if !is_ordered {
            rows.sort();
        }
        if !rows.is_empty() {
            outputs.insert("select".to_owned(), rows);
        }
        Ok(outputs)
    }

    /// Compares: the first differences of each output that differs.
    pub fn differences(&self, out: &Path, selected: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let is_ordered = self.is_ordered()?;
        let mut recorded: Vec<(String, Vec<String>)> = self.expected()?.into_iter().collect();
        // By number: `select-10` comes behind `select-9`.
        recorded.sort_by_key(|(name, _)| name.strip_prefix("select-").and_then(|number| number.parse::<usize>().ok()));
        let mut expected = Outputs::new();
        for (name, records) in recorded {
            let name = if name.starts_with("select-") { "select".to_owned() } else { name };
            expected.entry(name).or_default().extend(records);
        }
        if !is_ordered && let Some(rows) = expected.get_mut("select") {
            rows.sort();
        }
        for (name, records) in &mut expected {
            if name.rsplit('/').next().is_some_and(|name| name.starts_with('_')) {
                records.push(MARK.to_owned());
            }
        }
        let actual = self.actual(out, selected)?;
        // What nobody expects is surplus.
        for name in actual.keys().filter(|name| *name != "select") {
            expected.entry(name.clone()).or_default();
        }
        let mut differences = BTreeMap::new();
        for (name, records) in &expected {
            let found = actual.get(name).map(Vec::as_slice).unwrap_or_default();
            if is_ordered {
                if let Some(text) = first_difference(records, found) {
                    differences.insert(name.clone(), text);
                }
                continue;
            }
            let missing = without(records, found);
            let surplus = without(found, records);
            if missing.is_empty() && surplus.is_empty() {
                continue;
            }
            let mut text = format!("{} records, expected {}\n", found.len(), records.len());
            missing.iter().take(5).for_each(|record| text += &format!("  - {record}\n"));
            surplus.iter().take(5).for_each(|record| text += &format!("  + {record}\n"));
            differences.insert(name.clone(), text);
        }
        Ok(differences)
    }
}

/// Where two lists begin to differ.
fn first_difference(expected: &[String], found: &[String]) -> Option<String> {
    if expected == found {
        return None;
    }
    let at = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let line = |records: &[String]| records.get(at).map_or("nothing", String::as_str).to_owned();
    let (found_rows, rows) = (found.len(), expected.len());
    Some(format!(
        "{found_rows} records, expected {rows}; record {}:\n  - {}\n  + {}\n",
        at + 1,
        line(expected),
        line(found)
    ))
}

/// The parts in a directory are an output, and so are those below it; marks such as `_SUCCESS` are outputs of
/// their own. What is below a directory whose name begins with `_` is left out: scripts read binary files back.
fn read_outputs(out: &Path, directory: &Path, outputs: &mut Outputs) -> anyhow::Result<()> {
    let relative = |path: &Path| path.strip_prefix(out).unwrap_or(path).display().to_string();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        anyhow::ensure!(!name.contains("inprogress"), "an unfinished part was left: {}", path.display());
        if path.is_dir() {
            if !name.starts_with('_') {
                read_outputs(out, &path, outputs)?;
            }
        } else if name.starts_with('_') {
            outputs.entry(relative(&path)).or_default().push(MARK.to_owned());
        } else if !name.starts_with('.') {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            outputs.entry(relative(directory)).or_default().extend(text.lines().map(str::to_owned));
        }
    }
    Ok(())
}

/// The records of the sorted multiset `a` that `b`, sorted too, does not have.
fn without<'a>(a: &'a [String], b: &[String]) -> Vec<&'a String> {
    let mut rest = b.iter().peekable();
    a.iter()
        .filter(|record| {
            while rest.next_if(|other| other < record).is_some() {}
            rest.next_if(|other| other == record).is_none()
        })
        .collect()
}
