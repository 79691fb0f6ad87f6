//! Gathers the process options: file, environment, flags.

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml_ng::Value;
use tidemill_common::process_options::{PROCESS_OPTIONS, ProcessConfig};

use crate::args::ProcessFlags;
use crate::error::CliError;

/// The options of this process.
pub fn load(flags: &ProcessFlags) -> Result<ProcessConfig, CliError> {
    load_with(flags, |variable| std::env::var(variable).ok())
}

fn load_with(flags: &ProcessFlags, variable: impl Fn(&str) -> Option<String>) -> Result<ProcessConfig, CliError> {
    let file = match &flags.file {
        Some(path) => read_file(path)?,
        None => BTreeMap::new(),
    };
    let file_name = flags.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let mut config = ProcessConfig::from_layers([(file_name.as_str(), file)])?;
    for option in PROCESS_OPTIONS {
        let name = option.variable();
        if let Some(value) = variable(&name) {
            config.set(&format!("environment variable {name}"), option.key, value)?;
        }
    }
    for (key, value) in &flags.values {
        let flag = PROCESS_OPTIONS.iter().find(|option| option.key == key).map(|option| option.flag());
        config.set(&format!("--{}", flag.unwrap_or_default()), key, value)?;
    }
    Ok(config)
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, CliError> {
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|reason| CliError::ConfigFile { path: path.to_owned(), reason })
}

/// Reads YAML with nested or flat keys.
fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    match serde_yaml_ng::from_str(text).map_err(|error| error.to_string())? {
        Value::Null => {}
        Value::Mapping(mapping) => flatten("", mapping, &mut values)?,
        _ => return Err("expected options as 'key: value' lines".to_owned()),
    }
    Ok(values)
}

fn flatten(prefix: &str, mapping: serde_yaml_ng::Mapping, values: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in mapping {
        let Value::String(key) = key else { return Err(format!("the key {key:?} below '{prefix}' is not a text")) };
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        let text = match value {
            Value::Mapping(inner) => {
                flatten(&key, inner, values)?;
                continue;
            }
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => return Err(format!("option '{key}' has no value")),
            Value::Sequence(_) | Value::Tagged(_) => return Err(format!("option '{key}' takes one value, not a list")),
        };
        if values.insert(key.clone(), text).is_some() {
            return Err(format!("option '{key}' is given twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_keys_are_the_same() {
        let nested = parse("jobmanager:\n  rpc:\n    port: 7000\n").unwrap();
        let flat = parse("jobmanager.rpc.port: 7000\n").unwrap();
        assert_eq!(nested, flat);
        assert_eq!(nested["jobmanager.rpc.port"], "7000");
        assert!(parse("# nothing\n").unwrap().is_empty());
        assert!(parse("- a\n").is_err());
        assert!(parse("heartbeat.interval:\n").is_err());
        assert!(parse("a.b: 1\na:\n  b: 2\n").is_err());
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conf.yaml");
        std::fs::write(&path, "jobmanager.rpc.port: 1\nheartbeat.interval: 2 s\nslot:\n  request.timeout: 3 s\n")
            .unwrap();
        let flags = ProcessFlags {
            file: Some(path.clone()),
            values: BTreeMap::from([("jobmanager.rpc.port".to_owned(), "9".to_owned())]),
        };
        let environment = |name: &str| match name {
            "TIDEMILL_JOBMANAGER_RPC_PORT" => Some("5".to_owned()),
            "TIDEMILL_HEARTBEAT_INTERVAL" => Some("6 s".to_owned()),
            _ => None,
        };
        let config = load_with(&flags, environment).unwrap();
        assert_eq!(config.port("jobmanager.rpc.port"), 9);
        assert_eq!(config.text("heartbeat.interval"), Some("6 s"));
        assert_eq!(config.text("slot.request.timeout"), Some("3 s"));
        assert_eq!(config.text("heartbeat.timeout"), Some("5 s"));
        std::fs::write(&path, "jobmanager.rpc.prt: 1\n").unwrap();
        let error = load_with(&flags, |_| None).unwrap_err().to_string();
        assert!(error.ends_with("unknown option 'jobmanager.rpc.prt'; did you mean 'jobmanager.rpc.port'?"), "{error}");
    }
}
