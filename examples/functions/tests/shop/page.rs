//! The scripts in `docs/functions.md` do what the page says. Its Rust is tried by the doctests of `tidemill`.
//!
//! A block "```sql run" runs to its end, and the block "```text" behind it is what it prints; a block "```sql
//! refused" is refused with the message in the block behind it.

use tidemill_tests::docs::blocks;

use crate::{directory, refused, rows};

#[test]
fn the_scripts_do_what_the_page_says() {
    let page = std::fs::read_to_string(directory().join("../../docs/functions.md")).unwrap();
    let blocks = blocks(&page);
    let mut checked = 0;
    for (index, block) in blocks.iter().enumerate() {
        let place = format!("docs/functions.md:{}", block.line);
        let behind = blocks.get(index + 1).filter(|next| next.kind == "text").map(|next| next.text.as_str());
        match block.kind.as_str() {
            "sql run" => {
                let mut expected: Vec<&str> = behind.unwrap().lines().collect();
                expected.sort_unstable();
                assert_eq!(rows(&block.text), expected, "{place}");
            }
            "sql refused" => {
                let error = refused(&block.text);
                let message = behind.unwrap().lines().next().unwrap();
                assert!(error.contains(message), "{place}: {error}");
            }
            kind => {
                assert!(!kind.starts_with("sql"), "{place}: a script is marked run or refused");
                continue;
            }
        }
        checked += 1;
    }
    assert!(checked >= 3, "{checked} scripts");
}
