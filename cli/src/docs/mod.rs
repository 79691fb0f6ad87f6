//! `tidemill docs`: the pages of the reference that are generated from the code. A test compares
//! them with what is in `docs/`.

use std::fmt::Write;
use std::process::ExitCode;

use tidemill_common::config::JOB_OPTIONS;
use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, OptionKind, OptionSpec};
use tidemill_common::process_options::PROCESS_OPTIONS;
use tidemill_connectors::registry::Registry;
use tidemill_expr::docs::{FunctionDoc, function_docs};
use tidemill_http::exposition::Kind;
use tidemill_http::{HTTP_METRICS, PROCESS_METRICS};
use tidemill_jobmanager::JOB_MANAGER_METRICS;
use tidemill_taskmanager::status::TASK_MANAGER_METRICS;

use crate::args::{DocsArgs, DocsPage};
use crate::error::CliError;

const CONFIG_INTRO: &str = include_str!("config_intro.md");
const CONNECTORS_INTRO: &str = include_str!("connectors_intro.md");
const METRICS_INTRO: &str = include_str!("metrics_intro.md");
const SQL_INTRO: &str = include_str!("sql_intro.md");

/// Prints a page.
pub fn docs(args: &DocsArgs) -> Result<ExitCode, CliError> {
    print!("{}", page(args.page));
    Ok(ExitCode::SUCCESS)
}

fn page(page: DocsPage) -> String {
    match page {
        DocsPage::Config => config(),
        DocsPage::Connectors => connectors(),
        DocsPage::Metrics => metrics(),
        DocsPage::Sql => sql(),
    }
}

fn config() -> String {
    let mut text =
        format!("{CONFIG_INTRO}\n## Options of the processes\n\n| Key | Value | Default | |\n|---|---|---|---|\n");
    for option in PROCESS_OPTIONS {
        let kind = kind(option.kind);
        row(&mut text, &[&code(option.key), &kind, &default(option.default), option.description]);
    }
    text.push_str("\n## Options of a job\n\nBy `SET 'key' = 'value';` in the script, or `--set key=value`.\n\n");
    text.push_str("| Key | Value | Default | |\n|---|---|---|---|\n");
    let mut options: Vec<&OptionSpec> = JOB_OPTIONS.iter().collect();
    options.sort_by_key(|option| option.key);
    for option in options {
        row(&mut text, &[&code(option.key), &kind(option.kind), &default(option.default), option.description]);
    }
    text
}

fn metrics() -> String {
    let mut text = METRICS_INTRO.to_owned();
    for (title, metrics) in [
        ("Of a task manager", TASK_MANAGER_METRICS),
        ("Of a job manager", JOB_MANAGER_METRICS),
        ("Of every process", PROCESS_METRICS),
        ("Of the HTTP server of every process", HTTP_METRICS),
    ] {
        let _ = write!(text, "\n## {title}\n\n| Metric | Kind | Labels | |\n|---|---|---|---|\n");
        for metric in metrics {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            row(&mut text, &[&code(metric.name), kind, &labels(metric.labels), metric.help]);
        }
    }
    text
}

/// Labels that many metrics have are named together, as the introduction does.
fn labels(labels: &[&str]) -> String {
    const TASK: &[&str] = &["tm_id", "job_id", "job_name"];
    let is_of_operator = labels.contains(&"operator_name");
    let scope = match labels.last() {
        Some(&"split") if is_of_operator => "operator, `split`",
        _ if is_of_operator => "operator",
        _ if labels.starts_with(TASK) => "task",
        _ => return labels.iter().map(|label| code(label)).collect::<Vec<_>>().join(" "),
    };
    scope.to_owned()
}

fn connectors() -> String {
    let mut text = CONNECTORS_INTRO.to_owned();
    for info in Registry.connectors() {
        // What the planner uses by itself is not for scripts.
        if info.source || info.sink {
            section(&mut text, &info, "");
        }
    }
    text.push_str("\n# Formats\n\nOptions are written with the format's name before them, as in `'json.ignore-parse-errors' = 'true'`.\n");
    for info in Registry.formats() {
        section(&mut text, &info, &format!("{}.", info.identifier));
    }
    text
}

