//! A `sqlparser` parser over the tokens of one statement, with our errors.

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use tidemill_common::limits::SQL_DEPTH_MAX;
use tidemill_common::suggest::nearest;

use super::FlinkDialect;
use super::tokens::{check_chains, end_of, is_word, lower_first, rewrite};
use crate::ast::TableName;
use crate::diagnostic::{SqlError, byte_offset};

/// Reads one statement.
pub(super) struct StatementParser<'a> {
    parser: Parser<'static>,
    script: &'a str,
    /// Where the statement ends, for errors about what is missing there.
    end: Span,
}

impl<'a> StatementParser<'a> {
    pub(super) fn new(script: &'a str, tokens: &[TokenWithSpan]) -> Result<Self, SqlError> {
        check_chains(tokens)?;
        let parser =
            Parser::new(&FlinkDialect).with_recursion_limit(SQL_DEPTH_MAX).with_tokens_with_locations(rewrite(tokens)?);
        Ok(Self { parser, script, end: end_of(tokens) })
    }

    /// The parser itself, for reading types.
    pub(super) fn raw(&mut self) -> &mut Parser<'static> {
        &mut self.parser
    }

    /// Place of the next token, or of the statement's end.
    pub(super) fn span(&self) -> Span {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF { self.end } else { token.span }
    }

    pub(super) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether only one token is left.
    pub(super) fn is_last_word(&self) -> bool {
        self.parser.peek_nth_token_ref(1).token == Token::EOF
    }

    /// Whether the next tokens are these words; does not consume them.
    pub(super) fn peek_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| is_word(self.parser.peek_nth_token_ref(n), word))
    }

    /// Consumes these words if they come next.
    pub(super) fn accept_words(&mut self, words: &[&str]) -> bool {
        let found = self.peek_words(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    pub(super) fn expect_words(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.accept_words(words) { Ok(()) } else { Err(self.expected(&words.join(" "))) }
    }

    pub(super) fn accept(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn peek_is(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<Span, SqlError> {
        let span = self.span();
        if self.accept(token) { Ok(span) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    /// An error that says what was expected and what stands there.
    pub(super) fn expected(&self, what: &str) -> SqlError {
        let found = self.parser.peek_token_ref();
        let found_text = match &found.token {
            Token::EOF => "the end of the statement".to_owned(),
            token @ Token::SingleQuotedString(_) => token.to_string(),
            token => format!("'{token}'"),
        };
        SqlError::at(self.span(), format!("expected {what}, found {found_text}"))
    }

    /// The word that was read last, if it may be a slip of one of these.
    pub(super) fn slip_of<'w>(&self, words: &[&'w str]) -> Option<(String, &'w str)> {
        let Token::Word(word) = &self.parser.get_current_token().token else { return None };
        let near =
            nearest(&word.value, words.iter().copied()).filter(|near| !near.eq_ignore_ascii_case(&word.value))?;
        word.quote_style.is_none().then(|| (word.value.clone(), near))
    }

    pub(super) fn identifier(&mut self) -> Result<Ident, SqlError> {
        match &self.parser.peek_token_ref().token {
            Token::Word(_) => self.wrap(|parser| parser.parse_identifier()),
            _ => Err(self.expected("a name")),
        }
    }

    /// `(a, b, ...)`.
    pub(super) fn identifier_list(&mut self) -> Result<Vec<Ident>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.identifier()?];
        while self.accept(&Token::Comma) {
            names.push(self.identifier()?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// A string in single quotes, and its place.
    pub(super) fn string(&mut self, what: &str) -> Result<(String, Span), SqlError> {
        let span = self.span();
        match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(text) => {
                self.parser.advance_token();
                Ok((text, span))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// `[[catalog.]database.]name`.
    pub(super) fn table_name(&mut self) -> Result<TableName, SqlError> {
        if !matches!(self.parser.peek_token_ref().token, Token::Word(_)) {
            return Err(self.expected("a name"));
        }
        TableName::of(&self.wrap(|parser| parser.parse_object_name(false))?)
    }

    pub(super) fn expression(&mut self) -> Result<Expr, SqlError> {
        self.wrap(|parser| parser.parse_expr())
    }

    /// An expression, and how it is written.
    pub(super) fn expression_with_text(&mut self) -> Result<(Expr, String), SqlError> {
        let start = self.parser.index();
        let expression = self.expression()?;
        Ok((expression, self.expression_text(start)))
    }

    pub(super) fn query(&mut self) -> Result<Box<Query>, SqlError> {
        self.wrap(|parser| parser.parse_query())
    }

    /// A query, and how it is written.
    pub(super) fn query_with_text(&mut self) -> Result<(Box<Query>, String), SqlError> {
        let start = self.span();
        let query = self.query()?;
        Ok((query, self.text_from(start)))
    }

    /// An expression from a place on as Flink writes it: names in back quotes, functions in capitals.
    fn expression_text(&self, from: usize) -> String {
        let mut text = String::new();
        let tokens: Vec<&TokenWithSpan> =
            (from..=self.parser.get_current_index()).map(|at| self.parser.token_at(at)).collect();
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1).copied();
            let before = at.checked_sub(1).map(|before| tokens[before]);
            if before.is_some_and(|before| before.span.end != token.span.start) {
                text.push(' ');
            }
            text += &token_text(before, token, next);
        }
        text
    }

    /// The script from a place to the last token that was read.
    fn text_from(&self, start: Span) -> String {
        let end = self.parser.get_current_token().span.end;
        let range = byte_offset(self.script, start.start)..byte_offset(self.script, end);
        self.script.get(range).unwrap_or_default().to_owned()
    }

    /// Runs a part of `sqlparser` and gives its errors our form.
    pub(super) fn wrap<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        parse(&mut self.parser).map_err(|error| match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                let (message, location) = cut_location(&message);
                let message = message.replace("found: EOF", "found: the end of the statement");
                let span = location.map_or(self.end, |location| Span::new(location, location));
                expectation(&message).unwrap_or_else(|| SqlError::general(lower_first(&message))).or_at(span)
            }
            ParserError::RecursionLimitExceeded => {
                SqlError::at(self.span(), format!("nested more than {SQL_DEPTH_MAX} levels deep"))
                    .with_hint("break the query up with views")
            }
        })
    }
}

/// `Expected: x, found: y`, as `sqlparser` says it, in our words.
fn expectation(message: &str) -> Option<SqlError> {
    let (wanted, found) = message.strip_prefix("Expected: ")?.rsplit_once(", found: ")?;
    let quoted = |text: &str| {
        let plain = text.len() > 2 && (text.contains(' ') || text.starts_with('\''));
        if plain { text.to_owned() } else { format!("'{text}'") }
    };
    let wanted = if wanted.chars().any(char::is_lowercase) { wanted.to_owned() } else { quoted(wanted) };
    let error = SqlError::general(format!("expected {wanted}, found {}", quoted(found)));
    let clause = ["FROM", "WHERE", "GROUP", "HAVING"].iter().any(|word| found.eq_ignore_ascii_case(word));
    Some(if wanted == "an expression" && clause {
        error.with_hint("is there a comma too many before it?")
    } else {
        error
    })
}

/// Words of expressions that are no names.
const EXPRESSION_WORDS: [&str; 49] = [
    "AND",
    "ARRAY",
    "AS",
    "ASYMMETRIC",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BOTH",
    "BYTES",
    "CASE",
    "CHAR",
    "DATE",
    "DAY",
    "DECIMAL",
    "DISTINCT",
    "DOUBLE",
    "ELSE",
    "END",
    "ESCAPE",
    "FALSE",
    "FLOAT",
    "FOR",
    "FROM",
    "HOUR",
    "IN",
    "INT",
    "INTEGER",
    "INTERVAL",
    "IS",
    "LEADING",
    "LIKE",
    "MAP",
    "MINUTE",
    "MONTH",
    "NOT",
    "NULL",
    "OR",
    "ROW",
    "SECOND",
    "SMALLINT",
    "STRING",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "TRUE",
    "WHEN",
    "YEAR",
];

/// A token of an expression as Flink writes it.
fn token_text(before: Option<&TokenWithSpan>, token: &TokenWithSpan, next: Option<&TokenWithSpan>) -> String {
    let Token::Word(word) = &token.token else { return token.token.to_string() };
    let upper = word.value.to_uppercase();
    let is_call = next.is_some_and(|next| next.token == Token::LParen);
    let is_unit = before.is_some_and(|before| matches!(before.token, Token::SingleQuotedString(_)));
    // A name may be a word of SQL where the dot before it says so.
    let is_field = before.is_some_and(|before| before.token == Token::Period);
    if word.quote_style.is_none() && !is_field && (is_call || is_unit || EXPRESSION_WORDS.contains(&upper.as_str())) {
        return upper;
    }
    format!("`{}`", word.value.replace('`', "``"))
}

/// Splits `message at Line: 1, Column: 2` into its parts.
fn cut_location(message: &str) -> (&str, Option<Location>) {
    let parse = |place: &str| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
    };
    match message.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, parse(place).filter(|location| location.line > 0)),
        None => (message, None),
    }
}
