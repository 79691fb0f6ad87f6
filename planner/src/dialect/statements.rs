//! The statements of a script.

use std::ops::Range;

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use tidemill_common::limits::SCRIPT_BYTES_MAX;
use tidemill_common::suggest::nearest;

use super::alter::alter;
use super::create_table::create_table;
use super::parser::StatementParser;
use super::show::show;
use super::tokens::{is_word, split, starts_with_words, tokenize};
use crate::ast::{CreateView, Drop, DropObject, Insert, ResetOption, SetOption, Statement, StatementKind};
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
            let kind = statement(script, tokens)?;
            let span = span_of(tokens);
            Ok(Statement { kind, range: range_of(script, span), span })
        })
        .collect()
}

/// A statement that is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementText {
    /// Bytes of the script, without the semicolon.
    pub range: Range<usize>,
    /// Whether a semicolon ends it.
    pub ended: bool,
}

/// The statements of a text that may still be typed. An error is one of single tokens, such as a
/// string that is not closed.
pub fn statement_texts(script: &str) -> Result<Vec<StatementText>, SqlError> {
    let tokens = tokenize(script)?;
    let last = tokens.len();
    let behind = |statement: &[TokenWithSpan]| {
        let end = statement.as_ptr_range().end;
        tokens[..last].as_ptr_range().end != end
    };
    Ok(split(&tokens)
        .into_iter()
        .map(|statement| StatementText { range: range_of(script, span_of(statement)), ended: behind(statement) })
        .collect())
}

fn span_of(tokens: &[TokenWithSpan]) -> Span {
    Span::new(tokens[0].span.start, tokens[tokens.len() - 1].span.end)
}

fn range_of(script: &str, span: Span) -> Range<usize> {
    byte_offset(script, span.start)..byte_offset(script, span.end)
}

fn statement(script: &str, tokens: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    if is_word(&tokens[0], "EXPLAIN") {
        return explain(script, tokens);
    }
    if starts_with_words(tokens, &["EXECUTE", "STATEMENT", "SET"]) {
        return statement_set(script, &tokens[3..], tokens);
    }
    if starts_with_words(tokens, &["BEGIN", "STATEMENT", "SET"]) {
        return set_body(script, &tokens[3..], tokens[0].span);
    }
    // EXECUTE INSERT and EXECUTE SELECT are the statements themselves.
    let tokens = match tokens {
        [first, second, ..]
            if is_word(first, "EXECUTE")
                && ["INSERT", "SELECT", "WITH", "VALUES"].iter().any(|word| is_word(second, word)) =>
        {
            &tokens[1..]
        }
        _ => tokens,
    };
    let mut parser = StatementParser::new(script, tokens)?;
    let kind = match &tokens[0].token {
        Token::Word(word) if word.quote_style.is_none() => match word.value.to_uppercase().as_str() {
            "CREATE" => create(&mut parser)?,
            "DROP" => drop_object(&mut parser)?,
            "ALTER" => alter(&mut parser)?,
            "USE" => use_name(&mut parser)?,
            "DESCRIBE" | "DESC" => describe(&mut parser)?,
            "SHOW" => {
                parser.expect_words(&["SHOW"])?;
                StatementKind::Show(show(&mut parser)?)
            }
            "INSERT" => StatementKind::Insert(insert(&mut parser)?),
            "SET" => set(&mut parser)?,
            "RESET" => reset(&mut parser)?,
            "SELECT" | "WITH" | "VALUES" => StatementKind::Query(parser.query()?),
            "EXECUTE" => {
                return Err(SqlError::at(tokens[0].span, "expected EXECUTE STATEMENT SET BEGIN ... END")
                    .with_hint("compiled plans (EXECUTE PLAN) are not supported yet"));
            }
            other => return Err(unknown_statement(tokens[0].span, other)),
        },
        Token::LParen => StatementKind::Query(parser.query()?),
        token => return Err(SqlError::at(tokens[0].span, format!("expected a statement, found '{token}'"))),
    };
    finish(&parser)?;
    Ok(kind)
}

/// Nothing may follow a statement.
fn finish(parser: &StatementParser<'_>) -> Result<(), SqlError> {
    const CLAUSES: [&str; 9] = ["FROM", "WHERE", "GROUP", "HAVING", "UNION", "JOIN", "ORDER", "LIMIT", "VALUES"];
    if parser.at_end() {
        return Ok(());
    }
    let error = parser.expected("';' or the end of the statement");
    // A misspelt word was taken for an alias.
    Err(match parser.slip_of(&CLAUSES) {
        Some((word, clause)) => error.with_hint(format!("is '{word}' before it meant to be '{clause}'?")),
        None => error,
    })
}

