//! What processes tell over HTTP: the API by its own description, metrics, health; and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_common::ports::free_port;
use tidemill_tests::cluster::Cluster;
use tidemill_tests::http::{Sample, Server, metrics, mismatch};
use tidemill_tests::jobs::{submit, wait_for, wait_for_checkpoints, wait_for_state};

/// What nobody may ever see.
const CANARY: &str = "918273645";

struct Setup {
    cluster: Cluster,
    server: Server,
    /// The API's own description.
    description: Value,
}

fn start(task_managers: usize, slots: usize, options: &[(&str, &str)]) -> Setup {
    let port = free_port().unwrap().to_string();
    let options = [&[("rest-port", port.as_str())], options].concat();
    let cluster = Cluster::start_with(task_managers, slots, &options).unwrap();
    let server = Server(format!("127.0.0.1:{port}"));
    let description = server.get("/api/v1/openapi.json").unwrap().json();
    assert_eq!(description["openapi"], "3.0.3");
    Setup { cluster, server, description }
}

impl Setup {
    /// Checks an answer against the description of its route.
    fn checked(&self, method: &str, route: &str, answer: &tidemill_tests::http::Answer) -> Value {
        let described = &self.description["paths"][route][method]["responses"][answer.status.to_string()];
        let schema = &described["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {route}: {} {}", answer.status, answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        let value = answer.json();
        let mismatch = mismatch(&value, schema, &self.description);
        assert_eq!(mismatch, None, "{method} {route}");
        value
    }

    fn get(&self, route: &str, job: &str) -> Value {
        let answer = self.server.get(&route.replace("{job}", job)).unwrap();
        self.checked("get", route, &answer)
    }

    fn post(&self, route: &str, job: &str, body: &Value) -> Value {
        let answer = self.server.post(&route.replace("{job}", job), body).unwrap();
        self.checked("post", route, &answer)
    }

    /// The HTTP servers of the task managers, once all have told of them.
    fn task_managers(&self, count: usize) -> Vec<Server> {
        wait_for(&self.cluster, "all task managers", || {
            let targets = self.get("/api/v1/prometheus-targets", "");
            let targets = targets.as_array()?.iter();
            let servers: Vec<Server> =
                targets.filter_map(|target| Some(Server(target["targets"][0].as_str()?.to_owned()))).collect();
            (servers.len() == count).then_some(servers)
        })
    }
}

/// A job with all there is to tell of: watermarks, a window, late rows, checkpoints.
fn windows(place: &Path, rows_per_second: u32) -> String {
    let place = place.display();
    format!(
        "SET 'execution.checkpointing.interval' = '300 ms';
SET 'state.checkpoints.dir' = 'file://{place}/checkpoints';
SET 'state.savepoints.dir' = 'file://{place}/savepoints';
SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
CREATE TABLE clicks (
    id BIGINT, page STRING, t TIMESTAMP_LTZ(3),
    WATERMARK FOR t AS t - INTERVAL '1' SECOND
) WITH (
    'connector' = 'datagen', 'rows-per-second' = '{rows_per_second}', 'fields.id.min' = '1', 'fields.id.max' = '9',
    'fields.page.length' = '2', 'fields.t.max-past' = '4 s'
);
CREATE TABLE counts (id BIGINT, ended TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO counts
SELECT id, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(t), INTERVAL '1' SECOND))
GROUP BY id, window_start, window_end;"
    )
}

