//! The executor's metrics as the job manager gets them.

use tidemill_common::control::SubtaskReport;

use crate::metrics::SubtaskMetrics;

/// Converts a snapshot.
pub fn report(metrics: &SubtaskMetrics) -> SubtaskReport {
    metrics.clone()
}
