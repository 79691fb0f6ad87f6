//! The Helm chart: what it renders, what it refuses, and that the processes of the rendered manifests run.
//!
//! `UPDATE_EXPECT=1` writes the golden renders, and the manifests of `deploy/kubernetes`, anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};
use tempfile::TempDir;
use tidemill_common::ports::free_port;
use tidemill_common::process_options::PROCESS_OPTIONS;
use tidemill_tests::services::report_skipped;

/// Version of Kubernetes that is rendered for; that of the vendored schemas.
const KUBERNETES: &str = "1.34.0";

/// Options that the chart sets itself, from values of its own.
const SET_BY_THE_CHART: [&str; 21] = [
    "execution.checkpointing.local-backup.dirs",
    "io.tmp.dirs",
    "jobmanager.bind-host",
    "jobmanager.data.dir",
    "jobmanager.rpc.address",
    "jobmanager.rpc.port",
    "s3.access-key",
    "s3.endpoint",
    "s3.path-style-access",
    "s3.region",
    "s3.secret-key",
    "security.unprotected-ports",
    "state.checkpoints.dir",
    "state.savepoints.dir",
    "taskmanager.bind-host",
    "taskmanager.data.port",
    "taskmanager.host",
    "taskmanager.memory.size",
    "taskmanager.network.compression",
    "taskmanager.numberOfTaskSlots",
    "taskmanager.state.local.root-dirs",
];

fn repository() -> &'static Path {
    tidemill_tests::directory().parent().unwrap()
}

fn chart() -> PathBuf {
    repository().join("helm/tidemill")
}

/// The sets of values, and where their renders are.
fn value_sets() -> Vec<(PathBuf, PathBuf)> {
    let place = tidemill_tests::directory().join("helm");
    let mut sets: Vec<_> = std::fs::read_dir(place.join("values")).unwrap().map(|set| set.unwrap().path()).collect();
    sets.sort();
    sets.into_iter().map(|set| (set.clone(), place.join("golden").join(set.file_name().unwrap()))).collect()
}

