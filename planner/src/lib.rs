//! tidemill-planner
