//! Event time: milliseconds since 1970-01-01 00:00 UTC, and watermarks over it.

use serde::{Deserialize, Serialize};

/// Milliseconds since the epoch. `TIMESTAMP` columns count local (zone-less) time the same way.
pub type TimestampMs = i64;

/// "No row with a time at or below this will follow", unless it is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub TimestampMs);

impl Watermark {
    /// Before any row: nothing is late.
    pub const MIN: Watermark = Watermark(i64::MIN);
    /// The end of time: every window and timer fires.
    pub const MAX: Watermark = Watermark(i64::MAX);
}
