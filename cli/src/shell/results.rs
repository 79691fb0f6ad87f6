//! The rows of a SELECT, as they come or as they are now.

use std::io::Write;

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultMode {
    /// In place: updates change the rows that are shown.
    Table,
    /// Every change as it comes.
    Changelog,
    /// The same; Flink's name for what is printed without a screen of its own.
    Tableau,
    /// Rows as they come, where all of them are final: without their kinds.
    Final,
}

impl ResultMode {
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_lowercase().as_str() {
            "table" => Some(Self::Table),
            "changelog" => Some(Self::Changelog),
            "tableau" => Some(Self::Tableau),
            _ => None,
        }
    }
}

/// Rows that are looked at before the widths of the columns are chosen.
const FIRST_ROWS: usize = 100;
/// Characters of a value that are shown.
const CELL_CHARS_MAX: usize = 60;
/// Lines of a screen whose height is not known.
const SCREEN_LINES: usize = 24;

/// A row: its kind and its values as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    kind: String,
    cells: Vec<String>,
}

/// Shows the rows of one SELECT.
pub struct Results {
    mode: ResultMode,
    columns: Vec<String>,
    /// Rows that are shown in place, or that wait for the widths to be chosen.
    rows: Vec<Row>,
    rows_max: usize,
    /// Chosen when the first rows are printed.
    widths: Vec<usize>,
    /// Whether a screen shows the rows in place while they come.
    live: bool,
    drawn_lines: usize,
    changed: bool,
    count: u64,
    /// Rows that no longer fit a table in place.
    dropped: u64,
}

impl Results {
    pub fn new(mode: ResultMode, columns: Vec<String>, rows_max: usize, live: bool) -> Self {
        Self {
            mode,
            columns,
            rows: Vec::new(),
            rows_max,
            widths: Vec::new(),
            live,
            drawn_lines: 0,
            changed: false,
            count: 0,
            dropped: 0,
        }
    }

    /// Changes that have come.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes rows, each a JSON array of its kind and its values.
    pub fn take(&mut self, lines: &[String]) -> std::io::Result<()> {
        for line in lines {
            let row = Row::parse(line);
            self.count += 1;
            self.changed = true;
            if self.mode == ResultMode::Table {
                self.apply(row);
            } else {
                self.rows.push(row);
            }
        }
        if self.mode != ResultMode::Table && self.rows.len() >= FIRST_ROWS { self.print() } else { Ok(()) }
    }

