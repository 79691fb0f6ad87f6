//! Every metric and every label that the alert rules and the dashboard name is one that processes have.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

/// What Prometheus itself adds.
const LABELS_OF_PROMETHEUS: [&str; 3] = ["job", "instance", "severity"];

/// The metrics of docs/metrics.md, which is generated, with their labels as it writes them.
fn documented() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(tidemill_tests::directory().join("../docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|row| row.split_once('`'));
    rows.map(|(name, rest)| (name.to_owned(), rest.split('|').nth(2).unwrap_or_default().trim().to_owned())).collect()
}

/// All words that are names in PromQL.
fn words(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The labels in `{label=...}`, `by (label, ...)` and `$labels.label` or `{{label}}`.
fn labels(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_label = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    for part in text.split("by (").skip(1) {
        let inner = part.split(')').next().unwrap_or_default();
        found.extend(inner.split(',').map(|label| label.trim().to_owned()));
    }
    for part in text.split("$labels.").skip(1) {
        found.extend(part.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().map(str::to_owned));
    }
    for part in text.split("{{").skip(1) {
        found.extend(part.split("}}").next().filter(|label| is_label(label)).map(str::to_owned));
    }
    for part in text.split(['{', ',']).skip(1) {
        let end = part.find(['=', '!']).unwrap_or(0);
        found.extend(Some(part[..end].trim()).filter(|label| is_label(label)).map(str::to_owned));
    }
    found.retain(|label| !label.is_empty());
    found
}

fn check(file: &str, expressions: &[String], least: usize) {
    let documented = documented();
    let task = ["tm_id", "job_id", "job_name", "task_id", "task_name", "task_attempt_num", "subtask_index"];
    let known: BTreeSet<String> = documented
        .values()
        .flat_map(|labels| words(labels))
        .chain(task.into_iter().chain(["operator_id", "operator_name"]).chain(LABELS_OF_PROMETHEUS).map(str::to_owned))
        .collect();
    let mut named = BTreeSet::new();
    for expression in expressions {
        for word in words(expression) {
            let is_ours = ["flink_", "tidemill_", "process_"].iter().any(|prefix| word.starts_with(prefix));
            if is_ours {
                assert!(documented.contains_key(&word), "{file}: there is no metric {word}: {expression}");
                named.insert(word);
            }
        }
        for label in labels(expression) {
            assert!(known.contains(&label), "{file}: no metric has the label {label}: {expression}");
        }
    }
    assert!(named.len() >= least, "{file} names only {named:?}");
}

#[test]
fn alert_rules_name_metrics_that_exist() {
    let path = tidemill_tests::directory().join("../deploy/prometheus/alerts.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let rules: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    let rules = rules["groups"][0]["rules"].as_sequence().unwrap();
    let mut expressions = Vec::new();
    for rule in rules {
        let (expression, notes) = (rule["expr"].as_str().unwrap(), &rule["annotations"]);
        let (summary, description) = (notes["summary"].as_str().unwrap(), notes["description"].as_str().unwrap());
        assert!(!description.is_empty(), "{rule:?} does not say what to do");
        expressions.extend([expression, summary, description].map(str::to_owned));
    }
    check("alerts.yaml", &expressions, 12);
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let path = tidemill_tests::directory().join("../deploy/grafana/tidemill.json");
    let board: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut expressions = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.extend(["expr", "legendFormat"].map(|key| target[key].as_str().unwrap().to_owned()));
        }
    }
    check("tidemill.json", &expressions, 20);
}
