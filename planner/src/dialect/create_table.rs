//! `CREATE TABLE`.

use sqlparser::tokenizer::Token;

use super::parser::StatementParser;
use super::statements::simple_name;
use super::types;
use crate::ast::{ColumnDef, ColumnKind, CreateTable, TableOption, WatermarkDef};
use crate::diagnostic::SqlError;

/// Reads a table from behind the word `TABLE`.
pub(super) fn create_table(parser: &mut StatementParser) -> Result<CreateTable, SqlError> {
    let if_not_exists = parser.accept_words(&["IF", "NOT", "EXISTS"]);
    let name = simple_name(parser)?;
    let mut table = CreateTable {
        options_span: name.span,
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: None,
        options: Vec::new(),
    };
    if parser.peek_words(&["LIKE"]) || parser.peek_words(&["AS"]) {
        return Err(unsupported_clause(parser));
    }
    parser.expect(&Token::LParen)?;
    loop {
        element(parser, &mut table)?;
        if !parser.accept(&Token::Comma) {
            break;
        }
    }
    if !parser.accept(&Token::RParen) {
        return Err(parser.expected("',' or ')' after a column"));
    }
    if parser.accept_words(&["COMMENT"]) {
        parser.string("a comment")?;
    }
    if parser.peek_words(&["PARTITIONED"]) || parser.peek_words(&["DISTRIBUTED"]) {
        return Err(unsupported_clause(parser));
    }
    if parser.accept_words(&["WITH"]) {
        parser.expect(&Token::LParen)?;
        if !parser.peek_is(&Token::RParen) {
            loop {
                table.options.push(option(parser)?);
                if !parser.accept(&Token::Comma) {
                    break;
                }
            }
        }
        table.options_span = parser.span();
        parser.expect(&Token::RParen)?;
    }
    if parser.peek_words(&["LIKE"]) || parser.peek_words(&["AS"]) {
        return Err(unsupported_clause(parser));
    }
    for (index, option) in table.options.iter().enumerate() {
        if table.options[..index].iter().any(|earlier| earlier.key == option.key) {
            return Err(SqlError::at(option.key_span, format!("option '{}' is given twice", option.key)));
        }
    }
    Ok(table)
}

fn unsupported_clause(parser: &StatementParser) -> SqlError {
    let clause = match () {
        () if parser.peek_words(&["LIKE"]) => "CREATE TABLE ... LIKE",
        () if parser.peek_words(&["AS"]) => "CREATE TABLE ... AS SELECT",
        () if parser.peek_words(&["PARTITIONED"]) => "PARTITIONED BY",
        () => "DISTRIBUTED BY",
    };
    SqlError::at(parser.span(), format!("{clause} is not supported yet"))
}

fn option(parser: &mut StatementParser) -> Result<TableOption, SqlError> {
    let (key, key_span) = parser.string("an option in quotes: 'key' = 'value'")?;
    parser.expect(&Token::Eq)?;
    let (value, value_span) = parser.string("a value in quotes: 'key' = 'value'")?;
    Ok(TableOption { key, value, key_span, value_span })
}

/// A column, the watermark, or a constraint.
fn element(parser: &mut StatementParser, table: &mut CreateTable) -> Result<(), SqlError> {
    let start = parser.span();
    if parser.accept_words(&["WATERMARK", "FOR"]) {
        let column = parser.identifier()?;
        if parser.peek_is(&Token::Period) {
            return Err(SqlError::at(parser.span(), "a watermark on a nested field is not supported yet")
                .with_hint("add a computed column for the field and put the watermark on it"));
        }
        parser.expect_words(&["AS"])?;
        let expression = parser.expression()?;
        if table.watermark.is_some() {
            return Err(SqlError::at(start, "a table has at most one WATERMARK"));
        }
        table.watermark = Some(WatermarkDef { column, expression });
        return Ok(());
    }
    let named = parser.accept_words(&["CONSTRAINT"]);
    if named {
        parser.identifier()?;
    }
    if parser.accept_words(&["PRIMARY", "KEY"]) {
        let columns = parser.identifier_list()?;
        return primary_key(parser, table, columns);
    }
    if named || parser.peek_words(&["UNIQUE"]) {
        return Err(parser.expected("PRIMARY KEY (...) NOT ENFORCED, the only constraint there is"));
    }
    let name = parser.identifier()?;
    if table.columns.iter().any(|column| column.name.value == name.value) {
        return Err(SqlError::at(name.span, format!("column '{}' is defined twice", name.value)));
    }
    let mut key = false;
    let kind = if parser.accept_words(&["AS"]) {
        ColumnKind::Computed(Box::new(parser.expression()?))
    } else {
        let mut data_type = types::parse(parser)?;
        if parser.peek_words(&["METADATA"]) {
            return Err(SqlError::at(parser.span(), "METADATA columns are not supported yet"));
        }
        if parser.accept_words(&["PRIMARY", "KEY"]) {
            key = true;
            data_type.nullable = false;
        }
        ColumnKind::Physical(data_type)
    };
    table.columns.push(ColumnDef { name: name.clone(), kind });
    if key {
        primary_key(parser, table, vec![name])?;
    }
    if parser.accept_words(&["COMMENT"]) {
        parser.string("a comment")?;
    }
    Ok(())
}

fn primary_key(
    parser: &mut StatementParser,
    table: &mut CreateTable,
    columns: Vec<sqlparser::ast::Ident>,
) -> Result<(), SqlError> {
    if !parser.accept_words(&["NOT", "ENFORCED"]) {
        return Err(parser.expected("NOT ENFORCED: the engine does not check primary keys"));
    }
    if table.primary_key.is_some() {
        return Err(SqlError::at(columns[0].span, "a table has at most one PRIMARY KEY"));
    }
    table.primary_key = Some(columns);
    Ok(())
}