#[test]
fn the_api_is_what_its_description_says() {
    let setup = start(2, 2, &[]);
    let place = tempfile::tempdir().unwrap();
    let script = windows(place.path(), 2_000);
    // A dry run starts nothing.
    let body = json!({ "script": script, "options": { "parallelism.default": "2" }, "dry_run": true });
    let dry = setup.post("/api/v1/jobs", "", &body);
    assert_eq!(dry["statements"][0]["job"]["job_id"], Value::Null);
    assert_eq!(setup.get("/api/v1/jobs", "")["jobs"], json!([]));
    let submitted = setup.post(
        "/api/v1/jobs",
        "",
        &json!({ "script": script, "file": "clicks.sql", "options": { "parallelism.default": "2" } }),
    );
    let job = submitted["statements"][0]["job"]["job_id"].as_str().unwrap().to_owned();
    let prefix = &job[..10];
    wait_for_checkpoints(&setup.cluster, &job, 2);
    let detail = wait_for(&setup.cluster, "late rows", || {
        let detail = setup.get("/api/v1/jobs/{job}", prefix);
        let operators = detail["operators"].as_array()?;
        operators.iter().any(|operator| operator["late_rows_dropped"].as_u64() > Some(0)).then_some(detail)
    });
    // What the command line says is the same.
    let described = setup.cluster.json("describe", &[&job]).unwrap();
    let shape = |detail: &Value| -> Vec<(Value, Value)> {
        let operators = detail["operators"].as_array().unwrap();
        operators.iter().map(|operator| (operator["uid"].clone(), operator["inputs"].clone())).collect()
    };
    assert_eq!(shape(&described), shape(&detail));
    assert_eq!(detail["operators"][0]["inputs"], json!([]));
    assert!(
        detail["operators"].as_array().unwrap().iter().any(|operator| operator["inputs"][0]["partitioning"] == "hash")
    );
    assert_eq!(setup.get("/api/v1/jobs", "")["jobs"].as_array().unwrap().len(), 1);
    let subtasks = wait_for(&setup.cluster, "splits with watermarks", || {
        let subtasks = setup.get("/api/v1/jobs/{job}/subtasks", &job);
        let list = subtasks["subtasks"].as_array()?;
        let has_split = |subtask: &Value| subtask["task"] == 0 && subtask["splits"][0]["watermark_ms"].is_i64();
        (list.iter().filter(|subtask| has_split(subtask)).count() == 2).then(|| list.clone())
    });
    assert!(subtasks.iter().all(|subtask| subtask["state"] == "running" && subtask["task_manager"].is_string()));
    let memory = wait_for(&setup.cluster, "memory", || {
        let cluster = setup.get("/api/v1/cluster", "");
        let members = cluster["task_managers"].as_array()?.clone();
        members
            .iter()
            .all(|member| member["process"]["memory"].as_array().is_some_and(|m| m.len() == 5))
            .then_some(members)
    });
    assert_eq!(memory.iter().map(|member| member["free_slots"].as_u64().unwrap()).sum::<u64>(), 2);
    let options = setup.get("/api/v1/config", "");
    let heartbeat = options["options"].as_array().unwrap().iter().find(|o| o["key"] == "heartbeat.interval").unwrap();
    assert_eq!((&heartbeat["value"], &heartbeat["default"]), (&json!("1 s"), &json!(true)));
    let config = setup.get("/api/v1/jobs/{job}/config", &job);
    assert!(config["plan"].as_str().unwrap().contains("WindowAggregate"), "{config}");
    assert_eq!(config["options"]["execution.checkpointing.interval"], "300 ms");

    let savepoint = setup.post("/api/v1/jobs/{job}/savepoints", &job, &json!({}));
    let location = savepoint["location"].as_str().unwrap();
    assert!(location.contains("/savepoints/savepoint-"), "{location}");
    let rescaled = setup.post("/api/v1/jobs/{job}/rescale", &job, &json!({ "parallelism": 1 }));
    assert_eq!(rescaled["job_id"].as_str(), Some(job.as_str()));
    wait_for(&setup.cluster, "rescaled", || {
        let detail = setup.get("/api/v1/jobs/{job}", &job);
        (detail["state"] == "RUNNING" && detail["operators"][0]["parallelism"] == 1).then_some(())
    });
    let body = json!({ "stop": true, "drain": true });
    let stopped = setup.post("/api/v1/jobs/{job}/savepoints", &job, &body);
    let last = stopped["location"].as_str().unwrap().to_owned();
    wait_for_state(&setup.cluster, &job, "FINISHED");
    let history = setup.get("/api/v1/jobs/{job}/checkpoints", &job);
    assert_eq!(history["counts"]["savepoints"], 2, "{history:#}");

    let events = setup.get("/api/v1/jobs/{job}/events", &job);
    assert_eq!(events["ended"], true);
    let events = events["events"].as_array().unwrap();
    let sequences: Vec<u64> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted() && sequences[0] == 1, "{sequences:?}");
    let told = |kind: &str, words: &str| {
        let tells = |event: &Value| event["kind"] == kind && event["message"].as_str().unwrap().contains(words);
        assert!(events.iter().any(tells), "no {kind} '{words}' in {events:#?}");
    };
    told("state", "CREATED -> DEPLOYING");
    told("attempt", "is deployed");
    told("checkpoint", "is complete after");
    told("savepoint", location);
    told("request", "parallelism 1 is asked for");
    told("request", "a stop with a savepoint is asked for");
    told("state", "-> FINISHED");
    let after =
        setup.server.get(&format!("/api/v1/jobs/{job}/events?after={}", sequences[sequences.len() - 2])).unwrap();
    assert_eq!(after.json()["events"].as_array().unwrap().len(), 1);

    // It goes on from the savepoint, and is cancelled.
    let options = json!({ "execution.state-recovery.path": last });
    let again = setup.post("/api/v1/jobs", "", &json!({ "script": script, "options": options }));
    let job = again["statements"][0]["job"].clone();
    assert!(job["restored"].as_array().unwrap().iter().all(|operator| operator["fate"] == "kept"), "{job:#}");
    let job = job["job_id"].as_str().unwrap().to_owned();
    wait_for_state(&setup.cluster, &job, "RUNNING");
    setup.post("/api/v1/jobs/{job}/cancel", &job, &json!({}));
    wait_for_state(&setup.cluster, &job, "CANCELED");
    let explained = setup.post("/api/v1/sql/explain", "", &json!({ "script": script }));
    assert!(explained["plans"][0].as_str().unwrap().contains("WindowAggregate"));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_a_reason() {
    let setup = start(1, 1, &[]);
    let server = &setup.server;
    let place = tempfile::tempdir().unwrap();
    let job = submit(&setup.cluster, &windows(place.path(), 100), &[]);
    let refused = |answer: tidemill_tests::http::Answer, status: u16, code: &str, words: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.body);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "'{words}' is not in: {message}");
        assert_eq!(
            mismatch(&answer.json(), &json!({ "$ref": "#/components/schemas/Error" }), &setup.description),
            None
        );
    };
    let get = |path: &str| server.get(path).unwrap();
    let post = |path: &str, body: &Value| server.post(path, body).unwrap();
    refused(get("/api/v1/jobs/nope"), 404, "no-such-job", "no job 'nope'");
    refused(get("/api/v1/nothing"), 404, "not-found", "/api/v1/nothing");
    refused(get("/api/v1/jobs?x=1"), 400, "unknown-parameter", "'x'");
    refused(get(&format!("/api/v1/jobs/{job}/events?after=x")), 400, "invalid-parameter", "whole number");
    let wrong = server.request("DELETE", &format!("/api/v1/jobs/{job}"), &[], "").unwrap();
    assert_eq!(wrong.status, 415, "what could change something is looked at first: {}", wrong.body);
    let wrong = post(&format!("/api/v1/jobs/{job}"), &json!({}));
    assert_eq!(wrong.headers["allow"], "GET");
    refused(wrong, 405, "method-not-allowed", "GET only");
    refused(post("/api/v1/jobs", &json!({ "scrpt": "" })), 400, "invalid-body", "unknown field `scrpt`");
    refused(post("/api/v1/jobs", &json!({ "script": "SELECT prize FROM\n nowhere;" })), 400, "script", ":2:");
    refused(post("/api/v1/jobs", &json!({ "script": "SELECT 1;" })), 400, "select", "preview");
    let two = json!({ "script": "SELECT 1; SELECT 2;" });
    refused(post("/api/v1/sql/preview", &two), 400, "script", "one SELECT");
    let rescale = format!("/api/v1/jobs/{job}/rescale");
    refused(post(&rescale, &json!({ "parallelism": 0 })), 400, "invalid-body", "between 1 and 32768");
    wait_for_checkpoints(&setup.cluster, &job, 1);
    refused(post(&rescale, &json!({ "parallelism": 9 })), 409, "not-enough-slots", "needs 9 slots");
    let drain = post(&format!("/api/v1/jobs/{job}/savepoints"), &json!({ "drain": true }));
    refused(drain, 400, "invalid-body", "needs 'stop'");

    // What a page of another site could send.
    let cancel = format!("/api/v1/jobs/{job}/cancel");
    let json_type = ("Content-Type", "application/json");
    let header = ("X-Tidemill-Request", "1");
    let send = |headers: &[(&str, &str)]| server.request("POST", &cancel, headers, "{}").unwrap();
    refused(send(&[json_type]), 403, "header-missing", "X-Tidemill-Request");
    refused(send(&[("Content-Type", "text/plain"), header]), 415, "not-json", "application/json");
    refused(send(&[json_type, header, ("Origin", "http://evil.example")]), 403, "cross-origin", "evil.example");
    refused(send(&[json_type, header, ("Sec-Fetch-Site", "cross-site")]), 403, "cross-origin", "another site");
    let rebound = server.request("GET", "/api/v1/jobs", &[("Host", "evil.example")], "").unwrap();
    refused(rebound, 421, "unknown-host", "rest.address");
    assert_eq!(setup.get("/api/v1/jobs/{job}", &job)["state"], "RUNNING", "nothing of that did anything");

    // What is too much.
    let large = json!({ "script": "x".repeat(9 << 20) });
    let large = post("/api/v1/jobs", &large);
    assert_eq!((large.status, large.code().as_str()), (413, "too-large"));
    let names: Vec<String> = (0..100).map(|number| format!("X-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(server.request("GET", "/healthz", &headers, "").unwrap().status, 431);
    let long = format!("/healthz?{}", "x".repeat(100_000));
    assert!(matches!(server.get(&long).unwrap().status, 414 | 431));
}

#[test]
fn metrics_are_in_the_format_of_prometheus_and_in_the_documentation() {
    const ROWS: u64 = 500;
    let setup = start(2, 1, &[]);
    let place = tempfile::tempdir().unwrap();
    let job = submit(&setup.cluster, &windows(place.path(), 1_000), &["--parallelism", "2"]);
    let bounded = format!(
        "SET 'pipeline.name' = 'a \"quoted\" \\ name';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}');
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n + 1 FROM numbers;"
    );
    wait_for_checkpoints(&setup.cluster, &job, 2);
    let servers = setup.task_managers(2);
    // Rates are of five seconds.
    let page = |server: &Server| {
        let answer = server.get("/metrics").unwrap();
        assert!(answer.headers["content-type"].starts_with("text/plain; version=0.0.4"));
        metrics(&answer.body).unwrap()
    };
    let has = |samples: &[Sample], name: &str| samples.iter().any(|sample| sample.name == name);
    let begun = Instant::now();
    let task_managers: Vec<Vec<Sample>> = loop {
        let pages: Vec<_> = servers.iter().map(page).collect();
        if pages.iter().all(|page| has(page, "flink_taskmanager_job_task_busyTimeMsPerSecond")) {
            break pages;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", setup.cluster.logs());
        std::thread::sleep(Duration::from_millis(200));
    };
    let job_manager = page(&setup.server);
    let of = |samples: &[Sample], name: &str| -> Vec<f64> {
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).collect()
    };
    assert_eq!(of(&job_manager, "flink_jobmanager_numRegisteredTaskManagers"), [2.0]);
    assert_eq!(of(&job_manager, "flink_jobmanager_taskSlotsAvailable"), [0.0]);
    assert!(of(&job_manager, "flink_jobmanager_job_numberOfCompletedCheckpoints")[0] >= 2.0);
    assert!(of(&job_manager, "flink_jobmanager_job_lastCheckpointSize")[0] > 0.0);
    assert_eq!(of(&job_manager, "flink_jobmanager_job_numRestarts"), [0.0]);
    for samples in &task_managers {
        let shares = |name: &str| of(samples, &format!("flink_taskmanager_job_task_{name}TimeMsPerSecond"));
        let times = shares("busy").into_iter().zip(shares("idle")).zip(shares("backPressured"));
        for ((busy, idle), backpressured) in times {
            let whole = busy + idle + backpressured;
            assert!((900.0..=1_100.0).contains(&whole), "a second has {whole} ms");
        }
        for name in [
            "flink_taskmanager_job_task_currentInputWatermark",
            "flink_taskmanager_job_task_operator_currentOutputWatermark",
            "flink_taskmanager_job_task_operator_watermarkLag",
            "flink_taskmanager_job_task_operator_split_watermark_currentWatermark",
            "flink_taskmanager_job_task_operator_numLateRecordsDropped",
            "tidemill_taskmanager_memory_used_bytes",
            "process_cpu_seconds_total",
        ] {
            assert!(has(samples, name), "{name}");
        }
    }
    setup.cluster.run("cancel", &[&job]).unwrap();
    // What is counted is what was there.
    let job = submit(&setup.cluster, &bounded, &[]);
    wait_for_state(&setup.cluster, &job, "FINISHED");
    let pages: Vec<Sample> = servers.iter().flat_map(page).collect();
    let sink = pages.iter().find(|sample| {
        sample.name == "flink_taskmanager_job_task_operator_numRecordsIn"
            && sample.labels["job_name"] == "a \"quoted\" \\ name"
            && sample.labels["operator_name"].starts_with("Sink")
    });
    assert_eq!(sink.map(|sample| sample.value), Some(ROWS as f64), "{pages:#?}");
    let documented = std::fs::read_to_string(tidemill_tests::directory().join("../docs/metrics.md")).unwrap();
    let names: BTreeSet<&str> =
        pages.iter().chain(&job_manager).chain(task_managers.iter().flatten()).map(|s| s.name.as_str()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn health_is_of_the_process_and_readiness_of_what_it_needs() {
    let mut setup = start(1, 1, &[("heartbeat-timeout", "1 s"), ("heartbeat-interval", "200 ms")]);
    let server = setup.task_managers(1).remove(0);
    let status = |server: &Server, path: &str| server.get(path).unwrap().status;
    for server in [&setup.server, &server] {
        assert_eq!((status(server, "/healthz"), status(server, "/readyz")), (200, 200));
    }
    assert_eq!(status(&server, "/api/v1/jobs"), 404, "a task manager has no API");
    setup.cluster.kill_job_manager().unwrap();
    let begun = Instant::now();
    while status(&server, "/readyz") != 503 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.get("/readyz").unwrap().body.contains("not registered"));
    assert_eq!(status(&server, "/healthz"), 200);
    let registered = metrics(&server.get("/metrics").unwrap().body).unwrap();
    assert!(registered.iter().any(|sample| sample.name == "tidemill_taskmanager_registered" && sample.value == 0.0));
    setup.cluster.start_job_manager().unwrap();
    setup.cluster.await_answer().unwrap();
    let begun = Instant::now();
    while status(&server, "/readyz") != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let secret_key = format!("{CANARY}-process");
    let setup = start(1, 2, &[("s3-secret-key", &secret_key), ("connector-probe-timeout", "1 s")]);
    // An option of a table that is named like a secret, and needs no server.
    let script = format!(
        "CREATE TABLE numbers (n BIGINT, api_token BIGINT) WITH (
    'connector' = 'datagen', 'rows-per-second' = '10', 'fields.api_token.max' = '{CANARY}', 'fields.n.max' = '77'
);
CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT n FROM numbers;
INSERT INTO nowhere SELECT n + 1 FROM numbers;"
    );
    let submitted = setup.server.post("/api/v1/jobs", &json!({ "script": script })).unwrap();
    assert_eq!(submitted.status, 201, "{}", submitted.body);
    let jobs: Vec<String> = submitted.json()["statements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|statement| statement["job"]["job_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(jobs.len(), 2);
    wait_for_state(&setup.cluster, &jobs[0], "RUNNING");
    let config = setup.get("/api/v1/jobs/{job}/config", &jobs[1]);
    let source = config["tables"].as_array().unwrap().iter().find(|table| table["role"] == "source").unwrap();
    assert_eq!(source["options"]["fields.api_token.max"], "******", "{config:#}");
    assert_eq!(source["options"]["fields.n.max"], "77");
    let options = setup.get("/api/v1/config", "");
    assert!(
        options["options"]
            .as_array()
            .unwrap()
            .contains(&json!({ "key": "s3.secret-key", "value": "******", "default": false }))
    );
    // Everything that can be asked.
    let mut answers = vec![submitted.body];
    let paths = setup.description["paths"].as_object().unwrap();
    let mut asked = 0;
    for path in paths.iter().filter(|(_, methods)| methods["get"].is_object()).map(|(path, _)| path) {
        for job in &jobs {
            let answer = setup.server.get(&path.replace("{job}", job)).unwrap();
            assert_eq!(answer.status, 200, "{path}");
            answers.push(answer.body);
            asked += 1;
        }
    }
    assert!(asked >= 20, "{asked}");
    let server = setup.task_managers(1).remove(0);
    answers.extend(["/metrics", "/healthz", "/readyz"].map(|path| server.get(path).unwrap().body));
    answers.push(setup.server.post("/api/v1/sql/explain", &json!({ "script": script })).unwrap().body);
    // A database that is not there, and is asked for before anything starts.
    let alone = format!(
        "CREATE TABLE written (n BIGINT) WITH (
    'connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:1/nothing', 'table-name' = 't',
    'username' = 'u', 'password' = '{CANARY}-table'
);
INSERT INTO written SELECT 1;"
    );
    answers.push(setup.server.post("/api/v1/sql/explain", &json!({ "script": alone })).unwrap().body);
    let refused = setup.server.post("/api/v1/jobs", &json!({ "script": alone })).unwrap();
    assert_eq!(refused.status, 400, "{}", refused.body);
    answers.push(refused.body);
    for answer in &answers {
        assert!(!answer.contains(CANARY), "{answer}");
    }
    let logs = setup.cluster.logs();
    assert!(!logs.contains(CANARY), "{logs}");
}

#[test]
fn rows_of_a_select_come_as_they_are_made_and_the_job_ends_with_its_reader() {
    let setup = start(1, 1, &[]);
    let bounded = "CREATE TABLE numbers (n BIGINT, s STRING) WITH (
        'connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '3',
        'fields.s.length' = '2', 'fields.s.null-rate' = '1'
    ); SELECT n, s FROM numbers;";
    let schema = json!({ "$ref": "#/components/schemas/PreviewLine" });
    let mut lines = setup.server.lines("/api/v1/sql/preview", &json!({ "script": bounded })).unwrap();
    let (mut columns, mut rows, mut end) = (Value::Null, Vec::new(), Value::Null);
    while let Some(line) = lines.next_line().unwrap() {
        assert_eq!(mismatch(&line, &schema, &setup.description), None);
        assert_eq!(end, Value::Null, "nothing comes behind the end");
        if line["columns"].is_array() {
            columns = line["columns"].clone();
        }
        rows.extend(line["rows"].as_array().cloned().unwrap_or_default());
        end = line["end"].clone();
    }
    assert_eq!(columns, json!(["n", "s"]));
    assert_eq!(Value::Array(rows), json!([["+I", "1", null], ["+I", "2", null], ["+I", "3", null]]));
    assert_eq!(end, json!({ "state": "FINISHED", "failure": null }));

    let failing = "SELECT CAST('x' AS INT) / 0 FROM (VALUES (1), (2)) AS t(a);";
    let mut lines = setup.server.lines("/api/v1/sql/preview", &json!({ "script": failing })).unwrap();
    let mut last = Value::Null;
    while let Some(line) = lines.next_line().unwrap() {
        last = line;
    }
    assert_eq!(last["end"]["state"], "FAILED", "{last}");
    assert!(last["end"]["failure"].as_str().is_some_and(|failure| !failure.is_empty()));

    let endless = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');
        SELECT n FROM numbers;";
    let mut lines = setup.server.lines("/api/v1/sql/preview", &json!({ "script": endless })).unwrap();
    let first = lines.next_line().unwrap().unwrap();
    let job = first["job_id"].as_str().unwrap().to_owned();
    assert!(lines.next_line().unwrap().unwrap()["rows"].as_array().is_some_and(|rows| !rows.is_empty()));
    drop(lines);
    wait_for_state(&setup.cluster, &job, "CANCELED");
}

