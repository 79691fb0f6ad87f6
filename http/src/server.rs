//! The server: connections, their limits, and what is common to all processes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::exposition::{Exposition, Metric};
use crate::guard::{Hosts, check};
use crate::process;
use crate::request::Request;
use crate::response::{ApiError, Content, Response, ResponseBody};

/// Connections at a time; those beyond wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Headers of a request, and their bytes with those of its first line.
const HEADERS_MAX: usize = 64;
const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a body: the largest script, and what JSON makes of its line ends and quotes.
const BODY_BYTES_MAX: usize = 2 * tidemill_common::limits::SCRIPT_BYTES_MAX;
/// How long a client may take to send its headers, also while a connection is not used, and its body.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take to begin. Whoever waits for long work says so in time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long to rest when the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const REQUESTS: Metric = Metric::counter(
    "tidemill_http_requests_total",
    &["method", "code"],
    "Requests that the HTTP server of this process has answered.",
);

/// Metrics of the server itself.
pub const HTTP_METRICS: &[Metric] = &[REQUESTS];

/// What a process answers.
pub trait Service: Send + Sync + 'static {
    /// Answers what is not common to all processes.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// Adds its metrics.
    fn metrics(&self, page: &mut Exposition) -> impl Future<Output = ()> + Send;

    /// Why the process cannot do its work now, if it cannot.
    fn is_ready(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot listen on {address} for HTTP ({option}): {source}; choose another port with --{flag}")]
    Bind { address: SocketAddr, option: &'static str, flag: String, source: std::io::Error },
}

/// A running server. Ends when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl HttpServer {
    /// Listens at an address that the option `option` has the port of, which other programs know this server
    /// by as `hosts` say.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(
        address: SocketAddr,
        option: &'static str,
        hosts: Hosts,
        service: Arc<impl Service>,
    ) -> Result<Self, HttpError> {
        let bound = |source| HttpError::Bind { address, option, flag: option.replace('.', "-"), source };
        let listener = TcpListener::bind(address).await.map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(State { hosts, service, counts: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, state, stopped));
        tracing::info!(%address, "HTTP is served");
        Ok(Self { address, stop, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.accepting.abort();
    }
}

struct State<S> {
    hosts: Hosts,
    service: Arc<S>,
    counts: Mutex<BTreeMap<(String, u16), u64>>,
}

async fn accept<S: Service>(listener: TcpListener, state: Arc<State<S>>, stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (state, mut stopped) = (state.clone(), stopped.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(stream, state) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP server gets no connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<S: Service>(stream: TcpStream, state: Arc<State<S>>) {
    let answer = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(state.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

impl<S: Service> State<S> {
    async fn handle(&self, request: hyper::Request<Incoming>) -> hyper::Response<ResponseBody> {
        let method = request.method().clone();
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, self.answer(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into(),
            Err(_) => {
                let message = format!("there was no answer within {} s", ANSWER_TIMEOUT.as_secs());
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into()
            }
        };
        // Any method could be sent: those that nobody takes are one.
        let known = matches!(method, Method::GET | Method::HEAD | Method::POST);
        let method = if known { method.to_string() } else { "other".to_owned() };
        let key = (method, response.status.as_u16());
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        response.into_hyper()
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Response, ApiError> {
        check(request.method(), request.headers(), &self.hosts)?;
        let (head, body) = request.into_parts();
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let request = Request {
            method: if head.method == Method::HEAD { Method::GET } else { head.method },
            path: head.uri.path().to_owned(),
            query,
            body: read_body(body).await?,
        };
        let common = matches!(request.path.as_str(), "/metrics" | "/healthz" | "/readyz");
        if !common {
            return Ok(self.service.answer(request).await);
        }
        if request.method != Method::GET {
            return Ok(Response::method_not_allowed(&request.path, "GET"));
        }
        Ok(match request.path.as_str() {
            "/metrics" => Response::new(Content::Metrics, self.metrics().await),
            "/healthz" => Response::new(Content::Text, "ok\n"),
            _ => match self.service.is_ready().await {
                Ok(()) => Response::new(Content::Text, "ready\n"),
                Err(reason) => Response::new(Content::Text, format!("not ready: {reason}\n"))
                    .with_status(StatusCode::SERVICE_UNAVAILABLE),
            },
        })
    }

    async fn metrics(&self) -> String {
        let mut page = Exposition::default();
        process::write(&mut page);
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let texts: Vec<(String, String, u64)> =
            counts.into_iter().map(|((method, code), count)| (method, code.to_string(), count)).collect();
        page.family(&REQUESTS, texts.iter().map(|(method, code, count)| ([method.as_str(), code], *count as f64)));
        self.service.metrics(&mut page).await;
        page.finish()
    }
}

async fn read_body(body: Incoming) -> Result<bytes::Bytes, ApiError> {
    type Read = Result<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;
    let reading: Pin<Box<dyn Future<Output = Read> + Send>> =
        Box::pin(async { Ok(Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes()) });
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("a body may have {BODY_BYTES_MAX} bytes at most");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message))
        }
        Ok(Err(error)) => {
            let message = format!("the body cannot be read: {error}");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid-body", message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}
