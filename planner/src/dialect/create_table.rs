//! `CREATE TABLE`.

use sqlparser::tokenizer::Token;

use super::parser::StatementParser;
use super::types;
use crate::ast::{
    ColumnDef, ColumnKind, ColumnPosition, CreateTable, Like, LikeFeature, LikeOption, LikeStrategy, PrimaryKeyDef,
    TableElements, TableOption, WatermarkDef,
};
use crate::diagnostic::SqlError;

/// Reads a table from behind the word `TABLE`.
pub(super) fn create_table(
    parser: &mut StatementParser<'_>,
    temporary: bool,
    replace: bool,
) -> Result<CreateTable, SqlError> {
    let if_not_exists = parser.accept_words(&["IF", "NOT", "EXISTS"]);
    let name = parser.table_name()?;
    let mut table = CreateTable {
        options_span: name.span(),
        name,
        temporary,
        replace,
        if_not_exists,
        elements: TableElements::default(),
        comment: None,
        partitioned_by: Vec::new(),
        options: Vec::new(),
        like: None,
        query: None,
        selected: Vec::new(),
    };
    let names = parser.span();
    if parser.peek_is(&Token::LParen) {
        let behind = &parser.raw().peek_nth_token_ref(2).token;
        if matches!(behind, Token::Comma | Token::RParen) {
            table.selected = parser.identifier_list()?;
        } else {
            table.elements = elements(parser)?;
        }
    }
    if parser.accept_words(&["COMMENT"]) {
        table.comment = Some(parser.string("a comment in quotes")?.0);
    }
    if parser.peek_words(&["DISTRIBUTED"]) {
        return Err(SqlError::at(parser.span(), "DISTRIBUTED BY is not supported yet")
            .with_hint("no connector here takes buckets; leave it out"));
    }
    if parser.accept_words(&["PARTITIONED", "BY"]) {
        table.partitioned_by = parser.identifier_list()?;
    }
    if parser.accept_words(&["WITH"]) {
        (table.options, table.options_span) = option_list(parser)?;
    }
    if parser.accept_words(&["LIKE"]) {
        table.like = Some(like(parser)?);
    } else if parser.accept_words(&["AS"]) {
        table.query = Some(parser.query()?);
    }
    if !table.selected.is_empty() && table.query.is_none() {
        return Err(SqlError::at(names, "columns without types need AS SELECT")
            .with_hint("write name TYPE, or name AS expression"));
    }
    if table.elements.columns.is_empty() && table.like.is_none() && table.query.is_none() {
        return Err(parser.expected("the columns of the table in parentheses, LIKE or AS SELECT"));
    }
    Ok(table)
}

/// `(element, ...)`.
pub(super) fn elements(parser: &mut StatementParser<'_>) -> Result<TableElements, SqlError> {
    let mut elements = TableElements::default();
    parser.expect(&Token::LParen)?;
    loop {
        element(parser, &mut elements)?;
        if !parser.accept(&Token::Comma) {
            break;
        }
    }
    if !parser.accept(&Token::RParen) {
        return Err(parser.expected("',' or ')' after a column"));
    }
    Ok(elements)
}

/// `('key' = 'value', ...)` and the place of its end.
pub(super) fn option_list(
    parser: &mut StatementParser<'_>,
) -> Result<(Vec<TableOption>, sqlparser::tokenizer::Span), SqlError> {
    let mut options: Vec<TableOption> = Vec::new();
    parser.expect(&Token::LParen)?;
    if !parser.peek_is(&Token::RParen) {
        loop {
            let option = option(parser)?;
            if options.iter().any(|earlier| earlier.key == option.key) {
                return Err(SqlError::at(option.key_span, format!("option '{}' is given twice", option.key)));
            }
            options.push(option);
            if !parser.accept(&Token::Comma) {
                break;
            }
        }
    }
    let end = parser.span();
    if !parser.accept(&Token::RParen) {
        return Err(parser.expected("',' or ')' after an option"));
    }
    Ok((options, end))
}

fn option(parser: &mut StatementParser<'_>) -> Result<TableOption, SqlError> {
    let (key, key_span) = parser.string("an option in quotes: 'key' = 'value'")?;
    parser.expect(&Token::Eq)?;
    let (value, value_span) = parser.string("a value in quotes: 'key' = 'value'")?;
    Ok(TableOption { key, value, key_span, value_span })
}

/// A column, the watermark, or a constraint.
pub(super) fn element(parser: &mut StatementParser<'_>, elements: &mut TableElements) -> Result<(), SqlError> {
    let start = parser.span();
    if parser.accept_words(&["WATERMARK", "FOR"]) {
        let column = parser.identifier()?;
        if parser.peek_is(&Token::Period) {
            return Err(SqlError::at(parser.span(), "a watermark on a nested field is not supported yet")
                .with_hint("add a computed column for the field and put the watermark on it"));
        }
        parser.expect_words(&["AS"])?;
        let (expression, text) = parser.expression_with_text()?;
        if elements.watermark.is_some() {
            return Err(SqlError::at(start, "a table has at most one WATERMARK"));
        }
        elements.watermark = Some(WatermarkDef { column, expression, text, span: start });
        return Ok(());
    }
    let mut constraint = None;
    if parser.accept_words(&["CONSTRAINT"]) {
        constraint = Some(parser.identifier()?.value);
    }
    if parser.accept_words(&["PRIMARY", "KEY"]) {
        let columns = parser.identifier_list()?;
        return primary_key(parser, elements, PrimaryKeyDef { constraint, columns, span: start });
    }
    if constraint.is_some() || parser.peek_words(&["UNIQUE"]) {
        return Err(parser.expected("PRIMARY KEY (...) NOT ENFORCED, the only constraint there is"));
    }
    column(parser, elements)
}

