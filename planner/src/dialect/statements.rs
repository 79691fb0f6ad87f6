//! The statements of a script.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use tidemill_common::limits::SCRIPT_BYTES_MAX;
use tidemill_common::suggest::nearest;

use super::create_table::create_table;
use super::parser::StatementParser;
use super::tokens::{is_word, split, starts_with_words, tokenize};
use crate::ast::{CreateView, Insert, SetOption, Statement, StatementKind};
use crate::diagnostic::{SqlError, byte_offset};

/// Reads a script. Stops at the first error.
pub fn parse_script(script: &str) -> Result<Vec<Statement>, SqlError> {
    if script.len() > SCRIPT_BYTES_MAX {
        return Err(SqlError::general(format!(
            "the script has {} bytes, the limit is {SCRIPT_BYTES_MAX}",
            script.len()
        )));
    }
    let tokens = tokenize(script)?;
    split(&tokens)
        .into_iter()
        .map(|tokens| {
            let kind = statement(tokens)?;
            let span = Span::new(tokens[0].span.start, tokens[tokens.len() - 1].span.end);
            let range = byte_offset(script, span.start)..byte_offset(script, span.end);
            Ok(Statement { kind, range, span })
        })
        .collect()
}

fn statement(tokens: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    if is_word(&tokens[0], "EXPLAIN") {
        return explain(tokens);
    }
    if starts_with_words(tokens, &["EXECUTE", "STATEMENT", "SET"]) {
        return statement_set(&tokens[3..], tokens);
    }
    if starts_with_words(tokens, &["BEGIN", "STATEMENT", "SET"]) {
        return Err(SqlError::at(tokens[0].span, "BEGIN STATEMENT SET is the old form")
            .with_hint("write EXECUTE STATEMENT SET BEGIN ... END"));
    }
    let mut parser = StatementParser::new(tokens)?;
    let kind = match &tokens[0].token {
        Token::Word(word) if word.quote_style.is_none() => match word.value.to_uppercase().as_str() {
            "CREATE" => create(&mut parser)?,
            "INSERT" => StatementKind::Insert(insert(&mut parser)?),
            "SET" => set(&mut parser)?,
            "RESET" => reset(&mut parser)?,
            "SELECT" | "WITH" | "VALUES" => StatementKind::Query(parser.query()?),
            "EXECUTE" => return Err(SqlError::at(tokens[0].span, "expected EXECUTE STATEMENT SET")),
            other => return Err(unknown_statement(tokens[0].span, other)),
        },
        Token::LParen => StatementKind::Query(parser.query()?),
        token => return Err(SqlError::at(tokens[0].span, format!("expected a statement, found '{token}'"))),
    };
    finish(&parser)?;
    Ok(kind)
}

/// Nothing may follow a statement.
fn finish(parser: &StatementParser) -> Result<(), SqlError> {
    if parser.at_end() { Ok(()) } else { Err(parser.expected("';' or the end of the statement")) }
}

fn unknown_statement(span: Span, word: &str) -> SqlError {
    const REFUSED: [&str; 14] = [
        "DROP", "ALTER", "DESCRIBE", "DESC", "SHOW", "USE", "LOAD", "UNLOAD", "UPDATE", "DELETE", "TRUNCATE",
        "ANALYZE", "CALL", "COMPILE",
    ];
    const KNOWN: [&str; 7] = ["CREATE", "INSERT", "SELECT", "SET", "EXPLAIN", "EXECUTE", "WITH"];
    if REFUSED.contains(&word) {
        return SqlError::at(span, format!("{word} statements are not supported yet"));
    }
    match word {
        "ADD" | "REMOVE" => {
            SqlError::at(span, format!("{word} JAR has no meaning here: there is no Java virtual machine"))
                .with_hint("connectors and formats are built in; own functions are written in Rust")
        }
        _ => SqlError::at(span, format!("unknown statement '{word}'")).with_suggestion(nearest(word, KNOWN)),
    }
}

fn explain(tokens: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    let mut rest = &tokens[1..];
    if starts_with_words(rest, &["PLAN", "FOR"]) {
        rest = &rest[2..];
    }
    let Some(first) = rest.first() else {
        return Err(SqlError::at(tokens[0].span, "expected a statement after EXPLAIN"));
    };
    // EXPLAIN STATEMENT SET BEGIN ... END, as Flink writes it.
    let kind = if starts_with_words(rest, &["STATEMENT", "SET"]) {
        statement_set(&rest[2..], rest)?
    } else {
        statement(rest)?
    };
    match kind {
        StatementKind::Insert(_) | StatementKind::StatementSet(_) | StatementKind::Query(_) => {
            Ok(StatementKind::Explain(Box::new(kind)))
        }
        _ => Err(SqlError::at(first.span, "only INSERT, STATEMENT SET and SELECT can be explained")),
    }
}

