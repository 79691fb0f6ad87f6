//! Which requests are refused before anybody looks at what they ask.
//!
//! A browser sends requests for any page that is open in it, also to loopback. Three rules keep such pages
//! out: the `Host` must be one that this server is known by (a name of theirs that is pointed here is not), what
//! changes something must come from a page of this server (`Origin`, `Sec-Fetch-Site`), and it must carry
//! a content type and a header that a page of another site cannot send without being asked first.

use std::net::IpAddr;

use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::{HeaderMap, Method, StatusCode};

use crate::response::ApiError;

/// What every changing request carries, with any value.
pub const REQUEST_HEADER: &str = "x-tidemill-request";

/// Names by which a server is known besides addresses and `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Names, separated by commas.
    pub fn new(names: &str) -> Self {
        Self(names.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect())
    }

    fn knows(&self, host: &str) -> bool {
        let name = host_name(host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address || name.eq_ignore_ascii_case("localhost") || self.0.contains(&name.to_lowercase())
    }
}

/// `name:port` or `[::1]:port` without the port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Checks what comes before the body.
///
/// # Errors
/// Why the request is refused.
pub fn check(method: &Method, headers: &HeaderMap, hosts: &Hosts) -> Result<(), ApiError> {
    let refused = |status, code, message: String| Err(ApiError::new(status, code, message));
    let mut named = headers.get_all(HOST).iter();
    let host = match (named.next().and_then(|host| host.to_str().ok()), named.next()) {
        (Some(host), None) => host,
        _ => return refused(StatusCode::BAD_REQUEST, "bad-host", "a request has one Host header".to_owned()),
    };
    if !hosts.knows(host) {
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown-host",
            format!("this server does not know itself by '{host}'; use its address, or name it in rest.address"),
        );
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(origin) = text(ORIGIN.as_str()) {
        let own = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host)));
        if !own {
            let message = format!("a page of '{origin}' may not change anything here");
            return refused(StatusCode::FORBIDDEN, "cross-origin", message);
        }
    }
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        let message = "a page of another site may not change anything here".to_owned();
        return refused(StatusCode::FORBIDDEN, "cross-origin", message);
    }
    let content = text(CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = content.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = format!("the content type is '{essence}', and has to be 'application/json'");
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", message);
    }
    if text(REQUEST_HEADER).is_none_or(str::is_empty) {
        let message = "what changes something needs the header 'X-Tidemill-Request: 1'".to_owned();
        return refused(StatusCode::FORBIDDEN, "header-missing", message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn code(method: &Method, headers: &[(&str, &str)]) -> &'static str {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        check(method, &map, &Hosts::new("flow.example, Other.Example")).err().map_or("", |error| error.code)
    }

    #[test]
    fn a_server_is_asked_by_a_name_that_it_knows() {
        for host in ["127.0.0.1", "127.0.0.1:8081", "[::1]:8081", "10.1.2.3", "localhost:80", "FLOW.example:8081"] {
            assert_eq!(code(&Method::GET, &[("host", host)]), "", "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8081", "localhost.evil.example", "", "[::1].evil:1"] {
            assert_eq!(code(&Method::GET, &[("host", host)]), "unknown-host", "{host}");
        }
        assert_eq!(code(&Method::GET, &[]), "bad-host");
        assert_eq!(code(&Method::GET, &[("host", "localhost"), ("host", "localhost")]), "bad-host");
    }

    #[test]
    fn a_change_comes_from_a_page_of_this_server_or_from_a_program() {
        let base = [("host", "localhost:1"), ("content-type", "application/json"), ("x-tidemill-request", "1")];
        let with = |more: &[(&'static str, &'static str)]| code(&Method::POST, &[&base[..], more].concat());
        assert_eq!(with(&[]), "");
        assert_eq!(with(&[("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")]), "");
        for origin in ["http://localhost:2", "http://localhost:1.evil.example", "null", "file://localhost:1"] {
            let headers = [&base[..], &[("origin", origin)]].concat();
            assert_eq!(code(&Method::POST, &headers), "cross-origin", "{origin}");
        }
        assert_eq!(with(&[("sec-fetch-site", "cross-site")]), "cross-origin");
        assert_eq!(with(&[("sec-fetch-site", "same-site")]), "cross-origin");
        assert_eq!(code(&Method::POST, &base[..2]), "header-missing");
        assert_eq!(code(&Method::POST, &[base[0], base[2], ("content-type", "text/plain")]), "not-json");
        assert_eq!(code(&Method::POST, &[base[0], base[2]]), "not-json");
    }
}
