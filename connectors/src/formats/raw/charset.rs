//! The charsets that every Java has, with Java's replacements.

/// Their names.
pub(super) const NAMES: &[&str] = &["UTF-8", "US-ASCII", "ISO-8859-1", "UTF-16", "UTF-16BE", "UTF-16LE"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Ascii,
    Latin1,
    /// Read by its byte order mark, big endian without; written big endian, with a mark.
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    /// The charset of a name, or of one of its usual other names.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Self::Utf8,
            "US-ASCII" | "ASCII" => Self::Ascii,
            "ISO-8859-1" | "ISO8859_1" | "ISO8859-1" | "ISO_8859-1" | "LATIN1" => Self::Latin1,
            "UTF-16" | "UTF16" => Self::Utf16,
            "UTF-16BE" => Self::Utf16Be,
            "UTF-16LE" => Self::Utf16Le,
            _ => return None,
        })
    }

    /// Appends a text as UTF-8.
    pub fn decode(self, text: &[u8], out: &mut Vec<u8>) {
        let mut push = |character: char| {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        };
        match self {
            Self::Utf8 => out.extend_from_slice(String::from_utf8_lossy(text).as_bytes()),
            Self::Ascii => text.iter().for_each(|byte| {
                push(if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER });
            }),
            Self::Latin1 => text.iter().for_each(|byte| push(char::from(*byte))),
            Self::Utf16 => match text {
                [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes, push),
                [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes, push),
                _ => utf16(text, u16::from_be_bytes, push),
            },
            Self::Utf16Be => utf16(text, u16::from_be_bytes, push),
            Self::Utf16Le => utf16(text, u16::from_le_bytes, push),
        }
    }

    /// Appends the bytes of a text.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) {
        let narrow = |most: u32| text.chars().map(move |c| if u32::from(c) <= most { c as u8 } else { b'?' });
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Ascii => out.extend(narrow(0x7f)),
            Self::Latin1 => out.extend(narrow(0xff)),
            Self::Utf16 => {
                if !text.is_empty() {
                    out.extend([0xfe, 0xff]);
                }
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Self::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Self::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        }
    }
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16, mut push: impl FnMut(char)) {
    let (pairs, rest) = text.as_chunks::<2>();
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if !rest.is_empty() {
        push(char::REPLACEMENT_CHARACTER);
    }
}
