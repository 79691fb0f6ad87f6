//! tidemill-proto
