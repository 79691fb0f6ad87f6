//! SQLite.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::types::LogicalType;

use super::commits::{CommitSql, Fence, Marker, StoreError};
use super::rows::check_header;
use super::settings::Settings;
use super::store::{failed, missing_column, missing_key, missing_table, next_rows, quote, resolve};
use super::value::{Change, Value};
use crate::api::ConnectorError;
use crate::staging::StagedRows;

/// How long a statement waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Parameters of one statement (SQLITE_MAX_VARIABLE_NUMBER is 32766).
const PARAMETERS_MAX: usize = 2_000;
/// Staged rows that are read at once.
const PUBLISH_ROWS: usize = 5_000;

pub(super) struct Sqlite {
    connection: SqliteConnection,
    table: String,
    /// Quoted names, in our order.
    columns: Vec<String>,
    key: Vec<usize>,
    commits: CommitSql,
}

impl Sqlite {
    pub async fn open(settings: &Settings, path: &Path) -> Result<Self, ConnectorError> {
        if settings.create_table {
            if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                tokio::fs::create_dir_all(directory).await.map_err(|error| ConnectorError::External {
                    table: settings.table.clone(),
                    reason: format!("the directory '{}' cannot be created: {error}", directory.display()),
                    action: "choose another path in 'url'".to_owned(),
                })?;
            }
        } else if !tokio::fs::try_exists(path).await.unwrap_or(false) {
            return Err(ConnectorError::External {
                table: settings.table.clone(),
                reason: format!("the file '{}' does not exist", path.display()),
                action: "create the database, or set 'sink.create-table' = 'true'".to_owned(),
            });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(settings.create_table)
            .busy_timeout(BUSY_TIMEOUT)
            // Others can read while we write.
            .journal_mode(SqliteJournalMode::Wal)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| failed(settings, "opening", &error))?;
        if settings.create_table {
            sqlx::query(AssertSqlSafe(create_table(settings)))
                .execute(&mut connection)
                .await
                .map_err(|error| failed(settings, "creating a table in", &error))?;
        }
        let (columns, table) = look_up(settings, &mut connection).await?;
        let (schema, commits) = &settings.commit_table;
        let commits = CommitSql::new(schema.as_deref(), commits, false);
        Ok(Self { connection, table, columns, key: settings.key.clone(), commits })
    }

    pub async fn write(&mut self, changes: &[Change], fence: Option<&Fence>) -> Result<(), StoreError> {
        self.begin().await?;
        let written = self.write_fenced(changes, fence).await;
        self.end(written).await
    }

    async fn write_fenced(&mut self, changes: &[Change], fence: Option<&Fence>) -> Result<(), StoreError> {
        if let Some(fence) = fence {
            self.check(fence).await?;
        }
        Ok(self.write_all(changes).await?)
    }

    pub async fn register(&mut self, fence: &Fence) -> Result<(), StoreError> {
        sqlx::query(AssertSqlSafe(self.commits.create.clone())).execute(&mut self.connection).await?;
        self.begin().await?;
        let registered = self.register_attempt(fence).await;
        self.end(registered).await
    }

    async fn register_attempt(&mut self, fence: &Fence) -> Result<(), StoreError> {
        for (row, attempt) in fence.rows() {
            let sql = AssertSqlSafe(self.commits.register.clone());
            let register = sqlx::query(sql).bind(fence.job.clone()).bind(fence.sink.clone()).bind(row).bind(attempt);
            register.execute(&mut self.connection).await?;
        }
        self.check(fence).await
    }

    pub async fn publish(
        &mut self,
        marker: &Marker,
        rows: &StagedRows,
        fence: &Fence,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        self.begin().await?;
        let published = self.publish_fenced(marker, rows, fence, settings).await;
        self.end(published).await
    }

    async fn publish_fenced(
        &mut self,
        marker: &Marker,
        rows: &StagedRows,
        fence: &Fence,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        self.check(fence).await?;
        let key = |sql: &str| {
            let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
            query.bind(marker.job.clone()).bind(marker.sink.clone()).bind(marker.subtask)
        };
        key(&self.commits.insert).bind(fence.attempt).execute(&mut self.connection).await?;
        let row = key(&self.commits.published).fetch_one(&mut self.connection).await?;
        if row.try_get::<i64, _>(0)? >= marker.checkpoint && !is_broken(Promise::CommitMarker) {
            return Ok(());
        }
        let mut frames = rows.frames(&settings.table);
        check_header(frames.next_frame().map_err(StoreError::Rows)?, settings).map_err(StoreError::Rows)?;
        loop {
            let changes = next_rows(&mut frames, settings, PUBLISH_ROWS)?;
            if changes.is_empty() {
                break;
            }
            self.write_all(&changes).await?;
        }
        let update = key(&self.commits.update).bind(marker.checkpoint).bind(fence.attempt);
        update.execute(&mut self.connection).await?;
        Ok(())
    }

    /// At once a writer, so that two of them wait for each other instead of failing.
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await.map(drop)
    }

    /// Commits what has succeeded, and undoes what has not.
    async fn end(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        match result {
            Ok(()) => Ok(sqlx::query("COMMIT").execute(&mut self.connection).await.map(drop)?),
            Err(error) => {
                // The first error is the one to tell.
                let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
                Err(error)
            }
        }
    }

    /// Fails unless the attempt may write. The transaction has locked the database.
    async fn check(&mut self, fence: &Fence) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(self.commits.attempts.clone());
        let query = sqlx::query(sql).bind(fence.job.clone()).bind(fence.sink.clone()).bind(fence.own_row());
        let rows = query.fetch_all(&mut self.connection).await?;
        let found: Result<Vec<(i64, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        fence.check(&found?)
    }

    async fn write_all(&mut self, changes: &[Change]) -> Result<(), sqlx::Error> {
        let rows_max = (PARAMETERS_MAX / self.columns.len().max(1)).max(1);
        let upserts: Vec<&Change> = changes.iter().filter(|change| !change.delete).collect();
        for rows in upserts.chunks(rows_max) {
            let mut arguments = SqliteArguments::default();
            for value in rows.iter().flat_map(|row| &row.values) {
                bind(&mut arguments, value)?;
            }
            let sql = AssertSqlSafe(self.upsert(rows.len()));
            sqlx::query_with(sql, arguments).execute(&mut self.connection).await?;
        }
        let delete = self.delete();
        for change in changes.iter().filter(|change| change.delete) {
            let mut arguments = SqliteArguments::default();
            for column in &self.key {
                bind(&mut arguments, &change.values[*column])?;
            }
            sqlx::query_with(AssertSqlSafe(delete.clone()), arguments).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    fn upsert(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        let mut sql =
            format!("INSERT INTO {} ({}) VALUES {}", self.table, self.columns.join(", "), vec![row; rows].join(", "));
        if !self.key.is_empty() {
            sql.push_str(&on_conflict(&self.columns, &self.key));
        }
        sql
    }

    fn delete(&self) -> String {
        let key: Vec<String> = self.key.iter().map(|column| format!("{} IS ?", self.columns[*column])).collect();
        format!("DELETE FROM {} WHERE {}", self.table, key.join(" AND "))
    }

    pub async fn close(self) {
        // Nothing is pending, so that an error has no consequence.
        let _ = self.connection.close().await;
    }
}

/// ` ON CONFLICT (..) DO UPDATE SET ..`, in the words of both databases.
pub(super) fn on_conflict(columns: &[String], key: &[usize]) -> String {
    let target: Vec<&str> = key.iter().map(|column| columns[*column].as_str()).collect();
    let others: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(index, _)| !key.contains(index))
        .map(|(_, column)| format!("{column} = excluded.{column}"))
        .collect();
    let action = if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", others.join(", ")) };
    format!(" ON CONFLICT ({}) DO {action}", target.join(", "))
}