fn section(text: &mut String, info: &ConnectorInfo, prefix: &str) {
    let roles: Vec<&str> = [(info.source, "source"), (info.sink, "sink")]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, role)| role)
        .collect();
    let formats = if info.formats { ", takes a `'format'`" } else { "" };
    let roles = match prefix {
        "" => format!(" ({}{formats})", roles.join(" and ")),
        _ => match (info.source, info.sink) {
            (true, true) => " (read and written)".to_owned(),
            (true, false) => " (read only)".to_owned(),
            _ => " (written only)".to_owned(),
        },
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {}{roles}\n\n{}\n", info.identifier, info.description.trim());
    if !info.options.is_empty() {
        text.push_str("\n| Option | Value | Default | |\n|---|---|---|---|\n");
        for option in &info.options {
            let key = code(&format!("{prefix}{}", option.key));
            let default = if option.required { "required".to_owned() } else { default(option.default) };
            row(text, &[&key, &kind(option.kind), &default, option.description]);
        }
    }
    let metadata = if prefix.is_empty() { Registry.metadata(info.identifier) } else { Vec::new() };
    if !metadata.is_empty() {
        text.push_str("\nColumns `c TYPE METADATA FROM 'key' VIRTUAL`:\n\n| Key | Type | |\n|---|---|---|\n");
        for column in metadata {
            row(text, &[&code(column.key), &code(&(column.data_type)().to_string()), column.description]);
        }
    }
    for passed in info.prefixes {
        let _ = write!(
            text,
            "\nOptions that begin with `{prefix}{passed}` are handed to the client library, without the prefix.\n"
        );
    }
}

fn sql() -> String {
    let mut text = SQL_INTRO.to_owned();
    let mut category = "";
    for doc in function_docs() {
        if doc.category != category {
            category = doc.category;
            let _ = write!(text, "\n### {category}\n\n| Function | | Golden |\n|---|---|---|\n");
        }
        function(&mut text, &doc);
    }
    text
}

fn function(text: &mut String, doc: &FunctionDoc) {
    let signatures: Vec<String> = doc.signatures.iter().map(|signature| code(signature)).collect();
    let mut description = doc.description.to_owned();
    if !doc.difference.is_empty() {
        description = format!("{description} *Differs from Flink:* {}", doc.difference);
    }
    let golden = if doc.golden.is_empty() { String::new() } else { format!("`{}`", doc.golden) };
    row(text, &[&signatures.join("<br>"), &description, &golden]);
}

/// A row of a table; bars and line ends would break it.
fn row(text: &mut String, cells: &[&str]) {
    text.push('|');
    for cell in cells {
        let cell = cell.replace('|', "\\|").replace('\n', " ");
        let _ = write!(text, " {} |", cell.trim());
    }
    text.push('\n');
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn default(value: Option<&str>) -> String {
    value.map(code).unwrap_or_default()
}

fn kind(kind: OptionKind) -> String {
    match kind {
        OptionKind::Text => "text".to_owned(),
        OptionKind::Boolean => "true or false".to_owned(),
        OptionKind::Integer => "whole number".to_owned(),
        OptionKind::Number => "number".to_owned(),
        OptionKind::Duration => "duration".to_owned(),
        OptionKind::MemorySize => "size".to_owned(),
        OptionKind::Enum(words) => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        let path = format!("{}/../docs/{name}.md", env!("CARGO_MANIFEST_DIR"));
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/{name}.md is not what the code says; run: tidemill docs {name} > docs/{name}.md"
        );
    }

    #[test]
    fn config_md_is_current() {
        check("config", &config());
    }

    #[test]
    fn connectors_md_is_current() {
        check("connectors", &connectors());
    }

    #[test]
    fn metrics_md_is_current() {
        check("metrics", &metrics());
    }

    #[test]
    fn sql_md_is_current() {
        check("sql", &sql());
    }
}
