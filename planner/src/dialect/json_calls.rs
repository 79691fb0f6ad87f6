//! The words inside calls of JSON functions, which become plain arguments that `sqlparser` reads:
//!
//! - `JSON_OBJECT(KEY 'k' VALUE v ABSENT ON NULL)` to `JSON_OBJECT('ABSENT', 'k', v)`;
//! - `JSON_ARRAY(a, b NULL ON NULL)` to `JSON_ARRAY('NULL', a, b)`, likewise the two aggregates;
//! - `JSON_VALUE(j, p RETURNING INT DEFAULT 1 ON EMPTY)` to `JSON_VALUE(j, p, CAST(NULL AS INT), 'DEFAULT', 1,
//!   'NULL', NULL)`;
//! - `JSON_QUERY(j, p WITH CONDITIONAL WRAPPER)` to `JSON_QUERY(j, p, CAST(NULL AS STRING), 'CONDITIONAL',
//!   'NULL', 'NULL')`;
//! - `JSON_EXISTS(j, p TRUE ON ERROR)` to `JSON_EXISTS(j, p, 'TRUE')`.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use tidemill_common::limits::SQL_DEPTH_MAX;

use super::tokens::{is_word, starts_with_words};
use crate::diagnostic::SqlError;

type Tokens = Vec<TokenWithSpan>;

const NAMES: [&str; 7] =
    ["JSON_OBJECT", "JSON_ARRAY", "JSON_VALUE", "JSON_QUERY", "JSON_EXISTS", "JSON_OBJECTAGG", "JSON_ARRAYAGG"];

/// Rewrites every call of a JSON function.
pub(super) fn rewrite(tokens: &[TokenWithSpan]) -> Result<Tokens, SqlError> {
    if !tokens.iter().any(is_json_name) {
        return Ok(tokens.to_vec());
    }
    rewrite_inside(tokens, 0)
}

fn is_json_name(token: &TokenWithSpan) -> bool {
    NAMES.iter().any(|name| is_word(token, name))
}

fn rewrite_inside(tokens: &[TokenWithSpan], depth: usize) -> Result<Tokens, SqlError> {
    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let opens = tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen);
        let close = if opens && is_json_name(token) { matching(tokens, at + 1) } else { None };
        let Some(close) = close else {
            out.push(token.clone());
            at += 1;
            continue;
        };
        if depth > SQL_DEPTH_MAX {
            return Err(SqlError::at(token.span, format!("nested more than {SQL_DEPTH_MAX} levels deep")));
        }
        let inside = rewrite_inside(&tokens[at + 2..close], depth + 1)?;
        let mut call = Call { span: token.span, inside, out: Vec::new() };
        call.rewrite(&token.token.to_string().to_uppercase())?;
        out.extend_from_slice(&tokens[at..at + 2]);
        out.extend(call.out);
        out.push(tokens[close].clone());
        at = close + 1;
    }
    Ok(out)
}

