//! Options as text: the parsing of durations and sizes in Flink's spelling, secrets, and the
//! registry of job options that `SET` accepts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::connector::{OptionKind, OptionSpec};
use crate::suggest::nearest;

/// What replaces a secret wherever options are shown.
pub const SECRET_MASK: &str = "******";

/// Whether the value of an option with this key must never be shown.
pub fn is_secret(key: &str) -> bool {
    const MARKS: [&str; 10] = [
        "password",
        "secret",
        "token",
        "api-key",
        "apikey",
        "access-key",
        "accesskey",
        "sasl.jaas",
        "credential",
        "private-key",
    ];
    let key = key.to_lowercase();
    MARKS.iter().any(|mark| key.contains(mark))
}

/// Reads a duration as Flink does: a number and a unit (`ms`, `s`, `min`, `h`, `d` and their long
/// forms, `us`, `ns`); a bare number is milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let value: u64 = number.parse().map_err(|_| format!("'{text}' is not a duration; write for instance '10 s'"))?;
    let nanos_per_unit: u64 = match unit.to_lowercase().as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60 * 1_000_000_000,
        "h" | "hour" | "hours" => 3_600 * 1_000_000_000,
        "d" | "day" | "days" => 86_400 * 1_000_000_000,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        other => return Err(format!("'{text}' has the unknown unit '{other}'; use ms, s, min, h or d")),
    };
    value
        .checked_mul(nanos_per_unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("'{text}' is too long a duration"))
}

/// Reads a memory size as Flink does, in bytes: `64 kb` is 65 536.
pub fn parse_memory_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let value: u64 = number.parse().map_err(|_| format!("'{text}' is not a size; write for instance '64 mb'"))?;
    let shift = match unit.to_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kibibytes" => 10,
        "m" | "mb" | "mebibytes" => 20,
        "g" | "gb" | "gibibytes" => 30,
        "t" | "tb" | "tebibytes" => 40,
        other => return Err(format!("'{text}' has the unknown unit '{other}'; use kb, mb, gb or tb")),
    };
    value.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large a size"))
}

/// Reads `true` or `false`, in any case.
pub fn parse_boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("'{text}' is not true or false")),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..digits], text[digits..].trim())
}

/// Checks that `value` can be read as `kind`.
pub fn check_value(kind: OptionKind, value: &str) -> Result<(), String> {
    match kind {
        OptionKind::Text => Ok(()),
        OptionKind::Boolean => parse_boolean(value).map(drop),
        OptionKind::Integer => {
            value.trim().parse::<i64>().map(drop).map_err(|_| format!("'{value}' is not a whole number"))
        }
        OptionKind::Number => value.trim().parse::<f64>().map(drop).map_err(|_| format!("'{value}' is not a number")),
        OptionKind::Duration => parse_duration(value).map(drop),
        OptionKind::MemorySize => parse_memory_size(value).map(drop),
        OptionKind::Enum(words) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(value.trim())) {
                Ok(())
            } else {
                Err(format!("'{value}' is not one of {}", words.join(", ")))
            }
        }
    }
}

const RUNTIME_MODE: &str = "execution.runtime-mode";

/// Whether a job with these options runs in batch mode.
pub fn is_batch(options: &BTreeMap<String, String>) -> bool {
    options.get(RUNTIME_MODE).is_some_and(|mode| mode.trim().eq_ignore_ascii_case("BATCH"))
}

