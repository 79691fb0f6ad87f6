//! A `sqlparser` parser over the tokens of one statement, with our errors.

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use tidemill_common::limits::SQL_DEPTH_MAX;

use super::FlinkDialect;
use super::tokens::{check_chains, end_of, is_word, lower_first, rewrite};
use crate::diagnostic::SqlError;

/// Reads one statement.
pub(super) struct StatementParser {
    parser: Parser<'static>,
    /// Where the statement ends, for errors about what is missing there.
    end: Span,
}

impl StatementParser {
    pub(super) fn new(tokens: &[TokenWithSpan]) -> Result<Self, SqlError> {
        check_chains(tokens)?;
        let parser =
            Parser::new(&FlinkDialect).with_recursion_limit(SQL_DEPTH_MAX).with_tokens_with_locations(rewrite(tokens)?);
        Ok(Self { parser, end: end_of(tokens) })
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
            token => format!("'{token}'"),
        };
        SqlError::at(self.span(), format!("expected {what}, found {found_text}"))
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

    pub(super) fn expression(&mut self) -> Result<Expr, SqlError> {
        self.wrap(|parser| parser.parse_expr())
    }

    pub(super) fn query(&mut self) -> Result<Box<Query>, SqlError> {
        self.wrap(|parser| parser.parse_query())
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
                SqlError::at(span, lower_first(&message).replacen(": ", " ", 1).replace("found: ", "found "))
            }
            ParserError::RecursionLimitExceeded => {
                SqlError::at(self.span(), format!("nested more than {SQL_DEPTH_MAX} levels deep"))
                    .with_hint("break the query up with views")
            }
        })
    }
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
