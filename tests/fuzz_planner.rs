//! Parser and planner on scripts that were damaged by chance: no panic, no hang, bounded memory.
//!
//! Scripts are those of `sql` and `sql_errors`. `TIDEMILL_FUZZ_SECONDS` is how long it runs (20 unless set;
//! 120 is what continuous integration may take), `TIDEMILL_FUZZ_SEED` repeats a run. What is found is
//! printed with its seed and number, and the script.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tidemill_connectors::registry::Registry;
use tidemill_planner::session::Planner;

const SECONDS_DEFAULT: u64 = 20;
/// The longest that one script may take.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The most memory that the process may come to have.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a script: larger ones are only slower.
const SCRIPT_BYTES: usize = 64 << 10;
/// Odd pieces beside those of the scripts.
const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    ".",
    "'",
    "`",
    "\"",
    "--",
    "/*",
    "*/",
    "/*+",
    "=>",
    "||",
    "::",
    "\0",
    "\u{1}",
    "é",
    "😀",
    "\u{202e}",
    "0",
    "1e999",
    "9223372036854775808",
    "-1",
    "NULL",
    "X'0'",
    "INTERVAL",
    "DESCRIPTOR",
    "END",
    "BEGIN",
    "STATEMENT",
    "SET",
    "EXPLAIN",
    "LIKE",
    "PARTITION",
    "GROUPING SETS",
    "ROLLUP",
    "CUBE",
    "OPTIONS",
    "METADATA",
    "ALTER",
    "OVER",
    "CASE",
    "WHEN",
    "ROW",
    "ARRAY",
    "MAP",
    "UNION ALL",
    "WITH",
    "LATERAL",
    "VALUES",
    "TABLE",
    "AS",
    "SET 'execution.runtime-mode' = 'batch';",
    "ORDER BY 1",
    "ORDER BY",
    "DESC NULLS LAST",
    "LIMIT 3",
    "OFFSET 2 ROWS",
    "FETCH FIRST 5 ROWS ONLY",
    "DISTINCT",
    "GROUP BY",
    "HAVING COUNT(*) > 1",
];

struct Corpus {
    scripts: Vec<String>,
    pieces: Vec<String>,
}

