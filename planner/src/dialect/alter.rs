//! `ALTER TABLE` and `ALTER VIEW`.

use sqlparser::tokenizer::Token;

use super::create_table::{element, elements, option_list};
use super::parser::StatementParser;
use crate::ast::{AlterTable, AlterView, StatementKind, TableChange, TableElements, ViewChange};
use crate::diagnostic::SqlError;

/// Reads the statement from its first word.
pub(super) fn alter(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["ALTER"])?;
    if parser.accept_words(&["TABLE"]) {
        let if_exists = parser.accept_words(&["IF", "EXISTS"]);
        let name = parser.table_name()?;
        let change = table_change(parser)?;
        return Ok(StatementKind::AlterTable(Box::new(AlterTable { if_exists, name, change })));
    }
    if parser.accept_words(&["VIEW"]) {
        let name = parser.table_name()?;
        if parser.accept_words(&["RENAME", "TO"]) {
            let change = ViewChange::Rename(parser.table_name()?);
            return Ok(StatementKind::AlterView(AlterView { name, change }));
        }
        parser.expect_words(&["AS"])?;
        let (query, text) = parser.query_with_text()?;
        return Ok(StatementKind::AlterView(AlterView { name, change: ViewChange::Query(query, text) }));
    }
    let span = parser.span();
    for (word, reason) in [
        ("DATABASE", "the properties of a database have no meaning here"),
        ("CATALOG", "there is one catalog, default_catalog, and it has no properties"),
        ("FUNCTION", "functions are built in, or written in Rust in a program of your own (docs/functions.md)"),
        ("MODEL", "models are not supported yet"),
        ("MATERIALIZED", "materialized tables are not supported yet"),
    ] {
        if parser.peek_words(&[word]) {
            return Err(SqlError::at(span, format!("ALTER {word}: {reason}")));
        }
    }
    Err(parser.expected("TABLE or VIEW"))
}

fn table_change(parser: &mut StatementParser<'_>) -> Result<TableChange, SqlError> {
    let span = parser.span();
    if parser.accept_words(&["RENAME"]) {
        if parser.accept_words(&["TO"]) {
            return Ok(TableChange::Rename(parser.table_name()?));
        }
        let from = parser.identifier()?;
        parser.expect_words(&["TO"])?;
        return Ok(TableChange::RenameColumn { from, to: parser.identifier()? });
    }
    if parser.accept_words(&["SET"]) {
        return Ok(TableChange::SetOptions(option_list(parser)?.0));
    }
    if parser.accept_words(&["RESET"]) {
        parser.expect(&Token::LParen)?;
        let mut keys = vec![parser.string("an option in quotes")?];
        while parser.accept(&Token::Comma) {
            keys.push(parser.string("an option in quotes")?);
        }
        parser.expect(&Token::RParen)?;
        return Ok(TableChange::ResetOptions(keys));
    }
    if parser.accept_words(&["ADD"]) {
        refuse(parser, &["PARTITION", "DISTRIBUTION", "IF"])?;
        return Ok(TableChange::Add(one_or_more(parser)?));
    }
    if parser.accept_words(&["MODIFY"]) {
        refuse(parser, &["DISTRIBUTION"])?;
        return Ok(TableChange::Modify(one_or_more(parser)?));
    }
    if parser.accept_words(&["DROP"]) {
        refuse(parser, &["PARTITION", "DISTRIBUTION", "IF"])?;
        if parser.accept_words(&["PRIMARY", "KEY"]) {
            return Ok(TableChange::DropPrimaryKey { constraint: None, span });
        }
        if parser.accept_words(&["CONSTRAINT"]) {
            return Ok(TableChange::DropPrimaryKey { constraint: Some(parser.identifier()?), span });
        }
        if parser.accept_words(&["WATERMARK"]) {
            return Ok(TableChange::DropWatermark(span));
        }
        if parser.peek_is(&Token::LParen) {
            return Ok(TableChange::DropColumns(parser.identifier_list()?));
        }
        parser.accept_words(&["COLUMN"]);
        return Ok(TableChange::DropColumns(vec![parser.identifier()?]));
    }
    if parser.peek_words(&["COMPACT"]) {
        return Err(SqlError::at(span, "ALTER TABLE ... COMPACT is not supported yet"));
    }
    Err(parser.expected("ADD, MODIFY, DROP, RENAME, SET or RESET"))
}

fn refuse(parser: &StatementParser<'_>, words: &[&str]) -> Result<(), SqlError> {
    match words.iter().find(|word| parser.peek_words(&[word])) {
        Some(&"IF") => Err(parser.expected("a column, a watermark or a primary key")),
        Some(word) => Err(SqlError::at(parser.span(), format!("{word} is not supported yet in ALTER TABLE"))),
        None => Ok(()),
    }
}

/// `[COLUMN] element`, or `(element, ...)`.
fn one_or_more(parser: &mut StatementParser<'_>) -> Result<TableElements, SqlError> {
    if parser.peek_is(&Token::LParen) {
        return elements(parser);
    }
    parser.accept_words(&["COLUMN"]);
    let mut one = TableElements::default();
    element(parser, &mut one)?;
    Ok(one)
}