fn unknown_statement(span: Span, word: &str) -> SqlError {
    const KNOWN: [&str; 14] = [
        "ALTER", "BEGIN", "CREATE", "DESCRIBE", "DROP", "EXECUTE", "EXPLAIN", "INSERT", "RESET", "SELECT", "SET",
        "SHOW", "USE", "WITH",
    ];
    let refused = |message: &str, hint: &str| SqlError::at(span, message).with_hint(hint);
    match word {
        "ADD" | "REMOVE" => refused(
            &format!("{word} JAR has no meaning here: there is no Java virtual machine"),
            "leave it out: connectors and formats are built in; own functions are written in Rust, in a program that calls tidemill::main (docs/functions.md)",
        ),
        "LOAD" | "UNLOAD" => refused("there are no modules to load", "leave it out: all functions are built in"),
        "UPDATE" | "DELETE" | "TRUNCATE" => refused(
            &format!("{word} changes the rows of a table, which is a batch job and not supported yet"),
            "write to a table with a PRIMARY KEY by INSERT INTO: later rows replace earlier ones",
        ),
        "ANALYZE" => refused("ANALYZE TABLE is not supported: no plan depends on statistics", "leave it out"),
        "CALL" => refused("CALL: there are no procedures", "leave it out"),
        "COMPILE" => refused(
            "COMPILE PLAN is not supported yet: every job keeps the plan it was compiled to",
            "submit the INSERT itself",
        ),
        "STOP" => refused("STOP JOB is not supported in scripts", "use 'tidemill stop JOB'"),
        "QUIT" | "EXIT" | "HELP" | "CLEAR" | "SOURCE" => refused(
            &format!("{word} is a command of the shell, not a statement"),
            "start the shell with 'tidemill sql'",
        ),
        _ => SqlError::at(span, format!("unknown statement '{word}'")).with_suggestion(nearest(word, KNOWN)),
    }
}

fn explain(script: &str, tokens: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    let mut rest = &tokens[1..];
    if starts_with_words(rest, &["PLAN", "FOR"]) {
        rest = &rest[2..];
    }
    // What EXPLAIN shows always holds the changelog mode.
    while let Some(detail) = rest.first().filter(|token| {
        ["CHANGELOG_MODE", "ESTIMATED_COST", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"]
            .iter()
            .any(|word| is_word(token, word))
    }) {
        if !is_word(detail, "CHANGELOG_MODE") {
            return Err(SqlError::at(detail.span, format!("EXPLAIN {} is not supported", detail.token))
                .with_hint("plain EXPLAIN shows operators, parallelism, keys, changelog modes and state"));
        }
        rest = &rest[1..];
        if rest.first().is_some_and(|token| token.token == Token::Comma) {
            rest = &rest[1..];
        }
    }
    let Some(first) = rest.first() else {
        return Err(SqlError::at(tokens[0].span, "expected a statement after EXPLAIN"));
    };
    // EXPLAIN STATEMENT SET BEGIN ... END, as Flink writes it.
    let kind = if starts_with_words(rest, &["STATEMENT", "SET"]) {
        statement_set(script, &rest[2..], rest)?
    } else {
        statement(script, rest)?
    };
    match kind {
        StatementKind::Insert(_) | StatementKind::StatementSet(_) | StatementKind::Query(_) => {
            Ok(StatementKind::Explain(Box::new(kind)))
        }
        _ => Err(SqlError::at(first.span, "only INSERT, STATEMENT SET and SELECT can be explained")),
    }
}

fn statement_set(script: &str, body: &[TokenWithSpan], whole: &[TokenWithSpan]) -> Result<StatementKind, SqlError> {
    let place = whole[0].span;
    match body.split_first() {
        Some((begin, body)) if is_word(begin, "BEGIN") => set_body(script, body, place),
        Some((begin, _)) => Err(SqlError::at(begin.span, "expected BEGIN after EXECUTE STATEMENT SET")),
        None => Err(SqlError::at(place, "expected BEGIN after EXECUTE STATEMENT SET")),
    }
}

/// `INSERT ...; INSERT ...; END`.
fn set_body(script: &str, body: &[TokenWithSpan], place: Span) -> Result<StatementKind, SqlError> {
    let Some((end, body)) = body.split_last().filter(|(end, _)| is_word(end, "END")) else {
        return Err(SqlError::at(place, "the statement set has no END;").with_hint("close it with 'END;'"));
    };
    let mut inserts = Vec::new();
    for tokens in body.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.is_empty()) {
        if !is_word(&tokens[0], "INSERT") {
            return Err(SqlError::at(tokens[0].span, "only INSERT statements may stand in a statement set")
                .with_hint("create tables and views before it"));
        }
        let mut parser = StatementParser::new(script, tokens)?;
        inserts.push(insert(&mut parser)?);
        finish(&parser)?;
    }
    if inserts.is_empty() {
        return Err(SqlError::at(end.span, "the statement set is empty"));
    }
    Ok(StatementKind::StatementSet(inserts))
}

