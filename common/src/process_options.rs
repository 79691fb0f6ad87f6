//! The options of the processes: a registry with Flink's keys, and their layers.
//!
//! Every key is also a flag (`jobmanager.rpc.port` is `--jobmanager-rpc-port`) and an environment
//! variable (`TIDEMILL_JOBMANAGER_RPC_PORT`). A flag is stronger than the environment, that is
//! stronger than the file, and that is stronger than the default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{FAILOVER_STRATEGIES, FAILOVER_STRATEGY, Options, SECRET_MASK, check_value, is_secret};
use crate::connector::OptionKind;
use crate::suggest::nearest;

/// One option of a process.
#[derive(Clone, Copy, Debug)]
pub struct ConfigOption {
    pub key: &'static str,
    pub kind: OptionKind,
    pub default: Option<&'static str>,
    pub description: &'static str,
}

const fn option(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> ConfigOption {
    ConfigOption { key, kind, default, description }
}

/// All options of the processes, sorted by key.
pub const PROCESS_OPTIONS: &[ConfigOption] = &[
    option(
        "client.timeout",
        OptionKind::Duration,
        Some("60 s"),
        "How long a client waits for the job manager to answer a request.",
    ),
    option(
        "collect.attach.timeout",
        OptionKind::Duration,
        Some("60 s"),
        "A top-level SELECT whose rows nobody fetches for so long fails.",
    ),
    option(
        "connector.probe.timeout",
        OptionKind::Duration,
        Some("30 s"),
        "How long a submission waits for the outside systems that its tables name.",
    ),
    option(
        "execution.checkpointing.local-backup.dirs",
        OptionKind::Text,
        None,
        "Directory on local disk in which a task manager keeps copies of the files of state that it writes into checkpoints, for jobs that want them (execution.checkpointing.local-backup.enabled). A task manager that is started with the same directory on the same host finds them. io.tmp.dirs otherwise; on the same file system as that, copies are links.",
    ),
    option(
        "heartbeat.interval",
        OptionKind::Duration,
        Some("1 s"),
        "How often a task manager sends a heartbeat with its metrics.",
    ),
    option(
        "heartbeat.timeout",
        OptionKind::Duration,
        Some("5 s"),
        "Silence after which a task manager or job manager counts as lost. A reset connection counts at once.",
    ),
    option(
        "io.tmp.dirs",
        OptionKind::Text,
        None,
        "Directory on local disk in which state is kept that has no room in memory, and files are made before they are written to a checkpoint. The system's directory for temporary files otherwise.",
    ),
    option("jobmanager.bind-host", OptionKind::Text, Some("127.0.0.1"), "Address the job manager listens on."),
    option(
        "jobmanager.data.dir",
        OptionKind::Text,
        None,
        "Directory in which the job manager keeps its jobs, so that it takes them up again when it was killed or stopped. Without it they end with it.",
    ),
    option(
        FAILOVER_STRATEGY,
        OptionKind::Enum(FAILOVER_STRATEGIES),
        Some("region"),
        "What starts again when a subtask fails, of jobs that do not say: the pipelined region that it is of, which is all that is connected to it by exchanges, or the full job.",
    ),
    option(
        "jobmanager.rpc.address",
        OptionKind::Text,
        Some("127.0.0.1"),
        "Host at which task managers and clients reach the job manager.",
    ),
    option(
        "jobmanager.rpc.port",
        OptionKind::Integer,
        Some("6123"),
        "Port of the job manager's gRPC services; with 0 the system chooses one, and the log says which.",
    ),
    option(
        "jobstore.max-capacity",
        OptionKind::Integer,
        Some("100"),
        "How many ended jobs the job manager remembers; the oldest are forgotten first.",
    ),
    option(
        "log.format",
        OptionKind::Enum(&["text", "json"]),
        Some("text"),
        "Form of the log on standard error: for people, or one JSON object a line.",
    ),
    option(
        "log.level",
        OptionKind::Text,
        None,
        "What is logged: error, warn, info, debug or trace, also per module as in 'info,tidemill_jobmanager=debug'. Servers log from info on, clients from warn on.",
    ),
    option("parallelism.default", OptionKind::Integer, Some("1"), "Parallelism of jobs that set none."),
    option(
        "rest.address",
        OptionKind::Text,
        None,
        "Host names, separated by commas, by which browsers and programs reach the HTTP servers of the processes, besides IP addresses and localhost. Requests to other names are refused.",
    ),
    option(
        "rest.bind-address",
        OptionKind::Text,
        Some("127.0.0.1"),
        "Address on which the HTTP server of each process listens: metrics and health, and on a job manager the API and the page.",
    ),
    option(
        "rest.port",
        OptionKind::Integer,
        Some("8081"),
        "Port of the job manager's HTTP server; with 0 the system chooses one, and the log says which. 'tidemill run', 'demo' and 'sql' serve HTTP only if it is set.",
    ),
    option(
        "s3.access-key",
        OptionKind::Text,
        None,
        "Access key of the S3 store checkpoints are kept in; the standard environment variables and instance roles otherwise.",
    ),
    option("s3.endpoint", OptionKind::Text, None, "URL of an S3-compatible store, such as http://127.0.0.1:9000."),
    option(
        "s3.path-style-access",
        OptionKind::Boolean,
        Some("false"),
        "Whether buckets are named in the path of a URL and not in its host, as MinIO and its like want it.",
    ),
    option("s3.region", OptionKind::Text, None, "Region of the S3 store."),
    option("s3.secret-key", OptionKind::Text, None, "Secret key that belongs to s3.access-key."),
    option(
        "security.unprotected-ports",
        OptionKind::Boolean,
        Some("false"),
        "Whether addresses other than loopback may be listened on, although neither TLS nor access tokens protect the ports. Only where the network lets nobody else reach them: a network of containers, or NetworkPolicies.",
    ),
    option(
        "slot.request.timeout",
        OptionKind::Duration,
        Some("30 s"),
        "How long a job waits for enough free slots before it fails.",
    ),
    option(
        "state.checkpoints.dir",
        OptionKind::Text,
        None,
        "Directory for the checkpoints of jobs that name none, as a URL: file://, s3://, gs:// or az://. All processes must reach it. Without it a directory on this machine: below jobmanager.data.dir, else below the system's directory for temporary files.",
    ),
    option(
        "state.savepoints.dir",
        OptionKind::Text,
        None,
        "Directory for savepoints that are asked for without one, by jobs that name none.",
    ),
    option(
        "task.cancellation.timeout",
        OptionKind::Duration,
        Some("30 s"),
        "How long the job manager waits for the subtasks of a cancelled or failed job to confirm their end.",
    ),
    option(
        "task.deployment.timeout",
        OptionKind::Duration,
        Some("60 s"),
        "How long the subtasks of a job may take to start.",
    ),
    option(
        "taskmanager.bind-host",
        OptionKind::Text,
        Some("127.0.0.1"),
        "Address on which the task manager listens for other task managers.",
    ),
    option(
        "taskmanager.data.port",
        OptionKind::Integer,
        Some("0"),
        "Port for the shuffle between task managers; with 0 the system chooses one.",
    ),
    option(
        "taskmanager.host",
        OptionKind::Text,
        Some("127.0.0.1"),
        "Host at which other task managers reach this one.",
    ),
    option(
        "taskmanager.memory.size",
        OptionKind::MemorySize,
        None,
        "Memory that a task manager is to use, such as '1 gb', at least 128 mb; in tests with 256 mb it has taken up to 20 mb more. Three tenths of it, after 112 mb for the process itself, are for tables of keyed state, and what has no room there goes to disk ('state.backend.type' = 'rocksdb'). Three fifths of the machine's memory otherwise, shared by the task managers of 'tidemill cluster'.",
    ),
    option(
        "taskmanager.network.compression",
        OptionKind::Enum(&["none", "lz4"]),
        Some("none"),
        "Compression of the shuffle between task managers.",
    ),
    option(
        "taskmanager.numberOfTaskSlots",
        OptionKind::Integer,
        Some("1"),
        "How many slots a task manager offers. A slot runs one subtask of each task of a job, so that a job needs as many slots as its parallelism.",
    ),
    option(
        "taskmanager.registration.timeout",
        OptionKind::Duration,
        Some("5 min"),
        "How long a task manager tries to reach a job manager before it ends with an error.",
    ),
    option(
        "taskmanager.rest.port",
        OptionKind::Integer,
        Some("0"),
        "Port of a task manager's HTTP server, which has its metrics and health; with 0 the system chooses one, and 'tidemill info' says which.",
    ),
    option(
        "taskmanager.state.local.root-dirs",
        OptionKind::Text,
        None,
        "The older name of execution.checkpointing.local-backup.dirs.",
    ),
];

impl ConfigOption {
    /// The flag without its dashes: `taskmanager-number-of-task-slots`.
    pub fn flag(&self) -> String {
        words(self.key, '-').to_lowercase()
    }

    /// The environment variable: `TIDEMILL_TASKMANAGER_NUMBER_OF_TASK_SLOTS`.
    pub fn variable(&self) -> String {
        format!("TIDEMILL_{}", words(self.key, '_').to_uppercase())
    }
}

/// The words of a key, which are set apart by dots, dashes and capital letters.
fn words(key: &str, separator: char) -> String {
    let mut text = String::with_capacity(key.len() + 8);
    let mut previous_lower = false;
    for c in key.chars() {
        match c {
            '.' | '-' => text.push(separator),
            c => {
                if c.is_ascii_uppercase() && previous_lower {
                    text.push(separator);
                }
                text.push(c);
            }
        }
        previous_lower = c.is_ascii_lowercase();
    }
    text
}

/// The option with this key.
pub fn process_option(key: &str) -> Option<&'static ConfigOption> {
    PROCESS_OPTIONS.iter().find(|option| option.key == key)
}