/// The directory of helm and the others; `None`, with the reason printed, where they cannot be had.
fn tools() -> Option<PathBuf> {
    let script = tidemill_tests::directory().join("services/kube_tools.sh");
    let output = Command::new("sh").arg(script).arg("path").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.code() == Some(77) {
        let required = std::env::var("TIDEMILL_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "{errors}");
        report_skipped(errors.lines().last().unwrap_or_default());
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

/// Runs a tool: what it printed, or the error it gave.
fn run(command: &mut Command) -> Result<String, String> {
    // Nothing that the user has configured plays a part.
    let home = tempfile::tempdir().unwrap();
    let output = command.env_clear().env("HOME", home.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn render(tools: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut helm = Command::new(tools.join("helm"));
    helm.args(["template", "tidemill"]).arg(chart()).args(["--namespace", "tidemill", "--kube-version", KUBERNETES]);
    run(helm.args(arguments))
}

fn expect(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).position(|(expected, line)| expected != line);
    assert!(
        expected == text,
        "{} differs from line {} on; UPDATE_EXPECT=1 writes it anew",
        path.display(),
        differs.unwrap_or_else(|| expected.lines().count().min(text.lines().count())) + 1
    );
}

/// The manifests as they are without Helm: what only Helm reads is left out.
fn without_helm(rendered: &str) -> String {
    let mut manifests = Vec::new();
    for manifest in rendered.split("---\n").filter(|text| !text.trim().is_empty()) {
        if manifest.contains("helm.sh/hook") {
            continue;
        }
        let kept = manifest
            .replace("  annotations:\n    # Savepoints outlive the release.\n    helm.sh/resource-policy: keep\n", "");
        let helms = ["# Source:", "helm.sh/chart:", "app.kubernetes.io/managed-by: Helm"];
        let lines = kept.lines().filter(|line| !helms.iter().any(|word| line.trim_start().starts_with(word)));
        manifests.push(lines.map(|line| format!("{line}\n")).collect::<String>());
    }
    manifests.join("---\n")
}

#[test]
fn it_renders_as_recorded_and_as_kubernetes_takes_it() {
    let Some(tools) = tools() else { return };
    let mut helm = Command::new(tools.join("helm"));
    run(helm.args(["lint", "--strict", "--kube-version", KUBERNETES]).arg(chart())).unwrap();
    let sets = value_sets();
    assert!(sets.len() >= 6);
    let mut manifests = Vec::new();
    for (values, golden) in &sets {
        let rendered = render(&tools, &["--values", values.to_str().unwrap()]);
        let rendered = rendered.unwrap_or_else(|error| panic!("{}: {error}", values.display()));
        expect(golden, &rendered);
        manifests.push(golden.clone());
    }

    // The manifests for kubectl are those of the chart's defaults.
    let place = repository().join("deploy/kubernetes");
    let plain = without_helm(&render(&tools, &[]).unwrap());
    let head = "# What the chart in helm/tidemill renders by default; tests/helm.rs writes it.\n";
    expect(&place.join("tidemill.yaml"), &format!("{head}{plain}"));
    let mut kustomize = Command::new(tools.join("kustomize"));
    let built = run(kustomize.arg("build").arg(&place)).unwrap();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), &built).unwrap();
    manifests.push(file.path().to_owned());
    let kinds = |text: &str| {
        let mut kinds: Vec<String> = documents(text).iter().map(|one| text_at(one, &["kind"])).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&built), kinds(&format!("{plain}---\nkind: Namespace\n")));
    assert!(documents(&built).iter().all(|one| {
        text_at(one, &["kind"]) == "Namespace" || text_at(one, &["metadata", "namespace"]) == "tidemill"
    }));

    let schemas = tidemill_tests::directory().join("helm/schemas/{{.ResourceKind}}{{.KindSuffix}}.json");
    let check = |files: &[PathBuf]| {
        let mut kubeconform = Command::new(tools.join("kubeconform"));
        run(kubeconform.args(["-strict", "-summary", "-schema-location"]).arg(&schemas).args(files))
    };
    let summary = check(&manifests).unwrap();
    assert!(summary.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{summary}");
    // A field that does not exist is noticed.
    let wrong = std::fs::read_to_string(&sets[0].1).unwrap().replace("readOnlyRootFilesystem", "readOnlyRoot");
    std::fs::write(file.path(), wrong).unwrap();
    let noticed = check(&[file.path().to_owned()]).unwrap_err();
    assert!(noticed.contains("readOnlyRoot"), "{noticed}");
}

#[test]
fn wrong_values_are_refused() {
    let Some(tools) = tools() else { return };
    let bucket = "storage.url=s3://bucket/path";
    let open = "networkPolicy.egress[0].ports[0].port=443";
    let cases: [(&[&str], &str); 20] = [
        (&["taskManager.slot=3"], "additional properties 'slot' not allowed"),
        (&["taskManager.slots=0"], "/taskManager/slots"),
        (&["taskManager.slots=two"], "/taskManager/slots"),
        (&["taskManager.memoryMiB=100"], "/taskManager/memoryMiB"),
        (&["taskManager.localState.size=much"], "/taskManager/localState/size"),
        (&["taskManager.compression=zstd"], "/taskManager/compression"),
        // What there is not yet.
        (&["jobManager.replicas=3"], "/jobManager/replicas"),
        (&["tls.enabled=true"], "additional properties 'tls' not allowed"),
        (&["metrics.enabled=true"], "additional properties 'metrics' not allowed"),
        (&["networkPolicy.enabled=false"], "neither TLS nor access tokens protect the ports"),
        (&["config.heartbeat\\.timeuot=3 s"], "heartbeat.timeuot"),
        (&["config.jobmanager\\.rpc\\.port=1"], "jobmanager.rpc.port"),
        (&["env[0].name=TIDEMILL_LOG_LEVEL"], "/env/0/name"),
        (&["storage.url=file:///data"], "/storage/url"),
        (&[bucket], "the pods may not reach storage.url"),
        (&[bucket, open, "storage.volume.existingClaim=a"], "not used with storage.url"),
        (&["storage.s3.region=eu-central-1"], "only used with a storage.url that begins with s3://"),
        (&["jobs.Web.sql=INSERT"], "'Web' does not match pattern"),
        (&["jobs.web.sql= "], "jobs.web.sql: the script is empty"),
        (
            &[
                "jobs.web.sql=INSERT",
                "fullnameOverride=a-name-as-long-as-names-can-be-in-here-40",
                "jobs.and-a-long-one-too-for-63-letters.sql=INSERT",
            ],
            "63 letters are the most",
        ),
    ];
    for (values, expected) in cases {
        let arguments: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        let error = render(&tools, &arguments).expect_err(values[0]);
        assert!(error.contains(expected), "{values:?}: {error}");
    }
    // Options of jobs are texts, whatever they look like.
    assert!(render(&tools, &["--set", "jobs.web.sql=INSERT", "--set", "jobs.web.set.a=1"]).is_err());
    assert!(render(&tools, &["--set", "jobs.web.sql=INSERT", "--set-string", "jobs.web.set.a=1"]).is_ok());
}

/// The manifests of a file.
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents.map(|one| Value::deserialize(one).unwrap()).filter(|one| !one.is_null()).collect()
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn text_at(value: &Value, path: &[&str]) -> String {
    at(value, path).as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

/// All containers of pods that are described somewhere in a value.
fn containers(value: &Value) -> Vec<Value> {
    match value {
        Value::Mapping(mapping) => {
            let inner = mapping.iter().flat_map(|(key, value)| match key.as_str() {
                Some("containers" | "initContainers") => list(value).to_vec(),
                _ => containers(value),
            });
            inner.collect()
        }
        Value::Sequence(values) => values.iter().flat_map(containers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn only_options_that_there_are_are_set() {
    let schema = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let offered = schema["properties"]["config"]["propertyNames"]["enum"].as_array().unwrap();
    let offered: BTreeSet<&str> = offered.iter().filter_map(serde_json::Value::as_str).collect();
    let all: BTreeSet<&str> = PROCESS_OPTIONS.iter().map(|option| option.key).collect();
    let set: BTreeSet<&str> = SET_BY_THE_CHART.into();
    assert!(offered.is_disjoint(&set), "set by the chart and offered in `config`");
    let both: BTreeSet<&str> = offered.union(&set).copied().collect();
    let differences: Vec<_> = both.symmetric_difference(&all).collect();
    assert!(differences.is_empty(), "neither offered in `config` nor set by the chart, or no options: {differences:?}");

    let variables: BTreeSet<String> =
        PROCESS_OPTIONS.iter().map(tidemill_common::process_options::ConfigOption::variable).collect();
    let mut seen = 0;
    let compose = repository().join("deploy/compose/compose.yaml");
    for path in value_sets().into_iter().map(|(_, golden)| golden).chain([compose]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if name.starts_with("TIDEMILL_") && name != "TIDEMILL_CONFIG" && !name.starts_with("TIDEMILL_IMAGE") {
                assert!(variables.contains(name), "{}: {name} is no variable of an option", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 50);
}

#[test]
fn every_pod_is_as_confined_as_can_be() {
    for (_, golden) in value_sets() {
        let manifests = documents(&std::fs::read_to_string(&golden).unwrap());
        let mut confined = 0;
        for manifest in &manifests {
            let pod = match text_at(manifest, &["kind"]).as_str() {
                "StatefulSet" | "Job" => at(manifest, &["spec", "template", "spec"]),
                "Pod" => at(manifest, &["spec"]),
                _ => continue,
            };
            assert_eq!(at(pod, &["automountServiceAccountToken"]), &Value::Bool(false));
            assert_eq!(at(pod, &["securityContext", "runAsNonRoot"]), &Value::Bool(true));
            assert_eq!(text_at(pod, &["securityContext", "seccompProfile", "type"]), "RuntimeDefault");
            for container in containers(pod) {
                let security = at(&container, &["securityContext"]);
                assert_eq!(at(security, &["readOnlyRootFilesystem"]), &Value::Bool(true));
                assert_eq!(at(security, &["allowPrivilegeEscalation"]), &Value::Bool(false));
                assert_eq!(list(at(security, &["capabilities", "drop"])), ["ALL"]);
                assert!(at(&container, &["resources", "limits", "memory"]).is_string());
                confined += 1;
            }
        }
        assert!(confined >= 3, "{}", golden.display());
    }
}

/// Processes that are ended when dropped.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs what manifests describe on this machine: names of services are this host, volumes a directory.
struct Node {
    manifests: Vec<Value>,
    directory: TempDir,
    port: String,
}

impl Node {
    fn new(golden: &str) -> Self {
        let path = tidemill_tests::directory().join("helm/golden").join(golden);
        let manifests = documents(&std::fs::read_to_string(path).unwrap());
        let directory = tempfile::tempdir().unwrap();
        for place in ["data", "storage", "local", "config", "scripts"] {
            std::fs::create_dir(directory.path().join(place)).unwrap();
        }
        let node = Self { manifests, directory, port: free_port().unwrap().to_string() };
        let config = node.manifest("ConfigMap", "tidemill");
        std::fs::write(node.directory.path().join("config/tidemill.yaml"), text_at(config, &["data", "tidemill.yaml"]))
            .unwrap();
        node
    }

    fn manifest(&self, kind: &str, name: &str) -> &Value {
        let is = |one: &&Value| text_at(one, &["kind"]) == kind && text_at(one, &["metadata", "name"]) == name;
        self.manifests.iter().find(is).unwrap()
    }

    fn translate(&self, text: &str, pod_ip: &str) -> String {
        if text == "6123" {
            return self.port.clone();
        }
        let place = self.directory.path().display().to_string();
        text.replace("$(POD_IP)", pod_ip)
            .replace("0.0.0.0", pod_ip)
            .replace("tidemill-jobmanager", "127.0.0.1")
            .replace("/var/lib/tidemill", &place)
            .replace("/etc/tidemill-job", &format!("{place}/scripts"))
            .replace("/etc/tidemill", &format!("{place}/config"))
    }

    /// The process of the first container of a manifest.
    fn command(&self, kind: &str, name: &str, pod_ip: &str) -> Command {
        let container = containers(self.manifest(kind, name)).remove(0);
        let mut command = tidemill_tests::tidemill().unwrap();
        command.args(list(at(&container, &["args"])).iter().map(|one| self.translate(one.as_str().unwrap(), pod_ip)));
        for variable in list(at(&container, &["env"])) {
            if let Some(value) = at(variable, &["value"]).as_str() {
                command.env(text_at(variable, &["name"]), self.translate(value, pod_ip));
            }
        }
        command
    }

    fn start(&self, kind: &str, name: &str, pod_ip: &str) -> Child {
        let log = self.directory.path().join(format!("{name}-{pod_ip}.log"));
        let mut command = self.command(kind, name, pod_ip);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(log).unwrap()).spawn().unwrap()
    }

    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// Runs the hook of a declared job with its script, changed by a function.
    fn hook(&self, job: &str, change: impl Fn(String) -> String) -> String {
        let name = format!("tidemill-job-{job}");
        let script = change(text_at(self.manifest("ConfigMap", &name), &["data", "job.sql"]));
        std::fs::write(self.directory.path().join("scripts/job.sql"), script).unwrap();
        let output = self.command("Job", &name, "127.0.0.1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}\n{}", String::from_utf8_lossy(&output.stderr), self.logs());
        text
    }
}

#[test]
fn the_processes_of_the_manifests_run_a_declared_job() {
    let node = Node::new("jobs.yaml");
    let replicas = at(node.manifest("StatefulSet", "tidemill-taskmanager"), &["spec", "replicas"]).as_u64().unwrap();
    let mut processes = Processes(vec![node.start("StatefulSet", "tidemill-jobmanager", "127.0.0.1")]);
    for pod in 0..replicas {
        processes.0.push(node.start("StatefulSet", "tidemill-taskmanager", &format!("127.0.7.{}", pod + 1)));
    }
    let started = node.hook("counter", |script| script);
    assert!(started.contains("was started"), "{started}");
    assert!(node.hook("counter", |script| script).contains("is unchanged"));
    let upgraded = node.hook("counter", |script| format!("-- another comment\n{script}"));
    assert!(upgraded.contains("was upgraded") && upgraded.contains("/storage/savepoints/counter/"), "{upgraded}");
    // The pod of `helm test`.
    let info = node.command("Pod", "tidemill-test", "127.0.0.1").output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(info.contains("127.0.7.1:6122") && info.contains("127.0.7.2:6122"), "{info}");
    // On SIGTERM its jobs are put aside, and another job manager takes them up.
    let mut manager = processes.0.remove(0);
    assert!(Command::new("kill").arg(manager.id().to_string()).status().unwrap().success());
    assert!(manager.wait().unwrap().success(), "{}", node.logs());
    processes.0.push(node.start("StatefulSet", "tidemill-jobmanager", "127.0.0.1"));
    assert!(node.hook("counter", |script| format!("-- another comment\n{script}")).contains("is unchanged"));
}

#[test]
fn values_of_a_bucket_and_a_secret_reach_every_process() {
    let path = tidemill_tests::directory().join("helm/golden/bucket_with_secret.yaml");
    let manifests = documents(&std::fs::read_to_string(path).unwrap());
    let sets = manifests.iter().filter(|one| text_at(one, &["kind"]) == "StatefulSet");
    let mut checked = 0;
    for container in sets.flat_map(containers) {
        let environment = list(at(&container, &["env"]));
        let variable = |name: &str| environment.iter().find(|one| text_at(one, &["name"]) == name).unwrap();
        let secret = variable("TIDEMILL_S3_SECRET_KEY");
        let reference = at(secret, &["valueFrom", "secretKeyRef"]);
        let expected: Mapping = serde_yaml_ng::from_str("{name: minio-credentials, key: rootPassword}").unwrap();
        assert_eq!(reference, &Value::Mapping(expected));
        assert_eq!(
            text_at(variable("TIDEMILL_STATE_CHECKPOINTS_DIR"), &["value"]),
            "s3://checkpoints/tidemill/checkpoints"
        );
        assert_eq!(text_at(variable("TIDEMILL_S3_ENDPOINT"), &["value"]), "http://minio.minio:9000");
        checked += 1;
    }
    assert_eq!(checked, 2);
}