fn create(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["CREATE"])?;
    let span = parser.span();
    let replace = parser.accept_words(&["OR", "REPLACE"]);
    let alter = parser.accept_words(&["OR", "ALTER"]);
    let temporary = parser.accept_words(&["TEMPORARY"]);
    if parser.accept_words(&["TABLE"]) {
        let table = create_table(parser, temporary, replace)?;
        if alter || (replace && table.query.is_none()) {
            let form = if alter { "OR ALTER" } else { "OR REPLACE" };
            return Err(SqlError::at(
                span,
                format!("CREATE {form} TABLE is not in Flink SQL, but for OR REPLACE with AS SELECT"),
            )
            .with_hint("write DROP TABLE IF EXISTS before CREATE TABLE, or use ALTER TABLE"));
        }
        return Ok(StatementKind::CreateTable(Box::new(table)));
    }
    if replace || alter {
        return Err(SqlError::at(
            span,
            "OR REPLACE and OR ALTER are not in Flink SQL, but for CREATE OR REPLACE TABLE ... AS SELECT",
        )
        .with_hint("write DROP ... IF EXISTS before it"));
    }
    if parser.accept_words(&["VIEW"]) {
        let if_not_exists = parser.accept_words(&["IF", "NOT", "EXISTS"]);
        let name = parser.table_name()?;
        let columns = if parser.peek_is(&Token::LParen) { parser.identifier_list()? } else { Vec::new() };
        let comment = parser.accept_words(&["COMMENT"]);
        let comment = if comment { Some(parser.string("a comment in quotes")?.0) } else { None };
        parser.expect_words(&["AS"])?;
        let (query, text) = parser.query_with_text()?;
        let view = CreateView { name, temporary, if_not_exists, columns, comment, query, text };
        return Ok(StatementKind::CreateView(view));
    }
    let span = parser.span();
    if parser.accept_words(&["DATABASE"]) {
        let if_not_exists = parser.accept_words(&["IF", "NOT", "EXISTS"]);
        let name = parser.table_name()?;
        if parser.accept_words(&["COMMENT"]) {
            parser.string("a comment in quotes")?;
        }
        if parser.peek_words(&["WITH"]) {
            return Err(SqlError::at(parser.span(), "the properties of a database have no meaning here")
                .with_hint("leave WITH (...) out"));
        }
        return Ok(StatementKind::CreateDatabase { name, if_not_exists });
    }
    if parser.peek_words(&["FUNCTION"]) || parser.peek_words(&["SYSTEM"]) {
        return Err(SqlError::at(span, "CREATE FUNCTION names a Java class, and there is no Java virtual machine")
            .with_hint("write it in Rust and register it in a program that calls tidemill::main (docs/functions.md)"));
    }
    if parser.peek_words(&["CATALOG"]) {
        return Err(SqlError::at(span, "CREATE CATALOG is not supported yet: there is one catalog, default_catalog")
            .with_hint("create the tables in the script; CREATE DATABASE keeps them apart"));
    }
    for (word, what) in
        [("MODEL", "models are"), ("MATERIALIZED", "materialized tables are"), ("CONNECTION", "connections are")]
    {
        if parser.peek_words(&[word]) {
            return Err(SqlError::at(span, format!("{what} not supported yet")));
        }
    }
    Err(parser.expected("TABLE, VIEW or DATABASE"))
}

