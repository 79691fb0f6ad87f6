//! Flink's type names.
//!
//! Types in `CREATE TABLE` are read by [`parse`]. Types in `CAST` reach the binder inside
//! `sqlparser`'s tree: a hook of the dialect reads them with the same code and hides the result in a
//! custom type, which [`convert`] opens.

use sqlparser::ast::{DataType as SqlType, Ident, ObjectName, ObjectNamePart, TypeModifier};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};
use tidemill_common::limits::TYPE_DEPTH_MAX;
use tidemill_common::suggest::nearest;
use tidemill_common::types::{DECIMAL_PRECISION_MAX, DataType, Field, LogicalType, MAX_LENGTH};

use super::parser::StatementParser;
use crate::diagnostic::SqlError;

const HIDDEN_TYPE: &str = "__FLINK_TYPE";

const NAMES: [&str; 29] = [
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "CHARACTER",
    "DATE",
    "DEC",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "MULTISET",
    "NULL",
    "NUMERIC",
    "RAW",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// Reads a type, with its nullability.
pub(super) fn parse(parser: &mut StatementParser<'_>) -> Result<DataType, SqlError> {
    let span = parser.span();
    match parser.wrap(|raw| TypeParser { raw, depth: 0 }.data_type()) {
        Ok(data_type) => Ok(data_type),
        Err(error) => Err(error.or_at(span)),
    }
}

/// The type that the dialect's hook hid in `sqlparser`'s.
pub fn convert(sql_type: &SqlType) -> Result<DataType, SqlError> {
    match sql_type {
        SqlType::Custom(name, modifiers) if name.to_string() == HIDDEN_TYPE => modifiers
            .first()
            .and_then(|modifier| match modifier {
                TypeModifier::String(json) => serde_json::from_str(json).ok(),
                _ => None,
            })
            .ok_or_else(|| SqlError::general("the type of a cast was lost")),
        // A type whose name is followed by a string, as in DATE '2020-01-01', is left to sqlparser.
        SqlType::Date => Ok(LogicalType::Date.nullable()),
        SqlType::Time(precision, _) => Ok(LogicalType::Time(precision.unwrap_or(0).min(9) as u8).nullable()),
        SqlType::Timestamp(precision, _) => Ok(LogicalType::Timestamp(precision.unwrap_or(6).min(9) as u8).nullable()),
        other => Err(unknown_type(&other.to_string())),
    }
}

fn unknown_type(name: &str) -> SqlError {
    SqlError::general(format!("unknown type '{name}'")).with_suggestion(nearest(name, NAMES))
}

/// Called by `sqlparser` wherever it expects a type, and also where it only tries whether a word is
/// one: then it must leave words alone that are no type here.
pub(super) fn parse_hook(raw: &mut Parser) -> Option<Result<SqlType, ParserError>> {
    let word = match &raw.peek_token_ref().token {
        Token::Word(Word { value, quote_style: None, .. }) => value.to_uppercase(),
        _ => return None,
    };
    if !NAMES.contains(&word.as_str()) || word == "NULL" || word == "INTERVAL" {
        return None;
    }
    // DATE '...', TIMESTAMP '...': a literal, which sqlparser reads. MAP(...), ROW(...), ARRAY[...]: a constructor.
    match (&raw.peek_nth_token_ref(1).token, word.as_str()) {
        (Token::SingleQuotedString(_), _) => return None,
        (next, "MAP" | "ROW" | "ARRAY" | "MULTISET") if *next != Token::Lt => return None,
        _ => {}
    }
    let parsed = TypeParser { raw, depth: 0 }.data_type().and_then(|data_type| {
        let json = serde_json::to_string(&data_type).map_err(|error| ParserError::ParserError(error.to_string()))?;
        Ok(SqlType::Custom(
            ObjectName(vec![ObjectNamePart::Identifier(Ident::new(HIDDEN_TYPE))]),
            vec![TypeModifier::String(json)],
        ))
    });
    Some(parsed)
}

struct TypeParser<'p, 'd> {
    raw: &'p mut Parser<'d>,
    depth: usize,
}

impl TypeParser<'_, '_> {
    fn data_type(&mut self) -> Result<DataType, ParserError> {
        self.depth += 1;
        self.check_depth(self.depth)?;
        let logical = self.logical()?;
        let nullable = if self.accept_words(&["NOT", "NULL"]) {
            false
        } else {
            self.accept_words(&["NULL"]);
            true
        };
        let mut data_type = DataType { logical, nullable };
        // The postfix form: INT ARRAY, INT MULTISET.
        let mut arrays = 0;
        loop {
            let wrap = if self.accept_words(&["ARRAY"]) {
                LogicalType::Array
            } else if self.accept_words(&["MULTISET"]) {
                LogicalType::Multiset
            } else {
                break;
            };
            arrays += 1;
            self.check_depth(self.depth + arrays)?;
            data_type = wrap(Box::new(data_type)).nullable();
        }
        self.depth -= 1;
        Ok(data_type)
    }

    fn check_depth(&self, depth: usize) -> Result<(), ParserError> {
        if depth <= TYPE_DEPTH_MAX {
            return Ok(());
        }
        let place = self.raw.peek_token_ref().span.start;
        Err(ParserError::ParserError(format!(
            "a type nests more than {TYPE_DEPTH_MAX} levels deep at Line: {}, Column: {}",
            place.line, place.column
        )))
    }

    fn logical(&mut self) -> Result<LogicalType, ParserError> {
        let token = self.raw.next_token();
        let Token::Word(Word { value, .. }) = &token.token else {
            return self.raw.expected("a type", token);
        };
        let at = format!(" at Line: {}, Column: {}", token.span.start.line, token.span.start.column);
        let refuse = |message: String| Err(ParserError::ParserError(format!("{message}{at}")));
        Ok(match value.to_uppercase().as_str() {
            "BOOLEAN" => LogicalType::Boolean,
            "TINYINT" => LogicalType::TinyInt,
            "SMALLINT" => LogicalType::SmallInt,
            "INT" | "INTEGER" => LogicalType::Int,
            "BIGINT" => LogicalType::BigInt,
            "FLOAT" => LogicalType::Float,
            "DOUBLE" => {
                self.accept_words(&["PRECISION"]);
                LogicalType::Double
            }
            "DECIMAL" | "DEC" | "NUMERIC" => {
                let numbers = self.numbers(2)?;
                let precision = numbers.first().copied().unwrap_or(10);
                let scale = numbers.get(1).copied().unwrap_or(0);
                if precision == 0 || precision > u32::from(DECIMAL_PRECISION_MAX) || scale > precision {
                    return refuse(format!(
                        "DECIMAL({precision}, {scale}) does not exist: the precision is 1 to 38, the scale at most the precision"
                    ));
                }
                LogicalType::Decimal(precision as u8, scale as u8)
            }
            "STRING" => LogicalType::STRING,
            "BYTES" => LogicalType::BYTES,
            name @ ("CHAR" | "CHARACTER" | "VARCHAR" | "BINARY" | "VARBINARY") => {
                // CHAR alone is CHAR(1), but VARCHAR alone is the longest, as in Flink.
                let name = match name {
                    "CHAR" | "CHARACTER" if self.accept_words(&["VARYING"]) => "VARCHAR",
                    name => name,
                };
                let default = if name.starts_with("VAR") { MAX_LENGTH } else { 1 };
                let length = self.numbers(1)?.first().copied().unwrap_or(default);
                if length == 0 || length > MAX_LENGTH {
                    return refuse(format!("{name}({length}) does not exist: the length is 1 to {MAX_LENGTH}"));
                }
                match name {
                    "VARCHAR" => LogicalType::Varchar(length),
                    "BINARY" => LogicalType::Binary(length),
                    "VARBINARY" => LogicalType::Varbinary(length),
                    _ => LogicalType::Char(length),
                }
            }
            "DATE" => LogicalType::Date,
            "TIME" => {
                let precision = self.precision("TIME", 0, &at)?;
                self.accept_words(&["WITHOUT", "TIME", "ZONE"]);
                LogicalType::Time(precision)
            }
            "TIMESTAMP" => {
                let precision = self.precision("TIMESTAMP", 6, &at)?;
                if self.accept_words(&["WITH", "LOCAL", "TIME", "ZONE"]) {
                    LogicalType::TimestampLtz(precision)
                } else if self.accept_words(&["WITH", "TIME", "ZONE"]) {
                    return refuse("TIMESTAMP WITH TIME ZONE is not supported, as in Flink; use TIMESTAMP_LTZ".into());
                } else {
                    self.accept_words(&["WITHOUT", "TIME", "ZONE"]);
                    LogicalType::Timestamp(precision)
                }
            }
            "TIMESTAMP_LTZ" => LogicalType::TimestampLtz(self.precision("TIMESTAMP_LTZ", 6, &at)?),
            "ARRAY" => {
                self.expect(&Token::Lt)?;
                let element = self.data_type()?;
                self.expect(&Token::Gt)?;
                LogicalType::Array(Box::new(element))
            }
            "MAP" => {
                self.expect(&Token::Lt)?;
                let key = self.data_type()?;
                self.expect(&Token::Comma)?;
                let value = self.data_type()?;
                self.expect(&Token::Gt)?;
                LogicalType::Map(Box::new(key), Box::new(value))
            }
            "ROW" => self.row()?,
            "MULTISET" => {
                self.expect(&Token::Lt)?;
                let element = self.data_type()?;
                self.expect(&Token::Gt)?;
                LogicalType::Multiset(Box::new(element))
            }
            name @ ("RAW" | "INTERVAL") => {
                return refuse(format!("columns of type {name} are not supported yet"));
            }
            name => {
                let hint = nearest(name, NAMES).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return refuse(format!("unknown type '{value}'{hint}"));
            }
        })
    }

    /// `ROW<a INT, b STRING 'comment'>` or `ROW(a INT, b STRING)`.
    fn row(&mut self) -> Result<LogicalType, ParserError> {
        let parenthesised = self.raw.consume_token(&Token::LParen);
        if !parenthesised {
            self.expect(&Token::Lt)?;
        }
        let mut fields = Vec::new();
        loop {
            let name = self.raw.parse_identifier()?.value;
            let data_type = self.data_type()?;
            if matches!(self.raw.peek_token_ref().token, Token::SingleQuotedString(_)) {
                self.raw.advance_token();
            }
            fields.push(Field { name, data_type });
            if !self.raw.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(if parenthesised { &Token::RParen } else { &Token::Gt })?;
        Ok(LogicalType::Row(fields))
    }

    fn precision(&mut self, name: &str, default: u8, at: &str) -> Result<u8, ParserError> {
        match self.numbers(1)?.first() {
            None => Ok(default),
            Some(precision @ 0..=9) => Ok(*precision as u8),
            Some(precision) => Err(ParserError::ParserError(format!(
                "{name}({precision}) does not exist: the precision is 0 to 9{at}"
            ))),
        }
    }

    /// `(n)` or `(n, m)`, if there is a parenthesis.
    fn numbers(&mut self, most: usize) -> Result<Vec<u32>, ParserError> {
        let mut numbers = Vec::new();
        if !self.raw.consume_token(&Token::LParen) {
            return Ok(numbers);
        }
        loop {
            let token = self.raw.next_token();
            match &token.token {
                Token::Number(text, _) if numbers.len() < most => match text.parse() {
                    Ok(number) => numbers.push(number),
                    Err(_) => return self.raw.expected("a whole number", token),
                },
                _ => return self.raw.expected("a whole number", token),
            }
            if !self.raw.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        Ok(numbers)
    }

    fn accept_words(&mut self, words: &[&str]) -> bool {
        let found =
            words.iter().enumerate().all(|(n, word)| super::tokens::is_word(self.raw.peek_nth_token_ref(n), word));
        if found {
            words.iter().for_each(|_| self.raw.advance_token());
        }
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), ParserError> {
        self.raw.expect_token(token).map(drop)
    }
}
