//! A connection to either database, and what its errors mean.

use crate::api::ConnectorError;
use crate::staging::{Frames, StagedRows};

use super::commits::{Fence, Marker, StoreError};
use super::postgres::Postgres;
use super::rows;
use super::settings::{Settings, Target};
use super::sqlite::Sqlite;
use super::value::Change;

/// An open connection to a table that takes the columns of ours.
pub(super) enum Store {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Store {
    /// Connects and compares the columns.
    pub async fn open(settings: &Settings) -> Result<Self, ConnectorError> {
        match &settings.target {
            Target::Sqlite { path } => Sqlite::open(settings, path).await.map(Self::Sqlite),
            Target::Postgres { .. } => Postgres::open(settings).await.map(Self::Postgres),
        }
    }

    /// Writes changes, each of another key, in one transaction.
    pub async fn write(&mut self, changes: &[Change], fence: Option<&Fence>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.write(changes, fence).await,
            Self::Postgres(store) => store.write(changes, fence).await,
        }
    }

    /// Records an attempt: earlier ones can commit nothing from now on. Creates the commit table if need
    /// be.
    pub async fn register(&mut self, fence: &Fence) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.register(fence).await,
            Self::Postgres(store) => store.register(fence).await,
        }
    }

    /// Inserts the rows of an epoch and moves its marker, in one transaction. Does nothing if the marker
    /// says that it was done.
    pub async fn publish(
        &mut self,
        marker: &Marker,
        rows: &StagedRows,
        fence: &Fence,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.publish(marker, rows, fence, settings).await,
            Self::Postgres(store) => store.publish(marker, rows, fence, settings).await,
        }
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

/// Whether the same transaction may succeed if it is tried again.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            match code.as_ref() {
                // SQLite: busy and locked, also as extended codes.
                code if code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 5 | 6)) && code.len() != 5 => {
                    true
                }
                // PostgreSQL: serialisation, deadlock, lock not available, too many connections, shutting down.
                "40001" | "40P01" | "55P03" | "53300" | "57P01" | "57P02" | "57P03" => true,
                // Our transaction was ended because it was idle too long, as of a process that stood still.
                "25P03" => true,
                code => code.len() == 5 && code.starts_with("08"),
            }
        }
        _ => false,
    }
}

/// The next rows of an epoch, at most `rows_max`; none after the last.
pub(super) fn next_rows(
    frames: &mut Frames<'_>,
    settings: &Settings,
    rows_max: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    while changes.len() < rows_max {
        let Some(frame) = frames.next_frame().map_err(StoreError::Rows)? else { break };
        let values = rows::decode(frame, settings.kinds.len()).ok_or_else(|| {
            StoreError::Rows(ConnectorError::State {
                table: settings.table.clone(),
                reason: "the staged rows are damaged".to_owned(),
            })
        })?;
        changes.push(Change { delete: false, values });
    }
    Ok(changes)
}

/// The database's own words, without the prefixes of the client library.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let mut text = database.message().to_owned();
            if let Some(detail) =
                database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.detail())
            {
                text.push_str(": ");
                text.push_str(detail);
            }
            text
        }
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// An identifier in double quotes, as both databases take it.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Finds the database's name of a column or table: exactly as written, else in lower case, which is
/// what PostgreSQL makes of names without quotes.
pub(super) fn resolve<'a>(written: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let lower = written.to_lowercase();
    names.clone().find(|name| *name == written).or_else(|| names.clone().find(|name| name.to_lowercase() == lower))
}

/// The refusal of a column that the database's table lacks.
pub(super) fn missing_column<'a>(
    settings: &Settings,
    column: &str,
    names: impl Iterator<Item = &'a str>,
) -> ConnectorError {
    let names: Vec<&str> = names.collect();
    ConnectorError::External {
        table: settings.table.clone(),
        reason: format!(
            "the table '{}' of {} has no column '{column}'; its columns are {}",
            settings.table_name.1,
            settings.target.display(),
            names.join(", ")
        ),
        action: "declare the table's columns as they are in the database".to_owned(),
    }
}

/// The refusal of a primary key that the database does not enforce.
pub(super) fn missing_key(settings: &Settings) -> ConnectorError {
    let key: Vec<&str> = settings.key.iter().map(|column| settings.schema.fields[*column].name.as_str()).collect();
    let key = key.join(", ");
    ConnectorError::External {
        table: settings.table.clone(),
        reason: format!(
            "the table '{}' of {} has no primary key or unique index over ({key}), by which rows could be updated",
            settings.table_name.1,
            settings.target.display()
        ),
        action: format!("create one in the database, or declare the PRIMARY KEY that it has instead of ({key})"),
    }
}

/// The refusal of a table that does not exist.
pub(super) fn missing_table(settings: &Settings, action: &str) -> ConnectorError {
    let name = match &settings.table_name {
        (Some(schema), table) => format!("{schema}.{table}"),
        (None, table) => table.clone(),
    };
    ConnectorError::External {
        table: settings.table.clone(),
        reason: format!("{} has no table '{name}'", settings.target.display()),
        action: action.to_owned(),
    }
}

/// A failure of the database while it was looked at.
pub(super) fn failed(settings: &Settings, doing: &str, error: &sqlx::Error) -> ConnectorError {
    ConnectorError::External {
        table: settings.table.clone(),
        reason: format!("{doing} {} failed: {}", settings.target.display(), reason(error)),
        action: "check 'url', 'username', 'password' and that the database runs".to_owned(),
    }
}
