//! Hashes, codes and URLs.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use base64::Engine;
use md5::Digest;
use rand::RngCore;
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use crate::bind::{BindError, any_nullable, call, cast_to};
use crate::eval::value::{Value, strings_by_row};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Function, Kernel, Param, Volatility, convert_arguments, returns};

const TEXT: &[Param] = &[Param::Text];
const TEXT_TEXT: &[Param] = &[Param::Text, Param::Text];

macro_rules! hash {
    ($name:literal, $hasher:ty, $length:literal) => {
        Function::new(
            $name,
            Category::Hash,
            &[Param::TextOrBytes],
            |_| Ok(LogicalType::Char($length)),
            |_| hash_kernel(|bytes, out| push_hex(&<$hasher>::digest(bytes), out)),
        )
        .doc(concat!($name, "(a)"), "Digest as hexadecimal digits.")
    };
}

const fn code(
    name: &'static str,
    params: &'static [Param],
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Conversion, params, returns, compile).doc(signature, description)
}

pub(super) const FUNCTIONS: &[Function] = &[
    hash!("MD5", md5::Md5, 32),
    hash!("SHA1", sha1::Sha1, 40),
    hash!("SHA224", sha2::Sha224, 56),
    hash!("SHA256", sha2::Sha256, 64),
    hash!("SHA384", sha2::Sha384, 96),
    hash!("SHA512", sha2::Sha512, 128),
    Function::new(
        "SHA2",
        Category::Hash,
        &[Param::TextOrBytes, Param::Int],
        |_| Ok(LogicalType::Varchar(128)),
        sha2_of,
    )
    .doc("SHA2(a, bits)", "SHA-2 digest of 224, 256, 384 or 512 bits as hexadecimal digits.")
    .may_be_null()
    .can_fail(),
    code("TO_BASE64", &[Param::TextOrBytes], returns::string, to_base64, "TO_BASE64(a)", "Base64 of a text's UTF-8."),
    code(
        "FROM_BASE64",
        TEXT,
        returns::string,
        from_base64,
        "FROM_BASE64(a)",
        "The text that Base64 encodes; an error if it is not.",
    )
    .can_fail(),
    code(
        "HEX",
        &[],
        returns::string,
        hex,
        "HEX(a)",
        "Hexadecimal digits of an integer (64 bits if negative) or of a text's UTF-8.",
    )
    .custom(bind_hex),
    code("BIN", &[Param::BigInt], returns::string, bin, "BIN(n)", "Binary digits (64 bits if negative)."),
    code(
        "ENCODE",
        TEXT_TEXT,
        returns::bytes,
        encode,
        "ENCODE(a, charset)",
        "A text as bytes: UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE.",
    )
    .can_fail(),
    code("DECODE", &[Param::Bytes, Param::Text], returns::string, decode, "DECODE(bytes, charset)", "Bytes as a text.")
        .can_fail(),
    code("URL_ENCODE", TEXT, returns::string, url_encode, "URL_ENCODE(a)", "application/x-www-form-urlencoded, UTF-8."),
    code("URL_DECODE", TEXT, returns::string, url_decode, "URL_DECODE(a)", "Decoded; NULL if it is not valid.")
        .may_be_null(),
    code(
        "PARSE_URL",
        &[Param::Text, Param::Text, Param::Text],
        returns::string,
        parse_url,
        "PARSE_URL(url, part[, key])",
        "HOST, PATH, QUERY, REF, PROTOCOL, FILE, AUTHORITY or USERINFO of a URL, or the value of a key of its QUERY.",
    )
    .optional_after(2)
    .may_be_null(),
    code("UUID", &[], |_| Ok(LogicalType::Char(36)), uuid, "UUID()", "A random UUID of version 4.")
        .never_null()
        .volatile(Volatility::Row),
];

type Compiled = Result<Kernel, CompileError>;

fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Calls `f` with the bytes of each row that is not NULL.
fn bytes_to_text(
    value: &Value,
    rows: usize,
    f: impl Fn(&[u8], &mut String) -> Option<()>,
) -> Result<ArrayRef, EvalError> {
    if let Ok(texts) = value.strings() {
        return strings_by_row(rows, texts.bytes(), |row, out| f(texts.get(row)?.as_bytes(), out));
    }
    let bytes = value.binaries()?;
    strings_by_row(rows, rows * 32, |row, out| f(bytes.get(row)?, out))
}

fn hash_kernel(f: fn(&[u8], &mut String)) -> Compiled {
    Ok(Box::new(move |args, frame| {
        bytes_to_text(&args[0], frame.rows, |bytes, out| {
            f(bytes, out);
            Some(())
        })
    }))
}

fn sha2_of(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let bits = args[1].primitives::<Int32Type>()?;
        let mut all: Vec<Option<ArrayRef>> = vec![None; 4];
        let mut picks = Vec::with_capacity(frame.rows);
        for row in 0..frame.rows {
            let kind = match bits.get(row) {
                None => None,
                Some(224) => Some(0),
                Some(256) => Some(1),
                Some(384) => Some(2),
                Some(512) => Some(3),
                Some(other) => {
                    return Err(EvalError::new(format!("SHA2 takes 224, 256, 384 or 512 bits, not {other}")));
                }
            };
            if let Some(kind) = kind
                && all[kind].is_none()
            {
                let digest: fn(&[u8], &mut String) = match kind {
                    0 => |bytes, out| push_hex(&sha2::Sha224::digest(bytes), out),
                    1 => |bytes, out| push_hex(&sha2::Sha256::digest(bytes), out),
                    2 => |bytes, out| push_hex(&sha2::Sha384::digest(bytes), out),
                    _ => |bytes, out| push_hex(&sha2::Sha512::digest(bytes), out),
                };
                all[kind] = Some(bytes_to_text(&args[0], frame.rows, |bytes, out| {
                    digest(bytes, out);
                    Some(())
                })?);
            }
            picks.push(kind);
        }
        let columns: Vec<Option<Value>> = all.into_iter().map(|array| array.map(Value::Array)).collect();
        let columns = columns
            .iter()
            .map(|column| column.as_ref().map(Value::strings).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        strings_by_row(frame.rows, frame.rows * 64, |row, out| {
            out.push_str(columns[picks[row]?].as_ref()?.get(row)?);
            Some(())
        })
    }))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        bytes_to_text(&args[0], frame.rows, |bytes, out| {
            for chunk in bytes.chunks(3) {
                let bits = chunk
                    .iter()
                    .enumerate()
                    .fold(0_u32, |bits, (index, byte)| bits | u32::from(*byte) << (16 - 8 * index));
                for position in 0..4 {
                    out.push(if position <= chunk.len() {
                        char::from(BASE64[(bits >> (18 - 6 * position) & 63) as usize])
                    } else {
                        '='
                    });
                }
            }
            Some(())
        })
    }))
}

/// As Java decodes: padding may be missing, what follows the last whole byte is ignored.
const JAVA_BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

fn from_base64(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        crate::eval::value::try_strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let bytes = JAVA_BASE64.decode(text).map_err(|_| {
                let shown: String = text.chars().take(80).collect();
                EvalError::new(format!("FROM_BASE64: '{shown}' is not Base64"))
            })?;
            out.push_str(&String::from_utf8_lossy(&bytes));
            Ok(Some(()))
        })
    }))
}

fn bind_hex(args: Vec<Expr>) -> Result<Expr, BindError> {
    let [value] = <[Expr; 1]>::try_from(args)
        .map_err(|args| BindError::new(format!("HEX takes 1 argument, not {}", args.len())))?;
    let args = if value.data_type().logical.is_integer() {
        vec![cast_to(value, &LogicalType::BigInt)?]
    } else {
        convert_arguments("HEX", &[Param::TextOrBytes], 1, false, vec![value])?
    };
    let nullable = any_nullable(&args);
    Ok(call("HEX", args, LogicalType::STRING.with_nullable(nullable)))
}

