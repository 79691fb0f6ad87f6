//! tidemill-jobmanager
