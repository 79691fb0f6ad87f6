//! Paths into JSON texts: `$.a['b c'][0]`, wildcards, slices and deep scans, with the meaning that
//! Jayway's JsonPath (which Flink uses) gives them.

use tidemill_common::limits::SQL_DEPTH_MAX;

use super::Json;

/// Whether what is not there is an error (`strict`, also without a word) or empty (`lax`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Strict,
    Lax,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    /// `['a','b']`: the members of an object that are there, as an object.
    Keys(Vec<String>),
    /// From the end if negative.
    Index(i64),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    /// `*`: every element or member.
    All,
    /// `..`: the value itself and everything below it.
    Deep,
}

impl Step {
    fn is_definite(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Keys(_) | Self::Index(_))
    }
}

/// A compiled path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub mode: Mode,
    steps: Vec<Step>,
}

/// Why there is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// Flink evaluates it to an error of every row.
    Invalid,
    /// It means something that is not computed here.
    Unsupported,
}

impl Path {
    /// Reads a path, after an optional `lax` or `strict`.
    pub fn compile(text: &str) -> Result<Self, PathError> {
        let (mode, rest) = mode(text);
        let mut reader = Reader { rest: rest.trim(), steps: Vec::new() };
        // Without $ a path begins at the root all the same.
        reader.rest = match reader.rest.strip_prefix(['$', '@']) {
            Some(rest) => rest,
            None if reader.rest.is_empty() => return Err(PathError::Invalid),
            None => {
                reader.name()?;
                reader.rest
            }
        };
        while !reader.rest.is_empty() {
            reader.step()?;
            if reader.steps.len() > SQL_DEPTH_MAX {
                return Err(PathError::Unsupported);
            }
        }
        Ok(Self { mode, steps: reader.steps })
    }

    /// Whether it can find one value at most.
    fn is_definite(&self) -> bool {
        self.steps.iter().all(Step::is_definite)
    }

    /// What is at the path. A path that can find several values gives an array of them. `Err` is what a
    /// strict path calls an error: something on the way is not there.
    pub fn find<'j>(&self, root: &Json<'j>) -> Result<Json<'j>, ()> {
        let mut found = Vec::new();
        let missing = walk(root, &self.steps, true, &mut found).is_err();
        if self.is_definite() {
            return found.pop().filter(|_| !missing).ok_or(());
        }
        if missing {
            return if self.mode == Mode::Lax { Ok(Json::Array(Vec::new())) } else { Err(()) };
        }
        Ok(Json::Array(found))
    }
}

/// The mode a path names, and what is behind it.
fn mode(text: &str) -> (Mode, &str) {
    let trimmed = text.trim_start();
    for (word, mode) in [("strict", Mode::Strict), ("lax", Mode::Lax)] {
        if let Some(head) = trimmed.get(..word.len())
            && head.eq_ignore_ascii_case(word)
            && let rest = &trimmed[word.len()..]
            && rest.starts_with(char::is_whitespace)
            && !rest.trim().is_empty()
        {
            return (mode, rest.trim_start());
        }
    }
    (Mode::Strict, text)
}

