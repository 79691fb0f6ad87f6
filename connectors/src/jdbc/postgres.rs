//! PostgreSQL.
//!
//! Rows are sent as one array a column and unnested by the server, so that one prepared statement
//! serves any number of rows. Texts are cast to the types of the database's columns there.

use sqlx::postgres::{PgArguments, PgConnectOptions, PgSslMode};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tidemill_common::faults::{Promise, is_broken};
use tidemill_common::types::LogicalType;

use super::commits::{CommitSql, Fence, Marker, StoreError};
use super::rows::check_header;
use super::settings::{Settings, Target};
use super::sqlite::on_conflict;
use super::store::{failed, missing_column, missing_key, missing_table, next_rows, quote, resolve};
use super::value::{Change, Kind, Value};
use crate::api::ConnectorError;
use crate::staging::StagedRows;

/// After this time the server ends a transaction whose client does nothing, such as one of a process
/// that stands still; others wait for its locks.
const IDLE_IN_TRANSACTION_MS: &str = "10000";
/// Staged rows that are inserted at once.
const PUBLISH_ROWS: usize = 5_000;

pub(super) struct Postgres {
    connection: PgConnection,
    kinds: Vec<Kind>,
    key: Vec<usize>,
    upsert: String,
    delete: Option<String>,
    commits: CommitSql,
}

/// A column of the database's table.
struct Found {
    name: String,
    /// As SQL writes it, such as `numeric(10,2)`.
    full_type: String,
    /// Without parameters, such as `numeric`.
    base_type: String,
    /// `e` for an enumeration.
    class: i8,
}