/// Why a process cannot start with its options.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("{origin}: unknown option '{key}'{}", match .nearest { Some(near) => format!("; did you mean '{near}'?"), None => "; docs/config.md lists all options".to_owned() })]
    Unknown { origin: String, key: String, nearest: Option<&'static str> },
    #[error("{origin}: option '{key}': {reason}")]
    Invalid { origin: String, key: String, reason: String },
    #[error(
        "option '{key}': {address} is not a loopback address. Without TLS and access tokens anybody who reaches the port could run jobs, so that only loopback addresses such as 127.0.0.1 can be bound; where the network itself lets nobody else reach the port, say so with security.unprotected-ports"
    )]
    NotLoopback { key: &'static str, address: String },
}

/// The options of one process, from all layers. Every value was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    values: BTreeMap<String, String>,
    /// Options that a layer sets, whatever their defaults.
    set: BTreeSet<String>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        let values = PROCESS_OPTIONS
            .iter()
            .filter_map(|option| option.default.map(|value| (option.key.to_owned(), value.to_owned())))
            .collect();
        Self { values, set: BTreeSet::new() }
    }
}

impl ProcessConfig {
    /// The options of stores that checkpoints are kept in, as far as they are set.
    pub fn store_options(&self) -> BTreeMap<String, String> {
        let stores = PROCESS_OPTIONS.iter().filter(|option| option.key.starts_with("s3."));
        stores.filter_map(|option| Some((option.key.to_owned(), self.text(option.key)?.to_owned()))).collect()
    }

