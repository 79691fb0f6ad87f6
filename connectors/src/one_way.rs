//! Answers of connectors that only read or only write.

use tidemill_common::connector::TableError;
use tidemill_common::plan::TableSpec;

use crate::api::ConnectorError;

/// The refusal of reading a table whose connector only writes.
pub(crate) fn not_readable(table: &TableSpec) -> TableError {
    TableError::option("connector", format!("it cannot be read: the connector '{}' only writes", table.connector))
}

/// The refusal of writing to a table whose connector only reads.
pub(crate) fn not_writable(table: &TableSpec) -> TableError {
    TableError::option("connector", format!("it cannot be written: the connector '{}' only reads", table.connector))
}

/// The planner refuses such tables, so a plan that holds one is broken.
pub(crate) fn wrong_way(connector: &'static str, table: &TableSpec) -> ConnectorError {
    ConnectorError::Internal {
        connector,
        reason: format!("the plan uses table '{}' in a way that its connector does not support", table.name),
    }
}