fn bind(arguments: &mut SqliteArguments, value: &Value) -> Result<(), sqlx::Error> {
    match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Integer(number) => arguments.add(*number),
        Value::Float(number) => arguments.add(*number),
        Value::Boolean(truth) => arguments.add(i64::from(*truth)),
        Value::Bytes(bytes) => arguments.add(bytes.clone()),
        Value::Text(text) => arguments.add(text.clone()),
    }
    .map_err(sqlx::Error::Encode)
}

fn create_table(settings: &Settings) -> String {
    let mut columns: Vec<String> = settings
        .schema
        .fields
        .iter()
        .map(|field| {
            let affinity = match field.data_type.logical {
                LogicalType::Boolean => "BOOLEAN",
                LogicalType::TinyInt | LogicalType::SmallInt | LogicalType::Int | LogicalType::BigInt => "INTEGER",
                LogicalType::Float | LogicalType::Double => "REAL",
                LogicalType::Decimal(..) => "NUMERIC",
                LogicalType::Binary(_) | LogicalType::Varbinary(_) => "BLOB",
                _ => "TEXT",
            };
            format!("{} {affinity}{}", quote(&field.name), if field.data_type.nullable { "" } else { " NOT NULL" })
        })
        .collect();
    if !settings.key.is_empty() {
        let key: Vec<String> = settings.key.iter().map(|column| quote(&settings.schema.fields[*column].name)).collect();
        columns.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({})", qualified(settings, &settings.table_name.1), columns.join(", "))
}

fn qualified(settings: &Settings, table: &str) -> String {
    match &settings.table_name.0 {
        Some(schema) => format!("{}.{}", quote(schema), quote(table)),
        None => quote(table),
    }
}

/// The table's columns under their names in the database, and its quoted name.
async fn look_up(
    settings: &Settings,
    connection: &mut SqliteConnection,
) -> Result<(Vec<String>, String), ConnectorError> {
    let fail = |error: sqlx::Error| failed(settings, "looking into", &error);
    let table = &settings.table_name.1;
    let rows = sqlx::query("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid")
        .bind(table.clone())
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
    if rows.is_empty() {
        return Err(missing_table(settings, "create it, or set 'sink.create-table' = 'true'"));
    }
    let mut names = Vec::new();
    let mut primary_key = Vec::new();
    for row in &rows {
        let name: String = row.try_get(0).map_err(fail)?;
        if row.try_get::<i64, _>(1).map_err(fail)? > 0 {
            primary_key.push(name.clone());
        }
        names.push(name);
    }
    let mut columns = Vec::new();
    for field in &settings.schema.fields {
        let name = resolve(&field.name, names.iter().map(String::as_str))
            .ok_or_else(|| missing_column(settings, &field.name, names.iter().map(String::as_str)))?;
        columns.push(name.to_owned());
    }
    if !settings.key.is_empty() {
        let wanted: Vec<&String> = settings.key.iter().map(|column| &columns[*column]).collect();
        let same = |index: &[String]| index.len() == wanted.len() && index.iter().all(|name| wanted.contains(&name));
        let mut found = same(&primary_key);
        let indexes = sqlx::query("SELECT name FROM pragma_index_list(?) WHERE \"unique\" = 1 AND partial = 0")
            .bind(table.clone())
            .fetch_all(&mut *connection)
            .await
            .map_err(fail)?;
        for index in indexes {
            let name: String = index.try_get(0).map_err(fail)?;
            let parts = sqlx::query_scalar::<_, Option<String>>("SELECT name FROM pragma_index_info(?)")
                .bind(name)
                .fetch_all(&mut *connection)
                .await
                .map_err(fail)?;
            let parts: Option<Vec<String>> = parts.into_iter().collect();
            found |= parts.is_some_and(|parts| same(&parts));
        }
        if !found {
            return Err(missing_key(settings));
        }
    }
    Ok((columns.iter().map(|column| quote(column)).collect(), qualified(settings, table)))
}