/// The options of a job (`SET`, `--set`), with Flink's names and meanings.
pub const JOB_OPTIONS: &[OptionSpec] = &[
    job("pipeline.name", OptionKind::Text, None, "Name of the job."),
    job("parallelism.default", OptionKind::Integer, None, "Parallelism of the job; the cluster's default otherwise."),
    job("table.exec.resource.default-parallelism", OptionKind::Integer, None, "The same, and stronger."),
    job("pipeline.max-parallelism", OptionKind::Integer, None, "Number of key groups; Flink's rule otherwise."),
    job(
        "pipeline.auto-watermark-interval",
        OptionKind::Duration,
        Some("200 ms"),
        "Event-time step by which a source raises its watermark inside the stream of rows, and wall-clock step by which it emits it.",
    ),
    job("table.local-time-zone", OptionKind::Text, Some("UTC"), "Session time zone, by its IANA name."),
    job(
        "table.exec.source.idle-timeout",
        OptionKind::Duration,
        Some("0 ms"),
        "A source split that is silent for so long no longer holds the watermark; 0 is never.",
    ),
    job(
        "table.exec.emit.allow-lateness",
        OptionKind::Duration,
        Some("0 ms"),
        "How long after its end a window takes late rows and fires again; the output is then an upsert stream.",
    ),
    job(
        "table.optimizer.agg-phase-strategy",
        OptionKind::Enum(&["AUTO", "ONE_PHASE", "TWO_PHASE"]),
        Some("AUTO"),
        "Whether window aggregates are split in a local and a global phase.",
    ),
    job(
        "table.exec.sink.type-length-enforcer",
        OptionKind::Enum(&["IGNORE", "TRIM_PAD"]),
        Some("IGNORE"),
        "Accepted for scripts that set it: texts longer than the column they go to are cut in both cases, as Flink does.",
    ),
    job(
        "table.exec.sink.not-null-enforcer",
        OptionKind::Enum(&["ERROR", "DROP"]),
        Some("ERROR"),
        "What becomes of a row with a NULL for a NOT NULL column of its sink: the job fails, or the row is dropped.",
    ),
    job(
        "table.exec.legacy-cast-behaviour",
        OptionKind::Enum(&["DISABLED"]),
        Some("DISABLED"),
        "Casts fail where they cannot convert; the old behaviour, NULL, is that of TRY_CAST.",
    ),
    job(
        "restart-strategy.type",
        OptionKind::Enum(RESTART_STRATEGIES),
        None,
        "Whether and when a job that failed starts again. Without it exponential-delay if the job takes checkpoints, else none.",
    ),
    job("restart-strategy", OptionKind::Enum(RESTART_STRATEGIES), None, "The older name of restart-strategy.type."),
    job(
        FAILOVER_STRATEGY,
        OptionKind::Enum(FAILOVER_STRATEGIES),
        None,
        "What starts again when a subtask fails: the pipelined region that it is of, which is all that is connected to it by exchanges, or the full job. Without it as the job manager is configured.",
    ),
    job("restart-strategy.fixed-delay.attempts", OptionKind::Integer, Some("1"), "How often a job starts again."),
    job("restart-strategy.fixed-delay.delay", OptionKind::Duration, Some("1 s"), "Delay before each restart."),
    job(
        "restart-strategy.failure-rate.max-failures-per-interval",
        OptionKind::Integer,
        Some("1"),
        "Failures in an interval with which a job still starts again.",
    ),
    job(
        "restart-strategy.failure-rate.failure-rate-interval",
        OptionKind::Duration,
        Some("1 min"),
        "The interval in which failures are counted.",
    ),
    job("restart-strategy.failure-rate.delay", OptionKind::Duration, Some("1 s"), "Delay before each restart."),
    job(
        "restart-strategy.exponential-delay.initial-backoff",
        OptionKind::Duration,
        Some("1 s"),
        "Delay before the first restart.",
    ),
    job(
        "restart-strategy.exponential-delay.max-backoff",
        OptionKind::Duration,
        Some("1 min"),
        "The longest delay before a restart.",
    ),
    job(
        "restart-strategy.exponential-delay.backoff-multiplier",
        OptionKind::Number,
        Some("1.5"),
        "By what the delay grows with each failure.",
    ),
    job(
        "restart-strategy.exponential-delay.reset-backoff-threshold",
        OptionKind::Duration,
        Some("1 h"),
        "After so long without a failure the delay is the first one again.",
    ),
    job(
        "restart-strategy.exponential-delay.jitter-factor",
        OptionKind::Number,
        Some("0.1"),
        "Share of the delay that is added or taken off by chance.",
    ),
    job(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff",
        OptionKind::Integer,
        None,
        "How often a job starts again before the delay is reset; without it as often as it must.",
    ),
    job(
        "table.dml-sync",
        OptionKind::Boolean,
        Some("false"),
        "Whether the statements after an INSERT wait until its job has finished, and are left out if it did not. They always wait for a SELECT.",
    ),
    job(
        "execution.checkpointing.interval",
        OptionKind::Duration,
        None,
        "How often a checkpoint is taken. Without it, or with 0, a job takes none but the savepoints it is asked for.",
    ),
    job(
        "execution.checkpointing.mode",
        OptionKind::Enum(&["EXACTLY_ONCE", "AT_LEAST_ONCE"]),
        Some("EXACTLY_ONCE"),
        "EXACTLY_ONCE: what a checkpoint holds is what was before its barriers. AT_LEAST_ONCE: no channel waits for the barriers of others, so that rows may count twice after a failure. Savepoints are exact in both.",
    ),
    job(
        "execution.checkpointing.timeout",
        OptionKind::Duration,
        Some("10 min"),
        "A checkpoint that takes longer is given up.",
    ),
    job(
        "execution.checkpointing.min-pause",
        OptionKind::Duration,
        Some("0 ms"),
        "Least pause between the end of a checkpoint and the next one.",
    ),
    job(
        "execution.checkpointing.tolerable-failed-checkpoints",
        OptionKind::Integer,
        Some("0"),
        "So many checkpoints in a row may fail; one more fails the job, which starts again from the newest complete one if its restart strategy allows it.",
    ),
    job(
        "execution.checkpointing.num-retained",
        OptionKind::Integer,
        Some("1"),
        "How many complete checkpoints are kept.",
    ),
    job(
        "state.checkpoints.num-retained",
        OptionKind::Integer,
        Some("1"),
        "The older name of execution.checkpointing.num-retained.",
    ),
    job(
        "execution.checkpointing.externalized-checkpoint-retention",
        OptionKind::Enum(&["NO_EXTERNALIZED_CHECKPOINTS", "DELETE_ON_CANCELLATION", "RETAIN_ON_CANCELLATION"]),
        Some("NO_EXTERNALIZED_CHECKPOINTS"),
        "Whether checkpoints stay when the job has ended: never, if it failed, or if it failed or was cancelled.",
    ),
    job(
        "execution.checkpointing.dir",
        OptionKind::Text,
        None,
        "Directory checkpoints are kept in, as a URL: file://, s3://, gs:// or az://. All processes must reach it. The job manager's state.checkpoints.dir otherwise.",
    ),
    job("state.checkpoints.dir", OptionKind::Text, None, "The older name of execution.checkpointing.dir."),
    job(
        "execution.checkpointing.savepoint-dir",
        OptionKind::Text,
        None,
        "Directory for savepoints that are asked for without one. The job manager's state.savepoints.dir otherwise.",
    ),
    job("state.savepoints.dir", OptionKind::Text, None, "The older name of execution.checkpointing.savepoint-dir."),
    job(
        "execution.checkpointing.incremental",
        OptionKind::Boolean,
        Some("true"),
        "Whether a checkpoint holds only what has changed and names the files of those before.",
    ),
    job(
        "state.backend.incremental",
        OptionKind::Boolean,
        Some("true"),
        "The older name of execution.checkpointing.incremental.",
    ),
    job(
        "execution.checkpointing.unaligned.enabled",
        OptionKind::Boolean,
        Some("false"),
        "Whether barriers overtake rows, which become part of the checkpoint, so that checkpoints are complete in time under backpressure. Needs EXACTLY_ONCE. Not in savepoints, nor where rows go to one subtask of their own or to all.",
    ),
    job(
        "execution.checkpointing.unaligned",
        OptionKind::Boolean,
        Some("false"),
        "The older name of execution.checkpointing.unaligned.enabled.",
    ),
    job(
        "execution.checkpointing.aligned-checkpoint-timeout",
        OptionKind::Duration,
        Some("0 ms"),
        "With execution.checkpointing.unaligned.enabled: how long after its start a checkpoint goes on aligned before its barriers overtake rows.",
    ),
    job(
        "execution.checkpointing.alignment-timeout",
        OptionKind::Duration,
        Some("0 ms"),
        "The older name of execution.checkpointing.aligned-checkpoint-timeout.",
    ),
    job(
        "execution.checkpointing.local-backup.enabled",
        OptionKind::Boolean,
        None,
        "Whether task managers keep copies of the files of keyed state that they write into checkpoints, on local disk (execution.checkpointing.local-backup.dirs of the processes). As execution.state-recovery.from-local otherwise.",
    ),
    job(
        "execution.state-recovery.from-local",
        OptionKind::Boolean,
        Some("false"),
        "Whether a job that starts again goes where copies of its state are, and reads those instead of fetching files from the store. A copy that is missing or damaged is fetched.",
    ),
    job(
        "state.backend.local-recovery",
        OptionKind::Boolean,
        Some("false"),
        "The older name of execution.checkpointing.local-backup.enabled and execution.state-recovery.from-local, for both.",
    ),
    job(
        "execution.state-recovery.path",
        OptionKind::Text,
        None,
        "Directory of the savepoint or retained checkpoint that the job starts from, as a path or URL.",
    ),
    job("execution.savepoint.path", OptionKind::Text, None, "The older name of execution.state-recovery.path."),
    job(
        "execution.state-recovery.ignore-unclaimed-state",
        OptionKind::Boolean,
        Some("false"),
        "Whether state of operators that the job does not have any more is given up; an error otherwise.",
    ),
    job(
        "execution.savepoint.ignore-unclaimed-state",
        OptionKind::Boolean,
        Some("false"),
        "The older name of execution.state-recovery.ignore-unclaimed-state.",
    ),
    job(
        "execution.state-recovery.claim-mode",
        OptionKind::Enum(&["NO_CLAIM"]),
        Some("NO_CLAIM"),
        "Whose the files of that checkpoint are: they stay their owner's.",
    ),
    job(
        "state.backend.type",
        OptionKind::Enum(&["rocksdb", "hashmap"]),
        Some("rocksdb"),
        "Where keyed state lives: in memory over RocksDB on local disk, or in memory only.",
    ),
    job(
        "state.backend",
        OptionKind::Enum(&["rocksdb", "hashmap"]),
        Some("rocksdb"),
        "The older name of state.backend.type.",
    ),
    job(
        "table.dynamic-table-options.enabled",
        OptionKind::Boolean,
        Some("true"),
        "Whether hints /*+ OPTIONS('key' = 'value') */ behind the name of a table are taken.",
    ),
    job("table.sql-dialect", OptionKind::Enum(&["default"]), Some("default"), "Only Flink's own dialect."),
    job(
        RUNTIME_MODE,
        OptionKind::Enum(&["STREAMING", "BATCH"]),
        Some("STREAMING"),
        "STREAMING: results come as they are known. BATCH: the input must end, and final rows come when it has; ORDER BY, LIMIT and GROUP BY without windows can then be done, no row is late, and only the checkpoint behind the end of all input is taken.",
    ),
];

