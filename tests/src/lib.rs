//! tidemill-tests
