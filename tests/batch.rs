//! Batch mode with less memory than its rows take: sorts and groups are those of a model all the same; and what
//! becomes of checkpoints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROWS: i64 = 300_000;
/// Little more than what the process needs for itself.
const MEMORY: &str = "130 mb";

type Row = (i64, String, i64);

fn input(path: &Path) -> Vec<Row> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut rows = Vec::new();
    let mut text = String::new();
    for id in 0..ROWS {
        let row = (id, format!("k{}", rng.random_range(0..ROWS / 2)), rng.random_range(0..1_000));
        writeln!(text, "{},{},{}", row.0, row.1, row.2).unwrap();
        rows.push(row);
    }
    std::fs::write(path, text).unwrap();
    rows
}

/// The lines of a sink, in the order of its one file if there is one.
fn lines(out: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(out).unwrap() {
        lines.extend(std::fs::read_to_string(entry.unwrap().path()).unwrap().lines().map(str::to_owned));
    }
    lines
}

#[test]
fn rows_that_have_no_room_are_sorted_and_grouped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let mut rows = input(&directory.path().join("in.csv"));
    let table = |name: &str, columns: &str| {
        format!(
            "CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}/{name}', 'format' = 'csv');\n"
        )
    };
    let script = [
        "SET 'execution.runtime-mode' = 'batch';\nSET 'table.dml-sync' = 'true';\n".to_owned(),
        table("in.csv", "id BIGINT, k STRING, n BIGINT").replace("TABLE in.csv", "TABLE i"),
        table("ordered", "id BIGINT, k STRING, n BIGINT"),
        table("heads", "id BIGINT"),
        table("grouped", "k STRING, rows_of BIGINT, total BIGINT"),
        "INSERT INTO ordered SELECT * FROM i ORDER BY n DESC, k, id;\n".to_owned(),
        "INSERT INTO heads SELECT id FROM i ORDER BY k DESC, id LIMIT 100 OFFSET 50;\n".to_owned(),
        "INSERT INTO grouped SELECT k, COUNT(*), SUM(n) FROM i GROUP BY k;\n".to_owned(),
    ]
    .concat();
    let file = directory.path().join("batch.sql");
    std::fs::write(&file, script).unwrap();
    let mut command = tidemill_tests::tidemill().unwrap();
    command.arg("run").arg(&file).args(["--parallelism", "2", "--taskmanager-memory-size", MEMORY]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut groups: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (_, key, n) in &rows {
        let group = groups.entry(key.clone()).or_default();
        *group = (group.0 + 1, group.1 + n);
    }
    let expected: Vec<String> = groups.iter().map(|(key, (count, total))| format!("{key},{count},{total}")).collect();
    let mut grouped = lines(&directory.path().join("grouped"));
    grouped.sort_by_key(|line| line.split(',').next().unwrap_or_default().to_owned());
    assert!(grouped == expected, "{} groups, expected {}", grouped.len(), expected.len());

    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let expected: Vec<String> = rows[50..150].iter().map(|row| row.0.to_string()).collect();
    assert_eq!(lines(&directory.path().join("heads")), expected);

    rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)).then(a.0.cmp(&b.0)));
    let expected: Vec<String> = rows.iter().map(|row| format!("{},{},{}", row.0, row.1, row.2)).collect();
    assert!(lines(&directory.path().join("ordered")) == expected, "the rows are not in order");
}

#[test]
fn an_interval_of_checkpoints_is_told_to_have_little_effect_and_rows_are_published_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let script = format!(
        "SET 'execution.runtime-mode' = 'batch';
SET 'execution.checkpointing.interval' = '1 s';
SET 'execution.checkpointing.dir' = 'file://{path}/checkpoints';
CREATE TABLE total (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}/total', 'format' = 'csv');
INSERT INTO total SELECT COUNT(*) FROM (VALUES (1), (2), (3)) AS t(v) WHERE v > 5;
"
    );
    let file = directory.path().join("batch.sql");
    std::fs::write(&file, script).unwrap();
    let output = tidemill_tests::tidemill().unwrap().arg("run").arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("takes no checkpoints in batch mode"), "{told}");
    assert_eq!(lines(&directory.path().join("total")), ["0"]);
}
