//! Every golden script gives what Flink gives: embedded at parallelism 1, 2 and 4, and on a cluster of
//! two task-manager processes.

use tidemill_tests::cluster::Cluster;
use tidemill_tests::golden::Golden;

/// What this release refuses, each with a word of the refusal: the scripts wait for wider SQL.
const REFUSED: [(&str, &str); 5] = [
    ("aggregates_types", "STDDEV_POP"),
    ("ddl_forms", "hints"),
    ("legacy_group_windows", "TUMBLE_START"),
    ("strings_codes", "RETURNING"),
    ("window_list_aggregates", "FIRST_VALUE"),
];

fn check_all(parallelisms: &[u32], cluster: Option<&Cluster>) {
    let mut failures = Vec::new();
    let mut runs = 0;
    let only = std::env::var("TIDEMILL_GOLDEN").ok();
    for golden in Golden::all().unwrap() {
        if only.as_ref().is_some_and(|only| !golden.name.contains(only.as_str())) {
            continue;
        }
        for parallelism in parallelisms {
            if *parallelism > 1 && golden.needs_parallelism_one().unwrap() {
                continue;
            }
            let out = tempfile::tempdir().unwrap();
            let script = golden.prepare(out.path()).unwrap();
            let mut command = match cluster {
                Some(cluster) => cluster.command("submit"),
                None => {
                    let mut command = tidemill_tests::tidemill().unwrap();
                    command.arg("run");
                    command
                }
            };
            let output = command.arg(&script).args(["--parallelism", &parallelism.to_string()]).output().unwrap();
            runs += 1;
            let errors = String::from_utf8_lossy(&output.stderr);
            if let Some((_, word)) = REFUSED.iter().find(|(name, _)| *name == golden.name) {
                if output.status.success() || !errors.contains(word) {
                    failures.push(format!("{} should be refused for {word}, but: {errors}", golden.name));
                }
                continue;
            }
            let checked = if output.status.success() {
                golden.check(out.path(), &String::from_utf8_lossy(&output.stdout))
            } else {
                Err(anyhow::anyhow!("{}: {errors}", output.status))
            };
            if let Err(error) = checked {
                failures.push(format!("{} at parallelism {parallelism}\n{error}", golden.name));
            }
        }
    }
    assert!(runs > 0);
    assert!(failures.is_empty(), "{} of {runs} runs failed\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn embedded_at_parallelism_1() {
    check_all(&[1], None);
}

#[test]
fn embedded_at_parallelism_2_and_4() {
    check_all(&[2, 4], None);
}

#[test]
fn on_two_task_managers() {
    let cluster = Cluster::start(2, 2).unwrap();
    check_all(&[2, 4], Some(&cluster));
}
