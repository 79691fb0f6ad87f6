//! Reads a script and its options.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use tidemill_common::control::Script;
use tidemill_common::limits::SCRIPT_BYTES_MAX;

use crate::args::ScriptArgs;
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
    Ok(Script { text, file, options })
}
