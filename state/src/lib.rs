//! tidemill-state
