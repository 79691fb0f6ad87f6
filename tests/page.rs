//! The page in a headless Chromium, on a running cluster: every view, by keyboard and for screen readers, in light
//! and dark; what it changes; and that nothing secret is shown. Screenshots go to `TIDEMILL_PAGE_IMAGES`, if it
//! is set (`make images` puts them into docs/images).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::json;
use tidemill_common::ports::free_port;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::jobs::{submit, wait_for, wait_for_checkpoints, wait_for_state};
use tidemill_tests::services::Service;

/// What nobody may see. A number, as options of a table that are named like secrets and need no server take numbers.
const CANARY: &str = "918273645";
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// The web analytics of a shop: a source with several splits, two windows, late rows.
fn analytics(place: &str) -> String {
    format!(
        "SET 'pipeline.name' = 'web-analytics';
SET 'execution.checkpointing.interval' = '500 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'state.savepoints.dir' = 'file://{place}/savepoints';
CREATE TABLE clicks (
    user_id BIGINT, page STRING, status INT, api_token BIGINT, t TIMESTAMP_LTZ(3),
    WATERMARK FOR t AS t - INTERVAL '1' SECOND
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '20000', 'fields.user_id.min' = '1', 'fields.user_id.max' = '5000',
    'fields.page.length' = '1', 'fields.status.min' = '200', 'fields.status.max' = '203', 'fields.t.max-past' = '3 s',
    'fields.api_token.max' = '{CANARY}'
);
CREATE TABLE pages (page STRING, ended TIMESTAMP(3), hits BIGINT, users BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO pages
SELECT page, window_end, COUNT(*), COUNT(DISTINCT user_id)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(t), INTERVAL '2' SECOND))
WHERE status = 200
GROUP BY page, window_start, window_end;"
    )
}

#[test]
fn the_page_shows_and_does_what_operators_need() {
    let Some(browser) = Service::start("chromium.sh").unwrap() else { return };
    let port = free_port().unwrap().to_string();
    let secret = format!("{CANARY}-process");
    let options = [("rest-port", port.as_str()), ("s3-secret-key", secret.as_str())];
    let cluster = Cluster::start_with(2, 3, &options).unwrap();
    let place = cluster.directory().join("kept").display().to_string();
    let running = submit(&cluster, &analytics(&place), &["--parallelism", "2"]);
    let failing = "SET 'pipeline.name' = 'nightly load';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '2';
SET 'restart-strategy.fixed-delay.delay' = '100 ms';
CREATE TABLE texts (s STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '10', 'fields.s.length' = '8');
CREATE TABLE numbers (n INT) WITH ('connector' = 'blackhole');
INSERT INTO numbers SELECT CAST('x' || s AS INT) FROM texts;";
    let failed = submit(&cluster, failing, &[]);
    let hostile = format!(
        "SET 'pipeline.name' = '{HOSTILE}';
CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM few;"
    );
    submit(&cluster, &hostile, &[]);
    wait_for_state(&cluster, &failed, "FAILED");
    wait_for_checkpoints(&cluster, &running, 6);
    wait_for(&cluster, "memory of all task managers", || {
        let info = cluster.json("info", &[]).ok()?;
        let members = info["task_managers"].as_array()?;
        members.iter().all(|member| member["process"]["memory"].as_array().is_some_and(|m| !m.is_empty())).then_some(())
    });
    let scratch = tempfile::tempdir().unwrap();
    let images = std::env::var("TIDEMILL_PAGE_IMAGES").unwrap_or_else(|_| scratch.path().display().to_string());
    std::fs::create_dir_all(&images).unwrap();
    let given = json!({ "running": running, "failed": failed, "hostile": HOSTILE, "canary": CANARY });
    let script = tidemill_tests::directory().join("page/page.mjs");
    let output = Command::new("node")
        .arg(script)
        .args([format!("http://127.0.0.1:{port}"), browser.address.clone(), images, given.to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("all steps"), "{told}{errors}\n{}", cluster.logs());
}
