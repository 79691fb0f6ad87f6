//! Every golden script gives what Flink gives: embedded at parallelism 1, 2 and 4, and on a cluster of
//! two task-manager processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tidemill_tests::cluster::Cluster;
use tidemill_tests::golden::Golden;

/// What this release refuses, or where it fails and Flink does not, each with a word of the message.
const REFUSED: &[(&str, &str)] = &[];

/// Java does not see that the clocks of such zones were changed once.
const SAO_PAULO: &str = "Flink loses rows in the past of zones that do not change their clocks any more";

/// Outputs that differ from Flink's, and why. Each must differ: what is mended leaves this list.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("day_windows_sao_paulo", "by_quarter", SAO_PAULO),
    ("day_windows_sao_paulo", "daily", SAO_PAULO),
    ("day_windows_sao_paulo", "two_days", SAO_PAULO),
    ("json_lenient", "seen", "Flink keeps the nanoseconds of a text in a TIMESTAMP(3), which has milliseconds here"),
    ("ltz_windows", "daily", "Flink loses rows where the session zone is not whole hours from UTC"),
    ("ltz_windows", "hopping", "as daily"),
    ("ltz_windows", "hourly", "as daily"),
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
            runs += 1;
            if let Err(error) = check(&golden, *parallelism, cluster) {
                failures.push(format!("{} at parallelism {parallelism}\n{error:#}", golden.name));
            }
        }
    }
    assert!(runs > 0);
    assert!(failures.is_empty(), "{} of {runs} runs failed\n{}", failures.len(), failures.join("\n"));
}

fn check(golden: &Golden, parallelism: u32, cluster: Option<&Cluster>) -> anyhow::Result<()> {
    let out = tempfile::tempdir()?;
    let script = golden.prepare(out.path())?;
    let mut command = match cluster {
        Some(cluster) => cluster.command("submit"),
        None => {
            let mut command = tidemill_tests::tidemill()?;
            command.arg("run");
            command
        }
    };
    let output = command.arg(&script).args(["--parallelism", &parallelism.to_string()]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some((_, word)) = REFUSED.iter().find(|(name, _)| *name == golden.name) {
        let refused = !output.status.success() && errors.contains(word);
        anyhow::ensure!(refused, "it should be refused for {word}, but: {errors}");
        return Ok(());
    }
    anyhow::ensure!(output.status.success(), "{}: {errors}", output.status);
    let mut differences = golden.differences(out.path(), &String::from_utf8_lossy(&output.stdout))?;
    for (_, output, reason) in DIFFERENT.iter().filter(|(name, ..)| *name == golden.name) {
        let differs = differences.remove(*output).is_some();
        anyhow::ensure!(differs, "output {output} does not differ any more ({reason}): take it off the list");
    }
    let text: String = differences.iter().map(|(output, text)| format!("output {output}: {text}")).collect();
    anyhow::ensure!(differences.is_empty(), "{text}");
    Ok(())
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
    // Four slots in two processes; the subtasks of a smaller job are spread over both.
    let cluster = Cluster::start(2, 2).unwrap();
    check_all(&[1, 2, 4], Some(&cluster));
}