impl Postgres {
    pub async fn open(settings: &Settings) -> Result<Self, ConnectorError> {
        let Target::Postgres { host, port, database, username, password } = &settings.target else {
            return Err(ConnectorError::Internal { connector: super::IDENTIFIER, reason: "not PostgreSQL".to_owned() });
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(*port)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("tidemill")
            .options([("TimeZone", "UTC"), ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS)])
            .disable_statement_logging();
        if let Some(username) = username {
            options = options.username(username);
        }
        if let Some(password) = password {
            options = options.password(password);
        }
        let mut connection = options.connect().await.map_err(|error| failed(settings, "connecting to", &error))?;
        let (table, columns) = look_up(settings, &mut connection).await?;
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let select: Vec<String> =
            columns.iter().enumerate().map(|(index, column)| format!("c{index}::{}", column.full_type)).collect();
        let mut upsert = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {}",
            names.join(", "),
            select.join(", "),
            unnest(&settings.kinds)
        );
        let delete = (!settings.key.is_empty()).then(|| {
            let kinds: Vec<Kind> = settings.key.iter().map(|column| settings.kinds[*column]).collect();
            let key: Vec<String> = settings
                .key
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    let same = "IS NOT DISTINCT FROM";
                    format!("t.{} {same} r.c{index}::{}", names[*column], columns[*column].full_type)
                })
                .collect();
            format!("DELETE FROM {table} AS t USING {} WHERE {}", unnest(&kinds), key.join(" AND "))
        });
        if !settings.key.is_empty() {
            upsert.push_str(&on_conflict(&names, &settings.key));
        }
        let (schema, commits) = &settings.commit_table;
        let commits = CommitSql::new(schema.as_deref(), commits, true);
        Ok(Self { connection, kinds: settings.kinds.clone(), key: settings.key.clone(), upsert, delete, commits })
    }

    pub async fn write(&mut self, changes: &[Change], fence: Option<&Fence>) -> Result<(), StoreError> {
        // Dropping it rolls back.
        let mut transaction = self.connection.begin().await?;
        if let Some(fence) = fence {
            check(&mut transaction, &self.commits, fence).await?;
        }
        let upserts: Vec<&Change> = changes.iter().filter(|change| !change.delete).collect();
        let deletes: Vec<&Change> = changes.iter().filter(|change| change.delete).collect();
        if !upserts.is_empty() {
            insert(&mut transaction, &self.upsert, &self.kinds, &upserts).await?;
        }
        if let (Some(delete), false) = (&self.delete, deletes.is_empty()) {
            let mut arguments = PgArguments::default();
            for column in &self.key {
                bind(&mut arguments, self.kinds[*column], &deletes, *column)?;
            }
            sqlx::query_with(AssertSqlSafe(delete.clone()), arguments).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    pub async fn register(&mut self, fence: &Fence) -> Result<(), StoreError> {
        // Several subtasks create the table at once; all but one may fail.
        let created = sqlx::query(AssertSqlSafe(self.commits.create.clone())).execute(&mut self.connection).await;
        let mut transaction = self.connection.begin().await?;
        for (row, attempt) in fence.rows() {
            let sql = AssertSqlSafe(self.commits.register.clone());
            let register = sqlx::query(sql).bind(fence.job.clone()).bind(fence.sink.clone()).bind(row).bind(attempt);
            if let Err(error) = register.execute(&mut *transaction).await {
                return Err(created.err().unwrap_or(error).into());
            }
        }
        check(&mut transaction, &self.commits, fence).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn publish(
        &mut self,
        marker: &Marker,
        rows: &StagedRows,
        fence: &Fence,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        let mut transaction = self.connection.begin().await?;
        check(&mut transaction, &self.commits, fence).await?;
        let key = |sql: &str| {
            let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
            query.bind(marker.job.clone()).bind(marker.sink.clone()).bind(marker.subtask)
        };
        key(&self.commits.insert).bind(fence.attempt).execute(&mut *transaction).await?;
        let row = key(&self.commits.published).fetch_one(&mut *transaction).await?;
        if row.try_get::<i64, _>(0)? >= marker.checkpoint && !is_broken(Promise::CommitMarker) {
            return Ok(transaction.rollback().await?);
        }
        let mut frames = rows.frames(&settings.table);
        check_header(frames.next_frame().map_err(StoreError::Rows)?, settings).map_err(StoreError::Rows)?;
        loop {
            let changes = next_rows(&mut frames, settings, PUBLISH_ROWS)?;
            if changes.is_empty() {
                break;
            }
            insert(&mut transaction, &self.upsert, &self.kinds, &changes.iter().collect::<Vec<_>>()).await?;
        }
        key(&self.commits.update).bind(marker.checkpoint).bind(fence.attempt).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn close(self) {
        // Nothing is pending, so that an error has no consequence.
        let _ = self.connection.close().await;
    }
}

/// Fails unless the attempt may write, and keeps it so until the transaction ends.
async fn check(connection: &mut PgConnection, commits: &CommitSql, fence: &Fence) -> Result<(), StoreError> {
    let sql = AssertSqlSafe(commits.attempts.clone());
    let query = sqlx::query(sql).bind(fence.job.clone()).bind(fence.sink.clone()).bind(fence.own_row());
    let rows = query.fetch_all(connection).await?;
    let found: Result<Vec<(i64, i64)>, sqlx::Error> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
    fence.check(&found?)
}

async fn insert(
    connection: &mut PgConnection,
    upsert: &str,
    kinds: &[Kind],
    rows: &[&Change],
) -> Result<(), sqlx::Error> {
    let mut arguments = PgArguments::default();
    for (column, kind) in kinds.iter().enumerate() {
        bind(&mut arguments, *kind, rows, column)?;
    }
    sqlx::query_with(AssertSqlSafe(upsert.to_owned()), arguments).execute(connection).await.map(drop)
}

/// `UNNEST($1::bigint[], ..) AS r (c0, ..)`.
fn unnest(kinds: &[Kind]) -> String {
    let arrays: Vec<String> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            let element = match kind {
                Kind::Integer => "bigint",
                Kind::Float => "double precision",
                Kind::Boolean => "boolean",
                Kind::Bytes => "bytea",
                Kind::Text => "text",
            };
            format!("${}::{element}[]", index + 1)
        })
        .collect();
    let names: Vec<String> = (0..kinds.len()).map(|index| format!("c{index}")).collect();
    format!("UNNEST({}) AS r ({})", arrays.join(", "), names.join(", "))
}

fn bind(arguments: &mut PgArguments, kind: Kind, rows: &[&Change], column: usize) -> Result<(), sqlx::Error> {
    let values = rows.iter().map(|row| &row.values[column]);
    match kind {
        Kind::Integer => arguments.add(
            values
                .map(|value| match value {
                    Value::Integer(number) => Some(*number),
                    _ => None,
                })
                .collect::<Vec<Option<i64>>>(),
        ),
        Kind::Float => arguments.add(
            values
                .map(|value| match value {
                    Value::Float(number) => Some(*number),
                    _ => None,
                })
                .collect::<Vec<Option<f64>>>(),
        ),
        Kind::Boolean => arguments.add(
            values
                .map(|value| match value {
                    Value::Boolean(truth) => Some(*truth),
                    _ => None,
                })
                .collect::<Vec<Option<bool>>>(),
        ),
        Kind::Bytes => arguments.add(
            values
                .map(|value| match value {
                    Value::Bytes(bytes) => Some(bytes.clone()),
                    _ => None,
                })
                .collect::<Vec<Option<Vec<u8>>>>(),
        ),
        Kind::Text => arguments.add(
            values
                .map(|value| match value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect::<Vec<Option<String>>>(),
        ),
    }
    .map_err(sqlx::Error::Encode)
}

/// The quoted table, and its columns in our order.
async fn look_up(settings: &Settings, connection: &mut PgConnection) -> Result<(String, Vec<Found>), ConnectorError> {
    let fail = |error: sqlx::Error| failed(settings, "looking into", &error);
    let (schema, table) = &settings.table_name;
    // Exactly as written first, then as PostgreSQL reads names without quotes.
    let relation = sqlx::query(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = \
         c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'f') AND c.relname IN ($1, lower($1)) AND \
         (CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname IN ($2, lower($2)) END) \
         ORDER BY (c.relname = $1) DESC, (n.nspname = coalesce($2, '')) DESC LIMIT 1",
    )
    .bind(table.clone())
    .bind(schema.clone())
    .fetch_optional(&mut *connection)
    .await
    .map_err(fail)?
    .ok_or_else(|| missing_table(settings, "create it, or correct 'table-name'"))?;
    let oid: i64 = relation.try_get(0).map_err(fail)?;
    let schema: String = relation.try_get(1).map_err(fail)?;
    let table: String = relation.try_get(2).map_err(fail)?;
    let rows = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname::text, t.typtype, a.attnum::bigint \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT \
         a.attisdropped ORDER BY a.attnum",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await
    .map_err(fail)?;
    let mut found = Vec::new();
    for row in &rows {
        let column = Found {
            name: row.try_get(0).map_err(fail)?,
            full_type: row.try_get(1).map_err(fail)?,
            base_type: row.try_get(2).map_err(fail)?,
            class: row.try_get(3).map_err(fail)?,
        };
        found.push((column, row.try_get::<i64, _>(4).map_err(fail)?));
    }
    let mut columns = Vec::new();
    let mut numbers = Vec::new();
    for field in &settings.schema.fields {
        let names = || found.iter().map(|(column, _)| column.name.as_str());
        let name = resolve(&field.name, names()).ok_or_else(|| missing_column(settings, &field.name, names()))?;
        let Some((column, number)) = found.iter().find(|(column, _)| column.name == name) else { continue };
        check_type(settings, &field.name, &field.data_type.logical, column)?;
        numbers.push(*number);
        columns.push(Found {
            name: column.name.clone(),
            full_type: column.full_type.clone(),
            base_type: column.base_type.clone(),
            class: column.class,
        });
    }
    if !settings.key.is_empty() {
        let mut key: Vec<i64> = settings.key.iter().map(|column| numbers[*column]).collect();
        key.sort_unstable();
        let enforced: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1::oid AND i.indisunique AND i.indpred IS NULL \
             AND i.indexprs IS NULL AND (SELECT array_agg(k::bigint ORDER BY k) FROM unnest(i.indkey::int2[]) WITH \
             ORDINALITY AS u (k, n) WHERE n <= i.indnkeyatts) = $2)",
        )
        .bind(oid)
        .bind(key)
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
        if !enforced {
            return Err(missing_key(settings));
        }
    }
    Ok((format!("{}.{}", quote(&schema), quote(&table)), columns))
}

