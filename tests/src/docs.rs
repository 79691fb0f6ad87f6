//! Pages of `docs/` whose blocks of code are checked.

/// A block of code in a page.
pub struct Block {
    /// What stands behind the fence, such as `sql run`.
    pub kind: String,
    pub text: String,
    /// Of the fence.
    pub line: usize,
}

/// The blocks of code in a page.
///
/// # Panics
/// If one is not closed.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block { kind: kind.trim().to_owned(), text: String::new(), line: number + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}
