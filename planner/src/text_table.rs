//! Results of SHOW and DESCRIBE as Flink prints them.

/// A table with a frame; values stand to the right, as Flink's client has them.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "Empty set\n".to_owned();
    }
    let mut widths: Vec<usize> = header.iter().map(|title| width(title)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let frame: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, column) in cells.zip(&widths) {
            line += &format!("| {}{cell} ", " ".repeat(column - width(cell)));
        }
        line + "|\n"
    };
    let mut text = frame.clone();
    text += &line(&mut header.iter().copied());
    text += &frame;
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text += &frame;
    text += &format!("{} {} in set\n", rows.len(), if rows.len() == 1 { "row" } else { "rows" });
    text
}

/// Columns that a text takes in a terminal: wide characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}
