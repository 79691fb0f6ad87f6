//! Tokens of a script, cut into statements, and the rewriting that lets `sqlparser` read Flink's
//! table arguments.

use sqlparser::ast::{Expr, UnaryOperator};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use tidemill_common::limits::SQL_CHAIN_MAX;

use super::{FlinkDialect, hints, json_calls};
use crate::diagnostic::SqlError;

/// The call that stands for `TABLE t PARTITION BY a, b` in the syntax tree: `__PARTITION_BY(t, a, b)`.
pub const PARTITION_BY_CALL: &str = "__PARTITION_BY";

/// The tokens of a script, without white space and comments.
pub(super) fn tokenize(script: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = Tokenizer::new(&FlinkDialect, script)
        .tokenize_with_location()
        .map_err(|error| SqlError::at(Span::new(error.location, error.location), lower_first(&error.message)))?;
    let mut kept = Vec::with_capacity(tokens.len());
    for token in tokens {
        if let Some(text) = hints::of_comment(&token.token) {
            hints::append(&mut kept, text, token.span)?;
            continue;
        }
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::Word(word) if hints::is_hint(&token) => {
                return Err(SqlError::at(token.span, format!("{word}: a name cannot begin with a control character")));
            }
            Token::DoubleQuotedString(text) => {
                return Err(SqlError::at(
                    token.span,
                    format!("\"{text}\": double quotes have no meaning in Flink SQL"),
                )
                .with_hint(format!("write a name as `{text}`, a string as '{text}'")));
            }
            _ => kept.push(token),
        }
    }
    match kept.windows(2).find_map(unsupported) {
        Some(error) => Err(error),
        None => Ok(kept),
    }
}

/// Clauses of Flink that are not read yet, by how they begin.
fn unsupported(pair: &[TokenWithSpan]) -> Option<SqlError> {
    let [first, second] = pair else { return None };
    if is_word(first, "FOR") && is_word(second, "SYSTEM_TIME") {
        let message = "FOR SYSTEM_TIME AS OF is not supported yet: there are no lookup joins and no versioned tables";
        return Some(SqlError::at(first.span, message));
    }
    let matches = is_word(first, "MATCH_RECOGNIZE") && second.token == Token::LParen;
    matches.then(|| SqlError::at(first.span, "MATCH_RECOGNIZE is not supported yet"))
}

/// The statements of a script: slices of tokens between semicolons, with the place where each ends.
/// A statement set, whose statements have semicolons of their own, is one slice.
pub(super) fn split(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut in_set = false;
    for (index, token) in tokens.iter().enumerate() {
        if index == start || (index == start + 1 && is_word(&tokens[start], "EXPLAIN")) {
            in_set = starts_with_words(&tokens[index..], &["EXECUTE", "STATEMENT", "SET"])
                || starts_with_words(&tokens[index..], &["BEGIN", "STATEMENT", "SET"])
                || starts_with_words(&tokens[index..], &["STATEMENT", "SET"]);
        }
        let ends = token.token == Token::SemiColon
            && (!in_set
                || (index > start + 1
                    && is_word(&tokens[index - 1], "END")
                    && tokens[index - 2].token == Token::SemiColon));
        if ends {
            statements.push(&tokens[start..index]);
            start = index + 1;
            in_set = false;
        }
    }
    statements.push(&tokens[start..]);
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

/// Whether the tokens begin with these words.
pub(super) fn starts_with_words(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len() && words.iter().zip(tokens).all(|(word, token)| is_word(token, word))
}

/// Rewrites what `sqlparser` does not read:
/// - a table argument `TABLE t` to `t`, and `TABLE t PARTITION BY (a, b)` to `__PARTITION_BY(t, a, b)`;
/// - a map constructor `MAP['k', v]` to `MAP('k', v)`;
/// - `BETWEEN SYMMETRIC a AND b` to `BETWEEN ~a AND b`, which [`symmetric`] recognises, and `BETWEEN
///   ASYMMETRIC` to `BETWEEN`;
/// - the words inside calls of JSON functions ([`json_calls`](super::json_calls)) to arguments;
/// - `>>`, which closes two nested types, to `>` `>` (Flink has no shift operators).
pub(super) fn rewrite(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = &json_calls::rewrite(tokens)?[..];
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    let mut closing_brackets = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let next = tokens.get(at + 1);
        let after_opening =
            out.last().is_some_and(|last| matches!(last.token, Token::LParen | Token::Comma | Token::RArrow));
        if is_word(token, "TABLE")
            && after_opening
            && next.is_some_and(|next| matches!(&next.token, Token::Word(word) if word.keyword != Keyword::SELECT))
        {
            at = table_argument(tokens, at + 1, &mut out)?;
            continue;
        }
        if out.last().is_some_and(|last| is_word(last, "BETWEEN")) {
            if is_word(token, "SYMMETRIC") {
                out.push(TokenWithSpan::new(Token::Tilde, token.span));
                at += 1;
                continue;
            }
            if is_word(token, "ASYMMETRIC") {
                at += 1;
                continue;
            }
        }
        if is_word(token, "MAP")
            && next.is_some_and(|next| next.token == Token::LBracket)
            && let Some(close) = matching_bracket(tokens, at + 1)
        {
            out.push(token.clone());
            out.push(TokenWithSpan::new(Token::LParen, tokens[at + 1].span));
            closing_brackets.push(close);
            at += 2;
            continue;
        }
        // INTERVAL '1' WEEK has no second unit: a TO behind it belongs to FLOOR or CEIL.
        if is_word(token, "INTERVAL")
            && tokens.get(at + 2).is_some_and(|unit| is_word(unit, "WEEK") || is_word(unit, "QUARTER"))
            && tokens.get(at + 3).is_some_and(|to| is_word(to, "TO"))
        {
            out.push(TokenWithSpan::new(Token::LParen, token.span));
            out.extend_from_slice(&tokens[at..at + 3]);
            out.push(TokenWithSpan::new(Token::RParen, token.span));
            at += 3;
            continue;
        }
        if token.token == Token::ShiftRight {
            out.extend([TokenWithSpan::new(Token::Gt, token.span), TokenWithSpan::new(Token::Gt, token.span)]);
        } else if closing_brackets.last() == Some(&at) {
            closing_brackets.pop();
            out.push(TokenWithSpan::new(Token::RParen, token.span));
        } else {
            out.push(token.clone());
        }
        at += 1;
    }
    Ok(out)
}

