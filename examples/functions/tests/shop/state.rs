//! Own aggregates in checkpoints and savepoints, at other parallelisms, and through failures.

use std::path::Path;

use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{names, submit, wait_for_checkpoints, wait_for_state};

use crate::{run, shop};

/// Aggregates in hopping windows, in which accumulators of a fixed size and growing ones are merged, over rows of a
/// table function. `pace` are options of the source.
fn script(place: &Path, pace: &str) -> String {
    let place = place.display();
    format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 20, 3), WATERMARK FOR ts AS ts) WITH (
    'connector' = 'datagen', {pace}
    'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '4000'
);
CREATE VIEW tagged AS SELECT n, ts, tag FROM numbers,
    LATERAL TABLE(TAGS('#all #t' || CAST(n % 4 AS STRING) || ' #t' || CAST(n % 6 AS STRING)));
CREATE TABLE results (s TIMESTAMP(3), k BIGINT, average DOUBLE, most STRING, row_count BIGINT) WITH (
    'connector' = 'filesystem', 'path' = '{place}/results', 'format' = 'json'
);
INSERT INTO results
SELECT window_start, n % 5, WEIGHTED_AVG(n, 1 + n % 3), MOST_FREQUENT(tag) FILTER (WHERE tag <> 'all'), COUNT(*)
FROM TABLE(HOP(TABLE tagged, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND))
GROUP BY window_start, window_end, n % 5;
"
    )
}

const SLOWLY: &str = "'rows-per-second' = '1000',";

fn results(place: &Path) -> Vec<String> {
    let directory = place.join("results");
    let files = names(&directory).into_iter().filter(|name| !name.rsplit('/').next().unwrap().starts_with('.'));
    let mut lines: Vec<String> = files
        .flat_map(|name| {
            let text = std::fs::read_to_string(directory.join(name)).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}

/// The results of a run that nothing disturbs.
fn undisturbed() -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let output = run(&script(place.path(), ""));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = results(place.path());
    assert!(results.len() > 80, "{results:?}");
    results
}

#[test]
fn a_savepoint_is_gone_on_from_at_another_parallelism() {
    shop();
    let cluster = Cluster::start(2, 2).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &script(place.path(), SLOWLY), &["--parallelism", "2"]);
    wait_for_checkpoints(&cluster, &job, 4);
    let savepoints = place.path().join("savepoints").display().to_string();
    let stopped = cluster.run("stop", &[&job, "--savepoint", &savepoints]).unwrap();
    let text = String::from_utf8(stopped.stdout).unwrap();
    let location = text.lines().find_map(|line| line.strip_prefix("savepoint ")).unwrap();
    let before = results(place.path()).len();
    let again = submit(&cluster, &script(place.path(), SLOWLY), &["--from-savepoint", location, "--parallelism", "4"]);
    wait_for_checkpoints(&cluster, &again, 1);
    assert!(cluster.run("rescale", &[&again, "--parallelism", "1"]).unwrap().status.success());
    wait_for_state(&cluster, &again, "FINISHED");
    let expected = undisturbed();
    assert!(before < expected.len(), "the savepoint came too late to show anything");
    assert_eq!(results(place.path()), expected, "{}", cluster.logs());
}

#[test]
fn a_task_manager_that_is_killed_costs_no_row() {
    shop();
    let mut cluster = Cluster::start(2, 1).unwrap();
    let place = tempfile::tempdir().unwrap();
    let job = submit(&cluster, &script(place.path(), SLOWLY), &["--parallelism", "2"]);
    wait_for_checkpoints(&cluster, &job, 3);
    cluster.kill_task_manager(0).unwrap();
    cluster.start_task_manager().unwrap();
    wait_for_state(&cluster, &job, "FINISHED");
    assert_eq!(results(place.path()), undisturbed(), "{}", cluster.logs());
}