/// The parenthesis that closes the one at `open`.
fn matching(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

struct Call {
    span: Span,
    inside: Tokens,
    out: Tokens,
}

impl Call {
    fn rewrite(&mut self, name: &str) -> Result<(), SqlError> {
        match name {
            "JSON_OBJECT" | "JSON_OBJECTAGG" => self.object(name),
            "JSON_ARRAY" | "JSON_ARRAYAGG" => {
                let option = self.on_null().unwrap_or("ABSENT");
                self.text(option);
                if !self.inside.is_empty() {
                    self.comma();
                    self.out.append(&mut self.inside);
                }
                Ok(())
            }
            "JSON_VALUE" => self.value(),
            "JSON_QUERY" => self.query(),
            _ => self.exists(),
        }
    }

    fn push(&mut self, token: Token) {
        self.out.push(TokenWithSpan::new(token, self.span));
    }

    fn text(&mut self, text: &str) {
        self.push(Token::SingleQuotedString(text.to_owned()));
    }

    fn word(&mut self, word: &str) {
        self.push(Token::make_word(word, None));
    }

    fn comma(&mut self) {
        self.push(Token::Comma);
    }

    /// Cuts `NULL ON NULL` or `ABSENT ON NULL` off the end.
    fn on_null(&mut self) -> Option<&'static str> {
        let start = self.inside.len().checked_sub(3)?;
        let option = ["NULL", "ABSENT"]
            .into_iter()
            .find(|option| starts_with_words(&self.inside[start..], &[option, "ON", "NULL"]))?;
        self.inside.truncate(start);
        Some(option)
    }

    /// Positions outside of parentheses.
    fn outside(&self) -> Vec<usize> {
        let mut depth = 0usize;
        let mut found = Vec::new();
        for (index, token) in self.inside.iter().enumerate() {
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ if depth == 0 => found.push(index),
                _ => {}
            }
        }
        found
    }

    fn object(&mut self, name: &str) -> Result<(), SqlError> {
        let option = self.on_null().unwrap_or("NULL");
        self.text(option);
        if self.inside.is_empty() {
            return Ok(());
        }
        let outside = self.outside();
        let commas: Vec<usize> =
            outside.iter().copied().filter(|index| self.inside[*index].token == Token::Comma).collect();
        let mut from = 0;
        for end in commas.into_iter().chain([self.inside.len()]) {
            let mut value = outside.iter().copied().filter(|at| (from..end).contains(at));
            let Some(value) = value.find(|at| *at > from && is_word(&self.inside[*at], "VALUE")) else {
                let span = self.inside.get(from).map_or(self.span, |token| token.span);
                return Err(SqlError::at(span, format!("{name} takes members as KEY 'name' VALUE value")));
            };
            let key = from + usize::from(is_word(&self.inside[from], "KEY") && value > from + 1);
            self.comma();
            self.out.extend_from_slice(&self.inside[key..value]);
            self.comma();
            self.out.extend_from_slice(&self.inside[value + 1..end]);
            from = end + 1;
        }
        Ok(())
    }

    /// Takes what stands before the first position that `begins` an option, and gives the options.
    fn options(&mut self, begins: impl Fn(&[TokenWithSpan]) -> bool) -> Tokens {
        let start = self.outside().into_iter().find(|at| *at > 0 && begins(&self.inside[*at..]));
        match start {
            Some(start) => {
                self.out.extend_from_slice(&self.inside[..start]);
                self.inside.split_off(start)
            }
            None => {
                self.out.append(&mut self.inside);
                Vec::new()
            }
        }
    }

    fn misplaced(&self, rest: &[TokenWithSpan]) -> SqlError {
        match rest.first() {
            Some(token) => SqlError::at(token.span, format!("'{}' is no option of this JSON function", token.token)),
            None => SqlError::at(self.span, "an option of this JSON function ends too early"),
        }
    }

    /// `RETURNING type`, before any other option; gives what is behind it.
    fn returning<'t>(
        &mut self,
        rest: &'t [TokenWithSpan],
        ends: impl Fn(&[TokenWithSpan]) -> bool,
    ) -> &'t [TokenWithSpan] {
        self.comma();
        self.word("CAST");
        self.push(Token::LParen);
        self.word("NULL");
        self.word("AS");
        let mut rest = rest;
        if rest.first().is_some_and(|token| is_word(token, "RETURNING")) {
            let end = (2..rest.len()).find(|at| ends(&rest[*at..])).unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[1..end]);
            rest = &rest[end..];
        } else {
            self.word("STRING");
        }
        self.push(Token::RParen);
        rest
    }

    fn value(&mut self) -> Result<(), SqlError> {
        let options = self.options(begins_value_option);
        if options.is_empty() {
            return Ok(());
        }
        let mut rest = self.returning(&options, begins_value_option);
        let mut behaviours: [Option<(&str, Tokens)>; 2] = [None, None];
        while !rest.is_empty() {
            let (behaviour, length) = if is_word(&rest[0], "DEFAULT") {
                let end = (2..rest.len()).find(|at| ends_behaviour(&rest[*at..]));
                let end = end.ok_or_else(|| self.misplaced(rest))?;
                (("DEFAULT", rest[1..end].to_vec()), end)
            } else if is_word(&rest[0], "NULL") {
                (("NULL", Vec::new()), 1)
            } else if is_word(&rest[0], "ERROR") {
                (("ERROR", Vec::new()), 1)
            } else {
                return Err(self.misplaced(rest));
            };
            let side = side(&rest[length..]).ok_or_else(|| self.misplaced(rest))?;
            if behaviours[side].replace(behaviour).is_some() {
                return Err(self.misplaced(rest));
            }
            rest = &rest[length + 2..];
        }
        for behaviour in behaviours {
            let (name, default) = behaviour.unwrap_or(("NULL", Vec::new()));
            self.comma();
            self.text(name);
            self.comma();
            if default.is_empty() {
                self.word("NULL");
            } else {
                self.out.extend(default);
            }
        }
        Ok(())
    }

    fn query(&mut self) -> Result<(), SqlError> {
        let options = self.options(begins_query_option);
        if options.is_empty() {
            return Ok(());
        }
        let mut rest = self.returning(&options, begins_query_option);
        let mut wrapper = "WITHOUT";
        let wrappers: [(&[&str], &str); 4] = [
            (&["WITHOUT"], "WITHOUT"),
            (&["WITH", "CONDITIONAL"], "CONDITIONAL"),
            (&["WITH", "UNCONDITIONAL"], "UNCONDITIONAL"),
            (&["WITH"], "UNCONDITIONAL"),
        ];
        if let Some((words, found)) = wrappers.into_iter().find(|(words, _)| starts_with_words(rest, words)) {
            wrapper = found;
            rest = &rest[words.len()..];
            rest = &rest[usize::from(rest.first().is_some_and(|token| is_word(token, "ARRAY")))..];
            if !rest.first().is_some_and(|token| is_word(token, "WRAPPER")) {
                return Err(self.misplaced(rest));
            }
            rest = &rest[1..];
        }
        self.comma();
        self.text(wrapper);
        let mut behaviours = [None, None];
        while !rest.is_empty() {
            let known: [(&[&str], &str); 5] = [
                (&["NULL"], "NULL"),
                (&["ERROR"], "ERROR"),
                (&["EMPTY", "ARRAY"], "EMPTY ARRAY"),
                (&["EMPTY", "OBJECT"], "EMPTY OBJECT"),
                (&["EMPTY"], "EMPTY ARRAY"),
            ];
            let found = known.into_iter().find(|(words, _)| starts_with_words(rest, words));
            let (words, name) = found.ok_or_else(|| self.misplaced(rest))?;
            let side = side(&rest[words.len()..]).ok_or_else(|| self.misplaced(rest))?;
            if behaviours[side].replace(name).is_some() {
                return Err(self.misplaced(rest));
            }
            rest = &rest[words.len() + 2..];
        }
        for behaviour in behaviours {
            self.comma();
            self.text(behaviour.unwrap_or("NULL"));
        }
        Ok(())
    }

    fn exists(&mut self) -> Result<(), SqlError> {
        const BEHAVIOURS: [&str; 4] = ["TRUE", "FALSE", "UNKNOWN", "ERROR"];
        let find = |rest: &[TokenWithSpan]| {
            BEHAVIOURS.into_iter().find(|name| starts_with_words(rest, &[name, "ON", "ERROR"]))
        };
        let options = self.options(|rest| find(rest).is_some());
        if let Some(name) = find(&options) {
            if options.len() > 3 {
                return Err(self.misplaced(&options[3..]));
            }
            self.comma();
            self.text(name);
        }
        Ok(())
    }
}

/// 0 for `ON EMPTY`, 1 for `ON ERROR`.
fn side(tokens: &[TokenWithSpan]) -> Option<usize> {
    ["EMPTY", "ERROR"].iter().position(|side| starts_with_words(tokens, &["ON", side]))
}

fn ends_behaviour(tokens: &[TokenWithSpan]) -> bool {
    side(tokens).is_some()
}

fn begins_value_option(tokens: &[TokenWithSpan]) -> bool {
    let first = |word: &str| is_word(&tokens[0], word);
    first("RETURNING") || first("DEFAULT") || ((first("NULL") || first("ERROR")) && ends_behaviour(&tokens[1..]))
}

fn begins_query_option(tokens: &[TokenWithSpan]) -> bool {
    let first = |word: &str| is_word(&tokens[0], word);
    first("RETURNING")
        || first("WITHOUT")
        || first("WITH")
        || ((first("NULL") || first("ERROR") || first("EMPTY")) && ends_behaviour(&tokens[1..]))
        || (first("EMPTY") && tokens.len() > 2 && ends_behaviour(&tokens[2..]))
}