/// Key of the option that says what starts again when a subtask fails.
pub const FAILOVER_STRATEGY: &str = "jobmanager.execution.failover-strategy";

/// Values of [`FAILOVER_STRATEGY`].
pub const FAILOVER_STRATEGIES: &[&str] = &["region", "full"];

const RESTART_STRATEGIES: &[&str] = &[
    "none",
    "off",
    "disable",
    "fixed-delay",
    "fixeddelay",
    "failure-rate",
    "failurerate",
    "exponential-delay",
    "exponentialdelay",
];

const fn job(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

/// Options of Flink that a script may set although nothing here depends on them, and why that is.
/// A key that ends in `*` stands for all that begin so.
pub const OPTIONS_WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("execution.checkpointing.max-concurrent-checkpoints", "one checkpoint is taken at a time"),
    ("execution.checkpointing.unaligned.*", "how rows in flight are kept is tuned by the system"),
    ("execution.checkpointing.checkpoints-after-tasks-finish*", "checkpoints always go on when tasks have finished"),
    ("execution.checkpointing.storage", "checkpoints are always kept in files"),
    ("execution.checkpointing.*", "checkpoints are tuned by the system"),
    ("execution.state-recovery.*", "files of a savepoint stay their owner's"),
    ("execution.savepoint.*", "files of a savepoint stay their owner's"),
    ("state.checkpoint-storage", "checkpoints are always kept in files"),
    ("state.*", "state is tuned by the system"),
    (
        "table.exec.state.ttl",
        "rows are kept by key for windows only, and dropped when those end, so that nothing can outlive its use",
    ),
    ("table.exec.delta-join.*", "there are no delta joins"),
    ("table.exec.interval-join.*", "there are no interval joins yet"),
    ("table.exec.unbounded-over.*", "there are no OVER windows yet"),
    (
        "table.exec.local-hash-agg.*",
        "aggregation before an exchange is said by table.optimizer.agg-phase-strategy alone",
    ),
    ("table.exec.operator-fusion-codegen.*", "there is no generated code"),
    ("table.generated-code.*", "there is no generated code"),
    ("table.exec.resource.*", "operators share the memory of their task manager, and spill what has no room"),
    ("table.exec.sort.async-merge-enabled", "what is sorted is merged as it is"),
    ("table.exec.sort.max-num-file-handles", "what is sorted is merged as it is"),
    ("table.exec.disabled-operators", "the planner has rules of its own"),
    ("table.catalog-modification.listeners", "there is no Java virtual machine"),
    ("table.resources.*", "there is no Java virtual machine"),
    ("table.rtas-ctas.*", "tables are there as long as the script"),
    ("table.catalog-store.*", "there is one catalog"),
    ("table.secret-store.*", "secrets come from the environment, as ${env:NAME}"),
    ("table.exec.mini-batch.*", "rows always move in batches"),
    ("table.exec.window-agg.*", "windows take the memory they need"),
    ("table.exec.spill-*", "what has no room in memory is spilled as it is"),
    ("table.exec.async-*", "there are no asynchronous operators"),
    ("table.exec.rank.*", "there is no ranking yet"),
    ("table.exec.deduplicate.*", "there is no deduplication yet"),
    ("table.exec.source.cdc-events-duplicate", "sources read insertions only"),
    ("table.exec.sink.upsert-materialize", "the planner shuffles updates by the sink's primary key where they need it"),
    (
        "table.exec.sink.upsert-materialize-strategy.*",
        "the planner shuffles updates by the sink's primary key where they need it",
    ),
    ("table.exec.sink.require-on-conflict", "a later row of a primary key replaces an earlier one"),
    ("table.exec.sink.keyed-shuffle", "the planner shuffles updates by the sink's primary key where they need it"),
    ("table.exec.sink.rowtime-inserter", "the row time is written as a column, nothing else"),
    ("table.exec.simplify-operator-name-enabled", "names of operators have one form"),
    ("table.exec.uid.*", "operators are identified by what they do"),
    ("table.optimizer.*", "the planner has rules of its own, and always computes equal sub-plans once"),
    ("table.plan.*", "plans are always kept as they were compiled"),
    ("table.display.*", "results are printed at full width"),
    ("table.builtin-catalog-name", "there is one catalog"),
    ("table.builtin-database-name", "there is one database"),
    ("sql-client.*", "it is an option of the shell, 'tidemill sql'"),
    ("pipeline.object-reuse", "batches are always handed on without copying"),
    ("pipeline.operator-chaining*", "operators are always chained where they can be"),
    ("pipeline.generic-types", "rows have SQL types only"),
    ("pipeline.force-*", "rows have SQL types only"),
    ("pipeline.registered-*", "rows have SQL types only"),
    ("pipeline.jars", "there is no Java virtual machine"),
    ("pipeline.classpaths", "there is no Java virtual machine"),
    ("execution.buffer-timeout*", "a batch waits for others at most some milliseconds, and only while input is hot"),
    ("execution.batch.*", "batch jobs run as they are planned"),
    ("execution.batch-*", "operators of a batch job run side by side"),
    ("execution.sort*", "operators share the memory of their task manager"),
    ("execution.async-state.*", "there are no asynchronous operators"),
    ("execution.job-*", "there is no Java virtual machine"),
    ("execution.program-config.*", "there is no Java program"),
    ("execution.shutdown-on-application-finish", "there is no Java program"),
    ("execution.submit-failed-job-on-application-error", "there is no Java program"),
    ("execution.terminate-application-on-any-job-terminated-exceptionally", "there is no Java program"),
    ("pipeline.auto-generate-uids", "operators are identified by what they do"),
    ("pipeline.cached-files", "there is no Java virtual machine"),
    ("pipeline.closure-cleaner-level", "there is no Java virtual machine"),
    ("pipeline.serialization-config", "rows have SQL types only"),
    ("pipeline.global-job-parameters", "functions know their arguments only"),
    ("pipeline.sources.*", "sources read from the start on"),
    ("pipeline.vertex-*", "names of operators have one form"),
    ("execution.attached", "the client waits unless it is told to detach"),
    ("execution.shutdown-on-attached-exit", "an embedded cluster ends with its jobs"),
    ("execution.target", "the cluster is the one the script is submitted to"),
    ("taskmanager.*", OF_PROCESSES),
    ("jobmanager.*", OF_PROCESSES),
    ("rest.*", OF_PROCESSES),
    ("metrics.*", OF_PROCESSES),
    ("high-availability*", OF_PROCESSES),
    ("env.*", "there is no Java virtual machine"),
    ("classloader.*", "there is no Java virtual machine"),
    ("plugin.*", "there is no Java virtual machine"),
    ("user.artifacts.*", "there is no Java virtual machine"),
    ("jmx.*", "there is no Java virtual machine"),
    ("fs.output.*", "published files are never written again"),
    ("fs.overwrite-files", "published files are never written again"),
    ("shuffle-service-factory.class", "there is one shuffle"),
    ("source.reader.*", "sources are tuned by the system"),
    ("sink.committer.*", "what cannot be committed is tried again with the next checkpoint"),
    ("queryable-state.*", "state cannot be queried from outside"),
    ("external-resource*", "there are no resources but CPU and memory"),
    ("akka.*", OF_PROCESSES),
    ("blob.*", OF_PROCESSES),
    ("client.*", OF_PROCESSES),
    ("cluster.*", OF_PROCESSES),
    ("completed-application-store.*", OF_PROCESSES),
    ("events.*", OF_PROCESSES),
    ("heartbeat.*", OF_PROCESSES),
    ("historyserver.*", OF_PROCESSES),
    ("io.tmp.dirs", OF_PROCESSES),
    ("job-event.*", OF_PROCESSES),
    ("job-result-store.*", OF_PROCESSES),
    ("application-result-store.*", OF_PROCESSES),
    ("cleanup-strategy*", OF_PROCESSES),
    ("jobstore.*", OF_PROCESSES),
    ("kubernetes.*", OF_PROCESSES),
    ("minicluster.*", OF_PROCESSES),
    ("pekko.*", OF_PROCESSES),
    ("process.*", OF_PROCESSES),
    ("resourcemanager.*", OF_PROCESSES),
    ("s3.*", OF_PROCESSES),
    ("scheduler-mode", OF_PROCESSES),
    ("security.*", OF_PROCESSES),
    ("slot.*", OF_PROCESSES),
    ("slotmanager.*", OF_PROCESSES),
    ("slow-task-detector.*", OF_PROCESSES),
    ("sql-gateway.*", OF_PROCESSES),
    ("task.cancellation.*", OF_PROCESSES),
    ("traces.*", OF_PROCESSES),
    ("web.*", OF_PROCESSES),
    ("yarn.*", OF_PROCESSES),
    ("zookeeper.*", OF_PROCESSES),
];