/// The lower bound of `BETWEEN SYMMETRIC` without the mark that [`rewrite`] put before it; `None`
/// without the mark. The mark binds tighter than the operators behind it.
pub fn symmetric(low: &Expr) -> Option<Expr> {
    match low {
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => Some((**expr).clone()),
        Expr::BinaryOp { left, op, right } => {
            Some(Expr::BinaryOp { left: Box::new(symmetric(left)?), op: op.clone(), right: right.clone() })
        }
        _ => None,
    }
}

/// Reads `name[.name]* [PARTITION BY column | (columns)]` from `at`; returns the position behind it.
fn table_argument(tokens: &[TokenWithSpan], at: usize, out: &mut Vec<TokenWithSpan>) -> Result<usize, SqlError> {
    let mut end = at + 1;
    while tokens.get(end).is_some_and(|token| token.token == Token::Period) && end + 1 < tokens.len() {
        end += 2;
    }
    let name = &tokens[at..end];
    if !starts_with_words(&tokens[end..], &["PARTITION", "BY"]) {
        out.extend_from_slice(name);
        return Ok(end);
    }
    let by = tokens[end + 1].span;
    let mut next = end + 2;
    let parenthesised = tokens.get(next).is_some_and(|token| token.token == Token::LParen);
    let columns_end = if parenthesised {
        next += 1;
        tokens[next..].iter().position(|token| token.token == Token::RParen).map(|length| next + length)
    } else {
        tokens[next..]
            .iter()
            .position(|token| matches!(token.token, Token::Comma | Token::RParen))
            .map(|length| next + length)
    };
    let Some(columns_end) = columns_end.filter(|end| *end > next) else {
        return Err(SqlError::at(by, "expected columns after PARTITION BY"));
    };
    out.push(TokenWithSpan::new(Token::make_word(PARTITION_BY_CALL, None), by));
    out.push(TokenWithSpan::new(Token::LParen, by));
    out.extend_from_slice(name);
    out.push(TokenWithSpan::new(Token::Comma, by));
    out.extend_from_slice(&tokens[next..columns_end]);
    out.push(TokenWithSpan::new(Token::RParen, by));
    Ok(columns_end + usize::from(parenthesised))
}

/// Refuses chains of operators (`a + b + c`, `... UNION ALL ...`) so long that the syntax tree, which
/// nests them, could not be walked.
pub(super) fn check_chains(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    /// What was seen at one level of parentheses; looser operators end chains of tighter ones.
    #[derive(Default)]
    struct Level {
        operators: usize,
        conditions: usize,
        set_operations: usize,
    }
    let mut level = Level::default();
    let mut outer = Vec::new();
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                // Subscripts follow each other: a[1][2][3].
                level.operators += usize::from(token.token == Token::LBracket);
                outer.push(std::mem::take(&mut level));
            }
            Token::RParen | Token::RBracket => level = outer.pop().unwrap_or_default(),
            Token::Comma | Token::SemiColon => (level.operators, level.conditions) = (0, 0),
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                    level.set_operations += 1;
                    (level.operators, level.conditions) = (0, 0);
                }
                Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN | Keyword::THEN | Keyword::ELSE => {
                    (level.operators, level.conditions) = (0, 0);
                }
                Keyword::AND | Keyword::OR => {
                    level.conditions += 1;
                    level.operators = 0;
                }
                Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::BETWEEN
                | Keyword::SIMILAR
                | Keyword::OVERLAPS
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::ARRAY => level.operators += 1,
                _ => {}
            },
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period
            | Token::Colon
            | Token::RArrow => {}
            _ => level.operators += 1,
        }
        if level.operators.max(level.conditions).max(level.set_operations) > SQL_CHAIN_MAX {
            return Err(SqlError::at(token.span, format!("a chain of more than {SQL_CHAIN_MAX} operators"))
                .with_hint("put parts of it into views"));
        }
    }
    Ok(())
}

fn matching_bracket(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LBracket => depth += 1,
            Token::RBracket => {
                depth -= 1;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// The place just behind a token.
pub(super) fn end_of(tokens: &[TokenWithSpan]) -> Span {
    let end = tokens.last().map_or(Location::new(1, 1), |token| token.span.end);
    Span::new(end, end)
}

/// A message that begins in lower case, as ours do, unless it begins with a word of SQL.
pub(super) fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match chars.next() {
        Some(_) if chars.clone().next().is_some_and(char::is_uppercase) => message.to_owned(),
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
