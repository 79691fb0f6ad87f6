//! The scripts in `docs/from-flink.md` do what the page says.
//!
//! A block "```sql run" runs to its end, with `${out}` as an empty directory; the block "```text" behind
//! it, if there is one, is what it prints. A block "```sql plan" is planned. A block "```sql refused" is
//! refused with the message in the block behind it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use tidemill_connectors::registry::Registry;
use tidemill_planner::session::Planner;
use tidemill_tests::docs::blocks;

#[test]
fn the_scripts_for_users_of_flink_do_what_the_page_says() {
    let page = std::fs::read_to_string(tidemill_tests::directory().join("../docs/from-flink.md")).unwrap();
    let blocks = blocks(&page);
    let mut checked = 0;
    for (index, block) in blocks.iter().enumerate() {
        let behind = blocks.get(index + 1).filter(|next| next.kind == "text").map(|next| next.text.as_str());
        let place = format!("docs/from-flink.md:{}", block.line);
        match block.kind.as_str() {
            "sql run" => {
                let out = tempfile::tempdir().unwrap();
                let script = out.path().join("script.sql");
                std::fs::write(&script, block.text.replace("${out}", &out.path().display().to_string())).unwrap();
                let output = tidemill_tests::tidemill().unwrap().arg("run").arg(&script).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{place}: {errors}");
                if let Some(expected) = behind {
                    let shown = String::from_utf8_lossy(&output.stdout);
                    let sorted = |text: &str| {
                        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                        lines.sort();
                        lines
                    };
                    assert_eq!(sorted(&shown), sorted(expected), "{place}");
                }
            }
            "sql plan" => {
                let planned = Planner::new(&Registry, BTreeMap::new(), &|_| None).plan_script(&block.text, "job.sql");
                let planned = planned.unwrap_or_else(|error| panic!("{place}: {error}"));
                if let Some(expected) = behind {
                    assert_eq!(planned.warnings.join("\n").trim(), expected.trim(), "{place}");
                }
            }
            "sql refused" => {
                let planned = Planner::new(&Registry, BTreeMap::new(), &|_| None).plan_script(&block.text, "job.sql");
                let Err(error) = planned else { panic!("{place} is not refused") };
                assert_eq!(error.trim(), behind.unwrap_or_default().trim(), "{place}");
            }
            kind => {
                assert!(!kind.starts_with("sql"), "{place}: a script is marked run, plan or refused");
                continue;
            }
        }
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} scripts");
}
