//! A cursor over the bytes of one JSON text.

use super::marks::marks;

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The value of one field; the rest of the record can still be read.
    Field(String),
    /// The record.
    Record(String),
}

/// Deepest nesting of arrays and objects.
const DEPTH_MAX: usize = 512;

/// Reads one text from front to back.
pub(crate) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// Consumes a byte if it comes next, behind white space.
    #[inline(always)]
    pub fn accept(&mut self, byte: u8) -> bool {
        if self.peek() != byte {
            self.skip_space();
        }
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    pub fn broken(&self, expected: &str) -> Fault {
        Fault::Record(match self.bytes.get(self.at) {
            Some(byte) => {
                format!("not JSON: expected {expected} at character {}, found '{}'", self.at + 1, byte.escape_ascii())
            }
            None => format!("not JSON: expected {expected}, but the record ends"),
        })
    }

    /// The inside of a string whose opening quote was consumed, and whether it has escapes. Control
    /// characters may stand in it as they are, as in Flink.
    #[inline(always)]
    pub fn string(&mut self) -> Result<(&'a [u8], bool), Fault> {
        let start = self.at;
        let mut at = start;
        while let Some(chunk) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            let marks = marks(chunk);
            if marks != 0 {
                at += marks.trailing_zeros() as usize;
                if self.bytes[at] == b'"' {
                    self.at = at + 1;
                    return Ok((&self.bytes[start..at], false));
                }
                break;
            }
            at += 16;
        }
        self.string_from(start, at)
    }

    /// The rest of a string: its last bytes before the record's end, or one with escapes.
    fn string_from(&mut self, start: usize, mut at: usize) -> Result<(&'a [u8], bool), Fault> {
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(found) if rest[found] == b'"' => {
                    at += found;
                    self.at = at + 1;
                    return Ok((&self.bytes[start..at], escaped));
                }
                Some(found) => {
                    escaped = true;
                    at += found + 2;
                }
                None => {
                    self.at = self.bytes.len();
                    return Err(self.broken("a closing quote"));
                }
            }
        }
    }

    /// The text of a number, `true`, `false` or `null`.
    #[inline(always)]
    pub fn word(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b':' | b'"' | b'{' | b'[') {
                break;
            }
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    /// Passes over one value, checking its structure and words.
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), Fault> {
        self.skip_space();
        match self.peek() {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_nested(),
            _ => {
                let word = self.word();
                if is_word(word) {
                    return Ok(());
                }
                self.at -= word.len();
                Err(self.broken("a value"))
            }
        }
    }

    /// Passes over a string from its opening quote on, checking its escapes.
    #[inline(always)]
    fn skip_string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.string()? {
            (_, false) => Ok(()),
            (raw, true) => unescape(raw, &mut Vec::new()),
        }
    }

    /// Passes over an object or array, without recursion.
    fn skip_nested(&mut self) -> Result<(), Fault> {
        // One bit of history a level: is it an object?
        let mut levels: Vec<bool> = Vec::new();
        loop {
            self.skip_space();
            // A value begins here.
            let mut opened = false;
            match self.peek() {
                open @ (b'{' | b'[') => {
                    if levels.len() == DEPTH_MAX {
                        return Err(Fault::Record(format!("not JSON: nested more than {DEPTH_MAX} levels deep")));
                    }
                    self.at += 1;
                    levels.push(open == b'{');
                    opened = true;
                }
                b'"' => self.skip_string()?,
                _ => {
                    let word = self.word();
                    if !is_word(word) {
                        self.at -= word.len();
                        return Err(self.broken("a value"));
                    }
                }
            }
            // Behind a value (or an opening bracket): close, or go on.
            loop {
                let Some(object) = levels.last().copied() else { return Ok(()) };
                if self.accept(if object { b'}' } else { b']' }) {
                    levels.pop();
                    opened = false;
                    continue;
                }
                if !opened && !self.accept(b',') {
                    return Err(self.broken(if object { "',' or '}'" } else { "',' or ']'" }));
                }
                if object {
                    self.skip_space();
                    if self.peek() != b'"' {
                        return Err(self.broken("a field name"));
                    }
                    self.skip_string()?;
                    if !self.accept(b':') {
                        return Err(self.broken("':'"));
                    }
                }
                break;
            }
        }
    }
}

/// Whether a text is a number, `true`, `false` or `null`.
pub(crate) fn is_word(word: &[u8]) -> bool {
    matches!(word, b"true" | b"false" | b"null") || is_number(word)
}

/// Whether a text is a JSON number: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
pub(crate) fn is_number(word: &[u8]) -> bool {
    let rest = word.strip_prefix(b"-").unwrap_or(word);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let integer = digits(rest);
    if integer == 0 || (integer > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[integer..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// Appends the inside of a string with its escapes resolved.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let broken = |what: &str| Fault::Record(format!("not JSON: {what}"));
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1).ok_or_else(|| broken("a string ends in a back slash"))?;
        let mut used = at + 2;
        match escape {
            b'"' | b'\\' | b'/' => out.push(escape),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let unit = |at: usize| -> Option<u32> {
                    let digits = rest.get(at..at + 4)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
                };
                let first = unit(used).ok_or_else(|| broken("\\u needs four hexadecimal digits"))?;
                used += 4;
                let mut code = first;
                if (0xd800..0xdc00).contains(&first)
                    && rest.get(used..used + 2) == Some(b"\\u")
                    && let Some(second @ 0xdc00..0xe000) = unit(used + 2)
                {
                    code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    used += 6;
                }
                // Half a surrogate pair is no character; Java keeps it, UTF-8 cannot.
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => return Err(broken(&format!("unknown escape \\{}", other.escape_ascii()))),
        }
        rest = &rest[used..];
    }
    out.extend_from_slice(rest);
    Ok(())
}
