//! An HTTP proxy on loopback that lets a part of the requests fail, as stores and networks do.
//!
//! One request a connection, HTTP/1.1, bodies by `Content-Length` or chunks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Longest wait for either side of a connection.
const IO_TIMEOUT: Duration = Duration::from_secs(30);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    /// Answered with 500, not forwarded.
    Error,
    /// Answered with 503, not forwarded.
    Busy,
    /// The connection is cut before the request is forwarded.
    CutBefore,
    /// Forwarded, and the connection is cut before the answer: a success that is not heard.
    CutAfter,
}

const FAULTS: [Fate; 4] = [Fate::Error, Fate::Busy, Fate::CutBefore, Fate::CutAfter];

/// How many faults of each kind have landed.
#[derive(Debug, Default)]
pub struct Landed {
    pub errors: AtomicU64,
    pub busy: AtomicU64,
    pub cut_before: AtomicU64,
    pub cut_after: AtomicU64,
    pub passed: AtomicU64,
}

/// A proxy that runs until it is dropped.
pub struct FaultProxy {
    /// URL of the proxy.
    pub url: String,
    pub landed: Arc<Landed>,
    stop: Arc<AtomicBool>,
}

impl FaultProxy {
    /// A proxy before `upstream` (`http://host:port`) that lets about one in `one_in` requests fail, at
    /// places that `seed` gives: never more than `2 * one_in` apart, one kind of fault after the other,
    /// so that a short run sees each.
    pub fn start(upstream: &str, one_in: u32, seed: u64) -> anyhow::Result<Self> {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let (landed, stop) = (Arc::new(Landed::default()), Arc::new(AtomicBool::new(false)));
        let (counters, stopped) = (landed.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut random = StdRng::seed_from_u64(seed);
            let mut faults = 0;
            let mut until_next = random.random_range(1..2 * one_in.max(1));
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                until_next -= 1;
                let fate = if until_next == 0 {
                    until_next = random.random_range(1..2 * one_in.max(1));
                    faults += 1;
                    FAULTS[faults % FAULTS.len()]
                } else {
                    Fate::Pass
                };
                let (upstream, counters) = (upstream.clone(), counters.clone());
                std::thread::spawn(move || {
                    // A client that goes away in the middle is a fault, too.
                    let _ = serve(client, &upstream, fate, &counters);
                });
            }
        });
        Ok(Self { url, landed, stop })
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn serve(mut client: TcpStream, upstream: &str, fate: Fate, landed: &Landed) -> anyhow::Result<()> {
    client.set_read_timeout(Some(IO_TIMEOUT))?;
    let request = read_request(&mut BufReader::new(client.try_clone()?))?;
    let counter = match fate {
        Fate::Pass => &landed.passed,
        Fate::Error => &landed.errors,
        Fate::Busy => &landed.busy,
        Fate::CutBefore => &landed.cut_before,
        Fate::CutAfter => &landed.cut_after,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    match fate {
        Fate::Error => {
            client.write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?
        }
        Fate::Busy => client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
        Fate::CutBefore => {}
        Fate::Pass | Fate::CutAfter => {
            let mut server = TcpStream::connect(upstream)?;
            server.set_read_timeout(Some(IO_TIMEOUT))?;
            server.write_all(&request)?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer)?;
            if fate == Fate::Pass {
                client.write_all(&answer)?;
            }
        }
    }
    client.shutdown(Shutdown::Both)?;
    Ok(())
}

/// The request as it is to be forwarded: asking for the connection to be closed after the answer.
fn read_request(client: &mut impl BufRead) -> anyhow::Result<Vec<u8>> {
    let (mut request, mut length, mut chunked) = (Vec::new(), 0usize, false);
    loop {
        let mut line = String::new();
        anyhow::ensure!(client.read_line(&mut line)? > 0, "the request has no end");
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        chunked |= lower.starts_with("transfer-encoding:") && lower.contains("chunked");
        if lower.starts_with("connection:") {
            continue;
        }
        if line == "\r\n" {
            request.extend_from_slice(b"Connection: close\r\n\r\n");
            break;
        }
        request.extend_from_slice(line.as_bytes());
    }
    if chunked {
        loop {
            let mut size = String::new();
            client.read_line(&mut size)?;
            request.extend_from_slice(size.as_bytes());
            let bytes = usize::from_str_radix(size.trim().split(';').next().unwrap_or_default(), 16)?;
            let mut chunk = vec![0; bytes + 2];
            client.read_exact(&mut chunk)?;
            request.extend_from_slice(&chunk);
            if bytes == 0 {
                return Ok(request);
            }
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    request.extend_from_slice(&body);
    Ok(request)
}