    /// The defaults, covered by the layers: weakest first, each with what errors call it.
    pub fn from_layers<'a>(
        layers: impl IntoIterator<Item = (&'a str, BTreeMap<String, String>)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (origin, layer) in layers {
            for (key, value) in layer {
                config.set(origin, key, value)?;
            }
        }
        Ok(config)
    }

    /// Sets one option.
    pub fn set(&mut self, origin: &str, key: impl Into<String>, value: impl Into<String>) -> Result<(), ConfigError> {
        let (origin, key, value) = (origin.to_owned(), key.into(), value.into());
        let Some(option) = process_option(&key) else {
            let nearest = nearest(&key, PROCESS_OPTIONS.iter().map(|option| option.key));
            return Err(ConfigError::Unknown { origin, key, nearest });
        };
        check_value(option.kind, &value)
            .and_then(|()| check_range(&key, &value))
            .map_err(|reason| ConfigError::Invalid { origin, key: key.clone(), reason })?;
        self.set.insert(key.clone());
        self.values.insert(key, value);
        Ok(())
    }

    /// Whether a layer sets the option.
    pub fn is_set(&self, key: &str) -> bool {
        self.set.contains(key)
    }

    /// All options that have a value, with secrets masked, and whether a layer sets them.
    pub fn shown(&self) -> impl Iterator<Item = (&'static ConfigOption, &str, bool)> {
        PROCESS_OPTIONS.iter().filter_map(|option| {
            let value = self.text(option.key)?;
            let value = if is_secret(option.key) { SECRET_MASK } else { value };
            Some((option, value, self.is_set(option.key)))
        })
    }

    /// A text option.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A duration; every duration of the registry has a default.
    pub fn duration(&self, key: &str) -> Duration {
        Options(&self.values).duration(key).unwrap_or_default()
    }

    /// A whole number in the range of its option.
    pub fn integer(&self, key: &str) -> u64 {
        Options(&self.values).integer(key).and_then(|value| u64::try_from(value).ok()).unwrap_or_default()
    }

    /// A size in bytes.
    pub fn memory_size(&self, key: &str) -> Option<u64> {
        Options(&self.values).memory_size(key)
    }

    /// A port.
    pub fn port(&self, key: &str) -> u16 {
        u16::try_from(self.integer(key)).unwrap_or_default()
    }

    /// An address to listen on. Refuses all but loopback, as nothing protects the port, unless somebody has
    /// said that the network does.
    pub fn listen_address(&self, key: &'static str) -> Result<IpAddr, ConfigError> {
        let text = self.text(key).unwrap_or("127.0.0.1");
        let address = match text {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            text => text.parse().map_err(|_| ConfigError::Invalid {
                origin: "configuration".to_owned(),
                key: key.to_owned(),
                reason: format!("'{text}' is not an IP address"),
            })?,
        };
        let unprotected = self.text("security.unprotected-ports").is_some_and(|on| on.eq_ignore_ascii_case("true"));
        if !address.is_loopback() && !unprotected {
            return Err(ConfigError::NotLoopback { key, address: text.to_owned() });
        }
        Ok(address)
    }

    /// All values that are set, by key.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