const OF_PROCESSES: &str = "it is an option of the processes, not of a job";

/// Options of Flink that change what a job does, of which there is only the default here: key, default, why.
const OPTIONS_OF_ONE_VALUE: &[(&str, &str, &str)] = &[
    ("table.column-expansion-strategy", "", "* stands for all columns"),
    ("table.legacy-nested-row-nullability", "false", "rows in rows are NULL as they are declared"),
    ("table.exec.sort.default-limit", "-1", "write LIMIT"),
    ("table.exec.sink.nested-constraint-enforcer", "IGNORE", "only columns are checked, not the fields in them"),
    ("fs.default-scheme", "file:///", "write paths with their scheme, as in s3://bucket/path"),
    ("pipeline.jobvertex-parallelism-overrides", "", "set 'parallelism.default', or the 'scan.parallelism' of a table"),
    ("pipeline.watermark-alignment.allow-unaligned-source-splits", "false", "splits are aligned like their readers"),
];

/// Why an option of Flink has no effect here; `None` for all other keys.
pub fn without_effect(key: &str) -> Option<&'static str> {
    if JOB_OPTIONS.iter().any(|option| option.key == key) {
        return None;
    }
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == pattern,
    };
    let (pattern, reason) = OPTIONS_WITHOUT_EFFECT.iter().find(|(pattern, _)| matches(pattern))?;
    // What is nearly an option is a slip, not one of the many that begin alike.
    let is_slip = |known: &OptionSpec| strsim::damerau_levenshtein(known.key, key) <= SLIP_MAX;
    if pattern.ends_with('*') && JOB_OPTIONS.iter().any(is_slip) { None } else { Some(reason) }
}

