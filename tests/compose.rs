//! The compose file: its processes run the web analytics job on a real Kafka, PostgreSQL and S3 store, with the
//! commands and variables that stand there, and the dashboard finds what it shows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_yaml_ng::{Mapping, Value};
use tempfile::TempDir;
use tidemill_common::ports::free_port;
use tidemill_tests::services::Service;

const RESULT_TIMEOUT: Duration = Duration::from_secs(90);

fn place() -> PathBuf {
    tidemill_tests::directory().join("../deploy/compose")
}

/// The services of the compose file, with `${NAME:-default}` as if nothing was set.
fn services() -> Mapping {
    let mut text = std::fs::read_to_string(place().join("compose.yaml")).unwrap();
    while let Some(start) = text.find("${") {
        let end = start + text[start..].find('}').unwrap();
        let (_, default) = text[start..end].split_once(":-").expect("a default");
        text = format!("{}{default}{}", &text[..start], &text[end + 1..]);
    }
    let mut compose: Value = serde_yaml_ng::from_str(&text).unwrap();
    // What is merged in may merge others in: the chain is three long.
    for _ in 0..3 {
        compose.apply_merge().unwrap();
    }
    compose["services"].as_mapping().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_compose_file_fits_together() {
    let services = services();
    for (name, service) in &services {
        let name = name.as_str().unwrap();
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_default();
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()) || tag.starts_with("RELEASE."), "{name}: {image}");
        for volume in service.get("volumes").map(texts).unwrap_or_default() {
            let source = volume.split(':').next().unwrap();
            assert!(!source.starts_with('.') || place().join(source).exists(), "{name}: no {source}");
        }
        for port in service.get("ports").map(texts).unwrap_or_default() {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is reached by others");
        }
        for (needed, condition) in service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten() {
            let needed_service = services.get(needed).unwrap_or_else(|| panic!("{name} needs {needed:?}"));
            let healthy = condition["condition"] == "service_healthy";
            assert!(!healthy || needed_service.get("healthcheck").is_some(), "{name}: {needed:?} tells no health");
        }
        if image.starts_with("tidemill:") {
            assert_eq!(service["read_only"], Value::Bool(true), "{name}");
            assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        }
        let networks = texts(&service["networks"]);
        assert!(name == "grafana" || networks == ["inside"], "{name} is in {networks:?}");
    }
}

