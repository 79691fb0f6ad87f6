//! `LIKE`: patterns become the simplest search that answers them.

use arrow::array::ArrayRef;
use memchr::memmem::Finder;

use crate::bind::literal_text;
use crate::eval::value::{Value, booleans_by_row};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Frame, Kernel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `_`
    One,
    /// `%`
    Many,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) enum Matcher {
    All,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(Box<Finder<'static>>),
    General(Vec<Token>),
}

impl Matcher {
    /// Compiles a pattern; `escape` takes the meaning from the character behind it.
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            tokens.push(if Some(c) == escape {
                match chars.next() {
                    Some(next) if next == '%' || next == '_' || Some(next) == escape => Token::Char(next),
                    _ => {
                        return Err(format!(
                            "in the pattern '{pattern}' of LIKE the escape character '{c}' stands before neither %, _ nor itself"
                        ));
                    }
                }
            } else {
                match c {
                    '%' if tokens.last() == Some(&Token::Many) => continue,
                    '%' => Token::Many,
                    '_' => Token::One,
                    c => Token::Char(c),
                }
            });
        }
        let literal = |tokens: &[Token]| -> Option<String> {
            tokens.iter().map(|token| if let Token::Char(c) = token { Some(*c) } else { None }).collect()
        };
        let exact = literal(&tokens);
        Ok(match (exact, tokens.as_slice()) {
            (Some(text), _) => Self::Exact(text),
            (_, [Token::Many]) => Self::All,
            (_, [Token::Many, middle @ .., Token::Many]) if literal(middle).is_some() => {
                Self::Contains(Box::new(Finder::new(&literal(middle).unwrap_or_default()).into_owned()))
            }
            (_, [Token::Many, rest @ ..]) if literal(rest).is_some() => Self::Suffix(literal(rest).unwrap_or_default()),
            (_, [rest @ .., Token::Many]) if literal(rest).is_some() => Self::Prefix(literal(rest).unwrap_or_default()),
            _ => Self::General(tokens),
        })
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Self::General(tokens) => matches_general(tokens, text),
        }
    }
}

/// Greedy with one point to go back to: the last `%`.
fn matches_general(tokens: &[Token], text: &str) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let next = text[at..].chars().next();
        match (tokens.get(token), next) {
            (Some(Token::Many), _) => {
                back = Some((token + 1, at));
                token += 1;
                continue;
            }
            (Some(Token::One), Some(c)) => {
                token += 1;
                at += c.len_utf8();
                continue;
            }
            (Some(Token::Char(expected)), Some(c)) if *expected == c => {
                token += 1;
                at += c.len_utf8();
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match back {
            Some((retry, from)) => match text[from..].chars().next() {
                Some(skipped) => {
                    token = retry;
                    at = from + skipped.len_utf8();
                    back = Some((retry, at));
                }
                None => return false,
            },
            None => return false,
        }
    }
}

fn escape_of(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(format!("the escape of LIKE is one character, not '{text}'")),
    }
}

pub(super) fn compile(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    let escape = site.args.get(2).map(|escape| literal_text(escape).map(str::to_owned));
    let escape = match escape {
        None => None,
        Some(Some(text)) => Some(escape_of(&text).map_err(CompileError::invalid)?),
        Some(None) => return Err(CompileError::invalid("the escape of LIKE must be a literal")),
    };
    if let Some(pattern) = literal_text(&site.args[1]) {
        let matcher = Matcher::new(pattern, escape).map_err(CompileError::invalid)?;
        return Ok(Box::new(move |args, frame| {
            let texts = args[0].strings()?;
            Ok(booleans_by_row(frame.rows, |row| Some(matcher.matches(texts.get(row)?))))
        }));
    }
    Ok(Box::new(move |args, frame| by_row(args, escape, frame)))
}

fn by_row(args: &[Value], escape: Option<char>, frame: &Frame<'_>) -> Result<ArrayRef, EvalError> {
    let (texts, patterns) = (args[0].strings()?, args[1].strings()?);
    let mut last: Option<(&str, Matcher)> = None;
    let mut failed = None;
    let array = booleans_by_row(frame.rows, |row| {
        let (text, pattern) = (texts.get(row)?, patterns.get(row)?);
        if last.as_ref().is_none_or(|(known, _)| *known != pattern) {
            match Matcher::new(pattern, escape) {
                Ok(matcher) => last = Some((pattern, matcher)),
                Err(reason) => {
                    failed.get_or_insert(reason);
                    return None;
                }
            }
        }
        last.as_ref().map(|(_, matcher)| matcher.matches(text))
    });
    match failed {
        Some(reason) => Err(EvalError::new(reason)),
        None => Ok(array),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like(text: &str, pattern: &str) -> bool {
        Matcher::new(pattern, None).unwrap().matches(text)
    }

    #[test]
    fn patterns() {
        assert!(like("hello world", "h%"));
        assert!(like("hello world", "%o%o%"));
        assert!(like("aaa", "_aa") && !like("aaaa", "_aa"));
        assert!(like("line\nbreak", "line%break"));
        assert!(like("", "%") && like("", "") && !like("", "_"));
        assert!(like("日本語", "_本_"));
        assert!(Matcher::new("%!_%", Some('!')).unwrap().matches("under_score"));
        assert!(!Matcher::new("%!_%", Some('!')).unwrap().matches("underscore"));
        assert!(Matcher::new("a!b", Some('!')).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(text in "[abä]{0,8}", pattern in "[abä%_]{0,6}") {
            fn naive(pattern: &[char], text: &[char]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some(('%', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
                    Some(('_', rest)) => !text.is_empty() && naive(rest, &text[1..]),
                    Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..]),
                }
            }
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(like(&text, &pattern), naive(&p, &t));
        }
    }
}
