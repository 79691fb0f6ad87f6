//! Wrong scripts, each with the exact message that is shown for it: `sql_errors/NAME.sql` and `NAME.error`.
//!
//! With `UPDATE_EXPECT=1` the messages are written anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use tidemill_connectors::registry::Registry;
use tidemill_planner::session::Planner;

/// Fewest scripts there may be: they must not get lost.
const SCRIPTS_MIN: usize = 100;

#[test]
fn wrong_scripts_are_told_what_is_wrong() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut failures = Vec::new();
    let mut scripts = 0;
    let mut entries: Vec<_> =
        std::fs::read_dir(tidemill_tests::directory().join("sql_errors")).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries.iter().filter(|path| path.extension().is_some_and(|extension| extension == "sql")) {
        scripts += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(path).unwrap();
        let planned = Planner::new(&Registry, BTreeMap::new(), &|_| None).plan_script(&script, &name);
        let Err(error) = planned else {
            failures.push(format!("{name} is not refused"));
            continue;
        };
        let expected = path.with_extension("error");
        if update {
            std::fs::write(&expected, &error).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != error {
            failures.push(format!("{name}:\n{error}"));
        }
        // Whatever is wrong stands somewhere in the script.
        if !error.contains(&format!("--> {name}:")) || !error.contains('^') {
            failures.push(format!("{name} is told without a place:\n{error}"));
        }
    }
    assert!(scripts >= SCRIPTS_MIN, "only {scripts} scripts");
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}
