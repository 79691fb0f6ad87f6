//! Errors of a script, shown with line, column and a caret.

use std::fmt::Write as _;

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::{Location, Span};

/// Characters of a line that an error shows.
const LINE_CHARS_MAX: usize = 240;

/// Something wrong in a script.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// What was written, what was expected. Lower case, no final stop.
    pub message: String,
    /// Where, if it can be said. Lines and columns count from 1, columns in characters.
    pub span: Option<Span>,
    /// What to do.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error at a place.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        let span = (span.start.line > 0).then_some(span);
        Self { message: message.into(), span, hint: None }
    }

    /// An error at a node of the syntax tree.
    pub fn on(node: &impl Spanned, message: impl Into<String>) -> Self {
        Self::at(node.span(), message)
    }

    /// An error about the script as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None }
    }

    /// This error with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// This error with the advice "did you mean", if there is a near name.
    pub fn with_suggestion(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(name) => self.with_hint(format!("did you mean '{name}'?")),
            None => self,
        }
    }

    /// This error at `span`, unless it already has a place.
    pub fn or_at(mut self, span: Span) -> Self {
        if self.span.is_none() && span.start.line > 0 {
            self.span = Some(span);
        }
        self
    }

    /// The error as people read it: message, `file:line:column`, the line, a caret, the hint.
    pub fn render(&self, script: &str, file: &str) -> String {
        let mut text = format!("error: {}\n", self.message);
        if let Some(span) = self.span {
            let Location { line, column } = span.start;
            let source = script.lines().nth(line as usize - 1).unwrap_or("");
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            // Of a long line only the part around the place is shown.
            let place = (column as usize).saturating_sub(1);
            let length = source.chars().count();
            let start = if length > LINE_CHARS_MAX { place.saturating_sub(LINE_CHARS_MAX / 4) } else { 0 };
            let source: String = source.chars().skip(start).take(LINE_CHARS_MAX).collect();
            let indent: String =
                source.chars().take(place - start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let rest = source.chars().count().saturating_sub(place - start).max(1);
            let width = if span.end.line == line { span.end.column.saturating_sub(column) as usize } else { rest };
            let carets = "^".repeat(width.clamp(1, rest));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{margin}--> {file}:{line}:{column}\n{margin} |\n{number} | {source}\n{margin} | {indent}{carets}\n"
            );
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

/// The byte offset of a location in a script.
pub(crate) fn byte_offset(script: &str, location: Location) -> usize {
    let mut offset = 0;
    for (index, line) in script.split_inclusive('\n').enumerate() {
        if index + 1 == location.line as usize {
            let column = (location.column as usize).saturating_sub(1);
            return offset + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        }
        offset += line.len();
    }
    script.len()
}