/// The containers' world on this machine.
struct Host {
    services: Mapping,
    directory: TempDir,
    /// What stands in the compose file, and what stands for it here; the longest first.
    names: Vec<(String, String)>,
    started: Vec<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in &mut self.started {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Host {
    fn translate(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    /// The process of a service of Tidemill.
    fn command(&self, name: &str) -> Command {
        let service = &self.services[name];
        let mut command = tidemill_tests::tidemill().unwrap();
        let volume = self.directory.path().join(name);
        std::fs::create_dir_all(&volume).unwrap();
        let volume = volume.display().to_string();
        let address = match name {
            "taskmanager1" => "127.0.8.1",
            "taskmanager2" => "127.0.8.2",
            _ => "127.0.0.1",
        };
        let translate = |text: &str| match text {
            "0.0.0.0" => address.to_owned(),
            "/var/lib/tidemill" => volume.clone(),
            text => self.translate(text),
        };
        command.args(texts(&service["command"]).iter().map(|argument| translate(argument)));
        for (variable, value) in service["environment"].as_mapping().unwrap() {
            command.env(variable.as_str().unwrap(), translate(value.as_str().unwrap()));
        }
        // The job manager has the name of its service there.
        let jobmanager = service["environment"]["TIDEMILL_JOBMANAGER_RPC_ADDRESS"].as_str().unwrap();
        assert!(self.services.contains_key(jobmanager), "{name}: {jobmanager}");
        command.env("TIDEMILL_JOBMANAGER_RPC_ADDRESS", "127.0.0.1");
        command.env("TIDEMILL_JOBMANAGER_RPC_PORT", &self.names[0].1);
        command
    }

    fn start(&mut self, name: &str) {
        let log = std::fs::File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let child = self.command(name).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.started.push(child);
    }

    fn logs(&self) -> String {
        let log = |name| std::fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default();
        ["jobmanager", "taskmanager1", "taskmanager2"].map(log).join("\n")
    }

    /// Runs one of the services that end.
    fn run(&self, name: &str) -> String {
        let output = self.command(name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {text}{}\n{}", String::from_utf8_lossy(&output.stderr), self.logs());
        text
    }
}

/// The queries of the dashboard, by the titles of their panels.
fn queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(place().join("grafana/dashboards/web_analytics.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let query = |panel: &serde_json::Value| {
        let sql = panel["targets"][0]["rawSql"].as_str().unwrap();
        // What Grafana makes of its macro.
        let sql = sql.replace(
            "$__timeFilter(minute_start)",
            "minute_start BETWEEN (now() AT TIME ZONE 'UTC') - interval '30 minutes' AND (now() AT TIME ZONE 'UTC') + interval '1 minute'",
        );
        assert!(!sql.contains("$_"), "{sql}");
        (panel["title"].as_str().unwrap().to_owned(), sql)
    };
    panels.iter().map(query).collect()
}

#[test]
fn the_services_run_the_web_analytics_job_and_fill_the_dashboard() {
    let Some(kafka) = Service::start("kafka.sh").unwrap() else { return };
    let Some(postgres) = Service::start("postgres.sh").unwrap() else { return };
    let Some(store) = Service::start("s3.sh").unwrap() else { return };
    kafka.run("topic", &["access-events", "2"]).unwrap();
    let tables = std::fs::read_to_string(place().join("../../examples/web_analytics/postgres.sql")).unwrap();
    postgres.run_with_input("sql", &[], &tables).unwrap();
    let database = postgres.address.split_once('@').unwrap().1.to_owned();

    let directory = tempfile::tempdir().unwrap();
    let jobs = directory.path().join("scripts");
    std::fs::create_dir(&jobs).unwrap();
    std::fs::copy(place().join("events.sql"), jobs.join("events.sql")).unwrap();
    // Minutes of two seconds, so that the first are over soon.
    let script = std::fs::read_to_string(place().join("../../examples/web_analytics/kafka.sql")).unwrap();
    let quick = script
        .replace("INTERVAL '1' MINUTE", "INTERVAL '2' SECOND")
        .replace("INTERVAL '5' SECOND", "INTERVAL '3' SECOND");
    assert_ne!(quick, script);
    std::fs::write(jobs.join("kafka.sql"), quick).unwrap();
    let names = [
        ("6123", free_port().unwrap().to_string()),
        ("http://minio:9000", store.address.clone()),
        ("postgres:5432/tidemill", database),
        ("kafka:9092", kafka.address.clone()),
        ("/jobs/", format!("{}/", jobs.display())),
        ("taskmanager1", "127.0.8.1".to_owned()),
        ("taskmanager2", "127.0.8.2".to_owned()),
    ];
    let names = names.into_iter().map(|(there, here)| (there.to_owned(), here)).collect();
    let mut host = Host { services: services(), directory, names, started: Vec::new() };
    for name in ["jobmanager", "taskmanager1", "taskmanager2"] {
        host.start(name);
    }
    assert!(host.run("make-events").contains("was started"));
    assert!(host.run("web-analytics").contains("was started"));

    let begun = Instant::now();
    let mut unanswered: Vec<(String, String)> = queries();
    assert!(unanswered.len() >= 8);
    while !unanswered.is_empty() {
        unanswered.retain(|(title, sql)| {
            // Rows in which nothing is NULL.
            let count = format!("SELECT 'shown: ' || count(*) FROM ({sql}) AS found WHERE found IS NOT NULL;");
            let answer = postgres.run_with_input("sql", &[], &count).unwrap_or_else(|error| panic!("{title}: {error}"));
            assert!(answer.contains("shown: "), "{title}: {answer}");
            answer.contains("shown: 0")
        });
        let titles: Vec<_> = unanswered.iter().map(|(title, _)| title).collect();
        assert!(begun.elapsed() < RESULT_TIMEOUT, "nothing to show in {titles:?}\n{}", host.logs());
        std::thread::sleep(Duration::from_millis(500));
    }
    // The containers come up again: the jobs run, and stay as they are.
    assert!(host.run("make-events").contains("is unchanged"));
    assert!(host.run("web-analytics").contains("is unchanged"));
}

#[test]
fn what_grafana_is_given_is_where_it_looks() {
    let yaml = |path: &str| -> Value {
        serde_yaml_ng::from_str(&std::fs::read_to_string(place().join(path)).unwrap()).unwrap()
    };
    let source = &yaml("grafana/provisioning/datasources/postgres.yaml")["datasources"][0];
    let dashboard = std::fs::read_to_string(place().join("grafana/dashboards/web_analytics.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"].as_str(), source["uid"].as_str(), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["type"].as_str(), source["type"].as_str(), "{}", panel["title"]);
    }
    let services = services();
    let postgres = &services["postgres"]["environment"];
    assert_eq!(
        (&source["user"], &source["jsonData"]["database"]),
        (&postgres["POSTGRES_USER"], &postgres["POSTGRES_DB"])
    );
    let files = yaml("grafana/provisioning/dashboards/files.yaml");
    let mounted = files["providers"][0]["options"]["path"].as_str().unwrap();
    let grafana = &services["grafana"];
    assert!(texts(&grafana["volumes"]).iter().any(|volume| volume.split(':').nth(1) == Some(mounted)));
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert_eq!(Path::new(home).parent(), Some(Path::new(mounted)));
}