#[test]
fn the_page_is_served_with_what_protects_it() {
    let setup = start(0, 1, &[]);
    let page = setup.server.get("/").unwrap();
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let policy = &page.headers["content-security-policy"];
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    // All that the page and its modules name is there, and of the right kind.
    let mut waiting: Vec<String> = quoted(&page.body).filter(|path| path.starts_with("/web/")).collect();
    let mut found = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if !found.insert(path.clone()) {
            continue;
        }
        let file = setup.server.get(&path).unwrap();
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((file.status, file.headers["content-type"].as_str()), (200, kind), "{path}");
        if path.ends_with(".js") {
            let modules = quoted(&file.body).filter(|name| name.starts_with("./") && name.ends_with(".js"));
            waiting.extend(modules.map(|name| name.replacen('.', "/web", 1)));
        }
    }
    assert!(found.len() >= 12, "{found:?}");
    assert_eq!(setup.server.get("/api").unwrap().status, 200);
    assert_eq!(setup.server.get("/web/../main.js").unwrap().status, 404);
    let head = setup.server.request("HEAD", "/", &[], "").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split(['"', '\'']).skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[test]
fn events_are_followed_and_top_shows_operators() {
    let setup = start(1, 2, &[]);
    let place = tempfile::tempdir().unwrap();
    let job = submit(&setup.cluster, &windows(place.path(), 500), &["--parallelism", "2"]);
    wait_for_checkpoints(&setup.cluster, &job, 1);
    let mut follow = setup.cluster.command("events");
    follow.args([&job[..8], "--follow", "--output", "json"]).stdout(std::process::Stdio::piped());
    let follow = follow.spawn().unwrap();
    let top = setup.cluster.run("top", &["--iterations", "1", "--interval", "1"]).unwrap();
    let text = String::from_utf8(top.stdout).unwrap();
    assert!(text.contains(&job) && text.contains("RUNNING") && text.contains("WATERMARK (UTC)"), "{text}");
    let source = text.lines().find(|line| line.contains("Source") || line.contains("clicks")).unwrap();
    let rate = |text: &str| text.replace(' ', "").parse::<u64>().ok();
    let cells: Vec<&str> = source.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert!(
        cells.contains(&"2/2") && cells.iter().filter_map(|cell| rate(cell)).any(|rate| (200..800).contains(&rate)),
        "{text}"
    );
    let stopped = setup.cluster.run("stop", &[&job]).unwrap();
    assert!(stopped.status.success());
    // It ends with the job.
    let followed = follow.wait_with_output().unwrap();
    assert!(followed.status.success());
    let lines: Vec<Value> =
        String::from_utf8(followed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["message"].as_str().unwrap().contains("DEPLOYING"), "{}", lines[0]);
    assert!(lines.last().unwrap()["message"].as_str().unwrap().ends_with("-> FINISHED"), "{lines:#?}");
    let plain = setup.cluster.run("events", &[&job]).unwrap();
    assert_eq!(String::from_utf8(plain.stdout).unwrap().lines().count(), lines.len());
}
