//! `SHOW ...`.

use super::parser::StatementParser;
use crate::ast::{Pattern, Show, TableName};
use crate::diagnostic::SqlError;

/// Reads what is shown, from behind the word `SHOW`.
pub(super) fn show(parser: &mut StatementParser<'_>) -> Result<Show, SqlError> {
    let span = parser.span();
    if parser.accept_words(&["CURRENT", "CATALOG"]) {
        return Ok(Show::CurrentCatalog);
    }
    if parser.accept_words(&["CURRENT", "DATABASE"]) {
        return Ok(Show::CurrentDatabase);
    }
    if parser.accept_words(&["CATALOGS"]) {
        return Ok(Show::Catalogs(pattern(parser)?));
    }
    if parser.accept_words(&["DATABASES"]) {
        if parser.accept_words(&["FROM"]) || parser.accept_words(&["IN"]) {
            let catalog = parser.identifier()?;
            crate::catalog::check_catalog(&catalog)?;
        }
        return Ok(Show::Databases(pattern(parser)?));
    }
    if parser.accept_words(&["TABLES"]) {
        let database = database(parser)?;
        return Ok(Show::Tables { database, pattern: pattern(parser)? });
    }
    if parser.accept_words(&["VIEWS"]) {
        let database = database(parser)?;
        return Ok(Show::Views { database, pattern: pattern(parser)? });
    }
    if parser.accept_words(&["COLUMNS"]) {
        if !parser.accept_words(&["FROM"]) && !parser.accept_words(&["IN"]) {
            return Err(parser.expected("FROM and the name of a table"));
        }
        let table = parser.table_name()?;
        return Ok(Show::Columns { table, pattern: pattern(parser)? });
    }
    let user = parser.peek_words(&["USER", "FUNCTIONS"]);
    if user || parser.peek_words(&["FUNCTIONS"]) {
        parser.accept_words(&["USER"]);
        parser.accept_words(&["FUNCTIONS"]);
        return Ok(Show::Functions { user, pattern: pattern(parser)? });
    }
    if parser.accept_words(&["CREATE", "TABLE"]) {
        return Ok(Show::CreateTable(parser.table_name()?));
    }
    if parser.accept_words(&["CREATE", "VIEW"]) {
        return Ok(Show::CreateView(parser.table_name()?));
    }
    if parser.accept_words(&["JARS"]) {
        return Ok(Show::Jars);
    }
    let full = parser.accept_words(&["FULL"]);
    if parser.accept_words(&["MODULES"]) {
        return Ok(Show::Modules { full });
    }
    for (word, what) in [
        ("JOBS", "SHOW JOBS is not supported in scripts; use 'tidemill list'"),
        ("PARTITIONS", "SHOW PARTITIONS is not supported yet: the catalog does not know partitions"),
        ("PROCEDURES", "there are no procedures"),
        ("MODELS", "models are not supported yet"),
        ("MATERIALIZED", "materialized tables are not supported yet"),
        ("CREATE", "expected SHOW CREATE TABLE or SHOW CREATE VIEW"),
    ] {
        if parser.peek_words(&[word]) {
            return Err(SqlError::at(span, what));
        }
    }
    Err(parser.expected("TABLES, VIEWS, COLUMNS, DATABASES, CATALOGS, FUNCTIONS, CREATE TABLE or CURRENT DATABASE"))
}

fn database(parser: &mut StatementParser<'_>) -> Result<Option<TableName>, SqlError> {
    let named = parser.accept_words(&["FROM"]) || parser.accept_words(&["IN"]);
    if named { parser.table_name().map(Some) } else { Ok(None) }
}

fn pattern(parser: &mut StatementParser<'_>) -> Result<Option<Pattern>, SqlError> {
    let negated = parser.accept_words(&["NOT"]);
    let ignore_case = parser.accept_words(&["ILIKE"]);
    if !ignore_case && !parser.accept_words(&["LIKE"]) {
        return if negated { Err(parser.expected("LIKE 'pattern'")) } else { Ok(None) };
    }
    let (text, _) = parser.string("a pattern in quotes")?;
    Ok(Some(Pattern { negated, ignore_case, text }))
}
