//! tidemill-bench
