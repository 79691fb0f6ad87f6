//! `jdbc`: tables of SQLite and PostgreSQL databases as sinks, with the options of Flink's JDBC connector.
//!
//! Rows are buffered, of each primary key only the last, and written in one transaction a buffer by
//! a task of the I/O runtime that owns the connection. Nothing of this needs Java: the URL's form is
//! kept so that scripts need no edit.

mod commits;
mod postgres;
mod rows;
mod settings;
mod sqlite;
mod store;
mod value;
mod writer;

use std::time::Duration;

use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, TableSpec};

use self::settings::Settings;
use self::store::Store;
use self::writer::JdbcWriter;
use crate::api::{Connector, ConnectorContext, ConnectorError, SinkWriter, SubtaskContext};

pub(crate) const IDENTIFIER: &str = "jdbc";

/// The connector `jdbc`.
pub struct Jdbc;

const fn option(
    key: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    description: &'static str,
) -> OptionSpec {
    OptionSpec { key, kind, required: false, default, description }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "url",
        kind: OptionKind::Text,
        required: true,
        default: None,
        description: "`jdbc:postgresql://host:port/database` or `jdbc:sqlite:path`. A relative path starts at the \
                      directory in which the task manager runs.",
    },
    OptionSpec {
        key: "table-name",
        kind: OptionKind::Text,
        required: true,
        default: None,
        description: "The table in the database, as `table` or `schema.table`.",
    },
    option("username", OptionKind::Text, None, "User of the database; goes with 'password'."),
    option("password", OptionKind::Text, None, "Password of that user."),
    option("driver", OptionKind::Text, None, "Accepted for scripts written for Flink; without effect."),
    option(
        "connection.max-retry-timeout",
        OptionKind::Duration,
        Some("60 s"),
        "How long to wait for the database: to connect, and for one transaction.",
    ),
    option(
        "sink.buffer-flush.max-rows",
        OptionKind::Integer,
        Some("100"),
        "Rows after which the buffer is written; 0 leaves it to the interval (and to 100000 rows).",
    ),
    option(
        "sink.buffer-flush.interval",
        OptionKind::Duration,
        Some("1 s"),
        "Time after which buffered rows are written; 0 leaves it to the number of rows. At checkpoints and at the end \
         everything is written in any case.",
    ),
    option(
        "sink.max-retries",
        OptionKind::Integer,
        Some("3"),
        "How often a transaction is tried again after a failure that may pass: a lost connection, a lock, a deadlock, \
         a restarting server. Without a primary key and without checkpoints a connection that is lost while committing \
         may write rows twice.",
    ),
    option(
        "sink.create-table",
        OptionKind::Boolean,
        Some("false"),
        "Tidemill's own, SQLite only: creates the database file, its directory and the table where they are missing.",
    ),
    option(
        "sink.commit-table",
        OptionKind::Text,
        Some("tidemill_commits"),
        "Tidemill's own: the table, as `table` or `schema.table`, in which a job with checkpoints notes which of them \
         are published and which attempt of the job may write. It is created where it is missing, and serves all jobs \
         and tables of a database. Do not change its rows while jobs run.",
    ),
];

impl Connector for Jdbc {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Writes to tables of SQLite and PostgreSQL. With a `PRIMARY KEY` rows are upserted (`INSERT .. \
                          ON CONFLICT .. DO UPDATE`) and deleted by key, so that writing again after a failure does no \
                          harm; the table in the database needs the same primary key or a unique index over it. \
                          Without one rows are appended, and only insert-only results can be written. **Guarantee:** \
                          in a job with checkpoints every result is in the table exactly once. With a primary key rows \
                          are written as they come and flushed before a checkpoint counts; without one the rows of a \
                          checkpoint are inserted once it is complete, in one transaction with its marker in \
                          'sink.commit-table'. There each new attempt of a job locks out the ones before it. Without \
                          checkpoints rows are written as they come, and a job that is started again writes again. \
                          SQLite keeps timestamps, dates and times as text in ISO order. Reading tables is not \
                          supported yet.",
            options: OPTIONS.to_vec(),
            prefixes: &[],
            source: false,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        Err(TableError::option(
            "connector",
            format!("table '{}' cannot be read: the connector 'jdbc' only writes for now", table.name),
        ))
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        Settings::new(table).map(drop)
    }

    fn is_bounded(&self, _table: &TableSpec) -> bool {
        true
    }

    fn sink_changelog(&self, table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        match input {
            ChangelogMode::InsertOnly => Ok(ChangelogMode::InsertOnly),
            ChangelogMode::Upsert | ChangelogMode::Retract if !table.primary_key.is_empty() => {
                Ok(ChangelogMode::Upsert)
            }
            ChangelogMode::Upsert | ChangelogMode::Retract => Err(TableError::table(format!(
                "table '{}' receives updates and deletions but has no primary key; declare PRIMARY KEY (..) NOT \
                 ENFORCED over the columns that identify a row",
                table.name
            ))),
        }
    }

    fn probe_sink(&self, table: &TableSpec, context: &ConnectorContext) -> Result<(), ConnectorError> {
        let settings = settings_of(table)?;
        wait(context, &settings, "connecting to the database", Store::open(&settings))?.map(drop)
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let settings = settings_of(&sink.table)?;
        let store = wait(&context.connector, &settings, "connecting to the database", Store::open(&settings))??;
        Ok(Box::new(JdbcWriter::new(settings, store, context)))
    }
}

/// The table was checked when the job was planned.
fn settings_of(table: &TableSpec) -> Result<Settings, ConnectorError> {
    Settings::new(table).map_err(|error| ConnectorError::Internal { connector: IDENTIFIER, reason: error.message })
}

/// How often a wait looks whether the job was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `future` on the I/O runtime while this thread waits, at most as long as the settings say.
fn wait<T: Send + 'static>(
    context: &ConnectorContext,
    settings: &Settings,
    what: &str,
    future: impl Future<Output = T> + Send,
) -> Result<T, ConnectorError> {
    let timed_out = || ConnectorError::Timeout {
        table: settings.table.clone(),
        what: format!("{} ({what})", settings.target.display()),
        seconds: settings.timeout.as_secs(),
    };
    context.io.block_on(async {
        tokio::select! {
            biased;
            result = tokio::time::timeout(settings.timeout, future) => result.map_err(|_| timed_out()),
            () = cancelled(context) => Err(ConnectorError::Cancelled),
        }
    })
}

/// Returns when the job is cancelled.
async fn cancelled(context: &ConnectorContext) {
    while !context.is_cancelled() {
        tokio::time::sleep(CANCEL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;
