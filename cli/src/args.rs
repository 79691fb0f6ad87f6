//! What can be written on the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidemill_common::process_options::PROCESS_OPTIONS;

/// A distributed stream processor that runs Flink SQL.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about, propagate_version = true, subcommand_required = true)]
#[command(after_help = "Run a script:       tidemill run job.sql
Type statements:    tidemill sql
Start a cluster:    tidemill cluster --taskmanagers 2 --slots 2
Run it there:       tidemill submit job.sql

Every command takes the options of its processes as flags; `tidemill COMMAND --help` lists them.

Exit codes:
  0    it was done; a job that was followed has finished, or was cancelled by whoever followed it
  1    it was refused, or a job has failed; the error is on standard error
  2    the command line is wrong
  3    no job manager answers
  4    the job manager did not answer in time (client.timeout)
  130  interrupted twice")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a script in this process, to its end or until Ctrl-C
    Run(RunArgs),
    /// Type statements and see their results, in this process or on a running cluster
    Sql(SqlArgs),
    /// Submit a script to a running cluster
    Submit(SubmitArgs),
    /// See to it that a job runs as declared: start it, or upgrade it through a savepoint if it has changed
    Apply(ApplyArgs),
    /// Show the stream plan of a script: operators, parallelism, keys, changelog mode, state
    Explain(ExplainArgs),
    /// List the jobs of a cluster
    List(ListArgs),
    /// Show a job: state, operators with their counters, exceptions
    Describe(JobArgs),
    /// Cancel a job at once
    Cancel(JobArgs),
    /// End a job as if its inputs had ended, with a savepoint if it is asked for
    Stop(StopArgs),
    /// Take a savepoint of a job, or look into one
    Savepoint(SavepointArgs),
    /// Show the latest checkpoints of a job: durations, sizes, failures
    Checkpoints(JobArgs),
    /// Show what has happened to a job: states, attempts, failures, checkpoints; and follow it
    Events(EventsArgs),
    /// Show the operators of the running jobs, again and again: rates, busy time, watermarks
    Top(TopArgs),
    /// Go on with another parallelism, from the job's newest checkpoint
    Rescale(RescaleArgs),
    /// Show the task managers of a cluster
    Info(ListArgs),
    /// Start a local cluster: a job manager and task managers, each a process of its own
    Cluster(ClusterArgs),
    /// Start a job manager
    Jobmanager(RoleArgs),
    /// Start a task manager
    Taskmanager(RoleArgs),
    /// Make up input
    #[command(subcommand)]
    Generate(GenerateCommand),
    /// Run the web analytics example on a generated log and show its results
    Demo(DemoArgs),
    /// Print the completions of a shell: `source <(tidemill completions bash)`
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands into a directory
    Man(ManArgs),
    /// Print a page of the reference
    #[command(hide = true)]
    Docs(DocsArgs),
}

/// What can be made up.
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// A web shop's access log: Combined Log Format with the response time
    AccessLog(GenerateAccessLogArgs),
}

#[derive(Debug, Args)]
pub struct GenerateAccessLogArgs {
    /// Lines a second
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// End after so many seconds; without it, with Ctrl-C
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Seconds of event time that pass in a second
    #[arg(long, value_name = "X")]
    pub speedup: Option<f64>,
    /// The same seed gives the same log
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The file, made anew; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after so many seconds; without it, with Ctrl-C
    #[arg(long, value_name = "N", env = "DEMO_SECONDS")]
    pub seconds: Option<u64>,
    /// Lines of log a second
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Seconds of event time that pass in a second
    #[arg(long, value_name = "X")]
    pub speedup: Option<f64>,
    /// Parallelism of the job
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub parallelism: Option<u32>,
    #[command(flatten)]
    pub process: ProcessFlags,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// A script and its options.
#[derive(Debug, Args)]
pub struct ScriptArgs {
    /// The SQL script; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Parallelism of the jobs, unless the script sets it
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub parallelism: Option<u32>,
    /// Set a job option, as SET 'KEY' = 'VALUE' at the head of the script
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    #[command(flatten)]
    pub restore: RestoreArgs,
    /// The final summary: text on standard error, or JSON as the last line of standard output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Run on the cluster whose job manager is at this address; without it a cluster runs in this process
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// Run the statements of a file and end; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Run these statements and end; may be given several times
    #[arg(short, long, value_name = "SQL")]
    pub execute: Vec<String>,
    /// Run the statements of a file first
    #[arg(short, long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Parallelism of the jobs, unless a statement sets it
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub parallelism: Option<u32>,
    /// Set a job option, as SET 'KEY' = 'VALUE'
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    #[command(flatten)]
    pub restore: RestoreArgs,
    /// Say what becomes of each operator's state, and start nothing
    #[arg(long, requires = "from_savepoint")]
    pub dry_run: bool,
    /// Print the ids of the jobs and leave them running
    #[arg(short, long)]
    pub detach: bool,
    /// The final summary: text on standard error, or JSON as the last line of standard output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Name of the job, by which it is found again; its savepoints are made in a directory of this name
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Stop the job with a savepoint, from which it goes on when it is applied without this
    #[arg(long, conflicts_with_all = ["from_savepoint", "fresh"])]
    pub stopped: bool,
    /// Where the job starts that goes on from nothing: the first time, and when it has failed
    #[arg(long, value_name = "PATH", conflicts_with = "fresh")]
    pub from_savepoint: Option<String>,
    /// Start without state if the job does not run
    #[arg(long)]
    pub fresh: bool,
    /// Give up state of operators that the script does not have any more
    #[arg(long)]
    pub allow_non_restored_state: bool,
    /// How long to wait for the job manager, and for the job to run
    #[arg(long, value_name = "DURATION", default_value = "60 s")]
    pub wait: String,
    /// What was done: text or JSON
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job's id, or a beginning that only one job has
    #[arg(value_name = "JOB")]
    pub job: String,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// The job's id, or a beginning that only one job has
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Go on with what happens, until the job has ended
    #[arg(short, long)]
    pub follow: bool,
    /// Text, or one JSON object a line
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct TopArgs {
    /// The job's id, or a beginning that only one job has; all that run without it
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval)]
    pub interval: f64,
    /// End after so many tables; without it, with Ctrl-C
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page a command into this directory
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// What a script starts from.
#[derive(Clone, Debug, Default, Args)]
pub struct RestoreArgs {
    /// Start from the savepoint or checkpoint in this directory
    #[arg(long, value_name = "PATH")]
    pub from_savepoint: Option<String>,
    /// Give up state of operators that the script does not have any more
    #[arg(long, requires = "from_savepoint")]
    pub allow_non_restored_state: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SavepointArgs {
    #[command(subcommand)]
    pub command: Option<SavepointCommand>,
    /// The job's id, or a beginning that only one job has
    #[arg(value_name = "JOB", required = true)]
    pub job: Option<String>,
    /// Directory the savepoint is made in, as a path or URL; the configured one otherwise
    #[arg(value_name = "DIR")]
    pub directory: Option<String>,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

/// What can be done with a savepoint.
#[derive(Debug, Subcommand)]
pub enum SavepointCommand {
    /// Show what a savepoint or checkpoint holds: operators, states, sizes, key groups
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Directory of the savepoint, as a path or URL
    #[arg(value_name = "PATH")]
    pub path: String,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Take a savepoint that the job ends with, below DIR or the configured directory
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = false)]
    pub savepoint: Option<Option<String>>,
    /// Take event time to its end, so that all windows fire
    #[arg(long)]
    pub drain: bool,
}

#[derive(Debug, Args)]
pub struct RescaleArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// The job's new parallelism
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub parallelism: u32,
}