fn drop_object(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["DROP"])?;
    let temporary = parser.accept_words(&["TEMPORARY"]);
    let span = parser.span();
    let object = match () {
        () if parser.accept_words(&["TABLE"]) => DropObject::Table,
        () if parser.accept_words(&["VIEW"]) => DropObject::View,
        () if !temporary && parser.accept_words(&["DATABASE"]) => DropObject::Database,
        () => {
            for (word, what) in [
                ("FUNCTION", "functions are built into the program and cannot be dropped"),
                ("SYSTEM", "functions are built into the program and cannot be dropped"),
                ("CATALOG", "there is one catalog, default_catalog, which stays"),
                ("MODEL", "models are not supported yet"),
                ("MATERIALIZED", "materialized tables are not supported yet"),
            ] {
                if parser.peek_words(&[word]) {
                    return Err(SqlError::at(span, what));
                }
            }
            return Err(parser.expected("TABLE, VIEW or DATABASE"));
        }
    };
    let if_exists = parser.accept_words(&["IF", "EXISTS"]);
    let name = parser.table_name()?;
    let mut cascade = false;
    if object == DropObject::Database {
        cascade = parser.accept_words(&["CASCADE"]);
        if !cascade {
            parser.accept_words(&["RESTRICT"]);
        }
    }
    Ok(StatementKind::Drop(Drop { object, temporary, if_exists, name, cascade }))
}

fn use_name(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["USE"])?;
    if parser.accept_words(&["CATALOG"]) {
        return Ok(StatementKind::UseCatalog(parser.identifier()?));
    }
    if parser.peek_words(&["MODULES"]) {
        return Err(
            SqlError::at(parser.span(), "there are no modules: all functions are built in").with_hint("leave it out")
        );
    }
    Ok(StatementKind::Use(parser.table_name()?))
}

fn describe(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    if !parser.accept_words(&["DESCRIBE"]) {
        parser.expect_words(&["DESC"])?;
    }
    let span = parser.span();
    for word in ["JOB", "CATALOG", "FUNCTION", "DATABASE", "MODEL"] {
        // A table may have such a name.
        if parser.peek_words(&[word]) && !parser.is_last_word() {
            let hint = if word == "JOB" { "use 'tidemill describe JOB'" } else { "DESCRIBE takes a table or a view" };
            return Err(SqlError::at(span, format!("DESCRIBE {word} is not supported")).with_hint(hint));
        }
    }
    parser.accept_words(&["EXTENDED"]);
    Ok(StatementKind::Describe(parser.table_name()?))
}

fn insert(parser: &mut StatementParser<'_>) -> Result<Insert, SqlError> {
    let span = parser.span();
    parser.expect_words(&["INSERT"])?;
    if parser.peek_words(&["OVERWRITE"]) {
        return Err(SqlError::at(parser.span(), "INSERT OVERWRITE is for batch jobs and is not supported yet"));
    }
    parser.expect_words(&["INTO"])?;
    let table = parser.table_name()?;
    let mut partition = Vec::new();
    if parser.accept_words(&["PARTITION"]) {
        parser.expect(&Token::LParen)?;
        loop {
            let column = parser.identifier()?;
            parser.expect(&Token::Eq)?;
            partition.push((column, parser.expression()?));
            if !parser.accept(&Token::Comma) {
                break;
            }
        }
        parser.expect(&Token::RParen)?;
    }
    // A parenthesis may open a list of columns or a query.
    let query_in_parentheses = parser.raw().peek_nth_token_ref(1).token.to_string().to_uppercase();
    let has_columns =
        parser.peek_is(&Token::LParen) && !matches!(query_in_parentheses.as_str(), "SELECT" | "WITH" | "VALUES" | "(");
    let columns = if has_columns { parser.identifier_list()? } else { Vec::new() };
    let query = parser.query()?;
    Ok(Insert { table, partition, columns, query, span })
}

fn set(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["SET"])?;
    if parser.at_end() {
        return Ok(StatementKind::ShowOptions);
    }
    let (key, key_span) = parser.string("an option in quotes: SET 'key' = 'value'")?;
    parser.expect(&Token::Eq)?;
    let (value, value_span) = parser.string("a value in quotes: SET 'key' = 'value'")?;
    Ok(StatementKind::Set(SetOption { key, value, key_span, value_span }))
}

fn reset(parser: &mut StatementParser<'_>) -> Result<StatementKind, SqlError> {
    parser.expect_words(&["RESET"])?;
    if parser.at_end() {
        return Ok(StatementKind::Reset(None));
    }
    let (key, key_span) = parser.string("an option in quotes: RESET 'key'")?;
    Ok(StatementKind::Reset(Some(ResetOption { key, key_span })))
}