fn statement_set(body: &[TokenWithSpan], whole: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    let place = whole[0].span;
    let Some((begin, body)) = body.split_first() else {
        return Err(SqlError::at(place, "expected BEGIN after EXECUTE STATEMENT SET"));
    };
    if !is_word(begin, "BEGIN") {
        return Err(SqlError::at(begin.span, "expected BEGIN after EXECUTE STATEMENT SET"));
    }
    let Some((end, body)) = body.split_last().filter(|(end, _)| is_word(end, "END")) else {
        return Err(SqlError::at(place, "the statement set has no END;").with_hint("close it with 'END;'"));
    };
    let mut inserts = Vec::new();
    for tokens in body.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.is_empty()) {
        if !is_word(&tokens[0], "INSERT") {
            return Err(SqlError::at(tokens[0].span, "only INSERT statements may stand in a statement set"));
        }
        let mut parser = StatementParser::new(tokens)?;
        inserts.push(insert(&mut parser)?);
        finish(&parser)?;
    }
    if inserts.is_empty() {
        return Err(SqlError::at(end.span, "the statement set is empty"));
    }
    Ok(StatementKind::StatementSet(inserts))
}

fn create(parser: &mut StatementParser) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["CREATE"])?;
    if parser.accept_words(&["OR", "ALTER"]) || parser.accept_words(&["OR", "REPLACE"]) {
        return Err(parser.expected("TABLE or VIEW (CREATE OR ALTER / OR REPLACE are not supported yet)"));
    }
    let _temporary = parser.accept_words(&["TEMPORARY"]);
    if parser.accept_words(&["TABLE"]) {
        return Ok(StatementKind::CreateTable(Box::new(create_table(parser)?)));
    }
    if parser.accept_words(&["VIEW"]) {
        let if_not_exists = parser.accept_words(&["IF", "NOT", "EXISTS"]);
        let name = simple_name(parser)?;
        let columns = if parser.peek_is(&Token::LParen) { parser.identifier_list()? } else { Vec::new() };
        if parser.accept_words(&["COMMENT"]) {
            parser.string("a comment")?;
        }
        parser.expect_words(&["AS"])?;
        let query = parser.query()?;
        return Ok(StatementKind::CreateView(CreateView { name, if_not_exists, columns, query }));
    }
    if parser.peek_words(&["FUNCTION"]) || parser.peek_words(&["SYSTEM"]) {
        return Err(SqlError::at(
            parser.span(),
            "CREATE FUNCTION names a Java class, and there is no Java virtual machine",
        )
        .with_hint("write the function in Rust and build it into your own binary"));
    }
    Err(parser.expected("TABLE or VIEW"))
}

/// A table name without catalog and database.
pub(super) fn simple_name(parser: &mut StatementParser) -> Result<sqlparser::ast::Ident, SqlError> {
    let name = parser.identifier()?;
    if parser.peek_is(&Token::Period) {
        return Err(SqlError::at(parser.span(), "catalogs and databases are not supported yet")
            .with_hint("use the plain name of the table"));
    }
    Ok(name)
}

fn insert(parser: &mut StatementParser) -> Result<Insert, SqlError> {
    let span = parser.span();
    parser.expect_words(&["INSERT"])?;
    if parser.peek_words(&["OVERWRITE"]) {
        return Err(SqlError::at(parser.span(), "INSERT OVERWRITE is for batch jobs and is not supported yet"));
    }
    parser.expect_words(&["INTO"])?;
    let table = parser.wrap(|parser| parser.parse_object_name(false))?;
    if parser.peek_words(&["PARTITION"]) {
        return Err(SqlError::at(parser.span(), "PARTITION is not supported yet"));
    }
    // A parenthesis may open a list of columns or a query.
    let query_in_parentheses = parser.raw().peek_nth_token_ref(1).token.to_string().to_uppercase();
    let has_columns =
        parser.peek_is(&Token::LParen) && !matches!(query_in_parentheses.as_str(), "SELECT" | "WITH" | "VALUES" | "(");
    let columns = if has_columns { parser.identifier_list()? } else { Vec::new() };
    let query = parser.query()?;
    Ok(Insert { table, columns, query, span })
}

fn set(parser: &mut StatementParser) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["SET"])?;
    const FORM: &str = "SET 'key' = 'value'";
    if parser.at_end() {
        return Err(parser.expected(FORM));
    }
    let (key, key_span) = parser.string("an option in quotes: SET 'key' = 'value'")?;
    parser.expect(&Token::Eq)?;
    let (value, value_span) = parser.string("a value in quotes: SET 'key' = 'value'")?;
    Ok(StatementKind::Set(SetOption { key, value, key_span, value_span }))
}

fn reset(parser: &mut StatementParser) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["RESET"])?;
    if parser.at_end() {
        return Ok(StatementKind::Reset(None));
    }
    let (key, _) = parser.string("an option in quotes: RESET 'key'")?;
    Ok(StatementKind::Reset(Some(key)))
}