impl Corpus {
    fn read() -> Self {
        let mut scripts = Vec::new();
        for folder in ["sql", "sql_errors"] {
            let mut paths: Vec<_> = std::fs::read_dir(tidemill_tests::directory().join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
                .collect();
            paths.sort();
            scripts.extend(paths.iter().map(|path| std::fs::read_to_string(path).unwrap()));
        }
        let mut pieces: Vec<String> = scripts.iter().flat_map(|script| pieces(script)).collect();
        pieces.sort();
        pieces.dedup();
        // Odd pieces are as likely as all others together.
        let others = pieces.len() / PIECES.len() + 1;
        for _ in 0..others {
            pieces.extend(PIECES.iter().map(|piece| (*piece).to_owned()));
        }
        Self { scripts, pieces }
    }

    /// A script with some damage.
    fn damaged(&self, rng: &mut StdRng) -> String {
        let mut parts = pieces(self.scripts.choose(rng).unwrap());
        for _ in 0..rng.random_range(1..8) {
            let at = rng.random_range(0..parts.len().max(1));
            let end = (at + rng.random_range(1..6)).min(parts.len());
            match rng.random_range(0..9) {
                0 => drop(parts.drain(at..end)),
                1 => parts.insert(at.min(parts.len()), self.pieces.choose(rng).unwrap().clone()),
                2 if at < parts.len() => parts[at] = self.pieces.choose(rng).unwrap().clone(),
                3 => {
                    let copy = parts[at.min(end)..end].to_vec();
                    let times = if rng.random_bool(0.05) { 3_000 } else { 2 };
                    let copies = copy.iter().cloned().cycle().take(copy.len() * times);
                    parts.splice(at..at, copies);
                }
                4 => {
                    let other = rng.random_range(0..parts.len().max(1));
                    if at < parts.len() {
                        parts.swap(at, other);
                    }
                }
                5 => {
                    // The end of another script.
                    let other = pieces(self.scripts.choose(rng).unwrap());
                    parts.truncate(at);
                    let from = rng.random_range(0..other.len().max(1)).min(other.len());
                    parts.extend_from_slice(&other[from..]);
                }
                6 => {
                    let depth = if rng.random_bool(0.05) { 3_000 } else { 3 };
                    let (open, close) =
                        *[("(", ")"), ("ARRAY[", "]"), ("CASE WHEN TRUE THEN ", " END"), ("NOT ", ""), ("- ", "")]
                            .choose(rng)
                            .unwrap();
                    parts.insert(end, close.repeat(depth));
                    parts.insert(at, open.repeat(depth));
                }
                7 if at < parts.len() => {
                    // A character of a word.
                    let mut characters: Vec<char> = parts[at].chars().collect();
                    let position = rng.random_range(0..characters.len().max(1));
                    if position < characters.len() {
                        characters[position] = char::from_u32(rng.random_range(1..0x250)).unwrap_or('x');
                    }
                    parts[at] = characters.into_iter().collect();
                }
                _ => parts.truncate(end),
            }
            if parts.is_empty() {
                parts.push("SELECT 1".to_owned());
            }
        }
        let mut script = parts.concat();
        let mut length = script.len().min(SCRIPT_BYTES);
        while !script.is_char_boundary(length) {
            length -= 1;
        }
        script.truncate(length);
        script
    }
}

/// Words, blanks and single characters of a script.
fn pieces(script: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let kind = |c: char| {
        if c.is_alphanumeric() || c == '_' {
            1
        } else if c.is_whitespace() {
            2
        } else {
            0
        }
    };
    for c in script.chars() {
        match pieces.last_mut() {
            Some(last) if kind(c) != 0 && last.chars().next_back().map(kind) == Some(kind(c)) => last.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

/// The most memory that this process has had.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
fn damaged_scripts_are_refused_or_planned() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = setting("TIDEMILL_FUZZ_SECONDS").unwrap_or(SECONDS_DEFAULT).min(120);
    let seed = setting("TIDEMILL_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}, {seconds} s");
    let corpus = Corpus::read();
    let (to_planner, scripts) = mpsc::sync_channel::<String>(0);
    let (outcomes, from_planner) = mpsc::sync_channel::<Option<bool>>(0);
    // As on the job manager, whose threads have stacks of this size.
    let planner = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for script in scripts {
            let plan = || {
                let planned = Planner::new(&Registry, BTreeMap::new(), &|_| None).plan_script(&script, "fuzz.sql");
                if let Ok(planned) = &planned {
                    for statement in &planned.statements {
                        if let tidemill_planner::session::PlannedStatement::Job { plan, .. } = statement {
                            plan.to_json().unwrap();
                        }
                    }
                }
                planned.is_ok()
            };
            if outcomes.send(std::panic::catch_unwind(AssertUnwindSafe(plan)).ok()).is_err() {
                return;
            }
        }
    });
    let planner = planner.unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut number, mut planned) = (0u64, 0u64);
    while Instant::now() < end {
        let script = corpus.damaged(&mut rng);
        let shown: String = script.chars().take(4_000).collect();
        to_planner.send(script).unwrap();
        match from_planner.recv_timeout(SCRIPT_TIMEOUT) {
            Ok(Some(good)) => planned += u64::from(good),
            Ok(None) => panic!("seed {seed}, script {number}: the planner panicked on\n{shown}"),
            Err(RecvTimeoutError::Timeout) => {
                panic!("seed {seed}, script {number}: not planned within {SCRIPT_TIMEOUT:?}:\n{shown}")
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("seed {seed}, script {number}: the planner is gone:\n{shown}")
            }
        }
        let memory = memory_peak();
        assert!(memory < MEMORY_BYTES_MAX, "seed {seed}, script {number}: {memory} bytes of memory:\n{shown}");
        number += 1;
    }
    drop(to_planner);
    planner.join().unwrap();
    println!("{number} scripts, {planned} of them planned");
    assert!(number > 100 && planned > 0, "{number} scripts, {planned} planned");
}