/// Bounds that the kind of an option does not say.
fn check_range(key: &str, value: &str) -> Result<(), String> {
    let range = match key {
        "jobmanager.rpc.port" | "taskmanager.data.port" | "rest.port" | "taskmanager.rest.port" => 0..=65_535,
        "taskmanager.numberOfTaskSlots" | "parallelism.default" => 1..=i64::from(crate::limits::PARALLELISM_MAX),
        "jobstore.max-capacity" => 1..=100_000,
        "taskmanager.memory.size" => {
            let size = crate::config::parse_memory_size(value).unwrap_or_default();
            let least = crate::limits::TASK_MANAGER_MEMORY_MIN;
            return if size >= least { Ok(()) } else { Err(format!("'{value}' is less than {} mb", least >> 20)) };
        }
        _ => return positive_duration(key, value),
    };
    match value.trim().parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(()),
        _ => Err(format!("'{value}' is not between {} and {}", range.start(), range.end())),
    }
}

fn positive_duration(key: &str, value: &str) -> Result<(), String> {
    match process_option(key).map(|option| option.kind) {
        Some(OptionKind::Duration) if crate::config::parse_duration(value) == Ok(Duration::ZERO) => {
            Err("a time-out or interval cannot be 0".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn keys_have_a_flag_and_a_variable() {
        let slots = process_option("taskmanager.numberOfTaskSlots").unwrap();
        assert_eq!(slots.flag(), "taskmanager-number-of-task-slots");
        assert_eq!(slots.variable(), "TIDEMILL_TASKMANAGER_NUMBER_OF_TASK_SLOTS");
        let port = process_option("jobmanager.rpc.port").unwrap();
        assert_eq!(port.flag(), "jobmanager-rpc-port");
        assert_eq!(port.variable(), "TIDEMILL_JOBMANAGER_RPC_PORT");
    }

    #[test]
    fn the_registry_is_sorted_and_its_defaults_are_valid() {
        assert!(PROCESS_OPTIONS.is_sorted_by_key(|option| option.key));
        let mut config = ProcessConfig::default();
        for option in PROCESS_OPTIONS {
            if let Some(default) = option.default {
                assert_eq!(config.set("default", option.key, default), Ok(()), "{}", option.key);
            }
        }
    }

    #[test]
    fn later_layers_are_stronger() {
        let config = ProcessConfig::from_layers([
            ("file", layer("jobmanager.rpc.port", "7000")),
            ("environment", layer("jobmanager.rpc.port", "7001")),
        ])
        .unwrap();
        assert_eq!(config.port("jobmanager.rpc.port"), 7001);
        assert_eq!(config.duration("heartbeat.timeout"), Duration::from_secs(5));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_a_wrong_value_its_reason() {
        let unknown = ProcessConfig::from_layers([("conf.yaml", layer("jobmanager.rpc.prot", "1"))]).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "conf.yaml: unknown option 'jobmanager.rpc.prot'; did you mean 'jobmanager.rpc.port'?"
        );
        let invalid = ProcessConfig::from_layers([("conf.yaml", layer("jobmanager.rpc.port", "70000"))]).unwrap_err();
        assert_eq!(invalid.to_string(), "conf.yaml: option 'jobmanager.rpc.port': '70000' is not between 0 and 65535");
        assert!(ProcessConfig::from_layers([("flags", layer("heartbeat.timeout", "0 s"))]).is_err());
    }

    #[test]
    fn only_loopback_can_be_bound() {
        let config = ProcessConfig::from_layers([("flags", layer("jobmanager.bind-host", "0.0.0.0"))]).unwrap();
        assert!(matches!(config.listen_address("jobmanager.bind-host"), Err(ConfigError::NotLoopback { .. })));
        assert!(ProcessConfig::default().listen_address("jobmanager.bind-host").is_ok());
    }

    #[test]
    fn other_addresses_are_bound_where_the_network_protects_them() {
        let mut config = ProcessConfig::from_layers([("flags", layer("jobmanager.bind-host", "0.0.0.0"))]).unwrap();
        config.set("flags", "security.unprotected-ports", "true").unwrap();
        assert_eq!(config.listen_address("jobmanager.bind-host"), Ok(IpAddr::from([0, 0, 0, 0])));
        assert!(config.set("flags", "security.unprotected-ports", "perhaps").is_err());
    }
}
