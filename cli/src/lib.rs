//! tidemill-cli
