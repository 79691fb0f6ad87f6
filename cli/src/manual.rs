//! `tidemill completions` and `tidemill man`: made of what [`crate::args`] says.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::error::CliError;

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidemill", &mut text);
    write_out(&text)
}

/// Prints the page of the program, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    let command = Cli::command();
    let Some(directory) = &args.directory else {
        return write_out(&page(command, "tidemill")?);
    };
    std::fs::create_dir_all(directory).map_err(|source| CliError::Write { path: directory.clone(), source })?;
    write_pages(command, "tidemill", directory)?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: clap::Command, name: &str, directory: &Path) -> Result<(), CliError> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        write_pages(inner.clone(), &format!("{name}-{}", inner.get_name()), directory)?;
    }
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)?).map_err(|source| CliError::Write { path, source })
}

fn page(command: clap::Command, name: &str) -> Result<Vec<u8>, CliError> {
    let command = command.name(name.to_owned()).bin_name(name.replace('-', " ")).version(env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut text);
    rendered.map_err(|source| CliError::Write { path: format!("{name}.1").into(), source })?;
    Ok(text)
}

fn write_out(text: &[u8]) -> Result<ExitCode, CliError> {
    // A pager may be closed before the end.
    let _ = std::io::stdout().lock().write_all(text);
    Ok(ExitCode::SUCCESS)
}
