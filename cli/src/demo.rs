//! `tidemill demo`: the web analytics example on a generated log, with its results in the terminal.
//!
//! Nothing here computes anything: a thread writes the log, `examples/web_analytics/job.sql` runs on an
//! embedded cluster as `tidemill run` runs it, and the tables it keeps in SQLite are read back.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tidemill_connectors::access_log_generator::AccessLogConfig;
use tokio::sync::Notify;

use crate::args::{DemoArgs, Output, ScriptArgs};
use crate::embedded::Embedded;
use crate::error::CliError;
use crate::follow::Follow;
use crate::run::{output_limit, print_target, show};
use crate::signals::Signals;
use crate::table::render;
use crate::terminal::Terminal;
use crate::{config, generate, logging, script};

const DIRECTORY: &str = "examples/web_analytics";
/// Between looks at the results.
const REFRESH: Duration = Duration::from_secs(1);
/// Rows of each table that are shown: the newest minute has one a section or region.
const ROWS_SHOWN: i64 = 12;

/// Runs the demo until its time is up or Ctrl-C.
pub async fn demo(args: DemoArgs) -> Result<ExitCode, CliError> {
    let job = Path::new(DIRECTORY).join("job.sql");
    if !job.is_file() {
        return Err(CliError::Refused(format!(
            "there is no {}; run the demo in the root of the repository",
            job.display()
        )));
    }
    let config = config::load(&args.process)?;
    let terminal = Terminal::detect();
    logging::start(&config, "error", &terminal);
    let data = Path::new(DIRECTORY).join("data");
    for name in ["kpi.db", "kpi.db-wal", "kpi.db-shm"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing = start_log(&args, data.join("logs/access.log"), stop.clone())?;

    let script = script::read(&ScriptArgs { file: job, parallelism: args.parallelism, set: Vec::new() })?;
    let signals = Signals::listen()?;
    let ended = Arc::new(Notify::new());
    let embedded = Embedded::start(&config, print_target(&terminal, ended.clone())).await?;
    let mut client = embedded.client().await?;
    let submitted = client.submit(script).await?;
    let shown = tokio::spawn(show_results(data.join("kpi.db"), args.seconds.map(Duration::from_secs), ended.clone()));
    let follow = Follow { client, terminal: &terminal, fail_fast: true };
    let followed = follow.run(submitted, signals, ended.notified()).await;
    Signals::listen()?.end_at_once();
    shown.abort();
    stop.store(true, Ordering::Relaxed);
    embedded.shutdown(output_limit(&followed)).await?;
    let lines = writing.await.map_err(|error| CliError::Refused(error.to_string()))??;
    eprintln!("{lines} lines of log were generated");
    show(&followed?, Output::Text, &terminal)
}

/// Writes the log on a thread of its own; returns when its first lines are there to be found.
fn start_log(
    args: &DemoArgs,
    path: PathBuf,
    stop: Arc<AtomicBool>,
) -> Result<tokio::task::JoinHandle<Result<u64, CliError>>, CliError> {
    let defaults = AccessLogConfig::default();
    let config = AccessLogConfig {
        lines_per_second: args.rate.unwrap_or(defaults.lines_per_second),
        speedup: args.speedup.unwrap_or(defaults.speedup),
        ..defaults
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|source| CliError::Write { path: path.clone(), source })?;
    }
    Ok(tokio::task::spawn_blocking(move || generate::write_file(config, None, &stop, &path)))
}

/// Shows the newest minutes once a second; ends the demo when its time is up.
async fn show_results(database: PathBuf, limit: Option<Duration>, ended: Arc<Notify>) {
    let begun = tokio::time::Instant::now();
    let live = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        tokio::time::sleep(REFRESH).await;
        // The tables come with the first results.
        let text = match results(&database).await {
            Ok(text) => text,
            Err(_) => "waiting for the first minute to close\n".to_owned(),
        };
        if text != last || live {
            let clear = if live { "\u{1b}[2J\u{1b}[H" } else { "" };
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{clear}{text}").and_then(|()| out.flush()).is_err() {
                break;
            }
            last = text;
        }
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
    }
    ended.notify_one();
}

async fn results(database: &Path) -> Result<String, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(database).read_only(true).connect().await?;
    let mut text = String::new();
    for (title, table, key) in [("By section", "kpi_by_section", "section"), ("By region", "kpi_by_region", "region")] {
        text += &format!("{title}, the newest minutes\n");
        text += &newest(&mut connection, table, key).await?;
        text.push('\n');
    }
    Ok(text)
}

async fn newest(connection: &mut SqliteConnection, table: &str, key: &str) -> Result<String, sqlx::Error> {
    // Names are constants of this module.
    let query = format!(
        "SELECT minute_start, {key}, page_views, unique_users, printf('%.1f', mean_ms), printf('%.1f', p95_ms), \
         printf('%.2f %%', 100 * error_rate), printf('%.2f', revenue) FROM {table} \
         ORDER BY minute_start DESC, {key} LIMIT {ROWS_SHOWN}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(connection).await?;
    let mut cells = Vec::new();
    for row in rows {
        let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number.to_string());
        let string = |column: usize| row.try_get::<String, _>(column);
        cells.push(vec![
            string(0)?,
            string(1)?,
            number(2)?,
            number(3)?,
            string(4)?,
            string(5)?,
            string(6)?,
            string(7)?,
        ]);
    }
    let header = ["minute", key, "views", "users", "mean ms", "p95 ms", "errors", "revenue"];
    Ok(render(&header, &[2, 3, 4, 5, 6, 7], &cells))
}
