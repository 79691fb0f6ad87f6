//! The table's options and columns, read and checked.

use std::path::PathBuf;
use std::time::Duration;

use tidemill_common::config::Options;
use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;
use tidemill_common::types::Schema;

use super::value::Kind;

const POSTGRES_PORT: u16 = 5432;
const MAX_ROWS_DEFAULT: i64 = 100;
/// Most rows that are buffered, whatever the options say.
pub(super) const BUFFER_ROWS_MAX: usize = 100_000;
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const COMMIT_TABLE_DEFAULT: &str = "tidemill_commits";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    Sqlite { path: PathBuf },
    Postgres { host: String, port: u16, database: String, username: Option<String>, password: Option<String> },
}

impl Target {
    /// The database for messages, without secrets.
    pub fn display(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("SQLite database '{}'", path.display()),
            Self::Postgres { host, port, database, .. } => {
                format!("PostgreSQL database '{database}' at {host}:{port}")
            }
        }
    }
}

/// What a writer needs to know of its table.
#[derive(Clone)]
pub(super) struct Settings {
    /// Name of the table in the script, for messages.
    pub table: String,
    pub target: Target,
    /// Schema, if given, and table.
    pub table_name: (Option<String>, String),
    pub schema: Schema,
    /// How the values of each column are bound.
    pub kinds: Vec<Kind>,
    pub key: Vec<usize>,
    pub max_rows: usize,
    pub interval: Option<Duration>,
    pub max_retries: u32,
    pub timeout: Duration,
    pub create_table: bool,
    /// Schema, if given, and table of the markers of published checkpoints.
    pub commit_table: (Option<String>, String),
}

impl Settings {
    pub fn new(table: &TableSpec) -> Result<Self, TableError> {
        let options = Options(&table.options);
        let url = options.text("url").ok_or_else(|| TableError::option("url", "the option 'url' is missing"))?;
        let (username, password) = (options.text("username"), options.text("password"));
        if password.is_some() && username.is_none() {
            return Err(TableError::option("password", "'password' needs 'username' beside it"));
        }
        let target = target(url, username, password)?;
        let create_table = options.boolean("sink.create-table") == Some(true);
        if create_table && !matches!(target, Target::Sqlite { .. }) {
            return Err(TableError::option(
                "sink.create-table",
                "'sink.create-table' is for SQLite only; create the table in the database",
            ));
        }
        let table_name = qualified_name("table-name", options.text("table-name").unwrap_or_default())?;
        let commit_table =
            qualified_name("sink.commit-table", options.text("sink.commit-table").unwrap_or(COMMIT_TABLE_DEFAULT))?;
        if commit_table == table_name {
            return Err(TableError::option(
                "sink.commit-table",
                "'sink.commit-table' names the table that is written to; it needs one of its own",
            ));
        }
        let kinds = table
            .schema
            .fields
            .iter()
            .map(|field| {
                Kind::of(&field.data_type.logical).ok_or_else(|| {
                    TableError::table(format!(
                        "column '{}' has the type {}, which the connector 'jdbc' cannot write; CAST it to STRING",
                        field.name, field.data_type.logical
                    ))
                })
            })
            .collect::<Result<_, _>>()?;
        let max_rows = options.integer("sink.buffer-flush.max-rows").unwrap_or(MAX_ROWS_DEFAULT);
        let max_retries = options.integer("sink.max-retries").unwrap_or(3);
        for (key, value) in [("sink.buffer-flush.max-rows", max_rows), ("sink.max-retries", max_retries)] {
            if value < 0 {
                return Err(TableError::option(key, format!("option '{key}' must not be negative")));
            }
        }
        let max_rows = usize::try_from(max_rows).unwrap_or(BUFFER_ROWS_MAX);
        let interval = options.duration("sink.buffer-flush.interval").unwrap_or(INTERVAL_DEFAULT);
        let timeout = options.duration("connection.max-retry-timeout").unwrap_or(TIMEOUT_DEFAULT);
        Ok(Self {
            table: table.name.clone(),
            target,
            table_name,
            schema: table.schema.clone(),
            kinds,
            key: table.primary_key.clone(),
            max_rows: if max_rows == 0 { BUFFER_ROWS_MAX } else { max_rows.min(BUFFER_ROWS_MAX) },
            interval: Some(interval).filter(|interval| !interval.is_zero()),
            max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
            timeout: timeout.max(Duration::from_secs(1)),
            create_table,
            commit_table,
        })
    }
}

/// `table` or `schema.table`.
fn qualified_name(key: &str, name: &str) -> Result<(Option<String>, String), TableError> {
    match name.trim().split('.').map(|part| part.trim_matches('"')).collect::<Vec<_>>().as_slice() {
        [table] if !table.is_empty() => Ok((None, (*table).to_owned())),
        [schema, table] if !schema.is_empty() && !table.is_empty() => {
            Ok((Some((*schema).to_owned()), (*table).to_owned()))
        }
        _ => Err(TableError::option(key, format!("option '{key}': '{name}' is neither 'table' nor 'schema.table'"))),
    }
}

fn target(url: &str, username: Option<&str>, password: Option<&str>) -> Result<Target, TableError> {
    let wrong = |reason: String| TableError::option("url", format!("option 'url': {reason}"));
    let lower = url.to_lowercase();
    if let Some(path) = url.get("jdbc:sqlite:".len()..).filter(|_| lower.starts_with("jdbc:sqlite:")) {
        let path = path.strip_prefix("file:").unwrap_or(path);
        if path.is_empty() || path == ":memory:" || path.contains('?') {
            return Err(wrong(format!("'{path}' is not the path of an SQLite file")));
        }
        if username.is_some() {
            return Err(TableError::option("username", "SQLite has no users; leave 'username' and 'password' out"));
        }
        return Ok(Target::Sqlite { path: PathBuf::from(path) });
    }
    let Some(rest) = url.get("jdbc:postgresql://".len()..).filter(|_| lower.starts_with("jdbc:postgresql://")) else {
        // Not the URL itself: it may hold a password.
        return Err(wrong(
            "only 'jdbc:postgresql://host:port/database' and 'jdbc:sqlite:path' are supported".to_owned(),
        ));
    };
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (server, database) = address.split_once('/').unwrap_or((address, ""));
    if server.contains('@') {
        return Err(wrong("user and password belong in the options 'username' and 'password'".to_owned()));
    }
    if server.contains(',') {
        return Err(wrong("several hosts are not supported; name one".to_owned()));
    }
    let (host, port) = match server.rsplit_once(':').filter(|_| !server.ends_with(']')) {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong(format!("'{port}' is not a port")))?),
        None => (server, POSTGRES_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || database.is_empty() || database.contains('/') {
        return Err(wrong("write 'jdbc:postgresql://host:port/database'".to_owned()));
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (key, value) {
            ("sslmode", "disable" | "allow" | "prefer") => {}
            ("sslmode", other) => {
                return Err(wrong(format!("'sslmode={other}' is not supported: connections are not encrypted yet")));
            }
            ("reWriteBatchedInserts" | "stringtype" | "ApplicationName", _) => {}
            (key, _) => return Err(wrong(format!("the parameter '{key}' is not supported"))),
        }
    }
    Ok(Target::Postgres {
        host: host.to_owned(),
        port,
        database: database.to_owned(),
        username: username.map(str::to_owned),
        password: password.map(str::to_owned),
    })
}