/// Characters by which a key may differ from an option to be a slip of it.
const SLIP_MAX: usize = 2;

/// Values that an option's kind allows and that cannot be done: what is wrong and what to do.
fn check_supported(key: &str, value: &str) -> Result<(), String> {
    let value = value.trim();
    match key {
        "execution.checkpointing.timeout" if parse_duration(value) == Ok(Duration::ZERO) => {
            Err("a time-out cannot be 0".to_owned())
        }
        "execution.checkpointing.tolerable-failed-checkpoints" => at_least(value, 0),
        "execution.checkpointing.num-retained" | "state.checkpoints.num-retained" => at_least(value, 1),
        _ => Ok(()),
    }
}

fn at_least(value: &str, least: i64) -> Result<(), String> {
    match value.parse::<i64>() {
        Ok(number) if number < least => Err(format!("'{value}' is less than {least}")),
        _ => Ok(()),
    }
}

/// Checks a job option before it is set. Options [without effect](without_effect) pass, whatever
/// their value.
pub fn check_job_option(key: &str, value: &str) -> Result<(), String> {
    if key == RUNTIME_MODE && value.trim().eq_ignore_ascii_case("AUTOMATIC") {
        return Err(format!(
            "option '{key}': '{value}' is not supported: what a statement means would depend on its tables; write STREAMING or BATCH"
        ));
    }
    if let Some((_, default, reason)) = OPTIONS_OF_ONE_VALUE.iter().find(|(known, ..)| *known == key) {
        return match value.trim().eq_ignore_ascii_case(default) {
            true => Ok(()),
            false => Err(format!("option '{key}': '{value}' is not supported, only '{default}': {reason}")),
        };
    }
    match JOB_OPTIONS.iter().find(|option| option.key == key) {
        Some(option) => check_value(option.kind, value)
            .and_then(|()| check_supported(key, value))
            .map_err(|error| format!("option '{key}': {error}")),
        None if without_effect(key).is_some() => Ok(()),
        None => Err(match nearest(key, known_keys()) {
            Some(near) => format!("unknown option '{key}'; did you mean '{near}'?"),
            None => format!("unknown option '{key}'; docs/config.md lists all options"),
        }),
    }
}