/// Refuses types whose values the server could not take.
fn check_type(settings: &Settings, name: &str, ours: &LogicalType, theirs: &Found) -> Result<(), ConnectorError> {
    use LogicalType as L;
    const NUMBERS: &[&str] = &["int2", "int4", "int8", "numeric", "float4", "float8"];
    const TEXTS: &[&str] = &["text", "varchar", "bpchar", "citext", "json", "jsonb", "uuid", "inet", "xml"];
    let takes: &[&str] = match ours {
        L::Boolean => &["bool"],
        L::TinyInt | L::SmallInt | L::Int | L::BigInt => NUMBERS,
        L::Float | L::Double => &["float4", "float8", "numeric"],
        L::Decimal(..) => &["numeric", "float4", "float8"],
        L::Date => &["date", "timestamp", "timestamptz"],
        L::Time(_) => &["time"],
        L::Timestamp(_) | L::TimestampLtz(_) => &["timestamp", "timestamptz"],
        L::Binary(_) | L::Varbinary(_) => &["bytea"],
        _ => TEXTS,
    };
    let enumeration = theirs.class as u8 == b'e' && ours.is_string();
    if enumeration || takes.contains(&theirs.base_type.as_str()) {
        return Ok(());
    }
    Err(ConnectorError::External {
        table: settings.table.clone(),
        reason: format!("column '{name}' is {ours}, but in {} it is {}", settings.target.display(), theirs.full_type),
        action: "CAST the values in the query and declare the column accordingly".to_owned(),
    })
}