    /// Shows what has changed. Called some times a second.
    pub fn draw(&mut self) -> std::io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        match self.mode {
            ResultMode::Table if self.live => self.redraw(),
            ResultMode::Table => Ok(()),
            _ => self.print(),
        }
    }

    /// Shows the last rows and the end of the table.
    pub fn finish(&mut self) -> std::io::Result<()> {
        if self.mode != ResultMode::Table {
            self.print()?;
            return write(&self.frame());
        }
        self.erase()?;
        self.choose_widths();
        let mut text = self.head();
        for row in &self.rows {
            text += &self.line(row);
        }
        text += &self.frame();
        if self.dropped > 0 {
            text += &format!("the first {} rows are not shown\n", self.dropped);
        }
        write(&text)
    }

    /// Changes the table by a row.
    fn apply(&mut self, row: Row) {
        match row.kind.as_str() {
            "-U" | "-D" => {
                if let Some(at) = self.rows.iter().rposition(|known| known.cells == row.cells) {
                    self.rows.remove(at);
                }
            }
            _ => self.rows.push(row),
        }
        if self.rows.len() > self.rows_max {
            self.rows.remove(0);
            self.dropped += 1;
        }
    }

    /// Prints the rows that wait.
    fn print(&mut self) -> std::io::Result<()> {
        let mut text = String::new();
        if self.widths.is_empty() {
            self.choose_widths();
            text = self.head();
        }
        for row in std::mem::take(&mut self.rows) {
            text += &self.line(&row);
        }
        write(&text)
    }

    /// Draws the newest rows over what was drawn before.
    fn redraw(&mut self) -> std::io::Result<()> {
        self.erase()?;
        self.choose_widths();
        let height = usize::from(console::Term::stdout().size_checked().map_or(SCREEN_LINES as u16, |size| size.0));
        let shown = self.rows.len().min(height.saturating_sub(7).max(1));
        let mut text = self.head();
        for row in &self.rows[self.rows.len() - shown..] {
            text += &self.line(row);
        }
        text += &self.frame();
        text += &format!("{} rows so far; Ctrl-C ends the query\n", self.rows.len() as u64 + self.dropped);
        self.drawn_lines = text.lines().count();
        write(&text)
    }

    fn erase(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.drawn_lines);
        if lines == 0 { Ok(()) } else { write(&format!("\x1b[{lines}A\x1b[J")) }
    }

    fn has_kind(&self) -> bool {
        !matches!(self.mode, ResultMode::Table | ResultMode::Final)
    }

    fn choose_widths(&mut self) {
        let mut widths: Vec<usize> = self.columns.iter().map(|name| width(name)).collect();
        for row in &self.rows {
            for (cell, column) in row.cells.iter().zip(&mut widths) {
                *column = (*column).max(width(cell));
            }
        }
        self.widths = widths;
    }

    fn frame(&self) -> String {
        let kind = if self.has_kind() { "+----" } else { "" };
        let columns: String = self.widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        format!("{kind}{columns}+\n")
    }

    fn head(&self) -> String {
        let mut text = self.frame();
        if self.has_kind() {
            text += "| op ";
        }
        for (name, column) in self.columns.iter().zip(&self.widths) {
            text += &format!("| {}{name} ", " ".repeat(column.saturating_sub(width(name))));
        }
        text + "|\n" + &self.frame()
    }

    fn line(&self, row: &Row) -> String {
        let mut text = if self.has_kind() { format!("| {} ", row.kind) } else { String::new() };
        for (cell, column) in row.cells.iter().zip(&self.widths) {
            text += &format!("| {}{cell} ", " ".repeat(column.saturating_sub(width(cell))));
        }
        text + "|\n"
    }
}

impl Row {
    fn parse(line: &str) -> Self {
        let values: Vec<Option<String>> = serde_json::from_str(line).unwrap_or_default();
        let mut values = values.into_iter();
        let kind = values.next().flatten().unwrap_or_else(|| "+I".to_owned());
        let cell = |value: Option<String>| shown(&value.unwrap_or_else(|| "NULL".to_owned()));
        Self { kind, cells: values.map(cell).collect() }
    }
}

/// A value on one line that is not too long.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(CELL_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Columns that a text takes on a screen.
fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(mode: ResultMode) -> Results {
        Results::new(mode, vec!["name".to_owned(), "n".to_owned()], 3, false)
    }

    fn row(kind: &str, name: &str, n: &str) -> Row {
        Row::parse(&format!("[\"{kind}\",\"{name}\",{n}]"))
    }

    #[test]
    fn a_table_in_place_follows_the_changes() {
        let mut table = results(ResultMode::Table);
        for (kind, name, n) in [("+I", "a", "\"1\""), ("+I", "b", "null"), ("-U", "a", "\"1\""), ("+U", "a", "\"2\"")] {
            table.apply(row(kind, name, n));
        }
        let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.cells.clone()).collect();
        assert_eq!(rows, [["b", "NULL"], ["a", "2"]]);
        table.apply(row("+I", "c", "null"));
        table.apply(row("+I", "d", "null"));
        assert_eq!((table.rows.len(), table.dropped), (3, 1));
    }

    #[test]
    fn columns_are_as_wide_as_their_values() {
        let mut table = results(ResultMode::Changelog);
        table.rows = vec![row("+I", "日本", "\"1\"")];
        table.choose_widths();
        assert_eq!(table.head(), "+----+------+---+\n| op | name | n |\n+----+------+---+\n");
        assert_eq!(table.line(&table.rows[0]), "| +I | 日本 | 1 |\n");
    }
}
