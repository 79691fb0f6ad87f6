//! The closed registry of connectors and formats.

use tidemill_common::connector::{ConnectorCatalog, ConnectorInfo, MetadataSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, SourceSpec, TableSpec};

use crate::api::{Connector, Format};

/// All connectors, sorted by identifier. A new connector is one line here.
static CONNECTORS: &[&dyn Connector] = &[
    &crate::blackhole::Blackhole,
    &crate::collect::Collect,
    &crate::datagen::Datagen,
    &crate::filesystem::Filesystem,
    &crate::jdbc::Jdbc,
    &crate::kafka::Kafka,
    &crate::nexmark::Nexmark,
    &crate::print::Print,
    &crate::values::Values,
];

/// All formats, sorted by identifier. A new format is one line here.
static FORMATS: &[&dyn Format] = &[
    &crate::formats::access_log::AccessLog,
    &crate::formats::avro::Avro,
    &crate::formats::csv::Csv,
    &crate::formats::json::Json,
    &crate::formats::parquet::Parquet,
    &crate::formats::raw::Raw,
];

/// The connector with this identifier.
pub fn connector(identifier: &str) -> Option<&'static dyn Connector> {
    CONNECTORS.iter().copied().find(|connector| connector.info().identifier == identifier)
}

/// The format with this identifier.
pub fn format(identifier: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.info().identifier == identifier)
}

/// The registry as the planner sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registry;

impl ConnectorCatalog for Registry {
    fn connectors(&self) -> Vec<ConnectorInfo> {
        // `collect` and `values` are the planner's own: no user can name them.
        let infos = CONNECTORS.iter().map(|connector| connector.info());
        infos
            .filter(|info| ![crate::collect::IDENTIFIER, crate::values::IDENTIFIER].contains(&info.identifier))
            .collect()
    }

    fn formats(&self) -> Vec<ConnectorInfo> {
        FORMATS.iter().map(|format| format.info()).collect()
    }

    fn metadata(&self, identifier: &str) -> Vec<MetadataSpec> {
        connector(identifier).map(|connector| connector.metadata().to_vec()).unwrap_or_default()
    }

    fn check_source(&self, table: &TableSpec) -> Result<(), TableError> {
        known(table)?.check_source(table)
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        known(table)?.check_sink(table)
    }

    fn is_bounded(&self, source: &SourceSpec) -> bool {
        connector(&source.table.connector).is_some_and(|connector| connector.is_bounded(&source.table))
    }

    fn sink_parallelism_max(&self, table: &TableSpec) -> Option<u32> {
        connector(&table.connector)?.sink_parallelism_max(table)
    }

    fn sink_changelog(&self, sink: &SinkSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        known(&sink.table)?.sink_changelog(&sink.table, input)
    }
}

fn known(table: &TableSpec) -> Result<&'static dyn Connector, TableError> {
    connector(&table.connector)
        .ok_or_else(|| TableError::option("connector", format!("unknown connector '{}'", table.connector)))
}
