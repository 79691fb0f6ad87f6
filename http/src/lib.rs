//! The HTTP server that every process has: `/metrics`, `/healthz` and `/readyz`, and whatever else its
//! [`Service`] answers.
//!
//! [`server`] takes connections within its limits; [`guard`] refuses what a page of another site, or a name
//! that was pointed at this address, could make a browser send; [`exposition`] writes Prometheus' text format.

pub mod exposition;
pub mod guard;
mod process;
mod request;
mod response;
mod server;

pub use guard::Hosts;
pub use process::PROCESS_METRICS;
pub use request::Request;
pub use response::{ApiError, Content, Response, STREAM_CHUNKS_MAX};
pub use server::{HTTP_METRICS, HttpError, HttpServer, Service};

pub use hyper::{Method, StatusCode};