/// Keys that a script may set, but for those that are known only by how they begin.
fn known_keys() -> impl Iterator<Item = &'static str> {
    let without_effect = OPTIONS_WITHOUT_EFFECT.iter().map(|(key, _)| *key).filter(|key| !key.ends_with('*'));
    let of_one_value = OPTIONS_OF_ONE_VALUE.iter().map(|(key, ..)| *key);
    JOB_OPTIONS.iter().map(|option| option.key).chain(without_effect).chain(of_one_value)
}

/// A typed look at the options of a job or table. Values were checked before, so a value that
/// cannot be read any more counts as absent.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(pub &'a BTreeMap<String, String>);

impl Options<'_> {
    /// The text of an option.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A duration.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.text(key).and_then(|text| parse_duration(text).ok())
    }

    /// A size in bytes.
    pub fn memory_size(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(|text| parse_memory_size(text).ok())
    }

    /// A whole number.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.text(key).and_then(|text| text.trim().parse().ok())
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.text(key).and_then(|text| parse_boolean(text).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_flink_reads_them() {
        assert_eq!(parse_duration("10 s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("200"), Ok(Duration::from_millis(200)));
        assert!(parse_duration("ten seconds").is_err());
        assert!(parse_duration("99999999999999 d").is_err());
        assert_eq!(parse_memory_size("64 kb"), Ok(65_536));
        assert!(parse_memory_size("1 parsec").is_err());
    }

    #[test]
    fn an_unknown_job_option_names_the_nearest() {
        let error = check_job_option("pipeline.nme", "x").unwrap_err();
        assert_eq!(error, "unknown option 'pipeline.nme'; did you mean 'pipeline.name'?");
    }

    #[test]
    fn options_of_flink_without_effect_pass_with_a_reason() {
        assert_eq!(check_job_option("state.backend.changelog.enabled", "x"), Ok(()));
        assert!(without_effect("execution.checkpointing.max-concurrent-checkpoints").is_some());
        assert_eq!(without_effect("execution.checkpointing.interval"), None);
        assert!(without_effect("table.optimizer.reuse-sub-plan-enabled").is_some());
        assert_eq!(without_effect("table.optimizer.agg-phase-strategy"), None);
        assert_eq!(without_effect("pipeline.nme"), None);
        assert!(without_effect("table.exec.sort.max-num-file-handles").is_some());
        assert!(without_effect("kubernetes.cluster-id").is_some());
        assert_eq!(without_effect("fs.default-scheme"), None);
        assert_eq!(check_job_option("table.exec.sort.default-limit", "-1"), Ok(()));
        let limit = check_job_option("table.exec.sort.default-limit", "10").unwrap_err();
        assert!(limit.contains("write LIMIT"), "{limit}");
        assert_eq!(check_job_option("table.exec.state.ttl", "1 d"), Ok(()));
        assert!(without_effect("table.exec.state.ttl").is_some_and(|reason| reason.contains("windows")));
    }

    #[test]
    fn checkpoints_that_cannot_be_taken_are_refused() {
        for (key, value, word) in [
            ("execution.checkpointing.mode", "TWICE", "EXACTLY_ONCE"),
            ("execution.checkpointing.aligned-checkpoint-timeout", "soon", "duration"),
            ("execution.checkpointing.interval", "often", "duration"),
            ("execution.checkpointing.num-retained", "0", "less than 1"),
            ("state.backend.type", "forst", "rocksdb"),
        ] {
            let error = check_job_option(key, value).unwrap_err();
            assert!(error.contains(key) && error.contains(word), "{error}");
        }
        assert_eq!(check_job_option("execution.checkpointing.mode", "exactly_once"), Ok(()));
    }

    #[test]
    fn options_named_like_secrets_are_secret() {
        assert!(is_secret("properties.sasl.password"));
        assert!(is_secret("s3.secret-key"));
        assert!(!is_secret("path"));
    }
}