fn column(parser: &mut StatementParser<'_>, elements: &mut TableElements) -> Result<(), SqlError> {
    let name = parser.identifier()?;
    if elements.columns.iter().any(|column| column.name.value == name.value) {
        return Err(SqlError::at(name.span, format!("column '{}' is defined twice", name.value)));
    }
    let mut key = None;
    let kind = if parser.accept_words(&["AS"]) {
        let (expression, text) = parser.expression_with_text()?;
        ColumnKind::Computed(Box::new(expression), text)
    } else {
        let mut data_type = types::parse(parser)?;
        let span = parser.span();
        if parser.accept_words(&["METADATA"]) {
            let from = parser.accept_words(&["FROM"]);
            let key = if from { Some(parser.string("the key of the metadata in quotes")?) } else { None };
            let is_virtual = parser.accept_words(&["VIRTUAL"]);
            ColumnKind::Metadata { data_type, key, is_virtual, span }
        } else {
            let constraint = parser.accept_words(&["CONSTRAINT"]);
            let constraint = if constraint { Some(parser.identifier()?.value) } else { None };
            let span = parser.span();
            if parser.accept_words(&["PRIMARY", "KEY"]) {
                data_type.nullable = false;
                key = Some(PrimaryKeyDef { constraint, columns: vec![name.clone()], span });
            } else if constraint.is_some() {
                return Err(parser.expected("PRIMARY KEY NOT ENFORCED"));
            }
            if parser.peek_words(&["DEFAULT"]) {
                return Err(SqlError::at(parser.span(), "columns have no DEFAULT in Flink SQL")
                    .with_hint("use COALESCE in the INSERT"));
            }
            ColumnKind::Physical(data_type)
        }
    };
    if let Some(key) = key {
        primary_key(parser, elements, key)?;
    }
    let comment = if parser.accept_words(&["COMMENT"]) { Some(parser.string("a comment in quotes")?.0) } else { None };
    let position = if parser.accept_words(&["FIRST"]) {
        Some(ColumnPosition::First)
    } else if parser.accept_words(&["AFTER"]) {
        Some(ColumnPosition::After(parser.identifier()?))
    } else {
        None
    };
    elements.columns.push(ColumnDef { name, kind, comment, position });
    Ok(())
}

fn primary_key(
    parser: &mut StatementParser<'_>,
    elements: &mut TableElements,
    key: PrimaryKeyDef,
) -> Result<(), SqlError> {
    if !parser.accept_words(&["NOT", "ENFORCED"]) {
        return Err(parser.expected("NOT ENFORCED: the engine does not check primary keys"));
    }
    if elements.primary_key.is_some() {
        return Err(SqlError::at(key.span, "a table has at most one PRIMARY KEY"));
    }
    elements.primary_key = Some(key);
    Ok(())
}

/// `table [(INCLUDING ALL ...)]`.
fn like(parser: &mut StatementParser<'_>) -> Result<Like, SqlError> {
    let source = parser.table_name()?;
    let mut options: Vec<LikeOption> = Vec::new();
    if parser.accept(&Token::LParen) {
        while !parser.peek_is(&Token::RParen) {
            let option = like_option(parser)?;
            if options.iter().any(|earlier| earlier.feature == option.feature) {
                return Err(SqlError::at(option.span, "this part of the table is named twice in LIKE"));
            }
            options.push(option);
        }
        parser.expect(&Token::RParen)?;
    }
    Ok(Like { source, options })
}

fn like_option(parser: &mut StatementParser<'_>) -> Result<LikeOption, SqlError> {
    const STRATEGIES: [(&str, LikeStrategy); 3] = [
        ("INCLUDING", LikeStrategy::Including),
        ("EXCLUDING", LikeStrategy::Excluding),
        ("OVERWRITING", LikeStrategy::Overwriting),
    ];
    const FEATURES: [(&str, LikeFeature); 8] = [
        ("ALL", LikeFeature::All),
        ("CONSTRAINTS", LikeFeature::Constraints),
        ("DISTRIBUTION", LikeFeature::Distribution),
        ("GENERATED", LikeFeature::Generated),
        ("METADATA", LikeFeature::Metadata),
        ("OPTIONS", LikeFeature::Options),
        ("PARTITIONS", LikeFeature::Partitions),
        ("WATERMARKS", LikeFeature::Watermarks),
    ];
    let span = parser.span();
    let Some((_, strategy)) = STRATEGIES.iter().find(|(word, _)| parser.accept_words(&[word])) else {
        return Err(parser.expected("INCLUDING, EXCLUDING or OVERWRITING"));
    };
    let Some((name, feature)) = FEATURES.iter().find(|(word, _)| parser.accept_words(&[word])) else {
        return Err(
            parser.expected("ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS")
        );
    };
    let whole = matches!(
        feature,
        LikeFeature::All | LikeFeature::Constraints | LikeFeature::Distribution | LikeFeature::Partitions
    );
    if *strategy == LikeStrategy::Overwriting && whole {
        return Err(SqlError::at(span, format!("{name} cannot be OVERWRITING, only INCLUDING or EXCLUDING")));
    }
    Ok(LikeOption { strategy: *strategy, feature: *feature, span })
}
