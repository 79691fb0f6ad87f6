//! What the architecture promises about the source itself: who depends on whom, and where the exceptions
//! to the lints are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

/// Each crate of the product, and the crates of the product it may depend on.
const CRATES: [(&str, &[&str]); 11] = [
    ("proto", &[]),
    ("common", &[]),
    ("expr", &["common"]),
    ("planner", &["common", "expr"]),
    ("state", &["common"]),
    ("connectors", &["common", "expr"]),
    ("http", &["common"]),
    ("taskmanager", &["proto", "common", "expr", "state", "connectors", "http"]),
    ("jobmanager", &["proto", "common", "expr", "planner", "state", "connectors", "http"]),
    ("cli", &["proto", "common", "expr", "planner", "connectors", "http", "taskmanager", "jobmanager", "state"]),
    ("sdk", &["common", "expr", "state", "cli"]),
];

/// Where `unsafe` is, each with its reasons at its head.
const UNSAFE: [&str; 3] =
    ["cli/src/allocator.rs", "connectors/src/formats/json/marks.rs", "connectors/src/kafka/batch_queue.rs"];

fn root() -> &'static Path {
    tidemill_tests::directory().parent().unwrap()
}

/// The directories of the members of the workspace.
fn members() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

/// All Rust files of the members, by their paths in the repository.
fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    members().iter().for_each(|member| walk(&root().join(member), &mut files));
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().display().to_string(), text)
    };
    files.into_iter().map(read).collect()
}

/// Whether all of a file is test code.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.starts_with("tests/") || path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
}

#[test]
fn dependencies_point_one_way() {
    for (name, allowed) in CRATES {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let Some(dependency) = line.strip_prefix("tidemill-") else { continue };
            let dependency = dependency.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(section == "[dev-dependencies]" || allowed.contains(&dependency), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for member in members() {
        let manifest = std::fs::read_to_string(root().join(&member).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}/Cargo.toml");
    }
}

#[test]
fn generated_protobuf_types_stay_in_wire_files() {
    let generated = concat!("tidemill_proto", "::v1");
    for (path, text) in sources() {
        let may = path.starts_with("proto/") || path.ends_with("/wire.rs");
        assert!(may || !text.contains(generated), "{path} names the generated types; convert them in a wire.rs");
    }
}

#[test]
fn only_tests_may_panic_and_only_named_files_are_unsafe() {
    let attribute = |line: &str, lint: &str| {
        let line = line.trim_start();
        (line.starts_with("#[") || line.starts_with("#![")) && line.contains("(") && line.contains(lint)
    };
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let lints = ["unwrap_used", "expect_used", "clippy::todo", "unimplemented", "dbg_macro", "clippy::all"];
            let panics = lints.iter().any(|lint| attribute(line, lint));
            assert!(!panics || is_test(&path) || path.starts_with("proto/"), "{path}:{}: {line}", number + 1);
            let is_unsafe = attribute(line, "unsafe_code") && !attribute(line, "deny(");
            assert!(!is_unsafe || UNSAFE.contains(&path.as_str()), "{path}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn no_release_has_planted_faults() {
    for member in members() {
        let manifest = std::fs::read_to_string(root().join(&member).join("Cargo.toml")).unwrap();
        for line in manifest.lines().filter(|line| line.contains("faults") && !line.trim_start().starts_with('#')) {
            let only_by_name = line == "faults = []" || line == "faults = [\"tidemill-common/faults\"]";
            assert!(only_by_name, "{member}/Cargo.toml: {line}");
        }
    }
}