struct Reader<'t> {
    rest: &'t str,
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<(), PathError> {
        if let Some(after) = self.rest.strip_prefix("..") {
            self.rest = after;
            self.steps.push(Step::Deep);
            return match self.rest.chars().next() {
                None | Some('.') => Err(PathError::Invalid),
                Some('[') => Ok(()),
                Some(_) => self.name(),
            };
        }
        if let Some(after) = self.rest.strip_prefix('.') {
            self.rest = after;
            return match self.rest.chars().next() {
                None => Err(PathError::Invalid),
                Some('[') => Ok(()),
                Some(_) => self.name(),
            };
        }
        match self.rest.strip_prefix('[') {
            Some(after) => {
                self.rest = after.trim_start();
                self.bracket()
            }
            None => Err(PathError::Invalid),
        }
    }

    /// A name behind a point, or `*`.
    fn name(&mut self) -> Result<(), PathError> {
        let end = self.rest.find(['.', '[', '(', ' ']).unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        match self.rest[end..].chars().next() {
            Some('(') => return Err(PathError::Unsupported),
            Some(' ') => return Err(PathError::Invalid),
            _ if name.is_empty() => return Err(PathError::Invalid),
            _ => {}
        }
        self.steps.push(if name == "*" { Step::All } else { Step::Key(name.to_owned()) });
        self.rest = &self.rest[end..];
        Ok(())
    }

    /// What stands between brackets.
    fn bracket(&mut self) -> Result<(), PathError> {
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            Some('?' | '(' | '@') => Err(PathError::Unsupported),
            _ => {
                let (inside, after) = self.rest.split_once(']').ok_or(PathError::Invalid)?;
                self.rest = after;
                let inside = inside.trim();
                let number = |text: &str| text.trim().parse::<i64>().map_err(|_| PathError::Invalid);
                let step = if inside == "*" {
                    Step::All
                } else if let Some((from, to)) = inside.split_once(':') {
                    let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
                    Step::Slice(bound(from)?, bound(to)?)
                } else if inside.contains(',') {
                    Step::Indices(inside.split(',').map(number).collect::<Result<_, _>>()?)
                } else {
                    Step::Index(number(inside)?)
                };
                self.steps.push(step);
                Ok(())
            }
        }
    }

    /// `'a']` or `'a','b']`.
    fn quoted(&mut self, quote: char) -> Result<(), PathError> {
        let mut keys = Vec::new();
        loop {
            self.rest = self.rest.trim_start().strip_prefix(quote).ok_or(PathError::Invalid)?;
            let mut key = String::new();
            let mut chars = self.rest.char_indices();
            let end = loop {
                match chars.next().ok_or(PathError::Invalid)? {
                    (_, '\\') => key.push(chars.next().ok_or(PathError::Invalid)?.1),
                    (at, c) if c == quote => break at + c.len_utf8(),
                    (_, c) => key.push(c),
                }
            };
            keys.push(key);
            self.rest = self.rest[end..].trim_start();
            if let Some(after) = self.rest.strip_prefix(']') {
                self.rest = after;
                break;
            }
            self.rest = self.rest.strip_prefix(',').ok_or(PathError::Invalid)?;
        }
        self.steps.push(match <[String; 1]>::try_from(keys) {
            Ok([key]) => Step::Key(key),
            Err(keys) => Step::Keys(keys),
        });
        Ok(())
    }
}

/// Collects what `steps` find below `json`. `certain` says that no step above could find several values:
/// only then is what is missing an error.
fn walk<'j>(json: &Json<'j>, steps: &[Step], certain: bool, found: &mut Vec<Json<'j>>) -> Result<(), ()> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(json.clone());
        return Ok(());
    };
    let missing = if certain { Err(()) } else { Ok(()) };
    match step {
        Step::Key(key) => {
            let Json::Object(members) = json else { return missing };
            match members.iter().find(|(known, _)| known == key) {
                Some((_, value)) => walk(value, rest, certain, found),
                None if rest.is_empty() => Ok(()),
                None => missing,
            }
        }
        Step::Keys(keys) => {
            let Json::Object(members) = json else { return missing };
            let picked = keys.iter().filter_map(|key| members.iter().find(|(known, _)| known == key)).cloned();
            walk(&Json::Object(picked.collect()), rest, certain, found)
        }
        Step::Index(_) | Step::Indices(_) | Step::Slice(..) => {
            let Json::Array(items) = json else { return missing };
            let certain = certain && step.is_definite();
            for index in indices(step, items.len() as i64) {
                if let Some(item) = usize::try_from(index).ok().and_then(|index| items.get(index)) {
                    walk(item, rest, certain, found)?;
                }
            }
            Ok(())
        }
        Step::All => match json {
            Json::Array(items) => items.iter().try_for_each(|item| walk(item, rest, false, found)),
            Json::Object(members) => members.iter().try_for_each(|(_, value)| walk(value, rest, false, found)),
            _ => Ok(()),
        },
        Step::Deep => deep(json, rest, found),
    }
}

/// The positions of an array that a step names, from 0.
fn indices(step: &Step, length: i64) -> Vec<i64> {
    let absolute = |index: i64| if index < 0 { length + index } else { index };
    match step {
        Step::Index(index) => vec![absolute(*index)],
        Step::Indices(list) => list.iter().map(|index| absolute(*index)).collect(),
        Step::Slice(from, to) => {
            let from = from.map_or(0, absolute).max(0);
            let to = to.map_or(length, absolute).min(length);
            (from..to).collect()
        }
        _ => Vec::new(),
    }
}

/// Applies `steps` to a value and to everything below it.
fn deep<'j>(json: &Json<'j>, steps: &[Step], found: &mut Vec<Json<'j>>) -> Result<(), ()> {
    walk(json, steps, false, found)?;
    match json {
        Json::Array(items) => items.iter().try_for_each(|item| deep(item, steps, found)),
        Json::Object(members) => members.iter().try_for_each(|(_, value)| deep(value, steps, found)),
        _ => Ok(()),
    }
}
