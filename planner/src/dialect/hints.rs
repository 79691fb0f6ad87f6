//! Hints: `/*+ OPTIONS('key' = 'value', ...) */` behind the name of a table.
//!
//! `sqlparser` has no place for them, so a hint travels as one more part of the name: `t` becomes
//! `t.<options>`, a quoted name that no script can write. [`hint_options`] opens it.

use sqlparser::ast::Ident;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};
use tidemill_common::suggest::nearest;

use super::FlinkDialect;
use super::tokens::lower_first;
use crate::ast::TableOption;
use crate::diagnostic::SqlError;

/// What a part of a name that holds options begins with. No identifier of a script has it.
const MARK: char = '\u{1}';
/// Hints of Flink that say how to join, keep state or look up.
const OTHER_HINTS: [&str; 7] =
    ["BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP", "LOOKUP", "STATE_TTL", "MULTI_JOIN"];

/// Appends the hint in a comment to the name that stands before it. `text` begins behind `/*`.
pub(super) fn append(kept: &mut Vec<TokenWithSpan>, text: &str, span: Span) -> Result<(), SqlError> {
    let tokens = tokens_of(text, span)?;
    let Some(first) = tokens.first() else { return Ok(()) };
    let name = match &first.token {
        Token::Word(word) => word.value.to_uppercase(),
        _ => return Err(SqlError::at(first.span, "expected the name of a hint, such as OPTIONS")),
    };
    if OTHER_HINTS.contains(&name.as_str()) {
        return Err(SqlError::at(first.span, format!("the hint {name} is not supported yet"))
            .with_hint("leave it out: it changes how a query runs, not its answer"));
    }
    if name != "OPTIONS" {
        let near = nearest(&name, std::iter::once("OPTIONS").chain(OTHER_HINTS));
        return Err(SqlError::at(first.span, format!("unknown hint '{name}'")).with_suggestion(near));
    }
    let behind_name = kept.last().is_some_and(|last| {
        matches!(&last.token, Token::Word(word)
            if word.quote_style.is_some() || !matches!(word.keyword, Keyword::SELECT | Keyword::FROM | Keyword::INTO))
    });
    if !behind_name {
        return Err(SqlError::at(span, "a hint OPTIONS(...) stands right behind the name of a table"));
    }
    let options = options(&tokens[1..], first.span)?;
    let parts: Vec<(&str, &str, [u64; 4], [u64; 4])> = options
        .iter()
        .map(|option| {
            (option.key.as_str(), option.value.as_str(), numbers(option.key_span), numbers(option.value_span))
        })
        .collect();
    let json = serde_json::to_string(&parts).map_err(|error| SqlError::at(span, error.to_string()))?;
    let word = Word { value: format!("{MARK}{json}"), quote_style: Some('`'), keyword: Keyword::NoKeyword };
    kept.push(TokenWithSpan::new(Token::Period, span));
    kept.push(TokenWithSpan::new(Token::Word(word), span));
    Ok(())
}

/// The options in a part of a name; `None` for a part that is a name.
pub fn hint_options(ident: &Ident) -> Option<Vec<TableOption>> {
    type Parts = Vec<(String, String, [u64; 4], [u64; 4])>;
    let parts: Parts = serde_json::from_str(ident.value.strip_prefix(MARK)?).ok()?;
    let option = |(key, value, key_span, value_span)| TableOption {
        key,
        value,
        key_span: span_of(key_span),
        value_span: span_of(value_span),
    };
    Some(parts.into_iter().map(option).collect())
}

/// Whether a token is a hint that [`append`] made.
pub(super) fn is_hint(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word) if word.value.starts_with(MARK))
}

/// `('key' = 'value', ...)`, and nothing behind it.
fn options(tokens: &[TokenWithSpan], place: Span) -> Result<Vec<TableOption>, SqlError> {
    const FORM: &str = "expected OPTIONS('key' = 'value', ...)";
    let mut rest = tokens.iter().peekable();
    let last = tokens.last().map_or(place, |token| token.span);
    let mut next = |wanted: &dyn Fn(&Token) -> bool| match rest.next() {
        Some(token) if wanted(&token.token) => Ok(token),
        Some(token) => Err(SqlError::at(token.span, format!("{FORM}, found '{}'", token.token))),
        None => Err(SqlError::at(last, FORM)),
    };
    let string = |token: &Token| matches!(token, Token::SingleQuotedString(_));
    next(&|token| *token == Token::LParen)?;
    let mut options: Vec<TableOption> = Vec::new();
    loop {
        let key = next(&string)?;
        next(&|token| *token == Token::Eq)?;
        let value = next(&string)?;
        if let (Token::SingleQuotedString(key_text), Token::SingleQuotedString(text)) = (&key.token, &value.token) {
            options.push(TableOption {
                key: key_text.clone(),
                value: text.clone(),
                key_span: key.span,
                value_span: value.span,
            });
        }
        let separator = next(&|token| matches!(token, Token::Comma | Token::RParen))?;
        if separator.token == Token::RParen {
            break;
        }
    }
    match rest.next() {
        None => Ok(options),
        Some(token) => Err(SqlError::at(token.span, "one hint OPTIONS(...) may stand here, and nothing else")),
    }
}

/// The tokens of a hint, with their places in the script.
fn tokens_of(text: &str, span: Span) -> Result<Vec<TokenWithSpan>, SqlError> {
    // Behind `/*+`.
    let start = span.start;
    let shift = |location: Location| match location.line {
        1 => Location::new(start.line, start.column + 2 + location.column),
        line => Location::new(start.line + line - 1, location.column),
    };
    let text = text.strip_prefix('+').unwrap_or(text);
    let tokens = Tokenizer::new(&FlinkDialect, text).tokenize_with_location().map_err(|error| {
        let place = shift(error.location);
        SqlError::at(Span::new(place, place), lower_first(&error.message))
    })?;
    Ok(tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
        .map(|token| TokenWithSpan::new(token.token, Span::new(shift(token.span.start), shift(token.span.end))))
        .collect())
}

/// Whether a comment is a hint.
pub(super) fn of_comment(token: &Token) -> Option<&str> {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => Some(text),
        _ => None,
    }
}

fn numbers(span: Span) -> [u64; 4] {
    [span.start.line, span.start.column, span.end.line, span.end.column]
}

fn span_of([line, column, end_line, end_column]: [u64; 4]) -> Span {
    Span::new(Location::new(line, column), Location::new(end_line, end_column))
}
