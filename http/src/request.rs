//! A request that has been read and may be answered.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::response::ApiError;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET stands for HEAD too.
    pub method: Method,
    /// As it was sent, with its first slash.
    pub path: String,
    /// Name and value, decoded.
    pub query: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    /// The parts of the path between its slashes.
    pub fn segments(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    /// The value of a parameter behind the question mark.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The whole number that a parameter has, or this one without it.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, ApiError> {
        let Some(text) = self.parameter(name) else { return Ok(default) };
        text.parse().map_err(|_| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid-parameter",
                format!("parameter '{name}' is '{text}', and has to be a whole number"),
            )
        })
    }

    /// Refuses parameters that are not known.
    ///
    /// # Errors
    /// If there is one.
    pub fn only_parameters(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
                Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "unknown-parameter",
                    format!("parameter '{name}' is not known here; known: {known}"),
                ))
            }
        }
    }

    /// The body, which is JSON. No body is `{}`.
    ///
    /// # Errors
    /// If it cannot be read as a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid-body", format!("the body cannot be read: {error}"))
        })
    }
}
