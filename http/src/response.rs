//! What is answered.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// Chunks of a stream that may wait for a slow client.
pub const STREAM_CHUNKS_MAX: usize = 4;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Json,
    /// One JSON value a line, as they come.
    JsonLines,
    Text,
    /// Prometheus' text format.
    Metrics,
    Html,
    Css,
    JavaScript,
    Svg,
}

impl Content {
    fn header(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::JavaScript => "text/javascript; charset=utf-8",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    content: Content,
    body: ResponseBody,
    /// `Allow`, of a method that is refused.
    allow: Option<&'static str>,
}

/// The bytes of an answer: all there, or as they come.
#[derive(Debug)]
pub enum ResponseBody {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

/// Why a request is refused, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    /// Lower case, with dashes; does not change.
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let body = serde_json::json!({ "error": { "code": error.code, "message": error.message } });
        Self { status: error.status, ..Self::new(Content::Json, body.to_string()) }
    }
}

impl Response {
    /// With status 200.
    pub fn new(content: Content, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content, body: ResponseBody::Whole(Some(body.into())), allow: None }
    }

    /// A value as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(Content::Json, body),
            Err(error) => {
                let message = format!("the answer cannot be written: {error}");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into()
            }
        }
    }

    /// What comes out of a channel. When the client goes away, the channel is closed.
    pub fn stream(content: Content, chunks: mpsc::Receiver<Bytes>) -> Self {
        Self { status: StatusCode::OK, content, body: ResponseBody::Stream(chunks), allow: None }
    }

    /// The same with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Nothing is there.
    pub fn not_found(path: &str) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, "not-found", format!("there is nothing at '{path}'")).into()
    }

    /// There is something, but not for this method.
    pub fn method_not_allowed(path: &str, allowed: &'static str) -> Self {
        let message = format!("'{path}' takes {allowed} only");
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message);
        Self { allow: Some(allowed), ..Self::from(error) }
    }

    pub(crate) fn into_hyper(self) -> hyper::Response<ResponseBody> {
        let mut response = hyper::Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content.header()));
        if let Some(allow) = self.allow {
            headers.insert(hyper::header::ALLOW, HeaderValue::from_static(allow));
        }
        protect(headers, self.content);
        response
    }
}

/// A page may load what this server has and nothing else; nothing may be framed, guessed at, or kept.
fn protect(headers: &mut HeaderMap, content: Content) {
    const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                        connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
    let policy = if content == Content::Html { PAGE } else { NO_PAGE };
    let is_asset = matches!(content, Content::Html | Content::Css | Content::JavaScript | Content::Svg);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(if is_asset { "no-cache" } else { "no-store" }));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(chunks) => chunks.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
