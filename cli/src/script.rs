//! Reads a script and its options.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use tidemill_common::control::Script;
use tidemill_common::limits::SCRIPT_BYTES_MAX;

use crate::args::{RestoreArgs, ScriptArgs};
use crate::error::CliError;

/// The script that the arguments name.
pub fn read(args: &ScriptArgs) -> Result<Script, CliError> {
    let read_error = |source| CliError::Read { path: args.file.clone(), source };
    // One byte more than is taken, so that the planner refuses it with its reason.
    let limit = SCRIPT_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let file = if args.file == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(read_error)?;
        "<stdin>".to_owned()
    } else {
        std::fs::File::open(&args.file)
            .map_err(read_error)?
            .take(limit)
            .read_to_string(&mut text)
            .map_err(read_error)?;
        args.file.display().to_string()
    };
    let mut options = BTreeMap::new();
    if let Some(parallelism) = args.parallelism {
        options.insert("parallelism.default".to_owned(), parallelism.to_string());
    }
    options.extend(args.set.iter().cloned());
    Ok(Script { text, file, options, ..Script::default() })
}

/// The script, to start from a savepoint if the arguments name one.
pub fn read_restored(args: &ScriptArgs, restore: &RestoreArgs) -> Result<Script, CliError> {
    let mut script = read(args)?;
    if let Some(path) = &restore.from_savepoint {
        script.options.insert("execution.state-recovery.path".to_owned(), absolute(path)?);
    }
    if restore.allow_non_restored_state {
        script.options.insert("execution.state-recovery.ignore-unclaimed-state".to_owned(), "true".to_owned());
    }
    Ok(script)
}

/// A path or URL as other processes understand it: a path that is relative is so to where this one runs.
pub fn absolute(path: &str) -> Result<String, CliError> {
    if path.contains("://") {
        return Ok(path.to_owned());
    }
    let absolute = std::path::absolute(path).map_err(|source| CliError::Read { path: path.into(), source })?;
    Ok(absolute.display().to_string())
}
