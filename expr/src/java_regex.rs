//! Java's regular expressions on the engines at hand: `regex` where it can, `fancy-regex` for
//! look-around, back-references and possessive quantifiers. What Java means differently (`\w` is
//! ASCII, `.` stops at five line terminators, `$` stands before a final one) is written out.

use regex::Regex;

/// A Java pattern, compiled.
pub(crate) struct JavaRegex {
    fast: Option<Regex>,
    /// The pattern with everything as Java has it. Only used if there is no fast one, or for texts that
    /// end with a line terminator, before which `$` matches.
    exact: Option<fancy_regex::Regex>,
    groups: usize,
}

/// Room for the groups of a match, kept from row to row of one pattern.
#[derive(Default)]
pub(crate) struct Scratch(Option<regex::CaptureLocations>);

const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
const NOT_LINE_END: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";
/// A literal pattern longer than this is refused.
const PATTERN_BYTES_MAX: usize = 64 * 1024;

impl JavaRegex {
    /// Compiles a pattern of `java.util.regex`.
    ///
    /// # Errors
    /// For people: what is wrong with the pattern, or not supported in it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let refuse = |reason: String| format!("the regular expression '{}' {reason}", shorten(pattern));
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(refuse(format!("is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let translated = Translator::new(pattern).run().map_err(refuse)?;
        let exact = |text: &str| {
            fancy_regex::Regex::new(text)
                .map_err(|error| refuse(format!("is not valid: {}", first_line(&error.to_string()))))
        };
        if translated.needs_fancy {
            let exact = exact(&translated.exact)?;
            let groups = exact.captures_len().saturating_sub(1);
            return Ok(Self { fast: None, exact: Some(exact), groups });
        }
        let fast = Regex::new(&translated.fast)
            .map_err(|error| refuse(format!("is not valid: {}", last_line(&error.to_string()))))?;
        let groups = fast.captures_len().saturating_sub(1);
        let exact = if translated.has_dollar { Some(exact(&translated.exact)?) } else { None };
        Ok(Self { fast: Some(fast), exact, groups })
    }

    /// One that must match the whole text.
    pub(crate) fn whole(pattern: &str) -> Result<Self, String> {
        Self::new(pattern)?;
        Self::new(&format!(r"\A(?:{pattern})\z"))
    }

    /// Number of groups, without the whole match.
    pub(crate) fn group_count(&self) -> usize {
        self.groups
    }

    fn fast_for(&self, text: &str) -> Option<&Regex> {
        match (&self.fast, &self.exact) {
            (Some(fast), None) => Some(fast),
            (Some(fast), Some(_)) if !text.ends_with(LINE_ENDS) => Some(fast),
            _ => None,
        }
    }

    /// The first match that begins at or behind byte `from`.
    pub(crate) fn find_at(&self, text: &str, from: usize) -> Result<Option<(usize, usize)>, String> {
        if let Some(fast) = self.fast_for(text) {
            return Ok(fast.find_at(text, from).map(|found| (found.start(), found.end())));
        }
        match &self.exact {
            Some(exact) => {
                let found = exact.find_from_pos(text, from).map_err(too_hard)?;
                Ok(found.map(|found| (found.start(), found.end())))
            }
            None => Ok(None),
        }
    }

    /// Whether it matches anywhere.
    pub(crate) fn is_match(&self, text: &str) -> Result<bool, String> {
        if let Some(fast) = self.fast_for(text) {
            return Ok(fast.is_match(text));
        }
        match &self.exact {
            Some(exact) => exact.is_match(text).map_err(too_hard),
            None => Ok(false),
        }
    }

    /// A group of the first match at or behind `from`; outer `None` if nothing matches, inner if the
    /// group took no part. With it the span of the whole match. `scratch` belongs to this pattern alone.
    #[allow(clippy::type_complexity)]
    pub(crate) fn group_at<'t>(
        &self,
        text: &'t str,
        from: usize,
        group: usize,
        scratch: &mut Scratch,
    ) -> Result<Option<(Option<&'t str>, (usize, usize))>, String> {
        if let Some(fast) = self.fast_for(text) {
            if group == 0 {
                return Ok(fast.find_at(text, from).map(|found| (Some(found.as_str()), (found.start(), found.end()))));
            }
            let locations = scratch.0.get_or_insert_with(|| fast.capture_locations());
            let Some(whole) = fast.captures_read_at(locations, text, from) else { return Ok(None) };
            let part = locations.get(group).map(|(start, end)| &text[start..end]);
            return Ok(Some((part, (whole.start(), whole.end()))));
        }
        let Some(exact) = &self.exact else { return Ok(None) };
        let Some(captures) = exact.captures_from_pos(text, from).map_err(too_hard)? else { return Ok(None) };
        let Some(whole) = captures.get(0) else { return Ok(None) };
        Ok(Some((captures.get(group).map(|part| part.as_str()), (whole.start(), whole.end()))))
    }

    /// Calls `visit` with the span of every match, as Java's `Matcher.find` goes from one to the next.
    pub(crate) fn for_each_match(&self, text: &str, mut visit: impl FnMut(usize, usize)) -> Result<(), String> {
        let mut from = 0;
        while from <= text.len() {
            let Some((start, end)) = self.find_at(text, from)? else { break };
            visit(start, end);
            from = if start == end { end + text[end..].chars().next().map_or(1, char::len_utf8) } else { end };
        }
        Ok(())
    }
}

fn too_hard(error: fancy_regex::Error) -> String {
    format!("a regular expression gave up on a text: {error}")
}

fn shorten(pattern: &str) -> String {
    if pattern.chars().count() <= 100 {
        pattern.to_owned()
    } else {
        pattern.chars().take(100).chain("...".chars()).collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).map_or(text, |line| line.trim_start_matches("error: "))
}

struct Translated {
    fast: String,
    exact: String,
    has_dollar: bool,
    needs_fancy: bool,
}

struct Translator<'a> {
    chars: Vec<char>,
    at: usize,
    pattern: &'a str,
    out: Translated,
    /// Whether `.` matches line ends and `$` every line end: per open group.
    flags: Vec<(bool, bool)>,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a str) -> Self {
        let out = Translated { fast: String::new(), exact: String::new(), has_dollar: false, needs_fancy: false };
        Self { chars: pattern.chars().collect(), at: 0, pattern, out, flags: vec![(false, false)] }
    }

    fn push(&mut self, text: &str) {
        self.out.fast.push_str(text);
        self.out.exact.push_str(text);
    }

    fn push_char(&mut self, c: char) {
        let mut buffer = [0; 4];
        let text = regex::escape(c.encode_utf8(&mut buffer));
        self.push(&text);
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(mut self) -> Result<Translated, String> {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class(0)?,
                '.' => {
                    let all = self.flags.last().is_some_and(|flags| flags.0);
                    self.push(if all { "(?s:.)" } else { NOT_LINE_END });
                }
                '$' => {
                    let multiline = self.flags.last().is_some_and(|flags| flags.1);
                    if multiline {
                        self.push("(?m:$)");
                    } else {
                        self.out.has_dollar = true;
                        self.out.fast.push_str(r"\z");
                        self.out.exact.push_str(r"(?=(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])?\z)");
                    }
                }
                '(' => self.group()?,
                ')' => {
                    if self.flags.len() == 1 {
                        return Err("has a closing parenthesis too many".to_owned());
                    }
                    self.flags.pop();
                    self.push(")");
                }
                '*' | '+' | '?' => {
                    self.push(&c.to_string());
                    self.after_quantifier();
                }
                '{' => {
                    self.push("{");
                    while let Some(c) = self.peek(0) {
                        self.at += 1;
                        if !(c.is_ascii_digit() || c == ',' || c == '}') {
                            return Err(format!("has '{c}' in the repetition behind '{{'"));
                        }
                        self.push(&c.to_string());
                        if c == '}' {
                            break;
                        }
                    }
                    self.after_quantifier();
                }
                '^' | '|' => self.push(&c.to_string()),
                c => self.push_char(c),
            }
        }
        debug_assert!(self.at >= self.chars.len() || !self.pattern.is_empty());
        Ok(self.out)
    }

    fn after_quantifier(&mut self) {
        match self.peek(0) {
            Some('+') => {
                self.at += 1;
                self.out.needs_fancy = true;
                self.push("+");
            }
            Some('?') => {
                self.at += 1;
                self.push("?");
            }
            _ => {}
        }
    }

    fn group(&mut self) -> Result<(), String> {
        let inherited = self.flags.last().copied().unwrap_or((false, false));
        if self.peek(0) != Some('?') {
            self.flags.push(inherited);
            self.push("(");
            return Ok(());
        }
        self.at += 1;
        let next = self.peek(0);
        match (next, self.peek(1)) {
            (Some('='), _) | (Some('!'), _) | (Some('>'), _) => {
                self.at += 1;
                self.out.needs_fancy = true;
                self.push(&format!("(?{}", next.unwrap_or('=')));
                self.flags.push(inherited);
            }
            (Some('<'), Some(kind @ ('=' | '!'))) => {
                self.at += 2;
                self.out.needs_fancy = true;
                self.push(&format!("(?<{kind}"));
                self.flags.push(inherited);
            }
            (Some('<'), _) => {
                self.at += 1;
                self.push("(?P<");
                while let Some(c) = self.peek(0) {
                    self.at += 1;
                    self.push(&c.to_string());
                    if c == '>' {
                        break;
                    }
                }
                self.flags.push(inherited);
            }
            _ => {
                let (mut on, mut flags, mut text) = (true, inherited, String::new());
                loop {
                    let Some(c) = self.peek(0) else { return Err("ends inside a group".to_owned()) };
                    self.at += 1;
                    match c {
                        '-' => {
                            on = false;
                            text.push('-');
                        }
                        's' => flags.0 = on,
                        'm' => flags.1 = on,
                        'i' => text.push('i'),
                        // Unicode case folding is always on here.
                        'u' => {}
                        ':' => {
                            self.push(&format!("(?{}:", text.trim_end_matches('-')));
                            self.flags.push(flags);
                            return Ok(());
                        }
                        ')' => {
                            let text = text.trim_end_matches('-');
                            if !text.is_empty() {
                                self.push(&format!("(?{text})"));
                            }
                            if flags.1 {
                                self.push("(?m)");
                            }
                            if let Some(current) = self.flags.last_mut() {
                                *current = flags;
                            }
                            return Ok(());
                        }
                        other => return Err(format!("uses the flag '{other}', which is not supported")),
                    }
                }
            }
        }
        Ok(())
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.peek(0) else { return Err("ends with a backslash".to_owned()) };
        self.at += 1;
        let class = |inner: &str, negated: bool| {
            if negated { format!("[^{inner}]") } else { format!("[{inner}]") }
        };
        match c {
            'd' | 'D' => self.push(&class("0-9", c == 'D')),
            'w' | 'W' => self.push(&class("a-zA-Z_0-9", c == 'W')),
            's' | 'S' => self.push(&class(r" \t\n\x0B\x0C\r", c == 'S')),
            'h' | 'H' => {
                self.push(&class(r" \t\x{A0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}", c == 'H'))
            }
            'v' | 'V' => self.push(&class(r"\n\x0B\x0C\r\x{85}\x{2028}\x{2029}", c == 'V')),
            'R' if !in_class => self.push(r"(?:\r\n|[\n\x0B\x0C\r\x{85}\x{2028}\x{2029}])"),
            'b' | 'B' if !in_class => self.push(&format!("\\{c}")),
            'A' if !in_class => self.push(r"\A"),
            'z' if !in_class => self.push(r"\z"),
            'Z' if !in_class => {
                self.out.has_dollar = true;
                self.out.fast.push_str(r"\z");
                self.out.exact.push_str(r"(?=(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])?\z)");
            }
            '1'..='9' if !in_class => {
                self.out.needs_fancy = true;
                self.push(&format!("\\{c}"));
            }
            'k' if !in_class => {
                self.out.needs_fancy = true;
                self.push(r"\k");
                while let Some(c) = self.peek(0) {
                    self.at += 1;
                    self.push(&c.to_string());
                    if c == '>' {
                        break;
                    }
                }
            }
            'Q' => {
                while self.at < self.chars.len() {
                    if self.peek(0) == Some('\\') && self.peek(1) == Some('E') {
                        self.at += 2;
                        return Ok(());
                    }
                    let c = self.chars[self.at];
                    self.at += 1;
                    self.literal(c, in_class);
                }
            }
            'p' | 'P' => {
                let property = self.property(c == 'P')?;
                self.push(&property);
            }
            't' => self.push(r"\t"),
            'n' => self.push(r"\n"),
            'r' => self.push(r"\r"),
            'f' => self.push(r"\x0C"),
            'a' => self.push(r"\x07"),
            'e' => self.push(r"\x1B"),
            'x' => {
                let digits = if self.peek(0) == Some('{') {
                    self.at += 1;
                    let mut digits = String::new();
                    while let Some(c) = self.peek(0) {
                        self.at += 1;
                        if c == '}' {
                            break;
                        }
                        digits.push(c);
                    }
                    digits
                } else {
                    self.take(2)
                };
                self.code_point(&digits)?;
            }
            'u' => {
                let digits = self.take(4);
                self.code_point(&digits)?;
            }
            '0' => {
                let mut digits = String::new();
                while let Some(c @ '0'..='7') = self.peek(0)
                    && digits.len() < 3
                {
                    digits.push(c);
                    self.at += 1;
                }
                let code = u32::from_str_radix(&digits, 8).map_err(|_| r"has \0 without octal digits".to_owned())?;
                self.push(&format!("\\x{{{code:x}}}"));
            }
            c if c.is_ascii_alphabetic() => {
                return Err(format!("uses \\{c}, which is not supported"));
            }
            c => self.literal(c, in_class),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> String {
        let end = (self.at + count).min(self.chars.len());
        let digits = self.chars[self.at..end].iter().collect();
        self.at = end;
        digits
    }

    fn code_point(&mut self, digits: &str) -> Result<(), String> {
        let code = u32::from_str_radix(digits, 16).map_err(|_| format!("has the character code '{digits}'"))?;
        self.push(&format!("\\x{{{code:x}}}"));
        Ok(())
    }

    fn literal(&mut self, c: char, in_class: bool) {
        if in_class && c.is_ascii_punctuation() {
            self.push(&format!("\\{c}"));
        } else {
            self.push_char(c);
        }
    }

    fn property(&mut self, negated: bool) -> Result<String, String> {
        let mut name = String::new();
        if self.peek(0) == Some('{') {
            self.at += 1;
            while let Some(c) = self.peek(0) {
                self.at += 1;
                if c == '}' {
                    break;
                }
                name.push(c);
            }
        } else {
            name = self.take(1);
        }
        let posix = match name.as_str() {
            "Lower" => Some("a-z"),
            "Upper" => Some("A-Z"),
            "ASCII" => Some(r"\x00-\x7F"),
            "Alpha" => Some("a-zA-Z"),
            "Digit" => Some("0-9"),
            "Alnum" => Some("a-zA-Z0-9"),
            "Punct" => Some(r"!-/:-@\[-`{-~"),
            "Graph" => Some("!-~"),
            "Print" => Some(r"\x20-~"),
            "Blank" => Some(r" \t"),
            "Cntrl" => Some(r"\x00-\x1F\x7F"),
            "XDigit" => Some("0-9a-fA-F"),
            "Space" => Some(r" \t\n\x0B\x0C\r"),
            _ => None,
        };
        if let Some(inner) = posix {
            return Ok(if negated { format!("[^{inner}]") } else { format!("[{inner}]") });
        }
        if name.starts_with("In") || name.starts_with("java") {
            return Err(format!("uses the property {name}, which is not supported"));
        }
        let name = name.strip_prefix("Is").unwrap_or(&name);
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    fn class(&mut self, depth: usize) -> Result<(), String> {
        if depth > 32 {
            return Err("nests too many classes".to_owned());
        }
        self.push("[");
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.push("^");
        }
        let mut first = true;
        loop {
            let Some(c) = self.peek(0) else { return Err("has a class [ without its ]".to_owned()) };
            self.at += 1;
            match c {
                ']' if !first => {
                    self.push("]");
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' => self.class(depth + 1)?,
                '&' if self.peek(0) == Some('&') => {
                    self.at += 1;
                    self.push("&&");
                }
                '-' => {
                    // A range needs a character before and behind it.
                    let range = !first && !matches!(self.peek(0), Some(']' | '[' | '-') | None);
                    self.push(if range { "-" } else { r"\-" });
                }
                c => self.literal(c, true),
            }
            first = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(pattern: &str, text: &str) -> Option<String> {
        let regex = JavaRegex::new(pattern).unwrap();
        regex.find_at(text, 0).unwrap().map(|(start, end)| text[start..end].to_owned())
    }

    #[test]
    fn classes_are_javas() {
        assert_eq!(first(r"\w+", "naïve"), Some("na".into()));
        assert_eq!(first(r"\d+", "٣ 42"), Some("42".into()));
        assert_eq!(first(r"[\w&&[^a-m]]+", "hello world"), Some("o".into()));
        assert_eq!(first(r"[^&]*", "a&b"), Some("a".into()));
        assert_eq!(first(r"[a-c-]+", "x-b-z"), Some("-b-".into()));
        assert_eq!(first(r"\p{Alpha}+", "9ab"), Some("ab".into()));
        assert_eq!(first(r"a.c", "a\rc"), None);
        assert_eq!(first(r"(?s)a.c", "a\rc"), Some("a\rc".into()));
        assert_eq!(first(r"\Qa.c\E+", "a.cc"), Some("a.cc".into()));
        assert_eq!(first(r"b$", "ab\n"), Some("b".into()));
        assert_eq!(first(r"b$", "ab\nb"), Some("b".into()));
        assert_eq!(first(r"\u0041\x42", "AB"), Some("AB".into()));
        assert_eq!(first(r"(?i)HELLO", "hello"), Some("hello".into()));
    }

    #[test]
    fn beyond_regular() {
        assert_eq!(first(r"(\w)\1", "hello"), Some("ll".into()));
        assert_eq!(first(r"\w+(?=!)", "so what!"), Some("what".into()));
        assert_eq!(first(r"(?<!\d)\d{2}(?!\d)", "123 45"), Some("45".into()));
        assert_eq!(first(r"a++b", "aaab"), Some("aaab".into()));
        let regex = JavaRegex::new(r"(?<key>\w+)=(\d+)").unwrap();
        assert_eq!(regex.group_count(), 2);
        assert_eq!(regex.group_at("x=12", 0, 2, &mut Scratch::default()).unwrap().unwrap().0, Some("12"));
    }

    #[test]
    fn refuses_with_reasons() {
        for (pattern, reason) in [
            (r"(a", "is not valid"),
            (r"a)", "closing parenthesis"),
            (r"[a", "without its ]"),
            (r"\G", "not supported"),
            (r"a\", "ends with a backslash"),
            (r"\p{InGreek}", "not supported"),
            (r"*a", "is not valid"),
        ] {
            let error = JavaRegex::new(pattern).err().unwrap_or_default();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }

    #[test]
    fn empty_matches_advance_as_in_java() {
        let mut spans = Vec::new();
        JavaRegex::new("a*").unwrap().for_each_match("aaé", |start, end| spans.push((start, end))).unwrap();
        assert_eq!(spans, [(0, 2), (2, 2), (4, 4)]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern in r"[\\\[\](){}?*+|^$.&a-c0-2<>=!:PpQE-]{0,12}", text in "[a-c0-2\n]{0,8}") {
            if let Ok(regex) = JavaRegex::new(&pattern) {
                let _ = regex.for_each_match(&text, |_, _| {});
            }
        }
    }
}
