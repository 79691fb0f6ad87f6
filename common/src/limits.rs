//! Every bound of the system that is not a configuration option, with its unit in its name.

/// Rows a batch aims at. Operators may send smaller batches, never larger ones than twice this.
pub const BATCH_ROWS_TARGET: usize = 8192;
/// Rows of a batch that crosses an exchange, after which it is sent.
pub const EXCHANGE_BATCH_ROWS: usize = 4096;
/// Bytes of a batch that crosses an exchange, after which it is sent.
pub const EXCHANGE_BATCH_BYTES: usize = 256 * 1024;
/// Elements queued per channel of an exchange (the credit of its sender).
pub const CHANNEL_CAPACITY_ELEMENTS: usize = 8;
/// Elements that a sender whose barrier is to overtake may put into a full channel, so that it gets to the
/// barrier.
pub const CHANNEL_OVERDRAFT_ELEMENTS: usize = 8;
/// Largest shuffle frame a receiver accepts, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest single input record (a line, a Kafka message), in bytes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Characters of a malformed record that an error quotes.
pub const ERROR_RECORD_CHARS_MAX: usize = 200;
/// Largest SQL script accepted, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of an SQL expression or query.
pub const SQL_DEPTH_MAX: usize = 128;
/// Deepest nesting of a type.
pub const TYPE_DEPTH_MAX: usize = 24;
/// Most parts of one expression, after views, CASE and BETWEEN are written out.
pub const EXPR_PARTS_MAX: usize = 100_000;
/// Deepest nesting of an expression in a plan. More than [`SQL_DEPTH_MAX`], as merged projections nest.
pub const EXPR_DEPTH_MAX: usize = 512;
/// Longest chain of operators in SQL, such as `a + b + c` or `... UNION ALL ...`, which its syntax
/// tree nests.
pub const SQL_CHAIN_MAX: usize = 1_000;
/// Most operators in one plan.
pub const PLAN_OPERATORS_MAX: usize = 4096;
/// Largest parallelism and max-parallelism (the number of key groups), as in Flink.
pub const PARALLELISM_MAX: u32 = 32_768;
/// Milliseconds a task waits for its linger before it sends a partly filled exchange batch.
pub const EXCHANGE_LINGER_MS: u64 = 5;
/// Milliseconds between heartbeats of a task manager.
pub const HEARTBEAT_INTERVAL_MS: u64 = 1_000;
/// Milliseconds of silence after which a task manager counts as lost.
pub const HEARTBEAT_TIMEOUT_MS: u64 = 5_000;
/// Largest gRPC message, in bytes.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Windows one row may fall into (size / slide of a hopping window, size / step of a cumulating one).
pub const WINDOWS_PER_ROW_MAX: i64 = 100_000;

/// Least `taskmanager.memory.size`, in bytes.
pub const TASK_MANAGER_MEMORY_MIN: u64 = 128 << 20;
