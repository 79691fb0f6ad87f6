//! `print`: rows as text on the standard output of the task manager, as Flink prints them.

use std::sync::Arc;

use tidemill_common::batch::Batch;
use tidemill_common::config::Options;
use tidemill_common::connector::{ConnectorInfo, OptionKind, OptionSpec, TableError};
use tidemill_common::plan::{ChangelogMode, SinkSpec, TableSpec};

use crate::api::{Connector, ConnectorContext, ConnectorError, RowOutput, SinkWriter, SubtaskContext};
use crate::row_text::RowText;

const IDENTIFIER: &str = "print";
/// Lines handed on at once.
const LINES_MAX: usize = 1024;

/// The connector `print`.
pub struct Print;

impl Connector for Print {
    fn info(&self) -> ConnectorInfo {
        ConnectorInfo {
            identifier: IDENTIFIER,
            description: "Writes every row to the standard output of the task manager (of `tidemill run` itself), as \
                          `+I[a, b]`: the kind of the change (`+I`, `-U`, `+U`, `-D`), then the values. Where the \
                          sink runs in parallel a line begins with the number of the subtask from 1, as `2> +I[a, b]`. \
                          **Guarantee:** rows are shown as they come, at least once: after a failure those since the \
                          last checkpoint are shown again.",
            options: vec![
                OptionSpec {
                    key: "print-identifier",
                    kind: OptionKind::Text,
                    required: false,
                    default: None,
                    description: "A text in front of every line: `identifier> +I[a, b]`, or \
                                  `identifier:2> +I[a, b]` where the sink runs in parallel.",
                },
                OptionSpec {
                    key: "standard-error",
                    kind: OptionKind::Boolean,
                    required: false,
                    default: Some("false"),
                    description: "Only `false`: rows go to the standard output, the standard error holds the log.",
                },
            ],
            prefixes: &[],
            source: false,
            sink: true,
            formats: false,
            partitions: false,
        }
    }

    fn check_sink(&self, table: &TableSpec) -> Result<(), TableError> {
        if Options(&table.options).boolean("standard-error") == Some(true) {
            return Err(TableError::option(
                "standard-error",
                "'standard-error' = 'true' is not supported: the standard error holds the log; leave the option out",
            ));
        }
        Ok(())
    }

    fn sink_changelog(&self, _table: &TableSpec, input: ChangelogMode) -> Result<ChangelogMode, TableError> {
        Ok(input)
    }

    fn probe_sink(&self, _table: &TableSpec, _context: &ConnectorContext) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn create_writer(&self, sink: &SinkSpec, context: &SubtaskContext) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let options = Options(&sink.table.options);
        let identifier = options.text("print-identifier").unwrap_or_default();
        Ok(Box::new(LineWriter::new(sink, context, prefix(identifier, context.subtask.0, context.parallelism))))
    }
}

/// What stands in front of a line, by the rules of Flink's `PrintSinkOutputWriter`.
fn prefix(identifier: &str, subtask: u32, parallelism: u32) -> String {
    match (identifier.is_empty(), parallelism > 1) {
        (true, false) => String::new(),
        (true, true) => format!("{}> ", subtask + 1),
        (false, false) => format!("{identifier}> "),
        (false, true) => format!("{identifier}:{}> ", subtask + 1),
    }
}

/// Hands rows as lines to the task's output; also the writer of `collect`.
pub(crate) struct LineWriter {
    text: RowText,
    /// Whether a row is an array of values.
    cells: bool,
    prefix: String,
    output: Arc<dyn RowOutput>,
}

impl LineWriter {
    pub(crate) fn new(sink: &SinkSpec, context: &SubtaskContext, prefix: String) -> Self {
        Self {
            text: RowText::new(&sink.table.schema, &context.session_zone),
            cells: false,
            prefix,
            output: Arc::clone(&context.output),
        }
    }

    pub(crate) fn with_cells(mut self, cells: bool) -> Self {
        self.cells = cells;
        self
    }
}

impl SinkWriter for LineWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let rows = batch.rows();
        for first in (0..rows).step_by(LINES_MAX) {
            let lines = (first..rows.min(first + LINES_MAX))
                .map(|row| {
                    let mut line = self.prefix.clone();
                    if self.cells {
                        self.text.append_cells(batch, row, &mut line);
                    } else {
                        self.text.append(batch, row, &mut line);
                    }
                    line
                })
                .collect();
            self.output.lines(lines)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn prefixes_are_those_of_flink() {
        assert_eq!(prefix("", 0, 1), "");
        assert_eq!(prefix("", 1, 4), "2> ");
        assert_eq!(prefix("x", 0, 1), "x> ");
        assert_eq!(prefix("x", 0, 2), "x:1> ");
    }
}