fn hex(site: &CallSite<'_>) -> Compiled {
    if site.args[0].data_type().logical == LogicalType::BigInt {
        return Ok(Box::new(|args, frame| {
            let values = args[0].primitives::<Int64Type>()?;
            strings_by_row(frame.rows, frame.rows * 8, |row, out| {
                let _ = write!(out, "{:X}", values.get(row)?);
                Some(())
            })
        }));
    }
    hash_kernel(|bytes, out| {
        push_hex(bytes, out);
        out.make_ascii_uppercase();
    })
}

fn bin(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let values = args[0].primitives::<Int64Type>()?;
        strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            let _ = write!(out, "{:b}", values.get(row)?);
            Some(())
        })
    }))
}

#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Ascii,
    Latin1,
    Utf16 { big_endian: bool, mark: bool },
}

fn charset(name: &str) -> Result<Charset, EvalError> {
    Ok(match name.to_uppercase().as_str() {
        "UTF-8" | "UTF8" => Charset::Utf8,
        "US-ASCII" | "ASCII" => Charset::Ascii,
        "ISO-8859-1" | "LATIN1" => Charset::Latin1,
        "UTF-16BE" => Charset::Utf16 { big_endian: true, mark: false },
        "UTF-16LE" => Charset::Utf16 { big_endian: false, mark: false },
        "UTF-16" => Charset::Utf16 { big_endian: true, mark: true },
        _ => {
            return Err(EvalError::new(format!(
                "the charset '{name}' is not known; use UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE or UTF-16LE"
            )));
        }
    })
}

fn encode(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let (texts, charsets) = (args[0].strings()?, args[1].strings()?);
        let mut builder = BinaryBuilder::with_capacity(frame.rows, texts.bytes());
        for row in 0..frame.rows {
            let (Some(text), Some(name)) = (texts.get(row), charsets.get(row)) else {
                builder.append_null();
                continue;
            };
            let single = |limit: u32| text.chars().map(|c| if u32::from(c) < limit { c as u8 } else { b'?' }).collect();
            let bytes: Vec<u8> = match charset(name)? {
                Charset::Utf8 => text.as_bytes().to_vec(),
                Charset::Ascii => single(128),
                Charset::Latin1 => single(256),
                Charset::Utf16 { big_endian, mark } => (mark && !text.is_empty())
                    .then_some(0xFEFF)
                    .into_iter()
                    .chain(text.encode_utf16())
                    .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
                    .collect(),
            };
            builder.append_value(&bytes);
        }
        Ok(Arc::new(builder.finish()))
    }))
}

fn decode(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let (values, charsets) = (args[0].binaries()?, args[1].strings()?);
        crate::eval::value::try_strings_by_row(frame.rows, frame.rows * 16, |row, out| {
            let (Some(bytes), Some(name)) = (values.get(row), charsets.get(row)) else { return Ok(None) };
            match charset(name)? {
                Charset::Utf8 => out.push_str(&String::from_utf8_lossy(bytes)),
                Charset::Ascii => {
                    out.extend(bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{FFFD}' }));
                }
                Charset::Latin1 => out.extend(bytes.iter().map(|byte| char::from(*byte))),
                Charset::Utf16 { big_endian, mark } => {
                    let (big_endian, bytes) = match bytes {
                        [0xFE, 0xFF, rest @ ..] if mark => (true, rest),
                        [0xFF, 0xFE, rest @ ..] if mark => (false, rest),
                        bytes => (big_endian, bytes),
                    };
                    let units = bytes.chunks(2).map(|pair| match pair {
                        [first, second] if big_endian => u16::from_be_bytes([*first, *second]),
                        [first, second] => u16::from_le_bytes([*first, *second]),
                        _ => 0xFFFD,
                    });
                    out.extend(char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')));
                }
            }
            Ok(Some(()))
        })
    }))
}

