//! tidemill-expr
