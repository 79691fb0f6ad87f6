//! Lines with history and completion.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, Pair};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Helper};
use tidemill_expr::docs::function_docs;
use tidemill_planner::dialect::statement_texts;

use crate::error::CliError;

const PROMPT: &str = "Tidemill SQL> ";
const HISTORY_LINES: usize = 10_000;

const WORDS: &[&str] = &[
    "ADD",
    "ALTER",
    "AND",
    "ARRAY",
    "AS",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "BYTES",
    "CASE",
    "CAST",
    "CATALOG",
    "CATALOGS",
    "COLUMNS",
    "CREATE",
    "CUBE",
    "CUMULATE",
    "CURRENT",
    "DATABASE",
    "DATABASES",
    "DATE",
    "DECIMAL",
    "DESCRIBE",
    "DESCRIPTOR",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "ENFORCED",
    "EXCLUDING",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FLOAT",
    "FOR",
    "FROM",
    "FUNCTIONS",
    "GROUP",
    "GROUPING",
    "HAVING",
    "HOP",
    "IF",
    "IN",
    "INCLUDING",
    "INSERT",
    "INT",
    "INTERVAL",
    "INTO",
    "IS",
    "KEY",
    "LIKE",
    "MAP",
    "METADATA",
    "MODIFY",
    "NOT",
    "NULL",
    "OPTIONS",
    "OR",
    "OVERWRITING",
    "PARTITION",
    "PARTITIONED",
    "PRIMARY",
    "QUIT",
    "RENAME",
    "RESET",
    "ROLLUP",
    "ROW",
    "SELECT",
    "SESSION",
    "SET",
    "SETS",
    "SHOW",
    "SMALLINT",
    "SOURCE",
    "STATEMENT",
    "STRING",
    "TABLE",
    "TABLES",
    "TEMPORARY",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "TRUE",
    "TRY_CAST",
    "TUMBLE",
    "UNION",
    "USE",
    "VALUES",
    "VARCHAR",
    "VIEW",
    "VIEWS",
    "VIRTUAL",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WITH",
];

/// What was typed.
pub enum Input {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
    Failed(String),
}

/// Keeps what is to be told before the next prompt: nothing is written into what is being typed.
#[derive(Clone, Default)]
pub struct Printer(Arc<Mutex<Vec<String>>>);

impl Printer {
    pub fn print(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A line editor.
pub struct Editor {
    editor: rustyline::Editor<SqlHelper, FileHistory>,
    history: Option<PathBuf>,
    printer: Printer,
}

impl Editor {
    /// An editor that completes these names, words of SQL and functions.
    pub fn new(names: Arc<Mutex<Vec<String>>>) -> Result<Self, CliError> {
        let failed = |error: ReadlineError| CliError::Refused(format!("the line editor cannot start: {error}"));
        let mut editor = rustyline::Editor::<SqlHelper, FileHistory>::new().map_err(failed)?;
        editor.set_completion_type(CompletionType::List);
        editor.set_max_history_size(HISTORY_LINES).map_err(failed)?;
        editor.set_auto_add_history(false);
        let mut words: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
        words.extend(function_docs().into_iter().map(|doc| doc.name.to_owned()));
        words.retain(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        words.sort();
        words.dedup();
        editor.set_helper(Some(SqlHelper { words, names }));
        let history = history_file();
        if let Some(path) = &history {
            // There is none yet when the shell is used for the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history, printer: Printer::default() })
    }

    /// Tells things before the next prompt.
    pub fn printer(&self) -> Printer {
        self.printer.clone()
    }

    /// Reads statements up to a semicolon.
    pub fn read(mut self) -> (Self, Input) {
        self.printer.take().iter().for_each(|text| println!("{text}"));
        let input = match self.editor.readline(PROMPT) {
            Ok(text) => {
                if !text.trim().is_empty() {
                    let _ = self.editor.add_history_entry(&text);
                    if let Some(path) = &self.history {
                        let _ = self.editor.save_history(path);
                    }
                }
                Input::Text(text)
            }
            Err(ReadlineError::Interrupted) => Input::Interrupted,
            Err(ReadlineError::Eof) => Input::End,
            Err(error) => Input::Failed(error.to_string()),
        };
        (self, input)
    }
}

/// `$XDG_STATE_HOME/tidemill/history`, or below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    let directory = state.join("tidemill");
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

struct SqlHelper {
    words: Vec<String>,
    names: Arc<Mutex<Vec<String>>>,
}

impl SqlHelper {
    /// What may follow of the word that ends at `position`, and where it begins.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = &line[..position];
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let start = before.char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(position, |(at, _)| at);
        let word = &before[start..];
        if word.is_empty() {
            return (position, Vec::new());
        }
        let begins = |candidate: &str| {
            candidate.len() >= word.len()
                && candidate.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
        };
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<String> = names.iter().filter(|name| name.starts_with(word)).cloned().collect();
        // Words of SQL take the case that was begun.
        let lower = word.chars().all(|c| !c.is_uppercase());
        let words = self.words.iter().filter(|word| begins(word));
        found.extend(words.map(|word| if lower { word.to_lowercase() } else { word.clone() }));
        found.dedup();
        (start, found)
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.candidates(line, position);
        Ok((start, found.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect()))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for SqlHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Helper for SqlHelper {}

/// Whether all that was typed can be carried out: every statement has its semicolon.
fn is_complete(text: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty() || ["quit", "exit", "help", "clear"].iter().any(|word| trimmed.eq_ignore_ascii_case(word)) {
        return true;
    }
    match statement_texts(text) {
        Ok(statements) => statements.last().is_none_or(|last| last.ended),
        // A string or comment that goes on, unless it is another mistake.
        Err(error) => !error.message.to_lowercase().contains("untermin") && !error.message.contains("EOF"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        for text in [
            "",
            "quit",
            "SELECT 1;",
            "SELECT 1; -- no more",
            "SELECT ';';",
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END;",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT 1; SELECT 2",
            "SELECT ';",
            "SELECT /* ;",
            "SELECT `a;",
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn words_and_names_are_completed() {
        let names = Arc::new(Mutex::new(vec!["orders".to_owned(), "Orders".to_owned(), "price".to_owned()]));
        let helper = SqlHelper { words: vec!["ORDER".to_owned(), "OR".to_owned(), "SELECT".to_owned()], names };
        assert_eq!(helper.candidates("sel", 3), (0, vec!["select".to_owned()]));
        assert_eq!(helper.candidates("SELECT pr", 9), (7, vec!["price".to_owned()]));
        assert_eq!(helper.candidates("FROM ord", 8).1, ["orders", "order"]);
        assert_eq!(helper.candidates("FROM ", 5).1, Vec::<String>::new());
    }
}