#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Number of task managers
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub taskmanagers: u32,
    /// Slots of each task manager
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub slots: Option<u32>,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct RoleArgs {
    /// End when standard input is closed (set by `tidemill cluster`)
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Debug, Args)]
pub struct DocsArgs {
    pub page: DocsPage,
}

/// A page of the reference that is generated from the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DocsPage {
    Config,
    Connectors,
    Metrics,
    Sql,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("'{text}' is not a number of seconds between 0.1 and 3600")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// The process options as flags. `-h` leaves them out, `--help` lists them.
#[derive(Clone, Debug, Default)]
pub struct ProcessFlags {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Options that were given, by key.
    pub values: BTreeMap<String, String>,
}

const CONFIG_ID: &str = "config";

impl clap::FromArgMatches for ProcessFlags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        if let Some(file) = matches.get_one::<PathBuf>(CONFIG_ID) {
            self.file = Some(file.clone());
        }
        for option in PROCESS_OPTIONS {
            if let Some(value) = matches.get_one::<String>(option.key) {
                self.values.insert(option.key.to_owned(), value.clone());
            }
        }
        Ok(())
    }
}

impl Args for ProcessFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        const HEADING: &str = "Options of the processes (flag > environment > file > default)";
        let config = clap::Arg::new(CONFIG_ID)
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading(HEADING)
            .hide_short_help(true)
            .env("TIDEMILL_CONFIG")
            .hide_env(true)
            .help("YAML file with options by their keys [env: TIDEMILL_CONFIG]");
        PROCESS_OPTIONS.iter().fold(command.arg(config), |command, option| {
            let default = option.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
            command.arg(
                clap::Arg::new(option.key)
                    .long(option.flag())
                    .value_name("VALUE")
                    .help_heading(HEADING)
                    .hide_short_help(true)
                    .help(format!("{} ({}){default}", option.description, option.key)),
            )
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_savepoint_is_taken_or_looked_into() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        let Ok(Command::Savepoint(take)) = parse("tidemill savepoint 4f /tmp/s") else { panic!("not a savepoint") };
        assert_eq!((take.job.as_deref(), take.directory.as_deref()), (Some("4f"), Some("/tmp/s")));
        let Ok(Command::Savepoint(look)) = parse("tidemill savepoint inspect /tmp/s -o json") else {
            panic!("not one")
        };
        assert!(matches!(look.command, Some(SavepointCommand::Inspect(InspectArgs { output: Output::Json, .. }))));
        let Ok(Command::Stop(stop)) = parse("tidemill stop 4f --savepoint --drain") else { panic!("not a stop") };
        assert_eq!((stop.savepoint, stop.drain), (Some(None), true));
        assert!(parse("tidemill savepoint").is_err());
        assert!(parse("tidemill submit a.sql --dry-run").is_err());
    }

    #[test]
    fn every_process_option_is_a_flag() {
        let cli = Cli::try_parse_from(["tidemill", "jobmanager", "--jobmanager-rpc-port", "7000"]).unwrap();
        let Command::Jobmanager(args) = cli.command else { panic!("not the job manager") };
        assert_eq!(args.process.values, BTreeMap::from([("jobmanager.rpc.port".to_owned(), "7000".to_owned())]));
        let error = Cli::try_parse_from(["tidemill", "jobmanager", "--jobmanager-rpc-prt", "7000"]).unwrap_err();
        assert!(error.to_string().contains("--jobmanager-rpc-port"), "{error}");
    }
}
