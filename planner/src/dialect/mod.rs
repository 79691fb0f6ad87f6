//! The dialect layer: Flink SQL text to [`Statement`](crate::ast::Statement)s.
//!
//! Tokens, expressions and queries are `sqlparser`'s; this module adds what it does not read:
//! window table functions (`TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), ...))`, by rewriting tokens),
//! Flink's type names, `CREATE TABLE` with its computed columns and watermarks, statement sets.
//! Every span is that of the user's script.

mod alter;
mod create_table;
mod hints;
mod json_calls;
mod parser;
mod show;
mod statements;
mod tokens;
pub mod types;

use sqlparser::ast::DataType as SqlType;
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};

#[cfg(test)]
mod tests;

pub use hints::hint_options;
pub use statements::{StatementText, parse_script, statement_texts};
pub use tokens::{PARTITION_BY_CALL, symmetric};

/// Flink's lexical rules: identifiers in back quotes, strings in single quotes, no escapes.
#[derive(Debug)]
pub(crate) struct FlinkDialect;

impl Dialect for FlinkDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn parse_data_type(&self, parser: &mut Parser) -> Option<Result<SqlType, ParserError>> {
        types::parse_hook(parser)
    }
}