fn url_encode(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, texts.bytes(), |row, out| {
            for byte in texts.get(row)?.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
                    b' ' => out.push('+'),
                    byte => {
                        let _ = write!(out, "%{byte:02X}");
                    }
                }
            }
            Some(())
        })
    }))
}

fn url_decode(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let texts = args[0].strings()?;
        strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let bytes = texts.get(row)?.as_bytes();
            let mut decoded = Vec::with_capacity(bytes.len());
            let mut at = 0;
            while at < bytes.len() {
                match bytes[at] {
                    b'+' => decoded.push(b' '),
                    b'%' => {
                        let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
                        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                            return None;
                        }
                        decoded.push(u8::from_str_radix(digits, 16).ok()?);
                        at += 2;
                    }
                    byte => decoded.push(byte),
                }
                at += 1;
            }
            out.push_str(&String::from_utf8_lossy(&decoded));
            Some(())
        })
    }))
}

/// A URL in the parts that Java's `URL` has.
struct Url<'a> {
    protocol: &'a str,
    authority: Option<&'a str>,
    user_info: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c <= ' ');
        let text = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("url:") => &text[4..],
            _ => text,
        };
        let (protocol, rest) = text.split_once(':')?;
        const KNOWN: [&str; 6] = ["http", "https", "ftp", "file", "jar", "mailto"];
        if !KNOWN.iter().any(|known| protocol.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let (mut user_info, mut host) = (None, "");
        if let Some(authority) = authority {
            let full = match authority.split_once('@') {
                // More than one @ makes neither user nor host.
                Some((_, rest)) if rest.contains('@') => "",
                Some((user, rest)) => {
                    user_info = Some(user);
                    rest
                }
                None => authority,
            };
            let (name, port) = match full.strip_prefix('[') {
                Some(_) => {
                    let end = full.find(']')? + 1;
                    (&full[..end], full[end..].strip_prefix(':'))
                }
                None => match full.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (full, None),
                },
            };
            if port.is_some_and(|port| !port.is_empty() && port.parse::<u32>().is_err()) {
                return None;
            }
            host = name;
        }
        Some(Self { protocol, authority, user_info, host, path, query, reference })
    }

    fn part(&self, part: &str, out: &mut String) -> Option<()> {
        match part {
            "HOST" => out.push_str(self.host),
            "PATH" => out.push_str(self.path),
            "QUERY" => out.push_str(self.query?),
            "REF" => out.push_str(self.reference?),
            "PROTOCOL" => {
                out.push_str(self.protocol);
                out.make_ascii_lowercase();
            }
            "FILE" => {
                out.push_str(self.path);
                if let Some(query) = self.query {
                    out.push('?');
                    out.push_str(query);
                }
            }
            "AUTHORITY" => out.push_str(self.authority?),
            "USERINFO" => out.push_str(self.user_info?),
            _ => return None,
        }
        Some(())
    }
}

fn parse_url(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let (urls, parts) = (args[0].strings()?, args[1].strings()?);
        let keys = args.get(2).map(Value::strings).transpose()?;
        strings_by_row(frame.rows, urls.bytes() / 2, |row, out| {
            let (url, part) = (urls.get(row)?, parts.get(row)?);
            let Some(keys) = &keys else { return Url::parse(url)?.part(part, out) };
            let key = keys.get(row)?;
            if part != "QUERY" {
                return None;
            }
            let query = Url::parse(url)?.query?;
            let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
            out.push_str(value);
            Some(())
        })
    }))
}

fn uuid(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|_, frame| {
        let mut rng = rand::rng();
        strings_by_row(frame.rows, frame.rows * 36, |_, out| {
            let mut bytes = [0_u8; 16];
            rng.fill_bytes(&mut bytes);
            bytes[6] = bytes[6] & 0x0F | 0x40;
            bytes[8] = bytes[8] & 0x3F | 0x80;
            for (index, byte) in bytes.iter().enumerate() {
                if matches!(index, 4 | 6 | 8 | 10) {
                    out.push('-');
                }
                push_hex(&[*byte], out);
            }
            Some(())
        })
    }))
}
